/* file-status.c: where a file has holes.
 *
 * 1. A hole is asked for anew each time.  Data that was found is remembered: some hosts (tmpfs) look at every
 *    page to find its end, and who copies asks again for each piece.  Data that became a hole meanwhile still
 *    reads right. */
#include <errno.h>
#include <unistd.h>
#include "block/file-int.h"
#include "util/bytes.h"

void file_status_forget(File *f)
{
    lock_take(&f->data_lock);
    f->data_from = f->data_to = 0;
    lock_drop(&f->data_lock);
}

/* The end of the data around @off as far as it is known; 0: it is not. */
static uint64_t known_data(File *f, uint64_t off)
{
    lock_take(&f->data_lock);
    uint64_t end = off >= f->data_from && off < f->data_to ? f->data_to : 0;
    lock_drop(&f->data_lock);
    return end;
}

/* The end of the data at @off, or 0: it is a hole, up to *@hole_end. */
static uint64_t find_data(BlkNode *n, uint64_t off, uint64_t len, uint64_t *hole_end)
{
    File *f = n->state;
    off_t data = lseek(n->fd, (off_t)off, SEEK_DATA);

    *hole_end = off + len;             /* unless there is data before */
    if (data < 0) {
        return errno == ENXIO ? 0 : off + len;     /* else the host does not tell: it may be data */
    }
    if ((uint64_t)data > off) {
        *hole_end = (uint64_t)data;
        return 0;
    }
    off_t hole = lseek(n->fd, (off_t)off, SEEK_HOLE);
    if (hole <= (off_t)off) {
        return off + len;
    }
    lock_take(&f->data_lock);
    f->data_from = off;
    f->data_to = (uint64_t)hole;
    lock_drop(&f->data_lock);
    return (uint64_t)hole;
}

int file_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    File *f = n->state;
    uint64_t hole_end, end;

    *s = (BlkStatus){ .flags = BLK_STATUS_HERE | BLK_STATUS_PLACE | BLK_STATUS_DATA, .len = len, .file = n,
                      .place = off };
    if (f->is_device) {
        return 0;
    }
    end = known_data(f, off);
    end = end ? end : find_data(n, off, len, &hole_end);
    if (!end) {
        s->flags = BLK_STATUS_HERE | BLK_STATUS_PLACE | BLK_STATUS_ZERO;
        end = hole_end;
    } else {
        end = ALIGN_UP(end, 512);      /* the last sector of a file that ends within it is one piece */
    }
    s->len = MIN(len, end - off);
    return 0;
}
