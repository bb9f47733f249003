/* main.c: from argv to a running machine, and back to nothing.
 *
 * The order: options are checked, then back ends are opened, then the machine is built, then the user's
 * devices are plugged, then it is reset and runs.  Any failure is one line on stderr and status 1, with
 * nothing left behind. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "accel/kvm/kvm.h"
#include "accel/qtest/qtest.h"
#include "block/block.h"
#include "block/job.h"
#include "core/accel.h"
#include "core/iothread.h"
#include "debug/dump.h"
#include "hw/board/firmware.h"
#include "hw/board/pc-types.h"
#include "hw/catalogue.h"
#include "qapi/events.h"
#include "system/config.h"
#include "system/config-file.h"
#include "system/devices.h"
#include "system/drives.h"
#include "system/gdbstub.h"
#include "system/monitor-host.h"
#include "system/objects.h"
#include "system/preconfig.h"
#include "system/process.h"
#include "system/qmp-disk.h"
#include "system/qmp-export.h"
#include "system/qmp-job.h"
#include "system/qmp-machine.h"
#include "system/qom.h"
#include "system/qtest-chardev.h"
#include "system/sandbox.h"
#include "system/streams.h"
#include "system/throttle.h"
#include "util/tls.h"
#include "util/trace.h"

/* --- logging --- */

static void print_event(const char *name, bool on, void *arg)
{
    printf("%s\n", name);
}

static bool start_trace(const char *text, bool *help, Error **errp)
{
    g_autoptr(TraceConfig) t = NULL;

    if (!qapi_opt_trace(text, &t, errp)) {
        return error_context(errp, "-trace %s", text);
    }
    if (t == NULL) {
        trace_each(print_event, NULL);
        *help = true;
        return true;
    }
    return (t->file == NULL || trace_to_file(t->file, errp)) &&
           (t->events == NULL || trace_enable_listed(t->events, errp) ||
            error_context(errp, "-trace events=%s", t->events)) &&
           (t->enable == NULL || trace_enable(t->enable, errp) || error_context(errp, "-trace"));
}

static void print_log_items(void)
{
    printf("Log items (comma separated):\n"
           "guest_errors    log when the guest OS does something invalid (eg accessing a\n"
           "non-existent register)\n"
           "trace:PATTERN   enable trace events\n\n"
           "Use \"-d trace:help\" to get a list of trace events.\n");
}

static bool start_log_item(const char *item, bool *help, Error **errp)
{
    if (strcmp(item, "help") == 0 || strcmp(item, "?") == 0) {
        print_log_items();
        *help = true;
        return true;
    }
    if (strcmp(item, "trace:help") == 0) {
        trace_each(print_event, NULL);
        *help = true;
        return true;
    }
    return log_item(item, errp) ||
           (g_str_has_prefix(item, "trace:") ? error_context(errp, "-d %s", item)
                                             : error_context(errp, "-d"));
}

/* The name that messages begin with; what is wrong with -name is told when its turn comes. */
static const char *guest_name(const CmdLine *cmd)
{
    static NameConfig *n;
    const char *text = cmdline_last(cmd, OPT_NAME);

    return text != NULL && qapi_opt_name(text, &n, NULL) && n != NULL ? n->guest : NULL;
}

static bool start_logging(const CmdLine *cmd, bool *help, Error **errp)
{
    const char *msg = cmdline_last(cmd, OPT_MSG), *log = cmdline_last(cmd, OPT_LOGFILE);

    if (msg != NULL) {
        g_autoptr(MsgConfig) m = NULL;
        if (!qapi_opt_msg(msg, &m, errp)) {
            return error_context(errp, "-msg %s", msg);
        }
        error_set_timestamps(m != NULL && m->timestamp);
        error_set_guest(m != NULL && m->guest_name ? guest_name(cmd) : NULL);
    }
    if (log != NULL && !trace_to_file(log, errp)) {
        return error_context(errp, "-D %s", log);
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_TRACE); i++) {
        if (!start_trace(cmdline_nth(cmd, OPT_TRACE, i), help, errp) || *help) {
            return *help;
        }
    }
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_D); i++) {
        g_auto(GStrv) items = g_strsplit(cmdline_nth(cmd, OPT_D, i), ",", -1);
        for (unsigned j = 0; items[j] != NULL; j++) {
            if (!start_log_item(items[j], help, errp) || *help) {
                return *help;
            }
        }
    }
    return true;
}

/* --- signals --- */

static int signal_fd = -1;

static void on_signal(void *arg, unsigned events)
{
    struct signalfd_siginfo si;

    if (read(signal_fd, &si, sizeof(si)) == sizeof(si)) {
        g_autofree char *name = process_name_of(si.ssi_pid);
        if (si.ssi_pid == 0) {
            info_report("terminating on signal %u", si.ssi_signo);        /* the terminal's */
        } else {
            info_report("terminating on signal %u from pid %u (%s)", si.ssi_signo, si.ssi_pid,
                        name != NULL ? name : "<unknown process>");
        }
        runstate_quit(SHUTDOWN_CAUSE_HOST_SIGNAL, 0);
    }
}

/* Before any thread exists: all inherit the mask. */
static void take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    loop_watch(loop_control(), signal_fd, EPOLLIN, on_signal, NULL);
}

/* --- building --- */

static const AccelOps *find_accel(const char *name)
{
    return strcmp(name, "kvm") == 0 ? &kvm_accel : strcmp(name, "qtest") == 0 ? &qtest_accel : NULL;
}

/* The first of the list that can run guests here.  An empty machine runs none, so that tools can ask on any
 * host: where they name a choice that is not usable or not there, it is content with nothing. */
static bool choose_accel(const Config *c, Error **errp)
{
    g_auto(GStrv) choices = g_strsplit(c->accel, ":", -1);
    Error *why = NULL;

    for (unsigned i = 0; choices[i] != NULL; i++) {
        const AccelOps *a = find_accel(choices[i]);

        if (a == NULL && choices[i + 1] == NULL && why == NULL) {
            error_set(&why, "-accel %s: invalid accelerator %s", c->accel, choices[i]);
            error_hint(&why, "Rhea runs guests by kvm, and device tests by qtest");
        }
        if (a != NULL && (a->usable == NULL || a->usable(why == NULL ? &why : NULL))) {
            error_free(why);
            accel_set(a);
            return true;
        }
    }
    if (c->type->empty && choices[0] != NULL && choices[1] != NULL) {
        error_free(why);
        accel_set(&qtest_accel);
        return true;
    }
    return error_move(errp, why);
}

static bool add_ram(Machine *m, RamBlock *b, Error **errp)
{
    if (b != NULL) {
        g_ptr_array_add(m->ram_blocks, b);
    }
    return b != NULL;
}

static bool make_ram(Machine *m, const Config *config, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    RamConfig r = { .source = config->mem_path != NULL ? RAM_FILE : RAM_ANON, .path = config->mem_path,
                    .size = c->ram_size, .reserve = true, .merge = c->mem_merge, .dump = c->dump_guest_core,
                    .prealloc = c->mem_prealloc, .prealloc_threads = c->smp.cpus };

    m->ram_blocks = g_ptr_array_new();
    if (c->memory_backend != NULL) {
        RamBlock *b = objects_take_memory(c->memory_backend, errp);
        if (b != NULL && b->size != c->ram_size) {
            return error_set(errp, "-machine: memory-backend '%s' has %" PRIu64 " bytes, -m says %" PRIu64,
                             c->memory_backend, b->size, c->ram_size);
        }
        return add_ram(m, b, errp) || error_context(errp, "-machine");
    }
    if (c->numa_nodes > 0 && c->numa[0].memdev != NULL) {
        uint64_t sum = 0;
        for (unsigned i = 0; i < c->numa_nodes; i++) {
            RamBlock *b = objects_take_memory(c->numa[i].memdev, errp);
            if (!add_ram(m, b, errp)) {
                return error_context(errp, "-numa");
            }
            m->cfg.numa[i].mem = b->size;
            sum += b->size;
        }
        return sum == c->ram_size ||
               error_set(errp, "-numa: total memory for NUMA nodes (0x%" PRIx64 ") should equal RAM size (0x%"
                         PRIx64 ")", sum, c->ram_size);
    }
    return add_ram(m, ram_new("pc.ram", &r, errp), errp) ||
           error_context(errp, config->mem_path != NULL ? "-mem-path" : "-m");
}

static bool open_back_ends(const CmdLine *cmd, Config *c, bool *help, Error **errp)
{
    objects_init();
    blk_refuse_aes();
    drives_init();
    return objects_create_all(cmd, c->board.mem_merge, c->board.dump_guest_core, help, errp) && !*help &&
           streams_open(cmd, help, errp) && !*help && objects_connect(errp) &&
           drives_open_all(cmd, &c->board, help, errp) && !*help;
}

static bool make_machine(const Config *c, Error **errp)
{
    Loop *loop = loop_new("device", THREAD_LOOP, errp);
    Machine *m = loop != NULL ? machine_new(c->type, loop, errp) : NULL;

    if (m != NULL) {
        m->cfg = c->board;
    }
    return m != NULL;
}

static bool vm_opened;

static bool build(const CmdLine *cmd, Config *c, Error **errp)
{
    Machine *m = machine();

    vm_opened = !c->type->empty;
    if (!c->type->empty &&
        (!devices_cpu_globals(cmd, m, errp) || !make_ram(m, c, errp) || !accel()->vm_open(m, errp))) {
        return false;
    }
    map_hold(true);
    if (!devices_read_globals(cmd, m, errp) || !c->type->build(m, errp) || !drives_plug_all(m, errp) ||
        !streams_plug(cmd, c, errp) || !devices_add_all(cmd, errp) ||
        (c->type->complete != NULL && !c->type->complete(m, errp))) {
        return false;
    }
    map_hold(false);
    machine_set_listener(&qmp_machine_listener);
    qmp_disk_init();
    throttle_init();
    qmp_job_init();
    if (!c->type->empty && !accel()->vcpus_create(m, errp)) {
        return false;
    }
    devices_warn_globals(m);
    return true;
}

static void tear_down(void)
{
    Machine *m = machine();

    jobs_stop();
    streams_drain();
    gdbstub_stop();
    if (m != NULL) {
        if (vm_opened) {
            accel()->vm_close(m);            /* first: nobody looks at slots and lines any more */
        }
        device_destroy(m->peripheral);
        device_destroy(m->root);
    }
    qtest_chardev_stop();
    streams_close();
    exports_stop();
    drives_close_all();
    ram_exit();
}

/* Prints what an option takes whose argument asks for it; those with a listing of their own are not here. */
static bool print_option_help(const CmdLine *cmd)
{
    static const char *const own[] = {
        "accel", "audiodev", "blockdev", "chardev", "cpu", "device", "drive", "machine", "object", "trace",
        NULL
    };

    for (Option o = 0; o < OPT_COUNT; o++) {
        int schema = qapi_option_find(cmdline_option_name(o));

        for (unsigned i = 0; schema >= 0 && i < cmdline_count(cmd, o); i++) {
            g_autoptr(GString) text = g_string_new(NULL);

            if (!g_strv_contains(own, cmdline_option_name(o)) &&
                qapi_option_asks_help(schema, cmdline_nth(cmd, o, i))) {
                qapi_option_help(schema, text);
                fputs(text->str, stdout);
                return true;
            }
        }
    }
    return false;
}

/* Options that print something and end the program. */
static bool print_and_exit(const CmdLine *cmd, const char *argv0, Error **errp)
{
    const char *cpu = cmdline_last(cmd, OPT_CPU);

    if (cmdline_has(cmd, OPT_HELP)) {
        cmdline_print_help(argv0);
        return true;
    }
    if (cmdline_has(cmd, OPT_VERSION)) {
        cmdline_print_version();
        return true;
    }
    if (cpu != NULL && (strcmp(cpu, "help") == 0 || strcmp(cpu, "?") == 0)) {
        g_autofree char *text = kvm_cpu_help();
        fputs(text, stdout);
        return true;
    }
    return print_option_help(cmd) || devices_print_help(cmd, errp);
}

static bool ask_only(const CmdLine *cmd, const char *argv0, bool *help, Error **errp)
{
    Error *err = NULL;

    *help = print_and_exit(cmd, argv0, &err);
    return err == NULL || error_move(errp, err);
}

/* What is opened on first use elsewhere: under the sandbox nothing maps code later.  Without anybody to give
 * commands there is no such use; and who only looks around is not kept waiting. */
static void load_libraries(const CmdLine *cmd)
{
    if (!sandbox_is_on() || machine()->type->empty ||
        !(streams_have_monitor() || cmdline_has(cmd, OPT_GDB) || cmdline_has(cmd, OPT_GDB_DEFAULT))) {
        return;
    }
    blk_load_libraries();
    tls_load_library();
    for (DumpFormat f = 0; f < DUMP_FORMATS; f++) {
        dump_has_format(f);
    }
}

static bool start(const CmdLine *cmd, const char *argv0, bool *help, Error **errp)
{
    static Config config;
    bool early = cmdline_has(cmd, OPT_PRECONFIG);

    for (unsigned i = 0; i < cmdline_count(cmd, OPT_L); i++) {
        firmware_path_add(cmdline_nth(cmd, OPT_L, i));
    }
    if (!ask_only(cmd, argv0, help, errp) || *help || !streams_add_fds(cmd, errp) ||
        !start_logging(cmd, help, errp) || *help ||
        !config_read(&config, cmd, help, errp) || *help) {
        return *help;
    }
    if (config.process_name != NULL) {
        prctl(PR_SET_NAME, config.process_name);
    }
    thread_show_names(config.debug_threads);
    if (!choose_accel(&config, errp)) {
        return false;
    }
    if (config.one_domain) {
        domain_share_all();
    }
    if (!sandbox_begin(cmd, errp)) {
        return false;
    }
    runstate_init(&config.policy);
    qom_set_machine_config(config.machine);
    monitor_host_init();
    if ((config.mem_lock && !process_lock_memory(errp)) || !process_plan(cmd, errp)) {
        return false;
    }
    if (!open_back_ends(cmd, &config, help, errp)) {
        return *help;
    }
    if (!process_hold_pidfile(cmd, errp) || !make_machine(&config, errp)) {
        return false;
    }
    if (early && !preconfig(cmd, &config, errp)) {
        return runstate_ended();
    }
    if (!build(cmd, &config, errp) || (!early && !streams_monitors(cmd, errp)) ||
        !streams_shared_monitors(cmd, &config, errp) || !gdbstub_start(cmd, errp)) {
        return false;
    }
    machine_reset(RESET_POWER);
    load_libraries(cmd);
    if (!qtest_chardev_start(cmd, machine(), errp) || !process_settle(errp) || !sandbox_close(errp)) {
        return false;
    }
    process_ready();
    runstate_start(!cmdline_has(cmd, OPT_S));
    if (early) {
        preconfig_over();
    }
    return true;
}

int main(int argc, char **argv)
{
    static CmdLine cmd;
    Error *err = NULL;
    bool help = false;
    int status = 0;

    error_set_program(argv[0]);
    if (!cmdline_parse(&cmd, argc, argv, &err) || !config_edit(&cmd, &err) || !process_begin(&cmd, &err)) {
        error_report(err);
        return 1;
    }
    thread_become_control();
    take_signals();
    catalogue_register();
    kvm_chips_register();
    pc_types_register();
    if (!start(&cmd, argv[0], &help, &err)) {
        error_report(err);
        streams_close();               /* listening sockets go with their files */
        return process_end(1);
    }
    if (!help) {
        status = runstate_main_loop();
        tear_down();
    }
    return process_end(status);
}
