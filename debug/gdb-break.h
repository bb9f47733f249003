/* gdb-break.h: the breakpoints and watchpoints of a debugger, and putting them into the guest. */
#ifndef DEBUG_GDB_BREAK_H
#define DEBUG_GDB_BREAK_H

#include <glib.h>
#include "core/cpu-debug.h"
#include "core/region.h"

#define GDB_BREAKS_MAX 512
#define GDB_DEBUG_REGISTERS 4

/* The digits of GDB's Z packets. */
typedef enum GdbBreakKind {
    GDB_BREAK_SOFT, GDB_BREAK_HARD, GDB_WATCH_WRITE, GDB_WATCH_READ, GDB_WATCH_ACCESS,
} GdbBreakKind;

typedef struct GdbBreak {
    GdbBreakKind kind;
    uint64_t linear;
    Gpa gpa;                   /* of a soft one */
    unsigned len;              /* bytes watched; 1 for breakpoints */
    bool fixed;                /* no INT3 can do it: a debug register must */
    int reg;                   /* while armed: its debug register, or -1 */
    bool planted;              /* while armed: an INT3 is there instead of @saved */
    uint8_t saved;
} GdbBreak;

typedef struct GdbBreaks {
    GArray *all;               /* GdbBreak */
    CpuInt3 *int3;             /* while armed */
    unsigned int3_count;
    uint64_t db[GDB_DEBUG_REGISTERS], dr7;
    bool armed;
} GdbBreaks;

CTX_CONTROL void gdb_breaks_init(GdbBreaks *b);
CTX_CONTROL void gdb_breaks_free(GdbBreaks *b);
CTX_CONTROL void gdb_breaks_clear(GdbBreaks *b);
/* @gpa: where @linear is now, for soft ones; @fixed: it cannot be written there.  0, or -ENOSPC: no room,
 * -EINVAL: no debug register can watch that.  The same one twice counts once. */
CTX_CONTROL int gdb_break_add(GdbBreaks *b, GdbBreakKind kind, uint64_t linear, unsigned len, Gpa gpa,
                              bool fixed);
CTX_CONTROL bool gdb_break_remove(GdbBreaks *b, GdbBreakKind kind, uint64_t linear, unsigned len);
/* Chooses who gets a debug register and plants INT3s for the rest; undone by disarm. */
CTX_CONTROL void gdb_breaks_arm(GdbBreaks *b, Space *mem);
CTX_CONTROL void gdb_breaks_disarm(GdbBreaks *b, Space *mem);
/* The one that made a vCPU stop, or NULL; still valid after disarm. */
CTX_CONTROL const GdbBreak *gdb_break_hit(const GdbBreaks *b, const CpuStop *s);

#endif
