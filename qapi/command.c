/* command.c: runs QMP commands by table. */
#include "qapi/command.h"

#include <stdlib.h>
#include <string.h>
#include "qapi/tables.h"
#include "qapi/types.h"

static int by_name(const void *name, const void *command)
{
    return strcmp(name, ((const QmpCommand *)command)->name);
}

const QmpCommand *qmp_command_find(const char *name)
{
    return bsearch(name, qmp_commands, qmp_commands_count, sizeof(QmpCommand), by_name);
}

static bool early;                     /* control */

void qmp_command_set_early(bool on)
{
    early = on;
}

bool qmp_command_early(void)
{
    return early;
}

static bool state_allows(const QmpCommand *c, unsigned state, Error **errp)
{
    if (early && !(c->flags & QMP_EARLY)) {
        return error_set(errp, "The command '%s' is permitted only after machine initialization has "
                         "completed", c->name);
    }
    if (!c->when || (c->when & (1u << state))) {
        return true;
    }
    return error_set(errp, "The command %s is not allowed in run state '%s'", c->name,
                     qapi_enum_name(QAPI_T_RUN_STATE, state));
}

/* Calls the handler and writes what it returns; the slot is as large as any type's. */
static bool call_and_write(const QmpCommand *c, QmpSession *session, const void *args, GString *out,
                           Error **errp)
{
    union { void *p; uint64_t n; struct { size_t n; void *at; } list; } slot = { .list = { 0 } };

    if (c->flags & QMP_RAW) {
        return c->call(session, args, out, errp);
    }
    if (!c->call(session, args, &slot, errp)) {
        if (c->ret) {
            qapi_clear(c->ret, &slot);
        }
        return false;
    }
    if (c->ret) {
        qapi_write(c->ret, &slot, out);
        qapi_clear(c->ret, &slot);
    } else {
        g_string_append(out, "{}");
    }
    return true;
}

bool qmp_command_run(const QmpCommand *c, QmpSession *session, unsigned state, json_t *args,
                     QmpPending *pending, GString *out, Error **errp)
{
    g_autoptr(json_t) none = json_object();
    const char *key;
    json_t *v;
    void *in = NULL;
    bool ok;

    if (!state_allows(c, state, errp)) {
        return false;
    }
    if (c->args) {
        if (!qapi_read(c->args, args ? args : none, QAPI_JSON, &in, errp)) {
            return false;
        }
    } else if (args) {
        json_object_foreach(args, key, v) {
            return error_set(errp, "Parameter '%s' is unexpected", key);
        }
    }
    ok = c->flags & QMP_DEFERRED ? c->call(session, in, pending, errp)
                                 : call_and_write(c, session, in, out, errp);
    if (c->args) {
        qapi_free(c->args, in);
    }
    return ok;
}
