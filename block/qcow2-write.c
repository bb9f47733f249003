/* qcow2-write.c: writing compressed clusters.
 *
 * 1. A compressed cluster begins where the last one ended, so several share a cluster of the file, which
 *    counts one reference for each.  One that does not get smaller is written as it is.
 * 2. Packing needs no lock: several threads do it side by side.  Taking the space and linking are short. */
#include <errno.h>
#include <inttypes.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "block/zip.h"
#include "util/bytes.h"

/* Where @len bytes of packed data go, their clusters counted. */
static int place_locked(BlkNode *n, uint64_t len, uint64_t *at)
{
    Qcow2 *q = n->state;
    uint64_t mask = q->cluster - 1;
    int ret;

    for (;;) {
        uint64_t start = q->packed_end, room = start & mask ? q->cluster - (start & mask) : 0;
        uint64_t follows = (start + mask) >> q->cluster_bits;

        if (room >= len || (room && q->run < q->run_end && q->run == follows)) {
            ret = qcow2_refcount_add_locked(n, start & ~mask, 1, 1);
            if (ret == -ERANGE) {      /* no more references: go on in a new cluster */
                q->packed_end = 0;
                continue;
            }
            if (ret < 0) {
                return ret;
            }
            if (q->packed_end != start || (room < len && q->run != follows)) {
                /* Somebody was faster while metadata was read. */
                qcow2_free_later_locked(q, start & ~mask, 1, BLK_FREED_OTHER);
                continue;
            }
            q->run += room < len;
            *at = start;
        } else if (q->run < q->run_end) {
            *at = q->run++ << q->cluster_bits;
        } else {
            ret = qcow2_refill_locked(n);
            if (ret < 0) {
                return ret;
            }
            continue;
        }
        q->packed_end = *at + len;
        return 0;
    }
}

int qcow2_write_compressed(BlkNode *n, uint64_t off, const uint8_t *buf)
{
    Qcow2 *q = n->state;
    g_autofree uint8_t *packed = g_try_malloc(q->cluster);
    uint64_t at = 0;

    if (!packed) {
        return -ENOMEM;
    }
    int64_t len = zip_pack((ZipKind)q->h.compression, buf, q->cluster, packed, q->cluster - 1);
    if (len < 0) {
        return len == -ENOSPC ? -E2BIG : (int)len;
    }
    lock_take(&q->lock);
    int ret = q->corrupt ? -EIO : place_locked(n, (uint64_t)len, &at);
    lock_drop(&q->lock);
    if (ret < 0) {
        return ret;
    }
    blk_event(n->child, BLKDEBUG_EVENT_WRITE_COMPRESSED);
    ret = blk_pwrite(n->child, at, packed, (size_t)len);
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = (at + (uint64_t)len - 1) / 512 - at / 512;
    return qcow2_link_compressed(n, off, QCOW2_COMPRESSED | sectors << shift | at, ret);
}
