/* drive-del.c: a drive, or a block node, ends at a user's word (drive_del), also one that a device has. */
#include "system/drives.h"

#include <string.h>
#include "block/front.h"
#include "block/graph.h"
#include "block/job.h"
#include "system/qmp-change.h"

/* The medium of device @s->text goes: from a tray, or what is in its place fails each request. */
static bool lose_act(Step *s, Error **errp)
{
    BlkFront *f = blk_front_find(s->text);
    BlkUser *u = f != NULL ? blk_front_user(f) : NULL;

    if (u == NULL || u->node != s->node) {
        return error_set(errp, "Device '%s' has got another node meanwhile", s->text);
    }
    if (!(f->tray != NULL ? f->tray->change(f, NULL, errp) : blk_move_user(u, s->other, errp))) {
        return false;
    }
    blk_front_lose_drive(f);
    return true;
}

static void lose_settle(Step *s)
{
    blk_lose_drive(s->node);
}

static bool take_from(BlkFront *f, QmpPending *pending, Error **errp)
{
    BlkNode *gone = f->tray == NULL ? blk_open_gone(f->node, errp) : NULL;

    if (f->tray == NULL && gone == NULL) {
        return false;
    }
    Change *c = change_new(pending);
    Step *s = change_step(c, lose_act, f->node, gone);
    s->settle = lose_settle;
    s->text = g_strdup(f->qdev);
    s->made = gone != NULL;
    return change_go(c);
}

static bool is_device(const BlkNode *n)
{
    for (BlkFront *f = blk_front_next(NULL); f != NULL; f = blk_front_next(f)) {
        if (f->node == n) {
            return true;
        }
    }
    return false;
}

static bool end_node(BlkNode *n, Error **errp)
{
    if (blk_is_drive(n) || is_device(n)) {
        return error_set(errp, "Node %s is in use", blk_name(n));
    }
    return blk_close(n, NULL) || error_set(errp, "Block device %s is in use", blk_name(n));
}

bool drives_hot_del(const char *id, QmpPending *pending, Error **errp)
{
    BlkFront *f = *id != '\0' ? blk_front_of_drive(id) : NULL;
    BlkNode *drive = f != NULL ? f->node : blk_find_drive(id), *n = drive != NULL ? drive : blk_find(id);
    bool ok = true;

    if (f == NULL && n == NULL) {
        return error_set(errp, "Device '%s' not found", id);
    }
    if (drive != NULL && !job_node_free(drive, errp)) {
        return false;
    }
    if (f != NULL && drive != NULL) {
        return take_from(f, pending, errp);
    }
    if (f != NULL) {
        blk_front_lose_drive(f);
    } else {
        ok = drive != NULL ? blk_close(drive, errp) : end_node(n, errp);
    }
    if (ok) {
        qmp_pending_done(pending, NULL);
    }
    return ok;
}
