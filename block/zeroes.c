/* zeroes.c: writes of zeroes that become requests for zeroes (detect-zeroes), see block-int.h. */
#include "block/block-int.h"
#include "util/bytes.h"

typedef struct Instead {
    BlkReq req;
    BlkReq *up;
} Instead;

bool blk_is_zero(const void *buf, uint64_t len)
{
    const uint8_t *p = buf;

    return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

static bool iov_is_zero(const struct iovec *iov, unsigned niov, uint64_t len)
{
    for (; niov && len; iov++, niov--) {
        uint64_t n = MIN(iov->iov_len, len);

        if (!blk_is_zero(iov->iov_base, n)) {
            return false;
        }
        len -= n;
    }
    return true;
}

unsigned blk_zero_flags(const BlkNode *n, unsigned flags)
{
    return (flags & BLK_FUA) | (n->detect_zeroes == BLK_DETECT_UNMAP && n->unmap ? BLK_MAY_UNMAP : 0);
}

static void zeroed(BlkReq *r, int ret)
{
    Instead *i = container_of(r, Instead, req);
    BlkReq *up = i->up;

    g_free(i);
    blk_complete_later(up, ret);
}

bool blk_zeroes_instead(BlkLane *l, BlkReq *r)
{
    if (!iov_is_zero(r->cur, r->ncur, r->left)) {
        return false;
    }
    Instead *i = g_new0(Instead, 1);
    i->up = r;
    i->req = (BlkReq){ .op = BLK_ZERO, .off = r->pos, .len = r->left, .loop = r->loop, .done = zeroed,
                       .flags = BLK_QUIET | blk_zero_flags(l->node, r->flags) };
    blk_submit_below(l->node, &i->req);
    return true;
}
