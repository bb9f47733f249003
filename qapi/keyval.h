/* keyval.h: QEMU's "key=value,key.sub=value,flag" text as a tree of strings.
 *
 * "a,,b" is the value "a,b".  "x.y=1" nests; "x.0=a,x.1=b" and a repeated "x=a,x=b" are lists.  A
 * repeated key of a scalar: the last one wins.  A first part without '=' is the implied key's. */
#ifndef QAPI_KEYVAL_H
#define QAPI_KEYVAL_H

#include "qapi/json.h"

/* @flags are QAPI_FORM_FLAGS, _STRICT, _PLUS, _JSON of tables.h.  @implied may be NULL.  *@help
 * (may be NULL) becomes true when a part is "help" or "?", or the implied value is.  Returns a new
 * object of strings, arrays and objects (or, for JSON text, what it says), or NULL with *errp set.
 * *@was_json (may be NULL) tells which form it was. */
json_t *keyval_parse(const char *text, const char *implied, unsigned flags, bool *help,
                     bool *was_json, Error **errp);

/* @flat, of an option whose dots do not nest, as the tree its keys mean; NULL and @errp. */
json_t *keyval_nest(json_t *flat, Error **errp);

/* A size: decimal, hexadecimal or a decimal fraction, with suffix b k m g t p e (any case); @unit
 * is the multiplier without a suffix.  The text must end there. */
bool keyval_size(const char *text, uint64_t unit, uint64_t *out);
/* "on", "yes", "true", "y"; "off", "no", "false", "n". */
bool keyval_bool(const char *text, bool *out);

#endif
