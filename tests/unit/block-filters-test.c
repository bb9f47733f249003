/* block-filters-test.c: filters that make errors, compare, compress, fill and log. */
#include <sys/stat.h>
#include <sys/wait.h>
#include "block/block-int.h"
#include "tests/unit/block-load.h"
#include "qapi/json.h"
#include "qapi/types.h"

#define SIZE (1 * MiB)

static Loop *worker;

static BlkdebugOwn *rules(const char *text)
{
    g_autoptr(json_t) tree = json_parse(text, NULL);
    BlkdebugOwn *own = NULL;
    Error *err = NULL;

    if (!qapi_visit_blkdebug_own(tree, QAPI_JSON, &own, &err)) {
        fail_msg("%s", error_text(err));
    }
    return own;
}

/* A blkdebug node over @file (NULL: nothing). */
static BlkNode *debug(const char *text, const char *file, Error **errp)
{
    g_autoptr(BlkdebugOwn) own = rules(text);
    BlkOptions child = { .driver = file ? "file" : "null-co", .filename = file, .read_zeroes = !file };

    return blk_open(&(BlkOptions){ .driver = "blkdebug", .own = own, .child = &child }, errp);
}

static int run(BlkNode *n, BlkOp op, uint64_t off)
{
    static uint8_t buf[4096] __attribute__((aligned(4096)));

    return io_run(n, worker, op, 0, op == BLK_FLUSH ? 0 : off, op == BLK_READ || op == BLK_WRITE ? buf : NULL,
                  op == BLK_FLUSH ? 0 : sizeof(buf));
}

static void test_rules(void **state)
{
    BlkNode *n = debug("{\"inject-error\":[{\"event\":\"read_aio\",\"once\":true}]}", NULL, NULL);
    assert_int_equal(run(n, BLK_READ, 0), -EIO);
    assert_int_equal(run(n, BLK_READ, 0), 0);
    close_ok(n);
    /* By place and kind. */
    n = debug("{\"inject-error\":[{\"event\":\"none\",\"iotype\":\"write\",\"errno\":28,"
              "\"sector\":9}]}", NULL, NULL);
    assert_int_equal(run(n, BLK_WRITE, 0), 0);
    assert_int_equal(run(n, BLK_READ, 4096), 0);
    assert_int_equal(run(n, BLK_WRITE, 4096), -ENOSPC);
    assert_int_equal(run(n, BLK_ZERO, 4096), 0);
    assert_int_equal(run(n, BLK_WRITE, 8192), 0);
    close_ok(n);
    /* States: a write leads to another one. */
    n = debug("{\"set-state\":[{\"event\":\"pwritev\",\"state\":1,\"new_state\":2}],\"inject-error\":["
              "{\"event\":\"read_aio\",\"state\":2,\"iotype\":\"read\",\"errno\":6},"
              "{\"event\":\"flush_to_disk\",\"state\":2,\"iotype\":\"flush\",\"errno\":7}]}", NULL, NULL);
    assert_int_equal(run(n, BLK_READ, 0), 0);
    assert_int_equal(run(n, BLK_FLUSH, 0), 0);
    assert_int_equal(run(n, BLK_WRITE, 0), 0);
    assert_int_equal(run(n, BLK_READ, 0), -ENXIO);
    assert_int_equal(run(n, BLK_FLUSH, 0), -E2BIG);
    assert_int_equal(run(n, BLK_DISCARD, 0), 0);
    close_ok(n);
    n = debug("{\"inject-error\":[{\"event\":\"none\",\"iotype\":\"block-status\"}]}", NULL, NULL);
    BlkStatus s;
    assert_int_equal(blk_status(n, 0, 512, NULL, &s), -EIO);
    close_ok(n);
}

/* Who waits for bytes gets them through every filter. */
static void test_blocking(void **state)
{
    BlkNode *n = debug("{\"inject-error\":[{\"event\":\"none\",\"sector\":2}]}", NULL, NULL);
    uint8_t buf[512] = { 1 };

    assert_int_equal(blk_pread(n, 0, buf, 512), 0);
    assert_int_equal(buf[0], 0);
    assert_int_equal(blk_pread(n, 1024, buf, 512), -EIO);
    close_ok(n);
}

static void test_limits(void **state)
{
    static const struct { const char *options, *error; } bad[] = {
        { "{\"align\":3}", "Cannot meet constraints with align 3" },
        { "{\"align\":1024,\"max-transfer\":3}", "Cannot meet constraints with max-transfer 3" },
        { "{\"align\":1024,\"opt-write-zero\":512}", "Cannot meet constraints with opt-write-zero 512" },
        { "{\"align\":1024,\"max-write-zero\":512}", "Cannot meet constraints with max-write-zero 512" },
        { "{\"align\":1024,\"opt-discard\":3}", "Cannot meet constraints with opt-discard 3" },
        { "{\"opt-discard\":2048,\"max-discard\":3072}", "Cannot meet constraints with max-discard 3072" },
        { "{\"inject-error\":[{\"event\":\"none\",\"errno\":0}]}",
          "Parameter 'errno' expects an error number, not 0" },
        { "{\"config\":\"/nosuch/file\"}", NULL },
    };
    g_autofree char *path = temp_file(SIZE, true);
    g_autofree uint8_t *model = g_malloc(LOAD_SIZE);
    Error *err = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_null(debug(bad[i].options, NULL, &err));
        if (bad[i].error) {
            assert_string_equal(error_text(err), bad[i].error);
        }
        assert_non_null(err);
        error_free(err);
        err = NULL;
    }
    g_unlink(path);
    g_autofree char *large = temp_file(LOAD_SIZE, true);
    file_get(large, 0, model, LOAD_SIZE);
    BlkNode *n = debug("{\"align\":4096,\"max-transfer\":8192,\"opt-write-zero\":16384,"
                       "\"max-write-zero\":32768,"
                       "\"opt-discard\":8192,\"max-discard\":16384}", large, NULL);
    Load l;
    load_start(&l, n, model, 3);
    load_more(&l, 2000);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    close_ok(n);
    g_unlink(large);
}

static void config_says(const char *text, const char *error)
{
    g_autofree char *path = temp_file(0, false), *options = g_strdup_printf("{\"config\":\"%s\"}", path);
    Error *err = NULL;

    assert_true(g_file_set_contents(path, text, -1, NULL));
    BlkNode *n = debug(options, NULL, &err);
    if (!error) {
        assert_non_null(n);
        assert_int_equal(run(n, BLK_READ, 0), -EPERM);
        close_ok(n);
    } else {
        assert_null(n);
        if (!strstr(error_text(err), error)) {
            fail_msg("%s", error_text(err));
        }
        error_free(err);
    }
    g_unlink(path);
}

static void test_config(void **state)
{
    config_says("# why\n\n[set-state]\nevent = \"none\"\nnew_state = \"5\"\n"
                "[inject-error]\n  event = \"read_aio\"\nstate=\"5\"\nerrno = \"1\"\n", NULL);
    config_says("[inject-eror]\n", "There is no option group 'inject-eror'");
    config_says("[inject-error\n", "event' is missing");
    config_says("event = \"none\"\n", "line 1: expected key = \"value\" in a group");
    config_says("[inject-error]\nevent = none\n", "line 2");
    config_says("[inject-error]\nevent = \"\xff\"\n", "line 2 is no UTF-8");
    config_says("[inject-error]\nevent = \"x\"\n", "does not accept value 'x'");
    config_says("[inject-error]\nevent = \"none\"\nfoo = \"x\"\n", "foo");
}

static BlkNode *verified(const char *test, const char *raw)
{
    BlkOptions a = { .driver = "file", .filename = test }, b = { .driver = "file", .filename = raw };

    return open_ok(&(BlkOptions){ .driver = "blkverify", .child = &a, .other = &b });
}

static void test_verify(void **state)
{
    g_autofree char *a = temp_file(LOAD_SIZE, true), *b = temp_file(LOAD_SIZE, true);
    g_autofree uint8_t *model = g_malloc(LOAD_SIZE);
    Error *err = NULL;
    Load l;

    file_get(a, 0, model, LOAD_SIZE);
    BlkNode *n = verified(a, b);
    load_start(&l, n, model, 4);
    load_more(&l, 1000);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    close_ok(n);
    file_get(b, 0, model, LOAD_SIZE);
    assert_memory_equal(model, l.model, LOAD_SIZE);
    assert_null(blk_open(&(BlkOptions){ .driver = "blkverify",
                                        .child = &(BlkOptions){ .driver = "null-co" } }, &err));
    assert_error(err, "Block driver 'blkverify' needs two nodes");
    g_unlink(a);
    g_unlink(b);
}

static void test_compress(void **state)
{
    g_autofree char *path = image_new(LOAD_SIZE);
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    Error *err = NULL;
    BlkStatus s;
    Load l;

    BlkNode *image = image_open(path, "i");
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "compress", .child_ref = "i" });
    load_start(&l, n, model, 5);
    load_more(&l, 500);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    uint8_t *buf = aligned(64 * KiB);
    memset(buf, 7, 64 * KiB);
    assert_int_equal(io_run(n, worker, BLK_WRITE, 0, 64 * KiB, buf, 64 * KiB), 0);
    assert_int_equal(blk_status(n, 64 * KiB, 64 * KiB, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_COMPRESSED);
    free(buf);
    close_ok(n);
    close_ok(image);
    assert_true(tool("qemu-img check -q %s", path));
    g_unlink(path);
    assert_null(blk_open(&(BlkOptions){ .driver = "compress", .child = &(BlkOptions){ .driver = "null-co" } },
                         &err));
    assert_error(err, "Compression is not supported for underlying format: null-co");
}

/* The image under @path over @base, which holds a pattern. */
static BlkNode *overlay(const char *path, const char *base)
{
    BlkOptions file = { .driver = "file", .filename = path }, below = { .driver = "file", .filename = base };
    BlkOptions backing = { .driver = "raw", .child = &below, .read_only = true, .node_name = "base" };

    return open_ok(&(BlkOptions){ .driver = "qcow2", .node_name = "i", .child = &file, .backing = &backing });
}

static bool in_image(BlkNode *n, uint64_t off)
{
    BlkStatus s;

    assert_int_equal(blk_status(n, off, 512, NULL, &s), 0);
    return s.depth == 0;
}

static void test_copy_on_read(void **state)
{
    g_autofree char *path = image_new(LOAD_SIZE), *base = temp_file(LOAD_SIZE, true);
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    Error *err = NULL;
    Load l;

    file_get(base, 0, model, LOAD_SIZE);
    BlkNode *image = overlay(path, base);
    CopyOnReadOwn own = { .bottom = (char *)"x" };
    BlkOptions o = { .driver = "copy-on-read", .child_ref = "i", .own = &own };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Bottom node 'x' not found");
    /* Nothing from below the image itself. */
    own.bottom = (char *)"i";
    BlkNode *n = open_ok(&o);
    assert_int_equal(run(n, BLK_READ, 0), 0);
    assert_false(in_image(image, 0));
    close_ok(n);
    o.own = NULL;
    n = open_ok(&o);
    assert_int_equal(run(n, BLK_READ, 4096), 0);
    assert_true(in_image(image, 0) && in_image(image, 64 * KiB - 512));
    assert_false(in_image(image, 64 * KiB));
    load_start(&l, n, model, 6);
    load_more(&l, 1500);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    close_ok(n);
    close_ok(image);
    assert_true(tool("qemu-img check -q %s", path));
    g_unlink(path);
    g_unlink(base);
}

static uint64_t file_bytes(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void test_preallocate(void **state)
{
    g_autofree char *path = image_new(LOAD_SIZE);
    g_autofree uint8_t *model = g_malloc0(LOAD_SIZE);
    PreallocateOwn own = { .prealloc_align = 1000, .prealloc_size = 8 * MiB };
    BlkOptions file = { .driver = "file", .filename = path };
    BlkOptions filter = { .driver = "preallocate", .node_name = "p", .child = &file, .own = &own };
    BlkOptions o = { .driver = "qcow2", .node_name = "i", .child = &filter };
    Error *err = NULL;
    Load l;

    assert_null(blk_open(&o, &err));
    assert_error(err, "prealloc-align parameter of preallocate filter is not aligned to 512");
    own.prealloc_align = MiB;
    BlkNode *n = open_ok(&o);
    uint64_t before = file_bytes(path);
    BlkUser user = { 0 };
    assert_true(blk_attach(n, &user, "test", BLK_PERM_WRITE, BLK_PERM_RESIZE, NULL));
    assert_int_equal(run(n, BLK_WRITE, 0), 0);
    assert_int_equal(run(n, BLK_ZERO, 0), 0);
    assert_int_equal(file_bytes(path) % MiB, 0);
    assert_true(file_bytes(path) >= before + 8 * MiB);
    blk_detach(&user);
    uint64_t cut = file_bytes(path);
    assert_true(cut < before + 8 * MiB);
    load_start(&l, n, model, 6);
    load_more(&l, 1500);
    load_stop(&l);
    load_verify(&l);
    blk_detach(&l.user);
    close_ok(n);
    assert_true(file_bytes(path) > cut);
    assert_true(tool("qemu-img check -q %s", path));
    g_unlink(path);
}

/* A full disk may set a part of it aside before it fails: that is given back as well. */
static void test_preallocate_fails(void **state)
{
    g_autofree char *path = temp_file(0, false);
    PreallocateOwn own = { .prealloc_align = MiB, .prealloc_size = 8 * MiB };
    BlkOptions file = { .driver = "file", .filename = path };
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "preallocate", .child = &file, .own = &own });
    BlkUser user = { 0 };

    assert_true(blk_attach(n, &user, "test", BLK_PERM_WRITE, BLK_PERM_RESIZE, NULL));
    blk_grow(n, 4 * MiB);
    fault_arm("file-zero", 1);
    assert_int_equal(run(n, BLK_WRITE, MiB), 0);
    assert_true(fault_disarm());
    assert_int_equal(truncate(path, 3 * MiB), 0);
    assert_int_equal(run(n, BLK_WRITE, 2 * MiB), 0);
    blk_detach(&user);
    close_ok(n);
    assert_int_equal(file_bytes(path), 2 * MiB + 4096);
    g_unlink(path);
}

static void test_log(void **state)
{
    g_autofree char *disk = temp_file(SIZE, false), *log = temp_file(0, false);
    BlkOptions file = { .driver = "file", .filename = disk }, other = { .driver = "file", .filename = log };
    BlklogwritesOwn own = { .log_sector_size = 512, .log_super_update_interval = 4096 };
    BlkOptions o = { .driver = "blklogwrites", .child = &file, .other = &other, .own = &own };
    uint8_t *buf = aligned(4096);
    uint64_t got[512 / 8];
    Error *err = NULL;

    memset(buf, 9, 4096);
    for (unsigned round = 0; round < 2; round++) {
        BlkNode *n = open_ok(&o);
        assert_int_equal(io_run(n, worker, BLK_WRITE, 0, 8192, buf, 4096), 0);
        assert_int_equal(io_run(n, worker, BLK_WRITE, BLK_FUA, 0, buf, 512), 0);
        assert_int_equal(run(n, BLK_DISCARD, 4096), 0);
        assert_int_equal(run(n, BLK_FLUSH, 0), 0);
        close_ok(n);
        file_get(log, 0, got, 512);
        assert_int_equal(got[0], 0x6a736677736872);
        assert_int_equal(got[1], 1);
        assert_int_equal(got[2], 4 + 4 * round);
        assert_int_equal(got[3], 512);
        own.log_append = true;
    }
    /* sector, sectors, flags: at sector 1; 1 + 8 later; ... and the same again behind it. */
    static const struct { unsigned at; uint64_t want[4]; } entries[] = {
        { 1, { 16, 8, 0, 0 } }, { 10, { 0, 1, 2, 0 } }, { 12, { 8, 8, 4, 0 } }, { 13, { 0, 0, 1, 0 } },
        { 14, { 16, 8, 0, 0 } }, { 26, { 0, 0, 1, 0 } },
    };
    for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
        file_get(log, entries[i].at * 512, got, 512);
        assert_memory_equal(got, entries[i].want, 32);
    }
    file_get(log, 2 * 512, got, 512);
    assert_memory_equal(got, buf, 512);
    own.log_sector_size = 5;
    assert_null(blk_open(&o, &err));
    assert_error(err, "Invalid log sector size 5");
    own = (BlklogwritesOwn){ .log_sector_size = 1024, .log_super_update_interval = 0 };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Invalid log superblock update interval 0");
    own = (BlklogwritesOwn){ .log_sector_size = 1024, .log_super_update_interval = 1, .log_append = true };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Invalid log sector size 1024: the log has 512");
    /* A log that claims more than it has. */
    own.log_sector_size = 512;
    const uint64_t huge[] = { 0x6a736677736872, 1, UINT64_MAX, 512 };
    assert_true(g_file_set_contents(log, (const char *)huge, sizeof(huge), NULL));
    assert_null(blk_open(&o, &err));
    assert_error(err, "Could not read log entry 0 of 18446744073709551615");
    free(buf);
    g_unlink(disk);
    g_unlink(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocking), cmocka_unit_test(test_rules), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_verify), cmocka_unit_test(test_compress), cmocka_unit_test(test_copy_on_read),
        cmocka_unit_test(test_preallocate),
        cmocka_unit_test(test_preallocate_fails), cmocka_unit_test(test_log),
    };

    thread_become_control();
    loop_control();
    worker = worker_new("worker");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    worker_free(worker);
    return failed;
}
