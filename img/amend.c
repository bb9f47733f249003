/* amend.c: rhea-img amend: key slots, and what else of an image can be changed in place. */
#include <string.h>
#include "img/img.h"
#include "qapi/keyval.h"
#include "util/bytes.h"

static const struct { const char *name, *help; } slots[] = {
    { "iter-time=<num>", "Time to spend in PBKDF in milliseconds" },
    { "keyslot=<num>", "Select a single keyslot to modify explicitly" },
    { "new-secret=<str>", "New secret to set in the matching keyslots. Empty string to erase" },
    { "old-secret=<str>", "Select all keyslots that match this password" },
    { "state=<str>", "Select new state of affected keyslots (active/inactive)" },
};

static const struct { const char *name, *help; } others[] = {
    { "backing_file=<str>", "File name of a base image" },
    { "backing_fmt=<str>", "Image format of the base image" },
    { "compat=<str>", "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "data_file=<str>", "File name of an external data file" },
    { "data_file_raw=<bool (on/off)>", "The external data file must stay valid as a raw image" },
}, last[] = {
    { "lazy_refcounts=<bool (on/off)>", "Postpone refcount updates" },
    { "refcount_bits=<num>", "Width of a reference count entry in bits" },
    { "size=<size>", "Virtual disk size" },
};

static void help(bool luks)
{
    printf("Amend options for '%s':\n", luks ? "luks" : "qcow2");
    for (unsigned i = 0; !luks && i < ARRAY_LEN(others); i++) {
        printf("  %-22s - %s\n", others[i].name, others[i].help);
    }
    for (unsigned i = 0; i < ARRAY_LEN(slots); i++) {
        g_autofree char *name = g_strconcat(luks ? "" : "encrypt.", slots[i].name, NULL);

        printf("  %-22s - %s\n", name, slots[i].help);
    }
    for (unsigned i = 0; !luks && i < ARRAY_LEN(last); i++) {
        printf("  %-22s - %s\n", last[i].name, last[i].help);
    }
}

static bool take_slot(BlkLuksAmend *o, const char *name, const char *value, Error **errp)
{
    const struct { const char *name; const char **text; uint64_t *number; bool *has; } all[] = {
        { "state", &o->state, NULL, NULL }, { "new-secret", &o->new_secret, NULL, NULL },
        { "old-secret", &o->old_secret, NULL, NULL }, { "keyslot", NULL, &o->keyslot, &o->has_keyslot },
        { "iter-time", NULL, &o->iter_time, &o->has_iter_time },
    };

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (strcmp(all[i].name, name) != 0) {
            continue;
        }
        if (all[i].text) {
            *all[i].text = value;
            return true;
        }
        *all[i].has = number_read(value, 0, UINT32_MAX, all[i].number);
        return *all[i].has || error_set(errp, "Parameter '%s' expects a number", name);
    }
    return error_set(errp, "Invalid parameter '%s'", name);
}

static bool take_flag(const char *name, const char *value, bool *has, bool *flag, Error **errp)
{
    *has = keyval_bool(value, flag);
    return *has || error_set(errp, "Parameter '%s' expects 'on' or 'off'", name);
}

static bool take_size(BlkAmend *o, const char *value, Error **errp)
{
    o->has_size = size_read(value, &o->size);
    if (o->has_size) {
        return true;
    }
    error_set(errp, "Parameter 'size' expects a non-negative number below 2^64");
    return error_hint(errp, "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta- and "
                      "exabytes, respectively.");
}

static bool take_version(BlkAmend *o, const char *value, Error **errp)
{
    static const struct { const char *name; unsigned version; } all[] = {
        { "0.10", 2 }, { "v2", 2 }, { "1.1", 3 }, { "v3", 3 },
    };

    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (!strcmp(all[i].name, value)) {
            o->version = all[i].version;
            return true;
        }
    }
    return error_set(errp, "Unknown compatibility level %s", value);
}

static bool take_qcow2(BlkAmend *o, const char *name, const char *value, Error **errp)
{
    static const char *const creation[] = {
        "cluster_size", "compression_type", "encryption", "encrypt.format", "encrypt.key-secret",
        "encrypt.cipher-alg", "encrypt.cipher-mode", "encrypt.ivgen-alg", "encrypt.ivgen-hash-alg",
        "encrypt.hash-alg", "extended_l2", "preallocation",
    };
    const struct { const char *name; const char **text; } texts[] = {
        { "backing_file", &o->backing_file }, { "backing_fmt", &o->backing_fmt },
        { "data_file", &o->data_file },
    };

    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        if (!strcmp(texts[i].name, name)) {
            *texts[i].text = value;
            return true;
        }
    }
    for (unsigned i = 0; i < ARRAY_LEN(creation); i++) {
        if (!strcmp(creation[i], name)) {
            error_set(errp, "Invalid parameter '%s'", name);
            return error_hint(errp, "This option is only supported for image creation");
        }
    }
    if (!strcmp(name, "lazy_refcounts")) {
        return take_flag(name, value, &o->has_lazy_refcounts, &o->lazy_refcounts, errp);
    }
    if (!strcmp(name, "data_file_raw")) {
        return take_flag(name, value, &o->has_data_file_raw, &o->data_file_raw, errp);
    }
    if (!strcmp(name, "compat")) {
        return take_version(o, value, errp);
    }
    if (!strcmp(name, "size")) {
        return take_size(o, value, errp);
    }
    if (!strcmp(name, "refcount_bits")) {
        o->has_refcount_bits = number_read(value, 0, UINT64_MAX, &o->refcount_bits);
        return o->has_refcount_bits || error_set(errp, "Parameter 'refcount_bits' expects a number");
    }
    if (g_str_has_prefix(name, "encrypt.")) {
        o->has_luks = true;
        return take_slot(&o->luks, name + strlen("encrypt."), value, errp);
    }
    return error_set(errp, "Invalid parameter '%s'", name);
}

static bool take(BlkAmend *o, bool luks, char *list, Error **errp)
{
    while (list && *list) {
        char *name = next_option(&list), *value = strchr(name, '=');

        if (value) {
            *value++ = 0;
        }
        o->has_luks |= luks;
        if (!(luks ? take_slot(&o->luks, name, value ? value : "on", errp)
                   : take_qcow2(o, name, value ? value : "on", errp))) {
            return false;
        }
    }
    return true;
}

static bool amend(const Args *a, BlkNode *n, const BlkAmend *o, Error **errp)
{
    progress_begin(a->progress && !a->quiet);
    bool ok = blk_amend(n, o, a->force, errp);
    if (ok) {
        progress_set(1, 1);
        progress_end();
    }
    return ok;
}

int cmd_amend(Args *a)
{
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | OPEN_UNMAP | (a->image_opts ? OPEN_OPTS : 0);
    BlkAmend o = { .progress = progress_set };
    Error *err = NULL;
    Image image;

    if (!a->options->len) {
        error_set(&err, "Must specify options (-o)");
        return fail(1, err);
    }
    if (!strcmp(a->options->str, "help") || !strcmp(a->options->str, "?")) {
        help(a->format && !strcmp(a->format, "luks"));
        return 0;
    }
    if (!image_open(&image, a->rest[0], a->format, a->cache, flags, &err)) {
        return fail(1, err);
    }
    bool ok = take(&o, !strcmp(blk_driver_name(image.node), "luks"), a->options->str, &err) &&
              amend(a, image.node, &o, &err);
    image_close(&image);
    return ok ? 0 : fail(1, err);
}
