/* i8254.c: the programmable interval timer (Intel 8254), three counters at 1.193182 MHz.
 *
 * 1. A counter is a function of CLOCK_VM since @start (or of @held while its gate stops it); nothing
 *    counts.  Only counter 0, whose output is an interrupt, needs a timer.
 * 2. The interrupt is the rising edge at the start of a period: the line falls and rises there, and rests
 *    high in the modes that repeat. */
#include "hw/isa/i8254.h"

#include "core/clock.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH };
/* Ticks later than this are given up instead of caught up. */
#define LATE_MAX NS_PER_SEC
/* However short the period, the device loop is not flooded. */
#define SPACING_NS (20 * NS_PER_US)

typedef struct Counter {
    uint8_t mode, access, bcd;
    bool gate, loaded;         /* loaded: a whole count was written (and, modes 1 and 5, triggered) */
    bool write_high, read_high;        /* which half comes next with access BOTH */
    uint8_t low;               /* first half of a count being written */
    uint8_t latched, status_latched;   /* latched: halves of latch still to be read */
    uint16_t latch;
    uint8_t status;
    uint32_t count;            /* 1..65536 */
    int64_t start;             /* CLOCK_VM of tick 0 */
    uint64_t held;             /* ticks done when the gate fell */
} Counter;

typedef struct Pit {
    IsaDevice isa;
    Region io;
    IrqLine irq;
    DevTimer tick;
    uint32_t iobase;
    Counter c[3];
    int64_t next;              /* when counter 0 rises next; -1: never */
} Pit;

static bool repeats(const Counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

/* The gate is a level that stops counting, not an edge that starts it. */
static bool gate_stops(const Counter *c)
{
    return c->mode == 0 || c->mode == 4 || repeats(c);
}

static uint64_t elapsed(const Counter *c, int64_t now)
{
    if (!c->loaded) {
        return 0;
    }
    if (!c->gate && gate_stops(c)) {
        return c->held;
    }
    return muldiv64((uint64_t)MAX(now - c->start, 0), PIT_HZ, (uint32_t)NS_PER_SEC);
}

static int64_t ticks_to_ns(uint64_t ticks)
{
    /* Up, so that the tick has passed when the clock gets there. */
    return (int64_t)(muldiv64(ticks, (uint32_t)NS_PER_SEC, PIT_HZ) + 1);
}

/* The counting element as the guest reads it. */
static uint16_t current(const Counter *c, int64_t now)
{
    uint64_t d = elapsed(c, now);
    uint32_t modulo = c->bcd ? 10000 : 65536, v;

    switch (c->mode) {
    case 2:
        v = c->count - (uint32_t)(d % c->count);
        break;
    case 3:
        v = c->count - (uint32_t)(2 * d % c->count);
        break;
    default:
        v = (uint32_t)((c->count + modulo - d % modulo) % modulo);
        break;
    }
    v %= modulo;
    if (c->bcd) {
        v = v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10;
    }
    return (uint16_t)v;
}

static bool output(const Counter *c, int64_t now)
{
    uint64_t d = elapsed(c, now);

    switch (c->mode) {
    case 0:
        return c->loaded && d >= c->count;
    case 1:
        return !c->loaded || d >= c->count;
    case 2:
        return !c->loaded || !c->gate || d % c->count != c->count - 1;
    case 3:
        return !c->loaded || !c->gate || d % c->count < (c->count + 1) / 2;
    default:
        return !c->loaded || d != c->count;
    }
}

/* --- counter 0's interrupt --- */
/* When counter 0 rises next after tick @d; -1: it does not. */
static int64_t next_rise(const Counter *c, uint64_t d)
{
    uint64_t at = c->count;

    if (!c->loaded || !c->gate) {
        return -1;
    }
    if (repeats(c)) {
        at = (d / c->count + 1) * c->count;
    } else if (c->mode >= 4) {
        at = c->count + 1;     /* the strobe is low for one tick */
    }
    return at > d ? c->start + ticks_to_ns(at) : -1;
}

static void arm(Pit *p)
{
    if (p->next < 0) {
        dev_timer_stop(&p->tick);
    } else {
        dev_timer_set(&p->tick, p->next);
    }
}

static void tick_fire(Device *d, DevTimer *t)
{
    Pit *p = device_as(d, &i8254_type);
    const Counter *c = &p->c[0];
    int64_t now = clock_now(CLOCK_VM);

    if (p->next < 0) {
        return;
    }
    irq_set(&p->irq, false);
    irq_set(&p->irq, true);
    /* In order and one by one, as far as they are not too late: a guest that counts ticks keeps time. */
    int64_t from = now - p->next > LATE_MAX ? now : p->next;
    p->next = next_rise(c, elapsed(c, from));
    if (p->next >= 0) {
        p->next = MAX(p->next, now + SPACING_NS);
    }
    arm(p);
}

/* Counter @n was loaded, triggered or stopped. */
static void restarted(Pit *p, unsigned n)
{
    if (n == 0) {
        int64_t now = clock_now(CLOCK_VM);

        irq_set(&p->irq, output(&p->c[0], now));
        p->next = next_rise(&p->c[0], elapsed(&p->c[0], now));
        arm(p);
    }
}

/* --- registers --- */
static void load(Pit *p, unsigned n, uint32_t val)
{
    Counter *c = &p->c[n];

    if (c->bcd) {
        val = (val >> 12) * 1000 + (val >> 8 & 15) * 100 + (val >> 4 & 15) * 10 + (val & 15);
    }
    c->count = val ? val : c->bcd ? 10000 : 65536;
    if (repeats(c) && c->count == 1) {
        c->count = 2;          /* illegal in these modes; would be an endless interrupt */
    }
    TRACE(i8254_load, "counter=%u mode=%u count=%u", n, c->mode, c->count);
    if (c->mode == 1 || c->mode == 5) {
        return;                /* takes effect at the next trigger */
    }
    c->loaded = true;
    c->start = clock_now(CLOCK_VM);
    c->held = 0;
    restarted(p, n);
}

static void write_count(Pit *p, unsigned n, uint8_t val)
{
    Counter *c = &p->c[n];

    switch (c->access) {
    case RW_LOW:
        load(p, n, val);
        break;
    case RW_HIGH:
        load(p, n, val << 8);
        break;
    default:
        if (c->write_high) {
            load(p, n, c->low | val << 8);
        } else {
            c->low = val;
        }
        c->write_high = !c->write_high;
        break;
    }
}

static void latch_count(Counter *c, int64_t now)
{
    if (!c->latched) {
        c->latch = current(c, now);
        c->latched = c->access == RW_BOTH ? 2 : 1;
    }
}

static void read_back(Pit *p, uint8_t val)
{
    int64_t now = clock_now(CLOCK_VM);

    for (unsigned n = 0; n < 3; n++) {
        Counter *c = &p->c[n];

        if (!(val & 2 << n)) {
            continue;
        }
        if (!(val & 0x20)) {
            latch_count(c, now);
        }
        if (!(val & 0x10) && !c->status_latched) {
            c->status = (output(c, now) ? 0x80 : 0) | (c->loaded ? 0 : 0x40) | c->access << 4
                | c->mode << 1 | c->bcd;
            c->status_latched = 1;
        }
    }
}

static void write_control(Pit *p, uint8_t val)
{
    unsigned n = val >> 6, access = val >> 4 & 3;

    if (n == 3) {
        read_back(p, val);
        return;
    }
    Counter *c = &p->c[n];
    if (access == RW_LATCH) {
        latch_count(c, clock_now(CLOCK_VM));
        return;
    }
    c->access = access;
    c->mode = val >> 1 & 7;
    if (c->mode > 5) {
        c->mode -= 4;          /* bit 3 does not matter in modes 2 and 3 */
    }
    c->bcd = val & 1;
    c->loaded = false;
    c->write_high = c->read_high = false;
    c->latched = c->status_latched = 0;
    restarted(p, n);
}

static uint8_t read_count(Counter *c)
{
    uint16_t v;

    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    if (c->latched) {
        v = c->latch;
        if (c->access == RW_BOTH) {
            return c->latched-- == 2 ? (uint8_t)v : v >> 8;
        }
        c->latched = 0;
    } else {
        v = current(c, clock_now(CLOCK_VM));
        if (c->access == RW_BOTH) {
            c->read_high = !c->read_high;
            return c->read_high ? (uint8_t)v : v >> 8;
        }
    }
    return c->access == RW_HIGH ? v >> 8 : (uint8_t)v;
}

static uint64_t pit_read(void *dev, uint64_t off, unsigned size)
{
    Pit *p = dev;

    return off == 3 ? 0 : read_count(&p->c[off]);
}

static void pit_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Pit *p = dev;

    TRACE(i8254_write, "port=%u val=0x%02x", (unsigned)off, (unsigned)val);
    if (off == 3) {
        write_control(p, (uint8_t)val);
    } else {
        write_count(p, (unsigned)off, (uint8_t)val);
    }
}

static const RegionOps pit_ops = { pit_read, pit_write, 1, 1, 0 };

/* --- gates and outputs --- */
void pit_set_gate(Device *d, unsigned ch, bool gate)
{
    Pit *p = device_as(d, &i8254_type);
    Counter *c = &p->c[ch];
    int64_t now = clock_now(CLOCK_VM);

    if (gate == c->gate) {
        return;
    }
    if (gate_stops(c)) {
        uint64_t done = elapsed(c, now);

        c->gate = gate;
        if (!gate) {
            c->held = done;
        } else {
            c->start = repeats(c) ? now : now - (int64_t)muldiv64(done, (uint32_t)NS_PER_SEC, PIT_HZ);
        }
    } else {
        c->gate = gate;
        if (gate && c->count) {
            c->loaded = true;  /* the trigger */
            c->start = now;
        }
    }
    restarted(p, ch);
}

bool pit_gate(Device *d, unsigned ch)
{
    Pit *p = device_as(d, &i8254_type);

    return p->c[ch].gate;
}

bool pit_out(Device *d, unsigned ch)
{
    Pit *p = device_as(d, &i8254_type);

    return output(&p->c[ch], clock_now(CLOCK_VM));
}

IrqLine *pit_irq(Device *d)
{
    Pit *p = device_as(d, &i8254_type);

    return &p->irq;
}

/* --- life --- */
static bool pit_realize(Device *d, Error **errp)
{
    Pit *p = device_as(d, &i8254_type);

    irq_line_init(&p->irq, d, "irq");
    isa_irq(d, &p->irq, 0);
    dev_timer_init(&p->tick, d, CLOCK_VM, tick_fire);
    region_io(&p->io, d, "pit", &pit_ops, 4);
    isa_io(d, &p->io, (uint16_t)p->iobase);
    p->next = -1;
    return true;
}

static void pit_unrealize(Device *d)
{
    Pit *p = device_as(d, &i8254_type);

    dev_timer_free(&p->tick);
}

static void pit_reset(Device *d, ResetKind kind)
{
    Pit *p = device_as(d, &i8254_type);

    for (unsigned n = 0; n < 3; n++) {
        p->c[n] = (Counter){ .mode = 3, .access = RW_BOTH, .count = 65536, .gate = n != 2 };
    }
    p->next = -1;
}

static void pit_settle(Device *d)
{
    Pit *p = device_as(d, &i8254_type);

    irq_set(&p->irq, output(&p->c[0], clock_now(CLOCK_VM)));
    irq_refresh(&p->irq);
    arm(p);
}

static bool counter_check(void *obj, Error **errp)
{
    const Counter *c = obj;

    if (c->mode > 5 || c->access > RW_BOTH || c->bcd > 1 || c->count < 1 || c->count > 65536
        || c->latched > 2 || c->start < 0 || c->start > INT64_MAX / 4
        || c->held > UINT64_C(1) << 50 || (repeats(c) && c->count < 2)) {
        return error_set(errp, "counter out of range");
    }
    return true;
}

static const StateField counter_fields[] = {
    STATE_U8(Counter, mode), STATE_U8(Counter, access), STATE_U8(Counter, bcd),
    STATE_BOOL(Counter, gate), STATE_BOOL(Counter, loaded), STATE_BOOL(Counter, write_high),
    STATE_BOOL(Counter, read_high), STATE_U8(Counter, low), STATE_U8(Counter, latched),
    STATE_U8(Counter, status_latched), STATE_U16(Counter, latch), STATE_U8(Counter, status),
    STATE_U32(Counter, count), STATE_I64(Counter, start), STATE_U64(Counter, held),
    { 0 },
};
static const StateDesc counter_state = {
    .name = "i8254-counter", .version = 1, .fields = counter_fields, .check = counter_check,
};
static const StateField pit_fields[] = {
    STATE_STRUCTS(Pit, c, &counter_state), STATE_I64(Pit, next), { 0 },
};
static const StateDesc pit_state = { .name = "isa-pit", .version = 1, .fields = pit_fields };

static const PropDesc pit_props[] = {
    PROP_U32(Pit, iobase, "iobase", 0x40, 0, 0xfffc, "first port"),
    { 0 },
};

const DeviceType i8254_type = {
    .name = "isa-pit", .summary = "programmable interval timer", .slot = &isa_slot,
    .size = sizeof(Pit), .flags = DEV_INTERNAL, .props = pit_props, .state = &pit_state,
    .category = "Misc", .realize = pit_realize, .unrealize = pit_unrealize, .reset = pit_reset,
    .settle = pit_settle,
};
