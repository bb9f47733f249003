/* json.h: JSON as QMP speaks it, around jansson.
 *
 * What jansson lacks and this adds: taking values one by one out of a byte stream, single-quoted
 * strings, a cap on nesting, size and number of values, integers up to 2^64 - 1, and a writer that
 * appends to a string without building a tree.
 *
 * 1. An integer above INT64_MAX is a string in the tree that begins with a NUL, which no parsed
 *    text can contain (\u0000 is refused).  json_big() tells; use qapi's visitors and neither
 *    form matters.
 * 2. Memory is bounded by the caps below, whatever comes in. */
#ifndef QAPI_JSON_H
#define QAPI_JSON_H

#include <inttypes.h>
#include <jansson.h>
#include "util/error.h"

#define JSON_MAX_DEPTH 1024
#define JSON_MAX_BYTES (8u << 20)          /* of one message */
#define JSON_MAX_VALUES (256u << 10)       /* commas, colons and brackets in one message */

typedef struct JsonReader JsonReader;

/* Calls value(arg, v, NULL) for each object or array that is complete, value(arg, NULL, e) for each
 * piece of garbage; both are owned by the callee.  The callback returns false to stop: the rest of
 * the bytes is not consumed. */
typedef bool JsonSink(void *arg, json_t *take_value, Error *take_err);

JsonReader *json_reader_new(void);
void json_reader_free(JsonReader *r);
/* Forgets a half-read message. */
void json_reader_reset(JsonReader *r);
/* Returns how many of the @n bytes were consumed: all, unless the sink said stop. */
size_t json_reader_feed(JsonReader *r, const char *buf, size_t n, JsonSink *sink, void *arg);

/* Exactly one object or array (both quote styles) in a C string; NULL with *errp set on failure. */
json_t *json_parse(const char *text, Error **errp);

/* True if @v is an integer above INT64_MAX; *@out (may be NULL) gets it. */
bool json_big(const json_t *v, uint64_t *out);
json_t *json_from_u64(uint64_t v);

/* --- writing: each appends one value; the caller places commas with json_write_key/item() --- */
void json_write_str(GString *out, const char *s);
void json_write_u64(GString *out, uint64_t v);
void json_write_i64(GString *out, int64_t v);
void json_write_number(GString *out, double v);
/* ", " unless the last character opens an object or array, then "key": */
void json_write_key(GString *out, const char *key);
/* ", " unless the last character opens an object or array. */
void json_write_item(GString *out);
void json_write_tree(GString *out, const json_t *v);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

#endif
