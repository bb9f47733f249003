/* bitmap.h: dirty bitmaps: which parts of a node were written to since a bitmap was made or cleared.
 *
 * 1. A bitmap is made, changed and freed on the control thread; requests on any loop mark it, without a lock.
 * 2. A bit stands for 2^granularity bytes and is set when a write, zeroing or discard of any of them begins.
 *    Whoever needs a moment between two writes drains the node.
 * 3. A persistent bitmap is kept in the image when it is closed.  Until then the image says that it is in
 *    use: after a crash it is there, inconsistent, and good for nothing but to be removed. */
#ifndef BLOCK_BITMAP_H
#define BLOCK_BITMAP_H

#include "block/block.h"

#define BLK_BITMAP_NAME_MAX 1023
#define BLK_BITMAP_BITS_MIN 9
#define BLK_BITMAP_BITS_MAX 31

typedef struct BlkBitmap BlkBitmap;
typedef struct BlkBitmapBits BlkBitmapBits;

typedef struct BlkBitmapInfo {
    const char *name;
    uint64_t granularity;      /* bytes */
    uint64_t count;            /* bytes that are dirty, in whole granules */
    bool recording, busy, persistent, inconsistent;
} BlkBitmapInfo;

/* Adds a bitmap to @n with no bit set.  @granularity: a power of two from 512 bytes to 2 GiB; 0: the
 * image's cluster size, between 4 and 64 KiB.  Fails if the name is taken, or persistence is not possible. */
CTX_CONTROL BlkBitmap *blk_bitmap_add(BlkNode *n, const char *name, uint64_t granularity, bool persistent,
                                      Error **errp);
CTX_CONTROL void blk_bitmap_remove(BlkBitmap *b);
/* The bitmap of @n with @name, or NULL; and the one after @b, the first for NULL. */
CTX_CONTROL BlkBitmap *blk_bitmap_find(const BlkNode *n, const char *name);
CTX_CONTROL BlkBitmap *blk_bitmap_next(const BlkNode *n, const BlkBitmap *b);

/* Can the image have bitmaps of its own, and with @more, can some be added? */
CTX_CONTROL bool blk_bitmaps_kept(BlkNode *n, bool more);
/* What is known of it; the name is borrowed. */
CTX_CONTROL BlkBitmapInfo blk_bitmap_info(const BlkBitmap *b);
/* False, with the reason, if a job uses it (unless @busy_too) or it is inconsistent (unless @broken_too). */
CTX_CONTROL bool blk_bitmap_usable(const BlkBitmap *b, bool busy_too, bool broken_too, Error **errp);
CTX_CONTROL void blk_bitmap_record(BlkBitmap *b, bool on);
CTX_CONTROL void blk_bitmap_set_busy(BlkBitmap *b, bool on);
/* What is set, to be set again with nothing in flight at the node; free it.  The size did not change. */
CTX_CONTROL BlkBitmapBits *blk_bitmap_save(const BlkBitmap *b);
CTX_CONTROL void blk_bitmap_restore(BlkBitmap *b, const BlkBitmapBits *bits);
CTX_CONTROL void blk_bitmap_bits_free(BlkBitmapBits *bits);
/* For a job, with nothing in flight at the node: it is busy until blk_bitmap_settle(), and records anew.
 * What was set is set again then if @restore. */
CTX_CONTROL void blk_bitmap_set_aside(BlkBitmap *b);
CTX_CONTROL void blk_bitmap_settle(BlkBitmap *b, bool restore);

/* Sets or clears the bits of all granules that [@off, @off + @len) touches. */
CTX_ANY void blk_bitmap_set(BlkBitmap *b, uint64_t off, uint64_t len);
CTX_ANY void blk_bitmap_clear(BlkBitmap *b, uint64_t off, uint64_t len);
/* The first dirty range at or after @off, at most @most bytes long: its place in @off and its length; 0:
 * there is none. */
CTX_ANY uint64_t blk_bitmap_dirty(const BlkBitmap *b, uint64_t *off, uint64_t most);
/* What is set in @from is set in @to, whatever their granularities; false: the sizes differ. */
CTX_CONTROL bool blk_bitmap_merge(BlkBitmap *to, const BlkBitmap *from, Error **errp);

#endif
