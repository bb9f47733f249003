/* config-file.c: options that edit other options: -readconfig and -set, see config-file.h.
 *
 * 1. A section of a file becomes the text after an option; what is wrong in it is told by that option. */
#include "system/config-file.h"

#include <string.h>
#include "qapi/keyval.h"
#include "util/bytes.h"

#define FILE_BYTES_MAX (1u << 20)

/* Groups as QEMU names them; a section of another name has the option's own. */
static const struct { const char *group; Option option; } groups[] = {
    { "memory", OPT_MEMORY }, { "smp-opts", OPT_SMP }, { "boot-opts", OPT_BOOT },
};
static const Option plain[] = {
    OPT_MACHINE, OPT_ACCEL, OPT_NUMA, OPT_NAME, OPT_OBJECT, OPT_RTC, OPT_OVERCOMMIT, OPT_SMBIOS, OPT_FW_CFG,
    OPT_DRIVE, OPT_DEVICE, OPT_GLOBAL, OPT_CHARDEV, OPT_MON, OPT_ACTION, OPT_TRACE, OPT_MSG, OPT_SANDBOX,
};

static bool find_group(const char *name, Option *out, Error **errp)
{
    for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
        if (strcmp(groups[i].group, name) == 0) {
            *out = groups[i].option;
            return true;
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(plain); i++) {
        if (strcmp(cmdline_option_name(plain[i]), name) == 0) {
            *out = plain[i];
            return true;
        }
    }
    return error_set(errp, "There is no option group '%s'", name);
}

static void add_pair(GString *text, const char *key, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ",", -1);
    g_autofree char *doubled = g_strjoinv(",,", parts);

    g_string_append_printf(text, "%s%s=%s", text->len > 0 ? "," : "", key, doubled);
}

/* --- -readconfig --- */

typedef struct Section {
    Option option;
    GString *text;             /* NULL: before the first section */
} Section;

static void end_section(Section *s, CmdLine *c)
{
    if (s->text != NULL) {
        cmdline_add(c, s->option, g_string_free(s->text, false));
        s->text = NULL;
    }
}

/* A line such as [device "net0"]; the quoted part is the id. */
static bool read_header(const char *line, Section *s, CmdLine *c, Error **errp)
{
    const char *end = strrchr(line, ']'), *quote = strchr(line, '"');
    g_autofree char *name = NULL, *id = NULL;

    if (end == NULL || end[1] != 0) {
        return error_set(errp, "parse error");
    }
    if (quote != NULL) {
        const char *close = strrchr(line, '"');
        if (close == quote || close + 1 != end) {
            return error_set(errp, "parse error");
        }
        id = g_strndup(quote + 1, close - quote - 1);
    }
    name = g_strstrip(g_strndup(line + 1, (quote != NULL ? quote : end) - line - 1));
    end_section(s, c);
    if (!find_group(name, &s->option, errp)) {
        return false;
    }
    s->text = g_string_new(NULL);
    if (id != NULL) {
        add_pair(s->text, "id", id);
    }
    return true;
}

/* A line such as  driver = "edu". */
static bool read_pair(const char *line, Section *s, Error **errp)
{
    const char *eq = strchr(line, '=');
    size_t n = strlen(line);
    g_autofree char *key = NULL, *value = NULL, *rest = NULL;

    if (eq == NULL) {
        return error_set(errp, "parse error");
    }
    key = g_strstrip(g_strndup(line, eq - line));
    rest = g_strstrip(g_strdup(eq + 1));
    n = strlen(rest);
    if (key[0] == 0 || strpbrk(key, ",\"") != NULL || n < 2 || rest[0] != '"' || rest[n - 1] != '"') {
        return error_set(errp, "parse error");
    }
    if (s->text == NULL) {
        return error_set(errp, "no group defined");
    }
    value = g_strndup(rest + 1, n - 2);
    add_pair(s->text, key, value);
    return true;
}

static bool read_lines(CmdLine *c, const char *path, char *content, Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
    Section s = { .text = NULL };
    bool ok = true;

    for (unsigned i = 0; ok && lines[i] != NULL; i++) {
        char *line = g_strstrip(lines[i]);
        if (line[0] == 0 || line[0] == '#') {
            continue;
        }
        ok = line[0] == '[' ? read_header(line, &s, c, errp) : read_pair(line, &s, errp);
        if (!ok) {
            error_context(errp, "-readconfig %s:%u", path, i + 1);
        }
    }
    end_section(&s, c);
    return ok;
}

static bool read_config(CmdLine *c, const char *path, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    g_autofree char *content = NULL;
    gsize n;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return error_set(errp, "-readconfig %s: Could not open '%s': No such file or directory", path, path);
    }
    if (!g_file_test(path, G_FILE_TEST_IS_REGULAR)) {
        return error_set(errp, "-readconfig %s: not a regular file", path);
    }
    if (!g_file_get_contents(path, &content, &n, &gerr)) {
        return error_set(errp, "-readconfig %s: %s", path, gerr->message);
    }
    if (n > FILE_BYTES_MAX || strlen(content) != n) {
        return error_set(errp, "-readconfig %s: %s", path,
                         n > FILE_BYTES_MAX ? "longer than 1 MiB" : "holds a zero byte");
    }
    return read_lines(c, path, content, errp);
}

/* --- -set --- */

static bool has_id(const char *text, const char *id)
{
    g_autoptr(json_t) tree = text[0] != '{' ? keyval_parse(text, "_", 0, NULL, NULL, NULL) : NULL;
    json_t *v = tree != NULL ? json_object_get(tree, "id") : NULL;

    return json_is_string(v) && strcmp(json_string_value(v), id) == 0;
}

/* GROUP.ID.KEY=VALUE: the last KEY=VALUE of an option counts, so another one at its end does it. */
static bool set(CmdLine *c, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ".", 3);
    char *eq = g_strv_length(parts) == 3 ? strchr(parts[2], '=') : NULL;
    Option o;

    if (eq == NULL || eq == parts[2]) {
        return error_set(errp, "-set %s: can't parse: \"%s\"", text, text);
    }
    if (!find_group(parts[0], &o, errp)) {
        return error_context(errp, "-set %s", text);
    }
    if (o == OPT_MACHINE || o == OPT_OBJECT) {
        return error_set(errp, "-set %s: -set is not supported with %s", text, parts[0]);
    }
    for (unsigned i = 0; i < cmdline_count(c, o); i++) {
        if (has_id(cmdline_nth(c, o, i), parts[1])) {
            g_autoptr(GString) s = g_string_new(cmdline_nth(c, o, i));
            *eq = 0;
            add_pair(s, parts[2], eq + 1);
            cmdline_replace(c, o, i, g_strdup(s->str));
            return true;
        }
    }
    return error_set(errp, "-set %s: there is no %s \"%s\" defined", text, parts[0], parts[1]);
}

bool config_edit(CmdLine *c, Error **errp)
{
    for (unsigned i = 0; i < cmdline_count(c, OPT_READCONFIG); i++) {
        if (!read_config(c, cmdline_nth(c, OPT_READCONFIG, i), errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < cmdline_count(c, OPT_SET); i++) {
        if (!set(c, cmdline_nth(c, OPT_SET, i), errp)) {
            return false;
        }
    }
    return true;
}
