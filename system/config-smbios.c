/* config-smbios.c: -smbios into the board's plain form (hw/board/smbios.h). */
#include "system/config-int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "hw/board/smbios.h"

/* More structures than any firmware keeps. */
#define SMBIOS_FILE_MAX (1 << 20)
#define OEM_STRINGS_MAX 255

/* Takes @given over the text said before. */
static void take(const char **to, const char *given)
{
    if (given != NULL) {
        g_free((char *)*to);
        *to = g_strdup(given);
    }
}

static bool read_bios(SmbiosBios *b, const SmbiosType0 *t, Error **errp)
{
    unsigned major, minor;
    char after;

    take(&b->vendor, t->vendor);
    take(&b->version, t->version);
    take(&b->date, t->date);
    b->wanted = true;
    b->uefi = t->uefi;
    if (t->release != NULL) {
        if (sscanf(t->release, "%u.%u%c", &major, &minor, &after) != 2 || major > 255 || minor > 255) {
            return error_set(errp, "Invalid release: MAJOR.MINOR is expected, each up to 255");
        }
        b->major = major;
        b->minor = minor;
    }
    return true;
}

static bool read_system(SmbiosSystem *s, const SmbiosType1 *t, Error **errp)
{
    if (t->uuid != NULL && !g_uuid_string_is_valid(t->uuid)) {
        return error_set(errp, "Invalid UUID");
    }
    take(&s->manufacturer, t->manufacturer);
    take(&s->product, t->product);
    take(&s->version, t->version);
    take(&s->serial, t->serial);
    take(&s->uuid, t->uuid);
    take(&s->sku, t->sku);
    take(&s->family, t->family);
    return true;
}

static void read_baseboard(SmbiosBaseboard *b, const SmbiosType2 *t)
{
    b->wanted = true;
    take(&b->manufacturer, t->manufacturer);
    take(&b->product, t->product);
    take(&b->version, t->version);
    take(&b->serial, t->serial);
    take(&b->asset, t->asset);
    take(&b->location, t->location);
}

static void read_chassis(SmbiosChassis *c, const SmbiosType3 *t)
{
    take(&c->manufacturer, t->manufacturer);
    take(&c->version, t->version);
    take(&c->serial, t->serial);
    take(&c->asset, t->asset);
    take(&c->sku, t->sku);
}

static void read_processor(SmbiosProcessor *p, const SmbiosType4 *t)
{
    take(&p->sock_pfx, t->sock_pfx);
    take(&p->manufacturer, t->manufacturer);
    take(&p->version, t->version);
    take(&p->serial, t->serial);
    take(&p->asset, t->asset);
    take(&p->part, t->part);
    p->max_speed_mhz = t->has_max_speed ? t->max_speed : p->max_speed_mhz;
    p->current_speed_mhz = t->has_current_speed ? t->current_speed : p->current_speed_mhz;
    p->has_id = p->has_id || t->has_processor_id;
    p->id = t->has_processor_id ? t->processor_id : p->id;
}

static void read_memory_device(SmbiosMemory *d, const SmbiosType17 *t)
{
    take(&d->loc_pfx, t->loc_pfx);
    take(&d->bank, t->bank);
    take(&d->manufacturer, t->manufacturer);
    take(&d->serial, t->serial);
    take(&d->asset, t->asset);
    take(&d->part, t->part);
    d->speed_mhz = t->has_speed ? t->speed : d->speed_mhz;
}

/* The whole of a small file; *@n its size. */
static bool read_file(const char *path, char **data, size_t *n, Error **errp)
{
    FILE *f = fopen(path, "re");

    if (f == NULL) {
        return error_set_errno(errp, errno, "could not open '%s'", path);
    }
    *data = g_malloc(SMBIOS_FILE_MAX + 1);
    *n = fread(*data, 1, SMBIOS_FILE_MAX + 1, f);
    if (ferror(f)) {
        int err = errno;
        fclose(f);
        return error_set_errno(errp, err, "could not read '%s'", path);
    }
    fclose(f);
    return *n <= SMBIOS_FILE_MAX || error_set(errp, "'%s' has more than 1 MiB", path);
}

static bool add_oem_string(SmbiosConfigData *c, const char *text, size_t n, Error **errp)
{
    if (n == 0 || memchr(text, 0, n) != NULL) {
        return error_set(errp, "an OEM string %s", n == 0 ? "must not be empty" : "must not have NUL bytes");
    }
    if (c->oem->len == OEM_STRINGS_MAX) {
        return error_set(errp, "more than %d OEM strings", OEM_STRINGS_MAX);
    }
    g_ptr_array_add(c->oem, g_strndup(text, n));
    return true;
}

static bool read_oem(SmbiosConfigData *c, const SmbiosType11 *t, Error **errp)
{
    if (c->oem == NULL) {
        c->oem = g_ptr_array_new();
    }
    for (size_t i = 0; t->has_value && i < t->value.n; i++) {
        if (!add_oem_string(c, t->value.at[i], strlen(t->value.at[i]), errp)) {
            return false;
        }
    }
    for (size_t i = 0; t->has_path && i < t->path.n; i++) {
        g_autofree char *data = NULL;
        size_t n = 0;
        if (!read_file(t->path.at[i], &data, &n, errp) || !add_oem_string(c, data, n, errp)) {
            return false;
        }
    }
    return true;
}

static bool read_blob(SmbiosConfigData *c, const SmbiosFile *t, Error **errp)
{
    g_autofree char *data = NULL;
    size_t n = 0;

    return read_file(t->file, &data, &n, errp) &&
           smbios_add_blob(c, (const uint8_t *)data, n, t->file, errp);
}

static bool read_one(SmbiosConfigData *c, const SmbiosConfig *s, Error **errp)
{
    switch (s->type) {
    case SMBIOS_CONFIG_TYPE_FILE:
        return read_blob(c, &s->u.file, errp);
    case SMBIOS_CONFIG_TYPE_0:
        return read_bios(&c->bios, &s->u.n0, errp);
    case SMBIOS_CONFIG_TYPE_1:
        return read_system(&c->system, &s->u.n1, errp);
    case SMBIOS_CONFIG_TYPE_2:
        read_baseboard(&c->baseboard, &s->u.n2);
        return true;
    case SMBIOS_CONFIG_TYPE_3:
        read_chassis(&c->chassis, &s->u.n3);
        return true;
    case SMBIOS_CONFIG_TYPE_4:
        read_processor(&c->processor, &s->u.n4);
        return true;
    case SMBIOS_CONFIG_TYPE_11:
        return read_oem(c, &s->u.n11, errp);
    default:
        read_memory_device(&c->memory, &s->u.n17);
        return true;
    }
}

bool config_read_smbios(Config *c, const CmdLine *cmd, bool entry64, Error **errp)
{
    c->board.smbios = g_new0(SmbiosConfigData, 1);
    c->board.smbios->entry64 = entry64;
    for (unsigned i = 0; i < cmdline_count(cmd, OPT_SMBIOS); i++) {
        const char *text = cmdline_nth(cmd, OPT_SMBIOS, i);
        g_autoptr(SmbiosConfig) s = NULL;

        if (!qapi_opt_smbios(text, &s, errp) || (s != NULL && !read_one(c->board.smbios, s, errp))) {
            return error_context(errp, "-smbios %s", text);
        }
    }
    return true;
}
