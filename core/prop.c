/* prop.c: property tables: text in, text out.
 *
 * 1. prop_set() leaves the object unchanged when it fails.
 * 2. A link is a borrowed pointer: the back end outlives the device or is told by it. */
#include "core/prop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "util/thread.h"

const char *const prop_onoffauto[] = { "auto", "on", "off", NULL };

#define LINK_CLASSES_MAX 32
static const LinkClass *link_classes[LINK_CLASSES_MAX];

void link_class_register(const LinkClass *c)
{
    assert_control();
    for (unsigned i = 0; i < LINK_CLASSES_MAX; i++) {
        if (!link_classes[i] || strcmp(link_classes[i]->name, c->name) == 0) {
            link_classes[i] = c;
            return;
        }
    }
    g_error("too many link classes");
}

static const LinkClass *find_class(const char *name)
{
    for (unsigned i = 0; i < LINK_CLASSES_MAX && link_classes[i]; i++) {
        if (strcmp(link_classes[i]->name, name) == 0) {
            return link_classes[i];
        }
    }
    return NULL;
}

static void store(void *at, PropKind kind, uint64_t v)
{
    switch (kind) {
    case PROP_KIND_BOOL:
        *(bool *)at = v != 0;
        break;
    case PROP_KIND_U8:
        *(uint8_t *)at = v;
        break;
    case PROP_KIND_U16:
        *(uint16_t *)at = v;
        break;
    case PROP_KIND_U32:
    case PROP_KIND_I32:
    case PROP_KIND_ENUM:
        *(uint32_t *)at = v;
        break;
    case PROP_KIND_U64:
    case PROP_KIND_SIZE:
        *(uint64_t *)at = v;
        break;
    case PROP_KIND_STR:
    case PROP_KIND_LINK:
    case PROP_KIND_MAC:
        break;
    }
}

void prop_defaults(void *obj, const PropDesc *props)
{
    for (const PropDesc *p = props; p && p->name; p++) {
        void *at = (char *)obj + p->at;

        if (p->kind == PROP_KIND_STR) {
            *(char **)at = g_strdup(p->def_str);
        } else {
            store(at, p->kind, p->def);
        }
    }
}

void prop_clear(void *obj, const PropDesc *props)
{
    for (const PropDesc *p = props; p && p->name; p++) {
        if (p->kind == PROP_KIND_STR) {
            g_clear_pointer((char **)((char *)obj + p->at), g_free);
        }
    }
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0) {
            return true;
        }
    }
    return false;
}

static bool set_bool(void *at, const PropDesc *p, const char *text, Error **errp)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    static const char *const no[] = { "off", "no", "false", "n", NULL };

    if (is_one_of(text, yes)) {
        *(bool *)at = true;
    } else if (is_one_of(text, no)) {
        *(bool *)at = false;
    } else {
        return error_set(errp, "property '%s' is 'on' or 'off', not '%s'", p->name, text);
    }
    return true;
}

/* What @c multiplies by, as a shift; -1: no such suffix. */
static int suffix_shift(char c)
{
    static const char letters[] = "bkmgtpe";
    const char *found = c ? strchr(letters, g_ascii_tolower(c)) : NULL;

    return found ? 10 * (int)(found - letters) : -1;
}

static bool parse_number(const char *text, bool sized, uint64_t *val, bool *negative)
{
    bool hex = g_ascii_strncasecmp(text + (*text == '-'), "0x", 2) == 0;
    char *end;

    *negative = *text == '-';
    text += *negative;
    if (!g_ascii_isxdigit(*text)) {
        return false;
    }
    errno = 0;
    *val = strtoull(text, &end, hex ? 16 : 10);
    if (errno || end == text) {
        return false;
    }
    if (*end && sized) {
        int shift = suffix_shift(*end);

        if (shift < 0 || end[1] || (shift && *val > UINT64_MAX >> shift)) {
            return false;
        }
        *val <<= shift;
        return true;
    }
    return !*end;
}

static bool out_of_range(const PropDesc *p, const char *text, Error **errp)
{
    if (p->kind == PROP_KIND_I32) {
        return error_set(errp, "property '%s' must be %" PRId64 " to %" PRId64 ", not '%s'",
                         p->name,
                         (int64_t)p->min, (int64_t)p->max, text);
    }
    return error_set(errp, "property '%s' must be %" PRIu64 " to %" PRIu64 ", not '%s'", p->name,
                     p->min, p->max, text);
}

static bool set_number(void *at, const PropDesc *p, const char *text, Error **errp)
{
    bool negative;
    uint64_t v;

    if (!parse_number(text, p->kind == PROP_KIND_SIZE, &v, &negative)) {
        return out_of_range(p, text, errp);
    }
    if (p->kind == PROP_KIND_I32) {
        int64_t n = negative ? -(int64_t)v : (int64_t)v;

        if (v > INT64_MAX || n < (int64_t)p->min || n > (int64_t)p->max) {
            return out_of_range(p, text, errp);
        }
        v = (uint64_t)n;
    } else if ((negative && v) || v < p->min || v > p->max) {
        return out_of_range(p, text, errp);
    }
    store(at, p->kind, v);
    return true;
}

static bool set_enum(void *at, const PropDesc *p, const char *text, Error **errp)
{
    for (int i = 0; p->names[i]; i++) {
        if (strcmp(p->names[i], text) == 0) {
            *(int32_t *)at = i;
            return true;
        }
    }
    g_autofree char *all = g_strjoinv(", ", (char **)p->names);
    error_set(errp, "property '%s' is one of %s, not '%s'", p->name, all, text);
    return error_suggest(errp, text, p->names);
}

static bool set_link(void *at, const PropDesc *p, const char *text, Error **errp)
{
    const LinkClass *c = find_class(p->link_class);
    void *target;

    if (!c) {
        return error_set(errp, "property '%s': this program has no %s", p->name, p->link_class);
    }
    target = c->find(text, errp);
    if (!target) {
        return error_context(errp, "property '%s'", p->name);
    }
    *(void **)at = target;
    return true;
}

static bool set_mac(uint8_t *at, const PropDesc *p, const char *text, Error **errp)
{
    uint8_t mac[6];
    bool ok = strlen(text) == 17;

    for (unsigned i = 0; ok && i < 6; i++) {
        int hi = g_ascii_xdigit_value(text[3 * i]), lo = g_ascii_xdigit_value(text[3 * i + 1]);
        char sep = text[3 * i + 2];

        ok = hi >= 0 && lo >= 0 && (i == 5 ? sep == 0 : sep == ':' || sep == '-');
        mac[i] = hi << 4 | lo;
    }
    if (!ok) {
        return error_set(errp, "property '%s' is an Ethernet address such as 52:54:00:12:34:56, "
                         "not '%s'", p->name, text);
    }
    memcpy(at, mac, sizeof(mac));
    return true;
}

bool prop_set(void *obj, const PropDesc *p, const char *text, Error **errp)
{
    void *at = (char *)obj + p->at;

    assert_control();
    switch (p->kind) {
    case PROP_KIND_BOOL:
        return set_bool(at, p, text, errp);
    case PROP_KIND_STR:
        g_free(*(char **)at);
        *(char **)at = g_strdup(text);
        return true;
    case PROP_KIND_ENUM:
        return set_enum(at, p, text, errp);
    case PROP_KIND_LINK:
        return set_link(at, p, text, errp);
    case PROP_KIND_MAC:
        return set_mac(at, p, text, errp);
    default:
        return set_number(at, p, text, errp);
    }
}

static char *get_link(const PropDesc *p, void *target)
{
    const LinkClass *c = find_class(p->link_class);
    const char *id = target && c && c->id_of ? c->id_of(target) : NULL;

    return g_strdup(id ? id : "");
}

char *prop_get(const void *obj, const PropDesc *p)
{
    const void *at = (const char *)obj + p->at;
    const uint8_t *mac = at;

    switch (p->kind) {
    case PROP_KIND_BOOL:
        return g_strdup(*(const bool *)at ? "on" : "off");
    case PROP_KIND_U8:
        return g_strdup_printf("%u", *(const uint8_t *)at);
    case PROP_KIND_U16:
        return g_strdup_printf("%u", *(const uint16_t *)at);
    case PROP_KIND_U32:
        return g_strdup_printf("%u", *(const uint32_t *)at);
    case PROP_KIND_I32:
        return g_strdup_printf("%d", *(const int32_t *)at);
    case PROP_KIND_U64:
    case PROP_KIND_SIZE:
        return g_strdup_printf("%" PRIu64, *(const uint64_t *)at);
    case PROP_KIND_STR:
        return g_strdup(*(char *const *)at ? *(char *const *)at : "");
    case PROP_KIND_ENUM:
        return g_strdup(p->names[*(const int32_t *)at]);
    case PROP_KIND_LINK:
        return get_link(p, *(void *const *)at);
    case PROP_KIND_MAC:
        return g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                               mac[4],
                               mac[5]);
    }
    return NULL;
}

const PropDesc *prop_find(const PropDesc *props, const char *name)
{
    for (const PropDesc *p = props; p && p->name; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }
    return NULL;
}

const char *prop_kind_name(const PropDesc *p)
{
    static const char *const names[] = {
        [PROP_KIND_BOOL] = "bool", [PROP_KIND_U8] = "uint8", [PROP_KIND_U16] = "uint16",
        [PROP_KIND_U32] = "uint32", [PROP_KIND_I32] = "int32", [PROP_KIND_U64] = "uint64",
        [PROP_KIND_SIZE] = "size", [PROP_KIND_STR] = "str", [PROP_KIND_ENUM] = "enum",
        [PROP_KIND_LINK] = "str", [PROP_KIND_MAC] = "str",
    };

    if (p->type_name != NULL) {
        return p->type_name;
    }
    return p->kind == PROP_KIND_ENUM && p->names == prop_onoffauto ? "OnOffAuto" : names[p->kind];
}
