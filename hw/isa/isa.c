/* isa.c: the ISA bus: puts the ports of its devices into the map and ties their lines to the sixteen
 * interrupt inputs.
 *
 * 1. A device names its regions in realize; they enter the map together when it is published and leave
 *    it together when it is withdrawn, so no half-made chip answers.
 * 2. An interrupt's level is the OR of its wires: bit n of level[irq] is wire n, wire 0 the board's.
 *    Whoever changes it passes the level on until what was passed is what is true, so two threads
 *    cannot leave a stale one behind.
 * 3. The bus is the whole of memory for DMA: fw_cfg's transfers go there. */
#include "hw/isa/isa.h"

#include "core/machine.h"
#include "util/bytes.h"

#define WIRES 32

typedef struct IsaBus {
    Region *io;
    IrqSink in, *out;
    uint32_t level[16];        /* atomic */
    uint32_t used[16];         /* control thread */
} IsaBus;

static void isa_set_irq(IrqSink *s, unsigned pin, bool level)
{
    IsaBus *bus = container_of(s, IsaBus, in);
    unsigned irq = pin % 16;
    uint32_t bit = 1u << pin / 16 % WIRES;
    uint32_t old = level ? __atomic_fetch_or(&bus->level[irq], bit, __ATOMIC_SEQ_CST)
                         : __atomic_fetch_and(&bus->level[irq], ~bit, __ATOMIC_SEQ_CST);
    uint32_t now = level ? old | bit : old & ~bit;

    if (!bus->out) {
        return;
    }
    /* A repeated level is passed on as well: it is how a reset sink learns of its inputs. */
    if ((old != 0) == (now != 0) && old != now) {
        return;
    }
    bool told;
    do {
        told = __atomic_load_n(&bus->level[irq], __ATOMIC_SEQ_CST) != 0;
        (bus->out->tap ? bus->out->tap : bus->out->set)(bus->out, irq, told);
    } while (told != (__atomic_load_n(&bus->level[irq], __ATOMIC_SEQ_CST) != 0));
}

static bool isa_attach(Bus *b, Device *d, Error **errp)
{
    IsaDevice *isa = (IsaDevice *)d;

    isa->io_count = isa->line_count = 0;
    if (d->machine) {
        d->dma = d->machine->mem;
        __atomic_store_n(&d->dma_on, true, __ATOMIC_RELEASE);
    }
    return true;
}

static bool isa_publish(Bus *b, Device *d, Error **errp)
{
    IsaDevice *isa = (IsaDevice *)d;
    IsaBus *bus = b->priv;

    map_begin();
    for (unsigned i = 0; i < isa->io_count; i++) {
        map_put(bus->io, isa->io[i], isa->port[i], 0);
    }
    map_commit();
    return true;
}

static void isa_withdraw(Bus *b, Device *d)
{
    IsaDevice *isa = (IsaDevice *)d;

    map_begin();
    for (unsigned i = 0; i < isa->io_count; i++) {
        map_drop(isa->io[i]);
    }
    map_commit();
}

static void isa_detach(Bus *b, Device *d)
{
    IsaDevice *isa = (IsaDevice *)d;
    IsaBus *bus = b->priv;

    for (unsigned i = 0; i < isa->io_count; i++) {
        region_free(isa->io[i]);
    }
    isa->io_count = 0;
    for (unsigned i = 0; i < isa->line_count; i++) {
        unsigned pin = isa->pin[i];

        bus->used[pin % 16] &= ~(1u << pin / 16);
        isa_set_irq(&bus->in, pin, false);
    }
    isa->line_count = 0;
}

const SlotType isa_slot = {
    .name = "isa",
    .bus = "ISA",
    .base_size = sizeof(IsaDevice),
    .attach = isa_attach,
    .publish = isa_publish,
    .withdraw = isa_withdraw,
    .detach = isa_detach,
};

Bus *isa_bus_new(Device *owner, const char *name, Region *io, IrqSink *irqs)
{
    assert_control();
    Bus *b = bus_new(&isa_slot, owner, name);
    IsaBus *bus = g_new0(IsaBus, 1);

    bus->io = io;
    bus->in.set = isa_set_irq;
    bus->in.pins = 16 * WIRES;
    bus->out = irqs;
    b->priv = bus;
    return b;
}

void isa_bus_free(Bus *b)
{
    assert_control();
    g_free(b->priv);
    b->priv = NULL;
}

void isa_io(Device *d, Region *r, uint16_t port)
{
    assert_control();
    IsaDevice *isa = (IsaDevice *)d;

    g_assert(d->bus && d->bus->slot == &isa_slot && isa->io_count < ISA_IO_MAX);
    isa->io[isa->io_count] = r;
    isa->port[isa->io_count++] = port;
}

void isa_irq(Device *d, IrqLine *line, unsigned irq)
{
    assert_control();
    IsaDevice *isa = (IsaDevice *)d;
    IsaBus *bus = d->bus->priv;
    unsigned wire = 1;

    g_assert(irq < 16 && isa->line_count < ISA_LINES_MAX);
    while (wire < WIRES - 1 && bus->used[irq] & 1u << wire) {
        wire++;
    }
    bus->used[irq] |= 1u << wire;
    isa->pin[isa->line_count++] = irq + 16 * wire;
    irq_connect(line, &bus->in, irq + 16 * wire);
}

Region *isa_bus_io(Bus *b)
{
    const IsaBus *bus = b->priv;

    return bus->io;
}

IrqSink *isa_bus_irqs(Bus *b)
{
    IsaBus *bus = b->priv;

    return &bus->in;
}
