/* pci.h: PCI functions, config space, BARs, capabilities, INTx, MSI and MSI-X (PCI Local Bus 3.0, PCI
 * Express Base 4.0).
 *
 * 1. Config space is bytes plus a write mask plus a "write one to clear" mask; no device parses config
 *    writes for BARs, command bits, MSI or power state.
 * 2. A BAR move is one map_begin/put/commit by the core, under the function's domain.
 * 3. A bus's INTx wires are ORed per pin and end in an IrqSink the bridge or board gave (pci_bus_route). */
#ifndef HW_PCI_PCI_H
#define HW_PCI_PCI_H

#include "core/device.h"
#include "core/dma.h"
#include "core/irq.h"
#include "core/region.h"
#include "core/state.h"

#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))
#define PCI_SLOT(devfn) ((devfn) >> 3)
#define PCI_FUNC(devfn) ((devfn) & 7)
#define PCI_BARS 6
#define PCI_ROM 6              /* the expansion ROM, as a seventh BAR */

typedef struct PciDevice PciDevice;
typedef struct PciBus PciBus;
typedef enum { BAR_IO, BAR_MEM32, BAR_MEM64, BAR_MEM64_PREF, BAR_MEM32_PREF } BarKind;

typedef struct PciOps {
    uint16_t vendor, device, subsys_vendor, subsys;
    uint32_t class_code;       /* class, subclass, interface: 0xCCSSII */
    uint8_t revision, pin;     /* pin 0: no INTx, 1: INTA ... */
    uint8_t header;            /* 0: function, 1: bridge */
    bool express;              /* has a PCI Express capability when its bus is one */
    /* After the core acted on a config write of [off, off + size). */
    void (*config_wrote)(PciDevice *p, unsigned off, unsigned size);
    /* Before a config read, to refresh volatile registers; may be NULL. */
    void (*config_reading)(PciDevice *p, unsigned off, unsigned size);
} PciOps;

typedef struct PciBar {
    Region *region;            /* NULL: absent; for BAR_MEM64 the upper half is absent too */
    BarKind kind;
    uint64_t at;               /* where it is mapped now; UINT64_MAX: nowhere */
} PciBar;

struct PciDevice {
    Device dev;
    uint8_t devfn;             /* place on the bus, fixed by attach */
    uint16_t config_size;      /* 256, or 4096 on an Express bus */
    uint8_t *config, *wmask, *w1cmask;     /* config_size bytes each */
    PciBar bars[7];
    uint8_t cap_msi, cap_msix, cap_pm, cap_exp;    /* offsets; 0: none */
    uint16_t ext_cap_last;
    struct PciMsix *msix;      /* vectors; NULL: none */
    struct PciMsi *msi;
    IrqLine intx;
    Region rom;                /* the expansion ROM's region, when romfile or rom_data says */
    RamBlock *rom_ram;
    Region bus_master;         /* the function's view for DMA */
    /* properties of every PCI function */
    char *addr;                /* "5", "5.1" or NULL: the first free slot */
    char *romfile;
    uint32_t romsize;
    bool rombar, multifunction;
    char *acpi_index;
    bool failover;
};

extern const SlotType pci_slot;

/* A bus of PCI functions.  The slot is the generic Bus; PciBus is what the PCI core adds. */
struct PciBus {
    Bus *bus;
    PciDevice *bridge;         /* the bridge above; NULL: a root bus */
    PciDevice *functions[256];
    bool express;              /* config space of 4096 bytes */
    Region *mem, *io;          /* where BARs are placed */
    Space *dma;                /* where bus mastering goes */
    uint8_t slot_min, slot_max;        /* slots that may be used */
    IrqSink *intx_to;          /* wires INTA..INTD of this bus, after OR-ing */
    unsigned intx_count[4];    /* guarded by rank IRQ */
    IrqSink intx_sink;         /* what the functions' lines are connected to: pin = slot*4 + intx */
};

/* Makes @owner offer a PCI bus called @name. */
CTX_CONTROL PciBus *pci_bus_new(Device *owner, const char *name, PciDevice *bridge, bool express, Region *mem,
                                Region *io, Space *dma);
CTX_CONTROL void pci_bus_free(PciBus *b);
CTX_ANY PciBus *pci_bus_of(const Bus *b);
/* Bus number as the guest programmed it (0 for a root bus). */
CTX_ANY uint8_t pci_bus_number(const PciBus *b);

/* --- config space cycles, from host bridges: bus/devfn/register as on the wire --- */
CTX_DOMAIN uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, unsigned size);
CTX_DOMAIN void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, uint32_t val,
                                 unsigned size);

/* --- for device types, in realize --- */
CTX_CONTROL void pci_bar(PciDevice *p, unsigned n, BarKind kind, Region *r);
/* Adds a capability of @size bytes including its two header bytes; @body is what follows them, @wmask
 * (same length as body, may be NULL) what the guest may write.  Returns its offset, 0 when full. */
CTX_CONTROL unsigned pci_capability(PciDevice *p, uint8_t id, const void *body, size_t size,
                                    const void *wmask);
CTX_CONTROL unsigned pci_ext_capability(PciDevice *p, uint16_t id, uint8_t version, size_t size);
/* MSI-X with table and PBA in BAR @bar: a new one of its own, or at @table_off/@pba_off of @box. */
CTX_CONTROL bool pci_msix(PciDevice *p, unsigned vectors, unsigned bar, Error **errp);
CTX_CONTROL bool pci_msix_in(PciDevice *p, unsigned vectors, unsigned bar, Region *box, uint32_t table_off,
                             uint32_t pba_off, Error **errp);
CTX_CONTROL bool pci_msi(PciDevice *p, unsigned vectors, bool bits64, bool maskable, Error **errp);
CTX_CONTROL void pci_pm(PciDevice *p);
/* PCI Express capability: port type as in the specification (0 endpoint, 4 root port, 9 integrated). */
CTX_CONTROL unsigned pci_express(PciDevice *p, unsigned port_type);

/* --- interrupts (any thread) --- */
CTX_ANY IrqLine *pci_intx(PciDevice *p);
CTX_ANY bool pci_msix_enabled(const PciDevice *p);
CTX_ANY bool pci_msi_enabled(const PciDevice *p);
CTX_ANY void pci_msix_fire(PciDevice *p, unsigned vector);
CTX_ANY void pci_msi_fire(PciDevice *p, unsigned vector);
/* Lets @n raise vector @vector without user space while it is unmasked; NULL ends that. */
CTX_DOMAIN bool pci_msix_attach(PciDevice *p, unsigned vector, Notifier *n, Error **errp);
/* INTx or MSI, whichever the guest enabled, for devices with one interrupt: a level. */
CTX_DOMAIN void pci_irq_level(PciDevice *p, bool level);

/* --- state and reset of the function are the slot's --- */
CTX_ANY uint16_t pci_requester_id(const PciDevice *p);

#endif
