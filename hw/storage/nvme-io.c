/* nvme-io.c: the NVM command set (NVM Express 1.4, section 6), on the worker.
 *
 *   nvme_io_start -> begin -> submit -> [block layer] -> done -> step -> ... -> nvme_req_end
 *
 * 1. Reads and writes go straight to and from the guest's memory, NVME_CHUNK bytes at a time; Compare,
 *    Verify and Copy go through a bounce buffer, NVME_BOUNCE bytes at a time.
 * 2. q->ns stays while one of its commands is in flight.
 * 3. Fused commands, metadata and protection information are refused. */
#include <errno.h>
#include "hw/storage/nvme.h"

#define RANGE 16u              /* bytes of a DSM range */
#define COPY_RANGE 32u
#define RANGES_MOST 256u

static uint32_t cdw(const NvmeReq *q, unsigned at)
{
    return ld32(q->cmd + at);
}

static bool write_through(const NvmeReq *q)
{
    return !__atomic_load_n(&q->n->features[FEAT_WRITE_CACHE], __ATOMIC_RELAXED);
}

/* Blocks [@lba, @lba + @count) are all there. */
static bool range_ok(const NvmeNs *ns, uint64_t lba, uint64_t count)
{
    return fits(lba, count, __atomic_load_n(&ns->bytes, __ATOMIC_RELAXED) >> ns->shift);
}

/* --- block requests --- */

static void done(BlkReq *r, int ret);

static void submit(NvmeReq *q, BlkOp op, unsigned flags, uint64_t off, uint64_t len)
{
    q->r.op = op;
    q->r.flags = flags;
    q->r.off = off;
    q->r.len = len;
    q->r.iov = q->iov;
    q->r.niov = q->niov;
    q->r.loop = q->n->worker->loop;
    q->r.done = done;
    blk_user_submit(&q->ns->user, &q->r);
}

/* The request is to or from the bounce buffer. */
static void submit_bounce(NvmeReq *q, BlkOp op, uint64_t off, uint64_t len)
{
    if (q->iov_cap == 0) {
        q->iov_cap = 1;
        q->iov = g_renew(struct iovec, q->iov, 1);
    }
    q->iov[0] = (struct iovec){ .iov_base = q->bounce, .iov_len = len };
    q->niov = 1;
    q->chunk = len;
    submit(q, op, op == BLK_WRITE && write_through(q) ? BLK_FUA : 0, off, len);
}

static uint16_t status_of(int ret, bool read)
{
    switch (ret) {
    case -ENOSPC:
        return NVME_CAPACITY | NVME_DNR;
    case -ENOTSUP:
        return NVME_INVALID_FIELD | NVME_DNR;
    default:
        return read ? NVME_READ_ERROR : NVME_WRITE_FAULT;
    }
}

static void done(BlkReq *r, int ret)
{
    NvmeReq *q = container_of(r, NvmeReq, r);
    bool read = r->op == BLK_READ;

    if (q->niov && q->iov[0].iov_base != q->bounce) {
        dma_unmap(&q->n->p.dev, q->iov, q->niov, read && ret == 0 ? q->chunk : 0);
    }
    q->niov = 0;
    if (ret < 0) {
        switch (blk_front_error(&q->ns->front, q->ns->user.node, read, ret)) {
        case BLK_ERROR_STOP:
            machine_request(REQUEST_IO_ERROR, 0, q->ns->dev->id);
            nvme_req_park(q);
            return;
        case BLK_ERROR_REPORT:
            nvme_req_end(q, status_of(ret, read), 0);
            return;
        case BLK_ERROR_IGNORE:
            break;
        }
    }
    q->step(q);
}

static void ended(NvmeReq *q)
{
    nvme_req_end(q, NVME_OK, 0);
}

/* --- read and write --- */

static void rw_next(NvmeReq *q)
{
    bool in = q->cmd[SQE_OPCODE] == NVME_READ;

    q->off += q->chunk;
    q->left -= q->chunk;
    if (q->left == 0) {
        ended(q);
        return;
    }
    q->chunk = MIN(q->left, NVME_CHUNK);
    uint16_t status = nvme_data_map(q, in ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
    if (status != NVME_OK) {
        nvme_req_end(q, status | NVME_DNR, 0);
        return;
    }
    bool fua = !in && (cdw(q, SQE_CDW12) & NVME_RW_FUA || write_through(q));
    submit(q, in ? BLK_READ : BLK_WRITE, fua ? BLK_FUA : 0, q->off, q->chunk);
}

/* Sets q->off and q->left by the block range of the command. */
static uint16_t take_range(NvmeReq *q, bool writes)
{
    uint64_t lba = ld64(q->cmd + SQE_CDW10), count = (cdw(q, SQE_CDW12) & 0xffff) + UINT64_C(1);

    if (cdw(q, SQE_CDW12) & NVME_RW_PRINFO) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    if (!range_ok(q->ns, lba, count)) {
        return NVME_LBA_RANGE | NVME_DNR;
    }
    if (writes && q->ns->read_only) {
        return NVME_NS_WRITE_PROTECTED | NVME_DNR;
    }
    q->off = lba << q->ns->shift;
    q->left = count << q->ns->shift;
    return NVME_OK;
}

/* The same for a command that has as much data, in memory that is described to be at hand. */
static uint16_t take_data(NvmeReq *q, bool writes)
{
    uint16_t status = take_range(q, writes);

    if (status != NVME_OK) {
        return status;
    }
    if (q->n->mdts && q->n->mdts < 32 && q->left > UINT64_C(4096) << q->n->mdts) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    return nvme_data_begin(&q->data, &q->n->p.dev, q->cmd, q->n->page, q->left, true);
}

/* A transfer that makes no sense. */
static void refuse(NvmeReq *q, BlkOp op, uint16_t status)
{
    blk_front_invalid(&q->ns->front, op);
    nvme_req_end(q, status, 0);
}

static void start_rw(NvmeReq *q)
{
    bool read = q->cmd[SQE_OPCODE] == NVME_READ;
    uint16_t status = take_data(q, !read);

    if (status != NVME_OK) {
        refuse(q, read ? BLK_READ : BLK_WRITE, status);
        return;
    }
    __atomic_store_n(&q->ns->commands[!read], q->ns->commands[!read] + 1, __ATOMIC_RELAXED);
    q->step = rw_next;
    q->chunk = 0;
    rw_next(q);
}

/* --- compare and verify --- */

static void check_next(NvmeReq *q);

static void check_begin(NvmeReq *q)
{
    submit_bounce(q, BLK_READ, q->off, MIN(q->left, NVME_BOUNCE));
}

/* The bounce buffer has what the namespace has. */
static void check_next(NvmeReq *q)
{
    uint8_t guest[4096];
    bool compare = q->cmd[SQE_OPCODE] == NVME_COMPARE;

    for (uint64_t at = 0; compare && at < q->chunk; at += sizeof(guest)) {
        uint64_t len = MIN(q->chunk - at, sizeof(guest));
        uint16_t status = nvme_data_copy(&q->data, guest, len, DMA_TO_DEVICE);
        if (status != NVME_OK) {
            nvme_req_end(q, status | NVME_DNR, 0);
            return;
        }
        if (memcmp(guest, q->bounce + at, len) != 0) {
            nvme_req_end(q, NVME_COMPARE_FAILED | NVME_DNR, 0);
            return;
        }
    }
    q->off += q->chunk;
    q->left -= q->chunk;
    if (q->left == 0) {
        ended(q);
        return;
    }
    check_begin(q);
}

static void start_check(NvmeReq *q)
{
    bool compare = q->cmd[SQE_OPCODE] == NVME_COMPARE;
    uint16_t status = compare ? take_data(q, false) : take_range(q, false);

    if (status == NVME_OK && !compare && q->n->vsl && q->n->vsl < 32 &&
        q->left > UINT64_C(4096) << q->n->vsl) {
        status = NVME_INVALID_FIELD | NVME_DNR;
    }
    if (status != NVME_OK) {
        nvme_req_end(q, status, 0);
        return;
    }
    q->step = check_next;
    nvme_req_bounce(q, check_begin);
}

/* --- write zeroes --- */

static void start_zeroes(NvmeReq *q)
{
    uint16_t status = take_range(q, true);
    uint32_t flags = cdw(q, SQE_CDW12);

    if (status != NVME_OK) {
        refuse(q, BLK_ZERO, status);
        return;
    }
    q->step = ended;
    submit(q, BLK_ZERO, (flags & NVME_RW_DEAC ? BLK_MAY_UNMAP : 0) |
                        (flags & NVME_RW_FUA || write_through(q) ? BLK_FUA : 0), q->off, q->left);
}

/* --- dataset management --- */

/* The ranges of the command, @size bytes each, into q->ranges. */
static uint16_t take_ranges(NvmeReq *q, unsigned size)
{
    q->range = 0;
    q->range_count = (cdw(q, size == RANGE ? SQE_CDW10 : SQE_CDW12) & 0xff) + 1;
    q->ranges = g_realloc(q->ranges, RANGES_MOST * COPY_RANGE);
    uint16_t status = nvme_data_begin(&q->data, &q->n->p.dev, q->cmd, q->n->page,
                                      (uint64_t)q->range_count * size, true);
    return status != NVME_OK ? status
           : nvme_data_copy(&q->data, q->ranges, (uint64_t)q->range_count * size, DMA_TO_DEVICE);
}

static void dsm_next(NvmeReq *q)
{
    while (q->range < q->range_count) {
        const uint8_t *raw = q->ranges + RANGE * q->range++;
        uint64_t count = ld32(raw + 4);
        if (count) {
            submit(q, BLK_DISCARD, 0, ld64(raw + 8) << q->ns->shift, count << q->ns->shift);
            return;
        }
    }
    ended(q);
}

static void start_dsm(NvmeReq *q)
{
    uint16_t status = take_ranges(q, RANGE);

    for (unsigned i = 0; status == NVME_OK && i < q->range_count; i++) {
        const uint8_t *raw = q->ranges + RANGE * i;
        if (!range_ok(q->ns, ld64(raw + 8), ld32(raw + 4))) {
            status = NVME_LBA_RANGE;
        }
    }
    bool discard = cdw(q, SQE_CDW11) & NVME_DSM_AD;
    if (status == NVME_OK && discard && q->ns->read_only) {
        status = NVME_NS_WRITE_PROTECTED;
    }
    if (status != NVME_OK || !discard) {       /* the rest are hints */
        nvme_req_end(q, status ? status | NVME_DNR : NVME_OK, 0);
        return;
    }
    q->step = dsm_next;
    dsm_next(q);
}

/* --- copy --- */

static void copy_next(NvmeReq *q)
{
    if (q->writing) {
        q->writing = false;
        q->dest += q->chunk;
        q->off += q->chunk;
        q->left -= q->chunk;
    } else if (q->chunk) {
        q->writing = true;
        submit_bounce(q, BLK_WRITE, q->dest, q->chunk);
        return;
    }
    if (q->left == 0) {
        if (q->range == q->range_count) {
            ended(q);
            return;
        }
        const uint8_t *raw = q->ranges + COPY_RANGE * q->range++;
        q->off = ld64(raw + 8) << q->ns->shift;
        q->left = ((uint64_t)ld16(raw + 16) + 1) << q->ns->shift;
    }
    submit_bounce(q, BLK_READ, q->off, MIN(q->left, NVME_BOUNCE));
}

static void copy_begin(NvmeReq *q)
{
    q->step = copy_next;
    q->chunk = q->left = 0;
    q->writing = false;
    copy_next(q);
}

static uint16_t check_copy(NvmeReq *q)
{
    uint64_t total = 0, lba = ld64(q->cmd + SQE_CDW10);

    if (cdw(q, SQE_CDW12) >> 8 & 15) {
        return NVME_INVALID_FIELD;             /* another format of descriptors */
    }
    if ((cdw(q, SQE_CDW12) & 0xff) > q->ns->msrc) {
        return NVME_COPY_LIMIT;
    }
    uint16_t status = take_ranges(q, COPY_RANGE);
    for (unsigned i = 0; status == NVME_OK && i < q->range_count; i++) {
        const uint8_t *raw = q->ranges + COPY_RANGE * i;
        uint64_t count = (uint64_t)ld16(raw + 16) + 1;
        total += count;
        status = count > q->ns->mssrl ? NVME_COPY_LIMIT
                 : range_ok(q->ns, ld64(raw + 8), count) ? NVME_OK : NVME_LBA_RANGE;
    }
    if (status != NVME_OK) {
        return status;
    }
    if (total > q->ns->mcl) {
        return NVME_COPY_LIMIT;
    }
    q->dest = lba << q->ns->shift;
    if (!range_ok(q->ns, lba, total)) {
        return NVME_LBA_RANGE;
    }
    return q->ns->read_only ? NVME_NS_WRITE_PROTECTED : NVME_OK;
}

static void start_copy(NvmeReq *q)
{
    uint16_t status = check_copy(q);

    if (status != NVME_OK) {
        nvme_req_end(q, status | NVME_DNR, 0);
        return;
    }
    nvme_req_bounce(q, copy_begin);
}

/* --- flush --- */

/* The next namespace of a Flush of all. */
static void flush_next(NvmeReq *q)
{
    NvmeNs *ns = NULL;

    while (q->range < NVME_NS_MAX && !ns) {
        ns = nvme_attached(q->n, ++q->range) ? q->n->ns[q->range] : NULL;
    }
    if (!ns) {
        ended(q);
        return;
    }
    if (q->ns != ns) {
        nvme_ns_put(q->ns);
        nvme_ns_get(ns);
        q->ns = ns;
    }
    submit(q, BLK_FLUSH, 0, 0, 0);
}

static void start_flush(NvmeReq *q)
{
    q->step = cdw(q, SQE_NSID) == NVME_NSID_ALL ? flush_next : ended;
    q->range = 0;
    if (q->step == flush_next) {
        flush_next(q);
    } else {
        submit(q, BLK_FLUSH, 0, 0, 0);
    }
}

/* --- decoding --- */

static uint16_t choose_ns(NvmeReq *q)
{
    uint32_t nsid = cdw(q, SQE_NSID);

    if (q->n->admin_only) {
        return NVME_INVALID_OPCODE;
    }
    if (nsid == NVME_NSID_ALL && q->cmd[SQE_OPCODE] == NVME_FLUSH) {
        for (nsid = 1; nsid < NVME_NS_MAX && !nvme_attached(q->n, nsid);) {
            nsid++;
        }
        if (!nvme_attached(q->n, nsid)) {
            return NVME_OK;
        }
    }
    if (nsid == 0 || nsid > NVME_NS_MAX) {
        return NVME_INVALID_NS;
    }
    if (!nvme_attached(q->n, nsid)) {
        return NVME_INVALID_FIELD;
    }
    if (q->n->ns[nsid]->formatting) {
        return NVME_FORMATTING;
    }
    if (q->cmd[SQE_FLAGS] & 3) {
        return NVME_INVALID_FIELD;             /* fused */
    }
    q->ns = q->n->ns[nsid];
    nvme_ns_get(q->ns);
    return NVME_OK;
}

void nvme_io_start(NvmeReq *q)
{
    uint16_t status;

    TRACE(nvme_io, "%s sq=%u cid=%u opcode=0x%02x nsid=%u", q->n->p.dev.id, q->sq->id, ld16(q->cmd + SQE_CID),
          q->cmd[SQE_OPCODE], cdw(q, SQE_NSID));
    q->ns = NULL;
    q->niov = 0;
    status = choose_ns(q);
    if (!q->ns) {
        nvme_req_end(q, status == NVME_OK || status == NVME_FORMATTING ? status : status | NVME_DNR, 0);
        return;
    }
    switch (q->cmd[SQE_OPCODE]) {
    case NVME_FLUSH:
        start_flush(q);
        break;
    case NVME_READ:
    case NVME_WRITE:
        start_rw(q);
        break;
    case NVME_COMPARE:
    case NVME_VERIFY:
        start_check(q);
        break;
    case NVME_WRITE_ZEROES:
        start_zeroes(q);
        break;
    case NVME_DSM:
        start_dsm(q);
        break;
    case NVME_COPY:
        start_copy(q);
        break;
    default:
        nvme_req_end(q, NVME_INVALID_OPCODE | NVME_DNR, 0);
        break;
    }
}
