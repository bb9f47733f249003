/* atapi.c: "ide-cd", an ATAPI CD-ROM and DVD-ROM drive (ATA8-ACS packet commands; SPC-3, MMC-5).
 *
 *   no medium --ide_cd_change--> medium, attention --any command--> ready
 *   tray closed --START STOP UNIT, ide_cd_open_tray--> tray open (not ready)
 *   tray open --START STOP UNIT, ide_cd_close_tray--> attention, or no medium
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
#define CD_MAX_BLOCKS 360000   /* larger media are DVDs: 80 minutes at 75 blocks a second */
#define PROFILE_NONE 0x0000
#define PROFILE_CD 0x0008
#define PROFILE_DVD 0x0010

/* Sense keys, and additional sense codes as key, ASC, ASCQ (SPC-3, 4.5.6). */
#define SENSE_NO_MEDIUM 0x02, 0x3a, 0x00
#define SENSE_TRAY_OPEN 0x02, 0x3a, 0x02
#define SENSE_READ_ERROR 0x03, 0x11, 0x00
#define SENSE_BAD_OPCODE 0x05, 0x20, 0x00
#define SENSE_BAD_LBA 0x05, 0x21, 0x00
#define SENSE_BAD_FIELD 0x05, 0x24, 0x00
#define SENSE_LOCKED 0x05, 0x53, 0x02
#define SENSE_CHANGED 0x06, 0x28, 0x00

enum { NEEDS_MEDIUM = 1, IGNORES_CHANGE = 2 };

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }
static void put16(uint8_t *p, uint16_t v) { p[0] = v >> 8; p[1] = v & 0xff; }
static void put32(uint8_t *p, uint32_t v) { put16(p, v >> 16); put16(p + 2, v & 0xffff); }

static uint32_t blocks(const IdeDrive *d)
{
    return d->node ? MIN(blk_size(d->node) / CD_SECTOR, UINT32_MAX) : 0;
}

static bool is_there(const IdeDrive *d)
{
    return d->node != NULL && !d->cd.tray_open;
}

static uint16_t profile(const IdeDrive *d)
{
    return !is_there(d) ? PROFILE_NONE : blocks(d) > CD_MAX_BLOCKS ? PROFILE_DVD : PROFILE_CD;
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

static void sense(IdeCmd *c, uint8_t key, uint8_t asc, uint8_t ascq)
{
    AtapiState *s = &c->drive->cd;

    TRACE(ide_sense, "id=%s packet=0x%02x key=%u asc=0x%02x ascq=0x%02x", c->drive->dev.id,
          c->cdb[0], key, asc, ascq);
    s->key = key;
    s->asc = asc;
    s->ascq = ascq;
    end_registers(c);
    ide_fail(c, (uint8_t)(key << 4) | IDE_E_ABRT);
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

    memset(buf, 0, 1024);
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

    if (s->key == 0 && s->attention && is_there(c->drive)) {
        s->attention = false;
        s->key = 0x06;
        s->asc = 0x28;
    }
    buf[0] = 0x70;
    buf[2] = s->key;
    buf[7] = 10;
    buf[12] = s->asc;
    buf[13] = s->ascq;
    answer(c, 18, c->cdb[4]);
}

static void pad(uint8_t *to, const char *text, unsigned len)
{
    size_t n = MIN(strlen(text), len);

    memset(to, ' ', len);
    memcpy(to, text, n);
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
            pad(buf + 4, serial, 20);
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
    pad(buf + 8, "QEMU", 8);
    pad(buf + 16, d->model ? d->model : MODEL, 16);
    pad(buf + 32, d->ver ? d->ver : REVISION, 4);
    answer(c, 36, room);
}

static void pkt_capacity(IdeCmd *c)
{
    uint8_t *buf = fresh(c);

    put32(buf, blocks(c->drive) - 1);
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

/* READ CD: user data of mode 1 blocks only (MMC-5, 6.21). */
static void pkt_read_cd(IdeCmd *c)
{
    uint32_t n = get32(c->cdb + 5) & 0xffffff;
    uint8_t what = c->cdb[9] & 0xf8;

    if (n == 0 || what == 0x00) {
        good(c);
    } else if (what == 0x10 && (c->cdb[10] & 7) == 0) {
        read_blocks(c, get32(c->cdb + 2), n);
    } else {
        sense(c, SENSE_BAD_FIELD);
    }
}

static void put_address(uint8_t *p, uint32_t lba, bool msf)
{
    if (!msf) {
        put32(p, lba);
        return;
    }
    lba += 150;                                /* two seconds of lead-in */
    p[0] = 0;
    p[1] = (uint8_t)(lba / 75 / 60);
    p[2] = lba / 75 % 60;
    p[3] = lba % 75;
}

/* READ TOC: one data track and the lead-out. */
static void pkt_toc(IdeCmd *c)
{
    bool msf = c->cdb[1] & 2;
    uint8_t format = c->cdb[2] & 0x0f, from = c->cdb[6], *buf = fresh(c);
    uint32_t n = 4;

    if (format == 0) {
        format = c->cdb[9] >> 6;               /* where SFF-8020i had it */
    }
    buf[2] = buf[3] = 1;
    if (format == 0) {
        if (from > 1 && from != 0xaa) {
            sense(c, SENSE_BAD_FIELD);
            return;
        }
        if (from <= 1) {
            buf[n + 1] = 0x14;
            buf[n + 2] = 1;
            put_address(buf + n + 4, 0, msf);
            n += 8;
        }
        buf[n + 1] = 0x16;
        buf[n + 2] = 0xaa;
        put_address(buf + n + 4, blocks(c->drive), msf);
        n += 8;
    } else if (format == 1) {
        buf[5] = 0x14;
        buf[6] = 1;
        put_address(buf + 8, 0, msf);
        n = 12;
    } else if (format == 2) {
        static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 0x01 };
        for (unsigned i = 0; i < ARRAY_LEN(points); i++, n += 11) {
            buf[n] = 1;
            buf[n + 1] = i == 2 ? 0x16 : 0x14;
            buf[n + 3] = points[i];
            if (i < 2) {
                buf[n + 8] = 1;
            } else {
                put_address(buf + n + 7, i == 2 ? blocks(c->drive) : 0, true);
            }
        }
    } else {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    put16(buf, n - 2);
    answer(c, n, get16(c->cdb + 7));
}

static uint32_t feature(uint8_t *p, uint16_t code, uint8_t flags, uint8_t len)
{
    put16(p, code);
    p[2] = flags;
    p[3] = len;
    return 4 + len;
}

/* GET CONFIGURATION (MMC-5, 6.6): profiles and the few features a reader has. */
static void pkt_configuration(IdeCmd *c)
{
    const IdeDrive *d = c->drive;
    uint16_t now = profile(d), start = get16(c->cdb + 2);
    uint8_t rt = c->cdb[1] & 3, *buf = fresh(c), *p;
    uint32_t n = 8;

    if (rt == 3) {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    put16(buf + 6, now);
    for (unsigned i = 0; i < 5; i++) {
        /* Code, current and persistent bits, bytes of data: profile list, core, removable medium,
         * random readable, multi-read. */
        static const struct { uint16_t code; uint8_t flags, len; } rows[] = {
            { 0, 0x03, 8 }, { 1, 0x0b, 8 }, { 3, 0x0b, 4 }, { 0x10, 0x00, 8 }, { 0x1e, 0x08, 4 },
        };
        uint8_t current = rows[i].code >= 0x10 ? now != PROFILE_NONE : 0;
        bool skip = rt == 2 ? rows[i].code != start : rows[i].code < start;
        if (skip || (rt == 1 && !((rows[i].flags | current) & 1))) {
            continue;
        }
        p = buf + n;
        n += feature(p, rows[i].code, rows[i].flags | current, rows[i].len);
        if (i == 0) {
            put16(p + 4, PROFILE_DVD);
            p[6] = now == PROFILE_DVD;
            put16(p + 8, PROFILE_CD);
            p[10] = now == PROFILE_CD;
        } else if (i == 1) {
            put32(p + 4, 2);                   /* ATAPI */
            p[8] = 1;
        } else if (i == 2) {
            p[4] = 0x29;                       /* tray, ejects, locks */
        } else if (i == 3) {
            put32(p + 4, CD_SECTOR);
            put16(p + 8, 16);
            p[10] = 1;
        }
    }
    put32(buf, n - 4);
    answer(c, n, get16(c->cdb + 7));
}

/* GET EVENT STATUS NOTIFICATION (MMC-5, 6.7), polled, media class only. */
static void pkt_event(IdeCmd *c)
{
    IdeDrive *d = c->drive;
    AtapiState *s = &d->cd;
    uint8_t *buf = fresh(c);
    uint32_t n = 4;

    if (!(c->cdb[1] & 1)) {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    buf[3] = 0x10;                             /* classes known: media */
    if (c->cdb[4] & 0x10) {
        buf[2] = 4;
        if (s->eject_wanted) {
            buf[4] = 1;
            s->eject_wanted = false;
        } else if (s->changed && is_there(d)) {
            buf[4] = 2;
            s->changed = false;
        }
        buf[5] = (s->tray_open ? 1 : 0) | (is_there(d) ? 2 : 0);
        n = 8;
    } else {
        buf[2] = 0x80;                         /* no such event class */
    }
    put16(buf, n - 2);
    answer(c, n, get16(c->cdb + 7));
}

static uint32_t mode_page(const IdeDrive *d, uint8_t page, uint8_t *p)
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
        p[6] = 0x29 | (d->cd.locked ? 2 : 0);  /* tray, ejects, locks */
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
    const IdeDrive *d = c->drive;
    bool ten = c->cdb[0] == 0x5a;
    uint8_t page = c->cdb[2] & 0x3f, *buf = fresh(c);
    uint32_t n = ten ? 8 : 4, head = n;

    if (c->cdb[2] >> 6 == 3) {
        sense(c, 0x05, 0x39, 0x00);            /* saving parameters not supported */
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
        buf[2] = d->cd.tray_open ? 0x71 : is_there(d) ? 0x01 : 0x70;
    } else {
        buf[0] = (uint8_t)(n - 1);
        buf[1] = d->cd.tray_open ? 0x71 : is_there(d) ? 0x01 : 0x70;
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

static void pkt_start_stop(IdeCmd *c)
{
    IdeDrive *d = c->drive;
    bool start = c->cdb[4] & 1, load_eject = c->cdb[4] & 2;

    if (c->cdb[4] >> 4 || !load_eject) {       /* power conditions; spinning: nothing to do */
        good(c);
        return;
    }
    if (!start && d->cd.locked && !d->cd.tray_open) {
        sense(c, SENSE_LOCKED);
        return;
    }
    if (start && d->cd.tray_open) {
        d->cd.attention = d->cd.changed = d->node != NULL;
    }
    TRACE(ide_tray, "id=%s open=%d", d->dev.id, !start);
    if (d->cd.tray_open == start) {
        d->cd.tray_open = !start;
        blk_front_tray_moved(&d->front, !start);
    }
    good(c);
}

static void pkt_prevent(IdeCmd *c)
{
    c->drive->cd.locked = c->cdb[4] & 1;
    good(c);
}

static void pkt_mechanism(IdeCmd *c)
{
    uint8_t *buf = fresh(c);

    buf[5] = 1;                                /* one slot */
    buf[1] = c->drive->cd.tray_open ? 0x10 : 0;
    answer(c, 8, get16(c->cdb + 8));
}

static void pkt_disc_info(IdeCmd *c)
{
    uint8_t *buf = fresh(c);

    if (c->cdb[1] & 7) {
        sense(c, SENSE_BAD_FIELD);
        return;
    }
    put16(buf, 32);
    buf[2] = 0x0e;                             /* complete disc, last session complete */
    buf[3] = buf[4] = buf[5] = buf[6] = 1;
    buf[7] = 0x20;                             /* unrestricted use */
    memset(buf + 16, 0xff, 8);
    answer(c, 34, get16(c->cdb + 7));
}

static void pkt_track_info(IdeCmd *c)
{
    uint8_t *buf = fresh(c);

    put16(buf, 34);
    buf[2] = buf[3] = 1;
    buf[5] = 4;
    buf[6] = 1;
    put32(buf + 24, blocks(c->drive));
    answer(c, 36, get16(c->cdb + 7));
}

/* READ DVD STRUCTURE: the physical format of a single layer (MMC-5, 6.27). */
static void pkt_dvd_structure(IdeCmd *c)
{
    uint8_t *buf = fresh(c);
    uint32_t last = blocks(c->drive) - 1;

    if (profile(c->drive) != PROFILE_DVD || c->cdb[7] > 1) {
        sense(c, 0x05, c->cdb[7] > 1 ? 0x24 : 0x30, c->cdb[7] > 1 ? 0x00 : 0x02);
        return;
    }
    if (c->cdb[7] == 1) {
        put16(buf, 6);                         /* not copy-protected */
        answer(c, 8, get16(c->cdb + 8));
        return;
    }
    put16(buf, 2048 + 2);
    buf[4] = 1;                                /* DVD-ROM, version 1 */
    buf[5] = 0x0f;                             /* 120 mm, no minimum rate */
    buf[6] = 1;                                /* one layer, read-only */
    put32(buf + 8, 0x30000);
    put32(buf + 12, 0x30000 + last);
    answer(c, 1024, get16(c->cdb + 8));
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
    { 0x1b, pkt_start_stop, 0 },
    { 0x1e, pkt_prevent, 0 },
    { 0x25, pkt_capacity, NEEDS_MEDIUM },
    { 0x28, pkt_read, NEEDS_MEDIUM },
    { 0x2b, pkt_good, NEEDS_MEDIUM },          /* SEEK */
    { 0x2f, pkt_good, NEEDS_MEDIUM },          /* VERIFY */
    { 0x43, pkt_toc, NEEDS_MEDIUM },
    { 0x46, pkt_configuration, IGNORES_CHANGE },
    { 0x4a, pkt_event, IGNORES_CHANGE },
    { 0x51, pkt_disc_info, NEEDS_MEDIUM },
    { 0x52, pkt_track_info, NEEDS_MEDIUM },
    { 0x55, pkt_mode_select, 0 },
    { 0x5a, pkt_mode_sense, 0 },
    { 0xa8, pkt_read, NEEDS_MEDIUM },
    { 0xad, pkt_dvd_structure, NEEDS_MEDIUM },
    { 0xbb, pkt_good, 0 },                     /* SET CD SPEED */
    { 0xbd, pkt_mechanism, IGNORES_CHANGE },
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
    } else if (d->cd.attention && is_there(d) && !(p->flags & IGNORES_CHANGE)) {
        d->cd.attention = false;
        sense(c, SENSE_CHANGED);
    } else if ((p->flags & NEEDS_MEDIUM) && d->cd.tray_open) {
        sense(c, SENSE_TRAY_OPEN);
    } else if ((p->flags & NEEDS_MEDIUM) && blocks(d) == 0) {
        sense(c, SENSE_NO_MEDIUM);
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
    bool open = d->cd.tray_open && kind != RESET_POWER;

    d->cd = (AtapiState){ .xfer_mode = 0x45, .tray_open = open };
}

static const StateField atapi_fields[] = {
    STATE_U8(AtapiState, key),         STATE_U8(AtapiState, asc),
    STATE_U8(AtapiState, ascq),        STATE_BOOL(AtapiState, locked),
    STATE_BOOL(AtapiState, tray_open), STATE_BOOL(AtapiState, attention),
    STATE_BOOL(AtapiState, changed),   STATE_BOOL(AtapiState, eject_wanted),
    STATE_U8(AtapiState, xfer_mode),   { 0 },
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
