/* io.c: rhea-io: requests to an image, by hand and from scripts. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "img/io.h"
#include "img/objects.h"
#include "util/bytes.h"
#include "util/thread.h"

/* --- numbers --- */

char *io_size(double v)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++) {
        v /= 1024;
    }
    g_autofree char *text = g_strdup_printf("%.3f", v);
    if (g_str_has_suffix(text, ".000")) {
        text[strlen(text) - 4] = 0;
    }
    return g_strdup_printf("%s %s", text, units[i]);
}

bool io_number(const char *text, uint64_t *out)
{
    if (size_read(text, out)) {
        return true;
    }
    printf("Parsing error: %s -- %s\n", size_too_large(text) ? "argument too large"
           : "non-numeric argument, or extraneous/unrecognized suffix", text);
    return false;
}

/* --- the image --- */

bool io_writable(const Session *s)
{
    if (!blk_read_only(s->image.node)) {
        return true;
    }
    fprintf(stderr, "%s: Block node is read-only\n", g_get_prgname());
    return false;
}

static int open_image(Session *s, const char *name, const char *format, const char *cache, unsigned flags)
{
    Error *err = NULL;
    bool wrong = flags & OPEN_COPY && !(flags & OPEN_WRITE) &&
                 !error_set(&err, "Can't use copy-on-read on read-only device");

    if (wrong || !image_open(&s->image, name, format, cache, flags | OPEN_BARE, &err)) {
        error_context(&err, "can't open device %s", name);
        error_report(err);
        return -EINVAL;
    }
    g_free(s->open_name);
    g_free(s->open_format);
    g_free(s->open_cache);
    s->open_name = g_strdup(name);
    s->open_format = g_strdup(format);
    s->open_cache = g_strdup(cache);
    s->open_flags = flags | OPEN_BARE;
    return 0;
}

void io_usage(const IoCommand *c)
{
    printf("%s%s%s -- %s\n", c->name, c->args ? " " : "", c->args ? c->args : "", c->help);
}

static int run_close(Session *s, int argc, char **argv)
{
    aio_end(s);
    return image_close(&s->image) ? 0 : -EIO;
}

static int run_open(Session *s, int argc, char **argv)
{
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP;
    const char *cache = NULL, *options = NULL;
    int got;

    optind = 0;
    opterr = 0;
    while ((got = getopt(argc, argv, "rsCnkUt:d:o:")) != -1) {
        switch (got) {
        case 'r': flags &= ~(unsigned)(OPEN_WRITE | OPEN_RESIZE); break;
        case 's': flags |= OPEN_SNAPSHOT; break;
        case 'C': flags |= OPEN_COPY; break;
        case 'n': cache = "none"; break;
        case 't': cache = optarg; break;
        case 'U': flags |= OPEN_SHARE; break;
        case 'k': flags |= OPEN_NATIVE; break;
        case 'o': options = optarg; break;
        case 'd':
            flags = strcmp(optarg, "unmap") && strcmp(optarg, "on") ? flags & ~(unsigned)OPEN_UNMAP : flags;
            break;
        default:
            printf("open: option '-%c' is not known here\n", got == '?' ? optopt : got);
            return -EINVAL;
        }
    }
    if (s->image.node) {
        fprintf(stderr, "%s: file open already, try 'help close'\n", g_get_prgname());
        return -EINVAL;
    }
    if (optind + 1 < argc || (optind == argc && !options)) {
        printf("open: one path is wanted\n");
        return -EINVAL;
    }
    g_autofree char *whole = options && optind < argc ?
        g_strdup_printf("%s,file.filename=%s", options, argv[optind])
                                                      : g_strdup(options ? options : argv[optind]);
    return open_image(s, whole, NULL, cache, flags | (options ? OPEN_OPTS : 0));
}

static int run_length(Session *s, int argc, char **argv)
{
    g_autofree char *text = io_size((double)blk_size(s->image.node));

    printf("%s\n", text);
    return 0;
}

/* The image itself, under what -C put on it. */
static BlkNode *layer(const Session *s)
{
    BlkNode *n = s->image.node;

    return s->image.copying ? blk_child(n, 0) : n;
}

static int run_truncate(Session *s, int argc, char **argv)
{
    const char *how = NULL;
    Error *err = NULL;
    uint64_t size;
    int got;

    if (!io_writable(s)) {
        return -EACCES;
    }
    optind = 0;
    opterr = 1;
    while ((got = getopt(argc, argv, "m:")) != -1) {
        if (got != 'm') {
            io_usage_of(argv[0]);
            return -EINVAL;
        }
        how = optarg;
    }
    if (!image_prealloc_ok(how, &err)) {
        error_report(err);
        return -EINVAL;
    }
    if (optind == argc) {
        io_usage_of(argv[0]);
        return -EINVAL;
    }
    if (!io_number(argv[optind], &size)) {
        return -EINVAL;
    }
    if (!aio_wait(s)) {
        printf("truncate: a breakpoint has stopped a request\n");
        return -EBUSY;
    }
    bool whole = size % 512 == 0 || strcmp(blk_driver_name(layer(s)), "qcow2") != 0 ||
                 error_set(&err, "The new size must be a multiple of 512");
    if (!whole || !image_resize(s->image.node, size, how, &err)) {
        error_report(err);
        return -EIO;
    }
    return 0;
}

/* Is [@off, @off + *@len) of the image's own layer?  Cuts *@len to what the answer is true of. */
static int allocated(BlkNode *n, uint64_t off, uint64_t *len, bool *is)
{
    uint64_t end = off + *len, at = off;
    BlkStatus st;

    for (*is = false; at < end; at += st.len) {
        int ret = blk_status(n, at, end - at, blk_child(n, 1), &st);

        if (ret < 0) {
            return ret;
        }
        bool here = st.flags & BLK_STATUS_HERE;
        if (at > off && here != *is) {
            break;
        }
        *is = here;
    }
    *len = at - off;
    return 0;
}

static int run_map(Session *s, int argc, char **argv)
{
    uint64_t size = blk_size(s->image.node);

    for (uint64_t at = 0, len; at < size; at += len) {
        bool is;

        len = size - at;
        int ret = allocated(layer(s), at, &len, &is);
        if (ret < 0) {
            printf("Failed to query allocation status: %s\n", errno_text(-ret));
            return ret;
        }
        g_autofree char *bytes = io_size((double)len), *place = io_size((double)at);
        printf("%s (0x%" PRIx64 ") bytes %s allocated at offset %s (0x%" PRIx64 ")\n", bytes, len, is ? "   "
               : "not",
               place, at);
    }
    return 0;
}

static int run_alloc(Session *s, int argc, char **argv)
{
    uint64_t off, count = 512, sum = 0;

    if (!io_number(argv[1], &off) || (argc > 2 && !io_number(argv[2], &count))) {
        return -EINVAL;
    }
    uint64_t size = blk_size(s->image.node), end = off < size ? off + MIN(count, size - off) : off;
    for (uint64_t at = off, len; at < end; at += len) {
        bool is;

        len = end - at;
        int ret = allocated(layer(s), at, &len, &is);
        if (ret < 0) {
            printf("is_allocated failed: %s\n", errno_text(-ret));
            return ret;
        }
        sum += is ? len : 0;
    }
    g_autofree char *place = io_size((double)off);
    printf("%" PRIu64 "/%" PRIu64 " bytes allocated at offset %s\n", sum, count, place);
    return 0;
}

static int run_info(Session *s, int argc, char **argv)
{
    BlkImageInfo i;

    blk_image_info(layer(s), &i);
    /* State of a machine would begin where the L2 tables of the disk end. */
    uint64_t table = i.cluster_size / (i.extended_l2 ? 16 : 8) * i.cluster_size;
    g_autofree char *cluster = io_size((double)i.cluster_size);
    g_autofree char *state = io_size(table ? (double)ALIGN_UP(blk_size(layer(s)), table) : 0);
    printf("format name: %s\ncluster size: %s\nvm state offset: %s\n", blk_driver_name(layer(s)), cluster,
           state);
    specific_print(layer(s), &i);
    return 0;
}

/* --- the session --- */

static int run_quit(Session *s, int argc, char **argv)
{
    s->quit = true;
    return 0;
}

static int run_rest(Session *s, int argc, char **argv)
{
    uint64_t ms;

    if (!number_read(argv[1], 0, INT32_MAX, &ms)) {
        printf("%s is not a valid number\n", argv[1]);
        return -EINVAL;
    }
    aio_poll(s, -1, (int64_t)ms);
    return 0;
}

static int run_raise(Session *s, int argc, char **argv)
{
    uint64_t number;

    if (!io_number(argv[1], &number) || number > 64) {
        return -EINVAL;
    }
    fflush(stdout);            /* it may be the end */
    raise((int)number);
    return 0;
}

static int run_abort(Session *s, int argc, char **argv)
{
    fflush(stdout);
    abort();
}

static const IoCommand *find(const char *name)
{
    const IoCommand *tables[] = { io_transfer_commands, io_image_commands, io_break_commands,
                                  io_reopen_commands };

    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        for (const IoCommand *c = tables[i]; c->name; c++) {
            if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name))) {
                return c;
            }
        }
    }
    return NULL;
}

void io_usage_of(const char *name)
{
    io_usage(find(name));
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const IoCommand *const *)a)->name, (*(const IoCommand *const *)b)->name);
}

static int run_help(Session *s, int argc, char **argv)
{
    const IoCommand *tables[] = { io_transfer_commands, io_image_commands, io_break_commands,
                                  io_reopen_commands };
    const IoCommand *one = argc > 1 ? find(argv[1]) : NULL;

    if (argc > 1 && !one) {
        printf("command %s not found\n", argv[1]);
        return -EINVAL;
    }
    if (one) {
        io_usage(one);
        return 0;
    }
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        for (const IoCommand *c = tables[i]; c->name; c++) {
            g_ptr_array_add(all, (void *)c);
        }
    }
    g_ptr_array_sort(all, by_name);
    for (unsigned i = 0; i < all->len; i++) {
        io_usage(all->pdata[i]);
    }
    printf("\nUse 'help commandname' for extended help.\n");
    return 0;
}

const IoCommand io_image_commands[] = {
    { "abort", NULL, 0, 0, false, NULL, "simulate a program crash using abort(3)", run_abort },
    { "alloc", NULL, 1, 2, true, "offset [count]", "checks if offset is allocated in the file", run_alloc },
    { "close", "c", 0, 0, true, NULL, "close the current open file", run_close },
    { "help", "?", 0, 1, false, "[command]", "help for one or all commands", run_help },
    { "info", "i", 0, 0, true, NULL, "prints information about the current file", run_info },
    { "length", "l", 0, 0, true, NULL, "gets the length of the current file", run_length },
    { "map", NULL, 0, 0, true, "", "prints the allocated areas of a file", run_map },
    { "open", "o", 0, -1, false, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
      "open the file specified by path", run_open },
    { "quit", "q", 0, 0, false, NULL, "exit the program", run_quit },
    { "sigraise", NULL, 1, 1, false, "signal", "raises a signal", run_raise },
    { "sleep", NULL, 1, 1, false, NULL, "waits for the given value in milliseconds", run_rest },
    { "truncate", "t", 1, 3, true, "[-m prealloc_mode] off",
      "truncates the current file at the given offset", run_truncate },
    { 0 },
};

static int run_line(Session *s, const char *line)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \t\n", -1);
    g_autofree char **argv = g_new0(char *, g_strv_length(words) + 1);
    int argc = 0;

    for (unsigned i = 0; words[i]; i++) {
        if (*words[i]) {
            argv[argc++] = words[i];
        }
    }
    if (!argc) {
        return 0;
    }
    const IoCommand *c = find(argv[0]);
    if (!c) {
        fprintf(stderr, "command \"%s\" not found\n", argv[0]);
        return -EINVAL;
    }
    if (c->needs_image && !s->image.node) {
        fprintf(stderr, "no file open, try 'help open'\n");
        return -EINVAL;
    }
    if (argc - 1 < c->least || (c->most >= 0 && argc - 1 > c->most)) {
        if (c->most < 0) {
            fprintf(stderr, "bad argument count %d to %s, expected at least %d arguments\n", argc - 1,
                    argv[0],
                    c->least);
        } else if (c->least == c->most) {
            fprintf(stderr, "bad argument count %d to %s, expected %d arguments\n", argc - 1, argv[0],
                    c->least);
        } else {
            fprintf(stderr, "bad argument count %d to %s, expected between %d and %d arguments\n", argc - 1,
                    argv[0],
                    c->least, c->most);
        }
        return -EINVAL;
    }
    aio_reap(s);
    int ret = c->run(s, argc, argv);
    fflush(stdout);
    return ret;
}

static int interact(Session *s)
{
    char *line = NULL;
    size_t room = 0;
    int ret = 0;

    setvbuf(stdin, NULL, _IONBF, 0);       /* aio_poll() sees what is not read yet */
    while (!s->quit) {
        printf("%s> ", g_get_prgname());
        aio_poll(s, STDIN_FILENO, -1);
        if (getline(&line, &room, stdin) < 0) {
            break;
        }
        ret = run_line(s, line);
    }
    free(line);
    return ret;
}

static int usage(void)
{
    printf("Usage: %s [OPTIONS]... [-c STRING]... [file]\nDisk exerciser\n\n"
           "  -c, --cmd STRING     execute command with its arguments from the given string\n"
           "  -f, --format FMT     specifies the block driver to use\n"
           "  -r, --read-only      export read-only\n"
           "  -s, --snapshot       use snapshot file\n"
           "  -n, --nocache        disable host cache, short for -t none\n"
           "  -C, --copy-on-read   enable copy-on-read\n"
           "  -m, --misalign       misalign allocations for O_DIRECT\n"
           "  -k, --native-aio     use kernel AIO implementation\n"
           "  -i, --aio=MODE       use AIO mode (threads, native or io_uring)\n"
           "  -t, --cache=MODE     use the given cache mode for the image\n"
           "  -d, --discard=MODE   use the given discard mode for the image\n"
           "  -T, --trace [[enable=]<pattern>][,events=<file>][,file=<file>]\n"
           "                       specify tracing options\n"
           "  -U, --force-share    force shared permissions\n"
           "      --object OBJECT  define an object such as 'secret' for keys\n"
           "      --image-opts     treat file as a list of options\n"
           "  -h, --help           display this help and exit\n"
           "  -V, --version        output version information and exit\n\n"
           "See '%s -c help' for information on available commands.\n", g_get_prgname(), g_get_prgname());
    return 0;
}

typedef struct Start {
    Session s;
    GPtrArray *lines;
} Start;

static bool take_aio(Session *s, const char *mode)
{
    s->flags |= !strcmp(mode, "native") ? OPEN_NATIVE : !strcmp(mode, "io_uring") ? OPEN_URING : 0;
    if (!(s->flags & (OPEN_NATIVE | OPEN_URING)) && strcmp(mode, "threads") != 0) {
        fprintf(stderr, "%s: Invalid AIO mode: %s\n", g_get_prgname(), mode);
        return false;
    }
    return true;
}

static bool take_discard(Session *s, const char *mode)
{
    if (!strcmp(mode, "ignore") || !strcmp(mode, "off")) {
        s->flags &= ~(unsigned)OPEN_UNMAP;
    } else if (strcmp(mode, "unmap") != 0 && strcmp(mode, "on") != 0) {
        fprintf(stderr, "%s: Invalid discard option: %s\n", g_get_prgname(), mode);
        return false;
    }
    return true;
}

static const struct option longs[] = {
    { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' },
    { "cmd", required_argument, NULL, 'c' }, { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' }, { "nocache", no_argument, NULL, 'n' },
    { "native-aio", no_argument, NULL, 'k' }, { "aio", required_argument, NULL, 'i' },
    { "cache", required_argument, NULL, 't' }, { "discard", required_argument, NULL, 'd' },
    { "force-share", no_argument, NULL, 'U' }, { "image-opts", no_argument, NULL, 256 },
    { "object", required_argument, NULL, 257 }, { "snapshot", no_argument, NULL, 's' },
    { "copy-on-read", no_argument, NULL, 'C' }, { "misalign", no_argument, NULL, 'm' },
    { "trace", required_argument, NULL, 'T' }, { 0 },
};

/* Takes the options; -1: go on, else the exit status. */
static int start_read(Start *st, int argc, char **argv)
{
    Session *s = &st->s;
    Error *err = NULL;
    bool done = false;
    int got;

    s->flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP;
    while ((got = getopt_long(argc, argv, "hVc:f:rsnCmki:t:d:T:U", longs, NULL)) != -1) {
        switch (got) {
        case 'c': g_ptr_array_add(st->lines, optarg); break;
        case 'f': s->format = optarg; break;
        case 'r': s->flags &= ~(unsigned)(OPEN_WRITE | OPEN_RESIZE); break;
        case 's': s->flags |= OPEN_SNAPSHOT; break;
        case 'C': s->flags |= OPEN_COPY; break;
        case 'm': s->misalign = true; break;
        case 'n': s->cache = "none"; break;
        case 'k': s->flags |= OPEN_NATIVE; break;
        case 't': s->cache = optarg; break;
        case 'U': s->flags |= OPEN_SHARE; break;
        case 'T':
            if (!tool_trace(optarg, &done, &err)) {
                return fail(1, err);
            }
            if (done) {
                return 0;
            }
            break;
        case 256: s->flags |= OPEN_OPTS; break;
        case 257:
            if (!tool_object_add(optarg, &err)) {
                return fail(1, err);
            }
            break;
        case 'i':
            if (!take_aio(s, optarg)) {
                return 1;
            }
            break;
        case 'd':
            if (!take_discard(s, optarg)) {
                return 1;
            }
            break;
        case 'h': return usage();
        case 'V':
            printf("%s version 7.2.0 (Rhea %s)\n", g_get_prgname(), RHEA_VERSION);
            return 0;
        default:
            fprintf(stderr, "Try '%s --help' for more information.\n", g_get_prgname());
            return 1;
        }
    }
    if (argc - optind > 1) {
        fprintf(stderr, "Try '%s --help' for more information.\n", g_get_prgname());
        return 1;
    }
    return -1;
}

int main(int argc, char **argv)
{
    g_autofree char *name = g_path_get_basename(argv[0]);
    g_autoptr(GPtrArray) lines = g_ptr_array_new();
    Start st = { .lines = lines };
    int ret = 0;

    g_set_prgname(name);
    error_set_program(argv[0]);
    thread_become_control();
    aio_init(&st.s);
    int status = start_read(&st, argc, argv);
    if (status >= 0) {
        return status;
    }
    if (optind < argc) {
        ret = open_image(&st.s, argv[optind], st.s.format, st.s.cache, st.s.flags);
        if (ret < 0) {
            return 1;
        }
    }
    for (unsigned i = 0; i < lines->len && !st.s.quit; i++) {
        int one = run_line(&st.s, lines->pdata[i]);

        ret = ret < 0 ? ret : one;
    }
    if (!lines->len) {
        ret = interact(&st.s);
    }
    aio_end(&st.s);
    bool closed = image_close(&st.s.image);
    g_free(st.s.open_name);
    g_free(st.s.open_format);
    g_free(st.s.open_cache);
    return ret < 0 || !closed ? 1 : 0;
}
