/* rng.c: sources of entropy, see rng.h. */
#include "core/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include "util/fault.h"
#include "util/thread.h"

RngSource *rng_new(const char *id, const char *path, Error **errp)
{
    int fd = -1;

    assert_control();
    if (path != NULL) {
        fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            error_set(errp, "Could not open '%s': %s", path, errno_text(errno));
            return NULL;
        }
    }
    return rng_new_fd(id, fd);
}

RngSource *rng_new_fd(const char *id, int take_fd)
{
    RngSource *r = g_new0(RngSource, 1);

    assert_control();
    r->id = g_strdup(id);
    r->fd = take_fd;
    return r;
}

void rng_free(RngSource *r)
{
    assert_control();
    if (r->fd >= 0) {
        close(r->fd);
    }
    g_free(r->id);
    g_free(r);
}

bool rng_open(const RngSource *r, int *fd, Error **errp)
{
    *fd = -1;
    if (r == NULL || r->fd < 0) {
        return true;
    }
    *fd = FAULT("rng-dup") ? (errno = EMFILE, -1) : fcntl(r->fd, F_DUPFD_CLOEXEC, 0);
    return *fd >= 0 || error_set(errp, "rng object '%s': %s", r->id, errno_text(errno));
}

size_t rng_read(int fd, void *buf, size_t n, bool *wait)
{
    ssize_t got;

    *wait = false;
    do {
        got = fd < 0 ? getrandom(buf, n, 0) : read(fd, buf, n);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && fd >= 0) {
        *wait = errno == EAGAIN;
    }
    return got > 0 ? (size_t)got : 0;
}
