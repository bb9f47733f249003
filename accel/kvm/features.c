/* features.c: the table of CPUID feature names, the baselines, and the parser of -cpu.
 *
 * 1. Bits are those of Intel's SDM vol. 2 (CPUID), AMD's APM vol. 3 appendix E and the kernel's
 *    Documentation/virt/kvm/x86/cpuid.rst; names are those that people give to QEMU.
 * 2. '_' in a name is '-'. "+x" and "-x" win over "x=on|off", and "-x" over "+x". */
#include "accel/kvm/features.h"

#include <string.h>
#include "accel/kvm/kvm.h"
#include "util/bytes.h"

const FeatureWordInfo feature_words[FW_COUNT] = {
    [FW_1_EDX] = { 1, 0, false, REG_EDX, {
        "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", NULL, "sep", "mtrr",
        "pge", "mca", "cmov", "pat", "pse36", "pn", "clflush", NULL, "ds", "acpi", "mmx", "fxsr",
        "sse", "sse2", "ss", "ht", "tm", "ia64", "pbe" } },
    [FW_1_ECX] = { 1, 0, false, REG_ECX, {
        "pni", "pclmulqdq", "dtes64", "monitor", "ds-cpl", "vmx", "smx", "est", "tm2", "ssse3",
        "cid",
        NULL, "fma", "cx16", "xtpr", "pdcm", NULL, "pcid", "dca", "sse4.1", "sse4.2", "x2apic",
        "movbe",
        "popcnt", "tsc-deadline", "aes", "xsave", NULL /* osxsave */, "avx", "f16c", "rdrand",
        "hypervisor" } },
    [FW_6_EAX] = { 6, 0, false, REG_EAX, { [2] = "arat" } },
    [FW_7_0_EBX] = { 7, 0, true, REG_EBX, {
        "fsgsbase", "tsc-adjust", "sgx", "bmi1", "hle", "avx2", "fdp-excptn-only", "smep", "bmi2",
        "erms", "invpcid", "rtm", NULL, "zero-fcs-fds", "mpx", NULL, "avx512f", "avx512dq",
        "rdseed",
        "adx", "smap", "avx512ifma", "pcommit", "clflushopt", "clwb", "intel-pt", "avx512pf",
        "avx512er", "avx512cd", "sha-ni", "avx512bw", "avx512vl" } },
    [FW_7_0_ECX] = { 7, 0, true, REG_ECX, {
        [1] = "avx512vbmi", [2] = "umip", [3] = "pku", [5] = "waitpkg", [6] = "avx512vbmi2",
        [8] = "gfni", [9] = "vaes", [10] = "vpclmulqdq", [11] = "avx512vnni", [12] = "avx512bitalg",
        [14] = "avx512-vpopcntdq", [16] = "la57", [22] = "rdpid", [24] = "bus-lock-detect",
        [25] = "cldemote", [27] = "movdiri", [28] = "movdir64b", [30] = "sgxlc", [31] = "pks" } },
    [FW_7_0_EDX] = { 7, 0, true, REG_EDX, {
        [2] = "avx512-4vnniw", [3] = "avx512-4fmaps", [4] = "fsrm", [8] = "avx512-vp2intersect",
        [10] = "md-clear", [14] = "serialize", [16] = "tsx-ldtrk", [19] = "arch-lbr",
        [22] = "amx-bf16",
        [23] = "avx512-fp16", [24] = "amx-tile", [25] = "amx-int8", [26] = "spec-ctrl",
        [27] = "stibp",
        [28] = "flush-l1d", [29] = "arch-capabilities", [30] = "core-capability", [31] = "ssbd" } },
    [FW_7_1_EAX] = { 7, 1, true, REG_EAX, {
        [4] = "avx-vnni", [5] = "avx512-bf16", [7] = "cmpccxadd", [10] = "fzrm", [11] = "fsrs",
        [12] = "fsrc", [21] = "amx-fp16", [23] = "avx-ifma" } },
    [FW_7_1_EDX] = { 7, 1, true, REG_EDX, {
        [4] = "avx-vnni-int8", [5] = "avx-ne-convert", [8] = "amx-complex",
        [14] = "prefetchiti" } },
    [FW_D_1_EAX] = { 0xd, 1, true, REG_EAX, { "xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd" } },
    [FW_80000001_EDX] = { 0x80000001, 0, false, REG_EDX, {
        [11] = "syscall", [20] = "nx", [22] = "mmxext", [25] = "fxsr-opt", [26] = "pdpe1gb",
        [27] = "rdtscp", [29] = "lm", [30] = "3dnowext", [31] = "3dnow" } },
    [FW_80000001_ECX] = { 0x80000001, 0, false, REG_ECX, {
        "lahf-lm", "cmp-legacy", "svm", "extapic", "cr8legacy", "abm", "sse4a", "misalignsse",
        "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt", NULL, "lwp", "fma4", "tce", NULL,
        "nodeid-msr", NULL, "tbm", "topoext", "perfctr-core", "perfctr-nb" } },
    [FW_80000007_EDX] = { 0x80000007, 0, false, REG_EDX, { [8] = "invtsc" } },
    [FW_80000008_EBX] = { 0x80000008, 0, false, REG_EBX, {
        [0] = "clzero", [2] = "xsaveerptr", [9] = "wbnoinvd", [12] = "ibpb", [14] = "ibrs",
        [15] = "amd-stibp", [17] = "stibp-always-on", [24] = "amd-ssbd", [25] = "virt-ssbd",
        [26] = "amd-no-ssb", [28] = "amd-psfd" } },
    [FW_8000000A_EDX] = { 0x8000000a, 0, false, REG_EDX, {
        [0] = "npt", [1] = "lbrv", [2] = "svm-lock", [3] = "nrip-save", [4] = "tsc-scale",
        [5] = "vmcb-clean", [6] = "flushbyasid", [7] = "decodeassists", [10] = "pause-filter",
        [12] = "pfthreshold", [13] = "avic", [15] = "v-vmsave-vmload", [16] = "vgif", [25] = "vnmi",
        [28] = "svme-addr-chk" } },
    [FW_80000021_EAX] = { 0x80000021, 0, false, REG_EAX, {
        [0] = "no-nested-data-bp", [2] = "lfence-always-serializing", [6] = "null-sel-clr-base",
        [8] = "auto-ibrs" } },
    [FW_KVM_EAX] = { 0x40000001, 0, false, REG_EAX, {
        [0] = "kvmclock", [1] = "kvm-nopiodelay", [2] = "kvm-mmu", [3] = "kvmclock",
        [4] = "kvm-asyncpf", [5] = "kvm-steal-time", [6] = "kvm-pv-eoi", [7] = "kvm-pv-unhalt",
        [9] = "kvm-pv-tlb-flush", [10] = "kvm-asyncpf-vmexit", [11] = "kvm-pv-ipi",
        [12] = "kvm-poll-control", [13] = "kvm-pv-sched-yield", [14] = "kvm-asyncpf-int",
        [15] = "kvm-msi-ext-dest-id", [24] = "kvmclock-stable-bit" } },
    [FW_KVM_EDX] = { 0x40000001, 0, false, REG_EDX, { [0] = "kvm-hint-dedicated" } },
};

static const char *const aliases[][2] = {
    { "sse3", "pni" }, { "sse4-1", "sse4.1" }, { "sse4-2", "sse4.2" }, { "xd", "nx" },
    { "i64", "lm" },
    { "ffxsr", "fxsr-opt" }, { "pclmuldq", "pclmulqdq" },
};

/* fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 */
#define BASE_1_EDX 0x078bfbfdu
#define BASE_1_ECX 0x80202001u     /* pni cx16 x2apic hypervisor */
/* clock, nopiodelay, asyncpf, steal time, PV EOI, stable clock */
#define BASE_KVM 0x0100007bu

static const Baseline baselines[] = {
    { .name = "kvm64", .summary = "Common KVM processor, runs on any host", .family = 15,
    .model = 6,
      .stepping = 1, .level = 0xd, .xlevel = 0x80000008, .model_id = "Common KVM processor",
      .words = { [FW_1_EDX] = BASE_1_EDX, [FW_1_ECX] = BASE_1_ECX, [FW_KVM_EAX] = BASE_KVM,
                 [FW_80000001_EDX] = 0x20100800 } },
    { .name = "qemu64", .summary = "QEMU Virtual CPU version 2.5+, runs on any host", .family = 15,
      .model = 107, .stepping = 1, .level = 0xd, .xlevel = 0x8000000a,
      .model_id = "QEMU Virtual CPU version 2.5+",
      .words = { [FW_1_EDX] = BASE_1_EDX, [FW_1_ECX] = BASE_1_ECX, [FW_KVM_EAX] = BASE_KVM,
                 [FW_80000001_EDX] = 0x20100800, [FW_80000001_ECX] = 1 } },
};

/* Accepted because tools send them; KVM's own answer is used for each. */
static const char *const ignored[] = {
    "host-cache-info", "host-phys-bits", "legacy-cache", "full-cpuid-auto-level", "fill-mtrr-mask",
    "x-migrate-smi-count", "kvm-no-smi-migration", "x-vendor-cpuid-only", "min-level", "min-xlevel",
    NULL,
};

typedef struct Option {
    const char *name;
    enum { OPT_BOOL, OPT_INT, OPT_U32, OPT_U64, OPT_STR } kind;
    size_t at;
} Option;

static const Option options[] = {
    { "kvm", OPT_BOOL, offsetof(KvmCpuModel, kvm) },
    { "pmu", OPT_BOOL, offsetof(KvmCpuModel, pmu) },
    { "check", OPT_BOOL, offsetof(KvmCpuModel, check) },
    { "enforce", OPT_BOOL, offsetof(KvmCpuModel, enforce) },
    { "migratable", OPT_BOOL, offsetof(KvmCpuModel, migratable) },
    { "vmware-cpuid-freq", OPT_BOOL, offsetof(KvmCpuModel, vmware_freq) },
    { "l3-cache", OPT_BOOL, offsetof(KvmCpuModel, l3_cache) },
    { "kvm-pv-enforce-cpuid", OPT_BOOL, offsetof(KvmCpuModel, pv_enforce) },
    { "cpuid-0xb", OPT_BOOL, offsetof(KvmCpuModel, cpuid_0xb) },
    { "family", OPT_INT, offsetof(KvmCpuModel, family) },
    { "model", OPT_INT, offsetof(KvmCpuModel, model) },
    { "stepping", OPT_INT, offsetof(KvmCpuModel, stepping) },
    { "level", OPT_U32, offsetof(KvmCpuModel, level) },
    { "xlevel", OPT_U32, offsetof(KvmCpuModel, xlevel) },
    { "phys-bits", OPT_U32, offsetof(KvmCpuModel, phys_bits) },
    { "tsc-frequency", OPT_U64, offsetof(KvmCpuModel, tsc_hz) },
    { "vendor", OPT_STR, offsetof(KvmCpuModel, vendor) },
    { "model-id", OPT_STR, offsetof(KvmCpuModel, model_id) },
};

const Baseline *baseline_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(baselines); i++) {
        if (strcmp(baselines[i].name, name) == 0) {
            return &baselines[i];
        }
    }
    return NULL;
}

static void feature_bits(const char *name, uint32_t bits[FW_COUNT])
{
    for (unsigned i = 0; i < ARRAY_LEN(aliases); i++) {
        if (strcmp(aliases[i][0], name) == 0) {
            name = aliases[i][1];
        }
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *n = feature_words[w].names[b];

            bits[w] |= n && strcmp(n, name) == 0 ? 1u << b : 0;
        }
    }
}

bool feature_find(const char *name, FeatureWord *word, unsigned *bit)
{
    uint32_t bits[FW_COUNT] = { 0 };

    feature_bits(name, bits);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        if (bits[w]) {
            *word = w;
            *bit = __builtin_ctz(bits[w]);
            return true;
        }
    }
    return false;
}

/* --- parsing --- */

static bool parse_bool(const char *text, bool *out)
{
    if (strcmp(text, "on") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0) {
        *out = true;
        return true;
    }
    *out = false;
    return strcmp(text, "off") == 0 || strcmp(text, "no") == 0 || strcmp(text, "false") == 0;
}

static bool unknown_feature(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            if (feature_words[w].names[b]) {
                g_ptr_array_add(names, (char *)feature_words[w].names[b]);
            }
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        g_ptr_array_add(names, (char *)options[i].name);
    }
    g_ptr_array_add(names, NULL);
    error_set(errp, "-cpu: unknown feature or property '%s'", name);
    return error_suggest(errp, name, (const char *const *)names->pdata);
}

static bool set_feature(KvmCpuModel *m, const char *name, bool on, Error **errp)
{
    uint32_t bits[FW_COUNT] = { 0 };
    bool found = false;

    feature_bits(name, bits);
    for (unsigned w = 0; w < FW_COUNT; w++) {
        found |= bits[w] != 0;
        m->on[w] = on ? m->on[w] | bits[w] : m->on[w] & ~bits[w];
        m->off[w] = on ? m->off[w] & ~bits[w] : m->off[w] | bits[w];
    }
    return found || unknown_feature(name, errp);
}

static bool set_option(KvmCpuModel *m, const Option *o, const char *value, Error **errp)
{
    void *at = (char *)m + o->at;
    uint64_t n = 0;
    bool ok = true;

    switch (o->kind) {
    case OPT_BOOL:
        ok = parse_bool(value, at);
        m->pmu_set |= at == &m->pmu;
        break;
    case OPT_STR:
        g_free(*(char **)at);
        *(char **)at = g_strdup(value);
        ok = at != &m->vendor || strlen(value) == 12;
        break;
    default: {
        char *end;

        n = g_ascii_strtoull(value, &end, 0);
        ok = end != value && *end == '\0' && value[0] != '-' &&
             n <= (o->kind == OPT_U64 ? INT64_MAX : o->kind == OPT_INT ? 0xfff : UINT32_MAX);
        break;
    }
    }
    if (!ok) {
        return error_set(errp, "-cpu: '%s' is no value for %s", value, o->name);
    }
    if (o->kind == OPT_U64) {
        *(uint64_t *)at = n;
    } else if (o->kind == OPT_INT || o->kind == OPT_U32) {
        *(uint32_t *)at = n;
    }
    return true;
}

static bool set_key(KvmCpuModel *m, const char *key, const char *value, Error **errp)
{
    bool on;

    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        if (strcmp(options[i].name, key) == 0) {
            return set_option(m, &options[i], value, errp);
        }
    }
    if (g_strv_contains(ignored, key)) {
        return true;
    }
    if (!parse_bool(value, &on)) {
        uint32_t bits[FW_COUNT] = { 0 };
        FeatureWord w;
        unsigned b;

        feature_bits(key, bits);
        if (feature_find(key, &w, &b)) {
            return error_set(errp, "-cpu: '%s' is no value for %s (on or off)", value, key);
        }
        return unknown_feature(key, errp);
    }
    return set_feature(m, key, on, errp);
}

static bool parse_name(KvmCpuModel *m, const char *name, Error **errp)
{
    g_free(m->name);
    m->name = g_strdup(name[0] ? name : "host");
    m->host = strcmp(m->name, "host") == 0 || strcmp(m->name, "max") == 0;
    if (!m->host && !baseline_find(m->name)) {
        const char *const known[] = { "host", "max", baselines[0].name, baselines[1].name, NULL };

        error_set(errp, "-cpu: unknown model '%s'", m->name);
        return error_suggest(errp, m->name, known);
    }
    return true;
}

/* Words of the form "+x" and "-x" come after all others, "-x" last. */
static bool parse_words(KvmCpuModel *m, char **words, char sign, Error **errp)
{
    for (char **w = words; *w; w++) {
        char first = **w == '+' || **w == '-' ? **w : '=';
        char *value = strchr(*w, '=');

        if (first != sign || **w == '\0') {
            continue;
        }
        size_t length = value ? (size_t)(value - *w) : strlen(*w);
        g_autofree char *key = first == '=' ? g_strndup(*w, length) : g_strdup(*w + 1);
        g_strdelimit(key, "_", '-');
        if (!(first == '=' ? set_key(m, key, value ? value + 1 : "on", errp)
                           : set_feature(m, key, first == '+', errp))) {
            return false;
        }
    }
    return true;
}

bool cpu_model_parse(KvmCpuModel *out, const char *text, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text && text[0] ? text : "host", ",", -1);

    *out = (KvmCpuModel){ .kvm = true, .check = true, .migratable = true, .vmware_freq = true,
                          .l3_cache = true, .cpuid_0xb = true, .family = -1, .model = -1,
                          .stepping = -1 };
    if (!parse_name(out, words[0], errp)) {
        return false;
    }
    out->pmu = out->host;
    return parse_words(out, words + 1, '=', errp) && parse_words(out, words + 1, '+', errp) &&
           parse_words(out, words + 1, '-', errp);
}

void cpu_model_clear(KvmCpuModel *m)
{
    g_clear_pointer(&m->name, g_free);
    g_clear_pointer(&m->vendor, g_free);
    g_clear_pointer(&m->model_id, g_free);
}

char *kvm_cpu_help(void)
{
    GString *out = g_string_new("Available CPUs:\n");

    g_string_append_printf(out, "x86 %-20s  %s\n", "host",
                           "all features of the host (only with KVM)");
    for (unsigned i = 0; i < ARRAY_LEN(baselines); i++) {
        g_string_append_printf(out, "x86 %-20s  %s\n", baselines[i].name, baselines[i].summary);
    }
    g_string_append_printf(out, "x86 %-20s  %s\n", "max", "all features that the accelerator has");
    g_string_append(out, "\nRecognized CPUID flags:\n");
    unsigned column = 0;
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 32; b++) {
            const char *n = feature_words[w].names[b];

            if (!n) {
                continue;
            }
            if (column + strlen(n) > 74) {
                g_string_append_c(out, '\n');
                column = 0;
            }
            g_string_append_printf(out, "%s%s", column ? " " : "  ", n);
            column += strlen(n) + 1;
        }
    }
    g_string_append_c(out, '\n');
    return g_string_free(out, FALSE);
}
