/* qmp-block.c: QMP commands that make, delete and describe block nodes and disks. */
#include <string.h>
#include <sys/stat.h>
#include "block/front.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/blockdev.h"
#include "system/qmp-bitmap.h"
#include "system/throttle.h"

bool qmp_blockdev_add(const BlockdevConfig *args, Error **errp)
{
    if (args->node_name == NULL) {
        return error_set(errp, "'node-name' must be specified for the root node");
    }
    return blockdev_open(args, errp) != NULL;
}

static BlkNode *need_node(const char *name, Error **errp)
{
    BlkNode *n = blk_find(name);

    if (n == NULL) {
        error_set(errp, "Failed to find node with node-name='%s'", name);
    }
    return n;
}

bool qmp_blockdev_del(const char *node_name, Error **errp)
{
    BlkNode *n = need_node(node_name, errp);

    return n != NULL && blk_close(n, errp);
}

bool qmp_block_resize(const char *device, const char *node_name, int64_t size, Error **errp)
{
    BlkFront *f = device != NULL ? blk_front_of_drive(device) : NULL;
    BlkNode *n = f != NULL ? f->node : node_name != NULL ? blk_find(node_name) : NULL;

    if (n == NULL) {
        return error_set(errp, "Cannot find device='%s' nor node-name='%s'", device != NULL ? device : "",
                         node_name != NULL ? node_name : "");
    }
    if ((uint64_t)size < blk_size(n)) {
        return error_set(errp, "Node '%s' cannot be made smaller while the guest may use it", blk_name(n));
    }
    return blk_truncate(n, size, errp);
}

/* --- what there is --- */

static ImageInfo *image_info(BlkNode *n)
{
    ImageInfo *i = qapi_new_image_info();
    struct stat st;

    i->filename = g_strdup(blk_filename(n));
    i->format = g_strdup(blk_driver_name(n));
    i->virtual_size = blk_size(n);
    i->has_actual_size = *i->filename != '\0' && stat(i->filename, &st) == 0;
    i->actual_size = i->has_actual_size ? st.st_blocks * INT64_C(512) : 0;
    qmp_tell_snapshots(n, &i->snapshots);
    i->has_snapshots = i->snapshots.n > 0;
    return i;
}

static BlockDeviceInfo *node_info(BlkNode *n)
{
    BlockDeviceInfo *i = qapi_new_block_device_info();

    i->node_name = g_strdup(blk_name(n));
    i->file = g_strdup(blk_filename(n));
    i->drv = g_strdup(blk_driver_name(n));
    i->ro = blk_read_only(n);
    i->write_threshold = (int64_t)blk_threshold(n);
    i->image = image_info(n);
    i->cache = qapi_new_blockdev_cache_info();
    i->cache->writeback = true;
    i->cache->direct = blk_cache_direct(n);
    i->cache->no_flush = blk_cache_no_flush(n);
    qmp_tell_bitmaps(n, &i->dirty_bitmaps);
    i->has_dirty_bitmaps = i->dirty_bitmaps.n > 0;
    return i;
}

static BlockInfo *front_info(BlkFront *f)
{
    static const BlockDeviceIoStatus states[] = {
        [BLK_IO_OK] = BLOCK_DEVICE_IO_STATUS_OK, [BLK_IO_FAILED] = BLOCK_DEVICE_IO_STATUS_FAILED,
        [BLK_IO_NOSPACE] = BLOCK_DEVICE_IO_STATUS_NOSPACE,
    };
    BlockInfo *i = qapi_new_block_info();
    BlkNode *n = __atomic_load_n(&f->node, __ATOMIC_RELAXED);

    i->device = g_strdup(f->drive);
    i->qdev = g_strdup(f->qdev);
    i->type = g_strdup("unknown");
    i->removable = f->removable;
    i->has_tray_open = f->tray != NULL;
    i->tray_open = f->tray != NULL && f->tray->is_open(f);
    i->locked = f->tray != NULL && f->tray->is_locked(f);
    i->has_io_status = blk_front_may_stop(f);
    i->io_status = states[blk_front_io_status(f)];
    i->inserted = n != NULL ? node_info(n) : NULL;
    if (n != NULL) {
        throttle_tell(f, i->inserted);
    }
    return i;
}

bool qmp_query_block(BlockInfoList *ret, Error **errp)
{
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        qapi_append(ret, front_info(f));
    }
    return true;
}

bool qmp_query_named_block_nodes(bool flat, BlockDeviceInfoList *ret, Error **errp)
{
    for (BlkNode *n = blk_next(NULL); n != NULL; n = blk_next(n)) {
        qapi_append(ret, node_info(n));
    }
    return true;
}

/* --- statistics --- */

static BlockDeviceStats *stats_info(BlkNode *n, uint64_t *highest)
{
    BlockDeviceStats *s = qapi_new_block_device_stats();
    BlkStats b = { 0 };

    if (n != NULL) {
        blk_stats(n, &b);
    }
    s->rd_bytes = b.bytes[BLK_READ];
    s->wr_bytes = b.bytes[BLK_WRITE] + b.bytes[BLK_ZERO];
    s->unmap_bytes = b.bytes[BLK_DISCARD];
    s->rd_operations = b.ops[BLK_READ];
    s->wr_operations = b.ops[BLK_WRITE] + b.ops[BLK_ZERO];
    s->flush_operations = b.ops[BLK_FLUSH];
    s->unmap_operations = b.ops[BLK_DISCARD];
    s->rd_total_time_ns = b.ns[BLK_READ];
    s->wr_total_time_ns = b.ns[BLK_WRITE] + b.ns[BLK_ZERO];
    s->flush_total_time_ns = b.ns[BLK_FLUSH];
    s->unmap_total_time_ns = b.ns[BLK_DISCARD];
    s->failed_rd_operations = b.failed[BLK_READ];
    s->failed_wr_operations = b.failed[BLK_WRITE] + b.failed[BLK_ZERO];
    s->failed_flush_operations = b.failed[BLK_FLUSH];
    s->failed_unmap_operations = b.failed[BLK_DISCARD];
    s->account_failed = true;
    *highest = MAX(*highest, b.wr_highest);
    s->wr_highest_offset = *highest;
    return s;
}

/* Requests are counted where they enter; @highest is carried down, to where the bytes land. */
static BlockStats *node_stats(BlkNode *n, uint64_t highest)
{
    BlockStats *s = qapi_new_block_stats();
    BlkNode *child = n != NULL ? blk_child(n, 0) : NULL;

    s->node_name = n != NULL ? g_strdup(blk_name(n)) : NULL;
    s->stats = stats_info(n, &highest);
    s->parent = child != NULL ? node_stats(child, highest) : NULL;
    return s;
}

bool qmp_query_blockstats(bool query_nodes, BlockStatsList *ret, Error **errp)
{
    for (BlkNode *n = query_nodes ? blk_next(NULL) : NULL; n != NULL; n = blk_next(n)) {
        qapi_append(ret, node_stats(n, 0));
    }
    for (BlkFront *f = query_nodes ? NULL : blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        BlkNode *n = __atomic_load_n(&f->node, __ATOMIC_RELAXED);
        BlockStats *s = node_stats(n, 0);

        s->device = g_strdup(n != NULL ? blk_drive_id(n) : "");
        s->qdev = g_strdup(f->qdev);
        qapi_append(ret, s);
    }
    return true;
}
