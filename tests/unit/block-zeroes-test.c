/* block-zeroes-test.c: writes of zeroes that take no space, and times that are counted. */
#include <sys/stat.h>
#include "tests/unit/block-helper.h"
#include "block/front.h"

#define SIZE (1 * MiB)

static Loop *worker;

static uint64_t space(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

/* What @detect makes of a write of zeroes in the middle of data. */
static uint64_t left_by(BlkDetect detect, bool unmap, bool blocking)
{
    g_autofree char *path = temp_file(SIZE, true);
    BlkOptions file = { .driver = "file", .filename = path };
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "raw", .child = &file, .detect_zeroes = detect,
                                        .discard_unmap = unmap });
    uint8_t *buf = aligned(256 * KiB), got[512];

    if (blocking) {
        assert_int_equal(blk_pwrite(n, 256 * KiB, buf, 256 * KiB), 0);
    } else {
        assert_int_equal(io_run(n, worker, BLK_WRITE, 0, 256 * KiB, buf, 256 * KiB), 0);
    }
    buf[70000] = 1;            /* not all zeroes: a write */
    assert_int_equal(io_run(n, worker, BLK_WRITE, 0, 512 * KiB, buf, 256 * KiB), 0);
    file_get(path, 512 * KiB + 70000, got, 1);
    assert_int_equal(got[0], 1);
    file_get(path, 256 * KiB, got, 512);
    assert_memory_equal(got, buf, 512);
    file_get(path, 256 * KiB - 512, got, 512);
    assert_memory_not_equal(got, buf, 512);
    BlkStats s;
    blk_stats(n, &s);
    assert_int_equal(s.ops[BLK_WRITE] + s.ops[BLK_ZERO], blocking ? 1 : 2);
    close_ok(n);
    uint64_t left = space(path);
    g_unlink(path);
    free(buf);
    return left;
}

static void test_detect(void **state)
{
    uint64_t all = left_by(BLK_DETECT_OFF, true, false);

    assert_true(all >= SIZE);
    assert_true(left_by(BLK_DETECT_ON, true, false) >= SIZE);
    assert_true(left_by(BLK_DETECT_UNMAP, false, false) >= SIZE);
    uint64_t less = left_by(BLK_DETECT_UNMAP, true, false);
    if (less == all) {
        skip();                /* this file system gives nothing back */
    }
    assert_int_equal(less, all - 256 * KiB);
    assert_int_equal(left_by(BLK_DETECT_UNMAP, true, true), less);
}

static void submit_user(void *arg)
{
    Io *io = arg;

    blk_user_submit(io->req.user, &io->req);
}

static void test_histogram(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .latency_ns = 3 * NS_PER_MS });
    BlkFront front = { 0 };
    BlkUser user = { .front = &front };
    const uint64_t falling[] = { 5, 5 }, zero[] = { 0, 5 }, bounds[] = { 1000, NS_PER_MS, 3600 * NS_PER_SEC };
    uint8_t buf[512];
    Io io;

    assert_true(blk_attach(n, &user, "device 'x'", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    blk_front_open(&front, n, "x", g_strdup("x"));
    assert_false(blk_front_histogram(&front, BLK_TIMED_READ, falling, 2));
    assert_false(blk_front_histogram(&front, BLK_TIMED_READ, zero, 2));
    assert_null(front.histograms[BLK_TIMED_READ]);
    for (unsigned round = 0; round < 2; round++) {
        assert_true(blk_front_histogram(&front, BLK_TIMED_READ, bounds, 3));
        sem_t sem;
        sem_init(&sem, 0, 0);
        io_prepare(&io, n, worker, BLK_READ, 0, 0, buf, 512);
        io.sem = &sem;
        io.req.user = &user;
        loop_call(worker, submit_user, &io);
        while (sem_wait(&sem) < 0) {
        }
        loop_call_wait(worker, io_nothing, NULL);
        const uint64_t want[] = { 0, 0, 1, 0 };
        assert_memory_equal(front.histograms[BLK_TIMED_READ]->bins, want, sizeof(want));
        assert_null(front.histograms[BLK_TIMED_WRITE]);
    }
    assert_true(blk_front_histogram(&front, BLK_TIMED_READ, NULL, 0));
    assert_null(front.histograms[BLK_TIMED_READ]);
    blk_front_account(&front, BLK_READ, 1, 1, false);
    assert_true(blk_front_histogram(&front, BLK_TIMED_FLUSH, bounds, 0));
    blk_front_account(&front, BLK_FLUSH, 1, 1, false);
    blk_front_account(&front, BLK_DISCARD, 1, 1, false);
    assert_int_equal(front.histograms[BLK_TIMED_FLUSH]->bins[0], 1);
    const int64_t times[] = { -1, 0, 999, 1000, NS_PER_MS - 1, NS_PER_MS, 3600 * NS_PER_SEC };
    assert_true(blk_front_histogram(&front, BLK_TIMED_WRITE, bounds, 3));
    for (unsigned i = 0; i < ARRAY_LEN(times); i++) {
        blk_front_account(&front, i % 2 ? BLK_ZERO : BLK_WRITE, times[i], 1, false);
    }
    const uint64_t want[] = { 3, 2, 1, 1 };
    assert_memory_equal(front.histograms[BLK_TIMED_WRITE]->bins, want, sizeof(want));
    blk_detach(&user);
    blk_front_close(&front);
    close_ok(n);
}

/* What counts of a request that failed, and of one that made no sense. */
static void test_account(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .drive_id = "d", .size = MiB,
                                        .words = { .account_failed = BLK_ACCOUNT_OFF } });
    BlkFront f = { 0 };

    blk_front_open(&f, n, "x", g_strdup("x"));
    assert_int_equal(f.account_failed, BLK_ACCOUNT_OFF);         /* as the -drive says */
    assert_int_equal(f.account_invalid, BLK_ACCOUNT_ON);
    assert_true(blk_front_idle(&f, 7) < 0);
    assert_false(blk_front_account(&f, BLK_READ, 5, 100, true));
    assert_true(blk_front_idle(&f, 107) < 0);
    assert_true(blk_front_account(&f, BLK_READ, 5, 200, false));
    assert_int_equal(blk_front_idle(&f, 207), 7);
    assert_int_equal(blk_front_idle(&f, 199), 0);                /* another loop's time */
    int64_t before = clock_now(CLOCK_HOST);
    blk_front_invalid(&f, BLK_WRITE);
    assert_in_range(f.last, before, clock_now(CLOCK_HOST));
    assert_int_equal(f.invalid[BLK_WRITE], 1);
    blk_front_close(&f);
    /* The device's own word is stronger. */
    f = (BlkFront){ .account_failed = BLK_ACCOUNT_ON, .account_invalid = BLK_ACCOUNT_OFF };
    blk_front_open(&f, n, "x", g_strdup("x"));
    assert_true(blk_front_account(&f, BLK_READ, 5, 100, true));
    assert_int_equal(blk_front_idle(&f, 101), 1);
    blk_front_invalid(&f, BLK_FLUSH);
    assert_int_equal(f.last, 100);
    assert_int_equal(f.invalid[BLK_FLUSH], 1);
    blk_front_close(&f);
    close_ok(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_detect), cmocka_unit_test(test_histogram),
                                        cmocka_unit_test(test_account) };

    thread_become_control();
    worker = worker_new("worker");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    worker_free(worker);
    return failed;
}
