/* loop.h: event loops, timers, posts, barriers.
 *
 * A Loop owns one thread (or, for the control loop, runs inside GLib's default main context on the
 * main thread).  It has an epoll set, a queue of posts, and a timer heap behind one timerfd.
 *
 * 1. Callbacks run on the loop's thread, inside an epoch section, holding no lock.
 * 2. No callback re-enters a loop; waiting is a Barrier.
 * 3. After loop_unwatch() or timer_stop() returns on the loop's own thread the callback will not
 *    run any more.  From another thread it may be running right now: see core/clock.h for devices. */
#ifndef UTIL_LOOP_H
#define UTIL_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "util/clock.h"
#include "util/context.h"
#include "util/error.h"
#include "util/thread.h"

typedef struct Loop Loop;

/* Creates a loop and its thread.  @role THREAD_LOOP or THREAD_WORKER. */
CTX_CONTROL Loop *loop_new(const char *name, ThreadRole role, Error **errp);
/* Ends the loop's thread after the callbacks now queued, and frees it.  No watch or timer is left. */
CTX_CONTROL void loop_free(Loop *l);
/* The control loop; the first call creates it, on the control thread.  Run it with
 * g_main_loop_run() or loop_control_iterate(). */
CTX_ANY Loop *loop_control(void);
/* One iteration of the control loop; blocks for an event when @may_block. Returns true if work was done. */
CTX_CONTROL bool loop_control_iterate(bool may_block);

/* Calls ready(arg, events) on @l while @fd is ready for @events (EPOLLIN, EPOLLOUT, ...; level
 * triggered).  A second call for the same fd replaces events, function and argument.  Any thread. */
CTX_ANY void loop_watch(Loop *l, int fd, unsigned events, void (*ready)(void *arg, unsigned events),
                        void *arg);
CTX_ANY void loop_unwatch(Loop *l, int fd);

/* True on the thread of @l. */
CTX_ANY bool loop_here(const Loop *l);
/* In debug builds: aborts unless on the thread of @l. */
CTX_ANY void assert_loop(const Loop *l);
CTX_ANY const char *loop_name(const Loop *l);
/* The kernel's thread id of the loop's thread. */
CTX_ANY int loop_thread_id(const Loop *l);

/* A source of work that a busy-polling loop asks.  All run on the loop, inside an epoch section. */
typedef struct LoopPollOps {
    /* Does what there is to do; true: there was something. */
    bool (*poll)(void *arg);
    /* The loop asks from now on, and need not be woken (may be NULL). */
    void (*begin)(void *arg);
    /* The loop is about to sleep and has to be woken again; does what arrived before that took effect
     * and returns true if there was something (NULL if begin is). */
    bool (*end)(void *arg);
} LoopPollOps;

/* Before the loop sleeps it polls for up to an adaptive time of at most @max_ns; 0 turns polling off. */
CTX_ANY void loop_set_poll(Loop *l, int64_t max_ns, unsigned grow, unsigned shrink);
CTX_LOOP void loop_poll_add(Loop *l, const LoopPollOps *ops, void *arg);
/* Neither end() nor anything else is called any more. */
CTX_LOOP void loop_poll_remove(Loop *l, const LoopPollOps *ops, void *arg);

/* --- posts: the one way to cross into a loop --- */
typedef struct Post {
    void (*run)(struct Post *p);
    struct Post *next;                     /* private to the loop while queued */
} Post;

/* Runs p->run(p) on @l soon; posts run in the order they were posted.  @p is borrowed until run is
 * called, and must not be posted again before that.  Any thread; takes no lock. */
CTX_ANY void loop_post(Loop *l, Post *p);
/* Runs fn(arg) on @l soon; allocates. */
CTX_ANY void loop_call(Loop *l, void (*fn)(void *arg), void *arg);
/* Runs fn(arg) on @l and waits for it.  Only from a thread that may wait for @l (see locking.md);
 * directly when already on @l. */
CTX_ANY void loop_call_wait(Loop *l, void (*fn)(void *arg), void *arg);

/* --- timers --- */
typedef struct Timer {
    void (*fire)(struct Timer *t);         /* on @loop; the timer is no longer armed */
    Loop *loop;
    ClockKind clock;
    int64_t due;                           /* ns on @clock */
    unsigned heap_at;                      /* place in the heap plus one; 0: not armed */
} Timer;

CTX_ANY void timer_init(Timer *t, Loop *l, ClockKind clock, void (*fire)(Timer *t));
/* Arms (or re-arms) @t for @due_ns, absolute on its clock; in the past means at once. */
CTX_ANY void timer_set(Timer *t, int64_t due_ns);
CTX_ANY void timer_stop(Timer *t);
CTX_ANY bool timer_armed(const Timer *t);

/* --- barriers: wait without blocking --- */
typedef struct Barrier {
    Loop *loop;
    Post *opened;
    int inside;                            /* atomic */
} Barrier;

/* A new barrier holds one entry, the creator's, so it cannot open while being set up. */
CTX_ANY void barrier_init(Barrier *b, Loop *l, Post *opened);
CTX_ANY void barrier_enter(Barrier *b);
/* The last one out posts @opened to @loop; @b may be freed by it. */
CTX_ANY void barrier_leave(Barrier *b);

#endif
