/* commit.c: rhea-img commit.
 *
 * 1. Every layer is opened by itself, so that the one that is written to is locked like any image in use; a
 *    range is in the first layer that has it. */
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"

#define PIECE (512 * KiB)
#define WORKERS 4
#define LAYERS_MAX 200

enum { LAYER_DATA, LAYER_ZERO };

typedef struct Commit {
    Image layers[LAYERS_MAX];  /* the top first */
    unsigned count;
    Image base;
    uint64_t pos, total;
} Commit;

/* The layer @pos is in; *@s: what it is there; NULL: in none above the base. */
static int find_layer(Commit *c, uint64_t pos, unsigned *which, BlkStatus *s)
{
    uint64_t len = c->total - pos;

    for (*which = 0; *which < c->count; ++*which) {
        BlkNode *n = c->layers[*which].node;

        if (pos >= blk_size(n)) {
            *s = (BlkStatus){ .flags = BLK_STATUS_ZERO | BLK_STATUS_HERE, .len = len };
            return 0;
        }
        int ret = blk_status(n, pos, MIN(len, blk_size(n) - pos), NULL, s);
        if (ret < 0 || s->flags & BLK_STATUS_HERE) {
            return ret;
        }
        len = s->len;
    }
    *s = (BlkStatus){ .len = len };
    return 0;
}

static int commit_next(void *arg, Piece *p)
{
    Commit *c = arg;
    BlkStatus s;
    unsigned which;

    while (c->pos < c->total) {
        int ret = find_layer(c, c->pos, &which, &s);

        if (ret < 0) {
            return copy_failed("reading block status", c->pos, ret);
        }
        if (s.flags & BLK_STATUS_HERE) {
            bool zero = s.flags & BLK_STATUS_ZERO;

            *p = (Piece){ .off = c->pos, .len = zero ? s.len : MIN(s.len, PIECE - c->pos % PIECE),
                          .kind = zero ? LAYER_ZERO : LAYER_DATA, .own = c->layers[which].node };
            c->pos += p->len;
            return 1;
        }
        c->pos += s.len;
    }
    return 0;
}

static int commit_work(void *arg, const Piece *p, uint8_t *buf)
{
    Commit *c = arg;
    int ret;

    if (p->kind == LAYER_ZERO) {
        ret = blk_pzero(c->base.node, p->off, p->len, BLK_MAY_UNMAP);
        return ret < 0 ? copy_failed("writing", p->off, ret) : 0;
    }
    ret = blk_pread(p->own, p->off, buf, p->len);
    if (ret < 0) {
        return copy_failed("reading", p->off, ret);
    }
    ret = blk_pwrite(c->base.node, p->off, buf, p->len);
    return ret < 0 ? copy_failed("writing", p->off, ret) : 0;
}

/* Opens the layers from @name down to the one above the base, and the base. */
static bool open_layers(Commit *c, const Args *a, Error **errp)
{
    unsigned flags = OPEN_NO_BACKING | OPEN_WRITE | OPEN_UNMAP | (a->image_opts ? OPEN_OPTS : 0);
    g_autofree char *name = g_strdup(a->rest[0]), *format = g_strdup(a->format);

    for (;;) {
        BlkImageInfo info;

        if (c->count == LAYERS_MAX) {
            return error_set(errp, "The backing chain is longer than %u images, or a loop", LAYERS_MAX);
        }
        Image *i = &c->layers[c->count++];
        if (!image_open(i, name, format, a->cache, flags, errp)) {
            return false;
        }
        blk_image_info(i->node, &info);
        if (!info.backing_file && c->count == 1 && !a->backing) {
            return error_set(errp, "Image does not have a backing file");
        }
        if (!info.backing_file) {
            return error_set(errp, "Did not find '%s' in the backing chain of '%s'", a->backing, a->rest[0]);
        }
        char *below = path_beside(blk_filename(i->node), info.backing_file);
        g_free(name);
        g_free(format);
        name = below;
        format = g_strdup(info.backing_format);
        if (!a->backing || !strcmp(a->backing, name) || !strcmp(a->backing, info.backing_file)) {
            return image_open(&c->base, name, format, a->cache, OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP, errp);
        }
        flags = OPEN_NO_BACKING;
    }
}

static bool commit(Commit *c, const Args *a, Error **errp)
{
    CopyOps ops = { commit_next, commit_work, 0, 0 };

    if (!rate_read(a, &ops.rate, errp)) {
        return false;
    }
    c->total = ops.total = blk_size(c->layers[0].node);
    if (blk_size(c->base.node) < c->total && !blk_truncate(c->base.node, c->total, errp)) {
        return false;
    }
    progress_begin(a->progress);
    int ret = copy_run(&ops, c, WORKERS, PIECE);
    if (ret == 0) {
        progress_set(1, 1);
    }
    progress_end();
    ret = ret < 0 ? ret : blk_pflush(c->base.node);
    /* What is in the base now need not be above it; with a base that was named it stays, as with -d. */
    if (ret == 0 && !a->keep && !a->backing) {
        ret = blk_pdiscard(c->layers[0].node, 0, c->total);
        return ret == 0 || error_set_errno(errp, -ret, "Could not empty %s", a->rest[0]);
    }
    return ret == 0;
}

int cmd_commit(Args *a)
{
    Commit *c = g_new0(Commit, 1);
    Error *err = NULL;
    bool ok = open_layers(c, a, &err) && commit(c, a, &err);

    ok = image_close(&c->base) && ok;
    for (unsigned i = 0; i < c->count; i++) {
        ok = image_close(&c->layers[i]) && ok;
    }
    g_free(c);
    if (ok && !a->quiet) {
        printf("Image committed.\n");
    }
    return ok ? 0 : err ? fail(1, err) : 1;
}

