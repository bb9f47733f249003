/* commit.c: the human monitor's commit: what a disk holds goes into the image right behind it, for one disk
 * or for all, one after the other.
 *
 * 1. Disks are known by name between two of them: one that is gone by its turn is left out. */
#include "system/drives.h"

#include <string.h>
#include "block/front.h"
#include "block/graph.h"
#include "block/job.h"
#include "util/error.h"

typedef struct Commit {
    QmpPending *pending;
    char *what;                /* as the user named it */
    GPtrArray *nodes;          /* names of those to come, the last one first */
} Commit;

static void commit_next(Commit *c);

static void commit_end(Commit *take_c, Error *take_err)
{
    QmpPending *p = take_c->pending;

    g_ptr_array_free(take_c->nodes, TRUE);
    g_free(take_c->what);
    g_free(take_c);
    qmp_pending_done(p, take_err);
}

static void commit_over(void *arg, int ret)
{
    Commit *c = arg;

    if (ret == 0) {
        commit_next(c);
        return;
    }
    Error *err = NULL;
    error_set(&err, "'commit' error for '%s': %s", c->what, errno_text(-ret));
    commit_end(c, err);
}

/* It did not begin: in QEMU's words where it has any. */
static void commit_refused(Commit *c, int ret, Error *take_err)
{
    Error *err = NULL;

    if (ret == -EPERM) {
        error_set(&err, "%s\n'commit' error for '%s': %s", error_text(take_err), c->what, errno_text(EPERM));
    } else if (ret == -ENOTSUP || ret == -EBUSY) {
        error_set(&err, "'commit' error for '%s': %s", c->what, errno_text(-ret));
    } else {
        error_set(&err, "'commit' error for '%s': %s", c->what, error_text(take_err));
    }
    error_free(take_err);
    commit_end(c, err);
}

static void commit_next(Commit *c)
{
    BlkNode *n = NULL;
    Error *err = NULL;

    while (n == NULL && c->nodes->len > 0) {
        g_autofree char *name = g_ptr_array_steal_index(c->nodes, c->nodes->len - 1);
        n = blk_find(name);
    }
    if (n == NULL) {
        commit_end(c, NULL);
        return;
    }
    int ret = job_commit_down(n, commit_over, c, &err);
    if (ret < 0) {
        commit_refused(c, ret, err);
    }
}

/* One that does not stand upon another is left out of all. */
static void add_layer(GPtrArray *to, const BlkNode *n)
{
    if (n != NULL && blk_behind((BlkNode *)n) != NULL) {
        for (unsigned i = 0; i < to->len; i++) {
            if (strcmp(to->pdata[i], blk_name(n)) == 0) {
                return;
            }
        }
        g_ptr_array_insert(to, 0, g_strdup(blk_name(n)));
    }
}

static void add_all(GPtrArray *to)
{
    for (const BlkNode *n = blk_next(NULL); n != NULL; n = blk_next(n)) {
        if (*blk_drive_id(n) != '\0') {
            add_layer(to, n);
        }
    }
    for (const BlkFront *f = blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        add_layer(to, f->node);
    }
}

bool drives_commit(const char *id, QmpPending *pending, Error **errp)
{
    bool all = strcmp(id, "all") == 0;
    const BlkFront *f = *id != '\0' && !all ? blk_front_of_drive(id) : NULL;
    const BlkNode *n = f != NULL ? f->node : all ? NULL : blk_find_medium(id);

    if (!all && f == NULL && blk_find_drive(id) == NULL) {
        return error_set(errp, "Device '%s' not found", id);
    }
    if (!all && n == NULL) {
        return error_set(errp, "Device '%s' has no medium", id);
    }
    Commit *c = g_new0(Commit, 1);
    *c = (Commit){ .pending = pending, .what = g_strdup(id),
                   .nodes = g_ptr_array_new_with_free_func(g_free) };
    if (all) {
        add_all(c->nodes);
    } else {
        g_ptr_array_add(c->nodes, g_strdup(blk_name(n)));
    }
    commit_next(c);
    return true;
}
