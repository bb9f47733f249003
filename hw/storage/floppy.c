/* floppy.c: floppy drives: their place on the bus, their type, and the diskettes that come and go.
 *
 * 1. A diskette has no format but its size: floppy_format() says what a drive takes it for.
 * 2. The type that "auto" found is the drive's from then on, whatever medium follows, and is saved.
 * 3. The disk change line is set by a new medium, and by none, until the heads step with one in. */
#include "hw/storage/floppy.h"

#include "core/machine.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/trace.h"

const char *const floppy_type_names[] = { "144", "288", "120", "none", "auto", NULL };

/* --- formats --- */

/* The usual one of each drive comes first of its type. */
static const FloppyFormat formats[] = {
    { 18, 80, 2, FLOPPY_500K, FLOPPY_144 }, { 20, 80, 2, FLOPPY_500K, FLOPPY_144 },
    { 21, 80, 2, FLOPPY_500K, FLOPPY_144 }, { 21, 82, 2, FLOPPY_500K, FLOPPY_144 },
    { 21, 83, 2, FLOPPY_500K, FLOPPY_144 }, { 22, 80, 2, FLOPPY_500K, FLOPPY_144 },
    { 23, 80, 2, FLOPPY_500K, FLOPPY_144 }, { 24, 80, 2, FLOPPY_500K, FLOPPY_144 },
    { 36, 80, 2, FLOPPY_1M, FLOPPY_288 }, { 39, 80, 2, FLOPPY_1M, FLOPPY_288 },
    { 40, 80, 2, FLOPPY_1M, FLOPPY_288 }, { 44, 80, 2, FLOPPY_1M, FLOPPY_288 },
    { 48, 80, 2, FLOPPY_1M, FLOPPY_288 },
    { 9, 80, 2, FLOPPY_250K, FLOPPY_144 }, { 10, 80, 2, FLOPPY_250K, FLOPPY_144 },
    { 10, 82, 2, FLOPPY_250K, FLOPPY_144 }, { 10, 83, 2, FLOPPY_250K, FLOPPY_144 },
    { 13, 80, 2, FLOPPY_250K, FLOPPY_144 }, { 14, 80, 2, FLOPPY_250K, FLOPPY_144 },
    { 15, 80, 2, FLOPPY_500K, FLOPPY_120 }, { 18, 80, 2, FLOPPY_500K, FLOPPY_120 },
    { 18, 82, 2, FLOPPY_500K, FLOPPY_120 }, { 18, 83, 2, FLOPPY_500K, FLOPPY_120 },
    { 20, 80, 2, FLOPPY_500K, FLOPPY_120 }, { 9, 40, 2, FLOPPY_300K, FLOPPY_120 },
    { 9, 40, 1, FLOPPY_300K, FLOPPY_120 }, { 10, 41, 2, FLOPPY_300K, FLOPPY_120 },
    { 10, 42, 2, FLOPPY_300K, FLOPPY_120 }, { 8, 40, 2, FLOPPY_300K, FLOPPY_120 },
    { 8, 40, 1, FLOPPY_300K, FLOPPY_120 },
};

/* 1.44 and 2.88 MB drives take the same diskettes. */
static bool is_3_5(FloppyType t)
{
    return t == FLOPPY_144 || t == FLOPPY_288;
}

FloppyFormat floppy_format(uint64_t size, FloppyType drive, FloppyType fallback)
{
    const FloppyFormat *of_size = NULL, *usual = NULL;
    FloppyType want = drive != FLOPPY_AUTO ? drive : fallback;

    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        const FloppyFormat *f = &formats[i];
        bool fits = size == (uint64_t)f->sectors * f->cylinders * f->heads * FLOPPY_SECTOR;

        if (fits && f->type == drive) {
            return *f;
        }
        if (fits && of_size == NULL &&
            (drive == FLOPPY_AUTO || (is_3_5(f->type) && is_3_5(drive)))) {
            of_size = f;
        }
        if (usual == NULL && f->type == want) {
            usual = f;
        }
    }
    return of_size != NULL ? *of_size : usual != NULL ? *usual : (FloppyFormat){ .type = FLOPPY_NONE };
}

void floppy_limits(FloppyType t, unsigned *cylinder, unsigned *sector)
{
    *cylinder = *sector = 0;
    for (unsigned i = 0; i < ARRAY_LEN(formats); i++) {
        if (formats[i].type == t) {
            *cylinder = MAX(*cylinder, formats[i].cylinders - 1u);
            *sector = MAX(*sector, formats[i].sectors);
        }
    }
}

uint8_t floppy_cmos_type(const FloppyDrive *f)
{
    static const uint8_t codes[] = { [FLOPPY_144] = 4, [FLOPPY_288] = 5, [FLOPPY_120] = 2,
                                     [FLOPPY_NONE] = 0 };

    return f != NULL && f->type < ARRAY_LEN(codes) ? codes[f->type] : 0;
}

void floppy_seek(FloppyDrive *f, unsigned cylinder)
{
    if (f->cylinder != cylinder && medium_size(&f->medium) > 0) {
        f->changed = false;
    }
    f->cylinder = (uint8_t)cylinder;
}

/* --- media --- */

static FloppyDrive *drive_of(Medium *m)
{
    return container_of(m, FloppyDrive, medium);
}

static void look_at_medium(Medium *m, bool changed)
{
    FloppyDrive *f = drive_of(m);
    uint64_t size = medium_size(m);

    domain_enter(f->dev.domain);
    if (size > 0) {
        f->format = floppy_format(size, (FloppyType)f->type, (FloppyType)f->type);
    }
    f->changed |= changed;
    TRACE(floppy_medium, "id=%s size=%" PRIu64 " sectors=%u", f->dev.id, size, f->format.sectors);
    domain_leave(f->dev.domain);
}

static void resized(Medium *m)
{
    look_at_medium(m, false);
}

static void inserted(Medium *m)
{
    look_at_medium(m, true);
}

static const MediumOps medium_ops = { .resized = resized, .inserted = inserted };

/* --- the slot --- */

static bool slot_attach(Bus *b, Device *dev, Error **errp)
{
    FloppyDrive *f = (FloppyDrive *)dev;
    const FloppyBus *bus = b->priv;

    if (f->unit == UINT32_MAX) {
        for (f->unit = 0; f->unit < FLOPPY_UNITS && bus->drives[f->unit] != NULL; f->unit++) {
        }
    }
    if (f->unit >= FLOPPY_UNITS) {
        return error_set(errp, "Can't create floppy unit %u, bus supports only %u units", f->unit,
                         FLOPPY_UNITS);
    }
    return bus->drives[f->unit] == NULL || error_set(errp, "Floppy unit %u is in use", f->unit);
}

static void set_drive(Bus *b, Device *dev, FloppyDrive *now)
{
    FloppyBus *bus = b->priv;

    domain_enter(dev->domain);
    bus->drives[((FloppyDrive *)dev)->unit] = now;
    domain_leave(dev->domain);
}

static bool slot_publish(Bus *b, Device *dev, Error **errp)
{
    set_drive(b, dev, (FloppyDrive *)dev);
    return true;
}

static void slot_withdraw(Bus *b, Device *dev)
{
    set_drive(b, dev, NULL);
}

const SlotType floppy_slot = {
    .name = "floppy-bus", .base_size = sizeof(FloppyDrive), .attach = slot_attach, .publish = slot_publish,
    .withdraw = slot_withdraw,
};

/* --- life --- */

static bool check_sizes(const FloppyDrive *f, Error **errp)
{
    if (f->logical > MAX(f->physical, FLOPPY_SECTOR)) {
        return error_set(errp, "logical_block_size > physical_block_size not supported");
    }
    return ((f->logical == 0 || f->logical == FLOPPY_SECTOR) &&
            (f->physical == 0 || f->physical == FLOPPY_SECTOR)) ||
           error_set(errp, "Physical and logical block size must be 512 for floppy");
}

static bool has_policy(const BlkNode *n, Error **errp)
{
    static const char *const names[] = { "werror", "rerror" };

    const BlkWords *words = blk_drive_words(n);

    for (unsigned i = 0; words != NULL && i < ARRAY_LEN(names); i++) {
        BlkOnError own = i == 1 ? words->rerror : words->werror;
        BlkOnError usual = i == 1 ? BLK_ON_ERROR_REPORT : BLK_ON_ERROR_ENOSPC;
        if (own != BLK_ON_ERROR_AUTO && own != usual) {
            error_set(errp, "fdc doesn't support drive option %s", names[i]);
            return true;
        }
    }
    return false;
}

static bool floppy_realize(Device *dev, Error **errp)
{
    FloppyDrive *f = device_as(dev, &floppy_type);
    const FloppyBus *bus = dev->bus->priv;
    BlkNode *n = f->drive;
    FloppyType wish = (FloppyType)f->drive_type;

    if (!check_sizes(f, errp) || (n != NULL && has_policy(n, errp))) {
        return false;
    }
    f->medium.dev = dev;
    f->medium.no_tray = f->medium.write = true;
    f->medium.share_rw = f->share_rw;
    f->medium.front.rerror = f->medium.front.werror = BLK_ON_ERROR_REPORT;
    f->medium.front.account_failed = (BlkAccount)f->account_failed;
    f->medium.front.account_invalid = (BlkAccount)f->account_invalid;
    if (!machine_bootindex(dev->machine, dev, bus->bootindex[f->unit], errp) ||
        !medium_open(&f->medium, n, true, &medium_ops, errp)) {
        return false;
    }
    wish = wish != FLOPPY_AUTO ? wish : (FloppyType)bus->type[f->unit];
    n = f->medium.node;        /* an empty -drive is no more */
    f->format = floppy_format(n != NULL ? blk_size(n) : 0, wish, (FloppyType)bus->fallback);
    f->type = wish != FLOPPY_AUTO ? (uint8_t)wish : f->format.type;
    return true;
}

static void floppy_unrealize(Device *dev)
{
    medium_close(&((FloppyDrive *)dev)->medium);
}

static void floppy_reset(Device *dev, ResetKind kind)
{
    FloppyDrive *f = (FloppyDrive *)dev;

    f->cylinder = 0;
    f->changed = true;
}

static bool floppy_check(void *obj, Error **errp)
{
    FloppyDrive *f = obj;

    if (f->type > FLOPPY_NONE) {
        return error_set(errp, "a drive of type %u", f->type);
    }
    f->format = floppy_format(medium_size(&f->medium), (FloppyType)f->type, (FloppyType)f->type);
    return true;
}

static const StateField floppy_fields[] = {
    STATE_BOOL(FloppyDrive, changed), STATE_U8(FloppyDrive, cylinder),
    { .name = "type", .kind = ST_U8, .flags = ST_MAY_LACK, .at = field_at(FloppyDrive, type, uint8_t),
      .count = 1, .stride = 1 },
    { 0 },
};

static const StateDesc floppy_state = {
    .name = "floppy", .version = 1, .fields = floppy_fields, .check = floppy_check,
};

static const PropDesc floppy_props[] = {
    PROP_U32(FloppyDrive, unit, "unit", UINT32_MAX, 0, UINT32_MAX,
             "0 is A, 1 is B; the first free one if unset"),
    PROP_LINK(FloppyDrive, drive, "drive", "blockdev",
              "Node name or ID of a block device to use as a backend"),
    PROP_ENUM(FloppyDrive, drive_type, "drive-type", floppy_type_names, FLOPPY_AUTO,
              "FDC drive type, 144/288/120/none/auto"),
    PROP_SIZE(FloppyDrive, logical, "logical_block_size", 0, 0, 2 * MiB, "512"),
    PROP_SIZE(FloppyDrive, physical, "physical_block_size", 0, 0, 2 * MiB, "512"),
    PROP_SIZE(FloppyDrive, min_io, "min_io_size", 0, 0, 2 * MiB, "kept for configuration files"),
    PROP_SIZE(FloppyDrive, opt_io, "opt_io_size", 0, 0, 2 * MiB, "kept for configuration files"),
    PROP_SIZE(FloppyDrive, discard_granularity, "discard_granularity", UINT32_MAX, 0, UINT32_MAX,
              "kept for configuration files"),
    PROP_ENUM(FloppyDrive, write_cache, "write-cache", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    PROP_BOOL(FloppyDrive, share_rw, "share-rw", false, "others may write to the medium too"),
    PROP_ENUM(FloppyDrive, account_invalid, "account-invalid", prop_onoffauto, ONOFF_AUTO,
              "so do those that make no sense"),
    PROP_ENUM(FloppyDrive, account_failed, "account-failed", prop_onoffauto, ONOFF_AUTO,
              "requests that fail count in the times"),
    PROP_ENUM(FloppyDrive, backend_defaults, "backend_defaults", prop_onoffauto, ONOFF_AUTO,
              "kept for configuration files"),
    { 0 },
};

const DeviceType floppy_type = {
    .name = "floppy", .summary = "virtual floppy drive", .slot = &floppy_slot, .size = sizeof(FloppyDrive),
    .category = "Storage", .props = floppy_props, .state = &floppy_state, .realize = floppy_realize,
    .unrealize = floppy_unrealize, .reset = floppy_reset,
};
