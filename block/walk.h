/* walk.h: requests that a format answers in several pieces; private to block/. */
#ifndef BLOCK_WALK_H
#define BLOCK_WALK_H

#include "block/block-int.h"

/* Takes over @r at the format lane @l and completes it when all its pieces are done.  @first: what
 * resolve() answered already, or NULL. */
void walk_start(BlkReq *r, BlkLane *l, const Extent *first);
/* Writes the metadata of @l's node out, then flushes its child, then completes @r. */
void walk_flush(BlkReq *r, BlkLane *l);

#endif
