/* pc.h: what the two PC boards share; private to hw/board. */
#ifndef HW_BOARD_PC_H
#define HW_BOARD_PC_H

#include "core/accel.h"
#include "core/machine.h"
#include "hw/acpi/tables.h"
#include "hw/board/boot.h"
#include "hw/board/firmware.h"
#include "hw/pci/host.h"

#define PC_GSIS 24

/* Interrupt controllers in user space; unused when the accelerator has its own. */
typedef struct PcIrqs {
    IrqSink gsi, intr;
    Device *pic, *ioapic;
    SoftIrqchip soft;
} PcIrqs;

/* The board as a device: it owns what belongs to no chip. */
typedef struct PcBoard {
    Device dev;
    bool q35;
    Device *host, *rtc, *hpet, *south;
    Region ram_low, ram_high;
    Region parts[2 * NUMA_NODES_MAX];  /* RAM by NUMA node, when back ends are given by node */
    unsigned part_count;
    PcIrqs irqs;
    FirmwareRom rom;
    AcpiBoard acpi;
    AcpiFdc acpi_fdc;
    Linker *linker;
    Smbios smbios;
    BootPlan *plan;                    /* kernel without firmware; NULL: firmware starts the guest */
    GPtrArray *files;                  /* BootFile *: what fw_cfg serves from files */
    bool complete;                     /* restarted once: tables and items are there */
    bool ran;                          /* the guest has run since the last restart */
    bool once_done;                    /* -boot once= has had its start */
} PcBoard;

CTX_CONTROL bool pc_build(Machine *m, bool q35, Error **errp);
CTX_CONTROL bool pc_complete(Machine *m, Error **errp);
CTX_CONTROL void pc_restart(Machine *m, ResetKind kind);

/* A chip by its catalogue name; @addr: of a PCI function, or NULL. */
CTX_CONTROL Device *pc_make(Machine *m, Bus *bus, const char *type, const char *id, const char *addr,
                            Error **errp);
/* pc-irq.c: sets m->gsi, before any bridge; then makes the controllers if they are ours. */
CTX_CONTROL void pc_irqs_begin(PcBoard *b, Machine *m);
CTX_CONTROL bool pc_irqs_make(PcBoard *b, Machine *m, Error **errp);
/* pc-ram.c: splits RAM around the PCI hole and maps it. */
CTX_CONTROL bool pc_map_ram(PcBoard *b, Machine *m, Error **errp);
/* pc-floppy.c: the controller at the usual ports and its drives; NULL: there is none. */
CTX_CONTROL const AcpiFdc *pc_describe_fdc(PcBoard *b, Machine *m);
/* pc-fw-cfg.c: everything firmware wants to know. */
CTX_CONTROL bool pc_fill_fw_cfg(PcBoard *b, Machine *m, Error **errp);
/* Adds the files by which firmware of a q35 agrees with the bridge on SMIs; empties them, at each reset. */
CTX_CONTROL bool pc_smi_offer(Machine *m, Error **errp);
CTX_CONTROL void pc_smi_restart(Machine *m);
CTX_CONTROL void pc_fill_cmos(PcBoard *b, Machine *m);
/* How many vCPUs there are now: CMOS and fw_cfg. */
CTX_CONTROL void pc_fill_cpu_count(PcBoard *b, Machine *m);
/* Boot order for the coming start: CMOS and the file "bootorder". */
CTX_CONTROL bool pc_boot_order(PcBoard *b, Machine *m, Error **errp);
/* The memory map's reserved ranges beside RAM; returns how many. */
CTX_CONTROL unsigned pc_reserved(const PcBoard *b, E820Entry out[4]);

#endif
