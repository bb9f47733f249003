/* pc-testdev-test.c: echo, interrupt lines, device memory, dropping a page. */
#include "tests/device/device-test.h"

extern const DeviceType pc_testdev_type;

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &pc_testdev_type, "testdev", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_all(void **state)
{
    bench_out32(b, 0xe0, 0x11223344);
    assert_int_equal(bench_in32(b, 0xe0), 0x11223344);
    bench_out8(b, 0xe1, 0x99);
    assert_int_equal(bench_in16(b, 0xe0), 0x9944);
    bench_out8(b, 0x2000 + 17, 1);
    assert_true(bench_irq(b, 17));
    bench_out8(b, 0x2000 + 17, 0);
    assert_false(bench_irq(b, 17));
    bench_write64(b, 0xff000ff8, UINT64_C(0x1122334455667788));
    assert_int_equal(bench_read32(b, 0xff000ffc), 0x11223344);
    *bench_ram(b, 0x3000, 1) = 0x77;
    bench_out32(b, 0xe4, 0x3000);
    assert_int_equal(*bench_ram(b, 0x3000, 1), 0x77);
    *bench_ram(b, 0x3000, 1) = 0x78;               /* still writable */
    bench_out32(b, 0xe4, 0xf0000000);              /* no memory: nothing */
    bench_save_load(b, d);
    assert_int_equal(bench_read8(b, 0xff000ff8), 0x88);
    bench_reset(b);
    assert_int_equal(bench_read8(b, 0xff000ff8), 0);
    bench_remove(b, d);
    assert_int_equal(bench_read8(b, 0xff000ff8), 0xff);
}

RUN_TESTS(TEST(test_all))
