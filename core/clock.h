/* clock.h: timers of devices.
 *
 * A DevTimer fires under its device's domain, on its device's loop.  Set, stop and fire are all under
 * the domain, so after dev_timer_stop() it does not fire: a firing already on its way finds it stopped.
 * While its device is quiesced it stays armed but does not fire, whatever its clock; resume lets it. */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include "core/device.h"
#include "util/loop.h"

typedef struct DevTimer {
    Timer timer;
    Device *dev;
    void (*fire)(Device *d, struct DevTimer *t);
    int64_t due;               /* ns; -1: not armed (this, not timer.due, is the truth) */
    struct DevTimer *next;     /* timers of the same device */
} DevTimer;

/* In realize; @clock is CLOCK_VM unless the chip truly follows wall time. */
CTX_CONTROL void dev_timer_init(DevTimer *t, Device *d, ClockKind clock,
                                void (*fire)(Device *d, DevTimer *t));
/* In unrealize. */
CTX_CONTROL void dev_timer_free(DevTimer *t);
CTX_DOMAIN void dev_timer_set(DevTimer *t, int64_t due_ns);
CTX_DOMAIN void dev_timer_stop(DevTimer *t);
CTX_DOMAIN bool dev_timer_armed(const DevTimer *t);

#endif
