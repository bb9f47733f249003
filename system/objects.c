/* objects.c: objects of the command line by id, see objects.h. */
#include "system/objects.h"

#include <stdio.h>
#include <string.h>
#include "block/block.h"
#include "core/iothread.h"
#include "core/machine.h"
#include "core/prop.h"
#include "core/rng.h"
#include "qapi/authz.h"
#include "system/rng-egd.h"
#include "system/throttle.h"
#include "util/authz.h"
#include "util/bytes.h"
#include "util/secret.h"

typedef struct Object {
    char *id;
    ObjectConfig *config;      /* as it is now, defaults filled in */
    RamBlock *ram;
    IoThread *iothread;
    RngSource *rng;
    RngEgd *egd;
    TlsCreds *tls;
    struct Object *next;
} Object;

static Object *first;
static bool chardevs_there;    /* objects that are made now find them */
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

/* A copy with the defaults that depend on others filled in.  NULL: its text is longer than a message. */
static ObjectConfig *copy_config(const ObjectConfig *c, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    ObjectConfig *copy = NULL;
    g_autoptr(json_t) tree = NULL;

    qapi_write_object_config(c, text);
    tree = json_parse(text->str, errp);
    if (tree == NULL || !qapi_visit_object_config(tree, QAPI_JSON, &copy, errp)) {
        return NULL;
    }
    if (g_str_has_prefix(object_config_qom_type_name(c->qom_type), "memory-backend-")) {
        MemoryBackend *m = (MemoryBackend *)&copy->u;

        m->dump = m->has_dump ? m->dump : default_dump;
        m->merge = m->has_merge ? m->merge : default_merge;
        m->share = m->has_share ? m->share : c->qom_type == OBJECT_CONFIG_QOM_TYPE_MEMORY_BACKEND_MEMFD;
        m->has_dump = m->has_merge = m->has_share = true;
    }
    return copy;
}

/* What the three memory back ends share; their structs begin alike. */
static void common_memory(RamConfig *r, const MemoryBackend *m)
{
    r->size = m->size;
    r->dump = m->dump;
    r->merge = m->merge;
    r->share = m->share;
    r->reserve = m->reserve;
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

static bool create_secret(const char *id, const SecretConfig *s, Error **errp)
{
    const SecretOptions o = { .data = s->data, .file = s->file, .base64 = s->format == SECRET_FORMAT_BASE64,
                              .keyid = s->keyid, .iv = s->iv };

    return secret_add(id, &o, errp);
}

static bool create_tls(Object *o, const ObjectConfig *c, Error **errp)
{
    const TlsCredsX509 *x = &c->u.tls_creds_x509;
    const TlsCredsPsk *psk = &c->u.tls_creds_psk;
    const TlsCredsAnon *anon = &c->u.tls_creds_anon;
    char *password = NULL;
    size_t password_len = 0;
    TlsCredsOptions t;

    switch (c->qom_type) {
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_X509:
        password = x->passwordid != NULL ? secret_get(x->passwordid, &password_len, errp) : NULL;
        if (x->passwordid != NULL && password == NULL) {
            return false;
        }
        t = (TlsCredsOptions){ .kind = TLS_X509, .server = x->endpoint == TLS_ENDPOINT_SERVER, .dir = x->dir,
                               .verify_peer = x->verify_peer, .priority = x->priority, .password = password };
        break;
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_PSK:
        t = (TlsCredsOptions){ .kind = TLS_PSK, .server = psk->endpoint == TLS_ENDPOINT_SERVER,
                               .dir = psk->dir, .username = psk->username, .priority = psk->priority };
        break;
    default:
        t = (TlsCredsOptions){ .kind = TLS_ANON, .server = anon->endpoint == TLS_ENDPOINT_SERVER,
                               .priority = anon->priority };
        break;
    }
    o->tls = tls_creds_new(&t, errp);
    secret_wipe(password, password_len);
    return o->tls != NULL;
}

static bool create_egd(Object *o, const ObjectConfig *c, Error **errp)
{
    o->egd = rng_egd_new(c->id, &o->rng, errp);
    if (o->egd == NULL) {
        return false;
    }
    if (chardevs_there && !rng_egd_connect(o->egd, c->u.rng_egd.chardev, errp)) {
        rng_egd_free(o->egd);
        rng_free(o->rng);
        return false;
    }
    return true;
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
        o->rng = rng_new(c->id, c->u.rng_random.filename, errp);
        return o->rng != NULL;
    case OBJECT_CONFIG_QOM_TYPE_RNG_BUILTIN:
        o->rng = rng_new(c->id, NULL, errp);
        return true;
    case OBJECT_CONFIG_QOM_TYPE_RNG_EGD:
        return create_egd(o, c, errp);
    case OBJECT_CONFIG_QOM_TYPE_THROTTLE_GROUP:
        return throttle_object_create(c->id, (ThrottleGroupConfig *)(uintptr_t)&c->u.throttle_group, errp);
    case OBJECT_CONFIG_QOM_TYPE_AUTHZ_SIMPLE:
    case OBJECT_CONFIG_QOM_TYPE_AUTHZ_LIST:
        qapi_authz_add(c);
        return true;
    case OBJECT_CONFIG_QOM_TYPE_SECRET:
        return create_secret(c->id, &c->u.secret, errp);
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_X509:
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_PSK:
    case OBJECT_CONFIG_QOM_TYPE_TLS_CREDS_ANON:
        return create_tls(o, c, errp);
    default:
        return error_set(errp, "object type '%s' is not supported",
                         object_config_qom_type_name(c->qom_type));
    }
}

static bool is_well_formed(const char *id)
{
    return g_ascii_isalpha(*id) && id[strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                             "0123456789-._")] == '\0';
}

static void free_object(Object *o)
{
    qapi_free_object_config(o->config);
    g_free(o->id);
    g_free(o);
}

bool objects_create(const ObjectConfig *c, Error **errp)
{
    Object *o, **at = &first;
    ObjectConfig *copy;

    if (!is_well_formed(c->id)) {
        return error_set(errp, "Parameter 'id' expects an identifier, not '%s'", c->id);
    }
    if (find(c->id) != NULL) {
        return error_set(errp, "attempt to add duplicate property '%s' to object (type 'container')", c->id);
    }
    copy = copy_config(c, errp);
    if (copy == NULL) {
        return error_context(errp, "object '%s'", c->id);
    }
    o = g_new0(Object, 1);
    o->id = g_strdup(c->id);
    o->config = copy;
    if (!create(o, o->config, errp)) {
        free_object(o);
        return error_context(errp, "object '%s'", c->id);
    }
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = o;
    return true;
}

static bool is_used(const Object *o)
{
    const void *targets[] = { o, o->iothread, o->ram, o->rng };

    for (unsigned i = 0; i < ARRAY_LEN(targets) && machine() != NULL; i++) {
        if (targets[i] != NULL && device_linked_to(machine()->root, targets[i]) != NULL) {
            return true;
        }
    }
    return o->ram != NULL && o->ram->in_use;
}

bool objects_delete(const char *id, Error **errp)
{
    Object *o = find(id), **at = &first;

    if (o == NULL) {
        unknown_id("object", id, errp);
        return false;
    }
    bool is_group = o->config->qom_type == OBJECT_CONFIG_QOM_TYPE_THROTTLE_GROUP;
    if (is_used(o) || (is_group && !throttle_group_drop(id))) {
        return error_set(errp, "object '%s' is in use, can not be deleted", id);
    }
    if (o->iothread != NULL && !iothread_remove(o->iothread, errp)) {
        return false;
    }
    if (o->ram != NULL) {
        ram_free(o->ram);
    }
    if (o->egd != NULL) {
        rng_egd_free(o->egd);
    }
    if (o->rng != NULL) {
        rng_free(o->rng);
    }
    authz_remove(id);          /* who asks it is told no */
    tls_creds_free(o->tls);    /* who uses them has a reference */
    if (o->config->qom_type == OBJECT_CONFIG_QOM_TYPE_SECRET) {
        secret_remove(id);
    }
    while (*at != o) {
        at = &(*at)->next;
    }
    *at = o->next;
    free_object(o);
    return true;
}

void objects_each(void (*fn)(const char *id, ObjectConfigQomType type, void *arg), void *arg)
{
    for (Object *o = first; o != NULL; o = o->next) {
        fn(o->id, o->config->qom_type, arg);
    }
}

const ObjectConfig *objects_config(const char *id)
{
    const Object *o = find(id);

    if (o != NULL && o->config->qom_type == OBJECT_CONFIG_QOM_TYPE_THROTTLE_GROUP) {
        throttle_object_get(id, &o->config->u.throttle_group);
    }
    return o != NULL ? o->config : NULL;
}

/* The polling of an I/O thread; the rest of objects stays as it was made. */
static bool set_iothread(Object *o, const ObjectConfig *c)
{
    IoThread *t = o->iothread;

    t->poll_max_ns = c->u.iothread.poll_max_ns;
    t->poll_grow = c->u.iothread.poll_grow;
    t->poll_shrink = c->u.iothread.poll_shrink;
    loop_set_poll(t->loop, t->poll_max_ns, t->poll_grow, t->poll_shrink);
    return true;
}

bool objects_set(const char *id, const char *prop, json_t *value, Error **errp)
{
    Object *o = find(id);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(json_t) tree = NULL;
    ObjectConfig *changed = NULL;

    if (o->config->qom_type == OBJECT_CONFIG_QOM_TYPE_THROTTLE_GROUP) {
        return throttle_object_set(id, prop, value, errp);
    }
    if (o->iothread == NULL || !g_str_has_prefix(prop, "poll-")) {
        return error_set(errp, "Property '%s.%s' is not writable",
                         object_config_qom_type_name(o->config->qom_type), prop);
    }
    qapi_write_object_config(o->config, text);
    tree = json_parse(text->str, errp);
    if (tree == NULL || json_object_set(tree, prop, value) < 0 ||
        !qapi_visit_object_config(tree, QAPI_JSON, &changed, errp)) {
        return false;
    }
    qapi_free_object_config(o->config);
    o->config = changed;
    return set_iothread(o, changed);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *objects_help(const char *text, Error **errp)
{
    g_autofree char *type = g_strndup(text, strcspn(text, ","));
    const char *name = g_str_has_prefix(type, "qom-type=") ? type + strlen("qom-type=") : type;
    const char *names[OBJECT_CONFIG_QOM_TYPE_COUNT];
    g_autoptr(GString) s = g_string_new("List of user creatable objects:\n");

    if (strcmp(name, "help") != 0 && strcmp(name, "?") != 0) {
        g_string_truncate(s, 0);
        if (!qapi_option_help_case(QAPI_OPT_OBJECT, name, s)) {
            error_set(errp, "Parameter 'qom-type' does not accept value '%s'", name);
            return NULL;
        }
        return g_string_free(g_steal_pointer(&s), FALSE);
    }
    for (unsigned i = 0; i < OBJECT_CONFIG_QOM_TYPE_COUNT; i++) {
        names[i] = object_config_qom_type_name(i);
    }
    qsort(names, OBJECT_CONFIG_QOM_TYPE_COUNT, sizeof(names[0]), compare_names);
    for (unsigned i = 0; i < OBJECT_CONFIG_QOM_TYPE_COUNT; i++) {
        g_string_append_printf(s, "  %s\n", names[i]);
    }
    return g_string_free(g_steal_pointer(&s), FALSE);
}

static bool print_help(const char *text, Error **errp)
{
    g_autofree char *help = objects_help(text, errp);

    fputs(help != NULL ? help : "", stdout);
    return help != NULL;
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
            *help = print_help(text, errp);
            return *help || error_context(errp, "-object %s", text);
        }
        if (!objects_create(o, errp)) {
            return error_context(errp, "-object %s", text);
        }
    }
    return true;
}

static void *find_memory(const char *id, Error **errp)
{
    Object *o = find(id);

    if (o == NULL || o->ram == NULL) {
        unknown_id("memory backend", id, errp);
        return NULL;
    }
    return o->ram;
}

static const char *memory_id(void *target)
{
    return ((RamBlock *)target)->id;
}

RamBlock *objects_take_memory(const char *id, Error **errp)
{
    RamBlock *ram = find_memory(id, errp);

    if (ram == NULL) {
        return NULL;
    }
    if (ram->in_use) {
        error_set(errp, "memory backend '%s' is already in use", id);
        return NULL;
    }
    ram->in_use = true;
    return ram;
}

TlsCreds *objects_tls(const char *id, bool server, Error **errp)
{
    const Object *o = find(id);

    if (o == NULL || o->tls == NULL) {
        error_set(errp, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    if (tls_creds_for_server(o->tls) != server) {
        error_set(errp, "Expecting TLS credentials with a %s endpoint", server ? "server" : "client");
        return NULL;
    }
    return o->tls;
}

bool objects_connect(Error **errp)
{
    chardevs_there = true;
    for (Object *o = first; o != NULL; o = o->next) {
        if (o->egd != NULL && !rng_egd_connect(o->egd, o->config->u.rng_egd.chardev, errp)) {
            return error_context(errp, "-object rng-egd,id=%s", o->id);
        }
    }
    return true;
}

/* rng=ID */
static void *find_rng(const char *id, Error **errp)
{
    Object *o = find(id);

    if (o == NULL || o->rng == NULL) {
        unknown_id("rng object", id, errp);
        return NULL;
    }
    return o->rng;
}

static const char *rng_id(void *target)
{
    return ((RngSource *)target)->id;
}

void objects_init(void)
{
    static const LinkClass rng = { "rng", find_rng, rng_id };
    static const LinkClass memory = { "memory-backend", find_memory, memory_id };

    link_class_register(&rng);
    link_class_register(&memory);
    iothread_register(blk_forget_loop);
}
