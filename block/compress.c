/* compress.c: a filter over an image that writes compressed clusters.
 *
 * 1. What changes a cluster is alone in it: one that is written in part is read before. */
#include "block/block-int.h"
#include "block/filter.h"
#include "util/bytes.h"

typedef struct Compress {
    Loop *worker;
    Gate gate;
    uint64_t cluster;
} Compress;

/* Writes the part of the request that is in the cluster at @at. */
static int write_cluster(const FilterPass *p, uint64_t at, uint8_t *buf)
{
    const Compress *c = p->node->state;
    const BlkReq *up = p->up;
    BlkNode *child = p->node->child;
    uint64_t len = MIN(c->cluster, blk_size(child) - at), from = MAX(at, up->pos);
    uint64_t end = MIN(at + len, up->pos + up->left);
    int ret = from > at || end < at + len ? blk_pread(child, at, buf, len) : 0;

    if (ret == 0) {
        blk_iov_read(up->cur, up->ncur, from - up->pos, buf + (from - at), end - from);
        ret = blk_pwrite_compressed(child, at, buf, len);
    }
    return ret;
}

static void pass_run(FilterPass *p)
{
    const Compress *c = p->node->state;
    const BlkReq *up = p->up;
    g_autofree uint8_t *buf = g_try_malloc(c->cluster);

    if (up->op != BLK_WRITE) {
        p->ret = blk_blocking(p->node->child, up->op, up->flags, up->pos, NULL, up->left);
        return;
    }
    p->ret = buf ? 0 : -ENOMEM;
    for (uint64_t at = p->range.off; p->ret == 0 && at < p->range.end; at += c->cluster) {
        p->ret = write_cluster(p, at, buf);
    }
}

static bool compress_intercept(BlkLane *l, BlkReq *r)
{
    Compress *c = l->node->state;

    if (r->op == BLK_READ || r->op == BLK_FLUSH) {
        return false;
    }
    blk_filter_pass(l->node, r, c->cluster, true, &c->gate, c->worker, pass_run);
    return true;
}

static bool compress_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Compress *c = n->state;
    const BlkNode *image = n->child;
    BlkImageInfo info;

    while (image->drv->filter && image->child) {
        image = image->child;
    }
    if (!image->drv->write_compressed) {
        return error_set(errp, "Compression is not supported for underlying format: %s", image->drv->name);
    }
    blk_image_info(n->child, &info);
    c->cluster = info.cluster_size;
    c->worker = blk_filter_worker(errp);
    if (!c->worker) {
        return false;
    }
    gate_init(&c->gate);
    return blk_filter_open(n);
}

static void compress_close(BlkNode *n)
{
    Compress *c = n->state;

    blk_filter_worker_end(c->worker);
    gate_end(&c->gate);
}

const BlkDriver blk_compress = {
    .name = "compress",
    .size = sizeof(Compress),
    .options = BLK_OPT_CHILD,
    .filter = true,
    .open = compress_open,
    .close = compress_close,
    BLK_FILTER_FORWARDS,
    .intercept = compress_intercept,
};
