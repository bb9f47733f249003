/* domain.c: lock domains.
 *
 * 1. After domain_share_all() every domain_new() returns one and the same domain. */
#include "core/domain.h"

#include "util/clock.h"
#include "util/thread.h"
#include "util/trace.h"

/* Longer than this under one domain is a bug worth a trace line (debug builds). */
#define HELD_TOO_LONG_NS (5 * NS_PER_MS)

static Domain *shared;
static bool share_all;

static Domain *make_domain(const char *name)
{
    Domain *d = g_new0(Domain, 1);

    d->name = g_strdup(name);
    d->refs = 1;
    lock_init(&d->lock, RANK_DOMAIN, d->name);
    return d;
}

Domain *domain_new(const char *name)
{
    assert_control();
    if (!share_all) {
        return make_domain(name);
    }
    if (!shared) {
        shared = make_domain("all");
    }
    return domain_ref(shared);
}

Domain *domain_ref(Domain *d)
{
    __atomic_add_fetch(&d->refs, 1, __ATOMIC_RELAXED);
    return d;
}

void domain_unref(Domain *d)
{
    if (d && __atomic_sub_fetch(&d->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        lock_destroy(&d->lock);
        g_free(d->name);
        g_free(d);
    }
}

void domain_share_all(void)
{
    assert_control();
    share_all = true;
}

void domain_entered(Domain *d)
{
    d->since = clock_now(CLOCK_HOST);
}

void domain_leaving(Domain *d)
{
    int64_t held = clock_now(CLOCK_HOST) - d->since;

    if (held > HELD_TOO_LONG_NS) {
        TRACE(domain_held_long, "domain=%s us=%" PRId64, d->name, held / NS_PER_US);
    }
}
