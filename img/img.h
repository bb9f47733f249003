/* img.h: what the commands of rhea-img share.
 *
 * 1. A command is a function of its arguments that returns the exit status; its options are a row of the
 *    table in img.c.
 * 2. Everything runs on the main thread, which is the control thread, but for the workers of copy.c. */
#ifndef IMG_IMG_H
#define IMG_IMG_H

#include <stdio.h>
#include "block/block.h"

typedef struct Args {
    const char *command;
    /* Options with a value; NULL: not given. */
    const char *format, *format2, *out_format;     /* -f, -F, -O */
    const char *cache, *src_cache;                 /* -t, -T */
    const char *backing;                           /* -b, -B */
    const char *output;                            /* --output */
    const char *repair, *sparse, *workers, *rate, *snapshot;    /* -r, -S, -m, -r, -l */
    const char *prealloc, *size, *start, *length;
    const char *count, *depth, *offset, *buffer, *step, *aio, *interval, *pattern;
    const char *granularity;                       /* -g */
    GString *options;                              /* all of -o, joined by commas */
    int action;                                    /* snapshot: the letter of -l, -a, -c or -d */
    GArray *bitmap_actions;                        /* BitmapAction, in order */
    bool force, quiet, progress, unsafe, share, image_opts, target_opts, target_zero;
    bool no_create, compress, offload, any_order, strict, keep, shrink, chain, write, no_drain, salvage;
    bool bitmaps, skip_broken;
    char **rest;                                   /* what is no option, NULL-terminated */
    unsigned count_rest;
    bool json;
} Args;

typedef struct BitmapAction {
    const char *name;          /* the option's */
    const char *source;        /* --merge */
} BitmapAction;

/* --- args.c --- */

/* Reads the arguments after the command's name by the letters and words it knows: as for getopt_long(), the
 * words between spaces. */
bool args_read(Args *a, int argc, char **argv, const char *letters, const char *words, Error **errp);
void args_clear(Args *a);
/* "1.5G" as bytes. */
bool size_read(const char *text, uint64_t *out);
/* Is @text a number of bytes that is too large? */
bool size_too_large(const char *text);
/* The size of an image, or an error that says what could be. */
bool image_size_read(const char *text, uint64_t *out, Error **errp);
/* A whole number in [@min, @max]. */
bool number_read(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* Reads -o into @o, whose strings stay those of @list; false with a text, or when help was printed: *help.
 * @list is cut up. */
bool create_options_read(const char *format, char *list, BlkCreate *o, bool *has_size, bool *help,
                         Error **errp);
/* Cuts the first "name=value" off *@list; ",," is a comma. */
char *next_option(char **list);
/* -T, --trace: "[enable=]PATTERN,events=FILE,file=FILE"; *@done: it asked for a list, which was printed. */
bool tool_trace(const char *text, bool *done, Error **errp);
/* Is @format one that images are made in? */
bool can_create(const char *format);
/* The defaults that a format has. */
void create_options_help(const char *format);

/* --- open.c, show.c --- */

enum {
    OPEN_WRITE = 1 << 0,
    OPEN_SHARE = 1 << 1,       /* -U: whoever else has it */
    OPEN_NO_BACKING = 1 << 2,
    OPEN_REPAIR = 1 << 3,
    OPEN_OPTS = 1 << 4,        /* the name is --image-opts */
    OPEN_UNMAP = 1 << 5,
    OPEN_RESIZE = 1 << 6,
    OPEN_NATIVE = 1 << 7,      /* aio=native, */
    OPEN_URING = 1 << 8,       /* io_uring */
    OPEN_LOOK = 1 << 9,        /* nothing is read of the disk: no key is needed */
    OPEN_SNAPSHOT = 1 << 10,   /* with OPEN_WRITE: what is written goes to a temporary file */
    OPEN_BARE = 1 << 12,       /* an error is not prefixed with the image's name */
    OPEN_COPY = 1 << 11,       /* what is read from behind the image is put into it */
};

typedef struct Image {
    BlkNode *node;
    BlkNode *below;            /* what @node filters, if it does not close that; NULL */
    bool copying;              /* @node is a copy-on-read filter over the image */
    BlkUser use;
} Image;

/* Opens @name as @format (NULL: as what it looks like) with the cache mode @cache (NULL: writeback).  The
 * error is prefixed as scripts expect it. */
bool image_open(Image *i, const char *name, const char *format, const char *cache, unsigned flags,
                Error **errp);
/* The same, with the secret that opens an encrypted one, or NULL. */
bool image_open_key(Image *i, const char *name, const char *format, const char *cache, unsigned flags,
                    const char *key_secret, Error **errp);
/* Is @mode a cache mode? */
bool image_cache_ok(const char *mode, Error **errp);
/* Nothing happens if it is not open.  False: what was not flushed may be lost; it was said. */
bool image_close(Image *i);

/* The read-only @n shows the internal snapshot that @param names: an id, a name, or "snapshot.id=..." and
 * "snapshot.name=..." joined by a comma. */
bool image_show(BlkNode *n, const char *param, Error **errp);

/* The image gets @size bytes, with space as @how says: off (or NULL), metadata, falloc or full.  If that
 * fails it has the size it had, or the error's hint tells which. */
bool image_resize(BlkNode *n, uint64_t size, const char *how, Error **errp);
/* Is @how one of those? */
bool image_prealloc_ok(const char *how, Error **errp);

/* Prints what @i has of what only the format of @n has. */
void specific_print(const BlkNode *n, const BlkImageInfo *i);

/* Where the image @of finds the file it calls @name. */
char *path_beside(const char *of, const char *name);

/* --- report.c --- */

/* "1.5 MiB", as info shows sizes. */
char *size_text(uint64_t bytes);
/* Progress: -p, or once for each SIGUSR1. */
void progress_begin(bool show);
void progress_set(uint64_t done, uint64_t total);
void progress_end(void);
/* Prints @e and returns @status. */
int fail(int status, Error *take_err);

/* --- copy.c --- */

typedef struct Copy Copy;

/* A piece of the work that several threads do. */
typedef struct Piece {
    uint64_t off, len;
    uint64_t turn;             /* pieces in their order */
    void *own;                 /* of what the caller of copy_run() put there */
    unsigned kind;
} Piece;

typedef struct CopyOps {
    /* The next piece, one caller at a time; 0: there is none, 1, or -errno. */
    int (*next)(void *arg, Piece *p);
    /* Does it, on any thread, with @buf of the size given.  0 or -errno (it has said what was wrong). */
    int (*work)(void *arg, const Piece *p, uint8_t *buf);
    uint64_t total;            /* for the progress; 0: none is shown */
    uint64_t rate;             /* at most so many bytes a second; 0: as fast as can be */
} CopyOps;

/* Runs @ops with @workers threads; the first error ends it and is returned. */
int copy_run(const CopyOps *ops, void *arg, unsigned workers, size_t buffer);
/* -r, or 0. */
bool rate_read(const Args *a, uint64_t *out, Error **errp);
/* Waits until all pieces before @p have called copy_turn_over(). */
void copy_turn_wait(const Piece *p);
void copy_turn_over(const Piece *p);
/* Says "error while @what at byte @at" and returns @ret. */
int copy_failed(const char *what, uint64_t at, int ret);
/* True if [@p, @p + @len) is zeroes. */
bool is_zero(const void *p, size_t len);

/* --- the commands --- */

int cmd_amend(Args *a);
int cmd_create(Args *a);
int cmd_info(Args *a);
int cmd_check(Args *a);
int cmd_map(Args *a);
int cmd_compare(Args *a);
int cmd_convert(Args *a);
int cmd_resize(Args *a);
int cmd_measure(Args *a);
int cmd_commit(Args *a);
int cmd_rebase(Args *a);
int cmd_bench(Args *a);
int cmd_dd(Args *a);
int cmd_snapshot(Args *a);
int cmd_bitmap(Args *a);
/* Can all bitmaps of @source be copied?  Those that are inconsistent are left out, or refused. */
bool bitmaps_check(const BlkNode *source, bool skip_broken, Error **errp);
/* Adds what bitmaps_check() has let pass to @target, with what is set. */
bool bitmaps_copy(BlkNode *target, const BlkNode *source, Error **errp);

/* The list as `snapshot -l` and `info` print it. */
void snapshots_print(const GArray *list);

#endif
