/* img.c: rhea-img: the table of commands.
 *
 * 1. A command's row is all that says which options it has; an unknown one is refused by name. */
#include <stdio.h>
#include <string.h>
#include "img/img.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/thread.h"

typedef struct Command {
    const char *name, *letters, *words;
    unsigned least, most;      /* names that are no options */
    const char *missing;       /* what is said when there are too few or too many */
    int (*run)(Args *a);
    const char *usage;
} Command;

static const char one_file[] = "Expecting one image file name";

static const Command commands[] = {
    { "amend", "f:o:pqt:", "object image-opts force", 1, 1, one_file, cmd_amend,
      "[--image-opts] [-p] [-q] [-f fmt] [-t cache] [--force] -o options filename" },
    { "bench", "c:d:f:ni:o:qs:S:t:wU", "object image-opts flush-interval no-drain pattern force-share", 1, 1,
      one_file, cmd_bench,
      "[-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] [-i aio] [-n] [--no-drain] [-o "
          "offset] "
      "[--pattern=pattern] [-q] [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename" },
    { "bitmap", "b:f:F:g:", "object image-opts add remove clear enable disable merge", 2, 2,
      "Expecting filename and bitmap name", cmd_bitmap,
      "(--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b source_file "
      "[-F source_fmt]] [-g granularity] [--image-opts | -f fmt] filename bitmap" },
    { "check", "f:qr:T:U", "object image-opts output force-share", 1, 1, one_file, cmd_check,
      "[--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] filename" },
    { "commit", "f:t:b:dpqr:", "object image-opts", 1, 1, one_file, cmd_commit,
      "[--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename" },
    { "compare", "f:F:T:pqsU", "object image-opts force-share", 2, 2, "Expecting two image file names",
      cmd_compare,
      "[--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2" },
    { "convert", "f:O:B:F:Cco:l:S:pt:T:qnm:WUr:", "object image-opts target-image-opts target-is-zero "
      "salvage bitmaps skip-broken-bitmaps force-share", 0, UINT_MAX, NULL, cmd_convert,
      "[--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps [--skip-broken-bitmaps]] "
      "[-U] [-C] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] "
      "[-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] "
      "[-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename [filename2 [...]] output_filename" },
    { "create", "f:b:F:o:qu", "object", 0, UINT_MAX, NULL, cmd_create,
      "[-q] [-f fmt] [-b backing_file -F backing_fmt] [-u] [-o options] filename [size]" },
    { "dd", "f:O:U", "object image-opts force-share", 0, UINT_MAX, NULL, cmd_dd,
      "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] if=input "
      "of=output" },
    { "info", "f:U", "object image-opts output backing-chain force-share", 1, 1, one_file, cmd_info,
      "[--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] filename" },
    { "map", "f:U", "object image-opts output start-offset max-length force-share", 1, 1, one_file, cmd_map,
      "[--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] filename" },
    { "measure", "f:O:o:l:U", "object image-opts output size force-share", 0, 1,
      "At most one filename argument is "
      "allowed.", cmd_measure,
      "[--output=ofmt] [-O output_fmt] [-o options] [--size N | [--image-opts] [-f fmt] "
      "[-l snapshot_param] [-U] filename]" },
    { "rebase", "f:F:b:uhpt:T:qU", "object image-opts force-share", 1, 1, one_file, cmd_rebase,
      "[--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file -F backing_fmt "
      "filename" },
    { "resize", "f:q", "object image-opts preallocation shrink", 2, 2, "Not enough arguments",
      cmd_resize, "[--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename [+ | -]size" },
    { "snapshot", "la:c:d:qU", "object image-opts force-share", 1, 1, one_file, cmd_snapshot,
      "[--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename" },
};

static int try_help(Error *err)
{
    error_hint(&err, "Try '%s --help' for more information", g_get_prgname());
    return fail(1, err);
}

static void print_version(void)
{
    printf("%s version 7.2.0 (Rhea %s)\n", g_get_prgname(), RHEA_VERSION);
}

static int print_help(void)
{
    print_version();
    printf("usage: %s [standard options] command [command options]\nMakes, checks, copies and changes disk "
           "images.\n\n"
           "    '-h', '--help'       display this help and exit\n"
           "    '-V', '--version'    output version information and exit\n"
           "    '-T', '--trace'      [[enable=]<pattern>][,events=<file>][,file=<file>]\n"
           "                         switch trace events on; 'help' lists them\n\nCommand syntax:\n",
           g_get_prgname());
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        /* All of them take it. */
        printf("  %s [--object objectdef] %s\n", commands[i].name, commands[i].usage);
    }
    printf("\nobjectdef makes an object, 'secret,id=ID,file=FILE' for the key of an encrypted image.\n"
           "A size is a number with an optional suffix k, M, G, T, P or E.  A cache mode is none, "
           "writeback (the\n"
           "default, but for convert), writethrough, directsync or unsafe (convert's).  '-o help' lists a "
               "format's\n"
           "options.\n\nSupported formats:");
    for (const char *const *name = blk_driver_names(); *name; name++) {
        printf(" %s", *name);
    }
    printf("\n");
    return 0;
}

static int run(const Command *c, int argc, char **argv)
{
    Args a = { .command = c->name };
    Error *err = NULL;
    int status;

    /* "-1G" is no option. */
    bool minus = !strcmp(c->name, "resize") && argc > 2 && argv[argc - 1][0] == '-' &&
                 g_ascii_isdigit(argv[argc - 1][1]);
    if (!args_read(&a, argc - minus, argv, c->letters, c->words, &err)) {
        status = try_help(err);
    } else if (a.count_rest += minus, !strcmp(a.command, "help")) {
        status = print_help();
    } else if (a.count_rest < c->least || a.count_rest > c->most) {
        error_set(&err, "%s", c->missing);
        status = try_help(err);
    } else {
        status = c->run(&a);
    }
    args_clear(&a);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        status = status ? status : 1;
    }
    return status;
}

/* What is said before the command: -1: go on at argv[*at]; else the exit status. */
static int read_standard(int argc, char **argv, int *at)
{
    static const char *const names[] = { "--trace=", "--trace", "-T" };
    Error *err = NULL;
    bool done = false;

    for (; *at < argc && argv[*at][0] == '-'; ++*at) {
        const char *word = argv[*at], *pattern = NULL;

        if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
            return print_help();
        }
        if (!strcmp(word, "-V") || !strcmp(word, "--version")) {
            print_version();
            return 0;
        }
        for (unsigned i = 0; !pattern && i < ARRAY_LEN(names); i++) {
            pattern = g_str_has_prefix(word, names[i]) ? word + strlen(names[i]) : NULL;
        }
        if (!pattern) {
            error_set(&err, "unrecognized option '%s'", word);
            return try_help(err);
        }
        if (!*pattern && ++*at == argc) {
            error_set(&err, "option '%s' requires an argument", word);
            return try_help(err);
        }
        if (!tool_trace(*pattern ? pattern : argv[*at], &done, &err)) {
            return fail(1, err);
        }
        if (done) {
            return 0;
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    g_autofree char *name = g_path_get_basename(argv[0]);
    Error *err = NULL;
    int at = 1;

    g_set_prgname(name);
    error_set_program(argv[0]);
    thread_become_control();
    int status = read_standard(argc, argv, &at);
    if (status >= 0) {
        return status;
    }
    if (at == argc) {
        error_set(&err, "Not enough arguments");
        return try_help(err);
    }
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        if (!strcmp(commands[i].name, argv[at])) {
            return run(&commands[i], argc - at, argv + at);
        }
    }
    error_set(&err, "Command not found: %s", argv[at]);
    return try_help(err);
}
