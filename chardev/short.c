/* short.c: the short forms of -serial and its like as what -chardev would say.
 *
 * 1. A short form becomes the text of the long one, and the schema's parser reads that: what a back
 *    end takes is written down once, in qapi/chardev.json. */
#include "chardev/char.h"

#include <string.h>

/* How long the first comma-separated part of @text is; a doubled comma is part of it. */
static size_t part_len(const char *text)
{
    const char *p = text;

    while (*p && (*p != ',' || p[1] == ',')) {
        p += *p == ',' ? 2 : 1;
    }
    return p - text;
}

static const char *after(const char *text, const char *prefix)
{
    return g_str_has_prefix(text, prefix) ? text + strlen(prefix) : NULL;
}

/* Appends host= and port= for "HOST:PORT" with an optional [v6] host, then the options behind. */
static bool add_host_port(GString *out, const char *text, Error **errp)
{
    size_t n = part_len(text);
    const char *colon = g_strrstr_len(text, n, ":");
    size_t len = colon ? colon - text : 0;
    const char *host = text;

    if (!colon || colon + 1 == text + n) {
        return error_set(errp, "'%.*s' is not HOST:PORT", (int)n, text);
    }
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        host++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return error_set(errp, "'%.*s' is not HOST:PORT (write an IPv6 host in brackets)", (int)n,
                         text);
    }
    g_string_append_printf(out, ",host=%.*s,port=%s", (int)len, host, colon + 1);
    return true;
}

/* The name alone or with options: "stdio,signal=off". */
static bool add_plain(GString *out, const char *arg, const char *id, bool with_monitor,
                      Error **errp)
{
    static const char *const names[] = { "stdio", "null", "none", "pty", "ringbuf", "memory", "vc",
                                         NULL };
    g_autofree char *name = g_strndup(arg, strcspn(arg, ",:"));
    const char *rest = arg + strlen(name);

    if (strcmp(name, "vc") == 0) {
        rest = "";             /* vc:80Cx24C gives a size to a console there is none of */
    }
    if (!g_strv_contains(names, name) || strcmp(name, "none") == 0 || *rest == ':') {
        error_set(errp, "'%s' is not a valid char driver", arg);
        return error_suggest(errp, name, names);
    }
    /* Where a monitor listens too, Ctrl-C is for the guest: Ctrl-A x ends the program. */
    g_string_append_printf(out, "%s,id=%s%s%s", name, id,
                           with_monitor && strcmp(name, "stdio") == 0 ? ",signal=off" : "", rest);
    return true;
}

/* Writes what -chardev would be given to @out. */
static bool lengthen(GString *out, const char *arg, const char *id, bool with_monitor,
                     Error **errp)
{
    const char *rest;

    if ((rest = after(arg, "file:")) || (rest = after(arg, "pipe:"))) {
        g_string_append_printf(out, "%.4s,id=%s,path=%s", arg, id, rest);
    } else if ((rest = after(arg, "unix:"))) {
        g_string_append_printf(out, "socket,id=%s,path=%s", id, rest);
    } else if ((rest = after(arg, "tcp:"))) {
        g_string_append_printf(out, "socket,id=%s", id);
        return add_host_port(out, rest, errp);
    } else if ((rest = after(arg, "telnet:"))) {
        g_string_append_printf(out, "socket,id=%s,telnet=on", id);
        return add_host_port(out, rest, errp);
    } else if (g_str_has_prefix(arg, "/dev/")) {
        g_auto(GStrv) parts = g_strsplit(arg, ",", -1);
        g_autofree char *path = g_strjoinv(",,", parts);

        g_string_append_printf(out, "serial,id=%s,path=%s", id, path);
    } else {
        return add_plain(out, arg, id, with_monitor, errp);
    }
    return true;
}

static ChardevConfig *read_new(const char *arg, const char *id, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(ChardevConfig) cfg = NULL;
    bool with_monitor = g_str_has_prefix(arg, "mon:");

    if (!lengthen(text, with_monitor ? arg + 4 : arg, id, with_monitor, errp) ||
        !qapi_opt_chardev(text->str, &cfg, errp)) {
        return NULL;
    }
    if (!cfg) {
        error_set(errp, "help is given by -chardev help");
        return NULL;
    }
    /* The text may have had its own. */
    g_free(cfg->id);
    cfg->id = g_strdup(id);
    cfg->mux |= with_monitor;
    return g_steal_pointer(&cfg);
}

ChardevShort chardev_parse_short(const char *arg, const char *id, ChardevConfig **config,
                                 char **existing, Error **errp)
{
    const char *rest = after(arg, "chardev:");

    *config = NULL;
    if (rest) {
        *existing = g_strdup(rest);
        return CHARDEV_SHORT_EXISTING;
    }
    if (strcmp(arg, "none") == 0) {
        return CHARDEV_SHORT_NONE;
    }
    *config = read_new(arg, id, errp);
    if (!*config) {
        error_context(errp, "could not connect to character backend '%s'", arg);
        return CHARDEV_SHORT_ERROR;
    }
    return CHARDEV_SHORT_NEW;
}
