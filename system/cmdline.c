/* cmdline.c: sorting argv by options.def, and the help made from it. */
#include "system/cmdline.h"

#include <stdio.h>
#include <string.h>
#include "qapi/visit.h"
#include "util/bytes.h"

typedef struct OptionRow {
    const char *name;          /* NULL: a heading, whose text is @help */
    Option option;
    bool alias;
    const char *arg, *help;
} OptionRow;

static const OptionRow rows[] = {
#define HEADING(text) { .name = NULL, .help = text },
#define OPTION(symbol, word, takes, text) \
    { .name = word, .option = OPT_##symbol, .arg = takes, .help = text },
#define ALIAS(word, symbol) { .name = word, .option = OPT_##symbol, .alias = true },
#include "system/options.def"
#undef HEADING
#undef OPTION
#undef ALIAS
};

typedef struct AbsentRow {
    const char *name;
    bool takes;
    const char *why;
} AbsentRow;

static const AbsentRow absent[] = {
#define ABSENT(word, takes_one, reason) { .name = word, .takes = takes_one, .why = reason },
#include "system/options-absent.def"
#undef ABSENT
};

static const OptionRow *row_of(Option o)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name != NULL && rows[i].option == o && !rows[i].alias) {
            return &rows[i];
        }
    }
    return NULL;
}

static const OptionRow *find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name != NULL && strcmp(rows[i].name, name) == 0) {
            return row_of(rows[i].option);
        }
    }
    return NULL;
}

static bool unknown_option(const char *word, bool last, Error **errp)
{
    const char *names[ARRAY_LEN(rows) + 1], *name = word + (word[1] == '-' ? 2 : 1);
    unsigned n = 0;

    for (unsigned i = 0; i < ARRAY_LEN(absent); i++) {
        if (strcmp(absent[i].name, name) == 0) {
            return last && absent[i].takes ? error_set(errp, "%s: requires an argument", word)
                                           : error_set(errp, "%s: not supported: %s", word, absent[i].why);
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name != NULL) {
            names[n++] = rows[i].name;
        }
    }
    names[n] = NULL;
    error_set(errp, "%s: invalid option", word);
    return error_suggest(errp, word + strspn(word, "-"), names);
}

bool cmdline_parse(CmdLine *c, int argc, char **argv, Error **errp)
{
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        c->texts[i] = g_ptr_array_new();
    }
    for (int i = 1; i < argc; i++) {
        const OptionRow *row;
        char *word = argv[i];

        if (word[0] != '-') {
            g_ptr_array_add(c->texts[OPT_HDA], word);
            continue;
        }
        row = find(word + (word[1] == '-' ? 2 : 1));
        if (row == NULL) {
            return unknown_option(word, i + 1 == argc, errp);
        }
        if (row->arg != NULL && i + 1 == argc) {
            return error_set(errp, "%s: requires an argument", word);
        }
        g_ptr_array_add(c->texts[row->option], row->arg != NULL ? argv[++i] : (char *)"");
    }
    return true;
}

void cmdline_add(CmdLine *c, Option o, char *take_text)
{
    g_ptr_array_add(c->texts[o], take_text);
}

void cmdline_replace(CmdLine *c, Option o, unsigned n, char *take_text)
{
    g_ptr_array_index(c->texts[o], n) = take_text;
}

Option cmdline_find(const char *name)
{
    const OptionRow *row = find(name);

    return row != NULL ? row->option : OPT_COUNT;
}

void cmdline_free(CmdLine *c)
{
    for (unsigned i = 0; i < OPT_COUNT; i++) {
        g_clear_pointer(&c->texts[i], g_ptr_array_unref);
    }
}

bool cmdline_has(const CmdLine *c, Option o)
{
    return c->texts[o]->len > 0;
}

const char *cmdline_last(const CmdLine *c, Option o)
{
    return cmdline_has(c, o) ? g_ptr_array_index(c->texts[o], c->texts[o]->len - 1) : NULL;
}

unsigned cmdline_count(const CmdLine *c, Option o)
{
    return c->texts[o]->len;
}

const char *cmdline_nth(const CmdLine *c, Option o, unsigned n)
{
    return g_ptr_array_index(c->texts[o], n);
}

const char *cmdline_option_name(Option o)
{
    return row_of(o)->name;
}

void cmdline_print_version(void)
{
    printf("QEMU emulator version 7.2.0 (Rhea " RHEA_VERSION ")\n");
}

void cmdline_print_help(const char *program)
{
    cmdline_print_version();
    printf("usage: %s [options] [disk_image]\n", program);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        const OptionRow *r = &rows[i];
        if (r->name == NULL) {
            printf("\n%s:\n", r->help);
        } else if (r->help != NULL) {
            printf("-%s%s%s\n                %s\n", r->name, r->arg != NULL ? " " : "",
                   r->arg != NULL ? r->arg : "", r->help);
        }
    }
    printf("\nDuring -nographic, Ctrl-A x ends the program and Ctrl-A h shows help.\n");
}

/* --- the reference page --- */

static void put_aliases(GString *out, const OptionRow *r)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name != NULL && rows[i].alias && rows[i].option == r->option) {
            g_string_append_printf(out, " Also `-%s`.", rows[i].name);
        }
    }
}

static void put_option(GString *out, const OptionRow *r)
{
    int schema = qapi_option_find(r->name);
    g_autoptr(GString) keys = g_string_new(NULL);
    const char *members;

    g_string_append_printf(out, "### `-%s%s%s`\n\n%c%s.", r->name, r->arg != NULL ? " " : "",
                           r->arg != NULL ? r->arg : "", g_ascii_toupper(r->help[0]), r->help + 1);
    put_aliases(out, r);
    g_string_append(out, "\n\n");
    if (schema < 0) {
        return;
    }
    qapi_option_help(schema, keys);
    members = strchr(keys->str, '\n');          /* the first line says what the option is, again */
    if (members != NULL && members[1] != '\0') {
        g_string_append_printf(out, "```\n%s```\n\n", members + 1);
    }
}

void cmdline_reference(GString *out)
{
    g_string_append(out, "# Options\n\nMade from `system/options.def` and the schema (`ninja -C build "
                    "options-reference`). A guide with examples: [cli.md](cli.md).\n"
                    "Devices and their properties: `-device help`, `-device TYPE,help`.\n\n");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].name == NULL) {
            g_string_append_printf(out, "## %s\n\n", rows[i].help);
        } else if (rows[i].help != NULL) {
            put_option(out, &rows[i]);
        }
    }
    g_string_append(out, "## Not supported\n\nOptions of QEMU that are refused, with this reason:\n\n");
    for (unsigned i = 0; i < ARRAY_LEN(absent); i++) {
        g_string_append_printf(out, "- `-%s`: %s\n", absent[i].name, absent[i].why);
    }
}
