/* pci-testdev-test.c: the tests of both BARs, their counters and doorbells. */
#include "tests/device/bench-pci.h"
#include "tests/device/device-test.h"

extern const DeviceType pci_testdev_type;

static Bench *b;
static Device *d;
static Gpa at;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &pci_testdev_type, "testdev", "membar", "1M", NULL);
    at = bench_bar(b, d, 0);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_plain(void **state)
{
    char name[32];

    bench_write8(b, at, 0);
    assert_int_equal(bench_read8(b, at + 1), 1);
    assert_int_equal(bench_read32(b, at + 4), 0x800);
    assert_int_equal(bench_read32(b, at + 8), 0xfa);
    for (int i = 0; i < 32; i++) {
        name[i] = (char)bench_read8(b, at + 16 + i);
    }
    assert_string_equal(name, "mmio-no-eventfd");
    bench_write8(b, at + 0x800, 0xfa);
    bench_write8(b, at + 0x800, 0xfa);
    bench_write8(b, at + 0x800, 1);
    assert_int_equal(bench_read32(b, at + 12), 2);
    bench_write8(b, at, 3);                        /* no such test */
    assert_int_equal(bench_read32(b, at + 4), 0);
    assert_int_equal(bench_read32(b, at + 12), 0);
}

static void test_doorbells(void **state)
{
    bench_write8(b, at, 1);
    assert_non_null(bench_bell_at(b, SPACE_MEM, at + 0x801));
    notifier_signal(bench_bell_at(b, SPACE_MEM, at + 0x801)->notifier);
    bench_run(b);
    assert_int_equal(bench_read32(b, at + 12), 1);
    bench_write8(b, at, 2);
    assert_null(bench_bell_at(b, SPACE_MEM, at + 0x801));
    assert_int_equal(bench_bell_at(b, SPACE_MEM, at + 0x802)->match, 0xfa);
    assert_int_equal(bench_read32(b, at + 12), 0);
    Gpa io = bench_bar(b, d, 1);
    bench_out8(b, io, 2);
    assert_int_equal(bench_in8(b, io), 5);
    assert_int_equal(bench_in32(b, io + 4), 0x85);
    assert_non_null(bench_bell_at(b, SPACE_PIO, io + 0x85));
    bench_save_load(b, d);
    bench_bar(b, d, 0);
    io = bench_bar(b, d, 1);
    assert_int_equal(bench_in8(b, io), 5);
    bench_reset(b);
    assert_int_equal(b->bell_count, 0);
}

static void test_memory(void **state)
{
    Gpa mem = bench_bar(b, d, 2);
    Error *e = NULL;

    bench_write64(b, mem + MiB - 8, 42);
    assert_int_equal(bench_read64(b, mem + MiB - 8), 42);
    assert_null(bench_try_device(b, &pci_testdev_type, "odd", &e, "membar", "5000", NULL));
    error_free(e);
    bench_remove(b, d);
}

RUN_TESTS(TEST(test_plain), TEST(test_doorbells), TEST(test_memory))
