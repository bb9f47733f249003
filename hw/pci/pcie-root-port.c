/* pcie-root-port.c: PCI Express root ports with native hot-plug: pcie-root-port and ioh3420 (PCI Express
 * Base 4.0, sections 6.7 and 7.5.3).
 *
 *   device_add: presence and link change --guest powers the slot--> in use
 *   device_del: attention button --guest: power off, indicator off--> device removed, presence change
 *
 * 1. The bus answers while the slot has power; presence is whether function 0 is there.
 * 2. Where ACPI does the hot-plug of the bus, the slot always has power: nobody would switch it on.
 * 3. An event is latched in Slot Status; its interrupt is a level that MSI and MSI-X turn into one
 *    message a rising edge (6.7.3.4). */
#include "hw/pci/bridge.h"

#include "core/machine.h"

#define EVENTS (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PFD | PCI_EXP_SLTSTA_MRLSC | PCI_EXP_SLTSTA_PDC | \
                PCI_EXP_SLTSTA_CC)

typedef struct RootPort {
    PciBridge b;
    bool irq;                  /* the level */
    bool unplug;               /* device_del waits for the guest */
    /* properties */
    uint8_t chassis, port;
    uint16_t slot, aer_log_max;
    bool hotplug, power_controller, disable_acs, native_hotplug, migrate_msix;
    int32_t speed, width;
} RootPort;

static const char *const speed_names[] = { "2_5", "5", "8", "16", NULL };
static const char *const width_names[] = { "1", "2", "4", "8", "12", "16", "32", NULL };

static uint8_t *reg(RootPort *r, unsigned off)
{
    return r->b.p.config + r->b.p.cap_exp + off;
}

/* --- events --- */

static void port_irq_update(RootPort *r)
{
    PciDevice *p = &r->b.p;
    uint16_t ctl = ld16(reg(r, PCI_EXP_SLTCTL)), sta = ld16(reg(r, PCI_EXP_SLTSTA));
    bool on = (ctl & PCI_EXP_SLTCTL_HPIE) &&
              ((sta & ctl & EVENTS) ||
               ((sta & PCI_EXP_SLTSTA_DLLSC) && (ctl & PCI_EXP_SLTCTL_DLLSCE)));
    bool rising = on && !r->irq;

    r->irq = on;
    if (pci_msix_enabled(p)) {
        irq_set(pci_intx(p), false);
        if (rising) {
            pci_msix_fire(p, 0);
        }
    } else if (pci_msi_enabled(p)) {
        irq_set(pci_intx(p), false);
        if (rising) {
            pci_msi_fire(p, 0);
        }
    } else {
        irq_set(pci_intx(p), on);
    }
}

static const PciHotplugOps port_hotplug;

static bool native(const RootPort *r)
{
    return r->b.bus->hotplug == &port_hotplug;
}

static bool powered(RootPort *r)
{
    return !r->power_controller || !native(r) || !(ld16(reg(r, PCI_EXP_SLTCTL)) & PCI_EXP_SLTCTL_PCC);
}

static bool present(const RootPort *r)
{
    return r->b.bus->functions[0] != NULL;
}

/* Presence, link and the bus's power as they are now; returns the events that changing them is. */
static uint16_t port_state(RootPort *r)
{
    uint8_t *sta = reg(r, PCI_EXP_SLTSTA), *link = reg(r, PCI_EXP_LNKSTA);
    bool was = ld16(sta) & PCI_EXP_SLTSTA_PDS, up = ld16(link) & PCI_EXP_LNKSTA_DLLLA;
    bool is = present(r), link_up = is && powered(r);

    st16(sta, (uint16_t)((ld16(sta) & ~PCI_EXP_SLTSTA_PDS) | (is ? PCI_EXP_SLTSTA_PDS : 0)));
    st16(link, (uint16_t)((ld16(link) & ~PCI_EXP_LNKSTA_DLLLA) | (link_up ? PCI_EXP_LNKSTA_DLLLA : 0)));
    __atomic_store_n(&r->b.bus->off, !powered(r), __ATOMIC_RELEASE);
    return (uint16_t)((is != was ? PCI_EXP_SLTSTA_PDC : 0) | (link_up != up ? PCI_EXP_SLTSTA_DLLSC : 0));
}

static void port_event(RootPort *r, uint16_t events)
{
    uint8_t *sta = reg(r, PCI_EXP_SLTSTA);

    TRACE(pcie_root_port_event, "%s events=0x%x", r->b.p.dev.id, events);
    st16(sta, ld16(sta) | events);
    port_irq_update(r);
}

/* --- the bus's hot-plug --- */

static RootPort *port_of(PciBus *b)
{
    return (RootPort *)b->bridge;
}

static void plugged(PciBus *b, PciDevice *p)
{
    RootPort *r = port_of(b);

    if (PCI_FUNC(p->devfn) != 0) {
        return;                /* the guest is told when function 0 comes, the last one */
    }
    domain_enter(r->b.p.dev.domain);
    uint16_t events = port_state(r);
    /* A driver that has an attention button to watch listens for the link only. */
    port_event(r, events | PCI_EXP_SLTSTA_DLLSC);
    domain_leave(r->b.p.dev.domain);
}

static void remove_all(Device *d, uintptr_t arg)
{
    PciBus *b = ((RootPort *)d)->b.bus;

    for (int fn = 7; fn >= 0; fn--) {
        if (b->functions[fn]) {
            device_remove(&b->functions[fn]->dev, NULL);
        }
    }
}

static bool unplug_request(PciBus *b, PciDevice *p, Error **errp)
{
    RootPort *r = port_of(b);
    bool ok = true;

    if (!r->hotplug) {
        return error_set(errp, "Hot-unplug failed: unsupported by the port device '%s'", r->b.p.dev.id);
    }
    domain_enter(r->b.p.dev.domain);
    uint16_t ctl = ld16(reg(r, PCI_EXP_SLTCTL));
    if ((ctl & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_BLINK) {
        ok = error_set(errp, "Hot-unplug failed: guest is busy (power indicator blinking)");
    } else if (!powered(r) && (ctl & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF) {
        machine_defer(&r->b.p.dev, remove_all, 0);
    } else {
        r->unplug = true;
        port_event(r, PCI_EXP_SLTSTA_ABP);
    }
    domain_leave(r->b.p.dev.domain);
    return ok;
}

static void unplugged(PciBus *b, PciDevice *p)
{
    RootPort *r = port_of(b);

    if (PCI_FUNC(p->devfn) != 0 || !r->b.p.config) {
        return;
    }
    domain_enter(r->b.p.dev.domain);
    r->unplug = false;
    port_event(r, port_state(r));
    domain_leave(r->b.p.dev.domain);
}

static const PciHotplugOps port_hotplug = {
    .plugged = plugged, .unplug_request = unplug_request, .unplugged = unplugged,
};

/* --- registers --- */

static void slot_control_wrote(RootPort *r)
{
    uint16_t ctl = ld16(reg(r, PCI_EXP_SLTCTL));
    bool off = !powered(r);

    if (off && present(r) && r->unplug && (ctl & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF) {
        /* The guest has let go. */
        machine_defer(&r->b.p.dev, remove_all, 0);
    }
    if (off != r->b.bus->off) {
        if (off) {
            /* Without power its functions forget everything. */
            pci_bus_reset(r->b.bus);
        }
        port_event(r, port_state(r));
    }
}

static void port_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    RootPort *r = (RootPort *)p;

    bridge_wrote(&r->b, off, size);
    if (pci_ranges_meet(off, size, p->cap_exp + PCI_EXP_SLTCTL, 2)) {
        slot_control_wrote(r);
    }
    if (pci_ranges_meet(off, size, p->cap_exp + PCI_EXP_SLTCTL, 4)) {
        port_irq_update(r);
    }
}

static void make_slot(RootPort *r)
{
    PciDevice *p = &r->b.p;
    uint8_t *c = p->config + p->cap_exp, *w = p->wmask + p->cap_exp;
    uint32_t cap = (uint32_t)r->slot << 19 | PCI_EXP_SLTCAP_NCCS;

    if (r->hotplug) {
        cap |= PCI_EXP_SLTCAP_ABP | PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP | PCI_EXP_SLTCAP_HPS |
               PCI_EXP_SLTCAP_HPC | (r->power_controller ? PCI_EXP_SLTCAP_PCP : 0);
        st16(w + PCI_EXP_SLTCTL, PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PFDE | PCI_EXP_SLTCTL_MRLSCE |
             PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_CCIE | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_AIC |
             PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_DLLSCE |
             (r->power_controller ? PCI_EXP_SLTCTL_PCC : 0));
    }
    st16(c + PCI_EXP_FLAGS, ld16(c + PCI_EXP_FLAGS) | PCI_EXP_FLAGS_SLOT);
    st32(c + PCI_EXP_SLTCAP, cap);
    st16(p->w1cmask + p->cap_exp + PCI_EXP_SLTSTA, EVENTS | PCI_EXP_SLTSTA_DLLSC);
    st16(p->live + p->cap_exp + PCI_EXP_SLTSTA, PCI_EXP_SLTSTA_PDS);
    st16(p->live + p->cap_exp + PCI_EXP_LNKSTA, PCI_EXP_LNKSTA_DLLLA);
    uint32_t link = ld32(c + PCI_EXP_LNKCAP) & 0x00ffffff;
    st32(c + PCI_EXP_LNKCAP, link | (uint32_t)r->port << 24);
}

typedef struct SlotSearch {
    const RootPort *me;
    const PciDevice *other;
} SlotSearch;

static bool is_port(const PciDevice *p)
{
    return p->dev.type->slot_ops && pci_ops(p)->config_wrote == port_config_wrote;
}

static void same_slot(PciDevice *p, void *arg)
{
    SlotSearch *s = arg;
    const RootPort *r = (const RootPort *)p;

    if (is_port(p) && r != s->me && r->chassis == s->me->chassis && r->slot == s->me->slot) {
        s->other = p;
    }
}

static bool port_realize_common(RootPort *r, Error **errp)
{
    PciDevice *p = &r->b.p;
    SlotSearch s = { .me = r };

    if (!p->express) {
        return error_set(errp, "%s needs a PCI Express bus", p->dev.type->name);
    }
    pci_bus_each(pci_bus(p)->root, same_slot, &s);
    if (s.other) {
        error_set(errp, "Can't add chassis slot, error -16");
        return error_hint(errp, "slot %u of chassis %u is '%s': give each port a slot= or chassis= of its "
                          "own", r->slot, r->chassis, s.other->dev.id);
    }
    pci_express(p, PCI_EXP_TYPE_ROOT_PORT);
    make_slot(r);
    pci_pm(p);
    pci_aer(p);
    if (!r->disable_acs) {
        pci_acs(p);
    }
    bridge_init(&r->b, true, true);
    r->b.bus->bus->hotplug = r->hotplug;
    r->b.bus->hotplug = &port_hotplug;
    return true;
}

static bool port_realize(Device *d, Error **errp)
{
    RootPort *r = (RootPort *)d;

    bridge_ssvid(&r->b, 0x1b36, 0);
    if (!pci_msix(&r->b.p, 1, 0, errp) || !bridge_reserve(&r->b, errp)) {
        return false;
    }
    return port_realize_common(r, errp);
}

static bool ioh3420_realize(Device *d, Error **errp)
{
    RootPort *r = (RootPort *)d;

    bridge_ssvid(&r->b, 0x8086, 0);
    if (!pci_msi(&r->b.p, 2, false, true, errp)) {
        return false;
    }
    return port_realize_common(r, errp);
}

static void port_unrealize(Device *d)
{
    bridge_free(&((RootPort *)d)->b);
}

static void port_reset(Device *d, ResetKind kind)
{
    RootPort *r = (RootPort *)d;
    bool full = present(r);
    uint16_t ctl = PCI_EXP_SLTCTL_ATTN_IND_OFF |
                   (full ? PCI_EXP_SLTCTL_PWR_IND_ON : PCI_EXP_SLTCTL_PWR_IND_OFF) |
                   (!full && r->power_controller && native(r) ? PCI_EXP_SLTCTL_PCC : 0);

    if (r->hotplug) {
        st16(reg(r, PCI_EXP_SLTCTL), ctl);
    }
    r->unplug = false;
    r->irq = false;
    r->b.control = 0;
}

static void port_settle(Device *d)
{
    RootPort *r = (RootPort *)d;

    r->b.control = ld16(r->b.p.config + PCI_BRIDGE_CONTROL);
    port_state(r);
    bridge_update(&r->b);
    port_irq_update(r);
}

#define PORT_PROPS \
    PROP_U8(RootPort, chassis, "chassis", 0, 0, 255, "chassis the slot is in"), \
    PROP_U16(RootPort, slot, "slot", 0, 0, 8191, "number of the slot in the chassis"), \
    PROP_U8(RootPort, port, "port", 0, 0, 255, "port number"), \
    PROP_U16(RootPort, aer_log_max, "aer_log_max", 8, 0, 128, "kept for configuration files"), \
    PROP_BOOL(RootPort, hotplug, "hotplug", true, "devices may come and go while the guest runs"), \
    PROP_BOOL(RootPort, native_hotplug, "x-native-hotplug", true, "kept for configuration files"), \
    PROP_BOOL(RootPort, power_controller, "power_controller_present", true, "the guest switches its power"), \
    PROP_BOOL(RootPort, disable_acs, "disable-acs", false, "no Access Control Services capability")

static const PropDesc port_props[] = {
    PORT_PROPS,
    PROP_ENUM(RootPort, speed, "x-speed", speed_names, 3, "kept for configuration files"),
    PROP_ENUM(RootPort, width, "x-width", width_names, 6, "kept for configuration files"),
    PROP_BOOL(RootPort, migrate_msix, "x-migrate-msix", true, "kept for configuration files"),
    BRIDGE_RESERVE_PROPS(RootPort, b),
    { 0 },
};

static const PropDesc ioh3420_props[] = {
    PORT_PROPS,
    { 0 },
};

static const StateField port_fields[] = {
    STATE_BOOL(RootPort, irq),
    STATE_BOOL(RootPort, unplug),
    { 0 },
};

static const StateDesc port_state_desc = { .name = "pcie-root-port", .version = 1, .fields = port_fields };

static const PciOps port_ops = {
    .vendor = 0x1b36, .device = 0x000c, .class_code = 0x060400, .pin = 1, .header = 1,
    .express = PCI_EXPRESS, .config_wrote = port_config_wrote,
};

static const PciOps ioh3420_ops = {
    .vendor = 0x8086, .device = 0x3420, .class_code = 0x060400, .revision = 2, .pin = 1, .header = 1,
    .express = PCI_EXPRESS, .config_wrote = port_config_wrote,
};

extern const DeviceType pcie_root_port_type, ioh3420_type;

const DeviceType pcie_root_port_type = {
    .name = "pcie-root-port", .summary = "PCI Express root port", .slot = &pci_slot,
    .size = sizeof(RootPort), .flags = DEV_OWN_DOMAIN, .category = "Bridge", .props = port_props,
    .state = &port_state_desc, .slot_ops = &port_ops, .realize = port_realize,
    .unrealize = port_unrealize, .reset = port_reset, .settle = port_settle,
};

const DeviceType ioh3420_type = {
    .name = "ioh3420", .summary = "Intel IOH device id 3420 PCIE Root Port", .slot = &pci_slot,
    .size = sizeof(RootPort), .flags = DEV_OWN_DOMAIN, .category = "Bridge", .props = ioh3420_props,
    .state = &port_state_desc, .slot_ops = &ioh3420_ops, .realize = ioh3420_realize,
    .unrealize = port_unrealize, .reset = port_reset, .settle = port_settle,
};
