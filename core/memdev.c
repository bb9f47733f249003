/* memdev.c: where memory devices go, see memdev.h. */
#include "core/memdev.h"

#include "core/machine.h"
#include "util/bytes.h"

static bool check_area(const MemoryArea *a, const MemoryDevice *md, uint64_t align, Error **errp)
{
    uint64_t used = 0;

    if (a->size == 0) {
        return error_set(errp, "memory devices (e.g. for memory hotplug) are not enabled, please specify "
                         "the maxmem option");
    }
    for (const MemoryDevice *d = a->first; d != NULL; d = d->next) {
        used += d->size;
    }
    if (md->size > a->limit - used) {
        return error_set(errp, "not enough space, currently 0x%" PRIx64 " in use of total space for memory "
                         "devices 0x%" PRIx64, used, a->limit);
    }
    if (md->addr % align != 0) {
        return error_set(errp, "address must be aligned to 0x%" PRIx64 " bytes", align);
    }
    if (md->size % align != 0) {
        return error_set(errp, "backend memory size must be multiple of 0x%" PRIx64, align);
    }
    if (md->addr != 0 && (md->addr < a->base || md->addr - a->base > a->size - md->size)) {
        return error_set(errp, "can't add memory device [0x%" PRIx64 ":0x%" PRIx64 "], usable range for "
                         "memory devices [0x%" PRIx64 ":0x%" PRIx64 "]",
                         md->addr, md->size, a->base, a->size);
    }
    return true;
}

bool memory_device_plug(Machine *m, MemoryDevice *md, uint64_t align, Error **errp)
{
    MemoryArea *a = &m->memory_area;
    MemoryDevice **at = &a->first;
    uint64_t from = md->addr;

    assert_control();
    if (!check_area(a, md, align, errp)) {
        return false;
    }
    if (md->addr == 0) {                    /* the first gap that is large enough */
        from = ALIGN_UP(a->base, align);
        while (*at != NULL && (*at)->addr < from + md->size) {
            from = ALIGN_UP(MAX(from, (*at)->addr + (*at)->size), align);
            at = &(*at)->next;
        }
        if (from - a->base > a->size - md->size) {
            return error_set(errp, "could not find position in guest address space for memory device - "
                             "memory fragmented due to alignments");
        }
    } else {
        while (*at != NULL && (*at)->addr + (*at)->size <= from) {
            at = &(*at)->next;
        }
        if (*at != NULL && (*at)->addr < from + md->size) {
            return error_set(errp, "address range conflicts with memory device id='%s'",
                             (*at)->dev->id[0] != 0 ? (*at)->dev->id : "(unnamed)");
        }
    }
    md->addr = from;
    md->hotplugged = machine_was_reset();
    md->next = *at;
    *at = md;
    return true;
}

void memory_device_unplug(Machine *m, MemoryDevice *md)
{
    MemoryDevice **at = &m->memory_area.first;

    assert_control();
    while (*at != NULL && *at != md) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = md->next;
    }
}

uint64_t memory_device_total(const Machine *m)
{
    uint64_t sum = 0;

    for (const MemoryDevice *d = m->memory_area.first; d != NULL; d = d->next) {
        sum += d->plugged != NULL ? __atomic_load_n(d->plugged, __ATOMIC_RELAXED) : d->size;
    }
    return sum;
}
