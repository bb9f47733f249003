/* x86.c: the state of an x86 processor after RESET, and the entry of kernels started without
 * firmware.
 *
 * 1. Values are those of SDM vol. 3, table 10-1 ("following power-up, reset or INIT").
 * 2. Boot entries: Linux' Documentation/arch/x86/boot.rst (64-bit), Xen's PVH ABI, Multiboot 0.6.96
 *    section 3.2. */
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

/* A segment's access word: descriptor bytes 5 and 6. */
#define ACC_CODE16 0x009b
#define ACC_DATA16 0x0093
#define ACC_CODE32 0xc09b
#define ACC_CODE64 0xa09b
#define ACC_DATA32 0xc093
#define ACC_LDT 0x0082
#define ACC_TSS 0x008b

#define CR0_PE 1u
#define CR0_ET 0x10u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LME_LMA 0x500u

enum { SEG_CS, SEG_DS, SEG_ES, SEG_FS, SEG_GS, SEG_SS, SEG_TR, SEG_LDT };
enum { GPR_RAX, GPR_RBX, GPR_RCX, GPR_RDX, GPR_RSI, GPR_RDI, GPR_RSP };

static void lapic_put(KvmCpuDevice *d, unsigned reg, uint32_t val)
{
    st32(d->lapic + reg, val);
}

/* SDM vol. 3, 11.4.7.1. */
static void reset_lapic(KvmCpuDevice *d)
{
    bool first = d->vcpu->index == 0;

    memset(d->lapic, 0, sizeof(d->lapic));
    lapic_put(d, 0x20, d->vcpu->apic_id << 24);
    lapic_put(d, 0x30, 0x50014);
    lapic_put(d, 0xe0, 0xffffffff);
    lapic_put(d, 0xf0, 0xff);
    for (unsigned reg = 0x320; reg <= 0x370; reg += 0x10) {
        lapic_put(d, reg, 0x10000);
    }
    if (first) {
        lapic_put(d, 0x350, 0x700);         /* LINT0: the PIC's interrupts pass through */
    }
}

static void reset_system(KvmCpuDevice *d)
{
    bool first = d->vcpu->index == 0;

    d->seg[SEG_CS] = (KvmSegment){ .base = 0xffff0000, .limit = 0xffff, .selector = 0xf000,
                                   .access = ACC_CODE16 };
    for (unsigned i = SEG_DS; i <= SEG_SS; i++) {
        d->seg[i] = (KvmSegment){ .limit = 0xffff, .access = ACC_DATA16 };
    }
    d->seg[SEG_TR] = (KvmSegment){ .limit = 0xffff, .access = ACC_TSS };
    d->seg[SEG_LDT] = (KvmSegment){ .limit = 0xffff, .access = ACC_LDT };
    d->gdt_base = d->idt_base = 0;
    d->gdt_limit = d->idt_limit = 0xffff;
    d->cr0 = 0x60000010;
    d->cr2 = d->cr3 = d->cr4 = d->cr8 = d->efer = 0;
    d->apic_base = 0xfee00800 | (first ? 0x100 : 0);
    d->xcr0 = 1;
    memset(d->db, 0, sizeof(d->db));
    d->dr6 = 0xffff0ff0;
    d->dr7 = 0x400;
    memset(d->interrupt_bitmap, 0, sizeof(d->interrupt_bitmap));
    d->mp_state = first ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_UNINITIALIZED;
}

static void reset_events(KvmCpuDevice *d)
{
    d->exc_pending = d->exc_injected = d->exc_has_code = d->exc_has_payload = false;
    d->exc_nr = 0;
    d->exc_code = 0;
    d->exc_payload = 0;
    d->irq_injected = d->irq_soft = d->nmi_injected = d->nmi_pending = d->nmi_masked = false;
    d->triple_fault = false;
    d->irq_nr = d->irq_shadow = 0;
    d->sipi_vector = 0;
    d->smm = d->smm_pending = d->smm_inside_nmi = d->smm_latched_init = false;
}

static void drop_blob(GByteArray **blob)
{
    if (*blob) {
        g_byte_array_unref(*blob);
        *blob = NULL;
    }
}

static void apply_boot(KvmCpuDevice *d, const CpuBoot *b)
{
    bool wide = b->mode == CPU_BOOT_LONG64;

    d->gpr[GPR_RAX] = b->rax;
    d->gpr[GPR_RBX] = b->rbx;
    d->gpr[GPR_RDX] = 0;
    d->gpr[GPR_RSI] = b->rsi;
    d->gpr[GPR_RSP] = b->rsp;
    d->rip = b->rip;
    d->seg[SEG_CS] = (KvmSegment){ .limit = 0xffffffff, .selector = 0x10,
                                   .access = wide ? ACC_CODE64 : ACC_CODE32 };
    for (unsigned i = SEG_DS; i <= SEG_SS; i++) {
        d->seg[i] = (KvmSegment){ .limit = 0xffffffff, .selector = 0x18, .access = ACC_DATA32 };
    }
    d->seg[SEG_TR].limit = 0x67;
    d->gdt_base = b->gdt_base;
    d->gdt_limit = b->gdt_limit;
    d->cr0 = CR0_PE | CR0_ET | (wide ? CR0_PG : 0);
    if (wide) {
        d->cr3 = b->cr3;
        d->cr4 = CR4_PAE;
        d->efer = EFER_LME_LMA;
    }
}

static uint32_t signature(void)
{
    const struct kvm_cpuid2 *c = kvm_vm.cpuid;

    for (unsigned i = 0; i < c->nent; i++) {
        if (c->entries[i].function == 1) {
            return c->entries[i].eax;
        }
    }
    return 0;
}

void kvm_cpu_reset_state(KvmCpuDevice *d)
{
    memset(d->gpr, 0, sizeof(d->gpr));
    d->gpr[GPR_RDX] = signature();
    d->rip = 0xfff0;
    d->rflags = 2;
    reset_system(d);
    reset_lapic(d);
    reset_events(d);
    __atomic_store_n(&kvm_vm.crashed, false, __ATOMIC_RELEASE);
    drop_blob(&d->xsave);
    drop_blob(&d->msrs);
    drop_blob(&d->nested);
    if (d->vcpu->index == 0 && kvm_vm.has_boot && kvm_vm.boot.mode != CPU_BOOT_RESET) {
        apply_boot(d, &kvm_vm.boot);
    }
    d->dirty = true;
}

void kvm_boot_state(const CpuBoot *b)
{
    kvm_vm.has_boot = b != NULL;
    if (b) {
        kvm_vm.boot = *b;
    }
}
