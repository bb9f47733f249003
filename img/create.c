/* create.c: rhea-img create. */
#include <inttypes.h>
#include "img/img.h"
#include "util/bytes.h"

/* What was said of encryption: "encrypt.format=luks encrypt.key-secret=..." */
static void say_crypt(const BlkCreate *o)
{
    const char *prefix = o->encrypt_format ? "encrypt." : "";
    const struct { const char *name, *value; } all[] = {
        { "key-secret", o->luks.key_secret }, { "cipher-alg", o->luks.cipher_alg },
        { "cipher-mode", o->luks.cipher_mode }, { "ivgen-alg", o->luks.ivgen_alg },
        { "ivgen-hash-alg", o->luks.ivgen_hash_alg }, { "hash-alg", o->luks.hash_alg },
    };

    if (o->encrypt_format) {
        printf(" encrypt.format=%s", o->encrypt_format);
    }
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i].value) {
            printf(" %s%s=%s", prefix, all[i].name, all[i].value);
        }
    }
    if (o->luks.has_iter_time) {
        printf(" %siter-time=%" PRIu64, prefix, o->luks.iter_time);
    }
}

/* The line that says what is about to be made, its options in the order the tools print them. */
static void say_formatting(const BlkCreate *o, const char *words)
{
    printf("Formatting '%s', fmt=%s", o->filename, o->driver);
    if (!strcmp(o->driver, "qcow2")) {
        say_crypt(o);
        printf(" cluster_size=%" PRIu64 " extended_l2=%s", o->cluster_size ? o->cluster_size : 64 * KiB,
               o->extended_l2 ? "on" : "off");
    }
    static const char *const modes[] = { "off", "metadata", "falloc", "full" };
    bool said = strstr(words, "preallocation=") != NULL;
    if (strcmp(o->driver, "qcow2") != 0) {
        printf(" size=%" PRIu64, o->size);
        say_crypt(o);
        if (said) {
            printf(" preallocation=%s", modes[o->prealloc]);
        }
        printf("\n");
        return;
    }
    if (said) {
        printf(" preallocation=%s", modes[o->prealloc]);
    }
    printf(" compression_type=%s size=%" PRIu64, o->zstd ? "zstd" : "zlib", o->size);
    if (strstr(words, "compat=")) {
        printf(" compat=%s", o->v2 ? "0.10" : "1.1");
    }
    if (o->backing_file) {
        printf(" backing_file=%s", o->backing_file);
    }
    if (o->backing_fmt) {
        printf(" backing_fmt=%s", o->backing_fmt);
    }
    if (o->data_file) {
        printf(" data_file=%s", o->data_file);
    }
    if (strstr(words, "data_file_raw=")) {
        printf(" data_file_raw=%s", o->data_file_raw ? "on" : "off");
    }
    printf(" lazy_refcounts=%s refcount_bits=%u\n", o->lazy_refcounts ? "on" : "off",
           o->refcount_bits ? o->refcount_bits : 16);
}

/* The backing file must be there, and gives the size if none was given. */
static bool look_below(BlkCreate *o, bool has_size, Error **errp)
{
    g_autofree char *path = path_beside(o->filename, o->backing_file);
    Image below;

    if (!image_open(&below, path, o->backing_fmt, NULL, OPEN_SHARE, errp)) {
        error_hint(errp, "Could not open backing image.");
        return false;
    }
    if (!has_size) {
        o->size = blk_size(below.node);
    }
    image_close(&below);
    return true;
}

static int create(Args *a, BlkCreate *o, bool has_size)
{
    g_autofree char *words = g_strdup(a->options->str);
    bool help = false;
    Error *err = NULL;

    if (!create_options_read(o->driver, a->options->str, o, &has_size, &help, &err)) {
        if (help) {
            create_options_help(o->driver);
            return 0;
        }
        error_context(&err, "%s", o->filename);
        return fail(1, err);
    }
    o->backing_file = a->backing ? a->backing : o->backing_file;
    o->backing_fmt = a->format2 ? a->format2 : o->backing_fmt;
    bool ok = true;
    if (o->backing_file && strcmp(o->driver, "qcow2") != 0) {
        ok = error_set(&err, "Backing file not supported for file format '%s'", o->driver);
    } else if (o->backing_file && !o->backing_fmt) {
        ok = error_set(&err, "Backing file specified without backing format");
    } else if (o->backing_file && !strcmp(o->backing_file, o->filename)) {
        ok = error_set(&err, "Error: Trying to create an image with the same filename as the backing file");
    } else if (o->backing_file && !a->unsafe) {
        ok = look_below(o, has_size, &err);
        has_size = true;
    }
    if (ok && !has_size) {
        ok = error_set(&err, "Image creation needs a size parameter");
    }
    if (ok && !a->quiet) {
        say_formatting(o, words);
        fflush(stdout);
    }
    if (!ok || !blk_create(o, &err)) {
        error_context(&err, "%s", o->filename);
        return fail(1, err);
    }
    return 0;
}

int cmd_create(Args *a)
{
    BlkCreate o = { .driver = a->format ? a->format : "raw" };
    bool has_size = a->count_rest == 2;
    Error *err = NULL;

    if (!strcmp(a->options->str, "help") || !strcmp(a->options->str, "?")) {
        create_options_help(o.driver);
        return 0;
    }
    if (a->count_rest < 1) {
        error_set(&err, "Expecting image file name");
        error_hint(&err, "Try '%s --help' for more information", g_get_prgname());
        return fail(1, err);
    }
    o.filename = a->rest[0];
    if (a->count_rest > 2) {
        error_set(&err, "Unexpected argument: %s", a->rest[2]);
        return fail(1, err);
    }
    if (has_size && !image_size_read(a->rest[1], &o.size, &err)) {
        return fail(1, err);
    }
    if (!can_create(o.driver)) {
        error_set(&err, "%s: Unknown file format '%s'", o.filename, o.driver);
        return fail(1, err);
    }
    return create(a, &o, has_size);
}
