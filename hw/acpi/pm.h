/* pm.h: the ACPI power management registers that PIIX4_PM and the ICH9 LPC bridge share.
 *
 * An AcpiPm is a part of the chip that owns it: it lives under the owner's domain, its state is a
 * STATE_STRUCT of the owner's table, and the owner calls acpi_pm_reset()/acpi_pm_settle() from its own.
 * Typical owner:
 *     realize:   acpi_pm_init(&s->pm, d, &cfg); irq_connect(&s->pm.sci, gsi, 9); m->pm = d;
 *                acpi_pm_place_fixed(&s->pm, &m->io_root);
 *     PMBASE:    acpi_pm_place(&s->pm, &m->io_root, base, enabled);
 *     unrealize: acpi_pm_free(&s->pm);
 *
 * 1. The timer register is a pure function of CLOCK_VM and is read without a lock.
 * 2. Sleeping and resetting are machine requests; nothing here acts on the machine. */
#ifndef HW_ACPI_PM_H
#define HW_ACPI_PM_H

#include "core/clock.h"
#include "core/device.h"
#include "core/irq.h"
#include "core/region.h"
#include "core/state.h"

#define ACPI_PM_TIMER_HZ 3579545u

/* PM1 status and enable bits (ACPI 4.8.3.1). */
enum {
    ACPI_PM1_TMR = 1u << 0,
    ACPI_PM1_BM = 1u << 4,
    ACPI_PM1_GBL = 1u << 5,
    ACPI_PM1_PWRBTN = 1u << 8,
    ACPI_PM1_SLPBTN = 1u << 9,
    ACPI_PM1_RTC = 1u << 10,
    ACPI_PM1_PCIE_WAKE = 1u << 14,
    ACPI_PM1_WAK = 1u << 15,
};
enum { ACPI_PM1_SCI_EN = 1u << 0, ACPI_PM1_SLP_EN = 1u << 13 };

typedef struct AcpiPmConfig {
    bool ich9;                 /* GPE0 at 0x20, SMI_EN/SMI_STS at 0x30 of the block; else PIIX4 */
    uint16_t gpe_port;         /* PIIX4: port of GPE0 (0xafe0) */
    uint8_t gpe_len;           /* bytes of GPE0: PIIX4 4, ICH9 16 */
    /* Values of the APM command port 0xb2 (FADT.ACPI_ENABLE, ACPI_DISABLE): PIIX4 0xf1, 0xf0; ICH9 2, 3. */
    uint8_t acpi_enable, acpi_disable;
    bool no_s3, no_s4;
    uint8_t s4_val;            /* SLP_TYP of S4 (2) */
    /* SMI# is not wired: the machine is in ACPI mode from reset on, APMC_EN reads as set so that
     * firmware does not set up SMM, and the FADT names no command port. */
    bool no_smm;
    bool own_reset_port;       /* serve 0xcf9 here; else the PCI host calls acpi_pm_reset_port_*() */
} AcpiPmConfig;

enum { ACPI_SLP_TYP_S5 = 0, ACPI_SLP_TYP_S3 = 1 };     /* as the DSDT's \_S5 and \_S3 say; S4: s4_val */

typedef struct AcpiPm {
    Device *owner;
    AcpiPmConfig cfg;
    IrqLine sci;               /* level; connect it to the SCI input (9) */
    Region block;              /* the box at PMBASE: 64 bytes (PIIX4) or 128 (ICH9) */
    Region evt, cnt, tmr, gpe, smi;
    Region apm, rcr;           /* ports 0xb2-0xb3 and 0xcf9 */
    DevTimer wrap;
    /* state */
    uint16_t pm1_sts, pm1_en, pm1_cnt;
    uint8_t gpe0[16];          /* first half status, second half enable */
    uint32_t smi_en, smi_sts;
    uint8_t apmc, apms, reset_control;
    bool asleep;               /* in S3, until wake */
    bool woke;                 /* out of S3 and WAK_STS not yet cleared: survives the reset of waking */
    uint64_t carry;            /* timer tick from which TMR_STS is set (bit 23 changes) */
    /* PIIX4, set by the owner after init: commands to the APM port are system management interrupts. */
    bool (*apmc_enabled)(const Device *owner);
    /* ICH9, as above: they are for every vCPU, not only the one that wrote.  NULL: no. */
    bool (*smi_to_all)(const Device *owner);
} AcpiPm;

extern const StateDesc acpi_pm_state;

CTX_CONTROL void acpi_pm_init(AcpiPm *pm, Device *owner, const AcpiPmConfig *cfg);
/* Takes everything out of the map and frees it; in the owner's unrealize. */
CTX_CONTROL void acpi_pm_free(AcpiPm *pm);
/* Puts the ports with fixed addresses (APM, PIIX4's GPE0, 0xcf9) into @io. */
CTX_ANY void acpi_pm_place_fixed(AcpiPm *pm, Region *io);
/* The block is at @base of @io, or nowhere. */
CTX_ANY void acpi_pm_place(AcpiPm *pm, Region *io, uint16_t base, bool enabled);
CTX_DOMAIN void acpi_pm_reset(AcpiPm *pm, ResetKind kind);
CTX_DOMAIN void acpi_pm_settle(AcpiPm *pm);

/* The reset control register, port 0xcf9. */
CTX_DOMAIN uint8_t acpi_pm_reset_port_read(const AcpiPm *pm);
CTX_DOMAIN void acpi_pm_reset_port_write(AcpiPm *pm, uint8_t val);

/* --- events --- */
CTX_DOMAIN void acpi_pm_power_button(AcpiPm *pm);
CTX_DOMAIN void acpi_pm_sleep_button(AcpiPm *pm);
/* The RTC's alarm, as a wake source too. */
CTX_DOMAIN void acpi_pm_rtc_alarm(AcpiPm *pm);
/* General purpose event @bit happened. */
CTX_DOMAIN void acpi_pm_gpe(AcpiPm *pm, unsigned bit);
/* Leaves S3: sets WAK_STS and the reason (0: another), which outlive a reset until the guest clears
 * WAK_STS.  False: not asleep. */
CTX_DOMAIN bool acpi_pm_wake(AcpiPm *pm, uint16_t reason);
/* True while the guest has switched to ACPI mode. */
CTX_DOMAIN bool acpi_pm_enabled(const AcpiPm *pm);

#endif
