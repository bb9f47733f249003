/* file-lock.c: image locks, so that no two processes write one disk.
 *
 * 1. The locks are open-file-description locks on single bytes, always shared ones: byte 100 + i
 *    says "I use right i", byte 200 + i says "I do not share right i".  A conflict is found by
 *    looking for the other kind after taking one's own.  The bytes are those the common tools use,
 *    so rhea and they keep one another out.
 * 2. New locks are taken and checked before old ones are given up; a refusal leaves the old
 *    state. */
#include <errno.h>
#include <fcntl.h>
#include "block/file-int.h"
#include "util/bytes.h"
#include "util/fault.h"

#define BYTE_USES 100
#define BYTE_KEEPS 200

static const struct { unsigned right, byte; const char *name; } rights[] = {
    { BLK_PERM_READ, 0, "read" },
    { BLK_PERM_WRITE, 1, "write" },
    { BLK_PERM_RESIZE, 3, "resize" },
};

/* In File.locked bit i stands for "uses" and bit 8 + i for "keeps" of rights[i]. */
static unsigned wanted(unsigned need, unsigned share)
{
    unsigned mask = 0;

    for (unsigned i = 0; i < ARRAY_LEN(rights); i++) {
        if (need & rights[i].right) {
            mask |= 1u << i;
        }
        if (!(share & rights[i].right)) {
            mask |= 0x100u << i;
        }
    }
    return mask;
}

static off_t byte_of(unsigned bit)
{
    return bit < 8 ? BYTE_USES + rights[bit].byte : BYTE_KEEPS + rights[bit - 8].byte;
}

static int set_lock(int fd, off_t byte, short type)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    if (FAULT("file-lock")) {
        return type == F_UNLCK ? 0 : -EIO;
    }
    return fcntl(fd, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

static void drop(int fd, unsigned mask)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        if (mask & 1u << bit) {
            set_lock(fd, byte_of(bit), F_UNLCK);
        }
    }
}

/* Takes the locks of @mask; on failure none of them is held. */
static int take(int fd, unsigned mask)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        int ret = mask & 1u << bit ? set_lock(fd, byte_of(bit), F_RDLCK) : 0;

        if (ret < 0) {
            drop(fd, mask & ((1u << bit) - 1));
            return ret;
        }
    }
    return 0;
}

/* The bit of @mask whose opposite somebody else holds, or -1. */
static int find_conflict(int fd, unsigned mask)
{
    for (unsigned bit = 0; bit < 16; bit++) {
        if (mask & 1u << bit) {
            struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1,
                                .l_start = byte_of(bit < 8 ? bit + 8 : bit - 8) };

            if (fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK) {
                return (int)bit;
            }
        }
    }
    return -1;
}

static bool unsupported(int ret)
{
    return ret == -EINVAL || ret == -ENOLCK || ret == -EOPNOTSUPP || ret == -ENOSYS;
}

int file_lock_copy(BlkNode *n, int fd)
{
    const File *f = n->state;

    return take(fd, f->locked);
}

bool file_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    File *f = n->state;
    unsigned want = need ? wanted(need, share) : 0;

    if (f->locking == BLK_LOCKING_OFF) {
        return true;
    }
    unsigned fresh = want & ~f->locked;
    int ret = take(n->fd, fresh);
    if (unsupported(ret) && f->locking == BLK_LOCKING_AUTO) {
        f->locking = BLK_LOCKING_OFF;
        return true;
    }
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not lock '%s'", n->filename);
    }
    int bit = find_conflict(n->fd, fresh);
    if (bit >= 0) {
        drop(n->fd, fresh);
        if (bit < 8) {
            error_set(errp, "Could not get \"%s\" lock on '%s': another process uses the file and "
                      "does not share it", rights[bit].name, n->filename);
        } else {
            error_set(errp, "Could not get sole \"%s\" lock on '%s': another process uses the file",
                      rights[bit - 8].name, n->filename);
        }
        return error_hint(errp, "Is another virtual machine using the image?");
    }
    drop(n->fd, f->locked & ~want);
    f->locked = want;
    return true;
}
