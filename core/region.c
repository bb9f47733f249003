/* region.c: the graph of regions and its edits.
 *
 * 1. Everything about a region's place is guarded by map_lock; what region_io() and the like set is
 *    constant while the region is in a box.
 * 2. An edit marks the spaces that can see the region, going up through boxes and windows; a commit
 *    renders only those.  Doorbells have their own leaf lock, because region_doorbell() may be
 *    called
 *    inside and outside an edit.
 * 3. Children of a box are in descending priority; of equals, the one put last is on top. */
#include "core/region.h"

#include "core/device-int.h"
#include "core/map-int.h"
#include "util/thread.h"

/* Deeper nesting than this is a loop of windows. */
#define MAX_DEPTH 64

Lock map_lock = LOCK_INIT(RANK_MAP, "map");
Lock bells_lock = LOCK_INIT(RANK_LEAF, "doorbells");

static Space *spaces;          /* guarded by map_lock */
static unsigned held;          /* map_hold() depth; guarded by map_lock */
static bool bells_changed;     /* atomic */

/* --- making --- */

static void region_make(Region *r, Device *d, const char *name, RegionKind kind, uint64_t size)
{
    assert_control();
    *r = (Region){ .name = name, .dev = d, .arg = d, .kind = kind, .size = size };
    if (d) {
        r->dev_next = d->region_first;
        d->region_first = r;
    }
}

void region_io(Region *r, Device *d, const char *name, const RegionOps *ops, uint64_t size)
{
    region_io_arg(r, d, name, ops, d, size);
}

void region_io_arg(Region *r, Device *d, const char *name, const RegionOps *ops, void *arg,
                   uint64_t size)
{
    region_make(r, d, name, REGION_IO, size);
    r->ops = ops;
    r->arg = arg;
}

void region_ram(Region *r, Device *d, const char *name, RamBlock *ram, uint64_t at, uint64_t size)
{
    region_make(r, d, name, REGION_RAM, size);
    r->ram = ram;
    r->ram_at = at;
    r->readonly = ram->readonly;
}

void region_rom(Region *r, Device *d, const char *name, RamBlock *ram, uint64_t at, uint64_t size)
{
    region_ram(r, d, name, ram, at, size);
    r->readonly = true;
}

void region_romd(Region *r, Device *d, const char *name, RamBlock *ram, const RegionOps *ops)
{
    region_make(r, d, name, REGION_ROMD, ram->size);
    r->ram = ram;
    r->ops = ops;
}

void region_box(Region *r, Device *d, const char *name, uint64_t size)
{
    region_make(r, d, name, REGION_BOX, size);
}

static void show_locked(Region *window, Region *to) LOCK_HELD(map_lock)
{
    if (window->target) {
        Region **p = &window->target->shown_in;

        while (*p && *p != window) {
            p = &(*p)->shown_next;
        }
        if (*p) {
            *p = window->shown_next;
        }
    }
    window->target = to;
    if (to) {
        window->shown_next = to->shown_in;
        to->shown_in = window;
    }
}

void region_window(Region *r, Device *d, const char *name, Region *to, uint64_t at, uint64_t size)
{
    region_make(r, d, name, REGION_WINDOW, size);
    r->target_at = at;
    lock_take(&map_lock);
    show_locked(r, to);
    lock_drop(&map_lock);
}

static void unlink_locked(Region *r) LOCK_HELD(map_lock)
{
    if (r->box) {
        Region **p = &r->box->children;

        while (*p != r) {
            p = &(*p)->next;
        }
        *p = r->next;
        r->box = NULL;
        r->next = NULL;
    }
}

void region_free(Region *r)
{
    assert_control();
    if (!r->name) {
        return;                /* never made: unrealize of a half-made device */
    }
    lock_take(&map_lock);
    unlink_locked(r);
    while (r->children) {
        unlink_locked(r->children);
    }
    if (r->kind == REGION_WINDOW) {
        show_locked(r, NULL);
    }
    while (r->shown_in) {
        show_locked(r->shown_in, NULL);
    }
    lock_drop(&map_lock);
    lock_take(&bells_lock);
    g_free(r->doorbells);
    r->doorbells = NULL;
    r->doorbell_count = 0;
    lock_drop(&bells_lock);
    if (r->dev) {
        Region **p = &r->dev->region_first;

        while (*p && *p != r) {
            p = &(*p)->dev_next;
        }
        if (*p) {
            *p = r->dev_next;
        }
    }
    r->name = NULL;
}

void region_doorbell(Region *r, uint64_t off, unsigned size, const uint64_t *match, Notifier *n)
{
    Doorbell b = { .off = off, .size = size, .has_match = match != NULL,
                   .match = match ? *match : 0, .notifier = n };

    lock_take(&bells_lock);
    r->doorbells = g_renew(Doorbell, r->doorbells, r->doorbell_count + 1);
    r->doorbells[r->doorbell_count++] = b;
    lock_drop(&bells_lock);
    __atomic_store_n(&bells_changed, true, __ATOMIC_RELEASE);
}

void region_doorbell_drop(Region *r, uint64_t off, Notifier *n)
{
    lock_take(&bells_lock);
    for (unsigned i = 0; i < r->doorbell_count; i++) {
        if (r->doorbells[i].off == off && r->doorbells[i].notifier == n) {
            r->doorbells[i] = r->doorbells[--r->doorbell_count];
            break;
        }
    }
    lock_drop(&bells_lock);
    __atomic_store_n(&bells_changed, true, __ATOMIC_RELEASE);
}

/* --- editing --- */

static void mark_locked(const Region *r, unsigned depth) LOCK_HELD(map_lock)
{
    if (depth > MAX_DEPTH) {
        return;
    }
    for (Space *s = spaces; s; s = s->next) {
        if (s->root == r) {
            s->changed = true;
        }
    }
    if (r->box) {
        mark_locked(r->box, depth + 1);
    }
    for (const Region *w = r->shown_in; w; w = w->shown_next) {
        mark_locked(w, depth + 1);
    }
}

static void publish_locked(void) LOCK_HELD(map_lock)
{
    bool all = __atomic_exchange_n(&bells_changed, false, __ATOMIC_ACQUIRE);

    for (Space *s = spaces; s; s = s->next) {
        if (s->changed || all) {
            s->changed = false;
            flatmap_update(s);
        }
    }
}

LOCK_UNCHECKED void map_begin(void)
{
    lock_take(&map_lock);
}

LOCK_UNCHECKED void map_put(Region *box, Region *r, uint64_t at, int priority)
{
    lock_assert_held(&map_lock);
    if (r->box) {
        mark_locked(r, 0);
        unlink_locked(r);
    }
    Region **p = &box->children;

    while (*p && (*p)->priority > priority) {
        p = &(*p)->next;
    }
    r->next = *p;
    *p = r;
    r->box = box;
    r->at = at;
    r->priority = priority;
    mark_locked(r, 0);
}

LOCK_UNCHECKED void map_drop(Region *r)
{
    lock_assert_held(&map_lock);
    if (r->box) {
        mark_locked(r, 0);
        unlink_locked(r);
    }
}

LOCK_UNCHECKED void map_resize(Region *r, uint64_t size)
{
    lock_assert_held(&map_lock);
    r->size = size;
    mark_locked(r, 0);
}

LOCK_UNCHECKED void map_ram_to(Region *r, RamBlock *ram, uint64_t at)
{
    lock_assert_held(&map_lock);
    r->ram = ram;
    r->ram_at = at;
    mark_locked(r, 0);
}

LOCK_UNCHECKED void map_window_to(Region *window, Region *to, uint64_t at)
{
    lock_assert_held(&map_lock);
    show_locked(window, to);
    window->target_at = at;
    mark_locked(window, 0);
}

LOCK_UNCHECKED void map_romd_mode(Region *r, bool rom)
{
    lock_assert_held(&map_lock);
    if (r->romd_off == rom) {
        r->romd_off = !rom;
        mark_locked(r, 0);
    }
}

LOCK_UNCHECKED void map_readonly(Region *r, bool readonly)
{
    lock_assert_held(&map_lock);
    if (r->readonly != readonly) {
        r->readonly = readonly;
        mark_locked(r, 0);
    }
}

LOCK_UNCHECKED void map_log_dirty(Region *r, bool on)
{
    lock_assert_held(&map_lock);
    if (r->log_dirty != on) {
        r->log_dirty = on;
        mark_locked(r, 0);
    }
}

LOCK_UNCHECKED void map_commit(void)
{
    lock_assert_held(&map_lock);
    if (!held) {
        publish_locked();
    }
    lock_drop(&map_lock);
}

void map_put_one(Region *box, Region *r, uint64_t at, int priority)
{
    map_begin();
    map_put(box, r, at, priority);
    map_commit();
}

void map_drop_one(Region *r)
{
    map_begin();
    map_drop(r);
    map_commit();
}

void map_hold(bool on)
{
    assert_control();
    lock_take(&map_lock);
    if (on) {
        held++;
    } else if (held && --held == 0) {
        publish_locked();
    }
    lock_drop(&map_lock);
}

/* --- spaces --- */

Space *space_new(const char *name, SpaceKind kind, Region *root)
{
    Space *s = g_new0(Space, 1);

    assert_control();
    s->name = g_strdup(name);
    s->kind = kind;
    s->root = root;
    s->map = flatmap_empty();
    lock_take(&map_lock);
    s->next = spaces;
    spaces = s;
    s->changed = true;
    if (!held) {
        publish_locked();
    }
    lock_drop(&map_lock);
    return s;
}

static void free_space(Space *s)
{
    g_free(s->name);
    g_free(s);
}

void space_free(Space *s)
{
    assert_control();
    if (!s) {
        return;
    }
    lock_take(&map_lock);
    Space **p = &spaces;

    while (*p != s) {
        p = &(*p)->next;
    }
    *p = s->next;
    flatmap_retire(s);
    lock_drop(&map_lock);
    free_space(s);
}

Space *spaces_first(void)
{
    return spaces;
}

const char *space_name(const Space *s)
{
    return s->name;
}

/* --- regions of a device --- */

static bool below(const Device *d, const Device *top)
{
    for (; d; d = d->parent) {
        if (d == top) {
            return true;
        }
    }
    return false;
}

void dev_regions_withdraw(Device *d)
{
    map_begin();
    for (Region *r = d->region_first; r; r = r->dev_next) {
        if (r->box && !(r->box->dev && below(r->box->dev, d))) {
            map_drop(r);
        }
    }
    map_commit();
}

void dev_regions_free(Device *d)
{
    while (d->region_first) {
        region_free(d->region_first);
    }
}
