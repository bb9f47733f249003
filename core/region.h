/* region.h: what a guest sees at its addresses.
 *
 * Regions form a graph: boxes hold regions at offsets with priorities local to the box; windows show
 * part of another region.  A Space (memory, or I/O ports) is a root box and, published from it, a flat
 * map: a sorted array without overlaps that readers search without a lock.
 *
 * 1. Regions are initialised in realize and are out of every map after unrealize; between, they are
 *    moved and hidden freely, on any thread, by map_begin/.../map_commit.
 * 2. A commit publishes one new flat map per changed space, tells the accelerator the difference (slots,
 *    doorbells), and never waits.  The old map lives until every reader has left its epoch section.
 * 3. A register access is: enter epoch, find in the flat map, take the owner's domain unless the region
 *    is lockless, call, release, leave.
 * 4. Edits name regions, never addresses. */
#ifndef CORE_REGION_H
#define CORE_REGION_H

#include "core/device.h"
#include "core/ram.h"
#include "core/types.h"
#include "util/notifier.h"

typedef enum IoResult { IO_OK, IO_HOLE, IO_REFUSED } IoResult;

enum {
    REGION_LOCKLESS = 1,       /* callbacks need no domain; a comment beside the ops says why */
    REGION_UNALIGNED = 2,      /* callbacks accept accesses not aligned to their size */
    REGION_STRICT = 4,         /* accesses outside min..max are refused (ones, ignored), not split */
    REGION_COALESCED = 8,      /* writes have no side effect that is due at once: KVM may batch them */
};

/* Register callbacks.  Values are little-endian numbers in the low @size bytes.  With sizes outside
 * min..max the core splits a larger access into max-sized ones and widens a smaller one to min (a read
 * takes its bytes from the aligned wider one; a write is zero in the other bytes).  An access belongs
 * whole to the region that its first byte decodes to, as on a bus; what goes beyond that region's end
 * goes on to the next.  A NULL read gives ones, a NULL write is ignored. */
typedef struct RegionOps {
    uint64_t (*read)(void *dev, uint64_t off, unsigned size);
    void (*write)(void *dev, uint64_t off, uint64_t val, unsigned size);
    uint8_t min, max;          /* bytes: 1, 2, 4, 8 */
    uint8_t flags;
} RegionOps;

typedef enum RegionKind { REGION_IO, REGION_RAM, REGION_ROMD, REGION_WINDOW, REGION_BOX } RegionKind;

typedef struct Doorbell {
    uint64_t off;
    unsigned size;             /* 0: any size */
    bool has_match;
    uint64_t match;
    Notifier *notifier;
} Doorbell;

struct Region {
    const char *name;
    Device *dev;
    RegionKind kind;
    const RegionOps *ops;      /* IO, and writes (and register mode) of ROMD */
    void *arg;                 /* what the callbacks get: the device unless said otherwise */
    uint64_t size;
    RamBlock *ram;             /* RAM, ROMD */
    uint64_t ram_at;
    bool readonly;             /* RAM: guest writes are dropped (or go to ops when set) */
    bool romd_off;             /* ROMD: register mode, reads go to ops too */
    bool log_dirty;            /* RAM: the accelerator records guest writes (display) */
    Region *target;            /* WINDOW */
    uint64_t target_at;
    /* place in the box; guarded by MAP */
    Region *box;
    uint64_t at;
    int priority;
    Region *children, *next;   /* BOX: in descending priority */
    Doorbell *doorbells;
    unsigned doorbell_count;
    struct Region *shown_in;   /* windows that show this region, */
    struct Region *shown_next; /* linked by this */
    struct Region *dev_next;   /* regions of the same device */
};

/* --- making (control thread, in realize; no lock) --- */
CTX_CONTROL void region_io(Region *r, Device *d, const char *name, const RegionOps *ops, uint64_t size);
/* As region_io(), but the callbacks get @arg. */
CTX_CONTROL void region_io_arg(Region *r, Device *d, const char *name, const RegionOps *ops, void *arg,
                               uint64_t size);
CTX_CONTROL void region_ram(Region *r, Device *d, const char *name, RamBlock *ram, uint64_t at,
                            uint64_t size);
/* Read-only for the guest; writes are dropped. */
CTX_CONTROL void region_rom(Region *r, Device *d, const char *name, RamBlock *ram, uint64_t at,
                            uint64_t size);
/* Reads come from @ram, writes go to @ops (flash); region_romd_mode() switches reads to @ops too. */
CTX_CONTROL void region_romd(Region *r, Device *d, const char *name, RamBlock *ram, const RegionOps *ops);
CTX_CONTROL void region_window(Region *r, Device *d, const char *name, Region *to, uint64_t at,
                               uint64_t size);
CTX_CONTROL void region_box(Region *r, Device *d, const char *name, uint64_t size);
/* Frees what the region owns (doorbells); it must be out of every map. */
CTX_CONTROL void region_free(Region *r);

/* Writes of @size bytes (0: any) at @off, equal to *@match when not NULL, signal @n instead of calling
 * write; part of the map, so it follows its BAR.  Takes effect at the next commit, inside or outside
 * map_begin().  Drop it, commit, and only then close @n, under the domain. */
CTX_ANY void region_doorbell(Region *r, uint64_t off, unsigned size, const uint64_t *match, Notifier *n);
CTX_ANY void region_doorbell_drop(Region *r, uint64_t off, Notifier *n);

/* --- editing (any thread, below DOMAIN) --- */
CTX_ANY void map_begin(void);
CTX_ANY void map_put(Region *box, Region *r, uint64_t at, int priority);
CTX_ANY void map_drop(Region *r);              /* no effect when it is not in a box */
CTX_ANY void map_resize(Region *r, uint64_t size);
/* RAM region @r, which is in no box, shows what is @at in @ram from now on. */
CTX_ANY void map_ram_to(Region *r, RamBlock *ram, uint64_t at);
CTX_ANY void map_window_to(Region *window, Region *to, uint64_t at);
CTX_ANY void map_romd_mode(Region *r, bool rom);
CTX_ANY void map_readonly(Region *r, bool readonly);
CTX_ANY void map_log_dirty(Region *r, bool on);
CTX_ANY void map_commit(void);
/* begin + put/drop + commit. */
CTX_ANY void map_put_one(Region *box, Region *r, uint64_t at, int priority);
CTX_ANY void map_drop_one(Region *r);
/* While a machine is built: commits only note the change until map_hold(false) publishes once. */
CTX_CONTROL void map_hold(bool on);

/* --- spaces --- */
/* SMM: memory as processors see it in system management mode; BUS: DMA views, without slots. */
typedef enum SpaceKind { SPACE_MEM, SPACE_PIO, SPACE_SMM, SPACE_BUS } SpaceKind;
CTX_CONTROL Space *space_new(const char *name, SpaceKind kind, Region *root);
CTX_CONTROL void space_free(Space *s);
CTX_ANY const char *space_name(const Space *s);

/* One access as a CPU (or qtest) makes it: any size from 1 to 8 bytes or, for RAM, more.  A hole
 * reads as ones.  Any thread that may take a domain, holding none. */
CTX_ANY IoResult space_read(Space *s, Gpa at, void *buf, unsigned size);
CTX_ANY IoResult space_write(Space *s, Gpa at, const void *buf, unsigned size);
/* Any length: split into register accesses of natural size where it is not RAM. */
CTX_ANY IoResult space_read_bytes(Space *s, Gpa at, void *buf, size_t n);
CTX_ANY IoResult space_write_bytes(Space *s, Gpa at, const void *buf, size_t n);
/* Copies into RAM and ROM alike, as loaders do; false where there is neither. */
CTX_ANY bool space_load(Space *s, Gpa at, const void *buf, size_t n);

/* The RAM behind @at, inside an epoch section: host address and, in *@len, how far it goes (at most
 * what *@len said).  NULL: no RAM there, or read-only and @for_write. */
CTX_ANY void *space_ram(Space *s, Gpa at, uint64_t *len, bool for_write);
/* Changes whenever what @s shows does; 0: it shows nothing.  Inside an epoch section: what was found in an
 * earlier one with the same number is still valid. */
CTX_ANY uint64_t space_generation(Space *s);
/* The RAM block and the offset in it; inside an epoch section. */
CTX_ANY RamBlock *space_ram_block(Space *s, Gpa at, uint64_t *off);

/* One line per flat range ("info mtree -f"); owned by the caller. */
CTX_ANY char *space_dump(Space *s);

/* "info mtree": the regions of every space as a tree, priorities, windows and all; @owners: and whose they
 * are.  "info mtree -f": what is left of them for a reader, space by space.  Owned by the caller. */
CTX_ANY GString *spaces_dump_tree(bool owners);
CTX_ANY GString *spaces_dump_flat(bool owners);

/* --- what the accelerator follows --- */
typedef struct FlatRam {
    Gpa at;
    uint64_t size;
    void *host;
    RamBlock *ram;
    bool readonly, log_dirty;
    unsigned slot;             /* the accelerator's slot number, stable while the range lives */
} FlatRam;
/* Calls fn for each RAM range of @s with its slot; takes MAP. */
CTX_ANY void space_each_ram(Space *s, void (*fn)(const FlatRam *r, void *arg), void *arg);

#endif
