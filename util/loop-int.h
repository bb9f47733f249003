/* loop-int.h: what clock.c and loop.c know of one another. */
#ifndef UTIL_LOOP_INT_H
#define UTIL_LOOP_INT_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"

typedef enum VmClockMode { VM_CLOCK_STOPPED, VM_CLOCK_RUNNING, VM_CLOCK_MANUAL } VmClockMode;

/* The mode of CLOCK_VM; while running, *@offset is what to subtract from CLOCK_HOST to get it. */
CTX_ANY VmClockMode clock_vm_mode(int64_t *offset);

/* Every loop computes its next wake-up anew: CLOCK_VM started, stopped or jumped. */
CTX_CONTROL void loops_vm_changed(void);
/* The earliest CLOCK_VM deadline over all loops, or -1. */
CTX_CONTROL int64_t loops_vm_next(void);
/* Fires what is due on CLOCK_VM, on each loop in turn, and waits for it. */
CTX_CONTROL void loops_vm_fire(void);

#endif
