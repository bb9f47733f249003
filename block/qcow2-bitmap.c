/* qcow2-bitmap.c: dirty bitmaps kept in the image.
 *
 * 1. They are read when the image is opened, and written when it is closed.  While it is open for writing the
 *    image says of each that it is in use: who finds that later knows that it is not to be trusted.
 * 2. Old bitmaps lose their space after the header names the new ones: a cut leaves leaks at worst. */
#include <errno.h>
#include <inttypes.h>
#include "block/bitmap.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define DIRECTORY_MAX (64 * MiB)
#define TABLE_MAX (1u << 27)   /* entries */

enum {
    FLAG_IN_USE = 1 << 0,
    FLAG_AUTO = 1 << 1,        /* it records */
    FLAG_EXTRA_COMPATIBLE = 1 << 2,
    FLAGS_KNOWN = (1 << 3) - 1,
    TYPE_DIRTY = 1,
};

#define ALL_ONES UINT64_C(1)   /* a table entry without a place */

typedef struct RawBitmap {
    Be64 table_off;
    Be32 table_size, flags;
    uint8_t type, bits;
    Be16 name_len;
    Be32 extra_len;
} RawBitmap;

G_STATIC_ASSERT(sizeof(RawBitmap) == 24);

/* --- the directory --- */

static void clear_one(void *s)
{
    g_free(((Qcow2Bitmap *)s)->name);
}

static GArray *directory_new(void)
{
    GArray *a = g_array_new(false, false, sizeof(Qcow2Bitmap));

    g_array_set_clear_func(a, clear_one);
    return a;
}

static const char *entry_fault(const Qcow2 *q, const RawBitmap *raw, uint64_t left)
{
    uint64_t size = be32(raw->table_size), off = be64(raw->table_off);

    return be32(raw->extra_len) > left || be16(raw->name_len) > left - be32(raw->extra_len)
           ? "it ends after it"
           : be16(raw->name_len) == 0 || be16(raw->name_len) > BLK_BITMAP_NAME_MAX ? "the name's length"
           : raw->type != TYPE_DIRTY ? "its type"
           : raw->bits < BLK_BITMAP_BITS_MIN || raw->bits > BLK_BITMAP_BITS_MAX ? "its granularity"
           : be32(raw->flags) & ~(uint32_t)FLAGS_KNOWN ? "its flags"
           : be32(raw->extra_len) && !(be32(raw->flags) & FLAG_EXTRA_COMPATIBLE) ? "its extra data"
           : size > TABLE_MAX || off % q->cluster || !fits(off, size * 8, q->grow_from) ? "the table's place"
           : NULL;
}

GArray *qcow2_bitmaps_read(BlkNode *n, Error **errp)
{
    const Qcow2 *q = n->state;
    const Qcow2Header *h = &q->h;
    g_autoptr(GArray) a = directory_new();
    g_autofree uint8_t *all = NULL;
    uint64_t at = 0;

    if (h->bitmaps == 0) {
        return g_steal_pointer(&a);
    }
    if (h->bitmaps_size > DIRECTORY_MAX || h->bitmaps_off % q->cluster ||
        !fits(h->bitmaps_off, h->bitmaps_size, q->grow_from)) {
        error_set(errp, "Bitmap directory at %#" PRIx64 " with %" PRIu64 " bytes is not in the file",
                  h->bitmaps_off, h->bitmaps_size);
        return NULL;
    }
    all = g_malloc(h->bitmaps_size + 1);
    int ret = blk_pread(n->child, h->bitmaps_off, all, h->bitmaps_size);
    if (ret < 0) {
        error_set_errno(errp, -ret, "Could not read the bitmap directory at %#" PRIx64, h->bitmaps_off);
        return NULL;
    }
    for (uint32_t i = 0; i < h->bitmaps; i++) {
        RawBitmap raw;
        const char *fault = h->bitmaps_size - at < sizeof(raw) ? "it is missing" : NULL;

        if (!fault) {
            memcpy(&raw, all + at, sizeof(raw));
            at += sizeof(raw);
            fault = entry_fault(q, &raw, h->bitmaps_size - at);
        }
        if (fault) {
            error_set(errp, "Bitmap directory at %#" PRIx64 ", entry %u: %s", h->bitmaps_off, i, fault);
            return NULL;
        }
        Qcow2Bitmap b = { .table_off = be64(raw.table_off), .table_size = be32(raw.table_size),
                          .flags = be32(raw.flags), .bits = raw.bits };
        at += be32(raw.extra_len);
        b.name = g_strndup((const char *)all + at, be16(raw.name_len));
        at = MIN(ALIGN_UP(at + be16(raw.name_len), 8), h->bitmaps_size);
        g_array_append_val(a, b);
    }
    return g_steal_pointer(&a);
}

static GByteArray *directory_encode(const GArray *a)
{
    static const uint8_t pad[8];
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < a->len; i++) {
        const Qcow2Bitmap *b = &g_array_index(a, Qcow2Bitmap, i);
        size_t len = strlen(b->name);
        RawBitmap raw = { to_be64(b->table_off), to_be32(b->table_size), to_be32(b->flags), TYPE_DIRTY,
                          (uint8_t)b->bits, to_be16((uint16_t)len), to_be32(0) };

        g_byte_array_append(out, (const uint8_t *)&raw, sizeof(raw));
        g_byte_array_append(out, (const uint8_t *)b->name, (unsigned)len);
        g_byte_array_append(out, pad, -out->len & 7);
    }
    return out;
}

/* --- reading --- */

uint64_t *qcow2_bitmap_table(BlkNode *n, const Qcow2Bitmap *b, int *ret)
{
    uint64_t *table = g_try_new0(uint64_t, b->table_size + 1);

    *ret = !table ? -ENOMEM : b->table_size ? blk_pread(n->child, b->table_off, table, b->table_size * 8) : 0;
    for (uint64_t i = 0; *ret == 0 && i < b->table_size; i++) {
        table[i] = be64toh(table[i]);
    }
    if (*ret < 0) {
        g_clear_pointer(&table, g_free);
    }
    return table;
}

/* The bits in the image, cluster by cluster, become those of @b. */
static int read_bits(BlkNode *n, const Qcow2Bitmap *stored, BlkBitmap *b)
{
    const Qcow2 *q = n->state;
    uint64_t per = q->cluster * 8 << stored->bits;     /* bytes of the disk a cluster of bits stands for */
    g_autofree uint8_t *bits = g_malloc(q->cluster);
    int ret;

    if (stored->table_size != DIV_ROUND_UP(blk_size(n), per)) {
        return -EUCLEAN;
    }
    g_autofree uint64_t *table = qcow2_bitmap_table(n, stored, &ret);
    for (uint64_t i = 0; ret == 0 && i < stored->table_size; i++) {
        uint64_t at = table[i] & QCOW2_OFFSET;

        if (!at) {
            blk_bitmap_set(b, i * per, table[i] & ALL_ONES ? per : 0);
            continue;
        }
        ret = at % q->cluster ? -EUCLEAN : blk_pread(n->child, at, bits, q->cluster);
        for (uint64_t bit = 0; ret == 0 && bit < q->cluster * 8; bit++) {
            if (bits[bit / 8] >> bit % 8 & 1) {
                blk_bitmap_set(b, i * per + (bit << stored->bits), UINT64_C(1) << stored->bits);
            }
        }
    }
    return ret;
}

bool qcow2_bitmaps_claim(BlkNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GByteArray) out = NULL;

    for (unsigned i = 0; i < q->bitmaps->len; i++) {
        g_array_index(q->bitmaps, Qcow2Bitmap, i).flags |= FLAG_IN_USE;
    }
    out = directory_encode(q->bitmaps);
    if (out->len == 0 || out->len > q->h.bitmaps_size) {
        return out->len == 0 || error_set(errp, "Bitmap directory: its entries overlap");
    }
    int ret = blk_pwrite(n->child, q->h.bitmaps_off, out->data, out->len);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    return ret == 0 || error_set_errno(errp, -ret, "Could not mark the bitmaps as in use");
}

bool qcow2_bitmaps_load(BlkNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    int ret = 0;

    q->bitmaps = qcow2_bitmaps_read(n, errp);
    if (!q->bitmaps) {
        return false;
    }
    for (unsigned i = 0; i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *s = &g_array_index(q->bitmaps, Qcow2Bitmap, i);
        bool broken = s->flags & FLAG_IN_USE;
        BlkBitmap *b;

        if (blk_bitmap_find(n, s->name)) {
            return error_set(errp, "Bitmap directory: two bitmaps have the name '%s'", s->name);
        }
        b = blk_bitmap_make(n, s->name, s->bits, true, broken);
        ret = !b ? -EFBIG : broken ? 0 : read_bits(n, s, b);
        if (ret < 0) {
            return error_set_errno(errp, -ret, "Could not read bitmap '%s'", s->name);
        }
        blk_bitmap_record(b, !broken && s->flags & FLAG_AUTO);
    }
    return n->read_only || qcow2_bitmaps_claim(n, errp);
}

/* --- writing --- */

static int write_cluster(BlkNode *n, const uint8_t *bits, uint64_t *entry)
{
    Qcow2 *q = n->state;
    bool same = memcmp(bits, bits + 1, q->cluster - 1) == 0;

    if (same && (bits[0] == 0 || bits[0] == 0xff)) {
        *entry = bits[0] ? ALL_ONES : 0;
        return 0;
    }
    lock_take(&q->lock);
    int ret = qcow2_place_locked(n, bits, q->cluster, entry);
    lock_drop(&q->lock);
    return ret;
}

/* The bits of @b in new clusters, told by a new table. */
static int write_bits(BlkNode *n, const BlkBitmap *b, Qcow2Bitmap *out)
{
    Qcow2 *q = n->state;
    uint64_t per = q->cluster * 8 << out->bits, count = DIV_ROUND_UP(blk_size(n), per);
    g_autofree uint8_t *bits = g_malloc(q->cluster);
    g_autofree Be64 *table = g_new0(Be64, count + 1);
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < count; i++) {
        uint64_t at = i * per, end = MIN((i + 1) * per, blk_size(n)), entry, len;

        memset(bits, 0, q->cluster);
        while (at < end && (len = blk_bitmap_dirty(b, &at, per)) > 0) {
            for (uint64_t to = MIN(at + len, end); at < to; at += UINT64_C(1) << out->bits) {
                uint64_t bit = (at - i * per) >> out->bits;

                bits[bit / 8] |= (uint8_t)(1u << bit % 8);
            }
        }
        ret = write_cluster(n, bits, &entry);
        table[i] = to_be64(entry);
    }
    if (ret == 0) {
        lock_take(&q->lock);
        ret = qcow2_place_locked(n, table, count * 8, &out->table_off);
        lock_drop(&q->lock);
    }
    out->table_size = (uint32_t)count;
    return ret;
}

/* Gives the space of @b back. */
static int release(BlkNode *n, const Qcow2Bitmap *b)
{
    Qcow2 *q = n->state;
    int ret;
    g_autofree uint64_t *table = qcow2_bitmap_table(n, b, &ret);

    lock_take(&q->lock);
    for (uint64_t i = 0; ret == 0 && i < b->table_size; i++) {
        ret = qcow2_unplace_locked(n, table[i] & QCOW2_OFFSET, q->cluster, NULL);
    }
    ret = ret < 0 ? ret : qcow2_unplace_locked(n, b->table_off, b->table_size * UINT64_C(8), NULL);
    lock_drop(&q->lock);
    return ret;
}

static const Qcow2Bitmap *stored_as(const GArray *a, const char *name)
{
    for (unsigned i = 0; i < a->len; i++) {
        const Qcow2Bitmap *b = &g_array_index(a, Qcow2Bitmap, i);

        if (strcmp(b->name, name) == 0) {
            return b;
        }
    }
    return NULL;
}

/* What the directory is to have; those that are broken keep what they have. */
static int make_directory(BlkNode *n, GArray *new)
{
    Qcow2 *q = n->state;
    int ret = 0;

    for (BlkBitmap *b = n->bitmaps; ret == 0 && b; b = blk_bitmap_next(n, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);
        const Qcow2Bitmap *old = stored_as(q->bitmaps, i.name);
        Qcow2Bitmap s = { .bits = (unsigned)__builtin_ctzll(i.granularity),
                          .flags = i.recording ? FLAG_AUTO : 0 };

        if (!i.persistent) {
            continue;
        }
        if (i.inconsistent && old) {
            s = *old;
        } else {
            ret = write_bits(n, b, &s);
        }
        s.name = g_strdup(i.name);
        g_array_append_val(new, s);
    }
    return ret;
}

static int write_directory(BlkNode *n, const GArray *new)
{
    Qcow2 *q = n->state;
    g_autoptr(GByteArray) out = directory_encode(new);
    Qcow2Header h = q->h;

    h.bitmaps = new->len;
    h.bitmaps_size = out->len;
    lock_take(&q->lock);
    int ret = out->len > DIRECTORY_MAX ? -EFBIG : qcow2_place_locked(n, out->data, out->len, &h.bitmaps_off);
    lock_drop(&q->lock);
    ret = ret < 0 ? ret : qcow2_flush_meta(n, true);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    return ret < 0 ? ret : qcow2_header_set_bitmaps(n, &h);
}

int qcow2_bitmaps_store(BlkNode *n)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) new = directory_new();
    uint64_t old_off = q->h.bitmaps_off, old_size = q->h.bitmaps_size;
    int ret = make_directory(n, new);

    if (ret < 0 || (new->len == 0 && q->h.bitmaps == 0)) {
        return ret;
    }
    ret = write_directory(n, new);
    for (unsigned i = 0; ret == 0 && i < q->bitmaps->len; i++) {
        const Qcow2Bitmap *old = &g_array_index(q->bitmaps, Qcow2Bitmap, i), *now = stored_as(new, old->name);

        if (!now || now->table_off != old->table_off) {
            ret = release(n, old);
        }
    }
    lock_take(&q->lock);
    ret = ret < 0 ? ret : qcow2_unplace_locked(n, old_size ? old_off : 0, old_size, NULL);
    lock_drop(&q->lock);
    if (ret == 0) {
        g_array_unref(q->bitmaps);
        q->bitmaps = g_steal_pointer(&new);
    }
    return ret;
}

bool qcow2_bitmap_can_store(BlkNode *n, Error **errp)
{
    const Qcow2 *q = n->state;

    if (q->h.version < 3) {
        return error_set(errp, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    return !n->read_only || error_set(errp, "Block node '%s' is read-only", n->name);
}
