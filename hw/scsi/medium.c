/* medium.c: media and trays, see medium.h. */
#include "hw/scsi/medium.h"
#include "block/graph.h"

#include "core/machine.h"
#include "util/bytes.h"
#include "util/trace.h"

static Medium *medium_of(const BlkFront *f)
{
    return container_of((BlkFront *)f, Medium, front);
}

/* --- the node --- */

static void moved(Medium *m, unsigned which)
{
    lock_take(&m->lock);
    if (which == m->current && m->node != NULL) {
        m->node = m->users[which].node;
        __atomic_store_n(&m->front.node, m->node, __ATOMIC_RELEASE);
    }
    lock_drop(&m->lock);
}

static void resized(Medium *m, unsigned which)
{
    lock_take(&m->lock);
    bool is = which == m->current && m->node != NULL;
    if (is) {
        m->size = blk_size(m->node);
    }
    lock_drop(&m->lock);
    if (is && m->ops->resized != NULL) {
        m->ops->resized(m);
    }
}

static void moved_0(BlkUser *u)
{
    moved(container_of(u, Medium, users[0]), 0);
}

static void moved_1(BlkUser *u)
{
    moved(container_of(u, Medium, users[1]), 1);
}

static void resized_0(BlkUser *u)
{
    resized(container_of(u, Medium, users[0]), 0);
}

static void resized_1(BlkUser *u)
{
    resized(container_of(u, Medium, users[1]), 1);
}

static bool attach(Medium *m, BlkNode *n, unsigned which, Error **errp)
{
    bool write = m->write && !(m->no_tray && blk_read_only(n));
    unsigned need = BLK_PERM_READ | (write ? BLK_PERM_WRITE : 0);
    unsigned share = BLK_PERM_READ | BLK_PERM_RESIZE | (m->share_rw ? BLK_PERM_WRITE : 0);
    g_autofree char *who = g_strdup_printf("device '%s'", m->dev->id);

    m->users[which].moved = which ? moved_1 : moved_0;
    m->users[which].front = &m->front;
    m->users[which].resized = which ? resized_1 : resized_0;
    m->held[which] = blk_attach(n, &m->users[which], who, need, share, errp);
    return m->held[which];
}

static void set_node(Medium *m, BlkNode *n)
{
    m->node = n;
    m->size = n != NULL ? blk_size(n) : 0;
    __atomic_store_n(&m->front.node, n, __ATOMIC_RELEASE);
}

/* The medium that was taken out has no claim any more: done() of its last request has returned. */
static void detach_old(Medium *m, unsigned which)
{
    lock_take(&m->lock);
    bool over = m->held[which] && which != m->current && m->in_use[which] == 0;
    lock_drop(&m->lock);
    if (over) {
        blk_detach(&m->users[which]);
        m->held[which] = false;
    }
}

static void tell_inserted(Medium *m)
{
    if (m->ops->inserted != NULL) {
        m->ops->inserted(m);
    }
}

static bool change(Medium *m, BlkNode *n, Error **errp)
{
    assert_control();
    lock_take(&m->lock);
    unsigned other = !m->current;
    bool closed = !m->tray.open;
    bool full = m->node != NULL;
    lock_drop(&m->lock);
    if (closed && full && n != NULL && !m->no_tray) {
        return error_set(errp, "Tray of device '%s' is not open", m->dev->id);
    }
    detach_old(m, other);
    if (m->held[other]) {
        return error_set(errp, "The last medium of device '%s' is still in use", m->dev->id);
    }
    if (n != NULL && !attach(m, n, other, errp)) {
        return false;
    }
    lock_take(&m->lock);
    m->current = other;
    set_node(m, n);
    if (closed) {
        m->tray.attention = m->tray.changed = n != NULL;
    }
    lock_drop(&m->lock);
    detach_old(m, !other);
    if (closed) {
        tell_inserted(m);
    }
    return true;
}

/* --- claims --- */

bool medium_claim(Medium *m, unsigned *which)
{
    lock_take(&m->lock);
    bool there = m->node != NULL && !m->tray.open;
    *which = m->current;
    m->in_use[m->current] += there;
    lock_drop(&m->lock);
    return there;
}

static void release_later(Device *d, uintptr_t arg)
{
    Medium *m = (Medium *)arg;

    detach_old(m, !m->current);
}

void medium_release(Medium *m, unsigned which)
{
    lock_take(&m->lock);
    bool last = --m->in_use[which] == 0 && which != m->current;
    lock_drop(&m->lock);
    if (last) {
        machine_defer(m->dev, release_later, (uintptr_t)m);
    }
}

uint64_t medium_size(Medium *m)
{
    lock_take(&m->lock);
    uint64_t size = m->tray.open ? 0 : m->size;
    lock_drop(&m->lock);
    return size;
}

bool medium_is_out(Medium *m)
{
    lock_take(&m->lock);
    bool is = m->tray.open;
    lock_drop(&m->lock);
    return is;
}

bool medium_is_locked(Medium *m)
{
    lock_take(&m->lock);
    bool is = m->tray.locked;
    lock_drop(&m->lock);
    return is;
}

bool medium_is_read_only(Medium *m, unsigned which)
{
    return blk_read_only(m->users[which].node);
}

bool medium_take_attention(Medium *m)
{
    lock_take(&m->lock);
    bool is = m->tray.attention && m->node != NULL && !m->tray.open;
    if (is) {
        m->tray.attention = false;
    }
    lock_drop(&m->lock);
    return is;
}

MmcResult medium_command(Medium *m, uint8_t interface, const uint8_t *cdb, MmcAnswer *a)
{
    MmcDrive d = { .tray = &m->tray, .interface = interface };

    lock_take(&m->lock);
    d.medium = m->node != NULL;
    d.blocks = (uint32_t)MIN(m->size / CD_SECTOR, UINT32_MAX);
    bool out = m->tray.open;
    MmcResult r = MMC_REFUSED;
    if (mmc_needs_medium(cdb[0]) && (out || d.blocks == 0)) {
        a->sense = out ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM;
    } else {
        r = mmc_run(&d, cdb, a);
    }
    bool open = m->tray.open;
    lock_drop(&m->lock);
    if (a->moved) {
        TRACE(medium_tray, "id=%s open=%d", m->dev->id, open);
        blk_front_tray_moved(&m->front, open);
    }
    return r;
}

void medium_reset(Medium *m, bool keep_open)
{
    lock_take(&m->lock);
    m->tray = (MmcTray){ .open = m->tray.open && keep_open };
    lock_drop(&m->lock);
}

/* --- the tray, for the control plane --- */

static bool tray_open(BlkFront *f, bool force, Error **errp)
{
    Medium *m = medium_of(f);
    bool was, open;

    assert_control();
    lock_take(&m->lock);
    was = m->tray.open;
    open = was || force || !m->tray.locked;
    m->tray.open = open;
    m->tray.eject_wanted = !open;
    lock_drop(&m->lock);
    if (open && !was) {
        blk_front_tray_moved(f, true);
    }
    if (open) {
        return true;
    }
    return error_set(errp, "Device '%s' is locked and force was not specified, wait for tray to open and try "
                     "again", m->dev->id);
}

static void tray_close(BlkFront *f)
{
    Medium *m = medium_of(f);

    assert_control();
    lock_take(&m->lock);
    bool was = m->tray.open;
    if (was) {
        m->tray.open = false;
        m->tray.attention = m->tray.changed = m->node != NULL;
    }
    lock_drop(&m->lock);
    if (was) {
        blk_front_tray_moved(f, false);
        tell_inserted(m);
    }
}

static bool tray_is_open(const BlkFront *f)
{
    return medium_is_out(medium_of(f));
}

static bool tray_is_locked(const BlkFront *f)
{
    return medium_is_locked(medium_of(f));
}

static bool tray_change(BlkFront *f, BlkNode *n, Error **errp)
{
    return change(medium_of(f), n, errp);
}

static const BlkTrayOps tray_ops = {
    .open = tray_open, .close = tray_close, .is_open = tray_is_open, .is_locked = tray_is_locked,
    .change = tray_change,
};

static bool no_tray_open(BlkFront *f, bool force, Error **errp)
{
    return true;
}

static void no_tray_close(BlkFront *f)
{
}

static const BlkTrayOps slot_ops = {
    .open = no_tray_open, .close = no_tray_close, .change = tray_change, .writes = true,
};

/* --- life --- */

bool medium_open(Medium *m, BlkNode *n, bool removable, const MediumOps *ops, Error **errp)
{
    Device *d = m->dev;
    bool has_id = d->parent == d->machine->peripheral, empty = n != NULL && removable && blk_is_empty(n);

    assert_control();
    lock_init(&m->lock, RANK_LEAF, "medium");
    m->ops = ops;
    m->current = 0;
    if (n != NULL && !empty && !attach(m, n, 0, errp)) {
        return false;
    }
    set_node(m, empty ? NULL : n);
    m->front.removable = removable;
    m->front.tray = !removable ? NULL : m->no_tray ? &slot_ops : &tray_ops;
    blk_front_open(&m->front, n, has_id ? d->id : NULL, has_id ? g_strdup(d->id) : device_path(d));
    if (empty) {
        blk_close(n, NULL);
    }
    return true;
}

void medium_close(Medium *m)
{
    blk_front_close(&m->front);
    for (unsigned i = 0; i < ARRAY_LEN(m->users); i++) {
        blk_detach(&m->users[i]);
        m->held[i] = false;
    }
    m->node = NULL;
    m->size = 0;
    lock_destroy(&m->lock);
}
