/* error.c: error chains for people, and the one place that prints them.
 *
 * 1. The whole text of a chain is built when it grows, so error_text() only returns a pointer.
 * 2. A report is a single write of complete lines; reports of several threads do not mix. */
#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SUGGEST_MAX 63         /* longer names are never near anything a person typed */

struct Error {
    char *text;                /* the whole chain, outermost first */
    char *advice;              /* lines, or NULL */
    ErrorClass cls;
};

static char *program_name;
static char *guest_prefix;     /* with a space after it */
static bool with_timestamps;

/* Not g_strerror(): that converts from the locale's character set, for which it opens files. */
const char *errno_text(int err)
{
    const char *text = strerrordesc_np(err);

    return text ? text : "Unknown error";
}

static bool G_GNUC_PRINTF(3, 0)
set_va(Error **errp, ErrorClass cls, const char *fmt, va_list ap)
{
    if (errp) {
        Error *e = g_new0(Error, 1);

        e->cls = cls;
        e->text = g_strdup_vprintf(fmt, ap);
        /* A second failure before the first was handled: keep the first, it is the cause. */
        if (*errp) {
            error_free(e);
        } else {
            *errp = e;
        }
    }
    return false;
}

bool error_set(Error **errp, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_va(errp, ERROR_GENERIC, fmt, ap);
    va_end(ap);
    return false;
}

bool error_set_class(Error **errp, ErrorClass cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_va(errp, cls, fmt, ap);
    va_end(ap);
    return false;
}

bool error_set_errno(Error **errp, int err, const char *fmt, ...)
{
    if (errp) {
        va_list ap;

        va_start(ap, fmt);
        g_autofree char *text = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        error_set(errp, "%s: %s", text, errno_text(err));
    }
    return false;
}

bool error_context(Error **errp, const char *fmt, ...)
{
    if (errp && *errp) {
        va_list ap;

        va_start(ap, fmt);
        g_autofree char *outer = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        char *text = g_strconcat(outer, ": ", (*errp)->text, NULL);
        g_free((*errp)->text);
        (*errp)->text = text;
    }
    return false;
}

bool error_hint(Error **errp, const char *fmt, ...)
{
    if (errp && *errp) {
        va_list ap;

        va_start(ap, fmt);
        g_autofree char *line = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        char *old = (*errp)->advice;
        (*errp)->advice = old ? g_strconcat(old, "\n", line, NULL) : g_strdup(line);
        g_free(old);
    }
    return false;
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    return MIN(a, MIN(b, c));
}

/* Edits (insert, delete, replace, swap neighbours) from @a to @b, ignoring case and '_' for '-'. */
static unsigned edit_distance(const char *a, size_t la, const char *b, size_t lb)
{
    unsigned row[3][SUGGEST_MAX + 1];
    unsigned *before = row[0], *prev = row[1], *cur = row[2];

    for (size_t j = 0; j <= lb; j++) {
        prev[j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        char ca = a[i - 1] == '_' ? '-' : g_ascii_tolower(a[i - 1]);
        char ca_prev = i > 1 ? g_ascii_tolower(a[i - 2]) : 0;

        cur[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            char cb = b[j - 1] == '_' ? '-' : g_ascii_tolower(b[j - 1]);

            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == g_ascii_tolower(b[j - 2]) && ca_prev == cb) {
                cur[j] = MIN(cur[j], before[j - 2] + 1);
            }
        }
        unsigned *spare = before;
        before = prev;
        prev = cur;
        cur = spare;
    }
    return prev[lb];
}

bool error_suggest(Error **errp, const char *wrong, const char *const *names)
{
    size_t lw = strlen(wrong);
    const char *best = NULL;
    unsigned best_cost = UINT_MAX;

    if (!errp || !*errp || lw == 0 || lw > SUGGEST_MAX) {
        return false;
    }
    for (; *names; names++) {
        size_t ln = strlen(*names);

        if (ln == 0 || ln > SUGGEST_MAX) {
            continue;
        }
        unsigned cost = edit_distance(wrong, lw, *names, ln);
        bool prefix = lw >= 3 && g_str_has_prefix(*names, wrong);
        unsigned limit = MAX(lw, ln) <= 3 ? 1 : 1 + MAX(lw, ln) / 4;

        /* A name that was cut short is near too, but a real near miss goes first. */
        if (prefix && cost > limit) {
            cost = limit;
        }
        /* a name that has nothing in common is not near, however short; the same name is something else's */
        if (strcmp(wrong, *names) != 0 && cost <= limit && cost < MIN(lw, ln) && cost < best_cost) {
            best = *names;
            best_cost = cost;
        }
    }
    if (best) {
        error_hint(errp, "did you mean '%s'?", best);
    }
    return false;
}

bool error_move(Error **errp, Error *take_err)
{
    if (errp && !*errp) {
        *errp = take_err;
    } else {
        error_free(take_err);
    }
    return false;
}

const char *error_text(const Error *e)
{
    return e->text;
}

const char *error_advice(const Error *e)
{
    return e->advice;
}

ErrorClass error_class(const Error *e)
{
    return e->cls;
}

const char *error_class_name(ErrorClass cls)
{
    static const char *const names[] = {
        [ERROR_GENERIC] = "GenericError",
        [ERROR_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_KVM_MISSING_CAP] = "KVMMissingCap",
        [ERROR_MIGRATION_EXPECTED] = "MigrationExpected",
    };

    return names[cls];
}

static void print_lines(const char *kind, const char *text, const char *advice)
{
    GString *s = g_string_new(NULL);

    if (with_timestamps) {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *stamp = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");

        g_string_append_printf(s, "%s.%06dZ ", stamp, g_date_time_get_microsecond(now));
    }
    g_string_append_printf(s, "%s%s: %s%s\n", guest_prefix ? guest_prefix : "",
                           program_name ? program_name : program_invocation_short_name, kind, text);
    if (advice) {
        g_string_append_printf(s, "%s\n", advice);
    }
    fflush(stderr);
    for (size_t at = 0; at < s->len;) {
        ssize_t n = write(STDERR_FILENO, s->str + at, s->len - at);

        if (n <= 0) {
            break;
        }
        at += n;
    }
    g_string_free(s, TRUE);
}

void error_report(Error *take_err)
{
    print_lines("", take_err->text, take_err->advice);
    error_free(take_err);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    print_lines("warning: ", text, NULL);
}

void info_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    print_lines("", text, NULL);
}

void error_set_program(const char *argv0)
{
    g_free(program_name);
    program_name = g_path_get_basename(argv0);
}

void error_set_timestamps(bool timestamps)
{
    with_timestamps = timestamps;
}

void error_set_guest(const char *name)
{
    g_free(guest_prefix);
    guest_prefix = name ? g_strconcat(name, " ", NULL) : NULL;
}

void error_free(Error *e)
{
    if (e) {
        g_free(e->text);
        g_free(e->advice);
        g_free(e);
    }
}
