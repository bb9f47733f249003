/* toys.h: devices that exist to be tested with: an ISA one and a PCI one that do everything right,
 * and
 * the ISA one once for each kind of mistake that the conformance suite must find. */
#ifndef TESTS_CONFORM_TOYS_H
#define TESTS_CONFORM_TOYS_H

#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"
#include "core/region.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

/* Registers of both, each 32 bits wide:
 *    0  scratch
 *    4  counter: counts writes to it
 *    8  delay: writing n > 0 raises the interrupt n microseconds later
 *   12  status: bit 0: the interrupt; writing 1 clears it
 *   16  address of a DMA transfer
 *   20  command: writing n (1 to 4096) fills n bytes at the address with the scratch value; reads
 *   as
 *       the bytes written so far; the work is done by a post to the device's loop ("in flight")
 *   24  index into 8 bytes, and
 *   28  the byte at the index */
typedef struct Toy {
    Device *dev;
    Region region;
    IrqLine line;
    DevTimer timer;
    Post work;
    Barrier *home;             /* quiesce waits for the work */
    bool stopped;
    bool busy;
    uint32_t irq;              /* property */
    uint32_t limit;            /* property: most bytes of a transfer */
    char *label;               /* property */
    int32_t mode;              /* property */
    /* state */
    uint32_t scratch, counter, status, done;
    uint64_t address;
    uint32_t pending;          /* bytes to fill */
    uint32_t index;
    uint8_t bytes[8];
    uint32_t secret;           /* the bad toys' */
    void (*interrupt)(struct Toy *t, bool level);
} Toy;

typedef struct ToyIsa {
    IsaDevice isa;
    Toy t;
    uint32_t port;
    void *leak;
    Timer raw;
} ToyIsa;

typedef struct ToyPci {
    PciDevice pci;
    Toy t;
    Region ram_bar;
    RamBlock *ram;
} ToyPci;

extern const DeviceType toy_isa_type, toy_pci_type;
/* Each has one defect: its summary says which check must fail ("life", "props", "reset", "twin",
 * "rule10").  NULL-terminated. */
extern const DeviceType *const toy_bad_types[];

#endif
