/* i8259.c: the PC's two cascaded interrupt controllers (Intel 8259A) with the ELCR of the PIIX.
 *
 * 1. Everything is guarded by @lock (rank IRQ): inputs come from any thread, acknowledges from vCPUs.
 * 2. The output is driven after the lock is dropped; whoever drives it goes on until what was driven is
 *    what is wanted, so two threads cannot leave a stale level behind.
 * 3. An edge stays in IRR until it is acknowledged, even if the input falls. */
#include "hw/isa/i8259.h"

#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { ICW1_IC4 = 0x01, ICW1_SNGL = 0x02, ICW1_INIT = 0x10 };
enum { ICW4_AEOI = 0x02, ICW4_SFNM = 0x10 };
enum { OCW3 = 0x08, OCW3_RR = 0x02, OCW3_RIS = 0x01, OCW3_POLL = 0x04, OCW3_ESMM = 0x40, OCW3_SMM = 0x20 };
enum { CASCADE = 2 };

typedef struct Pic {
    uint8_t irr, imr, isr, level, elcr;
    uint8_t lowest;            /* the input of lowest priority */
    uint8_t base;              /* ICW2 */
    uint8_t init;              /* next ICW expected at the data port: 2, 3, 4; 0: none */
    uint8_t icw1, icw4;
    bool read_isr, poll, special_mask, rotate_aeoi;
} Pic;

typedef struct I8259 {
    IsaDevice isa;
    Region io[2], elcr_io;
    IrqSink inputs;
    IrqLine intr;
    Lock lock;
    Pic pic[2];                /* GUARDED_BY(lock): master, slave */
    bool wanted;               /* atomic: level of the output */
} I8259;

static const uint8_t elcr_mask[2] = { 0xf8, 0xde };

/* The priority of the highest bit of @mask, 0 highest; 8: none. */
static unsigned priority(const Pic *p, uint8_t mask)
{
    for (unsigned i = 0; mask && i < 8; i++) {
        if (mask & 1 << ((p->lowest + 1 + i) & 7)) {
            return i;
        }
    }
    return 8;
}

/* The input to be served now, or -1. */
static int pending(const Pic *p, bool master)
{
    unsigned want = priority(p, p->irr & ~p->imr);
    uint8_t busy = p->isr;

    if (want == 8) {
        return -1;
    }
    if (p->special_mask) {
        busy &= ~p->imr;
    }
    if (master && p->icw4 & ICW4_SFNM) {
        busy &= ~(1 << CASCADE);
    }
    return want < priority(p, busy) ? (int)((p->lowest + 1 + want) & 7) : -1;
}

static void set_input(Pic *p, unsigned pin, bool level)
{
    uint8_t bit = 1 << pin;

    if (p->elcr & bit) {
        p->irr = level ? p->irr | bit : p->irr & ~bit;
    } else if (level && !(p->level & bit)) {
        p->irr |= bit;
    }
    p->level = level ? p->level | bit : p->level & ~bit;
}

/* The slave's output is the master's input 2; the master's is the processor's. */
static void update_locked(I8259 *s)
{
    Pic *m = &s->pic[0];
    bool cascade = pending(&s->pic[1], false) >= 0;

    /* Seen as a level: the slave asks as long as it has something. */
    m->irr = cascade ? m->irr | 1 << CASCADE : m->irr & ~(1 << CASCADE);
    __atomic_store_n(&s->wanted, pending(m, true) >= 0, __ATOMIC_SEQ_CST);
}

static void drive(I8259 *s)
{
    bool level;

    do {
        level = __atomic_load_n(&s->wanted, __ATOMIC_SEQ_CST);
        irq_set(&s->intr, level);
    } while (level != __atomic_load_n(&s->wanted, __ATOMIC_SEQ_CST));
}

static void pic_set(IrqSink *sink, unsigned pin, bool level)
{
    I8259 *s = container_of(sink, I8259, inputs);

    if (pin >= 16 || pin == CASCADE) {
        return;
    }
    lock_take(&s->lock);
    set_input(&s->pic[pin / 8], pin % 8, level);
    update_locked(s);
    lock_drop(&s->lock);
    drive(s);
}

static void acknowledge(Pic *p, unsigned pin)
{
    uint8_t bit = 1 << pin;

    if (p->icw4 & ICW4_AEOI) {
        if (p->rotate_aeoi) {
            p->lowest = pin;
        }
    } else {
        p->isr |= bit;
    }
    if (!(p->elcr & bit)) {
        p->irr &= ~bit;
    }
}

void i8259_look(Device *d, IrqChips *out)
{
    I8259 *s = device_as(d, &i8259_type);

    lock_take(&s->lock);
    for (unsigned i = 0; i < 2; i++) {
        const Pic *p = &s->pic[i];

        out->pic[i].irr = p->irr;
        out->pic[i].imr = p->imr;
        out->pic[i].isr = p->isr;
        out->pic[i].base = p->base;
        out->pic[i].elcr = p->elcr;
    }
    lock_drop(&s->lock);
}

uint8_t i8259_ack(Device *d)
{
    I8259 *s = device_as(d, &i8259_type);
    uint8_t vector;

    lock_take(&s->lock);
    int pin = pending(&s->pic[0], true);
    if (pin < 0) {
        vector = s->pic[0].base | 7;           /* spurious: no ISR bit */
    } else {
        acknowledge(&s->pic[0], pin);
        vector = s->pic[0].base | pin;
        if (pin == CASCADE) {
            int low = pending(&s->pic[1], false);

            if (low >= 0) {
                acknowledge(&s->pic[1], low);
            }
            vector = s->pic[1].base | (low < 0 ? 7 : low);
        }
    }
    update_locked(s);
    lock_drop(&s->lock);
    drive(s);
    TRACE(i8259_ack, "vector=0x%02x", vector);
    return vector;
}

/* --- registers --- */
static void write_icw1(Pic *p, uint8_t val)
{
    p->icw1 = val;
    p->irr &= p->elcr & p->level;              /* edges must come anew */
    p->imr = p->isr = 0;
    p->lowest = 7;
    p->special_mask = p->read_isr = p->poll = p->rotate_aeoi = false;
    if (!(val & ICW1_IC4)) {
        p->icw4 = 0;
    }
    p->init = 2;
}

static void write_ocw2(Pic *p, uint8_t val)
{
    unsigned cmd = val >> 5, pin = val & 7, top;

    switch (cmd) {
    case 0: case 4:            /* rotate in automatic EOI mode: clear, set */
        p->rotate_aeoi = cmd == 4;
        break;
    case 1: case 5:            /* non-specific EOI; and rotate */
        top = priority(p, p->isr);
        if (top < 8) {
            pin = (p->lowest + 1 + top) & 7;
            p->isr &= ~(1 << pin);
            if (cmd == 5) {
                p->lowest = pin;
            }
        }
        break;
    case 3: case 7:            /* specific EOI; and rotate */
        p->isr &= ~(1 << pin);
        if (cmd == 7) {
            p->lowest = pin;
        }
        break;
    case 6:                    /* set priority */
        p->lowest = pin;
        break;
    }
}

static void write_ocw3(Pic *p, uint8_t val)
{
    if (val & OCW3_POLL) {
        p->poll = true;
    }
    if (val & OCW3_RR) {
        p->read_isr = val & OCW3_RIS;
    }
    if (val & OCW3_ESMM) {
        p->special_mask = val & OCW3_SMM;
    }
}

static void write_data(Pic *p, uint8_t val)
{
    switch (p->init) {
    case 0:
        p->imr = val;
        break;
    case 2:
        p->base = val & 0xf8;
        p->init = p->icw1 & ICW1_SNGL ? (p->icw1 & ICW1_IC4 ? 4 : 0) : 3;
        break;
    case 3:                    /* the cascade is wired: ICW3 says nothing new */
        p->init = p->icw1 & ICW1_IC4 ? 4 : 0;
        break;
    default:
        p->icw4 = val;
        p->init = 0;
        break;
    }
}

static void pic_write(void *arg, uint64_t off, uint64_t val64, unsigned size, unsigned which)
{
    I8259 *s = arg;
    Pic *p = &s->pic[which];
    uint8_t val = (uint8_t)val64;

    TRACE(i8259_write, "%s port=%u val=0x%02x", which ? "slave" : "master", (unsigned)off, val);
    lock_take(&s->lock);
    if (off) {
        write_data(p, val);
    } else if (val & ICW1_INIT) {
        write_icw1(p, val);
    } else if (val & OCW3) {
        write_ocw3(p, val);
    } else {
        write_ocw2(p, val);
    }
    update_locked(s);
    lock_drop(&s->lock);
    drive(s);
}

static uint64_t pic_read(void *arg, uint64_t off, unsigned size, unsigned which)
{
    I8259 *s = arg;
    Pic *p = &s->pic[which];
    uint8_t val;

    lock_take(&s->lock);
    if (p->poll) {
        int pin = pending(p, which == 0);

        p->poll = false;
        val = pin < 0 ? 0 : 0x80 | pin;
        if (pin >= 0) {
            acknowledge(p, pin);
            update_locked(s);
        }
    } else {
        val = off ? p->imr : p->read_isr ? p->isr : p->irr;
    }
    lock_drop(&s->lock);
    drive(s);
    return val;
}

static uint64_t master_read(void *arg, uint64_t off, unsigned size)
{
    return pic_read(arg, off, size, 0);
}

static void master_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    pic_write(arg, off, val, size, 0);
}

static uint64_t slave_read(void *arg, uint64_t off, unsigned size)
{
    return pic_read(arg, off, size, 1);
}

static void slave_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    pic_write(arg, off, val, size, 1);
}

static uint64_t elcr_read(void *arg, uint64_t off, unsigned size)
{
    I8259 *s = arg;

    lock_take(&s->lock);
    uint8_t val = s->pic[off].elcr;
    lock_drop(&s->lock);
    return val;
}

static void elcr_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    I8259 *s = arg;

    lock_take(&s->lock);
    s->pic[off].elcr = (uint8_t)val & elcr_mask[off];
    lock_drop(&s->lock);
}

static const RegionOps master_ops = { master_read, master_write, 1, 1, 0 };
static const RegionOps slave_ops = { slave_read, slave_write, 1, 1, 0 };
static const RegionOps elcr_ops = { elcr_read, elcr_write, 1, 1, 0 };

IrqSink *i8259_inputs(Device *d)
{
    I8259 *s = device_as(d, &i8259_type);

    return &s->inputs;
}

IrqLine *i8259_intr(Device *d)
{
    I8259 *s = device_as(d, &i8259_type);

    return &s->intr;
}

/* --- life --- */
static bool pic_realize(Device *d, Error **errp)
{
    I8259 *s = device_as(d, &i8259_type);

    lock_init(&s->lock, RANK_IRQ, "i8259");
    s->inputs.set = pic_set;
    s->inputs.pins = 16;
    d->inputs = &s->inputs;
    irq_line_init(&s->intr, d, "intr");
    region_io(&s->io[0], d, "pic-master", &master_ops, 2);
    region_io(&s->io[1], d, "pic-slave", &slave_ops, 2);
    region_io(&s->elcr_io, d, "elcr", &elcr_ops, 2);
    isa_io(d, &s->io[0], 0x20);
    isa_io(d, &s->io[1], 0xa0);
    isa_io(d, &s->elcr_io, 0x4d0);
    return true;
}

static void pic_unrealize(Device *d)
{
    I8259 *s = device_as(d, &i8259_type);

    lock_destroy(&s->lock);
}

static void pic_reset(Device *d, ResetKind kind)
{
    I8259 *s = device_as(d, &i8259_type);

    lock_take(&s->lock);
    for (unsigned i = 0; i < 2; i++) {
        s->pic[i] = (Pic){ .lowest = 7 };
    }
    s->wanted = false;
    lock_drop(&s->lock);
}

static void pic_settle(Device *d)
{
    I8259 *s = device_as(d, &i8259_type);

    lock_take(&s->lock);
    update_locked(s);
    lock_drop(&s->lock);
    drive(s);
    irq_refresh(&s->intr);
}

static bool pic_check(void *obj, Error **errp)
{
    const Pic *p = obj;

    if (p->lowest > 7 || p->init == 1 || p->init > 4) {
        return error_set(errp, "priority %u or initialisation step %u out of range", p->lowest, p->init);
    }
    return true;
}

static const StateField pic_fields[] = {
    STATE_U8(Pic, irr), STATE_U8(Pic, imr), STATE_U8(Pic, isr), STATE_U8(Pic, level),
    STATE_U8(Pic, elcr), STATE_U8(Pic, lowest), STATE_U8(Pic, base), STATE_U8(Pic, init),
    STATE_U8(Pic, icw1), STATE_U8(Pic, icw4), STATE_BOOL(Pic, read_isr), STATE_BOOL(Pic, poll),
    STATE_BOOL(Pic, special_mask), STATE_BOOL(Pic, rotate_aeoi),
    { 0 },
};
static const StateDesc pic_state = {
    .name = "i8259-chip", .version = 1, .fields = pic_fields, .check = pic_check,
};
static const StateField i8259_fields[] = { STATE_STRUCTS(I8259, pic, &pic_state), { 0 } };
static const StateDesc i8259_state = { .name = "isa-i8259", .version = 1, .fields = i8259_fields };

const DeviceType i8259_type = {
    .name = "isa-i8259", .summary = "pair of interrupt controllers", .slot = &isa_slot,
    .size = sizeof(I8259), .flags = DEV_INTERNAL, .state = &i8259_state, .category = "Misc",
    .realize = pic_realize, .unrealize = pic_unrealize, .reset = pic_reset, .settle = pic_settle,
};
