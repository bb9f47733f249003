/* runstate.c: run states, see runstate.h.
 *
 * 1. Acts set a bit in @wanted and call work(); work() stops the world when an act needs it and carries
 *    out everything wanted when it has stopped.
 * 2. The machine runs after work() exactly when the state is RUNNING (or SUSPENDED: vCPUs stay parked). */
#include "system/runstate.h"

#include "core/accel.h"
#include "core/machine.h"
#include "qapi/events.h"
#include "util/loop.h"
#include "util/trace.h"

enum { WANT_RESET = 1, WANT_STOP = 2, WANT_QUIT = 4, WANT_WAKE = 8 };

typedef struct Waiter {
    void (*done)(void *arg);
    void *arg;
} Waiter;

static struct {
    RunPolicy policy;
    RunState state;
    unsigned wanted;
    bool stopping;             /* machine_quiesce() is under way */
    bool ended;
    int status;
    RunState stop_state;
    ShutdownCause reset_cause, quit_cause;
    GArray *waiters;           /* Waiter */
    Post stopped;
} run;

static void work(void);

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

static void tell_waiters(void)
{
    g_autoptr(GArray) due = run.waiters;

    run.waiters = g_array_new(false, false, sizeof(Waiter));
    for (unsigned i = 0; i < due->len; i++) {
        Waiter *w = &g_array_index(due, Waiter, i);
        w->done(w->arg);
    }
}

static bool guest_cause(ShutdownCause c)
{
    return c >= SHUTDOWN_CAUSE_GUEST_SHUTDOWN && c <= SHUTDOWN_CAUSE_GUEST_PANIC;
}

static void do_reset(void)
{
    machine_reset(RESET_POWER);
    qmp_event_reset(guest_cause(run.reset_cause), run.reset_cause);
    if (run.state == RUN_STATE_SUSPENDED || run.state == RUN_STATE_SHUTDOWN ||
        run.state == RUN_STATE_GUEST_PANICKED || run.state == RUN_STATE_INTERNAL_ERROR) {
        set_state(run.state == RUN_STATE_SUSPENDED ? RUN_STATE_RUNNING : RUN_STATE_PAUSED);
    }
}

/* The firmware is entered at the reset vector with memory kept (ACPI 6.4, 16.3.1.2). */
static void do_wake(void)
{
    machine_reset(RESET_BUS);
    set_state(RUN_STATE_RUNNING);
    qmp_event_wakeup();
}

static void do_stop(void)
{
    bool was_running = runstate_running();

    if (run.stop_state == RUN_STATE_SHUTDOWN) {
        qmp_event_shutdown(guest_cause(run.quit_cause), run.quit_cause);
    }
    set_state(run.stop_state);
    if (was_running && run.stop_state != RUN_STATE_SUSPENDED) {
        qmp_event_stop();
    }
}

/* The world has stopped: do what is wanted. */
static void stopped(Post *p)
{
    unsigned wanted = run.wanted;

    run.stopping = false;
    run.wanted = 0;
    if (wanted & WANT_STOP) {
        do_stop();
    }
    if (wanted & WANT_QUIT) {
        qmp_event_shutdown(guest_cause(run.quit_cause), run.quit_cause);
        run.ended = true;
        return;
    }
    if (wanted & WANT_RESET) {
        do_reset();
    }
    if (wanted & WANT_WAKE && run.state == RUN_STATE_SUSPENDED) {
        do_wake();
    }
    if (runstate_running()) {
        machine_resume();
    }
    tell_waiters();
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

void runstate_stop(RunState state, void (*done)(void *arg), void *arg)
{
    Waiter w = { done, arg };

    if (done != NULL) {
        g_array_append_val(run.waiters, w);
    }
    run.stop_state = state;
    want(WANT_STOP);
}

bool runstate_cont(Error **errp)
{
    switch (run.state) {
    case RUN_STATE_RUNNING:
        return true;
    case RUN_STATE_SHUTDOWN:
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_GUEST_PANICKED:
        return error_set(errp, "Resetting the Virtual Machine is required");
    case RUN_STATE_SUSPENDED:
        return true;
    default:
        break;
    }
    if (run.stopping) {
        run.wanted &= ~WANT_STOP;
    }
    set_state(RUN_STATE_RUNNING);
    qmp_event_resume();
    if (!run.stopping) {
        machine_resume();
    }
    return true;
}

void runstate_reset(ShutdownCause cause)
{
    run.reset_cause = cause;
    if (run.policy.reboot == REBOOT_ACTION_SHUTDOWN && cause != SHUTDOWN_CAUSE_SUBSYSTEM_RESET) {
        runstate_quit(cause, 0);
        return;
    }
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

    if (run.state != RUN_STATE_SUSPENDED) {
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
    run.quit_cause = cause;
    run.status = status;
    want(WANT_QUIT);
}

static void power_off(ShutdownCause cause)
{
    if (run.policy.shutdown == SHUTDOWN_ACTION_PAUSE) {
        run.quit_cause = cause;
        runstate_stop(RUN_STATE_SHUTDOWN, NULL, NULL);
    } else {
        runstate_quit(cause, 0);
    }
}

static void panicked(void)
{
    switch (run.policy.panic) {
    case PANIC_ACTION_NONE:
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_RUN, NULL);
        break;
    case PANIC_ACTION_PAUSE:
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_PAUSE, NULL);
        runstate_stop(RUN_STATE_GUEST_PANICKED, NULL, NULL);
        break;
    default:
        qmp_event_guest_panicked(GUEST_PANIC_ACTION_POWEROFF, NULL);
        if (run.policy.shutdown == SHUTDOWN_ACTION_PAUSE) {
            runstate_stop(RUN_STATE_GUEST_PANICKED, NULL, NULL);
        } else {
            runstate_quit(SHUTDOWN_CAUSE_GUEST_PANIC,
                          run.policy.panic == PANIC_ACTION_EXIT_FAILURE ? 1 : 0);
        }
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
        runstate_stop(RUN_STATE_SUSPENDED, NULL, NULL);
        break;
    case REQUEST_SUSPEND_DISK:
        qmp_event_suspend_disk();
        power_off(SHUTDOWN_CAUSE_GUEST_SHUTDOWN);
        break;
    case REQUEST_WAKE:
        want(WANT_WAKE);
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
        runstate_reset(SHUTDOWN_CAUSE_GUEST_RESET);
        break;
    case REQUEST_COUNT:
        break;
    }
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

int runstate_main_loop(void)
{
    while (!run.ended) {
        loop_control_iterate(true);
    }
    return run.status;
}
