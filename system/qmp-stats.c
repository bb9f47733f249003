/* qmp-stats.c: query-stats and query-stats-schemas: what the accelerator counts. */
#include <string.h>
#include "accel/kvm/kvm.h"
#include "core/machine.h"
#include "qapi/commands.h"

static bool path_wanted(const StatsVCPUFilter *f, const char *path)
{
    for (size_t i = 0; f->has_vcpus && i < f->vcpus.n; i++) {
        if (strcmp(f->vcpus.at[i], path) == 0) {
            return true;
        }
    }
    return !f->has_vcpus;
}

/* Of vCPU @cpu, or of the VM (-1); where no name matches, nothing is added. */
static bool add_result(int cpu, const char *path, const StrList *names, StatsResultList *ret, Error **errp)
{
    g_autoptr(StatsResult) r = qapi_new_stats_result();

    if (!kvm_stats(cpu, names, NULL, &r->stats, errp)) {
        return false;
    }
    if (r->stats.n > 0) {
        r->qom_path = g_strdup(path);
        qapi_append(ret, g_steal_pointer(&r));
    }
    return true;
}

static bool add_vcpus(const StatsVCPUFilter *f, const StrList *names, StatsResultList *ret, Error **errp)
{
    const MachinePlaces *cpus = &machine()->cpus;

    for (unsigned i = cpus->count; i-- > 0;) {         /* the last first, as tools know it */
        g_autofree char *path = cpus->dev[i] != NULL ? device_path(cpus->dev[i]) : NULL;

        if (path != NULL && path_wanted(f, path) && !add_result((int)i, path, names, ret, errp)) {
            return false;
        }
    }
    return true;
}

static bool add_provider(const StatsFilter *filter, const StrList *names, StatsResultList *ret, Error **errp)
{
    return filter->target == STATS_TARGET_VM ? add_result(-1, NULL, names, ret, errp)
                                             : add_vcpus(&filter->u.vcpu, names, ret, errp);
}

static bool has_stats(void)
{
    return accel() == &kvm_accel && !machine()->type->empty;
}

bool qmp_query_stats(const StatsFilter *filter, StatsResultList *ret, Error **errp)
{
    if (!has_stats()) {
        return true;
    }
    if (!filter->has_providers) {
        return add_provider(filter, NULL, ret, errp);
    }
    for (size_t i = filter->providers.n; i > 0; i--) {
        const StatsRequest *r = filter->providers.at[i - 1];

        if (!add_provider(filter, r->has_names ? &r->names : NULL, ret, errp)) {
            return false;
        }
    }
    return true;
}

static bool add_schema(StatsTarget target, int cpu, StatsSchemaList *ret, Error **errp)
{
    g_autoptr(StatsSchema) s = qapi_new_stats_schema();

    if (!kvm_stats(cpu, NULL, &s->stats, NULL, errp)) {
        return false;
    }
    if (s->stats.n > 0) {
        s->target = target;
        qapi_append(ret, g_steal_pointer(&s));
    }
    return true;
}

bool qmp_query_stats_schemas(bool has_provider, StatsProvider provider, StatsSchemaList *ret, Error **errp)
{
    const MachinePlaces *cpus = &machine()->cpus;
    unsigned first = 0;

    if (!has_stats()) {
        return true;
    }
    while (first < cpus->count && cpus->dev[first] == NULL) {
        first++;
    }
    return (first == cpus->count || add_schema(STATS_TARGET_VCPU, (int)first, ret, errp)) &&
           add_schema(STATS_TARGET_VM, -1, ret, errp);
}
