/* job-int.h: what the kinds of jobs share; private to block/.
 *
 * 1. A job's thread owns its work; j->lock guards what control and the thread both touch.
 * 2. A guest's write and a job's copy of the same range never overlap where that matters: both pass the
 *    filter's gate.  A copy is one request at the filter: a change of the graph waits for it as a whole. */
#ifndef BLOCK_JOB_INT_H
#define BLOCK_JOB_INT_H

#include "block/block-int.h"
#include "block/job.h"

#define JOB_CHUNK (1 * MiB)    /* most bytes of one copy */
#define JOB_GRAIN (64 * KiB)   /* what is remembered of writes */

typedef struct JobDriver {
    JobKind kind;
    int (*run)(Job *j);        /* on the thread; 0 or -errno */
    /* On control, with everything of the job held: the graph as it is to be.  False: *errp is set, the job
     * has failed. */
    bool (*finish)(Job *j, Error **errp);
} JobDriver;

struct Job {
    const JobDriver *drv;
    char *id, *backing_file;
    JobState state;            /* control */
    bool keep_pending, keep_concluded;
    BlkOnError on_read_error, on_write_error;

    BlkNode *source, *target;  /* target: the base of a commit or stream; NULL: none */
    BlkNode *filter;           /* above @source; NULL: none */
    BlkUser source_use, target_use;
    bool active;               /* it gets ready, and follows the guest until it is told to complete */
    bool was_read_only;        /* of @target */
    JobSync sync;
    BlkHold *hold;             /* nothing is in flight: the last copies are made, or the graph is changed */
    Error *err;

    Lock lock;                 /* guards the rest */
    LockCond changed;
    bool paused, at_rest;      /* asked for, and is so */
    bool cancelled, force, completing, is_ready, held;
    int64_t speed, next;       /* next: when more may be copied, CLOCK_HOST */
    uint64_t done, total;
    BlkIoStatus io_status;
    int ret;
    Job *next_job;
};

/* Makes a job that works on @source with @target (may be NULL), puts @filter (a driver's name, or NULL) above
 * @source, and starts it.  Errors leave nothing. */
bool job_start(Job *j, const JobOptions *o, const char *filter, Error **errp);
Job *job_new(const JobDriver *d, BlkNode *source, BlkNode *target, const JobOptions *o, Error **errp);

/* --- on the job's thread --- */

/* Waits while it is to pause, and for @bytes of its speed; false: it is to end. */
bool job_point(Job *j, uint64_t bytes);
/* A request at the node of @u.  0 or -errno. */
int job_io(BlkUser *u, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len);
/* What the policy makes of @err: 0 for another try or to go on (*@skip), or the error that ends the job. */
int job_failed(Job *j, bool read, int err, bool *skip);
void job_add(Job *j, uint64_t done, uint64_t total);
/* Tells that it can be completed. */
void job_now_ready(Job *j);
/* Waits until nothing is in flight at the source and the target. */
void job_hold(Job *j);

/* --- the filter (job-filter.c) --- */

extern const BlkDriver blk_mirror_top, blk_commit_top, blk_copy_before_write, blk_copy_on_stream;

/* Sets up the opened filter of @j. */
void job_filter_setup(Job *j);
/* Marks [@off, @off + @len) to be copied; whole grains. */
void job_filter_mark(BlkNode *filter, uint64_t off, uint64_t len);
/* The first range that is to be copied at or after *@off, at most @most long; false: none. */
bool job_filter_next(BlkNode *filter, uint64_t *off, uint64_t *len, uint64_t most);
/* Bytes that are to be copied. */
uint64_t job_filter_left(BlkNode *filter);
/* Copies what is marked in the range.  *@read: it was reading that failed. */
int job_filter_copy(Job *j, uint64_t off, uint64_t len, bool *read);
/* The same with nothing else in flight. */
int job_filter_copy_held(Job *j, uint64_t off, uint64_t len, bool *read);
/* A guest's write could not be followed: the error, or 0. */
int job_filter_error(BlkNode *filter);

#endif
