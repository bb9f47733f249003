/* isa-debug-exit.c: a port that ends the process with a status the guest chooses, for test guests. */
#include "core/machine.h"
#include "hw/isa/isa.h"
#include "util/trace.h"

typedef struct DebugExit {
    IsaDevice isa;
    Region io;
    uint32_t iobase, iosize;
} DebugExit;

extern const DeviceType isa_debug_exit_type;

static uint64_t exit_read(void *dev, uint64_t off, unsigned size)
{
    return 0;
}

static void exit_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    TRACE(isa_debug_exit_write, "0x%x", (unsigned)val);
    /* Odd, so that it is never mistaken for success. */
    machine_request(REQUEST_EXIT, (uint32_t)val << 1 | 1, "isa-debug-exit");
}

static const RegionOps exit_ops = { exit_read, exit_write, 1, 4, 0 };

static bool exit_realize(Device *d, Error **errp)
{
    DebugExit *e = device_as(d, &isa_debug_exit_type);

    if (e->iobase + e->iosize > 0x10000) {
        return error_set(errp, "iobase 0x%x with iosize %u is past the last port", e->iobase, e->iosize);
    }
    region_io(&e->io, d, "isa-debug-exit", &exit_ops, e->iosize);
    isa_io(d, &e->io, (uint16_t)e->iobase);
    return true;
}

static const PropDesc exit_props[] = {
    PROP_U32(DebugExit, iobase, "iobase", 0x501, 0, 0xffff, "port"),
    PROP_U32(DebugExit, iosize, "iosize", 2, 1, 8, "how many ports"),
    { 0 },
};

const DeviceType isa_debug_exit_type = {
    .name = "isa-debug-exit", .summary = "ends the process with a status of the guest's choice",
    .slot = &isa_slot, .size = sizeof(DebugExit), .flags = DEV_STATELESS, .props = exit_props,
    .category = "Misc", .realize = exit_realize,
};
