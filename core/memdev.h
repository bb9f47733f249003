/* memdev.h: memory devices (DIMMs, virtio-mem) in the area that -m maxmem= leaves for them.
 *
 * 1. The list is sorted by address; its ranges are inside the area and do not overlap. */
#ifndef CORE_MEMDEV_H
#define CORE_MEMDEV_H

#include "core/types.h"

typedef struct MemoryDevice {
    Device *dev;
    uint64_t addr;             /* 0 before memory_device_plug(): it chooses */
    uint64_t size;             /* of the range it occupies, and what counts against maxmem */
    const uint64_t *plugged;   /* atomic: how much of @size the guest has; NULL: all (DIMMs) */
    bool hotplugged;           /* it came while the guest ran */
    struct MemoryDevice *next;
} MemoryDevice;

typedef struct MemoryArea {
    Gpa base;                  /* end of RAM, rounded up to a GiB */
    uint64_t size;             /* of the addresses; 0: no memory devices */
    uint64_t limit;            /* how many bytes of memory may be plugged: maxmem minus RAM */
    MemoryDevice *first;
} MemoryArea;

/* Finds a place for @md, aligned to @align, or checks the one it has, and lists it. */
CTX_CONTROL bool memory_device_plug(Machine *m, MemoryDevice *md, uint64_t align, Error **errp);
CTX_CONTROL void memory_device_unplug(Machine *m, MemoryDevice *md);
/* Bytes of memory that the guest has in all of them. */
CTX_CONTROL uint64_t memory_device_total(const Machine *m);

#endif
