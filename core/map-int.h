/* map-int.h: the published form of a space, shared by region.c, flatmap.c and space.c.
 *
 * 1. A FlatMap never changes after epoch_store(); its generation is unique in the process for
 *    ever, so
 *    a per-thread hint that carries it needs no other check.
 * 2. Holes are ranges too: the array covers every address from 0 to 2^64 - 1 and a search always
 *    finds. */
#ifndef CORE_MAP_INT_H
#define CORE_MAP_INT_H

#include "core/region.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/lock.h"

enum {
    RANGE_READS_RAM = 1,       /* reads come from @host */
    RANGE_WRITES_RAM = 2,      /* writes go to @host */
    RANGE_HOLE = 4,
    RANGE_STRICT = 8,
    RANGE_LOG_DIRTY = 16,
    RANGE_COALESCED = 32,
    RANGE_BELLS = 64,
};

#define NO_SLOT UINT32_MAX

typedef struct FlatBell {
    Gpa at;
    unsigned size;
    bool has_match;
    uint64_t match;
    Notifier *notifier;
} FlatBell;

typedef struct FlatRange {
    Gpa at;
    uint64_t span;             /* last address minus @at */
    uint64_t off;              /* of @at in the region */
    uint64_t size;             /* of the region: what callbacks may be asked for */
    const RegionOps *ops;
    void *arg;
    Domain *domain;            /* NULL: the callbacks need none */
    uint32_t sizes;            /* bit n: an access of n bytes goes to the callback as it is */
    uint32_t align_mask;       /* 0 when the callbacks take unaligned accesses, else all ones */
    uint32_t read_sizes, write_sizes;  /* @sizes where nothing but a call is to be done, else 0 */
    unsigned flags, slot;
    uint8_t *host;             /* of @at; NULL: no RAM */
    RamBlock *ram;
    Region *region;
    unsigned bell_first, bell_count;
} FlatRange;

typedef struct FlatMap {
    uint64_t generation;
    unsigned count, bell_count;
    FlatRange *ranges;
    FlatBell *bells;
    EpochItem epoch;
} FlatMap;

struct Space {
    FlatMap *map;              /* published */
    Region *root;
    SpaceKind kind;
    bool changed;              /* guarded by MAP */
    char *name;
    Space *next;               /* guarded by MAP */
};

extern Lock map_lock;          /* rank MAP: the region graph, the list of spaces, slot numbers */
extern Lock bells_lock;        /* rank LEAF: doorbell arrays of regions */

/* region.c: the first of all spaces; follow ->next. */
Space *spaces_first(void) LOCK_HELD(map_lock);
/* flatmap.c: renders @s and, when that differs from what is published, tells the accelerator and
 * publishes.  MAP is held. */
void flatmap_update(Space *s) LOCK_HELD(map_lock);
/* flatmap.c: takes all slots and doorbells of @s away again and frees its map. */
void flatmap_retire(Space *s) LOCK_HELD(map_lock);
/* flatmap.c: the map of a space that shows nothing. */
FlatMap *flatmap_empty(void);
/* flatmap.c: "ram", "rom", "romd" or "i/o". */
const char *flat_range_type(const FlatRange *r);
/* flatmap.c: the range that holds @at, by binary search. */
const FlatRange *flatmap_search(const FlatMap *m, Gpa at);

#endif
