/* features.c: the table of feature names, which feature needs which, and what state each brings.
 *
 * 1. Bits are those of Intel's SDM (vol. 2 CPUID; vol. 3 appendix A, VMX capabilities; vol. 4, MSRs 0xcf,
 *    0x10a and 0x345), AMD's APM vol. 3 appendix E, and the kernel's
 *    Documentation/virt/kvm/x86/cpuid.rst; names are those that people and tools give to QEMU 7.2.
 * 2. A name may stand for two bits (kvmclock); all are turned together. */
#include "accel/kvm/features.h"

#include <glib.h>
#include <string.h>
#include "util/bytes.h"

const FeatureWordInfo feature_words[FW_COUNT] = {
    [FW_1_EDX] = { .leaf = 0x1, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", [11] = "sep", "mtrr", "pge",
        "mca", "cmov", "pat", "pse36", "pn", "clflush", [21] = "ds", "acpi", "mmx", "fxsr", "sse", "sse2",
        "ss", "ht", "tm", "ia64", "pbe" } },
    [FW_1_ECX] = { .leaf = 0x1, .index = 0, .indexed = false, .reg = REG_ECX, .names = {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est", "tm2", "ssse3", "cid",
        [12] = "fma", "cx16", "xtpr", "pdcm", [17] = "pcid", "dca", "sse4.1", "sse4.2", "x2apic", "movbe",
        "popcnt", "tsc-deadline", "aes", "xsave", [28] = "avx", "f16c", "rdrand", "hypervisor" } },
    [FW_7_0_EBX] = { .leaf = 0x7, .index = 0, .indexed = true, .reg = REG_EBX, .names = {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", [7] = "smep", "bmi2", "erms", "invpcid",
        "rtm", [14] = "mpx", [16] = "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma",
        "pcommit", "clflushopt", "clwb", "intel-pt", "avx512pf", "avx512er", "avx512cd", "sha-ni",
        "avx512bw", "avx512vl" } },
    [FW_7_0_ECX] = { .leaf = 0x7, .index = 0, .indexed = true, .reg = REG_ECX, .names = {
        [1] = "avx512vbmi", "umip", "pku", [5] = "waitpkg", "avx512vbmi2", [8] = "gfni", "vaes",
        "vpclmulqdq", "avx512vnni", "avx512bitalg", [14] = "avx512-vpopcntdq", [16] = "la57",
        [22] = "rdpid", [24] = "bus-lock-detect", "cldemote", [27] = "movdiri", "movdir64b",
        [30] = "sgxlc", "pks" } },
    [FW_7_0_EDX] = { .leaf = 0x7, .index = 0, .indexed = true, .reg = REG_EDX, .names = {
        [2] = "avx512-4vnniw", "avx512-4fmaps", "fsrm", [8] = "avx512-vp2intersect", [10] = "md-clear",
        [14] = "serialize", [16] = "tsx-ldtrk", [19] = "arch-lbr", [22] = "amx-bf16", "avx512-fp16",
        "amx-tile", "amx-int8", "spec-ctrl", "stibp", [29] = "arch-capabilities", "core-capability",
        "ssbd" } },
    [FW_7_1_EAX] = { .leaf = 0x7, .index = 1, .indexed = true, .reg = REG_EAX, .names = {
        [4] = "avx-vnni", "avx512-bf16" } },
    [FW_80000001_EDX] = { .leaf = 0x80000001, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        [11] = "syscall", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt", "pdpe1gb", "rdtscp",
        [29] = "lm", "3dnowext", "3dnow" } },
    [FW_80000001_ECX] = { .leaf = 0x80000001, .index = 0, .indexed = false, .reg = REG_ECX, .names = {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", [15] = "lwp", "fma4", "tce",
        [19] = "nodeid-msr", [21] = "tbm", "topoext", "perfctr-core", "perfctr-nb" } },
    [FW_80000007_EDX] = { .leaf = 0x80000007, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        [8] = "invtsc" } },
    [FW_80000008_EBX] = { .leaf = 0x80000008, .index = 0, .indexed = false, .reg = REG_EBX, .names = {
        "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs", "amd-stibp",
        [24] = "amd-ssbd", "virt-ssbd", "amd-no-ssb" } },
    [FW_C0000001_EDX] = { .leaf = 0xc0000001, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        [2] = "xstore", "xstore-en", [6] = "xcrypt", "xcrypt-en", "ace2", "ace2-en", "phe", "phe-en",
        "pmm", "pmm-en" } },
    [FW_KVM_EAX] = { .leaf = 0x40000001, .index = 0, .indexed = false, .reg = REG_EAX, .names = {
        "kvmclock", "kvm-nopiodelay", "kvm-mmu", "kvmclock", "kvm-asyncpf", "kvm-steal-time", "kvm-pv-eoi",
        "kvm-pv-unhalt", [9] = "kvm-pv-tlb-flush", [11] = "kvm-pv-ipi", "kvm-poll-control",
        "kvm-pv-sched-yield", "kvm-asyncpf-int", "kvm-msi-ext-dest-id", [24] = "kvmclock-stable-bit" } },
    [FW_KVM_EDX] = { .leaf = 0x40000001, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        "kvm-hint-dedicated" } },
    [FW_8000000A_EDX] = { .leaf = 0x8000000a, .index = 0, .indexed = false, .reg = REG_EDX, .names = {
        "npt", "lbrv", "svm-lock", "nrip-save", "tsc-scale", "vmcb-clean", "flushbyasid", "decodeassists",
        [10] = "pause-filter", [12] = "pfthreshold", "avic", [15] = "v-vmsave-vmload", "vgif",
        [28] = "svme-addr-chk" } },
    [FW_D_1_EAX] = { .leaf = 0xd, .index = 1, .indexed = true, .reg = REG_EAX, .names = {
        "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" } },
    [FW_6_EAX] = { .leaf = 0x6, .index = 0, .indexed = false, .reg = REG_EAX, .names = {
        [2] = "arat" } },
    [FW_XCR0_LO] = { .leaf = 0xd, .index = 0, .indexed = true, .reg = REG_EAX },
    [FW_XCR0_HI] = { .leaf = 0xd, .index = 0, .indexed = true, .reg = REG_EDX },
    [FW_ARCH_CAP] = { .msr = 0x10a, .names = {
        "rdctl-no", "ibrs-all", "rsba", "skip-l1dfl-vmentry", "ssb-no", "mds-no", "pschange-mc-no",
        "tsx-ctrl", "taa-no" } },
    [FW_CORE_CAP] = { .msr = 0xcf, .names = {
        [5] = "split-lock-detect" } },
    [FW_PERF_CAP] = { .msr = 0x345, .names = {
        [13] = "full-width-write" } },
    [FW_VMX_PROC] = { .msr = 0x48e, .names = {
        [2] = "vmx-vintr-pending", "vmx-tsc-offset", [7] = "vmx-hlt-exit", [9] = "vmx-invlpg-exit",
        "vmx-mwait-exit", "vmx-rdpmc-exit", "vmx-rdtsc-exit", [15] = "vmx-cr3-load-noexit",
        "vmx-cr3-store-noexit", [19] = "vmx-cr8-load-exit", "vmx-cr8-store-exit", "vmx-flexpriority",
        "vmx-vnmi-pending", "vmx-movdr-exit", "vmx-io-exit", "vmx-io-bitmap", [27] = "vmx-mtf",
        "vmx-msr-bitmap", "vmx-monitor-exit", "vmx-pause-exit", "vmx-secondary-ctls" } },
    [FW_VMX_PROC2] = { .msr = 0x48b, .names = {
        "vmx-apicv-xapic", "vmx-ept", "vmx-desc-exit", "vmx-rdtscp-exit", "vmx-apicv-x2apic", "vmx-vpid",
        "vmx-wbinvd-exit", "vmx-unrestricted-guest", "vmx-apicv-register", "vmx-apicv-vid", "vmx-ple",
        "vmx-rdrand-exit", "vmx-invpcid-exit", "vmx-vmfunc", "vmx-shadow-vmcs", "vmx-encls-exit",
        "vmx-rdseed-exit", "vmx-pml", [20] = "vmx-xsaves", [25] = "vmx-tsc-scaling" } },
    [FW_VMX_PIN] = { .msr = 0x48d, .names = {
        "vmx-intr-exit", [3] = "vmx-nmi-exit", [5] = "vmx-vnmi", "vmx-preemption-timer",
        "vmx-posted-intr" } },
    [FW_VMX_EXIT] = { .msr = 0x48f, .names = {
        [2] = "vmx-exit-nosave-debugctl", [12] = "vmx-exit-load-perf-global-ctrl",
        [15] = "vmx-exit-ack-intr", [18] = "vmx-exit-save-pat", "vmx-exit-load-pat", "vmx-exit-save-efer",
        "vmx-exit-load-efer", "vmx-exit-save-preemption-timer", "vmx-exit-clear-bndcfgs",
        [25] = "vmx-exit-clear-rtit-ctl", [29] = "vmx-exit-load-pkrs" } },
    [FW_VMX_ENTRY] = { .msr = 0x490, .names = {
        [2] = "vmx-entry-noload-debugctl", [9] = "vmx-entry-ia32e-mode",
        [13] = "vmx-entry-load-perf-global-ctrl", "vmx-entry-load-pat", "vmx-entry-load-efer",
        "vmx-entry-load-bndcfgs", [18] = "vmx-entry-load-rtit-ctl", [22] = "vmx-entry-load-pkrs" } },
    [FW_VMX_MISC] = { .msr = 0x485, .names = {
        [5] = "vmx-store-lma", "vmx-activity-hlt", "vmx-activity-shutdown", "vmx-activity-wait-sipi",
        [29] = "vmx-vmwrite-vmexit-fields", "vmx-zero-len-inject" } },
    [FW_VMX_EPT] = { .msr = 0x48c, .names = {
        "vmx-ept-execonly", [6] = "vmx-page-walk-4", "vmx-page-walk-5", [16] = "vmx-ept-2mb",
        "vmx-ept-1gb", [20] = "vmx-invept", "vmx-eptad", "vmx-ept-advanced-exitinfo",
        [25] = "vmx-invept-single-context", "vmx-invept-all-context", [32] = "vmx-invvpid",
        [40] = "vmx-invvpid-single-addr", "vmx-invept-single-context", "vmx-invvpid-all-context",
        "vmx-invept-single-context-noglobals" } },
    [FW_VMX_BASIC] = { .msr = 0x480, .names = {
        [54] = "vmx-ins-outs", "vmx-true-ctls" } },
    [FW_VMX_VMFUNC] = { .msr = 0x491, .names = {
        "vmx-eptp-switching" } },
    [FW_14_0_ECX] = { .leaf = 0x14, .index = 0, .indexed = true, .reg = REG_ECX, .names = {
        [31] = "intel-pt-lip" } },
    [FW_12_0_EAX] = { .leaf = 0x12, .index = 0, .indexed = true, .reg = REG_EAX, .names = {
        "sgx1", "sgx2" } },
    [FW_12_0_EBX] = { .leaf = 0x12, .index = 0, .indexed = true, .reg = REG_EBX, .names = {
        "sgx-exinfo" } },
    [FW_12_1_EAX] = { .leaf = 0x12, .index = 1, .indexed = true, .reg = REG_EAX, .names = {
        [1] = "sgx-debug", "sgx-mode64", [4] = "sgx-provisionkey", "sgx-tokenkey", [7] = "sgx-kss" } },
    [FW_XSS_LO] = { .leaf = 0xd, .index = 1, .indexed = true, .reg = REG_ECX },
    [FW_XSS_HI] = { .leaf = 0xd, .index = 1, .indexed = true, .reg = REG_EDX },
};

const FeatureAlias feature_aliases[] = {
    { "sse3", "pni" }, { "pclmuldq", "pclmulqdq" }, { "sse4-1", "sse4.1" }, { "sse4-2", "sse4.2" },
    { "xd", "nx" }, { "ffxsr", "fxsr-opt" }, { "i64", "lm" }, { "sse4_1", "sse4.1" }, { "sse4_2", "sse4.2" },
    { "cmp_legacy", "cmp-legacy" }, { "ds_cpl", "ds-cpl" }, { "fxsr_opt", "fxsr-opt" },
    { "kvm_asyncpf", "kvm-asyncpf" }, { "kvm_asyncpf_int", "kvm-asyncpf-int" }, { "kvm_mmu", "kvm-mmu" },
    { "kvm_nopiodelay", "kvm-nopiodelay" }, { "kvm_poll_control", "kvm-poll-control" },
    { "kvm_pv_eoi", "kvm-pv-eoi" }, { "kvm_pv_unhalt", "kvm-pv-unhalt" },
    { "kvm_steal_time", "kvm-steal-time" }, { "lahf_lm", "lahf-lm" }, { "nodeid_msr", "nodeid-msr" },
    { "nrip_save", "nrip-save" }, { "pause_filter", "pause-filter" }, { "perfctr_core", "perfctr-core" },
    { "perfctr_nb", "perfctr-nb" }, { "svm_lock", "svm-lock" }, { "tsc_adjust", "tsc-adjust" },
    { "tsc_scale", "tsc-scale" }, { "vmcb_clean", "vmcb-clean" },
    { 0 },
};

#define ALL UINT64_MAX
const FeatureDep feature_deps[] = {
    { FW_7_0_EDX, 29, FW_ARCH_CAP, ALL },
    { FW_7_0_EDX, 30, FW_CORE_CAP, ALL },
    { FW_1_ECX, 15, FW_PERF_CAP, ALL },
    { FW_1_ECX, 5, FW_VMX_PROC, ALL },
    { FW_1_ECX, 5, FW_VMX_PIN, ALL },
    { FW_1_ECX, 5, FW_VMX_EXIT, ALL },
    { FW_1_ECX, 5, FW_VMX_ENTRY, ALL },
    { FW_1_ECX, 5, FW_VMX_MISC, ALL },
    { FW_1_ECX, 5, FW_VMX_BASIC, ALL },
    { FW_80000001_EDX, 29, FW_VMX_ENTRY, 1u << 9 },                 /* long mode: entry into it */
    { FW_7_0_EBX, 14, FW_VMX_EXIT, 1u << 23 },                      /* MPX: BNDCFGS */
    { FW_7_0_EBX, 14, FW_VMX_ENTRY, 1u << 16 },
    { FW_VMX_PROC, 31, FW_VMX_PROC2, ALL },
    { FW_80000001_EDX, 27, FW_VMX_PROC2, 1u << 3 },                 /* RDTSCP */
    { FW_1_ECX, 30, FW_VMX_PROC2, 1u << 11 },                       /* RDRAND */
    { FW_7_0_EBX, 10, FW_VMX_PROC2, 1u << 12 },                     /* INVPCID */
    { FW_7_0_EBX, 18, FW_VMX_PROC2, 1u << 16 },                     /* RDSEED */
    { FW_D_1_EAX, 3, FW_VMX_PROC2, 1u << 20 },                      /* XSAVES */
    { FW_VMX_PROC2, 1, FW_VMX_PROC2, 1u << 7 },                     /* EPT: unrestricted guest */
    { FW_VMX_PROC2, 1, FW_VMX_EPT, 0xffffffff },
    { FW_VMX_PROC2, 5, FW_VMX_EPT, (uint64_t)0xffffffff << 32 },    /* VPID */
    { FW_VMX_PROC2, 13, FW_VMX_VMFUNC, ALL },
    { FW_80000001_ECX, 2, FW_8000000A_EDX, ALL },                   /* SVM */
    { FW_7_0_EBX, 25, FW_14_0_ECX, ALL },                           /* Intel PT */
    { FW_7_0_EBX, 2, FW_7_0_ECX, 1u << 30 },                        /* SGX */
    { FW_7_0_EBX, 2, FW_12_0_EAX, ALL },
    { FW_7_0_EBX, 2, FW_12_0_EBX, ALL },
    { FW_7_0_EBX, 2, FW_12_1_EAX, ALL },
};
const unsigned feature_dep_count = ARRAY_LEN(feature_deps);

const XsaveArea xsave_areas[] = {
    { 2, FW_1_ECX, 28 },                                            /* AVX */
    { 3, FW_7_0_EBX, 14 }, { 4, FW_7_0_EBX, 14 },                   /* MPX */
    { 5, FW_7_0_EBX, 16 }, { 6, FW_7_0_EBX, 16 }, { 7, FW_7_0_EBX, 16 },    /* AVX-512 */
    { 9, FW_7_0_ECX, 3 },                                           /* PKU */
    { 15, FW_7_0_EDX, 19, true },                                   /* LBR */
    { 17, FW_7_0_EDX, 24 }, { 18, FW_7_0_EDX, 24 },                 /* AMX */
};
const unsigned xsave_area_count = ARRAY_LEN(xsave_areas);

bool feature_find(const char *name, uint64_t bits[FW_COUNT])
{
    bool found = false;

    for (const FeatureAlias *a = feature_aliases; a->alias; a++) {
        if (strcmp(a->alias, name) == 0) {
            name = a->name;
            break;
        }
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            const char *n = feature_words[w].names[b];

            if (n && n[0] == name[0] && strcmp(n, name) == 0) {
                bits[w] |= UINT64_C(1) << b;
                found = true;
            }
        }
    }
    return found;
}

const char *feature_name(FeatureWord w, unsigned bit)
{
    unsigned component = w == FW_XCR0_HI || w == FW_XSS_HI ? bit + 32 : bit;
    bool xcr0 = w == FW_XCR0_LO || w == FW_XCR0_HI;

    if (!xcr0 && w != FW_XSS_LO && w != FW_XSS_HI) {
        return feature_words[w].names[bit];
    }
    for (unsigned i = 0; i < xsave_area_count; i++) {
        const XsaveArea *a = &xsave_areas[i];

        if (a->component == component && a->supervisor == !xcr0) {
            return feature_words[a->word].names[a->bit];
        }
    }
    return NULL;
}

const char *cpu_reg_name(CpuReg r)
{
    static const char *const names[] = { "EAX", "EBX", "ECX", "EDX" };

    return names[r];
}

char *feature_word_text(FeatureWord w)
{
    const FeatureWordInfo *f = &feature_words[w];

    return f->msr ? g_strdup_printf("MSR(%02XH)", f->msr)
                  : g_strdup_printf("CPUID.%02XH:%s", f->leaf, cpu_reg_name(f->reg));
}
