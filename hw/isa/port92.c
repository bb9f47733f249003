/* port92.c: system control port A: fast reset and the fast A20 gate (IBM PS/2 Technical Reference).
 *
 * 1. The A20 bit is kept and read back but gates nothing: line 20 is always open. */
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/trace.h"

enum { FAST_RESET = 1 };

typedef struct Port92 {
    IsaDevice isa;
    Region io;
    uint8_t val;
} Port92;

extern const DeviceType port92_type;

static uint64_t port92_read(void *dev, uint64_t off, unsigned size)
{
    const Port92 *p = dev;

    return p->val;
}

static void port92_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Port92 *p = dev;
    uint8_t old = p->val;

    TRACE(port92_write, "0x%02x", (unsigned)val);
    p->val = (uint8_t)val;
    if (p->val & ~old & FAST_RESET) {
        machine_request(REQUEST_RESET, 0, "port 92");
    }
}

static const RegionOps port92_ops = { port92_read, port92_write, 1, 1, 0 };

static bool port92_realize(Device *d, Error **errp)
{
    Port92 *p = device_as(d, &port92_type);

    region_io(&p->io, d, "port92", &port92_ops, 1);
    isa_io(d, &p->io, 0x92);
    return true;
}

static void port92_reset(Device *d, ResetKind kind)
{
    Port92 *p = device_as(d, &port92_type);

    p->val = 0;
}

static const StateField port92_fields[] = { STATE_U8(Port92, val), { 0 } };
static const StateDesc port92_state = { .name = "port92", .version = 1, .fields = port92_fields };

const DeviceType port92_type = {
    .name = "port92", .summary = "system control port A", .slot = &isa_slot, .size = sizeof(Port92),
    .flags = DEV_INTERNAL, .state = &port92_state, .category = "Misc", .realize = port92_realize,
    .reset = port92_reset,
};
