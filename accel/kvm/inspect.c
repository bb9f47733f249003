/* inspect.c: a vCPU's registers for tools: read without stopping the machine, written while it stands. */
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

#define MSR_KERNEL_GS_BASE 0xc0000102u

/* The order of general registers in the saved state. */
static const uint8_t saved_order[16] = {
    X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RSP, X86_RBP, 8, 9, 10, 11, 12, 13, 14, 15,
};
/* And of segments; then come TR and LDT. */
static const uint8_t saved_segments[6] = { X86_CS, X86_DS, X86_ES, X86_FS, X86_GS, X86_SS };

static X86Segment segment(const KvmSegment *s)
{
    return (X86Segment){ .base = s->base, .limit = s->limit, .flags = (uint32_t)s->access << 8,
                         .selector = s->selector };
}

static void get_general(KvmVcpu *v, X86Regs *out)
{
    KvmCpuDevice d = { .vcpu = v };

    if (kvm_general_get(&d) == 0) {
        for (unsigned i = 0; i < ARRAY_LEN(saved_order); i++) {
            out->gpr[saved_order[i]] = d.gpr[i];
        }
        out->rip = d.rip;
        out->rflags = d.rflags;
    }
}

static void get_system(KvmVcpu *v, X86Regs *out)
{
    KvmCpuDevice d = { .vcpu = v };

    if (kvm_system_get(&d) < 0) {
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(saved_segments); i++) {
        out->seg[saved_segments[i]] = segment(&d.seg[i]);
    }
    out->tr = segment(&d.seg[6]);
    out->ldt = segment(&d.seg[7]);
    out->gdt_base = d.gdt_base;
    out->gdt_limit = d.gdt_limit;
    out->idt_base = d.idt_base;
    out->idt_limit = d.idt_limit;
    out->cr0 = d.cr0;
    out->cr2 = d.cr2;
    out->cr3 = d.cr3;
    out->cr4 = d.cr4;
    out->cr8 = d.cr8;
    out->efer = d.efer;
}

/* From the XSAVE area's legacy part (SDM vol. 1, 13.4.1 and table 10-2). */
static void get_float(KvmVcpu *v, X86Regs *out)
{
    KvmCpuDevice d = { .vcpu = v };

    if (kvm_xsave_get(&d) == 0) {
        const uint8_t *area = d.xsave->data;

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
    g_byte_array_unref(d.xsave);
}

static void get_rest(KvmVcpu *v, X86Regs *out)
{
    KvmCpuDevice d = { .vcpu = v };

    if (kvm_debugregs_get(&d) == 0) {
        memcpy(out->dr, d.db, sizeof(d.db));
        out->dr[6] = d.dr6;
        out->dr[7] = d.dr7;
    }
    out->halted = kvm_mp_state_get(&d) == 0 && d.mp_state != KVM_MP_STATE_RUNNABLE;
    out->smm = kvm_events_get(&d) == 0 && d.smm;
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

static bool put_general(KvmVcpu *v, const X86Regs *in)
{
    KvmCpuDevice d = { .vcpu = v, .rip = in->rip, .rflags = in->rflags };

    for (unsigned i = 0; i < ARRAY_LEN(saved_order); i++) {
        d.gpr[i] = in->gpr[saved_order[i]];
    }
    return kvm_general_put(&d) == 0;
}

static bool put_system(KvmVcpu *v, const X86Regs *in)
{
    KvmCpuDevice d = { .vcpu = v };

    if (kvm_system_get(&d) < 0) {
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(saved_segments); i++) {
        const X86Segment *s = &in->seg[saved_segments[i]];
        d.seg[i] = (KvmSegment){ .base = s->base, .limit = s->limit, .selector = s->selector,
                                 .access = s->flags >> 8 & 0xf0ff, .unusable = d.seg[i].unusable };
    }
    d.cr0 = in->cr0;
    d.cr2 = in->cr2;
    d.cr3 = in->cr3;
    d.cr4 = in->cr4;
    d.cr8 = in->cr8;
    d.efer = in->efer;
    return kvm_system_put(&d) == 0;
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
