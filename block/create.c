/* create.c: new images: files on the host, and what a format writes into them.
 *
 * 1. A file is locked before it is emptied, so an image in use is refused and stays as it is.
 * 2. blk_format() is plain blocking code on nodes that are open: for tools, and for jobs on the pool. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/luks.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

/* Sets the space of @file from @at to @size aside, or writes zeroes to it. */
static int preallocate(BlkNode *file, uint64_t at, uint64_t size, BlkPrealloc how)
{
    static const uint8_t zeroes[MiB] __attribute__((aligned(4096)));
    int ret = 0;

    if (how == BLK_PREALLOC_FALLOC) {
        return at < size ? blk_blocking(file, BLK_ZERO, 0, at, NULL, size - at) : 0;
    }
    for (; ret == 0 && how == BLK_PREALLOC_FULL && at < size; at += sizeof(zeroes)) {
        ret = blk_pwrite(file, at, zeroes, MIN(size - at, sizeof(zeroes)));
    }
    return ret;
}

static bool raw_format(BlkNode *file, const BlkCreate *o, Error **errp)
{
    if (o->backing_file) {
        return error_set(errp, "Backing file not supported for file format 'raw'");
    }
    if (o->prealloc == BLK_PREALLOC_METADATA) {
        return error_set(errp, "Unsupported preallocation mode 'metadata'");
    }
    uint64_t size = ALIGN_UP(o->size, 512);
    if (blk_size(file) < size) {
        return error_set(errp, "'%s' has only %" PRIu64 " bytes", blk_filename(file), blk_size(file));
    }
    int ret = preallocate(file, 0, size, o->prealloc);
    return ret == 0 || error_set_errno(errp, -ret, "Could not preallocate '%s'", blk_filename(file));
}

static bool luks_disk_format(BlkNode *file, const BlkCreate *o, Error **errp)
{
    uint64_t room;

    if (!blk_luks_room(&o->luks, &room, errp)) {
        return false;
    }
    if (blk_size(file) < room + ALIGN_UP(o->size, 512)) {
        return error_set(errp, "'%s' has only %" PRIu64 " bytes", blk_filename(file), blk_size(file));
    }
    int ret = o->prealloc == BLK_PREALLOC_METADATA ? 0
              : preallocate(file, room, room + ALIGN_UP(o->size, 512), o->prealloc);
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not preallocate '%s'", blk_filename(file));
    }
    return luks_format(file, 0, &o->luks, errp);
}

bool blk_format(BlkNode *file, BlkNode *data, const BlkCreate *o, Error **errp)
{
    if (o->size > INT64_MAX - 511) {
        return error_set(errp, "Image size %" PRIu64 " is too big", o->size);
    }
    if (!strcmp(o->driver, "raw")) {
        return raw_format(file, o, errp);
    }
    if (!strcmp(o->driver, "luks")) {
        return luks_disk_format(file, o, errp);
    }
    if (strcmp(o->driver, "qcow2") != 0) {
        return error_set(errp, "Format driver '%s' does not support image creation", o->driver);
    }
    if (!qcow2_format(file, data, o, errp)) {
        return false;
    }
    BlkMeasure m = blk_measure(o);
    int ret = data ? preallocate(data, 0, ALIGN_UP(o->size, 512), o->prealloc)
                   : preallocate(file, m.metadata, m.full, o->prealloc);
    return ret == 0 || error_set_errno(errp, -ret, "Could not preallocate '%s'",
                                       blk_filename(data ? data : file));
}

/* --- files --- */

/* A file that is open for an image to be written to it. */
typedef struct Target {
    const char *path;
    bool made;                 /* it did not exist */
    BlkNode *node;
    BlkUser use;
} Target;

static bool host_make(Target *t, bool nocow, bool *device, Error **errp)
{
    int flags = O_RDWR | O_CLOEXEC | O_NONBLOCK;
    int fd = open(t->path, flags);
    struct stat st;

    if (fd < 0 && errno == ENOENT) {
        fd = open(t->path, flags | O_CREAT | O_EXCL, 0644);
        t->made = fd >= 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        int err = errno;

        if (fd >= 0) {
            close(fd);
        }
        return error_set_errno(errp, err, "Could not create '%s'", t->path);
    }
    *device = S_ISBLK(st.st_mode);
    int attributes = 0;
    if (nocow && t->made && ioctl(fd, FS_IOC_GETFLAGS, &attributes) == 0) {
        attributes |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &attributes);       /* a file system that never copies need not know it */
    }
    close(fd);
    return true;
}

/* Makes or empties @t->path, @size bytes long then. */
static bool target_open(Target *t, uint64_t size, bool nocow, Error **errp)
{
    bool device = false;

    if (!host_make(t, nocow, &device, errp)) {
        return false;
    }
    BlkOptions o = { .driver = device ? "host_device" : "file", .filename = t->path };
    t->node = blk_open(&o, errp);
    if (!t->node || !blk_attach(t->node, &t->use, "create", BLK_PERM_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                BLK_PERM_RESIZE, errp)) {
        return false;
    }
    if (device) {
        return blk_size(t->node) >= size || error_set(errp, "'%s' has only %" PRIu64 " bytes", t->path,
                                                      blk_size(t->node));
    }
    return blk_truncate(t->node, 0, errp) && blk_truncate(t->node, size, errp);
}

static void target_close(Target *t, bool failed)
{
    blk_detach(&t->use);
    if (t->node) {
        blk_close(t->node, NULL);
    }
    if (failed && t->made) {
        unlink(t->path);
    }
}

/* @name as the image @of means it. */
static char *beside(const char *of, const char *name)
{
    g_autofree char *dir = g_path_get_dirname(of);

    return g_path_is_absolute(name) || !strchr(of, '/') ? g_strdup(name) : g_build_filename(dir, name, NULL);
}

bool blk_create(const BlkCreate *o, Error **errp)
{
    g_autofree char *data_path = o->data_file ? beside(o->filename, o->data_file) : NULL;
    Target file = { .path = o->filename }, data = { .path = data_path };
    bool raw = !strcmp(o->driver, "raw"), luks = !strcmp(o->driver, "luks");
    uint64_t room = 0;

    assert_control();
    if (luks && !blk_luks_room(&o->luks, &room, errp)) {
        return false;
    }
    if (o->size > INT64_MAX - 511 - room) {
        return error_set(errp, "Image size %" PRIu64 " is too big", o->size);
    }
    bool ok = (raw || luks || qcow2_create_ok(o, errp)) &&
              target_open(&file, raw || luks ? o->size + room : 0, o->nocow, errp) &&
              (!data_path || target_open(&data, o->size, o->nocow, errp)) &&
              blk_format(file.node, data.node, o, errp);
    if (data_path) {
        target_close(&data, !ok);
    }
    target_close(&file, !ok);
    return ok;
}
