/* qmp-qom.c: the commands of the object tree, and of objects in it. */
#include <string.h>
#include "accel/kvm/kvm.h"
#include "block/graph.h"
#include "qapi/commands.h"
#include "system/objects.h"
#include "system/qmp-graph.h"
#include "system/qom.h"

static ObjectPropertyInfo *add_prop(ObjectPropertyInfoList *list, const char *name, const char *type)
{
    ObjectPropertyInfo *p = qapi_new_object_property_info();

    p->name = g_strdup(name);
    p->type = g_strdup(type);
    qapi_append(list, p);
    return p;
}

static void add_each(const char *name, const char *type, void *arg)
{
    ObjectPropertyInfoList *list = arg;

    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->at[i]->name, name) == 0) {
            return;                          /* what an inner part shares with its outer one */
        }
    }
    add_prop(list, name, type);
}

static void add_child(const char *name, const QomNode *child, void *arg)
{
    g_autofree char *type = qom_type(child), *kind = g_strdup_printf("child<%s>", type);

    add_prop(arg, name, kind);
}

bool qmp_qom_list(const char *path, ObjectPropertyInfoList *ret, Error **errp)
{
    QomNode n;

    if (!qom_resolve(path, &n, errp)) {
        return false;
    }
    qom_each_prop(&n, add_each, ret);
    qom_each_child(&n, add_child, ret);
    return true;
}

/* The device that shows a node to the guest, if @property is that node; or NULL. */
static const BlkFront *front_at(const QomNode *n, const char *property)
{
    if (n->kind != QOM_DEVICE || strcmp(property, "drive") != 0) {
        return NULL;
    }
    g_autofree char *path = qom_path(n);
    const BlkFront *f = blk_front_find(path);

    return f == NULL && n->device->id != NULL ? blk_front_find(n->device->id) : f;
}

bool qmp_qom_get(const char *path, const char *property, json_t **ret, Error **errp)
{
    g_autoptr(GString) value = g_string_new("[");
    g_autoptr(json_t) list = NULL;
    QomNode n;

    if (!qom_resolve(path, &n, errp)) {
        return false;
    }
    const BlkFront *f = front_at(&n, property);
    if (f != NULL) {
        const BlkNode *there = f->node != NULL && !blk_is_gone(f->node) ? f->node : NULL;
        const char *drive = there != NULL ? blk_drive_id(there) : "";

        *ret = json_string(*drive != '\0' || there == NULL ? drive : blk_name(there));
        return true;
    }
    if (!qom_get(&n, property, value, errp)) {
        return false;
    }
    g_string_append_c(value, ']');
    list = json_parse(value->str, errp);
    *ret = json_incref(json_array_get(list, 0));
    return list != NULL;
}

bool qmp_qom_set(const char *path, const char *property, json_t *value, QmpPending *pending, Error **errp)
{
    QomNode n;

    if (!qom_resolve(path, &n, errp)) {
        return false;
    }
    const BlkFront *f = front_at(&n, property);
    if (f != NULL && json_is_string(value)) {
        return qmp_set_drive(f, json_string_value(value), pending, errp);
    }
    if (f != NULL) {
        return error_set(errp, "Invalid parameter type for 'drive', expected: string");
    }
    if (!qom_set(&n, property, value, errp)) {
        return false;
    }
    qmp_pending_done(pending, NULL);
    return true;
}

/* --- types --- */

typedef struct Listing {
    ObjectTypeInfoList *out;
    const char *implements;
    bool abstract;
} Listing;

typedef struct Parent {
    const char *name;
    char *parent;              /* NULL: not found, or none */
} Parent;

static void find_parent(const char *name, const char *parent, bool abstract, void *arg)
{
    Parent *p = arg;

    if (p->parent == NULL && strcmp(name, p->name) == 0) {
        p->parent = g_strdup(parent);
    }
}

static bool refines(const char *name, const char *parent, const char *what)
{
    Parent p = { .name = parent };
    bool found;

    if (strcmp(name, what) == 0) {
        return true;
    }
    if (parent == NULL) {
        return false;
    }
    qom_each_type(find_parent, &p);
    found = refines(parent, p.parent, what);
    g_free(p.parent);
    return found;
}

static void add_type(const char *name, const char *parent, bool abstract, void *arg)
{
    Listing *l = arg;
    ObjectTypeInfo *t;

    if ((abstract && !l->abstract) || (l->implements != NULL && !refines(name, parent, l->implements))) {
        return;
    }
    t = qapi_new_object_type_info();
    t->name = g_strdup(name);
    t->parent = g_strdup(parent);
    t->has_abstract = t->abstract = abstract;
    qapi_append(l->out, t);
}

bool qmp_qom_list_types(const char *implements, bool abstract, ObjectTypeInfoList *ret, Error **errp)
{
    Listing l = { ret, implements, abstract };

    qom_each_type(add_type, &l);
    return true;
}

/* The class is never DeviceNotFound: libvirt 9.0 ends itself on that. */
bool qmp_qom_list_properties(const char *typename, ObjectPropertyInfoList *ret, Error **errp)
{
    return qom_each_type_prop(typename, add_each, ret) ||
           error_set(errp, "Class '%s' not found", typename);
}

static json_t *default_of(const PropDesc *p)
{
    switch (p->kind) {
    case PROP_KIND_BOOL:
        return json_boolean(p->def != 0);
    case PROP_KIND_ENUM:
        return json_string(p->names[p->def]);
    case PROP_KIND_STR:
        return p->def_str != NULL ? json_string(p->def_str) : NULL;
    case PROP_KIND_LINK:
    case PROP_KIND_MAC:
        return NULL;
    case PROP_KIND_I32:
        return json_integer((int32_t)p->def);
    default:
        return json_from_u64(p->def);
    }
}

static void add_table(ObjectPropertyInfoList *list, const PropDesc *p)
{
    for (; p != NULL && p->name != NULL; p++) {
        if (!(p->flags & PROP_COMPAT)) {
            g_autofree char *type = qom_prop_type(p);
            ObjectPropertyInfo *info = add_prop(list, p->name, type);

            info->description = g_strdup(p->help);
            info->default_value = default_of(p);
        }
    }
}

static void add_cpu_prop(const KvmCpuPropDesc *p, void *arg)
{
    ObjectPropertyInfo *info = add_prop(arg, p->name, p->type);

    info->description = g_strdup(p->description);
    info->default_value = json_incref(p->def);
}

bool qmp_device_list_properties(const char *typename, ObjectPropertyInfoList *ret, Error **errp)
{
    const DeviceType *t = qom_find_device_type(typename);
    g_autofree char *model = NULL;

    if (kvm_cpu_type(typename, &model)) {
        qom_each_cpu_place(add_each, ret);
        kvm_cpu_each_prop(model, add_cpu_prop, ret);
        return true;
    }
    if (t == NULL) {
        ObjectPropertyInfoList any = { 0 };
        bool is_type = qmp_qom_list_properties(typename, &any, NULL);

        qapi_clear(QAPI_T_OBJECT_PROPERTY_INFO_LIST, &any);
        return is_type ? error_set(errp, "Parameter 'typename' expects a non-abstract device type")
                       : error_set_class(errp, ERROR_DEVICE_NOT_FOUND, "Device '%s' not found", typename);
    }
    for (; t != NULL; t = t->inner) {
        add_table(ret, t->props);
        add_table(ret, t->slot->props);
    }
    return true;
}

/* --- objects --- */

bool qmp_object_add(const ObjectConfig *args, Error **errp)
{
    return objects_create(args, errp);
}

bool qmp_object_del(const char *id, Error **errp)
{
    return objects_delete(id, errp);
}
