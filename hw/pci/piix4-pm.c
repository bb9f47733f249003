/* piix4-pm.c: PIIX4_PM, power management and SMBus, function 3 of slot 1 on the board "pc" (Intel
 * 290562).
 *
 * 1. The ACPI registers are hw/acpi/pm.c's; here they are placed as PMBASE (0x40) and PMREGMISC (0x80)
 *    say.  The SMBus ports are placed by SMBBASE (0x90) and SMBHSTCFG (0xd2). */
#include "hw/acpi/cpuhp.h"
#include "hw/acpi/memhp.h"
#include "hw/acpi/pcihp.h"
#include "hw/acpi/pm.h"
#include "hw/isa/isa.h"
#include "hw/pci/host.h"
#include "hw/pci/pci-int.h"
#include "hw/pci/smbus.h"

#define PM_BASE 0x40
#define PM_DEVACTB 0x58
#define PM_REGMISC 0x80
#define SMB_BASE 0x90
#define SMB_HOST_CFG 0xd2
#define GPE_PORT 0xafe0
#define PCIHP_PORT 0xae00
#define CPUHP_PORT 0xaf00

typedef struct Piix4Pm {
    PciDevice p;
    AcpiPm pm;
    AcpiCpuHp cpus;
    AcpiMemHp memory;
    AcpiPciHp hp;
    SmBus smb;
    uint32_t smb_io_base;      /* properties */
    uint8_t disable_s3, disable_s4, s4_val;
    bool hotplug_bridge, hotplug_root, memory_hotplug, smm_compat, smm_enabled;
} Piix4Pm;

AcpiPciHp *piix4_pm_pcihp(Device *d)
{
    return &((Piix4Pm *)d)->hp;
}

static void piix4_place(Piix4Pm *s)
{
    const uint8_t *c = s->p.config;
    Region *io = &s->p.dev.machine->io_root;
    uint16_t smb = ld16(c + SMB_BASE) & 0xffc0;

    acpi_pm_place(&s->pm, io, ld16(c + PM_BASE) & 0xffc0, c[PM_REGMISC] & 1);
    map_begin();
    map_drop(&s->smb.io);
    if ((c[SMB_HOST_CFG] & 1) && smb) {
        map_put(io, &s->smb.io, smb, 1);
    }
    map_commit();
}

static void piix4_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    if (pci_ranges_meet(off, size, PM_BASE, 4) || pci_ranges_meet(off, size, PM_REGMISC, 1) ||
        pci_ranges_meet(off, size, SMB_BASE, 4) || pci_ranges_meet(off, size, SMB_HOST_CFG, 1)) {
        piix4_place((Piix4Pm *)p);
    }
}

static void power_button(Device *d)
{
    acpi_pm_power_button(&((Piix4Pm *)d)->pm);
}

static void sleep_button(Device *d)
{
    acpi_pm_sleep_button(&((Piix4Pm *)d)->pm);
}

static bool wake(Device *d)
{
    return acpi_pm_wake(&((Piix4Pm *)d)->pm, 0);
}

static const PowerOps piix4_power = {
    .power_button = power_button, .sleep_button = sleep_button, .wake = wake,
};

static bool apmc_enabled(const Device *d)
{
    return ((const Piix4Pm *)d)->p.config[PM_DEVACTB + 3] & 2;
}

static bool piix4_realize(Device *d, Error **errp)
{
    Piix4Pm *s = (Piix4Pm *)d;
    PciDevice *p = &s->p;
    Machine *m = d->machine;
    AcpiPmConfig cfg = {
        .gpe_port = GPE_PORT, .gpe_len = 4, .acpi_enable = 0xf1, .acpi_disable = 0xf0,
        .no_s3 = s->disable_s3, .no_s4 = s->disable_s4, .s4_val = s->s4_val, .no_smm = !s->smm_enabled,
    };

    acpi_pm_init(&s->pm, d, &cfg);
    s->pm.apmc_enabled = apmc_enabled;
    acpi_pm_place_fixed(&s->pm, &m->io_root);
    if (m->isa) {
        irq_connect(&s->pm.sci, isa_bus_irqs(m->isa), 9);
    }
    smbus_init(&s->smb, d, 64);
    acpi_pcihp_init(&s->hp, d, &s->pm, PCIHP_PORT);
    s->hp.bridges = s->hotplug_bridge;
    if (s->hotplug_root) {
        acpi_pcihp_bus(&s->hp, pci_bus(p));
    }
    acpi_cpuhp_init(&s->cpus, d, &s->pm, CPUHP_PORT);
    if (s->memory_hotplug) {
        acpi_memhp_init(&s->memory, d, &s->pm);
    }
    m->pm = d;
    m->power_ops = &piix4_power;

    st16(p->config + PCI_STATUS, PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM);
    st32(p->config + PM_BASE, 1);
    st32(p->wmask + PM_BASE, 0xffc0);
    p->wmask[PM_REGMISC] = 0xff;
    st32(p->config + SMB_BASE, (s->smb_io_base & 0xffc0) | 1);
    st32(p->wmask + SMB_BASE, 0xffc0);
    p->config[SMB_HOST_CFG] = 0x09;
    p->wmask[SMB_HOST_CFG] = 0x0f;
    /* Device resources and GPI/GPO control: kept, without effect. */
    memset(p->wmask + 0x44, 0xff, 0x3c);
    if (!s->smm_enabled) {
        /* APMC_EN set: firmware believes that SMM has been set up and leaves it alone. */
        p->config[PM_DEVACTB + 3] = 0x02;
        p->wmask[PM_DEVACTB + 3] = 0;
    }
    p->config[0x63] = 0x60;
    p->config[0x67] = m->cfg.nographic ? 0x08 : 0x98;
    return true;
}

static void piix4_unrealize(Device *d)
{
    Piix4Pm *s = (Piix4Pm *)d;

    if (d->machine->pm == d) {
        d->machine->pm = NULL;
        d->machine->power_ops = NULL;
    }
    map_drop_one(&s->smb.io);
    region_free(&s->smb.io);
    acpi_pcihp_free(&s->hp);
    if (s->memory_hotplug) {
        acpi_memhp_free(&s->memory);
    }
    acpi_cpuhp_free(&s->cpus);
    acpi_pm_free(&s->pm);
}

static void piix4_reset(Device *d, ResetKind kind)
{
    Piix4Pm *s = (Piix4Pm *)d;

    acpi_pm_reset(&s->pm, kind);
    acpi_cpuhp_reset(&s->cpus, kind);
    acpi_memhp_reset(&s->memory, kind);
    acpi_pcihp_reset(&s->hp, kind);
    memset(s->smb.regs, 0, sizeof(s->smb.regs));
}

static void piix4_settle(Device *d)
{
    Piix4Pm *s = (Piix4Pm *)d;

    piix4_place(s);
    acpi_pm_settle(&s->pm);
    acpi_cpuhp_settle(&s->cpus);
    acpi_pcihp_settle(&s->hp);
}

static const PropDesc piix4_props[] = {
    PROP_U32(Piix4Pm, smb_io_base, "smb_io_base", 0xb100, 0, 0xffff,
             "ports of the SMBus controller at reset"),
    PROP_U8(Piix4Pm, disable_s3, "disable_s3", 0, 0, 1, "1: no suspend to RAM"),
    PROP_U8(Piix4Pm, disable_s4, "disable_s4", 0, 0, 1, "1: no suspend to disk"),
    PROP_U8(Piix4Pm, s4_val, "s4_val", 2, 0, 7, "SLP_TYP of suspend to disk"),
    PROP_BOOL(Piix4Pm, hotplug_bridge, "acpi-pci-hotplug-with-bridge-support", true,
              "hot-plug behind bridges by ACPI"),
    PROP_BOOL(Piix4Pm, hotplug_root, "acpi-root-pci-hotplug", true, "hot-plug on the root bus by ACPI"),
    PROP_BOOL(Piix4Pm, memory_hotplug, "memory-hotplug-support", true, "hot-plug of memory by ACPI"),
    PROP_BOOL(Piix4Pm, smm_compat, "smm-compat", false, "kept for configuration files"),
    PROP_BOOL(Piix4Pm, smm_enabled, "smm-enabled", false, "the SMI is wired"),
    { 0 },
};

static const StateField piix4_fields[] = {
    STATE_STRUCT(Piix4Pm, pm, &acpi_pm_state),
    STATE_STRUCT(Piix4Pm, cpus, &acpi_cpuhp_state),
    STATE_STRUCT(Piix4Pm, memory, &acpi_memhp_state),
    STATE_STRUCT(Piix4Pm, hp, &acpi_pcihp_state),
    STATE_STRUCT(Piix4Pm, smb, &smbus_state),
    { 0 },
};

static const StateDesc piix4_state = { .name = "PIIX4_PM", .version = 1, .fields = piix4_fields };

static const PciOps piix4_ops = {
    .vendor = 0x8086, .device = 0x7113, .class_code = 0x068000, .revision = 0x03, .pin = 1,
    .config_wrote = piix4_config_wrote,
};

const DeviceType piix4_pm_type = {
    .name = "PIIX4_PM", .summary = "Power management of the board pc", .slot = &pci_slot,
    .size = sizeof(Piix4Pm), .flags = DEV_OWN_DOMAIN | DEV_INTERNAL, .category = "Bridge",
    .props = piix4_props, .state = &piix4_state, .slot_ops = &piix4_ops,
    .realize = piix4_realize, .unrealize = piix4_unrealize, .reset = piix4_reset, .settle = piix4_settle,
};
