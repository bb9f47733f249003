/* hotplug-aml.h: processors and memory slots in the DSDT, with the methods of their hot-plug. */
#ifndef HW_ACPI_HOTPLUG_AML_H
#define HW_ACPI_HOTPLUG_AML_H

#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"

/* Methods that look for events; for _GPE. */
#define ACPI_CPUS_SCAN "\\_SB.CPUS.CSCN"
#define ACPI_MEMORY_SCAN "\\_SB.MEMS.DSCN"

/* Into the scope \_SB. */
CTX_CONTROL void acpi_add_cpus(Aml *sb, const Machine *m, const AcpiBoard *b);
CTX_CONTROL void acpi_add_memory(Aml *sb, const Machine *m, const AcpiBoard *b);

#endif
