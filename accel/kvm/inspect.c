/* inspect.c: a vCPU's registers for tools, without stopping the machine. */
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

static X86Segment segment(const struct kvm_segment *s)
{
    uint32_t flags = (s->type & 15) << 8 | (s->s & 1) << 12 | (s->dpl & 3) << 13 | (s->present & 1) << 15 |
                     (s->avl & 1) << 20 | (s->l & 1) << 21 | (s->db & 1) << 22 | (s->g & 1) << 23;

    return (X86Segment){ .base = s->base, .limit = s->limit, .flags = flags, .selector = s->selector };
}

static void get_general(KvmVcpu *v, X86Regs *out)
{
    struct kvm_regs r;

    if (ioctl(v->fd, KVM_GET_REGS, &r) == 0) {
        const uint64_t gpr[16] = { r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
                                   r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15 };

        memcpy(out->gpr, gpr, sizeof(gpr));
        out->rip = r.rip;
        out->rflags = r.rflags;
    }
}

static void get_system(KvmVcpu *v, X86Regs *out)
{
    struct kvm_sregs s;

    if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0) {
        return;
    }
    out->seg[X86_ES] = segment(&s.es);
    out->seg[X86_CS] = segment(&s.cs);
    out->seg[X86_SS] = segment(&s.ss);
    out->seg[X86_DS] = segment(&s.ds);
    out->seg[X86_FS] = segment(&s.fs);
    out->seg[X86_GS] = segment(&s.gs);
    out->ldt = segment(&s.ldt);
    out->tr = segment(&s.tr);
    out->gdt_base = s.gdt.base;
    out->gdt_limit = s.gdt.limit;
    out->idt_base = s.idt.base;
    out->idt_limit = s.idt.limit;
    out->cr0 = s.cr0;
    out->cr2 = s.cr2;
    out->cr3 = s.cr3;
    out->cr4 = s.cr4;
    out->cr8 = s.cr8;
    out->efer = s.efer;
}

static void get_float(KvmVcpu *v, X86Regs *out)
{
    struct kvm_fpu f;

    if (ioctl(v->fd, KVM_GET_FPU, &f) == 0) {
        memcpy(out->st, f.fpr, sizeof(out->st));
        memcpy(out->xmm, f.xmm, sizeof(out->xmm));
        out->fcw = f.fcw;
        out->fsw = f.fsw;
        out->ftw = f.ftwx;
        out->mxcsr = f.mxcsr;
    }
}

static void get_rest(KvmVcpu *v, X86Regs *out)
{
    struct kvm_debugregs d;
    struct kvm_mp_state mp;
    struct kvm_vcpu_events e;

    if (ioctl(v->fd, KVM_GET_DEBUGREGS, &d) == 0) {
        memcpy(out->dr, d.db, sizeof(d.db));
        out->dr[6] = d.dr6;
        out->dr[7] = d.dr7;
    }
    out->halted = ioctl(v->fd, KVM_GET_MP_STATE, &mp) == 0 && mp.mp_state != KVM_MP_STATE_RUNNABLE;
    out->smm = ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e) == 0 && (e.flags & KVM_VCPUEVENT_VALID_SMM) &&
               e.smi.smm;
}

static void get_regs(KvmVcpu *v, void *arg)
{
    X86Regs *out = arg;

    get_general(v, out);
    get_system(v, out);
    get_float(v, out);
    get_rest(v, out);
}

bool kvm_vcpu_regs(unsigned index, X86Regs *out)
{
    if (index >= kvm_vm.vcpu_count) {
        return false;
    }
    memset(out, 0, sizeof(*out));
    kvm_vcpu_call(kvm_vm.vcpu[index], get_regs, out);
    return true;
}

typedef struct LapicWanted {
    struct kvm_lapic_state state;
    bool ok;
} LapicWanted;

static void get_lapic(KvmVcpu *v, void *arg)
{
    LapicWanted *w = arg;

    w->ok = ioctl(v->fd, KVM_GET_LAPIC, &w->state) == 0;
}

bool kvm_vcpu_lapic(unsigned index, uint8_t page[KVM_APIC_REG_SIZE])
{
    LapicWanted w = { .ok = false };

    if (index < kvm_vm.vcpu_count) {
        kvm_vcpu_call(kvm_vm.vcpu[index], get_lapic, &w);
        memcpy(page, w.state.regs, KVM_APIC_REG_SIZE);
    }
    return w.ok;
}
