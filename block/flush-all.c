/* flush-all.c: everything that was written is in the images: for whoever stops the machine to look at them.
 *
 * 1. A flush is made at each node that somebody outside the graph uses; what is below gets it from there.
 * 2. A node is pinned, and so cannot be closed, until its flush has left it. */
#include "block/block-int.h"

typedef struct FlushAll {
    unsigned left;             /* control */
    void (*done)(void *arg);
    void *arg;
} FlushAll;

typedef struct FlushOne {
    BlkReq req;
    BlkNode *node;
    FlushAll *all;
} FlushOne;

static void over(FlushAll *all)
{
    if (--all->left == 0) {
        all->done(all->arg);
        g_free(all);
    }
}

static void one_over(void *arg)
{
    FlushOne *one = arg;

    if (blk_unpin(one->node)) {
        blk_close_unused(one->node);
    }
    over(one->all);
    g_free(one);
}

static void one_left(void *arg)
{
    loop_call(loop_control(), one_over, arg);
}

/* What failed stays in memory, and is told to whoever flushes next. */
static void one_done(BlkReq *r, int ret)
{
    loop_call(r->loop, one_left, container_of(r, FlushOne, req));      /* it has left the node then */
}

static void one_begin(void *arg)
{
    FlushOne *one = arg;

    blk_submit(one->node, &one->req);
}

static bool is_used(const BlkNode *n)
{
    for (const BlkUser *u = n->users; u; u = u->next) {
        if (!u->parent && u->need & BLK_PERM_WRITE) {
            return true;
        }
    }
    return false;
}

void blk_flush_all(void (*done)(void *arg), void *arg)
{
    FlushAll *all = g_new0(FlushAll, 1);

    assert_control();
    *all = (FlushAll){ .left = 1, .done = done, .arg = arg };
    for (BlkNode *n = blk_next(NULL); n; n = blk_next(n)) {
        if (is_used(n) && blk_bridge_open(NULL)) {
            FlushOne *one = g_new0(FlushOne, 1);

            *one = (FlushOne){ .node = n, .all = all };
            one->req = (BlkReq){ .op = BLK_FLUSH, .loop = blk_bridge_loop(), .done = one_done };
            n->pins++;
            all->left++;
            loop_call(one->req.loop, one_begin, one);
        }
    }
    over(all);
}
