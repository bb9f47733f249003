/* job-cut-test.c: the power goes at any moment of a job, while the guest writes.
 *
 * The images lie in memory and keep a log of what was written to them.  For prefixes of the log, and for
 * seeded choices of what had reached the disks since they were last synced, the images are opened again,
 * each over what it says is behind it: nothing worse than leaks may be found, the guest's disk holds what
 * it had at the last flush that was answered, or something written later; a backup that was told to be
 * complete is; a bitmap that is not known to be out of date tells of every sector that differs from the
 * last backup.
 *
 * CUTS=N: about so many cuts of each case (default 25); SEED=N: another seed. */
#include "tests/unit/job-guest.h"

#include <stdlib.h>

static unsigned cuts_wanted(void)
{
    const char *cuts = g_getenv("CUTS");

    return cuts ? (unsigned)atoi(cuts) : 25;
}

/* --- opening what a cut left --- */

/* Opens file @i with what it says is behind it, all the way down. */
static BlkNode *chain_open(unsigned i, bool read_only)
{
    BlkNode *n = mem_image(i, NULL, NULL, true);
    g_autofree char *backing = g_strdup(blk_backing_file(n));

    close_ok(n);
    if (!backing) {
        return mem_image(i, mem_names[i], NULL, read_only);
    }
    unsigned below = mem_file(g_str_has_prefix(backing, "./") ? backing + 2 : backing);
    if (below == MEM_FILES) {
        fail_msg("the image of %s is over '%s'", mem_names[i], backing);
    }
    chain_open(below, true);
    return mem_image(i, mem_names[i], mem_names[below], read_only);
}

/* The sectors hold what they had after step @from, or later. */
static void check_contents(BlkNode *n, unsigned from, unsigned to, const char *where)
{
    g_autofree uint8_t *got = g_malloc(SIZE);

    assert_int_equal(blk_pread(n, 0, got, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        uint64_t v = ld64(got + s * 512);
        bool fine = false;

        for (unsigned step = from; step <= to && !fine; step++) {
            fine = t.written[s][step] == v;
        }
        if (!fine) {
            fail_msg("%s: sector %u of %s holds %#" PRIx64 ", and had %#" PRIx64 " at the flush", where, s,
                     blk_name(n), v, t.written[s][from]);
        }
    }
}

/* --- a case --- */

typedef struct Case {
    Kind kind;
    BlkCreate image;
} Case;

/* Where the guest's disk is after @cut entries; the move itself needs nothing that was not on the disk. */
static void check_disk(unsigned cut, unsigned flushed, unsigned reached, const char *where)
{
    for (unsigned i = 0; i < t.g.moves->len; i++) {
        const Move *m = &g_array_index(t.g.moves, Move, i);
        unsigned until = i + 1 < t.g.moves->len ? g_array_index(t.g.moves, Move, i + 1).at : UINT_MAX;

        if (m->at <= cut && cut <= until) {
            check_contents(chain_open(m->file, false), flushed, reached, where);
            images_close();
        }
    }
}

/* What is not in the bitmap of the source is in the backup. */
static void check_bitmap(unsigned cut, unsigned flushed, unsigned reached, const char *where)
{
    BlkNode *n = chain_open(TOP, true);
    const BlkBitmap *b = blk_bitmap_find(n, "b0");
    unsigned since = cut >= t.over_at ? t.moment : 0;

    if (cut == mem.log->len && (!b || blk_bitmap_info(b).inconsistent)) {
        fail_msg("%s: the bitmap is lost", where);     /* the image was closed */
    }
    if (b && !blk_bitmap_info(b).inconsistent) {
        for (unsigned s = 0; s < SECTORS; s++) {
            uint64_t off = s * 512;
            bool dirty = blk_bitmap_dirty(b, &off, 512) && off < (s + 1) * UINT64_C(512);

            if (!dirty && t.written[s][flushed] != t.written[s][since]) {
                fail_msg("%s: sector %u changed, and the bitmap does not know", where, s);
            }
        }
    }
    images_close();
}

static void check_cut(const Case *c, unsigned cut, const char *where)
{
    unsigned reached = 0, done;

    while (reached < t.g.step && t.g.log_at[reached] < cut) {
        reached++;             /* the step that was going on */
    }
    done = reached && t.g.log_at[reached] > cut ? reached - 1 : reached;
    for (unsigned i = BASE; i <= TARGET; i++) {
        BlkNode *n = mem_image(i, NULL, NULL, true);

        mem_check(n, where);
        close_ok(n);
    }
    check_disk(cut, t.g.flush_of[done], reached, where);
    if (kind_is_backup(c->kind) && c->kind < KINDS && cut >= t.over_at) {
        check_contents(chain_open(TARGET, true), t.moment, t.moment, where);
        images_close();
    }
    if (c->kind == BACKUP_INCREMENTAL) {
        check_bitmap(cut, t.g.flush_of[done], reached, where);
    }
}

static void check_cuts(const Case *c, GRand *rand, unsigned seed)
{
    unsigned all = mem.log->len, jump = MAX(all / cuts_wanted(), 1);

    for (unsigned cut = 0, last = 0; !last; cut += (unsigned)g_rand_int_range(rand, 1, 2 * (int)jump)) {
        last = cut >= all;
        cut = MIN(cut, all);
        for (unsigned variant = 0; variant < (cut == all ? 1 : 3); variant++) {
            g_autofree char *where = g_strdup_printf("%s, seed %u, cut %u of %u, variant %u",
                                                     c->kind < KINDS ? kind_names[c->kind] : "snapshot", seed,
                                                     cut, all, variant);

            mem_cut(cut, variant ? rand : NULL);
            check_cut(c, cut, where);
        }
    }
}

static void run_case(const Case *c, unsigned seed)
{
    GRand *rand = g_rand_new_with_seed(seed);
    JobOptions o = { .speed = 1, .max_chunk = 64 * KiB, .workers = 1 + seed % 3 };

    images_make(&c->image, rand, target_over(c->kind));
    if (c->kind == BACKUP_INCREMENTAL) {
        assert_non_null(blk_bitmap_add(t.n[TOP], "b0", 0, true, NULL));
        close_ok(t.n[TOP]);            /* and it is in the image */
        t.n[TOP] = mem_image(TOP, "top", "mid", false);
    }
    target_open(c->kind);
    guest_start(t.n[TOP], rand);
    mem_log_start();
    guest_moved(&t.g.user);
    job_and_guest(c->kind == MIRROR_NONE ? 0 : 4);     /* its target is a copy already */
    job_begin_ok(c->kind, &o);
    job_and_guest(STEPS * 2 / 3);
    job_to_the_end();
    if (t.failed) {
        fail_msg("%s: %s", kind_names[c->kind], t.error);
    }
    job_and_guest(STEPS);
    guest_verify(kind_names[c->kind]);
    blk_detach(&t.g.user);
    images_close();
    check_cuts(c, rand, seed);
    guest_end();
    g_rand_free(rand);
}

static void test_jobs(void **state)
{
    static const BlkCreate images[] = {
        { .cluster_size = 4096 }, { .cluster_size = 64 * KiB },
        { .cluster_size = 16 * KiB, .extended_l2 = true },
        { .cluster_size = 512 },
    };
    const char *seed = g_getenv("SEED");

    for (unsigned k = 0; k < cases_to_run(KINDS); k++) {
        for (unsigned i = 0; i < (cuts_wanted() > 25 ? ARRAY_LEN(images) : 1); i++) {
            Case c = { (Kind)k, images[(i + k) % ARRAY_LEN(images)] };

            run_case(&c, (seed ? (unsigned)atoi(seed) : 500) + k * 10 + i);
        }
    }
}

/* --- a copy that is the last --- */

static bool target_was_flushed(void)
{
    bool found = false;

    lock_take(&mem_lock);
    for (unsigned i = 0; i < mem.log->len; i++) {
        const MemEntry *e = &g_array_index(mem.log, MemEntry, i);
        found |= e->file == TARGET && e->op == BLK_FLUSH;
    }
    lock_drop(&mem_lock);
    return found;
}

/* Lets others go on for a moment. */
static void turn(void)
{
    uint8_t buf[512];

    loop_control_iterate(false);
    assert_int_equal(blk_pread(t.n[BASE], 0, buf, 512), 0);
}

/* A write of the guest has its old contents still on the way to the target when all else was copied: the
 * backup waits for them, and flushes them. */
static void test_last_copy(void **state)
{
    GRand *rand = g_rand_new_with_seed(1);
    JobOptions o = { .speed = 1, .max_chunk = 64 * KiB };     /* it makes no copy of its own for long */
    JobFacts f;
    Io io;

    images_make(&(BlkCreate){ .cluster_size = 64 * KiB }, rand, NULL);
    target_open(BACKUP_FULL);
    guest_start(t.n[TOP], rand);
    guest_must(BLK_WRITE, 0, SIZE - 512, memset(t.g.buf, 1, 512), 512);
    mem_log_start();
    job_begin_ok(BACKUP_FULL, &o);
    __atomic_store_n(&mem.park, true, __ATOMIC_RELEASE);
    io_prepare(&io, NULL, t.g.loop, BLK_WRITE, 0, SIZE - 512, t.g.buf, 512);
    io.req.done = guest_done;
    loop_call(t.g.loop, guest_submit, &io);
    while (!__atomic_load_n(&mem.parked, __ATOMIC_ACQUIRE)) {
        turn();
    }
    job_set_speed(job_find("job0"), 0, NULL);
    do {
        turn();
        assert_non_null(job_find("job0"));
        f = job_facts(job_find("job0"));
    } while (f.total - f.done > 64 * KiB);
    for (unsigned i = 0; i < 10000; i++) {   /* time for what it must not do */
        turn();
    }
    assert_non_null(job_find("job0"));
    assert_false(target_was_flushed());
    loop_call(t.g.loop, mem_unpark, NULL);
    job_to_the_end();
    assert_false(t.failed);
    assert_true(target_was_flushed());
    assert_true(__atomic_load_n(&io.calls, __ATOMIC_ACQUIRE));
    guest_end();
    images_close();
    g_rand_free(rand);
}

/* --- snapshots --- */

typedef bool Act(Error **errp);

static void act_held(BlkHold *h, void *arg)
{
    Error *err = NULL;

    if (!(*(Act **)arg)(&err)) {
        fail_msg("%s", error_text(err));
    }
    blk_release(h);
    *(Act **)arg = NULL;
}

/* Does @act with nothing in flight at @n. */
static void act(BlkNode *n, Act *what)
{
    blk_hold(&n, 1, act_held, &what);
    while (*(Act *volatile *)&what) {
        loop_control_iterate(true);
    }
}

static bool act_snapshot(Error **errp)
{
    return blk_snapshot(t.n[TOP], t.n[EXTRA], errp);
}

static bool act_rename(Error **errp)
{
    return blk_set_backing_file(t.n[EXTRA], "./top", "qcow2", errp);
}

/* The guest gets an overlay, which then calls what is behind it by another name. */
static void test_snapshot(void **state)
{
    static const BlkCreate images[] = { { .cluster_size = 4096 }, { .cluster_size = 64 * KiB } };

    for (unsigned i = 0; i < ARRAY_LEN(images); i++) {
        GRand *rand = g_rand_new_with_seed(700 + i);
        Case c = { KINDS, images[i] };

        images_make(&c.image, rand, NULL);
        guest_start(t.n[TOP], rand);
        mem_log_start();
        job_and_guest(10);
        image_make(EXTRA, &c.image, "top");
        t.n[EXTRA] = mem_image(EXTRA, "extra", NULL, false);
        act(t.n[TOP], act_snapshot);
        job_and_guest(24);
        act(t.n[EXTRA], act_rename);
        job_and_guest(36);
        guest_verify("snapshot");
        blk_detach(&t.g.user);
        images_close();
        check_cuts(&c, rand, 700 + i);
        guest_end();
        g_rand_free(rand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs), cmocka_unit_test(test_last_copy), cmocka_unit_test(test_snapshot),
    };

    thread_become_control();
    loop_control();            /* made here: only control may */
    mem_begin();
    int failed = cmocka_run_group_tests_name("job-cut", tests, NULL, NULL);
    mem_end();
    return failed;
}
