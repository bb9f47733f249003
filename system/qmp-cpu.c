/* qmp-cpu.c: QMP commands about processor models.
 *
 * 1. A comparison and a baseline are about features; family, model, stepping, names and levels only tell
 *    identical models apart. */
#include <string.h>
#include "accel/kvm/kvm.h"
#include "qapi/commands.h"

bool qmp_query_cpu_definitions(CpuDefinitionInfoList *ret, Error **errp)
{
    g_autoptr(GArray) names = kvm_cpu_names();

    for (unsigned i = 0; i < names->len; i++) {
        const KvmCpuName *n = &g_array_index(names, KvmCpuName, i);
        CpuDefinitionInfo *d = qapi_new_cpu_definition_info();
        g_autoptr(json_t) missing = kvm_cpu_unavailable(n->name);
        size_t at;
        json_t *feature;
        bool base = strcmp(n->name, "base") == 0;

        d->name = g_strdup(n->name);
        d->typename = g_strdup_printf("%s-x86_64-cpu", n->name);
        d->static_ = base;
        d->has_migration_safe = true;
        d->migration_safe = strcmp(n->name, "host") != 0 && strcmp(n->name, "max") != 0;
        d->alias_of = n->alias_of[0] != '\0' ? g_strdup(n->alias_of) : NULL;
        d->has_unavailable_features = missing != NULL;
        json_array_foreach(missing, at, feature) {
            qapi_append(&d->unavailable_features, g_strdup(json_string_value(feature)));
        }
        qapi_append(ret, d);
    }
    return true;
}

/* The properties of @m expanded, or NULL. */
static json_t *expand(const CpuModelInfo *m, bool full, Error **errp)
{
    if (m->props != NULL && !json_is_object(m->props)) {
        error_set(errp, "Invalid parameter type for 'model.props', expected: object");
        return NULL;
    }
    return kvm_cpu_expand(m->name, m->props, full, errp);
}

bool qmp_query_cpu_model_expansion(CpuModelExpansionType type, const CpuModelInfo *model,
                                   CpuModelExpansionInfo **ret, Error **errp)
{
    bool full = type == CPU_MODEL_EXPANSION_TYPE_FULL;
    json_t *props = expand(model, full, errp);

    if (props == NULL) {
        return false;
    }
    *ret = qapi_new_cpu_model_expansion_info();
    (*ret)->model = qapi_new_cpu_model_info();
    (*ret)->model->name = g_strdup(full ? model->name : "base");
    (*ret)->model->props = props;
    return true;
}

/* Which of two static expansions has features that the other lacks; differing names go to @differ. */
static CpuModelCompareResult compare(json_t *a, json_t *b, StrList *differ)
{
    bool more = false, less = false, other = false;
    const char *name;
    json_t *value;

    json_object_foreach(a, name, value) {
        json_t *theirs = json_object_get(b, name);

        if (!json_equal(value, theirs)) {
            qapi_append(differ, g_strdup(name));
            more |= json_is_true(value);
            less |= json_is_false(value);
            other = true;
        }
    }
    return more && less ? CPU_MODEL_COMPARE_RESULT_INCOMPATIBLE : more ? CPU_MODEL_COMPARE_RESULT_SUPERSET
           : less ? CPU_MODEL_COMPARE_RESULT_SUBSET
           : other ? CPU_MODEL_COMPARE_RESULT_INCOMPATIBLE : CPU_MODEL_COMPARE_RESULT_IDENTICAL;
}

bool qmp_query_cpu_model_comparison(const CpuModelInfo *modela, const CpuModelInfo *modelb,
                                    CpuModelCompareInfo **ret, Error **errp)
{
    g_autoptr(json_t) a = expand(modela, false, errp);
    g_autoptr(json_t) b = a != NULL ? expand(modelb, false, errp) : NULL;

    if (b == NULL) {
        return false;
    }
    *ret = qapi_new_cpu_model_compare_info();
    (*ret)->result = compare(a, b, &(*ret)->responsible_properties);
    return true;
}

bool qmp_query_cpu_model_baseline(const CpuModelInfo *modela, const CpuModelInfo *modelb,
                                  CpuModelBaselineInfo **ret, Error **errp)
{
    g_autoptr(json_t) a = expand(modela, false, errp);
    g_autoptr(json_t) b = a != NULL ? expand(modelb, false, errp) : NULL;
    const char *name;
    json_t *value;

    if (b == NULL) {
        return false;
    }
    *ret = qapi_new_cpu_model_baseline_info();
    (*ret)->model = qapi_new_cpu_model_info();
    (*ret)->model->name = g_strdup("base");
    (*ret)->model->props = json_object();
    json_object_foreach(a, name, value) {
        json_t *theirs = json_object_get(b, name);
        bool lower = json_is_integer(value) && json_integer_value(theirs) < json_integer_value(value);

        if (json_is_boolean(value)) {
            json_object_set_new((*ret)->model->props, name,
                                json_boolean(json_is_true(value) && json_is_true(theirs)));
        } else {
            json_object_set((*ret)->model->props, name, lower ? theirs : value);
        }
    }
    return true;
}
