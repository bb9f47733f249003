/* hmp-table.c: the table of human monitor commands, and the help made from it. */
#include <string.h>
#include "monitor/hmp-int.h"
#include "qapi/command.h"

#define ROW(word, arguments, parameters, qmp, function, text) \
    { .name = word, .args = arguments, .params = parameters, .help = text, .run = function, .needs = qmp },

#define HMP ROW
#define INFO(...)
const HmpCommand hmp_commands[] = {
#include "monitor/hmp-commands.def"
    { .name = NULL },
};
#undef HMP
#undef INFO

#define HMP(...)
#define INFO ROW
const HmpCommand hmp_info_commands[] = {
#include "monitor/hmp-commands.def"
    { .name = NULL },
};
#undef HMP
#undef INFO

typedef struct AbsentRow {
    const char *name, *why;
} AbsentRow;

#define ABSENT_ROW(word, reason) { word, reason },
#define HMP_ABSENT ABSENT_ROW
#define INFO_ABSENT(...)
static const AbsentRow absent_commands[] = {
#include "monitor/hmp-absent.def"
    { NULL, NULL },
};
#undef HMP_ABSENT
#undef INFO_ABSENT

#define HMP_ABSENT(...)
#define INFO_ABSENT ABSENT_ROW
static const AbsentRow absent_info[] = {
#include "monitor/hmp-absent.def"
    { NULL, NULL },
};
#undef HMP_ABSENT
#undef INFO_ABSENT

/* True if @name is one of the words in @names, which are separated by '|'. */
static bool is_named(const char *names, const char *name, size_t n)
{
    while (*names != '\0') {
        size_t len = strcspn(names, "|");

        if (len == n && strncmp(names, name, n) == 0) {
            return true;
        }
        names += len;
        names += *names == '|';
    }
    return false;
}

bool hmp_command_there(const HmpCommand *c)
{
    return c->needs == NULL || qmp_command_find(c->needs) != NULL;
}

bool hmp_command_allowed(const HmpCommand *c)
{
    const QmpCommand *q = c->needs != NULL ? qmp_command_find(c->needs) : NULL;

    return !qmp_command_early() || (q != NULL && q->flags & QMP_EARLY) || c->run == hmp_help_command ||
           c->run == hmp_info_help;
}

const char *hmp_absent(bool of_info, const char *name, size_t n)
{
    for (const AbsentRow *r = of_info ? absent_info : absent_commands; r->name != NULL; r++) {
        if (strlen(r->name) == n && strncmp(r->name, name, n) == 0) {
            return r->why;
        }
    }
    for (const HmpCommand *c = of_info ? hmp_info_commands : hmp_commands; c->name != NULL; c++) {
        if (!hmp_command_there(c) && is_named(c->name, name, n)) {
            return "there is nothing for it to act upon";
        }
    }
    return NULL;
}

const HmpCommand *hmp_command_find(const HmpCommand *table, const char *name, size_t n)
{
    for (; table->name != NULL; table++) {
        if (is_named(table->name, name, n) && hmp_command_there(table)) {
            return table;
        }
    }
    return NULL;
}

void hmp_help(Hmp *h, const char *prefix, const HmpCommand *table, const HmpCommand *only)
{
    for (; table->name != NULL; table++) {
        if ((only == NULL || only == table) && hmp_command_there(table) && hmp_command_allowed(table)) {
            hmp_printf(h, "%s%s %s -- %s\n", prefix, table->name, table->params, table->help);
        }
    }
}

void hmp_help_command(Hmp *h, const HmpArgs *a)
{
    const char *name = hmp_str(a, "name");

    if (name == NULL) {
        hmp_help(h, "", hmp_commands, NULL);
        return;
    }
    g_auto(GStrv) words = g_strsplit_set(name, " \t", 0);
    bool of_info = strcmp(words[0], "info") == 0;
    const char *second = of_info ? words[1] : NULL;
    const HmpCommand *table = of_info ? hmp_info_commands : hmp_commands;
    const char *which = of_info ? second : words[0];
    const HmpCommand *c =
        which != NULL && *which != '\0' ? hmp_command_find(table, which, strlen(which)) : NULL;

    if (c != NULL) {
        hmp_help(h, of_info ? "info " : "", table, c);
    } else if (of_info && (second == NULL || *second == '\0')) {
        hmp_help(h, "info ", table, NULL);
    } else {
        hmp_printf(h, "unknown command: '%s'\n", name);
    }
}

void hmp_info_help(Hmp *h, const HmpArgs *a)
{
    hmp_help(h, "info ", hmp_info_commands, NULL);
}

/* --- the reference page --- */

static void put_table(GString *out, const char *prefix, const HmpCommand *table)
{
    for (; table->name != NULL; table++) {
        if (!hmp_command_there(table)) {
            continue;
        }
        g_autofree char *params =
            table->params[0] != '\0' ? g_strdup_printf(" %s", table->params) : g_strdup("");

        g_string_append_printf(out, "- `%s%s%s`: %s", prefix, table->name, params, table->help);
        if (table->needs != NULL) {
            g_string_append_printf(out, " (QMP `%s`)", table->needs);
        }
        g_string_append(out, ".\n");
    }
}

static void put_absent(GString *out, const char *prefix, const AbsentRow *r)
{
    for (; r->name != NULL; r++) {
        g_string_append_printf(out, "- `%s%s`: %s\n", prefix, r->name, r->why);
    }
}

void hmp_reference(GString *out)
{
    g_string_append(
        out,
        "# The human monitor\n\n"
        "Made from `monitor/hmp-commands.def` (`ninja -C build monitor-reference`); `help` in the monitor "
        "shows the same. How to\nopen a monitor and what its keys do: [monitor.md](monitor.md). A command "
        "that stands on a QMP command names it;\nerrors and meaning are those of "
        "[the QMP reference](qmp-reference.md).\n\n## Commands\n\n");
    put_table(out, "", hmp_commands);
    g_string_append(out, "\n## info\n\n");
    put_table(out, "info ", hmp_info_commands);
    g_string_append(out, "\n## Not supported\n\nCommands of QEMU that are refused, with this reason:\n\n");
    put_absent(out, "", absent_commands);
    put_absent(out, "info ", absent_info);
}
