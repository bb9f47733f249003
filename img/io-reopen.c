/* io-reopen.c: rhea-io: the image becomes read-only or writable, or gets another cache mode, as it is open.
 *
 * 1. The right to write is given back before the image becomes read-only, and taken when it is writable.
 * 2. Another cache mode means that it is closed and opened; if that fails, with the mode it had. */
#include <errno.h>
#include <getopt.h>
#include "block/graph.h"
#include "img/io.h"

#define RIGHTS (BLK_PERM_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

typedef struct Wish {
    bool write, any;           /* @any: -r, -w or read-only= was said */
    const char *cache;
} Wish;

/* "read-only=on,...": what else there is cannot be changed here. */
static bool options_read(Wish *w, char *list, Error **errp)
{
    for (char *rest = list; rest && *rest;) {
        char *word = next_option(&rest), *value = strchr(word, '=');

        if (value) {
            *value++ = 0;
        }
        if (strcmp(word, "read-only") != 0) {
            return error_set(errp, "Cannot change the option '%s'", word);
        }
        bool on = value && !strcmp(value, "on");
        if (!on && (!value || strcmp(value, "off") != 0)) {
            return error_set(errp, "Parameter 'read-only' expects 'on' or 'off'");
        }
        if (w->any) {
            return error_set(errp, "Cannot set both -r/-w and 'read-only'");
        }
        w->write = !on;
        w->any = true;
    }
    return true;
}

static bool access_change(Session *s, bool write, Error **errp)
{
    BlkNode *n = s->image.node;
    BlkUser *u = &s->image.use;
    unsigned share = u->share;

    if (write == !blk_read_only(n)) {
        return true;
    }
    if (write) {
        return blk_reopen_read_only(n, false, errp) &&
               (blk_change_rights(u, RIGHTS, share, errp) || (blk_reopen_read_only(n, true, NULL), false));
    }
    if (s->image.copying) {
        return error_set(errp, "Can't set node '%s' to r/o with copy-on-read enabled", blk_name(n));
    }
    int ret = blk_pflush(n);
    if (ret < 0) {
        return error_set_errno(errp, -ret, "Could not write '%s' out", blk_filename(n));
    }
    if (!blk_change_rights(u, BLK_PERM_READ, share, errp)) {
        return false;
    }
    return blk_reopen_read_only(n, true, errp) || (blk_change_rights(u, RIGHTS, share, NULL), false);
}

static bool cache_change(Session *s, const char *cache, Error **errp)
{
    unsigned write = OPEN_WRITE | OPEN_RESIZE;
    unsigned flags = (s->open_flags & ~write) | (blk_read_only(s->image.node) ? 0 : write);

    if (flags & OPEN_SNAPSHOT) {
        return error_set(errp, "Cannot change the cache mode of what a temporary file holds");
    }
    if (!image_close(&s->image)) {
        return error_set(errp, "Could not write '%s' out", s->open_name);
    }
    if (image_open(&s->image, s->open_name, s->open_format, cache, flags, errp)) {
        g_free(s->open_cache);
        s->open_cache = g_strdup(cache);
        return true;
    }
    image_open(&s->image, s->open_name, s->open_format, s->open_cache, flags, NULL);
    return false;
}

static int run_reopen(Session *s, int argc, char **argv)
{
    Error *err = NULL;
    Wish w = { 0 };
    char *options = NULL;
    int got;

    optind = 0;
    opterr = 1;
    while ((got = getopt(argc, argv, "c:o:rw")) != -1) {
        bool ok = true;

        switch (got) {
        case 'c':
            w.cache = optarg;
            ok = image_cache_ok(optarg, &err);
            break;
        case 'o': options = optarg; break;
        case 'r': case 'w':
            ok = !w.any || error_set(&err, "Only one -r/-w option may be given");
            w.any = true;
            w.write = got == 'w';
            break;
        default:
            io_usage_of(argv[0]);
            return -EINVAL;
        }
        if (!ok) {
            error_report(err);
            return -EINVAL;
        }
    }
    if (optind != argc) {
        io_usage_of(argv[0]);
        return -EINVAL;
    }
    if (!aio_wait(s)) {
        printf("reopen: a breakpoint has stopped a request\n");
        return -EBUSY;
    }
    if (!options_read(&w, options, &err) || (w.any && !access_change(s, w.write, &err)) ||
        (w.cache && !cache_change(s, w.cache, &err))) {
        error_report(err);
        return -EINVAL;
    }
    return 0;
}

const IoCommand io_reopen_commands[] = {
    { "reopen", NULL, 0, -1, true, "[(-r|-w)] [-c cache] [-o options]", "reopens an image with new options",
      run_reopen },
    { 0 },
};
