/* epoch.c: deferred freeing on liburcu's call_rcu.
 *
 * 1. The reclaim thread starts with the first epoch_defer(), not before: a program that defers
 *    nothing pays nothing.  It blocks all signals like every other thread.
 * 2. ThreadSanitizer cannot see liburcu's grace periods (they rest on membarrier), so the edges that
 *    a grace period guarantees are told to it: leave -> free, defer -> free, free -> flush. */
#include "util/epoch.h"

#include <pthread.h>
#include <signal.h>

static pthread_once_t reclaim_once = PTHREAD_ONCE_INIT;

#if EPOCH_TSAN
char epoch_tsan_left;
static char tsan_freed;
#define TSAN_RELEASE(p) __tsan_release(p)
#define TSAN_ACQUIRE(p) __tsan_acquire(p)
#else
#define TSAN_RELEASE(p) ((void)0)
#define TSAN_ACQUIRE(p) ((void)0)
#endif

void epoch_thread_register(void)
{
    urcu_memb_register_thread();
}

void epoch_thread_unregister(void)
{
    urcu_memb_unregister_thread();
}

static void start_reclaim(void)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    struct call_rcu_data *worker = urcu_memb_get_default_call_rcu_data();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_setname_np(urcu_memb_get_call_rcu_thread(worker), "reclaim");
}

static void reclaim(struct rcu_head *head)
{
    EpochItem *item = caa_container_of(head, EpochItem, rcu);

    TSAN_ACQUIRE(item);
    TSAN_ACQUIRE(&epoch_tsan_left);
    item->free(item);
    TSAN_RELEASE(&tsan_freed);
}

void epoch_defer(EpochItem *item, void (*free_item)(EpochItem *item))
{
    pthread_once(&reclaim_once, start_reclaim);
    item->free = free_item;
    TSAN_RELEASE(item);
    urcu_memb_call_rcu(&item->rcu, reclaim);
}

void epoch_flush(void)
{
    urcu_memb_barrier();
    TSAN_ACQUIRE(&tsan_freed);
}
