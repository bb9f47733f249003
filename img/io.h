/* io.h: what the parts of rhea-io share: a command is a row of a table, its words are split at spaces.
 *
 * 1. Commands run one after another.  An aio_ command only starts its request, on a thread of its own; main
 *    tells of it when it is done: before the next command, while it sleeps or waits for a line, or at the
 *    end.  What changes the image's size or ends it waits for all of them first. */
#ifndef IMG_IO_H
#define IMG_IO_H

#include <pthread.h>
#include "img/img.h"
#include "util/lock.h"
#include "util/notifier.h"

typedef struct Session {
    Image image;
    const char *format, *cache;
    unsigned flags;            /* OPEN_* */
    bool quit, misalign;
    char *open_name, *open_format, *open_cache;        /* as the image was opened, */
    unsigned open_flags;                               /* OPEN_* */
    Lock lock;                 /* guards what follows: requests that the aio_ commands have started */
    LockCond changed;
    Notifier rang;             /* whenever it does: for who waits in poll() */
    unsigned turn;             /* counts what happened: a request is done, or was stopped */
    unsigned busy;             /* started and not told of */
    struct Aio *done, **done_tail;
} Session;

typedef struct IoCommand {
    const char *name, *alias;
    int least, most;           /* arguments; most -1: any number */
    bool needs_image;
    const char *args, *help;
    /* 0 or a negative errno; it has said what was wrong. */
    int (*run)(Session *s, int argc, char **argv);
} IoCommand;

/* A request on a thread of its own. */
typedef struct Aio Aio;
struct Aio {
    void (*run)(Aio *a);       /* on that thread */
    void (*tell)(Aio *a);      /* on main, afterwards; frees it */
    Session *s;
    pthread_t thread;
    Aio *next;
};

/* The one line of @c; and of the command that is called @name. */
void io_usage(const IoCommand *c);
void io_usage_of(const char *name);

extern const IoCommand io_transfer_commands[], io_image_commands[], io_break_commands[],
                       io_reopen_commands[];

/* --- io-break.c --- */

void aio_init(Session *s);
/* Starts @a, which tell() frees.  False: it cannot; it was said. */
bool aio_start(Session *s, Aio *a);
/* Tells of the requests that are done. */
void aio_reap(Session *s);
/* Tells of them until @fd can be read (-1: none) or @ms are over (-1: never). */
void aio_poll(Session *s, int fd, int64_t ms);
/* Waits for all of them.  False: a breakpoint has stopped one. */
bool aio_wait(Session *s);
/* Lets all go on, and waits for them: the image is to be closed. */
void aio_end(Session *s);

/* Can the image be written to?  Says so if not. */
bool io_writable(const Session *s);
/* "1.500 MiB". */
char *io_size(double v);
/* A size or offset with a suffix; says so and is false if it is none. */
bool io_number(const char *text, uint64_t *out);

#endif
