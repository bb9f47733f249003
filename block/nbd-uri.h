/* nbd-uri.h: the ways to name an NBD export in a file name. */
#ifndef BLOCK_NBD_URI_H
#define BLOCK_NBD_URI_H

#include "block/block.h"

typedef struct BlkNbdParsed {
    BlkNbdOptions o;
    char *text[4];             /* what @o points to */
} BlkNbdParsed;

/* "nbd://HOST[:PORT]/[EXPORT]", "nbd+unix:///[EXPORT]?socket=PATH" (nbds: not without credentials), and
 * "nbd:HOST:PORT[:exportname=EXPORT]", "nbd:unix:PATH[:exportname=EXPORT]"; NULL and @errp when it is
 * neither. */
BlkNbdParsed *nbd_uri_parse(const char *text, Error **errp);
void nbd_uri_free(BlkNbdParsed *p);
/* The URI for @o, owned by the caller. */
char *nbd_uri_make(const BlkNbdOptions *o);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlkNbdParsed, nbd_uri_free)

#endif
