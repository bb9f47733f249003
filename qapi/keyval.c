/* keyval.c: the command line's "key=value,..." text as a tree, and the scalars in it. */
#include "qapi/keyval.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include "qapi/tables.h"

#define KEY_MAX 127                /* bytes of one key with its dots */

bool keyval_bool(const char *text, bool *out)
{
    static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "n", "y" };

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i & 1;
            return true;
        }
    }
    return false;
}

bool keyval_size(const char *text, uint64_t unit, uint64_t *out)
{
    static const char letters[] = "bkmgtpe";
    bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *suffix;
    char *end;
    double fraction = 0;

    if (!g_ascii_isdigit(text[0])) {
        return false;
    }
    errno = 0;
    uint64_t v = g_ascii_strtoull(text, &end, hex ? 16 : 10);

    if (errno || (hex && end == text + 2)) {
        return false;
    }
    if (*end == '.' && !hex) {
        fraction = g_ascii_isdigit(end[1]) ? g_ascii_strtod(end, &end) : -1;
    }
    if (*end && !hex) {
        suffix = strchr(letters, g_ascii_tolower(*end++));
        if (!suffix) {
            return false;
        }
        unit = UINT64_C(1) << (10 * (suffix - letters));
    }
    if (*end || fraction < 0 || fraction >= 1 || (fraction > 0 && unit == 1) ||
        v > UINT64_MAX / unit) {
        return false;
    }
    uint64_t part = (uint64_t)(fraction * (double)unit);

    v *= unit;
    if (v > UINT64_MAX - part) {
        return false;
    }
    *out = v + part;
    return true;
}

/* Adds @take_value under @key; what was there becomes part of a list. */
static bool add(json_t *into, const char *key, json_t *take_value, Error **errp)
{
    json_t *old = json_object_get(into, key);

    if (json_is_object(old)) {
        json_decref(take_value);
        return error_set(errp, "Parameter '%s' is given both a value and members", key);
    }
    if (json_is_array(old)) {
        json_array_append_new(old, take_value);
    } else if (old) {
        json_t *list = json_array();

        json_array_append(list, old);
        json_array_append_new(list, take_value);
        json_object_set_new_nocheck(into, key, list);
    } else {
        json_object_set_new_nocheck(into, key, take_value);
    }
    return true;
}

/* Adds @take_value under @key, making objects for what precedes the dots. */
static bool add_nested(json_t *into, char *key, json_t *take_value, Error **errp)
{
    char *dot;

    while ((dot = strchr(key, '.')) != NULL) {
        *dot = '\0';
        json_t *sub = json_object_get(into, key);

        if (!*key || (sub && !json_is_object(sub))) {
            json_decref(take_value);
            return *key ? error_set(errp, "Parameter '%s' is given both a value and members", key)
                        : error_set(errp, "A parameter name is empty");
        }
        if (!sub) {
            sub = json_object();
            json_object_set_new_nocheck(into, key, sub);
        }
        into = sub;
        key = dot + 1;
    }
    if (!*key) {
        json_decref(take_value);
        return error_set(errp, "A parameter name is empty");
    }
    return add(into, key, take_value, errp);
}

/* The bytes up to the next single comma, with ",," as ","; *@text moves behind it. */
static char *take_value(const char **text)
{
    GString *s = g_string_new(NULL);
    const char *p = *text;

    while (*p && (*p != ',' || p[1] == ',')) {
        p += *p == ',';
        g_string_append_c(s, *p++);
    }
    *text = *p ? p + 1 : p;
    return g_string_free(s, FALSE);
}

static bool asks_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "?") == 0;
}

static json_t *string_value(const char *s, Error **errp)
{
    json_t *v = json_string(s);

    if (!v) {
        error_set(errp, "Text is not valid UTF-8");
    }
    return v;
}

/* A part without '=': a switch. */
static bool add_word(json_t *into, char *word, unsigned flags, Error **errp)
{
    const char *value = "on";

    if ((flags & QAPI_FORM_PLUS) && (*word == '+' || *word == '-')) {
        value = *word == '+' ? "on" : "off";
        word++;
    } else if (!(flags & QAPI_FORM_FLAGS)) {
        return error_set(errp, "Expected '=' after parameter '%s'", word);
    } else if (strcmp(word, "nowait") == 0 || strcmp(word, "nodelay") == 0) {
        bool off = word[2] == 'w';         /* "nodelay" is a name of its own */

        word += off ? 2 : 0;
        value = off ? "off" : "on";
    }
    return *word ? add(into, word, json_string(value), errp)
                 : error_set(errp, "A parameter name is empty");
}

/* One part of the text; *@text moves behind it. */
static bool parse_part(json_t *into, const char **text, const char *implied, unsigned flags,
                       bool *help, Error **errp)
{
    const char *start = *text;
    size_t n = strcspn(start, "=,");
    bool has_value = start[n] == '=';

    if (implied && !has_value) {
        g_autofree char *word = take_value(text);
        json_t *v = asks_help(word) ? NULL : string_value(word, errp);

        *help |= asks_help(word);
        return asks_help(word) || (v && add(into, implied, v, errp));
    }
    if (n > KEY_MAX || (n == 0 && has_value)) {
        return error_set(errp, n ? "A parameter name is too long" : "A parameter name is empty");
    }
    g_autofree char *key = g_strndup(start, n);

    if (!g_utf8_validate(key, n, NULL)) {
        return error_set(errp, "Text is not valid UTF-8");
    }
    *text = start[n] ? start + n + 1 : start + n;
    if (!has_value) {
        *help |= asks_help(key);
        return asks_help(key) || add_word(into, key, flags, errp);
    }
    g_autofree char *value = take_value(text);
    json_t *v = string_value(value, errp);

    if (!v) {
        return false;
    }
    *help |= implied && asks_help(value) && strcmp(key, implied) == 0;
    return flags & QAPI_FORM_STRICT ? add_nested(into, key, v, errp) : add(into, key, v, errp);
}

json_t *keyval_parse(const char *text, const char *implied, unsigned flags, bool *help,
                     bool *was_json, Error **errp)
{
    bool no_help;
    const char *first = implied;

    help = help ? help : &no_help;
    *help = false;
    if (was_json) {
        *was_json = (flags & QAPI_FORM_JSON) && *text == '{';
    }
    if ((flags & QAPI_FORM_JSON) && *text == '{') {
        return json_parse(text, errp);
    }
    json_t *into = json_object();

    while (*text) {
        if (!parse_part(into, &text, first, flags, help, errp)) {
            json_decref(into);
            return NULL;
        }
        first = NULL;
    }
    return into;
}

json_t *keyval_nest(json_t *flat, Error **errp)
{
    json_t *into = json_object(), *v;
    const char *name;

    json_object_foreach(flat, name, v) {
        g_autofree char *key = g_strdup(name);

        if (!add_nested(into, key, json_incref(v), errp)) {
            json_decref(into);
            return NULL;
        }
    }
    return into;
}
