/* nvme.c: an NVMe controller (NVM Express 1.4): registers, enabling and resetting, its properties and state.
 *
 *   disabled --CC.EN--> ready --CC.EN cleared--> stopping (CSTS.RDY stays) --nothing in flight--> disabled
 *                         \--CC.SHN--> flushing (CSTS.SHST 1) --> shut down (2)
 *
 * 1. Registers are accessed under the domain.  See nvme.h for who owns the rest.
 * 2. A reset lets what is in flight finish, and nothing is fetched meanwhile.
 * 3. While quiesced no command is in flight: registers, queues, events and parked commands are the state. */
#include "hw/storage/nvme.h"

#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdio.h>

#define VECTORS_MAX 2048u
#define QUEUES_MAX 65535u

static void nvme_disabled(Nvme *n);

void nvme_fail(Nvme *n, const char *fmt, ...)
{
    char text[120];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    guest_bug("nvme", "%s", text);
    __atomic_store_n(&n->failed, true, __ATOMIC_SEQ_CST);
}

/* --- enabling --- */

static bool may_enable(const Nvme *n)
{
    uint64_t mask = (UINT64_C(4096) << NVME_CC_MPS(n->cc)) - 1;
    unsigned css = NVME_CC_CSS(n->cc);

    return NVME_CC_MPS(n->cc) <= NVME_MPS_MAX && NVME_CC_AMS(n->cc) == 0 &&
           (css == 0 || css >= 6) && n->asq && n->acq && !(n->asq & mask) && !(n->acq & mask) &&
           (n->aqa & 0xfff) && (n->aqa >> 16 & 0xfff);
}

static void enable(Nvme *n)
{
    if (!may_enable(n)) {
        nvme_fail(n, "CC 0x%x, AQA 0x%x, ASQ 0x%" PRIx64 ", ACQ 0x%" PRIx64 " cannot be", n->cc, n->aqa,
                  n->asq, n->acq);
        return;
    }
    TRACE(nvme_enable, "%s cc=0x%x", n->p.dev.id, n->cc);
    n->page = UINT64_C(4096) << NVME_CC_MPS(n->cc);
    n->admin_only = NVME_CC_CSS(n->cc) == NVME_CC_CSS_ADMIN;
    nvme_admin_queue(n);
    n->csts |= NVME_CSTS_RDY;
    nvme_hand_over(n);
}

/* --- stopping --- */

static void leave_admin_home(Nvme *n)
{
    Barrier *home = n->admin_home;

    if (n->admin_inflight == 0 && home) {
        n->admin_home = NULL;
        barrier_leave(home);
    }
}

void nvme_admin_leave(Nvme *n)
{
    assert_domain(n->p.dev.domain);
    n->admin_inflight--;
    if (n->admin_inflight == 0 && n->shutting_down) {
        n->shutting_down = false;
        n->csts = (n->csts & ~(uint32_t)NVME_CSTS_SHST) | NVME_SHST_DONE;
    }
    leave_admin_home(n);
}

/* @home is left when nothing of the controller is in flight. */
static void all_home(Nvme *n, Barrier *home)
{
    nvme_ask_back(n, home);
    if (n->admin_inflight) {
        barrier_enter(home);
        n->admin_home = home;
    }
}

/* On the device loop: the controller was disabled, and nothing is in flight any more. */
static void stop_opened(Post *post)
{
    Nvme *n = container_of(post, Nvme, stop_done);

    domain_enter(n->p.dev.domain);
    n->stopping = false;
    nvme_disabled(n);
    if (n->cc & NVME_CC_EN) {
        enable(n);                             /* it did not wait for CSTS.RDY */
    }
    Barrier *home = n->quiet_home;
    if (home) {
        n->quiet_home = NULL;
        barrier_leave(home);
    }
    domain_leave(n->p.dev.domain);
}

static void disable(Nvme *n)
{
    if (n->stopping) {
        return;
    }
    TRACE(nvme_disable, "%s", n->p.dev.id);
    n->stopping = true;
    barrier_init(&n->stop_home, n->p.dev.loop, &n->stop_done);
    all_home(n, &n->stop_home);
    barrier_leave(&n->stop_home);
}

/* What a controller reset does (section 7.3.2): ASQ, ACQ and AQA stay. */
static void nvme_disabled(Nvme *n)
{
    nvme_set_dbbuf(n, 0, 0);
    nvme_queues_reset(n);
    nvme_features_reset(n);
    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (n->ns[i]) {
            n->ns[i]->formatting = false;
        }
    }
    n->csts = 0;
    n->shutting_down = n->format_active = false;
    __atomic_store_n(&n->failed, false, __ATOMIC_SEQ_CST);
    nvme_update_intx(n);
}

static void shut_down(Nvme *n)
{
    if (n->shutting_down || (n->csts & NVME_CSTS_SHST)) {
        return;
    }
    n->csts |= NVME_SHST_BUSY;
    n->shutting_down = true;
    n->admin_inflight++;
    nvme_flush_all(n);
    nvme_admin_leave(n);
}

static void write_cc(Nvme *n, uint32_t val)
{
    uint32_t old = n->cc;

    n->cc = val & NVME_CC_MASK;
    if ((n->cc & NVME_CC_EN) && !(old & NVME_CC_EN)) {
        if (!n->stopping) {
            enable(n);
        }
    } else if (!(n->cc & NVME_CC_EN) && (old & NVME_CC_EN)) {
        disable(n);
    }
    if (NVME_CC_SHN(n->cc) && !NVME_CC_SHN(old)) {
        shut_down(n);
    } else if (!NVME_CC_SHN(n->cc) && !n->shutting_down) {
        n->csts &= ~(uint32_t)NVME_CSTS_SHST;
    }
}

/* --- registers (section 3.1) --- */

static uint64_t capabilities(void)
{
    return NVME_CAP_MQES | NVME_CAP_CQR | NVME_CAP_TO | NVME_CAP_CSS | NVME_CAP_MPSMAX;
}

static uint64_t regs_read(void *dev, uint64_t off, unsigned size)
{
    Nvme *n = dev;
    uint32_t val = 0;

    switch (off) {
    case NVME_CAP:
        val = (uint32_t)capabilities();
        break;
    case NVME_CAP + 4:
        val = capabilities() >> 32;
        break;
    case NVME_VS:
        val = NVME_VERSION;
        break;
    case NVME_INTMS:
    case NVME_INTMC:
        val = n->intms;
        break;
    case NVME_CC:
        val = n->cc;
        break;
    case NVME_CSTS:
        val = n->csts | (__atomic_load_n(&n->failed, __ATOMIC_SEQ_CST) ? NVME_CSTS_CFS : 0);
        break;
    case NVME_AQA:
        val = n->aqa;
        break;
    case NVME_ASQ:
        val = (uint32_t)n->asq;
        break;
    case NVME_ASQ + 4:
        val = n->asq >> 32;
        break;
    case NVME_ACQ:
        val = (uint32_t)n->acq;
        break;
    case NVME_ACQ + 4:
        val = n->acq >> 32;
        break;
    default:
        break;
    }
    TRACE(nvme_read, "off=0x%x value=0x%08x", (unsigned)off, val);
    return val;
}

static void half(uint64_t *at, bool high, uint32_t val)
{
    *at = high ? (*at & UINT32_MAX) | (uint64_t)val << 32 : (*at & ~(uint64_t)UINT32_MAX) | (val & ~0xfffu);
}

static void regs_write(void *dev, uint64_t off, uint64_t raw, unsigned size)
{
    Nvme *n = dev;
    uint32_t val = (uint32_t)raw;

    if (off >= NVME_DOORBELLS) {
        nvme_doorbell(n, off - NVME_DOORBELLS, val);
        return;
    }
    TRACE(nvme_write, "off=0x%x value=0x%08x", (unsigned)off, val);
    switch (off) {
    case NVME_INTMS:
    case NVME_INTMC:
        __atomic_store_n(&n->intms, off == NVME_INTMS ? n->intms | val : n->intms & ~val, __ATOMIC_SEQ_CST);
        nvme_update_intx(n);
        break;
    case NVME_CC:
        write_cc(n, val);
        break;
    case NVME_AQA:
        n->aqa = val & 0x0fff0fff;
        break;
    case NVME_ASQ:
    case NVME_ASQ + 4:
        half(&n->asq, off & 4, val);
        break;
    case NVME_ACQ:
    case NVME_ACQ + 4:
        half(&n->acq, off & 4, val);
        break;
    default:
        break;
    }
}

static const RegionOps regs_ops = { .read = regs_read, .write = regs_write, .min = 4, .max = 4 };

/* --- the admin queue's turn --- */

static void admin_posted(Post *post)
{
    Nvme *n = container_of(post, Nvme, admin_post);

    __atomic_store_n(&n->admin_posted, false, __ATOMIC_SEQ_CST);
    domain_enter(n->p.dev.domain);
    if (!n->quiet && !n->stopping && (n->csts & NVME_CSTS_RDY)) {
        nvme_admin_run(n);
    }
    domain_leave(n->p.dev.domain);
}

static void quiet_posted(Post *post)
{
    Nvme *n = container_of(post, Nvme, quiet_post);

    barrier_leave(n->quiet_leave);
}

/* --- life --- */

static bool refuse_absent(const Nvme *n, Error **errp)
{
    if (n->cmb_size_mb) {
        return error_set(errp, "cmb_size_mb is not supported: there is no controller memory buffer");
    }
    if (n->pmrdev) {
        return error_set(errp, "pmrdev is not supported: there is no persistent memory region");
    }
    if (n->subsys) {
        return error_set(errp, "subsys is not supported: a controller is a subsystem of its own");
    }
    if (n->sriov_max_vfs || n->sriov_vq_flexible || n->sriov_vi_flexible || n->sriov_max_vi ||
        n->sriov_max_vq) {
        return error_set(errp, "SR-IOV is not supported: sriov_* must be 0");
    }
    if (n->zasl) {
        return error_set(errp, "zoned.zasl is not supported: there are no zoned namespaces");
    }
    return true;
}

static bool check_props(Nvme *n, Error **errp)
{
    if (!n->serial) {
        return error_set(errp, "serial property not set");
    }
    if (n->num_queues) {
        warn_report("num_queues is deprecated; please use max_ioqpairs instead");
        n->max_ioqpairs = n->num_queues - 1;
    }
    if (n->max_ioqpairs < 1 || n->max_ioqpairs > QUEUES_MAX) {
        return error_set(errp, "max_ioqpairs must be between 1 and %u", QUEUES_MAX);
    }
    if (n->msix_qsize < 1 || n->msix_qsize > VECTORS_MAX) {
        return error_set(errp, "msix_qsize must be between 1 and %u", VECTORS_MAX);
    }
    if (n->smart_critical_warning & 0xe0) {
        return error_set(errp, "unsupported smart critical warning bits: 0x%x",
                         n->smart_critical_warning & 0xe0);
    }
    if (n->aer_max_queued > G_N_ELEMENTS(n->events)) {
        return error_set(errp, "aer_max_queued must be at most %zu", G_N_ELEMENTS(n->events));
    }
    return refuse_absent(n, errp);
}

/* BAR0: registers and doorbells, then the MSI-X table and its pending bits. */
static bool make_bar(Nvme *n, Error **errp)
{
    Device *d = &n->p.dev;
    uint64_t table = ALIGN_UP(NVME_DOORBELLS + 8 * (n->queue_max + UINT64_C(1)), 4096);
    uint64_t pba = ALIGN_UP(table + 16 * n->vectors, 4096), size = 16 * KiB;

    while (size < pba + 4096) {
        size *= 2;
    }
    region_io(&n->regs, d, "nvme", &regs_ops, NVME_DOORBELLS + 8 * (n->queue_max + UINT64_C(1)));
    region_box(&n->bar, d, "nvme-bar0", size);
    map_put_one(&n->bar, &n->regs, 0, 0);
    pci_bar(&n->p, 0, BAR_MEM64, &n->bar);
    n->p.cap_next = 0x40;
    bool ok = n->msix_exclusive_bar ? pci_msix(&n->p, n->vectors, 4, errp)
              : pci_msix_in(&n->p, n->vectors, 0, &n->bar, (uint32_t)table, (uint32_t)pba, errp);
    return ok;
}

static void free_bar(Nvme *n)
{
    map_drop_one(&n->regs);
    region_free(&n->regs);
    region_free(&n->bar);
}

static void make_function(Nvme *n)
{
    PciDevice *p = &n->p;

    if (n->use_intel_id) {
        st16(p->config + PCI_VENDOR_ID, 0x8086);
        st16(p->config + PCI_DEVICE_ID, 0x5845);
    }
    p->cap_next = 0x60;
    pci_pm(p);
    p->cap_next = 0x80;
    pci_express(p, pci_bus(p)->port ? PCI_EXP_TYPE_ENDPOINT : PCI_EXP_TYPE_RC_END);
}

static bool nvme_realize(Device *d, Error **errp)
{
    Nvme *n = (Nvme *)d;

    if (!check_props(n, errp)) {
        return false;
    }
    n->queue_max = n->max_ioqpairs;
    n->vectors = n->msix_qsize;
    n->worker = n->iothread ? n->iothread : iothread_default();
    n->own.nsid = 1;
    n->own.attached0 = true;
    n->taken[1] = n->own.drive != NULL;
    n->own.mssrl = n->own.mcl = 128;
    n->own.msrc = 127;
    if (n->own.drive && !nvme_ns_open(&n->own, d, errp)) {
        return false;
    }
    make_function(n);
    if (!make_bar(n, errp)) {
        free_bar(n);
        nvme_ns_close(&n->own);
        return false;
    }
    n->saved = g_byte_array_new();
    n->saved_parked = g_byte_array_new();
    n->stop_done.run = stop_opened;
    n->admin_post.run = admin_posted;
    n->quiet_post.run = quiet_posted;
    n->page = 4096;
    n->worker->users++;
    nvme_queues_init(n);
    n->bus = bus_new(&nvme_slot, d, d->user_made ? d->id : "nvme-bus.0");
    n->bus->priv = n;
    n->bus->hotplug = true;
    if (n->own.drive) {
        nvme_ns_join(&n->own, n);
    }
    return true;
}

static void nvme_unrealize(Device *d)
{
    Nvme *n = (Nvme *)d;

    if (n->own.drive) {
        nvme_ns_leave(&n->own);
        nvme_ns_close(&n->own);
    }
    nvme_queues_free(n);
    n->worker->users--;
    free_bar(n);
    g_clear_pointer(&n->saved, g_byte_array_unref);
    g_clear_pointer(&n->saved_parked, g_byte_array_unref);
}

static void nvme_reset(Device *d, ResetKind kind)
{
    Nvme *n = (Nvme *)d;

    nvme_queues_reset(n);
    nvme_features_reset(n);
    n->cc = n->csts = n->aqa = n->intms = 0;
    n->asq = n->acq = 0;
    n->failed = n->shutting_down = n->format_active = false;
    memset(n->format_cmd, 0, sizeof(n->format_cmd));
    n->timestamp = 0;
    n->timestamp_at = 0;                       /* it counts from the machine's start */
    n->timestamp_set = 0;
    if (n->own.drive) {
        nvme_ns_reset(&n->own);
    }
}

static void nvme_settle(Device *d)
{
    nvme_update_intx((Nvme *)d);
}

static void nvme_quiesce(Device *d, Barrier *home)
{
    Nvme *n = (Nvme *)d;

    n->quiet = true;
    /* What was posted to the device loop has run when it leaves. */
    barrier_enter(home);
    n->quiet_leave = home;
    loop_post(d->loop, &n->quiet_post);
    if (n->stopping) {
        n->quiet_home = home;
        return;
    }
    all_home(n, home);
    barrier_leave(home);
}

static void nvme_resume(Device *d)
{
    Nvme *n = (Nvme *)d;

    n->quiet = false;
    if (n->csts & NVME_CSTS_RDY) {
        nvme_hand_over(n);
        nvme_format_again(n);
        if (!__atomic_exchange_n(&n->admin_posted, true, __ATOMIC_SEQ_CST)) {
            loop_post(d->loop, &n->admin_post);
        }
    }
}

static void before_save(void *obj)
{
    nvme_save_queues(obj);
}

static bool check(void *obj, Error **errp)
{
    Nvme *n = obj;

    n->cc &= NVME_CC_MASK;
    n->csts &= NVME_CSTS_RDY | NVME_CSTS_SHST;
    n->aqa &= 0x0fff0fff;
    if ((n->csts & NVME_CSTS_RDY) && !may_enable(n)) {
        return error_set(errp, "ready with CC 0x%x", n->cc);
    }
    n->page = UINT64_C(4096) << MIN(NVME_CC_MPS(n->cc), NVME_MPS_MAX);
    n->admin_only = NVME_CC_CSS(n->cc) == NVME_CC_CSS_ADMIN;
    if ((n->dbbuf | n->dbbuf_ei) & (n->page - 1)) {
        return error_set(errp, "shadow doorbells at 0x%" PRIx64, n->dbbuf);
    }
    if (n->own.drive && n->own.shift != 9 && n->own.shift != 12 && n->own.shift != n->own.shift0) {
        return error_set(errp, "block size 1 << %u is not this namespace's", n->own.shift);
    }
    if (n->aer_count > n->aerl + 1u || n->event_count > G_N_ELEMENTS(n->events)) {
        return error_set(errp, "%u events, %u requests for them", n->event_count, n->aer_count);
    }
    return nvme_load_queues(n, errp);
}

static const StateField nvme_fields[] = {
    STATE_U32(Nvme, cc),
    STATE_U32(Nvme, csts),
    STATE_U32(Nvme, aqa),
    STATE_U64(Nvme, asq),
    STATE_U64(Nvme, acq),
    STATE_U32(Nvme, intms),
    STATE_U64(Nvme, dbbuf),
    STATE_U64(Nvme, dbbuf_ei),
    STATE_U32_ARRAY(Nvme, features),
    STATE_U16(Nvme, over),
    STATE_U16(Nvme, under),
    STATE_U64(Nvme, timestamp),
    STATE_I64(Nvme, timestamp_at),
    STATE_U8(Nvme, timestamp_set),
    STATE_BYTES(Nvme, behavior),
    STATE_U16_ARRAY(Nvme, aers),
    STATE_U32(Nvme, aer_count),
    STATE_U32_ARRAY(Nvme, events),
    STATE_U32(Nvme, event_count),
    STATE_U8(Nvme, event_masked),
    STATE_BYTES(Nvme, changed_ns),
    STATE_BOOL(Nvme, failed),
    STATE_BOOL(Nvme, format_active),
    STATE_BYTES(Nvme, format_cmd),
    STATE_U8(Nvme, own.shift),
    STATE_BOOL(Nvme, own.attached),
    STATE_U32(Nvme, own.error_recovery),
    STATE_BLOB(Nvme, saved, (QUEUES_MAX + 1) * 54),
    STATE_BLOB(Nvme, saved_parked, NVME_INFLIGHT * (NVME_SQE + 2)),
    { 0 },
};

static const StateDesc nvme_state = {
    .name = "nvme", .version = 1, .fields = nvme_fields, .before_save = before_save, .check = check,
};

static const PropDesc nvme_props[] = {
    NVME_NS_PROPS(Nvme, own),
    PROP_STR(Nvme, serial, "serial", "serial number, up to 20 bytes; needed"),
    PROP_LINK(Nvme, iothread, "iothread", "iothread", "worker that serves the I/O queues"),
    PROP_U32(Nvme, max_ioqpairs, "max_ioqpairs", 64, 0, UINT32_MAX, "I/O queue pairs"),
    PROP_U32(Nvme, num_queues, "num_queues", 0, 0, UINT32_MAX, "deprecated: max_ioqpairs and one"),
    PROP_U16(Nvme, msix_qsize, "msix_qsize", 65, 0, UINT16_MAX, "MSI-X vectors"),
    PROP_BOOL(Nvme, msix_exclusive_bar, "msix-exclusive-bar", false, "MSI-X in a BAR of its own"),
    PROP_U8(Nvme, aerl, "aerl", 3, 0, UINT8_MAX, "outstanding Asynchronous Event Requests, less one"),
    PROP_U32(Nvme, aer_max_queued, "aer_max_queued", 64, 0, UINT32_MAX, "events kept for them"),
    PROP_U8(Nvme, mdts, "mdts", 7, 0, UINT8_MAX, "most data of a command: 4096 << mdts bytes; 0: no limit"),
    PROP_U8(Nvme, vsl, "vsl", 7, 0, UINT8_MAX, "most data of a Verify: 4096 << vsl bytes; 0: no limit"),
    PROP_U8(Nvme, smart_critical_warning, "smart_critical_warning", 0, 0, UINT8_MAX,
            "of the SMART log page"),
    PROP_BOOL(Nvme, use_intel_id, "use-intel-id", false, "PCI ids 8086:5845"),
    PROP_BOOL(Nvme, ioeventfd, "ioeventfd", true, "doorbells without an exit to user space"),
    PROP_U32(Nvme, cmb_size_mb, "cmb_size_mb", 0, 0, UINT32_MAX, "not supported"),
    PROP_STR(Nvme, pmrdev, "pmrdev", "not supported"),
    PROP_STR(Nvme, subsys, "subsys", "not supported"),
    PROP_U8(Nvme, sriov_max_vfs, "sriov_max_vfs", 0, 0, UINT8_MAX, "not supported"),
    PROP_U16(Nvme, sriov_vq_flexible, "sriov_vq_flexible", 0, 0, UINT16_MAX, "not supported"),
    PROP_U16(Nvme, sriov_vi_flexible, "sriov_vi_flexible", 0, 0, UINT16_MAX, "not supported"),
    PROP_U8(Nvme, sriov_max_vi, "sriov_max_vi_per_vf", 0, 0, UINT8_MAX, "not supported"),
    PROP_U8(Nvme, sriov_max_vq, "sriov_max_vq_per_vf", 0, 0, UINT8_MAX, "not supported"),
    PROP_U8(Nvme, zasl, "zoned.zasl", 0, 0, UINT8_MAX, "not supported"),
    PROP_BOOL(Nvme, auto_transition, "zoned.auto_transition", true, "of zoned namespaces"),
    { 0 },
};

static const PciOps nvme_pci_ops = {
    .vendor = 0x1b36, .device = 0x0010, .class_code = 0x010802, .revision = 0x02, .pin = 1,
    .express = PCI_EXPRESS,
};

extern const DeviceType nvme_type;
const DeviceType nvme_type = {
    .name = "nvme", .summary = "Non-Volatile Memory Express", .slot = &pci_slot, .size = sizeof(Nvme),
    .flags = DEV_HOTPLUG | DEV_OWN_DOMAIN, .category = "Storage", .props = nvme_props, .state = &nvme_state,
    .slot_ops = &nvme_pci_ops, .realize = nvme_realize, .unrealize = nvme_unrealize, .reset = nvme_reset,
    .settle = nvme_settle, .quiesce = nvme_quiesce, .resume = nvme_resume,
};
