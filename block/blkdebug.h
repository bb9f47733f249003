/* blkdebug.h: events that formats tell a blkdebug node below them; private to block/. */
#ifndef BLOCK_BLKDEBUG_H
#define BLOCK_BLKDEBUG_H

#include "block/block-int.h"
#include "qapi/types.h"

void blk_event_slow(BlkNode *n, BlkdebugEvent event);

/* @event is about to happen with what is at @n: if that is a blkdebug node, its rules hold from now on.  Any
 * thread. */
static inline void blk_event(BlkNode *n, BlkdebugEvent event)
{
    if (G_UNLIKELY(n->drv == &blk_blkdebug)) {
        blk_event_slow(n, event);
    }
}

#endif
