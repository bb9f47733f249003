/* io.h: what the parts of rhea-io share: a command is a row of a table, its words are split at spaces.
 *
 * 1. Commands run one after another; the aio_ ones too, so that aio_flush has nothing to wait for. */
#ifndef IMG_IO_H
#define IMG_IO_H

#include "img/img.h"

typedef struct Session {
    Image image;
    const char *format, *cache;
    unsigned flags;            /* OPEN_* */
    bool quit, misalign;
} Session;

typedef struct IoCommand {
    const char *name, *alias;
    int least, most;           /* arguments; most -1: any number */
    bool needs_image;
    const char *args, *help;
    /* 0 or a negative errno; it has said what was wrong. */
    int (*run)(Session *s, int argc, char **argv);
} IoCommand;

extern const IoCommand io_transfer_commands[], io_image_commands[];

/* Can the image be written to?  Says so if not. */
bool io_writable(const Session *s);
/* "1.500 MiB". */
char *io_size(double v);
/* A size or offset with a suffix; says so and is false if it is none. */
bool io_number(const char *text, uint64_t *out);

#endif
