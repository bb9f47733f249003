/* clock.c: the host's clocks and the guest's.
 *
 * 1. The state of CLOCK_VM has one writer, the control thread, and readers that never wait for a
 *    lock: a sequence number is odd while it changes.
 * 2. While running, CLOCK_VM is CLOCK_HOST minus @vm_base; otherwise it is @vm_base itself. */
#include "util/clock.h"

#include <time.h>
#include "util/error.h"
#include "util/loop-int.h"
#include "util/thread.h"

/* A timer that sets itself into the past again and again must not hold up clock_vm_step_to(). */
#define MAX_FIRES_AT_ONE_TIME 1000

static unsigned vm_seq;
static VmClockMode vm_mode;
static int64_t vm_base;

static int64_t host_now(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

/* Pairs with vm_write(): the loads are acquire, so a changed value implies a changed @vm_seq. */
VmClockMode clock_vm_mode(int64_t *offset)
{
    for (;;) {
        unsigned seq = __atomic_load_n(&vm_seq, __ATOMIC_ACQUIRE);
        VmClockMode mode = __atomic_load_n(&vm_mode, __ATOMIC_ACQUIRE);
        int64_t base = __atomic_load_n(&vm_base, __ATOMIC_ACQUIRE);

        if (!(seq & 1) && __atomic_load_n(&vm_seq, __ATOMIC_RELAXED) == seq) {
            *offset = base;
            return mode;
        }
    }
}

static void vm_write(VmClockMode mode, int64_t base)
{
    __atomic_store_n(&vm_seq, vm_seq + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&vm_mode, mode, __ATOMIC_RELEASE);
    __atomic_store_n(&vm_base, base, __ATOMIC_RELEASE);
    __atomic_store_n(&vm_seq, vm_seq + 1, __ATOMIC_RELEASE);
}

int64_t clock_now(ClockKind clock)
{
    int64_t base;

    switch (clock) {
    case CLOCK_VM:
        return clock_vm_mode(&base) == VM_CLOCK_RUNNING ? host_now(CLOCK_MONOTONIC) - base : base;
    case CLOCK_HOST:
        return host_now(CLOCK_MONOTONIC);
    case CLOCK_WALL:
    default:
        return host_now(CLOCK_REALTIME);
    }
}

void clock_vm_run(bool on)
{
    assert_control();
    if (vm_mode == VM_CLOCK_MANUAL || on == (vm_mode == VM_CLOCK_RUNNING)) {
        return;
    }
    /* Stopped: base is the time. Running: host - base is the time. Both ways host - base. */
    vm_write(on ? VM_CLOCK_RUNNING : VM_CLOCK_STOPPED, host_now(CLOCK_MONOTONIC) - vm_base);
    loops_vm_changed();
}

void clock_vm_set(int64_t ns)
{
    assert_control();
    vm_write(vm_mode, vm_mode == VM_CLOCK_RUNNING ? host_now(CLOCK_MONOTONIC) - ns : ns);
    loops_vm_changed();
}

void clock_vm_manual(void)
{
    assert_control();
    if (vm_mode != VM_CLOCK_MANUAL) {
        vm_write(VM_CLOCK_MANUAL, clock_now(CLOCK_VM));
        loops_vm_changed();
    }
}

bool clock_vm_is_manual(void)
{
    return __atomic_load_n(&vm_mode, __ATOMIC_RELAXED) == VM_CLOCK_MANUAL;
}

void clock_vm_step_to(int64_t ns)
{
    unsigned fires = 0;

    assert_control();
    if (vm_mode != VM_CLOCK_MANUAL) {
        return;
    }
    for (;;) {
        int64_t next = loops_vm_next();

        if (next == -1 || next > ns) {
            break;
        }
        if (next > vm_base) {
            vm_write(VM_CLOCK_MANUAL, next);
            fires = 0;
        } else if (++fires > MAX_FIRES_AT_ONE_TIME) {
            warn_report("a timer sets itself into the past for ever; the clock moves on");
            break;
        }
        loops_vm_fire();
    }
    if (ns > vm_base) {
        vm_write(VM_CLOCK_MANUAL, ns);
    }
}

int64_t clock_vm_next_deadline(void)
{
    assert_control();
    return loops_vm_next();
}

uint64_t muldiv64(uint64_t n, uint32_t mul, uint32_t div)
{
    return (uint64_t)((unsigned __int128)n * mul / div);
}
