/* pages.c: what a SCSI device tells of itself: INQUIRY and mode pages (SPC-4, 6.4, 7.5, 7.8; SBC-3, 6.4,
 * 6.5; MMC-3, 5.5). */
#include "hw/scsi/scsi-int.h"
#include "util/bytes.h"

#define VPD_MAX 252            /* bytes of text in a page */
#define CYLS_MAX 16383

/* --- INQUIRY --- */

static void standard(const ScsiDev *d, ScsiReply *r)
{
    r->n = 36;
    r->buf[1] = d->medium.front.removable ? 0x80 : 0;
    r->buf[2] = (uint8_t)d->scsi_version;
    r->buf[3] = 0x12;                          /* hierarchical LUNs, format 2 */
    r->buf[4] = 36 - 5;
    r->buf[7] = 0x12;                          /* queues commands */
    put_text(r->buf + 8, d->vendor, 8);
    put_text(r->buf + 16, d->product, 16);
    put_text(r->buf + 32, d->ver, 4);
}

/* One designator (SPC-4, 7.8.6.1); returns its bytes. */
static uint32_t designator(uint8_t *p, uint8_t code_set, uint8_t type, const void *data, uint8_t len)
{
    p[0] = code_set;
    p[1] = type;
    p[3] = len;
    memcpy(p + 4, data, len);
    return 4u + len;
}

static void identification(const ScsiDev *d, ScsiReply *r)
{
    size_t len = strnlen(d->device_id, VPD_MAX - 8);
    uint8_t raw[8];

    if (len > 0) {                             /* ASCII, the vendor's own */
        r->n += designator(r->buf + r->n, 2, 0, d->device_id, (uint8_t)len);
    }
    put64(raw, d->wwn);
    if (d->wwn != 0) {                         /* NAA, of the unit */
        r->n += designator(r->buf + r->n, 1, 3, raw, 8);
    }
    put64(raw, d->port_wwn);
    if (d->port_wwn != 0) {                    /* NAA, of the SAS port */
        r->n += designator(r->buf + r->n, 0x61, 0x93, raw, 8);
    }
    put32(raw, d->port_index);
    if (d->port_index != 0) {
        r->n += designator(r->buf + r->n, 0x61, 0x94, raw, 4);
    }
}

static uint32_t blocks_of(const ScsiDev *d, uint64_t bytes)
{
    return (uint32_t)MIN(bytes / d->logical, UINT32_MAX);
}

/* Block limits (SBC-3, 6.5.3). */
static void limits(const ScsiDev *d, ScsiReply *r)
{
    uint8_t *p = r->buf;

    r->n = 64;
    p[4] = 1;                                  /* WSNZ */
    put16(p + 6, (uint16_t)(d->min_io / d->logical));
    put32(p + 8, blocks_of(d, d->max_io));
    put32(p + 12, blocks_of(d, d->opt_io));
    if (d->discard_granularity != 0) {
        put32(p + 20, blocks_of(d, d->max_unmap));
        put32(p + 24, SCSI_UNMAPS);
        put32(p + 28, blocks_of(d, d->discard_granularity));
    }
    put64(p + 36, blocks_of(d, d->max_io));
}

static bool vital(const ScsiDev *d, uint8_t page, ScsiReply *r)
{
    uint8_t *p = r->buf;
    bool disk = !scsi_is_cd(d), has_serial = d->serial[0] != '\0';

    r->n = 4;
    p[1] = page;
    if (page == 0x00) {
        static const uint8_t of_disks[] = { 0xb0, 0xb1, 0xb2 };
        r->n++;
        if (has_serial) {
            p[r->n++] = 0x80;
        }
        p[r->n++] = 0x83;
        for (unsigned i = 0; disk && i < ARRAY_LEN(of_disks); i++) {
            p[r->n++] = of_disks[i];
        }
    } else if (page == 0x80 && has_serial) {
        size_t len = strnlen(d->serial, VPD_MAX - 4);
        memcpy(p + 4, d->serial, len);
        r->n += (uint32_t)len;
    } else if (page == 0x83) {
        identification(d, r);
    } else if (page == 0xb0 && disk) {
        limits(d, r);
    } else if (page == 0xb1 && disk) {
        put16(p + 4, d->rotation_rate);
        r->n = 64;
    } else if (page == 0xb2 && disk) {         /* logical block provisioning */
        p[5] = d->discard_granularity != 0 ? 0xe0 : 0;     /* UNMAP, WRITE SAME (16) and (10) */
        p[6] = d->discard_granularity != 0 ? 2 : 0;        /* thin */
        r->n = 8;
    } else {
        return false;
    }
    put16(p + 2, (uint16_t)(r->n - 4));
    return true;
}

bool scsi_inquiry(ScsiDev *d, const uint8_t *cdb, ScsiReply *r, ScsiSense *s)
{
    *s = SENSE_BAD_FIELD;
    r->buf[0] = scsi_type(d)->type;
    if (cdb[1] & 1) {
        return vital(d, cdb[2], r);
    }
    if (cdb[2] != 0) {
        return false;
    }
    standard(d, r);
    return true;
}

/* --- mode pages --- */

static uint32_t cylinders(ScsiDev *d)
{
    uint64_t track = (uint64_t)(d->heads ? d->heads : 16) * (d->secs ? d->secs : 63);

    return d->cyls ? d->cyls : (uint32_t)MIN(medium_size(&d->medium) / 512 / track, CYLS_MAX);
}

static void geometry(ScsiDev *d, uint8_t *p)
{
    uint32_t cyls = cylinders(d);

    put24(p + 2, cyls);
    p[5] = d->heads ? (uint8_t)d->heads : 16;
    put24(p + 6, cyls);                        /* no precompensation, no reduced current */
    put24(p + 9, cyls);
    put16(p + 12, 200);                        /* step rate, in 100 ns */
    put24(p + 14, 0xffffff);                   /* landing zone */
    put16(p + 20, 5400);
}

static void flexible(ScsiDev *d, uint8_t *p)
{
    uint16_t cyls = (uint16_t)cylinders(d);

    put16(p + 2, 5000);                        /* kbit/s */
    p[4] = d->heads ? (uint8_t)d->heads : 16;
    p[5] = d->secs ? (uint8_t)d->secs : 63;
    put16(p + 6, (uint16_t)d->logical);
    put16(p + 8, cyls);
    put16(p + 10, cyls);
    put16(p + 12, cyls);
    put16(p + 14, 1);
    p[16] = 1;
    put16(p + 17, 1);
    p[19] = p[20] = 1;
    put16(p + 28, 5400);
}

static void recovery(ScsiDev *d, uint8_t *p)
{
    p[2] = 0x80;                               /* writes are relocated */
    p[3] = scsi_is_cd(d) ? 0x20 : 0;           /* reads are tried again so often */
}

static void caching(ScsiDev *d, uint8_t *p)
{
    p[2] = __atomic_load_n(&d->wce, __ATOMIC_RELAXED) ? 0x04 : 0;
}

static void nothing(ScsiDev *d, uint8_t *p)
{
}

static void capabilities(ScsiDev *d, uint8_t *p)
{
    p[2] = 0x3b;                               /* reads CD-R, CD-RW, DVD-ROM, DVD-R, DVD-RAM */
    p[4] = 0x7f;                               /* audio, mode 2, multi-session */
    p[5] = 0xff;
    p[6] = 0x2d | (medium_is_locked(&d->medium) ? 2 : 0);      /* tray, ejects, locks */
    put16(p + 8, 50 * 176);                    /* KB/s: 50x */
    put16(p + 10, 2);                          /* volume levels */
    put16(p + 12, 2048);                       /* KiB of buffer */
    put16(p + 14, 16 * 176);
    put16(p + 18, 16 * 176);
    put16(p + 20, 16 * 176);
}

/* A page, its bytes after the two of its head, and the byte of it where bits may be changed. */
static const struct Page {
    uint8_t code, len;
    bool disk, cd;
    uint8_t mask_at, mask;
    void (*fill)(ScsiDev *d, uint8_t *p);
} pages[] = {
    { 0x01, 10, true, true, 0, 0, recovery },       { 0x04, 22, true, false, 0, 0, geometry },
    { 0x05, 30, true, false, 0, 0, flexible },      { 0x08, 18, true, true, 2, 0x04, caching },
    { 0x0e, 14, false, true, 0, 0, nothing },       { 0x2a, 20, false, true, 0, 0, capabilities },
};

enum { CURRENT, CHANGEABLE, DEFAULT, SAVED };

static const struct Page *page_find(const ScsiDev *d, uint8_t code)
{
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
        if (pages[i].code == code && (scsi_is_cd(d) ? pages[i].cd : pages[i].disk)) {
            return &pages[i];
        }
    }
    return NULL;
}

/* @p is zeroed; returns its bytes. */
static uint32_t page_fill(ScsiDev *d, const struct Page *page, unsigned control, uint8_t *p)
{
    p[0] = page->code;
    p[1] = page->len;
    if (control == CHANGEABLE) {
        p[page->mask_at] |= page->mask_at != 0 ? page->mask : 0;
    } else {
        page->fill(d, p);
    }
    return 2u + page->len;
}

/* The block descriptor of a disk (SBC-3, 6.4.2); returns its bytes. */
static uint32_t descriptor(ScsiDev *d, uint8_t *p)
{
    uint64_t all = scsi_blocks(d);

    put32(p, all > 0xffffff ? 0 : (uint32_t)all);
    put24(p + 5, (uint32_t)d->logical);
    return 8;
}

bool scsi_mode_sense(ScsiDev *d, const uint8_t *cdb, ScsiReply *r, ScsiSense *s)
{
    bool ten = cdb[0] == 0x5a, described = !scsi_is_cd(d) && !(cdb[1] & 8);
    uint8_t code = cdb[2] & 0x3f, control = cdb[2] >> 6, sub = cdb[3];
    uint8_t specific = scsi_is_cd(d) ? 0 : (d->dpofua ? 0x10 : 0) | (d->read_only ? 0x80 : 0);
    uint32_t n = ten ? 8 : 4, head;

    *s = control == SAVED ? SENSE_NO_SAVING : SENSE_BAD_FIELD;
    if (control == SAVED || (sub != 0 && !(code == 0x3f && sub == 0xff))) {
        return false;
    }
    n += described ? descriptor(d, r->buf + n) : 0;
    head = n;
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
        if ((code == 0x3f || code == pages[i].code) && page_find(d, pages[i].code) != NULL) {
            n += page_fill(d, &pages[i], control, r->buf + n);
        }
    }
    if (n == head) {
        return false;
    }
    if (ten) {
        put16(r->buf, (uint16_t)(n - 2));
        r->buf[3] = specific;
        put16(r->buf + 6, described ? 8 : 0);
    } else {
        r->buf[0] = (uint8_t)(n - 1);
        r->buf[2] = specific;
        r->buf[3] = described ? 8 : 0;
    }
    r->n = n;
    return true;
}

/* One page of MODE SELECT; returns its bytes, 0: *@s says why not.  Only with @apply it has an effect. */
static uint32_t select_page(ScsiDev *d, const uint8_t *p, uint32_t left, bool apply, bool *flush,
                            ScsiSense *s)
{
    uint8_t now[64] = { 0 };
    const struct Page *page = left >= 2 && !(p[0] & 0x40) ? page_find(d, p[0] & 0x3f) : NULL;

    *s = SENSE_BAD_PARAM;
    if (page == NULL || p[1] != page->len) {
        return 0;
    }
    if (left < 2u + page->len) {
        *s = SENSE_BAD_LENGTH;
        return 0;
    }
    page_fill(d, page, CURRENT, now);
    for (unsigned i = 2; i < 2u + page->len; i++) {
        uint8_t may = i == page->mask_at ? page->mask : 0;
        if ((p[i] ^ now[i]) & ~may) {
            return 0;
        }
    }
    if (apply && page->code == 0x08) {
        bool on = p[2] & 0x04, was = __atomic_exchange_n(&d->wce, on, __ATOMIC_RELAXED);
        *flush = *flush || (was && !on);
    }
    return 2u + page->len;
}

bool scsi_mode_select(ScsiDev *d, const uint8_t *cdb, const uint8_t *list, uint32_t n, bool *flush,
                      ScsiSense *s)
{
    bool ten = cdb[0] == 0x55;
    uint32_t head = ten ? 8 : 4, skip;

    *s = SENSE_BAD_FIELD;
    if ((cdb[1] & 0x11) != 0x10) {             /* pages in the standard format, nothing saved */
        return false;
    }
    if (n == 0) {
        return true;
    }
    *s = SENSE_BAD_LENGTH;
    if (n < head) {
        return false;
    }
    skip = ten ? get16(list + 6) : list[3];
    if (skip != 0 && skip != 8) {
        *s = SENSE_BAD_PARAM;
        return false;
    }
    if (head + skip > n) {
        return false;
    }
    if (skip == 8 && get24(list + head + 5) != d->logical && get24(list + head + 5) != 0) {
        *s = SENSE_BAD_PARAM;                  /* the block length is what it is */
        return false;
    }
    for (unsigned apply = 0; apply < 2; apply++) {
        uint32_t at = head + skip, got;
        for (; at < n; at += got) {
            got = select_page(d, list + at, n - at, apply, flush, s);
            if (got == 0) {
                return false;
            }
        }
    }
    return true;
}
