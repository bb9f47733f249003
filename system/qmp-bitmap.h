/* qmp-bitmap.h: what a node has beside its contents, for queries. */
#ifndef SYSTEM_QMP_BITMAP_H
#define SYSTEM_QMP_BITMAP_H

#include "block/bitmap.h"
#include "qapi/types.h"

CTX_CONTROL void qmp_tell_bitmaps(const BlkNode *n, BlockDirtyInfoList *out);
CTX_CONTROL void qmp_tell_snapshots(BlkNode *n, SnapshotInfoList *out);

/* The bitmap of @n that may be changed. */
CTX_CONTROL BlkBitmap *qmp_find_bitmap(BlkNode *n, const char *name, Error **errp);
/* Makes an internal snapshot of @n, which is held and known as @device. */
CTX_CONTROL bool qmp_snapshot_internal(BlkNode *n, const char *device, const char *name, Error **errp);

#endif
