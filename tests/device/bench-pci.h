/* bench-pci.h: a PCI root bus on the fake board, and the bus master's side of a PCI function.
 *
 * 1. Config cycles go straight to the bus, as bus 0.  BARs of functions are placed in the machine's
 *    spaces; INTA..INTD of slot s arrive at GSI 16 + (s + pin) % 4. */
#ifndef TESTS_DEVICE_BENCH_PCI_H
#define TESTS_DEVICE_BENCH_PCI_H

#include "hw/pci/pci.h"
#include "tests/device/bench.h"

/* The bus "pci.0", made on first use: an Express root complex. */
Bus *bench_pci(Bench *b);
/* True for a type that plugs into it. */
bool bench_pci_wants(const DeviceType *t);
/* Removes what bench_pci() made; bench_free() calls it. */
void bench_pci_free(Bench *b);

/* The function below @d: @d itself. */
PciDevice *bench_pci_function(Device *d);
uint32_t bench_config_read(Bench *b, Device *d, unsigned off, unsigned size);
void bench_config_write(Bench *b, Device *d, unsigned off, uint32_t val, unsigned size);
/* Size of BAR @n (0: absent), found as firmware does it. */
uint64_t bench_bar_size(Bench *b, Device *d, unsigned n);
/* Gives BAR @n an address of its own and switches decoding and bus mastering on; returns it. */
Gpa bench_bar(Bench *b, Device *d, unsigned n);
/* Sets BAR @n to @at (no other change). */
void bench_bar_at(Bench *b, Device *d, unsigned n, Gpa at);
/* Offset of capability @id in config space; 0: none. */
unsigned bench_capability(Bench *b, Device *d, uint8_t id);
/* Switches MSI-X on and gives vector n the message (0xfee00000, 0x40 + n). */
void bench_msix_on(Bench *b, Device *d);

#endif
