/* isa-debugcon.c: the debug console of firmware: a port whose bytes go to a character device.
 *
 * 1. It never holds the guest up: what the host side cannot take now is buffered, and past that dropped.
 * 2. What is buffered is the host's, not the guest's: it is no state. */
#include "chardev/char.h"
#include "core/machine.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

#define BUFFER 16384

typedef struct DebugCon {
    IsaDevice isa;
    Region io;
    CharPort port;
    void *chardev;
    uint32_t iobase, readback;
    uint8_t *buffer;
    size_t held;
} DebugCon;

extern const DeviceType isa_debugcon_type;

static uint64_t debugcon_read(void *dev, uint64_t off, unsigned size)
{
    const DebugCon *c = dev;

    return c->readback & 0xff;
}

static void debugcon_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    DebugCon *c = dev;
    uint8_t byte = (uint8_t)val;

    TRACE(isa_debugcon_write, "0x%02x", byte);
    if (!c->held && char_send(&c->port, &byte, 1)) {
        return;
    }
    if (c->held < BUFFER) {
        c->buffer[c->held++] = byte;
    }
}

static void debugcon_event(CharPort *p, CharEvent what)
{
    DebugCon *c = container_of(p, DebugCon, port);

    domain_enter(c->isa.dev.domain);
    if (c->held) {
        size_t n = char_send(p, c->buffer, c->held);

        memmove(c->buffer, c->buffer + n, c->held - n);
        c->held -= n;
    }
    domain_leave(c->isa.dev.domain);
}

static const CharPortOps port_ops = { .event = debugcon_event };
static const RegionOps debugcon_ops = { debugcon_read, debugcon_write, 1, 1, 0 };

static bool debugcon_realize(Device *d, Error **errp)
{
    DebugCon *c = device_as(d, &isa_debugcon_type);

    if (c->chardev == NULL) {
        return error_set(errp, "Can't create debugcon device, empty char device");
    }
    char_port_init(&c->port, &port_ops);
    if (!chardev_claim(c->chardev, &c->port, d->loop, errp)) {
        return false;
    }
    c->buffer = g_malloc(BUFFER);
    region_io(&c->io, d, "debugcon", &debugcon_ops, 1);
    isa_io(d, &c->io, (uint16_t)c->iobase);
    return true;
}

static void debugcon_unrealize(Device *d)
{
    DebugCon *c = device_as(d, &isa_debugcon_type);

    chardev_release(&c->port);
    /* A callback may be running still: it finds nothing held. */
    domain_enter(d->domain);
    c->held = 0;
    g_clear_pointer(&c->buffer, g_free);
    domain_leave(d->domain);
}

static const PropDesc debugcon_props[] = {
    PROP_U32(DebugCon, iobase, "iobase", 0xe9, 0, 0xffff, "port"),
    PROP_LINK(DebugCon, chardev, "chardev", "chardev", "where the bytes go"),
    PROP_U32(DebugCon, readback, "readback", 0xe9, 0, UINT32_MAX, "what the port reads as"),
    { 0 },
};

const DeviceType isa_debugcon_type = {
    .name = "isa-debugcon", .summary = "debug console port", .slot = &isa_slot,
    .size = sizeof(DebugCon), .flags = DEV_STATELESS, .props = debugcon_props, .category = "Misc",
    .realize = debugcon_realize, .unrealize = debugcon_unrealize,
};
