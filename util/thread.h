/* thread.h: the one place that creates threads.
 *
 * Every thread has a name (shown by ps -L and gdb when -name debug-threads=on, at most 15 bytes), a
 * role (its rights in docs/design/locking.md and in the sandbox) and is registered with
 * the epoch. */
#ifndef UTIL_THREAD_H
#define UTIL_THREAD_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include "util/context.h"
#include "util/error.h"

typedef enum ThreadRole {
    THREAD_CONTROL,
    THREAD_LOOP,       /* the device loop */
    THREAD_VCPU,
    THREAD_WORKER,
    THREAD_POOL,
    THREAD_MIGRATION,
} ThreadRole;

/* Starts a thread that runs fn(arg).  All signals are blocked in it.  @joinable: the caller joins it
 * with thread_join(); otherwise it is detached and *@out is not set. */
CTX_ANY bool thread_start(pthread_t *out, ThreadRole role, const char *name, bool joinable,
                          void (*fn)(void *arg), void *arg, Error **errp);
CTX_ANY void thread_join(pthread_t t);
/* Whether the host sees the names of threads started from now on; so at first. */
CTX_ANY void thread_show_names(bool show);
/* Each thread calls fn(its role) before its own function; set before the first thread. */
CTX_CONTROL void thread_on_start(void (*fn)(ThreadRole role));
/* Blocks all signals but the one that a system call raises which its thread may not make. */
CTX_ANY void thread_block_signals(sigset_t *old);
/* For a thread that a library made: its name, if the host sees names. */
CTX_ANY void thread_show_name(pthread_t t, const char *name);

/* Declares the calling thread (main, before anything else) to be the control thread. */
CTX_ANY void thread_become_control(void);
CTX_ANY ThreadRole thread_role(void);
/* The calling thread's name; "main" on the control thread. */
CTX_ANY const char *thread_name(void);
/* In debug builds: aborts unless called on the control thread. */
CTX_ANY void assert_control(void);

#endif
