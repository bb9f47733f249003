/* cpu.h: a processor model as -cpu or a client chose it, and what becomes of it on this host.
 *
 *   model row (models.h) + properties and features set by name (cpu.c)
 *     -> resolved against the host's offer (offer.c, cpu-resolve.c): feature words, levels
 *     -> CPUID leaves (cpuid.c, hyperv.c), feature MSRs (msrs.c), property values (cpu-query.c)
 *
 * 1. Nothing here changes after kvm_cpuid_open() but in clients' own copies. Control thread. */
#ifndef ACCEL_KVM_CPU_H
#define ACCEL_KVM_CPU_H

#include <jansson.h>
#include "accel/kvm/models.h"
#include "util/error.h"

struct kvm_cpuid2;
struct kvm_cpuid_entry2;

/* Properties of a processor object that are no features; one row each in cpu_props[]. */
typedef enum CpuProp {
    P_CHECK, P_ENFORCE, P_FORCE_FEATURES, P_KVM, P_PMU, P_MIGRATABLE, P_HOST_CACHE_INFO, P_L3_CACHE,
    P_LEGACY_CACHE, P_CPUID_0XB, P_AUTO_LEVEL, P_PT_AUTO_LEVEL, P_HOST_PHYS_BITS, P_HOST_PHYS_BITS_LIMIT,
    P_PHYS_BITS, P_PV_ENFORCE, P_LMCE, P_VMWARE_FREQ, P_VENDOR_CPUID_ONLY, P_FILL_MTRR_MASK,
    P_NO_SMI_MIGRATION, P_MIGRATE_SMI_COUNT, P_TCG_CPUID,
    P_FAMILY, P_MODEL, P_STEPPING, P_VENDOR, P_MODEL_ID, P_LEVEL, P_LEVEL_FUNC7, P_XLEVEL, P_XLEVEL2,
    P_MIN_LEVEL, P_MIN_XLEVEL, P_MIN_XLEVEL2, P_TSC_FREQUENCY, P_UCODE_REV, P_LBR_FMT,
    P_APIC_ID, P_NODE_ID, P_SOCKET_ID, P_DIE_ID, P_CORE_ID, P_THREAD_ID, P_START_OFF, P_REALIZED,
    P_HV_RELAXED, P_HV_VAPIC, P_HV_SPINLOCKS, P_HV_VPINDEX, P_HV_RUNTIME, P_HV_CRASH, P_HV_TIME, P_HV_SYNIC,
    P_HV_STIMER, P_HV_STIMER_DIRECT, P_HV_RESET, P_HV_FREQUENCIES, P_HV_REENLIGHTENMENT, P_HV_TLBFLUSH,
    P_HV_TLBFLUSH_EXT, P_HV_TLBFLUSH_DIRECT, P_HV_IPI, P_HV_EVMCS, P_HV_EMSR_BITMAP, P_HV_AVIC, P_HV_APICV,
    P_HV_XMM_INPUT, P_HV_SYNDBG, P_HV_VENDOR_ID, P_HV_CORESHARING, P_HV_PASSTHROUGH, P_HV_ENFORCE_CPUID,
    P_HV_VERSION_BUILD, P_HV_VERSION_MAJOR, P_HV_VERSION_MINOR, P_HV_VERSION_SPACK, P_HV_VERSION_SBRANCH,
    P_HV_VERSION_SNUMBER, P_HV_MAX_VPS, P_HV_SYNIC_KVM_ONLY,
    P_COUNT,
} CpuProp;

typedef enum CpuPropKind {
    CPK_BOOL, CPK_INT, CPK_U8, CPK_U16, CPK_U32, CPK_U64, CPK_I32, CPK_STR, CPK_ONOFFAUTO,
} CpuPropKind;

enum {
    CPF_HOST_ONLY = 1,         /* only models host and max have it */
    CPF_STATIC = 2,            /* part of what a static expansion tells */
    CPF_LATE = 4,              /* may be set on a running processor (and changes nothing there) */
    CPF_PLACE = 8,             /* given by -smp and device_add, not by -cpu */
    CPF_UNSET = 16,            /* its default is the model's, and not told */
};

typedef struct CpuPropInfo {
    const char *name;
    CpuPropKind kind;
    unsigned flags;
    int64_t def;
    int64_t max;               /* CPK_INT: the largest value */
    const char *help;
} CpuPropInfo;

extern const CpuPropInfo cpu_props[P_COUNT];

#define CPU_UNSET_U32 UINT32_MAX   /* level, xlevel, ...: computed */
#define LBR_FMT_UNSET (~INT64_C(0x3f))
#define CPU_VENDOR_LEN 12

typedef struct KvmCpuModel {
    char *name;                    /* as typed: "EPYC-IBPB" */
    const CpuModel *row;           /* NULL: base, host, max */
    bool host;                     /* host or max */
    uint64_t user[FW_COUNT];       /* bits that were set by name... */
    uint64_t value[FW_COUNT];      /* ...and to what */
    bool level_set;                /* level was given */
    int64_t prop[P_COUNT];
    bool touched[P_COUNT];         /* properties that were set by name */
    char vendor[CPU_VENDOR_LEN + 1], hv_vendor[CPU_VENDOR_LEN + 1];
    bool vendor_set, model_id_set, hv_truncated;
    char model_id[49];

    /* Made by cpu_resolve(). */
    bool resolved;
    uint64_t words[FW_COUNT];      /* features of the guest */
    uint64_t filtered[FW_COUNT];   /* wished for, but the host lacks them */
    unsigned phys_bits;
} KvmCpuModel;

/* What this host's KVM can give. */
typedef struct KvmOffer {
    struct kvm_cpuid2 *cpuid;
    struct kvm_cpuid2 *hv;         /* NULL: not read, or none */
    uint64_t words[FW_COUNT];
    char vendor[CPU_VENDOR_LEN + 1];
    char model_id[49];
    unsigned family, model, stepping, phys_bits;
    uint32_t level, xlevel, xlevel2;
    uint32_t *feature_msrs;        /* those KVM knows, ascending as KVM lists them */
    unsigned feature_msr_count;
} KvmOffer;

/* --- offer.c --- */
/* Read once a VM. */
bool offer_read(KvmOffer *o, Error **errp);
void offer_clear(KvmOffer *o);
/* Reads what KVM offers of Hyper-V's leaves; false: nothing. */
bool offer_read_hv(KvmOffer *o);
/* Lets guests have the state components that a process must ask for (AMX). Before the offer is read. */
void offer_request_xsave(void);
bool offer_has_msr(const KvmOffer *o, uint32_t index);
/* The entry of a leaf in KVM's form, or NULL. */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t index);
uint32_t cpuid_reg(const struct kvm_cpuid_entry2 *e, CpuReg r);

/* --- cpu.c --- */
/* The model called @name with its defaults; the offer may be NULL (then host has no features yet). */
bool cpu_init(KvmCpuModel *m, const char *name, const KvmOffer *o, Error **errp);
/* All of -cpu's text.  cpu_clear() it, whatever comes of it. */
bool cpu_parse(KvmCpuModel *m, const char *text, const KvmOffer *o, Error **errp);
void cpu_clear(KvmCpuModel *m);
/* Sets a property or feature by name from text (@json NULL) or a JSON value. */
bool cpu_set(KvmCpuModel *m, const char *name, const char *text, json_t *json, Error **errp);
/* Its number, or -1; false for CPF_HOST_ONLY ones of other models. */
int cpu_prop_find(const KvmCpuModel *m, const char *name);

/* --- cpu-resolve.c --- */
/* Computes the words, as the model wants them; @quiet: tells nothing. */
void cpu_expand(KvmCpuModel *m, const KvmOffer *o, bool quiet);
/* Drops what the host lacks, with warnings or, with enforce, an error. */
bool cpu_filter(KvmCpuModel *m, const KvmOffer *o, bool quiet, Error **errp);
bool cpu_phys_bits(KvmCpuModel *m, const KvmOffer *o, Error **errp);
/* Adds the names of the bits in @words to a JSON array, in the order of the words. */
void cpu_list_features(const uint64_t words[FW_COUNT], json_t *out);

/* --- hyperv.c --- */
/* Checks the enlightenments against the host and what each needs, and turns hv-passthrough into the
 * single ones. */
bool hyperv_expand(KvmCpuModel *m, KvmOffer *o, Error **errp);
bool hyperv_enabled(const KvmCpuModel *m);
/* Appends Hyper-V's leaves. */
void hyperv_leaves(struct kvm_cpuid2 *c, const KvmCpuModel *m, const KvmOffer *o);

#endif
