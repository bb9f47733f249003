/* qmp-disk.c: what the control plane hears of disks, failed requests and moved trays, and QMP commands that
 * change media. */
#include "system/qmp-disk.h"

#include <errno.h>
#include <string.h>
#include "block/front.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/drives.h"

static void on_error(const BlkFront *f, const BlkNode *node, bool read, BlkErrorAction action, int err)
{
    static const BlockErrorAction actions[] = {
        [BLK_ERROR_IGNORE] = BLOCK_ERROR_ACTION_IGNORE, [BLK_ERROR_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLK_ERROR_STOP] = BLOCK_ERROR_ACTION_STOP,
    };

    qmp_event_block_io_error(f->drive, node != NULL && !blk_is_gone(node) ? blk_name(node) : NULL,
                             read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE, actions[action], true,
                             err == -ENOSPC, errno_text(-err));
}

static void on_tray(const BlkFront *f, bool open)
{
    qmp_event_device_tray_moved(f->drive, f->id != NULL ? f->id : f->qdev, open);
}

void qmp_disk_init(void)
{
    blk_set_tray_listener(on_tray);
    blk_set_error_listener(on_error);
}

/* --- media --- */

static BlkFront *find_front(const char *drive, const char *id, Error **errp)
{
    BlkFront *f;

    if ((drive == NULL) == (id == NULL)) {
        error_set(errp, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    f = drive != NULL ? blk_front_of_drive(drive) : blk_front_find(id);
    if (f == NULL) {
        error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", drive != NULL ? drive : id);
    }
    return f;
}

static BlkFront *find_tray(const char *drive, const char *id, Error **errp)
{
    BlkFront *f = find_front(drive, id, errp);

    if (f != NULL && f->tray == NULL) {
        error_set(errp, "Device '%s' is not removable", drive != NULL ? drive : id);
        return NULL;
    }
    return f;
}

bool qmp_blockdev_open_tray(const char *device, const char *id, bool force, Error **errp)
{
    BlkFront *f = find_tray(device, id, errp);

    return f != NULL && f->tray->open(f, force, errp);
}

bool qmp_blockdev_close_tray(const char *device, const char *id, Error **errp)
{
    BlkFront *f = find_tray(device, id, errp);

    if (f == NULL) {
        return false;
    }
    f->tray->close(f);
    return true;
}

/* A medium can be reached: its tray is open, or it has none. */
static bool is_open(const BlkFront *f)
{
    return f->tray->is_open == NULL || f->tray->is_open(f);
}

/* What was made for the device alone goes with it; while requests are in flight it stays until the end. */
static bool take_out(BlkFront *f, Error **errp)
{
    BlkNode *old = f->node;

    if (old == NULL) {
        return true;
    }
    if (!f->tray->change(f, NULL, errp)) {
        return false;
    }
    if (blk_is_drive(old)) {
        blk_close(old, NULL);
    }
    return true;
}

bool qmp_blockdev_remove_medium(const char *id, Error **errp)
{
    BlkFront *f = find_tray(NULL, id, errp);

    if (f == NULL) {
        return false;
    }
    return is_open(f) ? take_out(f, errp) : error_set(errp, "Tray of device '%s' is not open", id);
}

typedef struct UserCount {
    unsigned n;
} UserCount;

static void count_user(const char *who, unsigned need, void *arg)
{
    ((UserCount *)arg)->n++;
}

bool qmp_blockdev_insert_medium(const char *id, const char *node_name, Error **errp)
{
    BlkFront *f = find_front(NULL, id, errp);
    BlkNode *n = f != NULL ? blk_find(node_name) : NULL;
    UserCount users = { 0 };

    if (f == NULL) {
        return false;
    }
    if (n == NULL) {
        return error_set(errp, "Node '%s' not found", node_name);
    }
    blk_each_user(n, count_user, &users);
    if (users.n > 0) {
        return error_set(errp, "Node '%s' is already in use", node_name);
    }
    if (f->tray == NULL) {
        return error_set(errp, "Device '%s' is not removable", id);
    }
    if (!is_open(f)) {
        return error_set(errp, "Tray of the device is not open");
    }
    return f->node == NULL ? f->tray->change(f, n, errp)
                           : error_set(errp, "There already is a medium in the device");
}

bool qmp_blockdev_change_medium(const char *device, const char *id, const char *filename, const char *format,
                                bool force, BlockdevChangeReadOnlyMode read_only_mode, Error **errp)
{
    BlkFront *f = find_tray(device, id, errp);
    BlkNode *n;

    if (f == NULL) {
        return false;
    }
    bool read_only = !f->tray->writes || read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY ||
                     (read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_RETAIN && f->node != NULL &&
                      blk_read_only(f->node));
    if (read_only && read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_WRITE) {
        return error_set(errp, "read-only-mode=read-write: no device with a tray writes");
    }
    n = drives_open_medium(filename, format, f->drive, read_only, errp);
    if (n == NULL) {
        return false;
    }
    if (read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_WRITE && blk_read_only(n)) {
        error_set(errp, "read-only-mode=read-write: '%s' cannot be written", filename);
        blk_close(n, NULL);
        return false;
    }
    if (!f->tray->open(f, force, errp) || !take_out(f, errp) || !f->tray->change(f, n, errp)) {
        blk_close(n, NULL);
        return false;
    }
    f->tray->close(f);
    return true;
}

bool qmp_eject(const char *device, const char *id, bool force, Error **errp)
{
    BlkFront *f = find_tray(device, id, errp);

    return f != NULL && f->tray->open(f, force, errp) && take_out(f, errp);
}
