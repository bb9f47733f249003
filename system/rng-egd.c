/* rng-egd.c: entropy of an EGD daemon: a request "2, count" is answered by that many bytes.
 *
 *   daemon --chardev--> bytes() --pipe--> rng_read() of whoever uses the source
 *
 * 1. All of it runs on control.  One request is outstanding at most, made when the pipe is empty: its one
 *    buffer makes it writable only then.  So nothing piles up, whatever the daemon sends.
 * 2. A daemon that goes away is asked anew when one is there again; the users wait. */
#include "system/rng-egd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "chardev/char.h"
#include "util/bytes.h"
#include "util/epoch.h"

enum { EGD_READ_BLOCKING = 2, EGD_MOST = 255 };

struct RngEgd {
    CharPort port;
    int fd;                    /* the pipe's end to write to */
    size_t left;               /* bytes of the answer that are still to come */
    bool watched, open;
    uint8_t unsent;            /* bytes of the request that the chardev did not take yet */
    EpochItem epoch;
};

static RngEgd *egd_of(CharPort *p)
{
    return (RngEgd *)p;
}

static void send_request(RngEgd *e)
{
    static const uint8_t request[] = { EGD_READ_BLOCKING, EGD_MOST };

    e->unsent -= char_send(&e->port, request + sizeof(request) - e->unsent, e->unsent);
}

static void is_empty(void *arg, unsigned events)
{
    RngEgd *e = arg;

    loop_unwatch(loop_control(), e->fd);
    e->watched = false;
    e->left = EGD_MOST;
    e->unsent = 2;
    send_request(e);
    char_room(&e->port);
}

static void want(RngEgd *e)
{
    if (!e->watched && e->open) {
        e->watched = true;
        loop_watch(loop_control(), e->fd, EPOLLOUT, is_empty, e);
    }
}

static size_t space(CharPort *p)
{
    return egd_of(p)->left;
}

static void bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    RngEgd *e = egd_of(p);
    ssize_t put;

    n = MIN(n, e->left);
    do {
        put = write(e->fd, buf, n);            /* what does not fit, which cannot be, is dropped */
    } while (put < 0 && errno == EINTR);
    e->left -= n;
    if (e->left == 0) {
        want(e);
    }
}

static void stop_watching(RngEgd *e)
{
    if (e->watched) {
        loop_unwatch(loop_control(), e->fd);
        e->watched = false;
    }
}

static void event(CharPort *p, CharEvent what)
{
    RngEgd *e = egd_of(p);

    switch (what) {
    case CHAR_OPEN:
        e->open = true;
        e->left = e->unsent = 0;
        want(e);
        break;
    case CHAR_HANGUP:
        stop_watching(e);
        e->open = false;
        e->left = e->unsent = 0;
        break;
    case CHAR_ROOM:
        send_request(e);
        break;
    default:
        break;
    }
}

static const CharPortOps ops = { .space = space, .bytes = bytes, .event = event };

RngEgd *rng_egd_new(const char *id, RngSource **source, Error **errp)
{
    int fds[2] = { -1, -1 };

    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0 || fcntl(fds[1], F_SETPIPE_SZ, 4096) < 0) {
        error_set(errp, "rng object '%s': %s", id, errno_text(errno));
        for (unsigned i = 0; i < 2; i++) {
            if (fds[i] >= 0) {
                close(fds[i]);
            }
        }
        return NULL;
    }
    RngEgd *e = g_new0(RngEgd, 1);
    e->fd = fds[1];
    char_port_init(&e->port, &ops);
    *source = rng_new_fd(id, fds[0]);
    return e;
}

bool rng_egd_connect(RngEgd *e, const char *chardev, Error **errp)
{
    Chardev *c = chardev_need(chardev, errp);

    return c != NULL && chardev_claim(c, &e->port, loop_control(), errp);
}

static void free_it(EpochItem *item)
{
    g_free(container_of(item, RngEgd, epoch));
}

void rng_egd_free(RngEgd *e)
{
    chardev_release(&e->port);
    stop_watching(e);
    e->open = false;
    close(e->fd);
    epoch_defer(&e->epoch, free_it);
}
