/* file-io.c: how requests to a file or host device reach the host.
 *
 * 1. Engines do plain, aligned transfers.  Whatever is not plain (a short transfer, a passing
 *    error, a misaligned write, zeroing, discarding) is done by file_blocking() on the pool, from
 *    the start: repeating a transfer is harmless.  So every odd case has one piece of code,
 *    straight down.
 * 2. With O_DIRECT a write may be part of a block (a guest's of 512 bytes, an NBD client's of one), and we
 *    write whole ones: the gate keeps overlapping writes, of which one is partial, from running at once.
 * 3. A bounce buffer is at most BOUNCE_MAX; longer transfers go through it in pieces on the
 *    pool. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "block/engine.h"
#include "block/file-int.h"
#include "block/pool.h"
#include "config.h"
#include "util/bytes.h"
#include "util/fault.h"

#define BOUNCE_MAX MiB
#define BOUNCE_ALIGN 4096

G_STATIC_ASSERT(sizeof(PoolJob) <= sizeof(((BlkReq *)0)->engine));

const BlkEngine *blk_engine(BlkAio aio)
{
    static const BlkEngine *const engines[BLK_ENGINES] = {
        [BLK_AIO_THREADS] = &blk_engine_threads,
#ifdef CONFIG_LINUX_AIO
        [BLK_AIO_NATIVE] = &blk_engine_aio,
#endif
#ifdef CONFIG_IO_URING
        [BLK_AIO_IO_URING] = &blk_engine_uring,
#endif
    };

    return engines[aio];
}

/* --- blocking transfers --- */

/* The first half of what @iov begins with, as the host may have moved no more than that. */
static struct iovec short_of(const BlkNode *n, const struct iovec *iov)
{
    const File *f = n->state;

    return (struct iovec){ iov->iov_base, ALIGN_DOWN(iov->iov_len / 2, f->align) };
}

static ssize_t host_rw(const BlkNode *n, bool write, const struct iovec *iov, unsigned niov,
                       uint64_t off, int rw_flags)
{
    struct iovec part;
    ssize_t got;

    do {
        if (FAULT(write ? "file-write" : "file-read")) {
            return -EIO;
        }
        if (write && FAULT("file-full")) {
            return -ENOSPC;
        }
        if (FAULT("file-short")) {
            part = short_of(n, iov);
            niov = part.iov_len ? 1 : niov;
            iov = part.iov_len ? &part : iov;
        }
        got = write ? pwritev2(n->fd, iov, (int)niov, (off_t)off, rw_flags)
                    : preadv2(n->fd, iov, (int)niov, (off_t)off, 0);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* All of [@off, @off + @len); past the end of the file there are zeroes. */
static int transfer(const BlkNode *n, bool write, const struct iovec *iov, unsigned niov,
                    uint64_t off, uint64_t len, int rw_flags)
{
    g_autofree struct iovec *rest = NULL;
    const struct iovec *now = iov;
    unsigned count = niov;
    uint64_t done = 0;

    for (;;) {
        ssize_t got = host_rw(n, write, now, count, off + done, rw_flags);

        /* With O_DIRECT a read that ended inside a block was cut by the end of the file, and the
         * next one, misaligned, is refused. */
        if (!write && (got == 0 || (got == -EINVAL && done && n->direct))) {
            blk_iov_zero(iov, niov, done, len - done);
            return 0;
        }
        if (got <= 0) {
            return got < 0 ? (int)got : -EIO;
        }
        done += (uint64_t)got;
        if (done >= len) {
            return 0;
        }
        g_free(rest);
        now = rest = blk_iov_slice(iov, niov, done, len - done, &count);
    }
}

static void *bounce_alloc(uint64_t len)
{
    void *buf = NULL;

    if (FAULT("file-bounce") || posix_memalign(&buf, BOUNCE_ALIGN, len)) {
        return NULL;
    }
    return buf;
}

/* True if the host would refuse this with O_DIRECT. */
static bool misaligned(const File *f, uint64_t off, uint64_t len, uint64_t mem_bits)
{
    return ((off | len) & (f->align - 1)) || (mem_bits & (f->mem_align - 1));
}

/* Reads the blocks at the edges of [@lo, @hi) that [@from, @to) does not cover wholly. */
static int read_edges(BlkNode *n, char *buf, uint64_t lo, uint64_t hi, uint64_t from, uint64_t to)
{
    const File *f = n->state;
    int ret = 0;

    if (from > lo) {
        struct iovec iov = { buf, f->align };
        ret = transfer(n, false, &iov, 1, lo, f->align, 0);
    }
    if (ret == 0 && to < hi && (from <= lo || hi - lo > f->align)) {
        struct iovec iov = { buf + (hi - lo) - f->align, f->align };
        ret = transfer(n, false, &iov, 1, hi - f->align, f->align, 0);
    }
    return ret;
}

static int bounced_write(BlkNode *n, char *buf, uint64_t lo, uint64_t hi, int rw_flags)
{
    struct iovec iov = { buf, hi - lo };
    uint64_t size = blk_size(n);
    int ret = transfer(n, true, &iov, 1, lo, hi - lo, rw_flags);

    /* The last block of a file need not be whole; we must write it whole, but do not let it grow, unless
     * somebody above makes it longer: then others may have written behind this block by now. */
    if (ret == 0 && hi > size && !__atomic_load_n(&n->room, __ATOMIC_RELAXED) &&
        ftruncate(n->fd, (off_t)size) < 0) {
        ret = -errno;
    }
    return ret;
}

/* A transfer through an aligned buffer, at most BOUNCE_MAX of it at a time. */
static int bounced(BlkNode *n, bool write, const struct iovec *iov, unsigned niov, uint64_t off,
                   uint64_t len, int rw_flags)
{
    const File *f = n->state;
    uint64_t room = MIN(MAX(BOUNCE_MAX, f->align), ALIGN_UP(len + f->align, f->align));
    char *buf = bounce_alloc(ALIGN_UP(room, BOUNCE_ALIGN));
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t done = 0; ret == 0 && done < len;) {
        uint64_t from = off + done;
        uint64_t lo = ALIGN_DOWN(from, f->align);
        uint64_t hi = MIN(ALIGN_UP(off + len, f->align), lo + ALIGN_DOWN(room, f->align));
        uint64_t to = MIN(off + len, hi);
        struct iovec whole = { buf, hi - lo };

        if (write) {
            ret = read_edges(n, buf, lo, hi, from, to);
            blk_iov_read(iov, niov, done, buf + (from - lo), to - from);
            ret = ret < 0 ? ret : bounced_write(n, buf, lo, hi, rw_flags);
        } else {
            ret = transfer(n, false, &whole, 1, lo, hi - lo, 0);
            blk_iov_write(iov, niov, done, buf + (from - lo), ret == 0 ? to - from : 0);
        }
        done += to - from;
    }
    free(buf);
    return ret;
}

static uint64_t address_bits(const struct iovec *iov, unsigned niov)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < niov; i++) {
        bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
    }
    return bits;
}

static int file_rw(BlkNode *n, bool write, unsigned flags, uint64_t off, const struct iovec *iov,
                   unsigned niov, uint64_t len)
{
    const File *f = n->state;
    int rw_flags = write && flags & BLK_FUA && !n->no_flush ? RWF_DSYNC : 0;

    if (misaligned(f, off, len, address_bits(iov, niov))) {
        return bounced(n, write, iov, niov, off, len, rw_flags);
    }
    return transfer(n, write, iov, niov, off, len, rw_flags);
}

/* --- the other operations --- */

/* After a failed write-back the kernel forgets which pages were lost and the next fdatasync() would
 * say all is well: so through the page cache one failure is for good. */
static int file_flush(BlkNode *n)
{
    File *f = n->state;
    int ret = __atomic_load_n(&f->flush_error, __ATOMIC_RELAXED);

    if (n->no_flush) {
        return 0;
    }
    if (ret < 0) {
        return ret;
    }
    ret = FAULT("file-flush") ? -EIO : fdatasync(n->fd) < 0 ? -errno : 0;
    if (ret < 0 && ret != -EINTR && !n->direct) {
        __atomic_store_n(&f->flush_error, ret, __ATOMIC_RELAXED);
    }
    return ret;
}

static bool not_supported(int err)
{
    return err == EOPNOTSUPP || err == ENOSYS || err == ENOTTY || err == EINVAL || err == ENODEV;
}

static int host_allocate(const BlkNode *n, const char *point, int mode, uint64_t off, uint64_t len)
{
    int ret;

    do {
        ret = FAULT(point) ? (errno = EIO, -1) : fallocate(n->fd, mode, (off_t)off, (off_t)len);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? (not_supported(errno) ? -ENOTSUP : -errno) : 0;
}

static int host_range(const BlkNode *n, const char *point, unsigned long what, uint64_t off,
                      uint64_t len)
{
    uint64_t range[2] = { off, len };

    if (FAULT(point)) {
        return -EIO;
    }
    return ioctl(n->fd, what, range) < 0 ? (not_supported(errno) ? -ENOTSUP : -errno) : 0;
}

static int punch(BlkNode *n, const char *point, uint64_t off, uint64_t len)
{
    File *f = n->state;
    int ret = -ENOTSUP;

    if (__atomic_load_n(&f->no_punch, __ATOMIC_RELAXED)) {
        return ret;
    }
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    file_status_forget(f);
    ret = f->is_device ? host_range(n, point, BLKDISCARD, off, len)
                       : host_allocate(n, point, mode, off, len);
    if (ret == -ENOTSUP) {
        __atomic_store_n(&f->no_punch, true, __ATOMIC_RELAXED);
    }
    return ret;
}

static void count_discard(BlkDiscards *d, uint64_t len, int ret)
{
    __atomic_add_fetch(ret < 0 ? &d->failed : &d->ok, 1, __ATOMIC_RELAXED);
    __atomic_add_fetch(&d->bytes, ret < 0 ? 0 : len, __ATOMIC_RELAXED);
}

static int file_discard(BlkNode *n, uint64_t off, uint64_t len)
{
    File *f = n->state;
    uint64_t grain = f->is_device ? n->limits.logical : 1;
    uint64_t lo = ALIGN_UP(off, grain), hi = ALIGN_DOWN(off + len, grain);

    if (!n->unmap || lo >= hi) {
        return 0;
    }
    int ret = punch(n, "file-discard", lo, hi - lo);
    count_discard(&f->discards, hi - lo, ret);
    return ret == -ENOTSUP ? 0 : ret;      /* it was a hint */
}

/* Zeroes without moving data, or -ENOTSUP. */
static int zero_range(BlkNode *n, unsigned flags, uint64_t off, uint64_t len)
{
    File *f = n->state;
    int ret = -ENOTSUP;

    if (f->is_device) {
        return host_range(n, "file-zero", BLKZEROOUT, off, len);
    }
    if (flags & BLK_MAY_UNMAP && n->unmap) {
        ret = punch(n, "file-zero", off, len);     /* a hole in a file reads as zeroes */
    }
    if (ret == -ENOTSUP && !__atomic_load_n(&f->no_zero_range, __ATOMIC_RELAXED)) {
        ret = host_allocate(n, "file-zero", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, len);
        if (ret == -ENOTSUP) {
            __atomic_store_n(&f->no_zero_range, true, __ATOMIC_RELAXED);
        }
    }
    if (ret == -ENOTSUP) {
        ret = punch(n, "file-zero", off, len);
        if (ret == 0) {
            /* Not asked to give the space up: take it back.  Failing that, it still reads as
             * zeroes. */
            host_allocate(n, "file-zero", FALLOC_FL_KEEP_SIZE, off, len);
        }
    }
    return ret;
}

static int write_zeroes(BlkNode *n, uint64_t off, uint64_t len)
{
    static const uint8_t zeroes[64 * 1024] __attribute__((aligned(BOUNCE_ALIGN)));
    int ret = 0;

    while (ret == 0 && len) {
        struct iovec iov = { (void *)(uintptr_t)zeroes, MIN(len, sizeof(zeroes)) };

        ret = file_rw(n, true, 0, off, &iov, 1, iov.iov_len);
        off += iov.iov_len;
        len -= iov.iov_len;
    }
    return ret;
}

/* Zeroing keeps a file's size: where a format zeroes past the end, what it maps there must be in the file. */
static int reach(BlkNode *n, uint64_t off, uint64_t end)
{
    const File *f = n->state;
    uint64_t last = MIN(end - off, MAX(512, f->align));

    if (f->is_device) {
        return 0;
    }
    off_t size = lseek(n->fd, 0, SEEK_END);    /* threads of the pool may not ask for more */
    if (size < 0 || end <= (uint64_t)size) {
        return 0;
    }
    return write_zeroes(n, end - last, last);
}

static int file_zero(BlkNode *n, unsigned flags, uint64_t off, uint64_t len)
{
    int ret = zero_range(n, flags, off, len);

    if (ret == -ENOTSUP && !(flags & BLK_NO_FALLBACK)) {
        ret = write_zeroes(n, off, len);
    }
    ret = ret < 0 || !len ? ret : reach(n, off, off + len);
    if (ret == 0 && flags & BLK_FUA) {
        ret = file_flush(n);
    }
    return ret;
}

static int file_do(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov, unsigned niov,
                   uint64_t len)
{
    switch (op) {
    case BLK_READ:
    case BLK_WRITE:
        return len ? file_rw(n, op == BLK_WRITE, flags, off, iov, niov, len) : 0;
    case BLK_ZERO:
        return file_zero(n, flags, off, len);
    case BLK_DISCARD:
        return file_discard(n, off, len);
    case BLK_FLUSH:
        return file_flush(n);
    default:
        return -EINVAL;
    }
}

/* --- the gate --- */

/* What a request keeps while it is bounced or gated; r->aux. */
typedef struct FileAux {
    BlkReq *r;
    struct iovec iov;          /* the bounce buffer, when there is one */
    uint64_t pos, left;        /* what was asked for */
    const struct iovec *cur;
    unsigned ncur;
    bool gated;
    GateRange range;
} FileAux;

static void file_start(BlkReq *r);

static FileAux *aux_of(BlkReq *r)
{
    if (!r->aux) {
        FileAux *a = g_new0(FileAux, 1);

        *a = (FileAux){ .r = r, .pos = r->pos, .left = r->left, .cur = r->cur, .ncur = r->ncur };
        r->aux = a;
    }
    return r->aux;
}

static bool is_partial(const File *f, uint64_t off, uint64_t len)
{
    return ((off | len) & (f->align - 1)) != 0;
}

/* Writes of guests are of whole sectors: where these are whole blocks, only other people's need the gate. */
static bool is_ordered(const BlkNode *n, BlkOp op, uint64_t off, uint64_t len)
{
    const File *f = n->state;

    return n->direct && (op == BLK_WRITE || op == BLK_ZERO) && (f->align > 512 || is_partial(f, off, len));
}

/* The blocks of [@off, @off + @len). */
static GateRange blocks_of(const File *f, uint64_t off, uint64_t len)
{
    return (GateRange){ .off = ALIGN_DOWN(off, f->align), .end = ALIGN_UP(off + len, f->align),
                        .alone = is_partial(f, off, len) };
}

static void gate_start(GateRange *g)
{
    file_start(container_of(g, FileAux, range)->r);
}

/* True if @r may start now; else it is started when those in its way are done. */
static bool gate_pass(File *f, BlkReq *r)
{
    FileAux *a = aux_of(r);

    a->gated = true;
    a->range = blocks_of(f, r->pos, r->left);
    a->range.go = gate_start;
    a->range.loop = r->loop;
    return gate_enter(&f->gate, &a->range);
}

static void gate_over(BlkReq *r)
{
    FileAux *a = r->aux;
    File *f = r->at->node->state;

    if (a && a->gated) {
        gate_leave(&f->gate, &a->range);
        a->gated = false;
    }
}

int file_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov, unsigned niov,
                  uint64_t len)
{
    File *f = n->state;

    if (!len || !is_ordered(n, op, off, len)) {
        return file_do(n, op, flags, off, iov, niov, len);
    }
    GateRange range = blocks_of(f, off, len);
    if (!gate_enter_wait(&f->gate, &range)) {
        return -ENOMEM;
    }
    int ret = file_do(n, op, flags, off, iov, niov, len);
    gate_leave(&f->gate, &range);
    return ret;
}

/* --- ends --- */

static void file_end(BlkReq *r, int ret)
{
    FileAux *a = r->aux;

    gate_over(r);
    if (a) {
        free(a->iov.iov_base);
        g_free(a);
        r->aux = NULL;
    }
    blk_complete(r, ret);
}

static void pool_transfer(PoolJob *job)
{
    BlkReq *r = (BlkReq *)((char *)job - offsetof(BlkReq, engine));

    r->ret = file_do(r->at->node, r->op, r->flags, r->pos, r->cur, r->ncur, r->left);
    gate_over(r);              /* not on its loop, whose thread may wait for this */
}

static void pool_transferred(Post *p)
{
    PoolJob *job = container_of(p, PoolJob, post);
    BlkReq *r = (BlkReq *)((char *)job - offsetof(BlkReq, engine));
    BlkLoop *bl = r->at->bl;

    blk_loop_enter(bl);
    file_end(r, (int)r->ret);
    blk_loop_leave(bl);
}

PoolJob *file_pool_job(BlkReq *r)
{
    PoolJob *job = (PoolJob *)r->engine;
    const FileAux *a = r->aux;

    if (a) {
        r->cur = a->cur;       /* not the bounce buffer: the blocking code makes its own */
        r->ncur = a->ncur;
    }
    *job = (PoolJob){ .run = pool_transfer, .loop = r->loop, .post.run = pool_transferred };
    return job;
}

void file_to_pool(BlkReq *r)
{
    pool_add(file_pool_job(r), 1);
}

static void flushed(BlkReq *r, int ret)
{
    File *f = r->at->node->state;

    if (ret < 0 && !r->at->node->direct) {
        __atomic_store_n(&f->flush_error, ret, __ATOMIC_RELAXED);
    }
    file_end(r, ret);
}

void file_transferred(BlkReq *r, int64_t res)
{
    const FileAux *a = r->aux;

    if (res > 0 && FAULT("engine-short")) {
        res /= 2;
    }
    if ((uint64_t)res == r->left) {
        if (a && a->iov.iov_base && r->op == BLK_READ) {
            blk_iov_write(a->cur, a->ncur, 0, a->iov.iov_base, a->left);
        }
        file_end(r, 0);
    } else if (res >= 0 || res == -EAGAIN || res == -EINTR || res == -EINVAL ||
               res == -EOPNOTSUPP) {
        file_to_pool(r);
    } else if (r->op == BLK_FLUSH) {
        flushed(r, (int)res);
    } else {
        file_end(r, (int)res);
    }
}

/* --- the start --- */

/* @bl's engine for @aio, or its threads engine when the host has no more of the other. */
static BlkAio engine_of(BlkLoop *bl, BlkAio aio)
{
    if (G_LIKELY(bl->engine[aio])) {
        return aio;
    }
    if (!bl->engine_failed[aio]) {
        int ret = blk_engine(aio)->open(bl, &bl->engine[aio]);

        if (ret == 0) {
            return aio;
        }
        bl->engine_failed[aio] = true;
        warn_report("loop %s: no aio=%s (%s), using threads", loop_name(bl->loop),
                    blk_engine(aio)->name, errno_text(-ret));
    }
    return engine_of(bl, BLK_AIO_THREADS);     /* opening that one cannot fail */
}

/* On tmpfs a transfer is a copy and there is nothing to wait for: native AIO has no use there, and io_uring
 * would give each to a thread. */
static void to_engine(BlkReq *r)
{
    BlkLoop *bl = r->at->bl;
    const BlkNode *n = r->at->node;
    BlkAio aio = engine_of(bl, n->in_memory ? BLK_AIO_THREADS : n->aio);

    if (r->op == BLK_FLUSH && !blk_engine(aio)->does_flush) {
        file_to_pool(r);
        return;
    }
    blk_engine(aio)->queue(bl->engine[aio], r);
    bl->dirty |= 1u << aio;
    blk_loop_kick(bl);
}

/* Puts an aligned buffer in the place of @r's own; false: leave it to the pool. */
static bool bounce(const File *f, BlkReq *r)
{
    if (((r->pos | r->left) & (f->align - 1)) || r->left > BOUNCE_MAX) {
        return false;
    }
    void *buf = bounce_alloc(r->left);
    if (!buf) {
        return false;
    }
    FileAux *a = aux_of(r);
    a->iov = (struct iovec){ buf, r->left };
    if (r->op == BLK_WRITE) {
        blk_iov_read(r->cur, r->ncur, 0, buf, r->left);
    }
    r->cur = &a->iov;
    r->ncur = 1;
    return true;
}

static void file_start(BlkReq *r)
{
    const File *f = r->at->node->state;

    if ((r->op != BLK_READ && r->op != BLK_WRITE) ||
        (G_UNLIKELY(misaligned(f, r->pos, r->left, r->bits)) && !bounce(f, r))) {
        file_to_pool(r);
        return;
    }
    to_engine(r);
}

void file_submit(BlkLane *l, BlkReq *r)
{
    BlkNode *n = l->node;
    File *f = n->state;

    switch (r->op) {
    case BLK_FLUSH:
        if (n->no_flush) {
            blk_complete_later(r, 0);
        } else if (__atomic_load_n(&f->flush_error, __ATOMIC_RELAXED)) {
            blk_complete_later(r, f->flush_error);
        } else {
            to_engine(r);
        }
        break;
    case BLK_DISCARD:
        if (!n->unmap) {
            blk_complete_later(r, 0);
            break;
        }
        file_to_pool(r);
        break;
    default:
        if (is_ordered(n, r->op, r->pos, r->left) && !gate_pass(f, r)) {
            break;
        }
        file_start(r);
    }
}
