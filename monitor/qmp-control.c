/* qmp-control.c: the commands about QMP itself. */
#include "monitor/qmp.h"
#include "qapi/commands.h"

bool qmp_query_version(VersionInfo **ret, Error **errp)
{
    VersionInfo *v = qapi_new_version_info();

    v->qemu = qapi_new_version_triple();
    v->qemu->major = QMP_VERSION_MAJOR;
    v->qemu->minor = QMP_VERSION_MINOR;
    v->qemu->micro = QMP_VERSION_MICRO;
    v->package = g_strdup("Rhea " RHEA_VERSION);
    *ret = v;
    return true;
}

bool qmp_query_commands(GString *ret, Error **errp)
{
    qapi_introspect_commands(ret);
    return true;
}

bool qmp_query_qmp_schema(GString *ret, Error **errp)
{
    qapi_introspect_schema(ret);
    return true;
}

bool qmp_query_command_line_options(const char *option, GString *ret, Error **errp)
{
    return qapi_introspect_options(option, ret, errp);
}
