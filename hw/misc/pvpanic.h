/* pvpanic.h: what the ISA and PCI forms of pvpanic share: one register of events. */
#ifndef HW_MISC_PVPANIC_H
#define HW_MISC_PVPANIC_H

#include "core/device.h"

enum { PVPANIC_PANICKED = 1, PVPANIC_CRASHLOADED = 2 };

/* The guest wrote @val to the register of a device that has @events turned on. */
CTX_DOMAIN void pvpanic_event(uint8_t events, uint8_t val);

#endif
