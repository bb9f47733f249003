/* qcow2-amend.c: an image becomes another kind of image, in place: version, width of reference counts, size.
 *
 * 1. What cannot be is refused before anything is changed.
 * 2. Each change ends with one write of the header, after all it names is durable: a cut leaves the image
 *    as it was or as it is to be, and leaks at worst.
 * 3. Version 2 has no zero clusters.  Going there, each is unmapped if nothing is behind the image, or
 *    becomes a cluster of zeroes; in the tables of the snapshots too. */
#include <errno.h>
#include <inttypes.h>
#include "block/qcow2-int.h"
#include "util/bytes.h"
#include "util/crypt.h"

/* --- what can be --- */

static bool downgrade_ok(BlkNode *n, const BlkAmend *o, Error **errp)
{
    const Qcow2 *q = n->state;
    uint64_t features = q->h.incompat & ~(uint64_t)QCOW2_INCOMPAT_DIRTY;

    if (q->external) {
        return error_set(errp, "Cannot downgrade an image with a data file");
    }
    if (features) {
        return error_set(errp, "Cannot downgrade an image with incompatible features %#" PRIx64 " set",
                         features);
    }
    if (q->h.bitmaps) {
        return error_set(errp, "Cannot downgrade an image with persistent bitmaps");
    }
    g_autoptr(GArray) a = qcow2_snapshots_read(n, errp);
    for (unsigned i = 0; a && i < a->len; i++) {
        const BlkSnapshot *s = &g_array_index(a, Qcow2Snapshot, i).info;
        uint64_t size = o->has_size ? o->size : q->h.size;

        if (s->vm_state_size > UINT32_MAX || (s->has_disk_size && s->disk_size != size)) {
            return error_set(errp, "Internal snapshots prevent downgrade of image");
        }
    }
    return a != NULL;
}

static bool refcounts_ok(const Qcow2 *q, const BlkAmend *o, unsigned version, Error **errp)
{
    uint64_t bits = o->has_refcount_bits ? o->refcount_bits : UINT64_C(1) << q->h.refcount_order;

    if (!bits || bits & (bits - 1) || bits > 64) {
        return error_set(errp, "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (version < 3 && bits != 16) {
        return error_set(errp, o->has_refcount_bits
                         ? "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
                           "compat=1.1 or greater)" : "compat=0.10 requires refcount_bits=16");
    }
    if (version < 3 && o->has_lazy_refcounts && o->lazy_refcounts) {
        return error_set(errp, "Lazy refcounts only supported with compatibility level 1.1 and above (use "
                         "compat=1.1 or greater)");
    }
    return true;
}

static bool amend_ok(BlkNode *n, const BlkAmend *o, Error **errp)
{
    const Qcow2 *q = n->state;
    unsigned version = o->version ? o->version : q->h.version;

    if ((o->backing_file || o->backing_fmt) && (g_strcmp0(o->backing_file, q->h.backing_file) != 0 ||
                                                g_strcmp0(o->backing_fmt, q->h.backing_format) != 0)) {
        error_set(errp, "Cannot amend the backing file");
        return error_hint(errp, "You can use 'rebase' instead.");
    }
    if (o->data_file && !q->external) {
        return error_set(errp, "data-file can only be set for images that use an external data file");
    }
    if (o->data_file && !*o->data_file) {
        return error_set(errp, "'data_file' must not be empty");
    }
    if (o->has_data_file_raw && o->data_file_raw && !(q->h.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)) {
        return error_set(errp, "data-file-raw cannot be set on existing images");
    }
    if (o->has_size && o->size > INT64_MAX) {
        return error_set(errp, "Image size cannot be negative");
    }
    if (o->has_size && o->size % 512) {
        return error_set(errp, "The new size must be a multiple of 512");
    }
    return refcounts_ok(q, o, version, errp) &&
           (version >= q->h.version || downgrade_ok(n, o, errp));
}

/* --- no zero clusters --- */

/* The cluster at @host, of guest offset @pos, has zeroes for the guest, and is in the file. */
static int zeroes_put_locked(BlkNode *n, uint64_t host, uint64_t pos) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    g_autofree uint8_t *buf = g_try_malloc0(q->cluster);

    if (!buf) {
        return -ENOMEM;
    }
    lock_drop(&q->lock);
    if (n->crypt) {
        crypt_sectors(n->crypt, true, (q->luks ? host : pos) / CRYPT_SECTOR, buf, q->cluster);
    }
    int ret = blk_pwrite(n->child, host, buf, q->cluster);
    lock_take(&q->lock);
    return ret;
}

/* A cluster that has zeroes for the guest, counted @refs times. */
static int zeroes_new_locked(BlkNode *n, uint64_t pos, uint64_t refs, uint64_t *host)
{
    Qcow2 *q = n->state;
    int ret = 0;

    while (ret == 0 && q->run >= q->run_end) {
        ret = qcow2_refill_locked(n);
    }
    if (ret < 0) {
        return ret;
    }
    *host = q->run++ << q->cluster_bits;
    for (uint64_t i = 1; ret == 0 && i < refs; i++) {
        ret = qcow2_refcount_add_locked(n, *host, 1, 1);
    }
    return ret < 0 ? ret : zeroes_put_locked(n, *host, pos);
}

/* Entry @i of @s, of guest offset @pos, in a table that is counted @refs times. */
static int expand_entry_locked(BlkNode *n, Slice *s, uint64_t i, uint64_t pos, uint64_t refs)
{
    Qcow2 *q = n->state;
    uint64_t entry = be64(((const Be64 *)s->data)[i]), host = entry & QCOW2_OFFSET, new = 0, users = 0;
    int ret = 0;

    if (entry & QCOW2_COMPRESSED || !(entry & QCOW2_ZERO)) {
        return 0;
    }
    if (host) {
        ret = host % q->cluster ? -EUCLEAN : qcow2_refcount_get_locked(n, host, &users);
    }
    if (ret == 0 && host && users == refs) {   /* nobody but this table has it */
        ret = zeroes_put_locked(n, host, pos);
        new = entry & ~QCOW2_ZERO;
    } else if (ret == 0) {
        if (q->h.backing_file || q->backing) {
            ret = zeroes_new_locked(n, pos, refs, &new);
            new |= refs == 1 ? QCOW2_COPIED : 0;
        }
        for (uint64_t k = 0; ret == 0 && host && k < refs; k++) {
            qcow2_free_later_locked(q, host, 1, BLK_FREED_OTHER);
        }
    }
    if (ret == 0) {
        qcow2_slice_change_locked(q, s);
        ((Be64 *)s->data)[i] = to_be64(new);
    }
    return ret;
}

/* The L2 table at @table, whose first entry is that of guest offset @pos. */
static int expand_table_locked(BlkNode *n, uint64_t table, uint64_t pos)
{
    Qcow2 *q = n->state;
    uint64_t per = q->cache.slice_bytes / sizeof(Be64), refs = 0;
    int ret = table % q->cluster ? -EUCLEAN : qcow2_refcount_get_locked(n, table, &refs);

    for (uint64_t off = 0; ret == 0 && off < q->cluster; off += q->cache.slice_bytes) {
        Slice *s;

        ret = refs ? qcow2_slice_get_locked(n, SLICE_L2, table + off, &s) : -EUCLEAN;
        if (ret < 0) {
            break;
        }
        for (uint64_t i = 0; ret == 0 && i < per; i++, pos += q->cluster) {
            ret = expand_entry_locked(n, s, i, pos, refs);
        }
        qcow2_slice_unpin(s);
    }
    return ret;
}

static int expand_l1(BlkNode *n, const uint64_t *l1, uint64_t size, const BlkAmend *o)
{
    Qcow2 *q = n->state;
    int ret = 0;

    lock_take(&q->lock);
    for (uint64_t i = 0; ret == 0 && i < size; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET;

        ret = table ? expand_table_locked(n, table, i << (q->l2_bits + q->cluster_bits)) : 0;
        ret = ret < 0 ? ret : qcow2_keep_bounded_locked(n);
        if (o->progress) {
            o->progress(i, size);
        }
    }
    lock_drop(&q->lock);
    return ret;
}

/* --- changes --- */

static bool header_failed(int ret, Error **errp)
{
    return ret == 0 || error_set_errno(errp, -ret, "Could not update qcow2 header");
}

static bool downgrade(BlkNode *n, const BlkAmend *o, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = qcow2_snapshots_read(n, errp);
    int ret = a ? expand_l1(n, q->l1, q->h.l1_size, o) : 0;

    for (unsigned i = 0; a && ret == 0 && i < a->len; i++) {
        const Qcow2Snapshot *s = &g_array_index(a, Qcow2Snapshot, i);
        g_autofree uint64_t *l1 = qcow2_snapshot_l1(n, s, 0, errp);

        if (!l1) {
            return false;
        }
        ret = expand_l1(n, l1, s->l1_size, o);
    }
    ret = ret < 0 ? ret : qcow2_settle(n);
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not turn the zero clusters of '%s' into normal ones",
                               blk_filename(n));
    }
    return a && header_failed(qcow2_header_set_version(n, 2), errp);
}

static bool upgrade(BlkNode *n, Error **errp)
{
    return qcow2_snapshots_complete(n, errp) && header_failed(qcow2_header_set_version(n, 3), errp);
}

static bool set_refcount_bits(BlkNode *n, unsigned order, Error **errp)
{
    uint64_t at = 0, count = 0;
    int ret = qcow2_settle(n);

    ret = ret < 0 ? ret : qcow2_refcount_set_order(n, order, &at, &count);
    if (ret == -ERANGE) {
        return error_set(errp, "Cannot decrease refcount entry width to %u bits: Cluster at offset %#" PRIx64
                         " has a refcount of %" PRIu64, 1u << order, at, count);
    }
    return ret == 0 || error_set_errno(errp, -ret, "Could not write new reference counts of '%s'",
                                       blk_filename(n));
}

static bool set_bits(BlkNode *n, const BlkAmend *o, Error **errp)
{
    Qcow2 *q = n->state;
    Qcow2Header h = q->h;

    if (o->has_lazy_refcounts) {
        h.compat = (h.compat & ~(uint64_t)QCOW2_COMPAT_LAZY_REFCOUNTS) |
                   (o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0);
    }
    if (o->has_data_file_raw && !o->data_file_raw) {
        h.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_RAW_DATA;
    }
    if (h.compat == q->h.compat && h.autoclear == q->h.autoclear) {
        return true;
    }
    int ret = qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    q->h.compat = ret < 0 ? q->h.compat : h.compat;
    q->h.autoclear = ret < 0 ? q->h.autoclear : h.autoclear;
    return header_failed(ret, errp);
}

bool qcow2_amend(BlkNode *n, const BlkAmend *o, bool force, Error **errp)
{
    Qcow2 *q = n->state;
    uint64_t bits = o->has_refcount_bits && o->refcount_bits ? o->refcount_bits : 1;
    unsigned order = (unsigned)__builtin_ctzll(bits);

    if (q->corrupt) {
        return error_set(errp, "Image '%s' is corrupt; cannot be changed", blk_filename(n));
    }
    return amend_ok(n, o, errp) &&
           (!o->has_luks || qcow2_crypt_amend(n, &o->luks, force, errp)) &&
           (o->version <= q->h.version || upgrade(n, errp)) &&
           (!o->has_refcount_bits || order == q->h.refcount_order || set_refcount_bits(n, order, errp)) &&
           (!o->data_file || header_failed(qcow2_header_set_data_file(n, o->data_file), errp)) &&
           set_bits(n, o, errp) &&
           (!o->has_size || blk_truncate(n, o->size, errp)) &&
           (!o->version || o->version >= q->h.version || downgrade(n, o, errp));
}
