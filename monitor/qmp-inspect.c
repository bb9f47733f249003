/* qmp-inspect.c: QMP commands of the human monitor's kind: its lines, memory to files, traces.
 *
 * 1. Memory is written a piece an iteration of control's loop, to a regular file: a file as large as the
 * guest stops neither the guest nor other clients.
 * 2. A save that is under way keeps nothing of the machine: each piece looks its memory up anew. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/accel.h"
#include "core/machine.h"
#include "monitor/hmp-int.h"
#include "qapi/commands.h"
#include "util/bytes.h"
#include "util/trace.h"

/* --- human-monitor-command --- */

typedef struct HumanCommand {
    QmpPending *pending;
    HmpState *state;
} HumanCommand;

static HmpFormat last_format;          /* for formats that leave something out; size 0: none yet */

static void human_done(void *arg, const char *output)
{
    HumanCommand *c = arg;
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GString) value = g_string_new(NULL);

    for (const char *s = output; *s; s++) {
        if (*s == '\n') {
            g_string_append_c(text, '\r');
        }
        g_string_append_c(text, *s);
    }
    json_write_str(value, text->str);
    qmp_pending_return(c->pending, value->str);
    last_format = c->state->format;
    hmp_state_free(c->state);
    g_free(c);
}

bool qmp_human_monitor_command(QmpSession *session, const char *command_line, bool has_cpu_index,
                               int64_t cpu_index, QmpPending *pending, Error **errp)
{
    HmpState *state = hmp_state_new();

    if (has_cpu_index && !hmp_state_cpu(state, cpu_index)) {
        hmp_state_free(state);
        return error_set(errp, "Parameter 'cpu-index' expects a CPU number");
    }
    if (last_format.size != 0) {
        state->format = last_format;
    }
    HumanCommand *c = g_new0(HumanCommand, 1);

    c->pending = pending;
    c->state = state;
    hmp_run(qmp_session_server(session), state, command_line, human_done, c);
    return true;
}

/* --- memory to files --- */

#define PIECE (256u << 10)

typedef struct Save {
    Post post;
    QmpPending *pending;
    int fd;
    uint64_t at, left;
    int cpu;                   /* -1: physical addresses */
    char *filename;
    uint8_t buf[PIECE];
} Save;

static void save_end(Save *s, Error *take_err)
{
    if (close(s->fd) < 0 && take_err == NULL) {
        error_set_errno(&take_err, errno, "cannot write '%s'", s->filename);
    }
    qmp_pending_done(s->pending, take_err);
    g_free(s->filename);
    g_free(s);
}

/* Reads the first of @n bytes at the virtual address @s->at, as far as they lie together; how many, 0: none.
 */
static size_t read_virtual(Save *s, const X86Regs *regs, size_t n)
{
    X86Page p;

    if (!x86_translate(regs, machine()->mem, s->at, &p)) {
        return 0;
    }
    uint64_t into = s->at & (p.size - 1);

    n = MIN(n, p.size - into);
    return space_read_bytes(machine()->mem, p.gpa + into, s->buf, n) == IO_OK ? n : 0;
}

static bool save_bytes(Save *s, size_t n, Error **errp)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = write(s->fd, s->buf + done, n - done);

        if (k <= 0) {
            return error_set_errno(errp, k < 0 ? errno : ENOSPC, "cannot write '%s'", s->filename);
        }
        done += k;
    }
    return true;
}

static void save_piece(Post *post)
{
    Save *s = container_of(post, Save, post);
    uint64_t piece_end = s->left - MIN(s->left, PIECE);
    X86Regs regs;
    Error *err = NULL;

    if (s->cpu >= 0 && !accel()->vcpu_regs(s->cpu, &regs)) {
        error_set(&err, "there is no vCPU %d", s->cpu);
    }
    while (err == NULL && s->left > piece_end) {
        size_t n = s->left - piece_end;

        if (s->cpu < 0) {
            space_read_bytes(machine()->mem, s->at, s->buf, n);        /* what is not there reads as ones */
        } else if ((n = read_virtual(s, &regs, n)) == 0) {
            error_set(&err, "Invalid addr 0x%016" PRIx64 "/size %" PRIu64 " specified", s->at, s->left);
            break;
        }
        save_bytes(s, n, &err);
        s->at += n;
        s->left -= n;
    }
    if (err != NULL || s->left == 0) {
        save_end(s, err);
    } else {
        loop_post(loop_control(), &s->post);
    }
}

static bool save_start(uint64_t at, int64_t size, const char *filename, int cpu, QmpPending *pending,
                       Error **errp)
{
    if (machine() == NULL) {
        return error_set(errp, "there is no machine");
    }
    if (size < 0) {
        return error_set(errp, "Parameter 'size' expects a size that is not negative");
    }
    int fd = open(filename, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat st;

    if (fd < 0) {
        return error_set_errno(errp, errno, "Could not open '%s'", filename);
    }
    if (fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISCHR(st.st_mode))) {
        close(fd);
        return error_set(errp, "'%s' is not a regular file", filename);
    }
    Save *s = g_new0(Save, 1);

    s->post.run = save_piece;
    s->pending = pending;
    s->fd = fd;
    s->at = at;
    s->left = size;
    s->cpu = cpu;
    s->filename = g_strdup(filename);
    save_piece(&s->post);
    return true;
}

bool qmp_memsave(int64_t val, int64_t size, const char *filename, bool has_cpu_index, int64_t cpu_index,
                 QmpPending *pending, Error **errp)
{
    unsigned count = accel() != NULL && accel()->vcpu_regs != NULL ? accel()->vcpu_count() : 0;

    if (!has_cpu_index) {
        cpu_index = 0;
    }
    if (cpu_index < 0 || cpu_index >= count) {
        return error_set(errp, "Parameter 'cpu-index' expects a CPU number");
    }
    return save_start(val, size, filename, cpu_index, pending, errp);
}

bool qmp_pmemsave(int64_t val, int64_t size, const char *filename, QmpPending *pending, Error **errp)
{
    return save_start(val, size, filename, -1, pending, errp);
}

/* --- traces --- */

typedef struct TraceQuery {
    GPatternSpec *pattern;
    TraceEventInfoList *to;
} TraceQuery;

static void take_event(const char *name, bool on, void *arg)
{
    TraceQuery *q = arg;

    if (g_pattern_spec_match_string(q->pattern, name)) {
        TraceEventInfo *e = qapi_new_trace_event_info();

        e->name = g_strdup(name);
        e->state = on ? TRACE_EVENT_STATE_ENABLED : TRACE_EVENT_STATE_DISABLED;
        qapi_append(q->to, e);
    }
}

static bool is_pattern(const char *name)
{
    return strpbrk(name, "*?") != NULL;
}

bool qmp_trace_event_get_state(const char *name, TraceEventInfoList *ret, Error **errp)
{
    TraceQuery q = { .pattern = g_pattern_spec_new(name), .to = ret };

    trace_each(take_event, &q);
    g_pattern_spec_free(q.pattern);
    return ret->n > 0 || is_pattern(name) || error_set(errp, "unknown event \"%s\"", name);
}

bool qmp_trace_event_set_state(const char *name, bool enable, bool has_ignore_unavailable,
                               bool ignore_unavailable, Error **errp)
{
    g_autofree char *text = g_strconcat(enable ? "" : "-", name, NULL);
    Error *err = NULL;

    if (trace_enable(text, &err)) {
        return true;
    }
    error_free(err);
    return is_pattern(name) || error_set(errp, "unknown event \"%s\"", name);
}
