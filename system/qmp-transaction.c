/* qmp-transaction.c: several changes of block nodes, bitmaps and jobs at one moment, or none.
 *
 * 1. Whatever an action needs is looked for twice: before, to know which nodes are to be held, and when it is
 *    done, for it may have been made by an action before it.
 * 2. A job begins with all others of the transaction, and works when all of them could begin. */
#include "block/graph.h"
#include "system/qmp-bitmap.h"
#include "system/qmp-change.h"
#include "system/qmp-copy.h"
#include "system/qmp-graph.h"

/* --- bitmaps --- */

static BlkBitmap *find_bitmap(const char *node, const char *name, Error **errp)
{
    BlkNode *n = qmp_find_node(node, node, errp);

    return n != NULL ? qmp_find_bitmap(n, name, errp) : NULL;
}

static bool add_act(Step *s, Error **errp)
{
    const BlockDirtyBitmapAdd *a = s->action->u.block_dirty_bitmap_add.data;

    if (a->has_granularity && a->granularity == 0) {
        return error_set(errp, "Granularity must be at least 512");
    }
    s->bitmap = blk_bitmap_add(s->node, a->name, a->granularity, a->persistent, errp);
    if (s->bitmap != NULL) {
        blk_bitmap_record(s->bitmap, !a->disabled);
    }
    return s->bitmap != NULL;
}

static void add_undo(Step *s)
{
    blk_bitmap_remove(s->bitmap);
}

static bool clear_act(Step *s, Error **errp)
{
    const BlockDirtyBitmap *a = s->action->u.block_dirty_bitmap_clear.data;

    s->bitmap = find_bitmap(a->node, a->name, errp);
    if (s->bitmap != NULL) {
        s->bits = blk_bitmap_save(s->bitmap);
        blk_bitmap_clear(s->bitmap, 0, UINT64_MAX);
    }
    return s->bitmap != NULL;
}

static void bits_undo(Step *s)
{
    blk_bitmap_restore(s->bitmap, s->bits);
}

static bool record_act(Step *s, Error **errp)
{
    bool on = s->action->type == TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_ENABLE;
    const BlockDirtyBitmap *a = on ? s->action->u.block_dirty_bitmap_enable.data
                                   : s->action->u.block_dirty_bitmap_disable.data;

    s->bitmap = find_bitmap(a->node, a->name, errp);
    if (s->bitmap != NULL) {
        s->on = blk_bitmap_info(s->bitmap).recording;
        blk_bitmap_record(s->bitmap, on);
    }
    return s->bitmap != NULL;
}

static void record_undo(Step *s)
{
    blk_bitmap_record(s->bitmap, s->on);
}

/* It is nobody else's from now on, and goes when all is done. */
static bool remove_act(Step *s, Error **errp)
{
    const BlockDirtyBitmap *a = s->action->u.block_dirty_bitmap_remove.data;
    BlkNode *n = qmp_find_node(a->node, a->node, errp);

    s->bitmap = n != NULL ? blk_bitmap_find(n, a->name) : NULL;
    if (n != NULL && s->bitmap == NULL) {
        return error_set(errp, "Dirty bitmap '%s' not found", a->name);
    }
    if (n == NULL || !blk_bitmap_usable(s->bitmap, false, true, errp)) {
        return false;
    }
    blk_bitmap_set_busy(s->bitmap, true);
    return true;
}

static void remove_undo(Step *s)
{
    blk_bitmap_set_busy(s->bitmap, false);
}

static void remove_settle(Step *s)
{
    blk_bitmap_remove(s->bitmap);
}

static bool merge_act(Step *s, Error **errp)
{
    const BlockDirtyBitmapMerge *a = s->action->u.block_dirty_bitmap_merge.data;

    s->bitmap = find_bitmap(a->node, a->target, errp);
    if (s->bitmap == NULL) {
        return false;
    }
    s->bits = blk_bitmap_save(s->bitmap);
    for (unsigned i = 0; i < a->bitmaps.n; i++) {
        const BlockDirtyBitmapOrStr *b = a->bitmaps.at[i];
        bool local = b->is == BLOCK_DIRTY_BITMAP_OR_STR_LOCAL;
        const BlkBitmap *from = find_bitmap(local ? a->node : b->u.external->node,
                                            local ? b->u.local : b->u.external->name, errp);

        if (from == NULL || !blk_bitmap_merge(s->bitmap, from, errp)) {
            blk_bitmap_restore(s->bitmap, s->bits);
            return false;
        }
    }
    return true;
}

static bool merge_nodes(Step *s, const BlockDirtyBitmapMerge *a, Error **errp)
{
    s->more = g_ptr_array_new();
    for (unsigned i = 0; i < a->bitmaps.n; i++) {
        const BlockDirtyBitmapOrStr *b = a->bitmaps.at[i];

        if (b->is != BLOCK_DIRTY_BITMAP_OR_STR_LOCAL) {
            BlkNode *n = qmp_find_node(b->u.external->node, b->u.external->node, errp);

            if (n == NULL) {
                return false;
            }
            g_ptr_array_add(s->more, n);
        }
    }
    return true;
}

/* --- internal snapshots --- */

static bool internal_act(Step *s, Error **errp)
{
    const BlockdevSnapshotInternal *a = s->action->u.blockdev_snapshot_internal_sync.data;

    return qmp_snapshot_internal(s->node, a->device, a->name, errp);
}

static void internal_undo(Step *s)
{
    const BlockdevSnapshotInternal *a = s->action->u.blockdev_snapshot_internal_sync.data;
    g_autoptr(GArray) list = blk_snapshots(s->node, NULL);
    int at = list != NULL ? blk_snapshot_find(list, NULL, a->name) : -1;

    if (at >= 0) {
        blk_snapshot_delete(s->node, (unsigned)at, NULL);
    }
}

/* --- jobs --- */

static bool backup_act(Step *s, Error **errp)
{
    JobOptions base = { .held = true, .group = s->group, .made = &s->job };

    return s->action->type == TRANSACTION_ACTION_TYPE_BLOCKDEV_BACKUP
           ? qmp_backup_begin(s->action->u.blockdev_backup.data, &base, errp)
           : qmp_drive_backup_begin(s->action->u.drive_backup.data, s->other, &base, errp);
}

static void backup_undo(Step *s)
{
    job_undo(s->job);
}

static void backup_settle(Step *s)
{
    job_go(s->job);
}

/* --- all --- */

static bool abort_act(Step *s, Error **errp)
{
    return error_set(errp, "Transaction aborted using Abort action");
}

/* NULL: its text is longer than a message may be, as a name is whose letters need escapes. */
static TransactionAction *copy_of(const TransactionAction *a, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    TransactionAction *copy = NULL;

    qapi_write_transaction_action(a, text);
    g_autoptr(json_t) json = json_parse(text->str, errp);
    return json != NULL && qapi_visit_transaction_action(json, QAPI_JSON, &copy, errp) ? copy : NULL;
}

typedef struct ActionOps {
    bool (*act)(Step *s, Error **errp);
    void (*undo)(Step *s);
    void (*settle)(Step *s);
} ActionOps;

static const ActionOps ops[] = {
    [TRANSACTION_ACTION_TYPE_ABORT] = { abort_act, NULL, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_ADD] = { add_act, add_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_CLEAR] = { clear_act, bits_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_ENABLE] = { record_act, record_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_DISABLE] = { record_act, record_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_MERGE] = { merge_act, bits_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_REMOVE] = { remove_act, remove_undo, remove_settle },
    [TRANSACTION_ACTION_TYPE_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC] = { internal_act, internal_undo, NULL },
    [TRANSACTION_ACTION_TYPE_BLOCKDEV_BACKUP] = { backup_act, backup_undo, backup_settle },
    [TRANSACTION_ACTION_TYPE_DRIVE_BACKUP] = { backup_act, backup_undo, backup_settle },
};

/* The node that an action is about, by its name. */
static const char *node_of(const TransactionAction *a)
{
    switch (a->type) {
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_ADD:
        return a->u.block_dirty_bitmap_add.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_CLEAR:
        return a->u.block_dirty_bitmap_clear.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_ENABLE:
        return a->u.block_dirty_bitmap_enable.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_DISABLE:
        return a->u.block_dirty_bitmap_disable.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_REMOVE:
        return a->u.block_dirty_bitmap_remove.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_MERGE:
        return a->u.block_dirty_bitmap_merge.data->node;
    case TRANSACTION_ACTION_TYPE_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC:
        return a->u.blockdev_snapshot_internal_sync.data->device;
    case TRANSACTION_ACTION_TYPE_BLOCKDEV_BACKUP:
        return a->u.blockdev_backup.data->device;
    case TRANSACTION_ACTION_TYPE_DRIVE_BACKUP:
        return a->u.drive_backup.data->device;
    default:
        return NULL;
    }
}

static bool add(Change *c, const TransactionAction *a, Error **errp)
{
    const char *name = node_of(a);
    BlkNode *n = name != NULL ? qmp_find_node(name, name, errp) : NULL;

    if (name != NULL && n == NULL) {
        return false;
    }
    Step *s = change_step(c, ops[a->type].act, n, NULL);
    s->undo = ops[a->type].undo;
    s->settle = ops[a->type].settle;
    s->group = c->group;
    s->action = copy_of(a, errp);
    if (s->action == NULL) {
        return false;
    }
    if (a->type == TRANSACTION_ACTION_TYPE_BLOCKDEV_BACKUP) {
        const char *to = a->u.blockdev_backup.data->target;

        s->other = qmp_find_node(to, to, errp);
        return s->other != NULL;
    }
    if (a->type == TRANSACTION_ACTION_TYPE_DRIVE_BACKUP) {
        s->other = qmp_backup_target(a->u.drive_backup.data, n, errp);
        s->made = s->other != NULL;
        return s->made;
    }
    return a->type != TRANSACTION_ACTION_TYPE_BLOCK_DIRTY_BITMAP_MERGE ||
           merge_nodes(s, a->u.block_dirty_bitmap_merge.data, errp);
}

/* Only jobs can end together. */
static bool may_group(const TransactionAction *a, Error **errp)
{
    return a->type == TRANSACTION_ACTION_TYPE_ABORT || a->type == TRANSACTION_ACTION_TYPE_BLOCKDEV_BACKUP ||
           a->type == TRANSACTION_ACTION_TYPE_DRIVE_BACKUP ||
           error_set(errp, "Action '%s' does not support Transaction property completion-mode = grouped",
                     transaction_action_type_name(a->type));
}

bool qmp_transaction(const TransactionActionList *actions, const TransactionProperties *properties,
                     QmpPending *pending, Error **errp)
{
    bool grouped = properties != NULL && properties->completion_mode == ACTION_COMPLETION_MODE_GROUPED;
    Change *c = change_new(pending);
    bool ok = true;

    c->group = grouped ? job_group_new() : NULL;
    for (unsigned i = 0; ok && i < actions->n; i++) {
        const TransactionAction *a = actions->at[i];

        if (grouped && !may_group(a, errp)) {
            ok = false;
        } else if (a->type == TRANSACTION_ACTION_TYPE_BLOCKDEV_SNAPSHOT) {
            ok = change_add_snapshot(c, a->u.blockdev_snapshot.data, errp);
        } else if (a->type == TRANSACTION_ACTION_TYPE_BLOCKDEV_SNAPSHOT_SYNC) {
            ok = change_add_snapshot_sync(c, a->u.blockdev_snapshot_sync.data, errp);
        } else {
            ok = add(c, a, errp);
        }
    }
    return change_prepared(c, ok);
}
