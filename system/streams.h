/* streams.h: everything of the command line that is a byte stream: -chardev, -serial, -debugcon,
 * -qmp, -monitor, -mon. */
#ifndef SYSTEM_STREAMS_H
#define SYSTEM_STREAMS_H

#include "system/config.h"

/* Takes the descriptors of -add-fd, before anything opens a file. */
CTX_CONTROL bool streams_add_fds(const CmdLine *cmd, Error **errp);
/* What -chardev @text, "help" or with ",help", tells; owned by the caller. */
CTX_CONTROL char *streams_chardev_help(const char *text);
/* Opens the -chardev back ends and registers the link class "chardev". */
CTX_CONTROL bool streams_open(const CmdLine *cmd, bool *help, Error **errp);
/* Makes the serial ports and the debug console; the board is built. */
CTX_CONTROL bool streams_plug(const CmdLine *cmd, const Config *c, Error **errp);
/* Starts the monitors that have a byte stream of their own. */
CTX_CONTROL bool streams_monitors(const CmdLine *cmd, Error **errp);
/* The same, those that share one with a serial port; after streams_plug(). */
CTX_CONTROL bool streams_shared_monitors(const CmdLine *cmd, const Config *c, Error **errp);
/* Is there a monitor, and so somebody who may give commands? */
CTX_CONTROL bool streams_have_monitor(void);
/* The id of the back end that the short form @text of -@option means, made as @new_id if need be;
 * *@id NULL: none.  Owned by the caller. */
CTX_CONTROL bool streams_open_short(const char *option, const char *text, const char *new_id,
                                    char **id, Error **errp);
/* Runs a human command for who has no monitor, such as a debugger; what it prints, owned by the caller. */
CTX_CONTROL char *streams_run_human(const char *line);
/* The machine has stopped for good, and is still whole: no monitor takes a command any more, and
 * clients get what is still to be said to them, for at most a second. */
CTX_CONTROL void streams_drain(void);
/* All devices are gone: ends monitors and back ends. */
CTX_CONTROL void streams_close(void);

#endif
