/* host-int.h: what the host bridges share: configuration ports, and RAM under the ISA hole. */
#ifndef HW_PCI_HOST_INT_H
#define HW_PCI_HOST_INT_H

#include "hw/pci/host.h"
#include "hw/pci/pci-int.h"

/* Both host bridges: the box of PCI memory, the ports 0xcf8-0xcff, and (q35) the ECAM window. */
typedef struct PciHost {
    Device dev;
    PciBus *bus;
    Region mem;
    Region conf_addr, conf_data, ecam;
    uint64_t ecam_at;          /* UINT64_MAX: not mapped; guarded by mch's domain */
    uint32_t addr;             /* CONFADD; atomic */
    uint8_t reset_control;     /* port 0xcf9; atomic */
    uint64_t hole64_size;      /* properties */
    bool ecam_on;
} PciHost;

/* The thirteen segments of 0xc0000-0xfffff, and the VGA hole with SMRAM under it. */
#define PAM_SEGMENTS 13
typedef struct Pam {
    Region ram[PAM_SEGMENTS];
    Region hole, pci, smram, tseg;
    /* seen in system management mode only */
    Region smm_low, smm_high, smm_tseg;
    bool smm_low_shown, smm_high_shown;
    uint8_t shown[PAM_SEGMENTS];       /* bit 0: reads, bit 1: writes go to RAM */
    bool smram_shown;
    uint64_t tseg_size;
} Pam;

bool pam_init(Pam *pam, Device *d, Region *pci_mem, Error **errp);
void pam_free(Pam *pam);
/* @regs: PAM0 to PAM6.  @smram_open: RAM instead of VGA at 0xa0000.  @tseg: bytes hidden below the end
 * of low RAM. */
void pam_update(Pam *pam, const uint8_t *regs, bool smram_open, uint64_t tseg);
/* What is behind 0xa0000 is seen there in SMM (@low), or at 0xfeda0000 (@high).  TSEG is always. */
void pam_smm(Pam *pam, bool low, bool high);

void host_ecam_place(PciHost *h, uint64_t at, uint64_t size, bool on);

/* SMRAM control (82441FX 3.2.18, Q35 5.1.34): D_OPEN 6, D_CLS 5, D_LCK 4, G_SMRAME 3. */
enum { SMRAM_OPEN = 0x40, SMRAM_CLS = 0x20, SMRAM_LCK = 0x10, SMRAM_E = 0x08 };
/* After a write: locks when asked to. */
void smram_wrote(PciDevice *p, unsigned reg);
void smram_unlock(PciDevice *p, unsigned reg);

#endif
