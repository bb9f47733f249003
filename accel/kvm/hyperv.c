/* hyperv.c: Hyper-V enlightenments: what a guest for Microsoft's hypervisor finds on KVM.
 *
 * 1. An enlightenment is a row: the CPUID bits that show it, and what it needs of others. It is refused if
 *    the host's KVM does not offer those bits, or another one that it needs is not on.
 * 2. Leaves and bits: Microsoft's Hypervisor Top Level Functional Specification, "Feature and Interface
 *    Discovery"; MSRs in hyperv_msrs[] likewise. Reset values are zero but for the masked SINTs. */
#include "accel/kvm/hyperv.h"

#include <errno.h>
#include <string.h>
#include "accel/kvm/cpuid.h"
#include "accel/kvm/kvm-int.h"
#include "qapi/json.h"
#include "util/bytes.h"

#define LEAF_VENDOR 0x40000000u
#define LEAF_INTERFACE 0x40000001u
#define LEAF_VERSION 0x40000002u
#define LEAF_FEATURES 0x40000003u
#define LEAF_ADVICE 0x40000004u
#define LEAF_LIMITS 0x40000005u
#define LEAF_NESTED 0x4000000au
#define LEAF_SYNDBG 0x40000080u

#define FEATURES_HYPERCALL 0x20u           /* EAX: the hypercall and guest id registers, always */
#define FEATURES_CPU_DYNAMIC 0x8u          /* EDX: processors may be added, always */
#define ADVICE_CORESHARING 0x40000u
#define MAX_NEEDS 3
#define MSR_CRASH_P0 0x40000100u

/* Where a bit of an enlightenment is. */
typedef struct HvBits {
    uint32_t leaf;
    CpuReg reg;
    uint32_t bits;
} HvBits;

typedef struct HvFeature {
    CpuProp prop;
    const char *what;
    HvBits bits[2];
    CpuProp needs[MAX_NEEDS];      /* 0: no more; P_CHECK is none of them */
} HvFeature;

static const HvFeature hv_features[] = {
    { P_HV_RELAXED, "relaxed timing", { { LEAF_ADVICE, REG_EAX, 0x20 } }, { 0 } },
    { P_HV_VAPIC, "virtual APIC",
      { { LEAF_FEATURES, REG_EAX, 0x10 }, { LEAF_ADVICE, REG_EAX, 0x8 } }, { 0 } },
    { P_HV_TIME, "clocksources", { { LEAF_FEATURES, REG_EAX, 0x202 } }, { 0 } },
    { P_HV_CRASH, "crash MSRs", { { LEAF_FEATURES, REG_EDX, 0x400 } }, { 0 } },
    { P_HV_RESET, "reset MSR", { { LEAF_FEATURES, REG_EAX, 0x80 } }, { 0 } },
    { P_HV_VPINDEX, "VP_INDEX MSR", { { LEAF_FEATURES, REG_EAX, 0x40 } }, { 0 } },
    { P_HV_RUNTIME, "VP_RUNTIME MSR", { { LEAF_FEATURES, REG_EAX, 0x1 } }, { 0 } },
    { P_HV_SYNIC, "synthetic interrupt controller", { { LEAF_FEATURES, REG_EAX, 0x4 } }, { P_HV_VPINDEX } },
    { P_HV_STIMER, "synthetic timers", { { LEAF_FEATURES, REG_EAX, 0x8 } }, { P_HV_TIME, P_HV_SYNIC } },
    { P_HV_FREQUENCIES, "frequency MSRs",
      { { LEAF_FEATURES, REG_EAX, 0x800 }, { LEAF_FEATURES, REG_EDX, 0x100 } }, { 0 } },
    { P_HV_REENLIGHTENMENT, "reenlightenment MSRs", { { LEAF_FEATURES, REG_EAX, 0x2000 } }, { 0 } },
    { P_HV_TLBFLUSH, "paravirtualized TLB flush", { { LEAF_ADVICE, REG_EAX, 0x804 } }, { P_HV_VPINDEX } },
    { P_HV_EVMCS, "enlightened VMCS", { { LEAF_ADVICE, REG_EAX, 0x4000 } }, { P_HV_VAPIC } },
    { P_HV_IPI, "paravirtualized IPI", { { LEAF_ADVICE, REG_EAX, 0xc00 } }, { P_HV_VPINDEX } },
    { P_HV_STIMER_DIRECT, "direct mode synthetic timers", { { LEAF_FEATURES, REG_EDX, 0x80000 } },
      { P_HV_STIMER } },
    { P_HV_AVIC, "AVIC/APICv support", { { LEAF_ADVICE, REG_EAX, 0x200 } }, { 0 } },
    { P_HV_SYNDBG, "Enable synthetic kernel debugger channel", { { LEAF_FEATURES, REG_EDX, 0x802 } },
      { P_HV_SYNIC, P_HV_RELAXED } },
    { P_HV_XMM_INPUT, "XMM fast hypercall input", { { LEAF_FEATURES, REG_EDX, 0x10 } }, { 0 } },
    { P_HV_TLBFLUSH_EXT, "Extended gva ranges for TLB flush hypercalls",
      { { LEAF_FEATURES, REG_EDX, 0x4000 } }, { P_HV_TLBFLUSH } },
    { P_HV_TLBFLUSH_DIRECT, "direct TLB flush", { { LEAF_NESTED, REG_EAX, 0x20000 } }, { P_HV_VAPIC } },
    { P_HV_EMSR_BITMAP, "enlightened MSR-Bitmap", { { LEAF_NESTED, REG_EAX, 0x80000 } }, { 0 } },
};

/* The registers a vCPU has for each enlightenment, and its value after reset, in the order of writing. */
static const HypervMsr hyperv_msrs[] = {
    { P_COUNT, 0x40000000, 0x40000001, 0 },         /* guest id, hypercall page: with any */
    { P_HV_RUNTIME, 0x40000010, 0x40000010, 0 },
    { P_HV_TIME, 0x40000021, 0x40000021, 0 },       /* the TSC page */
    { P_HV_VAPIC, 0x40000073, 0x40000073, 0 },
    { P_HV_SYNIC, 0x40000080, 0x40000080, 0 },
    { P_HV_SYNIC, 0x40000082, 0x40000083, 0 },
    { P_HV_SYNIC, 0x40000090, 0x4000009f, 0x10000 },
    { P_HV_STIMER, 0x400000b0, 0x400000b7, 0 },
    { P_HV_CRASH, 0x40000100, 0x40000105, 0 },
    { P_HV_REENLIGHTENMENT, 0x40000106, 0x40000108, 0 },
};

static bool is_on(const KvmCpuModel *m, CpuProp p)
{
    return m->prop[p] != 0 || (p == P_HV_AVIC && m->prop[P_HV_APICV] != 0);
}

bool hyperv_enabled(const KvmCpuModel *m)
{
    for (unsigned i = 0; i < ARRAY_LEN(hv_features); i++) {
        if (is_on(m, hv_features[i].prop)) {
            return true;
        }
    }
    return m->prop[P_HV_SPINLOCKS] != UINT32_MAX;
}

static bool host_has(const KvmOffer *o, const HvFeature *f)
{
    for (unsigned i = 0; i < ARRAY_LEN(f->bits); i++) {
        const HvBits *b = &f->bits[i];
        uint32_t has = o->hv != NULL ? cpuid_reg(cpuid_find(o->hv, b->leaf, 0), b->reg) : 0;

        if ((has & b->bits) != b->bits) {
            return false;
        }
    }
    return true;
}

static const HvFeature *feature_of(CpuProp p)
{
    for (unsigned i = 0; i < ARRAY_LEN(hv_features); i++) {
        if (hv_features[i].prop == p) {
            return &hv_features[i];
        }
    }
    return NULL;
}

static const char *flag_of(const HvFeature *f)
{
    return f->prop == P_HV_AVIC ? "hv-avic/hv-apicv" : cpu_props[f->prop].name;
}

static bool check_feature(const KvmCpuModel *m, const KvmOffer *o, const HvFeature *f, Error **errp)
{
    for (unsigned i = 0; i < MAX_NEEDS && f->needs[i] != 0; i++) {
        if (!is_on(m, f->needs[i])) {
            const HvFeature *n = feature_of(f->needs[i]);
            return error_set(errp, "Hyper-V %s (%s) requires Hyper-V %s (%s)", f->what, flag_of(f), n->what,
                             flag_of(n));
        }
    }
    return host_has(o, f) ||
           error_set(errp, "Hyper-V %s (%s) is not supported by kernel", f->what, flag_of(f));
}

/* Everything the host has, but what the user turned off by name or KVM cannot give without more. */
static void pass_through(KvmCpuModel *m, const KvmOffer *o)
{
    const struct kvm_cpuid_entry2 *version = cpuid_find(o->hv, LEAF_VERSION, 0);
    uint32_t spinlocks = cpuid_reg(cpuid_find(o->hv, LEAF_ADVICE, 0), REG_EBX);

    for (unsigned i = 0; i < ARRAY_LEN(hv_features); i++) {
        const HvFeature *f = &hv_features[i];

        /* The debugger's channel needs a connection of its own. */
        m->prop[f->prop] |= !m->touched[f->prop] && f->prop != P_HV_SYNDBG && host_has(o, f);
    }
    if (m->prop[P_HV_SPINLOCKS] == UINT32_MAX && spinlocks != 0) {
        m->prop[P_HV_SPINLOCKS] = spinlocks;
    }
    if (version != NULL) {
        m->prop[P_HV_VERSION_BUILD] = version->eax;
        m->prop[P_HV_VERSION_MAJOR] = version->ebx >> 16;
        m->prop[P_HV_VERSION_MINOR] = version->ebx & 0xffff;
        m->prop[P_HV_VERSION_SPACK] = version->ecx;
        m->prop[P_HV_VERSION_SBRANCH] = version->edx >> 24;
        m->prop[P_HV_VERSION_SNUMBER] = version->edx & 0xffffff;
    }
}

bool hyperv_expand(KvmCpuModel *m, KvmOffer *o, Error **errp)
{
    if (m->prop[P_HV_PASSTHROUGH] && offer_read_hv(o)) {
        pass_through(m, o);
    }
    if (!hyperv_enabled(m)) {
        return true;
    }
    offer_read_hv(o);
    for (unsigned i = 0; i < ARRAY_LEN(hv_features); i++) {
        if (is_on(m, hv_features[i].prop) && !check_feature(m, o, &hv_features[i], errp)) {
            return false;
        }
    }
    if (o->hv == NULL) {
        return error_set(errp, "Hyper-V spinlock notification (hv-spinlocks) is not supported by kernel");
    }
    if (m->prop[P_HV_SYNDBG]) {
        return error_set(errp, "hv-syndbg is not supported: there is no hv-syndbg device");
    }
    return true;
}

/* --- leaves --- */

static uint32_t feature_bits(const KvmCpuModel *m, uint32_t leaf, CpuReg reg)
{
    uint32_t bits = 0;

    for (unsigned i = 0; i < ARRAY_LEN(hv_features); i++) {
        for (unsigned b = 0; b < ARRAY_LEN(hv_features[i].bits); b++) {
            const HvBits *h = &hv_features[i].bits[b];

            bits |= is_on(m, hv_features[i].prop) && h->leaf == leaf && h->reg == reg ? h->bits : 0;
        }
    }
    return bits;
}

static bool core_sharing(const KvmCpuModel *m, const KvmOffer *o)
{
    uint32_t host = o->hv != NULL ? cpuid_reg(cpuid_find(o->hv, LEAF_ADVICE, 0), REG_EAX) : 0;

    return m->prop[P_HV_CORESHARING] == 1 || (m->prop[P_HV_CORESHARING] == 2 && (host & ADVICE_CORESHARING));
}

static void put(struct kvm_cpuid2 *c, uint32_t leaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    cpuid_put(c, (struct kvm_cpuid_entry2){ .function = leaf, .eax = eax, .ebx = ebx, .ecx = ecx,
                                            .edx = edx });
}

void hyperv_leaves(struct kvm_cpuid2 *c, const KvmCpuModel *m, const KvmOffer *o)
{
    uint32_t nested = feature_bits(m, LEAF_NESTED, REG_EAX) | (is_on(m, P_HV_EVMCS) ? 0x101 : 0);
    bool messages = is_on(m, P_HV_SYNIC) && !m->prop[P_HV_SYNIC_KVM_ONLY];
    uint32_t v[3];

    memcpy(v, m->hv_vendor[0] ? m->hv_vendor : HYPERV_VENDOR, sizeof(v));
    put(c, LEAF_VENDOR, nested ? LEAF_NESTED : LEAF_LIMITS, v[0], v[1], v[2]);
    put(c, LEAF_INTERFACE, 0x31237648, 0, 0, 0);   /* "Hv#1" */
    put(c, LEAF_VERSION, m->prop[P_HV_VERSION_BUILD],
        (uint32_t)m->prop[P_HV_VERSION_MAJOR] << 16 | (uint32_t)m->prop[P_HV_VERSION_MINOR],
        m->prop[P_HV_VERSION_SPACK],
        (uint32_t)m->prop[P_HV_VERSION_SBRANCH] << 24 | (m->prop[P_HV_VERSION_SNUMBER] & 0xffffff));
    put(c, LEAF_FEATURES, FEATURES_HYPERCALL | feature_bits(m, LEAF_FEATURES, REG_EAX),
        messages ? 0x30 : 0, 0, FEATURES_CPU_DYNAMIC | feature_bits(m, LEAF_FEATURES, REG_EDX));
    put(c, LEAF_ADVICE, feature_bits(m, LEAF_ADVICE, REG_EAX) | (core_sharing(m, o) ? ADVICE_CORESHARING : 0),
        m->prop[P_HV_SPINLOCKS], 0, 0);
    put(c, LEAF_LIMITS, m->prop[P_HV_MAX_VPS], 64, 0, 0);
    if (nested) {
        for (uint32_t leaf = LEAF_LIMITS + 1; leaf < LEAF_NESTED; leaf++) {
            put(c, leaf, 0, 0, 0, 0);
        }
        put(c, LEAF_NESTED, nested, 0, 0, 0);
    }
}

/* --- a vCPU --- */

static bool enable(const KvmVcpu *v, uint32_t cap, uint64_t arg, const char *flag, Error **errp)
{
    struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

    return ioctl(v->fd, KVM_ENABLE_CAP, &e) >= 0 ||
           error_set_errno(errp, errno, "-cpu %s: KVM refuses it", flag);
}

bool hyperv_vcpu_open(KvmVcpu *v, Error **errp)
{
    const KvmCpuModel *m = kvm_vm.model;
    uint16_t version = 1;

    if (!hyperv_enabled(m)) {
        return true;
    }
    uint32_t synic = m->prop[P_HV_SYNIC_KVM_ONLY] ? KVM_CAP_HYPERV_SYNIC : KVM_CAP_HYPERV_SYNIC2;
    if (is_on(m, P_HV_SYNIC) && !enable(v, synic, 0, "hv-synic", errp)) {
        return false;
    }
    if (is_on(m, P_HV_EVMCS) &&
        !enable(v, KVM_CAP_HYPERV_ENLIGHTENED_VMCS, (uintptr_t)&version, "hv-evmcs", errp)) {
        return false;
    }
    if (is_on(m, P_HV_EVMCS) && (version & 0xff) > 1) {
        return error_set(errp, "eVMCS version range [1..1] is not supported by kernel (supported: [%u..%u])",
                         version & 0xff, version >> 8);
    }
    if (m->prop[P_HV_ENFORCE_CPUID] &&
        !enable(v, KVM_CAP_HYPERV_ENFORCE_CPUID, 1, "hv-enforce-cpuid", errp)) {
        return false;
    }
    return !is_on(m, P_HV_TLBFLUSH_DIRECT) ||
           enable(v, KVM_CAP_HYPERV_DIRECT_TLBFLUSH, 0, "hv-tlbflush-direct", errp);
}

const HypervMsr *hyperv_msr(unsigned i)
{
    return i < ARRAY_LEN(hyperv_msrs) ? &hyperv_msrs[i] : NULL;
}

bool hyperv_msr_used(const HypervMsr *r)
{
    const KvmCpuModel *m = kvm_vm.model;

    return m != NULL && hyperv_enabled(m) && (r->prop == P_COUNT || is_on(m, r->prop));
}

void hyperv_crash(KvmVcpu *v)
{
    struct { struct kvm_msrs head; struct kvm_msr_entry e[5]; } p = { .head.nmsrs = 5 };

    for (unsigned i = 0; i < 5; i++) {
        p.e[i].index = MSR_CRASH_P0 + i;
    }
    if (ioctl(v->fd, KVM_GET_MSRS, &p) != 5 || __atomic_load_n(&kvm_vm.crashed, __ATOMIC_ACQUIRE)) {
        return;                             /* the first crash is the one worth telling */
    }
    for (unsigned i = 0; i < 5; i++) {
        kvm_vm.crash[i] = p.e[i].data;
    }
    __atomic_store_n(&kvm_vm.crashed, true, __ATOMIC_RELEASE);
}

json_t *hyperv_crash_info(void)
{
    json_t *out = NULL;

    if (__atomic_load_n(&kvm_vm.crashed, __ATOMIC_ACQUIRE)) {
        out = json_pack("{s:s}", "type", "hyper-v");
        for (unsigned i = 0; i < ARRAY_LEN(kvm_vm.crash); i++) {
            g_autofree char *name = g_strdup_printf("arg%u", i + 1);
            uint64_t v = kvm_vm.crash[i];

            json_object_set_new(out, name, v > INT64_MAX ? json_from_u64(v) : json_integer((int64_t)v));
        }
    }
    return out;
}

void hyperv_exit(struct kvm_run *run)
{
    if (run->hyperv.type == KVM_EXIT_HYPERV_HCALL) {
        run->hyperv.u.hcall.result = 2;     /* HV_STATUS_INVALID_HYPERCALL_CODE */
    }
    /* Synthetic interrupt pages are plain guest memory: KVM has taken what the guest wrote. */
}
