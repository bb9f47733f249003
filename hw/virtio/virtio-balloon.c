/* virtio-balloon.c: memory the guest lends back to the host (Virtio 1.2, section 5.5).
 *
 *   inflate: pages leave the guest, the host gives their memory away      deflate: it wants them back
 *   stats: the driver's buffer is kept; giving it back asks for new numbers
 *   reporting: free pages, lent until the guest touches them
 *
 * 1. A queue's state belongs to the worker loop; what control and domain share with it is atomic.
 * 2. Only RAM is discarded, and only whole host pages of 4 KiB blocks: of huge pages and of anything
 *    that is not RAM the request is answered without effect.
 * 3. A chain may name STEPS_MAX pieces of memory; what it names beyond that is answered without effect, as a
 *    chain can be longer than anybody has time for.
 * 4. The statistics buffer is given back to the ring whenever the queue stops, so it is not in the state. */
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include "core/machine.h"
#include "core/ram.h"
#include "hw/virtio/virtio-int.h"

#define PAGE_SHIFT 12
#define PAGE (UINT64_C(1) << PAGE_SHIFT)
#define STAT_BYTES 10          /* le16 tag, le64 value */
#define PFN_BATCH 256
#define STEPS_MAX 65536
enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_REPORTING };

/* By tag (5.5.6.3); QMP's names. */
static const char *const stat_names[] = {
    "stat-swap-in", "stat-swap-out", "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches", "stat-htlb-pgalloc", "stat-htlb-pgfail",
};
#define STATS G_N_ELEMENTS(stat_names)

typedef struct VirtioBalloon {
    VirtioDevice v;
    uint32_t num_pages;        /* atomic: what the host wants, in 4 KiB pages */
    uint32_t actual;           /* atomic: what the guest says it gave */
    uint32_t poison;           /* atomic: how the guest fills free pages */
    uint64_t stats[STATS];     /* atomic; UINT64_MAX: not known */
    int64_t updated_s;         /* atomic: wall clock; 0: never */
    uint32_t interval_s;       /* atomic: 0: the host does not ask */
    /* loop */
    Timer timer;
    VirtChain held;            /* the driver's buffer for statistics */
    bool holds;
    /* properties */
    bool deflate_on_oom, free_page_reporting, free_page_hint, page_poison;
} VirtioBalloon;

static VirtioBalloon *balloon_of(VirtQueue *q)
{
    return (VirtioBalloon *)vq_device(q);
}

static uint32_t load(const uint32_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* --- giving memory away --- */

/* @steps: how many pieces the chain may still name.  False: enough of this chain. */
static bool give_away(VirtioBalloon *b, Iova at, uint64_t len, unsigned *steps)
{
    while (len > 0) {
        /* A page at a time is always one piece of RAM, a range mostly. */
        uint64_t n = len;
        uint8_t *p = dma_ptr(&b->v.dev, at, n, DMA_FROM_DEVICE);

        if (*steps == 0) {
            guest_bug(b->v.dev.id, "a chain of more than %u pieces", STEPS_MAX);
            return false;
        }
        --*steps;
        if (p == NULL && n > PAGE) {
            n = PAGE;
            p = dma_ptr(&b->v.dev, at, n, DMA_FROM_DEVICE);
        }
        if (p == NULL) {
            guest_bug(b->v.dev.id, "page 0x%" PRIx64 " is not RAM", at);
            return true;       /* what follows it is not looked at */
        }
        if (!ram_discard(ram_by_host(p), p, n)) {
            TRACE(virtio_balloon_kept, "%s at=0x%" PRIx64 " bytes=%" PRIu64, b->v.dev.id, at, n);
        }
        at += n;
        len -= n;
    }
    return true;
}

/* Pages that follow one another, in either direction, go together. */
static bool inflate(VirtioBalloon *b, const uint8_t *pfns, unsigned count, unsigned *steps)
{
    uint64_t first = 0, n = 0;

    for (unsigned i = 0; i < count; i++) {
        uint64_t pfn = ld32(pfns + 4 * i);

        if (n > 0 && pfn == first + n) {
            n++;
        } else if (n > 0 && pfn + 1 == first) {
            first = pfn;
            n++;
        } else {
            if (!give_away(b, first << PAGE_SHIFT, n << PAGE_SHIFT, steps)) {
                return false;
            }
            first = pfn;
            n = 1;
        }
    }
    return give_away(b, first << PAGE_SHIFT, n << PAGE_SHIFT, steps);
}

static void kick_pages(VirtQueue *q)
{
    uint8_t pfns[4 * PFN_BATCH];
    VirtChain c;
    size_t got;

    while (vq_pop(q, &c)) {
        unsigned steps = STEPS_MAX;

        while (q->index == Q_INFLATE && (got = chain_read(&c, pfns, sizeof(pfns))) >= 4 &&
               inflate(balloon_of(q), pfns, (unsigned)(got / 4), &steps)) {
        }
        vq_push(q, &c);
    }
}

/* 5.5.6.7: the buffers are the free pages themselves.  With a poison value the guest expects to find
 * it in them, and the host does not fill pages. */
static void kick_reporting(VirtQueue *q)
{
    VirtioBalloon *b = balloon_of(q);
    bool poisoned = virtio_has(&b->v, VIRTIO_BALLOON_F_PAGE_POISON) && load(&b->poison) != 0;
    VirtChain c;

    while (vq_pop(q, &c)) {
        unsigned steps = STEPS_MAX;
        bool more = !poisoned;

        for (unsigned i = 0; i < c.nin && more; i++) {
            uint64_t from = ALIGN_UP(c.in[i].addr, PAGE), to = (c.in[i].addr + c.in[i].len) & ~(PAGE - 1);

            more = from >= to || give_away(b, from, to - from, &steps);
        }
        vq_push(q, &c);
    }
}

/* --- statistics --- */

static void ask_later(VirtioBalloon *b)
{
    uint32_t s = load(&b->interval_s);

    if (s > 0) {
        timer_set(&b->timer, clock_now(CLOCK_VM) + s * NS_PER_SEC);
    }
}

static void read_stats(VirtioBalloon *b, VirtChain *c)
{
    uint8_t raw[STAT_BYTES];
    struct timeval now;

    for (unsigned i = 0; i < 64 && chain_read(c, raw, sizeof(raw)) == sizeof(raw); i++) {
        if (ld16(raw) < STATS) {
            __atomic_store_n(&b->stats[ld16(raw)], ld64(raw + 2), __ATOMIC_RELAXED);
        }
    }
    gettimeofday(&now, NULL);
    __atomic_store_n(&b->updated_s, now.tv_sec, __ATOMIC_RELAXED);
}

static void kick_stats(VirtQueue *q)
{
    VirtioBalloon *b = balloon_of(q);
    VirtChain c;

    while (vq_pop(q, &c)) {
        if (b->holds) {                        /* a driver has one buffer; an older one goes back */
            vq_push(q, &b->held);
        }
        read_stats(b, &c);
        b->held = c;
        b->holds = true;
        ask_later(b);
    }
}

/* On the loop: it is time to ask for new numbers. */
static void ask(Timer *t)
{
    VirtioBalloon *b = container_of(t, VirtioBalloon, timer);
    VirtQueue *q = &b->v.queues[Q_STATS];

    if (b->holds && vq_begin(q)) {
        b->holds = false;
        vq_push(q, &b->held);
        vq_publish(q);
    } else {
        ask_later(b);
    }
}

static void balloon_kick(VirtQueue *q)
{
    switch (q->index) {
    case Q_STATS:
        kick_stats(q);
        break;
    case Q_REPORTING:
        kick_reporting(q);
        break;
    default:
        kick_pages(q);
    }
}

static void balloon_halt(VirtQueue *q)
{
    VirtioBalloon *b = balloon_of(q);

    if (q->index == Q_STATS) {
        timer_stop(&b->timer);
        if (b->holds) {
            b->holds = false;
            vq_unpop(q, &b->held);
        }
    }
}

/* --- configuration (5.5.4) --- */

static void config_fill(VirtioDevice *v, uint8_t *c)
{
    const VirtioBalloon *b = (VirtioBalloon *)v;

    st32(c, load(&b->num_pages));
    st32(c + 4, load(&b->actual));
    st32(c + 12, load(&b->poison));
}

/* What the guest would have without the balloon; control. */
static uint64_t all_bytes(const Device *d)
{
    return d->machine->cfg.ram_size + memory_device_total(d->machine);
}

static uint64_t balloon_actual(Device *d)
{
    uint64_t all = all_bytes(d), lent = (uint64_t)load(&((VirtioBalloon *)d)->actual) << PAGE_SHIFT;

    return all - MIN(lent, all);
}

static void tell_actual(Device *d, uintptr_t arg)
{
    const MachineListener *l = machine_listener();

    if (l != NULL && l->balloon_changed != NULL) {
        l->balloon_changed(balloon_actual(d));
    }
}

static void config_wrote(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size)
{
    VirtioBalloon *b = (VirtioBalloon *)v;
    uint32_t was = load(&b->actual);
    uint8_t c[16] = { 0 };

    config_fill(v, c);
    memcpy(c + off, data, MIN(size, sizeof(c) - off));
    __atomic_store_n(&b->actual, ld32(c + 4), __ATOMIC_RELAXED);
    if (virtio_has(v, VIRTIO_BALLOON_F_PAGE_POISON)) {
        __atomic_store_n(&b->poison, ld32(c + 12), __ATOMIC_RELAXED);
    }
    if (load(&b->actual) != was) {
        TRACE(virtio_balloon_actual, "%s pages=%u", v->dev.id, load(&b->actual));
        machine_defer(&v->dev, tell_actual, 0);
    }
}

/* --- for the control plane --- */

static void balloon_target(Device *d, uint64_t bytes)
{
    VirtioBalloon *b = (VirtioBalloon *)d;
    uint64_t all = all_bytes(d), pages = (all - MIN(bytes, all)) >> PAGE_SHIFT;

    __atomic_store_n(&b->num_pages, (uint32_t)MIN(pages, UINT32_MAX), __ATOMIC_RELAXED);
    domain_enter(d->domain);
    virtio_config_changed(&b->v);
    domain_leave(d->domain);
}

static const BalloonOps balloon_ops = { .actual = balloon_actual, .target = balloon_target };

static void extra_each(const DeviceType *t, void (*fn)(const char *name, const char *type, void *arg),
                       void *arg)
{
    fn("guest-stats", "guest statistics", arg);
    fn("guest-stats-polling-interval", "int", arg);
}

static char *extra_get(Device *d, const char *name)
{
    const VirtioBalloon *b = (VirtioBalloon *)d;

    if (strcmp(name, "guest-stats-polling-interval") == 0) {
        return g_strdup_printf("%u", load(&b->interval_s));
    }
    if (strcmp(name, "guest-stats") != 0) {
        return NULL;
    }
    GString *out = g_string_new("{\"stats\": {");
    for (unsigned i = 0; i < STATS; i++) {
        g_string_append_printf(out, "%s\"%s\": %" PRIu64, i ? ", " : "", stat_names[i],
                               __atomic_load_n(&b->stats[i], __ATOMIC_RELAXED));
    }
    g_string_append_printf(out, "}, \"last-update\": %" PRId64 "}",
                           __atomic_load_n(&b->updated_s, __ATOMIC_RELAXED));
    return g_string_free(out, FALSE);
}

static bool extra_set(Device *d, const char *name, const char *json, Error **errp)
{
    VirtioBalloon *b = (VirtioBalloon *)d;
    char *end;
    int64_t s = strtoll(json, &end, 10);

    if (strcmp(name, "guest-stats") == 0) {
        return error_set(errp, "Insufficient permission to perform this operation");
    }
    if (*json == '\0' || *end != '\0') {
        return error_set(errp, "Invalid parameter type for '%s', expected: integer", name);
    }
    if (s < 0) {
        return error_set(errp, "timer value must be greater than zero");
    }
    if (s > UINT32_MAX) {
        return error_set(errp, "timer value is too big");
    }
    __atomic_store_n(&b->interval_s, (uint32_t)s, __ATOMIC_RELAXED);
    if (s == 0) {
        timer_stop(&b->timer);
    } else {
        ask_later(b);
    }
    return true;
}

static const DeviceExtra extra = { .each = extra_each, .get = extra_get, .set = extra_set };

/* --- life --- */

static bool balloon_realize(Device *d, Error **errp)
{
    VirtioBalloon *b = (VirtioBalloon *)d;

    if (d->machine->balloon != NULL) {
        return error_set(errp, "Only one balloon device is supported");
    }
    if (b->free_page_hint) {
        return error_set(errp, "free-page-hint=on is not supported: it serves migration alone");
    }
    virtio_queues(&b->v, b->free_page_reporting ? 4 : 3, 128);
    virtio_offer(&b->v, 1 << VIRTIO_BALLOON_F_STATS_VQ |
                            b->deflate_on_oom << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
                            b->page_poison << VIRTIO_BALLOON_F_PAGE_POISON |
                            b->free_page_reporting << VIRTIO_BALLOON_F_REPORTING);
    timer_init(&b->timer, b->v.worker->loop, CLOCK_VM, ask);
    memset(b->stats, 0xff, sizeof(b->stats));
    d->machine->balloon = d;
    d->machine->balloon_ops = &balloon_ops;
    return true;
}

static void balloon_unrealize(Device *d)
{
    timer_stop(&((VirtioBalloon *)d)->timer);
    d->machine->balloon = NULL;
}

/* The pages that were lent come back when the guest touches them. */
static void balloon_reset(Device *d, ResetKind kind)
{
    VirtioBalloon *b = (VirtioBalloon *)d;

    __atomic_store_n(&b->poison, 0, __ATOMIC_RELAXED);
    if (kind != RESET_GUEST) {
        __atomic_store_n(&b->actual, 0, __ATOMIC_RELAXED);
    }
}

static const PropDesc balloon_props[] = {
    PROP_BOOL(VirtioBalloon, deflate_on_oom, "deflate-on-oom", false,
              "the guest may take pages back when it runs out of memory"),
    PROP_BOOL(VirtioBalloon, free_page_reporting, "free-page-reporting", false,
              "take pages the guest does not use"),
    PROP_BOOL(VirtioBalloon, free_page_hint, "free-page-hint", false, "not supported"),
    PROP_BOOL(VirtioBalloon, page_poison, "page-poison", true, "learn how the guest fills free pages"),
    { 0 },
};

static const StateField balloon_fields[] = {
    STATE_U32(VirtioBalloon, num_pages), STATE_U32(VirtioBalloon, actual), STATE_U32(VirtioBalloon, poison),
    { 0 },
};

static const StateDesc balloon_state = { .name = "virtio-balloon", .version = 1, .fields = balloon_fields };

static const VirtioOps balloon_virtio_ops = {
    .id = VIRTIO_ID_BALLOON, .legacy_id = 0x1002, .class_code = 0x00ff00, .config_size = 16,
    .config_fill = config_fill, .config_wrote = config_wrote, .kick = balloon_kick, .halt = balloon_halt,
};

extern const DeviceType virtio_balloon;
const DeviceType virtio_balloon = {
    .name = "virtio-balloon", .summary = "memory the guest lends back", .slot = &virtio_slot,
    .size = sizeof(VirtioBalloon), .flags = DEV_HOTPLUG, .category = "Misc", .props = balloon_props,
    .state = &balloon_state, .slot_ops = &balloon_virtio_ops, .extra = &extra, .realize = balloon_realize,
    .unrealize = balloon_unrealize, .reset = balloon_reset,
};
