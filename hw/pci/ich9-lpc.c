/* ich9-lpc.c: ICH9-LPC, the LPC bridge at 1f.0 of the board "q35" (Intel 316972, chapter 13), and its
 * chipset configuration registers (chapter 10).
 *
 * 1. The chips of its ISA bus share its domain.
 * 2. PIRQ n is wired to global interrupt 16 + n always and, unless bit 7 of its route register is set,
 *    to an ISA interrupt too.
 * 3. Which PIRQ a slot's pin ends in is fixed: slots 25-31 INTA-D are PIRQ A-D (the reset values of
 *    D25IR-D31IR), the others rotate over PIRQ E-H. */
#include "hw/acpi/cpuhp.h"
#include "hw/acpi/memhp.h"
#include "hw/acpi/pcihp.h"
#include "hw/acpi/pm.h"
#include "hw/acpi/smi.h"
#include "hw/acpi/tco.h"
#include "hw/isa/isa.h"
#include "hw/pci/host.h"
#include "hw/pci/pci-int.h"
#include "hw/pci/pirq.h"

#define CPUHP_PORT 0x0cd8
#define PCIHP_PORT 0x0cc0
#define LPC_PMBASE 0x40
#define LPC_ACPI_CNTL 0x44
#define LPC_PIRQA 0x60
#define LPC_PIRQE 0x68
#define LPC_GEN_PMCON_1 0xa0
#define LPC_RCBA 0xf0
#define CC_GCS 0x3410
#define GCS_NO_REBOOT 0x20

typedef struct Ich9Lpc {
    PciDevice p;
    PirqRouter router;
    Bus *isa;
    AcpiPm pm;
    AcpiCpuHp cpus;
    AcpiMemHp memory;
    AcpiPciHp hp;
    Tco tco;
    SmiFeatures smi;
    Region rcba;
    uint64_t rcba_at;          /* UINT64_MAX: nowhere */
    uint32_t gcs;
    /* properties */
    uint8_t disable_s3, disable_s4, s4_val;
    bool smm_compat, smm_enabled, hotplug_bridge, noreboot, enable_tco, memory_hotplug;
    bool smi_broadcast, smi_cpu_hotplug, smi_cpu_hotunplug;
} Ich9Lpc;

AcpiPciHp *ich9_lpc_pcihp(Device *d)
{
    return &((Ich9Lpc *)d)->hp;
}

SmiFeatures *ich9_lpc_smi(Device *d)
{
    return &((Ich9Lpc *)d)->smi;
}

unsigned ich9_pirq(unsigned slot, unsigned pin)
{
    return slot >= 25 ? pin & 3 : 4 + ((slot + pin) & 3);
}

/* --- chipset configuration registers --- */

static uint64_t rcba_read(void *dev, uint64_t off, unsigned size)
{
    const Ich9Lpc *s = dev;
    uint32_t val = 0;

    switch (off & ~UINT64_C(3)) {
    case 0x3140:                                   /* D31IR, D30IR */
        val = 0x00003210;
        break;
    case 0x3144: case 0x3148: case 0x314c: case 0x3150:    /* D29IR to D25IR */
        val = 0x32103210;
        break;
    case CC_GCS:
        val = s->gcs;
        break;
    default:
        break;
    }
    return val >> (off & 3) * 8 & ones(size);
}

static void rcba_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Ich9Lpc *s = dev;

    if (off == CC_GCS && size == 4) {
        s->gcs = (uint32_t)val & 0x00000c64;
    }
}

static const RegionOps rcba_ops = { .read = rcba_read, .write = rcba_write, .min = 1, .max = 4 };

static void lpc_place(Ich9Lpc *s)
{
    const uint8_t *c = s->p.config;
    Machine *m = s->p.dev.machine;
    uint32_t rcba = ld32(c + LPC_RCBA);
    uint64_t to = rcba & 1 ? rcba & 0xffffc000 : UINT64_MAX;

    acpi_pm_place(&s->pm, &m->io_root, ld16(c + LPC_PMBASE) & 0xff80, c[LPC_ACPI_CNTL] & 0x80);
    if (to != s->rcba_at) {
        map_begin();
        map_drop(&s->rcba);
        if (to != UINT64_MAX) {
            map_put(pci_bus(&s->p)->mem, &s->rcba, to, 2);
        }
        map_commit();
        s->rcba_at = to;
    }
}

static void lpc_routes(Ich9Lpc *s)
{
    /* ACPI_CNTL.SCI_IRQ_SEL: 13.1.4. */
    static const uint8_t sci[] = { 9, 10, 11, 0, 20, 21, 0, 0 };
    const uint8_t *c = s->p.config;

    pirq_route(&s->router, c + LPC_PIRQA, c + LPC_PIRQE);
    pirq_sci(&s->router, sci[c[LPC_ACPI_CNTL] & 7]);
}

static void lpc_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    Ich9Lpc *s = (Ich9Lpc *)p;

    if (pci_ranges_meet(off, size, LPC_PMBASE, 5) || pci_ranges_meet(off, size, LPC_RCBA, 4)) {
        lpc_place(s);
    }
    if (pci_ranges_meet(off, size, LPC_ACPI_CNTL, 1) || pci_ranges_meet(off, size, LPC_PIRQA, 12)) {
        lpc_routes(s);
    }
}

/* --- power --- */

static void power_button(Device *d)
{
    acpi_pm_power_button(&((Ich9Lpc *)d)->pm);
}

static void sleep_button(Device *d)
{
    acpi_pm_sleep_button(&((Ich9Lpc *)d)->pm);
}

static bool wake(Device *d)
{
    return acpi_pm_wake(&((Ich9Lpc *)d)->pm, 0);
}

static const PowerOps lpc_power = {
    .power_button = power_button, .sleep_button = sleep_button, .wake = wake,
};

static bool smi_to_all(const Device *d)
{
    return ((const Ich9Lpc *)d)->smi.agreed & SMI_BROADCAST;
}

/* A processor that firmware cannot take into SMM before the guest uses it would open SMM to the guest. */
static bool may_plug_cpu(const Device *d, Error **errp)
{
    return !smi_to_all(d) || error_set(errp, "cpu hotplug with SMI wasn't enabled by firmware");
}

static bool no_reboot(const Device *d)
{
    return ((const Ich9Lpc *)d)->gcs & GCS_NO_REBOOT;
}

/* --- life --- */

static void lpc_registers(PciDevice *p)
{
    st16(p->config + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    st16(p->wmask + PCI_COMMAND, PCI_COMMAND_SERR);
    st16(p->config + PCI_STATUS, PCI_STATUS_DEVSEL_MEDIUM);
    st32(p->config + LPC_PMBASE, 1);
    st32(p->wmask + LPC_PMBASE, 0xff80);
    p->wmask[LPC_ACPI_CNTL] = 0x87;
    memset(p->config + LPC_PIRQA, PIRQ_OFF, 4);
    memset(p->wmask + LPC_PIRQA, 0x8f, 4);
    memset(p->config + LPC_PIRQE, PIRQ_OFF, 4);
    memset(p->wmask + LPC_PIRQE, 0x8f, 4);
    st32(p->wmask + LPC_RCBA, 0xffffc001);
    /* GPIO, LPC decode and GEN_PMCON: kept, without effect (13.1, 13.8.1). */
    st32(p->config + 0x48, 1);
    st32(p->wmask + 0x48, 0xffc0);
    p->wmask[0x4c] = 0x10;
    p->config[0x64] = 0x10;
    p->wmask[0x64] = 0xff;
    st16(p->wmask + 0x80, 0x1377);
    st16(p->wmask + 0x82, 0x3f0f);
    memset(p->wmask + 0x84, 0xff, 16);
    st16(p->wmask + LPC_GEN_PMCON_1, 0x0fff);
    p->wmask[LPC_GEN_PMCON_1 + 2] = 0x8d;
    p->wmask[LPC_GEN_PMCON_1 + 4] = 0xff;
    p->wmask[0xdc] = 0x03;
}

static bool lpc_realize(Device *d, Error **errp)
{
    Ich9Lpc *s = (Ich9Lpc *)d;
    PciDevice *p = &s->p;
    Machine *m = d->machine;
    AcpiPmConfig cfg = {
        .ich9 = true, .gpe_len = 16, .acpi_enable = 0x02, .acpi_disable = 0x03, .no_s3 = s->disable_s3,
        .no_s4 = s->disable_s4, .s4_val = s->s4_val, .no_smm = !s->smm_enabled,
    };

    s->isa = isa_bus_new(d, "isa.0", &m->io_root, m->gsi);
    m->isa = s->isa;
    pirq_init(&s->router, isa_bus_irqs(s->isa), m->gsi);
    pci_bus_route(pci_bus(p), &s->router.in, ich9_pirq);
    acpi_pm_init(&s->pm, d, &cfg);
    s->pm.smi_to_all = smi_to_all;
    s->smi.offered = s->smi_broadcast ? SMI_BROADCAST : 0;
    acpi_pm_place_fixed(&s->pm, &m->io_root);
    irq_connect(&s->pm.sci, &s->router.in, PIRQ_SCI);
    region_io(&s->rcba, d, "rcba", &rcba_ops, RCBA_SIZE);
    s->rcba_at = UINT64_MAX;
    if (s->enable_tco) {
        tco_init(&s->tco, d, &s->pm.block, no_reboot);
    }
    s->hp.bridges = s->hotplug_bridge;
    if (s->hotplug_bridge) {
        acpi_pcihp_init(&s->hp, d, &s->pm, PCIHP_PORT);
    }
    s->cpus.places.may_plug = may_plug_cpu;
    acpi_cpuhp_init(&s->cpus, d, &s->pm, CPUHP_PORT);
    if (s->memory_hotplug) {
        acpi_memhp_init(&s->memory, d, &s->pm);
    }
    m->pm = d;
    m->power_ops = &lpc_power;
    lpc_registers(p);
    return true;
}

static void lpc_unrealize(Device *d)
{
    Ich9Lpc *s = (Ich9Lpc *)d;

    if (d->machine->pm == d) {
        d->machine->pm = NULL;
        d->machine->power_ops = NULL;
    }
    if (d->machine->isa == s->isa) {
        d->machine->isa = NULL;
    }
    pci_bus_route(pci_bus(&s->p), NULL, NULL);
    map_drop_one(&s->rcba);
    region_free(&s->rcba);
    if (s->memory_hotplug) {
        acpi_memhp_free(&s->memory);
    }
    if (s->hotplug_bridge) {
        acpi_pcihp_free(&s->hp);
    }
    acpi_cpuhp_free(&s->cpus);
    if (s->enable_tco) {
        tco_free(&s->tco);
    }
    acpi_pm_free(&s->pm);
    isa_bus_free(s->isa);
}

static void lpc_reset(Device *d, ResetKind kind)
{
    Ich9Lpc *s = (Ich9Lpc *)d;

    s->gcs = s->noreboot ? GCS_NO_REBOOT : 0;
    tco_reset(&s->tco, kind);
    smi_features_reset(&s->smi, kind);
    acpi_pm_reset(&s->pm, kind);
    acpi_cpuhp_reset(&s->cpus, kind);
    acpi_memhp_reset(&s->memory, kind);
    acpi_pcihp_reset(&s->hp, kind);
}

static void lpc_settle(Device *d)
{
    Ich9Lpc *s = (Ich9Lpc *)d;

    lpc_place(s);
    lpc_routes(s);
    acpi_pm_settle(&s->pm);
    if (s->enable_tco) {
        tco_settle(&s->tco);
    }
    acpi_cpuhp_settle(&s->cpus);
    acpi_pcihp_settle(&s->hp);
    pirq_refresh(&s->router);
}

static const PropDesc lpc_props[] = {
    PROP_U8(Ich9Lpc, disable_s3, "disable_s3", 0, 0, 1, "1: no suspend to RAM"),
    PROP_U8(Ich9Lpc, disable_s4, "disable_s4", 0, 0, 1, "1: no suspend to disk"),
    PROP_U8(Ich9Lpc, s4_val, "s4_val", 2, 0, 7, "SLP_TYP of suspend to disk"),
    PROP_BOOL(Ich9Lpc, smm_compat, "smm-compat", false, "kept for configuration files"),
    PROP_BOOL(Ich9Lpc, smm_enabled, "smm-enabled", false, "the SMI is wired"),
    PROP_BOOL(Ich9Lpc, hotplug_bridge, "acpi-pci-hotplug-with-bridge-support", true,
              "hot-plug by ACPI instead of the ports' own"),
    PROP_BOOL(Ich9Lpc, noreboot, "noreboot", true, "the TCO watchdog does not reset"),
    PROP_BOOL(Ich9Lpc, enable_tco, "enable_tco", true, "the TCO watchdog is there"),
    PROP_BOOL(Ich9Lpc, memory_hotplug, "memory-hotplug-support", true, "hot-plug of memory by ACPI"),
    PROP_BOOL(Ich9Lpc, smi_broadcast, "x-smi-broadcast", true,
              "firmware may ask for system management interrupts to all processors"),
    PROP_BOOL(Ich9Lpc, smi_cpu_hotplug, "x-smi-cpu-hotplug", true, "kept for configuration files"),
    PROP_BOOL(Ich9Lpc, smi_cpu_hotunplug, "x-smi-cpu-hotunplug", true, "kept for configuration files"),
    { 0 },
};

static const StateField lpc_fields[] = {
    STATE_STRUCT(Ich9Lpc, pm, &acpi_pm_state),
    STATE_STRUCT(Ich9Lpc, cpus, &acpi_cpuhp_state),
    STATE_STRUCT(Ich9Lpc, memory, &acpi_memhp_state),
    STATE_STRUCT(Ich9Lpc, hp, &acpi_pcihp_state),
    STATE_STRUCT(Ich9Lpc, tco, &tco_state),
    STATE_STRUCT(Ich9Lpc, smi, &smi_features_state),
    STATE_U32(Ich9Lpc, gcs),
    { 0 },
};

static const StateDesc lpc_state = { .name = "ICH9-LPC", .version = 1, .fields = lpc_fields };

static const PciOps lpc_ops = {
    .vendor = 0x8086, .device = 0x2918, .class_code = 0x060100, .revision = 0x02, .multifunction = true,
    .config_wrote = lpc_config_wrote,
};

const DeviceType ich9_lpc_type = {
    .name = "ICH9-LPC", .summary = "LPC bridge of the board q35", .slot = &pci_slot,
    .size = sizeof(Ich9Lpc), .flags = DEV_OWN_DOMAIN | DEV_INTERNAL, .category = "Bridge",
    .props = lpc_props, .state = &lpc_state, .slot_ops = &lpc_ops,
    .realize = lpc_realize, .unrealize = lpc_unrealize, .reset = lpc_reset, .settle = lpc_settle,
};
