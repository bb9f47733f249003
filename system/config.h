/* config.h: the command line's description of the machine, checked and complete. */
#ifndef SYSTEM_CONFIG_H
#define SYSTEM_CONFIG_H

#include "core/machine.h"
#include "qapi/types.h"
#include "system/cmdline.h"
#include "system/runstate.h"

/* What the command line says that is not about the board. */
typedef struct Config {
    const MachineType *type;
    MachineConfig *machine;    /* what -machine says; never freed */
    BoardConfig board;
    RunPolicy policy;
    char *accel;               /* "kvm" or "qtest", colon-separated choices */
    bool one_domain, smbios_entry64, nodefaults, nographic, mem_lock, debug_threads;
    char *process_name;
    const char *mem_path;      /* -mem-path, or NULL */
} Config;

/* Fills *@c; texts are borrowed from @cmd or owned by *@c for the life of the process.  *@help: a listing was
 * printed and the program shall exit with status 0. */
CTX_CONTROL bool config_read(Config *c, const CmdLine *cmd, bool *help, Error **errp);
/* One more -numa; not with a node, a CPU or a distance that cannot be. */
CTX_CONTROL bool config_add_numa(Config *c, const NumaConfig *n, Error **errp);
/* Fills in what no -numa said, and checks the whole; config_read() has done it, but for -preconfig. */
CTX_CONTROL bool config_complete_numa(Config *c, Error **errp);
/* Drive letters that firmware knows, each once. */
CTX_ANY bool config_check_boot_order(const char *order, Error **errp);

#endif
