/* command.h: the table of QMP commands, and introspection. */
#ifndef QAPI_COMMAND_H
#define QAPI_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "qapi/json.h"
#include "util/context.h"
#include "util/error.h"

typedef struct QmpSession QmpSession;
/* A command that answers later: see qmp_pending_done(). */
typedef struct QmpPending QmpPending;

#define QMP_DEFERRED 1             /* @ret is the QmpPending */
#define QMP_OOB 4                  /* may run out of band: "exec-oob" */
#define QMP_EARLY 8                /* may run before the machine is built (-preconfig) */
#define QMP_RAW 2                  /* @ret is a GString that takes the returned JSON text */

typedef struct QmpCommand {
    const char *name;
    /* @args: the filled argument struct, or NULL; @ret: the zeroed slot of the returned type. */
    bool (*call)(QmpSession *session, const void *args, void *ret, Error **errp);
    const char *const *features;
    uint32_t when;                 /* bits of RunState; 0: always */
    uint16_t args, ret;            /* types; 0: none */
    uint16_t flags;
} QmpCommand;

/* Sorted by name. */
extern const QmpCommand qmp_commands[];
extern const unsigned qmp_commands_count;

CTX_ANY const QmpCommand *qmp_command_find(const char *name);
/* While @early only commands with QMP_EARLY run: the machine is not built yet. */
CTX_CONTROL void qmp_command_set_early(bool early);
CTX_CONTROL bool qmp_command_early(void);
/* A deferred command's handler returned true: exactly one of these must follow, on control, then or
 * later.  The session reads no further command before that; it may be gone by then, which is fine.
 * qmp_pending_done: success when @take_err is NULL. */
CTX_CONTROL void qmp_pending_done(QmpPending *take_pending, Error *take_err);
/* Success, for a command that returns something: @value is its JSON text. */
CTX_CONTROL void qmp_pending_return(QmpPending *take_pending, const char *value);
/* For who runs a deferred command without a session: done(arg, value, NULL) or done(arg, NULL, error), which
 * it frees, follows exactly once. */
CTX_CONTROL QmpPending *qmp_pending_new(void (*done)(void *arg, const char *value, Error *take_err),
                                        void *arg);

/* Runs one command: checks the state and the arguments (an object, or NULL), calls the handler and
 * appends the returned value to @out.  @state is a RunState.  A deferred command needs @pending;
 * *@deferred tells that the reply comes later. */
CTX_CONTROL bool qmp_command_run(const QmpCommand *c, QmpSession *session, unsigned state,
                                 json_t *args, QmpPending *pending, GString *out, Error **errp);

/* Introspection, as JSON text. */
CTX_ANY void qapi_introspect_schema(GString *out);
CTX_ANY void qapi_introspect_commands(GString *out);
CTX_ANY bool qapi_introspect_options(const char *only, GString *out, Error **errp);

#endif
