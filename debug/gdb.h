/* gdb.h: a session of GDB's remote serial protocol (GDB manual, appendix E) on any byte stream.
 *
 *              c, s, vCont          a vCPU or somebody stopped the machine
 *     STOPPED ------------> RUNNING -------------------------------------> STOPPED
 *        ^                     | Ctrl-C, a packet, a new client               ^
 *        '------- (open) --> STOPPING ----------------------------------------'
 *
 * 1. Everything runs on control.  There is one session a process.
 * 2. What is kept for a client is bounded: one packet that comes, answers to it, and 4 KiB that came
 *    while the machine was being stopped or the answers were not taken yet.
 * 3. Registers and memory are touched only in STOPPED. */
#ifndef DEBUG_GDB_H
#define DEBUG_GDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

typedef struct Gdb Gdb;

/* Signals as the protocol numbers them. */
typedef enum GdbSignal {
    GDB_SIGINT = 2, GDB_SIGQUIT = 3, GDB_SIGTRAP = 5, GDB_SIGABRT = 6, GDB_SIGALRM = 14, GDB_SIGIO = 23,
} GdbSignal;

/* What a session asks of the rest of the program. */
typedef struct GdbHost {
    bool (*running)(void);
    void (*stop)(void);                        /* gdb_stopped() follows */
    bool (*cont)(Error **errp);
    void (*reset)(void);
    void (*quit)(void);
    char *(*monitor)(const char *command);     /* what it printed, owned; NULL: no human monitor */
    size_t (*send)(void *arg, const uint8_t *buf, size_t n);   /* as char_send() */
    void (*more)(void *arg);                   /* gdb_space() has grown */
    void *arg;
} GdbHost;

/* @h is copied. */
CTX_CONTROL Gdb *gdb_new(const GdbHost *h);
/* At the end of the process, with the machine stopped for good; NULL is fine. */
CTX_CONTROL void gdb_free(Gdb *g);
/* A client came: the machine stops.  A client left: breakpoints go, a machine that runs goes on, one
 * that is stopped stays so. */
CTX_CONTROL void gdb_open(Gdb *g);
CTX_CONTROL void gdb_close(Gdb *g);
CTX_CONTROL size_t gdb_space(const Gdb *g);
CTX_CONTROL void gdb_bytes(Gdb *g, const uint8_t *buf, size_t n);
CTX_CONTROL void gdb_room(Gdb *g);
/* The machine has stopped, for whatever reason; harmless when it was. */
CTX_CONTROL void gdb_stopped(Gdb *g, GdbSignal why);
/* vCPU @index stopped for the debugger (REQUEST_DEBUG): true if the machine has to stop. */
CTX_CONTROL bool gdb_wants_stop(Gdb *g, unsigned index);
/* The process ends with @status. */
CTX_CONTROL void gdb_exited(Gdb *g, int status);

#endif
