/* nbdload.c: loads an NBD server, with as little work of its own as can be.
 *
 *     nbdload SOCKET EXPORT read|write BYTES DEPTH CONNECTIONS SECONDS
 *
 * One thread serves all connections: each keeps DEPTH requests of BYTES in flight at random places (or, from
 * 64 KiB on, one after the other), sends those that became free with one call, and throws away what it
 * reads.  Prints requests a second and MiB a second. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 256
#define MAX_CONNECTIONS 16

typedef struct __attribute__((packed)) Request {
    uint32_t magic;
    uint16_t flags, type;
    uint64_t handle, off;
    uint32_t len;
} Request;

typedef struct Conn {
    int fd;
    unsigned free;             /* requests that may be sent */
    uint8_t *out;
    size_t out_from, out_to;
    uint64_t done, skip;       /* bytes of read data to be thrown away */
    uint8_t head[16];
    unsigned head_len;
    uint64_t next;
} Conn;

static uint64_t size, seed = 88172645463325252u;
static uint32_t bytes;
static int writes;
static uint8_t *trash;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void all(int fd, void *p, size_t n, int out)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = out ? write(fd, (char *)p + at, n - at) : read(fd, (char *)p + at, n - at);

        if (got <= 0) {
            die("handshake");
        }
        at += got;
    }
}

static int join(const char *path, const char *name)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    uint8_t hello[18], end[10], option[16];
    uint32_t flags = htobe32(3), opt = htobe32(1), len = htobe32(strlen(name));

    strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
        die(path);
    }
    all(fd, hello, sizeof(hello), 0);
    all(fd, &flags, 4, 1);
    memcpy(option, "IHAVEOPT", 8);
    memcpy(option + 8, &opt, 4);
    memcpy(option + 12, &len, 4);
    all(fd, option, 16, 1);
    all(fd, (void *)(uintptr_t)name, strlen(name), 1);
    all(fd, end, 10, 0);
    memcpy(&size, end, 8);
    size = be64toh(size);
    return fd;
}

static uint64_t place(Conn *c)
{
    uint64_t blocks = size / bytes;

    if (bytes >= 65536) {
        return c->next++ % blocks * bytes;
    }
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % blocks * bytes;
}

static void pump_out(Conn *c)
{
    while (c->free || c->out_from < c->out_to) {
        if (c->out_from == c->out_to) {
            c->out_from = c->out_to = 0;
            for (; c->free; c->free--) {
                Request r = { htobe32(0x25609513), 0, htobe16(writes), 0, htobe64(place(c)), htobe32(bytes) };

                memcpy(c->out + c->out_to, &r, sizeof(r));
                c->out_to += sizeof(r) + (writes ? bytes : 0);
            }
        }
        ssize_t n = send(c->fd, c->out + c->out_from, c->out_to - c->out_from, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            die("send");
        }
        c->out_from += n;
    }
}

static void take(Conn *c, const uint8_t *p, size_t n)
{
    while (n) {
        size_t part = c->skip < n ? c->skip : n;

        c->skip -= part;
        p += part;
        n -= part;
        if (c->skip == 0 && c->head_len == 16) {
            c->head_len = 0;
            c->done++;
            c->free++;
        }
        if (c->head_len == 16) {
            return;
        }
        part = n < 16 - c->head_len ? n : 16 - c->head_len;
        memcpy(c->head + c->head_len, p, part);
        c->head_len += part;
        p += part;
        n -= part;
        if (c->head_len == 16) {
            uint32_t error;

            memcpy(&error, c->head + 4, 4);
            if (error) {
                fprintf(stderr, "the server says error %u\n", be32toh(error));
                exit(1);
            }
            c->skip = writes ? 0 : bytes;
            if (!c->skip) {
                c->head_len = 0;
                c->done++;
                c->free++;
            }
        }
    }
}

static void pump_in(Conn *c)
{
    ssize_t n = recv(c->fd, trash, 1 << 20, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("recv");
    }
    if (n > 0) {
        take(c, trash, n);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static Conn conns[MAX_CONNECTIONS];
    struct pollfd p[MAX_CONNECTIONS];
    double start, end;
    uint64_t done = 0;

    if (argc != 8) {
        fprintf(stderr, "usage: nbdload SOCKET EXPORT read|write BYTES DEPTH CONNECTIONS SECONDS\n");
        return 1;
    }
    writes = !strcmp(argv[3], "write");
    bytes = strtoul(argv[4], NULL, 0);
    unsigned depth = atoi(argv[5]), n = atoi(argv[6]);
    trash = malloc(1 << 20);
    for (unsigned i = 0; i < n; i++) {
        conns[i].fd = join(argv[1], argv[2]);
        conns[i].free = depth;
        conns[i].out = calloc(depth, sizeof(Request) + bytes);
        conns[i].next = i * (size / bytes / n);
    }
    start = now();
    end = start + atof(argv[7]);
    while (now() < end) {
        for (unsigned i = 0; i < n; i++) {
            pump_out(&conns[i]);
            bool waits = conns[i].out_to > conns[i].out_from;

            p[i] = (struct pollfd){ conns[i].fd, POLLIN | (waits ? POLLOUT : 0), 0 };
        }
        poll(p, n, 1000);
        for (unsigned i = 0; i < n; i++) {
            if (p[i].revents & POLLIN) {
                pump_in(&conns[i]);
            }
        }
    }
    end = now();
    for (unsigned i = 0; i < n; i++) {
        done += conns[i].done;
    }
    printf("%.0f %.1f\n", done / (end - start), done / (end - start) * bytes / 1048576);
    return 0;
}
