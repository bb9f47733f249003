/* qcow2-int.h: an open qcow2 image, shared by the files that make it work; private to block/.
 *
 * The format is that of the published description "QCOW2 image format" (version 2 and 3).
 *
 * 1. q->lock guards everything that changes.  It is never held over host I/O, so the loops take it
 *    for as long as a look-up lasts.
 *    Functions that drop it for a while are LOCK_UNCHECKED: clang cannot see it through n->state.
 * 2. Metadata in memory is the truth; the file follows in flushes, in an order that leaves leaks at
 *    worst when it is cut anywhere (qcow2-flush.c).
 * 3. Space is taken in runs: refcounts first, then, without more metadata, cluster by cluster.  A
 *    run always reads as zeroes. */
#ifndef BLOCK_QCOW2_INT_H
#define BLOCK_QCOW2_INT_H

#include "block/block-int.h"

#define QCOW2_MAGIC 0x514649fb
#define QCOW2_COPIED (UINT64_C(1) << 63)      /* the reference count is exactly one */
#define QCOW2_COMPRESSED (UINT64_C(1) << 62)
#define QCOW2_ZERO UINT64_C(1)                /* version 3: reads as zeroes */
#define QCOW2_OFFSET UINT64_C(0x00fffffffffffe00)
#define QCOW2_SUBS 32                         /* subclusters of an extended L2 entry */

enum {
    QCOW2_INCOMPAT_DIRTY = 1 << 0,
    QCOW2_INCOMPAT_CORRUPT = 1 << 1,
    QCOW2_INCOMPAT_DATA_FILE = 1 << 2,
    QCOW2_INCOMPAT_COMPRESSION = 1 << 3,
    QCOW2_INCOMPAT_EXT_L2 = 1 << 4,
    QCOW2_INCOMPAT_KNOWN = (1 << 5) - 1,
    QCOW2_COMPAT_LAZY_REFCOUNTS = 1 << 0,
    QCOW2_AUTOCLEAR_BITMAPS = 1 << 0,
    QCOW2_AUTOCLEAR_RAW_DATA = 1 << 1,
};

enum { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };

typedef enum Qcow2Compression { QCOW2_ZLIB, QCOW2_ZSTD } Qcow2Compression;

/* The header, in host order, with the extensions we act on. */
typedef struct Qcow2Header {
    uint32_t version, cluster_bits, crypt_method, l1_size, rt_clusters, snapshots;
    uint32_t refcount_order, length;
    uint64_t size, l1_off, rt_off, snapshots_off;
    uint64_t incompat, compat, autoclear;
    uint32_t bitmaps;          /* 0: none, or not to be trusted */
    uint64_t bitmaps_off, bitmaps_size;
    uint64_t crypt_off, crypt_size;    /* of the LUKS header and its key material, bytes */
    Qcow2Compression compression;
    char *backing_file, *backing_format, *data_file;    /* owned; NULL: none */
} Qcow2Header;

/* An entry of the snapshot table. */
typedef struct Qcow2Snapshot {
    BlkSnapshot info;
    uint64_t l1_off;
    uint32_t l1_size, extra_len;
    uint8_t *extra;            /* as in the file; NULL: a new snapshot */
} Qcow2Snapshot;

/* An entry of the bitmap directory. */
typedef struct Qcow2Bitmap {
    char *name;
    uint64_t table_off;
    uint32_t table_size, flags;
    unsigned bits;             /* a granule has 1 << bits bytes */
} Qcow2Bitmap;

typedef enum SliceKind { SLICE_REF, SLICE_L2 } SliceKind;

/* Part of an L2 table or refcount block, as it is on disk. */
typedef struct Slice Slice;
struct Slice {
    uint64_t off;              /* in the image file */
    uint8_t *data;
    uint8_t *frozen;           /* what the flush in progress writes; may be @data itself */
    SliceKind kind;
    unsigned pins;
    bool loading, dirty;
    int error;                 /* loading failed */
    Slice *hash_next, *older, *newer;
};

typedef struct SliceCache {
    Slice **buckets;
    unsigned bucket_bits, count, max, dirty;
    Slice *oldest, *newest;    /* all slices, in order of use */
    unsigned slice_bytes;
} SliceCache;

/* A piece of guest space whose mapping is about to change. */
typedef struct Change Change;
struct Change {
    uint64_t id;               /* blk_wake()'s key */
    uint64_t first, count;     /* guest clusters */
    bool placed;               /* data comes to @host; else they are cleared */
    uint64_t host;             /* the first one's place */
    Slice *slice;              /* with their L2 entries, pinned */
    unsigned users;            /* requests that are to commit it */
    bool shared;               /* others may write into the same new clusters meanwhile */
    bool fresh;                /* the host clusters were taken for this */
    Change *next;
};

/* A new cluster that has only some of its parts yet: qcow2-partial.c. */
typedef struct Partial {
    uint64_t guest;            /* cluster number, */
    uint64_t host;             /* and the offset in the file */
    uint64_t there, busy;      /* bit i: part i; what is busy is being written and not there */
    uint64_t id;               /* blk_wake()'s key */
    unsigned writers;          /* requests that have busy parts; with any */
    Slice *slice;              /* has the L2 entry, pinned */
    bool filling;              /* nobody may make another part busy, and only who fills it frees it */
    bool gone;                 /* it was dropped meanwhile */
} Partial;

#define QCOW2_COOKIE_PARTIAL 1 /* an extent's cookie is that Partial, else that Change */

typedef struct Freed {
    uint64_t host, count;      /* clusters to lose one reference, */
    BlkFreed why;
} Freed;

typedef struct Qcow2 {
    Qcow2Header h;
    BlkNode *data;             /* where guest clusters are: the child, or an external data file, */
    bool external;             /* where they lie at their guest offsets and are not counted */
    BlkNode *backing;          /* n->backing */
    BlkUser data_use;
    struct Luks *luks;         /* how data is encrypted, or NULL */
    char *secret;              /* the id of what opened that, or NULL */

    unsigned cluster_bits, l2_bits, unit_bits, entry_size;
    uint64_t cluster;          /* bytes */
    uint64_t grow_from;        /* the file holds nothing at or after this: it reads as zeroes */

    Lock lock;                 /* guards everything from here on */
    LockCond changed;          /* a slice was loaded, a flush ended */
    SliceCache cache;
    uint64_t *l1;              /* host order, h.l1_size entries */
    uint64_t *rt;              /* the refcount table, host order */
    uint64_t rt_size;          /* entries */
    bool *l1_dirty, *rt_dirty; /* per sector of 512 bytes */
    bool any_l1_dirty, any_rt_dirty;
    uint64_t run, run_end;     /* clusters taken and not yet given out */
    unsigned run_want;         /* how many clusters the last run was to have */
    uint64_t hint;             /* no free cluster below */
    uint64_t packed_end;       /* where compressed data goes on, or at the start of a cluster: anew */
    bool refilling;            /* a pool thread takes a run or makes a table */
    Change *changes;
    uint64_t next_id;
    GHashTable *partials;      /* Partial by guest cluster; NULL: this image has none */
    uint64_t part;             /* bytes */
    unsigned partials_max;
    int64_t slow_ns;           /* a copy that takes longer is one of several at once */
    bool filling;              /* a thread fills partials */
    GArray *freed;             /* Freed: to be applied after the next flush, */
    GArray *limbo;             /* and, off the disk, after the requests in flight; NULL: none */
    bool limbo_over;           /* they are done */
    bool limbo_waited;         /* a flush waited for them */
    BlkGrace grace;
    bool pass[BLK_FREED_KINDS];        /* what was freed so goes back to the host */
    GArray *bitmaps;           /* Qcow2Bitmap: as the image has them */
    bool flushing;
    bool corrupt;              /* no more writes */
} Qcow2;

/* --- qcow2-header.c --- */

/* Reads and checks the header of @file into @h; the caller clears it with qcow2_header_clear(). */
bool qcow2_header_read(BlkNode *file, Qcow2Header *h, Error **errp);
void qcow2_header_clear(Qcow2Header *h);
/* Writes the extension that tells of bitmaps as @h has it, and takes it over into the node's header. */
int qcow2_header_set_bitmaps(BlkNode *n, const Qcow2Header *h);
/* The header cluster @old, whose extensions begin at @length, becomes @new, durably; cut off anywhere, also
 * within a write of several sectors, it is the one or the other, perhaps without the names of features.
 * (That cannot be where the first sector has no room for the other extensions, or the cluster for two
 * names.)  @new: extensions and name follow one another; is changed. */
int qcow2_header_put(BlkNode *n, const uint8_t *old, uint32_t length, GByteArray *new);
/* Another name for the data file of an image that has one; "": none. */
int qcow2_header_set_data_file(BlkNode *n, const char *name);
/* The header becomes one of @version (2, 3) in one write; none of the feature bits are kept. */
int qcow2_header_set_version(BlkNode *n, uint32_t version);
/* Writes the fields of @h that may change in an open image (sizes, places, feature bits). */
int qcow2_header_update(BlkNode *file, const Qcow2Header *h);

/* Writes the header of a new image with its extensions at the start of @file. */
int qcow2_header_write(BlkNode *file, const Qcow2Header *h);

/* --- qcow2.c --- */

/* Writes out all there is, and gives back what was taken in advance; nothing is in flight. */
int qcow2_settle(BlkNode *n);

/* --- qcow2-create.c --- */

/* Are the options of @o possible? */
bool qcow2_create_ok(const BlkCreate *o, Error **errp);
bool qcow2_format(BlkNode *file, BlkNode *data, const BlkCreate *o, Error **errp);
/* --- qcow2-backing.c --- */

/* Writes what the image calls the thing behind it (@file NULL: nothing is).  Blocks; nothing is in flight. */
bool qcow2_set_backing_file(BlkNode *n, const char *file, const char *format, Error **errp);
/* What it calls it, or NULL. */
const char *qcow2_backing_file(const BlkNode *n);

/* --- qcow2-crypt.c --- */

/* Opens the encryption the header tells of; qcow2_crypt_close() undoes it. */
bool qcow2_crypt_open(BlkNode *n, const BlkOptions *o, Error **errp);
void qcow2_crypt_close(BlkNode *n);
/* Are the options of @o possible, and how many bytes do they need? */
bool qcow2_crypt_room(const BlkCreate *o, uint64_t *room, Error **errp);
/* The data of an encrypted image: marks what resolve found for @r. */
void qcow2_crypt_mark(const BlkNode *n, const BlkReq *r, Extent *e);
/* Key slots; the image has LUKS encryption or this fails. */
bool qcow2_crypt_keys(BlkNode *n, struct LuksPlace *out, Error **errp);
bool qcow2_crypt_amend(BlkNode *n, const BlkLuksAmend *o, bool force, Error **errp);
void qcow2_crypt_info(const BlkNode *n, BlkImageInfo *out);

/* --- qcow2-amend.c --- */

bool qcow2_amend(BlkNode *n, const BlkAmend *o, bool force, Error **errp);

/* --- qcow2-cache.c --- */

bool qcow2_cache_init(Qcow2 *q, uint64_t bytes);
void qcow2_cache_free(Qcow2 *q);
/* The slice with the byte at @off if it is in memory, else NULL. */
Slice *qcow2_slice_find_locked(Qcow2 *q, uint64_t off);
/* The same, read from the file if it must be; pinned.  Drops the lock meanwhile: on the pool. */
int qcow2_slice_get_locked(BlkNode *n, SliceKind kind, uint64_t off, Slice **out);
/* The cluster at @off belongs to nobody: forgets what is in memory of it. */
void qcow2_slice_forget_locked(Qcow2 *q, uint64_t off);
/* Before a change of s->data: the slice will be written, and a flush keeps what it has. */
void qcow2_slice_change_locked(Qcow2 *q, Slice *s);
static inline void qcow2_slice_pin(Slice *s) { s->pins++; }
static inline void qcow2_slice_unpin(Slice *s) { s->pins--; }

/* --- qcow2-refcount.c --- */

/* Count number @i of @block, and how many counts @bytes of a block hold. */
uint64_t qcow2_count_read(const Qcow2 *q, const uint8_t *block, uint64_t i);
uint64_t qcow2_counts_per(const Qcow2 *q, uint64_t bytes);
/* The largest count the width holds. */
uint64_t qcow2_count_max(const Qcow2 *q);
/* New blocks and a new table for the whole file, with the counts @want of its @clusters. */
int qcow2_refcount_rebuild(BlkNode *n, const uint32_t *want, uint64_t clusters);
/* Counts of 1 << @order bits from now on, in new blocks and a new table; all metadata is on disk and nothing
 * is in flight.  -ERANGE: the one of the cluster at *@at, *@count, does not fit. */
int qcow2_refcount_set_order(BlkNode *n, unsigned order, uint64_t *at, uint64_t *count);
/* On the pool: q->run has a free cluster afterwards. */
int qcow2_refill_locked(BlkNode *n);
/* The same with -1, but for clusters it would be the last reference of and that are to go back to the host
 * (@last not NULL): these are added to that, still counted, for qcow2_punch_locked(). */
int qcow2_refcount_drop_locked(BlkNode *n, uint64_t host, uint64_t count, GArray *last);
/* On the pool, or while nothing is in flight: the clusters of @last (Freed), which nothing on disk and no
 * request has a way to, go back to the host and lose their last reference. */
int qcow2_punch_locked(BlkNode *n, GArray *last);
/* On the pool: @count clusters in one piece at the end of the file, counted, for a table; they need not read
 * as
 * zeroes. */
int qcow2_take_locked(BlkNode *n, uint64_t count, uint64_t *out);
/* On the pool: adds @by (1, or less than 0) to the reference count of each of @count clusters at @host. */
int qcow2_refcount_add_locked(BlkNode *n, uint64_t host, uint64_t count, int64_t by);
/* On the pool: takes @count clusters that follow one another; their contents are undefined. */
int qcow2_alloc_locked(BlkNode *n, uint64_t count, uint64_t *host);
/* On the pool: the count of one cluster. */
int qcow2_refcount_get_locked(BlkNode *n, uint64_t host, uint64_t *out);
/* One reference to each of @count clusters at @host goes, once what had it is off the disk. */
void qcow2_free_later_locked(Qcow2 *q, uint64_t host, uint64_t count, BlkFreed why);
/* The clusters that are left of the run go back: before closing. */
int qcow2_run_return_locked(BlkNode *n);

/* --- qcow2-map.c --- */

int qcow2_resolve(BlkNode *n, const BlkReq *r, Extent *e);
int qcow2_resolve_slow(BlkNode *n, const BlkReq *r, Extent *e);
int qcow2_commit(BlkNode *n, const BlkReq *r, const Extent *e, int ret);
int qcow2_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s);

/* On a thread that may block: what of [@from, @to) has no place and reads as zeroes gets one, durably.
 * -ENOTSUP: the format has no way to say so. */
int qcow2_premap(BlkNode *n, uint64_t from, uint64_t to);

/* Is a Change under way at guest cluster @g? */
bool qcow2_changing(const Qcow2 *q, uint64_t g);
/* On the pool: the slice with the L2 entry of @g, which has a table of its own; pinned. */
int qcow2_l2_slice_locked(BlkNode *n, uint64_t g, Slice **out);
/* Guest cluster @g, which had no place, is at @host from now on; its entry is in @s. */
void qcow2_link_whole_locked(Qcow2 *q, Slice *s, uint64_t g, uint64_t host);
/* On a thread that may block: the cluster at @off becomes @entry, of a compressed one, if @ret says that its
 * data landed; else the space goes back.  Returns @ret or what went wrong then. */
int qcow2_link_compressed(BlkNode *n, uint64_t off, uint64_t entry, int ret);

/* --- qcow2-partial.c --- */

/* The image may have partials from now on, if it is of a kind that can. */
void qcow2_partials_init(Qcow2 *q);
/* The partial of guest cluster @g, or NULL. */
static inline Partial *qcow2_partial_at(const Qcow2 *q, uint64_t g)
{
    return q->partials && g_hash_table_size(q->partials) ? g_hash_table_lookup(q->partials, &g) : NULL;
}
/* How many of @left bytes from @pos on, in its cluster, are alike: *@there, or read from behind. */
uint64_t qcow2_partial_run(const Qcow2 *q, const Partial *p, uint64_t pos, uint64_t left, bool *there);
/* May there be one more, for what @r writes?  Makes it for @g: its entry is empty, the run has a cluster. */
bool qcow2_partial_possible(const Qcow2 *q, const BlkReq *r);
Partial *qcow2_partial_new_locked(Qcow2 *q, uint64_t g);
/* Resolves a write into @p, whose entry is in @s; and the write has landed, or failed. */
int qcow2_partial_write_locked(Qcow2 *q, Partial *p, Slice *s, const BlkReq *r, Extent *e);
void qcow2_partial_commit(BlkNode *n, const BlkReq *r, uint64_t cookie, int ret);
/* Nobody writes to it or fills it, and its cluster becomes something else: gives the space back. */
void qcow2_partial_drop_locked(Qcow2 *q, Partial *p, BlkFreed why);
/* On a thread that may block: all that are there when it is called are filled and linked; or that of @g.  One
 * that fails stays. */
int qcow2_partials_fill(BlkNode *n);
int qcow2_partial_fill(BlkNode *n, uint64_t g);

/* --- qcow2-resize.c --- */

bool qcow2_truncate(BlkNode *n, uint64_t size, Error **errp);

/* --- qcow2-write.c --- */

/* On a thread that may block: writes the guest cluster at @off compressed; -E2BIG: it does not get smaller.
 * */
int qcow2_write_compressed(BlkNode *n, uint64_t off, const uint8_t *buf);

/* --- qcow2-flush.c --- */

/* Writes all metadata changed until now; on the pool, or closing. */
int qcow2_flush_tables(BlkNode *n);
/* The same, and with @put_off what was to be done before: afterwards everything is mapped. */
int qcow2_flush_meta(BlkNode *n, bool put_off);
/* On the pool, after that: what was freed loses its references and goes back to the host, unless requests
 * that may be on their way to it take long. */
int qcow2_flush_back(BlkNode *n);
/* q->grace is over. */
void qcow2_limbo_over(BlkGrace *g);
/* What was freed, flushed and is out of everybody's hands loses its references; on the pool. */
int qcow2_release_locked(BlkNode *n);
/* The image contradicts itself: marks it and lets no more writes in.  @format: what is wrong. */
void qcow2_corrupt_locked(BlkNode *n, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* --- qcow2-check.c --- */

bool qcow2_check(BlkNode *n, unsigned fix, BlkCheck *out, Error **errp);

/* --- qcow2-snapshot.c --- */

extern const BlkSnapshotOps qcow2_snapshot_ops;
/* Reads the entry at *@at into @s, for the caller to clear, and moves *@at behind it. */
int qcow2_snapshot_read(BlkNode *n, uint64_t *at, Qcow2Snapshot *s);
void qcow2_snapshot_clear(Qcow2Snapshot *s);
/* The table, Qcow2Snapshot by Qcow2Snapshot; NULL: it cannot be read. */
GArray *qcow2_snapshots_read(BlkNode *n, Error **errp);
/* Every snapshot tells its disk's size afterwards, as version 3 wants it. */
bool qcow2_snapshots_complete(BlkNode *n, Error **errp);
/* The L1 table of @s in host order, with room for @least entries; NULL: it cannot be read. */
uint64_t *qcow2_snapshot_l1(BlkNode *n, const Qcow2Snapshot *s, uint64_t least, Error **errp);
/* Flushes when half the cache is dirty; drops the lock meanwhile. */
int qcow2_keep_bounded_locked(BlkNode *n);

/* @bytes of @data in clusters of their own that follow one another, then zeroes; *@at is 0 for none.
 * Drops the lock meanwhile: on the pool, or while nothing is in flight. */
int qcow2_place_locked(BlkNode *n, const void *data, uint64_t bytes, uint64_t *at);
/* Gives the clusters of @bytes at @at back, if @at is not 0: nothing on disk names them.  @last: as in
 * qcow2_refcount_drop_locked(). */
int qcow2_unplace_locked(BlkNode *n, uint64_t at, uint64_t bytes, GArray *last);

/* --- qcow2-bitmap.c --- */

/* The image's bitmaps become those of @n, and are claimed if it is to be written to. */
bool qcow2_bitmaps_load(BlkNode *n, Error **errp);
/* Marks all that the image has as in use. */
bool qcow2_bitmaps_claim(BlkNode *n, Error **errp);
/* Those of @n that are persistent become those of the image; nothing is in flight. */
int qcow2_bitmaps_store(BlkNode *n);
bool qcow2_bitmap_can_store(BlkNode *n, Error **errp);
/* The directory, Qcow2Bitmap by Qcow2Bitmap; and the table of one in host order, for the caller to free. */
GArray *qcow2_bitmaps_read(BlkNode *n, Error **errp);
uint64_t *qcow2_bitmap_table(BlkNode *n, const Qcow2Bitmap *b, int *ret);

/* --- qcow2-compress.c --- */

/* Where the compressed cluster of L2 entry @entry begins, and how far it is to its last sector's end. */
void qcow2_packed_place(const Qcow2 *q, uint64_t entry, uint64_t *at, uint64_t *len);
/* The host clusters it lies in: their first byte and how many. */
void qcow2_packed_clusters(const Qcow2 *q, uint64_t entry, uint64_t *host, uint64_t *count);

/* On the pool: the cluster of compressed L2 entry @entry, in a new buffer of q->cluster bytes. */
int qcow2_decompress(BlkNode *n, uint64_t entry, uint8_t **out);

#endif
