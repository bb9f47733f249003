/* virtio.h: virtio devices and their queues (Virtio 1.2), apart from any transport.
 *
 *   status 0 --driver--> ... DRIVER_OK: virtio_start --> each queue handed to the worker loop
 *   driver writes 0: virtio_stop --> queues come home (a barrier; status reads busy) --> status 0
 *
 * 1. A VirtioDevice's fields are guarded by its domain (the transport's).  A queue belongs to its loop
 *    from hand-over until it came home; between, nobody else touches what is marked "loop".
 * 2. Descriptors are copied once and checked; a hostile ring breaks its device (NEEDS_RESET), nothing
 *    else.
 * 3. vq_begin() stands at the start of each callback that uses a queue (kick callbacks have it done for
 *    them): it finds the ring in guest memory, anew when the memory map has changed. */
#ifndef HW_VIRTIO_VIRTIO_H
#define HW_VIRTIO_VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include "core/device.h"
#include "core/dma.h"
#include "core/iothread.h"
#include "core/state.h"
#include "util/notifier.h"

#define VIRTQUEUE_MAX 1024             /* entries of a queue, and descriptors of a chain */
#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_CONFIG_MAX 256

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtQueue VirtQueue;
typedef struct VirtChain VirtChain;

typedef struct VirtioOps {
    uint16_t id;               /* device type, Virtio 1.2 section 5 */
    uint16_t legacy_id;        /* PCI device id of the transitional form; 0: there is none */
    uint32_t class_code;       /* of the PCI function */
    uint16_t config_size;      /* bytes of device configuration */
    uint16_t vectors;          /* MSI-X vectors by default; 0: one a queue and one */
    uint64_t features;         /* offered by every instance */
    /* Under the domain.  The device configuration as of now. */
    void (*config_fill)(VirtioDevice *v, uint8_t *config);
    void (*config_wrote)(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size);
    /* Under the domain, at FEATURES_OK: does the device do with @features, all of which it offered?  May be
     * NULL: it does. */
    bool (*accept)(VirtioDevice *v, uint64_t features);
    /* Under the domain, at DRIVER_OK: features are agreed.  May be NULL. */
    bool (*start)(VirtioDevice *v, Error **errp);
    /* Under the domain: stop what is not a queue; barrier_enter(@home) for what takes time. */
    void (*stop)(VirtioDevice *v, Barrier *home);
    /* On the queue's loop, which owns the queue: buffers may be there. */
    void (*kick)(VirtQueue *q);
    /* On the loop: the queue stops now; cancel timers, give back what waits.  May be NULL. */
    void (*halt)(VirtQueue *q);
} VirtioOps;

/* How a transport interrupts the driver; any thread. */
typedef struct VirtioTransport {
    void (*queue_irq)(VirtioDevice *v, VirtQueue *q);
    void (*config_irq)(VirtioDevice *v);
    /* Under the domain: the device has been reset by the driver. */
    void (*reset)(VirtioDevice *v);
    /* Under the domain: doorbells of the enabled queues on or off. */
    void (*doorbells)(VirtioDevice *v, bool on);
} VirtioTransport;

typedef struct VirtSeg {
    Iova addr;
    uint32_t len;
} VirtSeg;

struct VirtQueue {
    VirtioDevice *v;
    uint16_t index;
    /* set up by the driver; domain while not handed over */
    uint16_t size, size_max, vector;       /* vector: atomic */
    Iova desc, driver, device;             /* the three areas (2.6) */
    bool enabled;
    /* domain */
    bool dormant;              /* enabled or not, nothing would come of it: stays here */
    bool handed;               /* given to the loop and not asked back */
    bool resetting;            /* ring reset under way (2.6.1) */
    Barrier reset_home;
    Post reset_done;
    Barrier *home;             /* the barrier to leave when it came home */
    Post start_post, stop_post;
    Notifier kick;
    /* loop */
    Loop *loop;
    bool running, halting;
    bool packed, event_idx, in_order, notify_on_empty;
    uint16_t last_avail, used_idx;         /* packed: slots; split: free-running */
    bool avail_wrap, used_wrap;            /* packed */
    uint16_t told_idx;         /* used_idx at the last interrupt decision */
    uint16_t added;            /* packed: slots used since then */
    bool notify_on;            /* the driver has been asked to kick */
    bool polled;               /* the loop looks by itself: it is not asked */
    uint16_t inflight;         /* chains popped and not pushed */
    uint8_t *desc_p, *driver_p, *device_p;     /* host addresses while dma_generation() is @found */
    uint64_t found;            /* 0: not found yet */
    VirtSeg *segs;             /* VIRTQUEUE_MAX entries: the chain popped last */
    struct VirtOrder *order;   /* in-order: @size entries of chains in the order of popping */
    uint16_t order_head, order_count;
    Post publish_post;
    bool publish_queued;
    GQueue parked;             /* VirtParked *: chains that will be popped again */
    unsigned again;            /* the first ones of them, whose time has come */
    void *opaque;              /* the device's own */
    IoThread *thread;          /* whose loop it is by iothread-vq-mapping, or NULL; control */
};

/* The property of that name in a device's table. */
#define VIRTIO_PROP_VQ_MAPPING(T, f) \
    { .name = "iothread-vq-mapping", .kind = PROP_KIND_STR, .at = field_at(T, f, char *), \
      .flags = PROP_JSON, .type_name = "IOThreadVirtQueueMappingList", \
      .help = "I/O threads of the queues: [{\"iothread\":ID, \"vqs\":[N, ...]}, ...]" }

struct VirtioDevice {
    Device dev;
    const VirtioTransport *transport;
    Device *proxy;             /* the transport's device */
    uint64_t offered, acked, agreed;
    uint8_t status, generation;
    bool broken;               /* atomic: NEEDS_RESET */
    uint16_t config_vector;    /* atomic */
    VirtQueue *queues;
    unsigned queue_count;
    IoThread *worker;          /* whose loop serves the queues */
    /* domain */
    bool started;              /* DRIVER_OK was acted upon */
    bool stopping;             /* a reset by the driver is under way */
    bool quiet;                /* quiesced */
    unsigned stops;            /* device or ring resets under way */
    Barrier *quiet_home;       /* a quiesce that waits for them */
    Barrier stop_home;
    Post stop_done;
    GByteArray *saved;         /* for the state table: the queues, */
    GByteArray *saved_parked;  /* and the chains parked in them */
    /* properties */
    void *iothread;
    bool p_event_idx, p_indirect, p_packed, p_in_order, p_iommu, p_ring_reset, p_any_layout;
    bool p_notify_on_empty, p_use_started, p_use_disabled, p_legacy_check, p_ignore_backend;
};

extern const SlotType virtio_slot;

static inline const VirtioOps *virtio_ops(const VirtioDevice *v)
{
    return v->dev.type->slot_ops;
}

static inline bool virtio_has(const VirtioDevice *v, unsigned bit)
{
    return v->agreed >> bit & 1;
}

/* --- for device types --- */
/* In realize: @count queues of at most @size entries. */
CTX_CONTROL void virtio_queues(VirtioDevice *v, unsigned count, uint16_t size);
/* In realize, after that: the loops of the queues from @first on, as the property iothread-vq-mapping
 * (@json; NULL or "": nothing) says. */
CTX_CONTROL bool virtio_map_queues(VirtioDevice *v, unsigned first, const char *json, Error **errp);
/* In realize: offers @features too. */
CTX_CONTROL void virtio_offer(VirtioDevice *v, uint64_t features);
/* Queue @q is dormant no more. */
CTX_DOMAIN void virtio_queue_wake(VirtQueue *q);
/* The device configuration changed: raises the generation and interrupts. */
CTX_DOMAIN void virtio_config_changed(VirtioDevice *v);
/* The device cannot go on until the driver resets it.  Any thread. */
CTX_ANY void virtio_break(VirtioDevice *v, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* --- queues, on their loop --- */
static inline VirtioDevice *vq_device(VirtQueue *q)
{
    return q->v;
}

struct VirtChain {
    VirtQueue *q;
    uint16_t head;             /* split: descriptor; packed: buffer id */
    uint16_t slots;            /* packed: ring slots taken */
    uint16_t order;            /* in-order: place in the order */
    uint16_t nout, nin;
    uint16_t at_out, at_in;    /* cursors: segment, and bytes of it that are done */
    uint32_t off_out, off_in;
    size_t left_out, left_in;  /* bytes the device may still read, write */
    uint64_t written;          /* becomes the used length */
    const VirtSeg *out, *in;   /* valid until the next vq_pop() of the queue */
};

/* Looks up the ring in guest memory; false: the queue is stopped or broken.  At the start of every
 * callback other than kick; cheap. */
CTX_LOOP bool vq_begin(VirtQueue *q);
/* Takes the next chain; false: none (the driver will kick again), or the queue is broken. */
CTX_LOOP bool vq_pop(VirtQueue *q, VirtChain *c);
/* Gives back the chain popped last, unused, as if it had not been popped. */
CTX_LOOP void vq_unpop(VirtQueue *q, VirtChain *c);
/* What vq_park() needs of a chain: its segments as they were when it was popped.  Zeroed before its
 * first use, it grows to the longest chain; g_free(segs) ends it. */
typedef struct VirtKept {
    VirtSeg *segs;
    uint16_t nout, nin, room;
} VirtKept;

/* Keeps the segments of @c, which was just popped: no byte of it was read or written. */
CTX_LOOP void chain_keep(const VirtChain *c, VirtKept *k);
/* Instead of vq_push(): the chain is popped again, as if for the first time, when the queue is handed over
 * next time (the machine stopped and goes on, here or where its state was loaded).  It does not keep the
 * queue from coming home; a reset forgets it.  vq_publish_soon() as after vq_push(). */
CTX_LOOP void vq_park(VirtQueue *q, const VirtChain *c, const VirtKept *k);
/* True if there is a chain to pop; like vq_pop() otherwise. */
CTX_LOOP bool vq_ready(VirtQueue *q);
/* Copies; short counts mean the end, or memory that is not there. */
CTX_LOOP size_t chain_read(VirtChain *c, void *dst, size_t n);
CTX_LOOP size_t chain_write(VirtChain *c, const void *src, size_t n);
/* Cuts the last @n bytes off the writable part: true and their address when they lie in one piece. */
CTX_LOOP bool chain_cut_in(VirtChain *c, uint32_t n, Iova *at);
/* Maps the next @n bytes of the readable (DMA_TO_DEVICE) or writable part into @iov without copying and
 * moves on.  Returns entries used, or -EFAULT, -E2BIG, -EINVAL (less is left).  dma_unmap() ends it. */
CTX_LOOP int chain_map(VirtChain *c, size_t n, DmaDir dir, struct iovec *iov, unsigned max);
/* The device is done with the chain: c->written bytes were written.  Seen by the driver at publish. */
CTX_LOOP void vq_push(VirtQueue *q, const VirtChain *c);
/* One barrier, one interrupt decision for all pushes since the last. */
CTX_LOOP void vq_publish(VirtQueue *q);
/* vq_publish() soon: at once when nothing else is in flight, else with what else completes in this turn
 * of the loop. */
CTX_LOOP void vq_publish_soon(VirtQueue *q);

/* --- for transports, under the domain --- */
/* After realize of the device. */
CTX_DOMAIN uint8_t virtio_status(const VirtioDevice *v);
CTX_DOMAIN void virtio_set_status(VirtioDevice *v, uint8_t val, bool legacy);
CTX_DOMAIN uint64_t virtio_offered(const VirtioDevice *v, bool legacy);
CTX_DOMAIN void virtio_config_read(VirtioDevice *v, unsigned off, uint8_t *data, unsigned size);
CTX_DOMAIN void virtio_config_write(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size);
CTX_DOMAIN void virtio_queue_enable(VirtQueue *q);
CTX_DOMAIN void virtio_queue_reset(VirtQueue *q);
/* The driver kicked by a register write that no doorbell caught. */
CTX_ANY void virtio_queue_kick(VirtQueue *q);
/* As slot "virtio" does at the reset of the function: at once; the queues are home. */
CTX_ANY VirtioDevice *virtio_inner(const Device *proxy);

#endif
