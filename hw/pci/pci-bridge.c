/* pci-bridge.c: bridges to conventional buses: pci-bridge, pcie-pci-bridge and i82801b11-bridge
 * (PCI-to-PCI Bridge Architecture 1.2).
 *
 * 1. They have no hot-plug controller of their own. */
#include "hw/pci/bridge.h"

typedef struct PlainBridge {
    PciBridge b;
    uint8_t chassis_nr;        /* properties */
    bool shpc;
    int32_t msi;
} PlainBridge;

static void plain_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    bridge_wrote((PciBridge *)p, off, size);
}

static bool pci_bridge_realize(Device *d, Error **errp)
{
    PlainBridge *s = (PlainBridge *)d;

    if (s->chassis_nr == 0) {
        return error_set(errp, "Bridge chassis not specified. Each bridge is required to be assigned a "
                         "unique chassis id > 0.");
    }
    /* Slot Numbering (PCI-to-PCI Bridge 1.2, 13.3): expansion slots behind, and the chassis. */
    const uint8_t slotid[2] = { 0, s->chassis_nr };
    pci_capability(&s->b.p, PCI_CAP_ID_SLOTID, slotid, 4, NULL);
    if (s->msi != ONOFF_OFF && !pci_msi(&s->b.p, 1, true, true, errp)) {
        return false;
    }
    if (!bridge_reserve(&s->b, errp)) {
        return false;
    }
    bridge_init(&s->b, false, false);
    /* Slot 0 is the hot-plug controller's where there is one: configurations never use it. */
    s->b.bus->slot_min = s->shpc ? 1 : 0;
    return true;
}

static bool pcie_pci_bridge_realize(Device *d, Error **errp)
{
    PlainBridge *s = (PlainBridge *)d;

    pci_express(&s->b.p, PCI_EXP_TYPE_PCI_BRIDGE);
    pci_pm(&s->b.p);
    pci_aer(&s->b.p);
    if (s->msi != ONOFF_OFF && !pci_msi(&s->b.p, 1, true, true, errp)) {
        return false;
    }
    bridge_init(&s->b, false, false);
    return true;
}

static bool i82801b11_realize(Device *d, Error **errp)
{
    PlainBridge *s = (PlainBridge *)d;

    bridge_ssvid(&s->b, 0x8086, 0);
    bridge_init(&s->b, false, false);
    return true;
}

static void plain_unrealize(Device *d)
{
    bridge_free((PciBridge *)d);
}

static void plain_reset(Device *d, ResetKind kind)
{
    ((PciBridge *)d)->control = 0;
}

static void plain_settle(Device *d)
{
    PciBridge *b = (PciBridge *)d;

    b->control = ld16(b->p.config + PCI_BRIDGE_CONTROL);
    bridge_update(b);
}

static const PropDesc pci_bridge_props[] = {
    PROP_U8(PlainBridge, chassis_nr, "chassis_nr", 0, 0, 255, "number of the chassis, unique, above 0"),
    PROP_ENUM(PlainBridge, msi, "msi", prop_onoffauto, ONOFF_AUTO, "have an MSI capability"),
    PROP_BOOL(PlainBridge, shpc, "shpc", true, "keep slot 0 free as for a hot-plug controller"),
    BRIDGE_RESERVE_PROPS(PlainBridge, b),
    { 0 },
};

static const PropDesc pcie_pci_bridge_props[] = {
    PROP_ENUM(PlainBridge, msi, "msi", prop_onoffauto, ONOFF_AUTO, "have an MSI capability"),
    { 0 },
};

static const PciOps pci_bridge_ops = {
    .vendor = 0x1b36, .device = 0x0001, .class_code = 0x060400, .pin = 1, .header = 1,
    .config_wrote = plain_config_wrote,
};

static const PciOps pcie_pci_bridge_ops = {
    .vendor = 0x1b36, .device = 0x000e, .class_code = 0x060400, .pin = 1, .header = 1,
    .express = PCI_EXPRESS, .config_wrote = plain_config_wrote,
};

static const PciOps i82801b11_ops = {
    .vendor = 0x8086, .device = 0x244e, .class_code = 0x060400, .revision = 0x92, .header = 1,
    .config_wrote = plain_config_wrote,
};

extern const DeviceType pci_bridge_type, pcie_pci_bridge_type, i82801b11_bridge_type;

const DeviceType pci_bridge_type = {
    .name = "pci-bridge", .summary = "Standard PCI Bridge", .slot = &pci_slot, .size = sizeof(PlainBridge),
    .flags = DEV_OWN_DOMAIN, .category = "Bridge", .props = pci_bridge_props, .slot_ops = &pci_bridge_ops,
    .realize = pci_bridge_realize, .unrealize = plain_unrealize, .reset = plain_reset,
    .settle = plain_settle,
};

const DeviceType pcie_pci_bridge_type = {
    .name = "pcie-pci-bridge", .summary = "PCI Express to PCI bridge", .slot = &pci_slot,
    .size = sizeof(PlainBridge), .flags = DEV_OWN_DOMAIN, .category = "Bridge",
    .props = pcie_pci_bridge_props, .slot_ops = &pcie_pci_bridge_ops,
    .realize = pcie_pci_bridge_realize, .unrealize = plain_unrealize, .reset = plain_reset,
    .settle = plain_settle,
};

const DeviceType i82801b11_bridge_type = {
    .name = "i82801b11-bridge", .summary = "Intel 82801 DMI to PCI bridge", .slot = &pci_slot,
    .size = sizeof(PlainBridge), .flags = DEV_OWN_DOMAIN, .category = "Bridge",
    .slot_ops = &i82801b11_ops, .realize = i82801b11_realize, .unrealize = plain_unrealize,
    .reset = plain_reset, .settle = plain_settle,
};
