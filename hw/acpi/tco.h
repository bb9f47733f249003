/* tco.h: the TCO watchdog of the ICH9 (Intel 316972, 13.9), behind iTCO_wdt of Linux.
 *
 * A part of the chip that has the ACPI block, in whose box its 32 bytes lie; under its domain. */
#ifndef HW_ACPI_TCO_H
#define HW_ACPI_TCO_H

#include "core/clock.h"
#include "core/device.h"
#include "core/region.h"
#include "core/state.h"

#define TCO_AT 0x60            /* in the ACPI block */
#define TCO_TICK_NS (600 * NS_PER_MS)

typedef struct Tco {
    Device *owner;
    Region io;
    DevTimer timer;
    bool (*no_reboot)(const Device *owner);    /* GCS.NO_REBOOT */
    /* state */
    uint8_t dat_in, dat_out, wdcnt, irq_gen, message[2];
    uint16_t sts1, sts2, cnt1, cnt2, initial;  /* initial: ticks that a reload counts from */
    uint64_t expires_ns;       /* CLOCK_VM; 0: halted */
    bool first;                /* the first time-out has passed */
} Tco;

extern const StateDesc tco_state;

/* Puts the registers into @block, the box at PMBASE. */
CTX_CONTROL void tco_init(Tco *t, Device *owner, Region *block, bool (*no_reboot)(const Device *owner));
CTX_CONTROL void tco_free(Tco *t);
CTX_DOMAIN void tco_reset(Tco *t, ResetKind kind);
CTX_DOMAIN void tco_settle(Tco *t);

#endif
