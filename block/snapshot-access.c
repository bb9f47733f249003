/* snapshot-access.c: nodes that show the past that a copy-before-write filter keeps: one that people make
 * over such a filter, and the reader that a backup puts below its target if that gets what it does not hold
 * from the source.
 *
 *   device --> copy-before-write --> source        target --> reader --> copy-before-write
 *
 * 1. They are read; the only change is a discard, which says what is not wanted any more.
 * 2. A reader shows the past where its filter keeps it and what is there now elsewhere; without a filter,
 *    before the backup and after it, nothing. */
#include <errno.h>
#include "block/filter.h"
#include "block/job-int.h"
#include "util/bytes.h"

typedef struct SnapshotAccess {
    BlkNode *filter;           /* a reader's */
} SnapshotAccess;

static bool is_reader(const BlkNode *n)
{
    return n->drv == &blk_snapshot_reader;
}

/* The filter that keeps what @n shows, or NULL. */
static BlkNode *filter_of(const BlkNode *n)
{
    return is_reader(n) ? ((SnapshotAccess *)n->state)->filter
           : n->child->drv == &blk_copy_before_write ? n->child : NULL;
}

static bool access_intercept(BlkLane *l, BlkReq *r)
{
    BlkNode *n = l->node, *filter = filter_of(n);

    if (r->op == BLK_FLUSH || (r->op == BLK_DISCARD && !n->unmap)) {
        blk_complete_later(r, 0);
    } else if (filter && r->op == BLK_READ) {
        job_past_read(filter, r, is_reader(n));
    } else if (filter && r->op == BLK_DISCARD && !is_reader(n)) {
        job_past_discard(filter, r);
    } else {
        blk_complete_later(r, is_reader(n) ? -EACCES : -ENOTSUP);
    }
    return true;
}

static int access_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    BlkNode *filter = filter_of(n);

    *s = (BlkStatus){ .flags = BLK_STATUS_HERE | BLK_STATUS_DATA, .len = len };
    return filter ? job_past_status(filter, is_reader(n), off, len, s) : 0;
}

static bool access_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    return blk_filter_open(n);
}

/* The past is what it is whoever writes. */
static bool access_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    return blk_change_rights(&n->child_use, need & BLK_PERM_READ, BLK_PERM_ALL, errp);
}

#define SNAPSHOT_ACCESS { \
    .name = "snapshot-access", \
    .size = sizeof(SnapshotAccess), \
    .options = BLK_OPT_CHILD, \
    .filter = true, \
    .open = access_open, \
    .relinked = blk_filter_relinked, \
    .child_resized = blk_filter_resized, \
    .rights = access_rights, \
    .status = access_status, \
    .intercept = access_intercept, \
}

const BlkDriver blk_snapshot_access = SNAPSHOT_ACCESS;
const BlkDriver blk_snapshot_reader = SNAPSHOT_ACCESS;

/* --- readers --- */

BlkNode *blk_past_reader(BlkNode *n)
{
    bool reader = n && is_reader(n);

    while (reader && (is_reader(n) || n->drv == &blk_backup_top)) {
        n = n->child;
    }
    return n;
}

static BlkNode *below(const BlkNode *n)
{
    return n->backing ? n->backing : n->child;
}

static bool stands_on(const BlkNode *n, const BlkNode *source)
{
    while (n && n != source && n->drv->filter) {
        n = n->child;
    }
    return n == source;
}

/* The last node from @target down before @source, filters of @source's left out, or NULL: @target does not
 * get anything from there. */
static BlkNode *last_before(BlkNode *target, const BlkNode *source)
{
    BlkNode *n = target;

    while (n && !(below(n) && !n->drv->filter && stands_on(below(n), source))) {
        n = below(n);
    }
    return n;
}

/* Nobody uses @target, and nobody but the layers above it what is below, down to @last. */
static bool unused(const BlkNode *target, const BlkNode *last, Error **errp)
{
    for (const BlkNode *n = target;; n = below(n)) {
        const BlkUser *u = n->users;

        if (u && (n == target || u->next)) {
            return error_set(errp, "Node '%s' gets bytes from the node that is backed up, and is in use by "
                             "%s", n->name, u->who);
        }
        if (n == last) {
            return true;
        }
    }
}

bool job_reader_insert(Job *j, Error **errp)
{
    bool backup = j->filter->drv == &blk_backup_top;
    BlkNode *last = backup ? last_before(j->target, j->source) : NULL;

    if (!last) {
        return true;
    }
    if (!unused(j->target, last, errp)) {
        return false;
    }
    if (is_reader(below(last))) {
        j->reader = below(last);       /* somebody read the target when the backup before this one ended */
        return true;
    }
    BlkOptions o = { .driver = "snapshot-access", .for_job = true, .child_ref = below(last)->name };
    j->reader = blk_open_inner(&o, errp);
    if (!j->reader) {
        return false;
    }
    if (!(last->backing ? blk_set_backing(last, j->reader, errp) : blk_set_file(last, j->reader, errp))) {
        blk_close(g_steal_pointer(&j->reader), NULL);
        return false;
    }
    blk_lanes_drop(last, NULL);
    return true;
}

void job_reader_begin(Job *j)
{
    ((SnapshotAccess *)j->reader->state)->filter = j->filter;
}

void job_reader_remove(Job *j)
{
    ((SnapshotAccess *)j->reader->state)->filter = NULL;
    blk_lift_filter(j->reader, NULL);
}
