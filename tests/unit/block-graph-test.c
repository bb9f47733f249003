/* block-graph-test.c: changes of the graph while loops write without a pause, and changes that fail. */
#include "tests/unit/block-load.h"
#include <glib.h>

#define CHANGES 12

/* Filters come and go. */
static void test_filter(void **state)
{
    g_autofree char *path = temp_file(LOAD_SIZE, false);
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    BlkOptions file = { .driver = "file", .filename = path };
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "raw", .node_name = "n", .child = &file });
    Load l;

    load_start(&l, n, model, 1);
    for (unsigned i = 0; i < CHANGES; i++) {
        BlkNode *filter = open_ok(&(BlkOptions){ .driver = "raw", .node_name = "f", .child_ref = "n" });
        BlkHold *h = hold(n, NULL);

        assert_true(blk_insert_filter(filter, NULL));
        assert_ptr_equal(l.user.node, filter);
        blk_release(h);
        load_more(&l, 200);
        h = hold(n, filter);
        blk_remove_filter(filter);
        assert_ptr_equal(l.user.node, n);
        blk_release(h);
        close_ok(filter);
        load_more(&l, 200);
    }
    load_stop(&l);
    load_verify(&l);
    BlkStats s;
    blk_stats(n, &s);
    assert_true(s.ops[BLK_WRITE] > 0);
    blk_detach(&l.user);
    close_ok(n);
    g_unlink(path);
}

/* A chain of snapshots grows under the load; the tool finds every image sound. */
static void test_snapshots(void **state)
{
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    char *paths[6], name[8];
    Load l;

    if (!have_tools()) {
        skip();
    }
    paths[0] = image_new(LOAD_SIZE);
    BlkNode *top = image_open(paths[0], "i0");
    load_start(&l, top, model, 2);
    for (unsigned i = 1; i < 6; i++) {
        paths[i] = image_new(LOAD_SIZE);
        g_snprintf(name, sizeof(name), "i%u", i);
        BlkNode *over = image_open(paths[i], name);
        load_more(&l, 300);
        BlkHold *h = hold(top, over);
        assert_true(blk_snapshot(top, over, NULL));
        if (i == 3) {          /* once more */
            blk_snapshot_undo(top, over, false);
            assert_ptr_equal(l.user.node, top);
            assert_false(blk_read_only(top));
            assert_true(blk_snapshot(top, over, NULL));
        }
        assert_true(blk_read_only(top));
        assert_ptr_equal(blk_overlay_of(top), over);
        blk_release(h);
        top = over;
    }
    load_more(&l, 300);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    for (unsigned i = 6; i-- > 0;) {
        g_snprintf(name, sizeof(name), "i%u", i);
        close_ok(blk_find(name));
        assert_true(tool("qemu-img check -q %s", paths[i]));
        g_unlink(paths[i]);
        g_free(paths[i]);
    }
}

/* A node that could only be read before can only be read afterwards. */
static void test_snapshot_undone(void **state)
{
    BlkOptions file = { .driver = "null-co" };

    for (unsigned read_only = 0; read_only < 2; read_only++) {
        BlkNode *n = open_ok(&(BlkOptions){ .driver = "raw", .node_name = "n", .child = &file,
                                            .read_only = read_only });
        BlkNode *over = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "o" });
        BlkHold *h = hold(n, over);

        assert_true(blk_snapshot(n, over, NULL));
        assert_true(blk_read_only(n));
        blk_snapshot_undo(n, over, read_only);
        blk_release(h);
        assert_int_equal(blk_read_only(n), read_only);
        close_ok(over);
        close_ok(n);
    }
}

static void test_refused(void **state)
{
    BlkNode *a = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "a" });
    BlkNode *b = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "b" });
    BlkUser fixed = { 0 }, moves = { .moved = load_moved }, other = { .moved = load_moved };
    Error *err = NULL;

    assert_true(blk_attach(a, &fixed, "device 'x'", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    BlkHold *h = hold(a, b);
    assert_false(blk_close(a, &err));
    error_free(err);
    err = NULL;
    assert_false(blk_replace(a, b, &err));
    assert_error(err, "Node 'a' is used by device 'x', which cannot be given another node while it runs");
    blk_detach(&fixed);
    /* What it needs is not to be had there: all stays. */
    assert_true(blk_attach(a, &moves, "device 'm'", BLK_PERM_WRITE, BLK_PERM_ALL, NULL));
    assert_true(blk_attach(b, &other, "device 'o'", BLK_PERM_READ, BLK_PERM_READ, NULL));
    assert_false(blk_replace(a, b, &err));
    assert_non_null(strstr(error_text(err), "does not let others write"));
    error_free(err);
    assert_ptr_equal(moves.node, a);
    blk_detach(&other);
    assert_true(blk_replace(a, b, NULL));
    assert_ptr_equal(moves.node, b);
    blk_release(h);
    blk_detach(&moves);
    close_ok(a);
    close_ok(b);
}

static unsigned told;

static void note_held(BlkHold *h, void *arg)
{
    *(BlkHold **)arg = h;
}

/* Who is done with a node may not know of the next change that waits for it. */
static void test_unused_but_waited_for(void **state)
{
    g_autofree char *path = temp_file(MiB, false);
    BlkNode *file = open_ok(&(BlkOptions){ .driver = "file", .node_name = "f", .filename = path });
    BlkNode *n = blk_open_unkept(&(BlkOptions){ .driver = "raw", .node_name = "n", .child_ref = "f" }, NULL);
    BlkHold *first = NULL, *second = NULL;
    BlkNode *both[] = { n, n };

    assert_non_null(n);
    blk_hold(both, 2, note_held, &first);
    blk_hold(both, 2, note_held, &second);
    while (!first) {
        loop_control_iterate(true);
    }
    blk_release(first);
    blk_close_unused(n);
    assert_ptr_equal(blk_find("n"), n);
    while (!second) {
        loop_control_iterate(true);
    }
    blk_release(second);
    assert_null(blk_find("n"));
    assert_true(blk_close(file, NULL));
    g_unlink(path);
}

static void on_threshold(const BlkNode *n, uint64_t threshold, uint64_t exceeded)
{
    assert_int_equal(threshold, 4096);
    assert_int_equal(exceeded, 512);
    told++;
}

static void test_threshold(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n" });
    uint8_t buf[512] = { 0 };

    blk_set_threshold_listener(on_threshold);
    blk_set_threshold(n, 4096);
    assert_int_equal(blk_pwrite(n, 3584, buf, 512), 0);
    assert_int_equal(told, 0);
    assert_int_equal(blk_pread(n, 8192, buf, 512), 0);
    assert_int_equal(told, 0);
    assert_int_equal(blk_pwrite(n, 4096, buf, 512), 0);
    assert_int_equal(blk_pwrite(n, 4096, buf, 512), 0);
    assert_int_equal(told, 1);
    assert_int_equal(blk_threshold(n), 0);
    close_ok(n);
}

/* The name an image has for what is behind it, as the tool reads it. */
static void test_backing_file(void **state)
{
    Error *err = NULL;

    if (!have_tools()) {
        skip();
    }
    g_autofree char *path = image_new(LOAD_SIZE);
    g_autofree char *base = image_new(LOAD_SIZE);
    BlkNode *n = image_open(path, "n");
    assert_true(blk_set_backing_file(n, base, "qcow2", NULL));
    assert_string_equal(blk_backing_file(n), base);
    g_autofree char *longer = g_strnfill(1024, 'x');
    assert_false(blk_set_backing_file(n, longer, "raw", &err));
    assert_error(err, "Backing file name too long");
    close_ok(n);
    assert_true(tool("qemu-img check -q %s", path));
    assert_true(tool("sh -c 'qemu-img info %s | grep -q \"backing file: %s\"'", path, base));
    g_unlink(path);
    g_unlink(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filter), cmocka_unit_test(test_snapshots), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_snapshot_undone), cmocka_unit_test(test_unused_but_waited_for),
        cmocka_unit_test(test_threshold), cmocka_unit_test(test_backing_file),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
