/* sandbox.h: what is left of the host for a program whose guest may have taken it over.
 *
 *   sandbox_begin() ---> threads start, each with its role's filter ---> sandbox_close(): control, files */
#ifndef SYSTEM_SANDBOX_H
#define SYSTEM_SANDBOX_H

#include "system/cmdline.h"

/* -sandbox: from now on new threads narrow themselves, and no new privileges can be had.  Before the first
 * thread. */
CTX_CONTROL bool sandbox_begin(const CmdLine *cmd, Error **errp);
/* All that the command line names is open: control and its files are narrowed too.  Before the guest runs. */
CTX_CONTROL bool sandbox_close(Error **errp);
/* For the async-teardown helper, a process that shares this one's memory, thread-local storage too: all that
 * is left to it is to wait.  False: errno says why. */
CTX_ANY bool sandbox_narrow_helper(void);
/* Whether sandbox_close() will close it. */
CTX_CONTROL bool sandbox_is_on(void);

#endif
