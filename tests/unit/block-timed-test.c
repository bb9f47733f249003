/* block-timed-test.c: the times of requests over intervals. */
#include "tests/unit/block-helper.h"
#include "block/timed-stats.h"

#define S NS_PER_SEC

static void tells(BlkTimedStats *t, unsigned i, BlkTimed what, int64_t now, BlkTimes want)
{
    BlkTimes got = blk_timed_tell(t, i, what, now);

    assert_int_equal(got.min, want.min);
    assert_int_equal(got.max, want.max);
    assert_int_equal(got.mean, want.mean);
}

/* Windows of 400 s for an interval of 300 s; the first ends 200 s after the start, the second 400 s. */
static void test_windows(void **state)
{
    const uint32_t seconds[] = { 300, 3 };
    BlkTimedStats *t = blk_timed_new(seconds, 2);
    int64_t start = clock_now(CLOCK_HOST);
    const BlkTimes none = { 0 }, two = { 100, 301, 200, 0 }, three = { 50, 301, 150, 0 };
    const BlkTimes last = { 50, 50, 50, 0 };

    assert_int_equal(blk_timed_seconds(t, 0), 300);
    assert_int_equal(blk_timed_seconds(t, 1), 3);
    assert_int_equal(blk_timed_seconds(t, 2), 0);
    tells(t, 0, BLK_TIMED_READ, start, none);
    blk_timed_count(t, BLK_TIMED_READ, 100, start + S);
    blk_timed_count(t, BLK_TIMED_READ, 301, start + S);
    tells(t, 0, BLK_TIMED_READ, start + 199 * S, two);
    tells(t, 0, BLK_TIMED_READ, start + 201 * S, two);           /* the second has them too */
    tells(t, 0, BLK_TIMED_WRITE, start + 201 * S, none);
    blk_timed_count(t, BLK_TIMED_READ, 50, start + 300 * S);
    tells(t, 0, BLK_TIMED_READ, start + 399 * S, three);
    tells(t, 0, BLK_TIMED_READ, start + 401 * S, last);          /* from 200 s on */
    tells(t, 0, BLK_TIMED_READ, start + 599 * S, last);
    tells(t, 0, BLK_TIMED_READ, start + 601 * S, none);
    blk_timed_count(t, BLK_TIMED_FLUSH, -5, start + 99999 * S);  /* long after, by a clock that was behind */
    blk_timed_count(t, BLK_TIMED_FLUSH, 7, start + 99999 * S);
    tells(t, 0, BLK_TIMED_FLUSH, start + 99999 * S, (BlkTimes){ 0, 7, 3, 0 });
    tells(t, 1, BLK_TIMED_FLUSH, start + 99999 * S, (BlkTimes){ 0, 7, 3, 0 });
    tells(t, 1, BLK_TIMED_FLUSH, start + 100004 * S, none);
    blk_timed_free(t);
}

/* Two requests of which one was always under way. */
static void test_depth(void **state)
{
    const uint32_t seconds[] = { 300, UINT32_MAX };
    BlkTimedStats *t = blk_timed_new(seconds, 2);
    int64_t begin = clock_now(CLOCK_HOST) + 201 * S, now = begin + 300 * S;

    blk_timed_tell(t, 0, BLK_TIMED_WRITE, begin);                /* the first window began a second ago */
    for (unsigned i = 0; i < 60; i++) {
        blk_timed_count(t, BLK_TIMED_WRITE, 10 * S, begin + i * 5 * S);
    }
    double depth = blk_timed_tell(t, 0, BLK_TIMED_WRITE, now).depth;
    assert_true(depth > 1.9 && depth <= 2.01);
    assert_true(blk_timed_tell(t, 0, BLK_TIMED_READ, now).depth == 0);
    assert_int_equal(blk_timed_tell(t, 1, BLK_TIMED_WRITE, now).mean, 10 * S);
    blk_timed_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_depth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
