/* compare.c: rhea-img compare.
 *
 * 1. Several threads compare; the lowest place that differs is the one that is named. */
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"
#include "util/lock.h"

#define PIECE (512 * KiB)
#define WORKERS 4

enum { BOTH, FIRST_ONLY, SECOND_ONLY };

typedef struct Compare {
    Image image[2];
    const char *name[2];
    uint64_t pos, shorter, longer;
    unsigned longer_is;
    bool strict;
    Lock lock;                 /* guards what follows */
    uint64_t differs;          /* UINT64_MAX: nowhere yet */
    bool kind_differs;         /* not the contents but whether there are any */
    int status;
} Compare;

static void found(Compare *c, uint64_t at, bool kind)
{
    lock_take(&c->lock);
    if (at < c->differs) {
        c->differs = at;
        c->kind_differs = kind;
    }
    lock_drop(&c->lock);
}

static uint64_t differs_at(Compare *c)
{
    lock_take(&c->lock);
    uint64_t at = c->differs;
    lock_drop(&c->lock);
    return at;
}

static int failed(Compare *c, int status, const char *what, uint64_t at, unsigned which, int ret)
{
    Error *err = NULL;

    lock_take(&c->lock);
    bool first = c->status == 0;
    c->status = first ? status : c->status;
    lock_drop(&c->lock);
    if (first) {
        error_set_errno(&err, -ret, "Error while %s at offset %" PRIu64 " of %s", what, at, c->name[which]);
        fail(status, err);
    }
    return ret;
}

/* What the longer image has after the end of the other must be zeroes. */
static int next_tail(Compare *c, Piece *p)
{
    unsigned i = c->longer_is;
    BlkStatus s;

    while (c->pos < c->longer) {
        int ret = blk_status(c->image[i].node, c->pos, c->longer - c->pos, NULL, &s);

        if (ret < 0) {
            return failed(c, 3, "getting the status", c->pos, i, ret);
        }
        if (!(s.flags & BLK_STATUS_ZERO)) {
            *p = (Piece){ .off = c->pos, .len = MIN(s.len, PIECE), .kind = i ? SECOND_ONLY : FIRST_ONLY };
            c->pos += p->len;
            return 1;
        }
        c->pos += s.len;
    }
    return 0;
}

static int next(void *arg, Piece *p)
{
    Compare *c = arg;
    BlkStatus s[2];

    while (c->pos < c->shorter && differs_at(c) == UINT64_MAX) {
        uint64_t len = c->shorter - c->pos;

        for (unsigned i = 0; i < 2; i++) {
            int ret = blk_status(c->image[i].node, c->pos, len, NULL, &s[i]);

            if (ret < 0) {
                return failed(c, 3, "getting the status", c->pos, i, ret);
            }
            len = MIN(len, s[i].len);
        }
        if (c->strict && ((s[0].flags ^ s[1].flags) & (BLK_STATUS_ZERO | BLK_STATUS_HERE))) {
            found(c, c->pos, true);
            return 0;
        }
        bool zero[2] = { s[0].flags & BLK_STATUS_ZERO, s[1].flags & BLK_STATUS_ZERO };
        if (!zero[0] || !zero[1]) {
            *p = (Piece){ .off = c->pos, .len = MIN(len, PIECE),
                          .kind = zero[0] ? SECOND_ONLY : zero[1] ? FIRST_ONLY : BOTH };
            c->pos += p->len;
            return 1;
        }
        c->pos += len;
    }
    return differs_at(c) == UINT64_MAX ? next_tail(c, p) : 0;
}

/* The first sector that differs, in bytes; @len: none. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, uint64_t len)
{
    uint64_t at = 0;

    while (at < len && (b ? memcmp(a + at, b + at, MIN(512, len - at)) == 0
                          : is_zero(a + at, MIN(512, len - at)))) {
        at += 512;
    }
    return MIN(at, len);
}

static int work(void *arg, const Piece *p, uint8_t *buf)
{
    Compare *c = arg;

    for (unsigned i = 0; i < 2; i++) {
        if (p->kind == BOTH || p->kind == (i ? SECOND_ONLY : FIRST_ONLY)) {
            int ret = blk_pread(c->image[i].node, p->off, buf + i * PIECE, p->len);

            if (ret < 0) {
                return failed(c, 4, "reading", p->off, i, ret);
            }
        }
    }
    const uint8_t *a = buf, *b = buf + PIECE;
    bool same = p->kind == BOTH ? memcmp(a, b, p->len) == 0 : is_zero(p->kind == FIRST_ONLY ? a : b, p->len);
    if (!same) {
        found(c, p->off + first_difference(p->kind == SECOND_ONLY ? b : a, p->kind == BOTH ? b : NULL,
                                           p->len),
              false);
    }
    return 0;
}

static int compare(Compare *c, const Args *a)
{
    uint64_t size[2] = { blk_size(c->image[0].node), blk_size(c->image[1].node) };
    CopyOps ops = { next, work, a->progress ? MAX(size[0], size[1]) : 0 };

    c->shorter = MIN(size[0], size[1]);
    c->longer = MAX(size[0], size[1]);
    c->longer_is = size[1] > size[0];
    c->strict = a->strict;
    c->differs = UINT64_MAX;
    if (a->strict && c->shorter != c->longer) {
        if (!a->quiet) {
            printf("Strict mode: Image size mismatch!\n");
        }
        return 1;
    }
    progress_begin(a->progress);
    lock_init(&c->lock, RANK_LEAF, "compare");
    int ret = copy_run(&ops, c, WORKERS, 2 * PIECE);
    lock_destroy(&c->lock);
    if (ret == 0) {
        progress_set(1, 1);
    }
    progress_end();
    if (ret < 0) {
        return c->status ? c->status : 4;
    }
    if (!a->quiet && c->shorter != c->longer && c->differs >= c->shorter) {
        printf("Warning: Image size mismatch!\n");
    }
    if (c->differs == UINT64_MAX) {
        if (!a->quiet) {
            printf("Images are identical.\n");
        }
        return 0;
    }
    if (!a->quiet) {
        printf(c->kind_differs ? "Strict mode: Offset %" PRIu64 " block status mismatch!\n"
                               : "Content mismatch at offset %" PRIu64 "!\n", c->differs);
    }
    return 1;
}

int cmd_compare(Args *a)
{
    Compare c = { .name = { a->rest[0], a->rest[1] } };
    unsigned flags = (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS : 0);
    Error *err = NULL;
    int status;

    if (!image_open(&c.image[0], a->rest[0], a->format, a->src_cache, flags, &err) ||
        !image_open(&c.image[1], a->rest[1], a->format2, a->src_cache, flags, &err)) {
        status = fail(2, err);
    } else {
        status = compare(&c, a);
    }
    image_close(&c.image[0]);
    image_close(&c.image[1]);
    return status;
}
