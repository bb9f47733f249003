/* piix3.c: the PIIX3 ISA bridge, function 0 of slot 1 on the board "pc" (Intel 290550).
 *
 * 1. The chips of its ISA bus share its domain.
 * 2. The PIRQ routes are those of registers 0x60-0x63, decoded whenever they change. */
#include "hw/pci/host.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci-int.h"
#include "hw/pci/pirq.h"

#define PIIX3_PIRQ 0x60

typedef struct Piix3 {
    PciDevice p;
    PirqRouter router;
    Bus *isa;
} Piix3;

unsigned piix3_pirq(unsigned slot, unsigned pin)
{
    /* Slot 1's INTA is PIRQA, and each slot starts one further. */
    return (slot + pin + 3) & 3;
}

static void piix3_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    if (pci_ranges_meet(off, size, PIIX3_PIRQ, 4)) {
        pirq_route(&((Piix3 *)p)->router, p->config + PIIX3_PIRQ, NULL);
    }
}

static bool piix3_realize(Device *d, Error **errp)
{
    Piix3 *s = (Piix3 *)d;
    PciDevice *p = &s->p;
    Machine *m = d->machine;

    s->isa = isa_bus_new(d, "isa.0", &m->io_root, m->gsi);
    m->isa = s->isa;
    pirq_init(&s->router, isa_bus_irqs(s->isa), NULL);
    pci_bus_route(pci_bus(p), &s->router.in, piix3_pirq);

    memset(p->config + PIIX3_PIRQ, PIRQ_OFF, 4);
    memset(p->wmask + PIIX3_PIRQ, 0x8f, 4);
    st16(p->config + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    st16(p->config + PCI_STATUS, PCI_STATUS_DEVSEL_MEDIUM);
    /* IORT, XBCS, BIOS timers, DMA and SMI control: kept, without effect. */
    static const struct { uint8_t at, value, mask; } plain[] = {
        { 0x4c, 0x4d, 0xff }, { 0x4e, 0x03, 0xff }, { 0x4f, 0x00, 0x01 }, { 0x69, 0x02, 0xff },
        { 0x6a, 0x00, 0xff }, { 0x70, 0x80, 0xff }, { 0x76, 0x0c, 0xff }, { 0x77, 0x0c, 0xff },
        { 0x78, 0x02, 0xff }, { 0x82, 0x00, 0x0f }, { 0xa0, 0x08, 0xff }, { 0xa2, 0x00, 0xff },
        { 0xa3, 0x00, 0xff }, { 0xa8, 0x0f, 0xff }, { 0xaa, 0x00, 0xff },
    };
    for (unsigned i = 0; i < ARRAY_LEN(plain); i++) {
        p->config[plain[i].at] = plain[i].value;
        p->wmask[plain[i].at] = plain[i].mask;
    }
    return true;
}

static void piix3_unrealize(Device *d)
{
    Piix3 *s = (Piix3 *)d;

    pci_bus_route(pci_bus(&s->p), NULL, NULL);
    if (d->machine->isa == s->isa) {
        d->machine->isa = NULL;
    }
    isa_bus_free(s->isa);
}

static void piix3_settle(Device *d)
{
    Piix3 *s = (Piix3 *)d;

    pirq_route(&s->router, s->p.config + PIIX3_PIRQ, NULL);
    pirq_refresh(&s->router);
}

static const PciOps piix3_ops = {
    .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .revision = 0x00, .multifunction = true,
    .config_wrote = piix3_config_wrote,
};

const DeviceType piix3_type = {
    .name = "PIIX3", .summary = "ISA bridge of the board pc", .slot = &pci_slot, .size = sizeof(Piix3),
    .flags = DEV_OWN_DOMAIN | DEV_INTERNAL, .category = "Bridge", .slot_ops = &piix3_ops,
    .realize = piix3_realize, .unrealize = piix3_unrealize, .settle = piix3_settle,
};
