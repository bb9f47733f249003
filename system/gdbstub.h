/* gdbstub.h: the debugger's session (debug/gdb.h) on a character device, for -gdb, -s and "gdbserver". */
#ifndef SYSTEM_GDBSTUB_H
#define SYSTEM_GDBSTUB_H

#include "system/config.h"

/* -gdb and -s; the machine is built. */
CTX_CONTROL bool gdbstub_start(const CmdLine *cmd, Error **errp);
/* Listens at @device ("tcp::1234", "unix:...", "stdio", "chardev:ID"), or no more ("none").  What
 * was open before is closed; the debugger there leaves. */
CTX_CONTROL bool gdbstub_listen(const char *device, Error **errp);
/* What "monitor ..." of a debugger does: @run_command returns what was printed, owned by the caller. */
CTX_CONTROL void gdbstub_set_monitor(char *(*run_command)(const char *command));
/* The process ends; the machine has stopped for good. */
CTX_CONTROL void gdbstub_stop(void);

#endif
