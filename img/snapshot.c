/* snapshot.c: rhea-img snapshot. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include "img/img.h"
#include "util/bytes.h"

#define MS UINT64_C(1000000)

void snapshots_print(const GArray *list)
{
    static const char row[] = "%-9s %-16s %8s%20s%13s%11s\n";

    printf("Snapshot list:\n");
    printf(row, "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (unsigned i = 0; i < list->len; i++) {
        const BlkSnapshot *s = &g_array_index(list, BlkSnapshot, i);
        g_autofree char *size = size_text(s->vm_state_size);
        uint64_t ms = s->vm_clock_ns / MS;
        g_autofree char *clock = g_strdup_printf("%02" PRIu64 ":%02u:%02u.%03u", ms / 3600000,
                                                 (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60),
                                                 (unsigned)(ms % 1000));
        g_autofree char *icount = s->icount == UINT64_MAX ? g_strdup("")
                                                          : g_strdup_printf("%" PRIu64, s->icount);
        time_t at = (time_t)s->date_sec;
        struct tm tm;
        char date[32] = "";

        if (localtime_r(&at, &tm)) {
            strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
        }
        printf(row, s->id, s->name, size, date, clock, icount);
    }
}

/* The place of the snapshot called @name; an id will do to apply one. */
static int find(const Args *a, const GArray *list)
{
    int at = blk_snapshot_find(list, NULL, a->snapshot);

    return at < 0 && a->action == 'a' ? blk_snapshot_find(list, a->snapshot, NULL) : at;
}

static bool change(const Args *a, BlkNode *n, const GArray *list, Error **errp)
{
    int64_t now = g_get_real_time();
    int at = find(a, list);

    if (a->action == 'c') {
        BlkSnapshot s = { .name = (char *)a->snapshot, .date_sec = now / 1000000,
                          .date_nsec = (uint32_t)(now % 1000000 * 1000) };

        return blk_snapshot_create(n, &s, errp) ||
               error_context(errp, "Could not create snapshot '%s'", a->snapshot);
    }
    bool ok = at < 0 ? error_set(errp, a->action == 'd' ? "snapshot not found"
                                 : "Failed to load snapshot: No such file or directory")
              : a->action == 'd' ? blk_snapshot_delete(n, (unsigned)at, errp)
                                 : blk_snapshot_apply(n, (unsigned)at, errp);
    return ok || error_context(errp, "Could not %s snapshot '%s'", a->action == 'd' ? "delete" : "apply",
                               a->snapshot);
}

int cmd_snapshot(Args *a)
{
    bool lists = !a->action || a->action == 'l';
    unsigned flags = OPEN_NO_BACKING | (lists ? 0 : OPEN_WRITE | OPEN_UNMAP) | (a->share ? OPEN_SHARE : 0) |
                     (a->image_opts ? OPEN_OPTS : 0);
    Error *err = NULL;
    Image image;
    bool ok = true;

    if (!image_open(&image, a->rest[0], NULL, NULL, flags, &err)) {
        return fail(1, err);
    }
    GArray *list = blk_snapshots(image.node, lists ? NULL : &err);
    if (a->action == 'l' && list && list->len) {
        snapshots_print(list);
    } else if (!lists) {
        ok = list && change(a, image.node, list, &err);
    }
    g_clear_pointer(&list, g_array_unref);
    int status = ok ? 0 : fail(1, err);
    return !image_close(&image) && status == 0 ? 1 : status;
}
