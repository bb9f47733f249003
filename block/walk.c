/* walk.c: requests that a format answers in several pieces.
 *
 * 1. Per piece the order is: resolve (or resolve_slow on the pool), data, commit on the pool; that
 *    order is the format's crash safety.  Pieces of one request run at the same time.
 * 2. @pending counts the pieces not yet home, plus one for the walk itself while it goes on.
 * 3. After an error no new piece starts; the first error is the request's. */
#include "block/walk.h"
#include "block/pool.h"
#include "util/bytes.h"

typedef struct Walk {
    BlkReq *r;                 /* r->pos and r->left are the cursor */
    BlkLane *lane;
    uint64_t total;            /* r->left at the start */
    unsigned pending;
    int ret;
    bool linked;               /* some piece changed metadata */
    PoolJob job;
    Extent e;                  /* resolve_slow's answer */
} Walk;

typedef struct Piece {
    BlkReq req;                /* at the child; or its fields alone when there is no data */
    BlkReq here;               /* the piece in the format's own bytes, for commit() */
    Walk *w;
    Extent e;
    struct iovec *iov;
    PoolJob job;
} Piece;

static void walk_on(Walk *w);

static Walk *walk_new(BlkReq *r, BlkLane *l)
{
    Walk *w = g_new0(Walk, 1);

    *w = (Walk){ .r = r, .lane = l, .total = r->left, .pending = 1, .job.loop = l->loop };
    return w;
}

static void flush_child_done(BlkReq *r, int ret);

/* Writes metadata out on the pool; flush_written() goes on. */
static void flush_run(PoolJob *job)
{
    Walk *w = container_of(job, Walk, job);
    BlkNode *n = w->lane->node;

    w->ret = n->drv->flush_meta ? n->drv->flush_meta(n) : 0;
}

static void walk_finish(Walk *w)
{
    BlkReq *r = w->r;
    int ret = w->ret;

    g_free(w);
    blk_complete_later(r, ret);
}

static void flush_written(Post *p)
{
    Walk *w = container_of(container_of(p, PoolJob, post), Walk, job);

    if (w->ret < 0) {
        walk_finish(w);
        return;
    }
    Piece *piece = g_new0(Piece, 1);
    piece->w = w;
    piece->req = (BlkReq){ .op = BLK_FLUSH, .loop = w->lane->loop, .done = flush_child_done };
    blk_submit(w->lane->node->child, &piece->req);
}

static void flush_child_done(BlkReq *r, int ret)
{
    Piece *piece = container_of(r, Piece, req);
    Walk *w = piece->w;

    g_free(piece);
    w->ret = ret;
    walk_finish(w);
}

static void flush_start(Walk *w)
{
    w->job.run = flush_run;
    w->job.post.run = flush_written;
    w->job.next = NULL;
    pool_add(&w->job, 1);
}

void walk_flush(BlkReq *r, BlkLane *l)
{
    flush_start(walk_new(r, l));
}

static void walk_leave(Walk *w)
{
    if (--w->pending > 0) {
        return;
    }
    if (w->ret == 0 && w->linked && (w->r->flags & BLK_FUA)) {
        flush_start(w);
        return;
    }
    walk_finish(w);
}

static void walk_fail(Walk *w, int ret)
{
    if (w->ret == 0) {
        w->ret = ret;
    }
}

/* --- pieces --- */

static void piece_free(Piece *p)
{
    Walk *w = p->w;

    g_free(p->iov);
    g_free(p);
    walk_leave(w);
}

static void commit_run(PoolJob *job)
{
    Piece *p = container_of(job, Piece, job);
    BlkNode *n = p->w->lane->node;

    p->here.ret = n->drv->commit(n, &p->here, &p->e);
}

static void commit_ran(Post *post)
{
    Piece *p = container_of(container_of(post, PoolJob, post), Piece, job);

    if (p->here.ret < 0) {
        walk_fail(p->w, (int)p->here.ret);
    }
    piece_free(p);
}

static void piece_commit(Piece *p)
{
    p->w->linked = true;
    p->job = (PoolJob){ .run = commit_run, .loop = p->w->lane->loop, .post.run = commit_ran };
    pool_add(&p->job, 1);
}

static void piece_done(BlkReq *r, int ret)
{
    Piece *p = container_of(r, Piece, req);

    if (ret < 0) {
        walk_fail(p->w, ret);
    } else if (p->e.link) {
        piece_commit(p);
        return;
    }
    piece_free(p);
}

static void piece_start(Walk *w, const Extent *e, uint64_t len)
{
    BlkReq *r = w->r;
    Piece *p = g_new0(Piece, 1);

    p->w = w;
    p->e = *e;
    p->here = (BlkReq){ .op = r->op, .flags = r->flags, .pos = r->pos, .left = len };
    w->pending++;
    if (e->is != EXT_DATA) {
        piece_commit(p);
        return;
    }
    p->req = (BlkReq){ .op = r->op, .flags = r->flags, .off = e->off, .len = len,
                       .loop = w->lane->loop, .done = piece_done };
    if (r->op == BLK_READ || r->op == BLK_WRITE) {
        p->iov = blk_iov_slice(r->cur, r->ncur, w->total - r->left, len, &p->req.niov);
        p->req.iov = p->iov;
    }
    blk_submit(e->node, &p->req);
}

/* --- the walk --- */

static void walk_extent(Walk *w, const Extent *e)
{
    BlkReq *r = w->r;
    uint64_t len = MIN(e->len, r->left);

    if (len == 0) {
        walk_fail(w, -EIO);    /* a driver's mistake must not become an endless walk */
        return;
    }
    if (e->is != EXT_DATA && r->op == BLK_READ) {
        blk_iov_zero(r->cur, r->ncur, w->total - r->left, len);
    }
    if (e->is == EXT_DATA || e->link) {
        piece_start(w, e, len);
    }
    r->pos += len;
    r->left -= len;
}

static void slow_run(PoolJob *job)
{
    Walk *w = container_of(job, Walk, job);
    BlkNode *n = w->lane->node;

    w->r->ret = n->drv->resolve_slow(n, w->r, &w->e);
}

static void slow_ran(Post *p)
{
    Walk *w = container_of(container_of(p, PoolJob, post), Walk, job);

    if (w->r->ret < 0) {
        walk_fail(w, (int)w->r->ret);
    } else {
        walk_extent(w, &w->e);
    }
    walk_on(w);
}

static void walk_on(Walk *w)
{
    BlkReq *r = w->r;
    BlkNode *n = w->lane->node;

    while (r->left && w->ret == 0) {
        Extent e = { 0 };
        int ret = n->drv->resolve(n, r, &e);

        if (ret == -EAGAIN && n->drv->resolve_slow) {
            w->e = (Extent){ 0 };
            w->job.run = slow_run;
            w->job.post.run = slow_ran;
            w->job.next = NULL;
            pool_add(&w->job, 1);
            return;
        }
        if (ret < 0) {
            walk_fail(w, ret);
            break;
        }
        walk_extent(w, &e);
    }
    walk_leave(w);
}

void walk_start(BlkReq *r, BlkLane *l)
{
    walk_on(walk_new(r, l));
}
