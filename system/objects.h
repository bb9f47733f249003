/* objects.h: -object and object-add: memory back ends, I/O threads, entropy sources, secrets, by id. */
#ifndef SYSTEM_OBJECTS_H
#define SYSTEM_OBJECTS_H

#include "core/ram.h"
#include "qapi/types.h"
#include "system/cmdline.h"
#include "util/tls.h"

/* Registers the link classes that devices use; once. */
CTX_CONTROL void objects_init(void);
/* Makes everything -object says; the defaults of memory come from -machine. */
CTX_CONTROL bool objects_create_all(const CmdLine *cmd, bool mem_merge, bool dump_guest_core, bool *help,
                                    Error **errp);
/* What -object @text, "help" or "TYPE,help", tells; owned by the caller.  NULL: *errp is set. */
CTX_CONTROL char *objects_help(const char *text, Error **errp);
/* The character devices are there: joins the objects that want one to it, and those to come at once. */
CTX_CONTROL bool objects_connect(Error **errp);
CTX_CONTROL bool objects_create(const ObjectConfig *o, Error **errp);
/* Fails while a device or the machine uses it. */
CTX_CONTROL bool objects_delete(const char *id, Error **errp);
/* Calls fn for each object; texts are borrowed during the call. */
CTX_CONTROL void objects_each(void (*fn)(const char *id, ObjectConfigQomType type, void *arg), void *arg);
/* What object @id is made of; borrowed, NULL: no such object. */
CTX_CONTROL const ObjectConfig *objects_config(const char *id);
/* Changes a property of object @id while it is in use. */
CTX_CONTROL bool objects_set(const char *id, const char *prop, json_t *value, Error **errp);
/* The TLS credentials @id, for that side; borrowed. */
CTX_CONTROL TlsCreds *objects_tls(const char *id, bool server, Error **errp);
/* Takes memory back end @id for the machine; each can be taken once. */
CTX_CONTROL RamBlock *objects_take_memory(const char *id, Error **errp);

#endif
