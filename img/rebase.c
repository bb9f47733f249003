/* rebase.c: rhea-img rebase.
 *
 * 1. What the new backing file would show otherwise than the old one is written into the image; only then is
 *    the name in the image changed. */
#include <inttypes.h>
#include "img/img.h"
#include "block/graph.h"
#include "util/bytes.h"

#define PIECE (512 * KiB)
#define WORKERS 4

typedef struct Rebase {
    Image image, new;
    BlkNode *old;              /* the chain behind the image, or NULL */
    BlkNode *same;             /* the part of it that the new one is, or NULL */
    uint64_t pos, total, unit;
} Rebase;

/* True if nothing of [@off, @off + @len) of @n (NULL: of nothing) is but zeroes; *@len is what this is true
 * of. */
static int all_zero(BlkNode *n, uint64_t off, uint64_t *len, bool *zero)
{
    BlkStatus s;

    *zero = true;
    if (!n || off >= blk_size(n)) {
        return 0;
    }
    int ret = blk_status(n, off, MIN(*len, blk_size(n) - off), NULL, &s);
    *zero = s.flags & BLK_STATUS_ZERO;
    *len = ret < 0 ? *len : s.len;
    return ret;
}

static int rebase_next(void *arg, Piece *p)
{
    Rebase *r = arg;

    while (r->pos < r->total) {
        uint64_t at = r->pos;
        bool old_zero = false, new_zero = false;
        BlkStatus s;
        int ret = blk_status(r->image.node, at, r->total - at, r->same ? r->same : r->old, &s);

        /* What the image itself has stays; so does what comes from the part of the chain that is kept. */
        bool mine = !ret && s.flags & BLK_STATUS_HERE && s.depth == 0;
        bool kept = !ret && r->same && !(s.flags & (BLK_STATUS_HERE | BLK_STATUS_ZERO));
        if (ret == 0 && !mine && !kept) {
            ret = all_zero(r->old, at, &s.len, &old_zero);
            ret = ret < 0 ? ret : all_zero(r->new.node, at, &s.len, &new_zero);
        }
        if (ret < 0) {
            return copy_failed("reading block status", at, ret);
        }
        if (!mine && !kept && !(old_zero && new_zero)) {
            *p = (Piece){ .off = at, .len = MIN(s.len, PIECE - at % PIECE) };
            r->pos += p->len;
            return 1;
        }
        r->pos += s.len;
    }
    return 0;
}

static int read_or_zero(BlkNode *n, uint64_t off, uint8_t *buf, uint64_t len)
{
    uint64_t there = n && off < blk_size(n) ? MIN(len, blk_size(n) - off) : 0;

    memset(buf + there, 0, len - there);
    return there ? blk_pread(n, off, buf, there) : 0;
}

/* Zeroes where the image has nothing behind it go without saying there, but not with the new backing file:
 * they are written out. */
static int put(const Rebase *r, uint64_t off, const uint8_t *buf, uint64_t len)
{
    bool behind = r->old && off + len <= blk_size(r->old);

    return behind && is_zero(buf, len) ? blk_pzero(r->image.node, off, len, BLK_MAY_UNMAP)
                                       : blk_pwrite(r->image.node, off, buf, len);
}

static int rebase_work(void *arg, const Piece *p, uint8_t *buf)
{
    Rebase *r = arg;
    const uint8_t *new = buf + PIECE;
    int ret = read_or_zero(r->old, p->off, buf, p->len);

    ret = ret < 0 ? ret : read_or_zero(r->new.node, p->off, buf + PIECE, p->len);
    if (ret < 0) {
        return copy_failed("reading", p->off, ret);
    }
    for (uint64_t at = 0, end; at < p->len && ret == 0; at = end) {
        bool same = true;

        for (end = at; end < p->len; end += MIN(r->unit - (p->off + end) % r->unit, p->len - end)) {
            uint64_t step = MIN(r->unit - (p->off + end) % r->unit, p->len - end);
            bool is = memcmp(buf + end, new + end, step) == 0;

            if (end == at) {
                same = is;
            } else if (is != same) {
                break;
            }
        }
        if (!same) {
            ret = put(r, p->off + at, buf + at, end - at);
        }
    }
    return ret < 0 ? copy_failed("writing", p->off, ret) : 0;
}

/* The layer behind the image that is the file @path, or NULL. */
static BlkNode *layer_of(BlkNode *n, const char *path)
{
    g_autofree char *real = g_canonicalize_filename(path, NULL);

    for (n = blk_child(n, 1); n; n = blk_child(n, 1)) {
        g_autofree char *its = g_canonicalize_filename(blk_filename(n), NULL);

        if (!strcmp(its, real)) {
            return n;
        }
    }
    return NULL;
}

static bool rebase(Rebase *r, const Args *a, Error **errp)
{
    g_autofree char *path = *a->backing ? path_beside(blk_filename(r->image.node), a->backing) : NULL;
    CopyOps ops = { rebase_next, rebase_work, 0 };
    BlkImageInfo info;

    if (path && !image_open(&r->new, path, a->format2, a->src_cache, OPEN_SHARE, errp)) {
        return error_context(errp, "Could not open new backing file '%s'", a->backing);
    }
    blk_image_info(r->image.node, &info);
    r->old = blk_child(r->image.node, 1);
    r->same = path ? layer_of(r->image.node, path) : NULL;
    r->unit = info.extended_l2 ? info.cluster_size / 32 : info.cluster_size;
    r->total = ops.total = blk_size(r->image.node);
    progress_begin(a->progress);
    int ret = copy_run(&ops, r, WORKERS, 2 * PIECE);
    if (ret == 0) {
        progress_set(1, 1);
    }
    progress_end();
    ret = ret < 0 ? ret : blk_pflush(r->image.node);
    return ret == 0;
}

int cmd_rebase(Args *a)
{
    unsigned flags = OPEN_WRITE | (a->unsafe ? OPEN_NO_BACKING : 0) | (a->image_opts ? OPEN_OPTS : 0) |
                     (a->share ? OPEN_SHARE : 0);
    Rebase r = { 0 };
    Error *err = NULL;
    bool ok = a->backing || error_set(&err, "-b: the new backing file must be named");

    if (ok && *a->backing && !a->format2) {
        ok = error_set(&err, "Cannot change the backing file without its format: give it with -F");
    }
    ok = ok && image_open(&r.image, a->rest[0], a->format, a->cache, flags, &err);
    if (ok && strcmp(blk_driver_name(r.image.node), "qcow2") != 0) {
        ok = error_set(&err, "Image format driver '%s' does not support a backing file",
                       blk_driver_name(r.image.node));
    }
    ok = ok && (a->unsafe || rebase(&r, a, &err));
    if (ok) {
        ok = blk_set_backing_file(r.image.node, *a->backing ? a->backing : NULL, *a->backing ? a->format2 :
                                  NULL,
                                  &err) ||
             error_context(&err, "Could not change the backing file to '%s'", a->backing);
    }
    image_close(&r.new);
    ok = image_close(&r.image) && ok;
    return ok ? 0 : err ? fail(1, err) : 1;
}
