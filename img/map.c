/* map.c: rhea-img map. */
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"

typedef struct Stretch {
    uint64_t start;
    BlkStatus s;
} Stretch;

static bool placed(const Stretch *x)
{
    return x->s.flags & BLK_STATUS_PLACE;
}

static bool goes_on(const Stretch *x, const Stretch *y)
{
    return x->s.flags == y->s.flags && x->s.depth == y->s.depth && x->s.file == y->s.file &&
           (!placed(x) || x->s.place + x->s.len == y->s.place);
}

/* False: it cannot be shown in the human form. */
static bool print(const Stretch *x, bool json, bool first, bool last, Error **errp)
{
    unsigned f = x->s.flags;

    if (json) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %u, \"present\": %s, "
               "\"zero\": %s, "
               "\"data\": %s", first ? "[" : "", x->start, x->s.len, x->s.depth,
               f & BLK_STATUS_HERE ? "true" : "false", f & BLK_STATUS_ZERO ? "true" : "false",
               f & BLK_STATUS_DATA ? "true" : "false");
        if (placed(x)) {
            printf(", \"offset\": %" PRIu64, x->s.place);
        }
        printf("}%s\n", last ? "]" : ",");
        return true;
    }
    if (!(f & BLK_STATUS_DATA) || f & BLK_STATUS_ZERO) {
        return true;
    }
    if (!placed(x)) {
        return error_set(errp, "File contains external, encrypted or compressed clusters.");
    }
    printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", x->start, x->s.len, x->s.place,
           blk_filename(x->s.file));
    return true;
}

/* What is left of a sector behind the end of a file is a piece of its own, without anything in it. */
static void cut_at_end(Stretch *x)
{
    uint64_t end = placed(x) ? blk_file_end(x->s.file) : UINT64_MAX;

    if (x->s.place >= end) {
        x->s.flags = (x->s.flags & ~(unsigned)BLK_STATUS_DATA) | BLK_STATUS_ZERO;
    } else if (x->s.len > end - x->s.place) {
        x->s.len = end - x->s.place;
    }
}

static bool map(BlkNode *n, uint64_t from, uint64_t to, bool json, Error **errp)
{
    Stretch last = { 0 }, now;
    bool first = true;

    if (!json) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    } else if (from >= to) {
        printf("[]\n");
    }
    for (uint64_t at = from; at < to; at += now.s.len) {
        now.start = at;
        int ret = blk_status(n, at, to - at, NULL, &now.s);

        if (ret < 0) {
            return error_set_errno(errp, -ret, "Failed to read image metadata");
        }
        cut_at_end(&now);
        if (last.s.len && goes_on(&last, &now)) {
            last.s.len += now.s.len;
            continue;
        }
        if (last.s.len) {
            if (!print(&last, json, first, false, errp)) {
                return false;
            }
            first = false;
        }
        last = now;
    }
    return !last.s.len || print(&last, json, first, true, errp);
}

int cmd_map(Args *a)
{
    uint64_t from = 0, length = UINT64_MAX;
    Error *err = NULL;
    Image image;

    if (a->start && !size_read(a->start, &from)) {
        error_set(&err, "Invalid start offset specified! You may use k, M, G, T, P or E suffixes.");
        return fail(1, err);
    }
    if (a->length && !size_read(a->length, &length)) {
        error_set(&err, "Invalid max length specified! You may use k, M, G, T, P or E suffixes.");
        return fail(1, err);
    }
    unsigned flags = (a->share ? OPEN_SHARE : 0) | (a->image_opts ? OPEN_OPTS : 0);
    if (!image_open(&image, a->rest[0], a->format, NULL, flags, &err)) {
        return fail(1, err);
    }
    uint64_t size = blk_size(image.node);
    from = MIN(from, size);
    bool ok = map(image.node, from, from + MIN(length, size - from), a->json, &err);
    image_close(&image);
    return ok ? 0 : fail(1, err);
}
