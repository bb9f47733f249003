/* queue-parked.c: chains that a device could not serve now and will pop again at the queue's next start.
 *
 * 1. A parked chain keeps its segments as they were read once; the ring is not looked at again, since a
 *    packed ring's descriptors may be overwritten meanwhile.
 * 2. While a chain of an in-order queue is parked, those used after it wait in q->order, which is
 *    saved with it.
 * 3. A stream is hostile: ids, counts and places are checked, and what is kept is bounded by it. */
#include "hw/virtio/virtio-int.h"

/* The records of the saved form: kind, queue, and what follows. */
enum { RECORD_CHAIN = 1, RECORD_ORDER = 2 };
#define CHAIN_BYTES 14
#define SEG_BYTES 12
#define ORDER_BYTES 12

void chain_keep(const VirtChain *c, VirtKept *k)
{
    unsigned n = c->nout + c->nin;

    if (k->room < n) {
        k->room = (uint16_t)MAX(n, 4);
        k->segs = g_renew(VirtSeg, k->segs, k->room);
    }
    memcpy(k->segs, c->out, n * sizeof(VirtSeg));
    k->nout = c->nout;
    k->nin = c->nin;
}

static VirtParked *parked_new(unsigned nout, unsigned nin)
{
    VirtParked *p = g_malloc(sizeof(*p) + (nout + nin) * sizeof(VirtSeg));

    p->nout = (uint16_t)nout;
    p->nin = (uint16_t)nin;
    return p;
}

void vq_park(VirtQueue *q, const VirtChain *c, const VirtKept *k)
{
    VirtParked *p = parked_new(k->nout, k->nin);

    assert_loop(q->loop);
    p->head = c->head;
    p->slots = c->slots;
    p->order = c->order;
    memcpy(p->segs, k->segs, (k->nout + k->nin) * sizeof(VirtSeg));
    g_queue_push_tail(&q->parked, p);
    q->inflight--;
    TRACE(virtio_park, "%s queue=%u head=%u", q->v->dev.id, q->index, c->head);
}

void vq_pop_parked(VirtQueue *q, VirtChain *c)
{
    g_autofree VirtParked *p = g_queue_pop_head(&q->parked);
    unsigned n = p->nout + p->nin;

    q->again--;
    *c = (VirtChain){ .q = q, .head = p->head, .slots = p->slots, .order = p->order, .nout = p->nout,
                      .nin = p->nin };
    memcpy(q->segs, p->segs, n * sizeof(VirtSeg));
    c->out = q->segs;
    c->in = q->segs + p->nout;
    for (unsigned i = 0; i < n; i++) {
        *(i < p->nout ? &c->left_out : &c->left_in) += p->segs[i].len;
    }
    q->inflight++;
}

void vq_forget_parked(VirtQueue *q)
{
    g_queue_clear_full(&q->parked, g_free);
    q->again = 0;
}

/* --- state --- */

static void save_chain(GByteArray *out, const VirtQueue *q, const VirtParked *p)
{
    uint8_t b[CHAIN_BYTES] = { RECORD_CHAIN };

    st16(b + 2, q->index);
    st16(b + 4, p->head);
    st16(b + 6, p->slots);
    st16(b + 8, q->in_order ? (uint16_t)((p->order + q->size - q->order_head) % q->size) : 0);
    st16(b + 10, p->nout);
    st16(b + 12, p->nin);
    g_byte_array_append(out, b, sizeof(b));
    for (unsigned i = 0; i < p->nout + p->nin; i++) {
        uint8_t s[SEG_BYTES];
        st64(s, p->segs[i].addr);
        st32(s + 8, p->segs[i].len);
        g_byte_array_append(out, s, sizeof(s));
    }
}

static void save_order(GByteArray *out, const VirtQueue *q)
{
    for (unsigned i = 0; i < q->order_count; i++) {
        const VirtOrder *o = &q->order[(q->order_head + i) % q->size];
        uint8_t b[ORDER_BYTES] = { RECORD_ORDER, o->done };
        st16(b + 2, q->index);
        st16(b + 4, o->head);
        st16(b + 6, o->slots);
        st32(b + 8, o->len);
        g_byte_array_append(out, b, sizeof(b));
    }
}

void virtio_save_parked(VirtioDevice *v)
{
    g_byte_array_set_size(v->saved_parked, 0);
    for (unsigned i = 0; i < v->queue_count; i++) {
        const VirtQueue *q = &v->queues[i];

        if (q->parked.length) {
            for (GList *l = q->parked.head; l; l = l->next) {
                save_chain(v->saved_parked, q, l->data);
            }
            save_order(v->saved_parked, q);
        }
    }
}

/* One chain at @b, @n bytes of it there; its length, or 0. */
static unsigned load_chain(VirtQueue *q, const uint8_t *b, size_t n)
{
    unsigned segs;

    if (n < CHAIN_BYTES || q->parked.length >= q->size) {
        return 0;
    }
    segs = (unsigned)ld16(b + 10) + ld16(b + 12);
    if (segs > VIRTQUEUE_MAX || n < CHAIN_BYTES + segs * (size_t)SEG_BYTES || ld16(b + 6) > q->size) {
        return 0;
    }
    VirtParked *p = parked_new(ld16(b + 10), ld16(b + 12));
    p->head = ld16(b + 4);
    p->slots = ld16(b + 6);
    p->order = ld16(b + 8);
    for (unsigned i = 0; i < segs; i++) {
        const uint8_t *s = b + CHAIN_BYTES + i * SEG_BYTES;
        p->segs[i] = (VirtSeg){ .addr = ld64(s), .len = ld32(s + 8) };
    }
    g_queue_push_tail(&q->parked, p);
    return CHAIN_BYTES + segs * SEG_BYTES;
}

static unsigned load_order(VirtQueue *q, const uint8_t *b, size_t n)
{
    if (n < ORDER_BYTES || q->order_count >= q->size || ld16(b + 6) > q->size) {
        return 0;
    }
    if (q->order_count == 0) {
        q->order = g_renew(VirtOrder, q->order, q->size);
        q->order_head = 0;
    }
    q->order[q->order_count++] = (VirtOrder){ .head = ld16(b + 4), .slots = ld16(b + 6), .len = ld32(b + 8),
                                              .done = b[1] & 1 };
    return ORDER_BYTES;
}

/* Each parked chain of an in-order queue has its own unfinished place. */
static bool order_fits(VirtioDevice *v, const VirtQueue *q)
{
    if (!virtio_has(v, VIRTIO_F_IN_ORDER)) {
        return q->order_count == 0;
    }
    unsigned waiting = 0;
    for (unsigned i = 0; i < q->order_count; i++) {
        waiting += !q->order[i].done;
    }
    for (GList *l = q->parked.head; l; l = l->next) {
        const VirtParked *p = l->data;
        if (p->order >= q->order_count || q->order[p->order].done) {
            return false;
        }
    }
    return waiting == q->parked.length;
}

bool virtio_load_parked(VirtioDevice *v, Error **errp)
{
    size_t len = v->saved_parked ? v->saved_parked->len : 0, at = 0;

    for (unsigned i = 0; i < v->queue_count; i++) {
        vq_forget_parked(&v->queues[i]);
        v->queues[i].order_head = v->queues[i].order_count = 0;
    }
    while (at < len) {
        const uint8_t *b = v->saved_parked->data + at;
        unsigned used = 0;

        if (len - at >= 4 && ld16(b + 2) < v->queue_count) {
            VirtQueue *q = &v->queues[ld16(b + 2)];
            used = b[0] == RECORD_CHAIN ? load_chain(q, b, len - at)
                   : b[0] == RECORD_ORDER ? load_order(q, b, len - at) : 0;
        }
        if (used == 0) {
            return error_set(errp, "chains in flight: nonsense at byte %zu", at);
        }
        at += used;
    }
    for (unsigned i = 0; i < v->queue_count; i++) {
        if (!order_fits(v, &v->queues[i])) {
            return error_set(errp, "queue %u: chains in flight do not fit their order", i);
        }
    }
    return true;
}
