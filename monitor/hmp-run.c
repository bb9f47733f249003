/* hmp-run.c: commands that do something to the machine, its devices and back ends: each one QMP command. */
#include <string.h>
#include "core/accel.h"
#include "monitor/hmp-int.h"
#include "util/bytes.h"
#include "qapi/keyval.h"
#include "util/trace.h"

/* A command without arguments. */
#define PLAIN(function, qmp) \
    HMP_RUN(function) \
    { \
        hmp_do(h, qmp, NULL); \
    }

PLAIN(hmp_cont, "cont")
PLAIN(hmp_system_powerdown, "system_powerdown")
PLAIN(hmp_system_reset, "system_reset")
PLAIN(hmp_system_wakeup, "system_wakeup")
PLAIN(hmp_nmi, "inject-nmi")

/* A command with one text, @key, from the argument @arg. */
#define ONE_TEXT(function, qmp, key, arg) \
    HMP_RUN(function) \
    { \
        hmp_do(h, qmp, hmp_args_of(key, hmp_str(a, arg), NULL)); \
    }

ONE_TEXT(hmp_closefd, "closefd", "fdname", "name")
ONE_TEXT(hmp_device_del, "device_del", "id", "id")
ONE_TEXT(hmp_object_del, "object-del", "id", "id")
ONE_TEXT(hmp_chardev_remove, "chardev-remove", "id", "id")
ONE_TEXT(hmp_chardev_send_break, "chardev-send-break", "id", "id")
ONE_TEXT(hmp_watchdog_action, "watchdog-set-action", "action", "action")
ONE_TEXT(hmp_block_job_complete, "block-job-complete", "device", "device")
ONE_TEXT(hmp_block_job_pause, "block-job-pause", "device", "device")
ONE_TEXT(hmp_block_job_resume, "block-job-resume", "device", "device")

HMP_RUN(hmp_stop)
{
    hmp_do_later(h, "stop", NULL);
}

HMP_RUN(hmp_exit_preconfig)
{
    hmp_do_later(h, "x-exit-preconfig", NULL);
}

HMP_RUN(hmp_quit)
{
    h->state->quits = hmp_do(h, "quit", NULL);
}

HMP_RUN(hmp_cpu)
{
    if (!hmp_state_cpu(h->state, hmp_int(a, "index", -1))) {
        hmp_printf(h, "invalid CPU index\n");
    }
}

HMP_RUN(hmp_balloon)
{
    hmp_do(h, "balloon", json_pack("{s:I}", "value", (json_int_t)hmp_int(a, "target", 0)));
}

HMP_RUN(hmp_set_link)
{
    hmp_do(h, "set_link", json_pack("{s:s, s:b}", "name", hmp_str(a, "name"), "up", hmp_flag(a, "up")));
}

/* --- devices, objects, character devices: as on the command line --- */

/* The value of @type in @slot, read from the command line's text, as JSON. */
static json_t *to_json(unsigned type, const void *slot, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);

    qapi_write(type, slot, text);
    return json_parse(text->str, errp);
}

bool hmp_option(Hmp *h, int opt, unsigned type, const char *text, const char *qmp)
{
    void *value = NULL;
    Error *err = NULL;
    json_t *args = NULL;

    if (!qapi_option_read(opt, text, &value, &err)) {
        hmp_error(h, err);
        return false;
    }
    if (value == NULL) {
        return true;
    }
    args = to_json(type, &value, &err);
    qapi_free(type, value);
    if (args == NULL) {
        hmp_error(h, err);
    } else {
        hmp_do(h, qmp, args);
    }
    return false;
}

static void object_help(Hmp *h, const char *text)
{
    const HmpHost *host = hmp_host(h);
    Error *err = NULL;
    g_autofree char *help = host != NULL ? host->object_help(text, &err) : NULL;

    if (help != NULL) {
        hmp_printf(h, "%s", help);
    } else if (host != NULL) {
        hmp_error(h, err);
    }
}

static void chardev_help(Hmp *h, const char *text)
{
    const HmpHost *host = hmp_host(h);
    g_autofree char *help = host != NULL ? host->chardev_help(text) : NULL;

    hmp_printf(h, "%s", help != NULL ? help : "");
}

HMP_RUN(hmp_device_add)
{
    const char *text = hmp_str(a, "device");

    if (hmp_option(h, QAPI_OPT_DEVICE, QAPI_T_DEVICE_CONFIG, text != NULL ? text : "", "device_add")) {
        hmp_device_help(h, text);
    }
}

HMP_RUN(hmp_object_add)
{
    if (hmp_option(h, QAPI_OPT_OBJECT, QAPI_T_OBJECT_CONFIG, hmp_str(a, "object"), "object-add")) {
        object_help(h, hmp_str(a, "object"));
    }
}

/* Moves member @from of @flat to @to of @data. */
static void move_member(json_t *flat, const char *from, json_t *data, const char *to)
{
    json_t *v = json_object_get(flat, from);

    if (v != NULL) {
        json_object_set(data, to, v);
        json_object_del(flat, from);
    }
}

/* -chardev socket's address as QMP's: {"type": ..., "data": {...}}. */
static json_t *socket_address(json_t *flat)
{
    static const char *const unix_keys[] = { "path", "abstract", "tight", NULL };
    static const char *const inet_keys[] = { "host", "port", "to", "ipv4", "ipv6", NULL };
    bool is_fd = json_object_get(flat, "fd") != NULL, is_unix = json_object_get(flat, "path") != NULL;
    json_t *data = json_object();

    if (is_fd) {
        move_member(flat, "fd", data, "str");
    }
    for (const char *const *k = unix_keys; *k != NULL; k++) {
        move_member(flat, *k, is_unix && !is_fd ? data : flat, *k);
    }
    for (const char *const *k = inet_keys; *k != NULL; k++) {
        move_member(flat, *k, is_unix || is_fd ? flat : data, *k);
    }
    return json_pack("{s:s, s:o}", "type", is_fd ? "fd" : is_unix ? "unix" : "inet", "data", data);
}

/* QMP's form of @text, a -chardev: {"id": ..., "backend": {"type": ..., "data": {...}}}; NULL with *@help
 * set: it asks for help. */
static json_t *chardev_json(const char *text, bool *help, Error **errp)
{
    static const struct { const char *type, *is, *from, *to; } renamed[] = {
        { "file", "file", "path", "out" }, { "file", "file", "input-path", "in" },
        { "serial", "serial", "path", "device" }, { "tty", "serial", "path", "device" },
        { "pipe", "pipe", "path", "device" }, { "memory", "ringbuf", "size", "size" },
    };
    static const char *const moved[] = { "append", "logfile", "logappend", "signal", "size", "server", "wait",
                                         "nodelay", "telnet", "reconnect" };
    g_autoptr(ChardevConfig) c = NULL;

    if (!qapi_opt_chardev(text, &c, errp)) {
        return NULL;
    }
    *help = c == NULL;
    g_autoptr(json_t) flat = c != NULL ? to_json(QAPI_T_CHARDEV_CONFIG, &c, errp) : NULL;
    if (flat == NULL) {
        return NULL;
    }
    if (c->mux) {
        error_set(errp, "mux=on is for the command line");
        return NULL;
    }
    const char *type = hmp_json_str(flat, "backend");
    json_t *data = json_object();

    if (strcmp(type, "socket") == 0) {
        json_object_set_new(data, "addr", socket_address(flat));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(renamed); i++) {
        if (strcmp(hmp_json_str(flat, "backend"), renamed[i].type) == 0) {
            type = renamed[i].is;
            move_member(flat, renamed[i].from, data, renamed[i].to);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(moved); i++) {
        move_member(flat, moved[i], data, moved[i]);
    }
    return json_pack("{s:s, s:{s:s, s:o}}", "id", c->id, "backend", "type", type, "data", data);
}

static void do_chardev(Hmp *h, const char *qmp, const char *text)
{
    Error *err = NULL;
    bool help = false;
    json_t *args = chardev_json(text, &help, &err);

    if (help) {
        chardev_help(h, text);
    } else if (args == NULL) {
        hmp_error(h, err);
    } else {
        hmp_do(h, qmp, args);
    }
}

HMP_RUN(hmp_chardev_add)
{
    do_chardev(h, "chardev-add", hmp_str(a, "args"));
}

HMP_RUN(hmp_chardev_change)
{
    g_autofree char *text = g_strdup_printf("%s,id=%s", hmp_str(a, "args"), hmp_str(a, "id"));

    do_chardev(h, "chardev-change", text);
}

HMP_RUN(hmp_ringbuf_read)
{
    g_autoptr(json_t) data = hmp_call(h, "ringbuf-read",
                                      json_pack("{s:s, s:I}", "device", hmp_str(a, "device"), "size",
                                                (json_int_t)hmp_int(a, "size", 0)));

    if (data == NULL) {
        return;
    }
    for (const char *p = json_string_value(data); *p != '\0'; p++) {
        if (*p == '\\') {
            hmp_printf(h, "\\\\");
        } else if ((*p < 0x20 && *p >= 0 && *p != '\n') || *p == 0x7f) {
            hmp_printf(h, "\\u%04X", *p);
        } else {
            hmp_printf(h, "%c", *p);
        }
    }
    hmp_printf(h, "\n");
}

HMP_RUN(hmp_ringbuf_write)
{
    hmp_do(h, "ringbuf-write", hmp_args_of("device", hmp_str(a, "device"), "data", hmp_str(a, "data"), NULL));
}

/* --- objects --- */

HMP_RUN(hmp_qom_list)
{
    const char *path = hmp_str(a, "path");
    size_t i;
    json_t *row;

    if (path == NULL) {
        hmp_printf(h, "/\n");
        return;
    }
    g_autoptr(json_t) list = hmp_call(h, "qom-list", hmp_args_of("path", path, NULL));
    json_array_foreach(list, i, row) {
        hmp_printf(h, "%s (%s)\n", hmp_json_str(row, "name"), hmp_json_str(row, "type"));
    }
}

HMP_RUN(hmp_qom_get)
{
    g_autoptr(json_t) v = hmp_call(h, "qom-get", hmp_args_of("path", hmp_str(a, "path"), "property",
                                                             hmp_str(a, "property"), NULL));

    if (v != NULL) {
        g_autoptr(GString) text = g_string_new(NULL);

        json_write_tree(text, v);
        hmp_printf(h, "%s\n", text->str);
    }
}

/* The value as the property's type wants it: JSON when that is what it is, else a text. */
static json_t *qom_value(const char *text, bool json, Error **errp)
{
    bool on;

    if (!json) {
        char *end;
        long long n = g_ascii_strtoll(text, &end, 0);

        if (*text != '\0' && *end == '\0') {
            return json_integer(n);
        }
        return keyval_bool(text, &on) ? json_boolean(on) : json_string(text);
    }
    g_autofree char *list_text = g_strdup_printf("[%s]", text);
    g_autoptr(json_t) list = json_parse(list_text, errp);
    if (list != NULL && json_array_size(list) != 1) {
        error_set(errp, "a single JSON value is expected");
        return NULL;
    }
    return json_incref(json_array_get(list, 0));
}

HMP_RUN(hmp_qom_set)
{
    Error *err = NULL;
    json_t *value = qom_value(hmp_str(a, "value"), hmp_flag(a, "json"), &err);

    if (value == NULL) {
        hmp_error(h, err);
        return;
    }
    hmp_do_later(h, "qom-set", json_pack("{s:s, s:s, s:o}", "path", hmp_str(a, "path"), "property",
                                         hmp_str(a, "property"), "value", value));
}

/* --- block --- */

/* The device or its drive: QMP calls the one id, the other device. */
static json_t *drive_args(Hmp *h, const char *name)
{
    Device *d = machine() != NULL ? device_find(machine()->root, name) : NULL;

    return hmp_args_of(d != NULL && d->user_made ? "id" : "device", name, NULL);
}

HMP_RUN(hmp_eject)
{
    json_t *args = drive_args(h, hmp_str(a, "device"));

    json_object_set_new(args, "force", json_boolean(hmp_flag(a, "force")));
    hmp_do(h, "eject", args);
}

HMP_RUN(hmp_change)
{
    json_t *args = drive_args(h, hmp_str(a, "device"));
    const char *format = hmp_str(a, "arg"), *mode = hmp_str(a, "read-only-mode");

    json_object_set_new(args, "filename", json_string(hmp_str(a, "target")));
    json_object_set_new(args, "force", json_boolean(hmp_flag(a, "force")));
    if (format != NULL) {
        json_object_set_new(args, "format", json_string(format));
    }
    if (mode != NULL) {
        json_object_set_new(args, "read-only-mode", json_string(mode));
    }
    hmp_do(h, "blockdev-change-medium", args);
}

HMP_RUN(hmp_block_resize)
{
    hmp_do(h, "block_resize", json_pack("{s:s, s:I}", "device", hmp_str(a, "device"), "size",
                                        (json_int_t)hmp_int(a, "size", 0)));
}

HMP_RUN(hmp_block_set_io_throttle)
{
    static const char *const keys[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
    json_t *args = json_pack("{s:s}", "device", hmp_str(a, "device"));

    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        json_object_set_new(args, keys[i], json_integer((json_int_t)hmp_int(a, keys[i], 0)));
    }
    hmp_do(h, "block_set_io_throttle", args);
}

HMP_RUN(hmp_block_job_cancel)
{
    hmp_do(h, "block-job-cancel", json_pack("{s:s, s:b}", "device", hmp_str(a, "device"), "force",
                                            hmp_flag(a, "force")));
}

HMP_RUN(hmp_block_job_set_speed)
{
    hmp_do(h, "block-job-set-speed", json_pack("{s:s, s:I}", "device", hmp_str(a, "device"), "speed",
                                               (json_int_t)hmp_int(a, "speed", 0)));
}

/* --- the guest's memory in files --- */

static void save_memory(Hmp *h, const HmpArgs *a, const char *qmp, bool cpu)
{
    json_t *args = json_pack("{s:I, s:I, s:s}", "val", (json_int_t)hmp_int(a, "val", 0), "size",
                             (json_int_t)hmp_int(a, "size", 0), "filename", hmp_str(a, "filename"));

    if (cpu) {
        json_object_set_new(args, "cpu-index", json_integer(h->state->cpu));
    }
    hmp_do_later(h, qmp, args);
}

HMP_RUN(hmp_memsave)
{
    save_memory(h, a, "memsave", true);
}

HMP_RUN(hmp_pmemsave)
{
    save_memory(h, a, "pmemsave", false);
}

HMP_RUN(hmp_dump_guest_memory)
{
    static const struct { const char *flag, *format; } formats[] = {
        { "zlib", "kdump-zlib" }, { "lzo", "kdump-lzo" }, { "snappy", "kdump-snappy" }, { "win", "win-dmp" },
    };
    g_autofree char *protocol = g_strdup_printf("file:%s", hmp_str(a, "filename"));
    json_t *args = json_pack("{s:b, s:s, s:b}", "paging", hmp_flag(a, "paging"), "protocol", protocol,
                             "detach", hmp_flag(a, "detach"));
    const char *format = NULL;
    int64_t n;

    for (unsigned i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (hmp_flag(a, formats[i].flag)) {
            if (format != NULL) {
                hmp_printf(h, "Error: only one of '-z|-l|-s|-w' can be set\n");
                json_decref(args);
                return;
            }
            format = formats[i].format;
        }
    }
    if (format != NULL) {
        json_object_set_new(args, "format", json_string(format));
    }
    if (hmp_num(a, "begin", &n)) {
        json_object_set_new(args, "begin", json_integer(n));
    }
    if (hmp_num(a, "length", &n)) {
        json_object_set_new(args, "length", json_integer(n));
    }
    hmp_do_later(h, "dump-guest-memory", args);
}

/* --- logs and traces --- */

HMP_RUN(hmp_trace_event)
{
    g_autoptr(json_t) list =
        hmp_try(h, "trace-event-get-state", hmp_args_of("name", hmp_str(a, "name"), NULL), NULL);

    if (json_array_size(list) == 0) {
        hmp_printf(h, "unknown event \"%s\"\n", hmp_str(a, "name"));
        return;
    }
    hmp_do(h, "trace-event-set-state", json_pack("{s:s, s:b}", "name", hmp_str(a, "name"), "enable",
                                                 hmp_flag(a, "option")));
}

HMP_RUN(hmp_log)
{
    g_auto(GStrv) items = g_strsplit(hmp_str(a, "items"), ",", -1);

    for (unsigned i = 0; items[i] != NULL; i++) {
        Error *err = NULL;

        if (strcmp(items[i], "none") == 0) {
            guest_bug_report(false);
            trace_enable("-*", NULL);
        } else if (!log_item(items[i], &err)) {
            hmp_printf(h, "Log items (comma separated):\n"
                       "none            end all logging\n"
                       "guest_errors    what guests do wrong\n"
                       "trace:PATTERN   trace events ('info trace-events' lists them)\n");
            error_free(err);
            return;
        }
    }
}

HMP_RUN(hmp_logfile)
{
    Error *err = NULL;

    if (!trace_to_file(hmp_str(a, "filename"), &err)) {
        hmp_printf(h, "Error opening logfile: %s\n", error_text(err));
        error_free(err);
    }
}
