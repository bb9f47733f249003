/* process.h: what the program is to the host: its pid file, its terminal, its place in the background.
 *
 *   process_begin() --(fork, with -daemonize)--> building --> process_ready() --> running --> process_end()
 *         |                                          '------- an error: process_end(1) ----------^
 *         '-- the parent waits, and exits with 0 at process_ready(), else with the child's status */
#ifndef SYSTEM_PROCESS_H
#define SYSTEM_PROCESS_H

#include "system/cmdline.h"

/* First of all, before any thread and descriptor: goes into the background if -daemonize says so.  The
 * parent never returns. */
CTX_ANY bool process_begin(const CmdLine *cmd, Error **errp);
/* -overcommit mem-lock=on: all memory, from now on too, stays in RAM. */
CTX_CONTROL bool process_lock_memory(Error **errp);
/* Checks -run-with and its short forms, which process_settle() carries out. */
CTX_CONTROL bool process_plan(const CmdLine *cmd, Error **errp);
/* After process_plan(): another user will be had. */
CTX_ANY bool process_changes_user(void);
/* After process_plan(): another root folder will be had. */
CTX_ANY bool process_changes_root(void);
/* The folder of the pid file, a borrowed descriptor, or -1. */
CTX_ANY int process_pidfile_folder(void);
/* -pidfile: creates and locks it.  It is removed at exit, if it still is this process's. */
CTX_CONTROL bool process_hold_pidfile(const CmdLine *cmd, Error **errp);
/* All that the command line names is open: a daemon leaves its folder, root folder and user change. */
CTX_CONTROL bool process_settle(Error **errp);
/* The machine is there and its sockets listen: a waiting parent exits with 0, a daemon leaves its
 * terminal. */
CTX_CONTROL void process_ready(void);
/* -preconfig: the monitors listen, so a waiting parent exits with 0, and a daemon leaves its terminal; it
 * stays in its folder until process_settle(). */
CTX_CONTROL bool process_detach(Error **errp);
/* Tells a parent that still waits the exit status.  Returns @status. */
CTX_ANY int process_end(int status);
/* The name of process @pid, owned by the caller; NULL: not known. */
CTX_CONTROL char *process_name_of(unsigned pid);

#endif
