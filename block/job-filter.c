/* job-filter.c: what stands above a job's source and sees the guest's writes, see job-int.h.
 *
 *   mirror_top, commit_top   a write marks its grains once it has landed: they are copied (again)
 *   copy-before-write        a write waits until the old contents of its grains are at the target
 *   copy-on-stream           a write waits while its range is being copied into the image
 *   mirror_top, both sides   a write goes to the source and then to the target, and ends when both have it
 *
 * 1. A mark is a grain that is to be copied.  A copy takes the marks away before it reads, and puts them back
 *    when it fails.
 * 2. Only the kinds that need the gate (gate.h) use it; a copy is alone in its range. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "block/filter.h"
#include "block/job-int.h"
#include "util/bytes.h"
#include "util/fault.h"

/* --- marks --- */

static bool is_set(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

/* Returns how many of the grains' bits changed. */
static uint64_t set_bits(const JobFilter *f, uint64_t *bits, uint64_t off, uint64_t end, bool on)
{
    uint64_t changed = 0;

    for (uint64_t i = off / f->grain; i < f->grains && i * f->grain < end; i++) {
        if (is_set(bits, i) != on) {
            bits[i / 64] ^= UINT64_C(1) << (i % 64);
            changed++;
        }
    }
    return changed;
}

void job_mark_locked(JobFilter *f, uint64_t off, uint64_t end, bool on)
{
    uint64_t changed = set_bits(f, f->marks, off, end, on);

    f->left += on ? changed : -changed;
}

void job_copied_locked(JobFilter *f, uint64_t off, uint64_t end)
{
    if (f->copied) {
        job_mark_locked(f, off, end, false);
        set_bits(f, f->copied, off, end, true);
    }
}

void job_forget_locked(JobFilter *f, uint64_t off, uint64_t end)
{
    job_mark_locked(f, off, end, false);
    set_bits(f, f->copied, off, end, false);
}

uint64_t job_past_locked(const JobFilter *f, uint64_t off, uint64_t end, bool *is_marked, bool *is_copied)
{
    uint64_t i = off / f->grain;

    *is_marked = is_set(f->marks, i);
    *is_copied = is_set(f->copied, i);
    do {
        i++;
    } while (i < f->grains && i * f->grain < end && is_set(f->marks, i) == *is_marked &&
             is_set(f->copied, i) == *is_copied);
    return MIN(i * f->grain, end) - off;
}

/* The first marked run in [@*off, @end), at most @most long. */
bool job_run_locked(const JobFilter *f, uint64_t *off, uint64_t end, uint64_t size, uint64_t most,
                    uint64_t *len)
{
    uint64_t i = *off / f->grain, last = MIN(DIV_ROUND_UP(end, f->grain), f->grains);

    while (i < last && !is_set(f->marks, i)) {
        i++;
    }
    if (i >= last) {
        return false;
    }
    uint64_t from = i;
    while (i < last && is_set(f->marks, i) && (i == from || (i - from + 1) * f->grain <= most)) {
        i++;
    }
    *off = from * f->grain;
    *len = MIN(i * f->grain, size) - *off;
    return *off < size;
}

void job_filter_mark(BlkNode *n, uint64_t off, uint64_t len, bool on)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    job_mark_locked(f, off, off + len, on);
    lock_drop(&f->lock);
}

bool job_filter_next(BlkNode *n, uint64_t *off, uint64_t *len, uint64_t most)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    bool found = job_run_locked(f, off, UINT64_MAX - f->grain, blk_size(n), most, len);
    lock_drop(&f->lock);
    return found;
}

uint64_t job_filter_left(BlkNode *n)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    uint64_t left = f->left;
    lock_drop(&f->lock);
    return left * f->grain;
}

int job_filter_error(BlkNode *n)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    int error = f->error;
    f->error = 0;
    lock_drop(&f->lock);
    return error;
}

/* --- the guest's writes --- */

void job_pass_end(JobPass *p, int ret)
{
    BlkReq *up = p->up;

    free(p->buf);
    g_free(p->part);
    g_free(p);
    blk_complete_later(up, ret);
}

bool job_pass_buffer(JobPass *p, uint64_t len)
{
    if (p->buf && p->room >= len) {
        return true;
    }
    free(p->buf);
    p->buf = NULL;
    p->room = ALIGN_UP(len, 4096);
    if (FAULT("job-buffer") || posix_memalign((void **)&p->buf, 4096, p->room) != 0) {
        p->buf = NULL;
        return false;
    }
    return true;
}

/* The job's thread has something to do: after the mark, or the error, is there. */
static void wake(const JobFilter *f)
{
    Job *j = f->job;

    if (j && __atomic_load_n(&j->follows, __ATOMIC_SEQ_CST)) {
        lock_take(&j->lock);
        lock_broadcast(&j->changed);
        lock_drop(&j->lock);
    }
}

/* What was written is to be copied. */
static void mark_written(JobPass *p)
{
    job_filter_mark(p->node, p->up->pos, p->up->left, true);
    wake(p->node->state);
}

void job_filter_fail(JobFilter *f, int ret)
{
    lock_take(&f->lock);
    f->error = f->error ? f->error : ret;
    f->broken = f->before;
    lock_drop(&f->lock);
    wake(f);
}

/* The other side has it too, or not: then it is copied again. */
static void both_landed(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);
    JobFilter *f = p->node->state;
    uint64_t off = p->up->pos, end = off + p->up->left;

    if (ret < 0) {
        job_filter_fail(f, ret);
        mark_written(p);
    } else {
        uint64_t from = ALIGN_UP(off, f->grain);
        uint64_t to = end == blk_size(p->node) ? end : ALIGN_DOWN(end, f->grain);

        if (from < to) {
            job_filter_mark(p->node, from, to - from, false);
        }
    }
    gate_leave(&f->gate, &p->range);
    job_pass_end(p, 0);
}

static void write_landed(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);
    JobFilter *f = p->node->state;

    if (f->both && ret == 0 && r->op != BLK_DISCARD && (p->buf || r->op == BLK_ZERO)) {
        p->req = (BlkReq){ .op = r->op, .flags = r->flags | BLK_QUIET, .off = p->up->pos, .len = p->up->left,
                           .iov = r->iov, .niov = r->niov, .loop = r->loop, .done = both_landed };
        blk_submit_below(f->to, &p->req);
        return;
    }
    if (!f->gated || f->both) {
        mark_written(p);               /* also when it failed: who knows what was written */
    }
    if (f->gated && !f->before) {
        gate_leave(&f->gate, &p->range);
    }
    job_pass_end(p, ret);
}

static void write_down(JobPass *p)
{
    const JobFilter *f = p->node->state;
    const BlkReq *up = p->up;

    p->req = (BlkReq){ .op = up->op, .flags = up->flags, .off = up->pos, .len = up->left, .iov = up->cur,
                       .niov = up->ncur, .loop = up->loop, .done = write_landed };
    /* Both sides get the same bytes, whatever the guest does to its memory meanwhile. */
    if (f->both && up->op == BLK_WRITE && job_pass_buffer(p, up->left)) {
        blk_iov_read(up->cur, up->ncur, 0, p->buf, up->left);
        p->iov = (struct iovec){ p->buf, up->left };
        p->req.iov = &p->iov;
        p->req.niov = 1;
    }
    blk_submit_below(p->node->child, &p->req);
}

static void write_may_go(GateRange *g)
{
    JobPass *p = container_of(g, JobPass, range);

    if (((JobFilter *)p->node->state)->before) {
        job_copy_next(p);
        return;
    }
    write_down(p);
}

static void copy_may_go(GateRange *g)
{
    job_copy_next(container_of(g, JobPass, range));
}

/* It is over with the old contents: the write goes down, the copy is done. */
void job_copied(JobPass *p)
{
    JobFilter *f = p->node->state;
    bool over = p->up->flags & JOB_COPY || (p->ret < 0 && f->break_guest);

    if (!over && p->ret < 0) {
        job_filter_fail(f, p->ret);    /* the job fails; the guest need not suffer */
    }
    if (f->gated) {
        gate_leave(&f->gate, &p->range);
    }
    if (over) {
        job_pass_end(p, p->ret);
    } else {
        write_down(p);
    }
}

void job_filter_pass(BlkNode *n, BlkReq *r, bool late)
{
    JobFilter *f = n->state;
    bool copies = r->flags & JOB_COPY;
    JobPass *p = g_new0(JobPass, 1);

    *p = (JobPass){ .up = r, .node = n, .at = ALIGN_DOWN(r->pos, f->grain) };
    p->range = (GateRange){ .off = p->at, .end = ALIGN_UP(r->pos + r->left, f->grain), .loop = r->loop,
                            .alone = copies || f->before || f->both,
                            .go = copies ? copy_may_go : write_may_go };
    if (late || (!f->gated && !copies)) {
        write_down(p);
    } else if (!f->gated || gate_enter(&f->gate, &p->range)) {
        p->range.go(&p->range);
    }
}

bool job_filter_intercept(BlkLane *l, BlkReq *r)
{
    const JobFilter *f = l->node->state;

    if (!f->works || r->op == BLK_FLUSH || (r->op == BLK_READ && !(r->flags & JOB_COPY))) {
        return false;
    }
    job_filter_pass(l->node, r, false);
    return true;
}

/* --- the drivers --- */

#define GRAINS_MAX (UINT64_C(1) << 33)         /* a GiB of marks */

bool job_filter_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    JobFilter *f = n->state;

    blk_filter_open(n);
    gate_init(&f->gate);
    lock_init(&f->lock, RANK_LEAF, "job-filter");
    return true;
}

void job_filter_close(BlkNode *n)
{
    JobFilter *f = n->state;

    g_free(f->marks);
    g_free(f->copied);
    lock_destroy(&f->lock);
    gate_end(&f->gate);
}

bool job_filter_marks(BlkNode *n, uint64_t grain, bool past, Error **errp)
{
    JobFilter *f = n->state;

    f->grain = grain;
    f->grains = DIV_ROUND_UP(n->size, grain);
    if (f->grains <= GRAINS_MAX) {
        f->marks = g_try_new0(uint64_t, f->grains / 64 + 1);
        f->copied = past ? g_try_new0(uint64_t, f->grains / 64 + 1) : NULL;
    }
    return (f->marks && (f->copied || !past)) ||
           error_set(errp, "Node '%s' is too large for a job: %" PRIu64 " bytes", n->child->name, n->size);
}

bool job_filter_setup(Job *j, const JobOptions *o, Error **errp)
{
    JobFilter *f = j->filter->state;

    f->to = j->target && j->filter->drv != &blk_copy_on_stream ? j->target : j->source;
    if (!job_filter_marks(j->filter, o->granularity ? o->granularity : JOB_GRAIN, j->reader, errp)) {
        return false;
    }
    f->before = j->filter->drv == &blk_backup_top;
    f->both = o->write_blocking && j->filter->drv == &blk_mirror_top;
    f->gated = f->before || f->both || j->filter->drv == &blk_copy_on_stream;
    f->compress = o->compress;
    f->break_guest = f->before && !o->break_snapshot;
    f->unmap = !o->no_unmap;
    f->chunk = j->chunk = MAX(ALIGN_DOWN(j->chunk, f->grain), f->grain);
    f->job = j;
    f->works = true;
    return true;
}

#define JOB_FILTER(text) { \
    .name = text, \
    .size = sizeof(JobFilter), \
    .options = BLK_OPT_CHILD, \
    .filter = true, \
    .open = job_filter_open, \
    .close = job_filter_close, \
    .rights = blk_filter_rights, /* a stream writes only what is read there already */ \
    .intercept = job_filter_intercept, \
}

const BlkDriver blk_mirror_top = JOB_FILTER("mirror_top");
const BlkDriver blk_commit_top = JOB_FILTER("commit_top");
const BlkDriver blk_backup_top = JOB_FILTER("copy-before-write");
const BlkDriver blk_copy_on_stream = JOB_FILTER("copy-on-read");
