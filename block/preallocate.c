/* preallocate.c: a filter below a format that sets space of a growing file aside before it is written to.
 *
 *   write past what is set aside --> thread: more is set aside --> goes down
 *
 * 1. What is set aside lies behind all that was written, so nothing in flight is overwritten with zeroes.
 * 2. Nobody but the child sees it: the filter's size does not change by it, and it is cut off when the last
 *    one who writes leaves.  A cut of power leaves a file that is longer than it needs to be.
 * 3. A host that sets nothing aside is asked once. */
#include "block/block-int.h"
#include "block/filter.h"
#include "qapi/types.h"
#include "util/bytes.h"

#define ALIGN_DEFAULT MiB
#define SIZE_DEFAULT (128 * MiB)

typedef struct Preallocate {
    Loop *worker;
    uint64_t align, size;
    uint64_t data_end;         /* of what was written, or the file's first; atomic */
    uint64_t end;              /* of what is set aside; the worker's, others read it; atomic */
    bool stopped;              /* nothing more is; the worker's, others read it; atomic */
} Preallocate;

typedef struct Pass {
    BlkReq *up;
    BlkNode *node;
    FilterJob job;
} Pass;

static uint64_t get(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static void pass_run(FilterJob *j)
{
    const Pass *p = container_of(j, Pass, job);
    Preallocate *c = p->node->state;
    BlkNode *child = p->node->child;
    uint64_t from = get(&c->end), to = p->up->pos + p->up->left;

    if (to <= from || c->stopped) {
        return;                /* somebody before did it */
    }
    if (c->size > INT64_MAX - c->align - to) {
        return;
    }
    to = ALIGN_UP(to + c->size, c->align);
    blk_grow(child, to);
    int ret = blk_blocking(child, BLK_ZERO, BLK_NO_FALLBACK, from, NULL, to - from);
    __atomic_store_n(&c->stopped, ret < 0, __ATOMIC_RELAXED);
    __atomic_store_n(&c->end, to, __ATOMIC_RELAXED);       /* failed: some of it may be there */
}

static void pass_over(FilterJob *j)
{
    Pass *p = container_of(j, Pass, job);
    BlkReq *up = p->up;

    g_free(p);
    blk_pass_down(up);
}

static bool preallocate_intercept(BlkLane *l, BlkReq *r)
{
    Preallocate *c = l->node->state;
    uint64_t to = r->pos + r->left, end = get(&c->data_end);

    if (r->op != BLK_WRITE && r->op != BLK_ZERO) {
        return false;
    }
    while (end < to && !__atomic_compare_exchange_n(&c->data_end, &end, to, true, __ATOMIC_RELAXED,
                                                    __ATOMIC_RELAXED)) {
    }
    if (to <= get(&c->end) || __atomic_load_n(&c->stopped, __ATOMIC_RELAXED)) {
        return false;
    }
    Pass *p = g_new0(Pass, 1);
    *p = (Pass){ .up = r, .node = l->node,
                 .job = { .run = pass_run, .home = r->loop, .over = pass_over } };
    blk_filter_work(c->worker, &p->job);
    return true;
}

/* Cuts off what was set aside for nothing; no request is in flight. */
static void trim(BlkNode *n)
{
    Preallocate *c = n->state;
    uint64_t data_end = ALIGN_UP(c->data_end, 512);
    Error *err = NULL;

    if (c->end <= data_end) {
        return;
    }
    for (BlkNode *at = n->child; at; at = at->child) {
        __atomic_store_n(&at->room, MIN(at->room, data_end), __ATOMIC_RELAXED);
    }
    if (!blk_truncate(n->child, data_end, &err)) {
        warn_report("preallocate filter '%s': %s", n->name, error_text(err));
        error_free(err);
    }
    c->end = c->data_end = data_end;
}

/* Whoever writes here makes the file longer and shorter. */
static bool preallocate_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    const Preallocate *c = n->state;
    unsigned all = need & BLK_PERM_WRITE ? need | BLK_PERM_RESIZE : need;

    if (!(need & BLK_PERM_WRITE) && n->child && c->end > c->data_end &&
        blk_change_rights(&n->child_use, n->child_use.need, BLK_PERM_RESIZE, NULL)) {
        trim(n);
    }
    if (need & BLK_PERM_WRITE && n->child) {
        blk_grow(n->child, 1);
    }
    return blk_change_rights(&n->child_use, all, share, errp);
}

static void preallocate_resized(BlkNode *n)
{
    Preallocate *c = n->state;

    blk_filter_resized(n);
    c->data_end = MAX(c->data_end, n->size);
    c->end = MAX(c->end, n->size);
}

static bool preallocate_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    Preallocate *c = n->state;

    if (!blk_truncate(n->child, size, errp)) {
        return false;
    }
    c->data_end = c->end = size;
    return true;
}

static bool preallocate_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    const PreallocateOwn *own = o->own;
    Preallocate *c = n->state;

    c->align = own ? own->prealloc_align : ALIGN_DEFAULT;
    c->size = own ? own->prealloc_size : SIZE_DEFAULT;
    if (c->align == 0 || c->align % 512) {
        return error_set(errp, "prealloc-align parameter of preallocate filter is not aligned to 512");
    }
    blk_filter_open(n);
    c->data_end = c->end = n->size;
    if (!n->limits.can_grow) {
        c->end = UINT64_MAX;   /* there is nothing to set aside */
        c->data_end = UINT64_MAX;
    }
    c->worker = blk_filter_worker(errp);
    return c->worker != NULL;
}

static void preallocate_close(BlkNode *n)
{
    blk_filter_worker_end(((Preallocate *)n->state)->worker);
}

const BlkDriver blk_preallocate = {
    .name = "preallocate",
    .size = sizeof(Preallocate),
    .options = BLK_OPT_CHILD | BLK_OPT_OWN,
    .filter = true,
    .open = preallocate_open,
    .close = preallocate_close,
    .relinked = blk_filter_relinked,
    .child_resized = preallocate_resized,
    .rights = preallocate_rights,
    .truncate = preallocate_truncate,
    .intercept = preallocate_intercept,
};
