/* virtio.c: the life of a virtio device and its queues (Virtio 1.2, chapters 2 and 3).
 *
 *   idle --virtio_start, resume--> handed over --queue_come_home (on the loop: no chain in flight)--> idle
 *
 * 1. A queue is handed over by start_post and asked back by stop_post; both run on its loop, in the
 *    order they were posted.  Neither is posted again before the barrier of the stop has opened.
 * 2. Reset by the driver: status keeps its old value until every queue is home (stop_done, on the
 *    device loop).  A legacy driver does not look, so for it the vCPU waits: workers never wait for
 *    a domain.
 * 3. A quiesce that meets a reset waits for it (quiet_home). */
#include "hw/virtio/virtio-int.h"

#include <errno.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include "core/machine.h"

static void finish_stops(VirtioDevice *v);

/* --- a broken device --- */

void virtio_break(VirtioDevice *v, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    guest_bug(v->dev.id, "%s", text);
    if (!__atomic_exchange_n(&v->broken, true, __ATOMIC_SEQ_CST) &&
        virtio_has(v, VIRTIO_F_VERSION_1) && v->transport) {
        /* 2.1.2: tell a driver that reached DRIVER_OK by a configuration change. */
        v->transport->config_irq(v);
    }
}

/* --- a queue on its loop --- */

static void queue_run(VirtQueue *q)
{
    if (q->running && vq_begin(q)) {
        virtio_ops(q->v)->kick(q);
        vq_publish(q);
    }
}

static void queue_ready(void *arg, unsigned events)
{
    VirtQueue *q = arg;

    notifier_take(&q->kick);
    queue_run(q);
}

static bool queue_poll(void *arg)
{
    VirtQueue *q = arg;
    uint16_t before = q->last_avail;

    if (!q->running || __atomic_load_n(&q->v->broken, __ATOMIC_RELAXED) || !vq_begin(q) ||
        !vq_ready(q)) {
        return false;
    }
    virtio_ops(q->v)->kick(q);
    vq_publish(q);
    /* A device that cannot take what is there now has found no work. */
    return q->last_avail != before;
}

/* The loop looks by itself: the driver's kicks would only cost it exits. */
static void queue_poll_begin(void *arg)
{
    vq_polled(arg, true);
}

static bool queue_poll_end(void *arg)
{
    vq_polled(arg, false);
    return queue_poll(arg);
}

static const LoopPollOps queue_polls = { queue_poll, queue_poll_begin, queue_poll_end };

static void queue_go(Post *post)
{
    VirtQueue *q = container_of(post, VirtQueue, start_post);

    q->running = true;
    q->notify_on = q->polled = false;
    q->again = q->parked.length;
    q->found = 0;
    loop_watch(q->loop, q->kick.fd, EPOLLIN, queue_ready, q);
    loop_poll_add(q->loop, &queue_polls, q);
    TRACE(virtio_queue_start, "%s queue=%u size=%u", q->v->dev.id, q->index, q->size);
    queue_run(q);
}

static void queue_come_home(Post *post)
{
    VirtQueue *q = container_of(post, VirtQueue, stop_post);

    if (q->running) {
        loop_unwatch(q->loop, q->kick.fd);
        loop_poll_remove(q->loop, &queue_polls, q);
        if (virtio_ops(q->v)->halt) {
            virtio_ops(q->v)->halt(q);
        }
        q->running = false;
    }
    TRACE(virtio_queue_stop, "%s queue=%u inflight=%u", q->v->dev.id, q->index, q->inflight);
    if (q->inflight || q->publish_queued) {
        q->halting = true;     /* vq_publish() of the last one leaves the barrier */
        return;
    }
    Barrier *home = q->home;
    q->home = NULL;
    barrier_leave(home);
}

static void publish_now(Post *post)
{
    VirtQueue *q = container_of(post, VirtQueue, publish_post);

    q->publish_queued = false;
    /* Also when nothing is in flight any more: the ring has to be found in this turn. */
    vq_lookup(q);
    vq_publish(q);
}

void vq_publish_soon(VirtQueue *q)
{
    assert_loop(q->loop);
    if (q->publish_queued) {
        return;
    }
    if (q->inflight == 0) {
        vq_publish(q);
        return;
    }
    q->publish_queued = true;
    loop_post(q->loop, &q->publish_post);
}

/* --- handing over --- */

static bool areas_aligned(const VirtQueue *q, bool packed)
{
    return packed ? !(q->desc % 16) && !(q->driver % 4) && !(q->device % 4)
                  : !(q->desc % 16) && !(q->driver % 2) && !(q->device % 4);
}

static void queue_hand_over(VirtQueue *q)
{
    VirtioDevice *v = q->v;
    bool packed = virtio_has(v, VIRTIO_F_RING_PACKED);

    if (q->handed || !q->enabled || q->resetting || q->dormant) {
        return;
    }
    if (q->size == 0 || q->size > q->size_max || (!packed && (q->size & (q->size - 1))) ||
        !areas_aligned(q, packed)) {
        virtio_break(v, "queue %u: size %u, areas 0x%" PRIx64 " 0x%" PRIx64 " 0x%" PRIx64, q->index,
                     q->size, q->desc, q->driver, q->device);
        return;
    }
    g_autoptr(Error) err = NULL;
    if (q->kick.fd < 0 && !notifier_open(&q->kick, &err)) {
        warn_report("%s: %s", v->dev.id, error_text(err));
        virtio_break(v, "queue %u: no notifier", q->index);
        return;
    }
    if (!q->segs) {
        q->segs = g_new(VirtSeg, VIRTQUEUE_MAX);
    }
    q->packed = packed;
    q->event_idx = virtio_has(v, VIRTIO_RING_F_EVENT_IDX);
    q->in_order = virtio_has(v, VIRTIO_F_IN_ORDER);
    q->notify_on_empty = virtio_has(v, VIRTIO_F_NOTIFY_ON_EMPTY) && !virtio_has(v, VIRTIO_F_VERSION_1);
    if (q->in_order) {
        q->order = g_renew(VirtOrder, q->order, q->size);
        if (q->parked.length == 0) {
            q->order_head = q->order_count = 0;
        }
    }
    if (q->last_avail >= q->size && packed) {
        q->last_avail = q->used_idx = 0;
    }
    q->handed = true;
    loop_post(q->loop, &q->start_post);
}

/* Asks @q back; it leaves @home (entered here) when no chain is in flight. */
static void queue_ask_back(VirtQueue *q, Barrier *home)
{
    if (q->handed) {
        q->handed = false;
        barrier_enter(home);
        q->home = home;
        loop_post(q->loop, &q->stop_post);
    }
}

static void ask_all_back(VirtioDevice *v, Barrier *home)
{
    for (unsigned i = 0; i < v->queue_count; i++) {
        queue_ask_back(&v->queues[i], home);
    }
}

static void hand_all_over(VirtioDevice *v)
{
    for (unsigned i = 0; i < v->queue_count; i++) {
        queue_hand_over(&v->queues[i]);
    }
    v->transport->doorbells(v, true);
}

static void queue_fields_reset(VirtQueue *q)
{
    q->size = q->size_max;
    q->desc = q->driver = q->device = 0;
    q->enabled = false;
    q->last_avail = q->used_idx = q->told_idx = q->added = 0;
    q->avail_wrap = q->used_wrap = true;
    q->order_head = q->order_count = 0;
    vq_forget_parked(q);
    __atomic_store_n(&q->vector, VIRTIO_NO_VECTOR, __ATOMIC_RELAXED);
}

/* --- start, stop, reset --- */

static void virtio_start(VirtioDevice *v)
{
    g_autoptr(Error) err = NULL;

    v->started = true;
    TRACE(virtio_start, "%s features=0x%" PRIx64, v->dev.id, v->agreed);
    if (virtio_ops(v)->start && !virtio_ops(v)->start(v, &err)) {
        virtio_break(v, "%s", error_text(err));
        return;
    }
    if (!v->quiet) {
        hand_all_over(v);
    }
}

/* Everything as after power-on; the queues are home. */
static void fields_reset(VirtioDevice *v)
{
    v->acked = v->agreed = 0;
    v->status = 0;
    v->started = false;
    __atomic_store_n(&v->broken, false, __ATOMIC_SEQ_CST);
    __atomic_store_n(&v->config_vector, VIRTIO_NO_VECTOR, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < v->queue_count; i++) {
        queue_fields_reset(&v->queues[i]);
    }
}

static void reset_finished(VirtioDevice *v)
{
    fields_reset(v);
    v->stopping = false;
    v->transport->reset(v);
    if (v->dev.type->reset) {
        v->dev.type->reset(&v->dev, RESET_GUEST);
    }
    TRACE(virtio_reset, "%s", v->dev.id);
}

/* On the device loop: every queue came home. */
static void stop_opened(Post *post)
{
    VirtioDevice *v = container_of(post, VirtioDevice, stop_done);

    domain_enter(v->dev.domain);
    reset_finished(v);
    v->stops--;
    finish_stops(v);
    domain_leave(v->dev.domain);
}

typedef struct SyncStop {
    Barrier home;
    Post opened;
    sem_t sem;
} SyncStop;

static void sync_opened(Post *post)
{
    sem_post(&container_of(post, SyncStop, opened)->sem);
}

/* A legacy driver expects the device to be quiet when the write returns (4.1.4.8 says nothing of
 * waiting): the vCPU waits for the worker. */
static void stop_and_wait(VirtioDevice *v)
{
    SyncStop s = { .opened.run = sync_opened };

    sem_init(&s.sem, 0, 0);
    barrier_init(&s.home, v->worker->loop, &s.opened);
    if (virtio_ops(v)->stop) {
        virtio_ops(v)->stop(v, &s.home);
    }
    ask_all_back(v, &s.home);
    barrier_leave(&s.home);
    lock_worker_wait_begin();
    while (sem_wait(&s.sem) < 0 && errno == EINTR) {
    }
    lock_worker_wait_end();
    sem_destroy(&s.sem);
    reset_finished(v);
}

static void virtio_reset_begin(VirtioDevice *v, bool legacy)
{
    if (v->stopping) {
        return;
    }
    v->transport->doorbells(v, false);
    bool busy = false;
    for (unsigned i = 0; i < v->queue_count; i++) {
        busy |= v->queues[i].handed;
    }
    if (!busy && v->stops == 0) {
        reset_finished(v);
        return;
    }
    if (legacy && v->stops == 0) {
        stop_and_wait(v);
        return;
    }
    v->stopping = true;
    v->stops++;
    barrier_init(&v->stop_home, v->dev.loop, &v->stop_done);
    if (virtio_ops(v)->stop) {
        virtio_ops(v)->stop(v, &v->stop_home);
    }
    ask_all_back(v, &v->stop_home);
    barrier_leave(&v->stop_home);
}

/* --- status and features (2.1, 2.2) --- */

uint8_t virtio_status(const VirtioDevice *v)
{
    bool broken = __atomic_load_n(&v->broken, __ATOMIC_RELAXED);

    return v->status | (broken ? VIRTIO_CONFIG_S_NEEDS_RESET : 0);
}

uint64_t virtio_offered(const VirtioDevice *v, bool legacy)
{
    if (legacy) {
        return v->offered & UINT32_MAX;
    }
    return v->offered & ~(UINT64_C(1) << VIRTIO_F_NOTIFY_ON_EMPTY | UINT64_C(1) << VIRTIO_F_ANY_LAYOUT);
}

static bool agree(VirtioDevice *v, bool legacy)
{
    uint64_t unknown = v->acked & ~virtio_offered(v, legacy);

    if (unknown) {
        guest_bug(v->dev.id, "features 0x%" PRIx64 " were not offered", unknown);
        return false;
    }
    if (!legacy && !(v->acked >> VIRTIO_F_VERSION_1 & 1)) {
        guest_bug(v->dev.id, "a driver without VERSION_1");
        return false;
    }
    if (virtio_ops(v)->accept && !virtio_ops(v)->accept(v, v->acked)) {
        guest_bug(v->dev.id, "features 0x%" PRIx64 " are not enough", v->acked);
        return false;
    }
    v->agreed = v->acked;
    return true;
}

void virtio_set_status(VirtioDevice *v, uint8_t val, bool legacy)
{
    assert_domain(v->dev.domain);
    TRACE(virtio_status, "%s status=0x%x", v->dev.id, val);
    if (val == 0) {
        virtio_reset_begin(v, legacy);
        return;
    }
    if (v->stopping) {
        guest_bug(v->dev.id, "status 0x%x during a reset", val);
        return;
    }
    uint8_t set = val & ~v->status;
    if ((set & VIRTIO_CONFIG_S_FEATURES_OK) && !agree(v, legacy)) {
        val &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
        set &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
    }
    if ((set & VIRTIO_CONFIG_S_DRIVER_OK) && legacy && !agree(v, true)) {
        /* No way to tell a legacy driver: what it may have is what was offered. */
        v->agreed = v->acked & virtio_offered(v, true);
    }
    v->status |= val & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK |
                        VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED);
    if ((set & VIRTIO_CONFIG_S_DRIVER_OK) && !v->started) {
        if (!legacy && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
            v->status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
            guest_bug(v->dev.id, "DRIVER_OK before FEATURES_OK");
            return;
        }
        virtio_start(v);
    }
}

/* --- queues, for transports --- */

void virtio_queue_enable(VirtQueue *q)
{
    VirtioDevice *v = q->v;

    assert_domain(v->dev.domain);
    if (v->stopping || q->resetting || q->enabled) {
        return;
    }
    q->enabled = true;
    if (v->started && !v->quiet) {
        /* After a ring reset (2.6.1), or a driver that enables late. */
        queue_hand_over(q);
        v->transport->doorbells(v, true);
    }
}

void virtio_queue_wake(VirtQueue *q)
{
    VirtioDevice *v = q->v;

    assert_domain(v->dev.domain);
    q->dormant = false;
    if (v->started && !v->quiet && !v->stopping) {
        queue_hand_over(q);
        v->transport->doorbells(v, true);
    }
}

static void ring_reset_opened(Post *post)
{
    VirtQueue *q = container_of(post, VirtQueue, reset_done);
    VirtioDevice *v = q->v;

    domain_enter(v->dev.domain);
    uint16_t vector = q->vector;
    queue_fields_reset(q);
    q->vector = vector;
    q->resetting = false;
    v->stops--;
    finish_stops(v);
    domain_leave(v->dev.domain);
}

void virtio_queue_reset(VirtQueue *q)
{
    VirtioDevice *v = q->v;

    assert_domain(v->dev.domain);
    if (!virtio_has(v, VIRTIO_F_RING_RESET) || v->stopping || q->resetting) {
        return;
    }
    q->resetting = true;
    v->stops++;
    q->enabled = false;
    barrier_init(&q->reset_home, v->dev.loop, &q->reset_done);
    queue_ask_back(q, &q->reset_home);
    v->transport->doorbells(v, true);
    barrier_leave(&q->reset_home);
}

void virtio_queue_kick(VirtQueue *q)
{
    if (q->kick.fd >= 0) {
        notifier_signal(&q->kick);
    }
}

/* --- configuration space of the device (2.5) --- */

void virtio_config_read(VirtioDevice *v, unsigned off, uint8_t *data, unsigned size)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = { 0 };
    const VirtioOps *o = virtio_ops(v);

    assert_domain(v->dev.domain);
    memset(data, 0, size);
    if (!fits(off, size, VIRTIO_CONFIG_MAX) || !fits(off, size, ALIGN_UP(o->config_size, 4))) {
        return;
    }
    if (o->config_fill) {
        o->config_fill(v, config);
    }
    memcpy(data, config + off, size);
}

void virtio_config_write(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size)
{
    const VirtioOps *o = virtio_ops(v);

    assert_domain(v->dev.domain);
    if (fits(off, size, o->config_size) && o->config_wrote && !v->stopping) {
        o->config_wrote(v, off, data, size);
    }
}

void virtio_config_changed(VirtioDevice *v)
{
    assert_domain(v->dev.domain);
    v->generation++;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK) {
        v->transport->config_irq(v);
    }
}

/* --- for device types --- */

void virtio_queues(VirtioDevice *v, unsigned count, uint16_t size)
{
    assert_control();
    g_assert(!v->queues && size <= VIRTQUEUE_MAX);
    v->queues = g_new0(VirtQueue, count);
    v->queue_count = count;
    for (unsigned i = 0; i < count; i++) {
        VirtQueue *q = &v->queues[i];
        q->v = v;
        q->index = (uint16_t)i;
        q->size_max = size;
        q->loop = v->worker->loop;
        q->kick.fd = -1;
        q->start_post.run = queue_go;
        q->stop_post.run = queue_come_home;
        q->reset_done.run = ring_reset_opened;
        q->publish_post.run = publish_now;
        queue_fields_reset(q);
    }
}

void virtio_offer(VirtioDevice *v, uint64_t features)
{
    v->offered |= features;
}

VirtioDevice *virtio_inner(const Device *proxy)
{
    return (VirtioDevice *)proxy->inner;
}

/* --- the slot --- */

static bool virtio_attach(Bus *b, Device *d, Error **errp)
{
    VirtioDevice *v = (VirtioDevice *)d;
    const VirtioOps *o = virtio_ops(v);

    v->transport = b->priv;
    v->proxy = b->owner;
    v->worker = v->iothread ? v->iothread : iothread_default();
    v->worker->users++;
    v->stop_done.run = stop_opened;
    v->config_vector = VIRTIO_NO_VECTOR;
    v->saved = g_byte_array_new();
    v->saved_parked = g_byte_array_new();
    v->offered = o->features | UINT64_C(1) << VIRTIO_F_VERSION_1 |
                 (uint64_t)v->p_event_idx << VIRTIO_RING_F_EVENT_IDX |
                 (uint64_t)v->p_indirect << VIRTIO_RING_F_INDIRECT_DESC |
                 (uint64_t)v->p_packed << VIRTIO_F_RING_PACKED |
                 (uint64_t)v->p_in_order << VIRTIO_F_IN_ORDER |
                 (uint64_t)v->p_iommu << VIRTIO_F_ACCESS_PLATFORM |
                 (uint64_t)v->p_ring_reset << VIRTIO_F_RING_RESET |
                 (uint64_t)v->p_any_layout << VIRTIO_F_ANY_LAYOUT |
                 (uint64_t)v->p_notify_on_empty << VIRTIO_F_NOTIFY_ON_EMPTY;
    return true;
}

static void stop_here(void *arg)
{
    VirtQueue *q = arg;

    if (q->running) {
        loop_unwatch(q->loop, q->kick.fd);
        loop_poll_remove(q->loop, &queue_polls, q);
        q->running = false;
    }
}

static void virtio_detach(Bus *b, Device *d)
{
    VirtioDevice *v = (VirtioDevice *)d;

    for (unsigned i = 0; i < v->queue_count; i++) {
        VirtQueue *q = &v->queues[i];
        if (q->handed) {
            /* Destroyed without a quiesce: the process ends. */
            loop_call_wait(q->loop, stop_here, q);
        }
        if (q->kick.fd >= 0) {
            notifier_close(&q->kick);
        }
        vq_forget_parked(q);
        if (q->thread != NULL) {
            q->thread->users--;
        }
        g_free(q->segs);
        g_free(q->order);
    }
    g_clear_pointer(&v->queues, g_free);
    v->queue_count = 0;
    g_clear_pointer(&v->saved, g_byte_array_unref);
    g_clear_pointer(&v->saved_parked, g_byte_array_unref);
    v->worker->users--;
}

static void virtio_slot_reset(Device *d, ResetKind kind)
{
    fields_reset((VirtioDevice *)d);
}

static void quiesce_queues(VirtioDevice *v, Barrier *home)
{
    if (virtio_ops(v)->stop) {
        virtio_ops(v)->stop(v, home);
    }
    ask_all_back(v, home);
    barrier_leave(home);
}

/* A reset of the device or of a ring is over. */
static void finish_stops(VirtioDevice *v)
{
    Barrier *home = v->quiet_home;

    if (v->stops == 0 && home) {
        v->quiet_home = NULL;
        quiesce_queues(v, home);
    }
}

static void virtio_quiesce(Device *d, Barrier *home)
{
    VirtioDevice *v = (VirtioDevice *)d;

    v->quiet = true;
    if (v->stops) {
        v->quiet_home = home;
    } else {
        quiesce_queues(v, home);
    }
}

static void virtio_resume(Device *d)
{
    VirtioDevice *v = (VirtioDevice *)d;

    v->quiet = false;
    if (v->status & VIRTIO_CONFIG_S_DRIVER_OK && !v->stopping) {
        if (!v->started) {
            virtio_start(v);               /* loaded */
        } else {
            hand_all_over(v);
        }
    }
}

/* --- state: each queue is QUEUE_BYTES of the blob, in the order of the struct below --- */

#define QUEUE_BYTES 44

static void before_save(void *obj)
{
    VirtioDevice *v = obj;

    g_byte_array_set_size(v->saved, 0);
    for (unsigned i = 0; i < v->queue_count; i++) {
        const VirtQueue *q = &v->queues[i];
        uint8_t b[QUEUE_BYTES] = { 0 };
        st64(b, q->desc);
        st64(b + 8, q->driver);
        st64(b + 16, q->device);
        st16(b + 24, q->size);
        st16(b + 26, q->vector);
        st16(b + 28, q->last_avail);
        st16(b + 30, q->used_idx);
        st16(b + 32, q->told_idx);
        st16(b + 34, q->added);
        b[36] = q->enabled;
        b[37] = q->avail_wrap;
        b[38] = q->used_wrap;
        g_byte_array_append(v->saved, b, sizeof(b));
    }
    virtio_save_parked(v);
}

static bool check(void *obj, Error **errp)
{
    VirtioDevice *v = obj;
    unsigned len = v->saved ? v->saved->len : 0;

    if (len != v->queue_count * QUEUE_BYTES) {
        return error_set(errp, "%u bytes of queues, not %u", len, v->queue_count * QUEUE_BYTES);
    }
    /* What the driver wrote may be nonsense as long as it was not agreed to. */
    if (v->agreed & ~v->offered) {
        return error_set(errp, "features 0x%" PRIx64 " are not offered here", v->agreed & ~v->offered);
    }
    for (unsigned i = 0; i < v->queue_count; i++) {
        VirtQueue *q = &v->queues[i];
        const uint8_t *b = v->saved->data + i * QUEUE_BYTES;
        bool packed = virtio_has(v, VIRTIO_F_RING_PACKED);
        uint16_t size = ld16(b + 24);
        if (size == 0 || size > q->size_max || b[36] > 1 || b[37] > 1 || b[38] > 1 ||
            (packed && (ld16(b + 28) >= size || ld16(b + 30) >= size))) {
            return error_set(errp, "queue %u: size %u, indexes %u and %u", i, size, ld16(b + 28),
                             ld16(b + 30));
        }
        q->desc = ld64(b);
        q->driver = ld64(b + 8);
        q->device = ld64(b + 16);
        q->size = size;
        q->vector = ld16(b + 26);
        q->last_avail = ld16(b + 28);
        q->used_idx = ld16(b + 30);
        q->told_idx = ld16(b + 32);
        q->added = ld16(b + 34);
        q->enabled = b[36];
        q->avail_wrap = b[37];
        q->used_wrap = b[38];
    }
    return virtio_load_parked(v, errp);
}

static const StateField virtio_fields[] = {
    STATE_U64(VirtioDevice, acked),
    STATE_U64(VirtioDevice, agreed),
    STATE_U8(VirtioDevice, status),
    STATE_U8(VirtioDevice, generation),
    STATE_BOOL(VirtioDevice, broken),
    STATE_U16(VirtioDevice, config_vector),
    STATE_BLOB(VirtioDevice, saved, 2048 * QUEUE_BYTES),
    STATE_BLOB(VirtioDevice, saved_parked, VIRTIO_PARKED_MAX),
    { 0 },
};

static const StateDesc virtio_state = {
    .name = "virtio", .version = 1, .fields = virtio_fields, .before_save = before_save, .check = check,
};

static const PropDesc virtio_props[] = {
    PROP_LINK(VirtioDevice, iothread, "iothread", "iothread", "worker that serves the queues"),
    PROP_BOOL(VirtioDevice, p_event_idx, "event_idx", true, "offer event indexes"),
    PROP_BOOL(VirtioDevice, p_indirect, "indirect_desc", true, "offer indirect descriptors"),
    PROP_BOOL(VirtioDevice, p_packed, "packed", false, "offer packed rings"),
    PROP_BOOL(VirtioDevice, p_in_order, "in_order", false, "offer to use buffers in order"),
    PROP_BOOL(VirtioDevice, p_iommu, "iommu_platform", false, "offer ACCESS_PLATFORM"),
    PROP_BOOL(VirtioDevice, p_ring_reset, "queue_reset", true, "offer the reset of single queues"),
    PROP_BOOL(VirtioDevice, p_any_layout, "any_layout", true, "legacy: accept any descriptor layout"),
    PROP_BOOL(VirtioDevice, p_notify_on_empty, "notify_on_empty", true, "legacy: offer NOTIFY_ON_EMPTY"),
    PROP_BOOL(VirtioDevice, p_use_started, "use-started", true, "kept for configuration files"),
    PROP_BOOL(VirtioDevice, p_use_disabled, "use-disabled-flag", true, "kept for configuration files"),
    PROP_BOOL(VirtioDevice, p_legacy_check, "x-disable-legacy-check", false,
              "kept for configuration files"),
    PROP_BOOL(VirtioDevice, p_ignore_backend, "x-ignore-backend-features", false,
              "kept for configuration files"),
    { 0 },
};

const SlotType virtio_slot = {
    .name = "virtio",
    .bus = "virtio-bus",
    .suffix = "-device",
    .base_size = sizeof(VirtioDevice),
    .props = virtio_props,
    .state = &virtio_state,
    .attach = virtio_attach,
    .detach = virtio_detach,
    .reset = virtio_slot_reset,
    .quiesce = virtio_quiesce,
    .resume = virtio_resume,
};
