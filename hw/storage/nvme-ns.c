/* nvme-ns.c: namespaces: what a block node looks like to an NVMe controller, and the device nvme-ns that
 * plugs one into a controller's bus.
 *
 * 1. The worker and the domain both see Nvme.ns[]; it is changed under the domain, on the worker.
 * 2. A namespace that leaves is gone for new commands at once; its quiesce waits for the old ones. */
#include "hw/storage/nvme.h"

#include <stdlib.h>

typedef struct NvmeNsDev {
    Device dev;
    NvmeNs ns;
    Post quiet_post;
    Barrier *quiet_home;
    /* properties */
    uint32_t nsid;
    bool detached, shared, eui64_default, zoned, zoned_cross_read;
    char *uuid;
    uint16_t ms;
    uint8_t mset, pi, pil, pif;
    uint64_t zone_size, zone_capacity, zrwas, zrwafg;
    uint32_t max_active, max_open, numzrwa, descr_ext_size;
} NvmeNsDev;

const SlotType nvme_slot = {
    .name = "nvme-bus",
    .base_size = sizeof(Device),
};

/* --- namespaces --- */

static void ns_resized(BlkUser *u)
{
    NvmeNs *ns = container_of(u, NvmeNs, user);

    __atomic_store_n(&ns->bytes, blk_size(u->node), __ATOMIC_RELAXED);
    if (ns->n) {
        domain_enter(ns->n->p.dev.domain);
        nvme_ns_changed(ns->n, ns->nsid);
        domain_leave(ns->n->p.dev.domain);
    }
}

static void ns_moved(BlkUser *u)
{
    NvmeNs *ns = container_of(u, NvmeNs, user);

    __atomic_store_n(&ns->front.node, u->node, __ATOMIC_RELEASE);
}

static bool pow2_between(uint64_t v, uint64_t lo, uint64_t hi)
{
    return v >= lo && v <= hi && (v & (v - 1)) == 0;
}

static bool check_sizes(NvmeNs *ns, BlkNode *node, Error **errp)
{
    const BlkLimits *l = blk_limits(node);

    ns->logical = ns->logical ? ns->logical : MAX(l->logical, 512);
    ns->physical = ns->physical ? ns->physical : MAX(l->physical, ns->logical);
    if (!pow2_between(ns->logical, 512, 2 * MiB) || !pow2_between(ns->physical, 512, 2 * MiB)) {
        return error_set(errp, "logical_block_size and physical_block_size must be powers of two from 512 B "
                         "to 2 MiB");
    }
    if (ns->logical > ns->physical) {
        return error_set(errp, "logical_block_size > physical_block_size not supported");
    }
    if (ns->min_io % ns->logical || ns->opt_io % ns->logical) {
        return error_set(errp, "min_io_size and opt_io_size must be multiples of logical_block_size");
    }
    if (ns->discard_granularity == UINT32_MAX) {
        ns->granularity = (uint32_t)MAX(MAX(4096, l->discard_align), ns->logical);
    } else if (ns->discard_granularity % ns->logical) {
        return error_set(errp, "discard_granularity must be a multiple of logical_block_size");
    } else {
        ns->granularity = (uint32_t)ns->discard_granularity;
    }
    ns->shift0 = (uint8_t)__builtin_ctzll(ns->logical);
    return true;
}

bool nvme_ns_open(NvmeNs *ns, Device *dev, Error **errp)
{
    BlkNode *node = ns->drive;

    if (!check_sizes(ns, node, errp)) {
        return false;
    }
    ns->dev = dev;
    ns->read_only = blk_read_only(node);
    unsigned need = BLK_PERM_READ | (ns->read_only ? 0 : BLK_PERM_WRITE);
    /* The guest is told of a new size, so anybody may set it. */
    unsigned share = BLK_PERM_READ | BLK_PERM_RESIZE | (ns->share_rw ? BLK_PERM_WRITE : 0);
    g_autofree char *who = g_strdup_printf("device '%s'", dev->id);
    ns->user.resized = ns_resized;
    ns->user.moved = ns_moved;
    ns->user.front = &ns->front;
    if (!blk_attach(node, &ns->user, who, need, share, errp)) {
        return false;
    }
    if (!machine_bootindex(dev->machine, dev, ns->bootindex, errp)) {
        blk_detach(&ns->user);
        return false;
    }
    ns->front.rerror = (BlkOnError)ns->rerror;
    ns->front.werror = (BlkOnError)ns->werror;
    ns->front.account_failed = (BlkAccount)ns->account_failed;
    ns->front.account_invalid = (BlkAccount)ns->account_invalid;
    bool has_id = dev->parent == dev->machine->peripheral;
    blk_front_open(&ns->front, node, has_id ? dev->id : NULL, has_id ? g_strdup(dev->id) : device_path(dev));
    ns->bytes = blk_size(node);
    nvme_ns_reset(ns);
    return true;
}

void nvme_ns_close(NvmeNs *ns)
{
    ns->n = NULL;
    blk_front_close(&ns->front);
    blk_detach(&ns->user);
}

void nvme_ns_reset(NvmeNs *ns)
{
    ns->shift = ns->shift0;
    ns->attached = ns->attached0;
    ns->formatting = false;
    ns->error_recovery = 0;
}

typedef struct Join {
    Nvme *n;
    NvmeNs *ns;
    uint32_t nsid;
} Join;

static void join_here(void *arg)
{
    Join *j = arg;

    j->n->ns[j->nsid] = j->ns;
}

static void join(Nvme *n, NvmeNs *ns, uint32_t nsid)
{
    Join j = { n, ns, nsid };

    domain_enter(n->p.dev.domain);
    nvme_on_worker(n, join_here, &j);
    if (machine_was_reset() && !n->p.dev.removing) {
        nvme_ns_changed(n, nsid);
    }
    domain_leave(n->p.dev.domain);
}

void nvme_ns_join(NvmeNs *ns, Nvme *n)
{
    ns->n = n;
    join(n, ns, ns->nsid);
}

void nvme_ns_leave(NvmeNs *ns)
{
    if (ns->n && ns->n->ns[ns->nsid] == ns) {
        join(ns->n, NULL, ns->nsid);
    }
}

/* --- nvme-ns --- */

static bool refuse_absent(const NvmeNsDev *d, Error **errp)
{
    if (d->ms || d->mset) {
        return error_set(errp, "ms is not supported: there is no metadata");
    }
    if (d->pi || d->pil || d->pif) {
        return error_set(errp, "pi is not supported: there is no protection information");
    }
    if (d->zoned) {
        return error_set(errp, "zoned=on is not supported");
    }
    return true;
}

static bool choose_nsid(NvmeNsDev *d, Nvme *n, Error **errp)
{
    uint32_t nsid = d->nsid;

    if (nsid > NVME_NS_MAX) {
        return error_set(errp, "invalid namespace id (must be between 0 and %d)", NVME_NS_MAX);
    }
    if (nsid && n->taken[nsid]) {
        return error_set(errp, "namespace id '%u' already allocated", nsid);
    }
    for (uint32_t i = 1; i <= NVME_NS_MAX && !nsid; i++) {
        nsid = n->taken[i] ? 0 : i;
    }
    if (!nsid) {
        return error_set(errp, "no free namespace id");
    }
    d->ns.nsid = d->nsid = nsid;
    return true;
}

static bool choose_names(NvmeNsDev *d, Error **errp)
{
    g_autofree char *made = NULL;
    const char *text = d->uuid;

    if (d->eui64_default && !d->ns.eui64) {
        d->ns.eui64 = UINT64_C(0x5254000000000000) | d->nsid;
    }
    if (!text) {
        return true;
    }
    if (strcmp(text, "auto") == 0) {
        text = made = g_uuid_string_random();
    }
    if (!g_uuid_string_is_valid(text)) {
        return error_set(errp, "Property 'nvme-ns.uuid' doesn't take value '%s'", text);
    }
    machine_uuid(text, d->ns.uuid);
    d->ns.has_uuid = true;
    return true;
}

static void quiet_posted(Post *post)
{
    NvmeNsDev *d = container_of(post, NvmeNsDev, quiet_post);

    d->ns.home = d->quiet_home;
    nvme_ns_get(&d->ns);
    nvme_ns_put(&d->ns);
}

static bool ns_realize(Device *dev, Error **errp)
{
    NvmeNsDev *d = (NvmeNsDev *)dev;
    Nvme *n = dev->bus->priv;

    if (!d->ns.drive) {
        return error_set(errp, "block backend not configured");
    }
    if (!refuse_absent(d, errp) || !choose_nsid(d, n, errp) || !choose_names(d, errp)) {
        return false;
    }
    d->ns.attached0 = !d->detached;
    d->quiet_post.run = quiet_posted;
    if (!nvme_ns_open(&d->ns, dev, errp)) {
        return false;
    }
    n->taken[d->nsid] = true;
    nvme_ns_join(&d->ns, n);
    return true;
}

static void ns_unrealize(Device *dev)
{
    NvmeNsDev *d = (NvmeNsDev *)dev;

    nvme_ns_leave(&d->ns);
    ((Nvme *)dev->bus->priv)->taken[d->nsid] = false;
    nvme_ns_close(&d->ns);
}

static void ns_reset(Device *dev, ResetKind kind)
{
    nvme_ns_reset(&((NvmeNsDev *)dev)->ns);
}

static void ns_quiesce(Device *dev, Barrier *home)
{
    NvmeNsDev *d = (NvmeNsDev *)dev;

    if (dev->removing) {
        Join j = { d->ns.n, NULL, d->nsid };
        nvme_on_worker(d->ns.n, join_here, &j);
        if (!d->ns.n->p.dev.removing) {
            nvme_ns_changed(d->ns.n, d->nsid);
        }
    }
    d->quiet_home = home;
    loop_post(d->ns.n->worker->loop, &d->quiet_post);
}

static bool ns_check(void *obj, Error **errp)
{
    const NvmeNs *ns = &((NvmeNsDev *)obj)->ns;

    for (unsigned i = 0; i < 3; i++) {
        if (ns->shift && nvme_format_shift(ns, i) == ns->shift) {
            return true;
        }
    }
    return error_set(errp, "block size 1 << %u is not this namespace's", ns->shift);
}

static const StateField ns_fields[] = {
    STATE_U8(NvmeNsDev, ns.shift),
    STATE_BOOL(NvmeNsDev, ns.attached),
    STATE_U32(NvmeNsDev, ns.error_recovery),
    { 0 },
};

static const StateDesc ns_state = { .name = "nvme-ns", .version = 1, .fields = ns_fields, .check = ns_check };

static const PropDesc ns_props[] = {
    NVME_NS_PROPS(NvmeNsDev, ns),
    PROP_U32(NvmeNsDev, nsid, "nsid", 0, 0, UINT32_MAX, "1 to 256; 0: the first that is free"),
    PROP_BOOL(NvmeNsDev, detached, "detached", false, "the guest has to attach it"),
    PROP_BOOL(NvmeNsDev, shared, "shared", true, "kept for configuration files: there is one controller"),
    PROP_STR(NvmeNsDev, uuid, "uuid", "UUID (aka GUID), or \"auto\" for a random value"),
    PROP_U64(NvmeNsDev, ns.eui64, "eui64", 0, 0, UINT64_MAX, "EUI-64; 0: none"),
    PROP_BOOL(NvmeNsDev, eui64_default, "eui64-default", false, "make one of 52-54-00 and the nsid"),
    PROP_U16(NvmeNsDev, ns.mssrl, "mssrl", 128, 0, UINT16_MAX, "Copy: blocks of a range"),
    PROP_U32(NvmeNsDev, ns.mcl, "mcl", 128, 0, UINT32_MAX, "Copy: blocks in all"),
    PROP_U8(NvmeNsDev, ns.msrc, "msrc", 127, 0, UINT8_MAX, "Copy: ranges less one"),
    PROP_U16(NvmeNsDev, ms, "ms", 0, 0, UINT16_MAX, "not supported"),
    PROP_U8(NvmeNsDev, mset, "mset", 0, 0, UINT8_MAX, "not supported"),
    PROP_U8(NvmeNsDev, pi, "pi", 0, 0, UINT8_MAX, "not supported"),
    PROP_U8(NvmeNsDev, pil, "pil", 0, 0, UINT8_MAX, "not supported"),
    PROP_U8(NvmeNsDev, pif, "pif", 0, 0, UINT8_MAX, "not supported"),
    PROP_BOOL(NvmeNsDev, zoned, "zoned", false, "not supported"),
    PROP_SIZE(NvmeNsDev, zone_size, "zoned.zone_size", 128 * MiB, 0, UINT64_MAX, "of a zoned namespace"),
    PROP_SIZE(NvmeNsDev, zone_capacity, "zoned.zone_capacity", 0, 0, UINT64_MAX, "of a zoned namespace"),
    PROP_BOOL(NvmeNsDev, zoned_cross_read, "zoned.cross_read", false, "of a zoned namespace"),
    PROP_U32(NvmeNsDev, max_active, "zoned.max_active", 0, 0, UINT32_MAX, "of a zoned namespace"),
    PROP_U32(NvmeNsDev, max_open, "zoned.max_open", 0, 0, UINT32_MAX, "of a zoned namespace"),
    PROP_U32(NvmeNsDev, descr_ext_size, "zoned.descr_ext_size", 0, 0, UINT32_MAX, "of a zoned namespace"),
    PROP_U32(NvmeNsDev, numzrwa, "zoned.numzrwa", 0, 0, UINT32_MAX, "of a zoned namespace"),
    PROP_SIZE(NvmeNsDev, zrwas, "zoned.zrwas", 0, 0, UINT64_MAX, "of a zoned namespace"),
    PROP_SIZE(NvmeNsDev, zrwafg, "zoned.zrwafg", UINT64_MAX, 0, UINT64_MAX, "of a zoned namespace"),
    { 0 },
};

extern const DeviceType nvme_ns_type;
const DeviceType nvme_ns_type = {
    .name = "nvme-ns", .summary = "Virtual NVMe namespace", .slot = &nvme_slot, .size = sizeof(NvmeNsDev),
    .flags = DEV_HOTPLUG, .category = "Storage", .props = ns_props, .state = &ns_state, .realize = ns_realize,
    .unrealize = ns_unrealize, .reset = ns_reset, .quiesce = ns_quiesce,
};
