/* loop-test.c: posts, watches, timers, polling and barriers, on a loop of its own and on
 * control. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/fault.h"
#include "util/loop.h"
#include "util/notifier.h"
#include "util/thread.h"

#define POSTERS 3
#define POSTS_EACH 2000

static Loop *loop;

static int set_up(void **state)
{
    loop = loop_new("test", THREAD_LOOP, NULL);
    return loop ? 0 : -1;
}

static int tear_down(void **state)
{
    loop_free(loop);
    loop = NULL;
    return 0;
}

static void nothing(void *arg)
{
}

/* Waits for @flag, which a callback on the control loop sets. */
static void iterate_until(bool *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
}

static void set_flag(void *flag)
{
    __atomic_store_n((bool *)flag, true, __ATOMIC_RELEASE);
    loop_call(loop_control(), nothing, NULL);      /* wakes iterate_until() */
}

/* --- posts --- */

typedef struct Numbered {
    Post post;
    unsigned poster, n;
} Numbered;

static unsigned next_of[POSTERS];
static unsigned out_of_order;

static void check_order(Post *p)
{
    Numbered *n = container_of(p, Numbered, post);

    out_of_order += n->n != next_of[n->poster]++;
    g_free(n);
}

static void post_many(void *arg)
{
    for (unsigned i = 0; i < POSTS_EACH; i++) {
        Numbered *n = g_new0(Numbered, 1);

        n->post.run = check_order;
        n->poster = GPOINTER_TO_UINT(arg);
        n->n = i;
        loop_post(loop, &n->post);
    }
}

static void posts_run_once_and_in_order(void **state)
{
    pthread_t t[POSTERS];

    memset(next_of, 0, sizeof(next_of));
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_true(thread_start(&t[i], THREAD_POOL, "poster", true, post_many,
                                 GUINT_TO_POINTER(i), NULL));
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        thread_join(t[i]);
    }
    loop_call_wait(loop, nothing, NULL);
    for (unsigned i = 0; i < POSTERS; i++) {
        assert_int_equal(next_of[i], POSTS_EACH);
    }
    assert_int_equal(out_of_order, 0);
}

static void note_place(void *arg)
{
    *(bool *)arg = loop_here(loop) && !loop_here(loop_control());
}

static void calls_run_on_the_loop(void **state)
{
    bool there = false;

    loop_call_wait(loop, note_place, &there);
    assert_true(there);
    assert_false(loop_here(loop));
    assert_true(loop_here(loop_control()));
    assert_string_equal(loop_name(loop), "test");
    assert_int_not_equal(loop_thread_id(loop), 0);
    assert_int_not_equal(loop_thread_id(loop), loop_thread_id(loop_control()));
}

static void free_runs_what_is_queued(void **state)
{
    Loop *l = loop_new("short", THREAD_WORKER, NULL);
    bool ran = false;

    loop_call(l, set_flag, &ran);
    loop_free(l);
    assert_true(ran);
}

/* --- watches --- */

typedef struct Pipe {
    Loop *loop;
    int ends[2];
    unsigned calls;            /* atomic */
    bool seen;
    bool unwatch;
} Pipe;

static void pipe_ready(void *arg, unsigned events)
{
    Pipe *p = arg;
    char c;

    __atomic_add_fetch(&p->calls, 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&p->unwatch, __ATOMIC_RELAXED)) {
        loop_unwatch(p->loop, p->ends[0]);
    } else {
        assert_int_equal(read(p->ends[0], &c, 1), 1);
    }
    set_flag(&p->seen);
}

static void watch_fires_while_ready(Loop *on)
{
    Pipe p = { .loop = on };

    assert_return_code(pipe2(p.ends, O_NONBLOCK), 0);
    loop_watch(on, p.ends[0], EPOLLIN, pipe_ready, &p);
    assert_int_equal(write(p.ends[1], "abc", 3), 3);
    while (__atomic_load_n(&p.calls, __ATOMIC_RELAXED) < 3) {
        loop_control_iterate(true);
    }
    __atomic_store_n(&p.unwatch, true, __ATOMIC_RELAXED);
    __atomic_store_n(&p.seen, false, __ATOMIC_RELAXED);
    assert_int_equal(write(p.ends[1], "d", 1), 1);
    iterate_until(&p.seen);
    assert_int_equal(p.calls, 4);
    loop_call_wait(on, nothing, NULL);
    assert_int_equal(p.calls, 4);
    close(p.ends[0]);
    close(p.ends[1]);
}

static void watch_on_a_loop(void **state)
{
    watch_fires_while_ready(loop);
}

static void watch_on_control(void **state)
{
    watch_fires_while_ready(loop_control());
}

static void a_reused_descriptor_can_be_watched(void **state)
{
    Pipe a = { .loop = loop }, b = { .loop = loop };

    assert_return_code(pipe2(a.ends, O_NONBLOCK), 0);
    loop_watch(loop, a.ends[0], EPOLLIN, pipe_ready, &a);
    close(a.ends[0]);
    close(a.ends[1]);
    assert_return_code(pipe2(b.ends, O_NONBLOCK), 0);
    assert_int_equal(b.ends[0], a.ends[0]);
    loop_watch(loop, b.ends[0], EPOLLIN, pipe_ready, &b);
    assert_int_equal(write(b.ends[1], "x", 1), 1);
    iterate_until(&b.seen);
    assert_int_equal(a.calls, 0);
    loop_unwatch(loop, b.ends[0]);
    loop_call_wait(loop, nothing, NULL);
    close(b.ends[0]);
    close(b.ends[1]);
}

static void a_regular_file_is_always_ready(Loop *on)
{
    char path[] = "/tmp/loop-test-XXXXXX";
    Pipe p = { .loop = on };

    p.ends[0] = mkstemp(path);
    assert_return_code(p.ends[0], 0);
    unlink(path);
    assert_int_equal(pwrite(p.ends[0], "ab", 2, 0), 2);
    p.unwatch = true;
    loop_watch(on, p.ends[0], EPOLLIN, pipe_ready, &p);
    iterate_until(&p.seen);
    loop_call_wait(on, nothing, NULL);
    assert_int_equal(p.calls, 1);
    close(p.ends[0]);
}

static void regular_files(void **state)
{
    a_regular_file_is_always_ready(loop);
    a_regular_file_is_always_ready(loop_control());
}

static void watch_quietly(void *arg, unsigned events)
{
    set_flag(arg);
}

static void a_refused_watch_is_told(void **state)
{
    /* No such descriptor: a warning, no crash. */
    loop_watch(loop, 999, EPOLLIN, watch_quietly, NULL);
    loop_unwatch(loop, 999);
}

/* --- timers --- */

typedef struct Shot {
    Timer timer;
    bool fired;
    int64_t at;
    unsigned *order;
    unsigned place;
} Shot;

static void shoot(Timer *t)
{
    Shot *s = container_of(t, Shot, timer);

    s->at = clock_now(t->clock);
    if (s->order) {
        s->place = ++*s->order;
    }
    set_flag(&s->fired);
}

static void timers_fire_not_early(void **state)
{
    static const ClockKind clocks[] = { CLOCK_HOST, CLOCK_WALL };

    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < 2; j++) {
            Shot s = { .fired = false };
            int64_t due = clock_now(clocks[i]) + 2 * NS_PER_MS;

            timer_init(&s.timer, j ? loop : loop_control(), clocks[i], shoot);
            timer_set(&s.timer, due);
            assert_true(timer_armed(&s.timer));
            iterate_until(&s.fired);
            assert_true(s.at >= due);
            assert_false(timer_armed(&s.timer));
        }
    }
}

static void arm_backwards(void *arg)
{
    Shot *s = arg;
    int64_t now = clock_now(CLOCK_HOST);

    /* All in the past, so one pass takes them: the latest first into the heap. */
    for (int i = 0; i < 8; i++) {
        timer_set(&s[i].timer, now - 1000 - i * 10);
    }
    timer_set(&s[5].timer, now - 2000);            /* moved to the front */
    timer_stop(&s[3].timer);
}

static void timers_fire_in_order_and_stopped_ones_do_not(void **state)
{
    Shot s[8] = { 0 };
    unsigned order = 0;

    for (int i = 0; i < 8; i++) {
        timer_init(&s[i].timer, loop, CLOCK_HOST, shoot);
        s[i].order = &order;
    }
    loop_call_wait(loop, arm_backwards, s);
    iterate_until(&s[0].fired);
    assert_int_equal(order, 7);
    assert_false(s[3].fired);
    assert_int_equal(s[5].place, 1);
    assert_int_equal(s[7].place, 2);
    assert_int_equal(s[0].place, 7);
}

typedef struct Ticker {
    Timer timer;
    unsigned left;
    bool done;
} Ticker;

static void tick(Timer *t)
{
    Ticker *k = container_of(t, Ticker, timer);

    if (--k->left) {
        timer_set(t, 0);       /* always in the past */
    } else {
        set_flag(&k->done);
    }
}

static void a_timer_in_the_past_leaves_room_for_posts(void **state)
{
    Ticker k = { .left = 100 };

    timer_init(&k.timer, loop, CLOCK_HOST, tick);
    timer_set(&k.timer, 0);
    loop_call_wait(loop, nothing, NULL);
    iterate_until(&k.done);
    assert_int_equal(k.left, 0);
}

static void hammer(void *arg)
{
    Shot *s = arg;

    for (unsigned i = 0; i < 2000; i++) {
        timer_set(&s->timer, clock_now(CLOCK_HOST) + i % 3 * 1000);
        if (i % 7 == 0) {
            timer_stop(&s->timer);
        }
    }
}

static void shoot_quietly(Timer *t)
{
}

static void timers_are_set_from_any_thread(void **state)
{
    Shot s[2] = { 0 }, last = { 0 };
    pthread_t t[2];

    for (int i = 0; i < 2; i++) {
        timer_init(&s[i].timer, loop, CLOCK_HOST, shoot_quietly);
        assert_true(thread_start(&t[i], THREAD_POOL, "hammer", true, hammer, &s[i], NULL));
    }
    thread_join(t[0]);
    thread_join(t[1]);
    timer_init(&last.timer, loop, CLOCK_HOST, shoot);
    timer_set(&last.timer, clock_now(CLOCK_HOST));
    iterate_until(&last.fired);
    timer_stop(&s[0].timer);
    timer_stop(&s[1].timer);
}

/* --- polling --- */

typedef struct Polled {
    const LoopPollOps *ops;
    int work;                  /* atomic */
    unsigned asked, found, begun, ended;
    bool seen;
} Polled;

static bool poll_work(void *arg)
{
    Polled *p = arg;

    p->asked++;
    if (__atomic_exchange_n(&p->work, 0, __ATOMIC_ACQ_REL)) {
        p->found++;
        set_flag(&p->seen);
        return true;
    }
    return false;
}

static void poll_begins(void *arg)
{
    ((Polled *)arg)->begun++;
}

/* What the flag says is lost unless it is looked at here. */
static bool poll_ends(void *arg)
{
    ((Polled *)arg)->ended++;
    return poll_work(arg);
}

static const LoopPollOps bare_poll = { .poll = poll_work };
static const LoopPollOps full_poll = { poll_work, poll_begins, poll_ends };

static void add_poll(void *arg)
{
    loop_poll_add(loop, ((Polled *)arg)->ops, arg);
}

static void remove_poll(void *arg)
{
    loop_poll_remove(loop, ((Polled *)arg)->ops, arg);
}

static void polling_finds_work_without_a_wake(void **state)
{
    Polled p = { .ops = &bare_poll };

    loop_set_poll(loop, 10 * NS_PER_MS, 0, 0);
    loop_call_wait(loop, add_poll, &p);
    /* Short sleeps teach the loop to poll; then work is found though nobody signals. */
    while (!__atomic_load_n(&p.seen, __ATOMIC_ACQUIRE)) {
        loop_call_wait(loop, nothing, NULL);
        __atomic_store_n(&p.work, 1, __ATOMIC_RELEASE);
    }
    loop_call_wait(loop, remove_poll, &p);
    assert_true(p.found > 0);
    loop_set_poll(loop, 0, 0, 0);
}

static void copy_poll(void *arg)
{
    Polled **pair = arg;

    *pair[1] = *pair[0];
}

/* Counters as they are on the loop. */
static Polled polled_now(Polled *p)
{
    Polled copy, *pair[] = { p, &copy };

    loop_call_wait(loop, copy_poll, pair);
    return copy;
}

static void polling_begins_with_short_sleeps_and_ends_with_a_long_one(void **state)
{
    Polled p = { .ops = &full_poll }, now;

    loop_set_poll(loop, 10 * NS_PER_MS, 0, 0);
    loop_call_wait(loop, add_poll, &p);
    while (polled_now(&p).begun == 0) {
    }
    /* Any sleep is too long for this limit: the one that follows is not preceded by polling. */
    loop_set_poll(loop, 1, 0, 0);
    do {
        now = polled_now(&p);
    } while (now.ended < now.begun);
    polled_now(&p);
    Polled before = polled_now(&p);
    for (int i = 0; i < 20; i++) {
        now = polled_now(&p);
    }
    assert_int_equal(now.begun, before.begun);
    assert_int_equal(now.asked, before.asked);
    /* On again, and off at once. */
    loop_set_poll(loop, 10 * NS_PER_MS, 0, 0);
    while (polled_now(&p).begun == before.begun) {
    }
    loop_set_poll(loop, 0, 0, 0);
    do {
        now = polled_now(&p);
    } while (now.ended < now.begun);
    loop_call_wait(loop, remove_poll, &p);
}

/* The second of two, between two turns. */
static void add_second(void *arg)
{
    Polled *p = arg;

    loop_poll_add(loop, p[1].ops, &p[1]);
    p[1].seen = p[0].begun > p[0].ended;
    p[1].found = p[1].begun;
    loop_poll_remove(loop, p[1].ops, &p[1]);
}

static void one_added_while_the_loop_polls_hears_of_it(void **state)
{
    Polled p[2] = { { .ops = &full_poll }, { .ops = &full_poll } };

    loop_set_poll(loop, 60 * NS_PER_SEC, 0, 0);
    loop_call_wait(loop, add_poll, &p[0]);
    while (!p[1].seen) {
        p[1].begun = 0;
        loop_call_wait(loop, add_second, p);
        assert_int_equal(p[1].found, p[1].seen);
    }
    assert_int_equal(p[1].ended, 0);
    loop_set_poll(loop, 0, 0, 0);
    loop_call_wait(loop, remove_poll, &p[0]);
}

/* --- barriers --- */

typedef struct Gate {
    Barrier barrier;
    Post opened;
    bool open;
} Gate;

static void gate_opened(Post *p)
{
    set_flag(&container_of(p, Gate, opened)->open);
}

static void leave_gate(void *arg)
{
    barrier_leave(arg);
}

static void a_barrier_opens_when_the_last_has_left(void **state)
{
    Gate g = { .opened.run = gate_opened };

    barrier_init(&g.barrier, loop_control(), &g.opened);
    for (int i = 0; i < 3; i++) {
        barrier_enter(&g.barrier);
        loop_call(loop, leave_gate, &g.barrier);
    }
    loop_call_wait(loop, nothing, NULL);
    while (loop_control_iterate(false)) {
    }
    assert_false(g.open);
    barrier_leave(&g.barrier);
    iterate_until(&g.open);
}

/* --- GLib --- */

static void end_main_loop(Timer *t)
{
    g_main_loop_quit(((GMainLoop **)(t + 1))[0]);
}

static void control_runs_in_a_glib_main_loop(void **state)
{
    struct {
        Timer timer;
        GMainLoop *main;
    } s = { .main = g_main_loop_new(NULL, FALSE) };

    timer_init(&s.timer, loop_control(), CLOCK_HOST, end_main_loop);
    timer_set(&s.timer, clock_now(CLOCK_HOST) + NS_PER_MS);
    g_main_loop_run(s.main);
    g_main_loop_unref(s.main);
}

static void every_failing_host_call_is_an_error(void **state)
{
    static const char *const points[] = { "loop-open", "notifier-open", "thread-start" };

    for (unsigned i = 0; i < G_N_ELEMENTS(points); i++) {
        g_autoptr(Error) err = NULL;

        fault_arm(points[i], 1);
        assert_null(loop_new("x", THREAD_WORKER, &err));
        assert_true(fault_disarm());
        assert_non_null(err);
    }
}

static void notifiers_take_what_was_signalled(void **state)
{
    Notifier n;

    assert_true(notifier_open(&n, NULL));
    assert_false(notifier_take(&n));
    notifier_signal(&n);
    notifier_signal(&n);
    assert_true(notifier_take(&n));
    assert_false(notifier_take(&n));
    notifier_close(&n);
    assert_int_equal(n.fd, -1);
}

int main(void)
{
#define WITH_LOOP(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_LOOP(posts_run_once_and_in_order),
        WITH_LOOP(calls_run_on_the_loop),
        cmocka_unit_test(free_runs_what_is_queued),
        WITH_LOOP(watch_on_a_loop),
        WITH_LOOP(watch_on_control),
        WITH_LOOP(a_reused_descriptor_can_be_watched),
        WITH_LOOP(regular_files),
        WITH_LOOP(a_refused_watch_is_told),
        WITH_LOOP(timers_fire_not_early),
        WITH_LOOP(timers_fire_in_order_and_stopped_ones_do_not),
        WITH_LOOP(a_timer_in_the_past_leaves_room_for_posts),
        WITH_LOOP(timers_are_set_from_any_thread),
        WITH_LOOP(polling_finds_work_without_a_wake),
        WITH_LOOP(polling_begins_with_short_sleeps_and_ends_with_a_long_one),
        WITH_LOOP(one_added_while_the_loop_polls_hears_of_it),
        WITH_LOOP(a_barrier_opens_when_the_last_has_left),
        cmocka_unit_test(control_runs_in_a_glib_main_loop),
        cmocka_unit_test(every_failing_host_call_is_an_error),
        cmocka_unit_test(notifiers_take_what_was_signalled),
    };

    thread_become_control();
    loop_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
