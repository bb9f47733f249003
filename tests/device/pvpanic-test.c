/* pvpanic-test.c: the events of the ISA port. */
#include "tests/device/device-test.h"
#include "util/trace.h"

extern const DeviceType pvpanic_type;

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
    bench_device(b, &pvpanic_type, "panic", NULL);
    assert_int_equal(bench_in8(b, 0x505), 3);
    bench_out8(b, 0x505, 1);
    assert_int_equal(bench_requests(b, REQUEST_PANIC), 1);
    bench_out8(b, 0x505, 2);
    assert_int_equal(bench_requests(b, REQUEST_CRASHLOADED), 1);
    unsigned long bugs = guest_bug_count();
    bench_out8(b, 0x505, 0x80);
    assert_int_equal(guest_bug_count(), bugs + 1);
    assert_int_equal(bench_requests(b, REQUEST_PANIC), 0);
    bench_device(b, &pvpanic_type, "half", "ioport", "0x600", "events", "1", NULL);
    assert_int_equal(bench_in8(b, 0x600), 1);
    bench_out8(b, 0x600, 2);
    assert_int_equal(bench_requests(b, REQUEST_CRASHLOADED), 0);
}

RUN_TESTS(TEST(test_events))
