/* iothread.h: worker loops by name (-object iothread), and the one that serves queues by default.
 *
 * A device has a property PROP_LINK(..., "iothread", ...) whose target is an IoThread; unset means
 * iothread_default(). */
#ifndef CORE_IOTHREAD_H
#define CORE_IOTHREAD_H

#include "core/types.h"
#include "util/loop.h"

typedef struct IoThread {
    char *id;
    Loop *loop;
    int64_t poll_max_ns;
    unsigned poll_grow, poll_shrink, aio_max_batch;
    unsigned users;            /* devices that use it; control thread */
    struct IoThread *next;
} IoThread;

/* Starts a worker; ids are unique ("attempt to add duplicate property 'x' to object").  @poll_max_ns 0:
 * never busy-poll. */
CTX_CONTROL IoThread *iothread_new(const char *id, int64_t poll_max_ns, unsigned poll_grow,
                                   unsigned poll_shrink, Error **errp);
/* Ends it; fails while devices use it. */
CTX_CONTROL bool iothread_remove(IoThread *t, Error **errp);
CTX_CONTROL IoThread *iothread_find(const char *id);
/* The worker of queues that name none; started on first use.  It busy-polls adaptively for up to 32768 ns,
 * but not when the process may use one processor only.  Never NULL (a host without threads ends the
 * program with a message). */
CTX_CONTROL IoThread *iothread_default(void);
/* First of those made by iothread_new(); follow ->next.  The default one is not among them. */
CTX_CONTROL IoThread *iothread_first(void);
/* Registers the link class "iothread", and who is told of a loop's end before it ends; once at start, before
 * the sandbox. */
CTX_CONTROL void iothread_register(void (*ends)(Loop *l));

#endif
