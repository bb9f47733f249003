/* features.h: CPUID feature bits by name, and -cpu text as data. */
#ifndef ACCEL_KVM_FEATURES_H
#define ACCEL_KVM_FEATURES_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

typedef enum FeatureWord {
    FW_1_EDX, FW_1_ECX, FW_6_EAX, FW_7_0_EBX, FW_7_0_ECX, FW_7_0_EDX, FW_7_1_EAX, FW_7_1_EDX,
    FW_D_1_EAX, FW_80000001_EDX, FW_80000001_ECX, FW_80000007_EDX, FW_80000008_EBX, FW_8000000A_EDX,
    FW_80000021_EAX, FW_KVM_EAX, FW_KVM_EDX,
    FW_COUNT,
} FeatureWord;

typedef enum CpuReg { REG_EAX, REG_EBX, REG_ECX, REG_EDX } CpuReg;

typedef struct FeatureWordInfo {
    uint32_t leaf, index;
    bool indexed;
    CpuReg reg;
    const char *names[32];
} FeatureWordInfo;

extern const FeatureWordInfo feature_words[FW_COUNT];

/* What -cpu said. */
typedef struct KvmCpuModel {
    char *name;
    bool host;                             /* "host" or "max": all that KVM offers */
    uint32_t on[FW_COUNT], off[FW_COUNT];  /* asked for by the user; never the same bit in both */
    bool kvm, pmu, check, enforce, migratable, vmware_freq, l3_cache, pv_enforce, cpuid_0xb;
    bool pmu_set;
    int family, model, stepping;           /* -1: the model's */
    uint32_t level, xlevel;                /* 0: the model's */
    unsigned phys_bits;                    /* 0: the model's */
    uint64_t tsc_hz;                       /* 0: the host's */
    char *vendor, *model_id;               /* NULL: the host's or the model's */
} KvmCpuModel;

/* A fixed baseline: what it has on any host. */
typedef struct Baseline {
    const char *name, *summary, *model_id;
    int family, model, stepping;
    uint32_t level, xlevel;
    uint32_t words[FW_COUNT];
} Baseline;

CTX_ANY const Baseline *baseline_find(const char *name);
/* Parses "NAME,+x,-y,x=on,prop=value"; NULL or "" is "host". */
CTX_CONTROL bool cpu_model_parse(KvmCpuModel *out, const char *text, Error **errp);
CTX_CONTROL void cpu_model_clear(KvmCpuModel *m);
/* The bit called @name: true, and its word and number. */
CTX_ANY bool feature_find(const char *name, FeatureWord *word, unsigned *bit);

#endif
