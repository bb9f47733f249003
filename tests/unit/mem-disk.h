/* mem-disk.h: files in memory for tests of the block layer: they log what is written to them, so that the
 * power can go at any moment of it, and fail when they are told to.
 *
 * 1. A cut leaves, of what was written to a file since its last sync, any part: all, or what a seed
 *    chooses, and of a write any of its sectors.
 * 2. The n-th request of chosen kinds to chosen files fails, and as many after it as were asked for. */
#ifndef TESTS_UNIT_MEM_DISK_H
#define TESTS_UNIT_MEM_DISK_H

#include "tests/unit/block-helper.h"
#include <inttypes.h>
#include <stdio.h>
#include "block/block-int.h"

#define MEM_FILES 6
#define MEM_MAX (64 * MiB)
#define MEM_SIZE BLK_OPS       /* in the place of a BlkOp: the file gets another size */

typedef struct MemEntry {
    unsigned file, op;
    uint64_t off, len;
    uint8_t *data;             /* BLK_WRITE */
    bool durable;
} MemEntry;

static struct {
    uint8_t *bytes[MEM_FILES], *start[MEM_FILES];
    uint64_t size[MEM_FILES], start_size[MEM_FILES], used[MEM_FILES];
    GArray *log;               /* MemEntry */
    bool logging;
    unsigned discards;
    unsigned fail_files, fail_ops, fail_at, fail_count;    /* sets of bits; fail_at 0: nothing fails */
    int fail_with;
    unsigned seen, failed;     /* requests that were chosen, and those that failed */
    bool park;                 /* the next write to the target waits for mem_unpark(); atomic */
    BlkReq *parked;            /* here; atomic */
    BlkLane *parked_at;
} mem;

static Lock mem_lock = LOCK_INIT(RANK_LEAF, "mem");

static const char *const mem_names[MEM_FILES] = { "base", "mid", "top", "target", "extra", "more" };

static inline unsigned mem_file(const char *name)
{
    unsigned i = 0;

    while (i < MEM_FILES && strcmp(mem_names[i], name) != 0) {
        i++;
    }
    return i;
}

/* The file that the image of @n is in. */
static inline unsigned mem_file_of(const BlkNode *n)
{
    while (n->child) {
        n = n->child;
    }
    return mem_file(n->filename);
}

static inline bool mem_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    n->size = ALIGN_UP(mem.size[mem_file(o->filename)], 512);
    n->limits.can_grow = true;
    return true;
}

static inline void mem_note_locked(unsigned file, unsigned op, uint64_t off, uint64_t len, bool durable)
{
    MemEntry e = { file, op, off, len, NULL, durable };

    if (mem.logging) {
        e.data = op == BLK_WRITE ? g_memdup2(mem.bytes[file] + off, len) : NULL;
        g_array_append_val(mem.log, e);
    }
}

static inline bool mem_fails_locked(unsigned file, unsigned op)
{
    if (!mem.fail_at || !(mem.fail_files >> file & 1) || !(mem.fail_ops >> op & 1)) {
        return false;
    }
    mem.seen++;
    bool fails = mem.seen >= mem.fail_at && mem.seen - mem.fail_at < mem.fail_count;
    mem.failed += fails;
    return fails;
}

static inline int mem_do_locked(unsigned file, BlkOp op, unsigned flags, uint64_t off,
                                const struct iovec *iov, unsigned niov, uint64_t len)
{
    if (mem_fails_locked(file, op)) {
        return mem.fail_with;
    }
    if (off > MEM_MAX || len > MEM_MAX - off) {
        return -ENOSPC;
    }
    if (op == BLK_READ) {
        blk_iov_write(iov, niov, 0, mem.bytes[file] + off, len);
        return 0;
    }
    if (op == BLK_WRITE) {
        blk_iov_read(iov, niov, 0, mem.bytes[file] + off, len);
    } else if (op != BLK_FLUSH) {
        memset(mem.bytes[file] + off, 0, len);
        mem.discards += op == BLK_DISCARD;
    }
    mem.size[file] = MAX(mem.size[file], off + len);
    mem.used[file] = MAX(mem.used[file], off + len);
    mem_note_locked(file, op, off, len, flags & BLK_FUA);
    return 0;
}

static inline int mem_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, const struct iovec *iov,
                               unsigned niov, uint64_t len)
{
    lock_take(&mem_lock);
    int ret = mem_do_locked(mem_file(n->filename), op, flags, off, iov, niov, len);
    lock_drop(&mem_lock);
    return ret;
}

/* On the loop of that write. */
static inline void mem_unpark(void *arg)
{
    BlkReq *r = __atomic_exchange_n(&mem.parked, NULL, __ATOMIC_ACQ_REL);

    blk_complete_later(r, mem_blocking(mem.parked_at->node, r->op, r->flags, r->pos, r->cur, r->ncur,
                                       r->left));
}

static inline void mem_submit(BlkLane *l, BlkReq *r)
{
    if (r->op == BLK_WRITE && strcmp(l->node->filename, "target") == 0 &&
        __atomic_exchange_n(&mem.park, false, __ATOMIC_ACQ_REL)) {
        mem.parked_at = l;
        __atomic_store_n(&mem.parked, r, __ATOMIC_RELEASE);
        return;
    }
    blk_complete_later(r, mem_blocking(l->node, r->op, r->flags, r->pos, r->cur, r->ncur, r->left));
}

static inline bool mem_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    unsigned file = mem_file(n->filename);

    lock_take(&mem_lock);
    if (size < mem.size[file]) {
        memset(mem.bytes[file] + size, 0, mem.size[file] - size);
    }
    mem.size[file] = size;
    mem.used[file] = MAX(mem.used[file], size);
    mem_note_locked(file, MEM_SIZE, size, 0, false);
    lock_drop(&mem_lock);
    blk_set_size(n, ALIGN_UP(size, 512));
    return true;
}

static const BlkDriver mem_driver = {
    .name = "mem", .options = BLK_OPT_FILENAME, .open = mem_open, .submit = mem_submit,
    .blocking = mem_blocking, .truncate = mem_truncate,
};

/* --- the log --- */

static inline unsigned mem_log_len(void)
{
    lock_take(&mem_lock);
    unsigned len = mem.log->len;
    lock_drop(&mem_lock);
    return len;
}

static inline void mem_log_clear(void)
{
    for (unsigned i = 0; i < mem.log->len; i++) {
        g_free(g_array_index(mem.log, MemEntry, i).data);
    }
    g_array_set_size(mem.log, 0);
}

/* From here on what is written is logged. */
static inline void mem_log_start(void)
{
    mem_log_clear();
    for (unsigned i = 0; i < MEM_FILES; i++) {
        g_free(mem.start[i]);
        mem.start[i] = g_memdup2(mem.bytes[i], mem.used[i] + 1);
        mem.start_size[i] = mem.size[i];
    }
    mem.discards = 0;
    mem.logging = true;
}

static inline void mem_apply(const MemEntry *e, GRand *rand)
{
    bool torn = rand && e->len > 512 && g_rand_int_range(rand, 0, 4) == 0;

    if (e->op == MEM_SIZE) {
        mem.size[e->file] = e->off;
        return;
    }
    for (uint64_t at = e->off, end = e->off + e->len, next; at < end; at = next) {
        next = torn ? MIN(ALIGN_DOWN(at, 512) + 512, end) : end;
        if (torn && g_rand_boolean(rand)) {
            continue;
        }
        if (e->data) {
            memcpy(mem.bytes[e->file] + at, e->data + (at - e->off), next - at);
        } else {
            memset(mem.bytes[e->file] + at, 0, next - at);
        }
    }
    mem.size[e->file] = MAX(mem.size[e->file], e->off + e->len);
}

/* The files as they are when the power goes after @cut entries; of those since a file's last sync only some
 * got there, as @rand has it (NULL: all). */
static inline void mem_cut(unsigned cut, GRand *rand)
{
    unsigned sync[MEM_FILES] = { 0 };

    mem.logging = false;
    for (unsigned i = 0; i < MEM_FILES; i++) {
        uint64_t was = MIN(mem.start_size[i], mem.used[i]);

        memcpy(mem.bytes[i], mem.start[i], was);
        memset(mem.bytes[i] + was, 0, mem.used[i] - was);
        mem.size[i] = mem.start_size[i];
    }
    for (unsigned i = 0; i < cut; i++) {
        const MemEntry *e = &g_array_index(mem.log, MemEntry, i);

        sync[e->file] = e->op == BLK_FLUSH ? i : sync[e->file];
    }
    for (unsigned i = 0; i < cut; i++) {
        const MemEntry *e = &g_array_index(mem.log, MemEntry, i);

        if (e->op == BLK_FLUSH) {
            continue;
        }
        if (i < sync[e->file] || e->durable || !rand) {
            mem_apply(e, NULL);
        } else if (g_rand_boolean(rand)) {
            mem_apply(e, rand);
        }
    }
}

/* --- failures --- */

/* The @at-th (from 1) request of @ops to @files fails with @error, and @count - 1 after it. */
static inline void mem_fail(unsigned files, unsigned ops, unsigned at, unsigned count, int error)
{
    lock_take(&mem_lock);
    mem.fail_files = files;
    mem.fail_ops = ops;
    mem.fail_count = count;
    mem.fail_with = error;
    mem.seen = mem.failed = 0;
    mem.fail_at = at;
    lock_drop(&mem_lock);
}

/* Nothing fails any more; how many did. */
static inline unsigned mem_fail_end(void)
{
    lock_take(&mem_lock);
    mem.fail_at = 0;
    unsigned failed = mem.failed;
    lock_drop(&mem_lock);
    return failed;
}

/* --- images in them --- */

/* Empties file @i. */
static inline void mem_wipe(unsigned i)
{
    memset(mem.bytes[i], 0, mem.used[i]);
    mem.size[i] = mem.used[i] = 0;
}

static inline void mem_begin(void)
{
    static bool known;

    if (!known) {
        blk_add_driver(&mem_driver);
        known = true;
    }
    mem.log = g_array_new(false, false, sizeof(MemEntry));
    for (unsigned i = 0; i < MEM_FILES; i++) {
        mem.bytes[i] = g_malloc0(MEM_MAX);
    }
}

static inline void mem_end(void)
{
    mem_log_clear();
    g_array_free(mem.log, true);
    for (unsigned i = 0; i < MEM_FILES; i++) {
        g_free(mem.bytes[i]);
        g_free(mem.start[i]);
    }
    memset(&mem, 0, sizeof(mem));
}

/* A new image in file @i, as @o says. */
static inline void mem_format(unsigned i, const BlkCreate *o)
{
    BlkOptions file = { .driver = "mem", .filename = mem_names[i] };
    Error *err = NULL;

    mem_wipe(i);
    BlkNode *n = open_ok(&file);
    if (strcmp(o->driver, "qcow2") != 0) {
        assert_true(blk_truncate(n, 4 * MiB, &err));
    }
    if (!blk_format(n, NULL, o, &err)) {
        fail_msg("%s", error_text(err));
    }
    close_ok(n);
}

/* Opens the image in file @i, with @backing behind it: a node's name, or NULL for nothing. */
static inline BlkNode *mem_image(unsigned i, const char *name, const char *backing, bool read_only)
{
    BlkOptions file = { .driver = "mem", .filename = mem_names[i] };

    return open_ok(&(BlkOptions){ .driver = "qcow2", .node_name = name, .child = &file,
                                  .read_only = read_only, .backing_ref = backing,
                                  .backing_none = !backing, .discard_unmap = true });
}

static inline void mem_complaint(const char *text, void *arg)
{
    if (!g_str_has_prefix(text, "Leaked")) {
        g_string_append_printf(arg, "%s\n", text);
    }
}

/* The image of @n has leaks at worst. */
static inline void mem_check(BlkNode *n, const char *where)
{
    g_autoptr(GString) text = g_string_new(NULL);
    BlkCheck found = { .say = mem_complaint, .arg = text };
    Error *err = NULL;

    if (!blk_check(n, 0, &found, &err)) {
        fail_msg("%s: %s", where, error_text(err));
    }
    if (found.corruptions) {
        fail_msg("%s: %s: %s", where, blk_filename(n), text->str);
    }
}

#endif
