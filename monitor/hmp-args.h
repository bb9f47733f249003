/* hmp-args.h: the arguments of human monitor commands, and the expressions in them.
 *
 * A command's arguments are described by words "NAME:TYPE", with "?" behind one that may be absent, then "*"
 * behind one that is the rest of the line:
 *
 *   TYPE    argument                                                completed as
 *   -x      the flag -x                                             -
 *   s       a word, or a text in double quotes                      -
 *   F B C D I O P T V c the same                                    see hmp-complete.c
 *   i       an expression                                           register names
 *   M       an expression, in MiB                                   -
 *   o       a size, in MiB without a suffix                         -
 *   b       on or off                                               on, off
 *   /       a format: count, conversion, size                       - */
#ifndef MONITOR_HMP_ARGS_H
#define MONITOR_HMP_ARGS_H

#include <stdbool.h>
#include <stdint.h>
#include "util/context.h"
#include "util/error.h"

#define HMP_ARGS_MAX 10

typedef struct HmpArg {
    const char *name;          /* borrowed from the description, @name_len bytes of it */
    unsigned name_len;
    bool set;
    int64_t num;
    char *text;
} HmpArg;

typedef struct HmpFormat {
    unsigned count;
    char conversion;           /* x d u o c i */
    unsigned size;             /* 1, 2, 4, 8 */
} HmpFormat;

typedef struct HmpArgs {
    HmpArg at[HMP_ARGS_MAX];
    unsigned n;
    HmpFormat format;
} HmpArgs;

/* What expressions and formats need to know. */
typedef struct HmpArgsContext {
    HmpFormat format;          /* what a format leaves out: as the last one */
    /* The value of register @name; false: there is none of that name. */
    bool (*reg)(void *arg, const char *name, uint64_t *value);
    void *arg;
} HmpArgsContext;

/* Reads @text by the description @spec; @name is for messages.  On failure @out is cleared. */
CTX_ANY bool hmp_args_read(const char *name, const char *spec, const char *text, const HmpArgsContext *c,
                           HmpArgs *out, Error **errp);
CTX_ANY void hmp_args_clear(HmpArgs *a);
/* The argument's text, or NULL when it was not given. */
CTX_ANY const char *hmp_str(const HmpArgs *a, const char *name);
/* The number; false when it was not given. */
CTX_ANY bool hmp_num(const HmpArgs *a, const char *name, int64_t *out);
/* The number, or @dflt. */
CTX_ANY int64_t hmp_int(const HmpArgs *a, const char *name, int64_t dflt);
/* True for a flag that was given, and for on. */
CTX_ANY bool hmp_flag(const HmpArgs *a, const char *name);

/* Evaluates the longest expression at *@text and moves *@text behind it and the blanks that follow: numbers
 * as in C, 'c', $register, ( ), unary + - ~, then * / %, then & | ^, then + -; 64 bits, wrapping. */
CTX_ANY bool hmp_expression(const char **text, const HmpArgsContext *c, int64_t *out, Error **errp);

/* The type that describes argument number @n (from 0) of @spec, flags not counted; 0: there is none. */
CTX_ANY char hmp_args_type(const char *spec, unsigned n);

#endif
