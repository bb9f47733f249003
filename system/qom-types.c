/* qom-types.c: the types of the object tree and their properties, see qom.h.
 *
 * 1. Types come from the device catalogue, the machine types, the schema's objects and the chardev back ends;
 *    the one table here names the abstract types between them and "object". */
#include "system/qom.h"

#include <string.h>
#include "accel/kvm/kvm.h"
#include "chardev/char.h"
#include "core/accel.h"
#include "util/bytes.h"

typedef struct AbstractType {
    const char *name, *parent;
} AbstractType;

static const AbstractType abstract_types[] = {
    { "object", NULL },
    { "accel", "object" },
    { "bus", "object" },
    { "chardev", "object" },
    { "cpu", "device" },
    { "device", "object" },
    { "event-loop-base", "object" },
    { "ide-device", "device" },
    { "isa-device", "device" },
    { "machine", "object" },
    { "memory-backend", "object" },
    { "pci-device", "device" },
    { "rng-backend", "object" },
    { "scsi-device", "device" },
    { "scsi-disk-base", "scsi-device" },
    { "secret_common", "object" },
    { "sys-bus-device", "device" },
    { "virtio-device", "device" },
    { "virtio-serial-port", "device" },
    { "x86_64-cpu", "cpu" },
};

/* What the devices of one kind of bus refine. */
static const struct { const char *slot, *device; } slots[] = {
    { "board", "sys-bus-device" },
    { "ide", "ide-device" },
    { "isa", "isa-device" },
    { "pci", "pci-device" },
    { "SCSI", "scsi-disk-base" },
    { "virtio", "virtio-device" },
    { "virtio-serial-bus", "virtio-serial-port" },
};

/* The types of buses; "PCI" has an Express form. */
static const char *const buses[] = {
    "System", "IDE", "ISA", "PCI", "SCSI", "nvme-bus", "virtio-pci-bus", "virtio-serial-bus",
};

static const char *device_parent(const DeviceType *t)
{
    for (unsigned i = 0; i < ARRAY_LEN(slots); i++) {
        if (strcmp(slots[i].slot, t->slot->name) == 0) {
            return slots[i].device;
        }
    }
    return "device";
}

const char *qom_bus_type(const Bus *b)
{
    return b->type_name != NULL ? b->type_name : slot_bus_name(b->slot);
}

char *qom_device_type(const DeviceType *t)
{
    return g_strconcat(t->name, t->slot->suffix, NULL);
}

const DeviceType *qom_find_device_type(const char *name)
{
    for (const DeviceType *const *t = device_types(); *t != NULL; t++) {
        const char *rest = g_str_has_prefix(name, (*t)->name) ? name + strlen((*t)->name) : NULL;

        if (rest != NULL && strcmp(rest, (*t)->slot->suffix != NULL ? (*t)->slot->suffix : "") == 0) {
            return *t;
        }
    }
    return NULL;
}

/* --- properties --- */

bool qom_prop_is_path(const PropDesc *p)
{
    static const char *const by_id[] = { "chardev", "blockdev", "netdev" };

    for (unsigned i = 0; i < ARRAY_LEN(by_id); i++) {
        if (strcmp(p->link_class, by_id[i]) == 0) {
            return false;
        }
    }
    return true;
}

char *qom_prop_type(const PropDesc *p)
{
    return p->kind == PROP_KIND_LINK && qom_prop_is_path(p) ? g_strdup_printf("link<%s>", p->link_class)
                                                             : g_strdup(prop_kind_name(p));
}

typedef void PropFn(const char *name, const char *kind, void *arg);

void qom_each_common_prop(PropFn *fn, void *arg)
{
    fn("parent_bus", "link<bus>", arg);
    fn("realized", "bool", arg);
    fn("hotplugged", "bool", arg);
    fn("hotpluggable", "bool", arg);
}

static void each_device_prop(const DeviceType *t, PropFn *fn, void *arg)
{
    qom_each_common_prop(fn, arg);
    for (; t != NULL; t = t->inner) {
        const PropDesc *tables[] = { t->slot->props, t->props };

        for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
            for (const PropDesc *p = tables[i]; p != NULL && p->name != NULL; p++) {
                g_autofree char *type = qom_prop_type(p);

                if (!(p->flags & PROP_COMPAT)) {
                    fn(p->name, type, arg);
                }
            }
        }
        if (t->extra != NULL) {
            t->extra->each(t, fn, arg);
        }
    }
}

typedef struct PropEach {
    PropFn *fn;
    void *arg;
} PropEach;

/* Its id and type are where it is, not what it has. */
static void each_but_id(const char *name, const char *kind, void *arg)
{
    PropEach *e = arg;

    if (strcmp(name, "id") != 0 && strcmp(name, "qom-type") != 0) {
        e->fn(name, kind, e->arg);
    }
}

void qom_each_object_prop(ObjectConfigQomType type, PropFn *fn, void *arg)
{
    PropEach e = { fn, arg };

    qapi_each_member(QAPI_T_OBJECT_CONFIG, type, each_but_id, &e);
}

static bool is_machine_type(const char *name)
{
    g_autofree char *base = NULL;
    const MachineType *t;

    if (strcmp(name, "machine") == 0) {
        return true;
    }
    if (!g_str_has_suffix(name, "-machine")) {
        return false;
    }
    base = g_strndup(name, strlen(name) - strlen("-machine"));
    t = machine_type_find(base);
    return t != NULL && strcmp(t->name, base) == 0;
}

static int object_type(const char *name)
{
    for (unsigned v = 0; v < OBJECT_CONFIG_QOM_TYPE_COUNT; v++) {
        if (strcmp(object_config_qom_type_name(v), name) == 0) {
            return v;
        }
    }
    return -1;
}

typedef struct Search {
    const char *name;
    bool found;
} Search;

static void match_type(const char *name, const char *parent, bool abstract, void *arg)
{
    Search *s = arg;

    s->found |= strcmp(name, s->name) == 0;
}

/* A processor: where it is comes from the board, the rest from the model. */
static const struct { const char *name, *type; } cpu_places[] = {
    { "socket-id", "int32" }, { "die-id", "int32" }, { "core-id", "int32" }, { "thread-id", "int32" },
    { "node-id", "int32" }, { "apic-id", "uint32" },
};

void qom_each_cpu_place(PropFn *fn, void *arg)
{
    for (unsigned i = 0; i < ARRAY_LEN(cpu_places); i++) {
        fn(cpu_places[i].name, cpu_places[i].type, arg);
    }
}

static void each_cpu_prop(const KvmCpuPropDesc *p, void *arg)
{
    const PropEach *e = arg;

    e->fn(p->name, p->type, e->arg);
}

static void each_prop_of_cpu(const char *model, PropFn *fn, void *arg)
{
    PropEach e = { fn, arg };

    qom_each_common_prop(fn, arg);
    qom_each_cpu_place(fn, arg);
    kvm_cpu_each_prop(model, each_cpu_prop, &e);
}

bool qom_each_type_prop(const char *type, PropFn *fn, void *arg)
{
    const DeviceType *t = qom_find_device_type(type);
    g_autofree char *model = NULL;
    Search s = { .name = type };
    int object = object_type(type);

    qom_each_type(match_type, &s);
    if (!s.found) {
        return false;
    }
    fn("type", "string", arg);
    if (kvm_cpu_type(type, &model)) {
        each_prop_of_cpu(model, fn, arg);
    } else if (t != NULL || g_str_has_suffix(type, "device")) {
        if (t != NULL) {
            each_device_prop(t, fn, arg);
        } else {
            qom_each_common_prop(fn, arg);
        }
    } else if (object >= 0) {
        qom_each_object_prop(object, fn, arg);
    } else if (is_machine_type(type)) {
        qapi_each_member(QAPI_T_MACHINE_CONFIG, -1, fn, arg);
    }
    return true;
}

/* --- the list --- */

typedef struct Types {
    void (*fn)(const char *name, const char *parent, bool abstract, void *arg);
    void *arg;
} Types;

static void chardev_type(const char *name, void *arg)
{
    Types *t = arg;
    g_autofree char *type = g_strdup_printf("chardev-%s", name);

    t->fn(type, "chardev", false, t->arg);
}

static const char *object_parent(const char *name)
{
    return g_str_has_prefix(name, "memory-backend-") ? "memory-backend"
           : g_str_has_prefix(name, "rng-")          ? "rng-backend"
           : strcmp(name, "iothread") == 0           ? "event-loop-base"
           : strcmp(name, "secret") == 0             ? "secret_common"
                                                     : "object";
}

static void each_cpu_type(void (*fn)(const char *name, const char *parent, bool abstract, void *arg),
                          void *arg)
{
    g_autoptr(GArray) names = kvm_cpu_names();

    for (unsigned i = 0; i < names->len; i++) {
        g_autofree char *type = g_strdup_printf("%s-x86_64-cpu", g_array_index(names, KvmCpuName, i).name);

        fn(type, strcmp(type, "host-x86_64-cpu") == 0 ? "max-x86_64-cpu" : "x86_64-cpu", false, arg);
    }
}

void qom_each_type(void (*fn)(const char *name, const char *parent, bool abstract, void *arg), void *arg)
{
    Types each = { fn, arg };

    for (unsigned i = 0; i < ARRAY_LEN(abstract_types); i++) {
        fn(abstract_types[i].name, abstract_types[i].parent, true, arg);
    }
    for (const DeviceType *const *t = device_types(); *t != NULL; t++) {
        g_autofree char *name = qom_device_type(*t);

        if (strcmp((*t)->slot->name, "cpu") != 0) {     /* this machine's processor is one of the models */
            fn(name, device_parent(*t), false, arg);
        }
    }
    each_cpu_type(fn, arg);
    for (const MachineType *const *t = machine_types(); *t != NULL; t++) {
        g_autofree char *name = g_strdup_printf("%s-machine", (*t)->name);

        fn(name, "machine", false, arg);
    }
    for (unsigned v = 0; v < OBJECT_CONFIG_QOM_TYPE_COUNT; v++) {
        const char *name = object_config_qom_type_name(v);

        fn(name, object_parent(name), false, arg);
    }
    for (unsigned i = 0; i < ARRAY_LEN(buses); i++) {
        fn(buses[i], "bus", false, arg);
    }
    fn("PCIE", "PCI", false, arg);
    fn("container", "object", false, arg);
    fn("kvm-accel", "accel", false, arg);
    fn("qtest-accel", "accel", false, arg);
    chardev_each_backend(chardev_type, &each);
}
