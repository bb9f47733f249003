/* domain.h: lock domains, the mutex shared by devices that call one another directly.
 *
 * 1. Every device belongs to one domain for life; its callbacks run with that domain held (but see
 *    DeviceType.realize).  A thread holds one domain at most.
 * 2. Crossing into another domain has four legal forms: irq_set(), a notifier or doorbell, loop_post(),
 *    a machine request.
 * 3. With domain_share_all() (-machine domains=one) there is a single domain: a bug that disappears
 *    with it is a race. */
#ifndef CORE_DOMAIN_H
#define CORE_DOMAIN_H

#include "core/types.h"
#include "util/lock.h"

struct LOCK_TYPE Domain {
    Lock lock;
    char *name;
    unsigned refs;             /* atomic: the last device may be freed by the reclaim thread */
    int64_t since;             /* debug: when the holder entered */
};

/* A new domain (the shared one after domain_share_all()); @name is copied.  The caller owns one
 * reference. */
CTX_CONTROL Domain *domain_new(const char *name);
CTX_CONTROL Domain *domain_ref(Domain *d);
CTX_ANY void domain_unref(Domain *d);
/* All domains made from now on are the same one; before the first device is created. */
CTX_CONTROL void domain_share_all(void);

/* Debug builds: how long a domain was held. */
CTX_ANY void domain_entered(Domain *d);
CTX_ANY void domain_leaving(Domain *d);

static inline void domain_enter(Domain *d) LOCK_ACQUIRES(*d) LOCK_UNCHECKED;
static inline void domain_enter(Domain *d)
{
    lock_take(&d->lock);
    if (DEBUG_CHECKS) {
        domain_entered(d);
    }
}

static inline void domain_leave(Domain *d) LOCK_RELEASES(*d) LOCK_UNCHECKED;
static inline void domain_leave(Domain *d)
{
    if (DEBUG_CHECKS) {
        domain_leaving(d);
    }
    lock_drop(&d->lock);
}

/* In debug builds: aborts unless this thread holds @d. */
CTX_ANY static inline void assert_domain(const Domain *d)
{
    if (DEBUG_CHECKS) {
        lock_assert_held(&d->lock);
    }
}

#endif
