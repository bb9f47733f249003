/* hmp-info.c: info commands that print what a QMP query returns. */
#include <string.h>
#include "monitor/hmp-int.h"

/* The reply of query @name; the rows follow. */
#define EACH_ROW(h, name, row) \
    g_autoptr(json_t) list = hmp_call(h, name, NULL); \
    json_t *row; \
    size_t row_index; \
    json_array_foreach(list, row_index, row)

static unsigned long long num(const json_t *o, const char *key)
{
    return hmp_json_num(o, key);
}

/* --- the machine --- */

HMP_RUN(hmp_info_status)
{
    g_autoptr(json_t) s = hmp_call(h, "query-status", NULL);
    const char *status = hmp_json_str(s, "status");
    bool running = hmp_json_true(s, "running");

    if (s != NULL) {
        hmp_printf(h, "VM status: %s", running ? "running" : "paused");
        if (!running && strcmp(status, "paused") != 0) {
            hmp_printf(h, " (%s)", status);
        }
        hmp_printf(h, "\n");
    }
}

HMP_RUN(hmp_info_version)
{
    g_autoptr(json_t) v = hmp_call(h, "query-version", NULL);
    json_t *q = json_object_get(v, "qemu");

    if (v != NULL) {
        hmp_printf(h, "%llu.%llu.%llu%s%s\n", num(q, "major"), num(q, "minor"), num(q, "micro"),
                   *hmp_json_str(v, "package") ? " " : "", hmp_json_str(v, "package"));
    }
}

HMP_RUN(hmp_info_name)
{
    g_autoptr(json_t) n = hmp_call(h, "query-name", NULL);

    if (*hmp_json_str(n, "name")) {
        hmp_printf(h, "%s\n", hmp_json_str(n, "name"));
    }
}

HMP_RUN(hmp_info_uuid)
{
    g_autoptr(json_t) u = hmp_call(h, "query-uuid", NULL);

    if (u != NULL) {
        hmp_printf(h, "%s\n", hmp_json_str(u, "UUID"));
    }
}

HMP_RUN(hmp_info_kvm)
{
    g_autoptr(json_t) k = hmp_call(h, "query-kvm", NULL);

    if (k != NULL) {
        hmp_printf(h, "kvm support: %s\n", !hmp_json_true(k, "present") ? "not compiled"
                                           : hmp_json_true(k, "enabled") ? "enabled" : "disabled");
    }
}

HMP_RUN(hmp_info_vm_generation_id)
{
    g_autoptr(json_t) g = hmp_call(h, "query-vm-generation-id", NULL);

    if (g != NULL) {
        hmp_printf(h, "%s\n", hmp_json_str(g, "guid"));
    }
}

HMP_RUN(hmp_info_history)
{
    const Readline *r = h->state->readline;
    unsigned n = 0;

    while (r != NULL && readline_history(r, n) != NULL) {
        n++;
    }
    for (unsigned i = 0; i < n; i++) {
        hmp_printf(h, "%u: '%s'\n", i, readline_history(r, n - 1 - i));
    }
}

/* --- vCPUs --- */

HMP_RUN(hmp_info_cpus)
{
    EACH_ROW(h, "query-cpus-fast", cpu) {
        hmp_printf(h, "%c CPU #%llu: thread_id=%llu\n", num(cpu, "cpu-index") == h->state->cpu ? '*' : ' ',
                   num(cpu, "cpu-index"), num(cpu, "thread-id"));
    }
}

HMP_RUN(hmp_info_hotpluggable_cpus)
{
    static const char *const places[] = { "node-id", "socket-id", "die-id", "cluster-id", "core-id",
                                          "thread-id" };
    bool first = true;

    EACH_ROW(h, "query-hotpluggable-cpus", cpu) {
        json_t *props = json_object_get(cpu, "props");

        hmp_printf(h, "%s  type: \"%s\"\n  vcpus_count: \"%llu\"\n", first ? "Hotpluggable CPUs:\n" : "",
                   hmp_json_str(cpu, "type"), num(cpu, "vcpus-count"));
        first = false;
        if (*hmp_json_str(cpu, "qom-path")) {
            hmp_printf(h, "  qom_path: \"%s\"\n", hmp_json_str(cpu, "qom-path"));
        }
        hmp_printf(h, "  CPUInstance Properties:\n");
        for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
            if (json_object_get(props, places[i]) != NULL) {
                hmp_printf(h, "    %s: \"%llu\"\n", places[i], num(props, places[i]));
            }
        }
    }
}

HMP_RUN(hmp_info_iothreads)
{
    static const char *const keys[] = { "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch" };

    EACH_ROW(h, "query-iothreads", t) {
        hmp_printf(h, "%s:\n  thread_id=%llu\n", hmp_json_str(t, "id"), num(t, "thread-id"));
        for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
            hmp_printf(h, "  %s=%llu\n", keys[i], num(t, keys[i]));
        }
    }
}

/* --- memory --- */

HMP_RUN(hmp_info_memory_size_summary)
{
    g_autoptr(json_t) m = hmp_call(h, "query-memory-size-summary", NULL);

    if (m != NULL) {
        hmp_printf(h, "base memory: %llu\n", num(m, "base-memory"));
        if (json_object_get(m, "plugged-memory") != NULL) {
            hmp_printf(h, "plugged memory: %llu\n", num(m, "plugged-memory"));
        }
    }
}

static void print_memdev(Hmp *h, const json_t *m)
{
    static const char *const flags[] = { "merge", "dump", "prealloc", "share", "reserve" };
    size_t i;
    json_t *node;

    hmp_printf(h, "memory backend: %s\n  size:  %llu\n", hmp_json_str(m, "id"), num(m, "size"));
    for (i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (json_object_get(m, flags[i]) != NULL) {
            hmp_printf(h, "  %s: %s\n", flags[i], hmp_json_true(m, flags[i]) ? "true" : "false");
        }
    }
    hmp_printf(h, "  policy: %s\n  host nodes: ", hmp_json_str(m, "policy"));
    json_array_foreach(json_object_get(m, "host-nodes"), i, node) {
        hmp_printf(h, "%s%lld", i > 0 ? "," : "", (long long)json_integer_value(node));
    }
    hmp_printf(h, "\n");
}

HMP_RUN(hmp_info_memdev)
{
    EACH_ROW(h, "query-memdev", m) {
        print_memdev(h, m);
    }
    hmp_printf(h, "\n");
}

static void print_memory_device(Hmp *h, const json_t *d)
{
    const char *type = hmp_json_str(d, "type");
    json_t *data = json_object_get(d, "data"), *v;
    const char *key;

    hmp_printf(h, "Memory device [%s]: \"%s\"\n", type, hmp_json_str(data, "id"));
    json_object_foreach(data, key, v) {
        if (strcmp(key, "id") == 0) {
            continue;
        }
        if (json_is_string(v)) {
            hmp_printf(h, "  %s: %s\n", key, json_string_value(v));
        } else if (json_is_boolean(v)) {
            hmp_printf(h, "  %s: %s\n", key, json_is_true(v) ? "true" : "false");
        } else if (strcmp(key, "addr") == 0 || strcmp(key, "memaddr") == 0) {
            hmp_printf(h, "  %s: 0x%llx\n", key, num(data, key));
        } else {
            hmp_printf(h, "  %s: %llu\n", key, num(data, key));
        }
    }
}

HMP_RUN(hmp_info_memory_devices)
{
    EACH_ROW(h, "query-memory-devices", d) {
        print_memory_device(h, d);
    }
}

/* Bytes in memory devices of NUMA node @node. */
static uint64_t plugged_in(json_t *devices, unsigned node)
{
    uint64_t sum = 0;
    size_t i;
    json_t *d;

    json_array_foreach(devices, i, d) {
        const json_t *data = json_object_get(d, "data");

        sum += num(data, "node") == node ? num(data, "size") : 0;
    }
    return sum;
}

HMP_RUN(hmp_info_numa)
{
    const Machine *m = machine();
    unsigned nodes = m != NULL ? m->cfg.numa_nodes : 0;
    g_autoptr(json_t) devices = hmp_call(h, "query-memory-devices", NULL);

    hmp_printf(h, "%u nodes\n", nodes);
    for (unsigned n = 0; n < nodes; n++) {
        uint64_t plugged = plugged_in(devices, n);

        hmp_printf(h, "node %u cpus:", n);
        for (unsigned i = 0; i < m->cpus.count; i++) {
            if (m->cpus.dev[i] != NULL && m->cfg.cpu_node != NULL && m->cfg.cpu_node[i] == n) {
                hmp_printf(h, " %u", i);
            }
        }
        hmp_printf(h, "\nnode %u size: %" PRIu64 " MB\nnode %u plugged: %" PRIu64 " MB\n", n,
                   (m->cfg.numa[n].mem + plugged) >> 20, n, plugged >> 20);
    }
}

HMP_RUN(hmp_info_balloon)
{
    g_autoptr(json_t) b = hmp_call(h, "query-balloon", NULL);

    if (b != NULL) {
        hmp_printf(h, "balloon: actual=%llu\n", num(b, "actual") >> 20);
    }
}

/* --- streams, input, traces --- */

HMP_RUN(hmp_info_chardev)
{
    EACH_ROW(h, "query-chardev", c) {
        hmp_printf(h, "%s: filename=%s\n", hmp_json_str(c, "label"), hmp_json_str(c, "filename"));
    }
}

HMP_RUN(hmp_info_mice)
{
    bool any = false;

    EACH_ROW(h, "query-mice", m) {
        any = true;
        hmp_printf(h, "%c Mouse #%llu: %s%s\n", hmp_json_true(m, "current") ? '*' : ' ', num(m, "index"),
                   hmp_json_str(m, "name"), hmp_json_true(m, "absolute") ? " (absolute)" : "");
    }
    if (!any && list != NULL) {
        hmp_printf(h, "No mouse devices connected\n");
    }
}

HMP_RUN(hmp_info_trace_events)
{
    const char *name = hmp_str(a, "name");
    size_t i;
    json_t *e;
    g_autoptr(json_t) list = hmp_try(h, "trace-event-get-state",
                                     hmp_args_of("name", name != NULL ? name : "*", NULL), NULL);

    if (json_array_size(list) == 0) {
        hmp_printf(h, "unknown event \"%s\"\n", name != NULL ? name : "*");
    }
    json_array_foreach(list, i, e) {
        hmp_printf(h, "%s : state %d\n", hmp_json_str(e, "name"),
                   strcmp(hmp_json_str(e, "state"), "enabled") == 0);
    }
}

/* --- dumps, migration --- */

HMP_RUN(hmp_info_dump)
{
    g_autoptr(json_t) d = hmp_call(h, "query-dump", NULL);

    if (d == NULL) {
        return;
    }
    hmp_printf(h, "Status: %s\n", hmp_json_str(d, "status"));
    if (strcmp(hmp_json_str(d, "status"), "active") == 0) {
        hmp_printf(h, "Finished: %.2f %%\n", 100.0 * num(d, "completed") / MAX(num(d, "total"), 1));
    }
}

HMP_RUN(hmp_info_migrate)
{
    g_autoptr(json_t) m = hmp_call(h, "query-migrate", NULL);
    json_t *why;
    size_t i;

    json_array_foreach(json_object_get(m, "blocked-reasons"), i, why) {
        hmp_printf(h, "%s  %s\n", i == 0 ? "Outgoing migration blocked:\n" : "", json_string_value(why));
    }
}

HMP_RUN(hmp_info_migrate_capabilities)
{
    EACH_ROW(h, "query-migrate-capabilities", c) {
        hmp_printf(h, "%s: %s\n", hmp_json_str(c, "capability"), hmp_json_true(c, "state") ? "on" : "off");
    }
}

HMP_RUN(hmp_info_migrate_parameters)
{
    hmp_do(h, "query-migrate-parameters", NULL);
}

/* --- jobs --- */

HMP_RUN(hmp_info_jobs)
{
    EACH_ROW(h, "query-jobs", j) {
        hmp_printf(h, "%s: type=%s status=%s progress=%llu/%llu\n", hmp_json_str(j, "id"),
                   hmp_json_str(j, "type"), hmp_json_str(j, "status"), num(j, "current-progress"),
                   num(j, "total-progress"));
    }
    if (list != NULL && json_array_size(list) == 0) {
        hmp_printf(h, "No active jobs\n");
    }
}

HMP_RUN(hmp_info_block_jobs)
{
    EACH_ROW(h, "query-block-jobs", j) {
        hmp_printf(h, "Type %s, device %s: Completed %llu of %llu bytes, speed limit %llu bytes/s\n",
                   hmp_json_str(j, "type"), hmp_json_str(j, "device"), num(j, "offset"), num(j, "len"),
                   num(j, "speed"));
    }
    if (list != NULL && json_array_size(list) == 0) {
        hmp_printf(h, "No active jobs\n");
    }
}
