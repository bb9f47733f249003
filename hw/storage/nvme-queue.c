/* nvme-queue.c: submission and completion queues (NVM Express 1.4, section 4.1), doorbells, interrupts, and
 * the worker that serves the I/O queues.
 *
 *   idle --nvme_hand_over: start_post--> serve --nvme_ask_back: stop_post--> halting
 *     ^-------------------------- nothing in flight ---------------------------/
 *
 * 1. Hand-over and return are posts to one loop, so they cannot overtake one another; stop_post is not posted
 *    again before its barrier was left.
 * 2. With shadow doorbells (section 5.7) the register of a queue may be a notifier, because the value is in
 *    memory; without them its value is stored by the vCPU and the worker is told by a post.
 * 3. While the loop polls, event indexes stay behind, so drivers write memory only. */
#include "hw/storage/nvme.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include "hw/pci/merge.h"

#define SERVE_TURN 64u         /* commands of one queue in a row */

static void serve_all(Nvme *n);

/* --- shadow doorbells --- */

static uint32_t *shadow(Nvme *n, uint64_t table, unsigned id, unsigned which)
{
    if (!table || id == 0) {
        return NULL;
    }
    return dma_ptr(&n->p.dev, table + 8 * id + 4 * which, 4, DMA_FROM_DEVICE);
}

/* What the driver says: 0: tail of a submission queue, 1: head of a completion queue. */
static uint32_t doorbell(Nvme *n, unsigned id, unsigned which, const uint32_t *db)
{
    uint32_t *at = shadow(n, n->dbbuf, id, which);

    return at ? le32toh(__atomic_load_n(at, __ATOMIC_ACQUIRE)) : __atomic_load_n(db, __ATOMIC_ACQUIRE);
}

/* The driver is to write the register when it goes on from @seen. */
static void ask_for_bell(Nvme *n, unsigned id, unsigned which, uint32_t seen)
{
    uint32_t *at = shadow(n, n->dbbuf_ei, id, which);

    if (at) {
        __atomic_store_n(at, htole32(seen), __ATOMIC_SEQ_CST);
        dma_wrote(at, 4);
    }
}

static uint32_t sq_tail(Nvme *n, const NvmeSq *sq)
{
    uint32_t tail = doorbell(n, sq->id, 0, &sq->db);

    return tail < sq->size ? tail : sq->head;
}

static uint32_t cq_used(Nvme *n, const NvmeCq *cq)
{
    uint32_t head = doorbell(n, cq->id, 1, &cq->db);

    /* A nonsense head: no room, until the driver writes a better one. */
    return head < cq->size ? (cq->tail + cq->size - head) % cq->size : cq->size;
}

static bool cq_room(Nvme *n, NvmeCq *cq)
{
    if (cq_used(n, cq) + cq->reserved < cq->size - 1) {
        return true;
    }
    /* Whoever moves the head serves again; what was moved meanwhile is seen now. */
    __atomic_store_n(&cq->starved, true, __ATOMIC_SEQ_CST);
    ask_for_bell(n, cq->id, 1, (cq->tail + cq->size - cq_used(n, cq) % cq->size) % cq->size);
    return cq_used(n, cq) + cq->reserved < cq->size - 1;
}

/* --- interrupts (section 7.5) --- */

void nvme_update_intx(Nvme *n)
{
    if (!merge_begin(&n->int_busy)) {
        return;
    }
    unsigned seen;
    do {
        bool level = false;
        seen = merge_seen(&n->int_busy);
        for (unsigned i = 0; i <= n->queue_max && !level; i++) {
            const NvmeCq *cq = &n->cqs[i];
            level = merge_load(&cq->used) && cq->ien && merge_load(&cq->tail) != merge_load(&cq->db);
        }
        irq_set(pci_intx(&n->p), level && !(merge_load(&n->intms) & 1) && !pci_msix_enabled(&n->p));
    } while (!merge_end(&n->int_busy, seen));
}

static void interrupt(Nvme *n, const NvmeCq *cq)
{
    if (!cq->ien) {
        return;
    }
    if (pci_msix_enabled(&n->p)) {
        pci_msix_fire(&n->p, cq->vector);
    } else {
        /* The level follows the head, so the register has to hear of it. */
        ask_for_bell(n, cq->id, 1, __atomic_load_n(&cq->db, __ATOMIC_RELAXED));
        nvme_update_intx(n);
    }
}

/* --- answers --- */

void nvme_post(Nvme *n, NvmeSq *sq, uint16_t cid, uint16_t status, uint32_t result)
{
    NvmeCq *cq = &n->cqs[sq->cqid];
    uint8_t *host = dma_ptr(&n->p.dev, cq->at + (uint64_t)cq->tail * NVME_CQE, NVME_CQE, DMA_FROM_DEVICE);
    uint32_t last = cid | ((uint32_t)status << 1 | cq->phase) << 16;

    TRACE(nvme_answer, "%s sq=%u cid=%u status=0x%x", n->p.dev.id, sq->id, cid, status);
    cq->reserved--;
    sq->inflight--;
    if (!host) {
        nvme_fail(n, "completion queue %u is not in RAM", cq->id);
        return;
    }
    st32(host, result);
    st32(host + 4, 0);
    st32(host + 8, sq->head | (uint32_t)sq->id << 16);
    /* The phase tag makes it seen. */
    __atomic_store_n((uint32_t *)(void *)(host + 12), htole32(last), __ATOMIC_RELEASE);
    dma_wrote(host, NVME_CQE);
    uint32_t tail = cq->tail + 1;
    if (tail == cq->size) {
        tail = 0;
        cq->phase = !cq->phase;
    }
    __atomic_store_n(&cq->tail, tail, __ATOMIC_SEQ_CST);
    interrupt(n, cq);
}

/* --- fetching --- */

bool nvme_fetch(Nvme *n, NvmeSq *sq, uint8_t *cmd)
{
    NvmeCq *cq = &n->cqs[sq->cqid];

    if (!sq->used || sq->deleting || __atomic_load_n(&n->failed, __ATOMIC_RELAXED) ||
        sq_tail(n, sq) == sq->head || !cq_room(n, cq)) {
        return false;
    }
    if (!dma_read(&n->p.dev, sq->at + (uint64_t)sq->head * NVME_SQE, cmd, NVME_SQE)) {
        nvme_fail(n, "submission queue %u is not in RAM", sq->id);
        return false;
    }
    sq->head = sq->head + 1 == sq->size ? 0 : sq->head + 1;
    sq->inflight++;
    cq->reserved++;
    return true;
}

bool nvme_admin_room(Nvme *n)
{
    return cq_room(n, &n->cqs[0]);
}

/* --- commands on the worker --- */

static NvmeReq *req_get(Nvme *n, NvmeSq *sq)
{
    NvmeReq *q = n->free;

    if (q) {
        n->free = q->next;
    } else {
        /* At most NVME_INFLIGHT. */
        q = g_new0(NvmeReq, 1);
    }
    q->n = n;
    q->sq = sq;
    q->next = NULL;
    n->inflight++;
    return q;
}

static void give_bounce(Nvme *n, uint8_t *bounce)
{
    NvmeReq *q = n->bounce_first;

    if (!q) {
        n->bounces--;
        g_free(bounce);
        return;
    }
    n->bounce_first = q->next;
    q->bounce = bounce;
    q->begin(q);
}

void nvme_req_bounce(NvmeReq *q, void (*begin)(NvmeReq *q))
{
    Nvme *n = q->n;

    q->begin = begin;
    if (n->bounces < NVME_BOUNCES) {
        n->bounces++;
        q->bounce = g_malloc(NVME_BOUNCE);
        begin(q);
        return;
    }
    q->next = NULL;
    if (n->bounce_first) {
        n->bounce_last->next = q;
    } else {
        n->bounce_first = q;
    }
    n->bounce_last = q;
}

/* If the queues were asked back, and nothing is in flight. */
static void come_home(Nvme *n)
{
    Barrier *home = n->home;

    if (n->halting && n->inflight == 0 && !n->deleted_posted) {
        n->halting = false;
        n->home = NULL;
        barrier_leave(home);
    }
}

static void delete_ready(Nvme *n, NvmeSq *sq)
{
    if (sq->deleting && sq->inflight == 0 && !n->deleted_posted) {
        n->deleted_posted = true;
        loop_post(n->p.dev.loop, &n->deleted_post);
    }
}

static void kick(Nvme *n)
{
    if (!__atomic_exchange_n(&n->kick_posted, true, __ATOMIC_SEQ_CST)) {
        loop_post(n->worker->loop, &n->kick_post);
    }
}

static void req_free(NvmeReq *q)
{
    Nvme *n = q->n;
    NvmeSq *sq = q->sq;

    if (q->ns) {
        nvme_ns_put(q->ns);
    }
    uint8_t *bounce = q->bounce;
    q->bounce = NULL;
    q->next = n->free;
    n->free = q;
    n->inflight--;
    if (bounce) {
        give_bounce(n, bounce);
    }
    delete_ready(n, sq);
    if (n->full && n->running) {
        n->full = false;
        kick(n);
    }
    come_home(n);
}

void nvme_req_end(NvmeReq *q, uint16_t status, uint32_t result)
{
    nvme_post(q->n, q->sq, ld16(q->cmd + SQE_CID), status, result);
    req_free(q);
}

void nvme_req_park(NvmeReq *q)
{
    if (q->sq->deleting) {
        nvme_req_end(q, NVME_ABORTED_SQ, 0);
        return;
    }
    NvmeParked *p = g_new(NvmeParked, 1);

    /* It still holds its place in both queues. */
    p->sq = q->sq->id;
    memcpy(p->cmd, q->cmd, NVME_SQE);
    g_queue_push_tail(&q->n->parked, p);
    TRACE(nvme_park, "%s sq=%u cid=%u", q->n->p.dev.id, p->sq, ld16(p->cmd + SQE_CID));
    req_free(q);
}

/* --- serving --- */

static void begin_parked(Nvme *n)
{
    while (n->again) {
        g_autofree NvmeParked *p = g_queue_pop_head(&n->parked);
        NvmeReq *q = req_get(n, &n->sqs[p->sq]);
        n->again--;
        memcpy(q->cmd, p->cmd, NVME_SQE);
        nvme_io_start(q);
    }
}

/* True: there was something. */
static bool serve(Nvme *n, NvmeSq *sq)
{
    bool any = false;

    for (unsigned i = 0; i < SERVE_TURN && !__atomic_load_n(&n->failed, __ATOMIC_RELAXED); i++) {
        if (n->inflight >= NVME_INFLIGHT) {
            n->full = true;
            return any;
        }
        NvmeReq *q = req_get(n, sq);
        if (!nvme_fetch(n, sq, q->cmd)) {
            q->next = n->free;
            n->free = q;
            n->inflight--;
            if (n->polled || !sq->used) {
                return any;
            }
            /* The driver writes the register for the next one; what came before that took effect is seen. */
            ask_for_bell(n, sq->id, 0, sq->head);
            if (sq_tail(n, sq) == sq->head || sq->deleting ||
                __atomic_load_n(&n->cqs[sq->cqid].starved, __ATOMIC_RELAXED)) {
                return any;
            }
            continue;
        }
        any = true;
        nvme_io_start(q);
    }
    if (any) {
        kick(n);                               /* the others first */
    }
    return any;
}

static bool serve_queues(Nvme *n)
{
    bool any = false;
    unsigned first = n->next_sq;

    for (unsigned i = 0; i < n->queue_max; i++) {
        NvmeSq *sq = &n->sqs[1 + (first + i) % n->queue_max];
        if (sq->used) {
            any |= serve(n, sq);
            n->next_sq = sq->id % n->queue_max;
        }
    }
    return any;
}

static void serve_all(Nvme *n)
{
    if (n->running) {
        begin_parked(n);
        serve_queues(n);
    }
}

static void kicked(Post *post)
{
    Nvme *n = container_of(post, Nvme, kick_post);

    __atomic_store_n(&n->kick_posted, false, __ATOMIC_SEQ_CST);
    serve_all(n);
}

static void bell_rang(void *arg, unsigned events)
{
    NvmeSq *sq = arg;

    notifier_take(&sq->bell);
    if (sq->n->running) {
        serve(sq->n, sq);
    }
}

static bool queues_poll(void *arg)
{
    Nvme *n = arg;

    return n->running && serve_queues(n);
}

static void queues_poll_begin(void *arg)
{
    ((Nvme *)arg)->polled = true;
}

static bool queues_poll_end(void *arg)
{
    ((Nvme *)arg)->polled = false;
    return queues_poll(arg);
}

static const LoopPollOps polls = { queues_poll, queues_poll_begin, queues_poll_end };

/* --- handing over --- */

static void watch_bells(Nvme *n, bool on)
{
    for (unsigned i = 1; i <= n->queue_max; i++) {
        NvmeSq *sq = &n->sqs[i];
        bool want = on && sq->used && sq->bell.fd >= 0;
        if (want && !sq->watched) {
            loop_watch(n->worker->loop, sq->bell.fd, EPOLLIN, bell_rang, sq);
        } else if (!want && sq->watched) {
            loop_unwatch(n->worker->loop, sq->bell.fd);
        }
        sq->watched = want;
    }
}

static void go(Post *post)
{
    Nvme *n = container_of(post, Nvme, start_post);

    n->running = true;
    n->polled = n->full = false;
    n->again = n->parked.length;
    watch_bells(n, true);
    loop_poll_add(n->worker->loop, &polls, n);
    TRACE(nvme_start, "%s parked=%u", n->p.dev.id, n->again);
    serve_all(n);
}

static void stop_serving(Nvme *n)
{
    if (n->running) {
        watch_bells(n, false);
        loop_poll_remove(n->worker->loop, &polls, n);
        n->running = false;
    }
}

static void halt(Post *post)
{
    Nvme *n = container_of(post, Nvme, stop_post);

    stop_serving(n);
    TRACE(nvme_stop, "%s inflight=%u", n->p.dev.id, n->inflight);
    n->halting = true;
    come_home(n);
}

/* The notifiers of the queues at their registers, or no more. */
static void set_bells(Nvme *n, bool on)
{
    if (!on && !n->bells) {
        return;
    }
    map_begin();
    for (unsigned i = 1; i <= n->queue_max; i++) {
        NvmeSq *sq = &n->sqs[i];
        if (sq->bell.fd >= 0) {
            if (n->bells) {
                region_doorbell_drop(&n->regs, NVME_DOORBELLS + 8 * i, &sq->bell);
            }
            if (on && sq->used && n->dbbuf) {
                region_doorbell(&n->regs, NVME_DOORBELLS + 8 * i, 4, NULL, &sq->bell);
            }
        }
    }
    map_commit();
    n->bells = on;
}

void nvme_hand_over(Nvme *n)
{
    assert_domain(n->p.dev.domain);
    if (n->handed || n->quiet || n->stopping || !(n->csts & NVME_CSTS_RDY)) {
        return;
    }
    n->handed = true;
    if (n->dbbuf && n->ioeventfd) {
        set_bells(n, true);
    }
    loop_post(n->worker->loop, &n->start_post);
}

void nvme_ask_back(Nvme *n, Barrier *home)
{
    assert_domain(n->p.dev.domain);
    if (n->handed) {
        n->handed = false;
        barrier_enter(home);
        n->home = home;
        loop_post(n->worker->loop, &n->stop_post);
    }
}

void nvme_on_worker(Nvme *n, void (*fn)(void *arg), void *arg)
{
    loop_call_wait(n->worker->loop, fn, arg);
}

/* --- doorbells (section 3.1.16) --- */

void nvme_doorbell(Nvme *n, uint64_t off, uint32_t val)
{
    unsigned id = (unsigned)(off / 8);
    NvmeSq *sq = &n->sqs[id];
    NvmeCq *cq = &n->cqs[id];
    bool head = off & 4;

    assert_domain(n->p.dev.domain);
    if (!(n->csts & NVME_CSTS_RDY) || n->stopping) {
        guest_bug("nvme", "a doorbell of a controller that is not ready");
        return;
    }
    if (id > n->queue_max || !(head ? cq->used : sq->used)) {
        guest_bug("nvme", "a doorbell of queue %u, which does not exist", id);
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL, LOG_ERRORS);
        return;
    }
    if (val >= (head ? cq->size : sq->size)) {
        guest_bug("nvme", "queue %u: doorbell value %u", id, val);
        nvme_event(n, EVENT_ERROR, EVENT_BAD_DOORBELL_VALUE, LOG_ERRORS);
        return;
    }
    __atomic_store_n(head ? &cq->db : &sq->db, val, __ATOMIC_SEQ_CST);
    if (head) {
        nvme_update_intx(n);
    }
    if (head && !__atomic_exchange_n(&cq->starved, false, __ATOMIC_SEQ_CST) && id) {
        return;
    }
    if (id == 0) {
        if (!__atomic_exchange_n(&n->admin_posted, true, __ATOMIC_SEQ_CST)) {
            loop_post(n->p.dev.loop, &n->admin_post);
        }
    } else {
        kick(n);
    }
}

/* --- making and deleting queues (sections 5.3 to 5.6) --- */

typedef struct QueueChange {
    Nvme *n;
    NvmeSq sq;
    NvmeCq cq;
    unsigned id;
    bool busy;
} QueueChange;

static void put_sq(void *arg)
{
    QueueChange *c = arg;
    Notifier bell = c->n->sqs[c->id].bell;

    c->n->sqs[c->id] = c->sq;
    c->n->sqs[c->id].bell = bell;
    c->n->cqs[c->sq.cqid].sqs++;
    if (c->n->running) {
        watch_bells(c->n, true);
    }
}

static void put_cq(void *arg)
{
    QueueChange *c = arg;
    NvmeCq *cq = &c->n->cqs[c->id];

    *cq = c->cq;
    __atomic_store_n(&cq->used, true, __ATOMIC_SEQ_CST);
}

static uint16_t check_queue(Nvme *n, const uint8_t *cmd, bool exists)
{
    unsigned id = ld16(cmd + SQE_CDW10), size = ld16(cmd + SQE_CDW10 + 2);
    uint64_t prp = ld64(cmd + SQE_DPTR);

    if (id == 0 || id > n->queue_max || exists) {
        return NVME_INVALID_QID;
    }
    if (size == 0 || size > NVME_CAP_MQES) {
        return NVME_QUEUE_SIZE;
    }
    if (prp & (n->page - 1)) {
        return NVME_PRP_OFFSET;
    }
    if (!(ld16(cmd + SQE_CDW11) & 1)) {
        return NVME_INVALID_FIELD;             /* CAP.CQR: contiguous */
    }
    return NVME_OK;
}

static bool id_taken(const Nvme *n, unsigned id, bool sq)
{
    return id <= n->queue_max && (sq ? n->sqs[id].used : n->cqs[id].used);
}

uint16_t nvme_create_sq(Nvme *n, const uint8_t *cmd)
{
    QueueChange c = { .n = n, .id = ld16(cmd + SQE_CDW10) };
    unsigned cqid = ld16(cmd + SQE_CDW11 + 2);

    if (cqid == 0 || cqid > n->queue_max || !n->cqs[cqid].used) {
        return NVME_INVALID_CQID;
    }
    uint16_t status = check_queue(n, cmd, id_taken(n, c.id, true));
    if (status != NVME_OK) {
        return status;
    }
    if (NVME_CC_IOSQES(n->cc) != NVME_SQES) {
        return NVME_QUEUE_SIZE;
    }
    g_autoptr(Error) err = NULL;
    if (n->ioeventfd && n->sqs[c.id].bell.fd < 0 && !notifier_open(&n->sqs[c.id].bell, &err)) {
        warn_report("%s: %s", n->p.dev.id, error_text(err));   /* its doorbell costs more */
    }
    c.sq = (NvmeSq){ .n = n, .id = (uint16_t)c.id, .cqid = (uint16_t)cqid, .used = true,
                     .size = ld16(cmd + SQE_CDW10 + 2) + 1u, .at = ld64(cmd + SQE_DPTR) };
    nvme_on_worker(n, put_sq, &c);
    if (n->bells) {
        set_bells(n, true);
    }
    return NVME_OK;
}

uint16_t nvme_create_cq(Nvme *n, const uint8_t *cmd)
{
    QueueChange c = { .n = n, .id = ld16(cmd + SQE_CDW10) };
    unsigned vector = ld16(cmd + SQE_CDW11 + 2);
    uint16_t status = check_queue(n, cmd, id_taken(n, c.id, false));

    if (status != NVME_OK) {
        return status;
    }
    if (vector >= n->vectors || (!pci_msix_enabled(&n->p) && vector)) {
        return NVME_INVALID_VECTOR;
    }
    if (NVME_CC_IOCQES(n->cc) != NVME_CQES) {
        return NVME_QUEUE_SIZE;
    }
    c.cq = (NvmeCq){ .id = (uint16_t)c.id, .vector = (uint16_t)vector, .ien = ld16(cmd + SQE_CDW11) & 2,
                     .size = ld16(cmd + SQE_CDW10 + 2) + 1u, .at = ld64(cmd + SQE_DPTR), .phase = true };
    nvme_on_worker(n, put_cq, &c);
    return NVME_OK;
}

static void drop_sq(NvmeSq *sq)
{
    Nvme *n = sq->n;

    if (sq->watched) {
        loop_unwatch(n->worker->loop, sq->bell.fd);
    }
    n->cqs[sq->cqid].sqs--;
    *sq = (NvmeSq){ .n = n, .id = sq->id, .bell = sq->bell };
}

/* Commands of @sq that were parked are aborted with it. */
static void abort_parked(Nvme *n, NvmeSq *sq)
{
    for (GList *l = n->parked.head, *next; l; l = next) {
        NvmeParked *p = l->data;
        next = l->next;
        if (p->sq == sq->id) {
            nvme_post(n, sq, ld16(p->cmd + SQE_CID), NVME_ABORTED_SQ, 0);
            g_free(p);
            g_queue_delete_link(&n->parked, l);
        }
    }
}

static void delete_sq_here(void *arg)
{
    QueueChange *c = arg;
    NvmeSq *sq = &c->n->sqs[c->id];

    abort_parked(c->n, sq);
    sq->deleting = true;
    c->busy = sq->inflight != 0;
    if (!c->busy) {
        drop_sq(sq);
    }
}

bool nvme_delete_sq(Nvme *n, const uint8_t *cmd, uint16_t *status)
{
    QueueChange c = { .n = n, .id = ld16(cmd + SQE_CDW10) };

    if (c.id == 0 || !id_taken(n, c.id, true) || n->sqs[c.id].deleting) {
        *status = NVME_INVALID_QID;
        return true;
    }
    bool bells = n->bells;
    set_bells(n, false);
    n->sqs[c.id].delete_cid = ld16(cmd + SQE_CID);
    nvme_on_worker(n, delete_sq_here, &c);
    if (bells) {
        set_bells(n, true);
    }
    *status = NVME_OK;
    return !c.busy;
}

static void finish_deletes(void *arg)
{
    QueueChange *c = arg;

    for (c->id = 1; c->id <= c->n->queue_max; c->id++) {
        NvmeSq *sq = &c->n->sqs[c->id];
        if (sq->used && sq->deleting && sq->inflight == 0) {
            c->sq = *sq;
            drop_sq(sq);
            return;
        }
    }
    c->n->deleted_posted = false;
    come_home(c->n);
}

/* On the device loop: a queue that is to be deleted has nothing in flight any more. */
static void deleted(Post *post)
{
    Nvme *n = container_of(post, Nvme, deleted_post);

    domain_enter(n->p.dev.domain);
    for (;;) {
        QueueChange c = { .n = n };
        nvme_on_worker(n, finish_deletes, &c);
        if (c.id > n->queue_max) {
            break;
        }
        if (n->csts & NVME_CSTS_RDY) {
            nvme_post(n, &n->sqs[0], c.sq.delete_cid, NVME_OK, 0);
        }
    }
    domain_leave(n->p.dev.domain);
}

static void delete_cq_here(void *arg)
{
    QueueChange *c = arg;
    NvmeCq *cq = &c->n->cqs[c->id];

    __atomic_store_n(&cq->used, false, __ATOMIC_SEQ_CST);
    cq->ien = false;
}

uint16_t nvme_delete_cq(Nvme *n, const uint8_t *cmd)
{
    QueueChange c = { .n = n, .id = ld16(cmd + SQE_CDW10) };

    if (c.id == 0 || !id_taken(n, c.id, false)) {
        return NVME_INVALID_QID;
    }
    if (n->cqs[c.id].sqs) {
        return NVME_QUEUE_DELETION;
    }
    nvme_on_worker(n, delete_cq_here, &c);
    nvme_update_intx(n);
    return NVME_OK;
}

bool nvme_has_io_queues(const Nvme *n)
{
    for (unsigned i = 1; i <= n->queue_max; i++) {
        if (n->sqs[i].used || n->cqs[i].used) {
            return true;
        }
    }
    return false;
}

typedef struct DbbufChange {
    Nvme *n;
    uint64_t dbs, eis;
} DbbufChange;

static void set_dbbuf_here(void *arg)
{
    DbbufChange *c = arg;
    Nvme *n = c->n;

    n->dbbuf = c->dbs;
    n->dbbuf_ei = c->eis;
    for (unsigned i = 1; i <= n->queue_max && c->dbs; i++) {
        /* From what the registers were given on. */
        uint32_t *tail = shadow(n, n->dbbuf, i, 0), *head = shadow(n, n->dbbuf, i, 1);
        if (tail && n->sqs[i].used) {
            __atomic_store_n(tail, htole32(n->sqs[i].db), __ATOMIC_SEQ_CST);
            dma_wrote(tail, 4);
        }
        if (head && n->cqs[i].used) {
            __atomic_store_n(head, htole32(n->cqs[i].db), __ATOMIC_SEQ_CST);
            dma_wrote(head, 4);
        }
    }
}

void nvme_set_dbbuf(Nvme *n, uint64_t dbs, uint64_t eis)
{
    DbbufChange c = { n, dbs, eis };

    set_bells(n, false);
    nvme_on_worker(n, set_dbbuf_here, &c);
    if (dbs && n->ioeventfd && n->handed) {
        set_bells(n, true);
        kick(n);
    }
}

/* --- life --- */

void nvme_admin_queue(Nvme *n)
{
    n->sqs[0] = (NvmeSq){ .n = n, .used = true, .size = (n->aqa & 0xfff) + 1, .at = n->asq, .bell.fd = -1 };
    n->cqs[0] = (NvmeCq){ .ien = true, .size = (n->aqa >> 16 & 0xfff) + 1, .at = n->acq, .phase = true,
                          .sqs = 1 };
    __atomic_store_n(&n->cqs[0].used, true, __ATOMIC_SEQ_CST);
}

void nvme_forget_parked(Nvme *n)
{
    g_queue_clear_full(&n->parked, g_free);
    n->again = 0;
}

void nvme_queues_reset(Nvme *n)
{
    for (unsigned i = 0; i <= n->queue_max; i++) {
        Notifier bell = n->sqs[i].bell;
        n->sqs[i] = (NvmeSq){ .n = n, .id = (uint16_t)i, .bell = bell };
        n->cqs[i] = (NvmeCq){ .id = (uint16_t)i };
    }
    n->dbbuf = n->dbbuf_ei = 0;
    n->next_sq = 0;
    nvme_forget_parked(n);
}

void nvme_queues_init(Nvme *n)
{
    n->sqs = g_new0(NvmeSq, n->queue_max + 1);
    n->cqs = g_new0(NvmeCq, n->queue_max + 1);
    for (unsigned i = 0; i <= n->queue_max; i++) {
        n->sqs[i].bell.fd = -1;
    }
    n->start_post.run = go;
    n->stop_post.run = halt;
    n->kick_post.run = kicked;
    n->deleted_post.run = deleted;
    nvme_queues_reset(n);
}

static void stop_here(void *arg)
{
    stop_serving(arg);
}

void nvme_queues_free(Nvme *n)
{
    /* Handed over: destroyed without a quiesce, the process ends.  Else a late kick may be on its way. */
    nvme_on_worker(n, stop_here, n);
    for (unsigned i = 0; i <= n->queue_max; i++) {
        if (n->sqs[i].bell.fd >= 0) {
            notifier_close(&n->sqs[i].bell);
        }
    }
    for (NvmeReq *q; (q = n->free) != NULL;) {
        n->free = q->next;
        g_free(q->iov);
        g_free(q->ranges);
        g_free(q);
    }
    nvme_forget_parked(n);
    g_clear_pointer(&n->sqs, g_free);
    g_clear_pointer(&n->cqs, g_free);
}

/* --- state: for each pair PAIR_BYTES of the blob, in the order of the stores below --- */

#define PAIR_BYTES 54u

static void save_pair(uint8_t *b, const NvmeSq *sq, const NvmeCq *cq)
{
    b[0] = sq->used;
    b[1] = cq->used;
    b[2] = cq->ien;
    b[3] = cq->phase;
    st16(b + 4, sq->cqid);
    st16(b + 6, cq->vector);
    st32(b + 8, sq->size);
    st64(b + 12, sq->at);
    st32(b + 20, sq->head);
    st32(b + 24, sq->db);
    st32(b + 28, cq->size);
    st64(b + 32, cq->at);
    st32(b + 40, cq->tail);
    st32(b + 44, cq->db);
}

void nvme_save_queues(Nvme *n)
{
    g_byte_array_set_size(n->saved, (n->queue_max + 1) * PAIR_BYTES);
    memset(n->saved->data, 0, n->saved->len);
    for (unsigned i = 0; i <= n->queue_max; i++) {
        save_pair(n->saved->data + i * PAIR_BYTES, &n->sqs[i], &n->cqs[i]);
    }
    g_byte_array_set_size(n->saved_parked, 0);
    for (GList *l = n->parked.head; l; l = l->next) {
        const NvmeParked *p = l->data;
        uint8_t id[2];
        st16(id, p->sq);
        g_byte_array_append(n->saved_parked, id, 2);
        g_byte_array_append(n->saved_parked, p->cmd, NVME_SQE);
    }
}

static bool load_pair(Nvme *n, unsigned i, const uint8_t *b)
{
    NvmeSq *sq = &n->sqs[i];
    NvmeCq *cq = &n->cqs[i];

    sq->used = b[0];
    cq->used = b[1];
    cq->ien = b[2];
    cq->phase = b[3];
    sq->cqid = ld16(b + 4);
    cq->vector = ld16(b + 6);
    sq->size = ld32(b + 8);
    sq->at = ld64(b + 12);
    sq->head = ld32(b + 20);
    sq->db = ld32(b + 24);
    cq->size = ld32(b + 28);
    cq->at = ld64(b + 32);
    cq->tail = ld32(b + 40);
    cq->db = ld32(b + 44);
    unsigned most = i ? NVME_CAP_MQES + 1 : 4096;
    bool sq_ok = !sq->used || (sq->size >= 2 && sq->size <= most && sq->head < sq->size &&
                               sq->db < sq->size && sq->cqid <= n->queue_max && !sq->cqid == !i &&
                               !(sq->at & 4095));
    bool cq_ok = !cq->used || (cq->size >= 2 && cq->size <= most && cq->tail < cq->size &&
                               cq->db < cq->size && cq->vector < n->vectors && !(cq->at & 4095));
    return b[0] <= 1 && b[1] <= 1 && b[2] <= 1 && b[3] <= 1 && sq_ok && cq_ok;
}

static bool load_parked(Nvme *n)
{
    unsigned size = 2 + NVME_SQE, len = n->saved_parked ? n->saved_parked->len : 0;

    if (len % size || len / size > NVME_INFLIGHT) {
        return false;
    }
    for (unsigned at = 0; at < len; at += size) {
        const uint8_t *b = n->saved_parked->data + at;
        unsigned id = ld16(b);
        if (id == 0 || id > n->queue_max || !n->sqs[id].used) {
            return false;
        }
        NvmeSq *sq = &n->sqs[id];
        NvmeCq *cq = &n->cqs[sq->cqid];
        if ((cq->tail + cq->size - cq->db) % cq->size + cq->reserved >= cq->size - 1 && !n->dbbuf) {
            return false;
        }
        NvmeParked *p = g_new(NvmeParked, 1);
        p->sq = (uint16_t)id;
        memcpy(p->cmd, b + 2, NVME_SQE);
        g_queue_push_tail(&n->parked, p);
        sq->inflight++;
        cq->reserved++;
    }
    return true;
}

bool nvme_load_queues(Nvme *n, Error **errp)
{
    unsigned len = n->saved ? n->saved->len : 0;
    uint64_t dbbuf = n->dbbuf, eis = n->dbbuf_ei;

    nvme_queues_reset(n);
    n->dbbuf = dbbuf;
    n->dbbuf_ei = eis;
    if (len != (n->queue_max + 1) * PAIR_BYTES) {
        return error_set(errp, "%u bytes of queues, not %u", len, (n->queue_max + 1) * PAIR_BYTES);
    }
    for (unsigned i = 0; i <= n->queue_max; i++) {
        if (!load_pair(n, i, n->saved->data + i * PAIR_BYTES)) {
            return error_set(errp, "queue %u is nonsense", i);
        }
    }
    for (unsigned i = 0; i <= n->queue_max; i++) {
        if (n->sqs[i].used && !n->cqs[n->sqs[i].cqid].used) {
            return error_set(errp, "queue %u has no completion queue", i);
        }
        if (n->sqs[i].used) {
            n->cqs[n->sqs[i].cqid].sqs++;
        }
    }
    if ((n->csts & NVME_CSTS_RDY) && !n->sqs[0].used) {
        return error_set(errp, "ready without an admin queue");
    }
    if (n->format_active) {
        n->sqs[0].inflight++;
        n->cqs[0].reserved++;
    }
    return load_parked(n) || error_set(errp, "commands in flight are nonsense");
}
