/* event.c: makes event messages on any thread and brings them to control.
 *
 * 1. Events emitted on the control thread reach the sink before the emitter goes on, so an event
 *    precedes the reply of the command that caused it.
 * 2. Posts in flight are counted and bounded: a guest cannot grow the queue by making events. */
#include "qapi/event.h"

#include <sys/time.h>
#include "qapi/types.h"
#include "util/loop.h"

#define POSTS_MAX 1024

/* The process has one control plane; written on control only. */
static void (*event_sink)(void *arg, QapiPosted *take_posted);
static void *event_sink_arg;
static int posts_waiting;
static unsigned long dropped;

void qapi_event_set_sink(void (*sink)(void *arg, QapiPosted *take_posted), void *arg)
{
    assert_control();
    event_sink = sink;
    event_sink_arg = arg;
}

unsigned long qapi_events_dropped(void)
{
    return __atomic_load_n(&dropped, __ATOMIC_RELAXED);
}

void qapi_posted_free(QapiPosted *p)
{
    if (p) {
        g_free(p->key);
        g_string_free(p->text, TRUE);
        g_free(p);
    }
}

static void hand_over(QapiPosted *p)
{
    if (event_sink) {
        event_sink(event_sink_arg, p);
    } else {
        qapi_posted_free(p);
    }
}

static void posted_arrives(void *arg)
{
    __atomic_sub_fetch(&posts_waiting, 1, __ATOMIC_RELAXED);
    hand_over(arg);
}

static char *rate_key(const QapiEvent *e, const GString *args)
{
    g_autoptr(json_t) tree = e->rate_by ? json_parse(args->str, NULL) : NULL;
    const char *key = json_string_value(json_object_get(tree, e->rate_by));

    return g_strdup(key ? key : "");
}

static QapiPosted *make(unsigned event, const void *args_slot)
{
    const QapiEvent *e = &qapi_events[event];
    QapiPosted *p = g_new0(QapiPosted, 1);
    struct timeval now;

    gettimeofday(&now, NULL);
    p->event = event;
    p->text = g_string_new(NULL);
    if (args_slot) {
        qapi_write(e->args, args_slot, p->text);
    }
    p->key = rate_key(e, p->text);
    if (args_slot) {
        g_string_prepend(p->text, ", \"data\": ");
    }
    g_autofree char *head = g_strdup_printf("{\"timestamp\": {\"seconds\": %lld, \"microseconds\": "
                                            "%lld}, \"event\": \"%s\"", (long long)now.tv_sec,
                                            (long long)now.tv_usec, e->name);

    g_string_prepend(p->text, head);
    g_string_append_c(p->text, '}');
    return p;
}

void qapi_event_post(unsigned event, const void *args_slot)
{
    if (thread_role() == THREAD_CONTROL) {
        hand_over(make(event, args_slot));
        return;
    }
    if (__atomic_add_fetch(&posts_waiting, 1, __ATOMIC_RELAXED) > POSTS_MAX) {
        __atomic_sub_fetch(&posts_waiting, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    loop_call(loop_control(), posted_arrives, make(event, args_slot));
}
