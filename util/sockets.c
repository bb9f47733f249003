/* sockets.c: stream sockets, see sockets.h. */
#include "util/sockets.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>
#include "util/clock.h"
#include "util/fault.h"

#define BACKLOG 128

static bool unix_addr(struct sockaddr_un *un, const char *path, Error **errp)
{
    *un = (struct sockaddr_un){ .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(un->sun_path)) {
        error_set(errp, "UNIX socket path '%s' is too long", path);
        return error_hint(errp, "Path must be less than %zu bytes", sizeof(un->sun_path));
    }
    memcpy(un->sun_path, path, strlen(path) + 1);
    return true;
}

int socket_listen_unix(const char *path, Error **errp)
{
    struct sockaddr_un un;

    if (!unix_addr(&un, path, errp)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        error_set_errno(errp, errno, "Failed to create Unix socket");
        return -1;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        error_set_errno(errp, errno, "Failed to unlink socket %s", path);
    } else if (bind(fd, (const struct sockaddr *)&un, sizeof(un)) < 0) {
        error_set_errno(errp, errno, "Failed to bind socket to %s", path);
    } else if (listen(fd, BACKLOG) < 0) {
        error_set_errno(errp, errno, "Failed to listen on socket");
    } else {
        return fd;
    }
    close(fd);
    return -1;
}

static struct addrinfo *look_up(const char *host, const char *port, int flags, Error **errp)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags };
    struct addrinfo *list = NULL;
    int ret = getaddrinfo(host && *host ? host : NULL, port, &hints, &list);

    if (ret != 0) {
        error_set(errp, "address resolution failed for %s:%s: %s", host ? host : "", port, gai_strerror(ret));
        return NULL;
    }
    return list;
}

int socket_listen_inet(const char *host, const char *port, Error **errp)
{
    struct addrinfo *list = look_up(host, port, AI_PASSIVE, errp);
    int fd = -1, one = 1, err = 0;

    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            err = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
            err = errno;
            close(fd);
            fd = -1;
        }
    }
    if (list) {
        freeaddrinfo(list);
        if (fd < 0) {
            error_set_errno(errp, err, "Failed to find an available port");
        }
    }
    return fd;
}

bool socket_peer_unix(SocketPeer *p, const char *path, Error **errp)
{
    struct sockaddr_un un;

    if (!unix_addr(&un, path, errp)) {
        return false;
    }
    *p = (SocketPeer){ .count = 1, .len = { sizeof(un) } };
    memcpy(&p->at[0], &un, sizeof(un));
    g_snprintf(p->text, sizeof(p->text), "%s", path);
    return true;
}

bool socket_peer_inet(SocketPeer *p, const char *host, const char *port, Error **errp)
{
    struct addrinfo *list = look_up(host, port, 0, errp);

    *p = (SocketPeer){ 0 };
    g_snprintf(p->text, sizeof(p->text), "%s:%s", host ? host : "", port);
    for (const struct addrinfo *a = list; a && p->count < SOCKET_ADDRS; a = a->ai_next) {
        memcpy(&p->at[p->count], a->ai_addr, a->ai_addrlen);
        p->len[p->count++] = a->ai_addrlen;
    }
    if (list) {
        freeaddrinfo(list);
    }
    return p->count > 0;
}

bool socket_wait(int fd, short events, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd p = { fd, events, 0 };
        int64_t left = deadline_ns - clock_now(CLOCK_HOST);

        if (left <= 0) {
            return false;
        }
        if (poll(&p, 1, (int)MIN(left / 1000000 + 1, 1000)) > 0) {
            return true;
        }
    }
}

/* 0, or the errno with which connecting to address @i ended. */
static int connect_one(const SocketPeer *p, unsigned i, int fd, int64_t deadline_ns)
{
    int err = 0, one = 1;
    socklen_t n = sizeof(err);

    if (FAULT("socket-connect")) {
        return ECONNREFUSED;
    }
    if (connect(fd, (const struct sockaddr *)&p->at[i], p->len[i]) < 0) {
        if (errno != EINPROGRESS) {
            return errno;
        }
        if (!socket_wait(fd, POLLOUT, deadline_ns)) {
            return ETIMEDOUT;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 || err) {
            return err ? err : errno;
        }
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return 0;
}

int socket_connect(const SocketPeer *p, int64_t deadline_ns, Error **errp)
{
    int err = EADDRNOTAVAIL;

    for (unsigned i = 0; i < p->count; i++) {
        int fd = socket(p->at[i].ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        err = fd < 0 ? errno : connect_one(p, i, fd, deadline_ns);
        if (err == 0) {
            return fd;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    error_set_errno(errp, err, "Failed to connect to '%s'", p->text);
    return -1;
}
