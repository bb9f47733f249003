/* ram.c: blocks of guest RAM and where their memory comes from.
 *
 * 1. The list of blocks has one writer, control; readers are inside an epoch section.
 * 2. A block that was freed leaves the list at once and lives on, on the list of the dying, until a
 *    grace period has passed and its last pin is gone: pins are taken inside epoch sections only,
 *    so
 *    after the grace period no new one comes.
 * 3. @pins has DYING added by the grace period; whoever brings it to exactly DYING frees the
 *    block. */
#include "core/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "util/bytes.h"
#include "util/fault.h"
#include "util/fdset.h"
#include "util/lock.h"
#include "util/thread.h"

#define DYING 0x80000000u
#define PAGE 4096u
#define HUGE_PAGE (2 * MiB)
#define HUGETLBFS_FS 0x958458f6
#define MAX_NODES 1024
#define MAX_PREALLOC_THREADS 64

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static RamBlock *blocks;               /* written by control, read in epoch sections */
static Lock dying_lock = LOCK_INIT(RANK_LEAF, "dying RAM");
static RamBlock *dying;                /* guarded by dying_lock */
static unsigned logging_blocks;        /* atomic */

/* --- where the memory comes from --- */

static bool lacks(Error **errp, int err, const char *id, uint64_t size)
{
    uint64_t free_bytes = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    error_set_errno(errp, err, "cannot allocate %" PRIu64 " MiB of memory for '%s'",
                    (uint64_t)(size / MiB), id);
    if (err == ENOMEM || err == ENOSPC) {
        error_hint(errp,
                   "the host has %" PRIu64 " MiB free; give the guest less (-m), or free some "
                   "(for huge pages: raise /proc/sys/vm/nr_hugepages)",
                   (uint64_t)(free_bytes / MiB));
    }
    return false;
}

/* A folder: an unnamed file in it.  Otherwise the file, made when it does not exist. */
static int open_path(const RamConfig *c, Error **errp)
{
    struct stat st;
    int fd;

    if (stat(c->path, &st) == 0 && S_ISDIR(st.st_mode)) {
        g_autofree char *name = g_strdup_printf("%s/rhea-ram.XXXXXX", c->path);

        fd = FAULT("ram-open") ? (errno = EIO, -1) : mkostemp(name, O_CLOEXEC);
        if (fd >= 0) {
            unlink(name);
        }
    } else {
        fd = FAULT("ram-open") ? (errno = EIO, -1)
             : fdset_open(c->path, c->readonly ? O_RDONLY : O_RDWR | O_CREAT, 0644);
    }
    if (fd < 0) {
        error_set_errno(errp, errno, "cannot open memory file '%s'", c->path);
    }
    return fd;
}

static bool size_file(RamBlock *b, const RamConfig *c, Error **errp)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0) {
        return error_set_errno(errp, errno, "cannot use memory file '%s'",
                               c->path ? c->path : b->id);
    }
    if (st.st_size > 0 && (uint64_t)st.st_size < b->size) {
        return error_set(errp, "memory file '%s' has %" PRIu64 " bytes, and %" PRIu64 " are wanted",
                         c->path, (uint64_t)st.st_size, b->size);
    }
    if (st.st_size == 0 &&
        (FAULT("ram-size") ? (errno = ENOSPC, -1) : ftruncate(b->fd, b->size)) < 0) {
        return lacks(errp, errno, b->id, b->size);
    }
    return true;
}

static bool open_memfd(RamBlock *b, const RamConfig *c, Error **errp)
{
    unsigned flags = MFD_CLOEXEC | (c->seal ? MFD_ALLOW_SEALING : 0);

    if (c->hugetlb) {
        flags |= MFD_HUGETLB;
        if (c->hugetlb_size) {
            if (c->hugetlb_size & (c->hugetlb_size - 1)) {
                return error_set(errp, "huge page size %" PRIu64 " is no power of two",
                                 c->hugetlb_size);
            }
            flags |= (unsigned)__builtin_ctzll(c->hugetlb_size) << MFD_HUGE_SHIFT;
        }
    }
    b->fd = FAULT("ram-open") ? (errno = ENOSYS, -1) : memfd_create(b->id, flags);
    if (b->fd < 0) {
        return error_set_errno(errp, errno, "cannot make a memory file for '%s'%s", b->id,
                               c->hugetlb ? " of huge pages" : "");
    }
    return true;
}

static bool open_source(RamBlock *b, const RamConfig *c, Error **errp)
{
    struct statfs fs;

    if (c->source == RAM_ANON) {
        return true;
    }
    if (c->source == RAM_MEMFD) {
        if (!open_memfd(b, c, errp)) {
            return false;
        }
    } else {
        b->fd = open_path(c, errp);
        if (b->fd < 0) {
            return false;
        }
    }
    if (fstatfs(b->fd, &fs) == 0 && fs.f_type == HUGETLBFS_FS) {
        b->page_size = fs.f_bsize;
        b->size = ALIGN_UP(b->size, b->page_size);
    }
    if (!size_file(b, c, errp)) {
        return false;
    }
    if (c->source == RAM_MEMFD && c->seal &&
        fcntl(b->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        return error_set_errno(errp, errno, "cannot seal the memory file for '%s'", b->id);
    }
    return true;
}

/* Maps the block at a multiple of @align: reserves more address space and trims it. */
static bool map_block(RamBlock *b, const RamConfig *c, uint64_t align, Error **errp)
{
    int prot = PROT_READ | (b->readonly ? 0 : PROT_WRITE);
    int flags = (b->share ? MAP_SHARED : MAP_PRIVATE) | MAP_FIXED |
                (b->fd < 0 ? MAP_ANONYMOUS : 0) | (c->reserve ? 0 : MAP_NORESERVE);
    uint64_t room = b->size + align;

    if (room < b->size || FAULT("ram-map")) {
        return lacks(errp, ENOMEM, b->id, b->size);
    }
    uint8_t *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return lacks(errp, errno, b->id, b->size);
    }
    uint8_t *host = (uint8_t *)ALIGN_UP((uintptr_t)area, align);
    if (mmap(host, b->size, prot, flags, b->fd, 0) == MAP_FAILED) {
        int err = errno;

        munmap(area, room);
        return lacks(errp, err, b->id, b->size);
    }
    if (host > area) {
        munmap(area, host - area);
    }
    if (area + room > host + b->size) {
        munmap(host + b->size, area + room - (host + b->size));
    }
    b->host = host;
    return true;
}

/* --- policy and preallocation --- */

static bool set_policy(RamBlock *b, const RamConfig *c, Error **errp)
{
    static const int modes[] = { [RAM_POLICY_DEFAULT] = MPOL_DEFAULT,
                                 [RAM_POLICY_PREFERRED] = MPOL_PREFERRED,
                                 [RAM_POLICY_BIND] = MPOL_BIND,
                                 [RAM_POLICY_INTERLEAVE] = MPOL_INTERLEAVE };
    unsigned long mask[MAX_NODES / 64] = { 0 };

    if (c->policy == RAM_POLICY_DEFAULT) {
        return !c->host_node_count ||
               error_set(errp, "host-nodes of '%s' needs a policy other than default", b->id);
    }
    if (!c->host_node_count) {
        return error_set(errp, "the memory policy of '%s' needs host-nodes", b->id);
    }
    for (unsigned i = 0; i < c->host_node_count; i++) {
        if (c->host_nodes[i] >= MAX_NODES) {
            return error_set(errp, "host node %u of '%s' does not exist", c->host_nodes[i], b->id);
        }
        mask[c->host_nodes[i] / 64] |= 1ul << c->host_nodes[i] % 64;
    }
    if (FAULT("ram-mbind") ||
        syscall(SYS_mbind, b->host, b->size, modes[c->policy], mask, (unsigned long)MAX_NODES + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE)) {
        return error_set_errno(errp, errno, "cannot bind '%s' to its host-nodes", b->id);
    }
    return true;
}

typedef struct Share {
    pthread_t thread;
    uint8_t *host;
    size_t len, page_size;
    int err;
} Share;

/* Older kernels than 5.14: touch each page.  The file's blocks were reserved before, so this does
 * not
 * end in SIGBUS. */
static void touch(const Share *s)
{
    for (size_t at = 0; at < s->len; at += s->page_size) {
        __atomic_fetch_add(s->host + at, 0, __ATOMIC_RELAXED);
    }
}

static void populate(void *arg)
{
    Share *s = arg;

    if (s->len && madvise(s->host, s->len, MADV_POPULATE_WRITE) < 0) {
        s->err = errno;
        if (s->err == EINVAL) {
            s->err = 0;
            touch(s);
        } else if (s->err == EFAULT || s->err == EHWPOISON) {
            s->err = ENOMEM;
        }
    }
}

static bool prealloc(RamBlock *b, unsigned threads, Error **errp)
{
    Share shares[MAX_PREALLOC_THREADS] = { 0 };
    uint64_t pages = b->size / b->page_size;
    unsigned n = MIN(MIN(MAX(threads, 1), MAX_PREALLOC_THREADS), MAX(pages, 1));
    uint64_t each = (pages + n - 1) / n * b->page_size;
    int err = FAULT("ram-prealloc") ? ENOMEM : 0;

    /* For touch() only: fallocate() does not know the mapping's NUMA policy, and the pages of a private
     * mapping are none of the file's. */
    if (!err && b->fd >= 0 && b->share && madvise(b->host, 0, MADV_POPULATE_WRITE) < 0) {
        err = fallocate(b->fd, 0, 0, b->size) < 0 && errno != EOPNOTSUPP ? errno : 0;
    }
    if (err) {
        return lacks(errp, err, b->id, b->size);
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t from = MIN(i * each, b->size);

        shares[i] = (Share){ .host = b->host + from, .len = MIN(each, b->size - from),
                             .page_size = b->page_size };
        if (i == 0 || !thread_start(&shares[i].thread, THREAD_POOL, "prealloc", true, populate,
                                    &shares[i], NULL)) {
            shares[i].thread = 0;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (shares[i].thread) {
            thread_join(shares[i].thread);
        } else {
            populate(&shares[i]);
        }
        err = err ? err : shares[i].err;
    }
    return !err || lacks(errp, err, b->id, b->size);
}

bool ram_populate(RamBlock *b, uint8_t *host, uint64_t n)
{
    Share s = { .host = host, .len = n, .page_size = b->page_size };

    s.err = FAULT("ram-prealloc") ? ENOMEM : 0;
    if (s.err == 0) {
        populate(&s);
    }
    return s.err == 0;
}

static void advise(const RamBlock *b, const RamConfig *c)
{
    if (c->merge) {
        madvise(b->host, b->size, MADV_MERGEABLE);
    }
    if (!c->dump) {
        madvise(b->host, b->size, MADV_DONTDUMP);
    }
    if (b->fd < 0 && b->size >= HUGE_PAGE) {
        madvise(b->host, b->size, MADV_HUGEPAGE);
    }
    madvise(b->host, b->size, MADV_DONTFORK);
}

bool ram_discard(RamBlock *b, uint8_t *host, uint64_t n)
{
    /* Part of a huge page cannot go; of a shared file it is the file that has to shrink. */
    if (b == NULL || b->readonly || (uintptr_t)host % b->page_size || n % b->page_size) {
        return false;
    }
    ram_wrote(b, (uint64_t)(host - b->host), n);
    return madvise(host, n, b->fd >= 0 && b->share ? MADV_REMOVE : MADV_DONTNEED) == 0;
}

/* --- life --- */

static void discard(RamBlock *b)
{
    if (b->discard_data && b->share && b->host) {
        madvise(b->host, b->size, MADV_REMOVE);
    }
}

static void destroy(RamBlock *b)
{
    discard(b);
    if (b->host) {
        munmap(b->host, b->size);
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    g_free(b->dirty);
    g_free(b->id);
    g_free(b);
}

static bool fill_block(RamBlock *b, const RamConfig *c, Error **errp)
{
    uint64_t align = c->align;

    if (!c->size || c->size > UINT64_MAX / 4) {
        return error_set(errp, "memory block '%s' cannot have %" PRIu64 " bytes", b->id, c->size);
    }
    if (!open_source(b, c, errp)) {
        return false;
    }
    if (!align) {
        align = b->size >= HUGE_PAGE ? HUGE_PAGE : PAGE;
    }
    align = MAX(align, b->page_size);
    if (align & (align - 1)) {
        return error_set(errp, "alignment %" PRIu64 " of '%s' is no power of two", align, b->id);
    }
    if (!map_block(b, c, align, errp)) {
        return false;
    }
    advise(b, c);
    return set_policy(b, c, errp) && (!c->prealloc || prealloc(b, c->prealloc_threads, errp));
}

RamBlock *ram_new(const char *id, const RamConfig *c, Error **errp)
{
    assert_control();
    if (ram_find(id)) {
        error_set(errp, "memory block '%s' exists already", id);
        return NULL;
    }
    RamBlock *b = g_new0(RamBlock, 1);

    b->id = g_strdup(id);
    b->fd = -1;
    b->page_size = PAGE;
    b->size = ALIGN_UP(c->size, (uint64_t)PAGE);
    b->readonly = c->readonly;
    b->share = c->share;
    b->discard_data = c->discard_data;
    if (!fill_block(b, c, errp)) {
        destroy(b);
        return NULL;
    }
    b->next = blocks;
    epoch_store(blocks, b);
    return b;
}

RamBlock *ram_new_anon(const char *id, uint64_t size, Error **errp)
{
    RamConfig c = { .source = RAM_ANON, .size = size, .reserve = true, .merge = true, .dump = true };

    return ram_new(id, &c, errp);
}

/* The last one out: nobody can find the block any more. */
static void bury(RamBlock *b)
{
    lock_take(&dying_lock);
    RamBlock **p = &dying;

    while (*p != b) {
        p = &(*p)->dying_next;
    }
    *p = b->dying_next;
    lock_drop(&dying_lock);
    destroy(b);
}

static void after_grace(EpochItem *item)
{
    RamBlock *b = container_of(item, RamBlock, epoch);

    if (__atomic_add_fetch(&b->pins, DYING, __ATOMIC_ACQ_REL) == DYING) {
        bury(b);
    }
}

void ram_free(RamBlock *b)
{
    assert_control();
    if (!b) {
        return;
    }
    if (b->logging) {
        ram_log(b, false);
    }
    lock_take(&dying_lock);
    b->dying_next = dying;
    dying = b;
    lock_drop(&dying_lock);

    RamBlock **p = &blocks;

    while (*p != b) {
        p = &(*p)->next;
    }
    epoch_store(*p, b->next);
    epoch_defer(&b->epoch, after_grace);
}

RamBlock *ram_find(const char *id)
{
    assert_control();
    for (RamBlock *b = blocks; b; b = b->next) {
        if (strcmp(b->id, id) == 0) {
            return b;
        }
    }
    return NULL;
}

void ram_exit(void)
{
    assert_control();
    for (RamBlock *b = blocks; b; b = b->next) {
        discard(b);
    }
}

RamBlock *ram_first(void)
{
    return epoch_load(blocks);
}

static bool holds(const RamBlock *b, const uint8_t *p)
{
    return p >= b->host && (uint64_t)(p - b->host) < b->size;
}

RamBlock *ram_by_host(const void *p)
{
    RamBlock *b;

    for (b = epoch_load(blocks); b; b = epoch_load(b->next)) {
        if (holds(b, p)) {
            return b;
        }
    }
    lock_take(&dying_lock);
    for (b = dying; b && !holds(b, p); b = b->dying_next) {
    }
    lock_drop(&dying_lock);
    return b;
}

void ram_pin(RamBlock *b)
{
    __atomic_add_fetch(&b->pins, 1, __ATOMIC_RELAXED);
}

void ram_unpin(RamBlock *b)
{
    if (__atomic_sub_fetch(&b->pins, 1, __ATOMIC_ACQ_REL) == DYING) {
        bury(b);
    }
}

/* --- dirty recording --- */

void ram_log(RamBlock *b, bool on)
{
    uint64_t pages = b->size / PAGE;

    assert_control();
    if (on == b->logging) {
        return;
    }
    if (on && !b->dirty) {
        __atomic_store_n(&b->dirty, g_new0(unsigned long, (pages + 63) / 64), __ATOMIC_RELEASE);
    } else if (on) {
        for (uint64_t i = 0; i < (pages + 63) / 64; i++) {
            __atomic_store_n(&b->dirty[i], 0, __ATOMIC_RELAXED);
        }
    }
    __atomic_add_fetch(&logging_blocks, on ? 1 : -1, __ATOMIC_RELAXED);
    __atomic_store_n(&b->logging, on, __ATOMIC_RELEASE);
}

bool ram_any_logging(void)
{
    return __atomic_load_n(&logging_blocks, __ATOMIC_RELAXED) != 0;
}

void ram_wrote(RamBlock *b, uint64_t off, uint64_t len)
{
    /* Pairs with ram_log(): logging seen implies dirty seen. */
    if (!len || !__atomic_load_n(&b->logging, __ATOMIC_ACQUIRE) || !fits(off, len, b->size)) {
        return;
    }
    unsigned long *dirty = __atomic_load_n(&b->dirty, __ATOMIC_ACQUIRE);

    for (uint64_t page = off / PAGE; page <= (off + len - 1) / PAGE; page++) {
        __atomic_fetch_or(&dirty[page / 64], 1ul << page % 64, __ATOMIC_RELAXED);
    }
}
