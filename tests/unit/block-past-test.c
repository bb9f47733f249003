/* block-past-test.c: the past of a disk is read while loops write to it without a pause: by an overlay that a
 * backup fills, and through copy-before-write and snapshot-access. */
#include "tests/unit/block-load.h"
#include <glib.h>
#include "block/bitmap.h"
#include "block/job.h"
#include "qapi/types.h"

#define READS 30

static BlkNode *overlay_new(char **path, uint64_t size, const char *name, BlkNode *behind)
{
    *path = image_new(size);
    BlkNode *n = image_open(*path, name);

    assert_true(blk_set_backing(n, behind, NULL));
    return n;
}

static void drop_image(BlkNode *n, char *path)
{
    close_ok(n);
    assert_true(tool("qemu-img check -q %s", path));
    g_unlink(path);
    g_free(path);
}

/* Parts of @n, and all of it, are as in @was while @l goes on. */
static void read_past(BlkNode *n, const uint8_t *was, Load *l)
{
    g_autofree uint8_t *got = g_malloc(LOAD_SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(77);

    for (unsigned i = 0; i < cases_to_run(READS); i++) {
        uint64_t len = (uint64_t)g_rand_int_range(rand, 1, 2048) * 512;
        uint64_t off = (uint64_t)g_rand_int_range(rand, 0, (gint32)((LOAD_SIZE - len) / 512)) * 512;

        assert_int_equal(blk_pread(n, off, got, len), 0);
        assert_memory_equal(got, was + off, len);
        load_more(l, 10);
    }
    assert_int_equal(blk_pread(n, 0, got, LOAD_SIZE), 0);
    assert_memory_equal(got, was, LOAD_SIZE);
    /* What is said to be zeroes is: of what the guest zeroes now, too. */
    BlkStatus s;
    for (uint64_t off = 0; off < LOAD_SIZE; off += s.len) {
        assert_int_equal(blk_status(n, off, LOAD_SIZE - off, NULL, &s), 0);
        for (uint64_t i = 0; s.flags & BLK_STATUS_ZERO && i < s.len; i++) {
            assert_int_equal(was[off + i], 0);
        }
    }
}

static void until_begun(Load *l, const BlkNode *source)
{
    while (l->user.node == source) {
        loop_control_iterate(true);
    }
}

static void until_over(void)
{
    while (job_next(NULL)) {
        loop_control_iterate(true);
    }
}

/* The overlay of a disk that is being written to, from the start to the end of its backup. */
static void test_overlay(void **state)
{
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE), *was = g_malloc(LOAD_SIZE);
    JobOptions o = { .id = "j", .filter_name = "before" };
    char *path, *over_path;
    Load l;

    for (unsigned layers = 1; layers < 3; layers++) {
        char *middle_path = NULL;
        path = image_new(LOAD_SIZE);
        BlkNode *n = image_open(path, "n"), *middle = NULL;
        load_start(&l, n, model, layers);
        load_more(&l, 100);
        if (layers == 2) {
            middle = overlay_new(&middle_path, LOAD_SIZE, "middle", n);
        }
        BlkNode *over = overlay_new(&over_path, LOAD_SIZE, "over", middle ? middle : n);
        assert_true(job_backup(n, over, JOB_SYNC_NONE, &o, NULL));
        until_begun(&l, n);
        assert_ptr_equal(l.user.node, blk_find("before"));
        assert_ptr_equal(blk_child(middle ? middle : over, 1), n);
        assert_int_equal(blk_pread(over, 0, was, LOAD_SIZE), 0);
        read_past(over, was, &l);
        assert_true(job_cancel(job_find("j"), false, NULL));
        until_over();
        assert_ptr_equal(l.user.node, n);
        load_more(&l, 50);
        load_stop(&l);
        load_verify(&l);
        blk_detach(&l.user);
        drop_image(over, over_path);
        if (middle) {
            drop_image(middle, middle_path);
        }
        drop_image(n, path);
        memset(model, 0, LOAD_SIZE);
    }
}

/* Once the backup is over the past is lost: whoever still reads is told so. */
static void test_overlay_outlives(void **state)
{
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    JobOptions o = { .id = "j" };
    uint8_t got[4096];
    char *over_path, *path = image_new(2 * LOAD_SIZE);
    BlkNode *n = image_open(path, "n"), *over = overlay_new(&over_path, 2 * LOAD_SIZE, "over", n);
    BlkUser reader = { 0 }, early = { 0 };
    Error *err = NULL;
    Load l;

    assert_true(blk_attach(over, &early, "the reader", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    assert_false(job_backup(n, over, JOB_SYNC_NONE, &o, &err));
    assert_error(err, "Node 'over' gets bytes from the node that is backed up, and is in use by the reader");
    blk_detach(&early);
    load_start(&l, n, model, 3);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(job_backup(n, over, JOB_SYNC_NONE, &o, NULL));
        until_begun(&l, n);
        assert_true(blk_attach(over, &reader, "the reader", BLK_PERM_READ, BLK_PERM_ALL, NULL));
        assert_int_equal(blk_pread(over, 0, got, sizeof(got)), 0);
        assert_true(job_cancel(job_find("j"), false, NULL));
        until_over();
        assert_ptr_equal(l.user.node, n);
        assert_int_equal(blk_pread(over, LOAD_SIZE, got, sizeof(got)), -EACCES);
        blk_detach(&reader);
    }
    load_stop(&l);
    blk_detach(&l.user);
    drop_image(over, over_path);
    assert_null(blk_next(n));
    drop_image(n, path);
}

static BlkNode *before_new(BlkNode *source, BlkNode *target, const char *bitmap, OnCbwError how)
{
    BlockDirtyBitmap which = { .node = (char *)"n", .name = (char *)bitmap };
    CopyBeforeWriteOwn own = { .bitmap = bitmap ? &which : NULL, .on_cbw_error = how };

    return open_ok(&(BlkOptions){ .driver = "copy-before-write", .node_name = "before", .own = &own,
                                  .child_ref = blk_name(source), .other_ref = blk_name(target) });
}

/* A device is put on the filter and taken off again, as by qom-set. */
static void test_access(void **state)
{
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE), *was = g_malloc(LOAD_SIZE);
    char *target_path = image_new(LOAD_SIZE), *path = image_new(LOAD_SIZE);
    BlkNode *n = image_open(path, "n"), *target = image_open(target_path, "t");
    uint8_t got[4096];
    Error *err = NULL;
    Load l;

    load_start(&l, n, model, 5);
    load_more(&l, 100);
    BlkNode *before = before_new(n, target, NULL, ON_CBW_ERROR_BREAK_GUEST_WRITE);
    BlkHold *h = hold(n, NULL);
    assert_true(blk_move_user(&l.user, before, NULL));
    memcpy(was, model, LOAD_SIZE);     /* what waits was put down there already */
    blk_release(h);
    assert_ptr_equal(l.user.node, before);
    BlkNode *past = open_ok(&(BlkOptions){ .driver = "snapshot-access", .child_ref = "before",
                                           .discard_unmap = true });
    BlkUser reader = { 0 };
    assert_true(blk_attach(past, &reader, "the reader", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    assert_int_equal(blk_pread(past, 0, was, LOAD_SIZE), 0);
    read_past(past, was, &l);
    assert_int_equal(blk_pwrite(past, 0, got, sizeof(got)), -ENOTSUP);
    assert_int_equal(blk_pzero(past, 0, sizeof(got), 0), -ENOTSUP);
    assert_int_equal(blk_pflush(past), 0);
    /* What nobody wants is forgotten, in whole grains. */
    assert_int_equal(blk_pdiscard(past, MiB - 4096, 128 * KiB), 0);
    assert_int_equal(blk_pread(past, MiB - 4096, got, sizeof(got)), 0);
    assert_memory_equal(got, was + MiB - 4096, sizeof(got));
    assert_int_equal(blk_pread(past, MiB, got, sizeof(got)), -EACCES);
    BlkStatus s;
    assert_int_equal(blk_status(past, MiB, 4096, NULL, &s), -EACCES);
    load_more(&l, 50);
    /* While it is read nobody may write beside it. */
    h = hold(before, NULL);
    assert_false(blk_move_user(&l.user, n, &err));
    error_free(g_steal_pointer(&err));
    blk_detach(&reader);
    close_ok(past);
    assert_true(blk_move_user(&l.user, n, NULL));
    blk_release(h);
    close_ok(before);
    load_more(&l, 50);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    drop_image(target, target_path);
    drop_image(n, path);
}

static int write_at(BlkNode *n, uint64_t off)
{
    uint8_t buf[512] = { 9 };

    return blk_pwrite(n, off, buf, sizeof(buf));
}

static int read_at(BlkNode *n, uint64_t off, uint8_t want)
{
    uint8_t buf[512];
    int ret = blk_pread(n, off, buf, sizeof(buf));

    return ret < 0 ? ret : buf[0] != want;
}

/* Only what a bitmap says is kept. */
static void test_bitmap(void **state)
{
    char *target_path = image_new(LOAD_SIZE), *path = image_new(LOAD_SIZE);
    BlkNode *n = image_open(path, "n"), *target = image_open(target_path, "t");
    BlkBitmap *b = blk_bitmap_add(n, "b", 4096, false, NULL);

    assert_non_null(b);
    assert_int_equal(write_at(n, 64 * KiB), 0);
    BlkNode *before = before_new(n, target, "b", ON_CBW_ERROR_BREAK_GUEST_WRITE);
    blk_bitmap_remove(b);
    BlkNode *past = open_ok(&(BlkOptions){ .driver = "snapshot-access", .child_ref = "before" });
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(read_at(past, 64 * KiB, 9), 0);
        assert_int_equal(read_at(past, 127 * KiB, 0), 0);
        assert_int_equal(read_at(past, 63 * KiB, 0), -EACCES);
        assert_int_equal(read_at(past, 128 * KiB, 0), -EACCES);
        assert_int_equal(blk_pzero(before, 0, MiB, 0), 0);
    }
    close_ok(past);
    close_ok(before);
    assert_int_equal(read_at(target, 64 * KiB, 9), 0);
    drop_image(target, target_path);
    drop_image(n, path);
}

/* A copy that fails: the guest's write does, or the past is lost, for good. */
static void test_broken(void **state)
{
    for (unsigned how = 0; how < 2; how++) {
        BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n", .read_zeroes = true });
        BlkNode *target = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "t" });
        BlkNode *before = before_new(n, target, NULL, how ? ON_CBW_ERROR_BREAK_SNAPSHOT
                                                          : ON_CBW_ERROR_BREAK_GUEST_WRITE);
        BlkNode *past = open_ok(&(BlkOptions){ .driver = "snapshot-access", .child_ref = "before" });

        fault_arm("job-buffer", 1);
        assert_int_equal(write_at(before, MiB), how ? 0 : -ENOMEM);
        assert_true(fault_disarm());
        assert_int_equal(read_at(past, MiB, 0), how ? -EACCES : 0);
        assert_int_equal(read_at(past, 2 * MiB, 0), how ? -EACCES : 0);
        assert_int_equal(write_at(before, MiB), 0);
        assert_int_equal(read_at(past, 3 * MiB, 0), how ? -EACCES : 0);
        close_ok(past);
        close_ok(before);
        close_ok(target);
        close_ok(n);
    }
}

/* A copy that takes longer than it may: the guest's write fails, or the past is lost. */
static void test_timeout(void **state)
{
    for (unsigned how = 0; how < 2; how++) {
        OnCbwError then = how ? ON_CBW_ERROR_BREAK_SNAPSHOT : ON_CBW_ERROR_BREAK_GUEST_WRITE;
        CopyBeforeWriteOwn own = { .cbw_timeout = 1, .on_cbw_error = then };
        BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n", .read_zeroes = true });
        BlkNode *target = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "t",
                                                 .read_zeroes = true,
                                                 .latency_ns = 1500 * NS_PER_MS });
        BlkNode *before = open_ok(&(BlkOptions){ .driver = "copy-before-write", .node_name = "before",
                                                 .own = &own, .child_ref = "n", .other_ref = "t" });
        BlkNode *past = open_ok(&(BlkOptions){ .driver = "snapshot-access", .child_ref = "before" });
        int64_t begin = clock_now(CLOCK_HOST);

        assert_int_equal(write_at(before, MiB + 512), how ? 0 : -ETIMEDOUT);
        assert_true(clock_now(CLOCK_HOST) - begin >= NS_PER_SEC);
        if (how) {
            assert_int_equal(read_at(past, MiB, 0), -EACCES);
            assert_int_equal(write_at(before, 2 * MiB), 0);
        } else {
            /* The copy goes on; whoever comes next finds it done, in time. */
            assert_int_equal(write_at(before, MiB), 0);
            assert_int_equal(read_at(past, MiB, 0), 0);
        }
        close_ok(past);
        close_ok(before);
        close_ok(target);
        close_ok(n);
    }
}

static void test_refused(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n" });
    BlkNode *over = open_ok(&(BlkOptions){ .driver = "raw", .node_name = "over", .child_ref = "n" });
    BlkNode *small = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "small", .has_size = true,
                                            .size = MiB });
    static const struct { const char *file, *target, *bitmap, *text; } cases[] = {
        { "n", "n", NULL, "Node 'n' cannot be the target: it has bytes in common with node 'n'" },
        { "n", "over", NULL, "Node 'over' cannot be the target: it has bytes in common with node 'n'" },
        { "over", "n", NULL, "Node 'n' cannot be the target: it has bytes in common with node 'over'" },
        { "n", "small", NULL, "Node 'small' cannot be the target: it is smaller than node 'n'" },
        { "small", "n", "b", "Dirty bitmap 'b' not found" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        BlockDirtyBitmap which = { .node = (char *)"n", .name = (char *)cases[i].bitmap };
        CopyBeforeWriteOwn own = { .bitmap = cases[i].bitmap ? &which : NULL };
        Error *err = NULL;

        BlkOptions o = { .driver = "copy-before-write", .own = &own, .child_ref = cases[i].file,
                         .other_ref = cases[i].target };
        assert_null(blk_open(&o, &err));
        assert_error(err, cases[i].text);
    }
    BlkNode *past = open_ok(&(BlkOptions){ .driver = "snapshot-access", .child_ref = "n" });
    assert_int_equal(read_at(past, 0, 0), -ENOTSUP);
    close_ok(past);
    close_ok(small);
    close_ok(over);
    close_ok(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlay), cmocka_unit_test(test_overlay_outlives),
        cmocka_unit_test(test_access), cmocka_unit_test(test_bitmap), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_timeout), cmocka_unit_test(test_refused),
    };
    g_autofree char *path = g_find_program_in_path("qemu-img");

    thread_become_control();
    if (!path) {
        print_message("no qemu-img: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
