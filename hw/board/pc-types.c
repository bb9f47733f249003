/* pc-types.c: versioned names of the PC boards, and what each version sets back.
 *
 * 1. A version has only the rows by which it differs from the next newer one (MachineType.newer).
 * 2. Rows were taken from the devices of the machines of these names, as far as our devices know the
 *    properties; each version ends six years after its release (docs/design/machine.md). */
#include "hw/board/pc-types.h"

#include <stdlib.h>
#include <string.h>
#include "hw/board/pc.h"

/* --- what a version sets back --- */

/* Patterns: every virtio device, whatever carries it; every carrier of one; any function of a PCI bus. */
#define VIRTIO_DEVICE "virtio-*"
#define VIRTIO_PCI "virtio-*-pci*"
#define ANY_PCI "*"

static const CompatProp rows_7_1[] = {
    { VIRTIO_DEVICE, "queue_reset", "off" }, { "virtio-rng-pci*", "vectors", "0" }, { 0 },
};
static const CompatProp rows_6_0[] = {
    { "ICH9-LPC", "acpi-pci-hotplug-with-bridge-support", "off" }, { 0 },
};
static const CompatProp rows_5_2[] = {
    { "PIIX4_PM", "smm-compat", "on" }, { "ICH9-LPC", "smm-compat", "on" },
    { "ICH9-LPC", "x-smi-cpu-hotunplug", "off" },
    { "virtio-blk", "report-discard-granularity", "off" }, { 0 },
};
static const CompatProp rows_5_1[] = {
    { "ICH9-LPC", "x-smi-cpu-hotplug", "off" }, { "pvpanic", "events", "1" },
    { VIRTIO_PCI, "x-ats-page-aligned", "off" }, { "virtio-scsi", "num_queues", "1" }, { 0 },
};
static const CompatProp rows_5_0[] = {
    { VIRTIO_DEVICE, "x-disable-legacy-check", "on" }, { "vmport", "x-read-set-eax", "off" },
    { "vmport", "x-signal-unsupported-cmd", "off" }, { "vmport", "x-report-vmx-type", "off" },
    { "vmport", "x-cmds-v2", "off" }, { 0 },
};
static const CompatProp rows_4_2[] = {
    { "virtio-blk", "queue-size", "128" }, { "virtio-blk", "seg-max-adjust", "off" },
    { "virtio-scsi", "virtqueue_size", "128" }, { "virtio-scsi", "seg_max_adjust", "off" },
    { "virtio-blk", "x-enable-wce-if-config-wce", "off" },
    { VIRTIO_DEVICE, "use-disabled-flag", "off" }, { 0 },
};
static const CompatProp rows_4_1[] = { { VIRTIO_PCI, "x-pcie-flr-init", "off" }, { 0 } };
static const CompatProp rows_4_0[] = { { VIRTIO_DEVICE, "use-started", "off" }, { 0 } };
static const CompatProp rows_3_1[] = {
    { "ioh3420", "disable-acs", "on" }, { "pcie-root-port", "disable-acs", "on" },
    { "pcie-root-port", "x-speed", "2_5" }, { "pcie-root-port", "x-width", "1" },
    { "virtio-blk", "discard", "off" }, { "virtio-blk", "write-zeroes", "off" }, { 0 },
};
static const CompatProp rows_2_9[] = {
    { "mch", "extended-tseg-mbytes", "0" }, { "pci-bridge", "msi", "off" }, { "pci-bridge", "shpc", "off" },
    { "pcie-root-port", "x-migrate-msix", "off" }, { 0 },
};
static const CompatProp rows_2_8[] = {
    { "ICH9-LPC", "x-smi-broadcast", "off" }, { "fw_cfg_io", "x-file-slots", "16" },
    { "pci-bridge", "msi", "auto" }, { "pci-bridge", "shpc", "on" }, { ANY_PCI, "x-pcie-extcap-init", "off" },
    { VIRTIO_PCI, "x-pcie-deverr-init", "off" }, { VIRTIO_PCI, "x-pcie-lnkctl-init", "off" },
    { VIRTIO_PCI, "x-pcie-pm-init", "off" }, { 0 },
};
static const CompatProp rows_2_7[] = {
    { "ioapic", "version", "17" }, { VIRTIO_PCI, "page-per-vq", "on" },
    { VIRTIO_DEVICE, "x-ignore-backend-features", "on" }, { "virtio-serial", "emergency-write", "off" },
    { 0 },
};
static const CompatProp rows_2_6[] = {
    { VIRTIO_PCI, "disable-modern", "on" }, { "virtio-blk", "any_layout", "off" }, { 0 },
};
static const CompatProp rows_2_4[] = {
    { "fw_cfg_io", "dma_enabled", "off" }, { VIRTIO_PCI, "migrate-extra", "off" },
    { VIRTIO_PCI, "x-disable-pcie", "on" }, { 0 },
};
static const CompatProp rows_2_3[] = {
    { ANY_PCI, "x-pcie-lnksta-dllla", "off" }, { "virtio-rng", "any_layout", "off" },
    { "virtio-serial", "any_layout", "off" }, { 0 },
};
static const CompatProp rows_2_1[] = {
    { VIRTIO_PCI, "virtio-pci-bus-master-bug-migration", "on" }, { 0 },
};

/* --- the versions --- */

static bool build_pc(Machine *m, Error **errp)
{
    return pc_build(m, false, errp);
}

static bool build_q35(Machine *m, Error **errp)
{
    return pc_build(m, true, errp);
}

#define COMMON(rows, next) \
    .default_cpu = "qemu64", .default_display = "std", .complete = pc_complete, .restart = pc_restart, \
    .compat = rows, .newer = next
#define PC(rows, next) \
    .desc = "Standard PC (i440FX + PIIX, 1996)", .max_cpus = 255, .default_nic = "e1000", \
    .build = build_pc, COMMON(rows, next)
#define Q35(cpus, nic, rows, next) \
    .desc = "Standard PC (Q35 + ICH9, 2009)", .max_cpus = cpus, .default_nic = nic, \
    .build = build_q35, COMMON(rows, next)
/* @smp_sockets: left out numbers of -smp make sockets, not cores. */
#define SMP_SOCKETS .smp_sockets = true

enum { PC_7_2, PC_7_1, PC_7_0, PC_6_2, PC_6_1, PC_6_0, PC_5_2, PC_5_1, PC_5_0, PC_4_2, PC_4_1, PC_4_0, PC_3_1,
       PC_3_0, PC_2_12, PC_2_11, PC_2_10, PC_2_9, PC_2_8, PC_2_7, PC_2_6, PC_2_5, PC_2_4, PC_2_3, PC_2_2,
       PC_2_1, PC_COUNT };
static const MachineType pc[PC_COUNT] = {
    [PC_7_2] = { .name = "pc-i440fx-7.2", .alias = "pc", .is_default = true, PC(NULL, NULL) },
    [PC_7_1] = { .name = "pc-i440fx-7.1", PC(rows_7_1, &pc[PC_7_2]) },
    [PC_7_0] = { .name = "pc-i440fx-7.0", PC(NULL, &pc[PC_7_1]) },
    [PC_6_2] = { .name = "pc-i440fx-6.2", PC(NULL, &pc[PC_7_0]) },
    [PC_6_1] = { .name = "pc-i440fx-6.1", SMP_SOCKETS, PC(NULL, &pc[PC_6_2]) },
    [PC_6_0] = { .name = "pc-i440fx-6.0", SMP_SOCKETS, PC(rows_6_0, &pc[PC_6_1]) },
    [PC_5_2] = { .name = "pc-i440fx-5.2", SMP_SOCKETS, PC(rows_5_2, &pc[PC_6_0]) },
    [PC_5_1] = { .name = "pc-i440fx-5.1", SMP_SOCKETS, PC(rows_5_1, &pc[PC_5_2]) },
    [PC_5_0] = { .name = "pc-i440fx-5.0", SMP_SOCKETS, PC(rows_5_0, &pc[PC_5_1]) },
    [PC_4_2] = { .name = "pc-i440fx-4.2", SMP_SOCKETS, PC(rows_4_2, &pc[PC_5_0]) },
    [PC_4_1] = { .name = "pc-i440fx-4.1", SMP_SOCKETS, PC(rows_4_1, &pc[PC_4_2]) },
    [PC_4_0] = { .name = "pc-i440fx-4.0", SMP_SOCKETS, PC(rows_4_0, &pc[PC_4_1]) },
    [PC_3_1] = { .name = "pc-i440fx-3.1", SMP_SOCKETS, PC(rows_3_1, &pc[PC_4_0]) },
    [PC_3_0] = { .name = "pc-i440fx-3.0", SMP_SOCKETS, PC(NULL, &pc[PC_3_1]) },
    [PC_2_12] = { .name = "pc-i440fx-2.12", SMP_SOCKETS, PC(NULL, &pc[PC_3_0]) },
    [PC_2_11] = { .name = "pc-i440fx-2.11", SMP_SOCKETS, PC(NULL, &pc[PC_2_12]) },
    [PC_2_10] = { .name = "pc-i440fx-2.10", SMP_SOCKETS, PC(NULL, &pc[PC_2_11]) },
    [PC_2_9] = { .name = "pc-i440fx-2.9", SMP_SOCKETS, PC(rows_2_9, &pc[PC_2_10]) },
    [PC_2_8] = { .name = "pc-i440fx-2.8", SMP_SOCKETS, PC(rows_2_8, &pc[PC_2_9]) },
    [PC_2_7] = { .name = "pc-i440fx-2.7", SMP_SOCKETS, PC(rows_2_7, &pc[PC_2_8]) },
    [PC_2_6] = { .name = "pc-i440fx-2.6", SMP_SOCKETS, PC(rows_2_6, &pc[PC_2_7]) },
    [PC_2_5] = { .name = "pc-i440fx-2.5", SMP_SOCKETS, PC(NULL, &pc[PC_2_6]) },
    [PC_2_4] = { .name = "pc-i440fx-2.4", SMP_SOCKETS, PC(rows_2_4, &pc[PC_2_5]) },
    [PC_2_3] = { .name = "pc-i440fx-2.3", SMP_SOCKETS, PC(rows_2_3, &pc[PC_2_4]) },
    [PC_2_2] = { .name = "pc-i440fx-2.2", SMP_SOCKETS, PC(NULL, &pc[PC_2_3]) },
    [PC_2_1] = { .name = "pc-i440fx-2.1", SMP_SOCKETS, PC(rows_2_1, &pc[PC_2_2]) },
};

enum { Q35_7_2, Q35_7_1, Q35_7_0, Q35_6_2, Q35_6_1, Q35_6_0, Q35_5_2, Q35_5_1, Q35_5_0, Q35_4_2, Q35_4_1,
       Q35_4_0_1, Q35_4_0, Q35_3_1, Q35_3_0, Q35_2_12, Q35_2_11, Q35_2_10, Q35_2_9, Q35_2_8, Q35_2_7, Q35_2_6,
       Q35_2_5, Q35_2_4, Q35_COUNT };
static const MachineType q35[Q35_COUNT] = {
    [Q35_7_2] = { .name = "pc-q35-7.2", .alias = "q35", Q35(288, "e1000e", NULL, NULL) },
    [Q35_7_1] = { .name = "pc-q35-7.1", Q35(288, "e1000e", rows_7_1, &q35[Q35_7_2]) },
    [Q35_7_0] = { .name = "pc-q35-7.0", Q35(288, "e1000e", NULL, &q35[Q35_7_1]) },
    [Q35_6_2] = { .name = "pc-q35-6.2", Q35(288, "e1000e", NULL, &q35[Q35_7_0]) },
    [Q35_6_1] = { .name = "pc-q35-6.1", SMP_SOCKETS, Q35(288, "e1000e", NULL, &q35[Q35_6_2]) },
    [Q35_6_0] = { .name = "pc-q35-6.0", SMP_SOCKETS, Q35(288, "e1000e", rows_6_0, &q35[Q35_6_1]) },
    [Q35_5_2] = { .name = "pc-q35-5.2", SMP_SOCKETS, Q35(288, "e1000e", rows_5_2, &q35[Q35_6_0]) },
    [Q35_5_1] = { .name = "pc-q35-5.1", SMP_SOCKETS, Q35(288, "e1000e", rows_5_1, &q35[Q35_5_2]) },
    [Q35_5_0] = { .name = "pc-q35-5.0", SMP_SOCKETS, Q35(288, "e1000e", rows_5_0, &q35[Q35_5_1]) },
    [Q35_4_2] = { .name = "pc-q35-4.2", SMP_SOCKETS, Q35(288, "e1000e", rows_4_2, &q35[Q35_5_0]) },
    [Q35_4_1] = { .name = "pc-q35-4.1", SMP_SOCKETS, Q35(288, "e1000e", rows_4_1, &q35[Q35_4_2]) },
    [Q35_4_0_1] = { .name = "pc-q35-4.0.1", SMP_SOCKETS, Q35(288, "e1000e", rows_4_0, &q35[Q35_4_1]) },
    [Q35_4_0] = { .name = "pc-q35-4.0", SMP_SOCKETS, Q35(288, "e1000e", NULL, &q35[Q35_4_0_1]) },
    [Q35_3_1] = { .name = "pc-q35-3.1", SMP_SOCKETS, Q35(288, "e1000e", rows_3_1, &q35[Q35_4_0]) },
    [Q35_3_0] = { .name = "pc-q35-3.0", SMP_SOCKETS, Q35(288, "e1000e", NULL, &q35[Q35_3_1]) },
    [Q35_2_12] = { .name = "pc-q35-2.12", SMP_SOCKETS, Q35(288, "e1000e", NULL, &q35[Q35_3_0]) },
    [Q35_2_11] = { .name = "pc-q35-2.11", SMP_SOCKETS, Q35(288, "e1000", NULL, &q35[Q35_2_12]) },
    [Q35_2_10] = { .name = "pc-q35-2.10", SMP_SOCKETS, Q35(288, "e1000", NULL, &q35[Q35_2_11]) },
    [Q35_2_9] = { .name = "pc-q35-2.9", SMP_SOCKETS, Q35(288, "e1000", rows_2_9, &q35[Q35_2_10]) },
    [Q35_2_8] = { .name = "pc-q35-2.8", SMP_SOCKETS, Q35(288, "e1000", rows_2_8, &q35[Q35_2_9]) },
    [Q35_2_7] = { .name = "pc-q35-2.7", SMP_SOCKETS, Q35(255, "e1000", rows_2_7, &q35[Q35_2_8]) },
    [Q35_2_6] = { .name = "pc-q35-2.6", SMP_SOCKETS, Q35(255, "e1000", rows_2_6, &q35[Q35_2_7]) },
    [Q35_2_5] = { .name = "pc-q35-2.5", SMP_SOCKETS, Q35(255, "e1000", NULL, &q35[Q35_2_6]) },
    [Q35_2_4] = { .name = "pc-q35-2.4", SMP_SOCKETS, Q35(255, "e1000", rows_2_4, &q35[Q35_2_5]) },
};

/* Names in falling order, as listings have them: 2.2 before 2.12. */
static int by_name(const void *a, const void *b)
{
    return strcmp((*(const MachineType *const *)b)->name, (*(const MachineType *const *)a)->name);
}

void pc_types_register(void)
{
    static const MachineType *types[PC_COUNT + Q35_COUNT + 2];
    unsigned n = 0;

    for (; n < PC_COUNT; n++) {
        types[n] = &pc[n];
    }
    for (; n < PC_COUNT + Q35_COUNT; n++) {
        types[n] = &q35[n - PC_COUNT];
    }
    qsort(types, PC_COUNT, sizeof(types[0]), by_name);
    qsort(types + PC_COUNT, Q35_COUNT, sizeof(types[0]), by_name);
    types[n] = &none_machine;
    machine_types_register(types);
}
