/* config-int.h: between config.c and config-numa.c. */
#ifndef SYSTEM_CONFIG_INT_H
#define SYSTEM_CONFIG_INT_H

#include "system/config.h"

/* All texts of an option that may be repeated, joined by commas; owned by the caller. */
char *config_joined(const CmdLine *cmd, Option o);
/* -numa, after -smp and -m. */
bool config_read_numa(Config *c, const CmdLine *cmd, Error **errp);

#endif
