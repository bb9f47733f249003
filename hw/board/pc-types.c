/* pc-types.c: versioned names of the PC boards.
 *
 * A version's compat rows set back what changed after it; each version ends six years after its release
 * (docs/design/machine.md). */
#include "hw/board/pc-types.h"

#include "hw/board/pc.h"

static bool build_pc(Machine *m, Error **errp)
{
    return pc_build(m, false, errp);
}

static bool build_q35(Machine *m, Error **errp)
{
    return pc_build(m, true, errp);
}

#define PC_TYPE(sym, version, nick, dflt) \
    static const MachineType sym = { \
        .name = "pc-i440fx-" version, .alias = nick, .desc = "Standard PC (i440FX + PIIX, 1996)", \
        .is_default = dflt, .max_cpus = 255, .default_cpu = "qemu64", .default_nic = "e1000", \
        .default_display = "std", .build = build_pc, .complete = pc_complete, .restart = pc_restart, \
    }
#define Q35_TYPE(sym, version, nick) \
    static const MachineType sym = { \
        .name = "pc-q35-" version, .alias = nick, .desc = "Standard PC (Q35 + ICH9, 2009)", \
        .max_cpus = 288, .default_cpu = "qemu64", .default_nic = "e1000e", .default_display = "std", \
        .build = build_q35, .complete = pc_complete, .restart = pc_restart, \
    }

PC_TYPE(pc_7_2, "7.2", "pc", true);
Q35_TYPE(q35_7_2, "7.2", "q35");

void pc_types_register(void)
{
    static const MachineType *const types[] = { &pc_7_2, &q35_7_2, &none_machine, NULL };

    machine_types_register(types);
}
