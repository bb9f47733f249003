/* pc-irq.c: the 24 global interrupt inputs of a PC: the accelerator's own controllers, or (split irqchip,
 * qtest) a PIC and an I/O APIC in user space.
 *
 * 1. ISA interrupts 0-15 reach both controllers; the timer's is I/O APIC input 2, and input 2 itself, the
 *    PIC's cascade, has no other source (the MADT's override says so). */
#include "hw/board/pc.h"

#include "hw/isa/i8259.h"
#include "hw/isa/ioapic.h"
#include "util/bytes.h"

static void gsi_set(IrqSink *s, unsigned pin, bool level)
{
    PcIrqs *q = container_of(s, PcIrqs, gsi);
    IrqSink *pic = i8259_inputs(q->pic), *ioapic = ioapic_inputs(q->ioapic);

    if (pin < 16) {
        pic->set(pic, pin, level);
    }
    ioapic->set(ioapic, pin == 0 ? 2 : pin, level);
}

static void intr_set(IrqSink *s, unsigned pin, bool level)
{
    if (accel()->extint != NULL) {
        accel()->extint(level);
    }
}

static int pic_ack(void *arg)
{
    PcIrqs *q = arg;

    return i8259_ack(q->pic);
}

static void end_of_interrupt(void *arg, uint8_t vector)
{
    PcIrqs *q = arg;

    ioapic_eoi(q->ioapic, vector);
}

static void look(void *arg, IrqChips *out)
{
    PcIrqs *q = arg;

    i8259_look(q->pic, out);
    ioapic_look(q->ioapic, out);
}

/* KVM learns from the pins' routes which vectors' ends it must report. */
static void pin_routed(void *arg, unsigned pin, const MsiMsg *m, bool masked)
{
    int gsi = (int)pin;

    if (accel()->route_set != NULL && !masked) {
        accel()->route_set(&gsi, m, NULL);
    } else if (accel()->route_drop != NULL && masked) {
        accel()->route_drop(gsi);
    }
}

void pc_irqs_begin(PcBoard *b, Machine *m)
{
    m->gsi = accel()->gsi_sink(m);
    if (m->gsi == NULL) {
        b->irqs.gsi = (IrqSink){ .set = gsi_set, .pins = PC_GSIS };
        m->gsi = &b->irqs.gsi;
    }
}

bool pc_irqs_make(PcBoard *b, Machine *m, Error **errp)
{
    PcIrqs *q = &b->irqs;

    if (m->gsi != &q->gsi) {
        return true;
    }
    q->pic = pc_make(m, m->isa, "isa-i8259", NULL, NULL, errp);
    q->ioapic = q->pic != NULL ? pc_make(m, NULL, "ioapic", "ioapic", NULL, errp) : NULL;
    if (q->ioapic == NULL) {
        return false;
    }
    q->intr = (IrqSink){ .set = intr_set, .pins = 1 };
    irq_connect(i8259_intr(q->pic), &q->intr, 0);
    ioapic_on_route(q->ioapic, pin_routed, q);
    q->soft = (SoftIrqchip){ .arg = q, .pic_ack = pic_ack, .ioapic_eoi = end_of_interrupt,
                               .look = look };
    if (accel()->soft_irqchip != NULL) {
        accel()->soft_irqchip(&q->soft);
    }
    return true;
}
