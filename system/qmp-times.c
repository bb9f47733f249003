/* qmp-times.c: how long the requests of disks take, see qmp-times.h. */
#include "system/qmp-times.h"

#include "block/timed-stats.h"
#include "qapi/commands.h"
#include "util/clock.h"

bool qmp_block_latency_histogram_set(const char *id, bool has_boundaries, const Uint64List *boundaries,
                                     bool has_boundaries_read, const Uint64List *boundaries_read,
                                     bool has_boundaries_write, const Uint64List *boundaries_write,
                                     bool has_boundaries_flush, const Uint64List *boundaries_flush,
                                     Error **errp)
{
    const struct { bool has; const Uint64List *list; const char *what; } own[] = {
        { has_boundaries_read, boundaries_read, "read" },
        { has_boundaries_write, boundaries_write, "write" },
        { has_boundaries_flush, boundaries_flush, "flush" },
    };
    BlkFront *f = blk_front_find(id);
    bool none = !has_boundaries;
    static const uint64_t nothing;

    if (f == NULL) {
        return error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", id);
    }
    for (unsigned i = 0; i < ARRAY_LEN(own); i++) {
        none = none && !own[i].has;
    }
    for (unsigned i = 0; i < ARRAY_LEN(own); i++) {
        const Uint64List *list = own[i].has ? own[i].list : boundaries;

        if (none) {
            blk_front_histogram(f, (BlkTimed)i, NULL, 0);
        } else if ((own[i].has || has_boundaries) &&
                   !blk_front_histogram(f, (BlkTimed)i, list->n > 0 ? list->at : &nothing, list->n)) {
            return error_set(errp, "Device '%s' set %s boundaries fail", id, own[i].what);
        }
    }
    return true;
}

static BlockLatencyHistogramInfo *tell_one(const BlkHistogram *h)
{
    BlockLatencyHistogramInfo *i;

    if (h == NULL) {
        return NULL;
    }
    i = qapi_new_block_latency_histogram_info();
    for (unsigned b = 0; b < h->count; b++) {
        qapi_append(&i->boundaries, h->bounds[b]);
    }
    for (unsigned b = 0; b <= h->count; b++) {
        qapi_append(&i->bins, __atomic_load_n(&h->bins[b], __ATOMIC_RELAXED));
    }
    return i;
}

static void tell_intervals(BlkTimedStats *t, BlockDeviceStats *s)
{
    int64_t now = clock_now(CLOCK_HOST);

    for (unsigned i = 0; blk_timed_seconds(t, i) > 0; i++) {
        BlockDeviceTimedStats *v = qapi_new_block_device_timed_stats();
        BlkTimes rd = blk_timed_tell(t, i, BLK_TIMED_READ, now);
        BlkTimes wr = blk_timed_tell(t, i, BLK_TIMED_WRITE, now);
        BlkTimes flush = blk_timed_tell(t, i, BLK_TIMED_FLUSH, now);

        v->interval_length = blk_timed_seconds(t, i);
        v->min_rd_latency_ns = rd.min;
        v->max_rd_latency_ns = rd.max;
        v->avg_rd_latency_ns = rd.mean;
        v->min_wr_latency_ns = wr.min;
        v->max_wr_latency_ns = wr.max;
        v->avg_wr_latency_ns = wr.mean;
        v->min_flush_latency_ns = flush.min;
        v->max_flush_latency_ns = flush.max;
        v->avg_flush_latency_ns = flush.mean;
        v->avg_rd_queue_depth = rd.depth;
        v->avg_wr_queue_depth = wr.depth;
        qapi_append(&s->timed_stats, v);
    }
}

void qmp_tell_no_times(const BlkWords *words, BlockDeviceStats *s)
{
    BlkTimedStats *t = blk_timed_new(words->intervals, words->intervals_count);

    tell_intervals(t, s);
    blk_timed_free(t);
}

void qmp_tell_times(const BlkFront *f, BlockDeviceStats *s)
{
    if (f->timed != NULL) {
        tell_intervals(f->timed, s);
    }
    s->rd_latency_histogram = tell_one(f->histograms[BLK_TIMED_READ]);
    s->wr_latency_histogram = tell_one(f->histograms[BLK_TIMED_WRITE]);
    s->flush_latency_histogram = tell_one(f->histograms[BLK_TIMED_FLUSH]);
}
