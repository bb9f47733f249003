/* activity.h: random accesses to a device's registers, from a seed. */
#ifndef TESTS_CONFORM_ACTIVITY_H
#define TESTS_CONFORM_ACTIVITY_H

#include "hw/pci/pci.h"
#include "tests/device/bench.h"

typedef struct Target {
    Space *space;
    Gpa at;
    uint64_t size;
    bool ram;
} Target;

typedef struct Activity {
    GArray *targets;           /* Target */
    PciBus *bus;               /* config space: a function's bus and place, or NULL */
    uint8_t devfn;
    unsigned config_size;
} Activity;

/* What of @d and below it a CPU can reach now; BARs of a PCI function are mapped first when
 * @map. */
void activity_find(Bench *b, Device *d, bool map, Activity *a);
void activity_clear(Activity *a);
/* One random access.  Returns what was read (0 for a write).  Any thread. */
uint64_t activity_turn(const Activity *a, GRand *rand, bool writes);
/* @turns accesses with a little time in between; finds the targets anew now and then. */
void activity_run(Bench *b, Device *d, GRand *rand, unsigned turns);
/* A digest of @turns reads. */
uint64_t activity_reads(Bench *b, Device *d, GRand *rand, unsigned turns);

#endif
