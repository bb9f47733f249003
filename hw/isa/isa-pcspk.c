/* isa-pcspk.c: port 0x61, system control port B: gate and output of timer channel 2, speaker, refresh bit.
 *
 * 1. Makes no sound yet.
 * 2. With a PIT beside it, channel 2's gate and output are the PIT's; alone (the PIT and its speaker
 *    gate are the kernel's) the output reads as the gate. */
#include "core/clock.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/i8254.h"
#include "hw/isa/isa.h"
#include "util/trace.h"

enum { GATE = 1, DATA = 2, REFRESH = 0x10, OUT = 0x20 };
/* The refresh request toggles every 15.085 us. */
#define REFRESH_NS 15085

typedef struct PcSpk {
    IsaDevice isa;
    Region io;
    Device *pit;
    uint32_t iobase;
    uint8_t val;
} PcSpk;

static uint64_t spk_read(void *dev, uint64_t off, unsigned size)
{
    const PcSpk *s = dev;
    bool out = s->pit ? pit_out(s->pit, 2) : s->val & GATE;
    bool refresh = clock_now(CLOCK_VM) / REFRESH_NS & 1;

    return s->val | (refresh ? REFRESH : 0) | (out ? OUT : 0);
}

static void spk_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    PcSpk *s = dev;

    TRACE(isa_pcspk_write, "0x%02x", (unsigned)val);
    s->val = val & (GATE | DATA);
    if (s->pit) {
        pit_set_gate(s->pit, 2, s->val & GATE);
    }
}

static const RegionOps spk_ops = { spk_read, spk_write, 1, 1, 0 };

void pcspk_set_pit(Device *spk, Device *pit)
{
    PcSpk *s = device_as(spk, &isa_pcspk_type);

    g_assert(!pit || pit->domain == spk->domain);
    s->pit = pit;
}

static bool spk_realize(Device *d, Error **errp)
{
    PcSpk *s = device_as(d, &isa_pcspk_type);

    region_io(&s->io, d, "pcspk", &spk_ops, 1);
    isa_io(d, &s->io, (uint16_t)s->iobase);
    return true;
}

static void spk_reset(Device *d, ResetKind kind)
{
    PcSpk *s = device_as(d, &isa_pcspk_type);

    s->val = 0;
}

static const StateField spk_fields[] = { STATE_U8(PcSpk, val), { 0 } };
static const StateDesc spk_state = { .name = "isa-pcspk", .version = 1, .fields = spk_fields };

static const PropDesc spk_props[] = {
    PROP_U32(PcSpk, iobase, "iobase", 0x61, 0, 0xffff, "port"),
    { 0 },
};

const DeviceType isa_pcspk_type = {
    .name = "isa-pcspk", .summary = "speaker and system control port B", .slot = &isa_slot,
    .size = sizeof(PcSpk), .flags = DEV_INTERNAL, .props = spk_props, .state = &spk_state,
    .category = "Sound", .realize = spk_realize, .reset = spk_reset,
};
