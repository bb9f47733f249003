/* mmc.c: CD and DVD commands, see mmc.h. */
#include "hw/scsi/mmc.h"

#include "util/bytes.h"

#define CD_MAX_BLOCKS 360000   /* larger media are DVDs: 80 minutes at 75 blocks a second */
#define PROFILE_NONE 0x0000
#define PROFILE_CD 0x0008
#define PROFILE_DVD 0x0010

static bool is_there(const MmcDrive *d)
{
    return d->medium && !d->tray->open;
}

static uint16_t profile(const MmcDrive *d)
{
    return !is_there(d) ? PROFILE_NONE : d->blocks > CD_MAX_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

static MmcResult answer(MmcAnswer *a, uint32_t n, uint32_t room)
{
    a->n = n;
    a->room = room;
    return MMC_ANSWER;
}

static MmcResult refuse(MmcAnswer *a, ScsiSense s)
{
    a->sense = s;
    return MMC_REFUSED;
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

/* Format 2: the full contents, in minutes, seconds and frames. */
static uint32_t full_toc(const MmcDrive *d, uint8_t *buf, uint32_t n)
{
    static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 0x01 };

    for (unsigned i = 0; i < ARRAY_LEN(points); i++, n += 11) {
        buf[n] = 1;
        buf[n + 1] = i == 2 ? 0x16 : 0x14;
        buf[n + 3] = points[i];
        if (i < 2) {
            buf[n + 8] = 1;
        } else {
            put_address(buf + n + 7, i == 2 ? d->blocks : 0, true);
        }
    }
    return n;
}

/* READ TOC: one data track and the lead-out. */
static MmcResult toc(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    bool msf = cdb[1] & 2;
    uint8_t format = cdb[2] & 0x0f, from = cdb[6], *buf = a->buf;
    uint32_t n = 4;

    if (format == 0) {
        format = cdb[9] >> 6;                  /* where SFF-8020i had it */
    }
    buf[2] = buf[3] = 1;
    if (format == 0) {
        if (from > 1 && from != 0xaa) {
            return refuse(a, SENSE_BAD_FIELD);
        }
        if (from <= 1) {
            buf[n + 1] = 0x14;
            buf[n + 2] = 1;
            put_address(buf + n + 4, 0, msf);
            n += 8;
        }
        buf[n + 1] = 0x16;
        buf[n + 2] = 0xaa;
        put_address(buf + n + 4, d->blocks, msf);
        n += 8;
    } else if (format == 1) {
        buf[5] = 0x14;
        buf[6] = 1;
        put_address(buf + 8, 0, msf);
        n = 12;
    } else if (format == 2) {
        n = full_toc(d, buf, n);
    } else {
        return refuse(a, SENSE_BAD_FIELD);
    }
    put16(buf, n - 2);
    return answer(a, n, get16(cdb + 7));
}

/* GET CONFIGURATION (MMC-5, 6.6): profiles and the few features a reader has. */
static MmcResult configuration(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    /* Code, current and persistent bits, bytes of data: profile list, core, removable medium,
     * random readable, multi-read. */
    static const struct { uint16_t code; uint8_t flags, len; } rows[] = {
        { 0, 0x03, 8 }, { 1, 0x0b, 8 }, { 3, 0x0b, 4 }, { 0x10, 0x00, 8 }, { 0x1e, 0x08, 4 },
    };
    uint16_t now = profile(d), start = get16(cdb + 2);
    uint8_t rt = cdb[1] & 3;
    uint32_t n = 8;

    if (rt == 3) {
        return refuse(a, SENSE_BAD_FIELD);
    }
    put16(a->buf + 6, now);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t current = rows[i].code >= 0x10 ? now != PROFILE_NONE : 0, *p = a->buf + n;
        bool skip = rt == 2 ? rows[i].code != start : rows[i].code < start;
        if (skip || (rt == 1 && !((rows[i].flags | current) & 1))) {
            continue;
        }
        put16(p, rows[i].code);
        p[2] = rows[i].flags | current;
        p[3] = rows[i].len;
        n += 4u + rows[i].len;
        if (i == 0) {
            put16(p + 4, PROFILE_DVD);
            p[6] = now == PROFILE_DVD;
            put16(p + 8, PROFILE_CD);
            p[10] = now == PROFILE_CD;
        } else if (i == 1) {
            put32(p + 4, d->interface);
            p[8] = 1;
        } else if (i == 2) {
            p[4] = 0x29;                       /* tray, ejects, locks */
        } else if (i == 3) {
            put32(p + 4, CD_SECTOR);
            put16(p + 8, 16);
            p[10] = 1;
        }
    }
    put32(a->buf, n - 4);
    return answer(a, n, get16(cdb + 7));
}

/* GET EVENT STATUS NOTIFICATION (MMC-5, 6.7), polled, media class only. */
static MmcResult event_status(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    MmcTray *t = d->tray;
    uint8_t *buf = a->buf;
    uint32_t n = 4;

    if (!(cdb[1] & 1)) {
        return refuse(a, SENSE_BAD_FIELD);
    }
    buf[3] = 0x10;                             /* classes known: media */
    if (cdb[4] & 0x10) {
        buf[2] = 4;
        if (t->eject_wanted) {
            buf[4] = 1;
            t->eject_wanted = false;
        } else if (t->changed && is_there(d)) {
            buf[4] = 2;
            t->changed = false;
        }
        buf[5] = (t->open ? 1 : 0) | (is_there(d) ? 2 : 0);
        n = 8;
    } else {
        buf[2] = 0x80;                         /* no such event class */
    }
    put16(buf, n - 2);
    return answer(a, n, get16(cdb + 7));
}

static MmcResult start_stop(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    MmcTray *t = d->tray;
    bool start = cdb[4] & 1, load_eject = cdb[4] & 2;

    if (cdb[4] >> 4 || !load_eject) {          /* power conditions; spinning: nothing to do */
        return MMC_GOOD;
    }
    if (!start && t->locked && !t->open) {
        return refuse(a, SENSE_LOCKED);
    }
    if (start && t->open) {
        t->attention = t->changed = d->medium;
    }
    a->moved = t->open == start;
    t->open = !start;
    return MMC_GOOD;
}

static MmcResult prevent(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    d->tray->locked = cdb[4] & 1;
    return MMC_GOOD;
}

static MmcResult mechanism(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    a->buf[5] = 1;                             /* one slot */
    a->buf[1] = d->tray->open ? 0x10 : 0;
    return answer(a, 8, get16(cdb + 8));
}

static MmcResult disc_info(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    uint8_t *buf = a->buf;

    if (cdb[1] & 7) {
        return refuse(a, SENSE_BAD_FIELD);
    }
    put16(buf, 32);
    buf[2] = 0x0e;                             /* complete disc, last session complete */
    buf[3] = buf[4] = buf[5] = buf[6] = 1;
    buf[7] = 0x20;                             /* unrestricted use */
    memset(buf + 16, 0xff, 8);
    return answer(a, 34, get16(cdb + 7));
}

static MmcResult track_info(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    uint8_t *buf = a->buf;

    put16(buf, 34);
    buf[2] = buf[3] = 1;
    buf[5] = 4;
    buf[6] = 1;
    put32(buf + 24, d->blocks);
    return answer(a, 36, get16(cdb + 7));
}

/* READ DVD STRUCTURE: the physical format of a single layer (MMC-5, 6.27). */
static MmcResult dvd_structure(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    uint8_t *buf = a->buf;

    if (profile(d) != PROFILE_DVD || cdb[7] > 1) {
        return refuse(a, cdb[7] > 1 ? SENSE_BAD_FIELD : SENSE_NOT_DVD);
    }
    if (cdb[7] == 1) {
        put16(buf, 6);                         /* not copy-protected */
        return answer(a, 8, get16(cdb + 8));
    }
    put16(buf, 2048 + 2);
    buf[4] = 1;                                /* DVD-ROM, version 1 */
    buf[5] = 0x0f;                             /* 120 mm, no minimum rate */
    buf[6] = 1;                                /* one layer, read-only */
    put32(buf + 8, 0x30000);
    put32(buf + 12, 0x30000 + d->blocks - 1);
    return answer(a, MMC_REPLY_MAX, get16(cdb + 8));
}

static const struct {
    uint8_t code;
    bool needs_medium;
    MmcResult (*run)(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a);
} commands[] = {
    { 0x1b, false, start_stop },    { 0x1e, false, prevent },      { 0x43, true, toc },
    { 0x46, false, configuration }, { 0x4a, false, event_status }, { 0x51, true, disc_info },
    { 0x52, true, track_info },     { 0xad, true, dvd_structure }, { 0xbd, false, mechanism },
};

MmcResult mmc_run(const MmcDrive *d, const uint8_t *cdb, MmcAnswer *a)
{
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].code == cdb[0]) {
            return commands[i].run(d, cdb, a);
        }
    }
    return MMC_OTHER;
}

bool mmc_needs_medium(uint8_t code)
{
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].code == code) {
            return commands[i].needs_medium;
        }
    }
    return false;
}

/* User data of mode 1 blocks only (MMC-5, 6.21). */
bool mmc_read_cd(const uint8_t *cdb, uint32_t *first, uint32_t *n)
{
    uint8_t what = cdb[9] & 0xf8;

    *first = get32(cdb + 2);
    *n = what == 0x00 ? 0 : get24(cdb + 6);
    return *n == 0 || (what == 0x10 && (cdb[10] & 7) == 0);
}

static const StateField tray_fields[] = {
    STATE_BOOL(MmcTray, locked),  STATE_BOOL(MmcTray, open),         STATE_BOOL(MmcTray, attention),
    STATE_BOOL(MmcTray, changed), STATE_BOOL(MmcTray, eject_wanted), { 0 },
};

const StateDesc mmc_tray_state = { .name = "tray", .version = 1, .fields = tray_fields };
