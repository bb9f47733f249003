/* ioapic.c: the I/O APIC (Intel 82093AA; version 0x20 with the EOI register, as in the ICH9).
 *
 * 1. Redirection entries and input levels are guarded by @lock (rank IRQ); messages are collected under
 *    it and sent after it is dropped.
 * 2. A level input is sent once and again only after its end of interrupt: Remote IRR. An edge on a
 *    masked input is lost (82093AA, 3.2.4). */
#include "hw/isa/ioapic.h"

#include <string.h>
#include "core/machine.h"
#include "core/region.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_SELECT = 0x00, REG_WINDOW = 0x10, REG_EOI = 0x40 };
enum { IDX_ID = 0, IDX_VERSION = 1, IDX_ARB = 2, IDX_TABLE = 0x10 };
#define RTE_VECTOR UINT64_C(0xff)
#define RTE_LOGICAL (UINT64_C(1) << 11)
#define RTE_STATUS (UINT64_C(1) << 12)
#define RTE_REMOTE_IRR (UINT64_C(1) << 14)
#define RTE_LEVEL (UINT64_C(1) << 15)
#define RTE_MASKED (UINT64_C(1) << 16)
#define RTE_WRITABLE (UINT64_C(0xff00000000000000) | 0x1afff)
#define BASE 0xfec00000

typedef struct Ioapic {
    Device dev;
    Region io;
    IrqSink inputs;
    Lock lock;
    uint8_t version;
    IoapicRouteFn *route_fn;
    void *route_arg;
    /* state, GUARDED_BY(lock) */
    uint64_t rte[IOAPIC_PINS];
    uint32_t level;            /* input levels */
    uint32_t irr;              /* edges not yet sent */
    uint32_t id;
    uint8_t select;
} Ioapic;

typedef struct Outbox {
    MsiMsg msg[IOAPIC_PINS];
    unsigned n;
} Outbox;

static MsiMsg message(uint64_t rte)
{
    return (MsiMsg){
        .addr = 0xfee00000 | (rte >> 56) << 12 | (rte & RTE_LOGICAL ? 4 : 0),
        .data = (uint32_t)(rte & 0x7ff) | (rte & RTE_LEVEL ? 0xc000 : 0),
    };
}

/* Sends what pin @n has to send. */
static void serve_locked(Ioapic *a, unsigned n, Outbox *out)
{
    uint64_t rte = a->rte[n];
    uint32_t bit = 1u << n;

    if (rte & RTE_MASKED) {
        return;
    }
    if (rte & RTE_LEVEL) {
        if (!(a->level & bit) || rte & RTE_REMOTE_IRR) {
            return;
        }
        a->rte[n] |= RTE_REMOTE_IRR;
    } else {
        if (!(a->irr & bit)) {
            return;
        }
        a->irr &= ~bit;
    }
    out->msg[out->n++] = message(rte);
}

static void send_all(const Outbox *out)
{
    for (unsigned i = 0; i < out->n; i++) {
        TRACE(ioapic_send, "addr=0x%llx data=0x%x", (unsigned long long)out->msg[i].addr,
              out->msg[i].data);
        msi_send(&out->msg[i]);
    }
}

static void ioapic_set(IrqSink *sink, unsigned pin, bool level)
{
    Ioapic *a = container_of(sink, Ioapic, inputs);
    Outbox out = { .n = 0 };

    if (pin >= IOAPIC_PINS) {
        return;
    }
    lock_take(&a->lock);
    uint32_t bit = 1u << pin;
    if (level && !(a->level & bit) && !(a->rte[pin] & (RTE_LEVEL | RTE_MASKED))) {
        a->irr |= bit;
    }
    a->level = level ? a->level | bit : a->level & ~bit;
    serve_locked(a, pin, &out);
    lock_drop(&a->lock);
    send_all(&out);
}

void ioapic_eoi(Device *d, uint8_t vector)
{
    Ioapic *a = device_as(d, &ioapic_type);
    Outbox out = { .n = 0 };

    lock_take(&a->lock);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if ((a->rte[i] & RTE_VECTOR) == vector && a->rte[i] & RTE_LEVEL && a->rte[i] & RTE_REMOTE_IRR) {
            a->rte[i] &= ~RTE_REMOTE_IRR;
            serve_locked(a, i, &out);
        }
    }
    lock_drop(&a->lock);
    send_all(&out);
}

void ioapic_look(Device *d, IrqChips *out)
{
    Ioapic *a = device_as(d, &ioapic_type);

    lock_take(&a->lock);
    memcpy(out->rte, a->rte, sizeof(out->rte));
    out->ioapic_id = a->id;
    lock_drop(&a->lock);
}

static void tell_route(Ioapic *a, unsigned pin)
{
    MsiMsg m = message(a->rte[pin]);

    if (a->route_fn) {
        a->route_fn(a->route_arg, pin, &m, a->rte[pin] & RTE_MASKED);
    }
}

static uint32_t read_index(const Ioapic *a)
{
    switch (a->select) {
    case IDX_ID: case IDX_ARB:
        return a->id << 24;
    case IDX_VERSION:
        return (IOAPIC_PINS - 1) << 16 | a->version;
    default:
        if (a->select >= IDX_TABLE && a->select < IDX_TABLE + 2 * IOAPIC_PINS) {
            unsigned i = a->select - IDX_TABLE;

            return (uint32_t)(a->rte[i / 2] >> (i & 1 ? 32 : 0));
        }
        return 0;
    }
}

/* Returns the pin whose entry changed, or -1. */
static int write_index_locked(Ioapic *a, uint32_t val, Outbox *out)
{
    if (a->select == IDX_ID) {
        a->id = val >> 24 & 15;
        return -1;
    }
    if (a->select < IDX_TABLE || a->select >= IDX_TABLE + 2 * IOAPIC_PINS) {
        return -1;
    }
    unsigned i = a->select - IDX_TABLE, pin = i / 2;
    uint64_t half = i & 1 ? UINT64_C(0xffffffff00000000) : UINT64_C(0xffffffff);
    uint64_t wide = i & 1 ? (uint64_t)val << 32 : val, mask = half & RTE_WRITABLE;

    a->rte[pin] = (a->rte[pin] & ~mask) | (wide & mask);
    if (!(a->rte[pin] & RTE_LEVEL)) {
        a->rte[pin] &= ~RTE_REMOTE_IRR;        /* how systems without the EOI register end one */
    } else {
        a->irr &= ~(1u << pin);
    }
    serve_locked(a, pin, out);
    return (int)pin;
}

static uint64_t ioapic_read(void *dev, uint64_t off, unsigned size)
{
    Ioapic *a = dev;
    uint32_t val = 0;

    lock_take(&a->lock);
    if (off == REG_SELECT) {
        val = a->select;
    } else if (off == REG_WINDOW) {
        val = read_index(a);
    }
    lock_drop(&a->lock);
    return val;
}

static void ioapic_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Ioapic *a = dev;
    Outbox out = { .n = 0 };
    int changed = -1;

    TRACE(ioapic_write, "off=0x%x index=0x%x val=0x%x", (unsigned)off, a->select, (unsigned)val);
    if (off == REG_EOI) {
        if (a->version >= 0x20) {
            ioapic_eoi(&a->dev, (uint8_t)val);
        }
        return;
    }
    lock_take(&a->lock);
    if (off == REG_SELECT) {
        a->select = (uint8_t)val;
    } else if (off == REG_WINDOW) {
        changed = write_index_locked(a, (uint32_t)val, &out);
    }
    lock_drop(&a->lock);
    if (changed >= 0) {
        tell_route(a, (unsigned)changed);
    }
    send_all(&out);
}

static const RegionOps ioapic_ops = { ioapic_read, ioapic_write, 4, 4, 0 };

IrqSink *ioapic_inputs(Device *d)
{
    Ioapic *a = device_as(d, &ioapic_type);

    return &a->inputs;
}

void ioapic_on_route(Device *d, IoapicRouteFn *fn, void *arg)
{
    Ioapic *a = device_as(d, &ioapic_type);

    a->route_fn = fn;
    a->route_arg = arg;
}

/* --- life --- */
static bool ioapic_realize(Device *d, Error **errp)
{
    Ioapic *a = device_as(d, &ioapic_type);

    lock_init(&a->lock, RANK_IRQ, "ioapic");
    a->inputs.set = ioapic_set;
    a->inputs.pins = IOAPIC_PINS;
    d->inputs = &a->inputs;
    region_io(&a->io, d, "ioapic", &ioapic_ops, 0x1000);
    map_put_one(&d->machine->mem_root, &a->io, BASE, 0);
    return true;
}

static void ioapic_unrealize(Device *d)
{
    Ioapic *a = device_as(d, &ioapic_type);

    map_drop_one(&a->io);
    region_free(&a->io);
    lock_destroy(&a->lock);
}

static void ioapic_reset(Device *d, ResetKind kind)
{
    Ioapic *a = device_as(d, &ioapic_type);

    lock_take(&a->lock);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        a->rte[i] = RTE_MASKED;
    }
    a->level = a->irr = a->id = 0;
    a->select = 0;
    lock_drop(&a->lock);
}

static void ioapic_settle(Device *d)
{
    Ioapic *a = device_as(d, &ioapic_type);

    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        tell_route(a, i);
    }
}

static const StateField ioapic_fields[] = {
    STATE_U64_ARRAY(Ioapic, rte), STATE_U32(Ioapic, level), STATE_U32(Ioapic, irr),
    STATE_U32(Ioapic, id), STATE_U8(Ioapic, select),
    { 0 },
};
static const StateDesc ioapic_state = { .name = "ioapic", .version = 1, .fields = ioapic_fields };

static const PropDesc ioapic_props[] = {
    PROP_U8(Ioapic, version, "version", 0x20, 0x11, 0x20, "version register; 0x20 has the EOI register"),
    { 0 },
};

const DeviceType ioapic_type = {
    .name = "ioapic", .summary = "I/O APIC", .slot = &board_slot, .size = sizeof(Ioapic),
    .flags = DEV_INTERNAL, .props = ioapic_props, .state = &ioapic_state, .category = "Misc",
    .realize = ioapic_realize, .unrealize = ioapic_unrealize, .reset = ioapic_reset,
    .settle = ioapic_settle,
};
