/* visit.h: C values of the schema's types from and to JSON, by table.
 *
 * types.h (generated) wraps these in typed functions: use those.  A value's slot is: a scalar or
 * enum itself; a pointer to an owned struct, union, alternate, string or json_t (any); a list by
 * value.
 *
 * 1. Reading either fills the slot completely, or leaves it zeroed and sets the error, which names
 *    the offending member with its path ("backend.data.addr", "capabilities[0].state").
 * 2. Reading never changes the tree; what it keeps of type any is referenced, not copied. */
#ifndef QAPI_VISIT_H
#define QAPI_VISIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "qapi/json.h"
#include "util/context.h"
#include "util/error.h"

typedef enum QapiMode {
    QAPI_JSON,                 /* values have their JSON types */
    QAPI_KEYVAL,               /* values are strings from the command line: on, 512M, 0x10 */
} QapiMode;

/* Reads @in as a value of @type into the slot @out. */
CTX_ANY bool qapi_read(unsigned type, json_t *in, QapiMode mode, void *out, Error **errp);
/* Appends the value in the slot @in as JSON. */
CTX_ANY void qapi_write(unsigned type, const void *in, GString *out);
/* Frees what the slot @slot holds and zeroes it. */
CTX_ANY void qapi_clear(unsigned type, void *slot);
/* Frees a struct, union or alternate; @p may be NULL. */
CTX_ANY void qapi_free(unsigned type, void *p);
/* A zeroed struct, union or alternate with its defaults set. */
CTX_ANY void *qapi_new(unsigned type);

/* The schema's word for value @v of the enum @type; "?" when out of range. */
CTX_ANY const char *qapi_enum_name(unsigned type, unsigned v);
/* The value for the word @name; on failure "Parameter '@what' does not accept value '@name'". */
CTX_ANY bool qapi_enum_value(unsigned type, const char *name, const char *what, int *out,
                             Error **errp);

/* Calls fn for each member of the struct or union @type and, where @tag is a value of the union's tag
 * (else -1), for those of that case.  @kind: the type's name, "int" for every integer, "string" for str. */
CTX_ANY void qapi_each_member(unsigned type, int tag,
                              void (*fn)(const char *name, const char *kind, void *arg), void *arg);

/* Appends an element to a list of scalars or pointers: qapi_append(&list, value). */
#define qapi_append(list, v) \
    do { \
        (list)->at = g_renew(__typeof__(*(list)->at), (list)->at, (list)->n + 1); \
        (list)->at[(list)->n++] = (v); \
    } while (0)

/* --- command-line objects (qapi/option.c) --- */

/* Reads the text of command-line option @opt (QAPI_OPT_...) into *@out.  When a part of the text
 * asks for help ("help", "?") the result is true with *@out NULL: print qapi_option_help() or a
 * better list (-device help), and exit with status 0.  On failure *@out is NULL too. */
CTX_ANY bool qapi_option_read(unsigned opt, const char *text, void *out, Error **errp);
/* The option's number, or -1. */
CTX_ANY int qapi_option_find(const char *name);
/* Appends the help text: one line a member. */
CTX_ANY void qapi_option_help(unsigned opt, GString *out);
/* Whether qapi_option_read() would take @text for a question. */
CTX_ANY bool qapi_option_asks_help(unsigned opt, const char *text);
/* Appends what the option has but for the implied member, which said @name: -machine TYPE,help. */
CTX_ANY void qapi_option_help_members(unsigned opt, const char *name, GString *out);
/* What the case @name of a union has of its own, as -device TYPE,help is written.  False: no such case. */
CTX_ANY bool qapi_option_help_case(unsigned opt, const char *name, GString *out);
/* Calls fn(name, one-line doc, arg) for each option of the schema. */
CTX_ANY void qapi_option_each(void (*fn)(const char *name, const char *doc, void *arg), void *arg);

#endif
