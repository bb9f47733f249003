/* conn.c: a connection's bytes: in to messages, out from replies, see conn-int.h.
 *
 * 1. One recvmsg() takes all that has come, into the data of a write that is incomplete and then the input
 *    buffer; one sendmsg() sends what all requests that ended meanwhile have to say.
 * 2. A message is taken only when the connection may have one more request; while it may not, or while the
 *    handshake's answer cannot be sent, nothing is read, and the client feels it.
 * 3. A connection that ends waits for its requests in flight; their replies go nowhere. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "nbd/conn-int.h"

#define ROUNDS 8                   /* of reading, before the loop's other work gets its turn */
#define SEND_IOV 512
#define CLEAR_BYTES (16 * 1024)    /* gathered for a TLS record */
#define SEND_AT_ONCE (256 * 1024)  /* replies that are sent while they are in the cache */
#define PATIENCE_NS (10 * NS_PER_SEC)

static void conn_ready(void *arg, unsigned events);

/* --- the end --- */

/* On the loop, from its own post: nobody is using @c. */
static void home(NbdConn *c)
{
    if (c->in_flight || c->home) {
        return;
    }
    c->home = true;
    timer_stop(&c->patience);
    tls_session_free(c->tls);
    close(c->fd);
    nbd_requests_forget(c);
    g_byte_array_unref(c->said);
    g_free(c->meta_name);
    g_free(c->clear);
    g_free(c->in);
    nbd_server_conn_gone(c->server, c);
}

static void post_send(NbdConn *c)
{
    if (!c->send_posted) {
        c->send_posted = true;
        loop_post(c->loop, &c->send);
    }
}

void nbd_conn_close(NbdConn *c)
{
    if (c->state == CONN_DEAD) {
        return;
    }
    c->state = CONN_DEAD;
    loop_unwatch(c->loop, c->fd);
    shutdown(c->fd, SHUT_RDWR);
    while (c->out) {
        NbdRequest *r = c->out;

        c->out = r->next;
        nbd_request_free(r);
    }
    c->out_tail = &c->out;
    if (c->filling) {
        nbd_request_free(c->filling);
        c->filling = NULL;
    }
    post_send(c);
}

/* --- bytes --- */

static ssize_t conn_recv(NbdConn *c, struct iovec *iov, unsigned n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
    ssize_t got;

    if (c->tls) {
        return tls_recv(c->tls, iov[0].iov_base, iov[0].iov_len);
    }
    got = recvmsg(c->fd, &m, MSG_DONTWAIT);
    return got < 0 ? -errno : got;
}

static ssize_t tls_send_gathered(NbdConn *c, const struct iovec *iov, unsigned n)
{
    size_t taken = 0;

    if (!c->clear) {
        c->clear = g_malloc(CLEAR_BYTES);
    }
    /* What is left of the last time is a prefix of @iov: TLS asks for the same bytes again. */
    for (unsigned i = 0; i < n && taken < CLEAR_BYTES; i++) {
        size_t part = MIN(iov[i].iov_len, CLEAR_BYTES - taken);

        memcpy(c->clear + taken, iov[i].iov_base, part);
        taken += part;
    }
    return tls_send(c->tls, c->clear, taken);
}

static ssize_t conn_sendv(NbdConn *c, struct iovec *iov, unsigned n)
{
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
    ssize_t sent;

    if (c->tls) {
        return tls_send_gathered(c, iov, n);
    }
    sent = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

/* --- out --- */

static unsigned add_parts(const NbdRequest *r, struct iovec *iov, unsigned n)
{
    uint64_t skip = r->sent;

    for (unsigned i = 0; i < r->part_count; i++) {
        const NbdPart *p = &r->parts[i];
        const struct iovec both[2] = { { (void *)(uintptr_t)p->head, p->head_len },
                                       { (void *)(uintptr_t)p->body, p->body_len } };

        for (unsigned j = 0; j < 2; j++) {
            if (skip >= both[j].iov_len) {
                skip -= both[j].iov_len;
                continue;
            }
            iov[n++] = (struct iovec){ (uint8_t *)both[j].iov_base + skip, both[j].iov_len - skip };
            skip = 0;
        }
    }
    return n;
}

static uint64_t reply_bytes(const NbdRequest *r)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < r->part_count; i++) {
        sum += r->parts[i].head_len + r->parts[i].body_len;
    }
    return sum;
}

/* @sent bytes of the replies have gone. */
static void drop_sent(NbdConn *c, uint64_t sent)
{
    c->out_bytes -= sent;
    while (c->out && sent) {
        NbdRequest *r = c->out;
        uint64_t left = reply_bytes(r) - r->sent;

        if (sent < left) {
            r->sent += sent;
            return;
        }
        sent -= left;
        c->out = r->next;
        if (!c->out) {
            c->out_tail = &c->out;
        }
        nbd_request_free(r);
    }
}

/* Bytes sent, 0: nothing was there, or -errno. */
static ssize_t send_some(NbdConn *c)
{
    struct iovec iov[SEND_IOV];
    unsigned n = 0;
    ssize_t sent;

    if (c->said_sent < c->said->len) {
        iov[0] = (struct iovec){ c->said->data + c->said_sent, c->said->len - c->said_sent };
        sent = conn_sendv(c, iov, 1);
        if (sent > 0) {
            c->said_sent += sent;
        }
        if (c->said_sent == c->said->len) {
            g_byte_array_set_size(c->said, 0);
            c->said_sent = 0;
        }
        return sent;
    }
    for (const NbdRequest *r = c->out; r && n + 2 * PARTS <= SEND_IOV; r = r->next) {
        n = add_parts(r, iov, n);
    }
    if (n == 0) {
        return 0;
    }
    sent = conn_sendv(c, iov, n);
    if (sent > 0) {
        drop_sent(c, sent);
    }
    return sent;
}

static void watch(NbdConn *c, bool more_to_send)
{
    unsigned events = (c->paused ? 0 : EPOLLIN) | (more_to_send ? EPOLLOUT : 0);

    if (c->state != CONN_DEAD && events != c->watched) {
        c->watched = events;
        loop_watch(c->loop, c->fd, events, conn_ready, c);
    }
}

static void start_tls(NbdConn *c)
{
    c->wants_tls = false;
    c->tls = c->in_from == c->in_to ? tls_session_new(nbd_server_tls(c->server), c->fd, NULL, NULL) : NULL;
    if (!c->tls) {             /* bytes in the clear after the request are an attack */
        nbd_conn_close(c);
        return;
    }
    c->state = CONN_TLS;
}

void nbd_conn_send(NbdConn *c)
{
    ssize_t sent = 0;

    if (c->state == CONN_DEAD || c->state == CONN_TLS) {
        return;
    }
    do {
        sent = send_some(c);
    } while (sent > 0);
    if (sent < 0 && sent != -EAGAIN && sent != -EINTR) {
        nbd_conn_close(c);
        return;
    }
    if (sent == 0 && c->wants_tls) {
        start_tls(c);
    } else if (sent == 0 && c->closing && !c->in_flight) {
        nbd_conn_close(c);
    }
    watch(c, sent < 0);
}

static void send_post(Post *p)
{
    NbdConn *c = container_of(p, NbdConn, send);

    c->send_posted = false;
    if (c->state == CONN_DEAD) {
        home(c);
        return;
    }
    nbd_conn_send(c);
    if (c->paused) {
        nbd_conn_resume(c);
    }
}

void nbd_conn_send_soon(NbdConn *c)
{
    if (c->out_bytes >= SEND_AT_ONCE && c->state == CONN_REQUESTS && !(c->watched & EPOLLOUT)) {
        nbd_conn_send(c);
    }
    post_send(c);
}

/* --- in --- */

/* Takes the messages that are there. */
static void parse(NbdConn *c)
{
    bool more = true;

    c->paused = false;
    while (more && c->state != CONN_DEAD && c->state != CONN_TLS && !c->wants_tls && !c->closing) {
        size_t there = c->in_to - c->in_from;

        if (c->skip) {
            size_t n = MIN(c->skip, there);

            c->skip -= n;
            c->in_from += n;
            more = n > 0;
        } else if (c->state == CONN_REQUESTS) {
            more = !c->filling && nbd_request_step(c);
        } else if (c->said->len) {
            c->paused = true;
            more = false;
        } else {
            more = nbd_handshake_step(c);
            if (c->said->len) {
                nbd_conn_send(c);
            }
        }
    }
    if (c->closing) {
        c->paused = true;
    }
    if (c->in_from == c->in_to) {
        c->in_from = c->in_to = 0;
    } else if (c->in_from > IN_BYTES / 4) {
        memmove(c->in, c->in + c->in_from, c->in_to - c->in_from);
        c->in_to -= c->in_from;
        c->in_from = 0;
    }
}

/* Bytes that came, or 0 at the end, or -errno. */
static ssize_t read_some(NbdConn *c, bool *full)
{
    struct iovec iov[2];
    unsigned n = 0;
    size_t room = 0;

    if (c->filling) {
        iov[n++] = (struct iovec){ c->filling->buf + c->filled, c->filling->len - c->filled };
    }
    if (!c->filling || !c->tls) {
        iov[n++] = (struct iovec){ c->in + c->in_to, IN_BYTES - c->in_to };
    }
    for (unsigned i = 0; i < n; i++) {
        room += iov[i].iov_len;
    }
    ssize_t got = conn_recv(c, iov, n);
    if (got <= 0) {
        return got;
    }
    size_t rest = got;
    if (c->filling) {
        size_t part = MIN(rest, c->filling->len - c->filled);

        c->filled += part;
        rest -= part;
        if (c->filled == c->filling->len) {
            nbd_request_filled(c);
        }
    }
    c->in_to += rest;
    *full = (size_t)got == room || c->tls;
    return got;
}

static void input(NbdConn *c)
{
    bool full = true;

    for (unsigned round = 0; round < ROUNDS && full; round++) {
        if (c->state == CONN_DEAD || c->state == CONN_TLS || c->paused) {
            return;
        }
        ssize_t got = read_some(c, &full);
        if (got == -EAGAIN || got == -EINTR) {
            return;
        }
        if (got <= 0) {
            /* A client that hangs up without a word gets no answers; what it wrote is carried out. */
            nbd_conn_close(c);
            return;
        }
        parse(c);
    }
    if (full && c->tls && c->state != CONN_DEAD && !c->paused) {
        nbd_conn_send_soon(c);     /* TLS may hold bytes that epoll does not know of */
        c->paused = true;
    }
}

void nbd_conn_resume(NbdConn *c)
{
    parse(c);
    if (c->tls && !c->paused && c->state != CONN_DEAD) {
        input(c);
    }
    if (c->state != CONN_DEAD) {
        watch(c, c->watched & EPOLLOUT);
    }
}

static void shake_hands(NbdConn *c)
{
    Error *err = NULL;
    int ret = tls_handshake(c->tls, &err);

    if (ret == -EAGAIN) {
        unsigned events = tls_wants_write(c->tls) ? EPOLLOUT : EPOLLIN;

        if (events != c->watched) {
            c->watched = events;
            loop_watch(c->loop, c->fd, events, conn_ready, c);
        }
        return;
    }
    if (ret < 0) {
        warn_report("NBD: %s", error_text(err));
        error_free(err);
        nbd_conn_close(c);
        return;
    }
    if (!nbd_server_allows(c->server, c->tls)) {
        nbd_conn_close(c);
        return;
    }
    c->state = CONN_OPTIONS;
    c->paused = false;
    watch(c, false);
    input(c);
}

static void conn_ready(void *arg, unsigned events)
{
    NbdConn *c = arg;

    if (c->state == CONN_TLS) {
        shake_hands(c);
        return;
    }
    if (c->paused && (events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLOUT)) {
        nbd_conn_close(c);
        return;
    }
    if (events & EPOLLOUT) {
        nbd_conn_send(c);
        if (c->state != CONN_DEAD && c->paused) {
            nbd_conn_resume(c);
        }
    }
    if (c->state != CONN_DEAD && c->state != CONN_TLS && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        input(c);
    }
    if (c->state == CONN_TLS) {
        shake_hands(c);
    } else if (c->state != CONN_DEAD) {
        watch(c, c->watched & EPOLLOUT);
    }
}

/* --- the beginning --- */

static void patience_ends(Timer *t)
{
    NbdConn *c = container_of(t, NbdConn, patience);

    if (c->state != CONN_REQUESTS) {
        nbd_conn_close(c);
    }
}

NbdConn *nbd_conn_new(NbdServer *s, Loop *loop, int take_fd)
{
    NbdConn *c = g_new0(NbdConn, 1);
    int one = 1;

    c->server = s;
    c->loop = loop;
    c->fd = take_fd;
    c->in = g_malloc(IN_BYTES);
    c->said = g_byte_array_new();
    c->out_tail = &c->out;
    c->send.run = send_post;
    timer_init(&c->patience, loop, CLOCK_HOST, patience_ends);
    setsockopt(take_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(take_fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    return c;
}

void nbd_conn_begin(NbdConn *c)
{
    timer_set(&c->patience, clock_now(CLOCK_HOST) + PATIENCE_NS);
    nbd_handshake_begin(c);
    nbd_conn_send(c);
}
