/* host.h: the PC chipsets as boards see them: host bridges, south bridges, and what wires them.
 *
 * A board makes, in this order (RAM is in m->mem_root already):
 *   pc:   pc_host_make(m, false): i440FX-pcihost "i440fx", i440FX at 00.0; m->pci is "pci.0"
 *         device_make(&piix3_type, ..., m->pci, ..., "addr", "01.0"): m->isa is "isa.0"
 *         device_make(&piix4_pm_type, ..., m->pci, ..., "addr", "01.3")
 *   q35:  pc_host_make(m, true): q35-pcihost "q35", mch at 00.0; m->pci is "pcie.0"
 *         device_make(&ich9_lpc_type, ..., m->pci, ..., "addr", "1f.0"): m->isa is "isa.0"
 *         device_make(&ich9_smb_type, ..., m->pci, ..., "addr", "1f.3")
 * m->gsi is set before the south bridge is made. */
#ifndef HW_PCI_HOST_H
#define HW_PCI_HOST_H

#include "core/machine.h"
#include "hw/acpi/pcihp.h"
#include "hw/pci/pci.h"

#define ECAM_BASE UINT64_C(0xb0000000)
#define ECAM_SIZE (UINT64_C(256) << 20)
#define RCBA_BASE UINT64_C(0xfed1c000)     /* of ICH9's root complex registers, where firmware puts them */
#define RCBA_SIZE 0x4000

extern const DeviceType i440fx_pcihost_type, i440fx_type, q35_pcihost_type, mch_type, piix3_type,
                        piix4_pm_type, ich9_lpc_type, ich9_smb_type;

/* Makes host bridge and function 00.0 below m->root and sets m->pci. */
CTX_CONTROL Device *pc_host_make(Machine *m, bool q35, Error **errp);
/* The box of PCI memory addresses below RAM: option ROMs, the BIOS at 0xe0000 and below 4 GiB, VGA and
 * everything else that is not RAM is put here, at priority 0 (BARs have 1) or 2 to win over BARs. */
CTX_CONTROL Region *pc_host_pci_mem(Device *host);
CTX_ANY PciBus *pc_host_bus(const Device *host);

/* What firmware does first, for kernels started without any: power management at its usual ports,
 * ECAM, RCBA, PIRQ routes, PAM to RAM.  After each machine_reset(); no domain held. */
CTX_CONTROL void pc_chipset_setup(PciBus *root, bool q35);

/* ACPI's PCI hot-plug in the chips that have the machine's ACPI registers (Machine.pm). */
CTX_CONTROL AcpiPciHp *ich9_lpc_pcihp(Device *d);
CTX_ANY struct SmiFeatures *ich9_lpc_smi(Device *d);
CTX_CONTROL AcpiPciHp *piix4_pm_pcihp(Device *d);

/* --- wiring, for _PRT and MP tables: PIRQ 0..3 (PIIX3) or 0..7 (ICH9: A..H) of INTx pin 0..3 of
 * root bus slot @slot.  With an I/O APIC, ICH9's PIRQ n is also global interrupt 16 + n. --- */
CTX_ANY unsigned piix3_pirq(unsigned slot, unsigned pin);
CTX_ANY unsigned ich9_pirq(unsigned slot, unsigned pin);

#endif
