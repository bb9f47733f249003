/* gdb-int.h: between gdb.c (the session) and gdb-command.c (what packets ask for). */
#ifndef DEBUG_GDB_INT_H
#define DEBUG_GDB_INT_H

#include "debug/gdb-break.h"
#include "debug/gdb-packet.h"
#include "debug/gdb-regs.h"
#include "debug/gdb.h"

enum { GDB_STEP_ENABLE = 1, GDB_STEP_NOIRQ = 2 };      /* bits of Qqemu.sstep */

typedef enum GdbState { GDB_CLOSED, GDB_STOPPED, GDB_RUNNING, GDB_STOPPING } GdbState;

struct Gdb {
    GdbHost host;
    GdbState state;
    GdbReader reader;
    GByteArray *out, *last;    /* unsent; the last packet, for '-' */
    GByteArray *pending;       /* came while the machine was being stopped, or @out not taken */
    bool no_ack, multiprocess, swbreak, hwbreak;
    bool resuming;             /* the next start is ours: @act counts */
    bool quitting;
    bool stale;                /* the breakpoints are a client's that left */
    unsigned g_thread, c_thread;       /* indexes of vCPUs; c_thread UINT_MAX: all */
    unsigned step_bits;
    bool physical;
    GdbWidth width;
    char *xml;                 /* of @width, once it was asked for: then @width stays */
    GdbBreaks breaks;
    char *act;                 /* one letter a vCPU: c, s, or h (held); vcpu_count of them */
    unsigned vcpus;
    bool has_stop;             /* what stopped it, for the next stop reply */
    CpuStop stop;
    unsigned stop_vcpu;
    GdbSignal signal;          /* of the last stop reply */
    unsigned next_thread;      /* of qsThreadInfo */
};

/* --- gdb.c --- */
void gdb_reply(Gdb *g, const char *text);
void gdb_reply_bytes(Gdb *g, const void *data, size_t n);
void gdb_error(Gdb *g, int err);
void gdb_reply_stop(Gdb *g);
/* Lets the machine run as @act says. */
void gdb_resume(Gdb *g);
/* Undoes everything in the guest and lets it run: detach. */
void gdb_detach(Gdb *g);
/* "p01.02" or "02": vCPU @index for this client. */
char *gdb_thread_text(const Gdb *g, unsigned index);

/* --- gdb-command.c --- */
void gdb_command(Gdb *g, const char *text, size_t n);

#endif
