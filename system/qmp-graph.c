/* qmp-graph.c: QMP commands that change the graph of block nodes while it is used. */
#include "system/qmp-graph.h"

#include <string.h>
#include "block/front.h"
#include "block/graph.h"
#include "block/throttle.h"
#include "qapi/commands.h"
#include "qapi/events.h"
#include "system/blockdev.h"
#include "system/qmp-change.h"

/* --- finding --- */

BlkNode *qmp_find_node(const char *device, const char *node_name, Error **errp)
{
    BlkFront *f = device != NULL ? blk_front_of_drive(device) : NULL;
    BlkNode *n = f != NULL ? f->node : device != NULL ? blk_find_medium(device) : NULL;

    if (n == NULL && node_name != NULL) {
        n = blk_find(node_name);
    }
    if (n == NULL) {
        error_set(errp, "Cannot find device='%s' nor node-name='%s'", device != NULL ? device : "",
                  node_name != NULL ? node_name : "");
    }
    return n;
}

static bool free_of_overlay(const BlkNode *n, Error **errp)
{
    const BlkNode *over = blk_overlay_of(n);

    return over == NULL || error_set(errp, "Node '%s' is busy: node is used as backing hd of '%s'",
                                     blk_name(n), blk_name(over));
}

/* --- snapshots --- */

static bool snapshot_act(Step *s, Error **errp)
{
    if (!free_of_overlay(s->node, errp)) {
        return false;
    }
    if (blk_child(s->other, 1) != NULL) {
        return error_set(errp, "The overlay already has a backing image");
    }
    s->read_only = blk_read_only(s->node);
    return blk_snapshot(s->node, s->other, errp);
}

static void snapshot_undo(Step *s)
{
    blk_snapshot_undo(s->node, s->other, s->read_only);
}

bool change_add_snapshot(Change *c, const BlockdevSnapshot *args, Error **errp)
{
    BlkNode *n = qmp_find_node(args->node, args->node, errp);
    BlkNode *overlay = n != NULL ? qmp_find_node(args->overlay, args->overlay, errp) : NULL;

    if (overlay == NULL) {
        return false;
    }
    if (blk_is_above(n, overlay)) {
        return error_set(errp, "Making '%s' a backing child of '%s' would create a cycle", blk_name(n),
                         blk_name(overlay));
    }
    if (blk_read_only(overlay)) {
        return error_set(errp, "The overlay is read-only");
    }
    change_step(c, snapshot_act, n, overlay)->undo = snapshot_undo;
    return true;
}

bool change_add_snapshot_sync(Change *c, const BlockdevSnapshotSync *args, Error **errp)
{
    BlkNode *n = qmp_find_node(args->device, args->node_name, errp);

    if (n == NULL) {
        return false;
    }
    if (args->node_name != NULL && args->snapshot_node_name == NULL) {
        return error_set(errp, "New overlay node-name missing");
    }
    BlkCreate create = { .driver = args->format, .filename = args->snapshot_file, .size = blk_size(n),
                         .backing_file = blk_filename(n), .backing_fmt = blk_driver_name(n) };
    if (args->mode != NEW_IMAGE_MODE_EXISTING && !blk_create(&create, errp)) {
        return false;
    }
    BlkOptions file = { .driver = "file", .filename = args->snapshot_file };
    BlkOptions o = { .driver = args->format, .node_name = args->snapshot_node_name, .child = &file,
                     .backing_none = true, .cache_direct = blk_cache_direct(n),
                     .cache_no_flush = blk_cache_no_flush(n) };
    BlkNode *overlay = blk_open_unkept(&o, errp);
    if (overlay == NULL) {
        return false;
    }
    Step *s = change_step(c, snapshot_act, n, overlay);
    s->undo = snapshot_undo;
    s->made = true;
    return true;
}

bool qmp_blockdev_snapshot(const BlockdevSnapshot *args, QmpPending *pending, Error **errp)
{
    Change *c = change_new(pending);

    return change_prepared(c, change_add_snapshot(c, args, errp));
}

bool qmp_blockdev_snapshot_sync(const BlockdevSnapshotSync *args, QmpPending *pending, Error **errp)
{
    Change *c = change_new(pending);

    return change_prepared(c, change_add_snapshot_sync(c, args, errp));
}

/* --- reopening --- */

/* Puts a throttle node into the group that @s names, which names the old one then. */
static bool swap_group(Step *s, Error **errp)
{
    char *old = g_strdup(blk_throttle_group(s->node));

    if (!blk_throttle_regroup(s->node, s->text, errp)) {
        g_free(old);
        return false;
    }
    g_free(s->text);
    s->text = old;
    return true;
}

static bool reopen_act(Step *s, Error **errp)
{
    bool was = blk_read_only(s->node);

    if (!blk_reopen_read_only(s->node, s->read_only, errp)) {
        return false;
    }
    s->read_only = was;
    if ((s->change_backing && s->old != s->other && !blk_set_backing(s->node, s->other, errp)) ||
        (s->file != NULL && !blk_set_file(s->node, s->file, errp))) {
        blk_reopen_read_only(s->node, was, NULL);
        return false;
    }
    return s->text == NULL || swap_group(s, errp);
}

static void reopen_undo(Step *s)
{
    blk_reopen_read_only(s->node, s->read_only, NULL);
    if (s->change_backing && s->old != s->other) {
        blk_set_backing(s->node, s->old, NULL);
    }
    if (s->file != NULL) {
        blk_set_file(s->node, s->old_file, NULL);
    }
    if (s->text != NULL) {
        swap_group(s, NULL);
    }
}

/* *@out: the node that @ref puts below @n, or NULL: it is there already. */
static bool new_file(const BlkNode *n, const BlockdevRef *ref, BlkNode **out, Error **errp)
{
    if (ref == NULL || ref->is == BLOCKDEV_REF_DEFINITION) {
        return ref == NULL || error_set(errp, "Cannot change the option 'file': name the node");
    }
    BlkNode *to = blk_find(ref->u.reference);
    if (to == NULL) {
        return error_set(errp, "Cannot find device='' nor node-name='%s'", ref->u.reference);
    }
    if (to == blk_child(n, 0)) {
        return true;
    }
    if (blk_is_above(to, n)) {
        return error_set(errp, "Making '%s' a file child of '%s' would create a cycle", blk_name(to),
                         blk_name(n));
    }
    *out = to;
    return blk_may_set_file(n, to, errp);
}

static bool add_reopen(Change *c, const BlockdevConfig *o, Error **errp)
{
    const BlockdevRefOrNull *backing = NULL;
    BlkNode *below = NULL;

    if (o->node_name == NULL) {
        return error_set(errp, "node-name not specified");
    }
    BlkNode *n = blk_find(o->node_name);
    if (n == NULL) {
        return error_set(errp, "Failed to find node with node-name='%s'", o->node_name);
    }
    if (o->driver == BLOCKDEV_CONFIG_DRIVER_QCOW2) {
        backing = o->u.qcow2.backing;
    }
    if (!new_file(n, blockdev_file(o), &below, errp)) {
        return false;
    }
    if (strcmp(blk_driver_name(n), blockdev_config_driver_name(o->driver)) != 0) {
        return error_set(errp, "Cannot change the option 'driver'");
    }
    if (o->cache != NULL && o->cache->direct != blk_cache_direct(n)) {
        return error_set(errp, "Cannot change the option 'cache.direct'");
    }
    Step *s = change_step(c, reopen_act, n, NULL);
    s->undo = reopen_undo;
    s->read_only = o->read_only;
    s->change_backing = backing != NULL;
    s->old = blk_child(n, 1);
    s->file = below;
    s->old_file = below != NULL ? blk_child(n, 0) : NULL;
    if (o->driver == BLOCKDEV_CONFIG_DRIVER_THROTTLE) {
        s->text = g_strdup(o->u.throttle.throttle_group);
    }
    if (backing != NULL && backing->is == BLOCKDEV_REF_OR_NULL_DEFINITION) {
        return error_set(errp, "Cannot change the option 'backing' to a new node: name one");
    }
    if (backing != NULL && backing->is == BLOCKDEV_REF_OR_NULL_REFERENCE) {
        s->other = blk_find(backing->u.reference);
        if (s->other == NULL) {
            return error_set(errp, "Cannot find device='' nor node-name='%s'", backing->u.reference);
        }
        if (blk_is_above(s->other, n)) {
            return error_set(errp, "Making '%s' a backing child of '%s' would create a cycle",
                             blk_name(s->other), blk_name(n));
        }
    }
    return true;
}

bool qmp_blockdev_reopen(const BlockdevConfigList *options, QmpPending *pending, Error **errp)
{
    Change *c = change_new(pending);
    bool ok = true;

    for (unsigned i = 0; ok && i < options->n; i++) {
        ok = add_reopen(c, options->at[i], errp);
    }
    return change_prepared(c, ok);
}

/* --- a device's node --- */

static bool drive_act(Step *s, Error **errp)
{
    const BlkFront *f = blk_front_find(s->text);
    BlkUser *u = f != NULL ? blk_front_user(f) : NULL;

    if (u == NULL || u->node != s->node) {
        return error_set(errp, "Device '%s' has got another node meanwhile", s->text);
    }
    if (!blk_move_user(u, s->other, errp)) {
        return false;
    }
    if (blk_is_drive(s->node)) {
        blk_move_drive(s->node, s->other);
        blk_keep(s->node);
    }
    if (blk_size(s->node) != blk_size(s->other) && u->resized != NULL) {
        u->resized(u);
    }
    return true;
}

static void drive_settle(Step *s)
{
    blk_close_unused(s->node);
}

bool qmp_set_drive(const BlkFront *f, const char *name, QmpPending *pending, Error **errp)
{
    const BlkUser *u = blk_front_user(f);
    BlkNode *to = qmp_find_node(NULL, name, errp);

    if (to == NULL) {
        return false;
    }
    if (u == NULL) {
        return error_set(errp, "Device '%s' has no medium", f->qdev);
    }
    if (to == u->node) {
        qmp_pending_done(pending, NULL);
        return true;
    }
    Change *c = change_new(pending);
    Step *s = change_step(c, drive_act, u->node, to);
    s->text = g_strdup(f->qdev);
    s->settle = blk_is_gone(u->node) ? drive_settle : NULL;
    return change_go(c);
}

/* --- the rest --- */

static bool rename_act(Step *s, Error **errp)
{
    bool was_read_only = blk_read_only(s->node);
    const char *format = s->other != NULL ? blk_driver_name(s->other) : NULL;

    if (was_read_only && !blk_reopen_read_only(s->node, false, errp)) {
        return false;
    }
    bool ok = blk_set_backing_file(s->node, s->text, format, errp);
    if (was_read_only) {
        blk_reopen_read_only(s->node, true, NULL);
    }
    return ok;
}

bool qmp_change_backing_file(const char *device, const char *image_node_name, const char *backing_file,
                             QmpPending *pending, Error **errp)
{
    BlkNode *top = qmp_find_node(device, device, errp);
    BlkNode *n = top != NULL ? qmp_find_node(NULL, image_node_name, errp) : NULL;

    if (n == NULL) {
        return false;
    }
    if (!blk_is_above(top, n)) {
        return error_set(errp, "'%s' and image file are not in the same chain", device);
    }
    if (blk_child(n, 1) == NULL && blk_backing_file(n) == NULL) {
        return error_set(errp, "not allowing backing file change on an image without a backing file");
    }
    Change *c = change_new(pending);
    change_step(c, rename_act, n, blk_child(n, 1))->text = g_strdup(backing_file);
    return change_go(c);
}

static void on_threshold(const BlkNode *n, uint64_t threshold, uint64_t exceeded)
{
    qmp_event_block_write_threshold(blk_name(n), exceeded, threshold);
}

bool qmp_block_set_write_threshold(const char *node_name, uint64_t write_threshold, Error **errp)
{
    BlkNode *n = blk_find(node_name);

    if (n == NULL) {
        return error_set(errp, "Device '%s' not found", node_name);
    }
    blk_set_threshold_listener(on_threshold);
    blk_set_threshold(n, write_threshold);
    return true;
}
