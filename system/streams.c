/* streams.c: back ends for serial ports, consoles and monitors, see streams.h. */
#include "system/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "chardev/char.h"
#include "core/prop.h"
#include "system/devices.h"
#include "monitor/hmp.h"
#include "system/qmp-chardev.h"
#include "util/bytes.h"
#include "util/fdset.h"

#define SERIAL_MAX 4u          /* COM1 to COM4 */
#define DRAIN_NS NS_PER_SEC

static QmpServer *server;
static bool drain_is_over;
static GPtrArray *monitors;    /* MonitorPort * */
static GPtrArray *shared;      /* char *: back ends that a "mon:" wants a human monitor on too */

static void *find_chardev(const char *id, Error **errp)
{
    return chardev_need(id, errp);
}

static const char *chardev_link_id(void *target)
{
    return chardev_id(target);
}

static void add_backend(const char *name, void *arg)
{
    g_string_append_printf(arg, "  %s\n", name);
}

static void quit_key(void)
{
    runstate_quit(SHUTDOWN_CAUSE_HOST_UI, 0);
}

char *streams_chardev_help(const char *text)
{
    GString *s = g_string_new(NULL);

    if (strcmp(text, "help") == 0 || strcmp(text, "?") == 0) {
        g_string_append(s, "Available chardev backend types: \n");
        chardev_each_backend(add_backend, s);
    } else {
        qapi_option_help(qapi_option_find("chardev"), s);
    }
    return g_string_free(s, FALSE);
}

/* -echr: as strtol() reads numbers, so 0x14 is Ctrl-T. */
static bool set_escape(const CmdLine *cmd, Error **errp)
{
    const char *text = cmdline_last(cmd, OPT_ECHR);
    char *end;
    long ch = text != NULL ? strtol(text, &end, 0) : 0;

    if (text == NULL) {
        return true;
    }
    if (end == text || *end != 0 || ch < 0 || ch > 255) {
        return error_set(errp, "-echr %s: a number from 0 to 255 is expected", text);
    }
    chardev_set_escape(ch);
    return true;
}

bool streams_add_fds(const CmdLine *cmd, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_ADD_FD); i++) {
        const char *text = cmdline_nth(cmd, OPT_ADD_FD, i);
        g_autoptr(AddFdConfig) c = NULL;
        int64_t set;

        if (!qapi_opt_add_fd(text, &c, errp)) {
            return error_context(errp, "-add-fd %s", text);
        }
        set = c != NULL ? c->set : 0;
        if (c != NULL && c->fd <= STDERR_FILENO) {
            return error_set(errp, "-add-fd %s: fd cannot be a standard I/O stream", text);
        }
        if (c != NULL && !fdset_add(&set, c->fd, c->opaque, errp)) {
            return error_context(errp, "-add-fd %s", text);
        }
    }
    return true;
}

bool streams_open(const CmdLine *cmd, bool *help, Error **errp)
{
    static const LinkClass cls = { "chardev", find_chardev, chardev_link_id };
    static const ChardevHooks hooks = { .quit = quit_key };

    link_class_register(&cls);
    chardev_set_hooks(&hooks);
    if (!set_escape(cmd, errp)) {
        return false;
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_CHARDEV); i++) {
        const char *text = cmdline_nth(cmd, OPT_CHARDEV, i);
        g_autoptr(ChardevConfig) cfg = NULL;

        if (!qapi_opt_chardev(text, &cfg, errp)) {
            return error_context(errp, "-chardev %s", text);
        }
        if (cfg == NULL) {
            g_autofree char *told = streams_chardev_help(text);

            fputs(told, stdout);
            *help = true;
            return true;
        }
        if (chardev_new(cfg, errp) == NULL) {
            return error_context(errp, "-chardev %s", text);
        }
    }
    return true;
}

/* The id of the back end that a short form means (made now if need be); *@id NULL: none. */
bool streams_open_short(const char *option, const char *text, const char *new_id, char **id,
                        Error **errp)
{
    g_autoptr(ChardevConfig) cfg = NULL;

    *id = NULL;
    switch (chardev_parse_short(text, new_id, &cfg, id, errp)) {
    case CHARDEV_SHORT_NONE:
        return true;
    case CHARDEV_SHORT_EXISTING:
        return chardev_need(*id, errp) != NULL || error_context(errp, "-%s %s", option, text);
    case CHARDEV_SHORT_NEW:
        if (chardev_new(cfg, errp) != NULL) {
            *id = g_strdup(new_id);
            if (g_str_has_prefix(text, "mon:")) {
                shared = shared != NULL ? shared : g_ptr_array_new_with_free_func(g_free);
                g_ptr_array_add(shared, g_strdup(new_id));
            }
            return true;
        }
        break;
    default:
        break;
    }
    return error_context(errp, "-%s %s", option, text);
}

/* @index: which of the standard places; -1: the device has but one. */
static bool add_isa(const char *driver, const char *chardev, int index, Error **errp)
{
    g_autoptr(json_t) props = json_object();
    DeviceConfig c = { .driver = (char *)driver, .props = props };

    json_object_set_new(props, "chardev", json_string(chardev));
    if (index >= 0) {
        json_object_set_new(props, "index", json_integer(index));
    }
    return devices_add(&c, false, errp) != NULL;
}

static bool plug_serial(const char *text, unsigned index, Error **errp)
{
    g_autofree char *new_id = g_strdup_printf("serial%u", index);
    g_autofree char *id = NULL;

    if (!streams_open_short("serial", text, new_id, &id, errp)) {
        return false;
    }
    return id == NULL || add_isa("isa-serial", id, index, errp) ||
           error_context(errp, "-serial %s", text);
}

/* -nographic brings a monitor to the terminal, unless the command line says where monitors are. */
static bool wants_monitor(const CmdLine *cmd, const Config *c)
{
    static const Option where[] = { OPT_QMP, OPT_QMP_PRETTY, OPT_MON, OPT_MONITOR };
    bool wants = c->nographic && !c->nodefaults;

    for (unsigned i = 0; i < ARRAY_LEN(where); i++) {
        wants &= !cmdline_has(cmd, where[i]);
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_SERIAL); i++) {
        wants &= !g_str_has_prefix(cmdline_nth(cmd, OPT_SERIAL, i), "mon:");
    }
    return wants;
}

bool streams_plug(const CmdLine *cmd, const Config *c, Error **errp)
{
    unsigned n = cmdline_count(cmd, OPT_SERIAL);

    if (n > SERIAL_MAX) {
        return error_set(errp, "-serial: a PC has at most %u serial ports, not %u", SERIAL_MAX, n);
    }
    for (unsigned i = 0; i < n; i++) {
        if (!plug_serial(cmdline_nth(cmd, OPT_SERIAL, i), i, errp)) {
            return false;
        }
    }
    if (n == 0 && !c->nodefaults && !c->type->empty) {
        const char *text = !c->nographic ? "null" : wants_monitor(cmd, c) ? "mon:stdio" : "stdio";

        if (!plug_serial(text, 0, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_DEBUGCON); i++) {
        const char *text = cmdline_nth(cmd, OPT_DEBUGCON, i);
        g_autofree char *new_id = g_strdup_printf("debugcon%u", i), *id = NULL;
        if (!streams_open_short("debugcon", text, new_id, &id, errp) ||
            (id != NULL && !add_isa("isa-debugcon", id, -1, errp))) {
            return error_context(errp, "-debugcon %s", text);
        }
    }
    return true;
}

static unsigned state_now(void *arg)
{
    return runstate();
}

static void need_server(void)
{
    if (server == NULL) {
        server = qmp_server_new(state_now, NULL);
        monitors = g_ptr_array_new();
    }
}

static void keep_output(void *arg, const char *output)
{
    *(char **)arg = g_strdup(output);
}

char *streams_run_human(const char *line)
{
    static HmpState *state;
    char *output = NULL;

    need_server();
    if (state == NULL) {
        state = hmp_state_new();
    }
    HmpRun *run = hmp_run(server, state, line, keep_output, &output);
    if (run != NULL) {
        hmp_run_forget(run);
    }
    return output != NULL ? output : g_strdup("the command goes on\n");
}

static bool add_monitor(const char *chardev, MonitorMode mode, bool pretty, Error **errp)
{
    MonitorPort *m;

    need_server();
    m = mode == MONITOR_MODE_CONTROL ? qmp_monitor_new(server, chardev, pretty, errp)
                                     : hmp_monitor_new(server, chardev, errp);
    if (m != NULL) {
        g_ptr_array_add(monitors, m);
    }
    return m != NULL;
}

/* -qmp, -qmp-pretty and -monitor; @n counts the monitors made so. */
static bool add_short_monitors(const CmdLine *cmd, Option o, MonitorMode mode, unsigned *n, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(cmd, o); i++) {
        const char *text = cmdline_nth(cmd, o, i), *option = cmdline_option_name(o);
        g_autofree char *new_id = g_strdup_printf("compat_monitor%u", (*n)++), *id = NULL;

        if (!streams_open_short(option, text, new_id, &id, errp)) {
            return false;
        }
        if (id != NULL && !add_monitor(id, mode, o == OPT_QMP_PRETTY, errp)) {
            return error_context(errp, "-%s %s", option, text);
        }
    }
    return true;
}

static bool add_mon(const char *text, Error **errp)
{
    g_autoptr(MonitorConfig) m = NULL;

    return qapi_opt_mon(text, &m, errp) && (m == NULL || add_monitor(m->chardev, m->mode, m->pretty, errp));
}

bool streams_monitors(const CmdLine *cmd, Error **errp)
{
    unsigned n = 0;

    if (!add_short_monitors(cmd, OPT_QMP, MONITOR_MODE_CONTROL, &n, errp) ||
        !add_short_monitors(cmd, OPT_QMP_PRETTY, MONITOR_MODE_CONTROL, &n, errp) ||
        !add_short_monitors(cmd, OPT_MONITOR, MONITOR_MODE_READLINE, &n, errp)) {
        return false;
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_MON); i++) {
        if (!add_mon(cmdline_nth(cmd, OPT_MON, i), errp)) {
            return error_context(errp, "-mon %s", cmdline_nth(cmd, OPT_MON, i));
        }
    }
    return true;
}

bool streams_shared_monitors(const CmdLine *cmd, const Config *c, Error **errp)
{
    for (unsigned i = 0; shared != NULL && i < shared->len; i++) {
        if (!add_monitor(g_ptr_array_index(shared, i), MONITOR_MODE_READLINE, false, errp)) {
            return error_context(errp, "mon:");
        }
    }
    g_clear_pointer(&shared, g_ptr_array_unref);
    if (cmdline_count(cmd, OPT_SERIAL) > 0 && wants_monitor(cmd, c)) {
        g_autofree char *id = NULL;

        return streams_open_short("nographic", "stdio", "compat_monitor0", &id, errp) &&
               add_monitor(id, MONITOR_MODE_READLINE, false, errp);
    }
    return true;
}

bool streams_have_monitor(void)
{
    return monitors != NULL && monitors->len > 0;
}

static void drain_timeout(Timer *t)
{
    drain_is_over = true;
}

static bool monitors_drained(void)
{
    for (unsigned i = 0; i < monitors->len; i++) {
        if (!monitor_port_drained(g_ptr_array_index(monitors, i))) {
            return false;
        }
    }
    return true;
}

void streams_drain(void)
{
    Timer limit;

    if (server == NULL) {
        return;
    }
    qmp_server_end(server);
    timer_init(&limit, loop_control(), CLOCK_HOST, drain_timeout);
    timer_set(&limit, clock_now(CLOCK_HOST) + DRAIN_NS);
    while (!drain_is_over && loop_control_iterate(false)) {
    }
    while (!drain_is_over && !(qmp_server_drained(server) && monitors_drained())) {
        loop_control_iterate(true);
    }
    timer_stop(&limit);
}

void streams_close(void)
{
    for (unsigned i = 0; monitors != NULL && i < monitors->len; i++) {
        monitor_port_free(g_ptr_array_index(monitors, i));
    }
    g_clear_pointer(&server, qmp_server_free);
    chardev_exit();
}
