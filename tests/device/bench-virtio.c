/* bench-virtio.c: a virtio driver on the fake board. */
#include "tests/device/bench-virtio.h"

#include <linux/virtio_pci.h>
#include <stdlib.h>

#define NOTIFY 0x3000

uint32_t vd_common(Vd *vd, unsigned off, unsigned size)
{
    return size == 1 ? bench_read8(vd->b, vd->bar + off)
         : size == 2 ? bench_read16(vd->b, vd->bar + off) : bench_read32(vd->b, vd->bar + off);
}

void vd_set_common(Vd *vd, unsigned off, unsigned size, uint32_t val)
{
    if (size == 1) {
        bench_write8(vd->b, vd->bar + off, (uint8_t)val);
    } else if (size == 2) {
        bench_write16(vd->b, vd->bar + off, (uint16_t)val);
    } else {
        bench_write32(vd->b, vd->bar + off, val);
    }
}

Vd *vd_new(Bench *b, Device *d)
{
    Vd *vd = g_new0(Vd, 1);

    vd->b = b;
    vd->d = d;
    vd->v = (VirtioDevice *)d->inner;
    vd->bar = bench_bar(b, d, 4);
    bench_msix_on(b, d);
    return vd;
}

void vd_free(Vd *vd)
{
    g_free(vd);
}

static void nop(void *arg)
{
}

void vd_sync(Vd *vd)
{
    /* Twice: a kick that epoll reports after the first is served before the second. */
    loop_call_wait(vd->v->worker->loop, nop, NULL);
    loop_call_wait(vd->v->worker->loop, nop, NULL);
    bench_run(vd->b);
}

void vd_reset(Vd *vd)
{
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0);
    while (vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1) != 0) {
        vd_sync(vd);
    }
}

void vd_queue_setup(Vd *vd, unsigned n)
{
    VdQueue *q = &vd->q[n];

    *q = (VdQueue){ .base = VD_AT + n * VD_STRIDE, .avail_wrap = true, .used_wrap = true };
    memset(bench_ram(vd->b, q->base, VD_STRIDE), 0, VD_STRIDE);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, n);
    q->size = (uint16_t)MIN(VD_SIZE, vd_common(vd, VIRTIO_PCI_COMMON_Q_SIZE, 2));
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SIZE, 2, q->size);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_MSIX, 2, n + 1);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_DESCLO, 4, (uint32_t)q->base);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, (uint32_t)q->base + 0x1000);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_USEDLO, 4, (uint32_t)q->base + 0x2000);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void vd_start(Vd *vd, uint64_t want, unsigned queues)
{
    vd_reset(vd);
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    vd->agreed = 0;
    for (unsigned half = 0; half < 2; half++) {
        vd_set_common(vd, VIRTIO_PCI_COMMON_DFSELECT, 4, half);
        uint32_t f = vd_common(vd, VIRTIO_PCI_COMMON_DF, 4) & (uint32_t)(want >> 32 * half);
        vd_set_common(vd, VIRTIO_PCI_COMMON_GFSELECT, 4, half);
        vd_set_common(vd, VIRTIO_PCI_COMMON_GF, 4, f);
        vd->agreed |= (uint64_t)f << 32 * half;
    }
    vd->packed = vd->agreed >> VIRTIO_F_RING_PACKED & 1;
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    if (!(vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_FEATURES_OK)) {
        abort();
    }
    vd_set_common(vd, VIRTIO_PCI_COMMON_MSIX, 2, 0);
    for (unsigned i = 0; i < queues; i++) {
        vd_queue_setup(vd, i);
    }
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0xf);
}

Gpa vd_buf(Vd *vd, unsigned n, unsigned i)
{
    return vd->q[n].base + VD_BUF + i * 4096;
}

static void put_desc(uint8_t *p, const VdSeg *s, uint16_t flags, uint16_t last)
{
    st64(p, s->addr);
    st32(p + 8, s->len);
    st16(p + 12, flags);
    st16(p + 14, last);
}

static uint16_t add_split(Vd *vd, unsigned n, const VdSeg *segs, unsigned count, bool indirect)
{
    VdQueue *q = &vd->q[n];
    uint8_t *desc = bench_ram(vd->b, q->base, 0x3000), *avail = desc + 0x1000;
    /* Chains take descriptors in turn; tests keep few in flight. */
    uint16_t head = (uint16_t)(q->avail * 4 % q->size);
    uint8_t *table = desc;
    unsigned at = head;

    if (indirect) {
        Gpa where = q->base + 0x4000 + (q->avail % q->size) * 256;
        table = bench_ram(vd->b, where, 256);
        put_desc(desc + 16 * head, &(VdSeg){ .addr = where, .len = 16 * count }, VRING_DESC_F_INDIRECT, 0);
        at = 0;
    }
    for (unsigned i = 0; i < count; i++, at++) {
        uint16_t flags = (segs[i].write ? VRING_DESC_F_WRITE : 0) | (i + 1 < count ? VRING_DESC_F_NEXT : 0);
        put_desc(table + 16 * at, &segs[i], flags, (uint16_t)(at + 1));
    }
    st16(avail + 4 + 2 * (q->avail % q->size), head);
    q->avail++;
    __atomic_store_n((uint16_t *)(void *)(avail + 2), q->avail, __ATOMIC_SEQ_CST);
    return head;
}

static uint16_t packed_flags(bool wrap)
{
    return (uint16_t)(wrap << VRING_PACKED_DESC_F_AVAIL | !wrap << VRING_PACKED_DESC_F_USED);
}

static uint16_t add_packed(Vd *vd, unsigned n, const VdSeg *segs, unsigned count, bool indirect)
{
    VdQueue *q = &vd->q[n];
    uint8_t *desc = bench_ram(vd->b, q->base, 0x1000), *first = desc + 16 * q->avail;
    uint16_t id = q->avail, first_flags = 0;
    VdSeg one;

    if (indirect) {
        Gpa where = q->base + 0x4000 + q->avail * 256;
        uint8_t *table = bench_ram(vd->b, where, 256);
        for (unsigned i = 0; i < count; i++) {
            st64(table + 16 * i, segs[i].addr);
            st32(table + 16 * i + 8, segs[i].len);
            st16(table + 16 * i + 12, 0);
            st16(table + 16 * i + 14, segs[i].write ? VRING_DESC_F_WRITE : 0);
        }
        one = (VdSeg){ .addr = where, .len = 16 * count };
        segs = &one;
        count = 1;
    }
    q->slots_of[id] = (uint16_t)count;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *p = desc + 16 * q->avail;
        uint16_t flags = packed_flags(q->avail_wrap) | (indirect ? VRING_DESC_F_INDIRECT : 0) |
                         (segs[i].write ? VRING_DESC_F_WRITE : 0) | (i + 1 < count ? VRING_DESC_F_NEXT : 0);
        st64(p, segs[i].addr);
        st32(p + 8, segs[i].len);
        st16(p + 12, id);
        if (i == 0) {
            first_flags = flags;
        } else {
            st16(p + 14, flags);
        }
        if (++q->avail == q->size) {
            q->avail = 0;
            q->avail_wrap = !q->avail_wrap;
        }
    }
    __atomic_store_n((uint16_t *)(void *)(first + 14), first_flags, __ATOMIC_SEQ_CST);
    return id;
}

uint16_t vd_add(Vd *vd, unsigned n, const VdSeg *segs, unsigned count, bool indirect)
{
    return (vd->packed ? add_packed : add_split)(vd, n, segs, count, indirect);
}

void vd_kick(Vd *vd, unsigned n)
{
    bench_write16(vd->b, vd->bar + NOTIFY + 4 * n, (uint16_t)n);
}

bool vd_used(Vd *vd, unsigned n)
{
    VdQueue *q = &vd->q[n];

    if (vd->packed) {
        uint8_t *p = bench_ram(vd->b, q->base + 16 * q->used, 16);
        uint16_t f = __atomic_load_n((uint16_t *)(void *)(p + 14), __ATOMIC_ACQUIRE);
        return (f >> VRING_PACKED_DESC_F_AVAIL & 1) == q->used_wrap &&
               (f >> VRING_PACKED_DESC_F_USED & 1) == q->used_wrap;
    }
    uint8_t *used = bench_ram(vd->b, q->base + 0x2000, 4);
    return __atomic_load_n((uint16_t *)(void *)(used + 2), __ATOMIC_ACQUIRE) != q->used;
}

uint32_t vd_wait(Vd *vd, unsigned n, uint16_t *id)
{
    VdQueue *q = &vd->q[n];
    uint16_t got;
    uint32_t len;

    while (!vd_used(vd, n)) {
        vd_sync(vd);
    }
    if (vd->packed) {
        uint8_t *p = bench_ram(vd->b, q->base + 16 * q->used, 16);
        got = ld16(p + 12);
        len = ld32(p + 8);
        q->used = (uint16_t)(q->used + q->slots_of[got % VD_SIZE]);
        if (q->used >= q->size) {
            q->used = (uint16_t)(q->used - q->size);
            q->used_wrap = !q->used_wrap;
        }
    } else {
        uint8_t *e = bench_ram(vd->b, q->base + 0x2004 + 8 * (q->used % q->size), 8);
        got = ld16(e);
        len = ld32(e + 4);
        q->used++;
    }
    if (id) {
        *id = got;
    }
    return len;
}
