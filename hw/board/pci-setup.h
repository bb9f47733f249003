/* pci-setup.h: numbers buses and assigns BARs, for guests that start without firmware. */
#ifndef HW_BOARD_PCI_SETUP_H
#define HW_BOARD_PCI_SETUP_H

#include "hw/pci/pci.h"

typedef struct PciWindows {
    uint64_t io_next, io_end;          /* first free and first byte after */
    uint64_t mem_next, mem_end;        /* below 4 GiB */
    uint64_t mem64_next, mem64_end;    /* prefetchable, above 4 GiB */
    unsigned bus_next;
    /* The ISA interrupt of pin 0..3 of a root bus slot; NULL: lines are left alone. */
    uint8_t (*irq_of)(PciBus *root, unsigned slot, unsigned pin);
} PciWindows;

/* Walks everything below @root by configuration cycles, as firmware does: bus numbers, bridge windows,
 * BARs, command bits.  Control, no domain held. */
CTX_CONTROL void pci_setup(PciBus *root, PciWindows *w);

#endif
