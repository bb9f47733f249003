/* scsi.h: SCSI devices (SAM-5, SPC-4, SBC-3, MMC-5) on the slot "scsi", and what a host adapter gives them.
 *
 *   adapter                     core (bus.c)                      device (disk.c, pages.c, mmc.c)
 *   scsi_cmd_start(cmd) ------> finds the logical unit, tells --> decodes the CDB
 *                               what it has to hear first
 *   ops->take, put, map <------ the guest's data, inside scsi_cmd_start() only
 *   ops->done  <--------------- status, sense, bytes moved
 *   ops->stopped <------------- a request failed where rerror or werror says stop
 *
 * 1. Commands run on the loop they are started on, any number of loops at once, with no domain; what units
 *    remember is atomic or under the medium's lock.
 * 2. Every command ends once, by done or stopped, perhaps inside scsi_cmd_start().  A stopped one has had
 *    no effect that making it again, from the beginning, would not have.
 * 3. Units come and go on control.  A loop finds them in a table that is replaced as a whole; a unit goes
 *    when a grace period has passed and its last command has ended. */
#ifndef HW_SCSI_SCSI_H
#define HW_SCSI_SCSI_H

#include "core/dma.h"
#include "core/state.h"
#include "hw/scsi/medium.h"

typedef struct ScsiBus ScsiBus;
typedef struct ScsiCmd ScsiCmd;
typedef struct ScsiDev ScsiDev;

#define SCSI_CDB 16            /* bytes of a CDB that are looked at */
#define SCSI_CHUNK (UINT64_C(1) << 20)         /* bytes of a buffer that a command has of its own */
#define SCSI_UNMAPS 255        /* descriptors of UNMAP at most */

typedef enum ScsiResult {
    SCSI_DONE,                 /* status and sense tell */
    SCSI_NO_TARGET,            /* nobody there */
    SCSI_OVERRUN,              /* the data buffer is smaller than what the CDB says */
    SCSI_FAILURE,              /* the data buffer cannot be used */
} ScsiResult;

enum { SCSI_GOOD = 0x00, SCSI_CHECK_CONDITION = 0x02 };

typedef struct ScsiHostOps {
    /* Copies the next bytes to the guest, or from it; returns how many there was room for. */
    size_t (*put)(ScsiCmd *c, const void *buf, size_t n);
    size_t (*take)(ScsiCmd *c, void *buf, size_t n);
    /* The guest's memory for the next @n bytes, pinned until done or stopped: entries of *@iov, or a
     * negative errno. */
    int (*map)(ScsiCmd *c, size_t n, DmaDir dir, const struct iovec **iov);
    void (*done)(ScsiCmd *c);
    void (*stopped)(ScsiCmd *c);
    /* On control, nothing held; of a running machine: a unit came, or went, or has something to say. */
    void (*came)(ScsiBus *b, const ScsiDev *d);
    void (*left)(ScsiBus *b, const ScsiDev *d);
    void (*says)(ScsiBus *b, const ScsiDev *d, ScsiSense s);
} ScsiHostOps;

/* What Bus.priv of a SCSI bus points to; embedded in the adapter. */
struct ScsiBus {
    Device *host;
    const ScsiHostOps *ops;
    unsigned targets, luns;    /* how many there may be */
    Bus *bus;
    struct ScsiTable *table;   /* epoch */
};

/* A command, embedded in the adapter's own structure.  The adapter fills the first group. */
struct ScsiCmd {
    ScsiBus *bus;
    Loop *loop;
    uint32_t target, lun;
    uint8_t cdb[SCSI_CDB];
    uint64_t room_in, room_out;        /* bytes of the guest's buffers: to it, from it */

    ScsiResult result;         /* out */
    uint8_t status;
    ScsiSense sense;
    uint64_t moved;            /* bytes of data */

    /* the core's own */
    ScsiDev *dev;
    bool claimed;
    unsigned user;             /* of the medium, while claimed */
    BlkReq req;
    void (*next)(ScsiCmd *c);  /* after a request without errors */
    struct iovec one;
    uint8_t *buf;              /* a buffer of its own, */
    const struct iovec *iov;   /* and what the guest sent */
    unsigned niov, item, items;
    uint64_t off, left, skip;  /* bytes */
};

/* Conditions a unit has to tell of: bits of ScsiDev.attention, the most urgent first. */
enum {
    SCSI_UA_POWER_ON, SCSI_UA_BUS_RESET, SCSI_UA_DEVICE_RESET, SCSI_UA_LUNS, SCSI_UA_CAPACITY, SCSI_UAS,
};

struct ScsiDev {
    Device dev;
    ScsiBus *bus;
    Medium medium;
    uint8_t attention;         /* atomic */
    bool wce;                  /* atomic: the write cache is on */
    bool read_only;
    /* in_use: the commands under way, and 1 while awake; home: left when it becomes 0; both atomic */
    unsigned in_use;
    bool awake;
    Barrier *home;
    /* properties */
    uint32_t channel, id, lun;
    void *drive;
    char *serial, *vendor, *product, *ver, *device_id;
    uint64_t wwn, port_wwn, logical, physical, min_io, opt_io, discard_granularity, max_unmap, max_io;
    uint16_t port_index, rotation_rate;
    int32_t scsi_version, bootindex, write_cache, rerror, werror, account_invalid, account_failed,
        backend_defaults;
    bool share_rw, removable, dpofua, quirk_vendor_page, quirk_apple_vendor, quirk_truncated, quirk_dbd;
    uint32_t cyls, heads, secs, lcyls, lheads, lsecs;
};

extern const SlotType scsi_slot;
extern const DeviceType scsi_hd_type, scsi_cd_type;

/* --- for adapters --- */
/* In realize: makes the bus of @host, "scsi.N", or after the id of @named; takes hot-plug. */
CTX_CONTROL void scsi_bus_init(ScsiBus *b, Device *host, const Device *named, const ScsiHostOps *ops,
                               unsigned targets, unsigned luns);
/* Every unit is reset, and tells it as @why (a bit's number). */
CTX_DOMAIN void scsi_bus_reset(ScsiBus *b, unsigned why);
/* The same for the units of one target; in an epoch section. */
CTX_ANY void scsi_target_reset(ScsiBus *b, uint32_t target, unsigned why);
/* In unrealize: the bus is empty. */
CTX_CONTROL void scsi_bus_free(ScsiBus *b);
/* The unit is reset, and tells it as @why. */
CTX_ANY void scsi_dev_reset(ScsiDev *d, unsigned why);
/* The unit at @target and @lun, valid in the current epoch section, or NULL; *@target_there: whether any unit
 * of the target is. */
CTX_ANY ScsiDev *scsi_find(const ScsiBus *b, uint32_t target, uint32_t lun, bool *target_there);
/* Runs @c, whose first group is filled. */
CTX_LOOP void scsi_cmd_start(ScsiCmd *c);

#endif
