/* convert.c: rhea-img convert (and dd, which is a convert of a window).
 *
 * 1. One cursor goes over the sources, asking what there is; what reads as zeroes, or is behind a shared
 *    backing file, is never read.  Pieces of data are read, looked at for zeroes and written by several
 *    threads.
 * 2. Data reaches a growing qcow2 image in its order, unless -W says that it need not. */
#include <inttypes.h>
#include <unistd.h>
#include "block/bitmap.h"
#include "img/img.h"
#include "util/bytes.h"
#include "util/lock.h"

#define PIECE (512 * KiB)
#define OFFLOAD_PIECE (16 * MiB)

enum { COPY_DATA, COPY_ZERO };

typedef struct Source {
    Image image;
    const char *name;
    uint64_t start;            /* in the whole */
} Source;

typedef struct Convert {
    Args *a;
    Source *sources;
    unsigned count, at;
    Image target;
    uint64_t total, pos, piece, rate;
    uint64_t cluster;          /* compressing: the unit */
    uint64_t sparse;           /* bytes of zeroes that make a hole; 0: none is made */
    bool zeroed;               /* the target reads as zeroes where nothing was written */
    bool backed;               /* it has a backing file */
    bool ordered;
    bool offload;              /* copy_file_range() has not failed yet; atomic */
    Lock offload_lock;         /* one of them at a time: they would spin at the inode of the target */
} Convert;

/* --- what is to be done --- */

static Source *source_at(Convert *c, uint64_t pos)
{
    while (c->at + 1 < c->count && pos >= c->sources[c->at + 1].start) {
        c->at++;
    }
    return &c->sources[c->at];
}

/* What @pos is; @len: at most so much. */
static int look(Convert *c, uint64_t pos, uint64_t len, BlkStatus *s)
{
    Source *src = source_at(c, pos);
    uint64_t at = pos - src->start;
    uint64_t end = c->at + 1 < c->count ? c->sources[c->at + 1].start : c->total;
    uint64_t there = blk_size(src->image.node);

    len = MIN(len, end - pos);
    if (at >= there) {         /* the last sector of one source before the next begins */
        *s = (BlkStatus){ .flags = BLK_STATUS_ZERO | BLK_STATUS_HERE, .len = len };
        return 0;
    }
    return blk_status(src->image.node, at, MIN(len, there - at), c->backed ? blk_child(src->image.node, 1) :
                      NULL, s);
}

/* Compressed clusters are written whole: one that is partly data is data. */
static int next_cluster(Convert *c, Piece *p)
{
    while (c->pos < c->total) {
        uint64_t len = MIN(c->cluster, c->total - c->pos), at = c->pos;
        bool data = false, zero = false;
        BlkStatus s;

        for (; at < c->pos + len; at += s.len) {
            int ret = look(c, at, c->total - at, &s);

            if (ret < 0) {
                return copy_failed("reading block status", at, ret);
            }
            bool here = s.flags & BLK_STATUS_HERE || !c->backed;
            data |= here && !(s.flags & BLK_STATUS_ZERO);
            zero |= here && s.flags & BLK_STATUS_ZERO && c->backed;
        }
        if (data || zero || c->sparse == 0) {
            *p = (Piece){ .off = c->pos, .len = len, .kind = COPY_DATA };
            c->pos += len;
            return 1;
        }
        c->pos = MIN(ALIGN_DOWN(at, c->cluster) > c->pos ? ALIGN_DOWN(at, c->cluster) : c->pos + len,
                     c->total);
    }
    return 0;
}

static int next(void *arg, Piece *p)
{
    Convert *c = arg;

    if (c->cluster) {
        return next_cluster(c, p);
    }
    while (c->pos < c->total) {
        BlkStatus s;
        int ret = look(c, c->pos, c->total - c->pos, &s);

        if (ret < 0) {
            return copy_failed("reading block status", c->pos, ret);
        }
        uint64_t off = c->pos;
        if (c->backed && !(s.flags & BLK_STATUS_HERE)) {
            c->pos += s.len;
            continue;
        }
        bool zero = s.flags & BLK_STATUS_ZERO;
        if (zero && c->sparse && c->zeroed) {
            c->pos += s.len;
            continue;
        }
        *p = (Piece){ .off = off, .len = MIN(s.len, c->piece), .kind = zero && c->sparse ? COPY_ZERO :
                      COPY_DATA };
        if (p->kind == COPY_ZERO) {
            p->len = s.len;
        } else if (off % c->piece && p->len > c->piece - off % c->piece) {
            p->len = c->piece - off % c->piece;
        }
        c->pos += p->len;
        return 1;
    }
    return 0;
}

/* --- doing it --- */

static int read_piece(const Convert *c, const Piece *p, uint8_t *buf)
{
    const Source *src = c->sources;
    unsigned i = 0;

    while (i + 1 < c->count && p->off >= src[i + 1].start) {
        i++;
    }
    for (uint64_t done = 0; done < p->len;) {
        uint64_t at = p->off + done - src[i].start, size = blk_size(src[i].image.node);
        uint64_t end = i + 1 < c->count ? src[i + 1].start : c->total;
        uint64_t len = MIN(p->len - done, end - (p->off + done));
        uint64_t there = at < size ? MIN(len, size - at) : 0;
        int ret = there ? blk_pread(src[i].image.node, at, buf + done, there) : 0;

        if (ret < 0 && !c->a->salvage) {
            return copy_failed("reading", p->off + done, ret);
        }
        memset(buf + done + (ret < 0 ? 0 : there), 0, len - (ret < 0 ? 0 : there));
        if (ret < 0) {
            warn_report("error while reading at byte %" PRIu64 ": %s", p->off + done, errno_text(-ret));
        }
        done += len;
        i++;
    }
    return 0;
}

/* Bytes from @at on that are all data, or (*@zero) all zeroes, in steps of c->sparse at places of their own.
 * */
static uint64_t run_length(const Convert *c, const Piece *p, const uint8_t *buf, uint64_t at, bool *zero)
{
    uint64_t end = at;

    for (bool first = true; end < p->len; first = false) {
        uint64_t step = MIN(p->len - end, c->sparse - (p->off + end) % c->sparse);
        bool is = is_zero(buf + end, step);

        if (first) {
            *zero = is;
        } else if (is != *zero) {
            break;
        }
        end += step;
    }
    return end - at;
}

static int write_zeroes(const Convert *c, uint64_t off, uint64_t len)
{
    int ret = blk_pzero(c->target.node, off, len, BLK_MAY_UNMAP);

    return ret < 0 ? copy_failed("writing", off, ret) : 0;
}

static int write_piece(const Convert *c, const Piece *p, const uint8_t *buf)
{
    int ret = 0;

    if (c->cluster) {
        bool skip = c->sparse && c->zeroed && is_zero(buf, p->len);
        ret = skip ? 0 : blk_pwrite_compressed(c->target.node, p->off, buf, p->len);
        return ret < 0 ? copy_failed("writing", p->off, ret) : 0;
    }
    for (uint64_t at = 0, len; ret == 0 && at < p->len; at += len) {
        bool zero = false;

        len = c->sparse ? run_length(c, p, buf, at, &zero) : p->len;
        if (zero && c->zeroed) {
            continue;
        }
        if (zero) {
            ret = write_zeroes(c, p->off + at, len);
        } else {
            ret = blk_pwrite(c->target.node, p->off + at, buf + at, len);
            ret = ret < 0 ? copy_failed("writing", p->off + at, ret) : 0;
        }
    }
    return ret;
}

static int work(void *arg, const Piece *p, uint8_t *buf)
{
    Convert *c = arg;
    int ret = 0;

    if (p->kind == COPY_DATA && __atomic_load_n(&c->offload, __ATOMIC_RELAXED)) {
        lock_take(&c->offload_lock);
        ret = blk_copy_range(c->sources[0].image.node, p->off, c->target.node, p->off, p->len);
        lock_drop(&c->offload_lock);
        if (ret == 0) {
            return 0;
        }
        /* Not everything can be copied so; then it is copied by hand. */
        __atomic_store_n(&c->offload, false, __ATOMIC_RELAXED);
        ret = 0;
    }
    for (Piece part = *p; part.off < p->off + p->len && ret == 0; part.off += part.len) {
        part.len = p->kind == COPY_DATA ? MIN(p->off + p->len - part.off, MAX(PIECE, c->cluster)) : p->len;
        if (part.kind == COPY_DATA) {
            ret = read_piece(c, &part, buf);
        }
        if (c->ordered && part.off == p->off) {
            copy_turn_wait(p);
        }
        if (ret == 0) {
            ret = part.kind == COPY_DATA ? write_piece(c, &part, buf) : write_zeroes(c, part.off, part.len);
        }
    }
    if (c->ordered) {
        copy_turn_over(p);
    }
    return ret;
}

/* --- the command --- */

static bool open_sources(Convert *c, Error **errp)
{
    const Args *a = c->a;
    unsigned flags = (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS : 0);

    c->count = a->count_rest - 1;
    c->sources = g_new0(Source, c->count);
    for (unsigned i = 0; i < c->count; i++) {
        Source *s = &c->sources[i];

        s->name = a->rest[i];
        s->start = c->total;
        if (!image_open(&s->image, s->name, a->format, a->src_cache, flags, errp)) {
            return false;
        }
        if (a->snapshot && !image_show(s->image.node, a->snapshot, errp)) {
            return false;
        }
        if (a->bitmaps && !blk_bitmaps_kept(s->image.node, false)) {
            return error_set(errp, "Source lacks bitmap support");
        }
        if (a->bitmaps && !bitmaps_check(s->image.node, a->skip_broken, errp)) {
            return false;
        }
        c->total += blk_size(s->image.node);
    }
    return true;
}

static bool make_target(Convert *c, BlkCreate *o, bool has_size, Error **errp)
{
    const Args *a = c->a;

    o->filename = a->rest[a->count_rest - 1];
    o->size = has_size ? o->size : c->total;
    if (a->compress && o->prealloc != BLK_PREALLOC_OFF) {
        return error_set(errp, "Compression and preallocation not supported at the same time");
    }
    if (!blk_create(o, errp)) {
        return error_context(errp, "%s: error while converting %s", o->filename, o->driver);
    }
    return true;
}

/* The options that say how the target is made. */
static bool read_target(Convert *c, BlkCreate *o, bool *has_size, bool *help, Error **errp)
{
    const Args *a = c->a;

    if (!can_create(o->driver)) {
        return error_set(errp, "Unknown file format '%s'", o->driver);
    }
    if (a->no_create && a->options->len) {
        return error_set(errp, "-o has no effect when skipping image creation");
    }
    if (!create_options_read(o->driver, a->options->str, o, has_size, help, errp)) {
        return false;
    }
    o->backing_file = a->backing ? a->backing : o->backing_file;
    o->backing_fmt = a->format2 ? a->format2 : o->backing_fmt;
    if (o->backing_file && strcmp(o->driver, "qcow2") != 0) {
        return error_set(errp, "Backing file not supported for file format '%s'", o->driver);
    }
    if (o->backing_file && !o->backing_fmt) {
        return error_set(errp, "backing format must be specified (-F), it is not guessed");
    }
    if (a->compress && strcmp(o->driver, "qcow2") != 0) {
        return error_set(errp, "Compression not supported for this file format");
    }
    if (a->compress && o->encrypt_format) {
        return error_set(errp, "Compression and encryption not supported at the same time");
    }
    return true;
}

static bool read_numbers(Convert *c, uint64_t *workers, Error **errp)
{
    const Args *a = c->a;

    c->sparse = 4096;
    *workers = 8;
    if (a->sparse && (!size_read(a->sparse, &c->sparse) || c->sparse % 512 || c->sparse > 16 * MiB)) {
        return error_set(errp, "Invalid buffer size for sparse output specified. Valid sizes are multiples "
                         "of 512 up "
                         "to 16777216. Select 0 to disable sparse detection (fully allocates output).");
    }
    if (a->offload && a->sparse) {
        return error_set(errp, "Cannot enable copy offloading when -S is used");
    }
    if (a->offload && a->compress) {
        return error_set(errp, "Cannot enable copy offloading when -c is used");
    }
    if (a->workers && !number_read(a->workers, 1, 16, workers)) {
        return error_set(errp, "Invalid number of coroutines. Allowed number of coroutines is between 1 and "
                         "16");
    }
    if (!rate_read(a, &c->rate, errp)) {
        return false;
    }
    if (a->snapshot && a->count_rest != 2) {
        return error_set(errp, "No support for concatenating multiple snapshot");
    }
    if (a->target_zero && !a->no_create) {
        return error_set(errp, "--target-is-zero requires use of -n flag");
    }
    if (a->bitmaps && a->count_rest != 2) {
        return error_set(errp, "Copying bitmaps only possible with single source");
    }
    return !a->skip_broken || a->bitmaps ||
           error_set(errp, "Use of --skip-broken-bitmaps requires --bitmaps");
}

/* True if what create made reads as zeroes.  A LUKS disk reads as noise, and a device as what it had. */
static bool new_reads_zero(BlkNode *n)
{
    BlkImageInfo info;

    while (strcmp(blk_driver_name(n), "raw") == 0) {
        n = blk_child(n, 0);
    }
    blk_image_info(n, &info);
    return strcmp(blk_driver_name(n), "luks") != 0 && strcmp(blk_driver_name(n), "host_device") != 0 &&
           !info.data_file_raw;
}

static bool convert(Convert *c, uint64_t workers, Error **errp)
{
    const Args *a = c->a;
    BlkNode *t = c->target.node;

    if (a->bitmaps && !blk_bitmaps_kept(t, true)) {
        return error_set(errp, "Format driver '%s' does not support bitmaps", blk_driver_name(t));
    }
    if (blk_size(t) < c->total && a->no_create) {
        return error_set(errp, "output file is smaller than input file");
    }
    if (a->compress) {
        BlkImageInfo info;

        blk_image_info(t, &info);
        c->cluster = info.cluster_size;
    }
    c->zeroed = ((!a->no_create && new_reads_zero(t)) || a->target_zero) && !c->backed;
    c->offload = a->offload && c->count == 1 && !a->compress;
    c->ordered = !a->any_order && !c->cluster && !strcmp(blk_driver_name(t), "qcow2");
    c->piece = c->cluster ? c->cluster : c->offload ? OFFLOAD_PIECE : MAX(PIECE, c->sparse);
    CopyOps ops = { next, work, c->total, c->rate };
    lock_init(&c->offload_lock, RANK_DOMAIN, "copy-offload");
    progress_begin(a->progress);
    int ret = copy_run(&ops, c, (unsigned)workers, MAX(MAX(PIECE, c->sparse), c->cluster));
    lock_destroy(&c->offload_lock);
    if (ret == 0) {
        progress_set(1, 1);
    }
    progress_end();
    return ret == 0 && (!a->bitmaps || bitmaps_copy(t, c->sources[0].image.node, errp));
}

static bool run(Convert *c, bool *help, Error **errp)
{
    Args *a = c->a;
    BlkCreate o = { .driver = a->out_format ? a->out_format : "raw" };
    bool has_size = false;
    uint64_t workers;

    if (!read_numbers(c, &workers, errp) || !read_target(c, &o, &has_size, help, errp) ||
        !open_sources(c, errp) ||
        (!a->no_create && !make_target(c, &o, has_size, errp))) {
        return false;
    }
    c->backed = o.backing_file != NULL;
    const char *name = a->rest[a->count_rest - 1];
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP | (a->target_opts ? OPEN_OPTS : 0) |
                     (c->backed ? 0 : OPEN_NO_BACKING);
    return image_open_key(&c->target, name, o.driver, a->cache ? a->cache : "unsafe", flags,
                          o.luks.key_secret, errp) &&
           convert(c, workers, errp);
}

int cmd_convert(Args *a)
{
    Convert c = { .a = a };
    Error *err = NULL;
    bool help = false;

    if (a->count_rest < 2) {
        error_set(&err, "Must specify image file name");
        return fail(1, err);
    }
    bool ok = run(&c, &help, &err);
    for (unsigned i = 0; i < c.count; i++) {
        image_close(&c.sources[i].image);
    }
    g_free(c.sources);
    ok = image_close(&c.target) && ok;
    if (help) {
        create_options_help(a->out_format ? a->out_format : "raw");
        return 0;
    }
    return ok ? 0 : err ? fail(1, err) : 1;
}
