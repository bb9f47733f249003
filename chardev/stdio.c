/* stdio.c: the terminal rhea was started on.
 *
 * 1. The terminal's mode is changed while the back end is open and put back by tty_restore(), which
 *    also runs at exit(3).
 * 2. The descriptors 0 and 1 are shared with the shell and everything else on the terminal, so
 *    their O_NONBLOCK is left alone: output to a terminal goes through a descriptor opened anew, to
 *    anything else in pieces that poll() says will not block. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "chardev/char-int.h"

static struct termios before, raw;
static bool changed;
static Chardev *owner;
static const char *refused_by;
static int opened = -1;        /* the terminal, opened anew */

void chardev_refuse_stdio(const char *option)
{
    refused_by = option;
}

static void apply(const struct termios *t)
{
    pid_t foreground = tcgetpgrp(STDIN_FILENO);

    /* In the background this would stop the whole process; without job control (not the session's own
     * terminal) there is no background. */
    if (foreground < 0 || foreground == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSANOW, t);
    }
}

void tty_restore(void)
{
    if (changed) {
        changed = false;
        apply(&before);
    }
}

/* Stopped and continued, the shell has put its own mode back.  tcsetattr() is signal-safe. */
static void continued(int sig)
{
    int saved = errno;

    if (changed) {
        apply(&raw);
    }
    errno = saved;
}

static void set_raw(bool signals)
{
    static bool registered;
    struct sigaction act = { .sa_handler = continued, .sa_flags = SA_RESTART };

    if (tcgetattr(STDIN_FILENO, &before) < 0) {
        return;
    }
    raw = before;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;      /* "\n" of our own reports should begin a line */
    if (signals) {
        raw.c_lflag |= ISIG;
    }
    changed = true;
    apply(&raw);
    sigaction(SIGCONT, &act, NULL);
    if (!registered) {
        registered = true;
        atexit(tty_restore);
    }
}

static bool stdio_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    if (refused_by) {
        return error_set(errp, "cannot use stdio with %s", refused_by);
    }
    if (owner) {
        return error_set(errp, "cannot use stdio by multiple character devices");
    }
    owner = c;
    c->in_fd = STDIN_FILENO;
    c->out_fd = STDOUT_FILENO;
    c->fds_shared = true;
    c->out_blocks = true;
    set_raw(cfg->u.stdio.signal);
    if (isatty(STDOUT_FILENO)) {
        int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd >= 0) {
            c->out_fd = opened = fd;
            c->out_blocks = false;
        }
    }
    c->open = true;
    return true;
}

static void stdio_close(Chardev *c)
{
    if (owner == c) {
        owner = NULL;
        if (opened >= 0) {
            close(opened);
            opened = -1;
        }
        tty_restore();
    }
}

const BackendOps backend_stdio = { .name = "stdio", .open = stdio_open, .close = stdio_close };
