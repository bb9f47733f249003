/* block-storm-test.c: snapshots, jobs of every kind, limits and sizes, several at a time and in an order that
 * a seed chooses, under writers that never stop.
 *
 *   block-storm-test [SEED [SEEDS]]
 *
 * 1. What is refused is refused: whatever the answer, the writers' data stays.
 * 2. A backup has what the disk had when it began; a mirror that was not completed but ended well, too, as of
 *    its end. */
#include "tests/unit/block-load.h"
#include <glib.h>
#include "block/job.h"
#include "block/throttle.h"

#define STEPS 40
#define IMAGES_MAX 48
#define LAYERS_MAX 6

typedef struct Storm {
    GRand *rand;
    char *paths[IMAGES_MAX];   /* every image there was */
    unsigned images, jobs;
    BlkNode *backup;           /* the target of one that runs, or ended */
    uint8_t *then;             /* what the disk had when that began */
    bool backup_failed;
    uint8_t *model;
    BlkNode *limit;            /* a throttle node, or NULL */
    Load load;
} Storm;

static Storm *storm;
static unsigned first_seed, seeds;     /* 0: those that found most */

static unsigned chance(Storm *s, unsigned n)
{
    return (unsigned)g_rand_int_range(s->rand, 0, (gint32)n);
}

/* A step and what came of it: after a failure one wants to know. */
static bool tell(bool ok, Error **err, const char *what, const BlkNode *a, const BlkNode *b)
{
    print_message("%s %s %s%s%s\n", what, a ? blk_name(a) : "-", b ? blk_name(b) : "-", ok ? "" : ": ",
                  ok ? "" : error_text(*err));
    error_free(*err);
    *err = NULL;
    return ok;
}

/* --- jobs --- */

static void on_state(const Job *j, JobState s)
{
}

static void on_over(const Job *j)
{
    JobFacts f = job_facts(j);

    print_message("over: %s\n", f.id);
    if (f.error) {
        fail_msg("job %s: %s", f.id, f.error);
    }
    if (f.kind == JOB_BACKUP && f.cancelled) {
        storm->backup_failed = true;
    }
}

static void on_ready(const Job *j)
{
}

static void on_error(const Job *j, bool read, BlkErrorAction action)
{
}

static const JobListener listener = { on_state, on_ready, on_ready, on_over, on_error };

static JobOptions options(Storm *s, char id[16])
{
    g_snprintf(id, 16, "j%u", s->jobs++);
    return (JobOptions){
        .id = id, .speed = chance(s, 4) ? 0 : (int64_t)(4 + chance(s, 32)) * MiB,
        .granularity = chance(s, 2) ? 0 : UINT64_C(4096) << chance(s, 6), .write_blocking = chance(s, 2),
    };
}

/* --- images --- */

/* The top image under the writers. */
static BlkNode *top(Storm *s)
{
    BlkNode *n = s->load.user.node;

    while (strcmp(blk_driver_name(n), "qcow2") != 0) {
        n = blk_child(n, 0);
    }
    return n;
}

/* The image @depth below @n, or the last one. */
static BlkNode *below(BlkNode *n, unsigned depth)
{
    for (BlkNode *under; depth && (under = blk_behind(n)) != NULL; depth--) {
        n = under;
    }
    return n;
}

static unsigned layers(BlkNode *n)
{
    unsigned count = 1;

    while ((n = blk_behind(n)) != NULL) {
        count++;
    }
    return count;
}

/* A new image of @size bytes, with nothing behind it. */
static BlkNode *image(Storm *s, uint64_t size)
{
    char name[16], *path = temp_file(0, false);
    BlkCreate o = { .driver = "qcow2", .filename = path, .size = size,
                    .cluster_size = UINT64_C(4096) << chance(s, 6), .lazy_refcounts = chance(s, 2) };

    o.extended_l2 = o.cluster_size >= 16384 && chance(s, 2);
    assert_true(blk_create(&o, NULL));
    g_snprintf(name, sizeof(name), "i%u", s->images);
    s->paths[s->images++] = path;
    BlkOptions file = { .driver = "file", .filename = path, .discard_unmap = true };
    return open_ok(&(BlkOptions){ .driver = "qcow2", .node_name = name, .child = &file, .backing_none = true,
                                  .discard_unmap = chance(s, 2), .detect_zeroes = (BlkDetect)chance(s, 3) });
}

/* Closes what nobody uses any more. */
static void tidy(Storm *s)
{
    for (unsigned i = 0; i < s->images; i++) {
        char name[16];

        g_snprintf(name, sizeof(name), "i%u", i);
        BlkNode *n = blk_find(name);
        if (n && n != s->backup && n != top(s)) {
            blk_close(n, NULL);
        }
    }
}

/* --- what happens --- */

static void step_snapshot(Storm *s)
{
    BlkNode *n = top(s);

    if (layers(n) > LAYERS_MAX) {
        return;
    }
    BlkNode *over = image(s, blk_size(n));
    BlkHold *h = hold(n, over);

    Error *err = NULL;
    tell(blk_snapshot(n, over, &err), &err, "snapshot", n, over);
    blk_release(h);
}

static void step_stream(Storm *s)
{
    char id[16];
    JobOptions o = options(s, id);
    BlkNode *n = below(top(s), chance(s, 2)), *base = chance(s, 2) ? NULL : below(n, 1 + chance(s, 3));

    Error *err = NULL;
    base = base == n ? NULL : base;
    tell(job_stream(n, base, NULL, &o, &err), &err, "stream", n, base);
}

static void step_commit(Storm *s)
{
    char id[16];
    JobOptions o = options(s, id);
    BlkNode *from = below(top(s), chance(s, 3)), *to = below(from, 1 + chance(s, 3));

    Error *err = NULL;
    tell(job_commit(from, to, NULL, &o, &err), &err, "commit", from, to);
}

static void step_mirror(Storm *s)
{
    char id[16];
    JobOptions o = options(s, id);
    BlkNode *n = top(s), *target = image(s, blk_size(n));
    Error *err = NULL;

    tell(job_mirror(n, target, JOB_SYNC_FULL, &o, &err), &err, "mirror", n, target);
}

/* The writers wait until it has begun. */
static void step_backup(Storm *s)
{
    char id[16];
    JobOptions o = options(s, id);

    if (s->backup) {
        return;
    }
    load_stop(&s->load);
    load_verify(&s->load);
    BlkNode *n = top(s), *target = image(s, blk_size(n));
    Error *err = NULL;
    if (tell(job_backup(n, target, JOB_SYNC_FULL, &o, &err), &err, "backup", n, target)) {
        s->backup = target;
        s->backup_failed = false;
        memcpy(s->then, s->model, LOAD_SIZE);
        for (Job *j; (j = job_find(id)) != NULL && !job_facts(j).done;) {
            loop_control_iterate(true);
        }
    }
    load_resume(&s->load, chance(s, 1000));
}

/* If the backup is over, what it has is compared. */
static void look_at_backup(Storm *s)
{
    g_autofree uint8_t *got = NULL;

    for (Job *j = NULL; s->backup && (j = job_next(j)) != NULL;) {
        if (job_facts(j).kind == JOB_BACKUP) {
            return;
        }
    }
    if (!s->backup) {
        return;
    }
    got = g_malloc(LOAD_SIZE);
    assert_int_equal(blk_pread(s->backup, 0, got, LOAD_SIZE), 0);
    if (!s->backup_failed) {
        assert_memory_equal(got, s->then, LOAD_SIZE);
    }
    s->backup = NULL;
}

static void step_job(Storm *s)
{
    Job *j = NULL;

    for (unsigned n = chance(s, 3) + 1; n && job_next(j); n--) {
        j = job_next(j);
    }
    if (!j) {
        return;
    }
    static const char *const verbs[] = { "pause", "resume", "speed", "cancel", "complete" };
    Error *err = NULL;
    bool ok = false;
    unsigned what = chance(s, 6), yes = chance(s, 2);
    print_message("%s %s: ", job_facts(j).id, verbs[MIN(what, 4)]);
    switch (what) {
    case 0: ok = job_pause(j, &err); break;
    case 1: ok = job_resume(j, &err); break;
    case 2: ok = job_set_speed(j, yes * MiB, &err); break;
    case 3: ok = job_cancel(j, yes, &err); break;
    default: ok = job_complete(j, &err); break;
    }
    tell(ok, &err, "job", NULL, NULL);
}

static void step_resize(Storm *s)
{
    BlkNode *n = top(s);
    BlkHold *h = hold(n, NULL);

    Error *err = NULL;
    tell(blk_truncate(n, LOAD_SIZE + chance(s, 8) * MiB / 2, &err), &err, "resize", n, NULL);
    blk_release(h);
}

static void step_limit(Storm *s)
{
    ThrottleRates rates = throttle_rates_none();

    rates.at[THROTTLE_BPS_TOTAL].avg = chance(s, 2) ? 0 : (int64_t)(20 + chance(s, 100)) * MiB;
    rates.at[THROTTLE_IOPS_WRITE].avg = chance(s, 2) ? 0 : 2000 + chance(s, 5000);
    assert_true(throttle_group_set("g", &rates));
    BlkNode *n = s->limit ? blk_child(s->limit, 0) : top(s);
    BlkHold *h = hold(n, s->limit);
    if (s->limit) {
        blk_remove_filter(s->limit);
        blk_release(h);
        assert_true(blk_close(s->limit, NULL));
        s->limit = NULL;
        return;
    }
    blk_release(h);
    s->limit = open_ok(&(BlkOptions){ .driver = "throttle", .node_name = "limit", .throttle_group = "g",
                                      .child_ref = blk_name(n) });
    h = hold(n, NULL);
    if (blk_insert_filter(s->limit, NULL)) {
        blk_release(h);
        return;
    }
    blk_release(h);
    assert_true(blk_close(s->limit, NULL));
    s->limit = NULL;
}

static void (*const steps[])(Storm *) = {
    step_snapshot, step_snapshot, step_stream, step_commit, step_commit, step_mirror, step_backup, step_job,
    step_job, step_job, step_resize, step_limit,
};

/* --- a storm --- */

/* A mirror may never be ready while the writers are as fast as it is: they rest until all are, or over. */
static void until_ready(Storm *s)
{
    load_stop(&s->load);
    for (Job *j = job_next(NULL); j;) {
        if (job_facts(j).ready) {
            j = job_next(j);
            continue;
        }
        job_resume(j, NULL);
        job_set_speed(j, 0, NULL);
        loop_control_iterate(true);
        j = job_next(NULL);
    }
    load_resume(&s->load, chance(s, 1000));
}

static void end(Storm *s)
{
    print_message("end\n");
    until_ready(s);
    for (Job *j; (j = job_next(NULL)) != NULL;) {
        job_resume(j, NULL);
        job_set_speed(j, 0, NULL);
        if (job_facts(j).ready) {
            job_complete(j, NULL);
        }
        loop_control_iterate(true);
    }
    load_more(&s->load, 50);
    load_stop(&s->load);
    load_verify(&s->load);
    look_at_backup(s);
    blk_detach(&s->load.user);
    if (s->limit) {
        assert_true(blk_close(s->limit, NULL));
    }
    for (unsigned i = 0, left = s->images; left; i = (i + 1) % s->images) {
        char name[16];

        g_snprintf(name, sizeof(name), "i%u", i);
        BlkNode *n = blk_find(name);
        left = !n || blk_close(n, NULL) ? left - 1 : s->images;
    }
    for (unsigned i = 0; i < s->images; i++) {
        assert_true(tool("qemu-img check -q %s", s->paths[i]));
    }
    for (unsigned i = 0; i < s->images; i++) {
        g_unlink(s->paths[i]);
        g_free(s->paths[i]);
    }
}

static void storm_of(unsigned seed)
{
    Storm s = { .rand = g_rand_new_with_seed(seed), .model = g_malloc0(LOAD_SIZE),
                .then = g_malloc(LOAD_SIZE) };

    print_message("seed %u\n", seed);
    storm = &s;
    job_set_listener(&listener);
    load_start(&s.load, image(&s, LOAD_SIZE), s.model, seed);
    for (unsigned n = 0; n < STEPS; n++) {
        steps[chance(&s, ARRAY_LEN(steps))](&s);
        load_more(&s.load, 1 + chance(&s, 240));
        look_at_backup(&s);
        tidy(&s);
    }
    end(&s);
    g_rand_free(s.rand);
    g_free(s.model);
    g_free(s.then);
}

static void test_storm(void **state)
{
    static const unsigned found_most[] = { 1, 122, 130 };

    for (unsigned i = 0; first_seed && i < seeds; i++) {
        storm_of(first_seed + i);
    }
    for (unsigned i = 0; !first_seed && i < cases_to_run(ARRAY_LEN(found_most)); i++) {
        storm_of(found_most[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_storm) };
    ThrottleRates none = throttle_rates_none();

    first_seed = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    seeds = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    thread_become_control();
    if (!have_tools()) {
        print_message("no qemu-img: skipped\n");
        return 77;
    }
    throttle_group_make("g", &none, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
