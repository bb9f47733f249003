/* filter.h: what filters share; private to block/.
 *
 * 1. A filter has the size and the limits of its child, and hands on what it does not change. */
#ifndef BLOCK_FILTER_H
#define BLOCK_FILTER_H

#include "block/block-int.h"
#include "block/gate.h"

/* Work of a filter that blocks, on a thread of the filter's own: on the pool it could keep from running
 * what it waits for. */
typedef struct FilterJob FilterJob;
struct FilterJob {
    void (*run)(FilterJob *j); /* on the filter's thread */
    void (*over)(FilterJob *j);        /* afterwards, on @home */
    Loop *home;
    Post post;
};

/* Queues @j at @worker, a loop of the filter's. */
void blk_filter_work(Loop *worker, FilterJob *j);

/* A request that run() does on the filter's thread while its blocks are its own. */
typedef struct FilterPass FilterPass;
struct FilterPass {
    BlkReq *up;
    BlkNode *node;
    GateRange range;
    int ret;                   /* what it ends with: run()'s */
    void (*run)(FilterPass *p);
    Gate *gate;
    Loop *worker;
    FilterJob job;
};

/* Takes @r at @n: run() follows as soon as the gate lets the blocks of @block bytes it touches in, @alone or
 * beside others. */
void blk_filter_pass(BlkNode *n, BlkReq *r, uint64_t block, bool alone, Gate *gate, Loop *worker,
                     void (*run)(FilterPass *p));
/* The filter's thread, or NULL; and its end, with nothing queued. */
Loop *blk_filter_worker(Error **errp);
void blk_filter_worker_end(Loop *worker);

/* Takes size, limits and the like from the child; true. */
bool blk_filter_open(BlkNode *n);
void blk_filter_relinked(BlkNode *n);
void blk_filter_resized(BlkNode *n);
bool blk_filter_rights(BlkNode *n, unsigned need, unsigned share, Error **errp);
bool blk_filter_truncate(BlkNode *n, uint64_t size, Error **errp);
int blk_filter_write_compressed(BlkNode *n, uint64_t off, const void *buf, size_t len);

/* Members of BlkDriver. */
#define BLK_FILTER_FORWARDS \
    .relinked = blk_filter_relinked, \
    .child_resized = blk_filter_resized, \
    .rights = blk_filter_rights, \
    .truncate = blk_filter_truncate, \
    .write_compressed = blk_filter_write_compressed

#endif
