/* virtio-rng.c: entropy for the guest (Virtio 1.2, section 5.4).
 *
 * 1. The queue and the budget belong to the worker loop from start to stop.
 * 2. A request is answered once, possibly short, never left behind: when the budget of max-bytes a
 *    period is spent, or the source has nothing now, it is left in the ring until there is more. */
#include <linux/virtio_ids.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "core/rng.h"
#include "hw/virtio/virtio-int.h"

#define PER_REQUEST 65536      /* bytes: more is answered short */

typedef struct VirtioRng {
    VirtioDevice v;
    void *rng;                 /* properties */
    uint64_t max_bytes;
    uint32_t period_ms;
    int fd;                    /* of the source; -1: the host's generator */
    /* loop */
    Timer timer;
    uint64_t budget;
    int64_t period_end;
    bool dry, watched;         /* the source had nothing; its descriptor is watched */
} VirtioRng;

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

static void rng_kick(VirtQueue *q);

static void rng_filled(void *arg, unsigned events)
{
    VirtQueue *q = arg;
    VirtioRng *r = (VirtioRng *)vq_device(q);

    loop_unwatch(q->loop, r->fd);
    r->dry = r->watched = false;
    if (vq_begin(q)) {
        rng_kick(q);
        vq_publish(q);
    }
}

/* Nothing now; without @wait never again: such a source (a file) has come to its end. */
static void run_dry(VirtQueue *q, VirtioRng *r, bool wait)
{
    r->dry = true;
    if (wait) {
        r->watched = true;
        loop_watch(q->loop, r->fd, EPOLLIN, rng_filled, q);
    } else {
        warn_report("%s: the source of entropy has ended; the guest waits", r->v.proxy->id);
    }
}

/* Fills @c as far as budget and source reach; false: not a byte. */
static bool serve(VirtQueue *q, VirtioRng *r, VirtChain *c)
{
    size_t want = MIN(c->left_in, PER_REQUEST), done = 0;
    uint8_t buf[1024];

    want = limited(r) ? MIN(want, r->budget) : want;
    while (done < want && !r->dry) {
        bool wait;
        size_t n = rng_read(r->fd, buf, MIN(want - done, sizeof(buf)), &wait);
        if (n == 0) {
            run_dry(q, r, wait);
        } else if (chain_write(c, buf, n) < n) {
            break;
        }
        done += n;
    }
    r->budget -= limited(r) ? done : 0;
    return done > 0 || want == 0 || !r->dry;
}

static void rng_kick(VirtQueue *q)
{
    VirtioRng *r = (VirtioRng *)vq_device(q);
    VirtChain c;

    refill(r);
    while (!r->dry && (!limited(r) || r->budget)) {
        if (!vq_pop(q, &c)) {
            return;
        }
        if (serve(q, r, &c)) {
            vq_push(q, &c);
        } else {
            vq_unpop(q, &c);
        }
    }
    if (!r->dry && vq_ready(q)) {
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
    VirtioRng *r = (VirtioRng *)vq_device(q);

    timer_stop(&r->timer);
    if (r->watched) {
        loop_unwatch(q->loop, r->fd);
    }
    r->dry = r->watched = false;               /* the next start tries again */
}

static bool rng_realize(Device *d, Error **errp)
{
    VirtioRng *r = (VirtioRng *)d;

    if (r->period_ms == 0) {
        return error_set(errp, "'period' parameter expects a positive integer");
    }
    if (!rng_open(r->rng, &r->fd, errp)) {
        return false;
    }
    virtio_queues(&r->v, 1, 8);
    timer_init(&r->timer, r->v.worker->loop, CLOCK_VM, rng_period);
    return true;
}

static void rng_unrealize(Device *d)
{
    VirtioRng *r = (VirtioRng *)d;

    timer_stop(&r->timer);
    if (r->fd >= 0) {
        close(r->fd);
    }
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
