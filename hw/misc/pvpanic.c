/* pvpanic.c: lets a guest tell that it panicked (the public pvpanic specification), as ISA port. */
#include "hw/misc/pvpanic.h"

#include "core/machine.h"
#include "hw/isa/isa.h"
#include "util/trace.h"

typedef struct PvPanic {
    IsaDevice isa;
    Region io;
    uint16_t ioport;
    uint8_t events;
} PvPanic;

extern const DeviceType pvpanic_type;

void pvpanic_event(uint8_t events, uint8_t val)
{
    TRACE(pvpanic_event, "0x%02x", val);
    if (val & ~(PVPANIC_PANICKED | PVPANIC_CRASHLOADED)) {
        guest_bug("pvpanic", "unknown event 0x%02x", val);
    }
    if (val & events & PVPANIC_PANICKED) {
        machine_request(REQUEST_PANIC, val, "pvpanic");
    } else if (val & events & PVPANIC_CRASHLOADED) {
        machine_request(REQUEST_CRASHLOADED, val, "pvpanic");
    }
}

static uint64_t pvpanic_read(void *dev, uint64_t off, unsigned size)
{
    const PvPanic *p = dev;

    return p->events;
}

static void pvpanic_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    const PvPanic *p = dev;

    pvpanic_event(p->events, (uint8_t)val);
}

static const RegionOps pvpanic_ops = { pvpanic_read, pvpanic_write, 1, 1, 0 };

static bool pvpanic_realize(Device *d, Error **errp)
{
    PvPanic *p = device_as(d, &pvpanic_type);

    region_io(&p->io, d, "pvpanic", &pvpanic_ops, 1);
    isa_io(d, &p->io, p->ioport);
    return true;
}

static const PropDesc pvpanic_props[] = {
    PROP_U16(PvPanic, ioport, "ioport", 0x505, 0, 0xffff, "port"),
    PROP_U8(PvPanic, events, "events", 3, 0, 3, "events offered: 1 panicked, 2 crash kernel loaded"),
    { 0 },
};

const DeviceType pvpanic_type = {
    .name = "pvpanic", .summary = "tells the host of a guest's panic", .slot = &isa_slot,
    .size = sizeof(PvPanic), .flags = DEV_STATELESS, .props = pvpanic_props, .category = "Misc",
    .realize = pvpanic_realize,
};
