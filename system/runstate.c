/* runstate.c: run states, see runstate.h.
 *
 * 1. Acts set a bit in @wanted and call work(); work() stops the world when an act needs it and
 *    carries out everything wanted when it has stopped, in the order of stopped().
 * 2. The machine moves after work() exactly when the state is RUNNING.
 * 3. @asleep says that the guest is in S3, whatever else holds it: a machine that was paused before
 *    it fell asleep is PAUSED, and SUSPENDED when it goes on.
 * 4. Of several reasons to stop the gravest names the state; of several to end the first counts. */
#include "system/runstate.h"

#include "block/front.h"
#include "core/accel.h"
#include "core/machine.h"
#include "qapi/events.h"
#include "util/loop.h"
#include "util/trace.h"

enum { WANT_RESET = 1, WANT_STOP = 2, WANT_QUIT = 4, WANT_WAKE = 8, WANT_SLEEP = 16,
       WANT_SHUTDOWN = 32 };

typedef struct Waiter {
    void (*done)(void *arg);
    void *arg;
} Waiter;

static struct {
    RunPolicy policy;
    RunState state;
    unsigned wanted;
    bool stopping;             /* machine_quiesce() is under way */
    bool asleep;
    bool ended;
    int status;
    RunState stop_state;
    ShutdownCause reset_cause, quit_cause;
    GArray *waiters;           /* Waiter */
    Post stopped;
    const RunDebugger *debugger;
    const char *held;          /* why the machine must not start; NULL: it may */
} run;

static void work(void);

RunPolicy *runstate_policy(void)
{
    return &run.policy;
}

RunState runstate(void)
{
    return run.state;
}

bool runstate_running(void)
{
    return run.state == RUN_STATE_RUNNING;
}

static void set_state(RunState state)
{
    TRACE(runstate_set, "state=%s", run_state_name(state));
    run.state = state;
}

static void tell(void *arg)
{
    g_autoptr(GArray) due = arg;

    for (unsigned i = 0; i < due->len; i++) {
        Waiter *w = &g_array_index(due, Waiter, i);
        w->done(w->arg);
    }
}

/* Those who wait for the machine to stop may look at its images then (@stopped): all of it is there. */
static void tell_waiters(bool stopped)
{
    GArray *due = run.waiters;

    run.waiters = g_array_new(false, false, sizeof(Waiter));
    if (stopped && due->len) {
        blk_flush_all(tell, due);
    } else {
        tell(due);
    }
}

static bool guest_cause(ShutdownCause c)
{
    return c >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN && c <= SHUTDOWN_CAUSE_GUEST_PANIC;
}

static void do_reset(void)
{
    run.asleep = false;
    machine_reset(RESET_POWER);
    qmp_event_reset(guest_cause(run.reset_cause), run.reset_cause);
    if (run.state == RUN_STATE_SUSPENDED) {
        set_state(RUN_STATE_RUNNING);
    } else if (!runstate_running()) {
        set_state(RUN_STATE_PRELAUNCH);
    }
}

static void do_sleep(void)
{
    run.asleep = true;
    if (runstate_running()) {
        set_state(RUN_STATE_SUSPENDED);
    }
}

/* The firmware is entered at the reset vector with memory kept (ACPI 6.4, 16.3.1.2). */
static void do_wake(void)
{
    run.asleep = false;
    machine_reset(RESET_BUS);
    if (run.state == RUN_STATE_SUSPENDED) {
        set_state(RUN_STATE_RUNNING);
    }
    qmp_event_wakeup();
}

static void do_stop(bool was_running)
{
    set_state(run.stop_state);
    if (was_running) {
        qmp_event_stop();
    }
}

/* The world has stopped: do what is wanted. */
static void stopped(Post *p)
{
    unsigned wanted = run.wanted;
    bool was_running = runstate_running() || run.state == RUN_STATE_SUSPENDED;

    run.stopping = false;
    run.wanted = 0;
    if (wanted & (WANT_SHUTDOWN | WANT_QUIT)) {
        qmp_event_shutdown(guest_cause(run.quit_cause), run.quit_cause);
    }
    if (wanted & WANT_SLEEP) {
        do_sleep();
    }
    if (wanted & WANT_STOP) {
        do_stop(was_running);
    }
    if (wanted & WANT_QUIT) {
        run.ended = true;
        set_state(RUN_STATE_SHUTDOWN);
        tell_waiters(false);
        if (run.debugger != NULL) {
            run.debugger->exited(run.status);
        }
        return;
    }
    if (wanted & WANT_RESET) {
        do_reset();
    }
    if (wanted & WANT_WAKE && run.asleep) {
        do_wake();
    }
    if (runstate_running()) {
        machine_resume();
    }
    tell_waiters(wanted & WANT_STOP);
    if (wanted & WANT_STOP && run.debugger != NULL && !runstate_running()) {
        run.debugger->stopped(run.state);
    }
    work();
}

static void work(void)
{
    if (run.wanted == 0 || run.stopping || run.ended) {
        return;
    }
    run.stopping = true;
    machine_quiesce(&run.stopped);
}

static void want(unsigned bit)
{
    run.wanted |= bit;
    work();
}

static unsigned gravity(RunState s)
{
    return s == RUN_STATE_INTERNAL_ERROR ? 4 : s == RUN_STATE_GUEST_PANICKED ? 3
         : s == RUN_STATE_SHUTDOWN ? 2 : s == RUN_STATE_IO_ERROR ? 1 : 0;
}

void runstate_stop(RunState state, void (*done)(void *arg), void *arg)
{
    Waiter w = { done, arg };

    if (done != NULL) {
        g_array_append_val(run.waiters, w);
    }
    if (!(run.wanted & WANT_STOP) || gravity(state) > gravity(run.stop_state)) {
        run.stop_state = state;
    }
    want(WANT_STOP);
}

void runstate_hold(const char *why)
{
    run.held = why;
}

bool runstate_cont(Error **errp)
{
    if (run.ended || run.wanted & WANT_QUIT) {
        return error_set(errp, "The program is about to end");
    }
    if (run.held != NULL) {
        return error_set(errp, "%s", run.held);
    }
    switch (run.state) {
    case RUN_STATE_SHUTDOWN:
    case RUN_STATE_INTERNAL_ERROR:
        return error_set(errp, "Resetting the Virtual Machine is required");
    case RUN_STATE_RUNNING:
    case RUN_STATE_SUSPENDED:
        return true;
    default:
        break;
    }
    blk_fronts_reset_status();
    set_state(run.asleep ? RUN_STATE_SUSPENDED : RUN_STATE_RUNNING);
    qmp_event_resume();
    if (runstate_running() && !run.stopping) {
        machine_resume();
    }
    return true;
}

static void power_off(ShutdownCause cause)
{
    if (run.policy.shutdown != SHUTDOWN_ACTION_PAUSE) {
        runstate_quit(cause, 0);
        return;
    }
    if (!(run.wanted & (WANT_SHUTDOWN | WANT_QUIT))) {
        run.quit_cause = cause;
    }
    run.wanted |= WANT_SHUTDOWN;
    runstate_stop(RUN_STATE_SHUTDOWN, NULL, NULL);
}

void runstate_reset(ShutdownCause cause)
{
    if (run.policy.reboot == REBOOT_ACTION_SHUTDOWN && cause != SHUTDOWN_CAUSE_SUBSYSTEM_RESET) {
        power_off(cause);
        return;
    }
    run.reset_cause = cause;
    want(WANT_RESET);
}

static void press(void (*button)(Device *pm))
{
    Machine *m = machine();

    if (m->pm != NULL && button != NULL) {
        domain_enter(m->pm->domain);
        button(m->pm);
        domain_leave(m->pm->domain);
    }
}

void runstate_powerdown(void)
{
    const PowerOps *ops = machine()->power_ops;

    qmp_event_powerdown();
    press(ops != NULL ? ops->power_button : NULL);
}

bool runstate_wakeup(Error **errp)
{
    Machine *m = machine();
    bool ok = false;

    if (!run.asleep) {
        return error_set(errp, "Unable to wake up: guest is not in suspended state");
    }
    if (m->pm != NULL && m->power_ops->wake != NULL) {
        domain_enter(m->pm->domain);
        ok = m->power_ops->wake(m->pm);
        domain_leave(m->pm->domain);
    }
    if (!ok) {
        return error_set(errp, "wake-up from suspend is not supported by this guest");
    }
    want(WANT_WAKE);
    return true;
}

void runstate_quit(ShutdownCause cause, int status)
{
    if (!(run.wanted & (WANT_SHUTDOWN | WANT_QUIT))) {
        run.quit_cause = cause;
    }
    if (!(run.wanted & WANT_QUIT)) {
        run.status = status;
    }
    want(WANT_QUIT);
}

static void panicked(void)
{
    g_autoptr(json_t) info = accel()->crash_info != NULL ? accel()->crash_info() : NULL;
    PanicAction act = run.policy.panic;

    if (act == PANIC_ACTION_NONE) {
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_RUN, info);
    } else if (act == PANIC_ACTION_PAUSE || run.policy.shutdown == SHUTDOWN_ACTION_PAUSE) {
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_PAUSE, info);
        runstate_stop(RUN_STATE_GUEST_PANICKED, NULL, NULL);
    } else {
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_POWEROFF, info);
        runstate_quit(SHUTDOWN_CAUSE_GUEST_PANIC, act == PANIC_ACTION_EXIT_FAILURE ? 1 : 0);
    }
}

static void watchdog_expired(void)
{
    WatchdogAction act = run.policy.watchdog;

    qmp_event_watchdog(act);
    switch (act) {
    case WATCHDOG_ACTION_RESET:
        runstate_reset(SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case WATCHDOG_ACTION_SHUTDOWN:
        runstate_powerdown();
        break;
    case WATCHDOG_ACTION_POWEROFF:
        runstate_quit(SHUTDOWN_CAUSE_GUEST_SHUTDOWN, 0);
        break;
    case WATCHDOG_ACTION_PAUSE:
        runstate_stop(RUN_STATE_WATCHDOG, NULL, NULL);
        break;
    case WATCHDOG_ACTION_INJECT_NMI:
        for (unsigned i = 0; accel()->nmi != NULL && i < accel()->vcpu_count(); i++) {
            accel()->nmi(i);
        }
        break;
    case WATCHDOG_ACTION_DEBUG:
        info_report("watchdog: timer fired");
        break;
    case WATCHDOG_ACTION_NONE:
    case WATCHDOG_ACTION_COUNT:
        break;
    }
}

static void on_request(MachineRequest what, uint32_t detail, const char *cause)
{
    TRACE(runstate_request, "what=%d detail=%u cause=%s", what, detail, cause);
    switch (what) {
    case REQUEST_RESET:
        runstate_reset(SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case REQUEST_POWEROFF:
        power_off(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    case REQUEST_SUSPEND:
        qmp_event_suspend();
        want(WANT_SLEEP);
        break;
    case REQUEST_SUSPEND_DISK:
        qmp_event_suspend_disk();
        power_off(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    case REQUEST_WAKE:
        if (run.asleep || run.wanted & WANT_SLEEP) {
            want(WANT_WAKE);
        }
        break;
    case REQUEST_PANIC:
        panicked();
        break;
    case REQUEST_CRASHLOADED:
        qmp_event_guest_crashloaded(GUEST_PANIC_ACTION_RUN, NULL);
        break;
    case REQUEST_EXIT:
        runstate_quit(SHUTDOWN_CAUSE_GUEST_SHUTDOWN, (int)detail);
        break;
    case REQUEST_INTERNAL_ERROR:
        runstate_stop(RUN_STATE_INTERNAL_ERROR, NULL, NULL);
        break;
    case REQUEST_WATCHDOG:
        watchdog_expired();
        break;
    case REQUEST_IO_ERROR:
        /* A machine that has stopped meanwhile makes the request again all the same. */
        if (runstate_running()) {
            runstate_stop(RUN_STATE_IO_ERROR, NULL, NULL);
        }
        break;
    case REQUEST_DEBUG:
        if (run.debugger != NULL && run.debugger->wants_stop(detail)) {
            runstate_stop(RUN_STATE_DEBUG, NULL, NULL);
        }
        break;
    case REQUEST_COUNT:
        break;
    }
}

void runstate_set_debugger(const RunDebugger *d)
{
    run.debugger = d;
}

void runstate_init(const RunPolicy *policy)
{
    run.policy = *policy;
    run.state = RUN_STATE_PRELAUNCH;
    run.waiters = g_array_new(false, false, sizeof(Waiter));
    run.stopped.run = stopped;
    machine_on_request(on_request);
}

void runstate_start(bool go)
{
    if (go) {
        set_state(RUN_STATE_RUNNING);
        qmp_event_resume();
        machine_resume();
    }
}

bool runstate_ended(void)
{
    return run.ended;
}

int runstate_main_loop(void)
{
    while (!run.ended) {
        loop_control_iterate(true);
    }
    return run.status;
}
