/* qmp-block.c: QMP commands that make, delete and describe block nodes and disks. */
#include <string.h>
#include <sys/stat.h>
#include "block/front.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/blockdev.h"
#include "system/qmp-bitmap.h"

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
