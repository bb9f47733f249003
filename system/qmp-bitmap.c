/* qmp-bitmap.c: QMP commands about dirty bitmaps and internal snapshots.
 *
 * 1. A command is checked at once, and done when nothing is in flight at its node: between two writes, as the
 *    guest sees it. */
#include "system/qmp-bitmap.h"

#include <string.h>
#include "block/bitmap.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/qmp-graph.h"
#include "util/clock.h"

#define SEC INT64_C(1000000000)

/* What is done while the node is held. */
typedef struct Op Op;
struct Op {
    bool (*act)(Op *op, Error **errp);
    QmpPending *pending;
    BlkNode *node;
    char *name, *id, *value;   /* value: what the command returns, or NULL */
    uint64_t granularity;
    bool persistent, on;
    GArray *from;              /* Source, or NULL */
};

typedef struct Source {
    BlkNode *node;
    char *name;                /* of the bitmap */
} Source;

static void source_clear(void *s)
{
    g_free(((Source *)s)->name);
}

static void op_held(BlkHold *h, void *arg)
{
    Op *op = arg;
    Error *err = NULL;
    bool ok = op->act(op, &err);

    blk_release(h);
    if (ok && op->value != NULL) {
        qmp_pending_return(op->pending, op->value);
    } else {
        qmp_pending_done(op->pending, err);
    }
    g_clear_pointer(&op->from, g_array_unref);
    g_free(op->name);
    g_free(op->id);
    g_free(op->value);
    g_free(op);
}

static bool op_start(const Op *what, QmpPending *pending)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    Op *op = g_memdup2(what, sizeof(*what));

    op->pending = pending;
    op->name = g_strdup(what->name);
    op->id = g_strdup(what->id);
    g_ptr_array_add(nodes, op->node);
    for (unsigned i = 0; op->from != NULL && i < op->from->len; i++) {
        g_ptr_array_add(nodes, g_array_index(op->from, Source, i).node);
    }
    blk_hold((BlkNode *const *)nodes->pdata, nodes->len, op_held, op);
    return true;
}

/* --- bitmaps --- */

static BlkBitmap *find_in(BlkNode *n, const char *name, bool busy_too, bool broken_too, Error **errp)
{
    BlkBitmap *b = blk_bitmap_find(n, name);

    if (b == NULL) {
        error_set(errp, "Dirty bitmap '%s' not found", name);
        return NULL;
    }
    return blk_bitmap_usable(b, busy_too, broken_too, errp) ? b : NULL;
}

BlkBitmap *qmp_find_bitmap(BlkNode *n, const char *name, Error **errp)
{
    return find_in(n, name, false, false, errp);
}

static bool add_act(Op *op, Error **errp)
{
    BlkBitmap *b = blk_bitmap_add(op->node, op->name, op->granularity, op->persistent, errp);

    if (b != NULL) {
        blk_bitmap_record(b, op->on);
    }
    return b != NULL;
}

static bool remove_act(Op *op, Error **errp)
{
    BlkBitmap *b = find_in(op->node, op->name, false, true, errp);

    if (b != NULL) {
        blk_bitmap_remove(b);
    }
    return b != NULL;
}

static bool clear_act(Op *op, Error **errp)
{
    BlkBitmap *b = find_in(op->node, op->name, false, false, errp);

    if (b != NULL) {
        blk_bitmap_clear(b, 0, UINT64_MAX);
    }
    return b != NULL;
}

static bool record_act(Op *op, Error **errp)
{
    BlkBitmap *b = find_in(op->node, op->name, false, false, errp);

    if (b != NULL) {
        blk_bitmap_record(b, op->on);
    }
    return b != NULL;
}

static bool merge_act(Op *op, Error **errp)
{
    BlkBitmap *b = find_in(op->node, op->name, false, false, errp);

    for (unsigned i = 0; b != NULL && i < op->from->len; i++) {
        const Source *s = &g_array_index(op->from, Source, i);
        const BlkBitmap *from = find_in(s->node, s->name, false, false, errp);

        if (from == NULL || !blk_bitmap_merge(b, from, errp)) {
            return false;
        }
    }
    return b != NULL;
}

/* Checks what can be checked before, so that a mistake changes nothing and waits for nothing. */
static bool bitmap_op(const char *node, Op op, bool broken_too, QmpPending *pending, Error **errp)
{
    op.node = qmp_find_node(node, node, errp);
    return op.node != NULL && find_in(op.node, op.name, false, broken_too, errp) != NULL &&
           op_start(&op, pending);
}

bool qmp_block_dirty_bitmap_add(const BlockDirtyBitmapAdd *args, QmpPending *pending, Error **errp)
{
    Op op = { .act = add_act, .name = args->name, .granularity = args->granularity,
              .persistent = args->persistent, .on = !args->disabled };

    op.node = qmp_find_node(args->node, args->node, errp);
    if (op.node == NULL) {
        return false;
    }
    if (args->has_granularity && args->granularity == 0) {
        return error_set(errp, "Granularity must be at least 512");
    }
    return op_start(&op, pending);
}

bool qmp_block_dirty_bitmap_remove(const BlockDirtyBitmap *args, QmpPending *pending, Error **errp)
{
    return bitmap_op(args->node, (Op){ .act = remove_act, .name = args->name }, true, pending, errp);
}

bool qmp_block_dirty_bitmap_clear(const BlockDirtyBitmap *args, QmpPending *pending, Error **errp)
{
    return bitmap_op(args->node, (Op){ .act = clear_act, .name = args->name }, false, pending, errp);
}

bool qmp_block_dirty_bitmap_enable(const BlockDirtyBitmap *args, QmpPending *pending, Error **errp)
{
    return bitmap_op(args->node, (Op){ .act = record_act, .name = args->name, .on = true }, false, pending,
                     errp);
}

bool qmp_block_dirty_bitmap_disable(const BlockDirtyBitmap *args, QmpPending *pending, Error **errp)
{
    return bitmap_op(args->node, (Op){ .act = record_act, .name = args->name }, false, pending, errp);
}

static bool merge_source(const char *node, const BlockDirtyBitmapOrStr *from, Source *out, Error **errp)
{
    bool local = from->is == BLOCK_DIRTY_BITMAP_OR_STR_LOCAL;
    const char *where = local ? node : from->u.external->node;
    const char *name = local ? from->u.local : from->u.external->name;

    *out = (Source){ .node = qmp_find_node(where, where, errp) };
    if (out->node == NULL || find_in(out->node, name, false, false, errp) == NULL) {
        return false;
    }
    out->name = g_strdup(name);
    return true;
}

bool qmp_block_dirty_bitmap_merge(const BlockDirtyBitmapMerge *args, QmpPending *pending, Error **errp)
{
    g_autoptr(GArray) from = g_array_new(false, false, sizeof(Source));
    Op op = { .act = merge_act, .name = args->target, .from = from };

    g_array_set_clear_func(from, source_clear);
    for (unsigned i = 0; i < args->bitmaps.n; i++) {
        Source s;

        if (!merge_source(args->node, args->bitmaps.at[i], &s, errp)) {
            return false;
        }
        g_array_append_val(from, s);
    }
    if (!bitmap_op(args->node, op, false, pending, errp)) {
        return false;
    }
    g_steal_pointer(&from);    /* the operation's */
    return true;
}

void qmp_tell_bitmaps(const BlkNode *n, BlockDirtyInfoList *out)
{
    for (BlkBitmap *b = blk_bitmap_next(n, NULL); b != NULL; b = blk_bitmap_next(n, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);
        BlockDirtyInfo *d = qapi_new_block_dirty_info();

        d->name = g_strdup(i.name);
        d->count = (int64_t)i.count;
        d->granularity = (uint32_t)i.granularity;
        d->recording = i.recording;
        d->busy = i.busy;
        d->persistent = i.persistent;
        d->has_inconsistent = d->inconsistent = i.inconsistent;
        qapi_append(out, d);
    }
}

/* --- internal snapshots --- */

static void snapshot_fill(SnapshotInfo *i, const BlkSnapshot *s)
{
    i->id = g_strdup(s->id);
    i->name = g_strdup(s->name);
    i->vm_state_size = (int64_t)s->vm_state_size;
    i->date_sec = s->date_sec;
    i->date_nsec = s->date_nsec;
    i->vm_clock_sec = (int64_t)(s->vm_clock_ns / SEC);
    i->vm_clock_nsec = (int64_t)(s->vm_clock_ns % SEC);
    i->has_icount = s->icount != UINT64_MAX;
    i->icount = (int64_t)s->icount;
}

bool qmp_snapshot_internal(BlkNode *n, const char *device, const char *name, Error **errp)
{
    g_autoptr(GArray) list = blk_snapshots(n, errp);
    int64_t now = g_get_real_time();
    BlkSnapshot s = { .name = (char *)name, .date_sec = now / 1000000,
                      .date_nsec = (uint32_t)(now % 1000000 * 1000),
                      .vm_clock_ns = (uint64_t)clock_now(CLOCK_VM), .icount = UINT64_MAX };

    if (list == NULL) {
        return false;
    }
    if (*name == '\0') {
        return error_set(errp, "Name is empty");
    }
    if (blk_snapshot_find(list, NULL, name) >= 0) {
        return error_set(errp, "Snapshot with name '%s' already exists on device '%s'", name, device);
    }
    return blk_snapshot_create(n, &s, errp);
}

static bool create_act(Op *op, Error **errp)
{
    return qmp_snapshot_internal(op->node, op->id, op->name, errp);
}

bool qmp_blockdev_snapshot_internal_sync(const BlockdevSnapshotInternal *args, QmpPending *pending,
                                         Error **errp)
{
    Op op = { .act = create_act, .name = args->name, .id = args->device };

    if (args->name[0] == '\0') {
        return error_set(errp, "Name is empty");
    }
    op.node = qmp_find_node(args->device, args->device, errp);
    return op.node != NULL && op_start(&op, pending);
}

static bool delete_act(Op *op, Error **errp)
{
    g_autoptr(GArray) list = blk_snapshots(op->node, errp);
    g_autoptr(GString) value = g_string_new(NULL);

    if (list == NULL) {
        return false;
    }
    int at = blk_snapshot_find(list, op->id, op->name);
    if (at < 0) {
        return error_set(errp, "Snapshot with id '%s' and name '%s' does not exist on device '%s'",
                         op->id != NULL ? op->id : "null", op->name != NULL ? op->name : "null",
                         blk_name(op->node));
    }
    SnapshotInfo *info = qapi_new_snapshot_info();
    snapshot_fill(info, &g_array_index(list, BlkSnapshot, at));
    qapi_write_snapshot_info(info, value);
    qapi_free_snapshot_info(info);
    op->value = g_strdup(value->str);
    return blk_snapshot_delete(op->node, (unsigned)at, errp);
}

bool qmp_blockdev_snapshot_delete_internal_sync(const char *device, const char *id, const char *name,
                                                QmpPending *pending, Error **errp)
{
    Op op = { .act = delete_act, .name = (char *)name, .id = (char *)id };

    op.node = qmp_find_node(device, device, errp);
    if (op.node == NULL) {
        return false;
    }
    return id != NULL || name != NULL ? op_start(&op, pending)
                                      : error_set(errp, "Name or id must be provided");
}

void qmp_tell_snapshots(BlkNode *n, SnapshotInfoList *out)
{
    g_autoptr(GArray) list = blk_snapshots(n, NULL);

    for (unsigned i = 0; list != NULL && i < list->len; i++) {
        SnapshotInfo *s = qapi_new_snapshot_info();

        snapshot_fill(s, &g_array_index(list, BlkSnapshot, i));
        qapi_append(out, s);
    }
}
