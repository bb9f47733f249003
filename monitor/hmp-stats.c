/* hmp-stats.c: info stats. */
#include <string.h>
#include "monitor/hmp-int.h"

static json_t *find_named(const json_t *list, const char *name)
{
    size_t i;
    json_t *row;

    json_array_foreach(list, i, row) {
        if (strcmp(hmp_json_str(row, "name"), name) == 0) {
            return row;
        }
    }
    return NULL;
}

static void print_unit(Hmp *h, const json_t *what)
{
    static const char *const small[] = { "", "m", "u", "n" };
    static const char *const large[] = { "", "Ki", "Mi", "Gi", "Ti" };
    const char *unit = hmp_json_str(what, "unit");
    int exponent = (int)json_integer_value(json_object_get(what, "exponent"));
    unsigned base = (unsigned)hmp_json_num(what, "base");

    if (strcmp(unit, "seconds") == 0 && base == 10 && exponent < 0 && exponent >= -9 && exponent % 3 == 0) {
        hmp_printf(h, ", %ss", small[-exponent / 3]);
    } else if (strcmp(unit, "bytes") == 0 && base == 2 && exponent > 0 && exponent <= 40 &&
               exponent % 10 == 0) {
        hmp_printf(h, ", %sB", large[exponent / 10]);
    } else {
        if (*unit != '\0') {
            hmp_printf(h, ", %s", unit);
        }
        if (exponent != 0) {
            hmp_printf(h, " * %u^%d", base, exponent);
        }
    }
}

static void print_buckets(Hmp *h, const json_t *what, const json_t *values)
{
    uint64_t size = hmp_json_num(what, "bucket-size");
    size_t i;
    json_t *v;

    json_array_foreach(values, i, v) {
        unsigned long long n = (unsigned long long)json_integer_value(v);

        if (size != 0) {
            hmp_printf(h, "[%llu-%llu]=%llu ", (unsigned long long)(size * i),
                       (unsigned long long)(size * (i + 1)), n);
        } else {
            hmp_printf(h, "[%zu]=%llu ", i + 1, n);
        }
    }
}

static void print_stat(Hmp *h, const json_t *what, const json_t *stat)
{
    const json_t *value = json_object_get(stat, "value");

    hmp_printf(h, "    %s (%s", hmp_json_str(stat, "name"), hmp_json_str(what, "type"));
    print_unit(h, what);
    hmp_printf(h, "): ");
    if (json_is_array(value)) {
        print_buckets(h, what, value);
    } else if (json_is_boolean(value)) {
        hmp_printf(h, "%s", json_is_true(value) ? "yes" : "no");
    } else {
        hmp_printf(h, "%llu", (unsigned long long)json_integer_value(value));
    }
    hmp_printf(h, "\n");
}

/* What there is about @target; NULL: nothing. */
static const json_t *schema_of(const json_t *schemas, const char *target)
{
    size_t i;
    json_t *row;

    json_array_foreach(schemas, i, row) {
        if (strcmp(hmp_json_str(row, "target"), target) == 0) {
            return json_object_get(row, "stats");
        }
    }
    return NULL;
}

/* The path of the chosen vCPU, in a list. */
static json_t *chosen_vcpu(Hmp *h)
{
    g_autoptr(json_t) cpus = hmp_try(h, "query-cpus-fast", NULL, NULL);
    json_t *list = json_array();
    size_t i;
    json_t *row;

    json_array_foreach(cpus, i, row) {
        if (hmp_json_num(row, "cpu-index") == h->state->cpu) {
            json_array_append(list, json_object_get(row, "qom-path"));
        }
    }
    return list;
}

static json_t *filter(Hmp *h, const char *target, const char *names)
{
    json_t *request = json_pack("{s:s}", "provider", "kvm");
    json_t *args = json_pack("{s:s, s:[o]}", "target", target, "providers", request);

    if (names != NULL && strcmp(names, "*") != 0) {
        g_auto(GStrv) words = g_strsplit(names, ",", -1);
        json_t *list = json_array();

        for (unsigned i = 0; words[i] != NULL; i++) {
            json_array_append_new(list, json_string(words[i]));
        }
        json_object_set_new(request, "names", list);
    }
    if (strcmp(target, "vcpu") == 0) {
        json_object_set_new(args, "vcpus", chosen_vcpu(h));
    }
    return args;
}

HMP_RUN(hmp_info_stats)
{
    const char *target = hmp_str(a, "target"), *provider = hmp_str(a, "provider");
    size_t i, j;
    json_t *result, *stat;

    if (strcmp(target, "vm") != 0 && strcmp(target, "vcpu") != 0) {
        hmp_printf(h, "invalid stats target %s\n", target);
        return;
    }
    if (provider != NULL && strcmp(provider, "kvm") != 0) {
        hmp_printf(h, "invalid stats provider %s\n", provider);
        return;
    }
    g_autoptr(json_t) schemas = hmp_call(h, "query-stats-schemas", NULL);
    g_autoptr(json_t) results =
        schemas != NULL ? hmp_call(h, "query-stats", filter(h, target, hmp_str(a, "names"))) : NULL;
    const json_t *known = schema_of(schemas, target);

    json_array_foreach(results, i, result) {
        if (provider == NULL) {
            hmp_printf(h, "provider: %s\n", hmp_json_str(result, "provider"));
        }
        json_array_foreach(json_object_get(result, "stats"), j, stat) {
            print_stat(h, find_named(known, hmp_json_str(stat, "name")), stat);
        }
    }
}
