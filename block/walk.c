/* walk.c: requests that a format answers in several pieces.
 *
 * 1. Per piece the order is: resolve (or resolve_slow on the pool), data, commit; that order is the
 *    format's crash safety.  Pieces of one request run at the same time.
 * 2. @pending counts the pieces not yet home, plus one for the walk itself while it goes on.
 * 3. After an error no new piece starts; the first error is the request's.
 * 4. Copy on write reads through the node itself, so it does not matter what the old contents are
 *    (a backing file's, shared, compressed, zeroes): the mapping changes only at commit.
 * 5. Pieces of an encrypted node go through a buffer, which the pool encrypts or decrypts; so they are short
 *    (BLK_CRYPT_PIECE), and few at a time (CRYPT_PIECES).  What begins or ends within a sector is read,
 *    changed and written whole, one such write at a time (the gate). */
#include <stdlib.h>
#include "block/blkdebug.h"
#include "block/walk.h"
#include "block/pool.h"
#include "util/bytes.h"
#include "util/crypt.h"
#include "util/fault.h"

/* A hole in the middle of a copied range up to this size is read with it, in one request. */
#define COW_ONE_READ (32 * KiB)
#define CRYPT_PIECES 8

typedef struct Walk Walk;
struct Walk {
    BlkReq *r;                 /* r->pos and r->left are the cursor */
    BlkLane *lane;
    uint64_t total;            /* r->left at the start */
    unsigned pending;
    int ret;
    bool linked;               /* some piece changed metadata */
    bool gated;                /* it has the node's gate */
    bool full;                 /* it goes on when some of its pieces are home */
    uint64_t hidden;           /* bytes after r->left that are for later */
    PoolJob job;
    Extent e;                  /* resolve_slow's answer */
    uint64_t seq, key;         /* of the wait for a request in flight */
    Post woken;
    Walk *next;                /* of node->waiting, or a flush's: node->flushes */
};

typedef struct Piece {
    BlkReq req;                /* at the child, or a read for copy on write */
    BlkReq tail;               /* the second such read */
    BlkReq here;               /* the piece in the format's own bytes, for commit() */
    Walk *w;
    Extent e;
    uint64_t skip;             /* bytes of the request's buffers before the piece */
    struct iovec *iov;
    struct iovec whole, after; /* parts of @buf */
    uint8_t *buf;              /* copy on write: head, piece and tail */
    unsigned reads;
    int ret;
    PoolJob job;               /* encrypts or decrypts @whole */
} Piece;

static void walk_on(Walk *w);

static Walk *walk_new(BlkReq *r, BlkLane *l)
{
    Walk *w = g_new0(Walk, 1);

    *w = (Walk){ .r = r, .lane = l, .total = r->left, .pending = 1, .job.loop = l->loop };
    return w;
}

static void flush_child_done(BlkReq *r, int ret);

static void walk_finish(Walk *w)
{
    BlkReq *r = w->r;
    int ret = w->ret;

    if (w->gated) {
        blk_gate_leave(w->lane->node);
    }
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
    blk_submit_below(w->lane->node->child, &piece->req);
}

static void flush_child_done(BlkReq *r, int ret)
{
    Piece *piece = container_of(r, Piece, req);
    Walk *w = piece->w;

    g_free(piece);
    w->ret = ret;
    walk_finish(w);
}

static void to_pool(Walk *w, void (*run)(PoolJob *j), void (*ran)(Post *p))
{
    w->job.run = run;
    w->job.post.run = ran;
    w->job.next = NULL;
    pool_add(&w->job, 1);
}

/* Writes metadata out on the pool for @w and those linked to it; flush_written() goes on. */
static void flush_run(PoolJob *job)
{
    Walk *w = container_of(job, Walk, job), *others = w->next, *next;
    BlkNode *n = w->lane->node;

    w->ret = n->drv->flush_meta ? n->drv->flush_meta(n, true) : 0;
    if (w->ret == 0 && n->drv->flush_back) {
        w->ret = n->drv->flush_back(n);
    }
    lock_take(&n->wait_lock);
    next = n->flushes;
    n->flushes = NULL;
    n->flushing = next != NULL;
    lock_drop(&n->wait_lock);
    if (next) {
        to_pool(next, flush_run, flush_written);
    }
    while (others) {
        Walk *o = others;

        others = o->next;
        o->ret = w->ret;
        o->job.post.run = flush_written;
        loop_post(o->lane->loop, &o->job.post);
    }
}

/* Flushes that come while one is under way are done together, by the next. */
void walk_flush(BlkReq *r, BlkLane *l)
{
    Walk *w = walk_new(r, l);
    BlkNode *n = l->node;

    lock_take(&n->wait_lock);
    bool go = !n->flushing;
    if (go) {
        n->flushing = true;
    } else {
        w->next = n->flushes;
        n->flushes = w;
    }
    lock_drop(&n->wait_lock);
    if (go) {
        to_pool(w, flush_run, flush_written);
    }
}

/* The same after a write with BLK_FUA, which leaves nothing to be done later. */
static void fua_run(PoolJob *job)
{
    Walk *w = container_of(job, Walk, job);
    BlkNode *n = w->lane->node;

    w->ret = n->drv->flush_meta ? n->drv->flush_meta(n, false) : 0;
}

static void walk_leave(Walk *w)
{
    if (--w->pending > 0) {
        if (w->full && w->pending <= CRYPT_PIECES) {
            w->full = false;
            walk_on(w);
        }
        return;
    }
    if (w->ret == 0 && w->linked && (w->r->flags & BLK_FUA)) {
        to_pool(w, fua_run, flush_written);
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

static void piece_end(Piece *p, int ret)
{
    Walk *w = p->w;
    BlkNode *n = w->lane->node;

    if (p->e.link) {
        w->linked = true;
        int linked = n->drv->commit(n, &p->here, &p->e, ret);
        ret = ret < 0 ? ret : linked;
    }
    if (ret < 0) {
        walk_fail(w, ret);
    }
    free(p->buf);
    g_free(p->iov);
    g_free(p);
    walk_leave(w);
}

static void piece_done(BlkReq *r, int ret)
{
    piece_end(container_of(r, Piece, req), ret);
}

static void piece_to_pool(Piece *p, void (*run)(PoolJob *j), void (*ran)(Post *p))
{
    p->job = (PoolJob){ .run = run, .post.run = ran, .loop = p->w->lane->loop };
    pool_add(&p->job, 1);
}

/* --- copy on write --- */

/* What is written, between what was read around it. */
static void cow_fill(Piece *p)
{
    const BlkReq *r = p->w->r;

    if (r->op == BLK_WRITE) {
        blk_iov_read(r->cur, r->ncur, p->skip, p->buf + p->e.head, p->here.left);
    } else {
        memset(p->buf + p->e.head, 0, p->here.left);
    }
}

static void cow_send(Piece *p)
{
    const Walk *w = p->w;
    const BlkReq *r = w->r;

    p->whole = (struct iovec){ p->buf, p->e.head + p->here.left + p->e.tail };
    p->req = (BlkReq){ .op = BLK_WRITE, .flags = r->flags, .off = p->e.off - p->e.head,
                       .len = p->whole.iov_len, .iov = &p->whole, .niov = 1,
                       .loop = w->lane->loop, .done = piece_done };
    blk_event(p->e.node, BLKDEBUG_EVENT_COW_WRITE);
    blk_submit_below(p->e.node, &p->req);
}

static void encrypt_run(PoolJob *job)
{
    Piece *p = container_of(job, Piece, job);

    cow_fill(p);
    crypt_sectors(p->w->lane->node->crypt, true, (p->e.iv - p->e.head) / CRYPT_SECTOR, p->buf,
                  p->e.head + p->here.left + p->e.tail);
}

static void encrypted(Post *post)
{
    cow_send(container_of(container_of(post, PoolJob, post), Piece, job));
}

static void cow_write(Piece *p)
{
    if (p->e.crypt) {
        piece_to_pool(p, encrypt_run, encrypted);
        return;
    }
    cow_fill(p);
    cow_send(p);
}

static void cow_arrived(Piece *p, int ret)
{
    if (ret < 0 && p->ret == 0) {
        p->ret = ret;
    }
    if (--p->reads > 0) {
        return;
    }
    if (p->ret < 0) {
        piece_end(p, p->ret);
        return;
    }
    cow_write(p);
}

static void cow_head_read(BlkReq *r, int ret)
{
    cow_arrived(container_of(r, Piece, req), ret);
}

static void cow_tail_read(BlkReq *r, int ret)
{
    cow_arrived(container_of(r, Piece, tail), ret);
}

/* Reads [@from, @from + @len) of the node to its place in p->buf; past the end there are zeroes. */
static void cow_read(Piece *p, BlkReq *req, struct iovec *iov, uint64_t from, uint64_t len)
{
    const Walk *w = p->w;
    uint8_t *to = p->buf + (from - (p->here.pos - p->e.head));
    uint64_t size = blk_size(w->lane->node);
    uint64_t there = from >= size ? 0 : MIN(len, size - from);

    memset(to + there, 0, len - there);
    *iov = (struct iovec){ to, there };
    *req = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET, .off = from, .len = there, .iov = iov,
                     .niov = there ? 1 : 0, .loop = w->lane->loop,
                     .done = req == &p->req ? cow_head_read : cow_tail_read };
    blk_event(p->e.node, BLKDEBUG_EVENT_COW_READ);
    blk_submit_below(w->lane->node, req);
}

static void *cow_buffer(const Extent *e, uint64_t len)
{
    void *buf = NULL;

    if (FAULT("blk-cow-buffer") || posix_memalign(&buf, 4096, e->head + len + e->tail)) {
        return NULL;
    }
    return buf;
}

static void cow_start(Piece *p)
{
    const Extent *e = &p->e;
    uint64_t pos = p->here.pos, len = p->here.left;

    p->buf = cow_buffer(e, len);
    if (!p->buf) {
        piece_end(p, -ENOMEM);
        return;
    }
    if (e->head && e->tail && len <= COW_ONE_READ) {
        p->reads = 1;
        cow_read(p, &p->req, &p->whole, pos - e->head, e->head + len + e->tail);
        return;
    }
    p->reads = (e->head != 0) + (e->tail != 0);
    if (e->head) {
        cow_read(p, &p->req, &p->whole, pos - e->head, e->head);
    }
    if (e->tail) {
        cow_read(p, &p->tail, &p->after, pos + len, e->tail);
    }
    if (!p->reads) {           /* only to be encrypted */
        cow_write(p);
    }
}

/* --- decrypting --- */

static void decrypt_run(PoolJob *job)
{
    Piece *p = container_of(job, Piece, job);
    const BlkReq *r = p->w->r;
    uint64_t lead = p->e.iv % CRYPT_SECTOR;

    crypt_sectors(p->w->lane->node->crypt, false, p->e.iv / CRYPT_SECTOR, p->buf, p->whole.iov_len);
    blk_iov_write(r->cur, r->ncur, p->skip, p->buf + lead, p->here.left);
}

static void decrypted(Post *post)
{
    piece_end(container_of(container_of(post, PoolJob, post), Piece, job), 0);
}

static void sectors_read(BlkReq *r, int ret)
{
    Piece *p = container_of(r, Piece, req);

    if (ret < 0) {
        piece_end(p, ret);
        return;
    }
    piece_to_pool(p, decrypt_run, decrypted);
}

/* Reads the sectors around the piece. */
static void crypt_read(Piece *p)
{
    const Extent *e = &p->e;
    uint64_t lead = e->iv % CRYPT_SECTOR;
    Extent around = { .tail = ALIGN_UP(lead + p->here.left, CRYPT_SECTOR) };

    p->buf = cow_buffer(&around, 0);
    if (!p->buf) {
        piece_end(p, -ENOMEM);
        return;
    }
    p->whole = (struct iovec){ p->buf, around.tail };
    p->req = (BlkReq){ .op = BLK_READ, .off = e->off - lead, .len = around.tail, .iov = &p->whole, .niov = 1,
                       .loop = p->w->lane->loop, .done = sectors_read };
    blk_submit_below(e->node, &p->req);
}

static void piece_start(Walk *w, const Extent *e, uint64_t len)
{
    BlkReq *r = w->r;
    Piece *p = g_new0(Piece, 1);

    p->w = w;
    p->e = *e;
    p->skip = w->total - r->left;
    p->here = (BlkReq){ .op = r->op, .flags = r->flags, .pos = r->pos, .left = len };
    w->pending++;
    if (e->is != EXT_DATA) {
        piece_end(p, 0);
        return;
    }
    if (e->crypt && r->op == BLK_READ) {
        crypt_read(p);
        return;
    }
    if (e->crypt) {
        blk_whole_sectors(&p->e, len);
    }
    if (p->e.crypt || e->head || e->tail) {
        cow_start(p);
        return;
    }
    p->req = (BlkReq){ .op = r->op, .flags = r->flags, .off = e->off, .len = len,
                       .loop = w->lane->loop, .done = piece_done };
    if (r->op == BLK_READ || r->op == BLK_WRITE) {
        p->iov = blk_iov_slice(r->cur, r->ncur, p->skip, len, &p->req.niov);
        p->req.iov = p->iov;
    }
    blk_submit_below(e->node, &p->req);
}

/* --- waiting for a request in flight --- */

static void walk_woken(Post *p)
{
    walk_on(container_of(p, Walk, woken));
}

/* Queues @w until blk_wake(@key); false: it was called since w->seq was taken, so look again. */
static bool walk_wait(Walk *w, uint64_t key)
{
    BlkNode *n = w->lane->node;

    w->key = key;
    w->woken.run = walk_woken;
    w->next = NULL;
    lock_take(&n->wait_lock);
    bool missed = n->wakes != w->seq;
    Walk **at = &n->waiting;
    while (!missed && *at) {
        at = &(*at)->next;
    }
    if (!missed) {
        *at = w;
    }
    lock_drop(&n->wait_lock);
    return !missed;
}

void blk_wake(BlkNode *n, uint64_t key)
{
    Walk *go = NULL, **end = &go;

    lock_take(&n->wait_lock);
    __atomic_store_n(&n->wakes, n->wakes + 1, __ATOMIC_RELEASE);
    for (Walk **at = &n->waiting; *at;) {
        Walk *w = *at;

        if (w->key != key) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        *end = w;
        end = &w->next;
        w->next = NULL;
    }
    lock_broadcast(&n->woken);
    lock_drop(&n->wait_lock);
    while (go) {
        Walk *next = go->next;

        loop_post(go->lane->loop, &go->woken);
        go = next;
    }
}

/* --- the gate --- */

bool blk_gate_needed(const BlkNode *n, BlkOp op, uint64_t off, uint64_t len)
{
    return n->crypt && (op == BLK_WRITE || op == BLK_ZERO) && (off | len) % CRYPT_SECTOR;
}

bool blk_gate_enter(BlkNode *n)
{
    lock_take(&n->wait_lock);
    bool got = !n->crypt_gate;
    n->crypt_gate = true;
    lock_drop(&n->wait_lock);
    return got;
}

void blk_gate_leave(BlkNode *n)
{
    lock_take(&n->wait_lock);
    n->crypt_gate = false;
    lock_drop(&n->wait_lock);
    blk_wake(n, BLK_GATE_KEY);
}

void blk_whole_sectors(Extent *e, uint64_t len)
{
    e->head += (e->iv - e->head) % CRYPT_SECTOR;
    e->tail += ALIGN_UP(e->iv + len + e->tail, CRYPT_SECTOR) - (e->iv + len + e->tail);
}

/* --- the walk --- */

/* Of an encrypted node a format sees only so much of a request at a time. */
static void crypt_view(Walk *w)
{
    BlkReq *r = w->r;

    r->left += w->hidden;
    w->hidden = 0;
    if (w->lane->node->crypt && (r->op == BLK_READ || r->op == BLK_WRITE) && r->left > BLK_CRYPT_PIECE) {
        uint64_t view = BLK_CRYPT_PIECE - r->pos % CRYPT_SECTOR;

        w->hidden = r->left - view;
        r->left = view;
    }
}

static void walk_extent(Walk *w, const Extent *e)
{
    BlkReq *r = w->r;
    uint64_t len = MIN(e->len, r->left);

    r->left += w->hidden;
    w->hidden = 0;
    if (len == 0) {
        walk_fail(w, -EIO);    /* a driver's mistake must not become an endless walk */
        return;
    }
    if (e->is == EXT_BYTES) {
        blk_iov_write(r->cur, r->ncur, w->total - r->left, e->bytes, len);
        g_free(e->bytes);
    } else if (e->is != EXT_DATA && r->op == BLK_READ) {
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

    w->seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE);
    w->r->ret = n->drv->resolve_slow(n, w->r, &w->e);
}

static void slow_ran(Post *p)
{
    Walk *w = container_of(container_of(p, PoolJob, post), Walk, job);
    int ret = (int)w->r->ret;

    if (ret == -EINPROGRESS) {
        if (walk_wait(w, w->e.cookie)) {
            return;
        }
    } else if (ret < 0) {
        walk_fail(w, ret);
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

        if (n->crypt && w->pending > CRYPT_PIECES) {
            w->full = true;
            return;
        }
        crypt_view(w);
        w->seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE);
        if (!w->gated && blk_gate_needed(n, r->op, r->pos, r->left) && !(w->gated = blk_gate_enter(n))) {
            if (walk_wait(w, BLK_GATE_KEY)) {
                return;
            }
            continue;
        }
        int ret = n->drv->resolve(n, r, &e);
        if (ret == -EAGAIN && n->drv->resolve_slow) {
            w->e = (Extent){ 0 };
            to_pool(w, slow_run, slow_ran);
            return;
        }
        if (ret == -EINPROGRESS) {
            if (walk_wait(w, e.cookie)) {
                return;
            }
            continue;
        }
        if (ret < 0) {
            walk_fail(w, ret);
            break;
        }
        walk_extent(w, &e);
    }
    walk_leave(w);
}

void walk_start(BlkReq *r, BlkLane *l, const Extent *first)
{
    Walk *w = walk_new(r, l);

    if (first) {
        walk_extent(w, first);
    }
    walk_on(w);
}
