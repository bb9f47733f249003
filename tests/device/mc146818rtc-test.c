/* mc146818rtc-test.c: the clock keeps time, is set, alarms, ticks and remembers. */
#include "hw/isa/mc146818rtc.h"
#include "tests/device/device-test.h"

enum { A = 10, B = 11, C = 12, D = 13 };

static Bench *b;
static Device *d;

static uint8_t get(uint8_t reg)
{
    bench_out8(b, 0x70, reg);
    return bench_in8(b, 0x71);
}

static void put(uint8_t reg, uint8_t val)
{
    bench_out8(b, 0x70, reg);
    bench_out8(b, 0x71, val);
}

/* Sets a time as Linux does: stopped, and released half a second before the first update. */
static void set_time(uint8_t y, uint8_t mo, uint8_t da, uint8_t h, uint8_t mi, uint8_t s)
{
    put(B, get(B) | 0x80);
    put(A, 0x76);
    put(9, y);
    put(8, mo);
    put(7, da);
    put(4, h);
    put(2, mi);
    put(0, s);
    put(0x32, 0x20);
    put(B, get(B) & 0x7f);
    put(A, 0x26);
}

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &mc146818rtc_type, "rtc", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_defaults(void **state)
{
    assert_int_equal(get(A) & 0x7f, 0x26);
    assert_int_equal(get(B), 0x02);
    assert_int_equal(get(D), 0x80);
    assert_int_equal(bench_in8(b, 0x70), 0xff);
    assert_int_equal(get(0x32), 0x20);
    put(0x40, 0x77);
    assert_int_equal(get(0xc0), 0x77);             /* bit 7 of the index masks NMI only */
    rtc_cmos_set(d, 0x5b, 0x12);
    assert_int_equal(get(0x5b), 0x12);
}

static void test_time_runs(void **state)
{
    set_time(0x24, 0x02, 0x28, 0x23, 0x59, 0x58);
    bench_step(b, 499 * NS_PER_MS);
    assert_int_equal(get(0), 0x58);
    bench_step(b, 2 * NS_PER_MS);
    assert_int_equal(get(0), 0x59);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(get(0), 0x00);
    assert_int_equal(get(4), 0x00);
    assert_int_equal(get(7), 0x29);                /* a leap year */
    assert_int_equal(get(6), 5);                   /* a Thursday; Sunday is 1 */
    bench_step(b, 86400 * NS_PER_SEC);
    assert_int_equal(get(7), 0x01);
    assert_int_equal(get(8), 0x03);
    put(B, 0x06);                                  /* binary, 24 hours */
    assert_int_equal(get(9), 24);
    put(B, 0x00);                                  /* BCD, 12 hours */
    assert_int_equal(get(4), 0x12);                /* midnight is 12 AM */
    bench_step(b, 13 * 3600 * NS_PER_SEC);
    assert_int_equal(get(4), 0x81);
}

static void test_update_in_progress(void **state)
{
    set_time(0x24, 1, 1, 0, 0, 0);
    bench_step(b, 499 * NS_PER_MS);
    assert_int_equal(get(A) & 0x80, 0);
    bench_step(b, 900 * NS_PER_US);
    assert_int_equal(get(A) & 0x80, 0x80);
    bench_step(b, 200 * NS_PER_US);
    assert_int_equal(get(A) & 0x80, 0);
}

static void test_update_interrupt(void **state)
{
    set_time(0x24, 1, 1, 0, 0, 0);
    get(C);
    put(B, 0x12);
    bench_step(b, 499 * NS_PER_MS);
    assert_false(bench_irq(b, 8));
    bench_step(b, 2 * NS_PER_MS);
    assert_true(bench_irq(b, 8));
    assert_int_equal(get(C) & 0xb0, 0x90);
    assert_false(bench_irq(b, 8));
    bench_step(b, NS_PER_SEC);
    assert_true(bench_irq(b, 8));
}

static void alarmed(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_alarm(void **state)
{
    unsigned alarms = 0;

    rtc_on_alarm(d, alarmed, &alarms);
    set_time(0x24, 1, 1, 0x10, 0x20, 0x30);
    put(1, 0x00);
    put(3, 0x00);
    put(5, 0xff);                                  /* any hour */
    get(C);
    put(B, 0x22);
    bench_step(b, 39 * 60 * NS_PER_SEC);
    assert_false(bench_irq(b, 8));
    bench_step(b, 40 * NS_PER_SEC);
    assert_true(bench_irq(b, 8));
    assert_int_equal(get(4), 0x11);
    assert_int_equal(get(0), 0x10);
    assert_int_equal(alarms, 1);
    assert_int_equal(get(C) & 0xa0, 0xa0);
    bench_step(b, 3600 * NS_PER_SEC);
    assert_true(bench_irq(b, 8));
    put(5, 0x31);                                  /* an hour that never comes */
    get(C);
    bench_step(b, 2 * 86400 * NS_PER_SEC);
    assert_false(bench_irq(b, 8));
}

static void test_polled_flags(void **state)
{
    set_time(0x24, 1, 1, 0, 0, 0);
    get(C);
    assert_int_equal(get(C), 0);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(get(C), 0x50);                /* no interrupt was asked for: PF, UF */
    assert_false(bench_irq(b, 8));
}

static void test_periodic(void **state)
{
    put(A, 0x26);                                  /* 1024 Hz */
    put(B, 0x42);
    bench_irq_raises(b, 8);
    for (int i = 0; i < 100; i++) {
        bench_step(b, 976563);
        get(C);
    }
    assert_in_range(bench_irq_raises(b, 8), 99, 101);
    put(A, 0x20);
    get(C);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(bench_irq_raises(b, 8), 0);
}

static void test_lost_ticks_slew(void **state)
{
    Device *slew = bench_device(b, &mc146818rtc_type, "slew", "iobase", "0x74", "irq", "9",
                                "lost_tick_policy", "slew", NULL);
    unsigned n = 0;

    assert_non_null(slew);
    bench_out8(b, 0x74, A);
    bench_out8(b, 0x75, 0x2f);                     /* 2 Hz */
    bench_out8(b, 0x74, B);
    bench_out8(b, 0x75, 0x42);
    bench_step(b, 5 * NS_PER_SEC);                 /* the guest does not look: ten ticks, one taken */
    bench_out8(b, 0x74, C);
    for (int i = 0; i < 60; i++) {
        n += (bench_in8(b, 0x75) & 0x40) != 0;
        bench_step(b, 250 * NS_PER_MS);
    }
    assert_in_range(n, 38, 41);                    /* all forty of twenty seconds */
}

static void test_frozen(void **state)
{
    set_time(0x24, 5, 6, 7, 8, 9);
    put(B, 0x82);
    bench_step(b, 100 * NS_PER_SEC);
    assert_int_equal(get(0), 0x09);
    put(0, 0x99);                                  /* nonsense is normalised, not crashed on */
    put(8, 0xff);
    put(7, 0x00);
    put(B, 0x02);
    get(8);
    assert_in_range(get(0), 0, 0x59);
}

/* Years that nanoseconds since 1970 could not count. */
static void test_far_years(void **state)
{
    set_time(0x99, 0x12, 0x31, 0x23, 0x59, 0x59);
    put(0x32, 0x99);
    bench_step(b, 400 * NS_PER_MS);
    assert_int_equal(get(0x32), 0x99);
    assert_int_equal(get(9), 0x99);
    assert_int_equal(get(8), 0x12);
    put(B, 0x06);
    put(0x32, 0xff);                               /* the year 25599 */
    bench_save_load(b, d);
    assert_int_equal(get(9), 99);
    bench_step(b, NS_PER_SEC);
    assert_int_equal(get(9), 0);
    assert_int_equal(get(7), 1);
}

static void test_state(void **state)
{
    Error *e = NULL;

    set_time(0x24, 1, 2, 3, 4, 5);
    put(0x44, 0x99);
    put(B, 0x72);
    bench_step(b, 700 * NS_PER_MS);
    bench_save_load(b, d);
    assert_int_equal(get(0), 0x06);
    assert_int_equal(get(0x44), 0x99);
    bench_reset(b);
    assert_int_equal(get(B), 0x02);                /* enables are cleared, memory and time stay */
    assert_int_equal(get(0x44), 0x99);
    assert_int_equal(get(4), 0x03);
    assert_false(bench_irq(b, 8));
    g_autoptr(GByteArray) bad = bench_save(b, d);
    for (guint i = 0; i < bad->len; i++) {
        bad->data[i] ^= i % 7 ? 0 : 0x80;
    }
    assert_false(bench_load(b, d, bad, &e));
    error_free(e);
}

RUN_TESTS(TEST(test_defaults), TEST(test_time_runs), TEST(test_update_in_progress),
          TEST(test_update_interrupt), TEST(test_alarm), TEST(test_polled_flags), TEST(test_periodic),
          TEST(test_lost_ticks_slew), TEST(test_frozen), TEST(test_far_years), TEST(test_state))
