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
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>
#include <urcu/pointer.h>
#include "util/context.h"

typedef struct EpochItem {
    struct rcu_head rcu;
    void (*free)(struct EpochItem *item);
} EpochItem;

CTX_ANY void epoch_thread_register(void);
CTX_ANY void epoch_thread_unregister(void);

static inline void epoch_enter(void)
{
    urcu_memb_read_lock();
}

static inline void epoch_leave(void)
{
    urcu_memb_read_unlock();
}

#define epoch_load(p) rcu_dereference(p)
#define epoch_store(p, v) rcu_assign_pointer(p, v)

/* Calls item->free(item) on the reclaim thread after a grace period.  @item is embedded in the object. */
CTX_ANY void epoch_defer(EpochItem *item, void (*free_item)(EpochItem *item));

/* Waits until everything deferred so far has been freed: for tests and process exit only, with no
 * lock held and outside any section. */
CTX_ANY void epoch_flush(void);

#endif
