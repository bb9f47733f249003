/* job-fault-test.c: every request a job makes to a disk fails once, under each policy, while the guest
 * writes.
 *
 * The job ends or pauses as its policy says and people hear of it; when it goes on after a pause it
 * finishes with the right data; whatever happened, the guest's disk holds what it wrote, the images are
 * sound, the bitmap of an incremental backup knows what is not in the backup, and nothing of the job is left.
 *
 * FAULTS=N: every N-th request of each case (default 13; 1: all of them). */
#include "tests/unit/job-guest.h"

#include <stdlib.h>

#define LAST 12                /* the guest's last step */

typedef struct Fault {
    unsigned files, op;
    int error;
    BlkOnError policy;
} Fault;

static const char *const policies[] = { "report", "ignore", "enospc", "stop" };
static const char *const ops[BLK_OPS] = { "read", "write", "zeroing", "discard", "flush" };

static unsigned fault_step(void)
{
    const char *every = g_getenv("FAULTS");

    return every ? (unsigned)MAX(atoi(every), 1) : 13;
}

static bool stops(const Fault *f)
{
    return f->policy == BLK_ON_ERROR_STOP || (f->policy == BLK_ON_ERROR_ENOSPC && f->error == -ENOSPC);
}

/* What the bitmap does not have is in the backup, or was never changed. */
static void check_bitmap(const char *where)
{
    const BlkBitmap *b = blk_bitmap_find(t.n[TOP], "b0");
    unsigned since = t.failed ? 0 : t.moment;

    assert_non_null(b);
    assert_false(blk_bitmap_info(b).busy);
    for (unsigned s = 0; s < SECTORS; s++) {
        uint64_t off = s * UINT64_C(512);
        bool dirty = blk_bitmap_dirty(b, &off, 512) && off < (s + 1) * UINT64_C(512);

        if (!dirty && t.written[s][t.g.step] != t.written[s][since]) {
            fail_msg("%s: sector %u changed, and the bitmap does not know", where, s);
        }
    }
}

static void check_backup(const char *where)
{
    g_autofree uint8_t *got = g_malloc(SIZE);

    assert_int_equal(blk_pread(t.n[TARGET], 0, got, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        if (ld64(got + s * 512) != t.written[s][t.moment]) {
            fail_msg("%s: sector %u of the backup holds %#" PRIx64 ", not %#" PRIx64, where, s,
                     ld64(got + s * 512), t.written[s][t.moment]);
        }
    }
}

/* The job has stopped by its policy: it tells so, and goes on. */
static void go_on(const Fault *f, const char *where)
{
    Job *j = job_find("job0");
    Error *err = NULL;

    if (!stops(f) || !t.errors[BLK_ERROR_STOP]) {
        fail_msg("%s: the job has paused", where);
    }
    assert_int_equal(job_facts(j).io_status, f->error == -ENOSPC ? BLK_IO_NOSPACE : BLK_IO_FAILED);
    if (!job_resume(j, &err)) {
        fail_msg("%s: %s", where, error_text(err));
    }
    assert_int_equal(job_facts(j).io_status, BLK_IO_OK);
}

/* A job that nobody heard an error of is complete; one whose policy was not to end did not. */
static void check_end(Kind k, const Fault *f, const char *where)
{
    bool heard = t.errors[BLK_ERROR_REPORT];

    if (t.failed && (stops(f) || f->policy == BLK_ON_ERROR_IGNORE) && heard) {
        fail_msg("%s: it ended with '%s' against its policy", where, t.error);
    }
    if (!t.failed && heard) {
        fail_msg("%s: an error was reported, and the job did well", where);
    }
    if (kind_is_backup(k) && !t.failed) {
        check_backup(where);
    }
    if (k == BACKUP_INCREMENTAL) {
        check_bitmap(where);
    }
}

static void check_images(const char *where)
{
    for (unsigned i = BASE; i <= TARGET; i++) {
        BlkNode *n = mem_image(i, NULL, NULL, true);

        mem_check(n, where);
        close_ok(n);
    }
}

/* Fails request number @at; false: there were not so many. */
static bool run_one(Kind k, const Fault *f, unsigned at)
{
    g_autofree char *where = g_strdup_printf("%s, on-error=%s, %s %u: %s", kind_names[k], policies[f->policy],
                                             ops[f->op], at, strerror(-f->error));
    JobOptions o = { .speed = 1, .max_chunk = 128 * KiB, .workers = 2, .on_read_error = f->policy,
                     .on_write_error = f->policy };
    GRand *rand = g_rand_new_with_seed(at * 7 + k);

    images_make(&(BlkCreate){ .cluster_size = 16 * KiB }, rand, target_over(k));
    if (k == BACKUP_INCREMENTAL) {
        assert_non_null(blk_bitmap_add(t.n[TOP], "b0", 0, true, NULL));
    }
    target_open(k);
    guest_start(t.n[TOP], rand);
    job_and_guest(k == MIRROR_NONE ? 0 : 4);
    job_begin_ok(k, &o);
    mem_fail(f->files, 1u << f->op, at, 1, f->error);
    job_and_guest(LAST);
    for (job_to_the_end(); job_find("job0"); job_to_the_end()) {
        go_on(f, where);
    }
    bool hit = mem_fail_end();
    check_end(k, f, where);
    guest_step();
    guest_verify(where);
    guest_must(BLK_FLUSH, 0, 0, NULL, 0);
    blk_detach(&t.g.user);
    images_close();
    check_images(where);
    guest_end();
    g_rand_free(rand);
    return hit;
}

static void walk(Kind k, const Fault *f)
{
    unsigned step = fault_step(), at = step > 1 ? 1 + (k + f->op + f->policy) % step : 1;

    while (run_one(k, f, at)) {
        at += step;
    }
}

/* Where requests of the guest's own fail too, it makes them again. */
static void test_walk(void **state)
{
    static const struct { unsigned op; int error; } errors[] = {
        { BLK_READ, -EIO }, { BLK_WRITE, -ENOSPC }, { BLK_WRITE, -EIO }, { BLK_FLUSH, -EIO },
        { BLK_ZERO, -EIO },
    };

    for (unsigned k = 0; k < cases_to_run(KINDS); k++) {
        for (unsigned i = 0; i < ARRAY_LEN(errors); i++) {
            for (unsigned p = BLK_ON_ERROR_REPORT; p <= BLK_ON_ERROR_STOP; p++) {
                Fault f = { 1u << BASE | 1u << MID | 1u << TOP | 1u << TARGET, errors[i].op, errors[i].error,
                            (BlkOnError)p };

                walk((Kind)k, &f);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
    };

    thread_become_control();
    loop_control();            /* made here: only control may */
    mem_begin();
    int failed = cmocka_run_group_tests_name("job-fault", tests, NULL, NULL);
    mem_end();
    return failed;
}
