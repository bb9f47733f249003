/* tool.h: what the files of rhea-nbd know of one another. */
#ifndef NBD_TOOL_H
#define NBD_TOOL_H

#include "nbd/server.h"
#include "util/tls.h"

/* --list: prints the exports of the server at @socket, or at @host and @port. */
CTX_CONTROL bool tool_list(const char *socket, const char *host, const char *port, TlsCreds *tls,
                           Error **errp);
/* --connect: the export @name of @s is behind the kernel's device @path from now on; it is disconnected when
 * @s is stopped, and then, or before, ended. */
CTX_CONTROL bool tool_connect(NbdServer *s, const char *name, const char *path, Error **errp);
CTX_CONTROL void tool_connect_end(void);
/* --disconnect: frees the kernel's device @path. */
CTX_CONTROL bool tool_disconnect(const char *path, Error **errp);

#endif
