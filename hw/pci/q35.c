/* q35.c: the 82Q35 memory controller hub, function 00.0 of the board "q35" (Intel 316966).
 *
 * 1. Memory follows from PAM0-6 (0x90-0x96), SMRAM (0x9d) and ESMRAMC (0x9e), ECAM from PCIEXBAR
 *    (0x60): mch_update() may be called at any time. */
#include "hw/pci/host-int.h"

#define MCH_EXT_TSEG 0x50
#define MCH_PCIEXBAR 0x60
#define MCH_PAM 0x90
#define MCH_SMRAM 0x9d
#define MCH_ESMRAMC 0x9e

enum { ESMRAMC_T_EN = 1, ESMRAMC_TSEG_SZ = 6, ESMRAMC_H_SMRAME = 0x80 };

typedef struct Mch {
    PciDevice p;
    Pam pam;
    uint16_t ext_tseg_mib;     /* property */
} Mch;

static uint64_t tseg_bytes(const Mch *s)
{
    static const uint8_t mib[] = { 1, 2, 8, 0 };
    uint8_t e = s->p.config[MCH_ESMRAMC];

    if (!(e & ESMRAMC_T_EN) || !(s->p.config[MCH_SMRAM] & SMRAM_E)) {
        return 0;
    }
    unsigned sel = (e & ESMRAMC_TSEG_SZ) >> 1;
    return (sel == 3 ? s->ext_tseg_mib : mib[sel]) * MiB;
}

static void mch_ecam(Mch *s)
{
    /* PCIEXBAR 5.1.16: bit 0 enable, bits 2:1 length 256, 128 or 64 MiB. */
    uint64_t bar = ld64(s->p.config + MCH_PCIEXBAR);
    unsigned sel = bar >> 1 & 3;
    uint64_t size = ECAM_SIZE >> (sel == 3 ? 0 : sel);
    Device *host = pci_bus(&s->p)->bus->owner;

    if (host->type != &q35_pcihost_type) {
        return;                /* on another's bus (a test's) there is no window to move */
    }
    host_ecam_place((PciHost *)host, bar & 0xffc000000 & ~(size - 1), size,
                    (bar & 1) && sel != 3);
}

static void mch_update(Mch *s)
{
    const uint8_t *c = s->p.config;
    bool open = (c[MCH_SMRAM] & (SMRAM_OPEN | SMRAM_E)) == (SMRAM_OPEN | SMRAM_E);

    bool high = c[MCH_ESMRAMC] & ESMRAMC_H_SMRAME;

    pam_update(&s->pam, c + MCH_PAM, open, tseg_bytes(s));
    pam_smm(&s->pam, c[MCH_SMRAM] & SMRAM_E && !high, c[MCH_SMRAM] & SMRAM_E && high);
}

static void mch_unlock(PciDevice *p)
{
    smram_unlock(p, MCH_SMRAM);
    p->wmask[MCH_ESMRAMC] = p->config[MCH_SMRAM] & SMRAM_LCK ? 0 : 0x87;
}

static void mch_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    Mch *s = (Mch *)p;

    if (pci_ranges_meet(off, size, MCH_EXT_TSEG, 2) && ld16(p->config + MCH_EXT_TSEG) == 0xffff) {
        /* Firmware's question for the extended TSEG's size in MiB. */
        st16(p->config + MCH_EXT_TSEG, s->ext_tseg_mib);
    }
    if (pci_ranges_meet(off, size, MCH_PCIEXBAR, 8)) {
        mch_ecam(s);
    }
    if (pci_ranges_meet(off, size, MCH_SMRAM, 2)) {
        smram_wrote(p, MCH_SMRAM);
        mch_unlock(p);
    }
    if (pci_ranges_meet(off, size, MCH_PAM, 7) || pci_ranges_meet(off, size, MCH_SMRAM, 2)) {
        mch_update(s);
    }
}

static bool mch_realize(Device *d, Error **errp)
{
    Mch *s = (Mch *)d;
    PciDevice *p = &s->p;

    if (!pam_init(&s->pam, d, pci_bus(p)->mem, errp)) {
        return false;
    }
    st64(p->config + MCH_PCIEXBAR, ECAM_BASE);
    st64(p->wmask + MCH_PCIEXBAR, 0xffc000007);
    memset(p->wmask + MCH_PAM, 0x33, 7);
    p->wmask[MCH_PAM] = 0x30;
    st16(p->wmask + MCH_EXT_TSEG, 0xffff);
    p->config[MCH_SMRAM] = 0x02;
    p->config[MCH_ESMRAMC] = 0x38;
    p->live[MCH_SMRAM] = 0xf8;
    p->live[MCH_ESMRAMC] = 0x87;
    mch_unlock(p);
    /* EPBAR, MCHBAR, DMIBAR: kept, nothing is behind them. */
    memset(p->wmask + 0x40, 0xff, 16);
    memset(p->wmask + 0x68, 0xff, 8);
    return true;
}

static void mch_unrealize(Device *d)
{
    pam_free(&((Mch *)d)->pam);
}

static void mch_reset(Device *d, ResetKind kind)
{
    PciDevice *p = pci_device(d);

    p->config[MCH_SMRAM] = 0x02;
    p->config[MCH_ESMRAMC] = 0x38;
    mch_unlock(p);
}

static void mch_settle(Device *d)
{
    Mch *s = (Mch *)d;

    mch_unlock(&s->p);
    mch_ecam(s);
    mch_update(s);
}

static const PropDesc mch_props[] = {
    PROP_U16(Mch, ext_tseg_mib, "extended-tseg-mbytes", 16, 0, 4095, "size of the extended TSEG"),
    { 0 },
};

static const PciOps mch_ops = {
    .vendor = 0x8086, .device = 0x29c0, .class_code = 0x060000, .revision = 0x00,
    .config_wrote = mch_config_wrote,
};

const DeviceType mch_type = {
    .name = "mch", .summary = "Host bridge", .slot = &pci_slot, .size = sizeof(Mch),
    .flags = DEV_OWN_DOMAIN | DEV_INTERNAL, .category = "Bridge", .props = mch_props, .slot_ops = &mch_ops,
    .realize = mch_realize, .unrealize = mch_unrealize, .reset = mch_reset, .settle = mch_settle,
};
