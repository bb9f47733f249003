/* trace.c: the list of trace events, their output, and the count of guest mistakes.
 *
 * 1. Events are the fixed-size, aligned entries of the linker section "trace_events"; a name used
 *    in several places has several entries, switched together.
 * 2. Output is one write() a line to a descriptor whose number never changes once a file is set, so
 *    no lock is needed and a thread never writes to a closed file.
 * 3. Tracing and guest_bug() take no lock and may be called under any. */
#include "util/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "util/clock.h"
#include "util/fdset.h"
#include "util/thread.h"

#define LINE_BYTES 1024
#define BUG_SLOTS 64

/* The linker defines these where the section exists; a small test program may have no event. */
extern TraceEvent __start_trace_events[] __attribute__((weak, visibility("hidden")));
extern TraceEvent __stop_trace_events[] __attribute__((weak, visibility("hidden")));

G_STATIC_ASSERT(sizeof(TraceEvent) == 16);

static int trace_fd = STDERR_FILENO;
static bool bugs_shown;
static unsigned long bugs;
static int64_t bug_next[BUG_SLOTS];    /* host time from which a slot may report again */

/* A relaxed read hides the symbols' origin from the optimiser, which may take two distinct arrays
 * for unrelated objects. */
static TraceEvent *events_end(void)
{
    TraceEvent *volatile end = __stop_trace_events;

    return end;
}

void trace_emit(const TraceEvent *ev, const char *fmt, ...)
{
    char line[LINE_BYTES];
    int64_t now = clock_now(CLOCK_HOST);
    int n = snprintf(line, sizeof(line) - 1, "%lld.%06lld %s %s ", (long long)(now / NS_PER_SEC),
                     (long long)(now % NS_PER_SEC / NS_PER_US), thread_name(), ev->name);
    va_list ap;

    if (n < (int)sizeof(line) - 1) {
        va_start(ap, fmt);
        n += vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
        va_end(ap);
    }
    n = MIN(n, (int)sizeof(line) - 2);
    line[n++] = '\n';
    if (write(__atomic_load_n(&trace_fd, __ATOMIC_RELAXED), line, n) < 0) {
        return;                /* nowhere to tell it */
    }
}

static int by_name(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All names once, sorted, NULL-terminated; names are borrowed. */
static GPtrArray *sorted_names(void)
{
    GPtrArray *all = g_ptr_array_new();
    GPtrArray *once = g_ptr_array_new();

    for (TraceEvent *e = __start_trace_events; e < events_end(); e++) {
        g_ptr_array_add(all, (void *)e->name);
    }
    g_ptr_array_sort(all, by_name);
    for (unsigned i = 0; i < all->len; i++) {
        if (i == 0 || strcmp(all->pdata[i], all->pdata[i - 1]) != 0) {
            g_ptr_array_add(once, all->pdata[i]);
        }
    }
    g_ptr_array_unref(all);
    g_ptr_array_add(once, NULL);
    return once;
}

bool trace_enable(const char *pattern, Error **errp)
{
    bool on = *pattern != '-';
    const char *glob = on ? pattern : pattern + 1;
    bool found = false;

    for (TraceEvent *e = __start_trace_events; e < events_end(); e++) {
        if (g_pattern_match_simple(glob, e->name)) {
            __atomic_store_n(&e->on, on, __ATOMIC_RELAXED);
            found = true;
        }
    }
    if (found) {
        return true;
    }
    g_autoptr(GPtrArray) names = sorted_names();
    error_set(errp, "no trace event matches '%s'", glob);
    return error_suggest(errp, glob, (const char *const *)names->pdata);
}

bool trace_enable_listed(const char *path, Error **errp)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;

    if (!g_file_get_contents(path, &text, NULL, &err)) {
        return error_set(errp, "%s", err->message);
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);

        if (*line && *line != '#' && !trace_enable(line, errp)) {
            return error_context(errp, "line %u", i + 1);
        }
    }
    return true;
}

bool trace_to_file(const char *path, Error **errp)
{
    assert_control();
    int fd = fdset_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);

    if (fd < 0) {
        return error_set_errno(errp, errno, "cannot open trace file '%s'", path);
    }
    if (trace_fd == STDERR_FILENO) {
        __atomic_store_n(&trace_fd, fd, __ATOMIC_RELAXED);
        return true;
    }
    dup3(fd, trace_fd, O_CLOEXEC);
    close(fd);
    return true;
}

void trace_each(void (*fn)(const char *name, bool on, void *arg), void *arg)
{
    g_autoptr(GPtrArray) names = sorted_names();

    for (unsigned i = 0; i + 1 < names->len; i++) {
        bool on = false;

        for (TraceEvent *e = __start_trace_events; e < events_end(); e++) {
            if (strcmp(e->name, names->pdata[i]) == 0) {
                on |= __atomic_load_n(&e->on, __ATOMIC_RELAXED);
            }
        }
        fn(names->pdata[i], on, arg);
    }
}

void guest_bug(const char *who, const char *fmt, ...)
{
    __atomic_add_fetch(&bugs, 1, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&bugs_shown, __ATOMIC_RELAXED)) {
        return;
    }
    int64_t now = clock_now(CLOCK_HOST);
    int64_t *slot = &bug_next[g_str_hash(who) % BUG_SLOTS];
    int64_t next = __atomic_load_n(slot, __ATOMIC_RELAXED);

    /* Whoever moves the slot's time on prints; the others were too many. */
    if (now < next || !__atomic_compare_exchange_n(slot, &next, now + NS_PER_SEC, false,
                                                   __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        return;
    }
    char line[LINE_BYTES];
    va_list ap;
    int n = snprintf(line, sizeof(line) - 1, "guest error: %s: ", who);

    if (n < (int)sizeof(line) - 1) {
        va_start(ap, fmt);
        n += vsnprintf(line + n, sizeof(line) - 1 - n, fmt, ap);
        va_end(ap);
    }
    n = MIN(n, (int)sizeof(line) - 2);
    line[n++] = '\n';
    if (write(__atomic_load_n(&trace_fd, __ATOMIC_RELAXED), line, n) < 0) {
        return;
    }
}

void guest_bug_report(bool on)
{
    __atomic_store_n(&bugs_shown, on, __ATOMIC_RELAXED);
}

unsigned long guest_bug_count(void)
{
    return __atomic_load_n(&bugs, __ATOMIC_RELAXED);
}

bool log_item(const char *item, Error **errp)
{
    if (strcmp(item, "guest_errors") == 0) {
        guest_bug_report(true);
        return true;
    }
    if (g_str_has_prefix(item, "trace:")) {
        return trace_enable(item + 6, errp);
    }
    return error_set(errp, "unknown item '%s', known are guest_errors and trace:GLOB", item);
}
