/* i6300esb-test.c: the watchdog's stages, unlock sequence, lock, reload, and what survives a reset. */
#include "tests/device/device-test.h"

#include "tests/device/bench-pci.h"

extern const DeviceType i6300esb_type;

/* A count at the slow prescaler: 2^15 PCI clocks. */
#define COUNT (INT64_C(32768) * 30303 / 1000)

static Device *esb;
static Gpa bar;

static int setup(void **state)
{
    Bench *b = bench_new();

    esb = bench_device(b, &i6300esb_type, "w0", NULL);
    bar = bench_bar(b, esb, 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static void unlock(Bench *b)
{
    bench_write16(b, bar + 12, 0x80);
    bench_write16(b, bar + 12, 0x86);
}

static void preload(Bench *b, uint32_t one, uint32_t two)
{
    unlock(b);
    bench_write32(b, bar, one);
    unlock(b);
    bench_write32(b, bar + 4, two);
}

static void reload(Bench *b)
{
    unlock(b);
    bench_write16(b, bar + 12, 0x100);
}

static void identity(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_config_read(b, esb, 0, 4), 0x25ab8086);
    assert_int_equal(bench_config_read(b, esb, 8, 4) >> 8, 0x088000);
    assert_int_equal(bench_bar_size(b, esb, 0), 16);
    bench_config_write(b, esb, 0x60, 0xffff, 2);
    assert_int_equal(bench_config_read(b, esb, 0x60, 2), 0x27);
}

static void stages(void **state)
{
    Bench *b = *state;

    preload(b, 100, 50);
    bench_step(b, 1000 * COUNT);               /* not enabled */
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    bench_config_write(b, esb, 0x68, 2, 1);
    bench_step(b, 99 * COUNT);
    assert_int_equal(bench_read32(b, bar + 8), 0);
    bench_save_load(b, esb);
    bench_step(b, 2 * COUNT);
    assert_int_equal(bench_read32(b, bar + 8), 1);
    bench_write32(b, bar + 8, 1);
    assert_int_equal(bench_read32(b, bar + 8), 0);
    bench_step(b, 48 * COUNT);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    reload(b);                                 /* back to stage 1 */
    bench_step(b, 149 * COUNT);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    bench_step(b, 2 * COUNT);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 1);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
    bench_step(b, 1000 * COUNT);               /* it is off now */
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    assert_int_equal(bench_config_read(b, esb, 0x68, 1), 0);
    bench_reset(b);
    bar = bench_bar(b, esb, 0);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
    unlock(b);
    bench_write16(b, bar + 12, 0x200);
    assert_int_equal(bench_read16(b, bar + 12), 0);
}

static void sequence(void **state)
{
    Bench *b = *state;

    preload(b, 10, 10);
    bench_write32(b, bar, 1000);               /* without the sequence */
    bench_write16(b, bar + 12, 0x86);
    bench_write32(b, bar, 1000);               /* with half of it */
    unlock(b);
    bench_write32(b, bar + 8, 0);
    bench_config_write(b, esb, 0x60, 4, 2);    /* fast: 2^5 clocks */
    bench_config_write(b, esb, 0x68, 2, 1);
    bench_step(b, 19 * COUNT / 1024);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    bench_step(b, 2 * COUNT / 1024);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 1);
}

static void lock_and_no_reboot(void **state)
{
    Bench *b = *state;

    preload(b, 10, 10);
    bench_config_write(b, esb, 0x60, 0x20, 2);
    bench_config_write(b, esb, 0x68, 2, 1);
    bench_config_write(b, esb, 0x68, 0, 1);    /* off */
    bench_step(b, 30 * COUNT);
    assert_int_equal(bench_read16(b, bar + 12), 0);
    bench_config_write(b, esb, 0x68, 3, 1);
    bench_config_write(b, esb, 0x68, 0, 1);    /* locked */
    assert_int_equal(bench_config_read(b, esb, 0x68, 1), 3);
    bench_save_load(b, esb);
    bench_config_write(b, esb, 0x68, 0, 1);
    assert_int_equal(bench_config_read(b, esb, 0x68, 1), 3);
    bench_step(b, 30 * COUNT);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
}

static void free_running(void **state)
{
    Bench *b = *state;

    preload(b, 1000, 10);
    bench_config_write(b, esb, 0x68, 6, 1);
    bench_step(b, 11 * COUNT);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
    assert_int_equal(bench_requests(b, REQUEST_WATCHDOG), 0);
    unlock(b);
    bench_write16(b, bar + 12, 0x200);
    bench_step(b, 11 * COUNT);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
}

/* A count of nothing is not a timer that expires without end. */
static void free_running_fast(void **state)
{
    Bench *b = *state;

    preload(b, 0, 0);
    bench_config_write(b, esb, 0x60, 4, 2);
    bench_config_write(b, esb, 0x68, 6, 1);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read16(b, bar + 12), 0x200);
    assert_true(clock_vm_next_deadline() >= clock_now(CLOCK_VM) + NS_PER_MS / 2);
}

RUN_TESTS(TEST(identity), TEST(stages), TEST(sequence), TEST(lock_and_no_reboot), TEST(free_running),
          TEST(free_running_fast))
