/* engine-aio.c: aio=native, Linux native AIO.
 *
 * 1. One context per loop; a batch is one io_submit().  Completions are read from the ring the
 *    kernel shares with us, without a system call; the eventfd only wakes the loop, edge-triggered,
 *    so it is never read.
 * 2. What the kernel does not take now stays on the list until completions make room; what it will
 *    never take (no room though nothing is in flight) goes to the pool.  Nothing waits for
 *    nobody. */
#include <errno.h>
#include <libaio.h>
#include <sys/epoll.h>
#include "block/engine.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/notifier.h"

#define EVENTS 256                 /* in flight at the host per loop */
#define BATCH 64                   /* of one io_submit() */

G_STATIC_ASSERT(sizeof(struct iocb) <= sizeof(((BlkReq *)0)->engine));

/* The start of the memory an io_context_t points to: the kernel's completion ring (fs/aio.c, stable
 * since 2.6; user space may take events itself where magic and features say this layout). */
typedef struct AioRing {
    unsigned id, nr, head, tail, magic, compat, incompat, header_length;
    struct io_event events[];
} AioRing;

#define AIO_RING_MAGIC 0xa10a10a1

typedef struct Aio {
    BlkLoop *bl;
    io_context_t ctx;
    AioRing *ring;                 /* NULL: not the layout we know, ask the kernel */
    Notifier woken;
    unsigned in_flight;
    BlkReq *head, **tail;          /* not yet submitted */
} Aio;

static int aio_probe(void)
{
    io_context_t ctx = NULL;
    int ret = FAULT("aio-setup") ? -EAGAIN : io_setup(1, &ctx);

    if (ret == 0) {
        io_destroy(ctx);
    }
    return ret;
}

static bool aio_reap(Aio *a);

static void aio_ready(void *arg, unsigned events)
{
    Aio *a = arg;

    blk_loop_enter(a->bl);
    aio_reap(a);
    blk_loop_leave(a->bl);
}

static bool aio_poll(void *arg)
{
    Aio *a = arg;

    if (!a->ring || __atomic_load_n(&a->ring->tail, __ATOMIC_ACQUIRE) == a->ring->head) {
        return false;
    }
    aio_ready(a, 0);
    return true;
}

static const LoopPollOps aio_poll_ops = { .poll = aio_poll };

static int aio_open(BlkLoop *bl, void **out)
{
    Aio *a = g_new0(Aio, 1);
    int ret = FAULT("aio-setup") ? -EAGAIN : io_setup(EVENTS, &a->ctx);

    if (ret < 0 || !notifier_open(&a->woken, NULL)) {
        if (ret == 0) {
            io_destroy(a->ctx);
            ret = -EMFILE;
        }
        g_free(a);
        return ret;
    }
    AioRing *ring = (AioRing *)a->ctx;
    if (ring->magic == AIO_RING_MAGIC && ring->incompat == 0) {
        a->ring = ring;
    }
    a->bl = bl;
    a->tail = &a->head;
    loop_watch(bl->loop, a->woken.fd, EPOLLIN | EPOLLET, aio_ready, a);
    loop_poll_add(bl->loop, &aio_poll_ops, a);
    *out = a;
    return 0;
}

static void aio_close(void *e)
{
    Aio *a = e;

    loop_poll_remove(a->bl->loop, &aio_poll_ops, a);
    loop_unwatch(a->bl->loop, a->woken.fd);
    io_destroy(a->ctx);
    notifier_close(&a->woken);
    g_free(a);
}

static void aio_queue(void *e, BlkReq *r)
{
    Aio *a = e;
    struct iocb *cb = (struct iocb *)r->engine;
    int fd = r->at->node->fd;

    /* By hand: io_prep_*() clear the block twice. */
    *cb = (struct iocb){ .data = r, .aio_fildes = fd };
    if (r->ncur == 1) {
        cb->aio_lio_opcode = r->op == BLK_READ ? IO_CMD_PREAD : IO_CMD_PWRITE;
        cb->u.c.buf = r->cur->iov_base;
        cb->u.c.nbytes = r->left;
    } else {
        cb->aio_lio_opcode = r->op == BLK_READ ? IO_CMD_PREADV : IO_CMD_PWRITEV;
        cb->u.c.buf = (void *)(uintptr_t)r->cur;
        cb->u.c.nbytes = r->ncur;
    }
    cb->u.c.offset = (long long)r->pos;
    cb->aio_rw_flags = r->flags & BLK_FUA && !r->at->node->no_flush ? RWF_DSYNC : 0;
    io_set_eventfd(cb, a->woken.fd);
    r->next = NULL;
    *a->tail = r;
    a->tail = &r->next;
}

static BlkReq *aio_take(Aio *a)
{
    BlkReq *r = a->head;

    a->head = r->next;
    if (!a->head) {
        a->tail = &a->head;
    }
    return r;
}

/* Hands up to BATCH requests over; returns how many, or -errno for the first. */
static int aio_submit_some(Aio *a)
{
    struct iocb *batch[BATCH];
    long n = 0;

    for (BlkReq *r = a->head; r && n < BATCH && a->in_flight + n < EVENTS; r = r->next) {
        batch[n++] = (struct iocb *)r->engine;
    }
    if (n == 0) {
        return -EAGAIN;
    }
    int ret = FAULT("aio-submit") ? -EAGAIN : io_submit(a->ctx, n, batch);
    for (int i = 0; i < ret; i++) {
        aio_take(a);
        a->in_flight++;
    }
    return ret;
}

static void aio_flush(void *e)
{
    Aio *a = e;

    while (a->head) {
        int ret = aio_submit_some(a);

        if (ret > 0 || ret == -EINTR) {
            continue;
        }
        if ((ret == -EAGAIN || ret == 0) && a->in_flight) {
            break;             /* completions make room */
        }
        file_to_pool(aio_take(a));     /* the blocking call says for good what is wrong */
    }
    aio_reap(a);               /* page cache hits are complete already */
}

static void aio_event(Aio *a, const struct io_event *ev)
{
    BlkReq *r = ev->data;
    int64_t res = (int64_t)ev->res;

    a->in_flight--;
    if (FAULT(r->op == BLK_READ ? "file-read" : "file-write")) {
        res = -EIO;
    }
    file_transferred(r, res);
}

static bool aio_reap_syscall(Aio *a)
{
    struct io_event ev[BATCH];
    struct timespec none = { 0 };
    bool any = false;

    while (a->in_flight) {
        int n = io_getevents(a->ctx, 0, BATCH, ev, &none);

        for (int i = 0; i < n; i++) {
            aio_event(a, &ev[i]);
        }
        if (n <= 0) {
            break;
        }
        any = true;
    }
    return any;
}

static bool aio_reap(Aio *a)
{
    bool any = false;

    if (!a->ring) {
        any = aio_reap_syscall(a);
    } else {
        unsigned head = a->ring->head;
        /* Pairs with the kernel's write barrier before it moves tail. */
        unsigned tail = __atomic_load_n(&a->ring->tail, __ATOMIC_ACQUIRE);

        any = head != tail;
        if (any) {
            a->bl->now = clock_now(CLOCK_HOST);
        }
        while (head != tail) {
            struct io_event ev = a->ring->events[head];

            head = head + 1 == a->ring->nr ? 0 : head + 1;
            __atomic_store_n(&a->ring->head, head, __ATOMIC_RELEASE);
            aio_event(a, &ev);
        }
    }
    if (any && a->head) {
        a->bl->dirty |= 1u << BLK_AIO_NATIVE;
    }
    return any;
}

const BlkEngine blk_engine_aio = {
    .name = "native",
    .probe = aio_probe,
    .open = aio_open,
    .close = aio_close,
    .queue = aio_queue,
    .flush = aio_flush,
};
