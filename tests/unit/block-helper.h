/* block-helper.h: what the block tests share: requests that a test waits for, and temporary
 * files. */
#ifndef TESTS_UNIT_BLOCK_HELPER_H
#define TESTS_UNIT_BLOCK_HELPER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/block.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/fault.h"

/* How many of @n cases to run: ThreadSanitizer takes ten times as long and says little of one thread. */
static inline unsigned cases_to_run(unsigned n)
{
    return EPOCH_TSAN ? MIN(n, 2) : n;
}

typedef struct Io {
    BlkReq req;
    BlkNode *node;
    struct iovec iov[8];
    sem_t *sem;
    int ret;
    int calls;                 /* of done() */
} Io;

static inline void io_done(BlkReq *r, int ret)
{
    Io *io = container_of(r, Io, req);

    io->ret = ret;
    __atomic_store_n(&io->calls, io->calls + 1, __ATOMIC_RELEASE);
    if (io->sem) {
        sem_post(io->sem);
    }
}

static inline void io_submit_here(void *arg)
{
    Io *io = arg;

    blk_submit(io->node, &io->req);
}

/* Fills @io for @op; at most one buffer. */
static inline void io_prepare(Io *io, BlkNode *n, Loop *l, BlkOp op, unsigned flags, uint64_t off,
                              void *buf, uint64_t len)
{
    *io = (Io){ .node = n, .ret = 1 };
    io->iov[0] = (struct iovec){ buf, len };
    io->req = (BlkReq){ .op = op, .flags = flags, .off = off, .len = len, .loop = l,
                        .iov = io->iov, .niov = buf ? 1 : 0, .done = io_done };
}

static inline void io_nothing(void *arg)
{
}

/* Submits @io on its worker loop and waits until it is done. */
static inline int io_wait(Io *io)
{
    sem_t sem;

    sem_init(&sem, 0, 0);
    io->sem = &sem;
    loop_call(io->req.loop, io_submit_here, io);
    while (sem_wait(&sem) < 0) {
    }
    sem_destroy(&sem);
    /* done() has been entered; let it return. */
    loop_call_wait(io->req.loop, io_nothing, NULL);
    assert_int_equal(io->calls, 1);
    return io->ret;
}

static inline int io_run(BlkNode *n, Loop *l, BlkOp op, unsigned flags, uint64_t off, void *buf,
                         uint64_t len)
{
    Io io;

    io_prepare(&io, n, l, op, flags, off, buf, len);
    return io_wait(&io);
}

static inline void *aligned(size_t len)
{
    void *p = NULL;

    assert_int_equal(posix_memalign(&p, 4096, len), 0);
    memset(p, 0, len);
    return p;
}

/* A new file of @size bytes holding a pattern (zeroes if !@fill); g_unlink and g_free it. */
static inline char *temp_file(uint64_t size, bool fill)
{
    char *path = g_build_filename(g_get_tmp_dir(), "rhea-block-XXXXXX", NULL);
    int fd = g_mkstemp(path);

    assert_true(fd >= 0);
    if (fill) {
        g_autofree uint8_t *bytes = g_malloc(size + 8);

        for (uint64_t i = 0; i < size; i += 8) {
            st64(bytes + i, i * 0x9e3779b97f4a7c15 + 1);
        }
        assert_int_equal(pwrite(fd, bytes, size, 0), size);
    } else {
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
    }
    close(fd);
    return path;
}

/* What the file holds, read past every layer of ours. */
static inline void file_get(const char *path, uint64_t off, void *buf, size_t len)
{
    int fd = open(path, O_RDONLY);

    memset(buf, 0, len);
    assert_true(fd >= 0);
    assert_true(pread(fd, buf, len, (off_t)off) >= 0);
    close(fd);
}

static inline bool direct_works(const char *path)
{
    int fd = open(path, O_RDWR | O_DIRECT);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static inline BlkNode *open_ok(const BlkOptions *o)
{
    Error *err = NULL;
    BlkNode *n = blk_open(o, &err);

    if (!n) {
        fail_msg("%s", error_text(err));
    }
    return n;
}

static inline void close_ok(BlkNode *n)
{
    Error *err = NULL;

    if (!blk_close(n, &err)) {
        fail_msg("%s", error_text(err));
    }
}

static inline Loop *worker_new(const char *name)
{
    Loop *l = loop_new(name, THREAD_WORKER, NULL);

    assert_non_null(l);
    return l;
}

static inline void worker_free(Loop *l)
{
    blk_forget_loop(l);
    loop_free(l);
}

#define assert_error(e, want) \
    do { \
        assert_non_null(e); \
        assert_string_equal(error_text(e), want); \
        error_free(e); \
        e = NULL; \
    } while (0)

#endif
