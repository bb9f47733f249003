/* isa-pit-test.c: the modes of the 8254, latches, read-back, gates, and the speaker port over it. */
#include "hw/isa/i8254.h"
#include "tests/device/device-test.h"

static Bench *b;
static Device *pit, *spk;

static int setup(void **state)
{
    b = bench_new();
    pit = bench_device(b, &i8254_type, "pit", NULL);
    spk = bench_device(b, &isa_pcspk_type, "spk", NULL);
    pcspk_set_pit(spk, pit);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void program(unsigned ch, unsigned mode, unsigned count)
{
    bench_out8(b, 0x43, ch << 6 | 0x30 | mode << 1);
    bench_out8(b, 0x40 + ch, (uint8_t)count);
    bench_out8(b, 0x40 + ch, count >> 8);
}

static unsigned latched(unsigned ch)
{
    bench_out8(b, 0x43, ch << 6);
    unsigned low = bench_in8(b, 0x40 + ch);

    return low | bench_in8(b, 0x40 + ch) << 8;
}

static uint8_t status(unsigned ch)
{
    bench_out8(b, 0x43, 0xe0 | 2 << ch);
    return bench_in8(b, 0x40 + ch);
}

/* Nanoseconds of @ticks, a little more. */
static int64_t ns(int64_t ticks)
{
    return ticks * NS_PER_SEC / PIT_HZ + 2;
}

static void test_rate(void **state)
{
    program(0, 2, 11932);                          /* 100 Hz */
    bench_irq_raises(b, 0);
    bench_step(b, NS_PER_SEC);
    assert_in_range(bench_irq_raises(b, 0), 99, 100);
    program(0, 3, 0);                              /* 65536: 18.2 Hz */
    bench_irq_raises(b, 0);
    bench_step(b, 10 * NS_PER_SEC);
    assert_in_range(bench_irq_raises(b, 0), 182, 182);
    assert_int_equal(status(0) & 0x7f, 0x36);
}

static void test_late_loop(void **state)
{
    program(0, 2, 1193);
    bench_irq_raises(b, 0);
    bench_step(b, NS_PER_SEC);
    assert_in_range(bench_irq_raises(b, 0), 999, 1001);
    program(0, 2, 1);                              /* an interrupt flood is refused */
    bench_irq_raises(b, 0);
    bench_step(b, 10 * NS_PER_MS);
    assert_in_range(bench_irq_raises(b, 0), 1, 501);
}

static void test_one_shot(void **state)
{
    bench_step(b, NS_PER_MS);
    program(0, 0, 1000);
    assert_false(bench_irq(b, 0));
    assert_int_equal(status(0), 0x30);
    bench_step(b, ns(999));
    assert_false(bench_irq(b, 0));
    bench_step(b, ns(1));
    assert_true(bench_irq(b, 0));
    assert_int_equal(status(0), 0xb0);
    bench_irq_raises(b, 0);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 0), 0);
    program(0, 4, 500);                            /* software strobe */
    assert_true(bench_irq(b, 0));
    bench_step(b, ns(502));
    assert_int_equal(bench_irq_raises(b, 0), 1);
}

static void test_counting(void **state)
{
    program(0, 2, 1000);
    bench_step(b, ns(100));
    assert_int_equal(latched(0), 900);
    bench_out8(b, 0x43, 0);                        /* latched twice: the first stands */
    bench_step(b, ns(50));
    assert_int_equal(latched(0), 900);
    assert_int_equal(latched(0), 850);
    bench_out8(b, 0x43, 0x80 | 0x31);              /* channel 2, BCD, mode 0 */
    bench_out8(b, 0x61, 1);
    bench_out8(b, 0x42, 0x00);
    bench_out8(b, 0x42, 0x10);
    bench_step(b, ns(1));
    assert_int_equal(latched(2), 0x0999);
    bench_out8(b, 0x43, 0x10);                     /* channel 0, low byte only */
    bench_out8(b, 0x40, 200);
    bench_step(b, ns(10));
    assert_int_equal(bench_in8(b, 0x40), 190);
    assert_int_equal(bench_in8(b, 0x40), 190);
    bench_out8(b, 0x43, 0xc0 | 0x0a);              /* read-back: count and status of 0 and 2 */
    assert_int_equal(bench_in8(b, 0x40), 0x10);
    assert_int_equal(bench_in8(b, 0x40), 190);
    assert_int_equal(bench_in8(b, 0x42) & 0x7f, 0x31);
}

/* As Linux calibrates: gate on, mode 0, wait for bit 5. */
static void test_speaker(void **state)
{
    bench_out8(b, 0x61, 0);
    program(2, 0, 59659);                          /* 50 ms */
    assert_int_equal(bench_in8(b, 0x61) & 0x23, 0);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0);        /* the gate is off: nothing counts */
    bench_out8(b, 0x61, 1);
    bench_step(b, 30 * NS_PER_MS);
    bench_out8(b, 0x61, 0);
    bench_step(b, NS_PER_SEC);
    bench_out8(b, 0x61, 3);
    assert_int_equal(bench_in8(b, 0x61) & 0x23, 3);
    bench_step(b, 19 * NS_PER_MS);
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0);
    bench_step(b, 2 * NS_PER_MS);
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0x20);
    uint8_t r = bench_in8(b, 0x61) & 0x10;
    bench_step(b, 15085);
    assert_int_equal(bench_in8(b, 0x61) & 0x10, r ^ 0x10);
}

static void test_triggered(void **state)
{
    program(2, 1, 1000);
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0x20);
    bench_step(b, NS_PER_SEC);
    bench_out8(b, 0x61, 1);                        /* the trigger */
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0);
    bench_step(b, ns(999));
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0);
    bench_step(b, ns(1));
    assert_int_equal(bench_in8(b, 0x61) & 0x20, 0x20);
}

static void test_state(void **state)
{
    program(0, 2, 11932);
    bench_out8(b, 0x61, 3);
    program(2, 3, 5000);
    bench_out8(b, 0x42, 1);
    bench_step(b, 5 * NS_PER_MS);
    bench_save_load(b, pit);
    bench_save_load(b, spk);
    bench_irq_raises(b, 0);
    bench_step(b, 5 * NS_PER_MS + 1000);
    assert_int_equal(bench_irq_raises(b, 0), 1);
    bench_reset(b);
    bench_irq_raises(b, 0);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 0), 0);
}

RUN_TESTS(TEST(test_rate), TEST(test_late_loop), TEST(test_one_shot), TEST(test_counting),
          TEST(test_speaker), TEST(test_triggered), TEST(test_state))
