/* hmp-block.c: info block and info blockstats. */
#include <string.h>
#include "monitor/hmp-int.h"
#include "util/bytes.h"

static void print_bytes(Hmp *h, const char *what, uint64_t bytes, bool exact)
{
    hmp_printf(h, "%s: ", what);
    hmp_print_size(h, bytes);
    if (exact) {
        hmp_printf(h, " (%llu bytes)", (unsigned long long)bytes);
    }
    hmp_printf(h, "\n");
}

static void print_image(Hmp *h, const json_t *image)
{
    hmp_printf(h, "\nImages:\nimage: %s\nfile format: %s\n", hmp_json_str(image, "filename"),
               hmp_json_str(image, "format"));
    print_bytes(h, "virtual size", hmp_json_num(image, "virtual-size"), true);
    if (json_object_get(image, "actual-size") != NULL) {
        print_bytes(h, "disk size", hmp_json_num(image, "actual-size"), false);
    }
}

/* What a node is, after its name: file, driver, flags. */
static void print_node(Hmp *h, const json_t *node)
{
    hmp_printf(h, ": %s (%s%s%s)\n", hmp_json_str(node, "file"), hmp_json_str(node, "drv"),
               hmp_json_true(node, "ro") ? ", read-only" : "",
               hmp_json_true(node, "encrypted") ? ", encrypted" : "");
}

static void print_limits(Hmp *h, const json_t *node)
{
    static const char *const keys[] = {
        "bps", "bps_rd", "bps_wr", "bps_max", "bps_rd_max", "bps_wr_max", "iops", "iops_rd", "iops_wr",
        "iops_max", "iops_rd_max", "iops_wr_max", "iops_size",
    };

    hmp_printf(h, "    I/O throttling:  ");
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        hmp_printf(h, " %s=%lld", keys[i], (long long)hmp_json_num(node, keys[i]));
    }
    hmp_printf(h, " group=%s\n", hmp_json_str(node, "group"));
}

/* How requests reach the host, and what the node stands on. */
static void print_below(Hmp *h, const json_t *node, bool verbose)
{
    json_t *cache = json_object_get(node, "cache");

    hmp_printf(h, "    Cache mode:       %s%s%s\n",
               hmp_json_true(cache, "writeback") ? "writeback" : "writethrough",
               hmp_json_true(cache, "direct") ? ", direct" : "",
               hmp_json_true(cache, "no-flush") ? ", ignore flushes" : "");
    if (*hmp_json_str(node, "group")) {
        print_limits(h, node);
    }
    if (*hmp_json_str(node, "backing_file")) {
        hmp_printf(h, "    Backing file:     %s (chain depth: %llu)\n", hmp_json_str(node, "backing_file"),
                   (unsigned long long)hmp_json_num(node, "backing_file_depth"));
    }
    if (strcmp(hmp_json_str(node, "detect_zeroes"), "off") != 0 && *hmp_json_str(node, "detect_zeroes")) {
        hmp_printf(h, "    Detect zeroes:    %s\n", hmp_json_str(node, "detect_zeroes"));
    }
    if (verbose && json_object_get(node, "image") != NULL) {
        print_image(h, json_object_get(node, "image"));
    }
}

static void print_drive(Hmp *h, const json_t *drive, bool verbose)
{
    json_t *node = json_object_get(drive, "inserted");
    const char *name = hmp_json_str(drive, "device"), *qdev = hmp_json_str(drive, "qdev");

    hmp_printf(h, "%s", *name ? name : qdev);
    if (node == NULL) {
        hmp_printf(h, ": [not inserted]\n");
    } else {
        if (*name && *hmp_json_str(node, "node-name")) {
            hmp_printf(h, " (%s)", hmp_json_str(node, "node-name"));
        }
        print_node(h, node);
    }
    if (*qdev) {
        hmp_printf(h, "    Attached to:      %s\n", qdev);
    }
    if (hmp_json_true(drive, "removable")) {
        hmp_printf(h, "    Removable device: %slocked, tray %s\n",
                   hmp_json_true(drive, "locked") ? "" : "not ",
                   hmp_json_true(drive, "tray_open") ? "open" : "closed");
    }
    if (*hmp_json_str(drive, "io-status") && strcmp(hmp_json_str(drive, "io-status"), "ok") != 0) {
        hmp_printf(h, "    I/O status:       %s\n", hmp_json_str(drive, "io-status"));
    }
    if (node != NULL) {
        print_below(h, node, verbose);
    }
}

static bool is_wanted(const json_t *row, const char *key, const char *wanted)
{
    return wanted == NULL || strcmp(hmp_json_str(row, key), wanted) == 0;
}

HMP_RUN(hmp_info_block)
{
    const char *only = hmp_str(a, "device");
    bool nodes = hmp_flag(a, "nodes"), verbose = hmp_flag(a, "verbose"), any = false;
    g_autoptr(json_t) list = hmp_call(h, nodes ? "query-named-block-nodes" : "query-block", NULL);
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        if (!is_wanted(row, nodes ? "node-name" : "device", only) &&
            (nodes || !is_wanted(row, "qdev", only))) {
            continue;
        }
        hmp_printf(h, "%s", any ? "\n" : "");
        any = true;
        if (nodes) {
            hmp_printf(h, "%s", hmp_json_str(row, "node-name"));
            print_node(h, row);
            print_below(h, row, verbose);
        } else {
            print_drive(h, row, verbose);
        }
    }
}

HMP_RUN(hmp_info_blockstats)
{
    static const char *const keys[] = {
        "rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "wr_total_time_ns",
        "rd_total_time_ns", "flush_total_time_ns", "rd_merged", "wr_merged", "idle_time_ns",
    };
    g_autoptr(json_t) list = hmp_call(h, "query-blockstats", NULL);
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        json_t *s = json_object_get(row, "stats");

        hmp_printf(h, "%s:", hmp_json_str(row, "device"));
        for (unsigned k = 0; k < G_N_ELEMENTS(keys); k++) {
            if (json_object_get(s, keys[k]) != NULL) {
                hmp_printf(h, " %s=%llu", keys[k], (unsigned long long)hmp_json_num(s, keys[k]));
            }
        }
        hmp_printf(h, "\n");
    }
}
