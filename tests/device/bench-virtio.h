/* bench-virtio.h: a virtio driver on the fake board: modern PCI transport, split or packed rings.
 *
 * 1. Queue n's areas and buffers lie at VD_AT + n * VD_STRIDE in guest RAM.
 * 2. The device's worker is a real thread; vd_wait() passes the time by waiting for its loop. */
#ifndef TESTS_DEVICE_BENCH_VIRTIO_H
#define TESTS_DEVICE_BENCH_VIRTIO_H

#include "hw/virtio/virtio.h"
#include "tests/device/bench-pci.h"

#define VD_AT 0x200000
#define VD_STRIDE 0x40000
#define VD_SIZE 64             /* entries of a queue: four for each chain in flight */
#define VD_BUF 0x10000         /* offset of the buffers in the stride */
#define VD_QUEUES 8

typedef struct VdQueue {
    Gpa base;
    uint16_t size, avail, used;        /* free-running (split), slots (packed) */
    bool avail_wrap, used_wrap;
    uint16_t slots_of[VD_SIZE];
} VdQueue;

typedef struct Vd {
    Bench *b;
    Device *d;
    VirtioDevice *v;
    Gpa bar;
    uint64_t agreed;
    bool packed;
    VdQueue q[VD_QUEUES];
} Vd;

typedef struct VdSeg {
    Gpa addr;
    uint32_t len;
    bool write;
} VdSeg;

uint32_t vd_common(Vd *vd, unsigned off, unsigned size);
void vd_set_common(Vd *vd, unsigned off, unsigned size, uint32_t val);
/* Maps the BARs and switches MSI-X on. */
Vd *vd_new(Bench *b, Device *d);
void vd_free(Vd *vd);
/* Reset, negotiation of what the device offers in @want, @queues queues, DRIVER_OK. */
void vd_start(Vd *vd, uint64_t want, unsigned queues);
void vd_queue_setup(Vd *vd, unsigned n);
/* Writes status 0 and waits until it reads 0. */
void vd_reset(Vd *vd);
/* Makes a chain available; returns its id.  @indirect: through a table. */
uint16_t vd_add(Vd *vd, unsigned n, const VdSeg *segs, unsigned count, bool indirect);
void vd_kick(Vd *vd, unsigned n);
/* Waits for the next used element: its length, and its id in @id (may be NULL). */
uint32_t vd_wait(Vd *vd, unsigned n, uint16_t *id);
/* True if there is one now. */
bool vd_used(Vd *vd, unsigned n);
/* The worker has done what was asked of it. */
void vd_sync(Vd *vd);
/* Address of buffer @i (4 KiB each) of queue @n. */
Gpa vd_buf(Vd *vd, unsigned n, unsigned i);

#endif
