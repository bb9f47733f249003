/* snapshot.c: internal snapshots of a node, whatever its format does for them, see block.h. */
#include <string.h>
#include "block/block-int.h"

void blk_snapshot_clear(BlkSnapshot *s)
{
    g_clear_pointer(&s->id, g_free);
    g_clear_pointer(&s->name, g_free);
}

static void clear_one(void *s)
{
    blk_snapshot_clear(s);
}

GArray *blk_snapshots_new(void)
{
    GArray *a = g_array_new(false, false, sizeof(BlkSnapshot));

    g_array_set_clear_func(a, clear_one);
    return a;
}

static bool has_snapshots(const BlkNode *n, Error **errp)
{
    return n->drv->snapshots ||
           error_set(errp, "Block format '%s' used by node '%s' does not support internal snapshots",
                     n->drv->name, n->name);
}

static bool can_change(const BlkNode *n, Error **errp)
{
    return has_snapshots(n, errp) &&
           (!n->read_only || error_set(errp, "Block node '%s' is read-only", n->name));
}

GArray *blk_snapshots(BlkNode *n, Error **errp)
{
    GArray *out = NULL;

    assert_control();
    return has_snapshots(n, errp) && n->drv->snapshots->list(n, &out, errp) ? out : NULL;
}

int blk_snapshot_find(const GArray *list, const char *id, const char *name)
{
    for (unsigned i = 0; i < list->len; i++) {
        const BlkSnapshot *s = &g_array_index(list, BlkSnapshot, i);

        if ((!id || strcmp(s->id, id) == 0) && (!name || strcmp(s->name, name) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

bool blk_snapshot_create(BlkNode *n, const BlkSnapshot *s, Error **errp)
{
    assert_control();
    if (strlen(s->name) > UINT16_MAX) {
        return error_set(errp, "Node '%s': a snapshot's name has at most %u bytes", n->name, UINT16_MAX);
    }
    return can_change(n, errp) && n->drv->snapshots->create(n, s, errp);
}

bool blk_snapshot_delete(BlkNode *n, unsigned at, Error **errp)
{
    assert_control();
    return can_change(n, errp) && n->drv->snapshots->delete(n, at, errp);
}

bool blk_snapshot_apply(BlkNode *n, unsigned at, Error **errp)
{
    assert_control();
    if (n->bitmaps) {
        return error_set(errp, "Device has active dirty bitmaps");
    }
    return can_change(n, errp) && n->drv->snapshots->apply(n, at, errp);
}

bool blk_snapshot_show(BlkNode *n, unsigned at, Error **errp)
{
    assert_control();
    if (!n->read_only) {
        return error_set(errp, "Block node '%s' is writable", n->name);
    }
    return n->drv->snapshots->show(n, at, errp);
}
