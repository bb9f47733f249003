/* pvpanic-pci-test.c: the same events in a BAR. */
#include "tests/device/bench-pci.h"
#include "tests/device/device-test.h"

extern const DeviceType pvpanic_pci_type;

static Bench *b;

static int setup(void **state)
{
    b = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_events(void **state)
{
    Device *d = bench_device(b, &pvpanic_pci_type, "panic", NULL);
    Gpa at = bench_bar(b, d, 0);

    assert_int_equal(bench_config_read(b, d, 0, 4), 0x00111b36);
    assert_int_equal(bench_read8(b, at), 3);
    bench_write8(b, at, 1);
    assert_int_equal(bench_requests(b, REQUEST_PANIC), 1);
    bench_write8(b, at, 2);
    assert_int_equal(bench_requests(b, REQUEST_CRASHLOADED), 1);
}

RUN_TESTS(TEST(test_events))
