/* lock.h: mutexes with ranks, and conditions.
 *
 * 1. A thread takes locks only downwards in rank (a higher number than any it holds), so no cycle
 *    of waiting threads can form.  Debug builds keep a per-thread stack and abort, naming both
 *    locks and both places, on the first violation.  docs/design/locking.md has the table.
 * 2. Locks are not recursive.
 * 3. A lock nobody waits for is taken and dropped in place, by one atomic instruction each; whoever
 *    waits sleeps on a futex (Drepper, "Futexes are tricky", mutex 3). */
#ifndef UTIL_LOCK_H
#define UTIL_LOCK_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"

typedef enum LockRank {
    RANK_DOMAIN = 1,  /* device fields, config space, region callbacks; never two at once */
    RANK_WORKER = 2,  /* a pseudo-lock: "waiting for a worker to answer" */
    RANK_MAP = 3,     /* region tree, slots, doorbells; held for microseconds */
    RANK_NODE = 4,    /* block metadata, port buffers, job state */
    RANK_IRQ = 5,     /* routes, soft PIC and IOAPIC state; IrqSinks run here */
    RANK_LEAF = 6,    /* timer heap, trace ring, dirty bits, allocators; nothing below it */
} LockRank;

enum { LOCK_FREE, LOCK_TAKEN, LOCK_WANTED };   /* WANTED: taken, and somebody may sleep */

typedef struct LOCK_TYPE Lock {
    uint32_t word;             /* atomic */
    LockRank rank;
    const char *name;
} Lock;

/* A condition; all zero is ready for use, and nothing is to be freed. */
typedef struct LockCond {
    uint32_t turn;             /* atomic: how often it was signalled, and bit 0: somebody waits */
} LockCond;

/* Initialises @l; @name is borrowed for the lock's life. */
CTX_ANY void lock_init(Lock *l, LockRank rank, const char *name);
CTX_ANY void lock_destroy(Lock *l);

/* What lock_take() and lock_drop() call when it takes longer, and in debug builds. */
CTX_ANY void lock_sleep(Lock *l);
CTX_ANY void lock_wake(Lock *l);
CTX_ANY void lock_check_take(Lock *l, const char *where);
CTX_ANY void lock_check_drop(Lock *l);

static inline void lock_take_at(Lock *l, const char *where) LOCK_ACQUIRES(*l) LOCK_UNCHECKED;
static inline void lock_take_at(Lock *l, const char *where)
{
    uint32_t was = LOCK_FREE;

    if (DEBUG_CHECKS) {
        lock_check_take(l, where);
    }
    if (__builtin_expect(!__atomic_compare_exchange_n(&l->word, &was, LOCK_TAKEN, false,
                                                      __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 0)) {
        lock_sleep(l);
    }
}

static inline void lock_drop(Lock *l) LOCK_RELEASES(*l) LOCK_UNCHECKED;
static inline void lock_drop(Lock *l)
{
    if (DEBUG_CHECKS) {
        lock_check_drop(l);
    }
    if (__builtin_expect(__atomic_exchange_n(&l->word, LOCK_FREE, __ATOMIC_RELEASE) ==
                         LOCK_WANTED, 0)) {
        lock_wake(l);
    }
}

#define LOCK_STR2(x) #x
#define LOCK_STR(x) LOCK_STR2(x)
#define lock_take(l) lock_take_at(l, __FILE__ ":" LOCK_STR(__LINE__))

/* A static initialiser for file-level locks in util/ and system/. */
#define LOCK_INIT(r, n) { .name = (n), .rank = (r) }

/* In debug builds: aborts unless this thread holds @l. */
CTX_ANY void lock_assert_held(const Lock *l);
/* In debug builds: aborts if this thread may not take a lock of rank @r now, that is if it holds
 * one of rank @r or of a higher number.  lock_assert_may_take(RANK_DOMAIN): "holds nothing". */
CTX_ANY void lock_assert_may_take(LockRank r);

/* Waits for a signal on @c with @l held (and taken again on return); it may return without one.
 * @timeout_ns < 0: for ever.  Returns false on time-out. */
CTX_ANY bool lock_wait(Lock *l, LockCond *c, int64_t timeout_ns) LOCK_HELD(*l);
/* Wakes one waiter or all; what they wait for was changed under their lock before. */
CTX_ANY void lock_signal(LockCond *c);
CTX_ANY void lock_broadcast(LockCond *c);

/* Marks that this thread now waits for a worker's answer (rank WORKER), until
 * lock_worker_wait_end(). */
CTX_ANY void lock_worker_wait_begin(void);
CTX_ANY void lock_worker_wait_end(void);

#endif
