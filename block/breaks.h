/* breaks.h: breakpoints of a blkdebug node: requests that stop at an event until they are told to go on.
 *
 * 1. A breakpoint stops one request and is gone with that; a request that several stop goes on with the last.
 * 2. Nothing but a tool sets any: whoever waits for a stopped request itself waits for ever. */
#ifndef BLOCK_BREAKS_H
#define BLOCK_BREAKS_H

#include "block/block.h"

/* Each takes the first blkdebug node on the way from @n to its storage; -ENOTSUP: there is none. */

/* The next request at @event stops, and is called @tag.  -ENOENT: there is no such event. */
CTX_ANY int blk_break_add(BlkNode *n, const char *event, const char *tag);
/* No breakpoint is called @tag any more, and what one stopped goes on.  -ENOENT: none was. */
CTX_ANY int blk_break_remove(BlkNode *n, const char *tag);
/* The request that was stopped last as @tag goes on.  -ENOENT: none is. */
CTX_ANY int blk_break_resume(BlkNode *n, const char *tag);
/* Everything goes on, and nothing stops any more. */
CTX_ANY void blk_break_end(BlkNode *n);
/* Is a request stopped as @tag (NULL: as anything)?  Is there a breakpoint that has stopped none? */
CTX_ANY bool blk_break_stopped(BlkNode *n, const char *tag);
CTX_ANY bool blk_break_armed(BlkNode *n, const char *tag);
/* From now on fn(@arg) follows when a request has stopped, on any thread, with locks held. */
CTX_ANY int blk_break_watch(BlkNode *n, void (*fn)(void *arg), void *arg);

#endif
