/* hmp-int.h: what the files of the human monitor share: the table, and what a command gets.
 *
 * A command is thin: it marshals its arguments into a QMP command (hmp_call) and prints what that returns;
 * what no QMP command tells comes from core. */
#ifndef MONITOR_HMP_INT_H
#define MONITOR_HMP_INT_H

#include "core/machine.h"
#include "core/x86.h"
#include "monitor/hmp-args.h"
#include "monitor/hmp.h"
#include "monitor/readline.h"
#include "qapi/types.h"

#define HMP_OUT_MAX (4u << 20)         /* bytes a line may print */

struct HmpState {
    unsigned cpu;
    HmpFormat format;                  /* the last one */
    const Readline *readline;          /* for info history; may be NULL */
    bool quits;                        /* no prompt any more */
};

/* One line being carried out. */
typedef struct Hmp {
    QmpServer *server;
    HmpState *state;
    GString *out;
    bool truncated;                    /* @out is full: what else is printed is dropped */
    HmpRun *run;
} Hmp;

typedef struct HmpCommand {
    const char *name;                  /* "cont|c" */
    const char *args;                  /* see hmp-args.h */
    const char *params, *help;         /* what help shows */
    void (*run)(Hmp *h, const HmpArgs *a);
    const char *needs;                 /* the QMP command without which there is none of this; may be NULL */
} HmpCommand;

extern const HmpCommand hmp_commands[], hmp_info_commands[];   /* sorted; the last has no name */

/* --- for commands --- */
/* Who does what no QMP command does; NULL: there is nobody, and that was said. */
const HmpHost *hmp_host(Hmp *h);
void hmp_printf(Hmp *h, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Prints "Error: ..." and the advice.  Frees @take_err. */
void hmp_error(Hmp *h, Error *take_err);
/* Runs QMP command @name with arguments @take_args (may be NULL): what it returns, or NULL and the error was
 * printed. */
json_t *hmp_call(Hmp *h, const char *name, json_t *take_args);
/* The same, but the error is the caller's. */
json_t *hmp_try(Hmp *h, const char *name, json_t *take_args, Error **errp);
/* hmp_call() for a command that returns nothing; true: it worked. */
bool hmp_do(Hmp *h, const char *name, json_t *take_args);
/* Reads @text as command-line option @opt of @type and runs QMP command @qmp with that; true when it asks for
 * help. */
bool hmp_option(Hmp *h, int opt, unsigned type, const char *text, const char *qmp);
/* For a deferred command: its error, if any, is printed when it is done, which ends the line. */
void hmp_do_later(Hmp *h, const char *name, json_t *take_args);
/* The line ends when the returned is told, which may be before hmp_later_started(@run), the next call. */
/* @plain: an error it is told of is printed without "Error: ". */
QmpPending *hmp_later(Hmp *h, HmpRun **run, bool plain);
void hmp_later_started(Hmp *h, HmpRun *run);
/* An object of strings: "key", text, ..., NULL; pairs whose text is NULL are left out. */
json_t *hmp_args_of(const char *key, ...) G_GNUC_NULL_TERMINATED;
/* Looking into what commands return: "" and 0 where there is none. */
const char *hmp_json_str(const json_t *o, const char *key);
uint64_t hmp_json_num(const json_t *o, const char *key);
bool hmp_json_true(const json_t *o, const char *key);
/* "10 MiB": three significant digits. */
void hmp_print_size(Hmp *h, uint64_t bytes);
/* Registers of the chosen vCPU; false: there is none. */
bool hmp_try_regs(Hmp *h, X86Regs *out);
/* The same, and that was said. */
bool hmp_regs(Hmp *h, X86Regs *out);
/* The value of a register by its name in expressions (without $). */
bool hmp_register(const X86Regs *r, const char *name, uint64_t *value);
/* Calls fn(name, arg) for each of those names. */
void hmp_each_register(void (*fn)(const char *name, void *arg), void *arg);

/* --- the table --- */
bool hmp_command_there(const HmpCommand *c);
/* May it run now?  Few do before the machine is built. */
bool hmp_command_allowed(const HmpCommand *c);
/* Why there is no command @name of @n bytes that QEMU has; NULL: it is not known. */
const char *hmp_absent(bool of_info, const char *name, size_t n);
/* The command @name of @n bytes, or NULL. */
const HmpCommand *hmp_command_find(const HmpCommand *table, const char *name, size_t n);
/* Prints the lines of @table, each after @prefix; @only (may be NULL): only that one. */
void hmp_help(Hmp *h, const char *prefix, const HmpCommand *table, const HmpCommand *only);

/* What "device_add @text" says when that asks for help: all device models, or the properties of one. */
void hmp_device_help(Hmp *h, const char *text);

/* ReadlineOps.complete, for the line of an HMP session. */
size_t hmp_complete(QmpServer *server, const char *text, GPtrArray *words);

/* --- disassembly: hmp-disas.c --- */
/* Loads the disassembler, before the sandbox closes. */
void hmp_disas_load(void);
/* Appends one instruction of @mode at the beginning of @code: its text; returns its length, 0: cannot tell.
 * False in *@available when there is no disassembler. */
unsigned hmp_disassemble(X86Mode mode, uint64_t pc, const uint8_t *code, size_t n, GString *out,
                         bool *available);

#define HMP_RUN(function) void function(Hmp *h, const HmpArgs *a)

/* All commands of the table. */
#define HMP(name, args, params, needs, function, help) HMP_RUN(function);
#define INFO(name, args, params, needs, function, help) HMP_RUN(function);
#include "monitor/hmp-commands.def"
#undef HMP
#undef INFO

#endif
