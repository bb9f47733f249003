/* introspect.c: describes the schema to QMP clients, straight from the tables.
 *
 * 1. Type names other than of predefined types are numbers: clients must not depend on them.
 * 2. Only what commands and events reach is told. */
#include "qapi/command.h"

#include <string.h>
#include "qapi/event.h"
#include "qapi/tables.h"
#include "qapi/types.h"

typedef struct Walk {
    GString *out;
    GArray *queue;             /* types to describe, in order of first mention */
    uint8_t *seen;
} Walk;

static const char *text(uint32_t off)
{
    return qapi_text + off;
}

/* All integers look alike to a client, and so do lists of them: the first stands for all. */
static unsigned plain(unsigned type)
{
    unsigned kind = qapi_types[type].kind;

    if (kind == QAPI_LIST) {
        unsigned elem = plain(qapi_types[type].elem), first = 0;

        while (qapi_types[first].kind != QAPI_LIST || plain(qapi_types[first].elem) != elem) {
            first++;
        }
        return first;
    }
    return kind == QAPI_INT || kind == QAPI_UINT || kind == QAPI_SIZE ? QAPI_T_INT : type;
}

static void mention(Walk *w, unsigned type)
{
    type = plain(type);
    if (!w->seen[type]) {
        w->seen[type] = 1;
        g_array_append_val(w->queue, type);
    }
}

/* The name a client sees; the array of N is "[N]". */
static void type_name(Walk *w, unsigned type, GString *name)
{
    const QapiType *t = &qapi_types[plain(type)];

    if (t->kind == QAPI_LIST) {
        g_string_append_c(name, '[');
        type_name(w, t->elem, name);
        g_string_append_c(name, ']');
    } else if (t->kind < QAPI_ENUM) {
        g_string_append(name, text(t->name));
    } else {
        g_string_append_printf(name, "%u", type);
    }
}

static void put_type(Walk *w, const char *key, unsigned type)
{
    g_autoptr(GString) name = g_string_new(NULL);

    mention(w, type);
    type_name(w, type, name);
    json_write_key(w->out, key);
    json_write_str(w->out, name->str);
}

static void put(Walk *w, const char *key, const char *value)
{
    json_write_key(w->out, key);
    json_write_str(w->out, value);
}

static void put_features(Walk *w, const char *const *features)
{
    if (!features) {
        return;
    }
    json_write_key(w->out, "features");
    g_string_append_c(w->out, '[');
    for (; *features; features++) {
        json_write_item(w->out);
        json_write_str(w->out, *features);
    }
    g_string_append_c(w->out, ']');
}

static void put_enum(Walk *w, const QapiType *t)
{
    put(w, "meta-type", "enum");
    json_write_key(w->out, "members");
    g_string_append_c(w->out, '[');
    for (unsigned i = 0; i < t->count; i++) {
        json_write_item(w->out);
        g_string_append_c(w->out, '{');
        put(w, "name", text(qapi_values[t->first + i].name));
        g_string_append_c(w->out, '}');
    }
    g_string_append(w->out, "]");
    json_write_key(w->out, "values");
    g_string_append_c(w->out, '[');
    for (unsigned i = 0; i < t->count; i++) {
        json_write_item(w->out);
        json_write_str(w->out, text(qapi_values[t->first + i].name));
    }
    g_string_append_c(w->out, ']');
}

static void put_variants(Walk *w, const QapiType *t)
{
    const QapiType *tag = &qapi_types[t->elem];

    put(w, "tag", text(qapi_members[t->first + t->tag].name));
    json_write_key(w->out, "variants");
    g_string_append_c(w->out, '[');
    for (unsigned v = 0; v < tag->count; v++) {
        unsigned more = qapi_cases[t->cases + v];

        json_write_item(w->out);
        g_string_append_c(w->out, '{');
        put(w, "case", text(qapi_values[tag->first + v].name));
        if (more) {
            put_type(w, "type", more);
        } else {
            put(w, "type", "0");
        }
        g_string_append_c(w->out, '}');
    }
    g_string_append_c(w->out, ']');
}

static void put_members(Walk *w, const QapiType *t)
{
    bool alternate = t->kind == QAPI_ALTERNATE;

    put(w, "meta-type", alternate ? "alternate" : "object");
    json_write_key(w->out, "members");
    g_string_append_c(w->out, '[');
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        json_write_item(w->out);
        g_string_append_c(w->out, '{');
        if (!alternate) {
            put(w, "name", text(m->name));
        }
        put_type(w, "type", m->type);
        if (m->flags & QAPI_OPTIONAL) {
            json_write_key(w->out, "default");
            g_string_append(w->out, "null");
        }
        g_string_append_c(w->out, '}');
    }
    g_string_append_c(w->out, ']');
    if (t->kind == QAPI_UNION) {
        put_variants(w, t);
    }
}

static void put_builtin(Walk *w, const QapiType *t)
{
    static const char *const json_types[] = {
        [QAPI_BOOL] = "boolean", [QAPI_INT] = "int", [QAPI_UINT] = "int", [QAPI_SIZE] = "int",
        [QAPI_NUMBER] = "number", [QAPI_STR] = "string", [QAPI_ANY] = "value", [QAPI_NULL] = "null",
    };

    put(w, "meta-type", "builtin");
    put(w, "json-type", json_types[t->kind]);
}

static void put_definition(Walk *w, unsigned type)
{
    const QapiType *t = &qapi_types[type];
    g_autoptr(GString) name = g_string_new(NULL);

    type_name(w, type, name);
    json_write_item(w->out);
    g_string_append_c(w->out, '{');
    put(w, "name", name->str);
    if (t->kind == QAPI_LIST) {
        put(w, "meta-type", "array");
        put_type(w, "element-type", t->elem);
    } else if (t->kind == QAPI_ENUM) {
        put_enum(w, t);
    } else if (t->kind < QAPI_ENUM) {
        put_builtin(w, t);
    } else {
        put_members(w, t);
    }
    g_string_append_c(w->out, '}');
}

static void put_call(Walk *w, const char *name, const char *meta, unsigned args)
{
    json_write_item(w->out);
    g_string_append_c(w->out, '{');
    put(w, "name", name);
    put(w, "meta-type", meta);
    if (args) {
        put_type(w, "arg-type", args);
    } else {
        put(w, "arg-type", "0");
    }
}

void qapi_introspect_schema(GString *out)
{
    Walk w = { .out = out, .queue = g_array_new(FALSE, FALSE, sizeof(unsigned)),
               .seen = g_new0(uint8_t, qapi_types_count) };

    g_string_append_c(out, '[');
    for (unsigned i = 0; i < qmp_commands_count; i++) {
        const QmpCommand *c = &qmp_commands[i];

        put_call(&w, c->name, "command", c->args);
        if (c->ret) {
            put_type(&w, "ret-type", c->ret);
        } else {
            put(&w, "ret-type", "0");
        }
        json_write_key(out, "allow-oob");
        g_string_append(out, c->flags & QMP_OOB ? "true" : "false");
        put_features(&w, c->features);
        g_string_append_c(out, '}');
    }
    for (unsigned i = 0; i < qapi_events_count; i++) {
        put_call(&w, qapi_events[i].name, "event", qapi_events[i].args);
        g_string_append_c(out, '}');
    }
    for (unsigned i = 0; i < w.queue->len; i++) {
        put_definition(&w, g_array_index(w.queue, unsigned, i));
    }
    json_write_item(out);                  /* the object without members */
    g_string_append(out, "{\"name\": \"0\", \"meta-type\": \"object\", \"members\": []}]");
    g_array_free(w.queue, TRUE);
    g_free(w.seen);
}

void qapi_introspect_commands(GString *out)
{
    g_string_append_c(out, '[');
    for (unsigned i = 0; i < qmp_commands_count; i++) {
        json_write_item(out);
        g_string_append_c(out, '{');
        json_write_key(out, "name");
        json_write_str(out, qmp_commands[i].name);
        g_string_append_c(out, '}');
    }
    g_string_append_c(out, ']');
}

/* --- command-line options --- */

static void put_parameters(Walk *w, const QapiType *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];
        unsigned kind = qapi_types[m->type].kind;

        json_write_item(w->out);
        g_string_append_c(w->out, '{');
        put(w, "name", text(m->name));
        put(w, "type", kind == QAPI_BOOL ? "boolean" : kind == QAPI_SIZE ? "size"
            : kind == QAPI_INT || kind == QAPI_UINT || kind == QAPI_NUMBER ? "number" : "string");
        put(w, "help", text(m->doc));
        if (m->flags & QAPI_DEFAULT) {
            put(w, "default", text(m->dflt));
        }
        g_string_append_c(w->out, '}');
    }
}

static void put_option(Walk *w, const QapiOption *o)
{
    const QapiType *t = &qapi_types[o->arg];

    json_write_item(w->out);
    g_string_append_c(w->out, '{');
    put(w, "option", text(o->group));
    json_write_key(w->out, "parameters");
    g_string_append_c(w->out, '[');
    put_parameters(w, t);
    for (unsigned v = 0; t->kind == QAPI_UNION && v < qapi_types[t->elem].count; v++) {
        if (qapi_cases[t->cases + v]) {
            put_parameters(w, &qapi_types[qapi_cases[t->cases + v]]);
        }
    }
    g_string_append(w->out, "]}");
}

bool qapi_introspect_options(const char *only, GString *out, Error **errp)
{
    Walk w = { .out = out };
    bool found = !only;

    g_string_append_c(out, '[');
    for (unsigned i = 0; i < qapi_options_count; i++) {
        if (!only || strcmp(only, text(qapi_options[i].group)) == 0) {
            put_option(&w, &qapi_options[i]);
            found = true;
        }
    }
    g_string_append_c(out, ']');
    return found || error_set(errp, "invalid option name: %s", only);
}
