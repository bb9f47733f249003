/* medium.h: the node a drive shows to the guest, which may be taken out and changed while requests to the
 * old one are under way, and its tray.
 *
 *   medium_claim --> requests to users[which] --> medium_release      medium_change: the other one is current
 *
 * 1. Everything but the node's users is guarded by @lock, so that any number of loops may use a medium; what
 *    is under it never waits.
 * 2. A user is detached, on control, when it is not current and no claim of it is left. */
#ifndef HW_SCSI_MEDIUM_H
#define HW_SCSI_MEDIUM_H

#include "block/front.h"
#include "hw/scsi/mmc.h"

typedef struct Medium Medium;

/* What happened to a medium, for its drive; on control, with nothing held.  Any may be NULL. */
typedef struct MediumOps {
    void (*resized)(Medium *m);
    void (*inserted)(Medium *m);       /* the guest sees another one now, or none */
} MediumOps;

struct Medium {
    Device *dev;
    const MediumOps *ops;
    bool write, share_rw;
    bool no_tray;              /* a slot: media come and go at any time, and may be read-only */
    Lock lock;
    MmcTray tray;              /* lock */
    BlkNode *node;             /* lock; NULL: none */
    uint64_t size;             /* lock; of @node in bytes */
    unsigned current;          /* lock; of users */
    unsigned in_use[2];        /* lock; claims, by user */
    BlkUser users[2];
    bool held[2];              /* users that are attached; control */
    BlkFront front;
};

/* In realize: attaches to @n (NULL: no medium), to write it if m->write is set, and lists the front.
 * m->dev, write, share_rw, no_tray and front's policies are set. */
CTX_CONTROL bool medium_open(Medium *m, BlkNode *n, bool removable, const MediumOps *ops, Error **errp);
CTX_CONTROL void medium_close(Medium *m);
/* The tray closed and unlocked, or (@keep_open) as it is. */
CTX_ANY void medium_reset(Medium *m, bool keep_open);
/* The user to send requests to, until medium_release(); false: there is no medium, or its tray is open. */
CTX_ANY bool medium_claim(Medium *m, unsigned *which);
CTX_ANY void medium_release(Medium *m, unsigned which);
/* Bytes of the medium; 0: none, or in an open tray. */
CTX_ANY uint64_t medium_size(Medium *m);
/* True if the tray is open. */
CTX_ANY bool medium_is_out(Medium *m);
/* True if the guest keeps the tray from opening. */
CTX_ANY bool medium_is_locked(Medium *m);
/* True if the medium that is claimed as @which takes no writes. */
CTX_ANY bool medium_is_read_only(Medium *m, unsigned which);
/* Takes the note that the medium was changed, for a UNIT ATTENTION. */
CTX_ANY bool medium_take_attention(Medium *m);
/* Runs an MMC command on the drive, if there is the medium it needs, and tells of a moved tray. */
CTX_ANY MmcResult medium_command(Medium *m, uint8_t interface, const uint8_t *cdb, MmcAnswer *a);

#endif
