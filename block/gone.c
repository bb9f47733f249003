/* gone.c: what is in the place of a medium that was taken from a device which cannot be without one.
 *
 * 1. It is as long as the medium was; each request fails with ENOMEDIUM.
 * 2. No client sees it: to them the device has no node.  It ends with its user. */
#include <errno.h>
#include "block/block-int.h"

static bool gone_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    n->size = o->size;
    n->limits.discard_align = 1;
    n->limits.can_zero = true;
    return true;
}

static void gone_submit(BlkLane *l, BlkReq *r)
{
    blk_complete_later(r, -ENOMEDIUM);
}

static int gone_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off,
                         const struct iovec *iov, unsigned niov, uint64_t len)
{
    return -ENOMEDIUM;
}

const BlkDriver blk_gone = {
    .name = "gone",
    .options = BLK_OPT_SIZE,
    .open = gone_open,
    .submit = gone_submit,
    .blocking = gone_blocking,
};

bool blk_is_gone(const BlkNode *n)
{
    return n->drv == &blk_gone;
}

BlkNode *blk_open_gone(const BlkNode *of, Error **errp)
{
    const BlkOptions o = { .driver = "gone", .for_job = true, .has_size = true, .size = blk_size(of),
                           .discard_unmap = true };

    return blk_open_inner(&o, errp);
}
