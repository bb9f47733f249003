/* qcow2-partial.c: new clusters of which a part is written, and the rest comes later.
 *
 * 1. A Partial is a cluster of the run for a guest cluster that shows what is behind the image.  The parts
 *    (at least 4 KiB) that were written are there; the others still read from behind.  No L2 entry names it,
 *    in memory or on disk, before all of it is there: then it is linked like any other.
 * 2. What is missing is copied by the next flush, before metadata is written, so what was written before a
 *    flush is mapped after it.  A cluster whose parts are all written is never copied.
 * 3. A part gets there once: by the one writer that has it (busy), or by the copying, which waits for those
 *    and lets no more begin (filling).  Who is in the way is waited for as for a Change, which may also clear
 *    the cluster, when nobody writes to it.
 * 4. There are at most q->partials_max: as many as could lately be copied in a second.  With more, writes
 *    copy what is around them at once.
 * 5. A copy that fails fails the flush; the cluster stays as it is, and the next flush tries again. */
#include <errno.h>
#include "block/pool.h"
#include "block/qcow2-int.h"
#include "util/clock.h"
#include "util/fault.h"

#define PART_MIN (4 * KiB)
#define PARTS_MAX 64           /* in a cluster: bits of a mask */
#define PARTIALS_MIN 64
#define PARTIALS_MAX 4096      /* about 150 bytes each */
#define HELPERS 7              /* threads beside the one that flushes, each for */
#define HELPER_MIN 16          /* so many clusters, once as many took longer than this each: */
#define SLOW_NS (100 * 1000)   /* else memory is copied, and threads would be in one another's way */

void qcow2_partials_init(Qcow2 *q)
{
    q->part = MAX(q->cluster / PARTS_MAX, PART_MIN);
    if (q->cluster > q->part && q->entry_size == 8 && !q->external && !q->h.crypt_method) {
        q->partials = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
        q->partials_max = PARTIALS_MAX;
        q->slow_ns = SLOW_NS;
    }
}

/* All the parts of a cluster. */
static uint64_t parts_all(const Qcow2 *q)
{
    return UINT64_MAX >> (64 - q->cluster / q->part);
}

/* The parts that [@pos, @pos + @len), which is in one cluster, touches. */
static uint64_t parts_of(const Qcow2 *q, uint64_t pos, uint64_t len)
{
    unsigned first = (unsigned)((pos & (q->cluster - 1)) / q->part);
    unsigned last = (unsigned)(((pos & (q->cluster - 1)) + len - 1) / q->part);

    return UINT64_MAX >> (63 - (last - first)) << first;
}

uint64_t qcow2_partial_run(const Qcow2 *q, const Partial *p, uint64_t pos, uint64_t left, bool *there)
{
    uint64_t in = pos & (q->cluster - 1), end = MIN(in + left, q->cluster);
    uint64_t at = in / q->part;

    *there = p->there >> at & 1;
    do {
        at++;
    } while (at * q->part < end && (p->there >> at & 1) == *there);
    return MIN(at * q->part, end) - in;
}

/* --- writing --- */

bool qcow2_partial_possible(const Qcow2 *q, const BlkReq *r)
{
    return q->partials && g_hash_table_size(q->partials) < q->partials_max && !(r->flags & BLK_FUA);
}

Partial *qcow2_partial_new_locked(Qcow2 *q, uint64_t g)
{
    Partial *p = g_new0(Partial, 1);

    *p = (Partial){ .guest = g, .host = q->run++ << q->cluster_bits, .id = ++q->next_id };
    g_hash_table_insert(q->partials, &p->guest, p);
    return p;
}

int qcow2_partial_write_locked(Qcow2 *q, Partial *p, Slice *s, const BlkReq *r, Extent *e)
{
    uint64_t in = r->pos & (q->cluster - 1);
    bool there;
    uint64_t len = qcow2_partial_run(q, p, r->pos, r->left, &there);

    *e = (Extent){ .is = EXT_DATA, .node = q->data, .off = p->host + in, .len = len };
    if (there) {
        return 0;
    }
    uint64_t parts = parts_of(q, r->pos, len);
    if (p->filling || p->busy & parts) {
        e->cookie = p->id;
        return -EINPROGRESS;
    }
    p->busy |= parts;
    if (p->writers++ == 0) {
        p->slice = s;
        qcow2_slice_pin(s);
    }
    e->link = true;
    e->cookie = (uintptr_t)p | QCOW2_COOKIE_PARTIAL;
    e->head = in % q->part;
    e->tail = ALIGN_UP(in + len, q->part) - (in + len);
    return 0;
}

static void forget_locked(Qcow2 *q, Partial *p)
{
    g_hash_table_remove(q->partials, &p->guest);
}

void qcow2_partial_commit(BlkNode *n, const BlkReq *r, uint64_t cookie, int ret)
{
    Qcow2 *q = n->state;
    Partial *p = (Partial *)(uintptr_t)(cookie & ~(uint64_t)QCOW2_COOKIE_PARTIAL);
    uint64_t parts = parts_of(q, r->pos, r->left), id = p->id;

    lock_take(&q->lock);
    p->busy &= ~parts;
    p->there |= ret == 0 ? parts : 0;
    Slice *s = p->slice;
    bool last = --p->writers == 0;
    if (!p->filling && p->there == parts_all(q)) {
        qcow2_link_whole_locked(q, s, p->guest, p->host);
        forget_locked(q, p);
    } else if (!p->filling && last && !p->there) {
        qcow2_partial_drop_locked(q, p, BLK_FREED_OTHER);
    }
    if (last) {
        qcow2_slice_unpin(s);
    }
    lock_drop(&q->lock);
    blk_wake(n, id);
}

void qcow2_partial_drop_locked(Qcow2 *q, Partial *p, BlkFreed why)
{
    qcow2_free_later_locked(q, p->host, 1, why);
    if (p->filling) {          /* whoever fills it has it in a list, and frees it */
        p->gone = true;
        g_hash_table_steal(q->partials, &p->guest);
    } else {
        forget_locked(q, p);
    }
}

/* --- copying the rest --- */

/* Copies what is missing of the cluster of @p, as @there and @backing were under the lock. */
static int copy_rest(BlkNode *n, const Partial *p, uint64_t there, BlkNode *backing, uint8_t *buf)
{
    const Qcow2 *q = n->state;
    uint64_t start = p->guest << q->cluster_bits, missing = parts_all(q) & ~there;
    uint64_t size = backing ? MIN(blk_size(backing), blk_size(n)) : 0;
    unsigned first = (unsigned)__builtin_ctzll(missing), last = 63 - (unsigned)__builtin_clzll(missing);
    uint64_t from = start + first * q->part, to = MIN(start + (last + 1) * q->part, size);

    if (from >= to) {
        return 0;              /* the run's zeroes are what is there */
    }
    int ret = FAULT("qcow2-partial-copy") ? -EIO : blk_pread(backing, from, buf + (from - start), to - from);
    for (uint64_t at = first * q->part; ret == 0 && start + at < to;) {
        bool is;
        uint64_t len = qcow2_partial_run(q, &(Partial){ .there = there }, at, to - start - at, &is);

        if (!is && !blk_is_zero(buf + at, len)) {
            ret = blk_pwrite(q->data, p->host + at, buf + at, len);
        }
        at += len;
    }
    return ret;
}

static bool in_the_way(const Qcow2 *q, const Partial *p)
{
    return p->busy || (!p->gone && qcow2_changing(q, p->guest));
}

/* Links @p, which is all there. */
static int link_locked(BlkNode *n, Partial *p)
{
    Qcow2 *q = n->state;
    Slice *s;
    int ret = qcow2_l2_slice_locked(n, p->guest, &s);

    if (ret == 0) {
        qcow2_link_whole_locked(q, s, p->guest, p->host);
        qcow2_slice_unpin(s);
        forget_locked(q, p);
    }
    return ret;
}

/* Waits until nobody writes to @p, or clears it. */
static int alone_locked(BlkNode *n, const Partial *p) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    bool waited = true;

    while (waited && in_the_way(q, p)) {
        uint64_t seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE);

        lock_drop(&q->lock);
        waited = blk_wait_woken(n, seq);
        lock_take(&q->lock);
    }
    return waited ? 0 : -ENOMEM;
}

/* Fills and links @p, which is marked as filling; it may be gone afterwards. */
static int fill_one(BlkNode *n, Partial *p, uint8_t *buf) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t id = p->id;

    lock_take(&q->lock);
    int ret = alone_locked(n, p);
    if (p->gone) {
        g_free(p);
        lock_drop(&q->lock);
        return 0;
    }
    uint64_t there = p->there;
    BlkNode *backing = q->backing;
    if (ret == 0 && there && there != parts_all(q)) {
        lock_drop(&q->lock);
        ret = copy_rest(n, p, there, backing, buf);
        lock_take(&q->lock);
    }
    ret = ret == 0 && there ? link_locked(n, p) : ret;
    if (!there || ret < 0) {
        p->filling = false;
    }
    if (ret == 0 && !there) {  /* nothing ever got there */
        qcow2_partial_drop_locked(q, p, BLK_FREED_OTHER);
    }
    lock_drop(&q->lock);
    blk_wake(n, id);
    return ret;
}

/* What several threads fill. */
typedef struct Fill {
    Lock lock;                 /* guards what follows */
    LockCond idle;
    BlkNode *n;                /* only while there is something left to take, or active */
    GPtrArray *list;           /* Partial */
    unsigned next, active, refs;
    int ret;
} Fill;

typedef struct FillHelper {
    PoolJob job;
    Fill *f;
} FillHelper;

static void fill_unref(Fill *f)
{
    lock_take(&f->lock);
    bool last = --f->refs == 0;
    lock_drop(&f->lock);
    if (last) {
        lock_destroy(&f->lock);
        g_ptr_array_free(f->list, true);
        g_free(f);
    }
}

static Partial *fill_take(Fill *f)
{
    lock_take(&f->lock);
    Partial *p = f->next < f->list->len ? f->list->pdata[f->next++] : NULL;
    f->active += p != NULL;
    lock_drop(&f->lock);
    return p;
}

/* Fills what is left, @most of it. */
static void fill_work(Fill *f, unsigned most)
{
    g_autofree uint8_t *buf = NULL;
    Partial *p;

    while (most-- && (p = fill_take(f))) {
        const Qcow2 *q = f->n->state;

        buf = buf ? buf : g_malloc(q->cluster);
        int ret = fill_one(f->n, p, buf);
        lock_take(&f->lock);
        f->ret = f->ret < 0 ? f->ret : ret;
        f->active--;
        lock_broadcast(&f->idle);
        lock_drop(&f->lock);
    }
}

static void helper_run(PoolJob *j)
{
    FillHelper *h = container_of(j, FillHelper, job);

    fill_work(h->f, UINT_MAX);
    fill_unref(h->f);
    g_free(h);
}

static int by_host(const void *a, const void *b)
{
    const Partial *x = *(Partial *const *)a, *y = *(Partial *const *)b;

    return x->host < y->host ? -1 : x->host > y->host;
}

/* Threads for what is left. */
static void fill_help(Fill *f)
{
    for (unsigned i = 0; i < MIN((f->list->len - HELPER_MIN) / HELPER_MIN, HELPERS); i++) {
        FillHelper *h = g_new0(FillHelper, 1);

        *h = (FillHelper){ .job.run = helper_run, .f = f };
        lock_take(&f->lock);
        f->refs++;
        lock_drop(&f->lock);
        pool_add(&h->job, 1);
    }
}

/* Fills all of @list, which becomes the threads'. */
static int fill_list(BlkNode *n, GPtrArray *list)
{
    const Qcow2 *q = n->state;
    Fill *f = g_new0(Fill, 1);
    int64_t start = clock_now(CLOCK_HOST);

    g_ptr_array_sort(list, by_host);
    *f = (Fill){ .n = n, .list = list, .refs = 1 };
    lock_init(&f->lock, RANK_LEAF, "qcow2-fill");
    fill_work(f, HELPER_MIN);
    bool helped = list->len > HELPER_MIN && clock_now(CLOCK_HOST) - start > HELPER_MIN * q->slow_ns &&
                  pool_wait_begin();
    if (helped) {
        fill_help(f);
    }
    fill_work(f, UINT_MAX);
    lock_take(&f->lock);
    while (f->active) {
        lock_wait(&f->lock, &f->idle, -1);
    }
    int ret = f->ret;
    lock_drop(&f->lock);
    if (helped) {
        pool_wait_end();
    }
    fill_unref(f);
    return ret;
}

/* All partials, or the one of cluster @only, marked as filling. */
static GPtrArray *list_locked(const Qcow2 *q, const uint64_t *only)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter it;
    void *p;

    g_hash_table_iter_init(&it, q->partials);
    while (!only && g_hash_table_iter_next(&it, NULL, &p)) {
        g_ptr_array_add(list, p);
    }
    if (only && (p = g_hash_table_lookup(q->partials, only))) {
        g_ptr_array_add(list, p);
    }
    for (unsigned i = 0; i < list->len; i++) {
        ((Partial *)list->pdata[i])->filling = true;
    }
    return list;
}

/* One thread and its helpers at a time. */
static int fill_begin_locked(Qcow2 *q) LOCK_UNCHECKED
{
    if (!q->filling) {
        return 0;
    }
    lock_drop(&q->lock);
    bool may = pool_wait_begin();
    lock_take(&q->lock);
    while (may && q->filling) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    bool busy = q->filling;
    if (may) {
        lock_drop(&q->lock);
        pool_wait_end();
        lock_take(&q->lock);
    }
    return busy ? -ENOMEM : 0;
}

static int fill(BlkNode *n, const uint64_t *only)
{
    Qcow2 *q = n->state;

    if (!q->partials) {
        return 0;
    }
    lock_take(&q->lock);
    int ret = fill_begin_locked(q);
    if (ret < 0) {
        lock_drop(&q->lock);
        return ret;
    }
    GPtrArray *list = list_locked(q, only);
    unsigned count = list->len;
    q->filling = count != 0;
    lock_drop(&q->lock);
    if (!count) {
        g_ptr_array_free(list, true);
        return 0;
    }
    int64_t start = clock_now(CLOCK_HOST);
    ret = fill_list(n, list);
    int64_t each = (clock_now(CLOCK_HOST) - start) / MAX(count, 1);
    lock_take(&q->lock);
    if (count >= PARTIALS_MIN / 2) {
        q->partials_max = (unsigned)CLAMP(NS_PER_SEC / MAX(each, 1), PARTIALS_MIN, PARTIALS_MAX);
    }
    q->filling = false;
    lock_broadcast(&q->changed);
    lock_drop(&q->lock);
    return ret;
}

int qcow2_partials_fill(BlkNode *n)
{
    return fill(n, NULL);
}

int qcow2_partial_fill(BlkNode *n, uint64_t g)
{
    return fill(n, &g);
}
