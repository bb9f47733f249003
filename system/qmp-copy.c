/* qmp-copy.c: QMP commands that start mirrors and backups, and make images. */
#include "system/qmp-copy.h"

#include <inttypes.h>
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/qmp-graph.h"

static BlkOnError on_error_of(BlockdevOnError e)
{
    return e == BLOCKDEV_ON_ERROR_AUTO ? BLK_ON_ERROR_ENOSPC : (BlkOnError)e;
}

/* --- images that are opened for a job --- */

/* Makes the image, unless it exists, and opens it; the job keeps it.  NULL: *errp is set. */
static BlkNode *open_target(BlkNode *n, const char *file, const char *format, const char *name,
                            NewImageMode mode, MirrorSyncMode sync, Error **errp)
{
    BlkNode *behind = sync == MIRROR_SYNC_MODE_TOP ? blk_behind(n) : NULL;
    bool lower = sync == MIRROR_SYNC_MODE_NONE;
    BlkNode *named = lower ? n : behind;

    format = format != NULL ? format : mode == NEW_IMAGE_MODE_EXISTING ? NULL : blk_driver_name(n);
    BlkCreate create = { .driver = format, .filename = file, .size = blk_size(n) };
    if (named != NULL) {
        create.backing_file = blk_filename(named);
        create.backing_fmt = blk_driver_name(named);
    }
    if (mode != NEW_IMAGE_MODE_EXISTING && !blk_create(&create, errp)) {
        return NULL;
    }
    BlkOptions host = { .driver = blk_protocol_of(file), .filename = file };
    BlkOptions o = { .driver = format, .node_name = name, .child = &host, .cache_direct = blk_cache_direct(n),
                     .cache_no_flush = blk_cache_no_flush(n), .discard_unmap = true };
    if (format == NULL) {
        BlkNode *probed = blk_open(&host, errp);
        if (probed == NULL) {
            return NULL;
        }
        o.driver = blk_probe(probed, errp);
        blk_close(probed, NULL);
        if (o.driver == NULL) {
            return NULL;
        }
    }
    if (g_strcmp0(o.driver, "qcow2") == 0) {
        o.backing_ref = behind != NULL ? blk_name(behind) : NULL;
        o.backing_none = behind == NULL;
    }
    return blk_open_unkept(&o, errp);
}

/* --- mirrors --- */

static bool mirror_size(bool has, int64_t value, const char *name, uint64_t *out, Error **errp)
{
    if (has && value < 0) {
        return error_set(errp, "Invalid parameter '%s'", name);
    }
    *out = has ? (uint64_t)value : 0;
    return true;
}

bool qmp_blockdev_mirror(const BlockdevMirror *a, Error **errp)
{
    JobOptions o = { .id = a->job_id, .speed = a->speed, .keep_pending = !a->auto_finalize,
                     .keep_concluded = !a->auto_dismiss, .on_read_error = on_error_of(a->on_source_error),
                     .on_write_error = on_error_of(a->on_target_error), .filter_name = a->filter_node_name,
                     .granularity = a->granularity, .replaces = a->replaces,
                     .write_blocking = a->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING };
    BlkNode *n = qmp_find_node(a->device, a->device, errp);
    BlkNode *target = n != NULL ? qmp_find_node(a->target, a->target, errp) : NULL;

    return target != NULL && mirror_size(a->has_buf_size, a->buf_size, "buf-size", &o.buf_size, errp) &&
           job_mirror(n, target, (JobSync)a->sync, &o, errp);
}

bool qmp_drive_mirror(const DriveMirror *a, Error **errp)
{
    JobOptions o = { .id = a->job_id, .speed = a->speed, .keep_pending = !a->auto_finalize,
                     .keep_concluded = !a->auto_dismiss, .on_read_error = on_error_of(a->on_source_error),
                     .on_write_error = on_error_of(a->on_target_error), .granularity = a->granularity,
                     .replaces = a->replaces, .no_unmap = !a->unmap,
                     .source_behind = a->sync == MIRROR_SYNC_MODE_NONE && a->mode != NEW_IMAGE_MODE_EXISTING,
                     .write_blocking = a->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING };
    BlkNode *n = qmp_find_node(a->device, a->device, errp);

    if (n == NULL || !mirror_size(a->has_buf_size, a->buf_size, "buf-size", &o.buf_size, errp) ||
        !job_id_free(a->job_id != NULL ? a->job_id : blk_drive_id(n), errp)) {
        return false;
    }
    BlkNode *target = open_target(n, a->target, a->format, a->node_name, a->mode, a->sync, errp);
    if (target == NULL) {
        return false;
    }
    if (!job_mirror(n, target, (JobSync)a->sync, &o, errp)) {
        blk_close_unused(target);
        return false;
    }
    return true;
}

/* --- backups --- */

static bool set_perf(JobOptions *o, const BackupPerf *p, Error **errp)
{
    if (p == NULL) {
        o->workers = 64;
        return true;
    }
    if (p->max_workers < 1 || p->max_workers > INT32_MAX) {
        return error_set(errp, "max-workers must be between 1 and %d", INT32_MAX);
    }
    if (p->max_chunk < 0) {
        return error_set(errp, "max-chunk must be zero (which means no limit) or positive");
    }
    o->workers = (unsigned)p->max_workers;
    o->max_chunk = (uint64_t)p->max_chunk;
    return !p->use_copy_range || error_set(errp, "use-copy-range is not supported");
}

bool qmp_backup_begin(const BlockdevBackup *a, const JobOptions *base, Error **errp)
{
    JobOptions o = base != NULL ? *base : (JobOptions){ 0 };
    BlkNode *n = qmp_find_node(a->device, a->device, errp);
    BlkNode *target = n != NULL ? qmp_find_node(a->target, a->target, errp) : NULL;

    o.id = a->job_id;
    o.speed = a->speed;
    o.keep_pending = !a->auto_finalize;
    o.keep_concluded = !a->auto_dismiss;
    o.on_read_error = on_error_of(a->on_source_error);
    o.on_write_error = on_error_of(a->on_target_error);
    o.filter_name = a->filter_node_name;
    o.bitmap = a->bitmap;
    o.has_bitmap_mode = a->has_bitmap_mode;
    o.bitmap_mode = (JobBitmapMode)a->bitmap_mode;
    o.compress = a->compress;
    o.break_snapshot = a->on_cbw_error == ON_CBW_ERROR_BREAK_SNAPSHOT;
    return target != NULL && set_perf(&o, a->x_perf, errp) &&
           job_backup(n, target, (JobSync)a->sync, &o, errp);
}

bool qmp_blockdev_backup(const BlockdevBackup *a, Error **errp)
{
    return qmp_backup_begin(a, NULL, errp);
}

BlkNode *qmp_backup_target(const DriveBackup *a, BlkNode *n, Error **errp)
{
    return job_id_free(a->job_id != NULL ? a->job_id : blk_drive_id(n), errp)
           ? open_target(n, a->target, a->format, NULL, a->mode, a->sync, errp) : NULL;
}

bool qmp_drive_backup_begin(const DriveBackup *a, BlkNode *target, const JobOptions *base, Error **errp)
{
    BlockdevBackup b = {
        .job_id = a->job_id, .device = a->device, .target = (char *)blk_name(target), .sync = a->sync,
        .speed = a->speed, .bitmap = a->bitmap, .has_bitmap_mode = a->has_bitmap_mode,
        .bitmap_mode = a->bitmap_mode, .compress = a->compress, .on_source_error = a->on_source_error,
        .on_target_error = a->on_target_error, .on_cbw_error = a->on_cbw_error, .x_perf = a->x_perf,
        .filter_node_name = a->filter_node_name, .auto_finalize = a->auto_finalize,
        .auto_dismiss = a->auto_dismiss,
    };

    return qmp_backup_begin(&b, base, errp);
}

bool qmp_drive_backup(const DriveBackup *a, Error **errp)
{
    BlkNode *n = qmp_find_node(a->device, a->device, errp);
    BlkNode *target = n != NULL ? qmp_backup_target(a, n, errp) : NULL;

    if (target == NULL) {
        return false;
    }
    if (!qmp_drive_backup_begin(a, target, NULL, errp)) {
        blk_close_unused(target);
        return false;
    }
    return true;
}
