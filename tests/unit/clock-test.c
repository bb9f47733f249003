/* clock-test.c: the guest's clock stops, starts and is stepped; its timers follow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "util/bytes.h"
#include "util/clock.h"
#include "util/loop.h"
#include "util/thread.h"

static Loop *loop;
static unsigned fired_total;

typedef struct Shot {
    Timer timer;
    bool fired;
    int64_t at;
    unsigned place;
    int64_t period;
    unsigned times;
} Shot;

static void nothing(void *arg)
{
}

static void shoot(Timer *t)
{
    Shot *s = container_of(t, Shot, timer);

    s->at = clock_now(CLOCK_VM);
    s->place = ++fired_total;
    s->times++;
    if (s->period >= 0 && s->times < 2000000) {
        timer_set(t, t->due + s->period);
    }
    __atomic_store_n(&s->fired, true, __ATOMIC_RELEASE);
    loop_call(loop_control(), nothing, NULL);
}

static void arm(Shot *s, Loop *l, int64_t due)
{
    *s = (Shot){ .period = -1 };
    timer_init(&s->timer, l, CLOCK_VM, shoot);
    timer_set(&s->timer, due);
}

static void muldiv_does_not_overflow(void **state)
{
    assert_int_equal(muldiv64(UINT64_MAX, 3, 3), UINT64_MAX);
    assert_int_equal(muldiv64(1000000000, 3579545, 1000000000), 3579545);
}

static void the_vm_clock_is_stopped_at_first(void **state)
{
    assert_int_equal(clock_now(CLOCK_VM), 0);
    clock_vm_set(5000);
    assert_int_equal(clock_now(CLOCK_VM), 5000);
}

static void timers_wait_for_the_clock_to_run(void **state)
{
    Shot s;

    arm(&s, loop, 5000);
    loop_call_wait(loop, nothing, NULL);
    assert_false(s.fired);
    assert_int_equal(clock_vm_next_deadline(), 5000);
    clock_vm_run(true);
    while (!__atomic_load_n(&s.fired, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
    int64_t later = clock_now(CLOCK_VM) + NS_PER_MS;
    arm(&s, loop, later);
    while (!__atomic_load_n(&s.fired, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
    assert_true(s.at >= later);
    clock_vm_run(false);
    int64_t stopped = clock_now(CLOCK_VM);
    assert_true(stopped > later);
    assert_int_equal(clock_now(CLOCK_VM), stopped);
    assert_int_equal(clock_vm_next_deadline(), -1);
}

static void stepping_fires_exactly_at_each_deadline(void **state)
{
    Shot a, b, c, periodic;
    int64_t now;

    clock_vm_manual();
    assert_true(clock_vm_is_manual());
    clock_vm_run(true);        /* has no say any more */
    now = clock_now(CLOCK_VM);
    fired_total = 0;
    arm(&a, loop, now + 300);
    arm(&b, loop_control(), now + 100);
    arm(&c, loop, now + 5000);
    arm(&periodic, loop, now + 200);
    periodic.period = 200;
    clock_vm_step_to(now + 1000);
    assert_int_equal(clock_now(CLOCK_VM), now + 1000);
    assert_int_equal(b.at, now + 100);
    assert_int_equal(a.at, now + 300);
    assert_int_equal(b.place, 1);
    assert_int_equal(a.place, 3);
    assert_int_equal(periodic.times, 5);
    assert_int_equal(periodic.at, now + 1000);
    assert_false(c.fired);
    assert_int_equal(clock_vm_next_deadline(), now + 1200);
    clock_vm_step_to(now);     /* never back */
    assert_int_equal(clock_now(CLOCK_VM), now + 1000);
    timer_stop(&periodic.timer);
    timer_stop(&c.timer);
}

static void a_due_timer_fires_without_a_step(void **state)
{
    Shot s;

    arm(&s, loop, clock_now(CLOCK_VM));
    while (!__atomic_load_n(&s.fired, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
    arm(&s, loop_control(), 0);
    while (!s.fired) {
        loop_control_iterate(true);
    }
}

static void stop_timer(void *arg)
{
    timer_stop(arg);
}

static void a_timer_stuck_in_the_past_does_not_hang_the_step(void **state)
{
    Shot s;
    int64_t to = clock_now(CLOCK_VM) + 1000;

    arm(&s, loop, to - 500);
    s.period = 0;
    clock_vm_step_to(to);
    assert_int_equal(clock_now(CLOCK_VM), to);
    loop_call_wait(loop, stop_timer, &s.timer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(muldiv_does_not_overflow),
        cmocka_unit_test(the_vm_clock_is_stopped_at_first),
        cmocka_unit_test(timers_wait_for_the_clock_to_run),
        cmocka_unit_test(stepping_fires_exactly_at_each_deadline),
        cmocka_unit_test(a_due_timer_fires_without_a_step),
        cmocka_unit_test(a_timer_stuck_in_the_past_does_not_hang_the_step),
    };

    thread_become_control();
    loop_control();
    loop = loop_new("clock", THREAD_LOOP, NULL);
    int ret = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(loop);
    return ret;
}
