/* hmp-graph.c: commands about block nodes: streams, snapshots, the NBD server: each one QMP command, but for
 * nbd_server_start -a. */
#include <string.h>
#include "monitor/hmp-int.h"

HMP_RUN(hmp_block_stream)
{
    json_t *args = hmp_args_of("device", hmp_str(a, "device"), "base", hmp_str(a, "base"), NULL);

    json_object_set_new(args, "speed", json_integer(hmp_int(a, "speed", 0)));
    hmp_do(h, "block-stream", args);
}

/* What drive_mirror and drive_backup have in common; the job's id is the device's. */
static json_t *copy_args(const HmpArgs *a)
{
    const char *device = hmp_str(a, "device");

    return hmp_args_of("job-id", device, "device", device, "target", hmp_str(a, "target"), "format",
                       hmp_str(a, "format"), "mode", hmp_flag(a, "reuse") ? "existing" : NULL, "sync",
                       hmp_flag(a, "full") ? "full" : "top", NULL);
}

HMP_RUN(hmp_drive_mirror)
{
    hmp_do(h, "drive-mirror", copy_args(a));
}

HMP_RUN(hmp_drive_backup)
{
    json_t *args = copy_args(a);

    json_object_set_new(args, "compress", json_boolean(hmp_flag(a, "compress")));
    hmp_do(h, "drive-backup", args);
}

HMP_RUN(hmp_snapshot_blkdev)
{
    hmp_do_later(h, "blockdev-snapshot-sync",
                 hmp_args_of("device", hmp_str(a, "device"), "snapshot-file", hmp_str(a, "snapshot-file"),
                             "format", hmp_str(a, "format"), "mode", hmp_flag(a, "reuse") ? "existing" : NULL,
                             NULL));
}

HMP_RUN(hmp_snapshot_blkdev_internal)
{
    hmp_do_later(h, "blockdev-snapshot-internal-sync",
                 hmp_args_of("device", hmp_str(a, "device"), "name", hmp_str(a, "name"), NULL));
}

HMP_RUN(hmp_snapshot_delete_blkdev_internal)
{
    hmp_do_later(h, "blockdev-snapshot-delete-internal-sync",
                 hmp_args_of("device", hmp_str(a, "device"), "name", hmp_str(a, "name"), "id",
                             hmp_str(a, "id"), NULL));
}

/* --- the NBD server --- */

static bool add_export(Hmp *h, const char *device, const char *name, bool writable)
{
    json_t *args = hmp_args_of("device", device, "name", name, NULL);

    json_object_set_new(args, "writable", json_boolean(writable));
    return hmp_do(h, "nbd-server-add", args);
}

/* Exports all disks with a medium; without one of them no server is left. */
static void add_all(Hmp *h, bool writable)
{
    g_autoptr(json_t) list = hmp_call(h, "query-block", NULL);
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        const char *name = hmp_json_str(row, "device");

        if (*name == '\0' || json_object_get(row, "inserted") == NULL) {
            continue;
        }
        if (!add_export(h, name, NULL,
                        writable && !hmp_json_true(json_object_get(row, "inserted"), "ro"))) {
            hmp_do_later(h, "nbd-server-stop", NULL);
            return;
        }
    }
}

HMP_RUN(hmp_nbd_server_start)
{
    const char *text = hmp_str(a, "uri"), *colon = strrchr(text, ':');
    bool all = hmp_flag(a, "all"), writable = hmp_flag(a, "writable");

    if (writable && !all) {
        hmp_printf(h, "Error: -w only valid together with -a\n");
        return;
    }
    if (colon == NULL || colon[1] == '\0') {
        hmp_printf(h, "Error: error parsing address '%s'\n", text);
        return;
    }
    g_autofree char *host = g_strndup(text, colon - text);
    json_t *addr = json_pack("{s:s, s:{s:s, s:s}}", "type", "inet", "data", "host", host, "port", colon + 1);
    if (hmp_do(h, "nbd-server-start", json_pack("{s:o}", "addr", addr)) && all) {
        add_all(h, writable);
    }
}

HMP_RUN(hmp_nbd_server_add)
{
    add_export(h, hmp_str(a, "device"), hmp_str(a, "name"), hmp_flag(a, "writable"));
}

HMP_RUN(hmp_nbd_server_remove)
{
    hmp_do(h, "nbd-server-remove", hmp_args_of("name", hmp_str(a, "name"), "mode",
                                               hmp_flag(a, "force") ? "hard" : "safe", NULL));
}

HMP_RUN(hmp_nbd_server_stop)
{
    hmp_do_later(h, "nbd-server-stop", NULL);
}
