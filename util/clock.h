/* clock.h: the three clocks, in nanoseconds.
 *
 * CLOCK_VM stops while the guest is stopped and survives save and load; CLOCK_HOST is
 * CLOCK_MONOTONIC; CLOCK_WALL is CLOCK_REALTIME.  Under accel qtest CLOCK_VM is manual: it moves
 * only by clock_vm_step_to(). */
#ifndef UTIL_CLOCK_H
#define UTIL_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"

typedef enum ClockKind { CLOCK_VM, CLOCK_HOST, CLOCK_WALL } ClockKind;

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

/* The time on @clock.  Lock-free. */
CTX_ANY int64_t clock_now(ClockKind clock);

/* Starts or stops CLOCK_VM (stopped at first).  Idempotent; loops re-arm their timers. */
CTX_CONTROL void clock_vm_run(bool on);
/* Sets CLOCK_VM to @ns (loading a saved machine; the clock is stopped). */
CTX_CONTROL void clock_vm_set(int64_t ns);
/* Makes CLOCK_VM manual for the rest of the process (accel qtest, device tests). */
CTX_CONTROL void clock_vm_manual(void);
CTX_ANY bool clock_vm_is_manual(void);
/* Advances the manual CLOCK_VM to @ns; timers due on the way fire in order of their deadline, each
 * at exactly its deadline, on their own loops, and have returned when this returns. */
CTX_CONTROL void clock_vm_step_to(int64_t ns);
/* The earliest CLOCK_VM deadline over all loops, or -1 when no timer is armed. */
CTX_CONTROL int64_t clock_vm_next_deadline(void);

/* @n * @mul / @div without overflow in between. */
CTX_ANY uint64_t muldiv64(uint64_t n, uint32_t mul, uint32_t div);

#endif
