/* args.c: the command line of rhea-img: options, sizes, and -o. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include "img/img.h"
#include "img/objects.h"
#include "qapi/keyval.h"
#include "qapi/types.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { LONG_FIRST = 256, BITMAP_ACTION = 1024 };

/* Every long option of every command; a command's words say which it has. */
static const struct option all[] = {
    { "help", no_argument, NULL, 'h' },
    { "object", required_argument, NULL, LONG_FIRST },
    { "image-opts", no_argument, NULL, LONG_FIRST + 1 },
    { "output", required_argument, NULL, LONG_FIRST + 2 },
    { "backing-chain", no_argument, NULL, LONG_FIRST + 3 },
    { "force-share", no_argument, NULL, 'U' },
    { "start-offset", required_argument, NULL, 's' + LONG_FIRST },
    { "max-length", required_argument, NULL, 'l' + LONG_FIRST },
    { "shrink", no_argument, NULL, LONG_FIRST + 4 },
    { "preallocation", required_argument, NULL, LONG_FIRST + 5 },
    { "target-image-opts", no_argument, NULL, LONG_FIRST + 6 },
    { "target-is-zero", no_argument, NULL, LONG_FIRST + 7 },
    { "salvage", no_argument, NULL, LONG_FIRST + 8 },
    { "size", required_argument, NULL, LONG_FIRST + 9 },
    { "flush-interval", required_argument, NULL, LONG_FIRST + 10 },
    { "no-drain", no_argument, NULL, LONG_FIRST + 11 },
    { "pattern", required_argument, NULL, LONG_FIRST + 12 },
    { "bitmaps", no_argument, NULL, LONG_FIRST + 13 },
    { "skip-broken-bitmaps", no_argument, NULL, LONG_FIRST + 14 },
    { "force", no_argument, NULL, 'f' + LONG_FIRST },
    { "add", no_argument, NULL, BITMAP_ACTION },
    { "remove", no_argument, NULL, BITMAP_ACTION + 1 },
    { "clear", no_argument, NULL, BITMAP_ACTION + 2 },
    { "enable", no_argument, NULL, BITMAP_ACTION + 3 },
    { "disable", no_argument, NULL, BITMAP_ACTION + 4 },
    { "merge", required_argument, NULL, BITMAP_ACTION + 5 },
};

static void take_bitmap_action(Args *a, int which)
{
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].val == which) {
            BitmapAction action = { all[i].name, all[i].has_arg ? optarg : NULL };

            g_array_append_val(a->bitmap_actions, action);
        }
    }
}

static bool take_long(Args *a, int which, Error **errp)
{
    const struct { int which; const char **text; bool *flag; } table[] = {
        { 1, NULL, &a->image_opts }, { 2, &a->output, NULL }, { 3, NULL, &a->chain },
        { 'f', NULL, &a->force }, { 's', &a->start, NULL }, { 'l', &a->length, NULL },
        { 4, NULL, &a->shrink },
        { 5, &a->prealloc, NULL }, { 6, NULL, &a->target_opts }, { 7, NULL, &a->target_zero },
        { 8, NULL, &a->salvage }, { 9, &a->size, NULL }, { 10, &a->interval, NULL },
        { 11, NULL, &a->no_drain }, { 12, &a->pattern, NULL }, { 13, NULL, &a->bitmaps },
        { 14, NULL, &a->skip_broken },
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].which == which && table[i].text) {
            *table[i].text = optarg;
            return true;
        }
        if (table[i].which == which) {
            return *table[i].flag = true;
        }
    }
    return tool_object_add(optarg, errp);
}

static bool take_letter(Args *a, int letter)
{
    bool bench = !strcmp(a->command, "bench"), compare = !strcmp(a->command, "compare");
    bool create = !strcmp(a->command, "create"), check = !strcmp(a->command, "check");
    const struct { int letter; const char **text; bool *flag; } table[] = {
        { 'f', &a->format, NULL }, { 'F', &a->format2, NULL }, { 'O', &a->out_format, NULL },
        { 't', &a->cache, NULL }, { 'T', &a->src_cache, NULL }, { 'b', &a->backing, NULL },
        { 'B', &a->backing, NULL }, { 'l', &a->snapshot, NULL }, { 'm', &a->workers, NULL },
        { 'r', check ? &a->repair : &a->rate, NULL }, { 'S', bench ? &a->step : &a->sparse, NULL },
        { 'q', NULL, &a->quiet }, { 'p', NULL, &a->progress }, { 'u', NULL, &a->unsafe },
        { 'U', NULL, &a->share }, { 'n', NULL, &a->no_create }, { 'C', NULL, &a->offload },
        { 'g', &a->granularity, NULL },
        { 'W', NULL, &a->any_order }, { 'w', NULL, &a->write }, { 'i', &a->aio, NULL },
        { 'c', bench ? &a->count : NULL, &a->compress }, { 'd', bench ? &a->depth : NULL, &a->keep },
        { 's', compare || create ? NULL : &a->buffer, &a->strict },
    };

    for (unsigned i = 0; i < ARRAY_LEN(table); i++) {
        if (table[i].letter == letter) {
            if (table[i].text) {
                *table[i].text = optarg;
            } else {
                *table[i].flag = true;
            }
            return true;
        }
    }
    if (bench) {
        a->offset = optarg;
    } else {                   /* -o */
        g_string_append_printf(a->options, "%s%s", a->options->len ? "," : "", optarg);
    }
    return true;
}

static struct option *longs_of(const char *words)
{
    g_auto(GStrv) names = g_strsplit(words, " ", -1);
    struct option *out = g_new0(struct option, ARRAY_LEN(all) + 1), *end = out;

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].val == 'h' || g_strv_contains((const char *const *)names, all[i].name)) {
            *end++ = all[i];
        }
    }
    return out;
}

bool args_read(Args *a, int argc, char **argv, const char *letters, const char *words, Error **errp)
{
    g_autofree char *shorts = g_strdup_printf(":%sh", letters);
    g_autofree struct option *longs = longs_of(words);
    int got;

    a->options = g_string_new(NULL);
    a->bitmap_actions = g_array_new(false, false, sizeof(BitmapAction));
    optind = 1;
    while ((got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (got == '?') {
            return optopt && optopt < LONG_FIRST
                   ? error_set(errp, "invalid option -- '%c'", optopt)
                   : error_set(errp, "unrecognized option '%s'", argv[optind - 1]);
        }
        if (got == ':') {
            return error_set(errp, "missing argument for option '%s'", argv[optind - 1]);
        }
        if (got == 'h') {
            a->command = "help";
            return true;
        }
        if (got >= BITMAP_ACTION) {
            take_bitmap_action(a, got);
            continue;
        }
        if (!strcmp(a->command, "snapshot") && strchr("lacd", got)) {
            if (a->action) {
                return error_set(errp, "Cannot mix '-l', '-a', '-c', '-d'");
            }
            a->action = got;
            a->snapshot = optarg;
            continue;
        }
        if (got >= LONG_FIRST ? !take_long(a, got - LONG_FIRST, errp) : !take_letter(a, got)) {
            return false;
        }
    }
    a->rest = argv + optind;
    a->count_rest = (unsigned)(argc - optind);
    a->json = a->output && !strcmp(a->output, "json");
    return !a->output || a->json || !strcmp(a->output, "human") ||
           error_set(errp, "--output must be used with human or json as argument.");
}

void args_clear(Args *a)
{
    g_string_free(a->options, true);
    g_array_unref(a->bitmap_actions);
}

/* --- numbers --- */

bool size_read(const char *text, uint64_t *out)
{
    return *text != '-' && keyval_size(text, 1, out) && *out <= INT64_MAX;
}

bool size_too_large(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t size;

    return digits && strlen(text + digits) <= 1 && strchr("kKmMgGtTpPeE", text[digits]) &&
           !size_read(text, &size);
}

bool image_size_read(const char *text, uint64_t *out, Error **errp)
{
    if (size_too_large(text)) {
        return error_set(errp, "Invalid image size specified. Must be between 0 and %" PRId64 ".", INT64_MAX);
    }
    return size_read(text, out) ||
           error_set(errp, "Invalid image size specified. You may use k, M, G, T, P or E suffixes for "
                     "kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.");
}

bool number_read(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    return g_ascii_string_to_unsigned(text, 10, min, max, out, NULL);
}

/* --- -o --- */

typedef enum Kind { KIND_TEXT, KIND_SIZE, KIND_NUMBER, KIND_FLAG } Kind;

enum { RAW = 1, QCOW2 = 2, LUKS = 4 };

typedef struct CreateOption {
    const char *name, *type, *help;
    Kind kind;
    unsigned of;               /* the formats that have it */
    size_t at;                 /* in BlkCreate; 0: taken apart below */
} CreateOption;

/* The options of encryption, which have a prefix with qcow2. */
#define CIPHER_OPTIONS(prefix, of) \
    { prefix "cipher-alg", "str", "Name of encryption cipher algorithm", KIND_TEXT, of, \
      offsetof(BlkCreate, luks.cipher_alg) }, \
    { prefix "cipher-mode", "str", "Name of encryption cipher mode", KIND_TEXT, of, \
      offsetof(BlkCreate, luks.cipher_mode) }
#define KEY_OPTIONS(prefix, of, text) \
    { prefix "hash-alg", "str", "Name of encryption hash algorithm", KIND_TEXT, of, \
      offsetof(BlkCreate, luks.hash_alg) }, \
    { prefix "iter-time", "num", "Time to spend in PBKDF in milliseconds", KIND_NUMBER, of, \
      offsetof(BlkCreate, luks.iter_time) }, \
    { prefix "ivgen-alg", "str", "Name of IV generator algorithm", KIND_TEXT, of, \
      offsetof(BlkCreate, luks.ivgen_alg) }, \
    { prefix "ivgen-hash-alg", "str", "Name of IV generator hash algorithm", KIND_TEXT, of, \
      offsetof(BlkCreate, luks.ivgen_hash_alg) }, \
    { prefix "key-secret", "str", text, KIND_TEXT, of, offsetof(BlkCreate, luks.key_secret) }

static const CreateOption options[] = {
    { "backing_file", "str", "File name of a base image", KIND_TEXT, QCOW2,
      offsetof(BlkCreate, backing_file) },
    { "backing_fmt", "str", "Image format of the base image", KIND_TEXT, QCOW2,
      offsetof(BlkCreate, backing_fmt) },
    CIPHER_OPTIONS("", LUKS),
    KEY_OPTIONS("", LUKS, "ID of the secret that provides the keyslot passphrase"),
    { "cluster_size", "size", "qcow2 cluster size", KIND_SIZE, QCOW2, offsetof(BlkCreate, cluster_size) },
    { "compat", "str", "Compatibility level (v2 [0.10] or v3 [1.1])", KIND_TEXT, QCOW2, 0 },
    { "compression_type", "str", "Compression method used for image cluster compression", KIND_TEXT, QCOW2,
      0 },
    { "data_file", "str", "File name of an external data file", KIND_TEXT, QCOW2,
      offsetof(BlkCreate, data_file) },
    { "data_file_raw", "bool (on/off)", "The external data file must stay valid as a raw image", KIND_FLAG,
      QCOW2,
      offsetof(BlkCreate, data_file_raw) },
    CIPHER_OPTIONS("encrypt.", QCOW2),
    { "encrypt.format", "str", "Encrypt the image, format choices: 'aes', 'luks'", KIND_TEXT, QCOW2,
      offsetof(BlkCreate, encrypt_format) },
    KEY_OPTIONS("encrypt.", QCOW2, "ID of secret providing qcow AES key or LUKS passphrase"),
    { "encryption", "bool (on/off)",
      "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)", KIND_FLAG, QCOW2,
      0 },
    { "extended_l2", "bool (on/off)", "Extended L2 tables", KIND_FLAG, QCOW2,
      offsetof(BlkCreate, extended_l2) },
    { "lazy_refcounts", "bool (on/off)", "Postpone refcount updates", KIND_FLAG, QCOW2,
      offsetof(BlkCreate, lazy_refcounts) },
    { "nocow", "bool (on/off)", "Turn off copy-on-write (valid only on btrfs)", KIND_FLAG, RAW | QCOW2,
      offsetof(BlkCreate, nocow) },
    { "preallocation", "str", "Preallocation mode (allowed values: off, metadata, falloc, full)", KIND_TEXT,
      RAW | QCOW2,
      0 },
    { "refcount_bits", "num", "Width of a reference count entry in bits", KIND_NUMBER, QCOW2,
      offsetof(BlkCreate, refcount_bits) },
    { "size", "size", "Virtual disk size", KIND_SIZE, RAW | QCOW2 | LUKS, offsetof(BlkCreate, size) },
};

bool can_create(const char *format)
{
    return !strcmp(format, "raw") || !strcmp(format, "qcow2") || !strcmp(format, "luks");
}

static unsigned format_bit(const char *format)
{
    return !strcmp(format, "raw") ? RAW : !strcmp(format, "luks") ? LUKS : QCOW2;
}

void create_options_help(const char *format)
{
    printf("Supported %s options:\n", format);
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        if (options[i].of & format_bit(format)) {
            g_autofree char *left = g_strdup_printf("%s=<%s>", options[i].name, options[i].type);

            printf("  %-22s - %s\n", left, options[i].help);
        }
    }
}

/* The options whose values are words. */
static bool take_word(const char *name, const char *value, BlkCreate *o, Error **errp)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full", NULL };

    if (!strcmp(name, "compat")) {
        o->v2 = !strcmp(value, "0.10") || !strcmp(value, "v2");
        return o->v2 || !strcmp(value, "1.1") || !strcmp(value, "v3") ||
               error_set(errp, "Parameter 'version' does not accept value '%s'", value);
    }
    if (!strcmp(name, "compression_type")) {
        o->zstd = !strcmp(value, "zstd");
        return o->zstd || !strcmp(value, "zlib") ||
               error_set(errp, "Parameter 'compression-type' does not accept value '%s'", value);
    }
    for (unsigned i = 0; modes[i]; i++) {
        if (!strcmp(value, modes[i])) {
            o->prealloc = (BlkPrealloc)i;
            return true;
        }
    }
    return error_set(errp, "Parameter 'preallocation' does not accept value '%s'", value);
}

static bool take_option(const CreateOption *d, char *value, BlkCreate *o, Error **errp)
{
    char *at = (char *)o + d->at;
    uint64_t number;

    switch (d->kind) {
    case KIND_TEXT:
        if (!d->at) {
            return take_word(d->name, value, o, errp);
        }
        *(const char **)at = *value ? value : NULL;
        return true;
    case KIND_FLAG:
        if (!d->at) {          /* encryption */
            bool on = false;

            if (!keyval_bool(value, &on)) {
                return error_set(errp, "Parameter '%s' expects 'on' or 'off'", d->name);
            }
            o->encrypt_format = on ? "aes" : o->encrypt_format;
            return true;
        }
        return keyval_bool(value, (bool *)at) ||
               error_set(errp, "Parameter '%s' expects 'on' or 'off'", d->name);
    case KIND_SIZE:
        if (!size_read(value, (uint64_t *)at)) {
            error_set(errp, "Parameter '%s' expects a non-negative number below 2^64", d->name);
            return error_hint(errp, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                              "peta-\n"
                              "and exabytes, respectively.");
        }
        return true;
    default:
        if (!number_read(value, 0, UINT32_MAX, &number)) {
            return error_set(errp, "Parameter '%s' expects a number", d->name);
        }
        if (d->at == offsetof(BlkCreate, luks.iter_time)) {
            o->luks.has_iter_time = true;
            o->luks.iter_time = number;
            return true;
        }
        *(unsigned *)at = (unsigned)number;
        return true;
    }
}

char *next_option(char **list)
{
    char *start = *list, *to = start;

    for (char *p = start; *p; p++) {
        if (*p == ',' && *++p != ',') {
            *to = 0;
            *list = p;
            return start;
        }
        *to++ = *p;
    }
    *to = 0;
    *list = NULL;
    return start;
}

bool create_options_read(const char *format, char *list, BlkCreate *o, bool *has_size, bool *help,
                         Error **errp)
{
    *help = false;
    while (list && *list) {
        char *name = next_option(&list), *value = strchr(name, '=');
        const CreateOption *d = NULL;

        if (!strcmp(name, "help") || !strcmp(name, "?")) {
            *help = true;
            return false;
        }
        if (value) {
            *value++ = 0;
        }
        for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
            if (!strcmp(options[i].name, name) && options[i].of & format_bit(format)) {
                d = &options[i];
            }
        }
        if (!d) {
            return error_set(errp, "Invalid parameter '%s'", name);
        }
        if (!take_option(d, value ? value : (char *)(uintptr_t)"on", o, errp)) {
            return false;
        }
        *has_size |= !strcmp(name, "size");
    }
    return true;
}

static void print_event(const char *name, bool on, void *arg)
{
    printf("%s\n", name);
}

bool tool_trace(const char *text, bool *done, Error **errp)
{
    g_autoptr(TraceConfig) t = NULL;

    if (!qapi_opt_trace(text, &t, errp)) {
        return error_context(errp, "--trace %s", text);
    }
    if (!t) {
        trace_each(print_event, NULL);
        *done = true;
        return true;
    }
    return (!t->file || trace_to_file(t->file, errp)) &&
           (!t->events || trace_enable_listed(t->events, errp) ||
            error_context(errp, "--trace events=%s", t->events)) &&
           (!t->enable || trace_enable(t->enable, errp) || error_context(errp, "--trace"));
}
