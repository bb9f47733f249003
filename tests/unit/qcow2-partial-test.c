/* qcow2-partial-test.c: clusters over a backing file of which a part was written, and the rest is copied by
 * the next flush: what reads, changes or fails to copy them. */
#include "tests/unit/block-helper.h"
#include "tests/unit/tool-helper.h"
#include "block/pool.h"
#include "block/qcow2-int.h"
#include "util/fault.h"
#include <inttypes.h>

#define CLUSTER (64 * KiB)
#define SIZE (4 * MiB + 512)
#define BACKED (3 * MiB + 5 * KiB)

typedef struct Bench {
    char *path, *below, *raw;
    BlkNode *n;
    Loop *l;
    uint8_t *model, *buf;
} Bench;

static void open_it(Bench *b)
{
    BlkOptions file = { .driver = "file", .filename = b->path };
    BlkOptions o = { .driver = "qcow2", .child = &file, .discard_unmap = true };

    b->n = open_ok(&o);
}

static void begin(Bench *b)
{
    *b = (Bench){ .path = temp_file(0, false), .below = temp_file(BACKED, true), .raw = temp_file(0, false),
                  .l = worker_new("w0"), .model = g_malloc0(SIZE), .buf = aligned(SIZE) };
    file_get(b->below, 0, b->model, BACKED);
    assert_true(run_tool("qemu-img create -q -f qcow2 -F raw -b %s %s %" PRIu64, b->below, b->path,
                         (uint64_t)SIZE));
    open_it(b);
}

/* The disk reads as the model. */
static void look(Bench *b)
{
    assert_int_equal(io_run(b->n, b->l, BLK_READ, 0, 0, b->buf, SIZE), 0);
    assert_memory_equal(b->buf, b->model, SIZE);
}

/* The same of the closed image, for an independent program. */
static void end(Bench *b)
{
    close_ok(b->n);
    assert_true(run_tool("qemu-img check -q %s", b->path));
    assert_true(run_tool("qemu-img convert -O raw %s %s", b->path, b->raw));
    file_get(b->raw, 0, b->buf, SIZE);
    assert_memory_equal(b->buf, b->model, SIZE);
    worker_free(b->l);
    g_unlink(b->path);
    g_unlink(b->below);
    g_unlink(b->raw);
    g_free(b->path);
    g_free(b->below);
    g_free(b->raw);
    g_free(b->model);
    free(b->buf);
}

static unsigned partials(const Bench *b)
{
    const Qcow2 *q = b->n->state;

    return g_hash_table_size(q->partials);
}

static void put(Bench *b, uint64_t off, uint64_t len, unsigned flags)
{
    memset(b->model + off, 0x55, len);
    memcpy(b->buf, b->model + off, len);
    assert_int_equal(io_run(b->n, b->l, BLK_WRITE, flags, off, b->buf, len), 0);
}

static int flush(Bench *b)
{
    return io_run(b->n, b->l, BLK_FLUSH, 0, 0, NULL, 0);
}

/* A cluster that is written whole, in pieces and in any order, is mapped without a copy. */
static void test_whole(void **state)
{
    Bench b;

    begin(&b);
    fault_arm("qcow2-partial-copy", 1);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(partials(&b), i != 0);
        put(&b, CLUSTER + i * 7 % 16 * 4096, 4096, 0);
    }
    assert_int_equal(partials(&b), 0);
    assert_int_equal(flush(&b), 0);
    assert_false(fault_disarm());
    look(&b);
    end(&b);
}

/* Parts at either end of a cluster, in sectors, at the ends of what is behind and of the disk. */
static void test_places(void **state)
{
    static const struct { uint64_t off, len; } at[] = {
        { 0, 512 }, { CLUSTER - 512, 1024 }, { 3 * CLUSTER + 4608, 3 * CLUSTER },
        { 3 * MiB, 512 }, { 3 * MiB + 4096, 512 }, { 4 * MiB, 512 }, { 8 * CLUSTER + 5 * 4096, 8192 },
    };
    Bench b;

    begin(&b);
    for (unsigned i = 0; i < ARRAY_LEN(at); i++) {
        put(&b, at[i].off, at[i].len, 0);
        look(&b);
    }
    assert_int_equal(partials(&b), 6);
    assert_int_equal(flush(&b), 0);
    assert_int_equal(partials(&b), 0);
    look(&b);
    end(&b);
}

/* A copy that fails fails the flush, each of them, and nothing else; the next one copies. */
static void test_failure(void **state)
{
    Bench b;

    begin(&b);
    for (unsigned nth = 1; nth <= 3; nth++) {
        for (unsigned i = 0; i < 3; i++) {
            put(&b, (nth * 4 + i) * CLUSTER + 8192, 4096, 0);
        }
        fault_arm("qcow2-partial-copy", nth);
        assert_int_equal(flush(&b), -EIO);
        assert_true(fault_disarm());
        assert_int_equal(partials(&b), 1);
        look(&b);
        put(&b, (nth * 4 + 1) * CLUSTER, 4096, 0);
        assert_int_equal(flush(&b), 0);
        assert_int_equal(partials(&b), 0);
        look(&b);
    }
    put(&b, 0, 512, 0);
    fault_arm("blk-cow-buffer", 1);    /* of the first write into a cluster: it gets nowhere */
    memset(b.buf, 0, 512);
    assert_int_equal(io_run(b.n, b.l, BLK_WRITE, 0, 20 * CLUSTER, b.buf, 512), -ENOMEM);
    assert_true(fault_disarm());
    assert_int_equal(partials(&b), 1);
    look(&b);
    end(&b);
}

/* Whatever else changes the mapping. */
static void test_others(void **state)
{
    Error *err = NULL;
    char name[] = "s";
    Bench b;

    begin(&b);
    for (unsigned i = 0; i < 8; i++) {
        put(&b, i * CLUSTER + 4096, 4096, 0);
    }
    memset(b.model, 0, CLUSTER);
    assert_int_equal(io_run(b.n, b.l, BLK_ZERO, BLK_MAY_UNMAP, 0, NULL, CLUSTER), 0);
    memset(b.model + CLUSTER, 0, CLUSTER);
    assert_int_equal(io_run(b.n, b.l, BLK_DISCARD, 0, CLUSTER, NULL, CLUSTER), 0);
    memset(b.model + 2 * CLUSTER + 512, 0, 2048);
    assert_int_equal(io_run(b.n, b.l, BLK_ZERO, 0, 2 * CLUSTER + 512, NULL, 2048), 0);
    memset(b.model + 3 * CLUSTER, 7, CLUSTER);
    assert_int_equal(blk_pwrite_compressed(b.n, 3 * CLUSTER, b.model + 3 * CLUSTER, CLUSTER), 0);
    assert_int_equal(partials(&b), 5);
    look(&b);
    put(&b, 4 * CLUSTER + 12288, 512, BLK_FUA);        /* mapped when it ends, for itself alone */
    assert_int_equal(partials(&b), 4);
    put(&b, 9 * CLUSTER, 512, BLK_FUA);
    assert_int_equal(partials(&b), 4);
    if (!blk_snapshot_create(b.n, &(BlkSnapshot){ .name = name }, &err)) {
        fail_msg("%s", error_text(err));
    }
    assert_int_equal(partials(&b), 0);
    put(&b, 4 * CLUSTER, 512, 0);      /* shared with the snapshot: copied at once */
    put(&b, 10 * CLUSTER, 512, 0);
    assert_int_equal(partials(&b), 1);
    assert_true(blk_set_backing_file(b.n, b.below, "raw", &err));
    assert_int_equal(partials(&b), 0);
    look(&b);
    end(&b);
}

/* What is there is said to be, and no more. */
static void test_status(void **state)
{
    BlkStatus s = { 0 };
    Bench b;

    begin(&b);
    put(&b, CLUSTER + 8192, 4096, 0);
    put(&b, 4 * CLUSTER + 8192, 4096, 0);
    const BlkNode *below = b.n->backing;
    assert_int_equal(blk_status(b.n, 0, SIZE, below, &s), 0);
    assert_false(s.flags & BLK_STATUS_HERE);
    assert_int_equal(s.len, CLUSTER);
    assert_int_equal(blk_status(b.n, CLUSTER, SIZE - CLUSTER, below, &s), 0);
    assert_false(s.flags & BLK_STATUS_HERE);
    assert_int_equal(s.len, 8192);
    assert_int_equal(blk_status(b.n, CLUSTER + 8192, SIZE - CLUSTER - 8192, below, &s), 0);
    assert_true(s.flags & BLK_STATUS_HERE);
    assert_int_equal(s.len, 4096);
    end(&b);
}

/* No more than so many; what goes beyond is copied at once. */
static void test_bound(void **state)
{
    Bench b;

    begin(&b);
    Qcow2 *q = b.n->state;
    q->partials_max = 5;
    for (unsigned i = 0; i < 20; i++) {
        put(&b, i * 2 * CLUSTER + 4096, 4096, 0);
        assert_in_range(partials(&b), 1, 5);
    }
    look(&b);
    end(&b);
}

/* More than one thread copies when it takes long; one that fails is told. */
static void test_threads(void **state)
{
    Bench b;

    begin(&b);
    Qcow2 *q = b.n->state;
    q->slow_ns = 0;
    for (unsigned nth = 1; nth <= 42; nth += 41) {
        for (unsigned i = 0; i < 48; i++) {
            put(&b, i * CLUSTER + nth * 512, 512, 0);
        }
        fault_arm("qcow2-partial-copy", nth);
        assert_int_equal(flush(&b), nth == 1 ? -EIO : 0);
        assert_int_equal(fault_disarm(), nth == 1);
        look(&b);
        assert_int_equal(flush(&b), 0);
        assert_int_equal(partials(&b), 0);
    }
    end(&b);
}

/* Many, filled by several threads while others write to them. */
static void test_beside_writers(void **state)
{
    Bench b;
    Io io[17];
    sem_t home;

    begin(&b);
    sem_init(&home, 0, 0);
    for (unsigned round = 0; round < 16; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
            uint64_t off = (i * 3 + round % 3) * CLUSTER + round * 4096;
            bool last = i == ARRAY_LEN(io) - 1;

            memset(b.model + off, last ? b.model[off] : 0x66, last ? 0 : 4096);
            io_prepare(&io[i], b.n, b.l, last ? BLK_FLUSH : BLK_WRITE, 0, last ? 0 : off,
                       last ? NULL : b.model + off, last ? 0 : 4096);
            io[i].sem = &home;
            loop_call(b.l, io_submit_here, &io[i]);
        }
        for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
            while (sem_wait(&home) < 0) {
            }
        }
        loop_call_wait(b.l, io_nothing, NULL);
        for (unsigned i = 0; i < ARRAY_LEN(io); i++) {
            assert_int_equal(io[i].ret, 0);
        }
    }
    look(&b);
    assert_int_equal(flush(&b), 0);
    sem_destroy(&home);
    end(&b);
}

typedef struct Storm {
    Io io[4 * POOL_MAX];
} Storm;

static void submit_storm(void *arg)
{
    Storm *s = arg;

    for (unsigned i = 0; i < ARRAY_LEN(s->io); i++) {
        io_submit_here(&s->io[i]);
    }
}

/* More flushes at once than there are threads, and the write that they wait for needs one, too. */
static void test_flushes(void **state)
{
    Storm *s = g_new0(Storm, 1);
    sem_t home;
    Bench b;

    begin(&b);
    put(&b, 512, 512, 0);
    memset(b.model + 8192, 0x66, 4096);
    sem_init(&home, 0, 0);
    for (unsigned i = 0; i < ARRAY_LEN(s->io); i++) {
        io_prepare(&s->io[i], b.n, b.l, i ? BLK_FLUSH : BLK_WRITE, 0, i ? 0 : 8192,
                   i ? NULL : b.model + 8192, i ? 0 : 4096);
        s->io[i].sem = &home;
    }
    loop_call(b.l, submit_storm, s);
    for (unsigned i = 0; i < ARRAY_LEN(s->io); i++) {
        while (sem_wait(&home) < 0) {
        }
    }
    loop_call_wait(b.l, io_nothing, NULL);
    for (unsigned i = 0; i < ARRAY_LEN(s->io); i++) {
        assert_int_equal(s->io[i].ret, 0);
    }
    assert_int_equal(partials(&b), 0);
    look(&b);
    sem_destroy(&home);
    g_free(s);
    end(&b);
}

/* A part that is zeroed at the end of the file is in the file, whatever was put above the image since. */
static void test_zeroes_at_the_end(void **state)
{
    uint8_t *zeroes = aligned(CLUSTER);
    Bench b;

    begin(&b);
    int fd = open(b.below, O_WRONLY);
    assert_int_equal(pwrite(fd, zeroes, CLUSTER, 2 * CLUSTER), CLUSTER);
    close(fd);
    memset(b.model + 2 * CLUSTER, 0, CLUSTER);
    put(&b, 0, CLUSTER, 0);
    assert_int_equal(flush(&b), 0);
    BlkNode *filter = open_ok(&(BlkOptions){ .driver = "copy-on-read", .child_ref = blk_name(b.n) });
    assert_int_equal(io_run(b.n, b.l, BLK_ZERO, 0, 2 * CLUSTER, NULL, CLUSTER / 4), 0);
    assert_int_equal(flush(&b), 0);
    close_ok(filter);
    free(zeroes);
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_beside_writers),
        cmocka_unit_test(test_flushes),
        cmocka_unit_test(test_zeroes_at_the_end),
    };

    thread_become_control();
    if (!have_tools()) {
        return 77;
    }
    return cmocka_run_group_tests_name("qcow2-partial", tests, NULL, NULL);
}
