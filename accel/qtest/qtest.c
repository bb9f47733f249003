/* qtest.c: the accelerator that runs nothing.  Time is manual, interrupts end in the board's own
 * controllers, messages are written to memory, where a test finds them.
 *
 * 1. A route is a message; a notifier attached to it is watched by the control loop. */
#include "accel/qtest/qtest.h"

#include <string.h>
#include <sys/epoll.h>
#include "accel/topology.h"
#include "util/bytes.h"
#include "util/loop.h"

#define ROUTES_MAX 4096
#define FIRST_ROUTE 24         /* those below are the IOAPIC's pins, as under KVM */

typedef struct Route {
    bool used;
    MsiMsg msg;
    struct Watch *watch;
} Route;

typedef struct Watch {
    int gsi;
    Notifier notifier;         /* borrowed descriptor */
} Watch;

/* The seam names no VM: a process has one. */
static struct {
    Machine *machine;
    Lock lock;                 /* rank IRQ: guards routes */
    Route *routes;
} vm;

static void send_message(const MsiMsg *m)
{
    uint64_t len = 4;

    epoch_enter();
    void *p = vm.machine ? space_ram(vm.machine->mem, m->addr, &len, true) : NULL;
    if (p && len >= 4) {
        st32(p, m->data);
    }
    epoch_leave();
}

static bool vm_open(Machine *m, Error **errp)
{
    clock_vm_manual();
    vm.machine = m;
    vm.routes = g_new0(Route, ROUTES_MAX);
    lock_init(&vm.lock, RANK_IRQ, "qtest-routes");
    return true;
}

static void watch_end(Watch *w)
{
    loop_unwatch(loop_control(), w->notifier.fd);
    /* It may be running right now; control frees it after that. */
    loop_call(loop_control(), g_free, w);
}

static void vm_close(Machine *m)
{
    for (unsigned i = 0; vm.routes && i < ROUTES_MAX; i++) {
        if (vm.routes[i].watch) {
            watch_end(vm.routes[i].watch);
        }
    }
    if (vm.routes) {
        lock_destroy(&vm.lock);
    }
    g_clear_pointer(&vm.routes, g_free);
    vm.machine = NULL;
}

static void slot_set(unsigned slot, Gpa at, void *host, uint64_t size, unsigned flags)
{
}

static bool doorbell_set(SpaceKind kind, Gpa at, unsigned size, const uint64_t *match, Notifier *n,
                         bool on)
{
    return true;                            /* space_write() rings it */
}

static void coalesce_set(SpaceKind kind, Gpa at, uint64_t size, bool on)
{
}

static int dirty_take(unsigned slot, Gpa at, uint64_t size, unsigned long *bits)
{
    return 0;                               /* no vCPU writes */
}

static IrqSink *gsi_sink(Machine *m)
{
    return NULL;
}

static bool route_set(int *gsi, const MsiMsg *m, Error **errp)
{
    int n = *gsi;

    lock_take(&vm.lock);
    for (int i = FIRST_ROUTE; n < 0 && i < ROUTES_MAX; i++) {
        n = vm.routes[i].used ? n : i;
    }
    if (n >= 0 && n < ROUTES_MAX) {
        vm.routes[n].used = true;
        vm.routes[n].msg = *m;
        *gsi = n;
    }
    lock_drop(&vm.lock);
    return (n >= 0 && n < ROUTES_MAX) ||
           error_set(errp, "no interrupt route left of %d", ROUTES_MAX);
}

static void route_drop(int gsi)
{
    if (gsi >= 0 && gsi < ROUTES_MAX) {
        lock_take(&vm.lock);
        vm.routes[gsi].used = false;
        lock_drop(&vm.lock);
    }
}

static void on_raised(void *arg, unsigned events)
{
    Watch *w = arg;
    MsiMsg m = { 0 };

    if (!vm.routes || !notifier_take(&w->notifier)) {
        return;
    }
    lock_take(&vm.lock);
    bool used = vm.routes[w->gsi].used;
    m = vm.routes[w->gsi].msg;
    lock_drop(&vm.lock);
    if (used) {
        send_message(&m);
    }
}

static bool irqfd_set(int gsi, Notifier *raise, Notifier *resample, bool on)
{
    if (gsi < FIRST_ROUTE || gsi >= ROUTES_MAX || resample) {
        return false;                       /* wires are the board's own */
    }
    Watch *w = on ? g_new0(Watch, 1) : NULL;

    if (w) {
        w->gsi = gsi;
        w->notifier = *raise;
    }
    lock_take(&vm.lock);
    Watch *old = vm.routes[gsi].watch;
    vm.routes[gsi].watch = w;
    lock_drop(&vm.lock);
    if (old) {
        watch_end(old);
    }
    if (w) {
        loop_watch(loop_control(), w->notifier.fd, EPOLLIN, on_raised, w);
    }
    return true;
}

static const SoftIrqchip *soft;

static void soft_irqchip(const SoftIrqchip *c)
{
    soft = c;
}

static bool irq_chips(IrqChips *out)
{
    if (soft != NULL) {
        soft->look(soft->arg, out);
    }
    return soft != NULL;
}

static void extint(bool level)
{
}

static bool vcpus_create(Machine *m, Error **errp)
{
    return true;
}

static void vcpus_run(void)
{
}

static void vcpus_park(Barrier *home)
{
}

static unsigned vcpu_count(void)
{
    return 0;
}

static void nmi(unsigned index)
{
}

static int vcpu_thread_id(unsigned index)
{
    return -1;
}

static uint32_t vcpu_apic_id(unsigned index)
{
    return topology_apic_id(&vm.machine->cfg.smp, index);
}

static void boot_state(const CpuBoot *b)
{
}

const AccelOps qtest_accel = {
    .name = "qtest",
    .vm_open = vm_open,
    .vm_close = vm_close,
    .slot_set = slot_set,
    .doorbell_set = doorbell_set,
    .coalesce_set = coalesce_set,
    .dirty_take = dirty_take,
    .gsi_sink = gsi_sink,
    .msi_send = send_message,
    .route_set = route_set,
    .route_drop = route_drop,
    .irqfd_set = irqfd_set,
    .soft_irqchip = soft_irqchip,
    .irq_chips = irq_chips,
    .extint = extint,
    .vcpus_create = vcpus_create,
    .vcpus_run = vcpus_run,
    .vcpus_park = vcpus_park,
    .vcpu_count = vcpu_count,
    .nmi = nmi,
    .vcpu_thread_id = vcpu_thread_id,
    .vcpu_apic_id = vcpu_apic_id,
    .boot_state = boot_state,
};
