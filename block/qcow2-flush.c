/* qcow2-flush.c: metadata on its way to the file, in an order that survives being cut anywhere.
 *
 * 1. What is written is the metadata as it stood when the flush began; a change made meanwhile is
 *    for the next one.
 * 2. The order: reference counts; the refcount table; data and all that made durable; L2 tables;
 *    L1.  So a mapping on disk always has its data and its counts on disk, and what a cut leaves is
 *    counted and not mapped: a leak.
 * 3. Then what was unmapped loses its count, after the requests that may still be on their way to
 *    it are done; before that it goes back to the host, if it is to.  Both are part of the same flush, or
 *    of a later one if these requests take longer than GRACE_NS.  The lowered counts are written by the
 *    next. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include "block/blkdebug.h"
#include "block/pool.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define MERGE_MAX MiB
#define GRACE_NS (50 * NS_PER_MS)      /* what a flush waits at most, and once for each grace */

/* Something to write; part of a slice, or a sector of a table. */
typedef struct Part {
    uint64_t off;
    uint32_t len;
    const uint8_t *data;
    Slice *slice;              /* NULL: @data is owned */
} Part;

typedef struct Flush {
    GArray *refs, *rt, *l2, *l1;   /* Part */
    GArray *freed;                 /* Freed; NULL: none, or the last are not applied yet */
    Qcow2Header h;                 /* to be written first when header is set */
    bool header;
} Flush;

/* --- what is to be written --- */

static void take_slices_locked(Qcow2 *q, Flush *f)
{
    for (Slice *s = q->cache.oldest; s; s = s->newer) {
        if (s->dirty) {
            Part p = { s->off, q->cache.slice_bytes, s->data, s };

            s->frozen = s->data;
            s->dirty = false;
            g_array_append_val(s->kind == SLICE_REF ? f->refs : f->l2, p);
        }
    }
    q->cache.dirty = 0;
}

/* The dirty sectors of @table, @size entries at @at in the file. */
static void take_table_locked(GArray *parts, const uint64_t *table, bool *dirty, uint64_t size, uint64_t at)
{
    for (uint64_t sector = 0; sector * 64 < size; sector++) {
        if (!dirty[sector]) {
            continue;
        }
        uint64_t n = MIN(size - sector * 64, 64);
        Be64 *copy = g_new(Be64, n);
        Part p = { at + sector * 512, (uint32_t)(n * 8), (uint8_t *)copy, NULL };

        for (uint64_t i = 0; i < n; i++) {
            copy[i] = to_be64(table[sector * 64 + i]);
        }
        dirty[sector] = false;
        g_array_append_val(parts, p);
    }
}

static void take_locked(Qcow2 *q, Flush *f)
{
    *f = (Flush){ .h = q->h };
    for (GArray **a = &f->refs; a <= &f->l1; a++) {
        *a = g_array_new(false, false, sizeof(Part));
    }
    take_slices_locked(q, f);
    if (q->any_rt_dirty) {
        take_table_locked(f->rt, q->rt, q->rt_dirty, q->rt_size, q->h.rt_off);
        q->any_rt_dirty = false;
    }
    if (q->any_l1_dirty) {
        take_table_locked(f->l1, q->l1, q->l1_dirty, q->h.l1_size, q->h.l1_off);
        q->any_l1_dirty = false;
    }
    if (q->freed->len && !q->limbo) {
        f->freed = q->freed;
        q->freed = g_array_new(false, false, sizeof(Freed));
    }
    if (q->corrupt && !(q->h.incompat & QCOW2_INCOMPAT_CORRUPT) && q->h.version >= 3) {
        q->h.incompat |= QCOW2_INCOMPAT_CORRUPT;
        f->h.incompat |= QCOW2_INCOMPAT_CORRUPT;
        f->header = true;
    }
}

/* --- writing --- */

static int by_place(const void *a, const void *b)
{
    const Part *x = a, *y = b;

    return x->off < y->off ? -1 : x->off > y->off;
}

/* Neighbours go in one write. */
static int write_parts(BlkNode *n, GArray *parts, BlkdebugEvent event)
{
    g_autofree uint8_t *merged = NULL;
    int ret = 0;

    if (parts->len) {
        blk_event(n->child, event);
    }
    g_array_sort(parts, by_place);
    for (unsigned i = 0, next; ret == 0 && i < parts->len; i = next) {
        const Part *p = &g_array_index(parts, Part, i);
        uint64_t len = p->len;

        for (next = i + 1; next < parts->len && len < MERGE_MAX; next++) {
            const Part *more = &g_array_index(parts, Part, next);

            if (more->off != p->off + len) {
                break;
            }
            merged = merged ? merged : g_malloc(MERGE_MAX + p->len);
            if (next == i + 1) {
                memcpy(merged, p->data, len);
            }
            memcpy(merged + len, more->data, more->len);
            len += more->len;
        }
        ret = blk_pwrite(n->child, p->off, next > i + 1 ? merged : p->data, len);
    }
    return ret;
}

static int sync_all(BlkNode *n)
{
    const Qcow2 *q = n->state;
    int ret = blk_pflush(n->child);

    return ret == 0 && q->external ? blk_pflush(q->data) : ret;
}

static int write_all(BlkNode *n, Flush *f)
{
    int ret = f->header ? qcow2_header_update(n->child, &f->h) : 0;

    ret = ret < 0 ? ret : write_parts(n, f->refs, BLKDEBUG_EVENT_REFBLOCK_UPDATE_PART);
    if (ret == 0 && f->rt->len) {
        ret = sync_all(n);
        ret = ret < 0 ? ret : write_parts(n, f->rt, BLKDEBUG_EVENT_REFTABLE_UPDATE);
    }
    if (ret == 0 && (f->l2->len || f->l1->len)) {
        ret = sync_all(n);
        ret = ret < 0 ? ret : write_parts(n, f->l2, BLKDEBUG_EVENT_L2_UPDATE);
    }
    if (ret == 0 && f->l1->len) {
        ret = sync_all(n);
        ret = ret < 0 ? ret : write_parts(n, f->l1, BLKDEBUG_EVENT_L1_UPDATE);
    }
    if (ret == 0 && f->freed) {
        ret = sync_all(n);
    }
    return ret;
}

/* --- the end --- */

static void mark_dirty(bool *dirty, uint64_t base, const GArray *parts)
{
    for (unsigned i = 0; i < parts->len; i++) {
        dirty[(g_array_index(parts, Part, i).off - base) / 512] = true;
    }
}

/* Lets go of what was frozen; after a failure it is dirty again. */
static void thaw_locked(Qcow2 *q, GArray *parts, bool failed)
{
    for (unsigned i = 0; i < parts->len; i++) {
        Slice *s = g_array_index(parts, Part, i).slice;

        if (s->frozen != s->data) {
            g_free(s->frozen);
        }
        s->frozen = NULL;
        if (failed && !s->dirty) {
            s->dirty = true;
            q->cache.dirty++;
        }
    }
}

static void put_back_locked(Qcow2 *q, Flush *f)
{
    mark_dirty(q->rt_dirty, q->h.rt_off, f->rt);
    mark_dirty(q->l1_dirty, q->h.l1_off, f->l1);
    q->any_rt_dirty |= f->rt->len != 0;
    q->any_l1_dirty |= f->l1->len != 0;
    if (f->freed) {
        g_array_append_vals(q->freed, f->freed->data, f->freed->len);
        g_array_free(f->freed, true);
    }
}

/* --- what was unmapped --- */

void qcow2_limbo_over(BlkGrace *g)
{
    Qcow2 *q = container_of(g, Qcow2, grace);

    lock_take(&q->lock);
    q->limbo_over = true;
    lock_broadcast(&q->changed);
    lock_drop(&q->lock);
}

int qcow2_release_locked(BlkNode *n)
{
    Qcow2 *q = n->state;
    int ret = 0;

    if (!q->limbo || !q->limbo_over) {
        return 0;
    }
    g_autoptr(GArray) freed = q->limbo;
    g_autoptr(GArray) last = g_array_new(false, false, sizeof(Freed));
    q->limbo_over = false;
    blk_event(n->child, BLKDEBUG_EVENT_CLUSTER_FREE);
    for (unsigned i = 0; i < freed->len; i++) {
        const Freed *f = &g_array_index(freed, Freed, i);
        int one = qcow2_refcount_drop_locked(n, f->host, f->count, q->pass[f->why] ? last : NULL);

        if (one == -EUCLEAN) {
            qcow2_corrupt_locked(n, "the cluster at %#" PRIx64 " is in use, but its reference count is 0",
                                 f->host);
        }
        ret = ret < 0 ? ret : one;
    }
    int punched = qcow2_punch_locked(n, last);
    q->limbo = NULL;
    return ret < 0 ? ret : punched;
}

static void flush_free(Flush *f)
{
    for (GArray **a = &f->refs; a <= &f->l1; a++) {
        for (unsigned i = 0; i < (*a)->len; i++) {
            const Part *p = &g_array_index(*a, Part, i);

            if (!p->slice) {
                g_free((void *)p->data);
            }
        }
        g_array_free(*a, true);
    }
}

int qcow2_flush_tables(BlkNode *n)
{
    Qcow2 *q = n->state;
    Flush f;

    lock_take(&q->lock);
    while (q->flushing) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    q->flushing = true;
    int ret = qcow2_release_locked(n);
    take_locked(q, &f);
    lock_drop(&q->lock);
    ret = ret < 0 ? ret : write_all(n, &f);
    lock_take(&q->lock);
    thaw_locked(q, f.refs, ret < 0);
    thaw_locked(q, f.l2, ret < 0);
    if (ret < 0) {
        put_back_locked(q, &f);
    } else {
        q->limbo = f.freed ? f.freed : q->limbo;
        q->limbo_waited &= !f.freed;
    }
    q->flushing = false;
    lock_broadcast(&q->changed);
    lock_drop(&q->lock);
    if (ret == 0 && f.freed) {
        blk_grace(n, &q->grace);
    }
    flush_free(&f);
    return ret;
}

/* Waits for the end of the grace, the first time. */
static void limbo_wait_locked(Qcow2 *q) LOCK_HELD(q->lock)
{
    int64_t end = clock_now(CLOCK_HOST) + GRACE_NS, left = GRACE_NS;

    while (q->limbo && !q->limbo_over && !q->limbo_waited && left > 0) {
        lock_wait(&q->lock, &q->changed, left);
        left = end - clock_now(CLOCK_HOST);
    }
    q->limbo_waited = true;
}

int qcow2_flush_back(BlkNode *n)
{
    Qcow2 *q = n->state;
    int ret = 0;

    lock_take(&q->lock);
    bool any = q->limbo != NULL;
    lock_drop(&q->lock);
    if (!any || !pool_wait_begin()) {
        return 0;
    }
    lock_take(&q->lock);
    limbo_wait_locked(q);
    while (q->flushing) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    q->flushing = true;
    ret = qcow2_release_locked(n);
    q->flushing = false;
    lock_broadcast(&q->changed);
    lock_drop(&q->lock);
    pool_wait_end();
    return ret;
}

int qcow2_flush_meta(BlkNode *n, bool put_off)
{
    int filled = put_off ? qcow2_partials_fill(n) : 0;
    int ret = qcow2_flush_tables(n);

    return filled < 0 ? filled : ret;
}

void qcow2_corrupt_locked(BlkNode *n, const char *format, ...)
{
    Qcow2 *q = n->state;
    va_list args;

    if (q->corrupt) {
        return;
    }
    q->corrupt = true;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    warn_report("qcow2 image '%s': %s: marking it as corrupt, no more writes", blk_filename(n), what);
}
