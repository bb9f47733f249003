/* job.h: long work on block nodes: its life, and the kinds there are.
 *
 *   created -> running <-> paused -> (ready <-> standby) -> waiting -> pending -> concluded -> null
 *                  \-> aborting -> concluded -> null
 *
 * 1. A job is made, told and ended on control; its work is plain code on a thread of its own, which only
 *    waits for requests that run on a loop.
 * 2. Whatever the end, nothing of the job stays in the graph. */
#ifndef BLOCK_JOB_H
#define BLOCK_JOB_H

#include "block/front.h"

typedef struct Job Job;
typedef struct JobGroup JobGroup;

/* In the order of JobType. */
typedef enum JobKind {
    JOB_COMMIT, JOB_STREAM, JOB_MIRROR, JOB_BACKUP, JOB_CREATE, JOB_AMEND, JOB_KINDS
} JobKind;
/* In the order of the states of query-jobs. */
typedef enum JobState {
    JOB_UNDEFINED, JOB_CREATED, JOB_RUNNING, JOB_PAUSED, JOB_READY, JOB_STANDBY, JOB_WAITING, JOB_PENDING,
    JOB_ABORTING, JOB_CONCLUDED, JOB_NULL,
} JobState;

/* In the order of MirrorSyncMode. */
typedef enum JobSync {
    JOB_SYNC_TOP, JOB_SYNC_FULL, JOB_SYNC_NONE, JOB_SYNC_INCREMENTAL, JOB_SYNC_BITMAP,
} JobSync;
/* What becomes of a backup's bitmap: cleared of what was copied, when all of it was, or never, or always. */
typedef enum JobBitmapMode { JOB_BITMAP_ON_SUCCESS, JOB_BITMAP_NEVER, JOB_BITMAP_ALWAYS } JobBitmapMode;

/* What commands say of every job; strings are borrowed during the call. */
typedef struct JobOptions {
    const char *id;
    int64_t speed;             /* bytes a second; 0: no limit */
    bool keep_pending, keep_concluded;         /* auto-finalize=off, auto-dismiss=off */
    BlkOnError on_read_error, on_write_error;  /* of the source and of the target; AUTO is REPORT */
    const char *filter_name;   /* node-name of what watches the guest's writes, or NULL */

    /* mirror and backup; 0 is the default */
    uint64_t granularity;      /* bytes that a mark stands for: a power of two, 512 bytes to 64 MiB */
    uint64_t buf_size;         /* most bytes being copied at one time */
    unsigned workers;          /* most copies at one time */
    uint64_t max_chunk;        /* most bytes of one copy */
    bool write_blocking;       /* mirror: a guest's write ends when the target has it, too */
    bool no_unmap;             /* mirror: zeroes keep their space in the target */
    const char *replaces;      /* mirror: the node whose users get the target, if not the source's; or NULL */
    bool source_behind;        /* mirror: the target, once it is used, gets from the source what it lacks */
    bool compress;             /* backup */
    bool break_snapshot;       /* backup: a failed copy before a guest's write fails the job, not the write */
    const char *bitmap;        /* backup: of the source, or NULL */
    bool has_bitmap_mode;
    JobBitmapMode bitmap_mode;

    /* Jobs of a transaction. */
    bool held;                 /* its moment is now; job_go() or job_undo() follows */
    JobGroup *group;           /* jobs that end together; or NULL */
    Job **made;                /* out, with @held */

    /* Who alone is told of the end, 0 or a negative errno, on control; people do not see such a job. */
    void (*over)(void *arg, int ret);
    void *arg;
} JobOptions;

/* Jobs that end together or fail together; the group lives as long as they do and its maker wants it. */
CTX_CONTROL JobGroup *job_group_new(void);
CTX_CONTROL void job_group_unref(JobGroup *g);

typedef struct JobFacts {
    const char *id;
    JobKind kind;
    JobState state;
    uint64_t done, total;      /* bytes */
    int64_t speed;
    bool paused, busy, ready, cancelled, keep_pending, keep_concluded;
    BlkIoStatus io_status;
    const char *error;         /* of one that failed, or NULL */
} JobFacts;

/* Who tells people; on control, but for error(). */
typedef struct JobListener {
    void (*state)(const Job *j, JobState s);
    void (*ready)(const Job *j);
    void (*pending)(const Job *j);         /* it waits for job_finalize() */
    void (*over)(const Job *j);            /* completed, failed or cancelled: see job_facts() */
    void (*error)(const Job *j, bool read, BlkErrorAction action);
} JobListener;

CTX_CONTROL void job_set_listener(const JobListener *l);
CTX_ANY JobFacts job_facts(const Job *j);
CTX_CONTROL Job *job_find(const char *id);
/* False if a new job cannot have that id. */
CTX_CONTROL bool job_id_free(const char *id, Error **errp);
/* The job after @j in the order of creation; the first for NULL. */
CTX_CONTROL Job *job_next(const Job *j);

/* False if a job other than a backup works on the image @n: no other job, and no snapshot, may change what is
 * above or below it. */
CTX_CONTROL bool job_node_free(const BlkNode *n, Error **errp);

/* True if no job of any kind works on it. */
CTX_CONTROL bool job_node_idle(const BlkNode *n);

/* What people ask of jobs; each fails in a state where it makes no sense. */
CTX_CONTROL bool job_pause(Job *j, Error **errp);
CTX_CONTROL bool job_resume(Job *j, Error **errp);
/* @force: a ready one is given up too; else it ends well, without its last step. */
CTX_CONTROL bool job_cancel(Job *j, bool force, Error **errp);
CTX_CONTROL bool job_complete(Job *j, Error **errp);
CTX_CONTROL bool job_finalize(Job *j, Error **errp);
CTX_CONTROL bool job_dismiss(Job *j, Error **errp);
CTX_CONTROL bool job_set_speed(Job *j, int64_t speed, Error **errp);

/* --- the kinds --- */

/* Copies what @n gets from below, down to @base (NULL: all), into it; then @base is behind it, by the name
 * @backing_file (NULL: the base's own).  @n and @base in one chain. */
CTX_CONTROL bool job_stream(BlkNode *n, BlkNode *base, const char *backing_file, const JobOptions *o,
                            Error **errp);
/* Copies what @top and the layers above @base have into @base.  With users that write to @top it gets ready,
 * and completing makes them users of @base; else what is above @top gets @base behind it. */
CTX_CONTROL bool job_commit(BlkNode *top, BlkNode *base, const char *backing_file, const JobOptions *o,
                            Error **errp);
/* Copies what @n has into the image right behind it, which grows at need; then @n holds nothing, and stays.
 * Over(arg, 0 or a negative errno) on control at its end, which nobody else is told of.  -errno and @errp: it
 * did not begin. */
CTX_CONTROL int job_commit_down(BlkNode *n, void (*over)(void *arg, int ret), void *arg, Error **errp);
/* Keeps @target the same as @n; completing makes the users of @n use @target. */
CTX_CONTROL bool job_mirror(BlkNode *n, BlkNode *target, JobSync sync, const JobOptions *o, Error **errp);
/* Copies @n as it is now to @target. */
CTX_CONTROL bool job_backup(BlkNode *n, BlkNode *target, JobSync sync, const JobOptions *o, Error **errp);
/* Makes or changes an image (@kind: JOB_CREATE, JOB_AMEND) by make(arg) on the job's thread; then drop(arg),
 * on control, before it is concluded. */
CTX_CONTROL bool job_create(JobKind kind, const char *id, bool (*make)(void *arg, Error **errp),
                            void (*drop)(void *arg), void *arg, Error **errp);

/* Of a job that began while its nodes are held: it works from now on, or it was never there. */
CTX_CONTROL void job_go(Job *j);
CTX_CONTROL void job_undo(Job *j);
/* Gives up all jobs and waits until they are gone. */
CTX_CONTROL void jobs_stop(void);

#endif
