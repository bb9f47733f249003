/* device-help.c: what -device help and -device TYPE,help say, from the catalogue's tables. */
#include <inttypes.h>
#include <string.h>
#include "core/device.h"

/* Where it is listed: a compound is what is in it. */
static const char *category_of(const DeviceType *t)
{
    t = t->category == NULL && t->inner != NULL ? t->inner : t;
    return t->category != NULL ? t->category : "Misc";
}

static int by_category(const void *a, const void *b)
{
    const DeviceType *x = *(const DeviceType *const *)a, *y = *(const DeviceType *const *)b;
    int c = strcmp(category_of(x), category_of(y));

    return c != 0 ? c : strcmp(x->name, y->name);
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
        g_string_append_printf(out, "name \"%s\", bus %s, desc \"%s\"\n", t->name, t->slot->name,
                               t->inner != NULL ? t->inner->summary : t->summary);
    }
    return out;
}

/* The default as the help shows it; NULL: none worth telling. */
static char *default_text(const PropDesc *p)
{
    switch (p->kind) {
    case PROP_KIND_BOOL:
        return g_strdup(p->def ? "on" : "off");
    case PROP_KIND_ENUM:
        return g_strdup(p->names[p->def]);
    case PROP_KIND_STR:
        return g_strdup(p->def_str);
    case PROP_KIND_LINK:
    case PROP_KIND_MAC:
        return NULL;
    case PROP_KIND_I32:
        return g_strdup_printf("%" PRIi64, (int64_t)p->def);
    default:
        return g_strdup_printf("%" PRIu64, p->def);
    }
}

static void put_props(GString *out, const PropDesc *props)
{
    for (const PropDesc *p = props; p != NULL && p->name != NULL; p++) {
        g_autofree char *head = NULL, *dflt = NULL;
        if (p->flags & PROP_COMPAT) {
            continue;
        }
        head = g_strdup_printf("%s=<%s>", p->name, prop_kind_name(p));
        dflt = default_text(p);
        g_string_append_printf(out, "  %-22s - %s%s%s%s\n", head, p->help, dflt != NULL ? " (default: " : "",
               dflt != NULL ? dflt : "", dflt != NULL ? ")" : "");
    }
}

GString *device_help_type(const DeviceType *t)
{
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "%s options:\n", t->name);
    for (; t != NULL; t = t->inner) {
        put_props(out, t->props);
        put_props(out, t->slot->props);
    }
    return out;
}

