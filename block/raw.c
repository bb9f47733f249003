/* raw.c: the format that has none: a child's bytes, or a window of them.
 *
 * 1. resolve() always answers with the whole request, so nothing but the address changes. */
#include <inttypes.h>
#include "block/block-int.h"
#include "util/bytes.h"

typedef struct Raw {
    uint64_t offset;
    bool has_size;             /* the window has a size of its own */
} Raw;

static void raw_relinked(BlkNode *n)
{
    const Raw *raw = n->state;

    if (n->child) {
        n->limits = n->child->limits;
        n->limits.can_grow &= raw->offset == 0 && !raw->has_size;
    }
}

static bool raw_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Raw *raw = n->state;
    uint64_t below = blk_size(n->child);

    raw->offset = o->offset;
    raw->has_size = o->has_size;
    if (o->has_size && o->size % 512) {
        return error_set(errp, "Specified size is not a multiple of 512");
    }
    if (o->offset > below) {
        return error_set(errp, "Offset (%" PRIu64 ") cannot be greater than size of the containing "
                         "file (%" PRIu64 ")", o->offset, below);
    }
    if (o->has_size && !fits(o->offset, o->size, below)) {
        return error_set(errp, "The sum of offset (%" PRIu64 ") and size (%" PRIu64 ") has to be "
                         "smaller or equal to the actual size of the containing file (%" PRIu64 ")",
                         o->offset, o->size, below);
    }
    n->size = o->has_size ? o->size : ALIGN_DOWN(below - o->offset, 512);
    raw_relinked(n);
    return true;
}

static void raw_child_resized(BlkNode *n)
{
    Raw *raw = n->state;
    uint64_t below = blk_size(n->child);
    uint64_t room = below > raw->offset ? ALIGN_DOWN(below - raw->offset, 512) : 0;

    blk_set_size(n, raw->has_size ? MIN(n->size, room) : room);
}

static bool raw_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    Raw *raw = n->state;

    if (raw->has_size) {
        return error_set(errp, "Cannot resize fixed-size raw disks");
    }
    if (size > UINT64_MAX - raw->offset) {
        return error_set(errp, "Disk size too large for the chosen offset");
    }
    return blk_truncate(n->child, size + raw->offset, errp);
}

static bool raw_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    return blk_change_rights(&n->child_use, need, share, errp);
}

static int raw_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    const Raw *raw = n->state;

    *s = (BlkStatus){ .len = len, .next = n->child, .place = off + raw->offset, .through = true };
    return 0;
}

static int raw_resolve(BlkNode *n, const BlkReq *r, Extent *e)
{
    const Raw *raw = n->state;

    *e = (Extent){ .node = n->child, .off = r->pos + raw->offset, .len = r->left, .is = EXT_DATA };
    return 0;
}

const BlkDriver blk_raw = {
    .name = "raw",
    .size = sizeof(Raw),
    .options = BLK_OPT_CHILD | BLK_OPT_OFFSET | BLK_OPT_SIZE,
    .open = raw_open,
    .rights = raw_rights,
    .truncate = raw_truncate,
    .status = raw_status,
    .relinked = raw_relinked,
    .child_resized = raw_child_resized,
    .resolve = raw_resolve,
};
