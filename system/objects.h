/* objects.h: -object and object-add: memory back ends, I/O threads, entropy sources, by id. */
#ifndef SYSTEM_OBJECTS_H
#define SYSTEM_OBJECTS_H

#include "core/ram.h"
#include "qapi/types.h"
#include "system/cmdline.h"

/* Registers the link classes that devices use; once. */
CTX_CONTROL void objects_init(void);
/* Makes everything -object says; the defaults of memory come from -machine. */
CTX_CONTROL bool objects_create_all(const CmdLine *cmd, bool mem_merge, bool dump_guest_core, bool *help,
                                    Error **errp);
CTX_CONTROL bool objects_create(const ObjectConfig *o, Error **errp);
CTX_CONTROL bool objects_delete(const char *id, Error **errp);
/* Takes memory back end @id for the machine; each can be taken once. */
CTX_CONTROL RamBlock *objects_take_memory(const char *id, Error **errp);

#endif
