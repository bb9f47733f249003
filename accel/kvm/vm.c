/* vm.c: opens /dev/kvm and the VM, and keeps its memory slots, dirty logs and doorbells.
 *
 * 1. Every capability that Rhea cannot do without is in the table below, with its name, so that an
 *    old or strange kernel gives one clear line.
 * 2. The seam names no VM: a process has one, kvm_vm, the only mutable file-level object here. */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/trace.h"

/* Four pages below the firmware, reserved for the hypervisor in the e820 map: Intel's real mode
 * emulation wants an identity-mapped page table and a task state segment. */
#define IDENTITY_AT UINT64_C(0xfeffc000)
#define TSS_AT 0xfeffd000ul

KvmVm kvm_vm = { .kvm = -1, .fd = -1, .ring_lock = PTHREAD_MUTEX_INITIALIZER };

static const struct { int cap; const char *name; } needed[] = {
    { KVM_CAP_USER_MEMORY, "user memory slots" },
    { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
    { KVM_CAP_IRQCHIP, "in-kernel local APIC" },
    { KVM_CAP_IRQ_ROUTING, "interrupt routing" },
    { KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
    { KVM_CAP_IRQFD, "irqfd" },
    { KVM_CAP_IOEVENTFD, "ioeventfd" },
    { KVM_CAP_READONLY_MEM, "read-only memory slots" },
    { KVM_CAP_XSAVE, "XSAVE state" },
    { KVM_CAP_DEBUGREGS, "debug register state" },
    { KVM_CAP_VCPU_EVENTS, "pending event state" },
    { KVM_CAP_EXT_CPUID, "CPUID with sub-leaves" },
};

int kvm_cap(int cap)
{
    int ret = ioctl(kvm_vm.fd >= 0 ? kvm_vm.fd : kvm_vm.kvm, KVM_CHECK_EXTENSION, (long)cap);

    return ret > 0 ? ret : 0;
}

static bool open_device(KvmVm *vm, Error **errp)
{
    vm->kvm = FAULT("kvm-open") ? (errno = ENODEV, -1) : open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm < 0) {
        int err = errno;

        error_set_errno(errp, err, "-accel kvm: cannot open /dev/kvm");
        if (err == EACCES || err == EPERM) {
            error_hint(errp, "Add yourself to the group that owns it, for example: "
                       "sudo usermod -aG kvm $USER, then log in again.");
        } else {
            error_hint(errp, "Load the module (modprobe kvm-intel or kvm-amd), and check that "
                       "virtualization is on in the firmware set-up, or, inside a virtual "
                       "machine, that "
                       "its host allows nested virtualization.");
        }
        return false;
    }
    int version = ioctl(vm->kvm, KVM_GET_API_VERSION, 0l);
    if (version != KVM_API_VERSION) {
        return error_set(errp, "-accel kvm: /dev/kvm speaks API version %d, not %d", version,
                         KVM_API_VERSION);
    }
    offer_request_xsave();
    return true;
}

static bool create_vm(KvmVm *vm, Error **errp)
{
    do {
        vm->fd = FAULT("kvm-create") ? (errno = ENOMEM, -1) : ioctl(vm->kvm, KVM_CREATE_VM, 0l);
    } while (vm->fd < 0 && errno == EINTR);
    if (vm->fd < 0) {
        int err = errno;

        error_set_errno(errp, err, "-accel kvm: cannot create a virtual machine");
        if (err == EBUSY) {
            error_hint(errp,
                       "Another hypervisor uses this processor's virtualization; stop it first.");
        } else if (err == ENOMEM) {
            error_hint(errp, "The host has not enough free memory.");
        }
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(needed); i++) {
        if (!kvm_cap(needed[i].cap)) {
            error_set_class(errp, ERROR_KVM_MISSING_CAP,
                            "-accel kvm: the host kernel's KVM lacks %s "
                            "(capability %d)", needed[i].name, needed[i].cap);
            return error_hint(errp, "A newer host kernel has it.");
        }
    }
    return true;
}

/* -overcommit cpu-pm=on: the guest's waiting is done by the host's processor. */
static bool let_wait(KvmVm *vm, Error **errp)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS };

    cap.args[0] = kvm_cap(KVM_CAP_X86_DISABLE_EXITS) &
                  (KVM_X86_DISABLE_EXITS_MWAIT | KVM_X86_DISABLE_EXITS_HLT |
                   KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_CSTATE);
    if (cap.args[0] == 0) {
        return error_set_class(errp, ERROR_KVM_MISSING_CAP, "-overcommit: cpu-pm=on: the host's KVM does not "
                               "let a guest put its processor to sleep");
    }
    return ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0 || error_set_errno(errp, errno, "-overcommit: cpu-pm=on");
}

static bool vm_set_up(KvmVm *vm, Machine *m, Error **errp)
{
    uint64_t identity = IDENTITY_AT;
    int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0l);

    if (size < (int)sizeof(struct kvm_run)) {
        return error_set(errp, "-accel kvm: strange vCPU mapping of %d bytes", size);
    }
    vm->run_size = size;
    vm->ring_page = kvm_cap(KVM_CAP_COALESCED_MMIO);
    if ((size_t)(vm->ring_page + 1) * getpagesize() > vm->run_size) {
        vm->ring_page = 0;
    }
    vm->has_xcrs = kvm_cap(KVM_CAP_XCRS) > 0;
    vm->xsave_size = MAX(kvm_cap(KVM_CAP_XSAVE2), (int)sizeof(struct kvm_xsave));
    vm->nested_size = kvm_cap(KVM_CAP_NESTED_STATE);
    if (kvm_cap(KVM_CAP_SET_IDENTITY_MAP_ADDR) &&
        ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0) {
        return error_set_errno(errp, errno, "-accel kvm: cannot place the identity map");
    }
    if (kvm_cap(KVM_CAP_SET_TSS_ADDR) && ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_AT) < 0) {
        return error_set_errno(errp, errno, "-accel kvm: cannot place the task state segment");
    }
    return (!m->cfg.cpu_pm || let_wait(vm, errp)) && kvm_irqchip_open(m, errp);
}

static void vm_close(Machine *m)
{
    KvmVm *vm = &kvm_vm;

    kvm_vcpus_close();
    kvm_irqchip_close();
    kvm_cpuid_close();
    kvm_stats_close(&vm->stats_fd);
    g_clear_pointer(&vm->msr_list, g_free);
    if (vm->fd >= 0) {
        close(vm->fd);
    }
    if (vm->kvm >= 0) {
        close(vm->kvm);
    }
    vm->kvm = vm->fd = -1;
    vm->machine = NULL;
    vm->has_boot = vm->crashed = false;
    vm->soft = NULL;
    vm->extint = false;
}

void kvm_offer_peek(void)
{
    KvmVm *vm = &kvm_vm;
    KvmOffer *o = g_new0(KvmOffer, 1);

    if (vm->kvm < 0 && open_device(vm, NULL)) {
        if (offer_read(o, NULL)) {
            offer_read_hv(o);
            vm->offer = g_steal_pointer(&o);
        }
        close(vm->kvm);
        vm->kvm = -1;
    }
    g_free(o);
}

static bool vm_open(Machine *m, Error **errp)
{
    KvmVm *vm = &kvm_vm;

    vm->machine = m;
    if (!open_device(vm, errp) || !create_vm(vm, errp) || !vm_set_up(vm, m, errp) ||
        !kvm_cpuid_open(m, errp)) {
        vm_close(m);
        return false;
    }
    return true;
}

static bool usable(Error **errp)
{
    KvmVm probe = { .kvm = -1, .fd = -1 };
    bool ok = open_device(&probe, errp);

    if (probe.kvm >= 0) {
        close(probe.kvm);
    }
    return ok;
}

/* --- memory --- */

static void slot_set(unsigned slot, Gpa at, void *host, uint64_t size, unsigned flags)
{
    struct kvm_userspace_memory_region r = {
        .slot = slot,
        .guest_phys_addr = at,
        .memory_size = size,
        .userspace_addr = (uintptr_t)host,
        .flags = (flags & SLOT_READONLY ? KVM_MEM_READONLY : 0) |
                 (flags & SLOT_LOG_DIRTY ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };

    if (kvm_vm.fd < 0) {
        return;                             /* the machine is taken down after the VM */
    }
    TRACE(kvm_slot, "slot=%u at=0x%" PRIx64 " size=0x%" PRIx64 " flags=%u", slot, at, size, flags);
    if (ioctl(kvm_vm.fd, KVM_SET_USER_MEMORY_REGION, &r) < 0) {
        int err = errno;

        warn_report("KVM refused memory slot %u at 0x%" PRIx64 ", 0x%" PRIx64 " bytes: %s", slot,
                    at,
                    size, errno_text(err));
        machine_request(REQUEST_INTERNAL_ERROR, err, "memory slot");
    }
}

static int dirty_take(unsigned slot, Gpa at, uint64_t size, unsigned long *bits)
{
    size_t words = ALIGN_UP(size / 4096, 64) / 64;
    unsigned long *got = g_try_malloc0(words * sizeof(*got));
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = got };
    int ret = 0;

    if (!got) {
        return -ENOMEM;
    }
    if (ioctl(kvm_vm.fd, KVM_GET_DIRTY_LOG, &log) < 0) {
        ret = -errno;
    } else {
        for (size_t i = 0; i < words; i++) {
            if (got[i]) {
                bits[i] |= got[i];
            }
        }
    }
    g_free(got);
    return ret;
}

/* --- doorbells --- */

static bool doorbell_set(SpaceKind kind, Gpa at, unsigned size, const uint64_t *match, Notifier *n,
                         bool on)
{
    struct kvm_ioeventfd e = {
        .addr = at,
        .len = size,
        .fd = n->fd,
        .datamatch = match ? *match : 0,
        .flags = (kind == SPACE_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0) |
                 (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };

    TRACE(kvm_doorbell, "kind=%d at=0x%" PRIx64 " size=%u fd=%d on=%d", kind, at, size, n->fd, on);
    return ioctl(kvm_vm.fd, KVM_IOEVENTFD, &e) == 0;
}

static void coalesce_set(SpaceKind kind, Gpa at, uint64_t size, bool on)
{
    KvmVm *vm = &kvm_vm;
    struct kvm_coalesced_mmio_zone z = { .addr = at, .size = size, .pio = kind == SPACE_PIO };

    /* A refusal (the kernel keeps few zones) only costs exits. */
    if (!vm->ring_page || (z.pio && !kvm_cap(KVM_CAP_COALESCED_PIO))) {
        return;
    }
    if (ioctl(vm->fd, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &z) < 0) {
        TRACE(kvm_coalesce_refused, "at=0x%" PRIx64 " errno=%d", at, errno);
    }
}

const AccelOps kvm_accel = {
    .name = "kvm",
    .usable = usable,
    .vm_open = vm_open,
    .vm_close = vm_close,
    .slot_set = slot_set,
    .doorbell_set = doorbell_set,
    .coalesce_set = coalesce_set,
    .dirty_take = dirty_take,
    .gsi_sink = kvm_gsi_sink,
    .has_pit = kvm_has_pit,
    .pit_replaced = kvm_pit_replaced,
    .msi_send = kvm_msi_send,
    .route_set = kvm_route_set,
    .route_drop = kvm_route_drop,
    .irqfd_set = kvm_irqfd_set,
    .soft_irqchip = kvm_soft_irqchip,
    .extint = kvm_extint,
    .vcpus_create = kvm_vcpus_create,
    .vcpu_plug = kvm_vcpu_plug,
    .vcpu_unplug = kvm_vcpu_unplug,
    .vcpus_run = kvm_vcpus_run,
    .vcpus_park = kvm_vcpus_park,
    .vcpu_hold = kvm_vcpu_hold,
    .vcpu_count = kvm_vcpu_count,
    .has_smm = kvm_has_smm,
    .smi = kvm_smi,
    .nmi = kvm_nmi,
    .vcpu_thread_id = kvm_vcpu_thread_id,
    .vcpu_apic_id = kvm_vcpu_apic_id,
    .cpu_signature = kvm_cpu_signature,
    .cpu_extra = &kvm_cpu_extra,
    .crash_info = hyperv_crash_info,
    .vcpu_regs = kvm_vcpu_regs,
    .vcpu_lapic = kvm_vcpu_lapic,
    .irq_chips = kvm_irq_chips,
    .self_get = kvm_self_get,
    .self_set = kvm_self_set,
    .boot_state = kvm_boot_state,
    .vcpu_regs_set = kvm_vcpu_regs_set,
    .debug_features = kvm_debug_features,
    .debug_set = kvm_debug_set,
    .debug_take = kvm_debug_take,
};
