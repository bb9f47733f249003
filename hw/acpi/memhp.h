/* memhp.h: memory hot-plug through ACPI: the registers behind \_SB.MEMS and \_GPE._E03.
 *
 * A part of the chip that has the ACPI registers, like AcpiPciHp (pcihp.h), with the same functions. */
#ifndef HW_ACPI_MEMHP_H
#define HW_ACPI_MEMHP_H

#include "hw/acpi/places.h"

#define ACPI_MEMHP_GPE 3
#define ACPI_MEMHP_PORT 0x0a00
#define ACPI_MEMHP_REGS 0x18

typedef struct AcpiMemHp {
    AcpiPlaces places;
    Region io;
    /* state */
    uint32_t select;
} AcpiMemHp;

extern const StateDesc acpi_memhp_state;

/* Puts 24 ports at ACPI_MEMHP_PORT of the machine's I/O space, if it has memory slots. */
CTX_CONTROL void acpi_memhp_init(AcpiMemHp *hp, Device *owner, AcpiPm *pm);
CTX_CONTROL void acpi_memhp_free(AcpiMemHp *hp);
CTX_DOMAIN void acpi_memhp_reset(AcpiMemHp *hp, ResetKind kind);

#endif
