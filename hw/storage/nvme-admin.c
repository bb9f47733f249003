/* nvme-admin.c: the admin queue (NVM Express 1.4, section 5), on the device loop under the domain.
 *
 * 1. Commands are answered in the order they come, except: Asynchronous Event Requests wait for events,
 *    Delete I/O Submission Queue for the queue's commands, Format NVM for the storage.
 * 2. One Format is under way at most.  It stops at a chunk when the machine does, and begins again with
 *    it. */
#include "hw/storage/nvme.h"

#define ADMIN_TURN 64u         /* commands in a row */
#define FORMAT_CHUNK GiB

/* A block request of the controller itself; freed when it is over. */
typedef struct NvmeOwnReq {
    BlkReq r;
    Nvme *n;
    NvmeNs *ns;
} NvmeOwnReq;

static NvmeOwnReq *own_req(Nvme *n, NvmeNs *ns, BlkOp op, void (*done)(BlkReq *r, int ret))
{
    NvmeOwnReq *q = g_new0(NvmeOwnReq, 1);

    q->n = n;
    q->ns = ns;
    q->r = (BlkReq){ .op = op, .loop = n->p.dev.loop, .done = done };
    n->admin_inflight++;
    return q;
}

/* Block requests are made on the device loop only, with nothing held. */
static void submit_own(void *arg)
{
    NvmeOwnReq *q = arg;

    blk_user_submit(&q->ns->user, &q->r);
}

/* --- flush --- */

static void flushed(BlkReq *r, int ret)
{
    NvmeOwnReq *q = container_of(r, NvmeOwnReq, r);
    Nvme *n = q->n;

    g_free(q);
    domain_enter(n->p.dev.domain);
    nvme_admin_leave(n);
    domain_leave(n->p.dev.domain);
}

void nvme_flush_all(Nvme *n)
{
    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (n->ns[i] && !n->ns[i]->read_only) {
            loop_call(n->p.dev.loop, submit_own, own_req(n, n->ns[i], BLK_FLUSH, flushed));
        }
    }
}

/* --- Format NVM (section 5.23) --- */

typedef struct NsChange {
    NvmeNs *ns;
    bool formatting, attached;
    uint8_t shift;
} NsChange;

static void change_ns_here(void *arg)
{
    NsChange *c = arg;

    c->ns->formatting = c->formatting;
    c->ns->shift = c->shift;
    c->ns->attached = c->attached;
}

static void change_ns(Nvme *n, NvmeNs *ns, bool formatting, uint8_t shift, bool attached)
{
    NsChange c = { ns, formatting, attached, shift };

    nvme_on_worker(n, change_ns_here, &c);
}

static void format_next(Nvme *n);

static void format_end(Nvme *n, uint16_t status)
{
    n->format_active = false;
    nvme_post(n, &n->sqs[0], ld16(n->format_cmd + SQE_CID), status, 0);
}

static void format_done(BlkReq *r, int ret)
{
    NvmeOwnReq *q = container_of(r, NvmeOwnReq, r);
    Nvme *n = q->n;
    NvmeNs *ns = q->ns;
    uint64_t end = r->off + r->len;

    domain_enter(n->p.dev.domain);
    n->format_off = end;
    if (ret < 0 && blk_front_error(&ns->front, ns->user.node, false, ret) != BLK_ERROR_IGNORE) {
        change_ns(n, ns, false, ns->shift, ns->attached);
        format_end(n, (ret == -ENOSPC ? NVME_CAPACITY : NVME_WRITE_FAULT) | NVME_DNR);
    } else if (n->format_active && !n->stopping && !n->quiet) {
        format_next(n);
    }
    g_free(q);
    nvme_admin_leave(n);
    domain_leave(n->p.dev.domain);
}

/* The next chunk, or namespace, of the Format under way. */
static void format_next(Nvme *n)
{
    uint32_t all = ld32(n->format_cmd + SQE_NSID), format = ld32(n->format_cmd + SQE_CDW10) & 15;

    while (n->format_ns <= NVME_NS_MAX) {
        NvmeNs *ns = n->ns[n->format_ns];
        uint64_t bytes = ns ? __atomic_load_n(&ns->bytes, __ATOMIC_RELAXED) : 0;
        bool chosen = ns && ns->attached && (all == NVME_NSID_ALL || all == n->format_ns);
        if (chosen && n->format_off < bytes) {
            change_ns(n, ns, true, ns->shift, ns->attached);
            NvmeOwnReq *q = own_req(n, ns, BLK_ZERO, format_done);
            q->r.flags = BLK_MAY_UNMAP;
            q->r.off = n->format_off;
            q->r.len = MIN(bytes - n->format_off, FORMAT_CHUNK);
            loop_call(n->p.dev.loop, submit_own, q);
            return;
        }
        if (chosen) {
            change_ns(n, ns, false, nvme_format_shift(ns, format), ns->attached);
        }
        n->format_ns++;
        n->format_off = 0;
    }
    format_end(n, NVME_OK);
}

void nvme_format_again(Nvme *n)
{
    if (n->format_active) {
        n->format_ns = 1;
        n->format_off = 0;
        format_next(n);
    }
}

static uint16_t check_format(const Nvme *n, const uint8_t *cmd)
{
    uint32_t nsid = ld32(cmd + SQE_NSID), how = ld32(cmd + SQE_CDW10);

    if (n->format_active) {
        return NVME_FORMATTING;
    }
    if (nsid != NVME_NSID_ALL && (nsid == 0 || nsid > NVME_NS_MAX)) {
        return NVME_INVALID_NS;
    }
    if (nsid != NVME_NSID_ALL && !nvme_attached(n, nsid)) {
        return NVME_INVALID_FIELD;
    }
    if ((how >> 9 & 7) > 1) {
        return NVME_INVALID_FIELD;             /* no cryptographic erase */
    }
    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (!nvme_attached(n, i) || (nsid != NVME_NSID_ALL && nsid != i)) {
            continue;
        }
        if (!nvme_format_shift(n->ns[i], how & 15) || (how & 0x1f0)) {
            return NVME_INVALID_FORMAT;        /* no metadata, no protection information */
        }
        if (n->ns[i]->read_only) {
            return NVME_NS_WRITE_PROTECTED;
        }
    }
    return NVME_OK;
}

/* False: it is under way. */
static bool format(Nvme *n, const uint8_t *cmd, uint16_t *status)
{
    *status = check_format(n, cmd);
    if (*status != NVME_OK) {
        return true;
    }
    n->format_active = true;
    memcpy(n->format_cmd, cmd, NVME_SQE);
    nvme_format_again(n);
    return false;
}

/* --- namespace attachment (section 5.19) --- */

static uint16_t attach(Nvme *n, const uint8_t *cmd)
{
    uint32_t nsid = ld32(cmd + SQE_NSID), what = ld32(cmd + SQE_CDW10) & 15;
    uint8_t list[4];
    NvmeData data;
    uint16_t status = nvme_data_begin(&data, &n->p.dev, cmd, n->page, 4096, false);

    if (status == NVME_OK) {
        status = nvme_data_copy(&data, list, sizeof(list), DMA_TO_DEVICE);
    }
    if (status != NVME_OK) {
        return status;
    }
    if (nsid == 0 || nsid > NVME_NS_MAX) {
        return NVME_INVALID_NS;
    }
    if (!n->ns[nsid] || what > 1) {
        return NVME_INVALID_FIELD;
    }
    if (ld16(list) != 1 || ld16(list + 2) != 0) {
        return NVME_BAD_CTRL_LIST;             /* there is controller 0 alone */
    }
    if (n->ns[nsid]->attached == (what == 0)) {
        return what == 0 ? NVME_ALREADY_ATTACHED : NVME_NOT_ATTACHED;
    }
    change_ns(n, n->ns[nsid], n->ns[nsid]->formatting, n->ns[nsid]->shift, what == 0);
    nvme_ns_changed(n, nsid);
    return NVME_OK;
}

/* --- the other commands --- */

static uint16_t identify(Nvme *n, const uint8_t *cmd)
{
    uint8_t out[4096] = { 0 };
    NvmeData data;
    uint16_t status = nvme_data_begin(&data, &n->p.dev, cmd, n->page, sizeof(out), false);

    if (status == NVME_OK) {
        status = nvme_identify(n, cmd, out);
    }
    return status == NVME_OK ? nvme_data_copy(&data, out, sizeof(out), DMA_FROM_DEVICE) : status;
}

static uint16_t shadow_doorbells(Nvme *n, const uint8_t *cmd)
{
    uint64_t dbs = ld64(cmd + SQE_DPTR), eis = ld64(cmd + SQE_DPTR + 8);

    if (!dbs || !eis || ((dbs | eis) & (n->page - 1))) {
        return NVME_INVALID_FIELD;
    }
    nvme_set_dbbuf(n, dbs, eis);
    return NVME_OK;
}

/* Only what waits for an event can be aborted: the storage gives nothing back. */
static uint16_t abort_command(Nvme *n, const uint8_t *cmd, uint32_t *result)
{
    unsigned sq = ld16(cmd + SQE_CDW10), cid = ld16(cmd + SQE_CDW10 + 2);

    *result = 1;
    if (sq > n->queue_max || !n->sqs[sq].used) {
        return NVME_INVALID_FIELD;
    }
    if (sq == 0 && nvme_aer_abort(n, (uint16_t)cid)) {
        *result = 0;
    }
    return NVME_OK;
}

/* False: it is answered later. */
static bool execute(Nvme *n, const uint8_t *cmd, uint16_t *status, uint32_t *result)
{
    if (cmd[SQE_FLAGS] & 3) {
        *status = NVME_INVALID_FIELD;
        return true;
    }
    switch (cmd[SQE_OPCODE]) {
    case NVME_DELETE_SQ:
        return nvme_delete_sq(n, cmd, status);
    case NVME_CREATE_SQ:
        *status = nvme_create_sq(n, cmd);
        return true;
    case NVME_GET_LOG:
        *status = nvme_get_log(n, cmd);
        return true;
    case NVME_DELETE_CQ:
        *status = nvme_delete_cq(n, cmd);
        return true;
    case NVME_CREATE_CQ:
        *status = nvme_create_cq(n, cmd);
        return true;
    case NVME_IDENTIFY:
        *status = identify(n, cmd);
        return true;
    case NVME_ABORT:
        *status = abort_command(n, cmd, result);
        return true;
    case NVME_SET_FEATURES:
        *status = nvme_set_feature(n, cmd, result);
        return true;
    case NVME_GET_FEATURES:
        *status = nvme_get_feature(n, cmd, result);
        return true;
    case NVME_ASYNC_EVENT:
        return nvme_aer(n, ld16(cmd + SQE_CID), status);
    case NVME_NS_ATTACH:
        *status = attach(n, cmd);
        return true;
    case NVME_DBBUF_CONFIG:
        *status = shadow_doorbells(n, cmd);
        return true;
    case NVME_FORMAT:
        return format(n, cmd, status);
    default:
        *status = NVME_INVALID_OPCODE;
        return true;
    }
}

void nvme_admin_run(Nvme *n)
{
    uint8_t cmd[NVME_SQE];
    unsigned i;

    for (i = 0; i < ADMIN_TURN && nvme_fetch(n, &n->sqs[0], cmd); i++) {
        uint16_t status = NVME_OK;
        uint32_t result = 0;
        TRACE(nvme_admin, "%s opcode=0x%02x cid=%u nsid=%u cdw10=0x%x cdw11=0x%x", n->p.dev.id,
              cmd[SQE_OPCODE], ld16(cmd + SQE_CID), ld32(cmd + SQE_NSID), ld32(cmd + SQE_CDW10),
              ld32(cmd + SQE_CDW11));
        if (execute(n, cmd, &status, &result)) {
            bool again = status == NVME_OK || status == NVME_FORMATTING || status == NVME_QUEUE_DELETION;
            nvme_post(n, &n->sqs[0], ld16(cmd + SQE_CID), again ? status : status | NVME_DNR, result);
        }
    }
    nvme_tell_events(n);
    if (i == ADMIN_TURN && !__atomic_exchange_n(&n->admin_posted, true, __ATOMIC_SEQ_CST)) {
        loop_post(n->p.dev.loop, &n->admin_post);
    }
}
