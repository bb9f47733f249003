/* filter.c: what filters share, see filter.h. */
#include "block/filter.h"

#include "util/bytes.h"

static void job_back(Post *p)
{
    FilterJob *j = container_of(p, FilterJob, post);

    j->over(j);
}

static void job_here(Post *p)
{
    FilterJob *j = container_of(p, FilterJob, post);
    Loop *home = j->home;

    j->run(j);
    j->post.run = job_back;
    loop_post(home, &j->post);
}

void blk_filter_work(Loop *worker, FilterJob *j)
{
    j->post.run = job_here;
    loop_post(worker, &j->post);
}

static void pass_run(FilterJob *j)
{
    FilterPass *p = container_of(j, FilterPass, job);

    p->run(p);
}

static void pass_over(FilterJob *j)
{
    FilterPass *p = container_of(j, FilterPass, job);
    BlkReq *up = p->up;
    int ret = p->ret;

    gate_leave(p->gate, &p->range);
    g_free(p);
    blk_complete_later(up, ret);
}

static void pass_in(GateRange *g)
{
    FilterPass *p = container_of(g, FilterPass, range);

    blk_filter_work(p->worker, &p->job);
}

void blk_filter_pass(BlkNode *n, BlkReq *r, uint64_t block, bool alone, Gate *gate, Loop *worker,
                     void (*run)(FilterPass *p))
{
    FilterPass *p = g_new0(FilterPass, 1);

    *p = (FilterPass){ .up = r, .node = n, .run = run, .gate = gate, .worker = worker,
                       .job = { .run = pass_run, .home = r->loop, .over = pass_over } };
    p->range = (GateRange){ .off = ALIGN_DOWN(r->pos, block), .end = ALIGN_UP(r->pos + r->left, block),
                            .alone = alone, .loop = r->loop, .go = pass_in };
    if (gate_enter(gate, &p->range)) {
        pass_in(&p->range);
    }
}

Loop *blk_filter_worker(Error **errp)
{
    return loop_new("blk-filter", THREAD_LOOP, errp);
}

void blk_filter_worker_end(Loop *worker)
{
    blk_loop_drop(worker);
    loop_free(worker);
}

bool blk_filter_open(BlkNode *n)
{
    n->size = blk_size(n->child);
    n->limits = n->child->limits;
    n->read_only |= n->child->read_only;
    return true;
}

void blk_filter_relinked(BlkNode *n)
{
    if (n->child) {
        n->limits = n->child->limits;
    }
}

void blk_filter_resized(BlkNode *n)
{
    blk_set_size(n, blk_size(n->child));
}

bool blk_filter_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    return blk_change_rights(&n->child_use, need, share, errp);
}

bool blk_filter_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    return blk_truncate(n->child, size, errp);
}

int blk_filter_write_compressed(BlkNode *n, uint64_t off, const void *buf, size_t len)
{
    return blk_pwrite_compressed(n->child, off, buf, len);
}
