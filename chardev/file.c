/* file.c: the back ends that are a descriptor and little more: null, file, pipe, serial line. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include "chardev/char-int.h"
#include "util/fault.h"
#include "util/fdset.h"

static int open_path(const char *path, int flags)
{
    return FAULT("char-open") ? (errno = EIO, -1) : fdset_open(path, flags | O_NOCTTY, 0666);
}

/* --- null --- */

static bool null_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    c->open = true;
    return true;
}

static size_t null_take(Chardev *c, const uint8_t *buf, size_t n)
{
    return n;
}

const BackendOps backend_null = { .name = "null", .open = null_open, .take_now = null_take };

/* --- file --- */

static bool file_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    const ChardevFile *o = &cfg->u.file;

    c->out_fd = open_path(o->path, O_WRONLY | O_CREAT | (o->append ? O_APPEND : O_TRUNC));
    if (c->out_fd < 0) {
        return error_set_errno(errp, errno, "Could not open '%s'", o->path);
    }
    if (o->input_path) {
        c->in_fd = open_path(o->input_path, O_RDONLY | O_NONBLOCK);
        if (c->in_fd < 0) {
            return error_set_errno(errp, errno, "Could not open '%s'", o->input_path);
        }
    }
    c->open = true;
    return true;
}

const BackendOps backend_file = { .name = "file", .open = file_open };

/* --- pipe: PATH.in and PATH.out, or PATH for both --- */

static bool pipe_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    const ChardevPath *o = &cfg->u.pipe;
    g_autofree char *in = g_strdup_printf("%s.in", o->path);
    g_autofree char *out = g_strdup_printf("%s.out", o->path);

    /* Read and write, so that neither open waits for the other side nor its leaving is an end. */
    c->in_fd = open_path(in, O_RDWR | O_NONBLOCK);
    c->out_fd = open_path(out, O_RDWR | O_NONBLOCK);
    if (c->in_fd < 0 || c->out_fd < 0) {
        if (c->in_fd >= 0) {
            close(c->in_fd);
        }
        if (c->out_fd >= 0) {
            close(c->out_fd);
        }
        c->in_fd = c->out_fd = open_path(o->path, O_RDWR | O_NONBLOCK);
        if (c->in_fd < 0) {
            return error_set_errno(errp, errno, "Could not open '%s'", o->path);
        }
    }
    c->open = true;
    return true;
}

const BackendOps backend_pipe = { .name = "pipe", .open = pipe_open };

/* --- a serial line of the host --- */

static bool serial_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    const ChardevPath *o = &cfg->u.serial;     /* or u.tty, its alias */
    struct termios t;

    c->in_fd = c->out_fd = open_path(o->path, O_RDWR | O_NONBLOCK);
    if (c->in_fd < 0) {
        return error_set_errno(errp, errno, "Could not open '%s'", o->path);
    }
    if (tcgetattr(c->in_fd, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(c->in_fd, TCSANOW, &t);
    }
    c->open = true;
    return true;
}

static void serial_break(Chardev *c)
{
    /* On and off again at once would be too short; the line's driver times this one by itself. */
    ioctl(c->out_fd, TCSBRKP, 1);
}

const BackendOps backend_serial = { .name = "serial", .open = serial_open,
                                    .send_break = serial_break };
