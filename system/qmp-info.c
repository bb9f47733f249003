/* qmp-info.c: QMP commands that tell what the program and the machine are. */
#include <string.h>
#include "core/accel.h"
#include "core/machine.h"
#include "qapi/commands.h"

bool qmp_query_machines(MachineInfoList *ret, Error **errp)
{
    for (const MachineType *const *t = machine_types(); *t != NULL; t++) {
        MachineInfo *i = qapi_new_machine_info();

        i->name = g_strdup((*t)->name);
        i->alias = g_strdup((*t)->alias);
        i->has_is_default = i->is_default = (*t)->is_default;
        i->cpu_max = (*t)->max_cpus;
        i->hotpluggable_cpus = !(*t)->empty;
        i->default_ram_id = g_strdup((*t)->empty ? NULL : "pc.ram");
        i->default_cpu_type = (*t)->default_cpu != NULL ? g_strdup_printf("%s-x86_64-cpu", (*t)->default_cpu)
                                                        : NULL;
        qapi_append(ret, i);
    }
    return true;
}

bool qmp_query_current_machine(CurrentMachineParams **ret, Error **errp)
{
    *ret = qapi_new_current_machine_params();
    (*ret)->wakeup_suspend_support = machine()->pm != NULL && machine()->cfg.acpi;
    return true;
}

bool qmp_query_target(TargetInfo **ret, Error **errp)
{
    *ret = qapi_new_target_info();
    (*ret)->arch = SYS_EMU_TARGET_X86_64;
    return true;
}

bool qmp_query_uuid(UuidInfo **ret, Error **errp)
{
    const char *uuid = machine()->cfg.uuid;

    *ret = qapi_new_uuid_info();
    (*ret)->UUID = g_ascii_strdown(uuid != NULL ? uuid : "00000000-0000-0000-0000-000000000000", -1);
    return true;
}

bool qmp_inject_nmi(Error **errp)
{
    if (accel()->nmi == NULL || accel()->vcpu_count == NULL || accel()->vcpu_count() == 0) {
        return error_set(errp, "machine does not provide NMIs");
    }
    for (unsigned i = 0; i < accel()->vcpu_count(); i++) {
        accel()->nmi(i);
    }
    return true;
}

bool qmp_query_rx_filter(const char *name, RxFilterInfoList *ret, Error **errp)
{
    return name == NULL || error_set(errp, "invalid net client name: %s", name);
}

/* --- migration: as far as there is something to ask --- */

static bool migration_events;

bool qmp_query_migrate(MigrationInfo **ret, Error **errp)
{
    *ret = qapi_new_migration_info();
    (*ret)->has_blocked_reasons = true;
    qapi_append(&(*ret)->blocked_reasons, g_strdup("this program cannot migrate or save machines"));
    return true;
}

bool qmp_query_migrate_capabilities(MigrationCapabilityStatusList *ret, Error **errp)
{
    MigrationCapabilityStatus *s = qapi_new_migration_capability_status();

    s->capability = MIGRATION_CAPABILITY_EVENTS;
    s->state = migration_events;
    qapi_append(ret, s);
    return true;
}

bool qmp_query_migrate_parameters(MigrationParameters **ret, Error **errp)
{
    *ret = qapi_new_migration_parameters();
    return true;
}

bool qmp_migrate_set_capabilities(const MigrationCapabilityStatusList *capabilities, Error **errp)
{
    for (size_t i = 0; i < capabilities->n; i++) {
        migration_events = capabilities->at[i]->state;
    }
    return true;
}
