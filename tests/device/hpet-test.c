/* hpet-test.c: the counter, one-shot and periodic comparators, routing, legacy replacement, messages. */
#include "hw/isa/hpet.h"
#include "tests/device/device-test.h"

#define B HPET_BASE

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &hpet_type, "hpet", "hpet-intcap", "0xff0104", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static uint64_t timer(unsigned n)
{
    return B + 0x100 + 0x20 * n;
}

static void test_registers(void **state)
{
    assert_int_equal(bench_read64(b, B), UINT64_C(0x9896808086a201));
    assert_int_equal(bench_read32(b, B + 4), 10000000);
    assert_int_equal(bench_read64(b, timer(0)), UINT64_C(0xff010400000030));
    assert_int_equal(bench_read64(b, timer(0) + 8), UINT64_MAX);
    assert_int_equal(bench_read64(b, timer(3)), 0);
    bench_write64(b, timer(0), UINT64_MAX);
    assert_int_equal(bench_read64(b, timer(0)), UINT64_C(0xff010400003f7e));    /* no FSB here */
    bench_write64(b, B, 0);
    assert_int_equal(bench_read32(b, B), 0x8086a201);
}

static void test_counter(void **state)
{
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_read64(b, B + 0xf0), 0);
    bench_write64(b, B + 0xf0, 0x1ffffff00ULL);
    bench_write32(b, B + 0x10, 1);
    bench_step(b, 10 * 0x80);
    assert_int_equal(bench_read64(b, B + 0xf0), 0x1ffffff80ULL);
    bench_step(b, 10 * 0x80);
    assert_int_equal(bench_read32(b, B + 0xf0), 0);
    assert_int_equal(bench_read32(b, B + 0xf4), 2);
    bench_write32(b, B + 0x10, 0);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_read64(b, B + 0xf0), 0x200000000ULL);
}

static void test_one_shot(void **state)
{
    bench_write32(b, B + 0x10, 1);
    bench_write32(b, timer(2), 20 << 9 | 1 << 2);
    bench_write64(b, timer(2) + 8, 100000);        /* 1 ms */
    bench_step(b, 999 * NS_PER_US);
    assert_int_equal(bench_irq_raises(b, 20), 0);
    bench_step(b, NS_PER_US);
    assert_int_equal(bench_irq_raises(b, 20), 1);
    bench_write32(b, timer(2), 20 << 9 | 1 << 2);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 20), 0);  /* once */
    bench_write64(b, timer(2) + 8, 5);             /* already past: not lost */
    bench_run(b);
    bench_step(b, 0);
    assert_int_equal(bench_irq_raises(b, 20), 1);
}

static void test_level(void **state)
{
    bench_write32(b, B + 0x10, 1);
    bench_write32(b, timer(1), 21 << 9 | 1 << 2 | 1 << 1);
    bench_write64(b, timer(1) + 8, 1000);
    bench_step(b, NS_PER_MS);
    assert_true(bench_irq(b, 21));
    assert_int_equal(bench_read32(b, B + 0x20), 2);
    bench_write32(b, B + 0x20, 1);
    assert_true(bench_irq(b, 21));
    bench_write32(b, B + 0x20, 2);
    assert_false(bench_irq(b, 21));
    assert_int_equal(bench_read32(b, B + 0x20), 0);
}

/* As Linux programs it: 32-bit, comparator then period with SETVAL. */
static void test_periodic(void **state)
{
    bench_write32(b, B + 0x10, 1);
    bench_write32(b, timer(0), 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8 | 16 << 9);
    bench_write32(b, timer(0) + 8, 100000);
    bench_write32(b, timer(0) + 8, 50000);         /* then every 500 us */
    bench_step(b, 999 * NS_PER_US);
    assert_int_equal(bench_irq_raises(b, 16), 0);
    bench_step(b, NS_PER_US);
    assert_int_equal(bench_irq_raises(b, 16), 1);
    bench_step(b, 100 * NS_PER_MS);
    assert_int_equal(bench_irq_raises(b, 16), 200);
    bench_write32(b, timer(0) + 8, 1);             /* 10 ns: a flood is refused */
    bench_step(b, 10 * NS_PER_MS);
    assert_in_range(bench_irq_raises(b, 16), 1, 501);
}

/* A periodic timer whose period was never written matches once. */
static void test_no_period(void **state)
{
    bench_write32(b, timer(0), 1 << 2 | 16 << 9);
    bench_write64(b, timer(0) + 8, 1000);
    bench_write32(b, timer(0), 1 << 2 | 1 << 3 | 16 << 9);
    bench_write32(b, B + 0x10, 1);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 16), 1);
}

static void test_legacy(void **state)
{
    IrqSink *in = hpet_inputs(d);

    in->set(in, 0, true);
    in->set(in, 1, true);
    assert_true(bench_irq(b, 0) && bench_irq(b, 8));
    in->set(in, 0, false);
    assert_false(bench_irq(b, 0));
    assert_false(b->pit_replaced);
    bench_write32(b, B + 0x10, 3);
    assert_false(bench_irq(b, 8));                 /* cut off */
    assert_true(b->pit_replaced);
    in->set(in, 0, true);
    assert_false(bench_irq(b, 0));
    bench_irq_raises(b, 0);
    bench_irq_raises(b, 8);
    bench_write32(b, timer(0), 1 << 2 | 20 << 9);
    bench_write64(b, timer(0) + 8, 1000);
    bench_write32(b, timer(1), 1 << 2);
    bench_write64(b, timer(1) + 8, 2000);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_irq_raises(b, 0), 1);
    assert_int_equal(bench_irq_raises(b, 8), 1);
    assert_int_equal(bench_irq_raises(b, 20), 0);
    bench_write32(b, B + 0x10, 0);
    assert_true(bench_irq(b, 0) && bench_irq(b, 8));       /* the old timers' levels are back */
    assert_false(b->pit_replaced);
    bench_write32(b, B + 0x10, 2);
    assert_true(b->pit_replaced);
    bench_reset(b);
    assert_false(b->pit_replaced);
}

static void test_message(void **state)
{
    Device *m;

    bench_remove(b, d);
    m = bench_device(b, &hpet_type, "hpet2", "msi", "on", "timers", "8", NULL);
    assert_non_null(m);
    assert_int_equal(bench_read32(b, B) >> 8 & 31, 7);
    bench_write32(b, B + 0x10, 1);
    bench_write64(b, timer(7) + 16, UINT64_C(0xfee0100000004031));
    bench_write32(b, timer(7), 1 << 2 | 1 << 14);
    bench_write64(b, timer(7) + 8, 1000);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->addr, 0xfee01000);
    assert_int_equal(bench_msi(b, 0)->data, 0x4031);
}

static void test_state(void **state)
{
    bench_write32(b, B + 0x10, 1);
    bench_write32(b, timer(0), 1 << 2 | 1 << 3 | 1 << 6 | 16 << 9);
    bench_write64(b, timer(0) + 8, 100000);
    bench_write32(b, timer(2), 20 << 9 | 1 << 2);
    bench_write64(b, timer(2) + 8, 150000);
    bench_step(b, 500 * NS_PER_US);
    bench_save_load(b, d);
    assert_int_equal(bench_read64(b, B + 0xf0), 50000);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_irq_raises(b, 16), 1);
    assert_int_equal(bench_irq_raises(b, 20), 1);
    bench_reset(b);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 16), 0);
    assert_int_equal(bench_read64(b, B + 0xf0), 0);
}

RUN_TESTS(TEST(test_registers), TEST(test_counter), TEST(test_one_shot), TEST(test_level),
          TEST(test_periodic), TEST(test_no_period), TEST(test_legacy), TEST(test_message), TEST(test_state))
