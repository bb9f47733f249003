/* timed-stats.h: how long requests of a disk took in its latest intervals (-drive stats-intervals.N=SECONDS).
 *
 *   requests --blk_timed_count()--> two windows of each interval --blk_timed_tell()--> query-blockstats
 *
 * 1. A window lasts 4/3 of its interval and then begins anew; the two of an interval are half a window apart.
 *    The one that ends first is told: it holds the last 2/3 to 4/3 of the interval.
 * 2. Any loop counts, under a lock of the disk's own; a disk without intervals has none of this. */
#ifndef BLOCK_TIMED_STATS_H
#define BLOCK_TIMED_STATS_H

#include "block/front.h"

typedef struct BlkTimedStats BlkTimedStats;

typedef struct BlkTimes {
    uint64_t min, max, mean;   /* ns of a request; 0: there was none */
    double depth;              /* requests at a time, on average over the window */
} BlkTimes;

/* Of @count intervals of @seconds (copied), each above 0.  blk_timed_free() ends it. */
CTX_ANY BlkTimedStats *blk_timed_new(const uint32_t *seconds, unsigned count);
CTX_ANY void blk_timed_free(BlkTimedStats *t);
/* A request took @ns until @now (CLOCK_HOST); what is negative counts as 0. */
CTX_ANY void blk_timed_count(BlkTimedStats *t, BlkTimed what, int64_t ns, int64_t now);
/* The length of interval @i in seconds; 0: there are no more. */
CTX_ANY uint32_t blk_timed_seconds(const BlkTimedStats *t, unsigned i);
/* What interval @i knows of @what at @now (CLOCK_HOST). */
CTX_ANY BlkTimes blk_timed_tell(BlkTimedStats *t, unsigned i, BlkTimed what, int64_t now);

#endif
