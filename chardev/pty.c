/* pty.c: a pseudo-terminal that programs on the host open like a serial line.
 *
 * 1. Linux says on the master side when the last user of the slave closed it (EPOLLHUP), but not
 *    when one opens it.  So while nobody has it open, the master is not watched, but inotify is, on
 *    the slave's name; nothing polls.
 *
 *      closed --slave_opened()--> open --pty_hangup()--> closed */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <termios.h>
#include <unistd.h>
#include "chardev/char-int.h"

typedef struct Pty {
    int master;
    int inotify;
    char *slave;
} Pty;

static bool make_pair(Pty *p, Error **errp)
{
    char name[64];
    struct termios t;

    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (p->master < 0 || grantpt(p->master) < 0 || unlockpt(p->master) < 0 ||
        ptsname_r(p->master, name, sizeof(name)) != 0 || !set_nonblocking(p->master)) {
        return error_set_errno(errp, errno, "Failed to create PTY");
    }
    p->slave = g_strdup(name);
    int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return error_set_errno(errp, errno, "Failed to open PTY '%s'", name);
    }
    if (tcgetattr(fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(fd, TCSAFLUSH, &t);
    }
    close(fd);                 /* from now on the master shows EPOLLHUP until somebody opens it */
    p->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->inotify < 0 || inotify_add_watch(p->inotify, name, IN_OPEN) < 0) {
        return error_set_errno(errp, errno, "Failed to watch PTY '%s'", name);
    }
    return true;
}

static bool pty_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    Pty *p = g_new0(Pty, 1);

    p->master = p->inotify = -1;
    c->priv = p;
    c->fds_shared = true;      /* the master stays open between users; pty_close() closes it */
    if (!make_pair(p, errp)) {
        return false;
    }
    info_report("char device redirected to %s (label %s)", p->slave, cfg->id);
    return true;
}

static bool somebody_has_it(const Pty *p)
{
    struct pollfd f = { .fd = p->master, .events = POLLIN };

    return poll(&f, 1, 0) >= 0 && !(f.revents & POLLHUP);
}

static void slave_opened(void *arg, unsigned events)
{
    char buf[512] __attribute__((aligned(__alignof__(struct inotify_event))));
    Chardev *c = arg;
    Pty *p = c->priv;

    while (read(p->inotify, buf, sizeof(buf)) > 0) {
    }
    if (somebody_has_it(p)) {
        loop_unwatch(chardev_loop(c), p->inotify);
        chardev_stream_opened(c, p->master);
    }
}

static void pty_start(Chardev *c)
{
    Pty *p = c->priv;

    if (c->in_fd < 0) {
        loop_watch(chardev_loop(c), p->inotify, EPOLLIN, slave_opened, c);
        slave_opened(c, 0);    /* it may have been opened while nobody watched */
    }
}

static void pty_stop(Chardev *c)
{
    Pty *p = c->priv;

    loop_unwatch(chardev_loop(c), p->inotify);
}

static void pty_hangup(Chardev *c)
{
    c->in_fd = c->out_fd = -1;
    if (chardev_loop(c)) {
        pty_start(c);
    }
}

static void pty_close(Chardev *c)
{
    Pty *p = c->priv;

    if (p) {
        if (p->master >= 0) {
            close(p->master);
        }
        if (p->inotify >= 0) {
            close(p->inotify);
        }
        g_free(p->slave);
        g_free(p);
        c->priv = NULL;
    }
}

static char *pty_filename(Chardev *c)
{
    return g_strdup_printf("pty:%s", ((Pty *)c->priv)->slave);
}

const BackendOps backend_pty = {
    .name = "pty",
    .open = pty_open,
    .start = pty_start,
    .stop = pty_stop,
    .hangup = pty_hangup,
    .close = pty_close,
    .filename = pty_filename,
};
