/* vq-map.c: several I/O threads for one device: the property iothread-vq-mapping.
 *
 *     [ { "iothread": "io0", "vqs": [0, 1] }, { "iothread": "io1", "vqs": [2] } ]
 *     [ { "iothread": "io0" }, { "iothread": "io1" } ]         queues in turn
 *
 * 1. A queue belongs to one loop from realize on; nothing that queues share is written by more than one. */
#include <string.h>
#include "hw/virtio/virtio-int.h"
#include "qapi/json.h"

#define PROP "iothread-vq-mapping"

/* An entry's thread; NULL: *errp is set. */
static IoThread *thread_of(const json_t *entry, Error **errp)
{
    const char *id = json_string_value(json_object_get(entry, "iothread")), *key;
    IoThread *t = id != NULL ? iothread_find(id) : NULL;
    json_t *value;

    json_object_foreach((json_t *)entry, key, value) {
        if (strcmp(key, "iothread") != 0 && strcmp(key, "vqs") != 0) {
            error_set(errp, PROP ": '%s' is unexpected", key);
            return NULL;
        }
    }
    if (id == NULL) {
        error_set(errp, PROP ": each entry is an object with the string 'iothread'");
    } else if (t == NULL) {
        error_set(errp, PROP ": there is no iothread '%s'", id);
    }
    return t;
}

/* The queues that @entry names go to @t. */
static bool assign(VirtioDevice *v, unsigned first, unsigned count, const json_t *vqs, IoThread *t,
                   Error **errp)
{
    if (!json_is_array(vqs)) {
        return error_set(errp, PROP ": 'vqs' of iothread '%s' is a list of numbers", t->id);
    }
    for (size_t i = 0; i < json_array_size(vqs); i++) {
        const json_t *n = json_array_get(vqs, i);
        json_int_t at = json_integer_value(n);
        if (!json_is_integer(n) || at < 0 || at >= count) {
            return error_set(errp, PROP ": 'vqs' of iothread '%s' are numbers from 0 to %u", t->id,
                             count - 1);
        }
        VirtQueue *q = &v->queues[first + (unsigned)at];
        if (q->thread != NULL) {
            return error_set(errp, PROP ": queue %u is given to '%s' and to '%s'", (unsigned)at,
                             q->thread->id, t->id);
        }
        q->thread = t;
    }
    return true;
}

static bool parse(VirtioDevice *v, unsigned first, unsigned count, const json_t *list, Error **errp)
{
    size_t n = json_array_size(list);
    bool named = n > 0 && json_object_get(json_array_get(list, 0), "vqs") != NULL;

    if (!json_is_array(list) || n == 0) {
        return error_set(errp, PROP ": a list of objects with 'iothread', and perhaps 'vqs', is expected");
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(list, i), *vqs = json_object_get(entry, "vqs");
        IoThread *t = thread_of(entry, errp);
        if (t == NULL) {
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (thread_of(json_array_get(list, j), NULL) == t) {
                return error_set(errp, PROP ": iothread '%s' is there twice", t->id);
            }
        }
        if ((vqs != NULL) != named) {
            return error_set(errp, PROP ": either all entries have 'vqs' or none has");
        }
        if (named && !assign(v, first, count, vqs, t, errp)) {
            return false;
        }
        for (size_t q = i; !named && q < count; q += n) {
            v->queues[first + q].thread = t;
        }
    }
    for (unsigned q = 0; q < count; q++) {
        if (v->queues[first + q].thread == NULL) {
            return error_set(errp, PROP ": queue %u is given to no iothread", q);
        }
    }
    return true;
}

bool virtio_map_queues(VirtioDevice *v, unsigned first, const char *json, Error **errp)
{
    unsigned count = v->queue_count - first;

    assert_control();
    if (json == NULL || *json == '\0') {
        return true;
    }
    if (v->iothread != NULL) {
        return error_set(errp, PROP " and iothread exclude one another");
    }
    g_autoptr(json_t) list = json_parse(json, NULL);
    if (!parse(v, first, count, list, errp)) {
        for (unsigned i = 0; i < v->queue_count; i++) {
            v->queues[i].thread = NULL;
        }
        return false;
    }
    for (unsigned i = 0; i < v->queue_count; i++) {
        VirtQueue *q = &v->queues[i];
        /* What carries no requests goes with the first that does. */
        q->thread = i < first ? v->queues[first].thread : q->thread;
        q->thread->users++;
        q->loop = q->thread->loop;
    }
    return true;
}
