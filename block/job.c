/* job.c: the life of jobs, see job.h. */
#include <errno.h>
#include "block/bitmap.h"
#include "block/job-int.h"
#include "util/bytes.h"
#include "util/fault.h"

static Job *jobs;                      /* control */
static const JobListener *listener;    /* set once at start */

void job_set_listener(const JobListener *l)
{
    assert_control();
    listener = l;
}

/* Who hears of @j; NULL: nobody. */
static const JobListener *listener_of(const Job *j)
{
    return j->over ? NULL : listener;
}

Job *job_next(const Job *j)
{
    assert_control();
    for (j = j ? j->next_job : jobs; j && j->over;) {
        j = j->next_job;
    }
    return (Job *)j;
}

Job *job_find(const char *id)
{
    for (Job *j = jobs; j; j = j->next_job) {
        if (!j->over && !strcmp(j->id, id)) {
            return j;
        }
    }
    return NULL;
}

JobFacts job_facts(const Job *job)
{
    Job *j = (Job *)job;

    lock_take(&j->lock);
    JobFacts i = {
        .id = j->id, .kind = j->drv->kind, .state = j->state, .done = j->done, .total = j->total,
        .speed = j->speed, .paused = j->paused, .busy = !j->at_rest && j->state <= JOB_PAUSED,
        .ready = j->is_ready, .cancelled = j->cancelled && j->force, .keep_pending = j->keep_pending,
        .keep_concluded = j->keep_concluded, .io_status = j->io_status,
        .error = j->err ? error_text(j->err) : NULL,
    };
    lock_drop(&j->lock);
    return i;
}

/* --- states --- */

static void set_state(Job *j, JobState s)
{
    if (j->state == s) {
        return;
    }
    lock_take(&j->lock);
    j->state = s;
    lock_drop(&j->lock);
    if (listener_of(j)) {
        listener->state(j, s);
    }
}

/* --- groups --- */

struct JobGroup {
    GPtrArray *jobs;
    unsigned refs;
};

JobGroup *job_group_new(void)
{
    JobGroup *g = g_new0(JobGroup, 1);

    assert_control();
    *g = (JobGroup){ .jobs = g_ptr_array_new(), .refs = 1 };
    return g;
}

void job_group_unref(JobGroup *g)
{
    if (g && --g->refs == 0) {
        g_ptr_array_unref(g->jobs);
        g_free(g);
    }
}

static void group_join(Job *j, JobGroup *g)
{
    j->group = g;
    if (g) {
        g->refs++;
        g_ptr_array_add(g->jobs, j);
    }
}

/* The jobs that end with @j, itself among them; the last one first. */
static GPtrArray *peers(Job *j)
{
    GPtrArray *all = g_ptr_array_new();

    for (unsigned i = j->group ? j->group->jobs->len : 0; i-- > 0;) {
        g_ptr_array_add(all, j->group->jobs->pdata[i]);
    }
    if (!j->group) {
        g_ptr_array_add(all, j);
    }
    return all;
}

static void job_free(Job *j)
{
    Job **at = &jobs;

    while (*at != j) {
        at = &(*at)->next_job;
    }
    *at = j->next_job;
    if (j->group) {
        g_ptr_array_remove(j->group->jobs, j);
        job_group_unref(j->group);
    }
    lock_destroy(&j->lock);
    error_free(j->err);
    g_free(j->backing_file);
    g_free(j->replaces);
    g_free(j->id);
    g_free(j);
}

static void dismiss(Job *j)
{
    set_state(j, JOB_NULL);
    job_free(j);
}

static void conclude(Job *j)
{
    if (listener_of(j)) {
        listener->over(j);
    }
    set_state(j, JOB_CONCLUDED);
    void (*over)(void *arg, int ret) = j->over;
    void *arg = j->arg;
    int ret = j->ret;
    if (!j->keep_concluded) {
        dismiss(j);
    }
    if (over) {
        over(arg, ret);
    }
}

/* What is left of the bitmap's marks when all is over. */
static void settle_bitmap(Job *j)
{
    bool always = j->bitmap_mode == JOB_BITMAP_ALWAYS;

    blk_bitmap_settle(j->bitmap, j->bitmap_mode == JOB_BITMAP_NEVER || (j->ret < 0 && !always));
    if (j->ret < 0 && always) {        /* what was not copied is to be copied the next time */
        uint64_t off = 0, len;

        while (job_filter_next(j->filter, &off, &len, GiB)) {
            blk_bitmap_set(j->bitmap, off, len);
            off += len;
        }
    }
    j->bitmap = NULL;
}

/* Takes the job out of the graph, which is held. */
static void leave_graph(Job *j)
{
    BlkNode *target = j->target;

    blk_detach(&j->source_use);
    blk_detach(&j->target_use);
    if (j->ret == 0 && j->drv->finish && !j->drv->finish(j, &j->err)) {
        j->ret = -EIO;
    }
    if (j->bitmap) {
        settle_bitmap(j);
    }
    if (j->filter) {
        blk_remove_filter(j->filter);
    }
    if (j->reader) {
        job_reader_remove(j);
    }
    if (j->drv->kind == JOB_COMMIT) {
        blk_backing_written(j->source, target, false);
    }
    if (target && j->was_read_only && blk_overlay_of(target)) {
        blk_set_read_only(target, true, NULL);
    }
}

/* Closes what the job alone has kept. */
static void close_nodes(Job *j)
{
    if (j->filter) {
        blk_close_unused(g_steal_pointer(&j->filter));
    } else {
        blk_close_unused(j->source);
    }
    if (j->reader) {
        blk_close_unused(g_steal_pointer(&j->reader));
    }
    if (j->target) {
        blk_close_unused(j->target);
    }
}

static void finish_held(BlkHold *h, void *arg)
{
    Job *j = arg;

    leave_graph(j);
    blk_release(h);
    close_nodes(j);
    if (j->ret < 0 && j->state != JOB_ABORTING) {
        set_state(j, JOB_ABORTING);
    }
    conclude(j);
}

static void finish(Job *j)
{
    BlkNode *nodes[4];
    unsigned n = 0;

    j->finishing = true;
    if (!j->source) {
        j->drop(j->arg);
        conclude(j);
        return;
    }
    if (j->hold) {
        finish_held(j->hold, j);
        return;
    }
    nodes[n++] = j->filter ? j->filter : j->source;
    nodes[n++] = j->source;
    if (j->target) {
        nodes[n++] = j->target;
    }
    blk_hold(nodes, n, finish_held, j);
}

static void finish_all(Job *j)
{
    g_autoptr(GPtrArray) all = peers(j);

    for (unsigned i = 0; i < all->len; i++) {
        finish(all->pdata[i]);
    }
}

/* It has failed or is given up, and so are those that would end with it. */
static void fail_all(Job *j)
{
    g_autoptr(GPtrArray) all = peers(j);

    for (unsigned i = 0; i < all->len; i++) {
        Job *peer = all->pdata[i];

        lock_take(&peer->lock);
        if (peer->ret == 0) {
            peer->cancelled = peer->force = true;
            peer->paused = false;
            peer->ret = peer->ended ? -ECANCELED : 0;
        }
        lock_broadcast(&peer->changed);
        lock_drop(&peer->lock);
        if (peer->ended) {
            set_state(peer, JOB_ABORTING);
        }
    }
}

/* Their last steps, when all that end together have got so far. */
static void settle(Job *j)
{
    g_autoptr(GPtrArray) all = peers(j);
    bool wait = false;

    for (unsigned i = 0; i < all->len; i++) {
        if (!((Job *)all->pdata[i])->ended) {
            return;
        }
    }
    for (unsigned i = 0; j->ret == 0 && i < all->len; i++) {
        Job *peer = all->pdata[i];

        set_state(peer, JOB_PENDING);
        wait |= peer->keep_pending;
    }
    for (unsigned i = 0; wait && i < all->len; i++) {
        const Job *peer = all->pdata[i];

        if (peer->keep_pending && listener_of(peer)) {
            listener->pending(peer);
        }
    }
    if (!wait) {
        finish_all(j);
    }
}

/* The thread has ended. */
static void ended(void *arg)
{
    Job *j = arg;

    j->ended = true;
    if (j->ret < 0 || (j->cancelled && j->force)) {
        if (j->ret < 0 && j->ret != -ECANCELED && !j->err) {
            error_set(&j->err, "%s", errno_text(-j->ret));
        }
        j->ret = j->ret < 0 ? j->ret : -ECANCELED;
        fail_all(j);
    } else {
        set_state(j, JOB_WAITING);
    }
    settle(j);
}

/* --- the thread --- */

static void thread_run(void *arg)
{
    Job *j = arg;
    int ret = job_point(j, 0) ? j->drv->run(j) : -ECANCELED;

    lock_take(&j->lock);
    j->ret = ret;
    lock_drop(&j->lock);
    loop_call(loop_control(), ended, j);
}

static void tell_paused(void *arg)
{
    Job *j = arg;

    set_state(j, j->is_ready ? JOB_STANDBY : JOB_PAUSED);
}

static void tell_running(void *arg)
{
    Job *j = arg;

    set_state(j, j->is_ready ? JOB_READY : JOB_RUNNING);
}

static bool must_end_locked(const Job *j)
{
    return j->cancelled && (j->force || !j->is_ready);
}

/* Waits while it is paused; false: it is to end. */
static bool unpaused_locked(Job *j) LOCK_HELD(j->lock)
{
    if (j->paused && !must_end_locked(j)) {
        j->at_rest = true;
        loop_call(loop_control(), tell_paused, j);
        while (j->paused && !must_end_locked(j)) {
            lock_wait(&j->lock, &j->changed, -1);
        }
        j->at_rest = false;
        loop_call(loop_control(), tell_running, j);
    }
    return !must_end_locked(j);
}

bool job_unpaused(Job *j)
{
    lock_take(&j->lock);
    bool go = unpaused_locked(j);
    lock_drop(&j->lock);
    return go;
}

bool job_point(Job *j, uint64_t bytes)
{
    int64_t now = clock_now(CLOCK_HOST);

    lock_take(&j->lock);
    if (j->speed && bytes) {
        j->next = MAX(j->next, now) + (int64_t)(bytes * 1e9 / (double)j->speed);
    }
    while (j->speed && j->next > now && !j->paused && !must_end_locked(j) && !j->completing) {
        lock_wait(&j->lock, &j->changed, j->next - now);
        now = clock_now(CLOCK_HOST);
    }
    bool go = unpaused_locked(j);
    lock_drop(&j->lock);
    return go;
}

void job_add(Job *j, uint64_t done, uint64_t total)
{
    lock_take(&j->lock);
    j->done += done;
    j->total += total;
    lock_drop(&j->lock);
}

static void tell_ready(void *arg)
{
    Job *j = arg;

    set_state(j, JOB_READY);
    if (listener_of(j)) {
        listener->ready(j);
    }
}

void job_now_ready(Job *j)
{
    lock_take(&j->lock);
    bool news = !j->is_ready;
    j->is_ready = true;
    lock_drop(&j->lock);
    if (news) {
        loop_call(loop_control(), tell_ready, j);
    }
}

typedef struct JobIo {
    BlkReq req;
    BlkUser *user;
    struct iovec iov;
    Post post;
    Lock lock;
    LockCond over;
    bool is_over;
    int ret;

    /* A question. */
    PoolJob work;
    BlkNode *node;
    const BlkNode *base;
    uint64_t off, len;
    BlkStatus *status;
} JobIo;

static void io_over(BlkReq *r, int ret)
{
    JobIo *io = container_of(r, JobIo, req);

    lock_take(&io->lock);
    io->ret = ret;
    io->is_over = true;
    lock_broadcast(&io->over);
    lock_drop(&io->lock);
}

static void io_go(Post *p)
{
    JobIo *io = container_of(p, JobIo, post);

    blk_user_submit(io->user, &io->req);
}

static int io_wait(JobIo *io)
{
    io->req.loop = blk_bridge_loop();
    io->req.done = io_over;
    lock_init(&io->lock, RANK_LEAF, "job-io");
    loop_post(io->req.loop, &io->post);
    lock_take(&io->lock);
    while (!io->is_over) {
        lock_wait(&io->lock, &io->over, -1);
    }
    lock_drop(&io->lock);
    lock_destroy(&io->lock);
    return io->ret;
}

int job_io(BlkUser *u, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
    JobIo io = { .user = u, .iov = { buf, len }, .post.run = io_go };

    io.req = (BlkReq){ .op = op, .flags = flags | BLK_QUIET, .off = off, .len = len };
    if (buf) {
        io.req.iov = &io.iov;
        io.req.niov = 1;
    }
    return io_wait(&io);
}

static void ask_run(PoolJob *work)
{
    JobIo *io = container_of(work, JobIo, work);

    io->ret = blk_status(io->node, io->off, io->len, io->base, io->status);
}

static void ask_ran(Post *p)
{
    JobIo *io = container_of(container_of(p, PoolJob, post), JobIo, work);

    blk_visit_end(&io->req, io->ret);
}

static void ask_visit(BlkReq *r, BlkNode *n)
{
    JobIo *io = container_of(r, JobIo, req);

    io->node = n;
    io->work = (PoolJob){ .run = ask_run, .loop = r->loop, .post.run = ask_ran };
    pool_add(&io->work, 1);
}

static void ask_go(Post *p)
{
    JobIo *io = container_of(p, JobIo, post);

    blk_user_visit(io->user, &io->req, ask_visit);
}

int job_status(Job *j, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *s)
{
    JobIo io = { .user = &j->source_use, .post.run = ask_go, .off = off, .len = len, .base = base,
                 .status = s };

    *s = (BlkStatus){ 0 };
    return io_wait(&io);
}

int job_failed(Job *j, bool read, int err, bool *ignored)
{
    BlkOnError policy = read ? j->on_read_error : j->on_write_error;
    BlkErrorAction action = BLK_ERROR_REPORT;

    if (policy == BLK_ON_ERROR_IGNORE) {
        action = BLK_ERROR_IGNORE;
    } else if (policy == BLK_ON_ERROR_STOP || (policy == BLK_ON_ERROR_ENOSPC && err == -ENOSPC)) {
        action = BLK_ERROR_STOP;
    }
    if (action == BLK_ERROR_STOP) {
        lock_take(&j->lock);
        j->paused = true;
        j->io_status = err == -ENOSPC ? BLK_IO_NOSPACE : BLK_IO_FAILED;
        lock_drop(&j->lock);
    }
    if (listener_of(j)) {
        listener->error(j, read, action);
    }
    *ignored = action == BLK_ERROR_IGNORE;
    return action == BLK_ERROR_REPORT ? err : 0;
}

/* What is ignored is tried again, but not as fast as it fails. */
void job_rest(Job *j)
{
    lock_take(&j->lock);
    if (!must_end_locked(j)) {
        lock_wait(&j->lock, &j->changed, JOB_REST_NS);
    }
    lock_drop(&j->lock);
}

int job_again(Job *j, bool read, int err)
{
    bool ignored;
    int ret = job_failed(j, read, err, &ignored);

    if (ret < 0) {
        return ret;
    }
    if (ignored && j->drv->kind == JOB_STREAM) {
        return err;            /* it would lose what is behind the image */
    }
    if (ignored) {
        job_rest(j);
    }
    return job_point(j, 0) ? 0 : -ECANCELED;
}

int job_flush(Job *j, BlkUser *u)
{
    for (;;) {
        int ret = job_io(u, BLK_FLUSH, 0, 0, NULL, 0);

        if (ret == 0) {
            return 0;
        }
        ret = job_again(j, false, ret);
        if (ret < 0) {
            return ret;
        }
    }
}

int job_look(Job *j, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *s)
{
    for (;;) {
        int ret = job_status(j, off, len, base, s);

        if (ret == 0) {
            return 0;
        }
        ret = job_again(j, true, ret);
        if (ret < 0) {
            return ret;
        }
    }
}

static void is_held(BlkHold *h, void *arg)
{
    Job *j = arg;

    j->hold = h;
    lock_take(&j->lock);
    j->held = true;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
}

static void ask_hold(void *arg)
{
    Job *j = arg;
    BlkNode *other = j->replaces ? blk_find(j->replaces) : NULL;
    BlkNode *nodes[] = { j->filter, j->source, j->target, other };

    blk_hold(nodes, other ? 4 : 3, is_held, j);
}

void job_hold(Job *j)
{
    loop_call(loop_control(), ask_hold, j);
    lock_take(&j->lock);
    while (!j->held) {
        lock_wait(&j->lock, &j->changed, -1);
    }
    lock_drop(&j->lock);
}

static void let_go(void *arg)
{
    Job *j = arg;

    blk_release(g_steal_pointer(&j->hold));
    lock_take(&j->lock);
    j->held = false;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
}

void job_unhold(Job *j)
{
    loop_call(loop_control(), let_go, j);
    lock_take(&j->lock);
    while (j->held) {
        lock_wait(&j->lock, &j->changed, -1);
    }
    lock_drop(&j->lock);
}

/* --- what people ask --- */

static bool in_state(const Job *j, const char *verb, bool ok, Error **errp)
{
    static const char *const names[] = {
        "undefined", "created", "running", "paused", "ready", "standby", "waiting", "pending", "aborting",
        "concluded", "null",
    };

    return ok || error_set(errp, "Job '%s' in state '%s' cannot accept command verb '%s'", j->id,
                           names[j->state], verb);
}

static bool works(const Job *j)
{
    return j->state >= JOB_CREATED && j->state <= JOB_STANDBY;
}

/* Its last step is still to be asked for. */
static bool pends(const Job *j)
{
    return j->state == JOB_PENDING && !j->finishing;
}

bool job_pause(Job *j, Error **errp)
{
    if (!in_state(j, "pause", works(j), errp)) {
        return false;
    }
    lock_take(&j->lock);
    bool already = j->paused;
    j->paused = true;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
    return !already || error_set(errp, "Job is already paused");
}

bool job_resume(Job *j, Error **errp)
{
    if (!in_state(j, "resume", works(j), errp)) {
        return false;
    }
    lock_take(&j->lock);
    bool was = j->paused;
    j->paused = false;
    j->io_status = BLK_IO_OK;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
    return was || error_set(errp, "Can't resume a job that was not paused");
}

bool job_cancel(Job *j, bool force, Error **errp)
{
    bool at_work = works(j);

    if (!in_state(j, "cancel", at_work || j->state == JOB_WAITING || pends(j), errp)) {
        return false;
    }
    lock_take(&j->lock);
    j->cancelled = true;
    j->force = force || !j->is_ready || !at_work;
    if (j->force) {
        j->paused = false;
    }
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
    if (j->ended) {
        j->ret = -ECANCELED;
        fail_all(j);
        settle(j);
    }
    return true;
}

bool job_complete(Job *j, Error **errp)
{
    if (!in_state(j, "complete", j->state == JOB_READY, errp)) {
        return false;
    }
    lock_take(&j->lock);
    bool refused = j->cancelled || j->paused;
    j->completing = !refused;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
    return !refused || error_set(errp, "The active block job '%s' cannot be completed", j->id);
}

bool job_finalize(Job *j, Error **errp)
{
    if (!in_state(j, "finalize", pends(j), errp)) {
        return false;
    }
    finish_all(j);
    return true;
}

bool job_dismiss(Job *j, Error **errp)
{
    if (!in_state(j, "dismiss", j->state == JOB_CONCLUDED, errp)) {
        return false;
    }
    dismiss(j);
    return true;
}

bool job_set_speed(Job *j, int64_t speed, Error **errp)
{
    if (!in_state(j, "set-speed", works(j), errp)) {
        return false;
    }
    if (speed < 0) {
        return error_set(errp, "Parameter 'speed' expects a non-negative value");
    }
    lock_take(&j->lock);
    j->speed = speed;
    j->next = 0;
    lock_broadcast(&j->changed);
    lock_drop(&j->lock);
    return true;
}

/* --- making --- */

static bool id_ok(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    while (g_ascii_isalnum(*id) || *id == '-' || *id == '.' || *id == '_') {
        id++;
    }
    return !*id;
}

/* True if @j has @n in hand: the layers it copies from, what it has put above them, and the last one if it
 * writes there. */
static bool works_on(const Job *j, const BlkNode *n)
{
    BlkNode *m = j->source, *over;

    if (n == j->filter) {
        return true;
    }
    if (j->drv->kind == JOB_MIRROR) {
        return n == m || n == j->target;
    }
    for (; m && m != j->target; m = blk_behind(m)) {
        if (n == m) {
            return true;
        }
    }
    if (j->drv->kind == JOB_STREAM) {
        return false;
    }
    for (m = j->source; (over = blk_overlay_of(m)) != NULL;) {
        m = over;
    }
    return n == m || n == j->target;           /* a commit: what is written to, too */
}

bool job_node_free(const BlkNode *n, Error **errp)
{
    static const char *const kinds[] = {
        [JOB_COMMIT] = "commit", [JOB_STREAM] = "stream", [JOB_MIRROR] = "mirror",
    };

    for (const Job *j = jobs; j; j = j->next_job) {
        JobKind kind = j->drv->kind;

        if (kind <= JOB_MIRROR && j->state < JOB_CONCLUDED && works_on(j, n)) {
            n = n == j->filter ? j->source : n;
            return error_set(errp, "Node '%s' is busy: block device is in use by block job: %s",
                             *blk_drive_id(n) ? blk_drive_id(n) : n->name, kinds[kind]);
        }
    }
    return true;
}

bool job_node_idle(const BlkNode *n)
{
    assert_control();
    for (const Job *j = jobs; j; j = j->next_job) {
        if (j->source && j->state < JOB_CONCLUDED && (works_on(j, n) || n == j->target)) {
            return false;
        }
    }
    return true;
}

bool job_id_free(const char *id, Error **errp)
{
    assert_control();
    if (!id_ok(id)) {
        return error_set(errp, "Invalid job ID '%s'", id);
    }
    return !job_find(id) || error_set(errp, "Job ID '%s' already in use", id);
}

Job *job_new(const JobDriver *d, BlkNode *source, BlkNode *target, const JobOptions *o, Error **errp)
{
    const char *id = o->id ? o->id : source ? blk_drive_id(source) : "";

    assert_control();
    if (!o->over && !job_id_free(id, errp)) {
        return NULL;
    }
    if (o->speed < 0) {
        error_set(errp, "Parameter 'speed' expects a non-negative value");
        return NULL;
    }
    if (!blk_bridge_open(errp)) {
        return NULL;
    }
    Job *j = g_new0(Job, 1), **at = &jobs;
    *j = (Job){ .drv = d, .id = g_strdup(id), .source = source, .target = target, .speed = o->speed,
                .keep_pending = o->keep_pending, .keep_concluded = o->keep_concluded,
                .on_read_error = o->on_read_error, .on_write_error = o->on_write_error, .over = o->over,
                .arg = o->arg,
                .buffer = o->buf_size ? o->buf_size : JOB_BUFFER,
                .copies = o->workers ? MIN(o->workers, JOB_COPIES * 4) : JOB_COPIES };
    j->chunk = o->max_chunk ? o->max_chunk : JOB_CHUNK;
    j->chunk = MIN(j->chunk, MIN(j->buffer, JOB_CHUNK * 64));
    lock_init(&j->lock, RANK_NODE, "job");
    while (*at) {
        at = &(*at)->next_job;
    }
    *at = j;
    return j;
}

/* Its moment: with everything held, the filter goes to its place. */
static bool begin(Job *j, Error **errp)
{
    if (j->drv->begin) {
        j->drv->begin(j);
    }
    if (j->reader) {
        job_reader_begin(j);
    }
    return !j->filter || blk_insert_filter(j->filter, errp);
}

void job_go(Job *j)
{
    Error *err = NULL;

    set_state(j, JOB_RUNNING);
    if (FAULT("job-thread") || !thread_start(NULL, THREAD_POOL, "job", false, thread_run, j, &err)) {
        j->err = err;
        j->ret = -EAGAIN;
        ended(j);
    }
}

static void begin_held(BlkHold *h, void *arg)
{
    Job *j = arg;
    bool ok = begin(j, &j->err);

    blk_release(h);
    if (ok) {
        job_go(j);
    } else {
        j->ret = -EPERM;
        ended(j);
    }
}

/* Attaches the job to its nodes. */
static bool attach(Job *j, Error **errp)
{
    g_autofree char *who = g_strdup_printf("block job '%s'", j->id);

    j->source_use.stays = j->target_use.stays = true;
    if (!blk_attach(j->filter ? j->filter : j->source, &j->source_use, who, BLK_PERM_READ,
                    BLK_PERM_READ | BLK_PERM_WRITE, errp)) {
        return false;
    }
    if (!j->target) {
        return true;
    }
    if (j->drv->kind == JOB_STREAM) {  /* it stays, and that is all */
        return blk_attach(j->target, &j->target_use, who, 0, BLK_PERM_ALL, errp);
    }
    j->was_read_only = j->target->read_only;
    return blk_set_read_only(j->target, false, errp) &&
           blk_attach(j->target, &j->target_use, who, BLK_PERM_READ | BLK_PERM_WRITE,
                      BLK_PERM_READ | BLK_PERM_RESIZE, errp);
}

static bool prepare(Job *j, const JobOptions *o, const char *filter, Error **errp)
{
    BlkOptions f = { .driver = filter, .for_job = true, .node_name = o->filter_name,
                     .child_ref = j->source->name,
                     .read_only = j->source->read_only };
    bool commit = j->drv->kind == JOB_COMMIT;

    if (commit) {
        blk_backing_written(j->source, j->target, true);
    }
    if (filter) {
        j->filter = blk_open_inner(&f, errp);
    }
    bool ok = !filter || (j->filter && job_reader_insert(j, errp) && job_filter_setup(j, o, errp));
    if (!ok || !attach(j, errp)) {
        blk_detach(&j->source_use);
        if (j->reader) {
            job_reader_remove(j);
            blk_close_unused(j->reader);
        }
        if (j->target && j->was_read_only) {
            blk_set_read_only(j->target, true, NULL);
        }
        if (commit) {
            blk_backing_written(j->source, j->target, false);
        }
        if (j->filter) {
            blk_close(j->filter, NULL);
        }
        job_free(j);
        return false;
    }
    return true;
}

bool job_start(Job *j, const JobOptions *o, const char *filter, Error **errp)
{
    if (!prepare(j, o, filter, errp)) {
        return false;
    }
    group_join(j, o->group);
    set_state(j, JOB_CREATED);
    if (j->bitmap) {
        blk_bitmap_set_busy(j->bitmap, true);
    }
    if (o->held) {
        if (!begin(j, errp)) {
            job_undo(j);
            return false;
        }
        *o->made = j;
        return true;
    }
    set_state(j, JOB_RUNNING);
    BlkNode *nodes[] = { j->source };
    blk_hold(nodes, 1, begin_held, j);
    return true;
}

void job_undo(Job *j)
{
    j->ret = -ECANCELED;
    set_state(j, JOB_ABORTING);
    if (j->bitmap) {
        blk_bitmap_settle(g_steal_pointer(&j->bitmap), true);
    }
    leave_graph(j);
    close_nodes(j);
    set_state(j, JOB_CONCLUDED);
    dismiss(j);
}

void jobs_stop(void)
{
    assert_control();
    while (jobs) {
        for (Job *j = jobs, *next; j; j = next) {
            next = j->next_job;
            if (j->state == JOB_CONCLUDED) {
                dismiss(j);
            } else {
                job_cancel(j, true, NULL);
                j->keep_concluded = false;
            }
        }
        if (jobs) {
            loop_control_iterate(true);
        }
    }
}

/* --- work that is not on a node --- */

static int create_run(Job *j)
{
    Error *err = NULL;
    bool ok = j->make(j->arg, &err);

    lock_take(&j->lock);
    j->done = j->total = 1;
    j->err = err;
    lock_drop(&j->lock);
    return ok ? 0 : -EIO;
}

static const JobDriver create = { .kind = JOB_CREATE, .run = create_run };
static const JobDriver amend = { .kind = JOB_AMEND, .run = create_run };

bool job_create(JobKind kind, const char *id, bool (*make)(void *arg, Error **errp), void (*drop)(void *arg),
                void *arg, Error **errp)
{
    JobOptions o = { .id = id, .keep_concluded = true };
    Job *j = job_new(kind == JOB_AMEND ? &amend : &create, NULL, NULL, &o, errp);

    if (!j) {
        return false;
    }
    j->make = make;
    j->drop = drop;
    j->arg = arg;
    set_state(j, JOB_CREATED);
    job_go(j);
    return true;
}
