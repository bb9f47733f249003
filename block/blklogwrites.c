/* blklogwrites.c: a filter that writes what is written to a log too, in the format of the kernel's
 * dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst), so that its replay tools read it.
 *
 *   sector 0   the super block: magic, version, number of entries, sector size
 *   then       for each request a sector with its place, length and flags, and the data it wrote
 *
 * 1. An entry is given its place when the request has landed: the log has them in the order of completion.
 * 2. The super block is written every so many entries, at flushes and at the end: what it does not count does
 *    not count. */
#include <inttypes.h>
#include <stdlib.h>
#include "block/block-int.h"
#include "block/filter.h"
#include "qapi/types.h"
#include "util/bytes.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)
#define LOG_VERSION 1

enum { LOG_FLUSH = 1 << 0, LOG_FUA = 1 << 1, LOG_DISCARD = 1 << 2 };

typedef struct LogSuper {
    Le64 magic, version, entries;
    Le32 sector_size;
} LogSuper;

typedef struct LogEntry {
    Le64 sector, sectors, flags, data;
} LogEntry;

typedef struct LogWrites {
    Loop *worker;
    BlkUser log_use;
    uint32_t sector;           /* bytes */
    uint64_t interval;
    uint64_t next, entries;    /* the worker's; next: the free sector */
} LogWrites;

typedef struct Pass {
    BlkReq *up;
    BlkReq req;
    BlkNode *node;
    FilterJob job;
    int ret;
} Pass;

/* --- the log, on the filter's thread --- */

static int super_write(LogWrites *w)
{
    g_autofree uint8_t *sector = g_malloc0(w->sector);
    LogSuper *s = (LogSuper *)sector;

    s->magic = to_le64(LOG_MAGIC);
    s->version = to_le64(LOG_VERSION);
    s->entries = to_le64(w->entries);
    s->sector_size = to_le32(w->sector);
    int ret = blk_pwrite(w->log_use.node, 0, sector, w->sector);
    return ret < 0 ? ret : blk_pflush(w->log_use.node);
}

/* Writes the entry, its data behind it, at sector @at. */
static int entry_write(const Pass *p, uint64_t at, uint64_t room)
{
    LogWrites *w = p->node->state;
    const BlkReq *up = p->up;
    BlkNode *log = w->log_use.node;
    bool data = up->op == BLK_WRITE || up->op == BLK_ZERO;
    g_autofree uint8_t *buf = g_try_malloc0(w->sector + (up->op == BLK_WRITE ? room : 0));
    LogEntry *e = (LogEntry *)buf;

    if (!buf) {
        return -ENOMEM;
    }
    e->sector = to_le64(up->op == BLK_FLUSH ? 0 : up->pos / w->sector);
    e->sectors = to_le64(up->op == BLK_FLUSH ? 0 : DIV_ROUND_UP(up->left, w->sector));
    e->flags = to_le64(up->op == BLK_FLUSH ? LOG_FLUSH : up->op == BLK_DISCARD ? LOG_DISCARD
                       : up->flags & BLK_FUA ? LOG_FUA : 0);
    e->data = to_le64(0);
    if (up->op == BLK_WRITE) {
        blk_iov_read(up->cur, up->ncur, 0, buf + w->sector, up->left);
    }
    blk_grow(log, (at + 1) * w->sector + room);
    int ret = blk_pwrite(log, at * w->sector, buf, w->sector + (up->op == BLK_WRITE ? room : 0));
    return ret == 0 && data && up->op == BLK_ZERO ? blk_pzero(log, (at + 1) * w->sector, room, 0) : ret;
}

static void log_run(FilterJob *j)
{
    Pass *p = container_of(j, Pass, job);
    LogWrites *w = p->node->state;
    const BlkReq *up = p->up;
    bool data = up->op == BLK_WRITE || up->op == BLK_ZERO;
    uint64_t sectors = data ? DIV_ROUND_UP(up->left, w->sector) : 0;

    uint64_t at = w->next;
    p->ret = entry_write(p, at, sectors * w->sector);
    if (p->ret == 0) {
        w->next += 1 + sectors;
        w->entries++;
        if (up->op == BLK_FLUSH || up->flags & BLK_FUA || w->entries % w->interval == 0) {
            p->ret = super_write(w);
        }
    }
}

/* --- requests --- */

static void pass_end(Pass *p, int ret)
{
    BlkReq *up = p->up;

    g_free(p);
    blk_complete_later(up, ret);
}

static void log_over(FilterJob *j)
{
    Pass *p = container_of(j, Pass, job);

    pass_end(p, p->ret);
}

static void landed(BlkReq *r, int ret)
{
    Pass *p = container_of(r, Pass, req);

    if (ret < 0) {
        pass_end(p, ret);
        return;
    }
    blk_filter_work(((LogWrites *)p->node->state)->worker, &p->job);
}

static bool log_intercept(BlkLane *l, BlkReq *r)
{
    if (r->op == BLK_READ) {
        return false;
    }
    Pass *p = g_new0(Pass, 1);
    *p = (Pass){ .up = r, .node = l->node, .job = { .run = log_run, .home = r->loop, .over = log_over } };
    p->req = (BlkReq){ .op = r->op, .flags = r->flags, .off = r->pos, .len = r->left, .iov = r->cur,
                       .niov = r->ncur, .loop = r->loop, .done = landed };
    blk_submit_below(l->node->child, &p->req);
    return true;
}

/* --- the driver --- */

/* Finds the end of a log that is there. */
static bool log_read(LogWrites *w, Error **errp)
{
    BlkNode *log = w->log_use.node;
    LogSuper s = { 0 };
    LogEntry e;

    if (blk_size(log) < sizeof(s) || blk_pread(log, 0, &s, sizeof(s)) < 0) {
        return error_set(errp, "Could not read log superblock");
    }
    w->entries = le64(s.entries);
    if (le64(s.magic) != LOG_MAGIC || le64(s.version) != LOG_VERSION) {
        return error_set(errp, "Invalid log superblock: magic or version");
    }
    if (le32(s.sector_size) != w->sector) {
        return error_set(errp, "Invalid log sector size %u: the log has %u", w->sector, le32(s.sector_size));
    }
    for (uint64_t i = 0; i < w->entries; i++) {
        if (!fits(w->next * w->sector, sizeof(e), blk_size(log)) ||
            blk_pread(log, w->next * w->sector, &e, sizeof(e)) < 0) {
            return error_set(errp, "Could not read log entry %" PRIu64 " of %" PRIu64, i, w->entries);
        }
        uint64_t more = le64(e.flags) & LOG_DISCARD ? 0 : le64(e.sectors);
        if (more > blk_size(log) / w->sector) {
            return error_set(errp, "Log entry %" PRIu64 " is larger than the log", i);
        }
        w->next += 1 + more;
    }
    return true;
}

static bool log_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    const BlklogwritesOwn *own = o->own;
    LogWrites *w = n->state;
    bool append = own && own->log_append;

    w->sector = own ? own->log_sector_size : 512;
    w->interval = own ? own->log_super_update_interval : 4096;
    w->next = 1;
    if (!w->interval) {
        return error_set(errp, "Invalid log superblock update interval %" PRIu64, w->interval);
    }
    if (w->sector < 512 || w->sector > 8 * MiB || w->sector & (w->sector - 1)) {
        return error_set(errp, "Invalid log sector size %" PRIu32, w->sector);
    }
    w->worker = blk_filter_worker(errp);
    if (!w->worker) {
        return false;
    }
    blk_filter_open(n);
    if (!blk_link_other(n, &w->log_use, o, errp) ||
        !blk_change_rights(&w->log_use, BLK_PERM_READ | BLK_PERM_WRITE, BLK_PERM_READ, errp) ||
        (append && !log_read(w, errp))) {
        blk_unlink(&w->log_use);
        blk_filter_worker_end(w->worker);
        return false;
    }
    return true;
}

static void log_close(BlkNode *n)
{
    LogWrites *w = n->state;

    blk_filter_worker_end(w->worker);
    super_write(w);
    blk_unlink(&w->log_use);
}

const BlkDriver blk_blklogwrites = {
    .name = "blklogwrites",
    .size = sizeof(LogWrites),
    .options = BLK_OPT_CHILD | BLK_OPT_OTHER | BLK_OPT_OWN,
    .filter = true,
    .open = log_open,
    .close = log_close,
    BLK_FILTER_FORWARDS,
    .intercept = log_intercept,
};
