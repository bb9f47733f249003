/* catalogue.h: every device type of the program, from hw/devices.def. */
#ifndef HW_CATALOGUE_H
#define HW_CATALOGUE_H

#include "util/context.h"

/* Registers all types with core/device.c; before any device is created. */
CTX_CONTROL void catalogue_register(void);

#endif
