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

static void help(bool luks)
{
    printf("Amend options for '%s':\n", luks ? "luks" : "qcow2");
    for (unsigned i = 0; i < ARRAY_LEN(slots); i++) {
        g_autofree char *name = g_strconcat(luks ? "" : "encrypt.", slots[i].name, NULL);

        printf("  %-22s - %s\n", name, slots[i].help);
    }
    if (!luks) {
        printf("  %-22s - Postpone refcount updates\n", "lazy_refcounts=<bool (on/off)>");
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

static bool take(BlkAmend *o, bool luks, char *list, Error **errp)
{
    while (list && *list) {
        char *name = next_option(&list), *value = strchr(name, '=');

        if (value) {
            *value++ = 0;
        }
        if (!luks && !strcmp(name, "lazy_refcounts")) {
            o->has_lazy_refcounts = true;
            if (!keyval_bool(value ? value : "on", &o->lazy_refcounts)) {
                return error_set(errp, "Parameter '%s' expects 'on' or 'off'", name);
            }
            continue;
        }
        if (!luks && !g_str_has_prefix(name, "encrypt.")) {
            return error_set(errp, "Invalid parameter '%s'", name);
        }
        o->has_luks = true;
        if (!take_slot(&o->luks, luks ? name : name + strlen("encrypt."), value ? value : "on", errp)) {
            return false;
        }
    }
    return true;
}

int cmd_amend(Args *a)
{
    unsigned flags = OPEN_WRITE | OPEN_RESIZE | (a->image_opts ? OPEN_OPTS : 0);
    BlkAmend o = { 0 };
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
              blk_amend(image.node, &o, a->force, &err);
    image_close(&image);
    return ok ? 0 : fail(1, err);
}
