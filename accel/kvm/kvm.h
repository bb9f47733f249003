/* kvm.h: the accelerator on /dev/kvm, for system/ to choose. */
#ifndef ACCEL_KVM_KVM_H
#define ACCEL_KVM_KVM_H

#include "core/accel.h"

extern const AccelOps kvm_accel;

/* Names that -cpu takes, "name summary" lines, then the feature names ("-cpu help"); owned by the
 * caller.  Asks no host. */
CTX_CONTROL char *kvm_cpu_help(void);

#endif
