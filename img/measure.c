/* measure.c: rhea-img measure: how large a file a new image needs. */
#include <inttypes.h>
#include <string.h>
#include "block/bitmap.h"
#include "img/img.h"
#include "util/bytes.h"

/* Bytes of @n that would be allocated, in units of @unit. */
static bool count_data(BlkNode *n, uint64_t unit, uint64_t *out, Error **errp)
{
    uint64_t end = 0, size = blk_size(n);          /* end: of what was counted */
    BlkStatus s;

    *out = 0;
    for (uint64_t at = 0; at < size; at += s.len) {
        int ret = blk_status(n, at, size - at, NULL, &s);

        if (ret < 0) {
            return error_set_errno(errp, -ret, "Unable to get block status at %" PRIu64, at);
        }
        if (!(s.flags & BLK_STATUS_ZERO)) {
            uint64_t from = MAX(end, ALIGN_DOWN(at, unit));

            end = ALIGN_UP(at + s.len, unit);
            *out += end - from;
        }
    }
    return true;
}

/* Bytes that @n's bitmaps take in a qcow2 image with clusters of @cluster bytes: the bits and a table of 8
 * bytes for each of their clusters, and one directory (docs/interop/qcow2.txt, Bitmaps extension). */
static uint64_t bitmaps_size(const BlkNode *n, uint64_t cluster)
{
    uint64_t sum = 0, directory = 0, size = blk_size(n);

    for (BlkBitmap *b = blk_bitmap_next(n, NULL); b; b = blk_bitmap_next(n, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);

        if (i.persistent) {
            uint64_t clusters = DIV_ROUND_UP(DIV_ROUND_UP(DIV_ROUND_UP(size, i.granularity), 8), cluster);

            sum += clusters * cluster + ALIGN_UP(clusters * 8, cluster);
            directory += ALIGN_UP(24 + strlen(i.name), 8);
        }
    }
    return sum + ALIGN_UP(directory, cluster);
}

/* @bitmaps: -1: of no meaning here. */
static void print(bool json, uint64_t required, uint64_t full, int64_t bitmaps)
{
    g_autofree char *more = bitmaps < 0 ? g_strdup("") :
        g_strdup_printf(json ? "    \"bitmaps\": %" PRIi64 ",\n" : "bitmaps size: %" PRIi64 "\n", bitmaps);

    if (json) {
        printf("{\n%s    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n", more,
               required, full);
    } else {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n%s", required, full, more);
    }
}

static bool measure(const Args *a, BlkNode *n, BlkCreate *o, Error **errp)
{
    BlkMeasure m = blk_measure(o);
    uint64_t data = 0, unit = o->cluster_size ? o->cluster_size : 64 * KiB;

    if (!strcmp(o->driver, "raw")) {
        print(a->json, ALIGN_UP(o->size, 512), ALIGN_UP(o->size, 512), -1);
        return true;
    }
    if (!strcmp(o->driver, "luks")) {
        uint64_t room;

        if (!blk_luks_room(&o->luks, &room, errp)) {
            return false;
        }
        print(a->json, room + ALIGN_UP(o->size, 512), room + ALIGN_UP(o->size, 512), -1);
        return true;
    }
    if (!m.full) {
        return error_set(errp, "The image size is too large for file format 'qcow2' (try using a larger "
                         "cluster size)");
    }
    if (n && !count_data(n, unit, &data, errp)) {
        return false;
    }
    bool all = o->prealloc == BLK_PREALLOC_FULL || o->prealloc == BLK_PREALLOC_FALLOC;
    bool kept = n && !o->v2 && blk_bitmaps_kept(n, false);
    print(a->json, all ? m.full : m.metadata + data, m.full, kept ? (int64_t)bitmaps_size(n, unit) : -1);
    return true;
}

int cmd_measure(Args *a)
{
    BlkCreate o = { .driver = a->out_format ? a->out_format : "raw" };
    unsigned flags = (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS : 0);
    bool has_size = false, help = false, ok = false;
    Image image = { 0 };
    Error *err = NULL;

    if (!can_create(o.driver)) {
        error_set(&err, "Unknown file format '%s'", o.driver);
    } else if (!create_options_read(o.driver, a->options->str, &o, &has_size, &help, &err)) {
        if (help) {
            create_options_help(o.driver);
            return 0;
        }
    } else if ((a->count_rest != 0) == (a->size != NULL)) {
        error_set(&err, a->size ? "--size N cannot be used together with a filename"
                                : "Either --size N or one filename must be specified.");
    } else if (a->size && (a->image_opts || a->format || a->snapshot)) {
        error_set(&err, "--image-opts, -f, and -l require a filename argument.");
    } else if (a->size && !image_size_read(a->size, &o.size, &err)) {
        ok = false;
    } else if (a->size || image_open(&image, a->rest[0], a->format, NULL, flags, &err)) {
        if (!a->snapshot || image_show(image.node, a->snapshot, &err)) {
            o.size = image.node ? blk_size(image.node) : o.size;
            ok = measure(a, image.node, &o, &err);
        }
        image_close(&image);
    }
    return ok ? 0 : fail(1, err);
}
