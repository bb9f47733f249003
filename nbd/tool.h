/* tool.h: what the files of rhea-nbd know of one another. */
#ifndef NBD_TOOL_H
#define NBD_TOOL_H

#include "util/tls.h"

/* --object TEXT: tls-creds-x509, -psk and -anon, and the secret that opens a key. */
CTX_CONTROL bool tool_object_add(const char *text, Error **errp);
/* The credentials @id for that side, borrowed; NULL and @errp. */
CTX_CONTROL TlsCreds *tool_object_tls(const char *id, bool server, Error **errp);

/* --list: prints the exports of the server at @socket, or at @host and @port. */
CTX_CONTROL bool tool_list(const char *socket, const char *host, const char *port, TlsCreds *tls,
                           Error **errp);
/* --disconnect: frees the kernel's device @path. */
CTX_CONTROL bool tool_disconnect(const char *path, Error **errp);

#endif
