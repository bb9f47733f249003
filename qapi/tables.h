/* tables.h: the schema as read-only tables, made by gen.py; private to qapi/ and its tests.
 *
 * Everything refers to types by index (0: none) and to text by offset in qapi_text (0: none). */
#ifndef QAPI_TABLES_H
#define QAPI_TABLES_H

#include <stdint.h>

enum {
    QAPI_BOOL, QAPI_INT, QAPI_UINT, QAPI_SIZE, QAPI_NUMBER, QAPI_STR, QAPI_ANY, QAPI_NULL,
    QAPI_ENUM, QAPI_STRUCT, QAPI_UNION, QAPI_ALTERNATE, QAPI_LIST,
};

/* QapiType.flags */
#define QAPI_OPEN 1                /* members not listed go into the json_t * at u_at */
/* QapiMember.flags */
#define QAPI_OPTIONAL 1
#define QAPI_DEFAULT 2             /* dflt is the value to take when absent */
#define QAPI_UNIT_M 4              /* keyval: a number without suffix counts MiB */
#define QAPI_NOT 0xffff            /* has_at: there is no has_ flag */
/* QapiOption.flags */
#define QAPI_FORM_FLAGS 1          /* "word" is word=on, "noword" is word=off */
#define QAPI_FORM_STRICT 2         /* every part but the first needs '=' */
#define QAPI_FORM_JSON 4           /* may be JSON */
#define QAPI_FORM_PLUS 8           /* "+word" and "-word" switch on and off */

typedef struct QapiType {
    uint32_t name, doc;
    uint8_t kind, flags;
    uint16_t size;                 /* of the C value or struct */
    uint16_t first, count;         /* members, or values of an enum */
    uint16_t elem;                 /* list: of what; union: the tag's type */
    uint16_t tag;                  /* union: which member */
    uint16_t u_at;                 /* union, alternate: where u is; open struct: the rest */
    uint16_t cases;                /* union: first of qapi_cases, one for each tag value */
} QapiType;

typedef struct QapiMember {
    uint32_t name, doc, dflt;
    uint16_t type, at, has_at;
    uint8_t flags, limit;
} QapiMember;

typedef struct QapiValue { uint32_t name, doc; } QapiValue;
typedef struct QapiLimit { int64_t lo; uint64_t hi; } QapiLimit;

typedef struct QapiOption {
    uint32_t name, doc, implied, group;
    uint16_t arg;
    uint16_t flags;
} QapiOption;

extern const QapiType qapi_types[];
extern const QapiMember qapi_members[];
extern const QapiValue qapi_values[];
extern const uint16_t qapi_cases[];
extern const QapiLimit qapi_limits[];
extern const QapiOption qapi_options[];
extern const unsigned qapi_types_count, qapi_options_count;
extern const char qapi_text[];

#endif
