/* qcow2-change-cut-test.c: the power goes while an image changes its shape: another size, longer tables,
 * bitmaps, snapshots, an amendment; or while it is made.
 *
 * The image lies in memory (mem-disk.h).  After each cut, which leaves of what was not synced any part and of
 * a write any sectors, it is opened: nothing worse than leaks is found; it has the old size or the new one;
 * each sector holds what it held at some time since; a bitmap that is there and not known to be out of date
 * is that of before or after, and the one of before only if nothing was written since; each snapshot is
 * whole.
 * After the change was answered, it is as it is to be.  Then all of it is written, and it is sound.
 *
 * CUTS=N: about so many cuts of each case (default 4); SEED=N: another seed. */
#include "tests/unit/mem-disk.h"

#include <stdlib.h>
#include "block/bitmap.h"
#include "util/secret.h"

enum { BASE, MID, TOP };

#define VARIANTS 3             /* of each cut: all got to the disk, or what a seed has */
#define MAX_SIZE (4 * MiB)
#define NAMES 4                /* "0" to "3": of bitmaps and snapshots */

/* What there is to see of an image. */
typedef struct Seen {
    uint64_t size;
    uint8_t *bytes;
    bool has_bitmap[NAMES], broken[NAMES], recording[NAMES];
    uint8_t *dirty[NAMES];     /* a byte a sector */
    uint8_t *snapshot[NAMES];  /* what it holds; NULL: it is not there */
    uint64_t snapshot_size[NAMES];
} Seen;

typedef struct Change {
    const char *name;
    void (*prepare)(BlkNode *n, GRand *rand);
    void (*act)(BlkNode *n, GRand *rand);
    bool any_tail;             /* what is cut off may read as anything meanwhile */
    bool backed, plain;        /* only over a file; only not encrypted */
    bool v3;
    uint64_t between;          /* a size it has meanwhile */
} Change;

typedef struct Shape {
    const char *name;
    BlkCreate image;
    bool backed;
} Shape;

static const char *const names[NAMES] = { "0", "1", "2", "3" };

static unsigned from_env(const char *name, unsigned otherwise)
{
    const char *text = g_getenv(name);

    return text ? (unsigned)atoi(text) : otherwise;
}

/* --- the image --- */

static BlkNode *image_open(const Shape *s, bool read_only)
{
    BlkOptions file = { .driver = "mem", .filename = "top" };
    BlkOptions behind = { .driver = "mem", .filename = "base" };

    return open_ok(&(BlkOptions){ .driver = "qcow2", .child = &file, .read_only = read_only,
                                  .backing = s->backed ? &behind : NULL, .backing_none = !s->backed,
                                  .discard_unmap = true,
                                  .key_secret = s->image.encrypt_format ? "key" : NULL });
}

static void must(int ret)
{
    assert_int_equal(ret, 0);
}

static void must_have(bool ok, Error *err)
{
    if (!ok) {
        fail_msg("%s", error_text(err));
    }
}

/* The bytes that were written to each sector since the change began: a set of bits. */
static uint8_t meanwhile[MAX_SIZE / 512][256 / 8];

/* Writes @count random pieces, zeroes some and discards some. */
static void scribble(BlkNode *n, GRand *rand, unsigned count)
{
    g_autofree uint8_t *buf = g_malloc(256 * KiB);
    int sectors = (int)(blk_size(n) / 512);

    for (unsigned i = 0; i < count; i++) {
        int first = g_rand_int_range(rand, 0, sectors);
        int most = MIN(sectors - first, i % 2 ? 8 : 400), len = g_rand_int_range(rand, 1, most + 1);
        int what = g_rand_int_range(rand, 0, 8);

        uint8_t byte = (uint8_t)g_rand_int_range(rand, 1, 256);

        memset(buf, byte, (size_t)len * 512);
        for (int k = first; k < first + len; k++) {
            meanwhile[k][byte / 8] |= (uint8_t)(1u << byte % 8);
        }
        must(what > 1 ? blk_pwrite(n, (uint64_t)first * 512, buf, (size_t)len * 512)
             : what ? blk_pzero(n, (uint64_t)first * 512, (uint64_t)len * 512, BLK_MAY_UNMAP)
             : blk_pdiscard(n, (uint64_t)first * 512, (uint64_t)len * 512));
    }
}

static void seen_clear(Seen *s)
{
    g_free(s->bytes);
    for (unsigned i = 0; i < NAMES; i++) {
        g_free(s->dirty[i]);
        g_free(s->snapshot[i]);
    }
    *s = (Seen){ 0 };
}

static uint8_t *bytes_of(BlkNode *n)
{
    uint8_t *bytes = g_malloc(blk_size(n));

    must(blk_pread(n, 0, bytes, blk_size(n)));
    return bytes;
}

static void see_bitmap(BlkNode *n, const BlkBitmap *b, unsigned i, Seen *out)
{
    uint64_t sectors = blk_size(n) / 512, at = 0, len;

    out->has_bitmap[i] = true;
    out->broken[i] = blk_bitmap_info(b).inconsistent;
    out->recording[i] = blk_bitmap_info(b).recording;
    out->dirty[i] = g_malloc0(sectors);
    while (!out->broken[i] && (len = blk_bitmap_dirty(b, &at, UINT64_MAX / 2)) > 0) {
        assert_true(at < blk_size(n));
        memset(out->dirty[i] + at / 512, 1, MIN(len / 512, sectors - at / 512));
        at += len;
    }
}

/* Looks at all there is.  Applies each snapshot: it is for an image that is needed no more. */
static void see(const Shape *shape, Seen *out)
{
    BlkNode *n = image_open(shape, true);
    Error *err = NULL;

    seen_clear(out);
    out->size = blk_size(n);
    out->bytes = bytes_of(n);
    for (unsigned i = 0; i < NAMES; i++) {
        const BlkBitmap *b = blk_bitmap_find(n, names[i]);

        if (b) {
            see_bitmap(n, b, i, out);
        }
    }
    close_ok(n);
    n = image_open(shape, false);
    g_autoptr(GArray) list = blk_snapshots(n, &err);
    assert_non_null(list);
    for (unsigned i = 0; i < NAMES; i++) {
        int at = blk_snapshot_find(list, NULL, names[i]);

        if (at >= 0) {
            must_have(blk_snapshot_apply(n, (unsigned)at, &err), err);
            out->snapshot_size[i] = blk_size(n);
            out->snapshot[i] = bytes_of(n);
        }
    }
    close_ok(n);
}

/* --- what may be after a cut --- */

static bool is_zero(const uint8_t *p)
{
    return p[0] == 0 && memcmp(p, p + 1, 511) == 0;
}

/* @s, or zeroes behind its end. */
static bool holds(const Seen *s, uint64_t at, const uint8_t *p)
{
    return at < s->size ? memcmp(s->bytes + at, p, 512) == 0 : is_zero(p);
}

static bool was_written(uint64_t at, const uint8_t *p)
{
    return memcmp(p, p + 1, 511) == 0 && meanwhile[at / 512][p[0] / 8] >> p[0] % 8 & 1;
}

/* True: some sector is not as it was in @before. */
static bool check_bytes(const Change *c, const Seen *before, const Seen *after, const Seen *is, bool done,
                        const char *where)
{
    bool written = false;

    for (uint64_t at = 0; at < is->size; at += 512) {
        const uint8_t *p = is->bytes + at;
        bool old = holds(before, at, p), new = holds(after, at, p);

        written |= !old;
        bool any = was_written(at, p) || (c->any_tail && at + 512 > after->size);

        if (done ? !new : !old && !new && !is_zero(p) && !any) {
            fail_msg("%s: the sector at %#" PRIx64 " holds %02x...", where, at, p[0]);
        }
        if (is->size == after->size && after->size > before->size && at >= before->size && !old && !new) {
            fail_msg("%s: the sector at %#" PRIx64 " shows what is behind", where, at);
        }
    }
    return written;
}

static bool same_bitmap(const Seen *a, const Seen *b, unsigned i)
{
    return a->has_bitmap[i] && b->has_bitmap[i] && a->size == b->size &&
           memcmp(a->dirty[i], b->dirty[i], a->size / 512) == 0 && a->recording[i] == b->recording[i];
}

static void check_bitmap(const Seen *before, const Seen *after, const Seen *is, unsigned i, bool written,
                         bool over, const char *where)
{
    bool old = same_bitmap(before, is, i), new = same_bitmap(after, is, i);

    if (over && (is->has_bitmap[i] != after->has_bitmap[i] || (is->has_bitmap[i] && is->broken[i]))) {
        fail_msg("%s: bitmap %u is lost", where, i);
    }
    if (is->has_bitmap[i] && !is->broken[i] && !(over ? new : (old && !written) || new)) {
        fail_msg("%s: bitmap %u is neither that of before nor that of after", where, i);
    }
}

static void check_snapshot(const Seen *before, const Seen *after, const Seen *is, unsigned i, bool done,
                           const char *where)
{
    const Seen *of = before->snapshot[i] ? before : after;
    bool there = is->snapshot[i];

    if (done ? there != (after->snapshot[i] != NULL)
        : there ? !of->snapshot[i] : before->snapshot[i] && after->snapshot[i]) {
        fail_msg("%s: snapshot %u is%s there", where, i, there ? "" : " not");
    }
    if (there && (is->snapshot_size[i] != of->snapshot_size[i] ||
                  memcmp(is->snapshot[i], of->snapshot[i], of->snapshot_size[i]) != 0)) {
        fail_msg("%s: snapshot %u holds something else", where, i);
    }
}

static void check_sound(const Shape *s, const char *where)
{
    BlkNode *n = image_open(s, true);

    mem_check(n, where);
    close_ok(n);
}

/* All of what the cut left is written; what it thinks is free, is. */
static void check_usable(const Shape *s, const char *where)
{
    BlkNode *n = image_open(s, false);
    uint64_t size = blk_size(n);
    g_autofree uint8_t *buf = g_malloc(size);

    for (uint64_t at = 0; at < size; at += 512) {
        memset(buf + at, (int)(at / 512 % 251 + 1), 512);
    }
    must(blk_pwrite(n, 0, buf, size));
    must(blk_pflush(n));
    g_autofree uint8_t *got = bytes_of(n);
    assert_memory_equal(got, buf, size);
    close_ok(n);
    check_sound(s, where);
}

/* @done: the change was answered; @over: the image was closed. */
static void check_cut(const Shape *s, const Change *c, const Seen *before, const Seen *after, bool done,
                      bool over, const char *where)
{
    Seen is = { 0 };

    check_sound(s, where);
    see(s, &is);
    if (is.size != after->size && (done || (is.size != before->size && is.size != c->between))) {
        fail_msg("%s: the image has %" PRIu64 " bytes", where, is.size);
    }
    bool written = check_bytes(c, before, after, &is, done, where);
    for (unsigned i = 0; i < NAMES; i++) {
        check_bitmap(before, after, &is, i, written, over, where);
        check_snapshot(before, after, &is, i, done, where);
    }
    seen_clear(&is);
    check_usable(s, where);
}

/* --- the changes --- */

static void resize(BlkNode *n, uint64_t size)
{
    Error *err = NULL;

    must_have(blk_truncate(n, size, &err), err);
}

static void no_preparation(BlkNode *n, GRand *rand)
{
}

static void act_grow(BlkNode *n, GRand *rand)
{
    resize(n, MiB + 300 * KiB + 512);
}

/* More than one cluster of L1 entries, where clusters are small. */
static void act_grow_far(BlkNode *n, GRand *rand)
{
    resize(n, MAX_SIZE);
}

static void act_grow_twice(BlkNode *n, GRand *rand)
{
    scribble(n, rand, 2);
    resize(n, MiB + 64 * KiB);
    resize(n, MAX_SIZE);
    must(blk_pflush(n));
}

static void act_shrink(BlkNode *n, GRand *rand)
{
    resize(n, 400 * KiB + 512);
}

static void act_shrink_and_grow(BlkNode *n, GRand *rand)
{
    resize(n, 400 * KiB + 512);
    resize(n, MiB);
}

static void act_premap(BlkNode *n, GRand *rand)
{
    resize(n, 2 * MiB);
    must(blk_premap(n, MiB, 2 * MiB));
}

static void prepare_grown(BlkNode *n, GRand *rand)
{
    resize(n, MAX_SIZE);
}

/* What takes many reference counts: the table gets longer where blocks are small. */
static void act_fill(BlkNode *n, GRand *rand)
{
    g_autofree uint8_t *buf = g_malloc(MAX_SIZE);

    memset(buf, 0xab, MAX_SIZE);
    must(blk_pwrite(n, 0, buf, MAX_SIZE / 2));
    must(blk_pflush(n));
    must(blk_pwrite(n, MAX_SIZE / 2, buf, MAX_SIZE / 2));
    must(blk_pflush(n));
}

static BlkBitmap *bitmap_add(BlkNode *n, const char *name)
{
    Error *err = NULL;
    BlkBitmap *b = blk_bitmap_add(n, name, 4096, true, &err);

    must_have(b, err);
    return b;
}

static void prepare_bitmaps(BlkNode *n, GRand *rand)
{
    bitmap_add(n, "0");
    scribble(n, rand, 3);
    bitmap_add(n, "1");
    scribble(n, rand, 3);
}

static void act_bitmap_add(BlkNode *n, GRand *rand)
{
    bitmap_add(n, "2");
    scribble(n, rand, 3);
    must(blk_pflush(n));
}

static void act_bitmap_only_close(BlkNode *n, GRand *rand)
{
}

static void act_bitmap_change(BlkNode *n, GRand *rand)
{
    Error *err = NULL;
    BlkBitmap *zero = blk_bitmap_find(n, "0"), *one = blk_bitmap_find(n, "1"), *two = bitmap_add(n, "2");

    scribble(n, rand, 2);
    must_have(blk_bitmap_merge(two, one, &err), err);
    blk_bitmap_clear(one, 0, blk_size(n));
    blk_bitmap_record(two, false);
    blk_bitmap_remove(zero);
    scribble(n, rand, 2);
    must(blk_pflush(n));
}

static void act_bitmap_remove(BlkNode *n, GRand *rand)
{
    blk_bitmap_remove(blk_bitmap_find(n, "1"));
    blk_bitmap_remove(blk_bitmap_find(n, "0"));
}

static void snapshot_make(BlkNode *n, const char *name)
{
    Error *err = NULL;

    must_have(blk_snapshot_create(n, &(BlkSnapshot){ .name = (char *)(uintptr_t)name }, &err), err);
}

static unsigned snapshot_at(BlkNode *n, const char *name)
{
    g_autoptr(GArray) list = blk_snapshots(n, NULL);
    int at = blk_snapshot_find(list, NULL, name);

    assert_true(at >= 0);
    return (unsigned)at;
}

static void prepare_snapshots(BlkNode *n, GRand *rand)
{
    snapshot_make(n, "0");
    scribble(n, rand, 4);
    snapshot_make(n, "1");
    scribble(n, rand, 4);
}

static void act_snapshot(BlkNode *n, GRand *rand)
{
    snapshot_make(n, "2");
}

static void act_snapshot_apply(BlkNode *n, GRand *rand)
{
    Error *err = NULL;

    must_have(blk_snapshot_apply(n, snapshot_at(n, "0"), &err), err);
}

static void act_snapshot_delete(BlkNode *n, GRand *rand)
{
    Error *err = NULL;

    must_have(blk_snapshot_delete(n, snapshot_at(n, "0"), &err), err);
    must_have(blk_snapshot_delete(n, snapshot_at(n, "1"), &err), err);
}

static void amend(BlkNode *n, const BlkAmend *how)
{
    Error *err = NULL;

    must_have(blk_amend(n, how, false, &err), err);
}

static void act_counts(BlkNode *n, GRand *rand)
{
    amend(n, &(BlkAmend){ .has_refcount_bits = true, .refcount_bits = 32 });
}

static void act_older(BlkNode *n, GRand *rand)
{
    amend(n, &(BlkAmend){ .has_refcount_bits = true, .refcount_bits = 16 });
    amend(n, &(BlkAmend){ .version = 2 });
}

static const Change changes[] = {
    { "grow", no_preparation, act_grow },
    { "grow far", no_preparation, act_grow_far },
    { "grow twice", no_preparation, act_grow_twice, .between = MiB + 64 * KiB },
    { "shrink", no_preparation, act_shrink, .any_tail = true },
    { "shrink and grow", no_preparation, act_shrink_and_grow, .any_tail = true,
      .between = 400 * KiB + 512 },
    { "premap", no_preparation, act_premap },
    { "fill", prepare_grown, act_fill },
    { "add a bitmap", prepare_bitmaps, act_bitmap_add, .v3 = true },
    { "open with bitmaps", prepare_bitmaps, act_bitmap_only_close, .v3 = true },
    { "change bitmaps", prepare_bitmaps, act_bitmap_change, .v3 = true },
    { "remove bitmaps", prepare_bitmaps, act_bitmap_remove, .v3 = true },
    { "snapshot", prepare_snapshots, act_snapshot },
    { "apply", prepare_snapshots, act_snapshot_apply },
    { "delete snapshots", prepare_snapshots, act_snapshot_delete },
    { "grow with snapshots", prepare_snapshots, act_grow_far, .v3 = true },
    { "other counts", prepare_snapshots, act_counts, .v3 = true },
    { "older version", no_preparation, act_older, .v3 = true, .plain = true },
};

static const Shape shapes[] = {
    { "512", { .cluster_size = 512, .refcount_bits = 64 } },
    { "4k over a file", { .cluster_size = 4096 }, .backed = true },
    { "4k, LUKS", { .cluster_size = 4096, .encrypt_format = "luks" } },
    { "v2 over a file", { .cluster_size = 4096, .v2 = true }, .backed = true },
    { "extended", { .cluster_size = 16384, .extended_l2 = true } },
    { "64k over a file, lazy", { .lazy_refcounts = true }, .backed = true },
};

static void image_make(const Shape *s, GRand *rand)
{
    BlkCreate o = s->image;

    mem_wipe(BASE);
    mem.size[BASE] = mem.used[BASE] = s->backed ? MAX_SIZE : 0;
    memset(mem.bytes[BASE], 0x77, mem.size[BASE]);
    o.driver = "qcow2";
    o.size = MiB;
    o.luks = (BlkLuksCreate){ .key_secret = "key", .iter_time = 1, .has_iter_time = true };
    mem_format(TOP, &o);
    BlkNode *n = image_open(s, false);
    scribble(n, rand, 8);
    must(blk_pflush(n));
    close_ok(n);
}

/* What an image was, that is then as it was again. */
static void see_copy(const Shape *s, Seen *out)
{
    uint64_t size = mem.size[TOP];
    g_autofree uint8_t *copy = g_memdup2(mem.bytes[TOP], size);

    see(s, out);
    mem_wipe(TOP);
    memcpy(mem.bytes[TOP], copy, size);
    mem.size[TOP] = mem.used[TOP] = size;
}

static void change_case(const Shape *s, const Change *c, unsigned seed)
{
    GRand *rand = g_rand_new_with_seed(seed);
    Seen before = { 0 }, after = { 0 };

    image_make(s, rand);
    BlkNode *n = image_open(s, false);
    c->prepare(n, rand);
    close_ok(n);
    see_copy(s, &before);
    mem_log_start();
    memset(meanwhile, 0, sizeof(meanwhile));
    n = image_open(s, false);
    c->act(n, rand);
    unsigned done = mem_log_len();
    close_ok(n);
    mem.logging = false;
    see_copy(s, &after);
    unsigned all = mem.log->len, jump = MAX(all / from_env("CUTS", 4), 1);
    for (unsigned cut = 0, last = 0; !last; cut += (unsigned)g_rand_int_range(rand, 1, 2 * (int)jump)) {
        last = cut >= all;
        cut = MIN(cut, all);
        for (unsigned variant = 0; variant < VARIANTS; variant++) {
            g_autofree char *where = g_strdup_printf("%s, %s, seed %u, cut %u of %u, variant %u", s->name,
                                                     c->name, seed, cut, all, variant);

            mem_cut(cut, variant ? rand : NULL);
            check_cut(s, c, &before, &after, cut >= done, cut == all, where);
        }
    }
    seen_clear(&before);
    seen_clear(&after);
    g_rand_free(rand);
}

static void test_changes(void **state)
{
    for (unsigned i = 0; i < cases_to_run(ARRAY_LEN(shapes)); i++) {
        const Shape *s = &shapes[i];

        for (unsigned k = 0; k < ARRAY_LEN(changes); k++) {
            const Change *c = &changes[k];

            if ((c->v3 && s->image.v2) || (c->plain && (s->image.encrypt_format || s->image.extended_l2))) {
                continue;
            }
            change_case(s, c, from_env("SEED", 1200) + i * 100 + k);
        }
    }
}

/* --- new images --- */

static const BlkCreate news[] = {
    { 0 }, { .cluster_size = 512, .refcount_bits = 64 },
    { .prealloc = BLK_PREALLOC_METADATA, .zstd = true },
    { .prealloc = BLK_PREALLOC_METADATA, .cluster_size = 512 },
    { .backing_file = "base", .backing_fmt = "raw", .extended_l2 = true },
    { .backing_file = "base", .extended_l2 = true, .prealloc = BLK_PREALLOC_METADATA },
    { .backing_file = "base", .extended_l2 = true, .prealloc = BLK_PREALLOC_FULL },
    { .prealloc = BLK_PREALLOC_FALLOC, .v2 = true },
    { .prealloc = BLK_PREALLOC_FALLOC, .cluster_size = 4096 },
    { .prealloc = BLK_PREALLOC_FULL, .cluster_size = 4096, .refcount_bits = 1 },
    { .encrypt_format = "luks" }, { .encrypt_format = "luks", .prealloc = BLK_PREALLOC_METADATA },
    { .encrypt_format = "luks", .prealloc = BLK_PREALLOC_FALLOC },
    { .encrypt_format = "luks", .prealloc = BLK_PREALLOC_FULL, .cluster_size = 4096 },
};

/* The file has no image, or (for certain if @over) a sound one that reads as zeroes. */
static void check_new(const BlkCreate *o, bool over, const char *where)
{
    BlkOptions file = { .driver = "mem", .filename = "top" };
    BlkOptions how = { .driver = "qcow2", .child = &file, .backing_none = true,
                       .key_secret = o->encrypt_format ? "key" : NULL };
    Error *err = NULL;
    BlkNode *n = blk_open(&how, &err);

    if (!n) {
        if (over) {
            fail_msg("%s: %s", where, error_text(err));
        }
        error_free(err);
        return;
    }
    mem_check(n, where);
    g_autofree uint8_t *bytes = bytes_of(n);
    if (blk_size(n) != MiB || bytes[0] || memcmp(bytes, bytes + 1, MiB - 1) != 0) {
        fail_msg("%s: the new disk does not read as zeroes", where);
    }
    assert_true(!o->backing_file == !blk_backing_file(n));
    close_ok(n);
}

static void test_create(void **state)
{
    for (unsigned i = 0; i < ARRAY_LEN(news); i++) {
        GRand *rand = g_rand_new_with_seed(from_env("SEED", 1100) + i);
        BlkCreate o = news[i];

        o.driver = "qcow2";
        o.size = MiB;
        o.luks = (BlkLuksCreate){ .key_secret = "key", .iter_time = 1, .has_iter_time = true };
        mem_wipe(TOP);
        mem_log_start();
        mem_format(TOP, &o);
        mem.logging = false;
        unsigned all = mem.log->len, jump = MAX(all / 32, 1);
        for (unsigned cut = 0, last = 0; !last; cut += jump) {
            last = cut >= all;
            cut = MIN(cut, all);
            for (unsigned variant = 0; variant < VARIANTS; variant++) {
                g_autofree char *where = g_strdup_printf("new image %u, cut %u of %u, variant %u", i, cut,
                                                         all, variant);

                mem_cut(cut, variant ? rand : NULL);
                check_new(&o, cut == all, where);
            }
        }
        g_rand_free(rand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create), cmocka_unit_test(test_changes),
    };

    thread_become_control();
    loop_control();            /* made here: only control may */
    if (!secret_add("key", &(SecretOptions){ .data = "word" }, NULL)) {
        return 1;
    }
    mem_begin();
    int failed = cmocka_run_group_tests_name("qcow2-change-cut", tests, NULL, NULL);
    mem_end();
    secret_remove("key");
    return failed;
}
