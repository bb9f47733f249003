/* i440fx.c: the 82441FX memory controller, function 00.0 of the board "pc" (Intel 290549).
 *
 * 1. What it does to memory follows from PAM0-PAM6 (0x59-0x5f) and SMRAM (0x72) alone: pam_update()
 *    may be called at any time. */
#include "hw/pci/host-int.h"

#define I440FX_PAM 0x59
#define I440FX_SMRAM 0x72

typedef struct I440fx {
    PciDevice p;
    Pam pam;
} I440fx;

static void i440fx_update(I440fx *s)
{
    const uint8_t *c = s->p.config;
    bool open = (c[I440FX_SMRAM] & (SMRAM_OPEN | SMRAM_E)) == (SMRAM_OPEN | SMRAM_E);

    pam_update(&s->pam, c + I440FX_PAM, open, 0);
    pam_smm(&s->pam, c[I440FX_SMRAM] & SMRAM_E, false);
}

static void i440fx_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    if (pci_ranges_meet(off, size, I440FX_SMRAM, 1)) {
        smram_wrote(p, I440FX_SMRAM);
    }
    if (pci_ranges_meet(off, size, I440FX_PAM, 7) || pci_ranges_meet(off, size, I440FX_SMRAM, 1)) {
        i440fx_update((I440fx *)p);
    }
}

static bool i440fx_realize(Device *d, Error **errp)
{
    I440fx *s = (I440fx *)d;
    PciDevice *p = &s->p;

    if (!pam_init(&s->pam, d, pci_bus(p)->mem, errp)) {
        return false;
    }
    memset(p->wmask + I440FX_PAM, 0x33, 7);
    p->wmask[I440FX_PAM] = 0x30;
    p->config[I440FX_SMRAM] = 0x02;
    p->wmask[I440FX_SMRAM] = SMRAM_OPEN | SMRAM_CLS | SMRAM_LCK | SMRAM_E;
    p->live[I440FX_SMRAM] = 0xf8;
    /* DRAM row boundaries and the like: kept, without effect. */
    memset(p->wmask + 0x60, 0xff, 8);
    memset(p->wmask + 0x50, 0xff, 2);
    return true;
}

static void i440fx_unrealize(Device *d)
{
    pam_free(&((I440fx *)d)->pam);
}

static void i440fx_reset(Device *d, ResetKind kind)
{
    PciDevice *p = pci_device(d);

    p->config[I440FX_SMRAM] = 0x02;
    smram_unlock(p, I440FX_SMRAM);
}

static void i440fx_settle(Device *d)
{
    I440fx *s = (I440fx *)d;

    smram_unlock(&s->p, I440FX_SMRAM);
    i440fx_update(s);
}

static const PciOps i440fx_ops = {
    .vendor = 0x8086, .device = 0x1237, .class_code = 0x060000, .revision = 0x02,
    .config_wrote = i440fx_config_wrote,
};

const DeviceType i440fx_type = {
    .name = "i440FX", .summary = "Host bridge", .slot = &pci_slot, .size = sizeof(I440fx),
    .flags = DEV_OWN_DOMAIN | DEV_INTERNAL, .category = "Bridge", .slot_ops = &i440fx_ops,
    .realize = i440fx_realize, .unrealize = i440fx_unrealize,
    .reset = i440fx_reset, .settle = i440fx_settle,
};
