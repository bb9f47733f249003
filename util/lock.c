/* lock.c: ranked mutexes.
 *
 * 1. Debug builds keep what a thread holds in a small per-thread stack, newest last; it is read and
 *    written by that thread only.
 * 2. A violation aborts before the mutex is touched, so the report is about the first mistake and
 *    not about the deadlock it would have led to. */
#include "util/lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_HELD 16

typedef struct Held {
    const Lock *lock;          /* NULL: the pseudo-lock of rank WORKER */
    const char *where;
    LockRank rank;
} Held;

static __thread Held held[MAX_HELD];
static __thread unsigned held_count;

static const char *const rank_names[] = {
    [RANK_DOMAIN] = "DOMAIN", [RANK_WORKER] = "WORKER", [RANK_MAP] = "MAP",
    [RANK_NODE] = "NODE",     [RANK_IRQ] = "IRQ",       [RANK_LEAF] = "LEAF",
};

static const char *held_name(const Held *h)
{
    return h->lock ? h->lock->name : "waiting for a worker";
}

static void check_rank(LockRank rank, const char *name, const char *where)
{
    for (unsigned i = 0; i < held_count; i++) {
        if (held[i].rank >= rank) {
            fprintf(stderr, "lock order: %s (rank %s) wanted at %s while holding %s (rank %s) "
                    "taken at %s\n", name, rank_names[rank], where, held_name(&held[i]),
                    rank_names[held[i].rank], held[i].where);
            abort();
        }
    }
}

static void push_held(const Lock *l, LockRank rank, const char *where)
{
    if (held_count == MAX_HELD) {
        fprintf(stderr, "lock order: more than %d locks held at %s\n", MAX_HELD, where);
        abort();
    }
    held[held_count++] = (Held){ .lock = l, .rank = rank, .where = where };
}

static void pop_held(const Lock *l, const char *name)
{
    for (unsigned i = held_count; i-- > 0;) {
        if (held[i].lock == l) {
            held_count--;
            memmove(&held[i], &held[i + 1], (held_count - i) * sizeof(held[0]));
            return;
        }
    }
    fprintf(stderr, "lock order: %s dropped but not held by this thread\n", name);
    abort();
}

void lock_init(Lock *l, LockRank rank, const char *name)
{
    pthread_mutex_init(&l->mutex, NULL);
    l->name = name;
    l->rank = rank;
}

void lock_destroy(Lock *l)
{
    pthread_mutex_destroy(&l->mutex);
}

LOCK_UNCHECKED void lock_take_at(Lock *l, const char *where)
{
    if (DEBUG_CHECKS) {
        check_rank(l->rank, l->name, where);
        push_held(l, l->rank, where);
    }
    pthread_mutex_lock(&l->mutex);
}

LOCK_UNCHECKED void lock_drop(Lock *l)
{
    if (DEBUG_CHECKS) {
        pop_held(l, l->name);
    }
    pthread_mutex_unlock(&l->mutex);
}

void lock_assert_held(const Lock *l)
{
    if (DEBUG_CHECKS) {
        for (unsigned i = 0; i < held_count; i++) {
            if (held[i].lock == l) {
                return;
            }
        }
        fprintf(stderr, "lock order: %s (rank %s) should be held here\n", l->name,
                rank_names[l->rank]);
        abort();
    }
}

void lock_assert_may_take(LockRank r)
{
    if (DEBUG_CHECKS) {
        check_rank(r, "a lock", "lock_assert_may_take()");
    }
}

LOCK_UNCHECKED bool lock_wait(Lock *l, pthread_cond_t *c, int64_t timeout_ns)
{
    struct timespec until;

    lock_assert_held(l);
    if (timeout_ns < 0) {
        pthread_cond_wait(c, &l->mutex);
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ns / 1000000000;
    until.tv_nsec += timeout_ns % 1000000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    return pthread_cond_clockwait(c, &l->mutex, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}

void lock_worker_wait_begin(void)
{
    if (DEBUG_CHECKS) {
        check_rank(RANK_WORKER, "waiting for a worker", "lock_worker_wait_begin()");
        push_held(NULL, RANK_WORKER, "lock_worker_wait_begin()");
    }
}

void lock_worker_wait_end(void)
{
    if (DEBUG_CHECKS) {
        pop_held(NULL, "waiting for a worker");
    }
}
