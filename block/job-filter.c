/* job-filter.c: what stands above a job's source and sees the guest's writes, see job-int.h.
 *
 *   mirror_top, commit_top   a write marks its grains once it has landed: they are copied (again)
 *   copy-before-write        a write waits until the old contents of its grains are at the target
 *   copy-on-stream           a write waits while its range is being copied into the image
 *
 * 1. A mark is a grain that is to be copied.  A copy takes the marks away before it reads, and puts them back
 *    when it fails.
 * 2. The gate is a list of ranges in the order of arrival; one that overlaps an earlier one waits if either
 *    of them is a copy.  Only the two kinds that need it use it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include "block/job-int.h"
#include "util/bytes.h"
#include "util/fault.h"

typedef struct Range Range;
struct Range {
    uint64_t off, end;
    bool copies, in;
    void (*go)(Range *g);      /* on @loop, when it may */
    Loop *loop;
    Post post;
    Range *next;
};

typedef struct JobFilter {
    Job *job;                  /* NULL before it is set up */
    BlkNode *to;               /* where copies go */
    bool before;               /* copy-before-write */
    bool gated;
    Lock lock;                 /* guards the rest */
    Range *ranges;
    uint64_t *marks;           /* a bit a grain */
    uint64_t grains, left;
    int error;
} JobFilter;

/* A write of the guest, or a copy. */
typedef struct Pass {
    BlkReq *up;
    BlkReq req;
    Range range;
    BlkNode *node;
    struct iovec iov;
    uint8_t *buf;
    uint64_t at, len;          /* what is being copied */
    int ret;
} Pass;

static void copy_next(Pass *p);

/* --- marks --- */

static bool marked(const JobFilter *f, uint64_t i)
{
    return f->marks[i / 64] >> (i % 64) & 1;
}

static void mark_locked(JobFilter *f, uint64_t off, uint64_t end, bool on)
{
    for (uint64_t i = off / JOB_GRAIN; i < f->grains && i * JOB_GRAIN < end; i++) {
        if (marked(f, i) != on) {
            f->marks[i / 64] ^= UINT64_C(1) << (i % 64);
            f->left += on ? 1 : -UINT64_C(1);
        }
    }
}

/* The first marked run in [@*off, @end), at most @most long. */
static bool run_locked(const JobFilter *f, uint64_t *off, uint64_t end, uint64_t size, uint64_t most,
                       uint64_t *len)
{
    uint64_t i = *off / JOB_GRAIN, last = MIN(DIV_ROUND_UP(end, JOB_GRAIN), f->grains);

    while (i < last && !marked(f, i)) {
        i++;
    }
    if (i >= last) {
        return false;
    }
    uint64_t from = i;
    while (i < last && marked(f, i) && (i - from) * JOB_GRAIN < most) {
        i++;
    }
    *off = from * JOB_GRAIN;
    *len = MIN(i * JOB_GRAIN, size) - *off;
    return *off < size;
}

void job_filter_mark(BlkNode *n, uint64_t off, uint64_t len)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    mark_locked(f, off, off + len, true);
    lock_drop(&f->lock);
}

bool job_filter_next(BlkNode *n, uint64_t *off, uint64_t *len, uint64_t most)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    bool found = run_locked(f, off, UINT64_MAX - JOB_GRAIN, blk_size(n), most, len);
    lock_drop(&f->lock);
    return found;
}

uint64_t job_filter_left(BlkNode *n)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    uint64_t left = f->left;
    lock_drop(&f->lock);
    return left * JOB_GRAIN;
}

int job_filter_error(BlkNode *n)
{
    JobFilter *f = n->state;

    lock_take(&f->lock);
    int error = f->error;
    lock_drop(&f->lock);
    return error;
}

/* --- the gate --- */

static bool blocked_locked(const JobFilter *f, const Range *g)
{
    for (const Range *e = f->ranges; e != g; e = e->next) {
        if (e->off < g->end && g->off < e->end && (e->copies || g->copies)) {
            return true;
        }
    }
    return false;
}

static void range_go(Post *p)
{
    Range *g = container_of(p, Range, post);

    g->go(g);
}

/* False: g->go() follows. */
static bool gate_enter(JobFilter *f, Range *g)
{
    Range **at = &f->ranges;

    g->next = NULL;
    g->post.run = range_go;
    lock_take(&f->lock);
    while (*at) {
        at = &(*at)->next;
    }
    *at = g;
    g->in = !blocked_locked(f, g);
    bool in = g->in;
    lock_drop(&f->lock);
    return in;
}

static void gate_leave(JobFilter *f, Range *g)
{
    lock_take(&f->lock);
    Range **at = &f->ranges;
    while (*at != g) {
        at = &(*at)->next;
    }
    *at = g->next;
    for (Range *e = f->ranges; e; e = e->next) {
        if (!e->in && !blocked_locked(f, e)) {
            e->in = true;
            loop_post(e->loop, &e->post);
        }
    }
    lock_drop(&f->lock);
}

/* --- the guest's writes --- */

static void pass_end(Pass *p, int ret)
{
    BlkReq *up = p->up;

    free(p->buf);
    g_free(p);
    blk_complete_later(up, ret);
}

static void write_landed(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, req);
    JobFilter *f = p->node->state;

    if (!f->gated) {
        /* Also when it failed: who knows what was written. */
        job_filter_mark(p->node, p->up->pos, p->up->left);
    } else if (!f->before) {
        gate_leave(f, &p->range);
    }
    pass_end(p, ret);
}

static void write_down(Pass *p)
{
    const BlkReq *up = p->up;

    p->req = (BlkReq){ .op = up->op, .flags = up->flags, .off = up->pos, .len = up->left, .iov = up->cur,
                       .niov = up->ncur, .loop = up->loop, .done = write_landed };
    blk_submit_below(p->node->child, &p->req);
}

static void write_may_go(Range *g)
{
    Pass *p = container_of(g, Pass, range);

    if (((JobFilter *)p->node->state)->before) {
        copy_next(p);
        return;
    }
    write_down(p);
}

/* --- copies --- */

/* It is over with the old contents: the write goes down, the copy is done. */
static void copy_end(Pass *p)
{
    JobFilter *f = p->node->state;

    if (f->gated) {
        gate_leave(f, &p->range);
    }
    if (p->up->flags & JOB_COPY) {
        pass_end(p, p->ret);
        return;
    }
    if (p->ret < 0) {          /* the job fails; the guest need not suffer */
        lock_take(&f->lock);
        f->error = f->error ? f->error : p->ret;
        lock_drop(&f->lock);
    }
    write_down(p);
}

static void copy_failed(Pass *p, int ret)
{
    JobFilter *f = p->node->state;

    lock_take(&f->lock);
    mark_locked(f, p->at, p->at + p->len, true);
    lock_drop(&f->lock);
    p->ret = ret;
    copy_end(p);
}

static void copy_written(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, req);

    if (ret < 0) {
        copy_failed(p, ret);
        return;
    }
    p->at += p->len;
    copy_next(p);
}

/* How a buffer goes to the target: a range of zeroes is made, not written. */
static bool is_zero(const uint8_t *buf, uint64_t len)
{
    return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static void copy_write(Pass *p)
{
    const JobFilter *f = p->node->state;
    bool zero = is_zero(p->buf, p->len);

    p->iov = (struct iovec){ p->buf, p->len };
    p->req = (BlkReq){ .op = zero ? BLK_ZERO : BLK_WRITE, .flags = BLK_QUIET | (zero ? BLK_MAY_UNMAP : 0),
                       .off = p->at, .len = p->len, .iov = zero ? NULL : &p->iov, .niov = zero ? 0 : 1,
                       .loop = p->up->loop, .done = copy_written };
    blk_submit_below(f->to, &p->req);
}

static void copy_read(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, req);

    if (ret < 0) {
        if (p->up->flags & JOB_COPY) {
            *(bool *)p->up->cur->iov_base = true;      /* of job_filter_copy() */
        }
        copy_failed(p, ret);
        return;
    }
    copy_write(p);
}

/* Copies the next marked run of the range, with the range in its hands. */
static void copy_next(Pass *p)
{
    BlkNode *n = p->node;
    JobFilter *f = n->state;

    lock_take(&f->lock);
    bool found = p->ret == 0 && run_locked(f, &p->at, p->range.end, blk_size(n), JOB_CHUNK, &p->len);
    if (found) {
        mark_locked(f, p->at, p->at + p->len, false);
    }
    lock_drop(&f->lock);
    if (!found) {
        copy_end(p);
        return;
    }
    if (!p->buf && (FAULT("job-buffer") || posix_memalign((void **)&p->buf, 4096, JOB_CHUNK) != 0)) {
        p->buf = NULL;
        copy_failed(p, -ENOMEM);
        return;
    }
    p->iov = (struct iovec){ p->buf, p->len };
    p->req = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET, .off = p->at, .len = p->len, .iov = &p->iov,
                       .niov = 1, .loop = p->up->loop, .done = copy_read };
    blk_submit_below(n->child, &p->req);
}

static void copy_may_go(Range *g)
{
    copy_next(container_of(g, Pass, range));
}

static bool filter_intercept(BlkLane *l, BlkReq *r)
{
    JobFilter *f = l->node->state;
    bool copies = r->flags & JOB_COPY;

    if (!f->job || r->op == BLK_FLUSH || (r->op == BLK_READ && !copies)) {
        return false;
    }
    Pass *p = g_new0(Pass, 1);
    *p = (Pass){ .up = r, .node = l->node, .at = ALIGN_DOWN(r->pos, JOB_GRAIN) };
    p->range = (Range){ .off = p->at, .end = ALIGN_UP(r->pos + r->left, JOB_GRAIN), .loop = r->loop,
                        .copies = copies || f->before, .go = copies ? copy_may_go : write_may_go };
    if (!f->gated && !copies) {
        write_down(p);
    } else if (!f->gated || gate_enter(f, &p->range)) {
        p->range.go(&p->range);
    }
    return true;
}

int job_filter_copy(Job *j, uint64_t off, uint64_t len, bool *read)
{
    return job_io(&j->source_use, BLK_READ, JOB_COPY, off, read, len);
}

int job_filter_copy_held(Job *j, uint64_t off, uint64_t len, bool *read)
{
    g_autofree uint8_t *buf = g_try_malloc(len);
    JobFilter *f = j->filter->state;

    if (!buf) {
        return -ENOMEM;
    }
    int ret = blk_pread(j->source, off, buf, len);
    *read = ret < 0;
    if (ret == 0) {
        ret = is_zero(buf, len) ? blk_blocking(f->to, BLK_ZERO, BLK_MAY_UNMAP, off, NULL, len)
                                : blk_pwrite(f->to, off, buf, len);
    }
    if (ret == 0) {
        lock_take(&f->lock);
        mark_locked(f, off, off + len, false);
        lock_drop(&f->lock);
    }
    return ret;
}

/* --- the drivers --- */

#define GRAINS_MAX (UINT64_C(1) << 33)         /* a GiB of marks */

static bool filter_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    JobFilter *f = n->state;

    n->size = blk_size(n->child);
    n->limits = n->child->limits;
    n->read_only = n->child->read_only;
    f->grains = DIV_ROUND_UP(n->size, JOB_GRAIN);
    f->marks = f->grains <= GRAINS_MAX ? g_try_new0(uint64_t, f->grains / 64 + 1) : NULL;
    if (!f->marks) {
        return error_set(errp, "Node '%s' is too large for a job: %" PRIu64 " bytes", n->child->name,
                         n->size);
    }
    lock_init(&f->lock, RANK_LEAF, "job-filter");
    return true;
}

static void filter_close(BlkNode *n)
{
    JobFilter *f = n->state;

    g_free(f->marks);
    lock_destroy(&f->lock);
}

void job_filter_setup(Job *j)
{
    JobFilter *f = j->filter->state;

    f->job = j;
    f->to = j->target ? j->target : j->source;
    f->before = j->filter->drv == &blk_copy_before_write;
    f->gated = f->before || j->filter->drv == &blk_copy_on_stream;
    if (j->filter->drv == &blk_copy_on_stream) {
        f->to = j->source;
    }
}

static bool filter_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    /* A stream writes only what is read there already: that is nobody's business. */
    return blk_change_rights(&n->child_use, need, share, errp);
}

#define JOB_FILTER(text) { \
    .name = text, \
    .size = sizeof(JobFilter), \
    .options = BLK_OPT_CHILD, \
    .filter = true, \
    .open = filter_open, \
    .close = filter_close, \
    .rights = filter_rights, \
    .intercept = filter_intercept, \
}

const BlkDriver blk_mirror_top = JOB_FILTER("mirror_top");
const BlkDriver blk_commit_top = JOB_FILTER("commit_top");
const BlkDriver blk_copy_before_write = JOB_FILTER("copy-before-write");
const BlkDriver blk_copy_on_stream = JOB_FILTER("copy-on-read");
