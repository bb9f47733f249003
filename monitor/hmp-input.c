/* hmp-input.c: commands that stand in for a person at the guest's keyboard and mouse. */
#include <stdlib.h>
#include <string.h>
#include "monitor/hmp-int.h"

/* A key as sendkey names it: "a", "0x1e", "<"; NULL: it is none. */
static json_t *key_of(const char *word)
{
    char *end;
    unsigned long long number = strtoull(word, &end, 0);

    if (g_str_has_prefix(word, "0x") && word[2] != '\0' && *end == '\0' && number <= INT32_MAX) {
        return json_pack("{s:s, s:I}", "type", "number", "data", (json_int_t)number);
    }
    word = strcmp(word, "<") == 0 ? "less" : word;
    for (QKeyCode k = 0; k < Q_KEY_CODE_COUNT; k++) {
        if (strcmp(word, q_key_code_name(k)) == 0) {
            return json_pack("{s:s, s:s}", "type", "qcode", "data", word);
        }
    }
    return NULL;
}

/* "ctrl-alt-f1" */
HMP_RUN(hmp_sendkey)
{
    g_auto(GStrv) words = g_strsplit(hmp_str(a, "keys"), "-", -1);
    g_autoptr(json_t) keys = json_array();
    int64_t hold;

    for (unsigned i = 0; words[i] != NULL || i == 0; i++) {
        json_t *key = key_of(words[i] != NULL ? words[i] : "");

        if (key == NULL) {
            hmp_printf(h, "invalid parameter: %s\n", words[i] != NULL ? words[i] : "");
            return;
        }
        json_array_append_new(keys, key);
    }
    json_t *args = json_pack("{s:O}", "keys", keys);
    if (hmp_num(a, "hold-time", &hold)) {
        json_object_set_new(args, "hold-time", json_integer(hold));
    }
    hmp_do(h, "send-key", args);
}

/* --- the mouse --- */

static void put_button(json_t *events, const char *button, bool down)
{
    json_array_append_new(events, json_pack("{s:s, s:{s:s, s:b}}", "type", "btn", "data", "button", button,
                                            "down", down));
}

static void put_way(json_t *events, const char *axis, int way)
{
    json_array_append_new(events, json_pack("{s:s, s:{s:s, s:I}}", "type", "rel", "data", "axis", axis,
                                            "value", (json_int_t)way));
}

/* Words, not expressions: "-3 -4" would be one. */
static bool way_of(Hmp *h, const HmpArgs *a, const char *name, int *way)
{
    const char *text = hmp_str(a, name);
    char *end;
    int64_t n = text != NULL ? g_ascii_strtoll(text, &end, 0) : 0;

    if (text != NULL && (end == text || *end != '\0' || n < -INT32_MAX || n > INT32_MAX)) {
        hmp_printf(h, "Error: '%s' is not a number\n", text);
        return false;
    }
    *way = (int)n;
    return true;
}

HMP_RUN(hmp_mouse_move)
{
    int dx, dy, dz;

    if (!way_of(h, a, "dx", &dx) || !way_of(h, a, "dy", &dy) || !way_of(h, a, "dz", &dz)) {
        return;
    }
    json_t *events = json_array();

    put_way(events, "x", dx);
    put_way(events, "y", dy);
    if (dz != 0) {
        put_button(events, dz > 0 ? "wheel-up" : "wheel-down", true);
        put_button(events, dz > 0 ? "wheel-up" : "wheel-down", false);
    }
    hmp_do(h, "input-send-event", json_pack("{s:o}", "events", events));
}

HMP_RUN(hmp_mouse_button)
{
    static const char *const buttons[] = { "left", "right", "middle" };
    json_t *events = json_array();

    for (unsigned i = 0; i < G_N_ELEMENTS(buttons); i++) {
        put_button(events, buttons[i], hmp_int(a, "state", 0) >> i & 1);
    }
    hmp_do(h, "input-send-event", json_pack("{s:o}", "events", events));
}
