/* hmp-complete.c: what could stand at the end of a line: commands, sub-commands, and arguments by their type.
 *
 *   type  D device model, then its properties    I id of a device       O type of object    V id of an object
 *         B disk      C character device         F file                 P object path       T trace event
 *         c command */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include "monitor/hmp-int.h"
#include "qapi/types.h"
#include "util/trace.h"

#define WORDS_MAX 4096u

typedef struct Words {
    Hmp *h;
    const char *typed;         /* what the words begin with */
    const char *before, *after;        /* what to put around each */
    GPtrArray *to;
} Words;

static void offer(Words *w, const char *word)
{
    if (w->to->len < WORDS_MAX && word != NULL && *word != '\0' && g_str_has_prefix(word, w->typed)) {
        g_ptr_array_add(w->to, g_strdup_printf("%s%s%s", w->before, word, w->after));
    }
}

static void offer_name(const char *word, void *arg)
{
    offer(arg, word);
}

/* Member @key of each row that QMP query @name returns. */
static void offer_rows(Words *w, const char *name, const char *key)
{
    g_autoptr(json_t) list = hmp_try(w->h, name, NULL, NULL);
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        offer(w, hmp_json_str(row, key));
    }
}

static void offer_commands(Words *w, const HmpCommand *table)
{
    for (; table->name != NULL; table++) {
        if (hmp_command_there(table)) {
            g_auto(GStrv) names = g_strsplit(table->name, "|", -1);

            for (unsigned i = 0; names[i] != NULL; i++) {
                offer(w, names[i]);
            }
        }
    }
}

/* --- devices --- */

static void offer_device_id(Device *d, void *arg)
{
    if (d->user_made) {
        offer(arg, d->id);
    }
}

static void offer_props(Words *w, const DeviceType *t)
{
    w->after = "=";
    offer(w, "id");
    if (t->slot != &board_slot) {
        offer(w, "bus");
    }
    for (; t != NULL; t = t->inner) {
        const PropDesc *const tables[] = { t->props, t->slot->props };

        for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
            for (const PropDesc *p = tables[i]; p != NULL && p->name != NULL; p++) {
                if (!(p->flags & PROP_COMPAT)) {
                    offer(w, p->name);
                }
            }
        }
    }
}

static void offer_bus(Device *d, void *arg)
{
    for (const Bus *b = d->bus_first; b != NULL; b = b->next) {
        offer(arg, b->name);
    }
}

static void offer_link(Words *w, const char *link_class)
{
    if (strcmp(link_class, "chardev") == 0) {
        offer_rows(w, "query-chardev", "label");
    } else if (strcmp(link_class, "blockdev") == 0) {
        offer_rows(w, "query-block", "device");
        offer_rows(w, "query-named-block-nodes", "node-name");
    } else {
        g_autoptr(json_t) list = hmp_try(w->h, "qom-list", hmp_args_of("path", "/objects", NULL), NULL);
        json_t *row;
        size_t i;

        json_array_foreach(list, i, row) {
            if (g_str_has_prefix(hmp_json_str(row, "type"), "child<")) {
                offer(w, hmp_json_str(row, "name"));
            }
        }
    }
}

static void offer_value(Words *w, const DeviceType *t, const char *prop)
{
    int owner;
    const PropDesc *p = device_type_prop(t, prop, &owner);

    if (strcmp(prop, "bus") == 0) {
        device_walk(machine()->root, false, offer_bus, w);
    } else if (p != NULL && p->kind == PROP_KIND_BOOL) {
        offer(w, "on");
        offer(w, "off");
    } else if (p != NULL && p->kind == PROP_KIND_ENUM) {
        for (unsigned i = 0; p->names[i] != NULL; i++) {
            offer(w, p->names[i]);
        }
    } else if (p != NULL && p->kind == PROP_KIND_LINK) {
        offer_link(w, p->link_class);
    }
}

/* "MODEL,prop=value,prop=...": @w->typed is all of it; the words replace the last part. */
static void offer_device(Words *w)
{
    const char *comma = strrchr(w->typed, ','), *equals;
    g_autofree char *model = g_strndup(w->typed, strcspn(w->typed, ","));
    const DeviceType *t = device_type_find(model);

    if (comma == NULL) {
        for (const DeviceType *const *all = device_types(); *all != NULL; all++) {
            if (!((*all)->flags & DEV_INTERNAL)) {
                offer(w, (*all)->name);
            }
        }
        return;
    }
    if (t == NULL) {
        return;
    }
    equals = strchr(comma, '=');
    const char *last = equals != NULL ? equals : comma;
    g_autofree char *before = g_strndup(w->typed, last + 1 - w->typed);
    w->before = before;
    w->typed = last + 1;
    if (equals == NULL) {
        offer_props(w, t);
    } else {
        g_autofree char *prop = g_strndup(comma + 1, equals - comma - 1);

        offer_value(w, t, prop);
    }
    w->before = "";
}

/* --- objects, files --- */

static void offer_object_types(Words *w)
{
    for (unsigned i = 0; i < OBJECT_CONFIG_QOM_TYPE_COUNT; i++) {
        offer(w, qapi_enum_name(QAPI_T_OBJECT_CONFIG_QOM_TYPE, i));
    }
}

static void offer_paths(Words *w)
{
    const char *slash = strrchr(w->typed, '/');
    g_autofree char *parent = slash == NULL || slash == w->typed ? g_strdup("/")
                                                                 : g_strndup(w->typed, slash - w->typed);
    g_autoptr(json_t) list = hmp_try(w->h, "qom-list", hmp_args_of("path", parent, NULL), NULL);
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row) {
        if (g_str_has_prefix(hmp_json_str(row, "type"), "child<")) {
            g_autofree char *path = g_strdup_printf("%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
                                                    hmp_json_str(row, "name"));

            offer(w, path);
        }
    }
}

static void offer_files(Words *w)
{
    const char *slash = strrchr(w->typed, '/');
    g_autofree char *folder = slash != NULL ? g_strndup(w->typed, slash + 1 - w->typed) : g_strdup("");
    DIR *dir = opendir(*folder != '\0' ? folder : ".");
    struct dirent *e;

    for (unsigned n = 0; dir != NULL && n < WORDS_MAX && (e = readdir(dir)) != NULL; n++) {
        g_autofree char *path = g_strconcat(folder, e->d_name, NULL);
        struct stat st;

        if (e->d_name[0] == '.' && (slash == NULL ? w->typed : slash + 1)[0] != '.') {
            continue;
        }
        w->after = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? "/" : "";
        if (g_utf8_validate(path, -1, NULL)) {
            offer(w, path);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    w->after = "";
}

/* --- by type --- */

static void offer_trace(const char *name, bool on, void *arg)
{
    offer(arg, name);
}

static void offer_register(const char *name, void *arg)
{
    g_autofree char *text = g_strconcat("$", name, NULL);

    offer(arg, text);
}

static void offer_type(Words *w, char type)
{
    switch (type) {
    case 'D':
        offer_device(w);
        break;
    case 'I':
        device_walk(machine()->root, false, offer_device_id, w);
        break;
    case 'B':
        offer_rows(w, "query-block", "device");
        offer_rows(w, "query-block", "qdev");
        break;
    case 'C':
        offer_rows(w, "query-chardev", "label");
        break;
    case 'O':
        offer_object_types(w);
        break;
    case 'V':
        offer_link(w, "");
        break;
    case 'P':
        offer_paths(w);
        break;
    case 'F':
        offer_files(w);
        break;
    case 'T':
        trace_each(offer_trace, w);
        break;
    case 'b':
        offer_name("on", w);
        offer_name("off", w);
        break;
    case 'i':
        hmp_each_register(offer_register, w);
        break;
    case 'c':
        offer_commands(w, hmp_commands);
        break;
    default:
        break;
    }
}

/* The words of @text; the last one is what is being typed, and may be empty. */
static char **split_words(const char *text)
{
    GPtrArray *words = g_ptr_array_new();

    for (;;) {
        text += strspn(text, " \t");
        size_t n = strcspn(text, " \t");

        g_ptr_array_add(words, g_strndup(text, n));
        text += n;
        if (*text == '\0') {
            break;
        }
    }
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}

static size_t command_length(const char *word)
{
    return strcspn(word, "/");
}

size_t hmp_complete(QmpServer *server, const char *text, GPtrArray *words)
{
    g_auto(GStrv) word = split_words(text);
    unsigned count = g_strv_length(word), at = 0;
    g_autoptr(GString) out = g_string_new(NULL);
    HmpState state = { 0 };
    Hmp h = { .server = server, .state = &state, .out = out };
    Words w = { .h = &h, .typed = word[count - 1], .before = "", .after = "", .to = words };
    size_t typed = strlen(w.typed);
    const HmpCommand *table = hmp_commands, *c;
    bool help = false;

    if (machine() == NULL || !g_utf8_validate(text, -1, NULL)) {
        return 0;
    }
    for (;; at++) {
        if (at == count - 1) {
            offer_commands(&w, table);
            return typed;
        }
        c = hmp_command_find(table, word[at], command_length(word[at]));
        if (c == NULL) {
            return 0;
        }
        bool is_help = table == hmp_commands && strcmp(c->name, "help|?") == 0 && !help;
        help |= is_help;
        if (table == hmp_commands && strcmp(c->name, "info") == 0) {
            table = hmp_info_commands;
        } else if (!is_help) {
            break;
        }
    }
    if (help) {
        return 0;
    }
    unsigned index = 0;
    for (unsigned i = at + 1; i < count - 1; i++) {
        index += word[i][0] != '-';
    }
    offer_type(&w, hmp_args_type(c->args, index));
    return typed;
}
