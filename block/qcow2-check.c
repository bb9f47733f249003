/* qcow2-check.c: does an image agree with itself?  Counts every reference and compares.
 *
 * 1. It reads the file and believes nothing: offsets are checked before they are followed, and what
 *    is counted is bounded by the size of the file.
 * 2. The order is: what the refcount blocks say (@have), what is really there (@want), the
 *    difference.  A cluster counted too high is a leak; one counted too low is corrupt, for it may be
 *    given out while in use.
 * 3. Repair writes new refcount blocks for everything when a count is too low or a block is broken;
 *    leaks alone are mended in place.  The image is in nobody else's use meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include "block/qcow2-int.h"
#include "util/bytes.h"

typedef struct Check {
    BlkNode *n;
    Qcow2 *q;
    BlkCheck *out;
    uint64_t clusters;         /* in the file, and entries of the two arrays */
    uint32_t *have, *want;
    bool rebuild;              /* a refcount block is broken */
    unsigned fix;
    uint64_t last_end;         /* where the last data cluster seen ended */
} Check;

static void complain(Check *c, uint64_t *count, const char *format, ...) G_GNUC_PRINTF(3, 4);
static void complain(Check *c, uint64_t *count, const char *format, ...)
{
    va_list args;

    ++*count;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    if (c->out->say) {
        c->out->say(text, c->out->arg);
    }
}

/* --- what the refcount blocks say --- */

static void read_block(Check *c, uint64_t block, uint64_t at, uint8_t *buf)
{
    const Qcow2 *q = c->q;
    uint64_t per = qcow2_counts_per(q, q->cluster), first = block * per;

    if (at % q->cluster || at >> q->cluster_bits >= c->clusters
        || blk_pread(c->n->child, at, buf, q->cluster) < 0) {
        complain(c, &c->out->corruptions, "ERROR refcount block %" PRIu64
                 " is not cluster aligned, outside the "
                 "file or not readable; refcount table entry corrupted", block);
        c->rebuild = true;
        return;
    }
    for (uint64_t i = 0; i < per && first + i < c->clusters; i++) {
        c->have[first + i] = (uint32_t)MIN(qcow2_count_read(q, buf, i), UINT32_MAX);
    }
    for (uint64_t i = first >= c->clusters ? 0 : c->clusters - first; i < per; i++) {
        if (qcow2_count_read(q, buf, i)) {
            complain(c, &c->out->leaks,
                     "Leaked cluster %" PRIu64 " refcount=%" PRIu64 " reference=0", first + i,
                     qcow2_count_read(q, buf, i));
        }
    }
}

static int read_counts(Check *c)
{
    g_autofree uint8_t *buf = g_try_malloc(c->q->cluster);

    if (!buf) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < c->q->rt_size; i++) {
        uint64_t at = c->q->rt[i] & ~UINT64_C(511);

        if (at) {
            read_block(c, i, at, buf);
        }
    }
    return 0;
}

/* --- what is there --- */

/* Counts the clusters of [@at, @at + @len). */
static void use(Check *c, uint64_t at, uint64_t len, const char *what)
{
    const Qcow2 *q = c->q;
    uint64_t first = at >> q->cluster_bits, last = (at + len - 1) >> q->cluster_bits;

    if (!len) {
        return;
    }
    if (len > INT64_MAX - at || last >= c->clusters) {
        complain(c, &c->out->corruptions, "ERROR: %s at %#" PRIx64 " is outside the image file", what, at);
        return;
    }
    for (uint64_t i = first; i <= last; i++) {
        c->want[i] += c->want[i] < UINT32_MAX;
    }
    c->out->image_end = MAX(c->out->image_end, (last + 1) << q->cluster_bits);
}

static void count_data(Check *c, uint64_t entry)
{
    const Qcow2 *q = c->q;
    BlkCheck *out = c->out;
    uint64_t at = entry & QCOW2_OFFSET;

    if (entry & QCOW2_COMPRESSED) {
        uint64_t start, len, file = c->clusters << q->cluster_bits;

        qcow2_packed_place(q, entry, &start, &len);
        out->compressed++;
        out->allocated++;
        out->fragmented++;
        /* The last sector may lie beyond the end of a file that was not padded. */
        use(c, start, MIN(len, file - MIN(start, file)), "a compressed cluster");
        return;
    }
    if (!at && !(q->external && entry & QCOW2_COPIED)) {
        return;
    }
    if (at % q->cluster) {
        complain(c, &out->corruptions, "ERROR offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry "
                 "corrupted.", at);
        return;
    }
    out->allocated++;
    out->fragmented += c->last_end && c->last_end != at;
    c->last_end = at + q->cluster;
    if (!q->external) {
        use(c, at, q->cluster, "a data cluster");
    }
}

static int check_l2(Check *c, uint64_t at)
{
    const Qcow2 *q = c->q;
    g_autofree uint8_t *table = g_try_malloc(q->cluster);
    int ret = table ? blk_pread(c->n->child, at, table, q->cluster) : -ENOMEM;

    c->last_end = 0;           /* what follows a table is no fragment for that */

    for (uint64_t i = 0; ret == 0 && i < q->cluster / q->entry_size; i++) {
        count_data(c, be64(*(const Be64 *)(table + i * q->entry_size)));
    }
    return ret;
}

/* The place of the L2 table that @entry names; 0: there is none, or no table can be there. */
static uint64_t l2_place(const Check *c, uint64_t entry)
{
    uint64_t at = entry & QCOW2_OFFSET;

    return at % c->q->cluster || at >> c->q->cluster_bits >= c->clusters ? 0 : at;
}

/* @l1: in host order. */
static int check_l1(Check *c, const uint64_t *l1, uint64_t size, uint64_t off)
{
    int ret = 0;

    use(c, off, size * 8, "an L1 table");
    for (uint64_t i = 0; ret == 0 && i < size; i++) {
        uint64_t at = l2_place(c, l1[i]);

        if (at) {
            use(c, at, c->q->cluster, "an L2 table");
            ret = check_l2(c, at);
        } else if (l1[i] & QCOW2_OFFSET) {
            complain(c, &c->out->corruptions, "ERROR l2_offset=%" PRIx64
                     ": Table is not cluster aligned or outside the file; L1 entry corrupted",
                     l1[i] & QCOW2_OFFSET);
        }
    }
    return ret;
}

static int check_snapshot(Check *c, const Qcow2Snapshot *s)
{
    uint64_t size = s->l1_size, off = s->l1_off;

    if (size > 32 * MiB / 8 || off % c->q->cluster
        || !fits(off, size * 8, c->clusters << c->q->cluster_bits)) {
        complain(c, &c->out->corruptions, "ERROR snapshot L1 table at %#" PRIx64 " with %" PRIu64
                 " entries is "
                 "not in the file", off, size);
        return 0;
    }
    g_autofree uint64_t *l1 = g_try_new0(uint64_t, size + 1);
    int ret = l1 ? blk_pread(c->n->child, off, l1, size * 8) : -ENOMEM;
    for (uint64_t i = 0; ret == 0 && i < size; i++) {
        l1[i] = be64toh(l1[i]);
    }
    return ret < 0 ? ret : check_l1(c, l1, size, off);
}

static int check_snapshots(Check *c)
{
    const Qcow2Header *h = &c->q->h;
    uint64_t at = h->snapshots_off;

    for (uint32_t i = 0; i < h->snapshots; i++) {
        Qcow2Snapshot s;
        int ret = qcow2_snapshot_read(c->n, &at, &s);

        if (ret < 0) {
            complain(c, &c->out->corruptions, "ERROR snapshot %u of the table at %#" PRIx64
                     " is not readable", i, h->snapshots_off);
            return 0;
        }
        ret = check_snapshot(c, &s);
        qcow2_snapshot_clear(&s);
        if (ret < 0) {
            return ret;
        }
    }
    use(c, h->snapshots_off, at - h->snapshots_off, "the snapshot table");
    return 0;
}

static int check_bitmap(Check *c, const Qcow2Bitmap *b)
{
    int ret;
    g_autofree uint64_t *table = qcow2_bitmap_table(c->n, b, &ret);

    use(c, b->table_off, b->table_size * UINT64_C(8), "a bitmap table");
    for (uint64_t i = 0; ret == 0 && i < b->table_size; i++) {
        if (table[i] & QCOW2_OFFSET) {
            use(c, table[i] & QCOW2_OFFSET, c->q->cluster, "a bitmap");
        }
    }
    return ret;
}

static int check_bitmaps(Check *c)
{
    const Qcow2Header *h = &c->q->h;
    g_autoptr(Error) err = NULL;
    g_autoptr(GArray) a = qcow2_bitmaps_read(c->n, &err);
    int ret = 0;

    if (!a) {
        complain(c, &c->out->corruptions, "ERROR %s", error_text(err));
        return 0;
    }
    use(c, h->bitmaps_off, h->bitmaps_size, "the bitmap directory");
    for (unsigned i = 0; ret == 0 && i < a->len; i++) {
        ret = check_bitmap(c, &g_array_index(a, Qcow2Bitmap, i));
    }
    return ret;
}

static int count_all(Check *c)
{
    Qcow2 *q = c->q;

    use(c, 0, q->cluster, "the header");
    int ret = check_l1(c, q->l1, q->h.l1_size, q->h.l1_off);
    ret = ret < 0 ? ret : check_snapshots(c);
    ret = ret < 0 ? ret : check_bitmaps(c);
    use(c, q->h.rt_off, q->rt_size * 8, "the refcount table");
    use(c, q->h.crypt_off, q->h.crypt_size, "the encryption header");
    for (uint64_t i = 0; i < q->rt_size; i++) {
        uint64_t at = q->rt[i] & ~UINT64_C(511);

        if (at && at % q->cluster == 0 && at >> q->cluster_bits < c->clusters) {
            use(c, at, q->cluster, "a refcount block");
        }
    }
    return ret;
}

/* --- the difference --- */

static int fix_leak(Check *c, uint64_t cluster)
{
    Qcow2 *q = c->q;
    uint64_t host = cluster << q->cluster_bits, has = 0;

    lock_take(&q->lock);
    int ret = qcow2_refcount_get_locked(c->n, host, &has);
    while (ret == 0 && has > c->want[cluster]) {       /* a count of 64 bits takes two steps */
        uint64_t by = MIN(has - c->want[cluster], INT64_MAX);

        ret = qcow2_refcount_add_locked(c->n, host, 1, -(int64_t)by);
        has -= by;
    }
    lock_drop(&q->lock);
    c->out->leaks_fixed += ret == 0;
    return ret;
}

/* The refcount table and its blocks will be in nobody's use. */
static void forget_counts(Check *c)
{
    const Qcow2 *q = c->q;

    for (uint64_t i = 0; i < q->rt_size * 8; i += q->cluster) {
        c->want[(q->h.rt_off + i) >> q->cluster_bits]--;
    }
    for (uint64_t i = 0; i < q->rt_size; i++) {
        uint64_t at = q->rt[i] & ~UINT64_C(511);

        if (at && at % q->cluster == 0 && at >> q->cluster_bits < c->clusters) {
            c->want[at >> q->cluster_bits]--;
        }
    }
}

static int compare(Check *c)
{
    BlkCheck *out = c->out;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < c->clusters; i++) {
        if (c->have[i] < c->want[i]) {
            complain(c, &out->corruptions, "ERROR cluster %" PRIu64 " refcount=%u reference=%u", i,
                     c->have[i],
                     c->want[i]);
            c->rebuild = true;
        } else if (c->have[i] > c->want[i]) {
            complain(c, &out->leaks, "Leaked cluster %" PRIu64 " refcount=%u reference=%u", i, c->have[i],
                     c->want[i]);
        }
    }
    if (c->rebuild && c->fix & BLK_FIX_ERRORS) {
        forget_counts(c);
        out->corruptions_fixed = out->corruptions;
        out->leaks_fixed = out->leaks;
        return qcow2_refcount_rebuild(c->n, c->want, c->clusters);
    }
    for (uint64_t i = 0; ret == 0 && i < c->clusters && c->fix & BLK_FIX_LEAKS && !c->rebuild; i++) {
        if (c->have[i] > c->want[i]) {
            ret = fix_leak(c, i);
        }
    }
    return ret;
}

/* --- the COPIED flags --- */

/* @entry with the flag as @counts has it.  A flag that lets something be overwritten that is in use twice is
 * an error; any other that is wrong costs a copy or goes with a leak. */
static uint64_t flag_check(Check *c, const uint32_t *counts, const char *what, uint64_t entry)
{
    uint64_t i = (entry & QCOW2_OFFSET) >> c->q->cluster_bits;
    bool copied = entry & QCOW2_COPIED, bad = copied && i < c->clusters && c->want[i] > 1;
    BlkCheck *out = c->out;

    if (i == 0 || i >= c->clusters || copied == (counts[i] == 1)) {
        return entry;
    }
    complain(c, bad ? &out->corruptions : &out->leaks, "%s OFLAG_COPIED %s: entry=%" PRIx64 " refcount=%u",
             bad ? "ERROR" : "Leaked", what, entry, counts[i]);
    if (!(c->fix & (bad ? BLK_FIX_ERRORS : BLK_FIX_LEAKS))) {
        return entry;
    }
    ++*(bad ? &out->corruptions_fixed : &out->leaks_fixed);
    return entry ^ QCOW2_COPIED;
}

static int flags_l2(Check *c, const uint32_t *counts, uint64_t at)
{
    const Qcow2 *q = c->q;
    g_autofree uint8_t *table = g_try_malloc(q->cluster);
    bool changed = false;
    int ret = table ? blk_pread(c->n->child, at, table, q->cluster) : -ENOMEM;

    for (uint64_t i = 0; ret == 0 && i < q->cluster / q->entry_size; i++) {
        Be64 *entry = (Be64 *)(table + i * q->entry_size);
        uint64_t v = be64(*entry);
        uint64_t right = v & QCOW2_COMPRESSED ? v : flag_check(c, counts, "data cluster", v);

        changed |= right != v;
        *entry = to_be64(right);
    }
    if (changed) {
        ret = blk_pwrite(c->n->child, at, table, q->cluster);
        lock_take(&c->q->lock);
        qcow2_slice_forget_locked(c->q, at);
        lock_drop(&c->q->lock);
    }
    return ret;
}

/* The flags of the active tables against @counts, what the reference counts are by now. */
static int check_flags(Check *c, const uint32_t *counts)
{
    Qcow2 *q = c->q;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < q->h.l1_size; i++) {
        uint64_t right, at = l2_place(c, q->l1[i]);

        if (!at) {
            continue;
        }
        right = flag_check(c, counts, "L2 cluster", q->l1[i]);
        if (right != q->l1[i]) {
            Be64 raw = to_be64(right);

            ret = blk_pwrite(c->n->child, q->h.l1_off + i * 8, &raw, 8);
            q->l1[i] = right;
        }
        ret = ret < 0 || q->external ? ret : flags_l2(c, counts, at);
    }
    return ret;
}

/* True if the counts on disk are @want by now. */
static bool counts_mended(const Check *c)
{
    return c->rebuild ? c->fix & BLK_FIX_ERRORS : c->fix & BLK_FIX_LEAKS;
}

bool qcow2_check(BlkNode *n, unsigned fix, BlkCheck *out, Error **errp)
{
    Qcow2 *q = n->state;
    uint64_t size = MAX(blk_size(n->child), __atomic_load_n(&n->child->room, __ATOMIC_RELAXED));
    Check c = { .n = n, .q = q, .out = out, .fix = fix, .clusters = DIV_ROUND_UP(size, q->cluster) };
    int ret = n->read_only ? 0 : qcow2_flush_meta(n, true);

    c.have = g_try_new0(uint32_t, c.clusters);
    c.want = g_try_new0(uint32_t, c.clusters);
    out->total = DIV_ROUND_UP(q->h.size, q->cluster);
    if (!c.have || !c.want) {
        ret = -ENOMEM;
    }
    ret = ret < 0 ? ret : read_counts(&c);
    ret = ret < 0 ? ret : count_all(&c);
    ret = ret < 0 ? ret : compare(&c);
    ret = ret < 0 ? ret : check_flags(&c, counts_mended(&c) ? c.want : c.have);
    if (ret == 0 && fix) {
        q->h.incompat &= ~(uint64_t)(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT);
        q->corrupt = false;
        ret = qcow2_flush_meta(n, true);
        ret = ret < 0 ? ret : blk_pflush(n->child);
        ret = ret < 0 ? ret : qcow2_header_update(n->child, &q->h);
        ret = ret < 0 ? ret : blk_pflush(n->child);
    }
    g_free(c.have);
    g_free(c.want);
    return ret == 0 || error_set_errno(errp, -ret, "Check of '%s' failed", blk_filename(n));
}
