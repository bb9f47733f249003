/* tool-helper.h: other people's programs, run by unit tests. */
#ifndef TESTS_UNIT_TOOL_HELPER_H
#define TESTS_UNIT_TOOL_HELPER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <glib.h>

/* Runs a command line; false, and its output shown, if it does not end with status 0. */
static inline bool run_tool(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline bool run_tool(const char *format, ...)
{
    va_list args;
    int status = -1;
    GError *err = NULL;
    g_autofree char *out = NULL, *complaint = NULL;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    if (!g_spawn_command_line_sync(line, &out, &complaint, &status, &err)) {
        print_message("%s\n", err->message);
        g_clear_error(&err);
        return false;
    }
    if (status != 0) {
        print_message("%s: %s%s\n", line, out, complaint);
    }
    return status == 0;
}

/* Whether the independent implementation is there. */
static inline bool have_tools(void)
{
    g_autofree char *path = g_find_program_in_path("qemu-img");

    if (!path) {
        print_message("no qemu-img: skipped\n");
    }
    return path != NULL;
}

#endif
