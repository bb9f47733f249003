/* block-file-test.c: file nodes by every engine, cached and direct, on real files. */
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "block/file-int.h"
#include "tests/unit/block-helper.h"

#define FILE_SIZE (4 * MiB)

typedef struct Mode {
    const char *name;
    BlkAio aio;
    bool direct;
} Mode;

static const Mode modes[] = {
    { "threads, cached", BLK_AIO_THREADS, false },
    { "threads, direct", BLK_AIO_THREADS, true },
    { "native, direct", BLK_AIO_NATIVE, true },
    { "io_uring, cached", BLK_AIO_IO_URING, false },
    { "io_uring, direct", BLK_AIO_IO_URING, true },
};

/* A mode the machine lacks (no O_DIRECT on this file system, no io_uring here) is left out
 * aloud. */
static BlkNode *open_mode(const Mode *m, const char *path)
{
    BlkOptions o = { .driver = "file", .filename = path, .aio = m->aio, .cache_direct = m->direct,
                     .discard_unmap = true };
    Error *err = NULL;

    if (m->direct && !direct_works(path)) {
        print_message("left out: %s: no O_DIRECT here\n", m->name);
        return NULL;
    }
    BlkNode *n = blk_open(&o, &err);
    if (!n && m->aio != BLK_AIO_THREADS && strstr(error_text(err), "Unable to use aio=")) {
        print_message("left out: %s\n", error_text(err));
        error_free(err);
        return NULL;
    }
    if (!n) {
        fail_msg("%s", error_text(err));
    }
    return n;
}

/* One random request on @n, mirrored in @model. */
static void random_op(GRand *rand, BlkNode *n, Loop *l, uint8_t *model, uint8_t *buf)
{
    bool whole = g_rand_boolean(rand);
    uint64_t grain = whole ? 4096 : g_rand_boolean(rand) ? 512 : 1;
    uint64_t most = g_rand_int_range(rand, 0, 20) == 0 ? 3 * MiB : 128 * KiB;
    uint64_t off = ALIGN_DOWN((uint64_t)g_rand_double_range(rand, 0, FILE_SIZE), grain);
    uint64_t len = ALIGN_DOWN((uint64_t)g_rand_double_range(rand, 0, most), grain);
    uint8_t *at = buf + (whole ? 0 : g_rand_int_range(rand, 0, 600));
    BlkOp op = (BlkOp)g_rand_int_range(rand, 0, BLK_OPS);
    unsigned flags = (g_rand_int_range(rand, 0, 8) == 0 ? BLK_FUA : 0) |
                     (g_rand_boolean(rand) ? BLK_MAY_UNMAP : 0);
    Io io;

    len = MIN(len, FILE_SIZE - off);
    for (uint64_t i = 0; op == BLK_WRITE && i < len; i += 61) {
        at[i] = (uint8_t)g_rand_int(rand);
    }
    io_prepare(&io, n, l, op, flags, off, op <= BLK_WRITE ? at : NULL, len);
    if (op <= BLK_WRITE && len > 1000) {
        /* Three pieces, the second at an odd place. */
        io.iov[0].iov_len = whole ? 0 : 333;
        io.iov[1] = (struct iovec){ at + io.iov[0].iov_len, len / 2 };
        io.iov[2] = (struct iovec){ at + io.iov[0].iov_len + len / 2,
                                    len - len / 2 - io.iov[0].iov_len };
        io.req.niov = 3;
    }
    assert_int_equal(io_wait(&io), 0);
    if (op == BLK_WRITE) {
        memcpy(model + off, at, len);
    } else if (op == BLK_ZERO || op == BLK_DISCARD) {
        memset(model + off, 0, len);   /* a file's discarded bytes read as zeroes */
    } else if (op == BLK_READ) {
        assert_memory_equal(at, model + off, len);
    }
}

static void test_random(void **state)
{
    /* Each mode twice: woken by events, and found by polling. */
    for (unsigned i = 0; i < 2 * ARRAY_LEN(modes); i++) {
        g_autofree char *path = temp_file(FILE_SIZE, true);
        uint8_t *model = aligned(FILE_SIZE), *buf = aligned(FILE_SIZE + 4096);
        GRand *rand = g_rand_new_with_seed(42 + i);
        BlkNode *n = open_mode(&modes[i / 2], path);
        Loop *l = worker_new("w0");

        loop_set_poll(l, i % 2 ? 200 * NS_PER_US : 0, 0, 0);
        file_get(path, 0, model, FILE_SIZE);
        for (unsigned op = 0; n && op < 120; op++) {
            random_op(rand, n, l, model, buf);
        }
        if (n) {
            file_get(path, 0, buf, FILE_SIZE);
            assert_memory_equal(buf, model, FILE_SIZE);
            close_ok(n);
        }
        worker_free(l);
        g_rand_free(rand);
        free(model);
        free(buf);
        g_unlink(path);
    }
}

/* A file whose size is no multiple of anything: its last sector reads as bytes, then zeroes. */
static void test_end_of_file(void **state)
{
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        g_autofree char *path = temp_file(8192 + 100, true);
        BlkNode *n = open_mode(&modes[i], path);
        Loop *l = worker_new("w0");
        uint8_t *buf = aligned(8192), *want = aligned(8192);

        if (n) {
            file_get(path, 4096, want, 8192);
            memset(buf, 0xee, 8192);
            assert_int_equal(blk_size(n), 8192 + 512);
            assert_int_equal(io_run(n, l, BLK_READ, 0, 4096, buf, 4608), 0);
            assert_memory_equal(buf, want, 4608);
            assert_int_equal(buf[4608], 0xee);
            assert_int_equal(io_run(n, l, BLK_READ, 0, 8192, buf, 1024), -EIO);
            assert_int_equal(io_run(n, l, BLK_READ, 0, UINT64_MAX - 511, buf, 512), -EIO);
            close_ok(n);
        }
        worker_free(l);
        free(buf);
        free(want);
        g_unlink(path);
    }
}

/* Discards that the host did, and those it could not or would not do. */
static void assert_discards(const BlkNode *n, uint64_t ok, uint64_t failed, uint64_t bytes)
{
    BlkDiscards d;

    assert_true(blk_discards(n, &d));
    assert_int_equal(d.ok, ok);
    assert_int_equal(d.failed, failed);
    assert_int_equal(d.bytes, bytes);
}

/* What is taken to know whether there is room is given back, also where the host punches nothing behind the
 * end of a file (ext4). */
static void test_room(void **state)
{
    g_autofree char *path = temp_file(64 * KiB, true);
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "file", .filename = path });
    struct stat before, after;

    assert_int_equal(fsync(n->fd), 0);
    assert_int_equal(stat(path, &before), 0);
    assert_true(blk_has_room(n, 8 * MiB));
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_blocks, before.st_blocks);
    assert_int_equal(after.st_size, before.st_size);
    close_ok(n);
    g_unlink(path);
}

static void test_holes(void **state)
{
    g_autofree char *path = temp_file(MiB, true);
    BlkOptions o = { .driver = "file", .filename = path, .discard_unmap = true };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    int fd = open(path, O_RDONLY);

    assert_int_equal(io_run(n, l, BLK_DISCARD, 0, 65536, NULL, 65536), 0);
    assert_int_equal(io_run(n, l, BLK_ZERO, BLK_MAY_UNMAP, 262144, NULL, 65536), 0);
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_HOLE), 65536);
    assert_int_equal(lseek(fd, 65536, SEEK_DATA), 131072);
    assert_int_equal(lseek(fd, 131072, SEEK_HOLE), 262144);
    assert_discards(n, 1, 0, 65536);
    fault_arm("file-discard", 1);
    assert_int_equal(io_run(n, l, BLK_DISCARD, 0, 0, NULL, 512), -EIO);
    assert_true(fault_disarm());
    assert_discards(n, 1, 1, 65536);
    close_ok(n);

    /* Without discard=unmap a discard does nothing. */
    o.discard_unmap = false;
    n = open_ok(&o);
    uint64_t before, after;
    file_get(path, 524288, &before, 8);
    assert_int_equal(io_run(n, l, BLK_DISCARD, 0, 524288, NULL, 65536), 0);
    file_get(path, 524288, &after, 8);
    assert_int_equal(before, after);
    assert_int_not_equal(after, 0);
    assert_discards(n, 0, 0, 0);
    close_ok(n);
    close(fd);
    worker_free(l);
    g_unlink(path);
}

/* What status said of data is forgotten when the node makes a hole in it. */
static void test_status(void **state)
{
    g_autofree char *path = temp_file(MiB, true);
    BlkOptions o = { .driver = "file", .filename = path, .discard_unmap = true };
    BlkNode *n = open_ok(&o);
    BlkStatus s;

    assert_int_equal(blk_status(n, 0, MiB, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_DATA && s.len == MiB);
    assert_int_equal(blk_status(n, 65536, MiB - 65536, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_DATA && s.len == MiB - 65536);
    assert_int_equal(blk_pdiscard(n, 65536, 65536), 0);
    assert_int_equal(blk_status(n, 0, MiB, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_DATA && s.len == 65536);
    assert_int_equal(blk_status(n, 65536, MiB - 65536, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_ZERO && s.len == 65536);
    assert_int_equal(blk_status(n, 131072, MiB - 131072, NULL, &s), 0);
    assert_true(s.flags & BLK_STATUS_DATA && s.len == MiB - 131072);
    assert_int_equal(blk_pzero(n, 262144, 65536, BLK_MAY_UNMAP), 0);
    assert_int_equal(blk_status(n, 131072, MiB - 131072, NULL, &s), 0);
    assert_int_equal(s.len, 131072);
    close_ok(n);
    g_unlink(path);
}

#define PER_LOOP 200

typedef struct Hammer {
    Io io[PER_LOOP];
    BlkNode *node;
    Loop *loop;
    uint8_t *buf;
    uint64_t base;
    sem_t sem;
} Hammer;

static void hammer_submit(void *arg)
{
    Hammer *h = arg;

    for (unsigned i = 0; i < PER_LOOP; i++) {
        blk_submit(h->node, &h->io[i].req);
    }
}

static void hammer_run(Hammer *h, unsigned loops, BlkOp op)
{
    for (unsigned k = 0; k < loops; k++) {
        for (unsigned i = 0; i < PER_LOOP; i++) {
            io_prepare(&h[k].io[i], h[k].node, h[k].loop, op, 0, h[k].base + i * 4096,
                       h[k].buf + i * 4096, 4096);
            h[k].io[i].sem = &h[k].sem;
        }
    }
    for (unsigned k = 0; k < loops; k++) {
        loop_call(h[k].loop, hammer_submit, &h[k]);
    }
    for (unsigned k = 0; k < loops; k++) {
        for (unsigned i = 0; i < PER_LOOP; i++) {
            while (sem_wait(&h[k].sem) < 0) {
            }
        }
        loop_call_wait(h[k].loop, io_nothing, NULL);
        for (unsigned i = 0; i < PER_LOOP; i++) {
            assert_int_equal(h[k].io[i].ret, 0);
            assert_int_equal(h[k].io[i].calls, 1);
        }
    }
}

static void test_several_loops(void **state)
{
    enum { LOOPS = 3 };

    for (unsigned m = 0; m < ARRAY_LEN(modes); m++) {
        g_autofree char *path = temp_file(LOOPS * PER_LOOP * 4096, false);
        g_autofree Hammer *h = g_new0(Hammer, LOOPS);
        BlkNode *n = open_mode(&modes[m], path);
        uint8_t *seen = aligned(PER_LOOP * 4096);

        for (unsigned k = 0; n && k < LOOPS; k++) {
            h[k].node = n;
            h[k].loop = worker_new("w");
            h[k].buf = aligned(PER_LOOP * 4096);
            h[k].base = k * PER_LOOP * 4096;
            sem_init(&h[k].sem, 0, 0);
            for (unsigned i = 0; i < PER_LOOP; i++) {
                memset(h[k].buf + i * 4096, (int)(1 + k * 50 + i % 50), 4096);
            }
        }
        if (n) {
            hammer_run(h, LOOPS, BLK_WRITE);
            hammer_run(h, LOOPS, BLK_READ);
            BlkStats s;
            blk_stats(n, &s);
            assert_int_equal(s.ops[BLK_WRITE], LOOPS * PER_LOOP);
            assert_int_equal(s.bytes[BLK_READ], LOOPS * PER_LOOP * 4096);
            assert_int_equal(s.failed[BLK_READ], 0);
        }
        for (unsigned k = 0; n && k < LOOPS; k++) {
            file_get(path, h[k].base, seen, PER_LOOP * 4096);
            assert_memory_equal(seen, h[k].buf, PER_LOOP * 4096);
            worker_free(h[k].loop);
            free(h[k].buf);
            sem_destroy(&h[k].sem);
        }
        if (n) {
            close_ok(n);
        }
        free(seen);
        g_unlink(path);
    }
}

/* Many sectors of few blocks, from two loops at once: partial blocks are written whole, and no
 * neighbour may be lost by that. */
static void write_parts(uint32_t block, uint32_t part)
{
    enum { LOOPS = 2 };
    g_autofree char *path = temp_file(LOOPS * PER_LOOP * part, false);
    g_autofree Hammer *h = g_new0(Hammer, LOOPS);
    uint8_t *seen = aligned(LOOPS * PER_LOOP * part);

    BlkOptions o = { .driver = "file", .filename = path, .cache_direct = true };
    BlkNode *n = open_ok(&o);
    File *f = n->state;
    f->align = f->mem_align = block;
    for (unsigned k = 0; k < LOOPS; k++) {
        h[k].loop = worker_new("w");
        h[k].buf = aligned(PER_LOOP * part);
        sem_init(&h[k].sem, 0, 0);
        for (unsigned i = 0; i < PER_LOOP; i++) {
            memset(h[k].buf + i * part, (int)(1 + (k + i * LOOPS) % 250), part);
            /* The loops take turns in every block. */
            io_prepare(&h[k].io[i], n, h[k].loop, BLK_WRITE, 0, (k + i * LOOPS) * part,
                       h[k].buf + i * part, part);
            h[k].io[i].sem = &h[k].sem;
        }
        h[k].node = n;
    }
    for (unsigned k = 0; k < LOOPS; k++) {
        loop_call(h[k].loop, hammer_submit, &h[k]);
    }
    for (unsigned k = 0; k < LOOPS; k++) {
        for (unsigned i = 0; i < PER_LOOP; i++) {
            while (sem_wait(&h[k].sem) < 0) {
            }
        }
        loop_call_wait(h[k].loop, io_nothing, NULL);
    }
    file_get(path, 0, seen, LOOPS * PER_LOOP * part);
    for (unsigned s = 0; s < LOOPS * PER_LOOP; s++) {
        assert_int_equal(seen[s * part], 1 + s % 250);
        assert_int_equal(seen[s * part + part - 1], 1 + s % 250);
    }
    assert_null(f->gate.first);
    close_ok(n);
    for (unsigned k = 0; k < LOOPS; k++) {
        worker_free(h[k].loop);
        free(h[k].buf);
        sem_destroy(&h[k].sem);
    }
    free(seen);
    g_unlink(path);
}

/* As a disk with 4 KiB blocks has it, and as an NBD client may ask for. */
static void test_partial_blocks(void **state)
{
    g_autofree char *path = temp_file(4096, false);

    if (direct_works(path)) {
        write_parts(4096, 512);
        write_parts(512, 64);
    }
    g_unlink(path);
}

/* Zeroes past the end of a file: the file reaches to their end, and what is before them stays. */
static void test_zeroes_past_the_end(void **state)
{
    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        g_autofree char *path = temp_file(512, false);
        BlkNode *n = open_mode(&modes[i], path);
        uint8_t *buf = aligned(1024), *seen = aligned(1024);

        if (n) {
            memset(buf, 7, 1024);
            blk_grow(n, 64 * KiB);
            assert_int_equal(blk_pwrite(n, 4096, buf, 700), 0);
            assert_int_equal(blk_pzero(n, 4096 + 690, 300, 0), 0);
            assert_int_equal(blk_pread(n, 4096, seen, 990), 0);
            memset(buf + 690, 0, 300);
            assert_memory_equal(seen, buf, 990);
            close_ok(n);
            file_get(path, 4096, seen, 990);
            assert_memory_equal(seen, buf, 990);
        }
        free(buf);
        free(seen);
        g_unlink(path);
    }
}

typedef struct Writer {
    BlkNode *n;
    unsigned which;
    int ret;
} Writer;

static void *write_every_other(void *arg)
{
    Writer *w = arg;
    uint8_t part[64];

    memset(part, (int)(1 + w->which), sizeof(part));
    for (unsigned i = w->which; i < 2 * PER_LOOP && w->ret == 0; i += 2) {
        w->ret = blk_pwrite(w->n, i * sizeof(part), part, sizeof(part));
    }
    return NULL;
}

/* The same of threads that wait, as those that write compressed clusters. */
static void test_partial_blocks_blocking(void **state)
{
    g_autofree char *path = temp_file(2 * PER_LOOP * 64, false);
    uint8_t *seen = aligned(2 * PER_LOOP * 64);

    if (direct_works(path)) {
        BlkNode *n = open_ok(&(BlkOptions){ .driver = "file", .filename = path, .cache_direct = true });
        Writer w[2] = { { .n = n }, { .n = n, .which = 1 } };
        GThread *other = g_thread_new("other", write_every_other, &w[1]);

        write_every_other(&w[0]);
        g_thread_join(other);
        close_ok(n);
        file_get(path, 0, seen, 2 * PER_LOOP * 64);
        for (unsigned i = 0; i < 2 * PER_LOOP; i++) {
            assert_int_equal(seen[64 * i], 1 + i % 2);
            assert_int_equal(seen[64 * i + 63], 1 + i % 2);
        }
        assert_int_equal(w[0].ret | w[1].ret, 0);
    }
    free(seen);
    g_unlink(path);
}

/* A loop device over @path, or NULL where we may not have one. */
static char *loop_device(const char *path, int *out_fd)
{
    int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int number = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
    g_autofree char *name = g_strdup_printf("/dev/loop%d", number);
    struct loop_config config = { .fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC),
                                  .info.lo_flags = LO_FLAGS_AUTOCLEAR };

    if (ctl >= 0) {
        close(ctl);
    }
    *out_fd = number < 0 ? -1 : open(name, O_RDWR | O_CLOEXEC);
    bool ok = *out_fd >= 0 && ioctl(*out_fd, LOOP_CONFIGURE, &config) == 0;
    close((int)config.fd);
    if (!ok && *out_fd >= 0) {
        close(*out_fd);
    }
    return ok ? g_steal_pointer(&name) : NULL;
}

/* A file that others make longer: the last block is written whole, and nothing behind it is cut off. */
static void test_partial_blocks_growing(void **state)
{
    g_autofree char *path = temp_file(8192, false);
    uint8_t *buf = aligned(8192), *seen = aligned(64 * KiB);

    if (direct_works(path)) {
        BlkOptions o = { .driver = "file", .filename = path, .cache_direct = true };
        BlkNode *n = open_ok(&o);
        File *f = n->state;

        f->align = f->mem_align = 4096;
        blk_grow(n, 64 * KiB);
        memset(buf, 1, 8192);
        assert_int_equal(blk_pwrite(n, 48 * KiB, buf, 8192), 0);
        assert_int_equal(blk_pwrite(n, 16 * KiB + 512, buf, 512), 0);
        assert_int_equal(blk_pwrite(n, 8192 - 512, buf, 1024), 0);
        assert_int_equal(blk_pread(n, 0, seen, 56 * KiB), 0);
        for (unsigned i = 0; i < 56 * KiB; i += 512) {
            bool is = i >= 48 * KiB || i == 16 * KiB + 512 || i == 8192 - 512 || i == 8192;

            assert_int_equal(seen[i], is);
            assert_int_equal(seen[i + 511], is);
        }
        close_ok(n);
    }
    free(buf);
    free(seen);
    g_unlink(path);
}

static void test_host_device(void **state)
{
    g_autofree char *path = temp_file(FILE_SIZE, true);
    int fd;
    g_autofree char *device = loop_device(path, &fd);

    if (!device) {
        g_unlink(path);
        skip();
    }
    BlkOptions o = { .driver = "host_device", .filename = device, .discard_unmap = true };
    Error *err = NULL;
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    uint8_t *buf = aligned(65536), *want = aligned(65536);

    assert_int_equal(blk_size(n), FILE_SIZE);
    assert_int_equal(blk_limits(n)->logical, 512);
    file_get(path, 4096, want, 65536);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 4096, buf, 65536), 0);
    assert_memory_equal(buf, want, 65536);
    memset(want, 0, 65536);
    assert_int_equal(io_run(n, l, BLK_DISCARD, 0, 65536, NULL, 65536), 0);
    assert_discards(n, 1, 0, 65536);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 65536, buf, 65536), 0);
    assert_memory_equal(buf, want, 65536);
    assert_int_equal(io_run(n, l, BLK_ZERO, 0, 262144, NULL, 65536), 0);
    assert_int_equal(io_run(n, l, BLK_ZERO, 0, 524288 + 100, NULL, 1000), 0);
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), 0);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 262144, buf, 65536), 0);
    assert_memory_equal(buf, want, 65536);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 524288 + 100, buf, 1000), 0);
    assert_memory_equal(buf, want, 1000);
    assert_false(blk_truncate(n, 2 * FILE_SIZE, &err));
    g_autofree char *text = g_strdup_printf("Cannot grow device '%s'", device);
    assert_error(err, text);
    close_ok(n);
    close(fd);
    worker_free(l);
    free(buf);
    free(want);
    g_unlink(path);
}

/* An image may name a device as what is behind it. */
static void test_device_behind(void **state)
{
    g_autofree char *path = temp_file(MiB, true), *over = temp_file(0, false);
    int fd;
    g_autofree char *device = loop_device(path, &fd);

    if (!device) {
        g_unlink(path);
        skip();
    }
    BlkOptions file = { .driver = "file", .filename = over };
    uint8_t got[4096], want[4096];
    assert_true(blk_create(&(BlkCreate){ .driver = "qcow2", .filename = over, .size = MiB,
                                         .backing_file = device, .backing_fmt = "raw" }, NULL));
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "qcow2", .child = &file });
    file_get(path, 8192, want, sizeof(want));
    assert_int_equal(blk_pread(n, 8192, got, sizeof(got)), 0);
    assert_memory_equal(got, want, sizeof(want));
    close_ok(n);
    close(fd);
    g_unlink(path);
    g_unlink(over);
}

static void test_read_only(void **state)
{
    g_autofree char *path = temp_file(4096, true);
    BlkOptions o = { .driver = "file", .filename = path, .read_only = true };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    BlkUser u = { 0 };
    Error *err = NULL;
    char buf[512] = "";

    assert_true(blk_read_only(n));
    assert_int_equal(io_run(n, l, BLK_WRITE, 0, 0, buf, 512), -EACCES);
    assert_int_equal(io_run(n, l, BLK_DISCARD, 0, 0, NULL, 512), -EACCES);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, 512), 0);
    assert_int_equal(blk_pwrite(n, 0, buf, 512), -EACCES);
    assert_false(blk_attach(n, &u, "device 'vd0'", BLK_PERM_READ | BLK_PERM_WRITE, BLK_PERM_ALL,
                            &err));
    g_autofree char *want = g_strdup_printf("Block node '%s' is read-only", blk_name(n));
    assert_error(err, want);
    assert_false(blk_truncate(n, 8192, &err));
    assert_error(err, want);
    close_ok(n);
    worker_free(l);
    g_unlink(path);
}

static void test_open_errors(void **state)
{
    g_autofree char *path = temp_file(4096, true);
    BlkOptions o = { .driver = "file", .filename = "/nonexistent/x" };
    Error *err = NULL;

    assert_null(blk_open(&o, &err));
    assert_error(err, "Could not open '/nonexistent/x': No such file or directory");
    o.filename = "/dev";
    o.read_only = true;
    assert_null(blk_open(&o, &err));
    assert_error(err, "'file' driver requires '/dev' to be a regular file");
    o.filename = NULL;
    assert_null(blk_open(&o, &err));
    assert_error(err, "The 'file' block driver requires a file name");
    o = (BlkOptions){ .driver = "host_device", .filename = path };
    assert_null(blk_open(&o, &err));
    g_autofree char *want = g_strdup_printf("'host_device' driver requires '%s' to be either a "
                                            "character or block device", path);
    assert_error(err, want);
    o = (BlkOptions){ .driver = "file", .filename = path, .aio = BLK_AIO_NATIVE };
    assert_null(blk_open(&o, &err));
    assert_error(err, "aio=native was specified, but it requires cache.direct=on, which was not "
                      "specified.");
    o = (BlkOptions){ .driver = "file", .filename = path, .has_size = true };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Block driver 'file' has no option 'size'");
    g_unlink(path);
}

static void count_resized(BlkUser *u)
{
    *(int *)(u + 1) += 1;
}

static void test_truncate(void **state)
{
    g_autofree char *path = temp_file(4096, true);
    BlkOptions o = { .driver = "file", .filename = path };
    BlkNode *n = open_ok(&o);
    struct { BlkUser u; int count; } user = { .u.resized = count_resized };
    Error *err = NULL;
    uint8_t buf[8192];

    assert_true(blk_attach(n, &user.u, "device 'vd0'", BLK_PERM_READ | BLK_PERM_WRITE,
                           BLK_PERM_READ | BLK_PERM_RESIZE, NULL));
    assert_true(blk_truncate(n, 8000, NULL));
    assert_int_equal(blk_size(n), 8192);
    assert_int_equal(user.count, 1);
    assert_int_equal(blk_pread(n, 0, buf, 8192), 0);
    assert_int_equal(buf[4096], 0);
    assert_true(blk_change_rights(&user.u, BLK_PERM_READ, BLK_PERM_READ, NULL));
    assert_false(blk_truncate(n, 4096, &err));
    g_autofree char *want = g_strdup_printf("Node '%s' is used by device 'vd0', which does not let "
                                            "others resize it", blk_name(n));
    assert_error(err, want);
    blk_detach(&user.u);
    close_ok(n);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    thread_become_control();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_end_of_file),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_several_loops),
        cmocka_unit_test(test_partial_blocks), cmocka_unit_test(test_partial_blocks_growing),
        cmocka_unit_test(test_partial_blocks_blocking),
        cmocka_unit_test(test_zeroes_past_the_end),
        cmocka_unit_test(test_host_device),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_device_behind),
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_truncate),
        cmocka_unit_test(test_room),
    };
    int failed = cmocka_run_group_tests_name("block-file", tests, NULL, NULL);

    epoch_flush();
    return failed;
}
