/* qcow2-cut-test.c: the power goes at any moment.
 *
 * The image lies in memory and keeps a log of what was written to it.  For prefixes of the log, and
 * for seeded choices of which writes since the last sync had reached the disk, the image is opened
 * again: nothing worse than leaks may be found, and every sector holds what it had at the last
 * flush that was answered, or with the last write with FUA, or something written to it later.  A
 * snapshot that was made is there and
 * holds what the image did.  Of a write of several sectors some may be missing.  What the image discards
 * in the file reads as zeroes from then on. */
#include "tests/unit/block-helper.h"
#include <inttypes.h>
#include <stdio.h>
#include "block/block-int.h"

#define SIZE (2 * MiB)
#define SECTORS (SIZE / 512)
#define FILE_MAX (256 * MiB)     /* a run of clusters takes up to 64 MiB of places */
#define STEPS 60

typedef struct LogEntry {
    uint64_t off, len;         /* len 0: a sync */
    uint8_t *data;             /* NULL: zeroes */
    bool fua;
} LogEntry;

static struct {
    uint8_t *bytes;            /* of the "file" */
    uint64_t size;
    GArray *log;               /* LogEntry */
    bool logging;
    unsigned discards;
} disk;

/* --- the file in memory --- */

static bool mem_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    n->size = ALIGN_UP(disk.size, 512);
    n->limits.can_grow = true;
    return true;
}

static int mem_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                        unsigned niov, uint64_t len)
{
    LogEntry e = { off, op == BLK_FLUSH ? 0 : len, NULL, flags & BLK_FUA };

    if (off > FILE_MAX || len > FILE_MAX - off) {
        return -ENOSPC;
    }
    if (op == BLK_READ) {
        blk_iov_write(iov, niov, 0, disk.bytes + off, len);
        return 0;
    }
    if (op == BLK_WRITE) {
        blk_iov_read(iov, niov, 0, disk.bytes + off, len);
        e.data = disk.logging ? g_memdup2(disk.bytes + off, len) : NULL;
    } else if (op == BLK_ZERO || op == BLK_DISCARD) {
        memset(disk.bytes + off, 0, len);
        disk.discards += disk.logging && op == BLK_DISCARD;
    }
    disk.size = MAX(disk.size, off + len);
    if (disk.logging) {
        g_array_append_val(disk.log, e);
    }
    return 0;
}

/* One thread at a time: the worker waits for each request, and pool jobs run while it does. */
static Lock disk_lock = LOCK_INIT(RANK_LEAF, "disk");

static int mem_locked(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                      unsigned niov, uint64_t len)
{
    lock_take(&disk_lock);
    int ret = mem_blocking(n, op, flags, off, iov, niov, len);
    lock_drop(&disk_lock);
    return ret;
}

static void mem_submit(BlkLane *l, BlkReq *r)
{
    blk_complete_later(r, mem_locked(l->node, r->op, r->flags, r->pos, r->cur, r->ncur, r->left));
}

static const BlkDriver mem_driver = {
    .name = "mem", .open = mem_open, .submit = mem_submit, .blocking = mem_locked,
};

/* What is behind the image, or NULL. */
static char *behind;

static BlkNode *open_mem(bool read_only)
{
    BlkOptions file = { .driver = "mem" };
    BlkOptions o = { .driver = "qcow2", .child = &file, .discard_unmap = true, .read_only = read_only,
                     .pass_discard = { [BLK_FREED_OTHER] = BLK_ON } };

    return open_ok(&o);
}

/* --- what was written --- */

/* A sector's contents are one number in its first bytes; 0: zeroes. */
static uint64_t written[SECTORS][STEPS + 1];   /* after each step */

static void fill(uint8_t *buf, uint64_t first, uint64_t n, unsigned step, bool zero)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = zero ? 0 : (uint64_t)step << 32 | (first + i + 1);

        memset(buf + i * 512, 0, 512);
        st64(buf + i * 512, v);
        written[first + i][step] = v;
    }
}

/* Where step N wrote with FUA. */
static struct { uint64_t first, count; } durable[STEPS + 1];

/* Snapshot "N" is made by step N, and there until step gone_at[N] begins; 0: that step made none. */
static unsigned gone_at[STEPS + 1];

static unsigned a_snapshot(GRand *rand, unsigned step)
{
    unsigned there[STEPS + 1], n = 0;

    for (unsigned i = 1; i < step; i++) {
        if (gone_at[i] > STEPS) {
            there[n++] = i;
        }
    }
    return n ? there[g_rand_int_range(rand, 0, (int)n)] : 0;
}

/* Makes a snapshot, or deletes or applies one. */
static void snapshot_step(BlkNode *n, GRand *rand, unsigned step)
{
    unsigned old = g_rand_int_range(rand, 0, 3) ? a_snapshot(rand, step) : 0;
    g_autofree char *name = g_strdup_printf("%u", old ? old : step);
    Error *err = NULL;
    g_autoptr(GArray) list = blk_snapshots(n, &err);
    bool ok;

    if (!old) {
        gone_at[step] = STEPS + 1;
        ok = blk_snapshot_create(n, &(BlkSnapshot){ .name = name }, &err);
    } else if (g_rand_boolean(rand)) {
        gone_at[old] = step;
        ok = blk_snapshot_delete(n, (unsigned)blk_snapshot_find(list, NULL, name), &err);
    } else {
        for (unsigned s = 0; s < SECTORS; s++) {
            written[s][step] = written[s][old];
        }
        ok = blk_snapshot_apply(n, (unsigned)blk_snapshot_find(list, NULL, name), &err);
    }
    if (!ok) {
        fail_msg("step %u: %s", step, error_text(err));
    }
}

/* Runs STEPS random writes, zeroings, discards and flushes, and with @snapshots those too; after each the
 * log's length tells how far it got. */
static unsigned run_steps(BlkNode *n, Loop *l, GRand *rand, bool snapshots, unsigned *log_at,
                          unsigned *flush_of)
{
    uint8_t *buf = aligned(256 * KiB);
    unsigned last_flush = 0;

    memset(gone_at, 0, sizeof(gone_at));
    memset(durable, 0, sizeof(durable));
    for (unsigned step = 1; step <= STEPS; step++) {
        uint64_t first = (uint64_t)g_rand_int_range(rand, 0, SECTORS);
        uint64_t most = g_rand_boolean(rand) ? 8 : 400;
        uint64_t count = (uint64_t)g_rand_int_range(rand, 1, 1 + (int)MIN(most, SECTORS - first));
        unsigned what = g_rand_int_range(rand, 0, 10);
        bool fua = what == 5;
        BlkOp op = what < 6 ? BLK_WRITE : what < 7 ? BLK_ZERO : what < 8 ? BLK_DISCARD : BLK_FLUSH;

        for (unsigned s = 0; s < SECTORS; s++) {
            written[s][step] = written[s][step - 1];
        }
        if (snapshots && step % 5 == 0) {
            snapshot_step(n, rand, step);
            last_flush = step;
            log_at[step] = disk.log->len;
            flush_of[step] = last_flush;
            continue;
        }
        if (op == BLK_FLUSH) {
            first = count = 0;
            last_flush = step;
        } else {
            fill(buf, first, count, step, op != BLK_WRITE);
        }
        assert_int_equal(io_run(n, l, op, op == BLK_ZERO ? BLK_MAY_UNMAP : fua ? BLK_FUA : 0, first * 512,
                                op == BLK_WRITE ? buf : NULL, count * 512), 0);
        durable[step].first = first;
        durable[step].count = fua ? count : 0;
        if (op == BLK_DISCARD) {       /* whatever it reads as now */
            assert_int_equal(io_run(n, l, BLK_READ, 0, first * 512, buf, count * 512), 0);
            for (uint64_t i = 0; i < count; i++) {
                written[first + i][step] = ld64(buf + i * 512);
            }
        }
        log_at[step] = disk.log->len;
        flush_of[step] = last_flush;
    }
    free(buf);
    return STEPS;
}

/* --- a cut --- */

static void complaint(const char *text, void *arg)
{
    if (!g_str_has_prefix(text, "Leaked")) {
        g_string_append_printf(arg, "%s\n", text);
    }
}

/* The step of the last write with FUA to sector @s, of those up to @done; or @done's flush. */
static unsigned durable_since(unsigned s, unsigned flushed, unsigned done)
{
    for (unsigned step = done; step > flushed; step--) {
        if (s - durable[step].first < durable[step].count) {
            return step;
        }
    }
    return flushed;
}

/* The sectors hold what they had after step @flushed, or later; and what was FUA by step @done. */
static void check_contents(BlkNode *n, unsigned flushed, unsigned done, unsigned reached, const char *where)
{
    g_autofree uint8_t *got = g_malloc(SIZE);

    assert_int_equal(blk_pread(n, 0, got, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        uint64_t v = ld64(got + s * 512);
        bool fine = false;

        for (unsigned step = durable_since(s, flushed, done); step <= reached && !fine; step++) {
            fine = written[s][step] == v || v == 0;
            if (v == 0) {              /* zeroes are right only if it held them at some time since */
                fine = written[s][step] == 0;
            }
        }
        if (!fine) {
            fail_msg("%s: sector %u holds %#" PRIx64 ", and had %#" PRIx64 " at the flush", where, s, v,
                     written[s][flushed]);
        }
    }
}

static void check_image(BlkNode *n, const char *where)
{
    g_autoptr(GString) text = g_string_new(NULL);
    BlkCheck found = { .say = complaint, .arg = text };
    Error *err = NULL;

    assert_true(blk_check(n, 0, &found, &err));
    if (found.corruptions) {
        fail_msg("%s: %s", where, text->str);
    }
}

/* Those made by step @done and not touched until @reached are there; what each is, is what the image was. */
static void check_snapshots(unsigned done, unsigned reached, const char *where)
{
    Error *err = NULL;
    BlkNode *n = open_mem(false);
    g_autoptr(GArray) list = blk_snapshots(n, &err);

    assert_non_null(list);
    for (unsigned i = 1; i <= done; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);

        if (gone_at[i] > reached && blk_snapshot_find(list, NULL, name) < 0) {
            fail_msg("%s: snapshot %u is lost", where, i);
        }
    }
    for (unsigned i = 0; i < list->len; i++) {
        unsigned step = (unsigned)atoi(g_array_index(list, BlkSnapshot, i).name);

        assert_true(blk_snapshot_apply(n, i, &err));
        check_contents(n, step, step, step, where);
    }
    check_image(n, where);
    close_ok(n);
}

static void check_cut(unsigned flushed, unsigned done, unsigned reached, const char *where)
{
    BlkNode *n = open_mem(true);

    check_image(n, where);
    check_contents(n, flushed, done, reached, where);
    close_ok(n);
    check_snapshots(done, reached, where);
}

/* @rand: some of the sectors are not there. */
static void apply(const LogEntry *e, GRand *rand)
{
    if (e->len == 0) {
        return;
    }
    for (uint64_t at = e->off, next; at < e->off + e->len; at = next) {
        next = rand ? MIN(ALIGN_DOWN(at, 512) + 512, e->off + e->len) : e->off + e->len;
        if (rand && g_rand_boolean(rand)) {
            continue;
        }
        if (e->data) {
            memcpy(disk.bytes + at, e->data + (at - e->off), next - at);
        } else {
            memset(disk.bytes + at, 0, next - at);
        }
    }
    disk.size = MAX(disk.size, e->off + e->len);
}

/* The disk as it is when the power goes after @cut entries; of those since the last sync only some
 * got there, and of some only a part of the sectors, as @rand has it (NULL: all). */
static void rebuild(const uint8_t *start, uint64_t start_size, unsigned cut, GRand *rand)
{
    unsigned sync = 0;

    memset(disk.bytes, 0, disk.size);          /* behind that are zeroes */
    memcpy(disk.bytes, start, start_size);
    disk.size = start_size;
    for (unsigned i = 0; i < cut; i++) {
        sync = g_array_index(disk.log, LogEntry, i).len == 0 ? i : sync;
    }
    for (unsigned i = 0; i < cut; i++) {
        const LogEntry *e = &g_array_index(disk.log, LogEntry, i);

        if (i < sync || e->fua || !rand || g_rand_boolean(rand)) {
            apply(e, i < sync || e->fua || !rand || g_rand_boolean(rand) ? NULL : rand);
        }
    }
}

static void log_clear(void)
{
    for (unsigned i = 0; i < disk.log->len; i++) {
        g_free(g_array_index(disk.log, LogEntry, i).data);
    }
    g_array_set_size(disk.log, 0);
}

static void make_image(const char *options)
{
    g_autofree char *path = temp_file(0, false);
    g_autofree char *backing = behind ? g_strdup_printf("-F raw -b %s", behind) : g_strdup("");
    g_autofree char *line = g_strdup_printf("qemu-img create -q -f qcow2 -o %s %s %s %" PRIu64, options,
                                            backing, path, (uint64_t)SIZE);
    g_autofree char *bytes = NULL;
    gsize len = 0;
    int status = -1;

    assert_true(g_spawn_command_line_sync(line, NULL, NULL, &status, NULL) && status == 0);
    assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    memset(disk.bytes, 0, disk.size);          /* behind that are zeroes */
    memcpy(disk.bytes, bytes, len);
    disk.size = len;
    g_unlink(path);
}

/* @backed: bytes of a file behind the image. */
static void cut_case(const char *options, uint64_t backed, bool snapshots, unsigned seed)
{
    unsigned log_at[STEPS + 1] = { 0 }, flush_of[STEPS + 1] = { 0 };
    GRand *rand = g_rand_new_with_seed(seed);
    Loop *l = worker_new("w0");

    memset(written, 0, sizeof(written));
    if (backed) {
        g_autofree uint8_t *bytes = g_malloc0(backed);

        fill(bytes, 0, backed / 512, 0, false);
        behind = temp_file(0, false);
        assert_true(g_file_set_contents(behind, (char *)bytes, (gssize)backed, NULL));
    }
    make_image(options);
    uint64_t start_size = disk.size;
    g_autofree uint8_t *start = g_memdup2(disk.bytes, start_size);
    disk.log = g_array_new(false, false, sizeof(LogEntry));
    disk.logging = true;
    BlkNode *n = open_mem(false);
    run_steps(n, l, rand, snapshots, log_at, flush_of);
    close_ok(n);
    disk.logging = false;
    unsigned step = 0, jump = MAX(disk.log->len / 50, 1);
    for (unsigned cut = 0; cut <= disk.log->len; cut += g_rand_int_range(rand, 1, 2 * (int)jump + 1)) {
        while (step < STEPS && log_at[step] < cut) {
            step++;                    /* the step that was going on */
        }
        unsigned done = step && log_at[step] > cut ? step - 1 : step;
        for (unsigned variant = 0; variant < 3; variant++) {
            g_autofree char *where = g_strdup_printf("%s seed %u cut %u of %u, variant %u", options, seed,
                                                     cut, disk.log->len, variant);

            rebuild(start, start_size, cut, variant ? rand : NULL);
            check_cut(flush_of[done], done, step, where);
        }
    }
    log_clear();
    g_array_free(disk.log, true);
    worker_free(l);
    g_rand_free(rand);
    if (behind) {
        g_unlink(behind);
        g_clear_pointer(&behind, g_free);
    }
}

/* Clusters that a part is written of, and the rest copied by a flush. */
static void test_backed_cuts(void **state)
{
    static const struct { const char *options; uint64_t backed; bool snapshots; } cases[] = {
        { "cluster_size=65536", SIZE, false },
        { "cluster_size=65536", SIZE / 2 + 5 * 512, true },
        { "cluster_size=262144", SIZE - 512, false },
        { "compat=0.10,cluster_size=65536", SIZE, true },
    };
    g_autofree char *tool = g_find_program_in_path("qemu-img");
    const char *seed = g_getenv("SEED");

    if (!tool) {
        print_message("no qemu-img: skipped\n");
        skip();
    }
    for (unsigned i = 0; i < cases_to_run(ARRAY_LEN(cases)); i++) {
        cut_case(cases[i].options, cases[i].backed, cases[i].snapshots,
                 (seed ? (unsigned)atoi(seed) : 400) + i);
    }
}

static void test_cuts(void **state)
{
    static const char *const options[] = {
        "cluster_size=65536", "cluster_size=4096", "cluster_size=512,refcount_bits=64",
        "cluster_size=4096,refcount_bits=1", "extended_l2=on,cluster_size=16384",
        "compat=0.10,cluster_size=4096",
    };
    g_autofree char *tool = g_find_program_in_path("qemu-img");
    const char *seed = g_getenv("SEED");

    if (!tool) {
        print_message("no qemu-img: skipped\n");
        skip();
    }
    disk.discards = 0;
    for (unsigned i = 0; i < cases_to_run(ARRAY_LEN(options)); i++) {
        bool narrow = strstr(options[i], "refcount_bits=1");

        cut_case(options[i], 0, false, seed ? (unsigned)atoi(seed) + i : 100 + i);
        if (!narrow) {
            cut_case(options[i], 0, true, seed ? (unsigned)atoi(seed) + i : 200 + i);
        }
    }
    assert_true(disk.discards > 0);            /* not each seed has some */
}

/* --- a cut while the image is amended --- */

/* Whenever the power goes while @o is done to an image that @options and @snapshots tell of, it is sound and
 * holds what it held. */
static void amend_case(const char *options, bool snapshots, const BlkAmend *o, unsigned seed)
{
    unsigned log_at[STEPS + 1] = { 0 }, flush_of[STEPS + 1] = { 0 };
    GRand *rand = g_rand_new_with_seed(seed);
    Loop *l = worker_new("w0");
    Error *err = NULL;

    memset(written, 0, sizeof(written));
    make_image(options);
    disk.log = g_array_new(false, false, sizeof(LogEntry));
    BlkNode *n = open_mem(false);
    run_steps(n, l, rand, snapshots, log_at, flush_of);
    close_ok(n);
    log_clear();
    uint64_t start_size = disk.size;
    g_autofree uint8_t *start = g_memdup2(disk.bytes, start_size);
    disk.logging = true;
    n = open_mem(false);
    if (!blk_amend(n, o, false, &err)) {
        fail_msg("%s: %s", options, error_text(err));
    }
    close_ok(n);
    disk.logging = false;
    for (unsigned cut = 0; cut <= disk.log->len; cut++) {
        for (unsigned variant = 0; variant < 3; variant++) {
            g_autofree char *where = g_strdup_printf("amend %s seed %u cut %u of %u, variant %u", options,
                                                     seed, cut, disk.log->len, variant);

            rebuild(start, start_size, cut, variant ? rand : NULL);
            check_cut(STEPS, STEPS, STEPS, where);
        }
    }
    log_clear();
    g_array_free(disk.log, true);
    worker_free(l);
    g_rand_free(rand);
}

static void test_amend_cuts(void **state)
{
    static const struct { const char *options; bool snapshots; BlkAmend o; } cases[] = {
        { "cluster_size=4096", true, { .version = 2 } },
        { "cluster_size=4096,compat=0.10", true,
          { .version = 3, .has_refcount_bits = true, .refcount_bits = 8 } },
        { "cluster_size=512", true, { .has_refcount_bits = true, .refcount_bits = 64 } },
        { "cluster_size=65536,refcount_bits=64", false, { .has_refcount_bits = true, .refcount_bits = 1 } },
        { "cluster_size=65536,refcount_bits=8,lazy_refcounts=on", true,
          { .version = 2, .has_refcount_bits = true, .refcount_bits = 16 } },
    };
    g_autofree char *tool = g_find_program_in_path("qemu-img");

    if (!tool) {
        print_message("no qemu-img: skipped\n");
        skip();
    }
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        amend_case(cases[i].options, cases[i].snapshots, &cases[i].o, 300 + i);
    }
}

/* --- a cut while the header names something else --- */

static BlkNode *open_names(void)
{
    BlkOptions file = { .driver = "mem" };

    return open_ok(&(BlkOptions){ .driver = "qcow2", .child = &file, .backing_none = true });
}

/* The name of what is behind the image and its format: "NAME:FORMAT", both empty for nothing. */
static char *names_of(BlkNode *n)
{
    BlkImageInfo info = { 0 };

    n->drv->info(n, &info);
    return g_strdup_printf("%s:%s", info.backing_file ? info.backing_file : "",
                           info.backing_format ? info.backing_format : "");
}

/* From the header there is to one that names @to (NULL: nothing) of @format: the one or the other is there
 * whenever the power goes. */
static void names_case(const char *options, const char *to, const char *format, GRand *rand)
{
    uint64_t start_size = disk.size;
    g_autofree uint8_t *start = g_memdup2(disk.bytes, start_size);
    BlkNode *n = open_names();
    g_autofree char *old = names_of(n);
    Error *err = NULL;

    disk.logging = true;
    if (!n->drv->set_backing_file(n, to, format, &err)) {
        fail_msg("%s: %s", options, error_text(err));
    }
    g_autofree char *new = names_of(n);
    close_ok(n);
    disk.logging = false;
    for (unsigned cut = 0; cut <= disk.log->len; cut++) {
        for (unsigned variant = 0; variant < 12; variant++) {
            rebuild(start, start_size, cut, variant ? rand : NULL);
            n = open_names();
            g_autofree char *is = names_of(n);
            if (strcmp(is, old) && strcmp(is, new)) {
                fail_msg("%s cut %u of %u: the image names '%s', not '%s' or '%s'", options, cut,
                         disk.log->len, is, old, new);
            }
            check_image(n, options);
            close_ok(n);
        }
    }
    rebuild(start, start_size, disk.log->len, NULL);
    log_clear();
}

static void test_names_cuts(void **state)
{
    static const char *const options[] = {
        "compat=1.1", "compat=0.10", "cluster_size=4096", "cluster_size=512",
    };
    g_autofree char *tool = g_find_program_in_path("qemu-img");
    g_autofree char *long_name = g_strnfill(900, 'n'), *other = g_strnfill(1000, 'o');

    if (!tool) {
        print_message("no qemu-img: skipped\n");
        skip();
    }
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        bool small = strstr(options[i], "=512");
        GRand *rand = g_rand_new_with_seed(500 + i);

        make_image(options[i]);
        disk.log = g_array_new(false, false, sizeof(LogEntry));
        names_case(options[i], "first", "raw", rand);
        names_case(options[i], small ? "second" : long_name, "qcow2", rand);
        names_case(options[i], small ? "third name" : other, NULL, rand);
        names_case(options[i], small ? "fourth" : long_name, "raw", rand);
        names_case(options[i], "fifth", "raw", rand);
        names_case(options[i], NULL, NULL, rand);
        g_array_free(disk.log, true);
        g_rand_free(rand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_backed_cuts),
        cmocka_unit_test(test_amend_cuts),
        cmocka_unit_test(test_names_cuts),
    };

    thread_become_control();
    blk_add_driver(&mem_driver);
    disk.bytes = g_malloc0(FILE_MAX);
    int failed = cmocka_run_group_tests_name("qcow2-cut", tests, NULL, NULL);
    g_free(disk.bytes);
    return failed;
}
