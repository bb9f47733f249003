/* socket.c: stream sockets, unix and TCP, server and client, plain and telnet.
 *
 * 1. One client at a time.  While there is one, the listener is not watched: the next waits in the
 *    kernel's queue and is taken when the first has gone.
 * 2. Names are looked up once, at open(), because that may block; later attempts to connect use
 *    the addresses found then.
 *
 *      listening --accepted()--> open --socket_hangup()--> listening
 *      waiting --retry()--> connecting --connected()--> open --socket_hangup()--> waiting */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "chardev/char-int.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/fdset.h"

#define MAX_ADDRS 8

/* RFC 854, RFC 856 (binary), RFC 857 (echo), RFC 858 (suppress go ahead). */
enum { TN_SE = 240, TN_BREAK = 243, TN_SB = 250, TN_WILL = 251, TN_DONT = 254, TN_IAC = 255 };

typedef enum TelnetState { TEL_DATA, TEL_IAC, TEL_OPTION, TEL_SUB, TEL_SUB_IAC } TelnetState;

typedef struct Addr {
    struct sockaddr_storage sa;
    socklen_t len;
} Addr;

typedef struct Socket {
    Chardev *c;
    int listen_fd;             /* -1: a client */
    int pending_fd;            /* being connected; -1: none */
    bool is_unix, server, telnet, nodelay, abstract, tight;
    bool half_iac;             /* of a doubled 255 the first is written */
    TelnetState tel;
    char *path, *host, *port;
    char *unlink_path;         /* our socket file */
    Addr addrs[MAX_ADDRS];
    unsigned addr_count, addr_next;
    int64_t reconnect_s;       /* 0: a client that was left stays so */
    Timer timer;
} Socket;

static void wait_for_peer(Chardev *c);

/* --- texts --- */

static char *addr_text(const Addr *a)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (a->sa.ss_family == AF_UNIX ||
        getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
                    sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return NULL;
    }
    return g_strdup_printf(a->sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

static char *fd_text(int fd, int (*name_of)(int, struct sockaddr *, socklen_t *))
{
    Addr a = { .len = sizeof(a.sa) };

    return name_of(fd, (struct sockaddr *)&a.sa, &a.len) == 0 ? addr_text(&a) : NULL;
}

static char *where_text(const Socket *s)
{
    if (s->is_unix) {
        return g_strdup_printf("unix:%s%s%s%s", s->path ? s->path : "",
                               s->abstract ? ",abstract=on" : "",
                               s->abstract && s->tight ? ",tight=on" : "",
                               s->server ? ",server=on" : "");
    }
    g_autofree char *bound = s->listen_fd >= 0 ? fd_text(s->listen_fd, getsockname) : NULL;
    g_autofree char *given = s->host ? g_strdup_printf("%s:%s", s->host, s->port) : NULL;
    return g_strdup_printf("%s:%s%s", s->telnet ? "telnet" : "tcp",
                           bound ? bound : given ? given : "", s->server ? ",server=on" : "");
}

static char *socket_filename(Chardev *c)
{
    g_autofree char *where = where_text(c->priv);

    lock_take(&c->lock);
    char *text = !c->open ? g_strdup_printf("disconnected:%s", where)
                 : c->peer_text ? g_strdup_printf("%s <-> %s", where, c->peer_text)
                 : g_strdup(where);
    lock_drop(&c->lock);
    return text;
}

/* --- telnet --- */

static void telnet_greet(int fd)
{
    static const uint8_t hello[] = {
        TN_IAC, TN_WILL, 1, TN_IAC, TN_WILL, 3, TN_IAC, TN_WILL, 0, TN_IAC, 253, 0,
    };

    if (write(fd, hello, sizeof(hello)) < 0) {
        return;                /* the stream's own error handling will see it */
    }
}

static size_t telnet_decode(Chardev *c, uint8_t *buf, size_t n)
{
    Socket *s = c->priv;
    size_t out = 0;

    if (!s->telnet) {
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t b = buf[i];

        switch (s->tel) {
        case TEL_DATA:
            if (b == TN_IAC) {
                s->tel = TEL_IAC;
            } else {
                buf[out++] = b;
            }
            break;
        case TEL_IAC:
            s->tel = TEL_DATA;
            if (b == TN_IAC) {
                buf[out++] = b;
            } else if (b == TN_BREAK) {
                char_event(&c->host, CHAR_BREAK);
            } else if (b == TN_SB) {
                s->tel = TEL_SUB;
            } else if (b >= TN_WILL && b <= TN_DONT) {
                s->tel = TEL_OPTION;
            }
            break;
        case TEL_OPTION:
            s->tel = TEL_DATA;
            break;
        case TEL_SUB:
            s->tel = b == TN_IAC ? TEL_SUB_IAC : TEL_SUB;
            break;
        case TEL_SUB_IAC:
            s->tel = b == TN_SE ? TEL_DATA : TEL_SUB;
            break;
        }
    }
    return out;
}

static ssize_t socket_write(Chardev *c, const uint8_t *buf, size_t n)
{
    static const uint8_t doubled[] = { TN_IAC, TN_IAC };
    Socket *s = c->priv;

    if (!s->telnet) {
        return chardev_write_fd(c, c->out_fd, buf, n);
    }
    const uint8_t *iac = memchr(buf, TN_IAC, n);
    if (iac != buf) {
        return chardev_write_fd(c, c->out_fd, buf, iac ? (size_t)(iac - buf) : n);
    }
    ssize_t got = chardev_write_fd(c, c->out_fd, doubled, s->half_iac ? 1 : 2);
    if (got < 0) {
        return got;
    }
    if (got == 1 && !s->half_iac) {
        s->half_iac = true;
        errno = EAGAIN;
        return -1;
    }
    s->half_iac = false;
    return 1;
}

/* --- a peer comes and goes --- */

static void take_peer(Chardev *c, int fd)
{
    Socket *s = c->priv;
    int one = 1;
    char *text = s->is_unix ? NULL : fd_text(fd, getpeername);

    set_nonblocking(fd);
    if (s->nodelay && !s->is_unix) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    if (s->telnet && s->server) {
        telnet_greet(fd);
    }
    s->tel = TEL_DATA;
    s->half_iac = false;
    lock_take(&c->lock);
    g_free(c->peer_text);
    c->peer_text = text;
    lock_drop(&c->lock);
    chardev_stream_opened(c, fd);
}

static void accepted(void *arg, unsigned events)
{
    Chardev *c = arg;
    Socket *s = c->priv;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0) {
        loop_unwatch(chardev_loop(c), s->listen_fd);
        take_peer(c, fd);
    }
}

static void retry_later(Chardev *c)
{
    Socket *s = c->priv;

    timer_set(&s->timer, clock_now(CLOCK_HOST) + s->reconnect_s * NS_PER_SEC);
}

static void connected(void *arg, unsigned events)
{
    Chardev *c = arg;
    Socket *s = c->priv;
    int fd = s->pending_fd;
    int err = 0;
    socklen_t len = sizeof(err);

    s->pending_fd = -1;
    loop_unwatch(chardev_loop(c), fd);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
    if (err) {
        close(fd);
        retry_later(c);
    } else {
        take_peer(c, fd);
    }
}

static void retry(Timer *t)
{
    Socket *s = container_of(t, Socket, timer);
    Chardev *c = s->c;
    const Addr *a = &s->addrs[s->addr_next++ % s->addr_count];
    int fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        retry_later(c);
    } else if (connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0) {
        take_peer(c, fd);
    } else if (errno == EINPROGRESS) {
        s->pending_fd = fd;
        loop_watch(chardev_loop(c), fd, EPOLLOUT, connected, c);
    } else {
        close(fd);
        retry_later(c);
    }
}

static void wait_for_peer(Chardev *c)
{
    Socket *s = c->priv;
    Loop *l = chardev_loop(c);

    if (!l || c->in_fd >= 0) {
        return;
    }
    if (s->listen_fd >= 0) {
        loop_watch(l, s->listen_fd, EPOLLIN, accepted, c);
    } else if (s->reconnect_s > 0) {
        timer_init(&s->timer, l, CLOCK_HOST, retry);
        timer_set(&s->timer, clock_now(CLOCK_HOST) + s->reconnect_s * NS_PER_SEC);
    }
}

static void stop_waiting(Chardev *c)
{
    Socket *s = c->priv;
    Loop *l = chardev_loop(c);

    if (s->listen_fd >= 0) {
        loop_unwatch(l, s->listen_fd);
    }
    if (s->pending_fd >= 0) {
        loop_unwatch(l, s->pending_fd);
        close(s->pending_fd);
        s->pending_fd = -1;
    }
    timer_stop(&s->timer);
}

static void socket_hangup(Chardev *c)
{
    if (c->in_fd >= 0) {
        close(c->in_fd);
    }
    c->in_fd = c->out_fd = -1;
    wait_for_peer(c);
}

/* --- opening --- */

static bool unix_addr(Socket *s, Error **errp)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&s->addrs[0].sa;
    size_t len = strlen(s->path);

    if (len == 0 || len + 1 > sizeof(un->sun_path)) {
        return error_set(errp, "UNIX socket path '%s' must be 1 to %zu bytes", s->path,
                         sizeof(un->sun_path) - 1);
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path + s->abstract, s->path, len);
    s->addrs[0].len = s->abstract && !s->tight
        ? sizeof(*un) : offsetof(struct sockaddr_un, sun_path) + len + 1;
    s->addr_count = 1;
    return true;
}

static bool tcp_addrs(Socket *s, const ChardevSocket *o, Error **errp)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = s->server ? AI_PASSIVE : 0 };
    struct addrinfo *list;

    if (!o->port) {
        return error_set(errp, "socket: no port given");
    }
    hints.ai_family = o->ipv4 == o->ipv6 ? AF_UNSPEC : o->ipv4 ? AF_INET : AF_INET6;
    int ret = getaddrinfo(*o->host ? o->host : NULL, o->port, &hints, &list);
    if (ret != 0) {
        return error_set(errp, "address resolution failed for %s:%s: %s", o->host, o->port,
                         gai_strerror(ret));
    }
    for (struct addrinfo *a = list; a && s->addr_count < MAX_ADDRS; a = a->ai_next) {
        Addr *to = &s->addrs[s->addr_count++];

        memcpy(&to->sa, a->ai_addr, a->ai_addrlen);
        to->len = a->ai_addrlen;
    }
    freeaddrinfo(list);
    return true;
}

static int new_socket(const Addr *a)
{
    return FAULT("char-socket") ? (errno = EMFILE, -1)
                                : socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Removes a socket file that nobody listens on any more. */
static void remove_stale(const Socket *s)
{
    struct stat st;
    int fd;

    if (s->abstract || lstat(s->path, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        (fd = new_socket(&s->addrs[0])) < 0) {
        return;
    }
    set_nonblocking(fd);
    if (connect(fd, (const struct sockaddr *)&s->addrs[0].sa, s->addrs[0].len) < 0 &&
        errno == ECONNREFUSED) {
        unlink(s->path);
    }
    close(fd);
}

/* A listening socket at @a, or a negative errno. */
static int listen_at(const Addr *a)
{
    int fd = new_socket(a);
    int one = 1;

    if (fd < 0) {
        return -errno;
    }
    if (a->sa.ss_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(fd, (const struct sockaddr *)&a->sa, a->len) == 0 && listen(fd, 1) == 0) {
        return fd;
    }
    int err = errno;
    close(fd);
    return -err;
}

/* The TCP port of @a, in network byte order. */
static in_port_t *port_of(Addr *a)
{
    return a->sa.ss_family == AF_INET6 ? &((struct sockaddr_in6 *)&a->sa)->sin6_port
                                       : &((struct sockaddr_in *)&a->sa)->sin_port;
}

static bool open_listener(Socket *s, unsigned to, Error **errp)
{
    int err = 0;
    unsigned port = s->is_unix ? 0 : ntohs(*port_of(&s->addrs[0]));

    if (s->is_unix) {
        remove_stale(s);
    } else if (to && to < port) {
        return error_set(errp, "'to' is below 'port'");
    }
    do {
        for (unsigned i = 0; i < s->addr_count; i++) {
            if (!s->is_unix) {
                *port_of(&s->addrs[i]) = htons(port);
            }
            int fd = listen_at(&s->addrs[i]);
            if (fd >= 0) {
                s->listen_fd = fd;
                s->unlink_path = s->is_unix && !s->abstract ? g_strdup(s->path) : NULL;
                return true;
            }
            err = -fd;
        }
    } while (err == EADDRINUSE && port++ < to);
    g_autofree char *where = where_text(s);
    return error_set_errno(errp, err, "Failed to listen on '%s'", where);
}

static bool connect_now(Socket *s, Error **errp)
{
    int err = 0;

    for (unsigned i = 0; i < s->addr_count; i++) {
        const Addr *a = &s->addrs[i];
        int fd = new_socket(a);

        if (fd >= 0 && connect(fd, (const struct sockaddr *)&a->sa, a->len) == 0) {
            take_peer(s->c, fd);
            return true;
        }
        err = errno;
        if (fd >= 0) {
            close(fd);
        }
    }
    g_autofree char *given = s->is_unix ? g_strdup(s->path)
                                        : g_strdup_printf("%s:%s", s->host, s->port);
    error_set_errno(errp, err, "Failed to connect to '%s'", given);
    if (s->is_unix && (err == ENOENT || err == ECONNREFUSED)) {
        error_hint(errp, "nothing listens there; server=on makes the socket");
    }
    return false;
}

static bool use_given_fd(Socket *s, const ChardevSocket *o, Error **errp)
{
    char *end = o->fd;
    struct stat st;
    Addr a = { .len = sizeof(a.sa) };
    bool named = !g_ascii_isdigit(*o->fd);
    unsigned long n = named ? (unsigned long)fd_name_take(o->fd) : strtoul(o->fd, &end, 10);

    if (named && n > INT_MAX) {
        return error_set(errp, "File descriptor named '%s' not found", o->fd);
    }
    if (!named && (*end || n > INT_MAX)) {
        return error_set(errp, "Unable to parse FD number %s", o->fd);
    }
    if (fstat(n, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        if (named) {
            close(n);
        }
        return error_set(errp, "File descriptor '%s' is not a socket", o->fd);
    }
    fcntl(n, F_SETFD, FD_CLOEXEC);
    getsockname(n, (struct sockaddr *)&a.sa, &a.len);
    s->is_unix = a.sa.ss_family == AF_UNIX;
    if (s->is_unix && a.len > sizeof(sa_family_t)) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&a.sa;

        s->path = g_strndup(un->sun_path, sizeof(un->sun_path));
    }
    if (o->server) {
        s->listen_fd = n;
    } else {
        take_peer(s->c, n);
    }
    return true;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
    interrupted = 1;
}

/* Waits for a client; false when a signal says that the program should end.  Those are blocked in
 * the rest of the program, which reads them from a descriptor. */
static bool wait_for_client(int listen_fd)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    struct sigaction act = { .sa_handler = interrupt }, old[G_N_ELEMENTS(signals)];
    struct pollfd p = { .fd = listen_fd, .events = POLLIN };
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &act, &old[i]);
        sigdelset(&mask, signals[i]);
    }
    interrupted = 0;
    while (ppoll(&p, 1, NULL, &mask) <= 0 && !interrupted) {
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++) {
        sigaction(signals[i], &old[i], NULL);
    }
    return !interrupted;
}

/* Blocks until the first client is there. */
static bool accept_now(Socket *s, Error **errp)
{
    g_autofree char *where = where_text(s);

    info_report("waiting for connection on: disconnected:%s", where);
    while (s->c->in_fd < 0) {
        if (!wait_for_client(s->listen_fd)) {
            return error_set(errp, "interrupted while waiting for a connection");
        }
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            take_peer(s->c, fd);
        }
    }
    return true;
}

static bool check_options(const ChardevSocket *o, Error **errp)
{
    if ((o->path != NULL) + (o->fd != NULL) + (o->host != NULL) != 1) {
        return error_set(errp, "socket: exactly one of 'path', 'fd' or 'host' is required");
    }
    if (o->server && o->reconnect) {
        return error_set(errp, "'reconnect' option is incompatible with socket in server mode");
    }
    if (o->fd && o->reconnect) {
        return error_set(errp, "'reconnect' option is incompatible with 'fd'");
    }
    return true;
}

static bool socket_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    const ChardevSocket *o = &cfg->u.socket;
    Socket *s = g_new0(Socket, 1);

    *s = (Socket){ .c = c, .listen_fd = -1, .pending_fd = -1, .server = o->server,
                   .telnet = o->telnet, .nodelay = o->nodelay || !o->delay, .abstract = o->abstract,
                   .tight = o->tight, .reconnect_s = o->reconnect,
                   .is_unix = o->path != NULL };
    s->path = g_strdup(o->path);
    s->host = g_strdup(o->host);
    s->port = g_strdup(o->port);
    c->priv = s;
    if (!check_options(o, errp)) {
        return false;
    }
    if (o->fd) {
        if (!use_given_fd(s, o, errp)) {
            return false;
        }
    } else {
        if (!(s->is_unix ? unix_addr(s, errp) : tcp_addrs(s, o, errp)) ||
            (s->server && !open_listener(s, o->to, errp))) {
            return false;
        }
        Error *err = NULL;
        if (!s->server && !connect_now(s, &err)) {
            if (!s->reconnect_s) {
                return error_move(errp, err);
            }
            warn_report("chardev '%s': %s", cfg->id, error_text(err));
            error_free(err);
        }
    }
    if (s->listen_fd >= 0) {
        set_nonblocking(s->listen_fd);
        if (o->wait && !accept_now(s, errp)) {
            return false;
        }
    }
    return true;
}

static void socket_close(Chardev *c)
{
    Socket *s = c->priv;

    if (!s) {
        return;
    }
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    if (s->pending_fd >= 0) {
        close(s->pending_fd);
    }
    if (s->unlink_path) {
        unlink(s->unlink_path);
    }
    g_free(s->unlink_path);
    g_free(s->path);
    g_free(s->host);
    g_free(s->port);
    g_free(s);
    c->priv = NULL;
}

const BackendOps backend_socket = {
    .name = "socket",
    .open = socket_open,
    .start = wait_for_peer,
    .stop = stop_waiting,
    .hangup = socket_hangup,
    .write = socket_write,
    .decode = telnet_decode,
    .close = socket_close,
    .filename = socket_filename,
};
