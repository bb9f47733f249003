/* qcow2-map.c: from guest offsets to places in the file, and how that mapping changes.
 *
 * 1. A unit is what is mapped on its own: a cluster, or with extended L2 entries a subcluster.
 * 2. A write into space of its own goes straight through.  Everything else is a Change: begun by
 *    resolve, ended by commit when the data landed; its clusters are changed by nobody else
 *    meanwhile, who waits for it (-EINPROGRESS).
 * 3. New clusters that will read as zeroes but for what is written (nothing below, a run of zeroes)
 *    need no copying, so requests share the Change and write side by side.
 * 4. Only resolve_slow touches L1 or waits for metadata: an L2 table is there and our own before a
 *    Change is begun, and its slice is pinned until that ends. */
#include <errno.h>
#include <inttypes.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

typedef enum Unit {
    UNIT_NONE,                 /* below, or zeroes */
    UNIT_ZERO,
    UNIT_DATA,
    UNIT_COMPRESSED,
} Unit;

/* An L2 entry, decoded. */
typedef struct Entry {
    uint64_t raw, host;
    uint64_t subs;             /* extended: bits 0 to 31 allocated, 32 to 63 zero */
    bool there;                /* it has a place: @host */
    bool own;                  /* which may be written in place */
} Entry;

static uint64_t in_cluster(const Qcow2 *q, uint64_t pos)
{
    return pos & (q->cluster - 1);
}

static uint64_t unit_bytes(const Qcow2 *q)
{
    return UINT64_C(1) << q->unit_bits;
}

/* Where the L2 entry of guest cluster @g is in the file; 0: there is no table. */
static uint64_t entry_place(const Qcow2 *q, uint64_t g)
{
    uint64_t table = q->l1[g >> q->l2_bits] & QCOW2_OFFSET;

    return table ? table + (g & ((UINT64_C(1) << q->l2_bits) - 1)) * q->entry_size : 0;
}

/* Entries from @g's to the end of its slice. */
static uint64_t entries_left(const Qcow2 *q, uint64_t g)
{
    uint64_t per = q->cache.slice_bytes / q->entry_size;

    return per - g % per;
}

static uint8_t *entry_at(const Qcow2 *q, const Slice *s, uint64_t g)
{
    return s->data + g % (q->cache.slice_bytes / q->entry_size) * q->entry_size;
}

static Entry entry_read(const Qcow2 *q, const Slice *s, uint64_t g)
{
    const uint8_t *p = entry_at(q, s, g);
    Entry e = { .raw = be64(*(const Be64 *)p) };

    if (e.raw & QCOW2_COMPRESSED) {
        return e;
    }
    e.host = e.raw & QCOW2_OFFSET;
    e.there = e.host || (q->external && e.raw & QCOW2_COPIED);
    e.own = e.raw & QCOW2_COPIED && e.there;
    if (q->entry_size == 16) {
        e.subs = be64(*(const Be64 *)(p + 8));
    }
    return e;
}

static Unit unit_of(const Qcow2 *q, const Entry *e, uint64_t pos)
{
    if (e->raw & QCOW2_COMPRESSED) {
        return UNIT_COMPRESSED;
    }
    if (q->entry_size == 16) {
        unsigned i = (unsigned)(in_cluster(q, pos) >> q->unit_bits);

        return e->subs >> (QCOW2_SUBS + i) & 1 ? UNIT_ZERO : e->subs >> i & 1 ? UNIT_DATA : UNIT_NONE;
    }
    return e->raw & QCOW2_ZERO && q->h.version >= 3 ? UNIT_ZERO : e->there ? UNIT_DATA : UNIT_NONE;
}

/* True if [@at, @at + @len) of the image file has a table of tables in it. */
static bool is_table(const Qcow2 *q, uint64_t at, uint64_t len)
{
    return !q->external && ((at < q->h.l1_off + q->h.l1_size * 8 && q->h.l1_off < at + len) ||
                            (at < q->h.rt_off + q->rt_size * 8 && q->h.rt_off < at + len) || at < q->cluster);
}

/* A place that the entry of @pos should not have, for @len bytes of data. */
static bool place_bad(BlkNode *n, const Entry *e, uint64_t pos, uint64_t len)
{
    const Qcow2 *q = n->state;
    uint64_t at = e->host + (pos & (q->cluster - 1));

    if (e->host % q->cluster) {
        qcow2_corrupt_locked(n, "L2 entry of guest offset %#" PRIx64 ": data offset %#" PRIx64
                             " is not aligned "
                             "to a cluster", pos, e->host);
        return true;
    }
    if (is_table(q, at, len)) {
        qcow2_corrupt_locked(n, "L2 entry of guest offset %#" PRIx64 ": data offset %#" PRIx64
                             " overlaps the "
                             "header, the L1 table or the refcount table", pos, at);
        return true;
    }
    return false;
}

/* True if what is below [@pos, @pos + @len) reads as zeroes where this image has nothing. */
static bool nothing_below(const Qcow2 *q, uint64_t pos)
{
    return !q->backing || pos >= blk_size(q->backing);
}

/* --- reading --- */

/* How far from @pos on units of @kind go, host offsets following one another; at most @left bytes
 * and the slice. */
static uint64_t same_units(const Qcow2 *q, const Slice *s, uint64_t pos, uint64_t left, Unit kind, bool own)
{
    uint64_t g = pos >> q->cluster_bits;
    uint64_t end = MIN(pos + left, (g + entries_left(q, g)) << q->cluster_bits);
    Entry e = entry_read(q, s, g);
    uint64_t host = e.host, at = ALIGN_DOWN(pos, unit_bytes(q)) + unit_bytes(q);

    while (at < end) {
        if (in_cluster(q, at) == 0) {
            if (kind == UNIT_NONE && qcow2_partial_at(q, at >> q->cluster_bits)) {
                break;
            }
            host += q->cluster;
            e = entry_read(q, s, at >> q->cluster_bits);
            if ((kind == UNIT_DATA && e.host != host) || (own && !e.own)) {
                break;
            }
        }
        if (unit_of(q, &e, at) != kind) {
            break;
        }
        at += unit_bytes(q);
    }
    return MIN(at, end) - pos;
}

static void below(const Qcow2 *q, const BlkReq *r, Extent *e, uint64_t len)
{
    if (nothing_below(q, r->pos)) {
        *e = (Extent){ .is = q->backing ? EXT_ZERO : EXT_NONE, .len = len };
        return;
    }
    *e = (Extent){ .is = EXT_DATA, .node = q->backing, .off = r->pos,
                   .len = MIN(len, blk_size(q->backing) - r->pos) };
}

/* The place of @pos if it is in a part of a new cluster that is there, else 0; all of *@len is alike. */
static uint64_t partial_place(const Qcow2 *q, uint64_t pos, uint64_t *len)
{
    const Partial *p = qcow2_partial_at(q, pos >> q->cluster_bits);
    bool there = false;

    if (p) {
        *len = qcow2_partial_run(q, p, pos, *len, &there);
    }
    return there ? p->host + in_cluster(q, pos) : 0;
}

static int read_locked(BlkNode *n, const BlkReq *r, Extent *e, uint64_t *compressed)
{
    Qcow2 *q = n->state;
    uint64_t g = r->pos >> q->cluster_bits, place = entry_place(q, g);

    if (!place) {
        below(q, r, e, MIN(r->left, (((g >> q->l2_bits) + 1) << (q->l2_bits + q->cluster_bits)) - r->pos));
        return 0;
    }
    const Slice *s = qcow2_slice_find_locked(q, place);
    if (!s) {
        return -EAGAIN;
    }
    Entry entry = entry_read(q, s, g);
    Unit kind = unit_of(q, &entry, r->pos);
    if (kind == UNIT_COMPRESSED) {
        *compressed = entry.raw;
        return -EAGAIN;
    }
    uint64_t len = same_units(q, s, r->pos, r->left, kind, false);
    uint64_t partial = kind == UNIT_NONE ? partial_place(q, r->pos, &len) : 0;
    if (kind == UNIT_DATA && place_bad(n, &entry, r->pos, len)) {
        return -EIO;
    }
    if (partial) {
        *e = (Extent){ .is = EXT_DATA, .node = q->data, .off = partial, .len = len };
    } else if (kind == UNIT_DATA) {
        *e = (Extent){ .is = EXT_DATA, .node = q->data, .off = entry.host + in_cluster(q, r->pos),
                       .len = len };
    } else if (kind == UNIT_ZERO) {
        *e = (Extent){ .is = EXT_ZERO, .len = len };
    } else {
        below(q, r, e, len);
    }
    return 0;
}

/* What @pos is, from a slice in memory; -EAGAIN: it is not there. */
static int status_locked(BlkNode *n, uint64_t pos, uint64_t left, BlkStatus *s)
{
    Qcow2 *q = n->state;
    uint64_t g = pos >> q->cluster_bits, place = entry_place(q, g);

    *s = (BlkStatus){ .next = q->backing };
    if (!place) {
        s->len = MIN(left, (((g >> q->l2_bits) + 1) << (q->l2_bits + q->cluster_bits)) - pos);
        return 0;
    }
    const Slice *slice = qcow2_slice_find_locked(q, place);
    if (!slice) {
        return -EAGAIN;
    }
    Entry e = entry_read(q, slice, g);
    Unit kind = unit_of(q, &e, pos);
    s->len = same_units(q, slice, pos, left, kind, false);
    uint64_t partial = kind == UNIT_NONE ? partial_place(q, pos, &s->len) : 0;
    if (kind == UNIT_DATA && place_bad(n, &e, pos, s->len)) {
        return -EIO;
    }
    if (kind == UNIT_DATA || partial) {
        s->flags = BLK_STATUS_HERE | BLK_STATUS_DATA | BLK_STATUS_PLACE;
        s->file = q->data;
        s->place = partial ? partial : e.host + in_cluster(q, pos);
    } else if (kind == UNIT_COMPRESSED) {
        s->flags = BLK_STATUS_HERE | BLK_STATUS_DATA | BLK_STATUS_COMPRESSED;
    } else if (kind == UNIT_ZERO) {
        s->flags = BLK_STATUS_HERE | BLK_STATUS_ZERO;
        s->len = MIN(s->len, e.there ? q->cluster - in_cluster(q, pos) : s->len);
        if (e.there) {
            s->flags |= BLK_STATUS_PLACE;
            s->file = q->data;
            s->place = e.host + in_cluster(q, pos);
        }
    }
    return 0;
}

/* --- changes --- */

static Change *change_at(const Qcow2 *q, uint64_t first, uint64_t count)
{
    Change *c = q->changes;

    while (c && (c->first >= first + count || first >= c->first + c->count)) {
        c = c->next;
    }
    return c;
}

bool qcow2_changing(const Qcow2 *q, uint64_t g)
{
    return change_at(q, g, 1) != NULL;
}

static Change *change_new(Qcow2 *q, Slice *s, uint64_t first, uint64_t count, uint64_t host)
{
    Change *c = g_new0(Change, 1);

    *c = (Change){ .id = ++q->next_id, .first = first, .count = count, .host = host, .slice = s, .users = 1,
                   .next = q->changes };
    qcow2_slice_pin(s);
    q->changes = c;
    return c;
}

static void extent_of(const Qcow2 *q, Change *c, const BlkReq *r, uint64_t len, Extent *e)
{
    *e = (Extent){ .is = EXT_DATA, .node = q->data, .off = c->host + (r->pos - (c->first << q->cluster_bits)),
                   .len = len, .link = true, .cookie = (uintptr_t)c };
}

/* True if guest cluster @g reads as zeroes all over now. */
static bool reads_zero(const Qcow2 *q, const Entry *e, uint64_t g)
{
    uint64_t pos = g << q->cluster_bits;

    for (uint64_t at = 0; at < q->cluster; at += unit_bytes(q)) {
        Unit kind = unit_of(q, e, pos + at);

        if (kind != UNIT_ZERO && !(kind == UNIT_NONE && nothing_below(q, pos))) {
            return false;
        }
    }
    return true;
}

/* How much is copied around what is written: all of a cluster whose old contents are elsewhere. */
static uint64_t grain_of(const Qcow2 *q, const Entry *old)
{
    return old->raw & QCOW2_COMPRESSED || (old->there && !old->own) ? q->cluster : unit_bytes(q);
}

/* Writes into a cluster that has a place but not all of its units there. */
static int fill_own_locked(Qcow2 *q, Slice *s, const BlkReq *r, const Entry *entry, Extent *e)
{
    uint64_t g = r->pos >> q->cluster_bits;
    Unit kind = unit_of(q, entry, r->pos);
    uint64_t end = r->pos + MIN(r->left, q->cluster - in_cluster(q, r->pos));
    uint64_t at = ALIGN_DOWN(r->pos, unit_bytes(q)) + unit_bytes(q);

    while (at < end && unit_of(q, entry, at) == kind) {
        at += unit_bytes(q);
    }
    end = MIN(at, end);
    Change *c = change_new(q, s, g, 1, entry->host);
    c->placed = true;
    extent_of(q, c, r, end - r->pos, e);
    e->head = r->pos & (unit_bytes(q) - 1);
    e->tail = ALIGN_UP(end, unit_bytes(q)) - end;
    return 0;
}

/* Gives clusters to the units at r->pos that have none of their own. */
static int allocate_locked(BlkNode *n, Slice *s, const BlkReq *r, const Entry *entry, Extent *e)
{
    Qcow2 *q = n->state;
    bool crypt = q->h.crypt_method;    /* a run's zeroes are none when they are decrypted */
    uint64_t g = r->pos >> q->cluster_bits, last = (r->pos + r->left - 1) >> q->cluster_bits;
    uint64_t most = MIN(last - g + 1, entries_left(q, g)), count = 1;
    bool zero = !q->external && !crypt && reads_zero(q, entry, g);
    Entry final = *entry;

    if (!q->external) {
        if (q->run >= q->run_end) {
            return -EAGAIN;
        }
        most = MIN(most, q->run_end - q->run);
    }
    if (last > g && in_cluster(q, r->pos + r->left) && qcow2_partial_possible(q, r)) {
        most = MIN(most, last - g);    /* what is around the end may not have to be copied */
    }
    for (; count < most && !change_at(q, g + count, 1); count++) {
        Entry next = entry_read(q, s, g + count);

        if (next.own || qcow2_partial_at(q, g + count)) {
            break;
        }
        zero = zero && reads_zero(q, &next, g + count);
        final = next;
    }
    uint64_t end = MIN(r->pos + r->left, (g + count) << q->cluster_bits);
    Change *c = change_new(q, s, g, count, (q->external ? g : q->run) << q->cluster_bits);
    q->run += q->external ? 0 : count;
    c->placed = true;
    c->fresh = !q->external;
    c->shared = zero;
    extent_of(q, c, r, end - r->pos, e);
    if (!zero) {               /* else the run's zeroes are what is to be around it */
        e->head = r->pos & (grain_of(q, entry) - 1);
        e->tail = ALIGN_UP(end, grain_of(q, &final)) - end;
    }
    return 0;
}

/* A write to a cluster that shows what is behind the image: that need not be copied yet.  NULL: it must. */
static Partial *partial_for(BlkNode *n, const BlkReq *r, const Entry *entry)
{
    Qcow2 *q = n->state;
    uint64_t g = r->pos >> q->cluster_bits;
    bool whole = !in_cluster(q, r->pos) && r->left >= q->cluster;
    Partial *p = qcow2_partial_at(q, g);

    if (p || entry->raw || whole || nothing_below(q, g << q->cluster_bits) || q->run >= q->run_end ||
        !qcow2_partial_possible(q, r)) {
        return p;
    }
    return qcow2_partial_new_locked(q, g);
}

/* The slice for changing the entry of @g; NULL: resolve_slow has to see to it. */
static Slice *slice_to_change(Qcow2 *q, uint64_t g)
{
    uint64_t l1 = q->l1[g >> q->l2_bits];

    return l1 & QCOW2_OFFSET && l1 & QCOW2_COPIED ? qcow2_slice_find_locked(q, entry_place(q, g)) : NULL;
}

static int write_locked(BlkNode *n, const BlkReq *r, Extent *e)
{
    Qcow2 *q = n->state;
    uint64_t g = r->pos >> q->cluster_bits;
    Slice *s = slice_to_change(q, g);

    if (!s) {
        return -EAGAIN;
    }
    Entry entry = entry_read(q, s, g);
    if (entry.own && unit_of(q, &entry, r->pos) == UNIT_DATA) {
        uint64_t len = same_units(q, s, r->pos, r->left, UNIT_DATA, true);

        *e = (Extent){ .is = EXT_DATA, .node = q->data, .off = entry.host + in_cluster(q, r->pos),
                       .len = len };
        return place_bad(n, &entry, r->pos, len) ? -EIO : 0;
    }
    if (entry.there && place_bad(n, &entry, r->pos, 1)) {
        return -EIO;
    }
    Change *c = change_at(q, g, 1);
    if (c && c->shared) {
        uint64_t end = (c->first + c->count) << q->cluster_bits;

        c->users++;
        extent_of(q, c, r, MIN(r->left, end - r->pos), e);
        return 0;
    }
    if (c) {
        e->cookie = c->id;
        return -EINPROGRESS;
    }
    Partial *p = partial_for(n, r, &entry);
    if (p && r->flags & BLK_FUA) {
        return -EAGAIN;        /* it must be mapped when it has ended */
    }
    if (p) {
        return qcow2_partial_write_locked(q, p, s, r, e);
    }
    return entry.own ? fill_own_locked(q, s, r, &entry, e) : allocate_locked(n, s, r, &entry, e);
}

/* --- zeroing and discarding --- */

/* Part of a unit is to be zeroed: through a write of zeroes, unless it reads as zeroes. */
static int zero_part_locked(BlkNode *n, const BlkReq *r, Extent *e)
{
    BlkReq part = *r;
    uint64_t unit = ALIGN_DOWN(r->pos, unit_bytes(n->state));

    part.left = MIN(r->left, unit + unit_bytes(n->state) - r->pos);
    part.op = BLK_READ;
    uint64_t compressed = 0;
    int ret = read_locked(n, &part, e, &compressed);
    if (ret < 0 && !compressed) {
        return ret;
    }
    if (ret == 0 && (e->is == EXT_ZERO || e->is == EXT_NONE)) {
        return 0;
    }
    *e = (Extent){ 0 };
    part.op = BLK_WRITE;
    return write_locked(n, &part, e);
}

/* What an entry becomes when all of its cluster is zeroed or discarded; false: it stays. */
static bool entry_cleared(const Qcow2 *q, const BlkReq *r, const Entry *old, uint64_t g, Entry *new)
{
    bool below_shows = !nothing_below(q, g << q->cluster_bits);
    bool keep = r->op == BLK_ZERO && !(r->flags & BLK_MAY_UNMAP) && old->own;

    if (r->flags & BLK_UNCOVER) {
        *new = (Entry){ 0 };
        return old->raw || old->subs;
    }
    if (reads_zero(q, old, g) && !(r->op == BLK_DISCARD && old->there)) {
        return false;
    }
    *new = (Entry){ 0 };
    if (keep) {
        *new = (Entry){ .raw = old->raw & (QCOW2_OFFSET | QCOW2_COPIED), .host = old->host, .there = true };
    }
    if (q->entry_size == 16) {
        new->subs = keep || below_shows ? UINT64_C(0xffffffff) << QCOW2_SUBS : 0;
    } else if (keep || below_shows) {
        new->raw |= QCOW2_ZERO;
    }
    return true;
}

/* Whole clusters to be zeroed or discarded by their entries alone. */
static int clear_locked(BlkNode *n, const BlkReq *r, uint64_t whole, Extent *e)
{
    Qcow2 *q = n->state;
    uint64_t g = r->pos >> q->cluster_bits;
    uint64_t count = MIN(whole, entries_left(q, g));

    if (!entry_place(q, g) && (r->flags & BLK_UNCOVER || nothing_below(q, r->pos))) {
        *e = (Extent){ .is = EXT_ZERO, .len = count << q->cluster_bits };
        return 0;
    }
    Slice *s = slice_to_change(q, g);
    if (!s) {
        return -EAGAIN;
    }
    Change *c = change_at(q, g, count);
    if (c) {
        e->cookie = c->id;
        return -EINPROGRESS;
    }
    for (uint64_t i = 0; i < count; i++) {
        const Partial *p = qcow2_partial_at(q, g + i);

        if (p && (p->writers || p->filling)) {
            e->cookie = p->id;
            return -EINPROGRESS;
        }
    }
    c = change_new(q, s, g, count, 0);
    *e = (Extent){ .is = EXT_ZERO, .len = count << q->cluster_bits, .link = true, .cookie = (uintptr_t)c };
    return 0;
}

/* Whole guest clusters in [r->pos, r->pos + r->left), the image's last short one counting as one. */
static uint64_t whole_clusters(const BlkNode *n, const BlkReq *r)
{
    const Qcow2 *q = n->state;
    uint64_t end = r->pos + r->left;

    if (in_cluster(q, r->pos)) {
        return 0;
    }
    return end == blk_size(n) ? DIV_ROUND_UP(r->left, q->cluster) : r->left >> q->cluster_bits;
}

static int zero_locked(BlkNode *n, const BlkReq *r, Extent *e)
{
    const Qcow2 *q = n->state;
    uint64_t whole = q->h.version >= 3 ? whole_clusters(n, r) : 0;

    return whole ? clear_locked(n, r, whole, e) : zero_part_locked(n, r, e);
}

static int discard_locked(BlkNode *n, const BlkReq *r, Extent *e)
{
    const Qcow2 *q = n->state;
    /* Version 2 cannot say "zeroes" where something shows through. */
    bool unmap = n->unmap && (q->h.version >= 3 || nothing_below(q, r->pos));
    uint64_t whole = unmap || r->flags & BLK_UNCOVER ? whole_clusters(n, r) : 0;

    if (whole) {
        return clear_locked(n, r, whole, e);
    }
    *e = (Extent){ .is = EXT_ZERO, .len = MIN(r->left, q->cluster - in_cluster(q, r->pos)) };
    return 0;
}

/* --- the driver's callbacks --- */

static int resolve_locked(BlkNode *n, const BlkReq *r, Extent *e, uint64_t *compressed)
{
    const Qcow2 *q = n->state;

    if (r->op == BLK_READ) {
        return read_locked(n, r, e, compressed);
    }
    if (q->corrupt) {
        return -EIO;
    }
    return r->op == BLK_WRITE ? write_locked(n, r, e)
           : r->op == BLK_ZERO ? zero_locked(n, r, e) : discard_locked(n, r, e);
}

/* What a write with BLK_FUA goes to may be mapped in memory alone: metadata is to be flushed after it. */
static void durable_locked(const Qcow2 *q, const BlkReq *r, Extent *e)
{
    if (r->flags & BLK_FUA && (r->op == BLK_WRITE || r->op == BLK_ZERO) && !e->link &&
        (q->cache.dirty || q->any_l1_dirty || q->any_rt_dirty || q->flushing)) {
        e->link = true;
        e->cookie = 0;
    }
}

int qcow2_resolve(BlkNode *n, const BlkReq *r, Extent *e)
{
    Qcow2 *q = n->state;
    uint64_t compressed = 0;

    lock_take(&q->lock);
    int ret = resolve_locked(n, r, e, &compressed);
    if (ret == 0) {
        durable_locked(q, r, e);
    }
    lock_drop(&q->lock);
    if (n->crypt) {
        qcow2_crypt_mark(n, r, e);
    }
    return ret;
}

/* Gives the L1 entry of @g a table of its own: a new one, or a copy of a shared one. */
static int table_make_locked(BlkNode *n, uint64_t g)
{
    Qcow2 *q = n->state;
    uint64_t i = g >> q->l2_bits, old = q->l1[i] & QCOW2_OFFSET;
    int ret = 0;

    while (ret == 0 && q->run >= q->run_end) {
        ret = qcow2_refill_locked(n);
    }
    if (ret < 0) {
        return ret;
    }
    uint64_t at = q->run++ << q->cluster_bits;
    blk_event(n->child, old ? BLKDEBUG_EVENT_L2_ALLOC_COW_READ : BLKDEBUG_EVENT_L2_ALLOC_WRITE);
    /* Of a new one the end is written: the file reaches there before L1 says that it does. */
    for (uint64_t off = old ? 0 : q->cluster - q->cache.slice_bytes; ret == 0 && off < q->cluster;
         off += q->cache.slice_bytes) {
        Slice *from = NULL, *to;

        ret = old ? qcow2_slice_get_locked(n, SLICE_L2, old + off, &from) : 0;
        if (ret < 0) {
            break;
        }
        ret = qcow2_slice_get_locked(n, SLICE_L2, at + off, &to);
        if (ret == 0) {
            qcow2_slice_change_locked(q, to);
            if (from) {
                memcpy(to->data, from->data, q->cache.slice_bytes);
            }
            qcow2_slice_unpin(to);
        }
        if (from) {
            qcow2_slice_unpin(from);
        }
    }
    if (ret < 0 || (q->l1[i] & QCOW2_OFFSET) != old || q->l1[i] & QCOW2_COPIED) {
        qcow2_free_later_locked(q, at, 1, BLK_FREED_OTHER);    /* failed, or another made one meanwhile */
        return ret;
    }
    q->l1[i] = at | QCOW2_COPIED;
    q->l1_dirty[i / 64] = q->any_l1_dirty = true;
    if (old) {
        qcow2_free_later_locked(q, old, 1, BLK_FREED_OTHER);
    }
    return 0;
}

/* A write with BLK_FUA has nothing to do with clusters that are not mapped. */
static int fill_at_locked(BlkNode *n, uint64_t g) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;

    lock_drop(&q->lock);
    int ret = qcow2_partial_fill(n, g);
    lock_take(&q->lock);
    return ret;
}

/* Whatever resolve_locked() missed at r->pos is there afterwards. */
static int fetch_locked(BlkNode *n, const BlkReq *r)
{
    Qcow2 *q = n->state;
    uint64_t g = r->pos >> q->cluster_bits, l1 = q->l1[g >> q->l2_bits];
    Slice *s;
    int ret = 0;

    if ((l1 & QCOW2_OFFSET) % q->cluster) {
        qcow2_corrupt_locked(n, "L1 entry %" PRIu64 ": L2 table offset %#" PRIx64
                             " is not aligned to a cluster",
                      g >> q->l2_bits, l1 & QCOW2_OFFSET);
        return -EIO;
    }
    if (r->flags & BLK_FUA && qcow2_partial_at(q, g)) {
        return fill_at_locked(n, g);
    }
    if (r->op != BLK_READ) {
        if (!(l1 & QCOW2_OFFSET) || !(l1 & QCOW2_COPIED)) {
            ret = table_make_locked(n, g);
        }
        if (ret == 0 && q->run >= q->run_end && r->op != BLK_DISCARD) {
            ret = qcow2_refill_locked(n);
        }
    }
    if (ret == 0 && entry_place(q, g)) {
        ret = qcow2_slice_get_locked(n, SLICE_L2, entry_place(q, g), &s);
        if (ret == 0) {
            qcow2_slice_unpin(s);
        }
    }
    return ret;
}

static int decompress_locked(BlkNode *n, const BlkReq *r, uint64_t entry, Extent *e) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    uint64_t skip = in_cluster(q, r->pos);

    lock_drop(&q->lock);
    *e = (Extent){ .is = EXT_BYTES, .len = MIN(r->left, q->cluster - skip) };
    int ret = qcow2_decompress(n, entry, &e->bytes);
    if (ret == 0 && skip) {
        memmove(e->bytes, e->bytes + skip, e->len);
    }
    lock_take(&q->lock);
    return ret;
}

int qcow2_resolve_slow(BlkNode *n, const BlkReq *r, Extent *e)
{
    Qcow2 *q = n->state;
    int ret;

    lock_take(&q->lock);
    bool full = q->cache.dirty > q->cache.max / 2;
    lock_drop(&q->lock);
    ret = full ? qcow2_flush_tables(n) : 0;
    if (ret < 0) {
        return ret;
    }
    lock_take(&q->lock);
    for (;;) {
        uint64_t compressed = 0;

        ret = resolve_locked(n, r, e, &compressed);
        if (ret != -EAGAIN) {
            break;
        }
        ret = compressed ? decompress_locked(n, r, compressed, e) : fetch_locked(n, r);
        if (ret < 0 || compressed) {
            break;
        }
    }
    if (ret == 0) {
        durable_locked(q, r, e);
    }
    lock_drop(&q->lock);
    if (n->crypt) {
        qcow2_crypt_mark(n, r, e);
    }
    return ret;
}

int qcow2_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    Qcow2 *q = n->state;
    BlkReq r = { .op = BLK_READ, .pos = off, .left = len };
    int ret;

    lock_take(&q->lock);
    while ((ret = status_locked(n, off, len, s)) == -EAGAIN) {
        ret = fetch_locked(n, &r);
        if (ret < 0) {
            break;
        }
    }
    lock_drop(&q->lock);
    if (q->h.crypt_method) {           /* what is in the file is something else */
        s->flags &= ~(unsigned)BLK_STATUS_PLACE;
        s->file = NULL;
    }
    return ret;
}

/* --- commit --- */

static void entry_write(Qcow2 *q, Slice *s, uint64_t g, const Entry *e)
{
    qcow2_slice_change_locked(q, s);
    uint8_t *p = entry_at(q, s, g);

    *(Be64 *)p = to_be64(e->raw);
    if (q->entry_size == 16) {
        *(Be64 *)(p + 8) = to_be64(e->subs);
    }
}

/* What @old pointed at loses a reference, unless @new points there too. */
static void entry_release(Qcow2 *q, const Entry *old, const Entry *new, BlkFreed why)
{
    if (old->raw & QCOW2_COMPRESSED) {
        uint64_t first, count;

        qcow2_packed_clusters(q, old->raw, &first, &count);
        qcow2_free_later_locked(q, first, count, why);
    } else if (old->there && !(new->there && new->host == old->host) && !q->external) {
        qcow2_free_later_locked(q, old->host, 1, why);
    }
}

/* The entry of @g once [@from, @to) of the cluster lies at @host. */
static Entry entry_linked(const Qcow2 *q, const Entry *old, uint64_t host, uint64_t from, uint64_t to)
{
    Entry new = { .raw = host | QCOW2_COPIED, .host = host, .there = true, .own = true };

    if (q->entry_size == 16) {
        uint64_t grain = grain_of(q, old);
        unsigned lo = (unsigned)(ALIGN_DOWN(from, grain) >> q->unit_bits);
        unsigned hi = (unsigned)(ALIGN_UP(to, grain) >> q->unit_bits);
        uint64_t bits = (UINT64_C(1) << hi) - (UINT64_C(1) << lo);

        new.subs = (old->subs | bits) & ~(bits << QCOW2_SUBS);
    }
    return new;
}

static void link_locked(Qcow2 *q, const Change *c, const BlkReq *r)
{
    uint64_t end = r->pos + r->left;

    for (uint64_t g = r->pos >> q->cluster_bits; g << q->cluster_bits < end; g++) {
        uint64_t start = g << q->cluster_bits;
        Entry old = entry_read(q, c->slice, g), new;
        Partial *p = qcow2_partial_at(q, g);

        if (p) {               /* it is cleared */
            qcow2_partial_drop_locked(q, p, BLK_FREED_REQUEST);
        }
        if (c->placed) {
            new = entry_linked(q, &old, c->host + ((g - c->first) << q->cluster_bits),
                               MAX(r->pos, start) - start, MIN(end, start + q->cluster) - start);
        } else if (!entry_cleared(q, r, &old, g, &new)) {
            continue;
        }
        if (new.raw != old.raw || new.subs != old.subs) {
            entry_write(q, c->slice, g, &new);
            entry_release(q, &old, &new, c->placed ? BLK_FREED_OTHER : BLK_FREED_REQUEST);
        }
    }
}

void qcow2_link_whole_locked(Qcow2 *q, Slice *s, uint64_t g, uint64_t host)
{
    entry_write(q, s, g, &(Entry){ .raw = host | QCOW2_COPIED });
}

int qcow2_l2_slice_locked(BlkNode *n, uint64_t g, Slice **out)
{
    return qcow2_slice_get_locked(n, SLICE_L2, entry_place(n->state, g), out);
}

/* Is something in flight that changes @g? */
static bool in_the_way(const Qcow2 *q, uint64_t g)
{
    const Partial *p = qcow2_partial_at(q, g);

    return change_at(q, g, 1) || (p && (p->writers || p->filling));
}

/* Waits until nothing in flight is in the way of @g, and for its slice. */
static int slice_alone_locked(BlkNode *n, uint64_t g, Slice **out) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    BlkReq r = { .op = BLK_WRITE, .pos = g << q->cluster_bits, .left = q->cluster };

    for (;;) {
        if (in_the_way(q, g)) {
            uint64_t seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE);

            lock_drop(&q->lock);
            bool waited = blk_wait_woken(n, seq);
            lock_take(&q->lock);
            if (!waited) {
                return -ENOMEM;
            }
            continue;
        }
        *out = slice_to_change(q, g);
        if (*out) {
            return 0;
        }
        int ret = fetch_locked(n, &r);
        if (ret < 0) {
            return ret;
        }
    }
}

/* The run has a cluster afterwards, for one of @left, and the file reaches to its end, before *@reach: before
 * anything says that it does. */
static int run_reach_locked(BlkNode *n, uint64_t left, uint64_t *reach) LOCK_UNCHECKED
{
    static const uint8_t zeroes[512] __attribute__((aligned(4096)));
    Qcow2 *q = n->state;
    int ret = 0;

    while (ret == 0 && (q->run >= q->run_end || q->run >= *reach)) {
        ret = q->run >= q->run_end ? qcow2_refill_locked(n) : 0;
        uint64_t end = MIN(q->run_end, q->run + left);

        if (ret == 0 && end > *reach) {
            lock_drop(&q->lock);
            ret = blk_pwrite(n->child, (end << q->cluster_bits) - sizeof(zeroes), zeroes, sizeof(zeroes));
            lock_take(&q->lock);
            *reach = end;
        }
    }
    return ret;
}

/* Gives guest cluster @g, the first of @left, a place if it has none and reads as zeroes, which it does
 * afterwards too. */
static int premap_locked(BlkNode *n, uint64_t g, uint64_t left, uint64_t *reach)
{
    Qcow2 *q = n->state;
    Slice *s;
    int ret = qcow2_keep_bounded_locked(n);

    ret = ret < 0 ? ret : slice_alone_locked(n, g, &s);
    ret = ret < 0 || q->external ? ret : run_reach_locked(n, left, reach);
    ret = ret < 0 ? ret : slice_alone_locked(n, g, &s);
    if (ret < 0) {
        return ret;
    }
    Entry e = entry_read(q, s, g);
    if (e.there || !reads_zero(q, &e, g)) {
        return 0;
    }
    if (!q->external && (q->run >= q->run_end || q->run >= *reach)) {
        return -EAGAIN;        /* somebody else took it */
    }
    uint64_t host = q->external ? g : q->run++;
    /* What is at that place of a data file, or what zeroes are when they are decrypted, is not to show. */
    bool hidden = q->external || q->h.crypt_method;
    e.raw = host << q->cluster_bits | QCOW2_COPIED | (e.raw & QCOW2_ZERO);
    if (hidden && q->entry_size == 16) {
        e.subs = UINT64_C(0xffffffff) << QCOW2_SUBS;
    } else if (hidden) {
        e.raw |= QCOW2_ZERO;
    }
    entry_write(q, s, g, &e);
    return 0;
}

int qcow2_premap(BlkNode *n, uint64_t from, uint64_t to)
{
    Qcow2 *q = n->state;
    uint64_t end = DIV_ROUND_UP(to, q->cluster), reach = 0;
    int ret = 0;

    if (q->h.version < 3 && q->h.crypt_method) {
        return -ENOTSUP;       /* it cannot say "zeroes" */
    }
    lock_take(&q->lock);
    for (uint64_t g = from >> q->cluster_bits; ret == 0 && g < end;) {
        ret = q->corrupt ? -EIO : premap_locked(n, g, end - g, &reach);
        g += ret == 0;
        ret = ret == -EAGAIN ? 0 : ret;
    }
    lock_drop(&q->lock);
    return ret < 0 ? ret : blk_pflush(n);
}

int qcow2_link_compressed(BlkNode *n, uint64_t off, uint64_t entry, int ret)
{
    Qcow2 *q = n->state;
    uint64_t g = off >> q->cluster_bits;
    Entry new = { .raw = entry };
    Slice *s = NULL;

    lock_take(&q->lock);
    bool full = q->cache.dirty > q->cache.max / 2;
    lock_drop(&q->lock);
    ret = ret == 0 && full ? qcow2_flush_tables(n) : ret;
    lock_take(&q->lock);
    ret = ret < 0 ? ret : slice_alone_locked(n, g, &s);
    if (ret == 0) {
        Entry old = entry_read(q, s, g);
        Partial *p = qcow2_partial_at(q, g);

        if (p) {
            qcow2_partial_drop_locked(q, p, BLK_FREED_OTHER);
        }
        entry_write(q, s, g, &new);
        entry_release(q, &old, &new, BLK_FREED_OTHER);
    } else {
        entry_release(q, &new, &(Entry){ 0 }, BLK_FREED_OTHER);
    }
    lock_drop(&q->lock);
    return ret;
}

/* Space of a change that went wrong goes back. */
static void give_back_locked(Qcow2 *q, const Change *c)
{
    for (uint64_t i = 0; c->fresh && i < c->count; i++) {
        uint64_t host = c->host + (i << q->cluster_bits);

        if (entry_read(q, c->slice, c->first + i).host != host) {
            qcow2_free_later_locked(q, host, 1, BLK_FREED_OTHER);
        }
    }
}

int qcow2_commit(BlkNode *n, const BlkReq *r, const Extent *e, int ret)
{
    Qcow2 *q = n->state;
    Change *c = (Change *)(uintptr_t)e->cookie;

    if (!c) {
        return 0;              /* for the flush alone: durable_locked() */
    }
    if (e->cookie & QCOW2_COOKIE_PARTIAL) {
        qcow2_partial_commit(n, r, e->cookie, ret);
        return 0;
    }
    uint64_t id = c->id;

    lock_take(&q->lock);
    if (ret == 0) {
        link_locked(q, c, r);
    }
    bool ended = --c->users == 0;
    if (ended) {
        Change **at = &q->changes;

        while (*at != c) {
            at = &(*at)->next;
        }
        *at = c->next;
        give_back_locked(q, c);
        qcow2_slice_unpin(c->slice);
        g_free(c);
    }
    lock_drop(&q->lock);
    if (ended) {
        blk_wake(n, id);
    }
    return 0;
}
