/* pci-int.h: what the files of the PCI core share. */
#ifndef HW_PCI_PCI_INT_H
#define HW_PCI_PCI_INT_H

#include <linux/pci_regs.h>
#include "hw/pci/pci.h"
#include "util/bytes.h"
#include "util/trace.h"

/* qmp-pci.c */
void pci_describe(Device *d, GString *out);    /* SlotType.describe */

/* bar.c */
void pci_bars_update(PciDevice *p);
void pci_bars_drop(PciDevice *p);
void pci_bars_init(PciDevice *p);
unsigned pci_bar_reg(const PciDevice *p, unsigned n);
bool pci_rom_load(PciDevice *p, Error **errp);
void pci_rom_free(PciDevice *p);

/* config.c */
void pci_config_init(PciDevice *p);
void pci_config_freeze(PciDevice *p);          /* realize is over: what reset restores */
void pci_config_reset(PciDevice *p);
void pci_command_update(PciDevice *p);
void pci_bridge_numbers(PciDevice *p);
/* bus.c */
void pci_intx_init(PciDevice *p);
void pci_intx_update(PciDevice *p);
void pci_intx_off(PciDevice *p, bool off);
void pci_intx_drop(PciDevice *p);

/* msi.c */
void pci_msi_wrote(PciDevice *p, unsigned off, unsigned size);
void pci_msi_free(PciDevice *p);
void pci_msi_settle(PciDevice *p);

/* msix.c */
void pci_msix_wrote(PciDevice *p);
void pci_msix_reset(PciDevice *p);
void pci_msix_settle(PciDevice *p);
void pci_msix_free(PciDevice *p);
void pci_msix_save(PciDevice *p, GByteArray *out);
bool pci_msix_load(PciDevice *p, const GByteArray *in, Error **errp);

static inline bool pci_ranges_meet(unsigned a, unsigned alen, unsigned b, unsigned blen)
{
    return a < b + blen && b < a + alen;
}

/* pci_config_read() for register callbacks, which are in an epoch section already.  What guests read
 * nearly always, four bytes that nothing is to be computed for, is read in line. */
static inline uint32_t pci_cycle_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off,
                                      unsigned size)
{
    PciDevice *p = pci_find(root, bus, devfn);
    uint32_t val = UINT32_MAX >> (32 - 8 * size);

    if (!p) {
        return val;
    }
    Domain *domain = p->dev.domain;
    domain_enter(domain);
    if (p->visible && !p->in_reset) {
        if (size == 4 && off + 4 <= p->plain_size && off != PCI_COMMAND) {
            val = ld32(p->config + off);
            TRACE(pci_config_read, "%s off=0x%x size=%u value=0x%x", p->dev.id, off, size,
                  val);
        } else {
            val = pci_function_read(p, off, size);
        }
    }
    domain_leave(domain);
    return val;
}

/* The status register's INTx bit is computed when it is read. */
static inline uint16_t pci_command(const PciDevice *p)
{
    return ld16(p->config + PCI_COMMAND);
}

#endif
