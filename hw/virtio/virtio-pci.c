/* virtio-pci.c: virtio over PCI, modern and transitional (Virtio 1.2, section 4.1), for every device
 * of the catalogue.
 *
 *   BAR0  legacy registers (I/O), transitional devices only
 *   BAR1  MSI-X
 *   BAR4  0x0000 common  0x1000 ISR  0x2000 device  0x3000 notify (4 bytes, or a page, a queue)
 *
 * 1. Registers are accessed under the function's domain, which the device shares.  The worker raises
 *    interrupts without it: vectors are atomic, the ISR byte and the INTx line follow by merge.h.
 * 2. Kicks arrive by doorbells, which are part of the notify regions; a write that no doorbell caught
 *    (ioeventfd=off) signals the same notifier. */
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include "hw/pci/merge.h"
#include "hw/pci/pci.h"
#include "hw/virtio/virtio-int.h"

#define LEGACY_VENDOR_ID 0x1af4
enum { BAR_LEGACY = 0, BAR_MSIX = 1, BAR_MODERN = 4 };
enum { AREA_COMMON = 0, AREA_ISR = 0x1000, AREA_DEVICE = 0x2000, AREA_NOTIFY = 0x3000 };
#define AREA_SIZE 0x1000
#define AUTO_VECTORS UINT32_MAX
#define VECTORS_MAX 2048

typedef struct VirtioPci {
    PciDevice p;
    Bus *bus;
    Region modern, legacy;
    unsigned notify_mult;
    bool transitional;         /* has legacy registers */
    bool has_modern;
    unsigned cap_cfg;          /* offset of VIRTIO_PCI_CAP_PCI_CFG */
    bool bells;
    /* state */
    uint32_t device_select, driver_select;
    uint16_t queue_select;
    uint32_t isr;              /* atomic */
    unsigned isr_busy;
    /* properties */
    int32_t disable_legacy;
    bool disable_modern, ioeventfd, ats, aer, page_per_vq, pio_notify, bug_migration, migrate_extra;
    bool x_disable_pcie, x_ats_aligned, x_deverr, x_flr, x_lnkctl, x_pm;
    uint32_t vectors, class_code;
    unsigned vector_count;     /* what @vectors came to */
} VirtioPci;

static VirtioDevice *inner(VirtioPci *s)
{
    return virtio_inner(&s->p.dev);
}

static VirtioPci *proxy_of(const VirtioDevice *v)
{
    return (VirtioPci *)v->proxy;
}

/* --- interrupts --- */

static void isr_update(VirtioPci *s)
{
    if (!merge_begin(&s->isr_busy)) {
        return;
    }
    unsigned seen;
    do {
        seen = merge_seen(&s->isr_busy);
        irq_set(&s->p.intx, merge_load(&s->isr) != 0);
    } while (!merge_end(&s->isr_busy, seen));
}

static void isr_raise(VirtioPci *s, uint32_t bit)
{
    merge_bit(&s->isr, bit, true);
    isr_update(s);
}

static void queue_irq(VirtioDevice *v, VirtQueue *q)
{
    VirtioPci *s = proxy_of(v);

    if (pci_msix_enabled(&s->p)) {
        /* A vector of 0xffff is out of range: nothing is sent. */
        pci_msix_fire(&s->p, __atomic_load_n(&q->vector, __ATOMIC_RELAXED));
    } else {
        isr_raise(s, 1);
    }
}

static void config_irq(VirtioDevice *v)
{
    VirtioPci *s = proxy_of(v);

    if (pci_msix_enabled(&s->p)) {
        pci_msix_fire(&s->p, __atomic_load_n(&v->config_vector, __ATOMIC_RELAXED));
    } else {
        isr_raise(s, 3);
    }
}

static void bell(VirtioPci *s, VirtQueue *q, bool on)
{
    uint64_t match = q->index, off = AREA_NOTIFY + q->index * s->notify_mult;
    bool modern = s->has_modern && (!s->transitional || virtio_has(q->v, VIRTIO_F_VERSION_1));

    if (on && modern) {
        /* Any size: the cheapest exit there is. */
        region_doorbell(&s->modern, off, 0, NULL, &q->kick);
    } else if (on) {
        region_doorbell(&s->legacy, VIRTIO_PCI_QUEUE_NOTIFY, 2, &match, &q->kick);
    } else {
        if (s->has_modern) {
            region_doorbell_drop(&s->modern, off, &q->kick);
        }
        if (s->transitional) {
            region_doorbell_drop(&s->legacy, VIRTIO_PCI_QUEUE_NOTIFY, &q->kick);
        }
    }
}

static void bells(VirtioDevice *v, bool on)
{
    VirtioPci *s = proxy_of(v);

    if (!s->ioeventfd || (!on && !s->bells)) {
        return;
    }
    map_begin();
    for (unsigned i = 0; i < v->queue_count; i++) {
        VirtQueue *q = &v->queues[i];
        if (q->kick.fd >= 0 && s->bells) {
            bell(s, q, false);
        }
        if (q->kick.fd >= 0 && on && q->handed) {
            bell(s, q, true);
        }
    }
    map_commit();
    s->bells = on;
}

static void driver_reset(VirtioDevice *v)
{
    VirtioPci *s = proxy_of(v);

    s->device_select = s->driver_select = 0;
    s->queue_select = 0;
    merge_store(&s->isr, 0u);
    isr_update(s);
}

static const VirtioTransport transport = {
    .queue_irq = queue_irq, .config_irq = config_irq, .reset = driver_reset, .doorbells = bells,
};

static uint16_t check_vector(VirtioPci *s, uint16_t vector)
{
    return vector < s->vector_count ? vector : VIRTIO_NO_VECTOR;
}

/* --- the common configuration structure (4.1.4.3) --- */

static VirtQueue *selected(VirtioPci *s)
{
    VirtioDevice *v = inner(s);

    return s->queue_select < v->queue_count ? &v->queues[s->queue_select] : NULL;
}

static uint32_t queue_read(VirtioPci *s, unsigned off)
{
    const VirtQueue *q = selected(s);

    if (!q) {
        return 0;
    }
    switch (off) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        return q->size;
    case VIRTIO_PCI_COMMON_Q_MSIX:
        return q->vector;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        return q->enabled;
    case VIRTIO_PCI_COMMON_Q_NOFF:
    case VIRTIO_PCI_COMMON_Q_NDATA:
        return q->index;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
        return (uint32_t)q->desc;
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        return q->desc >> 32;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
        return (uint32_t)q->driver;
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        return q->driver >> 32;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
        return (uint32_t)q->device;
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        return q->device >> 32;
    case VIRTIO_PCI_COMMON_Q_RESET:
        return q->resetting;
    default:
        return 0;
    }
}

static uint32_t common_read(VirtioPci *s, unsigned off)
{
    VirtioDevice *v = inner(s);

    switch (off) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        return s->device_select;
    case VIRTIO_PCI_COMMON_DF:
        return s->device_select < 2 ? (uint32_t)(virtio_offered(v, false) >> 32 * s->device_select) : 0;
    case VIRTIO_PCI_COMMON_GFSELECT:
        return s->driver_select;
    case VIRTIO_PCI_COMMON_GF:
        return s->driver_select < 2 ? (uint32_t)(v->acked >> 32 * s->driver_select) : 0;
    case VIRTIO_PCI_COMMON_MSIX:
        return v->config_vector;
    case VIRTIO_PCI_COMMON_NUMQ:
        return v->queue_count;
    case VIRTIO_PCI_COMMON_STATUS:
        return virtio_status(v);
    case VIRTIO_PCI_COMMON_CFGGENERATION:
        return v->generation;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        return s->queue_select;
    default:
        return queue_read(s, off);
    }
}

static void set_half(uint64_t *at, bool high, uint32_t val)
{
    *at = high ? (*at & UINT32_MAX) | (uint64_t)val << 32 : (*at & ~(uint64_t)UINT32_MAX) | val;
}

static void queue_write(VirtioPci *s, unsigned off, uint32_t val)
{
    VirtQueue *q = selected(s);
    bool high = off & 4;

    if (!q || q->v->stopping) {
        return;
    }
    if (off == VIRTIO_PCI_COMMON_Q_MSIX) {
        __atomic_store_n(&q->vector, check_vector(s, (uint16_t)val), __ATOMIC_RELAXED);
        return;
    }
    if (off == VIRTIO_PCI_COMMON_Q_RESET) {
        if (val == 1) {
            virtio_queue_reset(q);
        }
        return;
    }
    /* The rest is fixed while the queue is enabled (4.1.4.3.2). */
    if (q->enabled || q->resetting) {
        return;
    }
    switch (off) {
    case VIRTIO_PCI_COMMON_Q_SIZE:
        if (val <= q->size_max) {
            q->size = (uint16_t)val;
        }
        break;
    case VIRTIO_PCI_COMMON_Q_ENABLE:
        if (val == 1) {
            virtio_queue_enable(q);
        }
        break;
    case VIRTIO_PCI_COMMON_Q_DESCLO:
    case VIRTIO_PCI_COMMON_Q_DESCHI:
        set_half(&q->desc, high, val);
        break;
    case VIRTIO_PCI_COMMON_Q_AVAILLO:
    case VIRTIO_PCI_COMMON_Q_AVAILHI:
        set_half(&q->driver, high, val);
        break;
    case VIRTIO_PCI_COMMON_Q_USEDLO:
    case VIRTIO_PCI_COMMON_Q_USEDHI:
        set_half(&q->device, high, val);
        break;
    default:
        break;
    }
}

static void status_write(VirtioPci *s, uint8_t val, bool legacy)
{
    VirtioDevice *v = inner(s);

    virtio_set_status(v, val, legacy);
    if ((val & VIRTIO_CONFIG_S_DRIVER_OK) && legacy && !s->p.dev.dma_on) {
        /* Drivers before Linux 2.6.34 never enable bus mastering. */
        uint16_t cmd = ld16(s->p.config + PCI_COMMAND);
        pci_function_write(&s->p, PCI_COMMAND, cmd | PCI_COMMAND_MASTER, 2);
    }
}

static void common_write(VirtioPci *s, unsigned off, uint32_t val)
{
    VirtioDevice *v = inner(s);

    switch (off) {
    case VIRTIO_PCI_COMMON_DFSELECT:
        s->device_select = val;
        break;
    case VIRTIO_PCI_COMMON_GFSELECT:
        s->driver_select = val;
        break;
    case VIRTIO_PCI_COMMON_GF:
        if (s->driver_select < 2 && !(v->status & VIRTIO_CONFIG_S_FEATURES_OK) && !v->stopping) {
            set_half(&v->acked, s->driver_select, val);
        }
        break;
    case VIRTIO_PCI_COMMON_MSIX:
        __atomic_store_n(&v->config_vector, check_vector(s, (uint16_t)val), __ATOMIC_RELAXED);
        break;
    case VIRTIO_PCI_COMMON_STATUS:
        status_write(s, (uint8_t)val, false);
        break;
    case VIRTIO_PCI_COMMON_Q_SELECT:
        s->queue_select = (uint16_t)val;
        break;
    default:
        queue_write(s, off, val);
        break;
    }
}

/* --- BAR4 --- */

static uint32_t isr_take(VirtioPci *s)
{
    uint32_t isr = __atomic_exchange_n(&s->isr, 0, __ATOMIC_SEQ_CST);

    isr_update(s);
    return isr;
}

static uint64_t modern_read(void *dev, uint64_t off, unsigned size)
{
    VirtioPci *s = dev;

    if (off < AREA_ISR) {
        return off < VIRTIO_PCI_COMMON_Q_RESET + 2 ? common_read(s, (unsigned)off) & ones(size) : 0;
    }
    if (off < AREA_DEVICE) {
        return off == AREA_ISR ? isr_take(s) : 0;
    }
    if (off < AREA_NOTIFY) {
        uint8_t b[8];
        virtio_config_read(inner(s), (unsigned)off - AREA_DEVICE, b, size);
        return ld_n(b, size);
    }
    return 0;
}

static void modern_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    VirtioPci *s = dev;

    if (off < AREA_ISR) {
        common_write(s, (unsigned)off, (uint32_t)val);
    } else if (off >= AREA_NOTIFY) {
        unsigned n = (unsigned)((off - AREA_NOTIFY) / s->notify_mult);
        if (n < inner(s)->queue_count) {
            virtio_queue_kick(&inner(s)->queues[n]);
        }
    } else if (off >= AREA_DEVICE) {
        uint8_t b[8];
        st_n(b, size, val);
        virtio_config_write(inner(s), (unsigned)off - AREA_DEVICE, b, size);
    }
}

static const RegionOps modern_ops = { .read = modern_read, .write = modern_write, .min = 1, .max = 4 };

/* --- BAR0: legacy registers (4.1.4.8) --- */

static unsigned legacy_config_off(const VirtioPci *s)
{
    return pci_msix_enabled(&s->p) ? 24 : 20;
}

static uint64_t legacy_read(void *dev, uint64_t off, unsigned size)
{
    VirtioPci *s = dev;
    VirtioDevice *v = inner(s);
    const VirtQueue *q = selected(s);
    unsigned config = legacy_config_off(s);

    if (off >= config) {
        uint8_t b[8];
        virtio_config_read(v, (unsigned)off - config, b, size);
        return ld_n(b, size);
    }
    switch (off) {
    case VIRTIO_PCI_HOST_FEATURES:
        return virtio_offered(v, true);
    case VIRTIO_PCI_GUEST_FEATURES:
        return v->acked & UINT32_MAX;
    case VIRTIO_PCI_QUEUE_PFN:
        return q ? q->desc >> VIRTIO_PCI_QUEUE_ADDR_SHIFT : 0;
    case VIRTIO_PCI_QUEUE_NUM:
        return q ? q->size_max : 0;
    case VIRTIO_PCI_QUEUE_SEL:
        return s->queue_select;
    case VIRTIO_PCI_STATUS:
        return virtio_status(v);
    case VIRTIO_PCI_ISR:
        return isr_take(s);
    case VIRTIO_MSI_CONFIG_VECTOR:
        return v->config_vector;
    case VIRTIO_MSI_QUEUE_VECTOR:
        return q ? q->vector : VIRTIO_NO_VECTOR;
    default:
        return ones(size);
    }
}

/* The three areas of a legacy queue are one piece (2.7.2). */
static void legacy_pfn(VirtioPci *s, uint32_t pfn)
{
    VirtQueue *q = selected(s);

    if (!q) {
        return;
    }
    if (pfn == 0) {
        /* Drivers take a queue down this way before, or instead of, a reset of the device. */
        if (inner(s)->started) {
            status_write(s, 0, true);
        }
        q->desc = 0;
        q->enabled = false;
        return;
    }
    if (q->enabled) {
        return;
    }
    q->size = q->size_max;
    q->desc = (uint64_t)pfn << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
    q->driver = q->desc + 16u * q->size;
    q->device = ALIGN_UP(q->driver + 4 + 2u * q->size + 2, VIRTIO_PCI_VRING_ALIGN);
    virtio_queue_enable(q);
}

static void legacy_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    VirtioPci *s = dev;
    VirtioDevice *v = inner(s);
    VirtQueue *q = selected(s);
    unsigned config = legacy_config_off(s);

    if (off >= config) {
        uint8_t b[8];
        st_n(b, size, val);
        virtio_config_write(v, (unsigned)off - config, b, size);
        return;
    }
    switch (off) {
    case VIRTIO_PCI_GUEST_FEATURES:
        if (!v->started && !v->stopping) {
            v->acked = (uint32_t)val & virtio_offered(v, true);
        }
        break;
    case VIRTIO_PCI_QUEUE_PFN:
        legacy_pfn(s, (uint32_t)val);
        break;
    case VIRTIO_PCI_QUEUE_SEL:
        s->queue_select = (uint16_t)val;
        break;
    case VIRTIO_PCI_QUEUE_NOTIFY:
        if (val < v->queue_count) {
            virtio_queue_kick(&v->queues[val]);
        }
        break;
    case VIRTIO_PCI_STATUS:
        status_write(s, (uint8_t)val, true);
        break;
    case VIRTIO_MSI_CONFIG_VECTOR:
        __atomic_store_n(&v->config_vector, check_vector(s, (uint16_t)val), __ATOMIC_RELAXED);
        break;
    case VIRTIO_MSI_QUEUE_VECTOR:
        if (q) {
            __atomic_store_n(&q->vector, check_vector(s, (uint16_t)val), __ATOMIC_RELAXED);
        }
        break;
    default:
        break;
    }
}

static const RegionOps legacy_ops = { .read = legacy_read, .write = legacy_write, .min = 1, .max = 4 };

/* --- VIRTIO_PCI_CAP_PCI_CFG: the registers through config space (4.1.4.9) --- */

static bool cfg_window(VirtioPci *s, uint32_t *off, uint32_t *len)
{
    const uint8_t *c = s->p.config + s->cap_cfg;

    *off = ld32(c + 8);
    *len = ld32(c + 12);
    return c[4] == BAR_MODERN && (*len == 1 || *len == 2 || *len == 4) && *off % *len == 0 &&
           fits(*off, *len, s->modern.size);
}

static void vp_config_reading(PciDevice *p, unsigned off, unsigned size)
{
    VirtioPci *s = (VirtioPci *)p;
    uint32_t at, len;

    if (s->cap_cfg && off + size > s->cap_cfg + 16 && off < s->cap_cfg + 20 && cfg_window(s, &at, &len)) {
        st_n(p->config + s->cap_cfg + 16, len, modern_read(s, at, len));
    }
}

static void vp_config_wrote(PciDevice *p, unsigned off, unsigned size)
{
    VirtioPci *s = (VirtioPci *)p;
    uint32_t at, len;

    if (s->cap_cfg && off + size > s->cap_cfg + 16 && off < s->cap_cfg + 20 && cfg_window(s, &at, &len)) {
        modern_write(s, at, ld_n(p->config + s->cap_cfg + 16, len), len);
    }
}

static unsigned add_cap(VirtioPci *s, uint8_t type, uint32_t off, uint32_t len, uint32_t extra,
                        unsigned size)
{
    uint8_t b[18] = { 0 }, w[18] = { 0 };

    b[0] = (uint8_t)size;
    b[1] = type;
    b[2] = BAR_MODERN;
    st32(b + 6, off);
    st32(b + 10, len);
    st32(b + 14, extra);
    if (type == VIRTIO_PCI_CAP_PCI_CFG) {
        b[2] = 0;
        w[2] = 0xff;
        memset(w + 6, 0xff, 12);
    }
    return pci_capability(&s->p, PCI_CAP_ID_VNDR, b, size, w);
}

/* --- life --- */

static bool make_modern(VirtioPci *s, Error **errp)
{
    VirtioDevice *v = inner(s);
    uint32_t notify_len = s->page_per_vq ? 4096 * v->queue_count : AREA_SIZE;
    uint64_t size = AREA_NOTIFY + notify_len, pow2 = 0x4000;

    s->notify_mult = s->page_per_vq ? 4096 : 4;
    while (pow2 < size) {
        pow2 *= 2;
    }
    region_io(&s->modern, &s->p.dev, "virtio-pci", &modern_ops, pow2);
    pci_bar(&s->p, BAR_MODERN, BAR_MEM64_PREF, &s->modern);
    uint32_t config = ALIGN_UP(virtio_ops(v)->config_size, 4);
    add_cap(s, VIRTIO_PCI_CAP_COMMON_CFG, AREA_COMMON, AREA_SIZE, 0, 16);
    add_cap(s, VIRTIO_PCI_CAP_ISR_CFG, AREA_ISR, AREA_SIZE, 0, 16);
    if (config) {
        add_cap(s, VIRTIO_PCI_CAP_DEVICE_CFG, AREA_DEVICE, AREA_SIZE, 0, 16);
    }
    add_cap(s, VIRTIO_PCI_CAP_NOTIFY_CFG, AREA_NOTIFY, notify_len, s->notify_mult, 20);
    s->cap_cfg = add_cap(s, VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 0, 20);
    if (!s->cap_cfg) {
        return error_set(errp, "no room for the virtio capabilities");
    }
    memset(s->p.live + s->cap_cfg + 16, 0xff, 4);
    return true;
}

static void make_legacy(VirtioPci *s)
{
    uint64_t size = 32, want = 24 + ALIGN_UP(virtio_ops(inner(s))->config_size, 4);

    while (size < want) {
        size *= 2;
    }
    region_io(&s->legacy, &s->p.dev, "virtio-pci-legacy", &legacy_ops, size);
    pci_bar(&s->p, BAR_LEGACY, BAR_IO, &s->legacy);
}

/* Which of both interfaces: disable-legacy=auto means on below an Express port, off elsewhere. */
static bool choose(VirtioPci *s, Error **errp)
{
    uint16_t legacy_id = virtio_ops(inner(s))->legacy_id;

    s->has_modern = !s->disable_modern;
    s->transitional = s->disable_legacy == ONOFF_OFF ||
                      (s->disable_legacy == ONOFF_AUTO && !s->p.express && legacy_id);
    if (s->transitional && !legacy_id) {
        return error_set(errp, "device is modern-only, use disable-legacy=on");
    }
    if (!s->transitional && !s->has_modern) {
        return error_set(errp, "device cannot work as neither modern nor legacy mode is enabled");
    }
    return true;
}

static void identify(VirtioPci *s)
{
    const VirtioOps *o = virtio_ops(inner(s));
    uint8_t *c = s->p.config;

    st16(c + PCI_VENDOR_ID, LEGACY_VENDOR_ID);
    st16(c + PCI_SUBSYSTEM_VENDOR_ID, LEGACY_VENDOR_ID);
    if (s->transitional) {
        st16(c + PCI_DEVICE_ID, o->legacy_id);
        st16(c + PCI_SUBSYSTEM_ID, o->id);
        c[PCI_REVISION_ID] = 0;
    } else {
        st16(c + PCI_DEVICE_ID, (uint16_t)(0x1040 + o->id));
        st16(c + PCI_SUBSYSTEM_ID, PCI_SUBSYSTEM);
        c[PCI_REVISION_ID] = 1;
    }
    uint32_t class_code = s->class_code ? s->class_code << 8 : o->class_code;
    c[PCI_CLASS_PROG] = class_code & 0xff;
    st16(c + PCI_CLASS_DEVICE, (uint16_t)(class_code >> 8));
}

static void make_express(VirtioPci *s)
{
    if (!s->p.express) {
        return;
    }
    pci_express(&s->p, PCI_EXP_TYPE_ENDPOINT);
    pci_pm(&s->p);
    if (s->aer) {
        pci_aer(&s->p);
    }
    if (s->ats) {
        unsigned at = pci_ext_capability(&s->p, PCI_EXT_CAP_ID_ATS, 1, 8);
        if (at) {
            st16(s->p.config + at + PCI_ATS_CAP, PCI_ATS_CAP_PAGE_ALIGNED);
            st16(s->p.wmask + at + PCI_ATS_CTRL, 0x801f);
        }
    }
}

static void vp_undo(VirtioPci *s)
{
    if (s->modern.name) {
        map_drop_one(&s->modern);
        region_free(&s->modern);
    }
    if (s->legacy.name) {
        map_drop_one(&s->legacy);
        region_free(&s->legacy);
    }
    s->modern.name = s->legacy.name = NULL;
    s->bus->priv = NULL;
}

static bool vp_realize(Device *d, Error **errp)
{
    VirtioPci *s = (VirtioPci *)d;

    s->bus = bus_new(&virtio_slot, d, "virtio-bus");
    s->bus->type_name = "virtio-pci-bus";
    s->bus->capacity = 1;
    s->bus->priv = (void *)&transport;
    if (!device_realize(d->inner, errp)) {
        return false;
    }
    if (!choose(s, errp)) {
        return false;
    }
    identify(s);
    unsigned wish = virtio_ops(inner(s))->vectors;
    wish = wish ? wish : inner(s)->queue_count + 1;
    s->vector_count = s->vectors == AUTO_VECTORS ? wish : s->vectors;
    s->vector_count = MIN(s->vector_count, VECTORS_MAX);
    if (s->has_modern && !make_modern(s, errp)) {
        vp_undo(s);
        return false;
    }
    if (s->transitional) {
        make_legacy(s);
    }
    make_express(s);
    if (s->vector_count && !pci_msix(&s->p, s->vector_count, BAR_MSIX, errp)) {
        vp_undo(s);
        return false;
    }
    return true;
}

static void vp_unrealize(Device *d)
{
    vp_undo((VirtioPci *)d);
}

static void vp_reset(Device *d, ResetKind kind)
{
    VirtioPci *s = (VirtioPci *)d;

    s->device_select = s->driver_select = 0;
    s->queue_select = 0;
    merge_store(&s->isr, 0u);
}

static void vp_settle(Device *d)
{
    VirtioPci *s = (VirtioPci *)d;
    VirtioDevice *v = inner(s);

    isr_update(s);
    if (!(v->status & VIRTIO_CONFIG_S_DRIVER_OK)) {
        bells(v, false);
    }
}

static bool vp_check(void *obj, Error **errp)
{
    VirtioPci *s = obj;

    if (s->isr > 3) {
        return error_set(errp, "isr is 0x%x", s->isr);
    }
    return true;
}

static const StateField vp_fields[] = {
    STATE_U32(VirtioPci, device_select),
    STATE_U32(VirtioPci, driver_select),
    STATE_U16(VirtioPci, queue_select),
    STATE_U32(VirtioPci, isr),
    { 0 },
};

static const StateDesc vp_state = {
    .name = "virtio-pci", .version = 1, .fields = vp_fields, .check = vp_check,
};

/* The ids are set in realize, from the inner device. */
static const PciOps vp_ops = {
    .vendor = LEGACY_VENDOR_ID, .device = 0x1040, .subsys_vendor = LEGACY_VENDOR_ID, .pin = 1,
    .express = PCI_EXPRESS_BELOW_PORT, .config_wrote = vp_config_wrote,
    .config_reading = vp_config_reading,
};

#define VP_COMMON_PROPS \
    PROP_U32(VirtioPci, vectors, "vectors", AUTO_VECTORS, 0, UINT32_MAX, \
             "MSI-X vectors; 0: none; default: one a queue and one more"), \
    PROP_U32(VirtioPci, class_code, "class", 0, 0, 0xffff, "class and subclass; 0: the device's own"), \
    PROP_BOOL(VirtioPci, ioeventfd, "ioeventfd", true, "let the kernel pass kicks on"), \
    PROP_BOOL(VirtioPci, ats, "ats", false, "have an Address Translation Service capability"), \
    PROP_BOOL(VirtioPci, aer, "aer", false, "have an Advanced Error Reporting capability"), \
    PROP_BOOL(VirtioPci, page_per_vq, "page-per-vq", false, "a page of notify registers a queue"), \
    PROP_BOOL(VirtioPci, pio_notify, "modern-pio-notify", false, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, bug_migration, "virtio-pci-bus-master-bug-migration", false, \
              "kept for configuration files"), \
    PROP_BOOL(VirtioPci, migrate_extra, "migrate-extra", true, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_disable_pcie, "x-disable-pcie", false, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_ats_aligned, "x-ats-page-aligned", true, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_deverr, "x-pcie-deverr-init", true, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_flr, "x-pcie-flr-init", true, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_lnkctl, "x-pcie-lnkctl-init", true, "kept for configuration files"), \
    PROP_BOOL(VirtioPci, x_pm, "x-pcie-pm-init", true, "kept for configuration files")

static const PropDesc vp_props[] = {
    PROP_ENUM(VirtioPci, disable_legacy, "disable-legacy", prop_onoffauto, ONOFF_AUTO,
              "no legacy registers; auto: below Express ports"),
    PROP_BOOL(VirtioPci, disable_modern, "disable-modern", false, "legacy registers only"),
    VP_COMMON_PROPS,
    { 0 },
};

/* The two fixed forms differ from the above in two defaults that nobody can set. */
static const PropDesc vp_transitional_props[] = {
    { .name = "disable-legacy", .help = "off", .kind = PROP_KIND_ENUM, .flags = PROP_COMPAT,
      .at = field_at(VirtioPci, disable_legacy, int32_t), .def = ONOFF_OFF, .names = prop_onoffauto },
    VP_COMMON_PROPS,
    { 0 },
};

static const PropDesc vp_modern_props[] = {
    { .name = "disable-legacy", .help = "on", .kind = PROP_KIND_ENUM, .flags = PROP_COMPAT,
      .at = field_at(VirtioPci, disable_legacy, int32_t), .def = ONOFF_ON, .names = prop_onoffauto },
    VP_COMMON_PROPS,
    { 0 },
};

#define FORM(symbol, type_name, other_name, props_table, inner_type) \
    extern const DeviceType symbol; \
    const DeviceType symbol = { \
        .name = type_name, .alias = other_name, .summary = "virtio over PCI", .slot = &pci_slot, \
        .size = sizeof(VirtioPci), .flags = DEV_HOTPLUG | DEV_OWN_DOMAIN, .props = props_table, \
        .state = &vp_state, \
        .slot_ops = &vp_ops, .inner = &inner_type, .realize = vp_realize, .unrealize = vp_unrealize, \
        .reset = vp_reset, .settle = vp_settle, \
    };

#define DEVICE(symbol, name)
#define VIRTIO(symbol, name) \
    extern const DeviceType symbol; \
    FORM(symbol##_pci, name "-pci", name, vp_props, symbol) \
    FORM(symbol##_pci_transitional, name "-pci-transitional", NULL, vp_transitional_props, symbol) \
    FORM(symbol##_pci_modern, name "-pci-non-transitional", NULL, vp_modern_props, symbol)
#define VIRTIO_MODERN(symbol, name) \
    extern const DeviceType symbol; \
    FORM(symbol##_pci, name "-pci", name, vp_props, symbol)
#include "hw/devices.def"
#undef DEVICE
#undef VIRTIO
#undef VIRTIO_MODERN
