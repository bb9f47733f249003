/* offer.c: what this host's KVM can give a guest's processor: CPUID, feature MSRs, Hyper-V's leaves.
 *
 * 1. KVM's answers are corrected only where KVM offers a feature by capability, or says nothing of one
 *    that it has (kernel, Documentation/virt/kvm/api.rst, KVM_GET_SUPPORTED_CPUID).
 * 2. State components that a process must ask for (AMX's 8 KiB) are asked for before anything is read. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

#define BIT(n) (1u << (n))
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#define XTILE_DATA 18
#define FEATURE_MSRS_MAX 128

typedef struct kvm_cpuid_entry2 Entry;

const Entry *cpuid_find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t index)
{
    for (unsigned i = 0; i < c->nent; i++) {
        const Entry *e = &c->entries[i];

        if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == index)) {
            return e;
        }
    }
    return NULL;
}

uint32_t cpuid_reg(const Entry *e, CpuReg r)
{
    return e == NULL ? 0 : r == REG_EAX ? e->eax : r == REG_EBX ? e->ebx : r == REG_ECX ? e->ecx : e->edx;
}

void offer_request_xsave(void)
{
    uint64_t components = 0;
    struct kvm_device_attr attr = { .attr = KVM_X86_XCOMP_GUEST_SUPP, .addr = (uintptr_t)&components };

    if (ioctl(kvm_vm.kvm, KVM_CHECK_EXTENSION, (long)KVM_CAP_SYS_ATTRIBUTES) > 0 &&
        ioctl(kvm_vm.kvm, KVM_GET_DEVICE_ATTR, &attr) == 0 && components >> XTILE_DATA & 1) {
        syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, XTILE_DATA);     /* refused: not offered then */
    }
}

static struct kvm_cpuid2 *read_cpuid(unsigned long request)
{
    struct kvm_cpuid2 *c = g_malloc0(sizeof(*c) + KVM_CPUID_MAX * sizeof(Entry));

    c->nent = KVM_CPUID_MAX;
    if (ioctl(kvm_vm.kvm, request, c) < 0) {
        g_clear_pointer(&c, g_free);
    }
    return c;
}

/* What KVM has by capability, or mirrors at run time. */
static uint64_t correct_word(FeatureWord w, uint64_t bits)
{
    switch (w) {
    case FW_1_ECX:
        bits |= BIT(31) | BIT(21);          /* hypervisor; x2APIC, as KVM has the local APIC */
        bits |= kvm_cap(KVM_CAP_TSC_DEADLINE_TIMER) ? BIT(24) : 0;
        return bits & ~BIT(27);             /* OSXSAVE mirrors CR4 */
    case FW_7_0_ECX:
        return bits & ~BIT(4);              /* OSPKE too */
    case FW_80000001_ECX:
        return bits | BIT(22);              /* TOPOEXT: leaves of ours alone */
    case FW_6_EAX:
        return bits | BIT(2);               /* KVM's APIC timer never stops */
    case FW_KVM_EDX:
        return bits | BIT(0);               /* a hint of the user's, not a feature of KVM */
    default:
        return bits;
    }
}

static void read_words(KvmOffer *o)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        const FeatureWordInfo *f = &feature_words[w];

        if (f->msr == 0) {
            o->words[w] = correct_word(w, cpuid_reg(cpuid_find(o->cpuid, f->leaf, f->index), f->reg));
        }
    }
}

/* The text of leaves 0x80000002 to 4: the processor's own, as some kernels' KVM does not offer them. */
static void read_model_id(KvmOffer *o)
{
    unsigned regs[12] = { 0 };

    if (__get_cpuid_max(0x80000000, NULL) >= 0x80000004) {
        for (unsigned i = 0; i < 3; i++) {
            __cpuid(0x80000002 + i, regs[4 * i], regs[4 * i + 1], regs[4 * i + 2], regs[4 * i + 3]);
        }
    }
    memcpy(o->model_id, regs, sizeof(regs));
}

static void read_identity(KvmOffer *o)
{
    const Entry *zero = cpuid_find(o->cpuid, 0, 0), *high = cpuid_find(o->cpuid, 0x80000000, 0);
    uint32_t vendor[3] = { zero->ebx, zero->edx, zero->ecx };
    uint32_t eax = cpuid_reg(cpuid_find(o->cpuid, 1, 0), REG_EAX);

    memcpy(o->vendor, vendor, sizeof(vendor));
    o->family = (eax >> 8 & 15) + ((eax >> 8 & 15) == 15 ? eax >> 20 & 0xff : 0);
    o->model = (eax >> 4 & 15) | (eax >> 12 & 0xf0);
    o->stepping = eax & 15;
    o->level = zero->eax;
    o->xlevel = cpuid_reg(high, REG_EAX);
    o->xlevel2 = cpuid_reg(cpuid_find(o->cpuid, 0xc0000000, 0), REG_EAX);
    o->phys_bits = cpuid_reg(cpuid_find(o->cpuid, 0x80000008, 0), REG_EAX) & 0xff;
    o->phys_bits = o->phys_bits ? o->phys_bits : 36;
    read_model_id(o);
}

/* --- feature MSRs --- */

static bool read_msr(uint32_t index, uint64_t *value)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry e; } one = { .head.nmsrs = 1, .e.index = index };

    if (ioctl(kvm_vm.kvm, KVM_GET_MSRS, &one) != 1) {
        return false;
    }
    *value = one.e.data;
    return true;
}

bool offer_has_msr(const KvmOffer *o, uint32_t index)
{
    for (unsigned i = 0; i < o->feature_msr_count; i++) {
        if (o->feature_msrs[i] == index) {
            return true;
        }
    }
    return false;
}

static void read_feature_msrs(KvmOffer *o)
{
    struct kvm_msr_list *l = g_malloc0(sizeof(*l) + FEATURE_MSRS_MAX * sizeof(uint32_t));

    l->nmsrs = FEATURE_MSRS_MAX;
    if (ioctl(kvm_vm.kvm, KVM_GET_MSR_FEATURE_INDEX_LIST, l) == 0) {
        o->feature_msrs = g_memdup2(l->indices, l->nmsrs * sizeof(uint32_t));
        o->feature_msr_count = l->nmsrs;
    }
    g_free(l);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint32_t index = feature_words[w].msr;
        uint64_t value;

        if (index != 0 && offer_has_msr(o, index) && read_msr(index, &value)) {
            bool control = index >= 0x48b && index <= 0x490 && index != 0x48c;
            o->words[w] = control ? value >> 32 : value;
        }
    }
}

bool offer_read_hv(KvmOffer *o)
{
    if (o->hv == NULL && kvm_cap(KVM_CAP_HYPERV) && kvm_cap(KVM_CAP_SYS_HYPERV_CPUID)) {
        o->hv = read_cpuid(KVM_GET_SUPPORTED_HV_CPUID);
    }
    return o->hv != NULL;
}

bool offer_read(KvmOffer *o, Error **errp)
{
    *o = (KvmOffer){ .cpuid = read_cpuid(KVM_GET_SUPPORTED_CPUID) };
    if (o->cpuid == NULL || cpuid_find(o->cpuid, 0, 0) == NULL) {
        error_set_errno(errp, errno, "-accel kvm: cannot read which CPU features KVM offers");
        offer_clear(o);
        return false;
    }
    read_words(o);
    read_identity(o);
    read_feature_msrs(o);
    return true;
}

void offer_clear(KvmOffer *o)
{
    g_free(o->cpuid);
    g_free(o->hv);
    g_free(o->feature_msrs);
    *o = (KvmOffer){ 0 };
}
