/* features.h: the feature words of an x86 processor, and the names of their bits. */
#ifndef ACCEL_KVM_FEATURES_H
#define ACCEL_KVM_FEATURES_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"

/* In the order in which missing features are told. */
typedef enum FeatureWord {
    FW_1_EDX, FW_1_ECX, FW_7_0_EBX, FW_7_0_ECX, FW_7_0_EDX, FW_7_1_EAX, FW_80000001_EDX, FW_80000001_ECX,
    FW_80000007_EDX, FW_80000008_EBX, FW_C0000001_EDX, FW_KVM_EAX, FW_KVM_EDX, FW_8000000A_EDX, FW_D_1_EAX,
    FW_6_EAX, FW_XCR0_LO, FW_XCR0_HI,
    FW_ARCH_CAP, FW_CORE_CAP, FW_PERF_CAP, FW_VMX_PROC, FW_VMX_PROC2, FW_VMX_PIN, FW_VMX_EXIT, FW_VMX_ENTRY,
    FW_VMX_MISC, FW_VMX_EPT, FW_VMX_BASIC, FW_VMX_VMFUNC,
    FW_14_0_ECX, FW_12_0_EAX, FW_12_0_EBX, FW_12_1_EAX, FW_XSS_LO, FW_XSS_HI,
    FW_COUNT,
} FeatureWord;

typedef enum CpuReg { REG_EAX, REG_EBX, REG_ECX, REG_EDX } CpuReg;

/* A word is a register of a CPUID leaf, or what a model-specific register says the processor can do: the
 * register's value, or for the VMX control registers (0x48b to 0x490) the bits that may be 1. */
typedef struct FeatureWordInfo {
    uint32_t leaf, index;
    bool indexed;
    CpuReg reg;
    uint32_t msr;              /* 0: CPUID */
    const char *names[64];     /* of a CPUID word the first 32 */
} FeatureWordInfo;

extern const FeatureWordInfo feature_words[FW_COUNT];

/* A second spelling of a name. */
typedef struct FeatureAlias {
    const char *alias, *name;
} FeatureAlias;

/* Ends with an empty one. */
extern const FeatureAlias feature_aliases[];

/* Bits @mask of @word mean nothing without bit @need_bit of @need. */
typedef struct FeatureDep {
    FeatureWord need;
    unsigned need_bit;
    FeatureWord word;
    uint64_t mask;
} FeatureDep;

extern const FeatureDep feature_deps[];
extern const unsigned feature_dep_count;

/* A state component of XSAVE and the feature that brings it. */
typedef struct XsaveArea {
    unsigned component;
    FeatureWord word;
    unsigned bit;
    bool supervisor;           /* in IA32_XSS, not XCR0 */
} XsaveArea;

extern const XsaveArea xsave_areas[];
extern const unsigned xsave_area_count;

static inline bool feature_has(const uint64_t words[FW_COUNT], FeatureWord w, unsigned bit)
{
    return words[w] >> bit & 1;
}

/* ORs every bit called @name, in one of its spellings, into @bits; false: there is none. */
CTX_ANY bool feature_find(const char *name, uint64_t bits[FW_COUNT]);
/* The name that a missing bit is told by: its own, or for a state component that of its feature; NULL: it
 * has none. */
CTX_ANY const char *feature_name(FeatureWord w, unsigned bit);
/* What a warning calls the word: "CPUID.07H:EBX" or "MSR(48BH)"; owned by the caller. */
CTX_ANY char *feature_word_text(FeatureWord w);
CTX_ANY const char *cpu_reg_name(CpuReg r);

#endif
