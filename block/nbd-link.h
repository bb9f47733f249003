/* nbd-link.h: a connection to an NBD server until its requests begin.
 *
 * 1. Everything here blocks, but never beyond its deadline. */
#ifndef BLOCK_NBD_LINK_H
#define BLOCK_NBD_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "util/error.h"
#include "util/sockets.h"
#include "util/tls.h"

/* Whom to ask for what; strings belong to the target. */
typedef struct NbdTarget {
    SocketPeer peer;
    char *name;                /* of the export; "" is the server's default */
    TlsCreds *tls;             /* a reference; NULL: in the clear */
    char *tls_hostname;        /* NULL: the certificate may name anybody */
    bool plain;                /* no structured replies, so no contexts */
    char *context;             /* the metadata context asked for: base:allocation, or a dirty bitmap */
} NbdTarget;

typedef struct NbdLink {
    int fd;                    /* does not block */
    TlsSession *tls;
    bool structured;
    bool has_context;          /* block status may be asked */
    uint32_t context;          /* its number */
    uint64_t size;
    uint16_t flags;            /* NBD_FLAG_... */
    uint32_t min_block, max_block;
} NbdLink;

/* Connects and negotiates for t->name; false: it could not be had. */
CTX_ANY bool nbd_link_open(NbdLink *l, const NbdTarget *t, int64_t deadline_ns, Error **errp);
/* The same on the connected socket @take_fd. */
CTX_ANY bool nbd_link_adopt(NbdLink *l, int take_fd, const NbdTarget *t, int64_t deadline_ns, Error **errp);
/* Says good-bye, if the server listens, and closes. */
CTX_ANY void nbd_link_close(NbdLink *l);

/* An export in a server's list; strings may be NULL. */
typedef struct NbdListed {
    char *name, *description;
    bool known;                /* the rest is */
    uint64_t size;
    uint16_t flags;
    uint32_t min_block, preferred_block, max_block;    /* 0: not told */
    char **contexts;
} NbdListed;

/* What @t's server offers: an array of NbdListed, owned by the caller (nbd_list_free()). */
CTX_ANY GArray *nbd_list(const NbdTarget *t, int64_t deadline_ns, Error **errp);
CTX_ANY void nbd_list_free(GArray *list);

#endif
