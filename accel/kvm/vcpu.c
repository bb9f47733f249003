/* vcpu.c: one thread a vCPU, its run loop, its exits, and how it is stopped.
 *
 *   PARKED --vcpus_run--> RUNNING --vcpus_park--> PARKING --exit boundary--> PARKED
 *   any --close--> QUIT
 *
 * 1. The loop looks at no flag between exits: whoever wants a vCPU sets a bit in @todo, then
 *    run->immediate_exit, then sends the signal, whose handler does nothing.  KVM_RUN then returns
 *    EINTR, after it has completed the instruction of the last exit, and only there are bits looked
 *    at and the vCPU parked.  So a parked vCPU is always between two instructions.
 * 2. Inside KVM_RUN the thread is outside every epoch section; space_read() and space_write() have
 *    their own.
 * 3. A vCPU that cannot go on (triple fault, internal error), or must not (it asked for a reset), waits
 *    until it was parked: whoever handles the request does that. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "util/fault.h"
#include "util/thread.h"
#include "util/trace.h"

#define KICK_SIGNAL SIGUSR1
#define RING_ENTRIES \
    ((4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

static __thread KvmVcpu *current;      /* on a vCPU's thread: itself */

static void on_kick_signal(int sig)
{
}

void kvm_vcpu_kick(KvmVcpu *v, unsigned todo)
{
    /* Pairs with on_interrupted(), which clears immediate_exit before it takes @todo. */
    __atomic_fetch_or(&v->todo, todo, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (v->has_thread && !pthread_equal(v->thread, pthread_self())) {
        pthread_kill(v->thread, KICK_SIGNAL);
    }
}

/* --- at the exit boundary --- */

void kvm_ring_drain(void)
{
    KvmVm *vm = &kvm_vm;
    struct kvm_coalesced_mmio_ring *r = vm->ring;

    pthread_mutex_lock(&vm->ring_lock);
    while (r->first != __atomic_load_n(&r->last, __ATOMIC_ACQUIRE)) {
        struct kvm_coalesced_mmio e = r->coalesced_mmio[r->first];

        __atomic_store_n(&r->first, (r->first + 1) % RING_ENTRIES, __ATOMIC_RELEASE);
        space_write(e.pio ? vm->machine->io : vm->machine->mem, e.phys_addr, e.data,
                    MIN(e.len, sizeof(e.data)));
    }
    pthread_mutex_unlock(&vm->ring_lock);
}

static inline bool ring_has_entries(void)
{
    const struct kvm_coalesced_mmio_ring *r = kvm_vm.ring;

    return r && __atomic_load_n(&r->first, __ATOMIC_RELAXED) !=
                __atomic_load_n(&r->last, __ATOMIC_RELAXED);
}

/* Stands still in @state; meanwhile others may use the vCPU's descriptor. */
static void wait_while(KvmVcpu *v, VcpuState state) LOCK_HELD(v->lock)
{
    v->waiting = true;
    lock_broadcast(&v->cond);
    while (v->state == state) {
        lock_wait(&v->lock, &v->cond, -1);
    }
    v->waiting = false;
}

/* Waits while parked; false: the thread is to end. */
static bool park(KvmVcpu *v)
{
    lock_take(&v->lock);
    if (v->state == VCPU_PARKING) {
        Barrier *home = v->home;

        v->home = NULL;
        v->state = VCPU_PARKED;
        v->stuck = false;
        lock_drop(&v->lock);
        barrier_leave(home);
        lock_take(&v->lock);
    }
    wait_while(v, VCPU_PARKED);
    bool go_on = v->state != VCPU_QUIT;
    lock_drop(&v->lock);
    return go_on;
}

/* Gives the vCPU the soft PIC's interrupt, or asks to be told when it can take one. */
static void inject_extint(KvmVcpu *v)
{
    const SoftIrqchip *soft = kvm_vm.soft;

    v->run->request_interrupt_window = 0;
    if (!soft || !__atomic_load_n(&kvm_vm.extint, __ATOMIC_SEQ_CST)) {
        return;
    }
    if (v->run->ready_for_interrupt_injection) {
        int vector = soft->pic_ack(soft->arg);

        if (vector >= 0) {
            struct kvm_interrupt irq = { .irq = vector };

            ioctl(v->fd, KVM_INTERRUPT, &irq);
        }
    }
    v->run->request_interrupt_window = __atomic_load_n(&kvm_vm.extint, __ATOMIC_SEQ_CST);
}

KvmVcpu *kvm_vcpu_self(void)
{
    return current;
}

/* @v must not enter the guest again; false: the thread is to end. */
static bool wait_stuck(KvmVcpu *v)
{
    lock_take(&v->lock);
    wait_while(v, VCPU_RUNNING);
    lock_drop(&v->lock);
    return park(v);
}

static void carry_out_call(KvmVcpu *v) LOCK_HELD(v->lock)
{
    if (v->call != NULL) {
        v->call(v, v->call_arg);
        v->call = NULL;
        lock_broadcast(&v->cond);
    }
}

void kvm_vcpu_call(KvmVcpu *v, void (*fn)(KvmVcpu *v, void *arg), void *arg)
{
    assert_control();
    lock_take(&v->lock);
    v->call = fn;
    v->call_arg = arg;
    if (!v->waiting) {
        kvm_vcpu_kick(v, TODO_CALL);
    }
    while (v->call != NULL && !v->waiting) {
        lock_wait(&v->lock, &v->cond, -1);
    }
    carry_out_call(v);
    lock_drop(&v->lock);
}

/* KVM_RUN was interrupted; false: the thread is to end. */
static bool on_interrupted(KvmVcpu *v)
{
    __atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    unsigned todo = __atomic_exchange_n(&v->todo, 0, __ATOMIC_SEQ_CST);

    if (ring_has_entries()) {
        kvm_ring_drain();
    }
    if (todo & TODO_NMI) {
        ioctl(v->fd, KVM_NMI);
    }
    if (todo & TODO_SMI) {
        ioctl(v->fd, KVM_SMI);
    }
    if (todo & TODO_EXTINT) {
        inject_extint(v);
    }
    if (todo & TODO_HOLD) {
        v->stuck = true;
    }
    if (todo & TODO_CALL) {
        lock_take(&v->lock);
        carry_out_call(v);
        lock_drop(&v->lock);
    }
    if (todo & TODO_STATE) {
        return park(v);
    }
    return !v->stuck || wait_stuck(v);
}

void kvm_vcpu_hold(void)
{
    if (current != NULL) {
        kvm_vcpu_kick(current, TODO_HOLD);
    }
}

/* --- exits --- */

static void stuck(KvmVcpu *v, MachineRequest what, uint32_t detail, const char *cause)
{
    v->stuck = true;
    machine_request(what, detail, cause);
}

static void __attribute__((noinline)) on_string_io(KvmVcpu *v, uint8_t *data)
{
    unsigned size = v->run->io.size, count = v->run->io.count;
    bool out = v->run->io.direction == KVM_EXIT_IO_OUT;
    Gpa port = v->run->io.port;

    for (; count > 0; count--, data += size) {
        if (out) {
            space_write(v->io, port, data, size);
        } else {
            space_read(v->io, port, data, size);
        }
    }
}

static inline void on_io(KvmVcpu *v)
{
    struct kvm_run *run = v->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;

    if (__builtin_expect(run->io.count != 1, 0)) {
        on_string_io(v, data);
    } else if (run->io.direction == KVM_EXIT_IO_OUT) {
        space_write(v->io, run->io.port, data, run->io.size);
    } else {
        space_read(v->io, run->io.port, data, run->io.size);
    }
}

static inline void on_mmio(KvmVcpu *v)
{
    struct kvm_run *run = v->run;
    Space *mem = __builtin_expect(run->flags & KVM_RUN_X86_SMM, 0) && v->smm ? v->smm : v->mem;

    if (run->mmio.is_write) {
        space_write(mem, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
    } else {
        space_read(mem, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
    }
}

static void on_system_event(KvmVcpu *v)
{
    switch (v->run->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        stuck(v, REQUEST_POWEROFF, 0, "system event");
        break;
    case KVM_SYSTEM_EVENT_RESET:
        stuck(v, REQUEST_RESET, 0, "system event");
        break;
    case KVM_SYSTEM_EVENT_CRASH:
        hyperv_crash(v);
        machine_request(REQUEST_PANIC, 1, "Hyper-V crash register");
        break;
    default:
        TRACE(kvm_system_event, "cpu=%u type=%u", v->index, v->run->system_event.type);
    }
}

static void on_error(KvmVcpu *v, int run_errno)
{
    kvm_vcpu_report(v, run_errno);
    stuck(v, REQUEST_INTERNAL_ERROR, v->index, "KVM internal error");
}

static void __attribute__((noinline)) on_rare_exit(KvmVcpu *v)
{
    switch (v->run->exit_reason) {
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        inject_extint(v);
        break;
    case KVM_EXIT_IOAPIC_EOI:
        if (kvm_vm.soft) {
            kvm_vm.soft->ioapic_eoi(kvm_vm.soft->arg, v->run->eoi.vector);
        }
        break;
    case KVM_EXIT_INTR:
    case KVM_EXIT_NMI:
        break;
    case KVM_EXIT_SHUTDOWN:
        TRACE(kvm_shutdown, "cpu=%u", v->index);
        stuck(v, REQUEST_RESET, 0, "triple fault");
        break;
    case KVM_EXIT_HYPERV:
        hyperv_exit(v->run);
        break;
    case KVM_EXIT_SYSTEM_EVENT:
        on_system_event(v);
        break;
    case KVM_EXIT_DEBUG:
        if (kvm_debug_exit(v)) {
            stuck(v, REQUEST_DEBUG, v->index, "debugger");
        }
        break;
    default:
        on_error(v, 0);
    }
}

/* KVM_RUN without the C library, whose variadic ioctl() costs as much as all of on_io().  0 or a
 * negative errno. */
static inline long enter_guest(int fd)
{
#if defined(__x86_64__) && !EPOCH_TSAN
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"((long)__NR_ioctl), "D"((long)fd), "S"((long)KVM_RUN), "d"(0l)
                     : "rcx", "r11", "memory");
    return ret;
#else
    return ioctl(fd, KVM_RUN, 0l) < 0 ? -errno : 0;
#endif
}

static void run_loop(KvmVcpu *v)
{
    struct kvm_run *run = v->run;
    int fd = v->fd;

    for (;;) {
        long ret = enter_guest(fd);

        if (__builtin_expect(ret < 0, 0)) {
            if (ret == -EINTR || ret == -EAGAIN) {
                if (!on_interrupted(v)) {
                    return;
                }
                continue;
            }
            on_error(v, (int)-ret);
        } else {
            if (__builtin_expect(ring_has_entries(), 0)) {
                kvm_ring_drain();
            }
            if (run->exit_reason == KVM_EXIT_IO) {
                on_io(v);
                continue;
            }
            if (run->exit_reason == KVM_EXIT_MMIO) {
                on_mmio(v);
                continue;
            }
            on_rare_exit(v);
        }
        if (v->stuck && !wait_stuck(v)) {
            return;
        }
    }
}

static void vcpu_thread(void *arg)
{
    KvmVcpu *v = arg;
    sigset_t kick;

    current = v;
    sigemptyset(&kick);
    sigaddset(&kick, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
    lock_take(&v->lock);
    v->tid = gettid();
    lock_broadcast(&v->cond);
    lock_drop(&v->lock);
    if (park(v)) {
        run_loop(v);
    }
}

/* --- control --- */

KvmVcpu *kvm_vcpu_get(unsigned index)
{
    KvmVcpu *v = index < kvm_vm.vcpu_count ? kvm_vm.vcpu[index] : NULL;

    return v && v->has_thread ? v : NULL;
}

void kvm_vcpus_run(void)
{
    assert_control();
    for (unsigned i = 0; i < kvm_vm.vcpu_count; i++) {
        KvmVcpu *v = kvm_vcpu_get(i);

        if (!v) {
            continue;
        }
        lock_take(&v->lock);
        if (v->state == VCPU_PARKED && !v->debug.hold) {
            v->state = VCPU_RUNNING;
            v->fresh = false;
            lock_broadcast(&v->cond);
        }
        lock_drop(&v->lock);
    }
}

void kvm_vcpus_park(Barrier *home)
{
    assert_control();
    for (unsigned i = 0; i < kvm_vm.vcpu_count; i++) {
        KvmVcpu *v = kvm_vcpu_get(i);

        if (!v) {
            barrier_leave(home);
            continue;
        }
        lock_take(&v->lock);
        bool already = v->state != VCPU_RUNNING;
        if (!already) {
            v->state = VCPU_PARKING;
            v->home = home;
            lock_broadcast(&v->cond);
            kvm_vcpu_kick(v, TODO_STATE);
        }
        lock_drop(&v->lock);
        if (already) {
            barrier_leave(home);
        }
    }
}

unsigned kvm_vcpu_count(void)
{
    return kvm_vm.vcpu_count;
}

void kvm_nmi(unsigned index)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (v) {
        kvm_vcpu_kick(v, TODO_NMI);
    }
}

/* A second view of memory, and a processor mode that looks at it. */
bool kvm_has_smm(void)
{
    return kvm_cap(KVM_CAP_X86_SMM) > 0 && kvm_cap(KVM_CAP_MULTI_ADDRESS_SPACE) > 1;
}

void kvm_smi(bool all)
{
    for (unsigned i = 0; i < kvm_vm.vcpu_count; i++) {
        KvmVcpu *v = kvm_vcpu_get(i);

        if (v == NULL || !(all || v == current || (current == NULL && i == 0))) {
            continue;
        }
        if (v == current) {
            ioctl(v->fd, KVM_SMI);
        } else {
            kvm_vcpu_kick(v, TODO_SMI);
        }
    }
}

int kvm_vcpu_thread_id(unsigned index)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (!v) {
        return -1;
    }
    lock_take(&v->lock);
    while (v->tid == 0) {
        lock_wait(&v->lock, &v->cond, -1);
    }
    int tid = v->tid;
    lock_drop(&v->lock);
    return tid;
}

/* Ends the thread, which leaves the guest at its next exit boundary. */
static void vcpu_stop(KvmVcpu *v)
{
    Barrier *home;

    if (!v->has_thread) {
        return;
    }
    lock_take(&v->lock);
    home = v->home;
    v->home = NULL;
    v->state = VCPU_QUIT;
    lock_broadcast(&v->cond);
    kvm_vcpu_kick(v, TODO_STATE);
    lock_drop(&v->lock);
    thread_join(v->thread);
    v->has_thread = false;
    v->tid = 0;
    if (home != NULL) {
        barrier_leave(home);
    }
}

static void vcpu_free(KvmVcpu *v)
{
    vcpu_stop(v);
    if (v->run) {
        munmap(v->run, kvm_vm.run_size);
    }
    kvm_stats_close(&v->stats_fd);
    if (v->fd >= 0) {
        close(v->fd);
    }
    lock_destroy(&v->lock);
    g_free(v);
}

void kvm_vcpus_close(void)
{
    KvmVm *vm = &kvm_vm;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (vm->vcpu[i] != NULL) {
            vcpu_free(vm->vcpu[i]);
        }
    }
    vm->vcpu_count = 0;
    vm->ring = NULL;
    g_clear_pointer(&vm->vcpu, g_free);
}

static bool vcpu_open(KvmVcpu *v, Error **errp)
{
    KvmVm *vm = &kvm_vm;

    v->fd = FAULT("kvm-vcpu") ? (errno = ENOMEM, -1)
                              : ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)v->apic_id);
    if (v->fd < 0) {
        return error_set_errno(errp, errno, "cannot create vCPU %u", v->index);
    }
    void *run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (run == MAP_FAILED) {
        return error_set_errno(errp, errno, "cannot map the state of vCPU %u", v->index);
    }
    v->run = run;
    if (vm->ring_page && !vm->ring) {
        vm->ring = (void *)((uint8_t *)run + (size_t)vm->ring_page * getpagesize());
    }
    return kvm_cpuid_vcpu(v, errp);
}

static KvmVcpu *vcpu_new(KvmVm *vm, unsigned index, Error **errp)
{
    KvmVcpu *v = g_new0(KvmVcpu, 1);

    v->index = index;
    v->apic_id = kvm_vcpu_apic_id(index);
    v->fd = -1;
    v->io = vm->machine->io;
    v->mem = vm->machine->mem;
    v->smm = vm->machine->smm;
    /* One that comes later gets its state put: KVM finds APICs by a table that it makes when one of them
     * is changed, not when one is made. */
    v->fresh = !machine_was_reset();
    lock_init(&v->lock, RANK_LEAF, "vcpu");
    if (!vcpu_open(v, errp)) {
        vcpu_free(v);
        return NULL;
    }
    return v;
}

static bool counts_fit(const CpuTopology *t, Error **errp)
{
    int most = kvm_cap(KVM_CAP_MAX_VCPUS), most_id = kvm_cap(KVM_CAP_MAX_VCPU_ID);
    uint32_t last = kvm_vcpu_apic_id(t->max_cpus - 1);

    if (most > 0 && t->max_cpus > (unsigned)most) {
        return error_set(errp, "-smp %u: KVM on this host runs at most %d vCPUs", t->max_cpus, most);
    }
    if (most_id > 0 && last >= (unsigned)most_id) {
        return error_set(errp,
                         "-smp %u: this topology needs APIC id %u, KVM on this host takes less "
                         "than %d", t->max_cpus, last, most_id);
    }
    if (last > 254) {
        struct kvm_enable_cap cap = {
            .cap = KVM_CAP_X2APIC_API,
            .args = { KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK },
        };

        if (!kvm_vm.split || ioctl(kvm_vm.fd, KVM_ENABLE_CAP, &cap) < 0) {
            return error_set(errp,
                             "-smp %u: APIC ids above 254 need -machine kernel-irqchip=split and "
                             "KVM's x2APIC API", t->max_cpus);
        }
    }
    return true;
}

/* Before the first vCPU. */
static bool vcpus_begin(KvmVm *vm, Error **errp)
{
    struct sigaction act = { .sa_handler = on_kick_signal, .sa_flags = SA_RESTART };

    if (vm->vcpu != NULL) {
        return true;
    }
    if (!counts_fit(&vm->machine->cfg.smp, errp)) {
        return false;
    }
    sigaction(KICK_SIGNAL, &act, NULL);
    vm->vcpu = g_new0(KvmVcpu *, MAX(vm->machine->cfg.smp.max_cpus, 1));
    return true;
}

bool kvm_vcpu_plug(Device *d, unsigned index, Error **errp)
{
    KvmVm *vm = &kvm_vm;
    char name[16];

    assert_control();
    if (!vcpus_begin(vm, errp)) {
        return false;
    }
    if (vm->vcpu[index] == NULL) {
        vm->vcpu[index] = vcpu_new(vm, index, errp);
        vm->vcpu_count = vm->vcpu[index] != NULL ? MAX(vm->vcpu_count, index + 1) : vm->vcpu_count;
    }
    KvmVcpu *v = vm->vcpu[index];
    if (v == NULL || !kvm_state_vcpu(d, v, errp)) {
        return false;
    }
    v->state = VCPU_PARKED;
    v->stuck = false;
    v->todo = 0;
    g_snprintf(name, sizeof(name), "CPU %u/KVM", index);
    v->has_thread = thread_start(&v->thread, THREAD_VCPU, name, true, vcpu_thread, v, errp);
    if (!v->has_thread) {
        kvm_state_vcpu_drop(v);
    }
    return v->has_thread;
}

void kvm_vcpu_unplug(unsigned index)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    assert_control();
    if (v) {
        vcpu_stop(v);
    }
}

bool kvm_vcpus_create(Machine *m, Error **errp)
{
    unsigned count = MAX(m->cfg.smp.cpus, 1);

    assert_control();
    for (unsigned i = 0; i < count; i++) {
        if ((i >= kvm_vm.vcpu_count || kvm_vm.vcpu[i] == NULL) && !kvm_vcpu_plug(m->root, i, errp)) {
            kvm_vcpus_close();
            return false;
        }
    }
    return kvm_state_devices(m, errp);
}
