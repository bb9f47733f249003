/* ich9-smb.c: ICH9-SMB, the SMBus controller at 1f.3 of the board "q35" (Intel 316972, chapter 18).
 *
 * 1. Nobody is on its bus: see smbus.c. */
#include "hw/pci/host.h"
#include "hw/pci/pci-int.h"
#include "hw/pci/smbus.h"

#define SMB_HOSTC 0x40

typedef struct Ich9Smb {
    PciDevice p;
    SmBus smb;
} Ich9Smb;

static bool smb_realize(Device *d, Error **errp)
{
    Ich9Smb *s = (Ich9Smb *)d;

    smbus_init(&s->smb, d, 64);
    pci_bar(&s->p, 4, BAR_IO, &s->smb.io);
    s->p.wmask[SMB_HOSTC] = 0x0f;
    st16(s->p.config + PCI_STATUS, PCI_STATUS_FAST_BACK | PCI_STATUS_DEVSEL_MEDIUM);
    return true;
}

static void smb_unrealize(Device *d)
{
    region_free(&((Ich9Smb *)d)->smb.io);
}

static void smb_reset(Device *d, ResetKind kind)
{
    memset(((Ich9Smb *)d)->smb.regs, 0, sizeof(((Ich9Smb *)d)->smb.regs));
}

static const StateField smb_fields[] = {
    STATE_STRUCT(Ich9Smb, smb, &smbus_state),
    { 0 },
};

static const StateDesc smb_state = { .name = "ICH9-SMB", .version = 1, .fields = smb_fields };

static const PciOps smb_ops = {
    .vendor = 0x8086, .device = 0x2930, .class_code = 0x0c0500, .revision = 0x02, .pin = 1,
};

const DeviceType ich9_smb_type = {
    .name = "ICH9-SMB", .summary = "SMBus controller of the board q35", .slot = &pci_slot,
    .size = sizeof(Ich9Smb), .flags = DEV_OWN_DOMAIN, .category = "Bridge", .state = &smb_state,
    .slot_ops = &smb_ops, .realize = smb_realize, .unrealize = smb_unrealize, .reset = smb_reset,
};
