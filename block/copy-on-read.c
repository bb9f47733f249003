/* copy-on-read.c: a filter over an image that puts into it what is read from behind it.
 *
 *   read --gate--> thread: what is not in the image is copied into it --> goes down --> leaves the gate
 *
 * 1. A read is alone in its clusters from the look at them until it has its bytes: a write in between would
 *    be overwritten by what was there before.
 * 2. A copy that cannot be written is no error of the guest's: it gets its bytes from where they are. */
#include "block/block-int.h"
#include "block/filter.h"
#include "qapi/types.h"
#include "util/bytes.h"

#define COPY_CHUNK (1 * MiB)

typedef struct CopyOnRead {
    Loop *worker;
    Gate gate;
    uint64_t grain;            /* the image's cluster */
    const BlkNode *base;       /* what it and those behind it hold is not copied; NULL: there is none */
} CopyOnRead;

typedef struct Pass {
    BlkReq *up;
    BlkReq req;
    BlkNode *node;
    GateRange range;
    FilterJob job;
} Pass;

static void pass_done(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, req);
    BlkReq *up = p->up;

    gate_leave(&((CopyOnRead *)p->node->state)->gate, &p->range);
    g_free(p);
    blk_complete_later(up, ret);
}

static void pass_down(Pass *p)
{
    const BlkReq *up = p->up;

    p->req = (BlkReq){ .op = up->op, .flags = up->flags, .off = up->pos, .len = up->left, .iov = up->cur,
                       .niov = up->ncur, .loop = up->loop, .done = pass_done };
    blk_submit_below(p->node->child, &p->req);
}

/* --- copying, on the filter's thread --- */

static bool copy_piece(BlkNode *child, uint64_t off, uint64_t len, uint8_t *buf)
{
    if (blk_pread(child, off, buf, len) < 0) {
        return false;          /* the guest's own read will say so */
    }
    return (blk_is_zero(buf, len) ? blk_pzero(child, off, len, 0) : blk_pwrite(child, off, buf, len)) == 0;
}

static void copy_run(FilterJob *j)
{
    Pass *p = container_of(j, Pass, job);
    const CopyOnRead *c = p->node->state;
    BlkNode *child = p->node->child;
    uint64_t end = MIN(p->range.end, blk_size(child));
    g_autofree uint8_t *buf = g_try_malloc(MIN(COPY_CHUNK, p->range.end - p->range.off));
    BlkStatus s;

    for (uint64_t off = p->range.off; buf && off < end; off += s.len) {
        if (blk_status(child, off, MIN(end - off, COPY_CHUNK), c->base, &s) < 0) {
            return;
        }
        bool behind = s.flags & BLK_STATUS_HERE && s.depth > 0;
        if (behind && !copy_piece(child, off, s.len, buf)) {
            return;
        }
    }
}

static void copy_over(FilterJob *j)
{
    pass_down(container_of(j, Pass, job));
}

static void pass_in(GateRange *g)
{
    Pass *p = container_of(g, Pass, range);

    if (g->alone) {
        blk_filter_work(((CopyOnRead *)p->node->state)->worker, &p->job);
    } else {
        pass_down(p);
    }
}

static bool cor_intercept(BlkLane *l, BlkReq *r)
{
    CopyOnRead *c = l->node->state;
    uint64_t grain = c->grain;

    if (r->op == BLK_FLUSH || l->node->read_only) {
        return false;
    }
    Pass *p = g_new0(Pass, 1);
    *p = (Pass){ .up = r, .node = l->node,
                 .job = { .run = copy_run, .home = r->loop, .over = copy_over } };
    p->range = (GateRange){ .off = ALIGN_DOWN(r->pos, grain), .end = ALIGN_UP(r->pos + r->left, grain),
                            .alone = r->op == BLK_READ, .loop = r->loop, .go = pass_in };
    if (gate_enter(&c->gate, &p->range)) {
        pass_in(&p->range);
    }
    return true;
}

/* --- the driver --- */

static void cor_relinked(BlkNode *n)
{
    CopyOnRead *c = n->state;
    BlkImageInfo info;

    blk_filter_relinked(n);
    if (n->child) {
        blk_image_info(n->child, &info);
        c->grain = MAX(info.cluster_size, 4096);
    }
}

static bool cor_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    const CopyOnReadOwn *own = o->own;
    CopyOnRead *c = n->state;

    if (own && own->bottom) {
        BlkNode *bottom = blk_find(own->bottom);

        if (!bottom) {
            return error_set(errp, "Bottom node '%s' not found", own->bottom);
        }
        if (!blk_is_above(n->child, bottom)) {
            return error_set(errp, "Bottom node '%s' is not behind node '%s'", own->bottom, n->child->name);
        }
        if (bottom->drv->filter) {
            return error_set(errp, "Bottom node '%s' is a filter", own->bottom);
        }
        c->base = blk_behind(bottom);
    }
    c->worker = blk_filter_worker(errp);
    if (!c->worker) {
        return false;
    }
    gate_init(&c->gate);
    return blk_filter_open(n);
}

static void cor_close(BlkNode *n)
{
    CopyOnRead *c = n->state;

    blk_filter_worker_end(c->worker);
    gate_end(&c->gate);
}

/* Whoever reads here writes below. */
static bool cor_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    if (need & BLK_PERM_READ && !n->read_only) {
        need |= BLK_PERM_WRITE;
    }
    return blk_change_rights(&n->child_use, need, share, errp);
}

const BlkDriver blk_copy_on_read = {
    .name = "copy-on-read",
    .size = sizeof(CopyOnRead),
    .options = BLK_OPT_CHILD | BLK_OPT_OWN,
    .filter = true,
    .open = cor_open,
    .close = cor_close,
    .relinked = cor_relinked,
    .child_resized = blk_filter_resized,
    .rights = cor_rights,
    .truncate = blk_filter_truncate,
    .write_compressed = blk_filter_write_compressed,
    .intercept = cor_intercept,
};
