/* pm.c: ACPI fixed hardware (ACPI 6.4, 4.8) as the PIIX4 and the ICH9 have it.
 *
 * 1. The timer register is a pure function of CLOCK_VM.  TMR_STS is worked out from @carry when someone
 *    looks; a DevTimer runs only while the guest wants the interrupt.
 * 2. SCI is the OR of enabled PM1 and GPE0 status while SCI_EN is set. */
#include "hw/acpi/pm.h"

#include "core/accel.h"
#include "core/machine.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { PM1_EVENTS = ACPI_PM1_TMR | ACPI_PM1_GBL | ACPI_PM1_PWRBTN | ACPI_PM1_SLPBTN | ACPI_PM1_RTC };
enum { SLP_TYP_SHIFT = 10, SLP_TYP_MASK = 7 };
enum { RCR_SYS_RST = 2, RCR_RST_CPU = 4 };
enum { SMI_EN_GBL = 1, SMI_EN_APMC = 1u << 5, SMI_STS_APM = 1u << 5 };
#define CARRY_TICKS (UINT64_C(1) << 23)

static uint64_t ticks(void)
{
    return muldiv64((uint64_t)clock_now(CLOCK_VM), ACPI_PM_TIMER_HZ, (uint32_t)NS_PER_SEC);
}

static void look_at_timer(AcpiPm *pm)
{
    if (!(pm->pm1_sts & ACPI_PM1_TMR) && ticks() >= pm->carry) {
        pm->pm1_sts |= ACPI_PM1_TMR;
    }
}

static void update(AcpiPm *pm)
{
    unsigned half = pm->cfg.gpe_len / 2;
    bool on = pm->pm1_sts & pm->pm1_en & PM1_EVENTS;

    for (unsigned i = 0; i < half; i++) {
        on = on || pm->gpe0[i] & pm->gpe0[half + i];
    }
    irq_set(&pm->sci, on && pm->pm1_cnt & ACPI_PM1_SCI_EN);
    if (pm->pm1_en & ACPI_PM1_TMR && !(pm->pm1_sts & ACPI_PM1_TMR)) {
        /* One tick later than the carry, so that rounding cannot make the timer early. */
        dev_timer_set(&pm->wrap, (int64_t)muldiv64(pm->carry + 1, (uint32_t)NS_PER_SEC, ACPI_PM_TIMER_HZ));
    } else {
        dev_timer_stop(&pm->wrap);
    }
}

static void wrap_fire(Device *d, DevTimer *t)
{
    AcpiPm *pm = container_of(t, AcpiPm, wrap);

    look_at_timer(pm);
    update(pm);
}

/* --- PM1 event block: status, enable --- */
static uint64_t evt_read(void *arg, uint64_t off, unsigned size)
{
    AcpiPm *pm = arg;

    look_at_timer(pm);
    return ((uint32_t)pm->pm1_en << 16 | pm->pm1_sts) >> off * 8;
}

static void evt_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPm *pm = arg;
    uint32_t wide = (uint32_t)(val & ones(size)) << off * 8;
    uint32_t mask = (uint32_t)ones(size) << off * 8;

    TRACE(pm_event_write, "off=%u val=0x%x", (unsigned)off, (unsigned)val);
    look_at_timer(pm);
    if (wide & pm->pm1_sts & ACPI_PM1_TMR) {
        pm->carry = (ticks() / CARRY_TICKS + 1) * CARRY_TICKS;
    }
    pm->pm1_sts &= ~wide;
    if (wide & ACPI_PM1_WAK) {
        pm->woke = false;
    }
    pm->pm1_en = (uint16_t)((pm->pm1_en & ~(mask >> 16)) | wide >> 16);
    update(pm);
}

/* --- PM1 control --- */
static uint64_t cnt_read(void *arg, uint64_t off, unsigned size)
{
    const AcpiPm *pm = arg;

    return pm->pm1_cnt >> off * 8;
}

static void go_to_sleep(AcpiPm *pm)
{
    unsigned typ = pm->pm1_cnt >> SLP_TYP_SHIFT & SLP_TYP_MASK;

    TRACE(pm_sleep, "type=%u", typ);
    if (typ == ACPI_SLP_TYP_S5) {
        machine_request(REQUEST_POWEROFF, 0, "ACPI S5");
    } else if (typ == ACPI_SLP_TYP_S3 && !pm->cfg.no_s3) {
        pm->asleep = true;
        machine_request(REQUEST_SUSPEND, 0, "ACPI S3");
    } else if (typ == pm->cfg.s4_val && !pm->cfg.no_s4) {
        machine_request(REQUEST_SUSPEND_DISK, 0, "ACPI S4");
    } else {
        guest_bug("pm", "sleep type %u", typ);
    }
}

static void cnt_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPm *pm = arg;
    uint32_t mask = (uint32_t)ones(size) << off * 8;
    uint32_t wide = (pm->pm1_cnt & ~mask) | ((uint32_t)val << off * 8 & mask);

    TRACE(pm_control_write, "0x%x", wide);
    pm->pm1_cnt = (uint16_t)(wide & ~ACPI_PM1_SLP_EN);
    update(pm);
    if (wide & ACPI_PM1_SLP_EN) {
        go_to_sleep(pm);
    }
}

/* --- timer --- */
static uint64_t tmr_read(void *arg, uint64_t off, unsigned size)
{
    return (ticks() & 0xffffff) >> off * 8;
}

static void tmr_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
}

/* --- GPE0 --- */
static uint64_t gpe_read(void *arg, uint64_t off, unsigned size)
{
    const AcpiPm *pm = arg;

    return ld_n(pm->gpe0 + off, size);
}

static void gpe_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPm *pm = arg;
    unsigned half = pm->cfg.gpe_len / 2;

    for (unsigned i = 0; i < size; i++, val >>= 8) {
        if (off + i < half) {
            pm->gpe0[off + i] &= ~(uint8_t)val;
        } else {
            pm->gpe0[off + i] = (uint8_t)val;
        }
    }
    update(pm);
}

/* --- SMI_EN, SMI_STS (ICH9) --- */
static uint64_t smi_read(void *arg, uint64_t off, unsigned size)
{
    const AcpiPm *pm = arg;

    return ((uint64_t)pm->smi_sts << 32 | pm->smi_en) >> off * 8;
}

static void smi_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPm *pm = arg;
    uint64_t mask = ones(size) << off * 8, wide = val << off * 8 & mask;

    pm->smi_en = (uint32_t)((pm->smi_en & ~mask) | (uint32_t)wide);
    if (pm->cfg.no_smm) {
        pm->smi_en |= SMI_EN_APMC;
    }
    pm->smi_sts &= ~(uint32_t)(wide >> 32);
}

/* --- APM command and status ports --- */
static uint64_t apm_read(void *arg, uint64_t off, unsigned size)
{
    const AcpiPm *pm = arg;

    return off ? pm->apms : pm->apmc;
}

/* ICH9 13.8.3.10: GBL_SMI_EN and APMC_EN; PIIX4 7.1.18: APMC_EN of the owner's DEVACTB. */
static bool apm_interrupts(const AcpiPm *pm)
{
    const uint32_t both = SMI_EN_GBL | SMI_EN_APMC;

    if (pm->cfg.no_smm || accel()->smi == NULL) {
        return false;
    }
    return pm->cfg.ich9 ? (pm->smi_en & both) == both : pm->apmc_enabled && pm->apmc_enabled(pm->owner);
}

static void apm_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPm *pm = arg;

    if (off) {
        pm->apms = (uint8_t)val;
        return;
    }
    TRACE(pm_apm_command, "0x%02x", (unsigned)val);
    pm->apmc = (uint8_t)val;
    if (pm->apmc == pm->cfg.acpi_enable) {
        pm->pm1_cnt |= ACPI_PM1_SCI_EN;
    } else if (pm->apmc == pm->cfg.acpi_disable && !pm->cfg.no_smm) {
        pm->pm1_cnt &= ~ACPI_PM1_SCI_EN;
    }
    update(pm);
    if (apm_interrupts(pm)) {
        pm->smi_sts |= SMI_STS_APM;
        accel()->smi(pm->smi_to_all != NULL && pm->smi_to_all(pm->owner));
    }
}

/* --- reset control --- */
uint8_t acpi_pm_reset_port_read(const AcpiPm *pm)
{
    return pm->reset_control;
}

void acpi_pm_reset_port_write(AcpiPm *pm, uint8_t val)
{
    /* The bit is edge-sensitive and reads as zero: each write of one is an edge. */
    pm->reset_control = val & RCR_SYS_RST;
    if (val & RCR_RST_CPU) {
        TRACE(pm_reset, "0x%02x", val);
        machine_request(REQUEST_RESET, 0, "reset control register");
    }
}

static uint64_t rcr_read(void *arg, uint64_t off, unsigned size)
{
    return acpi_pm_reset_port_read(arg);
}

static void rcr_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    acpi_pm_reset_port_write(arg, (uint8_t)val);
}

static const RegionOps evt_ops = { evt_read, evt_write, 1, 4, 0 };
static const RegionOps cnt_ops = { cnt_read, cnt_write, 1, 2, 0 };
/* Lockless: the value is a function of the clock alone, and writes do nothing. */
static const RegionOps tmr_ops = { tmr_read, tmr_write, 1, 4, REGION_LOCKLESS };
static const RegionOps gpe_ops = { gpe_read, gpe_write, 1, 4, 0 };
static const RegionOps smi_ops = { smi_read, smi_write, 1, 4, 0 };
static const RegionOps apm_ops = { apm_read, apm_write, 1, 1, 0 };
static const RegionOps rcr_ops = { rcr_read, rcr_write, 1, 1, 0 };

/* --- the part --- */
void acpi_pm_init(AcpiPm *pm, Device *owner, const AcpiPmConfig *cfg)
{
    assert_control();
    g_assert(cfg->gpe_len <= sizeof(pm->gpe0));
    pm->owner = owner;
    pm->cfg = *cfg;
    irq_line_init(&pm->sci, owner, "sci");
    dev_timer_init(&pm->wrap, owner, CLOCK_VM, wrap_fire);
    region_box(&pm->block, owner, "acpi-pm", cfg->ich9 ? 128 : 64);
    region_io_arg(&pm->evt, owner, "acpi-evt", &evt_ops, pm, 4);
    region_io_arg(&pm->cnt, owner, "acpi-cnt", &cnt_ops, pm, 2);
    region_io_arg(&pm->tmr, owner, "acpi-tmr", &tmr_ops, pm, 4);
    region_io_arg(&pm->gpe, owner, "acpi-gpe0", &gpe_ops, pm, cfg->gpe_len);
    region_io_arg(&pm->smi, owner, "acpi-smi", &smi_ops, pm, 8);
    region_io_arg(&pm->apm, owner, "apm", &apm_ops, pm, 2);
    region_io_arg(&pm->rcr, owner, "reset-control", &rcr_ops, pm, 1);
    map_begin();
    map_put(&pm->block, &pm->evt, 0x00, 0);
    map_put(&pm->block, &pm->cnt, 0x04, 0);
    map_put(&pm->block, &pm->tmr, 0x08, 0);
    if (cfg->ich9) {
        map_put(&pm->block, &pm->gpe, 0x20, 0);
        map_put(&pm->block, &pm->smi, 0x30, 0);
    }
    map_commit();
}

static void each_region(AcpiPm *pm, void (*fn)(Region *r))
{
    fn(&pm->evt);
    fn(&pm->cnt);
    fn(&pm->tmr);
    fn(&pm->gpe);
    fn(&pm->smi);
    fn(&pm->apm);
    fn(&pm->rcr);
    fn(&pm->block);
}

void acpi_pm_free(AcpiPm *pm)
{
    assert_control();
    map_begin();
    each_region(pm, map_drop);
    map_commit();
    each_region(pm, region_free);
    dev_timer_free(&pm->wrap);
}

void acpi_pm_place_fixed(AcpiPm *pm, Region *io)
{
    map_begin();
    map_put(io, &pm->apm, 0xb2, 0);
    if (!pm->cfg.ich9) {
        map_put(io, &pm->gpe, pm->cfg.gpe_port, 0);
    }
    if (pm->cfg.own_reset_port) {
        map_put(io, &pm->rcr, 0xcf9, 1);
    }
    map_commit();
}

void acpi_pm_place(AcpiPm *pm, Region *io, uint16_t base, bool enabled)
{
    map_begin();
    map_drop(&pm->block);
    if (enabled) {
        map_put(io, &pm->block, base, 0);
    }
    map_commit();
}

void acpi_pm_reset(AcpiPm *pm, ResetKind kind)
{
    pm->pm1_sts = pm->woke ? pm->pm1_sts & ~ACPI_PM1_TMR : 0;
    pm->pm1_en = 0;
    pm->pm1_cnt = pm->cfg.no_smm ? ACPI_PM1_SCI_EN : 0;
    memset(pm->gpe0, 0, sizeof(pm->gpe0));
    pm->smi_en = pm->cfg.no_smm ? SMI_EN_APMC : 0;
    pm->smi_sts = 0;
    pm->apmc = pm->apms = pm->reset_control = 0;
    pm->asleep = false;
    pm->carry = (ticks() / CARRY_TICKS + 1) * CARRY_TICKS;
}

void acpi_pm_settle(AcpiPm *pm)
{
    update(pm);
    irq_refresh(&pm->sci);
}

/* --- events --- */
static void press(AcpiPm *pm, uint16_t bit)
{
    /* Nobody listens yet: a press now must not be found by the system that enables it later. */
    if (pm->pm1_en & bit) {
        pm->pm1_sts |= bit;
        update(pm);
    }
    if (pm->asleep) {
        machine_request(REQUEST_WAKE, bit, "button");
    }
}

void acpi_pm_power_button(AcpiPm *pm)
{
    TRACE(pm_power_button, "enabled=%d", (pm->pm1_en & ACPI_PM1_PWRBTN) != 0);
    press(pm, ACPI_PM1_PWRBTN);
}

void acpi_pm_sleep_button(AcpiPm *pm)
{
    press(pm, ACPI_PM1_SLPBTN);
}

void acpi_pm_rtc_alarm(AcpiPm *pm)
{
    pm->pm1_sts |= ACPI_PM1_RTC;
    update(pm);
    if (pm->asleep && pm->pm1_en & ACPI_PM1_RTC) {
        machine_request(REQUEST_WAKE, ACPI_PM1_RTC, "rtc");
    }
}

void acpi_pm_gpe(AcpiPm *pm, unsigned bit)
{
    if (bit / 8 < pm->cfg.gpe_len / 2u) {
        TRACE(pm_gpe, "bit=%u", bit);
        pm->gpe0[bit / 8] |= 1u << bit % 8;
        update(pm);
    }
}

bool acpi_pm_wake(AcpiPm *pm, uint16_t reason)
{
    if (!pm->asleep) {
        return false;
    }
    TRACE(pm_wake, "reason=0x%x", reason);
    pm->asleep = false;
    pm->woke = true;
    pm->pm1_sts |= ACPI_PM1_WAK | reason;
    update(pm);
    return true;
}

bool acpi_pm_enabled(const AcpiPm *pm)
{
    return pm->pm1_cnt & ACPI_PM1_SCI_EN;
}

static bool pm_check(void *obj, Error **errp)
{
    const AcpiPm *pm = obj;

    return pm->carry < UINT64_MAX >> 16 || error_set(errp, "timer carry out of range");
}

static const StateField pm_fields[] = {
    STATE_U16(AcpiPm, pm1_sts), STATE_U16(AcpiPm, pm1_en), STATE_U16(AcpiPm, pm1_cnt),
    STATE_BYTES(AcpiPm, gpe0), STATE_U32(AcpiPm, smi_en), STATE_U32(AcpiPm, smi_sts),
    STATE_U8(AcpiPm, apmc), STATE_U8(AcpiPm, apms), STATE_U8(AcpiPm, reset_control),
    STATE_BOOL(AcpiPm, asleep), STATE_BOOL(AcpiPm, woke), STATE_U64(AcpiPm, carry),
    { 0 },
};
const StateDesc acpi_pm_state = {
    .name = "acpi-pm", .version = 1, .fields = pm_fields, .check = pm_check,
};
