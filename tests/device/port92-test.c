/* port92-test.c: fast reset and the A20 bit. */
#include "tests/device/device-test.h"

extern const DeviceType port92_type;

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &port92_type, "port92", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_port(void **state)
{
    assert_int_equal(bench_in8(b, 0x92), 0);
    bench_out8(b, 0x92, 2);
    assert_int_equal(bench_in8(b, 0x92), 2);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);
    bench_out8(b, 0x92, 3);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    bench_out8(b, 0x92, 3);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);         /* an edge */
    bench_save_load(b, d);
    assert_int_equal(bench_in8(b, 0x92), 3);
    bench_reset(b);
    assert_int_equal(bench_in8(b, 0x92), 0);
}

RUN_TESTS(TEST(test_port))
