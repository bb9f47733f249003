/* qcow2-resize.c: another size for an image, under the requests of its users.
 *
 * 1. A longer L1 table is written, durable, beside the old one; then the header, in one write, names it.  It
 *    says what the old one said on disk: what changed since is written by the next flush.
 * 2. New bytes read as zeroes: what is behind the image must not show there.
 * 3. What is cut off is unmapped first; the size follows when that is durable. */
#include <errno.h>
#include <inttypes.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define L1_MAX_BYTES (32 * MiB)

static uint64_t entries_for(const Qcow2 *q, uint64_t size)
{
    return DIV_ROUND_UP(size, UINT64_C(1) << (q->cluster_bits + q->l2_bits));
}

/* All metadata is on disk when this returns 0, and nobody else flushes until q->flushing is cleared. */
static int settle_locked(BlkNode *n, uint64_t **l1) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;

    for (;;) {
        size_t bytes = q->h.l1_size * 8;

        *l1 = g_memdup2(q->l1, bytes + 8 * !bytes);
        lock_drop(&q->lock);
        int ret = qcow2_flush_meta(n, true);
        lock_take(&q->lock);
        while (q->flushing) {
            lock_wait(&q->lock, &q->changed, -1);
        }
        if (ret == 0 && memcmp(*l1, q->l1, bytes) == 0) {
            q->flushing = true;
            return 0;
        }
        g_clear_pointer(l1, g_free);
        if (ret < 0) {
            return ret;
        }
    }
}

/* Writes @l1, zeroes behind it, as the table @h names, and then @h. */
static int table_write(BlkNode *n, const uint64_t *l1, uint64_t old, const Qcow2Header *h)
{
    const Qcow2 *q = n->state;
    size_t bytes = ALIGN_UP((uint64_t)h->l1_size * 8, q->cluster);
    g_autofree Be64 *raw = g_try_malloc0(bytes);

    if (!raw) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < old; i++) {
        raw[i] = to_be64(l1[i]);
    }
    blk_event(n->child, BLKDEBUG_EVENT_L1_GROW_WRITE_TABLE);
    int ret = blk_pwrite(n->child, h->l1_off, raw, bytes);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    blk_event(n->child, BLKDEBUG_EVENT_L1_GROW_ACTIVATE_TABLE);
    ret = ret < 0 ? ret : qcow2_header_update(n->child, h);
    return ret < 0 ? ret : blk_pflush(n->child);
}

static int table_grow_locked(BlkNode *n, uint64_t entries) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t clusters = DIV_ROUND_UP(entries * 8, q->cluster), at = 0;
    uint64_t old = q->h.l1_size, old_off = q->h.l1_off;
    g_autofree uint64_t *l1 = NULL;
    blk_event(n->child, BLKDEBUG_EVENT_L1_GROW_ALLOC_TABLE);
    int ret = qcow2_take_locked(n, clusters, &at);

    if (ret < 0) {
        return ret;
    }
    ret = settle_locked(n, &l1);
    if (ret == 0) {
        Qcow2Header h = q->h;

        h.l1_off = at;
        h.l1_size = (uint32_t)entries;
        lock_drop(&q->lock);
        ret = table_write(n, l1, old, &h);
        lock_take(&q->lock);
        q->flushing = false;
        lock_broadcast(&q->changed);
    }
    if (ret < 0) {
        qcow2_free_later_locked(q, at, clusters, BLK_FREED_OTHER);
        return ret;
    }
    q->h.l1_off = at;
    q->h.l1_size = (uint32_t)entries;
    q->l1 = g_renew(uint64_t, q->l1, entries);
    memset(q->l1 + old, 0, (entries - old) * 8);
    g_free(q->l1_dirty);
    q->l1_dirty = g_new0(bool, entries / 64 + 1);
    memset(q->l1_dirty, true, DIV_ROUND_UP(old, 64));
    q->any_l1_dirty = true;
    if (old) {
        qcow2_free_later_locked(q, old_off, DIV_ROUND_UP(old * 8, q->cluster), BLK_FREED_OTHER);
    }
    return 0;
}

/* The header says @size, durably. */
static int size_write(BlkNode *n, uint64_t size)
{
    Qcow2 *q = n->state;
    int ret = qcow2_flush_meta(n, true);

    ret = ret < 0 ? ret : blk_pflush(n->child);
    lock_take(&q->lock);
    while (q->flushing) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    q->flushing = true;        /* nobody else writes the header */
    Qcow2Header h = q->h;
    lock_drop(&q->lock);
    h.size = size;
    ret = ret < 0 ? ret : qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    lock_take(&q->lock);
    q->h.size = ret < 0 ? q->h.size : size;
    q->flushing = false;
    lock_broadcast(&q->changed);
    lock_drop(&q->lock);
    return ret;
}

/* [@from, @to) must not show what is behind the image, or was there before the end. */
static int hide(BlkNode *n, uint64_t from, uint64_t to)
{
    const Qcow2 *q = n->state;
    uint64_t end = q->backing ? MIN(to, blk_size(q->backing)) : 0;

    end = MAX(end, MIN(to, ALIGN_UP(from, q->cluster)));
    return from < end ? blk_pzero(n, from, end - from, BLK_MAY_UNMAP) : 0;
}

static int grow(BlkNode *n, uint64_t size)
{
    Qcow2 *q = n->state;
    uint64_t old = blk_size(n), entries = entries_for(q, size);
    int ret = 0;

    if (entries * 8 > L1_MAX_BYTES) {
        return -EFBIG;
    }
    lock_take(&q->lock);
    if (entries > q->h.l1_size) {
        ret = table_grow_locked(n, entries);
    }
    lock_drop(&q->lock);
    if (ret == 0 && q->external) {
        blk_grow(q->data, ALIGN_UP(size, q->cluster));
    }
    if (ret < 0) {
        return ret;
    }
    __atomic_store_n(&n->size, size, __ATOMIC_RELAXED);
    ret = hide(n, old, size);
    ret = ret < 0 ? ret : size_write(n, size);
    __atomic_store_n(&n->size, old, __ATOMIC_RELAXED);     /* blk_set_size() tells the users */
    return ret;
}

static int shrink(BlkNode *n, uint64_t size)
{
    const Qcow2 *q = n->state;
    uint64_t old = blk_size(n), whole = MIN(ALIGN_UP(size, q->cluster), old);
    bool unmap = n->unmap;
    int ret = 0;

    if (size < whole) {
        ret = blk_pzero(n, size, whole - size, BLK_MAY_UNMAP);
    }
    if (ret == 0 && whole < old && q->h.version >= 3) {
        ret = blk_pzero(n, whole, old - whole, BLK_MAY_UNMAP);
    } else if (ret == 0 && whole < old) {
        n->unmap = true;       /* version 2 has no zero clusters: to be unmapped, or left where they are */
        ret = blk_pdiscard(n, whole, old - whole);
        n->unmap = unmap;
    }
    return ret < 0 ? ret : size_write(n, size);
}

bool qcow2_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    const Qcow2 *q = n->state;
    uint64_t old = blk_size(n);

    if (q->corrupt) {
        return error_set(errp, "The image is corrupt: it cannot be resized");
    }
    if (q->h.snapshots && (size < old || q->h.version < 3)) {
        return error_set(errp, "Can't resize an image which has snapshots");
    }
    int ret = size > old ? grow(n, size) : size < old ? shrink(n, size) : 0;
    if (ret == -EFBIG) {
        return error_set(errp, "The image size is too large (try using a larger cluster size)");
    }
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not resize '%s'", blk_filename(n));
    }
    if (q->external && q->h.autoclear & QCOW2_AUTOCLEAR_RAW_DATA && !blk_truncate(q->data, size, errp)) {
        return false;
    }
    blk_set_size(n, size);
    return true;
}
