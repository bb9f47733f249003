/* config-int.h: between config.c and its parts config-*.c. */
#ifndef SYSTEM_CONFIG_INT_H
#define SYSTEM_CONFIG_INT_H

#include "system/config.h"

/* All texts of an option that may be repeated, joined by commas; owned by the caller.  @implied: the key
 * that the first word of each text may leave out, or NULL. */
char *config_joined(const CmdLine *cmd, Option o, const char *implied);
/* -numa, after -smp and -m. */
bool config_read_numa(Config *c, const CmdLine *cmd, Error **errp);
/* -option-rom */
bool config_read_roms(Config *c, const CmdLine *cmd, Error **errp);
/* -acpitable */
bool config_read_acpi(Config *c, const CmdLine *cmd, Error **errp);
/* -smbios; @entry64: the 64-bit entry point was chosen. */
bool config_read_smbios(Config *c, const CmdLine *cmd, bool entry64, Error **errp);

#endif
