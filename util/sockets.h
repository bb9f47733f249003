/* sockets.h: stream sockets that listen or are connected to. */
#ifndef UTIL_SOCKETS_H
#define UTIL_SOCKETS_H

#include <netinet/in.h>
#include <sys/socket.h>
#include "util/context.h"
#include "util/error.h"

#define SOCKET_ADDRS 8

/* Where to connect: names are looked up once, which may wait for a name server. */
typedef struct SocketPeer {
    struct sockaddr_storage at[SOCKET_ADDRS];
    socklen_t len[SOCKET_ADDRS];
    unsigned count;
    char text[300];            /* for messages */
} SocketPeer;

/* A socket that listens, close-on-exec and non-blocking; -1 and @errp on failure.  A stale socket file gives
 * way. */
CTX_ANY int socket_listen_unix(const char *path, Error **errp);
/* @host "" or NULL: any address. */
CTX_ANY int socket_listen_inet(const char *host, const char *port, Error **errp);

CTX_ANY bool socket_peer_unix(SocketPeer *p, const char *path, Error **errp);
CTX_ANY bool socket_peer_inet(SocketPeer *p, const char *host, const char *port, Error **errp);
/* Connects to the first of @p's addresses that answers until @deadline_ns (CLOCK_HOST), which blocks; the
 * socket does not.  -1 and @errp on failure. */
CTX_ANY int socket_connect(const SocketPeer *p, int64_t deadline_ns, Error **errp);
/* Waits for @events (POLLIN, POLLOUT) on @fd; false: the time is over. */
CTX_ANY bool socket_wait(int fd, short events, int64_t deadline_ns);

#endif
