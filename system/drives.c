/* drives.c: from -blockdev and -drive to nodes and devices, see drives.h. */
#include "system/drives.h"

#include <stdio.h>
#include <string.h>
#include "block/front.h"
#include "block/graph.h"
#include "core/prop.h"
#include "qapi/types.h"
#include "system/blockdev.h"
#include "system/devices.h"
#include "system/drive-node.h"
#include "system/drive-stats.h"
#include "system/throttle.h"

#define FLOPPIES 2

/* A -drive that becomes a device once the board is there. */
typedef struct Drive {
    char *node;                /* NULL: an empty drive */
    DriveIf plug;
    bool cdrom, write_through, named;
    int bus, unit;
    char *serial;
    char *id;
} Drive;

static GArray *drives;         /* Drive */
static bool all_temporary;     /* -snapshot */
static bool floppies[FLOPPIES];        /* places that a -drive has */
static bool wants_floppy;      /* a board with a controller gets an empty drive */
static bool wants_cdrom;       /* and one with IDE an empty CD-ROM in its third place, if that is free */

static void *find_node(const char *name, Error **errp)
{
    BlkNode *n = blk_find_drive(name);

    if (n == NULL) {
        n = blk_find(name);
    }
    if (n == NULL) {
        const char *names[64] = { NULL };
        unsigned count = 0;
        for (BlkNode *b = blk_next(NULL); b != NULL && count < 63; b = blk_next(b)) {
            names[count++] = blk_name(b);
        }
        error_set(errp, "can't find value '%s'", name);
        error_suggest(errp, name, names);
    }
    return n;
}

/* A node may have gone since a device was told of it. */
static const char *node_id(void *target)
{
    BlkNode *n = blk_next(NULL);

    while (n != NULL && n != target) {
        n = blk_next(n);
    }
    if (n == NULL) {
        return NULL;
    }
    return *blk_drive_id(target) ? blk_drive_id(target) : blk_name(target);
}

void drives_init(void)
{
    static const LinkClass cls = { "blockdev", find_node, node_id };

    link_class_register(&cls);
    drives = g_array_new(false, true, sizeof(Drive));
}

/* --- -blockdev --- */

static bool open_blockdev(const char *text, bool *help, Error **errp)
{
    g_autoptr(BlockdevConfig) c = NULL;

    if (!qapi_opt_blockdev(text, &c, errp)) {
        return error_context(errp, "-blockdev %s", text);
    }
    if (c == NULL) {
        printf("Supported block drivers:\n");
        for (const char *const *n = blk_driver_names(); *n != NULL; n++) {
            printf("%s\n", *n);
        }
        *help = true;
        return true;
    }
    if (c->node_name == NULL) {
        return error_set(errp, "-blockdev %s: 'node-name' must be specified for the root node", text);
    }
    return blockdev_open(c, errp) != NULL || error_context(errp, "-blockdev %s", text);
}

/* --- -drive --- */

/* The names a -drive without an id gets, as far as they do not depend on the board. */
static char *made_id(const DriveConfig *c)
{
    static unsigned made[DRIVE_IF_COUNT];
    DriveIf plug = c->if_ == DRIVE_IF_DEFAULT ? DRIVE_IF_IDE : c->if_;

    return g_strdup_printf("%s%u", drive_if_name(plug), made[plug]++);
}

/* @o for an image that something else is put on, which the words about the disk go to. */
static BlkOptions below_top(const BlkOptions *o)
{
    BlkOptions image = *o;

    image.drive_id = NULL;
    image.detect_zeroes = BLK_DETECT_OFF;
    return image;
}

/* Writes go to a file that is gone in the end. */
static BlkNode *open_temporary(const BlkOptions *o, Error **errp)
{
    BlkOptions top = { .drive_id = o->drive_id, .words = o->words, .discard_unmap = true,
                       .detect_zeroes = o->detect_zeroes };
    BlkOptions base = below_top(o);

    return blk_open_temporary(&base, &top, errp);
}

/* @o, with a filter on it that fills the image. */
static BlkNode *open_copying(const BlkOptions *o, Error **errp)
{
    BlkOptions image = below_top(o);
    BlkOptions top = { .driver = "copy-on-read", .child = &image, .drive_id = o->drive_id,
                       .words = o->words, .cache_direct = o->cache_direct,
                       .cache_no_flush = o->cache_no_flush, .discard_unmap = o->discard_unmap,
                       .detect_zeroes = o->detect_zeroes };

    return blk_open(&top, errp);
}

static BlkAccount account_of(bool given, bool on)
{
    return !given ? BLK_ACCOUNT_AUTO : on ? BLK_ACCOUNT_ON : BLK_ACCOUNT_OFF;
}

static bool through_of(const DriveConfig *c)
{
    return c->has_cache_writeback ? !c->cache_writeback
           : c->cache == DRIVE_CACHE_WRITETHROUGH || c->cache == DRIVE_CACHE_DIRECTSYNC;
}

/* What @c says of the top node, into @o, which its node options are in. */
static void set_words(BlkOptions *o, const DriveConfig *c)
{
    o->read_only |= c->readonly || c->read_only || c->media == DRIVE_MEDIA_CDROM;
    o->words = (BlkWords){
        .rerror = (BlkOnError)c->rerror, .werror = (BlkOnError)c->werror,
        .account_failed = account_of(c->has_stats_account_failed, c->stats_account_failed),
        .account_invalid = account_of(c->has_stats_account_invalid, c->stats_account_invalid),
    };
    o->cache_direct = c->has_cache_direct ? c->cache_direct
                      : c->cache == DRIVE_CACHE_NONE || c->cache == DRIVE_CACHE_DIRECTSYNC;
    o->cache_no_flush = c->has_cache_no_flush ? c->cache_no_flush : c->cache == DRIVE_CACHE_UNSAFE;
    o->discard_unmap = c->discard == BLOCKDEV_DISCARD_UNMAP;
    o->detect_zeroes = (BlkDetect)c->detect_zeroes;
    o->key_secret = c->key_secret != NULL ? c->key_secret : c->encrypt_key_secret;
    o->encrypt_format = c->encrypt_format;
    o->pass_discard[BLK_FREED_REQUEST] = blk_on_off(c->has_pass_discard_request, c->pass_discard_request);
    o->pass_discard[BLK_FREED_SNAPSHOT] = blk_on_off(c->has_pass_discard_snapshot, c->pass_discard_snapshot);
    o->pass_discard[BLK_FREED_OTHER] = blk_on_off(c->has_pass_discard_other, c->pass_discard_other);
}

/* What has nothing in it is opened with @no_medium. */
static BlkNode *open_drive_node(const DriveConfig *c, const char *id, const GArray *intervals, bool no_medium,
                                Error **errp)
{
    g_auto(DriveNode) nodes = { 0 };
    ThrottleRates rates;
    const char *group;
    BlkOptions none = { .drive_id = id }, *got = no_medium ? &none : drive_node_options(&nodes, c, errp);

    if (got == NULL || !throttle_of_drive((const DriveThrottling *)c, &rates, &group, errp)) {
        return NULL;
    }
    if (c->aio != BLOCKDEV_AIO_THREADS && !no_medium) {
        nodes.bottom->aio = (BlkAio)c->aio;
    }
    set_words(got, c);
    BlkOptions o = *got;
    o.drive_id = id;
    o.words.rates = throttle_rates_any(&rates) ? &rates : NULL;
    o.words.rates_group = group;
    o.words.intervals = (const uint32_t *)(const void *)intervals->data;
    o.words.intervals_count = intervals->len;
    bool read_only = o.read_only;

    if (c->aio == BLOCKDEV_AIO_NATIVE && !o.cache_direct && !no_medium) {
        error_set(errp, "aio=native was specified, but it requires cache.direct=on, which was not specified");
    } else if (blk_find_drive(id) != NULL || blk_front_lost(id)) {
        error_set(errp, "Duplicate ID '%s' for drive", id);
    } else if (blk_find(id) != NULL) {
        error_set(errp, "Device name '%s' conflicts with an existing node name", id);
    } else if (no_medium) {
        return blk_open_empty(id, &o.words, errp);
    } else if ((c->has_snapshot ? c->snapshot : all_temporary) && !read_only) {
        return open_temporary(&o, errp);
    } else if (c->copy_on_read && read_only) {
        fprintf(stderr, "rhea: warning: disabling copy-on-read on read-only drive\n");
        return blk_open(&o, errp);
    } else {
        return c->copy_on_read ? open_copying(&o, errp) : blk_open(&o, errp);
    }
    return NULL;
}

BlkNode *drives_open_medium(const char *file, const char *format, const char *drive, bool read_only,
                            Error **errp)
{
    BlkOptions host = {
        .driver = blk_protocol_of(file), .filename = file,
    };
    BlkOptions o = {
        .driver = format != NULL ? format : drive_probe_format(file), .drive_id = drive,
        .words = { .rerror = BLK_ON_ERROR_AUTO, .werror = BLK_ON_ERROR_AUTO }, .read_only = read_only,
        .auto_read_only = true, .child = &host,
    };

    return blk_open(&o, errp);
}

static bool check_policies(const DriveConfig *c, DriveIf plug, Error **errp)
{
    bool bus_can = plug == DRIVE_IF_IDE || plug == DRIVE_IF_VIRTIO || plug == DRIVE_IF_NONE;

    if (c->rerror == BLOCKDEV_ON_ERROR_ENOSPC) {
        return error_set(errp, "'enospc' invalid read error action");
    }
    if (!bus_can && (c->werror != BLOCKDEV_ON_ERROR_AUTO || c->rerror != BLOCKDEV_ON_ERROR_AUTO)) {
        return error_set(errp, "%s is not supported by this bus type",
                         c->werror != BLOCKDEV_ON_ERROR_AUTO ? "werror" : "rerror");
    }
    if (c->serial != NULL && plug != DRIVE_IF_IDE && plug != DRIVE_IF_VIRTIO) {
        return error_set(errp, "if=%s makes no device that could have a serial number", drive_if_name(plug));
    }
    return true;
}

/* May @c, for @plug, be a drive with nothing in it? */
static bool check_empty(const DriveConfig *c, DriveIf plug, Error **errp)
{
    if (c->format != NULL) {
        return error_set(errp, "A block device must be specified for \"file\"");
    }
    if (plug == DRIVE_IF_PFLASH) {
        return error_set(errp, "parameter 'file' is missing");
    }
    return plug == DRIVE_IF_NONE || plug == DRIVE_IF_FLOPPY || c->media == DRIVE_MEDIA_CDROM ||
           error_set(errp, "Device needs media, but drive is empty");
}

static void set_place(Drive *d, const DriveConfig *c, int fallback_index)
{
    d->bus = c->has_bus ? (int)c->bus : -1;
    d->unit = c->has_unit ? (int)c->unit : -1;
    if (c->has_index || fallback_index >= 0) {
        d->unit = c->has_index ? (int)c->index : fallback_index;
        d->bus = -2;                         /* an index: counted over the buses */
    }
}

/* The place of a floppy drive on its controller; -1: *errp is set. */
static int take_floppy(const DriveConfig *c, int fallback_index, Error **errp)
{
    int unit = c->has_index ? (int)c->index : c->has_unit ? (int)c->unit : fallback_index;

    for (int i = 0; unit < 0 && i < FLOPPIES; i++) {
        unit = floppies[i] ? -1 : i;
    }
    if (unit < 0 || unit >= FLOPPIES || (c->has_bus && c->bus != 0)) {
        error_set(errp, "machine type does not support if=floppy,bus=%u,unit=%d",
                  c->has_bus ? (unsigned)c->bus : 0, unit < 0 ? FLOPPIES : unit);
        return -1;
    }
    if (floppies[unit]) {
        error_set(errp, "drive with bus=0, unit=%d (index=%d) exists", unit, unit);
        return -1;
    }
    floppies[unit] = true;
    return unit;
}

static bool add_drive(const DriveConfig *c, BoardConfig *board, int fallback_index, Error **errp)
{
    if (!device_check_id(c->id, errp)) {
        return false;
    }
    int floppy = c->if_ != DRIVE_IF_FLOPPY ? 0 : take_floppy(c, fallback_index, errp);
    if (floppy < 0) {
        return false;
    }
    g_autofree char *id = c->id != NULL ? g_strdup(c->id)
                          : c->if_ == DRIVE_IF_FLOPPY ? g_strdup_printf("floppy%d", floppy) : made_id(c);
    Drive d = { .plug = c->if_ == DRIVE_IF_DEFAULT ? DRIVE_IF_IDE : c->if_, .serial = g_strdup(c->serial),
                .cdrom = c->media == DRIVE_MEDIA_CDROM, .named = c->id != NULL,
                .write_through = through_of(c) };
    g_autoptr(GArray) intervals = g_array_new(false, false, sizeof(uint32_t));

    if (!drive_take_intervals(c->node, intervals, errp)) {
        return false;
    }
    bool has_node = c->file != NULL || c->driver != NULL || (c->node != NULL && json_object_size(c->node));
    if (!has_node && !check_empty(c, d.plug, errp)) {
        return false;
    }
    if (d.plug != DRIVE_IF_NONE && d.plug != DRIVE_IF_IDE && d.plug != DRIVE_IF_VIRTIO &&
        d.plug != DRIVE_IF_PFLASH && d.plug != DRIVE_IF_FLOPPY) {
        return error_set(errp, "machine type does not support if=%s,bus=%u,unit=%u", drive_if_name(d.plug),
                         c->has_bus ? (unsigned)c->bus : 0, c->has_unit ? (unsigned)c->unit : 0);
    }
    if (!check_policies(c, d.plug, errp)) {
        return false;
    }
    const BlkNode *n = open_drive_node(c, id, intervals, !has_node, errp);
    if (n == NULL) {
        return false;
    }
    d.node = g_strdup(blk_name(n));
    if (d.plug == DRIVE_IF_PFLASH) {
        int unit = c->has_unit ? (int)c->unit : c->has_index ? (int)c->index : board->pflash[0] != NULL;
        if (unit > 1 || board->pflash[unit] != NULL) {
            return error_set(errp, "if=pflash: unit %d is %s", unit, unit > 1 ? "too large" : "in use");
        }
        board->pflash[unit] = d.node;
        return true;
    }
    if (d.plug == DRIVE_IF_NONE) {
        g_free(d.node);
        g_free(d.serial);
        return true;
    }
    set_place(&d, c, fallback_index);
    d.unit = d.plug == DRIVE_IF_FLOPPY ? floppy : d.unit;
    d.id = g_steal_pointer(&id);
    g_array_append_val(drives, d);
    return true;
}

static void print_formats(const char *of)
{
    printf("Supported formats%s:", of);
    for (const char *const *n = blk_driver_names(); *n != NULL; n++) {
        printf(" %s", *n);
    }
    putchar('\n');
}

static bool add_drive_text(const char *option, const char *text, BoardConfig *board, int index, bool *help,
                           Error **errp)
{
    g_autoptr(DriveConfig) c = NULL;

    if (!qapi_opt_drive(text, &c, errp)) {
        return error_context(errp, "-%s %s", option, text);
    }
    if (c == NULL) {
        g_autoptr(GString) s = g_string_new(NULL);
        qapi_option_help(QAPI_OPT_DRIVE, s);
        fputs(s->str, stdout);
        *help = true;
        return true;
    }
    if (c->format != NULL && (strcmp(c->format, "help") == 0 || strcmp(c->format, "?") == 0)) {
        print_formats("");
        print_formats(" (read-only)");
        *help = true;
        return true;
    }
    return add_drive(c, board, index, errp) || error_context(errp, "-%s %s", option, text);
}

/* -hda FILE and the like: a -drive with the file's commas doubled. */
static bool add_short(const CmdLine *cmd, Option o, const char *rest, BoardConfig *board,
                      int index, bool *help, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, o); i++) {
        g_auto(GStrv) parts = g_strsplit(cmdline_nth(cmd, o, i), ",", -1);
        g_autofree char *file = g_strjoinv(",,", parts);
        g_autofree char *text = g_strdup_printf("file=%s%s", file, rest);

        if (!add_drive_text(cmdline_option_name(o), text, board, index, help, errp)) {
            return false;
        }
    }
    return true;
}

bool drives_open_all(const CmdLine *cmd, BoardConfig *board, bool *help, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_BLOCKDEV); i++) {
        if (!open_blockdev(cmdline_nth(cmd, OPT_BLOCKDEV, i), help, errp) || *help) {
            return *help;
        }
    }
    all_temporary = cmdline_has(cmd, OPT_SNAPSHOT);
    wants_floppy = !cmdline_has(cmd, OPT_NODEFAULTS) && !devices_named(cmd, "floppy") &&
                   !devices_named(cmd, "isa-fdc");
    wants_cdrom = !cmdline_has(cmd, OPT_NODEFAULTS) && !devices_named(cmd, "ide-cd") &&
                  !devices_named(cmd, "ide-hd") && !devices_named(cmd, "scsi-cd") &&
                  !devices_named(cmd, "scsi-hd");
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_DRIVE); i++) {
        if (!add_drive_text("drive", cmdline_nth(cmd, OPT_DRIVE, i), board, -1, help, errp) || *help) {
            return *help;
        }
    }
    return add_short(cmd, OPT_FDA, ",if=floppy", board, 0, help, errp) &&
           add_short(cmd, OPT_FDB, ",if=floppy", board, 1, help, errp) &&
           add_short(cmd, OPT_HDA, "", board, 0, help, errp) &&
           add_short(cmd, OPT_HDB, "", board, 1, help, errp) &&
           add_short(cmd, OPT_HDC, "", board, 2, help, errp) &&
           add_short(cmd, OPT_HDD, "", board, 3, help, errp) &&
           add_short(cmd, OPT_CDROM, ",media=cdrom", board, 2, help, errp) &&
           add_short(cmd, OPT_PFLASH, ",if=pflash,format=raw", board, -1, help, errp);
}

/* --- devices --- */

/* "ide.N" and the unit on it; the board's buses take one or two drives each. */
static bool ide_place(Machine *m, Drive *d, json_t *props, Error **errp)
{
    Bus *b = devices_find_bus("ide.0", errp);
    unsigned per_bus, place;

    if (b == NULL) {
        return false;
    }
    per_bus = MAX(b->capacity, 1);
    if (d->bus == -1 && d->unit == -1) {
        place = devices_ide_free(per_bus);
    } else {
        place = d->bus == -2 ? (unsigned)d->unit : (unsigned)MAX(d->bus, 0) * per_bus + MAX(d->unit, 0);
    }
    if (!d->named) {
        g_autofree char *id = g_strdup_printf("ide%u-%s%u", place / per_bus, d->cdrom ? "cd" : "hd",
                                              place % per_bus);
        blk_rename_drive(blk_find(d->node), id);
    }
    json_object_set_new(props, "unit", json_sprintf("%u", place % per_bus));
    json_object_set_new(props, "bus", json_sprintf("ide.%u", place / per_bus));
    return true;
}

static Bus *floppy_bus(Machine *m, Error **errp)
{
    return bus_find_for(m->root, device_type_find("floppy"), errp);
}

/* A board without a floppy controller gets one. */
static bool plug_floppy(Machine *m, const Drive *d, Error **errp)
{
    const DeviceType *fdc = device_type_find("isa-fdc"), *floppy = device_type_find("floppy");
    Bus *b = floppy_bus(m, NULL);
    g_autofree char *unit = g_strdup_printf("%d", d->unit);

    if (b == NULL && (m->isa == NULL || device_make(fdc, m->root, m->isa, NULL, errp, NULL) == NULL)) {
        return m->isa != NULL ||
               error_set(errp, "machine type does not support if=floppy,bus=0,unit=%d", d->unit);
    }
    b = floppy_bus(m, errp);
    if (b == NULL) {
        return false;
    }
    return device_make(floppy, m->root, b, NULL, errp, "unit", unit, "drive", d->node, NULL) != NULL;
}

static bool plug(Machine *m, Drive *d, Error **errp)
{
    g_autoptr(json_t) props = json_object();
    DeviceConfig c = { .props = props };
    g_autofree char *bus = NULL;

    if (d->plug == DRIVE_IF_FLOPPY) {
        return plug_floppy(m, d, errp);
    }
    json_object_set_new(props, "drive", json_string(d->node));
    if (d->serial != NULL) {
        json_object_set_new(props, "serial", json_string(d->serial));
    }
    if (d->write_through) {
        json_object_set_new(props, "write-cache", json_string("off"));
    }
    if (d->plug == DRIVE_IF_VIRTIO) {
        c.driver = (char *)"virtio-blk-pci";
        return devices_add(&c, false, errp) != NULL;
    }
    c.driver = (char *)(d->cdrom ? "ide-cd" : "ide-hd");
    if (!ide_place(m, d, props, errp)) {
        return false;
    }
    bus = g_strdup(json_string_value(json_object_get(props, "bus")));
    json_object_del(props, "bus");
    c.bus = bus;
    return devices_add(&c, false, errp) != NULL;
}

/* Adds @d, which nobody asked for and nothing is in, unless somebody has a drive of that name. */
static bool add_default(Drive d, const char *id, Error **errp)
{
    const BlkWords words = { .rerror = BLK_ON_ERROR_AUTO, .werror = BLK_ON_ERROR_AUTO };
    const BlkNode *n = blk_find_drive(id) == NULL ? blk_open_empty(id, &words, errp) : NULL;

    if (n != NULL) {
        d.id = g_strdup(id);
        d.node = g_strdup(blk_name(n));
        g_array_append_val(drives, d);
    }
    return n != NULL || blk_find_drive(id) != NULL;
}

static bool add_default_cdrom(Machine *m, Error **errp)
{
    const Drive d = { .plug = DRIVE_IF_IDE, .cdrom = true, .named = true, .bus = -2, .unit = 2 };
    const Bus *b = devices_find_bus("ide.0", NULL);
    unsigned per_bus = b != NULL ? MAX(b->capacity, 1) : 1;
    g_autofree char *id = g_strdup_printf("ide%u-cd0", d.unit / per_bus);

    return !wants_cdrom || !devices_ide_is_free(per_bus, (unsigned)d.unit) || add_default(d, id, errp);
}

static bool plug_from(Machine *m, unsigned first, Error **errp)
{
    for (unsigned i = first; i < drives->len; i++) {
        Drive *d = &g_array_index(drives, Drive, i);
        if (!plug(m, d, errp)) {
            const BlkNode *n = blk_find(d->node);      /* named after its place by now, or taken over */
            return error_context(errp, "-drive: %s", n != NULL ? blk_drive_id(n) : d->id);
        }
    }
    return true;
}

bool drives_plug_all(Machine *m, Error **errp)
{
    const Drive floppy = { .plug = DRIVE_IF_FLOPPY };

    if (wants_floppy && !floppies[0] && floppy_bus(m, NULL) != NULL &&
        !add_default(floppy, "floppy0", errp)) {
        return false;
    }
    unsigned asked = drives->len;

    return plug_from(m, 0, errp) && add_default_cdrom(m, errp) && plug_from(m, asked, errp);
}

bool drives_hot_add(const char *text, Error **errp)
{
    g_autoptr(DriveConfig) c = NULL;

    if (!qapi_opt_drive(text, &c, errp)) {
        return false;
    }
    if (c == NULL || c->if_ != DRIVE_IF_NONE) {
        return error_set(errp, "Can't hot-add drive to type %s",
                         c != NULL && c->if_ != DRIVE_IF_DEFAULT ? drive_if_name(c->if_) : "ide");
    }
    return add_drive(c, NULL, -1, errp);
}

/* Closes the first node that nobody uses any more; false: there is none. */
static bool close_one(void)
{
    for (BlkNode *n = blk_next(NULL); n != NULL; n = blk_next(n)) {
        if (blk_close(n, NULL)) {
            return true;
        }
    }
    return false;
}

void drives_close_all(void)
{
    while (close_one()) {                    /* parents go before the nodes below them */
    }
    for (unsigned i = 0; drives != NULL && i < drives->len; i++) {
        Drive *d = &g_array_index(drives, Drive, i);
        g_free(d->node);
        g_free(d->serial);
        g_free(d->id);
    }
}
