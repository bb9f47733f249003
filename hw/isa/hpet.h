/* hpet.h: the high precision event timers, and their place between the legacy timers and the interrupts. */
#ifndef HW_ISA_HPET_H
#define HW_ISA_HPET_H

#include "core/device.h"
#include "core/irq.h"

#define HPET_BASE 0xfed00000
/* General capabilities, low half, with @timers timers: what the ACPI table and fw_cfg name. */
#define HPET_BLOCK_ID(timers) (0x8086a001u | ((timers) - 1) << 8)

extern const DeviceType hpet_type;         /* "hpet", slot board; at HPET_BASE of the machine's memory */

/* Inputs for the legacy timers: pin 0 the PIT, pin 1 the RTC.  They reach GSI 0 and 8 unless the guest
 * has turned legacy replacement on. */
CTX_CONTROL IrqSink *hpet_inputs(Device *d);

#endif
