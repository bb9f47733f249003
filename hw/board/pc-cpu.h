/* pc-cpu.h: vCPUs as devices: "MODEL-x86_64-cpu". */
#ifndef HW_BOARD_PC_CPU_H
#define HW_BOARD_PC_CPU_H

#include "core/machine.h"

/* Where a vCPU is; -1: not said. */
typedef struct CpuPlace {
    int32_t node, socket, die, core, thread;
} CpuPlace;

/* The place of vCPU @index, which counts threads, then cores, dies, sockets.  @node is -1 on a machine
 * without NUMA nodes. */
CTX_CONTROL CpuPlace cpu_place(const BoardConfig *c, unsigned index);

/* Makes m->cpu_type and the places of m->cpus, if they are not there. */
CTX_CONTROL void pc_cpus_begin(Machine *m);
/* Firmware and tables say which vCPUs there are now (pc.c). */
CTX_CONTROL void pc_tell_cpus(Machine *m);
/* Plugs the first smp.cpus vCPUs. */
CTX_CONTROL bool pc_cpus_make(Machine *m, Error **errp);

#endif
