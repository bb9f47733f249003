/* hotplug-aml.h: processors, memory and PCI slots in the DSDT, with the methods of their hot-plug. */
#ifndef HW_ACPI_HOTPLUG_AML_H
#define HW_ACPI_HOTPLUG_AML_H

#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"

/* Methods that look for events; for _GPE. */
#define ACPI_CPUS_SCAN "\\_SB.CPUS.CSCN"
#define ACPI_MEMORY_SCAN "\\_SB.MEMS.DSCN"
#define ACPI_PCI_SCAN "\\_SB.PCI0.PCNT"

/* Into the scope \_SB. */
CTX_CONTROL void acpi_add_cpus(Aml *sb, const Machine *m, const AcpiBoard *b);
CTX_CONTROL void acpi_add_memory(Aml *sb, const Machine *m, const AcpiBoard *b);
/* Into the device PCI0; b->pcihp_io is not 0. */
CTX_CONTROL void acpi_add_pcihp(Aml *pci0, const AcpiBoard *b);

#endif
