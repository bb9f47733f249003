/* prop.h: device properties as data.
 *
 * A type's table of PropDesc is everything there is to know about its properties: the command line,
 * device_add, "-device X,help", the documentation and the conformance suite all read it. */
#ifndef CORE_PROP_H
#define CORE_PROP_H

#include "core/types.h"

typedef enum PropKind {
    PROP_KIND_BOOL,            /* bool; text on|off|yes|no|true|false */
    PROP_KIND_U8,
    PROP_KIND_U16,
    PROP_KIND_U32,
    PROP_KIND_I32,
    PROP_KIND_U64,             /* decimal or 0x hexadecimal */
    PROP_KIND_SIZE,            /* uint64_t; suffixes k M G T P */
    PROP_KIND_STR,             /* char *, owned by the device; NULL when unset */
    PROP_KIND_ENUM,            /* int32_t; one of @names, the value is its index */
    PROP_KIND_LINK,            /* void *: a back end found by class and id */
    PROP_KIND_MAC,             /* uint8_t[6]; all zero when unset */
} PropKind;

enum {
    PROP_REQUIRED = 1,
    PROP_RUNTIME = 2,          /* may be changed after realize */
    PROP_COMPAT = 4,           /* set by machine tables and tests, not shown in help */
    PROP_JSON = 8,             /* PROP_KIND_STR: a list, as the text of its JSON */
};

struct PropDesc {
    const char *name, *help;
    PropKind kind;
    unsigned flags;
    size_t at;
    uint64_t def, min, max;
    const char *def_str;               /* PROP_KIND_STR; NULL: unset */
    const char *const *names;          /* PROP_KIND_ENUM; NULL-terminated */
    const char *link_class;            /* PROP_KIND_LINK: "chardev", "blockdev", "netdev", ... */
    const char *type_name;             /* PROP_JSON: the type as the help shows it */
};

#define PROP_BOOL(T, f, key, dflt, text) \
    { .name = key, .help = text, .kind = PROP_KIND_BOOL, .at = field_at(T, f, bool), .def = dflt, .max = 1 }
#define PROP_INT_(T, f, ctype, kindname, key, dflt, lo, hi, text) \
    { .name = key, .help = text, .kind = PROP_KIND_##kindname, .at = field_at(T, f, ctype), \
      .def = (uint64_t)(dflt), .min = (uint64_t)(lo), .max = (uint64_t)(hi) }
#define PROP_U8(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, uint8_t, U8, key, dflt, lo, hi, text)
#define PROP_U16(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, uint16_t, U16, key, dflt, lo, hi, text)
#define PROP_U32(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, uint32_t, U32, key, dflt, lo, hi, text)
#define PROP_I32(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, int32_t, I32, key, dflt, lo, hi, text)
#define PROP_U64(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, uint64_t, U64, key, dflt, lo, hi, text)
#define PROP_SIZE(T, f, key, dflt, lo, hi, text) PROP_INT_(T, f, uint64_t, SIZE, key, dflt, lo, hi, text)
#define PROP_STR(T, f, key, text) \
    { .name = key, .help = text, .kind = PROP_KIND_STR, .at = field_at(T, f, char *) }
#define PROP_ENUM(T, f, key, table, dflt, text) \
    { .name = key, .help = text, .kind = PROP_KIND_ENUM, .at = field_at(T, f, int32_t), .def = dflt, \
      .names = table }
#define PROP_LINK(T, f, key, cls, text) \
    { .name = key, .help = text, .kind = PROP_KIND_LINK, .at = field_at(T, f, void *), .link_class = cls }
#define PROP_MAC(T, f, key, text) \
    { .name = key, .help = text, .kind = PROP_KIND_MAC, .at = offsetof(T, f) }

/* For PROP_ENUM: off, on, auto as QEMU's OnOffAuto spells them. */
enum { ONOFF_AUTO, ONOFF_ON, ONOFF_OFF };
extern const char *const prop_onoffauto[];

/* Writes every default of @props (which may be NULL) into @obj. */
CTX_CONTROL void prop_defaults(void *obj, const PropDesc *props);
/* Frees what the properties of @obj own. */
CTX_CONTROL void prop_clear(void *obj, const PropDesc *props);
/* Parses @text into @obj; names the property, the value and the legal range on error. */
CTX_CONTROL bool prop_set(void *obj, const PropDesc *p, const char *text, Error **errp);
/* The value as text that prop_set() accepts; owned by the caller. */
CTX_CONTROL char *prop_get(const void *obj, const PropDesc *p);
CTX_ANY const PropDesc *prop_find(const PropDesc *props, const char *name);
/* The type as the help shows it: "bool", "uint32", "size", "str", ... */
CTX_ANY const char *prop_kind_name(const PropDesc *p);

/* A class of link targets, such as "chardev": find(id) returns the back end or sets *errp. */
typedef struct LinkClass {
    const char *name;
    void *(*find)(const char *id, Error **errp);
    const char *(*id_of)(void *target);
} LinkClass;
CTX_CONTROL void link_class_register(const LinkClass *c);

#endif
