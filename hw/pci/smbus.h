/* smbus.h: an SMBus host controller with an empty bus, as PIIX4 and ICH9 have it. */
#ifndef HW_PCI_SMBUS_H
#define HW_PCI_SMBUS_H

#include "core/region.h"
#include "core/state.h"

typedef struct SmBus {
    Region io;                 /* 64 bytes of ports */
    uint8_t regs[32];
} SmBus;

extern const StateDesc smbus_state;

CTX_CONTROL void smbus_init(SmBus *s, Device *d, uint64_t size);

#endif
