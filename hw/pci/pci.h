/* pci.h: PCI functions, config space, BARs, capabilities, INTx, MSI and MSI-X (PCI Local Bus 3.0, PCI
 * Express Base 4.0).
 *
 * 1. Config space is bytes plus a write mask plus a "write one to clear" mask; no device parses config
 *    writes for BARs, command bits, MSI or power state.  What the guest may write returns at reset to
 *    what it was when the function was published.
 * 2. A BAR move is one map_begin/put/commit by the core, under the function's domain.
 * 3. Each function has its own domain.  Config cycles hold no domain; the core takes the target's.
 * 4. A function's INTx level is gated by its command register, swizzled through the bridges above it,
 *    and ORed per wire of the root bus, which ends in the IrqSink that the chipset gave
 *    (pci_bus_route). */
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
#define PCI_SUBVENDOR 0x1af4   /* subsystem ids when a type names none */
#define PCI_SUBSYSTEM 0x1100

typedef struct PciDevice PciDevice;
typedef struct PciBus PciBus;
typedef enum { BAR_IO, BAR_MEM32, BAR_MEM64, BAR_MEM64_PREF, BAR_MEM32_PREF } BarKind;

/* PciOps.express */
enum {
    PCI_CONVENTIONAL,
    PCI_EXPRESS,               /* Express when its bus is */
    PCI_EXPRESS_BELOW_PORT,    /* Express below a port, conventional on the root complex */
};

typedef struct PciOps {
    uint16_t vendor, device, subsys_vendor, subsys;
    uint32_t class_code;       /* class, subclass, interface: 0xCCSSII */
    uint8_t revision, pin;     /* pin 0: no INTx, 1: INTA ... */
    uint8_t header;            /* 0: function, 1: bridge */
    uint8_t express;
    bool multifunction;        /* function 0 of a device that always has more */
    /* After the core acted on a config write of [off, off + size).  Under the function's domain. */
    void (*config_wrote)(PciDevice *p, unsigned off, unsigned size);
    /* Before a config read, to refresh volatile registers; may be NULL.  Under the domain. */
    void (*config_reading)(PciDevice *p, unsigned off, unsigned size);
    /* MSI-X vectors of the function were masked, unmasked or switched; under the domain. */
    void (*msix_changed)(PciDevice *p);
} PciOps;

typedef struct PciBar {
    Region *region;            /* NULL: absent; for BAR_MEM64 the upper half is absent too */
    BarKind kind;
    uint64_t at;               /* where it is mapped now; UINT64_MAX: nowhere */
} PciBar;

struct PciDevice {
    Device dev;
    uint8_t devfn;             /* place on the bus, fixed by attach */
    bool express;              /* has an Express capability, and extended config space */
    uint16_t config_size;      /* 256, or 4096 for Express */
    uint16_t plain_size;       /* the same, or 0 when the type wants to know of reads */
    /* config_size bytes each, in one allocation: the registers; what the guest may write; what it
     * clears by writing ones; what the function itself changes; what reset restores. */
    uint8_t *config, *wmask, *w1cmask, *live, *initial;
    PciBar bars[7];
    uint8_t cap_msi, cap_msix, cap_pm, cap_exp;    /* offsets; 0: none */
    uint8_t cap_next;          /* first free byte for a capability */
    uint16_t ext_cap_last, ext_cap_next;
    struct PciMsix *msix;      /* vectors; NULL: none */
    struct PciMsi *msi;
    IrqLine intx;              /* what the device drives; ends in intx_gate */
    IrqSink intx_gate;
    bool intx_level, intx_off, intx_driven;        /* atomic: asserted; disabled; told the bus */
    unsigned intx_busy;        /* see merge.h */
    Region rom;                /* the expansion ROM's region, when romfile or pci_rom() says */
    RamBlock *rom_ram;
    PciBus *secondary;         /* the bus behind a bridge; NULL: none */
    bool visible;              /* published; guarded by the domain */
    bool frozen;               /* initial[] is what reset restores */
    bool in_reset;             /* a function-level reset is under way; guarded by the domain */
    bool was_reset;            /* settle lowers INTx before the type's settle drives it */
    bool msi_level;            /* what pci_irq_level() last said */
    Post reset_post;           /* a reset that waits for the function to be quiet */
    bool reset_queued, reset_cancelled;    /* control */
    GByteArray *saved, *saved_msix;    /* for the state tables */
    uint8_t busy_reset;        /* for the state tables */
    /* properties of every PCI function */
    char *addr;                /* "5", "5.1" (hexadecimal) or NULL: the first free slot */
    char *romfile;
    uint32_t romsize, rombar;
    bool multifunction;
    uint32_t acpi_index;
    char *failover_pair_id;
    bool x_lnksta_dllla, x_extcap_init;
};

extern const SlotType pci_slot;

static inline PciDevice *pci_device(Device *d)
{
    return (PciDevice *)d;
}

static inline const PciOps *pci_ops(const PciDevice *p)
{
    return p->dev.type->slot_ops;
}

/* How a bus takes functions while the guest runs.  All on control. */
typedef struct PciHotplugOps {
    /* @p was published on a running machine: tell the guest. */
    void (*plugged)(PciBus *b, PciDevice *p);
    /* device_del: ask the guest to let @p go.  False: it cannot be. */
    bool (*unplug_request)(PciBus *b, PciDevice *p, Error **errp);
    /* @p has gone. */
    void (*unplugged)(PciBus *b, PciDevice *p);
    /* @b goes.  May be NULL. */
    void (*gone)(PciBus *b);
} PciHotplugOps;

/* A bus of PCI functions.  The slot is the generic Bus; PciBus is what the PCI core adds. */
struct PciBus {
    Bus *bus;
    PciDevice *bridge;         /* the bridge above; NULL: a root bus */
    PciBus *parent, *root;     /* of a root bus: NULL and itself */
    PciDevice *functions[256]; /* epoch-published */
    PciBus *child_first, *child_next;  /* epoch-published: buses behind its bridges */
    bool express;              /* its functions may have 4096 bytes of config space */
    bool port;                 /* behind an Express port: one slot */
    bool off;                  /* atomic: without power, nothing on it answers */
    Region *mem, *io;          /* where BARs are placed */
    Space *dma;                /* where bus mastering goes */
    uint8_t slot_min, slot_max;        /* slots that may be used */
    uint32_t numbers;          /* atomic: the bridge's primary, secondary, subordinate bytes */
    const PciHotplugOps *hotplug;
    void *hotplug_arg;
    /* root buses: wires to the chipset */
    IrqSink *intx_to;
    unsigned (*intx_map)(unsigned slot, unsigned pin);
    int intx_count[8];         /* atomic: functions that assert wire n */
    unsigned intx_busy[8];     /* see merge.h */
    EpochItem epoch;
};

/* --- buses (control) --- */
/* Makes @owner offer a PCI bus called @name; @bridge NULL: a root bus. */
CTX_CONTROL PciBus *pci_bus_new(Device *owner, const char *name, PciDevice *bridge, bool express, Region *mem,
                                Region *io, Space *dma);
/* In the unrealize of the owner; the bus is empty.  The generic Bus stays the core's to free. */
CTX_CONTROL void pci_bus_free(PciBus *b);
CTX_ANY PciBus *pci_bus_of(const Bus *b);
/* The bus @p is plugged into. */
CTX_ANY PciBus *pci_bus(const PciDevice *p);
/* Bus number as the guest programmed it (0 for a root bus). */
CTX_ANY uint8_t pci_bus_number(const PciBus *b);
/* Connects root bus @b's wires: pin @pin (0..3) of slot @slot arrives at pin map(slot, pin) (0..7) of
 * @to. */
CTX_CONTROL void pci_bus_route(PciBus *b, IrqSink *to, unsigned (*map)(unsigned slot, unsigned pin));
/* Calls fn for each function on @b and below. */
CTX_ANY void pci_bus_each(PciBus *b, void (*fn)(PciDevice *p, void *arg), void *arg);
/* The function at @devfn of the bus the guest numbered @bus; NULL: none.  Inside an epoch section. */
CTX_ANY PciDevice *pci_find_below(PciBus *root, uint8_t bus, uint8_t devfn);

CTX_ANY static inline PciDevice *pci_function(PciBus *b, uint8_t devfn)
{
    return __atomic_load_n(&b->off, __ATOMIC_ACQUIRE) ? NULL : epoch_load(b->functions[devfn]);
}

CTX_ANY static inline PciDevice *pci_find(PciBus *root, uint8_t bus, uint8_t devfn)
{
    return bus == 0 ? pci_function(root, devfn) : pci_find_below(root, bus, devfn);
}

/* --- config space cycles, from host bridges: bus/devfn/register as on the wire.  The caller holds
 * no domain.  Reads of nothing are all ones. --- */
CTX_ANY uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, unsigned size);
CTX_ANY void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, uint32_t val,
                              unsigned size);
/* The same for a function at hand, its domain held. */
CTX_DOMAIN uint32_t pci_function_read(PciDevice *p, unsigned off, unsigned size);
CTX_DOMAIN void pci_function_write(PciDevice *p, unsigned off, uint32_t val, unsigned size);

/* --- for device types, in realize --- */
/* Sizes are rounded up to a power of two, at least 16 bytes (4096 for memory is the type's choice). */
CTX_CONTROL void pci_bar(PciDevice *p, unsigned n, BarKind kind, Region *r);
/* Shows @data (copied) as the expansion ROM, unless the user gave romfile=; rombar=0 hides it. */
CTX_CONTROL bool pci_rom(PciDevice *p, const void *data, size_t size, Error **errp);
/* Adds a capability of @size bytes including its two header bytes; @body is what follows them, @wmask
 * (same length as body, may be NULL) what the guest may write.  Returns its offset, 0 when full. */
CTX_CONTROL unsigned pci_capability(PciDevice *p, uint8_t id, const void *body, size_t size,
                                    const void *wmask);
/* An extended capability of @size bytes including its four header bytes; 0: not Express, or full. */
CTX_CONTROL unsigned pci_ext_capability(PciDevice *p, uint16_t id, uint8_t version, size_t size);
/* Advanced Error Reporting (minimal: masks and severities are kept, no error is ever logged). */
CTX_CONTROL void pci_aer(PciDevice *p);
/* Device Serial Number. */
CTX_CONTROL void pci_dsn(PciDevice *p, uint64_t serial);
/* Access Control Services, for ports. */
CTX_CONTROL void pci_acs(PciDevice *p);
/* MSI-X with table and PBA in BAR @bar: a new one of its own, or at @table_off/@pba_off of @box. */
CTX_CONTROL bool pci_msix(PciDevice *p, unsigned vectors, unsigned bar, Error **errp);
CTX_CONTROL bool pci_msix_in(PciDevice *p, unsigned vectors, unsigned bar, Region *box, uint32_t table_off,
                             uint32_t pba_off, Error **errp);
CTX_CONTROL bool pci_msi(PciDevice *p, unsigned vectors, bool bits64, bool maskable, Error **errp);
CTX_CONTROL void pci_pm(PciDevice *p);
/* PCI Express capability: port type as in the specification (0 endpoint, 4 root port, 9 integrated). */
CTX_CONTROL unsigned pci_express(PciDevice *p, unsigned port_type);
/* What the helpers above made is freed by the core after unrealize. */

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
/* Ends all the guest's settings of @p and starts it afresh, as FLR and D3hot to D0 do: at once out of
 * the guest's sight, quiesced, reset and resumed by control. */
CTX_DOMAIN void pci_function_reset(PciDevice *p);
/* The same for everything on and below @b (secondary bus reset).  No domain of theirs is held. */
CTX_ANY void pci_bus_reset(PciBus *b);
/* Re-reads BARs, command and MSI state after a type changed p->config itself. */
CTX_DOMAIN void pci_refresh(PciDevice *p);
/* device_del of a PCI function: asks the guest where the bus can, or removes at once. */
CTX_CONTROL bool pci_unplug_request(PciDevice *p, Error **errp);
/* The guest let @p go: removes it. */
CTX_ANY void pci_unplug_done(PciDevice *p);

/* How romfile= names are found: returns a path owned by the caller, or NULL.  Set once by system/. */
CTX_CONTROL void pci_rom_finder(char *(*find)(const char *name));

#endif
