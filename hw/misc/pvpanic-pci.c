/* pvpanic-pci.c: pvpanic as a PCI function: the same register in a memory BAR. */
#include "hw/misc/pvpanic.h"
#include "hw/pci/pci.h"

typedef struct PvPanicPci {
    PciDevice p;
    Region mmio;
    uint8_t events;
} PvPanicPci;

extern const DeviceType pvpanic_pci_type;

static uint64_t panic_read(void *dev, uint64_t off, unsigned size)
{
    const PvPanicPci *p = dev;

    return p->events;
}

static void panic_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    const PvPanicPci *p = dev;

    pvpanic_event(p->events, (uint8_t)val);
}

static const RegionOps panic_ops = { panic_read, panic_write, 1, 1, 0 };

static bool panic_realize(Device *d, Error **errp)
{
    PvPanicPci *p = device_as(d, &pvpanic_pci_type);

    region_io(&p->mmio, d, "pvpanic", &panic_ops, 16);
    pci_bar(&p->p, 0, BAR_MEM32, &p->mmio);
    return true;
}

static void panic_unrealize(Device *d)
{
    PvPanicPci *p = device_as(d, &pvpanic_pci_type);

    region_free(&p->mmio);
}

static const PropDesc panic_props[] = {
    PROP_U8(PvPanicPci, events, "events", 3, 0, 3, "events offered: 1 panicked, 2 crash kernel loaded"),
    { 0 },
};

static const PciOps panic_pci = {
    .vendor = 0x1b36, .device = 0x0011, .class_code = 0x088000, .revision = 1,
};

const DeviceType pvpanic_pci_type = {
    .name = "pvpanic-pci", .summary = "tells the host of a guest's panic", .slot = &pci_slot,
    .size = sizeof(PvPanicPci), .flags = DEV_HOTPLUG | DEV_STATELESS, .props = panic_props,
    .slot_ops = &panic_pci, .category = "Misc", .realize = panic_realize, .unrealize = panic_unrealize,
};
