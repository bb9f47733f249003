/* tco.c: the TCO timer, see tco.h.
 *
 *   reload --initial ticks--> first time-out (TIMEOUT) --4 ticks--> second (SECOND_TO) --> watchdog action
 *
 * 1. A tick is 0.6 s.  The timer counts unless TCO1_CNT.TMR_HLT is set, as after reset.
 * 2. NO_REBOOT in the chip's GCS register takes the second time-out's sting. */
#include "hw/acpi/tco.h"

#include "core/machine.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_RLD = 0x00, REG_DAT_IN = 0x02, REG_DAT_OUT = 0x03, REG_STS1 = 0x04, REG_STS2 = 0x06 };
enum { REG_CNT1 = 0x08, REG_CNT2 = 0x0a, REG_MESSAGE1 = 0x0c, REG_MESSAGE2 = 0x0d, REG_WDCNT = 0x0e };
enum { REG_IRQ_GEN = 0x10, REG_TMR = 0x12, REGS = 0x20 };
enum { STS1_SW_SMI = 1 << 1, STS1_OS_SMI = 1 << 2, STS1_TIMEOUT = 1 << 3, STS1_CLEARS = 0x3f8c };
enum { STS2_SECOND = 1 << 1, STS2_BOOT = 1 << 2, STS2_CLEARS = 0x001f };
enum { CNT1_LOCK = 1 << 12, CNT1_HALT = 1 << 11, CNT1_WRITES = 0x1b80 };
enum { CNT2_WRITES = 0x003c, TMR_MASK = 0x3ff, SECOND_TICKS = 4 };

static void start(Tco *t, unsigned ticks)
{
    t->expires_ns = (uint64_t)clock_now(CLOCK_VM) + ticks * (uint64_t)TCO_TICK_NS;
    dev_timer_set(&t->timer, (int64_t)t->expires_ns);
}

static void halt(Tco *t)
{
    t->expires_ns = 0;
    dev_timer_stop(&t->timer);
}

static void fire(Device *d, DevTimer *timer)
{
    Tco *t = container_of(timer, Tco, timer);
    bool stings = t->first && !t->no_reboot(t->owner);

    TRACE(tco_timeout, "second=%d stings=%d", t->first, stings);
    if (!t->first) {
        t->sts1 |= STS1_TIMEOUT;
        t->first = true;
        start(t, SECOND_TICKS);
        return;
    }
    t->sts2 |= STS2_SECOND | (stings ? STS2_BOOT : 0);
    t->first = false;
    start(t, t->initial);
    if (stings) {
        machine_request(REQUEST_WATCHDOG, 0, "TCO");
    }
}

/* What is left to count, in ticks. */
static uint16_t remaining(const Tco *t)
{
    uint64_t now = (uint64_t)clock_now(CLOCK_VM);

    return t->expires_ns > now ? MIN((t->expires_ns - now) / TCO_TICK_NS, TMR_MASK) : 0;
}

static uint64_t tco_read(void *arg, uint64_t off, unsigned size)
{
    const Tco *t = arg;

    switch (off) {
    case REG_RLD:
        return t->expires_ns != 0 ? remaining(t) : t->initial;
    case REG_DAT_IN:
        return t->dat_in;
    case REG_DAT_OUT:
        return t->dat_out;
    case REG_STS1:
        return t->sts1;
    case REG_STS2:
        return t->sts2;
    case REG_CNT1:
        return t->cnt1;
    case REG_CNT2:
        return t->cnt2;
    case REG_MESSAGE1:
    case REG_MESSAGE2:
        return t->message[off - REG_MESSAGE1];
    case REG_WDCNT:
        return t->wdcnt;
    case REG_IRQ_GEN:
        return t->irq_gen;
    case REG_TMR:
        return t->initial;
    default:
        return 0;
    }
}

static void write_cnt1(Tco *t, uint16_t val)
{
    bool locked = t->cnt1 & CNT1_LOCK, halted = t->cnt1 & CNT1_HALT;

    t->cnt1 = (val & CNT1_WRITES) | (locked ? CNT1_LOCK : 0);
    TRACE(tco_control, "0x%04x", t->cnt1);
    if (t->cnt1 & CNT1_HALT) {
        halt(t);
    } else if (halted) {
        t->first = false;
        start(t, t->initial);
    }
}

static void tco_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    Tco *t = arg;

    switch (off) {
    case REG_RLD:
        t->first = false;
        if (!(t->cnt1 & CNT1_HALT)) {
            start(t, t->initial);
        }
        break;
    case REG_DAT_IN:
        t->dat_in = (uint8_t)val;
        t->sts1 |= STS1_OS_SMI;
        break;
    case REG_DAT_OUT:
        t->dat_out = (uint8_t)val;
        break;
    case REG_STS1:
        t->sts1 &= ~(val & STS1_CLEARS);
        break;
    case REG_STS2:
        t->sts2 &= ~(val & STS2_CLEARS);
        break;
    case REG_CNT1:
        write_cnt1(t, (uint16_t)val);
        break;
    case REG_CNT2:
        t->cnt2 = val & CNT2_WRITES;
        break;
    case REG_MESSAGE1:
    case REG_MESSAGE2:
        t->message[off - REG_MESSAGE1] = (uint8_t)val;
        break;
    case REG_WDCNT:
        t->wdcnt = (uint8_t)val;
        break;
    case REG_IRQ_GEN:
        t->irq_gen = val & 3;
        break;
    case REG_TMR:
        t->initial = (val & TMR_MASK) > 1 ? val & TMR_MASK : t->initial;   /* 0 and 1 are ignored */
        break;
    }
}

static const RegionOps tco_ops = { tco_read, tco_write, 1, 2, 0 };

void tco_init(Tco *t, Device *owner, Region *block, bool (*no_reboot)(const Device *owner))
{
    assert_control();
    t->owner = owner;
    t->no_reboot = no_reboot;
    dev_timer_init(&t->timer, owner, CLOCK_VM, fire);
    region_io_arg(&t->io, owner, "tco", &tco_ops, t, REGS);
    map_put_one(block, &t->io, TCO_AT, 0);
}

void tco_free(Tco *t)
{
    assert_control();
    map_drop_one(&t->io);
    region_free(&t->io);
    dev_timer_free(&t->timer);
}

void tco_reset(Tco *t, ResetKind kind)
{
    t->dat_in = t->dat_out = t->wdcnt = t->message[0] = t->message[1] = 0;
    t->irq_gen = 3;
    t->sts1 = t->sts2 = t->cnt2 = 0;
    t->cnt1 = CNT1_HALT;
    t->initial = 4;
    t->first = false;
    t->expires_ns = 0;
}

void tco_settle(Tco *t)
{
    if (t->expires_ns != 0) {
        dev_timer_set(&t->timer, (int64_t)t->expires_ns);
    } else {
        dev_timer_stop(&t->timer);
    }
}

static bool tco_check(void *obj, Error **errp)
{
    const Tco *t = obj;

    return (t->expires_ns <= INT64_MAX && t->initial <= TMR_MASK && t->initial > 1) ||
           error_set(errp, "a timer of %u ticks that ends at %" PRIu64, t->initial, t->expires_ns);
}

static const StateField tco_fields[] = {
    STATE_U8(Tco, dat_in), STATE_U8(Tco, dat_out), STATE_U8(Tco, wdcnt), STATE_U8(Tco, irq_gen),
    STATE_BYTES(Tco, message), STATE_U16(Tco, sts1), STATE_U16(Tco, sts2), STATE_U16(Tco, cnt1),
    STATE_U16(Tco, cnt2), STATE_U16(Tco, initial), STATE_U64(Tco, expires_ns), STATE_BOOL(Tco, first),
    { 0 },
};
const StateDesc tco_state = { .name = "tco", .version = 1, .fields = tco_fields, .check = tco_check };
