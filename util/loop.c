/* loop.c: epoll loops with posts, timers and adaptive busy-polling.
 *
 * 1. A loop's thread sleeps only in epoll_wait() (the control loop: in GLib's poll on the epoll
 *    descriptor), outside any epoch section and with no lock held; all callbacks run inside one.
 * 2. Posts are a stack pushed by anyone with compare-and-swap and taken whole by the loop, which
 *    turns it round.  Only another thread's push onto an empty stack signals the eventfd.
 * 3. @lock guards watches and timer heaps and is never held across a callback.
 * 4. An epoll event carries the watch's descriptor and generation; an event of a watch that was
 *    removed or replaced meanwhile no longer matches and is dropped.
 * 5. A timerfd may be armed too early (its timer was stopped or moved), never too late: firing for
 *    nothing once is cheaper than a system call for each timer that is pushed out.
 * 6. The list of loops belongs to the control thread. */
#include "util/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "util/epoch.h"
#include "util/fault.h"
#include "util/lock.h"
#include "util/loop-int.h"
#include "util/notifier.h"
#include "util/trace.h"

#define EVENTS_AT_ONCE 64
#define NEVER INT64_MAX
#define POLL_FIRST_NS 4000
#define POLL_BLIND 16          /* turns that found work by polling before epoll is asked all the same */

/* Epoll tags of the loop's own descriptors; watches have their fd in the low half. */
#define TAG_WAKE UINT64_MAX
#define TAG_MONO (UINT64_MAX - 1)
#define TAG_WALL (UINT64_MAX - 2)

typedef struct Watch {
    int fd;
    unsigned events;
    uint32_t generation;
    bool always;               /* a regular file: epoll refuses it, it is always ready */
    void (*ready)(void *arg, unsigned events);
    void *arg;
} Watch;

/* Deadlines lie in the heap itself: sifting does not touch the timers' cache lines but to note
 * places. */
typedef struct HeapEntry {
    int64_t due;
    uint64_t seq;              /* equal deadlines fire in the order they were set */
    Timer *timer;
} HeapEntry;

typedef struct Heap {
    HeapEntry *at;
    unsigned count, room;
} Heap;

typedef struct Poll {
    const LoopPollOps *ops;
    void *arg;
} Poll;

typedef struct ControlSource ControlSource;

struct Loop {
    char *name;
    ThreadRole role;
    pthread_t thread;
    int thread_id;                         /* 0 until the thread runs; atomic */
    int epfd;
    Notifier wake;
    Post *posts;                           /* atomic; newest first */
    bool due_now;                          /* atomic; look at the heaps though no timerfd fired */
    bool quit;                             /* loop's thread */
    GSource *source;                       /* control loop only */

    Lock lock;
    Heap heaps[3] GUARDED_BY(lock);        /* by ClockKind */
    uint64_t timer_seq GUARDED_BY(lock);
    int mono_fd, wall_fd;                  /* wall_fd -1 until a CLOCK_WALL timer is set */
    int64_t mono_armed, wall_armed GUARDED_BY(lock);
    GHashTable *watches GUARDED_BY(lock);  /* fd -> Watch */
    uint32_t generation GUARDED_BY(lock);
    unsigned always_count;                 /* atomic; written under lock */

    int64_t poll_max_ns;                   /* atomic */
    unsigned poll_grow, poll_shrink;       /* atomic; factors, 0: double / start again from 0 */
    int64_t poll_ns;                       /* loop's thread */
    bool polling;                          /* loop's thread: begin() called, end() not yet */
    unsigned blind;                        /* loop's thread: turns since epoll was asked */
    GArray *polls;                         /* of Poll; loop's thread */
};

struct ControlSource {
    GSource source;
    Loop *loop;
    GPollFD poll_fd;
};

static GPtrArray *all_loops;               /* control thread */
static Loop *control_loop;                 /* atomic pointer, written once */
static __thread Loop *loop_of_thread;

/* --- timer heap --- */

static bool entry_before(const HeapEntry *a, const HeapEntry *b)
{
    return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void heap_place(Heap *h, unsigned i, HeapEntry e)
{
    h->at[i] = e;
    __atomic_store_n(&e.timer->heap_at, i + 1, __ATOMIC_RELAXED);
}

static void heap_sift(Heap *h, unsigned i)
{
    HeapEntry e = h->at[i];

    while (i > 0 && entry_before(&e, &h->at[(i - 1) / 2])) {
        heap_place(h, i, h->at[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        unsigned child = 2 * i + 1;

        if (child + 1 < h->count && entry_before(&h->at[child + 1], &h->at[child])) {
            child++;
        }
        if (child >= h->count || !entry_before(&h->at[child], &e)) {
            break;
        }
        heap_place(h, i, h->at[child]);
        i = child;
    }
    heap_place(h, i, e);
}

static void heap_put(Heap *h, HeapEntry e)
{
    if (h->count == h->room) {
        h->room = h->room ? h->room * 2 : 8;
        h->at = g_renew(HeapEntry, h->at, h->room);
    }
    h->at[h->count++] = e;
    heap_sift(h, h->count - 1);
}

static void heap_remove(Heap *h, unsigned i)
{
    __atomic_store_n(&h->at[i].timer->heap_at, 0, __ATOMIC_RELAXED);
    HeapEntry last = h->at[--h->count];

    if (i < h->count) {
        h->at[i] = last;
        heap_sift(h, i);
    }
}

static int64_t heap_due(const Heap *h)
{
    return h->count ? h->at[0].due : NEVER;
}

/* --- timer arming --- */

static int64_t add_clamped(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? NEVER : sum;
}

static void arm_fd(int fd, int flags, int64_t due)
{
    struct itimerspec when = { 0 };

    /* A zero it_value would disarm, and a time in the past fires at once. */
    if (due != NEVER) {
        due = MAX(due, 1);
        when.it_value.tv_sec = due / NS_PER_SEC;
        when.it_value.tv_nsec = due % NS_PER_SEC;
    }
    timerfd_settime(fd, flags, &when, NULL);
}

static void open_wall_fd(Loop *l)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TAG_WALL };

    l->wall_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->wall_fd >= 0) {
        epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wall_fd, &ev);
    }
}

static void wake_for_timers(Loop *l)
{
    __atomic_store_n(&l->due_now, true, __ATOMIC_RELEASE);
    notifier_signal(&l->wake);
}

/* When the loop must next look at its HOST and VM timers, on CLOCK_HOST. */
static int64_t mono_due_locked(Loop *l) LOCK_HELD(l->lock)
{
    int64_t due = heap_due(&l->heaps[CLOCK_HOST]);
    int64_t vm_due = heap_due(&l->heaps[CLOCK_VM]);
    int64_t wall_due = heap_due(&l->heaps[CLOCK_WALL]);
    int64_t base;

    if (vm_due != NEVER && clock_vm_mode(&base) == VM_CLOCK_RUNNING) {
        due = MIN(due, add_clamped(vm_due, base));
    }
    /* Without a descriptor for it, wall time is followed as if nobody ever set the clock. */
    if (wall_due != NEVER && l->wall_fd < 0) {
        int64_t wait = wall_due - clock_now(CLOCK_WALL);

        due = MIN(due, add_clamped(clock_now(CLOCK_HOST), MAX(wait, 0)));
    }
    return due;
}

/* @exact: arms for what is in the heap even if that is later than what is armed. */
static void rearm_locked(Loop *l, bool exact) LOCK_HELD(l->lock)
{
    int64_t wall = heap_due(&l->heaps[CLOCK_WALL]);
    int64_t base;

    if (wall != NEVER && l->wall_fd < 0) {
        open_wall_fd(l);
    }
    int64_t mono = mono_due_locked(l);
    if (mono < l->mono_armed || (exact && mono != l->mono_armed)) {
        arm_fd(l->mono_fd, TFD_TIMER_ABSTIME, mono);
        l->mono_armed = mono;
    }
    if (l->wall_fd >= 0 && (wall < l->wall_armed || (exact && wall != l->wall_armed))) {
        arm_fd(l->wall_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, wall);
        l->wall_armed = wall;
    }
    if (heap_due(&l->heaps[CLOCK_VM]) != NEVER && clock_vm_mode(&base) == VM_CLOCK_MANUAL &&
        heap_due(&l->heaps[CLOCK_VM]) <= base) {
        wake_for_timers(l);
    }
}

void timer_init(Timer *t, Loop *l, ClockKind clock, void (*fire)(Timer *t))
{
    *t = (Timer){ .fire = fire, .loop = l, .clock = clock };
}

void timer_set(Timer *t, int64_t due_ns)
{
    Loop *l = t->loop;

    lock_take(&l->lock);
    Heap *h = &l->heaps[t->clock];
    if (t->heap_at) {
        heap_remove(h, t->heap_at - 1);
    }
    t->due = due_ns;
    heap_put(h, (HeapEntry){ .due = due_ns, .seq = l->timer_seq++, .timer = t });
    if (t->heap_at == 1) {
        rearm_locked(l, false);
    }
    lock_drop(&l->lock);
}

void timer_stop(Timer *t)
{
    Loop *l = t->loop;

    if (!l) {
        return;                /* never initialised: unrealize of a half-made device */
    }
    lock_take(&l->lock);
    if (t->heap_at) {
        heap_remove(&l->heaps[t->clock], t->heap_at - 1);
    }
    lock_drop(&l->lock);
}

bool timer_armed(const Timer *t)
{
    return __atomic_load_n(&t->heap_at, __ATOMIC_RELAXED) != 0;
}

/* Fires the timers of @clock that are due and were set before the pass began; one that sets itself
 * into the past waits for the next pass, so the loop's other work gets its turn. */
static bool fire_due(Loop *l, ClockKind clock)
{
    bool fired = false;
    int64_t now;

    lock_take(&l->lock);
    Heap *h = &l->heaps[clock];
    uint64_t seq_end = l->timer_seq;
    if (h->count == 0 || (clock == CLOCK_VM && clock_vm_mode(&now) == VM_CLOCK_STOPPED)) {
        lock_drop(&l->lock);
        return false;
    }
    now = clock_now(clock);
    while (h->count && h->at[0].due <= now && h->at[0].seq < seq_end) {
        Timer *t = h->at[0].timer;

        heap_remove(h, 0);
        lock_drop(&l->lock);
        t->fire(t);
        fired = true;
        lock_take(&l->lock);
    }
    lock_drop(&l->lock);
    return fired;
}

static bool run_timers(Loop *l)
{
    bool fired = fire_due(l, CLOCK_VM);

    fired |= fire_due(l, CLOCK_HOST);
    fired |= fire_due(l, CLOCK_WALL);
    lock_take(&l->lock);
    rearm_locked(l, true);
    lock_drop(&l->lock);
    return fired;
}

/* --- watches --- */

static uint64_t watch_tag(const Watch *w)
{
    return (uint64_t)w->generation << 32 | (uint32_t)w->fd;
}

static void free_watch(void *w)
{
    g_free(w);
}

static void count_always_locked(Loop *l, int by) LOCK_HELD(l->lock)
{
    __atomic_store_n(&l->always_count, l->always_count + by, __ATOMIC_RELAXED);
    if (by > 0) {
        notifier_signal(&l->wake);
    }
}

void loop_watch(Loop *l, int fd, unsigned events, void (*ready)(void *arg, unsigned events),
                void *arg)
{
    lock_take(&l->lock);
    Watch *w = g_hash_table_lookup(l->watches, GINT_TO_POINTER(fd));
    bool known = w != NULL;

    if (!known) {
        w = g_new0(Watch, 1);
        w->fd = fd;
        g_hash_table_insert(l->watches, GINT_TO_POINTER(fd), w);
    }
    if (w->always) {
        count_always_locked(l, -1);
    }
    /* The top generations are the loop's own tags. */
    l->generation = (l->generation + 1) & 0x7fffffff;
    w->generation = l->generation;
    w->events = events;
    w->ready = ready;
    w->arg = arg;
    w->always = false;

    struct epoll_event ev = { .events = events, .data.u64 = watch_tag(w) };
    int ret = epoll_ctl(l->epfd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    /* A descriptor closed without loop_unwatch() left epoll by itself, and its number is used
     * again. */
    if (ret < 0 && (errno == ENOENT || errno == EEXIST)) {
        ret = epoll_ctl(l->epfd, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &ev);
    }
    int err = ret < 0 ? errno : 0;
    if (err == EPERM) {
        w->always = true;
        count_always_locked(l, 1);
    }
    lock_drop(&l->lock);
    if (err && err != EPERM) {
        warn_report("loop %s cannot watch descriptor %d: %s", l->name, fd, errno_text(err));
    }
}

void loop_unwatch(Loop *l, int fd)
{
    lock_take(&l->lock);
    Watch *w = g_hash_table_lookup(l->watches, GINT_TO_POINTER(fd));

    if (w) {
        if (w->always) {
            count_always_locked(l, -1);
        } else {
            epoll_ctl(l->epfd, EPOLL_CTL_DEL, fd, NULL);
        }
        g_hash_table_remove(l->watches, GINT_TO_POINTER(fd));
    }
    lock_drop(&l->lock);
}

static bool dispatch_watch(Loop *l, uint64_t tag, unsigned events)
{
    Watch copy = { 0 };

    lock_take(&l->lock);
    Watch *w = g_hash_table_lookup(l->watches, GINT_TO_POINTER((int)(uint32_t)tag));
    if (w && watch_tag(w) == tag) {
        copy = *w;
    }
    lock_drop(&l->lock);
    if (copy.ready) {
        copy.ready(copy.arg, events);
    }
    return copy.ready != NULL;
}

/* Watches that epoll refused: ready for whatever they want, each turn. */
static bool dispatch_always(Loop *l)
{
    uint64_t tags[8];
    unsigned events[8];
    unsigned n = 0;
    GHashTableIter it;
    void *value;

    lock_take(&l->lock);
    g_hash_table_iter_init(&it, l->watches);
    while (n < G_N_ELEMENTS(tags) && g_hash_table_iter_next(&it, NULL, &value)) {
        Watch *w = value;

        if (w->always && (w->events & (EPOLLIN | EPOLLOUT))) {
            tags[n] = watch_tag(w);
            events[n++] = w->events & (EPOLLIN | EPOLLOUT);
        }
    }
    lock_drop(&l->lock);
    for (unsigned i = 0; i < n; i++) {
        dispatch_watch(l, tags[i], events[i]);
    }
    return n > 0;
}

/* --- posts --- */

void loop_post(Loop *l, Post *p)
{
    Post *head = __atomic_load_n(&l->posts, __ATOMIC_RELAXED);

    /* Release pairs with the exchange in run_posts(): what the poster wrote is seen by run(). */
    do {
        p->next = head;
    } while (!__atomic_compare_exchange_n(&l->posts, &head, p, true, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    /* The loop's own thread looks at the posts before it sleeps: it need not wake itself. */
    if (!head && loop_of_thread != l) {
        notifier_signal(&l->wake);
    }
}

static bool posts_waiting(const Loop *l)
{
    return __atomic_load_n(&l->posts, __ATOMIC_RELAXED) != NULL;
}

static bool run_posts(Loop *l)
{
    Post *newest = __atomic_exchange_n(&l->posts, NULL, __ATOMIC_ACQUIRE);
    Post *oldest = NULL;
    bool any = newest != NULL;

    while (newest) {
        Post *next = newest->next;

        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        Post *p = oldest;

        oldest = p->next;      /* run() may post or free @p */
        p->run(p);
    }
    return any;
}

typedef struct Call {
    Post post;
    void (*fn)(void *arg);
    void *arg;
} Call;

static void run_call(Post *p)
{
    Call c = *(Call *)p;

    g_free(p);
    c.fn(c.arg);
}

void loop_call(Loop *l, void (*fn)(void *arg), void *arg)
{
    Call *c = g_new0(Call, 1);

    *c = (Call){ .post.run = run_call, .fn = fn, .arg = arg };
    loop_post(l, &c->post);
}

typedef struct WaitedCall {
    Post post;
    void (*fn)(void *arg);
    void *arg;
    pthread_mutex_t mutex;     /* plain: it orders one pair of threads and is never nested */
    pthread_cond_t cond;
    bool done;
} WaitedCall;

static void run_waited_call(Post *p)
{
    WaitedCall *c = (WaitedCall *)p;

    c->fn(c->arg);
    pthread_mutex_lock(&c->mutex);
    c->done = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
}

void loop_call_wait(Loop *l, void (*fn)(void *arg), void *arg)
{
    WaitedCall c = { .post.run = run_waited_call, .fn = fn, .arg = arg,
                     .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

    if (loop_here(l)) {
        fn(arg);
        return;
    }
    if (l->role != THREAD_WORKER) {
        lock_assert_may_take(RANK_DOMAIN);
    }
    lock_worker_wait_begin();
    loop_post(l, &c.post);
    pthread_mutex_lock(&c.mutex);
    while (!c.done) {
        pthread_cond_wait(&c.cond, &c.mutex);
    }
    pthread_mutex_unlock(&c.mutex);
    lock_worker_wait_end();
    pthread_cond_destroy(&c.cond);
    pthread_mutex_destroy(&c.mutex);
}

/* --- one turn of a loop --- */

static bool dispatch_events(Loop *l, const struct epoll_event *evs, int n)
{
    bool worked = false;
    uint64_t count;

    for (int i = 0; i < n; i++) {
        switch (evs[i].data.u64) {
        case TAG_WAKE:
            notifier_take(&l->wake);
            break;
        case TAG_MONO:
        case TAG_WALL: {
            bool mono = evs[i].data.u64 == TAG_MONO;

            /* A wall clock that was set reads as ECANCELED: just look again. */
            if (read(mono ? l->mono_fd : l->wall_fd, &count, sizeof(count)) < 0 &&
                errno == EAGAIN) {
                break;
            }
            lock_take(&l->lock);
            *(mono ? &l->mono_armed : &l->wall_armed) = NEVER;
            lock_drop(&l->lock);
            __atomic_store_n(&l->due_now, true, __ATOMIC_RELAXED);
            break;
        }
        default:
            worked |= dispatch_watch(l, evs[i].data.u64, evs[i].events);
        }
    }
    return worked;
}

/* Polls epoll for up to @timeout_ms and runs what is ready; *@woke (may be NULL): when epoll returned.
 * Enters the epoch; called outside it. */
static bool loop_turn(Loop *l, int timeout_ms, int64_t *woke)
{
    struct epoll_event evs[EVENTS_AT_ONCE];
    bool worked = false;

    if (timeout_ms && (posts_waiting(l) || __atomic_load_n(&l->always_count, __ATOMIC_RELAXED))) {
        timeout_ms = 0;
    }
    int n = epoll_wait(l->epfd, evs, EVENTS_AT_ONCE, timeout_ms);
    if (woke) {
        *woke = clock_now(CLOCK_HOST);
    }
    epoch_enter();
    worked |= dispatch_events(l, evs, n);
    if (__atomic_exchange_n(&l->due_now, false, __ATOMIC_ACQUIRE)) {
        worked |= run_timers(l);
    }
    worked |= run_posts(l);
    if (__atomic_load_n(&l->always_count, __ATOMIC_RELAXED)) {
        worked |= dispatch_always(l);
    }
    epoch_leave();
    return worked;
}

/* --- adaptive busy-polling --- */

void loop_set_poll(Loop *l, int64_t max_ns, unsigned grow, unsigned shrink)
{
    __atomic_store_n(&l->poll_max_ns, max_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&l->poll_grow, grow, __ATOMIC_RELAXED);
    __atomic_store_n(&l->poll_shrink, shrink, __ATOMIC_RELAXED);
}

void loop_poll_add(Loop *l, const LoopPollOps *ops, void *arg)
{
    Poll p = { .ops = ops, .arg = arg };

    assert_loop(l);
    g_array_append_val(l->polls, p);
    if (l->polling && ops->begin) {
        ops->begin(arg);
    }
}

void loop_poll_remove(Loop *l, const LoopPollOps *ops, void *arg)
{
    assert_loop(l);
    for (unsigned i = 0; i < l->polls->len; i++) {
        Poll *p = &g_array_index(l->polls, Poll, i);

        if (p->ops == ops && p->arg == arg) {
            g_array_remove_index(l->polls, i);
            return;
        }
    }
}

static void polls_begin(Loop *l)
{
    if (l->polling) {
        return;
    }
    epoch_enter();
    for (unsigned i = 0; i < l->polls->len; i++) {
        Poll p = g_array_index(l->polls, Poll, i);

        if (p.ops->begin) {
            p.ops->begin(p.arg);
        }
    }
    epoch_leave();
    l->polling = true;
    TRACE(loop_poll_begin, "%s ns=%" PRId64, l->name, l->poll_ns);
}

/* True: work had arrived. */
static bool polls_end(Loop *l)
{
    bool found = false;

    if (!l->polling) {
        return false;
    }
    l->polling = false;
    epoch_enter();
    for (unsigned i = 0; i < l->polls->len; i++) {
        Poll p = g_array_index(l->polls, Poll, i);

        found |= p.ops->end && p.ops->end(p.arg);
    }
    epoch_leave();
    TRACE(loop_poll_end, "%s found=%d", l->name, found);
    return found;
}

static bool run_polls(Loop *l)
{
    bool found = false;

    epoch_enter();
    for (unsigned i = 0; i < l->polls->len; i++) {
        Poll p = g_array_index(l->polls, Poll, i);

        found |= p.ops->poll(p.arg);
    }
    epoch_leave();
    return found;
}

/* Spins until something polled finds work (true), a post arrives or @until; timers set meanwhile from
 * elsewhere wait at most that long. */
static bool spin(Loop *l, int64_t until)
{
    do {
        if (run_polls(l)) {
            return true;
        }
    } while (!posts_waiting(l) && clock_now(CLOCK_HOST) < until);
    return false;
}

/* After polling found work: the posts, and now and then all the rest. */
static void blind_turn(Loop *l)
{
    if (++l->blind >= POLL_BLIND || __atomic_load_n(&l->always_count, __ATOMIC_RELAXED)) {
        l->blind = 0;
        loop_turn(l, 0, NULL);
        return;
    }
    epoch_enter();
    run_posts(l);
    epoch_leave();
}

/* Work came @waited after the loop had none. */
static void adapt(Loop *l, int64_t max, int64_t waited)
{
    unsigned grow = __atomic_load_n(&l->poll_grow, __ATOMIC_RELAXED);
    unsigned shrink = __atomic_load_n(&l->poll_shrink, __ATOMIC_RELAXED);

    if (waited > max) {
        l->poll_ns = shrink ? l->poll_ns / shrink : 0;
    } else if (waited > l->poll_ns) {
        /* It would have been found by polling a little longer. */
        l->poll_ns = l->poll_ns ? l->poll_ns * (grow ? grow : 2) : POLL_FIRST_NS;
    }
    l->poll_ns = MIN(l->poll_ns, max);
}

static void polled_turn(Loop *l, int64_t max)
{
    int64_t start = clock_now(CLOCK_HOST), woke;

    if (l->poll_ns > 0) {
        lock_take(&l->lock);
        int64_t until = MIN(start + MIN(l->poll_ns, max), mono_due_locked(l));
        lock_drop(&l->lock);
        polls_begin(l);
        if (spin(l, until)) {
            blind_turn(l);
            return;
        }
        l->blind = 0;
        if (loop_turn(l, 0, NULL) || polls_end(l)) {
            return;
        }
    }
    loop_turn(l, -1, &woke);
    adapt(l, max, woke - start);
}

/* --- life --- */

static void loop_thread(void *arg)
{
    Loop *l = arg;

    loop_of_thread = l;
    lock_take(&l->lock);
    __atomic_store_n(&l->thread_id, gettid(), __ATOMIC_RELEASE);
    lock_drop(&l->lock);
    while (!l->quit) {
        int64_t max = __atomic_load_n(&l->poll_max_ns, __ATOMIC_RELAXED);

        if (max > 0 && l->polls->len) {
            polled_turn(l, max);
        } else if (!polls_end(l)) {
            loop_turn(l, -1, NULL);
        }
    }
    epoch_enter();
    while (run_posts(l)) {
    }
    epoch_leave();
}

static void free_parts(Loop *l)
{
    if (l->wall_fd >= 0) {
        close(l->wall_fd);
    }
    if (l->mono_fd >= 0) {
        close(l->mono_fd);
    }
    if (l->epfd >= 0) {
        close(l->epfd);
    }
    notifier_close(&l->wake);
    for (unsigned i = 0; i < G_N_ELEMENTS(l->heaps); i++) {
        g_free(l->heaps[i].at);
    }
    g_hash_table_unref(l->watches);
    g_array_unref(l->polls);
    lock_destroy(&l->lock);
    g_free(l->name);
    g_free(l);
}

static LOCK_UNCHECKED Loop *make_loop(const char *name, ThreadRole role, Error **errp)
{
    Loop *l = g_new0(Loop, 1);
    struct epoll_event wake = { .events = EPOLLIN, .data.u64 = TAG_WAKE };
    struct epoll_event mono = { .events = EPOLLIN, .data.u64 = TAG_MONO };

    l->name = g_strdup(name);
    l->role = role;
    l->wall_fd = -1;
    l->wake.fd = -1;
    l->mono_armed = l->wall_armed = NEVER;
    lock_init(&l->lock, RANK_LEAF, "loop");
    l->watches = g_hash_table_new_full(NULL, NULL, NULL, free_watch);
    l->polls = g_array_new(FALSE, FALSE, sizeof(Poll));
    bool ok = !FAULT("loop-open");
    l->epfd = ok ? epoll_create1(EPOLL_CLOEXEC) : (errno = EMFILE, -1);
    l->mono_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epfd < 0 || l->mono_fd < 0 || !notifier_open(&l->wake, NULL) ||
        epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->wake.fd, &wake) < 0 ||
        epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->mono_fd, &mono) < 0) {
        error_set_errno(errp, errno, "cannot create event loop '%s'", name);
        free_parts(l);
        return NULL;
    }
    return l;
}

static void list_loop(Loop *l)
{
    if (!all_loops) {
        all_loops = g_ptr_array_new();
    }
    g_ptr_array_add(all_loops, l);
}

Loop *loop_new(const char *name, ThreadRole role, Error **errp)
{
    assert_control();
    Loop *l = make_loop(name, role, errp);

    if (!l) {
        return NULL;
    }
    if (!thread_start(&l->thread, role, name, true, loop_thread, l, errp)) {
        free_parts(l);
        return NULL;
    }
    list_loop(l);
    return l;
}

static void quit_loop(void *arg)
{
    ((Loop *)arg)->quit = true;
}

void loop_free(Loop *l)
{
    assert_control();
    if (!l) {
        return;
    }
    g_ptr_array_remove(all_loops, l);
    loop_call(l, quit_loop, l);
    thread_join(l->thread);
    free_parts(l);
}

/* --- the control loop: a source in GLib's default context --- */

/* A library that runs GLib's context in a callback does not get back into the loop. */
static bool control_turning;

static gboolean control_prepare(GSource *s, int *timeout_ms)
{
    Loop *l = ((ControlSource *)s)->loop;

    *timeout_ms = -1;
    return !control_turning && (posts_waiting(l) || __atomic_load_n(&l->always_count, __ATOMIC_RELAXED));
}

static gboolean control_check(GSource *s)
{
    ControlSource *c = (ControlSource *)s;

    return !control_turning && (c->poll_fd.revents != 0 || posts_waiting(c->loop));
}

static bool control_worked;

static gboolean control_dispatch(GSource *s, GSourceFunc fn, void *arg)
{
    control_turning = true;
    control_worked |= loop_turn(((ControlSource *)s)->loop, 0, NULL);
    control_turning = false;
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs control_funcs = {
    .prepare = control_prepare,
    .check = control_check,
    .dispatch = control_dispatch,
};

static Loop *make_control_loop(void)
{
    Error *err = NULL;

    assert_control();
    Loop *l = make_loop("control", THREAD_CONTROL, &err);
    if (!l) {
        /* Nothing of the program can work, and there is no one to return it to. */
        error_report(err);
        exit(1);
    }
    l->thread_id = gettid();
    loop_of_thread = l;
    l->source = g_source_new(&control_funcs, sizeof(ControlSource));
    ControlSource *c = (ControlSource *)l->source;
    c->loop = l;
    c->poll_fd = (GPollFD){ .fd = l->epfd, .events = G_IO_IN };
    g_source_add_poll(l->source, &c->poll_fd);
    /* control_turning does what GLib would with five system calls a turn. */
    g_source_set_can_recurse(l->source, true);
    g_source_attach(l->source, NULL);
    list_loop(l);
    epoch_store(control_loop, l);
    return l;
}

Loop *loop_control(void)
{
    Loop *l = epoch_load(control_loop);

    return l ? l : make_control_loop();
}

bool loop_control_iterate(bool may_block)
{
    loop_control();
    control_worked = false;
    bool any = g_main_context_iteration(NULL, may_block);
    return any || control_worked;
}

bool loop_here(const Loop *l)
{
    return loop_of_thread == l;
}

void assert_loop(const Loop *l)
{
    if (DEBUG_CHECKS && loop_of_thread != l) {
        fprintf(stderr, "context: thread '%s' runs what only loop '%s' may\n", thread_name(),
                l->name);
        abort();
    }
}

const char *loop_name(const Loop *l)
{
    return l->name;
}

static void nothing(void *arg)
{
}

int loop_thread_id(const Loop *l)
{
    int id = __atomic_load_n(&l->thread_id, __ATOMIC_ACQUIRE);

    if (id == 0) {
        /* Just created; a call has the thread run. */
        loop_call_wait((Loop *)l, nothing, NULL);
        id = __atomic_load_n(&l->thread_id, __ATOMIC_ACQUIRE);
    }
    return id;
}

/* --- for clock.c --- */

void loops_vm_changed(void)
{
    for (unsigned i = 0; all_loops && i < all_loops->len; i++) {
        Loop *l = all_loops->pdata[i];

        lock_take(&l->lock);
        rearm_locked(l, true);
        lock_drop(&l->lock);
    }
}

int64_t loops_vm_next(void)
{
    int64_t next = NEVER;

    for (unsigned i = 0; all_loops && i < all_loops->len; i++) {
        Loop *l = all_loops->pdata[i];

        lock_take(&l->lock);
        next = MIN(next, heap_due(&l->heaps[CLOCK_VM]));
        lock_drop(&l->lock);
    }
    return next == NEVER ? -1 : next;
}

static void fire_vm(void *arg)
{
    fire_due(arg, CLOCK_VM);
}

void loops_vm_fire(void)
{
    for (unsigned i = 0; i < all_loops->len; i++) {
        Loop *l = all_loops->pdata[i];

        lock_take(&l->lock);
        bool due = heap_due(&l->heaps[CLOCK_VM]) <= clock_now(CLOCK_VM);
        lock_drop(&l->lock);
        if (due) {
            loop_call_wait(l, fire_vm, l);
        }
    }
}

/* --- barriers --- */

void barrier_init(Barrier *b, Loop *l, Post *opened)
{
    *b = (Barrier){ .loop = l, .opened = opened, .inside = 1 };
}

void barrier_enter(Barrier *b)
{
    __atomic_add_fetch(&b->inside, 1, __ATOMIC_RELAXED);
}

void barrier_leave(Barrier *b)
{
    Loop *l = b->loop;
    Post *opened = b->opened;

    /* Acquire and release: the last one out has seen all that the others did inside. */
    if (__atomic_sub_fetch(&b->inside, 1, __ATOMIC_ACQ_REL) == 0) {
        loop_post(l, opened);
    }
}
