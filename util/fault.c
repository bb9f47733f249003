/* fault.c: the armed failure.
 *
 * 1. A plain mutex, not a Lock: a fault point may lie anywhere, under any rank, and nothing is
 *    taken below it. */
#include "util/fault.h"

#include <glib.h>
#include <pthread.h>

bool fault_armed;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static char armed_pattern[64];
static unsigned hits_left, run_left;
static bool delivered;

void fault_arm(const char *pattern, unsigned nth)
{
    fault_arm_run(pattern, nth, 1);
}

void fault_arm_run(const char *pattern, unsigned nth, unsigned count)
{
    pthread_mutex_lock(&guard);
    g_strlcpy(armed_pattern, pattern, sizeof(armed_pattern));
    hits_left = nth;
    run_left = nth > 0 ? count : 0;
    delivered = false;
    __atomic_store_n(&fault_armed, nth > 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&guard);
}

bool fault_disarm(void)
{
    pthread_mutex_lock(&guard);
    bool was = delivered;
    delivered = false;
    hits_left = run_left = 0;
    __atomic_store_n(&fault_armed, false, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&guard);
    return was;
}

bool fault_hit(const char *name)
{
    bool fail = false;

    pthread_mutex_lock(&guard);
    if (run_left > 0 && g_pattern_match_simple(armed_pattern, name)) {
        hits_left -= hits_left > 0;
        fail = hits_left == 0;
        run_left -= fail;
        delivered |= fail;
    }
    pthread_mutex_unlock(&guard);
    return fail;
}
