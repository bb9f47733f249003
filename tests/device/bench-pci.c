/* bench-pci.c: a PCI root bus on the fake board. */
#include "tests/device/bench-pci.h"

#include <stdio.h>
#include <stdlib.h>

#define CONFIG_COMMAND 4
#define CONFIG_BAR(n) ((n) == PCI_ROM ? 0x30u : 0x10u + 4 * (n))
#define CONFIG_CAPS 0x34
#define COMMAND_IO 1
#define COMMAND_MEM 2
#define COMMAND_MASTER 4
#define CAP_MSIX 0x11

typedef struct BenchHost {
    Device dev;
    PciBus *bus;
    uint64_t next_mem, next_io;        /* where bench_bar() goes on */
} BenchHost;

static BenchHost *host;

static unsigned wire(unsigned slot, unsigned pin)
{
    return (slot + pin) % 4;
}

static void to_gsi(IrqSink *s, unsigned pin, bool level)
{
    IrqSink *gsi = machine()->gsi;

    gsi->set(gsi, 16 + pin, level);
}

static IrqSink wires = { .set = to_gsi, .pins = 4 };

static bool host_realize(Device *d, Error **errp)
{
    Machine *m = d->machine;

    host = (BenchHost *)d;
    host->bus = pci_bus_new(d, "pci.0", NULL, true, &m->mem_root, &m->io_root, m->mem);
    pci_bus_route(host->bus, &wires, wire);
    host->next_mem = 0xe0000000;
    host->next_io = 0xc000;
    m->pci = host->bus->bus;
    return true;
}

static void host_unrealize(Device *d)
{
    pci_bus_free(((BenchHost *)d)->bus);
    d->machine->pci = NULL;
    host = NULL;
}

static const DeviceType host_type = {
    .name = "bench-pci-host",
    .summary = "PCI root bus of the test board",
    .slot = &board_slot,
    .size = sizeof(BenchHost),
    .flags = DEV_INTERNAL | DEV_STATELESS,
    .realize = host_realize,
    .unrealize = host_unrealize,
};

Bus *bench_pci(Bench *b)
{
    if (!b->pci) {
        Error *e = NULL;

        if (!device_make(&host_type, b->m->root, NULL, "pci-host", &e, NULL)) {
            error_report(e);
            abort();
        }
        b->pci = host->bus->bus;
    }
    return b->pci;
}

bool bench_pci_wants(const DeviceType *t)
{
    return t->slot == &pci_slot;
}

void bench_pci_free(Bench *b)
{
    if (b->pci) {
        device_destroy(&host->dev);
        b->pci = NULL;
    }
}

PciDevice *bench_pci_function(Device *d)
{
    return pci_device(d);
}

uint32_t bench_config_read(Bench *b, Device *d, unsigned off, unsigned size)
{
    return pci_config_read(host->bus, 0, pci_device(d)->devfn, off, size);
}

void bench_config_write(Bench *b, Device *d, unsigned off, uint32_t val, unsigned size)
{
    pci_config_write(host->bus, 0, pci_device(d)->devfn, off, val, size);
}

static bool is_64(Bench *b, Device *d, unsigned n)
{
    uint32_t low = bench_config_read(b, d, CONFIG_BAR(n), 4);

    return n != PCI_ROM && !(low & 1) && (low & 6) == 4;
}

uint64_t bench_bar_size(Bench *b, Device *d, unsigned n)
{
    uint32_t low = bench_config_read(b, d, CONFIG_BAR(n), 4), high = 0, mask = UINT32_MAX;
    bool wide = is_64(b, d, n);

    bench_config_write(b, d, CONFIG_BAR(n), n == PCI_ROM ? 0xfffff800 : UINT32_MAX, 4);
    uint32_t got = bench_config_read(b, d, CONFIG_BAR(n), 4);
    bench_config_write(b, d, CONFIG_BAR(n), low, 4);
    if (wide) {
        high = bench_config_read(b, d, CONFIG_BAR(n) + 4, 4);
        bench_config_write(b, d, CONFIG_BAR(n) + 4, UINT32_MAX, 4);
        mask = bench_config_read(b, d, CONFIG_BAR(n) + 4, 4);
        bench_config_write(b, d, CONFIG_BAR(n) + 4, high, 4);
    }
    if (!got) {
        return 0;
    }
    if (got & 1 && n != PCI_ROM) {
        return (uint16_t)(~(got & ~3u) + 1);
    }
    return ~((uint64_t)mask << 32 | (got & (n == PCI_ROM ? ~0x7ffu : ~15u))) + 1;
}

void bench_bar_at(Bench *b, Device *d, unsigned n, Gpa at)
{
    if (is_64(b, d, n)) {
        bench_config_write(b, d, CONFIG_BAR(n) + 4, at >> 32, 4);
    }
    bench_config_write(b, d, CONFIG_BAR(n), (uint32_t)at | (n == PCI_ROM), 4);
}

Gpa bench_bar(Bench *b, Device *d, unsigned n)
{
    uint64_t size = bench_bar_size(b, d, n);
    bool io = n != PCI_ROM && bench_config_read(b, d, CONFIG_BAR(n), 4) & 1;
    uint64_t *next = io ? &host->next_io : &host->next_mem;
    uint16_t command = bench_config_read(b, d, CONFIG_COMMAND, 2);

    if (!size) {
        fprintf(stderr, "bench: %s has no BAR %u\n", d->id, n);
        abort();
    }
    *next = ALIGN_UP(*next, size);
    Gpa at = *next;
    *next += size;
    bench_bar_at(b, d, n, at);
    bench_config_write(b, d, CONFIG_COMMAND,
                       command | COMMAND_MASTER | (io ? COMMAND_IO : COMMAND_MEM), 2);
    return at;
}

unsigned bench_capability(Bench *b, Device *d, uint8_t id)
{
    unsigned at = bench_config_read(b, d, CONFIG_CAPS, 1);

    for (unsigned n = 0; at && n < 48; n++) {
        if (bench_config_read(b, d, at, 1) == id) {
            return at;
        }
        at = bench_config_read(b, d, at + 1, 1);
    }
    return 0;
}

void bench_msix_on(Bench *b, Device *d)
{
    unsigned cap = bench_capability(b, d, CAP_MSIX);
    uint16_t control = bench_config_read(b, d, cap + 2, 2);
    uint32_t table = bench_config_read(b, d, cap + 4, 4);
    Gpa bar = bench_bar(b, d, table & 7) + (table & ~7u);

    for (unsigned i = 0; i <= (control & 0x7ff); i++) {
        bench_write32(b, bar + 16 * i, 0xfee00000);
        bench_write32(b, bar + 16 * i + 4, 0);
        bench_write32(b, bar + 16 * i + 8, 0x40 + i);
        bench_write32(b, bar + 16 * i + 12, 0);
    }
    bench_config_write(b, d, cap + 2, control | 0x8000, 2);
}
