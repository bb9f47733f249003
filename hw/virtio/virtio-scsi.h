/* virtio-scsi.h: what virtio-scsi.c (requests, life) and virtio-scsi-ctrl.c (control and event queue) share;
 * private to hw/virtio. */
#ifndef HW_VIRTIO_VIRTIO_SCSI_H
#define HW_VIRTIO_VIRTIO_SCSI_H

#include "hw/scsi/scsi.h"
#include "hw/virtio/virtio-int.h"

enum { SCSI_Q_CONTROL, SCSI_Q_EVENT, SCSI_Q_REQUEST };

typedef struct VirtioScsi VirtioScsi;
typedef struct ScsiJob ScsiJob;

/* One request of the guest. */
struct ScsiJob {
    ScsiCmd c;
    VirtioScsi *s;
    VirtChain chain;
    VirtKept kept;
    uint64_t tag;
    uint32_t sense_size;       /* of its response */
    bool aborted;              /* by a task management function, */
    bool awaited;              /* which waits for its end */
    struct iovec *resp, *iov;  /* the guest's memory for the response, for data */
    unsigned resp_cap, nresp, iov_cap, niov;
    ScsiJob *prev, *next;      /* busy ones; free list */
};

/* A request queue; its loop's. */
typedef struct ScsiQueue {
    VirtQueue *q;
    ScsiJob *free, *busy;
    Post scan;                 /* for the task management function under way */
} ScsiQueue;

/* The task management function under way: one at a time; of the control queue's loop, and what scans read is
 * written before they are posted. */
typedef struct ScsiTmf {
    bool active;
    VirtChain chain;
    uint32_t subtype, target, lun;
    uint64_t tag;
    uint8_t response;
    bool found;                /* atomic */
    Barrier home;              /* opens when every scan and every aborted request is over */
    Post over;
} ScsiTmf;

struct VirtioScsi {
    VirtioDevice v;
    ScsiBus bus;
    ScsiQueue *rq;
    uint32_t seg_max;
    uint32_t sense_size, cdb_size;     /* atomic */
    bool missed;               /* event queue's loop: there was no buffer for an event */
    ScsiTmf tmf;
    /* properties */
    uint32_t num_queues, virtqueue_size, max_sectors, cmd_per_lun;
    char *vq_mapping;
    bool seg_max_adjust, hotplug, param_change;
};

/* Target and LUN of an address (Virtio 1.2, 5.6.6.1); false: it is none. */
static inline bool virtio_scsi_address(const uint8_t *lun, uint32_t *target, uint32_t *unit)
{
    *target = lun[1];
    *unit = (lun[2] << 8 | lun[3]) & 0x3fff;
    return lun[0] == 1 && ((lun[2] & 0xc0) == 0x40 || (lun[2] & 0xff) == 0);
}

/* In realize and unrealize. */
CTX_CONTROL void virtio_scsi_ctrl_init(VirtioScsi *s);
/* Kicks of queues SCSI_Q_CONTROL and SCSI_Q_EVENT. */
CTX_LOOP void virtio_scsi_control(VirtQueue *q);
CTX_LOOP void virtio_scsi_event(VirtQueue *q);
/* Tells the guest of @event for a unit, if it has a buffer. */
CTX_CONTROL void virtio_scsi_tell(VirtioScsi *s, uint32_t event, const ScsiDev *d, uint32_t reason);
/* A request that a task management function waits for is over. */
CTX_LOOP void virtio_scsi_job_over(VirtioScsi *s);

#endif
