/* pool.c: threads for host calls that block.
 *
 * 1. A thread is started when a job finds no idle one and fewer than POOL_MAX run; it ends after
 *    ten idle seconds.  One that takes a job and sees more starts the next, as far as they were wanted, so
 *    short jobs do not start many; it has the sandbox of the pool already.  The queue is bounded by the
 *    requests in flight, which the guest's rings bound.
 * 2. A thread that waits for requests, as those who fill clusters do, does not count: what it waits for may
 *    be queued behind as many who wait.
 * 3. A wake-up is a token: whoever adds a job takes one thread off idle and leaves one token, so
 *    neither a spurious wake-up nor a burst of jobs loses or doubles one.
 */
#include "block/pool.h"
#include "util/lock.h"
#include "util/fault.h"

/* One pool for the process: the threads belong to nobody in particular, and a pool a node would let
 * one guest disk hold 64 threads and the next another 64. */
static struct {
    Lock lock;                 /* guards everything here */
    LockCond work;
    PoolJob *head, **tail;
    unsigned threads, waiting, idle, tokens;
    unsigned wanted;           /* more threads for what is queued */
    int64_t idle_ns;
} pool = {
    .lock = LOCK_INIT(RANK_LEAF, "pool"),
    .tail = &pool.head,
    .idle_ns = 10 * NS_PER_SEC,
};

static __thread enum { OF_OTHERS, OF_POOL, INSTEAD } own_part;
static __thread unsigned own_waits;    /* begun and not ended */

static bool full_locked(void) LOCK_HELD(pool.lock)
{
    return pool.threads - pool.waiting >= POOL_MAX;
}

static void pool_run(PoolJob *j)
{
    Loop *l = j->loop;

    j->run(j);
    if (l) {
        loop_post(l, &j->post);
    }
}

static PoolJob *pool_next_locked(void) LOCK_HELD(pool.lock)
{
    PoolJob *j = pool.head;

    if (j) {
        pool.head = j->next;
        if (!pool.head) {
            pool.tail = &pool.head;
        }
    }
    return j;
}

/* Waits for a token; false when none came in time. */
static bool pool_wait_locked(void) LOCK_HELD(pool.lock)
{
    pool.idle++;
    while (pool.tokens == 0) {
        if (!lock_wait(&pool.lock, &pool.work, pool.idle_ns) && pool.tokens == 0) {
            pool.idle--;
            return false;
        }
    }
    pool.tokens--;
    return true;
}

/* A thread more for what is queued behind a job that was taken: counted, to be started. */
static bool pool_more_locked(void) LOCK_HELD(pool.lock)
{
    if (!pool.head) {
        pool.wanted = 0;
    }
    if (pool.wanted == 0 || pool.idle > 0 || full_locked()) {
        return false;
    }
    pool.wanted--;
    pool.threads++;
    return true;
}

static bool pool_start(void);

static void pool_thread(void *arg)
{
    own_part = OF_POOL;
    lock_take(&pool.lock);
    do {
        PoolJob *j;

        while ((j = pool_next_locked())) {
            bool more = pool_more_locked();

            lock_drop(&pool.lock);
            if (more) {
                pool_start();  /* without it this thread does the work */
            }
            pool_run(j);
            lock_take(&pool.lock);
        }
    } while (pool_wait_locked());
    pool.threads--;
    lock_drop(&pool.lock);
}

/* Starts a thread already counted in pool.threads. */
static bool pool_start(void)
{
    pthread_t unused;
    bool ok = !FAULT("pool-thread") &&
              thread_start(&unused, THREAD_POOL, "pool", false, pool_thread, NULL, NULL);

    if (!ok) {
        lock_take(&pool.lock);
        pool.threads--;
        lock_drop(&pool.lock);
    }
    return ok;
}

/* No thread that works could be had: run what is queued here.  Slow, but nothing is lost. */
static void pool_run_here(void)
{
    int was = own_part;
    PoolJob *j;

    own_part = INSTEAD;
    lock_take(&pool.lock);
    while (pool.threads == pool.waiting && (j = pool_next_locked())) {
        lock_drop(&pool.lock);
        pool_run(j);
        lock_take(&pool.lock);
    }
    lock_drop(&pool.lock);
    own_part = was;
}

bool pool_wait_begin(void)
{
    bool start = false;

    if (own_part != OF_POOL) {
        return own_part == OF_OTHERS;
    }
    if (own_waits++ > 0) {
        return true;
    }
    lock_take(&pool.lock);
    pool.waiting++;
    if (pool.head && pool.idle == 0 && !full_locked()) {
        pool.threads++;
        start = true;
    }
    lock_drop(&pool.lock);
    if (start && !pool_start()) {
        pool_wait_end();
        return false;
    }
    return true;
}

void pool_wait_end(void)
{
    if (own_part == OF_POOL && --own_waits == 0) {
        lock_take(&pool.lock);
        pool.waiting--;
        lock_drop(&pool.lock);
    }
}

void pool_add(PoolJob *first, unsigned n)
{
    bool start = false;
    PoolJob *last = first;

    while (last->next) {
        last = last->next;
    }
    lock_take(&pool.lock);
    *pool.tail = first;
    pool.tail = &last->next;
    for (; n > 0 && pool.idle > 0; n--) {
        pool.idle--;
        pool.tokens++;
        lock_signal(&pool.work);
    }
    if (n > 0 && !full_locked()) {
        pool.threads++;
        n--;
        start = true;
    }
    pool.wanted = MIN(pool.wanted + n, POOL_MAX);
    lock_drop(&pool.lock);
    if (start && !pool_start()) {
        pool_run_here();
    }
}

unsigned pool_threads(void)
{
    lock_take(&pool.lock);
    unsigned n = pool.threads;
    lock_drop(&pool.lock);
    return n;
}

void pool_set_idle(int64_t ns)
{
    lock_take(&pool.lock);
    pool.idle_ns = ns;
    lock_drop(&pool.lock);
}
