/* clock.c: timers of devices.
 *
 * 1. @due is the truth and is guarded by the domain; the loop's timer below it may fire for
 *    nothing.
 * 2. A timer of a quiesced device that comes due stays armed; dev_timers_resume() arms it anew. */
#include "core/clock.h"

#include "core/device-int.h"
#include "util/thread.h"

static void on_fire(Timer *timer)
{
    DevTimer *t = (DevTimer *)timer;
    Device *d = t->dev;

    domain_enter(d->domain);
    /* Stopped, moved or held back since the loop picked it. */
    if (t->due >= 0 && !d->quiet && t->due <= clock_now(timer->clock)) {
        t->due = -1;
        t->fire(d, t);
    }
    domain_leave(d->domain);
}

void dev_timer_init(DevTimer *t, Device *d, ClockKind clock, void (*fire)(Device *d, DevTimer *t))
{
    assert_control();
    *t = (DevTimer){ .dev = d, .fire = fire, .due = -1, .next = d->timer_first };
    timer_init(&t->timer, d->loop, clock, on_fire);
    d->timer_first = t;
}

void dev_timer_free(DevTimer *t)
{
    Device *d = t->dev;

    assert_control();
    if (!d) {
        return;
    }
    domain_enter(d->domain);
    t->due = -1;
    timer_stop(&t->timer);
    for (DevTimer **p = &d->timer_first; *p; p = &(*p)->next) {
        if (*p == t) {
            *p = t->next;
            break;
        }
    }
    t->dev = NULL;
    domain_leave(d->domain);
}

void dev_timer_set(DevTimer *t, int64_t due_ns)
{
    assert_domain(t->dev->domain);
    t->due = MAX(due_ns, 0);
    if (t->timer.loop) {
        timer_set(&t->timer, t->due);
    }
}

void dev_timer_stop(DevTimer *t)
{
    assert_domain(t->dev->domain);
    if (t->due >= 0) {
        t->due = -1;
        timer_stop(&t->timer);
    }
}

bool dev_timer_armed(const DevTimer *t)
{
    assert_domain(t->dev->domain);
    return t->due >= 0;
}

void dev_timers_resume(Device *d)
{
    for (DevTimer *t = d->timer_first; t; t = t->next) {
        if (t->due >= 0 && t->timer.loop) {
            timer_set(&t->timer, t->due);
        }
    }
}
