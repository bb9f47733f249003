/* ioapic.h: the I/O APIC in user space, for a split interrupt chip and for machines without KVM. */
#ifndef HW_ISA_IOAPIC_H
#define HW_ISA_IOAPIC_H

#include "core/accel.h"
#include "core/device.h"
#include "core/irq.h"

#define IOAPIC_PINS 24

extern const DeviceType ioapic_type;       /* "ioapic", slot board; at 0xfec00000 of the machine's memory */

/* The 24 inputs. */
CTX_CONTROL IrqSink *ioapic_inputs(Device *d);
/* The local APICs ended an interrupt with level-triggered @vector. */
CTX_ANY void ioapic_eoi(Device *d, uint8_t vector);
/* Copies the table and the id into *out. */
CTX_ANY void ioapic_look(Device *d, IrqChips *out);
/* fn(arg, pin, message, masked) runs under the domain whenever a redirection entry has changed, and for
 * each pin on settle: what an accelerator needs to know which vectors' ends it must report. */
typedef void IoapicRouteFn(void *arg, unsigned pin, const MsiMsg *m, bool masked);
CTX_CONTROL void ioapic_on_route(Device *d, IoapicRouteFn *fn, void *arg);

#endif
