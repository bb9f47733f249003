/* pci-setup.c: resource assignment as firmware does it (PCI Local Bus 3.0, 6.2.5; PCI-to-PCI Bridge 1.2,
 * 3.2.5).
 *
 * 1. Only configuration cycles are used, so what is set is what a firmware could have set.
 * 2. A bridge gets at least 2 MiB of memory, and 4 KiB of I/O, for what is plugged later. */
#include "hw/board/pci-setup.h"

#include <inttypes.h>
#include "util/bytes.h"

enum {
    VENDOR = 0x00, COMMAND = 0x04, HEADER = 0x0e, BAR0 = 0x10, PRIMARY = 0x18, SECONDARY = 0x19,
    SUBORDINATE = 0x1a, IO_BASE = 0x1c, IO_LIMIT = 0x1d, MEM_BASE = 0x20, MEM_LIMIT = 0x22, PREF_BASE = 0x24,
    PREF_LIMIT = 0x26, PREF_BASE_HIGH = 0x28, PREF_LIMIT_HIGH = 0x2c, IO_BASE_HIGH = 0x30,
    INTERRUPT_LINE = 0x3c, INTERRUPT_PIN = 0x3d, COMMAND_IO = 1, COMMAND_MEM = 2, COMMAND_MASTER = 4,
    BRIDGE_MEM = 2 * MiB, BRIDGE_IO = 4 * KiB, BRIDGE_MEM64 = 2 * MiB,
};

typedef struct Walk {
    PciBus *root;
    PciWindows *w;
    uint8_t bus;
    const struct Walk *above;          /* the bus of the bridge, and its slot there; NULL: the root bus */
    uint8_t bridge_slot;
} Walk;

/* One BAR to be placed. */
typedef struct Want {
    uint8_t devfn, reg;
    bool io, is64, placed;
    uint64_t size;
} Want;

static uint32_t get(const Walk *k, uint8_t devfn, unsigned reg, unsigned size)
{
    return pci_config_read(k->root, k->bus, devfn, reg, size);
}

static void set(const Walk *k, uint8_t devfn, unsigned reg, uint32_t val, unsigned size)
{
    pci_config_write(k->root, k->bus, devfn, reg, val, size);
}

static void add_wants(const Walk *k, uint8_t devfn, unsigned bars, GArray *wants)
{
    for (unsigned i = 0; i < bars; i++) {
        unsigned reg = BAR0 + 4 * i;
        uint32_t old = get(k, devfn, reg, 4), low, high = 0;
        Want n = { .devfn = devfn, .reg = reg };

        set(k, devfn, reg, UINT32_MAX, 4);
        low = get(k, devfn, reg, 4);
        set(k, devfn, reg, old, 4);
        if (low == 0) {
            continue;
        }
        n.io = low & 1;
        n.is64 = !n.io && (low & 6) == 4;
        if (n.is64) {
            old = get(k, devfn, reg + 4, 4);
            set(k, devfn, reg + 4, UINT32_MAX, 4);
            high = get(k, devfn, reg + 4, 4);
            set(k, devfn, reg + 4, old, 4);
            i++;
        }
        n.size = n.io ? (~(low & 0xfffc) + 1) & 0xffff
                      : n.is64 ? ~((uint64_t)high << 32 | (low & ~UINT32_C(15))) + 1
                               : (uint64_t)(uint32_t)(~(low & ~UINT32_C(15)) + 1);
        g_array_append_val(wants, n);
    }
}

static int larger_first(const void *a, const void *b)
{
    const Want *x = a, *y = b;

    return x->size < y->size ? 1 : x->size > y->size ? -1 : 0;
}

/* Room for @n, aligned to its size; 0: none. */
static uint64_t take(uint64_t *next, uint64_t end, uint64_t size)
{
    uint64_t at = ALIGN_UP(*next, size);

    if (!fits(at, size, end)) {
        return 0;
    }
    *next = at + size;
    return at;
}

static void place(const Walk *k, Want *n)
{
    PciWindows *w = k->w;
    uint64_t at;

    if (n->io) {
        at = take(&w->io_next, w->io_end, n->size);
    } else {
        at = take(&w->mem_next, w->mem_end, n->size);
        if (at == 0 && n->is64 && k->bus == 0) {
            at = take(&w->mem64_next, w->mem64_end, n->size);
        }
    }
    n->placed = at != 0;
    set(k, n->devfn, n->reg, (uint32_t)at, 4);
    if (n->is64) {
        set(k, n->devfn, n->reg + 4, (uint32_t)(at >> 32), 4);
    }
}

static void setup_bus(Walk *k);

/* Opens a bridge's windows over what lies behind it. */
static void setup_bridge(Walk *k, uint8_t devfn)
{
    Walk below = { .root = k->root, .w = k->w, .above = k, .bridge_slot = PCI_SLOT(devfn) };
    PciWindows *w = k->w;
    uint64_t io, mem, pref;

    if (w->bus_next > 255) {
        return;
    }
    below.bus = w->bus_next++;
    set(k, devfn, PRIMARY, k->bus, 1);
    set(k, devfn, SECONDARY, below.bus, 1);
    set(k, devfn, SUBORDINATE, 0xff, 1);
    io = w->io_next = ALIGN_UP(w->io_next, BRIDGE_IO);
    mem = w->mem_next = ALIGN_UP(w->mem_next, 1 * MiB);
    pref = w->mem64_next = ALIGN_UP(w->mem64_next, 1 * MiB);
    setup_bus(&below);
    set(k, devfn, SUBORDINATE, w->bus_next - 1, 1);
    w->io_next = MIN(ALIGN_UP(MAX(w->io_next, io + 1), BRIDGE_IO), w->io_end);
    w->mem_next = MIN(ALIGN_UP(MAX(w->mem_next, mem + BRIDGE_MEM), 1 * MiB), w->mem_end);
    w->mem64_next = MIN(ALIGN_UP(pref + BRIDGE_MEM64, 1 * MiB), w->mem64_end);
    if (w->io_next > io) {
        set(k, devfn, IO_BASE, io >> 8, 1);
        set(k, devfn, IO_LIMIT, (w->io_next - 1) >> 8, 1);
    } else {
        set(k, devfn, IO_BASE, 0xf0, 1);     /* limit below base: closed */
        set(k, devfn, IO_LIMIT, 0, 1);
    }
    set(k, devfn, IO_BASE_HIGH, 0, 4);
    set(k, devfn, MEM_BASE, mem >> 16, 2);
    set(k, devfn, MEM_LIMIT, (w->mem_next - 1) >> 16, 2);
    set(k, devfn, PREF_BASE, pref >> 16, 2);
    set(k, devfn, PREF_LIMIT, (w->mem64_next - 1) >> 16, 2);
    set(k, devfn, PREF_BASE_HIGH, pref >> 32, 4);
    set(k, devfn, PREF_LIMIT_HIGH, (w->mem64_next - 1) >> 32, 4);
    set(k, devfn, COMMAND, COMMAND_IO | COMMAND_MEM | COMMAND_MASTER, 2);
}

/* Lets functions decode what was placed; one with a BAR that found no room decodes nothing of that kind. */
static void enable(const Walk *k, const GArray *wants)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < wants->len; i++) {
            const Want *n = &g_array_index(wants, Want, i);
            uint32_t command = get(k, n->devfn, COMMAND, 2), bit = n->io ? COMMAND_IO : COMMAND_MEM;

            if (n->placed == (pass == 0)) {
                set(k, n->devfn, COMMAND, pass == 0 ? command | bit : command & ~bit, 2);
            }
            if (!n->placed && pass == 1) {
                warn_report("PCI function %02x:%02x.%x: no room for a BAR of %" PRIu64 " bytes", k->bus,
                            PCI_SLOT(n->devfn), PCI_FUNC(n->devfn), n->size);
            }
        }
    }
}

/* The Interrupt Line register tells operating systems without ACPI; behind bridges pins are swizzled
 * (PCI-to-PCI Bridge 1.2, 9.1). */
static void set_line(const Walk *k, uint8_t devfn)
{
    unsigned pin = get(k, devfn, INTERRUPT_PIN, 1), slot = PCI_SLOT(devfn);

    if (pin == 0 || pin > 4 || k->w->irq_of == NULL) {
        return;
    }
    pin--;
    for (const Walk *b = k; b->above != NULL; b = b->above) {
        pin = (pin + slot) % 4;
        slot = b->bridge_slot;
    }
    set(k, devfn, INTERRUPT_LINE, k->w->irq_of(k->root, slot, pin), 1);
}

static void setup_bus(Walk *k)
{
    g_autoptr(GArray) wants = g_array_new(false, false, sizeof(Want));

    for (unsigned devfn = 0; devfn < 256; devfn++) {
        uint8_t header;

        if (get(k, devfn, VENDOR, 2) == 0xffff) {
            devfn |= devfn % 8 == 0 ? 7 : 0;  /* no function 0: nothing in this slot */
            continue;
        }
        header = get(k, devfn, HEADER, 1);
        set_line(k, devfn);
        add_wants(k, devfn, (header & 0x7f) == 1 ? 2 : 6, wants);
        if (devfn % 8 == 0 && !(header & 0x80)) {
            devfn |= 7;
        }
    }
    g_array_sort(wants, larger_first);
    for (unsigned i = 0; i < wants->len; i++) {
        place(k, &g_array_index(wants, Want, i));
    }
    enable(k, wants);
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (get(k, devfn, VENDOR, 2) != 0xffff && (get(k, devfn, HEADER, 1) & 0x7f) == 1) {
            setup_bridge(k, devfn);
        }
    }
}

void pci_setup(PciBus *root, PciWindows *w)
{
    Walk k = { .root = root, .w = w, .bus = 0 };

    w->bus_next = 1;
    setup_bus(&k);
}
