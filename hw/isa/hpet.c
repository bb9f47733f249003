/* hpet.c: high precision event timers (IA-PC HPET Specification 1.0a), 100 MHz.
 *
 * 1. The main counter is CLOCK_VM in 10 ns ticks plus @shift while it runs, @halted while not.  It is read
 *    without the domain: a sequence count (@seq, odd while a writer, under the domain, changes them)
 *    tells a reader to look again.
 * 2. Interrupts go to GSI n by line n; the legacy timers' wires pass through here, and lines 0 and 8 are
 *    whoever's turn it is.
 * 3. A comparator that lies behind the counter when it is armed fires at once (a guest descheduled
 *    between reading and writing would wait for a wrap otherwise), but never one of all ones. */
#include "hw/isa/hpet.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/machine.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/trace.h"

#define TICK_NS 10
#define PERIOD_FS 10000000
#define TIMERS_MAX 32
#define LINES 24
/* However short the period, the device loop is not flooded. */
#define SPACING_NS (20 * NS_PER_US)

enum { REG_CAP = 0x00, REG_CONFIG = 0x10, REG_STATUS = 0x20, REG_COUNTER = 0xf0, REG_TIMERS = 0x100 };
enum { CFG_ENABLE = 1, CFG_LEGACY = 2 };
enum { T_LEVEL = 1 << 1, T_INT = 1 << 2, T_PERIODIC = 1 << 3, T_CAN_PERIODIC = 1 << 4, T_64 = 1 << 5,
       T_SETVAL = 1 << 6, T_32MODE = 1 << 8, T_FSB = 1 << 14, T_CAN_FSB = 1 << 15 };
#define T_WRITABLE (T_LEVEL | T_INT | T_PERIODIC | T_SETVAL | T_32MODE | 0x3e00)

typedef struct HpetTimer {
    DevTimer timer;
    uint64_t config;           /* capabilities in the upper half */
    uint64_t cmp;              /* comparator */
    uint64_t period;           /* last value written in periodic mode */
    uint64_t fsb;              /* data low, address high */
    bool fired;                /* a one-shot comparator has had its match */
} HpetTimer;

typedef struct Hpet {
    Device dev;
    Region box, regs, counter;
    IrqSink inputs;
    IrqLine lines[LINES];
    HpetTimer *t;              /* store */
    uint8_t timers;
    uint32_t intcap;
    bool msi;
    /* state */
    uint64_t config, status;
    uint64_t shift, halted;
    HpetTimer store[TIMERS_MAX];
    /* derived */
    uint32_t seq;              /* atomic */
    bool running, legacy;      /* copies of config for other threads, atomic */
    bool in_level[2];          /* of the legacy inputs, atomic */
} Hpet;

/* --- the counter --- */
static uint64_t vm_ticks(void)
{
    return (uint64_t)clock_now(CLOCK_VM) / TICK_NS;
}

/* Any thread; pairs with set_counter(). */
static uint64_t counter_now(const Hpet *h)
{
    for (;;) {
        uint32_t seq = __atomic_load_n(&h->seq, __ATOMIC_ACQUIRE);
        bool running = __atomic_load_n(&h->running, __ATOMIC_RELAXED);
        uint64_t v = running ? vm_ticks() + __atomic_load_n(&h->shift, __ATOMIC_RELAXED)
                             : __atomic_load_n(&h->halted, __ATOMIC_RELAXED);

        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(seq & 1) && seq == __atomic_load_n(&h->seq, __ATOMIC_RELAXED)) {
            return v;
        }
    }
}

/* Under the domain; pairs with counter_now(). */
static void set_counter(Hpet *h, bool running, uint64_t val)
{
    __atomic_store_n(&h->seq, h->seq + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    __atomic_store_n(&h->running, running, __ATOMIC_RELAXED);
    __atomic_store_n(&h->shift, running ? val - vm_ticks() : 0, __ATOMIC_RELAXED);
    __atomic_store_n(&h->halted, running ? 0 : val, __ATOMIC_RELAXED);
    __atomic_store_n(&h->seq, h->seq + 1, __ATOMIC_RELEASE);
}

/* --- interrupts --- */
static unsigned route(const Hpet *h, unsigned n)
{
    if (h->config & CFG_LEGACY && n < 2) {
        return n ? 8 : 0;
    }
    unsigned pin = h->t[n].config >> 9 & 31;

    /* Input 2 of the I/O APIC is GSI 0's. */
    return pin == 2 ? 0 : pin;
}

static void fire_irq(Hpet *h, unsigned n)
{
    const HpetTimer *t = &h->t[n];
    bool level = t->config & T_LEVEL && !(h->config & CFG_LEGACY && n < 2 && t->config & T_FSB);

    TRACE(hpet_fire, "timer=%u", n);
    if (level) {
        h->status |= UINT64_C(1) << n;
    }
    if (!(t->config & T_INT)) {
        return;
    }
    if (t->config & T_FSB) {
        MsiMsg m = { .addr = t->fsb >> 32, .data = (uint32_t)t->fsb };

        msi_send(&m);
        return;
    }
    unsigned line = route(h, n);
    if (line < LINES) {
        irq_set(&h->lines[line], true);
        if (!level) {
            irq_set(&h->lines[line], false);
        }
    }
}

/* Drops the level of every line that no pending timer holds. */
static void lower(Hpet *h)
{
    uint32_t held = 0;

    for (unsigned n = 0; n < h->timers; n++) {
        if (h->status & UINT64_C(1) << n && h->t[n].config & T_INT && !(h->t[n].config & T_FSB)
            && h->t[n].config & T_LEVEL) {
            held |= 1u << route(h, n);
        }
    }
    for (unsigned i = 0; i < LINES; i++) {
        if (!(h->config & CFG_LEGACY) && (i == 0 || i == 8)) {
            bool in = __atomic_load_n(&h->in_level[i == 8], __ATOMIC_ACQUIRE);

            irq_set(&h->lines[i], in || held & 1u << i);
        } else {
            irq_set(&h->lines[i], held & 1u << i);
        }
    }
}

/* The legacy timers' wires; any thread. */
static void legacy_input(IrqSink *s, unsigned pin, bool level)
{
    Hpet *h = container_of(s, Hpet, inputs);

    if (pin > 1) {
        return;
    }
    __atomic_store_n(&h->in_level[pin], level, __ATOMIC_RELEASE);
    if (!__atomic_load_n(&h->legacy, __ATOMIC_ACQUIRE)) {
        irq_set(&h->lines[pin ? 8 : 0], level);
    }
}

/* --- comparators --- */
/* Periodic mode without a period is one match. */
static bool periodic(const HpetTimer *t)
{
    return t->config & T_PERIODIC && t->period;
}

static bool is32(const HpetTimer *t)
{
    return t->config & T_32MODE;
}

/* Ticks until the comparator is reached; -1: not in sight. */
static int64_t ticks_left(const HpetTimer *t, uint64_t now)
{
    int64_t d = is32(t) ? (int32_t)((uint32_t)t->cmp - (uint32_t)now) : (int64_t)(t->cmp - now);

    if (t->cmp == (is32(t) ? UINT32_MAX : UINT64_MAX) && !periodic(t)) {
        d = d < 0 ? INT64_MAX : d;
    }
    if (d <= 0 && t->fired && !periodic(t)) {
        /* The low half comes round again; all 64 bits do not. */
        return is32(t) ? (INT64_C(1) << 32) + d : INT64_MAX;
    }
    return d < 0 ? 0 : d;
}

static void arm(Hpet *h, unsigned n)
{
    HpetTimer *t = &h->t[n];
    int64_t left;

    if (!(h->config & CFG_ENABLE) || !(t->config & T_INT)) {
        dev_timer_stop(&t->timer);
        return;
    }
    left = ticks_left(t, counter_now(h));
    if (left > INT64_MAX / 4 / TICK_NS) {
        dev_timer_stop(&t->timer);         /* centuries away */
        return;
    }
    dev_timer_set(&t->timer, clock_now(CLOCK_VM) + left * TICK_NS);
}

static void timer_fire(Device *d, DevTimer *dt)
{
    Hpet *h = device_as(d, &hpet_type);
    HpetTimer *t = container_of(dt, HpetTimer, timer);
    uint64_t now = counter_now(h);
    unsigned n = (unsigned)(t - h->t);

    if (periodic(t)) {
        uint64_t period = t->period;
        uint64_t late = is32(t) ? (uint32_t)now - (uint32_t)t->cmp : now - t->cmp;

        if ((int64_t)late >= 0) {
            t->cmp += (late / period + 1) * period;
        }
        if (is32(t)) {
            t->cmp = (uint32_t)t->cmp;
        }
        arm(h, n);
        if (dev_timer_armed(&t->timer)) {
            dev_timer_set(&t->timer, MAX(t->timer.due, clock_now(CLOCK_VM) + SPACING_NS));
        }
    } else {
        t->fired = true;
        arm(h, n);
    }
    fire_irq(h, n);
}

static void arm_all(Hpet *h)
{
    for (unsigned n = 0; n < h->timers; n++) {
        arm(h, n);
    }
}

/* --- registers, as 64-bit words --- */
static uint64_t read_word(const Hpet *h, uint64_t off)
{
    if (off >= REG_TIMERS) {
        unsigned n = (unsigned)(off - REG_TIMERS) / 0x20;

        if (n >= h->timers) {
            return 0;
        }
        switch (off & 0x18) {
        case 0x00:
            return h->t[n].config;
        case 0x08:
            return h->t[n].cmp;
        case 0x10:
            return h->t[n].fsb;
        default:
            return 0;
        }
    }
    switch (off) {
    case REG_CAP:
        return (uint64_t)PERIOD_FS << 32 | HPET_BLOCK_ID(h->timers);
    case REG_CONFIG:
        return h->config;
    case REG_STATUS:
        return h->status;
    default:
        return 0;
    }
}

/* Who drives the legacy timers' inputs: a PIT of the accelerator is not wired through here. */
static void set_legacy(Hpet *h, bool on)
{
    __atomic_store_n(&h->legacy, on, __ATOMIC_RELEASE);
    if (accel() != NULL && accel()->pit_replaced != NULL) {
        accel()->pit_replaced(on);
    }
}

static void write_config(Hpet *h, uint64_t val)
{
    uint64_t old = h->config, now = counter_now(h);

    h->config = val & (CFG_ENABLE | CFG_LEGACY);
    TRACE(hpet_config, "0x%x", (unsigned)h->config);
    if ((old ^ h->config) & CFG_ENABLE) {
        set_counter(h, h->config & CFG_ENABLE, now);
        arm_all(h);
    }
    if ((old ^ h->config) & CFG_LEGACY) {
        set_legacy(h, h->config & CFG_LEGACY);
        lower(h);
    }
}

static void write_cmp(HpetTimer *t, uint64_t val, uint64_t mask)
{
    if (is32(t)) {
        val = (uint32_t)val;
        mask |= ~(uint64_t)UINT32_MAX;
    }
    if (!(t->config & T_PERIODIC) || t->config & T_SETVAL) {
        t->cmp = (t->cmp & ~mask) | (val & mask);
    }
    if (t->config & T_PERIODIC) {
        t->period = (t->period & ~mask) | (val & mask);
        t->period &= INT64_MAX;            /* longer is the same as never */
    }
    t->config &= ~(uint64_t)T_SETVAL;
    t->fired = false;
}

static void write_timer(Hpet *h, unsigned n, unsigned reg, uint64_t val, uint64_t mask)
{
    HpetTimer *t = &h->t[n];
    uint64_t writable = T_WRITABLE | (h->msi ? T_FSB : 0);

    switch (reg) {
    case 0x00:
        mask &= writable;
        t->config = (t->config & ~mask) | (val & mask);
        if (is32(t)) {
            t->cmp = (uint32_t)t->cmp;
            t->period = (uint32_t)t->period;
        }
        if (!(t->config & T_LEVEL)) {
            h->status &= ~(UINT64_C(1) << n);
        }
        lower(h);
        break;
    case 0x08:
        write_cmp(t, val, mask);
        break;
    case 0x10:
        t->fsb = (t->fsb & ~mask) | (val & mask);
        return;
    default:
        return;
    }
    arm(h, n);
}

static uint64_t hpet_read(void *dev, uint64_t off, unsigned size)
{
    const Hpet *h = dev;

    return read_word(h, off & ~UINT64_C(7)) >> (off & 4 ? 32 : 0);
}

static void hpet_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Hpet *h = dev;
    unsigned shift = off & 4 ? 32 : 0;
    uint64_t mask = ones(size) << shift, word = off & ~UINT64_C(7);

    TRACE(hpet_write, "off=0x%x val=0x%llx", (unsigned)off, (unsigned long long)val);
    val <<= shift;
    if (word >= REG_TIMERS) {
        unsigned n = (unsigned)(word - REG_TIMERS) / 0x20;

        if (n < h->timers) {
            write_timer(h, n, word & 0x18, val, mask);
        }
    } else if (word == REG_CONFIG && !shift) {
        write_config(h, val);
    } else if (word == REG_STATUS) {
        h->status &= ~(val & mask);
        lower(h);
    }
}

static uint64_t counter_read(void *dev, uint64_t off, unsigned size)
{
    return counter_now(dev) >> (off & 4 ? 32 : 0);
}

static void counter_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Hpet *h = dev;
    unsigned shift = off & 4 ? 32 : 0;
    uint64_t mask = ones(size) << shift;

    domain_enter(h->dev.domain);
    uint64_t now = counter_now(h);
    set_counter(h, h->running, (now & ~mask) | (val << shift & mask));
    arm_all(h);
    domain_leave(h->dev.domain);
}

static const RegionOps hpet_ops = { hpet_read, hpet_write, 4, 8, 0 };
/* Lockless: a read is a function of the clock and of words guarded by a sequence count; a write takes the
 * domain itself. */
static const RegionOps counter_ops = { counter_read, counter_write, 4, 8, REGION_LOCKLESS };

IrqSink *hpet_inputs(Device *d)
{
    Hpet *h = device_as(d, &hpet_type);

    return &h->inputs;
}

/* --- life --- */
static bool hpet_realize(Device *d, Error **errp)
{
    Hpet *h = device_as(d, &hpet_type);

    h->t = h->store;
    h->inputs.set = legacy_input;
    h->inputs.pins = 2;
    d->inputs = &h->inputs;
    for (unsigned i = 0; i < LINES; i++) {
        irq_line_init(&h->lines[i], d, "irq");
        if (d->machine->gsi) {
            irq_connect(&h->lines[i], d->machine->gsi, i);
        }
    }
    for (unsigned n = 0; n < h->timers; n++) {
        dev_timer_init(&h->t[n].timer, d, CLOCK_VM, timer_fire);
    }
    region_box(&h->box, d, "hpet", 0x400);
    region_io(&h->regs, d, "hpet-regs", &hpet_ops, 0x400);
    region_io(&h->counter, d, "hpet-counter", &counter_ops, 8);
    map_begin();
    map_put(&h->box, &h->regs, 0, 0);
    map_put(&h->box, &h->counter, REG_COUNTER, 1);
    map_put(&d->machine->mem_root, &h->box, HPET_BASE, 0);
    map_commit();
    return true;
}

static void hpet_unrealize(Device *d)
{
    Hpet *h = device_as(d, &hpet_type);

    map_begin();
    map_drop(&h->box);
    map_drop(&h->regs);
    map_drop(&h->counter);
    map_commit();
    region_free(&h->regs);
    region_free(&h->counter);
    region_free(&h->box);
    for (unsigned n = 0; n < h->timers; n++) {
        dev_timer_free(&h->t[n].timer);
    }
}

static uint64_t timer_caps(const Hpet *h)
{
    return (uint64_t)h->intcap << 32 | T_CAN_PERIODIC | T_64 | (h->msi ? T_CAN_FSB : 0);
}

static void hpet_reset(Device *d, ResetKind kind)
{
    Hpet *h = device_as(d, &hpet_type);

    for (unsigned n = 0; n < h->timers; n++) {
        HpetTimer *t = &h->t[n];

        dev_timer_stop(&t->timer);
        t->config = timer_caps(h);
        t->cmp = UINT64_MAX;
        t->period = t->fsb = 0;
        t->fired = true;
    }
    h->config = h->status = 0;
    __atomic_store_n(&h->legacy, false, __ATOMIC_RELEASE);
    set_counter(h, false, 0);
}

static void hpet_settle(Device *d)
{
    Hpet *h = device_as(d, &hpet_type);

    set_legacy(h, h->config & CFG_LEGACY);
    __atomic_store_n(&h->running, h->config & CFG_ENABLE, __ATOMIC_RELEASE);
    lower(h);
    /* Of the shared wires, only those it drives: a low one is for the others to tell. */
    for (unsigned i = 0; i < LINES; i++) {
        if (i == 0 || i == 8 || h->lines[i].level) {
            irq_refresh(&h->lines[i]);
        }
    }
    arm_all(h);
}

static bool hpet_check(void *obj, Error **errp)
{
    Hpet *h = obj;

    h->config &= CFG_ENABLE | CFG_LEGACY;
    h->status &= (UINT64_C(1) << h->timers) - 1;
    for (unsigned n = 0; n < h->timers; n++) {
        HpetTimer *t = &h->t[n];

        if ((t->config & ~(uint64_t)(T_WRITABLE | T_FSB)) != timer_caps(h)) {
            return error_set(errp, "timer %u has other capabilities", n);
        }
        t->period &= is32(t) ? UINT32_MAX : INT64_MAX;
    }
    return true;
}

static const StateField timer_fields[] = {
    STATE_U64(HpetTimer, config), STATE_U64(HpetTimer, cmp), STATE_U64(HpetTimer, period),
    STATE_U64(HpetTimer, fsb), STATE_BOOL(HpetTimer, fired),
    { 0 },
};
static const StateDesc timer_state = { .name = "hpet-timer", .version = 1, .fields = timer_fields };
static const StateField hpet_fields[] = {
    STATE_U64(Hpet, config), STATE_U64(Hpet, status), STATE_U64(Hpet, shift), STATE_U64(Hpet, halted),
    STATE_STRUCTS(Hpet, store, &timer_state),
    { 0 },
};
static const StateDesc hpet_state = {
    .name = "hpet", .version = 1, .fields = hpet_fields, .check = hpet_check,
};

static const PropDesc hpet_props[] = {
    PROP_U8(Hpet, timers, "timers", 3, 3, TIMERS_MAX, "how many timers"),
    PROP_BOOL(Hpet, msi, "msi", false, "timers can send messages (FSB delivery)"),
    PROP_U32(Hpet, intcap, "hpet-intcap", 0x4, 0, 0xffffff, "I/O APIC inputs that timers can use"),
    { 0 },
};

const DeviceType hpet_type = {
    .name = "hpet", .summary = "high precision event timers", .slot = &board_slot,
    .size = sizeof(Hpet), .flags = DEV_INTERNAL, .props = hpet_props, .state = &hpet_state,
    .category = "Misc", .realize = hpet_realize, .unrealize = hpet_unrealize, .reset = hpet_reset,
    .settle = hpet_settle,
};
