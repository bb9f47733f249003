/* models.h: the named processor models, as data. */
#ifndef ACCEL_KVM_MODELS_H
#define ACCEL_KVM_MODELS_H

#include "accel/kvm/features.h"

typedef enum CpuVendor { VENDOR_INTEL, VENDOR_AMD, VENDOR_HYGON } CpuVendor;

/* One cache in the form of CPUID leaf 4; EAX without who shares it. */
typedef struct CpuCache {
    uint32_t type_level, ebx, sets_less_1, edx;
} CpuCache;

/* The caches of a model, in each form that CPUID has for them; level 3 is last everywhere. */
typedef struct CpuCaches {
    uint32_t leaf2_ecx, leaf2_edx;             /* descriptors: L3; L2, L1I, L1D */
    uint32_t amd_l1d, amd_l1i, amd_l2, amd_l3; /* leaves 0x80000005 ECX, EDX and 0x80000006 ECX, EDX */
    CpuCache cache[4];                         /* L1D, L1I, L2, L3 of leaf 4 */
    CpuCache amd_cache[4];                     /* and of 0x8000001D */
} CpuCaches;

typedef struct CpuModel {
    const char *name;          /* without its version */
    const char *model_id;
    const char *note;          /* what sets the version apart, for lists; may be NULL */
    const CpuCaches *caches;   /* its own; NULL: cpu_caches_legacy */
    uint8_t version;
    uint8_t vendor;            /* CpuVendor */
    uint16_t family, model, stepping;
    uint32_t level, xlevel;
    uint64_t words[FW_COUNT];
} CpuModel;

/* By name, then version. */
extern const CpuModel cpu_models[];
extern const unsigned cpu_model_count;
extern const CpuCaches cpu_caches_legacy;

typedef struct CpuModelAlias {
    const char *alias, *name;
    unsigned version;
} CpuModelAlias;

extern const CpuModelAlias cpu_model_aliases[];
extern const unsigned cpu_model_alias_count;

/* The row of "EPYC", "EPYC-v2" or "EPYC-IBPB"; NULL: none, as for base, host and max, which have no row. */
CTX_ANY const CpuModel *cpu_model_find(const char *name);
/* Twelve characters, as CPUID has them. */
CTX_ANY const char *cpu_vendor_text(CpuVendor v);

#endif
