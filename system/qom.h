/* qom.h: the object tree as QMP shows it: devices, buses, objects and character devices by path.
 *
 *   /machine                the machine and what it is made of: core/device.h's tree, with its buses
 *   /objects/ID             -object and object-add
 *   /chardevs/ID            -chardev
 *
 * Nothing is registered here: every answer is made, when asked, from the device tree, the property tables,
 * the schema and the lists of back ends. */
#ifndef SYSTEM_QOM_H
#define SYSTEM_QOM_H

#include "core/machine.h"
#include "qapi/types.h"

typedef enum QomKind {
    QOM_ROOT, QOM_DEVICE, QOM_BUS, QOM_OBJECTS, QOM_OBJECT, QOM_CHARDEVS, QOM_CHARDEV,
} QomKind;

/* A place in the tree; valid until something is added or removed. */
typedef struct QomNode {
    QomKind kind;
    Device *device;            /* QOM_DEVICE */
    Bus *bus;                  /* QOM_BUS */
    const char *id;            /* QOM_OBJECT, QOM_CHARDEV: borrowed */
} QomNode;

/* --- the tree (qom.c) --- */
/* @path: from the root, or the end of a path that only one object has ("vd0", "vd0/virtio-backend"). */
CTX_CONTROL bool qom_resolve(const char *path, QomNode *out, Error **errp);
/* The path from the root, owned by the caller. */
CTX_CONTROL char *qom_path(const QomNode *n);
/* The name of its type, owned by the caller. */
CTX_CONTROL char *qom_type(const QomNode *n);
CTX_CONTROL void qom_each_child(const QomNode *n,
                                void (*fn)(const char *name, const QomNode *child, void *arg), void *arg);
/* Calls fn for each property but the children. */
CTX_CONTROL void qom_each_prop(const QomNode *n, void (*fn)(const char *name, const char *type, void *arg),
                               void *arg);
/* Appends the value of @prop as JSON. */
CTX_CONTROL bool qom_get(const QomNode *n, const char *prop, GString *out, Error **errp);
CTX_CONTROL bool qom_set(const QomNode *n, const char *prop, json_t *value, Error **errp);
/* What -machine says, shown as properties of /machine; borrowed for good. */
CTX_CONTROL void qom_set_machine_config(const MachineConfig *c);

/* --- types (qom-types.c) --- */
/* The name that objects of device type @t show, owned by the caller: that of the catalogue, for the part of
 * a virtio device behind its transport with "-device". */
CTX_ANY char *qom_device_type(const DeviceType *t);
CTX_ANY const DeviceType *qom_find_device_type(const char *name);
CTX_CONTROL const char *qom_bus_type(const Bus *b);
/* A property's kind as the tree names it: "bool", "uint32", "str", "link<iothread>". */
CTX_ANY char *qom_prop_type(const PropDesc *p);
/* True if the links of @p are shown as paths of objects, not as ids. */
CTX_ANY bool qom_prop_is_path(const PropDesc *p);
/* Calls fn for each type, those without objects too. */
CTX_CONTROL void qom_each_type(void (*fn)(const char *name, const char *parent, bool abstract, void *arg),
                               void *arg);
/* Calls fn for each property that every object of the type has; false: no such type. */
CTX_CONTROL bool qom_each_type_prop(const char *type,
                                    void (*fn)(const char *name, const char *kind, void *arg), void *arg);
/* The properties of objects of @type. */
CTX_CONTROL void qom_each_object_prop(ObjectConfigQomType type,
                                      void (*fn)(const char *name, const char *kind, void *arg), void *arg);
/* The properties of a processor that say where it is. */
CTX_CONTROL void qom_each_cpu_place(void (*fn)(const char *name, const char *kind, void *arg), void *arg);
/* The properties every device has. */
CTX_CONTROL void qom_each_common_prop(void (*fn)(const char *name, const char *kind, void *arg), void *arg);

#endif
