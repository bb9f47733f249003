/* pc-dimm.c: a DIMM in one of the slots that -m slots= gives, with a memory back end for its RAM.
 *
 * 1. The guest learns of it by ACPI (Machine.dimms), never by the memory map of firmware. */
#include "core/machine.h"
#include "core/ram.h"
#include "util/bytes.h"

typedef struct PcDimm {
    Device dev;
    MemoryDevice place;
    Region mem;
    /* properties */
    RamBlock *ram;
    uint64_t addr, size;
    uint32_t node;
    int32_t slot;
} PcDimm;

/* Memory comes in what a guest can map with large pages. */
static uint64_t alignment(const RamBlock *ram)
{
    return MAX((uint64_t)ram->page_size, 2 * MiB);
}

static bool find_slot(PcDimm *s, const MachinePlaces *slots, Error **errp)
{
    if (slots->count == 0) {
        return error_set(errp, "no slots where allocated, please specify the 'slots' option");
    }
    if (slots->ops == NULL) {
        return error_set(errp, "memory hotplug is not enabled: missing acpi device or acpi disabled");
    }
    if (s->slot >= 0 && (unsigned)s->slot >= slots->count) {
        return error_set(errp, "invalid slot number %d, valid range is [0-%u]", s->slot, slots->count - 1);
    }
    if (s->slot >= 0 && slots->dev[s->slot] != NULL) {
        return error_set(errp, "slot %d is busy", s->slot);
    }
    for (unsigned i = 0; s->slot < 0 && i < slots->count; i++) {
        s->slot = slots->dev[i] == NULL ? (int32_t)i : -1;
    }
    return s->slot >= 0 || error_set(errp, "no free slots available");
}

static bool dimm_check(const PcDimm *s, Error **errp)
{
    unsigned nodes = MAX(s->dev.machine->cfg.numa_nodes, 1);

    if (s->ram->in_use) {
        return error_set(errp, "can't use already busy memdev: %s", s->ram->id);
    }
    return s->node < nodes || error_set(errp, "'DIMM property node has value %u' which exceeds the number of "
                                        "numa nodes: %u", s->node, nodes);
}

static bool dimm_realize(Device *d, Error **errp)
{
    PcDimm *s = (PcDimm *)d;
    Machine *m = d->machine;

    if (!m->cfg.acpi) {
        return error_set(errp, "memory hotplug is not enabled: missing acpi device or acpi disabled");
    }
    if (!dimm_check(s, errp) || !find_slot(s, &m->dimms, errp)) {
        return false;
    }
    s->place = (MemoryDevice){ .dev = d, .addr = s->addr, .size = s->ram->size };
    if (!memory_device_plug(m, &s->place, alignment(s->ram), errp)) {
        return false;
    }
    s->addr = s->place.addr;
    s->size = s->place.size;
    s->ram->in_use = true;
    m->dimm_ranges[s->slot] = (MachineDimm){ s->addr, s->size, s->node };
    region_ram(&s->mem, d, d->id, s->ram, 0, s->size);
    return true;
}

static void dimm_unrealize(Device *d)
{
    PcDimm *s = (PcDimm *)d;

    map_drop_one(&s->mem);
    region_free(&s->mem);
    memory_device_unplug(d->machine, &s->place);
    s->ram->in_use = false;
}

static bool dimm_publish(Bus *b, Device *d, Error **errp)
{
    PcDimm *s = (PcDimm *)d;

    map_put_one(&d->machine->mem_root, &s->mem, s->addr, 0);
    machine_place_take(&d->machine->dimms, s->slot, d);
    return true;
}

static void dimm_detach(Bus *b, Device *d)
{
    PcDimm *s = (PcDimm *)d;

    if (s->slot >= 0 && d->machine->dimms.count > (unsigned)s->slot && d->machine->dimms.dev[s->slot] == d) {
        machine_place_leave(&d->machine->dimms, s->slot);
    }
}

static bool dimm_unplug_request(Device *d, Error **errp)
{
    const MachinePlaces *slots = &d->machine->dimms;

    return slots->ops->unplug_request(slots->arg, ((PcDimm *)d)->slot, errp);
}

static const SlotType dimm_slot = {
    .name = "dimm", .no_bus = true, .base_size = sizeof(Device), .publish = dimm_publish,
    .detach = dimm_detach, .unplug_request = dimm_unplug_request,
};

static const PropDesc dimm_props[] = {
    { .name = "memdev", .help = "id of the memory back end", .kind = PROP_KIND_LINK, .flags = PROP_REQUIRED,
      .at = offsetof(PcDimm, ram), .link_class = "memory-backend" },
    PROP_U64(PcDimm, addr, "addr", 0, 0, UINT64_MAX, "address; 0: the first that is free"),
    PROP_U32(PcDimm, node, "node", 0, 0, NUMA_NODES_MAX - 1, "NUMA node"),
    PROP_I32(PcDimm, slot, "slot", -1, -1, 255, "slot; -1: the first that is free"),
    { 0 },
};

const DeviceType pc_dimm_type = {
    .name = "pc-dimm", .summary = "DIMM memory module", .slot = &dimm_slot, .size = sizeof(PcDimm),
    .flags = DEV_HOTPLUG | DEV_STATELESS, .category = "Misc", .props = dimm_props,
    .realize = dimm_realize, .unrealize = dimm_unrealize,
};
