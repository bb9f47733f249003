/* qcow2-snapshot.c: internal snapshots: further L1 tables of the same file, with a name and a time.
 *
 * 1. The caller sees to it that no request is in flight; the functions run wherever host I/O may.
 * 2. What a snapshot maps is counted once more for it, and not written in place: no COPIED flag is set where
 *    the count is not one.
 * 3. Whatever cuts an operation off, the header names the old table of snapshots or the new one; counts go
 *    up before that and down after it, so what is left is a leak at worst. */
#include <errno.h>
#include <inttypes.h>
#include "block/qcow2-int.h"
#include "util/bytes.h"

#define L1_MAX_BYTES (32 * MiB)
#define SNAPSHOTS_MAX 65536
#define TABLE_MAX_BYTES (64 * MiB)
#define EXTRA_MAX 1024

typedef struct RawSnapshot {
    Be64 l1_off;
    Be32 l1_size;
    Be16 id_len, name_len;
    Be32 sec, nsec;
    Be64 vm_clock;
    Be32 vm_state_size, extra_len;
} RawSnapshot;

typedef struct RawExtra {
    Be64 vm_state_size, disk_size, icount;
} RawExtra;

G_STATIC_ASSERT(sizeof(RawSnapshot) == 40 && sizeof(RawExtra) == 24);

/* --- the table of snapshots --- */

void qcow2_snapshot_clear(Qcow2Snapshot *s)
{
    blk_snapshot_clear(&s->info);
    g_clear_pointer(&s->extra, g_free);
}

static void read_extra(Qcow2Snapshot *s)
{
    RawExtra x = { 0 };

    if (s->extra_len) {
        memcpy(&x, s->extra, MIN(s->extra_len, sizeof(x)));
    }
    if (s->extra_len >= 8) {
        s->info.vm_state_size = be64(x.vm_state_size);
    }
    s->info.has_disk_size = s->extra_len >= 16;
    s->info.disk_size = be64(x.disk_size);
    s->info.icount = s->extra_len >= 24 ? be64(x.icount) : UINT64_MAX;
}

int qcow2_snapshot_read(BlkNode *n, uint64_t *at, Qcow2Snapshot *s)
{
    RawSnapshot raw;
    int ret = blk_pread(n->child, *at, &raw, sizeof(raw));
    uint32_t id_len, name_len;

    *s = (Qcow2Snapshot){ 0 };
    if (ret < 0 || be32(raw.extra_len) > EXTRA_MAX) {
        return ret < 0 ? ret : -EINVAL;
    }
    id_len = be16(raw.id_len);
    name_len = be16(raw.name_len);
    s->l1_off = be64(raw.l1_off);
    s->l1_size = be32(raw.l1_size);
    s->extra_len = be32(raw.extra_len);
    s->info = (BlkSnapshot){
        .id = g_malloc0(id_len + 1), .name = g_malloc0(name_len + 1), .date_sec = be32(raw.sec),
        .date_nsec = be32(raw.nsec), .vm_clock_ns = be64(raw.vm_clock),
        .vm_state_size = be32(raw.vm_state_size),
    };
    s->extra = g_malloc(s->extra_len);
    *at += sizeof(raw);
    ret = blk_pread(n->child, *at, s->extra, s->extra_len);
    *at += s->extra_len;
    ret = ret < 0 ? ret : blk_pread(n->child, *at, s->info.id, id_len);
    *at += id_len;
    ret = ret < 0 ? ret : blk_pread(n->child, *at, s->info.name, name_len);
    *at = ALIGN_UP(*at + name_len, 8);
    if (ret < 0) {
        qcow2_snapshot_clear(s);
        return ret;
    }
    read_extra(s);
    return 0;
}

static void clear_one(void *s)
{
    qcow2_snapshot_clear(s);
}

static GArray *table_new(void)
{
    GArray *a = g_array_new(false, false, sizeof(Qcow2Snapshot));

    g_array_set_clear_func(a, clear_one);
    return a;
}

GArray *qcow2_snapshots_read(BlkNode *n, Error **errp)
{
    const Qcow2Header *h = &((Qcow2 *)n->state)->h;
    uint64_t at = h->snapshots_off;
    g_autoptr(GArray) a = table_new();

    for (uint32_t i = 0; i < h->snapshots; i++) {
        Qcow2Snapshot s;
        int ret = at - h->snapshots_off <= TABLE_MAX_BYTES ? qcow2_snapshot_read(n, &at, &s) : -EINVAL;

        if (ret < 0) {
            error_set_errno(errp, -ret, "Could not read entry %u of the snapshot table at %#" PRIx64, i,
                            h->snapshots_off);
            return NULL;
        }
        g_array_append_val(a, s);
    }
    return g_steal_pointer(&a);
}

static const Qcow2Snapshot *nth(const GArray *a, unsigned i)
{
    return &g_array_index(a, Qcow2Snapshot, i);
}

static void put_one(GByteArray *out, const Qcow2Snapshot *s)
{
    static const uint8_t zeroes[8];
    const BlkSnapshot *i = &s->info;
    size_t id_len = strlen(i->id), name_len = strlen(i->name);
    RawExtra x = { to_be64(i->vm_state_size), to_be64(i->disk_size), to_be64(i->icount) };
    RawSnapshot raw = {
        .l1_off = to_be64(s->l1_off), .l1_size = to_be32(s->l1_size), .id_len = to_be16((uint16_t)id_len),
        .name_len = to_be16((uint16_t)name_len), .sec = to_be32((uint32_t)i->date_sec),
        .nsec = to_be32(i->date_nsec), .vm_clock = to_be64(i->vm_clock_ns),
        .vm_state_size = to_be32((uint32_t)i->vm_state_size),
        .extra_len = to_be32(s->extra ? s->extra_len : sizeof(x)),
    };

    g_byte_array_append(out, (const uint8_t *)&raw, sizeof(raw));
    g_byte_array_append(out, s->extra ? s->extra : (const uint8_t *)&x, be32(raw.extra_len));
    g_byte_array_append(out, (const uint8_t *)i->id, (unsigned)id_len);
    g_byte_array_append(out, (const uint8_t *)i->name, (unsigned)name_len);
    g_byte_array_append(out, zeroes, -out->len & 7);
}

int qcow2_place_locked(BlkNode *n, const void *data, uint64_t bytes, uint64_t *at) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t clusters = DIV_ROUND_UP(bytes, q->cluster);
    g_autofree uint8_t *whole = g_try_malloc0(clusters * q->cluster + 1);
    int ret = whole ? 0 : -ENOMEM;

    *at = 0;
    if (ret < 0 || !clusters) {
        return ret;
    }
    memcpy(whole, data, bytes);
    ret = qcow2_alloc_locked(n, clusters, at);
    if (ret < 0) {
        return ret;
    }
    lock_drop(&q->lock);
    ret = blk_pwrite(n->child, *at, whole, clusters * q->cluster);
    lock_take(&q->lock);
    return ret;
}

int qcow2_unplace_locked(BlkNode *n, uint64_t at, uint64_t bytes, GArray *last)
{
    Qcow2 *q = n->state;

    return at ? qcow2_refcount_drop_locked(n, at, DIV_ROUND_UP(bytes, q->cluster), last) : 0;
}

/* All metadata of now is on disk, and then what @want says of size, active L1 table and snapshots. */
static int switch_header(BlkNode *n, const Qcow2Header *want)
{
    Qcow2 *q = n->state;
    int ret = qcow2_flush_meta(n, true);
    Qcow2Header h = q->h;

    h.size = want->size;
    h.l1_off = want->l1_off;
    h.l1_size = want->l1_size;
    h.snapshots = want->snapshots;
    h.snapshots_off = want->snapshots_off;
    ret = ret < 0 ? ret : blk_pflush(n->child);
    ret = ret < 0 ? ret : qcow2_header_update(n->child, &h);
    ret = ret < 0 ? ret : blk_pflush(n->child);
    if (ret == 0) {
        lock_take(&q->lock);
        q->h = h;
        lock_drop(&q->lock);
    }
    return ret;
}

static GByteArray *table_encode(const GArray *a)
{
    GByteArray *out = g_byte_array_new();

    for (unsigned i = 0; i < a->len; i++) {
        put_one(out, nth(a, i));
    }
    return out;
}

/* Makes @a the file's snapshots; @old: the table there is now. */
static int table_write(BlkNode *n, const GArray *a, const GByteArray *old)
{
    Qcow2 *q = n->state;
    g_autoptr(GByteArray) out = table_encode(a);
    Qcow2Header h = q->h;
    uint64_t old_off = h.snapshots_off;

    if (out->len > TABLE_MAX_BYTES) {
        return -EFBIG;
    }
    h.snapshots = a->len;
    lock_take(&q->lock);
    int ret = qcow2_place_locked(n, out->data, out->len, &h.snapshots_off);
    lock_drop(&q->lock);
    ret = ret < 0 ? ret : switch_header(n, &h);
    lock_take(&q->lock);
    ret = ret < 0 ? ret : qcow2_unplace_locked(n, old->len ? old_off : 0, old->len, NULL);
    lock_drop(&q->lock);
    return ret;
}

bool qcow2_snapshots_complete(BlkNode *n, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = qcow2_snapshots_read(n, errp);
    bool whole = true;

    if (!a) {
        return false;
    }
    g_autoptr(GByteArray) old = table_encode(a);
    for (unsigned i = 0; i < a->len; i++) {
        Qcow2Snapshot *s = &g_array_index(a, Qcow2Snapshot, i);

        if (!s->info.has_disk_size) {
            g_clear_pointer(&s->extra, g_free);
            s->info.disk_size = q->h.size;
            whole = false;
        }
    }
    int ret = whole ? 0 : table_write(n, a, old);
    return ret == 0 || error_set_errno(errp, -ret, "Could not write the snapshot table");
}

/* --- what an L1 table maps --- */

typedef struct Sweep {
    BlkNode *n;
    int by;                    /* added to the count of all that is mapped: -1, 0, 1 */
    GArray *last;              /* with -1: as in qcow2_refcount_drop_locked() */
    bool flags;                /* COPIED is made to say what is true then */
    bool ask;                  /* only: could one be added? -ERANGE if not */
} Sweep;

static int sweep_clusters_locked(const Sweep *w, uint64_t host, uint64_t count, bool *copied)
{
    Qcow2 *q = w->n->state;
    uint64_t refs = 0;
    int ret = w->by < 0 ? qcow2_refcount_drop_locked(w->n, host, count, w->last)
                        : w->by ? qcow2_refcount_add_locked(w->n, host, count, w->by) : 0;

    if (ret == 0 && (w->flags || w->ask)) {
        ret = qcow2_refcount_get_locked(w->n, host, &refs);
        *copied = w->flags ? refs == 1 : *copied;
    }
    for (uint64_t i = 1; ret == 0 && w->ask && i < count; i++) {
        uint64_t more = 0;

        ret = qcow2_refcount_get_locked(w->n, host + i * q->cluster, &more);
        refs = MAX(refs, more);
    }
    return ret == 0 && w->ask && refs >= qcow2_count_max(q) ? -ERANGE : ret;
}

static int sweep_entry_locked(const Sweep *w, Slice *s, uint64_t i)
{
    Qcow2 *q = w->n->state;
    Be64 *at = (Be64 *)(s->data + i * q->entry_size);
    uint64_t entry = be64(*at), host = entry & QCOW2_OFFSET;
    bool copied = entry & QCOW2_COPIED;
    int ret;

    if (entry & QCOW2_COMPRESSED) {
        uint64_t first, count;

        qcow2_packed_clusters(q, entry, &first, &count);
        return sweep_clusters_locked(w, first, count, &copied);
    }
    if (!host) {
        return 0;
    }
    if (host % q->cluster) {
        return -EUCLEAN;
    }
    ret = sweep_clusters_locked(w, host, 1, &copied);
    if (ret == 0 && copied != !!(entry & QCOW2_COPIED)) {
        qcow2_slice_change_locked(q, s);
        at = (Be64 *)(s->data + i * q->entry_size);
        *at = to_be64(entry ^ QCOW2_COPIED);
    }
    return ret;
}

static int sweep_l2_locked(const Sweep *w, uint64_t table)
{
    Qcow2 *q = w->n->state;
    int ret = 0;

    for (uint64_t off = 0; ret == 0 && off < q->cluster; off += q->cache.slice_bytes) {
        Slice *s;

        ret = qcow2_slice_get_locked(w->n, SLICE_L2, table + off, &s);
        if (ret < 0) {
            break;
        }
        for (uint64_t i = 0; ret == 0 && i < q->cache.slice_bytes / q->entry_size; i++) {
            ret = sweep_entry_locked(w, s, i);
        }
        qcow2_slice_unpin(s);
    }
    return ret;
}

/* Flushes when half the cache is dirty: counts are written before the flags that go with them. */
int qcow2_keep_bounded_locked(BlkNode *n) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    int ret = 0;

    if (q->cache.dirty > q->cache.max / 2) {
        lock_drop(&q->lock);
        ret = qcow2_flush_tables(n);
        lock_take(&q->lock);
    }
    return ret;
}

/* Goes through all that @l1 maps; with flags, @l1 is the active one. */
static int sweep_locked(const Sweep *w, uint64_t *l1, uint64_t size)
{
    Qcow2 *q = w->n->state;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < size; i++) {
        uint64_t table = l1[i] & QCOW2_OFFSET;
        bool copied = l1[i] & QCOW2_COPIED;

        if (!table) {
            continue;
        }
        ret = table % q->cluster ? -EUCLEAN : sweep_l2_locked(w, table);
        ret = ret < 0 ? ret : sweep_clusters_locked(w, table, 1, &copied);
        if (ret == 0 && copied != !!(l1[i] & QCOW2_COPIED)) {
            l1[i] ^= QCOW2_COPIED;
            q->l1_dirty[i / 64] = q->any_l1_dirty = true;
        }
        ret = ret < 0 ? ret : qcow2_keep_bounded_locked(w->n);
    }
    return ret;
}

static int sweep(BlkNode *n, Sweep w, uint64_t *l1, uint64_t size)
{
    Qcow2 *q = n->state;

    w.n = n;
    lock_take(&q->lock);
    int ret = sweep_locked(&w, l1, size);
    lock_drop(&q->lock);
    return ret;
}

/* Whether all that @l1 maps can be counted once more; few bits do not go far. */
static int sweep_ask(BlkNode *n, uint64_t *l1, uint64_t size)
{
    const Qcow2 *q = n->state;

    return q->h.refcount_order < 5 ? sweep(n, (Sweep){ .ask = true }, l1, size) : 0;
}

uint64_t *qcow2_snapshot_l1(BlkNode *n, const Qcow2Snapshot *s, uint64_t least, Error **errp)
{
    const Qcow2 *q = n->state;
    uint64_t size = s->l1_size;

    if (size * 8 > L1_MAX_BYTES || s->l1_off % q->cluster || (size && !s->l1_off) ||
        !fits(s->l1_off, size * 8, q->grow_from)) {
        error_set(errp, "Snapshot '%s': the L1 table at %#" PRIx64 " with %" PRIu64
                  " entries is not in the file", s->info.name, s->l1_off, size);
        return NULL;
    }
    uint64_t *l1 = g_new0(uint64_t, MAX(size, least) + 1);
    int ret = size ? blk_pread(n->child, s->l1_off, l1, size * 8) : 0;
    if (ret < 0) {
        error_set_errno(errp, -ret, "Snapshot '%s': could not read the L1 table", s->info.name);
        g_free(l1);
        return NULL;
    }
    for (uint64_t i = 0; i < size; i++) {
        l1[i] = be64toh(l1[i]);
    }
    return l1;
}

/* A new place with the table @l1, no flags set. */
static int l1_place(BlkNode *n, const uint64_t *l1, uint64_t size, uint64_t *at)
{
    Qcow2 *q = n->state;
    g_autofree Be64 *copy = g_new(Be64, size + 1);

    for (uint64_t i = 0; i < size; i++) {
        copy[i] = to_be64(l1[i] & QCOW2_OFFSET);
    }
    lock_take(&q->lock);
    int ret = qcow2_place_locked(n, copy, size * 8, at);
    lock_drop(&q->lock);
    return ret;
}

/* --- the driver's callbacks --- */

static bool list(BlkNode *n, GArray **out, Error **errp)
{
    GArray *a = qcow2_snapshots_read(n, errp);

    if (!a) {
        return false;
    }
    *out = blk_snapshots_new();
    for (unsigned i = 0; i < a->len; i++) {
        Qcow2Snapshot *s = &g_array_index(a, Qcow2Snapshot, i);

        g_array_append_val(*out, s->info);
        s->info = (BlkSnapshot){ 0 };
    }
    g_array_unref(a);
    return true;
}

static bool can_change(BlkNode *n, Error **errp)
{
    const Qcow2 *q = n->state;

    if (q->external) {
        return error_set(errp, "Node '%s': no internal snapshots with an external data file", n->name);
    }
    return !q->corrupt || error_set(errp, "Image '%s' is corrupt; cannot be changed", blk_filename(n));
}

static bool failed(int ret, const char *what, const char *name, Error **errp)
{
    if (ret == -ERANGE) {
        error_set(errp, "Could not %s snapshot '%s': a reference count would be larger than its width allows",
                  what, name);
        return error_hint(errp, "Use an image with a larger refcount_bits.");
    }
    return error_set_errno(errp, -ret, "Could not %s snapshot '%s'", what, name);
}

/* One more than the largest number that is an id. */
static char *next_id(const GArray *a)
{
    uint64_t max = 0;

    for (unsigned i = 0; i < a->len; i++) {
        max = MAX(max, g_ascii_strtoull(nth(a, i)->info.id, NULL, 10));
    }
    return g_strdup_printf("%" PRIu64, max + 1);
}

static bool create(BlkNode *n, const BlkSnapshot *info, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = can_change(n, errp) ? qcow2_snapshots_read(n, errp) : NULL;
    g_autoptr(GByteArray) old = a ? table_encode(a) : NULL;
    int ret;

    if (!a) {
        return false;
    }
    if (a->len >= SNAPSHOTS_MAX) {
        return error_set(errp, "Node '%s' has %u snapshots, and there can be no more", n->name, a->len);
    }
    Qcow2Snapshot s = { .info = *info, .l1_size = q->h.l1_size };
    s.info.id = next_id(a);
    s.info.name = g_strdup(info->name);
    s.info.disk_size = q->h.size;
    g_array_append_val(a, s);
    ret = qcow2_flush_meta(n, true);
    ret = ret < 0 ? ret : sweep_ask(n, q->l1, q->h.l1_size);
    ret = ret < 0 ? ret : l1_place(n, q->l1, s.l1_size, &g_array_index(a, Qcow2Snapshot, a->len - 1).l1_off);
    ret = ret < 0 ? ret : sweep(n, (Sweep){ .by = 1, .flags = true }, q->l1, q->h.l1_size);
    ret = ret < 0 ? ret : table_write(n, a, old);
    return ret == 0 || failed(ret, "create", info->name, errp);
}

/* What @l1, @size entries at @off, maps loses a reference, and so does its place; on disk it is no snapshot's
 * and not the active table any more. */
static int l1_drop(BlkNode *n, uint64_t *l1, uint64_t size, uint64_t off)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) gone = g_array_new(false, false, sizeof(Freed));
    GArray *last = q->pass[BLK_FREED_SNAPSHOT] ? gone : NULL;
    int ret = sweep(n, (Sweep){ .by = -1, .last = last }, l1, size);

    lock_take(&q->lock);
    ret = ret < 0 ? ret : qcow2_unplace_locked(n, size ? off : 0, size * 8, last);
    ret = ret < 0 ? ret : qcow2_punch_locked(n, gone);
    lock_drop(&q->lock);
    return ret;
}

static bool delete(BlkNode *n, unsigned at, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = can_change(n, errp) ? qcow2_snapshots_read(n, errp) : NULL;
    g_autoptr(GByteArray) old = a ? table_encode(a) : NULL;

    if (!a) {
        return false;
    }
    g_autofree char *name = g_strdup(nth(a, at)->info.name);
    uint64_t size = nth(a, at)->l1_size, off = nth(a, at)->l1_off;
    g_autofree uint64_t *l1 = qcow2_snapshot_l1(n, nth(a, at), 0, errp);
    if (!l1) {
        return false;
    }
    g_array_remove_index(a, at);
    int ret = table_write(n, a, old);
    ret = ret < 0 ? ret : l1_drop(n, l1, size, off);
    ret = ret < 0 ? ret : sweep(n, (Sweep){ .flags = true }, q->l1, q->h.l1_size);
    ret = ret < 0 ? ret : qcow2_flush_meta(n, true);
    return ret == 0 || failed(ret, "delete", name, errp);
}

/* @l1 with @size entries at @off, taken, is the active table from now on; *@old is what was. */
static void l1_swap(Qcow2 *q, uint64_t **l1, uint64_t size, uint64_t **old)
{
    lock_take(&q->lock);
    *old = q->l1;
    q->l1 = g_steal_pointer(l1);
    g_free(q->l1_dirty);
    q->l1_dirty = g_new0(bool, size / 64 + 1);
    q->any_l1_dirty = false;
    lock_drop(&q->lock);
}

/* The size of @s and its L1 table, owned by the caller, with the entries that the size needs. */
static uint64_t *l1_for_size(BlkNode *n, const Qcow2Snapshot *s, Qcow2Header *h, Error **errp)
{
    const Qcow2 *q = n->state;

    h->size = s->info.has_disk_size ? s->info.disk_size : q->h.size;
    uint64_t entries = h->size >> (q->cluster_bits + q->l2_bits);
    entries += entries << (q->cluster_bits + q->l2_bits) < h->size;
    entries = MAX(entries, s->l1_size);
    if (h->size > (uint64_t)INT64_MAX - q->cluster || entries * 8 > L1_MAX_BYTES) {
        error_set(errp, "Snapshot '%s': disk size %" PRIu64 " is too big", s->info.name, h->size);
        return NULL;
    }
    h->l1_size = (uint32_t)entries;
    return qcow2_snapshot_l1(n, s, h->l1_size, errp);
}

static void l1_mask(uint64_t *l1, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        l1[i] &= QCOW2_OFFSET;
    }
}

static bool show(BlkNode *n, unsigned at, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = qcow2_snapshots_read(n, errp);
    g_autofree uint64_t *l1 = a ? l1_for_size(n, nth(a, at), &q->h, errp) : NULL;
    g_autofree uint64_t *old = NULL;

    if (!l1) {
        return false;
    }
    l1_mask(l1, q->h.l1_size);
    l1_swap(q, &l1, q->h.l1_size, &old);
    blk_set_size(n, ALIGN_UP(q->h.size, 512));
    return true;
}

static bool apply(BlkNode *n, unsigned at, Error **errp)
{
    Qcow2 *q = n->state;
    g_autoptr(GArray) a = can_change(n, errp) ? qcow2_snapshots_read(n, errp) : NULL;
    const Qcow2Snapshot *s = a ? nth(a, at) : NULL;
    Qcow2Header h = q->h;
    g_autofree uint64_t *old = NULL;
    g_autofree uint64_t *l1 = s ? l1_for_size(n, s, &h, errp) : NULL;

    if (!l1) {
        return false;
    }
    int ret = qcow2_flush_meta(n, true);
    ret = ret < 0 ? ret : sweep_ask(n, l1, s->l1_size);
    ret = ret < 0 ? ret : sweep(n, (Sweep){ .by = 1 }, l1, s->l1_size);
    ret = ret < 0 ? ret : l1_place(n, l1, h.l1_size, &h.l1_off);
    uint64_t old_off = q->h.l1_off, old_size = q->h.l1_size;
    ret = ret < 0 ? ret : switch_header(n, &h);
    if (ret < 0) {
        return failed(ret, "apply", s->info.name, errp);
    }
    l1_mask(l1, h.l1_size);
    l1_swap(q, &l1, h.l1_size, &old);
    ret = l1_drop(n, old, old_size, old_off);
    ret = ret < 0 ? ret : sweep(n, (Sweep){ .flags = true }, q->l1, q->h.l1_size);
    ret = ret < 0 ? ret : qcow2_flush_meta(n, true);
    blk_set_size(n, ALIGN_UP(q->h.size, 512));
    return ret == 0 || failed(ret, "apply", s->info.name, errp);
}

const BlkSnapshotOps qcow2_snapshot_ops = {
    .list = list, .create = create, .delete = delete, .apply = apply, .show = show,
};
