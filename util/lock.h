/* lock.h: mutexes with ranks.
 *
 * 1. A thread takes locks only downwards in rank (a higher number than any it holds), so no cycle
 *    of waiting threads can form.  Debug builds keep a per-thread stack and abort, naming both
 *    locks and both places, on the first violation.  docs/design/locking.md has the table.
 * 2. Locks are not recursive. */
#ifndef UTIL_LOCK_H
#define UTIL_LOCK_H

#include <pthread.h>
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

typedef struct LOCK_TYPE Lock {
    pthread_mutex_t mutex;
    const char *name;
    LockRank rank;
} Lock;

/* Initialises @l; @name is borrowed for the lock's life. */
CTX_ANY void lock_init(Lock *l, LockRank rank, const char *name);
CTX_ANY void lock_destroy(Lock *l);
CTX_ANY void lock_take_at(Lock *l, const char *where) LOCK_ACQUIRES(*l);
CTX_ANY void lock_drop(Lock *l) LOCK_RELEASES(*l);

#define LOCK_STR2(x) #x
#define LOCK_STR(x) LOCK_STR2(x)
#define lock_take(l) lock_take_at(l, __FILE__ ":" LOCK_STR(__LINE__))

/* A static initialiser for file-level locks in util/ and system/. */
#define LOCK_INIT(r, n) { .mutex = PTHREAD_MUTEX_INITIALIZER, .name = (n), .rank = (r) }

/* In debug builds: aborts unless this thread holds @l. */
CTX_ANY void lock_assert_held(const Lock *l);
/* In debug builds: aborts if this thread may not take a lock of rank @r now, that is if it holds
 * one of rank @r or of a higher number.  lock_assert_may_take(RANK_DOMAIN): "holds nothing". */
CTX_ANY void lock_assert_may_take(LockRank r);

/* Waits on @c with @l held (and taken again on return), as pthread_cond_wait().  @timeout_ns < 0:
 * for ever.  Returns false on time-out. */
CTX_ANY bool lock_wait(Lock *l, pthread_cond_t *c, int64_t timeout_ns) LOCK_HELD(*l);

/* Marks that this thread now waits for a worker's answer (rank WORKER), until
 * lock_worker_wait_end(). */
CTX_ANY void lock_worker_wait_begin(void);
CTX_ANY void lock_worker_wait_end(void);

#endif
