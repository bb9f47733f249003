/* job-guest.h: a disk of images in memory (mem-disk.h) with a guest that writes to it while a job works on
 * it, step by step, as a seed has it.
 *
 * 1. A sector's contents are one number in its first bytes; 0: zeroes.  written[s][i] is what sector s
 *    holds after step i; step 0 is what was there before.
 * 2. A job has a speed of next to nothing: it copies one piece each time it is told its speed anew. */
#ifndef TESTS_UNIT_JOB_GUEST_H
#define TESTS_UNIT_JOB_GUEST_H

#include "tests/unit/mem-disk.h"
#include "block/bitmap.h"
#include "block/graph.h"
#include "block/job.h"

#define SIZE MiB
#define SECTORS (SIZE / 512)
#define STEPS 48

enum { BASE, MID, TOP, TARGET, EXTRA };

/* From log entry @at on the guest's disk is file @file, */
typedef struct Move {
    unsigned at, file;
} Move;

typedef struct Guest {
    BlkUser user;
    Loop *loop;
    GRand *rand;
    uint8_t *buf;
    unsigned step;             /* the last one that ended */
    GArray *moves;             /* Move */
    unsigned log_at[STEPS + 1], flush_of[STEPS + 1];
} Guest;

static struct {
    uint64_t written[SECTORS][STEPS + 1];
    BlkNode *n[MEM_FILES];
    Guest g;
    bool over, failed, is_ready;       /* what the listener heard of the last job */
    unsigned errors[3];                /* by BlkErrorAction; atomic */
    bool read_error;
    unsigned over_at, moment;  /* log entry when the job was over; step when it began */
    char *error;
} t;

/* --- the listener --- */

static inline void on_state(const Job *j, JobState s)
{
}

static inline void on_ready(const Job *j)
{
    t.is_ready = true;
}

static inline void on_pending(const Job *j)
{
}

static inline void on_over(const Job *j)
{
    JobFacts f = job_facts(j);

    t.over = true;
    t.failed = f.error != NULL;
    g_free(t.error);
    t.error = g_strdup(f.error);
    t.over_at = mem_log_len();
}

static inline void on_error(const Job *j, bool read, BlkErrorAction action)
{
    t.read_error = read;
    __atomic_add_fetch(&t.errors[action], 1, __ATOMIC_RELAXED);
}

static const JobListener listener = { on_state, on_ready, on_pending, on_over, on_error };

/* --- the guest --- */

static inline void guest_moved(BlkUser *u)
{
    BlkNode *n = u->node;

    while (n->drv->filter) {
        n = n->child;
    }
    Move m = { mem_log_len(), mem_file_of(n) };
    g_array_append_val(t.g.moves, m);
}

static inline void guest_start(BlkNode *n, GRand *rand)
{
    Error *err = NULL;

    t.g = (Guest){ .user.moved = guest_moved, .loop = worker_new("guest"), .rand = rand,
                   .buf = aligned(256 * KiB), .moves = g_array_new(false, false, sizeof(Move)) };
    if (!blk_attach(n, &t.g.user, "the guest", BLK_PERM_READ | BLK_PERM_WRITE,
                    BLK_PERM_READ | BLK_PERM_RESIZE, &err)) {
        fail_msg("%s", error_text(err));
    }
    guest_moved(&t.g.user);
}

static inline void guest_end(void)
{
    blk_detach(&t.g.user);
    worker_free(t.g.loop);
    free(t.g.buf);
    g_array_free(t.g.moves, true);
}

static inline void guest_done(BlkReq *r, int ret)
{
    Io *io = container_of(r, Io, req);

    io->ret = ret;
    __atomic_store_n(&io->calls, 1, __ATOMIC_RELEASE);
    loop_call(loop_control(), io_nothing, NULL);
}

static inline void guest_submit(void *arg)
{
    blk_user_submit(&t.g.user, &((Io *)arg)->req);
}

/* A request of the guest, while control does its work. */
static inline int guest_io(BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
    Io io;

    io_prepare(&io, NULL, t.g.loop, op, flags, off, buf, len);
    io.req.done = guest_done;
    loop_call(t.g.loop, guest_submit, &io);
    while (!__atomic_load_n(&io.calls, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
    loop_call_wait(t.g.loop, io_nothing, NULL);
    return io.ret;
}

/* The same until it succeeds, as a guest with werror=stop does; what fails, fails a few times at most. */
static inline void guest_must(BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
    int ret = guest_io(op, flags, off, buf, len);

    for (unsigned i = 0; ret < 0 && i < 100; i++) {
        ret = guest_io(op, flags, off, buf, len);
    }
    assert_int_equal(ret, 0);
}

static inline void guest_fill(uint64_t first, uint64_t n, unsigned step, bool zero)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t v = zero ? 0 : (uint64_t)step << 32 | (first + i + 1);

        memset(t.g.buf + i * 512, 0, 512);
        st64(t.g.buf + i * 512, v);
        t.written[first + i][step] = v;
    }
}

/* One random write, zeroing, discard or flush. */
static inline void guest_step(void)
{
    Guest *g = &t.g;
    unsigned step = g->step + 1, what = (unsigned)g_rand_int_range(g->rand, 0, 10);
    uint64_t first = (uint64_t)g_rand_int_range(g->rand, 0, SECTORS);
    uint64_t most = g_rand_boolean(g->rand) ? 8 : 400;
    uint64_t count = (uint64_t)g_rand_int_range(g->rand, 1, 1 + (int)MIN(most, SECTORS - first));
    BlkOp op = what < 6 ? BLK_WRITE : what < 7 ? BLK_ZERO : what < 8 ? BLK_DISCARD : BLK_FLUSH;

    for (unsigned s = 0; s < SECTORS; s++) {
        t.written[s][step] = t.written[s][step - 1];
    }
    g->flush_of[step] = op == BLK_FLUSH ? step : g->flush_of[step - 1];
    if (op == BLK_FLUSH) {
        guest_must(BLK_FLUSH, 0, 0, NULL, 0);
    } else {
        guest_fill(first, count, step, op != BLK_WRITE);
        guest_must(op, op == BLK_ZERO ? BLK_MAY_UNMAP : 0, first * 512, op == BLK_WRITE ? g->buf : NULL,
                   count * 512);
    }
    if (op == BLK_DISCARD) {   /* whatever it reads as now */
        guest_must(BLK_READ, 0, first * 512, g->buf, count * 512);
        for (uint64_t i = 0; i < count; i++) {
            t.written[first + i][step] = ld64(g->buf + i * 512);
        }
    }
    g->log_at[step] = mem_log_len();
    g->step = step;
}

/* --- the images --- */

static inline void image_make(unsigned i, const BlkCreate *as, const char *backing)
{
    BlkCreate o = *as;

    o.driver = "qcow2";
    o.size = SIZE;
    o.backing_file = backing;
    o.backing_fmt = backing ? "qcow2" : NULL;
    mem_format(i, &o);
}

/* Writes a few random pieces to @n, each known as step 0; the guest's disk holds them if @shows. */
static inline void image_fill(BlkNode *n, GRand *rand, bool shows)
{
    g_autofree uint8_t *buf = g_malloc0(SIZE);

    for (unsigned i = 0; i < 6; i++) {
        uint64_t first = (uint64_t)g_rand_int_range(rand, 0, SECTORS - 1);
        uint64_t count = (uint64_t)g_rand_int_range(rand, 1, (gint32)MIN(SECTORS - first, 500) + 1);

        for (uint64_t s = 0; s < count; s++) {
            uint64_t v = UINT64_C(1) << 63 | (uint64_t)mem_file_of(n) << 40 | i << 24 | (first + s);

            st64(buf + s * 512, v);
            if (shows) {
                t.written[first + s][0] = v;
            }
        }
        assert_int_equal(blk_pwrite(n, first * 512, buf, count * 512), 0);
    }
    assert_int_equal(blk_pflush(n), 0);
}

/* base <- mid <- top, with something in each; @target is an image too, over @target_over's file or
 * nothing. */
static inline void images_make(const BlkCreate *as, GRand *rand, const char *target_over)
{
    memset(t.written, 0, sizeof(t.written));
    image_make(BASE, as, NULL);
    image_make(MID, as, "base");
    image_make(TOP, as, "mid");
    image_make(TARGET, as, target_over);
    mem_wipe(EXTRA);
    t.n[BASE] = mem_image(BASE, "base", NULL, false);
    t.n[MID] = mem_image(MID, "mid", "base", false);
    t.n[TOP] = mem_image(TOP, "top", "mid", false);
    for (unsigned i = BASE; i <= TOP; i++) {
        image_fill(t.n[i], rand, true);
    }
}

/* Closes all nodes, whatever is over what. */
static inline void images_close(void)
{
    Error *err = NULL;
    BlkNode *n = NULL;

    while ((n = blk_next(NULL)) != NULL) {
        while (n && !blk_close(n, NULL)) {
            n = blk_next(n);
        }
        if (!n) {
            blk_close(blk_next(NULL), &err);
            fail_msg("%s", error_text(err));
        }
    }
}

/* The guest's disk holds what it had after the last step. */
static inline void guest_verify(const char *where)
{
    g_autofree uint8_t *got = g_malloc(SIZE);

    assert_int_equal(blk_pread(t.g.user.node, 0, got, SIZE), 0);
    for (unsigned s = 0; s < SECTORS; s++) {
        if (ld64(got + s * 512) != t.written[s][t.g.step]) {
            fail_msg("%s: sector %u holds %#" PRIx64 ", not %#" PRIx64, where, s, ld64(got + s * 512),
                     t.written[s][t.g.step]);
        }
    }
}

/* --- jobs --- */

typedef enum Kind {
    STREAM, STREAM_TO, COMMIT, COMMIT_ACTIVE, MIRROR_FULL, MIRROR_TOP, MIRROR_NONE, MIRROR_BOTH, BACKUP_FULL,
    BACKUP_TOP, BACKUP_INCREMENTAL, KINDS
} Kind;

static const char *const kind_names[] = {
    "stream", "stream to a base", "commit", "active commit", "mirror", "mirror top", "mirror none",
    "mirror both", "backup", "backup top", "backup incremental",
};

static inline bool kind_is_backup(Kind k)
{
    return k >= BACKUP_FULL;
}

/* The target as it must be before a job of @kind begins. */
static inline const char *target_over(Kind k)
{
    return k == MIRROR_TOP || k == BACKUP_TOP ? "mid" : NULL;
}

/* Opens the target; mirrors of new writes and incremental backups have a copy of what was there before. */
static inline void target_open(Kind k)
{
    g_autofree uint8_t *buf = g_malloc(SIZE);

    t.n[TARGET] = mem_image(TARGET, "target", target_over(k), false);
    if (k == MIRROR_NONE || k == BACKUP_INCREMENTAL) {
        assert_int_equal(blk_pread(t.n[TOP], 0, buf, SIZE), 0);
        assert_int_equal(blk_pwrite(t.n[TARGET], 0, buf, SIZE), 0);
        assert_int_equal(blk_pflush(t.n[TARGET]), 0);
    }
}

static inline bool job_begin(Kind k, JobOptions *o, Error **errp)
{
    t.over = t.failed = t.is_ready = false;
    t.over_at = UINT_MAX;
    memset(t.errors, 0, sizeof(t.errors));
    job_set_listener(&listener);
    o->id = "job0";
    switch (k) {
    case STREAM:
        return job_stream(t.n[TOP], NULL, NULL, o, errp);
    case STREAM_TO:
        return job_stream(t.n[TOP], t.n[BASE], "base", o, errp);
    case COMMIT:
        return job_commit(t.n[MID], t.n[BASE], NULL, o, errp);
    case COMMIT_ACTIVE:
        return job_commit(t.n[TOP], t.n[BASE], NULL, o, errp);
    case MIRROR_BOTH:
        o->write_blocking = true;
        return job_mirror(t.n[TOP], t.n[TARGET], JOB_SYNC_FULL, o, errp);
    case MIRROR_FULL:
    case MIRROR_TOP:
    case MIRROR_NONE:
        return job_mirror(t.n[TOP], t.n[TARGET], k == MIRROR_FULL ? JOB_SYNC_FULL : k == MIRROR_TOP
                          ? JOB_SYNC_TOP : JOB_SYNC_NONE, o, errp);
    case BACKUP_INCREMENTAL:
        o->bitmap = "b0";
        return job_backup(t.n[TOP], t.n[TARGET], JOB_SYNC_INCREMENTAL, o, errp);
    default:
        return job_backup(t.n[TOP], t.n[TARGET], k == BACKUP_TOP ? JOB_SYNC_TOP : JOB_SYNC_FULL, o, errp);
    }
}

/* Starts a job and waits until it stands above the guest's disk: a backup is of that moment. */
static inline void job_begin_ok(Kind k, JobOptions *o)
{
    unsigned moves = t.g.moves->len;
    Error *err = NULL;

    if (!job_begin(k, o, &err)) {
        fail_msg("%s: %s", kind_names[k], error_text(err));
    }
    while (k != COMMIT && t.g.moves->len == moves) {
        loop_control_iterate(true);
    }
    t.moment = t.g.step;
}

/* The guest and the job, by turns, until the guest is at step @last. */
static inline void job_and_guest(unsigned last)
{
    while (t.g.step < last) {
        Job *j = job_find("job0");

        if (j && g_rand_boolean(t.g.rand)) {
            job_set_speed(j, 1, NULL);
            loop_control_iterate(false);
        } else {
            guest_step();
        }
    }
}

/* Lets the job go on to its end, and completes it when it is ready. */
static inline void job_to_the_end(void)
{
    Job *j;

    while ((j = job_find("job0")) != NULL) {
        JobFacts f = job_facts(j);

        if (f.speed) {
            job_set_speed(j, 0, NULL);
        }
        if (f.state == JOB_READY) {
            job_complete(j, NULL);
        }
        if (f.paused) {
            return;            /* as its policy says */
        }
        loop_control_iterate(true);
    }
}

#endif
