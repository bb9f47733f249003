/* virtio-scsi.c: a SCSI host adapter (Virtio 1.2, section 5.6): requests, configuration, life.
 *
 *   scsi_kick --job_start--> scsi_cmd_start() --> done: response, push     (a ScsiJob is its queue's loop's)
 *                                             \-> stopped: vq_park
 *
 * 1. Data goes straight to and from the guest's memory; the response is written when the command is over.
 * 2. A request that stops the machine is parked (vq_park): it is made again when the machine goes on.
 * 3. Units on the bus know nothing of queues; they come and go while requests run (hw/scsi/scsi.h). */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_scsi.h>
#include "core/machine.h"
#include "hw/virtio/virtio-scsi.h"

#define AUTO_QUEUES UINT32_MAX
#define QUEUES_MAX 1021        /* control, event, and these: 1023 is the last a driver may select */
#define SENSE_MAX 252          /* SPC-4, 4.5.1 */
#define CDB_MAX 260            /* SPC-4, 4.2.3 */
#define TARGETS 256
#define LUNS 16384
#define RESP_HEAD 12           /* bytes of a response before the sense data */

static VirtioScsi *scsi_of(VirtQueue *q)
{
    return (VirtioScsi *)vq_device(q);
}

static ScsiJob *job_of(ScsiCmd *c)
{
    return container_of(c, ScsiJob, c);
}

/* --- jobs --- */

static ScsiJob *job_get(VirtioScsi *s, ScsiQueue *sq)
{
    ScsiJob *j = sq->free;

    if (j != NULL) {
        sq->free = j->next;
    } else {
        /* As many as the queue has entries at most. */
        j = g_new0(ScsiJob, 1);
    }
    j->s = s;
    j->aborted = j->awaited = false;
    j->niov = j->nresp = 0;
    return j;
}

static void job_put(ScsiQueue *sq, ScsiJob *j)
{
    j->next = sq->free;
    sq->free = j;
}

static void job_list(ScsiQueue *sq, ScsiJob *j)
{
    j->prev = NULL;
    j->next = sq->busy;
    if (j->next != NULL) {
        j->next->prev = j;
    }
    sq->busy = j;
}

static void job_unlist(ScsiQueue *sq, ScsiJob *j)
{
    if (j->prev != NULL) {
        j->prev->next = j->next;
    } else {
        sq->busy = j->next;
    }
    if (j->next != NULL) {
        j->next->prev = j->prev;
    }
    if (j->awaited) {
        virtio_scsi_job_over(j->s);
    }
}

static void room_for(struct iovec **iov, unsigned *cap, unsigned want)
{
    if (*cap < want) {
        *cap = MAX(want, 16);
        *iov = g_renew(struct iovec, *iov, *cap);
    }
}

/* --- the end of a request --- */

static uint8_t response_of(const ScsiJob *j)
{
    if (j->aborted) {
        return VIRTIO_SCSI_S_ABORTED;
    }
    switch (j->c.result) {
    case SCSI_DONE:
        return VIRTIO_SCSI_S_OK;
    case SCSI_NO_TARGET:
        return VIRTIO_SCSI_S_BAD_TARGET;
    case SCSI_OVERRUN:
        return VIRTIO_SCSI_S_OVERRUN;
    default:
        return VIRTIO_SCSI_S_FAILURE;
    }
}

/* Writes the response and ends the pins of both. */
static void respond(ScsiJob *j, uint8_t response)
{
    Device *d = &j->s->v.dev;
    uint8_t raw[RESP_HEAD + SENSE_MAX] = { 0 }, *p = raw;
    size_t len = RESP_HEAD + j->sense_size;
    bool checked = response == VIRTIO_SCSI_S_OK && j->c.status == SCSI_CHECK_CONDITION;
    uint64_t room = j->c.room_in + j->c.room_out, moved = response == VIRTIO_SCSI_S_OK ? j->c.moved : 0;

    if (j->niov > 0) {
        dma_unmap(d, j->iov, j->niov, j->c.room_in > 0 ? j->c.moved : 0);
    }
    if (checked) {
        uint8_t sense[SENSE_FIXED];
        put_sense(sense, j->c.sense);
        memcpy(raw + RESP_HEAD, sense, MIN(j->sense_size, SENSE_FIXED));
        st32(raw, MIN(j->sense_size, SENSE_FIXED));
    }
    st32(raw + 4, (uint32_t)MIN(room - moved, UINT32_MAX));
    raw[10] = response == VIRTIO_SCSI_S_OK ? j->c.status : 0;
    raw[11] = response;
    for (unsigned i = 0; i < j->nresp; i++) {
        memcpy(j->resp[i].iov_base, p, j->resp[i].iov_len);
        p += j->resp[i].iov_len;
    }
    dma_unmap(d, j->resp, j->nresp, len);
    j->chain.written = len + (j->c.room_in > 0 ? j->c.moved : 0);
}

static void answer(ScsiJob *j, uint8_t response)
{
    VirtQueue *q = j->chain.q;
    ScsiQueue *sq = q->opaque;

    respond(j, response);
    vq_push(q, &j->chain);
    job_unlist(sq, j);
    job_put(sq, j);
    vq_publish_soon(q);
}

static void host_done(ScsiCmd *c)
{
    ScsiJob *j = job_of(c);

    vq_begin(j->chain.q);
    answer(j, response_of(j));
}

static void host_stopped(ScsiCmd *c)
{
    ScsiJob *j = job_of(c);
    VirtQueue *q = j->chain.q;
    ScsiQueue *sq = q->opaque;

    vq_begin(q);
    if (j->aborted) {
        answer(j, VIRTIO_SCSI_S_ABORTED);
        return;
    }
    dma_unmap(&j->s->v.dev, j->iov, j->niov, 0);
    dma_unmap(&j->s->v.dev, j->resp, j->nresp, 0);
    vq_park(q, &j->chain, &j->kept);
    job_unlist(sq, j);
    job_put(sq, j);
    vq_publish_soon(q);
}

/* --- its data --- */

static size_t host_put(ScsiCmd *c, const void *buf, size_t n)
{
    return chain_write(&job_of(c)->chain, buf, n);
}

static size_t host_take(ScsiCmd *c, void *buf, size_t n)
{
    return chain_read(&job_of(c)->chain, buf, n);
}

static int host_map(ScsiCmd *c, size_t n, DmaDir dir, const struct iovec **iov)
{
    ScsiJob *j = job_of(c);
    /* A descriptor may touch two pieces of host memory. */
    unsigned want = MIN((dir == DMA_FROM_DEVICE ? j->chain.nin : j->chain.nout) + 2u, BLK_IOV_MAX);

    room_for(&j->iov, &j->iov_cap, want);
    int got = chain_map(&j->chain, n, dir, j->iov, MIN(j->iov_cap, BLK_IOV_MAX));
    j->niov = got > 0 ? (unsigned)got : 0;
    *iov = j->iov;
    return got;
}

/* --- its beginning --- */

/* Pins the memory of the response, the first of what the device may write. */
static bool map_response(ScsiJob *j)
{
    size_t len = RESP_HEAD + j->sense_size;

    if (j->chain.left_in < len) {
        return false;
    }
    room_for(&j->resp, &j->resp_cap, MIN(j->chain.nin, len) + 2u);
    int n = chain_map(&j->chain, len, DMA_FROM_DEVICE, j->resp, j->resp_cap);
    j->nresp = n > 0 ? (unsigned)n : 0;
    return n > 0;
}

/* False: the device is broken. */
static bool job_start(VirtQueue *q, ScsiQueue *sq, ScsiJob *j)
{
    VirtioScsi *s = j->s;
    uint8_t head[19], cdb[CDB_MAX] = { 0 };
    uint32_t cdb_size = __atomic_load_n(&s->cdb_size, __ATOMIC_RELAXED);
    ScsiCmd *c = &j->c;

    j->sense_size = __atomic_load_n(&s->sense_size, __ATOMIC_RELAXED);
    if (chain_read(&j->chain, head, sizeof(head)) != sizeof(head) ||
        chain_read(&j->chain, cdb, cdb_size) != cdb_size) {
        virtio_break(q->v, "queue %u: a request shorter than its header", q->index);
        return false;
    }
    if (!map_response(j)) {
        virtio_break(q->v, "queue %u: a request without room for its response", q->index);
        return false;
    }
    c->bus = &s->bus;
    c->loop = q->loop;
    c->room_in = j->chain.left_in;
    c->room_out = j->chain.left_out;
    c->moved = 0;
    j->tag = ld64(head + 8);
    memcpy(c->cdb, cdb, SCSI_CDB);
    job_list(sq, j);
    if (!virtio_scsi_address(head, &c->target, &c->lun)) {
        answer(j, VIRTIO_SCSI_S_BAD_TARGET);
    } else if (c->room_in > 0 && c->room_out > 0) {
        answer(j, VIRTIO_SCSI_S_FAILURE);      /* INOUT was not offered */
    } else {
        scsi_cmd_start(c);
    }
    return true;
}

static void scsi_kick(VirtQueue *q)
{
    VirtioScsi *s = scsi_of(q);
    ScsiQueue *sq = q->opaque;

    if (q->index < SCSI_Q_REQUEST) {
        (q->index == SCSI_Q_CONTROL ? virtio_scsi_control : virtio_scsi_event)(q);
        return;
    }
    for (;;) {
        ScsiJob *j = job_get(s, sq);
        if (!vq_pop(q, &j->chain)) {
            job_put(sq, j);
            break;
        }
        chain_keep(&j->chain, &j->kept);
        if (!job_start(q, sq, j)) {
            vq_push(q, &j->chain);
            job_put(sq, j);
            break;
        }
    }
}

/* --- units that come, go, and have something to say --- */

static VirtioScsi *of_bus(ScsiBus *b)
{
    return container_of(b, VirtioScsi, bus);
}

static bool agreed(VirtioScsi *s, unsigned bit)
{
    domain_enter(s->v.dev.domain);
    bool is = s->v.started && virtio_has(&s->v, bit);
    domain_leave(s->v.dev.domain);
    return is;
}

static void host_came(ScsiBus *b, const ScsiDev *d)
{
    if (agreed(of_bus(b), VIRTIO_SCSI_F_HOTPLUG)) {
        virtio_scsi_tell(of_bus(b), VIRTIO_SCSI_T_TRANSPORT_RESET, d, VIRTIO_SCSI_EVT_RESET_RESCAN);
    }
}

static void host_left(ScsiBus *b, const ScsiDev *d)
{
    if (agreed(of_bus(b), VIRTIO_SCSI_F_HOTPLUG)) {
        virtio_scsi_tell(of_bus(b), VIRTIO_SCSI_T_TRANSPORT_RESET, d, VIRTIO_SCSI_EVT_RESET_REMOVED);
    }
}

static void host_says(ScsiBus *b, const ScsiDev *d, ScsiSense s)
{
    if (agreed(of_bus(b), VIRTIO_SCSI_F_CHANGE)) {
        virtio_scsi_tell(of_bus(b), VIRTIO_SCSI_T_PARAM_CHANGE, d, (uint32_t)s.ascq << 8 | s.asc);
    }
}

static const ScsiHostOps host_ops = {
    .put = host_put, .take = host_take, .map = host_map, .done = host_done, .stopped = host_stopped,
    .came = host_came, .left = host_left, .says = host_says,
};

/* --- configuration (5.6.4) --- */

static void scsi_config_fill(VirtioDevice *v, uint8_t *c)
{
    VirtioScsi *s = (VirtioScsi *)v;

    st32(c, s->num_queues);
    st32(c + 4, s->seg_max);
    st32(c + 8, s->max_sectors);
    st32(c + 12, s->cmd_per_lun);
    st32(c + 16, sizeof(struct virtio_scsi_event));
    st32(c + 20, __atomic_load_n(&s->sense_size, __ATOMIC_RELAXED));
    st32(c + 24, __atomic_load_n(&s->cdb_size, __ATOMIC_RELAXED));
    st16(c + 28, 0);
    st16(c + 30, TARGETS - 1);
    st32(c + 32, LUNS - 1);
}

static void scsi_config_wrote(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size)
{
    VirtioScsi *s = (VirtioScsi *)v;
    uint32_t val = size == 4 ? ld32(data) : UINT32_MAX;

    if (off == 20 && val <= SENSE_MAX) {
        __atomic_store_n(&s->sense_size, val, __ATOMIC_RELAXED);
    } else if (off == 24 && val >= 1 && val <= CDB_MAX) {
        __atomic_store_n(&s->cdb_size, val, __ATOMIC_RELAXED);
    } else {
        guest_bug(v->dev.id, "0x%x written to configuration byte %u", val, off);
    }
}

/* --- life --- */

static bool check_props(VirtioScsi *s, Error **errp)
{
    if (s->num_queues == AUTO_QUEUES) {
        s->num_queues = MIN(MAX(s->v.dev.machine->cfg.smp.cpus, 1), QUEUES_MAX);
    }
    if (s->num_queues == 0 || s->num_queues > QUEUES_MAX) {
        return error_set(errp, "Invalid number of queues (= %u), must be a positive integer less than %u.",
                         s->num_queues, QUEUES_MAX + 1);
    }
    if (s->virtqueue_size <= 2 || s->virtqueue_size > VIRTQUEUE_MAX ||
        (s->virtqueue_size & (s->virtqueue_size - 1)) != 0) {
        return error_set(errp, "invalid virtqueue_size property (= %u), must be a power of 2 from 4 to %u",
                         s->virtqueue_size, VIRTQUEUE_MAX);
    }
    return true;
}

static bool scsi_realize(Device *d, Error **errp)
{
    VirtioScsi *s = (VirtioScsi *)d;

    if (!check_props(s, errp)) {
        return false;
    }
    s->seg_max = s->seg_max_adjust ? s->virtqueue_size - 2 : 126;
    virtio_queues(&s->v, SCSI_Q_REQUEST + s->num_queues, (uint16_t)s->virtqueue_size);
    if (!virtio_map_queues(&s->v, SCSI_Q_REQUEST, s->vq_mapping, errp)) {
        return false;
    }
    s->rq = g_new0(ScsiQueue, s->num_queues);
    for (unsigned i = 0; i < s->num_queues; i++) {
        s->rq[i].q = &s->v.queues[SCSI_Q_REQUEST + i];
        s->rq[i].q->opaque = &s->rq[i];
    }
    virtio_scsi_ctrl_init(s);
    virtio_offer(&s->v, (s->hotplug ? 1 << VIRTIO_SCSI_F_HOTPLUG : 0) |
                        (s->param_change ? 1 << VIRTIO_SCSI_F_CHANGE : 0));
    scsi_bus_init(&s->bus, d, s->v.proxy, &host_ops, TARGETS, LUNS);
    return true;
}

static void nothing(void *arg)
{
}

static void scsi_unrealize(Device *d)
{
    VirtioScsi *s = (VirtioScsi *)d;

    /* Events on their way name the device. */
    loop_call_wait(s->v.queues[SCSI_Q_EVENT].loop, nothing, NULL);
    scsi_bus_free(&s->bus);
    for (unsigned i = 0; i < s->num_queues; i++) {
        ScsiJob *j;
        while ((j = s->rq[i].free) != NULL) {
            s->rq[i].free = j->next;
            g_free(j->resp);
            g_free(j->iov);
            g_free(j->kept.segs);
            g_free(j);
        }
    }
    g_clear_pointer(&s->rq, g_free);
}

static void forget_missed(void *arg)
{
    ((VirtioScsi *)arg)->missed = false;
}

static void scsi_reset(Device *d, ResetKind kind)
{
    VirtioScsi *s = (VirtioScsi *)d;

    __atomic_store_n(&s->sense_size, VIRTIO_SCSI_SENSE_DEFAULT_SIZE, __ATOMIC_RELAXED);
    __atomic_store_n(&s->cdb_size, VIRTIO_SCSI_CDB_DEFAULT_SIZE, __ATOMIC_RELAXED);
    if (s->v.queues != NULL) {
        loop_call_wait(s->v.queues[SCSI_Q_EVENT].loop, forget_missed, s);
    }
    scsi_bus_reset(&s->bus, SCSI_UA_POWER_ON);
}

static bool scsi_state_check(void *obj, Error **errp)
{
    VirtioScsi *s = obj;

    return (s->sense_size <= SENSE_MAX && s->cdb_size >= 1 && s->cdb_size <= CDB_MAX) ||
           error_set(errp, "sense of %u bytes, CDBs of %u", s->sense_size, s->cdb_size);
}

static const StateField scsi_fields[] = {
    STATE_U32(VirtioScsi, sense_size),
    STATE_U32(VirtioScsi, cdb_size),
    STATE_BOOL(VirtioScsi, missed),
    { 0 },
};

static const StateDesc scsi_state = {
    .name = "virtio-scsi", .version = 1, .fields = scsi_fields, .check = scsi_state_check,
};

static const PropDesc scsi_props[] = {
    PROP_U32(VirtioScsi, num_queues, "num_queues", AUTO_QUEUES, 0, UINT32_MAX, "default: one a vCPU"),
    PROP_U32(VirtioScsi, virtqueue_size, "virtqueue_size", 256, 0, UINT32_MAX, "entries of a queue"),
    PROP_BOOL(VirtioScsi, seg_max_adjust, "seg_max_adjust", true, "segments follow virtqueue_size"),
    PROP_U32(VirtioScsi, max_sectors, "max_sectors", 65535, 0, UINT32_MAX, "most of one transfer"),
    PROP_U32(VirtioScsi, cmd_per_lun, "cmd_per_lun", 128, 0, UINT32_MAX, "commands under way at a unit"),
    VIRTIO_PROP_VQ_MAPPING(VirtioScsi, vq_mapping),
    PROP_BOOL(VirtioScsi, hotplug, "hotplug", true, "tell the guest of units that come and go"),
    PROP_BOOL(VirtioScsi, param_change, "param_change", true, "tell the guest of a new capacity or medium"),
    { 0 },
};

static const VirtioOps scsi_ops = {
    .id = VIRTIO_ID_SCSI, .legacy_id = 0x1004, .class_code = 0x010000, .config_size = 36,
    .config_fill = scsi_config_fill, .config_wrote = scsi_config_wrote, .kick = scsi_kick,
};

extern const DeviceType virtio_scsi;
const DeviceType virtio_scsi = {
    .name = "virtio-scsi", .summary = "SCSI host adapter", .slot = &virtio_slot, .size = sizeof(VirtioScsi),
    .flags = DEV_HOTPLUG, .category = "Storage", .props = scsi_props, .state = &scsi_state,
    .slot_ops = &scsi_ops, .realize = scsi_realize, .unrealize = scsi_unrealize, .reset = scsi_reset,
};
