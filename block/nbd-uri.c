/* nbd-uri.c: file names of NBD exports, by the NBD URI specification (NetworkBlockDevice/nbd, doc/uri.md)
 * and in the older form with colons. */
#include <string.h>
#include "block/nbd-proto.h"
#include "block/nbd-uri.h"

void nbd_uri_free(BlkNbdParsed *p)
{
    if (p) {
        for (unsigned i = 0; i < G_N_ELEMENTS(p->text); i++) {
            g_free(p->text[i]);
        }
        g_free(p);
    }
}

static void fill(BlkNbdParsed *p)
{
    p->o = (BlkNbdOptions){ .path = p->text[0], .host = p->text[1], .port = p->text[2],
                            .export_name = p->text[3] };
}

/* "nbd:..." */
static bool parse_colons(BlkNbdParsed *p, const char *text, Error **errp)
{
    const char *name = strstr(text, ":exportname=");
    g_autofree char *where = name ? g_strndup(text, name - text) : g_strdup(text);
    char *port;

    p->text[3] = name ? g_strdup(name + strlen(":exportname=")) : NULL;
    if (g_str_has_prefix(where, "unix:")) {
        p->text[0] = g_strdup(where + strlen("unix:"));
        return *p->text[0] || error_set(errp, "nbd:%s: the socket's path is missing", text);
    }
    port = strrchr(where, ':');
    if (!port) {
        return error_set(errp, "nbd:%s: neither unix:PATH nor HOST:PORT", text);
    }
    *port = '\0';
    size_t n = strlen(where);
    bool bracketed = n > 2 && where[0] == '[' && where[n - 1] == ']';
    p->text[1] = bracketed ? g_strndup(where + 1, n - 2) : g_strdup(where);
    p->text[2] = g_strdup(port + 1);
    return true;
}

static bool parse_uri(BlkNbdParsed *p, const char *text, Error **errp)
{
    g_autoptr(GError) err = NULL;
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, &err);
    g_autoptr(GHashTable) query = NULL;

    if (!uri) {
        return error_set(errp, "%s: %s", text, err->message);
    }
    const char *scheme = g_uri_get_scheme(uri), *path = g_uri_get_path(uri);
    bool is_unix = g_str_has_suffix(scheme, "+unix");
    if (g_str_has_prefix(scheme, "nbds")) {
        return error_set(errp, "%s: nbds needs tls-creds, which a file name cannot give", text);
    }
    if (strcmp(scheme, "nbd") && strcmp(scheme, "nbd+tcp") && strcmp(scheme, "nbd+unix")) {
        return error_set(errp, "%s: unknown scheme '%s'", text, scheme);
    }
    p->text[3] = g_strdup(*path == '/' ? path + 1 : path);
    if (g_uri_get_query(uri)) {
        query = g_uri_parse_params(g_uri_get_query(uri), -1, "&", G_URI_PARAMS_NONE, NULL);
    }
    const char *socket = query ? g_hash_table_lookup(query, "socket") : NULL;
    if (is_unix != (socket != NULL) || (query && g_hash_table_size(query) != 1)) {
        return error_set(errp, "%s: %s", text, is_unix ? "?socket=PATH is what follows nbd+unix:///EXPORT"
                                                       : "nothing follows the export's name");
    }
    if (is_unix) {
        p->text[0] = g_strdup(socket);
        return true;
    }
    if (!g_uri_get_host(uri) || !*g_uri_get_host(uri)) {
        return error_set(errp, "%s: the host is missing", text);
    }
    p->text[1] = g_strdup(g_uri_get_host(uri));
    p->text[2] = g_uri_get_port(uri) > 0 ? g_strdup_printf("%d", g_uri_get_port(uri))
                                         : g_strdup(NBD_DEFAULT_PORT);
    return true;
}

BlkNbdParsed *nbd_uri_parse(const char *text, Error **errp)
{
    g_autoptr(BlkNbdParsed) p = g_new0(BlkNbdParsed, 1);

    if (!text || !g_str_has_prefix(text, "nbd")) {
        error_set(errp, "The 'nbd' block driver requires a server");
        return NULL;
    }
    bool colons = g_str_has_prefix(text, "nbd:") && !g_str_has_prefix(text, "nbd://");
    if (!(colons ? parse_colons(p, text + strlen("nbd:"), errp) : parse_uri(p, text, errp))) {
        return NULL;
    }
    fill(p);
    return g_steal_pointer(&p);
}

char *nbd_uri_make(const BlkNbdOptions *o)
{
    const char *name = o->export_name ? o->export_name : "";
    bool v6 = o->host && strchr(o->host, ':');

    if (o->fd_name) {
        return g_strdup_printf("nbd:fd:%s", o->fd_name);
    }
    if (o->path) {
        return g_strdup_printf("nbd+unix://%s%s?socket=%s", *name ? "/" : "", name, o->path);
    }
    return g_strdup_printf("nbd://%s%s%s:%s%s%s", v6 ? "[" : "", o->host, v6 ? "]" : "", o->port,
                           *name ? "/" : "", name);
}
