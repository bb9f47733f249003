/* region-dump.c: the map for people, as "info mtree" shows it.
 *
 * 1. Windows are not followed: what they show is printed as a tree of its own at the end, once. */
#include "core/map-int.h"

typedef struct Dump {
    GString *out;
    bool owners;
    GPtrArray *shown;          /* Region *: what windows show and no space has */
} Dump;

static const char *region_type(const Region *r)
{
    switch (r->kind) {
    case REGION_RAM:
        return r->readonly ? "rom" : "ram";
    case REGION_ROMD:
        return r->romd_off ? "i/o" : "romd";
    case REGION_WINDOW:
        return r->target != NULL && r->target->kind == REGION_RAM ? region_type(r->target) : "i/o";
    default:
        return "i/o";
    }
}

static void put_owner(const Dump *d, const Region *r)
{
    if (!d->owners || r->dev == NULL) {
        return;
    }
    if (r->dev->user_made) {
        g_string_append_printf(d->out, " owner:{dev id=%s}", r->dev->id);
    } else {
        g_autofree char *path = device_path(r->dev);

        g_string_append_printf(d->out, " owner:{dev path=%s}", path);
    }
}

static uint64_t last_of(uint64_t at, uint64_t size)
{
    return size == 0 ? at : size == UINT64_MAX ? size : at + (size - 1);        /* UINT64_MAX: all there is */
}

static void put_region(Dump *d, const Region *r, uint64_t base, unsigned depth)
{
    uint64_t at = base + r->at;

    g_string_append_printf(d->out, "%*s%016" PRIx64 "-%016" PRIx64 " (prio %d, %s): ", 2 * (int)depth, "", at,
                           last_of(at, r->size), r->priority, region_type(r));
    if (r->kind == REGION_WINDOW && r->target != NULL) {
        g_string_append_printf(d->out, "alias %s @%s %016" PRIx64 "-%016" PRIx64, r->name, r->target->name,
                               r->target_at, last_of(r->target_at, r->size));
        if (!g_ptr_array_find(d->shown, r->target, NULL)) {
            g_ptr_array_add(d->shown, r->target);
        }
    } else {
        g_string_append(d->out, r->name);
    }
    put_owner(d, r);
    g_string_append_c(d->out, '\n');
}

/* @first and what follows in its box, in order of address, and of priority at one address. */
static GPtrArray *by_address(Region *first)
{
    GPtrArray *list = g_ptr_array_new();

    for (Region *r = first; r != NULL; r = r->next) {
        unsigned i = 0;

        while (i < list->len && ((Region *)g_ptr_array_index(list, i))->at <= r->at) {
            i++;
        }
        g_ptr_array_insert(list, i, r);
    }
    return list;
}

static void put_tree(Dump *d, const Region *r, uint64_t base, unsigned depth)
{
    g_autoptr(GPtrArray) list = by_address(r->children);

    put_region(d, r, base, depth);
    for (unsigned i = 0; i < list->len; i++) {
        put_tree(d, g_ptr_array_index(list, i), base + r->at, depth + 1);
    }
}

GString *spaces_dump_tree(bool owners)
{
    Dump d = { .out = g_string_new(NULL), .owners = owners, .shown = g_ptr_array_new() };

    lock_take(&map_lock);
    for (const Space *s = spaces_first(); s != NULL; s = s->next) {
        g_string_append_printf(d.out, "address-space: %s\n", s->name);
        put_tree(&d, s->root, 0, 1);
        g_string_append_c(d.out, '\n');
    }
    for (unsigned i = 0; i < d.shown->len; i++) {
        const Region *r = g_ptr_array_index(d.shown, i);

        g_string_append_printf(d.out, "memory-region: %s\n", r->name);
        put_tree(&d, r, -r->at, 1);
        g_string_append_c(d.out, '\n');
    }
    lock_drop(&map_lock);
    g_ptr_array_free(d.shown, TRUE);
    return d.out;
}

static void put_flat(Dump *d, const FlatMap *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        const FlatRange *r = &m->ranges[i];

        if (r->flags & RANGE_HOLE) {
            continue;
        }
        g_string_append_printf(d->out, "  %016" PRIx64 "-%016" PRIx64 " (prio %d, %s): %s", r->at,
                               r->at + r->span, r->region->priority, flat_range_type(r), r->region->name);
        if (r->off != 0) {
            g_string_append_printf(d->out, " @%016" PRIx64, r->off);
        }
        if (r->slot != NO_SLOT) {
            g_string_append(d->out, " KVM");
        }
        put_owner(d, r->region);
        g_string_append_c(d->out, '\n');
    }
}

GString *spaces_dump_flat(bool owners)
{
    Dump d = { .out = g_string_new(NULL), .owners = owners };
    unsigned n = 0;

    lock_take(&map_lock);
    for (const Space *s = spaces_first(); s != NULL; s = s->next) {
        g_string_append_printf(d.out, "FlatView #%u\n AS \"%s\", root: %s\n Root memory region: %s\n", n++,
                               s->name, s->root->name, s->root->name);
        put_flat(&d, s->map);
        g_string_append_c(d.out, '\n');
    }
    lock_drop(&map_lock);
    return d.out;
}
