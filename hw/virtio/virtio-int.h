/* virtio-int.h: what the ring formats share. */
#ifndef HW_VIRTIO_VIRTIO_INT_H
#define HW_VIRTIO_VIRTIO_INT_H

#include "hw/virtio/virtio.h"
#include "util/bytes.h"
#include "util/trace.h"

/* Ring fields that the driver's CPUs read and write meanwhile (2.7.13.3, 2.8.21.3). */
static inline uint16_t ring_load(const uint8_t *p)
{
    return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

/* Everything written before is seen by a driver that sees @v. */
static inline void ring_store(uint8_t *p, uint16_t v)
{
    __atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
}

/* Between writing an index or flag and reading the driver's: 2.7.10.1, 2.8.21.3.1. */
static inline void ring_fence(void)
{
#if EPOCH_TSAN
    /* ThreadSanitizer knows no fences; the other side is the guest anyway. */
    unsigned here = 0;
    __atomic_exchange_n(&here, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* 2.7.10.2: did the index pass @event between @old and @now? */
static inline bool ring_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

typedef struct VirtOrder {
    uint16_t head, slots;
    uint32_t len;
    bool done;
} VirtOrder;

/* A chain popped but not used, nor in flight: it waits for the queue's next start. */
#define VIRTIO_PARKED_MAX (256u << 20) /* bytes of state: far beyond what a driver has in flight */
typedef struct VirtParked {
    uint16_t head, slots, order, nout, nin;
    VirtSeg segs[];
} VirtParked;

typedef struct RingDesc {
    Iova addr;
    uint32_t len;
    uint16_t flags, next;      /* packed: id, flags */
} RingDesc;

/* From now on the loop looks at the ring by itself, or does no more: then the next vq_ready() that finds
 * nothing asks the driver to kick. */
void vq_polled(VirtQueue *q, bool on);
/* Adds a descriptor to the chain in q->segs; false: the queue is broken. */
bool vq_add_seg(VirtQueue *q, VirtChain *c, Iova addr, uint32_t len, bool write);
/* Reads entry @i of an indirect table. */
bool vq_indirect_desc(VirtQueue *q, Iova table, unsigned i, uint8_t raw[16]);

/* Finds the ring's areas in this epoch section; breaks the device when they are not there. */
bool vq_lookup(VirtQueue *q);

/* queue-parked.c */
/* The next parked chain whose time has come, as vq_pop() gives it; q->again is not 0. */
void vq_pop_parked(VirtQueue *q, VirtChain *c);
/* The queue is reset or goes: at home. */
void vq_forget_parked(VirtQueue *q);
/* Parked chains of all queues of @v, and the order they are to be used in, to and from v->saved_parked. */
void virtio_save_parked(VirtioDevice *v);
bool virtio_load_parked(VirtioDevice *v, Error **errp);

/* queue-packed.c */
bool packed_begin(VirtQueue *q);
bool packed_ready(VirtQueue *q);
bool packed_pop(VirtQueue *q, VirtChain *c);
void packed_unpop(VirtQueue *q, const VirtChain *c);
void packed_push(VirtQueue *q, uint16_t id, uint16_t slots, uint32_t len);
bool packed_publish(VirtQueue *q);
void packed_notify(VirtQueue *q, bool on);

#endif
