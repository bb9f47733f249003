/* pirq.h: the interrupt router of a south bridge: PIRQ wires (and the SCI) to ISA interrupts and, with
 * an I/O APIC, to global interrupts 16-23.
 *
 * 1. Inputs and routes are atomic words that change on any thread; the outputs follow by merge.h. */
#ifndef HW_PCI_PIRQ_H
#define HW_PCI_PIRQ_H

#include "hw/pci/merge.h"

#define PIRQ_SCI 8             /* input pin of the SCI */
#define PIRQ_OFF 0x80          /* in a route register: to no ISA interrupt */

typedef struct PirqRouter {
    IrqSink in;                /* pins 0..7: PIRQ A..H; 8: SCI */
    IrqSink *isa, *gsi;        /* gsi NULL: no wires to 16-23 */
    uint32_t level;            /* atomic: the inputs */
    uint64_t routes;           /* atomic: a route register a byte */
    uint32_t sci_to;           /* atomic: ISA interrupt, or 16..23, of the SCI; 0: none */
    uint32_t retell;           /* atomic: tell everything again */
    uint32_t isa_told, gsi_told;       /* by the thread in the merge */
    unsigned busy;
} PirqRouter;

CTX_CONTROL void pirq_init(PirqRouter *r, IrqSink *isa, IrqSink *gsi);
/* @regs: four route registers each for A-D and (may be NULL: off) E-H. */
CTX_ANY void pirq_route(PirqRouter *r, const uint8_t *abcd, const uint8_t *efgh);
CTX_ANY void pirq_sci(PirqRouter *r, unsigned to);
/* Tells the sinks all levels again (settle). */
CTX_ANY void pirq_refresh(PirqRouter *r);

#endif
