/* cpu.c: the properties of a processor model, and -cpu's text.
 *
 * 1. Names and their errors read as QEMU's. '_' in a name of -cpu's text is '-'; "+x" and "-x" win over
 *    "x=on|off", and "-x" over "+x".
 * 2. Setting a property only notes it: what it does to features is up to cpu-resolve.c. */
#include "accel/kvm/cpu.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include "accel/kvm/kvm.h"
#include "qapi/json.h"
#include "util/bytes.h"

#define BOOL(n, d, h) { .name = n, .kind = CPK_BOOL, .def = d, .help = h }
#define HV(n, h) { .name = n, .kind = CPK_BOOL, .help = h }
#define NUM(n, k, d, h) { .name = n, .kind = CPK_##k, .def = d, .help = h }
#define PLACE(n, k, d) \
    { .name = n, .kind = CPK_##k, .def = d, .flags = CPF_PLACE, .help = "place of the processor" }

const CpuPropInfo cpu_props[P_COUNT] = {
    [P_CHECK] = BOOL("check", 1, "warn of features the host lacks"),
    [P_ENFORCE] = BOOL("enforce", 0, "fail if the host lacks a feature"),
    [P_FORCE_FEATURES] = BOOL("x-force-features", 0, "show features that the host lacks"),
    [P_KVM] = BOOL("kvm", 1, "tell the guest that it runs on KVM"),
    [P_PMU] = BOOL("pmu", 0, "the host's performance counters"),
    [P_MIGRATABLE] = { .name = "migratable", .kind = CPK_BOOL, .def = 1, .flags = CPF_HOST_ONLY,
                       .help = "only features that a migration can keep" },
    [P_HOST_CACHE_INFO] = { .name = "host-cache-info", .kind = CPK_BOOL, .flags = CPF_HOST_ONLY,
                            .help = "the host's caches" },
    [P_L3_CACHE] = BOOL("l3-cache", 1, "show a level 3 cache"),
    [P_LEGACY_CACHE] = { .name = "legacy-cache", .kind = CPK_BOOL, .def = 1, .flags = CPF_UNSET,
                         .help = "common caches, not the model's" },
    [P_CPUID_0XB] = BOOL("cpuid-0xb", 1, "topology in leaf 0xb"),
    [P_AUTO_LEVEL] = BOOL("full-cpuid-auto-level", 1, "raise levels to show all features"),
    [P_PT_AUTO_LEVEL] = BOOL("x-intel-pt-auto-level", 1, "raise the level to show Intel PT"),
    [P_HOST_PHYS_BITS] = BOOL("host-phys-bits", 0, "as many address bits as the host has"),
    [P_HOST_PHYS_BITS_LIMIT] = NUM("host-phys-bits-limit", U8, 0, "most of them, 0: all"),
    [P_PHYS_BITS] = NUM("phys-bits", U32, 0, "physical address bits, 0: the model's"),
    [P_PV_ENFORCE] = BOOL("kvm-pv-enforce-cpuid", 0, "refuse paravirtual features that are not shown"),
    [P_LMCE] = { .name = "lmce", .kind = CPK_BOOL, .flags = CPF_STATIC, .help = "local machine checks" },
    [P_VMWARE_FREQ] = BOOL("vmware-cpuid-freq", 1, "rates of TSC and APIC in leaf 0x40000010"),
    [P_VENDOR_CPUID_ONLY] = BOOL("x-vendor-cpuid-only", 1, "no leaves of another vendor"),
    [P_FILL_MTRR_MASK] = BOOL("fill-mtrr-mask", 1, "for old machine types: saved state always has them"),
    [P_NO_SMI_MIGRATION] = BOOL("kvm-no-smi-migration", 0, "for old machine types: without effect"),
    [P_MIGRATE_SMI_COUNT] = BOOL("x-migrate-smi-count", 1, "for old machine types: without effect"),
    [P_TCG_CPUID] = BOOL("tcg-cpuid", 1, "of another accelerator: without effect"),
    [P_FAMILY] = { .name = "family", .kind = CPK_INT, .max = 0x10e,
                   .flags = CPF_STATIC | CPF_LATE | CPF_UNSET, .help = "family number" },
    [P_MODEL] = { .name = "model", .kind = CPK_INT, .max = 0xff, .flags = CPF_STATIC | CPF_LATE | CPF_UNSET,
                  .help = "model number" },
    [P_STEPPING] = { .name = "stepping", .kind = CPK_INT, .max = 0xf,
                     .flags = CPF_STATIC | CPF_LATE | CPF_UNSET, .help = "stepping number" },
    [P_VENDOR] = { .name = "vendor", .kind = CPK_STR, .flags = CPF_STATIC | CPF_LATE | CPF_UNSET,
                   .help = "12 characters" },
    [P_MODEL_ID] = { .name = "model-id", .kind = CPK_STR, .flags = CPF_STATIC | CPF_LATE | CPF_UNSET,
                     .help = "up to 48 characters" },
    [P_LEVEL] = NUM("level", U32, CPU_UNSET_U32, "highest basic leaf"),
    [P_LEVEL_FUNC7] = NUM("level-func7", U32, CPU_UNSET_U32, "highest index of leaf 7"),
    [P_XLEVEL] = NUM("xlevel", U32, CPU_UNSET_U32, "highest extended leaf"),
    [P_XLEVEL2] = NUM("xlevel2", U32, CPU_UNSET_U32, "highest leaf of 0xc0000000"),
    [P_MIN_LEVEL] = { .name = "min-level", .kind = CPK_U32, .flags = CPF_STATIC, .help = "least level" },
    [P_MIN_XLEVEL] = { .name = "min-xlevel", .kind = CPK_U32, .flags = CPF_STATIC, .help = "least xlevel" },
    [P_MIN_XLEVEL2] = NUM("min-xlevel2", U32, 0, "least xlevel2"),
    [P_TSC_FREQUENCY] = { .name = "tsc-frequency", .kind = CPK_INT, .max = INT64_MAX,
                          .flags = CPF_LATE | CPF_UNSET, .help = "rate of the time stamp counter in Hz" },
    [P_UCODE_REV] = NUM("ucode-rev", U64, 0, "microcode revision, 0: the vendor's usual"),
    [P_LBR_FMT] = { .name = "lbr-fmt", .kind = CPK_U64, .def = LBR_FMT_UNSET, .flags = CPF_UNSET,
                    .help = "format of last branch records" },
    [P_APIC_ID] = PLACE("apic-id", U32, CPU_UNSET_U32), [P_NODE_ID] = PLACE("node-id", I32, -1),
    [P_SOCKET_ID] = PLACE("socket-id", I32, -1), [P_DIE_ID] = PLACE("die-id", I32, -1),
    [P_CORE_ID] = PLACE("core-id", I32, -1), [P_THREAD_ID] = PLACE("thread-id", I32, -1),
    [P_START_OFF] = { .name = "start-powered-off", .kind = CPK_BOOL, .flags = CPF_PLACE | CPF_UNSET,
                      .help = "for boards: always off" },
    [P_REALIZED] = { .name = "realized", .kind = CPK_BOOL, .flags = CPF_PLACE | CPF_UNSET,
                     .help = "it is part of the machine" },
    [P_HV_RELAXED] = HV("hv-relaxed", "no watchdog on late timers"),
    [P_HV_VAPIC] = HV("hv-vapic", "APIC registers as MSRs"),
    [P_HV_SPINLOCKS] = NUM("hv-spinlocks", U32, UINT32_MAX, "attempts before a spinlock tells the host"),
    [P_HV_VPINDEX] = HV("hv-vpindex", "processor number MSR"),
    [P_HV_RUNTIME] = HV("hv-runtime", "run time MSR"),
    [P_HV_CRASH] = HV("hv-crash", "the guest reports its crash"),
    [P_HV_TIME] = HV("hv-time", "reference counter and TSC page"),
    [P_HV_SYNIC] = HV("hv-synic", "synthetic interrupt controller"),
    [P_HV_STIMER] = HV("hv-stimer", "synthetic timers"),
    [P_HV_STIMER_DIRECT] = HV("hv-stimer-direct", "synthetic timers as plain interrupts"),
    [P_HV_RESET] = HV("hv-reset", "reset MSR"),
    [P_HV_FREQUENCIES] = HV("hv-frequencies", "TSC and APIC frequency MSRs"),
    [P_HV_REENLIGHTENMENT] = HV("hv-reenlightenment", "told of a changed TSC rate"),
    [P_HV_TLBFLUSH] = HV("hv-tlbflush", "TLB flush by hypercall"),
    [P_HV_TLBFLUSH_EXT] = HV("hv-tlbflush-ext", "with lists of ranges"),
    [P_HV_TLBFLUSH_DIRECT] = HV("hv-tlbflush-direct", "of nested guests too"),
    [P_HV_IPI] = HV("hv-ipi", "interprocessor interrupts by hypercall"),
    [P_HV_EVMCS] = HV("hv-evmcs", "enlightened VMCS of nested guests"),
    [P_HV_EMSR_BITMAP] = HV("hv-emsr-bitmap", "enlightened MSR bitmap of nested guests"),
    [P_HV_AVIC] = HV("hv-avic", "no auto EOI, so that APIC hardware can be used"),
    [P_HV_APICV] = HV("hv-apicv", "the same as hv-avic"),
    [P_HV_XMM_INPUT] = HV("hv-xmm-input", "hypercall input in XMM registers"),
    [P_HV_SYNDBG] = HV("hv-syndbg", "synthetic debugger"),
    [P_HV_VENDOR_ID] = { .name = "hv-vendor-id", .kind = CPK_STR, .flags = CPF_UNSET,
                         .help = "hypervisor vendor, up to 12 characters" },
    [P_HV_CORESHARING] = NUM("hv-no-nonarch-coresharing", ONOFFAUTO, 0,
                             "threads of other cores never share a core"),
    [P_HV_PASSTHROUGH] = BOOL("hv-passthrough", 0, "every enlightenment of the host"),
    [P_HV_ENFORCE_CPUID] = BOOL("hv-enforce-cpuid", 0, "refuse enlightenments that are not shown"),
    [P_HV_VERSION_BUILD] = NUM("hv-version-id-build", U32, 14393, "version: build"),
    [P_HV_VERSION_MAJOR] = NUM("hv-version-id-major", U16, 10, "version: major"),
    [P_HV_VERSION_MINOR] = NUM("hv-version-id-minor", U16, 0, "version: minor"),
    [P_HV_VERSION_SPACK] = NUM("hv-version-id-spack", U32, 0, "version: service pack"),
    [P_HV_VERSION_SBRANCH] = NUM("hv-version-id-sbranch", U8, 0, "version: service branch"),
    [P_HV_VERSION_SNUMBER] = NUM("hv-version-id-snumber", U32, 0, "version: service number"),
    [P_HV_MAX_VPS] = NUM("x-hv-max-vps", I32, -1, "largest number of processors told"),
    [P_HV_SYNIC_KVM_ONLY] = BOOL("x-hv-synic-kvm-only", 0, "messages of KVM alone"),
};

/* --- one property --- */

static bool parse_bool(const char *text, bool *out)
{
    *out = strcmp(text, "on") == 0 || strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 ||
           strcmp(text, "y") == 0;
    return *out || strcmp(text, "off") == 0 || strcmp(text, "no") == 0 || strcmp(text, "false") == 0 ||
           strcmp(text, "n") == 0;
}

/* Fills @out from text or JSON; what the value of @name must be is told otherwise. */
static bool read_bool(const char *name, const char *text, json_t *json, bool *out, Error **errp)
{
    if (json != NULL) {
        *out = json_is_true(json);
        return json_is_boolean(json) ||
               error_set(errp, "Invalid parameter type for '%s', expected: boolean", name);
    }
    return parse_bool(text, out) || error_set(errp, "Parameter '%s' expects 'on' or 'off'", name);
}

static const struct { const char *word, *narrow; int64_t lo; uint64_t hi; } number_kinds[] = {
    [CPK_INT] = { "int64", "int64", INT64_MIN, INT64_MAX },
    [CPK_U8] = { "uint64", "uint8_t", 0, UINT8_MAX },
    [CPK_U16] = { "uint64", "uint16_t", 0, UINT16_MAX },
    [CPK_U32] = { "uint64", "uint32_t", 0, UINT32_MAX },
    [CPK_U64] = { "uint64", "uint64", 0, UINT64_MAX },
    [CPK_I32] = { "int64", "int32_t", INT32_MIN, INT32_MAX },
};

static bool read_number(const CpuPropInfo *p, const char *text, json_t *json, int64_t *out, Error **errp)
{
    bool is_signed = p->kind == CPK_INT || p->kind == CPK_I32;
    uint64_t big;
    char *end;

    if (json != NULL) {
        if (!json_big(json, &big) && !json_is_integer(json)) {
            return error_set(errp, "Invalid parameter type for '%s', expected: integer", p->name);
        }
        *out = json_big(json, &big) ? (int64_t)big : json_integer_value(json);
        is_signed = is_signed || !json_big(json, NULL);
    } else {
        errno = 0;
        *out = is_signed ? g_ascii_strtoll(text, &end, 0) : (int64_t)g_ascii_strtoull(text, &end, 0);
        if (end == text || *end != '\0' || errno != 0) {
            return error_set(errp, "Parameter '%s' expects %s", p->name, number_kinds[p->kind].word);
        }
    }
    bool small = is_signed && *out < 0 ? *out >= number_kinds[p->kind].lo
                                       : (uint64_t)*out <= number_kinds[p->kind].hi;
    return small || error_set(errp, "Parameter '%s' expects %s", p->name, number_kinds[p->kind].narrow);
}

static bool set_vendor(KvmCpuModel *m, const char *text, Error **errp)
{
    if (strlen(text) != CPU_VENDOR_LEN) {
        return error_set(errp, "Property '.vendor' doesn't take value '%s'", text);
    }
    memcpy(m->vendor, text, CPU_VENDOR_LEN);
    m->vendor_set = true;
    return true;
}

static bool set_string(KvmCpuModel *m, CpuProp p, const char *text, json_t *json, Error **errp)
{
    if (json != NULL && !json_is_string(json)) {
        return error_set(errp, "Invalid parameter type for '%s', expected: string", cpu_props[p].name);
    }
    const char *s = json != NULL ? json_string_value(json) : text;
    switch (p) {
    case P_VENDOR:
        return set_vendor(m, s, errp);
    case P_MODEL_ID:
        memset(m->model_id, 0, sizeof(m->model_id));
        memcpy(m->model_id, s, MIN(strlen(s), sizeof(m->model_id) - 1));
        m->model_id_set = true;
        return true;
    default:
        m->hv_truncated = strlen(s) > CPU_VENDOR_LEN;
        memset(m->hv_vendor, 0, sizeof(m->hv_vendor));
        memcpy(m->hv_vendor, s, MIN(strlen(s), CPU_VENDOR_LEN));
        return true;
    }
}

static bool set_on_off_auto(KvmCpuModel *m, CpuProp p, const char *text, json_t *json, Error **errp)
{
    const char *s = json == NULL ? text : json_is_string(json) ? json_string_value(json) : "";
    bool on;

    if (strcmp(s, "auto") == 0) {
        m->prop[p] = 2;
        return true;
    }
    if (!parse_bool(s, &on)) {
        return error_set(errp, "Parameter '%s' does not accept value '%s'", cpu_props[p].name, s);
    }
    m->prop[p] = on;
    return true;
}

static bool set_prop(KvmCpuModel *m, CpuProp p, const char *text, json_t *json, Error **errp)
{
    const CpuPropInfo *info = &cpu_props[p];
    int64_t n = 0;
    bool on = false;

    m->touched[p] = true;
    switch (info->kind) {
    case CPK_BOOL:
        if (!read_bool(info->name, text, json, &on, errp)) {
            return false;
        }
        n = on;
        break;
    case CPK_STR:
        return set_string(m, p, text, json, errp);
    case CPK_ONOFFAUTO:
        return set_on_off_auto(m, p, text, json, errp);
    default:
        if (!read_number(info, text, json, &n, errp)) {
            return false;
        }
    }
    if (info->kind == CPK_INT && (n < 0 || n > info->max)) {
        return error_set(errp, "Property .%s doesn't take value %" PRId64 " (minimum: 0, maximum: %" PRId64
                         ")", info->name, n, info->max);
    }
    if ((info->flags & CPF_PLACE) && n != info->def) {
        return error_set(errp, "Property '%s' is not set by -cpu: %s", info->name,
                         p == P_START_OFF ? "processors of this machine start running"
                                          : "-smp gives the topology");
    }
    m->prop[p] = n;
    return true;
}

int cpu_prop_find(const KvmCpuModel *m, const char *name)
{
    if (strcmp(name, "lbr_fmt") == 0) {
        return P_LBR_FMT;
    }
    for (unsigned i = 0; i < P_COUNT; i++) {
        if (strcmp(cpu_props[i].name, name) == 0) {
            return (cpu_props[i].flags & CPF_HOST_ONLY) && m != NULL && !m->host ? -1 : (int)i;
        }
    }
    return -1;
}

static bool unknown_property(const KvmCpuModel *m, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            if (feature_words[w].names[b]) {
                g_ptr_array_add(names, (char *)feature_words[w].names[b]);
            }
        }
    }
    for (unsigned i = 0; i < P_COUNT; i++) {
        if (m->host || !(cpu_props[i].flags & CPF_HOST_ONLY)) {
            g_ptr_array_add(names, (char *)cpu_props[i].name);
        }
    }
    g_ptr_array_add(names, NULL);
    error_set(errp, "Property '%s-x86_64-cpu.%s' not found", m->name, name);
    return error_suggest(errp, name, (const char *const *)names->pdata);
}

bool cpu_set(KvmCpuModel *m, const char *name, const char *text, json_t *json, Error **errp)
{
    static const char *const read_only[] = { "feature-words", "filtered-features", "unavailable-features",
                                             "crash-information", "hotplugged", NULL };
    uint64_t bits[FW_COUNT] = { 0 };
    int p = cpu_prop_find(m, name);
    bool on;

    if (p >= 0) {
        return set_prop(m, p, text, json, errp);
    }
    if (g_strv_contains(read_only, name)) {
        return error_set(errp, "Property '%s-x86_64-cpu.%s' is not writable", m->name, name);
    }
    if (!feature_find(name, bits)) {
        return unknown_property(m, name, errp);
    }
    if (!read_bool(name, text, json, &on, errp)) {
        return false;
    }
    for (unsigned w = 0; w < FW_COUNT; w++) {
        m->user[w] |= bits[w];
        m->value[w] = on ? m->value[w] | bits[w] : m->value[w] & ~bits[w];
    }
    return true;
}

/* --- a model's defaults --- */

static bool unknown_model(const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    for (unsigned i = 0; i < cpu_model_count; i++) {
        g_ptr_array_add(names, (char *)cpu_models[i].name);
    }
    for (unsigned i = 0; i < cpu_model_alias_count; i++) {
        g_ptr_array_add(names, (char *)cpu_model_aliases[i].alias);
    }
    g_ptr_array_add(names, (char *)"host");
    g_ptr_array_add(names, (char *)"max");
    g_ptr_array_add(names, NULL);
    error_set(errp, "unable to find CPU model '%s'", name);
    return error_suggest(errp, name, (const char *const *)names->pdata);
}

static void row_defaults(KvmCpuModel *m)
{
    const CpuModel *r = m->row;

    m->prop[P_FAMILY] = r->family;
    m->prop[P_MODEL] = r->model;
    m->prop[P_STEPPING] = r->stepping;
    m->prop[P_MIN_LEVEL] = r->level;
    m->prop[P_MIN_XLEVEL] = r->xlevel;
    m->prop[P_LEGACY_CACHE] = r->caches == NULL;
    g_strlcpy(m->model_id, r->model_id, sizeof(m->model_id));
    g_strlcpy(m->vendor, cpu_vendor_text(r->vendor), sizeof(m->vendor));
}

static void host_defaults(KvmCpuModel *m, const KvmOffer *o)
{
    m->prop[P_PMU] = m->prop[P_HOST_PHYS_BITS] = 1;
    if (o == NULL) {
        return;
    }
    m->prop[P_FAMILY] = o->family;
    m->prop[P_MODEL] = o->model;
    m->prop[P_STEPPING] = o->stepping;
    m->prop[P_MIN_LEVEL] = o->level;
    m->prop[P_MIN_XLEVEL] = o->xlevel;
    m->prop[P_MIN_XLEVEL2] = o->xlevel2;
    memcpy(m->model_id, o->model_id, sizeof(m->model_id));
    memcpy(m->vendor, o->vendor, sizeof(m->vendor));
}

bool cpu_init(KvmCpuModel *m, const char *name, const KvmOffer *o, Error **errp)
{
    *m = (KvmCpuModel){ .row = cpu_model_find(name) };
    m->host = strcmp(name, "host") == 0 || strcmp(name, "max") == 0;
    if (m->row == NULL && !m->host && strcmp(name, "base") != 0) {
        return unknown_model(name, errp);
    }
    m->name = g_strdup(name);
    for (unsigned i = 0; i < P_COUNT; i++) {
        m->prop[i] = cpu_props[i].def;
    }
    if (m->row != NULL) {
        row_defaults(m);
        if (o != NULL) {                    /* the guest's kernel chooses instructions by the vendor */
            memcpy(m->vendor, o->vendor, sizeof(m->vendor));
        }
    } else if (m->host) {
        host_defaults(m, o);
    }
    return true;
}

void cpu_clear(KvmCpuModel *m)
{
    g_clear_pointer(&m->name, g_free);
}

/* --- -cpu's text --- */

/* "tsc-freq=2.4G": a rate with a decimal unit. */
static bool set_tsc_freq(KvmCpuModel *m, const char *value, Error **errp)
{
    char *end;
    double n = g_ascii_strtod(value, &end);
    const char *units = "KMGT", *unit = *end ? strchr(units, g_ascii_toupper(*end)) : NULL;

    for (const char *u = units; unit != NULL && u <= unit; u++) {
        n *= 1000;
    }
    end += unit != NULL;
    if (end == value || *end != '\0' || !(n >= 0 && n < 1e15)) {
        return error_set(errp, "bad numerical value %s", value);
    }
    m->prop[P_TSC_FREQUENCY] = n;
    return true;
}

static void undash(char *name)
{
    for (; *name; name++) {
        *name = *name == '_' ? '-' : *name;
    }
}

static bool apply_word(KvmCpuModel *m, char *word, Error **errp)
{
    char *equals = strchr(word, '=');
    const char *value = "on";
    Error *err = NULL;

    if (equals != NULL) {
        *equals = '\0';
        value = equals + 1;
    }
    undash(word);
    if (strcmp(word, "tsc-freq") == 0) {
        return set_tsc_freq(m, value, errp);
    }
    bool known = cpu_prop_find(m, word) >= 0, ok = cpu_set(m, word, value, NULL, &err);
    uint64_t bits[FW_COUNT] = { 0 };
    if (!ok && (known || feature_find(word, bits))) {
        error_context(&err, "can't apply global %s-x86_64-cpu.%s=%s", m->name, word, value);
    }
    return ok || error_move(errp, err);
}

/* Words of the form "+x" and "-x" come after all others, "-x" last. */
static bool apply_signed(KvmCpuModel *m, char **words, char sign, Error **errp)
{
    for (char **w = words; *w; w++) {
        if ((*w)[0] == sign) {
            undash(*w + 1);
            uint64_t bits[FW_COUNT] = { 0 };
            if (!feature_find(*w + 1, bits) && cpu_prop_find(m, *w + 1) < 0) {
                return unknown_property(m, *w + 1, errp);
            }
            if (!cpu_set(m, *w + 1, sign == '+' ? "on" : "off", NULL, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* "+x" or "-x" beside "x=...": told, as the order in the text says something else than what happens. */
static void warn_ambiguous(char **words)
{
    bool told = false;

    for (char **w = words; *w; w++) {
        const char *name = *w + 1;

        for (char **v = words; ((*w)[0] == '+' || (*w)[0] == '-') && *v; v++) {
            if (g_str_has_prefix(*v, name) && (*v)[strlen(name)] == '=') {
                warn_report("Ambiguous CPU model string. Don't mix both \"%s\" and \"%s\"", *w, *v);
                told = true;
            }
        }
    }
    if (told) {
        warn_report("Compatibility of ambiguous CPU model strings won't be kept on future QEMU versions");
    }
}

bool cpu_parse(KvmCpuModel *m, const char *text, const KvmOffer *o, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ",", -1);

    if (!cpu_init(m, words[0] != NULL ? words[0] : "", o, errp)) {
        return false;
    }
    warn_ambiguous(words + 1);
    for (char **w = words + 1; *w; w++) {
        char first = (*w)[0];

        if (first != '+' && first != '-' && first != '\0' && !apply_word(m, *w, errp)) {
            return false;
        }
    }
    if (m->hv_truncated) {
        warn_report("hv-vendor-id truncated to 12 characters");
    }
    return apply_signed(m, words + 1, '+', errp) && apply_signed(m, words + 1, '-', errp);
}
