/* bar.c: base address registers and the expansion ROM (PCI Local Bus 3.0, sections 6.2.5).
 *
 * 1. bars[n].at is where the region is in the bus's box now; pci_bars_update() compares it with what
 *    the registers say and publishes the difference as one map.
 * 2. A BAR at address 0, reaching over the end of its space, or whose decoding is off, is nowhere. */
#include "hw/pci/pci-int.h"

#define NOWHERE UINT64_MAX
/* BARs beyond what any x86 CPU addresses are unreachable: also the all-ones pattern of sizing. */
#define MEM_LIMIT (UINT64_C(1) << 52)
#define ROM_MAX (UINT64_C(1) << 27)

static char *(*rom_finder)(const char *name);

void pci_rom_finder(char *(*find)(const char *name))
{
    assert_control();
    rom_finder = find;
}

/* The config offset of BAR @n's register. */
unsigned pci_bar_reg(const PciDevice *p, unsigned n)
{
    if (n == PCI_ROM) {
        return pci_ops(p)->header ? PCI_ROM_ADDRESS1 : PCI_ROM_ADDRESS;
    }
    return PCI_BASE_ADDRESS_0 + 4 * n;
}

static bool bar_is64(BarKind k)
{
    return k == BAR_MEM64 || k == BAR_MEM64_PREF;
}

static uint64_t pow2_size(uint64_t size)
{
    uint64_t s = 16;

    while (s < size) {
        s <<= 1;
    }
    return s;
}

void pci_bars_init(PciDevice *p)
{
    for (unsigned n = 0; n < ARRAY_LEN(p->bars); n++) {
        p->bars[n] = (PciBar){ .at = NOWHERE };
    }
}

static void set_reg(PciDevice *p, unsigned n, uint32_t flags, uint64_t size, bool wide)
{
    unsigned reg = pci_bar_reg(p, n);
    uint64_t mask = ~(size - 1);

    st32(p->config + reg, flags);
    if (wide) {
        st32(p->config + reg + 4, 0);
        st64(p->wmask + reg, mask);
    } else {
        st32(p->wmask + reg, (uint32_t)mask);
    }
}

void pci_bar(PciDevice *p, unsigned n, BarKind kind, Region *r)
{
    static const uint8_t flags[] = {
        [BAR_IO] = PCI_BASE_ADDRESS_SPACE_IO,
        [BAR_MEM32] = 0,
        [BAR_MEM64] = PCI_BASE_ADDRESS_MEM_TYPE_64,
        [BAR_MEM64_PREF] = PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH,
        [BAR_MEM32_PREF] = PCI_BASE_ADDRESS_MEM_PREFETCH,
    };

    assert_control();
    g_assert(n < PCI_BARS && !p->bars[n].region);
    p->bars[n] = (PciBar){ .region = r, .kind = kind, .at = NOWHERE };
    set_reg(p, n, flags[kind], pow2_size(r->size), bar_is64(kind));
}

static uint64_t bar_target(const PciDevice *p, unsigned n)
{
    const PciBar *bar = &p->bars[n];
    const uint8_t *reg = p->config + pci_bar_reg(p, n);
    uint16_t cmd = pci_command(p);
    uint64_t size = pow2_size(bar->region->size), limit, at;

    if (!p->visible || p->in_reset) {
        return NOWHERE;
    }
    if (n == PCI_ROM) {
        if (!(cmd & PCI_COMMAND_MEMORY) || !(ld32(reg) & PCI_ROM_ADDRESS_ENABLE)) {
            return NOWHERE;
        }
        at = ld32(reg) & PCI_ROM_ADDRESS_MASK;
        limit = UINT64_C(1) << 32;
    } else if (bar->kind == BAR_IO) {
        if (!(cmd & PCI_COMMAND_IO)) {
            return NOWHERE;
        }
        at = ld32(reg) & ~UINT32_C(3);
        limit = 0x10000;
    } else {
        if (!(cmd & PCI_COMMAND_MEMORY)) {
            return NOWHERE;
        }
        at = bar_is64(bar->kind) ? ld64(reg) : ld32(reg);
        at &= ~UINT64_C(15);
        limit = bar_is64(bar->kind) ? MEM_LIMIT : UINT64_C(1) << 32;
    }
    /* All-ones during sizing would put a 32-bit BAR at the very top: no BIOS or OS places one there. */
    if (at == 0 || !fits(at, size, limit) || (limit == UINT64_C(1) << 32 && at + size == limit)) {
        return NOWHERE;
    }
    return at;
}

/* Whether the function answers at all: D3hot answers config cycles only. */
static bool powered(const PciDevice *p)
{
    return !p->cap_pm || (p->config[p->cap_pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK) == 0;
}

static void bars_to(PciDevice *p, bool on)
{
    PciBus *b = pci_bus(p);
    bool editing = false;

    for (unsigned n = 0; n < ARRAY_LEN(p->bars); n++) {
        PciBar *bar = &p->bars[n];
        if (!bar->region) {
            continue;
        }
        uint64_t to = on ? bar_target(p, n) : NOWHERE;
        if (to == bar->at) {
            continue;
        }
        if (!editing) {
            map_begin();
            editing = true;
        }
        TRACE(pci_bar_move, "%s bar=%u from=0x%" PRIx64 " to=0x%" PRIx64, p->dev.id, n, bar->at, to);
        map_drop(bar->region);
        if (to != NOWHERE) {
            map_put(bar->kind == BAR_IO && n != PCI_ROM ? b->io : b->mem, bar->region, to, 1);
        }
        bar->at = to;
    }
    if (editing) {
        map_commit();
    }
}

void pci_bars_update(PciDevice *p)
{
    bars_to(p, powered(p));
}

void pci_bars_drop(PciDevice *p)
{
    bars_to(p, false);
}

/* --- expansion ROM --- */

bool pci_rom(PciDevice *p, const void *data, size_t size, Error **errp)
{
    assert_control();
    if (p->rom_ram || !p->rombar) {
        return true;
    }
    if (size == 0 || size > ROM_MAX) {
        return error_set(errp, "an expansion ROM has 1 byte to %u MiB, not %zu bytes",
                         (unsigned)(ROM_MAX / MiB), size);
    }
    uint64_t room = p->romsize != UINT32_MAX ? p->romsize : pow2_size(MAX(size, 2048));
    if (room < size || room != pow2_size(room)) {
        return error_set(errp, "romsize=%" PRIu64 " is no power of two that holds the ROM's %zu bytes",
                         room, size);
    }
    g_autofree char *path = device_path(&p->dev);
    g_autofree char *id = g_strconcat(path, "/rom", NULL);
    p->rom_ram = ram_new_anon(id, ALIGN_UP(room, 4096), errp);
    if (!p->rom_ram) {
        return error_context(errp, "expansion ROM");
    }
    memcpy(p->rom_ram->host, data, size);
    region_rom(&p->rom, &p->dev, "rom", p->rom_ram, 0, MAX(room, 4096));
    p->bars[PCI_ROM] = (PciBar){ .region = &p->rom, .kind = BAR_MEM32, .at = NOWHERE };
    unsigned reg = pci_bar_reg(p, PCI_ROM);
    st32(p->wmask + reg, (uint32_t)~(MAX(room, 4096) - 1) | PCI_ROM_ADDRESS_ENABLE);
    return true;
}

/* romfile=: loaded before the type's realize, so that it wins over what the type brings. */
bool pci_rom_load(PciDevice *p, Error **errp)
{
    g_autofree char *data = NULL;
    gsize size = 0;

    if (!p->romfile || !*p->romfile || !p->rombar) {
        return true;
    }
    g_autofree char *path = rom_finder ? rom_finder(p->romfile) : NULL;
    g_autoptr(GError) err = NULL;
    if (!g_file_get_contents(path ? path : p->romfile, &data, &size, &err)) {
        return error_set(errp, "failed to find romfile \"%s\"", p->romfile);
    }
    return pci_rom(p, data, size, errp);
}

void pci_rom_free(PciDevice *p)
{
    if (p->rom_ram) {
        region_free(&p->rom);
        ram_free(p->rom_ram);
        p->rom_ram = NULL;
        p->bars[PCI_ROM].region = NULL;
    }
}
