/* nvme.h: an NVMe controller, its queues and namespaces, as the files nvme-*.c share them.
 *
 *   admin queue   registers --doorbell--> device loop, under the domain (nvme-admin.c)
 *   I/O queues    registers --doorbell, notifier or poll--> worker loop (nvme-queue.c, nvme-io.c)
 *
 * 1. The domain guards registers, features, events, and queue pair 0.  The worker owns every other queue
 *    from nvme_hand_over() until it came home; what creates, deletes or changes queues and namespaces
 *    does so under the domain and on the worker at once (loop_call_wait).
 * 2. A command is fetched only when its completion queue has room for its answer, so no answer waits.
 * 3. Doorbell values are atomics that the vCPU stores and the owner reads.
 * 4. A command whose request failed where the policy says stop is parked: it is begun again, from its
 *    beginning, when the machine goes on; it is part of the state.
 * 5. All that a guest can make the controller allocate is bounded by NVME_INFLIGHT and NVME_BOUNCES. */
#ifndef HW_STORAGE_NVME_H
#define HW_STORAGE_NVME_H

#include "block/front.h"
#include "core/iothread.h"
#include "core/machine.h"
#include "hw/pci/pci.h"
#include "hw/storage/nvme-spec.h"
#include "util/bytes.h"
#include "util/notifier.h"
#include "util/trace.h"

#define NVME_NS_MAX 256
#define NVME_INFLIGHT 4096                     /* I/O commands of a controller */
#define NVME_BOUNCES 32                        /* of them, with a buffer of */
#define NVME_BOUNCE 65536
#define NVME_CHUNK MiB                         /* bytes a block request has at most */
#define NVME_FEATURE_WORDS 32
#define NVME_TEMPERATURE 0x143                 /* kelvin */

typedef struct Nvme Nvme;
typedef struct NvmeNs NvmeNs;
typedef struct NvmeSq NvmeSq;
typedef struct NvmeReq NvmeReq;

/* --- where a command's data is (sections 4.3, 4.4) --- */
typedef struct NvmeData {
    Device *dev;
    uint64_t left;             /* bytes that are not in pieces yet */
    uint64_t page;             /* bytes */
    Iova at;                   /* the piece at hand */
    uint64_t len;
    bool sgl, first, last_segment;
    uint64_t prp1, prp2;
    uint64_t list;             /* PRP list entry, or SGL descriptor, to be read next; 0: none */
    uint32_t descriptors;      /* SGL: left in the segment */
    uint32_t seen;             /* SGL: read so far */
} NvmeData;

/* --- a command in flight --- */
struct NvmeReq {
    BlkReq r;
    Nvme *n;
    NvmeSq *sq;
    NvmeNs *ns;
    uint8_t cmd[NVME_SQE];
    NvmeData data;
    struct iovec *iov;
    unsigned niov, iov_cap;
    uint64_t off, left;        /* bytes of the namespace still to do */
    uint64_t chunk;            /* of them, in the block request */
    uint8_t *bounce;           /* NVME_BOUNCE bytes, or NULL */
    uint8_t *ranges;           /* of DSM and Copy, as the guest gave them */
    unsigned range, range_count;
    uint64_t dest;             /* Copy: where the next byte goes */
    bool writing;              /* Copy: the bounce buffer is full; Flush: unused */
    void (*step)(NvmeReq *q);  /* the block request succeeded */
    void (*begin)(NvmeReq *q); /* waits for a bounce buffer to do this */
    NvmeReq *next;
};

/* --- queues --- */
struct NvmeSq {
    Nvme *n;
    uint16_t id, cqid;
    bool used;                 /* exists */
    uint32_t size;             /* entries */
    Iova at;
    uint32_t head;
    uint32_t db;               /* atomic: the doorbell register */
    unsigned inflight;
    bool deleting;
    uint16_t delete_cid;       /* of the Delete command that waits */
    Notifier bell;             /* fd -1: none */
    bool watched;
};

typedef struct NvmeCq {
    uint16_t id, vector;
    bool used, ien;
    uint32_t size;
    Iova at;
    uint32_t tail;             /* atomic */
    bool phase;
    uint32_t db;               /* atomic: head, as the doorbell register has it */
    unsigned reserved;         /* commands in flight that will be answered here */
    unsigned sqs;              /* submission queues that use it */
    bool starved;              /* atomic: a submission queue waits for room */
} NvmeCq;

/* --- namespaces --- */
struct NvmeNs {
    Device *dev;               /* the device it belongs to: nvme-ns, or nvme itself */
    Nvme *n;                   /* NULL: not there yet */
    BlkUser user;
    BlkFront front;
    BlkNode *node;
    bool read_only;
    uint32_t nsid;
    uint8_t shift;             /* of the block size; changed by Format */
    uint8_t shift0;            /* what it was at power-on */
    bool attached, attached0;
    bool formatting;           /* I/O is refused meanwhile */
    unsigned inflight;         /* worker: commands */
    Barrier *home;             /* worker: left when that is 0 */
    uint64_t bytes;            /* atomic */
    uint32_t granularity;      /* of deallocation, bytes */
    uint8_t uuid[16];
    bool has_uuid;
    uint32_t error_recovery;   /* feature */
    uint64_t commands[2];      /* reads, writes; worker; atomic */
    /* properties: of nvme-ns, or of nvme for its own namespace */
    void *drive;
    uint64_t logical, physical, min_io, opt_io, discard_granularity;
    int32_t write_cache, rerror, werror, account_failed, account_invalid, backend_defaults, bootindex;
    bool share_rw;
    uint64_t eui64;
    uint16_t mssrl;            /* Copy: blocks of a range */
    uint32_t mcl;              /* Copy: blocks in all */
    uint8_t msrc;              /* Copy: ranges less one */
};

/* --- the controller --- */
struct Nvme {
    PciDevice p;
    Region bar, regs;
    Bus *bus;
    NvmeNs own;                /* the namespace that drive= makes */
    NvmeNs *ns[NVME_NS_MAX + 1];       /* by nsid; domain and worker */
    bool taken[NVME_NS_MAX + 1];       /* control: ids in use */
    IoThread *worker;
    NvmeSq *sqs;               /* by id, queue_max + 1 of them */
    NvmeCq *cqs;
    unsigned queue_max, vectors;
    uint32_t msix_at;

    /* domain */
    uint32_t cc, csts, aqa;
    uint64_t asq, acq;
    uint32_t intms;            /* atomic */
    uint64_t page;             /* bytes, of memory; the worker reads it and what follows */
    bool admin_only;           /* CC.CSS says: no I/O commands */
    uint64_t dbbuf, dbbuf_ei;  /* Doorbell Buffer Config; 0: none */
    uint32_t features[NVME_FEATURE_WORDS];
    uint16_t over, under;      /* temperature thresholds */
    uint64_t timestamp;        /* ms, as the host set it, */
    int64_t timestamp_at;      /* at this time of CLOCK_VM */
    uint8_t timestamp_set;
    uint8_t behavior[512];
    uint16_t aers[256];        /* ids of Asynchronous Event Requests that wait */
    uint32_t aer_count;
    uint32_t events[64];       /* what they will be told, first one first */
    uint32_t event_count;
    uint8_t event_masked;      /* types that were told and whose log was not read */
    uint8_t changed_ns[(NVME_NS_MAX + 8) / 8];
    bool failed;               /* atomic: CSTS.CFS; the worker sets it */
    bool admin_posted;         /* atomic */
    Post admin_post, quiet_post;
    unsigned admin_inflight;   /* block requests of admin commands and of a shutdown */
    bool shutting_down;        /* waits for flushes */
    bool format_active;        /* Format NVM is under way: */
    uint8_t format_cmd[NVME_SQE];
    uint32_t format_ns;        /* this namespace, */
    uint64_t format_off;       /* from here on */

    /* life of the worker's side; domain */
    bool handed, stopping, quiet;
    Barrier stop_home;
    Post stop_done;
    Barrier *quiet_home;       /* a quiesce that waits for the stop */
    Barrier *admin_home;       /* left when admin_inflight is 0 */
    Barrier *quiet_leave;      /* left by quiet_post */
    Barrier *home;             /* of the worker's coming home */
    Post start_post, stop_post;
    bool bells;

    /* worker */
    bool running, halting;
    bool polled;
    unsigned inflight;
    NvmeReq *free;             /* not more than were in flight at once */
    unsigned bounces;
    NvmeReq *bounce_first, *bounce_last;       /* wait for one */
    bool full;                 /* some queue was not fetched from: NVME_INFLIGHT */
    GQueue parked;             /* NvmeParked * */
    unsigned again;            /* the first ones of them, to be begun now */
    unsigned next_sq;          /* to be served first */
    bool kick_posted;          /* atomic */
    Post kick_post, deleted_post;
    bool deleted_posted;
    unsigned int_busy;
    /* state */
    GByteArray *saved, *saved_parked;

    /* properties */
    char *serial, *subsys, *pmrdev;
    void *iothread;
    uint32_t cmb_size_mb, max_ioqpairs, num_queues, aer_max_queued;
    uint16_t msix_qsize, sriov_vq_flexible, sriov_vi_flexible;
    uint8_t aerl, mdts, vsl, zasl, smart_critical_warning, sriov_max_vfs, sriov_max_vi, sriov_max_vq;
    bool use_intel_id, msix_exclusive_bar, ioeventfd, auto_transition;
};

/* What a command that waits for the machine to go on is kept as. */
typedef struct NvmeParked {
    uint16_t sq;
    uint8_t cmd[NVME_SQE];
} NvmeParked;

/* --- nvme.c --- */
/* The controller cannot go on until the host resets it: CSTS.CFS. */
CTX_ANY void nvme_fail(Nvme *n, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* A block request of an admin command or a shutdown is over. */
CTX_DOMAIN void nvme_admin_leave(Nvme *n);

static inline bool nvme_attached(const Nvme *n, uint32_t nsid)
{
    return nsid >= 1 && nsid <= NVME_NS_MAX && n->ns[nsid] && n->ns[nsid]->attached;
}

/* A command of @ns is begun; or over.  On the worker. */
static inline void nvme_ns_get(NvmeNs *ns)
{
    ns->inflight++;
}

static inline void nvme_ns_put(NvmeNs *ns)
{
    Barrier *home = ns->home;

    if (--ns->inflight == 0 && home) {
        ns->home = NULL;
        barrier_leave(home);
    }
}

/* --- nvme-data.c --- */
/* @len bytes at what PRPs or the SGL of @cmd say; NVME_OK, or a status. */
CTX_ANY uint16_t nvme_data_begin(NvmeData *d, Device *dev, const uint8_t *cmd, uint64_t page, uint64_t len,
                                 bool sgl_allowed);
/* Copies the next @n bytes; inside an epoch section. */
CTX_ANY uint16_t nvme_data_copy(NvmeData *d, void *buf, uint64_t n, DmaDir dir);
/* Maps the next q->chunk bytes into q->iov. */
CTX_LOOP uint16_t nvme_data_map(NvmeReq *q, DmaDir dir);

/* --- nvme-queue.c --- */
CTX_CONTROL void nvme_queues_init(Nvme *n);
CTX_CONTROL void nvme_queues_free(Nvme *n);
/* The worker serves the I/O queues from now on, if they may be served. */
CTX_DOMAIN void nvme_hand_over(Nvme *n);
/* Asks them back; @home, entered here, is left when none of their commands is in flight. */
CTX_DOMAIN void nvme_ask_back(Nvme *n, Barrier *home);
/* All queues are gone; the worker has them not. */
CTX_DOMAIN void nvme_queues_reset(Nvme *n);
/* A write of @val to the doorbell at @off of the doorbells. */
CTX_DOMAIN void nvme_doorbell(Nvme *n, uint64_t off, uint32_t val);
CTX_DOMAIN uint16_t nvme_create_sq(Nvme *n, const uint8_t *cmd);
CTX_DOMAIN uint16_t nvme_create_cq(Nvme *n, const uint8_t *cmd);
/* False: nothing to answer yet. */
CTX_DOMAIN bool nvme_delete_sq(Nvme *n, const uint8_t *cmd, uint16_t *status);
CTX_DOMAIN uint16_t nvme_delete_cq(Nvme *n, const uint8_t *cmd);
/* Puts queue pair 0 where AQA, ASQ and ACQ say. */
CTX_DOMAIN void nvme_admin_queue(Nvme *n);
CTX_ANY bool nvme_has_io_queues(const Nvme *n);
/* Shadow doorbells were set, or are gone. */
CTX_DOMAIN void nvme_set_dbbuf(Nvme *n, uint64_t dbs, uint64_t eis);
/* Fetches the next command of @sq, whose answer has room then.  The owner of the queue. */
CTX_ANY bool nvme_fetch(Nvme *n, NvmeSq *sq, uint8_t *cmd);
/* The admin completion queue has room for one more answer. */
CTX_DOMAIN bool nvme_admin_room(Nvme *n);
/* Answers a command that was fetched from @sq. */
CTX_ANY void nvme_post(Nvme *n, NvmeSq *sq, uint16_t cid, uint16_t status, uint32_t result);
/* INTx as the completion queues have it. */
CTX_ANY void nvme_update_intx(Nvme *n);
/* fn(arg) on the worker, which waits for it. */
CTX_ANY void nvme_on_worker(Nvme *n, void (*fn)(void *arg), void *arg);
/* The command of @q is over: answers it; @q is gone. */
CTX_LOOP void nvme_req_end(NvmeReq *q, uint16_t status, uint32_t result);
/* The command of @q is kept until the machine goes on; @q is gone. */
CTX_LOOP void nvme_req_park(NvmeReq *q);
/* begin(q), with q->bounce there; at once or later. */
CTX_LOOP void nvme_req_bounce(NvmeReq *q, void (*begin)(NvmeReq *q));
CTX_DOMAIN void nvme_save_queues(Nvme *n);
CTX_DOMAIN bool nvme_load_queues(Nvme *n, Error **errp);
CTX_DOMAIN void nvme_forget_parked(Nvme *n);

/* --- nvme-io.c --- */
/* Begins the command in q->cmd. */
CTX_LOOP void nvme_io_start(NvmeReq *q);

/* --- nvme-admin.c --- */
/* Serves the admin queue, on the device loop. */
CTX_DOMAIN void nvme_admin_run(Nvme *n);
/* Flushes the namespaces for a shutdown; nvme_admin_leave() follows for each. */
CTX_DOMAIN void nvme_flush_all(Nvme *n);
/* Begins the Format anew that was under way when the machine stopped. */
CTX_DOMAIN void nvme_format_again(Nvme *n);

/* --- nvme-identify.c --- */
/* Fills the 4096 bytes of @out as @cmd asks. */
CTX_DOMAIN uint16_t nvme_identify(Nvme *n, const uint8_t *cmd, uint8_t *out);

/* --- nvme-feature.c --- */
CTX_DOMAIN uint16_t nvme_set_feature(Nvme *n, const uint8_t *cmd, uint32_t *result);
CTX_DOMAIN uint16_t nvme_get_feature(Nvme *n, const uint8_t *cmd, uint32_t *result);
CTX_DOMAIN uint16_t nvme_get_log(Nvme *n, const uint8_t *cmd);
CTX_DOMAIN void nvme_features_reset(Nvme *n);
/* An Asynchronous Event Request came; false: it waits. */
CTX_DOMAIN bool nvme_aer(Nvme *n, uint16_t cid, uint16_t *status);
/* Ends the one with @cid, if it waits. */
CTX_DOMAIN bool nvme_aer_abort(Nvme *n, uint16_t cid);
/* Something happened that an Asynchronous Event Request may tell of. */
CTX_DOMAIN void nvme_event(Nvme *n, unsigned type, unsigned info, unsigned log);
/* Tells what waits for a request, or for room in the completion queue. */
CTX_DOMAIN void nvme_tell_events(Nvme *n);
/* Namespace @nsid is another than before. */
CTX_DOMAIN void nvme_ns_changed(Nvme *n, uint32_t nsid);

/* --- nvme-ns.c --- */
/* Opens @ns, whose properties are set, for @dev. */
CTX_CONTROL bool nvme_ns_open(NvmeNs *ns, Device *dev, Error **errp);
CTX_CONTROL void nvme_ns_close(NvmeNs *ns);
/* It is one of @n's from now on, or no more. */
CTX_CONTROL void nvme_ns_join(NvmeNs *ns, Nvme *n);
CTX_CONTROL void nvme_ns_leave(NvmeNs *ns);
CTX_ANY void nvme_ns_reset(NvmeNs *ns);
/* The power of two of the block size that LBA format @format has; 0: there is none. */
CTX_ANY uint8_t nvme_format_shift(const NvmeNs *ns, unsigned format);
extern const SlotType nvme_slot;

/* The properties of a disk that both devices have, in the struct @T at @ns. */
#define NVME_NS_PROPS(T, ns) \
    PROP_LINK(T, ns.drive, "drive", "blockdev", "Node name or ID of a block device to use as a backend"), \
    PROP_SIZE(T, ns.logical, "logical_block_size", 0, 0, 2 * MiB, "512 or 4096; 0: as the node has it"), \
    PROP_SIZE(T, ns.physical, "physical_block_size", 0, 0, 2 * MiB, \
              "A power of two between 512 B and 2 MiB; 0: as the node has it"), \
    PROP_SIZE(T, ns.min_io, "min_io_size", 0, 0, UINT32_MAX, "smallest request without a penalty"), \
    PROP_SIZE(T, ns.opt_io, "opt_io_size", 0, 0, UINT32_MAX, "request size that works best"), \
    PROP_SIZE(T, ns.discard_granularity, "discard_granularity", UINT32_MAX, 0, UINT32_MAX, \
              "alignment of deallocation; default: 4096, or more if the node has it"), \
    PROP_ENUM(T, ns.write_cache, "write-cache", prop_onoffauto, ONOFF_AUTO, "at reset"), \
    PROP_ENUM(T, ns.rerror, "rerror", blk_on_error_names, BLK_ON_ERROR_AUTO, "what a read error does"), \
    PROP_ENUM(T, ns.werror, "werror", blk_on_error_names, BLK_ON_ERROR_AUTO, "what a write error does"), \
    PROP_ENUM(T, ns.account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO, \
              "requests that fail count in the times"), \
    PROP_ENUM(T, ns.account_invalid, "account-invalid", prop_onoffauto, ONOFF_AUTO, \
              "so do those that make no sense"), \
    PROP_ENUM(T, ns.backend_defaults, "backend_defaults", prop_onoffauto, ONOFF_AUTO, \
              "kept for configuration files"), \
    PROP_I32(T, ns.bootindex, "bootindex", -1, -1, INT32_MAX, "place in the boot order"), \
    PROP_BOOL(T, ns.share_rw, "share-rw", false, "others may write the node too")

#endif
