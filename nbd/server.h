/* server.h: an NBD server: what it exports, where it listens, who is connected.
 *
 * 1. A server and its exports are made, changed and freed on the control thread.
 * 2. Each connection lives on one of the server's own worker loops.
 * 3. A client costs at most NBD_MAX_IN_FLIGHT requests and about 64 MiB, whatever it does; one that has not
 *    chosen an export after ten seconds is sent away.  So a server holds at most max_connections of that. */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "block/block.h"

#define NBD_MAX_IN_FLIGHT 256

typedef struct NbdServer NbdServer;
typedef struct NbdExport NbdExport;

typedef struct NbdServerOptions {
    unsigned max_connections;  /* at a time; 0: 100.  More wait in the kernel's queue. */
    unsigned loops;            /* worker loops; 0: one for each processor, at most 4 */
    struct TlsCreds *tls;      /* borrowed for the server's life; NULL: in the clear */
    const char *tls_authz;     /* id of the authz object that a client's name must pass; NULL: any; copied */
    /* A connection has ended, @left are there still; control thread.  May be NULL. */
    void (*gone)(void *arg, unsigned left);
    void *arg;
} NbdServerOptions;

/* A server that listens nowhere yet. */
CTX_CONTROL NbdServer *nbd_server_new(const NbdServerOptions *o);
/* Can @authz (NULL: it need not) decide about the clients of a server with @tls? */
CTX_CONTROL bool nbd_authz_ok(const char *authz, const struct TlsCreds *tls, Error **errp);
/* Accepts clients from the listening socket @take_fd; @unlink_path (may be NULL) is removed at the end. */
CTX_CONTROL void nbd_server_listen(NbdServer *s, int take_fd, const char *unlink_path);
/* Serves the connected socket @take_fd. */
CTX_CONTROL void nbd_server_adopt(NbdServer *s, int take_fd);
/* Stops listening, ends the connections and removes the exports, whose removed() is called; then calls
 * done(arg) on the control thread, and @s is gone.  @done may be NULL. */
CTX_CONTROL void nbd_server_stop(NbdServer *s, void (*done)(void *arg), void *arg);
CTX_CONTROL unsigned nbd_server_connections(const NbdServer *s);

typedef struct NbdExportOptions {
    const char *name;          /* at most NBD_MAX_STRING bytes */
    const char *description;   /* NULL: none */
    bool writable;
    bool writethrough;         /* a write ends when it is durable */
    bool multi_conn;           /* tell clients that several connections see one another's writes */
    bool allocation_depth;     /* the context qemu:allocation-depth is there */
    /* Dirty bitmaps of the node or of what is behind it, told of as qemu:dirty-bitmap:NAME and in use
     * meanwhile; NULL-terminated or NULL. */
    const char *const *bitmaps;
    /* The export is gone and its node not used any more; control thread.  May be NULL. */
    void (*removed)(void *arg);
    void *arg;
} NbdExportOptions;

/* Offers @n, of which the export becomes a user. */
CTX_CONTROL NbdExport *nbd_export_new(NbdServer *s, BlkNode *n, const NbdExportOptions *o, Error **errp);
CTX_CONTROL NbdExport *nbd_export_find(NbdServer *s, const char *name);
/* What it shows; another one when the graph changes under it. */
CTX_CONTROL BlkNode *nbd_export_node(const NbdExport *e);
/* How many clients have chosen it. */
CTX_CONTROL unsigned nbd_export_clients(const NbdExport *e);
/* Nobody can choose it from now on, and its clients are disconnected; it is gone when removed() is called. */
CTX_CONTROL void nbd_export_remove(NbdExport *e);

#endif
