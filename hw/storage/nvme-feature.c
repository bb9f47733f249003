/* nvme-feature.c: features, log pages and asynchronous events (NVM Express 1.4, sections 5.2, 5.14, 5.21).
 *
 * 1. An event of a type that was told is not told again until its log page was read.
 * 2. A waiting Asynchronous Event Request holds no room in the completion queue; an event is told when there
 *    is a request and room. */
#include "hw/storage/nvme.h"

enum { CHANGEABLE = 4, OF_NAMESPACE = 2 };
enum { SELECT_CURRENT, SELECT_DEFAULT, SELECT_SAVED, SELECT_SUPPORTED };

/* --- asynchronous events --- */

void nvme_tell_events(Nvme *n)
{
    for (unsigned i = 0; i < n->event_count;) {
        uint32_t event = n->events[i];
        if (n->event_masked >> (event & 7) & 1) {
            i++;
            continue;
        }
        if (n->aer_count == 0 || !nvme_admin_room(n)) {
            return;
        }
        uint16_t cid = n->aers[0];
        memmove(n->aers, n->aers + 1, --n->aer_count * sizeof(n->aers[0]));
        n->aers[n->aer_count] = 0;
        memmove(n->events + i, n->events + i + 1, (--n->event_count - i) * sizeof(n->events[0]));
        n->events[n->event_count] = 0;
        n->event_masked |= (uint8_t)(1 << (event & 7));
        n->sqs[0].inflight++;
        n->cqs[0].reserved++;
        nvme_post(n, &n->sqs[0], cid, NVME_OK, event);
    }
}

void nvme_event(Nvme *n, unsigned type, unsigned info, unsigned log)
{
    uint32_t event = type | info << 8 | log << 16;

    assert_domain(n->p.dev.domain);
    for (unsigned i = 0; i < n->event_count; i++) {
        if (n->events[i] == event) {
            return;
        }
    }
    if (n->event_count < n->aer_max_queued) {
        TRACE(nvme_event, "%s event=0x%06x", n->p.dev.id, event);
        n->events[n->event_count++] = event;
    }
    if ((n->csts & NVME_CSTS_RDY) && !n->quiet && !n->stopping) {
        nvme_tell_events(n);
    }
}

bool nvme_aer(Nvme *n, uint16_t cid, uint16_t *status)
{
    if (n->aer_count > n->aerl) {
        *status = NVME_AER_LIMIT;
        return true;
    }
    n->aers[n->aer_count++] = cid;
    n->sqs[0].inflight--;
    n->cqs[0].reserved--;
    return false;
}

bool nvme_aer_abort(Nvme *n, uint16_t cid)
{
    for (unsigned i = 0; i < n->aer_count; i++) {
        if (n->aers[i] == cid && nvme_admin_room(n)) {
            memmove(n->aers + i, n->aers + i + 1, (--n->aer_count - i) * sizeof(n->aers[0]));
            n->aers[n->aer_count] = 0;
            n->sqs[0].inflight++;
            n->cqs[0].reserved++;
            nvme_post(n, &n->sqs[0], cid, NVME_ABORTED, 0);
            return true;
        }
    }
    return false;
}

void nvme_ns_changed(Nvme *n, uint32_t nsid)
{
    if (!(n->csts & NVME_CSTS_RDY)) {
        return;                                /* the host will look */
    }
    n->changed_ns[nsid / 8] |= (uint8_t)(1 << nsid % 8);
    if (n->features[FEAT_EVENTS] & EVENTS_NS_CHANGED) {
        nvme_event(n, EVENT_NOTICE, EVENT_NS_CHANGED, LOG_CHANGED_NS);
    }
}

/* --- features --- */

void nvme_features_reset(Nvme *n)
{
    memset(n->features, 0, sizeof(n->features));
    n->features[FEAT_ARBITRATION] = 7;         /* no limit to a burst */
    n->features[FEAT_WRITE_CACHE] = n->own.write_cache != ONOFF_OFF;
    n->over = 0x157;
    n->under = 0;
    memset(n->behavior, 0, sizeof(n->behavior));
    memset(n->aers, 0, sizeof(n->aers));
    memset(n->events, 0, sizeof(n->events));
    memset(n->changed_ns, 0, sizeof(n->changed_ns));
    n->aer_count = n->event_count = 0;
    n->event_masked = 0;
}

static bool known(unsigned fid, unsigned *caps)
{
    static const uint8_t all[NVME_FEATURE_WORDS] = {
        [FEAT_ARBITRATION] = 1, [FEAT_POWER] = 1, [FEAT_TEMPERATURE] = 1 | CHANGEABLE,
        [FEAT_ERROR_RECOVERY] = 1 | CHANGEABLE | OF_NAMESPACE, [FEAT_WRITE_CACHE] = 1 | CHANGEABLE,
        [FEAT_QUEUES] = 1 | CHANGEABLE, [FEAT_COALESCING] = 1, [FEAT_VECTOR] = 1, [FEAT_ATOMICITY] = 1,
        [FEAT_EVENTS] = 1 | CHANGEABLE, [FEAT_TIMESTAMP] = 1 | CHANGEABLE,
        [FEAT_HOST_BEHAVIOR] = 1 | CHANGEABLE, [FEAT_PROFILE] = 1 | CHANGEABLE,
    };

    if (fid >= NVME_FEATURE_WORDS || !all[fid]) {
        return false;
    }
    *caps = all[fid] & (CHANGEABLE | OF_NAMESPACE);
    return true;
}

static uint16_t feature_data(Nvme *n, const uint8_t *cmd, void *buf, size_t size, DmaDir dir)
{
    NvmeData data;
    uint16_t status = nvme_data_begin(&data, &n->p.dev, cmd, n->page, size, false);

    return status == NVME_OK ? nvme_data_copy(&data, buf, size, dir) : status;
}

static uint16_t get_timestamp(Nvme *n, const uint8_t *cmd)
{
    uint64_t ms = n->timestamp + (uint64_t)(clock_now(CLOCK_VM) - n->timestamp_at) / 1000000;
    uint8_t raw[8];

    st64(raw, ms & 0xffffffffffff);
    raw[6] = (uint8_t)(n->timestamp_set << 1); /* set by the host, or 0 at reset */
    return feature_data(n, cmd, raw, sizeof(raw), DMA_FROM_DEVICE);
}

static uint16_t set_timestamp(Nvme *n, const uint8_t *cmd)
{
    uint8_t raw[8];
    uint16_t status = feature_data(n, cmd, raw, sizeof(raw), DMA_TO_DEVICE);

    if (status == NVME_OK) {
        n->timestamp = ld64(raw) & 0xffffffffffff;
        n->timestamp_at = clock_now(CLOCK_VM);
        n->timestamp_set = 1;
    }
    return status;
}

/* The temperature has reached a threshold. */
static bool beyond(const Nvme *n)
{
    return NVME_TEMPERATURE >= n->over || NVME_TEMPERATURE <= n->under;
}

static uint16_t get_temperature(const Nvme *n, uint32_t arg, bool initial, uint32_t *result)
{
    unsigned sensor = arg >> 16 & 15, which = arg >> 20 & 3;

    if (which > 1) {
        return NVME_INVALID_FIELD;
    }
    *result = sensor ? 0 : which ? (initial ? 0 : n->under) : initial ? 0x157 : n->over;
    return NVME_OK;
}

static uint16_t set_temperature(Nvme *n, uint32_t arg)
{
    unsigned sensor = arg >> 16 & 15, which = arg >> 20 & 3;

    if (which > 1 || (sensor != 0 && sensor != 15)) {
        return NVME_INVALID_FIELD;
    }
    *(which ? &n->under : &n->over) = (uint16_t)arg;
    if (beyond(n) && (n->features[FEAT_EVENTS] & 2)) {
        nvme_event(n, EVENT_SMART, EVENT_TEMPERATURE, LOG_SMART);
    }
    return NVME_OK;
}

static uint16_t vector_config(const Nvme *n, uint32_t arg, uint32_t *result)
{
    unsigned vector = arg & 0xffff;

    if (vector >= n->vectors) {
        return NVME_INVALID_FIELD;
    }
    *result = vector | (vector == 0 ? 1u << 16 : 0);   /* no coalescing for the admin queue's */
    return NVME_OK;
}

static uint16_t get_recovery(const Nvme *n, uint32_t nsid, uint32_t *result)
{
    if (nsid == 0 || nsid > NVME_NS_MAX) {
        return NVME_INVALID_NS;
    }
    if (!nvme_attached(n, nsid)) {
        return NVME_INVALID_FIELD;
    }
    *result = n->ns[nsid]->error_recovery;
    return NVME_OK;
}

static uint16_t set_recovery(Nvme *n, uint32_t nsid, uint32_t arg)
{
    if (arg & ~0xffffu) {
        return NVME_INVALID_FIELD;             /* no error for deallocated blocks */
    }
    if (nsid != NVME_NSID_ALL) {
        uint32_t old;
        uint16_t status = get_recovery(n, nsid, &old);
        if (status == NVME_OK) {
            n->ns[nsid]->error_recovery = arg;
        }
        return status;
    }
    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (n->ns[i]) {
            n->ns[i]->error_recovery = arg;
        }
    }
    return NVME_OK;
}

uint16_t nvme_get_feature(Nvme *n, const uint8_t *cmd, uint32_t *result)
{
    unsigned fid = cmd[SQE_CDW10], select = ld32(cmd + SQE_CDW10) >> 8 & 7, caps;
    uint32_t arg = ld32(cmd + SQE_CDW11), nsid = ld32(cmd + SQE_NSID);
    bool initial = select == SELECT_DEFAULT || select == SELECT_SAVED;

    if (!known(fid, &caps) || select > SELECT_SUPPORTED) {
        return NVME_INVALID_FIELD;
    }
    if (select == SELECT_SUPPORTED) {
        *result = caps;
        return NVME_OK;
    }
    switch (fid) {
    case FEAT_TEMPERATURE:
        return get_temperature(n, arg, initial, result);
    case FEAT_ERROR_RECOVERY:
        return initial ? NVME_OK : get_recovery(n, nsid, result);
    case FEAT_QUEUES:
        *result = (n->queue_max - 1) * 0x10001u;
        return NVME_OK;
    case FEAT_VECTOR:
        return vector_config(n, arg, result);
    case FEAT_TIMESTAMP:
        return initial ? NVME_OK : get_timestamp(n, cmd);
    case FEAT_HOST_BEHAVIOR:
        return initial ? NVME_OK : feature_data(n, cmd, n->behavior, sizeof(n->behavior), DMA_FROM_DEVICE);
    case FEAT_WRITE_CACHE:
        *result = initial ? n->own.write_cache != ONOFF_OFF : n->features[fid];
        return NVME_OK;
    case FEAT_ARBITRATION:
        *result = 7;
        return NVME_OK;
    default:
        *result = initial ? 0 : n->features[fid];
        return NVME_OK;
    }
}

static uint16_t set_queues(Nvme *n, uint32_t arg, uint32_t *result)
{
    if ((arg & 0xffff) == 0xffff || arg >> 16 == 0xffff) {
        return NVME_INVALID_FIELD;
    }
    if (nvme_has_io_queues(n)) {
        return NVME_SEQUENCE_ERROR;
    }
    *result = (n->queue_max - 1) * 0x10001u;
    return NVME_OK;
}

static uint16_t set_write_cache(Nvme *n, uint32_t arg)
{
    if (!(arg & 1) && n->features[FEAT_WRITE_CACHE]) {
        nvme_flush_all(n);                     /* what was written with it is durable too */
    }
    __atomic_store_n(&n->features[FEAT_WRITE_CACHE], arg & 1, __ATOMIC_RELAXED);
    return NVME_OK;
}

uint16_t nvme_set_feature(Nvme *n, const uint8_t *cmd, uint32_t *result)
{
    unsigned fid = cmd[SQE_CDW10], caps;
    uint32_t arg = ld32(cmd + SQE_CDW11);
    uint8_t behavior[sizeof(n->behavior)];
    uint16_t status;

    if (!known(fid, &caps)) {
        return NVME_INVALID_FIELD;
    }
    if (ld32(cmd + SQE_CDW10) >> 31) {
        return NVME_NOT_SAVEABLE;
    }
    if (!(caps & CHANGEABLE)) {
        return NVME_NOT_CHANGEABLE;
    }
    switch (fid) {
    case FEAT_TEMPERATURE:
        return set_temperature(n, arg);
    case FEAT_ERROR_RECOVERY:
        return set_recovery(n, ld32(cmd + SQE_NSID), arg);
    case FEAT_WRITE_CACHE:
        return set_write_cache(n, arg);
    case FEAT_QUEUES:
        return set_queues(n, arg, result);
    case FEAT_TIMESTAMP:
        return set_timestamp(n, cmd);
    case FEAT_HOST_BEHAVIOR:
        status = feature_data(n, cmd, behavior, sizeof(behavior), DMA_TO_DEVICE);
        if (status == NVME_OK) {
            n->behavior[0] = behavior[0] & 1;  /* the rest asks for what there is not */
        }
        return status;
    case FEAT_PROFILE:
        return arg & 0x1ff ? NVME_CSS_REJECTED : NVME_OK;
    default:
        n->features[fid] = arg;
        return NVME_OK;
    }
}

/* --- log pages --- */

/* 1000 times 512 bytes is what data is counted in. */
static void count_ns(const NvmeNs *ns, uint64_t units[2], uint64_t commands[2])
{
    BlkStats s;

    blk_stats(ns->user.node, &s);
    units[0] += s.bytes[BLK_READ];
    units[1] += s.bytes[BLK_WRITE];
    for (unsigned i = 0; i < 2; i++) {
        commands[i] += __atomic_load_n(&ns->commands[i], __ATOMIC_RELAXED);
    }
}

static uint16_t smart_log(const Nvme *n, uint32_t nsid, uint8_t *out)
{
    uint64_t units[2] = { 0 }, commands[2] = { 0 };

    if (nsid != 0 && nsid != NVME_NSID_ALL && !nvme_attached(n, nsid)) {
        return NVME_INVALID_NS;
    }
    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (nvme_attached(n, i) && (nsid == 0 || nsid == NVME_NSID_ALL || nsid == i)) {
            count_ns(n->ns[i], units, commands);
        }
    }
    out[0] = n->smart_critical_warning | (beyond(n) ? 2 : 0);
    st16(out + 1, NVME_TEMPERATURE);
    out[3] = 100;                              /* spare blocks left, per cent; fewer than 10 would be few */
    out[4] = 10;
    for (unsigned i = 0; i < 2; i++) {
        st64(out + 32 + 16 * i, DIV_ROUND_UP(units[i], 512000));
        st64(out + 64 + 16 * i, commands[i]);
    }
    st64(out + 128, (uint64_t)clock_now(CLOCK_VM) / NS_PER_SEC / 3600);
    return NVME_OK;
}

static void effects_log(uint8_t *out)
{
    /* Opcode and effect: 1 supported, 2 changes data, 8 changes the namespaces. */
    static const uint8_t admin[][2] = {
        { NVME_DELETE_SQ, 1 },  { NVME_CREATE_SQ, 1 },    { NVME_GET_LOG, 1 },      { NVME_DELETE_CQ, 1 },
        { NVME_CREATE_CQ, 1 },  { NVME_IDENTIFY, 1 },     { NVME_ABORT, 1 },        { NVME_SET_FEATURES, 1 },
        { NVME_GET_FEATURES, 1 }, { NVME_ASYNC_EVENT, 1 }, { NVME_NS_ATTACH, 9 },   { NVME_DBBUF_CONFIG, 1 },
        { NVME_FORMAT, 3 },
    };
    static const uint8_t io[][2] = {
        { NVME_FLUSH, 3 }, { NVME_WRITE, 3 }, { NVME_READ, 1 }, { NVME_COMPARE, 1 }, { NVME_WRITE_ZEROES, 3 },
        { NVME_DSM, 3 }, { NVME_VERIFY, 1 }, { NVME_COPY, 3 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(admin); i++) {
        out[4 * admin[i][0]] = admin[i][1];
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(io); i++) {
        out[1024 + 4 * io[i][0]] = io[i][1];
    }
}

static void changed_log(Nvme *n, uint8_t *out)
{
    unsigned at = 0;

    for (unsigned i = 1; i <= NVME_NS_MAX; i++) {
        if (n->changed_ns[i / 8] >> i % 8 & 1) {
            st32(out + 4 * at++, i);
        }
    }
}

static uint16_t fill_log(Nvme *n, const uint8_t *cmd, uint8_t *out, unsigned *size)
{
    *size = 512;
    switch (cmd[SQE_CDW10]) {
    case LOG_ERRORS:
        *size = 64;                            /* one entry, without an error */
        return NVME_OK;
    case LOG_SMART:
        return smart_log(n, ld32(cmd + SQE_NSID), out);
    case LOG_FIRMWARE:
        out[0] = 1;
        memcpy(out + 8, "1.0     ", 8);
        return NVME_OK;
    case LOG_CHANGED_NS:
        *size = 4096;
        changed_log(n, out);
        return NVME_OK;
    case LOG_EFFECTS:
        *size = 4096;
        if (cmd[SQE_CDW14 + 3] == 0) {
            effects_log(out);
        }
        return NVME_OK;
    default:
        return NVME_INVALID_FIELD;
    }
}

uint16_t nvme_get_log(Nvme *n, const uint8_t *cmd)
{
    uint8_t out[4096] = { 0 };
    unsigned size;
    uint64_t len = ((uint64_t)ld16(cmd + SQE_CDW10 + 2) | (uint64_t)ld16(cmd + SQE_CDW11) << 16) * 4 + 4;
    uint64_t off = ld64(cmd + SQE_CDW12);
    NvmeData data;
    uint16_t status = fill_log(n, cmd, out, &size);

    if (status != NVME_OK) {
        return status;
    }
    if (off & 3 || off >= size) {
        return NVME_INVALID_FIELD;
    }
    len = MIN(len, size - off);
    status = nvme_data_begin(&data, &n->p.dev, cmd, n->page, len, false);
    if (status == NVME_OK) {
        status = nvme_data_copy(&data, out + off, len, DMA_FROM_DEVICE);
    }
    if (status == NVME_OK && !(cmd[SQE_CDW10 + 1] & 0x80)) {
        unsigned log = cmd[SQE_CDW10];
        if (log == LOG_CHANGED_NS) {
            memset(n->changed_ns, 0, sizeof(n->changed_ns));
        }
        if (log == LOG_ERRORS || log == LOG_SMART || log == LOG_CHANGED_NS) {
            unsigned type = log == LOG_ERRORS ? EVENT_ERROR : log == LOG_SMART ? EVENT_SMART : EVENT_NOTICE;
            n->event_masked &= (uint8_t)~(1 << type);  /* what waits is told after the answer */
        }
    }
    return status;
}
