/* qmp.c: QMP sessions: negotiation, commands, replies, events.
 *
 *   closed --open--> negotiating --qmp_capabilities--> commands --close--> closed
 *
 * 1. One command of a session is in flight at a time; replies come in the order of the commands.
 * 2. Nothing waits: what the stream does not take is queued, and commands are read only while
 *    little is queued, no deferred reply is due and the session is not already running one.
 * 3. Memory for a session is bounded by JSON_MAX_BYTES and _VALUES in, and by QMP_OUT_PAUSE plus
 *    one reply, QMP_OUT_EVENTS and QMP_LATE_MAX events out. */
#include "monitor/qmp.h"

#include <string.h>
#include "qapi/commands.h"
#include "qapi/event.h"
#include "util/bytes.h"
#include "util/loop.h"
#include "util/trace.h"

struct QmpServer {
    unsigned (*run_state)(void *arg);
    void *arg;
    GPtrArray *sessions;
    GPtrArray *limits;         /* RateLimit */
    bool ending;               /* no command is read any more */
};

struct QmpSession {
    QmpServer *server;
    const QmpStream *stream;
    void *arg;
    bool pretty, open, negotiated;
    bool busy;                 /* process() is on the stack */
    bool dead;                 /* freed while busy */
    JsonReader *reader;
    GByteArray *inbox;         /* received, not yet read */
    GString *out;              /* waits for the stream, from @sent on */
    size_t sent;
    GQueue late;               /* QapiPosted that wait for the client to catch up */
    QmpPending *pending;
    bool oob;                  /* the client has asked for out-of-band execution */
    GQueue waiting;            /* json_t *: commands read while one is pending (out-of-band only) */
};

struct QmpPending {
    QmpSession *session;       /* NULL: gone */
    json_t *id;
    void (*done)(void *arg, const char *value, Error *take_err);   /* instead of a session */
    void *arg;
};

/* An event that was sent less than rate_ms ago. */
typedef struct RateLimit {
    Timer timer;
    QmpServer *server;
    unsigned event;
    char *key;
    QapiPosted *newest;        /* came meanwhile */
} RateLimit;

/* --- output --- */

size_t qmp_session_waiting(const QmpSession *s)
{
    return s->out->len - s->sent;
}

static void flush(QmpSession *s)
{
    while (s->open && qmp_session_waiting(s)) {
        size_t n = s->stream->send(s->arg, s->out->str + s->sent, qmp_session_waiting(s));

        s->sent += n;
        if (n == 0) {
            break;
        }
    }
    if (s->sent == s->out->len) {
        if (s->out->allocated_len > QMP_OUT_PAUSE) {
            g_string_free(s->out, TRUE);
            s->out = g_string_new(NULL);
        }
        g_string_truncate(s->out, 0);
        s->sent = 0;
    } else if (s->sent > QMP_OUT_PAUSE) {
        g_string_erase(s->out, 0, s->sent);
        s->sent = 0;
    }
}

static void new_line(GString *out, unsigned depth)
{
    g_string_append_c(out, '\n');
    for (unsigned i = 0; i < depth; i++) {
        g_string_append(out, "    ");
    }
}

/* Appends @text, which is in json.c's compact form, with a member or element a line. */
static void append_pretty(GString *out, const char *text)
{
    unsigned depth = 0;

    for (bool quoted = false; *text; text++) {
        bool close = *text == '}' || *text == ']';

        if (quoted || !strchr("{}[], ", *text)) {
            quoted ^= *text == '"';
            g_string_append_c(out, *text);
            if (quoted && *text == '\\') {
                g_string_append_c(out, *++text);
            }
        } else if (*text == ',') {
            g_string_append_c(out, ',');
            new_line(out, depth);
            text++;                        /* the blank behind it */
        } else if (*text == ' ') {
            g_string_append_c(out, ' ');
        } else if (close) {
            new_line(out, --depth);
            g_string_append_c(out, *text);
        } else {
            g_string_append_c(out, *text);
            if (text[1] == '}' || text[1] == ']') {
                g_string_append_c(out, *++text);
            } else {
                new_line(out, ++depth);
            }
        }
    }
}

static void queue_line(QmpSession *s, const char *text)
{
    if (s->pretty) {
        append_pretty(s->out, text);
    } else {
        g_string_append(s->out, text);
    }
    g_string_append(s->out, "\r\n");
}

/* Ends and sends the message whose members so far are in @line. */
static void reply_end(QmpSession *s, GString *line, const json_t *id)
{
    if (id) {
        json_write_key(line, "id");
        json_write_tree(line, id);
    }
    g_string_append_c(line, '}');
    queue_line(s, line->str);
    flush(s);
}

char *qmp_error_desc(const Error *e)
{
    const char *advice = error_advice(e);

    return advice ? g_strdelimit(g_strdup_printf("%s; %s", error_text(e), advice), "\n", ' ')
                  : g_strdup(error_text(e));
}

/* Frees @take_err. */
static void reply_error(QmpSession *s, Error *take_err, const json_t *id)
{
    g_autoptr(GString) line = g_string_new("{\"error\": {\"class\": \"");
    g_autofree char *desc = qmp_error_desc(take_err);

    TRACE(qmp_error, "%s", desc);
    g_string_append(line, error_class_name(error_class(take_err)));
    g_string_append(line, "\", \"desc\": ");
    json_write_str(line, desc);
    g_string_append_c(line, '}');
    reply_end(s, line, id);
    error_free(take_err);
}

static void greet(QmpSession *s)
{
    g_autofree char *text = g_strdup_printf(
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": %d, \"minor\": %d, \"major\": %d}, "
        "\"package\": \"Rhea %s\"}, \"capabilities\": [\"oob\"]}}", QMP_VERSION_MICRO, QMP_VERSION_MINOR,
        QMP_VERSION_MAJOR, RHEA_VERSION);

    queue_line(s, text);
    flush(s);
}

/* --- commands --- */

bool qmp_qmp_capabilities(QmpSession *s, bool has_enable, const QmpCapabilityList *enable,
                          Error **errp)
{
    if (s->negotiated) {
        return error_set_class(errp, ERROR_COMMAND_NOT_FOUND, "Capabilities negotiation is already "
                               "complete, command ignored");
    }
    s->oob = has_enable && enable->n > 0;              /* there is no other capability */
    s->negotiated = true;
    return true;
}

/* True for a message that must not wait for the command that is pending. */
static bool is_urgent(const QmpSession *s, json_t *msg)
{
    return s->oob && json_object_get(msg, "exec-oob");
}

static bool check_message(QmpSession *s, json_t *msg, const char **name, json_t **args, Error **errp)
{
    const char *key, *how = is_urgent(s, msg) ? "exec-oob" : "execute";
    json_t *v;
    json_t *execute = json_object_get(msg, how);

    *args = json_object_get(msg, "arguments");
    json_object_foreach(msg, key, v) {
        if (strcmp(key, how) == 0) {
            if (!json_is_string(v) || json_big(v, NULL)) {
                return error_set(errp, "QMP input member '%s' must be a string", how);
            }
        } else if (strcmp(key, "arguments") == 0) {
            if (!json_is_object(v)) {
                return error_set(errp, "QMP input member 'arguments' must be an object");
            }
        } else if (strcmp(key, "id") != 0) {
            return error_set(errp, "QMP input member '%s' is unexpected", key);
        }
    }
    *name = json_string_value(execute);
    return execute || error_set(errp, "QMP input lacks member 'execute'");
}

static bool command_unknown(const char *name, Error **errp)
{
    g_autofree const char **names = g_new0(const char *, qmp_commands_count + 1);

    for (unsigned i = 0; i < qmp_commands_count; i++) {
        names[i] = qmp_commands[i].name;
    }
    error_set_class(errp, ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", name);
    return error_suggest(errp, name, names);
}

/* Runs the command in @msg; appends what it returns to @line.  *@later: the reply comes later. */
static bool run_message(QmpSession *s, json_t *msg, GString *line, bool *later, Error **errp)
{
    const char *name = NULL;
    json_t *args = NULL;

    if (!check_message(s, msg, &name, &args, errp)) {
        return false;
    }
    const QmpCommand *c = qmp_command_find(name);

    if (!s->negotiated && strcmp(name, "qmp_capabilities") != 0) {
        return error_set_class(errp, ERROR_COMMAND_NOT_FOUND, "Expecting capabilities negotiation "
                               "with 'qmp_capabilities'");
    }
    if (!c) {
        return command_unknown(name, errp);
    }
    if (is_urgent(s, msg) && !(c->flags & QMP_OOB)) {
        return error_set(errp, "The command %s does not support OOB", name);
    }
    TRACE(qmp_command, "%s", name);
    if (!(c->flags & QMP_DEFERRED)) {
        return qmp_command_run(c, s, qmp_server_state(s->server), args, NULL, line, errp);
    }
    QmpPending *p = g_new0(QmpPending, 1);

    p->session = s;
    p->id = json_incref(json_object_get(msg, "id"));
    s->pending = p;
    *later = qmp_command_run(c, s, qmp_server_state(s->server), args, p, line, errp);
    if (!*later) {
        s->pending = NULL;
        json_decref(p->id);
        g_free(p);
    }
    return *later;
}

static bool can_read(const QmpSession *s)
{
    bool held = s->pending && (!s->oob || s->waiting.length >= QMP_WAITING_MAX);

    return s->open && !held && !s->dead && !s->server->ending && qmp_session_waiting(s) <= QMP_OUT_PAUSE;
}

/* Runs one message, or answers a piece of garbage. */
static void handle_message(QmpSession *s, json_t *take_value, Error *take_err)
{
    g_autoptr(json_t) msg = take_value;
    g_autoptr(GString) line = g_string_new("{\"return\": ");
    Error *err = take_err;
    bool later = false;

    if (!err && !json_is_object(msg)) {
        error_set(&err, "QMP input must be a JSON object");
    } else if (!err) {
        run_message(s, msg, line, &later, &err);
    }
    if (!s->open || s->dead) {             /* the command ended its own session */
        error_free(err);
    } else if (err) {
        reply_error(s, err, json_object_get(msg, "id"));
    } else if (!later) {
        reply_end(s, line, json_object_get(msg, "id"));
    }
}

/* One message, or a piece of garbage, from the reader.  Returns false to stop reading. */
static bool take_message(void *arg, json_t *take_value, Error *take_err)
{
    QmpSession *s = arg;

    if (!take_err && (s->pending || s->waiting.length) && !is_urgent(s, take_value)) {
        g_queue_push_tail(&s->waiting, take_value);
    } else {
        handle_message(s, take_value, take_err);
    }
    return can_read(s);
}

static void session_destroy(QmpSession *s)
{
    json_reader_free(s->reader);
    g_byte_array_free(s->inbox, TRUE);
    g_string_free(s->out, TRUE);
    g_free(s);
}

/* Reads what is in the inbox as far as invariant 2 allows, then asks for more.  May free @s. */
static void process(QmpSession *s, bool ask)
{
    if (s->busy) {
        return;
    }
    s->busy = true;
    while (can_read(s) && !s->pending && s->waiting.length) {
        handle_message(s, g_queue_pop_head(&s->waiting), NULL);
    }
    while (can_read(s) && s->inbox->len) {
        size_t used = json_reader_feed(s->reader, (char *)s->inbox->data, s->inbox->len,
                                       take_message, s);

        g_byte_array_remove_range(s->inbox, 0, MIN(used, s->inbox->len));
    }
    s->busy = false;
    if (s->dead) {
        session_destroy(s);
    } else if (ask && can_read(s) && s->stream->more) {
        s->stream->more(s->arg);
    }
}

static void pending_end(QmpPending *take_pending, const char *value, Error *take_err)
{
    QmpSession *s = take_pending->session;

    assert_control();
    if (take_pending->done) {
        take_pending->done(take_pending->arg, value, take_err);
    } else if (!s) {
        error_free(take_err);
    } else {
        s->pending = NULL;
        if (take_err) {
            reply_error(s, take_err, take_pending->id);
        } else {
            g_autoptr(GString) line = g_string_new("{\"return\": ");

            g_string_append(line, value);
            reply_end(s, line, take_pending->id);
        }
    }
    json_decref(take_pending->id);
    g_free(take_pending);
    if (s) {
        qmp_session_room(s);
    }
}

void qmp_pending_done(QmpPending *take_pending, Error *take_err)
{
    pending_end(take_pending, take_err ? NULL : "{}", take_err);
}

void qmp_pending_return(QmpPending *take_pending, const char *value)
{
    pending_end(take_pending, value, NULL);
}

QmpPending *qmp_pending_new(void (*done)(void *arg, const char *value, Error *take_err), void *arg)
{
    QmpPending *p = g_new0(QmpPending, 1);

    p->done = done;
    p->arg = arg;
    return p;
}

/* --- events --- */

/* Keeps a copy of @p until the client has caught up; the newest of a kind replaces the older. */
static void put_aside(QmpSession *s, const QapiPosted *p)
{
    for (GList *l = s->late.head; l; l = l->next) {
        QapiPosted *old = l->data;

        if (old->event == p->event && strcmp(old->key, p->key) == 0) {
            g_queue_delete_link(&s->late, l);
            qapi_posted_free(old);
            break;
        }
    }
    if (s->late.length >= QMP_LATE_MAX) {
        qapi_posted_free(g_queue_pop_head(&s->late));
    }
    QapiPosted *copy = g_new0(QapiPosted, 1);

    copy->event = p->event;
    copy->key = g_strdup(p->key);
    copy->text = g_string_new(p->text->str);
    g_queue_push_tail(&s->late, copy);
}

static void session_event(QmpSession *s, const QapiPosted *p)
{
    if (!s->open || !s->negotiated || s->dead) {
        return;
    }
    if (s->late.length || qmp_session_waiting(s) + p->text->len > QMP_OUT_EVENTS) {
        put_aside(s, p);
        return;
    }
    queue_line(s, p->text->str);
    flush(s);
}

static void send_late(QmpSession *s)
{
    while (s->late.length && qmp_session_waiting(s) <= QMP_OUT_PAUSE) {
        QapiPosted *p = g_queue_pop_head(&s->late);

        queue_line(s, p->text->str);
        flush(s);
        qapi_posted_free(p);
    }
}

static void broadcast(QmpServer *server, const QapiPosted *p)
{
    for (unsigned i = 0; i < server->sessions->len; i++) {
        session_event(g_ptr_array_index(server->sessions, i), p);
    }
}

static void limit_free(RateLimit *l)
{
    timer_stop(&l->timer);
    qapi_posted_free(l->newest);
    g_free(l->key);
    g_free(l);
}

static void limit_arm(RateLimit *l)
{
    timer_set(&l->timer, clock_now(CLOCK_HOST) + qapi_events[l->event].rate_ms * NS_PER_MS);
}

static void limit_ends(Timer *t)
{
    RateLimit *l = container_of(t, RateLimit, timer);

    if (l->newest) {
        broadcast(l->server, l->newest);
        qapi_posted_free(l->newest);
        l->newest = NULL;
        limit_arm(l);
    } else {
        g_ptr_array_remove_fast(l->server->limits, l);
        limit_free(l);
    }
}

/* The limit that holds for @p now, or NULL. */
static RateLimit *limit_find(QmpServer *server, const QapiPosted *p)
{
    for (unsigned i = 0; i < server->limits->len; i++) {
        RateLimit *l = g_ptr_array_index(server->limits, i);

        if (l->event == p->event && strcmp(l->key, p->key) == 0) {
            return l;
        }
    }
    return NULL;
}

static void server_event(void *arg, QapiPosted *take_posted)
{
    QmpServer *server = arg;
    RateLimit *l = limit_find(server, take_posted);

    TRACE(qmp_event, "%s", qapi_events[take_posted->event].name);
    if (l) {
        qapi_posted_free(l->newest);
        l->newest = take_posted;
        return;
    }
    broadcast(server, take_posted);
    if (qapi_events[take_posted->event].rate_ms) {
        l = g_new0(RateLimit, 1);
        l->server = server;
        l->event = take_posted->event;
        l->key = g_strdup(take_posted->key);
        timer_init(&l->timer, loop_control(), CLOCK_HOST, limit_ends);
        g_ptr_array_add(server->limits, l);
        limit_arm(l);
    }
    qapi_posted_free(take_posted);
}

/* --- life --- */

QmpServer *qmp_server_new(unsigned (*run_state)(void *arg), void *arg)
{
    QmpServer *server = g_new0(QmpServer, 1);

    assert_control();
    server->run_state = run_state;
    server->arg = arg;
    server->sessions = g_ptr_array_new();
    server->limits = g_ptr_array_new();
    qapi_event_set_sink(server_event, server);
    return server;
}

bool qmp_server_ending(const QmpServer *server)
{
    return server->ending;
}

unsigned qmp_server_state(const QmpServer *server)
{
    return server->run_state(server->arg);
}

void qmp_server_end(QmpServer *server)
{
    assert_control();
    server->ending = true;
}

bool qmp_server_drained(const QmpServer *server)
{
    for (unsigned i = 0; i < server->sessions->len; i++) {
        const QmpSession *s = g_ptr_array_index(server->sessions, i);

        if (s->open && (qmp_session_waiting(s) || s->late.length)) {
            return false;
        }
    }
    return true;
}

void qmp_server_free(QmpServer *server)
{
    if (!server) {
        return;
    }
    assert_control();
    qapi_event_set_sink(NULL, NULL);
    g_ptr_array_foreach(server->limits, (GFunc)(void (*)(void))limit_free, NULL);
    g_ptr_array_free(server->limits, TRUE);
    g_ptr_array_free(server->sessions, TRUE);
    g_free(server);
}

QmpSession *qmp_session_new(QmpServer *server, const QmpStream *stream, void *arg, bool pretty)
{
    QmpSession *s = g_new0(QmpSession, 1);

    assert_control();
    s->server = server;
    s->stream = stream;
    s->arg = arg;
    s->pretty = pretty;
    s->reader = json_reader_new();
    s->inbox = g_byte_array_new();
    s->out = g_string_new(NULL);
    g_queue_init(&s->late);
    g_queue_init(&s->waiting);
    g_ptr_array_add(server->sessions, s);
    return s;
}

QmpServer *qmp_session_server(const QmpSession *s)
{
    return s->server;
}

void qmp_session_close(QmpSession *s)
{
    QapiPosted *p;

    assert_control();
    s->open = false;
    s->negotiated = s->oob = false;
    while (s->waiting.length) {
        json_decref(g_queue_pop_head(&s->waiting));
    }
    json_reader_reset(s->reader);
    g_byte_array_set_size(s->inbox, 0);
    g_string_truncate(s->out, 0);
    s->sent = 0;
    while ((p = g_queue_pop_head(&s->late)) != NULL) {
        qapi_posted_free(p);
    }
    if (s->pending) {
        s->pending->session = NULL;
        s->pending = NULL;
    }
}

void qmp_session_free(QmpSession *s)
{
    if (!s) {
        return;
    }
    qmp_session_close(s);
    g_ptr_array_remove_fast(s->server->sessions, s);
    if (s->busy) {
        s->dead = true;
    } else {
        session_destroy(s);
    }
}

void qmp_session_open(QmpSession *s)
{
    qmp_session_close(s);
    s->open = true;
    greet(s);
}

size_t qmp_session_space(const QmpSession *s)
{
    return can_read(s) && s->inbox->len < QMP_IN_MAX ? QMP_IN_MAX - s->inbox->len : 0;
}

void qmp_session_bytes(QmpSession *s, const char *buf, size_t n)
{
    assert_control();
    g_byte_array_append(s->inbox, (const uint8_t *)buf, MIN(n, qmp_session_space(s)));
    process(s, false);
}

bool qmp_session_busy(const QmpSession *s)
{
    return s->open && (s->pending || s->waiting.length || s->inbox->len || qmp_session_waiting(s) ||
                       s->late.length);
}

int qmp_session_take_fd(QmpSession *s)
{
    return s->stream->take_fd ? s->stream->take_fd(s->arg) : -1;
}

void qmp_session_room(QmpSession *s)
{
    assert_control();
    flush(s);
    send_late(s);
    process(s, true);
}
