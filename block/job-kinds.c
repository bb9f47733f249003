/* job-kinds.c: what streams, commits, mirrors and backups do, see job.h.
 *
 * 1. Each marks in its filter what is to be copied, and copies until nothing is marked.
 * 2. A commit below images that nobody writes has no filter: nothing changes but the base. */
#include <errno.h>
#include <inttypes.h>
#include "block/bitmap.h"
#include "block/job-int.h"
#include "util/bytes.h"

static const char *const sync_names[] = { "top", "full", "none", "incremental", "bitmap" };

/* --- what is to be copied --- */

/* Marks what the layers above @base hold, or (!@have) takes the marks off what they do not: 0 or -errno. */
static int mark_layers(Job *j, const BlkNode *base, bool have)
{
    const JobFilter *f = j->filter->state;
    uint64_t size = blk_size(j->source);

    for (uint64_t off = 0; off < size;) {
        BlkStatus s;
        int ret = job_look(j, off, MIN(size - off, GiB), base, &s);

        if (ret < 0) {
            return ret;
        }
        if (!job_point(j, 0)) {
            return -ECANCELED;
        }
        uint64_t from = off, to = off + s.len;
        if (!have) {                   /* grains that lie in it as a whole */
            from = ALIGN_UP(from, f->grain);
            to = to == size ? to : ALIGN_DOWN(to, f->grain);
        }
        if (((s.flags & BLK_STATUS_HERE) != 0) == have && from < to) {
            job_filter_mark(j->filter, from, to - from, have);
        }
        off += s.len;
    }
    return 0;
}

/* True if no other job works on the images from @n down to @base, that one left out. */
static bool chain_free(BlkNode *n, const BlkNode *base, Error **errp)
{
    for (; n && n != base; n = blk_behind(n)) {
        if (!job_node_free(n, errp)) {
            return false;
        }
    }
    return true;
}

/* --- stream --- */

static int stream_run(Job *j)
{
    uint64_t size = blk_size(j->source);

    job_add(j, 0, size);
    for (uint64_t off = 0; off < size;) {
        BlkStatus s;
        int ret = job_look(j, off, MIN(size - off, GiB), j->target, &s);

        if (ret < 0) {
            return ret;
        }
        if (!job_point(j, 0)) {
            return -ECANCELED;
        }
        if (s.flags & BLK_STATUS_HERE && s.depth > 0) {
            job_filter_mark(j->filter, off, s.len, true);
        }
        off += s.len;
    }
    uint64_t left = job_filter_left(j->filter);
    job_add(j, size - MIN(size, left), 0);
    int ret = job_copy_marked(j);
    /* On the disk before the image forgets what is behind it. */
    return ret < 0 ? ret : job_flush(j, &j->source_use);
}

static bool stream_finish(Job *j, Error **errp)
{
    const char *name = j->backing_file ? j->backing_file : j->target ? blk_filename(j->target) : NULL;

    return blk_set_backing_file(j->source, j->target ? name : NULL,
                                j->target ? j->target->drv->name : NULL, errp) &&
           blk_set_backing(j->source, j->target, errp);
}

static const JobDriver stream = { .kind = JOB_STREAM, .run = stream_run, .finish = stream_finish };

bool job_stream(BlkNode *n, BlkNode *base, const char *backing_file, const JobOptions *o, Error **errp)
{
    if (base && (base == n || !blk_is_above(n, base))) {
        return error_set(errp, "Node '%s' is not a backing image of '%s'", base->name, n->name);
    }
    if (n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", n->name);
    }
    Job *j = chain_free(n, base, errp) ? job_new(&stream, n, base, o, errp) : NULL;
    if (!j) {
        return false;
    }
    j->backing_file = g_strdup(backing_file);
    return job_start(j, o, "copy-on-read", errp);
}

/* --- mirror, and commit of what is written to --- */

/* Nothing is left; or it is time to end and a pass left as much as the one before, since the guest writes as
 * fast as this copies: then it has to wait while the rest is copied. */
static bool caught_up(Job *j, uint64_t *left)
{
    uint64_t before = *left;

    *left = job_filter_left(j->filter);
    lock_take(&j->lock);
    bool asked = j->completing || (j->cancelled && !j->force);
    lock_drop(&j->lock);
    return *left == 0 || (asked && *left >= before);
}

/* Copies until nothing is left and it is told to complete; the graph is held then. */
static int follow(Job *j)
{
    uint64_t left = UINT64_MAX;

    for (;;) {
        int ret = job_copy_marked(j);

        if (ret < 0) {
            return ret;
        }
        if (!caught_up(j, &left)) {
            continue;
        }
        ret = job_flush(j, &j->target_use);
        if (ret < 0) {
            return ret;
        }
        job_now_ready(j);
        lock_take(&j->lock);
        __atomic_store_n(&j->follows, true, __ATOMIC_SEQ_CST);
        while (!j->completing && !j->cancelled && !j->paused && !job_filter_left(j->filter)) {
            lock_wait(&j->lock, &j->changed, -1);
        }
        __atomic_store_n(&j->follows, false, __ATOMIC_RELAXED);
        j->total = j->done + job_filter_left(j->filter);
        bool enough = j->completing || (j->cancelled && !j->force);
        lock_drop(&j->lock);
        if (enough) {
            return 0;
        }
        if (!job_point(j, 0)) {
            return -ECANCELED;
        }
    }
}

/* What the guest has written last, while everything is held. */
static int copy_last(Job *j, bool *read)
{
    uint64_t off = 0, len;
    int ret = 0;

    while (ret == 0 && job_filter_next(j->filter, &off, &len, j->chunk)) {
        ret = job_filter_copy_held(j, off, len, read);
    }
    return ret < 0 ? ret : blk_pflush(j->target);
}

static int mirror_run(Job *j)
{
    BlkNode *base = j->drv->kind == JOB_COMMIT ? j->target
                    : j->sync == JOB_SYNC_TOP ? blk_behind(j->source) : NULL;
    int ret = 0;

    if (j->drv->kind == JOB_MIRROR && j->sync == JOB_SYNC_FULL) {
        job_filter_mark(j->filter, 0, blk_size(j->source), true);
    } else if (j->sync != JOB_SYNC_NONE) {
        ret = mark_layers(j, base, true);
    }
    job_add(j, 0, MIN(job_filter_left(j->filter), blk_size(j->source)));
    while (ret == 0) {
        bool read = false;

        ret = follow(j);
        if (ret < 0) {
            return ret;
        }
        job_hold(j);
        ret = copy_last(j, &read);
        if (ret == 0) {
            return 0;
        }
        job_unhold(j);         /* the guest does not wait for somebody to mend it */
        ret = job_again(j, read, ret);
    }
    return ret;
}

/* Those who use the source use the target. */
static bool mirror_finish(Job *j, Error **errp)
{
    if (!j->completing) {
        return true;           /* cancelled when it was ready: the target is a copy, and that was all */
    }
    BlkNode *from = j->replaces ? blk_find(j->replaces) : j->filter;
    if (!from) {
        return error_set(errp, "Cannot find device='' nor node-name='%s'", j->replaces);
    }
    j->was_read_only = false;
    if (!blk_replace(from, j->target, errp)) {
        return false;
    }
    if (j->source_behind && !blk_set_backing(j->target, j->source, errp)) {
        blk_replace(j->target, from, NULL);
        return false;
    }
    if (j->replaces) {
        return true;
    }
    blk_move_drive(j->source, j->target);
    return true;
}

static const JobDriver mirror = { .kind = JOB_MIRROR, .run = mirror_run, .finish = mirror_finish };

static bool sizes_match(const BlkNode *n, const BlkNode *target, Error **errp)
{
    return blk_size(n) == blk_size(target) ||
           error_set(errp, "Source and target image have different sizes");
}

bool job_mirror(BlkNode *n, BlkNode *target, JobSync sync, const JobOptions *o, Error **errp)
{
    if (n == target) {
        return error_set(errp, "Can't mirror node into itself");
    }
    if (sync > JOB_SYNC_NONE) {
        return error_set(errp, "Sync mode '%s' not supported", sync_names[sync]);
    }
    if (o->granularity && (o->granularity < 512 || o->granularity > 64 * MiB)) {
        return error_set(errp, "Parameter 'granularity' expects a value in range [512B, 64MB]");
    }
    if (o->granularity & (o->granularity - 1)) {
        return error_set(errp, "Parameter 'granularity' expects a power of 2");
    }
    if (o->replaces && !blk_find(o->replaces)) {
        return error_set(errp, "Cannot find device='' nor node-name='%s'", o->replaces);
    }
    if (!sizes_match(n, target, errp) || !job_node_free(n, errp)) {
        return false;
    }
    if (o->source_behind && o->write_blocking) {       /* a part of a cluster would hide the rest of it */
        return error_set(errp, "copy-mode=write-blocking is not supported with sync=none into a new image");
    }
    JobOptions own = *o;
    if (o->source_behind) {
        BlkImageInfo info;

        blk_image_info(target, &info);
        own.granularity = MAX(o->granularity ? o->granularity : JOB_GRAIN, info.cluster_size);
    }
    Job *j = job_new(&mirror, n, target, &own, errp);
    if (!j) {
        return false;
    }
    j->sync = sync;
    j->active = true;
    j->source_behind = o->source_behind;
    j->replaces = g_strdup(o->replaces);
    return job_start(j, &own, "mirror_top", errp);
}

/* --- commit --- */

/* Past the source's end, @off, the layer above reads zeroes; so it is to read from a longer target. */
static int commit_tail(Job *j, uint64_t off)
{
    while (off < j->reach) {
        uint64_t len = MIN(j->reach - off, j->chunk);

        if (!job_point(j, 0)) {
            return -ECANCELED;
        }
        int ret = job_io(&j->target_use, BLK_ZERO, 0, off, NULL, len);
        if (ret == 0) {
            off += len;
        } else if ((ret = job_again(j, false, ret)) < 0) {
            return ret;
        }
    }
    return 0;
}

static int commit_quiet(Job *j)
{
    uint64_t size = blk_size(j->source), end;
    g_autofree uint8_t *buf = g_malloc(j->chunk);

    job_add(j, 0, size);
    for (uint64_t off = 0; off < size; off = end) {
        BlkStatus s;
        int ret = job_look(j, off, MIN(size - off, j->chunk), j->target, &s);
        bool copy = s.flags & BLK_STATUS_HERE, read;

        end = off + s.len;
        if (ret < 0) {
            return ret;
        }
        if (!job_point(j, copy ? s.len : 0)) {
            return -ECANCELED;
        }
        while (copy) {
            read = true;
            ret = job_io(&j->source_use, BLK_READ, 0, off, buf, s.len);
            if (ret == 0) {
                read = false;
                ret = job_io(&j->target_use, BLK_WRITE, 0, off, buf, s.len);
            }
            copy = ret < 0;
            ret = ret < 0 ? job_again(j, read, ret) : 0;
            if (ret < 0) {
                return ret;
            }
        }
        job_add(j, s.len, 0);
    }
    int ret = commit_tail(j, size);
    return ret < 0 ? ret : job_flush(j, &j->target_use);
}

static int commit_run(Job *j)
{
    return j->active ? mirror_run(j) : commit_quiet(j);
}

static bool commit_finish(Job *j, Error **errp)
{
    if (j->active) {
        return mirror_finish(j, errp);
    }
    BlkNode *over = blk_overlay_of(j->source);
    if (!over) {
        return error_set(errp, "Node '%s' has nothing above it any more", j->source->name);
    }
    bool was = over->read_only;
    if (!blk_set_read_only(over, false, errp)) {
        return false;
    }
    bool ok = blk_set_backing_file(over, j->backing_file ? j->backing_file : blk_filename(j->target),
                                   j->target->drv->name, errp) &&
              blk_set_backing(over, j->target, errp);
    if (was) {
        blk_set_read_only(over, true, NULL);
    }
    return ok;
}

static const JobDriver commit = { .kind = JOB_COMMIT, .run = commit_run, .finish = commit_finish };

/* Makes room in @base for what @top has. */
static bool grow_base(BlkNode *top, BlkNode *base, Error **errp)
{
    bool was = base->read_only;

    if (blk_size(base) >= blk_size(top)) {
        return true;
    }
    if (!blk_set_read_only(base, false, errp)) {
        return false;
    }
    bool ok = blk_truncate(base, blk_size(top), errp);
    if (was) {
        blk_set_read_only(base, true, NULL);
    }
    return ok;
}

bool job_commit(BlkNode *top, BlkNode *base, const char *backing_file, const JobOptions *o, Error **errp)
{
    if (top == base || !blk_is_above(top, base)) {
        return error_set(errp, "'%s' is not in this backing file chain", base->name);
    }
    BlkNode *root = top;
    for (BlkNode *over; (over = blk_overlay_of(root)) != NULL;) {
        root = over;
    }
    if (!chain_free(top, base, errp) || !job_node_free(base, errp) || !job_node_free(root, errp)) {
        return false;
    }
    Job *j = grow_base(top, base, errp) ? job_new(&commit, top, base, o, errp) : NULL;
    if (!j) {
        return false;
    }
    const BlkNode *over = blk_overlay_of(top);
    j->active = over == NULL;
    j->reach = over != NULL ? MIN(blk_size(over), blk_size(base)) : 0;
    j->backing_file = g_strdup(backing_file);
    return job_start(j, o, j->active ? "commit_top" : NULL, errp);
}

/* The same for good: the source holds nothing afterwards. */
static int commit_down_run(Job *j)
{
    int ret = mirror_run(j);

    if (ret < 0) {
        return ret;
    }
    ret = blk_blocking(j->source, BLK_DISCARD, BLK_UNCOVER, 0, NULL, blk_size(j->source));
    return ret < 0 ? ret : blk_pflush(j->source);
}

static const JobDriver commit_down = { .kind = JOB_COMMIT, .run = commit_down_run };

int job_commit_down(BlkNode *n, void (*over)(void *arg, int ret), void *arg, Error **errp)
{
    JobOptions o = { .id = "commit", .over = over, .arg = arg };
    BlkNode *base = n->backing;

    if (!base) {
        error_set(errp, "Node '%s' has no backing file", n->name);
        return -ENOTSUP;
    }
    if (n->read_only) {
        error_set(errp, "Block node is read-only");
        return -EPERM;
    }
    for (BlkNode *i = n; i; i = blk_behind(i)) {
        if (!job_node_idle(i)) {
            error_set(errp, "Node '%s' is in use by a job", i->name);
            return -EBUSY;
        }
    }
    Job *j = grow_base(n, base, errp) ? job_new(&commit_down, n, base, &o, errp) : NULL;
    if (!j) {
        return -EIO;
    }
    j->active = j->completing = true;
    return job_start(j, &o, "commit_top", errp) ? 0 : -EACCES;
}

/* --- backup --- */

/* The moment that is copied is this one. */
static void backup_begin(Job *j)
{
    uint64_t off = 0, len;

    if (j->sync != JOB_SYNC_INCREMENTAL && j->sync != JOB_SYNC_BITMAP) {
        job_filter_mark(j->filter, 0, blk_size(j->source), true);
    }
    if (!j->bitmap) {
        return;
    }
    while (j->sync >= JOB_SYNC_INCREMENTAL && (len = blk_bitmap_dirty(j->bitmap, &off, GiB)) > 0) {
        job_filter_mark(j->filter, off, len, true);
        off += len;
    }
    blk_bitmap_set_aside(j->bitmap);
}

/* Only what the guest writes over is copied, until the job is cancelled. */
static int backup_wait(Job *j)
{
    int ret = 0;

    while (ret == 0 && job_point(j, 0)) {
        lock_take(&j->lock);
        __atomic_store_n(&j->follows, true, __ATOMIC_SEQ_CST);
        while (!j->cancelled && !j->paused && (ret = job_filter_error(j->filter)) == 0) {
            lock_wait(&j->lock, &j->changed, -1);
        }
        __atomic_store_n(&j->follows, false, __ATOMIC_RELAXED);
        lock_drop(&j->lock);
    }
    return ret < 0 ? ret : -ECANCELED;
}

static int backup_run(Job *j)
{
    int ret = j->sync == JOB_SYNC_TOP ? mark_layers(j, blk_behind(j->source), false) : 0;

    job_add(j, 0, MIN(job_filter_left(j->filter), blk_size(j->source)));
    if (ret == 0) {
        ret = j->sync == JOB_SYNC_NONE ? backup_wait(j) : job_copy_marked(j);
    }
    ret = ret < 0 ? ret : job_copy_settle(j);
    if (ret < 0) {
        return ret;
    }
    lock_take(&j->lock);
    j->done = j->total;        /* some of it by the guest's writes */
    lock_drop(&j->lock);
    return job_flush(j, &j->target_use);
}

static const JobDriver backup = { .kind = JOB_BACKUP, .begin = backup_begin, .run = backup_run };

static bool check_bitmap(const BlkNode *n, JobSync sync, const JobOptions *o, BlkBitmap **out, Error **errp)
{
    bool needed = sync == JOB_SYNC_INCREMENTAL || sync == JOB_SYNC_BITMAP;

    if (!o->bitmap) {
        return o->has_bitmap_mode ? error_set(errp, "Cannot specify bitmap sync mode without a bitmap")
               : !needed || error_set(errp, "must provide a valid bitmap name for '%s' sync mode",
                                      sync_names[sync]);
    }
    *out = blk_bitmap_find(n, o->bitmap);
    if (!*out) {
        return error_set(errp, "Bitmap '%s' could not be found", o->bitmap);
    }
    if (!o->has_bitmap_mode && sync != JOB_SYNC_INCREMENTAL) {
        return error_set(errp, "Bitmap sync mode must be given when providing a bitmap");
    }
    if (sync == JOB_SYNC_INCREMENTAL && o->has_bitmap_mode && o->bitmap_mode != JOB_BITMAP_ON_SUCCESS) {
        return error_set(errp, "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
    }
    if (sync == JOB_SYNC_NONE) {
        return error_set(errp, "sync mode 'none' does not produce meaningful bitmap outputs");
    }
    if (!needed && o->bitmap_mode == JOB_BITMAP_NEVER) {
        return error_set(errp, "Bitmap sync mode 'never' has no meaningful effect when combined with sync "
                         "mode '%s'", sync_names[sync]);
    }
    return blk_bitmap_usable(*out, false, false, errp);
}

static bool check_compress(BlkNode *target, const JobOptions *o, Error **errp)
{
    return !o->compress || target->drv->write_compressed ||
           error_set(errp, "Compression is not supported for this drive %s", blk_drive_id(target));
}

bool job_backup(BlkNode *n, BlkNode *target, JobSync sync, const JobOptions *o, Error **errp)
{
    BlkBitmap *bitmap = NULL;

    if (n == target) {
        return error_set(errp, "Source and target cannot be the same");
    }
    if (!check_bitmap(n, sync, o, &bitmap, errp) || !check_compress(target, o, errp) ||
        !sizes_match(n, target, errp) || !job_node_free(n, errp)) {
        return false;
    }
    JobOptions own = *o;
    BlkImageInfo info;
    blk_image_info(target, &info);
    own.granularity = MAX(JOB_GRAIN, info.cluster_size);
    if (o->max_chunk && o->max_chunk < own.granularity) {
        return error_set(errp, "Required max-chunk (%" PRIu64 ") is less than backup cluster size (%" PRIu64
                         ")", o->max_chunk, own.granularity);
    }
    Job *j = job_new(&backup, n, target, &own, errp);
    if (!j) {
        return false;
    }
    j->sync = sync;
    j->bitmap = bitmap;
    j->bitmap_mode = o->bitmap_mode;
    return job_start(j, &own, "copy-before-write", errp);
}
