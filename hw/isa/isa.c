/* isa.c: the ISA bus: puts the ports of its devices into the map and ties their lines to the sixteen
 * interrupt inputs.
 *
 * 1. A device names its regions in realize; they enter the map together when it is published and leave
 *    it together when it is withdrawn, so no half-made chip answers.
 * 2. The bus is the whole of memory for DMA: fw_cfg's transfers go there. */
#include "hw/isa/isa.h"

#include "core/machine.h"

typedef struct IsaBus {
    Region *io;
    IrqSink *irqs;
} IsaBus;

static bool isa_attach(Bus *b, Device *d, Error **errp)
{
    IsaDevice *isa = (IsaDevice *)d;

    isa->io_count = 0;
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

    for (unsigned i = 0; i < isa->io_count; i++) {
        region_free(isa->io[i]);
    }
    isa->io_count = 0;
}

const SlotType isa_slot = {
    .name = "isa",
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
    bus->irqs = irqs;
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
    g_assert(irq < 16);
    irq_connect(line, isa_bus_irqs(d->bus), irq);
}

Region *isa_bus_io(Bus *b)
{
    const IsaBus *bus = b->priv;

    return bus->io;
}

IrqSink *isa_bus_irqs(Bus *b)
{
    const IsaBus *bus = b->priv;

    return bus->irqs;
}
