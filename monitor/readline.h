/* readline.h: a line editor for any byte stream: cursor keys, history, completion.
 *
 * It knows no terminal: it prints text, backspaces, and two sequences every terminal since the VT100 knows
 * (erase to the end of the line, clear the screen). */
#ifndef MONITOR_READLINE_H
#define MONITOR_READLINE_H

#include <glib.h>
#include <stddef.h>
#include "util/context.h"

#define READLINE_MAX 4095              /* bytes of a line; what is typed beyond is ignored */
#define READLINE_HISTORY 64            /* lines kept */

typedef struct Readline Readline;

typedef struct ReadlineOps {
    void (*print)(void *arg, const char *text, size_t n);
    /* A line is complete; it is borrowed. */
    void (*line)(void *arg, const char *line);
    /* Adds (with g_strdup) the words that could stand at the end of @text, the line up to the cursor, to
     * @words, and returns how many bytes at the end of @text they replace. */
    size_t (*complete)(void *arg, const char *text, GPtrArray *words);
} ReadlineOps;

/* @ops and @arg are borrowed. */
CTX_ANY Readline *readline_new(const ReadlineOps *ops, void *arg, const char *prompt);
CTX_ANY void readline_free(Readline *r);
/* Prints the prompt and the line as far as it was typed. */
CTX_ANY void readline_show(Readline *r);
/* Forgets what was typed; the history stays. */
CTX_ANY void readline_reset(Readline *r);
/* One byte from the stream. */
CTX_ANY void readline_byte(Readline *r, unsigned char b);
/* Lines entered, newest first; NULL beyond. */
CTX_ANY const char *readline_history(const Readline *r, unsigned n);

#endif
