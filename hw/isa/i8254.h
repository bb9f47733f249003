/* i8254.h: the interval timer, as the speaker port and the board see it. */
#ifndef HW_ISA_I8254_H
#define HW_ISA_I8254_H

#include "core/device.h"
#include "core/irq.h"

#define PIT_HZ 1193182u

extern const DeviceType i8254_type;        /* "isa-pit" */
extern const DeviceType isa_pcspk_type;    /* "isa-pcspk" */

/* Drives the gate of channel @ch. */
CTX_DOMAIN void pit_set_gate(Device *d, unsigned ch, bool gate);
CTX_DOMAIN bool pit_gate(Device *d, unsigned ch);
/* The output of channel @ch now. */
CTX_DOMAIN bool pit_out(Device *d, unsigned ch);
/* Output of channel 0, for a board that leads it through the HPET. */
CTX_CONTROL IrqLine *pit_irq(Device *d);
/* The speaker port uses channel 2 of @pit; without it (the PIT is in the kernel) it stands alone. */
CTX_CONTROL void pcspk_set_pit(Device *spk, Device *pit);

#endif
