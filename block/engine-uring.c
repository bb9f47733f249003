/* engine-uring.c: aio=io_uring.
 *
 * 1. One ring per loop, made on the loop's thread, which alone submits: the kernel then needs no
 *    interrupts between threads (SINGLE_ISSUER, DEFER_TASKRUN; plain rings on kernels before 6.1).
 * 2. Completions wake the loop by an eventfd, edge-triggered and never read.  (Polling the ring's
 *    own descriptor does not do: with DEFER_TASKRUN it is not woken for work that waits to be run.)
 *    While we submit or reap it is switched off, for what completes at once is taken right after.
 * 3. What does not fit into the ring stays on the list until completions make room. */
#include <errno.h>
#include <liburing.h>
#include <sys/epoll.h>
#include "block/engine.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/notifier.h"

#define ENTRIES 256                /* in flight at the host per loop */

typedef struct Uring {
    BlkLoop *bl;
    struct io_uring ring;
    Notifier woken;
    unsigned in_flight, prepared;
    BlkReq *head, **tail;          /* not yet in the ring */
} Uring;

static int ring_init(struct io_uring *ring, unsigned entries)
{
    static const unsigned tries[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int ret = -EINVAL;

    if (FAULT("uring-setup")) {
        return -ENOMEM;
    }
    for (unsigned i = 0; ret == -EINVAL && i < ARRAY_LEN(tries); i++) {
        ret = io_uring_queue_init(entries, ring, tries[i]);
    }
    return ret;
}

static int uring_probe(void)
{
    struct io_uring ring;
    int ret = ring_init(&ring, 1);

    if (ret == 0) {
        io_uring_queue_exit(&ring);
    }
    return ret;
}

static bool uring_reap(Uring *u);

static void uring_ready(void *arg, unsigned events)
{
    Uring *u = arg;

    blk_loop_enter(u->bl);
    uring_reap(u);
    blk_loop_leave(u->bl);
}

/* True if completions wait, or the kernel has work that will become some. */
static bool uring_has_events(Uring *u)
{
    return io_uring_cq_ready(&u->ring) ||
           (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
            (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static bool uring_poll(void *arg)
{
    if (!uring_has_events(arg)) {
        return false;
    }
    uring_ready(arg, 0);
    return true;
}

static const LoopPollOps uring_poll_ops = { .poll = uring_poll };

static int uring_open(BlkLoop *bl, void **out)
{
    Uring *u = g_new0(Uring, 1);
    int ret = ring_init(&u->ring, ENTRIES);

    if (ret < 0) {
        g_free(u);
        return ret;
    }
    if (!notifier_open(&u->woken, NULL)) {
        io_uring_queue_exit(&u->ring);
        g_free(u);
        return -EMFILE;
    }
    ret = io_uring_register_eventfd(&u->ring, u->woken.fd);
    if (ret < 0) {
        notifier_close(&u->woken);
        io_uring_queue_exit(&u->ring);
        g_free(u);
        return ret;
    }
    io_uring_register_ring_fd(&u->ring);   /* saves a lookup per call; not vital */
    u->bl = bl;
    u->tail = &u->head;
    loop_watch(bl->loop, u->woken.fd, EPOLLIN | EPOLLET, uring_ready, u);
    loop_poll_add(bl->loop, &uring_poll_ops, u);
    *out = u;
    return 0;
}

static void uring_close(void *e)
{
    Uring *u = e;

    loop_poll_remove(u->bl->loop, &uring_poll_ops, u);
    loop_unwatch(u->bl->loop, u->woken.fd);
    io_uring_queue_exit(&u->ring);
    notifier_close(&u->woken);
    g_free(u);
}

static void uring_queue(void *e, BlkReq *r)
{
    Uring *u = e;

    r->next = NULL;
    *u->tail = r;
    u->tail = &r->next;
}

static void prepare(struct io_uring_sqe *sqe, BlkReq *r)
{
    const BlkNode *n = r->at->node;

    if (r->op == BLK_FLUSH) {
        io_uring_prep_fsync(sqe, n->fd, IORING_FSYNC_DATASYNC);
    } else if (r->ncur == 1 && r->left <= INT32_MAX) {
        io_uring_prep_rw(r->op == BLK_READ ? IORING_OP_READ : IORING_OP_WRITE, sqe, n->fd,
                         r->cur->iov_base, (unsigned)r->left, r->pos);
    } else {
        io_uring_prep_rw(r->op == BLK_READ ? IORING_OP_READV : IORING_OP_WRITEV, sqe, n->fd,
                         r->cur, r->ncur, r->pos);
    }
    if (r->op == BLK_WRITE && r->flags & BLK_FUA && !n->no_flush) {
        sqe->rw_flags = RWF_DSYNC;
    }
    io_uring_sqe_set_data(sqe, r);
}

/* Moves requests from the list into the ring. */
static void fill(Uring *u)
{
    while (u->head && u->in_flight + u->prepared < ENTRIES) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

        if (!sqe) {
            break;
        }
        BlkReq *r = u->head;
        u->head = r->next;
        if (!u->head) {
            u->tail = &u->head;
        }
        prepare(sqe, r);
        u->prepared++;
    }
}

static void uring_flush(void *e)
{
    Uring *u = e;

    fill(u);
    io_uring_cq_eventfd_toggle(&u->ring, false);
    while (u->prepared) {
        int ret = FAULT("uring-submit") ? -EAGAIN : io_uring_submit(&u->ring);

        if (ret > 0) {
            u->prepared -= (unsigned)ret;
            u->in_flight += (unsigned)ret;
            fill(u);
        } else if (ret != -EINTR) {
            break;
        }
    }
    io_uring_cq_eventfd_toggle(&u->ring, true);
    /* The kernel publishes, then looks at the switch; we switch, then look: one of us sees the
     * other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uring_reap(u);
    if (u->prepared || u->head) {
        /* EAGAIN or EBUSY: the kernel is short of memory or wants its completions taken first.
         * With some in flight their completion brings us back, else the next turn of the loop
         * tries. */
        if (!u->in_flight) {
            u->bl->dirty |= 1u << BLK_AIO_IO_URING;
        }
    }
}

static void uring_event(Uring *u, BlkReq *r, int64_t res)
{
    u->in_flight--;
    if (FAULT(r->op == BLK_READ ? "file-read" : r->op == BLK_WRITE ? "file-write" : "file-flush")) {
        res = -EIO;
    }
    file_transferred(r, res);
}

static void run_kernel_work(Uring *u)
{
    if (__atomic_load_n(u->ring.sq.kflags, __ATOMIC_RELAXED) &
        (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) {
        io_uring_get_events(&u->ring);
    }
}

/* Takes what is complete.  The eventfd is off while the kernel turns its work into completions. */
static bool uring_reap(Uring *u)
{
    bool any = false;

    io_uring_cq_eventfd_toggle(&u->ring, false);
    run_kernel_work(u);
    io_uring_cq_eventfd_toggle(&u->ring, true);
    /* The kernel publishes, then looks at the switch; we switch, then look: one sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    run_kernel_work(u);
    if (!io_uring_cq_ready(&u->ring)) {
        return false;
    }
    u->bl->now = clock_now(CLOCK_HOST);
    for (unsigned left = io_uring_cq_ready(&u->ring); left > 0; left--) {
        struct io_uring_cqe *cqe = &u->ring.cq.cqes[*u->ring.cq.khead & *u->ring.cq.kring_mask];
        BlkReq *r = io_uring_cqe_get_data(cqe);
        int64_t res = cqe->res;

        io_uring_cq_advance(&u->ring, 1);
        uring_event(u, r, res);
        any = true;
    }
    if (any && (u->head || u->prepared)) {
        u->bl->dirty |= 1u << BLK_AIO_IO_URING;
    }
    return any;
}

const BlkEngine blk_engine_uring = {
    .name = "io_uring",
    .does_flush = true,
    .probe = uring_probe,
    .open = uring_open,
    .close = uring_close,
    .queue = uring_queue,
    .flush = uring_flush,
};
