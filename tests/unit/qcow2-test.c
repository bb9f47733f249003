/* qcow2-test.c: qcow2 images against an independent implementation: qemu-img makes and checks the
 * images, and what it reads from them is compared with a model in memory. */
#include "tests/unit/block-helper.h"
#include "tests/unit/tool-helper.h"
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>

#define DEPTH 16
#define SECTOR 512

typedef struct Case {
    const char *options;       /* of qemu-img create */
    uint64_t size;
    bool backing, unmap;
    unsigned ops;
} Case;

typedef struct Bench {
    const Case *c;
    char *path, *backing, *raw;
    BlkNode *n;
    Loop *l;
    GRand *rand;
    uint8_t *model;
    bool zeroed_unknown;
    Io io[DEPTH];
    uint8_t *buf[DEPTH];
    bool busy[DEPTH];
    sem_t home;
} Bench;

static BlkNode *open_image(const Bench *b, bool read_only)
{
    BlkOptions file = { .driver = "file", .filename = b->path };
    BlkOptions o = { .driver = "qcow2", .child = &file, .read_only = read_only,
                     .discard_unmap = b->c->unmap };

    return open_ok(&o);
}

static void bench_begin(Bench *b, const Case *c, unsigned seed)
{
    *b = (Bench){ .c = c, .rand = g_rand_new_with_seed(seed), .path = temp_file(0, false),
                  .raw = temp_file(0, false), .model = g_malloc0(c->size) };
    if (c->backing) {
        uint64_t half = ALIGN_DOWN(c->size * 3 / 4, 4096);

        b->backing = temp_file(half, true);
        file_get(b->backing, 0, b->model, half);
        assert_true(run_tool("qemu-img create -q -f qcow2 -F raw -b %s -o %s %s %" PRIu64, b->backing,
                             c->options, b->path, c->size));
    } else {
        assert_true(run_tool("qemu-img create -q -f qcow2 -o %s %s %" PRIu64, c->options, b->path, c->size));
    }
    b->l = worker_new("w0");
    sem_init(&b->home, 0, 0);
    for (unsigned i = 0; i < DEPTH; i++) {
        b->buf[i] = aligned(2 * MiB);
    }
    b->n = open_image(b, false);
}

/* What qemu-img reads is what the model holds, and it finds nothing wrong. */
static void verify(Bench *b)
{
    g_autofree uint8_t *got = g_malloc(b->c->size);

    assert_true(run_tool("qemu-img check -q %s", b->path));
    assert_true(run_tool("qemu-img convert -O raw %s %s", b->path, b->raw));
    file_get(b->raw, 0, got, b->c->size);
    for (uint64_t i = 0; i < b->c->size; i++) {
        if (got[i] != b->model[i]) {
            fail_msg("byte %#" PRIx64 " is %#x, not %#x", i, got[i], b->model[i]);
        }
    }
}

static void bench_end(Bench *b)
{
    worker_free(b->l);
    for (unsigned i = 0; i < DEPTH; i++) {
        free(b->buf[i]);
    }
    g_unlink(b->path);
    g_unlink(b->raw);
    if (b->backing) {
        g_unlink(b->backing);
    }
    g_free(b->path);
    g_free(b->raw);
    g_free(b->backing);
    g_free(b->model);
    g_rand_free(b->rand);
    sem_destroy(&b->home);
}

/* --- random requests side by side --- */

static void collect(Bench *b)
{
    while (sem_wait(&b->home) < 0) {
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        Io *io = &b->io[i];

        if (!b->busy[i] || !__atomic_load_n(&io->calls, __ATOMIC_ACQUIRE)) {
            continue;
        }
        loop_call_wait(b->l, io_nothing, NULL);
        assert_int_equal(io->ret, 0);
        if (io->req.op == BLK_READ && memcmp(b->buf[i], b->model + io->req.off, io->req.len)) {
            fail_msg("read of %" PRIu64 " at %#" PRIx64 " differs", io->req.len, io->req.off);
        }
        b->busy[i] = false;
        return;
    }
}

static bool overlaps(const Bench *b, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        const BlkReq *r = &b->io[i].req;

        if (b->busy[i] && off < r->off + r->len && r->off < off + len) {
            return true;
        }
    }
    return false;
}

static void pick(Bench *b, BlkOp *op, uint64_t *off, uint64_t *len)
{
    unsigned what = g_rand_int_range(b->rand, 0, 20);
    uint64_t most = g_rand_int_range(b->rand, 0, 8) == 0 ? 2 * MiB : 64 * KiB;

    *op = what < 9 ? BLK_WRITE : what < 15 ? BLK_READ : what < 17 ? BLK_ZERO
          : what < 19 ? BLK_DISCARD : BLK_FLUSH;
    *len = (uint64_t)g_rand_int_range(b->rand, 1, (int)(most / SECTOR)) * SECTOR;
    *off = (uint64_t)g_rand_int_range(b->rand, 0, (int)(b->c->size / SECTOR)) * SECTOR;
    if (g_rand_boolean(b->rand)) {
        *len = ALIGN_UP(*len, 65536);
        *off = ALIGN_DOWN(*off, 65536);
    }
    *len = MIN(MIN(*len, 2 * MiB), b->c->size - *off);
    if (*op == BLK_FLUSH) {
        *off = *len = 0;
    }
}

/* Discards leave the contents to the image: what they read as is asked for at the end. */
static void discard_here(Bench *b, uint64_t off, uint64_t len)
{
    Io io;
    uint8_t *buf = aligned(2 * MiB);

    assert_int_equal(io_run(b->n, b->l, BLK_DISCARD, 0, off, NULL, len), 0);
    io_prepare(&io, b->n, b->l, BLK_READ, 0, off, buf, len);
    assert_int_equal(io_wait(&io), 0);
    for (uint64_t i = 0; i < len; i++) {
        if (buf[i] != b->model[off + i] && buf[i] != 0) {
            fail_msg("after a discard byte %#" PRIx64 " is %#x", off + i, buf[i]);
        }
    }
    memcpy(b->model + off, buf, len);
    free(buf);
}

static void submit_one(Bench *b)
{
    BlkOp op;
    uint64_t off, len;
    unsigned i = 0;

    pick(b, &op, &off, &len);
    while (overlaps(b, off, len)) {
        collect(b);
    }
    if (op == BLK_DISCARD) {
        discard_here(b, off, len);
        return;
    }
    while (i < DEPTH && b->busy[i]) {
        i++;
    }
    if (i == DEPTH) {
        collect(b);
        for (i = 0; b->busy[i]; i++) {
        }
    }
    if (op == BLK_WRITE) {
        for (uint64_t at = 0; at < len; at += 8) {
            st64(b->buf[i] + at, g_rand_int(b->rand) | 1);
        }
        memcpy(b->model + off, b->buf[i], len);
    } else if (op == BLK_ZERO) {
        memset(b->model + off, 0, len);
    }
    io_prepare(&b->io[i], b->n, b->l, op, g_rand_int_range(b->rand, 0, 16) == 0 ? BLK_FUA :
               op == BLK_ZERO && g_rand_boolean(b->rand) ? BLK_MAY_UNMAP : 0, off,
               op == BLK_READ || op == BLK_WRITE ? b->buf[i] : NULL, len);
    b->io[i].sem = &b->home;
    b->busy[i] = true;
    loop_call(b->l, io_submit_here, &b->io[i]);
}

static void drain(Bench *b)
{
    for (unsigned i = 0; i < DEPTH; i++) {
        while (b->busy[i]) {
            collect(b);
        }
    }
}

static void random_case(const Case *c, unsigned seed)
{
    Bench b;

    bench_begin(&b, c, seed);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < c->ops; i++) {
            submit_one(&b);
        }
        drain(&b);
        close_ok(b.n);
        verify(&b);
        b.n = open_image(&b, round == 1);
    }
    uint8_t *buf = aligned(c->size);
    assert_int_equal(io_run(b.n, b.l, BLK_READ, 0, 0, buf, c->size), 0);
    assert_memory_equal(buf, b.model, c->size);
    free(buf);
    close_ok(b.n);
    bench_end(&b);
}

static void test_random(void **state)
{
    static const Case cases[] = {
        { "cluster_size=65536", 24 * MiB, false, true, 400 },
        { "cluster_size=65536", 24 * MiB, true, true, 400 },
        { "cluster_size=65536", 24 * MiB, true, false, 300 },
        { "cluster_size=512", 8 * MiB, false, true, 300 },
        { "cluster_size=512,refcount_bits=64", 8 * MiB, true, true, 300 },
        { "cluster_size=4096,refcount_bits=1", 8 * MiB, false, true, 400 },
        { "cluster_size=4096,refcount_bits=4", 8 * MiB, true, true, 400 },
        { "cluster_size=2097152", 24 * MiB, true, true, 200 },
        { "compat=0.10,cluster_size=4096", 8 * MiB, true, true, 300 },
        { "compat=0.10,cluster_size=65536", 24 * MiB, false, true, 300 },
        { "extended_l2=on,cluster_size=65536", 24 * MiB, false, true, 400 },
        { "extended_l2=on,cluster_size=65536", 24 * MiB, true, true, 400 },
        { "extended_l2=on,cluster_size=16384", 8 * MiB, true, true, 400 },
    };

    if (!have_tools()) {
        skip();
    }
    const char *seed = g_getenv("SEED");
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        print_message("%s%s\n", cases[i].options, cases[i].backing ? ", backing" : "");
        random_case(&cases[i], seed ? (unsigned)atoi(seed) + i : 1000 + i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
