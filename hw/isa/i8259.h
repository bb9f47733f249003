/* i8259.h: the pair of interrupt controllers, for machines whose accelerator has none of its own. */
#ifndef HW_ISA_I8259_H
#define HW_ISA_I8259_H

#include "core/accel.h"
#include "core/device.h"
#include "core/irq.h"

extern const DeviceType i8259_type;        /* "isa-i8259" */

/* The sixteen inputs; pin 2 is the cascade and does nothing. */
CTX_CONTROL IrqSink *i8259_inputs(Device *d);
/* The output to the processor: connect it to something that takes nothing above rank LEAF. */
CTX_CONTROL IrqLine *i8259_intr(Device *d);
/* The processor's acknowledge cycle: the vector.  With nothing pending, the spurious one. */
CTX_ANY uint8_t i8259_ack(Device *d);
/* Copies the registers into out->pic. */
CTX_ANY void i8259_look(Device *d, IrqChips *out);

#endif
