/* qom.c: paths, children and properties of the object tree, see qom.h.
 *
 * 1. A node is found anew for each command: nothing here outlives the device or back end it is about. */
#include "system/qom.h"

#include <string.h>
#include "chardev/char.h"
#include "system/objects.h"

static const MachineConfig *machine_config;

void qom_set_machine_config(const MachineConfig *c)
{
    machine_config = c;
}

/* --- children --- */

typedef void ChildFn(const char *name, const QomNode *child, void *arg);

typedef struct Each {
    ChildFn *fn;
    void *arg;
} Each;

static void each_object(const char *id, ObjectConfigQomType type, void *arg)
{
    Each *e = arg;

    e->fn(id, &(QomNode){ .kind = QOM_OBJECT, .id = id }, e->arg);
}

static void each_chardev(const char *label, const char *filename, bool frontend_open, void *arg)
{
    Each *e = arg;

    e->fn(label, &(QomNode){ .kind = QOM_CHARDEV, .id = label }, e->arg);
}

static void each_of_device(const Device *d, ChildFn *fn, void *arg)
{
    for (Device *c = d->child_first; c != NULL; c = c->sibling_next) {
        fn(c->id, &(QomNode){ .kind = QOM_DEVICE, .device = c }, arg);
    }
    for (Bus *b = d->bus_first; b != NULL; b = b->next) {
        fn(b->name, &(QomNode){ .kind = QOM_BUS, .bus = b }, arg);
    }
}

void qom_each_child(const QomNode *n, ChildFn *fn, void *arg)
{
    Each e = { fn, arg };

    switch (n->kind) {
    case QOM_ROOT:
        if (machine() != NULL) {
            fn("machine", &(QomNode){ .kind = QOM_DEVICE, .device = machine()->root }, arg);
        }
        fn("objects", &(QomNode){ .kind = QOM_OBJECTS }, arg);
        fn("chardevs", &(QomNode){ .kind = QOM_CHARDEVS }, arg);
        break;
    case QOM_DEVICE:
        each_of_device(n->device, fn, arg);
        break;
    case QOM_OBJECTS:
        objects_each(each_object, &e);
        break;
    case QOM_CHARDEVS:
        chardev_each(each_chardev, &e);
        break;
    default:
        break;
    }
}

/* --- paths --- */

typedef struct Step {
    const char *name;
    QomNode found;
    bool ok;
} Step;

static void match_child(const char *name, const QomNode *child, void *arg)
{
    Step *s = arg;

    if (!s->ok && strcmp(name, s->name) == 0) {
        s->found = *child;
        s->ok = true;
    }
}

static bool walk(QomNode at, char *const *parts, QomNode *out)
{
    for (; *parts != NULL; parts++) {
        Step s = { .name = *parts };

        if (**parts == '\0') {
            continue;                        /* "//", or a '/' at the end */
        }
        qom_each_child(&at, match_child, &s);
        if (!s.ok) {
            return false;
        }
        at = s.found;
    }
    *out = at;
    return true;
}

typedef struct Partial {
    char *const *parts;
    QomNode found;
    unsigned count;
} Partial;

static void match_below(const char *name, const QomNode *child, void *arg)
{
    Partial *p = arg;
    QomNode end;

    if (strcmp(name, p->parts[0]) == 0 && walk(*child, p->parts + 1, &end)) {
        p->found = end;
        p->count++;
    }
    qom_each_child(child, match_below, arg);
}

bool qom_resolve(const char *path, QomNode *out, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", 64);
    QomNode root = { .kind = QOM_ROOT };
    Partial p = { .parts = parts };

    if (*path == '/') {
        return walk(root, parts, out) ||
               error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
    }
    if (*path != '\0') {
        qom_each_child(&root, match_below, &p);
    }
    if (p.count > 1 || *path == '\0') {
        return error_set(errp, "Path '%s' is ambiguous", path);
    }
    *out = p.found;
    return p.count == 1 || error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", path);
}

char *qom_path(const QomNode *n)
{
    g_autofree char *up = NULL;

    switch (n->kind) {
    case QOM_ROOT:
        return g_strdup("/");
    case QOM_DEVICE:
        return device_path(n->device);
    case QOM_BUS:
        up = device_path(n->bus->owner);
        return g_strdup_printf("%s/%s", up, n->bus->name);
    case QOM_OBJECTS:
        return g_strdup("/objects");
    case QOM_OBJECT:
        return g_strdup_printf("/objects/%s", n->id);
    case QOM_CHARDEVS:
        return g_strdup("/chardevs");
    default:
        return g_strdup_printf("/chardevs/%s", n->id);
    }
}

char *qom_type(const QomNode *n)
{
    switch (n->kind) {
    case QOM_DEVICE:
        return n->device->parent == NULL ? g_strdup_printf("%s-machine", machine()->type->name)
                                         : qom_device_type(n->device->type);
    case QOM_BUS:
        return g_strdup(qom_bus_type(n->bus));
    case QOM_OBJECT:
        return g_strdup(object_config_qom_type_name(objects_config(n->id)->qom_type));
    case QOM_CHARDEV:
        return g_strdup_printf("chardev-%s", chardev_backend_name(chardev_find(n->id)));
    default:
        return g_strdup("container");
    }
}

/* --- properties --- */

static bool is_machine(const QomNode *n)
{
    return n->kind == QOM_DEVICE && n->device->parent == NULL;
}

static bool is_container(const QomNode *n)
{
    return n->kind == QOM_DEVICE && !is_machine(n) && strcmp(n->device->type->name, "container") == 0;
}

typedef void PropFn(const char *name, const char *type, void *arg);

static void each_table_prop(const PropDesc *p, PropFn *fn, void *arg)
{
    for (; p != NULL && p->name != NULL; p++) {
        if (!(p->flags & PROP_COMPAT)) {
            g_autofree char *type = qom_prop_type(p);

            fn(p->name, type, arg);
        }
    }
}

static void each_bus_child(const Bus *b, PropFn *fn, void *arg)
{
    unsigned i = 0;

    for (Device *d = b->first; d != NULL; d = d->bus_next) {
        g_autofree char *type = qom_device_type(d->type);
        g_autofree char *link = g_strdup_printf("link<%s>", type);
        g_autofree char *name = g_strdup_printf("child[%u]", i++);

        fn(name, link, arg);
    }
}

void qom_each_prop(const QomNode *n, PropFn *fn, void *arg)
{
    fn("type", "string", arg);
    if (is_machine(n)) {
        qapi_each_member(QAPI_T_MACHINE_CONFIG, -1, fn, arg);
    } else if (n->kind == QOM_DEVICE && !is_container(n)) {
        qom_each_common_prop(fn, arg);
        for (const DeviceType *t = n->device->type; t != NULL; t = t->inner) {
            each_table_prop(t->slot->props, fn, arg);
            each_table_prop(t->props, fn, arg);
            if (t->extra != NULL) {
                t->extra->each(t, fn, arg);
            }
        }
    } else if (n->kind == QOM_BUS) {
        fn("realized", "bool", arg);
        each_bus_child(n->bus, fn, arg);
    } else if (n->kind == QOM_OBJECT) {
        qom_each_object_prop(objects_config(n->id)->qom_type, fn, arg);
    }
}

static bool no_such_prop(const QomNode *n, const char *prop, Error **errp)
{
    g_autofree char *type = qom_type(n);

    return error_set(errp, "Property '%s.%s' not found", type, prop);
}

/* A property's text as JSON of its kind. */
static void put_text(const PropDesc *p, const char *text, GString *out)
{
    switch (p->kind) {
    case PROP_KIND_BOOL:
        g_string_append(out, strcmp(text, "on") == 0 ? "true" : "false");
        break;
    case PROP_KIND_STR:
    case PROP_KIND_ENUM:
    case PROP_KIND_MAC:
        if (p->flags & PROP_JSON) {
            g_string_append(out, *text != '\0' ? text : "[]");
        } else {
            json_write_str(out, text);
        }
        break;
    case PROP_KIND_LINK:
        if (*text != '\0' && qom_prop_is_path(p)) {
            g_autofree char *path = g_strdup_printf("/objects/%s", text);

            json_write_str(out, path);
        } else {
            json_write_str(out, text);
        }
        break;
    default:
        g_string_append(out, text);
        break;
    }
}

static bool put_string(GString *out, char *take_text)
{
    json_write_str(out, take_text != NULL ? take_text : "");
    g_free(take_text);
    return true;
}

static bool put_bool(GString *out, bool v)
{
    g_string_append(out, v ? "true" : "false");
    return true;
}

static bool get_common(const Device *d, const char *prop, GString *out)
{
    if (strcmp(prop, "realized") == 0) {
        return put_bool(out, d->realized);
    }
    if (strcmp(prop, "hotplugged") == 0) {
        return put_bool(out, d->hotplugged);
    }
    if (strcmp(prop, "hotpluggable") == 0) {
        return put_bool(out, d->type->flags & DEV_HOTPLUG && (d->bus == NULL || d->bus->hotplug));
    }
    if (strcmp(prop, "parent_bus") == 0) {
        QomNode bus = { .kind = QOM_BUS, .bus = d->bus };

        return put_string(out, d->bus != NULL ? qom_path(&bus) : NULL);
    }
    return false;
}

/* The device that has the further property @prop, of @d and what it is made of, and its value. */
static char *get_extra(Device *d, const char *prop, Device **owner)
{
    for (; d != NULL; d = d->inner) {
        const DeviceExtra *x = d->type->extra;
        char *json = x != NULL ? x->get(d, prop) : NULL;

        if (json != NULL) {
            *owner = d;
            return json;
        }
    }
    return NULL;
}

static bool get_of_device(Device *d, const char *prop, GString *out)
{
    int owner;
    Device *holder;
    const PropDesc *p = device_type_prop(d->type, prop, &owner);
    g_autofree char *text = NULL;

    if (get_common(d, prop, out)) {
        return true;
    }
    if (p != NULL) {
        text = device_get(d, prop);
        put_text(p, text, out);
        return true;
    }
    text = get_extra(d, prop, &holder);
    if (text != NULL) {
        g_string_append(out, text);
    }
    return text != NULL;
}

static bool get_of_bus(const Bus *b, const char *prop, GString *out)
{
    unsigned i = 0;

    if (strcmp(prop, "realized") == 0) {
        return put_bool(out, true);
    }
    for (Device *d = b->first; d != NULL; d = d->bus_next) {
        g_autofree char *name = g_strdup_printf("child[%u]", i++);

        if (strcmp(name, prop) == 0) {
            return put_string(out, device_path(d));
        }
    }
    return false;
}

/* A member of a value of the schema. */
static bool get_member(GString *take_json, const char *prop, GString *out)
{
    g_autoptr(json_t) tree = json_parse(take_json->str, NULL);
    const json_t *v = json_object_get(tree, prop);

    g_string_free(take_json, TRUE);
    if (v != NULL) {
        json_write_tree(out, v);
    }
    return v != NULL;
}

static bool has_type(const char *prop, const QomNode *n, GString *out)
{
    return strcmp(prop, "type") == 0 && put_string(out, qom_type(n));
}

static void find_prop(const char *name, const char *type, void *arg)
{
    Step *s = arg;

    s->ok |= strcmp(name, s->name) == 0;
}

static bool get_own(const QomNode *n, const char *prop, GString *out)
{
    GString *json = g_string_new(NULL);

    if (is_machine(n) && machine_config != NULL) {
        qapi_write_machine_config(machine_config, json);
        return get_member(json, prop, out);
    }
    if (n->kind == QOM_OBJECT) {
        qapi_write_object_config(objects_config(n->id), json);
        return get_member(json, prop, out);
    }
    g_string_free(json, TRUE);
    return n->kind == QOM_BUS ? get_of_bus(n->bus, prop, out)
                              : n->kind == QOM_DEVICE && !is_container(n) && !is_machine(n) &&
                                    get_of_device(n->device, prop, out);
}

bool qom_get(const QomNode *n, const char *prop, GString *out, Error **errp)
{
    Step child = { .name = prop }, known = { .name = prop };

    if (has_type(prop, n, out) || get_own(n, prop, out)) {
        return true;
    }
    qom_each_child(n, match_child, &child);
    if (child.ok) {
        return put_string(out, qom_path(&child.found));
    }
    qom_each_prop(n, find_prop, &known);
    if (known.ok) {                          /* a member of the schema that nobody gave, without default */
        g_string_append(out, "null");
        return true;
    }
    return no_such_prop(n, prop, errp);
}

/* --- changing --- */

static bool wrong_type(const char *prop, const char *want, Error **errp)
{
    return error_set(errp, "Invalid parameter type for '%s', expected: %s", prop, want);
}

static bool set_table_prop(Device *d, const PropDesc *p, json_t *v, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);

    switch (p->kind) {
    case PROP_KIND_BOOL:
        return json_is_boolean(v) ? device_set(d, p->name, json_is_true(v) ? "on" : "off", errp)
                                  : wrong_type(p->name, "boolean", errp);
    case PROP_KIND_STR:
    case PROP_KIND_ENUM:
    case PROP_KIND_LINK:
    case PROP_KIND_MAC:
        return json_is_string(v) && !json_big(v, NULL) ? device_set(d, p->name, json_string_value(v), errp)
                                                       : wrong_type(p->name, "string", errp);
    default:
        if (!json_is_integer(v) && !json_big(v, NULL)) {
            return wrong_type(p->name, "integer", errp);
        }
        json_write_tree(text, v);
        return device_set(d, p->name, text->str, errp);
    }
}

static bool set_extra(Device *d, const char *prop, json_t *v, bool *known, Error **errp)
{
    Device *holder = NULL;
    g_autofree char *now = get_extra(d, prop, &holder);
    g_autoptr(GString) json = g_string_new(NULL);

    *known = now != NULL && holder->type->extra->set != NULL;
    if (!*known) {
        return false;
    }
    json_write_tree(json, v);
    return holder->type->extra->set(holder, prop, json->str, errp);
}

static bool set_of_device(Device *d, const char *prop, json_t *v, bool *known, Error **errp)
{
    int owner;
    const PropDesc *p = device_type_prop(d->type, prop, &owner);

    if (p == NULL || d->realized) {
        bool ok = set_extra(d, prop, v, known, errp);

        if (p == NULL || *known) {
            return ok;
        }
    }
    *known = true;
    if (d->realized && !(p->flags & PROP_RUNTIME)) {
        g_autofree char *type = qom_device_type(d->type);

        return error_set(errp, "Attempt to set property '%s' on device '%s' (type '%s') after it was "
                         "realized", prop, d->id, type);
    }
    return set_table_prop(d, p, v, errp);
}

bool qom_set(const QomNode *n, const char *prop, json_t *value, Error **errp)
{
    g_autoptr(GString) now = g_string_new(NULL);
    g_autofree char *type = NULL;
    bool known = false;

    if (!qom_get(n, prop, now, errp)) {
        return false;
    }
    if (n->kind == QOM_OBJECT && strcmp(prop, "type") != 0) {
        return objects_set(n->id, prop, value, errp);
    }
    if (n->kind == QOM_DEVICE && !is_machine(n) && !is_container(n)) {
        bool ok = set_of_device(n->device, prop, value, &known, errp);

        if (ok || known) {
            return ok;
        }
    }
    type = qom_type(n);
    return error_set(errp, "Property '%s.%s' is not writable", type, prop);
}
