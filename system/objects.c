/* objects.c: objects of the command line by id, see objects.h. */
#include "system/objects.h"

#include <stdio.h>
#include <string.h>
#include "core/iothread.h"
#include "core/prop.h"

typedef struct Object {
    char *id;
    ObjectConfigQomType type;
    RamBlock *ram;
    bool taken;
    IoThread *iothread;
    char *path;                /* rng-random */
    struct Object *next;
} Object;

static Object *first;
static bool default_merge = true, default_dump = true;

static Object *find(const char *id)
{
    Object *o = first;

    while (o != NULL && strcmp(o->id, id) != 0) {
        o = o->next;
    }
    return o;
}

static void unknown_id(const char *what, const char *id, Error **errp)
{
    const char *names[64] = { NULL };
    unsigned n = 0;

    for (Object *o = first; o != NULL && n < 63; o = o->next) {
        names[n++] = o->id;
    }
    error_set(errp, "%s '%s' not found", what, id);
    error_suggest(errp, id, names);
}

/* What the three memory back ends share; their structs begin alike. */
static void common_memory(RamConfig *r, const MemoryBackend *m)
{
    r->size = m->size;
    r->dump = m->has_dump ? m->dump : default_dump;
    r->merge = m->has_merge ? m->merge : default_merge;
    r->share = m->has_share ? m->share : r->source == RAM_MEMFD;
    r->prealloc = m->prealloc;
    r->prealloc_threads = m->prealloc_threads;
    r->policy = (int)m->policy;
    r->host_nodes = m->has_host_nodes ? m->host_nodes.at : NULL;
    r->host_node_count = m->has_host_nodes ? m->host_nodes.n : 0;
}

static bool create_memory(Object *o, const ObjectConfig *c, Error **errp)
{
    RamConfig r = { 0 };

    switch (c->qom_type) {
    case OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_RAM:
        r.source = RAM_ANON;
        break;
    case OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_MEMFD:
        r.source = RAM_MEMFD;
        r.hugetlb = c->u.memory_backend_memfd.hugetlb;
        r.hugetlb_size = c->u.memory_backend_memfd.has_hugetlbsize
                             ? c->u.memory_backend_memfd.hugetlbsize : 0;
        r.seal = c->u.memory_backend_memfd.seal;
        break;
    default:
        if (c->u.memory_backend_file.pmem || c->u.memory_backend_file.offset != 0) {
            return error_set(errp, "%s is not supported",
                             c->u.memory_backend_file.pmem ? "pmem=on" : "offset=");
        }
        r.source = RAM_FILE;
        r.path = c->u.memory_backend_file.mem_path;
        r.align = c->u.memory_backend_file.has_align ? c->u.memory_backend_file.align : 0;
        r.readonly = c->u.memory_backend_file.readonly;
        r.discard_data = c->u.memory_backend_file.discard_data;
        break;
    }
    common_memory(&r, (const MemoryBackend *)&c->u);
    if (r.size == 0) {
        return error_set(errp, "property 'size' must be greater than zero");
    }
    o->ram = ram_new(c->id, &r, errp);
    return o->ram != NULL;
}

static bool create(Object *o, const ObjectConfig *c, Error **errp)
{
    switch (c->qom_type) {
    case OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_RAM:
    case OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_MEMFD:
    case OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_FILE:
        return create_memory(o, c, errp);
    case OBJECT_CONFIG_QOM_TYPE_IOTHREAD:
        o->iothread = iothread_new(c->id, c->u.iothread.poll_max_ns, c->u.iothread.poll_grow,
                                   c->u.iothread.poll_shrink, errp);
        return o->iothread != NULL;
    case OBJECT_CONFIG_QOM_TYPE_RNG_RANDOM:
        o->path = g_strdup(c->u.rng_random.filename);
        return true;
    case OBJECT_CONFIG_QOM_TYPE_RNG_BUILTIN:
        return true;
    default:
        return error_set(errp, "object type '%s' is not supported",
                         object_config_qom_type_name(c->qom_type));
    }
}

bool objects_create(const ObjectConfig *c, Error **errp)
{
    Object *o;

    if (find(c->id) != NULL) {
        return error_set(errp, "attempt to add duplicate property '%s' to object (type 'container')", c->id);
    }
    o = g_new0(Object, 1);
    o->type = c->qom_type;
    if (!create(o, c, errp)) {
        g_free(o);
        return error_context(errp, "object '%s'", c->id);
    }
    o->id = g_strdup(c->id);
    o->next = first;
    first = o;
    return true;
}

bool objects_delete(const char *id, Error **errp)
{
    Object *o = find(id), **at = &first;

    if (o == NULL) {
        unknown_id("object", id, errp);
        return false;
    }
    if (o->taken) {
        return error_set(errp, "object '%s' is in use, can not be deleted", id);
    }
    if (o->iothread != NULL && !iothread_remove(o->iothread, errp)) {
        return false;
    }
    if (o->ram != NULL) {
        ram_free(o->ram);
    }
    while (*at != o) {
        at = &(*at)->next;
    }
    *at = o->next;
    g_free(o->path);
    g_free(o->id);
    g_free(o);
    return true;
}

bool objects_create_all(const CmdLine *cmd, bool mem_merge, bool dump_guest_core, bool *help, Error **errp)
{
    default_merge = mem_merge;
    default_dump = dump_guest_core;
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_OBJECT); i++) {
        const char *text = cmdline_nth(cmd, OPT_OBJECT, i);
        g_autoptr(ObjectConfig) o = NULL;

        if (!qapi_opt_object(text, &o, errp)) {
            return error_context(errp, "-object %s", text);
        }
        if (o == NULL) {
            g_autoptr(GString) s = g_string_new(NULL);
            qapi_option_help(QAPI_OPT_OBJECT, s);
            fputs(s->str, stdout);
            *help = true;
            return true;
        }
        if (!objects_create(o, errp)) {
            return error_context(errp, "-object %s", text);
        }
    }
    return true;
}

RamBlock *objects_take_memory(const char *id, Error **errp)
{
    Object *o = find(id);

    if (o == NULL || o->ram == NULL) {
        unknown_id("memory backend", id, errp);
        return NULL;
    }
    if (o->taken) {
        error_set(errp, "memory backend '%s' is already in use", id);
        return NULL;
    }
    o->taken = true;
    return o->ram;
}

/* rng=ID: the path to read from, "" for rng-builtin. */
static void *find_rng(const char *id, Error **errp)
{
    Object *o = find(id);

    if (o == NULL || (o->type != OBJECT_CONFIG_QOM_TYPE_RNG_RANDOM &&
                      o->type != OBJECT_CONFIG_QOM_TYPE_RNG_BUILTIN)) {
        unknown_id("rng object", id, errp);
        return NULL;
    }
    return o;
}

static const char *rng_id(void *target)
{
    return ((Object *)target)->id;
}

void objects_init(void)
{
    static const LinkClass rng = { "rng", find_rng, rng_id };

    link_class_register(&rng);
    iothread_register();
}
