/* resize.c: rhea-img resize. */
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"

/* Writes zeroes to what was added, so that it has space. */
static bool preallocate(BlkNode *n, uint64_t from, uint64_t to, const char *how, Error **errp)
{
    static const uint8_t zeroes[MiB];
    bool full = !strcmp(how, "full") || strcmp(blk_driver_name(n), "qcow2") == 0;
    int ret = 0;

    if (!full) {
        ret = from < to ? blk_pzero(n, from, to - from, 0) : 0;
    }
    for (; full && from < to && ret == 0; from += MIN(to - from, sizeof(zeroes))) {
        ret = blk_pwrite(n, from, zeroes, MIN(to - from, sizeof(zeroes)));
    }
    return ret == 0 || error_set_errno(errp, -ret, "Could not preallocate '%s'", blk_filename(n));
}

static bool resize(const Args *a, BlkNode *n, char sign, uint64_t by, Error **errp)
{
    uint64_t old = blk_size(n), size = sign == '+' ? old + by : sign == '-' ? old - by : by;
    const char *how = a->prealloc && strcmp(a->prealloc, "off") != 0 ? a->prealloc : NULL;

    if ((sign == '-' && by >= old) || size > INT64_MAX - 511 || (sign && !by)) {
        return error_set(errp, "New image size must be positive");
    }
    size = ALIGN_UP(size, 512);
    if (size <= old && how) {
        return error_set(errp, "Preallocation can only be used for growing images");
    }
    if (how && strcmp(how, "falloc") != 0 && strcmp(how, "full") != 0) {
        return error_set(errp, strcmp(how, "metadata") == 0 ? "Unsupported preallocation mode '%s'"
                                                            : "Invalid preallocation mode '%s'", how);
    }
    if (size < old && !a->shrink) {
        error_set(errp, "Use the --shrink option to perform a shrink operation.");
        return error_hint(errp, "Shrinking an image will delete all data beyond the shrunken image's end. "
                          "Before "
                          "performing such an operation, make sure there is no important data there.");
    }
    return blk_truncate(n, size, errp) && (!how || preallocate(n, old, size, how, errp));
}

int cmd_resize(Args *a)
{
    const char *text = a->rest[1];
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP | (a->image_opts ? OPEN_OPTS : 0);
    Error *err = NULL;
    Image image;
    uint64_t by;

    if (!size_read(text, &by)) {
        error_set(&err, "Invalid image size specified. You may use k, M, G, T, P or E suffixes for "
                  "kilobytes, "
                  "megabytes, gigabytes, terabytes, petabytes and exabytes.");
        return fail(1, err);
    }
    if (!image_open(&image, a->rest[0], a->format, NULL, flags, &err)) {
        return fail(1, err);
    }
    bool ok = resize(a, image.node, sign, by, &err);
    ok = image_close(&image) && ok;
    if (ok && !a->quiet) {
        printf("Image resized.\n");
    }
    return ok ? 0 : err ? fail(1, err) : 1;
}
