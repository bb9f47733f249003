/* gdb.c: a debugger's session: its state, its packets' way in and out, starting and stopping the machine. */
#include "debug/gdb.h"

#include <errno.h>
#include <string.h>
#include "core/accel.h"
#include "core/machine.h"
#include "debug/gdb-int.h"
#include "util/trace.h"

#define IN_MAX 4096u

static Gdb *the_gdb;                   /* control */

static void set_state(Gdb *g, GdbState s)
{
    TRACE(gdb_state, "from=%d to=%d", g->state, s);
    g->state = s;
}

/* --- out --- */

static void flush(Gdb *g)
{
    size_t sent = g->out->len > 0 ? g->host.send(g->host.arg, g->out->data, g->out->len) : 0;

    if (sent > 0) {
        g_byte_array_remove_range(g->out, 0, sent);
    }
}

static void send_raw(Gdb *g, const void *data, size_t n)
{
    g_byte_array_append(g->out, data, n);
    flush(g);
}

void gdb_reply_bytes(Gdb *g, const void *data, size_t n)
{
    TRACE(gdb_send, "%.*s", (int)MIN(n, 200), (const char *)data);
    g_byte_array_set_size(g->last, 0);
    gdb_packet_write(g->last, data, n);
    send_raw(g, g->last->data, g->last->len);
}

void gdb_reply(Gdb *g, const char *text)
{
    gdb_reply_bytes(g, text, strlen(text));
}

void gdb_error(Gdb *g, int err)
{
    char text[8];

    g_snprintf(text, sizeof(text), "E%02d", err > 99 ? 22 : err);
    gdb_reply(g, text);
}

char *gdb_thread_text(const Gdb *g, unsigned index)
{
    return g_strdup_printf("%s%02x", g->multiprocess ? "p01." : "", index + 1);
}

void gdb_reply_stop(Gdb *g)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *thread = gdb_thread_text(g, g->has_stop ? g->stop_vcpu : g->g_thread);
    const GdbBreak *hit = g->has_stop ? gdb_break_hit(&g->breaks, &g->stop) : NULL;

    g_string_printf(text, "T%02xthread:%s;", g->signal, thread);
    if (hit && hit->kind == GDB_WATCH_WRITE) {
        g_string_append_printf(text, "watch:%" PRIx64 ";", hit->linear);
    } else if (hit && hit->kind == GDB_WATCH_ACCESS) {
        g_string_append_printf(text, "awatch:%" PRIx64 ";", hit->linear);
    } else if (hit && hit->kind == GDB_BREAK_SOFT && g->swbreak) {
        g_string_append(text, "swbreak:;");
    } else if (hit && hit->kind == GDB_BREAK_HARD && g->hwbreak) {
        g_string_append(text, "hwbreak:;");
    }
    gdb_reply(g, text->str);
}

/* --- starting and stopping --- */

static void debug_off(Gdb *g)
{
    static const CpuDebug off;
    const AccelOps *a = accel();

    for (unsigned i = 0; a->debug_set && i < a->vcpu_count(); i++) {
        a->debug_set(i, &off);
    }
}

/* Breakpoints, and what each vCPU shall do.  Somebody else's start is a plain one for all. */
static void arm(Gdb *g)
{
    const AccelOps *a = accel();

    if (g->state == GDB_CLOSED || !a->debug_set) {
        return;
    }
    gdb_breaks_arm(&g->breaks, machine()->mem);
    for (unsigned i = 0; i < a->vcpu_count(); i++) {
        char act = g->resuming && i < g->vcpus ? g->act[i] : 'c';

        if (act == 's' && !(g->step_bits & GDB_STEP_ENABLE)) {
            act = 'c';
        }
        CpuDebug d = {
            .on = act != 'c' || g->breaks.dr7 != 0 || g->breaks.int3_count > 0, .step = act == 's',
            .hold = act == 'h', .block_irq = g->step_bits & GDB_STEP_NOIRQ, .dr7 = g->breaks.dr7,
            .int3 = g->breaks.int3, .int3_count = g->breaks.int3_count,
        };

        memcpy(d.db, g->breaks.db, sizeof(d.db));
        if (!a->debug_set(i, &d)) {
            warn_report("gdb: the accelerator refuses to debug vCPU %u", i);
        }
    }
}

static void disarm(Gdb *g)
{
    const AccelOps *a = accel();

    gdb_breaks_disarm(&g->breaks, machine()->mem);
    debug_off(g);
    if (g->stale) {
        g->stale = false;
        gdb_breaks_clear(&g->breaks);
    }
    for (unsigned i = 0; a->debug_take && i < a->vcpu_count(); i++) {
        CpuStop s;

        /* The first counts; a breakpoint another one met too stops it again later. */
        if (a->debug_take(i, &s) && !g->has_stop) {
            g->has_stop = true;
            g->stop = s;
            g->stop_vcpu = i;
        }
    }
}

static void on_move(bool moves)
{
    Gdb *g = the_gdb;

    if (g && moves) {
        if (g->state == GDB_STOPPED) {
            set_state(g, GDB_RUNNING);     /* somebody else's start: no stop reply is due */
        }
        arm(g);
    } else if (g) {
        disarm(g);
    }
}

void gdb_resume(Gdb *g)
{
    g_autoptr(Error) err = NULL;

    g->has_stop = false;
    g->resuming = true;
    set_state(g, GDB_RUNNING);
    if (!g->host.cont(&err)) {
        g_autoptr(GString) text = g_string_new("O");
        g_autofree char *line = g_strdup_printf("%s\n", error_text(err));

        gdb_bytes_write(text, line, strlen(line));
        gdb_reply(g, text->str);
        gdb_stopped(g, GDB_SIGINT);
    }
}

static void stop(Gdb *g)
{
    set_state(g, GDB_STOPPING);
    if (g->host.running()) {
        g->host.stop();
    } else {
        gdb_stopped(g, GDB_SIGINT);
    }
}

static void process(Gdb *g, const uint8_t *buf, size_t n);

/* What came while the machine was on its way down, or an answer on its way out. */
static void catch_up(Gdb *g)
{
    g_autoptr(GByteArray) pending = g->pending;

    g->pending = g_byte_array_new();
    process(g, pending->data, pending->len);
    if (gdb_space(g) > 0) {
        g->host.more(g->host.arg);
    }
}

void gdb_stopped(Gdb *g, GdbSignal why)
{
    if (g->state != GDB_RUNNING && g->state != GDB_STOPPING) {
        return;
    }
    bool silent = !g->resuming;        /* nobody waits for a stop reply */

    g->resuming = false;
    g->signal = g->has_stop ? GDB_SIGTRAP : why;
    if (g->has_stop) {
        g->g_thread = g->stop_vcpu;
    }
    set_state(g, GDB_STOPPED);
    if (!silent) {
        gdb_reply_stop(g);
    }
    catch_up(g);
}

bool gdb_wants_stop(Gdb *g, unsigned index)
{
    return g->state == GDB_RUNNING || g->state == GDB_STOPPING;
}

/* The guest that runs with breakpoints in it stopped for a moment; disarm() has taken them out. */
typedef struct Sweep {
    Post post;
    bool (*running)(void);
} Sweep;

static void swept(Post *p)
{
    Sweep *s = (Sweep *)p;

    if (s->running()) {
        machine_resume();
    }
    g_free(s);
}

static void drop_breaks(Gdb *g)
{
    if (!g->breaks.armed) {
        gdb_breaks_clear(&g->breaks);
        return;
    }
    Sweep *s = g_new0(Sweep, 1);

    s->post.run = swept;
    s->running = g->host.running;
    g->stale = true;
    machine_quiesce(&s->post);
}

void gdb_detach(Gdb *g)
{
    g_autoptr(Error) err = NULL;

    gdb_breaks_clear(&g->breaks);
    g->resuming = false;
    set_state(g, GDB_CLOSED);
    if (!g->host.cont(&err)) {
        TRACE(gdb_detach_stays, "%s", error_text(err));
    }
}

/* --- in --- */

static void take(Gdb *g, GdbInput what)
{
    switch (what) {
    case GDB_PACKET:
        TRACE(gdb_receive, "%.200s", (char *)g->reader.data);
        if (!g->no_ack) {
            send_raw(g, "+", 1);
        }
        gdb_command(g, (char *)g->reader.data, g->reader.len);
        break;
    case GDB_LONG:
        send_raw(g, "+", g->no_ack ? 0 : 1);
        gdb_error(g, EINVAL);
        break;
    case GDB_BAD:
        send_raw(g, "-", g->no_ack ? 0 : 1);
        break;
    case GDB_RESEND:
        if (!g->no_ack) {
            send_raw(g, g->last->data, g->last->len);
        }
        break;
    case GDB_INTERRUPT:
    case GDB_MORE:
        break;
    }
}

/* While it runs only Ctrl-C is expected; whoever sends a packet wants it to stop just as well. */
static size_t process_running(Gdb *g, const uint8_t *buf, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (buf[i] == 3 || buf[i] == '$') {
            stop(g);
            return buf[i] == 3 ? i + 1 : i;
        }
    }
    return n;
}

static void process(Gdb *g, const uint8_t *buf, size_t n)
{
    while (n > 0) {
        size_t used = 1;

        if (g->state == GDB_CLOSED || g->quitting) {
            return;
        }
        if (g->state == GDB_STOPPING || g->out->len > 0) {
            g_byte_array_append(g->pending, buf, n);
            return;
        }
        if (g->state == GDB_RUNNING) {
            used = process_running(g, buf, n);
        } else {
            take(g, gdb_reader_put(&g->reader, *buf));
        }
        buf += used;
        n -= used;
    }
}

size_t gdb_space(const Gdb *g)
{
    return g->out->len > 0 || g->state == GDB_STOPPING ? 0 : IN_MAX;
}

void gdb_bytes(Gdb *g, const uint8_t *buf, size_t n)
{
    process(g, buf, n);
}

void gdb_room(Gdb *g)
{
    flush(g);
    if (g->out->len == 0) {
        catch_up(g);
    }
}

/* --- clients --- */

static void forget_client(Gdb *g)
{
    gdb_reader_reset(&g->reader);
    g_byte_array_set_size(g->out, 0);
    g_byte_array_set_size(g->last, 0);
    g_byte_array_set_size(g->pending, 0);
    g_clear_pointer(&g->xml, g_free);
    g->no_ack = g->multiprocess = g->swbreak = g->hwbreak = false;
    g->physical = g->resuming = g->has_stop = false;
    g->g_thread = 0;
    g->c_thread = UINT_MAX;
    g->step_bits = GDB_STEP_ENABLE;
    if (accel()->debug_features && accel()->debug_features() & CPU_DEBUG_BLOCK_IRQ) {
        g->step_bits |= GDB_STEP_NOIRQ;
    }
    g->signal = GDB_SIGTRAP;
}

void gdb_open(Gdb *g)
{
    forget_client(g);
    stop(g);
}

void gdb_close(Gdb *g)
{
    if (g->state == GDB_CLOSED) {
        return;
    }
    set_state(g, GDB_CLOSED);
    forget_client(g);
    drop_breaks(g);
}

void gdb_exited(Gdb *g, int status)
{
    char text[8];

    if (g->state != GDB_CLOSED) {
        g_snprintf(text, sizeof(text), "W%02x", status & 0xff);
        gdb_reply(g, text);
    }
    g->quitting = true;
}

Gdb *gdb_new(const GdbHost *h)
{
    Gdb *g = g_new0(Gdb, 1);

    g->host = *h;
    g->out = g_byte_array_new();
    g->last = g_byte_array_new();
    g->pending = g_byte_array_new();
    g->vcpus = accel()->vcpu_count ? accel()->vcpu_count() : 0;
    g->act = g_malloc0(g->vcpus + 1);
    gdb_breaks_init(&g->breaks);
    forget_client(g);
    the_gdb = g;
    machine_on_move(on_move);
    return g;
}

void gdb_free(Gdb *g)
{
    if (!g) {
        return;
    }
    the_gdb = NULL;
    machine_on_move(NULL);
    gdb_breaks_free(&g->breaks);
    g_byte_array_unref(g->out);
    g_byte_array_unref(g->last);
    g_byte_array_unref(g->pending);
    g_free(g->xml);
    g_free(g->act);
    g_free(g);
}
