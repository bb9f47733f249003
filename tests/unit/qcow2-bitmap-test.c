/* qcow2-bitmap-test.c: dirty bitmaps, in memory and kept in images that an independent implementation reads,
 * goes on with and writes back. */
#include "tests/unit/block-helper.h"
#include "tests/unit/tool-helper.h"
#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include "block/bitmap.h"

#define SIZE (40 * MiB)

static BlkNode *open_image(const char *path)
{
    BlkOptions file = { .driver = "file", .filename = path };
    BlkOptions o = { .driver = "qcow2", .child = &file };

    return open_ok(&o);
}

static BlkBitmap *add_ok(BlkNode *n, const char *name, uint64_t granularity, bool persistent)
{
    Error *err = NULL;
    BlkBitmap *b = blk_bitmap_add(n, name, granularity, persistent, &err);

    if (!b) {
        fail_msg("%s", error_text(err));
    }
    return b;
}

static void expect(const BlkBitmap *b, uint64_t from, uint64_t off, uint64_t len)
{
    uint64_t at = from;

    assert_int_equal(blk_bitmap_dirty(b, &at, UINT64_MAX / 2), len);
    if (len) {
        assert_int_equal(at, off);
    }
}

static void write_at(BlkNode *n, uint64_t off, size_t len)
{
    g_autofree uint8_t *buf = g_malloc0(len);

    memset(buf, 0x5a, len);
    assert_int_equal(blk_pwrite(n, off, buf, len), 0);
}

static void test_bits(void **state)
{
    BlkOptions o = { .driver = "null-co", .has_size = true, .size = 10 * GiB };
    BlkNode *n = open_ok(&o);
    BlkBitmap *b = add_ok(n, "b", 65536, false), *wide = add_ok(n, "wide", 2 * GiB, false);
    Error *err = NULL;

    assert_int_equal(blk_bitmap_info(add_ok(n, "plain", 0, false)).granularity, 65536);
    expect(b, 0, 0, 0);
    write_at(n, 65536 + 512, 512);
    expect(b, 0, 65536, 65536);
    write_at(n, 128 * KiB - 512, 1024);
    expect(b, 0, 65536, 131072);
    expect(b, 65536 * 2, 65536 * 2, 65536);
    assert_int_equal(blk_bitmap_info(b).count, 131072);
    write_at(n, 10 * GiB - 512, 512);
    expect(b, MiB, 10 * GiB - 65536, 65536);
    expect(wide, 2 * GiB, 8 * GiB, 2 * GiB);
    blk_bitmap_record(b, false);
    write_at(n, 5 * GiB, 512);
    expect(b, MiB, 10 * GiB - 65536, 65536);
    assert_true(blk_bitmap_merge(b, wide, &err));
    expect(b, 0, 0, 2 * GiB);
    blk_bitmap_clear(b, 0, UINT64_MAX);
    expect(b, 0, 0, 0);
    close_ok(n);
}

static void refused(BlkNode *n, const char *name, uint64_t granularity, bool persistent, const char *say)
{
    Error *err = NULL;

    assert_null(blk_bitmap_add(n, name, granularity, persistent, &err));
    assert_non_null(strstr(error_text(err), say));
    error_free(err);
}

static void test_refused(void **state)
{
    BlkOptions o = { .driver = "null-co" };
    BlkNode *n = open_ok(&o);
    g_autofree char *name = g_strnfill(1024, 'x');

    add_ok(n, "b", 0, false);
    refused(n, "b", 0, false, "Bitmap already exists: b");
    refused(n, "", 0, false, "Bitmap name cannot be empty");
    refused(n, name, 0, false, "Bitmap name is longer than 1023 bytes");
    refused(n, "c", 3000, false, "Granularity must be power of 2");
    refused(n, "c", 256, false, "Granularity must be at least 512");
    refused(n, "c", 4 * GiB, false, "Granularity must be at most 2 GiB");
    BlkOptions huge = { .driver = "null-co", .has_size = true, .size = UINT64_C(1) << 62 };
    BlkNode *h = open_ok(&huge);
    refused(h, "c", 512, false, "Granularity 512 is too fine for a disk of 4611686018427387904 bytes");
    close_ok(h);
    refused(n, "c", 0, true, "Block driver 'null-co' does not support persistent bitmaps");
    close_ok(n);
}

/* Of a disk whose size is no multiple of the granularity. */
static void test_last_granule(void **state)
{
    uint64_t size = 3 * 65536 + 32768;
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .has_size = true, .size = size });
    BlkBitmap *from = add_ok(n, "from", 65536, false), *to = add_ok(n, "to", 4096, false);

    blk_bitmap_set(from, size - 512, 512);
    expect(from, 0, 3 * 65536, 32768);
    expect(from, size, 0, 0);
    expect(from, UINT64_MAX, 0, 0);
    assert_true(blk_bitmap_merge(to, from, NULL));
    expect(to, 0, 3 * 65536, 32768);
    close_ok(n);
}

/* --- images --- */

static void image_begin(char **path, const char *options)
{
    *path = temp_file(0, false);
    assert_true(run_tool("qemu-img create -q -f qcow2 -o %s %s %" PRIu64, options, *path, (uint64_t)SIZE));
}

static void image_end(char *path)
{
    g_unlink(path);
    g_free(path);
}

static void has_bits(const BlkBitmap *b, const bool *want, uint64_t granularity, unsigned round)
{
    uint64_t at = 0, next = 0, len;

    assert_non_null(b);
    for (; (len = blk_bitmap_dirty(b, &at, UINT64_MAX / 2)) > 0; at += len) {
        for (; next < at / granularity; next++) {
            if (want[next]) {
                fail_msg("round %u: granule %" PRIu64 " is not dirty", round, next);
            }
        }
        for (; next < DIV_ROUND_UP(at + len, granularity); next++) {
            if (!want[next]) {
                fail_msg("round %u: granule %" PRIu64 " is dirty", round, next);
            }
        }
    }
    for (; next < SIZE / granularity; next++) {
        assert_false(want[next]);
    }
}

static void mark(bool *want, uint64_t granularity, uint64_t off, uint64_t len)
{
    for (uint64_t i = off / granularity; i <= (off + len - 1) / granularity; i++) {
        want[i] = true;
    }
}

/* The two sides write in turns; each adds a bitmap. */
static void turns(const char *options, unsigned seed)
{
    static bool ours[SIZE / 4096], theirs[SIZE / 65536];
    GRand *rand = g_rand_new_with_seed(seed);
    char *path;

    memset(ours, 0, sizeof(ours));
    memset(theirs, 0, sizeof(theirs));
    image_begin(&path, options);
    assert_true(run_tool("qemu-img bitmap --add -g 65536 %s theirs", path));
    for (unsigned round = 0; round < 6; round++) {
        g_autoptr(GString) io = g_string_new("qemu-io -f qcow2");
        BlkNode *n = open_image(path);

        if (round == 0) {
            add_ok(n, "ours", 4096, true);
        }
        has_bits(blk_bitmap_find(n, "ours"), ours, 4096, round);
        has_bits(blk_bitmap_find(n, "theirs"), theirs, 65536, round);
        for (unsigned i = 0; i < 12; i++) {
            uint64_t off = (uint64_t)g_rand_int_range(rand, 0, SIZE / 512 - 200) * 512;
            uint64_t len = (uint64_t)g_rand_int_range(rand, 1, 200) * 512;

            mark(ours, 4096, off, len);
            mark(theirs, 65536, off, len);
            if (i % 2) {
                write_at(n, off, len);
            } else {
                g_string_append_printf(io, " -c 'write %" PRIu64 " %" PRIu64 "'", off, len);
            }
        }
        close_ok(n);
        assert_true(run_tool("qemu-img check -q %s", path));
        assert_true(run_tool("%s %s", io->str, path));
        assert_true(run_tool("qemu-img check -q %s", path));
    }
    image_end(path);
    g_rand_free(rand);
}

static void test_turns(void **state)
{
    if (!have_tools()) {
        skip();
    }
    turns("cluster_size=65536", 1);
    turns("cluster_size=512", 2);
    turns("cluster_size=4096,extended_l2=off,refcount_bits=1", 3);
    turns("cluster_size=2097152", 4);
}

static void lists(const char *path, const char *text)
{
    g_autofree char *line = g_strdup_printf("qemu-img info --output=json %s", path), *out = NULL;

    assert_true(g_spawn_command_line_sync(line, &out, NULL, NULL, NULL));
    g_autoptr(GRegex) spaces = g_regex_new("\\s+", 0, 0, NULL);
    g_autofree char *plain = g_regex_replace(spaces, out, -1, 0, "", 0, NULL);
    if (!strstr(plain, text)) {
        fail_msg("%s is not in %s", text, plain);
    }
}

/* Disabled, removed, crashed. */
static void test_kept(void **state)
{
    g_autofree char *bytes = NULL;
    Error *err = NULL;
    char *path;
    gsize len;

    if (!have_tools()) {
        skip();
    }
    image_begin(&path, "cluster_size=65536");
    BlkNode *n = open_image(path);
    add_ok(n, "on", 0, true);
    blk_bitmap_record(add_ok(n, "off", 131072, true), false);
    add_ok(n, "gone", 0, true);
    add_ok(n, "passing", 0, false);
    close_ok(n);
    lists(path, "{\"flags\":[\"auto\"],\"name\":\"on\",\"granularity\":65536},{\"flags\":[],\"name\":\"off\","
          "\"granularity\":131072},{\"flags\":[\"auto\"],\"name\":\"gone\"");
    n = open_image(path);
    blk_bitmap_remove(blk_bitmap_find(n, "gone"));
    assert_false(blk_bitmap_info(blk_bitmap_find(n, "off")).recording);
    assert_null(blk_bitmap_find(n, "passing"));
    lists(path, "\"in-use\"");
    assert_true(g_file_get_contents(path, &bytes, &len, NULL));
    close_ok(n);
    lists(path, "{\"flags\":[],\"name\":\"off\",\"granularity\":131072}]");
    assert_true(run_tool("qemu-img check -q %s", path));

    /* As the image was while it was open. */
    assert_true(g_file_set_contents(path, bytes, (gssize)len, NULL));
    n = open_image(path);
    BlkBitmap *b = blk_bitmap_find(n, "on");
    assert_true(blk_bitmap_info(b).inconsistent);
    assert_false(blk_bitmap_usable(b, true, false, &err));
    assert_non_null(strstr(error_text(err), "Bitmap 'on' is inconsistent and cannot be used"));
    error_free(err);
    close_ok(n);
    n = open_image(path);
    assert_true(blk_bitmap_info(blk_bitmap_find(n, "on")).inconsistent);
    for (const char *const *name = (const char *const[]){ "on", "off", "gone", NULL }; *name; name++) {
        blk_bitmap_remove(blk_bitmap_find(n, *name));
    }
    close_ok(n);
    assert_true(run_tool("qemu-img check -q %s", path));
    image_end(path);
}

/* A directory that is nonsense is told by place and field, and is no end of memory. */
static void test_broken(void **state)
{
    static const struct { unsigned at; uint8_t to; const char *say; } rows[] = {
        { 0, 0xff, "entry 0: the table's place" }, { 8, 0xff, "entry 0: the table's place" },
        { 12, 0x80, "entry 0: its flags" }, { 16, 7, "entry 0: its type" },
        { 17, 3, "entry 0: its granularity" }, { 18, 0xff, "entry 0: it ends after it" },
        { 20, 0xff, "entry 0: it ends after it" },
    };
    char *path;

    if (!have_tools()) {
        skip();
    }
    image_begin(&path, "cluster_size=65536");
    BlkNode *n = open_image(path);
    add_ok(n, "b", 0, true);
    write_at(n, 0, 512);
    close_ok(n);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *bytes = NULL;
        BlkOptions file = { .driver = "file", .filename = path }, o = { .driver = "qcow2", .child = &file };
        Error *err = NULL;
        gsize len;
        g_autofree char *good = NULL;

        assert_true(g_file_get_contents(path, &bytes, &len, NULL));
        good = g_memdup2(bytes, len);
        /* The directory is the only cluster with the bitmap's name behind 24 bytes. */
        for (gsize at = 0; at + 26 < len; at += 65536) {
            if (at && bytes[at + 24] == 'b' && bytes[at + 25] == 0 && bytes[at + 17] == 16) {
                bytes[at + rows[i].at] = (char)rows[i].to;
            }
        }
        assert_true(g_file_set_contents(path, bytes, (gssize)len, NULL));
        assert_null(blk_open(&o, &err));
        if (!strstr(error_text(err), rows[i].say)) {
            fail_msg("row %u: %s", i, error_text(err));
        }
        error_free(err);
        assert_true(g_file_set_contents(path, good, (gssize)len, NULL));
    }
    image_end(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),    cmocka_unit_test(test_last_granule),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_turns),
        cmocka_unit_test(test_kept),    cmocka_unit_test(test_broken),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
