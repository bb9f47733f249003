/* inspect.c: a vCPU's registers for tools: read without stopping the machine, written while it stands. */
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

#define MSR_KERNEL_GS_BASE 0xc0000102u

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

/* From the XSAVE area's legacy part (SDM vol. 1, 13.4.1 and table 10-2). */
static void get_float(KvmVcpu *v, X86Regs *out)
{
    size_t size = MAX((size_t)kvm_vm.xsave_size, sizeof(struct kvm_xsave));
    g_autofree uint8_t *area = g_malloc0(size);

    if (ioctl(v->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, area) < 0) {
        return;
    }
    out->fcw = ld16(area);
    out->fsw = ld16(area + 2);
    out->ftw = area[4];
    out->fop = ld16(area + 6);
    out->fip = ld64(area + 8);
    out->fdp = ld64(area + 16);
    out->mxcsr = ld32(area + 24);
    memcpy(out->st, area + 32, sizeof(out->st));
    memcpy(out->xmm, area + 160, sizeof(out->xmm));
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

typedef struct OneMsr {
    struct kvm_msrs head;
    struct kvm_msr_entry entry[1];
} OneMsr;

static uint64_t get_kernel_gs(KvmVcpu *v)
{
    OneMsr m = { .head.nmsrs = 1, .entry[0].index = MSR_KERNEL_GS_BASE };

    return ioctl(v->fd, KVM_GET_MSRS, &m) == 1 ? m.entry[0].data : 0;
}

void kvm_vcpu_read_regs(KvmVcpu *v, X86Regs *out)
{
    memset(out, 0, sizeof(*out));
    get_general(v, out);
    get_system(v, out);
    get_float(v, out);
    get_rest(v, out);
    out->kernel_gs_base = get_kernel_gs(v);
    out->kernel64 = kvm_vm.has_boot && kvm_vm.boot.kernel64;
}

static void get_regs(KvmVcpu *v, void *arg)
{
    kvm_vcpu_read_regs(v, arg);
}

bool kvm_vcpu_regs(unsigned index, X86Regs *out)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (!v) {
        return false;
    }
    kvm_vcpu_call(v, get_regs, out);
    return true;
}

/* --- writing --- */

static struct kvm_segment segment_out(const X86Segment *s, const struct kvm_segment *old)
{
    return (struct kvm_segment){
        .base = s->base, .limit = s->limit, .selector = s->selector, .type = s->flags >> 8 & 15,
        .s = s->flags >> 12 & 1, .dpl = s->flags >> 13 & 3, .present = s->flags >> 15 & 1,
        .avl = s->flags >> 20 & 1, .l = s->flags >> 21 & 1, .db = s->flags >> 22 & 1,
        .g = s->flags >> 23 & 1, .unusable = old->unusable,
    };
}

static bool put_general(KvmVcpu *v, const X86Regs *in)
{
    const uint64_t *g = in->gpr;
    struct kvm_regs r = {
        .rax = g[X86_RAX], .rcx = g[X86_RCX], .rdx = g[X86_RDX], .rbx = g[X86_RBX], .rsp = g[X86_RSP],
        .rbp = g[X86_RBP], .rsi = g[X86_RSI], .rdi = g[X86_RDI], .r8 = g[8], .r9 = g[9], .r10 = g[10],
        .r11 = g[11], .r12 = g[12], .r13 = g[13], .r14 = g[14], .r15 = g[15], .rip = in->rip,
        .rflags = in->rflags,
    };

    return ioctl(v->fd, KVM_SET_REGS, &r) == 0;
}

static bool put_system(KvmVcpu *v, const X86Regs *in)
{
    struct kvm_sregs s;

    if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0) {
        return false;
    }
    s.es = segment_out(&in->seg[X86_ES], &s.es);
    s.cs = segment_out(&in->seg[X86_CS], &s.cs);
    s.ss = segment_out(&in->seg[X86_SS], &s.ss);
    s.ds = segment_out(&in->seg[X86_DS], &s.ds);
    s.fs = segment_out(&in->seg[X86_FS], &s.fs);
    s.gs = segment_out(&in->seg[X86_GS], &s.gs);
    s.cr0 = in->cr0;
    s.cr2 = in->cr2;
    s.cr3 = in->cr3;
    s.cr4 = in->cr4;
    s.cr8 = in->cr8;
    s.efer = in->efer;
    return ioctl(v->fd, KVM_SET_SREGS, &s) == 0;
}

static bool put_float(KvmVcpu *v, const X86Regs *in)
{
    struct kvm_fpu f = {
        .fcw = in->fcw, .fsw = in->fsw, .ftwx = in->ftw, .last_opcode = in->fop, .last_ip = in->fip,
        .last_dp = in->fdp, .mxcsr = in->mxcsr,
    };

    memcpy(f.fpr, in->st, sizeof(f.fpr));
    memcpy(f.xmm, in->xmm, sizeof(f.xmm));
    return ioctl(v->fd, KVM_SET_FPU, &f) == 0;
}

static bool put_kernel_gs(KvmVcpu *v, uint64_t value)
{
    OneMsr m = { .head.nmsrs = 1, .entry[0] = { .index = MSR_KERNEL_GS_BASE, .data = value } };

    return value == get_kernel_gs(v) || ioctl(v->fd, KVM_SET_MSRS, &m) == 1;
}

bool kvm_vcpu_regs_set(unsigned index, const X86Regs *r)
{
    KvmVcpu *v = kvm_vcpu_get(index);

    if (v == NULL) {
        return false;
    }
    v->fresh = false;          /* the next reset has something to undo */
    return put_system(v, r) && put_general(v, r) && put_float(v, r) && put_kernel_gs(v, r->kernel_gs_base);
}

/* --- in the middle of an exit --- */

bool kvm_self_get(CpuSelf *out)
{
    KvmVcpu *v = kvm_vcpu_self();
    X86Regs r = { 0 };

    if (v == NULL) {
        return false;
    }
    get_general(v, &r);
    memcpy(out->gpr, r.gpr, sizeof(out->gpr));
    int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
    out->tsc_khz = khz > 0 ? khz : 0;
    out->x2apic = kvm_cpuid_x2apic();
    return true;
}

/* The kernel completes the instruction on top of this: RIP is as it was read. */
void kvm_self_set(const CpuSelf *c)
{
    KvmVcpu *v = kvm_vcpu_self();
    X86Regs r = { 0 };

    get_general(v, &r);
    memcpy(r.gpr, c->gpr, sizeof(r.gpr));
    put_general(v, &r);
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
    KvmVcpu *v = kvm_vcpu_get(index);

    if (v) {
        kvm_vcpu_call(v, get_lapic, &w);
        memcpy(page, w.state.regs, KVM_APIC_REG_SIZE);
    }
    return w.ok;
}
