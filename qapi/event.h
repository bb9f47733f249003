/* event.h: how the generated event functions reach the QMP server. */
#ifndef QAPI_EVENT_H
#define QAPI_EVENT_H

#include <glib.h>
#include <stdint.h>
#include "util/context.h"

typedef struct QapiEvent {
    const char *name, *rate_by;    /* rate_by: a member; the limit holds for each value of it */
    uint16_t args;
    uint16_t rate_ms;              /* at most one in so many ms, the newest wins; 0: no limit */
} QapiEvent;

extern const QapiEvent qapi_events[];
extern const unsigned qapi_events_count;

/* One event on its way: the complete message, and the value of the rate_by member ("" without). */
typedef struct QapiPosted {
    unsigned event;                /* QAPI_EVENT_... */
    char *key;
    GString *text;
} QapiPosted;

/* Where events go from now on, in order; NULL: nowhere.  The sink owns what it gets. */
CTX_CONTROL void qapi_event_set_sink(void (*sink)(void *arg, QapiPosted *take_posted), void *arg);
/* Makes the message and brings it to the sink: at once on the control thread, else by a post.  At
 * most 1,024 posts wait at a time; what comes beyond is dropped and counted. */
CTX_ANY void qapi_event_post(unsigned event, const void *args_slot);
CTX_ANY void qapi_posted_free(QapiPosted *p);
/* How many events were dropped so far. */
CTX_ANY unsigned long qapi_events_dropped(void);

#endif
