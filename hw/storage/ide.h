/* ide.h: drives on the slot "ide", the commands that run on them, and what a controller must give
 * them.
 *
 *   controller               engine (ide.c)                     drive type (ata.c, atapi.c)
 *   ide_cmd_start(cmd) ----> ops->start ----------------------> decodes; ide_read(), ide_reply()
 *   ops->map  <------------- needs the guest's memory
 *   ops->drq  <------------- buf has bytes for the guest, or wants some
 *   ops->done <------------- ide_finish(), ide_fail() <-------- ...
 *   ops->stopped <---------- a request failed where rerror or werror says stop
 *
 * 1. A drive shares the domain of its controller.  Everything here runs under it, except that a
 *    request is handed to the block layer, and comes back, on the controller's device loop with
 *    nothing held; and the medium and its tray, which have a lock of their own (medium.h).
 * 2. A command is in one IdePhase.  Only IDE_WORK counts as busy in its IdeHost: a controller is
 *    quiet when no command works.  A command in any other phase waits for the guest and is saved as
 *    it is.
 * 3. ops->done may be called before ide_cmd_start() returns.
 * 4. An orphan is a command its controller has given up (reset, stop) while the host still works on
 *    it: its memory stays pinned until then, nothing of it reaches the guest's registers, and
 *    ops->dropped tells when it is over. */
#ifndef HW_STORAGE_IDE_H
#define HW_STORAGE_IDE_H

#include "block/front.h"
#include "core/dma.h"
#include "core/state.h"
#include "hw/scsi/medium.h"

typedef struct IdeHost IdeHost;
typedef struct IdeCmd IdeCmd;
typedef struct IdeDrive IdeDrive;

#define IDE_SECTOR 512
#define IDE_UNITS 2
#define IDE_IOV 200            /* pieces of guest memory a request has at most */
#define IDE_CHUNK (UINT64_C(2) << 20)      /* bytes a request has at most */
#define IDE_BUF 65536          /* bytes of IdeCmd.buf */
#define IDE_MULT_MAX 16        /* sectors per interrupt of READ MULTIPLE */

/* Status and error registers (ATA8-ACS, 6.1 and 6.4). */
enum {
    IDE_BSY = 0x80, IDE_DRDY = 0x40, IDE_DF = 0x20, IDE_DSC = 0x10, IDE_DRQ = 0x08, IDE_ERR = 0x01,
    IDE_E_UNC = 0x40, IDE_E_IDNF = 0x10, IDE_E_ABRT = 0x04,
};
/* Device register. */
enum { IDE_DEV_LBA = 0x40, IDE_DEV_1 = 0x10 };
/* Interrupt reason: the count register of ATAPI commands. */
enum { IDE_CD = 1, IDE_IO = 2 };
/* Signatures: count, lba low, mid, high. */
#define IDE_SIG_ATA 0x00000101u
#define IDE_SIG_ATAPI 0xeb140101u

typedef enum IdePhase {
    IDE_IDLE,                  /* not in use, or over */
    IDE_WORK,                  /* the block layer works on it */
    IDE_WAIT,                  /* map said -EAGAIN: waits for ide_cmd_kick() */
    IDE_IN,                    /* the guest is to read buf[at..end) */
    IDE_OUT,                   /* the guest is to fill buf[at..end) */
    IDE_STOPPED,               /* its request failed: waits for ide_cmd_again() */
    IDE_PHASES,
} IdePhase;

typedef enum IdeStep {
    IDE_NO_DATA,               /* a request without data; ops->next when it is done */
    IDE_READ, IDE_WRITE,       /* between storage and guest */
    IDE_REPLY,                 /* buf goes to the guest */
    IDE_PARAM,                 /* buf comes from the guest; then ops->param */
    IDE_PACKET,                /* the packet comes from the guest; then ops->packet */
    IDE_STEPS,
} IdeStep;

typedef struct IdeHostOps {
    /* The guest's memory for up to @n more bytes of @c's data, pinned: returns entries of @iov, at
     * most @max, and *@got bytes.  -EAGAIN: not now, ide_cmd_kick() will follow; -ENOSPC: the guest
     * gave less memory than the command has data; -EFAULT: what it gave is not RAM. */
    int (*map)(IdeCmd *c, size_t n, DmaDir dir, struct iovec *iov, unsigned max, size_t *got);
    /* @c is in IDE_IN or IDE_OUT (never with direct): ide_cmd_moved() follows when the guest has
     * done its part.
     * @irq: the guest is to be told. */
    void (*drq)(IdeCmd *c, bool irq);
    void (*done)(IdeCmd *c);
    /* A request of @c failed and the machine stops: @c is IDE_STOPPED, as if the request had not been
     * made; what map gave for it is to be given again.  In resume the controller calls ide_cmd_again(),
     * or it cancels the command now and starts it anew then. */
    void (*stopped)(IdeCmd *c);
    /* An orphan is over. */
    void (*dropped)(IdeCmd *c);
    /* A drive appeared on a machine that has been reset. */
    void (*plugged)(IdeHost *h, IdeDrive *d);
} IdeHostOps;

/* A controller's side; embedded. */
struct IdeHost {
    Device *dev;               /* the controller: domain, DMA, loop */
    const IdeHostOps *ops;
    bool sata;
    unsigned busy;             /* commands in IDE_WORK; guarded by the domain */
    Barrier *home;             /* left when busy becomes 0 */
};

/* What Bus.priv of an ide bus points to; embedded in the controller. */
typedef struct IdeBus {
    IdeHost *host;
    unsigned index;            /* the controller's number for it */
    unsigned number;           /* N of the name "ide.N", or index */
    Bus *bus;
    IdeDrive *drives[IDE_UNITS];
} IdeBus;

/* A command, embedded in the controller's own structure.  The controller fills the first group,
 * zero for the rest, and keeps @buf. */
struct IdeCmd {
    IdeHost *host;
    IdeDrive *drive;
    bool direct;               /* data goes by map, not through buf and drq */
    bool queued;               /* came with a tag (NCQ) */
    bool has_packet;           /* cdb is there already */
    uint8_t tag;
    uint8_t command, device;   /* in; device also out */
    uint16_t feature, count;   /* in; count also out */
    uint64_t lba;              /* in and out: 48 bits */
    uint8_t cdb[16];

    uint8_t status, error;     /* out */
    bool pio_in;               /* out: PIO data-in: its blocks tell the guest, its end does not */
    int dma_error;             /* out: -ENOSPC or -EFAULT of map */
    uint64_t moved;            /* bytes of data so far */
    bool orphan;               /* set by the controller, see 4 */

    /* the engine's */
    uint8_t phase, step;
    unsigned user;             /* of the medium, while a request claims it */
    bool fua, asked;
    uint64_t off, left;        /* storage: next byte, bytes to go; buf: left only */
    uint32_t at, end, total, drq;      /* of buf: window shown, bytes in all, bytes per window */
    uint8_t ask;               /* IDE_NO_DATA: the BlkOp, and its range */
    uint64_t ask_off, ask_len;
    uint32_t item;             /* the drive's own: TRIM's range */
    uint64_t first;            /* the drive's own: where the command began, in bytes */
    uint8_t *buf;              /* IDE_BUF bytes, made on first use */
    GByteArray *saved;         /* buf[0..total), for the state table */
    unsigned niov;
    BlkReq req;
    Post post;
    struct iovec iov[IDE_IOV];
};

/* Of a controller that saves commands in other phases than IDE_IDLE.  The controller sets host,
 * drive, direct (by its own knowledge) again in its check. */
extern const StateDesc ide_cmd_state;

/* slot_ops of the drive types.  All under the domain. */
typedef struct IdeDriveOps {
    bool atapi;
    uint32_t signature;
    void (*start)(IdeCmd *c);
    void (*packet)(IdeCmd *c);         /* c->cdb is there */
    void (*param)(IdeCmd *c);          /* buf[0..total) is there */
    void (*next)(IdeCmd *c);           /* an IDE_NO_DATA request succeeded */
    void (*ended)(IdeCmd *c);          /* all data has moved; finishes the command */
    void (*failed)(IdeCmd *c, int err);        /* a request failed with a negative errno */
    void (*srst)(IdeDrive *d);         /* bus or software reset of the drive */
} IdeDriveOps;

/* What a disk remembers (ata.c). */
typedef struct AtaState {
    uint8_t mult, xfer_mode, features;
    bool write_cache, look_ahead, smart, standby;
    uint16_t heads, sectors;           /* geometry INITIALIZE DEVICE PARAMETERS set */
    uint8_t ncq_log[16]; /* registers of the queued command that failed; [0] bit 7: none */
} AtaState;

/* What a CD-ROM drive remembers (atapi.c). */
typedef struct AtapiState {
    uint8_t key, asc, ascq;            /* the sense data of the last command */
    uint8_t xfer_mode;
} AtapiState;

struct IdeDrive {
    Device dev;
    IdeBus *bus;
    uint32_t cyls_default;
    AtaState ata;
    AtapiState cd;
    Medium medium;
    /* properties */
    void *drive;
    char *serial, *model, *ver;
    uint32_t unit;
    int32_t bootindex, write_cache, rerror, werror, account_invalid, account_failed,
        backend_defaults;
    uint64_t wwn, logical, physical, discard_granularity, min_io, opt_io;
    bool share_rw;
    uint16_t rotation_rate;
    uint32_t cyls, heads, secs, lcyls, lheads, lsecs;
    int32_t chs_trans;
};

extern const SlotType ide_slot;
extern const DeviceType ide_hd_type, ide_cd_type;

static inline const IdeDriveOps *ide_ops(const IdeDrive *d)
{
    return d->dev.type->slot_ops;
}

/* --- for controllers --- */
/* Makes bus @b number @index of @h with room for @units drives: "ide.N", or after a user's id. */
CTX_CONTROL void ide_bus_init(IdeBus *b, IdeHost *h, unsigned index, unsigned units);
/* Runs @c, whose first group is filled and whose phase is IDE_IDLE. */
CTX_DOMAIN void ide_cmd_start(IdeCmd *c);
/* Memory for the data of @c (in IDE_WAIT) is there now. */
CTX_DOMAIN void ide_cmd_kick(IdeCmd *c);
/* @c, in IDE_STOPPED, makes its request again. */
CTX_DOMAIN void ide_cmd_again(IdeCmd *c);
/* The guest has read or filled buf[at..end). */
CTX_DOMAIN void ide_cmd_moved(IdeCmd *c);
/* Gives @c up: true: it is over at once; false: ops->dropped follows. */
CTX_DOMAIN bool ide_cmd_cancel(IdeCmd *c);
/* Frees what @c owns; it is IDE_IDLE. */
CTX_CONTROL void ide_cmd_free(IdeCmd *c);
/* In quiesce: leaves @home when no command works. */
CTX_DOMAIN void ide_host_quiesce(IdeHost *h, Barrier *home);

/* --- for drive types --- */
/* Moves @len bytes at @off between storage and guest.  @drq: bytes per block of a PIO transfer. */
CTX_DOMAIN void ide_read(IdeCmd *c, uint64_t off, uint64_t len, uint32_t drq);
CTX_DOMAIN void ide_write(IdeCmd *c, uint64_t off, uint64_t len, uint32_t drq, bool fua);
/* A zeroed buffer of IDE_BUF bytes. */
CTX_DOMAIN uint8_t *ide_buf(IdeCmd *c);
/* Sends buf[0..n), n up to IDE_BUF. */
CTX_DOMAIN void ide_reply(IdeCmd *c, uint32_t n, uint32_t drq);
/* Takes @n bytes into buf, then ops->param. */
CTX_DOMAIN void ide_take(IdeCmd *c, uint32_t n, uint32_t drq);
/* Takes the packet into cdb, then ops->packet. */
CTX_DOMAIN void ide_take_packet(IdeCmd *c);
/* A request without data, then ops->next. */
CTX_DOMAIN void ide_request(IdeCmd *c, BlkOp op, uint64_t off, uint64_t len);
CTX_DOMAIN void ide_finish(IdeCmd *c);
CTX_DOMAIN void ide_fail(IdeCmd *c, uint8_t error);

/* In realize: attaches to the medium, if there is one.  @write: it is to be written. */
CTX_CONTROL bool ide_drive_open(IdeDrive *d, bool write, Error **errp);
CTX_CONTROL void ide_drive_close(IdeDrive *d);

#endif
