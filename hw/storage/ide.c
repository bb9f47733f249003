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

    blk_user_submit(&c->drive->medium.users[c->user], &c->req);
}

static void host_idle(IdeHost *h)
{
    Barrier *home = h->home;

    if (h->busy == 0 && home != NULL) {
        h->home = NULL;
        barrier_leave(home);
    }
}

/* What the user's policy makes of a host error. */
static BlkErrorAction policy(const IdeCmd *c, int ret)
{
    Medium *m = &c->drive->medium;

    TRACE(ide_io_error, "id=%s op=%d off=%" PRIu64 " len=%" PRIu64 " error=%d", c->drive->dev.id,
          c->req.op, c->req.off, c->req.len, -ret);
    return blk_front_error(&m->front, m->users[c->user].node, c->req.op == BLK_READ, ret);
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
    Medium *m = &c->drive->medium;
    Domain *domain = h->dev->domain;
    unsigned user = c->user;                   /* the command may claim the medium again */

    domain_enter(domain);
    h->busy--;
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
    medium_release(m, user);
    host_idle(h);
    domain_leave(domain);
}

/* Until its request has ended; false: there is no medium, and the command has failed. */
static bool claim(IdeCmd *c)
{
    bool is = medium_claim(&c->drive->medium, &c->user);

    if (!is) {
        ide_ops(c->drive)->failed(c, -ENOMEDIUM);
    }
    return is;
}

/* The medium is claimed. */
static void submit(IdeCmd *c, BlkOp op, uint64_t off, uint64_t len, unsigned niov)
{
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
    c->host->busy++;
    if (loop_here(loop)) {
        blk_user_submit(&c->drive->medium.users[c->user], &c->req);
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
    if (!claim(c)) {
        return;
    }
    if (c->direct) {
        int n = c->host->ops->map(c, MIN(c->left, IDE_CHUNK),
                                  read ? DMA_FROM_DEVICE : DMA_TO_DEVICE, c->iov, IDE_IOV, &got);
        if (n < 0) {
            medium_release(&c->drive->medium, c->user);
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
        medium_release(&c->drive->medium, c->user);
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
    if (claim(c)) {
        submit(c, op, off, len, 0);
    }
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
    if (claim(c)) {
        c->iov[0] = (struct iovec){ ide_buf(c), c->end };
        submit(c, BLK_WRITE, c->off, c->end, 1);
    }
}

void ide_cmd_again(IdeCmd *c)
{
    if (c->phase != IDE_STOPPED) {
        return;
    }
    c->phase = IDE_IDLE;
    TRACE(ide_again, "id=%s command=0x%02x", c->drive->dev.id, c->command);
    if (c->step == IDE_NO_DATA) {
        ide_request(c, c->ask, c->ask_off, c->ask_len);
    } else if (c->step == IDE_WRITE && !c->direct) {
        write_buf(c);
    } else {
        run(c);
    }
}

void ide_cmd_moved(IdeCmd *c)
{
    if (c->phase == IDE_OUT && c->step == IDE_WRITE) {
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
        if (bus_find(root, name, NULL) == NULL) {
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
              "so do those that make no sense"),
    PROP_ENUM(IdeDrive, account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO,
              "requests that fail count in the times"),
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

static const MediumOps medium_ops = { 0 };

bool ide_drive_open(IdeDrive *d, bool write, Error **errp)
{
    BlkNode *n = d->drive;

    if (!check_sizes(d, errp)) {
        return false;
    }
    if (write && n != NULL && blk_read_only(n)) {
        return error_set(errp, "Block node is read-only");
    }
    d->medium.dev = &d->dev;
    d->medium.write = write;
    d->medium.share_rw = d->share_rw;
    d->medium.front.rerror = (BlkOnError)d->rerror;
    d->medium.front.werror = (BlkOnError)d->werror;
    d->medium.front.account_failed = (BlkAccount)d->account_failed;
    d->medium.front.account_invalid = (BlkAccount)d->account_invalid;
    return machine_bootindex(d->dev.machine, &d->dev, d->bootindex, errp) &&
           medium_open(&d->medium, n, !write, &medium_ops, errp);
}

void ide_drive_close(IdeDrive *d)
{
    medium_close(&d->medium);
}
