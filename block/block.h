/* block.h: block nodes, what a disk's front end and the control plane may know of them.
 *
 * A node is a named layer of storage: a protocol (file, host_device, null-co) that asks the host,
 * or a format (raw) over a child node.  Front ends attach as users, submit requests and never learn
 * what is below.
 *
 * 1. Nodes are made, changed and closed on the control thread.  Requests may come from any number
 *    of loops at once; each completes exactly once, by done(), on the loop that submitted it, and
 *    never inside blk_submit().
 * 2. A node's size is a multiple of 512.  A request past the end, or a write to a read-only node,
 *    fails with -EIO or -EACCES; it never reaches the host.
 * 3. No request is lost or reordered across its own completion; between requests in flight there is
 *    no order.  A flush covers what was completed before it was submitted.
 * 4. The serial number, the model and the block size shown to the guest belong to the device, not to
 *    the node; so do rerror and werror (front.h), except that a -drive's wishes travel with its node. */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "util/error.h"
#include "util/loop.h"

typedef struct BlkNode BlkNode;
typedef struct BlkReq BlkReq;
typedef struct BlkUser BlkUser;

/* --- requests --- */

typedef enum BlkOp {
    BLK_READ,
    BLK_WRITE,
    BLK_ZERO,                 /* the range reads as zeroes afterwards; no iov */
    BLK_DISCARD,              /* the range's contents are no longer wanted: a hint; no iov */
    BLK_FLUSH,                /* all completed writes become durable; no range, no iov */
    BLK_OPS,
} BlkOp;

enum {
    BLK_FUA = 1 << 0,         /* WRITE, ZERO: durable before done() */
    BLK_MAY_UNMAP = 1 << 1,   /* ZERO: space may be given back to the host */
    BLK_NO_FALLBACK = 1 << 2, /* ZERO: -ENOTSUP rather than writing zeroes out */
};

/* A request, embedded in the submitter's own structure and untouched by it from blk_submit() until
 * done() is called; done() may free or resubmit it.  It need not be zeroed. */
struct BlkReq {
    BlkOp op;
    unsigned flags;
    uint64_t off, len;         /* bytes, of any alignment; front ends use multiples of 512 */
    const struct iovec *iov;   /* READ, WRITE: exactly @len bytes in total; borrowed until done() */
    unsigned niov;             /* up to BLK_IOV_MAX */
    Loop *loop;                /* the loop this is submitted on and completes on */
    void (*done)(BlkReq *r, int ret);      /* ret: 0 or a negative errno */

    /* Private to block/ from here; needs no initialisation. */
    BlkUser *user;
    void (*visit)(BlkReq *r, BlkNode *n);
    struct BlkLane *lane, *at;
    uint64_t pos, left, bits;
    const struct iovec *cur;
    unsigned ncur;
    int64_t ret;
    int64_t start;
    BlkReq *next;
    void *aux;
    uint32_t phases;
    uint64_t engine[8] __attribute__((aligned(8)));
};

#define BLK_IOV_MAX 1024

/* Starts @r on @n.  Runs on r->loop; never blocks, never calls done() itself.  Errors arrive by
 * done().  For who is no user: a change of the graph may move users, not this request. */
CTX_LOOP void blk_submit(BlkNode *n, BlkReq *r);
/* The same on the node that @u uses when the request starts: it may wait for a change of the graph. */
CTX_LOOP void blk_user_submit(BlkUser *u, BlkReq *r);
/* For who looks at the graph below @u away from control: calls visit() with the node that @u uses, on
 * r->loop, when no change is under way; none begins until blk_visit_end(), which leads to r->done(@r, @ret).
 * Only r->loop and r->done need be set. */
CTX_LOOP void blk_user_visit(BlkUser *u, BlkReq *r, void (*visit)(BlkReq *r, BlkNode *n));
CTX_LOOP void blk_visit_end(BlkReq *r, int ret);

/* Enters @home for every loop that uses @n and leaves it as soon as the requests in flight there
 * have completed.  The caller has stopped its submitters, or more may be in flight when @home
 * opens. */
CTX_ANY void blk_drain(BlkNode *n, Barrier *home);

/* Blocking transfers for start-up (pflash contents, boot sectors, partition tables), for the pool
 * and for tools.  They return 0 or a negative errno.  Never on a loop that serves a guest. */
CTX_ANY int blk_pread(BlkNode *n, uint64_t off, void *buf, size_t len);
CTX_ANY int blk_pwrite(BlkNode *n, uint64_t off, const void *buf, size_t len);
CTX_ANY int blk_pflush(BlkNode *n);
CTX_ANY int blk_pzero(BlkNode *n, uint64_t off, uint64_t len, unsigned flags);
CTX_ANY int blk_pdiscard(BlkNode *n, uint64_t off, uint64_t len);
/* Writes one cluster (or the short one at the end) compressed, or as it is if that is not smaller; -ENOTSUP:
 * the format does not compress, -EINVAL: it is no whole cluster. */
CTX_ANY int blk_pwrite_compressed(BlkNode *n, uint64_t off, const void *buf, size_t len);
/* Lets the host copy between two places that are plain data in files; -ENOTSUP: they are not, or it cannot.
 * What was copied until then stays. */
CTX_ANY int blk_copy_range(BlkNode *from, uint64_t off, BlkNode *to, uint64_t at, uint64_t len);

/* --- facts --- */

/* What a write of zeroes becomes: a write, a request for zeroes, one that may give space back. */
typedef enum BlkDetect { BLK_DETECT_OFF, BLK_DETECT_ON, BLK_DETECT_UNMAP } BlkDetect;

/* What a failed request does (rerror, werror). */
typedef enum BlkOnError {
    BLK_ON_ERROR_REPORT,       /* the guest is told */
    BLK_ON_ERROR_IGNORE,       /* it looks as if it had succeeded */
    BLK_ON_ERROR_ENOSPC,       /* a full disk stops the machine, anything else is reported */
    BLK_ON_ERROR_STOP,         /* the machine stops; the request is made again when it goes on */
    BLK_ON_ERROR_AUTO,         /* ENOSPC for writes, REPORT for reads */
} BlkOnError;

/* Whether requests that failed, or made no sense, are in the times of a device's statistics; in the order of
 * a property that is auto, on or off. */
typedef enum BlkAccount { BLK_ACCOUNT_AUTO, BLK_ACCOUNT_ON, BLK_ACCOUNT_OFF } BlkAccount;

/* What a -drive says of the device that gets its node: that travels with the node until then. */
typedef struct BlkWords {
    BlkOnError rerror, werror;
    BlkAccount account_failed, account_invalid;
    const struct ThrottleRates *rates;         /* see throttle.h; NULL: no limits */
    const char *rates_group;                   /* NULL: its own */
    const uint32_t *intervals; /* seconds over which its statistics are told apart */
    unsigned intervals_count;
} BlkWords;

typedef struct BlkLimits {
    uint32_t align;            /* what is aligned less than this is bounced (O_DIRECT) */
    uint32_t logical, physical;   /* block sizes of the host device; 512 and 512 for a file */
    uint32_t discard_align;    /* granularity of BLK_DISCARD; 0: discard does nothing here */
    uint64_t max_discard;      /* most bytes one DISCARD or ZERO should have; 0: no limit */
    bool can_zero;             /* BLK_ZERO does not write zeroes out */
    bool rotational;
    bool can_grow;             /* a format may write past the end, where there are zeroes */
} BlkLimits;

CTX_ANY const char *blk_name(const BlkNode *n);
/* The id of the -drive that made the node, or "". */
CTX_ANY const char *blk_drive_id(const BlkNode *n);
/* True if the node was made for a device, by -drive or a change of medium, and goes when it leaves it. */
CTX_ANY bool blk_is_drive(const BlkNode *n);
CTX_CONTROL void blk_rename_drive(BlkNode *n, const char *id);
/* What that -drive said of the device; NULL: the node is none's. */
CTX_CONTROL const BlkWords *blk_drive_words(const BlkNode *n);
CTX_ANY const char *blk_driver_name(const BlkNode *n);
/* What the user knows the storage as: the path of a file node, of the child for a format.  May be
 * "". */
CTX_ANY const char *blk_filename(const BlkNode *n);
/* Size in bytes, a multiple of 512. */
CTX_ANY uint64_t blk_size(const BlkNode *n);
/* True if writes fail: read-only was asked for, or auto-read-only found the file not writable. */
CTX_ANY bool blk_read_only(const BlkNode *n);
CTX_ANY const BlkLimits *blk_limits(const BlkNode *n);
CTX_ANY bool blk_cache_direct(const BlkNode *n);
CTX_ANY BlkDetect blk_detect_zeroes(const BlkNode *n);
CTX_ANY bool blk_cache_no_flush(const BlkNode *n);
/* True if what it writes to its storage is encrypted. */
CTX_ANY bool blk_encrypted(const BlkNode *n);
/* Child number @i (0: the storage below a format; 1: what is behind an image), or NULL. */
CTX_CONTROL BlkNode *blk_child(const BlkNode *n, unsigned i);

typedef struct BlkStats {
    uint64_t ops[BLK_OPS], bytes[BLK_OPS], ns[BLK_OPS], failed[BLK_OPS];
    uint64_t wr_highest;       /* end of the highest write; not a sum */
} BlkStats;

/* Where the file of a file node ends, which may be within a sector; UINT64_MAX of any other node. */
CTX_ANY uint64_t blk_file_end(const BlkNode *n);
/* False: the host has no @bytes more, at least 1, for the file at the bottom of @n, which takes them and
 * gives them back to know.  Blocks. */
CTX_ANY bool blk_has_room(const BlkNode *n, uint64_t bytes);

/* What became of the discards that reached the host. */
typedef struct BlkDiscards {
    uint64_t ok, failed;       /* also those the host does not know how to do */
    uint64_t bytes;            /* of those that were done */
} BlkDiscards;

/* False: @n is no file or host device. */
CTX_ANY bool blk_discards(const BlkNode *n, BlkDiscards *out);

/* The sums over all loops since the node was opened; ns is time between submit and completion. */
CTX_ANY void blk_stats(BlkNode *n, BlkStats *out);

/* --- users and their rights --- */

enum {
    BLK_PERM_READ = 1 << 0,
    BLK_PERM_WRITE = 1 << 1,
    BLK_PERM_RESIZE = 1 << 2,
    BLK_PERM_ALL = 7,
};

struct BlkUser {
    /* Called on the control thread after the node's size changed; may be NULL. */
    void (*resized)(BlkUser *u);
    /* Called on the control thread, with none of the user's requests in flight, when the graph changed and
     * it uses u->node from now on.  NULL: it must not be moved, unless @stays. */
    void (*moved)(BlkUser *u);
    bool stays;                /* it means this very node, whatever is put above */
    struct BlkFront *front;    /* the device that uses it, whose limits hold; NULL: none */

    /* Private to block/ from here; @node may be read. */
    BlkNode *node;             /* atomic */
    BlkNode *parent;           /* the node that uses it, or NULL */
    char *who;
    unsigned need, share;
    BlkUser *next;
};

/* Makes @u, embedded in the caller, a user of @n.  @who names it in messages, such as "device
 * 'vd0'"; copied.  @need: the rights it uses; @share: the rights it allows other users, here and in
 * other processes.  A disk needs READ (and WRITE when writable) and shares READ and RESIZE;
 * share-rw=on adds WRITE to @share.  Fails, naming the holder, when another user or another process
 * is in the way, or when WRITE is needed of a read-only node. */
CTX_CONTROL bool blk_attach(BlkNode *n, BlkUser *u, const char *who, unsigned need, unsigned share,
                            Error **errp);
/* Changes the rights of an attached user; on failure the old ones stay. */
CTX_CONTROL bool blk_change_rights(BlkUser *u, unsigned need, unsigned share, Error **errp);
/* Ends the use; @u has no request in flight.  Nothing happens if @u is not attached. */
CTX_CONTROL void blk_detach(BlkUser *u);
/* Calls fn for each user of @n. */
CTX_CONTROL void blk_each_user(BlkNode *n, void (*fn)(const char *who, unsigned need, void *arg),
                               void *arg);

/* Changes the size of @n to @size bytes (rounded up to 512); new bytes read as zeroes.  Users hear
 * by resized().  @n has no requests in flight beyond the smaller of both sizes. */
CTX_CONTROL bool blk_truncate(BlkNode *n, uint64_t size, Error **errp);
/* Gives what of bytes [@from, @to) reads as zeroes and has no place in the image one, durably; it reads as
 * zeroes as before.  Blocks; 0 or a negative errno (what was mapped until then stays so), -ENOTSUP: the
 * format cannot. */
CTX_CONTROL int blk_premap(BlkNode *n, uint64_t from, uint64_t to);

/* --- what a range is made of --- */

enum {
    BLK_STATUS_DATA = 1 << 0,  /* reading it asks the storage */
    BLK_STATUS_ZERO = 1 << 1,  /* it reads as zeroes; with DATA: in space of its own */
    BLK_STATUS_HERE = 1 << 2,  /* a layer above @base decides what it is */
    BLK_STATUS_PLACE = 1 << 3, /* it is at @place of @file, as it reads */
    BLK_STATUS_COMPRESSED = 1 << 4,
};

typedef struct BlkStatus {
    unsigned flags;            /* BLK_STATUS_* */
    uint64_t len;              /* bytes from the offset asked for that this is true of, at least 1 */
    BlkNode *file;             /* the node of the storage, or NULL */
    uint64_t place;
    unsigned depth;            /* how many layers down it was decided */

    /* Private to block/ from here. */
    BlkNode *next;             /* the layer to ask when this one has nothing */
    bool through;              /* it is no layer of its own: ask at @place */
} BlkStatus;

/* What [@off, @off + @len) of @n begins with, @base (NULL: none) and what is below it left out.  May read
 * metadata: not on a loop that serves a guest.  0 or a negative errno. */
CTX_ANY int blk_status(BlkNode *n, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *out);

/* --- checking --- */

enum { BLK_FIX_LEAKS = 1 << 0, BLK_FIX_ERRORS = 1 << 1 };

typedef struct BlkCheck {
    void (*say)(const char *text, void *arg);     /* one line for each fault; may be NULL */
    void *arg;
    uint64_t corruptions, leaks, corruptions_fixed, leaks_fixed;
    uint64_t image_end;        /* of what is in use of the file, bytes */
    uint64_t total, allocated, fragmented, compressed;    /* clusters */
} BlkCheck;

/* Counts what is wrong with the image of @n in @out, zeroed but for say and arg, and mends it as @fix
 * says.  Blocks; nobody else uses the node.  False: it could not be checked. */
CTX_CONTROL bool blk_check(BlkNode *n, unsigned fix, BlkCheck *out, Error **errp);

/* --- what an image says of itself --- */

typedef struct BlkLuksInfo {
    const char *cipher_alg, *cipher_mode, *ivgen_alg, *hash_alg;
    const char *ivgen_hash_alg;        /* or NULL */
    const char *uuid;
    uint64_t payload_offset;   /* bytes */
    uint32_t iterations;       /* of the master key's digest */
    struct { bool active; uint32_t iterations, stripes; uint64_t key_offset; } slots[8];
} BlkLuksInfo;

typedef struct BlkImageInfo {
    uint64_t cluster_size;     /* bytes; 0: the format has none */
    uint64_t allocated;        /* bytes the host has set aside for the image, a data file not counted */
    const char *backing_file, *backing_format;    /* as the image has them, or NULL; borrowed from the node */
    bool encrypted, luks;      /* luks: the header is in luks_info, */
    BlkLuksInfo luks_info;     /* whose strings are borrowed from the node */
    bool qcow2;                /* what follows is set */
    unsigned version, refcount_bits;
    bool zstd, lazy_refcounts, extended_l2, dirty, corrupt, data_file_raw;
    const char *data_file;
} BlkImageInfo;

/* Fills in @out; strings live until the image is closed or its backing file changed. */
CTX_CONTROL void blk_image_info(BlkNode *n, BlkImageInfo *out);
/* The driver that recognises the beginning of @file best; "raw" if none does, NULL if it cannot be read. */
CTX_CONTROL const char *blk_probe(BlkNode *file, Error **errp);

/* --- creating images --- */

typedef enum BlkPrealloc {
    BLK_PREALLOC_OFF,
    BLK_PREALLOC_METADATA,     /* qcow2: all is mapped, nothing is written */
    BLK_PREALLOC_FALLOC,       /* the host has set the space aside */
    BLK_PREALLOC_FULL,         /* and zeroes were written to it */
} BlkPrealloc;

/* Of LUKS; NULL and 0: the default.  Names as the options have them. */
typedef struct BlkLuksCreate {
    const char *key_secret, *cipher_alg, *cipher_mode, *ivgen_alg, *ivgen_hash_alg, *hash_alg;
    uint64_t iter_time;        /* milliseconds that opening takes */
    bool has_iter_time;
} BlkLuksCreate;

/* What `create -o` says.  Zero is each option's default; strings are borrowed during the call. */
typedef struct BlkCreate {
    const char *driver;        /* "raw", "qcow2", "luks" */
    const char *filename;      /* blk_create(): made if it does not exist, emptied if it does */
    uint64_t size;             /* bytes, rounded up to 512 */
    BlkPrealloc prealloc;
    bool nocow;                /* asks a copy-on-write file system to overwrite in place */

    /* qcow2 */
    const char *backing_file, *backing_fmt;
    uint64_t cluster_size;     /* 0: 64 KiB */
    unsigned refcount_bits;    /* 0: 16 */
    bool v2, lazy_refcounts, extended_l2, zstd;
    const char *data_file;
    bool data_file_raw;
    const char *encrypt_format;        /* "luks" or "aes" (by key_secret alone) */

    BlkLuksCreate luks;        /* luks, and encrypted qcow2 */
} BlkCreate;

/* Makes an image.  Whatever was in the file is gone, even when this fails half-way; a file that did not
 * exist is removed then. */
CTX_CONTROL bool blk_create(const BlkCreate *o, Error **errp);
/* Writes the image into nodes that a user may write and resize: @file, and @data if o->data_file is set (else
 * NULL).  May run on the pool.  The header is written last: a cut leaves no image. */
CTX_ANY bool blk_format(BlkNode *file, BlkNode *data, const BlkCreate *o, Error **errp);

/* What `amend -o encrypt.state=...` says. */
typedef struct BlkLuksAmend {
    const char *state;         /* "active", "inactive"; NULL: not given */
    const char *new_secret, *old_secret;
    const char *secret;        /* opens it; NULL: the one that did */
    uint64_t keyslot, iter_time;
    bool has_keyslot, has_iter_time;
} BlkLuksAmend;

/* Changes key slots of an image that may be in use.  Begun and ended on control; what @a points to stays
 * until the end.  The change blocks, on any thread. */
typedef struct BlkKeys BlkKeys;
CTX_CONTROL BlkKeys *blk_keys_begin(BlkNode *n, const char *who, const BlkLuksAmend *a, bool force,
                                    Error **errp);
CTX_ANY bool blk_keys_change(BlkKeys *k, Error **errp);
CTX_CONTROL void blk_keys_end(BlkKeys *k);

/* Bytes before the data of a new LUKS disk. */
CTX_ANY bool blk_luks_room(const BlkLuksCreate *o, uint64_t *room, Error **errp);
/* What `amend -o` says; zero: nothing. */
typedef struct BlkAmend {
    bool has_luks;             /* an option of @luks was given */
    BlkLuksAmend luks;
    bool has_lazy_refcounts, lazy_refcounts;
    unsigned version;          /* 2, 3; 0: as it is */
    bool has_refcount_bits;
    uint64_t refcount_bits;
    bool has_size;
    uint64_t size;             /* bytes */
    const char *backing_file, *backing_fmt;    /* must be what the image says; NULL: not given */
    const char *data_file;     /* NULL: not given */
    bool has_data_file_raw, data_file_raw;
    void (*progress)(uint64_t done, uint64_t total);   /* or NULL */
} BlkAmend;

/* Changes what an image is; nothing is in flight.  All that can be refused is before anything is changed.
 * @force: also what loses the data. */
CTX_CONTROL bool blk_amend(BlkNode *n, const BlkAmend *o, bool force, Error **errp);

/* How large a qcow2 image by @o is in the file without any data, and with all of it allocated, in bytes; 0 if
 * the format has no room for it. */
typedef struct BlkMeasure { uint64_t metadata, full; } BlkMeasure;
CTX_ANY BlkMeasure blk_measure(const BlkCreate *o);

/* --- internal snapshots --- */

typedef struct BlkSnapshot {
    char *id, *name;           /* owned by the list */
    int64_t date_sec;          /* of the Epoch */
    uint32_t date_nsec;
    uint64_t vm_clock_ns;      /* of the guest's clock */
    uint64_t vm_state_size;    /* bytes; 0: only the disk */
    uint64_t disk_size;        /* bytes; 0 without has_disk_size */
    bool has_disk_size;
    uint64_t icount;           /* UINT64_MAX: none */
} BlkSnapshot;

/* The snapshots in the image of @n, BlkSnapshot by BlkSnapshot, in a new array.  This and the others below
 * block, and no request is in flight at @n meanwhile. */
CTX_CONTROL GArray *blk_snapshots(BlkNode *n, Error **errp);
/* The place in @list of the one with @id and @name, either of which may be NULL; -1: there is none. */
CTX_ANY int blk_snapshot_find(const GArray *list, const char *id, const char *name);
/* Adds a snapshot with the name, times and sizes of @s; the id and the disk's size are given to it.  Names
 * need not be unique. */
CTX_CONTROL bool blk_snapshot_create(BlkNode *n, const BlkSnapshot *s, Error **errp);
/* Deletes number @at of the list. */
CTX_CONTROL bool blk_snapshot_delete(BlkNode *n, unsigned at, Error **errp);
/* The contents of @n, its size too, are those of number @at of the list from now on. */
CTX_CONTROL bool blk_snapshot_apply(BlkNode *n, unsigned at, Error **errp);
/* The same for as long as @n, which is read-only, is open: the image is not changed. */
CTX_CONTROL bool blk_snapshot_show(BlkNode *n, unsigned at, Error **errp);

/* --- making and finding --- */

typedef enum BlkAio { BLK_AIO_THREADS, BLK_AIO_NATIVE, BLK_AIO_IO_URING } BlkAio;
typedef enum BlkLocking { BLK_LOCKING_AUTO, BLK_LOCKING_ON, BLK_LOCKING_OFF } BlkLocking;

/* Where an NBD export is, and how it is used. */
typedef struct BlkNbdOptions {
    const char *path;          /* of a Unix socket; NULL: @host and @port, or */
    const char *host, *port;
    const char *fd_name;       /* a connected descriptor, see fdset.h: fd_name_take() */
    const char *export_name;   /* NULL: the default one, "" */
    struct TlsCreds *tls;      /* for a client; NULL: in the clear */
    const char *tls_hostname;  /* whom the certificate must name; NULL: @host */
    const char *bitmap;        /* the context that status comes from, in the place of base:allocation */
    unsigned reconnect_delay;  /* seconds that requests wait for a lost server */
    unsigned open_timeout;     /* seconds that opening waits for one */
    unsigned connections;      /* at a server that allows several; 0 is 1 */
} BlkNbdOptions;

/* What -blockdev, -drive and blockdev-add say.  Zero is each option's default; strings are borrowed
 * during the call.  An option a driver does not know is refused when it is set. */
/* An option with a default that depends on others. */
typedef enum BlkOnOff { BLK_DEFAULT, BLK_OFF, BLK_ON } BlkOnOff;
static inline BlkOnOff blk_on_off(bool given, bool on)
{
    return !given ? BLK_DEFAULT : on ? BLK_ON : BLK_OFF;
}

/* Why an image has no more use for a cluster. */
typedef enum BlkFreed {
    BLK_FREED_REQUEST,         /* the guest discarded it; default: as discard_unmap says */
    BLK_FREED_SNAPSHOT,        /* a snapshot was deleted or applied; default on */
    BLK_FREED_OTHER,           /* default off */
    BLK_FREED_KINDS
} BlkFreed;

typedef struct BlkOptions BlkOptions;
struct BlkOptions {
    const char *driver;        /* "file", "host_device", "raw", "qcow2", "null-co", "null-aio" */
    const char *node_name;     /* NULL: one is made up, "#block" and a number */
    const char *drive_id;      /* the -drive that made it, or NULL */
    BlkWords words;            /* with a drive_id; copied */
    bool read_only;
    bool auto_read_only;       /* read-only when the file cannot be opened for writing */
    bool cache_direct;         /* bypass the host's page cache */
    bool cache_no_flush;       /* flushes are not passed on: data is lost with the host */
    BlkDetect detect_zeroes;   /* UNMAP is ON without discard_unmap */
    bool discard_unmap;        /* discard=unmap: give space back; else discards are ignored */
    BlkOnOff pass_discard[BLK_FREED_KINDS];    /* qcow2: does what was freed go to the host? */

    const char *filename;      /* file, host_device */
    BlkAio aio;
    BlkLocking locking;

    const BlkOptions *child;   /* formats, "file": a node for this one alone, closed with it, */
    const char *child_ref;     /* or the name of an existing node */
    const BlkOptions *backing; /* qcow2: what is below, in the place of what the image names, */
    const char *backing_ref;   /* or the name of an existing node, */
    bool backing_none;         /* or nothing; */
    BlkLocking backing_locking;        /* else: of the file that the image names */
    bool for_repair;           /* opened although it is marked dirty or corrupt */
    unsigned depth;            /* images between this one and the one that was asked for */
    const char *key_secret;    /* luks: id of the secret that opens it; qcow2: of an encrypted one, */
    const char *encrypt_format;        /* "luks" or "aes", or NULL: as the image is */
    bool no_data;              /* only looked at: nobody reads, so no key is needed */
    uint64_t offset;           /* raw: first byte of the child shown */
    bool has_size;
    uint64_t size;             /* raw: bytes shown; null-*: size, default 1 GiB */
    uint64_t latency_ns;       /* null-*: time a request takes */
    bool read_zeroes;          /* null-*: reads fill the buffer with zeroes */
    const char *throttle_group;        /* throttle: the group's name */
    const BlkOptions *other;   /* filters with two nodes below: blkverify's raw, blklogwrites' log, */
    const char *other_ref;     /* or the name of an existing node */
    const void *own;           /* one driver's options: qapi/filter.json's DRIVEROwn; NULL: defaults */
    bool for_job;              /* a driver that only jobs make */
    const BlkNbdOptions *nbd;  /* nbd; NULL: @filename says it, see nbd-uri.h */
};

/* Parse the spellings of aio= and locking=. */
CTX_ANY bool blk_parse_aio(const char *text, BlkAio *out, Error **errp);
CTX_ANY bool blk_parse_locking(const char *text, BlkLocking *out, Error **errp);

/* The driver that a file name alone asks for: "nbd" for nbd:... and its URIs, "host_device" for a device
 * that is there, else "file". */
CTX_ANY const char *blk_protocol_of(const char *filename);
/* Opens a node.  An inline child inherits read-only, auto-read-only, cache.* and discard from its
 * parent.  The node lives until blk_close(). */
CTX_CONTROL BlkNode *blk_open(const BlkOptions *o, Error **errp);
/* Opens a new qcow2 image, as @top says but for its driver and file, over the image that @base describes,
 * which is only read.  It is gone when the node is closed. */
CTX_CONTROL BlkNode *blk_open_temporary(const BlkOptions *base, const BlkOptions *top, Error **errp);
/* Closes @n and the children made for it.  Fails, naming the user, while it has one.  Waits for the
 * loops that used it. */
CTX_CONTROL bool blk_close(BlkNode *n, Error **errp);
/* Makes @n read-only, or writable with what is below it.  Read-only it has written out all that closing it
 * would: what fails there is told here.  Fails, naming the user, while somebody writes it. */
CTX_CONTROL bool blk_set_read_only(BlkNode *n, bool read_only, Error **errp);
/* The node called @name, or NULL. */
CTX_CONTROL BlkNode *blk_find(const char *name);
/* The node that -drive @id made, or NULL. */
CTX_CONTROL BlkNode *blk_find_drive(const char *id);
/* The node after @n in the order of opening; the first for NULL. */
CTX_CONTROL BlkNode *blk_next(const BlkNode *n);
/* Flushes every node that is written to; then done(arg), on control, perhaps at once.  Errors are told to
 * whoever flushes next. */
CTX_CONTROL void blk_flush_all(void (*done)(void *arg), void *arg);
/* The drivers' names, NULL-terminated. */
CTX_ANY const char *const *blk_driver_names(void);

/* Opens the libraries that images may need, before a sandbox forbids it; one that is missing is named
 * when an image needs it. */
CTX_CONTROL void blk_load_libraries(void);
/* From now on encrypted images of the old kind, qcow2's aes, are opened by nobody here: a guest's disks are
 * not kept by it. */
CTX_CONTROL void blk_refuse_aes(void);

/* Nothing of any node goes to @l any more; call before loop_free(), with no requests in flight on @l. */
CTX_CONTROL void blk_forget_loop(Loop *l);

#endif
