/* lock.c: ranked mutexes and conditions.
 *
 * 1. Debug builds keep what a thread holds in a small per-thread stack, newest last; it is read and
 *    written by that thread only.
 * 2. A violation aborts before the mutex is touched, so the report is about the first mistake and
 *    not about the deadlock it would have led to. */
#include "util/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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
    *l = (Lock){ .rank = rank, .name = name };
}

void lock_destroy(Lock *l)
{
    if (DEBUG_CHECKS && __atomic_load_n(&l->word, __ATOMIC_RELAXED) != LOCK_FREE) {
        fprintf(stderr, "lock order: %s destroyed while held\n", l->name);
        abort();
    }
}

void lock_check_take(Lock *l, const char *where)
{
    check_rank(l->rank, l->name, where);
    push_held(l, l->rank, where);
}

void lock_check_drop(Lock *l)
{
    pop_held(l, l->name);
}

/* LockCond.turn: a mark of somebody who waits, and a count. */
#define COND_WAITED UINT32_C(1)
#define COND_TURN UINT32_C(2)

/* 0, or the errno with which the kernel came back at once or too late. */
static int futex_wait(uint32_t *word, uint32_t expected, const struct timespec *until)
{
    long ret = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, until, NULL,
                       FUTEX_BITSET_MATCH_ANY);

    return ret < 0 ? errno : 0;
}

static void futex_wake(uint32_t *word, int most)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, most, NULL, NULL, 0);
}

void lock_sleep(Lock *l)
{
    while (__atomic_exchange_n(&l->word, LOCK_WANTED, __ATOMIC_ACQUIRE) != LOCK_FREE) {
        futex_wait(&l->word, LOCK_WANTED, NULL);
    }
}

void lock_wake(Lock *l)
{
    futex_wake(&l->word, 1);
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

/* A signal between the two locks changes @turn, and the kernel does not let us sleep. */
LOCK_UNCHECKED bool lock_wait(Lock *l, LockCond *c, int64_t timeout_ns)
{
    uint32_t turn = __atomic_fetch_or(&c->turn, COND_WAITED, __ATOMIC_RELAXED) | COND_WAITED;
    struct timespec until;

    lock_assert_held(l);
    if (timeout_ns >= 0) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += timeout_ns / 1000000000;
        until.tv_nsec += timeout_ns % 1000000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
    }
    lock_drop(l);
    int err = futex_wait(&c->turn, turn, timeout_ns < 0 ? NULL : &until);
    lock_take(l);
    return err != ETIMEDOUT;
}

/* Nobody waits: no system call.  One who waits marked it under the lock under which what he waits for is
 * changed, so he is seen. */
void lock_signal(LockCond *c)
{
    if (__atomic_fetch_add(&c->turn, COND_TURN, __ATOMIC_RELAXED) & COND_WAITED) {
        futex_wake(&c->turn, 1);       /* others may wait: the mark stays */
    }
}

void lock_broadcast(LockCond *c)
{
    uint32_t old = __atomic_load_n(&c->turn, __ATOMIC_RELAXED);

    while (!__atomic_compare_exchange_n(&c->turn, &old, (old & ~COND_WAITED) + COND_TURN, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    if (old & COND_WAITED) {
        futex_wake(&c->turn, INT_MAX);
    }
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
