/* nbd-int.h: the node of an NBD client and its connections; private to block/nbd*.c.
 *
 * 1. A connection has a loop of its own, whose thread alone touches it.  A request comes there by a post and
 *    goes back by one; so any loop, and any thread that waits, may have requests at any connection.
 * 2. A call is at one place: queued, in a slot of its connection, or on its way home.
 *
 *        LOST --connected--> UP --the server is gone--> LOST
 *     In LOST calls wait for @delay_ns, then fail until the connection is back.  It is tried again and
 *    again. */
#ifndef BLOCK_NBD_INT_H
#define BLOCK_NBD_INT_H

#include "block/block-int.h"
#include "block/nbd-link.h"
#include "block/nbd-proto.h"

#define NBD_SLOTS 128          /* requests in flight at a connection */

typedef struct NbdCall NbdCall;
typedef struct NbdClientConn NbdClientConn;
typedef struct NbdAttempt NbdAttempt;

struct NbdCall {
    Post post;
    NbdClientConn *conn;
    BlkReq *req;               /* NULL: a thread waits */
    uint16_t cmd;              /* of the piece in flight */
    BlkOp op;
    bool status;               /* NBD_CMD_BLOCK_STATUS rather than @op */
    unsigned flags;            /* BLK_... */
    uint64_t off, left;        /* what is not done yet */
    uint64_t done;             /* bytes of @iov that are */
    const struct iovec *iov;
    unsigned niov;
    uint32_t piece;            /* bytes in flight */
    bool sent;                 /* all of the piece's request: it may be answered */
    uint64_t got;              /* of a structured read's piece */
    int error;                 /* of the piece in flight */
    int ret;
    uint32_t state_len, state; /* STATUS: the first extent */
    bool flush_after;          /* FUA, of a server that has none */
    bool over;                 /* guarded by @lock, when a thread waits */
    Lock *lock;
    LockCond *woken;
    NbdCall *next;
};

struct NbdClientConn {
    BlkNode *node;
    Loop *loop;
    NbdLink link;
    bool up, stopping;
    unsigned watched;
    int64_t delay_ns, give_up;     /* give_up: until then calls wait in LOST */
    int64_t retry_ns;
    Timer retry, patience;
    NbdAttempt *attempt;
    const NbdTarget *target;

    NbdCall *queue, **queue_tail;
    NbdCall *slots[NBD_SLOTS];
    uint32_t turns[NBD_SLOTS];     /* how often a slot was used: part of the handle */
    unsigned in_flight;
    Post send;
    bool send_posted;

    NbdCall *out, **out_tail;      /* in slots, to be sent or half sent */
    NbdRequestMsg head;            /* of the first of them */
    uint64_t sent;                 /* of its bytes */
    uint8_t *clear;                /* gathered for TLS */

    uint8_t *in;
    size_t in_from, in_to;
    NbdCall *filling;              /* its data comes in: */
    uint64_t fill_at, fill_left;   /* bytes of its piece */
    bool fill_done;                /* then the piece is complete */
};

typedef struct NbdNode {
    NbdTarget target;
    NbdClientConn *conns;
    unsigned count;
    uint64_t size;             /* as the server says; n->size is rounded up */
    uint16_t flags;
    uint32_t min_block, max_block;
    bool has_context;
} NbdNode;

/* nbd-conn.c */

/* Starts @c with the connection @link (fd -1: there is none yet). */
bool nbd_conn_open(NbdClientConn *c, BlkNode *n, const NbdLink *link, int64_t delay_ns, Error **errp);
/* Ends it; no call is there. */
void nbd_conn_end(NbdClientConn *c);
/* Sends @call on its way; on any thread. */
void nbd_conn_call(NbdClientConn *c, NbdCall *call);

/* nbd.c */

/* What is written in the place of zeroing. */
extern const uint8_t nbd_zeroes[];

/* The next piece of @call for the server, or false: it needs none, and call->ret is the result. */
bool nbd_call_next(NbdCall *call);
/* @call has ended: back to where it came from. */
void nbd_call_home(NbdCall *call);

#endif
