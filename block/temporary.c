/* temporary.c: images whose changes nobody keeps: -snapshot, snapshot=on, rhea-nbd --snapshot.
 *
 * 1. The overlay's file has no name once it is open, so it goes with the process, however that ends. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <unistd.h>
#include "block/block-int.h"

/* A new empty file where temporary files that may grow large are kept; NULL and @errp. */
static char *make_file(Error **errp)
{
    const char *folder = g_getenv("TMPDIR");
    char *path = g_build_filename(folder && *folder ? folder : "/var/tmp", "rhea.XXXXXX", NULL);
    int fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        error_set_errno(errp, errno, "Could not open temporary file '%s'", path);
        g_free(path);
        return NULL;
    }
    close(fd);
    return path;
}

static BlkNode *open_over(BlkNode *base, const BlkOptions *top, const char *path, Error **errp)
{
    BlkCreate make = { .driver = "qcow2", .filename = path, .size = blk_size(base) };
    BlkOptions file = { .driver = "file", .filename = path };
    BlkOptions o = *top;

    o.driver = "qcow2";
    o.child = &file;
    o.backing_ref = base->name;
    o.cache_no_flush = true;       /* nothing is to outlive us */
    o.read_only = false;
    return blk_create(&make, errp) ? blk_open(&o, errp) : NULL;
}

BlkNode *blk_open_temporary(const BlkOptions *base, const BlkOptions *top, Error **errp)
{
    BlkOptions below = *base;

    assert_control();
    below.read_only = true;
    BlkNode *b = blk_open_inner(&below, errp);
    g_autofree char *path = b ? make_file(errp) : NULL;
    BlkNode *n = path ? open_over(b, top, path, errp) : NULL;
    if (path) {
        unlink(path);
    }
    if (b && !n) {
        blk_close_unused(b);
    }
    return n;
}
