/* cpu-query.c: processor models and objects as people and tools read them: names, properties, values.
 *
 * 1. Every answer is made when asked; nothing here runs at start.
 * 2. Names, types and order are those of QEMU 7.2's query-cpu-definitions, query-cpu-model-expansion,
 *    qom-list and -cpu help. */
#include <string.h>
#include "accel/kvm/cpu.h"
#include "accel/kvm/hyperv.h"
#include "accel/kvm/kvm-int.h"
#include "accel/kvm/kvm.h"
#include "qapi/json.h"
#include "util/bytes.h"

#define TYPE_SUFFIX "-x86_64-cpu"
#define HELP_COLUMNS 75
#define MEMORY_PATH "/machine/unattached/system[0]"

static const struct { const char *name, *description; } special_models[] = {
    { "base", "base CPU model type with no features enabled" },
    { "host", "processor with all supported host features " },
    { "max", "Enables all features supported by the accelerator in the current host" },
};

/* --- names --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const KvmCpuName *)b)->name, ((const KvmCpuName *)a)->name);
}

GArray *kvm_cpu_names(void)
{
    GArray *out = g_array_new(FALSE, TRUE, sizeof(KvmCpuName));

    for (unsigned i = 0; i < cpu_model_count; i++) {
        const CpuModel *m = &cpu_models[i];
        KvmCpuName n = { .description = m->model_id, .note = m->note };

        snprintf(n.name, sizeof(n.name), "%s-v%u", m->name, m->version);
        g_array_append_val(out, n);
        if (m->version == 1) {
            n.moves = true;
            memcpy(n.alias_of, n.name, sizeof(n.name));
            g_strlcpy(n.name, m->name, sizeof(n.name));
            g_array_append_val(out, n);
        }
    }
    for (unsigned i = 0; i < cpu_model_alias_count; i++) {
        const CpuModelAlias *a = &cpu_model_aliases[i];
        KvmCpuName n = { 0 };

        g_strlcpy(n.name, a->alias, sizeof(n.name));
        snprintf(n.alias_of, sizeof(n.alias_of), "%s-v%u", a->name, a->version);
        g_array_append_val(out, n);
    }
    g_array_sort(out, compare_names);
    for (unsigned i = 0; i < ARRAY_LEN(special_models); i++) {
        KvmCpuName n = { .description = special_models[i].description };

        g_strlcpy(n.name, special_models[i].name, sizeof(n.name));
        g_array_prepend_val(out, n);
    }
    return out;
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void help_flags(GString *out)
{
    const char *names[FW_COUNT * 64];
    unsigned n = 0, column = 0;

    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            if (feature_words[w].names[b] != NULL) {
                names[n++] = feature_words[w].names[b];
            }
        }
    }
    qsort(names, n, sizeof(names[0]), compare_words);
    for (unsigned i = 0; i < n; i++) {
        unsigned len = strlen(names[i]) + 1;

        if (i == 0 || column + len > HELP_COLUMNS) {
            g_string_append(out, i == 0 ? " " : "\n ");
            column = 1;
        }
        g_string_append_printf(out, " %s", names[i]);
        column += len;
    }
}

char *kvm_cpu_help(void)
{
    GString *out = g_string_new("Available CPUs:\n");
    g_autoptr(GArray) names = kvm_cpu_names();

    for (unsigned i = names->len; i > 0; i--) {
        const KvmCpuName *n = &g_array_index(names, KvmCpuName, i - 1);

        g_string_append_printf(out, "x86 %-20s  ", n->name);
        if (n->moves) {
            g_string_append(out, "(alias configured by machine type)");
        } else if (n->alias_of[0] != '\0') {
            g_string_append_printf(out, "(alias of %s)", n->alias_of);
        } else {
            g_string_append_printf(out, "%s%s%s", n->description, n->note ? " " : "", n->note ? n->note : "");
        }
        g_string_append_c(out, '\n');
    }
    g_string_append(out, "\nRecognized CPUID flags:\n");
    help_flags(out);
    g_string_append(out, "\n\n");
    return g_string_free(out, FALSE);
}

/* The host's offer, read now if there is no VM; NULL: KVM is not in use. */
static KvmOffer *host_offer(void)
{
    if (kvm_vm.offer == NULL && accel() == &kvm_accel) {
        kvm_offer_peek();
    }
    return kvm_vm.offer;
}

json_t *kvm_cpu_unavailable(const char *name)
{
    const KvmOffer *o = host_offer();
    json_t *out = json_array();
    KvmCpuModel m;

    if (o == NULL || !cpu_init(&m, name, o, NULL)) {
        json_decref(out);
        return NULL;
    }
    cpu_expand(&m, o, true);
    cpu_filter(&m, o, true, NULL);
    if (!m.host) {
        cpu_list_features(m.filtered, out);
    }
    cpu_clear(&m);
    return out;
}

/* --- values --- */

static json_t *number(uint64_t n)
{
    return n > INT64_MAX ? json_from_u64(n) : json_integer(n);
}

static json_t *prop_value(const KvmCpuModel *m, CpuProp p)
{
    static const char *const words[] = { "off", "on", "auto" };
    int64_t n = m->prop[p];

    switch (cpu_props[p].kind) {
    case CPK_BOOL:
        return json_boolean(n != 0);
    case CPK_STR:
        return json_string(p == P_VENDOR ? m->vendor : p == P_MODEL_ID ? m->model_id : m->hv_vendor);
    case CPK_ONOFFAUTO:
        return json_string(words[n]);
    case CPK_U64:
        return number(n);
    default:
        return json_integer(n);
    }
}

static json_t *feature_value(const KvmCpuModel *m, const uint64_t bits[FW_COUNT])
{
    bool on = true;

    for (unsigned w = 0; w < FW_COUNT; w++) {
        on = on && (m->words[w] & bits[w]) == bits[w];
    }
    return json_boolean(on);
}

static json_t *words_value(const uint64_t words[FW_COUNT])
{
    json_t *out = json_array();

    for (unsigned w = FW_COUNT; w > 0; w--) {
        const FeatureWordInfo *f = &feature_words[w - 1];

        if (f->msr != 0) {
            continue;
        }
        json_t *e = json_pack("{s:s, s:I, s:I}", "cpuid-register", cpu_reg_name(f->reg), "cpuid-input-eax",
                              (json_int_t)f->leaf, "features", (json_int_t)words[w - 1]);
        if (f->indexed) {
            json_object_set_new(e, "cpuid-input-ecx", json_integer(f->index));
        }
        json_array_append_new(out, e);
    }
    return out;
}

/* No bit of word @w below @bit has its name. */
static bool is_first(FeatureWord w, unsigned bit)
{
    const char *const *names = feature_words[w].names;

    for (unsigned b = 0; b < bit; b++) {
        if (names[b] != NULL && strcmp(names[b], names[bit]) == 0) {
            return false;
        }
    }
    return true;
}

/* Calls fn for each name of a feature once: the bits' own names, then, unless @own, second spellings. */
static void each_feature(bool own, void (*fn)(const char *name, void *arg), void *arg)
{
    for (unsigned w = 0; w < FW_COUNT; w++) {
        for (unsigned b = 0; b < 64; b++) {
            if (feature_words[w].names[b] != NULL && is_first(w, b)) {
                fn(feature_words[w].names[b], arg);
            }
        }
    }
    for (const FeatureAlias *a = feature_aliases; !own && a->alias != NULL; a++) {
        fn(a->alias, arg);
    }
}

typedef struct Expansion {
    const KvmCpuModel *m;
    json_t *out;
} Expansion;

static void expand_feature(const char *name, void *arg)
{
    Expansion *x = arg;
    uint64_t bits[FW_COUNT] = { 0 };

    feature_find(name, bits);
    json_object_set_new(x->out, name, feature_value(x->m, bits));
}

json_t *kvm_cpu_expand(const char *name, json_t *props, bool full, Error **errp)
{
    KvmOffer *o = host_offer();
    const char *key;
    json_t *value;
    KvmCpuModel m;

    if (cpu_model_find(name) == NULL && strcmp(name, "host") != 0 && strcmp(name, "max") != 0 &&
        strcmp(name, "base") != 0) {
        error_set(errp, "CPU model '%s' not found", name);
        return NULL;
    }
    cpu_init(&m, name, o, NULL);
    json_object_foreach(props, key, value) {
        if (!cpu_set(&m, key, NULL, value, errp)) {
            cpu_clear(&m);
            return NULL;
        }
    }
    cpu_expand(&m, o, true);
    if (o != NULL && !hyperv_expand(&m, o, errp)) {
        cpu_clear(&m);
        return NULL;
    }
    Expansion x = { .m = &m, .out = json_object() };
    each_feature(!full, expand_feature, &x);
    for (unsigned p = 0; p < P_COUNT; p++) {
        bool has = full ? cpu_prop_find(&m, cpu_props[p].name) >= 0 : cpu_props[p].flags & CPF_STATIC;

        if (has) {
            json_object_set_new(x.out, cpu_props[p].name, prop_value(&m, p));
        }
    }
    if (full) {
        json_object_set_new(x.out, "lbr_fmt", prop_value(&m, P_LBR_FMT));
        json_object_set_new(x.out, "memory", json_string(MEMORY_PATH));
    }
    cpu_clear(&m);
    return x.out;
}

/* --- objects --- */

bool kvm_cpu_type(const char *type, char **model)
{
    if (!g_str_has_suffix(type, TYPE_SUFFIX)) {
        return false;
    }
    g_autofree char *name = g_strndup(type, strlen(type) - strlen(TYPE_SUFFIX));
    g_autoptr(GArray) names = kvm_cpu_names();
    for (unsigned i = 0; i < names->len; i++) {
        if (strcmp(g_array_index(names, KvmCpuName, i).name, name) == 0) {
            if (model != NULL) {
                *model = g_steal_pointer(&name);
            }
            return true;
        }
    }
    return false;
}

typedef struct PropWalk {
    void (*fn)(const KvmCpuPropDesc *p, void *arg);
    void *arg;
} PropWalk;

static void walk_feature(const char *name, void *arg)
{
    PropWalk *k = arg;

    k->fn(&(KvmCpuPropDesc){ .name = name, .type = "bool" }, k->arg);
}

/* The board has it in a table of its own. */
static bool is_boards(CpuProp p)
{
    return (cpu_props[p].flags & CPF_PLACE) && p != P_START_OFF;
}

static const char *prop_type(CpuProp p)
{
    static const char *const kinds[] = {
        [CPK_BOOL] = "bool", [CPK_INT] = "int", [CPK_U8] = "uint8", [CPK_U16] = "uint16",
        [CPK_U32] = "uint32", [CPK_U64] = "uint64", [CPK_I32] = "int32", [CPK_STR] = "string",
        [CPK_ONOFFAUTO] = "OnOffAuto",
    };

    return p == P_HV_VENDOR_ID ? "str" : kinds[cpu_props[p].kind];
}

static const char *prop_description(CpuProp p)
{
    if (cpu_props[p].kind == CPK_ONOFFAUTO) {
        return "on/off/auto";
    }
    return p >= P_HV_RELAXED && p <= P_HV_SYNDBG && cpu_props[p].kind == CPK_BOOL ? "on/off" : NULL;
}

void kvm_cpu_each_prop(const char *model, void (*fn)(const KvmCpuPropDesc *p, void *arg), void *arg)
{
    static const KvmCpuPropDesc read_only[] = {
        { .name = "feature-words", .type = "X86CPUFeatureWordInfo" },
        { .name = "filtered-features", .type = "X86CPUFeatureWordInfo" },
        { .name = "unavailable-features", .type = "strList" },
        { .name = "crash-information", .type = "GuestPanicInformation" },
        { .name = "memory", .type = "link<memory-region>" },
    };
    bool host = strcmp(model, "host") == 0 || strcmp(model, "max") == 0;
    PropWalk k = { .fn = fn, .arg = arg };
    KvmCpuModel defaults = { 0 };

    for (unsigned p = 0; p < P_COUNT; p++) {
        defaults.prop[p] = cpu_props[p].def;
    }
    for (unsigned p = 0; p < P_COUNT; p++) {
        if ((!host && (cpu_props[p].flags & CPF_HOST_ONLY)) || is_boards(p)) {
            continue;
        }
        g_autoptr(json_t) def = cpu_props[p].flags & CPF_UNSET ? NULL : prop_value(&defaults, p);
        fn(&(KvmCpuPropDesc){ .name = cpu_props[p].name, .type = prop_type(p),
                              .description = prop_description(p), .def = def }, arg);
    }
    fn(&(KvmCpuPropDesc){ .name = "lbr_fmt", .type = "uint64" }, arg);
    for (unsigned i = 0; i < ARRAY_LEN(read_only); i++) {
        fn(&read_only[i], arg);
    }
    each_feature(false, walk_feature, &k);
}

/* --- the objects of this machine --- */

typedef struct ExtraWalk {
    void (*fn)(const char *name, const char *type, void *arg);
    void *arg;
} ExtraWalk;

static void walk_extra(const KvmCpuPropDesc *p, void *arg)
{
    const ExtraWalk *x = arg;

    x->fn(p->name, p->type, x->arg);
}

static void extra_each(const DeviceType *t, void (*fn)(const char *name, const char *type, void *arg),
                       void *arg)
{
    ExtraWalk x = { fn, arg };

    if (kvm_vm.model != NULL) {
        kvm_cpu_each_prop(kvm_vm.model->name, walk_extra, &x);
    }
}

/* Some have no value before there is a machine. */
static json_t *live_prop(const KvmCpuModel *m, CpuProp p)
{
    if (p == P_PHYS_BITS) {
        return json_integer(m->phys_bits);
    }
    if (p == P_UCODE_REV) {
        return number(kvm_ucode_rev(m));
    }
    if (p == P_HV_VENDOR_ID && m->hv_vendor[0] == '\0') {
        return json_string(HYPERV_VENDOR);
    }
    if (p == P_TSC_FREQUENCY && m->prop[p] == 0) {
        return json_integer(ioctl(kvm_vm.fd, KVM_GET_TSC_KHZ, 0l) * INT64_C(1000));
    }
    return prop_value(m, p);
}

static json_t *live_value(const KvmCpuModel *m, const char *prop)
{
    uint64_t bits[FW_COUNT] = { 0 };
    int p = cpu_prop_find(m, prop);
    json_t *out = NULL;

    if (p >= 0) {
        out = is_boards(p) ? NULL : live_prop(m, p);
    } else if (strcmp(prop, "feature-words") == 0) {
        out = words_value(m->words);
    } else if (strcmp(prop, "filtered-features") == 0) {
        out = words_value(m->filtered);
    } else if (strcmp(prop, "unavailable-features") == 0) {
        out = json_array();
        cpu_list_features(m->filtered, out);
    } else if (strcmp(prop, "memory") == 0) {
        out = json_string(MEMORY_PATH);
    } else if (strcmp(prop, "crash-information") == 0) {
        out = hyperv_crash_info();
    } else if (feature_find(prop, bits)) {
        out = feature_value(m, bits);
    }
    return out;
}

static char *extra_get(Device *d, const char *prop)
{
    g_autoptr(json_t) v = kvm_vm.model != NULL ? live_value(kvm_vm.model, prop) : NULL;

    if (v == NULL) {
        return NULL;
    }
    GString *out = g_string_new(NULL);
    json_write_tree(out, v);
    return g_string_free(out, FALSE);
}

static bool extra_set(Device *d, const char *prop, const char *json, Error **errp)
{
    return error_set(errp, "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                     "realized", prop, d->id, d->type->name);
}

const DeviceExtra kvm_cpu_extra = { .each = extra_each, .get = extra_get, .set = extra_set };
