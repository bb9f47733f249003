/* iothread.c: the list of worker loops, see iothread.h. */
#include "core/iothread.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "core/prop.h"

#define POLL_MAX_NS 32768       /* as an -object iothread that says nothing */

static IoThread *first, *by_default;
static int64_t default_poll_ns = POLL_MAX_NS;
static void (*loop_ends)(Loop *l);

static IoThread *start(const char *id, int64_t poll_max_ns, unsigned grow, unsigned shrink, Error **errp)
{
    g_autofree char *name = g_strdup_printf("IO %s", id);
    Loop *l = loop_new(name, THREAD_WORKER, errp);
    IoThread *t;

    if (l == NULL) {
        return NULL;
    }
    t = g_new0(IoThread, 1);
    t->id = g_strdup(id);
    t->loop = l;
    t->poll_max_ns = poll_max_ns;
    t->poll_grow = grow;
    t->poll_shrink = shrink;
    loop_set_poll(l, poll_max_ns, grow, shrink);
    return t;
}

IoThread *iothread_new(const char *id, int64_t poll_max_ns, unsigned poll_grow, unsigned poll_shrink,
                       Error **errp)
{
    IoThread *t;

    if (iothread_find(id) != NULL) {
        error_set(errp, "attempt to add duplicate property '%s' to object (type 'container')", id);
        return NULL;
    }
    t = start(id, poll_max_ns, poll_grow, poll_shrink, errp);
    if (t != NULL) {
        t->next = first;
        first = t;
    }
    return t;
}

bool iothread_remove(IoThread *t, Error **errp)
{
    IoThread **at = &first;

    if (t->users > 0) {
        return error_set(errp, "object '%s' is in use, can not be deleted", t->id);
    }
    while (*at != t) {
        at = &(*at)->next;
    }
    *at = t->next;
    if (loop_ends != NULL) {
        loop_ends(t->loop);
    }
    loop_free(t->loop);
    g_free(t->id);
    g_free(t);
    return true;
}

IoThread *iothread_find(const char *id)
{
    IoThread *t = first;

    while (t != NULL && strcmp(t->id, id) != 0) {
        t = t->next;
    }
    return t;
}

IoThread *iothread_default(void)
{
    if (by_default == NULL) {
        Error *err = NULL;
        by_default = start("worker", default_poll_ns, 0, 0, &err);
        if (by_default == NULL) {
            error_report(err);
            exit(1);
        }
    }
    return by_default;
}

IoThread *iothread_first(void)
{
    return first;
}

static void *link_find(const char *id, Error **errp)
{
    IoThread *t = iothread_find(id);

    if (t == NULL) {
        error_set(errp, "there is no iothread '%s'", id);
    }
    return t;
}

static const char *link_id(void *target)
{
    return ((IoThread *)target)->id;
}

void iothread_register(void (*ends)(Loop *l))
{
    static const LinkClass cls = { "iothread", link_find, link_id };
    cpu_set_t set;

    loop_ends = ends;
    link_class_register(&cls);
    /* With one processor, whoever might bring work stands still while the worker spins. */
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1) {
        default_poll_ns = 0;
    }
}
