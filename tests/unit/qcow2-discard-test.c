/* qcow2-discard-test.c: what a qcow2 image has no use for goes back to the host: the blocks that its file
 * takes are counted, and our own check and qemu-img, where it is installed, find nothing wrong. */
#include "tests/unit/block-helper.h"
#include "tests/unit/tool-helper.h"
#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include "block/breaks.h"

#define SIZE (8 * MiB)
#define META MiB               /* more than metadata takes */
#define CLUSTER 4096

typedef struct Disk {
    char *path;
    BlkNode *n;
    Loop *l;
    uint8_t *buf;              /* SIZE bytes */
} Disk;

static uint64_t taken(const Disk *d)
{
    struct stat st;

    assert_int_equal(stat(d->path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

static void disk_make(Disk *d, uint64_t cluster)
{
    Error *err = NULL;

    *d = (Disk){ .path = temp_file(0, false), .l = worker_new("w0"), .buf = aligned(SIZE) };
    BlkCreate c = { .driver = "qcow2", .filename = d->path, .size = SIZE, .cluster_size = cluster };
    if (!blk_create(&c, &err)) {
        fail_msg("%s", error_text(err));
    }
}

static void disk_open(Disk *d, bool unmap, BlkFreed why, BlkOnOff pass)
{
    BlkOptions file = { .driver = "file", .filename = d->path };
    BlkOptions o = { .driver = "qcow2", .child = &file, .discard_unmap = unmap };

    o.pass_discard[why] = pass;
    d->n = open_ok(&o);
}

static void run(const Disk *d, BlkOp op, unsigned flags, uint64_t off, uint64_t len)
{
    bool data = op == BLK_READ || op == BLK_WRITE;

    assert_int_equal(io_run(d->n, d->l, op, flags, off, data ? d->buf : NULL, len), 0);
}

static void fill(const Disk *d, uint8_t v)
{
    memset(d->buf, v, SIZE);
    run(d, BLK_WRITE, 0, 0, SIZE);
    run(d, BLK_FLUSH, 0, 0, 0);
}

static void disk_end(Disk *d)
{
    BlkCheck found = { 0 };
    Error *err = NULL;

    close_ok(d->n);
    disk_open(d, false, 0, BLK_DEFAULT);
    assert_true(blk_check(d->n, 0, &found, &err));
    assert_int_equal(found.corruptions + found.leaks, 0);
    close_ok(d->n);
    if (have_tools()) {
        assert_true(run_tool("qemu-img check -q %s", d->path));
    }
    worker_free(d->l);
    g_unlink(d->path);
    g_free(d->path);
    free(d->buf);
}

/* --- requests --- */

static void test_requests(void **state)
{
    static const struct { bool unmap; BlkOnOff pass; BlkOp op; bool shrinks; } cases[] = {
        { true, BLK_DEFAULT, BLK_DISCARD, true }, { true, BLK_OFF, BLK_DISCARD, false },
        { true, BLK_DEFAULT, BLK_ZERO, true }, { false, BLK_DEFAULT, BLK_ZERO, false },
        { false, BLK_ON, BLK_ZERO, true }, { false, BLK_ON, BLK_DISCARD, false },
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        Disk d;

        disk_make(&d, i % 2 ? CLUSTER : 0);
        disk_open(&d, cases[i].unmap, BLK_FREED_REQUEST, cases[i].pass);
        fill(&d, 1);
        assert_true(taken(&d) >= SIZE);
        run(&d, cases[i].op, cases[i].op == BLK_ZERO ? BLK_MAY_UNMAP : 0, 0, SIZE);
        assert_true(taken(&d) >= SIZE);
        run(&d, BLK_FLUSH, 0, 0, 0);
        assert_true(cases[i].shrinks ? taken(&d) < META : taken(&d) >= SIZE);
        fill(&d, 2);
        memset(d.buf, 0, SIZE);
        run(&d, BLK_READ, 0, 0, SIZE);
        for (uint64_t at = 0; at < SIZE; at++) {
            assert_int_equal(d.buf[at], 2);
        }
        run(&d, BLK_DISCARD, 0, SIZE / 2, SIZE / 2);   /* closing sees to it too */
        disk_end(&d);
    }
}

typedef struct Reader {
    Disk *d;
    Io io;                     /* by a request, or */
    pthread_t thread;          /* by a blocking read */
    uint8_t *got;
    sem_t over;
} Reader;

static void *read_blocking(void *arg)
{
    Reader *r = arg;

    r->io.ret = blk_pread(r->d->n, 0, r->got, CLUSTER);
    return NULL;
}

static void reader_start(Reader *r, bool blocking)
{
    if (blocking) {
        assert_int_equal(pthread_create(&r->thread, NULL, read_blocking, r), 0);
        while (!blk_break_stopped(r->d->n, "held")) {
            loop_control_iterate(false);
        }
        return;
    }
    io_prepare(&r->io, r->d->n, r->d->l, BLK_READ, 0, 0, r->got, CLUSTER);
    r->io.sem = &r->over;
    loop_call_wait(r->d->l, io_submit_here, &r->io);
    assert_true(blk_break_stopped(r->d->n, "held"));
}

static void reader_end(Reader *r, bool blocking)
{
    if (blocking) {
        assert_int_equal(pthread_join(r->thread, NULL), 0);
        return;
    }
    while (sem_wait(&r->over) < 0) {
    }
    loop_call_wait(r->d->l, io_nothing, NULL);
}

/* A reader on its way to the cluster gets what it was sent for; the host gets the space with a later flush,
 * and no flush waits for that reader. */
static void reader_case(bool blocking)
{
    Disk d;
    Reader r = { .d = &d, .got = aligned(CLUSTER) };

    disk_make(&d, 0);
    disk_open(&d, true, BLK_FREED_REQUEST, BLK_DEFAULT);
    fill(&d, 1);
    close_ok(d.n);
    BlkOptions file = { .driver = "file", .filename = d.path };
    BlkOptions debug = { .driver = "blkdebug", .child = &file };
    d.n = open_ok(&(BlkOptions){ .driver = "qcow2", .child = &debug, .discard_unmap = true });
    run(&d, BLK_READ, 0, 0, SIZE);
    sem_init(&r.over, 0, 0);
    assert_int_equal(blk_break_add(d.n, "read_aio", "held"), 0);
    reader_start(&r, blocking);
    run(&d, BLK_DISCARD, 0, 0, SIZE);
    for (unsigned i = 0; i < 3; i++) {
        run(&d, BLK_FLUSH, 0, 0, 0);
        assert_true(taken(&d) >= SIZE);
    }
    assert_int_equal(blk_break_resume(d.n, "held"), 0);
    reader_end(&r, blocking);
    assert_int_equal(r.io.ret, 0);
    assert_int_equal(r.got[0], 1);
    assert_int_equal(r.got[CLUSTER - 1], 1);
    run(&d, BLK_FLUSH, 0, 0, 0);
    assert_true(taken(&d) < META);
    sem_destroy(&r.over);
    free(r.got);
    disk_end(&d);
}

static void test_reader(void **state)
{
    reader_case(false);
}

static void test_blocking_reader(void **state)
{
    reader_case(true);
}

/* --- other occasions --- */

/* Compressed clusters share one of the file: it goes with the last of them. */
static void test_compressed(void **state)
{
    for (BlkOnOff pass = BLK_DEFAULT; pass <= BLK_ON; pass++) {
        Disk d;

        disk_make(&d, CLUSTER);
        disk_open(&d, true, BLK_FREED_OTHER, pass);
        for (uint64_t at = 0; at < SIZE; at += CLUSTER) {
            for (unsigned i = 0; i < CLUSTER / 2; i++) {       /* to about half */
                d.buf[i] = (uint8_t)(at / 64 + i * i * 7 + i * 2654435761u / 65536);
            }
            assert_int_equal(blk_pwrite_compressed(d.n, at, d.buf, CLUSTER), 0);
        }
        run(&d, BLK_FLUSH, 0, 0, 0);
        uint64_t packed = taken(&d);
        assert_in_range(packed, META, SIZE);
        fill(&d, 1);
        if (pass == BLK_ON) {
            assert_true(taken(&d) < SIZE + META);
        } else {
            assert_true(taken(&d) > SIZE + packed - META);
        }
        disk_end(&d);
    }
}

static void test_snapshot(void **state)
{
    for (BlkOnOff pass = BLK_DEFAULT; pass <= BLK_ON; pass++) {
        Disk d;
        Error *err = NULL;
        uint64_t held = pass == BLK_OFF ? SIZE : 0;

        disk_make(&d, CLUSTER);
        disk_open(&d, false, BLK_FREED_SNAPSHOT, pass);
        fill(&d, 1);
        assert_true(blk_snapshot_create(d.n, &(BlkSnapshot){ .name = (char *)"s" }, &err));
        fill(&d, 2);
        assert_true(taken(&d) >= 2 * SIZE);
        assert_true(blk_snapshot_apply(d.n, 0, &err));
        assert_in_range(taken(&d), SIZE + held, SIZE + META + held);
        fill(&d, 3);
        assert_true(blk_snapshot_delete(d.n, 0, &err));
        assert_in_range(taken(&d), SIZE + held, SIZE + META + held);
        run(&d, BLK_READ, 0, 0, SIZE);
        assert_int_equal(d.buf[0], 3);
        assert_int_equal(d.buf[SIZE - 1], 3);
        disk_end(&d);
    }
}

static void test_refused(void **state)
{
    BlkOptions file = { .driver = "null-co" };
    BlkOptions o = { .driver = "raw", .child = &file, .pass_discard = { [BLK_FREED_OTHER] = BLK_OFF } };
    Error *err = NULL;

    assert_null(blk_open(&o, &err));
    assert_error(err, "Block driver 'raw' has no option 'pass-discard-other'");
}

/* --- broken images --- */

/* The image says twice that a cluster counted once is its own: nothing of it is thrown away. */
static void test_used_twice(void **state)
{
    Disk d;
    uint64_t entry, l1[3] = { 0 };

    disk_make(&d, 0);
    disk_open(&d, true, 0, BLK_DEFAULT);
    fill(&d, 1);
    close_ok(d.n);
    int fd = open(d.path, O_RDWR);
    assert_int_equal(pread(fd, l1, 8, 40), 8);         /* where the L1 table is; */
    assert_int_equal(pread(fd, &l1[1], 8, (off_t)GUINT64_FROM_BE(l1[0])), 8);
    off_t l2 = (off_t)(GUINT64_FROM_BE(l1[1]) & ~(UINT64_C(1) << 63));
    assert_int_equal(pread(fd, &entry, 8, l2), 8);
    assert_int_equal(pwrite(fd, &entry, 8, l2 + 8), 8);
    disk_open(&d, true, 0, BLK_DEFAULT);
    run(&d, BLK_DISCARD, 0, 0, 2 * 65536);
    run(&d, BLK_FLUSH, 0, 0, 0);
    uint8_t byte = 0;
    assert_int_equal(pread(fd, &byte, 1, (off_t)(GUINT64_FROM_BE(entry) & ~(UINT64_C(1) << 63))), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(io_run(d.n, d.l, BLK_DISCARD, 0, 0, NULL, SIZE), -EIO);
    close_ok(d.n);
    close(fd);
    worker_free(d.l);
    g_unlink(d.path);
    g_free(d.path);
    free(d.buf);
}

/* --- side by side --- */

#define SLOTS 8
#define SLOT (64 * KiB)

typedef struct Slot {
    Io io;
    uint8_t *buf, is[SLOT / CLUSTER];          /* what each cluster reads as */
    bool busy;
} Slot;

/* Ends what @s had under way. */
static void slot_end(Slot *s)
{
    if (!s->busy) {
        return;
    }
    while (sem_wait(s->io.sem) < 0) {
    }
    loop_call_wait(s->io.req.loop, io_nothing, NULL);
    assert_int_equal(s->io.ret, 0);
    uint64_t first = s->io.req.off % SLOT;
    for (uint64_t i = 0; s->io.req.op == BLK_READ && i < s->io.req.len; i++) {
        assert_int_equal(s->buf[i], s->is[(first + i) / CLUSTER]);
    }
    s->busy = false;
}

static void slot_start(Slot *s, unsigned at, const Disk *d, Loop *l, GRand *rand)
{
    static const BlkOp ops[] = { BLK_WRITE, BLK_WRITE, BLK_DISCARD, BLK_DISCARD, BLK_READ, BLK_FLUSH };
    BlkOp op = ops[g_rand_int_range(rand, 0, ARRAY_LEN(ops))];
    uint64_t first = (uint64_t)g_rand_int_range(rand, 0, SLOT / CLUSTER), count =
        op == BLK_FLUSH ? 0 : (uint64_t)g_rand_int_range(rand, 1, (int)(SLOT / CLUSTER - first) + 1);
    uint8_t v = op == BLK_DISCARD ? 0 : (uint8_t)g_rand_int_range(rand, 1, 256);
    sem_t *sem = s->io.sem;

    if (op == BLK_WRITE || op == BLK_DISCARD) {
        memset(s->is + first, v, count);
        memset(s->buf, v, count * CLUSTER);
    }
    io_prepare(&s->io, d->n, l, op, 0, op == BLK_FLUSH ? 0 : at * SLOT + first * CLUSTER,
               op == BLK_READ || op == BLK_WRITE ? s->buf : NULL, count * CLUSTER);
    s->io.sem = sem;
    s->busy = true;
    loop_call(l, io_submit_here, &s->io);
}

/* Two loops write, discard and flush; what one gave up is soon the other's, and holes come too late never. */
static void test_busy(void **state)
{
    Disk d;
    Slot slots[SLOTS] = { 0 };
    sem_t sems[SLOTS];
    GRand *rand = g_rand_new_with_seed(7);

    disk_make(&d, CLUSTER);
    disk_open(&d, true, BLK_FREED_OTHER, BLK_ON);
    Loop *other = worker_new("w1");
    for (unsigned i = 0; i < SLOTS; i++) {
        slots[i].buf = aligned(SLOT);
        slots[i].io.sem = &sems[i];
        sem_init(&sems[i], 0, 0);
    }
    for (unsigned n = 0; n < 6000; n++) {
        unsigned i = n % SLOTS;

        slot_end(&slots[i]);
        slot_start(&slots[i], i, &d, i % 2 ? other : d.l, rand);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        slot_end(&slots[i]);
        free(slots[i].buf);
        sem_destroy(&sems[i]);
    }
    run(&d, BLK_FLUSH, 0, 0, 0);
    assert_true(taken(&d) < SLOTS * SLOT + META);
    worker_free(other);
    g_rand_free(rand);
    disk_end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_blocking_reader),
        cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_used_twice),
        cmocka_unit_test(test_busy),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
