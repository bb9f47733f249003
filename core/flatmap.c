/* flatmap.c: from the graph of regions to the sorted array that readers search, and the difference
 * between two of them.
 *
 * 1. Rendering puts the topmost region first; a later one gets only the gaps.  Ranges are never
 *    merged, so that a change of one small window (PAM) touches its own small slot and no other.
 * 2. A RAM range that is the same in the old and the new map keeps its slot and the accelerator
 *    hears
 *    nothing of it; all removals come before all additions.
 * 3. The accelerator is told before the map is published: an exit on another thread meanwhile sees
 *    the old map, which is as good as having been a moment earlier. */
#include "core/accel.h"
#include "core/map-int.h"

#define MAX_DEPTH 64
#define PAGE 4096u

typedef __int128 Wide;         /* addresses that may lie left of 0 or beyond 2^64 while clipping */

static uint64_t generations;   /* guarded by map_lock */
static GArray *slots_used;     /* of bool, by slot number; guarded by map_lock */

/* --- rendering --- */

static unsigned range_flags(const Region *r)
{
    unsigned flags = 0;

    switch (r->kind) {
    case REGION_RAM:
        flags = RANGE_READS_RAM | (r->readonly ? 0 : RANGE_WRITES_RAM);
        break;
    case REGION_ROMD:
        flags = r->romd_off ? 0 : RANGE_READS_RAM;
        break;
    default:
        break;
    }
    if (r->ops && r->ops->flags & REGION_STRICT) {
        flags |= RANGE_STRICT;
    }
    if (r->ops && r->ops->flags & REGION_COALESCED && r->kind == REGION_IO) {
        flags |= RANGE_COALESCED;
    }
    return flags | (r->log_dirty ? RANGE_LOG_DIRTY : 0);
}

static FlatRange make_range(Region *r, uint64_t at, uint64_t last, uint64_t off)
{
    FlatRange f = { .at = at, .span = last - at, .off = off, .size = r->size, .ops = r->ops,
                    .arg = r->arg, .flags = range_flags(r), .slot = NO_SLOT, .region = r };

    if (r->ram) {
        f.ram = r->ram;
        f.host = r->ram->host + r->ram_at + off;
    }
    if (r->ops) {
        unsigned lo = r->ops->min ? r->ops->min : 1, hi = r->ops->max ? r->ops->max : 8;

        for (unsigned n = lo; n <= hi && n <= 8; n *= 2) {
            f.sizes |= 1u << n;
        }
        f.align_mask = r->ops->flags & REGION_UNALIGNED ? 0 : UINT32_MAX;
        f.domain = r->dev && !(r->ops->flags & REGION_LOCKLESS) ? r->dev->domain : NULL;
        f.read_sizes = r->ops->read && !(f.flags & RANGE_READS_RAM) ? f.sizes : 0;
        f.write_sizes = r->ops->write && !(f.flags & RANGE_WRITES_RAM) ? f.sizes : 0;
    }
    return f;
}

/* The first range that ends at @at or later. */
static unsigned find_gap(const GArray *out, uint64_t at)
{
    unsigned lo = 0, hi = out->len;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const FlatRange *r = &g_array_index(out, FlatRange, mid);

        if (r->at + r->span < at) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* Gives @r what is still free of [@at, @last]; @off is the place of @at in the region. */
static void render_leaf(GArray *out, Region *r, uint64_t at, uint64_t last, uint64_t off)
{
    for (unsigned i = find_gap(out, at);; i++) {
        const FlatRange *next = i < out->len ? &g_array_index(out, FlatRange, i) : NULL;

        if (!next || next->at > at) {
            uint64_t end = next && next->at <= last ? next->at - 1 : last;
            FlatRange f = make_range(r, at, end, off);

            g_array_insert_val(out, i, f);
            if (end == last) {
                return;
            }
            off += end + 1 - at;
            at = end + 1;
            next = &g_array_index(out, FlatRange, ++i);
        }
        if (next->at + next->span >= last) {
            return;
        }
        off += next->at + next->span + 1 - at;
        at = next->at + next->span + 1;
    }
}

/* Renders @r whose offset 0 is at @base, within [@lo, @hi]. */
static void render(GArray *out, Region *r, Wide base, Wide lo, Wide hi, unsigned depth)
{
    lo = MAX(lo, base);
    hi = MIN(hi, base + r->size - 1);
    if (lo > hi || depth > MAX_DEPTH) {
        return;
    }
    switch (r->kind) {
    case REGION_BOX:
        for (Region *c = r->children; c; c = c->next) {
            render(out, c, base + c->at, lo, hi, depth + 1);
        }
        break;
    case REGION_WINDOW:
        if (r->target) {
            render(out, r->target, base - r->target_at, lo, hi, depth + 1);
        }
        break;
    default:
        render_leaf(out, r, (uint64_t)lo, (uint64_t)hi, (uint64_t)(lo - base));
    }
}

static void add_hole(GArray *out, uint64_t at, uint64_t last)
{
    FlatRange f = { .at = at, .span = last - at, .flags = RANGE_HOLE, .slot = NO_SLOT };

    g_array_append_val(out, f);
}

/* Moves @ranges into a new array without gaps. */
static GArray *fill_holes(GArray *take_ranges)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(FlatRange), take_ranges->len * 2 + 1);
    uint64_t at = 0;
    bool to_the_end = false;

    for (unsigned i = 0; i < take_ranges->len; i++) {
        const FlatRange *r = &g_array_index(take_ranges, FlatRange, i);

        if (r->at > at) {
            add_hole(out, at, r->at - 1);
        }
        g_array_append_vals(out, r, 1);
        at = r->at + r->span + 1;
        to_the_end = at == 0;
    }
    if (!to_the_end) {
        add_hole(out, at, UINT64_MAX);
    }
    g_array_unref(take_ranges);
    return out;
}

static int compare_bells(const void *va, const void *vb)
{
    const FlatBell *a = va, *b = vb;

    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }
    if (a->size != b->size) {
        return a->size < b->size ? -1 : 1;
    }
    if (a->has_match != b->has_match) {
        return a->has_match ? 1 : -1;
    }
    if (a->match != b->match) {
        return a->match < b->match ? -1 : 1;
    }
    if (a->notifier != b->notifier) {
        return (uintptr_t)a->notifier < (uintptr_t)b->notifier ? -1 : 1;
    }
    return 0;
}

static void add_bells(FlatRange *r, GArray *bells)
{
    const Region *region = r->region;

    r->bell_first = bells->len;
    for (unsigned i = 0; region && i < region->doorbell_count; i++) {
        const Doorbell *d = &region->doorbells[i];
        uint64_t len = MAX(d->size, 1);

        if (d->off >= r->off && d->off - r->off <= r->span &&
            r->span - (d->off - r->off) >= len - 1) {
            FlatBell b = { .at = r->at + (d->off - r->off), .size = d->size,
                           .has_match = d->has_match, .match = d->match, .notifier = d->notifier };

            g_array_append_val(bells, b);
        }
    }
    r->bell_count = bells->len - r->bell_first;
    if (r->bell_count) {
        r->flags |= RANGE_BELLS;
        r->write_sizes = 0;
        qsort(&g_array_index(bells, FlatBell, r->bell_first), r->bell_count, sizeof(FlatBell),
              compare_bells);
    }
}

static FlatMap *make_map(GArray *take_ranges) LOCK_HELD(map_lock)
{
    FlatMap *m = g_new0(FlatMap, 1);
    GArray *bells = g_array_new(FALSE, FALSE, sizeof(FlatBell));
    gsize n;

    take_ranges = fill_holes(take_ranges);
    lock_take(&bells_lock);
    for (unsigned i = 0; i < take_ranges->len; i++) {
        add_bells(&g_array_index(take_ranges, FlatRange, i), bells);
    }
    lock_drop(&bells_lock);
    m->ranges = g_array_steal(take_ranges, &n);
    m->count = n;
    m->bells = g_array_steal(bells, &n);
    m->bell_count = n;
    m->generation = ++generations;
    g_array_unref(take_ranges);
    g_array_unref(bells);
    return m;
}

static FlatMap *render_space(const Space *s) LOCK_HELD(map_lock)
{
    GArray *out = g_array_sized_new(FALSE, FALSE, sizeof(FlatRange), 64);

    render(out, s->root, 0, 0, UINT64_MAX, 0);
    return make_map(out);
}

FlatMap *flatmap_empty(void)
{
    lock_take(&map_lock);
    FlatMap *m = make_map(g_array_new(FALSE, FALSE, sizeof(FlatRange)));
    lock_drop(&map_lock);
    return m;
}

static void free_parts(FlatMap *m)
{
    g_free(m->ranges);
    g_free(m->bells);
    g_free(m);
}

static void free_map(EpochItem *item)
{
    free_parts(container_of(item, FlatMap, epoch));
}

const FlatRange *flatmap_search(const FlatMap *m, Gpa at)
{
    unsigned lo = 0, n = m->count;

    while (n > 1) {
        unsigned half = n / 2;

        lo = m->ranges[lo + half].at <= at ? lo + half : lo;
        n -= half;
    }
    return &m->ranges[lo];
}

/* --- slots --- */

static unsigned slot_take(void) LOCK_HELD(map_lock)
{
    bool yes = true;

    if (!slots_used) {
        slots_used = g_array_new(FALSE, TRUE, sizeof(bool));
    }
    for (unsigned i = 0; i < slots_used->len; i++) {
        if (!g_array_index(slots_used, bool, i)) {
            g_array_index(slots_used, bool, i) = true;
            return i;
        }
    }
    g_array_append_val(slots_used, yes);
    return slots_used->len - 1;
}

static void slot_give(unsigned slot) LOCK_HELD(map_lock)
{
    g_array_index(slots_used, bool, slot) = false;
    while (slots_used->len && !g_array_index(slots_used, bool, slots_used->len - 1)) {
        g_array_set_size(slots_used, slots_used->len - 1);
    }
    if (!slots_used->len) {
        g_array_unref(slots_used);
        slots_used = NULL;
    }
}

/* Only whole pages can be a slot; what is left is reached by exits. */
static bool wants_slot(const Space *s, const FlatRange *r)
{
    return (s->kind == SPACE_MEM || s->kind == SPACE_SMM) && r->flags & RANGE_READS_RAM &&
           ((r->at | (r->span + 1) | (uintptr_t)r->host) & (PAGE - 1)) == 0;
}

static unsigned slot_flags(const FlatRange *r)
{
    return (r->flags & RANGE_WRITES_RAM ? 0 : SLOT_READONLY) |
           (r->flags & RANGE_LOG_DIRTY ? SLOT_LOG_DIRTY : 0);
}

/* The same but for dirty logging, which a slot can change while it lives. */
static bool same_slot(const FlatRange *a, const FlatRange *b)
{
    return a->at == b->at && a->span == b->span && a->host == b->host &&
           ((slot_flags(a) ^ slot_flags(b)) & ~SLOT_LOG_DIRTY) == 0;
}

static void slot_tell(unsigned slot, const FlatRange *r, uint64_t size)
{
    const AccelOps *a = accel();

    if (a && a->slot_set) {
        a->slot_set(slot, r->at, r->host, size, slot_flags(r));
    }
}

static void update_slots(const Space *s, const FlatMap *old, FlatMap *new) LOCK_HELD(map_lock)
{
    for (unsigned i = 0; i < old->count; i++) {
        const FlatRange *o = &old->ranges[i];

        if (o->slot == NO_SLOT) {
            continue;
        }
        FlatRange *n = new ? (FlatRange *)flatmap_search(new, o->at) : NULL;
        if (n && wants_slot(s, n) && same_slot(o, n)) {
            n->slot = o->slot;
            if (slot_flags(o) != slot_flags(n)) {
                slot_tell(n->slot, n, n->span + 1);
            }
        } else {
            slot_tell(o->slot, o, 0);
            slot_give(o->slot & ~SLOT_SMM);
        }
    }
    for (unsigned i = 0; new && i < new->count; i++) {
        FlatRange *n = &new->ranges[i];

        if (n->slot == NO_SLOT && wants_slot(s, n)) {
            n->slot = slot_take() | (s->kind == SPACE_SMM ? SLOT_SMM : 0);
            slot_tell(n->slot, n, n->span + 1);
        }
    }
}

/* --- doorbells and coalesced ranges --- */

static void bell_tell(const Space *s, const FlatBell *b, bool on)
{
    const AccelOps *a = accel();

    if (a && a->doorbell_set) {
        a->doorbell_set(s->kind, b->at, b->size, b->has_match ? &b->match : NULL, b->notifier, on);
    }
}

/* Both arrays are sorted (ranges by address, bells within a range): tells what only @a has. */
static void tell_bells_missing(const Space *s, const FlatMap *a, const FlatMap *b, bool on)
{
    unsigned j = 0;

    for (unsigned i = 0; i < a->bell_count; i++) {
        while (b && j < b->bell_count && compare_bells(&b->bells[j], &a->bells[i]) < 0) {
            j++;
        }
        if (!b || j == b->bell_count || compare_bells(&b->bells[j], &a->bells[i]) != 0) {
            bell_tell(s, &a->bells[i], on);
        }
    }
}

static bool has_coalesced(const FlatMap *m, const FlatRange *r)
{
    const FlatRange *f = flatmap_search(m, r->at);

    return f->flags & RANGE_COALESCED && f->at == r->at && f->span == r->span;
}

static void tell_coalesced_missing(const Space *s, const FlatMap *a, const FlatMap *b, bool on)
{
    const AccelOps *ops = accel();

    for (unsigned i = 0; i < a->count; i++) {
        const FlatRange *r = &a->ranges[i];

        if (r->flags & RANGE_COALESCED && !(b && has_coalesced(b, r)) && ops && ops->coalesce_set) {
            ops->coalesce_set(s->kind, r->at, r->span + 1, on);
        }
    }
}

static void tell_accel(const Space *s, const FlatMap *old, FlatMap *new) LOCK_HELD(map_lock)
{
    if (s->kind == SPACE_BUS) {
        return;
    }
    /* Doorbells and coalesced ranges are the VM's, whatever mode a processor is in. */
    bool own = s->kind != SPACE_SMM;
    if (own) {
        tell_bells_missing(s, old, new, false);
        tell_coalesced_missing(s, old, new, false);
    }
    update_slots(s, old, new);
    if (new && own) {
        tell_coalesced_missing(s, new, old, true);
        tell_bells_missing(s, new, old, true);
    }
}

/* --- publishing --- */

static bool same_range(const FlatRange *a, const FlatRange *b)
{
    return a->at == b->at && a->span == b->span && a->off == b->off && a->size == b->size &&
           a->ops == b->ops && a->arg == b->arg && a->domain == b->domain && a->flags == b->flags &&
           a->host == b->host && a->ram == b->ram && a->region == b->region;
}

static bool same_map(const FlatMap *a, const FlatMap *b)
{
    if (a->count != b->count || a->bell_count != b->bell_count) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        if (!same_range(&a->ranges[i], &b->ranges[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->bell_count; i++) {
        if (compare_bells(&a->bells[i], &b->bells[i]) != 0) {
            return false;
        }
    }
    return true;
}

void flatmap_update(Space *s)
{
    FlatMap *old = s->map, *new = render_space(s);

    if (same_map(old, new)) {
        free_parts(new);
        return;
    }
    tell_accel(s, old, new);
    epoch_store(s->map, new);
    epoch_defer(&old->epoch, free_map);
}

void flatmap_retire(Space *s)
{
    tell_accel(s, s->map, NULL);
    epoch_defer(&s->map->epoch, free_map);
    s->map = NULL;
}

/* --- looking --- */

void space_each_ram(Space *s, void (*fn)(const FlatRam *r, void *arg), void *arg)
{
    lock_take(&map_lock);
    for (unsigned i = 0; i < s->map->count; i++) {
        const FlatRange *r = &s->map->ranges[i];

        if (r->flags & RANGE_READS_RAM) {
            FlatRam f = { .at = r->at, .size = r->span + 1, .host = r->host, .ram = r->ram,
                          .readonly = !(r->flags & RANGE_WRITES_RAM),
                          .log_dirty = (r->flags & RANGE_LOG_DIRTY) != 0, .slot = r->slot };

            fn(&f, arg);
        }
    }
    lock_drop(&map_lock);
}

const char *flat_range_type(const FlatRange *r)
{
    if (!(r->flags & RANGE_READS_RAM)) {
        return "i/o";
    }
    if (r->flags & RANGE_WRITES_RAM) {
        return "ram";
    }
    return r->region->kind == REGION_ROMD ? "romd" : "rom";
}

char *space_dump(Space *s)
{
    GString *out = g_string_new(NULL);
    int width = s->kind == SPACE_PIO ? 4 : 16;

    lock_take(&map_lock);
    for (unsigned i = 0; i < s->map->count; i++) {
        const FlatRange *r = &s->map->ranges[i];

        if (!(r->flags & RANGE_HOLE)) {
            g_string_append_printf(out, "  %0*" PRIx64 "-%0*" PRIx64 " (prio %d, %s): %s", width,
                                   r->at, width, r->at + r->span, r->region->priority,
                                   flat_range_type(r), r->region->name);
            if (r->off) {
                g_string_append_printf(out, " @%016" PRIx64, r->off);
            }
            g_string_append_c(out, '\n');
        }
    }
    lock_drop(&map_lock);
    return g_string_free(out, FALSE);
}
