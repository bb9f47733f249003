/* fdset.c: sets of descriptors and descriptors by name, see fdset.h. */
#include "util/fdset.h"

#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define FDSET_PREFIX "/dev/fdset/"

typedef struct SetFd {
    int64_t set;
    int fd;
    char *opaque;
    struct SetFd *next;        /* in order of @set */
} SetFd;

typedef struct NamedFd {
    char *name;
    int fd;
    struct NamedFd *next;
} NamedFd;

static SetFd *set_fds;
static NamedFd *named_fds;

static int duplicate_from(int64_t set, int access)
{
    bool known = false;

    for (SetFd *s = set_fds; s != NULL; s = s->next) {
        if (s->set == set) {
            known = true;
            if ((fcntl(s->fd, F_GETFL) & O_ACCMODE) == access) {
                return fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
            }
        }
    }
    errno = known ? EACCES : ENOENT;
    return -1;
}

int fdset_open(const char *path, int flags, mode_t mode)
{
    const char *number = path + strlen(FDSET_PREFIX);
    char *end;

    if (!g_str_has_prefix(path, FDSET_PREFIX)) {
        return open(path, flags | O_CLOEXEC, mode);
    }
    int64_t set = g_ascii_isdigit(*number) ? g_ascii_strtoll(number, &end, 10) : -1;

    if (set < 0 || *end != '\0') {
        errno = EINVAL;
        return -1;
    }
    return duplicate_from(set, flags & O_ACCMODE);
}

static int64_t free_number(void)
{
    int64_t n = 0;

    for (SetFd *s = set_fds; s != NULL; s = s->next) {
        n = s->set == n ? n + 1 : n;
    }
    return n;
}

bool fdset_add(int64_t *set, int take_fd, const char *opaque, Error **errp)
{
    SetFd *s, **at = &set_fds;

    if (fcntl(take_fd, F_SETFD, FD_CLOEXEC) < 0) {
        return error_set_errno(errp, errno, "File descriptor %d", take_fd);
    }
    *set = *set < 0 ? free_number() : *set;
    while (*at != NULL && (*at)->set <= *set) {
        at = &(*at)->next;
    }
    s = g_new0(SetFd, 1);
    s->set = *set;
    s->fd = take_fd;
    s->opaque = g_strdup(opaque);
    s->next = *at;
    *at = s;
    return true;
}

bool fdset_remove(int64_t set, int64_t fd, Error **errp)
{
    bool found = false;

    for (SetFd **at = &set_fds; *at != NULL;) {
        SetFd *s = *at;

        if (s->set != set || (fd >= 0 && s->fd != fd)) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        close(s->fd);
        g_free(s->opaque);
        g_free(s);
        found = true;
    }
    if (found) {
        return true;
    }
    if (fd < 0) {
        return error_set(errp, "File descriptor named 'fdset-id:%" PRId64 "' not found", set);
    }
    return error_set(errp, "File descriptor named 'fdset-id:%" PRId64 ", fd:%" PRId64 "' not found", set, fd);
}

void fdset_each(void (*fn)(int64_t set, int fd, const char *opaque, void *arg), void *arg)
{
    for (SetFd *s = set_fds; s != NULL; s = s->next) {
        fn(s->set, s->fd, s->opaque, arg);
    }
}

void fd_name_put(const char *name, int take_fd)
{
    int old = fd_name_take(name);
    NamedFd *n = g_new0(NamedFd, 1);

    if (old >= 0) {
        close(old);
    }
    n->name = g_strdup(name);
    n->fd = take_fd;
    n->next = named_fds;
    named_fds = n;
}

int fd_name_take(const char *name)
{
    for (NamedFd **at = &named_fds; *at != NULL; at = &(*at)->next) {
        NamedFd *n = *at;

        if (strcmp(n->name, name) == 0) {
            int fd = n->fd;

            *at = n->next;
            g_free(n->name);
            g_free(n);
            return fd;
        }
    }
    return -1;
}
