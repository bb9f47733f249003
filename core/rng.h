/* rng.h: sources of entropy by name (-object rng-random, rng-builtin, rng-egd).
 *
 * A device has a property PROP_LINK(..., "rng", ...) whose target is an RngSource; unset means the host's
 * generator.  Each user opens its own descriptor, so that every one can wait for it on its own loop. */
#ifndef CORE_RNG_H
#define CORE_RNG_H

#include "util/context.h"
#include "util/error.h"

typedef struct RngSource {
    char *id;
    int fd;                    /* -1: the host's generator, which never runs dry */
} RngSource;

/* @path NULL: the host's generator. */
CTX_CONTROL RngSource *rng_new(const char *id, const char *path, Error **errp);
/* The same with a descriptor to read from, which is taken. */
CTX_CONTROL RngSource *rng_new_fd(const char *id, int take_fd);
/* No device uses it. */
CTX_CONTROL void rng_free(RngSource *r);
/* A descriptor of one's own, to be closed; -1: rng_read() needs none.  @r may be NULL. */
CTX_CONTROL bool rng_open(const RngSource *r, int *fd, Error **errp);
/* Up to @n bytes from @fd: how many, 0: none now, *wait tells whether more will come by waiting for
 * EPOLLIN.  Never blocks. */
CTX_ANY size_t rng_read(int fd, void *buf, size_t n, bool *wait);

#endif
