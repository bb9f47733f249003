/* copy-before-write.c: the past of a disk: what it was when a copy-before-write filter began, and the filter
 * that people make.  The filter of a backup is the same, see job-filter.c.
 *
 *   a grain is   marked      it is at the source as it was; a guest's write copies it to the target first
 *                copied      it is at the target
 *                neither     nobody wanted it, or does any more
 *
 * 1. A read of the past is in the gate until it has its bytes: a guest's write to the range waits for it, and
 *    a read that comes later finds the range copied.
 * 2. A copy that takes longer than cbw-timeout has failed for the guest's write; it goes on nevertheless, and
 *    whoever waits until nothing is in flight waits for it.
 * 3. Once a copy has failed and the guest's write went on (break-snapshot) there is no past any more. */
#include <errno.h>
#include "block/bitmap.h"
#include "block/filter.h"
#include "block/job-int.h"
#include "qapi/types.h"
#include "util/bytes.h"
#include "util/clock.h"

/* --- reading --- */

static void past_end(JobPass *p, int ret)
{
    gate_leave(&((JobFilter *)p->node->state)->gate, &p->range);
    job_pass_end(p, ret);
}

static void past_next(JobPass *p);

static void piece_read(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);

    p->at += p->len;
    p->ret = ret;
    past_next(p);
}

/* Where [@off, ...) of the past is, and how much of it is there; NULL: nowhere. */
static BlkNode *place_of(BlkNode *n, bool live, uint64_t off, uint64_t end, uint64_t *len)
{
    JobFilter *f = n->state;
    bool marked, copied;

    lock_take(&f->lock);
    *len = job_past_locked(f, off, end, &marked, &copied);
    bool broken = f->broken;
    lock_drop(&f->lock);
    return broken ? NULL : copied ? f->to : marked || live ? n->child : NULL;
}

static void past_next(JobPass *p)
{
    const BlkReq *up = p->up;
    uint64_t end = up->pos + up->left;
    unsigned parts;

    if (p->ret < 0 || p->at >= end) {
        past_end(p, p->ret);
        return;
    }
    BlkNode *place = place_of(p->node, p->live, p->at, end, &p->len);
    if (!place) {
        past_end(p, -EACCES);
        return;
    }
    g_free(p->part);
    p->part = blk_iov_slice(up->cur, up->ncur, p->at - up->pos, p->len, &parts);
    p->req = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET, .off = p->at, .len = p->len, .iov = p->part,
                       .niov = parts, .loop = up->loop, .done = piece_read };
    blk_submit_below(place, &p->req);
}

static void past_go(GateRange *g)
{
    past_next(container_of(g, JobPass, range));
}

/* Takes @r to the gate of @n. */
static void past_pass(BlkNode *n, BlkReq *r, bool live, bool alone, void (*go)(GateRange *g))
{
    JobFilter *f = n->state;
    JobPass *p = g_new0(JobPass, 1);

    *p = (JobPass){ .up = r, .node = n, .at = r->pos, .live = live };
    p->range = (GateRange){ .off = ALIGN_DOWN(r->pos, f->grain), .end = ALIGN_UP(r->pos + r->left, f->grain),
                            .alone = alone, .loop = r->loop, .go = go };
    if (gate_enter(&f->gate, &p->range)) {
        go(&p->range);
    }
}

void job_past_read(BlkNode *n, BlkReq *r, bool live)
{
    past_pass(n, r, live, false, past_go);
}

/* --- forgetting --- */

static void forgotten(BlkReq *r, int ret)
{
    past_end(container_of(r, JobPass, req), 0);        /* the space stays taken if @ret is an error */
}

static void forget_go(GateRange *g)
{
    JobPass *p = container_of(g, JobPass, range);
    JobFilter *f = p->node->state;
    const BlkReq *up = p->up;
    uint64_t from = ALIGN_UP(up->pos, f->grain), end = up->pos + up->left;

    end = end == blk_size(p->node) ? end : ALIGN_DOWN(end, f->grain);
    if (from >= end) {
        past_end(p, 0);
        return;
    }
    lock_take(&f->lock);
    job_forget_locked(f, from, end);
    lock_drop(&f->lock);
    p->req = (BlkReq){ .op = BLK_DISCARD, .flags = BLK_QUIET, .off = from, .len = end - from,
                       .loop = up->loop, .done = forgotten };
    blk_submit_below(f->to, &p->req);
}

void job_past_discard(BlkNode *n, BlkReq *r)
{
    past_pass(n, r, false, true, forget_go);
}

/* --- what it is made of --- */

int job_past_status(BlkNode *n, bool live, uint64_t off, uint64_t len, BlkStatus *s)
{
    BlkNode *place = place_of(n, live, off, off + len, &len);
    BlkStatus there;

    if (!place) {
        return -EACCES;
    }
    int ret = blk_status(place, off, len, NULL, &there);
    if (ret < 0) {
        return ret;
    }
    /* Told of the source, and the guest may have been quicker. */
    BlkNode *still = place_of(n, live, off, off + there.len, &len);
    *s = (BlkStatus){ .flags = BLK_STATUS_HERE | BLK_STATUS_DATA, .len = MIN(len, there.len) };
    if (still == place) {
        s->flags = BLK_STATUS_HERE | (there.flags & (BLK_STATUS_DATA | BLK_STATUS_ZERO));
    }
    return 0;
}

/* --- copies that must not take too long --- */

/* A guest's write, and the copy it waits for as a request of its own: that goes on when it is late. */
typedef struct TimedWrite {
    BlkReq *up;                /* NULL: it waits no more */
    BlkReq copy;
    struct iovec iov;          /* of no JobCopy, as long as the range */
    BlkNode *node;
    Timer timer;
} TimedWrite;

/* The copy of @up is there or failed with @ret; @late: it is still under way. */
static void timed_go(BlkNode *n, BlkReq *up, int ret, bool late)
{
    JobFilter *f = n->state;

    if (ret < 0 && f->break_guest) {
        blk_complete_later(up, ret);
        return;
    }
    if (ret < 0) {
        job_filter_fail(f, ret);
    }
    job_filter_pass(n, up, late);
}

static void timed_late(Timer *timer)
{
    TimedWrite *t = container_of(timer, TimedWrite, timer);

    timed_go(t->node, g_steal_pointer(&t->up), -ETIMEDOUT, true);
}

static void timed_copied(BlkReq *r, int ret)
{
    TimedWrite *t = container_of(r, TimedWrite, copy);
    BlkReq *up = t->up;
    BlkNode *n = t->node;

    timer_stop(&t->timer);
    g_free(t);
    if (up) {
        timed_go(n, up, ret, false);
    }
}

/* Is there anything to copy before @r writes? */
static bool has_marks(BlkNode *n, const BlkReq *r)
{
    JobFilter *f = n->state;
    uint64_t off = r->pos, len;

    lock_take(&f->lock);
    bool found = !f->broken && job_run_locked(f, &off, r->pos + r->left, blk_size(n), f->grain, &len);
    lock_drop(&f->lock);
    return found;
}

static bool cbw_intercept(BlkLane *l, BlkReq *r)
{
    BlkNode *n = l->node;
    const JobFilter *f = n->state;

    if (!f->timeout_ns || r->op == BLK_READ || r->op == BLK_FLUSH || !has_marks(n, r)) {
        return job_filter_intercept(l, r);
    }
    uint64_t off = ALIGN_DOWN(r->pos, f->grain);
    uint64_t end = MIN(ALIGN_UP(r->pos + r->left, f->grain), blk_size(n));
    TimedWrite *t = g_new0(TimedWrite, 1);

    *t = (TimedWrite){ .up = r, .node = n, .iov.iov_len = end - off };
    t->copy = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET | JOB_COPY, .off = off, .len = end - off,
                        .iov = &t->iov, .niov = 1, .loop = r->loop, .done = timed_copied };
    timer_init(&t->timer, r->loop, CLOCK_HOST, timed_late);
    timer_set(&t->timer, clock_now(CLOCK_HOST) + f->timeout_ns);
    blk_submit_below(n, &t->copy);
    return true;
}

/* --- the filter that people make --- */

/* Marks what the bitmap that @own names says, or everything. */
static bool mark(BlkNode *n, const CopyBeforeWriteOwn *own, Error **errp)
{
    const BlockDirtyBitmap *which = own ? own->bitmap : NULL;
    const BlkNode *holder = which ? blk_find(which->node) : NULL;
    const BlkBitmap *b = holder ? blk_bitmap_find(holder, which->name) : NULL;
    uint64_t off = 0, len;

    if (!which) {
        job_filter_mark(n, 0, blk_size(n), true);
        return true;
    }
    if (!b) {
        return holder ? error_set(errp, "Dirty bitmap '%s' not found", which->name)
                      : error_set(errp, "Node '%s' not found", which->node);
    }
    if (blk_size(holder) != blk_size(n)) {
        return error_set(errp, "Bitmap '%s' is of a node of another size", which->name);
    }
    if (!blk_bitmap_usable(b, false, false, errp)) {
        return false;
    }
    while ((len = blk_bitmap_dirty(b, &off, GiB)) > 0) {
        job_filter_mark(n, off, len, true);
        off += len;
    }
    return true;
}

static bool check_target(const BlkNode *n, BlkNode *target, Error **errp)
{
    if (blk_is_above(target, n->child) || blk_is_above(n->child, target)) {
        return error_set(errp, "Node '%s' cannot be the target: it has bytes in common with node '%s'",
                         target->name, n->child->name);
    }
    return blk_size(target) >= blk_size(n->child) ||
           error_set(errp, "Node '%s' cannot be the target: it is smaller than node '%s'", target->name,
                     n->child->name);
}

static bool set_up(BlkNode *n, const CopyBeforeWriteOwn *own, Error **errp)
{
    JobFilter *f = n->state;
    BlkImageInfo info;

    if (!check_target(n, f->to, errp) ||
        !blk_change_rights(&f->to_use, BLK_PERM_READ | BLK_PERM_WRITE, BLK_PERM_READ, errp)) {
        return false;
    }
    blk_image_info(f->to, &info);
    if (!job_filter_marks(n, MAX(JOB_GRAIN, info.cluster_size), true, errp) || !mark(n, own, errp)) {
        return false;
    }
    f->chunk = MAX(JOB_CHUNK, f->grain);
    f->before = f->gated = f->unmap = true;
    f->break_guest = !own || own->on_cbw_error == ON_CBW_ERROR_BREAK_GUEST_WRITE;
    f->timeout_ns = own ? own->cbw_timeout * NS_PER_SEC : 0;
    f->works = true;
    return true;
}

static void cbw_close(BlkNode *n)
{
    blk_unlink(&((JobFilter *)n->state)->to_use);
    job_filter_close(n);
}

static bool cbw_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    JobFilter *f = n->state;

    if (!job_filter_open(n, o, errp)) {
        return false;
    }
    if (!blk_link_other(n, &f->to_use, o, errp) || !set_up(n, o->own, errp)) {
        cbw_close(n);
        return false;
    }
    return true;
}

static void cbw_relinked(BlkNode *n)
{
    JobFilter *f = n->state;

    blk_filter_relinked(n);
    f->to = f->to_use.node;
}

/* While it is used everybody else writes through it, or there is no past. */
static bool cbw_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    if (need) {
        need |= BLK_PERM_READ;
        share &= ~(unsigned)BLK_PERM_WRITE;
    }
    return blk_change_rights(&n->child_use, need, share & ~(unsigned)BLK_PERM_RESIZE, errp);
}

const BlkDriver blk_copy_before_write = {
    .name = "copy-before-write",
    .size = sizeof(JobFilter),
    .options = BLK_OPT_CHILD | BLK_OPT_OTHER | BLK_OPT_OWN,
    .filter = true,
    .open = cbw_open,
    .close = cbw_close,
    .relinked = cbw_relinked,
    .rights = cbw_rights,
    .intercept = cbw_intercept,
};
