/* qcow2-header.c: the header of a qcow2 image, read, checked and brought up to date.
 *
 * 1. Every number is checked here, once, before anything is allocated or read by it.
 * 2. Feature bits we do not know: incompatible ones refuse the image by name, compatible ones are
 *    left alone, autoclear ones are cleared by the first writer.
 * 3. A header that changes in several sectors is switched by the first: names go to sectors that were not in
 *    use, and while sectors of extensions change, the first ends them before. */
#include <errno.h>
#include <inttypes.h>
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define HEADER_V2 72
#define HEADER_V3 104
#define EXT_END 0
#define EXT_BACKING_FORMAT 0xe2792acau
#define EXT_FEATURES 0x6803f857u
#define EXT_DATA_FILE 0x44415441u
#define EXT_BITMAPS 0x23852875u
#define EXT_CRYPT 0x0537be77u
#define L1_MAX_BYTES (32 * MiB)
#define RT_MAX_BYTES (8 * MiB)
#define SNAPSHOTS_MAX 65536
#define CRYPT_MAX_BYTES (16 * MiB)
#define SECTOR 512u            /* what a cut of power leaves whole */

typedef struct RawHeader {
    Be32 magic, version;
    Be64 backing_off;
    Be32 backing_len, cluster_bits;
    Be64 size;
    Be32 crypt_method, l1_size;
    Be64 l1_off, rt_off;
    Be32 rt_clusters, snapshots;
    Be64 snapshots_off;
    Be64 incompat, compat, autoclear;         /* from here on: version 3 */
    Be32 refcount_order, length;
    uint8_t compression, pad[7];
} RawHeader;

G_STATIC_ASSERT(sizeof(RawHeader) == 112);

static void decode(const RawHeader *raw, Qcow2Header *h)
{
    *h = (Qcow2Header){
        .version = be32(raw->version), .cluster_bits = be32(raw->cluster_bits), .size = be64(raw->size),
        .crypt_method = be32(raw->crypt_method), .l1_size = be32(raw->l1_size), .l1_off = be64(raw->l1_off),
        .rt_off = be64(raw->rt_off), .rt_clusters = be32(raw->rt_clusters), .snapshots = be32(raw->snapshots),
        .snapshots_off = be64(raw->snapshots_off), .refcount_order = 4, .length = HEADER_V2,
    };
    if (h->version >= 3) {
        h->incompat = be64(raw->incompat);
        h->compat = be64(raw->compat);
        h->autoclear = be64(raw->autoclear);
        h->refcount_order = be32(raw->refcount_order);
        h->length = be32(raw->length);
        h->compression = h->length > HEADER_V3 ? raw->compression : QCOW2_ZLIB;
    }
}

typedef struct RawBitmaps {
    Be32 count, reserved;
    Be64 size, off;
} RawBitmaps;

G_STATIC_ASSERT(sizeof(RawBitmaps) == 24);

typedef struct RawCrypt {
    Be64 off, size;
} RawCrypt;

G_STATIC_ASSERT(sizeof(RawCrypt) == 16);

/* --- checks --- */

/* The name the image gives an incompatible feature bit in its feature table, or NULL. */
static char *feature_name(const uint8_t *table, uint32_t len, unsigned bit)
{
    for (; len >= 48; len -= 48, table += 48) {
        if (table[0] == 0 && table[1] == bit) {
            return g_strndup((const char *)table + 2, 46);
        }
    }
    return NULL;
}

static bool refuse_features(uint64_t unknown, const uint8_t *table, uint32_t len, Error **errp)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned bit = 0; bit < 64; bit++) {
        if (unknown >> bit & 1) {
            g_autofree char *name = feature_name(table, len, bit);

            g_string_append_printf(names, "%s", names->len ? ", " : "");
            if (name) {
                g_string_append(names, name);
            } else {
                g_string_append_printf(names, "Unknown incompatible feature: %" PRIx64, UINT64_C(1) << bit);
            }
        }
    }
    return error_set(errp, "Unsupported qcow2 feature(s): %s", names->str);
}

/* A table of @bytes at @off lies where one may. */
static bool table_ok(const char *what, uint64_t off, uint64_t bytes, uint64_t max, uint64_t cluster,
                      Error **errp)
{
    if (bytes > max) {
        return error_set(errp, "%s too large: %" PRIu64 " bytes", what, bytes);
    }
    if (bytes && (off % cluster || off < cluster || off > QCOW2_OFFSET - bytes)) {
        return error_set(errp, "%s offset invalid: %#" PRIx64, what, off);
    }
    return true;
}

static bool sizes_ok(const Qcow2Header *h, Error **errp)
{
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;
    unsigned l2_bits = h->cluster_bits - (h->incompat & QCOW2_INCOMPAT_EXT_L2 ? 4 : 3);
    unsigned shift = h->cluster_bits + l2_bits;

    if (h->size > (uint64_t)INT64_MAX - cluster) {
        return error_set(errp, "Image size %" PRIu64 " is too big", h->size);
    }
    if (h->l1_size < (h->size >> shift) + (h->size & ((UINT64_C(1) << shift) - 1) ? 1 : 0)) {
        return error_set(errp, "L1 table is too small: %u entries", h->l1_size);
    }
    if (h->rt_clusters == 0) {
        return error_set(errp, "Image does not contain a reference count table");
    }
    return table_ok("Active L1 table", h->l1_off, (uint64_t)h->l1_size * 8, L1_MAX_BYTES, cluster, errp) &&
           table_ok("Reference count table", h->rt_off, h->rt_clusters * cluster, RT_MAX_BYTES, cluster,
                    errp) &&
           (h->snapshots <= SNAPSHOTS_MAX ||
            error_set(errp, "Snapshot table too large: %u entries", h->snapshots)) &&
           table_ok("Snapshot table", h->snapshots_off, h->snapshots, SNAPSHOTS_MAX, cluster, errp);
}

static bool header_ok(const Qcow2Header *h, Error **errp)
{
    if (h->version < 2 || h->version > 3) {
        return error_set(errp, "Unsupported qcow2 version %u", h->version);
    }
    if (h->cluster_bits < 9 || h->cluster_bits > 21) {
        return error_set(errp, "Unsupported cluster size: 2^%u", h->cluster_bits);
    }
    if (h->version >= 3 && (h->length < HEADER_V3 || h->length % 8 ||
                            h->length > UINT64_C(1) << h->cluster_bits)) {
        return error_set(errp, "qcow2 header length %u is invalid", h->length);
    }
    if (h->refcount_order > 6) {
        return error_set(errp, "Reference count entry width too large; may not exceed 64 bits");
    }
    if (h->incompat & QCOW2_INCOMPAT_EXT_L2 && h->cluster_bits < 14) {
        return error_set(errp, "Extended L2 entries are not possible with clusters of 2^%u bytes",
                         h->cluster_bits);
    }
    if (h->crypt_method > QCOW2_CRYPT_LUKS) {
        return error_set(errp, "Unsupported encryption method %u", h->crypt_method);
    }
    if (h->compression > QCOW2_ZSTD ||
        (h->compression != QCOW2_ZLIB) != !!(h->incompat & QCOW2_INCOMPAT_COMPRESSION)) {
        return error_set(errp, "Unknown compression type: %u", h->compression);
    }
    return true;
}

/* --- extensions --- */

static bool crypt_ok(const Qcow2Header *h, uint64_t cluster, Error **errp)
{
    if (h->crypt_method != QCOW2_CRYPT_LUKS) {
        return true;
    }
    if (!h->crypt_off) {
        return error_set(errp, "The encryption header extension is missing");
    }
    return table_ok("Encryption header", h->crypt_off, h->crypt_size, CRYPT_MAX_BYTES, cluster, errp) &&
           (h->crypt_off >= cluster || error_set(errp, "Encryption header offset invalid: %#" PRIx64,
                                                 h->crypt_off));
}

static bool extensions_read(const uint8_t *head, uint64_t cluster, Qcow2Header *h, Error **errp)
{
    uint64_t at = h->length, end = cluster, features_at = 0, features_len = 0;
    uint64_t unknown = h->incompat & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    const RawHeader *raw = (const RawHeader *)head;

    if (be64(raw->backing_off)) {
        end = be64(raw->backing_off);
        if (end < h->length || !fits(end, be32(raw->backing_len), cluster) || be32(raw->backing_len) > 1023) {
            return error_set(errp, "Invalid backing file offset %#" PRIx64 " or length %u", end,
                             be32(raw->backing_len));
        }
        h->backing_file = g_strndup((const char *)head + end, be32(raw->backing_len));
    }
    while (end - at >= 8) {
        uint32_t type = be32(*(const Be32 *)(head + at)), len = be32(*(const Be32 *)(head + at + 4));

        at += 8;
        if (type == EXT_END) {
            break;
        }
        if (len > end - at) {
            return error_set(errp, "Header extension %#x too large: %u bytes at %#" PRIx64, type, len, at);
        }
        if (type == EXT_BACKING_FORMAT) {
            g_free(h->backing_format);
            h->backing_format = g_strndup((const char *)head + at, len);
        } else if (type == EXT_DATA_FILE) {
            g_free(h->data_file);
            h->data_file = g_strndup((const char *)head + at, len);
        } else if (type == EXT_BITMAPS && len >= sizeof(RawBitmaps) &&
                   h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) {
            const RawBitmaps *b = (const RawBitmaps *)(head + at);

            h->bitmaps = be32(b->count);
            h->bitmaps_size = be64(b->size);
            h->bitmaps_off = be64(b->off);
        } else if (type == EXT_CRYPT && h->crypt_method == QCOW2_CRYPT_LUKS) {
            if (len != sizeof(RawCrypt)) {
                return error_set(errp, "CRYPTO header extension size %u, but expected size %zu", len,
                                 sizeof(RawCrypt));
            }
            h->crypt_off = be64(((const RawCrypt *)(head + at))->off);
            h->crypt_size = be64(((const RawCrypt *)(head + at))->size);
        } else if (type == EXT_FEATURES) {
            features_at = at;
            features_len = len;
        }
        at = MIN(ALIGN_UP(at + len, 8), end);
    }
    return (!unknown || refuse_features(unknown, head + features_at, (uint32_t)features_len, errp)) &&
           crypt_ok(h, cluster, errp);
}

/* --- reading and writing --- */

bool qcow2_header_read(BlkNode *file, Qcow2Header *h, Error **errp)
{
    RawHeader raw = { 0 };
    int ret = blk_size(file) < HEADER_V2 ? 0 : blk_pread(file, 0, &raw, MIN(sizeof(raw), blk_size(file)));

    *h = (Qcow2Header){ 0 };
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not read qcow2 header");
    }
    if (be32(raw.magic) != QCOW2_MAGIC) {
        return error_set(errp, "Image is not in qcow2 format");
    }
    decode(&raw, h);
    if (!header_ok(h, errp) || !sizes_ok(h, errp)) {
        return false;
    }
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;
    g_autofree uint8_t *head = g_malloc0(cluster);
    ret = blk_pread(file, 0, head, MIN(cluster, blk_size(file)));
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not read qcow2 header");
    }
    if (!extensions_read(head, cluster, h, errp)) {
        qcow2_header_clear(h);
        return false;
    }
    return true;
}

void qcow2_header_clear(Qcow2Header *h)
{
    g_clear_pointer(&h->backing_file, g_free);
    g_clear_pointer(&h->backing_format, g_free);
    g_clear_pointer(&h->data_file, g_free);
}

/* --- a new header --- */

static void put_extension(GByteArray *out, uint32_t type, const void *data, size_t len)
{
    static const uint8_t pad[8];
    Be32 head[2] = { to_be32(type), to_be32((uint32_t)len) };

    g_byte_array_append(out, (const uint8_t *)head, sizeof(head));
    if (len) {
        g_byte_array_append(out, data, (guint)len);
        g_byte_array_append(out, pad, (guint)(ALIGN_UP(len, 8) - len));
    }
}

/* The names of the feature bits, for programs that do not know one of them. */
static void put_features(GByteArray *out)
{
    static const struct { uint8_t kind, bit; char name[46]; } table[] = {
        { 0, 0, "dirty bit" }, { 0, 1, "corrupt bit" }, { 0, 2, "external data file" },
        { 0, 3, "compression type" }, { 0, 4, "extended L2 entries" },
        { 1, 0, "lazy refcounts" }, { 2, 0, "bitmaps" }, { 2, 1, "raw external data" },
    };

    G_STATIC_ASSERT(sizeof(table[0]) == 48);
    put_extension(out, EXT_FEATURES, table, sizeof(table));
}

int qcow2_header_write(BlkNode *file, const Qcow2Header *h)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    size_t name = h->backing_file ? strlen(h->backing_file) : 0;
    RawHeader raw = {
        .magic = to_be32(QCOW2_MAGIC), .version = to_be32(h->version), .cluster_bits =
            to_be32(h->cluster_bits),
        .size = to_be64(h->size), .l1_size = to_be32(h->l1_size), .l1_off = to_be64(h->l1_off),
        .rt_off = to_be64(h->rt_off), .rt_clusters = to_be32(h->rt_clusters),
        .incompat = to_be64(h->incompat), .compat = to_be64(h->compat), .autoclear = to_be64(h->autoclear),
        .refcount_order = to_be32(h->refcount_order), .length = to_be32(sizeof(raw)),
        .compression = (uint8_t)h->compression, .backing_len = to_be32((uint32_t)name),
        .crypt_method = to_be32(h->crypt_method),
    };

    g_byte_array_append(out, (const uint8_t *)&raw, h->version >= 3 ? sizeof(raw) : HEADER_V2);
    if (h->backing_format) {
        put_extension(out, EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
    }
    if (h->crypt_method == QCOW2_CRYPT_LUKS) {
        RawCrypt crypt = { to_be64(h->crypt_off), to_be64(h->crypt_size) };

        put_extension(out, EXT_CRYPT, &crypt, sizeof(crypt));
    }
    if (h->data_file) {
        put_extension(out, EXT_DATA_FILE, h->data_file, strlen(h->data_file));
    }
    if (h->version >= 3 && out->len + 8 * 48 + 16 + name <= UINT64_C(1) << h->cluster_bits) {
        put_features(out);
    }
    put_extension(out, EXT_END, NULL, 0);
    if (name) {
        ((RawHeader *)out->data)->backing_off = to_be64(out->len);
        g_byte_array_append(out, (const uint8_t *)h->backing_file, (guint)name);
    }
    if (out->len > UINT64_C(1) << h->cluster_bits || name > 1023) {
        return -ENAMETOOLONG;
    }
    /* What says that it is an image comes last. */
    int ret = blk_pwrite(file, SECTOR, out->data + MIN(out->len, SECTOR), out->len - MIN(out->len, SECTOR));
    ret = ret < 0 ? ret : blk_pflush(file);
    return ret < 0 ? ret : blk_pwrite(file, 0, out->data, MIN(out->len, SECTOR));
}

/* Appends the extensions of the header cluster @head, which begin at @at, but for those of @type and @spare
 * (EXT_END: none). */
static void copy_extensions(GByteArray *out, const uint8_t *head, uint64_t cluster, uint64_t at,
                            uint32_t type, uint32_t spare)
{
    uint64_t name_at = be64(((const RawHeader *)head)->backing_off), end = name_at ? name_at : cluster;

    while (at + 8 <= end) {
        uint32_t have = be32(*(const Be32 *)(head + at)), have_len = be32(*(const Be32 *)(head + at + 4));

        if (have == EXT_END || have_len > end - at - 8) {
            break;
        }
        if (have != type && have != spare) {
            put_extension(out, have, head + at + 8, have_len);
        }
        at = ALIGN_UP(at + 8 + have_len, 8);
    }
}

/* Ends the extensions of @out and has the backing file's name of @head follow. */
static void put_end(GByteArray *out, const uint8_t *head)
{
    const RawHeader *old = (const RawHeader *)head;
    uint64_t name_at = be64(old->backing_off);

    put_extension(out, EXT_END, NULL, 0);
    if (name_at) {
        ((RawHeader *)out->data)->backing_off = to_be64(out->len);
        g_byte_array_append(out, head + name_at, be32(old->backing_len));
    }
}

/* The header cluster @head with extension @type replaced, or without it (@len 0), and without those of type
 * @spare (EXT_END: none). */
static GByteArray *replaced(const uint8_t *head, uint64_t cluster, uint32_t length, uint32_t type,
                            const void *data, size_t len, uint32_t spare)
{
    GByteArray *out = g_byte_array_new();

    g_byte_array_append(out, head, length);
    copy_extensions(out, head, cluster, length, type, spare);
    if (len) {
        put_extension(out, type, data, len);
    }
    put_end(out, head);
    return out;
}

/* The same; where there is no room for the names of features, they are left out.  NULL: there is none even
 * so. */
static GByteArray *with_extension(const uint8_t *head, uint64_t cluster, uint32_t length, uint32_t type,
                                  const void *data, size_t len)
{
    g_autoptr(GByteArray) out = replaced(head, cluster, length, type, data, len, EXT_END);

    if (out->len > cluster) {
        g_byte_array_unref(out);
        out = replaced(head, cluster, length, type, data, len, EXT_FEATURES);
    }
    return out->len <= cluster ? g_steal_pointer(&out) : NULL;
}

/* Where the extensions of the header cluster @head end that begin at @at, the one that ends them included. */
static uint64_t extensions_end(const uint8_t *head, uint64_t cluster, uint64_t at)
{
    uint64_t name_at = be64(((const RawHeader *)head)->backing_off), end = name_at ? name_at : cluster;

    while (at + 8 <= end && be32(*(const Be32 *)(head + at)) != EXT_END) {
        at = ALIGN_UP(at + 8 + be32(*(const Be32 *)(head + at + 4)), 8);
    }
    return MIN(at + 8, end);
}

/* A place for @len bytes of a name in sectors of the header cluster @old that it has nothing in, at or after
 * @from, a sector's start. */
static uint64_t name_place(const uint8_t *old, uint64_t cluster, uint64_t length, uint64_t from, uint64_t len)
{
    const RawHeader *raw = (const RawHeader *)old;
    uint64_t name = be64(raw->backing_off), end = ALIGN_UP(name + be32(raw->backing_len), SECTOR);
    uint64_t at = MAX(from, ALIGN_UP(extensions_end(old, cluster, length), SECTOR));

    return name && at < end && ALIGN_DOWN(name, SECTOR) < at + len ? MAX(at, end) : at;
}

/* Writes sectors [@from, @to) of @bytes, which has @len; durable. */
static int put_sectors(BlkNode *n, const uint8_t *bytes, uint64_t len, uint64_t from, uint64_t to)
{
    g_autofree uint8_t *whole = g_malloc0(to);

    memcpy(whole, bytes, MIN(len, to));
    int ret = from < to ? blk_pwrite(n->child, from, whole + from, to - from) : 0;
    return ret < 0 ? ret : blk_pflush(n->child);
}

int qcow2_header_put(BlkNode *n, const uint8_t *old, uint32_t length, GByteArray *new)
{
    const Qcow2 *q = n->state;
    RawHeader *raw = (RawHeader *)new->data;
    uint64_t name = be64(raw->backing_off), name_len = name ? be32(raw->backing_len) : 0;
    uint32_t fixed = be32(raw->version) >= 3 ? be32(raw->length) : HEADER_V2;
    uint64_t end = extensions_end(new->data, new->len, fixed);
    uint64_t full = ALIGN_UP(end, SECTOR), room = ALIGN_UP(name_len, SECTOR);
    g_autoptr(GByteArray) small = g_byte_array_new();

    if (new->len <= SECTOR) {
        return put_sectors(n, new->data, new->len, 0, SECTOR);
    }
    uint64_t at = name_place(old, q->cluster, length, full, room);
    g_byte_array_append(small, new->data, fixed);
    copy_extensions(small, new->data, new->len, fixed, EXT_FEATURES, EXT_END);
    put_extension(small, EXT_END, NULL, 0);
    if (small->len > SECTOR || at + room > q->cluster) {       /* not to be had in one sector */
        return put_sectors(n, new->data, new->len, 0, ALIGN_UP(new->len, SECTOR));
    }
    g_autofree uint8_t *text = g_memdup2(new->data + name, name_len + !name_len);
    raw->backing_off = ((RawHeader *)small->data)->backing_off = to_be64(name ? at : 0);
    g_byte_array_set_size(new, (guint)end);
    g_autofree uint8_t *padded = g_malloc0(room + 1);
    memcpy(padded, text, name_len);
    int ret = name ? blk_pwrite(n->child, at, padded, room) : 0;
    ret = ret < 0 ? ret : blk_pflush(n->child);
    ret = ret < 0 ? ret : put_sectors(n, small->data, small->len, 0, SECTOR);
    ret = ret < 0 || end <= SECTOR ? ret : put_sectors(n, new->data, end, SECTOR, full);
    return ret < 0 ? ret : put_sectors(n, new->data, end, 0, SECTOR);
}

int qcow2_header_set_data_file(BlkNode *n, const char *name)
{
    Qcow2 *q = n->state;
    g_autofree uint8_t *head = g_malloc0(q->cluster);
    g_autoptr(GByteArray) new = NULL;
    int ret = blk_pread(n->child, 0, head, q->cluster);

    if (ret < 0) {
        return ret;
    }
    new = with_extension(head, q->cluster, q->h.length, EXT_DATA_FILE, name, strlen(name));
    ret = new ? qcow2_header_put(n, head, q->h.length, new) : -ENOSPC;
    if (ret == 0) {
        g_free(q->h.data_file);
        q->h.data_file = *name ? g_strdup(name) : NULL;
    }
    return ret;
}

int qcow2_header_set_version(BlkNode *n, uint32_t version)
{
    Qcow2 *q = n->state;
    g_autofree uint8_t *head = g_malloc0(q->cluster);
    g_autoptr(GByteArray) out = g_byte_array_new();
    RawHeader raw = { .refcount_order = to_be32(4), .length = to_be32(sizeof(raw)) };
    int ret = blk_pread(n->child, 0, head, q->cluster);

    if (ret < 0) {
        return ret;
    }
    memcpy(&raw, head, HEADER_V2);
    raw.version = to_be32(version);
    g_byte_array_append(out, (const uint8_t *)&raw, version >= 3 ? sizeof(raw) : HEADER_V2);
    copy_extensions(out, head, q->cluster, q->h.length, EXT_FEATURES, EXT_END);
    if (version >= 3 && out->len + 8 * 48 + 16 + be32(raw.backing_len) <= q->cluster) {
        put_features(out);
    }
    put_end(out, head);
    if (out->len > q->cluster) {
        return -ENOSPC;
    }
    ret = qcow2_header_put(n, head, q->h.length, out);
    if (ret == 0) {
        q->h.version = version;
        q->h.length = version >= 3 ? sizeof(raw) : HEADER_V2;
        q->h.incompat = q->h.compat = q->h.autoclear = 0;
        n->limits.can_zero = version >= 3;
    }
    return ret;
}

int qcow2_header_set_bitmaps(BlkNode *n, const Qcow2Header *want)
{
    Qcow2 *q = n->state;
    RawBitmaps raw = { to_be32(want->bitmaps), to_be32(0), to_be64(want->bitmaps_size),
                       to_be64(want->bitmaps_off) };
    g_autofree uint8_t *head = g_malloc0(q->cluster);
    g_autoptr(GByteArray) new = NULL;
    Qcow2Header h = q->h;

    /* Without the bit nobody takes the extension for true while it changes. */
    h.autoclear &= ~(uint64_t)QCOW2_AUTOCLEAR_BITMAPS;
    int ret = qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pread(n->child, 0, head, q->cluster);
    if (ret == 0) {
        new = with_extension(head, q->cluster, h.length, EXT_BITMAPS, &raw, want->bitmaps ? sizeof(raw) : 0);
        ret = new ? qcow2_header_put(n, head, h.length, new) : -ENOSPC;
    }
    h.bitmaps = want->bitmaps;
    h.bitmaps_off = want->bitmaps_off;
    h.bitmaps_size = want->bitmaps_size;
    h.autoclear |= h.bitmaps ? QCOW2_AUTOCLEAR_BITMAPS : 0;
    ret = ret < 0 || !h.bitmaps ? ret : qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    if (ret == 0) {
        q->h = h;
    }
    return ret;
}

int qcow2_header_update(BlkNode *file, const Qcow2Header *h)
{
    RawHeader raw;
    size_t len = h->version >= 3 ? HEADER_V3 : HEADER_V2;
    int ret = blk_pread(file, 0, &raw, len);

    if (ret < 0) {
        return ret;
    }
    raw.size = to_be64(h->size);
    raw.l1_size = to_be32(h->l1_size);
    raw.l1_off = to_be64(h->l1_off);
    raw.rt_off = to_be64(h->rt_off);
    raw.rt_clusters = to_be32(h->rt_clusters);
    raw.snapshots = to_be32(h->snapshots);
    raw.snapshots_off = to_be64(h->snapshots_off);
    if (h->version >= 3) {
        raw.incompat = to_be64(h->incompat);
        raw.compat = to_be64(h->compat);
        raw.autoclear = to_be64(h->autoclear);
        raw.refcount_order = to_be32(h->refcount_order);
    }
    return blk_pwrite(file, 0, &raw, len);
}
