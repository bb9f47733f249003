/* queue.c: chains, and the split ring (Virtio 1.2, sections 2.6 and 2.7).
 *
 * 1. Every function runs on the queue's loop.
 * 2. The driver may change the ring and everything it names at any time: an index, a descriptor, a
 *    flag is read once and checked.
 * 3. While chains are being taken, the driver is asked not to kick; that is undone, and the ring looked
 *    at once more, before vq_pop() says there is nothing. */
#include "hw/virtio/virtio-int.h"

#include <errno.h>

/* --- chains --- */

bool vq_add_seg(VirtQueue *q, VirtChain *c, Iova addr, uint32_t len, bool write)
{
    unsigned n = c->nout + c->nin;

    if (n >= VIRTQUEUE_MAX) {
        virtio_break(q->v, "queue %u: a chain of more than %u descriptors", q->index, VIRTQUEUE_MAX);
        return false;
    }
    if (len == 0) {
        return true;
    }
    if (!write && c->nin) {
        virtio_break(q->v, "queue %u: a readable descriptor after a writable one", q->index);
        return false;
    }
    q->segs[n] = (VirtSeg){ .addr = addr, .len = len };
    if (write) {
        c->nin++;
        c->left_in += len;
    } else {
        c->nout++;
        c->left_out += len;
    }
    return true;
}

bool vq_indirect_desc(VirtQueue *q, Iova table, unsigned i, uint8_t raw[16])
{
    if (!dma_read(&q->v->dev, table + i * UINT64_C(16), raw, 16)) {
        virtio_break(q->v, "queue %u: an indirect table where there is no memory", q->index);
        return false;
    }
    return true;
}

static void chain_init(VirtQueue *q, VirtChain *c)
{
    *c = (VirtChain){ .q = q };
}

static void chain_done(VirtQueue *q, VirtChain *c)
{
    c->out = q->segs;
    c->in = q->segs + c->nout;
    q->inflight++;
    if (q->in_order) {
        c->order = (uint16_t)((q->order_head + q->order_count) % q->size);
        q->order[c->order] = (VirtOrder){ .head = c->head, .slots = c->slots };
        q->order_count++;
    }
}

/* One step of a cursor: up to @n bytes that lie in one segment; 0: the end. */
static uint32_t step(const VirtSeg *segs, uint16_t count, uint16_t *at, uint32_t *off, size_t n, Iova *addr)
{
    if (*at >= count || n == 0) {
        return 0;
    }
    const VirtSeg *s = &segs[*at];
    uint32_t len = (uint32_t)MIN(n, s->len - *off);

    *addr = s->addr + *off;
    *off += len;
    if (*off == s->len) {
        (*at)++;
        *off = 0;
    }
    return len;
}

size_t chain_read(VirtChain *c, void *dst, size_t n)
{
    size_t done = 0;
    Iova addr = 0;
    uint32_t len;

    while ((len = step(c->out, c->nout, &c->at_out, &c->off_out, n - done, &addr)) != 0) {
        if (!dma_read(&c->q->v->dev, addr, (uint8_t *)dst + done, len)) {
            virtio_break(c->q->v, "queue %u: a buffer where there is no memory", c->q->index);
            break;
        }
        done += len;
        c->left_out -= len;
    }
    return done;
}

size_t chain_write(VirtChain *c, const void *src, size_t n)
{
    size_t done = 0;
    Iova addr = 0;
    uint32_t len;

    n = MIN(n, c->left_in);
    while ((len = step(c->in, c->nin, &c->at_in, &c->off_in, n - done, &addr)) != 0) {
        if (!dma_write(&c->q->v->dev, addr, (const uint8_t *)src + done, len)) {
            virtio_break(c->q->v, "queue %u: a buffer where there is no memory", c->q->index);
            break;
        }
        done += len;
        c->left_in -= len;
    }
    c->written += done;
    return done;
}

bool chain_cut_in(VirtChain *c, uint32_t n, Iova *at)
{
    if (c->left_in < n || c->nin == 0) {
        return false;
    }
    /* q->segs is this queue's own and writable; the chain only borrows it. */
    VirtSeg *last = &c->q->segs[c->nout + c->nin - 1];
    uint32_t used = c->at_in == c->nin - 1 ? c->off_in : 0;

    if (last->len - used < n) {
        return false;
    }
    last->len -= n;
    c->left_in -= n;
    *at = last->addr + last->len;
    if (last->len == used) {
        c->nin--;
    }
    return true;
}

int chain_map(VirtChain *c, size_t n, DmaDir dir, struct iovec *iov, unsigned max)
{
    bool out = dir == DMA_TO_DEVICE;
    size_t *left = out ? &c->left_out : &c->left_in, want = n;
    unsigned count = 0;
    Iova addr = 0;
    uint32_t len;

    if (n > *left) {
        return -EINVAL;
    }
    while (want) {
        len = out ? step(c->out, c->nout, &c->at_out, &c->off_out, want, &addr)
                  : step(c->in, c->nin, &c->at_in, &c->off_in, want, &addr);
        int got = dma_map(&c->q->v->dev, addr, len, dir, iov + count, max - count);
        if (got < 0) {
            dma_unmap(&c->q->v->dev, iov, count, 0);
            return got;
        }
        count += (unsigned)got;
        want -= len;
    }
    *left -= n;
    return (int)count;
}

/* --- the split ring --- */

/* Offsets in the driver area (avail) and the device area (used): 2.7.6, 2.7.8. */
enum { AVAIL_FLAGS = 0, AVAIL_IDX = 2, AVAIL_RING = 4 };
enum { USED_FLAGS = 0, USED_IDX = 2, USED_RING = 4 };

static bool split_begin(VirtQueue *q)
{
    Device *d = &q->v->dev;
    size_t event = q->event_idx ? 2 : 0;

    q->desc_p = dma_ptr(d, q->desc, 16u * q->size, DMA_TO_DEVICE);
    q->driver_p = dma_ptr(d, q->driver, AVAIL_RING + 2u * q->size + event, DMA_TO_DEVICE);
    q->device_p = dma_ptr(d, q->device, USED_RING + 8u * q->size + event, DMA_FROM_DEVICE);
    return q->desc_p && q->driver_p && q->device_p;
}

static void split_notify(VirtQueue *q, bool on)
{
    if (q->event_idx) {
        if (on) {
            uint8_t *event = q->device_p + USED_RING + 8u * q->size;
            ring_store(event, q->last_avail);
            dma_wrote(event, 2);
        }
        /* Off: the driver kicks when its index passes the event, which stays behind. */
    } else {
        ring_store(q->device_p + USED_FLAGS, on ? 0 : VRING_USED_F_NO_NOTIFY);
        dma_wrote(q->device_p + USED_FLAGS, 2);
    }
}

static bool split_ready(VirtQueue *q)
{
    uint16_t ahead = (uint16_t)(ring_load(q->driver_p + AVAIL_IDX) - q->last_avail);

    if (ahead > q->size) {
        virtio_break(q->v, "queue %u: available index %u ahead of %u entries", q->index, ahead, q->size);
        return false;
    }
    return ahead != 0;
}

static RingDesc parse(const uint8_t raw[16])
{
    return (RingDesc){ .addr = ld64(raw), .len = ld32(raw + 8), .flags = ld16(raw + 12),
                       .next = ld16(raw + 14) };
}

static bool split_indirect(VirtQueue *q, VirtChain *c, Iova table, uint32_t bytes)
{
    unsigned count = bytes / 16, i = 0;

    if (bytes % 16 || count == 0) {
        virtio_break(q->v, "queue %u: an indirect table of %u bytes", q->index, bytes);
        return false;
    }
    for (unsigned seen = 0; ; seen++) {
        uint8_t raw[16];
        if (i >= count || seen >= VIRTQUEUE_MAX) {
            virtio_break(q->v, "queue %u: an indirect chain that does not end", q->index);
            return false;
        }
        if (!vq_indirect_desc(q, table, i, raw)) {
            return false;
        }
        RingDesc d = parse(raw);
        if (d.flags & VRING_DESC_F_INDIRECT) {
            virtio_break(q->v, "queue %u: an indirect table in an indirect table", q->index);
            return false;
        }
        if (!vq_add_seg(q, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE)) {
            return false;
        }
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
        i = d.next;
    }
}

static bool split_walk(VirtQueue *q, VirtChain *c)
{
    unsigned i = c->head;

    for (unsigned seen = 0; ; seen++) {
        uint8_t raw[16];
        if (i >= q->size || seen >= q->size) {
            virtio_break(q->v, "queue %u: a chain that does not end, or descriptor %u", q->index, i);
            return false;
        }
        memcpy(raw, q->desc_p + 16u * i, 16);
        RingDesc d = parse(raw);
        if (d.flags & VRING_DESC_F_INDIRECT) {
            if (d.flags & VRING_DESC_F_NEXT || !virtio_has(q->v, VIRTIO_RING_F_INDIRECT_DESC)) {
                virtio_break(q->v, "queue %u: an indirect table with flags 0x%x", q->index, d.flags);
                return false;
            }
            return split_indirect(q, c, d.addr, d.len);
        }
        if (!vq_add_seg(q, c, d.addr, d.len, d.flags & VRING_DESC_F_WRITE)) {
            return false;
        }
        if (!(d.flags & VRING_DESC_F_NEXT)) {
            return true;
        }
        i = d.next;
    }
}

static bool split_pop(VirtQueue *q, VirtChain *c)
{
    c->head = ring_load(q->driver_p + AVAIL_RING + 2u * (q->last_avail & (q->size - 1)));
    q->last_avail++;
    return split_walk(q, c);
}

static void split_push(VirtQueue *q, uint16_t head, uint32_t len)
{
    uint8_t *e = q->device_p + USED_RING + 8u * (q->used_idx & (q->size - 1));

    st32(e, head);
    st32(e + 4, len);
    dma_wrote(e, 8);
    q->used_idx++;
}

/* Publishes; true: the driver wants an interrupt. */
static bool split_publish(VirtQueue *q)
{
    uint16_t old = q->told_idx;

    if (q->used_idx == old) {
        return false;
    }
    ring_store(q->device_p + USED_IDX, q->used_idx);
    dma_wrote(q->device_p + USED_IDX, 2);
    q->told_idx = q->used_idx;
    ring_fence();
    if (q->notify_on_empty && q->inflight == 0 &&
        ring_load(q->driver_p + AVAIL_IDX) == q->last_avail) {
        return true;
    }
    if (q->event_idx) {
        uint16_t event = ring_load(q->driver_p + AVAIL_RING + 2u * q->size);
        return ring_event_passed(event, q->used_idx, old);
    }
    return !(ring_load(q->driver_p + AVAIL_FLAGS) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* --- both formats --- */

bool vq_begin(VirtQueue *q)
{
    assert_loop(q->loop);
    return (q->running || q->inflight) && vq_lookup(q);
}

bool vq_lookup(VirtQueue *q)
{
    uint64_t now = dma_generation(&q->v->dev);

    if (now != 0 && now == q->found) {
        return true;
    }
    q->found = now;
    if (q->packed ? packed_begin(q) : split_begin(q)) {
        return true;
    }
    q->found = 0;
    virtio_break(q->v, "queue %u: a ring where there is no memory", q->index);
    return false;
}

static void notify(VirtQueue *q, bool on)
{
    if (q->notify_on != on) {
        q->notify_on = on;
        (q->packed ? packed_notify : split_notify)(q, on);
    }
}

static bool is_broken(const VirtQueue *q)
{
    return __atomic_load_n(&q->v->broken, __ATOMIC_RELAXED);
}

bool vq_ready(VirtQueue *q)
{
    assert_loop(q->loop);
    if (!q->running || is_broken(q)) {
        return false;
    }
    if (q->again) {
        return true;
    }
    bool (*ready)(VirtQueue *) = q->packed ? packed_ready : split_ready;

    if (ready(q)) {
        notify(q, false);
        return true;
    }
    if (is_broken(q) || q->polled) {
        return false;
    }
    /* With event indexes the wish has to name where we are now. */
    q->notify_on = q->notify_on && !q->event_idx;
    notify(q, true);
    ring_fence();
    return ready(q);
}

void vq_polled(VirtQueue *q, bool on)
{
    assert_loop(q->loop);
    q->polled = on;
    if (on && q->running && !is_broken(q) && vq_lookup(q)) {
        /* A ring just set up says nothing yet, and that means on. */
        q->notify_on = true;
        notify(q, false);
    }
}

bool vq_pop(VirtQueue *q, VirtChain *c)
{
    if (!vq_ready(q)) {
        return false;
    }
    if (q->again) {
        vq_pop_parked(q, c);
        return true;
    }
    if (q->inflight + q->parked.length >= q->size) {
        virtio_break(q->v, "queue %u: more chains than entries", q->index);
        return false;
    }
    chain_init(q, c);
    if (!(q->packed ? packed_pop : split_pop)(q, c)) {
        return false;
    }
    chain_done(q, c);
    return true;
}

void vq_unpop(VirtQueue *q, VirtChain *c)
{
    assert_loop(q->loop);
    if (q->packed) {
        packed_unpop(q, c);
    } else {
        q->last_avail--;
    }
    if (q->in_order) {
        q->order_count--;
    }
    q->inflight--;
}

static void push_now(VirtQueue *q, uint16_t head, uint16_t slots, uint32_t len)
{
    if (q->packed) {
        packed_push(q, head, slots, len);
    } else {
        split_push(q, head, len);
    }
}

void vq_push(VirtQueue *q, const VirtChain *c)
{
    uint32_t len = (uint32_t)MIN(c->written, UINT32_MAX);

    assert_loop(q->loop);
    q->inflight--;
    if (is_broken(q)) {
        return;
    }
    if (!q->in_order) {
        push_now(q, c->head, c->slots, len);
        return;
    }
    q->order[c->order].len = len;
    q->order[c->order].done = true;
    while (q->order_count && q->order[q->order_head].done) {
        VirtOrder *o = &q->order[q->order_head];
        push_now(q, o->head, o->slots, o->len);
        q->order_head = (uint16_t)((q->order_head + 1) % q->size);
        q->order_count--;
    }
}

void vq_publish(VirtQueue *q)
{
    assert_loop(q->loop);
    if (!is_broken(q) && (q->packed ? packed_publish : split_publish)(q)) {
        q->v->transport->queue_irq(q->v, q);
    }
    if (q->halting && q->inflight == 0 && !q->publish_queued) {
        Barrier *home = q->home;
        q->halting = false;
        q->home = NULL;
        barrier_leave(home);
    }
}
