/* cpu-debug.h: what a debugger asks of a vCPU (bit places: SDM vol. 3, 17.2). */
#ifndef CORE_CPU_DEBUG_H
#define CORE_CPU_DEBUG_H

#include "core/types.h"

/* An INT3 that a debugger planted. */
typedef struct CpuInt3 {
    uint64_t linear;
    Gpa gpa;
} CpuInt3;

/* What a debugger wants of one vCPU from its next entry on. */
typedef struct CpuDebug {
    bool on;                   /* false: nothing, and the fields below do not count */
    bool hold;                 /* stays parked while the others run */
    bool step;                 /* stops after one instruction */
    bool block_irq;            /* which takes no interrupt (needs CPU_DEBUG_BLOCK_IRQ) */
    uint64_t db[4], dr7;       /* DR7 0: debug registers stay the guest's */
    const CpuInt3 *int3;       /* borrowed until the next call */
    unsigned int3_count;
} CpuDebug;

enum { CPU_DEBUG_BLOCK_IRQ = 1 };      /* features */

/* Why a vCPU stopped for the debugger. */
typedef struct CpuStop {
    bool int3;                 /* at a planted INT3, which did not execute; else by @dr6 */
    uint64_t pc;               /* linear */
    uint64_t dr6;              /* bits 0 to 3: which debug register; bit 14: a step was made */
} CpuStop;

#endif
