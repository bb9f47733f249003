/* qmp-export.c: QMP commands for the NBD server and block exports, see nbd/server.h.
 *
 * 1. There is one server.  An export here lives until its NBD export is gone, and BLOCK_EXPORT_DELETED is
 *    sent then. */
#include <string.h>
#include <unistd.h>
#include "block/front.h"
#include "block/graph.h"
#include "nbd/server.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/objects.h"
#include "system/qmp-export.h"
#include "util/fdset.h"
#include "util/sockets.h"

typedef struct Export Export;
struct Export {
    char *id;
    NbdExport *nbd;
    bool going;
    Export *next;
};

static NbdServer *server;
static bool stopping;
static TlsCreds *server_tls;
static Export *exports;        /* newest first */

static Export *find(const char *id)
{
    Export *e = exports;

    while (e != NULL && strcmp(e->id, id) != 0) {
        e = e->next;
    }
    return e;
}

static void export_gone(void *arg)
{
    Export *e = arg, **at = &exports;

    while (*at != e) {
        at = &(*at)->next;
    }
    *at = e->next;
    qmp_event_block_export_deleted(e->id);
    g_free(e->id);
    g_free(e);
}

/* --- the server --- */

static int listen_fd(const char *text, Error **errp)
{
    int fd = fd_name_take(text), on = 0;
    socklen_t n = sizeof(on);

    if (fd < 0) {
        error_set(errp, "File descriptor named '%s' has not been found", text);
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) < 0 || !on) {
        error_set(errp, "File descriptor '%s' is not a listening socket", text);
        close(fd);
        return -1;
    }
    return fd;
}

static int listen_at(const SocketAddressLegacy *a, Error **errp)
{
    switch (a->type) {
    case SOCKET_ADDRESS_LEGACY_TYPE_INET:
        if (a->u.inet.data->to != 0 || a->u.inet.data->ipv4 || a->u.inet.data->ipv6) {
            error_set(errp, "Parameter '%s' is not supported here",
                      a->u.inet.data->to != 0 ? "to" : a->u.inet.data->ipv4 ? "ipv4" : "ipv6");
            return -1;
        }
        return socket_listen_inet(a->u.inet.data->host, a->u.inet.data->port, errp);
    case SOCKET_ADDRESS_LEGACY_TYPE_UNIX:
        if (a->u.unix_.data->abstract) {
            error_set(errp, "Parameter 'abstract' is not supported here");
            return -1;
        }
        return socket_listen_unix(a->u.unix_.data->path, errp);
    default:
        return listen_fd(a->u.fd.data->str, errp);
    }
}

bool qmp_nbd_server_start(const SocketAddressLegacy *addr, const char *tls_creds, const char *tls_authz,
                          uint32_t max_connections, Error **errp)
{
    NbdServerOptions o = { .max_connections = max_connections, .tls_authz = tls_authz };

    if (server != NULL) {
        return error_set(errp, "NBD server already running");
    }
    if (tls_creds != NULL) {
        o.tls = objects_tls(tls_creds, true, errp);
        if (o.tls == NULL) {
            return false;
        }
    }
    int fd = nbd_authz_ok(tls_authz, o.tls, errp) ? listen_at(addr, errp) : -1;
    if (fd < 0) {
        return false;
    }
    server_tls = o.tls != NULL ? tls_creds_ref(o.tls) : NULL;
    server = nbd_server_new(&o);
    nbd_server_listen(server, fd, addr->type == SOCKET_ADDRESS_LEGACY_TYPE_UNIX
                      ? addr->u.unix_.data->path : NULL);
    return true;
}

static void server_gone(void *arg)
{
    QmpPending *pending = arg;

    server = NULL;
    stopping = false;
    tls_creds_free(server_tls);
    server_tls = NULL;
    if (pending != NULL) {
        qmp_pending_done(pending, NULL);
    }
}

static bool need_server(Error **errp)
{
    return (server != NULL && !stopping) || error_set(errp, "NBD server not running");
}

bool qmp_nbd_server_stop(QmpPending *pending, Error **errp)
{
    if (!need_server(errp)) {
        return false;
    }
    stopping = true;
    nbd_server_stop(server, server_gone, pending);
    return true;
}

void exports_stop(void)
{
    if (server != NULL && !stopping) {
        stopping = true;
        nbd_server_stop(server, server_gone, NULL);
    }
    while (server != NULL) {
        loop_control_iterate(true);
    }
}

/* --- exports --- */

static bool id_is_well_formed(const char *id)
{
    return g_ascii_isalpha(*id) && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789-._")] == '\0';
}

static bool add(BlkNode *n, const char *id, NbdExportOptions *o, Error **errp)
{
    if (find(id) != NULL) {
        return error_set(errp, "Block export id '%s' is already in use", id);
    }
    if (o->writable && blk_read_only(n)) {
        return error_set(errp, "Cannot export read-only node as writable");
    }
    if (!need_server(errp)) {
        return false;
    }
    Export *e = g_new0(Export, 1);
    o->removed = export_gone;
    o->arg = e;
    /* Clients of a node that can be written see one another's writes: there is one cache below them. */
    o->multi_conn = true;
    e->nbd = nbd_export_new(server, n, o, errp);
    if (e->nbd == NULL) {
        g_free(e);
        return false;
    }
    e->id = g_strdup(id);
    e->next = exports;
    exports = e;
    return true;
}

static BlkNode *node_of(const char *name, const char *device, Error **errp)
{
    const BlkFront *f = *device ? blk_front_of_drive(device) : NULL;
    BlkNode *n = f != NULL ? f->node : *device ? blk_find_medium(device) : NULL;

    if (n == NULL) {
        n = blk_find(name);
    }
    if (n == NULL) {
        error_set(errp, "Cannot find device='%s' nor node-name='%s'", device, name);
    }
    return n;
}

bool qmp_block_export_add(const BlockExportOptions *args, Error **errp)
{
    const BlockExportOptionsNbd *nbd = &args->u.nbd;
    g_autoptr(GPtrArray) bitmaps = g_ptr_array_new();
    BlkNode *n = node_of(args->node_name, "", errp);
    NbdExportOptions o = { .name = nbd->name != NULL ? nbd->name : args->node_name,
                           .description = nbd->description, .writable = args->writable,
                           .writethrough = args->writethrough, .allocation_depth = nbd->allocation_depth };

    if (!id_is_well_formed(args->id)) {
        return error_set(errp, "Invalid block export id");
    }
    if (n == NULL) {
        return false;
    }
    if (args->iothread != NULL) {
        return error_set(errp, "Parameter 'iothread' is not supported: exports have threads of their own");
    }
    for (unsigned i = 0; i < nbd->bitmaps.n; i++) {
        g_ptr_array_add(bitmaps, nbd->bitmaps.at[i]);
    }
    g_ptr_array_add(bitmaps, NULL);
    o.bitmaps = (const char *const *)bitmaps->pdata;
    return add(n, args->id, &o, errp);
}

bool qmp_nbd_server_add(const char *device, const char *export_name, const char *description, bool writable,
                        const char *bitmap, Error **errp)
{
    BlkNode *n = node_of(device, device, errp);
    const char *name = export_name != NULL ? export_name : device;
    const char *const bitmaps[] = { bitmap, NULL };
    NbdExportOptions o = { .name = name, .description = description, .bitmaps = bitmaps,
                           .writable = writable && n != NULL && !blk_read_only(n) };

    if (n == NULL) {
        return false;
    }
    return add(n, name, &o, errp);
}

static bool remove_export(const char *id, BlockExportRemoveMode mode, Error **errp)
{
    Export *e = find(id);

    if (e == NULL) {
        return error_set(errp, "Export '%s' is not found", id);
    }
    if (e->going) {
        return error_set(errp, "Export '%s' is already shutting down", id);
    }
    if (mode == BLOCK_EXPORT_REMOVE_MODE_SAFE && nbd_export_clients(e->nbd) > 0) {
        error_set(errp, "export '%s' still in use", id);
        return error_hint(errp, "Use mode='hard' to force client disconnect");
    }
    e->going = true;
    nbd_export_remove(e->nbd);
    return true;
}

bool qmp_block_export_del(const char *id, BlockExportRemoveMode mode, Error **errp)
{
    return remove_export(id, mode, errp);
}

bool qmp_nbd_server_remove(const char *name, BlockExportRemoveMode mode, Error **errp)
{
    return remove_export(name, mode, errp);
}

bool qmp_query_block_exports(BlockExportInfoList *ret, Error **errp)
{
    for (const Export *e = exports; e != NULL; e = e->next) {
        BlockExportInfo *i = qapi_new_block_export_info();

        i->id = g_strdup(e->id);
        i->type = BLOCK_EXPORT_TYPE_NBD;
        i->node_name = g_strdup(blk_name(nbd_export_node(e->nbd)));
        i->shutting_down = e->going || stopping;
        qapi_append(ret, i);
    }
    return true;
}
