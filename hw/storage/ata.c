/* ata.c: "ide-hd", an ATA disk (ATA8-ACS): the commands of disks, on any controller.
 *
 * 1. What a command does is a row of commands[]; a command without a row is aborted.
 * 2. Addresses and counts are checked against the disk's size before anything moves.
 * 3. A disk without a write cache has each write durable before it ends. */
#include <errno.h>
#include <string.h>
#include "hw/storage/ata.h"
#include "util/bytes.h"
#include "util/trace.h"

#define TRIM_BLOCKS_MAX 8
#define NO_LOG 0x80

enum {
    EXT = 1,                   /* 48-bit address and 16-bit count */
    DMA = 2, MULT = 4, FUA = 8, WRITE = 16,
};

typedef struct AtaCommand {
    uint8_t first, last;
    void (*run)(IdeCmd *c, unsigned flags);
    unsigned flags;
} AtaCommand;

static uint64_t disk_sectors(IdeDrive *d)
{
    return medium_size(&d->medium) / IDE_SECTOR;
}

static void put_lba(IdeCmd *c, uint64_t lba, unsigned flags)
{
    if (flags & EXT) {
        c->lba = lba & 0xffffffffffff;
    } else {
        c->lba = lba & 0xffffff;
        c->device = (c->device & 0xf0) | (lba >> 24 & 0x0f);
    }
}

/* The sectors a command names; false: not all on the disk. */
static bool range(IdeCmd *c, unsigned flags, uint64_t *first, uint64_t *n)
{
    const AtaState *a = &c->drive->ata;

    if (flags & EXT) {
        *n = c->count ? c->count : 65536;
        *first = c->lba & 0xffffffffffff;
    } else {
        *n = (c->count & 0xff) ? c->count & 0xff : 256;
        if (c->device & IDE_DEV_LBA) {
            *first = (c->lba & 0xffffff) | (uint64_t)(c->device & 0x0f) << 24;
        } else {
            /* ATA-5, 6.2: cylinder in LBA bits 8-23, head in the device register, sector from 1. */
            uint32_t sector = c->lba & 0xff, head = c->device & 0x0f;
            if (sector == 0 || sector > a->sectors || head >= a->heads) {
                return false;
            }
            *first = ((uint64_t)(c->lba >> 8 & 0xffff) * a->heads + head) * a->sectors + sector - 1;
        }
    }
    return fits(*first, *n, disk_sectors(c->drive));
}

static void out_of_range(IdeCmd *c)
{
    guest_bug("ide-hd", "%s: command 0x%02x for sectors the disk does not have", c->drive->dev.id,
              c->command);
    ide_fail(c, IDE_E_IDNF);
}

/* --- reading and writing --- */

static void move(IdeCmd *c, uint64_t first, uint64_t n, unsigned flags, uint32_t drq)
{
    c->drive->ata.standby = false;
    if (flags & WRITE) {
        ide_write(c, first * IDE_SECTOR, n * IDE_SECTOR, drq,
                  (flags & FUA) || !c->drive->ata.write_cache);
    } else {
        ide_read(c, first * IDE_SECTOR, n * IDE_SECTOR, drq);
    }
}

static void cmd_rw(IdeCmd *c, unsigned flags)
{
    uint64_t first, n;
    uint32_t drq = IDE_SECTOR;

    if (flags & MULT) {
        if (c->drive->ata.mult == 0) {
            ide_fail(c, IDE_E_ABRT);
            return;
        }
        drq *= c->drive->ata.mult;
    }
    if (!range(c, flags, &first, &n)) {
        blk_front_invalid(&c->drive->medium.front, flags & WRITE ? BLK_WRITE : BLK_READ);
        out_of_range(c);
        return;
    }
    c->direct = c->host->sata || (flags & DMA);
    c->pio_in = !(flags & (DMA | WRITE));
    move(c, first, n, flags, drq);
}

/* SATA 3.0, 13.6: READ and WRITE FPDMA QUEUED. */
static void cmd_fpdma(IdeCmd *c, unsigned flags)
{
    uint64_t n = c->feature ? c->feature : 65536, first = c->lba & 0xffffffffffff;

    if (!c->queued) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    if (!fits(first, n, disk_sectors(c->drive))) {
        out_of_range(c);
        return;
    }
    c->direct = true;
    move(c, first, n, flags | (c->device & 0x80 ? FUA : 0), IDE_SECTOR);
}

static void cmd_verify(IdeCmd *c, unsigned flags)
{
    uint64_t first, n;

    if (range(c, flags, &first, &n)) {
        ide_finish(c);
    } else {
        out_of_range(c);
    }
}

static void cmd_flush(IdeCmd *c, unsigned flags)
{
    ide_request(c, BLK_FLUSH, 0, 0);
}

/* --- TRIM: ATA8-ACS 7.10, up to 64 ranges a block --- */

static void trim_next(IdeCmd *c)
{
    uint64_t entry, first, n;

    while (c->item < c->total / 8) {
        entry = ld64(c->buf + 8 * c->item++);
        first = entry & 0xffffffffffff;
        n = entry >> 48;
        if (n > 0) {
            ide_request(c, BLK_DISCARD, first * IDE_SECTOR, n * IDE_SECTOR);
            return;
        }
    }
    ide_finish(c);
}

static void ata_param(IdeCmd *c)
{
    uint64_t sectors = disk_sectors(c->drive);

    for (unsigned i = 0; i < c->total / 8; i++) {
        uint64_t entry = ld64(c->buf + 8 * i);
        if (entry >> 48 && !fits(entry & 0xffffffffffff, entry >> 48, sectors)) {
            blk_front_invalid(&c->drive->medium.front, BLK_DISCARD);
            out_of_range(c);
            return;
        }
    }
    c->item = 0;
    trim_next(c);
}

static void cmd_dsm(IdeCmd *c, unsigned flags)
{
    if (!(c->feature & 1) || c->drive->discard_granularity == 0 || c->count == 0 ||
        c->count > TRIM_BLOCKS_MAX) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    c->direct = true;
    ide_take(c, c->count * IDE_SECTOR, IDE_SECTOR);
}

/* --- information --- */

static void reply(IdeCmd *c, uint32_t n, unsigned flags)
{
    c->direct = c->host->sata || (flags & DMA);
    c->pio_in = !(flags & DMA);
    ide_reply(c, n, IDE_SECTOR);
}

static void cmd_identify(IdeCmd *c, unsigned flags)
{
    ata_identify(c->drive, ide_buf(c));
    reply(c, IDE_SECTOR, flags);
}

static void cmd_native_max(IdeCmd *c, unsigned flags)
{
    uint64_t last = disk_sectors(c->drive);

    last = last > 0 ? last - 1 : 0;
    put_lba(c, flags & EXT ? last : MIN(last, 0x0fffffff), flags);
    ide_finish(c);
}

/* The log directory, and the Queued Error log (ATA8-ACS, A.2 and A.14). */
static void cmd_read_log(IdeCmd *c, unsigned flags)
{
    AtaState *a = &c->drive->ata;
    uint8_t log = c->lba & 0xff;
    uint16_t page = (c->lba >> 8 & 0xff) | (c->lba >> 32 & 0xff) << 8;
    uint8_t *buf = ide_buf(c);

    memset(buf, 0, IDE_SECTOR);
    if (page != 0 || c->count != 1 || (log != 0x00 && !(log == 0x10 && c->host->sata))) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    if (log == 0x00) {
        ata_word(buf, 0, 1);
        ata_word(buf, 0x10, c->host->sata);
    } else {
        memcpy(buf, a->ncq_log, sizeof(a->ncq_log));
        ata_checksum(buf);
        memset(a->ncq_log, 0, sizeof(a->ncq_log));
        a->ncq_log[0] = NO_LOG;
    }
    reply(c, IDE_SECTOR, flags);
}

/* --- SMART, ATA8-ACS 7.53: the parts any tool asks for --- */

static void smart_data(uint8_t *buf)
{
    /* Id, flags, value, worst, raw: power-on hours, power cycles, reallocated sectors: all well. */
    static const uint8_t rows[][12] = {
        { 5, 0x03, 0x00, 100, 100 }, { 9, 0x03, 0x00, 100, 100 }, { 12, 0x03, 0x00, 100, 100 },
    };

    memset(buf, 0, IDE_SECTOR);
    buf[0] = 1;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        memcpy(buf + 2 + 12 * i, rows[i], 12);
    }
    buf[362] = 0x02;                           /* off-line collection was completed */
    buf[368] = 0x03;                           /* saves on power-down */
    ata_checksum(buf);
}

static void smart_thresholds(uint8_t *buf)
{
    static const uint8_t rows[][2] = { { 5, 36 }, { 9, 0 }, { 12, 0 } };

    memset(buf, 0, IDE_SECTOR);
    buf[0] = 1;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        memcpy(buf + 2 + 12 * i, rows[i], 2);
    }
    ata_checksum(buf);
}

static bool smart_log(IdeCmd *c)
{
    uint8_t log = c->lba & 0xff, *buf = ide_buf(c);

    if ((c->count & 0xff) != 1 || (log != 0x00 && log != 0x01 && log != 0x06)) {
        return false;
    }
    memset(buf, 0, IDE_SECTOR);
    buf[0] = 1;
    if (log == 0x00) {
        buf[2 * 0x01] = buf[2 * 0x06] = 1;
    } else {
        ata_checksum(buf);
    }
    return true;
}

static void cmd_smart(IdeCmd *c, unsigned flags)
{
    AtaState *a = &c->drive->ata;
    uint8_t what = c->feature & 0xff;

    if ((c->lba >> 8 & 0xffff) != 0xc24f || (!a->smart && what != 0xd8)) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    switch (what) {
    case 0xd0:
        smart_data(ide_buf(c));
        reply(c, IDE_SECTOR, 0);
        break;
    case 0xd1:
        smart_thresholds(ide_buf(c));
        reply(c, IDE_SECTOR, 0);
        break;
    case 0xd5:
        if (smart_log(c)) {
            reply(c, IDE_SECTOR, 0);
        } else {
            ide_fail(c, IDE_E_ABRT);
        }
        break;
    case 0xd8:
    case 0xd9:
        a->smart = what == 0xd8;
        ide_finish(c);
        break;
    case 0xd2:                                 /* attribute autosave */
    case 0xd4:                                 /* a self-test: passed at once */
    case 0xda:                                 /* status: LBA stays c24fh, no threshold exceeded */
        ide_finish(c);
        break;
    default:
        ide_fail(c, IDE_E_ABRT);
        break;
    }
}

/* --- settings --- */

static void cmd_set_features(IdeCmd *c, unsigned flags)
{
    AtaState *a = &c->drive->ata;
    bool ok = true;

    switch (c->feature & 0xff) {
    case 0x02:
        a->write_cache = true;
        break;
    case 0x82:
        a->write_cache = false;
        ide_request(c, BLK_FLUSH, 0, 0);
        return;
    case 0x03:
        ok = ata_set_transfer_mode(&a->xfer_mode, c->count & 0xff);
        break;
    case 0x55:
    case 0xaa:
        a->look_ahead = (c->feature & 0xff) == 0xaa;
        break;
    case 0x66:                                 /* settings survive a reset, */
    case 0xcc:                                 /* or do not: obsolete, kept for old guests */
        break;
    default:
        ok = false;
        break;
    }
    if (ok) {
        ide_finish(c);
    } else {
        ide_fail(c, IDE_E_ABRT);
    }
}

static void cmd_set_multiple(IdeCmd *c, unsigned flags)
{
    uint8_t n = c->count & 0xff;

    if (n > IDE_MULT_MAX || (n & (n - 1)) != 0) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    c->drive->ata.mult = n;
    ide_finish(c);
}

static void cmd_set_geometry(IdeCmd *c, unsigned flags)
{
    AtaState *a = &c->drive->ata;

    if ((c->count & 0xff) == 0) {
        ide_fail(c, IDE_E_ABRT);
        return;
    }
    a->sectors = c->count & 0xff;
    a->heads = (c->device & 0x0f) + 1;
    ide_finish(c);
}

static void cmd_power(IdeCmd *c, unsigned flags)
{
    AtaState *a = &c->drive->ata;

    switch (c->command) {
    case 0xe0: case 0x94: case 0xe2: case 0x96: case 0xe6: case 0x99:
        /* Standby: what is in the cache must not depend on power. */
        a->standby = true;
        ide_request(c, BLK_FLUSH, 0, 0);
        return;
    case 0xe1: case 0x95: case 0xe3: case 0x97:
        a->standby = false;
        break;
    default:                                   /* CHECK POWER MODE */
        c->count = a->standby ? 0x00 : 0xff;
        break;
    }
    ide_finish(c);
}

static void cmd_nothing(IdeCmd *c, unsigned flags)
{
    ide_finish(c);
}

static const AtaCommand commands[] = {
    { 0xec, 0xec, cmd_identify, 0 },
    { 0x60, 0x60, cmd_fpdma, EXT | DMA }, { 0x61, 0x61, cmd_fpdma, EXT | DMA | WRITE },
    { 0xc8, 0xc9, cmd_rw, DMA }, { 0xca, 0xcb, cmd_rw, DMA | WRITE },
    { 0x25, 0x25, cmd_rw, EXT | DMA }, { 0x35, 0x35, cmd_rw, EXT | DMA | WRITE },
    { 0x3d, 0x3d, cmd_rw, EXT | DMA | WRITE | FUA },
    { 0x20, 0x21, cmd_rw, 0 }, { 0x30, 0x31, cmd_rw, WRITE },
    { 0x24, 0x24, cmd_rw, EXT }, { 0x34, 0x34, cmd_rw, EXT | WRITE },
    { 0xc4, 0xc4, cmd_rw, MULT }, { 0xc5, 0xc5, cmd_rw, MULT | WRITE },
    { 0x29, 0x29, cmd_rw, EXT | MULT }, { 0x39, 0x39, cmd_rw, EXT | MULT | WRITE },
    { 0xce, 0xce, cmd_rw, EXT | MULT | WRITE | FUA },
    { 0x40, 0x41, cmd_verify, 0 }, { 0x42, 0x42, cmd_verify, EXT },
    { 0xe7, 0xe7, cmd_flush, 0 }, { 0xea, 0xea, cmd_flush, 0 },
    { 0x06, 0x06, cmd_dsm, EXT | DMA },
    { 0x27, 0x27, cmd_native_max, EXT }, { 0xf8, 0xf8, cmd_native_max, 0 },
    { 0x2f, 0x2f, cmd_read_log, EXT }, { 0x47, 0x47, cmd_read_log, EXT | DMA },
    { 0xb0, 0xb0, cmd_smart, 0 },
    { 0xef, 0xef, cmd_set_features, 0 }, { 0xc6, 0xc6, cmd_set_multiple, 0 },
    { 0x91, 0x91, cmd_set_geometry, 0 },
    { 0xe0, 0xe3, cmd_power, 0 }, { 0xe5, 0xe6, cmd_power, 0 }, { 0x94, 0x99, cmd_power, 0 },
    { 0x10, 0x1f, cmd_nothing, 0 }, { 0x70, 0x7f, cmd_nothing, 0 },       /* RECALIBRATE, SEEK */
};

/* --- the engine's table --- */

static void ata_start(IdeCmd *c)
{
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (c->command >= commands[i].first && c->command <= commands[i].last) {
            commands[i].run(c, commands[i].flags);
            return;
        }
    }
    TRACE(ide_unknown, "id=%s command=0x%02x", c->drive->dev.id, c->command);
    ide_fail(c, IDE_E_ABRT);
}

static void ata_next(IdeCmd *c)
{
    if (c->command == 0x06) {
        trim_next(c);
    } else {
        ide_finish(c);
    }
}

/* A host error: an unreadable sector when reading, an aborted command when writing. */
static void ata_failed(IdeCmd *c, int err)
{
    bool ext = c->queued || (c->command < 0x70 && c->command != 0x20 && c->command != 0x21 &&
                             c->command != 0x30 && c->command != 0x31) || c->command == 0xce;

    if (c->step == IDE_READ || c->step == IDE_WRITE) {
        put_lba(c, c->off / IDE_SECTOR, ext ? EXT : 0);
    }
    ide_fail(c, c->step == IDE_READ ? IDE_E_UNC : IDE_E_ABRT);
}

static void ata_srst(IdeDrive *d)
{
    d->ata.mult = IDE_MULT_MAX;
    d->ata.standby = false;
}

static const IdeDriveOps ata_ops = {
    .signature = IDE_SIG_ATA,
    .start = ata_start,
    .param = ata_param,
    .next = ata_next,
    .ended = ide_finish,
    .failed = ata_failed,
    .srst = ata_srst,
};

/* --- ide-hd --- */

static bool hd_realize(Device *dev, Error **errp)
{
    IdeDrive *d = (IdeDrive *)dev;
    uint64_t sectors;

    if ((d->cyls || d->heads || d->secs) && !(d->cyls && d->heads && d->secs)) {
        return error_set(errp, "cyls, heads and secs must be given together");
    }
    if (!ide_drive_open(d, true, errp)) {
        return false;
    }
    sectors = medium_size(&d->medium) / IDE_SECTOR;
    d->heads = d->heads ? d->heads : 16;
    d->secs = d->secs ? d->secs : 63;
    d->cyls_default = d->cyls ? d->cyls : MIN(sectors / (d->heads * d->secs), 16383);
    d->cyls_default = MAX(d->cyls_default, sectors >= 2 ? 2 : 1);
    return true;
}

static void hd_unrealize(Device *dev)
{
    ide_drive_close((IdeDrive *)dev);
}

static void hd_reset(Device *dev, ResetKind kind)
{
    IdeDrive *d = (IdeDrive *)dev;

    d->ata = (AtaState){
        .mult = IDE_MULT_MAX,
        .xfer_mode = 0x45,
        .write_cache = d->write_cache != ONOFF_OFF,
        .look_ahead = true,
        .smart = true,
        .heads = d->heads,
        .sectors = d->secs,
        .ncq_log = { NO_LOG },
    };
}

static bool hd_check(void *obj, Error **errp)
{
    const AtaState *a = &((IdeDrive *)obj)->ata;

    return (a->heads > 0 && a->heads <= 255 && a->sectors > 0 && a->sectors <= 255 &&
            a->mult <= IDE_MULT_MAX) ||
           error_set(errp, "%u heads, %u sectors, %u sectors a block", a->heads, a->sectors,
                     a->mult);
}

static const StateField ata_fields[] = {
    STATE_U8(AtaState, mult), STATE_U8(AtaState, xfer_mode), STATE_BOOL(AtaState, write_cache),
    STATE_BOOL(AtaState, look_ahead), STATE_BOOL(AtaState, smart), STATE_BOOL(AtaState, standby),
    STATE_U16(AtaState, heads), STATE_U16(AtaState, sectors), STATE_BYTES(AtaState, ncq_log),
    { 0 },
};

static const StateDesc ata_state = { .name = "ata", .version = 1, .fields = ata_fields };

static const StateField hd_fields[] = {
    STATE_STRUCT(IdeDrive, ata, &ata_state),
    { 0 },
};

static const StateDesc hd_state = {
    .name = "ide-hd", .version = 1, .fields = hd_fields, .check = hd_check
};

static const char *const chs_translations[] = { "auto", "none", "lba", "large", "rechs", NULL };

static const PropDesc hd_props[] = {
    { .name = "drive",
      .help = "Node name or ID of a block device to use as a backend",
      .kind = PROP_KIND_LINK,
      .flags = PROP_REQUIRED,
      .at = field_at(IdeDrive, drive, void *),
      .link_class = "blockdev" },
    PROP_U16(IdeDrive, rotation_rate, "rotation_rate", 0, 0, 65534,
             "turns per minute; 1: not rotating; 0: unsaid"),
    PROP_U32(IdeDrive, cyls, "cyls", 0, 0, 65535, "geometry shown to old guests"),
    PROP_U32(IdeDrive, heads, "heads", 0, 0, 16, "geometry shown to old guests"),
    PROP_U32(IdeDrive, secs, "secs", 0, 0, 255, "geometry shown to old guests"),
    PROP_U32(IdeDrive, lcyls, "lcyls", 0, 0, UINT32_MAX, "kept for configuration files"),
    PROP_U32(IdeDrive, lheads, "lheads", 0, 0, UINT32_MAX, "kept for configuration files"),
    PROP_U32(IdeDrive, lsecs, "lsecs", 0, 0, UINT32_MAX, "kept for configuration files"),
    PROP_ENUM(IdeDrive, chs_trans, "bios-chs-trans", chs_translations, 0,
              "kept for configuration files"),
    { 0 },
};

const DeviceType ide_hd_type = {
    .name = "ide-hd", .summary = "virtual IDE disk", .slot = &ide_slot, .size = sizeof(IdeDrive),
    .category = "Storage", .props = hd_props, .state = &hd_state, .slot_ops = &ata_ops,
    .realize = hd_realize, .unrealize = hd_unrealize, .reset = hd_reset,
};
