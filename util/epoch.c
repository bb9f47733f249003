/* epoch.c: deferred freeing on liburcu's call_rcu.
 *
 * 1. The reclaim thread starts with the first epoch_defer(), not before: a program that defers
 *    nothing pays nothing.  It blocks all signals like every other thread.
 * 2. ThreadSanitizer cannot see liburcu's grace periods (they rest on membarrier), so the edges
 *    that a grace period guarantees are told to it: leave -> free and defer -> free. */
#include "util/epoch.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include "util/thread.h"

static pthread_once_t reclaim_once = PTHREAD_ONCE_INIT;
static bool reclaim_started;           /* atomic */

#if EPOCH_TSAN
char epoch_tsan_left;
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
    sigset_t old;

    thread_block_signals(&old);
    struct call_rcu_data *worker = urcu_memb_get_default_call_rcu_data();
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    thread_show_name(urcu_memb_get_call_rcu_thread(worker), "reclaim");
    __atomic_store_n(&reclaim_started, true, __ATOMIC_RELEASE);
}

static void reclaim(struct rcu_head *head)
{
    EpochItem *item = caa_container_of(head, EpochItem, rcu);

    TSAN_ACQUIRE(item);
    TSAN_ACQUIRE(&epoch_tsan_left);
    item->free(item);
}

void epoch_defer(EpochItem *item, void (*free_item)(EpochItem *item))
{
    pthread_once(&reclaim_once, start_reclaim);
    item->free = free_item;
    TSAN_RELEASE(item);
    urcu_memb_call_rcu(&item->rcu, reclaim);
}

typedef struct Flush {
    EpochItem item;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool done;
} Flush;

static void flush_reached(EpochItem *item)
{
    Flush *f = caa_container_of(item, Flush, item);

    pthread_mutex_lock(&f->mutex);
    f->done = true;
    pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->mutex);
}

/* One worker takes the queue in order, so an item of our own at its end is enough.  (liburcu's own
 * barrier does the same, but ThreadSanitizer cannot follow its reference count.) */
void epoch_flush(void)
{
    Flush f = { .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

    if (!__atomic_load_n(&reclaim_started, __ATOMIC_ACQUIRE)) {
        return;                /* nothing was ever deferred */
    }
    epoch_defer(&f.item, flush_reached);
    pthread_mutex_lock(&f.mutex);
    while (!f.done) {
        pthread_cond_wait(&f.cond, &f.mutex);
    }
    pthread_mutex_unlock(&f.mutex);
    pthread_cond_destroy(&f.cond);
    pthread_mutex_destroy(&f.mutex);
}
