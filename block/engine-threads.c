/* engine-threads.c: aio=threads, the pool, and what the page cache can answer at once.
 *
 * 1. A small transfer through the page cache is first tried with RWF_NOWAIT on the loop itself: a
 *    hit costs one system call instead of two thread switches.  Misses are given a growing rest, so
 *    a cold or unwilling file soon costs nothing.
 * 2. A file on tmpfs is in the page cache and nowhere else: tmpfs knows no RWF_NOWAIT, and needs none;
 *    O_DIRECT makes no difference to it.
 * 3. Of several large reads in a batch every second goes to the pool: copying is what takes the time
 *    then, and another processor may do it.  Writes stay: a file system lets one at a time into an inode,
 *    and the others would spin at its lock. */
#include <errno.h>
#include "block/engine.h"
#include "block/pool.h"
#include "util/fault.h"

#define NOWAIT_MAX (64 * 1024)     /* bytes copied on the loop; more is spread over the pool */
#define SHARE_MIN (32 * 1024)      /* bytes worth waking a thread for, in a batch, */
#define HELPERS 3                  /* and how many threads that are */
#define REST_MAX 256               /* requests not tried after a series of misses */

typedef struct Threads {
    BlkLoop *bl;
    BlkReq *head, **tail;
    struct { unsigned rest, next_rest; } nowait[2];   /* reads, writes */
} Threads;

static int threads_probe(void)
{
    return 0;
}

static int threads_open(BlkLoop *bl, void **out)
{
    Threads *t = g_new0(Threads, 1);

    t->bl = bl;
    t->tail = &t->head;
    *out = t;
    return 0;
}

static void threads_close(void *e)
{
    g_free(e);
}

static void threads_queue(void *e, BlkReq *r)
{
    Threads *t = e;

    r->next = NULL;
    *t->tail = r;
    t->tail = &r->next;
}

/* True if the page cache had all of it. */
static bool try_nowait(Threads *t, BlkReq *r)
{
    bool write = r->op == BLK_WRITE;
    const BlkNode *n = r->at->node;
    unsigned *rest = &t->nowait[write].rest, *next_rest = &t->nowait[write].next_rest;

    if ((n->direct && !n->in_memory) || r->left > NOWAIT_MAX || (r->flags & BLK_FUA)) {
        return false;
    }
    if (*rest > 0) {
        --*rest;
        return false;
    }
    int flags = n->in_memory ? 0 : RWF_NOWAIT;
    ssize_t got = FAULT(write ? "file-write" : "file-read") ? -1 :
                  write ? pwritev2(n->fd, r->cur, (int)r->ncur, (off_t)r->pos, flags)
                        : preadv2(n->fd, r->cur, (int)r->ncur, (off_t)r->pos, flags);
    if (got == (ssize_t)r->left) {
        *next_rest = 0;
        return true;
    }
    *next_rest = MIN(*next_rest * 2 + 1, REST_MAX);
    *rest = *next_rest;
    return false;
}

/* Takes every second large one of the batch out of it and gives them to the pool's threads, before the others
 * are done here. */
static void share(Threads *t)
{
    PoolJob *jobs = NULL, **last = &jobs;
    unsigned count = 0;
    bool mine = true;

    for (BlkReq **at = &t->head; *at;) {
        BlkReq *r = *at;

        mine = r->op != BLK_READ || r->left < SHARE_MIN || !mine;
        if (mine) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        *last = file_pool_job(r);
        last = &(*last)->next;
        count++;
    }
    if (count) {
        pool_add(jobs, MIN(count, HELPERS));
    }
}

static void threads_flush(void *e)
{
    Threads *t = e;
    PoolJob *jobs = NULL, **last = &jobs;
    unsigned count = 0;
    BlkReq *hits = NULL, **last_hit = &hits;

    if (t->head && t->head->next) {
        share(t);
    }
    BlkReq *r = t->head;
    t->head = NULL;
    t->tail = &t->head;
    while (r) {
        BlkReq *next = r->next;

        if (try_nowait(t, r)) {
            r->next = NULL;
            *last_hit = r;
            last_hit = &r->next;
        } else {
            *last = file_pool_job(r);
            last = &(*last)->next;
            count++;
        }
        r = next;
    }
    if (count) {
        pool_add(jobs, count);
    }
    if (hits) {
        t->bl->now = clock_now(CLOCK_HOST);
    }
    while (hits) {
        BlkReq *next = hits->next;

        file_transferred(hits, (int64_t)hits->left);
        hits = next;
    }
}

const BlkEngine blk_engine_threads = {
    .name = "threads",
    .probe = threads_probe,
    .open = threads_open,
    .close = threads_close,
    .queue = threads_queue,
    .flush = threads_flush,
};
