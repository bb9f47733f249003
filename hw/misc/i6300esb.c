/* i6300esb.c: the watchdog timer of the Intel 6300ESB ICH (datasheet 300641, chapter 16).
 *
 *   off --WDT_ENABLE--> stage 1 --expires--> stage 2 --expires--> the machine's watchdog action
 *    ^                    ^------- reload -------|                        |
 *    '--------------------------------------------------------------------'
 *
 * 1. Preloads, and the reload bit, count only after 80h and 86h were written to the reload register.
 * 2. Whether it is enabled and locked is in configuration space, which the PCI core saves.
 * 3. The time-out bit survives the reset that the watchdog causes: that is what it is for. */
#include "core/machine.h"
#include "hw/pci/pci.h"
#include "util/bytes.h"
#include "util/trace.h"

/* Configuration space: 16.1. */
enum { CFG_CONFIG = 0x60, CFG_LOCK = 0x68 };
enum { CONFIG_INT = 3, CONFIG_FAST = 1 << 2, CONFIG_NO_REBOOT = 1 << 5 };
enum { LOCK_LOCKED = 1, LOCK_ENABLE = 2, LOCK_FREE_RUN = 4 };
/* Memory space: 16.2. */
enum { REG_PRELOAD1 = 0, REG_PRELOAD2 = 4, REG_INT = 8, REG_RELOAD = 12 };
enum { RELOAD_RELOAD = 1 << 8, RELOAD_TIMEOUT = 1 << 9 };
#define PRELOAD_MASK 0xfffffu
#define PCI_CLOCK_PS 30303     /* 33 MHz */
/* A timer that runs freely tells nobody when it expires but a bit: it need not do so more often. */
#define FREE_RUN_MIN_NS NS_PER_MS

typedef struct I6300esb {
    PciDevice p;
    Region mmio;
    DevTimer timer;
    uint32_t preload1, preload2;
    uint8_t unlock;            /* how much of the sequence was written: 0 to 2 */
    bool second;               /* stage 2 */
    bool on;                   /* the timer runs */
    bool interrupt, timed_out;
} I6300esb;

static uint8_t lock_reg(const I6300esb *s)
{
    return s->p.config[CFG_LOCK];
}

/* The preload is the upper 20 bits of a counter of 35 bits, or of 25 with the fast prescaler. */
static void run(I6300esb *s, bool second)
{
    unsigned shift = s->p.config[CFG_CONFIG] & CONFIG_FAST ? 5 : 15;
    uint64_t ticks = (uint64_t)(second ? s->preload2 : s->preload1) << shift;
    int64_t least = lock_reg(s) & LOCK_FREE_RUN ? FREE_RUN_MIN_NS : 1;

    s->second = second;
    s->on = true;
    dev_timer_set(&s->timer, clock_now(CLOCK_VM) + MAX((int64_t)(ticks * PCI_CLOCK_PS / 1000), least));
    TRACE(i6300esb_run, "%s stage=%d ticks=%" PRIu64, s->p.dev.id, second ? 2 : 1, ticks);
}

static void restart(I6300esb *s)
{
    /* Free running has no first stage. */
    run(s, lock_reg(s) & LOCK_FREE_RUN);
}

static void halt(I6300esb *s)
{
    s->on = s->second = false;
    dev_timer_stop(&s->timer);
}

static void expired(Device *d, DevTimer *t)
{
    I6300esb *s = container_of(t, I6300esb, timer);

    if (!s->second) {
        /* The interrupt goes to an I/O APIC input, or SMI, that the boards do not have. */
        s->interrupt |= (s->p.config[CFG_CONFIG] & CONFIG_INT) != CONFIG_INT;
        run(s, true);
        return;
    }
    TRACE(i6300esb_expired, "%s", d->id);
    s->timed_out = true;
    if (lock_reg(s) & LOCK_FREE_RUN) {
        run(s, true);
        return;
    }
    halt(s);
    s->p.config[CFG_LOCK] &= (uint8_t)~(LOCK_ENABLE | LOCK_LOCKED);
    s->p.wmask[CFG_LOCK] = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUN;
    if (!(s->p.config[CFG_CONFIG] & CONFIG_NO_REBOOT)) {
        machine_request(REQUEST_WATCHDOG, 0, d->id);
    }
}

/* --- registers --- */

static uint64_t esb_read(void *dev, uint64_t off, unsigned size)
{
    const I6300esb *s = dev;

    switch (off) {
    case REG_INT:
        return s->interrupt;
    case REG_RELOAD:
        return s->timed_out ? RELOAD_TIMEOUT : 0;
    default:
        return 0;                              /* preloads are write-only */
    }
}

/* True if the sequence came before; it counts once. */
static bool unlocked(I6300esb *s)
{
    bool is = s->unlock == 2;

    s->unlock = 0;
    return is;
}

static void write_reload(I6300esb *s, uint32_t val)
{
    if (val == 0x80) {
        s->unlock = 1;
    } else if (val == 0x86 && s->unlock == 1) {
        s->unlock = 2;
    } else if (unlocked(s)) {
        if ((val & RELOAD_RELOAD) && s->on) {
            restart(s);
        }
        if (val & RELOAD_TIMEOUT) {
            s->timed_out = false;
        }
    }
}

static void esb_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    I6300esb *s = dev;

    switch (off) {
    case REG_PRELOAD1:
    case REG_PRELOAD2:
        if (unlocked(s)) {
            *(off == REG_PRELOAD1 ? &s->preload1 : &s->preload2) = (uint32_t)val & PRELOAD_MASK;
        }
        break;
    case REG_INT:
        s->interrupt = s->interrupt && !(val & 1);
        break;
    case REG_RELOAD:
        write_reload(s, (uint32_t)val);
        break;
    default:
        break;
    }
}

static const RegionOps esb_ops = { .read = esb_read, .write = esb_write, .min = 1, .max = 4 };

static void config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    I6300esb *s = (I6300esb *)p;

    if (off > CFG_LOCK || off + size <= CFG_LOCK) {
        return;
    }
    if (lock_reg(s) & LOCK_LOCKED) {
        p->wmask[CFG_LOCK] = 0;                /* until a reset */
    }
    if ((lock_reg(s) & LOCK_ENABLE) && !s->on) {
        restart(s);
    } else if (!(lock_reg(s) & LOCK_ENABLE) && s->on) {
        halt(s);
    }
}

/* --- life --- */

static bool esb_realize(Device *d, Error **errp)
{
    I6300esb *s = (I6300esb *)d;

    region_io(&s->mmio, d, "i6300esb", &esb_ops, 16);
    pci_bar(&s->p, 0, BAR_MEM32, &s->mmio);
    dev_timer_init(&s->timer, d, CLOCK_VM, expired);
    s->p.wmask[CFG_CONFIG] = CONFIG_INT | CONFIG_FAST | CONFIG_NO_REBOOT;
    s->p.wmask[CFG_LOCK] = s->p.live[CFG_LOCK] = LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUN;
    return true;
}

static void esb_unrealize(Device *d)
{
    I6300esb *s = (I6300esb *)d;

    dev_timer_free(&s->timer);
    region_free(&s->mmio);
}

static void esb_reset(Device *d, ResetKind kind)
{
    I6300esb *s = (I6300esb *)d;

    halt(s);
    s->preload1 = s->preload2 = PRELOAD_MASK;
    s->unlock = 0;
    s->interrupt = false;
    s->p.config[CFG_CONFIG] = s->p.config[CFG_LOCK] = 0;
}

static void esb_settle(Device *d)
{
    I6300esb *s = (I6300esb *)d;

    s->p.wmask[CFG_LOCK] = lock_reg(s) & LOCK_LOCKED ? 0 : LOCK_LOCKED | LOCK_ENABLE | LOCK_FREE_RUN;
}

static bool esb_check(void *obj, Error **errp)
{
    I6300esb *s = obj;

    s->preload1 &= PRELOAD_MASK;
    s->preload2 &= PRELOAD_MASK;
    return s->unlock <= 2 || error_set(errp, "unlock sequence %u", s->unlock);
}

static const StateField esb_fields[] = {
    STATE_U32(I6300esb, preload1), STATE_U32(I6300esb, preload2), STATE_U8(I6300esb, unlock),
    STATE_BOOL(I6300esb, second), STATE_BOOL(I6300esb, on), STATE_BOOL(I6300esb, interrupt),
    STATE_BOOL(I6300esb, timed_out), STATE_TIMER(I6300esb, timer),
    { 0 },
};

static const StateDesc esb_state = {
    .name = "i6300esb", .version = 1, .fields = esb_fields, .check = esb_check,
};

static const PciOps esb_pci = {
    .vendor = 0x8086, .device = 0x25ab, .class_code = 0x088000, .config_wrote = config_wrote,
};

const DeviceType i6300esb_type = {
    .name = "i6300esb", .summary = "Intel 6300ESB", .slot = &pci_slot, .size = sizeof(I6300esb),
    .flags = DEV_HOTPLUG | DEV_OWN_DOMAIN, .category = "Watchdog", .state = &esb_state, .slot_ops = &esb_pci,
    .realize = esb_realize, .unrealize = esb_unrealize, .reset = esb_reset, .settle = esb_settle,
};
