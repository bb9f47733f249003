/* resize.c: rhea-img resize.
 *
 * 1. Space is set aside when the image has its new size; if there is not enough, it gets the old one back. */
#include <errno.h>
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"

/* Sets space aside for what was added; @how: as image_resize(). */
static int preallocate(BlkNode *n, uint64_t from, uint64_t to, const char *how)
{
    static const uint8_t zeroes[MiB];
    bool full = !strcmp(how, "full") || strcmp(blk_driver_name(n), "qcow2") == 0;
    int ret = 0;

    if (!strcmp(how, "metadata")) {
        return blk_premap(n, from, to);
    }
    if (!full) {
        ret = from < to ? blk_pzero(n, from, to - from, 0) : 0;
    }
    for (; full && from < to && ret == 0; from += MIN(to - from, sizeof(zeroes))) {
        ret = blk_pwrite(n, from, zeroes, MIN(to - from, sizeof(zeroes)));
    }
    return ret < 0 ? ret : blk_pflush(n);
}

/* True: "off", or NULL. */
static bool is_off(const char *how)
{
    return !how || !strcmp(how, "off");
}

bool image_prealloc_ok(const char *how, Error **errp)
{
    static const char *const modes[] = { "metadata", "falloc", "full" };
    bool ok = is_off(how);

    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        ok = ok || !strcmp(how, modes[i]);
    }
    return ok || error_set(errp, "Invalid preallocation mode '%s'", how);
}

/* Has the host room for what a qcow2 image takes until it is @size large and mapped?  Without it there would
 * be none left either to undo what was done until then. */
static bool has_room(BlkNode *n, uint64_t size, const char *how)
{
    BlkImageInfo info;

    blk_image_info(n, &info);
    uint64_t cluster = info.cluster_size, data = DIV_ROUND_UP(size - blk_size(n), cluster);
    uint64_t tables = DIV_ROUND_UP(data * (info.extended_l2 ? 16 : 8), cluster) + 1;
    uint64_t counts = DIV_ROUND_UP((data + tables) * info.refcount_bits / 8, cluster) + 1;
    bool here = strcmp(how, "metadata") != 0 && info.data_file == NULL;

    return blk_has_room(n, ((here ? data : 0) + tables + counts) * cluster);
}

bool image_resize(BlkNode *n, uint64_t size, const char *how, Error **errp)
{
    uint64_t old = blk_size(n);
    bool mapped = !strcmp(blk_driver_name(n), "qcow2");

    if (!is_off(how) && size < old) {
        return error_set(errp, mapped ? "Preallocation can't be used for shrinking an image"
                                      : "Cannot use preallocation for shrinking files");
    }
    if (!is_off(how) && !strcmp(how, "metadata") && !mapped) {
        return error_set(errp, "Unsupported preallocation mode: metadata");
    }
    if (!is_off(how) && mapped && size > old && !has_room(n, size, how)) {
        return error_set_errno(errp, ENOSPC, "Could not preallocate '%s'", blk_filename(n));
    }
    if (!blk_truncate(n, size, errp)) {
        return false;
    }
    int ret = is_off(how) ? 0 : preallocate(n, old, size, how);
    if (ret == 0) {
        return true;
    }
    error_set_errno(errp, -ret, "Could not preallocate '%s'", blk_filename(n));
    return blk_truncate(n, old, NULL) ? false : error_hint(errp, "The image has %" PRIu64 " bytes now.",
                                                           blk_size(n));
}

static bool resize(const Args *a, BlkNode *n, char sign, uint64_t by, Error **errp)
{
    uint64_t old = blk_size(n), size = sign == '+' ? old + by : sign == '-' ? old - by : by;

    if (!image_prealloc_ok(a->prealloc, errp)) {
        return false;
    }
    if ((sign == '-' && by >= old) || size > INT64_MAX - 511 || (sign && !by)) {
        return error_set(errp, "New image size must be positive");
    }
    size = ALIGN_UP(size, 512);
    if (size <= old && !is_off(a->prealloc)) {
        return error_set(errp, "Preallocation can only be used for growing images");
    }
    if (size < old && !a->shrink) {
        error_set(errp, "Use the --shrink option to perform a shrink operation.");
        return error_hint(errp, "Shrinking an image will delete all data beyond the shrunken image's end. "
                          "Before "
                          "performing such an operation, make sure there is no important data there.");
    }
    return image_resize(n, size, a->prealloc, errp);
}

int cmd_resize(Args *a)
{
    const char *text = a->rest[1];
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP | (a->image_opts ? OPEN_OPTS : 0);
    Error *err = NULL;
    Image image;
    uint64_t by;

    if (!image_size_read(text, &by, &err)) {
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
