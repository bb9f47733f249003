/* notifier.c: eventfds. */
#include "util/notifier.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "util/fault.h"

bool notifier_open(Notifier *n, Error **errp)
{
    n->fd = FAULT("notifier-open") ? (errno = EMFILE, -1)
                                   : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return n->fd >= 0 || error_set_errno(errp, errno, "cannot create an eventfd");
}

void notifier_close(Notifier *n)
{
    if (n->fd >= 0) {
        close(n->fd);
        n->fd = -1;
    }
}

void notifier_signal(Notifier *n)
{
    uint64_t one = 1;
    ssize_t got;

    /* EAGAIN means the counter is full: then it is signalled already. */
    do {
        got = write(n->fd, &one, sizeof(one));
    } while (got < 0 && errno == EINTR);
}

bool notifier_take(Notifier *n)
{
    uint64_t count;
    ssize_t got;

    do {
        got = read(n->fd, &count, sizeof(count));
    } while (got < 0 && errno == EINTR);
    return got == sizeof(count);
}
