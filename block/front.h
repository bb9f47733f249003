/* front.h: what the control plane and the user's wishes see of a device that shows a node to the guest:
 * where it is, what a failed request does, how the last one ended, its tray.
 *
 *   request fails --blk_front_error--> report, ignore: the device answers the guest
 *                                  \-> stop: the device keeps the request until the machine runs again
 *
 * 1. A front is embedded in its device and listed from blk_front_open() to blk_front_close(), on
 *    control.  Policies do not change in between.
 * 2. blk_front_error() may be called on any thread; io_status is the only field it writes.
 * 3. What counts in the statistics of a device is decided here: of a request that failed the time only
 *    where account_failed is on, of one that made no sense the moment only where account_invalid is. */
#ifndef BLOCK_FRONT_H
#define BLOCK_FRONT_H

#include "block/block.h"
#include "util/epoch.h"

typedef struct BlkFront BlkFront;

/* What a front does about an error. */
typedef enum BlkErrorAction { BLK_ERROR_IGNORE, BLK_ERROR_REPORT, BLK_ERROR_STOP } BlkErrorAction;

/* How the last request that stopped the machine failed. */
typedef enum BlkIoStatus { BLK_IO_OK, BLK_IO_FAILED, BLK_IO_NOSPACE } BlkIoStatus;

/* What is timed apart. */
typedef enum BlkTimed { BLK_TIMED_READ, BLK_TIMED_WRITE, BLK_TIMED_FLUSH, BLK_TIMED_KINDS } BlkTimed;

/* How many requests took how long. */
typedef struct BlkHistogram {
    unsigned count;            /* of bounds; bins are one more */
    uint64_t *bounds, *bins;   /* bin i: below bounds[i] ns, not below the one before; bins are atomic */
    EpochItem epoch;
} BlkHistogram;

/* How a medium comes and goes.  @is_open and @is_locked are NULL where it is put into a slot: nothing keeps
 * it there, open() and close() do nothing. */
typedef struct BlkTrayOps {
    /* Opens the tray; with @force even when the guest has locked it.  False: *errp is set; the guest
     * was asked instead when it has locked it. */
    CTX_CONTROL bool (*open)(BlkFront *f, bool force, Error **errp);
    CTX_CONTROL void (*close)(BlkFront *f);
    CTX_ANY bool (*is_open)(const BlkFront *f);
    CTX_ANY bool (*is_locked)(const BlkFront *f);
    /* Puts @n in place of the medium; the tray is open, or there is no medium.  NULL takes it out in any
     * case. */
    CTX_CONTROL bool (*change)(BlkFront *f, BlkNode *n, Error **errp);
    bool writes;               /* a medium may be written */
} BlkTrayOps;

struct BlkFront {
    const char *id;            /* the device's id, or NULL; borrowed while open */
    char *qdev;                /* id or path, as clients name it; owned */
    char *drive;               /* id of the -drive it was made for, or ""; owned; atomic */
    char *lost;                /* the same once drive_del has taken that drive from it; owned */
    BlkNode *node;             /* NULL: no medium; atomic */
    bool removable;
    BlkOnError rerror, werror;         /* never AUTO while open */
    BlkAccount account_failed, account_invalid;        /* the same */
    const BlkTrayOps *tray;    /* NULL: no tray */
    struct ThrottleMember *throttle;   /* limits that hold, see throttle.h; NULL: none; atomic */

    /* Private to block/ from here. */
    unsigned io_status;        /* BlkIoStatus; atomic */
    int64_t last;              /* CLOCK_HOST at the end of the last request that counts; 0: none; atomic */
    uint64_t invalid[BLK_OPS]; /* requests that made no sense; atomic */
    struct BlkHistogram *histograms[BLK_TIMED_KINDS];        /* epoch; by BlkTimed */
    struct BlkTimedStats *timed;       /* of its -drive's intervals; NULL: it has none */
    struct ThrottleMember *member;     /* once it had limits */
    BlkFront *next;
};

/* Whoever tells people of errors; any thread.  @node may be NULL. */
typedef void BlkErrorListener(const BlkFront *f, const BlkNode *node, bool read, BlkErrorAction action,
                              int err);

/* Whoever tells people that a tray was moved; any thread. */
typedef void BlkTrayListener(const BlkFront *f, bool open);

/* Names of BlkOnError in its order, NULL-terminated. */
extern const char *const blk_on_error_names[];

/* Lists @f, whose first fields are set: @qdev is taken.  Policies that are AUTO become what the node's
 * -drive said, or the defaults.  @node may be NULL; of an empty -drive, only its name and words are taken. */
CTX_CONTROL void blk_front_open(BlkFront *f, BlkNode *node, const char *id, char *take_qdev);
/* Nothing happens if it is not listed. */
CTX_CONTROL void blk_front_close(BlkFront *f);
/* The -drive of @f is no longer its; nobody else can have the id as long as @f is there. */
CTX_CONTROL void blk_front_lose_drive(BlkFront *f);
/* True if a front lost -drive @drive. */
CTX_CONTROL bool blk_front_lost(const char *drive);
/* The front after @f in the order of opening; the first for NULL. */
CTX_CONTROL BlkFront *blk_front_next(const BlkFront *f);
/* The front whose device has @id or path, or NULL. */
CTX_CONTROL BlkFront *blk_front_find(const char *qdev);
/* The user by which @f uses its node, or NULL: it has none. */
CTX_CONTROL BlkUser *blk_front_user(const BlkFront *f);
/* The front made for -drive @drive, or NULL. */
CTX_CONTROL BlkFront *blk_front_of_drive(const char *drive);

/* Decides about a request of @f to @node that failed with @err, a negative errno, and tells the listener.
 * After BLK_ERROR_STOP the caller asks the machine to stop. */
CTX_ANY BlkErrorAction blk_front_error(BlkFront *f, const BlkNode *node, bool read, int err);
/* True if an error can ever mean BLK_ERROR_STOP. */
CTX_ANY bool blk_front_may_stop(const BlkFront *f);
CTX_ANY BlkIoStatus blk_front_io_status(const BlkFront *f);
/* Counts from now on how long requests of @what take, in bins between @bounds (copied); NULL: no more.
 * False: they do not rise from above 0. */
CTX_CONTROL bool blk_front_histogram(BlkFront *f, BlkTimed what, const uint64_t *bounds, unsigned count);
/* A request of @f took @ns until @now (CLOCK_HOST), and @failed or did not.  False: its time is not to be
 * counted. */
CTX_LOOP bool blk_front_account(BlkFront *f, BlkOp op, int64_t ns, int64_t now, bool failed);
/* A request of the guest made no sense: the device answered it itself. */
CTX_ANY void blk_front_invalid(BlkFront *f, BlkOp op);
/* Ns since the end of the last request that counts; negative: there was none. */
CTX_ANY int64_t blk_front_idle(const BlkFront *f, int64_t now);
/* All fronts are well again: the machine goes on. */
CTX_CONTROL void blk_fronts_reset_status(void);
CTX_CONTROL void blk_set_error_listener(BlkErrorListener *l);
CTX_CONTROL void blk_set_tray_listener(BlkTrayListener *l);
/* The device says that its tray was opened or closed. */
CTX_ANY void blk_front_tray_moved(const BlkFront *f, bool open);

#endif
