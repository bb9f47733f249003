/* config.c: configuration space: cycles, masks, capabilities, command and power state (PCI Local Bus
 * 3.0, chapter 6; PCI Express Base 4.0, chapter 7; PCI Power Management 1.2).
 *
 * 1. A cycle arrives on any thread with no domain held and takes the target function's.
 * 2. The guest changes only bits of wmask (by writing) and w1cmask (by writing ones); the function
 *    itself changes those of live and of w1cmask.  Everything else is constant after realize. */
#include "hw/pci/pci-int.h"

/* Express capability, version 2: 60 bytes (PCI Express Base 4.0, 7.5.3). */
#define EXP_SIZE 60
#define EXT_START 0x100

void pci_config_init(PciDevice *p)
{
    const PciOps *o = pci_ops(p);
    unsigned n = p->config_size;
    uint8_t *mem = g_malloc0(5 * n);

    p->plain_size = o->config_reading ? 0 : (uint16_t)n;
    p->config = mem;
    p->wmask = mem + n;
    p->w1cmask = mem + 2 * n;
    p->live = mem + 3 * n;
    p->initial = mem + 4 * n;
    p->cap_next = 0x40;
    p->ext_cap_next = EXT_START;

    st16(p->config + PCI_VENDOR_ID, o->vendor);
    st16(p->config + PCI_DEVICE_ID, o->device);
    p->config[PCI_REVISION_ID] = o->revision;
    p->config[PCI_CLASS_PROG] = o->class_code & 0xff;
    st16(p->config + PCI_CLASS_DEVICE, o->class_code >> 8);
    p->config[PCI_HEADER_TYPE] = (o->header ? PCI_HEADER_TYPE_BRIDGE : 0) |
                                 (p->multifunction || o->multifunction ? 0x80 : 0);
    p->config[PCI_INTERRUPT_PIN] = o->pin;
    if (!o->header) {
        st16(p->config + PCI_SUBSYSTEM_VENDOR_ID, o->subsys_vendor ? o->subsys_vendor : PCI_SUBVENDOR);
        st16(p->config + PCI_SUBSYSTEM_ID, o->subsys_vendor ? o->subsys : PCI_SUBSYSTEM);
    }

    st16(p->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                                 PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    st16(p->w1cmask + PCI_STATUS, PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT |
                                  PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT |
                                  PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY);
    st16(p->live + PCI_STATUS, PCI_STATUS_INTERRUPT);
    p->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
    p->wmask[PCI_INTERRUPT_LINE] = 0xff;
    if (o->header) {
        /* PCI-to-PCI Bridge Architecture 1.2, section 3.2. */
        st32(p->wmask + PCI_PRIMARY_BUS, 0x00ffffff);
        p->wmask[PCI_SEC_LATENCY_TIMER] = p->express ? 0 : 0xf8;
        st16(p->wmask + PCI_IO_BASE, 0xf0f0);
        st32(p->wmask + PCI_MEMORY_BASE, 0xfff0fff0);
        st32(p->wmask + PCI_PREF_MEMORY_BASE, 0xfff0fff0);
        st32(p->config + PCI_PREF_MEMORY_BASE, 0x00010001);
        st64(p->wmask + PCI_PREF_BASE_UPPER32, UINT64_MAX);
        st16(p->config + PCI_IO_BASE, 0x0101);
        st32(p->wmask + PCI_IO_BASE_UPPER16, UINT32_MAX);
        st16(p->wmask + PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR |
             PCI_BRIDGE_CTL_ISA | PCI_BRIDGE_CTL_VGA | 0x10 | PCI_BRIDGE_CTL_BUS_RESET);
        st16(p->w1cmask + PCI_SEC_STATUS, 0xf900);
    }
}

void pci_config_freeze(PciDevice *p)
{
    memcpy(p->initial, p->config, p->config_size);
}

void pci_config_reset(PciDevice *p)
{
    for (unsigned i = 0; i < p->config_size; i++) {
        uint8_t mine = p->wmask[i] | p->w1cmask[i] | p->live[i];
        p->config[i] = (p->config[i] & ~mine) | (p->initial[i] & mine);
    }
}

/* --- what follows from registers --- */

static bool powered(const PciDevice *p)
{
    return !p->cap_pm || (p->config[p->cap_pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK) == 0;
}

void pci_command_update(PciDevice *p)
{
    uint16_t cmd = pci_command(p);
    /* A bridge forwards always: firmware reaches disks behind ports without enabling those. */
    bool master = (cmd & PCI_COMMAND_MASTER || pci_ops(p)->header) && powered(p) && p->visible &&
                  !p->in_reset;

    __atomic_store_n(&p->dev.dma_on, master, __ATOMIC_RELEASE);
    if (p->dev.inner) {
        __atomic_store_n(&p->dev.inner->dma_on, master, __ATOMIC_RELEASE);
    }
    pci_intx_off(p, (cmd & PCI_COMMAND_INTX_DISABLE) || !powered(p));
}

void pci_refresh(PciDevice *p)
{
    assert_domain(p->dev.domain);
    pci_command_update(p);
    pci_bridge_numbers(p);
    pci_bars_update(p);
    pci_msi_settle(p);
    pci_msix_settle(p);
}

/* --- one function --- */

uint32_t pci_function_read(PciDevice *p, unsigned off, unsigned size)
{
    assert_domain(p->dev.domain);
    if (!fits(off, size, p->config_size)) {
        return (uint32_t)ones(size);
    }
    const PciOps *o = pci_ops(p);
    if (o->config_reading) {
        o->config_reading(p, off, size);
    }
    if (pci_ranges_meet(off, size, PCI_STATUS, 1)) {
        /* Interrupt Status shows the request whether or not it is disabled (PCI 3.0, 6.2.3). */
        bool level = __atomic_load_n(&p->intx_level, __ATOMIC_ACQUIRE);
        p->config[PCI_STATUS] = (p->config[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) |
                                (level ? PCI_STATUS_INTERRUPT : 0);
    }
    uint32_t val = (uint32_t)ld_n(p->config + off, size);
    TRACE(pci_config_read, "%s off=0x%x size=%u value=0x%x", p->dev.id, off, size, val);
    return val;
}

static void store_masked(PciDevice *p, unsigned off, uint32_t val, unsigned size)
{
    for (unsigned i = 0; i < size; i++, val >>= 8) {
        uint8_t w = p->wmask[off + i], byte = (uint8_t)val;
        uint8_t now = (p->config[off + i] & ~w) | (byte & w);
        p->config[off + i] = now & ~(byte & p->w1cmask[off + i]);
    }
}

/* PMCSR.PowerState changed from @was: D3hot to D0 is a reset (PCI PM 1.2, 5.4). */
static void power_changed(PciDevice *p, uint8_t was)
{
    uint8_t now = p->config[p->cap_pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK;

    if (now == was) {
        return;
    }
    TRACE(pci_power, "%s D%u to D%u", p->dev.id, was, now);
    if (was == 3 && now == 0) {
        pci_function_reset(p);
        return;
    }
    pci_command_update(p);
    pci_bars_update(p);
}

void pci_function_write(PciDevice *p, unsigned off, uint32_t val, unsigned size)
{
    assert_domain(p->dev.domain);
    if (!fits(off, size, p->config_size)) {
        return;
    }
    TRACE(pci_config_write, "%s off=0x%x size=%u value=0x%x", p->dev.id, off, size, val);
    const PciOps *o = pci_ops(p);
    uint8_t power = p->cap_pm ? p->config[p->cap_pm + PCI_PM_CTRL] & PCI_PM_CTRL_STATE_MASK : 0;
    unsigned bars_end = o->header ? PCI_PRIMARY_BUS : PCI_CARDBUS_CIS;

    store_masked(p, off, val, size);
    bool command = pci_ranges_meet(off, size, PCI_COMMAND, 2);
    if (command) {
        pci_command_update(p);
    }
    if (command || pci_ranges_meet(off, size, PCI_BASE_ADDRESS_0, bars_end - PCI_BASE_ADDRESS_0) ||
        pci_ranges_meet(off, size, pci_bar_reg(p, PCI_ROM), 4)) {
        pci_bars_update(p);
    }
    if (o->header && pci_ranges_meet(off, size, PCI_PRIMARY_BUS, 4)) {
        pci_bridge_numbers(p);
    }
    if (p->cap_msi && off >= 0x40) {
        pci_msi_wrote(p, off, size);
    }
    if (p->cap_msix && pci_ranges_meet(off, size, p->cap_msix + PCI_MSIX_FLAGS, 2)) {
        pci_msix_wrote(p);
    }
    if (p->cap_pm && pci_ranges_meet(off, size, p->cap_pm + PCI_PM_CTRL, 2)) {
        power_changed(p, power);
    }
    if (p->cap_exp && pci_ranges_meet(off, size, p->cap_exp + PCI_EXP_DEVCTL, 2)) {
        uint8_t *ctl = p->config + p->cap_exp + PCI_EXP_DEVCTL;
        bool flr = (ld16(ctl) & PCI_EXP_DEVCTL_BCR_FLR) &&
                   (ld32(p->config + p->cap_exp + PCI_EXP_DEVCAP) & PCI_EXP_DEVCAP_FLR);
        st16(ctl, ld16(ctl) & ~PCI_EXP_DEVCTL_BCR_FLR);
        if (flr) {
            pci_function_reset(p);
        }
    }
    if (o->config_wrote) {
        o->config_wrote(p, off, size);
    }
}

/* --- cycles --- */

uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
    epoch_enter();
    uint32_t val = pci_cycle_read(root, bus, devfn, off, size);
    epoch_leave();
    return val;
}

void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, uint32_t val, unsigned size)
{
    epoch_enter();
    PciDevice *p = pci_find(root, bus, devfn);
    if (p) {
        domain_enter(p->dev.domain);
        if (p->visible && !p->in_reset) {
            pci_function_write(p, off, val, size);
        }
        domain_leave(p->dev.domain);
    }
    epoch_leave();
}

/* --- capabilities --- */

unsigned pci_capability(PciDevice *p, uint8_t id, const void *body, size_t size, const void *wmask)
{
    assert_control();
    unsigned at = ALIGN_UP(p->cap_next, 4);

    if (at + size > 0x100) {
        return 0;
    }
    p->config[at] = id;
    p->config[at + 1] = p->config[PCI_CAPABILITY_LIST];
    p->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
    p->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    if (body) {
        memcpy(p->config + at + 2, body, size - 2);
    }
    if (wmask) {
        memcpy(p->wmask + at + 2, wmask, size - 2);
    }
    p->cap_next = (uint8_t)MIN(at + size, 0xff);
    return at;
}

unsigned pci_ext_capability(PciDevice *p, uint16_t id, uint8_t version, size_t size)
{
    assert_control();
    unsigned at = p->ext_cap_next;

    if (!p->express || !fits(at, size, p->config_size)) {
        return 0;
    }
    st32(p->config + at, id | (uint32_t)version << 16);
    if (p->ext_cap_last) {
        uint8_t *head = p->config + p->ext_cap_last;
        st32(head, (ld32(head) & 0xfffff) | at << 20);
    }
    p->ext_cap_last = (uint16_t)at;
    p->ext_cap_next = (uint16_t)ALIGN_UP(at + size, 8);
    return at;
}

void pci_aer(PciDevice *p)
{
    unsigned at = pci_ext_capability(p, PCI_EXT_CAP_ID_ERR, 2, 0x48);

    if (at == 0) {
        return;
    }
    const uint32_t uncorrectable = 0x003ff030, correctable = 0x0000f1c1;
    st32(p->w1cmask + at + PCI_ERR_UNCOR_STATUS, uncorrectable);
    st32(p->wmask + at + PCI_ERR_UNCOR_MASK, uncorrectable);
    st32(p->config + at + PCI_ERR_UNCOR_SEVER, 0x00062030);
    st32(p->wmask + at + PCI_ERR_UNCOR_SEVER, uncorrectable);
    st32(p->w1cmask + at + PCI_ERR_COR_STATUS, correctable);
    st32(p->config + at + PCI_ERR_COR_MASK, 0x00002000);
    st32(p->wmask + at + PCI_ERR_COR_MASK, correctable);
    if (pci_ops(p)->header) {
        st32(p->wmask + at + PCI_ERR_ROOT_COMMAND, 7);
        st32(p->w1cmask + at + PCI_ERR_ROOT_STATUS, 0x7f);
    }
}

void pci_dsn(PciDevice *p, uint64_t serial)
{
    unsigned at = pci_ext_capability(p, PCI_EXT_CAP_ID_DSN, 1, 12);

    if (at) {
        st64(p->config + at + 4, serial);
    }
}

void pci_acs(PciDevice *p)
{
    const uint16_t can = PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF;
    unsigned at = pci_ext_capability(p, PCI_EXT_CAP_ID_ACS, 1, 8);

    if (at) {
        st16(p->config + at + PCI_ACS_CAP, can);
        st16(p->wmask + at + PCI_ACS_CTRL, can);
    }
}

void pci_pm(PciDevice *p)
{
    unsigned at = pci_capability(p, PCI_CAP_ID_PM, NULL, PCI_PM_SIZEOF, NULL);

    if (at) {
        p->cap_pm = (uint8_t)at;
        st16(p->config + at + PCI_PM_PMC, 3);
        st16(p->wmask + at + PCI_PM_CTRL, PCI_PM_CTRL_STATE_MASK);
    }
}

static void express_link(PciDevice *p, unsigned at, unsigned type)
{
    /* 16 GT/s x32 would be honest of a virtual link; 2.5 GT/s x1 for what has no better to say. */
    bool port = type == PCI_EXP_TYPE_ROOT_PORT || type == PCI_EXP_TYPE_DOWNSTREAM;
    uint32_t speed = port ? 4 : 1, width = port ? 32 : 1;

    st32(p->config + at + PCI_EXP_LNKCAP, speed | width << 4 | (port ? PCI_EXP_LNKCAP_DLLLARC : 0) |
         (uint32_t)(p->devfn >> 3) << 24);
    st16(p->config + at + PCI_EXP_LNKSTA, (uint16_t)(speed | width << 4));
    st16(p->wmask + at + PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_ASPMC | PCI_EXP_LNKCTL_CCC | PCI_EXP_LNKCTL_ES |
         (port ? PCI_EXP_LNKCTL_LD : 0));
    st32(p->config + at + PCI_EXP_LNKCAP2, ((1u << speed) - 1) << 1);
    st16(p->config + at + PCI_EXP_LNKCTL2, (uint16_t)speed);
    st16(p->wmask + at + PCI_EXP_LNKCTL2, 0x0f);
}

unsigned pci_express(PciDevice *p, unsigned port_type)
{
    if (!p->express) {
        return 0;
    }
    unsigned at = pci_capability(p, PCI_CAP_ID_EXP, NULL, EXP_SIZE, NULL);
    if (at == 0) {
        return 0;
    }
    bool endpoint = port_type == PCI_EXP_TYPE_ENDPOINT || port_type == PCI_EXP_TYPE_RC_END;
    p->cap_exp = (uint8_t)at;
    st16(p->config + at + PCI_EXP_FLAGS, (uint16_t)(2 | port_type << 4));
    st32(p->config + at + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_RBER | (endpoint ? PCI_EXP_DEVCAP_FLR : 0));
    st16(p->wmask + at + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_CERE | PCI_EXP_DEVCTL_NFERE |
         PCI_EXP_DEVCTL_FERE | PCI_EXP_DEVCTL_URRE | PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_PAYLOAD |
         PCI_EXP_DEVCTL_NOSNOOP_EN | PCI_EXP_DEVCTL_READRQ | (endpoint ? PCI_EXP_DEVCTL_BCR_FLR : 0));
    st16(p->config + at + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_READRQ_512B | PCI_EXP_DEVCTL_RELAX_EN |
                                          PCI_EXP_DEVCTL_NOSNOOP_EN);
    st16(p->w1cmask + at + PCI_EXP_DEVSTA, PCI_EXP_DEVSTA_CED | PCI_EXP_DEVSTA_NFED |
                                           PCI_EXP_DEVSTA_FED | PCI_EXP_DEVSTA_URD);
    if (port_type != PCI_EXP_TYPE_RC_END) {
        express_link(p, at, port_type);
    }
    if (port_type == PCI_EXP_TYPE_ROOT_PORT) {
        st16(p->wmask + at + PCI_EXP_RTCTL, 0x1f);
    }
    st32(p->config + at + PCI_EXP_DEVCAP2, 0x10);
    st16(p->wmask + at + PCI_EXP_DEVCTL2, 0x1f);
    return at;
}
