/* queue-packed.c: the packed ring (Virtio 1.2, section 2.8).
 *
 * 1. A slot is available when its AVAIL bit equals our wrap counter and its USED bit does not.
 * 2. A used descriptor is written where the ring's used position stands and skips as many slots as the
 *    buffer took; its flags are stored last. */
#include "hw/virtio/virtio-int.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
enum { DESC_ID = 12, DESC_FLAGS = 14 };
enum { EVENT_OFF_WRAP = 0, EVENT_FLAGS = 2 };

bool packed_begin(VirtQueue *q)
{
    Device *d = &q->v->dev;

    q->desc_p = dma_ptr(d, q->desc, 16u * q->size, DMA_FROM_DEVICE);
    q->driver_p = dma_ptr(d, q->driver, 4, DMA_TO_DEVICE);
    q->device_p = dma_ptr(d, q->device, 4, DMA_FROM_DEVICE);
    return q->desc_p && q->driver_p && q->device_p;
}

bool packed_ready(VirtQueue *q)
{
    uint16_t flags = ring_load(q->desc_p + 16u * q->last_avail + DESC_FLAGS);
    bool avail = flags & F_AVAIL, used = flags & F_USED;

    return avail == q->avail_wrap && used != q->avail_wrap;
}

void packed_notify(VirtQueue *q, bool on)
{
    uint16_t flags = VRING_PACKED_EVENT_FLAG_DISABLE;

    if (on && q->event_idx) {
        st16(q->device_p + EVENT_OFF_WRAP,
             (uint16_t)(q->last_avail | q->avail_wrap << VRING_PACKED_EVENT_F_WRAP_CTR));
        flags = VRING_PACKED_EVENT_FLAG_DESC;
    } else if (on) {
        flags = VRING_PACKED_EVENT_FLAG_ENABLE;
    }
    ring_store(q->device_p + EVENT_FLAGS, flags);
    dma_wrote(q->device_p, 4);
}

static bool indirect(VirtQueue *q, VirtChain *c, Iova table, uint32_t bytes)
{
    unsigned count = bytes / 16;

    if (bytes % 16 || count == 0 || count > VIRTQUEUE_MAX) {
        virtio_break(q->v, "queue %u: an indirect table of %u bytes", q->index, bytes);
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        uint8_t raw[16];
        if (!vq_indirect_desc(q, table, i, raw) ||
            !vq_add_seg(q, c, ld64(raw), ld32(raw + 8), ld16(raw + DESC_FLAGS) & VRING_DESC_F_WRITE)) {
            return false;
        }
    }
    return true;
}

static void skip(VirtQueue *q, uint16_t *at, bool *wrap, unsigned slots)
{
    unsigned to = *at + slots;

    if (to >= q->size) {
        to -= q->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)to;
}

bool packed_pop(VirtQueue *q, VirtChain *c)
{
    unsigned at = q->last_avail;
    uint16_t flags;

    do {
        uint8_t raw[16];
        if (c->slots >= q->size) {
            virtio_break(q->v, "queue %u: a chain that does not end", q->index);
            return false;
        }
        memcpy(raw, q->desc_p + 16u * at, 16);
        flags = ld16(raw + DESC_FLAGS);
        /* The id of the last descriptor counts (2.8.6). */
        c->head = ld16(raw + DESC_ID);
        c->slots++;
        if (flags & VRING_DESC_F_INDIRECT) {
            if (flags & VRING_DESC_F_NEXT || c->slots > 1 ||
                !virtio_has(q->v, VIRTIO_RING_F_INDIRECT_DESC)) {
                virtio_break(q->v, "queue %u: an indirect table with flags 0x%x", q->index, flags);
                return false;
            }
            if (!indirect(q, c, ld64(raw), ld32(raw + 8))) {
                return false;
            }
        } else if (!vq_add_seg(q, c, ld64(raw), ld32(raw + 8), flags & VRING_DESC_F_WRITE)) {
            return false;
        }
        at = at + 1 == q->size ? 0 : at + 1;
    } while (flags & VRING_DESC_F_NEXT);
    skip(q, &q->last_avail, &q->avail_wrap, c->slots);
    return true;
}

void packed_unpop(VirtQueue *q, const VirtChain *c)
{
    if (q->last_avail < c->slots) {
        q->last_avail = (uint16_t)(q->last_avail + q->size);
        q->avail_wrap = !q->avail_wrap;
    }
    q->last_avail = (uint16_t)(q->last_avail - c->slots);
}

void packed_push(VirtQueue *q, uint16_t id, uint16_t slots, uint32_t len)
{
    uint8_t *e = q->desc_p + 16u * q->used_idx;
    uint16_t flags = q->used_wrap ? F_AVAIL | F_USED : 0;

    st32(e + 8, len);
    st16(e + DESC_ID, id);
    ring_store(e + DESC_FLAGS, (uint16_t)(flags | (len ? VRING_DESC_F_WRITE : 0)));
    dma_wrote(e, 16);
    skip(q, &q->used_idx, &q->used_wrap, slots);
    q->added = (uint16_t)(q->added + slots);
}

bool packed_publish(VirtQueue *q)
{
    if (q->added == 0) {
        return false;
    }
    uint16_t now = q->used_idx, old = (uint16_t)(now - q->added);
    q->added = 0;
    ring_fence();
    uint16_t flags = ring_load(q->driver_p + EVENT_FLAGS) & 3;
    if (flags == VRING_PACKED_EVENT_FLAG_DISABLE) {
        return false;
    }
    if (flags != VRING_PACKED_EVENT_FLAG_DESC || !q->event_idx) {
        return true;
    }
    /* 2.8.10: the event's position, in our lap or in the one before. */
    uint16_t off_wrap = ring_load(q->driver_p + EVENT_OFF_WRAP);
    uint16_t event = off_wrap & 0x7fff;
    if ((off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR) != q->used_wrap) {
        event = (uint16_t)(event - q->size);
    }
    return ring_event_passed(event, now, old);
}
