/* chardev-front.h: a front end for the chardev tests: takes so many bytes, remembers what came. */
#ifndef TESTS_UNIT_CHARDEV_FRONT_H
#define TESTS_UNIT_CHARDEV_FRONT_H

#include <string.h>
#include "chardev/char.h"
#include "util/bytes.h"
#include "util/epoch.h"

typedef struct Front {
    CharPort port;
    pthread_mutex_t mutex;
    size_t space;                          /* taken off by each byte */
    GString *got;
    unsigned events[CHAR_FOCUS_OUT + 1];
    unsigned overrun;
} Front;

static inline void front_nothing(void *arg)
{
}

static inline size_t test_front_space(CharPort *p)
{
    Front *f = container_of(p, Front, port);

    pthread_mutex_lock(&f->mutex);
    size_t n = f->space;
    pthread_mutex_unlock(&f->mutex);
    return n;
}

static inline void test_front_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    Front *f = container_of(p, Front, port);

    pthread_mutex_lock(&f->mutex);
    f->overrun += n > f->space;
    f->space -= MIN(n, f->space);
    g_string_append_len(f->got, (const char *)buf, n);
    pthread_mutex_unlock(&f->mutex);
    loop_call(loop_control(), front_nothing, NULL);
}

static inline void test_front_event(CharPort *p, CharEvent what)
{
    Front *f = container_of(p, Front, port);

    __atomic_add_fetch(&f->events[what], 1, __ATOMIC_RELEASE);
    loop_call(loop_control(), front_nothing, NULL);
}

static const CharPortOps test_front_ops = {
    .space = test_front_space,
    .bytes = test_front_bytes,
    .event = test_front_event,
};

static inline void front_init(Front *f, size_t space)
{
    *f = (Front){ .mutex = PTHREAD_MUTEX_INITIALIZER, .space = space, .got = g_string_new(NULL) };
    char_port_init(&f->port, &test_front_ops);
}

static inline size_t front_len(Front *f)
{
    pthread_mutex_lock(&f->mutex);
    size_t n = f->got->len;
    pthread_mutex_unlock(&f->mutex);
    return n;
}

/* Runs the control loop until the front has @n bytes. */
static inline void front_wait(Front *f, size_t n)
{
    while (front_len(f) < n) {
        loop_control_iterate(true);
    }
}

static inline void front_wait_event(Front *f, CharEvent what, unsigned times)
{
    while (__atomic_load_n(&f->events[what], __ATOMIC_ACQUIRE) < times) {
        loop_control_iterate(true);
    }
}

static inline void front_more(Front *f, size_t space)
{
    pthread_mutex_lock(&f->mutex);
    f->space += space;
    pthread_mutex_unlock(&f->mutex);
    epoch_enter();
    char_room(&f->port);
    epoch_leave();
}

/* Sends @n bytes or fewer, as a device does. */
static inline size_t front_send(Front *f, const void *buf, size_t n)
{
    epoch_enter();
    size_t sent = char_send(&f->port, buf, n);
    epoch_leave();
    return sent;
}

/* Releases, and waits until the loop and the control loop have let go of it. */
static inline void front_end(Front *f, Loop *l)
{
    chardev_release(&f->port);
    for (int i = 0; i < 4; i++) {
        loop_call_wait(l, front_nothing, NULL);
        while (loop_control_iterate(false)) {
        }
    }
    g_string_free(f->got, TRUE);
    f->got = NULL;
}

/* What -chardev @text says; NULL and @errp for nonsense. */
static inline ChardevConfig *read_config(const char *text, Error **errp)
{
    ChardevConfig *cfg = NULL;

    return qapi_opt_chardev(text, &cfg, errp) ? cfg : NULL;
}

static inline Chardev *make_chardev(const char *arg)
{
    g_autoptr(ChardevConfig) o = read_config(arg, NULL);

    return o ? chardev_new(o, NULL) : NULL;
}

#endif
