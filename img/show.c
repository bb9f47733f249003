/* show.c: internal snapshots as -l of rhea-img convert and of rhea-nbd names them. */
#include "img/img.h"

/* Splits "snapshot.id=ID,snapshot.name=NAME", one of which may be missing; owned by the caller. */
static bool param_read(const char *text, char **id, char **name, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);

    for (unsigned i = 0; parts[i]; i++) {
        const char *value = strchr(parts[i], '=');
        size_t n = value ? (size_t)(value - parts[i]) : strlen(parts[i]);
        g_autofree char *key = g_strndup(parts[i], n);
        char **to = !strcmp(key, "snapshot.id") ? id : !strcmp(key, "snapshot.name") ? name : NULL;

        if (!to || !value) {
            error_set(errp, "Invalid parameter '%s'", key);
            return error_hint(errp, "Failed in parsing snapshot param '%s'", text);
        }
        g_free(*to);
        *to = g_strdup(value + 1);
    }
    return true;
}

bool image_show(BlkNode *n, const char *param, Error **errp)
{
    g_autofree char *id = NULL, *name = NULL;
    bool named = g_str_has_prefix(param, "snapshot.");
    Error *err = NULL;

    if (named && !param_read(param, &id, &name, errp)) {
        return false;
    }
    g_autoptr(GArray) list = blk_snapshots(n, NULL);
    int at = -1;

    if (list && named) {
        at = blk_snapshot_find(list, id, name);
    } else if (list) {
        at = blk_snapshot_find(list, param, NULL);
        at = at < 0 ? blk_snapshot_find(list, NULL, param) : at;
    }
    if (!list) {
        error_set(&err, "Block format '%s' used by device '' does not support temporarily loading internal "
                  "snapshots", blk_driver_name(n));
    } else if (at < 0) {
        error_set(&err, "Can't find snapshot");
    }
    if (err || !blk_snapshot_show(n, (unsigned)at, &err)) {
        error_move(errp, err);
        return error_context(errp, "Failed to load snapshot");
    }
    return true;
}
