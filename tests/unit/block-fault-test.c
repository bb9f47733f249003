/* block-fault-test.c: every host call fails once, at every place it is made; nothing is lost, leaks
 * or hangs. */
#include "block/block-int.h"
#include "block/pool.h"
#include "tests/unit/block-helper.h"

#define SIZE (64 * KiB)

typedef struct Mode {
    BlkAio aio;
    bool direct;
} Mode;

static const Mode modes[] = {
    { BLK_AIO_THREADS, false },
    { BLK_AIO_THREADS, true },
    { BLK_AIO_NATIVE, true },
    { BLK_AIO_IO_URING, false },
    { BLK_AIO_IO_URING, true },
};

static const char *const points[] = {
    "file-open", "file-stat", "file-lock", "file-read", "file-write", "file-flush", "file-zero",
    "file-discard", "file-bounce", "file-truncate", "aio-setup", "aio-submit", "uring-setup",
    "uring-submit", "pool-thread",
};

#define STEPS 8

static void submit_batch(void *arg)
{
    Io *io = arg;

    for (unsigned i = 0; i < STEPS; i++) {
        blk_submit(io[i].node, &io[i].req);
    }
}

/* All kinds of requests at once; counts those that failed. */
static unsigned run_batch(BlkNode *n, Loop *l, uint8_t *buf)
{
    Io io[STEPS];
    sem_t sem;
    unsigned failed = 0;

    sem_init(&sem, 0, 0);
    io_prepare(&io[0], n, l, BLK_WRITE, 0, 0, buf, 4096);
    io_prepare(&io[1], n, l, BLK_WRITE, BLK_FUA, 8192, buf + 4096 + 3, 4096);  /* bounced */
    io_prepare(&io[2], n, l, BLK_WRITE, 0, 16384 + 5, buf + 16384, 3000);      /* in parts */
    io_prepare(&io[3], n, l, BLK_READ, 0, 24576, buf + 24576, 4096);
    io_prepare(&io[4], n, l, BLK_READ, 0, 28672 + 7, buf + 28672, 4000);
    io_prepare(&io[5], n, l, BLK_ZERO, BLK_MAY_UNMAP, 32768, NULL, 4096);
    io_prepare(&io[6], n, l, BLK_DISCARD, 0, 36864, NULL, 4096);
    io_prepare(&io[7], n, l, BLK_FLUSH, 0, 0, NULL, 0);
    for (unsigned i = 0; i < STEPS; i++) {
        io[i].sem = &sem;
    }
    loop_call(l, submit_batch, io);
    for (unsigned i = 0; i < STEPS; i++) {
        while (sem_wait(&sem) < 0) {
        }
    }
    loop_call_wait(l, io_nothing, NULL);
    for (unsigned i = 0; i < STEPS; i++) {
        assert_int_equal(io[i].calls, 1);
        failed += io[i].ret < 0;
    }
    sem_destroy(&sem);
    return failed;
}

/* A node's whole life; returns how many of its steps failed. */
static unsigned scenario(const Mode *m, const char *path, uint8_t *buf)
{
    BlkOptions file = { .driver = "file", .filename = path, .aio = m->aio,
                        .cache_direct = m->direct, .discard_unmap = true };
    BlkOptions o = { .driver = "raw", .child = &file };
    Error *err = NULL;
    BlkNode *n = blk_open(&o, &err);
    BlkUser u = { 0 };
    unsigned failed = 0;

    if (!n) {
        assert_non_null(strstr(error_text(err), m->aio == BLK_AIO_THREADS ? path : ""));
        error_free(err);
        return 1;
    }
    Loop *l = worker_new("w0");
    if (!blk_attach(n, &u, "device 'vd0'", BLK_PERM_READ | BLK_PERM_WRITE,
                    BLK_PERM_READ | BLK_PERM_RESIZE, &err)) {
        assert_non_null(strstr(error_text(err), path));
        error_free(err);
        err = NULL;
        failed++;
    }
    failed += run_batch(n, l, buf);
    if (!blk_truncate(n, SIZE, &err)) {
        error_free(err);
        failed++;
    }
    blk_detach(&u);
    close_ok(n);
    worker_free(l);
    return failed;
}

static void walk(const Mode *m, const char *path, const char *point, uint8_t *buf, unsigned *hits)
{
    for (unsigned nth = 1;; nth++) {
        fault_arm(point, nth);
        unsigned failed = scenario(m, path, buf);
        if (!fault_disarm()) {
            assert_int_equal(failed, 0);
            break;
        }
        ++*hits;
        assert_true(nth < 100);
        /* One failure fails at most what it hit and what is built upon it. */
        assert_true(failed <= 2);
        assert_null(blk_next(NULL));
    }
}

static void test_walk(void **state)
{
    unsigned hits[ARRAY_LEN(points)] = { 0 };
    uint8_t *buf = aligned(SIZE);
    bool all = true;

    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        g_autofree char *path = temp_file(SIZE, true);
        BlkOptions o = { .driver = "file", .filename = path, .aio = modes[i].aio,
                         .cache_direct = modes[i].direct };
        BlkNode *n = blk_open(&o, NULL);

        if (!n) {
            print_message("left out: aio %d, direct %d\n", modes[i].aio, modes[i].direct);
            all = false;
        } else {
            all = all && !n->in_memory;        /* where the engines are not asked, nor alignment */
            close_ok(n);
        }
        for (unsigned p = 0; n && p < ARRAY_LEN(points); p++) {
            walk(&modes[i], path, points[p], buf, &hits[p]);
        }
        g_unlink(path);
    }
    for (unsigned p = 0; all && p < ARRAY_LEN(points); p++) {
        if (!hits[p] && strcmp(points[p], "pool-thread")) {
            fail_msg("the fault point %s was never reached", points[p]);
        }
    }
    free(buf);
}

/* Writes and reads it all, aligned and not, and looks at the file. */
static void move_all(const Mode *m, const char *path, Loop *l, uint8_t *buf, uint8_t *want, unsigned seed)
{
    BlkOptions o = { .driver = "file", .filename = path, .aio = m->aio, .cache_direct = m->direct };
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    static const struct { uint32_t off, len; } parts[] = {
        { 0, 16384 }, { 16384 + 5, 9000 }, { 32768, 32768 },
    };
    BlkNode *n = open_ok(&o);

    file_get(path, 0, want, SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        for (unsigned k = 0; k < parts[i].len; k++) {
            buf[k] = want[parts[i].off + k] = (uint8_t)g_rand_int(rand);
        }
        assert_int_equal(io_run(n, l, BLK_WRITE, 0, parts[i].off, buf, parts[i].len), 0);
        memset(buf, 0, parts[i].len);
        assert_int_equal(io_run(n, l, BLK_READ, 0, parts[i].off, buf, parts[i].len), 0);
        assert_memory_equal(buf, want + parts[i].off, parts[i].len);
    }
    close_ok(n);
    file_get(path, 0, buf, SIZE);
    assert_memory_equal(buf, want, SIZE);
}

/* The host moves a part of what it was asked to, each time it is asked: the rest follows. */
static void test_short(void **state)
{
    static const char *const shorts[] = { "file-short", "engine-short" };
    uint8_t *buf = aligned(SIZE), *want = aligned(SIZE);
    unsigned hits[ARRAY_LEN(shorts)] = { 0 };
    Loop *l = worker_new("w0");
    bool engines = false;

    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        g_autofree char *path = temp_file(SIZE, true);
        BlkOptions o = { .driver = "file", .filename = path, .aio = modes[i].aio,
                         .cache_direct = modes[i].direct };
        BlkNode *n = blk_open(&o, NULL);
        bool works = n != NULL;

        if (n) {
            engines |= modes[i].aio != BLK_AIO_THREADS && !n->in_memory;
            close_ok(n);
        }
        for (unsigned s = 0; works && s < ARRAY_LEN(shorts); s++) {
            for (unsigned nth = 1, hit = 1; hit; nth++) {
                fault_arm_run(shorts[s], nth, 1 + nth % 3);
                move_all(&modes[i], path, l, buf, want, nth);
                hit = fault_disarm();
                hits[s] += hit;
            }
        }
        g_unlink(path);
    }
    assert_true(hits[0]);
    assert_true(hits[1] || !engines);
    worker_free(l);
    free(buf);
    free(want);
}

/* After a failed flush through the page cache nothing tells what was lost: flushes fail for
 * good. */
static void test_flush_stays_failed(void **state)
{
    g_autofree char *path = temp_file(4096, false);
    BlkOptions o = { .driver = "file", .filename = path };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);

    fault_arm("file-flush", 1);
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    assert_true(fault_disarm());
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), -EIO);
    assert_int_equal(blk_pflush(n), -EIO);
    close_ok(n);
    worker_free(l);
    g_unlink(path);
}

/* --- the pool --- */

typedef struct CountJob {
    PoolJob job;
    sem_t *sem, *gate;
} CountJob;

static void count_run(PoolJob *j)
{
    CountJob *c = (CountJob *)j;

    while (c->gate && sem_wait(c->gate) < 0) {
    }
}

static void count_ran(Post *p)
{
    sem_post(((CountJob *)((char *)p - offsetof(PoolJob, post)))->sem);
}

static void test_pool_bounds(void **state)
{
    enum { JOBS = 3 * POOL_MAX };
    g_autofree CountJob *jobs = g_new0(CountJob, JOBS);
    Loop *l = worker_new("w0");
    sem_t done, gate;

    sem_init(&done, 0, 0);
    sem_init(&gate, 0, 0);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (CountJob){ .job = { .run = count_run, .loop = l, .post.run = count_ran },
                              .sem = &done, .gate = &gate };
        jobs[i].job.next = i % 3 < 2 ? &jobs[i + 1].job : NULL;
    }
    for (unsigned i = 0; i < JOBS; i += 3) {
        pool_add(&jobs[i].job, 3);
    }
    assert_int_equal(pool_threads(), POOL_MAX);
    for (unsigned i = 0; i < JOBS; i++) {
        sem_post(&gate);
    }
    for (unsigned i = 0; i < JOBS; i++) {
        while (sem_wait(&done) < 0) {
        }
    }
    worker_free(l);
    sem_destroy(&done);
    sem_destroy(&gate);
}

int main(int argc, char **argv)
{
    thread_become_control();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_flush_stays_failed),
        cmocka_unit_test(test_pool_bounds),
    };
    int failed = cmocka_run_group_tests_name("block-fault", tests, NULL, NULL);

    epoch_flush();
    return failed;
}
