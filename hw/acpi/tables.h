/* tables.h: the ACPI tables of a PC: RSDP, RSDT, XSDT, FADT, FACS, DSDT, MADT, HPET, MCFG, SRAT, SLIT,
 * WAET. */
#ifndef HW_ACPI_TABLES_H
#define HW_ACPI_TABLES_H

#include "core/machine.h"
#include "hw/acpi/linker.h"
#include "hw/acpi/pcihp.h"

#define ACPI_TABLES_FILE "etc/acpi/tables"
#define ACPI_RSDP_FILE "etc/acpi/rsdp"

/* What the tables say about the board. */
typedef struct AcpiFdc {
    uint16_t iobase;
    uint8_t irq, dma;
    uint8_t type[2];                   /* as CMOS codes it; 0: no drive */
    uint8_t cylinder[2], sector[2];    /* the highest */
} AcpiFdc;

typedef struct AcpiBoard {
    bool q35;                          /* else i440FX/PIIX */
    uint16_t pm_base;                  /* PM1a event block; control +4, timer +8 */
    uint16_t gpe0;
    uint8_t gpe0_len;
    bool smi;                          /* there is an SMI command port */
    uint8_t acpi_enable, acpi_disable; /* values for it */
    uint16_t pcihp_io;                 /* ACPI PCI hot-plug registers; 0: none */
    unsigned pci_bus_count;
    AcpiPciBus pci_buses[ACPI_PCIHP_BUSES];    /* whose devices are plugged by it */
    uint16_t cpuhp_io;                 /* ACPI CPU hot-plug registers; 0: none */
    uint16_t memhp_io;                 /* ACPI memory hot-plug registers, if there are slots */
    unsigned memory_slots;
    uint64_t ecam;                     /* base of the 256 MiB ECAM window; 0: none */
    uint64_t pci32_start, pci32_end;   /* first and last byte of the 32-bit PCI hole */
    uint64_t pci64_start, pci64_end;   /* the 64-bit one; 0, 0: none */
    bool hpet, pvpanic, fw_cfg, s3, s4;
    unsigned serial_ports;             /* bit n: COM(n+1) is there */
    bool ps2;
    const AcpiFdc *fdc;                /* the first floppy controller, or NULL */
    uint32_t (*apic_id)(const CpuTopology *t, unsigned index);
} AcpiBoard;

/* Builds every table into @l; the fw_cfg files it makes are ACPI_TABLES_FILE and ACPI_RSDP_FILE. */
CTX_CONTROL void acpi_build(Linker *l, const Machine *m, const AcpiBoard *b);

/* Appends the MADT entry of CPU @index. */
CTX_CONTROL void acpi_madt_cpu(GByteArray *t, const Machine *m, const AcpiBoard *b, unsigned index,
                               bool present);

/* Makes the MADT say which CPUs are there now.  *@at and *@len: where it is in ACPI_TABLES_FILE. */
CTX_CONTROL void acpi_refresh(Linker *l, const Machine *m, unsigned *at, unsigned *len);

/* The DSDT's definition block body (dsdt.c); consumed by acpi_build(). */
CTX_CONTROL GByteArray *acpi_dsdt(const Machine *m, const AcpiBoard *b);

#endif
