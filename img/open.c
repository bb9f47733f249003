/* open.c: images as the tools' command lines name them.
 *
 * 1. A name is a file, "file:" and a file, "json:" and options, or with --image-opts options.
 * 2. A format that is not given is the one the file looks like; what a backing file is, the image says. */
#include <sys/stat.h>
#include "img/img.h"
#include "qapi/json.h"
#include "qapi/keyval.h"
#include "qapi/tables.h"
#include "qapi/types.h"
#include "util/bytes.h"

/* --- cache modes --- */

static bool cache_read(const char *mode, BlkOptions *o, bool *through, Error **errp)
{
    static const struct { const char *name; bool direct, no_flush, through; } modes[] = {
        { "writeback", false, false, false }, { "none", true, false, false }, { "off", true, false, false },
        { "writethrough", false, false, true }, { "directsync", true, false, true },
        { "unsafe", false, true, false },
    };

    for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
        if (!strcmp(modes[i].name, mode)) {
            o->cache_direct = modes[i].direct;
            o->cache_no_flush = modes[i].no_flush;
            *through = modes[i].through;
            return true;
        }
    }
    return error_set(errp, "Invalid cache option: %s", mode);
}

bool image_cache_ok(const char *mode, Error **errp)
{
    BlkOptions o;
    bool through;

    return cache_read(mode, &o, &through, errp);
}

/* --- options in words --- */

static bool word_bool(const json_t *v, bool *out)
{
    if (json_is_boolean(v)) {
        *out = json_boolean_value(v);
        return true;
    }
    return json_is_string(v) && keyval_bool(json_string_value(v), out);
}

static bool word_size(const json_t *v, uint64_t *out)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *out = (uint64_t)json_integer_value(v);
        return true;
    }
    return json_is_string(v) && size_read(json_string_value(v), out);
}

static const BlkOptions *options_of(const json_t *tree, GPtrArray *arena, Error **errp);

static bool take_cache(const json_t *v, BlkOptions *o)
{
    const char *key;
    json_t *flag;
    bool ok = json_is_object(v);

    json_object_foreach((json_t *)(uintptr_t)v, key, flag) {
        ok = ok && ((!strcmp(key, "direct") && word_bool(flag, &o->cache_direct)) ||
                    (!strcmp(key, "no-flush") && word_bool(flag, &o->cache_no_flush)));
    }
    return ok;
}

static bool take_encrypt(const json_t *v, BlkOptions *o)
{
    const char *key;
    json_t *word;
    bool ok = json_is_object(v);

    json_object_foreach((json_t *)(uintptr_t)v, key, word) {
        const char *text = json_string_value(word);

        if (!strcmp(key, "format")) {
            o->encrypt_format = text;
        } else if (!strcmp(key, "key-secret")) {
            o->key_secret = text;
        } else {
            ok = false;
        }
        ok = ok && text;
    }
    return ok;
}

static bool take_pass(const char *what, const json_t *v, BlkOptions *o)
{
    static const char *const names[BLK_FREED_KINDS] = { "request", "snapshot", "other" };
    bool on = false;

    for (BlkFreed why = 0; why < BLK_FREED_KINDS; why++) {
        if (!strcmp(what, names[why])) {
            o->pass_discard[why] = word_bool(v, &on) ? blk_on_off(true, on) : BLK_DEFAULT;
            return o->pass_discard[why] != BLK_DEFAULT;
        }
    }
    return false;
}

static bool take_node(const json_t *v, const BlkOptions **out, GPtrArray *arena, Error **errp)
{
    if (!json_is_object(v)) {
        return error_set(errp, "a node is described by its options here");
    }
    return (*out = options_of(v, arena, errp)) != NULL;
}

static bool take_detect(const char *text, BlkOptions *o)
{
    static const char *const names[] = { "off", "on", "unmap" };

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (!strcmp(text, names[i])) {
            o->detect_zeroes = (BlkDetect)i;
            return true;
        }
    }
    return false;
}

/* What only one driver knows: a type of the schema, QAPI_T_... of its options. */
static const struct { const char *driver; unsigned type; } own_types[] = {
    { "blkdebug", QAPI_T_BLKDEBUG_OWN }, { "blklogwrites", QAPI_T_BLKLOGWRITES_OWN },
    { "copy-on-read", QAPI_T_COPY_ON_READ_OWN }, { "preallocate", QAPI_T_PREALLOCATE_OWN },
};

static unsigned own_type(const char *driver)
{
    for (unsigned i = 0; driver && i < ARRAY_LEN(own_types); i++) {
        if (!strcmp(own_types[i].driver, driver)) {
            return own_types[i].type;
        }
    }
    return 0;
}

static bool take_own(BlkOptions *o, unsigned type, json_t *words, Error **errp)
{
    /* From JSON numbers are numbers, from a command line they are words. */
    return qapi_read(type, words, QAPI_JSON, &o->own, NULL) ||
           qapi_read(type, words, QAPI_KEYVAL, &o->own, errp);
}

/* For the arena: @o with what it owns. */
static void options_free(gpointer p)
{
    BlkOptions *o = p;

    if (o->own) {
        qapi_free(own_type(o->driver), (void *)(uintptr_t)o->own);
    }
    g_free(o);
}

typedef struct Search {
    const char *key;
    bool found;
} Search;

static void look(const char *name, const char *kind, void *arg)
{
    Search *s = arg;

    s->found |= !strcmp(name, s->key);
}

static bool is_own(unsigned type, const char *key)
{
    Search s = { .key = key };

    qapi_each_member(type, -1, look, &s);
    return s.found;
}

/* One option; false without an error: its value is wrong or nobody knows it. */
static bool take_word(BlkOptions *o, const char *key, const json_t *v, GPtrArray *arena, Error **errp)
{
    const char *text = json_string_value(v);
    bool flag = false;

    if (!strcmp(key, "driver")) {
        return (o->driver = text) != NULL;
    } else if (!strcmp(key, "node-name")) {
        return (o->node_name = text) != NULL;
    } else if (!strcmp(key, "filename")) {
        return (o->filename = text) != NULL;
    } else if (!strcmp(key, "read-only")) {
        return word_bool(v, &o->read_only);
    } else if (!strcmp(key, "auto-read-only")) {
        return word_bool(v, &o->auto_read_only);
    } else if (!strcmp(key, "force-share")) {
        return word_bool(v, &flag) && (!flag || (o->locking = BLK_LOCKING_OFF, true));
    } else if (!strcmp(key, "discard")) {
        o->discard_unmap = text && (!strcmp(text, "unmap") || !strcmp(text, "on"));
        return o->discard_unmap || (text && (!strcmp(text, "ignore") || !strcmp(text, "off")));
    } else if (g_str_has_prefix(key, "pass-discard-")) {
        return take_pass(key + strlen("pass-discard-"), v, o);
    } else if (!strcmp(key, "cache")) {
        return take_cache(v, o);
    } else if (!strcmp(key, "aio")) {
        return text && blk_parse_aio(text, &o->aio, errp);
    } else if (!strcmp(key, "locking")) {
        return text && blk_parse_locking(text, &o->locking, errp);
    } else if (!strcmp(key, "offset")) {
        return word_size(v, &o->offset);
    } else if (!strcmp(key, "size")) {
        return o->has_size = word_size(v, &o->size);
    } else if (!strcmp(key, "latency-ns")) {
        return word_size(v, &o->latency_ns);
    } else if (!strcmp(key, "key-secret")) {
        return (o->key_secret = text) != NULL;
    } else if (!strcmp(key, "encrypt")) {
        return take_encrypt(v, o);
    } else if (!strcmp(key, "read-zeroes")) {
        return word_bool(v, &o->read_zeroes);
    } else if (!strcmp(key, "file") || !strcmp(key, "image") || !strcmp(key, "test")) {
        return take_node(v, &o->child, arena, errp);
    } else if (!strcmp(key, "raw") || !strcmp(key, "log")) {
        return take_node(v, &o->other, arena, errp);
    } else if (!strcmp(key, "detect-zeroes")) {
        return text && take_detect(text, o);
    } else if (!strcmp(key, "backing")) {
        o->backing_none = json_is_null(v) || (text && !*text);
        return o->backing_none || take_node(v, &o->backing, arena, errp);
    }
    return false;
}

static const BlkOptions *options_of(const json_t *tree, GPtrArray *arena, Error **errp)
{
    BlkOptions *o = g_new0(BlkOptions, 1);
    const char *key;
    json_t *v;
    unsigned type = own_type(json_string_value(json_object_get(tree, "driver")));
    g_autoptr(json_t) own = json_object();

    g_ptr_array_add(arena, o);
    json_object_foreach((json_t *)(uintptr_t)tree, key, v) {
        Error *err = NULL;

        if (type && is_own(type, key)) {
            json_object_set(own, key, v);
            continue;
        }
        if (!take_word(o, key, v, arena, &err)) {
            if (!err) {
                error_set(&err, "Invalid parameter or value: '%s'", key);
            }
            error_move(errp, err);
            return NULL;
        }
    }
    if (type && !take_own(o, type, own, errp)) {
        return NULL;
    }
    if (!o->driver && o->filename && !o->child) {
        struct stat st;

        o->driver = stat(o->filename, &st) == 0 && S_ISBLK(st.st_mode) ? "host_device" : "file";
    }
    return o;
}

/* --- opening --- */

static const char *guess(const BlkOptions *file, Error **errp)
{
    BlkOptions o = *file;

    o.aio = BLK_AIO_THREADS;
    o.read_only = true;
    BlkNode *n = blk_open(&o, errp);
    if (!n) {
        return NULL;
    }
    BlkUser u = { 0 };
    const char *found = blk_attach(n, &u, "probe", BLK_PERM_READ, BLK_PERM_ALL, errp) ? blk_probe(n, errp) :
        NULL;
    blk_detach(&u);
    blk_close(n, NULL);
    return found;
}

/* The image that @o describes, under what @flags put on it. */
static BlkNode *open_stack(Image *i, const BlkOptions *o, unsigned flags, Error **errp)
{
    BlkOptions top = { .driver = "copy-on-read", .child = o, .discard_unmap = o->discard_unmap,
                       .cache_direct = o->cache_direct, .cache_no_flush = o->cache_no_flush };

    if (flags & OPEN_SNAPSHOT && flags & OPEN_WRITE) {
        BlkOptions over = { .discard_unmap = true };
        BlkNode *n = blk_open_temporary(o, &over, errp);

        if (!n || !(flags & OPEN_COPY)) {
            return n;
        }
        i->below = n;
        top.child = NULL;
        top.child_ref = blk_name(n);
    }
    i->copying = flags & OPEN_COPY;
    return blk_open(i->copying ? &top : o, errp);
}

/* Adds to @o what the command says: how it is used. */
static bool open_node(Image *i, BlkOptions *o, const char *cache, unsigned flags, Error **errp)
{
    BlkOptions file = o->child ? *o->child : (BlkOptions){ 0 };
    bool through = false;

    if (cache && !cache_read(cache, o, &through, errp)) {
        return false;
    }
    o->read_only |= !(flags & OPEN_WRITE);
    o->backing_none |= flags & OPEN_NO_BACKING && o->driver && !strcmp(o->driver, "qcow2") && !o->backing;
    o->for_repair = flags & OPEN_REPAIR;
    o->discard_unmap |= flags & OPEN_UNMAP;
    o->no_data = flags & OPEN_LOOK;
    if (o->child) {
        file.locking = flags & OPEN_SHARE ? BLK_LOCKING_OFF : file.locking;
        o->child = &file;
    } else if (flags & OPEN_SHARE) {
        o->locking = BLK_LOCKING_OFF;
    }
    i->node = open_stack(i, o, flags, errp);
    unsigned need = BLK_PERM_READ | (flags & OPEN_WRITE ? BLK_PERM_WRITE : 0) |
                    (flags & OPEN_RESIZE ? BLK_PERM_RESIZE : 0);
    return i->node && blk_attach(i->node, &i->use, "the tool", need,
                                 flags & OPEN_SHARE ? BLK_PERM_ALL : BLK_PERM_READ | BLK_PERM_RESIZE, errp);
}

static bool open_words(Image *i, const char *text, bool json, const char *cache, unsigned flags, Error **errp)
{
    g_autoptr(json_t) tree = json ? json_parse(text, errp)
                                  : keyval_parse(text, NULL, QAPI_FORM_STRICT, NULL, NULL, errp);
    g_autoptr(GPtrArray) arena = g_ptr_array_new_with_free_func(options_free);
    const BlkOptions *got = tree ? options_of(tree, arena, errp) : NULL;

    if (!got) {
        return false;
    }
    BlkOptions o = *got;
    if (!o.driver && o.child) {
        o.driver = guess(o.child, errp);
    }
    return (o.driver || (errp && *errp) || error_set(errp, "Must specify a block driver: 'driver'")) &&
           o.driver &&
           open_node(i, &o, cache, flags, errp);
}

/* "blkdebug:CONFIG:FILE" and "blkverify:RAW:TEST". */
typedef struct DebugName {
    bool is;
    char *first, *second;
    BlkdebugOwn own;
    BlkOptions file, inner, raw, raw_file, test_file;
} DebugName;

static void debug_name_free(DebugName *d)
{
    g_free(d->first);
    g_free(d->second);
    g_free(d);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(DebugName, debug_name_free)

/* NULL: it is such a name, and wrong. */
static DebugName *debug_name(const char *name, Error **errp)
{
    bool verify = g_str_has_prefix(name, "blkverify:");
    g_autoptr(DebugName) d = g_new0(DebugName, 1);

    d->is = verify || g_str_has_prefix(name, "blkdebug:");
    if (!d->is) {
        return g_steal_pointer(&d);
    }
    const char *first = strchr(name, ':') + 1, *colon = strchr(first, ':');
    if (!colon) {
        error_set(errp, verify ? "blkverify requires raw copy and original image path"
                               : "blkdebug requires both config file and image path");
        return NULL;
    }
    d->first = g_strndup(first, (gsize)(colon - first));
    d->second = g_strdup(colon + 1);
    d->inner = (BlkOptions){ .driver = blk_protocol_of(d->second), .filename = d->second };
    if (!verify) {
        d->own.config = d->first;
        d->file = (BlkOptions){ .driver = "blkdebug", .own = &d->own, .child = &d->inner };
        return g_steal_pointer(&d);
    }
    d->test_file = d->inner;
    d->inner = (BlkOptions){ .driver = guess(&d->test_file, errp), .child = &d->test_file };
    d->raw_file = (BlkOptions){ .driver = blk_protocol_of(d->first), .filename = d->first };
    d->raw = (BlkOptions){ .driver = "raw", .child = &d->raw_file };
    d->file = (BlkOptions){ .driver = "blkverify", .child = &d->inner, .other = &d->raw };
    return d->inner.driver ? g_steal_pointer(&d) : NULL;
}

static bool open_file(Image *i, const char *name, const char *format, const char *cache, unsigned flags,
                      const char *key_secret, Error **errp)
{
    const char *path = g_str_has_prefix(name, "file:") ? name + strlen("file:") : name;
    const char *colon = strchr(path, ':'), *slash = strchr(path, '/');
    struct stat st;
    bool there = stat(path, &st) == 0;
    bool remote = !there && !strcmp(blk_protocol_of(path), "nbd");
    g_autoptr(DebugName) debug = debug_name(path, errp);
    if (!debug) {
        return false;
    }
    BlkOptions file = { .driver = remote ? "nbd" : there && S_ISBLK(st.st_mode) ? "host_device" : "file",
                        .filename = path,
                        .locking = flags & OPEN_SHARE && !remote ? BLK_LOCKING_OFF : BLK_LOCKING_AUTO };

    if (debug->is) {
        file = debug->file;
    } else if (!there && !remote && path == name && colon && (!slash || slash > colon)) {
        return error_set(errp, "Unknown protocol '%.*s'", (int)(colon - path), path);
    }
    if (format && (!strcmp(format, "file") || !strcmp(format, "host_device"))) {
        return open_node(i, &file, cache, flags, errp);
    }
    file.aio = flags & OPEN_NATIVE ? BLK_AIO_NATIVE : flags & OPEN_URING ? BLK_AIO_IO_URING : BLK_AIO_THREADS;
    bool guessed = !format;
    if (guessed) {
        format = guess(&file, errp);
    }
    if (!format) {
        return false;
    }
    if (guessed && !strcmp(format, "raw") && flags & OPEN_WRITE) {
        fprintf(stderr, "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
                "         Automatically detecting the format is dangerous for raw images.\n"
                "         Specify the 'raw' format explicitly to remove this warning.\n", name);
    }
    BlkOptions o = { .driver = format, .child = &file, .key_secret = key_secret };
    return open_node(i, &o, cache, flags, errp);
}

bool image_open(Image *i, const char *name, const char *format, const char *cache, unsigned flags,
                Error **errp)
{
    return image_open_key(i, name, format, cache, flags, NULL, errp);
}

bool image_open_key(Image *i, const char *name, const char *format, const char *cache, unsigned flags,
                    const char *key_secret, Error **errp)
{
    *i = (Image){ 0 };
    bool json = g_str_has_prefix(name, "json:");
    bool ok = json || flags & OPEN_OPTS ? open_words(i, json ? name + strlen("json:") : name, json, cache,
                                                     flags, errp)
                                        : open_file(i, name, format, cache, flags, key_secret, errp);
    if (!ok) {
        image_close(i);
        return flags & OPEN_BARE ? false : error_context(errp, "Could not open '%s'", name);
    }
    return true;
}

bool image_close(Image *i)
{
    bool written = i->node && !blk_read_only(i->node), ok = !written || blk_pflush(i->node) == 0;

    blk_detach(&i->use);
    if (i->node) {
        Error *err = NULL;

        /* A format may have something left to write, storage has not. */
        if (ok && written && blk_child(i->node, 0) && !blk_set_read_only(i->node, true, &err)) {
            error_report(err);
            ok = false;
        }
        blk_close(i->node, NULL);
        i->node = NULL;
    }
    if (i->below) {
        blk_close(i->below, NULL);
        i->below = NULL;
    }
    i->copying = false;
    return ok;
}

char *path_beside(const char *of, const char *name)
{
    g_autofree char *dir = g_path_get_dirname(of);

    name += g_str_has_prefix(name, "file:") ? strlen("file:") : 0;
    return g_path_is_absolute(name) || !strchr(of, '/') ? g_strdup(name) : g_build_filename(dir, name, NULL);
}
