/* smi.h: what firmware and the ICH9 agree on about system management interrupts.
 *
 * A part of the chip that has the APM command port; fw_cfg files lead here (hw/board/pc-smi.c). */
#ifndef HW_ACPI_SMI_H
#define HW_ACPI_SMI_H

#include "core/device.h"
#include "core/state.h"

enum { SMI_BROADCAST = 1 };    /* a command to the APM port interrupts every vCPU */

typedef struct SmiFeatures {
    uint64_t offered;
    /* state */
    uint64_t agreed;
    bool locked;               /* until reset */
} SmiFeatures;

extern const StateDesc smi_features_state;

/* True: @wanted, or what was asked for before, is agreed on; false: not all of it is offered. */
CTX_DOMAIN bool smi_features_agree(SmiFeatures *f, uint64_t wanted);
CTX_DOMAIN void smi_features_reset(SmiFeatures *f, ResetKind kind);

#endif
