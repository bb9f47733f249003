/* topology.h: APIC ids from -smp, by the field widths of CPUID leaves 0xB and 0x1F. */
#ifndef ACCEL_TOPOLOGY_H
#define ACCEL_TOPOLOGY_H

#include "core/machine.h"

/* Bits of the APIC id below the core, die and package fields. */
typedef struct TopologyBits {
    unsigned core, die, package;
} TopologyBits;

CTX_ANY TopologyBits topology_bits(const CpuTopology *t);
/* The APIC id of vCPU @index, which counts threads, then cores, dies, sockets. */
CTX_ANY uint32_t topology_apic_id(const CpuTopology *t, unsigned index);
/* Logical processors of one package. */
CTX_ANY unsigned topology_per_package(const CpuTopology *t);

#endif
