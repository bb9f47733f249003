/* secret.h: passwords and keys by the ids of the secret objects that hold them.
 *
 * 1. Secrets come and go on the control thread; any thread may ask for a copy. */
#ifndef UTIL_SECRET_H
#define UTIL_SECRET_H

#include <stddef.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

/* What `-object secret` says; exactly one of data and file. */
typedef struct SecretOptions {
    const char *data, *file;
    bool base64;               /* that is how it is written */
    const char *keyid;         /* the secret of 32 bytes that it is encrypted with (AES-256-CBC); or NULL */
    const char *iv;            /* with a keyid: 16 bytes in base64 */
} SecretOptions;

/* Reads the secret and keeps it under @id, which is not in use.  Fails with a text as the tools print it. */
CTX_CONTROL bool secret_add(const char *id, const SecretOptions *o, Error **errp);
/* Forgets it, and wipes it from memory; nothing happens if there is none. */
CTX_CONTROL void secret_remove(const char *id);
/* A copy of the bytes of secret @id with a NUL behind them, for secret_wipe(). */
CTX_ANY char *secret_get(const char *id, size_t *len, Error **errp);
/* Overwrites and frees @len bytes at @secret; NULL is none. */
CTX_ANY void secret_wipe(char *secret, size_t len);

#endif
