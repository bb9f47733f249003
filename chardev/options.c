/* options.c: reads the -chardev text and the short forms into ChardevOptions.
 *
 * 1. One table row for each key says which back ends know it and where its value goes. */
#include "chardev/char.h"

#include <string.h>
#include "chardev/char-int.h"
#include "util/bytes.h"

typedef enum KeyKind { KEY_STR, KEY_BOOL, KEY_SIZE, KEY_SECONDS, KEY_IGNORED } KeyKind;

/* Back ends as bits. */
#define B_FILE 1u
#define B_PATH 2u              /* pipe, serial: a path and no more */
#define B_STDIO 4u
#define B_SOCKET 8u
#define B_RING 16u
#define B_OTHER 32u            /* null, pty, vc */
#define B_ALL ~0u

typedef struct Key {
    const char *name;
    KeyKind kind;
    unsigned who;
    size_t at;
} Key;

#define AT(f) offsetof(ChardevOptions, f)
static const Key keys[] = {
    { "id", KEY_STR, B_ALL, AT(id) },
    { "mux", KEY_BOOL, B_ALL, AT(mux) },
    { "logfile", KEY_STR, B_ALL, AT(logfile) },
    { "logappend", KEY_BOOL, B_ALL, AT(logappend) },
    { "path", KEY_STR, B_FILE | B_PATH | B_SOCKET, AT(path) },
    { "input-path", KEY_STR, B_FILE, AT(input_path) },
    { "append", KEY_BOOL, B_FILE, AT(append) },
    { "signal", KEY_BOOL, B_STDIO, AT(signal) },
    { "size", KEY_SIZE, B_RING, AT(size) },
    { "host", KEY_STR, B_SOCKET, AT(host) },
    { "port", KEY_STR, B_SOCKET, AT(port) },
    { "fd", KEY_STR, B_SOCKET, AT(fd) },
    { "abstract", KEY_BOOL, B_SOCKET, AT(abstract) },
    { "tight", KEY_BOOL, B_SOCKET, AT(tight) },
    { "server", KEY_BOOL, B_SOCKET, AT(server) },
    { "wait", KEY_BOOL, B_SOCKET, AT(wait) },
    { "telnet", KEY_BOOL, B_SOCKET, AT(telnet) },
    { "nodelay", KEY_BOOL, B_SOCKET, AT(nodelay) },
    { "delay", KEY_IGNORED, B_SOCKET, 0 },
    { "ipv4", KEY_BOOL, B_SOCKET, AT(ipv4) },
    { "ipv6", KEY_BOOL, B_SOCKET, AT(ipv6) },
    { "reconnect", KEY_SECONDS, B_SOCKET, AT(reconnect_s) },
    { "width", KEY_IGNORED, B_OTHER, 0 },      /* vc: no text console to give a size to */
    { "height", KEY_IGNORED, B_OTHER, 0 },
    { "cols", KEY_IGNORED, B_OTHER, 0 },
    { "rows", KEY_IGNORED, B_OTHER, 0 },
};

static const struct {
    const char *name, *is;     /* @is: its own name, or what an alias stands for */
    unsigned bits;
} backends[] = {
    { "file", "file", B_FILE },        { "memory", "ringbuf", B_RING },
    { "null", "null", B_OTHER },       { "pipe", "pipe", B_PATH },
    { "pty", "pty", B_OTHER },         { "ringbuf", "ringbuf", B_RING },
    { "serial", "serial", B_PATH },    { "socket", "socket", B_SOCKET },
    { "stdio", "stdio", B_STDIO },     { "tty", "serial", B_PATH },
    { "vc", "null", B_OTHER },
};

ChardevOptions *chardev_options_new(const char *backend, const char *id)
{
    ChardevOptions *o = g_new0(ChardevOptions, 1);

    o->backend = g_strdup(backend);
    o->id = g_strdup(id);
    o->signal = o->wait = o->tight = true;
    o->size = 64 * KiB;
    return o;
}

void chardev_options_free(ChardevOptions *o)
{
    if (o) {
        g_free(o->id);
        g_free(o->backend);
        g_free(o->logfile);
        g_free(o->path);
        g_free(o->input_path);
        g_free(o->host);
        g_free(o->port);
        g_free(o->fd);
        g_free(o);
    }
}

void chardev_each_backend(void (*fn)(const char *name, void *arg), void *arg)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++) {
        fn(backends[i].name, arg);
    }
}

const char *chardev_backend_name(const char *name, Error **errp)
{
    const char *names[G_N_ELEMENTS(backends) + 1] = { NULL };

    for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            return backends[i].is;
        }
        names[i] = backends[i].name;
    }
    error_set(errp, "'%s' is not a valid char driver name", name);
    error_suggest(errp, name, names);
    return NULL;
}

static unsigned backend_bits(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(backends); i++) {
        if (strcmp(backends[i].name, name) == 0) {
            return backends[i].bits;
        }
    }
    return 0;
}

/* The next comma-separated part of *@text, doubled commas undone; NULL at the end. */
static char *next_part(const char **text)
{
    const char *p = *text;

    if (!p) {
        return NULL;
    }
    GString *s = g_string_new(NULL);
    while (*p && (*p != ',' || p[1] == ',')) {
        p += *p == ',';
        g_string_append_c(s, *p++);
    }
    *text = *p ? p + 1 : NULL;
    return g_string_free(s, FALSE);
}

static bool parse_bool(const char *key, const char *value, bool *out, Error **errp)
{
    *out = strcmp(value, "on") == 0 || strcmp(value, "yes") == 0 || strcmp(value, "true") == 0;
    return *out || strcmp(value, "off") == 0 || strcmp(value, "no") == 0 ||
           strcmp(value, "false") == 0 ||
           error_set(errp, "Parameter '%s' expects 'on' or 'off'", key);
}

static bool parse_number(const char *key, const char *value, bool units, uint64_t *out,
                         Error **errp)
{
    static const char suffixes[] = "bkmg";
    char *end;
    unsigned shift = 0;

    if (!g_ascii_isdigit(*value)) {
        return error_set(errp, "Parameter '%s' expects a %s", key, units ? "size" : "number");
    }
    *out = g_ascii_strtoull(value, &end, 0);
    if (units && *end) {
        const char *s = strchr(suffixes, g_ascii_tolower(*end));

        if (s) {
            shift = 10 * (s - suffixes);
            end++;
        }
    }
    if (*end || *out > (UINT64_C(1) << 30)) {
        return error_set(errp, "Parameter '%s' expects a %s up to 1G", key,
                         units ? "size" : "number");
    }
    *out <<= shift;
    return true;
}

static const Key *find_key(const char *name, unsigned bits)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strcmp(keys[i].name, name) == 0 && (keys[i].who & bits)) {
            return &keys[i];
        }
    }
    return NULL;
}

static bool unknown_key(const char *name, unsigned bits, const char *backend, Error **errp)
{
    const char *names[G_N_ELEMENTS(keys) + 1] = { NULL };
    unsigned n = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (keys[i].who & bits) {
            names[n++] = keys[i].name;
        }
    }
    error_set(errp, "Invalid parameter '%s' for chardev '%s'", name, backend);
    return error_suggest(errp, name, names);
}

static bool set_key(ChardevOptions *o, const Key *k, const char *value, Error **errp)
{
    void *at = (char *)o + k->at;
    uint64_t number;

    switch (k->kind) {
    case KEY_STR:
        g_free(*(char **)at);
        *(char **)at = g_strdup(value);
        return true;
    case KEY_BOOL:
        return parse_bool(k->name, value, at, errp);
    case KEY_SIZE:
        return parse_number(k->name, value, true, at, errp);
    case KEY_SECONDS:
        if (!parse_number(k->name, value, false, &number, errp)) {
            return false;
        }
        *(int64_t *)at = number;
        return true;
    default:
        return true;
    }
}

/* One "key=value", or a bare "key" or "nokey". */
static bool read_part(ChardevOptions *o, char *part, Error **errp)
{
    unsigned bits = backend_bits(o->backend);
    char *eq = strchr(part, '=');
    const char *value = eq ? eq + 1 : "on";

    if (eq) {
        *eq = 0;
    }
    const Key *k = find_key(part, bits);
    if (!k && !eq && g_str_has_prefix(part, "no")) {
        k = find_key(part + 2, bits);
        value = "off";
    }
    if (!k) {
        return unknown_key(part, bits, o->backend, errp);
    }
    if (!eq && k->kind != KEY_BOOL && k->kind != KEY_IGNORED) {
        return error_set(errp, "Parameter '%s' needs a value", k->name);
    }
    return set_key(o, k, value, errp);
}

static bool read_parts(ChardevOptions *o, const char *text, Error **errp)
{
    for (;;) {
        g_autofree char *part = next_part(&text);

        if (!part) {
            return true;
        }
        if (*part && !read_part(o, part, errp)) {
            return false;
        }
    }
}

static bool id_is_good(const char *id, Error **errp)
{
    bool good = g_ascii_isalpha(*id);

    for (const char *p = id; good && *p; p++) {
        good = g_ascii_isalnum(*p) || strchr("-._", *p);
    }
    if (!good) {
        error_set(errp, "Parameter 'id' expects an identifier");
        error_hint(errp, "Identifiers consist of letters, digits, '-', '.', '_', "
                   "starting with a letter.");
    }
    return good;
}

ChardevOptions *chardev_parse(const char *arg, Error **errp)
{
    g_autofree char *first = next_part(&arg);
    /* "backend=socket,..." is the long spelling of the first part. */
    const char *name = g_str_has_prefix(first, "backend=") ? first + 8 : first;

    if (!chardev_backend_name(name, errp)) {
        return NULL;
    }
    g_autoptr(ChardevOptions) o = chardev_options_new(name, NULL);
    if (!read_parts(o, arg, errp)) {
        return NULL;
    }
    if (!o->id) {
        error_set(errp, "chardev: no id specified");
        return NULL;
    }
    return id_is_good(o->id, errp) ? g_steal_pointer(&o) : NULL;
}

/* --- the short forms --- */

/* "HOST:PORT" with an optional [v6] host. */
static bool read_host_port(ChardevOptions *o, const char *text, Error **errp)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (!colon || !colon[1]) {
        return error_set(errp, "'%s' is not HOST:PORT", text);
    }
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return error_set(errp, "'%s' is not HOST:PORT (write an IPv6 host in brackets)", text);
    }
    o->host = g_strndup(text, len);
    o->port = g_strdup(colon + 1);
    return true;
}

/* "PATH" or "HOST:PORT", then options. */
static bool read_socket(ChardevOptions *o, const char *rest, bool is_unix, Error **errp)
{
    g_autofree char *where = next_part(&rest);

    if (is_unix) {
        o->path = g_strdup(where);
    } else if (!read_host_port(o, where, errp)) {
        return false;
    }
    return read_parts(o, rest, errp);
}

static const char *after(const char *text, const char *prefix)
{
    return g_str_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

static ChardevOptions *read_new_short(const char *arg, const char *id, Error **errp)
{
    static const char *const names[] = { "stdio", "null", "none", "pty", "ringbuf", "memory",
                                         NULL };
    g_autoptr(ChardevOptions) o = chardev_options_new("null", id);
    const char *rest;
    bool ok = true;

    if ((rest = after(arg, "file:")) || (rest = after(arg, "pipe:"))) {
        g_free(o->backend);
        o->backend = g_strndup(arg, 4);
        o->path = next_part(&rest);
        ok = read_parts(o, rest, errp);
    } else if ((rest = after(arg, "unix:")) || (rest = after(arg, "tcp:")) ||
               (rest = after(arg, "telnet:"))) {
        g_free(o->backend);
        o->backend = g_strdup("socket");
        o->telnet = *arg == 't' && arg[1] == 'e';
        ok = read_socket(o, rest, *arg == 'u', errp);
    } else if (g_str_has_prefix(arg, "/dev/")) {
        g_free(o->backend);
        o->backend = g_strdup("serial");
        o->path = g_strdup(arg);
    } else {
        g_autofree char *name = g_strndup(arg, strcspn(arg, ",:"));

        if (!g_strv_contains(names, name) || arg[strlen(name)] == ':') {
            /* vc:80Cx24C gives a size to a console there is none of. */
            if (strcmp(name, "vc") != 0) {
                error_set(errp, "'%s' is not a valid char driver", arg);
                error_suggest(errp, name, names);
                return NULL;
            }
            return g_steal_pointer(&o);
        }
        g_free(o->backend);
        o->backend = g_strdup(name);
        ok = arg[strlen(name)] == 0 || read_parts(o, arg + strlen(name) + 1, errp);
    }
    return ok ? g_steal_pointer(&o) : NULL;
}

ChardevShort chardev_parse_short(const char *arg, const char *id, ChardevOptions **opts,
                                 char **existing, Error **errp)
{
    const char *rest = after(arg, "chardev:");
    bool with_monitor = g_str_has_prefix(arg, "mon:");

    *opts = NULL;
    if (rest) {
        *existing = g_strdup(rest);
        return CHARDEV_SHORT_EXISTING;
    }
    if (strcmp(arg, "none") == 0) {
        return CHARDEV_SHORT_NONE;
    }
    ChardevOptions *o = read_new_short(with_monitor ? arg + 4 : arg, id, errp);
    if (!o) {
        error_context(errp, "could not connect to character backend '%s'", arg);
        return CHARDEV_SHORT_ERROR;
    }
    if (with_monitor) {
        o->mux = o->with_monitor = true;
    }
    *opts = o;
    return CHARDEV_SHORT_NEW;
}
