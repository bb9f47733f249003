/* mc146818rtc.c: the PC's real-time clock and CMOS memory (Motorola MC146818A; century byte as in PS/2).
 *
 * 1. Time is counted as the chosen clock plus offset_ns (less than a second either way, its phase); the
 *    second that the registers show is the counted one plus epoch_s, so that no year overflows.  They are
 *    filled when they are read, at most once a second.  While SET is on or the divider is held, frozen_ns
 *    is the time instead.
 * 2. Flags of register C that nobody asked an interrupt for are worked out when C is read, so an idle
 *    clock needs no timer.  checked_ns is the counted time up to which they are accounted.
 * 3. The memory is battery-backed: a reset clears only the interrupt enables and flags. */
#include "hw/isa/mc146818rtc.h"

#include <inttypes.h>

#include "core/clock.h"
#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

enum {
    REG_SEC, REG_SEC_ALARM, REG_MIN, REG_MIN_ALARM, REG_HOUR, REG_HOUR_ALARM, REG_WDAY, REG_MDAY,
    REG_MONTH, REG_YEAR, REG_A, REG_B, REG_C, REG_D, REG_CENTURY = 0x32,
};
enum { A_UIP = 0x80, A_DIV = 0x70, A_DIV_RUN = 0x20, A_RATE = 0x0f };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_DM = 0x04, B_24 = 0x02 };
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { LOST_DISCARD, LOST_DELAY, LOST_SLEW };

/* How long before an update UIP rises (MC146818A, "update cycle": 244 us). */
#define UIP_NS (244 * NS_PER_US)
#define COALESCED_MAX 4096

static const char *const lost_names[] = { "discard", "delay", "slew", NULL };

typedef struct Rtc {
    IsaDevice isa;
    Region io;
    IrqLine irq;
    DevTimer update, periodic;
    void (*alarm_fn)(void *arg);
    void *alarm_arg;
    ClockKind clock;
    /* properties */
    uint16_t iobase;
    uint8_t irq_no;
    int32_t base_year, lost_tick_policy;
    /* state */
    uint8_t cmos[RTC_CMOS_SIZE];
    uint8_t index;
    bool frozen;
    int64_t offset_ns, frozen_ns, checked_ns, epoch_s;
    int64_t next_tick;         /* CLOCK_VM time of the next periodic tick; -1: none */
    uint32_t coalesced;        /* ticks the guest has yet to be given (slew) */
    /* derived */
    int64_t shown_sec;         /* the second that the time registers show; INT64_MIN: none */
} Rtc;

/* The counted time. */
static int64_t guest_ns(const Rtc *r)
{
    return r->frozen ? r->frozen_ns : clock_now(r->clock) + r->offset_ns;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* --- calendar: days since 1970-01-01 in the proleptic Gregorian calendar --- */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return era * 146097 + doe - 719468;
}

static void date_of(int64_t days, int64_t *year, int *month, int *day)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int mp = (int)((5 * doy + 2) / 153);

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = mp + (mp < 10 ? 3 : -9);
    *year = yoe + era * 400 + (*month <= 2);
}

/* --- register formats --- */
static uint8_t encode(const Rtc *r, int v)
{
    return r->cmos[REG_B] & B_DM ? v : (v / 10 % 10) << 4 | v % 10;
}

static int decode(const Rtc *r, uint8_t v)
{
    return r->cmos[REG_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const Rtc *r, int h)
{
    if (r->cmos[REG_B] & B_24) {
        return encode(r, h);
    }
    return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? 0x80 : 0);
}

static int decode_hour(const Rtc *r, uint8_t v)
{
    if (r->cmos[REG_B] & B_24) {
        return decode(r, v);
    }
    return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

static void show_time(Rtc *r)
{
    int64_t sec = floor_div(guest_ns(r), NS_PER_SEC) + r->epoch_s, year;
    int month, day;

    if (r->frozen || sec == r->shown_sec) {
        return;
    }
    int64_t days = floor_div(sec, 86400);
    int in_day = (int)(sec - days * 86400);
    date_of(days, &year, &month, &day);
    r->cmos[REG_SEC] = encode(r, in_day % 60);
    r->cmos[REG_MIN] = encode(r, in_day / 60 % 60);
    r->cmos[REG_HOUR] = encode_hour(r, in_day / 3600);
    r->cmos[REG_WDAY] = encode(r, (int)((days + 4) % 7 + 7) % 7 + 1);
    r->cmos[REG_MDAY] = encode(r, day);
    r->cmos[REG_MONTH] = encode(r, month);
    int64_t y = year - r->base_year;
    r->cmos[REG_YEAR] = encode(r, (int)((y % 100 + 100) % 100));
    r->cmos[REG_CENTURY] = encode(r, (int)((year / 100 % 100 + 100) % 100));
    r->shown_sec = sec;
}

/* The second that the time registers spell; nonsense is normalised, as counters would count on. */
static int64_t spelt_sec(const Rtc *r)
{
    int month = decode(r, r->cmos[REG_MONTH]);
    int64_t year = decode(r, r->cmos[REG_YEAR]) + r->base_year % 100;
    int64_t century = decode(r, r->cmos[REG_CENTURY]);

    month = month < 1 ? 1 : month > 12 ? 12 : month;
    return days_of(century * 100 + year % 100, month, decode(r, r->cmos[REG_MDAY])) * 86400
        + decode_hour(r, r->cmos[REG_HOUR]) * 3600 + decode(r, r->cmos[REG_MIN]) * 60
        + decode(r, r->cmos[REG_SEC]);
}

/* --- events --- */
/* The first counted second after @from that the alarm registers match; INT64_MAX: none. */
static int64_t next_alarm(const Rtc *r, int64_t from)
{
    uint8_t rs = r->cmos[REG_SEC_ALARM], rm = r->cmos[REG_MIN_ALARM], rh = r->cmos[REG_HOUR_ALARM];
    int s = rs >= 0xc0 ? -1 : decode(r, rs), m = rm >= 0xc0 ? -1 : decode(r, rm);
    int h = rh >= 0xc0 ? -1 : decode_hour(r, rh);
    int64_t t = from + 1 + r->epoch_s;

    /* At most 24 hours, then 60 minutes, then 60 seconds are stepped over, each once more after a day. */
    for (int i = 0; i < 300; i++) {
        int64_t in_day = t - floor_div(t, 86400) * 86400;

        if (h >= 0 && in_day / 3600 != h) {
            t += 3600 - in_day % 3600;
        } else if (m >= 0 && in_day / 60 % 60 != m) {
            t += 60 - in_day % 60;
        } else if (s >= 0 && in_day % 60 != s) {
            t++;
        } else {
            return t - r->epoch_s;
        }
    }
    return INT64_MAX;
}

static void drive(Rtc *r)
{
    bool on = r->cmos[REG_C] & r->cmos[REG_B] & (C_PF | C_AF | C_UF);

    r->cmos[REG_C] = (r->cmos[REG_C] & ~C_IRQF) | (on ? C_IRQF : 0);
    irq_set(&r->irq, on);
}

/* Sets UF and AF for what has happened since the last call. */
static void account(Rtc *r)
{
    int64_t now = guest_ns(r), from = floor_div(r->checked_ns, NS_PER_SEC);
    int64_t sec = floor_div(now, NS_PER_SEC);
    uint8_t was = r->cmos[REG_C];

    r->checked_ns = now;
    if (r->frozen || sec <= from) {
        return;
    }
    r->cmos[REG_C] |= C_UF;
    if (!(was & C_AF) && next_alarm(r, from) <= sec) {
        r->cmos[REG_C] |= C_AF;
        TRACE(mc146818rtc_alarm, "sec=%" PRId64, sec);
        if (r->cmos[REG_B] & B_AIE && r->alarm_fn) {
            r->alarm_fn(r->alarm_arg);
        }
    }
}

static void arm_update(Rtc *r)
{
    uint8_t want = r->cmos[REG_B] & ~r->cmos[REG_C] & (B_UIE | B_AIE);
    int64_t sec = floor_div(guest_ns(r), NS_PER_SEC), due = INT64_MAX;

    if (want & B_UIE) {
        due = sec + 1;
    } else if (want & B_AIE) {
        due = next_alarm(r, sec);
    }
    if (r->frozen || due == INT64_MAX) {
        dev_timer_stop(&r->update);
    } else {
        dev_timer_set(&r->update, due * NS_PER_SEC - r->offset_ns);
    }
}

static void update_fire(Device *d, DevTimer *t)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    account(r);
    drive(r);
    arm_update(r);
}

/* Periodic rate in ns; 0: off (MC146818A table 5, 32.768 kHz time base). */
static int64_t period_ns(const Rtc *r)
{
    unsigned rate = r->cmos[REG_A] & A_RATE;

    if (!rate || (r->cmos[REG_A] & A_DIV) > A_DIV_RUN) {
        return 0;
    }
    if (rate <= 2) {
        rate += 7;
    }
    return NS_PER_SEC * (INT64_C(1) << (rate - 1)) / 32768;
}

/* Starts or stops the ticks after a change of rate or enable. */
static void arm_periodic(Rtc *r)
{
    int64_t period = period_ns(r);

    if (!period || !(r->cmos[REG_B] & B_PIE)) {
        r->next_tick = -1;
        r->coalesced = 0;
        dev_timer_stop(&r->periodic);
        return;
    }
    int64_t now = clock_now(CLOCK_VM);
    /* The divider runs all the time: ticks fall on multiples of the period. */
    r->next_tick = (now / period + 1) * period;
    dev_timer_set(&r->periodic, r->next_tick);
}

static void periodic_fire(Device *d, DevTimer *t)
{
    Rtc *r = device_as(d, &mc146818rtc_type);
    int64_t period = period_ns(r), now = clock_now(CLOCK_VM), due = r->next_tick;

    if (!period || due < 0) {
        return;
    }
    uint64_t late = 0;
    if (now >= due) {
        late = (uint64_t)(now - due) / (uint64_t)period;
        r->next_tick = due + (int64_t)(late + 1) * period;
        if (r->lost_tick_policy == LOST_SLEW) {
            uint64_t lost = r->coalesced + late + (r->cmos[REG_C] & C_PF ? 1 : 0);
            r->coalesced = (uint32_t)MIN(lost, COALESCED_MAX);
        }
    } else if (!(r->cmos[REG_C] & C_PF) && r->coalesced) {
        r->coalesced--;        /* between two ticks: one that was lost before */
    }
    r->cmos[REG_C] |= C_PF;
    drive(r);
    dev_timer_set(&r->periodic, r->next_tick);
}

/* The guest took the tick: if it owes us some, the next comes half a period early. */
static void catch_up(Rtc *r)
{
    if (r->coalesced && r->next_tick >= 0) {
        int64_t now = clock_now(CLOCK_VM);

        dev_timer_set(&r->periodic, MIN(r->next_tick, now + period_ns(r) / 2));
    }
}

static uint8_t read_c(Rtc *r)
{
    account(r);
    /* Without PIE no timer runs: a tick has passed if the period's edge has. */
    int64_t period = period_ns(r);
    if (!(r->cmos[REG_B] & B_PIE) && period) {
        int64_t edge = clock_now(CLOCK_VM) / period * period;

        if (edge > -r->next_tick) {            /* next_tick holds -(edge last seen) while PIE is off */
            r->cmos[REG_C] |= C_PF;
        }
        r->next_tick = -MAX(edge, 1);
    }
    drive(r);
    uint8_t val = r->cmos[REG_C];
    r->cmos[REG_C] = 0;
    irq_set(&r->irq, false);
    if (val & C_PF) {
        catch_up(r);
    }
    if (val & r->cmos[REG_B] & (C_AF | C_UF)) {
        arm_update(r);
    }
    return val;
}

/* --- setting the time --- */
static void time_set_defer(Device *d, uintptr_t arg)
{
    const MachineListener *l = machine_listener();

    if (l && l->rtc_changed) {
        l->rtc_changed((int64_t)arg);
    }
}

/* The registers say the time from now on. */
static void take_time(Rtc *r, int64_t fraction_ns)
{
    int64_t now = clock_now(r->clock), sec = spelt_sec(r);

    r->offset_ns = fraction_ns - now % NS_PER_SEC;
    r->epoch_s = sec - floor_div(now + r->offset_ns, NS_PER_SEC);
    r->checked_ns = now + r->offset_ns;
    r->shown_sec = INT64_MIN;
    int64_t off = sec - (clock_now(CLOCK_WALL) - fraction_ns + NS_PER_SEC / 2) / NS_PER_SEC;
    TRACE(mc146818rtc_set, "utc%+" PRId64 "s", off);
    machine_defer(&r->isa.dev, time_set_defer, (uintptr_t)off);
}

/* After a write to A or B: the clock stands still while SET is on or the divider is held. */
static void check_frozen(Rtc *r, bool div_was_held)
{
    bool held = (r->cmos[REG_A] & A_DIV) > A_DIV_RUN;
    bool freeze = held || r->cmos[REG_B] & B_SET;

    if (freeze && !r->frozen) {
        show_time(r);
        r->frozen_ns = guest_ns(r);
        r->frozen = true;
    } else if (!freeze && r->frozen) {
        int64_t fraction = r->frozen_ns - floor_div(r->frozen_ns, NS_PER_SEC) * NS_PER_SEC;

        r->frozen = false;
        /* Released from reset, the divider's first update comes half a second later. */
        take_time(r, div_was_held ? NS_PER_SEC / 2 : fraction);
    }
}

static void write_a(Rtc *r, uint8_t val)
{
    uint8_t old = r->cmos[REG_A];

    r->cmos[REG_A] = val & ~A_UIP;
    if ((old ^ val) & (A_DIV | A_RATE)) {
        arm_periodic(r);
    }
    check_frozen(r, (old & A_DIV) > A_DIV_RUN);
    arm_update(r);
}

static void write_b(Rtc *r, uint8_t val)
{
    uint8_t old = r->cmos[REG_B];
    bool held = (r->cmos[REG_A] & A_DIV) > A_DIV_RUN;

    account(r);
    if (val & B_SET) {
        val &= ~B_UIE;         /* MC146818A: SET clears UIE */
    }
    if ((old ^ val) & B_SET && val & B_SET) {
        check_frozen(r, held);
    }
    if (!r->frozen && val & B_SET) {
        show_time(r);          /* in the old format, as the registers hold it */
    }
    r->cmos[REG_B] = val;
    if ((old ^ val) & (B_DM | B_24)) {
        r->shown_sec = INT64_MIN;
    }
    check_frozen(r, held);
    if ((old ^ val) & B_PIE) {
        arm_periodic(r);
    }
    drive(r);
    arm_update(r);
}

static void write_reg(Rtc *r, unsigned reg, uint8_t val)
{
    TRACE(mc146818rtc_write, "reg=0x%02x val=0x%02x", reg, val);
    switch (reg) {
    case REG_SEC_ALARM: case REG_MIN_ALARM: case REG_HOUR_ALARM:
        account(r);
        r->cmos[reg] = val;
        arm_update(r);
        break;
    case REG_SEC: case REG_MIN: case REG_HOUR: case REG_WDAY: case REG_MDAY: case REG_MONTH:
    case REG_YEAR: case REG_CENTURY:
        show_time(r);
        r->cmos[reg] = val;
        if (!r->frozen && reg != REG_WDAY) {
            int64_t now = guest_ns(r);

            take_time(r, now - floor_div(now, NS_PER_SEC) * NS_PER_SEC);
            arm_update(r);
        }
        break;
    case REG_A:
        write_a(r, val);
        break;
    case REG_B:
        write_b(r, val);
        break;
    case REG_C: case REG_D:
        break;
    default:
        r->cmos[reg] = val;
        break;
    }
}

static uint64_t rtc_read(void *dev, uint64_t off, unsigned size)
{
    Rtc *r = dev;
    uint8_t val;

    if (off == 0) {
        return 0xff;           /* the index is write-only */
    }
    switch (r->index) {
    case REG_SEC: case REG_MIN: case REG_HOUR: case REG_WDAY: case REG_MDAY: case REG_MONTH:
    case REG_YEAR: case REG_CENTURY:
        show_time(r);
        val = r->cmos[r->index];
        break;
    case REG_A: {
        int64_t in_sec = guest_ns(r) + UIP_NS;

        val = r->cmos[REG_A];
        if (!r->frozen && in_sec - floor_div(in_sec, NS_PER_SEC) * NS_PER_SEC < UIP_NS) {
            val |= A_UIP;
        }
        break;
    }
    case REG_C:
        val = read_c(r);
        break;
    default:
        val = r->cmos[r->index];
        break;
    }
    TRACE(mc146818rtc_read, "reg=0x%02x val=0x%02x", r->index, val);
    return val;
}

static void rtc_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Rtc *r = dev;

    if (off == 0) {
        r->index = val & 0x7f; /* bit 7 masks NMI on a real board */
    } else {
        write_reg(r, r->index, (uint8_t)val);
    }
}

static const RegionOps rtc_ops = { rtc_read, rtc_write, 1, 1, 0 };

/* --- for boards --- */
void rtc_cmos_set(Device *d, unsigned index, uint8_t val)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    g_assert(index > REG_D && index < RTC_CMOS_SIZE);
    r->cmos[index] = val;
}

uint8_t rtc_cmos_get(Device *d, unsigned index)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    g_assert(index < RTC_CMOS_SIZE);
    return r->cmos[index];
}

void rtc_on_alarm(Device *d, void (*fn)(void *arg), void *arg)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    r->alarm_fn = fn;
    r->alarm_arg = arg;
}

IrqLine *rtc_irq(Device *d)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    return &r->irq;
}

/* --- life --- */
static bool rtc_realize(Device *d, Error **errp)
{
    Rtc *r = device_as(d, &mc146818rtc_type);
    const BoardConfig *cfg = d->machine ? &d->machine->cfg : NULL;

    r->clock = cfg ? cfg->rtc_clock : CLOCK_VM;
    if (cfg && cfg->rtc_drift_slew) {
        r->lost_tick_policy = LOST_SLEW;
    }
    int64_t wall = clock_now(CLOCK_WALL), now = clock_now(r->clock);
    r->offset_ns = wall % NS_PER_SEC - now % NS_PER_SEC;
    r->epoch_s = wall / NS_PER_SEC - now / NS_PER_SEC + (cfg ? cfg->rtc_offset_s : 0);
    r->checked_ns = guest_ns(r);
    r->shown_sec = INT64_MIN;
    r->next_tick = -1;
    r->cmos[REG_A] = A_DIV_RUN | 6;
    r->cmos[REG_B] = B_24;
    r->cmos[REG_D] = 0x80;     /* valid RAM and time */
    irq_line_init(&r->irq, d, "irq");
    isa_irq(d, &r->irq, r->irq_no);
    dev_timer_init(&r->update, d, r->clock, update_fire);
    dev_timer_init(&r->periodic, d, CLOCK_VM, periodic_fire);
    region_io(&r->io, d, "rtc", &rtc_ops, 2);
    isa_io(d, &r->io, r->iobase);
    return true;
}

static void rtc_unrealize(Device *d)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    dev_timer_free(&r->update);
    dev_timer_free(&r->periodic);
}

static void rtc_reset(Device *d, ResetKind kind)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
    r->cmos[REG_C] = 0;
    r->coalesced = 0;
    r->next_tick = -1;
    r->index = 0;
}

static void rtc_settle(Device *d)
{
    Rtc *r = device_as(d, &mc146818rtc_type);

    r->shown_sec = INT64_MIN;
    drive(r);
    irq_refresh(&r->irq);
    arm_update(r);
    if (r->next_tick > 0 && r->cmos[REG_B] & B_PIE) {
        dev_timer_set(&r->periodic, r->next_tick);
    } else {
        dev_timer_stop(&r->periodic);
    }
}

static bool rtc_check(void *obj, Error **errp)
{
    const Rtc *r = obj;

    if (r->index >= RTC_CMOS_SIZE || r->coalesced > COALESCED_MAX) {
        return error_set(errp, "index %u or lost ticks %u out of range", r->index, r->coalesced);
    }
    /* Within these no arithmetic overflows; the clock itself gets there in a century. */
    const int64_t most = INT64_MAX / 2, most_s = INT64_C(1) << 50;
    if (r->offset_ns <= -NS_PER_SEC || r->offset_ns >= NS_PER_SEC || r->frozen_ns < -most
        || r->frozen_ns > most || r->checked_ns < -most || r->checked_ns > most || r->next_tick < -most
        || r->next_tick > most || r->epoch_s < -most_s || r->epoch_s > most_s) {
        return error_set(errp, "time out of range");
    }
    return true;
}

static const StateField rtc_fields[] = {
    STATE_BYTES(Rtc, cmos),
    STATE_U8(Rtc, index),
    STATE_BOOL(Rtc, frozen),
    STATE_I64(Rtc, offset_ns),
    STATE_I64(Rtc, frozen_ns),
    STATE_I64(Rtc, checked_ns),
    STATE_I64(Rtc, epoch_s),
    STATE_I64(Rtc, next_tick),
    STATE_U32(Rtc, coalesced),
    { 0 },
};
static const StateDesc rtc_state = {
    .name = "mc146818rtc", .version = 1, .fields = rtc_fields, .check = rtc_check,
};

static const PropDesc rtc_props[] = {
    PROP_U16(Rtc, iobase, "iobase", 0x70, 0, 0xfffe, "port of the index register"),
    PROP_U8(Rtc, irq_no, "irq", 8, 0, 15, "ISA interrupt"),
    PROP_I32(Rtc, base_year, "base_year", 2000, 0, 9999, "year at which the year register counts 0"),
    PROP_ENUM(Rtc, lost_tick_policy, "lost_tick_policy", lost_names, LOST_DISCARD,
              "what becomes of periodic ticks the guest was too late for"),
    { 0 },
};

const DeviceType mc146818rtc_type = {
    .name = "mc146818rtc", .summary = "real-time clock and CMOS memory", .slot = &isa_slot,
    .size = sizeof(Rtc), .flags = DEV_INTERNAL, .props = rtc_props, .state = &rtc_state,
    .category = "Misc", .realize = rtc_realize, .unrealize = rtc_unrealize, .reset = rtc_reset,
    .settle = rtc_settle,
};
