/* qcow2-refcount.c: which clusters of the file are in use, and how often.
 *
 * 1. Free space is taken in runs of up to RUN_MAX clusters on the pool; giving clusters out of the run
 *    needs no metadata.  A crash leaks at most the rest of one run.
 * 2. A refcount block that is made lies in the first cluster of the space it describes, and counts
 *    itself: where there is no block, nothing is in use.
 * 3. A reference is dropped in memory only after a flush put what held it off the disk; so nothing
 *    on disk ever points at a cluster that is given out anew.
 * 4. What goes back to the host keeps its count until it did, so it is given out by nobody meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define RUN_FIRST 64           /* clusters; */
#define RUN_MAX 1024           /* each run has twice as many as the one before */
#define RUN_BYTES (64 * MiB)
#define RT_MAX_BYTES (8 * MiB)

/* Clusters one refcount block describes, as a shift. */
static unsigned block_shift(const Qcow2 *q)
{
    return q->cluster_bits + 3 - q->h.refcount_order;
}

uint64_t qcow2_count_read(const Qcow2 *q, const uint8_t *block, uint64_t i)
{
    unsigned bits = 1u << q->h.refcount_order;

    switch (bits) {
    case 8:
        return block[i];
    case 16:
        return (uint64_t)block[2 * i] << 8 | block[2 * i + 1];
    case 32:
        return be32(((const Be32 *)block)[i]);
    case 64:
        return be64(((const Be64 *)block)[i]);
    default:
        return block[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
    }
}

static void count_write(const Qcow2 *q, uint8_t *block, uint64_t i, uint64_t v)
{
    unsigned bits = 1u << q->h.refcount_order;
    unsigned shift = i * bits % 8;

    switch (bits) {
    case 8:
        block[i] = (uint8_t)v;
        break;
    case 16:
        block[2 * i] = (uint8_t)(v >> 8);
        block[2 * i + 1] = (uint8_t)v;
        break;
    case 32:
        ((Be32 *)block)[i] = to_be32((uint32_t)v);
        break;
    case 64:
        ((Be64 *)block)[i] = to_be64(v);
        break;
    default:
        block[i * bits / 8] = (uint8_t)((block[i * bits / 8] & ~(((1u << bits) - 1) << shift)) | v << shift);
    }
}

uint64_t qcow2_count_max(const Qcow2 *q)
{
    return q->h.refcount_order == 6 ? INT64_MAX : (UINT64_C(1) << (1u << q->h.refcount_order)) - 1;
}

uint64_t qcow2_counts_per(const Qcow2 *q, uint64_t bytes)
{
    return bytes * 8 >> q->h.refcount_order;
}

static uint64_t per_slice(const Qcow2 *q)
{
    return qcow2_counts_per(q, q->cache.slice_bytes);
}

/* The slice with the count of @cluster, pinned; *out NULL: there is no block, all are free. */
static int count_slice_locked(BlkNode *n, uint64_t cluster, Slice **out)
{
    Qcow2 *q = n->state;
    uint64_t block = cluster >> block_shift(q);
    uint64_t at = block < q->rt_size ? q->rt[block] & ~UINT64_C(511) : 0;

    *out = NULL;
    if (!at) {
        return 0;
    }
    if (at % q->cluster) {
        qcow2_corrupt_locked(n, "refcount table entry %" PRIu64 ": the block's offset %#" PRIx64
                             " is not aligned to a "
                      "cluster", block, at);
        return -EIO;
    }
    uint64_t i = cluster & ((UINT64_C(1) << block_shift(q)) - 1);
    return qcow2_slice_get_locked(n, SLICE_REF, at + (i << q->h.refcount_order >> 3), out);
}

int qcow2_refcount_get_locked(BlkNode *n, uint64_t host, uint64_t *out)
{
    Qcow2 *q = n->state;
    uint64_t cluster = host >> q->cluster_bits;
    Slice *s;
    int ret = count_slice_locked(n, cluster, &s);

    if (ret == 0) {
        *out = s ? qcow2_count_read(q, s->data, cluster % per_slice(q)) : 0;
        if (s) {
            qcow2_slice_unpin(s);
        }
    }
    return ret;
}

/* --- refcount blocks --- */

static void rt_set_locked(Qcow2 *q, uint64_t block, uint64_t at)
{
    q->rt[block] = at;
    q->rt_dirty[block / 64] = true;
    q->any_rt_dirty = true;
}

/* A refcount table with new blocks at @first that count themselves and the table after them. */
typedef struct NewTable {
    uint64_t first;            /* cluster */
    uint64_t blocks, clusters; /* of the table, after the blocks */
    uint64_t size, *table;     /* entries, host order */
    uint8_t *all;              /* blocks and table as on disk */
} NewTable;

static void new_table_clear(NewTable *t)
{
    g_clear_pointer(&t->table, g_free);
    g_clear_pointer(&t->all, g_free);
}

/* Finds the sizes: new blocks describe clusters from block @block on, as many as it takes for @used
 * clusters there and for blocks and table themselves; the table has at least @size entries. */
static int new_table_init(const Qcow2 *q, NewTable *t, uint64_t block, uint64_t used, uint64_t size)
{
    uint64_t per_block = UINT64_C(1) << block_shift(q);

    do {
        size = MAX(size + size / 2 + 1, block + 1);
        t->clusters = DIV_ROUND_UP(size * 8, q->cluster);
        for (t->blocks = 1; t->blocks * per_block < used + t->blocks + t->clusters; t->blocks++) {
        }
    } while (block + t->blocks > size);
    t->size = t->clusters * q->cluster / 8;
    t->first = block * per_block + used;
    if (t->clusters * q->cluster > RT_MAX_BYTES) {
        return -EFBIG;
    }
    t->all = g_try_malloc0((t->blocks + t->clusters) * q->cluster);
    t->table = g_try_new0(uint64_t, t->size);
    if (!t->all || !t->table) {
        new_table_clear(t);
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < t->blocks + t->clusters; i++) {
        uint64_t at = used + i;

        count_write(q, t->all + at / per_block * q->cluster, at % per_block, 1);
    }
    for (uint64_t i = 0; i < t->blocks; i++) {
        t->table[block + i] = (t->first + i) << q->cluster_bits;
    }
    return 0;
}

/* Writes @t, then the header that names it: the file has the old table or the new one. */
static int new_table_write_locked(BlkNode *n, NewTable *t) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t at = t->first << q->cluster_bits, bytes = (t->blocks + t->clusters) * q->cluster;

    for (uint64_t i = 0; i < t->size; i++) {
        ((Be64 *)(t->all + t->blocks * q->cluster))[i] = to_be64(t->table[i]);
    }
    blk_grow(n->child, at + bytes);
    q->grow_from = MAX(q->grow_from, at + bytes);
    Qcow2Header h = q->h;
    h.rt_off = at + t->blocks * q->cluster;
    h.rt_clusters = (uint32_t)t->clusters;
    lock_drop(&q->lock);
    int ret = blk_pwrite(n->child, at, t->all, bytes);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    ret = ret < 0 ? ret : qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    lock_take(&q->lock);
    if (ret < 0) {
        return ret;
    }
    q->h.rt_off = h.rt_off;
    q->h.rt_clusters = h.rt_clusters;
    g_free(q->rt);
    g_free(q->rt_dirty);
    q->rt = g_steal_pointer(&t->table);
    q->rt_dirty = g_new0(bool, t->size / 64 + 1);
    q->any_rt_dirty = false;
    q->rt_size = t->size;
    return 0;
}

/* Moves the refcount table to the start of the space of @block, which is free, so that it has room
 * for that block. */
static int table_grow_locked(BlkNode *n, uint64_t block) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    NewTable t = { 0 };
    uint64_t old_off = q->h.rt_off, old_clusters = q->h.rt_clusters;
    int ret = new_table_init(q, &t, block, 0, q->rt_size);

    if (ret < 0) {
        return ret;
    }
    lock_drop(&q->lock);
    blk_event(n->child, BLKDEBUG_EVENT_REFTABLE_GROW);
    ret = qcow2_flush_tables(n);     /* the blocks the old table lists are on disk before the new one */
    lock_take(&q->lock);
    memcpy(t.table, q->rt, q->rt_size * 8);
    ret = ret < 0 ? ret : new_table_write_locked(n, &t);
    if (ret == 0) {
        qcow2_free_later_locked(q, old_off, old_clusters, BLK_FREED_OTHER);
    }
    new_table_clear(&t);
    return ret;
}

int qcow2_refcount_rebuild(BlkNode *n, const uint32_t *want, uint64_t clusters)
{
    Qcow2 *q = n->state;
    NewTable t = { 0 };
    uint64_t per_block = UINT64_C(1) << block_shift(q);
    int ret = new_table_init(q, &t, 0, clusters, 0);

    for (uint64_t i = 0; ret == 0 && i < clusters; i++) {
        if (want[i] > qcow2_count_max(q)) {
            ret = -ERANGE;
        } else {
            count_write(q, t.all + i / per_block * q->cluster, i % per_block, want[i]);
        }
    }
    lock_take(&q->lock);
    if (ret == 0) {
        for (uint64_t i = 0; i < q->rt_size; i++) {
            qcow2_slice_forget_locked(q, q->rt[i] & ~(q->cluster - 1));
        }
        ret = new_table_write_locked(n, &t);
    }
    q->run = q->run_end = q->hint = 0;
    lock_drop(&q->lock);
    new_table_clear(&t);
    return ret;
}

/* The counts of the first @clusters of the file into @out; -ERANGE: one is over @max. */
static int counts_read_locked(BlkNode *n, uint32_t *out, uint64_t clusters, uint64_t max, uint64_t *at,
                              uint64_t *count)
{
    Qcow2 *q = n->state;
    uint64_t step = per_slice(q);
    int ret = 0;

    for (uint64_t c = 0; ret == 0 && c < clusters; c = ALIGN_DOWN(c, step) + step) {
        Slice *s;

        ret = count_slice_locked(n, c, &s);
        for (uint64_t i = c; ret == 0 && s && i < MIN(c + step, clusters); i++) {
            *count = qcow2_count_read(q, s->data, i % step);
            *at = i << q->cluster_bits;
            if (*count > MIN(max, UINT32_MAX)) {
                ret = -ERANGE;
            } else {
                out[i] = (uint32_t)*count;
            }
        }
        if (s) {
            qcow2_slice_unpin(s);
        }
    }
    return ret;
}

static void count_drop(const Qcow2 *q, uint32_t *counts, uint64_t clusters, uint64_t at)
{
    uint64_t i = at >> q->cluster_bits;

    counts[i < clusters ? i : 0] -= i < clusters && counts[i];
}

int qcow2_refcount_set_order(BlkNode *n, unsigned order, uint64_t *at, uint64_t *count)
{
    Qcow2 *q = n->state;
    uint64_t size = MAX(blk_size(n->child), __atomic_load_n(&n->child->room, __ATOMIC_RELAXED));
    uint64_t clusters = DIV_ROUND_UP(size, q->cluster), max = UINT64_MAX;
    unsigned old = q->h.refcount_order;
    g_autofree uint32_t *counts = g_try_new0(uint32_t, clusters);

    if (!counts) {
        return -ENOMEM;
    }
    max = order < 6 ? (UINT64_C(1) << (1u << order)) - 1 : max;
    lock_take(&q->lock);
    int ret = counts_read_locked(n, counts, clusters, max, at, count);
    lock_drop(&q->lock);
    if (ret < 0) {
        return ret;
    }
    /* With the header that names the new ones, the old table and its blocks are in nobody's use. */
    for (uint64_t i = 0; i < q->rt_size * 8; i += q->cluster) {
        count_drop(q, counts, clusters, q->h.rt_off + i);
    }
    for (uint64_t i = 0; i < q->rt_size; i++) {
        if (q->rt[i] & ~UINT64_C(511)) {
            count_drop(q, counts, clusters, q->rt[i]);
        }
    }
    q->h.refcount_order = order;
    ret = qcow2_refcount_rebuild(n, counts, clusters);
    q->h.refcount_order = ret < 0 ? old : order;
    return ret == -ERANGE ? -EUCLEAN : ret;
}

/* What metadata there is in [@at, @at + @len), which counts say is free; NULL: none that we know of. */
static const char *metadata_in(const Qcow2 *q, uint64_t at, uint64_t len)
{
    const struct { uint64_t off, len; const char *what; } tables[] = {
        { 0, q->cluster, "the header" }, { q->h.l1_off, (uint64_t)q->h.l1_size * 8, "the L1 table" },
        { q->h.rt_off, q->rt_size * 8, "the refcount table" },
        { q->h.snapshots_off, q->h.snapshots, "the snapshot table" },
        { q->h.crypt_off, q->h.crypt_size, "the encryption header" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        if (tables[i].len && at < tables[i].off + tables[i].len && tables[i].off < at + len) {
            return tables[i].what;
        }
    }
    for (uint64_t i = 0; i < q->h.l1_size; i++) {
        if ((q->l1[i] & QCOW2_OFFSET) - at < len) {
            return "an L2 table";
        }
    }
    for (uint64_t i = 0; i < q->rt_size; i++) {
        if ((q->rt[i] & ~UINT64_C(511)) - at < len) {
            return "a refcount block";
        }
    }
    return NULL;
}

/* False: the counts lie about [@at, @at + @len), and the image is marked. */
static bool really_free_locked(BlkNode *n, uint64_t at, uint64_t len)
{
    const char *what = metadata_in(n->state, at, len);

    if (what) {
        qcow2_corrupt_locked(n, "the reference counts say that %" PRIu64 " bytes at %#" PRIx64
                             " are free, but %s is there", len, at, what);
    }
    return !what;
}

/* Makes the block for the space of @block at @at, which the file has for nobody; it counts nothing yet. */
static int block_put_locked(BlkNode *n, uint64_t block, uint64_t at, Slice **out) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;

    if (!really_free_locked(n, at, q->cluster)) {
        return -EIO;
    }
    blk_event(n->child, BLKDEBUG_EVENT_REFBLOCK_ALLOC);
    /* What the file has there is left over: the block must read as zeroes. */
    uint64_t grown = q->grow_from;
    blk_grow(n->child, at + q->cluster);
    q->grow_from = MAX(q->grow_from, at + q->cluster);
    if (at < grown || !n->child->limits.can_grow) {
        lock_drop(&q->lock);
        int ret = blk_blocking(n->child, BLK_ZERO, 0, at, NULL, q->cluster);
        lock_take(&q->lock);
        if (ret < 0) {
            return ret;
        }
    }
    int ret = qcow2_slice_get_locked(n, SLICE_REF, at, out);
    if (ret == 0) {
        qcow2_slice_change_locked(q, *out);
        rt_set_locked(q, block, at);
    }
    return ret;
}

/* Makes the block for the space of @block, at the start of that. */
static int block_make_locked(BlkNode *n, uint64_t block) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    Slice *s;

    if (block >= q->rt_size) {
        return table_grow_locked(n, block);
    }
    int ret = block_put_locked(n, block, block << block_shift(q) << q->cluster_bits, &s);
    if (ret == 0) {
        count_write(q, s->data, 0, 1);
        qcow2_slice_unpin(s);
    }
    return ret;
}

/* --- clusters in one piece --- */

static uint64_t missing_blocks(const Qcow2 *q, uint64_t first, uint64_t end)
{
    uint64_t missing = 0;

    for (uint64_t b = first >> block_shift(q); b <= (end - 1) >> block_shift(q); b++) {
        missing += b >= q->rt_size || !(q->rt[b] & ~UINT64_C(511));
    }
    return missing;
}

/* Makes the blocks that [@first, @first + @count) and they themselves need, from the end of that on. */
static int blocks_behind_locked(BlkNode *n, uint64_t first, uint64_t count)
{
    Qcow2 *q = n->state;
    uint64_t blocks = 0, need;

    while ((need = missing_blocks(q, first, first + count + blocks)) > blocks) {
        blocks = need;
    }
    uint64_t last = (first + count + blocks - 1) >> block_shift(q);
    if (last >= q->rt_size) {
        int ret = table_grow_locked(n, last);

        return ret < 0 ? ret : -EAGAIN;        /* it took the place */
    }
    uint64_t at = first + count, put = 0;
    for (uint64_t b = first >> block_shift(q); b <= last; b++) {
        Slice *s;

        if (q->rt[b] & ~UINT64_C(511)) {
            continue;
        }
        int ret = block_put_locked(n, b, (at + put) << q->cluster_bits, &s);
        if (ret < 0) {
            return ret;
        }
        qcow2_slice_unpin(s);
        put++;
    }
    return qcow2_refcount_add_locked(n, at << q->cluster_bits, put, 1);
}

int qcow2_take_locked(BlkNode *n, uint64_t count, uint64_t *out) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    int ret;

    while (q->refilling) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    if (!n->child->limits.can_grow) {
        return -ENOSPC;
    }
    q->refilling = true;
    do {
        *out = q->grow_from;
        ret = blocks_behind_locked(n, *out >> q->cluster_bits, count);
    } while (ret == -EAGAIN);
    if (ret == 0) {
        blk_grow(n->child, *out + (count << q->cluster_bits));
        q->grow_from = MAX(q->grow_from, *out + (count << q->cluster_bits));
        ret = qcow2_refcount_add_locked(n, *out, count, 1);
    }
    q->refilling = false;
    lock_broadcast(&q->changed);
    return ret;
}

/* --- runs --- */

/* The first free cluster from @from on and how many follow it, up to @want, in one slice. */
static int find_free_locked(BlkNode *n, uint64_t from, uint64_t want, uint64_t *first, uint64_t *count)
{
    Qcow2 *q = n->state;
    uint64_t step = per_slice(q);
    uint64_t limit = n->child->limits.can_grow ? QCOW2_OFFSET >> q->cluster_bits
                                               : blk_size(n->child) >> q->cluster_bits;

    for (uint64_t c = from; c < limit; c = ALIGN_DOWN(c, step) + step) {
        uint64_t end = MIN(ALIGN_DOWN(c, step) + step, limit), found = 0;
        Slice *s;
        int ret = count_slice_locked(n, c, &s);

        if (ret < 0) {
            return ret;
        }
        if (!s) {
            ret = block_make_locked(n, c >> block_shift(q));
            ret = ret < 0 ? ret : count_slice_locked(n, c, &s);
            if (ret < 0 || !s) {
                return ret < 0 ? ret : -EIO;
            }
        }
        for (; c < end && found < want; c++) {
            if (qcow2_count_read(q, s->data, c % step) == 0) {
                *first = found++ ? *first : c;
            } else if (found) {
                break;
            }
        }
        qcow2_slice_unpin(s);
        if (found) {
            *count = found;
            return 0;
        }
        c = end - 1;
    }
    return -ENOSPC;
}

/* Makes clusters [@first, @first + @count) read as zeroes. */
static int run_zero_locked(BlkNode *n, uint64_t first, uint64_t count) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t from = first << q->cluster_bits, to = (first + count) << q->cluster_bits;
    uint64_t used = n->child->limits.can_grow ? MIN(MAX(q->grow_from, from), to) : to;

    blk_grow(n->child, to);
    q->grow_from = MAX(q->grow_from, to);
    if (used == from) {
        return 0;
    }
    lock_drop(&q->lock);
    int ret = blk_blocking(n->child, BLK_ZERO, BLK_MAY_UNMAP, from, NULL, used - from);
    lock_take(&q->lock);
    return ret;
}

int qcow2_refill_locked(BlkNode *n) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t first = 0, count = 0;
    int ret = 0;

    while (q->refilling) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    if (q->run < q->run_end) {
        return 0;
    }
    q->refilling = true;
    blk_event(n->child, BLKDEBUG_EVENT_CLUSTER_ALLOC);
    q->run_want = CLAMP(q->run_want * 2, RUN_FIRST, RUN_MAX);
    ret = find_free_locked(n, q->hint, CLAMP(RUN_BYTES >> q->cluster_bits, 1, q->run_want), &first, &count);
    if (ret == 0 && !really_free_locked(n, first << q->cluster_bits, count << q->cluster_bits)) {
        ret = -EIO;
    }
    ret = ret < 0 ? ret : qcow2_refcount_add_locked(n, first << q->cluster_bits, count, 1);
    ret = ret < 0 ? ret : run_zero_locked(n, first, count);
    if (ret == 0) {
        q->hint = first + count;
        q->run = first;
        q->run_end = first + count;
    }
    q->refilling = false;
    lock_broadcast(&q->changed);
    return ret;
}

/* The last reference of @c goes; true: not yet, it is in @last. */
static bool last_reference_locked(Qcow2 *q, uint64_t c, GArray *last)
{
    uint64_t at = c << q->cluster_bits;

    if (q->packed_end >> q->cluster_bits == c) {
        q->packed_end = 0;
    }
    if (!last) {
        q->hint = MIN(q->hint, c);
        qcow2_slice_forget_locked(q, at);
        return false;
    }
    Freed *end = last->len ? &g_array_index(last, Freed, last->len - 1) : NULL;
    if (end && end->host + (end->count << q->cluster_bits) == at) {
        end->count++;
    } else {
        g_array_append_val(last, ((Freed){ .host = at, .count = 1 }));
    }
    return true;
}

/* Adds @by to the counts; @last: see qcow2_refcount_drop_locked(). */
static int counts_add_locked(BlkNode *n, uint64_t host, uint64_t count, int64_t by, GArray *last)
{
    Qcow2 *q = n->state;
    uint64_t first = host >> q->cluster_bits, step = per_slice(q);

    for (uint64_t c = first, end = first + count; c < end;) {
        Slice *s;
        int ret = count_slice_locked(n, c, &s);

        if (ret == 0 && !s) {
            ret = by > 0 ? block_make_locked(n, c >> block_shift(q)) : -EIO;
            ret = ret < 0 ? ret : count_slice_locked(n, c, &s);
        }
        if (ret < 0 || !s) {
            return ret < 0 ? ret : -EIO;
        }
        qcow2_slice_change_locked(q, s);
        for (uint64_t stop = ALIGN_DOWN(c, step) + step; c < end && c < stop; c++) {
            uint64_t v = qcow2_count_read(q, s->data, c % step);

            if (by < 0 ? v < (uint64_t)-by : v >= qcow2_count_max(q)) {
                qcow2_slice_unpin(s);
                return by < 0 ? -EUCLEAN : -ERANGE;
            }
            if (by > 0 || v != (uint64_t)-by || !last_reference_locked(q, c, last)) {
                count_write(q, s->data, c % step, v + (uint64_t)by);
            }
        }
        qcow2_slice_unpin(s);
    }
    return 0;
}

int qcow2_refcount_add_locked(BlkNode *n, uint64_t host, uint64_t count, int64_t by)
{
    return counts_add_locked(n, host, count, by, NULL);
}

int qcow2_refcount_drop_locked(BlkNode *n, uint64_t host, uint64_t count, GArray *last)
{
    return counts_add_locked(n, host, count, -1, last);
}

static int by_host(const void *a, const void *b)
{
    const Freed *x = a, *y = b;

    return x->host < y->host ? -1 : x->host > y->host;
}

/* Sorts @a and joins neighbours.  False: a cluster is in it twice, or is metadata; the image is marked. */
static bool ranges_join_locked(BlkNode *n, GArray *a)
{
    const Qcow2 *q = n->state;
    unsigned used = 0;

    g_array_sort(a, by_host);
    for (unsigned i = 0; i < a->len; i++) {
        const Freed *f = &g_array_index(a, Freed, i);
        Freed *before = used ? &g_array_index(a, Freed, used - 1) : NULL;
        uint64_t end = before ? before->host + (before->count << q->cluster_bits) : 0;

        if (before && f->host < end) {
            qcow2_corrupt_locked(n, "the cluster at %#" PRIx64 " is in use more often than its reference "
                                 "count says", f->host);
            return false;
        }
        if (before && f->host == end) {
            before->count += f->count;
        } else {
            g_array_index(a, Freed, used++) = *f;
        }
    }
    g_array_set_size(a, used);
    for (unsigned i = 0; i < used; i++) {
        const Freed *f = &g_array_index(a, Freed, i);

        if (!really_free_locked(n, f->host, f->count << q->cluster_bits)) {
            return false;
        }
    }
    return true;
}

int qcow2_punch_locked(BlkNode *n, GArray *last) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    int ret = 0;

    if (!last->len || !ranges_join_locked(n, last) || q->corrupt) {
        return 0;              /* they stay counted: a leak, and nothing is lost */
    }
    lock_drop(&q->lock);
    for (unsigned i = 0; i < last->len; i++) {
        const Freed *f = &g_array_index(last, Freed, i);

        /* A hint: what the host did not take is free all the same. */
        blk_blocking(n->child, BLK_DISCARD, 0, f->host, NULL, f->count << q->cluster_bits);
    }
    lock_take(&q->lock);
    for (unsigned i = 0; ret == 0 && i < last->len; i++) {
        const Freed *f = &g_array_index(last, Freed, i);

        ret = counts_add_locked(n, f->host, f->count, -1, NULL);
    }
    return ret;
}

int qcow2_alloc_locked(BlkNode *n, uint64_t count, uint64_t *host)
{
    Qcow2 *q = n->state;
    uint64_t from = q->hint, first = 0, have = 0;

    if (count >= UINT64_C(1) << block_shift(q)) {
        return -EFBIG;         /* each block has the first cluster of its space */
    }
    while (have < count) {
        uint64_t at, found;
        int ret = find_free_locked(n, from, count - have, &at, &found);

        if (ret < 0) {
            return ret;
        }
        first = have && at == first + have ? first : at;
        have = at == first ? found : have + found;
        from = at + found;
    }
    *host = first << q->cluster_bits;
    blk_grow(n->child, *host + (count << q->cluster_bits));
    q->grow_from = MAX(q->grow_from, *host + (count << q->cluster_bits));
    return qcow2_refcount_add_locked(n, *host, count, 1);
}

void qcow2_free_later_locked(Qcow2 *q, uint64_t host, uint64_t count, BlkFreed why)
{
    Freed *last = q->freed->len ? &g_array_index(q->freed, Freed, q->freed->len - 1) : NULL;
    Freed f = { host, count, why };

    if (last && last->why == why && last->host + (last->count << q->cluster_bits) == host) {
        last->count += count;
        return;
    }
    g_array_append_val(q->freed, f);
}

int qcow2_run_return_locked(BlkNode *n)
{
    Qcow2 *q = n->state;
    int ret = 0;

    if (q->run < q->run_end) {
        ret = qcow2_refcount_add_locked(n, q->run << q->cluster_bits, q->run_end - q->run, -1);
        q->run = q->run_end;
    }
    return ret;
}
