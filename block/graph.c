/* graph.c: changes of the graph under running requests: holding back, replacing, filters, snapshots.
 *
 *   blk_hold(nodes) --requests in flight end, new ones wait--> held() --the change--> blk_release()
 *
 * 1. One change at a time; others wait for their turn in order.  Nothing blocks: all is posts.
 * 2. What is held is the nodes and everything above them, so requests under way from above still reach the
 *    nodes below and end.  A request from outside waits in the hold and starts again where its user is then.
 * 3. Two rounds through the loops: after the first every request has ended, after the second the callbacks
 *    in which they ended have returned. */
#include "block/graph.h"
#include "block/block-int.h"
#include "block/job.h"
#include "block/throttle.h"
#include "util/bytes.h"

struct BlkHold {
    GPtrArray *roots;          /* what was asked for, pinned */
    GPtrArray *nodes;          /* with all above, while this is the active one */
    void (*held)(BlkHold *h, void *arg);
    void *arg;
    Barrier home;
    Post opened;
    unsigned round;
    Lock lock;                 /* guards the three below */
    BlkReq *first, **end;
    bool over;
    BlkHold *next;
    EpochItem epoch;
};

/* Where a held request goes on; in r->engine. */
typedef struct HeldReq {
    Post post;
    BlkNode *node;
} HeldReq;

G_STATIC_ASSERT(sizeof(HeldReq) <= sizeof(((BlkReq *)0)->engine));

static BlkHold *holds;         /* control; the first is active */

/* --- holding back --- */

static HeldReq *held_of(BlkReq *r)
{
    return (HeldReq *)r->engine;
}

static void held_go(Post *p)
{
    HeldReq *held = container_of(p, HeldReq, post);

    blk_submit_held(held->node, (BlkReq *)((char *)held - offsetof(BlkReq, engine)));
}

bool blk_hold_back(BlkNode *n, BlkReq *r)
{
    BlkHold *h = __atomic_load_n(&n->hold, __ATOMIC_ACQUIRE);

    if (!h) {
        return false;
    }
    HeldReq *held = held_of(r);
    held->node = n;
    held->post.run = held_go;
    r->next = NULL;
    lock_take(&h->lock);
    bool over = h->over;
    if (!over) {
        *h->end = r;
        h->end = &r->next;
    }
    lock_drop(&h->lock);
    if (over) {
        loop_post(r->loop, &held->post);
    }
    return true;
}

static void hold_add(BlkHold *h, BlkNode *n)
{
    if (g_ptr_array_find(h->nodes, n, NULL)) {
        return;
    }
    g_ptr_array_add(h->nodes, n);
    for (const BlkUser *u = n->users; u; u = u->next) {
        if (u->parent) {
            hold_add(h, u->parent);
        }
    }
}

static void hold_round(BlkHold *h)
{
    barrier_init(&h->home, loop_control(), &h->opened);
    for (unsigned i = 0; i < h->nodes->len; i++) {
        blk_drain(h->nodes->pdata[i], &h->home);
    }
    barrier_leave(&h->home);
}

static void hold_opened(Post *p)
{
    BlkHold *h = container_of(p, BlkHold, opened);

    if (++h->round < 2) {
        hold_round(h);
        return;
    }
    h->held(h, h->arg);
}

static void hurry(BlkNode *n, bool on)
{
    if (n->drv->hurry) {
        n->drv->hurry(n, on);
    }
}

static void hold_start(BlkHold *h)
{
    throttle_hurry(true);
    for (unsigned i = 0; i < h->roots->len; i++) {
        hold_add(h, h->roots->pdata[i]);
    }
    for (unsigned i = 0; i < h->nodes->len; i++) {
        BlkNode *n = h->nodes->pdata[i];

        /* Under the lock that a new lane takes: it is there to be drained, or sees the hold. */
        lock_take(&n->lanes_lock);
        __atomic_store_n(&n->hold, h, __ATOMIC_RELEASE);
        lock_drop(&n->lanes_lock);
        hurry(n, true);
    }
    hold_round(h);
}

void blk_hold(BlkNode *const *nodes, unsigned count, void (*held)(BlkHold *h, void *arg), void *arg)
{
    BlkHold *h = g_new0(BlkHold, 1), **at = &holds;

    assert_control();
    *h = (BlkHold){ .roots = g_ptr_array_new(), .nodes = g_ptr_array_new(), .held = held, .arg = arg,
                    .opened.run = hold_opened };
    lock_init(&h->lock, RANK_LEAF, "blk-hold");
    h->end = &h->first;
    for (unsigned i = 0; i < count; i++) {
        g_ptr_array_add(h->roots, nodes[i]);
        nodes[i]->pins++;
    }
    while (*at) {
        at = &(*at)->next;
    }
    *at = h;
    if (h == holds) {
        hold_start(h);
    }
}

static void hold_free(EpochItem *item)
{
    BlkHold *h = container_of(item, BlkHold, epoch);

    lock_destroy(&h->lock);
    g_free(h);
}

void blk_release(BlkHold *h)
{
    g_autoptr(GPtrArray) ended = g_ptr_array_new();

    assert_control();
    for (unsigned i = 0; i < h->roots->len; i++) {
        if (blk_unpin(h->roots->pdata[i])) {
            g_ptr_array_add(ended, h->roots->pdata[i]);
        }
    }
    for (unsigned i = 0; i < h->nodes->len; i++) {
        blk_lanes_drop(h->nodes->pdata[i], NULL);      /* they know the old children */
    }
    for (unsigned i = 0; i < h->nodes->len; i++) {
        BlkNode *n = h->nodes->pdata[i];

        hurry(n, false);
        lock_take(&n->lanes_lock);
        __atomic_store_n(&n->hold, NULL, __ATOMIC_RELEASE);
        lock_drop(&n->lanes_lock);
    }
    throttle_hurry(false);
    lock_take(&h->lock);
    h->over = true;
    BlkReq *r = h->first;
    lock_drop(&h->lock);
    while (r) {
        BlkReq *next = r->next;

        loop_post(r->loop, &held_of(r)->post);
        r = next;
    }
    g_ptr_array_unref(h->roots);
    g_ptr_array_unref(h->nodes);
    holds = h->next;
    epoch_defer(&h->epoch, hold_free);
    for (unsigned i = 0; i < ended->len; i++) {
        blk_close_unused(ended->pdata[i]);
    }
    if (holds) {
        hold_start(holds);
    }
}

void blk_hold_forget(BlkNode *n)
{
    if (holds) {
        g_ptr_array_remove(holds->nodes, n);
    }
}

/* --- changes, while held --- */

void blk_close_unused(BlkNode *n)
{
    if (n->kept || n->users) {
        return;
    }
    if (n->pins) {
        n->ends = true;        /* when nobody waits for it any more */
    } else {
        blk_close(n, NULL);
    }
}

bool blk_unpin(BlkNode *n)
{
    return --n->pins == 0 && n->ends;
}

BlkNode *blk_open_unkept(const BlkOptions *o, Error **errp)
{
    return blk_open_inner(o, errp);
}

/* Moves the users of @from (those of node @only, if given; never @above itself) to @to. */
static bool move_users(BlkNode *from, BlkNode *to, const BlkNode *above, const BlkNode *only, Error **errp)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();
    bool ok = blk_users_take(from, above, only, users, errp);

    if (ok && !blk_users_give(users, to, errp)) {
        blk_users_give(users, from, NULL);     /* they were there before */
        ok = false;
    }
    blk_users_settle(from);
    return ok;
}

bool blk_replace(BlkNode *from, BlkNode *to, Error **errp)
{
    assert_control();
    return move_users(from, to, to, NULL, errp);
}

bool blk_insert_filter(BlkNode *filter, Error **errp)
{
    assert_control();
    return move_users(filter->child, filter, filter, NULL, errp);
}

bool blk_lift_filter(BlkNode *filter, Error **errp)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();
    g_autoptr(GPtrArray) own = g_ptr_array_new();
    BlkNode *child = filter->child;

    assert_control();
    if (!blk_users_take(filter, NULL, NULL, users, errp)) {
        return false;
    }
    bool ok = blk_users_take(child, NULL, filter, own, errp) && blk_users_give(users, child, errp);
    if (ok) {
        filter->child_use.need = 0;
        filter->child_use.share = BLK_PERM_ALL;
    } else {
        blk_users_give(users, filter, NULL);
    }
    blk_users_give(own, child, NULL);
    blk_users_settle(filter);
    blk_users_settle(child);
    return ok;
}

void blk_remove_filter(BlkNode *filter)
{
    /* What the users may do above they may do below: the filter's own use stood for them. */
    bool ok = blk_lift_filter(filter, NULL);

    g_assert(ok);
}

bool blk_set_backing(BlkNode *n, BlkNode *backing, Error **errp)
{
    BlkNode *old = n->backing;

    assert_control();
    int ret = old && !n->read_only && n->drv->flush_meta ? n->drv->flush_meta(n, true) : 0;
    if (ret < 0 && errp) {     /* something is still to be copied from there; who undoes a change goes on */
        return error_set_errno(errp, -ret, "Could not write '%s' out", n->name);
    }
    if (!backing) {
        blk_unlink(&n->backing_use);
        return true;
    }
    if (!old) {
        return blk_link(n, &n->backing_use, backing, 0, BLK_PERM_ALL, errp);
    }
    if (!move_users(old, backing, NULL, n, errp)) {
        return false;
    }
    blk_close_unused(old);
    return true;
}

static const BlkNode *without_filters(const BlkNode *n)
{
    while (n->drv->filter && n->child) {
        n = n->child;
    }
    return n;
}

bool blk_may_set_file(const BlkNode *n, BlkNode *file, Error **errp)
{
    assert_control();
    if (!n->child) {
        return error_set(errp, "Block driver '%s' has no option 'file'", n->drv->name);
    }
    return n->drv->filter || n->drv == &blk_raw || without_filters(n->child) == without_filters(file) ||
           error_set(errp, "Cannot change the option 'file': node '%s' is an image, and '%s' another file",
                     n->name, file->name);
}

/* @u is the one user of its node, which is or stands on filters above @file: the filters' use stands for
 * its. */
static bool move_down(BlkUser *u, BlkNode *file, Error **errp)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();
    g_autoptr(GPtrArray) own = g_ptr_array_new();
    BlkNode *old = u->node, *last = old;

    while (last->child != file) {
        last = last->child;
    }
    bool ok = blk_user_take(u, users, errp);
    if (ok) {
        ok = blk_users_take(file, NULL, last, own, errp) && blk_users_give(users, file, errp);
        if (ok) {
            last->child_use.need = 0;
            last->child_use.share = BLK_PERM_ALL;
        }
        blk_users_give(own, file, NULL);
        if (!ok) {
            blk_users_give(users, old, NULL);
        }
    }
    blk_users_settle(old);
    blk_users_settle(file);
    return ok;
}

static bool filters_above(const BlkNode *n, const BlkNode *file)
{
    while (n && n != file && n->drv->filter) {
        n = n->child;
    }
    return n == file;
}

bool blk_move_user(BlkUser *u, BlkNode *to, Error **errp)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();
    BlkNode *from = u->node;

    assert_control();
    if (from->users == u && !u->next && filters_above(from, to)) {
        return move_down(u, to, errp);
    }
    bool ok = blk_user_take(u, users, errp);
    if (ok && !blk_users_give(users, to, errp)) {
        blk_users_give(users, from, NULL);
        ok = false;
    }
    blk_users_settle(from);
    return ok;
}

bool blk_set_file(BlkNode *n, BlkNode *file, Error **errp)
{
    assert_control();
    if (file->read_only && !n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", file->name);
    }
    if (!blk_move_user(&n->child_use, file, errp)) {
        return false;
    }
    if (n->drv->child_resized) {
        n->drv->child_resized(n);
    }
    return true;
}

void blk_keep(BlkNode *n)
{
    assert_control();
    n->kept = true;
}

bool blk_snapshot(BlkNode *n, BlkNode *overlay, Error **errp)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();

    assert_control();
    if (!job_node_free(n, errp) || !blk_users_take(n, overlay, NULL, users, errp)) {
        return false;
    }
    bool ok = blk_set_backing(overlay, n, errp);
    if (ok && !blk_users_give(users, overlay, errp)) {
        ok = false;
        blk_set_backing(overlay, NULL, NULL);
    }
    if (!ok) {
        blk_users_give(users, n, NULL);
    } else {
        blk_move_drive(n, overlay);
    }
    blk_users_settle(n);
    if (ok) {
        blk_set_read_only(n, true, NULL);      /* one that cannot be is still written by somebody */
    }
    return ok;
}

void blk_snapshot_undo(BlkNode *n, BlkNode *overlay, bool read_only)
{
    g_autoptr(GPtrArray) users = g_ptr_array_new();

    assert_control();
    blk_move_drive(overlay, n);
    blk_set_read_only(n, read_only, NULL);
    if (blk_users_take(overlay, NULL, NULL, users, NULL)) {
        blk_set_backing(overlay, NULL, NULL);
        blk_users_give(users, n, NULL);
    }
    blk_users_settle(overlay);
}

bool blk_set_backing_file(BlkNode *n, const char *file, const char *format, Error **errp)
{
    assert_control();
    if (!n->drv->set_backing_file) {
        return error_set(errp, "Node '%s' does not support backing files", n->name);
    }
    if (n->read_only) {
        return error_set(errp, "Block node '%s' is read-only", n->name);
    }
    return n->drv->set_backing_file(n, file, format, errp);
}

const char *blk_backing_file(const BlkNode *n)
{
    return n->drv->backing_file ? n->drv->backing_file(n) : NULL;
}

bool blk_reopen_read_only(BlkNode *n, bool read_only, Error **errp)
{
    assert_control();
    return blk_set_read_only(n, read_only, errp);
}

bool blk_is_above(const BlkNode *n, const BlkNode *below)
{
    return n && (n == below || blk_is_above(n->child, below) || blk_is_above(n->backing, below));
}

BlkNode *blk_behind(BlkNode *n)
{
    while (n && n->drv->filter) {
        n = n->child;
    }
    return n ? n->backing : NULL;
}

BlkNode *blk_overlay_of(const BlkNode *n)
{
    for (const BlkUser *u = n->users; u; u = u->next) {
        if (u->parent && u == &u->parent->backing_use) {
            return u->parent;
        }
    }
    return NULL;
}

/* --- write threshold --- */

static BlkThresholdListener *threshold_listener;       /* set once at start */

void blk_set_threshold_listener(BlkThresholdListener *l)
{
    assert_control();
    threshold_listener = l;
}

void blk_set_threshold(BlkNode *n, uint64_t bytes)
{
    assert_control();
    __atomic_store_n(&n->threshold, bytes, __ATOMIC_RELAXED);
}

uint64_t blk_threshold(const BlkNode *n)
{
    return __atomic_load_n(&n->threshold, __ATOMIC_RELAXED);
}

void blk_threshold_hit(BlkNode *n, uint64_t end)
{
    uint64_t threshold = blk_threshold(n);

    if (threshold && end > threshold &&
        __atomic_compare_exchange_n(&n->threshold, &threshold, 0, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED) &&
        threshold_listener) {
        threshold_listener(n, threshold, end - threshold);
    }
}
