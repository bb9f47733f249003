/* measure.c: rhea-img measure: how large a file a new image needs. */
#include <inttypes.h>
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

static void print(bool json, uint64_t required, uint64_t full)
{
    if (json) {
        printf("{\n    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n", required,
               full);
    } else {
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", required, full);
    }
}

static bool measure(const Args *a, BlkNode *n, BlkCreate *o, Error **errp)
{
    BlkMeasure m = blk_measure(o);
    uint64_t data = 0, unit = o->cluster_size ? o->cluster_size : 64 * KiB;

    if (!strcmp(o->driver, "raw")) {
        print(a->json, ALIGN_UP(o->size, 512), ALIGN_UP(o->size, 512));
        return true;
    }
    if (!strcmp(o->driver, "luks")) {
        uint64_t room;

        if (!blk_luks_room(&o->luks, &room, errp)) {
            return false;
        }
        print(a->json, room + ALIGN_UP(o->size, 512), room + ALIGN_UP(o->size, 512));
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
    print(a->json, all ? m.full : m.metadata + data, m.full);
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
    } else if (a->size && !size_read(a->size, &o.size)) {
        error_set(&err, "Invalid image size specified. You may use k, M, G, T, P or E suffixes.");
    } else if (a->size || image_open(&image, a->rest[0], a->format, NULL, flags, &err)) {
        if (!a->snapshot || image_show(image.node, a->snapshot, &err)) {
            o.size = image.node ? blk_size(image.node) : o.size;
            ok = measure(a, image.node, &o, &err);
        }
        image_close(&image);
    }
    return ok ? 0 : fail(1, err);
}
