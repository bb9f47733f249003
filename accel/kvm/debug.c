/* debug.c: a debugger's breakpoints and steps, by KVM_SET_GUEST_DEBUG.
 *
 * 1. Requests come on control while the vCPU is parked; the exit is handled on its own thread, which
 *    reads @debug only while it runs.
 * 2. While debug registers or planted INT3s are in use, KVM brings every #DB or #BP here; those that are
 *    the guest's own are given back to it (Documentation/virt/kvm/api.rst, 4.87). */
#include <errno.h>
#include "accel/kvm/kvm-int.h"
#include "util/trace.h"

#define VECTOR_DB 1
#define VECTOR_BP 3
#define DR6_BS (1u << 14)
#define DR6_HITS 0xfu

/* --- breakpoints and steps --- */

unsigned kvm_debug_features(void)
{
    int bits = kvm_cap(KVM_CAP_SET_GUEST_DEBUG2);

    return bits > 0 && bits & KVM_GUESTDBG_BLOCKIRQ ? CPU_DEBUG_BLOCK_IRQ : 0;
}

static bool tell_kernel(KvmVcpu *v, uint32_t more)
{
    const CpuDebug *d = &v->debug;
    struct kvm_guest_debug g = { 0 };

    if (d->on) {
        g.control = KVM_GUESTDBG_ENABLE | (d->int3_count > 0 ? KVM_GUESTDBG_USE_SW_BP : 0) |
                    (d->dr7 != 0 ? KVM_GUESTDBG_USE_HW_BP : 0) |
                    (d->step ? KVM_GUESTDBG_SINGLESTEP : 0) |
                    (d->step && d->block_irq ? KVM_GUESTDBG_BLOCKIRQ : 0) | more;
        for (unsigned i = 0; i < 4; i++) {
            g.arch.debugreg[i] = d->db[i];
        }
        g.arch.debugreg[7] = d->dr7;
    }
    return ioctl(v->fd, KVM_SET_GUEST_DEBUG, &g) == 0;
}

bool kvm_debug_set(unsigned index, const CpuDebug *d)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (!v || (!v->debug.on && !d->on)) {
        return v != NULL;
    }
    v->debug = *d;
    return tell_kernel(v, 0);
}

bool kvm_debug_take(unsigned index, CpuStop *s)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (!v || !__atomic_exchange_n(&v->stopped, false, __ATOMIC_ACQUIRE)) {
        return false;
    }
    *s = v->stop;
    return true;
}

/* True if the INT3 at linear @pc is planted, at this address or, by other page tables, at another. */
static bool is_planted(KvmVcpu *v, uint64_t pc)
{
    const CpuDebug *d = &v->debug;
    X86Regs r;
    X86Page page;

    for (unsigned i = 0; i < d->int3_count; i++) {
        if (d->int3[i].linear == pc) {
            return true;
        }
    }
    kvm_vcpu_read_regs(v, &r);
    if (d->int3_count == 0 || !x86_translate(&r, v->mem, pc, &page)) {
        return false;
    }
    for (unsigned i = 0; i < d->int3_count; i++) {
        if (d->int3[i].gpa == page.gpa + (pc - page.va)) {
            return true;
        }
    }
    return false;
}

bool kvm_debug_exit(KvmVcpu *v)
{
    const struct kvm_debug_exit_arch *e = &v->run->debug.arch;
    bool bp = e->exception == VECTOR_BP;
    bool ours = bp ? is_planted(v, e->pc)
                   : (v->debug.step && e->dr6 & DR6_BS) || (v->debug.dr7 != 0 && e->dr6 & DR6_HITS);

    TRACE(kvm_debug_exit, "cpu=%u vector=%u pc=0x%llx dr6=0x%llx ours=%d", v->index, e->exception,
          (unsigned long long)e->pc, (unsigned long long)e->dr6, ours);
    if (ours) {
        v->stop = (CpuStop){ .int3 = bp, .pc = e->pc, .dr6 = e->dr6 };
        __atomic_store_n(&v->stopped, true, __ATOMIC_RELEASE);
        return true;
    }
    if (!tell_kernel(v, bp ? KVM_GUESTDBG_INJECT_BP : KVM_GUESTDBG_INJECT_DB)) {
        TRACE(kvm_debug_inject_failed, "cpu=%u errno=%d", v->index, errno);
    }
    return false;
}
