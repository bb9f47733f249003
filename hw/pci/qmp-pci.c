/* qmp-pci.c: query-pci, and what info qtree says of functions. */
#include <inttypes.h>
#include "core/machine.h"
#include "hw/pci/pci-int.h"
#include "qapi/commands.h"

/* PCI Code and ID Assignment Specification: the classes of what there is. */
static const struct { uint16_t class; const char *desc; } classes[] = {
    { 0x0100, "SCSI controller" }, { 0x0101, "IDE controller" }, { 0x0106, "SATA controller" },
    { 0x0108, "NVMe controller" }, { 0x0200, "Ethernet controller" }, { 0x0300, "VGA controller" },
    { 0x0380, "Display controller" }, { 0x0500, "RAM controller" }, { 0x0600, "Host bridge" },
    { 0x0601, "ISA bridge" }, { 0x0604, "PCI bridge" }, { 0x0680, "Bridge" }, { 0x0700, "Serial port" },
    { 0x0780, "Communication controller" }, { 0x0880, "System peripheral" }, { 0x0c03, "USB controller" },
    { 0x0c05, "SMBus" },
};

static const char *class_name(uint16_t class)
{
    for (unsigned i = 0; i < ARRAY_LEN(classes); i++) {
        if (classes[i].class == class) {
            return classes[i].desc;
        }
    }
    return NULL;
}

static PciDeviceClass *class_info(const PciDevice *p)
{
    PciDeviceClass *c = qapi_new_pci_device_class();

    c->class = ld16(p->config + PCI_CLASS_DEVICE);
    c->desc = g_strdup(class_name(c->class));
    return c;
}

static PciDeviceId *id_info(const PciDevice *p)
{
    PciDeviceId *id = qapi_new_pci_device_id();

    id->vendor = ld16(p->config + PCI_VENDOR_ID);
    id->device = ld16(p->config + PCI_DEVICE_ID);
    if ((p->config[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_NORMAL) {
        id->has_subsystem = id->has_subsystem_vendor = true;
        id->subsystem = ld16(p->config + PCI_SUBSYSTEM_ID);
        id->subsystem_vendor = ld16(p->config + PCI_SUBSYSTEM_VENDOR_ID);
    }
    return id;
}

static void add_regions(PciMemoryRegionList *list, const PciDevice *p)
{
    for (unsigned n = 0; n < ARRAY_LEN(p->bars); n++) {
        const PciBar *b = &p->bars[n];
        PciMemoryRegion *r;

        if (b->region == NULL) {
            continue;
        }
        r = qapi_new_pci_memory_region();
        r->bar = n;
        r->type = g_strdup(b->kind == BAR_IO ? "io" : "memory");
        r->address = (int64_t)b->at;         /* nowhere is all ones: -1 */
        r->size = (int64_t)b->region->size;
        r->has_prefetch = r->has_mem_type_64 = b->kind != BAR_IO;
        r->prefetch = b->kind == BAR_MEM64_PREF || b->kind == BAR_MEM32_PREF;
        r->mem_type_64 = b->kind == BAR_MEM64 || b->kind == BAR_MEM64_PREF;
        qapi_append(list, r);
    }
}

static PciMemoryRange *range(uint64_t base, uint64_t limit)
{
    PciMemoryRange *r = qapi_new_pci_memory_range();

    r->base = (int64_t)base;
    r->limit = (int64_t)limit;
    return r;
}

/* PCI-to-PCI Bridge Architecture Specification 1.2, 3.2.5: windows of 4 KiB of I/O and 1 MiB of memory. */
static PciBusInfo *bus_info(const PciDevice *p)
{
    PciBusInfo *b = qapi_new_pci_bus_info();
    const uint8_t *c = p->config;

    b->number = c[PCI_PRIMARY_BUS];
    b->secondary = c[PCI_SECONDARY_BUS];
    b->subordinate = c[PCI_SUBORDINATE_BUS];
    b->io_range = range((uint64_t)ld16(c + PCI_IO_BASE_UPPER16) << 16 | (c[PCI_IO_BASE] & 0xf0u) << 8,
                        (uint64_t)ld16(c + PCI_IO_LIMIT_UPPER16) << 16 | (c[PCI_IO_LIMIT] & 0xf0u) << 8 |
                            0xfff);
    b->memory_range = range((uint64_t)(ld16(c + PCI_MEMORY_BASE) & 0xfff0) << 16,
                            (uint64_t)(ld16(c + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff);
    b->prefetchable_range =
        range((uint64_t)(ld16(c + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16 |
                  (uint64_t)ld32(c + PCI_PREF_BASE_UPPER32) << 32,
              (uint64_t)(ld16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 |
                  (uint64_t)ld32(c + PCI_PREF_LIMIT_UPPER32) << 32 | 0xfffff);
    return b;
}

/* What is in the function's own registers, under its domain. */
static PciDeviceInfo *function_info(PciDevice *p, unsigned bus)
{
    PciDeviceInfo *i = qapi_new_pci_device_info();

    i->bus = bus;
    i->slot = p->devfn >> 3;
    i->function = p->devfn & 7;
    i->qdev_id = g_strdup(p->dev.parent == p->dev.machine->peripheral ? p->dev.id : "");
    domain_enter(p->dev.domain);
    i->class_info = class_info(p);
    i->id = id_info(p);
    i->irq_pin = p->config[PCI_INTERRUPT_PIN];
    i->has_irq = i->irq_pin != 0;
    i->irq = p->config[PCI_INTERRUPT_LINE];
    add_regions(&i->regions, p);
    if (p->secondary != NULL) {
        i->pci_bridge = qapi_new_pci_bridge_info();
        i->pci_bridge->bus = bus_info(p);
    }
    domain_leave(p->dev.domain);
    return i;
}

/* Bridges nest at most as deep as there are bus numbers. */
static void add_bus(PciDeviceInfoList *list, PciBus *b, unsigned number)
{
    for (unsigned devfn = 0; devfn < ARRAY_LEN(b->functions); devfn++) {
        PciDevice *p = b->functions[devfn];
        PciDeviceInfo *i = p != NULL ? function_info(p, number) : NULL;

        if (i == NULL) {
            continue;
        }
        if (i->pci_bridge != NULL && i->pci_bridge->bus->secondary != 0) {
            i->pci_bridge->has_devices = true;
            add_bus(&i->pci_bridge->devices, p->secondary, i->pci_bridge->bus->secondary);
        }
        qapi_append(list, i);
    }
}

bool qmp_query_pci(PciInfoList *ret, Error **errp)
{
    Machine *m = machine();

    if (m->pci != NULL) {
        PciInfo *i = qapi_new_pci_info();

        add_bus(&i->devices, m->pci->priv, 0);
        qapi_append(ret, i);
    }
    return true;
}

/* --- info qtree --- */

void pci_describe(Device *d, GString *out)
{
    PciDevice *p = pci_device(d);
    unsigned bus = pci_bus_number(pci_bus_of(d->bus));

    domain_enter(d->domain);
    uint16_t class = ld16(p->config + PCI_CLASS_DEVICE);
    const char *name = class_name(class);
    bool plain = (p->config[PCI_HEADER_TYPE] & 0x7f) == PCI_HEADER_TYPE_NORMAL;

    if (name != NULL) {
        g_string_append_printf(out, "class %s, ", name);
    } else {
        g_string_append_printf(out, "class Class %04x, ", class);
    }
    g_string_append_printf(out, "addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n", bus,
                           PCI_SLOT(p->devfn), PCI_FUNC(p->devfn), ld16(p->config + PCI_VENDOR_ID),
                           ld16(p->config + PCI_DEVICE_ID),
                           plain ? ld16(p->config + PCI_SUBSYSTEM_VENDOR_ID) : 0,
                           plain ? ld16(p->config + PCI_SUBSYSTEM_ID) : 0);
    for (unsigned n = 0; n < ARRAY_LEN(p->bars); n++) {
        const PciBar *b = &p->bars[n];

        if (b->region != NULL) {
            g_string_append_printf(out, "bar %u: %s at 0x%" PRIx64 " [0x%" PRIx64 "]\n", n,
                                   b->kind == BAR_IO ? "i/o" : "mem", b->at, b->at + b->region->size - 1);
        }
    }
    domain_leave(d->domain);
}
