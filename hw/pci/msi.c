/* msi.c: message-signalled interrupts of one function (PCI Local Bus 3.0, section 6.8.1).
 *
 * 1. The guest writes the capability under the function's domain; the decoded copy that
 *    pci_msi_fire() reads on any thread is guarded by PciMsi.lock (rank IRQ).
 * 2. A masked vector that fires sets its pending bit; unmasking sends and clears it. */
#include "hw/pci/pci-int.h"

struct PciMsi {
    Lock lock;
    unsigned vectors;
    bool bits64, maskable;
    bool enabled;              /* the rest: guarded by lock */
    uint64_t addr;
    uint32_t data, mask, pending;
    unsigned log2_enabled;
};

/* Offsets in the capability. */
static unsigned off_data(const struct PciMsi *m) { return m->bits64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32; }
static unsigned off_mask(const struct PciMsi *m) { return m->bits64 ? PCI_MSI_MASK_64 : PCI_MSI_MASK_32; }
static unsigned off_pending(const struct PciMsi *m) { return off_mask(m) + 4; }

static unsigned cap_size(const struct PciMsi *m)
{
    return m->maskable ? off_pending(m) + 4 : off_data(m) + 2;
}

bool pci_msi(PciDevice *p, unsigned vectors, bool bits64, bool maskable, Error **errp)
{
    unsigned log2 = 0;

    assert_control();
    while ((1u << log2) < vectors) {
        log2++;
    }
    if (vectors == 0 || log2 > 5) {
        return error_set(errp, "MSI has 1 to 32 vectors, not %u", vectors);
    }
    struct PciMsi *m = g_new0(struct PciMsi, 1);
    *m = (struct PciMsi){ .vectors = 1u << log2, .bits64 = bits64, .maskable = maskable };
    unsigned at = pci_capability(p, PCI_CAP_ID_MSI, NULL, cap_size(m), NULL);
    if (at == 0) {
        g_free(m);
        return error_set(errp, "no room for the MSI capability");
    }
    lock_init(&m->lock, RANK_IRQ, "msi");
    p->msi = m;
    p->cap_msi = (uint8_t)at;
    uint8_t *c = p->config + at, *w = p->wmask + at;
    st16(c + PCI_MSI_FLAGS, (uint16_t)(log2 << 1 | (bits64 ? PCI_MSI_FLAGS_64BIT : 0) |
                                       (maskable ? PCI_MSI_FLAGS_MASKBIT : 0)));
    st16(w + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
    st32(w + PCI_MSI_ADDRESS_LO, ~UINT32_C(3));
    if (bits64) {
        st32(w + PCI_MSI_ADDRESS_HI, UINT32_MAX);
    }
    st16(w + off_data(m), 0xffff);
    if (maskable) {
        uint32_t bits = (uint32_t)(UINT64_MAX >> (64 - m->vectors));
        st32(w + off_mask(m), bits);
        st32(p->live + at + off_pending(m), bits);
    }
    return true;
}

/* Takes over what the registers say; returns the vectors to send now. */
static uint32_t decode(PciDevice *p)
{
    struct PciMsi *m = p->msi;
    const uint8_t *c = p->config + p->cap_msi;
    uint16_t flags = ld16(c + PCI_MSI_FLAGS);

    lock_take(&m->lock);
    m->enabled = flags & PCI_MSI_FLAGS_ENABLE;
    m->log2_enabled = MIN((flags & PCI_MSI_FLAGS_QSIZE) >> 4, (flags & PCI_MSI_FLAGS_QMASK) >> 1);
    m->addr = m->bits64 ? ld64(c + PCI_MSI_ADDRESS_LO) : ld32(c + PCI_MSI_ADDRESS_LO);
    m->data = ld16(c + off_data(m));
    m->mask = m->maskable ? ld32(c + off_mask(m)) : 0;
    uint32_t send = m->enabled ? m->pending & ~m->mask : 0;
    m->pending &= ~send;
    if (m->maskable) {
        st32(p->config + p->cap_msi + off_pending(m), m->pending);
    }
    lock_drop(&m->lock);
    return send;
}

void pci_msi_wrote(PciDevice *p, unsigned off, unsigned size)
{
    if (!pci_ranges_meet(off, size, p->cap_msi, cap_size(p->msi))) {
        return;
    }
    uint32_t send = decode(p);
    for (unsigned v = 0; send; v++, send >>= 1) {
        if (send & 1) {
            pci_msi_fire(p, v);
        }
    }
}

void pci_msi_settle(PciDevice *p)
{
    if (p->msi) {
        if (p->msi->maskable) {
            lock_take(&p->msi->lock);
            p->msi->pending = ld32(p->config + p->cap_msi + off_pending(p->msi));
            lock_drop(&p->msi->lock);
        }
        decode(p);
    }
}

void pci_msi_free(PciDevice *p)
{
    if (p->msi) {
        lock_destroy(&p->msi->lock);
        g_free(p->msi);
        p->msi = NULL;
        p->cap_msi = 0;
    }
}

bool pci_msi_enabled(const PciDevice *p)
{
    return p->msi && __atomic_load_n(&p->msi->enabled, __ATOMIC_RELAXED);
}

void pci_msi_fire(PciDevice *p, unsigned vector)
{
    struct PciMsi *m = p->msi;
    MsiMsg msg;
    bool send = false;

    if (!m) {
        return;
    }
    lock_take(&m->lock);
    if (m->enabled) {
        /* With fewer vectors granted than asked for, the high ones alias (6.8.3.4). */
        vector &= (1u << m->log2_enabled) - 1;
        if (m->mask >> vector & 1) {
            m->pending |= 1u << vector;
            st32(p->config + p->cap_msi + off_pending(m), m->pending);
        } else {
            msg = (MsiMsg){ .addr = m->addr, .data = (m->data & ~((1u << m->log2_enabled) - 1)) | vector };
            send = true;
        }
    }
    lock_drop(&m->lock);
    if (send) {
        msg.requester = pci_requester_id(p);
        msi_send(&msg);
    }
}
