/* hyperv.h: Hyper-V enlightenments of a vCPU: what KVM must be told, its registers, its exits. */
#ifndef ACCEL_KVM_HYPERV_H
#define ACCEL_KVM_HYPERV_H

#include "accel/kvm/cpu.h"

#define HYPERV_VENDOR "Microsoft Hv"

struct KvmVcpu;
struct kvm_run;

/* Registers @first to @last, there with enlightenment @prop (P_COUNT: with any). */
typedef struct HypervMsr {
    CpuProp prop;
    uint32_t first, last;
    uint64_t reset;
} HypervMsr;

/* Row @i, in the order in which they must be written; NULL: past the last. */
const HypervMsr *hyperv_msr(unsigned i);
/* The guest has it. */
bool hyperv_msr_used(const HypervMsr *r);
/* Tells KVM what the new vCPU has; after its CPUID is set. */
bool hyperv_vcpu_open(struct KvmVcpu *v, Error **errp);
/* Notes what the guest told of its crash; own thread. */
void hyperv_crash(struct KvmVcpu *v);
/* What it told as a new GuestPanicInformation; NULL: it has not crashed.  Any thread. */
json_t *hyperv_crash_info(void);
/* Carries out KVM_EXIT_HYPERV; own thread. */
void hyperv_exit(struct kvm_run *run);

#endif
