/* qmp-disk.c: what the control plane hears of disks: failed requests. */
#include "system/qmp-disk.h"

#include <errno.h>
#include <string.h>
#include "block/front.h"
#include "qapi/events.h"

static void on_error(const BlkFront *f, const BlkNode *node, bool read, BlkErrorAction action, int err)
{
    static const BlockErrorAction actions[] = {
        [BLK_ERROR_IGNORE] = BLOCK_ERROR_ACTION_IGNORE, [BLK_ERROR_REPORT] = BLOCK_ERROR_ACTION_REPORT,
        [BLK_ERROR_STOP] = BLOCK_ERROR_ACTION_STOP,
    };

    qmp_event_block_io_error(node != NULL ? blk_drive_id(node) : "", node != NULL ? blk_name(node) : NULL,
                             read ? IO_OPERATION_TYPE_READ : IO_OPERATION_TYPE_WRITE, actions[action], true,
                             err == -ENOSPC, g_strerror(-err));
}

void qmp_disk_init(void)
{
    blk_set_error_listener(on_error);
}
