/* virtio-blk.c: disks (Virtio 1.2, section 5.2).
 *
 * 1. A request's buffers are mapped, not copied; a BlkJob belongs to the worker loop from the pop to
 *    the push.
 * 2. Requests of one kick that continue one another become one BlkReq (request-merging); each of them
 *    gets its own answer.
 * 3. Without FLUSH, or with the cache off, a write is answered when it is durable (5.2.6.2).
 * 4. A request that fails where rerror or werror says stop is parked (vq_park): it is made again, from
 *    its beginning, when the machine goes on. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include "block/front.h"
#include "core/machine.h"
#include "hw/virtio/virtio-int.h"

#define SECTOR 512
#define ID_BYTES 20
#define MERGE_JOBS 32
#define MERGE_BYTES (UINT64_C(1) << 20)
#define AUTO_QUEUES 65535
#define QUEUES_MAX 1024

typedef struct VirtioBlk VirtioBlk;
typedef struct BlkJob BlkJob;

/* One request of the guest. */
struct BlkJob {
    BlkReq r;                  /* of the first of merged jobs */
    VirtioBlk *blk;
    VirtChain c;
    uint32_t type;
    VirtKept kept;             /* if an error may stop the machine */
    Iova status_at;
    uint64_t bytes;
    struct iovec *iov;         /* of the first: of all merged jobs together */
    unsigned iov_cap, niov;    /* own entries: [iov_at, iov_at + niov) of the first's */
    unsigned iov_at;
    BlkJob *first, *next;      /* merged jobs; free list */
    BlkJob *last;
    unsigned merged;
};

typedef struct BlkQueue {
    BlkJob *free;
    BlkJob *batch;             /* not submitted yet: may still be continued */
} BlkQueue;

struct VirtioBlk {
    VirtioDevice v;
    BlkUser user;
    BlkFront front;
    BlkNode *node;
    bool may_stop;             /* an error may stop the machine */
    BlkQueue *bq;
    uint64_t sectors;          /* atomic: capacity in 512-byte units */
    bool wce;                  /* atomic: the write cache is on */
    bool read_only;
    uint32_t seg_max;
    /* properties */
    void *drive;
    char *serial, *vq_mapping;
    uint64_t logical, physical, min_io, opt_io, discard_granularity;
    uint16_t queue_size, num_queues;
    int32_t write_cache, rerror, werror, account_failed, account_invalid, backend_defaults;
    int32_t bootindex;
    uint32_t cyls, heads, secs, lcyls, lheads, lsecs, max_discard, max_write_zeroes;
    bool config_wce, discard, write_zeroes, merging, share_rw, scsi, seg_max_adjust, report_granularity;
    bool x_wce;
};

static VirtioBlk *blk_of(VirtQueue *q)
{
    return (VirtioBlk *)vq_device(q);
}

/* --- jobs --- */

static BlkJob *job_get(VirtioBlk *b, BlkQueue *bq)
{
    BlkJob *j = bq->free;

    if (j) {
        bq->free = j->next;
    } else {
        /* As many as the queue has entries at most. */
        j = g_new0(BlkJob, 1);
    }
    j->blk = b;
    j->first = j->last = j;
    j->next = NULL;
    j->merged = 1;
    j->niov = j->iov_at = 0;
    j->bytes = 0;
    return j;
}

static void job_put(BlkQueue *bq, BlkJob *j)
{
    j->next = bq->free;
    bq->free = j;
}

static void answer(VirtQueue *q, BlkJob *j, uint8_t status)
{
    dma_write(&q->v->dev, j->status_at, &status, 1);
    j->c.written++;
    vq_push(q, &j->c);
}

/* Answers without any I/O. */
static void answer_now(VirtQueue *q, BlkQueue *bq, BlkJob *j, uint8_t status)
{
    answer(q, j, status);
    job_put(bq, j);
}

/* What the guest is told; false: nothing, the machine stops. */
static bool status_of(VirtioBlk *b, const BlkJob *j, int ret, uint8_t *status)
{
    *status = VIRTIO_BLK_S_OK;
    if (ret == -ENOTSUP) {
        *status = VIRTIO_BLK_S_UNSUPP;
    } else if (ret < 0) {
        switch (blk_front_error(&b->front, b->user.node, j->type == VIRTIO_BLK_T_IN, ret)) {
        case BLK_ERROR_STOP:
            return false;
        case BLK_ERROR_REPORT:
            *status = VIRTIO_BLK_S_IOERR;
            break;
        case BLK_ERROR_IGNORE:
            break;
        }
    }
    return true;
}

static void job_done(BlkReq *r, int ret)
{
    BlkJob *first = container_of(r, BlkJob, r);
    VirtQueue *q = first->c.q;
    VirtioBlk *b = first->blk;
    BlkQueue *bq = q->opaque;
    struct iovec *iov = first->iov;
    uint8_t status;

    vq_begin(q);
    for (BlkJob *j = first, *next; j; j = next) {
        next = j->next;
        if (j->niov) {
            bool in = j->type == VIRTIO_BLK_T_IN;
            dma_unmap(&b->v.dev, iov + j->iov_at, j->niov, in ? j->bytes : 0);
            j->c.written = in ? j->bytes : 0;
        }
        TRACE(virtio_blk_done, "%s queue=%u type=%u ret=%d", b->v.dev.id, q->index, j->type, ret);
        if (status_of(b, j, ret, &status)) {
            answer_now(q, bq, j, status);
        } else {
            vq_park(q, &j->c, &j->kept);
            job_put(bq, j);
            machine_request(REQUEST_IO_ERROR, 0, b->v.proxy->id);
        }
    }
    vq_publish_soon(q);
}

static void job_submit(VirtioBlk *b, BlkQueue *bq, BlkJob *j)
{
    j->r.iov = j->iov;
    j->r.loop = j->c.q->loop;
    j->r.done = job_done;
    blk_user_submit(&b->user, &j->r);
}

static void batch_flush(VirtioBlk *b, BlkQueue *bq)
{
    BlkJob *j = bq->batch;

    if (j) {
        bq->batch = NULL;
        job_submit(b, bq, j);
    }
}

/* --- reads and writes --- */

static bool iov_room(BlkJob *j, unsigned want)
{
    if (want > BLK_IOV_MAX) {
        return false;
    }
    if (j->iov_cap < want) {
        j->iov_cap = MAX(want, 16);
        j->iov = g_renew(struct iovec, j->iov, j->iov_cap);
    }
    return true;
}

/* Lets @j ride with the batch when it continues it. */
static bool merge(BlkJob *batch, BlkJob *j)
{
    BlkReq *r = &batch->r;

    if (r->op != j->r.op || r->flags != j->r.flags || r->off + r->len != j->r.off ||
        batch->merged >= MERGE_JOBS || r->len + j->r.len > MERGE_BYTES ||
        !iov_room(batch, r->niov + j->niov)) {
        return false;
    }
    memcpy(batch->iov + r->niov, j->iov, j->niov * sizeof(struct iovec));
    j->iov_at = r->niov;
    r->niov += j->niov;
    r->len += j->r.len;
    j->first = batch;
    batch->last->next = j;
    batch->last = j;
    batch->merged++;
    return true;
}

static bool range_ok(const VirtioBlk *b, uint64_t sector, uint64_t bytes)
{
    uint64_t all = __atomic_load_n(&b->sectors, __ATOMIC_RELAXED);

    return bytes % SECTOR == 0 && fits(sector, bytes / SECTOR, all) &&
           sector % (b->logical / SECTOR) == 0 && bytes % b->logical == 0;
}

static bool write_through(const VirtioBlk *b)
{
    return !__atomic_load_n(&b->wce, __ATOMIC_RELAXED) || !virtio_has(&b->v, VIRTIO_BLK_F_FLUSH);
}

static void start_rw(VirtQueue *q, BlkQueue *bq, BlkJob *j, uint64_t sector)
{
    VirtioBlk *b = blk_of(q);
    bool in = j->type == VIRTIO_BLK_T_IN;

    j->bytes = in ? j->c.left_in : j->c.left_out;
    if (!range_ok(b, sector, j->bytes) || (!in && b->read_only)) {
        blk_front_invalid(&b->front, in ? BLK_READ : BLK_WRITE);
        answer_now(q, bq, j, VIRTIO_BLK_S_IOERR);
        return;
    }
    if (j->bytes == 0) {
        answer_now(q, bq, j, VIRTIO_BLK_S_OK);
        return;
    }
    /* A descriptor may touch two pieces of host memory. */
    unsigned want = MIN((in ? j->c.nin : j->c.nout) + 2u, BLK_IOV_MAX);
    int n = -E2BIG;
    if (iov_room(j, want)) {
        n = chain_map(&j->c, j->bytes, in ? DMA_FROM_DEVICE : DMA_TO_DEVICE, j->iov, j->iov_cap);
    }
    if (n < 0) {
        answer_now(q, bq, j, VIRTIO_BLK_S_IOERR);
        return;
    }
    j->niov = (unsigned)n;
    j->r.op = in ? BLK_READ : BLK_WRITE;
    j->r.flags = !in && write_through(b) ? BLK_FUA : 0;
    j->r.off = sector * SECTOR;
    j->r.len = j->bytes;
    j->r.niov = j->niov;
    if (bq->batch && (!b->merging || !merge(bq->batch, j))) {
        batch_flush(b, bq);
    }
    if (j->first == j) {
        bq->batch = j;
    }
}

/* --- the other commands --- */

static void start_flush(VirtQueue *q, BlkQueue *bq, BlkJob *j)
{
    VirtioBlk *b = blk_of(q);

    batch_flush(b, bq);
    j->r.op = BLK_FLUSH;
    j->r.flags = 0;
    j->r.off = j->r.len = 0;
    j->r.niov = 0;
    job_submit(b, bq, j);
}

static void start_range(VirtQueue *q, BlkQueue *bq, BlkJob *j)
{
    VirtioBlk *b = blk_of(q);
    struct virtio_blk_discard_write_zeroes seg;
    bool zero = j->type == VIRTIO_BLK_T_WRITE_ZEROES;
    uint8_t status = VIRTIO_BLK_S_OK;

    if (!virtio_has(&b->v, zero ? VIRTIO_BLK_F_WRITE_ZEROES : VIRTIO_BLK_F_DISCARD)) {
        answer_now(q, bq, j, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    if (j->c.left_out != sizeof(seg) || chain_read(&j->c, &seg, sizeof(seg)) != sizeof(seg) ||
        b->read_only) {
        /* One segment is what the configuration allows. */
        answer_now(q, bq, j, VIRTIO_BLK_S_IOERR);
        return;
    }
    uint64_t sector = le64toh(seg.sector), count = le32toh(seg.num_sectors);
    uint32_t flags = le32toh(seg.flags);
    if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u)) {
        status = VIRTIO_BLK_S_UNSUPP;
    } else if (!range_ok(b, sector, count * SECTOR) ||
               count > (zero ? b->max_write_zeroes : b->max_discard)) {
        blk_front_invalid(&b->front, zero ? BLK_ZERO : BLK_DISCARD);
        status = VIRTIO_BLK_S_IOERR;
    }
    if (status != VIRTIO_BLK_S_OK || count == 0) {
        answer_now(q, bq, j, status);
        return;
    }
    batch_flush(b, bq);
    j->r.op = zero ? BLK_ZERO : BLK_DISCARD;
    j->r.flags = zero && flags ? BLK_MAY_UNMAP : 0;
    j->r.flags |= zero && write_through(b) ? BLK_FUA : 0;
    j->r.off = sector * SECTOR;
    j->r.len = count * SECTOR;
    j->r.niov = 0;
    job_submit(b, bq, j);
}

static void answer_id(VirtQueue *q, BlkQueue *bq, BlkJob *j)
{
    char id[ID_BYTES] = { 0 };

    strncpy(id, blk_of(q)->serial ? blk_of(q)->serial : "", ID_BYTES);
    chain_write(&j->c, id, MIN(sizeof(id), j->c.left_in));
    answer_now(q, bq, j, VIRTIO_BLK_S_OK);
}

/* False: the device is broken. */
static bool start_job(VirtQueue *q, BlkQueue *bq, BlkJob *j)
{
    struct virtio_blk_outhdr head;

    if (!chain_cut_in(&j->c, 1, &j->status_at)) {
        virtio_break(q->v, "queue %u: a request without room for its status", q->index);
        return false;
    }
    if (chain_read(&j->c, &head, sizeof(head)) != sizeof(head)) {
        virtio_break(q->v, "queue %u: a request shorter than its header", q->index);
        return false;
    }
    j->type = le32toh(head.type);
    TRACE(virtio_blk_request, "%s queue=%u type=%u sector=%" PRIu64 " out=%zu in=%zu", q->v->dev.id,
          q->index, j->type, (uint64_t)le64toh(head.sector), j->c.left_out, j->c.left_in);
    switch (j->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        start_rw(q, bq, j, le64toh(head.sector));
        return true;
    case VIRTIO_BLK_T_FLUSH:
        start_flush(q, bq, j);
        return true;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        start_range(q, bq, j);
        return true;
    case VIRTIO_BLK_T_GET_ID:
        answer_id(q, bq, j);
        return true;
    default:
        answer_now(q, bq, j, VIRTIO_BLK_S_UNSUPP);
        return true;
    }
}

static void blk_kick(VirtQueue *q)
{
    VirtioBlk *b = blk_of(q);
    BlkQueue *bq = q->opaque;

    for (;;) {
        BlkJob *j = job_get(b, bq);
        if (!vq_pop(q, &j->c)) {
            job_put(bq, j);
            break;
        }
        if (b->may_stop) {
            chain_keep(&j->c, &j->kept);
        }
        if (!start_job(q, bq, j)) {
            vq_push(q, &j->c);
            job_put(bq, j);
            break;
        }
    }
    batch_flush(b, bq);
}

/* --- configuration --- */

static void blk_config_fill(VirtioDevice *v, uint8_t *c)
{
    VirtioBlk *b = (VirtioBlk *)v;
    uint64_t sectors = __atomic_load_n(&b->sectors, __ATOMIC_RELAXED);
    unsigned exp = 0;

    while ((b->logical << exp) < b->physical) {
        exp++;
    }
    st64(c, sectors);
    st32(c + 12, b->seg_max);
    st16(c + 16, (uint16_t)MIN(b->cyls ? b->cyls : sectors / (16 * 63), 16383));
    c[18] = b->heads ? (uint8_t)b->heads : 16;
    c[19] = b->secs ? (uint8_t)b->secs : 63;
    st32(c + 20, (uint32_t)b->logical);
    c[24] = (uint8_t)exp;
    st16(c + 26, (uint16_t)(b->min_io / b->logical));
    st32(c + 28, (uint32_t)(b->opt_io / b->logical));
    c[32] = __atomic_load_n(&b->wce, __ATOMIC_RELAXED);
    st16(c + 34, (uint16_t)v->queue_count);
    if (b->discard) {
        st32(c + 36, b->max_discard);
        st32(c + 40, 1);
        st32(c + 44, (uint32_t)(MAX(b->discard_granularity, b->logical) / SECTOR));
    }
    if (b->write_zeroes) {
        st32(c + 48, b->max_write_zeroes);
        st32(c + 52, 1);
        c[56] = 1;
    }
}

static void blk_config_wrote(VirtioDevice *v, unsigned off, const uint8_t *data, unsigned size)
{
    VirtioBlk *b = (VirtioBlk *)v;

    if (off <= 32 && off + size > 32 && virtio_has(v, VIRTIO_BLK_F_CONFIG_WCE)) {
        __atomic_store_n(&b->wce, data[32 - off] & 1, __ATOMIC_RELAXED);
    }
}

static void blk_resized(BlkUser *u)
{
    VirtioBlk *b = container_of(u, VirtioBlk, user);

    __atomic_store_n(&b->sectors, blk_size(b->node) / SECTOR, __ATOMIC_RELAXED);
    domain_enter(b->v.dev.domain);
    virtio_config_changed(&b->v);
    domain_leave(b->v.dev.domain);
}

static void blk_moved(BlkUser *u)
{
    VirtioBlk *b = container_of(u, VirtioBlk, user);

    __atomic_store_n(&b->node, u->node, __ATOMIC_RELAXED);
    __atomic_store_n(&b->front.node, u->node, __ATOMIC_RELEASE);
}

/* --- life --- */

static bool pow2_between(uint64_t v, uint64_t lo, uint64_t hi)
{
    return v >= lo && v <= hi && (v & (v - 1)) == 0;
}

static bool check_sizes(VirtioBlk *b, Error **errp)
{
    const BlkLimits *l = blk_limits(b->node);

    /* What the node needs is the least; 0 means no wish of the user. */
    b->logical = b->logical ? b->logical : MAX(l->logical, SECTOR);
    b->physical = b->physical ? b->physical : MAX(l->physical, b->logical);
    if (!pow2_between(b->logical, 512, 2 * MiB)) {
        return error_set(errp, "logical_block_size must be a power of two from 512 B to 2 MiB");
    }
    if (!pow2_between(b->physical, 512, 2 * MiB) || b->logical > b->physical) {
        return error_set(errp, "physical_block_size must be a power of two up to 2 MiB, at least "
                         "logical_block_size");
    }
    if (b->min_io % b->logical || b->min_io / b->logical > UINT16_MAX || b->opt_io % b->logical ||
        b->opt_io / b->logical > UINT32_MAX) {
        return error_set(errp, "min_io_size and opt_io_size must be multiples of logical_block_size");
    }
    if (b->discard_granularity == UINT32_MAX) {
        b->discard_granularity = b->report_granularity ? l->discard_align : 0;
    } else if (b->discard_granularity % b->logical) {
        return error_set(errp, "discard_granularity must be a multiple of logical_block_size");
    }
    return true;
}

static bool check_props(VirtioBlk *b, Error **errp)
{
    if (!b->drive) {
        return error_set(errp, "drive property not set");
    }
    if (b->scsi) {
        return error_set(errp, "scsi=on is not supported: SCSI commands ended with legacy virtio");
    }
    if (b->num_queues == AUTO_QUEUES) {
        b->num_queues = (uint16_t)MIN(MAX(b->v.dev.machine->cfg.smp.cpus, 1), QUEUES_MAX);
    }
    if (b->num_queues == 0 || b->num_queues > QUEUES_MAX) {
        return error_set(errp, "num-queues property must be larger than 0 and at most %u", QUEUES_MAX);
    }
    if (!pow2_between(b->queue_size, 4, VIRTQUEUE_MAX)) {
        return error_set(errp, "invalid queue-size property (%u), must be a power of 2 (max %u)",
                         b->queue_size, VIRTQUEUE_MAX);
    }
    return true;
}

static void blk_offer(VirtioBlk *b)
{
    uint64_t f = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_GEOMETRY |
                 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_TOPOLOGY | 1 << VIRTIO_BLK_F_FLUSH;

    f |= b->config_wce ? 1 << VIRTIO_BLK_F_CONFIG_WCE : 0;
    f |= b->read_only ? 1 << VIRTIO_BLK_F_RO : 0;
    f |= b->num_queues > 1 ? 1 << VIRTIO_BLK_F_MQ : 0;
    f |= b->discard ? 1 << VIRTIO_BLK_F_DISCARD : 0;
    f |= b->write_zeroes ? 1 << VIRTIO_BLK_F_WRITE_ZEROES : 0;
    virtio_offer(&b->v, f);
}

static bool blk_realize(Device *d, Error **errp)
{
    VirtioBlk *b = (VirtioBlk *)d;

    b->node = b->drive;
    if (!check_props(b, errp) || !check_sizes(b, errp)) {
        return false;
    }
    virtio_queues(&b->v, b->num_queues, b->queue_size);
    if (!virtio_map_queues(&b->v, 0, b->vq_mapping, errp)) {
        return false;
    }
    b->read_only = blk_read_only(b->node);
    unsigned need = BLK_PERM_READ | (b->read_only ? 0 : BLK_PERM_WRITE);
    /* The guest is told of a new size, so anybody may set it. */
    unsigned share = BLK_PERM_READ | BLK_PERM_RESIZE | (b->share_rw ? BLK_PERM_WRITE : 0);
    g_autofree char *who = g_strdup_printf("device '%s'", b->v.proxy->id);
    b->user.resized = blk_resized;
    b->user.moved = blk_moved;
    b->user.front = &b->front;
    if (!blk_attach(b->node, &b->user, who, need, share, errp)) {
        return false;
    }
    if (!machine_bootindex(d->machine, b->v.proxy, b->bootindex, errp)) {
        blk_detach(&b->user);
        return false;
    }
    b->front.rerror = (BlkOnError)b->rerror;
    b->front.werror = (BlkOnError)b->werror;
    b->front.account_failed = (BlkAccount)b->account_failed;
    b->front.account_invalid = (BlkAccount)b->account_invalid;
    blk_front_open(&b->front, b->node, b->v.proxy->id, device_path(d));
    b->may_stop = blk_front_may_stop(&b->front);
    b->sectors = blk_size(b->node) / SECTOR;
    b->seg_max = b->seg_max_adjust ? b->queue_size - 2u : 126;
    b->wce = b->write_cache != ONOFF_OFF;
    b->bq = g_new0(BlkQueue, b->num_queues);
    for (unsigned i = 0; i < b->num_queues; i++) {
        b->v.queues[i].opaque = &b->bq[i];
    }
    blk_offer(b);
    return true;
}

static void blk_unrealize(Device *d)
{
    VirtioBlk *b = (VirtioBlk *)d;

    blk_front_close(&b->front);
    blk_detach(&b->user);
    for (unsigned i = 0; i < b->num_queues; i++) {
        BlkJob *j;
        while ((j = b->bq[i].free) != NULL) {
            b->bq[i].free = j->next;
            g_free(j->iov);
            g_free(j->kept.segs);
            g_free(j);
        }
    }
    g_clear_pointer(&b->bq, g_free);
}

static void blk_reset(Device *d, ResetKind kind)
{
    VirtioBlk *b = (VirtioBlk *)d;

    __atomic_store_n(&b->wce, b->write_cache != ONOFF_OFF, __ATOMIC_RELAXED);
}

static const PropDesc blk_props[] = {
    PROP_LINK(VirtioBlk, drive, "drive", "blockdev", "Node name or ID of a block device to use as a backend"),
    PROP_STR(VirtioBlk, serial, "serial", "serial number, up to 20 bytes"),
    PROP_SIZE(VirtioBlk, logical, "logical_block_size", 0, 0, 2 * MiB,
              "A power of two between 512 B and 2 MiB; 0: as the node has it"),
    PROP_SIZE(VirtioBlk, physical, "physical_block_size", 0, 0, 2 * MiB,
              "A power of two between 512 B and 2 MiB; 0: as the node has it"),
    PROP_SIZE(VirtioBlk, min_io, "min_io_size", 0, 0, UINT32_MAX, "smallest request without a penalty"),
    PROP_SIZE(VirtioBlk, opt_io, "opt_io_size", 0, 0, UINT32_MAX, "request size that works best"),
    PROP_SIZE(VirtioBlk, discard_granularity, "discard_granularity", UINT32_MAX, 0, UINT32_MAX,
              "alignment of discards; default: as the node has it"),
    PROP_U16(VirtioBlk, queue_size, "queue-size", 256, 0, UINT16_MAX, "entries of a queue"),
    PROP_U16(VirtioBlk, num_queues, "num-queues", AUTO_QUEUES, 0, UINT16_MAX, "default: one a vCPU"),
    PROP_ENUM(VirtioBlk, write_cache, "write-cache", prop_onoffauto, ONOFF_AUTO, "at reset"),
    PROP_ENUM(VirtioBlk, rerror, "rerror", blk_on_error_names, BLK_ON_ERROR_AUTO,
              "what a read error does"),
    PROP_ENUM(VirtioBlk, werror, "werror", blk_on_error_names, BLK_ON_ERROR_AUTO,
              "what a write error does"),
    PROP_ENUM(VirtioBlk, account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO,
              "requests that fail count in the times"),
    PROP_ENUM(VirtioBlk, account_invalid, "account-invalid", prop_onoffauto, ONOFF_AUTO,
              "so do those that make no sense"),
    PROP_ENUM(VirtioBlk, backend_defaults, "backend_defaults", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    PROP_I32(VirtioBlk, bootindex, "bootindex", -1, -1, INT32_MAX, "place in the boot order"),
    PROP_U32(VirtioBlk, cyls, "cyls", 0, 0, 65535, "geometry for old guests"),
    PROP_U32(VirtioBlk, heads, "heads", 0, 0, 255, "geometry for old guests"),
    PROP_U32(VirtioBlk, secs, "secs", 0, 0, 255, "geometry for old guests"),
    PROP_U32(VirtioBlk, lcyls, "lcyls", 0, 0, 65535, "geometry that firmware shows"),
    PROP_U32(VirtioBlk, lheads, "lheads", 0, 0, 255, "geometry that firmware shows"),
    PROP_U32(VirtioBlk, lsecs, "lsecs", 0, 0, 255, "geometry that firmware shows"),
    PROP_U32(VirtioBlk, max_discard, "max-discard-sectors", 4194303, 1, 4194303, "most of one discard"),
    PROP_U32(VirtioBlk, max_write_zeroes, "max-write-zeroes-sectors", 4194303, 1, 4194303,
             "most of one write-zeroes"),
    PROP_BOOL(VirtioBlk, config_wce, "config-wce", true, "let the guest switch the write cache"),
    PROP_BOOL(VirtioBlk, discard, "discard", true, "offer discard"),
    PROP_BOOL(VirtioBlk, write_zeroes, "write-zeroes", true, "offer write-zeroes"),
    PROP_BOOL(VirtioBlk, merging, "request-merging", true, "join requests that continue one another"),
    PROP_BOOL(VirtioBlk, share_rw, "share-rw", false, "others may write the node too"),
    PROP_BOOL(VirtioBlk, scsi, "scsi", false, "not supported"),
    PROP_BOOL(VirtioBlk, seg_max_adjust, "seg-max-adjust", true, "segments follow queue-size"),
    PROP_BOOL(VirtioBlk, report_granularity, "report-discard-granularity", true,
              "show the node's discard alignment"),
    VIRTIO_PROP_VQ_MAPPING(VirtioBlk, vq_mapping),
    PROP_BOOL(VirtioBlk, x_wce, "x-enable-wce-if-config-wce", true, "kept for configuration files"),
    { 0 },
};

static const StateField blk_fields[] = {
    STATE_BOOL(VirtioBlk, wce),
    { 0 },
};

static const StateDesc blk_state = { .name = "virtio-blk", .version = 1, .fields = blk_fields };

static const VirtioOps blk_ops = {
    .id = VIRTIO_ID_BLOCK, .legacy_id = 0x1001, .class_code = 0x010000, .config_size = 60,
    .config_fill = blk_config_fill, .config_wrote = blk_config_wrote, .kick = blk_kick,
};

extern const DeviceType virtio_blk;
const DeviceType virtio_blk = {
    .name = "virtio-blk", .summary = "disk", .slot = &virtio_slot, .size = sizeof(VirtioBlk),
    .flags = DEV_HOTPLUG, .category = "Storage", .props = blk_props, .state = &blk_state,
    .slot_ops = &blk_ops, .realize = blk_realize, .unrealize = blk_unrealize, .reset = blk_reset,
};
