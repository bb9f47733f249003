/* server.c: exports, listening sockets and the list of connections, see server.h. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/bitmap.h"
#include "nbd/conn-int.h"
#include "util/authz.h"
#include "util/epoch.h"

#define MAX_CONNECTIONS 100
#define MAX_LOOPS 4

typedef struct Listener Listener;
struct Listener {
    NbdServer *server;
    int fd;
    char *unlink_path;
    bool watched;
    Listener *next;
};

struct NbdServer {
    NbdServerOptions o;
    Lock lock;                 /* guards the exports */
    NbdExport *exports;
    NbdConn *conns;
    unsigned conn_count;
    Listener *listeners;
    Loop *loops[MAX_LOOPS];
    unsigned next_loop;
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

NbdServer *nbd_server_new(const NbdServerOptions *o)
{
    assert_control();
    NbdServer *s = g_new0(NbdServer, 1);

    s->o = *o;
    s->o.tls_authz = g_strdup(o->tls_authz);
    s->o.max_connections = o->max_connections ? o->max_connections : MAX_CONNECTIONS;
    s->o.loops = CLAMP(o->loops ? o->loops : g_get_num_processors(), 1, MAX_LOOPS);
    lock_init(&s->lock, RANK_NODE, "nbd-server");
    return s;
}

bool nbd_server_allows(const NbdServer *s, const TlsSession *t)
{
    if (!s->o.tls_authz) {
        return true;
    }
    g_autofree char *name = tls_peer_name(t);
    bool allowed = name && authz_allows(s->o.tls_authz, name);
    if (!allowed) {
        warn_report("NBD: TLS x509 authz check for %s is denied", name ? name : "a client without a name");
    }
    return allowed;
}

bool nbd_authz_ok(const char *authz, const TlsCreds *tls, Error **errp)
{
    if (!authz) {
        return true;
    }
    if (!tls) {
        return error_set(errp, "tls-authz is not permitted without tls-creds");
    }
    if (!tls_creds_name_peer(tls)) {
        return error_set(errp, "tls-authz needs certificates of clients: tls-creds-x509 with verify-peer=on");
    }
    return authz_exists(authz) || error_set(errp, "No authz object with id '%s'", authz);
}

TlsCreds *nbd_server_tls(const NbdServer *s)
{
    return s->o.tls;
}

unsigned nbd_server_connections(const NbdServer *s)
{
    return s->conn_count;
}

/* --- connections --- */

static void watch_listeners(NbdServer *s);

/* The next loop in turn, made when it is first needed; NULL: the host gives no thread. */
static Loop *choose_loop(NbdServer *s)
{
    unsigned i = s->next_loop++ % s->o.loops;
    Error *err = NULL;

    if (!s->loops[i]) {
        g_autofree char *name = g_strdup_printf("nbd%u", i);

        s->loops[i] = loop_new(name, THREAD_WORKER, &err);
    }
    if (err) {
        error_report(err);
    }
    return s->loops[i] ? s->loops[i] : s->loops[0];
}

static void conn_start(Post *p)
{
    nbd_conn_begin(container_of(p, NbdConn, start));
}

void nbd_server_adopt(NbdServer *s, int take_fd)
{
    assert_control();
    Loop *loop = s->stopping ? NULL : choose_loop(s);

    if (!loop) {
        close(take_fd);
        return;
    }
    NbdConn *c = nbd_conn_new(s, loop, take_fd);
    c->next = s->conns;
    s->conns = c;
    s->conn_count++;
    c->start.run = conn_start;
    loop_post(loop, &c->start);
}

static void server_end(NbdServer *s)
{
    for (unsigned i = 0; i < s->o.loops; i++) {
        if (s->loops[i]) {
            blk_forget_loop(s->loops[i]);
            loop_free(s->loops[i]);
        }
    }
    if (s->stopped) {
        s->stopped(s->stopped_arg);
    }
    lock_destroy(&s->lock);
    g_free((char *)(uintptr_t)s->o.tls_authz);
    g_free(s);
}

/* The bitmap @name of @n or of the nearest image behind it that has one. */
static BlkBitmap *bitmap_find(BlkNode *n, const char *name, bool writable, Error **errp)
{
    BlkBitmap *b = NULL;

    for (BlkNode *at = n; at && !b; at = blk_child(at, 1)) {
        b = blk_bitmap_find(at, name);
    }
    if (!b) {
        error_set(errp, "Bitmap '%s' is not found", name);
        return NULL;
    }
    if (!writable && !blk_read_only(n) && blk_bitmap_info(b).recording) {
        error_set(errp, "Enabled bitmap '%s' incompatible with readonly export", name);
        return NULL;
    }
    return blk_bitmap_usable(b, false, false, errp) ? b : NULL;
}

static void bitmaps_release(NbdExport *e)
{
    for (unsigned i = 0; e->bitmaps && i < e->bitmaps->len; i++) {
        blk_bitmap_set_busy(e->bitmaps->pdata[i], false);
    }
    g_clear_pointer(&e->bitmaps, g_ptr_array_unref);
    g_clear_pointer(&e->bitmap_names, g_strfreev);
}

static bool bitmaps_take(NbdExport *e, BlkNode *n, const NbdExportOptions *o, Error **errp)
{
    e->bitmaps = g_ptr_array_new();
    e->bitmap_names = g_strdupv((char **)(uintptr_t)o->bitmaps);
    for (unsigned i = 0; e->bitmap_names && e->bitmap_names[i]; i++) {
        BlkBitmap *b = i < CONTEXT_MAX - CONTEXT_BITMAPS
                       ? bitmap_find(n, e->bitmap_names[i], o->writable, errp) : NULL;

        if (!b) {
            return i < CONTEXT_MAX - CONTEXT_BITMAPS ? false
                   : error_set(errp, "too many bitmaps for one export");
        }
        blk_bitmap_set_busy(b, true);
        g_ptr_array_add(e->bitmaps, b);
    }
    return true;
}

static void export_end(NbdExport *e)
{
    NbdServer *s = e->server;
    NbdExport **at = &s->exports;

    lock_take(&s->lock);
    while (*at != e) {
        at = &(*at)->next;
    }
    *at = e->next;
    lock_drop(&s->lock);
    blk_detach(&e->use);
    if (e->removed) {
        e->removed(e->arg);
    }
    bitmaps_release(e);
    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

static void conn_free(void *arg)
{
    g_free(arg);
}

/* On control: @c's loop is done with it. */
static void conn_gone(Post *p)
{
    NbdConn *c = container_of(p, NbdConn, gone);
    NbdServer *s = c->server;
    NbdConn **at = &s->conns;
    NbdExport *e = c->exp;

    while (*at != c) {
        at = &(*at)->next;
    }
    *at = c->next;
    s->conn_count--;
    if (e) {
        lock_take(&s->lock);
        bool last = --e->clients == 0 && e->removing;
        lock_drop(&s->lock);
        if (last) {
            export_end(e);
        }
    }
    /* A kill that control posted is queued before this. */
    loop_call(c->loop, conn_free, c);
    if (s->stopping && !s->conns && !s->exports) {
        server_end(s);
        return;
    }
    watch_listeners(s);
    if (s->o.gone) {
        s->o.gone(s->o.arg, s->conn_count);
    }
}

void nbd_server_conn_gone(NbdServer *s, NbdConn *c)
{
    c->gone.run = conn_gone;
    loop_post(loop_control(), &c->gone);
}

static void conn_kill(void *arg)
{
    nbd_conn_close(arg);
}

/* --- listening --- */

static void accept_ready(void *arg, unsigned events)
{
    Listener *l = arg;
    NbdServer *s = l->server;

    while (s->conn_count < s->o.max_connections) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            return;
        }
        nbd_server_adopt(s, fd);
    }
    watch_listeners(s);
}

/* Listens while there is room; who comes beyond waits in the kernel's queue. */
static void watch_listeners(NbdServer *s)
{
    bool want = s->conn_count < s->o.max_connections && !s->stopping;

    for (Listener *l = s->listeners; l; l = l->next) {
        if (want && !l->watched) {
            loop_watch(loop_control(), l->fd, EPOLLIN, accept_ready, l);
        } else if (!want && l->watched) {
            loop_unwatch(loop_control(), l->fd);
        }
        l->watched = want;
    }
}

void nbd_server_listen(NbdServer *s, int take_fd, const char *unlink_path)
{
    assert_control();
    Listener *l = g_new0(Listener, 1);

    *l = (Listener){ .server = s, .fd = take_fd, .unlink_path = g_strdup(unlink_path), .next = s->listeners };
    s->listeners = l;
    watch_listeners(s);
}

void nbd_server_stop(NbdServer *s, void (*done)(void *arg), void *arg)
{
    assert_control();
    s->stopping = true;
    s->stopped = done;
    s->stopped_arg = arg;
    s->o.gone = NULL;
    watch_listeners(s);
    while (s->listeners) {
        Listener *l = s->listeners;

        s->listeners = l->next;
        close(l->fd);
        if (l->unlink_path) {
            unlink(l->unlink_path);
        }
        g_free(l->unlink_path);
        g_free(l);
    }
    for (NbdConn *c = s->conns; c; c = c->next) {
        loop_call(c->loop, conn_kill, c);
    }
    for (NbdExport *e = s->exports, *next; e; e = next) {
        next = e->next;
        nbd_export_remove(e);
    }
    if (!s->conns) {
        server_end(s);
    }
}

/* --- exports --- */

NbdExport *nbd_export_find(NbdServer *s, const char *name)
{
    NbdExport *e = s->exports;

    while (e && (e->removing || strcmp(e->name, name) != 0)) {
        e = e->next;
    }
    return e;
}

bool nbd_export_choose(NbdConn *c, const char *name)
{
    NbdServer *s = c->server;

    lock_take(&s->lock);
    NbdExport *e = nbd_export_find(s, name);
    if (e) {
        e->clients++;
        epoch_store(c->exp, e);
    }
    lock_drop(&s->lock);
    return e != NULL;
}

void nbd_exports_each(NbdServer *s, void (*fn)(const NbdExport *e, void *arg), void *arg)
{
    lock_take(&s->lock);
    for (const NbdExport *e = s->exports; e; e = e->next) {
        if (!e->removing) {
            fn(e, arg);
        }
    }
    lock_drop(&s->lock);
}

uint64_t nbd_export_size(const NbdExport *e)
{
    return __atomic_load_n(&e->size, __ATOMIC_RELAXED);
}

BlkNode *nbd_export_node(const NbdExport *e)
{
    assert_control();
    return e->use.node;
}

unsigned nbd_export_clients(const NbdExport *e)
{
    return e->clients;
}

static bool export_check(NbdServer *s, const NbdExportOptions *o, Error **errp)
{
    if (strlen(o->name) > NBD_MAX_STRING) {
        return error_set(errp, "export name '%.32s...' too long", o->name);
    }
    if (o->description && strlen(o->description) > NBD_MAX_STRING) {
        return error_set(errp, "description '%.32s...' too long", o->description);
    }
    if (nbd_export_find(s, o->name)) {
        return error_set(errp, "NBD server already has export named '%s'", o->name);
    }
    return true;
}

/* The node has another size, or is another one. */
static void export_changed(BlkUser *u)
{
    NbdExport *e = container_of(u, NbdExport, use);

    __atomic_store_n(&e->size, blk_size(u->node), __ATOMIC_RELAXED);
}

NbdExport *nbd_export_new(NbdServer *s, BlkNode *n, const NbdExportOptions *o, Error **errp)
{
    assert_control();
    g_autofree char *who = g_strdup_printf("NBD export '%s'", o->name);
    NbdExport *e = g_new0(NbdExport, 1);
    unsigned need = BLK_PERM_READ | (o->writable ? BLK_PERM_WRITE : 0);

    e->use.resized = e->use.moved = export_changed;
    if (!export_check(s, o, errp) || !bitmaps_take(e, n, o, errp) ||
        !blk_attach(n, &e->use, who, need, BLK_PERM_ALL, errp)) {
        bitmaps_release(e);
        g_free(e);
        return NULL;
    }
    e->server = s;
    e->size = blk_size(n);
    e->preferred = MAX(MAX(blk_limits(n)->align, blk_limits(n)->physical), 4096);
    e->name = g_strdup(o->name);
    e->description = g_strdup(o->description);
    e->writable = o->writable;
    e->writethrough = o->writethrough;
    e->multi_conn = o->multi_conn;
    e->depth = o->allocation_depth;
    e->removed = o->removed;
    e->arg = o->arg;
    lock_take(&s->lock);
    NbdExport **at = &s->exports;
    while (*at) {
        at = &(*at)->next;
    }
    *at = e;
    lock_drop(&s->lock);
    return e;
}

void nbd_export_remove(NbdExport *e)
{
    assert_control();
    NbdServer *s = e->server;

    lock_take(&s->lock);
    bool first = !e->removing;
    unsigned clients = e->clients;
    e->removing = true;
    lock_drop(&s->lock);
    if (!first) {
        return;
    }
    if (clients == 0) {
        export_end(e);
        return;
    }
    for (NbdConn *c = s->conns; c; c = c->next) {
        if (epoch_load(c->exp) == e) {
            loop_call(c->loop, conn_kill, c);
        }
    }
}
