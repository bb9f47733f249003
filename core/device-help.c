/* device-help.c: what -device help and -device TYPE,help say, from the catalogue's tables. */
#include <inttypes.h>
#include <string.h>
#include "core/device.h"

/* Where it is listed: a compound is what is in it. */
static const char *category_of(const DeviceType *t)
{
    t = t->category == NULL && t->inner != NULL ? t->inner : t;
    return t->category == NULL ? "Misc"
           : strcmp(t->category, "Bridge") == 0 ? "Controller/Bridge/Hub" : t->category;
}

static int by_category(const void *a, const void *b)
{
    const DeviceType *x = *(const DeviceType *const *)a, *y = *(const DeviceType *const *)b;
    int c = strcmp(category_of(x), category_of(y));

    return c != 0 ? c : strcmp(x->name, y->name);
}

static void put_type(GString *out, const DeviceType *t)
{
    g_string_append_printf(out, "name \"%s%s\"", t->name, t->slot->suffix != NULL ? t->slot->suffix : "");
    if (!t->slot->no_bus) {
        g_string_append_printf(out, ", bus %s", slot_bus_name(t->slot));
    }
    if (t->alias != NULL) {
        g_string_append_printf(out, ", alias \"%s\"", t->alias);
    }
    g_string_append_printf(out, ", desc \"%s\"\n", t->inner != NULL ? t->inner->summary : t->summary);
}

GString *device_help_all(void)
{
    GString *out = g_string_new(NULL);
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    const char *category = NULL;

    for (const DeviceType *const *t = device_types(); *t != NULL; t++) {
        if (!((*t)->flags & DEV_INTERNAL)) {
            g_ptr_array_add(list, (gpointer)*t);
        }
    }
    g_ptr_array_sort(list, by_category);
    for (unsigned i = 0; i < list->len; i++) {
        const DeviceType *t = g_ptr_array_index(list, i);
        const char *heading = category_of(t);
        if (g_strcmp0(heading, category) != 0) {
            g_string_append_printf(out, "%s%s devices:\n", category != NULL ? "\n" : "", heading);
            category = heading;
        }
        put_type(out, t);
    }
    return out;
}

/* The default as the help shows it; NULL: none worth telling. */
static char *default_text(const PropDesc *p)
{
    switch (p->kind) {
    case PROP_KIND_BOOL:
        return g_strdup(p->def ? "true" : "false");
    case PROP_KIND_ENUM:
        return g_strdup_printf("\"%s\"", p->names[p->def]);
    case PROP_KIND_STR:
        return p->def_str != NULL ? g_strdup_printf("\"%s\"", p->def_str) : NULL;
    case PROP_KIND_LINK:
    case PROP_KIND_MAC:
        return NULL;
    case PROP_KIND_I32:
        return g_strdup_printf("%" PRIi64, (int64_t)p->def);
    default:
        return g_strdup_printf("%" PRIu64, p->def);
    }
}

static void add_props(GPtrArray *lines, const PropDesc *props)
{
    for (const PropDesc *p = props; p != NULL && p->name != NULL; p++) {
        g_autofree char *head = NULL, *dflt = NULL;
        if (p->flags & PROP_COMPAT) {
            continue;
        }
        head = g_strdup_printf("%s=<%s>", p->name, prop_kind_name(p));
        dflt = default_text(p);
        bool told = dflt != NULL;
        g_ptr_array_add(lines, g_strdup_printf("  %-22s - %s%s%s%s\n", head, p->help,
                                               told ? " (default: " : "", told ? dflt : "", told ? ")" : ""));
    }
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GString *device_help_type(const DeviceType *t)
{
    GString *out = g_string_new(NULL);
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    g_string_append_printf(out, "%s%s options:\n", t->name, t->slot->suffix != NULL ? t->slot->suffix : "");
    for (; t != NULL; t = t->inner) {
        add_props(lines, t->props);
        add_props(lines, t->slot->props);
    }
    g_ptr_array_sort(lines, by_text);
    for (unsigned i = 0; i < lines->len; i++) {
        g_string_append(out, g_ptr_array_index(lines, i));
    }
    return out;
}
