/* blockdev.h: block nodes from what -blockdev, blockdev-add and -drive say in the schema's words. */
#ifndef SYSTEM_BLOCKDEV_H
#define SYSTEM_BLOCKDEV_H

#include "block/block.h"
#include "qapi/types.h"

/* Opens the node @c describes with those defined inside it; NULL and @errp when that fails. */
CTX_CONTROL BlkNode *blockdev_open(const BlockdevConfig *c, Error **errp);
/* The same as options, which live as long as @arena and @c; NULL and @errp. */
CTX_CONTROL const BlkOptions *blockdev_options(const BlockdevConfig *c, GPtrArray *arena, Error **errp);
/* What is below the node @c describes, or NULL. */
CTX_CONTROL const BlockdevRef *blockdev_file(const BlockdevConfig *c);

#endif
