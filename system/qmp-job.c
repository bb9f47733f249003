/* qmp-job.c: QMP commands and events of jobs. */
#include "system/qmp-job.h"

#include <string.h>
#include "block/graph.h"
#include "block/job.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/qmp-graph.h"

G_STATIC_ASSERT((int)JOB_COMMIT == (int)JOB_TYPE_COMMIT && (int)JOB_AMEND == (int)JOB_TYPE_AMEND);
G_STATIC_ASSERT((int)JOB_SYNC_NONE == (int)MIRROR_SYNC_MODE_NONE);
G_STATIC_ASSERT((int)JOB_SYNC_BITMAP == (int)MIRROR_SYNC_MODE_BITMAP);
G_STATIC_ASSERT((int)JOB_BITMAP_ALWAYS == (int)BITMAP_SYNC_MODE_ALWAYS);
G_STATIC_ASSERT((int)JOB_NULL == (int)JOB_STATUS_NULL && (int)JOB_PENDING == (int)JOB_STATUS_PENDING);

/* Does its work belong to a node, in the words of the older commands? */
static bool is_block_job(const Job *j)
{
    return job_facts(j).kind < JOB_CREATE;
}

/* --- events --- */

static void on_state(const Job *j, JobState s)
{
    qmp_event_job_status_change(job_facts(j).id, (JobStatus)s);
}

static void on_ready(const Job *j)
{
    JobFacts i = job_facts(j);

    qmp_event_block_job_ready((JobType)i.kind, i.id, (int64_t)i.total, (int64_t)i.done, i.speed);
}

static void on_pending(const Job *j)
{
    JobFacts i = job_facts(j);

    if (is_block_job(j)) {
        qmp_event_block_job_pending((JobType)i.kind, i.id);
    }
}

static void on_over(const Job *j)
{
    JobFacts i = job_facts(j);

    if (!is_block_job(j)) {
        return;
    }
    if (i.cancelled) {
        qmp_event_block_job_cancelled((JobType)i.kind, i.id, (int64_t)i.total, (int64_t)i.done, i.speed);
    } else {
        qmp_event_block_job_completed((JobType)i.kind, i.id, (int64_t)i.total, (int64_t)i.done, i.speed,
                                      i.error);
    }
}

static void on_error(const Job *j, bool read, BlkErrorAction action)
{
    static const BlockErrorAction actions[] = {
        [BLK_ERROR_IGNORE] = BLOCK_ERROR_ACTION_IGNORE, [BLK_ERROR_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLK_ERROR_STOP] = BLOCK_ERROR_ACTION_STOP,
    };

    qmp_event_block_job_error(job_facts(j).id, read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE,
                              actions[action]);
}

void qmp_job_init(void)
{
    static const JobListener listener = { on_state, on_ready, on_pending, on_over, on_error };

    job_set_listener(&listener);
}

/* --- what there is --- */

bool qmp_query_jobs(JobInfoList *ret, Error **errp)
{
    for (const Job *j = job_next(NULL); j != NULL; j = job_next(j)) {
        JobFacts f = job_facts(j);
        JobInfo *i = qapi_new_job_info();

        i->id = g_strdup(f.id);
        i->type = (JobType)f.kind;
        i->status = (JobStatus)f.state;
        i->current_progress = (int64_t)f.done;
        i->total_progress = (int64_t)f.total;
        i->error = g_strdup(f.error);
        qapi_append(ret, i);
    }
    return true;
}

bool qmp_query_block_jobs(BlockJobInfoList *ret, Error **errp)
{
    static const BlockDeviceIoStatus states[] = {
        [BLK_IO_OK] = BLOCK_DEVICE_IO_STATUS_OK, [BLK_IO_FAILED] = BLOCK_DEVICE_IO_STATUS_FAILED,
        [BLK_IO_NOSPACE] = BLOCK_DEVICE_IO_STATUS_NOSPACE,
    };

    for (const Job *j = job_next(NULL); j != NULL; j = job_next(j)) {
        JobFacts f = job_facts(j);

        if (!is_block_job(j)) {
            continue;
        }
        BlockJobInfo *i = qapi_new_block_job_info();

        i->type = (JobType)f.kind;
        i->device = g_strdup(f.id);
        i->len = (int64_t)f.total;
        i->offset = (int64_t)f.done;
        i->busy = f.busy;
        i->paused = f.paused;
        i->speed = f.speed;
        i->io_status = states[f.io_status];
        i->ready = f.ready;
        i->status = (JobStatus)f.state;
        i->auto_finalize = !f.keep_pending;
        i->auto_dismiss = !f.keep_concluded;
        i->error = g_strdup(f.error);
        qapi_append(ret, i);
    }
    return true;
}

/* --- what can be asked of one --- */

static Job *find_job(const char *id, Error **errp)
{
    Job *j = job_find(id);

    if (j == NULL) {
        error_set(errp, "Job not found");
    }
    return j;
}

static Job *find_block_job(const char *id, Error **errp)
{
    Job *j = job_find(id);

    if (j == NULL || !is_block_job(j)) {
        j = NULL;
        error_set_class(errp, ERROR_DEVICE_NOT_ACTIVE, "Block job '%s' not found", id);
    }
    return j;
}

#define JOB_COMMAND(name) \
    bool qmp_job_##name(const char *id, Error **errp) \
    { \
        Job *j = find_job(id, errp); \
        return j != NULL && job_##name(j, errp); \
    } \
    bool qmp_block_job_##name(const char *id, Error **errp) \
    { \
        Job *j = find_block_job(id, errp); \
        return j != NULL && job_##name(j, errp); \
    }

JOB_COMMAND(pause)
JOB_COMMAND(resume)
JOB_COMMAND(complete)
JOB_COMMAND(finalize)
JOB_COMMAND(dismiss)

bool qmp_job_cancel(const char *id, Error **errp)
{
    Job *j = find_job(id, errp);

    return j != NULL && job_cancel(j, true, errp);
}

bool qmp_block_job_cancel(const char *device, bool force, Error **errp)
{
    Job *j = find_block_job(device, errp);

    if (j != NULL && job_facts(j).paused && !force) {
        return error_set(errp, "The block job for device '%s' is currently paused", device);
    }
    return j != NULL && job_cancel(j, force, errp);
}

bool qmp_block_job_set_speed(const char *device, int64_t speed, Error **errp)
{
    Job *j = find_block_job(device, errp);

    return j != NULL && job_set_speed(j, speed, errp);
}

/* --- starting --- */

static BlkOnError on_error_of(BlockdevOnError e)
{
    return e == BLOCKDEV_ON_ERROR_AUTO ? BLK_ON_ERROR_ENOSPC : (BlkOnError)e;
}

static BlkNode *find_device(const char *device, Error **errp)
{
    BlkNode *n = qmp_find_node(device, device, NULL);

    if (n == NULL) {
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", device);
    }
    return n;
}

/* The layer below @n whose image is @file. */
static BlkNode *find_file(BlkNode *n, const char *file, Error **errp)
{
    for (BlkNode *at = n; at != NULL; at = blk_behind(at)) {
        if (strcmp(blk_filename(at), file) == 0) {
            return at;
        }
    }
    error_set(errp, "'%s' is not in this backing file chain", file);
    return NULL;
}

static bool find_layer(BlkNode *n, const char *node, const char *file, const char *both, BlkNode **out,
                       Error **errp)
{
    if (node != NULL && file != NULL) {
        return error_set(errp, "%s", both);
    }
    if (node != NULL) {
        *out = qmp_find_node(NULL, node, errp);
    } else if (file != NULL) {
        *out = find_file(n, file, errp);
    }
    return (node == NULL && file == NULL) || *out != NULL;
}

bool qmp_block_stream(const BlockStream *a, Error **errp)
{
    JobOptions o = { .id = a->job_id, .speed = a->speed, .keep_pending = !a->auto_finalize,
                     .keep_concluded = !a->auto_dismiss, .on_read_error = on_error_of(a->on_error),
                     .on_write_error = on_error_of(a->on_error), .filter_name = a->filter_node_name };
    BlkNode *n = qmp_find_node(a->device, a->device, errp), *base = NULL;

    if (n == NULL || !find_layer(n, a->base_node, a->base,
                                 "'base' and 'base-node' cannot be specified at the same time", &base,
                                 errp)) {
        return false;
    }
    if (a->backing_file != NULL && base == NULL) {
        return error_set(errp, "backing file specified, but streaming the entire chain");
    }
    return job_stream(n, base, a->backing_file, &o, errp);
}

bool qmp_block_commit(const BlockCommit *a, Error **errp)
{
    JobOptions o = { .id = a->job_id, .speed = a->speed, .keep_pending = !a->auto_finalize,
                     .keep_concluded = !a->auto_dismiss, .on_read_error = on_error_of(a->on_error),
                     .on_write_error = on_error_of(a->on_error), .filter_name = a->filter_node_name };
    BlkNode *n = find_device(a->device, errp), *top = n, *base = NULL;

    if (n == NULL ||
        !find_layer(n, a->top_node, a->top, "'top-node' and 'top' are mutually exclusive", &top, errp) ||
        !find_layer(n, a->base_node, a->base, "'base-node' and 'base' are mutually exclusive", &base, errp)) {
        return false;
    }
    if (!blk_is_above(n, top)) {
        return error_set(errp, "'%s' is not in this backing file chain", blk_name(top));
    }
    for (BlkNode *at = top; base == NULL && at != NULL; at = blk_behind(at)) {
        base = blk_behind(at) == NULL ? at : NULL;
    }
    if (top == base) {
        return error_set(errp, "cannot commit an image into itself");
    }
    if (top == n && a->backing_file != NULL) {
        return error_set(errp, "'backing-file' specified, but 'top' is the active layer");
    }
    return job_commit(top, base, a->backing_file, &o, errp);
}

