/* graph.h: changes of the graph under running requests; for the control plane and jobs.
 *
 * 1. A change is made between held() and blk_release(); one at a time, others wait for their turn.
 * 2. What may be called there leaves everything as it was when it fails. */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/block.h"

typedef struct BlkHold BlkHold;

/* Calls held(h, arg) on control when nothing is in flight at @nodes and what is above them; new requests wait
 * until blk_release().  The nodes cannot be closed before. */
CTX_CONTROL void blk_hold(BlkNode *const *nodes, unsigned count, void (*held)(BlkHold *h, void *arg),
                          void *arg);
CTX_CONTROL void blk_release(BlkHold *h);

/* While held: the users of @from use @to from now on, but for @to itself.  Fails if one cannot be moved, or
 * may not do there what it needs. */
CTX_CONTROL bool blk_replace(BlkNode *from, BlkNode *to, Error **errp);
/* The same for @u alone. */
CTX_CONTROL bool blk_move_user(BlkUser *u, BlkNode *to, Error **errp);
/* While its child is held: the users of the child of @filter, which is open, use @filter. */
CTX_CONTROL bool blk_insert_filter(BlkNode *filter, Error **errp);
/* While its child is held: the users of @filter use its child. */
CTX_CONTROL void blk_remove_filter(BlkNode *filter);
/* The same; fails, and changes nothing, if they cannot do there what they need. */
CTX_CONTROL bool blk_lift_filter(BlkNode *filter, Error **errp);
/* While @n is held: puts @backing (NULL: nothing) behind it; what was there is closed if nobody wants it. */
CTX_CONTROL bool blk_set_backing(BlkNode *n, BlkNode *backing, Error **errp);
/* True if @n can have @file below it in the place of what is there: raw nodes and filters any, images what
 * holds the same bytes. */
CTX_CONTROL bool blk_may_set_file(const BlkNode *n, BlkNode *file, Error **errp);
/* While both are held: puts @file below @n. */
CTX_CONTROL bool blk_set_file(BlkNode *n, BlkNode *file, Error **errp);
/* While held: the -drive that @from was made for is @to's now. */
CTX_CONTROL void blk_move_drive(BlkNode *from, BlkNode *to);
/* Opens what stands, unkept, for @of when that is taken from a device; see gone.c. */
CTX_CONTROL BlkNode *blk_open_gone(const BlkNode *of, Error **errp);
CTX_ANY bool blk_is_gone(const BlkNode *n);
/* Opens an empty -drive @id, which has only @words; until a device takes it over. */
CTX_CONTROL BlkNode *blk_open_empty(const char *id, const BlkWords *words, Error **errp);
CTX_CONTROL bool blk_is_empty(const BlkNode *n);
/* What -drive @id has in it; NULL: there is no such drive, or it is empty. */
CTX_CONTROL BlkNode *blk_find_medium(const char *id);
/* What a -drive made is not that drive's any more, and closed, or ends with its last user. */
CTX_CONTROL void blk_lose_drive(BlkNode *n);
/* @n lives until blk_close(), whatever it was made for. */
CTX_CONTROL void blk_keep(BlkNode *n);
/* While @n is held: puts @overlay, an image with nothing behind it, between @n and its users. */
CTX_CONTROL bool blk_snapshot(BlkNode *n, BlkNode *overlay, Error **errp);
/* While both are held: undoes that, before anything was written; @n becomes writable again unless it was
 * @read_only before. */
CTX_CONTROL void blk_snapshot_undo(BlkNode *n, BlkNode *overlay, bool read_only);

/* While @n is held: changes what the image calls the thing behind it (@file NULL: nothing).  Blocks. */
CTX_CONTROL bool blk_set_backing_file(BlkNode *n, const char *file, const char *format, Error **errp);
/* That name, or NULL. */
CTX_CONTROL const char *blk_backing_file(const BlkNode *n);
/* While @n is held: makes it read-only, or writable with what is below it. */
CTX_CONTROL bool blk_reopen_read_only(BlkNode *n, bool read_only, Error **errp);
/* True if @n is @below or gets bytes from it. */
CTX_CONTROL bool blk_is_above(const BlkNode *n, const BlkNode *below);
/* The first node above @n that has it as what is behind it, or NULL. */
CTX_CONTROL BlkNode *blk_overlay_of(const BlkNode *n);
/* What is behind the image of @n, filters left out, or NULL. */
CTX_CONTROL BlkNode *blk_behind(BlkNode *n);
/* Opens a node that is closed with its last user; for one that gets users at once. */
CTX_CONTROL BlkNode *blk_open_unkept(const BlkOptions *o, Error **errp);
/* Closes @n if it is such a node without users: at once, or after the changes of the graph that wait
 * for it. */
CTX_CONTROL void blk_close_unused(BlkNode *n);

/* Tells, once, of a write to @n that ends after @bytes; 0: no more. */
CTX_CONTROL void blk_set_threshold(BlkNode *n, uint64_t bytes);
CTX_ANY uint64_t blk_threshold(const BlkNode *n);
/* Whoever tells people; any thread. */
typedef void BlkThresholdListener(const BlkNode *n, uint64_t threshold, uint64_t exceeded);
CTX_CONTROL void blk_set_threshold_listener(BlkThresholdListener *l);

#endif
