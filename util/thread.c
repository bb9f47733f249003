/* thread.c: creates threads with a name, a role, blocked signals and an epoch registration.
 *
 * 1. A thread's role and name are written before its function runs and never change. */
#include "util/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "util/epoch.h"
#include "util/fault.h"

/* Enough for any of our call chains, and small, because -overcommit mem-lock=on locks all of it. */
#define STACK_BYTES (1024 * 1024)
#define NAME_BYTES 16

typedef struct Start {
    void (*fn)(void *arg);
    void *arg;
    ThreadRole role;
    bool narrowed;             /* the thread that starts it has this role's sandbox, which it inherits */
    char name[NAME_BYTES];
} Start;

static __thread ThreadRole own_role = THREAD_POOL;     /* the fewest rights */
static __thread char own_name[NAME_BYTES];
static __thread bool own_narrowed;             /* on_start() was called for own_role */
static bool names_shown = true;
static void (*on_start)(ThreadRole role);      /* written before the first thread */

void thread_on_start(void (*fn)(ThreadRole role))
{
    on_start = fn;
}

void thread_block_signals(sigset_t *old)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &all, old);
}

void thread_show_name(pthread_t t, const char *name)
{
    if (__atomic_load_n(&names_shown, __ATOMIC_RELAXED)) {
        pthread_setname_np(t, name);
    }
}

static void *thread_main(void *arg)
{
    Start s = *(Start *)arg;

    own_role = s.role;
    memcpy(own_name, s.name, sizeof(own_name));
    g_free(arg);
    thread_show_name(pthread_self(), own_name);
    epoch_thread_register();
    if (on_start && !s.narrowed) {
        on_start(s.role);
    }
    own_narrowed = on_start != NULL;
    s.fn(s.arg);
    epoch_thread_unregister();
    return NULL;
}

bool thread_start(pthread_t *out, ThreadRole role, const char *name, bool joinable,
                  void (*fn)(void *arg), void *arg, Error **errp)
{
    Start *s = g_new0(Start, 1);
    pthread_attr_t attr;
    sigset_t old;
    pthread_t t;

    s->fn = fn;
    s->arg = arg;
    s->role = role;
    s->narrowed = own_narrowed && own_role == role;
    g_strlcpy(s->name, name, sizeof(s->name));
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, joinable ? PTHREAD_CREATE_JOINABLE
                                                : PTHREAD_CREATE_DETACHED);
    thread_block_signals(&old);
    int err = FAULT("thread-start") ? EAGAIN : pthread_create(&t, &attr, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (err) {
        g_free(s);
        return error_set_errno(errp, err, "cannot start thread '%s'", name);
    }
    if (joinable) {
        *out = t;
    }
    return true;
}

void thread_join(pthread_t t)
{
    pthread_join(t, NULL);
}

void thread_show_names(bool show)
{
    __atomic_store_n(&names_shown, show, __ATOMIC_RELAXED);
}

void thread_become_control(void)
{
    if (own_role != THREAD_CONTROL) {
        own_role = THREAD_CONTROL;
        g_strlcpy(own_name, "main", sizeof(own_name));
        epoch_thread_register();
    }
}

ThreadRole thread_role(void)
{
    return own_role;
}

const char *thread_name(void)
{
    return own_name[0] ? own_name : "?";
}

void assert_control(void)
{
    if (DEBUG_CHECKS && own_role != THREAD_CONTROL) {
        fprintf(stderr, "context: thread '%s' runs what only the control thread may\n",
                thread_name());
        abort();
    }
}
