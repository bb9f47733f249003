/* null.c: storage that keeps nothing, for tests and for measuring what is above it. */
#include "block/block-int.h"
#include "util/bytes.h"
#include "util/clock.h"

typedef struct Null {
    uint64_t latency_ns;
    bool read_zeroes;
} Null;

G_STATIC_ASSERT(sizeof(Timer) <= sizeof(((BlkReq *)0)->engine));

static bool null_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Null *null = n->state;

    if (o->latency_ns > INT64_MAX / 2) {
        return error_set(errp, "latency-ns is invalid");
    }
    n->size = o->has_size ? ALIGN_DOWN(o->size, 512) : GiB;
    null->latency_ns = o->latency_ns;
    null->read_zeroes = o->read_zeroes;
    n->limits.discard_align = 1;
    n->limits.can_zero = true;
    return true;
}

static void null_fired(Timer *t)
{
    BlkReq *r = (BlkReq *)((char *)t - offsetof(BlkReq, engine));
    BlkLoop *bl = r->at->bl;

    blk_loop_enter(bl);
    blk_complete(r, 0);
    blk_loop_leave(bl);
}

static void null_submit(BlkLane *l, BlkReq *r)
{
    const Null *null = l->node->state;

    if (r->op == BLK_READ && null->read_zeroes) {
        blk_iov_zero(r->cur, r->ncur, 0, r->left);
    }
    if (!null->latency_ns) {
        blk_complete_later(r, 0);
        return;
    }
    Timer *t = (Timer *)r->engine;
    timer_init(t, l->loop, CLOCK_HOST, null_fired);
    timer_set(t, l->bl->now + (int64_t)null->latency_ns);
}

/* A request that nobody signals the end of. */
static void null_wait(uint64_t ns)
{
    Lock lock = LOCK_INIT(RANK_LEAF, "null");
    LockCond never = { 0 };
    int64_t end = clock_now(CLOCK_HOST) + (int64_t)ns;

    lock_take(&lock);
    for (int64_t left = (int64_t)ns; left > 0; left = end - clock_now(CLOCK_HOST)) {
        lock_wait(&lock, &never, left);
    }
    lock_drop(&lock);
    lock_destroy(&lock);
}

static int null_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off,
                         const struct iovec *iov, unsigned niov, uint64_t len)
{
    const Null *null = n->state;

    if (op == BLK_READ && null->read_zeroes) {
        blk_iov_zero(iov, niov, 0, len);
    }
    if (null->latency_ns) {
        null_wait(null->latency_ns);
    }
    return 0;
}

/* The two differ for their users' sake only: here both complete without blocking. */
#define NULL_DRIVER(text) { \
    .name = text, \
    .size = sizeof(Null), \
    .options = BLK_OPT_SIZE | BLK_OPT_LATENCY | BLK_OPT_ZEROES, \
    .open = null_open, \
    .submit = null_submit, \
    .blocking = null_blocking, \
}

const BlkDriver blk_null_co = NULL_DRIVER("null-co");
const BlkDriver blk_null_aio = NULL_DRIVER("null-aio");
