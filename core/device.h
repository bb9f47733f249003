/* device.h: device types, devices, buses, and the life cycle every device shares.
 *
 *   device_create -> device_set... -> device_realize -> visible -> device_remove
 *        (zeroed,       (text)        (attach, realize,      (withdraw, quiesce, unrealize, detach;
 *         defaults)                    publish)               freed after a grace period)
 *
 * 1. Nothing in the tree is reference-counted: parents own children, children die before parents, and
 *    the grace period covers every late reader.  Embedding regions and lines in the device is safe.
 * 2. realize and unrealize run on control while no guest can reach the device, with no lock held; so do a
 *    slot's attach, publish, withdraw and detach, which take what they need.  Every other callback runs
 *    on control under the device's domain.
 * 3. reset touches own fields only; settle, called after every neighbour was reset or loaded, drives
 *    outputs.  Leaving reset and finishing a load are the same act. */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include "core/domain.h"
#include "core/prop.h"
#include "core/types.h"
#include "util/epoch.h"
#include "util/loop.h"

typedef enum ResetKind {
    RESET_POWER,               /* power-on: everything */
    RESET_BUS,                 /* secondary bus reset, FLR, D3 to D0 */
    RESET_GUEST,               /* the guest's own reset of this device by its register */
} ResetKind;

enum {
    DEV_HOTPLUG = 1,           /* may come and go while the guest runs */
    DEV_OWN_DOMAIN = 2,        /* gets a domain of its own instead of its parent's */
    DEV_STATELESS = 4,         /* has no guest-influenced state (checked by conform) */
    DEV_INTERNAL = 8,          /* made by boards only; -device refuses it */
    DEV_STAYS = 16,            /* device_del refuses it: no guest knows how to let it go */
};

/* Properties that no table can hold, because their values are computed or their names are not known
 * before the program runs.  Values are JSON text. */
typedef struct DeviceExtra {
    /* Calls fn for each; @type as the object tree names it: "bool", "int", "str", "strList", ... */
    void (*each)(const DeviceType *t, void (*fn)(const char *name, const char *type, void *arg), void *arg);
    /* The value, owned by the caller; NULL: no such property. */
    char *(*get)(Device *d, const char *name);
    /* May be NULL: all are read-only.  @name is one that get() knows; that may be a property of the table
     * too, which takes another value here once the device is realized. */
    bool (*set)(Device *d, const char *name, const char *json, Error **errp);
} DeviceExtra;

struct DeviceType {
    const char *name;          /* catalogue key; file, trace group, state, test and doc share it */
    const char *alias;         /* another name that people may give it; NULL: none */
    const char *summary;
    const SlotType *slot;      /* what it plugs into */
    size_t size;               /* of a struct whose first member is the slot's base, a Device at last */
    unsigned flags;
    const PropDesc *props;
    const StateDesc *state;
    const void *slot_ops;      /* const PciOps *, const VirtioOps *, ... as slot says */
    const DeviceType *inner;   /* a compound: this child is created with it and shares its properties */
    const DeviceExtra *extra;  /* further properties, seen in the object tree only; NULL: none */
    const char *category;      /* heading in -device help: "Storage", "Network", "Input", ... */

    bool (*realize)(Device *d, Error **errp);  /* on failure it has undone everything itself */
    void (*unrealize)(Device *d);
    void (*reset)(Device *d, ResetKind kind);
    void (*settle)(Device *d);
    void (*quiesce)(Device *d, Barrier *home); /* start nothing new; barrier_leave(@home) once idle */
    void (*resume)(Device *d);                 /* also called once when the machine first runs */
};

/* What the devices of one kind of bus share: the base part of their struct. */
struct SlotType {
    const char *name;                          /* "pci", "isa", "virtio", "board", "ide" */
    const char *bus;                           /* what people call its buses: "PCI"; NULL: @name */
    const char *suffix;                        /* of its types' names in listings and the tree, or NULL */
    bool no_bus;                               /* plugs into the machine itself: board, cpu, dimm */
    size_t base_size;
    const PropDesc *props;                     /* offsets in the base part */
    const StateDesc *state;                    /* of the base part */
    bool (*attach)(Bus *b, Device *d, Error **errp);    /* before realize: find a place on the bus */
    bool (*publish)(Bus *b, Device *d, Error **errp);   /* after realize: the guest may see it now */
    void (*withdraw)(Bus *b, Device *d);                /* before quiesce: out of the guest's sight */
    void (*detach)(Bus *b, Device *d);                  /* after unrealize */
    void (*reset)(Device *d, ResetKind kind);           /* base part, before the type's reset */
    void (*settle)(Device *d);                          /* base part, before the type's settle */
    void (*quiesce)(Device *d, Barrier *home);          /* instead of the type's, which it calls */
    void (*resume)(Device *d);
    /* False: device_del is refused, *errp is set.  NULL: it never is.  Control, no lock. */
    bool (*may_unplug)(const Device *d, Error **errp);
    /* device_del on a running machine, where the guest is asked first: true: it will be removed when
     * the guest lets go.  NULL: device_remove() at once.  Control, no lock. */
    bool (*unplug_request)(Device *d, Error **errp);
    /* Appends lines that tell people where the device is and what it shows there; may be NULL.  Control. */
    void (*describe)(Device *d, GString *out);
};

struct Device {
    const DeviceType *type;
    char *id;                  /* unique among siblings, stable across save and load */
    Device *parent;            /* NULL: the machine itself */
    Bus *bus;                  /* where it is plugged; NULL for slots without a bus */
    Domain *domain;
    Loop *loop;                /* home of its timers and completions */
    Machine *machine;
    Device *child_first, *sibling_next;
    Device *inner;             /* the child made for type->inner */
    Bus *bus_first;            /* buses it offers */
    Device *bus_next;          /* next device on the same bus */
    IrqLine *line_first;       /* its output lines, see core/irq.h */
    IrqSink *inputs;           /* its input pins, or NULL */
    Space *dma;                /* where its DMA goes; NULL: nowhere */
    bool realized;
    bool dma_on;               /* atomic: bus mastering allowed */
    bool hotplugged;           /* realized after the machine's first reset */
    bool user_made;            /* by -device or device_add: lives under /machine/peripheral */
    EpochItem epoch;
    /* the core's own */
    struct Region *region_first;       /* its regions, linked by dev_next */
    struct DevTimer *timer_first;
    int32_t bootindex;         /* see machine_bootindex(); -1: none */
    unsigned deferred;         /* calls queued by machine_defer() */
    unsigned made_count;       /* children that got a made-up id so far */
    bool quiet;                /* atomic: quiesced and not resumed; its timers are held back */
    bool removing;             /* atomic: device_remove() has begun */
};

struct Bus {
    const SlotType *slot;
    Device *owner;
    char *name;                /* "pci.0", "ide.1" */
    const char *type_name;     /* in the object tree: "PCIE"; NULL: that of the slot's kind */
    Device *first;
    Bus *next;                 /* next bus of the same owner */
    unsigned capacity;         /* devices it takes; 0: no limit */
    bool hotplug;              /* accepts devices while the guest runs */
    void *priv;                /* what the slot's core adds (IsaBus, PciBus) */
};

/* --- catalogue --- */
/* All types, NULL-terminated, sorted by name; hw/catalogue.c fills it from hw/devices.def. */
CTX_CONTROL void device_types_register(const DeviceType *const *types);
CTX_ANY const DeviceType *const *device_types(void);
/* Adds a type that the machine makes up (its vCPUs' type); @t lives as long as the process. */
CTX_CONTROL void device_type_add(const DeviceType *t);
CTX_ANY const DeviceType *device_type_find(const char *name);
/* Whether -global @name means it: by its own name, or as one of a kind: "pci-device", "virtio-device",
 * "virtio-pci". */
CTX_ANY bool device_type_is(const DeviceType *t, const char *name);
/* Finds the property @name of @t: the type's own, the slot's, or the inner type's.  *@owner tells
 * which object holds it: 0 the device, 1 its inner child. */
CTX_ANY const PropDesc *device_type_prop(const DeviceType *t, const char *name, int *owner);

/* Every type the user may make, by category; and the properties of one.  Owned by the caller. */
CTX_ANY GString *device_help_all(void);
CTX_ANY GString *device_help_type(const DeviceType *t);

/* --- life --- */
/* Creates @t below @parent on @bus (NULL where the slot has none).  @id NULL makes one up: "device[N]",
 * and the parent is then /machine/unattached for the machine's root and /machine/peripheral-anon for
 * /machine/peripheral.  The domain is that of the bus's owner (of the parent without a bus) unless
 * DEV_OWN_DOMAIN.  The inner child is created too; it plugs into the bus of its kind that the outer
 * device's realize makes, and is realized after that unless realize has done so itself. */
CTX_CONTROL Device *device_create(const DeviceType *t, Device *parent, Bus *bus, const char *id,
                                  Error **errp);
CTX_CONTROL bool device_set(Device *d, const char *prop, const char *text, Error **errp);
/* The property as text, owned by the caller; NULL when there is no such property. */
CTX_CONTROL char *device_get(Device *d, const char *prop);
/* Attaches, realizes, resets to power-on and publishes.  Settles too on a machine that was reset once
 * (hot-plug); before that machine_reset() will. */
CTX_CONTROL bool device_realize(Device *d, Error **errp);
/* False: @id (NULL: none is given) is not what people may call a device; *errp is set. */
CTX_ANY bool device_check_id(const char *id, Error **errp);
/* Frees a device that was never realized, or whose realize failed. */
CTX_CONTROL void device_discard(Device *d);
/* Withdraws, quiesces, unrealizes and frees @d and all below it; @done (may be NULL) runs on control
 * afterwards, when back ends are free again.  Returns at once.  A grace period passes between withdraw
 * and quiesce.  For a user_made device the listener's device_deleted is called.  Removing twice is fine. */
CTX_CONTROL void device_remove(Device *d, Post *done);
/* As device_remove(), on a machine that does not run (start-up failure, process exit): no waiting. */
CTX_CONTROL void device_destroy(Device *d);
/* create + set + realize for boards: pairs of "prop", "text" strings, then NULL. */
CTX_CONTROL Device *device_make(const DeviceType *t, Device *parent, Bus *bus, const char *id,
                                Error **errp, ...) G_GNUC_NULL_TERMINATED;

/* --- buses --- */
CTX_ANY const char *slot_bus_name(const SlotType *slot);
CTX_CONTROL Bus *bus_new(const SlotType *slot, Device *owner, const char *name);
/* Frees an empty bus; buses left after unrealize are freed by the core. */
CTX_CONTROL void bus_free(Bus *b);
/* How many devices are on it. */
CTX_CONTROL unsigned bus_count(const Bus *b);
/* The bus called @name below @root.  NULL: *errp is set. */
CTX_CONTROL Bus *bus_find(Device *root, const char *name, Error **errp);
/* The first that takes a @t and has room.  NULL: *errp is set. */
CTX_CONTROL Bus *bus_find_for(Device *root, const DeviceType *t, Error **errp);

/* --- tree --- */
/* "/machine/peripheral/ID", "/machine/q35/..."; owned by the caller. */
CTX_ANY char *device_path(const Device *d);
/* Finds by user-given id, or by path when @id begins with '/'. */
CTX_CONTROL Device *device_find(Device *root, const char *id);
/* The device at or below @d whose property is a link to @target (a back end), or NULL. */
CTX_CONTROL Device *device_linked_to(Device *d, const void *target);
/* Calls fn for @d and everything below it, parents first (@up: children first). */
CTX_CONTROL void device_walk(Device *d, bool up, void (*fn)(Device *d, void *arg), void *arg);

/* --- the acts on a whole subtree --- */
CTX_CONTROL void device_reset_tree(Device *d, ResetKind kind);      /* reset all; no settle */
CTX_CONTROL void device_settle_tree(Device *d);
/* Enters @home once per device that needs it; each leaves when idle. */
CTX_CONTROL void device_quiesce_tree(Device *d, Barrier *home);
CTX_CONTROL void device_resume_tree(Device *d);
/* Quiesces the tree and then posts @done to control; one such act runs at a time in the process, and
 * the next begins when @done has run. */
CTX_CONTROL void device_quiesce_later(Device *d, Post *done);
/* Calls fn(true) whenever devices begin to come to rest, and fn(false) when they have. */
CTX_CONTROL void device_on_quiesce(void (*fn)(bool begins));

/* The checked conversion: aborts in debug builds when @d is not of @t's struct. */
static inline void *device_as(Device *d, const DeviceType *t)
{
    if (DEBUG_CHECKS && d->type != t) {
        g_error("device %s is a %s, not a %s", d->id, d->type->name, t->name);
    }
    return d;
}

/* A slot that needs no bus: chips the board places by itself. */
extern const SlotType board_slot;

#endif
