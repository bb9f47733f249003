/* qcow2-create.c: new qcow2 images.
 *
 * 1. The layout is: header, refcount table, refcount blocks, L1 table; and when space is preallocated, L2
 *    tables and guest clusters.  It is worked out before anything is written.
 * 2. The header is written last, after all else is durable: a cut leaves a file that is no image.
 * 3. Memory is bounded: tables are written through a buffer of CHUNK bytes. */
#include <errno.h>
#include <inttypes.h>
#include "block/luks.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define CHUNK MiB
#define L1_MAX_BYTES (32 * MiB)
#define RT_MAX_BYTES (8 * MiB)

/* Numbers of clusters, in the order they lie in the file. */
typedef struct Layout {
    uint64_t cluster, entry;   /* bytes */
    uint64_t rt, rb, l1, crypt, l2, data;
    uint64_t l1_entries, total;
    unsigned cluster_bits, order;
    uint64_t crypt_at, l2_at, data_at;         /* where those begin, in clusters */
    uint64_t flags;            /* of L2 entries */
} Layout;

static uint64_t cluster_of(const BlkCreate *o)
{
    return o->cluster_size ? o->cluster_size : 64 * KiB;
}

/* @all: with L2 tables and data for the whole size; false: the format has no room for it. */
static bool layout_init(Layout *l, const BlkCreate *o, bool tables, bool data)
{
    uint64_t bytes = cluster_of(o), size = ALIGN_UP(o->size, 512);

    *l = (Layout){ .cluster = bytes, .entry = o->extended_l2 ? 16 : 8,
                   .cluster_bits = (unsigned)__builtin_ctzll(bytes),
                   .order = (unsigned)__builtin_ctz(o->refcount_bits ? o->refcount_bits : 16) };
    uint64_t clusters = DIV_ROUND_UP(size, bytes), per_l2 = bytes / l->entry, per_block =
        bytes * 8 >> l->order;

    l->l1_entries = DIV_ROUND_UP(clusters, per_l2);
    l->l1 = DIV_ROUND_UP(l->l1_entries * 8, bytes);
    l->l2 = tables ? l->l1_entries : 0;
    l->data = data ? clusters : 0;
    uint64_t crypt = 0;
    qcow2_crypt_room(o, &crypt, NULL);
    l->crypt = DIV_ROUND_UP(crypt, bytes);
    /* What is in the file would be decrypted. */
    l->flags = QCOW2_COPIED | (o->encrypt_format ? QCOW2_ZERO : 0);
    l->rt = l->rb = 1;
    for (uint64_t before = 0; before != l->rt + l->rb;) {
        before = l->rt + l->rb;
        l->total = 1 + l->rt + l->rb + l->l1 + l->crypt + l->l2 + l->data;
        l->rb = DIV_ROUND_UP(l->total, per_block);
        l->rt = DIV_ROUND_UP(l->rb * 8, bytes);
    }
    l->crypt_at = 1 + l->rt + l->rb + l->l1;
    l->l2_at = l->crypt_at + l->crypt;
    l->data_at = l->l2_at + l->l2;
    return l->l1_entries * 8 <= L1_MAX_BYTES && l->rt * bytes <= RT_MAX_BYTES;
}

BlkMeasure blk_measure(const BlkCreate *o)
{
    Layout l;
    bool ok = layout_init(&l, o, true, true);
    uint64_t meta = l.total - l.data;
    uint64_t full = o->data_file ? meta : l.total;

    return ok ? (BlkMeasure){ meta << l.cluster_bits, full << l.cluster_bits } : (BlkMeasure){ 0 };
}

bool qcow2_create_ok(const BlkCreate *o, Error **errp)
{
    uint64_t cluster = cluster_of(o);
    unsigned bits = o->refcount_bits ? o->refcount_bits : 16;
    const char *later = "compatibility level 1.1 and above (use version=v3 or greater)";
    Layout l;

    if (cluster & (cluster - 1) || cluster < 512 || cluster > 2 * MiB) {
        return error_set(errp, "Cluster size must be a power of two between 512 and 2048k");
    }
    if (o->lazy_refcounts && o->v2) {
        return error_set(errp, "Lazy refcounts only supported with %s", later);
    }
    if (bits & (bits - 1) || bits > 64) {
        return error_set(errp, "Refcount width must be a power of two and may not exceed 64 bits");
    }
    if (bits != 16 && o->v2) {
        return error_set(errp, "Different refcount widths than 16 bits require compatibility level 1.1 or "
                         "above "
                         "(use version=v3 or greater)");
    }
    if (o->data_file && o->v2) {
        return error_set(errp, "External data files are only supported with %s", later);
    }
    if (o->data_file_raw && !o->data_file) {
        return error_set(errp, "data-file-raw requires data-file");
    }
    if (o->data_file_raw && o->backing_file) {
        return error_set(errp, "Backing file and data-file-raw cannot be used at the same time");
    }
    if (o->extended_l2 && o->v2) {
        return error_set(errp, "Extended L2 entries are only supported with %s", later);
    }
    if (o->extended_l2 && cluster < 16 * KiB) {
        return error_set(errp, "Extended L2 entries are only supported with cluster sizes of at least 16384 "
                         "bytes");
    }
    if (o->zstd && o->v2) {
        return error_set(errp, "Non-zlib compression type is only supported with %s", later);
    }
    if (o->backing_file && o->prealloc != BLK_PREALLOC_OFF && !o->extended_l2) {
        return error_set(errp, "Backing file and preallocation can only be used at the same time if "
                         "extended_l2 "
                         "is on");
    }
    if (o->backing_fmt && !o->backing_file) {
        return error_set(errp, "Backing format cannot be used without backing file");
    }
    uint64_t room;
    if (!qcow2_crypt_room(o, &room, errp)) {
        return false;
    }
    return layout_init(&l, o, true, !o->data_file) ||
           error_set(errp, "The image size is too large for file format 'qcow2' (try using a larger cluster "
                     "size)");
}

/* --- writing --- */

/* Writes @count units of @unit bytes at @at, each made by @make. */
static int write_units(BlkNode *file, uint64_t at, uint64_t count, unsigned unit, const Layout *l,
                       void (*make)(const Layout *l, uint64_t i, uint8_t *p))
{
    uint64_t per = CHUNK / unit;
    g_autofree uint8_t *buf = g_try_malloc0(CHUNK);
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t first = 0; ret == 0 && first < count; first += per) {
        uint64_t now = MIN(per, count - first);

        for (uint64_t i = 0; i < now; i++) {
            make(l, first + i, buf + i * unit);
        }
        ret = blk_pwrite(file, at + first * unit, buf, now * unit);
    }
    return ret;
}

static void make_rt_entry(const Layout *l, uint64_t i, uint8_t *p)
{
    *(Be64 *)p = to_be64(i < l->rb ? (1 + l->rt + i) << l->cluster_bits : 0);
}

/* A byte of a refcount block (or, from 8 bits on, of a count): all clusters count one. */
static void make_count_byte(const Layout *l, uint64_t i, uint8_t *p)
{
    if (l->order >= 3) {
        unsigned bytes = 1u << (l->order - 3);

        *p = i % bytes == bytes - 1 && i / bytes < l->total;
        return;
    }
    unsigned bits = 1u << l->order, per = 8 / bits;

    *p = 0;
    for (unsigned k = 0; k < per; k++) {
        *p |= (uint8_t)((i * per + k < l->total) << (k * bits));
    }
}

static void make_l1_entry(const Layout *l, uint64_t i, uint8_t *p)
{
    *(Be64 *)p = to_be64(i < l->l2 ? (l->l2_at + i) << l->cluster_bits | QCOW2_COPIED : 0);
}

static void make_l2_entry(const Layout *l, uint64_t i, uint8_t *p)
{
    *(Be64 *)p = to_be64(i < l->data ? (l->data_at + i) << l->cluster_bits | l->flags : 0);
}

/* Of a data file: the place is the guest's; the second word, if there is one: all subclusters are there. */
static void make_l2_external(const Layout *l, uint64_t i, uint8_t *p)
{
    *(Be64 *)p = to_be64(i << l->cluster_bits | l->flags);
    if (l->entry == 16) {
        *(Be64 *)(p + 8) = to_be64(UINT32_MAX);
    }
}

/* Extended: the place is there, the subclusters are not, so that what is behind shows. */
static void make_l2_extended(const Layout *l, uint64_t i, uint8_t *p)
{
    *(Be64 *)p = to_be64(i < l->data ? (l->data_at + i) << l->cluster_bits | QCOW2_COPIED : 0);
    *(Be64 *)(p + 8) = to_be64(0);
}

static int write_all(BlkNode *file, const BlkCreate *o, const Layout *l, uint64_t guest)
{
    unsigned bits = l->cluster_bits;
    uint64_t cluster = l->cluster, l1_at = (1 + l->rt + l->rb) << bits;
    int ret = write_units(file, cluster, l->rt * cluster / 8, 8, l, make_rt_entry);

    ret = ret < 0 ? ret : write_units(file, (1 + l->rt) << bits, l->rb * cluster, 1, l, make_count_byte);
    ret = ret < 0 ? ret : write_units(file, l1_at, l->l1 * cluster / 8, 8, l, make_l1_entry);
    if (ret == 0 && l->l2 && o->data_file) {
        ret = write_units(file, l->l2_at << bits, guest, (unsigned)l->entry, l, make_l2_external);
    } else if (ret == 0 && l->l2 && o->extended_l2) {
        ret = write_units(file, l->l2_at << bits, l->l2 * cluster / 16, 16, l, make_l2_extended);
    } else if (ret == 0 && l->l2) {
        ret = write_units(file, l->l2_at << bits, l->l2 * cluster / 8, 8, l, make_l2_entry);
    }
    return ret < 0 ? ret : blk_pflush(file);
}

bool qcow2_format(BlkNode *file, BlkNode *data, const BlkCreate *o, Error **errp)
{
    static const uint8_t nothing[512];
    /* A raw data file's contents are the disk's from the start. */
    bool mapped = o->data_file_raw || (o->prealloc != BLK_PREALLOC_OFF && !(data && o->extended_l2));
    Layout l;

    if (!qcow2_create_ok(o, errp)) {
        return false;
    }
    layout_init(&l, o, mapped, mapped && !data);
    if (!o->v2 && !o->data_file_raw && !strcmp((data ? data : file)->drv->name, "host_device")) {
        l.flags |= QCOW2_ZERO;                 /* what it had before shall not show */
    }
    uint64_t end = l.total << l.cluster_bits;
    Qcow2Header h = {
        .version = o->v2 ? 2 : 3, .cluster_bits = l.cluster_bits, .size = ALIGN_UP(o->size, 512),
        .l1_size = (uint32_t)l.l1_entries, .l1_off = l.l1 ? (1 + l.rt + l.rb) << l.cluster_bits : l.cluster,
        .rt_off = l.cluster, .rt_clusters = (uint32_t)l.rt, .refcount_order = l.order,
        .incompat = (data ? QCOW2_INCOMPAT_DATA_FILE : 0) | (o->zstd ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                    (o->extended_l2 ? QCOW2_INCOMPAT_EXT_L2 : 0),
        .compat = o->lazy_refcounts ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0,
        .autoclear = o->data_file_raw ? QCOW2_AUTOCLEAR_RAW_DATA : 0,
        .compression = o->zstd ? QCOW2_ZSTD : QCOW2_ZLIB,
        .backing_file = (char *)(uintptr_t)o->backing_file, .backing_format =
            (char *)(uintptr_t)o->backing_fmt,
        .data_file = (char *)(uintptr_t)o->data_file,
        .crypt_method = !o->encrypt_format ? QCOW2_CRYPT_NONE : l.crypt ? QCOW2_CRYPT_LUKS : QCOW2_CRYPT_AES,
        .crypt_off = l.crypt ? l.crypt_at << l.cluster_bits : 0, .crypt_size = l.crypt << l.cluster_bits,
    };
    blk_grow(file, end);
    int ret = blk_pwrite(file, 0, nothing, sizeof(nothing));
    ret = ret < 0 ? ret : blk_pflush(file);
    /* The file ends with a whole cluster. */
    ret = ret < 0 ? ret : blk_pwrite(file, end - sizeof(nothing), nothing,
                                     l.data || l.crypt ? sizeof(nothing) : 0);
    ret = ret < 0 ? ret : write_all(file, o, &l, DIV_ROUND_UP(h.size, l.cluster));
    if (ret == 0 && l.crypt && !luks_format(file, h.crypt_off, &o->luks, errp)) {
        return false;
    }
    ret = ret < 0 ? ret : qcow2_header_write(file, &h);
    ret = ret < 0 ? ret : blk_pflush(file);
    return ret == 0 || error_set_errno(errp, -ret, "Could not write the qcow2 image '%s'",
                                       blk_filename(file));
}
