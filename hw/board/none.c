/* none.c: -machine none: no board, no RAM and no vCPU; for tools that only ask what there is. */
#include "hw/board/pc-types.h"

static bool build_nothing(Machine *m, Error **errp)
{
    return true;
}

const MachineType none_machine = {
    .name = "none", .desc = "empty machine", .empty = true, .max_cpus = 1, .build = build_nothing,
};
