/* cpu-resolve.c: from a model and what was set by name to the features a guest gets on this host.
 *
 *   expand   the model's words; for host and max all that KVM offers; then what was set by name; then out
 *            with what lacks another feature; then the XSAVE components; then the levels
 *   filter   out with what the host lacks, told, or an error with enforce
 *
 * 1. A feature that a model has and the host lacks is told as loudly as one asked for by name: the guest
 *    would otherwise miss it silently, and not find it after a migration. */
#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include "accel/kvm/cpu.h"
#include "util/bytes.h"

#define BIT(n) (1u << (n))
/* kvmclock (both), nopiodelay, asyncpf, steal time, PV EOI, stable clock: what every model has. */
#define MODEL_KVM_BITS 0x0100007bu

/* Features that host and max have only if asked for: a hint, and what belongs to a topology. */
static uint64_t no_auto(FeatureWord w)
{
    return w == FW_KVM_EDX ? BIT(0) : w == FW_80000001_ECX ? BIT(22) : 0;
}

/* Those of @bits that a migration keeps: features with a name, and no constant TSC, which ties a guest to its
 * host. */
static uint64_t migratable(FeatureWord w, uint64_t bits)
{
    uint64_t keep = 0;

    for (uint64_t left = w == FW_80000007_EDX ? 0 : bits; left != 0; left &= left - 1) {
        keep |= feature_name(w, __builtin_ctzll(left)) != NULL ? left & -left : 0;
    }
    return keep;
}

static void start_words(KvmCpuModel *m, const KvmOffer *o)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint64_t base = m->row != NULL ? m->row->words[w] : 0;

        if (m->host && o != NULL) {
            base = o->words[w] & ~no_auto(w);
            base = m->prop[P_MIGRATABLE] ? migratable(w, base) : base;
        }
        m->words[w] = (base & ~m->user[w]) | m->value[w];
    }
    if (m->row != NULL) {
        m->words[FW_KVM_EAX] |= MODEL_KVM_BITS & ~m->user[FW_KVM_EAX];
        m->words[FW_1_ECX] |= BIT(21) & ~m->user[FW_1_ECX];
    }
    if (!m->prop[P_KVM]) {
        m->words[FW_KVM_EAX] = 0;
    }
    if (!m->prop[P_PMU]) {
        m->words[FW_1_ECX] &= ~BIT(15);     /* PDCM: its MSR is about counters */
    }
}

static void warn_bits(const char *text, FeatureWord w, uint64_t bits)
{
    g_autofree char *word = bits != 0 ? feature_word_text(w) : NULL;
    bool state = w == FW_XCR0_LO || w == FW_XCR0_HI || w == FW_XSS_LO || w == FW_XSS_HI;

    for (; bits != 0; bits &= bits - 1) {
        unsigned b = __builtin_ctzll(bits);
        const char *n = state ? NULL : feature_words[w].names[b];

        warn_report("%s: %s%s%s [bit %u]", text, word, n ? "." : "", n ? n : "", b);
    }
}

static void drop_dependents(KvmCpuModel *m, bool quiet)
{
    for (unsigned i = 0; i < feature_dep_count; i++) {
        const FeatureDep *d = &feature_deps[i];
        uint64_t lost = m->words[d->word] & d->mask;

        if (feature_has(m->words, d->need, d->need_bit) || lost == 0) {
            continue;
        }
        m->words[d->word] &= ~d->mask;
        if (!quiet && m->prop[P_CHECK]) {
            warn_bits("This feature depends on other features that were not requested", d->word,
                      lost & m->value[d->word]);
        }
    }
}

/* The components of XSAVE's state are those of the features that are on; x87 and SSE are always. */
static void set_components(KvmCpuModel *m)
{
    uint64_t xcr0 = 3, xss = 0;
    bool xsave = feature_has(m->words, FW_1_ECX, 26);

    for (unsigned i = 0; i < xsave_area_count; i++) {
        const XsaveArea *a = &xsave_areas[i];

        if (feature_has(m->words, a->word, a->bit)) {
            *(a->supervisor ? &xss : &xcr0) |= UINT64_C(1) << a->component;
        }
    }
    m->words[FW_XCR0_LO] = xsave ? (uint32_t)xcr0 : 0;
    m->words[FW_XCR0_HI] = xsave ? xcr0 >> 32 : 0;
    m->words[FW_XSS_LO] = xsave ? (uint32_t)xss : 0;
    m->words[FW_XSS_HI] = xsave ? xss >> 32 : 0;
}

static void raise_to(KvmCpuModel *m, CpuProp p, uint32_t leaf)
{
    m->prop[p] = MAX((uint32_t)m->prop[p], leaf);
}

/* A leaf that has a feature must be within the level. */
static void raise_levels(KvmCpuModel *m)
{
    static const FeatureWord raising[] = {
        FW_7_0_EBX, FW_7_0_ECX, FW_7_0_EDX, FW_7_1_EAX, FW_6_EAX, FW_D_1_EAX, FW_80000001_EDX,
        FW_80000001_ECX, FW_80000007_EDX, FW_80000008_EBX, FW_8000000A_EDX, FW_C0000001_EDX,
    };

    for (unsigned i = 0; i < ARRAY_LEN(raising); i++) {
        uint32_t leaf = feature_words[raising[i]].leaf;
        CpuProp p = leaf >= 0xc0000000 ? P_MIN_XLEVEL2 : leaf >= 0x80000000 ? P_MIN_XLEVEL : P_MIN_LEVEL;

        if (m->words[raising[i]] != 0) {
            raise_to(m, p, leaf);
        }
        if (!m->prop[P_AUTO_LEVEL]) {
            return;                         /* leaf 7's first word is raised for always */
        }
    }
    if (feature_has(m->words, FW_7_0_EBX, 25) && m->prop[P_PT_AUTO_LEVEL]) {
        raise_to(m, P_MIN_LEVEL, 0x14);
    }
    if (feature_has(m->words, FW_7_0_EBX, 2)) {
        raise_to(m, P_MIN_LEVEL, 0x12);
    }
    if (feature_has(m->words, FW_80000001_ECX, 2)) {
        raise_to(m, P_MIN_XLEVEL, 0x8000000a);
    }
}

static void set_levels(KvmCpuModel *m)
{
    static const CpuProp least[][2] = {
        { P_LEVEL, P_MIN_LEVEL }, { P_XLEVEL, P_MIN_XLEVEL }, { P_XLEVEL2, P_MIN_XLEVEL2 },
    };

    m->level_set = m->prop[P_LEVEL] != CPU_UNSET_U32;
    raise_levels(m);
    if (m->prop[P_LEVEL_FUNC7] == CPU_UNSET_U32) {
        m->prop[P_LEVEL_FUNC7] = m->prop[P_AUTO_LEVEL] && m->words[FW_7_1_EAX] != 0;
    }
    for (unsigned i = 0; i < ARRAY_LEN(least); i++) {
        if (m->prop[least[i][0]] == CPU_UNSET_U32) {
            m->prop[least[i][0]] = m->prop[least[i][1]];
        }
    }
}

void cpu_expand(KvmCpuModel *m, const KvmOffer *o, bool quiet)
{
    start_words(m, o);
    drop_dependents(m, quiet);
    set_components(m);
    set_levels(m);
    m->resolved = true;
}

/* What Intel PT must have to be shown as the fixed capabilities of leaf 0x14 (cpuid.c). */
static bool intel_pt_usable(const KvmCpuModel *m, const KvmOffer *o)
{
    const struct kvm_cpuid_entry2 *zero = cpuid_find(o->cpuid, 0x14, 0), *one = cpuid_find(o->cpuid, 0x14, 1);
    uint32_t ecx = cpuid_reg(zero, REG_ECX);

    return cpuid_reg(zero, REG_EAX) >= 1 && (cpuid_reg(zero, REG_EBX) & 0xf) == 0xf && (ecx & 7) == 7 &&
           (cpuid_reg(one, REG_EAX) & 0x0249fff8) == 0x02490000 && (cpuid_reg(one, REG_EAX) & 7) >= 2 &&
           (cpuid_reg(one, REG_EBX) & 0x003f1fff) == 0x003f1fff &&
           ((ecx ^ m->words[FW_14_0_ECX]) & BIT(31)) == 0;
}

static bool filter_lbr(KvmCpuModel *m, const KvmOffer *o, Error **errp)
{
    int64_t fmt = m->prop[P_LBR_FMT];

    if (fmt == LBR_FMT_UNSET) {
        return true;
    }
    if (!m->prop[P_PMU]) {
        return error_set(errp, "vPMU: LBR is unsupported without pmu=on");
    }
    if ((fmt & ~INT64_C(0x3f)) || (o->words[FW_PERF_CAP] & 0x3f) != (uint64_t)fmt) {
        return error_set(errp, "vPMU: the lbr-fmt value (0x%" PRIx64 ") does not match the host value (0x%"
                         PRIx64 ").", (uint64_t)fmt, o->words[FW_PERF_CAP] & 0x3f);
    }
    m->words[FW_PERF_CAP] |= fmt;
    return true;
}

bool cpu_filter(KvmCpuModel *m, const KvmOffer *o, bool quiet, Error **errp)
{
    bool tell = !quiet && (m->prop[P_CHECK] || m->prop[P_ENFORCE]), all = true;

    if (!filter_lbr(m, o, errp)) {
        return false;
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        uint64_t missing = m->words[w] & ~o->words[w];

        if (w == FW_7_0_EBX && (m->words[w] & BIT(25)) && !intel_pt_usable(m, o)) {
            missing |= BIT(25);
        }
        m->filtered[w] = missing;
        m->words[w] &= m->prop[P_FORCE_FEATURES] ? UINT64_MAX : ~missing;
        all = all && missing == 0;
        if (tell) {
            warn_bits("host doesn't support requested feature", w, missing);
        }
    }
    if (m->prop[P_ENFORCE] && !all && !quiet) {
        return error_set(errp, "Host doesn't support requested features");
    }
    return true;
}

bool cpu_phys_bits(KvmCpuModel *m, const KvmOffer *o, Error **errp)
{
    unsigned limit = m->prop[P_HOST_PHYS_BITS_LIMIT], wanted = m->prop[P_PHYS_BITS];

    if (!feature_has(m->words, FW_80000001_EDX, 29)) {
        m->phys_bits = feature_has(m->words, FW_1_EDX, 17) ? 36 : 32;
        return wanted == 0 || m->prop[P_HOST_PHYS_BITS] ||
               error_set(errp, "phys-bits is not user-configurable in 32 bit");
    }
    if (m->prop[P_HOST_PHYS_BITS] && wanted == 0) {
        wanted = limit != 0 ? MIN(o->phys_bits, limit) : o->phys_bits;
    } else if (wanted != 0 && wanted != o->phys_bits) {
        warn_report("Host physical bits (%u) does not match phys-bits property (%u)", o->phys_bits, wanted);
    }
    if (wanted != 0 && (wanted < 32 || wanted > 52)) {
        return error_set(errp, "phys-bits should be between 32 and 52  (but is %u)", wanted);
    }
    m->phys_bits = wanted != 0 ? wanted : 40;
    return true;
}

void cpu_list_features(const uint64_t words[FW_COUNT], json_t *out)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            const char *n = words[w] >> b & 1 ? feature_name(w, b) : NULL;

            if (n != NULL) {
                json_array_append_new(out, json_string(n));
            }
        }
    }
}
