/* status.c: what a range of a node is made of, for those who copy, compare and report images.
 *
 * 1. It never reads data: formats answer from their metadata, files from what the host knows of holes.
 * 2. Layers are asked from the top down; the first that decides answers for the whole chain. */
#include <errno.h>
#include <unistd.h>
#include "block/block-int.h"
#include "util/bytes.h"

/* What @n itself says of the range. */
static int ask(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    if (n->drv->status) {
        return n->drv->status(n, off, len, s);
    }
    *s = (BlkStatus){ .flags = BLK_STATUS_HERE | BLK_STATUS_DATA, .len = len };
    if (n->drv->filter) {
        *s = (BlkStatus){ .len = len, .next = n->child, .through = true, .place = off };
    }
    return 0;
}

/* Allocated in @s->file, which may know that it reads as zeroes. */
static int refine(BlkStatus *s)
{
    BlkStatus below;
    int ret = ask(s->file, s->place, s->len, &below);

    if (ret == 0 && below.len) {
        s->len = MIN(s->len, below.len);
        s->flags |= below.flags & BLK_STATUS_ZERO;
    }
    return ret;
}

/* Where [@off, @off + @len) of @n is plain data of a file; false: it is something else, or in pieces. */
static BlkNode *plain(BlkNode *n, uint64_t off, uint64_t len, uint64_t *place)
{
    BlkStatus s;

    while (n && n->fd < 0) {
        int ret = n->drv->status ? n->drv->status(n, off, len, &s) : -ENOTSUP;

        if (ret < 0 || s.len < len || !(s.through || s.flags & BLK_STATUS_PLACE)) {
            return NULL;
        }
        n = s.through ? s.next : s.file;
        off = s.place;
    }
    *place = off;
    return n;
}

int blk_copy_range(BlkNode *from, uint64_t off, BlkNode *to, uint64_t at, uint64_t len)
{
    uint64_t place_in, place_out;
    BlkNode *in = plain(from, off, len, &place_in);
    BlkNode *out = to->drv == &blk_raw ? plain(to, at, len, &place_out) : NULL;

    if (!in || !out || to->read_only || out->read_only) {
        return -ENOTSUP;
    }
    off_t src = (off_t)place_in, dst = (off_t)place_out;
    while (len) {
        ssize_t got = copy_file_range(in->fd, &src, out->fd, &dst, len, 0);

        if (got <= 0) {
            bool cannot = got == 0 || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP ||
                          errno == ENOSYS;

            return cannot ? -ENOTSUP : -errno;
        }
        len -= (uint64_t)got;
    }
    return 0;
}

int blk_status(BlkNode *n, uint64_t off, uint64_t len, const BlkNode *base, BlkStatus *s)
{
    unsigned depth = 0;
    bool through = false;

    if (!len || !fits(off, len, blk_size(n))) {
        return -EINVAL;
    }
    for (;; depth += !through) {
        int ret = ask(n, off, len, s);
        BlkNode *next = s->next;

        through = s->through;
        if (ret < 0) {
            return ret;
        }
        s->depth = depth;
        len = s->len;
        if (s->flags & BLK_STATUS_HERE) {
            return s->file && s->file != n && s->flags & BLK_STATUS_DATA &&
                   !(s->flags & BLK_STATUS_COMPRESSED) ? refine(s) : 0;
        }
        if (!next || next == base) {
            s->flags = next ? 0 : BLK_STATUS_ZERO;
            return 0;
        }
        if (through) {
            off = s->place;
        }
        n = next;
        if (off >= blk_size(n)) {
            /* The layer is short: it is what makes the rest zeroes. */
            s->depth = depth + !through;
            s->flags = BLK_STATUS_ZERO | BLK_STATUS_HERE;
            return 0;
        }
        len = MIN(len, blk_size(n) - off);
    }
}
