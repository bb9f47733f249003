/* nbd-conn.c: a client's connection to an NBD server: calls out, replies in, and what happens when it is
 * lost, see nbd-int.h.
 *
 * 1. The server is not trusted: a handle names a slot and how often it was used, a chunk lies within what was
 *    asked for, and anything else ends the connection.
 * 2. Calls that were in flight when the connection was lost are made again, from the piece they were at, if
 *    there is a delay to wait in; else they fail. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "block/nbd-int.h"
#include "util/fault.h"
#include "util/trace.h"

#define IN_BYTES (256 * 1024)
#define CLEAR_BYTES (16 * 1024)
#define SEND_IOV 512
#define ROUNDS 8
#define FIRST_RETRY_NS (NS_PER_SEC / 10)
#define MAX_RETRY_NS (16 * NS_PER_SEC)
#define ATTEMPT_NS (15 * NS_PER_SEC)

struct NbdAttempt {
    Lock lock;
    NbdClientConn *conn;       /* NULL: nobody wants it any more */
    NbdTarget target;
    NbdLink link;
    bool ok;
    Post post;
};

static void conn_ready(void *arg, unsigned events);
static void conn_lost(NbdClientConn *c, const char *why);
static void send_soon(NbdClientConn *c);

/* --- calls --- */

static void call_end(NbdCall *call, int ret)
{
    call->ret = ret;
    nbd_call_home(call);
}

static void enqueue(NbdClientConn *c, NbdCall *call)
{
    call->next = NULL;
    *c->queue_tail = call;
    c->queue_tail = &call->next;
}

static void fail_queue(NbdClientConn *c)
{
    while (c->queue) {
        NbdCall *call = c->queue;

        c->queue = call->next;
        call_end(call, -EIO);
    }
    c->queue_tail = &c->queue;
}

static unsigned slot_of(const NbdClientConn *c, const NbdCall *call)
{
    unsigned i = 0;

    while (c->slots[i] != call) {
        i++;
    }
    return i;
}

/* Puts calls that wait into free slots. */
static void fill_slots(NbdClientConn *c)
{
    unsigned slot = 0;

    while (c->queue && c->in_flight < NBD_SLOTS) {
        NbdCall *call = c->queue;

        c->queue = call->next;
        if (!c->queue) {
            c->queue_tail = &c->queue;
        }
        if (!nbd_call_next(call)) {
            nbd_call_home(call);
            continue;
        }
        while (c->slots[slot]) {
            slot++;
        }
        c->slots[slot] = call;
        c->turns[slot]++;
        c->in_flight++;
        call->sent = false;
        call->got = 0;
        call->error = 0;
        call->state_len = 0;
        call->next = NULL;
        *c->out_tail = call;
        c->out_tail = &call->next;
    }
}

/* The piece of @call that was in flight is done. */
static void piece_done(NbdClientConn *c, NbdCall *call)
{
    c->slots[slot_of(c, call)] = NULL;
    c->in_flight--;
    if (call->error) {
        call_end(call, -call->error);
    } else if (call->status) {
        call_end(call, call->state_len ? 0 : -EIO);
    } else {
        call->done += call->op == BLK_FLUSH ? 1 : call->piece;
        call->off += call->piece;
        call->left -= call->piece;
        call->ret = 0;
        if (call->left || call->flush_after) {
            enqueue(c, call);
        } else {
            nbd_call_home(call);
        }
    }
    if (c->queue) {
        send_soon(c);
    }
}

/* --- out --- */

static uint64_t handle_of(const NbdClientConn *c, const NbdCall *call)
{
    unsigned i = slot_of(c, call);

    return (uint64_t)c->turns[i] << 32 | i;
}

static NbdRequestMsg header_of(const NbdClientConn *c, const NbdCall *call)
{
    uint16_t flags = (call->flags & BLK_FUA ? NBD_CMD_FLAG_FUA : 0) |
                     (call->cmd == NBD_CMD_BLOCK_STATUS ? NBD_CMD_FLAG_REQ_ONE : 0);

    if (call->cmd == NBD_CMD_WRITE_ZEROES) {
        flags |= (call->flags & BLK_MAY_UNMAP ? 0 : NBD_CMD_FLAG_NO_HOLE) |
                 (call->flags & BLK_NO_FALLBACK ? NBD_CMD_FLAG_FAST_ZERO : 0);
    } else if (call->cmd != NBD_CMD_WRITE && call->cmd != NBD_CMD_BLOCK_STATUS) {
        flags = 0;
    }
    uint64_t off = call->cmd == NBD_CMD_FLUSH ? 0 : call->off;

    return (NbdRequestMsg){ to_be32(NBD_REQUEST_MAGIC), to_be16(flags), to_be16(call->cmd),
                            handle_of(c, call), to_be64(off), to_be32(call->piece) };
}

/* Adds bytes [@skip, ...) of what @call sends to @iov; @head is its header's place. */
static unsigned add_call(const NbdCall *call, NbdRequestMsg *head, uint64_t skip, struct iovec *iov,
                         unsigned n, unsigned room)
{
    uint64_t from = call->done, left = call->piece;

    if (skip < sizeof(*head)) {
        iov[n++] = (struct iovec){ (uint8_t *)head + skip, sizeof(*head) - skip };
        skip = 0;
    } else {
        skip -= sizeof(*head);
    }
    if (call->cmd != NBD_CMD_WRITE) {
        return n;
    }
    from += skip;
    left -= skip;
    if (call->op == BLK_ZERO) {
        iov[n++] = (struct iovec){ (void *)(uintptr_t)nbd_zeroes, left };
        return n;
    }
    for (unsigned i = 0; i < call->niov && left && n < room; i++) {
        if (from >= call->iov[i].iov_len) {
            from -= call->iov[i].iov_len;
            continue;
        }
        uint64_t part = MIN(call->iov[i].iov_len - from, left);

        iov[n++] = (struct iovec){ (uint8_t *)call->iov[i].iov_base + from, part };
        left -= part;
        from = 0;
    }
    return n;
}

static uint64_t call_bytes(const NbdCall *call)
{
    return sizeof(NbdRequestMsg) + (call->cmd == NBD_CMD_WRITE ? call->piece : 0);
}

static ssize_t conn_sendv(NbdClientConn *c, struct iovec *iov, unsigned n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
    size_t taken = 0;
    ssize_t sent;

    if (FAULT("nbd-send")) {
        return -EPIPE;
    }
    if (!c->link.tls) {
        sent = sendmsg(c->link.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent < 0 ? -errno : sent;
    }
    if (!c->clear) {
        c->clear = g_malloc(CLEAR_BYTES);
    }
    for (unsigned i = 0; i < n && taken < CLEAR_BYTES; i++) {
        size_t part = MIN(iov[i].iov_len, CLEAR_BYTES - taken);

        memcpy(c->clear + taken, iov[i].iov_base, part);
        taken += part;
    }
    return tls_send(c->link.tls, c->clear, taken);
}

static void drop_sent(NbdClientConn *c, uint64_t sent)
{
    c->sent += sent;
    while (c->out && c->sent >= call_bytes(c->out)) {
        c->sent -= call_bytes(c->out);
        c->out->sent = true;
        c->out = c->out->next;
    }
    if (!c->out) {
        c->out_tail = &c->out;
    }
}

/* Bytes sent, 0: there is nothing, or -errno. */
static ssize_t send_some(NbdClientConn *c)
{
    NbdRequestMsg heads[NBD_SLOTS];
    struct iovec iov[SEND_IOV];
    unsigned n = 0, count = 0;
    uint64_t skip = c->sent;

    for (const NbdCall *call = c->out; call && n + 2 <= SEND_IOV; call = call->next) {
        heads[count] = header_of(c, call);
        unsigned was = n;
        n = add_call(call, &heads[count++], skip, iov, n, SEND_IOV);
        skip = 0;
        uint64_t sum = call == c->out ? c->sent : 0;
        for (unsigned i = was; i < n; i++) {
            sum += iov[i].iov_len;
        }
        if (sum < call_bytes(call)) {
            break;             /* its vector is longer than ours */
        }
    }
    ssize_t sent = n ? conn_sendv(c, iov, n) : 0;
    if (sent > 0) {
        drop_sent(c, sent);
    }
    return sent;
}

static void watch(NbdClientConn *c, unsigned events)
{
    if (events != c->watched) {
        c->watched = events;
        loop_watch(c->loop, c->link.fd, events, conn_ready, c);
    }
}

static void send_all(NbdClientConn *c)
{
    ssize_t sent = 0;

    fill_slots(c);
    do {
        sent = send_some(c);
    } while (sent > 0);
    if (sent < 0 && sent != -EAGAIN && sent != -EINTR) {
        conn_lost(c, errno_text((int)-sent));
        return;
    }
    watch(c, EPOLLIN | (sent < 0 ? EPOLLOUT : 0));
}

static void send_post(Post *p)
{
    NbdClientConn *c = container_of(p, NbdClientConn, send);

    c->send_posted = false;
    if (c->up) {
        send_all(c);
    }
}

static void send_soon(NbdClientConn *c)
{
    if (!c->send_posted) {
        c->send_posted = true;
        loop_post(c->loop, &c->send);
    }
}

/* On the connection's loop. */
static void call_arrives(Post *p)
{
    NbdCall *call = container_of(p, NbdCall, post);
    NbdClientConn *c = call->conn;

    if (!c->up && clock_now(CLOCK_HOST) >= c->give_up) {
        call_end(call, -EIO);
        return;
    }
    enqueue(c, call);
    if (c->up) {
        send_soon(c);
    }
}

void nbd_conn_call(NbdClientConn *c, NbdCall *call)
{
    call->conn = c;
    call->post.run = call_arrives;
    loop_post(c->loop, &call->post);
}

/* --- in --- */

/* The call that a reply is for, or NULL. */
static NbdCall *call_of(const NbdClientConn *c, uint64_t handle)
{
    unsigned i = (uint32_t)handle;
    NbdCall *call = i < NBD_SLOTS && c->turns[i] == handle >> 32 ? c->slots[i] : NULL;

    return call && call->sent ? call : NULL;
}

static int host_error(uint32_t wire)
{
    switch (wire) {
    case NBD_EPERM:
        return EACCES;
    case NBD_ENOMEM:
        return ENOMEM;
    case NBD_EINVAL:
        return EINVAL;
    case NBD_ENOSPC:
        return ENOSPC;
    case NBD_ENOTSUP:
        return ENOTSUP;
    default:
        return EIO;
    }
}

/* The next @n bytes are those of @call's piece from @at on; then it is done, if @last. */
static void fill(NbdClientConn *c, NbdCall *call, uint64_t at, uint64_t n, bool last)
{
    uint64_t there = MIN(n, c->in_to - c->in_from);

    blk_iov_write(call->iov, call->niov, call->done + at, c->in + c->in_from, there);
    c->in_from += there;
    if (there == n) {
        if (last) {
            piece_done(c, call);
        }
        return;
    }
    c->filling = call;
    c->fill_at = at + there;
    c->fill_left = n - there;
    c->fill_done = last;
}

enum { MORE, WAIT, BROKEN };

static int simple_reply(NbdClientConn *c)
{
    NbdSimpleReply r;

    memcpy(&r, c->in + c->in_from, sizeof(r));
    NbdCall *call = call_of(c, r.handle);
    if (!call || (c->link.structured && (call->cmd == NBD_CMD_READ || call->cmd == NBD_CMD_BLOCK_STATUS))) {
        return BROKEN;
    }
    c->in_from += sizeof(r);
    if (be32(r.error)) {
        call->error = host_error(be32(r.error));
        piece_done(c, call);
    } else if (call->cmd == NBD_CMD_READ) {
        fill(c, call, 0, call->piece, true);
    } else {
        piece_done(c, call);
    }
    return MORE;
}

/* A range in a read's chunk, relative to the piece; false: it lies outside. */
static bool in_piece(NbdCall *call, uint64_t off, uint64_t len, uint64_t *at)
{
    if (call->cmd != NBD_CMD_READ || off < call->off || !len || !fits(off - call->off, len, call->piece) ||
        call->got + len > call->piece) {
        return false;
    }
    *at = off - call->off;
    call->got += len;
    return true;
}

/* The piece of a structured read is complete only when every byte of it came. */
static void check_read(NbdCall *call)
{
    if (call->cmd == NBD_CMD_READ && !call->error && call->got != call->piece) {
        call->error = EIO;
    }
}

static bool take_status(const NbdClientConn *c, NbdCall *call, const uint8_t *p, uint32_t len)
{
    Be32 v[3];

    if (call->cmd != NBD_CMD_BLOCK_STATUS || len < 12 || (len - 4) % 8) {
        return false;
    }
    memcpy(v, p, sizeof(v));
    if (be32(v[0]) == c->link.context && !call->state_len) {
        call->state_len = be32(v[1]);
        call->state = be32(v[2]);
        return call->state_len > 0;
    }
    return true;
}

/* A chunk but for OFFSET_DATA, all of whose @len bytes are at @p. */
static bool take_chunk(NbdClientConn *c, NbdCall *call, uint16_t type, const uint8_t *p, uint32_t len)
{
    Be64 off;
    Be32 v;
    uint64_t at;

    if (type == NBD_REPLY_NONE) {
        return len == 0;
    }
    if (type == NBD_REPLY_OFFSET_HOLE && len == 12) {
        memcpy(&off, p, 8);
        memcpy(&v, p + 8, 4);
        if (!in_piece(call, be64(off), be32(v), &at)) {
            return false;
        }
        blk_iov_zero(call->iov, call->niov, call->done + at, be32(v));
        return true;
    }
    if (type == NBD_REPLY_BLOCK_STATUS) {
        return take_status(c, call, p, len);
    }
    if (!(type & 0x8000) || len < 6) {
        return false;
    }
    memcpy(&v, p, 4);
    call->error = be32(v) ? host_error(be32(v)) : EIO;
    return true;
}

static int structured_reply(NbdClientConn *c)
{
    NbdChunk h;
    uint64_t there = c->in_to - c->in_from;

    if (there < sizeof(h)) {
        return WAIT;
    }
    memcpy(&h, c->in + c->in_from, sizeof(h));
    NbdCall *call = call_of(c, h.handle);
    uint32_t len = be32(h.len);
    uint16_t type = be16(h.type);
    bool last = be16(h.flags) & NBD_REPLY_FLAG_DONE;
    const uint8_t *p = c->in + c->in_from + sizeof(h);
    Be64 off;
    uint64_t at;
    if (!call || !c->link.structured || (type == NBD_REPLY_OFFSET_DATA ? len < 9 : len > IN_BYTES / 4)) {
        return BROKEN;
    }
    if (type != NBD_REPLY_OFFSET_DATA) {
        if (there < sizeof(h) + len) {
            return WAIT;
        }
        c->in_from += sizeof(h) + len;
        if (!take_chunk(c, call, type, p, len)) {
            return BROKEN;
        }
        if (last) {
            check_read(call);
            piece_done(c, call);
        }
        return MORE;
    }
    if (there < sizeof(h) + 8) {
        return WAIT;
    }
    memcpy(&off, p, 8);
    if (!in_piece(call, be64(off), len - 8, &at)) {
        return BROKEN;
    }
    c->in_from += sizeof(h) + 8;
    if (last) {
        check_read(call);
    }
    fill(c, call, at, len - 8, last);
    return MORE;
}

/* Takes the replies that are there; false: what came is none. */
static bool parse(NbdClientConn *c)
{
    int how = MORE;

    while (how == MORE && !c->filling) {
        Be32 magic;

        if (c->in_to - c->in_from < sizeof(NbdSimpleReply)) {
            break;
        }
        memcpy(&magic, c->in + c->in_from, sizeof(magic));
        how = be32(magic) == NBD_SIMPLE_REPLY_MAGIC ? simple_reply(c)
              : be32(magic) == NBD_STRUCTURED_REPLY_MAGIC ? structured_reply(c) : BROKEN;
    }
    if (c->in_from == c->in_to) {
        c->in_from = c->in_to = 0;
    } else if (c->in_from > IN_BYTES / 4) {
        memmove(c->in, c->in + c->in_from, c->in_to - c->in_from);
        c->in_to -= c->in_from;
        c->in_from = 0;
    }
    return how != BROKEN;
}

/* Places of @call's buffers for the @n bytes from @at of its piece on; at most @room entries. */
static unsigned places(const NbdCall *call, uint64_t at, uint64_t n, struct iovec *iov, unsigned room)
{
    uint64_t from = call->done + at;
    unsigned count = 0;

    for (unsigned i = 0; i < call->niov && n && count < room; i++) {
        if (from >= call->iov[i].iov_len) {
            from -= call->iov[i].iov_len;
            continue;
        }
        uint64_t part = MIN(call->iov[i].iov_len - from, n);

        iov[count++] = (struct iovec){ (uint8_t *)call->iov[i].iov_base + from, part };
        n -= part;
        from = 0;
    }
    return count;
}

static ssize_t conn_recvv(NbdClientConn *c, struct iovec *iov, unsigned n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
    ssize_t got;

    if (FAULT("nbd-recv")) {
        return -ECONNRESET;
    }
    if (c->link.tls) {
        return tls_recv(c->link.tls, iov[0].iov_base, iov[0].iov_len);
    }
    got = recvmsg(c->link.fd, &m, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

static ssize_t read_some(NbdClientConn *c, bool *full)
{
    struct iovec iov[64];
    unsigned n = 0;
    uint64_t direct = 0, room;

    if (c->filling) {
        n = places(c->filling, c->fill_at, c->fill_left, iov, 63);
        for (unsigned i = 0; i < n; i++) {
            direct += iov[i].iov_len;
        }
    }
    room = direct;
    if (direct == (c->filling ? c->fill_left : 0)) {
        iov[n++] = (struct iovec){ c->in + c->in_to, IN_BYTES - c->in_to };
        room += IN_BYTES - c->in_to;
    }
    ssize_t got = conn_recvv(c, iov, n);
    if (got <= 0) {
        return got;
    }
    uint64_t part = MIN((uint64_t)got, direct);
    c->in_to += got - part;
    c->fill_at += part;
    c->fill_left -= part;
    if (c->filling && c->fill_left == 0) {
        NbdCall *call = c->filling;

        c->filling = NULL;
        if (c->fill_done) {
            piece_done(c, call);
        }
    }
    *full = (uint64_t)got == room;
    return got;
}

static void input(NbdClientConn *c)
{
    bool full = true;

    for (unsigned round = 0; c->up && (c->link.tls || (full && round < ROUNDS)); round++) {
        ssize_t got = read_some(c, &full);

        if (got == -EAGAIN || got == -EINTR) {
            return;
        }
        if (got <= 0) {
            conn_lost(c, got == 0 ? "closed by the server" : errno_text((int)-got));
        } else if (!parse(c)) {
            conn_lost(c, "the server broke the protocol");
        }
    }
}

static void conn_ready(void *arg, unsigned events)
{
    NbdClientConn *c = arg;

    if (c->up && (events & EPOLLOUT)) {
        send_all(c);
    }
    if (c->up) {
        input(c);
    }
}

/* --- lost and found --- */

static void conn_up(NbdClientConn *c, const NbdLink *l)
{
    c->link = *l;
    c->up = true;
    c->watched = 0;
    c->in_from = c->in_to = 0;
    c->sent = 0;
    c->filling = NULL;
    c->retry_ns = FIRST_RETRY_NS;
    timer_stop(&c->patience);
    watch(c, EPOLLIN);
    send_soon(c);
}

static void retry_soon(NbdClientConn *c)
{
    timer_set(&c->retry, clock_now(CLOCK_HOST) + c->retry_ns);
    c->retry_ns = MIN(c->retry_ns * 2, MAX_RETRY_NS);
}

static void attempt_free(NbdAttempt *a)
{
    nbd_link_close(&a->link);
    g_free(a->target.name);
    g_free(a->target.tls_hostname);
    g_free(a->target.context);
    tls_creds_free(a->target.tls);
    lock_destroy(&a->lock);
    g_free(a);
}

/* On the connection's loop. */
static void attempt_over(Post *p)
{
    NbdAttempt *a = container_of(p, NbdAttempt, post);
    const NbdNode *nbd;

    lock_take(&a->lock);           /* its thread has let go of it */
    NbdClientConn *c = a->conn;
    lock_drop(&a->lock);
    if (!c) {                  /* it was given up meanwhile */
        attempt_free(a);
        return;
    }
    nbd = c->node->state;
    c->attempt = NULL;
    if (a->ok && (a->link.size != nbd->size || ((a->link.flags ^ nbd->flags) & ~NBD_FLAG_CAN_MULTI_CONN) ||
                  a->link.min_block != nbd->min_block || a->link.max_block < nbd->max_block)) {
        warn_report("NBD server %s: the export is another one now", nbd->target.peer.text);
        a->ok = false;
    }
    if (a->ok) {
        conn_up(c, &a->link);
        a->link.fd = -1;
    } else {
        retry_soon(c);
    }
    attempt_free(a);
}

static void attempt_run(void *arg)
{
    NbdAttempt *a = arg;

    a->ok = nbd_link_open(&a->link, &a->target, clock_now(CLOCK_HOST) + ATTEMPT_NS, NULL);
    lock_take(&a->lock);
    bool wanted = a->conn != NULL;
    if (wanted) {
        loop_post(a->conn->loop, &a->post);
    }
    lock_drop(&a->lock);
    if (!wanted) {
        attempt_free(a);
    }
}

static void attempt_start(NbdClientConn *c)
{
    const NbdTarget *t = c->target;
    NbdAttempt *a = g_new0(NbdAttempt, 1);

    *a = (NbdAttempt){ .conn = c, .post.run = attempt_over, .link.fd = -1, .target.peer = t->peer };
    a->target.name = g_strdup(t->name);
    a->target.tls_hostname = g_strdup(t->tls_hostname);
    a->target.context = g_strdup(t->context);
    a->target.tls = t->tls ? tls_creds_ref(t->tls) : NULL;
    lock_init(&a->lock, RANK_LEAF, "nbd-attempt");
    c->attempt = a;
    if (!thread_start(NULL, THREAD_WORKER, "nbd-connect", false, attempt_run, a, NULL)) {
        c->attempt = NULL;
        attempt_free(a);
        retry_soon(c);
    }
}

static void retry_fires(Timer *t)
{
    NbdClientConn *c = container_of(t, NbdClientConn, retry);

    if (!c->up && !c->attempt && !c->stopping && c->target->peer.count) {
        attempt_start(c);
    }
}

static void patience_ends(Timer *t)
{
    fail_queue(container_of(t, NbdClientConn, patience));
}

static void conn_lost(NbdClientConn *c, const char *why)
{
    int64_t now = clock_now(CLOCK_HOST);

    TRACE(nbd_lost, "node=%s why=%s in_flight=%u", c->node->name, why, c->in_flight);
    c->up = false;
    loop_unwatch(c->loop, c->link.fd);
    tls_session_free(c->link.tls);
    close(c->link.fd);
    c->link.fd = -1;
    c->link.tls = NULL;
    c->out = NULL;
    c->out_tail = &c->out;
    c->filling = NULL;
    c->give_up = now + c->delay_ns;
    for (unsigned i = 0; i < NBD_SLOTS; i++) {
        if (c->slots[i]) {
            enqueue(c, c->slots[i]);
            c->slots[i] = NULL;
        }
    }
    c->in_flight = 0;
    if (c->stopping) {
        return;
    }
    if (c->delay_ns == 0) {
        fail_queue(c);
    } else {
        timer_set(&c->patience, c->give_up);
    }
    timer_set(&c->retry, now);
}

/* --- life --- */

static void conn_start(void *arg)
{
    NbdClientConn *c = arg;

    if (c->link.fd >= 0) {
        NbdLink l = c->link;

        conn_up(c, &l);
    } else {
        /* The export is there: another connection has just been made. */
        c->give_up = clock_now(CLOCK_HOST) + ATTEMPT_NS;
        timer_set(&c->patience, c->give_up);
        attempt_start(c);
    }
}

bool nbd_conn_open(NbdClientConn *c, BlkNode *n, const NbdLink *link, int64_t delay_ns, Error **errp)
{
    g_autofree char *name = g_strdup_printf("nbd-%s", n->name);
    const NbdNode *nbd = n->state;

    c->loop = loop_new(name, THREAD_WORKER, errp);
    if (!c->loop) {
        return false;
    }
    c->node = n;
    c->target = &nbd->target;
    c->link = *link;
    c->delay_ns = delay_ns;
    c->retry_ns = FIRST_RETRY_NS;
    c->queue_tail = &c->queue;
    c->out_tail = &c->out;
    c->in = g_malloc(IN_BYTES);
    c->send.run = send_post;
    timer_init(&c->retry, c->loop, CLOCK_HOST, retry_fires);
    timer_init(&c->patience, c->loop, CLOCK_HOST, patience_ends);
    loop_call(c->loop, conn_start, c);
    return true;
}

static void conn_stop(void *arg)
{
    NbdClientConn *c = arg;

    c->stopping = true;
    timer_stop(&c->retry);
    timer_stop(&c->patience);
    if (c->up) {
        loop_unwatch(c->loop, c->link.fd);
        c->up = false;
        nbd_link_close(&c->link);
    }
    if (c->attempt) {
        lock_take(&c->attempt->lock);
        c->attempt->conn = NULL;   /* its thread, or the post that is queued, frees it */
        lock_drop(&c->attempt->lock);
        c->attempt = NULL;
    }
}

void nbd_conn_end(NbdClientConn *c)
{
    assert_control();
    loop_call_wait(c->loop, conn_stop, c);
    loop_free(c->loop);
    g_free(c->clear);
    g_free(c->in);
}
