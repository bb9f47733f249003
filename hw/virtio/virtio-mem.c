/* virtio-mem.c: memory that the guest takes and gives back in blocks, as the host asks (Virtio 1.2,
 * section 5.15).
 *
 *   requested-size   what the host wants the guest to have        size   what it has, in blocks of block-size
 *   usable region    where it may take blocks: grows with requested-size, shrinks at UNPLUG_ALL
 *
 * 1. All of the back end is mapped at memaddr all the time; a block that is not plugged has no memory of the
 *    host's, until somebody touches it without being allowed to.
 * 2. Which blocks are plugged belongs to the worker loop, or to whoever has the queue at home; how many they
 *    are is atomic.  What the host asks, and the usable region, are guarded by @lock.
 * 3. Only a reset of the machine unplugs what the guest has, never the driver's reset. */
#include <linux/virtio_ids.h>
#include <linux/virtio_mem.h>
#include <stdlib.h>
#include <string.h>
#include "core/machine.h"
#include "core/ram.h"
#include "hw/virtio/virtio-int.h"

#define BLOCK_MIN MiB
#define BLOCK_DEFAULT (2 * MiB)        /* a guest maps it, and the host discards it, as one page */
#define USABLE_BEYOND (256 * MiB)      /* of what is asked for: room for blocks that cannot move */
#define REQ_BYTES sizeof(struct virtio_mem_req)
#define RESP_BYTES sizeof(struct virtio_mem_resp)
G_STATIC_ASSERT(REQ_BYTES == 24 && RESP_BYTES == 10);

typedef struct VirtioMem {
    VirtioDevice v;
    MemoryDevice place;
    Region mem;
    uint64_t plugged;          /* atomic: bytes */
    Lock lock;
    uint64_t requested;        /* guarded by lock; property */
    uint64_t usable;           /* guarded by lock: bytes of the usable region */
    GByteArray *map;           /* worker loop: a bit a block, 1: plugged */
    /* what is saved: the first three must be equal where it is loaded */
    uint64_t state_addr, state_size, state_block, state_requested, state_usable;
    GByteArray *state_map;
    /* properties */
    RamBlock *ram;
    uint64_t addr, block;
    uint32_t node;
    int32_t inaccessible;
    bool prealloc;
} VirtioMem;

static uint64_t load(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* --- blocks, numbered from the start of the region --- */

/* How many of the blocks [@first, @first + @n) are plugged, says @map. */
static uint64_t count(const GByteArray *map, uint64_t first, uint64_t n)
{
    uint64_t sum = 0;

    for (uint64_t i = first; i < first + n; i++) {
        sum += map->data[i / 8] >> i % 8 & 1;
    }
    return sum;
}

static void tell_size(Device *d, uintptr_t arg)
{
    const MachineListener *l = machine_listener();
    const VirtioMem *s = (VirtioMem *)d;

    if (l != NULL && l->memory_size_changed != NULL) {
        l->memory_size_changed(s->v.proxy, load(&s->plugged));
    }
}

static void mark(VirtioMem *s, uint64_t first, uint64_t n, bool plugged)
{
    for (uint64_t i = first; i < first + n; i++) {
        uint8_t bit = (uint8_t)(1u << i % 8);

        s->map->data[i / 8] = plugged ? s->map->data[i / 8] | bit : s->map->data[i / 8] & ~bit;
    }
    __atomic_store_n(&s->plugged, load(&s->plugged) + (plugged ? n : -n) * s->block, __ATOMIC_RELAXED);
    machine_defer(&s->v.dev, tell_size, 0);
}

static uint8_t *host_of(const VirtioMem *s, uint64_t block)
{
    return s->ram->host + block * s->block;
}

/* --- requests (5.15.6) --- */

static uint64_t usable_for(const VirtioMem *s, uint64_t requested)
{
    uint64_t beyond = requested > 0 ? ALIGN_UP((uint64_t)USABLE_BEYOND, s->block) : 0;

    return MIN(requested + beyond, s->ram->size);
}

/* True, and the number of the first one, when the blocks lie in the usable region. */
static bool blocks_at(VirtioMem *s, uint64_t addr, uint64_t n, uint64_t *first)
{
    lock_take(&s->lock);
    uint64_t usable = s->usable / s->block;
    lock_drop(&s->lock);
    if (addr < s->addr || addr % s->block != 0 || n == 0) {
        return false;
    }
    *first = (addr - s->addr) / s->block;
    return *first < usable && n <= usable - *first;
}

static uint16_t plug(VirtioMem *s, uint64_t first, uint64_t n)
{
    lock_take(&s->lock);
    bool wanted = load(&s->plugged) + n * s->block <= s->requested;
    lock_drop(&s->lock);
    if (!wanted) {
        return VIRTIO_MEM_RESP_NACK;
    }
    if (count(s->map, first, n) != 0) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    if (s->prealloc && !ram_populate(s->ram, host_of(s, first), n * s->block)) {
        ram_discard(s->ram, host_of(s, first), n * s->block);
        return VIRTIO_MEM_RESP_BUSY;
    }
    TRACE(virtio_mem_plug, "%s block=%" PRIu64 " count=%" PRIu64, s->v.dev.id, first, n);
    mark(s, first, n, true);
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t unplug(VirtioMem *s, uint64_t first, uint64_t n)
{
    if (count(s->map, first, n) != n) {
        return VIRTIO_MEM_RESP_ERROR;
    }
    if (!ram_discard(s->ram, host_of(s, first), n * s->block)) {
        return VIRTIO_MEM_RESP_BUSY;
    }
    TRACE(virtio_mem_unplug, "%s block=%" PRIu64 " count=%" PRIu64, s->v.dev.id, first, n);
    mark(s, first, n, false);
    return VIRTIO_MEM_RESP_ACK;
}

/* What was touched beside the plugged blocks goes too. */
static uint16_t unplug_all(VirtioMem *s)
{
    if (load(&s->plugged) > 0) {
        if (!ram_discard(s->ram, s->ram->host, s->ram->size)) {
            return VIRTIO_MEM_RESP_BUSY;
        }
        TRACE(virtio_mem_unplug_all, "%s", s->v.dev.id);
        memset(s->map->data, 0, s->map->len);
        __atomic_store_n(&s->plugged, 0, __ATOMIC_RELAXED);
        machine_defer(&s->v.dev, tell_size, 0);
    }
    lock_take(&s->lock);
    s->usable = usable_for(s, s->requested);
    lock_drop(&s->lock);
    return VIRTIO_MEM_RESP_ACK;
}

static uint16_t state_of(const VirtioMem *s, uint64_t first, uint64_t n)
{
    uint64_t plugged = count(s->map, first, n);

    return plugged == n ? VIRTIO_MEM_STATE_PLUGGED
         : plugged == 0 ? VIRTIO_MEM_STATE_UNPLUGGED : VIRTIO_MEM_STATE_MIXED;
}

static void answer(VirtioMem *s, const uint8_t *req, uint8_t *resp)
{
    unsigned type = ld16(req), n = ld16(req + 16), status = VIRTIO_MEM_RESP_ERROR;
    uint64_t first;

    if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
        status = unplug_all(s);
    } else if (type > VIRTIO_MEM_REQ_STATE || !blocks_at(s, ld64(req + 8), n, &first)) {
        guest_bug(s->v.dev.id, "request %u of %u blocks at 0x%" PRIx64, type, n, ld64(req + 8));
    } else if (type == VIRTIO_MEM_REQ_STATE) {
        status = VIRTIO_MEM_RESP_ACK;
        st16(resp + 8, state_of(s, first, n));
    } else {
        status = type == VIRTIO_MEM_REQ_PLUG ? plug(s, first, n) : unplug(s, first, n);
    }
    st16(resp, (uint16_t)status);
}

static void mem_kick(VirtQueue *q)
{
    VirtChain c;

    while (vq_pop(q, &c)) {
        uint8_t req[REQ_BYTES] = { 0 }, resp[RESP_BYTES] = { 0 };

        if (c.left_in < RESP_BYTES || chain_read(&c, req, REQ_BYTES) < REQ_BYTES) {
            virtio_break(q->v, "a request of less than %zu bytes, or without %zu for its answer", REQ_BYTES,
                         RESP_BYTES);
            vq_unpop(q, &c);
            return;
        }
        answer((VirtioMem *)vq_device(q), req, resp);
        chain_write(&c, resp, RESP_BYTES);
        vq_push(q, &c);
    }
}

/* --- configuration (5.15.4) --- */

static void config_fill(VirtioDevice *v, uint8_t *c)
{
    VirtioMem *s = (VirtioMem *)v;

    st64(c, s->block);
    st16(c + 8, (uint16_t)s->node);
    st64(c + 16, s->addr);
    st64(c + 24, s->ram->size);
    lock_take(&s->lock);
    st64(c + 32, s->usable);
    st64(c + 48, s->requested);
    lock_drop(&s->lock);
    st64(c + 40, load(&s->plugged));
}

/* --- for the control plane --- */

static void extra_each(const DeviceType *t, void (*fn)(const char *name, const char *type, void *arg),
                       void *arg)
{
    fn("size", "size", arg);
}

/* requested-size is a property; once there is a guest it is changed here. */
static char *extra_get(Device *d, const char *name)
{
    const VirtioMem *s = (VirtioMem *)d;
    bool size = strcmp(name, "size") == 0;

    return size || strcmp(name, "requested-size") == 0
         ? g_strdup_printf("%" PRIu64, size ? load(&s->plugged) : load(&s->requested)) : NULL;
}

static bool check_requested(const VirtioMem *s, uint64_t bytes, Error **errp)
{
    if (bytes > s->ram->size) {
        return error_set(errp, "'requested-size' cannot exceed the memory backend size(0x%" PRIx64 ")",
                         s->ram->size);
    }
    return bytes % s->block == 0
        || error_set(errp, "'requested-size' has to be multiples of 'block-size' (0x%" PRIx64 ")", s->block);
}

static bool extra_set(Device *d, const char *name, const char *json, Error **errp)
{
    VirtioMem *s = (VirtioMem *)d;
    uint64_t bytes;

    if (strcmp(name, "size") == 0) {
        return error_set(errp, "Property 'virtio-mem.size' is not writable");
    }
    if (!g_ascii_string_to_unsigned(json, 10, 0, UINT64_MAX, &bytes, NULL)) {
        return error_set(errp, "Parameter 'requested-size' expects uint64");
    }
    if (!check_requested(s, bytes, errp)) {
        return false;
    }
    lock_take(&s->lock);
    bool changed = bytes != s->requested;
    __atomic_store_n(&s->requested, bytes, __ATOMIC_RELAXED);
    s->usable = MAX(s->usable, usable_for(s, bytes));
    lock_drop(&s->lock);
    if (changed) {
        domain_enter(d->domain);
        virtio_config_changed(&s->v);
        domain_leave(d->domain);
    }
    return true;
}

static const DeviceExtra extra = { .each = extra_each, .get = extra_get, .set = extra_set };

/* --- life --- */

static bool check_block(VirtioMem *s, Error **errp)
{
    uint64_t least = MAX((uint64_t)BLOCK_MIN, s->ram->page_size);

    if (s->block == UINT64_MAX) {
        s->block = MAX((uint64_t)BLOCK_DEFAULT, least);
    }
    if (s->block < least) {
        return error_set(errp, "'block-size' property has to be at least 0x%" PRIx64, least);
    }
    return (s->block & (s->block - 1)) == 0
        || error_set(errp, "'block-size' property has to be a power of two");
}

static bool check_props(VirtioMem *s, Error **errp)
{
    unsigned nodes = MAX(s->v.dev.machine->cfg.numa_nodes, 1);

    if (s->ram == NULL) {
        return error_set(errp, "'memdev' property must be set");
    }
    if (s->ram->in_use) {
        return error_set(errp, "'memdev' property specifies a busy memdev: %s", s->ram->id);
    }
    if (s->ram->readonly) {
        return error_set(errp, "'memdev' property specifies a read-only memdev: %s", s->ram->id);
    }
    if (s->node >= nodes) {
        return error_set(errp, "'node' property has value '%u', which exceeds the number of numa nodes: %u",
                         s->node, nodes);
    }
    return check_block(s, errp) && check_requested(s, s->requested, errp);
}

/* Memory that is read without being there costs nothing where the host has its page of zeroes for it. */
static void choose_features(VirtioMem *s)
{
    if (s->inaccessible == ONOFF_AUTO) {
        s->inaccessible = s->ram->fd < 0 && !s->ram->share ? ONOFF_OFF : ONOFF_ON;
    }
    virtio_offer(&s->v,
                 (uint64_t)(s->inaccessible == ONOFF_ON) << VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE |
                     (uint64_t)(s->v.dev.machine->cfg.numa_nodes > 0) << VIRTIO_MEM_F_ACPI_PXM);
}

static bool mem_realize(Device *d, Error **errp)
{
    VirtioMem *s = (VirtioMem *)d;

    if (!check_props(s, errp)) {
        return false;
    }
    s->place = (MemoryDevice){ .dev = s->v.proxy, .addr = s->addr, .size = s->ram->size,
                               .plugged = &s->plugged };
    if (!memory_device_plug(d->machine, &s->place, s->block, errp)) {
        return false;
    }
    if (!ram_discard(s->ram, s->ram->host, s->ram->size)) {
        memory_device_unplug(d->machine, &s->place);
        return error_set(errp, "the host cannot discard memory of memdev %s", s->ram->id);
    }
    lock_init(&s->lock, RANK_LEAF, "virtio-mem");
    s->addr = s->place.addr;
    s->map = g_byte_array_new();
    s->state_map = g_byte_array_new();
    g_byte_array_set_size(s->map, (unsigned)(s->ram->size / s->block + 7) / 8);
    memset(s->map->data, 0, s->map->len);
    s->usable = usable_for(s, s->requested);
    s->ram->in_use = true;
    choose_features(s);
    virtio_queues(&s->v, 1, 128);
    region_ram(&s->mem, d, "virtio-mem", s->ram, 0, s->ram->size);
    map_put_one(&d->machine->mem_root, &s->mem, s->addr, 0);
    return true;
}

static void mem_unrealize(Device *d)
{
    VirtioMem *s = (VirtioMem *)d;

    map_drop_one(&s->mem);
    region_free(&s->mem);
    memory_device_unplug(d->machine, &s->place);
    s->ram->in_use = false;
    g_clear_pointer(&s->map, g_byte_array_unref);
    g_clear_pointer(&s->state_map, g_byte_array_unref);
    lock_destroy(&s->lock);
}

static void mem_reset(Device *d, ResetKind kind)
{
    if (kind == RESET_POWER) {
        unplug_all((VirtioMem *)d);
    }
}

/* 5.15.3.2: a driver that would touch what is not plugged is not let in. */
static bool accept(VirtioDevice *v, uint64_t features)
{
    return features >> VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE & 1
        || ((VirtioMem *)v)->inaccessible != ONOFF_ON;
}

static const PropDesc mem_props[] = {
    { .name = "memdev", .help = "id of the memory back end", .kind = PROP_KIND_LINK,
      .at = field_at(VirtioMem, ram, RamBlock *), .link_class = "memory-backend" },
    PROP_SIZE(VirtioMem, block, "block-size", UINT64_MAX, 0, UINT64_MAX,
              "what the guest takes and gives back at least; default: 2 MiB, or the back end's pages"),
    PROP_U64(VirtioMem, addr, "memaddr", 0, 0, UINT64_MAX, "address; 0: the first that is free"),
    PROP_U32(VirtioMem, node, "node", 0, 0, NUMA_NODES_MAX - 1, "NUMA node"),
    PROP_BOOL(VirtioMem, prealloc, "prealloc", false, "get the host's memory when the guest plugs a block"),
    PROP_SIZE(VirtioMem, requested, "requested-size", 0, 0, UINT64_MAX,
              "how much memory the guest is to have of it"),
    PROP_ENUM(VirtioMem, inaccessible, "unplugged-inaccessible", prop_onoffauto, ONOFF_AUTO,
              "the guest must not even read what it has not plugged; auto: unless that costs nothing"),
    { 0 },
};

/* --- state --- */

static void before_save(void *obj)
{
    VirtioMem *s = obj;

    s->state_addr = s->addr;
    s->state_size = s->ram->size;
    s->state_block = s->block;
    s->state_requested = s->requested;
    s->state_usable = s->usable;
    g_byte_array_set_size(s->state_map, 0);
    g_byte_array_append(s->state_map, s->map->data, s->map->len);
}

static bool mem_check(void *obj, Error **errp)
{
    VirtioMem *s = obj;
    GByteArray *map = s->state_map;
    uint64_t usable = s->state_usable, plugged;

    if (s->state_addr != s->addr || s->state_size != s->ram->size || s->state_block != s->block) {
        return error_set(errp, "memory at 0x%" PRIx64 " of 0x%" PRIx64 " bytes in blocks of 0x%" PRIx64
                         " is another machine's", s->state_addr, s->state_size, s->state_block);
    }
    if (map == NULL || map->len != s->map->len) {
        return error_set(errp, "%u bytes of plugged blocks, not %u", map ? map->len : 0, s->map->len);
    }
    if (!check_requested(s, s->state_requested, errp)) {
        return false;
    }
    if (usable % s->block != 0 || usable > s->ram->size || usable < usable_for(s, s->state_requested)) {
        return error_set(errp, "a usable region of 0x%" PRIx64 " bytes", usable);
    }
    plugged = count(map, 0, usable / s->block);
    if (plugged != count(map, 0, map->len * UINT64_C(8))) {
        return error_set(errp, "blocks are plugged behind the usable region of 0x%" PRIx64, usable);
    }
    memcpy(s->map->data, map->data, map->len);
    s->requested = s->state_requested;
    s->usable = usable;
    __atomic_store_n(&s->plugged, plugged * s->block, __ATOMIC_RELAXED);
    return true;
}

static const StateField mem_fields[] = {
    STATE_U64(VirtioMem, state_addr), STATE_U64(VirtioMem, state_size), STATE_U64(VirtioMem, state_block),
    STATE_U64(VirtioMem, state_requested), STATE_U64(VirtioMem, state_usable),
    STATE_BLOB(VirtioMem, state_map, 1u << 24),
    { 0 },
};

static const StateDesc mem_state = {
    .name = "virtio-mem", .version = 1, .fields = mem_fields, .before_save = before_save, .check = mem_check,
};

static const VirtioOps mem_virtio_ops = {
    .id = VIRTIO_ID_MEM, .class_code = 0x00ff00, .config_size = sizeof(struct virtio_mem_config),
    .config_fill = config_fill, .accept = accept, .kick = mem_kick,
};

extern const DeviceType virtio_mem;
const DeviceType virtio_mem = {
    .name = "virtio-mem", .summary = "memory in blocks, as much as the host asks for", .slot = &virtio_slot,
    .size = sizeof(VirtioMem), .flags = DEV_HOTPLUG | DEV_STAYS, .category = "Misc", .props = mem_props,
    .state = &mem_state, .slot_ops = &mem_virtio_ops, .extra = &extra, .realize = mem_realize,
    .unrealize = mem_unrealize, .reset = mem_reset,
};
