/* drive-node.h: the block nodes that the words of a -drive describe. */
#ifndef SYSTEM_DRIVE_NODE_H
#define SYSTEM_DRIVE_NODE_H

#include "block/block.h"
#include "qapi/types.h"

/* Owns the options of a -drive's nodes, which point into it and into the DriveConfig. */
typedef struct DriveNode {
    json_t *tree;              /* dotted options, nested */
    GPtrArray *options;        /* BlkOptions */
    GPtrArray *configs;        /* BlockdevConfig */
    BlkOptions *bottom;        /* the node that is the file, below all the others */
} DriveNode;

/* The options of the top node of @c, those of the drive itself (its id, policies, limits) not set.  @d is
 * zeroed before, and to be cleared after they were used, also when this fails: NULL and @errp. */
CTX_CONTROL BlkOptions *drive_node_options(DriveNode *d, const DriveConfig *c, Error **errp);
CTX_CONTROL void drive_node_clear(DriveNode *d);
/* The format of the image at @path: what its first bytes claim. */
CTX_CONTROL const char *drive_probe_format(const char *path);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DriveNode, drive_node_clear)

#endif
