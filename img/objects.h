/* objects.h: what the tools' --object makes: secrets, TLS credentials and rules about clients.
 *
 * 1. They live as long as the program. */
#ifndef IMG_OBJECTS_H
#define IMG_OBJECTS_H

#include "util/tls.h"

/* --object TEXT: secret, tls-creds-x509, -psk and -anon, authz-simple and -list. */
CTX_CONTROL bool tool_object_add(const char *text, Error **errp);
/* The credentials @id for that side, borrowed; NULL and @errp. */
CTX_CONTROL TlsCreds *tool_object_tls(const char *id, bool server, Error **errp);

#endif
