/* option.c: command-line objects: text to C structs, and their help, from the schema. */
#include "qapi/visit.h"

#include <string.h>
#include "qapi/keyval.h"
#include "qapi/tables.h"

static const char *text(uint32_t off)
{
    return qapi_text + off;
}

int qapi_option_find(const char *name)
{
    for (unsigned i = 0; i < qapi_options_count; i++) {
        if (strcmp(text(qapi_options[i].name), name) == 0) {
            return i;
        }
    }
    return -1;
}

void qapi_option_each(void (*fn)(const char *name, const char *doc, void *arg), void *arg)
{
    for (unsigned i = 0; i < qapi_options_count; i++) {
        fn(text(qapi_options[i].name), text(qapi_options[i].doc), arg);
    }
}

bool qapi_option_read(unsigned opt, const char *in, void *out, Error **errp)
{
    const QapiOption *o = &qapi_options[opt];
    bool help, was_json;
    g_autoptr(json_t) tree = keyval_parse(in, o->implied ? text(o->implied) : NULL, o->flags, &help,
                                          &was_json, errp);

    *(void **)out = NULL;
    if (!tree) {
        return false;
    }
    return help || qapi_read(o->arg, tree, was_json ? QAPI_JSON : QAPI_KEYVAL, out, errp);
}

bool qapi_option_asks_help(unsigned opt, const char *in)
{
    const QapiOption *o = &qapi_options[opt];
    const char *implied = o->implied ? text(o->implied) : NULL;
    bool help;
    g_autoptr(json_t) tree = keyval_parse(in, implied, o->flags, &help, NULL, NULL);

    return tree && help;
}

static const char *value_word(const QapiType *t)
{
    switch (t->kind) {
    case QAPI_BOOL:
        return "on|off";
    case QAPI_INT:
    case QAPI_UINT:
        return "N";
    case QAPI_SIZE:
        return "SIZE";
    case QAPI_NUMBER:
        return "NUMBER";
    case QAPI_LIST:
        return "LIST";
    default:
        return "TEXT";
    }
}

/* The same in the words of -device TYPE,help. */
static const char *type_word(const QapiType *t)
{
    switch (t->kind) {
    case QAPI_BOOL:
        return "bool";
    case QAPI_INT:
    case QAPI_UINT:
    case QAPI_SIZE:
        return "int";
    case QAPI_NUMBER:
        return "number";
    case QAPI_LIST:
        return "list";
    default:
        return "string";
    }
}

static void help_members(const QapiType *t, const char *pad, GString *out)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];
        const QapiType *mt = &qapi_types[m->type];
        g_autoptr(GString) left = g_string_new(NULL);

        g_string_append_printf(left, "%s%s=", pad, text(m->name));
        if (mt->kind == QAPI_ENUM && mt->count <= 6) {
            for (unsigned v = 0; v < mt->count; v++) {
                g_string_append_printf(left, "%s%s", v ? "|" : "",
                                       text(qapi_values[mt->first + v].name));
            }
        } else {
            g_string_append(left, value_word(mt));
        }
        g_string_append_printf(out, "%-34s  %s", left->str, text(m->doc));
        if (m->flags & QAPI_DEFAULT) {
            const char *d = text(m->dflt);

            g_string_append_printf(out, " (default: %s)", mt->kind != QAPI_BOOL ? d
                                   : strcmp(d, "true") == 0 ? "on" : "off");
        }
        g_string_append_c(out, '\n');
    }
}

void qapi_option_help(unsigned opt, GString *out)
{
    const QapiOption *o = &qapi_options[opt];
    const QapiType *t = &qapi_types[o->arg];

    g_string_append_printf(out, "-%s: %s\n", text(o->name), text(o->doc));
    help_members(t, "  ", out);
    if (t->flags & QAPI_OPEN) {
        g_string_append(out, "  and members of its own\n");
    }
    if (t->kind != QAPI_UNION) {
        return;
    }
    const QapiType *tag = &qapi_types[t->elem];

    for (unsigned v = 0; v < tag->count; v++) {
        unsigned more = qapi_cases[t->cases + v];

        g_string_append_printf(out, "%s=%s: %s\n", text(qapi_members[t->first + t->tag].name),
                               text(qapi_values[tag->first + v].name),
                               text(qapi_values[tag->first + v].doc));
        if (more) {
            help_members(&qapi_types[more], "  ", out);
        }
    }
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* @but: the one that is not listed, as an offset of its name in qapi_text, or 0. */
static void add_members(GPtrArray *lines, const QapiType *t, uint32_t but)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        if (but && strcmp(text(m->name), text(but)) == 0) {
            continue;
        }
        const char *kind = type_word(&qapi_types[m->type]);
        g_autofree char *head = g_strdup_printf("%s=<%s>", text(m->name), kind);

        g_ptr_array_add(lines, g_strdup_printf("  %-22s - %s\n", head, text(m->doc)));
    }
}

static void put_sorted(const char *name, GPtrArray *lines, GString *out)
{
    g_ptr_array_sort(lines, compare_lines);
    g_string_append_printf(out, "%s options:\n", name);
    for (unsigned i = 0; i < lines->len; i++) {
        g_string_append(out, g_ptr_array_index(lines, i));
    }
}

void qapi_option_help_members(unsigned opt, const char *name, GString *out)
{
    const QapiOption *o = &qapi_options[opt];
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    add_members(lines, &qapi_types[o->arg], o->implied);
    put_sorted(name, lines, out);
}

bool qapi_option_help_case(unsigned opt, const char *name, GString *out)
{
    const QapiType *t = &qapi_types[qapi_options[opt].arg];
    const QapiType *tag = &qapi_types[t->elem];
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    unsigned v = 0;

    while (v < tag->count && strcmp(text(qapi_values[tag->first + v].name), name) != 0) {
        v++;
    }
    if (v == tag->count) {
        return false;
    }
    if (qapi_cases[t->cases + v]) {
        add_members(lines, &qapi_types[qapi_cases[t->cases + v]], 0);
    }
    put_sorted(name, lines, out);
    return true;
}
