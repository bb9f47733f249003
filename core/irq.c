/* irq.c: interrupt lines and messages.
 *
 * 1. A line's level has one writer, its device; the exchange makes an unchanged level free of
 *    calls.
 * 2. Which notifier raises a route is kept here, so that changing a message does not register it
 *    twice.  Calls about one route come from one device, under its domain. */
#include "core/irq.h"

#include "core/accel.h"
#include "util/thread.h"

static Lock routes_lock = LOCK_INIT(RANK_LEAF, "msi routes");
static GArray *route_notifiers;        /* Notifier *, by route; guarded by routes_lock */

void irq_line_init(IrqLine *line, Device *d, const char *name)
{
    assert_control();
    *line = (IrqLine){ .dev = d, .name = name, .next = d->line_first };
    d->line_first = line;
}

void irq_connect(IrqLine *line, IrqSink *sink, unsigned pin)
{
    assert_control();
    line->sink = sink;
    line->pin = pin;
}

static void tell(const IrqLine *line, bool level)
{
    IrqSink *s = line->sink;

    if (!s) {
        return;
    }
    void (*tap)(IrqSink *, unsigned, bool) = __atomic_load_n(&s->tap, __ATOMIC_ACQUIRE);
    if (tap) {
        tap(s, line->pin, level);
    } else {
        s->set(s, line->pin, level);
    }
}

void irq_set(IrqLine *line, bool level)
{
    if (__atomic_exchange_n(&line->level, level, __ATOMIC_ACQ_REL) != level) {
        tell(line, level);
    }
}

void irq_pulse(IrqLine *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

void irq_refresh(IrqLine *line)
{
    tell(line, __atomic_load_n(&line->level, __ATOMIC_ACQUIRE));
}

void msi_send(const MsiMsg *m)
{
    const AccelOps *a = accel();

    if (a && a->msi_send) {
        a->msi_send(m);
    }
}

/* Notes @n for @route and returns what was there. */
static Notifier *route_note(int route, Notifier *n)
{
    Notifier *old;

    lock_take(&routes_lock);
    if (!route_notifiers) {
        route_notifiers = g_array_new(FALSE, TRUE, sizeof(Notifier *));
    }
    if ((guint)route >= route_notifiers->len) {
        g_array_set_size(route_notifiers, route + 1);
    }
    old = g_array_index(route_notifiers, Notifier *, route);
    g_array_index(route_notifiers, Notifier *, route) = n;
    lock_drop(&routes_lock);
    return old;
}

bool msi_attach(int *route, const MsiMsg *m, Notifier *n, Error **errp)
{
    const AccelOps *a = accel();
    bool fresh = *route < 0;

    if (!a || !a->route_set) {
        *route = MAX(*route, 0);       /* nobody there: messages are dropped */
        return true;
    }
    if (!a->route_set(route, m, errp)) {
        return false;
    }
    Notifier *old = route_note(*route, n);

    if (old == n) {
        return true;
    }
    if (old && a->irqfd_set) {
        a->irqfd_set(*route, old, NULL, false);
    }
    if (n && !(a->irqfd_set && a->irqfd_set(*route, n, NULL, true))) {
        route_note(*route, NULL);
        if (fresh) {
            a->route_drop(*route);
            *route = -1;
        }
        return error_set(errp, "cannot attach an event to an interrupt message");
    }
    return true;
}

void msi_detach(int *route, Notifier *n)
{
    const AccelOps *a = accel();

    if (*route >= 0 && a && a->route_set) {
        Notifier *old = route_note(*route, NULL);

        if (old && a->irqfd_set) {
            a->irqfd_set(*route, old, NULL, false);
        }
        if (a->route_drop) {
            a->route_drop(*route);
        }
    }
    *route = -1;
}
