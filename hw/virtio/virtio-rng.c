/* virtio-rng.c: entropy for the guest from the host's generator (Virtio 1.2, section 5.4).
 *
 * 1. The queue and the budget belong to the worker loop from start to stop.
 * 2. A request is answered once, possibly short, never left behind: when the budget of max-bytes a
 *    period is spent, it is left in the ring until the period ends. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <sys/random.h>
#include "hw/virtio/virtio-int.h"

#define PER_REQUEST 65536      /* bytes: more is answered short */

typedef struct VirtioRng {
    VirtioDevice v;
    void *rng;                 /* properties */
    uint64_t max_bytes;
    uint32_t period_ms;
    /* loop */
    Timer timer;
    uint64_t budget;
    int64_t period_end;
} VirtioRng;

/* The kernel's generator never runs dry; EINTR aside it cannot fail for these sizes. */
static void random_fill(uint8_t *buf, size_t n)
{
    while (n) {
        ssize_t got = getrandom(buf, n, 0);
        if (got > 0) {
            buf += got;
            n -= (size_t)got;
        } else if (got < 0 && errno != EINTR) {
            memset(buf, 0, n);
            return;
        }
    }
}

static bool limited(const VirtioRng *r)
{
    return r->max_bytes < INT64_MAX;
}

static void refill(VirtioRng *r)
{
    int64_t now = clock_now(CLOCK_VM);

    if (limited(r) && now >= r->period_end) {
        r->budget = r->max_bytes;
        r->period_end = now + r->period_ms * NS_PER_MS;
    }
}

static void rng_kick(VirtQueue *q)
{
    VirtioRng *r = (VirtioRng *)vq_device(q);
    VirtChain c;
    uint8_t buf[1024];

    refill(r);
    while (!limited(r) || r->budget) {
        if (!vq_pop(q, &c)) {
            return;
        }
        size_t want = MIN(c.left_in, PER_REQUEST);
        if (limited(r)) {
            want = MIN(want, r->budget);
            r->budget -= want;
        }
        while (want) {
            size_t n = MIN(want, sizeof(buf));
            random_fill(buf, n);
            if (chain_write(&c, buf, n) < n) {
                break;
            }
            want -= n;
        }
        vq_push(q, &c);
    }
    if (vq_ready(q)) {
        timer_set(&r->timer, r->period_end);
    }
}

static void rng_period(Timer *t)
{
    VirtioRng *r = container_of(t, VirtioRng, timer);
    VirtQueue *q = r->v.queues;

    if (vq_begin(q)) {
        rng_kick(q);
        vq_publish(q);
    }
}

static void rng_halt(VirtQueue *q)
{
    timer_stop(&((VirtioRng *)vq_device(q))->timer);
}

static bool rng_realize(Device *d, Error **errp)
{
    VirtioRng *r = (VirtioRng *)d;

    if (r->period_ms == 0) {
        return error_set(errp, "'period' parameter expects a positive integer");
    }
    virtio_queues(&r->v, 1, 8);
    timer_init(&r->timer, r->v.worker->loop, CLOCK_VM, rng_period);
    return true;
}

static void rng_unrealize(Device *d)
{
    timer_stop(&((VirtioRng *)d)->timer);
}

static const PropDesc rng_props[] = {
    PROP_LINK(VirtioRng, rng, "rng", "rng", "source of entropy; the host's generator without"),
    PROP_U64(VirtioRng, max_bytes, "max-bytes", INT64_MAX, 1, INT64_MAX, "most bytes served in a period"),
    PROP_U32(VirtioRng, period_ms, "period", 65536, 0, UINT32_MAX, "milliseconds"),
    { 0 },
};

static const VirtioOps rng_ops = {
    .id = VIRTIO_ID_RNG, .legacy_id = 0x1005, .class_code = 0x00ff00, .kick = rng_kick, .halt = rng_halt,
};

extern const DeviceType virtio_rng;
const DeviceType virtio_rng = {
    .name = "virtio-rng", .summary = "entropy source", .slot = &virtio_slot, .size = sizeof(VirtioRng),
    .flags = DEV_HOTPLUG, .category = "Misc", .props = rng_props, .slot_ops = &rng_ops,
    .realize = rng_realize, .unrealize = rng_unrealize,
};
