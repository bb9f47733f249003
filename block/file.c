/* file.c: the protocols file and host_device: opening, what the host's storage can do, sizes.
 *
 * 1. The descriptor is opened once, with the rights the options give; auto-read-only decides here.
 * 2. Locks follow the users' rights, not the opening (file-lock.c); transfers are in file-io.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "block/engine.h"
#include "block/file-int.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/fdset.h"

#define PROBE_BYTES 4096

static bool is_host_device(const BlkNode *n)
{
    return n->drv == &blk_host_device;
}

static int host_open(const BlkNode *n, bool read_only)
{
    int flags = O_CLOEXEC | O_NONBLOCK | (read_only ? O_RDONLY : O_RDWR) |
                (n->direct ? O_DIRECT : 0);

    return FAULT("file-open") ? (errno = EIO, -1) : fdset_open(n->filename, flags, 0);
}

static bool open_fd(BlkNode *n, Error **errp)
{
    n->fd = host_open(n, n->read_only);
    if (n->fd < 0 && !n->read_only && n->auto_read_only &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        n->fd = host_open(n, true);
        n->read_only = n->fd >= 0;
    }
    if (n->fd >= 0) {
        return true;
    }
    int err = errno;
    error_set_errno(errp, err, "Could not open '%s'", n->filename);
    if (err == EINVAL && n->direct) {
        error_hint(errp, "The file system may not support cache.direct=on (O_DIRECT).");
    }
    return false;
}

/* True where O_DIRECT is asked for.  Not on tmpfs: there it is the same copy, and looking for pages to write
 * back and to drop after it. */
static bool really_direct(const BlkNode *n)
{
    return n->direct && !n->in_memory;
}

static bool is_in_memory(int fd)
{
    struct statfs sf;

    return fstatfs(fd, &sf) == 0 && sf.f_type == TMPFS_MAGIC;
}

static bool check_type(BlkNode *n, Error **errp)
{
    File *f = n->state;
    struct stat st;

    if (FAULT("file-stat") ? (errno = EIO, true) : fstat(n->fd, &st) < 0) {
        return error_set_errno(errp, errno, "Could not stat '%s'", n->filename);
    }
    f->is_device = S_ISBLK(st.st_mode);
    if (is_host_device(n) && !S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode)) {
        return error_set(errp, "'host_device' driver requires '%s' to be either a character or "
                         "block device", n->filename);
    }
    if (!is_host_device(n) && !S_ISREG(st.st_mode)) {
        return error_set(errp, "'file' driver requires '%s' to be a regular file", n->filename);
    }
    n->in_memory = is_in_memory(n->fd);
    /* O_NONBLOCK was for FIFOs and devices without a medium; io_uring would take it seriously. */
    return fcntl(n->fd, F_SETFL, really_direct(n) ? O_DIRECT : 0) == 0 ||
           error_set_errno(errp, errno, "Could not open '%s'", n->filename);
}

static bool read_size(BlkNode *n, uint64_t *out, Error **errp)
{
    const File *f = n->state;
    off_t end;

    if (f->is_device) {
        uint64_t bytes;

        if (ioctl(n->fd, BLKGETSIZE64, &bytes) < 0) {
            return error_set_errno(errp, errno, "Could not get the size of '%s'", n->filename);
        }
        end = (off_t)bytes;
    } else {
        end = lseek(n->fd, 0, SEEK_END);
    }
    if (end < 0) {
        return error_set_errno(errp, errno, "Could not get the size of '%s'", n->filename);
    }
    *out = ALIGN_UP((uint64_t)end, 512);
    return true;
}

/* --- what the host can do --- */

/* The smallest block O_DIRECT reads, found by trying, for kernels whose statx() does not tell. */
static uint32_t try_direct(int fd)
{
    void *buf = NULL;
    uint32_t found = PROBE_BYTES;

    if (posix_memalign(&buf, PROBE_BYTES, 2 * PROBE_BYTES)) {
        return PROBE_BYTES;
    }
    for (uint32_t align = 512; align < PROBE_BYTES; align *= 2) {
        if (pread(fd, (char *)buf + align, align, align) >= 0 || errno != EINVAL) {
            found = align;
            break;
        }
    }
    free(buf);
    return found;
}

static void direct_limits(BlkNode *n)
{
    File *f = n->state;

    f->align = f->mem_align = 1;
    if (!really_direct(n)) {
        return;
    }
#ifdef STATX_DIOALIGN
    struct statx sx;
    if (statx(n->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) == 0 && sx.stx_mask & STATX_DIOALIGN &&
        sx.stx_dio_offset_align && sx.stx_dio_offset_align <= MiB) {
        f->align = sx.stx_dio_offset_align;
        f->mem_align = MAX(sx.stx_dio_mem_align, 1);
        return;
    }
#endif
    f->align = f->mem_align = try_direct(n->fd);
}

static bool sysfs_number(dev_t dev, const char *what, uint64_t *out)
{
    g_autofree char *path = g_strdup_printf("/sys/dev/block/%u:%u/queue/%s", major(dev), minor(dev),
                                            what);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        return false;
    }
    *out = g_ascii_strtoull(text, NULL, 10);
    return true;
}

static void device_limits(BlkNode *n)
{
    struct stat st;
    int logical = 0;
    unsigned physical = 0;
    uint64_t v;

    if (ioctl(n->fd, BLKSSZGET, &logical) == 0 && logical >= 512) {
        n->limits.logical = n->limits.physical = (uint32_t)logical;
    }
    if (ioctl(n->fd, BLKPBSZGET, &physical) == 0 && physical >= n->limits.logical) {
        n->limits.physical = physical;
    }
    if (fstat(n->fd, &st) < 0) {
        return;
    }
    if (n->unmap && sysfs_number(st.st_rdev, "discard_granularity", &v)) {
        n->limits.discard_align = (uint32_t)v;
    }
    if (sysfs_number(st.st_rdev, "discard_max_bytes", &v)) {
        n->limits.max_discard = v;
    }
    if (sysfs_number(st.st_rdev, "rotational", &v)) {
        n->limits.rotational = v != 0;
    }
}

static void find_limits(BlkNode *n)
{
    File *f = n->state;
    struct stat st;

    direct_limits(n);
    n->limits.align = MAX(f->align, f->mem_align);
    n->limits.can_zero = true;
    n->limits.can_grow = !f->is_device;
    if (f->is_device) {
        device_limits(n);
    } else if (n->unmap && fstat(n->fd, &st) == 0) {
        n->limits.discard_align = (uint32_t)CLAMP(st.st_blksize, 512, 1 << 20);
    }
}

/* --- the driver --- */

static bool check_engine(BlkNode *n, Error **errp)
{
    const BlkEngine *e = blk_engine(n->aio);

    if (n->aio == BLK_AIO_NATIVE && !n->direct) {
        error_set(errp, "aio=native was specified, but it requires cache.direct=on, which was not "
                  "specified.");
        return false;
    }
    if (!e) {
        return error_set(errp, "aio=%s is not supported in this build",
                         n->aio == BLK_AIO_NATIVE ? "native" : "io_uring");
    }
    int ret = e->probe();
    return ret == 0 || error_set_errno(errp, -ret, "Unable to use aio=%s", e->name);
}

static void file_close(BlkNode *n)
{
    File *f = n->state;

    if (n->fd >= 0) {
        close(n->fd);
        n->fd = -1;
    }
    gate_end(&f->gate);
    lock_destroy(&f->data_lock);
}

static bool file_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    File *f = n->state;

    f->locking = o->locking;
    gate_init(&f->gate);
    lock_init(&f->data_lock, RANK_LEAF, "blk-file-data");
    if (!check_engine(n, errp) || !open_fd(n, errp) || !check_type(n, errp) ||
        !read_size(n, &n->size, errp)) {
        file_close(n);
        return false;
    }
    find_limits(n);
    return true;
}

/* The new descriptor takes the old one's number, so engines need not know. */
static bool file_set_read_only(BlkNode *n, bool read_only, Error **errp)
{
    int fd = host_open(n, read_only);

    if (fd < 0) {
        return error_set_errno(errp, errno, "Could not reopen '%s'", n->filename);
    }
    int ret = file_lock_copy(n, fd);
    if (ret == 0 && (fcntl(fd, F_SETFL, really_direct(n) ? O_DIRECT : 0) < 0 ||
                     dup3(fd, n->fd, O_CLOEXEC) < 0)) {
        ret = -errno;
    }
    close(fd);
    return ret == 0 || error_set_errno(errp, -ret, "Could not reopen '%s'", n->filename);
}

static bool file_truncate(BlkNode *n, uint64_t size, Error **errp)
{
    File *f = n->state;
    uint64_t now = 0;

    file_status_forget(f);
    if (!f->is_device) {
        if (FAULT("file-truncate") ? (errno = EIO, true) : ftruncate(n->fd, (off_t)size) < 0) {
            return error_set_errno(errp, errno, "Failed to resize '%s'", n->filename);
        }
        blk_set_size(n, size);
        return true;
    }
    /* The host resized the device; we can only follow. */
    if (!read_size(n, &now, errp)) {
        return false;
    }
    if (size > now) {
        return error_set(errp, "Cannot grow device '%s'", n->filename);
    }
    blk_set_size(n, now);
    return true;
}

static void file_follow_size(BlkNode *n)
{
    uint64_t now = 0;

    if (read_size(n, &now, NULL)) {            /* else it stays as it was known */
        blk_set_size(n, now);
    }
}

#define FILE_DRIVER(text) { \
    .name = text, \
    .size = sizeof(File), \
    .options = BLK_OPT_FILENAME | BLK_OPT_AIO | BLK_OPT_LOCKING, \
    .open = file_open, \
    .close = file_close, \
    .rights = file_rights, \
    .set_read_only = file_set_read_only, \
    .truncate = file_truncate, \
    .follow_size = file_follow_size, \
    .status = file_status, \
    .submit = file_submit, \
    .blocking = file_blocking, \
}

const BlkDriver blk_file = FILE_DRIVER("file");
const BlkDriver blk_host_device = FILE_DRIVER("host_device");

bool blk_discards(const BlkNode *n, BlkDiscards *out)
{
    if (n->drv != &blk_file && n->drv != &blk_host_device) {
        return false;
    }
    const BlkDiscards *d = &((const File *)n->state)->discards;
    *out = (BlkDiscards){ .ok = __atomic_load_n(&d->ok, __ATOMIC_RELAXED),
                          .failed = __atomic_load_n(&d->failed, __ATOMIC_RELAXED),
                          .bytes = __atomic_load_n(&d->bytes, __ATOMIC_RELAXED) };
    return true;
}

bool blk_has_room(const BlkNode *n, uint64_t bytes)
{
    struct stat st;

    while (n->child) {
        n = n->child;
    }
    if (n->drv != &blk_file || fstat(n->fd, &st) < 0) {
        return true;
    }
    off_t end = (off_t)ALIGN_UP((uint64_t)st.st_size, 4096);
    bool room = fallocate(n->fd, FALLOC_FL_KEEP_SIZE, end, (off_t)bytes) == 0 ||
                (errno != ENOSPC && errno != EDQUOT && errno != EFBIG);
    fallocate(n->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, end, (off_t)bytes);
    /* ext4 punches nothing behind the end, and cuts there whatever the size was. */
    return ftruncate(n->fd, st.st_size) == 0 && room;
}

uint64_t blk_file_end(const BlkNode *n)
{
    struct stat st;

    return n->drv == &blk_file && fstat(n->fd, &st) == 0 ? (uint64_t)st.st_size : UINT64_MAX;
}
