/* msix.c: MSI-X tables and pending bits (PCI Local Bus 3.0, section 6.8.2).
 *
 * 1. The table, the pending bits and the two flags are guarded by PciMsix.lock (rank IRQ), so that
 *    pci_msix_fire() runs on any thread; a message is sent after the lock is dropped.
 * 2. A vector is masked by its own bit, by the function mask, or while MSI-X is off: then nothing
 *    happens at all, the device uses INTx.  A masked vector that fires is pending.
 * 3. A vector has a route of the accelerator only while a notifier is attached to it and it is not
 *    masked; signals that arrive meanwhile become pending bits. */
#include "hw/pci/pci-int.h"

#define ENTRY 16

typedef struct Attached {
    Notifier *n;               /* NULL: none; domain */
    int route;                 /* -1: masked or none */
} Attached;

struct PciMsix {
    Region box, table_region, pba_region;
    bool own_box;
    unsigned vectors, bar;
    Lock lock;
    uint8_t *table;
    uint64_t *pending;
    bool enabled, function_mask;
    Attached *attached;        /* allocated by the first pci_msix_attach(); domain */
};

static bool masked_locked(const struct PciMsix *x, unsigned v)
{
    return x->function_mask || (x->table[v * ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL] & 1);
}

static MsiMsg message_locked(const struct PciMsix *x, unsigned v)
{
    const uint8_t *e = x->table + v * ENTRY;

    return (MsiMsg){ .addr = ld64(e), .data = ld32(e + PCI_MSIX_ENTRY_DATA) };
}

bool pci_msix_enabled(const PciDevice *p)
{
    return p->msix && __atomic_load_n(&p->msix->enabled, __ATOMIC_RELAXED);
}

void pci_msix_fire(PciDevice *p, unsigned vector)
{
    struct PciMsix *x = p->msix;
    MsiMsg m;
    bool send = false;

    if (!x || vector >= x->vectors) {
        return;
    }
    lock_take(&x->lock);
    if (x->enabled) {
        send = !masked_locked(x, vector);
        if (send) {
            m = message_locked(x, vector);
        } else {
            x->pending[vector / 64] |= UINT64_C(1) << (vector % 64);
        }
    }
    lock_drop(&x->lock);
    if (send) {
        m.requester = pci_requester_id(p);
        msi_send(&m);
    }
}

/* --- notifiers --- */

/* Brings the route of @v in line with its mask; a signal that came while masked becomes pending. */
static void attach_update(PciDevice *p, unsigned v)
{
    struct PciMsix *x = p->msix;
    Attached *a = x->attached ? &x->attached[v] : NULL;

    if (!a || (!a->n && a->route < 0)) {
        return;
    }
    lock_take(&x->lock);
    bool open = a->n && x->enabled && !masked_locked(x, v);
    MsiMsg m = message_locked(x, v);
    lock_drop(&x->lock);
    m.requester = pci_requester_id(p);
    if (!open) {
        if (a->route >= 0) {
            msi_detach(&a->route, a->n);
        }
        return;
    }
    g_autoptr(Error) err = NULL;
    if (!msi_attach(&a->route, &m, a->n, &err)) {
        warn_report("%s: vector %u: %s", p->dev.id, v, error_text(err));
    }
    if (notifier_take(a->n)) {
        msi_send(&m);
    }
}

static void take_masked_signals(PciDevice *p)
{
    struct PciMsix *x = p->msix;

    for (unsigned v = 0; x->attached && v < x->vectors; v++) {
        Attached *a = &x->attached[v];
        if (a->n && a->route < 0 && notifier_take(a->n)) {
            lock_take(&x->lock);
            x->pending[v / 64] |= UINT64_C(1) << (v % 64);
            lock_drop(&x->lock);
        }
    }
}

bool pci_msix_attach(PciDevice *p, unsigned vector, Notifier *n, Error **errp)
{
    struct PciMsix *x = p->msix;

    if (!x || vector >= x->vectors) {
        return error_set(errp, "no MSI-X vector %u", vector);
    }
    if (!x->attached) {
        x->attached = g_new0(Attached, x->vectors);
        for (unsigned v = 0; v < x->vectors; v++) {
            x->attached[v].route = -1;
        }
    }
    Attached *a = &x->attached[vector];
    if (a->route >= 0) {
        msi_detach(&a->route, a->n);
    }
    a->n = n;
    attach_update(p, vector);
    return true;
}

/* --- registers --- */

/* Sends vector @v when it is pending and no longer masked. */
static void unmask_check(PciDevice *p, unsigned v)
{
    struct PciMsix *x = p->msix;
    uint64_t bit = UINT64_C(1) << (v % 64);

    lock_take(&x->lock);
    bool fire = x->enabled && !masked_locked(x, v) && (x->pending[v / 64] & bit);
    if (fire) {
        x->pending[v / 64] &= ~bit;
    }
    lock_drop(&x->lock);
    if (fire) {
        pci_msix_fire(p, v);
    }
}

static void all_changed(PciDevice *p)
{
    for (unsigned v = 0; v < p->msix->vectors; v++) {
        attach_update(p, v);
        unmask_check(p, v);
    }
    if (pci_ops(p)->msix_changed) {
        pci_ops(p)->msix_changed(p);
    }
}

static bool take_flags(PciDevice *p)
{
    struct PciMsix *x = p->msix;
    uint16_t flags = ld16(p->config + p->cap_msix + PCI_MSIX_FLAGS);
    bool on = flags & PCI_MSIX_FLAGS_ENABLE, mask = flags & PCI_MSIX_FLAGS_MASKALL;
    bool changed = on != x->enabled || mask != x->function_mask;

    lock_take(&x->lock);
    __atomic_store_n(&x->enabled, on, __ATOMIC_RELAXED);
    x->function_mask = mask;
    lock_drop(&x->lock);
    return changed;
}

void pci_msix_wrote(PciDevice *p)
{
    if (take_flags(p)) {
        all_changed(p);
    }
}

static uint64_t table_read(void *dev, uint64_t off, unsigned size)
{
    struct PciMsix *x = ((PciDevice *)dev)->msix;

    return ld_n(x->table + off, size);
}

static void table_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    PciDevice *p = dev;
    struct PciMsix *x = p->msix;
    unsigned v = (unsigned)(off / ENTRY);

    lock_take(&x->lock);
    bool was = masked_locked(x, v);
    if (off % ENTRY == PCI_MSIX_ENTRY_VECTOR_CTRL) {
        val &= PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
    st_n(x->table + off, size, val);
    bool now = masked_locked(x, v);
    lock_drop(&x->lock);
    if (was && now) {
        return;
    }
    attach_update(p, v);
    unmask_check(p, v);
    if (was != now && pci_ops(p)->msix_changed) {
        pci_ops(p)->msix_changed(p);
    }
}

static const RegionOps table_ops = { .read = table_read, .write = table_write, .min = 4, .max = 4 };

static uint64_t pba_read(void *dev, uint64_t off, unsigned size)
{
    PciDevice *p = dev;
    struct PciMsix *x = p->msix;

    take_masked_signals(p);
    lock_take(&x->lock);
    uint64_t word = x->pending[off / 8] >> (off % 8 * 8) & ones(size);
    lock_drop(&x->lock);
    return word;
}

static void pba_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    /* Read-only (6.8.2): software must not write here. */
}

static const RegionOps pba_ops = { .read = pba_read, .write = pba_write, .min = 4, .max = 8 };

/* --- making --- */

static unsigned pba_bytes(unsigned vectors)
{
    return (vectors + 63) / 64 * 8;
}

static bool make(PciDevice *p, unsigned vectors, unsigned bar, uint32_t table_off, uint32_t pba_off,
                 Error **errp)
{
    assert_control();
    if (vectors == 0 || vectors > 2048) {
        return error_set(errp, "MSI-X has 1 to 2048 vectors, not %u", vectors);
    }
    unsigned at = pci_capability(p, PCI_CAP_ID_MSIX, NULL, PCI_CAP_MSIX_SIZEOF, NULL);
    if (at == 0) {
        return error_set(errp, "no room for the MSI-X capability");
    }
    struct PciMsix *x = g_new0(struct PciMsix, 1);
    x->vectors = vectors;
    x->bar = bar;
    x->table = g_malloc0(vectors * ENTRY);
    x->pending = g_malloc0(pba_bytes(vectors));
    lock_init(&x->lock, RANK_IRQ, "msix");
    p->msix = x;
    p->cap_msix = (uint8_t)at;
    st16(p->config + at + PCI_MSIX_FLAGS, (uint16_t)(vectors - 1));
    st16(p->wmask + at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    st32(p->config + at + PCI_MSIX_TABLE, table_off | bar);
    st32(p->config + at + PCI_MSIX_PBA, pba_off | bar);
    region_io(&x->table_region, &p->dev, "msix-table", &table_ops, vectors * ENTRY);
    region_io(&x->pba_region, &p->dev, "msix-pba", &pba_ops, pba_bytes(vectors));
    pci_msix_reset(p);
    return true;
}

bool pci_msix_in(PciDevice *p, unsigned vectors, unsigned bar, Region *box, uint32_t table_off,
                 uint32_t pba_off, Error **errp)
{
    if (!make(p, vectors, bar, table_off, pba_off, errp)) {
        return false;
    }
    map_put_one(box, &p->msix->table_region, table_off, 1);
    map_put_one(box, &p->msix->pba_region, pba_off, 1);
    return true;
}

bool pci_msix(PciDevice *p, unsigned vectors, unsigned bar, Error **errp)
{
    uint64_t size = 4096;

    while (size / 2 < vectors * ENTRY) {
        size *= 2;
    }
    if (!make(p, vectors, bar, 0, (uint32_t)(size / 2), errp)) {
        return false;
    }
    struct PciMsix *x = p->msix;
    x->own_box = true;
    region_box(&x->box, &p->dev, "msix", size);
    map_put_one(&x->box, &x->table_region, 0, 1);
    map_put_one(&x->box, &x->pba_region, size / 2, 1);
    pci_bar(p, bar, BAR_MEM32, &x->box);
    return true;
}

void pci_msix_reset(PciDevice *p)
{
    struct PciMsix *x = p->msix;

    if (!x) {
        return;
    }
    lock_take(&x->lock);
    memset(x->table, 0, x->vectors * ENTRY);
    for (unsigned v = 0; v < x->vectors; v++) {
        x->table[v * ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
    }
    memset(x->pending, 0, pba_bytes(x->vectors));
    __atomic_store_n(&x->enabled, false, __ATOMIC_RELAXED);
    x->function_mask = false;
    lock_drop(&x->lock);
}

void pci_msix_settle(PciDevice *p)
{
    if (p->msix) {
        take_flags(p);
        all_changed(p);
    }
}

void pci_msix_free(PciDevice *p)
{
    struct PciMsix *x = p->msix;

    if (!x) {
        return;
    }
    for (unsigned v = 0; x->attached && v < x->vectors; v++) {
        if (x->attached[v].route >= 0) {
            msi_detach(&x->attached[v].route, x->attached[v].n);
        }
    }
    map_drop_one(&x->table_region);
    map_drop_one(&x->pba_region);
    region_free(&x->table_region);
    region_free(&x->pba_region);
    if (x->own_box) {
        p->bars[x->bar].region = NULL;
        region_free(&x->box);
    }
    lock_destroy(&x->lock);
    g_free(x->attached);
    g_free(x->table);
    g_free(x->pending);
    g_free(x);
    p->msix = NULL;
    p->cap_msix = 0;
}

/* --- state: the table, then the pending bits --- */

void pci_msix_save(PciDevice *p, GByteArray *out)
{
    struct PciMsix *x = p->msix;

    if (x) {
        take_masked_signals(p);
        lock_take(&x->lock);
        g_byte_array_append(out, x->table, x->vectors * ENTRY);
        g_byte_array_append(out, (const uint8_t *)x->pending, pba_bytes(x->vectors));
        lock_drop(&x->lock);
    }
}

bool pci_msix_load(PciDevice *p, const GByteArray *in, Error **errp)
{
    struct PciMsix *x = p->msix;
    unsigned table = x ? x->vectors * ENTRY : 0, pba = x ? pba_bytes(x->vectors) : 0;
    unsigned len = in ? in->len : 0;

    if (len != table + pba) {
        return error_set(errp, "MSI-X state of %u bytes, not %u", len, table + pba);
    }
    if (x) {
        lock_take(&x->lock);
        memcpy(x->table, in->data, table);
        memcpy(x->pending, in->data + table, pba);
        if (x->vectors % 64) {
            x->pending[pba / 8 - 1] &= UINT64_MAX >> (64 - x->vectors % 64);
        }
        for (unsigned v = 0; v < x->vectors; v++) {
            st32(x->table + v * ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL,
                 x->table[v * ENTRY + PCI_MSIX_ENTRY_VECTOR_CTRL] & PCI_MSIX_ENTRY_CTRL_MASKBIT);
        }
        lock_drop(&x->lock);
    }
    return true;
}
