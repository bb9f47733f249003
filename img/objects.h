/* objects.h: what the tools' --object makes: secrets and TLS credentials.
 *
 * 1. They live as long as the program. */
#ifndef IMG_OBJECTS_H
#define IMG_OBJECTS_H

#include "util/tls.h"

/* --object TEXT: secret, or tls-creds-x509, -psk and -anon. */
CTX_CONTROL bool tool_object_add(const char *text, Error **errp);
/* The credentials @id for that side, borrowed; NULL and @errp. */
CTX_CONTROL TlsCreds *tool_object_tls(const char *id, bool server, Error **errp);

#endif
