/* ide.c: the slot "ide", and the movement of data between guest and storage for the drives on it.
 *
 *   IDE_IDLE --ide_cmd_start--> drive type decodes --submit--> IDE_WORK --io_done--> more, or ended
 *                                   |  \--show--> IDE_IN, IDE_OUT --ide_cmd_moved--> more, or ended
 *                                   \--no_memory--> IDE_WAIT --ide_cmd_kick--> more
 *   IDE_WORK --keep, machine_request--> IDE_STOPPED --ide_cmd_again--> IDE_WORK
 *   any --over--> IDE_IDLE
 *
 * 1. With direct, data moves between storage and the guest's own memory, which is pinned by
 *    ops->map until the request ends.  Otherwise it moves through buf, one DRQ block at a time.
 * 2. io_done() runs on the device loop and takes the controller's domain; the block layer never
 *    calls it from inside blk_submit(). */
#include "hw/storage/ide.h"

#include <errno.h>
#include <string.h>
#include "core/machine.h"
#include "util/bytes.h"
#include "util/trace.h"

static void run(IdeCmd *c);

/* --- requests --- */

static void submit_post(Post *p)
{
    IdeCmd *c = container_of(p, IdeCmd, post);

    blk_user_submit(&c->drive->users[c->user], &c->req);
}

static void host_idle(IdeHost *h)
{
    Barrier *home = h->home;

    if (h->busy == 0 && home != NULL) {
        h->home = NULL;
        barrier_leave(home);
    }
}

/* The medium that was taken out has no request in flight any more. */
static void detach_old(Device *dev, uintptr_t which)
{
    IdeDrive *d = (IdeDrive *)dev;

    if (which != d->current && d->in_use[which] == 0) {
        blk_detach(&d->users[which]);
        d->held[which] = false;
    }
}

/* What the user's policy makes of a host error. */
static BlkErrorAction policy(const IdeCmd *c, int ret)
{
    TRACE(ide_io_error, "id=%s op=%d off=%" PRIu64 " len=%" PRIu64 " error=%d", c->drive->dev.id,
          c->req.op, c->req.off, c->req.len, -ret);
    return blk_front_error(&c->drive->front, c->drive->users[c->user].node, c->req.op == BLK_READ, ret);
}

/* The command stays as it was before its request. */
static void keep(IdeCmd *c)
{
    c->phase = IDE_STOPPED;
    c->host->ops->stopped(c);
    machine_request(REQUEST_IO_ERROR, 0, c->drive->dev.id);
}

static void show(IdeCmd *c, IdePhase phase)
{
    const IdeDriveOps *ops = ide_ops(c->drive);
    /* ATA8-ACS 11.6 and 11.7: no interrupt for a PIO write's first block, nor for a packet. */
    bool irq = phase == IDE_IN || (c->step != IDE_PACKET && (ops->atapi || c->asked));

    c->asked = true;
    c->phase = phase;
    c->host->ops->drq(c, irq);
}

static void io_ended(IdeCmd *c, int ret)
{
    const IdeDriveOps *ops = ide_ops(c->drive);

    if (ret < 0) {
        BlkErrorAction action = policy(c, ret);
        if (action == BLK_ERROR_STOP) {
            keep(c);
            return;
        }
        if (action == BLK_ERROR_REPORT) {
            ops->failed(c, ret);
            return;
        }
    }
    if (c->step == IDE_NO_DATA) {
        ops->next(c);
        return;
    }
    c->off += c->req.len;
    c->left -= c->req.len;
    c->moved += c->req.len;
    if (c->step == IDE_READ && !c->direct) {
        show(c, IDE_IN);
    } else {
        run(c);
    }
}

static void io_done(BlkReq *r, int ret)
{
    IdeCmd *c = container_of(r, IdeCmd, req);
    IdeHost *h = c->host;
    IdeDrive *d = c->drive;
    Domain *domain = h->dev->domain;

    domain_enter(domain);
    h->busy--;
    if (--d->in_use[c->user] == 0 && c->user != d->current) {
        machine_defer(&d->dev, detach_old, c->user);
    }
    if (c->direct && r->iov != NULL) {
        dma_unmap(h->dev, c->iov, c->niov, r->op == BLK_READ ? r->len : 0);
    }
    c->phase = IDE_IDLE;
    if (c->orphan) {
        c->orphan = false;
        h->ops->dropped(c);
    } else {
        io_ended(c, ret);
    }
    host_idle(h);
    domain_leave(domain);
}

static void submit(IdeCmd *c, BlkOp op, uint64_t off, uint64_t len, unsigned niov)
{
    IdeDrive *d = c->drive;
    Loop *loop = c->host->dev->loop;

    c->niov = niov;
    c->req.op = op;
    c->req.flags = op == BLK_WRITE && c->fua ? BLK_FUA : 0;
    c->req.off = off;
    c->req.len = len;
    c->req.iov = niov > 0 ? c->iov : NULL;
    c->req.niov = niov;
    c->req.loop = loop;
    c->req.done = io_done;
    c->phase = IDE_WORK;
    c->user = d->current;
    d->in_use[c->user]++;
    c->host->busy++;
    if (loop_here(loop)) {
        blk_user_submit(&d->users[c->user], &c->req);
    } else {
        c->post.run = submit_post;
        loop_post(loop, &c->post);
    }
}

/* --- moving data --- */

/* map failed: waits for the bus master, or ends. */
static void no_memory(IdeCmd *c, int err)
{
    if (err == -EAGAIN) {
        c->phase = IDE_WAIT;
        return;
    }
    c->dma_error = err;
    ide_fail(c, IDE_E_ABRT);
}

static void transfer(IdeCmd *c)
{
    bool read = c->step == IDE_READ;
    size_t got;

    if (c->left == 0) {
        ide_ops(c->drive)->ended(c);
        return;
    }
    if (c->drive->node == NULL) {              /* the medium was changed under a command */
        ide_ops(c->drive)->failed(c, -ENOMEDIUM);
        return;
    }
    if (c->direct) {
        int n = c->host->ops->map(c, MIN(c->left, IDE_CHUNK),
                                  read ? DMA_FROM_DEVICE : DMA_TO_DEVICE, c->iov, IDE_IOV, &got);
        if (n < 0) {
            no_memory(c, n);
            return;
        }
        submit(c, read ? BLK_READ : BLK_WRITE, c->off, got, n);
        return;
    }
    c->at = 0;
    c->end = c->total = MIN(c->left, c->drq);
    c->iov[0] = (struct iovec){ ide_buf(c), c->end };
    if (read) {
        submit(c, BLK_READ, c->off, c->end, 1);
    } else {
        show(c, IDE_OUT);
    }
}

static void copy(const struct iovec *iov, unsigned n, uint8_t *buf, bool to_guest)
{
    for (unsigned i = 0; i < n; i++) {
        memcpy(to_guest ? iov[i].iov_base : buf, to_guest ? buf : iov[i].iov_base, iov[i].iov_len);
        buf += iov[i].iov_len;
    }
}

/* Moves buf[end..total) by map; returns 0 or what map said. */
static int copy_direct(IdeCmd *c, bool to_guest)
{
    while (c->end < c->total) {
        size_t got;
        int n = c->host->ops->map(c, c->total - c->end, to_guest ? DMA_FROM_DEVICE : DMA_TO_DEVICE,
                                  c->iov, IDE_IOV, &got);
        if (n < 0) {
            return n;
        }
        copy(c->iov, n, c->buf + c->end, to_guest);
        dma_unmap(c->host->dev, c->iov, n, to_guest ? got : 0);
        c->end += got;
        c->moved += got;
    }
    return 0;
}

static void reply(IdeCmd *c)
{
    if (c->direct) {
        int ret = copy_direct(c, true);
        if (ret == -EAGAIN || ret == -EFAULT) {
            no_memory(c, ret);
            return;
        }
        c->dma_error = ret; /* less room than the reply has: the rest is dropped */
    } else if (c->end < c->total) {
        c->at = c->end;
        c->end += MIN(c->total - c->end, c->drq);
        c->moved += c->end - c->at;
        show(c, IDE_IN);
        return;
    }
    ide_ops(c->drive)->ended(c);
}

static void param(IdeCmd *c)
{
    if (c->direct) {
        int ret = copy_direct(c, false);
        if (ret < 0) {
            no_memory(c, ret);
            return;
        }
    } else if (c->end < c->total) {
        c->at = c->end;
        c->end += MIN(c->total - c->end, c->drq);
        c->moved += c->end - c->at;
        show(c, IDE_OUT);
        return;
    }
    ide_ops(c->drive)->param(c);
}

static void packet(IdeCmd *c)
{
    if (c->at == 0 && c->phase == IDE_IDLE) {
        c->end = c->total = 12;
        ide_buf(c);
        show(c, IDE_OUT);
        return;
    }
    memcpy(c->cdb, c->buf, 12);
    c->phase = IDE_IDLE;
    c->asked = false;
    ide_ops(c->drive)->packet(c);
}

static void run(IdeCmd *c)
{
    switch (c->step) {
    case IDE_READ:
    case IDE_WRITE:
        transfer(c);
        break;
    case IDE_REPLY:
        reply(c);
        break;
    case IDE_PARAM:
        param(c);
        break;
    case IDE_PACKET:
        packet(c);
        break;
    default:
        ide_fail(c, IDE_E_ABRT);               /* a loaded state that no command leads to */
        break;
    }
}

/* --- for drive types --- */

uint8_t *ide_buf(IdeCmd *c)
{
    if (c->buf == NULL) {
        c->buf = g_malloc0(IDE_BUF);
    }
    return c->buf;
}

static void begin(IdeCmd *c, IdeStep step, uint32_t drq)
{
    c->step = step;
    c->drq = MIN(MAX(drq, 2), IDE_BUF);
    c->at = c->end = 0;
    c->asked = false;
}

void ide_read(IdeCmd *c, uint64_t off, uint64_t len, uint32_t drq)
{
    begin(c, IDE_READ, drq);
    c->off = c->first = off;
    c->left = len;
    run(c);
}

void ide_write(IdeCmd *c, uint64_t off, uint64_t len, uint32_t drq, bool fua)
{
    begin(c, IDE_WRITE, drq);
    c->off = c->first = off;
    c->left = len;
    c->fua = fua;
    run(c);
}

void ide_reply(IdeCmd *c, uint32_t n, uint32_t drq)
{
    begin(c, IDE_REPLY, drq);
    c->total = MIN(n, IDE_BUF);
    run(c);
}

void ide_take(IdeCmd *c, uint32_t n, uint32_t drq)
{
    begin(c, IDE_PARAM, drq);
    c->total = MIN(n, IDE_BUF);
    memset(ide_buf(c), 0, c->total);
    run(c);
}

void ide_take_packet(IdeCmd *c)
{
    begin(c, IDE_PACKET, 12);
    run(c);
}

void ide_request(IdeCmd *c, BlkOp op, uint64_t off, uint64_t len)
{
    c->step = IDE_NO_DATA;
    c->ask = op;
    c->ask_off = off;
    c->ask_len = len;
    submit(c, op, off, len, 0);
}

static void over(IdeCmd *c)
{
    c->phase = IDE_IDLE;
    TRACE(ide_done, "id=%s tag=%u command=0x%02x status=0x%02x error=0x%02x", c->drive->dev.id,
          c->tag, c->command, c->status, c->error);
    c->host->ops->done(c);
}

void ide_finish(IdeCmd *c)
{
    c->status = IDE_DRDY | IDE_DSC;
    c->error = 0;
    over(c);
}

/* The Queued Error log: registers as in a FIS, by tag (ATA8-ACS, A.14). */
static void log_queued(IdeCmd *c)
{
    uint8_t *log = c->drive->ata.ncq_log;

    memset(log, 0, sizeof(c->drive->ata.ncq_log));
    log[0] = c->tag;
    log[2] = c->status;
    log[3] = c->error;
    for (unsigned i = 0; i < 3; i++) {
        log[4 + i] = c->lba >> (8 * i) & 0xff;
        log[8 + i] = c->lba >> (24 + 8 * i) & 0xff;
    }
    log[7] = c->device;
    log[12] = c->count & 0xff;
    log[13] = c->count >> 8;
}

void ide_fail(IdeCmd *c, uint8_t error)
{
    c->status = IDE_DRDY | IDE_DSC | IDE_ERR;
    c->error = error;
    if (c->queued) {
        log_queued(c);
    }
    over(c);
}

/* --- for controllers --- */

void ide_cmd_start(IdeCmd *c)
{
    TRACE(ide_command,
          "id=%s tag=%u command=0x%02x feature=0x%04x count=0x%04x lba=%" PRIu64 " device=0x%02x",
          c->drive->dev.id, c->tag, c->command, c->feature, c->count, c->lba, c->device);
    assert_domain(c->host->dev->domain);
    c->status = c->error = 0;
    c->pio_in = c->fua = c->asked = c->orphan = false;
    c->dma_error = 0;
    c->moved = c->off = c->left = c->first = 0;
    c->at = c->end = c->total = c->item = 0;
    c->step = IDE_NO_DATA;
    ide_ops(c->drive)->start(c);
}

void ide_cmd_kick(IdeCmd *c)
{
    if (c->phase == IDE_WAIT) {
        c->phase = IDE_IDLE;
        run(c);
    }
}

/* The guest has filled buf. */
static void write_buf(IdeCmd *c)
{
    c->iov[0] = (struct iovec){ ide_buf(c), c->end };
    submit(c, BLK_WRITE, c->off, c->end, 1);
}

void ide_cmd_again(IdeCmd *c)
{
    if (c->phase != IDE_STOPPED) {
        return;
    }
    c->phase = IDE_IDLE;
    TRACE(ide_again, "id=%s command=0x%02x", c->drive->dev.id, c->command);
    if (c->drive->node == NULL) {
        ide_ops(c->drive)->failed(c, -ENOMEDIUM);
    } else if (c->step == IDE_NO_DATA) {
        submit(c, c->ask, c->ask_off, c->ask_len, 0);
    } else if (c->step == IDE_WRITE && !c->direct) {
        write_buf(c);
    } else {
        run(c);
    }
}

void ide_cmd_moved(IdeCmd *c)
{
    if (c->phase == IDE_OUT && c->step == IDE_WRITE) {
        if (c->drive->node == NULL) {
            ide_ops(c->drive)->failed(c, -ENOMEDIUM);
            return;
        }
        write_buf(c);
    } else if (c->phase == IDE_OUT || c->phase == IDE_IN) {
        c->at = c->end;
        run(c);
    }
}

bool ide_cmd_cancel(IdeCmd *c)
{
    if (c->phase == IDE_WORK) {
        c->orphan = true;
        return false;
    }
    c->phase = IDE_IDLE;
    return true;
}

void ide_cmd_free(IdeCmd *c)
{
    g_clear_pointer(&c->buf, g_free);
}

void ide_host_quiesce(IdeHost *h, Barrier *home)
{
    assert_domain(h->dev->domain);
    h->home = home;
    host_idle(h);
}

/* The first N such that "ide.N" is no bus yet. */
static unsigned free_number(Device *root)
{
    unsigned n = 0;

    for (;; n++) {
        g_autofree char *name = g_strdup_printf("ide.%u", n);
        if (bus_find(root, NULL, name, NULL) == NULL) {
            return n;
        }
    }
}

void ide_bus_init(IdeBus *b, IdeHost *h, unsigned index, unsigned units)
{
    Device *d = h->dev;
    bool named = d->machine != NULL && d->parent == d->machine->peripheral;
    g_autofree char *name = NULL;

    assert_control();
    *b = (IdeBus){ .host = h, .index = index, .number = index };
    if (named) {
        name = g_strdup_printf("%s.%u", d->id, index);
    } else {
        b->number = free_number(d->machine->root);
        name = g_strdup_printf("ide.%u", b->number);
    }
    b->bus = bus_new(&ide_slot, d, name);
    b->bus->capacity = units;
    b->bus->priv = b;
}

/* --- saved commands --- */

static void cmd_before_save(void *obj)
{
    IdeCmd *c = obj;

    if (c->saved == NULL) {
        c->saved = g_byte_array_new();
    }
    g_byte_array_set_size(c->saved, 0);
    if (c->phase != IDE_IDLE && c->buf != NULL) {
        g_byte_array_append(c->saved, c->buf, MIN(c->total, IDE_BUF));
    }
}

static bool cmd_check(void *obj, Error **errp)
{
    IdeCmd *c = obj;

    if (c->phase >= IDE_PHASES || c->phase == IDE_WORK || c->step >= IDE_STEPS) {
        return error_set(errp, "a command in phase %u, step %u", c->phase, c->step);
    }
    if (c->at > c->end || c->end > c->total || c->total > IDE_BUF || c->drq > IDE_BUF ||
        (c->phase != IDE_IDLE && c->drq == 0)) {
        return error_set(errp, "data window %u to %u of %u, blocks of %u", c->at, c->end, c->total,
                         c->drq);
    }
    if (c->left > UINT64_MAX / 2 || c->off > UINT64_MAX / 2) {
        return error_set(errp, "data at %" PRIu64 ", %" PRIu64 " bytes", c->off, c->left);
    }
    if (c->phase == IDE_STOPPED &&
        (c->step == IDE_NO_DATA ? c->ask != BLK_FLUSH && c->ask != BLK_DISCARD
                                : c->step != IDE_READ && c->step != IDE_WRITE)) {
        return error_set(errp, "a request of step %u, kind %u", c->step, c->ask);
    }
    c->orphan = false;
    if (c->phase != IDE_IDLE && c->saved != NULL && c->saved->len > 0) {
        memset(ide_buf(c), 0, IDE_BUF);
        memcpy(c->buf, c->saved->data, MIN(c->saved->len, IDE_BUF));
    }
    return true;
}

static const StateField cmd_fields[] = {
    STATE_BOOL(IdeCmd, direct), STATE_BOOL(IdeCmd, has_packet),     STATE_BOOL(IdeCmd, pio_in),
    STATE_BOOL(IdeCmd, fua),    STATE_BOOL(IdeCmd, asked),          STATE_U8(IdeCmd, command),
    STATE_U8(IdeCmd, device),   STATE_U16(IdeCmd, feature),         STATE_U16(IdeCmd, count),
    STATE_U64(IdeCmd, lba),     STATE_BYTES(IdeCmd, cdb),           STATE_U8(IdeCmd, phase),
    STATE_U8(IdeCmd, step),     STATE_U64(IdeCmd, moved),           STATE_U64(IdeCmd, off),
    STATE_U64(IdeCmd, left),    STATE_U64(IdeCmd, first),           STATE_U32(IdeCmd, at),
    STATE_U32(IdeCmd, end),     STATE_U32(IdeCmd, total),           STATE_U32(IdeCmd, drq),
    STATE_U32(IdeCmd, item),    STATE_U8(IdeCmd, ask),           STATE_U64(IdeCmd, ask_off),
    STATE_U64(IdeCmd, ask_len), STATE_BLOB(IdeCmd, saved, IDE_BUF), { 0 },
};

const StateDesc ide_cmd_state = {
    .name = "ide-command",
    .version = 1,
    .fields = cmd_fields,
    .before_save = cmd_before_save,
    .check = cmd_check,
};

/* --- the slot --- */

static IdeBus *bus_of(Bus *b)
{
    return b->priv;
}

static bool slot_attach(Bus *b, Device *dev, Error **errp)
{
    IdeDrive *d = (IdeDrive *)dev;
    IdeBus *bus = bus_of(b);

    if (d->unit == UINT32_MAX) {
        for (d->unit = 0; d->unit < b->capacity - 1 && bus->drives[d->unit] != NULL; d->unit++) {
        }
    }
    if (d->unit >= b->capacity) {
        return error_set(errp, "Can't create IDE unit %u, bus supports only %u units", d->unit,
                         b->capacity);
    }
    if (bus->drives[d->unit] != NULL) {
        return error_set(errp, "IDE unit %u is in use", d->unit);
    }
    d->bus = bus;
    return true;
}

static bool slot_publish(Bus *b, Device *dev, Error **errp)
{
    IdeDrive *d = (IdeDrive *)dev;
    IdeHost *h = d->bus->host;

    domain_enter(dev->domain);
    d->bus->drives[d->unit] = d;
    if (machine_was_reset()) {
        h->ops->plugged(h, d);
    }
    domain_leave(dev->domain);
    return true;
}

static void slot_withdraw(Bus *b, Device *dev)
{
    IdeDrive *d = (IdeDrive *)dev;

    domain_enter(dev->domain);
    if (d->bus->drives[d->unit] == d) {
        d->bus->drives[d->unit] = NULL;
    }
    domain_leave(dev->domain);
}

static const PropDesc slot_props[] = {
    PROP_U32(IdeDrive, unit, "unit", UINT32_MAX, 0, UINT32_MAX,
             "place on the bus; the first free one if unset"),
    PROP_STR(IdeDrive, serial, "serial", "serial number, up to 20 characters"),
    PROP_STR(IdeDrive, model, "model", "model name, up to 40 characters"),
    PROP_STR(IdeDrive, ver, "ver", "firmware revision, up to 8 characters"),
    PROP_U64(IdeDrive, wwn, "wwn", 0, 0, UINT64_MAX, "world wide name; 0: none"),
    PROP_I32(IdeDrive, bootindex, "bootindex", -1, -1, INT32_MAX,
             "place in the boot order; -1: none"),
    PROP_SIZE(IdeDrive, logical, "logical_block_size", 0, 0, 2 * MiB,
              "A power of two between 512 B and 2 MiB"),
    PROP_SIZE(IdeDrive, physical, "physical_block_size", 0, 0, 2 * MiB,
              "A power of two between 512 B and 2 MiB"),
    PROP_SIZE(IdeDrive, min_io, "min_io_size", 0, 0, 2 * MiB, "kept for configuration files"),
    PROP_SIZE(IdeDrive, opt_io, "opt_io_size", 0, 0, 2 * MiB, "kept for configuration files"),
    PROP_SIZE(IdeDrive, discard_granularity, "discard_granularity", UINT32_MAX, 0, UINT32_MAX,
              "smallest piece worth discarding; 0: no TRIM"),
    PROP_ENUM(IdeDrive, write_cache, "write-cache", prop_onoffauto, ONOFF_AUTO,
              "the guest sees a write cache"),
    PROP_BOOL(IdeDrive, share_rw, "share-rw", false, "others may write to the medium too"),
    PROP_ENUM(IdeDrive, rerror, "rerror", blk_on_error_names, BLK_ON_ERROR_AUTO,
              "Error handling policy, report/ignore/enospc/stop/auto"),
    PROP_ENUM(IdeDrive, werror, "werror", blk_on_error_names, BLK_ON_ERROR_AUTO,
              "Error handling policy, report/ignore/enospc/stop/auto"),
    PROP_ENUM(IdeDrive, account_invalid, "account-invalid", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    PROP_ENUM(IdeDrive, account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    PROP_ENUM(IdeDrive, backend_defaults, "backend_defaults", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    { 0 },
};

const SlotType ide_slot = {
    .name = "ide", .bus = "IDE", .base_size = sizeof(IdeDrive), .props = slot_props, .attach = slot_attach,
    .publish = slot_publish, .withdraw = slot_withdraw,
};

/* --- media --- */

static bool check_sizes(IdeDrive *d, Error **errp)
{
    uint64_t *sizes[] = { &d->logical, &d->physical };

    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        if (*sizes[i] != 0 && (*sizes[i] < 512 || (*sizes[i] & (*sizes[i] - 1)) != 0)) {
            return error_set(errp,
                             "%s_block_size: a power of two between 512 B and 2 MiB is expected",
                             i ? "physical" : "logical");
        }
    }
    if (d->logical > MAX(d->physical, 512)) {
        return error_set(errp, "logical_block_size > physical_block_size not supported");
    }
    if (d->logical > 512) {
        return error_set(errp, "logical_block_size must be 512 for IDE");
    }
    if ((d->serial && strlen(d->serial) > 20) || (d->model && strlen(d->model) > 40) ||
        (d->ver && strlen(d->ver) > 8)) {
        return error_set(errp, "serial has at most 20, model 40 and ver 8 characters");
    }
    return true;
}

/* On control: another node is what users[@which] uses. */
static void medium_moved(IdeDrive *d, unsigned which)
{
    domain_enter(d->dev.domain);
    if (which == d->current && d->node != NULL) {
        d->node = d->users[which].node;
        __atomic_store_n(&d->front.node, d->node, __ATOMIC_RELEASE);
    }
    domain_leave(d->dev.domain);
}

static void moved_0(BlkUser *u)
{
    medium_moved(container_of(u, IdeDrive, users[0]), 0);
}

static void moved_1(BlkUser *u)
{
    medium_moved(container_of(u, IdeDrive, users[1]), 1);
}

static bool attach_medium(IdeDrive *d, BlkNode *n, unsigned which, bool write, Error **errp)
{
    unsigned share = BLK_PERM_READ | BLK_PERM_RESIZE | (d->share_rw ? BLK_PERM_WRITE : 0);
    g_autofree char *who = g_strdup_printf("device '%s'", d->dev.id);

    d->users[which].moved = which ? moved_1 : moved_0;
    d->users[which].front = &d->front;
    d->held[which] = blk_attach(n, &d->users[which], who,
                                BLK_PERM_READ | (write ? BLK_PERM_WRITE : 0), share, errp);
    return d->held[which];
}

bool ide_drive_open(IdeDrive *d, bool write, Error **errp)
{
    BlkNode *n = d->drive;
    bool has_id = d->dev.parent == d->dev.machine->peripheral;

    if (!check_sizes(d, errp)) {
        return false;
    }
    if (write && n != NULL && blk_read_only(n)) {
        return error_set(errp, "Block node is read-only");
    }
    if (n != NULL && !attach_medium(d, n, 0, write, errp)) {
        return false;
    }
    if (!machine_bootindex(d->dev.machine, &d->dev, d->bootindex, errp)) {
        ide_drive_close(d);
        return false;
    }
    d->current = 0;
    d->node = n;
    d->front.removable = !write;
    d->front.tray = write ? NULL : &ide_cd_tray;
    d->front.rerror = (BlkOnError)d->rerror;
    d->front.werror = (BlkOnError)d->werror;
    blk_front_open(&d->front, n, has_id ? d->dev.id : NULL,
                   has_id ? g_strdup(d->dev.id) : device_path(&d->dev));
    return true;
}

void ide_drive_close(IdeDrive *d)
{
    blk_front_close(&d->front);
    blk_detach(&d->users[0]);
    blk_detach(&d->users[1]);
    d->held[0] = d->held[1] = false;
    d->node = NULL;
}

static bool is_cd(Device *dev, Error **errp)
{
    return dev->type == &ide_cd_type ||
           error_set(errp, "Device '%s' has no removable medium", dev->id);
}

bool ide_cd_open_tray(Device *dev, bool force, Error **errp)
{
    IdeDrive *d = (IdeDrive *)dev;
    bool open = false;

    assert_control();
    if (!is_cd(dev, errp)) {
        return false;
    }
    domain_enter(dev->domain);
    bool was_open = d->cd.tray.open;
    if (d->cd.tray.locked && !force && !was_open) {
        d->cd.tray.eject_wanted = true;
    } else {
        d->cd.tray.open = open = true;
        d->cd.tray.eject_wanted = false;
    }
    domain_leave(dev->domain);
    if (open && !was_open) {
        blk_front_tray_moved(&d->front, true);
    }
    if (!open) {
        error_set(errp, "Device '%s' is locked and force was not specified, wait for tray to open "
                  "and try again", dev->id);
    }
    return open;
}

void ide_cd_close_tray(Device *dev)
{
    IdeDrive *d = (IdeDrive *)dev;

    assert_control();
    domain_enter(dev->domain);
    bool was_open = d->cd.tray.open;
    if (was_open) {
        d->cd.tray.open = false;
        d->cd.tray.attention = d->cd.tray.changed = d->node != NULL;
    }
    domain_leave(dev->domain);
    if (was_open) {
        blk_front_tray_moved(&d->front, false);
    }
}

bool ide_cd_change(Device *dev, BlkNode *n, Error **errp)
{
    IdeDrive *d = (IdeDrive *)dev;
    unsigned other = !d->current;

    assert_control();
    if (!is_cd(dev, errp)) {
        return false;
    }
    if (!d->cd.tray.open && d->node != NULL && n != NULL) {
        return error_set(errp, "Tray of device '%s' is not open", dev->id);
    }
    if (d->held[other]) {
        return error_set(errp, "The last medium of device '%s' is still in use", dev->id);
    }
    if (n != NULL && !attach_medium(d, n, other, false, errp)) {
        return false;
    }
    domain_enter(dev->domain);
    d->current = other;
    d->node = n;
    __atomic_store_n(&d->front.node, n, __ATOMIC_RELEASE);
    if (!d->cd.tray.open) {
        d->cd.tray.attention = d->cd.tray.changed = n != NULL;
    }
    domain_leave(dev->domain);
    detach_old(dev, !other);
    return true;
}

/* --- the same for whoever knows the front alone --- */

static IdeDrive *drive_of(const BlkFront *f)
{
    return container_of((BlkFront *)f, IdeDrive, front);
}

static bool tray_open(BlkFront *f, bool force, Error **errp)
{
    return ide_cd_open_tray(&drive_of(f)->dev, force, errp);
}

static void tray_close(BlkFront *f)
{
    ide_cd_close_tray(&drive_of(f)->dev);
}

static bool ask_cd(const BlkFront *f, bool locked)
{
    IdeDrive *d = drive_of(f);

    domain_enter(d->dev.domain);
    bool is = locked ? d->cd.tray.locked : d->cd.tray.open;
    domain_leave(d->dev.domain);
    return is;
}

static bool tray_is_open(const BlkFront *f)
{
    return ask_cd(f, false);
}

static bool tray_is_locked(const BlkFront *f)
{
    return ask_cd(f, true);
}

static bool tray_change(BlkFront *f, BlkNode *n, Error **errp)
{
    return ide_cd_change(&drive_of(f)->dev, n, errp);
}

const BlkTrayOps ide_cd_tray = {
    .open = tray_open, .close = tray_close, .is_open = tray_is_open, .is_locked = tray_is_locked,
    .change = tray_change,
};
