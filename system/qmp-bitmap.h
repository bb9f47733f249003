/* qmp-bitmap.h: what a node has beside its contents, for queries. */
#ifndef SYSTEM_QMP_BITMAP_H
#define SYSTEM_QMP_BITMAP_H

#include "block/block.h"
#include "qapi/types.h"

CTX_CONTROL void qmp_tell_bitmaps(const BlkNode *n, BlockDirtyInfoList *out);
CTX_CONTROL void qmp_tell_snapshots(BlkNode *n, SnapshotInfoList *out);

#endif
