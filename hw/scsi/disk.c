/* disk.c: "scsi-hd" and "scsi-cd": block commands (SBC-3) and those of CD drives (MMC-5), see scsi.h.
 *
 *   scsi_disk_run --> command's function --> scsi_reply, scsi_good, scsi_check
 *                         \--request--> io_done --> c->next --> the next request, or an end
 *
 * 1. Data of reads and writes moves between storage and the guest's own memory.  What is compared, or
 *    written again and again, goes by a buffer of SCSI_CHUNK bytes.
 * 2. What a guest sends is copied before the first request, for its memory can be read in scsi_cmd_start()
 *    only; at most PARAM_MAX bytes of it.
 * 3. A request that stops the machine stops its whole command, which is made again from its beginning: each
 *    of them may be.
 * 4. With the cache off, or with FUA, a write is answered when it is durable. */
#include <errno.h>
#include <stdlib.h>
#include "core/machine.h"
#include "hw/scsi/scsi-int.h"
#include "util/bytes.h"
#include "util/trace.h"

#define PARAM_MAX 4096

enum { MEDIUM = 1, WRITES = 2, DISK = 4, CD = 8, BOTH = DISK | CD };

/* --- requests --- */

void scsi_disk_end(ScsiCmd *c)
{
    if (c->claimed) {
        medium_release(&c->dev->medium, c->user);
        c->claimed = false;
    }
    g_clear_pointer(&c->buf, g_free);
}

static ScsiSense sense_of(const ScsiCmd *c, int err)
{
    switch (err) {
    case -ENOSPC:
        return SENSE_NO_SPACE;
    case -ENOMEDIUM:
        return SENSE_NO_MEDIUM;
    case -EACCES:
        return SENSE_WRITE_PROTECTED;
    default:
        return c->req.op == BLK_READ ? SENSE_READ_ERROR : SENSE_WRITE_ERROR;
    }
}

static void stop(ScsiCmd *c)
{
    ScsiDev *d = c->dev;

    scsi_disk_end(c);
    machine_request(REQUEST_IO_ERROR, 0, d->dev.id);
    c->bus->ops->stopped(c);
    scsi_dev_leave(d);
}

static void io_done(BlkReq *r, int ret)
{
    ScsiCmd *c = container_of(r, ScsiCmd, req);
    Medium *m = &c->dev->medium;

    if (ret < 0 && !(ret == -ENOTSUP && r->op == BLK_DISCARD)) {
        TRACE(scsi_io_error, "id=%s op=%d off=%" PRIu64 " len=%" PRIu64 " error=%d", c->dev->dev.id, r->op,
              r->off, r->len, -ret);
        switch (blk_front_error(&m->front, m->users[c->user].node, r->op == BLK_READ, ret)) {
        case BLK_ERROR_STOP:
            stop(c);
            return;
        case BLK_ERROR_REPORT:
            scsi_check(c, sense_of(c, ret));
            return;
        case BLK_ERROR_IGNORE:
            break;
        }
    }
    c->next(c);
}

/* The medium stays claimed until the command ends. */
static bool claim(ScsiCmd *c)
{
    c->claimed = c->claimed || medium_claim(&c->dev->medium, &c->user);
    if (!c->claimed) {
        scsi_check(c, SENSE_NO_MEDIUM);
    }
    return c->claimed;
}

static void submit(ScsiCmd *c, BlkOp op, unsigned flags, uint64_t off, uint64_t len, void (*next)(ScsiCmd *))
{
    if (!claim(c)) {
        return;
    }
    c->next = next;
    c->req.op = op;
    c->req.flags = flags;
    c->req.off = off;
    c->req.len = len;
    c->req.loop = c->loop;
    c->req.done = io_done;
    blk_user_submit(&c->dev->medium.users[c->user], &c->req);
}

/* Reads or writes @len bytes of the command's own buffer. */
static void submit_buf(ScsiCmd *c, BlkOp op, unsigned flags, uint64_t off, uint64_t len,
                       void (*next)(ScsiCmd *))
{
    c->one = (struct iovec){ c->buf, len };
    c->req.iov = &c->one;
    c->req.niov = 1;
    submit(c, op, flags, off, len, next);
}

static void submit_bare(ScsiCmd *c, BlkOp op, unsigned flags, uint64_t off, uint64_t len,
                        void (*next)(ScsiCmd *))
{
    c->req.iov = NULL;
    c->req.niov = 0;
    submit(c, op, flags, off, len, next);
}

static unsigned durable(const ScsiCmd *c)
{
    return c->cdb[1] & 0x08 || !__atomic_load_n(&c->dev->wce, __ATOMIC_RELAXED) ? BLK_FUA : 0;
}

/* --- what a CDB says --- */

typedef struct Range {
    uint64_t lba, n;           /* in blocks */
    uint64_t off, len;         /* in bytes */
} Range;

/* By the group of the code (SPC-4, 4.2.5.1); false: the command has ended. */
static bool range_of(ScsiCmd *c, Range *r)
{
    const uint8_t *cdb = c->cdb;
    uint64_t all = scsi_blocks(c->dev);

    switch (cdb[0] >> 5) {
    case 0:
        r->lba = get24(cdb + 1) & 0x1fffff;
        r->n = cdb[4] != 0 ? cdb[4] : 256;
        break;
    case 4:
        r->lba = get64(cdb + 2);
        r->n = get32(cdb + 10);
        break;
    case 5:
        r->lba = get32(cdb + 2);
        r->n = get32(cdb + 6);
        break;
    default:
        r->lba = get32(cdb + 2);
        r->n = get16(cdb + 7);
        break;
    }
    if (!fits(r->lba, r->n, all)) {
        scsi_check(c, SENSE_BAD_LBA);
        return false;
    }
    r->off = r->lba * c->dev->logical;
    r->len = r->n * c->dev->logical;
    return true;
}

/* The parameter list of @n bytes in c->buf; false: the command has ended. */
static bool take_list(ScsiCmd *c, uint32_t n)
{
    if (n > c->room_out) {
        scsi_overrun(c);
        return false;
    }
    n = MIN(n, PARAM_MAX);
    c->buf = g_malloc0(PARAM_MAX);
    if (c->bus->ops->take(c, c->buf, n) != n) {
        c->result = SCSI_FAILURE;
        scsi_good(c);
        return false;
    }
    return true;
}

/* Maps the data of the command; false: the command has ended. */
static bool map_data(ScsiCmd *c, uint64_t len, DmaDir dir)
{
    if (len > (dir == DMA_FROM_DEVICE ? c->room_in : c->room_out)) {
        scsi_overrun(c);
        return false;
    }
    int n = c->bus->ops->map(c, len, dir, &c->iov);
    if (n < 0) {
        c->result = SCSI_FAILURE;
        scsi_good(c);
        return false;
    }
    c->niov = (unsigned)n;
    return true;
}

/* --- reading and writing --- */

static void rw_done(ScsiCmd *c)
{
    c->moved = c->req.len;
    scsi_good(c);
}

static void read_blocks(ScsiCmd *c, uint64_t off, uint64_t len)
{
    if (len == 0) {
        scsi_good(c);
    } else if (map_data(c, len, DMA_FROM_DEVICE)) {
        c->req.iov = c->iov;
        c->req.niov = c->niov;
        submit(c, BLK_READ, 0, off, len, rw_done);
    }
}

static void cmd_read(ScsiCmd *c)
{
    Range r;

    if (c->cdb[0] != 0x08 && c->cdb[1] & 0xe0) {           /* protection information there is none */
        scsi_check(c, SENSE_BAD_FIELD);
    } else if (range_of(c, &r)) {
        read_blocks(c, r.off, r.len);
    }
}

static void cmd_read_cd(ScsiCmd *c)
{
    uint32_t first, n;

    if (!mmc_read_cd(c->cdb, &first, &n)) {
        scsi_check(c, SENSE_BAD_FIELD);
    } else if (!fits(first, n, scsi_blocks(c->dev))) {
        scsi_check(c, SENSE_BAD_LBA);
    } else {
        read_blocks(c, (uint64_t)first * CD_SECTOR, (uint64_t)n * CD_SECTOR);
    }
}

static void cmd_write(ScsiCmd *c)
{
    bool verify = c->cdb[0] == 0x2e || c->cdb[0] == 0x8e || c->cdb[0] == 0xae;
    Range r;

    if (c->cdb[0] != 0x0a && c->cdb[1] & 0xe0) {
        scsi_check(c, SENSE_BAD_FIELD);
    } else if (!range_of(c, &r)) {
        return;
    } else if (r.len == 0) {
        scsi_good(c);
    } else if (map_data(c, r.len, DMA_TO_DEVICE)) {
        c->req.iov = c->iov;
        c->req.niov = c->niov;
        /* What was verified is what the storage has. */
        submit(c, BLK_WRITE, verify ? BLK_FUA : durable(c), r.off, r.len, rw_done);
    }
}

/* --- VERIFY --- */

static bool same_data(const ScsiCmd *c, uint64_t at, const uint8_t *data, uint64_t len)
{
    for (unsigned i = 0; i < c->niov && len > 0; i++) {
        size_t part = c->iov[i].iov_len;
        if (at >= part) {
            at -= part;
            continue;
        }
        size_t n = MIN(part - at, len);
        if (memcmp((const uint8_t *)c->iov[i].iov_base + at, data, n) != 0) {
            return false;
        }
        data += n;
        len -= n;
        at = 0;
    }
    return len == 0;
}

static void verify_next(ScsiCmd *c);

static void verify_read(ScsiCmd *c)
{
    uint64_t n = c->req.len;

    if (!same_data(c, c->skip, c->buf, n)) {
        scsi_check(c, SENSE_MISCOMPARE);
        return;
    }
    c->skip += n;
    c->off += n;
    c->left -= n;
    verify_next(c);
}

static void verify_next(ScsiCmd *c)
{
    if (c->left == 0) {
        c->moved = c->skip;
        scsi_good(c);
    } else {
        submit_buf(c, BLK_READ, 0, c->off, MIN(c->left, SCSI_CHUNK), verify_read);
    }
}

static void cmd_verify(ScsiCmd *c)
{
    uint8_t compare = c->cdb[1] >> 1 & 3;
    Range r;

    if (c->cdb[1] & 0xe0 || compare > 1) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    if (!range_of(c, &r)) {
        return;
    }
    if (compare == 0 || r.len == 0) {
        scsi_good(c);
        return;
    }
    if (map_data(c, r.len, DMA_TO_DEVICE)) {
        c->buf = g_malloc(SCSI_CHUNK);
        c->off = r.off;
        c->left = r.len;
        c->skip = 0;
        verify_next(c);
    }
}

/* --- WRITE SAME --- */

static void same_next(ScsiCmd *c)
{
    uint64_t n = MIN(c->left, c->skip), at = c->off;

    if (n == 0) {
        scsi_good(c);
        return;
    }
    c->off += n;
    c->left -= n;
    submit_buf(c, BLK_WRITE, durable(c), at, n, same_next);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* SBC-3, 5.43 and 5.44. */
static void cmd_write_same(ScsiCmd *c)
{
    bool unmap = c->cdb[1] & 0x08, no_data = c->cdb[0] == 0x93 && c->cdb[1] & 0x01;
    uint64_t block = c->dev->logical;
    Range r;

    /* Protection, anchors, the old bits LBDATA and PBDATA; all blocks to the end is not offered (WSNZ). */
    if (c->cdb[1] & 0xf0 || (c->cdb[0] == 0x41 && c->cdb[1] & 0x06)) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    if (!range_of(c, &r)) {
        return;
    }
    if (r.n == 0 || r.len > c->dev->max_io || (unmap && c->dev->discard_granularity == 0)) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    if (!no_data && block > c->room_out) {
        scsi_overrun(c);
        return;
    }
    c->skip = MAX(SCSI_CHUNK, block);          /* whole blocks: both are powers of two */
    c->buf = g_malloc0(c->skip);
    if (!no_data && c->bus->ops->take(c, c->buf, block) != block) {
        c->result = SCSI_FAILURE;
        scsi_good(c);
        return;
    }
    unsigned fua = __atomic_load_n(&c->dev->wce, __ATOMIC_RELAXED) ? 0 : BLK_FUA;
    c->moved = no_data ? 0 : block;
    if (no_data || all_zero(c->buf, block)) {
        submit_bare(c, BLK_ZERO, fua | (unmap ? BLK_MAY_UNMAP : 0), r.off, r.len, scsi_good);
        return;
    }
    for (uint64_t at = block; at < MIN(r.len, c->skip); at += block) {
        memcpy(c->buf + at, c->buf, block);
    }
    c->off = r.off;
    c->left = r.len;
    same_next(c);
}

/* --- UNMAP --- */

static void unmap_next(ScsiCmd *c)
{
    while (c->item < c->items) {
        const uint8_t *p = c->buf + 8 + 16u * c->item++;
        uint64_t n = get32(p + 8);
        if (n > 0) {
            submit_bare(c, BLK_DISCARD, 0, get64(p) * c->dev->logical, n * c->dev->logical, unmap_next);
            return;
        }
    }
    scsi_good(c);
}

/* The list makes no sense. */
static void refuse_unmap(ScsiCmd *c, ScsiSense sense)
{
    blk_front_invalid(&c->dev->medium.front, BLK_DISCARD);
    scsi_check(c, sense);
}

/* SBC-3, 5.32. */
static void cmd_unmap(ScsiCmd *c)
{
    uint32_t len = get16(c->cdb + 7), list;
    uint64_t all = scsi_blocks(c->dev), sum = 0;

    if (c->cdb[1] & 1) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    if (len == 0) {
        scsi_good(c);
        return;
    }
    if (len < 8) {
        refuse_unmap(c, SENSE_BAD_LENGTH);
        return;
    }
    if (len > 8 + 16 * SCSI_UNMAPS) {
        refuse_unmap(c, SENSE_BAD_PARAM);
        return;
    }
    if (!take_list(c, len)) {
        return;
    }
    list = get16(c->buf + 2);
    if (list % 16 != 0 || list + 8 > len || get16(c->buf) < list + 6) {
        refuse_unmap(c, SENSE_BAD_PARAM);
        return;
    }
    c->items = list / 16;
    c->item = 0;
    for (unsigned i = 0; i < c->items; i++) {
        const uint8_t *p = c->buf + 8 + 16 * i;
        sum += get32(p + 8);
        if (!fits(get64(p), get32(p + 8), all)) {
            refuse_unmap(c, SENSE_BAD_LBA);
            return;
        }
    }
    if (sum * c->dev->logical > c->dev->max_unmap) {
        refuse_unmap(c, SENSE_BAD_PARAM);
        return;
    }
    c->moved = len;
    unmap_next(c);
}

/* --- the rest --- */

static void cmd_good(ScsiCmd *c)
{
    scsi_good(c);
}

static void cmd_flush(ScsiCmd *c)
{
    submit_bare(c, BLK_FLUSH, 0, 0, 0, scsi_good);
}

static void cmd_inquiry(ScsiCmd *c)
{
    ScsiReply r = { 0 };
    ScsiSense s;

    if (scsi_inquiry(c->dev, c->cdb, &r, &s)) {
        scsi_reply(c, &r, get16(c->cdb + 3));
    } else {
        scsi_check(c, s);
    }
}

static void cmd_mode_sense(ScsiCmd *c)
{
    ScsiReply r = { 0 };
    ScsiSense s;

    if (scsi_mode_sense(c->dev, c->cdb, &r, &s)) {
        scsi_reply(c, &r, c->cdb[0] == 0x5a ? get16(c->cdb + 7) : c->cdb[4]);
    } else {
        scsi_check(c, s);
    }
}

static void cmd_mode_select(ScsiCmd *c)
{
    uint32_t len = c->cdb[0] == 0x55 ? get16(c->cdb + 7) : c->cdb[4];
    bool flush = false;
    ScsiSense s;

    if (len > PARAM_MAX) {
        scsi_check(c, SENSE_BAD_PARAM);
    } else if (!take_list(c, len)) {
        return;
    } else if (!scsi_mode_select(c->dev, c->cdb, c->buf, len, &flush, &s)) {
        scsi_check(c, s);
    } else {
        c->moved = len;
        if (flush && medium_size(&c->dev->medium) != 0) {
            cmd_flush(c);
        } else {
            scsi_good(c);
        }
    }
}

static void cmd_capacity_10(ScsiCmd *c)
{
    uint64_t all = scsi_blocks(c->dev);
    ScsiReply r = { .n = 8 };

    if (!(c->cdb[8] & 1) && get32(c->cdb + 2) != 0) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    put32(r.buf, (uint32_t)MIN(all - 1, UINT32_MAX));
    put32(r.buf + 4, (uint32_t)c->dev->logical);
    scsi_reply(c, &r, 8);
}

/* READ CAPACITY (16) (SBC-3, 5.18) is the one SERVICE ACTION IN there is. */
static void cmd_service_in(ScsiCmd *c)
{
    ScsiDev *d = c->dev;
    ScsiReply r = { .n = 32 };

    if ((c->cdb[1] & 31) != 0x10 || (!(c->cdb[14] & 1) && get64(c->cdb + 2) != 0)) {
        scsi_check(c, SENSE_BAD_FIELD);
        return;
    }
    put64(r.buf, scsi_blocks(d) - 1);
    put32(r.buf + 8, (uint32_t)d->logical);
    r.buf[13] = (uint8_t)(__builtin_ctzll(d->physical) - __builtin_ctzll(d->logical));
    r.buf[14] = d->discard_granularity != 0 ? 0x80 : 0;
    scsi_reply(c, &r, get32(c->cdb + 10));
}

/* Commands of the tray and of a CD. */
static void cmd_mmc(ScsiCmd *c)
{
    ScsiReply r = { 0 };
    MmcAnswer a = { .buf = r.buf };

    switch (medium_command(&c->dev->medium, 1, c->cdb, &a)) {
    case MMC_ANSWER:
        r.n = a.n;
        scsi_reply(c, &r, a.room);
        break;
    case MMC_REFUSED:
        scsi_check(c, a.sense);
        break;
    default:
        scsi_good(c);
        break;
    }
}

static void cmd_start_stop(ScsiCmd *c)
{
    if (c->dev->medium.front.removable) {
        cmd_mmc(c);
    } else {
        scsi_good(c);
    }
}

typedef struct Command {
    uint8_t code;
    uint8_t flags;
    void (*run)(ScsiCmd *c);
} Command;

static const Command commands[] = {
    { 0x00, BOTH | MEDIUM, cmd_good },                 /* TEST UNIT READY */
    { 0x08, BOTH | MEDIUM, cmd_read },
    { 0x0a, DISK | MEDIUM | WRITES, cmd_write },
    { 0x12, BOTH, cmd_inquiry },
    { 0x15, BOTH, cmd_mode_select },
    { 0x16, BOTH, cmd_good },                          /* RESERVE (6), RELEASE (6): there is one initiator */
    { 0x17, BOTH, cmd_good },
    { 0x1a, BOTH, cmd_mode_sense },
    { 0x1b, BOTH, cmd_start_stop },
    { 0x1e, BOTH, cmd_start_stop },                    /* PREVENT ALLOW MEDIUM REMOVAL */
    { 0x25, BOTH | MEDIUM, cmd_capacity_10 },
    { 0x28, BOTH | MEDIUM, cmd_read },
    { 0x2a, DISK | MEDIUM | WRITES, cmd_write },
    { 0x2b, BOTH | MEDIUM, cmd_good },                 /* SEEK (10) */
    { 0x2e, DISK | MEDIUM | WRITES, cmd_write },       /* WRITE AND VERIFY (10) */
    { 0x2f, BOTH | MEDIUM, cmd_verify },
    { 0x35, BOTH | MEDIUM, cmd_flush },                /* SYNCHRONIZE CACHE (10) */
    { 0x41, DISK | MEDIUM | WRITES, cmd_write_same },
    { 0x42, DISK | MEDIUM | WRITES, cmd_unmap },
    { 0x43, CD | MEDIUM, cmd_mmc },                    /* READ TOC */
    { 0x46, CD, cmd_mmc },                             /* GET CONFIGURATION */
    { 0x4a, CD, cmd_mmc },                             /* GET EVENT STATUS NOTIFICATION */
    { 0x51, CD | MEDIUM, cmd_mmc },                    /* READ DISC INFORMATION */
    { 0x52, CD | MEDIUM, cmd_mmc },                    /* READ TRACK INFORMATION */
    { 0x55, BOTH, cmd_mode_select },
    { 0x5a, BOTH, cmd_mode_sense },
    { 0x88, BOTH | MEDIUM, cmd_read },
    { 0x8a, DISK | MEDIUM | WRITES, cmd_write },
    { 0x8e, DISK | MEDIUM | WRITES, cmd_write },
    { 0x8f, BOTH | MEDIUM, cmd_verify },
    { 0x91, BOTH | MEDIUM, cmd_flush },
    { 0x93, DISK | MEDIUM | WRITES, cmd_write_same },
    { 0x9e, BOTH | MEDIUM, cmd_service_in },
    { 0xa8, BOTH | MEDIUM, cmd_read },
    { 0xaa, DISK | MEDIUM | WRITES, cmd_write },
    { 0xad, CD | MEDIUM, cmd_mmc },                    /* READ DVD STRUCTURE */
    { 0xae, DISK | MEDIUM | WRITES, cmd_write },
    { 0xaf, BOTH | MEDIUM, cmd_verify },
    { 0xbb, CD, cmd_good },                            /* SET CD SPEED */
    { 0xbd, CD, cmd_mmc },                             /* MECHANISM STATUS */
    { 0xbe, CD | MEDIUM, cmd_read_cd },
};

static int by_code(const void *key, const void *element)
{
    return *(const uint8_t *)key - ((const Command *)element)->code;
}

void scsi_disk_run(ScsiCmd *c)
{
    ScsiDev *d = c->dev;
    const Command *cmd = bsearch(c->cdb, commands, ARRAY_LEN(commands), sizeof(commands[0]), by_code);

    if (cmd == NULL || !(cmd->flags & (scsi_is_cd(d) ? CD : DISK))) {
        scsi_check(c, SENSE_BAD_OPCODE);
    } else if (cmd->flags & MEDIUM && scsi_blocks(d) == 0) {
        scsi_check(c, medium_is_out(&d->medium) ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM);
    } else if (cmd->flags & WRITES && d->read_only) {
        scsi_check(c, SENSE_WRITE_PROTECTED);
    } else {
        cmd->run(c);
    }
}

/* --- what happens to the medium --- */

static ScsiDev *dev_of(Medium *m)
{
    return container_of(m, ScsiDev, medium);
}

static void says(ScsiDev *d, ScsiSense s)
{
    d->bus->ops->says(d->bus, d, s);
}

static void resized(Medium *m)
{
    ScsiDev *d = dev_of(m);

    __atomic_fetch_or(&d->attention, 1u << SCSI_UA_CAPACITY, __ATOMIC_RELEASE);
    says(d, SENSE_CAPACITY);
}

static void inserted(Medium *m)
{
    says(dev_of(m), SENSE_CHANGED);
}

static const MediumOps medium_ops = { .resized = resized, .inserted = inserted };

/* --- life --- */

static bool pow2_between(uint64_t v, uint64_t lo, uint64_t hi)
{
    return v >= lo && v <= hi && (v & (v - 1)) == 0;
}

static bool check_sizes(ScsiDev *d, const BlkNode *n, Error **errp)
{
    const BlkLimits *l = n != NULL ? blk_limits(n) : NULL;

    if (scsi_is_cd(d)) {
        d->logical = d->physical = CD_SECTOR;
    }
    d->logical = d->logical != 0 ? d->logical : MAX(l != NULL ? l->logical : 0, 512);
    d->physical = d->physical != 0 ? d->physical : MAX(l != NULL ? l->physical : 0, d->logical);
    if (!pow2_between(d->logical, 512, 2 * MiB) || !pow2_between(d->physical, 512, 2 * MiB)) {
        return error_set(errp, "%s_block_size must be a power of two from 512 B to 2 MiB",
                         pow2_between(d->logical, 512, 2 * MiB) ? "physical" : "logical");
    }
    if (d->logical > d->physical) {
        return error_set(errp, "logical_block_size > physical_block_size not supported");
    }
    if (d->min_io % d->logical || d->min_io / d->logical > UINT16_MAX || d->opt_io % d->logical ||
        d->opt_io / d->logical > UINT32_MAX) {
        return error_set(errp, "min_io_size and opt_io_size must be multiples of logical_block_size");
    }
    if (d->discard_granularity == UINT32_MAX) {
        d->discard_granularity = MAX(MAX(l != NULL ? l->discard_align : 0, 4096), d->logical);
    } else if (d->discard_granularity % d->logical) {
        return error_set(errp, "discard_granularity must be a multiple of logical_block_size");
    }
    return true;
}

static void set_default(char **text, const char *value)
{
    if (*text == NULL) {
        *text = g_strdup(value);
    }
}

static bool scsi_realize(Device *dev, Error **errp)
{
    ScsiDev *d = (ScsiDev *)dev;
    const ScsiTypeOps *t = scsi_type(d);
    BlkNode *n = d->drive;

    if (n == NULL && t->type == 0) {
        return error_set(errp, "drive property not set");
    }
    if (!check_sizes(d, n, errp)) {
        return false;
    }
    set_default(&d->vendor, "QEMU");
    set_default(&d->product, t->product);
    set_default(&d->ver, "2.5+");
    set_default(&d->serial, "");
    set_default(&d->device_id, d->serial[0] != '\0' ? d->serial : n != NULL ? blk_drive_id(n) : "");
    d->read_only = t->type != 0 || blk_read_only(n);
    d->medium.dev = dev;
    d->medium.write = !d->read_only;
    d->medium.share_rw = d->share_rw;
    d->medium.front.rerror = (BlkOnError)d->rerror;
    d->medium.front.werror = (BlkOnError)d->werror;
    d->medium.front.account_failed = (BlkAccount)d->account_failed;
    d->medium.front.account_invalid = (BlkAccount)d->account_invalid;
    return machine_bootindex(dev->machine, dev, d->bootindex, errp) &&
           medium_open(&d->medium, n, t->removable || d->removable, &medium_ops, errp);
}

static void scsi_unrealize(Device *dev)
{
    medium_close(&((ScsiDev *)dev)->medium);
}

#define COMMON_PROPS \
    PROP_LINK(ScsiDev, drive, "drive", "blockdev", "Node name or ID of a block device to use as a backend"), \
    PROP_STR(ScsiDev, serial, "serial", "serial number"), \
    PROP_STR(ScsiDev, vendor, "vendor", "vendor's name, up to 8 characters"), \
    PROP_STR(ScsiDev, product, "product", "product's name, up to 16 characters"), \
    PROP_STR(ScsiDev, ver, "ver", "revision, up to 4 characters"), \
    PROP_STR(ScsiDev, device_id, "device_id", "identifier; default: the serial number, or the drive's id"), \
    PROP_U64(ScsiDev, wwn, "wwn", 0, 0, UINT64_MAX, "world wide name; 0: none"), \
    PROP_U64(ScsiDev, port_wwn, "port_wwn", 0, 0, UINT64_MAX, "world wide name of the port; 0: none"), \
    PROP_U16(ScsiDev, port_index, "port_index", 0, 0, UINT16_MAX, "number of the port; 0: none"), \
    PROP_SIZE(ScsiDev, logical, "logical_block_size", 0, 0, 2 * MiB, \
              "A power of two between 512 B and 2 MiB; 0: as the node has it"), \
    PROP_SIZE(ScsiDev, physical, "physical_block_size", 0, 0, 2 * MiB, \
              "A power of two between 512 B and 2 MiB; 0: as the node has it"), \
    PROP_SIZE(ScsiDev, min_io, "min_io_size", 0, 0, UINT32_MAX, "smallest request without a penalty"), \
    PROP_SIZE(ScsiDev, opt_io, "opt_io_size", 0, 0, UINT32_MAX, "request size that works best"), \
    PROP_SIZE(ScsiDev, discard_granularity, "discard_granularity", UINT32_MAX, 0, UINT32_MAX, \
              "alignment of discards; 0: there are none"), \
    PROP_U64(ScsiDev, max_io, "max_io_size", INT32_MAX, 512, INT32_MAX, "most bytes of a transfer"), \
    PROP_I32(ScsiDev, scsi_version, "scsi_version", 5, 0, 7, "as INQUIRY says it"), \
    PROP_I32(ScsiDev, bootindex, "bootindex", -1, -1, INT32_MAX, "place in the boot order; -1: none"), \
    PROP_ENUM(ScsiDev, write_cache, "write-cache", prop_onoffauto, ONOFF_AUTO, "at reset"), \
    PROP_ENUM(ScsiDev, rerror, "rerror", blk_on_error_names, BLK_ON_ERROR_AUTO, \
              "Error handling policy, report/ignore/enospc/stop/auto"), \
    PROP_ENUM(ScsiDev, werror, "werror", blk_on_error_names, BLK_ON_ERROR_AUTO, \
              "Error handling policy, report/ignore/enospc/stop/auto"), \
    PROP_BOOL(ScsiDev, share_rw, "share-rw", false, "others may write the node too"), \
    PROP_ENUM(ScsiDev, account_invalid, "account-invalid", prop_onoffauto, ONOFF_AUTO, \
              "so do those that make no sense"), \
    PROP_ENUM(ScsiDev, account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO, \
              "requests that fail count in the times"), \
    PROP_ENUM(ScsiDev, backend_defaults, "backend_defaults", prop_onoffauto, ONOFF_AUTO, \
              "kept for configuration files")

static const PropDesc hd_props[] = {
    COMMON_PROPS,
    PROP_BOOL(ScsiDev, removable, "removable", false, "the medium can be taken out"),
    PROP_BOOL(ScsiDev, dpofua, "dpofua", false, "tell that FUA is known"),
    PROP_U64(ScsiDev, max_unmap, "max_unmap_size", 1 * GiB, 512, UINT64_C(1) << 40,
             "most bytes of one UNMAP"),
    PROP_U16(ScsiDev, rotation_rate, "rotation_rate", 0, 0, UINT16_MAX,
             "rounds a minute; 1: it does not rotate; 0: not told"),
    PROP_U32(ScsiDev, cyls, "cyls", 0, 0, 65535, "geometry for old guests"),
    PROP_U32(ScsiDev, heads, "heads", 0, 0, 255, "geometry for old guests"),
    PROP_U32(ScsiDev, secs, "secs", 0, 0, 255, "geometry for old guests"),
    PROP_U32(ScsiDev, lcyls, "lcyls", 0, 0, 65535, "geometry that firmware shows"),
    PROP_U32(ScsiDev, lheads, "lheads", 0, 0, 255, "geometry that firmware shows"),
    PROP_U32(ScsiDev, lsecs, "lsecs", 0, 0, 255, "geometry that firmware shows"),
    { 0 },
};

static const PropDesc cd_props[] = {
    COMMON_PROPS,
    { 0 },
};

static const ScsiTypeOps hd_ops = { .type = 0, .product = "QEMU HARDDISK" };
static const ScsiTypeOps cd_ops = { .type = 5, .product = "QEMU CD-ROM", .removable = true };

const DeviceType scsi_hd_type = {
    .name = "scsi-hd", .summary = "virtual SCSI disk", .slot = &scsi_slot, .size = sizeof(ScsiDev),
    .flags = DEV_HOTPLUG, .category = "Storage", .props = hd_props, .slot_ops = &hd_ops,
    .realize = scsi_realize, .unrealize = scsi_unrealize,
};

const DeviceType scsi_cd_type = {
    .name = "scsi-cd", .summary = "virtual SCSI CD-ROM", .slot = &scsi_slot, .size = sizeof(ScsiDev),
    .flags = DEV_HOTPLUG, .category = "Storage", .props = cd_props, .slot_ops = &cd_ops,
    .realize = scsi_realize, .unrealize = scsi_unrealize,
};
