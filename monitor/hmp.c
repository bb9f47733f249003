/* hmp.c: sessions of the human monitor, and running one line.
 *
 *   closed --open--> prompt --line--> running --done--> prompt
 *
 * 1. One line of a session runs at a time; its output is printed when it is done, then the prompt.
 * 2. Nothing waits: output that the stream does not take is queued, and input is read only while little is
 *    queued.  A line's output is bounded by HMP_OUT_MAX, a session's input by HMP_IN_MAX. */
#include "monitor/hmp.h"

#include <string.h>
#include "core/accel.h"
#include "monitor/hmp-int.h"
#include "qapi/command.h"
#include "util/trace.h"

#define HMP_IN_MAX 4096u
#define PROMPT "(qemu) "

struct HmpSession {
    QmpServer *server;
    const QmpStream *stream;
    void *arg;
    bool needs_focus, focused, open;
    bool greeted;              /* the banner was shown to who is there */
    bool busy;                 /* process() is on the stack */
    bool dead;                 /* freed while busy */
    Readline *readline;
    HmpState *state;
    HmpRun *run;               /* the line being carried out */
    bool running;              /* the same, while hmp_run() is on the stack too */
    GByteArray *inbox;
    GString *out;              /* waits for the stream, from @sent on */
    size_t sent;
};

struct HmpRun {
    Hmp h;
    void (*done)(void *arg, const char *output);   /* NULL: nobody is interested any more */
    void *arg;
    bool later;                /* a deferred command was started, */
    bool plain;                /* whose error is printed as it is */
};

/* --- what a line keeps and prints --- */

HmpState *hmp_state_new(void)
{
    HmpState *s = g_new0(HmpState, 1);

    s->format = (HmpFormat){ .conversion = 'x', .size = 4 };
    return s;
}

void hmp_state_free(HmpState *s)
{
    g_free(s);
}

bool hmp_state_cpu(HmpState *s, int64_t index)
{
    unsigned count = accel() != NULL && accel()->vcpu_count != NULL ? accel()->vcpu_count() : 0;

    if (index < 0 || index >= count) {
        return false;
    }
    s->cpu = index;
    return true;
}

static const HmpHost *the_host;

void hmp_set_host(const HmpHost *host)
{
    the_host = host;
}

const HmpHost *hmp_host(Hmp *h)
{
    if (the_host == NULL) {
        hmp_printf(h, "Error: there is no machine behind this monitor\n");
    }
    return the_host;
}

void hmp_printf(Hmp *h, const char *fmt, ...)
{
    va_list ap;

    if (h->out->len > HMP_OUT_MAX) {
        h->truncated = true;
        return;
    }
    va_start(ap, fmt);
    g_string_append_vprintf(h->out, fmt, ap);
    va_end(ap);
}

void hmp_error(Hmp *h, Error *take_err)
{
    const char *advice = error_advice(take_err);

    hmp_printf(h, "Error: %s\n", error_text(take_err));
    if (advice != NULL) {
        hmp_printf(h, "%s\n", advice);
    }
    error_free(take_err);
}

/* --- QMP commands --- */

json_t *hmp_try(Hmp *h, const char *name, json_t *take_args, Error **errp)
{
    g_autoptr(json_t) args = take_args;
    g_autoptr(GString) out = g_string_new("[");
    const QmpCommand *c = qmp_command_find(name);

    if (c == NULL) {
        error_set(errp, "QMP command %s is not there", name);
        return NULL;
    }
    if (!qmp_command_run(c, NULL, qmp_server_state(h->server), args, NULL, out, errp)) {
        return NULL;
    }
    g_string_append_c(out, ']');
    g_autoptr(json_t) list = json_parse(out->str, errp);
    return json_incref(json_array_get(list, 0));
}

json_t *hmp_call(Hmp *h, const char *name, json_t *take_args)
{
    Error *err = NULL;
    json_t *ret = hmp_try(h, name, take_args, &err);

    if (ret == NULL) {
        hmp_error(h, err);
    }
    return ret;
}

bool hmp_do(Hmp *h, const char *name, json_t *take_args)
{
    g_autoptr(json_t) ret = hmp_call(h, name, take_args);

    return ret != NULL;
}

static void run_done(HmpRun *r)
{
    if (r->h.truncated) {
        g_string_append(r->h.out, "\n... more than 4 MiB of output\n");
    }
    if (r->done != NULL) {
        r->done(r->arg, r->h.out->str);
    }
    g_string_free(r->h.out, TRUE);
    g_free(r);
}

static void later_done(void *arg, const char *value, Error *take_err)
{
    HmpRun *r = arg;

    if (take_err != NULL && r->plain) {
        hmp_printf(&r->h, "%s\n", error_text(take_err));
        error_free(take_err);
    } else if (take_err != NULL) {
        hmp_error(&r->h, take_err);
    }
    r->later = false;
    if (r->h.run != NULL) {                /* else it is done before it was started, and start() goes on */
        run_done(r);
    }
}

QmpPending *hmp_later(Hmp *h, HmpRun **run, bool plain)
{
    *run = h->run;
    h->run = NULL;
    (*run)->later = true;
    (*run)->plain = plain;
    return qmp_pending_new(later_done, *run);
}

void hmp_later_started(Hmp *h, HmpRun *run)
{
    h->run = run;
}

void hmp_do_later(Hmp *h, const char *name, json_t *take_args)
{
    g_autoptr(json_t) args = take_args;
    const QmpCommand *c = qmp_command_find(name);
    HmpRun *r;
    QmpPending *p = hmp_later(h, &r, false);
    Error *err = NULL;

    if (!qmp_command_run(c, NULL, qmp_server_state(h->server), args, p, NULL, &err)) {
        qmp_pending_done(p, err);
    }
    hmp_later_started(h, r);
}

json_t *hmp_args_of(const char *key, ...)
{
    json_t *o = json_object();
    va_list ap;

    va_start(ap, key);
    for (; key != NULL; key = va_arg(ap, const char *)) {
        const char *text = va_arg(ap, const char *);

        if (text != NULL) {
            json_object_set_new(o, key, json_string(text));
        }
    }
    va_end(ap);
    return o;
}

const char *hmp_json_str(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    return text != NULL ? text : "";
}

uint64_t hmp_json_num(const json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    uint64_t big;

    return json_big(v, &big) ? big : (uint64_t)json_integer_value(v);
}

bool hmp_json_true(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

void hmp_print_size(Hmp *h, uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double n = bytes;
    unsigned i = 0;

    while (n >= 1000 && i < G_N_ELEMENTS(units) - 1) {
        n /= 1024;
        i++;
    }
    hmp_printf(h, "%.3g %s", n, units[i]);
}

/* --- one line --- */

static bool line_register(void *arg, const char *name, uint64_t *value)
{
    Hmp *h = arg;
    X86Regs r;

    return hmp_try_regs(h, &r) && hmp_register(&r, name, value);
}

/* Says that there is no command @name, @n bytes of it, which the user gave in @typed_len bytes at @typed. */
static void unknown(Hmp *h, bool of_info, const char *name, size_t n, const char *typed, size_t typed_len)
{
    const char *why = hmp_absent(of_info, name, n);

    if (why != NULL) {
        hmp_printf(h, "Error: %s%.*s is not supported: %s\n", of_info ? "info " : "", (int)n, name, why);
    } else {
        hmp_printf(h, "unknown command: '%.*s'\n", (int)typed_len, typed);
    }
}

/* The length of the command's name at the beginning of @text: to a blank or a format. */
static size_t name_length(const char *text)
{
    return strcspn(text, " \t/");
}

/* Runs @c with the arguments @text; @typed is how the user named it. */
static void run_command(Hmp *h, const HmpCommand *c, const char *text, const char *prefix, const char *typed,
                        size_t typed_len)
{
    HmpArgsContext context = { .format = h->state->format, .reg = line_register, .arg = h };
    HmpArgs args;
    Error *err = NULL;

    if (!hmp_command_allowed(c)) {
        hmp_printf(h, "Command '%s%.*s' not available until machine initialization has completed.\n", prefix,
                   (int)typed_len, typed);
        return;
    }
    if (!hmp_args_read(c->name, c->args, text, &context, &args, &err)) {
        hmp_printf(h, "%s\nTry \"help %s%.*s\" for more information\n", error_text(err), prefix,
                   (int)typed_len, typed);
        error_free(err);
        return;
    }
    if (args.format.size != 0) {
        h->state->format = args.format;
    }
    c->run(h, &args);
    hmp_args_clear(&args);
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

static void run_line(Hmp *h, const char *line)
{
    const char *text = skip_blanks(line);
    size_t n = name_length(text);

    if (*text == '\0') {
        return;
    }
    if (!g_utf8_validate(line, -1, NULL)) {
        hmp_printf(h, "the line is not valid UTF-8\n");
        return;
    }
    const HmpCommand *c = hmp_command_find(hmp_commands, text, n);
    const char *rest = skip_blanks(text + n);
    if (c == NULL) {
        unknown(h, false, text, n, text, strcspn(text, " \t"));
    } else if (strcmp(c->name, "info") != 0 || *rest == '\0') {
        run_command(h, c, text + n, "", text, n);
    } else {
        n = name_length(rest);
        c = hmp_command_find(hmp_info_commands, rest, n);
        if (c == NULL) {
            unknown(h, true, rest, n, text, (rest - text) + strcspn(rest, " \t"));
        } else {
            run_command(h, c, rest + n, "info ", rest, n);
        }
    }
}

HmpRun *hmp_run(QmpServer *server, HmpState *state, const char *line,
                void (*done)(void *arg, const char *output), void *arg)
{
    HmpRun *r = g_new0(HmpRun, 1);

    assert_control();
    r->h = (Hmp){ .server = server, .state = state, .out = g_string_new(NULL), .run = r };
    r->done = done;
    r->arg = arg;
    TRACE(hmp_command, "%s", line);
    run_line(&r->h, line);
    if (r->later) {
        return r;
    }
    run_done(r);
    return NULL;
}

void hmp_run_forget(HmpRun *r)
{
    r->done = NULL;
}

/* --- sessions: output --- */

size_t hmp_session_waiting(const HmpSession *s)
{
    return s->out->len - s->sent;
}

static void flush(HmpSession *s)
{
    while (s->open && hmp_session_waiting(s)) {
        size_t n = s->stream->send(s->arg, s->out->str + s->sent, hmp_session_waiting(s));

        s->sent += n;
        if (n == 0) {
            break;
        }
    }
    if (s->sent == s->out->len || s->sent > QMP_OUT_PAUSE) {
        g_string_erase(s->out, 0, s->sent);
        s->sent = 0;
    }
    if (s->out->len == 0 && s->out->allocated_len > QMP_OUT_PAUSE) {
        g_string_free(s->out, TRUE);
        s->out = g_string_new(NULL);
    }
}

static void put(void *arg, const char *text, size_t n)
{
    HmpSession *s = arg;

    g_string_append_len(s->out, text, n);
}

/* A line's output: ends of lines as terminals want them. */
static void put_lines(HmpSession *s, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        put(s, text, n);
        text += n;
        if (*text == '\n') {
            put(s, "\r\n", 2);
            text++;
        }
    }
}

static void greet(HmpSession *s)
{
    static const char banner[] =
        "QEMU 7.2.0 (Rhea " RHEA_VERSION ") monitor - type 'help' for more information\r\n";

    if (!s->greeted) {
        s->greeted = true;
        put(s, banner, strlen(banner));
    }
    if (!s->running) {
        readline_show(s->readline);
    }
    flush(s);
}

/* --- sessions: input --- */

static void line_done(void *arg, const char *output)
{
    HmpSession *s = arg;

    s->running = false;
    s->run = NULL;
    if (s->dead || !s->open) {
        return;
    }
    put_lines(s, output);
    if (s->focused && !s->state->quits) {
        readline_show(s->readline);
    }
    flush(s);
    if (!s->busy) {
        hmp_session_room(s);
    }
}

static void on_line(void *arg, const char *line)
{
    HmpSession *s = arg;

    s->running = true;
    flush(s);
    HmpRun *r = hmp_run(s->server, s->state, line, line_done, s);
    if (s->running) {
        s->run = r;
    }
}

static size_t on_complete(void *arg, const char *text, GPtrArray *words)
{
    HmpSession *s = arg;

    return hmp_complete(s->server, text, words);
}

static const ReadlineOps line_ops = { .print = put, .line = on_line, .complete = on_complete };

static bool can_read(const HmpSession *s)
{
    return s->open && !s->running && !s->dead && !qmp_server_ending(s->server) &&
           hmp_session_waiting(s) <= QMP_OUT_PAUSE;
}

static void session_destroy(HmpSession *s)
{
    readline_free(s->readline);
    hmp_state_free(s->state);
    g_byte_array_free(s->inbox, TRUE);
    g_string_free(s->out, TRUE);
    g_free(s);
}

/* Reads what is in the inbox as far as invariant 2 allows, then asks for more.  May free @s. */
static void process(HmpSession *s, bool ask)
{
    unsigned used = 0;

    if (s->busy) {
        return;
    }
    s->busy = true;
    while (can_read(s) && used < s->inbox->len) {
        readline_byte(s->readline, s->inbox->data[used++]);
    }
    g_byte_array_remove_range(s->inbox, 0, MIN(used, s->inbox->len));
    flush(s);
    s->busy = false;
    if (s->dead) {
        session_destroy(s);
    } else if (ask && can_read(s) && s->stream->more) {
        s->stream->more(s->arg);
    }
}

bool hmp_session_busy(const HmpSession *s)
{
    return s->open && (s->running || s->inbox->len || hmp_session_waiting(s));
}

size_t hmp_session_space(const HmpSession *s)
{
    return can_read(s) && s->inbox->len < HMP_IN_MAX ? HMP_IN_MAX - s->inbox->len : 0;
}

void hmp_session_bytes(HmpSession *s, const char *buf, size_t n)
{
    assert_control();
    g_byte_array_append(s->inbox, (const uint8_t *)buf, MIN(n, hmp_session_space(s)));
    process(s, false);
}

void hmp_session_room(HmpSession *s)
{
    assert_control();
    flush(s);
    process(s, true);
}

/* --- sessions: life --- */

HmpSession *hmp_session_new(QmpServer *server, const QmpStream *stream, void *arg, bool focus)
{
    HmpSession *s = g_new0(HmpSession, 1);

    assert_control();
    hmp_disas_load();
    s->server = server;
    s->stream = stream;
    s->arg = arg;
    s->needs_focus = focus;
    s->focused = !focus;
    s->readline = readline_new(&line_ops, s, PROMPT);
    s->state = hmp_state_new();
    s->state->readline = s->readline;
    s->inbox = g_byte_array_new();
    s->out = g_string_new(NULL);
    return s;
}

void hmp_session_close(HmpSession *s)
{
    assert_control();
    s->open = s->greeted = false;
    g_byte_array_set_size(s->inbox, 0);
    g_string_truncate(s->out, 0);
    s->sent = 0;
    readline_reset(s->readline);
    if (s->run != NULL) {
        hmp_run_forget(s->run);
        s->run = NULL;
        s->running = false;
    }
}

void hmp_session_free(HmpSession *s)
{
    if (s == NULL) {
        return;
    }
    hmp_session_close(s);
    if (s->busy) {
        s->dead = true;
    } else {
        session_destroy(s);
    }
}

void hmp_session_open(HmpSession *s)
{
    hmp_session_close(s);
    s->open = true;
    if (s->focused) {
        greet(s);
    }
}

void hmp_session_focus(HmpSession *s, bool in)
{
    if (!s->needs_focus || in == s->focused) {
        return;
    }
    s->focused = in;
    if (!s->open) {
        return;
    }
    if (in) {
        greet(s);
    } else {
        put(s, "\r\n", 2);
        flush(s);
    }
}
