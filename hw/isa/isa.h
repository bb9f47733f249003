/* isa.h: the ISA bus of a board: ports and the sixteen interrupt lines.
 *
 * 1. Several devices may share an interrupt: the bus ORs their lines.
 * 2. Chips on it share the bus owner's domain (PIC, PIT, RTC, i8042, UARTs call one another). */
#ifndef HW_ISA_ISA_H
#define HW_ISA_ISA_H

#include "core/device.h"
#include "core/irq.h"
#include "core/region.h"

extern const SlotType isa_slot;

#define ISA_IO_MAX 6
#define ISA_LINES_MAX 4

typedef struct IsaDevice {
    Device dev;
    Region *io[ISA_IO_MAX];    /* what isa_io() was told; in the map from publish to withdraw */
    uint16_t port[ISA_IO_MAX];
    unsigned io_count;
    uint16_t pin[ISA_LINES_MAX];       /* what isa_irq() connected: pins of the bus's sink */
    unsigned line_count;
} IsaDevice;

/* Makes @owner offer the ISA bus "isa.0": ports are placed in @io, lines end in @irqs (pins 0..15). */
CTX_CONTROL Bus *isa_bus_new(Device *owner, const char *name, Region *io, IrqSink *irqs);
CTX_CONTROL void isa_bus_free(Bus *b);
/* Makes @r visible at @port while the device is; in realize.  The slot frees the region after unrealize. */
CTX_CONTROL void isa_io(Device *d, Region *r, uint16_t port);
/* Connects @line to ISA interrupt @irq (0..15). */
CTX_CONTROL void isa_irq(Device *d, IrqLine *line, unsigned irq);
/* The bus's port box, and its interrupt sink: pins 0..15 for a board's own wire to each interrupt; what
 * isa_irq() connects has a pin of its own and the bus ORs them. */
CTX_CONTROL Region *isa_bus_io(Bus *b);
CTX_CONTROL IrqSink *isa_bus_irqs(Bus *b);

#endif
