/* feature-msrs.c: the model-specific registers in which a guest reads features: architectural and core
 * capabilities, VMX and machine check capabilities, microcode revision.
 *
 * 1. They are part of the model, not of the vCPU's state: set once, never saved.
 * 2. VMX control registers have allowed-0 settings below and allowed-1 settings above (SDM vol. 3, A.3 to
 *    A.5); a word holds what may be 1, and what by default must be 1 stays so unless the word has it. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"

#define BIT(n) (1u << (n))
#define MSR_UCODE_REV 0x8b
#define UCODE_INTEL UINT64_C(0x100000000)
#define UCODE_AMD UINT64_C(0x01000065)
#define FEATURE_MSRS 20
#define MCG_CTL_P (UINT64_C(1) << 8)
#define MCG_SER_P (UINT64_C(1) << 24)
#define MCG_LMCE_P (UINT64_C(1) << 27)
#define MCE_BANKS 10

typedef struct FeatureMsrs {
    struct kvm_msrs head;
    struct kvm_msr_entry entries[FEATURE_MSRS];
} FeatureMsrs;

static void add(FeatureMsrs *b, uint32_t index, uint64_t value)
{
    if (offer_has_msr(kvm_vm.offer, index) && b->head.nmsrs < FEATURE_MSRS) {
        b->entries[b->head.nmsrs++] = (struct kvm_msr_entry){ .index = index, .data = value };
    }
}

/* @default1: the bits that are 1 where a processor gives no choice. */
static uint64_t control(const KvmCpuModel *m, FeatureWord w, uint32_t default1, uint32_t more)
{
    uint32_t allowed1 = m->words[w], must1 = default1 & ~allowed1;

    return (uint64_t)(allowed1 | must1 | more) << 32 | must1;
}

static void add_vmx(FeatureMsrs *b, const KvmCpuModel *m, const KvmOffer *o)
{
    bool lm = feature_has(m->words, FW_80000001_EDX, 29), ept = feature_has(m->words, FW_VMX_PROC2, 1);
    /* Revision, region size and memory type of the VMCS; timer rate and number of MSRs. */
    uint64_t basic = o->words[FW_VMX_BASIC] & UINT64_C(0x003c1fff7fffffff);
    uint64_t misc = o->words[FW_VMX_MISC] & 0x0e00001f;

    add(b, 0x480, (m->words[FW_VMX_BASIC] & UINT64_C(3) << 54) | basic);
    add(b, 0x485, (m->words[FW_VMX_MISC] & ~UINT64_C(0x0e00001f)) | misc);
    add(b, 0x486, 0x80000021);              /* CR0: PE, NE, PG */
    add(b, 0x488, 0x2000);                  /* CR4: VMXE */
    add(b, 0x48a, 0x2e);                    /* highest VMCS field */
    add(b, 0x48b, m->words[FW_VMX_PROC2] << 32);
    add(b, 0x48c, m->words[FW_VMX_EPT] | (ept ? o->words[FW_VMX_EPT] & 0x4100 : 0));
    add(b, 0x48d, control(m, FW_VMX_PIN, 0x16, 0));
    add(b, 0x48e, control(m, FW_VMX_PROC, 0x0401e172, 0));
    add(b, 0x48f, control(m, FW_VMX_EXIT, 0x36dff, lm ? BIT(9) : 0));      /* to a 64-bit host */
    add(b, 0x490, control(m, FW_VMX_ENTRY, 0x11ff, 0));
    if (m->words[FW_VMX_VMFUNC] != 0) {
        add(b, 0x491, m->words[FW_VMX_VMFUNC]);
    }
}

/* Machine checks as every PC of ours has them: MCG_CTL, software recovery, ten banks (SDM vol. 3, 16.3). */
static bool set_up_mce(KvmVcpu *v, const KvmCpuModel *m, Error **errp)
{
    bool has = m->prop[P_FAMILY] >= 6 && feature_has(m->words, FW_1_EDX, 7) &&
               feature_has(m->words, FW_1_EDX, 14);
    uint64_t supported = 0, cap = MCG_CTL_P | MCG_SER_P;
    int banks = kvm_cap(KVM_CAP_MCE);

    if (banks <= 0 || ioctl(kvm_vm.kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported) < 0) {
        supported = 0;
    }
    if (m->prop[P_LMCE] && !(supported & MCG_LMCE_P)) {
        return error_set(errp, "kvm: LMCE not supported");
    }
    cap = ((cap | (m->prop[P_LMCE] ? MCG_LMCE_P : 0)) & supported) | MIN(banks, MCE_BANKS);
    if (has && banks > 0 && ioctl(v->fd, KVM_X86_SETUP_MCE, &cap) < 0) {
        return error_set_errno(errp, errno, "-cpu %s: KVM refuses machine checks", m->name);
    }
    return true;
}

uint64_t kvm_ucode_rev(const KvmCpuModel *m)
{
    return m->prop[P_UCODE_REV] ? (uint64_t)m->prop[P_UCODE_REV]
           : strcmp(m->vendor, "AuthenticAMD") == 0 ? UCODE_AMD : UCODE_INTEL;
}

/* KVM offered @index and does not take it. */
static bool refused(const KvmVcpu *v, uint32_t index, Error **errp)
{
    const KvmCpuModel *m = kvm_vm.model;

    if (!m->host && m->prop[P_ENFORCE]) {
        return error_set(errp, "-cpu %s: KVM refuses feature register 0x%x", m->name, index);
    }
    if (!m->host && m->prop[P_CHECK] && v->index == 0) {
        warn_report("-cpu %s: KVM refuses feature register 0x%x", m->name, index);
    }
    return true;
}

/* Gives KVM all of @b, which is used up.  A register that is refused stays as KVM has it: one in software
 * was seen to offer architectural capabilities and to take none. */
static bool give(const KvmVcpu *v, FeatureMsrs *b, Error **errp)
{
    while (b->head.nmsrs > 0) {
        int done = MAX(ioctl(v->fd, KVM_SET_MSRS, b), 0);

        if (done < (int)b->head.nmsrs && !refused(v, b->entries[done++].index, errp)) {
            return false;
        }
        b->head.nmsrs -= done;
        memmove(b->entries, &b->entries[done], b->head.nmsrs * sizeof(b->entries[0]));
    }
    return true;
}

bool kvm_feature_msrs_put(KvmVcpu *v, Error **errp)
{
    const KvmCpuModel *m = kvm_vm.model;
    const KvmOffer *o = kvm_vm.offer;
    FeatureMsrs b = { 0 };

    if (!set_up_mce(v, m, errp)) {
        return false;
    }
    add(&b, MSR_UCODE_REV, kvm_ucode_rev(m));
    add(&b, 0x10a, m->words[FW_ARCH_CAP]);
    if (feature_has(m->words, FW_7_0_EDX, 30)) {
        add(&b, 0xcf, m->words[FW_CORE_CAP]);
    }
    if (feature_has(m->words, FW_1_ECX, 15)) {
        add(&b, 0x345, m->words[FW_PERF_CAP]);
    }
    if (feature_has(m->words, FW_1_ECX, 5)) {
        add_vmx(&b, m, o);
    }
    return give(v, &b, errp);
}
