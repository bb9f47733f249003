/* timed-stats.c: the time requests took, over intervals, see timed-stats.h. */
#include "block/timed-stats.h"

#include "util/clock.h"
#include "util/lock.h"

typedef struct Window {
    int64_t end;               /* CLOCK_HOST */
    uint64_t min, max, sum, count;
} Window;

typedef struct Interval {
    uint32_t seconds;
    int64_t length;            /* of a window, ns */
    Window windows[BLK_TIMED_KINDS][2];
} Interval;

struct BlkTimedStats {
    Lock lock;                 /* guards the windows */
    unsigned count;
    Interval intervals[];
};

BlkTimedStats *blk_timed_new(const uint32_t *seconds, unsigned count)
{
    BlkTimedStats *t = g_malloc0(sizeof(*t) + count * sizeof(t->intervals[0]));
    int64_t now = clock_now(CLOCK_HOST);

    lock_init(&t->lock, RANK_LEAF, "blk-timed");
    t->count = count;
    for (unsigned i = 0; i < count; i++) {
        Interval *v = &t->intervals[i];

        v->seconds = seconds[i];
        v->length = seconds[i] * NS_PER_SEC / 3 * 4;
        for (unsigned what = 0; what < BLK_TIMED_KINDS; what++) {
            v->windows[what][0].end = now + v->length / 2;
            v->windows[what][1].end = now + v->length;
        }
    }
    return t;
}

void blk_timed_free(BlkTimedStats *t)
{
    if (t != NULL) {
        lock_destroy(&t->lock);
        g_free(t);
    }
}

/* Both begin anew as often as it is time for that. */
static void move_locked(Interval *v, BlkTimed what, int64_t now)
{
    for (unsigned i = 0; i < 2; i++) {
        Window *w = &v->windows[what][i];

        if (now >= w->end) {
            *w = (Window){ .end = w->end + ((now - w->end) / v->length + 1) * v->length };
        }
    }
}

void blk_timed_count(BlkTimedStats *t, BlkTimed what, int64_t ns, int64_t now)
{
    uint64_t took = MAX(ns, 0);

    lock_take(&t->lock);
    for (unsigned i = 0; i < t->count; i++) {
        move_locked(&t->intervals[i], what, now);
        for (unsigned k = 0; k < 2; k++) {
            Window *w = &t->intervals[i].windows[what][k];

            w->min = w->count == 0 ? took : MIN(w->min, took);
            w->max = MAX(w->max, took);
            w->sum += took;
            w->count++;
        }
    }
    lock_drop(&t->lock);
}

uint32_t blk_timed_seconds(const BlkTimedStats *t, unsigned i)
{
    return i < t->count ? t->intervals[i].seconds : 0;
}

BlkTimes blk_timed_tell(BlkTimedStats *t, unsigned i, BlkTimed what, int64_t now)
{
    Interval *v = &t->intervals[i];

    lock_take(&t->lock);
    move_locked(v, what, now);
    const Window *both = v->windows[what], w = both[both[1].end < both[0].end];
    lock_drop(&t->lock);
    int64_t since = v->length - (w.end - now);
    return (BlkTimes){
        .min = w.min, .max = w.max, .mean = w.count > 0 ? w.sum / w.count : 0,
        .depth = since > 0 ? (double)w.sum / (double)since : 0,
    };
}
