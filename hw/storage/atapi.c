/* atapi.c: "ide-cd", an ATAPI CD-ROM and DVD-ROM drive (ATA8-ACS packet commands; SPC-3, MMC-5).
 *
 *   no medium --medium.c--> medium, attention --any command--> ready
 *   tray closed --START STOP UNIT, medium.c--> tray open (not ready)
 *   tray open --START STOP UNIT, medium.c--> attention, or no medium
 *
 * 1. A packet ends by good(), by sense(), or by all its data having moved.
 * 2. The drive shows the medium in blocks of 2048 bytes; a last part of a block is not shown.
 * 3. A changed medium is told once, by UNIT ATTENTION, to the first command that needs the medium;
 *    GET EVENT STATUS tells it once as well. */
#include <errno.h>
#include <string.h>
#include "core/machine.h"
#include "hw/storage/ata.h"
#include "util/bytes.h"
#include "util/trace.h"

#define MODEL "QEMU DVD-ROM"
#define REVISION "2.5+"
enum { NEEDS_MEDIUM = 1, IGNORES_CHANGE = 2 };

/* 0: no medium, or it is in an open tray. */
static uint32_t blocks(IdeDrive *d)
{
    return (uint32_t)MIN(medium_size(&d->medium) / CD_SECTOR, UINT32_MAX);
}

/* --- ends of a command --- */

/* The count register of a packet command ends with I/O and C/D set. */
static void end_registers(IdeCmd *c)
{
    c->count = IDE_IO | IDE_CD;
}

static void good(IdeCmd *c)
{
    AtapiState *s = &c->drive->cd;

    s->key = s->asc = s->ascq = 0;
    end_registers(c);
    ide_finish(c);
}

static void sense(IdeCmd *c, ScsiSense why)
{
    AtapiState *s = &c->drive->cd;

    TRACE(ide_sense, "id=%s packet=0x%02x key=%u asc=0x%02x ascq=0x%02x", c->drive->dev.id,
          c->cdb[0], why.key, why.asc, why.ascq);
    s->key = why.key;
    s->asc = why.asc;
    s->ascq = why.ascq;
    end_registers(c);
    ide_fail(c, (uint8_t)(why.key << 4) | IDE_E_ABRT);
}

/* The guest's limit for a block of PIO data: 0 and odd numbers as SFF-8020i has them. */
static uint32_t byte_count(const IdeCmd *c)
{
    uint32_t limit = c->lba >> 8 & 0xffff;

    if (limit == 0 || limit == 0xffff) {
        limit = 0xfffe;
    }
    return MAX(limit & ~1u, 2);
}

/* Sends buf[0..n), no more than the allocation length @room. */
static void answer(IdeCmd *c, uint32_t n, uint32_t room)
{
    n = MIN(n, room);
    if (n == 0) {
        good(c);
        return;
    }
    ide_reply(c, n, byte_count(c));
}

static uint8_t *fresh(IdeCmd *c)
{
    uint8_t *buf = ide_buf(c);

    memset(buf, 0, MMC_REPLY_MAX);
    return buf;
}

/* --- packets --- */

static void pkt_good(IdeCmd *c)
{
    good(c);
}

static void pkt_request_sense(IdeCmd *c)
{
    AtapiState *s = &c->drive->cd;
    uint8_t *buf = fresh(c);

    if (s->key == 0 && medium_take_attention(&c->drive->medium)) {
        s->key = 0x06;
        s->asc = 0x28;
    }
    put_sense(buf, SENSE(s->key, s->asc, s->ascq));
    answer(c, SENSE_FIXED, c->cdb[4]);
}

static void pkt_inquiry(IdeCmd *c)
{
    const IdeDrive *d = c->drive;
    uint8_t *buf = fresh(c);
    uint16_t room = get16(c->cdb + 3);

    if (c->cdb[1] & 1) { /* vital product data: the list, and the serial number */
        g_autofree char *serial = ata_serial(d);
        buf[0] = 5;
        buf[1] = c->cdb[2];
        if (c->cdb[2] == 0x00) {
            buf[3] = 2;
            buf[5] = 0x80;
            answer(c, 6, room);
        } else if (c->cdb[2] == 0x80) {
            buf[3] = 20;
            put_text(buf + 4, serial, 20);
            answer(c, 24, room);
        } else {
            sense(c, SENSE_BAD_FIELD);
        }
        return;
    }
    if (c->cdb[2] != 0) {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    buf[0] = 5;                                /* CD/DVD device */
    buf[1] = 0x80;                             /* removable */
    buf[2] = 0;
    buf[3] = 0x21;                             /* ATAPI, response format 1 */
    buf[4] = 31;
    put_text(buf + 8, "QEMU", 8);
    put_text(buf + 16, d->model ? d->model : MODEL, 16);
    put_text(buf + 32, d->ver ? d->ver : REVISION, 4);
    answer(c, 36, room);
}

static void pkt_capacity(IdeCmd *c)
{
    uint8_t *buf = fresh(c);
    uint32_t all = blocks(c->drive);

    if (all == 0) {                            /* taken out since the packet was looked at */
        sense(c, SENSE_NO_MEDIUM);
        return;
    }
    put32(buf, all - 1);
    put32(buf + 4, CD_SECTOR);
    answer(c, 8, 8);
}

static void read_blocks(IdeCmd *c, uint32_t first, uint32_t n)
{
    uint32_t all = blocks(c->drive), limit = byte_count(c);

    if (!fits(first, n, all)) {
        sense(c, SENSE_BAD_LBA);
        return;
    }
    if (n == 0) {
        good(c);
        return;
    }
    /* Whole blocks at a time where the guest has room for them. */
    limit = limit >= CD_SECTOR ? ALIGN_DOWN(MIN(limit, 32 * CD_SECTOR), CD_SECTOR) : limit;
    ide_read(c, (uint64_t)first * CD_SECTOR, (uint64_t)n * CD_SECTOR, limit);
}

static void pkt_read(IdeCmd *c)
{
    bool ten = c->cdb[0] == 0x28;

    read_blocks(c, get32(c->cdb + 2), ten ? get16(c->cdb + 7) : get32(c->cdb + 6));
}

static void pkt_read_cd(IdeCmd *c)
{
    uint32_t first, n;

    if (mmc_read_cd(c->cdb, &first, &n)) {
        read_blocks(c, first, n);
    } else {
        sense(c, SENSE_BAD_FIELD);
    }
}

/* What is the same behind SCSI. */
static void pkt_mmc(IdeCmd *c)
{
    MmcAnswer a = { .buf = fresh(c) };

    switch (medium_command(&c->drive->medium, 2, c->cdb, &a)) {
    case MMC_ANSWER:
        answer(c, a.n, a.room);
        return;
    case MMC_REFUSED:
        sense(c, a.sense);
        return;
    default:
        good(c);
        return;
    }
}

static uint32_t mode_page(IdeDrive *d, uint8_t page, uint8_t *p)
{
    switch (page) {
    case 0x01:                                 /* read error recovery */
        p[0] = page;
        p[1] = 6;
        p[3] = 5;
        return 8;
    case 0x0e:                                 /* audio control */
        p[0] = page;
        p[1] = 14;
        return 16;
    case 0x2a:                                 /* capabilities (MMC-3, 5.5.10) */
        p[0] = page;
        p[1] = 20;
        p[2] = 0x3b;                           /* reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM */
        p[4] = 0x70;                           /* mode 2, multi-session */
        p[6] = 0x29 | (medium_is_locked(&d->medium) ? 2 : 0);  /* tray, ejects, locks */
        put16(p + 8, 706);                     /* KB/s: 4x */
        put16(p + 10, 2);
        put16(p + 12, 512);
        put16(p + 14, 706);
        return 22;
    default:
        return 0;
    }
}

static void pkt_mode_sense(IdeCmd *c)
{
    static const uint8_t all[] = { 0x01, 0x0e, 0x2a };
    IdeDrive *d = c->drive;
    uint8_t type = medium_is_out(&d->medium) ? 0x71 : medium_size(&d->medium) > 0 ? 0x01 : 0x70;
    bool ten = c->cdb[0] == 0x5a;
    uint8_t page = c->cdb[2] & 0x3f, *buf = fresh(c);
    uint32_t n = ten ? 8 : 4, head = n;

    if (c->cdb[2] >> 6 == 3) {
        sense(c, SENSE_NO_SAVING);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (page == 0x3f || page == all[i]) {
            uint32_t size = mode_page(d, all[i], buf + n);
            if (c->cdb[2] >> 6 == 1) {         /* what may be changed: nothing */
                memset(buf + n + 2, 0, size - 2);
            }
            n += size;
        }
    }
    if (n == head) {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    if (ten) {
        put16(buf, n - 2);
        buf[2] = type;
    } else {
        buf[0] = (uint8_t)(n - 1);
        buf[1] = type;
    }
    answer(c, n, ten ? get16(c->cdb + 7) : c->cdb[4]);
}

static void pkt_mode_select(IdeCmd *c)
{
    uint32_t n = c->cdb[0] == 0x55 ? get16(c->cdb + 7) : c->cdb[4];

    if (n == 0) {
        good(c);
    } else {
        ide_take(c, MIN(n, 4096), byte_count(c));
    }
}

typedef struct Packet {
    uint8_t code;
    void (*run)(IdeCmd *c);
    unsigned flags;
} Packet;

static const Packet packets[] = {
    { 0x00, pkt_good, NEEDS_MEDIUM },          /* TEST UNIT READY */
    { 0x03, pkt_request_sense, IGNORES_CHANGE },
    { 0x12, pkt_inquiry, IGNORES_CHANGE },
    { 0x15, pkt_mode_select, 0 },
    { 0x1a, pkt_mode_sense, 0 },
    { 0x1b, pkt_mmc, 0 },
    { 0x1e, pkt_mmc, 0 },
    { 0x25, pkt_capacity, NEEDS_MEDIUM },
    { 0x28, pkt_read, NEEDS_MEDIUM },
    { 0x2b, pkt_good, NEEDS_MEDIUM },          /* SEEK */
    { 0x2f, pkt_good, NEEDS_MEDIUM },          /* VERIFY */
    { 0x43, pkt_mmc, NEEDS_MEDIUM },
    { 0x46, pkt_mmc, IGNORES_CHANGE },
    { 0x4a, pkt_mmc, IGNORES_CHANGE },
    { 0x51, pkt_mmc, NEEDS_MEDIUM },
    { 0x52, pkt_mmc, NEEDS_MEDIUM },
    { 0x55, pkt_mode_select, 0 },
    { 0x5a, pkt_mode_sense, 0 },
    { 0xa8, pkt_read, NEEDS_MEDIUM },
    { 0xad, pkt_mmc, NEEDS_MEDIUM },
    { 0xbb, pkt_good, 0 },                     /* SET CD SPEED */
    { 0xbd, pkt_mmc, IGNORES_CHANGE },
    { 0xbe, pkt_read_cd, NEEDS_MEDIUM },
};

static void atapi_packet(IdeCmd *c)
{
    IdeDrive *d = c->drive;
    const Packet *p = NULL;

    TRACE(ide_packet, "id=%s packet=0x%02x lba=%u", d->dev.id, c->cdb[0], get32(c->cdb + 2));
    for (unsigned i = 0; i < ARRAY_LEN(packets) && p == NULL; i++) {
        p = packets[i].code == c->cdb[0] ? &packets[i] : NULL;
    }
    if (p == NULL) {
        sense(c, SENSE_BAD_OPCODE);
    } else if (!(p->flags & IGNORES_CHANGE) && medium_take_attention(&d->medium)) {
        sense(c, SENSE_CHANGED);
    } else if ((p->flags & NEEDS_MEDIUM) && blocks(d) == 0) {
        sense(c, medium_is_out(&d->medium) ? SENSE_TRAY_OPEN : SENSE_NO_MEDIUM);
    } else {
        p->run(c);
    }
}

/* --- commands of the register set --- */

static void identify(IdeCmd *c)
{
    const IdeDrive *d = c->drive;
    uint8_t *id = ide_buf(c);
    g_autofree char *serial = ata_serial(d);

    memset(id, 0, IDE_SECTOR);
    ata_word(id, 0, 0x85c0); /* ATAPI, CD-ROM, removable, 50 us, 12-byte packets */
    ata_text(id, 10, serial, 20);
    ata_text(id, 23, d->ver ? d->ver : REVISION, 8);
    ata_text(id, 27, d->model ? d->model : MODEL, 40);
    ata_word(id, 48, 0x4000);
    ata_identify_modes(id, d->cd.xfer_mode);
    ata_word(id, 71, 30);
    ata_word(id, 72, 30);
    ata_word(id, 80, 0x01f0);
    ata_word(id, 82, 0x4210);                  /* NOP, DEVICE RESET, PACKET */
    ata_word(id, 83, 0x4000);
    ata_word(id, 84, 0x4000 | (d->wwn ? 0x0100 : 0));
    ata_word(id, 85, 0x4210);
    ata_word(id, 87, 0x4000 | (d->wwn ? 0x0100 : 0));
    for (unsigned i = 0; i < 4 && d->wwn; i++) {
        ata_word(id, 108 + i, (uint16_t)(d->wwn >> (48 - 16 * i)));
    }
    if (d->bus->host->sata) {
        ata_word(id, 76, 0x0002);
        ata_word(id, 222, 0x101f);
    } else {
        ata_word(id, 93, 0x4000 | 0x2000 | 0x0001 | (d->unit ? 0x0700 : 0));
    }
    c->direct = d->bus->host->sata;
    c->pio_in = true;
    ide_reply(c, IDE_SECTOR, IDE_SECTOR);
}

static void set_features(IdeCmd *c)
{
    uint8_t what = c->feature & 0xff;
    bool ok = what == 0x66 || what == 0xcc;    /* whether settings survive a reset: no effect */

    if (what == 0x03) {
        ok = ata_set_transfer_mode(&c->drive->cd.xfer_mode, c->count & 0xff);
    }
    if (ok) {
        ide_finish(c);
    } else {
        ide_fail(c, IDE_E_ABRT);
    }
}

static void atapi_start(IdeCmd *c)
{
    switch (c->command) {
    case 0xa0:
        if (c->feature & 2) {                  /* overlap */
            ide_fail(c, IDE_E_ABRT);
            break;
        }
        c->direct = c->host->sata || (c->feature & 1);
        if (c->has_packet) {
            atapi_packet(c);
        } else {
            ide_take_packet(c);
        }
        break;
    case 0xa1:
        identify(c);
        break;
    case 0xef:
        set_features(c);
        break;
    case 0xe5:                                 /* CHECK POWER MODE: active */
        c->count = 0xff;
        ide_finish(c);
        break;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0xe6:
        ide_finish(c);
        break;
    case 0xec: case 0x20:
        /* Aborted with the signature, by which one knows a packet device (ATA8-ACS, 7.16.5). */
        c->count = 1;
        c->lba = 0xeb1401;
        ide_fail(c, IDE_E_ABRT);
        break;
    default:
        ide_fail(c, IDE_E_ABRT);
        break;
    }
}

static void atapi_param(IdeCmd *c)
{
    good(c);                                   /* MODE SELECT: nothing can be changed */
}

static void atapi_ended(IdeCmd *c)
{
    if (c->command == 0xa0) {
        if (c->cdb[0] == 0x03) {
            c->drive->cd.key = c->drive->cd.asc = c->drive->cd.ascq = 0;
        }
        good(c);
    } else {
        ide_finish(c);
    }
}

static void atapi_failed(IdeCmd *c, int err)
{
    if (err == -ENOMEDIUM) {
        sense(c, SENSE_NO_MEDIUM);
    } else {
        sense(c, SENSE_READ_ERROR);
    }
}

static void atapi_srst(IdeDrive *d)
{
    d->cd.key = d->cd.asc = d->cd.ascq = 0;
}

static const IdeDriveOps atapi_ops = {
    .atapi = true,
    .signature = IDE_SIG_ATAPI,
    .start = atapi_start,
    .packet = atapi_packet,
    .param = atapi_param,
    .next = good,
    .ended = atapi_ended,
    .failed = atapi_failed,
    .srst = atapi_srst,
};

/* --- ide-cd --- */

static bool cd_realize(Device *dev, Error **errp)
{
    return ide_drive_open((IdeDrive *)dev, false, errp);
}

static void cd_unrealize(Device *dev)
{
    ide_drive_close((IdeDrive *)dev);
}

static void cd_reset(Device *dev, ResetKind kind)
{
    IdeDrive *d = (IdeDrive *)dev;

    d->cd = (AtapiState){ .xfer_mode = 0x45 };
    medium_reset(&d->medium, kind != RESET_POWER);
}

static const StateField atapi_fields[] = {
    STATE_U8(AtapiState, key),
    STATE_U8(AtapiState, asc),
    STATE_U8(AtapiState, ascq),
    { .name = "tray", .kind = ST_STRUCT, .at = offsetof(IdeDrive, medium.tray) - offsetof(IdeDrive, cd),
      .count = 1, .sub = &mmc_tray_state },
    STATE_U8(AtapiState, xfer_mode),
    { 0 },
};

static const StateDesc atapi_state = { .name = "atapi", .version = 1, .fields = atapi_fields };

static const StateField cd_fields[] = {
    STATE_STRUCT(IdeDrive, cd, &atapi_state),
    { 0 },
};

static const StateDesc cd_state = { .name = "ide-cd", .version = 1, .fields = cd_fields };

static const PropDesc cd_props[] = {
    PROP_LINK(IdeDrive, drive, "drive", "blockdev",
              "Node name or ID of a block device to use as a backend"),
    { 0 },
};

const DeviceType ide_cd_type = {
    .name = "ide-cd", .summary = "virtual IDE CD-ROM", .slot = &ide_slot, .size = sizeof(IdeDrive),
    .category = "Storage", .props = cd_props, .state = &cd_state, .slot_ops = &atapi_ops,
    .realize = cd_realize, .unrealize = cd_unrealize, .reset = cd_reset,
};
