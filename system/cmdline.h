/* cmdline.h: the command line as lists of texts, one list an option of options.def. */
#ifndef SYSTEM_CMDLINE_H
#define SYSTEM_CMDLINE_H

#include <glib.h>
#include "util/context.h"
#include "util/error.h"

typedef enum Option {
#define HEADING(text)
#define OPTION(symbol, name, arg, help) OPT_##symbol,
#define ALIAS(name, symbol)
#include "system/options.def"
#undef HEADING
#undef OPTION
#undef ALIAS
    OPT_COUNT,
} Option;

typedef struct CmdLine {
    GPtrArray *texts[OPT_COUNT];       /* char *, borrowed from argv; "" where there is no argument */
} CmdLine;

/* Sorts argv into lists.  A word without '-' is the first disk.  Errors name the option and suggest
 * the nearest one. */
CTX_CONTROL bool cmdline_parse(CmdLine *c, int argc, char **argv, Error **errp);
CTX_CONTROL void cmdline_free(CmdLine *c);
/* As if @take_text, which lives as long as the process, had been given too, or instead of the @n-th. */
CTX_CONTROL void cmdline_add(CmdLine *c, Option o, char *take_text);
CTX_CONTROL void cmdline_replace(CmdLine *c, Option o, unsigned n, char *take_text);
/* The option of that name, without '-'; OPT_COUNT: there is none. */
CTX_ANY Option cmdline_find(const char *name);
CTX_ANY bool cmdline_has(const CmdLine *c, Option o);
/* The last text given, or NULL. */
CTX_ANY const char *cmdline_last(const CmdLine *c, Option o);
CTX_ANY unsigned cmdline_count(const CmdLine *c, Option o);
CTX_ANY const char *cmdline_nth(const CmdLine *c, Option o, unsigned n);
/* "-name" as people type it. */
CTX_ANY const char *cmdline_option_name(Option o);
/* The line of -version, which is also the first of -help: tools take the version from either. */
CTX_CONTROL void cmdline_print_version(void);
CTX_CONTROL void cmdline_print_help(const char *program);
/* The reference page, docs/user/options-reference.md. */
CTX_ANY void cmdline_reference(GString *out);

#endif
