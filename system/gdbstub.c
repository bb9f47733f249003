/* gdbstub.c: the debugger's session on a character device, see gdbstub.h.
 *
 * 1. All callbacks run on the control loop. */
#include "system/gdbstub.h"

#include <string.h>
#include "chardev/char.h"
#include "core/accel.h"
#include "debug/gdb.h"
#include "system/streams.h"
#include "util/bytes.h"
#include "util/epoch.h"

#define CHARDEV_ID "gdb"
#define DEFAULT_DEVICE "tcp::1234"

typedef struct GdbPort {
    CharPort port;
    EpochItem freed;
} GdbPort;

static Gdb *gdb;
static GdbPort *the_port;              /* NULL: nobody listens */
static bool own_chardev;               /* it was made for us, and goes with us */
static char *(*monitor)(const char *command);

/* --- the stream --- */

static size_t port_space(CharPort *to)
{
    return gdb_space(gdb);
}

static void port_bytes(CharPort *to, const uint8_t *buf, size_t n)
{
    gdb_bytes(gdb, buf, n);
}

static void port_event(CharPort *p, CharEvent what)
{
    switch (what) {
    case CHAR_OPEN:
        gdb_open(gdb);
        char_room(p);
        break;
    case CHAR_HANGUP:
    case CHAR_END:
        gdb_close(gdb);
        break;
    case CHAR_ROOM:
        gdb_room(gdb);
        break;
    default:
        break;
    }
}

static size_t send(void *arg, const uint8_t *buf, size_t n)
{
    epoch_enter();
    size_t sent = the_port != NULL ? char_send(&the_port->port, buf, n) : n;

    epoch_leave();
    return sent;
}

static void more(void *arg)
{
    epoch_enter();
    if (the_port != NULL) {
        char_room(&the_port->port);
    }
    epoch_leave();
}

/* --- the machine --- */

static void pause_machine(void)
{
    runstate_stop(RUN_STATE_PAUSED, NULL, NULL);
}

static void reset_machine(void)
{
    runstate_reset(SHUTDOWN_CAUSE_HOST_UI);
}

static void quit(void)
{
    runstate_quit(SHUTDOWN_CAUSE_HOST_UI, 0);
}

static bool wants_stop(unsigned cpu)
{
    return gdb_wants_stop(gdb, cpu);
}

static void stopped(RunState state)
{
    switch (state) {
    case RUN_STATE_DEBUG:
        gdb_stopped(gdb, GDB_SIGTRAP);
        break;
    case RUN_STATE_SHUTDOWN:
        gdb_stopped(gdb, GDB_SIGQUIT);
        break;
    case RUN_STATE_IO_ERROR:
        gdb_stopped(gdb, GDB_SIGIO);
        break;
    case RUN_STATE_WATCHDOG:
        gdb_stopped(gdb, GDB_SIGALRM);
        break;
    case RUN_STATE_INTERNAL_ERROR:
    case RUN_STATE_GUEST_PANICKED:
        gdb_stopped(gdb, GDB_SIGABRT);
        break;
    default:
        gdb_stopped(gdb, GDB_SIGINT);
        break;
    }
}

static void exited(int status)
{
    gdb_exited(gdb, status);
}

static char *run_monitor(const char *command)
{
    return monitor != NULL ? monitor(command) : NULL;
}

static void make_session(void)
{
    static const RunDebugger debugger = { wants_stop, stopped, exited };
    const GdbHost host = {
        .running = runstate_running, .stop = pause_machine, .cont = runstate_cont, .reset = reset_machine,
        .quit = quit, .monitor = run_monitor, .send = send, .more = more,
    };

    gdb = gdb_new(&host);
    runstate_set_debugger(&debugger);
}

/* --- listening --- */

static void port_freed(EpochItem *item)
{
    g_free(container_of(item, GdbPort, freed));
}

static void stop_listening(void)
{
    GdbPort *p = the_port;

    if (p != NULL) {
        the_port = NULL;
        gdb_close(gdb);
        chardev_release(&p->port);
        if (own_chardev) {
            chardev_remove(CHARDEV_ID, NULL);
        }
        epoch_defer(&p->freed, port_freed);
    }
}

/* A TCP port is for whoever comes, when they come. */
static char *complete(const char *device)
{
    return g_str_has_prefix(device, "tcp:") ? g_strconcat(device, ",server=on,wait=off,nodelay=on", NULL)
                                            : g_strdup(device);
}

bool gdbstub_listen(const char *device, Error **errp)
{
    static const CharPortOps ops = { .space = port_space, .bytes = port_bytes, .event = port_event };
    g_autofree char *text = complete(device), *id = NULL;

    if (accel() == NULL || accel()->vcpu_regs_set == NULL) {
        return error_set(errp, "gdbstub: meaningless to attach gdb to a machine without any CPU.");
    }
    stop_listening();
    if (strcmp(device, "none") == 0) {
        return true;
    }
    if (!streams_open_short("gdb", text, CHARDEV_ID, &id, errp)) {
        return false;
    }
    if (id == NULL) {
        return error_set(errp, "-gdb %s: a byte stream is needed", device);
    }
    own_chardev = strcmp(id, CHARDEV_ID) == 0;
    if (gdb == NULL) {
        make_session();
    }
    the_port = g_new0(GdbPort, 1);
    char_port_init(&the_port->port, &ops);
    if (!chardev_claim(chardev_find(id), &the_port->port, loop_control(), errp)) {
        g_clear_pointer(&the_port, g_free);
        return error_context(errp, "-gdb %s", device);
    }
    return true;
}

bool gdbstub_start(const CmdLine *cmd, Error **errp)
{
    const char *device = cmdline_last(cmd, OPT_GDB);
    unsigned n = cmdline_count(cmd, OPT_GDB) + cmdline_has(cmd, OPT_GDB_DEFAULT);

    if (n > 1) {
        return error_set(errp, "-gdb: given %u times (-s is one), a machine has one debugger", n);
    }
    return n == 0 || gdbstub_listen(device != NULL ? device : DEFAULT_DEVICE, errp);
}

void gdbstub_set_monitor(char *(*run_command)(const char *command))
{
    monitor = run_command;
}

void gdbstub_stop(void)
{
    stop_listening();
    runstate_set_debugger(NULL);
    g_clear_pointer(&gdb, gdb_free);
}
