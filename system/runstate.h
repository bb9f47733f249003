/* runstate.h: what the guest is doing, by name, and the acts that change it.
 *
 *               cont             stop, panic, error, power-off (-no-shutdown)
 *   PRELAUNCH -------> RUNNING ----> PAUSED, GUEST_PANICKED, INTERNAL_ERROR, SHUTDOWN
 *       ^              |  ^ ^  <------ cont, from PAUSED ---------------------|
 *       |              |  | '-- reset of a running machine                    |
 *       |         S3   v  | wake-up, reset                                    |
 *       |            SUSPENDED                                                |
 *       '------------------------- reset of a stopped machine ----------------'
 *
 * Acts are asked for on control and carried out one after another once the world has stopped. */
#ifndef SYSTEM_RUNSTATE_H
#define SYSTEM_RUNSTATE_H

#include "qapi/types.h"
#include "util/context.h"

typedef struct RunPolicy {
    RebootAction reboot;
    ShutdownAction shutdown;
    PanicAction panic;
    WatchdogAction watchdog;
} RunPolicy;

/* What @a says is changed in @p. */
static inline void run_policy_apply(RunPolicy *p, const ActionConfig *a)
{
    p->reboot = a->has_reboot ? a->reboot : p->reboot;
    p->shutdown = a->has_shutdown ? a->shutdown : p->shutdown;
    p->panic = a->has_panic ? a->panic : p->panic;
    p->watchdog = a->has_watchdog ? a->watchdog : p->watchdog;
}

/* What a debugger wants to know; all on control. */
typedef struct RunDebugger {
    bool (*wants_stop)(unsigned cpu);          /* a vCPU met a breakpoint: stop into DEBUG? */
    void (*stopped)(RunState state);           /* the machine has stopped, and may be started at once */
    void (*exited)(int status);
} RunDebugger;

CTX_CONTROL void runstate_init(const RunPolicy *policy);
/* What guest actions do from now on; may be changed at any time. */
CTX_CONTROL RunPolicy *runstate_policy(void);
CTX_CONTROL RunState runstate(void);
CTX_CONTROL bool runstate_running(void);
/* The machine is built and reset: start it, or stay in PRELAUNCH. */
CTX_CONTROL void runstate_start(bool run);
/* Stops into @state; done(arg, NULL) on control afterwards (may be NULL). */
CTX_CONTROL void runstate_stop(RunState state, void (*done)(void *arg), void *arg);
CTX_CONTROL bool runstate_cont(Error **errp);
/* Until the next call runstate_cont() fails with the text @why (borrowed); NULL: it works again. */
CTX_CONTROL void runstate_hold(const char *why);
CTX_CONTROL void runstate_reset(ShutdownCause cause);
CTX_CONTROL void runstate_powerdown(void);
CTX_CONTROL bool runstate_wakeup(Error **errp);
/* From now on @d (borrowed) is told; NULL: nobody. */
CTX_CONTROL void runstate_set_debugger(const RunDebugger *d);
/* Ends the program with @status after the devices have come to rest. */
CTX_CONTROL void runstate_quit(ShutdownCause cause, int status);
/* It is carried out. */
CTX_CONTROL bool runstate_ended(void);
/* Runs the control loop until runstate_quit() is carried out; returns the exit status. */
CTX_CONTROL int runstate_main_loop(void);

#endif
