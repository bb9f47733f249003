/* nbd.c: the protocol nbd: an export of an NBD server as a node.
 *
 * 1. A request is cut into pieces that the server takes, one after the other; what the server cannot do is
 *    done by what it can: writes for zeroes, a flush after the write for FUA.
 * 2. The node's size is the export's, rounded up to 512; bytes past its end read as zeroes. */
#include <errno.h>
#include <glib-unix.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "block/nbd-int.h"
#include "block/nbd-uri.h"
#include "util/fdset.h"

#define LONGEST (1u << 30)         /* of what carries no data */
#define ZEROES (1u << 20)          /* bytes written at a time in the place of zeroing */
#define NEGOTIATE_NS (15 * NS_PER_SEC)
#define MAX_CONNECTIONS 16
#define RETRY_MS 100

const uint8_t nbd_zeroes[ZEROES];

/* --- calls --- */

static uint16_t command_of(const NbdNode *nbd, const NbdCall *c)
{
    switch (c->op) {
    case BLK_READ:
        return NBD_CMD_READ;
    case BLK_WRITE:
        return NBD_CMD_WRITE;
    case BLK_ZERO:
        return nbd->flags & NBD_FLAG_SEND_WRITE_ZEROES ? NBD_CMD_WRITE_ZEROES : NBD_CMD_WRITE;
    case BLK_DISCARD:
        return NBD_CMD_TRIM;
    default:
        return NBD_CMD_FLUSH;
    }
}

/* What lies past the export's end: reads as zeroes, and takes no writes. */
static bool past_end(const NbdNode *nbd, NbdCall *c)
{
    if (c->op == BLK_FLUSH || c->off < nbd->size) {
        return false;
    }
    if (c->op == BLK_READ) {
        blk_iov_zero(c->iov, c->niov, c->done, c->left);
    }
    c->ret = c->op == BLK_WRITE ? -EIO : 0;
    return true;
}

bool nbd_call_next(NbdCall *c)
{
    const NbdNode *nbd = c->conn->node->state;

    if (c->status) {
        c->cmd = NBD_CMD_BLOCK_STATUS;
        c->piece = (uint32_t)MIN(c->left, LONGEST);
        return true;
    }
    if (c->left == 0 && c->flush_after && c->op != BLK_FLUSH) {
        c->op = BLK_FLUSH;
        c->done = 0;
        c->flush_after = false;
        c->cmd = NBD_CMD_FLUSH;
        c->piece = 0;
        c->off = 0;
        return true;
    }
    if ((c->left == 0 && (c->op != BLK_FLUSH || c->done)) || past_end(nbd, c)) {
        return false;
    }
    c->cmd = command_of(nbd, c);
    bool data = c->cmd == NBD_CMD_READ || c->cmd == NBD_CMD_WRITE;
    c->piece = (uint32_t)MIN(c->left, data ? nbd->max_block : LONGEST);
    if (c->op == BLK_ZERO && c->cmd == NBD_CMD_WRITE) {
        c->piece = MIN(c->piece, ZEROES);
    }
    if (c->op != BLK_FLUSH) {
        c->piece = (uint32_t)MIN(c->piece, nbd->size - c->off);
    }
    return true;
}

static void home_on_loop(Post *p)
{
    NbdCall *c = container_of(p, NbdCall, post);
    BlkReq *r = c->req;
    BlkLoop *bl = r->at->bl;
    int ret = c->ret;

    g_free(c);
    blk_loop_enter(bl);
    blk_complete(r, ret);
    blk_loop_leave(bl);
}

void nbd_call_home(NbdCall *c)
{
    if (c->req) {
        c->post.run = home_on_loop;
        loop_post(c->req->loop, &c->post);
        return;
    }
    lock_take(c->lock);
    c->over = true;
    lock_broadcast(c->woken);
    lock_drop(c->lock);
}

/* 0: it is for the server; 1: there is nothing to do; or -errno. */
static int prepare(BlkNode *n, NbdCall *c)
{
    const NbdNode *nbd = n->state;
    bool past = c->op != BLK_FLUSH && c->off + c->left > nbd->size;

    if (c->op == BLK_FLUSH) {
        return n->no_flush || !(nbd->flags & NBD_FLAG_SEND_FLUSH);
    }
    if (c->op == BLK_DISCARD && (!n->unmap || !(nbd->flags & NBD_FLAG_SEND_TRIM))) {
        return 1;
    }
    if (c->op == BLK_ZERO && (c->flags & BLK_NO_FALLBACK) && !(nbd->flags & NBD_FLAG_SEND_FAST_ZERO)) {
        return -ENOTSUP;
    }
    if (((c->off | c->left) & (nbd->min_block - 1)) && !past) {
        return -EINVAL;
    }
    if ((c->flags & BLK_FUA) && !(nbd->flags & NBD_FLAG_SEND_FUA)) {
        c->flush_after = (nbd->flags & NBD_FLAG_SEND_FLUSH) != 0;
        c->flags &= ~BLK_FUA;
    }
    return 0;
}

static NbdClientConn *conn_of(const NbdNode *nbd, const void *who)
{
    return &nbd->conns[nbd->count == 1 ? 0 : g_direct_hash(who) / 64 % nbd->count];
}

static void nbd_submit(BlkLane *l, BlkReq *r)
{
    BlkNode *n = l->node;
    NbdCall *c = g_new0(NbdCall, 1);

    *c = (NbdCall){ .req = r, .op = r->op, .flags = r->flags, .off = r->pos, .left = r->left, .iov = r->cur,
                    .niov = r->ncur };
    int ret = prepare(n, c);
    if (ret) {
        g_free(c);
        blk_complete_later(r, MIN(ret, 0));
        return;
    }
    nbd_conn_call(conn_of(n->state, l->loop), c);
}

/* @c on the stack of a thread that waits for it. */
static int call_and_wait(BlkNode *n, NbdCall *c)
{
    LockCond woken = { 0 };
    Lock lock;

    lock_init(&lock, RANK_LEAF, "nbd-call");
    c->lock = &lock;
    c->woken = &woken;
    nbd_conn_call(conn_of(n->state, NULL), c);
    lock_take(&lock);
    while (!c->over) {
        lock_wait(&lock, &woken, -1);
    }
    lock_drop(&lock);
    lock_destroy(&lock);
    return c->ret;
}

static int nbd_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                        unsigned niov, uint64_t len)
{
    NbdCall c = { .op = op, .flags = flags, .off = off, .left = len, .iov = iov, .niov = niov };
    int ret = prepare(n, &c);

    return ret ? MIN(ret, 0) : call_and_wait(n, &c);
}

static int nbd_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    const NbdNode *nbd = n->state;
    NbdCall c = { .status = true, .off = off, .left = MIN(len, nbd->size - MIN(off, nbd->size)) };

    *s = (BlkStatus){ .flags = BLK_STATUS_HERE | BLK_STATUS_PLACE | BLK_STATUS_DATA, .len = len, .file = n,
                      .place = off };
    if (off >= nbd->size) {
        s->flags = BLK_STATUS_HERE | BLK_STATUS_PLACE | BLK_STATUS_ZERO;
        return 0;
    }
    if (!nbd->has_context || (off & (nbd->min_block - 1))) {
        return 0;
    }
    int ret = call_and_wait(n, &c);
    if (ret < 0) {
        return ret;
    }
    s->len = MIN(c.state_len, MIN(len, LONGEST));
    s->flags = BLK_STATUS_HERE | BLK_STATUS_PLACE | (c.state & NBD_STATE_HOLE ? 0 : BLK_STATUS_DATA) |
               (c.state & NBD_STATE_ZERO ? BLK_STATUS_ZERO : 0);
    return 0;
}

/* --- opening --- */

static void target_clear(NbdTarget *t)
{
    g_free(t->name);
    g_free(t->tls_hostname);
    g_free(t->context);
    tls_creds_free(t->tls);
}

static void nbd_close(BlkNode *n)
{
    NbdNode *nbd = n->state;

    for (unsigned i = 0; i < nbd->count; i++) {
        nbd_conn_end(&nbd->conns[i]);
    }
    g_free(nbd->conns);
    target_clear(&nbd->target);
}

static bool set_target(NbdTarget *t, const BlkNbdOptions *o, Error **errp)
{
    t->name = g_strdup(o->export_name ? o->export_name : "");
    t->context = o->bitmap ? g_strdup(o->bitmap) : g_strdup("base:allocation");
    if (strlen(t->name) > NBD_MAX_STRING || strlen(t->context) > NBD_MAX_STRING) {
        return error_set(errp, "%s too long to send to server", strlen(t->name) > NBD_MAX_STRING
                         ? "export name" : "x-dirty-bitmap");
    }
    if (o->tls && tls_creds_for_server(o->tls)) {
        return error_set(errp, "Expecting TLS credentials with a client endpoint");
    }
    t->tls = o->tls ? tls_creds_ref(o->tls) : NULL;
    t->tls_hostname = g_strdup(o->tls_hostname ? o->tls_hostname : o->path ? NULL : o->host);
    return o->fd_name || (o->path ? socket_peer_unix(&t->peer, o->path, errp)
                                  : socket_peer_inet(&t->peer, o->host, o->port, errp));
}

static bool first_link(NbdNode *nbd, const BlkNbdOptions *o, NbdLink *l, Error **errp)
{
    int64_t now = clock_now(CLOCK_HOST), until = now + (int64_t)o->open_timeout * NS_PER_SEC;

    if (o->fd_name) {
        int fd = fd_name_take(o->fd_name);

        if (fd < 0) {
            return error_set(errp, "File descriptor named '%s' has not been found", o->fd_name);
        }
        g_unix_set_fd_nonblocking(fd, TRUE, NULL);
        return nbd_link_adopt(l, fd, &nbd->target, now + NEGOTIATE_NS, errp);
    }
    for (;;) {
        Error *err = NULL;

        if (nbd_link_open(l, &nbd->target, clock_now(CLOCK_HOST) + NEGOTIATE_NS, &err)) {
            return true;
        }
        if (clock_now(CLOCK_HOST) >= until) {
            return error_move(errp, err);
        }
        error_free(err);
        poll(NULL, 0, RETRY_MS);
    }
}

static void set_limits(BlkNode *n, const NbdLink *l)
{
    n->limits.can_zero = l->flags & NBD_FLAG_SEND_WRITE_ZEROES;
    n->limits.discard_align = n->unmap && (l->flags & NBD_FLAG_SEND_TRIM) ? MAX(l->min_block, 512) : 0;
    n->limits.rotational = l->flags & NBD_FLAG_ROTATIONAL;
    n->limits.align = l->min_block;
    if (l->min_block > 512) {
        n->limits.logical = n->limits.physical = l->min_block;
    }
}

static bool use_link(BlkNode *n, const BlkNbdOptions *o, NbdLink *l, Error **errp)
{
    NbdNode *nbd = n->state;

    if (o->bitmap && !l->has_context) {
        return error_set(errp, "requested x-dirty-bitmap %s not found", o->bitmap);
    }
    if ((l->flags & NBD_FLAG_READ_ONLY) && !n->read_only) {
        if (!n->auto_read_only) {
            return error_set(errp, "request on write denied without write permission");
        }
        n->read_only = true;
    }
    nbd->size = l->size;
    nbd->flags = l->flags;
    nbd->min_block = l->min_block;
    nbd->max_block = l->max_block;
    nbd->has_context = l->has_context;
    n->size = ALIGN_UP(l->size, 512);
    set_limits(n, l);
    bool several = l->flags & NBD_FLAG_CAN_MULTI_CONN && !o->fd_name;
    unsigned count = several ? CLAMP(o->connections, 1, MAX_CONNECTIONS) : 1;
    nbd->conns = g_new0(NbdClientConn, count);
    for (; nbd->count < count; nbd->count++) {
        NbdClientConn *c = &nbd->conns[nbd->count];

        if (!nbd_conn_open(c, n, l, (int64_t)o->reconnect_delay * NS_PER_SEC, errp)) {
            return false;
        }
        l->fd = -1;            /* the first has it; the others connect by themselves */
        l->tls = NULL;
    }
    return true;
}

static bool nbd_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    NbdNode *nbd = n->state;
    NbdLink link = { .fd = -1 };
    g_autoptr(BlkNbdParsed) parsed = o->nbd ? NULL : nbd_uri_parse(o->filename, errp);
    const BlkNbdOptions *with = o->nbd ? o->nbd : parsed ? &parsed->o : NULL;

    if (!with) {
        return false;
    }
    if (!set_target(&nbd->target, with, errp) || !first_link(nbd, with, &link, errp) ||
        !use_link(n, with, &link, errp)) {
        nbd_link_close(&link);
        nbd_close(n);
        return false;
    }
    g_free(n->filename);
    n->filename = nbd_uri_make(with);
    return true;
}

const BlkDriver blk_nbd = {
    .name = "nbd",
    .size = sizeof(NbdNode),
    .options = BLK_OPT_NBD,
    .open = nbd_open,
    .close = nbd_close,
    .status = nbd_status,
    .submit = nbd_submit,
    .blocking = nbd_blocking,
};
