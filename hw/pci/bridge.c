/* bridge.c: windows and secondary bus of PCI-to-PCI bridges (PCI-to-PCI Bridge Architecture 1.2).
 *
 * 1. A window shows the same addresses of the secondary bus's box in the primary bus's box: bridges
 *    do not translate. */
#include "hw/pci/bridge.h"

#define IO_TOP UINT64_C(0xffff)

void bridge_init(PciBridge *b, bool express, bool port)
{
    static const char *const names[] = { "bridge-io", "bridge-mem", "bridge-pref", "bridge-vga",
                                         "bridge-vga-io1", "bridge-vga-io2" };
    PciDevice *p = &b->p;
    PciBus *up = pci_bus(p);

    region_box(&b->mem, &p->dev, "secondary-mem", up->mem->size);
    region_box(&b->io, &p->dev, "secondary-io", up->io->size);
    for (unsigned i = 0; i < WINDOWS; i++) {
        bool io = i == WINDOW_IO || i >= WINDOW_VGA_IO1;
        region_window(&b->window[i].region, &p->dev, names[i], io ? &b->io : &b->mem, 0, 4096);
        b->window[i].base = 1;
        b->window[i].limit = 0;
    }
    b->bus = pci_bus_new(&p->dev, p->dev.id, p, express, &b->mem, &b->io, up->dma);
    b->bus->port = port;
    b->bus->slot_max = port ? 0 : 31;
}

void bridge_free(PciBridge *b)
{
    map_begin();
    for (unsigned i = 0; i < WINDOWS; i++) {
        map_drop(&b->window[i].region);
    }
    map_commit();
    for (unsigned i = 0; i < WINDOWS; i++) {
        region_free(&b->window[i].region);
    }
    region_free(&b->mem);
    region_free(&b->io);
    pci_bus_free(b->bus);
}

static void show(PciBridge *b, unsigned i, uint64_t base, uint64_t limit, bool *editing)
{
    BridgeWindow *w = &b->window[i];
    bool io = i == WINDOW_IO || i >= WINDOW_VGA_IO1;
    PciBus *up = pci_bus(&b->p);

    if (base > limit || limit >= (io ? IO_TOP + 1 : b->mem.size)) {
        base = 1;
        limit = 0;
    }
    if (base == w->base && limit == w->limit) {
        return;
    }
    if (!*editing) {
        map_begin();
        *editing = true;
    }
    TRACE(pci_bridge_window, "%s window=%u base=0x%" PRIx64 " limit=0x%" PRIx64, b->p.dev.id, i, base,
          limit);
    map_drop(&w->region);
    if (base <= limit) {
        map_resize(&w->region, limit - base + 1);
        map_window_to(&w->region, io ? &b->io : &b->mem, base);
        map_put(io ? up->io : up->mem, &w->region, base, 1);
    }
    w->base = base;
    w->limit = limit;
}

void bridge_update(PciBridge *b)
{
    const uint8_t *c = b->p.config;
    uint16_t cmd = pci_command(&b->p);
    bool vga = ld16(c + PCI_BRIDGE_CONTROL) & PCI_BRIDGE_CTL_VGA;
    bool io = cmd & PCI_COMMAND_IO, mem = cmd & PCI_COMMAND_MEMORY, editing = false;
    uint64_t io_base = (uint64_t)ld16(c + PCI_IO_BASE_UPPER16) << 16 | (c[PCI_IO_BASE] & 0xf0) << 8;
    uint64_t io_limit = (uint64_t)ld16(c + PCI_IO_LIMIT_UPPER16) << 16 |
                        (c[PCI_IO_LIMIT] & 0xf0) << 8 | 0xfff;
    uint64_t pref_base = (uint64_t)ld32(c + PCI_PREF_BASE_UPPER32) << 32 |
                         (uint32_t)(ld16(c + PCI_PREF_MEMORY_BASE) & 0xfff0) << 16;
    uint64_t pref_limit = (uint64_t)ld32(c + PCI_PREF_LIMIT_UPPER32) << 32 |
                          (uint32_t)(ld16(c + PCI_PREF_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;
    uint64_t mem_base = (uint32_t)(ld16(c + PCI_MEMORY_BASE) & 0xfff0) << 16;
    uint64_t mem_limit = (uint32_t)(ld16(c + PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;

    /* Base 0 with limit 0 is the reset value: not set up, rather than the first 4 KiB or 1 MiB. */
    show(b, WINDOW_IO, io && io_base ? io_base : 1, io && io_base ? io_limit : 0, &editing);
    show(b, WINDOW_MEM, mem && mem_base ? mem_base : 1, mem && mem_base ? mem_limit : 0, &editing);
    show(b, WINDOW_PREF, mem && pref_base ? pref_base : 1, mem && pref_base ? pref_limit : 0, &editing);
    show(b, WINDOW_VGA_MEM, vga && mem ? 0xa0000 : 1, vga && mem ? 0xbffff : 0, &editing);
    show(b, WINDOW_VGA_IO1, vga && io ? 0x3b0 : 1, vga && io ? 0x3bb : 0, &editing);
    show(b, WINDOW_VGA_IO2, vga && io ? 0x3c0 : 1, vga && io ? 0x3df : 0, &editing);
    if (editing) {
        map_commit();
    }
}

void bridge_wrote(PciBridge *b, unsigned off, unsigned size)
{
    if (pci_ranges_meet(off, size, PCI_COMMAND, 2) ||
        pci_ranges_meet(off, size, PCI_IO_BASE, PCI_CAPABILITY_LIST - PCI_IO_BASE) ||
        pci_ranges_meet(off, size, PCI_BRIDGE_CONTROL, 2)) {
        bridge_update(b);
    }
    uint16_t control = ld16(b->p.config + PCI_BRIDGE_CONTROL);
    if (control & ~b->control & PCI_BRIDGE_CTL_BUS_RESET) {
        pci_bus_reset(b->bus);
    }
    b->control = control;
}

void bridge_ssvid(PciBridge *b, uint16_t vendor, uint16_t device)
{
    uint8_t body[6] = { 0 };

    st16(body + 2, vendor);
    st16(body + 4, device);
    pci_capability(&b->p, PCI_CAP_ID_SSVID, body, 8, NULL);
}

bool bridge_reserve(PciBridge *b, Error **errp)
{
    const BridgeReserve *r = &b->reserve;
    uint8_t body[30] = { 0 };

    if (r->bus == UINT32_MAX && r->io == UINT64_MAX && r->mem == UINT64_MAX && r->pref32 == UINT64_MAX &&
        r->pref64 == UINT64_MAX) {
        return true;
    }
    if (r->pref32 != UINT64_MAX && r->pref64 != UINT64_MAX) {
        return error_set(errp, "PCI resource reserve cap: PREF32 and PREF64 conflict");
    }
    if ((r->mem != UINT64_MAX && r->mem >= UINT32_MAX) ||
        (r->pref32 != UINT64_MAX && r->pref32 >= UINT32_MAX)) {
        return error_set(errp, "PCI resource reserve cap: mem-reserve and pref32-reserve must be below 4G");
    }
    body[0] = 32;
    body[1] = 1;               /* resource reservation */
    st32(body + 2, r->bus);
    st64(body + 6, r->io);
    st32(body + 14, (uint32_t)r->mem);
    st32(body + 18, (uint32_t)r->pref32);
    st64(body + 22, r->pref64);
    if (!pci_capability(&b->p, PCI_CAP_ID_VNDR, body, 32, NULL)) {
        return error_set(errp, "no room for the resource reserve capability");
    }
    return true;
}
