/* isa-debug-exit-test.c: the status a guest chooses. */
#include "tests/device/device-test.h"

extern const DeviceType isa_debug_exit_type;

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

static void test_exit(void **state)
{
    Error *e = NULL;

    bench_device(b, &isa_debug_exit_type, "exit", NULL);
    assert_int_equal(bench_in8(b, 0x501), 0);
    bench_out8(b, 0x501, 0x10);
    assert_int_equal(bench_requests(b, REQUEST_EXIT), 1);
    assert_int_equal(b->request_detail[REQUEST_EXIT], 0x21);
    bench_device(b, &isa_debug_exit_type, "exit4", "iobase", "0xf4", "iosize", "4", NULL);
    bench_out32(b, 0xf4, 0);
    assert_int_equal(bench_requests(b, REQUEST_EXIT), 1);
    assert_int_equal(b->request_detail[REQUEST_EXIT], 1);
    assert_null(bench_try_device(b, &isa_debug_exit_type, "x", &e, "iobase", "0xffff", NULL));
    assert_non_null(e);
    error_free(e);
}

RUN_TESTS(TEST(test_exit))
