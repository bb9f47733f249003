/* epoch.h: grace periods, a thin wrapper over liburcu's read side.
 *
 * A reader enters, loads published pointers with epoch_load(), leaves.  A writer publishes with
 * epoch_store() and hands the old object to epoch_defer(); it is freed after every reader that
 * could have seen it has left.  Nobody ever waits for a grace period.
 *
 * 1. A thread registers (thread_start() does) before it first enters.
 * 2. vCPUs are outside while in KVM_RUN, loops while in epoll; sections nest and are short. */
#ifndef UTIL_EPOCH_H
#define UTIL_EPOCH_H

#include <stddef.h>
#include <urcu/urcu-memb.h>
#include "util/context.h"

/* ThreadSanitizer cannot see a grace period; epoch.c tells it about the edges. */
#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif
#ifndef EPOCH_TSAN
#define EPOCH_TSAN 0
#endif
#if EPOCH_TSAN
#include <sanitizer/tsan_interface.h>
extern char epoch_tsan_left;
#endif

/* The two functions of the read side are inlined, which their header allows to code of any licence:
 * called in the shared library they would cost a vCPU exit a hundred instructions. */
#if !EPOCH_TSAN
#include <urcu/static/urcu-memb.h>
#define EPOCH_LOCK _urcu_memb_read_lock
#define EPOCH_UNLOCK _urcu_memb_read_unlock
#else
#define EPOCH_LOCK urcu_memb_read_lock
#define EPOCH_UNLOCK urcu_memb_read_unlock
#endif

typedef struct EpochItem {
    struct rcu_head rcu;
    void (*free)(struct EpochItem *item);
} EpochItem;

CTX_ANY void epoch_thread_register(void);
CTX_ANY void epoch_thread_unregister(void);

static inline void epoch_enter(void)
{
    EPOCH_LOCK();
}

static inline void epoch_leave(void)
{
#if EPOCH_TSAN
    __tsan_release(&epoch_tsan_left);
#endif
    EPOCH_UNLOCK();
}

/* Reads and publishes a pointer; the two pair with one another. */
#define epoch_load(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define epoch_store(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/* Calls item->free(item) on the reclaim thread after a grace period.  @item is embedded in the
 * object. */
CTX_ANY void epoch_defer(EpochItem *item, void (*free_item)(EpochItem *item));

/* Waits until everything deferred so far has been freed: for tests and process exit only, with no
 * lock held and outside any section. */
CTX_ANY void epoch_flush(void);

#endif
