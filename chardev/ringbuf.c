/* ringbuf.c: keeps the last bytes the guest sent, for the monitor's ringbuf-read.
 *
 * 1. The oldest bytes make room for new ones; @total and @taken count bytes since the start, so
 *    what lies between them, at most @size, is there to be read. */
#include <string.h>
#include "chardev/char-int.h"
#include "util/bytes.h"

#define SIZE_MAX_BYTES (64 * MiB)

typedef struct Ringbuf {
    Lock lock;                 /* LEAF; guards the counters and the bytes */
    size_t size;
    uint64_t total, taken;
    uint8_t bytes[];
} Ringbuf;

static bool ringbuf_open(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    const ChardevRingbuf *o = &cfg->u.ringbuf;         /* or u.memory, its alias */

    if (o->size == 0 || (o->size & (o->size - 1))) {
        return error_set(errp, "size of ringbuf chardev must be power of two");
    }
    if (o->size > SIZE_MAX_BYTES) {
        return error_set(errp, "size of ringbuf chardev must be at most 64M");
    }
    Ringbuf *r = g_try_malloc0(sizeof(Ringbuf) + o->size);
    if (!r) {
        return error_set(errp, "no memory for a ring buffer of %llu bytes",
                         (unsigned long long)o->size);
    }
    lock_init(&r->lock, RANK_LEAF, "ringbuf");
    r->size = o->size;
    c->priv = r;
    c->open = true;
    return true;
}

static size_t ringbuf_take(Chardev *c, const uint8_t *buf, size_t n)
{
    Ringbuf *r = c->priv;

    lock_take(&r->lock);
    for (size_t i = 0; i < n; i++) {
        r->bytes[r->total++ & (r->size - 1)] = buf[i];
    }
    if (r->total - r->taken > r->size) {
        r->taken = r->total - r->size;
    }
    lock_drop(&r->lock);
    return n;
}

static ssize_t ringbuf_put(Chardev *c, const uint8_t *buf, size_t n)
{
    return ringbuf_take(c, buf, n);
}

static bool need_ringbuf(Chardev *c, Error **errp)
{
    return c->ops == &backend_ringbuf ||
           error_set(errp, "%s is not a ringbuf device", c->id);
}

ssize_t chardev_ringbuf_read(Chardev *c, uint8_t *buf, size_t max, Error **errp)
{
    if (!need_ringbuf(c, errp)) {
        return -1;
    }
    Ringbuf *r = c->priv;
    lock_take(&r->lock);
    size_t n = MIN(max, r->total - r->taken);
    for (size_t i = 0; i < n; i++) {
        buf[i] = r->bytes[r->taken++ & (r->size - 1)];
    }
    lock_drop(&r->lock);
    return n;
}

bool chardev_ringbuf_write(Chardev *c, const uint8_t *buf, size_t n, Error **errp)
{
    if (!need_ringbuf(c, errp)) {
        return false;
    }
    ringbuf_take(c, buf, n);
    return true;
}

static void ringbuf_free(Chardev *c)
{
    Ringbuf *r = c->priv;

    if (r) {
        lock_destroy(&r->lock);
        g_free(r);
    }
}

const BackendOps backend_ringbuf = {
    .name = "ringbuf",
    .open = ringbuf_open,
    .write = ringbuf_put,
    .take_now = ringbuf_take,
    .free = ringbuf_free,
};
