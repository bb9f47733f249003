/* block-int.h: what drivers and engines share; private to block/.
 *
 * 1. A lane is what one loop keeps of one node: counts, statistics, the lane below.  Only its loop
 *    writes it, so a request costs no atomic read-modify-write.
 * 2. A BlkLoop is what one loop keeps for all nodes: its engines and the requests to complete.  One
 *    post per loop iteration submits what was queued and completes what is ready.
 * 3. A request goes down by r->at and r->pos; r->off and r->len stay the submitter's. */
#ifndef BLOCK_BLOCK_INT_H
#define BLOCK_BLOCK_INT_H

#include "block/block.h"
#include "util/epoch.h"
#include "util/lock.h"

typedef struct BlkLane BlkLane;
typedef struct BlkLoop BlkLoop;
typedef struct BlkDriver BlkDriver;

/* The answer to "where is r->pos?". */
typedef struct Extent {
    BlkNode *node;             /* EXT_DATA: where the bytes are, from off there */
    uint64_t off, len;         /* len: bytes from r->pos on that this answer covers, at least 1 */
    enum {
        EXT_DATA,              /* in @node */
        EXT_ZERO,              /* reads as zeroes; for ZERO and DISCARD: metadata did it all */
        EXT_NONE,              /* not in this layer and nothing below: reads as zeroes */
    } is;
    bool link;                 /* commit() is to be called after the data landed */
    uint64_t cookie;           /* the driver's own, from resolve to commit */
} Extent;

enum {
    BLK_OPT_FILENAME = 1 << 0, /* must be given */
    BLK_OPT_AIO = 1 << 1,
    BLK_OPT_LOCKING = 1 << 2,
    BLK_OPT_CHILD = 1 << 3,    /* must be given */
    BLK_OPT_OFFSET = 1 << 4,
    BLK_OPT_SIZE = 1 << 5,
    BLK_OPT_LATENCY = 1 << 6,
    BLK_OPT_ZEROES = 1 << 7,
};

struct BlkDriver {
    const char *name;
    size_t size;               /* of n->state, zeroed before open() */
    unsigned options;          /* BLK_OPT_*: what it knows beside the general ones */

    /* How likely @head (the first @n bytes) is this format, 0 to 100; only used when asked for. */
    int (*probe)(const uint8_t *head, size_t n);
    bool (*open)(BlkNode *n, const BlkOptions *o, Error **errp);   /* sets size and limits */
    void (*close)(BlkNode *n);
    /* The users' rights changed, taken together; NULL: nothing to do. */
    bool (*rights)(BlkNode *n, unsigned need, unsigned share, Error **errp);
    bool (*truncate)(BlkNode *n, uint64_t size, Error **errp);
    /* The child has a new size; sets n->size. */
    void (*child_resized)(BlkNode *n);

    /* Protocols: ask the host for r->pos, r->left, r->cur; ends in blk_complete() or _later(). */
    void (*submit)(BlkLane *l, BlkReq *r);
    /* Protocols: the same, blocking.  Returns 0 or -errno. */
    int (*blocking)(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                    unsigned niov, uint64_t len);

    /* Formats: where is r->pos?  Never waits; -EAGAIN: ask resolve_slow(), which may, on the
     * pool. */
    int (*resolve)(BlkNode *n, const BlkReq *r, Extent *e);
    int (*resolve_slow)(BlkNode *n, const BlkReq *r, Extent *e);
    /* Formats, on the pool: @e's data landed, link it in.  NULL if no extent sets link. */
    int (*commit)(BlkNode *n, const BlkReq *r, const Extent *e);
    /* Formats, on the pool: write the metadata out before a flush.  NULL: there is none. */
    int (*flush_meta)(BlkNode *n);
};

struct BlkNode {
    const BlkDriver *drv;
    void *state;
    char *name, *filename;
    char *drive_id;            /* NULL: not made by -drive */
    BlkOnError rerror, werror;
    uint64_t size;             /* atomic */
    bool read_only, auto_read_only, direct, no_flush, unmap;
    int fd;                    /* protocols on a descriptor; else -1 */
    BlkAio aio;
    BlkLimits limits;

    BlkNode *child;
    BlkUser child_use;
    bool owns_child;

    BlkUser *users;
    Lock lanes_lock;           /* guards changes of lanes; readers are in an epoch */
    BlkLane *lanes;
    BlkNode *next;
};

typedef struct BlkDrainItem BlkDrainItem;

struct BlkLane {
    Loop *loop;
    BlkNode *node;
    BlkLoop *bl;
    BlkLane *child;            /* of node->child, on the same loop */
    BlkLane *next;             /* of node->lanes */
    unsigned in_flight;        /* written by the loop alone, read by blk_close() */
    BlkDrainItem *drains;      /* to be left when in_flight is 0 */
    BlkStats stats;            /* written by the loop alone, read by anyone */
    EpochItem epoch;
};

#define BLK_ENGINES 3          /* one for each BlkAio */

struct BlkLoop {
    Loop *loop;
    Post post;
    bool posted, running;
    bool dead;                 /* dropped with its post still queued, which frees it */
    unsigned dirty;            /* bit i: engine i has requests to submit */
    int64_t now;               /* CLOCK_HOST at the start of this batch */
    BlkReq *done_head, **done_tail;
    void *engine[BLK_ENGINES];
    bool engine_failed[BLK_ENGINES];
    BlkLoop *next;
};

extern const BlkDriver blk_file, blk_host_device, blk_raw, blk_null_co, blk_null_aio;

/* request.c */

/* Ends @r with @ret; not from within submit().  On r->loop. */
void blk_complete(BlkReq *r, int ret);
/* The same from within submit(): done() runs later in this iteration. */
void blk_complete_later(BlkReq *r, int ret);
/* Frames a callback of the loop in which completions happen; leave submits what they queued. */
void blk_loop_enter(BlkLoop *bl);
void blk_loop_leave(BlkLoop *bl);
/* Sees to it that engines marked dirty are flushed in this iteration. */
void blk_loop_kick(BlkLoop *bl);
/* The state of @l, made at need.  Any thread. */
BlkLoop *blk_loop_get(Loop *l);
/* Drops the state of @l with its engines, and @l's lanes of node @n. */
void blk_loop_drop(Loop *l);
void blk_lanes_drop(BlkNode *n, const Loop *l);
/* A blocking transfer through the graph, for blk_pread() and for formats on the pool. */
int blk_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len);

/* node.c */

/* Adds a driver beside the built-in ones: for tests. */
void blk_add_driver(const BlkDriver *d);
/* Sets the size and tells the users. */
void blk_set_size(BlkNode *n, uint64_t size);

/* Copies between @buf and @iov from byte @skip of it on; @len bytes. */
void blk_iov_read(const struct iovec *iov, unsigned niov, uint64_t skip, void *buf, uint64_t len);
void blk_iov_write(const struct iovec *iov, unsigned niov, uint64_t skip, const void *buf,
                   uint64_t len);
void blk_iov_zero(const struct iovec *iov, unsigned niov, uint64_t skip, uint64_t len);
/* The part [@skip, @skip + @len) of @iov, owned by the caller; *@out_n entries. */
struct iovec *blk_iov_slice(const struct iovec *iov, unsigned niov, uint64_t skip, uint64_t len,
                            unsigned *out_n);

#endif
