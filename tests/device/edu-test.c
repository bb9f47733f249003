/* edu-test.c: identification, inverter, factorial, interrupts, DMA and its limits. */
#include "tests/device/bench-pci.h"
#include "tests/device/device-test.h"
#include "util/trace.h"

extern const DeviceType edu_type;

static Bench *b;
static Device *d;
static Gpa at;
static unsigned gsi;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &edu_type, "edu", NULL);
    at = bench_bar(b, d, 0);
    gsi = 16 + PCI_SLOT(bench_pci_function(d)->devfn) % 4;
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_registers(void **state)
{
    assert_int_equal(bench_config_read(b, d, 0, 4), 0x11e81234);
    assert_int_equal(bench_bar_size(b, d, 0), MiB);
    at = bench_bar(b, d, 0);
    assert_int_equal(bench_read32(b, at), 0x010000ed);
    bench_write32(b, at + 4, 0x12345678);
    assert_int_equal(bench_read32(b, at + 4), ~0x12345678u);
    assert_int_equal(bench_read64(b, at), UINT64_MAX);
}

static void test_factorial(void **state)
{
    bench_write32(b, at + 0x20, 0x80);
    bench_write32(b, at + 8, 10);
    assert_int_equal(bench_read32(b, at + 0x20), 0x81);
    bench_write32(b, at + 8, 3);                   /* busy */
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read32(b, at + 0x20), 0x80);
    assert_int_equal(bench_read32(b, at + 8), 3628800);
    assert_int_equal(bench_read32(b, at + 0x24), 1);
    assert_true(bench_irq(b, gsi));
    bench_write32(b, at + 0x64, 1);
    assert_false(bench_irq(b, gsi));
    bench_write32(b, at + 8, 0xffffffff);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read32(b, at + 8), 0);
    bench_write32(b, at + 8, 0);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read32(b, at + 8), 1);
}

static void transfer(uint64_t src, uint64_t dst, uint64_t count, uint32_t cmd)
{
    bench_write64(b, at + 0x80, src);
    bench_write64(b, at + 0x88, dst);
    bench_write64(b, at + 0x90, count);
    bench_write64(b, at + 0x98, cmd);
    assert_int_equal(bench_read64(b, at + 0x98) & 1, 1);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read64(b, at + 0x98) & 1, 0);
}

static void test_dma(void **state)
{
    memcpy(bench_ram(b, 0x5000, 5), "hello", 5);
    transfer(0x5000, 0x40000 + 4091, 5, 1);
    transfer(0x40000 + 4091, 0x6000, 5, 1 | 2 | 4);
    assert_memory_equal(bench_ram(b, 0x6000, 5), "hello", 5);
    assert_int_equal(bench_read32(b, at + 0x24), 0x100);
    unsigned long bugs = guest_bug_count();
    transfer(0x5000, 0x40000 + 4092, 5, 1);        /* past the buffer */
    transfer(0x3ffff, 0x6000, 1, 3);
    transfer(0x5000, 0x40000, UINT64_MAX, 1);
    assert_int_equal(guest_bug_count(), bugs + 3);
    transfer(UINT64_C(0xff00000000005000), 0x40000, 5, 1);         /* beyond its address lines */
    transfer(0x40000, 0x7000, 5, 3);
    assert_memory_equal(bench_ram(b, 0x7000, 5), "hello", 5);
}

static void test_state(void **state)
{
    bench_write32(b, at + 0x60, 0x55);
    bench_write32(b, at + 8, 5);
    bench_save_load(b, d);
    at = bench_bar(b, d, 0);
    assert_true(bench_irq(b, gsi));
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_read32(b, at + 8), 120);
    bench_remove(b, d);
    assert_false(bench_irq(b, gsi));
}

RUN_TESTS(TEST(test_registers), TEST(test_factorial), TEST(test_dma), TEST(test_state))
