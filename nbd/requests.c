/* requests.c: requests of the transmission phase, from their header to the node and back (NBD protocol,
 * "Transmission phase").
 *
 * 1. A request is taken when it fits the connection's allowance: NBD_MAX_IN_FLIGHT of them, with
 *    IN_FLIGHT_BYTES of data; a single one always fits.
 * 2. Headers and data buffers are kept for reuse by the connection, KEEP_BYTES of the latter, so that the
 *    steady state allocates nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "nbd/conn-int.h"

#define IN_FLIGHT_BYTES (64u << 20)
#define KEEP_BYTES (8u << 20)
#define CACHE_BYTES (1u << 20)     /* read at a time by NBD_CMD_CACHE */
#define FIRST_CLASS 12             /* 4 KiB */

/* --- memory --- */

static unsigned class_of(uint32_t len)
{
    unsigned i = 0;

    while ((uint64_t)len > UINT64_C(1) << (FIRST_CLASS + i)) {
        i++;
    }
    return i;
}

/* Page-aligned, so that O_DIRECT takes it. */
bool nbd_request_buffer(NbdRequest *r, uint32_t len)
{
    NbdConn *c = r->conn;
    unsigned i = class_of(len);
    void *p = c->free_bufs[i];

    if (p) {
        memcpy(&c->free_bufs[i], p, sizeof(void *));
        c->free_bytes -= (size_t)1 << (FIRST_CLASS + i);
    } else if (posix_memalign(&p, 4096, (size_t)1 << (FIRST_CLASS + i)) != 0) {
        return false;
    }
    r->buf = p;
    r->buf_class = i;
    r->iov = (struct iovec){ p, len };
    return true;
}

static void put_buf(NbdRequest *r)
{
    NbdConn *c = r->conn;
    size_t size = (size_t)1 << (FIRST_CLASS + r->buf_class);

    if (!r->buf) {
        return;
    }
    if (c->free_bytes + size > KEEP_BYTES) {
        free(r->buf);
    } else {
        memcpy(r->buf, &c->free_bufs[r->buf_class], sizeof(void *));
        c->free_bufs[r->buf_class] = r->buf;
        c->free_bytes += size;
    }
    r->buf = NULL;
}

void nbd_request_free(NbdRequest *r)
{
    NbdConn *c = r->conn;

    put_buf(r);
    c->in_flight--;
    c->in_flight_bytes -= r->charged;
    r->next = c->free_requests;
    c->free_requests = r;
}

void nbd_requests_forget(NbdConn *c)
{
    while (c->free_requests) {
        NbdRequest *r = c->free_requests;

        c->free_requests = r->next;
        g_free(r);
    }
    for (unsigned i = 0; i < BUF_CLASSES; i++) {
        while (c->free_bufs[i]) {
            void *p = c->free_bufs[i];

            memcpy(&c->free_bufs[i], p, sizeof(void *));
            free(p);
        }
    }
}

static NbdRequest *get_request(NbdConn *c)
{
    NbdRequest *r = c->free_requests;

    if (r) {
        c->free_requests = r->next;
    } else {
        r = g_new0(NbdRequest, 1);
        r->conn = c;
    }
    r->error = 0;
    r->part_count = 0;
    r->sent = 0;
    r->charged = 0;
    c->in_flight++;
    return r;
}

/* --- the end --- */

/* @r has ended: its reply is made and queued. */
static void answer(NbdRequest *r)
{
    NbdConn *c = r->conn;

    if (c->state == CONN_DEAD) {
        nbd_request_free(r);
        nbd_conn_send_soon(c);         /* which goes home with the last one */
        return;
    }
    nbd_reply_make(r);
    r->next = NULL;
    *c->out_tail = r;
    c->out_tail = &r->next;
    for (unsigned i = 0; i < r->part_count; i++) {
        c->out_bytes += r->parts[i].head_len + r->parts[i].body_len;
    }
    nbd_conn_send_soon(c);
}

static void fail(NbdRequest *r, int err)
{
    r->error = err;
    answer(r);
}

static void blk_done(BlkReq *blk, int ret)
{
    nbd_request_done(container_of(blk, NbdRequest, blk), ret);
}

static void submit(NbdRequest *r, BlkOp op, unsigned flags, uint64_t off, uint64_t len)
{
    r->blk.op = op;
    r->blk.flags = flags;
    r->blk.off = off;
    r->blk.len = len;
    r->blk.iov = &r->iov;
    r->blk.niov = 1;
    r->blk.loop = r->conn->loop;
    r->blk.done = blk_done;
    blk_user_submit(&r->conn->exp->use, &r->blk);
}

/* The next piece of a request that is for the host's cache alone. */
static void cache_more(NbdRequest *r)
{
    uint32_t n = MIN(r->len, CACHE_BYTES);

    r->iov.iov_len = n;
    submit(r, BLK_READ, 0, r->off, n);
    r->off += n;
    r->len -= n;
}

void nbd_request_done(NbdRequest *r, int ret)
{
    r->error = ret < 0 ? -ret : 0;
    if (ret == 0 && r->type == NBD_CMD_TRIM && (r->flags & NBD_CMD_FLAG_FUA) && r->blk.op != BLK_FLUSH) {
        submit(r, BLK_FLUSH, 0, 0, 0);
    } else if (ret == 0 && r->type == NBD_CMD_CACHE && r->len) {
        cache_more(r);
    } else {
        answer(r);
    }
}

/* --- the start --- */

/* 0, or the errno of what is wrong with @r. */
static int check(const NbdRequest *r)
{
    static const uint16_t flags[] = {
        [NBD_CMD_READ] = NBD_CMD_FLAG_DF, [NBD_CMD_WRITE] = 0, [NBD_CMD_FLUSH] = 0, [NBD_CMD_TRIM] = 0,
        [NBD_CMD_CACHE] = 0, [NBD_CMD_WRITE_ZEROES] = NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
        [NBD_CMD_BLOCK_STATUS] = NBD_CMD_FLAG_REQ_ONE, [NBD_CMD_DISC] = 0,
    };
    const NbdExport *e = r->conn->exp;
    bool writes = r->type == NBD_CMD_WRITE || r->type == NBD_CMD_TRIM || r->type == NBD_CMD_WRITE_ZEROES;

    if (r->type > NBD_CMD_BLOCK_STATUS || (r->flags & ~(flags[r->type] | NBD_CMD_FLAG_FUA))) {
        return EINVAL;
    }
    if ((r->flags & NBD_CMD_FLAG_DF) && !r->conn->structured) {
        return EINVAL;
    }
    if (writes && !e->writable) {
        return EPERM;
    }
    if (r->type == NBD_CMD_FLUSH) {
        return r->off || r->len ? EINVAL : 0;
    }
    if (!fits(r->off, r->len, nbd_export_size(e))) {
        return writes ? ENOSPC : EINVAL;
    }
    if (r->type == NBD_CMD_READ && r->len > NBD_MAX_PAYLOAD) {
        return EINVAL;
    }
    if (r->type == NBD_CMD_BLOCK_STATUS && (!r->conn->contexts || !r->len)) {
        return EINVAL;
    }
    return 0;
}

static void start(NbdRequest *r)
{
    unsigned fua = r->flags & NBD_CMD_FLAG_FUA || r->conn->exp->writethrough ? BLK_FUA : 0;
    int err = r->error ? r->error : check(r);

    if (!err && (r->type == NBD_CMD_READ || r->type == NBD_CMD_CACHE) &&
        !nbd_request_buffer(r, r->type == NBD_CMD_READ ? MAX(r->len, 1) : CACHE_BYTES)) {
        err = ENOMEM;
    }
    if (err) {
        fail(r, err);
        return;
    }
    switch (r->type) {
    case NBD_CMD_READ:
        r->iov.iov_len = r->len;
        submit(r, BLK_READ, 0, r->off, r->len);
        break;
    case NBD_CMD_WRITE:
        submit(r, BLK_WRITE, fua, r->off, r->len);
        break;
    case NBD_CMD_FLUSH:
        submit(r, BLK_FLUSH, 0, 0, 0);
        break;
    case NBD_CMD_TRIM:
        submit(r, BLK_DISCARD, 0, r->off, r->len);
        break;
    case NBD_CMD_CACHE:
        cache_more(r);
        break;
    case NBD_CMD_WRITE_ZEROES:
        submit(r, BLK_ZERO, fua | (r->flags & NBD_CMD_FLAG_NO_HOLE ? 0 : BLK_MAY_UNMAP) |
               (r->flags & NBD_CMD_FLAG_FAST_ZERO ? BLK_NO_FALLBACK : 0), r->off, r->len);
        break;
    default:
        nbd_status_start(r);
        break;
    }
}

void nbd_request_filled(NbdConn *c)
{
    NbdRequest *r = c->filling;

    c->filling = NULL;
    start(r);
}

/* Takes what of a write's data is there. */
static void take_data(NbdConn *c, NbdRequest *r)
{
    if (r->len > NBD_MAX_PAYLOAD || !nbd_request_buffer(r, MAX(r->len, 1))) {
        r->error = r->len > NBD_MAX_PAYLOAD ? EINVAL : ENOMEM;
        c->skip = r->len;
        start(r);
        return;
    }
    r->iov.iov_len = r->len;
    uint32_t n = (uint32_t)MIN(r->len, c->in_to - c->in_from);
    memcpy(r->buf, c->in + c->in_from, n);
    c->in_from += n;
    if (n == r->len) {
        start(r);
    } else {
        c->filling = r;
        c->filled = n;
    }
}

bool nbd_request_step(NbdConn *c)
{
    NbdRequestMsg m;

    if (c->in_to - c->in_from < sizeof(m)) {
        return false;
    }
    memcpy(&m, c->in + c->in_from, sizeof(m));
    uint16_t type = be16(m.type);
    uint32_t len = be32(m.len);
    if (be32(m.magic) != NBD_REQUEST_MAGIC) {
        nbd_conn_close(c);
        return true;
    }
    if (type == NBD_CMD_DISC) {
        c->in_from = c->in_to;
        c->closing = true;
        nbd_conn_send_soon(c);
        return false;
    }
    uint32_t charged = type == NBD_CMD_READ || type == NBD_CMD_WRITE ? MIN(len, NBD_MAX_PAYLOAD) :
                       type == NBD_CMD_CACHE ? CACHE_BYTES : 0;
    if (c->in_flight >= NBD_MAX_IN_FLIGHT ||
        (c->in_flight && c->in_flight_bytes + charged > IN_FLIGHT_BYTES)) {
        c->paused = true;
        return false;
    }
    c->in_from += sizeof(m);
    NbdRequest *r = get_request(c);
    r->handle = m.handle;
    r->type = type;
    r->flags = be16(m.flags);
    r->off = be64(m.off);
    r->len = len;
    r->charged = charged;
    c->in_flight_bytes += charged;
    if (type == NBD_CMD_WRITE) {
        take_data(c, r);
    } else {
        start(r);
    }
    return true;
}
