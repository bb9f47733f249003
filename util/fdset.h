/* fdset.h: descriptors that somebody else opened: sets opened as /dev/fdset/N, and single ones by name.
 *
 * A process without the right to open a path is given the open descriptor instead (-add-fd, add-fd, getfd).
 * Everything here runs on the control thread, or before there is another one. */
#ifndef UTIL_FDSET_H
#define UTIL_FDSET_H

#include <stdint.h>
#include <sys/types.h>
#include "util/context.h"
#include "util/error.h"

/* As open(2) with O_CLOEXEC; a path /dev/fdset/N gives a duplicate of the descriptor in set N whose access
 * mode is that of @flags: ENOENT without such a set, EACCES without such a descriptor. */
CTX_CONTROL int fdset_open(const char *path, int flags, mode_t mode);
/* Puts @take_fd (closed on failure) into set *@set; *@set -1: a new one, whose number is returned there.
 * @opaque, any text or NULL, is copied. */
CTX_CONTROL bool fdset_add(int64_t *set, int take_fd, const char *opaque, Error **errp);
/* Closes descriptor @fd of @set, -1: all; an empty set is gone. */
CTX_CONTROL bool fdset_remove(int64_t set, int64_t fd, Error **errp);
/* Calls fn for each descriptor, set by set in order of number. */
CTX_CONTROL void fdset_each(void (*fn)(int64_t set, int fd, const char *opaque, void *arg), void *arg);

/* Keeps @take_fd by @name; one of that name before it is closed. */
CTX_CONTROL void fd_name_put(const char *name, int take_fd);
/* The descriptor of that name, which is the caller's from now on; -1: none. */
CTX_CONTROL int fd_name_take(const char *name);

#endif
