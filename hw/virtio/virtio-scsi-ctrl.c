/* virtio-scsi-ctrl.c: task management, and events for the guest (Virtio 1.2, 5.6.6.2 and 5.6.6.3).
 *
 *   control queue --tmf_start: scan posted to each request queue's loop--> requests marked, awaited
 *                 <--barrier opens: tmf_over-- every scan and every awaited request is over
 *
 * 1. One function runs at a time; the control queue is not looked at meanwhile.  A request that is with the
 *    host cannot be taken back: its end is awaited, and it is answered as aborted.
 * 2. An event without a buffer is lost, and that is told with the next buffer: nothing is kept, nothing
 *    grows. */
#include <linux/virtio_scsi.h>
#include "hw/virtio/virtio-scsi.h"

#define FUNCTION_COMPLETE VIRTIO_SCSI_S_OK             /* 5.6.6.2: the same number */

static VirtioScsi *scsi_of(VirtQueue *q)
{
    return (VirtioScsi *)vq_device(q);
}

/* --- task management --- */

static bool is_query(uint32_t subtype)
{
    return subtype == VIRTIO_SCSI_T_TMF_QUERY_TASK || subtype == VIRTIO_SCSI_T_TMF_QUERY_TASK_SET;
}

static bool concerns(const ScsiTmf *t, const ScsiJob *j)
{
    bool one = t->subtype == VIRTIO_SCSI_T_TMF_ABORT_TASK || t->subtype == VIRTIO_SCSI_T_TMF_QUERY_TASK;
    bool all = t->subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET;

    return j->c.target == t->target && (all || j->c.lun == t->lun) && (!one || j->tag == t->tag);
}

/* On the loop of a request queue. */
static void tmf_scan(Post *post)
{
    ScsiQueue *sq = container_of(post, ScsiQueue, scan);
    VirtioScsi *s = scsi_of(sq->q);
    ScsiTmf *t = &s->tmf;

    for (ScsiJob *j = sq->busy; j != NULL; j = j->next) {
        if (!concerns(t, j)) {
            continue;
        }
        __atomic_store_n(&t->found, true, __ATOMIC_RELAXED);
        if (!is_query(t->subtype) && !j->awaited) {
            j->aborted = j->awaited = true;
            barrier_enter(&t->home);
        }
    }
    barrier_leave(&t->home);
}

void virtio_scsi_job_over(VirtioScsi *s)
{
    barrier_leave(&s->tmf.home);
}

/* The reset proper, after what was under way. */
static void reset_units(VirtioScsi *s, const ScsiTmf *t)
{
    bool there;

    if (t->subtype == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET) {
        ScsiDev *d = scsi_find(&s->bus, t->target, t->lun, &there);
        if (d != NULL) {
            scsi_dev_reset(d, SCSI_UA_DEVICE_RESET);
        }
    } else if (t->subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET) {
        scsi_target_reset(&s->bus, t->target, SCSI_UA_BUS_RESET);
    }
}

static void respond(VirtioScsi *s, VirtQueue *q)
{
    TRACE(virtio_scsi_tmf, "%s subtype=%u target=%u lun=%u tag=%" PRIx64 " response=%u", s->v.dev.id,
          s->tmf.subtype, s->tmf.target, s->tmf.lun, s->tmf.tag, s->tmf.response);
    chain_write(&s->tmf.chain, &s->tmf.response, 1);
    vq_push(q, &s->tmf.chain);
    s->tmf.active = false;
}

/* On the control queue's loop. */
static void tmf_over(Post *post)
{
    VirtioScsi *s = container_of(post, VirtioScsi, tmf.over);
    VirtQueue *q = &s->v.queues[SCSI_Q_CONTROL];
    ScsiTmf *t = &s->tmf;

    if (is_query(t->subtype) && __atomic_load_n(&t->found, __ATOMIC_RELAXED)) {
        t->response = VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
    }
    reset_units(s, t);
    vq_begin(q);
    respond(s, q);
    if (q->running) {
        virtio_scsi_control(q);
    }
    vq_publish_soon(q);
}

/* What follows the type in a request of @n bytes; false: it is too short, the device is broken. */
static bool read_rest(VirtQueue *q, void *req, size_t n)
{
    VirtioScsi *s = scsi_of(q);

    n -= sizeof(uint32_t);
    if (chain_read(&s->tmf.chain, (uint8_t *)req + sizeof(uint32_t), n) != n) {
        virtio_break(&s->v, "queue %u: a control request cut short", q->index);
        return false;
    }
    return true;
}

static bool tmf_known(uint32_t subtype)
{
    return subtype <= VIRTIO_SCSI_T_TMF_QUERY_TASK_SET && subtype != VIRTIO_SCSI_T_TMF_CLEAR_ACA;
}

static void tmf_start(VirtioScsi *s, VirtQueue *q)
{
    struct virtio_scsi_ctrl_tmf_req req = { 0 };
    ScsiTmf *t = &s->tmf;
    bool there = false, whole;

    if (!read_rest(q, &req, sizeof(req))) {
        vq_push(q, &t->chain);
        return;
    }
    t->active = true;
    t->subtype = le32toh(req.subtype);
    t->tag = req.tag;
    t->found = false;
    t->response = FUNCTION_COMPLETE;
    whole = t->subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET;
    if (!tmf_known(t->subtype)) {
        t->response = VIRTIO_SCSI_S_FUNCTION_REJECTED;
    } else if (!virtio_scsi_address(req.lun, &t->target, &t->lun)) {
        t->response = VIRTIO_SCSI_S_BAD_TARGET;
    } else if (scsi_find(&s->bus, t->target, t->lun, &there) == NULL && !(whole && there)) {
        t->response = there ? VIRTIO_SCSI_S_INCORRECT_LUN : VIRTIO_SCSI_S_BAD_TARGET;
    }
    if (t->response != FUNCTION_COMPLETE) {
        respond(s, q);
        return;
    }
    barrier_init(&t->home, q->loop, &t->over);
    for (unsigned i = 0; i < s->num_queues; i++) {
        barrier_enter(&t->home);
        loop_post(s->rq[i].q->loop, &s->rq[i].scan);
    }
    barrier_leave(&t->home);
}

/* Asynchronous notification: no class of events is offered. */
static void notification(VirtioScsi *s, VirtQueue *q)
{
    struct virtio_scsi_ctrl_an_req req = { 0 };
    struct virtio_scsi_ctrl_an_resp resp = { .response = VIRTIO_SCSI_S_OK };
    uint32_t target, lun;
    bool there;

    if (read_rest(q, &req, sizeof(req)) && (!virtio_scsi_address(req.lun, &target, &lun) ||
               scsi_find(&s->bus, target, lun, &there) == NULL)) {
        resp.response = VIRTIO_SCSI_S_BAD_TARGET;
    }
    chain_write(&s->tmf.chain, &resp, sizeof(resp));
    vq_push(q, &s->tmf.chain);
}

void virtio_scsi_control(VirtQueue *q)
{
    VirtioScsi *s = scsi_of(q);
    ScsiTmf *t = &s->tmf;

    while (!t->active && vq_pop(q, &t->chain)) {
        uint32_t type;

        if (chain_read(&t->chain, &type, sizeof(type)) != sizeof(type)) {
            virtio_break(&s->v, "queue %u: a request shorter than its type", q->index);
            vq_push(q, &t->chain);
            return;
        }
        switch (le32toh(type)) {
        case VIRTIO_SCSI_T_TMF:
            tmf_start(s, q);
            break;
        case VIRTIO_SCSI_T_AN_QUERY:
        case VIRTIO_SCSI_T_AN_SUBSCRIBE:
            notification(s, q);
            break;
        default:
            guest_bug(s->v.dev.id, "a control request of type %u", le32toh(type));
            vq_push(q, &t->chain);
            break;
        }
    }
}

/* --- events --- */

typedef struct ScsiEvent {
    Post post;
    VirtioScsi *s;
    struct virtio_scsi_event e;
} ScsiEvent;

/* True: told, with what was missed before. */
static bool put_event(VirtioScsi *s, VirtQueue *q, struct virtio_scsi_event e)
{
    VirtChain c;

    if (!vq_pop(q, &c)) {
        return false;
    }
    if (s->missed) {
        e.event |= htole32(VIRTIO_SCSI_T_EVENTS_MISSED);
        s->missed = false;
    }
    TRACE(virtio_scsi_event, "%s event=0x%x lun=%02x%02x%02x%02x reason=0x%x", s->v.dev.id,
          le32toh(e.event), e.lun[0], e.lun[1], e.lun[2], e.lun[3], le32toh(e.reason));
    if (chain_write(&c, &e, sizeof(e)) != sizeof(e)) {
        virtio_break(&s->v, "queue %u: an event buffer of less than %zu bytes", q->index, sizeof(e));
    }
    vq_push(q, &c);
    return true;
}

static void event_here(Post *post)
{
    ScsiEvent *e = container_of(post, ScsiEvent, post);
    VirtioScsi *s = e->s;
    VirtQueue *q = &s->v.queues[SCSI_Q_EVENT];

    if (!q->running || !vq_begin(q) || !put_event(s, q, e->e)) {
        s->missed = true;
    } else {
        vq_publish(q);
    }
    g_free(e);
}

void virtio_scsi_tell(VirtioScsi *s, uint32_t event, const ScsiDev *d, uint32_t reason)
{
    ScsiEvent *e = g_new0(ScsiEvent, 1);

    e->s = s;
    e->post.run = event_here;
    e->e.event = htole32(event);
    e->e.reason = htole32(reason);
    e->e.lun[0] = 1;
    e->e.lun[1] = (uint8_t)d->id;
    e->e.lun[2] = (uint8_t)(d->lun < 256 ? 0 : 0x40 | d->lun >> 8);
    e->e.lun[3] = d->lun & 0xff;
    loop_post(s->v.queues[SCSI_Q_EVENT].loop, &e->post);
}

/* The driver gave buffers: what was lost is told at once. */
void virtio_scsi_event(VirtQueue *q)
{
    VirtioScsi *s = scsi_of(q);

    if (s->missed) {
        put_event(s, q, (struct virtio_scsi_event){ .event = htole32(VIRTIO_SCSI_T_NO_EVENT) });
    }
}

void virtio_scsi_ctrl_init(VirtioScsi *s)
{
    s->tmf.over.run = tmf_over;
    for (unsigned i = 0; i < s->num_queues; i++) {
        s->rq[i].scan.run = tmf_scan;
    }
}
