/* job-copy.c: copies of a job: how one passes the filter, and how the job's thread keeps several under way.
 *
 *   thread: what is marked, is it zeroes?  --JOB_COPY--> filter: marks off, read, write, or marks on again
 *
 * 1. A copy takes the marks of its range away before it looks at the source, and puts them back when it
 *    fails: what the guest writes meanwhile is marked again and copied again.  Where the past is read they go
 *    when it has landed: no writes come meanwhile.
 * 2. No two copies under way overlap: the thread goes through the disk in one direction, and begins again
 *    only when all have landed.
 * 3. Where a copy is alone in its range (copy-before-write), so is one of the whole disk: it comes after all
 *    that the guest's writes have under way, which have no marks, and so a backup ends with one.
 * 4. What is asked about zeroes ahead is a hint; a copy that relies on it asks again, after the marks are
 *    off. */
#include <errno.h>
#include "block/job-int.h"
#include "util/bytes.h"
#include "util/fault.h"

#define ZERO_MOST GiB          /* most bytes of one range of zeroes */

/* --- through the filter --- */

static void copy_failed(JobPass *p, int ret)
{
    JobFilter *f = p->node->state;

    lock_take(&f->lock);
    job_mark_locked(f, p->at, p->at + p->len, true);
    lock_drop(&f->lock);
    p->ret = ret;
    job_copied(p);
}

static void copy_written(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);
    JobFilter *f = p->node->state;

    if (ret < 0) {
        copy_failed(p, ret);
        return;
    }
    lock_take(&f->lock);
    job_copied_locked(f, p->at, p->at + p->len);
    lock_drop(&f->lock);
    p->at += p->len;
    job_copy_next(p);
}

/* How a buffer goes to the target: a range of zeroes is made, not written. */
bool job_is_zero(const uint8_t *buf, uint64_t len)
{
    return buf[0] == 0 && memcmp(buf, buf + 1, len - 1) == 0;
}

static void write_zeroes(JobPass *p)
{
    const JobFilter *f = p->node->state;

    p->req = (BlkReq){ .op = BLK_ZERO, .flags = BLK_QUIET | (f->unmap ? BLK_MAY_UNMAP : 0), .off = p->at,
                       .len = p->len, .loop = p->up->loop, .done = copy_written };
    blk_submit_below(f->to, &p->req);
}

static void work_ran(Post *post)
{
    JobPass *p = container_of(container_of(post, PoolJob, post), JobPass, work);

    blk_visit_end(&p->req, p->told);
}

static void work_visit(BlkReq *r, BlkNode *n)
{
    JobPass *p = container_of(r, JobPass, req);

    p->asked = n;
    pool_add(&p->work, 1);
}

/* Calls run() on the pool while nobody changes the graph below @n; then done(). */
static void work(JobPass *p, BlkNode *n, void (*run)(PoolJob *job), void (*done)(BlkReq *r, int ret))
{
    p->req = (BlkReq){ .loop = p->up->loop, .done = done };
    p->work = (PoolJob){ .run = run, .loop = p->up->loop, .post.run = work_ran };
    blk_visit_below(n, &p->req, work_visit);
}

/* Writes what was read, compressed, cluster by cluster. */
static void compress_run(PoolJob *job)
{
    JobPass *p = container_of(job, JobPass, work);
    const JobFilter *f = p->node->state;

    p->told = 0;
    for (uint64_t at = 0; at < p->len && p->told == 0; at += f->grain) {
        p->told = blk_pwrite_compressed(p->asked, p->at + at, p->buf + at, MIN(f->grain, p->len - at));
    }
}

static void copy_write(JobPass *p)
{
    const JobFilter *f = p->node->state;

    if (job_is_zero(p->buf, p->len)) {
        write_zeroes(p);
        return;
    }
    if (f->compress) {
        work(p, f->to, compress_run, copy_written);
        return;
    }
    p->iov = (struct iovec){ p->buf, p->len };
    p->req = (BlkReq){ .op = BLK_WRITE, .flags = BLK_QUIET, .off = p->at, .len = p->len, .iov = &p->iov,
                       .niov = 1, .loop = p->up->loop, .done = copy_written };
    blk_submit_below(f->to, &p->req);
}

static JobCopy *copy_of(const JobPass *p)
{
    return p->up->flags & JOB_COPY ? p->up->iov->iov_base : NULL;
}

static void copy_read(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);

    if (ret < 0) {
        JobCopy *c = copy_of(p);

        if (c) {
            c->read = true;
        }
        copy_failed(p, ret);
        return;
    }
    copy_write(p);
}

static void read_source(JobPass *p)
{
    if (!job_pass_buffer(p, p->len)) {
        copy_failed(p, -ENOMEM);
        return;
    }
    p->iov = (struct iovec){ p->buf, p->len };
    p->req = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET, .off = p->at, .len = p->len, .iov = &p->iov,
                       .niov = 1, .loop = p->up->loop, .done = copy_read };
    blk_submit_below(p->node->child, &p->req);
}

/* Only the first @len bytes are copied now; the rest is marked again. */
static void shorten(JobPass *p, uint64_t len)
{
    JobFilter *f = p->node->state;

    if (len < p->len) {
        lock_take(&f->lock);
        job_mark_locked(f, p->at + len, p->at + p->len, true);
        lock_drop(&f->lock);
        p->len = len;
    }
}

/* On the pool: what the range begins with, and whether that is zeroes on both sides. */
static void ask_run(PoolJob *job)
{
    JobPass *p = container_of(job, JobPass, work);

    p->told = blk_status(p->asked, p->at, p->len, NULL, &p->status);
}

/* The target was asked: what reads as zeroes there already need not be made to. */
static void target_told(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);

    if (ret == 0 && p->status.flags & BLK_STATUS_ZERO && p->status.len >= p->len) {
        p->at += p->len;
        job_copy_next(p);
        return;
    }
    write_zeroes(p);
}

static void source_told(BlkReq *r, int ret)
{
    JobPass *p = container_of(r, JobPass, req);
    const JobFilter *f = p->node->state;
    uint64_t len = ret == 0 && p->status.flags & BLK_STATUS_ZERO ? p->status.len : 0;

    if (p->at + len < blk_size(p->node)) {
        len = ALIGN_DOWN(len, f->grain);
    }
    if (len == 0) {
        shorten(p, MAX(f->chunk, f->grain));
        read_source(p);
        return;
    }
    shorten(p, len);
    /* A stream, or an overlay of the source: zeroes of its own are what it needs. */
    if (f->to == p->node->child || f->copied) {
        write_zeroes(p);
    } else {
        work(p, f->to, ask_run, target_told);
    }
}

void job_copy_next(JobPass *p)
{
    BlkNode *n = p->node;
    JobFilter *f = n->state;
    const JobCopy *c = copy_of(p);
    uint64_t most = c && c->ask ? ZERO_MOST : f->chunk;

    lock_take(&f->lock);
    bool found = p->ret == 0 && !f->broken &&
                 job_run_locked(f, &p->at, p->range.end, blk_size(n), most, &p->len);
    if (found && !f->copied) {
        job_mark_locked(f, p->at, p->at + p->len, false);
    }
    lock_drop(&f->lock);
    if (!found) {
        job_copied(p);
    } else if (c && c->ask) {
        work(p, n->child, ask_run, source_told);
    } else {
        read_source(p);
    }
}

/* --- on the thread --- */

static void copy_over(BlkReq *r, int ret)
{
    JobCopy *c = container_of(r, JobCopy, req);
    Job *j = c->j;

    c->ret = ret;
    lock_take(&j->lock);
    c->next = j->landed;
    j->landed = c;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
}

static void copy_go(Post *p)
{
    JobCopy *c = container_of(p, JobCopy, post);

    blk_user_submit(&c->j->source_use, &c->req);
}

static void copy_start(Job *j, uint64_t off, uint64_t len, bool zero)
{
    JobCopy *c = g_new0(JobCopy, 1);

    *c = (JobCopy){ .j = j, .off = off, .len = len, .ask = zero, .iov = { c, len }, .post.run = copy_go };
    c->req = (BlkReq){ .op = BLK_READ, .flags = BLK_QUIET | JOB_COPY, .off = off, .len = len, .iov = &c->iov,
                       .niov = 1, .loop = blk_bridge_loop(), .done = copy_over };
    lock_take(&j->lock);
    j->flying++;
    j->flying_bytes += zero ? 0 : len;
    lock_drop(&j->lock);
    loop_post(c->req.loop, &c->post);
}

typedef struct Sweep {
    uint64_t off, again;       /* again: the first place that is to be tried once more */
    bool ignored;              /* the policy has it so */
    int lost;                  /* of a stream: what was ignored, for which it fails in the end */
    int ret;
} Sweep;

/* Looks at what landed. */
static void sweep_landed(Job *j, Sweep *s, bool wait)
{
    lock_take(&j->lock);
    while (wait && j->flying && !j->landed) {
        lock_wait(&j->lock, &j->changed, -1);
    }
    JobCopy *c = j->landed;
    j->landed = NULL;
    for (const JobCopy *i = c; i; i = i->next) {
        j->flying--;
        j->flying_bytes -= i->ask ? 0 : i->len;
    }
    lock_drop(&j->lock);
    while (c) {
        JobCopy *next = c->next;
        bool ignored = false;
        int ret = c->ret < 0 && s->ret == 0 ? job_failed(j, c->read, c->ret, &ignored) : 0;

        s->ret = s->ret ? s->ret : ret;
        s->ignored |= ignored;
        if (c->ret == 0) {
            job_add(j, c->len, 0);
        } else if (ignored && j->drv->kind == JOB_STREAM) {
            s->lost = s->lost ? s->lost : c->ret;
        } else {
            s->again = MIN(s->again, c->off);
        }
        g_free(c);
        c = next;
    }
}

/* What the source is from @off on, for at most @len bytes: ahead of the copy, so it may be wrong by then. */
static int look_ahead(Job *j, uint64_t off, uint64_t len)
{
    const JobFilter *f = j->filter->state;
    BlkStatus s;
    int ret = job_status(j, off, MIN(len, blk_size(j->filter) - off), NULL, &s);

    if (ret < 0) {
        return ret;
    }
    j->hint_zero = s.flags & BLK_STATUS_ZERO;
    j->hint_end = off + s.len;
    if (j->hint_end < blk_size(j->filter)) {
        j->hint_end = j->hint_zero ? ALIGN_DOWN(j->hint_end, f->grain) : ALIGN_UP(j->hint_end, f->grain);
    }
    if (j->hint_end <= off) {          /* less than a grain of zeroes */
        j->hint_zero = false;
        j->hint_end = off + f->grain;
    }
    return 0;
}

/* The next range to be copied at or after s->off; false: none. */
static bool sweep_next(Job *j, Sweep *s, uint64_t *len)
{
    bool hinted = s->off < j->hint_end;
    uint64_t most = !hinted ? ZERO_MOST : j->hint_zero ? MIN(ZERO_MOST, j->hint_end - s->off) : j->chunk;

    if (!job_filter_next(j->filter, &s->off, len, most)) {
        return false;
    }
    if (s->off >= j->hint_end) {
        /* A place that cannot be looked at is told when it is read. */
        if (look_ahead(j, s->off, *len) < 0) {
            j->hint_zero = false;
            j->hint_end = s->off + j->chunk;
        }
    }
    *len = MIN(*len, j->hint_end - s->off);
    if (!j->hint_zero) {
        *len = MIN(*len, j->chunk);
    }
    return true;
}

static bool room_for_more(Job *j)
{
    lock_take(&j->lock);
    bool room = j->flying < j->copies && (!j->flying || j->flying_bytes + j->chunk <= j->buffer) &&
                !(j->paused && j->flying);
    lock_drop(&j->lock);
    return room;
}

int job_copy_marked(Job *j)
{
    Sweep s = { .again = UINT64_MAX };
    bool more = true;

    j->hint_end = 0;
    while (s.ret == 0 && (more || j->flying)) {
        uint64_t len;

        if (!more || !room_for_more(j)) {
            sweep_landed(j, &s, true);
        } else if (!sweep_next(j, &s, &len)) {
            more = false;
        } else if (!job_point(j, j->hint_zero ? 0 : len)) {
            s.ret = -ECANCELED;
        } else {
            copy_start(j, s.off, len, j->hint_zero);
            s.off += len;
            sweep_landed(j, &s, false);
        }
        if (s.ret == 0) {
            int ret = job_filter_error(j->filter);
            bool ignored;

            /* A backup that missed what the guest has written over is no backup, whatever the policy. */
            s.ret = ret == 0 || ((JobFilter *)j->filter->state)->before ? ret
                    : job_failed(j, false, ret, &ignored);
        }
        if (s.again != UINT64_MAX) {   /* when all have landed: copies under way never overlap */
            more = !j->flying;
            if (more) {
                if (s.ignored) {
                    job_rest(j);
                }
                s = (Sweep){ .off = s.again, .again = UINT64_MAX, .lost = s.lost, .ret = s.ret };
                j->hint_end = 0;
            }
        }
    }
    while (j->flying) {
        sweep_landed(j, &s, true);
    }
    /* An error may have stopped it, and the guest then have done the rest: it waits all the same. */
    if (s.ret == 0 && !job_unpaused(j)) {
        s.ret = -ECANCELED;
    }
    return s.ret ? s.ret : s.lost;
}

int job_copy_settle(Job *j)
{
    uint64_t size = blk_size(j->filter), len;

    for (uint64_t off = 0; off < size; off += len) {
        JobCopy c = { .j = j };

        len = MIN(size - off, ZERO_MOST);
        int ret = job_io(&j->source_use, BLK_READ, JOB_COPY, off, &c, len);
        int lost = job_filter_error(j->filter);

        if (lost < 0) {
            return lost;
        }
        if (ret < 0) {
            ret = job_again(j, c.read, ret);
            len = 0;
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

int job_filter_copy_held(Job *j, uint64_t off, uint64_t len, bool *read)
{
    g_autofree uint8_t *buf = g_try_malloc(len);
    const JobFilter *f = j->filter->state;

    if (!buf) {
        return -ENOMEM;
    }
    int ret = blk_pread(j->source, off, buf, len);
    *read = ret < 0;
    if (ret == 0) {
        ret = job_is_zero(buf, len)
              ? blk_blocking(f->to, BLK_ZERO, f->unmap ? BLK_MAY_UNMAP : 0, off, NULL, len)
              : blk_pwrite(f->to, off, buf, len);
    }
    if (ret == 0) {
        job_filter_mark(j->filter, off, len, false);
    }
    return ret;
}
