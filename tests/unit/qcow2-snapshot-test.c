/* qcow2-snapshot-test.c: internal snapshots against an independent implementation: either side makes, applies
 * and deletes them at random; each must then read, from the other side too, what a model in memory says. */
#include "tests/unit/block-helper.h"
#include "tests/unit/tool-helper.h"
#include <glib.h>
#include <inttypes.h>
#include <string.h>

#define SNAPS 6

typedef struct Case {
    const char *options;       /* of qemu-img create */
    uint64_t size;
    bool backing;
    unsigned steps;
} Case;

typedef struct Bench {
    const Case *c;
    char *path, *backing, *raw;
    BlkNode *n;
    GRand *rand;
    uint8_t *model, *snap[SNAPS];              /* NULL: there is no such snapshot */
} Bench;

static BlkNode *open_image(const Bench *b)
{
    BlkOptions file = { .driver = "file", .filename = b->path };
    BlkOptions o = { .driver = "qcow2", .child = &file, .discard_unmap = true };

    return open_ok(&o);
}

static void bench_begin(Bench *b, const Case *c, unsigned seed)
{
    g_autofree char *below = NULL;

    *b = (Bench){ .c = c, .rand = g_rand_new_with_seed(seed), .path = temp_file(0, false),
                  .raw = temp_file(0, false), .model = g_malloc0(c->size) };
    if (c->backing) {
        b->backing = temp_file(c->size, true);
        file_get(b->backing, 0, b->model, c->size);
        below = g_strdup_printf("-F raw -b %s", b->backing);
    }
    assert_true(run_tool("qemu-img create -q -f qcow2 %s -o %s %s %" PRIu64, below ? below : "", c->options,
                         b->path, c->size));
    b->n = open_image(b);
}

static void bench_end(Bench *b)
{
    close_ok(b->n);
    g_unlink(b->path);
    g_unlink(b->raw);
    if (b->backing) {
        g_unlink(b->backing);
    }
    for (unsigned i = 0; i < SNAPS; i++) {
        g_free(b->snap[i]);
    }
    g_free(b->path);
    g_free(b->raw);
    g_free(b->backing);
    g_free(b->model);
    g_rand_free(b->rand);
}

static void expect(const Bench *b, const uint8_t *want, const char *what)
{
    g_autofree uint8_t *got = g_malloc(b->c->size);

    file_get(b->raw, 0, got, b->c->size);
    for (uint64_t i = 0; i < b->c->size; i++) {
        if (got[i] != want[i]) {
            fail_msg("%s: byte %#" PRIx64 " is %#x, not %#x", what, i, got[i], want[i]);
        }
    }
}

/* What the other side reads of the image and of each snapshot; it finds nothing wrong. */
static void verify(Bench *b)
{
    assert_true(run_tool("qemu-img check -q %s", b->path));
    assert_true(run_tool("qemu-img convert -O raw %s %s", b->path, b->raw));
    expect(b, b->model, "the image");
    for (unsigned i = 0; i < SNAPS; i++) {
        if (b->snap[i]) {
            g_autofree char *name = g_strdup_printf("snap%u", i);

            assert_true(run_tool("qemu-img convert -l snapshot.name=%s -O raw %s %s", name, b->path, b->raw));
            expect(b, b->snap[i], name);
        }
    }
}

static void write_some(Bench *b)
{
    for (unsigned n = g_rand_int_range(b->rand, 1, 12); n > 0; n--) {
        uint64_t off = (uint64_t)g_rand_int_range(b->rand, 0, (int)(b->c->size / 512)) * 512;
        uint64_t most = (uint64_t)g_rand_int_range(b->rand, 1, 400) * 512;
        uint64_t len = MIN(most, b->c->size - off);
        g_autofree uint8_t *buf = g_malloc(len);

        for (uint64_t i = 0; i < len; i += 8) {
            st64(buf + i, g_rand_int(b->rand));
        }
        assert_int_equal(blk_pwrite(b->n, off, buf, len), 0);
        memcpy(b->model + off, buf, len);
    }
    if (g_rand_boolean(b->rand)) {
        assert_int_equal(blk_pflush(b->n), 0);
    }
}

static void ours(Bench *b, unsigned i, char what)
{
    g_autofree char *name = g_strdup_printf("snap%u", i);
    Error *err = NULL;
    g_autoptr(GArray) list = blk_snapshots(b->n, &err);
    bool ok;

    assert_non_null(list);
    int at = blk_snapshot_find(list, NULL, name);
    assert_int_equal(at < 0, what == 'c');
    if (what == 'c') {
        ok = blk_snapshot_create(b->n, &(BlkSnapshot){ .name = name, .date_sec = 1000000000 }, &err);
    } else {
        ok = what == 'd' ? blk_snapshot_delete(b->n, (unsigned)at, &err)
                         : blk_snapshot_apply(b->n, (unsigned)at, &err);
    }
    if (!ok) {
        fail_msg("%c: %s", what, error_text(err));
    }
}

static void step(Bench *b)
{
    unsigned i = (unsigned)g_rand_int_range(b->rand, 0, SNAPS);
    char what = !b->snap[i] ? 'c' : g_rand_boolean(b->rand) ? 'd' : 'a';

    write_some(b);
    if (g_rand_boolean(b->rand)) {
        ours(b, i, what);
    } else {
        close_ok(b->n);
        assert_true(run_tool("qemu-img snapshot -q -%c snap%u %s", what, i, b->path));
        b->n = open_image(b);
    }
    if (what == 'c') {
        b->snap[i] = g_memdup2(b->model, b->c->size);
    } else if (what == 'd') {
        g_clear_pointer(&b->snap[i], g_free);
    } else {
        memcpy(b->model, b->snap[i], b->c->size);
    }
}

static void test_random(void **state)
{
    static const Case cases[] = {
        { "cluster_size=65536", 8 * MiB, false, 40 },
        { "cluster_size=65536", 8 * MiB, true, 30 },
        { "cluster_size=512", 4 * MiB, true, 30 },
        { "cluster_size=4096,refcount_bits=8", 8 * MiB, false, 40 },
        { "cluster_size=4096,compat=0.10", 8 * MiB, true, 30 },
        { "cluster_size=65536,extended_l2=on", 8 * MiB, true, 40 },
    };

    if (!have_tools()) {
        skip();
    }
    const char *seed = g_getenv("SEED");
    for (unsigned i = 0; i < cases_to_run(G_N_ELEMENTS(cases)); i++) {
        Bench b;

        print_message("%s%s\n", cases[i].options, cases[i].backing ? ", backing" : "");
        bench_begin(&b, &cases[i], seed ? (unsigned)atoi(seed) + i : 70 + i);
        for (unsigned s = 0; s < cases[i].steps; s++) {
            step(&b);
            if (s % 8 == 7 || s + 1 == cases[i].steps) {
                close_ok(b.n);
                verify(&b);
                b.n = open_image(&b);
            }
        }
        bench_end(&b);
    }
}

/* What can be told of a snapshot, each side's by the other. */
static void test_facts(void **state)
{
    static const Case c = { "cluster_size=65536", MiB, false, 0 };
    Bench b;
    Error *err = NULL;

    if (!have_tools()) {
        skip();
    }
    bench_begin(&b, &c, 1);
    BlkSnapshot s = { .name = (char *)"first", .date_sec = 1700000000, .date_nsec = 500000000,
                      .vm_clock_ns = UINT64_C(3723004000000) };
    assert_true(blk_snapshot_create(b.n, &s, &err));
    close_ok(b.n);
    assert_true(run_tool("bash -c \"TZ=UTC qemu-img snapshot -l %s | grep -E "
                         "'^1 +first +0 B +2023-11-14 22:13:20 +01:02:03.004 '\"", b.path));
    assert_true(run_tool("qemu-img snapshot -q -c second %s", b.path));
    b.n = open_image(&b);
    g_autoptr(GArray) list = blk_snapshots(b.n, &err);
    assert_int_equal(list->len, 2);
    const BlkSnapshot *first = &g_array_index(list, BlkSnapshot, 0), *second = first + 1;
    assert_string_equal(second->id, "2");
    assert_string_equal(second->name, "second");
    assert_true(second->has_disk_size && second->disk_size == MiB && second->date_sec > 1700000000);
    assert_int_equal(first->vm_clock_ns, s.vm_clock_ns);
    assert_int_equal(first->date_nsec, s.date_nsec);
    assert_int_equal(blk_snapshot_find(list, "2", NULL), 1);
    assert_int_equal(blk_snapshot_find(list, "2", "first"), -1);
    bench_end(&b);
}

static void refused(const char *options, const char *say)
{
    Case c = { options, MiB, false, 0 };
    Bench b;
    Error *err = NULL;
    uint8_t byte[512] = { 1 };

    bench_begin(&b, &c, 1);
    assert_int_equal(blk_pwrite(b.n, 0, byte, sizeof(byte)), 0);
    assert_false(blk_snapshot_create(b.n, &(BlkSnapshot){ .name = (char *)"s" }, &err));
    assert_non_null(strstr(error_text(err), say));
    error_free(err);
    close_ok(b.n);
    assert_true(run_tool("qemu-img check -q %s", b.path));
    b.n = open_image(&b);
    bench_end(&b);
}

static void test_refused(void **state)
{
    Error *err = NULL;
    BlkOptions null = { .driver = "null-co" };
    BlkNode *n = open_ok(&null);

    assert_null(blk_snapshots(n, &err));
    assert_string_equal(error_text(err), "Block format 'null-co' used by node '#block000' does not support "
                        "internal snapshots");
    error_free(err);
    close_ok(n);
    if (!have_tools()) {
        skip();
    }
    refused("cluster_size=4096,refcount_bits=1", "a reference count would be larger than its width allows");
}

/* A snapshot that claims a disk for which no L1 table is large enough. */
static void test_huge(void **state)
{
    static const Case c = { "cluster_size=512", MiB, false, 0 };
    Bench b;
    Error *err = NULL;
    g_autofree char *bytes = NULL;
    gsize len;

    if (!have_tools()) {
        skip();
    }
    bench_begin(&b, &c, 1);
    assert_true(blk_snapshot_create(b.n, &(BlkSnapshot){ .name = (char *)"claims" }, &err));
    close_ok(b.n);
    assert_true(g_file_get_contents(b.path, &bytes, &len, NULL));
    char *name = memmem(bytes, len, "claims", 6);
    assert_non_null(name);
    *(Be64 *)(name - 1 - 16) = to_be64(UINT64_C(1) << 49);     /* before the id: VM state, disk, icount */
    assert_true(g_file_set_contents(b.path, bytes, (gssize)len, NULL));
    b.n = open_image(&b);
    assert_false(blk_snapshot_apply(b.n, 0, &err));
    assert_string_equal(error_text(err), "Snapshot 'claims': disk size 562949953421312 is too big");
    error_free(err);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_random),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
