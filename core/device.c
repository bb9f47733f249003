/* device.c: the tree of devices and the life cycle they share.
 *
 * 1. The tree belongs to the control thread.  It is two trees over the same devices: parents own
 *    (and
 *    name) children; physically a device hangs from its bus's owner, or without a bus from its
 *    parent.
 *    Acts on a subtree follow the physical one.
 * 2. Removal: withdraw, a grace period (no late register access is left), quiesce, unrealize
 *    children
 *    first, detach, unlink; the memory goes after another grace period.
 *
 *    created --device_realize--> realized --device_remove--> removing --on_grace--> quiescing
 *       \--device_discard--> gone                 gone <--free_item-- unlinked <--on_quiesced--/
 */
#include "core/device.h"

#include <stdlib.h>
#include <string.h>
#include "core/clock.h"
#include "core/device-int.h"
#include "core/irq.h"
#include "core/machine.h"
#include "util/thread.h"
#include "util/trace.h"

const SlotType board_slot = { .name = "board", .bus = "System", .no_bus = true, .base_size = sizeof(Device) };

const char *slot_bus_name(const SlotType *slot)
{
    return slot->bus != NULL ? slot->bus : slot->name;
}

/* --- catalogue --- */

static const DeviceType **types;       /* sorted, NULL-terminated */
static unsigned type_count;

static int compare_types(const void *a, const void *b)
{
    return strcmp((*(const DeviceType *const *)a)->name, (*(const DeviceType *const *)b)->name);
}

void device_types_register(const DeviceType *const *all)
{
    assert_control();
    for (type_count = 0; all[type_count]; type_count++) {
    }
    g_free(types);
    types = g_new0(const DeviceType *, type_count + 1);
    memcpy(types, all, type_count * sizeof(*types));
    qsort(types, type_count, sizeof(*types), compare_types);
}

void device_type_add(const DeviceType *t)
{
    assert_control();
    if (device_type_find(t->name)) {
        return;
    }
    types = g_renew(const DeviceType *, types, type_count + 2);
    types[type_count++] = t;
    types[type_count] = NULL;
    qsort(types, type_count, sizeof(*types), compare_types);
}

const DeviceType *const *device_types(void)
{
    static const DeviceType *const none[] = { NULL };

    return types ? types : none;
}

const DeviceType *device_type_find(const char *name)
{
    unsigned lo = 0, hi = type_count;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        int cmp = strcmp(name, types[mid]->name);

        if (cmp == 0) {
            return types[mid];
        }
        *(cmp < 0 ? &hi : &lo) = cmp < 0 ? mid : mid + 1;
    }
    return NULL;
}

const PropDesc *device_type_prop(const DeviceType *t, const char *name, int *owner)
{
    const PropDesc *p = NULL;
    int at = 0;

    for (; t && !p; t = t->inner, at++) {
        p = prop_find(t->props, name);
        if (!p) {
            p = prop_find(t->slot->props, name);
        }
    }
    *owner = at - 1;
    return p;
}

static void add_names(GPtrArray *names, const PropDesc *props)
{
    for (const PropDesc *p = props; p && p->name; p++) {
        if (!(p->flags & PROP_COMPAT)) {
            g_ptr_array_add(names, (char *)p->name);
        }
    }
}

static bool no_such_prop(const DeviceType *t, const char *name, Error **errp)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    error_set(errp, "Property '%s.%s' not found", t->name, name);
    for (; t; t = t->inner) {
        add_names(names, t->props);
        add_names(names, t->slot->props);
    }
    g_ptr_array_add(names, NULL);
    return error_suggest(errp, name, (const char *const *)names->pdata);
}

/* --- creating --- */

static Device *child_find(const Device *parent, const char *id)
{
    for (Device *c = parent->child_first; c; c = c->sibling_next) {
        if (strcmp(c->id, id) == 0) {
            return c;
        }
    }
    return NULL;
}

static bool is_well_formed(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    for (; *id; id++) {
        if (!g_ascii_isalnum(*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
}

bool device_check_id(const char *id, Error **errp)
{
    if (id && !is_well_formed(id)) {
        error_set(errp, "Parameter 'id' expects an identifier, not '%s'", id);
        return error_hint(errp, "identifiers are letters, digits, '-', '.', '_', and start with a "
                          "letter");
    }
    return true;
}

static bool check_id(const Device *parent, const char *id, Error **errp)
{
    const Machine *m = parent->machine;

    if (m && parent == m->peripheral && !device_check_id(id, errp)) {
        return false;
    }
    if (child_find(parent, id)) {
        return error_set(errp, "Duplicate device ID '%s'", id);
    }
    return true;
}

static bool check_bus(const DeviceType *t, const Bus *bus, Error **errp)
{
    if (bus && bus->slot != t->slot) {
        return error_set(errp, "Device '%s' can't go on %s bus", t->name, slot_bus_name(bus->slot));
    }
    if (!bus && !t->slot->no_bus) {
        return error_set(errp, "Device '%s' needs a %s bus", t->name, slot_bus_name(t->slot));
    }
    if (bus && bus->capacity && bus_count(bus) >= bus->capacity) {
        return error_set(errp, "Bus '%s' is full", bus->name);
    }
    return true;
}

static void link_child(Device *parent, Device *d)
{
    Device **p = &parent->child_first;

    while (*p) {
        p = &(*p)->sibling_next;
    }
    *p = d;
    d->parent = parent;
}

static void link_bus(Bus *b, Device *d)
{
    Device **p = &b->first;

    while (*p) {
        p = &(*p)->bus_next;
    }
    *p = d;
    d->bus = b;
}

/* What the versions from the newest to @t set back. */
static void apply_compat(Device *d, const MachineType *t)
{
    if (!t) {
        return;
    }
    apply_compat(d, t->newer);
    for (const CompatProp *c = t->compat; c && c->type; c++) {
        int owner;

        if (g_pattern_match_simple(c->type, d->type->name) &&
            device_type_prop(d->type, c->prop, &owner) && owner == 0) {
            device_set(d, c->prop, c->value, NULL);
        }
    }
}

bool device_type_is(const DeviceType *t, const char *name)
{
    g_autofree char *own = g_strconcat(t->name, t->slot->suffix, NULL);
    g_autofree char *class = g_strconcat(t->slot->name, "-device", NULL);
    g_autofree char *compound = t->inner ? g_strconcat(t->inner->slot->name, "-", t->slot->name, NULL) : NULL;

    return strcmp(own, name) == 0 || strcmp(class, name) == 0 || g_strcmp0(compound, name) == 0;
}

/* What -global says about @d and what it is made of. */
static bool apply_globals(Device *d, Error **errp)
{
    const Machine *m = d->machine;

    for (unsigned i = 0; m && m->globals && m->globals[i].type; i++) {
        const CompatProp *c = &m->globals[i];

        if (strcmp(c->type, d->type->name) != 0 && !device_type_is(d->type, c->type)) {
            continue;
        }
        if (m->globals_used) {
            m->globals_used[i] = true;
        }
        if (!device_set(d, c->prop, c->value, errp)) {
            return error_context(errp, "can't apply global %s.%s=%s", c->type, c->prop, c->value);
        }
    }
    return !d->inner || apply_globals(d->inner, errp);
}

static Domain *domain_for(const DeviceType *t, const Device *parent, const Bus *bus, const char *id)
{
    if (t->flags & DEV_OWN_DOMAIN || (!bus && !parent)) {
        return domain_new(id);
    }
    return domain_ref(bus ? bus->owner->domain : parent->domain);
}

static Device *make(const DeviceType *t, Device *parent, Bus *bus, const char *id)
{
    Device *d = g_malloc0(t->size);

    d->type = t;
    d->id = g_strdup(id);
    d->domain = domain_for(t, parent, bus, id);
    d->dma_on = true;
    d->bootindex = -1;
    if (parent) {
        d->machine = parent->machine;
        d->loop = parent->loop;
        d->user_made = d->machine && (parent == d->machine->peripheral ||
                                      parent == d->machine->peripheral_anon);
        link_child(parent, d);
    }
    if (bus) {
        link_bus(bus, d);
    }
    prop_defaults(d, t->slot->props);
    prop_defaults(d, t->props);
    if (t->inner) {
        g_autofree char *inner_id = g_strdup_printf("%s-backend", t->inner->slot->name);
        d->inner = make(t->inner, d, NULL, inner_id);
    }
    apply_compat(d, d->machine ? d->machine->type : NULL);
    return d;
}

Device *device_make_container(const DeviceType *t, Device *parent, Machine *m, const char *id)
{
    Device *d = make(t, parent, NULL, id);

    d->machine = m;
    d->loop = m->device_loop;
    d->realized = true;
    return d;
}

/* Where children of @parent without an id live. */
static Device *parent_of_nameless(Device *parent)
{
    const Machine *m = parent->machine;

    if (m && parent == m->root) {
        return m->unattached;
    }
    return m && parent == m->peripheral ? m->peripheral_anon : parent;
}

Device *device_create(const DeviceType *t, Device *parent, Bus *bus, const char *id, Error **errp)
{
    g_autofree char *made_up = NULL;

    assert_control();
    if (!check_bus(t, bus, errp) || (id && !check_id(parent, id, errp))) {
        return NULL;
    }
    if (!id) {
        parent = parent_of_nameless(parent);
        made_up = g_strdup_printf("device[%u]", parent->made_count++);
    }
    Device *d = make(t, parent, bus, id ? id : made_up);
    if (!apply_globals(d, errp)) {
        device_discard(d);
        return NULL;
    }
    return d;
}

bool device_set(Device *d, const char *prop, const char *text, Error **errp)
{
    int owner;
    const PropDesc *p = device_type_prop(d->type, prop, &owner);

    assert_control();
    if (!p) {
        return no_such_prop(d->type, prop, errp);
    }
    for (; owner; owner--) {
        d = d->inner;
    }
    if (d->realized && !(p->flags & PROP_RUNTIME)) {
        return error_set(errp, "property '%s' of '%s' cannot be changed any more", prop, d->id);
    }
    return prop_set(d, p, text, errp);
}

char *device_get(Device *d, const char *prop)
{
    int owner;
    const PropDesc *p = device_type_prop(d->type, prop, &owner);

    assert_control();
    for (; p && owner; owner--) {
        d = d->inner;
    }
    return p ? prop_get(d, p) : NULL;
}

/* --- unlinking and freeing --- */

static void unlink_device(Device *d)
{
    if (d->parent) {
        Device **p = &d->parent->child_first;

        while (*p != d) {
            p = &(*p)->sibling_next;
        }
        *p = d->sibling_next;
        if (d->parent->inner == d) {
            d->parent->inner = NULL;
        }
    }
    if (d->bus) {
        Device **p = &d->bus->first;

        while (*p != d) {
            p = &(*p)->bus_next;
        }
        *p = d->bus_next;
    }
    machine_forget_device(d);
}

/* Any thread: the reclaim thread for devices that were realized. */
static void free_device(Device *d)
{
    prop_clear(d, d->type->props);
    prop_clear(d, d->type->slot->props);
    domain_unref(d->domain);
    g_free(d->id);
    g_free(d);
}

static void free_item(EpochItem *item)
{
    free_device((Device *)((char *)item - offsetof(Device, epoch)));
}

/* What a device leaves behind after unrealize, or after a realize that failed. */
static void free_leftovers(Device *d)
{
    while (d->timer_first) {
        dev_timer_free(d->timer_first);
    }
    d->line_first = NULL;
    dev_regions_free(d);
    while (d->bus_first && !d->bus_first->first) {
        bus_free(d->bus_first);
    }
}

static void lower_lines(Device *d)
{
    for (IrqLine *l = d->line_first; l; l = l->next) {
        irq_set(l, false);
    }
}

static void unrealize_one(Device *d)
{
    if (!d->realized) {
        return;
    }
    TRACE(device_unrealize, "id=%s type=%s", d->id, d->type->name);
    lower_lines(d);
    if (d->type->unrealize) {
        d->type->unrealize(d);
    }
    d->realized = false;
    free_leftovers(d);
    if (d->type->slot->detach) {
        d->type->slot->detach(d->bus, d);
    }
}

/* --- realizing --- */

static bool has_value(const Device *d, const PropDesc *p)
{
    static const uint8_t no_mac[6];
    const void *at = (const char *)d + p->at;

    switch (p->kind) {
    case PROP_KIND_STR:
    case PROP_KIND_LINK:
        return *(void *const *)at != NULL;
    case PROP_KIND_MAC:
        return memcmp(at, no_mac, sizeof(no_mac)) != 0;
    default:
        return true;
    }
}

static bool check_required(const Device *d, Error **errp)
{
    const PropDesc *tables[] = { d->type->slot->props, d->type->props };

    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        for (const PropDesc *p = tables[i]; p && p->name; p++) {
            if (p->flags & PROP_REQUIRED && !has_value(d, p)) {
                return error_set(errp, "device '%s' needs property '%s'", d->type->name, p->name);
            }
        }
    }
    return true;
}

/* The inner child plugs into the bus of its kind that its outer device has made by now. */
static bool plug_inner(Device *d, Error **errp)
{
    if (d->bus || d->type->slot->no_bus) {
        return true;
    }
    for (Bus *b = d->parent->bus_first; b; b = b->next) {
        if (b->slot == d->type->slot) {
            link_bus(b, d);
            return true;
        }
    }
    return error_set(errp, "device '%s' has no %s bus to be on", d->type->name,
                     d->type->slot->name);
}

static void destroy(Device *d);

static void undo_children(Device *d)
{
    Device *c = d->child_first;

    while (c) {
        Device *next = c->sibling_next;

        if (c != d->inner) {
            destroy(c);
        } else {
            unrealize_one(c);
        }
        c = next;
    }
}

/* After realize failed or was taken back: the inner child is on no bus again. */
static void undo_realize(Device *d)
{
    if (d->inner && d->inner->bus) {
        d->inner->bus->first = NULL;   /* it was alone there: the bus is the outer's own */
        d->inner->bus = NULL;
        d->inner->bus_next = NULL;
    }
    free_leftovers(d);
}

static void inherit_dma(Device *d)
{
    const Device *up = d->bus ? d->bus->owner : d->parent;

    if (!d->dma && up) {
        d->dma = up->dma;
    }
}

static bool realize_with_inner(Device *d, Error **errp)
{
    if (d->type->realize && !d->type->realize(d, errp)) {
        undo_children(d);
        undo_realize(d);
        return false;
    }
    if (d->inner && !d->inner->realized && !device_realize(d->inner, errp)) {
        undo_children(d);
        lower_lines(d);
        if (d->type->unrealize) {
            d->type->unrealize(d);
        }
        undo_realize(d);
        return false;
    }
    return true;
}

bool device_realize(Device *d, Error **errp)
{
    const SlotType *slot = d->type->slot;

    assert_control();
    g_assert(!d->realized);
    if (!check_required(d, errp) || !plug_inner(d, errp)) {
        return false;
    }
    if (slot->attach && !slot->attach(d->bus, d, errp)) {
        return false;
    }
    inherit_dma(d);
    d->quiet = machine_quiesced();
    d->hotplugged = machine_was_reset();
    if (!realize_with_inner(d, errp)) {
        if (slot->detach) {
            slot->detach(d->bus, d);
        }
        return false;
    }
    d->realized = true;
    TRACE(device_realize, "id=%s type=%s", d->id, d->type->name);
    device_reset_tree(d, RESET_POWER);
    if (machine_was_reset()) {
        device_settle_tree(d);
    }
    if (slot->publish && !slot->publish(d->bus, d, errp)) {
        dev_regions_withdraw(d);
        undo_children(d);
        unrealize_one(d);
        undo_realize(d);
        return false;
    }
    return true;
}

Device *device_make(const DeviceType *t, Device *parent, Bus *bus, const char *id, Error **errp,
                    ...)
{
    Device *d = device_create(t, parent, bus, id, errp);
    va_list ap;
    const char *prop;
    bool ok = d != NULL;

    va_start(ap, errp);
    while (ok && (prop = va_arg(ap, const char *)) != NULL) {
        ok = device_set(d, prop, va_arg(ap, const char *), errp);
    }
    va_end(ap);
    if (ok && device_realize(d, errp)) {
        return d;
    }
    if (d) {
        device_discard(d);
    }
    return NULL;
}

/* --- removing --- */

/* Adds @d and all that hangs from it or is owned by it to @out, the deepest first. */
static void collect(Device *d, GPtrArray *out)
{
    if (d->removing) {
        return;
    }
    __atomic_store_n(&d->removing, true, __ATOMIC_RELAXED);
    for (Bus *b = d->bus_first; b; b = b->next) {
        for (Device *c = b->first; c; c = c->bus_next) {
            collect(c, out);
        }
    }
    for (Device *c = d->child_first; c; c = c->sibling_next) {
        collect(c, out);
    }
    g_ptr_array_add(out, d);
}

static void withdraw_all(GPtrArray *tree)
{
    for (unsigned i = tree->len; i-- > 0;) {
        Device *d = tree->pdata[i];

        if (d->realized && d->type->slot->withdraw) {
            d->type->slot->withdraw(d->bus, d);
        }
        dev_regions_withdraw(d);
    }
}

/* True for what a user may have plugged in, and for what is inside that. */
static bool is_news(const Device *d)
{
    return d->user_made || d->type == d->machine->cpu_type ||
           (d->parent && d->parent->user_made && d->parent->inner == d);
}

static void say_deleted(const Device *d)
{
    const MachineListener *l = machine_listener();

    if (l && l->device_deleted && is_news(d)) {
        g_autofree char *path = device_path(d);

        l->device_deleted(d->parent == d->machine->peripheral ? d->id : NULL, path);
    }
}

/* @tell: DEVICE_DELETED for what was plugged in; not for what never was, nor at the end. */
static void unmake_all(GPtrArray *tree, bool tell)
{
    for (unsigned i = 0; i < tree->len; i++) {
        unrealize_one(tree->pdata[i]);
    }
    for (unsigned i = 0; tell && i < tree->len; i++) {
        say_deleted(tree->pdata[i]);
    }
    for (unsigned i = 0; i < tree->len; i++) {
        Device *d = tree->pdata[i];

        unlink_device(d);
        free_leftovers(d);
    }
    /* Only now: until here they point at one another. */
    for (unsigned i = 0; i < tree->len; i++) {
        epoch_defer(&((Device *)tree->pdata[i])->epoch, free_item);
    }
}

static void destroy(Device *d)
{
    g_autoptr(GPtrArray) tree = g_ptr_array_new();

    collect(d, tree);
    withdraw_all(tree);
    unmake_all(tree, false);
}

void device_discard(Device *d)
{
    assert_control();
    destroy(d);
}

void device_destroy(Device *d)
{
    assert_control();
    destroy(d);
}

typedef struct Removal {
    Device *top;
    GPtrArray *tree;
    GPtrArray *dones;          /* Post * */
    EpochItem epoch;
    Post after_grace, quiesced;
    struct Removal *next;
} Removal;

static Removal *removals;

static void finish_removal(Removal *r)
{
    Removal **p = &removals;

    while (*p != r) {
        p = &(*p)->next;
    }
    *p = r->next;
    unmake_all(r->tree, true);
    for (unsigned i = 0; i < r->dones->len; i++) {
        loop_post(loop_control(), r->dones->pdata[i]);
    }
    g_ptr_array_unref(r->tree);
    g_ptr_array_unref(r->dones);
    g_free(r);
}

static void on_quiesced(Post *p)
{
    finish_removal((Removal *)((char *)p - offsetof(Removal, quiesced)));
}

static void on_grace_control(Post *p)
{
    Removal *r = (Removal *)((char *)p - offsetof(Removal, after_grace));

    r->quiesced.run = on_quiesced;
    device_quiesce_later(r->top, &r->quiesced);
}

/* On the reclaim thread. */
static void on_grace(EpochItem *item)
{
    Removal *r = (Removal *)((char *)item - offsetof(Removal, epoch));

    r->after_grace.run = on_grace_control;
    loop_post(loop_control(), &r->after_grace);
}

/* The removal that @d is part of already; NULL: none. */
static Removal *removal_of(const Device *d)
{
    for (Removal *r = removals; r; r = r->next) {
        if (g_ptr_array_find(r->tree, d, NULL)) {
            return r;
        }
    }
    return NULL;
}

void device_remove(Device *d, Post *done)
{
    assert_control();
    Removal *r = removal_of(d);

    if (!r) {
        r = g_new0(Removal, 1);
        r->top = d;
        r->tree = g_ptr_array_new();
        r->dones = g_ptr_array_new();
        r->next = removals;
        removals = r;
        collect(d, r->tree);
        withdraw_all(r->tree);
        epoch_defer(&r->epoch, on_grace);
    }
    if (done) {
        g_ptr_array_add(r->dones, done);
    }
}

/* --- buses --- */

Bus *bus_new(const SlotType *slot, Device *owner, const char *name)
{
    Bus *b = g_new0(Bus, 1);
    Bus **p = &owner->bus_first;

    assert_control();
    b->slot = slot;
    b->owner = owner;
    b->name = name ? g_strdup(name) : g_strdup_printf("%s.0", owner->id);
    while (*p) {
        p = &(*p)->next;
    }
    *p = b;
    return b;
}

void bus_free(Bus *b)
{
    assert_control();
    if (!b) {
        return;
    }
    Bus **p = &b->owner->bus_first;

    while (*p && *p != b) {
        p = &(*p)->next;
    }
    if (*p) {
        *p = b->next;
    }
    /* Whoever is still on it (a realize that failed) is on no bus now. */
    while (b->first) {
        Device *d = b->first;

        b->first = d->bus_next;
        d->bus = NULL;
        d->bus_next = NULL;
    }
    g_free(b->name);
    g_free(b);
}

unsigned bus_count(const Bus *b)
{
    unsigned n = 0;

    for (const Device *d = b->first; d; d = d->bus_next) {
        n++;
    }
    return n;
}

typedef struct BusSearch {
    const SlotType *slot;
    const char *name;
    Bus *found, *full;
} BusSearch;

static void look_for_bus(Device *d, void *arg)
{
    BusSearch *s = arg;

    for (Bus *b = d->bus_first; b && !s->found; b = b->next) {
        if (s->name) {
            s->found = strcmp(b->name, s->name) == 0 ? b : NULL;
        } else if (b->slot == s->slot && b->capacity && bus_count(b) >= b->capacity) {
            s->full = b;
        } else if (b->slot == s->slot) {
            s->found = b;
        }
    }
}

Bus *bus_find(Device *root, const char *name, Error **errp)
{
    BusSearch s = { .name = name };

    device_walk(root, false, look_for_bus, &s);
    if (!s.found) {
        error_set(errp, "Bus '%s' not found", name);
    }
    return s.found;
}

Bus *bus_find_for(Device *root, const DeviceType *t, Error **errp)
{
    BusSearch s = { .slot = t->slot };

    device_walk(root, false, look_for_bus, &s);
    if (!s.found && s.full) {
        error_set(errp, "Bus '%s' is full", s.full->name);
    } else if (!s.found) {
        error_set(errp, "No '%s' bus found for device '%s'", slot_bus_name(t->slot), t->name);
    }
    return s.found;
}

/* --- tree --- */

char *device_path(const Device *d)
{
    g_autofree char *up = d->parent ? device_path(d->parent) : g_strdup("");

    return g_strdup_printf("%s/%s", up, d->id);
}

static Device *find_path(Device *root, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path + 1, "/", 64);
    Device *d = root;

    while (d->parent) {
        d = d->parent;
    }
    if (!parts[0] || strcmp(parts[0], d->id) != 0) {
        return NULL;
    }
    for (unsigned i = 1; parts[i] && d; i++) {
        d = child_find(d, parts[i]);
    }
    return d;
}

static Device *find_id(Device *d, const char *id, bool user_made)
{
    if (d->user_made == user_made && strcmp(d->id, id) == 0) {
        return d;
    }
    for (Device *c = d->child_first; c; c = c->sibling_next) {
        Device *found = find_id(c, id, user_made);

        if (found) {
            return found;
        }
    }
    return NULL;
}

Device *device_find(Device *root, const char *id)
{
    assert_control();
    if (*id == '/') {
        return find_path(root, id);
    }
    Device *d = find_id(root, id, true);

    return d ? d : find_id(root, id, false);
}

static bool has_link(const Device *d, const PropDesc *props, const void *target)
{
    for (const PropDesc *p = props; p && p->name; p++) {
        if (p->kind == PROP_KIND_LINK && *(void *const *)((const char *)d + p->at) == target) {
            return true;
        }
    }
    return false;
}

Device *device_linked_to(Device *d, const void *target)
{
    assert_control();
    if (has_link(d, d->type->props, target) || has_link(d, d->type->slot->props, target)) {
        return d;
    }
    for (Device *c = d->child_first; c; c = c->sibling_next) {
        Device *found = device_linked_to(c, target);

        if (found) {
            return found;
        }
    }
    return NULL;
}

void device_walk(Device *d, bool up, void (*fn)(Device *d, void *arg), void *arg)
{
    if (!up) {
        fn(d, arg);
    }
    for (Device *c = d->child_first; c; c = c->sibling_next) {
        if (!c->bus) {
            device_walk(c, up, fn, arg);
        }
    }
    for (Bus *b = d->bus_first; b; b = b->next) {
        for (Device *c = b->first; c; c = c->bus_next) {
            device_walk(c, up, fn, arg);
        }
    }
    if (up) {
        fn(d, arg);
    }
}

/* --- the acts on a whole subtree --- */

static void reset_one(Device *d, void *arg)
{
    ResetKind kind = *(ResetKind *)arg;

    if (!d->realized) {
        return;
    }
    TRACE(device_reset, "id=%s type=%s kind=%d", d->id, d->type->name, kind);
    domain_enter(d->domain);
    if (d->type->slot->reset) {
        d->type->slot->reset(d, kind);
    }
    if (d->type->reset) {
        d->type->reset(d, kind);
    }
    domain_leave(d->domain);
}

void device_reset_tree(Device *d, ResetKind kind)
{
    assert_control();
    device_walk(d, false, reset_one, &kind);
}

static void settle_one(Device *d, void *arg)
{
    if (!d->realized) {
        return;
    }
    domain_enter(d->domain);
    if (d->type->slot->settle) {
        d->type->slot->settle(d);
    }
    if (d->type->settle) {
        d->type->settle(d);
    }
    domain_leave(d->domain);
}

void device_settle_tree(Device *d)
{
    assert_control();
    device_walk(d, false, settle_one, NULL);
}

static void quiesce_one(Device *d, void *arg)
{
    Barrier *home = arg;
    void (*quiesce)(Device *, Barrier *) =
        d->type->slot->quiesce ? d->type->slot->quiesce : d->type->quiesce;

    if (!d->realized || d->quiet) {
        return;
    }
    domain_enter(d->domain);
    d->quiet = true;
    if (quiesce) {
        barrier_enter(home);
        quiesce(d, home);
    }
    domain_leave(d->domain);
}

void device_quiesce_tree(Device *d, Barrier *home)
{
    assert_control();
    device_walk(d, false, quiesce_one, home);
}

static void resume_one(Device *d, void *arg)
{
    void (*resume)(Device *) = d->type->slot->resume ? d->type->slot->resume : d->type->resume;

    if (!d->realized || !d->quiet || d->removing) {
        return;
    }
    domain_enter(d->domain);
    d->quiet = false;
    dev_timers_resume(d);
    if (resume) {
        resume(d);
    }
    domain_leave(d->domain);
}

void device_resume_tree(Device *d)
{
    assert_control();
    device_walk(d, false, resume_one, NULL);
}

typedef struct Quiescing {
    Device *top;
    Post *done;
    Post opened;
    Barrier home;
    struct Quiescing *next;
} Quiescing;

static Quiescing *quiescing;           /* the first is under way */
static void (*on_quiesce)(bool begins);        /* control */

void device_on_quiesce(void (*fn)(bool begins))
{
    assert_control();
    on_quiesce = fn;
}

static void quiesce_begin(Quiescing *q);

static void quiesce_opened(Post *p)
{
    Quiescing *q = (Quiescing *)((char *)p - offsetof(Quiescing, opened));

    if (on_quiesce) {
        on_quiesce(false);
    }
    q->done->run(q->done);
    quiescing = q->next;
    g_free(q);
    if (quiescing) {
        quiesce_begin(quiescing);
    }
}

static void quiesce_begin(Quiescing *q)
{
    q->opened.run = quiesce_opened;
    barrier_init(&q->home, loop_control(), &q->opened);
    if (on_quiesce) {
        on_quiesce(true);
    }
    device_quiesce_tree(q->top, &q->home);
    barrier_leave(&q->home);
}

void device_quiesce_later(Device *d, Post *done)
{
    Quiescing *q = g_new0(Quiescing, 1), **p = &quiescing;

    assert_control();
    q->top = d;
    q->done = done;
    while (*p) {
        p = &(*p)->next;
    }
    *p = q;
    if (quiescing == q) {
        quiesce_begin(q);
    }
}
