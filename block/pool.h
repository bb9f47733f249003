/* pool.h: threads for host calls that block; private to block/.
 *
 * 1. Every job added is run once, on a pool thread (or at once on the caller when the host gives us
 *    no thread at all), and its post then runs on job->loop, if it has one. */
#ifndef BLOCK_POOL_H
#define BLOCK_POOL_H

#include "util/loop.h"

#define POOL_MAX 64            /* threads that do not wait, see pool_wait_begin() */

typedef struct PoolJob PoolJob;
struct PoolJob {
    void (*run)(PoolJob *j);   /* on the pool; may block, takes locks of rank NODE and below */
    Loop *loop;                /* NULL: nothing is posted, and run() may free the job */
    Post post;                 /* posted to @loop after run() */
    PoolJob *next;             /* private while queued */
};

/* Queues the jobs of the list @first (linked by next), for which up to @n threads more are woken.  Allocates
 * nothing. */
CTX_ANY void pool_add(PoolJob *first, unsigned n);
/* From here to pool_wait_end() this thread waits for what may itself need a thread of the pool: one more may
 * run meanwhile.  Pairs may nest.  Of a thread that is not the pool's, without effect.  False: no thread
 * can be had for that, or this is the caller of pool_add() running a job for want of any: do not wait, fail,
 * do not end it. */
CTX_ANY bool pool_wait_begin(void);
CTX_ANY void pool_wait_end(void);
/* Threads alive: for tests. */
CTX_ANY unsigned pool_threads(void);
/* Lets idle threads end after @ns instead of 10 s: for tests. */
CTX_ANY void pool_set_idle(int64_t ns);

#endif
