/* bench.c: rhea-img bench and dd. */
#include <inttypes.h>
#include <stdlib.h>
#include "img/img.h"
#include "util/bytes.h"
#include "util/clock.h"

/* --- bench --- */

typedef struct Slot {
    BlkReq r;
    struct iovec iov;
    struct Bench *b;
} Slot;

typedef struct Bench {
    BlkNode *n;
    uint64_t count, buffer, step, off, depth, interval;
    bool write, drain;
    uint64_t started, ended, since_flush;
    unsigned in_flight;
    bool flushing;
    BlkReq flush;
    int ret;
} Bench;

static void bench_on(Bench *b, Slot *s);

static void slot_done(BlkReq *r, int ret)
{
    Slot *s = container_of(r, Slot, r);
    Bench *b = s->b;

    b->in_flight--;
    b->ended++;
    b->since_flush++;
    b->ret = b->ret < 0 ? b->ret : ret;
    bench_on(b, s);
}

static void flush_done(BlkReq *r, int ret)
{
    Bench *b = container_of(r, Bench, flush);

    b->flushing = false;
    b->ret = b->ret < 0 ? b->ret : ret;
}

static void bench_on(Bench *b, Slot *s)
{
    if (b->interval && b->since_flush >= b->interval && !b->flushing && (!b->drain || !b->in_flight)) {
        b->since_flush = 0;
        b->flushing = true;
        b->flush = (BlkReq){ .op = BLK_FLUSH, .loop = s->r.loop, .done = flush_done };
        blk_submit(b->n, &b->flush);
    }
    if (b->ret < 0 || b->started == b->count) {
        return;
    }
    s->r = (BlkReq){ .op = b->write ? BLK_WRITE : BLK_READ, .off = b->off, .len = b->buffer, .iov = &s->iov,
                     .niov = 1, .loop = loop_control(), .done = slot_done };
    b->started++;
    b->in_flight++;
    b->off = (b->off + b->step) % blk_size(b->n);
    if (b->off + b->buffer > blk_size(b->n)) {
        b->off = 0;
    }
    blk_submit(b->n, &s->r);
}

static int bench(Bench *b, uint8_t pattern)
{
    g_autofree Slot *slots = g_new0(Slot, b->depth);
    void *memory = NULL;

    if (posix_memalign(&memory, 4096, b->depth * b->buffer)) {
        return -ENOMEM;
    }
    memset(memory, pattern, b->depth * b->buffer);
    for (unsigned i = 0; i < b->depth; i++) {
        slots[i].iov = (struct iovec){ (char *)memory + i * b->buffer, b->buffer };
        slots[i].b = b;
        slots[i].r.loop = loop_control();
        bench_on(b, &slots[i]);
    }
    while (b->in_flight || b->flushing) {
        loop_control_iterate(true);
    }
    free(memory);
    blk_forget_loop(loop_control());
    return b->ret;
}

static bool bench_numbers(const Args *a, Bench *b, uint64_t *pattern, Error **errp)
{
    *b = (Bench){ .count = 75000, .depth = 64, .buffer = 4096, .write = a->write, .drain = !a->no_drain };
    if (a->count && !number_read(a->count, 0, INT32_MAX, &b->count)) {
        return error_set(errp, "Invalid request count specified");
    }
    if (a->depth && !number_read(a->depth, 1, 4096, &b->depth)) {
        return error_set(errp, "Invalid queue depth specified");
    }
    if (a->buffer && (!size_read(a->buffer, &b->buffer) || !b->buffer || b->buffer > 256 * MiB)) {
        return error_set(errp, "Invalid buffer size specified");
    }
    if (a->step && (!size_read(a->step, &b->step) || b->step > INT32_MAX)) {
        return error_set(errp, "Invalid step size specified");
    }
    if (a->offset && !size_read(a->offset, &b->off)) {
        return error_set(errp, "Invalid offset specified");
    }
    if (a->interval && !number_read(a->interval, 0, INT32_MAX, &b->interval)) {
        return error_set(errp, "Invalid flush interval specified");
    }
    if (a->pattern && !number_read(a->pattern, 0, 255, pattern)) {
        return error_set(errp, "Invalid pattern byte specified");
    }
    if (!a->write && (a->interval || a->no_drain || a->pattern)) {
        return error_set(errp, "--flush-interval, --no-drain and --pattern are only available in write "
                         "tests");
    }
    b->step = b->step ? b->step : b->buffer;
    return true;
}

int cmd_bench(Args *a)
{
    unsigned flags = (a->write ? OPEN_WRITE : 0) | (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS :
            0) |
                     (a->aio && !strcmp(a->aio, "native") ? OPEN_NATIVE : 0) |
                     (a->aio && !strcmp(a->aio, "io_uring") ? OPEN_URING : 0);
    uint64_t pattern = 0;
    Error *err = NULL;
    BlkAio aio;
    Image image;
    Bench b;

    if (!bench_numbers(a, &b, &pattern, &err) || (a->aio && !blk_parse_aio(a->aio, &aio, &err)) ||
        !image_open(&image, a->rest[0], a->format, a->cache, flags, &err)) {
        return fail(1, err);
    }
    b.n = image.node;
    if (b.off + b.buffer > blk_size(b.n)) {
        error_set(&err, "The image is smaller than one request");
        image_close(&image);
        return fail(1, err);
    }
    printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel (starting at "
           "offset %"
           PRIu64 ", step size %" PRIu64 ")\n", b.count, b.write ? "write" : "read", b.buffer, b.depth, b.off,
               b.step);
    if (b.interval) {
        printf("Sending flush every %" PRIu64 " %srequests\n", b.interval, b.drain ? "" : "undrained ");
    }
    int64_t start = clock_now(CLOCK_HOST);
    int ret = bench(&b, (uint8_t)pattern);
    double seconds = (double)(clock_now(CLOCK_HOST) - start) / 1e9;
    if (ret < 0) {
        error_set_errno(&err, -ret, "Failed request");
        image_close(&image);
        return fail(1, err);
    }
    printf("Run completed in %3.3f seconds.\n", seconds);
    return image_close(&image) ? 0 : 1;
}

/* --- dd --- */

typedef struct Dd {
    uint64_t bs, count, skip;
    bool has_count;
    const char *in, *out;
} Dd;

static bool dd_word(Dd *d, const char *word, Error **errp)
{
    const char *value = strchr(word, '=');
    size_t name = value ? (size_t)(value - word) : 0;

    if (!value) {
        return error_set(errp, "unrecognized operand %s", word);
    }
    value++;
    if (!strncmp(word, "if=", 3)) {
        d->in = value;
    } else if (!strncmp(word, "of=", 3)) {
        d->out = value;
    } else if (!strncmp(word, "bs=", 3)) {
        return (size_read(value, &d->bs) && d->bs && d->bs <= INT32_MAX) ||
               error_set(errp, "Invalid bs specified. Must be between 1 and %d.", INT32_MAX);
    } else if (!strncmp(word, "count=", 6)) {
        d->has_count = true;
        return size_read(value, &d->count) || error_set(errp, "Invalid count specified.");
    } else if (!strncmp(word, "skip=", 5)) {
        return size_read(value, &d->skip) || error_set(errp, "Invalid skip specified.");
    } else {
        return error_set(errp, "unrecognized operand %.*s", (int)name, word);
    }
    return true;
}

static bool dd_copy(BlkNode *in, BlkNode *out, uint64_t from, uint64_t len, Error **errp)
{
    g_autofree uint8_t *buf = g_malloc(MiB);
    int ret = 0;

    for (uint64_t at = 0, now; at < len && ret == 0; at += now) {
        now = MIN(len - at, MiB);
        ret = blk_pread(in, from + at, buf, now);
        if (ret < 0) {
            return error_set_errno(errp, -ret, "error while reading from input image file");
        }
        ret = is_zero(buf, now) ? 0 : blk_pwrite(out, at, buf, now);
    }
    return ret == 0 || error_set_errno(errp, -ret, "error while writing to output image file");
}

int cmd_dd(Args *a)
{
    BlkCreate o = { .driver = a->out_format ? a->out_format : "raw" };
    unsigned flags = (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS : 0);
    Image in = { 0 }, out = { 0 };
    Dd d = { .bs = 512 };
    Error *err = NULL;
    bool ok = true;

    for (unsigned i = 0; ok && i < a->count_rest; i++) {
        ok = dd_word(&d, a->rest[i], &err);
    }
    if (ok && (!d.in || !d.out)) {
        ok = error_set(&err, "Must specify both input and output file names");
    }
    ok = ok && image_open(&in, d.in, a->format, NULL, flags, &err);
    if (ok) {
        uint64_t size = blk_size(in.node);
        uint64_t from = d.skip > size / d.bs ? size : d.skip * d.bs;
        uint64_t len = size - from;

        len = d.has_count && d.count <= len / d.bs ? d.count * d.bs : len;
        o.filename = d.out;
        o.size = len;
        ok = blk_create(&o, &err) && image_open(&out, d.out, o.driver, NULL, OPEN_WRITE, &err) &&
             dd_copy(in.node, out.node, from, len, &err);
    }
    image_close(&in);
    ok = image_close(&out) && ok;
    return ok ? 0 : err ? fail(1, err) : 1;
}
