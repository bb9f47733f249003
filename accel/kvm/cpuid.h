/* cpuid.h: the making of a CPUID table from a resolved model. */
#ifndef ACCEL_KVM_CPUID_H
#define ACCEL_KVM_CPUID_H

#include <linux/kvm.h>
#include "accel/kvm/cpu.h"
#include "core/machine.h"

/* Appends an entry; a full table keeps what it has. */
void cpuid_put(struct kvm_cpuid2 *c, struct kvm_cpuid_entry2 e);
/* Appends every leaf that a guest with topology @t sees but for its APIC ids; @out is empty. */
void cpuid_make(struct kvm_cpuid2 *out, KvmCpuModel *m, const KvmOffer *o, const CpuTopology *t);

#endif
