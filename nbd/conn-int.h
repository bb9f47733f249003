/* conn-int.h: a connection of the NBD server, and what the server's files know of one another.
 *
 * 1. All of a connection but @gone is touched on its loop only; the server's lists on the control thread
 *    only, but exports, which handshakes look at, under the server's lock.
 * 2. A connection goes home in three steps: its loop has ended it (nothing in flight, descriptor closed),
 *    control takes it off the list, and its loop, where a last kill may still be queued, frees it. */
#ifndef NBD_CONN_INT_H
#define NBD_CONN_INT_H

#include "block/nbd-proto.h"
#include "nbd/server.h"
#include "util/lock.h"
#include "util/tls.h"

typedef struct NbdConn NbdConn;
typedef struct NbdRequest NbdRequest;

struct NbdExport {
    NbdServer *server;
    BlkUser use;               /* the node may change under it */
    uint64_t size;             /* bytes; atomic, written on control */
    uint32_t preferred;        /* block size, bytes */
    char *name, *description;
    bool writable, writethrough, multi_conn, depth, removing;
    GPtrArray *bitmaps;        /* BlkBitmap, busy while this is here */
    char **bitmap_names;
    unsigned clients;          /* under the server's lock */
    void (*removed)(void *arg);
    void *arg;
    NbdExport *next;
};

enum { CONTEXT_ALLOCATION, CONTEXT_DEPTH, CONTEXT_BITMAPS, CONTEXT_MAX = 64 };

/* A part of a reply: a header, and bytes that lie elsewhere. */
typedef struct NbdPart {
    uint8_t head[32];
    unsigned head_len;
    const void *body;
    size_t body_len;
} NbdPart;

#define PARTS 8

struct NbdRequest {
    BlkReq blk;
    NbdConn *conn;
    NbdRequest *next;
    uint64_t handle, off;
    uint32_t len;
    uint16_t type, flags;
    int error;                 /* 0 or an errno */
    uint8_t *buf;
    unsigned buf_class;
    uint32_t charged;          /* bytes of the connection's allowance */
    struct iovec iov;
    NbdPart parts[PARTS];
    unsigned part_count;
    uint64_t sent;             /* bytes of the parts */
};

enum ConnState { CONN_HELLO, CONN_OPTIONS, CONN_TLS, CONN_REQUESTS, CONN_DEAD };

#define IN_BYTES (128 * 1024)
#define BUF_CLASSES 14         /* 4 KiB to 32 MiB */

struct NbdConn {
    NbdServer *server;
    Loop *loop;
    int fd;
    TlsSession *tls;           /* NULL: in the clear */
    enum ConnState state;
    unsigned watched;          /* epoll events */
    bool no_zeroes, fixed, structured, wants_tls, closing, paused, home;
    Timer patience;            /* for the handshake */
    Post start, send, gone;
    bool send_posted;

    uint8_t *in;
    size_t in_from, in_to;
    uint64_t skip;             /* bytes that nobody wants */
    NbdRequest *filling;       /* a write whose data comes in */
    uint32_t filled;

    GByteArray *said;          /* of the handshake, to be sent */
    size_t said_sent;

    NbdExport *exp;
    char *meta_name;           /* the export that the contexts are of */
    uint64_t contexts;         /* bits */

    unsigned in_flight;
    uint64_t in_flight_bytes;
    NbdRequest *out, **out_tail;
    size_t out_bytes;
    NbdRequest *free_requests;
    void *free_bufs[BUF_CLASSES];
    size_t free_bytes;
    uint8_t *clear;            /* TLS: bytes gathered for a record */
    NbdConn *next;             /* of the server's list; control */
};

/* server.c */

/* In bytes; any thread. */
uint64_t nbd_export_size(const NbdExport *e);
/* Makes @c a client of the export @name; false: there is none. */
bool nbd_export_choose(NbdConn *c, const char *name);
/* Calls fn for each export that can be chosen, under the server's lock. */
void nbd_exports_each(NbdServer *s, void (*fn)(const NbdExport *e, void *arg), void *arg);
TlsCreds *nbd_server_tls(const NbdServer *s);
/* May the client of @t, which has shaken hands, go on? */
bool nbd_server_allows(const NbdServer *s, const TlsSession *t);
/* The end of @c as far as its loop is concerned. */
void nbd_server_conn_gone(NbdServer *s, NbdConn *c);

/* conn.c */

/* A connection on @loop, for the server's list; nbd_conn_begin() on that loop makes it work. */
NbdConn *nbd_conn_new(NbdServer *s, Loop *loop, int take_fd);
void nbd_conn_begin(NbdConn *c);
/* Ends it when nothing is in flight any more. */
void nbd_conn_close(NbdConn *c);
/* Sends what waits; on a broken connection it closes. */
void nbd_conn_send(NbdConn *c);
/* The same at the end of this iteration. */
void nbd_conn_send_soon(NbdConn *c);
/* Looks again at what has come, after a pause. */
void nbd_conn_resume(NbdConn *c);

/* handshake.c */

void nbd_handshake_begin(NbdConn *c);
/* Takes one message from the input; false: it is not all there. */
bool nbd_handshake_step(NbdConn *c);
uint16_t nbd_export_flags(const NbdExport *e, bool structured);

/* requests.c */

/* Takes one request from the input; false: it is not all there, or must wait. */
bool nbd_request_step(NbdConn *c);
/* The data of c->filling is complete. */
void nbd_request_filled(NbdConn *c);
/* Its reply is sent. */
void nbd_request_free(NbdRequest *r);
/* Gives @r a buffer of @len bytes; false: there is no memory. */
bool nbd_request_buffer(NbdRequest *r, uint32_t len);
void nbd_request_done(NbdRequest *r, int ret);
/* All that is kept for reuse. */
void nbd_requests_forget(NbdConn *c);

/* reply.c */

void nbd_reply_make(NbdRequest *r);

/* status.c */

/* Answers a BLOCK_STATUS request off the loop, and ends it. */
void nbd_status_start(NbdRequest *r);

#endif
