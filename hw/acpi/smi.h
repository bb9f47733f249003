/* smi.h: what firmware and the ICH9 agree on about system management interrupts, through files of fw_cfg.
 *
 * A part of the chip that has the APM command port, like Tco (tco.h), with the same functions. */
#ifndef HW_ACPI_SMI_H
#define HW_ACPI_SMI_H

#include "core/device.h"
#include "core/state.h"

enum { SMI_BROADCAST = 1 };    /* a command to the APM port interrupts every vCPU */

typedef struct SmiFeatures {
    Device *fw_cfg;            /* NULL: no firmware can ask */
    uint64_t offered;
    /* state */
    uint64_t agreed;
    bool locked;               /* until reset */
} SmiFeatures;

extern const StateDesc smi_features_state;

/* Adds the files to @fw_cfg, which shares the chip's domain. */
CTX_CONTROL bool smi_features_offer(SmiFeatures *f, Device *fw_cfg, uint64_t offered, Error **errp);
CTX_DOMAIN void smi_features_reset(SmiFeatures *f, ResetKind kind);

#endif
