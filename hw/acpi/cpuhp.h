/* cpuhp.h: CPU hot-plug through ACPI: the registers behind \_SB.CPUS and \_GPE._E02.
 *
 * A part of the chip that has the ACPI registers, like AcpiPciHp (pcihp.h), with the same functions. */
#ifndef HW_ACPI_CPUHP_H
#define HW_ACPI_CPUHP_H

#include "hw/acpi/places.h"

#define ACPI_CPUHP_GPE 2

typedef struct AcpiCpuHp {
    AcpiPlaces places;
    Region legacy, modern;     /* one of them is seen */
    uint16_t port;
    /* state */
    bool is_modern;
    uint32_t select;
    uint8_t command;
} AcpiCpuHp;

extern const StateDesc acpi_cpuhp_state;

/* Puts the ports at @port (PIIX4 0xaf00, ICH9 0x0cd8) of the machine's I/O space. */
CTX_CONTROL void acpi_cpuhp_init(AcpiCpuHp *hp, Device *owner, AcpiPm *pm, uint16_t port);
CTX_CONTROL void acpi_cpuhp_free(AcpiCpuHp *hp);
CTX_DOMAIN void acpi_cpuhp_reset(AcpiCpuHp *hp, ResetKind kind);
CTX_DOMAIN void acpi_cpuhp_settle(AcpiCpuHp *hp);

#endif
