/* isa-pcspk-test.c: port 0x61 alone; isa-pit-test.c has it with a PIT. */
#include "hw/isa/i8254.h"
#include "tests/device/device-test.h"

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

static void test_alone(void **state)
{
    Device *d = bench_device(b, &isa_pcspk_type, "spk", NULL);

    assert_int_equal(bench_in8(b, 0x61) & 0x23, 0);
    bench_out8(b, 0x61, 0xff);
    assert_int_equal(bench_in8(b, 0x61) & 0xef, 0x23);
    bench_save_load(b, d);
    assert_int_equal(bench_in8(b, 0x61) & 0xef, 0x23);
    bench_reset(b);
    assert_int_equal(bench_in8(b, 0x61) & 0x23, 0);
}

RUN_TESTS(TEST(test_alone))
