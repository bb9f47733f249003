/* topology.c: APIC ids from -smp.
 *
 * 1. Every field of the id is as wide as its count needs (SDM vol. 3, 9.9.3): ids may have gaps. */
#include "accel/topology.h"

#include <glib.h>

static unsigned bits_for(unsigned count)
{
    unsigned n = 0;

    while (count > 1 && (1u << n) < count) {
        n++;
    }
    return n;
}

TopologyBits topology_bits(const CpuTopology *t)
{
    unsigned core = bits_for(t->threads);
    unsigned die = core + bits_for(t->cores);

    return (TopologyBits){ .core = core, .die = die, .package = die + bits_for(t->dies) };
}

unsigned topology_per_package(const CpuTopology *t)
{
    return MAX(t->threads, 1) * MAX(t->cores, 1) * MAX(t->dies, 1);
}

uint32_t topology_apic_id(const CpuTopology *t, unsigned index)
{
    TopologyBits b = topology_bits(t);
    unsigned threads = MAX(t->threads, 1), cores = MAX(t->cores, 1), dies = MAX(t->dies, 1);
    unsigned thread = index % threads;
    unsigned core = index / threads % cores;
    unsigned die = index / threads / cores % dies;
    unsigned package = index / threads / cores / dies;

    return package << b.package | die << b.die | core << b.core | thread;
}
