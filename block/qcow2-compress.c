/* qcow2-compress.c: clusters that are stored compressed.
 *
 * 1. A compressed cluster is read whole, in a buffer of its own, on the pool. */
#include <errno.h>
#include <inttypes.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "block/zip.h"
#include "util/bytes.h"

void qcow2_packed_place(const Qcow2 *q, uint64_t entry, uint64_t *at, uint64_t *len)
{
    unsigned shift = 62 - (q->cluster_bits - 8);
    uint64_t sectors = entry >> shift & ((UINT64_C(1) << (q->cluster_bits - 8)) - 1);

    *at = entry & ((UINT64_C(1) << shift) - 1);
    *len = (sectors + 1) * 512 - *at % 512;
}

void qcow2_packed_clusters(const Qcow2 *q, uint64_t entry, uint64_t *host, uint64_t *count)
{
    uint64_t at, len;

    qcow2_packed_place(q, entry, &at, &len);
    *host = ALIGN_DOWN(at, q->cluster);
    *count = (ALIGN_UP(at + len, q->cluster) - *host) >> q->cluster_bits;
}

int qcow2_decompress(BlkNode *n, uint64_t entry, uint8_t **out)
{
    const Qcow2 *q = n->state;
    uint64_t at, len;

    qcow2_packed_place(q, entry, &at, &len);
    uint64_t end = MAX(blk_size(n->child), __atomic_load_n(&n->child->room, __ATOMIC_RELAXED));
    g_autofree uint8_t *packed = g_try_malloc(len);
    g_autofree uint8_t *whole = g_try_malloc(q->cluster);

    if (!packed || !whole) {
        return -ENOMEM;
    }
    if (at >= end) {
        return -EIO;
    }
    len = MIN(len, end - at);
    blk_event(n->child, BLKDEBUG_EVENT_READ_COMPRESSED);
    int ret = blk_pread(n->child, at, packed, len);
    ret = ret < 0 ? ret : zip_unpack((ZipKind)q->h.compression, packed, len, whole, q->cluster);
    if (ret == 0) {
        *out = g_steal_pointer(&whole);
    }
    return ret;
}
