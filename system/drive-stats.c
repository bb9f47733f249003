/* drive-stats.c: the intervals over which a disk's statistics are told apart, see drive-stats.h. */
#include "system/drive-stats.h"

#include <stdint.h>
#include <string.h>

#define PREFIX "stats-intervals."

static unsigned count_intervals(json_t *words)
{
    const char *key;
    json_t *v;
    unsigned n = 0;

    json_object_foreach(words, key, v) {
        n += g_str_has_prefix(key, PREFIX);
    }
    return n;
}

/* What is left of them is out of line. */
static bool refuse_other(json_t *words, Error **errp)
{
    const char *key;
    json_t *v;

    json_object_foreach(words, key, v) {
        if (g_str_has_prefix(key, PREFIX)) {
            const char *n = key + strlen(PREFIX);

            return n[strspn(n, "0123456789")] == '.'
                   ? error_set(errp, "The specification of stats-intervals is invalid")
                   : error_set(errp, "Invalid option %s", key);
        }
    }
    return true;
}

bool drive_take_intervals(json_t *words, GArray *out, Error **errp)
{
    unsigned count = count_intervals(words);

    for (unsigned i = 0; i < count; i++) {
        g_autofree char *key = g_strdup_printf(PREFIX "%u", i);
        const char *text = json_string_value(json_object_get(words, key));
        uint64_t seconds = 0;

        if (text == NULL) {
            break;
        }
        if (!g_ascii_string_to_unsigned(text, 10, 1, UINT32_MAX, &seconds, NULL)) {
            return error_set(errp, "Invalid interval length: %s", text);
        }
        g_array_append_vals(out, &(uint32_t){ seconds }, 1);
        json_object_del(words, key);
    }
    return refuse_other(words, errp);
}
