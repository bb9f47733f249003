/* pcihp.h: PCI hot-plug through ACPI: the registers that the DSDT's PCNT and _EJ0 methods use.
 *
 * A part of the chip that has the ACPI registers (PIIX4_PM, ICH9-LPC), under its domain:
 *     realize:   acpi_pcihp_init(&s->hp, d, &s->pm, 0xae00);      0x0cc0 on ICH9
 *                acpi_pcihp_bus(&s->hp, root_bus);                bus selector 0, then 1, ...
 *     complete:  acpi_pcihp_bridges(&s->hp, root_bus);            the buses behind its bridges
 *     reset, settle, unrealize: the functions of these names; state: STATE_STRUCT(..., &acpi_pcihp_state). */
#ifndef HW_ACPI_PCIHP_H
#define HW_ACPI_PCIHP_H

#include "hw/acpi/pm.h"
#include "hw/pci/pci.h"

#define ACPI_PCIHP_BUSES 256
#define ACPI_PCIHP_GPE 1       /* GPE0 bit, \_GPE._E01 */

typedef struct AcpiPciHp {
    Device *owner;
    AcpiPm *pm;
    Region io;
    bool bridges;              /* buses behind bridges are ours too */
    PciBus *buses[ACPI_PCIHP_BUSES];   /* epoch-published; NULL: gone */
    const PciHotplugOps *below[ACPI_PCIHP_BUSES];      /* the bridge's own, which is to follow */
    unsigned bus_count;
    bool finish;               /* derived: a reset ends the unplugs the guest had not answered */
    /* state */
    uint32_t up[ACPI_PCIHP_BUSES], down[ACPI_PCIHP_BUSES];
    uint32_t select, index_slot;
} AcpiPciHp;

extern const StateDesc acpi_pcihp_state;

/* A bus for the DSDT. */
typedef struct AcpiPciBus {
    int parent;                /* index of the bus its bridge is on; -1: a root bus that is not listed */
    bool root;
    bool one_slot;             /* behind an Express port */
    uint8_t devfn;             /* of the bridge */
    unsigned selector;
} AcpiPciBus;

/* Puts 24 ports at @port of the machine's I/O space. */
CTX_CONTROL void acpi_pcihp_init(AcpiPciHp *hp, Device *owner, AcpiPm *pm, uint16_t port);
CTX_CONTROL void acpi_pcihp_free(AcpiPciHp *hp);
/* @b takes devices while the guest runs; its number is how many were added before. */
CTX_CONTROL void acpi_pcihp_bus(AcpiPciHp *hp, PciBus *b);
/* The buses that are behind bridges of @root now, if @hp->bridges. */
CTX_CONTROL void acpi_pcihp_bridges(AcpiPciHp *hp, PciBus *root);
/* Describes the buses, parents first, in @out[ACPI_PCIHP_BUSES]; returns how many they are. */
CTX_CONTROL unsigned acpi_pcihp_describe(const AcpiPciHp *hp, AcpiPciBus *out);
CTX_DOMAIN void acpi_pcihp_reset(AcpiPciHp *hp, ResetKind kind);
CTX_DOMAIN void acpi_pcihp_settle(AcpiPciHp *hp);

#endif
