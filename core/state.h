/* state.h: the guest-visible state of devices as tables of fields.
 *
 * Wire: section (device path, type, version, length), then for each field name, kind, count, value.
 * An unknown field fails unless it was saved as skippable; a missing one fails unless ST_MAY_LACK.
 * There is no post-load hook: check() may look only at its own object; settle runs after all sections. */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include "core/clock.h"
#include "core/device.h"

typedef struct StateField StateField;

struct StateDesc {
    const char *name;
    unsigned version;                        /* raised only when meaning changes */
    const StateField *fields;                /* ends with .name NULL */
    const StateDesc *const *parts;           /* optional groups, NULL-terminated */
    bool (*present)(void *obj);              /* of a part: save it? absent on load: default kept */
    void (*before_save)(void *obj);          /* gather, e.g. read back from KVM */
    bool (*check)(void *obj, Error **errp);  /* hostile stream: every index and size */
};

typedef enum StateKind {
    ST_BOOL, ST_U8, ST_U16, ST_U32, ST_U64, ST_I32, ST_I64,
    ST_BYTES,                  /* uint8_t[count] */
    ST_TIMER,                  /* DevTimer: its deadline or "not armed" */
    ST_STRUCT,                 /* count structs, stride apart, described by sub */
    ST_BLOB,                   /* GByteArray *, at most @count bytes */
} StateKind;

enum { ST_MAY_LACK = 1, ST_MAY_SKIP = 2 };

struct StateField {
    const char *name;
    StateKind kind;
    unsigned flags;
    size_t at, count, stride;
    const StateDesc *sub;
};

#define STATE_FIELD_(T, f, k, ctype) \
    { .name = #f, .kind = k, .at = field_at(T, f, ctype), .count = 1, .stride = sizeof(ctype) }
#define STATE_BOOL(T, f) STATE_FIELD_(T, f, ST_BOOL, bool)
#define STATE_U8(T, f) STATE_FIELD_(T, f, ST_U8, uint8_t)
#define STATE_U16(T, f) STATE_FIELD_(T, f, ST_U16, uint16_t)
#define STATE_U32(T, f) STATE_FIELD_(T, f, ST_U32, uint32_t)
#define STATE_U64(T, f) STATE_FIELD_(T, f, ST_U64, uint64_t)
#define STATE_I32(T, f) STATE_FIELD_(T, f, ST_I32, int32_t)
#define STATE_I64(T, f) STATE_FIELD_(T, f, ST_I64, int64_t)
#define STATE_TIMER(T, f) STATE_FIELD_(T, f, ST_TIMER, DevTimer)
#define STATE_ARRAY_(T, f, k, ctype) \
    { .name = #f, .kind = k, .at = offsetof(T, f) + 0 * sizeof(char[_Generic(((T *)0)->f[0], \
      ctype: 1, default: -1)]), .count = sizeof(((T *)0)->f) / sizeof(ctype), .stride = sizeof(ctype) }
#define STATE_BYTES(T, f) STATE_ARRAY_(T, f, ST_BYTES, uint8_t)
#define STATE_BOOL_ARRAY(T, f) STATE_ARRAY_(T, f, ST_BOOL, bool)
#define STATE_U16_ARRAY(T, f) STATE_ARRAY_(T, f, ST_U16, uint16_t)
#define STATE_U32_ARRAY(T, f) STATE_ARRAY_(T, f, ST_U32, uint32_t)
#define STATE_U64_ARRAY(T, f) STATE_ARRAY_(T, f, ST_U64, uint64_t)
#define STATE_STRUCT(T, f, desc) \
    { .name = #f, .kind = ST_STRUCT, .at = offsetof(T, f), .count = 1, .sub = desc }
#define STATE_STRUCTS(T, f, desc) \
    { .name = #f, .kind = ST_STRUCT, .at = offsetof(T, f), \
      .count = sizeof(((T *)0)->f) / sizeof(((T *)0)->f[0]), .stride = sizeof(((T *)0)->f[0]), .sub = desc }
#define STATE_BLOB(T, f, most) \
    { .name = #f, .kind = ST_BLOB, .at = field_at(T, f, GByteArray *), .count = most }

/* Appends the section of @d (slot's base part, then the type's own) to @out.  The device is quiesced. */
CTX_CONTROL void state_save_device(Device *d, GByteArray *out);
/* Appends all sections of the tree below and including @root. */
CTX_CONTROL void state_save_tree(Device *root, GByteArray *out);
/* Loads sections into the existing, equally configured tree.  Hostile input: on failure *errp names
 * section and field, and the machine must not run on.  The caller settles the tree afterwards. */
CTX_CONTROL bool state_load_tree(Device *root, const uint8_t *buf, size_t n, Error **errp);
/* The stream as text, a line a field; owned by the caller.  NULL: malformed. */
CTX_CONTROL char *state_print(const uint8_t *buf, size_t n, Error **errp);

#endif
