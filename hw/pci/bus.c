/* bus.c: PCI buses: finding functions, bus numbers, and the INTx wires.
 *
 * 1. functions[] and the list of child buses are published for readers in an epoch section; control
 *    alone changes them.
 * 2. A bridge's bus numbers are one atomic word, so finding a function takes no domain.
 * 3. Swizzling (PCI-to-PCI Bridge 1.2, section 9.1) is computed on the way up at each change: the
 *    tree above a function is fixed. */
#include "hw/pci/pci-int.h"

#include "hw/pci/merge.h"

PciBus *pci_bus_new(Device *owner, const char *name, PciDevice *bridge, bool express, Region *mem,
                    Region *io, Space *dma)
{
    assert_control();
    PciBus *b = g_new0(PciBus, 1);
    b->bus = bus_new(&pci_slot, owner, name);
    b->bus->type_name = express ? "PCIE" : NULL;
    b->bus->priv = b;
    b->bridge = bridge;
    b->express = express;
    b->mem = mem;
    b->io = io;
    b->dma = dma;
    b->slot_max = 31;
    b->root = b;
    if (bridge) {
        b->parent = pci_bus(bridge);
        b->root = b->parent->root;
        bridge->secondary = b;
        b->child_next = b->parent->child_first;
        epoch_store(b->parent->child_first, b);
    }
    return b;
}

static void bus_reclaim(EpochItem *item)
{
    g_free(container_of(item, PciBus, epoch));
}

void pci_bus_free(PciBus *b)
{
    assert_control();
    if (b->hotplug && b->hotplug->gone) {
        b->hotplug->gone(b);
    }
    if (b->parent) {
        PciBus **at = &b->parent->child_first;
        while (*at != b) {
            at = &(*at)->child_next;
        }
        epoch_store(*at, b->child_next);
        b->bridge->secondary = NULL;
    }
    b->bus->priv = NULL;
    epoch_defer(&b->epoch, bus_reclaim);
}

PciBus *pci_bus_of(const Bus *b)
{
    return b->priv;
}

PciBus *pci_bus(const PciDevice *p)
{
    return p->dev.bus ? p->dev.bus->priv : NULL;
}

uint8_t pci_bus_number(const PciBus *b)
{
    return b->bridge ? __atomic_load_n(&b->numbers, __ATOMIC_RELAXED) >> 8 & 0xff : 0;
}

void pci_bridge_numbers(PciDevice *p)
{
    if (p->secondary) {
        __atomic_store_n(&p->secondary->numbers, ld32(p->config + PCI_PRIMARY_BUS), __ATOMIC_RELAXED);
    }
}

uint16_t pci_requester_id(const PciDevice *p)
{
    return (uint16_t)(pci_bus_number(pci_bus(p)) << 8 | p->devfn);
}

/* The bus numbered @bus at or below @b; a bridge claims its secondary..subordinate range. */
static PciBus *find_bus(PciBus *b, uint8_t bus)
{
    PciBus *c = epoch_load(b->child_first);

    while (c) {
        uint32_t n = __atomic_load_n(&c->numbers, __ATOMIC_RELAXED);
        uint8_t secondary = n >> 8, subordinate = n >> 16;

        if (secondary == bus && secondary != 0) {
            return c;
        }
        if (secondary != 0 && bus > secondary && bus <= subordinate &&
            !__atomic_load_n(&c->off, __ATOMIC_ACQUIRE)) {
            c = epoch_load(c->child_first);
        } else {
            c = epoch_load(c->child_next);
        }
    }
    return NULL;
}

PciDevice *pci_find_below(PciBus *root, uint8_t bus, uint8_t devfn)
{
    PciBus *b = find_bus(root, bus);

    return b ? pci_function(b, devfn) : NULL;
}

void pci_bus_each(PciBus *b, void (*fn)(PciDevice *p, void *arg), void *arg)
{
    epoch_enter();
    for (unsigned i = 0; i < ARRAY_LEN(b->functions); i++) {
        PciDevice *p = epoch_load(b->functions[i]);
        if (p) {
            fn(p, arg);
            if (p->secondary) {
                pci_bus_each(p->secondary, fn, arg);
            }
        }
    }
    epoch_leave();
}

/* --- INTx --- */

static unsigned map_plain(unsigned slot, unsigned pin)
{
    return (slot + pin) & 3;
}

void pci_bus_route(PciBus *b, IrqSink *to, unsigned (*map)(unsigned slot, unsigned pin))
{
    assert_control();
    b->intx_to = to;
    b->intx_map = map;
}

/* Adds @by (+1 or -1) to the number of functions that assert the wire @p's pin ends in. */
static void wire_add(PciDevice *p, int by)
{
    PciBus *b = pci_bus(p);
    unsigned pin = p->config[PCI_INTERRUPT_PIN] - 1u;
    unsigned slot = PCI_SLOT(p->devfn);

    while (b->parent) {
        pin = (pin + slot) & 3;
        slot = PCI_SLOT(b->bridge->devfn);
        b = b->parent;
    }
    unsigned wire = (b->intx_map ? b->intx_map : map_plain)(slot, pin & 3) & 7;
    merge_add(&b->intx_count[wire], by);
    if (!b->intx_to || !merge_begin(&b->intx_busy[wire])) {
        return;
    }
    unsigned seen;
    do {
        seen = merge_seen(&b->intx_busy[wire]);
        merge_tell(b->intx_to, wire, merge_load(&b->intx_count[wire]) > 0);
    } while (!merge_end(&b->intx_busy[wire], seen));
}

void pci_intx_update(PciDevice *p)
{
    if (!merge_begin(&p->intx_busy)) {
        return;
    }
    unsigned seen;
    do {
        seen = merge_seen(&p->intx_busy);
        bool want = merge_load(&p->intx_level) && !merge_load(&p->intx_off);
        if (want != p->intx_driven) {
            p->intx_driven = want;
            wire_add(p, want ? 1 : -1);
        }
    } while (!merge_end(&p->intx_busy, seen));
}

static void gate_set(IrqSink *s, unsigned pin, bool level)
{
    PciDevice *p = container_of(s, PciDevice, intx_gate);

    merge_store(&p->intx_level, level);
    pci_intx_update(p);
}

void pci_intx_init(PciDevice *p)
{
    p->intx_gate = (IrqSink){ .set = gate_set, .pins = 1 };
    irq_line_init(&p->intx, &p->dev, "intx");
    if (p->config[PCI_INTERRUPT_PIN]) {
        irq_connect(&p->intx, &p->intx_gate, 0);
    }
}

void pci_intx_off(PciDevice *p, bool off)
{
    if (merge_load(&p->intx_off) != off) {
        merge_store(&p->intx_off, off);
        if (p->config[PCI_INTERRUPT_PIN]) {
            pci_intx_update(p);
        }
    }
}

/* The function leaves: it asserts nothing any more. */
void pci_intx_drop(PciDevice *p)
{
    if (p->config[PCI_INTERRUPT_PIN]) {
        merge_store(&p->intx_level, false);
        pci_intx_update(p);
    }
}

IrqLine *pci_intx(PciDevice *p)
{
    return &p->intx;
}

void pci_irq_level(PciDevice *p, bool level)
{
    bool was = p->msi_level;

    assert_domain(p->dev.domain);
    p->msi_level = level;
    if (pci_msi_enabled(p)) {
        /* A message per rising edge; the line itself stays low (PCI 3.0, 6.8.3.3). */
        irq_set(&p->intx, false);
        if (level && !was) {
            pci_msi_fire(p, 0);
        }
        return;
    }
    irq_set(&p->intx, level);
}
