/* trace.h: named events, switched at run time.
 *
 *   TRACE(uart16550_write, "offset=%u value=0x%02x", off, val);
 *
 * The event's name is <file>_<what>; it exists where it is used, nothing else declares it.  All events
 * of the program are found in one linker section, so that -trace PATTERN and the monitor can list and
 * switch them.  A switched-off event costs one load and one predicted branch. */
#ifndef UTIL_TRACE_H
#define UTIL_TRACE_H

#include <stdbool.h>
#include "util/context.h"
#include "util/error.h"

typedef struct TraceEvent {
    const char *name;
    bool on;
} TraceEvent;

#define TRACE(event, ...) \
    do { \
        static TraceEvent trace_ev_ __attribute__((section("trace_events"), used, aligned(16))) = \
            { .name = #event }; \
        if (__builtin_expect(__atomic_load_n(&trace_ev_.on, __ATOMIC_RELAXED), 0)) { \
            trace_emit(&trace_ev_, __VA_ARGS__); \
        } \
    } while (0)

/* Writes one line "<seconds>.<us> <thread> <event> <text>" to the trace file (stderr by default). */
CTX_ANY void trace_emit(const TraceEvent *ev, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Switches the events that match the glob @pattern; a leading '-' switches them off.  Returns false
 * with the nearest name when nothing matches. */
CTX_ANY bool trace_enable(const char *pattern, Error **errp);
/* The patterns in the lines of @path, but for empty ones and those that begin with '#'. */
CTX_ANY bool trace_enable_listed(const char *path, Error **errp);
/* Sends the trace to @path from now on. */
CTX_CONTROL bool trace_to_file(const char *path, Error **errp);
/* Calls fn(event name, on, arg) for each name once, sorted. */
CTX_ANY void trace_each(void (*fn)(const char *name, bool on, void *arg), void *arg);

/* A guest did what its specification forbids: counted, and reported where trace events go at most
 * once per second per @who when -d guest_errors is on. */
CTX_ANY void guest_bug(const char *who, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
CTX_ANY void guest_bug_report(bool on);
/* Switches on what -d and the monitor's log name: guest_errors, trace:GLOB. */
CTX_CONTROL bool log_item(const char *item, Error **errp);
/* How many guest_bug() calls there were: for tests. */
CTX_ANY unsigned long guest_bug_count(void);

#endif
