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
#include "block/graph.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/lock.h"

typedef struct BlkLane BlkLane;
typedef struct BlkLoop BlkLoop;
typedef struct BlkDriver BlkDriver;
typedef struct BlkGrace BlkGrace;
struct LuksPlace;

/* The answer to "where is r->pos?". */
typedef struct Extent {
    BlkNode *node;             /* EXT_DATA: where the bytes are, from off there */
    uint64_t off, len;         /* len: bytes from r->pos on that this answer covers, at least 1 */
    enum {
        EXT_DATA,              /* in @node */
        EXT_ZERO,              /* reads as zeroes; for ZERO and DISCARD: metadata did it all */
        EXT_NONE,              /* not in this layer and nothing below: reads as zeroes */
        EXT_BYTES,             /* READ, from resolve_slow(): here they are, in @bytes */
    } is;
    bool crypt;                /* EXT_DATA: it is encrypted by n->crypt, @iv bytes from sector 0 */
    uint64_t iv;
    bool link;                 /* commit() is to be called when the data landed, or failed to */
    uint64_t cookie;           /* the driver's own, from resolve to commit */
    /* WRITE, EXT_DATA, link: bytes before and after the piece that are to be written with it, as
     * this node reads there now: copy on write. */
    uint64_t head, tail;
    uint8_t *bytes;            /* @len bytes, g_free()d by the walk */
} Extent;

enum {
    /* Flags of requests. */
    BLK_QUIET = 1 << 8,        /* not counted in the statistics */
    BLK_VISIT = 1 << 9,        /* nothing goes down: r->visit is called */
    JOB_COPY = 1 << 10,        /* at a job's filter: a READ that copies what is marked, see job-int.h */
    BLK_UNCOVER = 1 << 11,     /* a DISCARD in a layer: what is behind it shows, the same bytes as before */
};

enum {
    BLK_OPT_FILENAME = 1 << 0, /* must be given */
    BLK_OPT_AIO = 1 << 1,
    BLK_OPT_LOCKING = 1 << 2,
    BLK_OPT_CHILD = 1 << 3,    /* must be given */
    BLK_OPT_OFFSET = 1 << 4,
    BLK_OPT_SIZE = 1 << 5,
    BLK_OPT_LATENCY = 1 << 6,
    BLK_OPT_ZEROES = 1 << 7,
    BLK_OPT_BACKING = 1 << 8,
    BLK_OPT_NBD = 1 << 9,      /* or a file name */
    BLK_OPT_THROTTLE = 1 << 10,        /* must be given */
    BLK_OPT_KEY = 1 << 11,
    BLK_OPT_ENCRYPT = 1 << 12,
    BLK_OPT_OTHER = 1 << 13,   /* must be given */
    BLK_OPT_OWN = 1 << 14,
    BLK_OPT_PASS_DISCARD = 1 << 15,    /* and discards in its child by itself */
};

/* Internal snapshots; no request is in flight at the node.  They block. */
typedef struct BlkSnapshotOps {
    bool (*list)(BlkNode *n, GArray **out, Error **errp);      /* BlkSnapshot, in the order of the image */
    /* @s: all but id and disk_size. */
    bool (*create)(BlkNode *n, const BlkSnapshot *s, Error **errp);
    bool (*delete)(BlkNode *n, unsigned at, Error **errp);     /* number @at of the list */
    bool (*apply)(BlkNode *n, unsigned at, Error **errp);
    bool (*show)(BlkNode *n, unsigned at, Error **errp);       /* @n is read-only */
} BlkSnapshotOps;

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
    /* Gives a place to what reads as zeroes and has none, durably; blocks.  NULL: it has no map. */
    int (*premap)(BlkNode *n, uint64_t from, uint64_t to);
    /* Sets n->size to what the host has after writes past its end; on control.  NULL: none go there. */
    void (*follow_size)(BlkNode *n);
    /* Images: the name they keep of what is behind them; blocks, nothing is in flight. */
    bool (*set_backing_file)(BlkNode *n, const char *file, const char *format, Error **errp);
    const char *(*backing_file)(const BlkNode *n);
    bool (*check)(BlkNode *n, unsigned fix, BlkCheck *out, Error **errp);
    /* Writes one cluster, or the short last one, compressed; on a thread that may block.  -E2BIG: it would
     * not be smaller.  NULL: no. */
    int (*write_compressed)(BlkNode *n, uint64_t off, const void *buf, size_t len);
    /* Changes what the image is; NULL: it cannot.  Blocks; nothing is in flight. */
    bool (*amend)(BlkNode *n, const BlkAmend *o, bool force, Error **errp);
    /* Where its key slots are; NULL: it has none. */
    bool (*keys)(BlkNode *n, struct LuksPlace *out, Error **errp);
    /* What the image says of itself; NULL: nothing. */
    void (*info)(BlkNode *n, BlkImageInfo *out);
    /* What a range is, of this layer alone; on a thread that may block.  NULL: data. */
    int (*status)(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s);
    /* Could a bitmap of @n be kept in the image?  NULL: no. */
    bool (*bitmap_can_store)(BlkNode *n, Error **errp);
    const BlkSnapshotOps *snapshots;           /* NULL: it has none */
    /* The child has a new size; sets n->size. */
    void (*child_resized)(BlkNode *n);
    /* n->child or n->backing is another node now; nothing is in flight. */
    void (*relinked)(BlkNode *n);
    /* Gets ready for n->read_only to become @read_only, with nothing in flight; NULL: nothing to do.  The
     * children are still (when @read_only) or already writable. */
    bool (*set_read_only)(BlkNode *n, bool read_only, Error **errp);

    /* Filters: true if it took @r, which blk_complete() or _later() ends; false: it goes to the child at
     * the same place.  NULL: all does. */
    bool filter;
    bool (*intercept)(BlkLane *l, BlkReq *r);
    /* Nothing is to wait for time to pass while @on: the graph is to be changed.  On control. */
    void (*hurry)(BlkNode *n, bool on);

    /* Protocols: ask the host for r->pos, r->left, r->cur; ends in blk_complete() or _later(). */
    void (*submit)(BlkLane *l, BlkReq *r);
    /* Protocols: the same, blocking.  Returns 0 or -errno. */
    int (*blocking)(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                    unsigned niov, uint64_t len);

    /* Formats: where is r->pos?  Never waits.  -EAGAIN: ask resolve_slow(), which may, on the
     * pool.  -EINPROGRESS (from both): a request in flight is in the way; ask again after
     * blk_wake() with the key left in e->cookie. */
    int (*resolve)(BlkNode *n, const BlkReq *r, Extent *e);
    int (*resolve_slow)(BlkNode *n, const BlkReq *r, Extent *e);
    /* Formats: @e's data landed (@ret 0: link it in) or did not (give the space back).  Never
     * waits; on the loop, or the thread of a blocking request.  NULL if no extent sets link. */
    int (*commit)(BlkNode *n, const BlkReq *r, const Extent *e, int ret);
    /* Formats, on the pool: write the metadata out before a flush; with @put_off also what of writes that
     * have ended was put off, which is nothing of one with BLK_FUA.  NULL: there is none. */
    int (*flush_meta)(BlkNode *n, bool put_off);
    /* Formats, on the pool, after the flush_meta() of a flush: gives back to the host what has no use now.
     * May wait for the requests in flight, but for flushes.  NULL: nothing to do. */
    int (*flush_back)(BlkNode *n);
};

struct BlkNode {
    const BlkDriver *drv;
    void *state;
    char *name, *filename;
    char *drive_id;            /* NULL: not made by -drive */
    BlkWords words;            /* of that -drive; what they point to is the node's */
    uint64_t size;             /* atomic */
    uint64_t room;             /* how far a format above may go: blk_grow(); atomic */
    bool read_only, auto_read_only, direct, no_flush, unmap;
    int fd;                    /* protocols on a descriptor; else -1 */
    bool in_memory;            /* @fd is a file on tmpfs */
    BlkDetect detect_zeroes;
    BlkAio aio;
    BlkLimits limits;

    struct Crypt *crypt;       /* the driver's: what extents marked so are encrypted with; NULL: nothing is */
    bool crypt_gate;           /* a write of part of a sector is under way; under wait_lock */

    BlkNode *child, *backing;  /* backing: what an image does not hold is there */
    BlkUser child_use, backing_use;
    bool backing_written;      /* by a job, with the same bytes as read here */
    bool kept;                 /* lives until blk_close(), not as long as it has users */

    struct BlkBitmap *bitmaps; /* epoch; see bitmap.h */
    BlkUser *users;
    bool aside;                /* users are being moved: their rights still count, as */
    unsigned aside_need, aside_share;
    BlkHold *hold;             /* requests from outside wait there; atomic */
    uint64_t threshold;        /* writes that end after it are told once; 0: none; atomic */
    unsigned pins;             /* changes of the graph that wait for their turn */
    bool ends;                 /* with the last of them, if nobody uses it */
    BlkStats past;             /* of lanes that are gone; under lanes_lock */
    Lock lanes_lock;           /* guards changes of lanes; readers are in an epoch */
    BlkLane *lanes;
    Lock wait_lock;            /* guards what is below, up to woken */
    bool flushing;             /* a pool thread writes metadata for flushes; */
    struct Walk *flushes;             /* those that came meanwhile, the last first */
    unsigned steps[2], step_phase;     /* of blocking requests, by the phase they began in; the one now */
    BlkGrace *step_grace;      /* waits for those of the other phase */
    unsigned graces;           /* posts of blk_grace() that are on their way; atomic */
    uint64_t wakes;            /* calls of blk_wake(); read without the lock, atomic */
    struct Walk *waiting;      /* on a request in flight, oldest first */
    LockCond woken;            /* for blocking requests that wait */
    BlkNode *next;
};

typedef struct BlkDrainItem BlkDrainItem;

/* The -drive of a new node: @id (NULL: none) and what it said; copied. */
CTX_ANY void blk_drive_set(BlkNode *n, const char *id, const BlkWords *words);
/* It has none any more. */
CTX_ANY void blk_drive_clear(BlkNode *n);

/* A wait for the requests in flight. */
struct BlkGrace {
    void (*over)(BlkGrace *g);
    unsigned left;             /* lanes with older requests, and blocking ones; atomic */
};

struct BlkLane {
    Loop *loop;
    BlkNode *node;
    BlkLoop *bl;
    BlkLane *child;            /* of node->child, on the same loop */
    BlkLane *next;             /* of node->lanes */
    unsigned in_flight;        /* written by the loop alone, read by blk_close() */
    unsigned placed;           /* of those, the ones a grace waits for: no flushes; atomic too */
    unsigned phase, bit;       /* requests that come in now carry @phase in bit @bit of phases */
    unsigned older;            /* in flight with the other phase, while a grace waits for them */
    BlkGrace *grace;
    BlkDrainItem *drains;      /* to be left when in_flight is 0 */
    BlkStats stats;            /* written by the loop alone, read by anyone */
    unsigned refs;             /* the node's list and drains on their way; atomic */
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

extern const BlkDriver blk_file, blk_host_device, blk_raw, blk_qcow2, blk_null_co, blk_null_aio, blk_nbd,
                       blk_throttle, blk_luks, blk_blkdebug, blk_blkverify, blk_blklogwrites,
                       blk_copy_on_read, blk_compress, blk_copy_before_write, blk_snapshot_access,
                       blk_snapshot_reader, blk_preallocate, blk_gone;

/* zeroes.c */

/* True if @buf is all zeroes. */
bool blk_is_zero(const void *buf, uint64_t len);
/* The flags of a request for zeroes at @n in the place of a write with @flags. */
unsigned blk_zero_flags(const BlkNode *n, unsigned flags);
/* @r, a write at @l, is all zeroes: it becomes a request for zeroes, which ends it.  False: it is not. */
bool blk_zeroes_instead(BlkLane *l, BlkReq *r);

/* request.c */

/* On r->loop: @r, which the filter at r->at took, goes on to the child at the same place. */
void blk_pass_down(BlkReq *r);
/* On r->loop: @r goes on, which the limits of its device held back. */
void blk_throttled_go(BlkReq *r);

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
/* Drops the state of @l with its engines, and @l's lanes (NULL: all) of node @n; their sums stay. */
void blk_loop_drop(Loop *l);
void blk_lanes_drop(BlkNode *n, const Loop *l);
/* Waits until blk_wake() was called after @seq was read from n->wakes.  False: this thread must not wait, see
 * pool_wait_begin(). */
bool blk_wait_woken(BlkNode *n, uint64_t seq);
/* A request with @key in a format's own reckoning is out of the way.  Any thread. */
void blk_wake(BlkNode *n, uint64_t key);
/* Calls g->over, on any thread and at once if there are none, when every request that is in flight at @n, a
 * loop's or a blocking one, has left it, but for flushes and what is still throttled.  One at a time for a
 * node. */
void blk_grace(BlkNode *n, BlkGrace *g);
/* A blocking transfer through the graph, for blk_pread() and for formats on the pool. */
int blk_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len);

/* walk.c: encrypted nodes */

#define BLK_CRYPT_PIECE MiB    /* most bytes in one buffer, what is copied with them aside */
#define BLK_GATE_KEY UINT64_MAX        /* of blk_wake() */

/* Would @op change part of a sector?  Then it enters the gate (false: somebody is in it; wait for
 * BLK_GATE_KEY) and leaves it at its end. */
bool blk_gate_needed(const BlkNode *n, BlkOp op, uint64_t off, uint64_t len);
bool blk_gate_enter(BlkNode *n);
void blk_gate_leave(BlkNode *n);
/* Lets what is written around @len encrypted bytes reach to whole sectors. */
void blk_whole_sectors(Extent *e, uint64_t len);

/* bitmap.c */

/* [@off, @off + @len) is about to change: marks it in the bitmaps of @n, which has some.  Any thread. */
void blk_bitmaps_mark(BlkNode *n, uint64_t off, uint64_t len);
/* @n is about to have @size bytes. */
void blk_bitmaps_resize(BlkNode *n, uint64_t size);
void blk_bitmaps_free(BlkNode *n);
/* A bitmap as an image has it, no bits set, not recording; @broken: inconsistent.  NULL: it would have too
 * many bits. */
struct BlkBitmap *blk_bitmap_make(BlkNode *n, const char *name, unsigned bits, bool persistent, bool broken);

/* snapshot.c: an empty list of BlkSnapshot, and what one of them owns. */

GArray *blk_snapshots_new(void);
void blk_snapshot_clear(BlkSnapshot *s);
/* blk_submit() from within the layer, for a request that is under way: it does not wait for changes. */
void blk_submit_below(BlkNode *n, BlkReq *r);
/* And blk_user_visit(). */
void blk_visit_below(BlkNode *n, BlkReq *r, void (*visit)(BlkReq *r, BlkNode *n));
/* On r->loop: starts @r, which had to wait, on @n or where its user is now. */
void blk_submit_held(BlkNode *n, BlkReq *r);

/* The loop on which blocking requests go through filters, and jobs copy; open makes it at need. */
bool blk_bridge_open(Error **errp);
Loop *blk_bridge_loop(void);

/* graph.c */

/* A write up to @end passes n->threshold: tells, once.  Any thread. */
void blk_threshold_hit(BlkNode *n, uint64_t end);

/* True: @r waits until the change of @n is over. */
bool blk_hold_back(BlkNode *n, BlkReq *r);
/* A change of the graph that has waited for @n, or had it, is over.  True: it was the last, and whoever calls
 * closes @n. */
bool blk_unpin(BlkNode *n);
/* @n is being closed. */
void blk_hold_forget(BlkNode *n);

/* node.c */

/* blk_open() of a node that lives as long as it is used. */
BlkNode *blk_open_inner(const BlkOptions *o, Error **errp);
/* Makes @child the storage below (or, by backing_use, what is behind) @n; unlink closes it if it lives for
 * its users alone and that was the last one. */
bool blk_link(BlkNode *n, BlkUser *u, BlkNode *child, unsigned need, unsigned share, Error **errp);
void blk_unlink(BlkUser *u);
/* Opens or finds the other node that @o names, and makes it one that @n uses by @u. */
bool blk_link_other(BlkNode *n, BlkUser *u, const BlkOptions *o, Error **errp);
/* Takes the users off @from, but for those that stay and @above itself (NULL: none), or (if given) @only that
 * node; their rights still count until blk_users_settle(@from).  False if one cannot be moved. */
bool blk_users_take(BlkNode *from, const BlkNode *above, const BlkNode *only, GPtrArray *users, Error **errp);
/* The same with @u alone. */
bool blk_user_take(BlkUser *u, GPtrArray *users, Error **errp);
/* Makes @users, taken off another node, users of @to; on failure none is. */
bool blk_users_give(GPtrArray *users, BlkNode *to, Error **errp);
void blk_users_settle(BlkNode *from);
/* snapshot-access.c: @n, or the source of the backup whose reader it is. */
BlkNode *blk_past_reader(BlkNode *n);
/* A job writes to @base, which is behind @n and the layers between them: they let it, or no more. */
void blk_backing_written(BlkNode *n, BlkNode *base, bool on);
/* Adds a driver beside the built-in ones: for tests. */
void blk_add_driver(const BlkDriver *d);
/* Lets requests from above reach up to @to, past the end of a node that can grow.  Who will do so later, when
 * requests are under way, calls it once before there are any.  Any thread. */
void blk_grow(BlkNode *n, uint64_t to);
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
