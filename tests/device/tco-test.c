/* tco-test.c: the TCO watchdog of the ICH9, in the chip. */
#include "tests/device/bench-pci.h"
#include "tests/device/device-test.h"
#include "util/bytes.h"

extern const DeviceType ich9_lpc_type;

#define LPC (0x1f << 3)
#define TCO 0x660
#define TICK (600 * NS_PER_MS)

static Bench *b;
static Device *d;

static void config(unsigned reg, uint32_t val)
{
    pci_config_write(pci_bus_of(bench_pci(b)), 0, LPC, reg, val, 4);
}

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &ich9_lpc_type, "lpc", "addr", "1f.0", "noreboot", "off", NULL);
    config(0x40, 0x601);
    config(0x44, 0x80);
    return 0;
}

static int teardown(void **state)
{
    bench_remove(b, d);
    bench_free(b);
    return 0;
}

/* As iTCO_wdt does it: time, reload, go. */
static void start(unsigned ticks)
{
    bench_out16(b, TCO + 0x12, ticks);
    bench_out16(b, TCO, 1);
    bench_out16(b, TCO + 8, 0);
}

static void test_two_timeouts(void **state)
{
    assert_int_equal(bench_in16(b, TCO + 8) & 0x800, 0x800);       /* halted */
    start(10);
    assert_int_equal(bench_in16(b, TCO), 10);
    bench_step(b, 9 * TICK);
    assert_int_equal(bench_in16(b, TCO), 1);
    bench_out16(b, TCO, 1);                        /* a sign of life */
    bench_step(b, 9 * TICK);
    assert_int_equal(bench_in16(b, TCO + 4), 0);
    bench_step(b, TICK);
    assert_int_equal(bench_in16(b, TCO + 4), 8);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    bench_save_load(b, d);
    bench_step(b, 4 * TICK);
    assert_int_equal(bench_in16(b, TCO + 6) & 2, 2);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 1);
    bench_out16(b, TCO + 4, 8);
    bench_out16(b, TCO + 6, 6);
    assert_int_equal(bench_in16(b, TCO + 4), 0);
    assert_int_equal(bench_in16(b, TCO + 6), 0);
    bench_reset(b);
    config(0x40, 0x601);
    config(0x44, 0x80);
    bench_step(b, 1000 * TICK);
    assert_int_equal(bench_in16(b, TCO + 4), 0);
}

static void test_halted(void **state)
{
    start(2);
    bench_out16(b, TCO + 8, 0x800);
    bench_step(b, 100 * TICK);
    assert_int_equal(bench_in16(b, TCO + 4), 0);
    bench_out16(b, TCO + 0x12, 1);                 /* too short: ignored */
    assert_int_equal(bench_in16(b, TCO + 0x12), 2);
    bench_out16(b, TCO + 8, 0x1800);
    bench_out16(b, TCO + 8, 0x800);
    assert_int_equal(bench_in16(b, TCO + 8), 0x1800);      /* the lock stays */
    bench_out8(b, TCO + 2, 0x55);
    assert_int_equal(bench_in8(b, TCO + 2), 0x55);
    assert_int_equal(bench_in16(b, TCO + 4), 4);
    bench_out8(b, TCO + 0xc, 7);
    assert_int_equal(bench_in8(b, TCO + 0xc), 7);
}

static void test_no_reboot(void **state)
{
    /* RCBA at fed1c000h; GCS.NO_REBOOT. */
    config(0xf0, 0xfed1c001);
    bench_write32(b, 0xfed1c000 + 0x3410, bench_read32(b, 0xfed1c000 + 0x3410) | 0x20);
    start(2);
    bench_step(b, 20 * TICK);
    assert_int_equal(bench_in16(b, TCO + 6) & 2, 2);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
}

static void test_absent(void **state)
{
    bench_remove(b, d);
    d = bench_device(b, &ich9_lpc_type, "lpc2", "addr", "1f.0", "enable_tco", "off", NULL);
    config(0x40, 0x601);
    config(0x44, 0x80);
    assert_int_equal(bench_in16(b, TCO + 8), 0xffff);
}

RUN_TESTS(TEST(test_two_timeouts), TEST(test_halted), TEST(test_no_reboot), TEST(test_absent))
