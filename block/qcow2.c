/* qcow2.c: the format qcow2: opening and closing an image, its backing chain, its size.
 *
 * 1. What is behind the image (backing) is opened with it, read-only, unless a node is named or
 *    "backing": null says that there is none.  Its format is what the header says; it is not guessed.
 * 2. Reading and writing is in qcow2-map.c, space in qcow2-refcount.c, durability in qcow2-flush.c. */
#include <errno.h>
#include <inttypes.h>
#include "block/qcow2-int.h"
#include "block/zip.h"
#include "util/bytes.h"

#define CACHE_BYTES (32 * MiB)

static int qcow2_probe(const uint8_t *head, size_t n)
{
    return n >= 8 && be32(*(const Be32 *)head) == QCOW2_MAGIC &&
           be32(*(const Be32 *)(head + 4)) >= 2 ? 100 : 0;
}

/* --- opening --- */

static bool table_read(BlkNode *n, const char *what, uint64_t off, uint64_t size, uint64_t **out,
                       Error **errp)
{
    uint64_t *table = g_try_new0(uint64_t, size ? size : 1);

    *out = table;
    if (!table) {
        return error_set(errp, "%s: no memory for %" PRIu64 " entries", what, size);
    }
    int ret = size ? blk_pread(n->child, off, table, size * 8) : 0;
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not read the %s at %#" PRIx64, what, off);
    }
    for (uint64_t i = 0; i < size; i++) {
        table[i] = be64toh(table[i]);
    }
    return true;
}

static bool open_tables(BlkNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    const Qcow2Header *h = &q->h;

    q->cluster_bits = h->cluster_bits;
    q->cluster = UINT64_C(1) << h->cluster_bits;
    q->external = h->incompat & QCOW2_INCOMPAT_DATA_FILE;
    q->entry_size = h->incompat & QCOW2_INCOMPAT_EXT_L2 ? 16 : 8;
    q->l2_bits = h->cluster_bits - (q->entry_size == 16 ? 4 : 3);
    q->unit_bits = h->cluster_bits - (q->entry_size == 16 ? 5 : 0);
    q->rt_size = h->rt_clusters * q->cluster / 8;
    q->grow_from = ALIGN_UP(blk_size(n->child), q->cluster);
    q->freed = g_array_new(false, false, sizeof(Freed));
    qcow2_partials_init(q);
    q->grace.over = qcow2_limbo_over;
    blk_grow(n->child, q->grow_from);
    if (!qcow2_cache_init(q, CACHE_BYTES)) {
        return error_set(errp, "No memory for the metadata cache");
    }
    q->l1_dirty = g_new0(bool, h->l1_size / 64 + 1);
    q->rt_dirty = g_new0(bool, q->rt_size / 64 + 1);
    if (!fits(h->l1_off, (uint64_t)h->l1_size * 8, q->grow_from) ||
        !fits(h->rt_off, q->rt_size * 8, q->grow_from)) {
        return error_set(errp, "The L1 table at %#" PRIx64 " or the refcount table at %#" PRIx64
                         " ends after the "
                         "end of the file", h->l1_off, h->rt_off);
    }
    return table_read(n, "L1 table", h->l1_off, h->l1_size, &q->l1, errp) &&
           table_read(n, "refcount table", h->rt_off, q->rt_size, &q->rt, errp);
}

/* @name as the image at @of means it: relative names are relative to that. */
static char *beside(const char *of, const char *name)
{
    g_autofree char *dir = g_path_get_dirname(of);

    if (g_str_has_prefix(name, "file:")) {
        name += strlen("file:");
    }
    return g_path_is_absolute(name) || !strchr(of, '/') ? g_strdup(name) : g_build_filename(dir, name, NULL);
}

/* Opens @name with @format (NULL: the bare file) beside the image. */
static BlkNode *open_beside(BlkNode *n, const BlkOptions *o, const char *name, const char *format,
                            bool read_only, Error **errp)
{
    g_autofree char *path = beside(blk_filename(n), name);
    /* What the name means elsewhere is not guessed: it is a file's, or a device's. */
    bool device = !strcmp(blk_protocol_of(path), "host_device");
    BlkOptions file = { .driver = device ? "host_device" : "file", .filename = path, .aio = n->child->aio,
                        .read_only = read_only, .locking = format ? o->backing_locking : BLK_LOCKING_AUTO };
    BlkOptions whole = { .driver = format, .child = &file, .read_only = read_only, .cache_direct = n->direct,
                         .cache_no_flush = n->no_flush, .depth = o->depth + 1, .no_data = o->no_data };

    if (o->depth >= 200) {
        error_set(errp, "The backing chain is longer than 200 images, or a loop");
        return NULL;
    }
    file.cache_direct = whole.cache_direct;
    file.cache_no_flush = whole.cache_no_flush;
    return blk_open_inner(format ? &whole : &file, errp);
}

static bool open_backing(BlkNode *n, const BlkOptions *o, Error **errp)
{
    const Qcow2 *q = n->state;
    BlkNode *backing;

    if (o->backing_none || (!q->h.backing_file && !o->backing && !o->backing_ref)) {
        return o->backing_locking == BLK_LOCKING_AUTO ||
               error_set(errp, "Could not open backing file: the image names none");
    }
    if (o->backing_ref) {
        backing = blk_find(o->backing_ref);
        if (!backing) {
            return error_set(errp, "Cannot find device='' nor node-name='%s'", o->backing_ref);
        }
    } else if (o->backing) {
        BlkOptions below = *o->backing;

        below.read_only = true;
        backing = blk_open_inner(&below, errp);
    } else if (!q->h.backing_format) {
        error_set(errp, "The format of backing file '%s' is not in the image and is not guessed",
                  q->h.backing_file);
        return error_hint(errp, "Give it with backing.driver, or write it into the image (rebase -u -F).");
    } else {
        backing = open_beside(n, o, q->h.backing_file, q->h.backing_format, true, errp);
    }
    if (!backing) {
        return error_context(errp, "Could not open backing file");
    }
    return blk_link(n, &n->backing_use, backing, 0, BLK_PERM_ALL, errp);
}

static bool open_data(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Qcow2 *q = n->state;

    q->data = n->child;
    if (!q->external) {
        return true;
    }
    if (!q->h.data_file) {
        return error_set(errp, "'data-file' is required for this image");
    }
    q->data = open_beside(n, o, q->h.data_file, NULL, n->read_only, errp);
    if (!q->data) {
        return error_context(errp, "Could not open the external data file");
    }
    blk_grow(q->data, ALIGN_UP(q->h.size, q->cluster));
    return blk_link(n, &q->data_use, q->data, 0, BLK_PERM_ALL, errp);
}

static void qcow2_free(BlkNode *n)
{
    Qcow2 *q = n->state;

    blk_unlink(&n->backing_use);
    blk_unlink(&q->data_use);
    qcow2_crypt_close(n);
    if (q->cache.buckets) {
        qcow2_cache_free(q);
    }
    g_free(q->l1);
    g_free(q->rt);
    g_free(q->l1_dirty);
    g_free(q->rt_dirty);
    g_clear_pointer(&q->partials, g_hash_table_unref);
    g_clear_pointer(&q->freed, g_array_unref);
    g_clear_pointer(&q->limbo, g_array_unref);
    g_clear_pointer(&q->bitmaps, g_array_unref);
    qcow2_header_clear(&q->h);
    lock_destroy(&q->lock);
}

/* Marks of other writers that must not stay once we write. */
static bool claim(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Qcow2 *q = n->state;

    if (o->for_repair) {
        return true;
    }
    if (q->h.incompat & QCOW2_INCOMPAT_CORRUPT) {
        return error_set(errp, "Image is corrupt; cannot be opened read/write");
    }
    if (q->h.incompat & QCOW2_INCOMPAT_DIRTY) {
        return error_set(errp, "The image was not closed and has lazy reference counts: repair it first");
    }
    uint64_t known = QCOW2_AUTOCLEAR_RAW_DATA | (q->h.bitmaps ? QCOW2_AUTOCLEAR_BITMAPS : 0);
    if (q->h.autoclear & ~known) {
        q->h.autoclear &= known;
        int ret = qcow2_header_update(n->child, &q->h);

        return ret == 0 || error_set_errno(errp, -ret, "Could not update qcow2 header");
    }
    return true;
}

static bool qcow2_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Qcow2 *q = n->state;

    lock_init(&q->lock, RANK_NODE, "qcow2");
    for (BlkFreed why = 0; why < BLK_FREED_KINDS; why++) {
        bool unless_said = why == BLK_FREED_REQUEST ? n->unmap : why == BLK_FREED_SNAPSHOT;

        q->pass[why] = o->pass_discard[why] == BLK_DEFAULT ? unless_said : o->pass_discard[why] == BLK_ON;
    }
    if (!qcow2_header_read(n->child, &q->h, errp) || !zip_load((ZipKind)q->h.compression, errp) ||
        !open_tables(n, errp) || (!n->read_only && !claim(n, o, errp)) ||
        !open_data(n, o, errp) || !open_backing(n, o, errp) || !qcow2_crypt_open(n, o, errp)) {
        qcow2_free(n);
        return false;
    }
    n->size = ALIGN_UP(q->h.size, 512);
    n->limits = n->child->limits;
    n->limits.discard_align = n->unmap ? (uint32_t)q->cluster : 0;
    n->limits.can_zero = q->h.version >= 3;
    n->limits.can_grow = false;
    if (!o->for_repair && !qcow2_bitmaps_load(n, errp)) {
        qcow2_free(n);
        return false;
    }
    return true;
}

int qcow2_settle(BlkNode *n)
{
    Qcow2 *q = n->state;
    int ret = q->bitmaps ? qcow2_bitmaps_store(n) : 0;

    ret = ret < 0 ? ret : qcow2_flush_meta(n, true);
    lock_take(&q->lock);
    ret = ret < 0 ? ret : qcow2_release_locked(n);
    ret = ret < 0 ? ret : qcow2_run_return_locked(n);
    lock_drop(&q->lock);
    ret = ret < 0 ? ret : qcow2_flush_meta(n, true);
    return ret < 0 ? ret : blk_pflush(n->child);
}

static bool qcow2_set_read_only(BlkNode *n, bool read_only, Error **errp)
{
    if (!read_only) {
        return claim(n, &(BlkOptions){ .for_repair = false }, errp) && qcow2_bitmaps_claim(n, errp);
    }
    int ret = qcow2_settle(n);
    return ret == 0 || error_set_errno(errp, -ret, "Could not write the metadata of '%s' out", n->name);
}

static void qcow2_relinked(BlkNode *n)
{
    Qcow2 *q = n->state;

    q->data = q->external ? q->data_use.node : n->child;
    q->backing = n->backing;
}

static void qcow2_close(BlkNode *n)
{
    int ret = n->read_only ? 0 : qcow2_settle(n);

    if (ret < 0) {
        warn_report("closing '%s': %s: what was not flushed before is lost", blk_filename(n),
                    errno_text(-ret));
    }
    qcow2_free(n);
}

static bool qcow2_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    Qcow2 *q = n->state;
    unsigned below = need & (BLK_PERM_WRITE | BLK_PERM_RESIZE)
                     ? BLK_PERM_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE
                                                                : need & BLK_PERM_READ;
    unsigned keep = need ? BLK_PERM_READ : share;

    return blk_change_rights(&n->child_use, below, keep, errp) &&
           (!q->external || blk_change_rights(&q->data_use, below, keep, errp));
}

static int qcow2_pack(BlkNode *n, uint64_t off, const void *buf, size_t len)
{
    const Qcow2 *q = n->state;

    if (q->external || q->h.crypt_method) {
        return -ENOTSUP;
    }
    if (off % q->cluster || (len != q->cluster && off + len != blk_size(n)) || len > q->cluster) {
        return -EINVAL;
    }
    if (len == q->cluster) {
        return qcow2_write_compressed(n, off, buf);
    }
    g_autofree uint8_t *whole = g_try_malloc0(q->cluster);
    if (!whole) {
        return -ENOMEM;
    }
    memcpy(whole, buf, len);
    return qcow2_write_compressed(n, off, whole);
}

static void qcow2_info(BlkNode *n, BlkImageInfo *out)
{
    const Qcow2 *q = n->state;
    const Qcow2Header *h = &q->h;

    out->cluster_size = q->cluster;
    out->backing_file = h->backing_file;
    out->backing_format = h->backing_format;
    out->qcow2 = true;
    out->version = h->version;
    out->refcount_bits = 1u << h->refcount_order;
    out->zstd = h->compression == QCOW2_ZSTD;
    out->lazy_refcounts = h->compat & QCOW2_COMPAT_LAZY_REFCOUNTS;
    out->extended_l2 = q->entry_size == 16;
    out->dirty = h->incompat & QCOW2_INCOMPAT_DIRTY;
    out->corrupt = q->corrupt || h->incompat & QCOW2_INCOMPAT_CORRUPT;
    out->data_file = h->data_file;
    out->data_file_raw = h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    qcow2_crypt_info(n, out);
}

const BlkDriver blk_qcow2 = {
    .name = "qcow2",
    .size = sizeof(Qcow2),
    .options = BLK_OPT_CHILD | BLK_OPT_BACKING | BLK_OPT_KEY | BLK_OPT_ENCRYPT | BLK_OPT_PASS_DISCARD,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .rights = qcow2_rights,
    .truncate = qcow2_truncate,
    .premap = qcow2_premap,
    .check = qcow2_check,
    .write_compressed = qcow2_pack,
    .amend = qcow2_amend,
    .keys = qcow2_crypt_keys,
    .info = qcow2_info,
    .status = qcow2_status,
    .snapshots = &qcow2_snapshot_ops,
    .relinked = qcow2_relinked,
    .set_read_only = qcow2_set_read_only,
    .set_backing_file = qcow2_set_backing_file,
    .backing_file = qcow2_backing_file,
    .bitmap_can_store = qcow2_bitmap_can_store,
    .resolve = qcow2_resolve,
    .resolve_slow = qcow2_resolve_slow,
    .commit = qcow2_commit,
    .flush_meta = qcow2_flush_meta,
    .flush_back = qcow2_flush_back,
};
