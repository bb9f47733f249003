/* block-job-test.c: jobs while loops write without a pause; what they leave is compared byte by byte, and by
 * the common tools. */
#include "tests/unit/block-load.h"
#include <glib.h>
#include "block/job.h"

static struct {
    unsigned ready, over;
    bool cancelled, failed;
    GString *states;
} told;

static void on_state(const Job *j, JobState s)
{
    g_string_append_printf(told.states, "%u ", s);
}

static void on_ready(const Job *j)
{
    told.ready++;
}

static void on_pending(const Job *j)
{
}

static void on_over(const Job *j)
{
    JobFacts f = job_facts(j);

    told.over++;
    told.cancelled = f.cancelled;
    told.failed = f.error != NULL;
}

static void on_error(const Job *j, bool read, BlkErrorAction action)
{
}

static const JobListener listener = { on_state, on_ready, on_pending, on_over, on_error };

/* Three layers over one another under the load, with something in each. */
typedef struct Chain {
    char *paths[4];
    BlkNode *n[4];             /* the last is a target on its own */
    uint8_t *model;
    Load load;
} Chain;

static void chain_begin(Chain *c, unsigned seed)
{
    static const char *const names[] = { "base", "mid", "top", "target" };

    *c = (Chain){ .model = g_malloc0(LOAD_SIZE) };
    told.ready = told.over = 0;
    told.cancelled = told.failed = false;
    told.states = g_string_new(NULL);
    job_set_listener(&listener);
    for (unsigned i = 0; i < 4; i++) {
        c->paths[i] = image_new(LOAD_SIZE);
        c->n[i] = image_open(c->paths[i], names[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        g_autofree uint8_t *part = g_malloc(MiB);

        memset(part, (int)(0x11 * (i + 1)), MiB);
        memcpy(c->model + i * MiB, part, MiB);
        assert_int_equal(blk_pwrite(c->n[i], i * MiB, part, MiB), 0);
    }
    for (unsigned i = 1; i < 3; i++) {
        assert_true(blk_set_backing(c->n[i], c->n[i - 1], NULL));
    }
    load_start(&c->load, c->n[2], c->model, seed);
    load_more(&c->load, 20);
}

static void until(const unsigned *what)
{
    while (!*what) {
        loop_control_iterate(true);
    }
}

/* Waits for the end of all jobs. */
static void until_over(void)
{
    while (job_next(NULL)) {
        loop_control_iterate(true);
    }
}

static void chain_end(Chain *c)
{
    load_stop(&c->load);
    load_verify(&c->load);
    blk_detach(&c->load.user);
    for (unsigned left = 4; left;) {
        for (unsigned i = 0; i < 4; i++) {
            if (c->n[i] && blk_close(c->n[i], NULL)) {
                c->n[i] = NULL;
                left--;
            }
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_true(tool("qemu-img check -q %s", c->paths[i]));
    }
    for (unsigned i = 0; i < 4; i++) {
        g_unlink(c->paths[i]);
        g_free(c->paths[i]);
    }
    g_string_free(told.states, true);
    g_free(c->model);
}

/* The mirror has caught up with the load, which rests until then: it might write as fast for ever. */
static void until_ready(Chain *c)
{
    load_stop(&c->load);
    while (!told.ready) {
        loop_control_iterate(true);
    }
    load_resume(&c->load, 100);
}

static const JobOptions job0 = { .id = "job0" };

static void test_stream(void **state)
{
    Chain c;

    chain_begin(&c, 1);
    assert_true(job_stream(c.n[2], NULL, NULL, &job0, NULL));
    load_more(&c.load, 50);
    until_over();
    assert_string_equal(told.states->str, "1 2 6 7 9 10 ");
    assert_null(blk_child(c.n[2], 1));
    assert_ptr_equal(c.load.user.node, c.n[2]);
    load_more(&c.load, 50);
    chain_end(&c);
}

static void test_stream_to(void **state)
{
    Chain c;

    chain_begin(&c, 2);
    assert_true(job_stream(c.n[2], c.n[0], c.paths[0], &job0, NULL));
    until_over();
    assert_ptr_equal(blk_child(c.n[2], 1), c.n[0]);
    assert_string_equal(blk_backing_file(c.n[2]), c.paths[0]);
    load_more(&c.load, 50);
    chain_end(&c);
}

static void test_commit(void **state)
{
    Chain c;

    chain_begin(&c, 3);
    assert_true(job_commit(c.n[1], c.n[0], NULL, &job0, NULL));
    until_over();
    assert_string_equal(told.states->str, "1 2 6 7 9 10 ");
    assert_ptr_equal(blk_child(c.n[2], 1), c.n[0]);
    load_more(&c.load, 50);
    chain_end(&c);
}

/* What is committed reads as before, whichever layer is shorter than the one below it. */
static void commit_short(unsigned top)
{
    static const char *const names[] = { "base", "short", "mid", "over" };
    static const uint64_t sizes[] = { 4 * MiB, MiB, 3 * MiB, 4 * MiB };
    g_autofree uint8_t *buf = g_malloc(4 * MiB), *want = g_malloc0(4 * MiB);
    char *paths[4];
    BlkNode *n[4];

    told.states = g_string_new(NULL);
    job_set_listener(&listener);
    for (unsigned i = 0; i < 4; i++) {
        paths[i] = image_new(sizes[i]);
        n[i] = image_open(paths[i], names[i]);
        assert_true(i == 0 || blk_set_backing(n[i], n[i - 1], NULL));
    }
    memset(buf, 0x11, 4 * MiB);
    memset(want, 0x11, MiB);
    assert_int_equal(blk_pwrite(n[0], 0, buf, 4 * MiB), 0);
    assert_true(job_commit(n[top], n[0], NULL, &job0, NULL));
    until_over();
    assert_ptr_equal(blk_child(n[top + 1], 1), n[0]);
    assert_int_equal(blk_pread(n[3], 0, buf, 4 * MiB), 0);
    assert_memory_equal(buf, want, 4 * MiB);
    assert_int_equal(blk_pread(n[0], 3 * MiB, buf, MiB), 0);
    assert_int_equal(buf[0], top == 1 ? 0x11 : 0);     /* what nobody above sees stays */
    for (unsigned i = 4; i-- > 0;) {
        assert_true(blk_close(n[i], NULL));
        g_unlink(paths[i]);
        g_free(paths[i]);
    }
    g_string_free(told.states, true);
}

static void test_commit_short(void **state)
{
    commit_short(1);
    commit_short(2);
}

static void test_commit_active(void **state)
{
    Chain c;

    chain_begin(&c, 4);
    assert_true(job_commit(c.n[2], c.n[0], NULL, &job0, NULL));
    until_ready(&c);
    load_more(&c.load, 50);
    assert_true(job_complete(job_find("job0"), NULL));
    until_over();
    assert_string_equal(told.states->str, "1 2 4 6 7 9 10 ");
    assert_ptr_equal(c.load.user.node, c.n[0]);
    load_more(&c.load, 50);
    chain_end(&c);
}

static void test_mirror(void **state)
{
    Chain c;

    chain_begin(&c, 5);
    assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &job0, NULL));
    until_ready(&c);
    Error *err = NULL;
    assert_false(job_node_free(c.load.user.node, &err));       /* the job's filter stands for the disk */
    assert_error(err, "Node 'top' is busy: block device is in use by block job: mirror");
    load_more(&c.load, 100);
    assert_true(job_complete(job_find("job0"), NULL));
    until_over();
    assert_ptr_equal(c.load.user.node, c.n[3]);
    load_more(&c.load, 50);
    chain_end(&c);
}

static void test_mirror_cancelled(void **state)
{
    Chain c;

    for (unsigned force = 0; force < 2; force++) {
        chain_begin(&c, 6);
        assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &job0, NULL));
        until_ready(&c);
        assert_true(job_cancel(job_find("job0"), force, NULL));
        until_over();
        assert_string_equal(told.states->str, force ? "1 2 4 8 9 10 " : "1 2 4 6 7 9 10 ");
        assert_int_equal(told.cancelled, force);
        assert_ptr_equal(c.load.user.node, c.n[2]);
        chain_end(&c);
    }
}

/* The target holds what was there when the job began. */
static void test_backup(void **state)
{
    g_autofree uint8_t *was = g_malloc(LOAD_SIZE), *got = g_malloc(LOAD_SIZE);
    Chain c;

    chain_begin(&c, 7);
    load_stop(&c.load);
    memcpy(was, c.model, LOAD_SIZE);
    blk_detach(&c.load.user);
    JobOptions slow = { .id = "job0", .speed = 1 };            /* it cannot end before the load is there */
    assert_true(job_backup(c.n[2], c.n[3], JOB_SYNC_FULL, &slow, NULL));
    BlkNode *filter = NULL;
    while (!filter) {
        loop_control_iterate(true);
        for (BlkNode *n = blk_next(NULL); n; n = blk_next(n)) {
            filter = !strcmp(blk_driver_name(n), "copy-before-write") ? n : filter;
        }
    }
    while (!job_facts(job_find("job0")).total) {       /* it has begun: the moment is over */
        loop_control_iterate(false);
    }
    load_start(&c.load, filter, c.model, 8);
    load_more(&c.load, 20);
    assert_true(job_set_speed(job_find("job0"), 0, NULL));
    until_over();
    assert_false(told.failed);
    assert_ptr_equal(c.load.user.node, c.n[2]);
    assert_int_equal(blk_pread(c.n[3], 0, got, LOAD_SIZE), 0);
    assert_memory_equal(got, was, LOAD_SIZE);
    chain_end(&c);
}

static void test_life(void **state)
{
    Chain c;
    Error *err = NULL;
    JobOptions keep = { .id = "job0", .speed = 1, .keep_pending = true, .keep_concluded = true };

    chain_begin(&c, 9);
    assert_false(job_mirror(c.n[2], c.n[2], JOB_SYNC_FULL, &job0, &err));
    assert_error(err, "Can't mirror node into itself");
    assert_false(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &(JobOptions){ 0 }, &err));
    assert_error(err, "Invalid job ID ''");
    assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &keep, NULL));
    Job *j = job_find("job0");
    assert_false(job_stream(c.n[2], NULL, NULL, &job0, &err));
    assert_error(err, "Node 'top' is busy: block device is in use by block job: mirror");
    assert_false(job_commit(c.n[1], c.n[0], NULL, &(JobOptions){ .id = "job1" }, &err));
    assert_error(err, "Node 'top' is busy: block device is in use by block job: mirror");
    assert_false(job_backup(c.n[1], c.n[3], JOB_SYNC_FULL, &job0, &err));
    assert_error(err, "Job ID 'job0' already in use");
    assert_false(job_complete(j, &err));
    assert_error(err, "Job 'job0' in state 'running' cannot accept command verb 'complete'");
    assert_true(job_pause(j, NULL));
    assert_false(job_pause(j, &err));
    assert_error(err, "Job is already paused");
    while (job_facts(j).state != JOB_PAUSED) {
        loop_control_iterate(true);
    }
    assert_true(job_set_speed(j, 0, NULL));
    assert_true(job_resume(j, NULL));
    until_ready(&c);
    assert_true(job_complete(j, NULL));
    while (job_facts(j).state != JOB_PENDING) {
        loop_control_iterate(true);
    }
    assert_ptr_not_equal(c.load.user.node, c.n[3]);
    assert_true(job_finalize(j, NULL));
    while (job_facts(j).state != JOB_CONCLUDED) {
        loop_control_iterate(true);
    }
    assert_ptr_equal(c.load.user.node, c.n[3]);
    assert_true(job_dismiss(j, NULL));
    assert_null(job_find("job0"));
    chain_end(&c);
}

/* The last step waits for the guest's requests: nobody can ask for it twice, or call it off, meanwhile. */
static void test_finalize_once(void **state)
{
    JobOptions o = { .id = "job0", .keep_pending = true };
    Error *err = NULL;
    Chain c;

    chain_begin(&c, 31);
    assert_true(job_backup(c.n[2], c.n[3], JOB_SYNC_FULL, &o, NULL));
    while (job_facts(job_find("job0")).state != JOB_PENDING) {
        loop_control_iterate(true);
    }
    assert_true(job_finalize(job_find("job0"), NULL));
    while (job_find("job0") && job_facts(job_find("job0")).state == JOB_PENDING) {
        assert_false(job_finalize(job_find("job0"), &err));
        assert_error(err, "Job 'job0' in state 'pending' cannot accept command verb 'finalize'");
        assert_false(job_cancel(job_find("job0"), true, &err));
        assert_error(err, "Job 'job0' in state 'pending' cannot accept command verb 'cancel'");
        loop_control_iterate(true);
    }
    until_over();
    assert_false(told.failed);
    load_more(&c.load, 20);
    chain_end(&c);
}

/* Somebody else uses the disk, and cannot be put above the job's filter. */
static void test_not_above(void **state)
{
    BlkUser other = { 0 };
    Error *err = NULL;
    Chain c;

    chain_begin(&c, 32);
    assert_true(blk_attach(c.n[2], &other, "somebody", BLK_PERM_READ, BLK_PERM_ALL, &err));
    assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &job0, NULL));
    until_over();
    assert_true(told.failed);
    assert_ptr_equal(c.load.user.node, c.n[2]);
    blk_detach(&other);
    chain_end(&c);
}

/* The n-th write to the host fails: the guest's own succeed or fail, the job ends, the graph is as it was. */
static void test_faults(void **state)
{
    for (unsigned n = 1; n < 6; n++) {
        Chain c;

        chain_begin(&c, 10 + n);
        load_stop(&c.load);
        blk_detach(&c.load.user);
        fault_arm("job-buffer", n);
        assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &job0, NULL));
        while (job_find("job0") && !told.ready) {
            loop_control_iterate(true);
        }
        bool hit = fault_disarm();
        assert_int_equal(hit, told.over == 1 && told.failed);
        if (job_find("job0")) {
            assert_true(job_cancel(job_find("job0"), true, NULL));
            until_over();
        }
        load_start(&c.load, c.n[2], c.model, n);
        chain_end(&c);
    }
}

/* Both sides get what is written, from the start. */
static void test_mirror_both(void **state)
{
    JobOptions o = { .id = "job0", .write_blocking = true, .granularity = 4096 };
    Chain c;

    chain_begin(&c, 30);
    assert_true(job_mirror(c.n[2], c.n[3], JOB_SYNC_FULL, &o, NULL));
    until(&told.ready);
    load_more(&c.load, 100);
    assert_true(job_complete(job_find("job0"), NULL));
    until_over();
    assert_false(told.failed);
    assert_ptr_equal(c.load.user.node, c.n[3]);
    load_more(&c.load, 50);
    chain_end(&c);
}

/* The n-th of a kind of host call fails under each kind of job: it ends, and what the guest has is whole. */
static void test_faults_of_kinds(void **state)
{
    static const char *const calls[] = { "job-buffer", "job-thread", "file-full" };

    for (unsigned i = 0; i < cases_to_run(ARRAY_LEN(calls) * 4); i++) {
        unsigned kind = i % 4;
        Chain c;

        chain_begin(&c, 40 + i);
        load_stop(&c.load);
        blk_detach(&c.load.user);
        fault_arm(calls[i / 4], 1 + kind % 2);
        bool ok = kind == 0   ? job_stream(c.n[2], NULL, NULL, &job0, NULL)
                  : kind == 1 ? job_commit(c.n[1], c.n[0], NULL, &job0, NULL)
                  : kind == 2 ? job_commit(c.n[2], c.n[0], NULL, &job0, NULL)
                              : job_backup(c.n[2], c.n[3], JOB_SYNC_FULL, &job0, NULL);
        while (ok && job_find("job0") && !told.ready) {
            loop_control_iterate(true);
        }
        fault_disarm();
        if (job_find("job0")) {
            assert_true(job_cancel(job_find("job0"), true, NULL));
            until_over();
        }
        load_start(&c.load, c.n[2], c.model, i);
        chain_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream), cmocka_unit_test(test_stream_to), cmocka_unit_test(test_commit),
        cmocka_unit_test(test_commit_active), cmocka_unit_test(test_commit_short),
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_mirror_cancelled), cmocka_unit_test(test_backup), cmocka_unit_test(test_life),
        cmocka_unit_test(test_finalize_once), cmocka_unit_test(test_not_above),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_mirror_both),
        cmocka_unit_test(test_faults_of_kinds),
    };

    thread_become_control();
    if (!have_tools()) {
        print_message("no qemu-img: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
