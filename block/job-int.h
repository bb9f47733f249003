/* job-int.h: what the kinds of jobs share; private to block/.
 *
 * 1. A job's thread owns its work; j->lock guards what control and the thread both touch.
 * 2. A guest's write and a job's copy of the same range never overlap where that matters: both pass the
 *    filter's gate.  A copy is one request at the filter: a change of the graph waits for it as a whole. */
#ifndef BLOCK_JOB_INT_H
#define BLOCK_JOB_INT_H

#include "block/block-int.h"
#include "block/gate.h"
#include "block/job.h"
#include "block/pool.h"

#define JOB_CHUNK (1 * MiB)    /* most bytes of one copy, by default */
#define JOB_GRAIN (64 * KiB)   /* what is remembered of writes, by default */
#define JOB_COPIES 16u         /* most copies at one time, by default, */
#define JOB_BUFFER (16 * MiB)  /* and their bytes */
#define JOB_REST_NS (20 * 1000 * 1000)         /* before what failed and was ignored is tried again */

typedef struct JobDriver {
    JobKind kind;
    void (*begin)(Job *j);     /* on control, with everything held; NULL: nothing to do */
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
    BlkNode *reader;           /* between @target and the source that is behind it; NULL: none */
    BlkUser source_use, target_use;
    bool active;               /* it gets ready, and follows the guest until it is told to complete */
    bool was_read_only;        /* of @target */
    bool source_behind;        /* of a mirror: see JobOptions */
    uint64_t reach;            /* of a commit: how much of @target the layer above @source will read */
    JobSync sync;
    struct BlkBitmap *bitmap;  /* of @source, busy with this job; or NULL */
    JobBitmapMode bitmap_mode;
    JobGroup *group;
    char *replaces;            /* a node's name, or NULL */
    bool ended;                /* the thread has */
    bool finishing;            /* its last step waits for the graph, or is under way */
    bool (*make)(void *arg, Error **errp);     /* of a create job */
    void (*drop)(void *arg);
    void *arg;                 /* of make and drop, or of over, */
    void (*over)(void *arg, int ret);          /* see JobOptions */
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
    struct JobCopy *landed;    /* copies that ended and were not looked at yet */
    unsigned flying;           /* copies that did not end */
    uint64_t flying_bytes;
    Job *next_job;

    bool follows;              /* atomic: the thread waits for a mark */
    uint64_t buffer, chunk;    /* limits of its copies */
    unsigned copies;
    uint64_t hint_end;         /* the thread's: up to there the source is as @hint_zero says */
    bool hint_zero;
};

/* A range that one request at the filter copies. */
typedef struct JobCopy {
    BlkReq req;
    struct iovec iov;          /* this very struct, as long as the range */
    Post post;
    Job *j;
    uint64_t off, len;
    bool ask;                  /* whether the source reads as zeroes */
    bool read;                 /* out: it was reading that failed */
    int ret;
    struct JobCopy *next;
} JobCopy;

/* What a filter keeps. */
typedef struct JobFilter {
    Job *job;                  /* NULL: nobody is told */
    bool works;                /* it is set up */
    BlkNode *to;               /* where copies go */
    BlkUser to_use;            /* of a filter that people made */
    uint64_t grain;            /* bytes of a mark */
    uint64_t chunk;            /* most bytes of one copy */
    bool before;               /* copy-before-write */
    bool both;                 /* a mirror that writes to both sides at once */
    bool gated;
    bool compress, break_guest, unmap;
    Gate gate;
    Lock lock;                 /* guards the rest */
    uint64_t *marks;           /* a bit a grain */
    uint64_t *copied;          /* the same, of what was copied to @to; NULL: nobody reads the past */
    uint64_t grains, left;
    bool broken;               /* the guest has written over what was not copied */
    int error;
    int64_t timeout_ns;        /* copy-before-write: how long a copy may take; 0: as long as it wants */
} JobFilter;

/* A write of the guest, or a copy, on its way through a filter. */
typedef struct JobPass {
    BlkReq *up;
    BlkReq req;
    GateRange range;
    BlkNode *node;
    struct iovec iov;
    uint8_t *buf;
    uint64_t room;             /* bytes at @buf */
    uint64_t at, len;          /* what is being copied, or read as it was */
    struct iovec *part;        /* the place for that; owned */
    bool live;                 /* a read: what the past does not have is read as it is now */
    PoolJob work;
    BlkNode *asked;            /* of @work, with what came of it */
    BlkStatus status;
    int told;
    int ret;
} JobPass;

/* Makes a job that works on @source with @target (may be NULL), puts @filter (a driver's name, or NULL) above
 * @source, and starts it.  Errors leave nothing. */
bool job_start(Job *j, const JobOptions *o, const char *filter, Error **errp);
Job *job_new(const JobDriver *d, BlkNode *source, BlkNode *target, const JobOptions *o, Error **errp);

/* --- on the job's thread --- */

/* Waits while it is to pause, and for @bytes of its speed; false: it is to end. */
bool job_point(Job *j, uint64_t bytes);
/* Waits while it is paused, whatever its speed; false: it is to end. */
bool job_unpaused(Job *j);
/* A request at the node of @u.  0 or -errno. */
int job_io(BlkUser *u, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len);
/* Tells of @err, and what the policy makes of it: 0 for another try, or the error that ends the job.
 * *@ignored: the policy is to ignore it, and nobody waits before the next try. */
int job_failed(Job *j, bool read, int err, bool *ignored);
/* Waits a moment, before what was ignored is tried again. */
void job_rest(Job *j);
/* The same for what a job cannot do without: waits for its next try as the policy says, 0, or what ends
 * it. */
int job_again(Job *j, bool read, int err);
void job_add(Job *j, uint64_t done, uint64_t total);
/* Copies all that is marked, once through: 0, or what ends the job.  No copy is under way afterwards. */
int job_copy_marked(Job *j);
/* Waits for the copies that the guest's writes have under way (copy-before-write), and does again what
 * failed of them: 0, or what ends the job. */
int job_copy_settle(Job *j);
/* blk_status() of the source, while nobody changes the graph there. */
int job_status(Job *j, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *s);
/* The same, and a flush at @u, by the policy: 0, or what ends the job. */
int job_look(Job *j, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *s);
int job_flush(Job *j, BlkUser *u);
/* Tells that it can be completed. */
void job_now_ready(Job *j);
/* Waits until nothing is in flight at the source and the target. */
void job_hold(Job *j);
/* Lets them go on. */
void job_unhold(Job *j);

/* --- the filter (job-filter.c) --- */

extern const BlkDriver blk_mirror_top, blk_commit_top, blk_backup_top, blk_copy_on_stream;

bool job_filter_open(BlkNode *n, const BlkOptions *o, Error **errp);
void job_filter_close(BlkNode *n);
bool job_filter_intercept(BlkLane *l, BlkReq *r);
/* What that does with a write or a copy @r; @late: a write goes down at once, although it is in the way. */
void job_filter_pass(BlkNode *n, BlkReq *r, bool late);
/* A copy for a write failed with @ret, and the write goes on: the job fails, the past is lost. */
void job_filter_fail(JobFilter *f, int ret);
/* Marks of @grain bytes for the opened filter, none set; @past: what was there before the guest's writes can
 * be read.  False: the disk has too many. */
bool job_filter_marks(BlkNode *filter, uint64_t grain, bool past, Error **errp);
/* Sets up the opened filter of @j; false: the disk has too many grains. */
bool job_filter_setup(Job *j, const JobOptions *o, Error **errp);
/* Marks [@off, @off + @len) to be copied, or not to be; whole grains. */
void job_filter_mark(BlkNode *filter, uint64_t off, uint64_t len, bool on);
/* The first range that is to be copied at or after *@off, at most @most long (a grain at least); false:
 * none. */
bool job_filter_next(BlkNode *filter, uint64_t *off, uint64_t *len, uint64_t most);
/* Bytes that are to be copied. */
uint64_t job_filter_left(BlkNode *filter);
/* The same as a copy with nothing else in flight, on the job's thread. */
int job_filter_copy_held(Job *j, uint64_t off, uint64_t len, bool *read);
/* A guest's write could not be followed: the error, which is forgotten, or 0. */
int job_filter_error(BlkNode *filter);

/* --- the past (copy-before-write.c): what the source was when the filter's marks were made --- */

/* On r->loop: ends @r, a read at a node above @filter, with what was there: -EACCES where it is not known, or
 * (@live) with what is there now. */
void job_past_read(BlkNode *filter, BlkReq *r, bool live);
/* The same for a discard: that part of the past is not wanted any more. */
void job_past_discard(BlkNode *filter, BlkReq *r);
/* blk_status() of it; -EACCES where it is not known and not @live. */
int job_past_status(BlkNode *filter, bool live, uint64_t off, uint64_t len, BlkStatus *s);

/* --- readers of a backup's target (snapshot-access.c) --- */

/* If the target of @j gets what it does not hold from the source: puts a reader in between, which knows what
 * it was.  False: there are users who read the target already. */
bool job_reader_insert(Job *j, Error **errp);
/* The backup's moment is now. */
void job_reader_begin(Job *j);
/* Takes the reader out, with everything held.  While others read the target it stays, and they get
 * -EACCES. */
void job_reader_remove(Job *j);

/* --- between job-filter.c, job-copy.c and copy-before-write.c --- */

void job_mark_locked(JobFilter *f, uint64_t off, uint64_t end, bool on);
/* It is at the target; and it is not of the past any more. */
void job_copied_locked(JobFilter *f, uint64_t off, uint64_t end);
void job_forget_locked(JobFilter *f, uint64_t off, uint64_t end);
/* Is [@off, @off + the result) marked, and has it been copied?  At most up to @end. */
uint64_t job_past_locked(const JobFilter *f, uint64_t off, uint64_t end, bool *is_marked, bool *is_copied);
bool job_run_locked(const JobFilter *f, uint64_t *off, uint64_t end, uint64_t size, uint64_t most,
                    uint64_t *len);
/* Copies the next marked run of the pass's range, with the range in its hands; job_copied() follows. */
void job_copy_next(JobPass *p);
void job_copied(JobPass *p);
void job_pass_end(JobPass *p, int ret);
/* A buffer of at least @len bytes; false: there is none. */
bool job_pass_buffer(JobPass *p, uint64_t len);
bool job_is_zero(const uint8_t *buf, uint64_t len);

#endif
