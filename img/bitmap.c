/* bitmap.c: rhea-img bitmap, and the bitmaps that a convert takes along. */
#include <string.h>
#include "block/bitmap.h"
#include "img/img.h"
#include "util/bytes.h"

static BlkBitmap *find(const BlkNode *n, const char *name, bool broken_too, Error **errp)
{
    BlkBitmap *b = blk_bitmap_find(n, name);

    if (!b) {
        error_set(errp, "Dirty bitmap '%s' not found", name);
        return NULL;
    }
    return blk_bitmap_usable(b, false, broken_too, errp) ? b : NULL;
}

/* One action on the bitmap @name of @n; @source is where --merge takes from. */
static bool act(const BitmapAction *what, BlkNode *n, const BlkNode *source, const char *name,
                uint64_t granularity, Error **errp)
{
    bool removes = !strcmp(what->name, "remove");

    if (!strcmp(what->name, "add")) {
        return blk_bitmap_add(n, name, granularity, true, errp) != NULL;
    }
    BlkBitmap *b = find(n, name, removes, errp);
    if (!b) {
        return false;
    }
    if (removes) {
        blk_bitmap_remove(b);
    } else if (!strcmp(what->name, "clear")) {
        blk_bitmap_clear(b, 0, UINT64_MAX);
    } else if (!strcmp(what->name, "merge")) {
        const BlkBitmap *from = find(source, what->source, false, errp);

        return from && blk_bitmap_merge(b, from, errp);
    } else {
        blk_bitmap_record(b, !strcmp(what->name, "enable"));
    }
    return true;
}

static bool run(const Args *a, BlkNode *n, const BlkNode *source, uint64_t granularity, Error **errp)
{
    for (unsigned i = 0; i < a->bitmap_actions->len; i++) {
        const BitmapAction *what = &g_array_index(a->bitmap_actions, BitmapAction, i);

        if (!act(what, n, source, a->rest[1], granularity, errp)) {
            return error_context(errp, "Operation %s on bitmap %s failed", what->name, a->rest[1]);
        }
    }
    return true;
}

static bool has_action(const Args *a, const char *name)
{
    for (unsigned i = 0; i < a->bitmap_actions->len; i++) {
        if (!strcmp(g_array_index(a->bitmap_actions, BitmapAction, i).name, name)) {
            return true;
        }
    }
    return false;
}

/* The combinations that make sense, and the granularity. */
static bool check(const Args *a, uint64_t *granularity, Error **errp)
{
    *granularity = 0;
    if (a->bitmap_actions->len == 0) {
        return error_set(errp, "Need at least one of --add, --remove, --clear, --enable, --disable, or "
                         "--merge");
    }
    if (a->granularity && !has_action(a, "add")) {
        return error_set(errp, "granularity only supported with --add");
    }
    if (a->backing && !has_action(a, "merge")) {
        return error_set(errp, "Merge bitmap source file only supported with --merge");
    }
    if (a->format2 && !a->backing) {
        return error_set(errp, "-F only supported with -b");
    }
    return !a->granularity || (size_read(a->granularity, granularity) && *granularity > 0) ||
           error_set(errp, "Invalid granularity specified");
}

bool bitmaps_check(const BlkNode *source, bool skip_broken, Error **errp)
{
    for (BlkBitmap *b = blk_bitmap_next(source, NULL); b; b = blk_bitmap_next(source, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);

        if (i.inconsistent && skip_broken) {
            warn_report("Skipping inconsistent bitmap '%s'", i.name);
        } else if (i.inconsistent) {
            error_set(errp, "Cannot copy inconsistent bitmap '%s'", i.name);
            return error_hint(errp, "Try --skip-broken-bitmaps, or use 'rhea-img bitmap --remove' to delete "
                              "it");
        }
    }
    return true;
}

bool bitmaps_copy(BlkNode *target, const BlkNode *source, Error **errp)
{
    for (BlkBitmap *b = blk_bitmap_next(source, NULL); b; b = blk_bitmap_next(source, b)) {
        BlkBitmapInfo i = blk_bitmap_info(b);

        if (i.inconsistent) {
            continue;
        }
        BlkBitmap *to = blk_bitmap_add(target, i.name, i.granularity, true, errp);
        if (!to || !blk_bitmap_merge(to, b, errp)) {
            return error_context(errp, "Failed to %s bitmap %s", to ? "populate" : "create", i.name);
        }
        blk_bitmap_record(to, i.recording);
    }
    return true;
}

int cmd_bitmap(Args *a)
{
    Image image = { 0 }, source = { 0 };
    uint64_t granularity;
    Error *err = NULL;

    if (!check(a, &granularity, &err) ||
        !image_open(&image, a->rest[0], a->format, NULL, OPEN_NO_BACKING | OPEN_WRITE |
                    (a->image_opts ? OPEN_OPTS : 0), &err)) {
        return fail(1, err);
    }
    bool ok = !a->backing || image_open(&source, a->backing, a->format2, NULL, OPEN_NO_BACKING, &err);
    ok = ok && run(a, image.node, a->backing ? source.node : image.node, granularity, &err);
    image_close(&source);
    int status = ok ? 0 : fail(1, err);
    return !image_close(&image) && status == 0 ? 1 : status;
}
