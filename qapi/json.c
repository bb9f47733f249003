/* json.c: a splitter that cuts messages out of a stream and hands them to jansson, and a writer.
 *
 * 1. The splitter tracks only quotes, brackets and integer literals; what is inside is jansson's.
 * 2. After garbage it is silent until a newline or 0xff: a flood of it costs one reply a line. */
#include "qapi/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

typedef enum ReadState { BETWEEN, INSIDE, IN_STRING, IN_ESCAPE, IN_NUMBER, RESYNC } ReadState;

struct JsonReader {
    ReadState state;
    char quote;                /* of the string we are in */
    unsigned depth, values;
    size_t number_at;          /* where in @text the literal being read began */
    GString *text;             /* the message so far, in the dialect jansson reads */
    char open[JSON_MAX_DEPTH]; /* the open brackets */
};

JsonReader *json_reader_new(void)
{
    JsonReader *r = g_new0(JsonReader, 1);

    r->text = g_string_new(NULL);
    return r;
}

void json_reader_free(JsonReader *r)
{
    if (r) {
        g_string_free(r->text, TRUE);
        g_free(r);
    }
}

void json_reader_reset(JsonReader *r)
{
    r->state = BETWEEN;
    r->depth = 0;
    r->values = 0;
    if (r->text->allocated_len > 65536) {
        g_string_free(r->text, TRUE);
        r->text = g_string_new(NULL);
    } else {
        g_string_truncate(r->text, 0);
    }
}

/* An integer literal that int64 cannot hold becomes form 1 of json.h, or a real beyond uint64. */
static void number_done(JsonReader *r)
{
    char *lit = r->text->str + r->number_at;
    const char *digits_at = lit + (*lit == '-');
    uint64_t v;

    r->state = INSIDE;
    if (strspn(digits_at, "0123456789") != strlen(digits_at) || strlen(digits_at) < 19) {
        return;
    }
    errno = 0;
    if (*lit == '-') {
        g_ascii_strtoll(lit, NULL, 10);
        if (errno) {
            g_string_append(r->text, ".0");
        }
        return;
    }
    v = g_ascii_strtoull(lit, NULL, 10);
    if (errno) {
        g_string_append(r->text, ".0");
    } else if (v > INT64_MAX && *lit != '0') {
        g_autofree char *digits = g_strdup(lit);

        g_string_truncate(r->text, r->number_at);
        g_string_append_printf(r->text, "\"\\u0000%s\"", digits);
    }
}

/* What is wrong with @c where the reader stands, or NULL; *@done when it completes the message. */
static const char *inside_byte(JsonReader *r, char c, bool *done)
{
    switch (c) {
    case '{':
    case '[':
        if (r->depth == JSON_MAX_DEPTH) {
            return "JSON nesting depth limit exceeded";
        }
        r->open[r->depth++] = c;
        r->values++;
        break;
    case '}':
    case ']':
        if (r->open[r->depth - 1] != (c == '}' ? '{' : '[')) {
            return "JSON parse error, mismatched bracket";
        }
        *done = --r->depth == 0;
        break;
    case '"':
    case '\'':
        r->quote = c;
        r->state = IN_STRING;
        c = '"';
        break;
    case ',':
    case ':':
        r->values++;
        break;
    case '-':
    case '0' ... '9':
        r->state = IN_NUMBER;
        r->number_at = r->text->len;
        break;
    default:
        break;
    }
    g_string_append_c(r->text, c);
    return r->values > JSON_MAX_VALUES ? "JSON message has too many values" : NULL;
}

static const char *string_byte(JsonReader *r, char c)
{
    GString *t = r->text;

    if (r->state == IN_ESCAPE) {
        r->state = IN_STRING;
        if (c == '\'') {
            t->str[t->len - 1] = c;
            return NULL;
        }
    } else if (c == '\\') {
        r->state = IN_ESCAPE;
    } else if (c == r->quote) {
        r->state = INSIDE;
        c = '"';
    } else if (c == '"') {
        g_string_append_c(t, '\\');
    } else if ((unsigned char)c < 0x20) {
        return "JSON parse error, control character in string";
    }
    g_string_append_c(t, c);
    if (c == '0' && t->len >= 6 && strcmp(t->str + t->len - 5, "u0000") == 0) {
        size_t slashes = 0;

        for (size_t i = t->len - 5; i > 0 && t->str[i - 1] == '\\'; i--) {
            slashes++;
        }
        if (slashes % 2) {
            return "JSON parse error, NUL character in string";
        }
    }
    return NULL;
}

/* One byte; *@done when a message is complete.  Returns what is wrong, or NULL. */
static const char *reader_byte(JsonReader *r, char c, bool *done)
{
    if (c == '\xff') {
        const char *wrong = r->state == BETWEEN || r->state == RESYNC
            ? NULL : "JSON parse error, message cut short by 0xff";

        json_reader_reset(r);
        return wrong;
    }
    if (r->state == IN_NUMBER) {
        if (g_ascii_isalnum(c) || c == '.' || c == '+' || c == '-') {
            g_string_append_c(r->text, c);
            return NULL;
        }
        number_done(r);
    }
    switch (r->state) {
    case BETWEEN:
        if (c == '{' || c == '[') {
            r->state = INSIDE;
            return inside_byte(r, c, done);
        }
        if (strchr(" \t\r\n", c) && c) {
            return NULL;
        }
        return "JSON parse error, expecting an object";
    case RESYNC:
        if (c == '\n') {
            json_reader_reset(r);
        }
        return NULL;
    case IN_STRING:
    case IN_ESCAPE:
        return string_byte(r, c);
    default:
        return inside_byte(r, c, done);
    }
}

static bool deliver(JsonReader *r, JsonSink *sink, void *arg)
{
    json_error_t why;
    Error *err = NULL;
    json_t *v = json_loadb(r->text->str, r->text->len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                            &why);

    json_reader_reset(r);
    if (!v) {
        error_set(&err, "JSON parse error, %s", why.text);
    }
    return sink(arg, v, err);
}

size_t json_reader_feed(JsonReader *r, const char *buf, size_t n, JsonSink *sink, void *arg)
{
    for (size_t i = 0; i < n; i++) {
        bool done = false;
        const char *wrong = reader_byte(r, buf[i], &done);

        if (!wrong && r->text->len > JSON_MAX_BYTES) {
            wrong = "JSON message size limit exceeded";
        }
        if (wrong) {
            Error *err = NULL;

            json_reader_reset(r);
            r->state = buf[i] == '\n' || buf[i] == '\xff' ? BETWEEN : RESYNC;
            error_set(&err, "%s", wrong);
            if (!sink(arg, NULL, err)) {
                return i + 1;
            }
        } else if (done && !deliver(r, sink, arg)) {
            return i + 1;
        }
    }
    return n;
}

typedef struct OneValue {
    json_t *value;
    Error *err;
    unsigned seen;
} OneValue;

static bool one_value(void *arg, json_t *take_value, Error *take_err)
{
    OneValue *one = arg;

    if (one->seen++ == 0) {
        one->value = take_value;
        one->err = take_err;
    } else {
        json_decref(take_value);
        error_free(take_err);
    }
    return one->seen < 2 && !one->err;
}

json_t *json_parse(const char *text, Error **errp)
{
    OneValue one = { 0 };
    JsonReader *r = json_reader_new();

    json_reader_feed(r, text, strlen(text), one_value, &one);
    if (one.err) {
        error_move(errp, one.err);
    } else if (one.seen == 0) {
        error_set(errp, "JSON parse error, premature end of input");
    } else if (one.seen > 1 || r->state != BETWEEN) {
        error_set(errp, "JSON parse error, text after the end");
        json_decref(one.value);
        one.value = NULL;
    }
    json_reader_free(r);
    return one.value;
}

bool json_big(const json_t *v, uint64_t *out)
{
    if (!json_is_string(v) || json_string_length(v) < 2 || json_string_value(v)[0] != '\0') {
        return false;
    }
    if (out) {
        *out = g_ascii_strtoull(json_string_value(v) + 1, NULL, 10);
    }
    return true;
}

json_t *json_from_u64(uint64_t v)
{
    char buf[24];

    if (v <= INT64_MAX) {
        return json_integer(v);
    }
    buf[0] = '\0';
    return json_stringn_nocheck(buf, 1 + g_snprintf(buf + 1, sizeof(buf) - 1, "%" PRIu64, v));
}

/* ASCII only, so that no reader can trip; bytes that are not UTF-8 become U+FFFD. */
void json_write_str(GString *out, const char *s)
{
    g_string_append_c(out, '"');
    while (*s) {
        gunichar u = g_utf8_get_char_validated(s, -1);

        if (u == (gunichar)-1 || u == (gunichar)-2) {
            g_string_append(out, "\\uFFFD");
            s++;
            continue;
        }
        if (u == '"' || u == '\\') {
            g_string_append_c(out, '\\');
            g_string_append_c(out, u);
        } else if (u == '\n' || u == '\r' || u == '\t') {
            g_string_append(out, u == '\n' ? "\\n" : u == '\r' ? "\\r" : "\\t");
        } else if (u >= 0x20 && u < 0x7f) {
            g_string_append_c(out, u);
        } else if (u > 0xffff) {
            g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + ((u - 0x10000) >> 10),
                                   0xdc00 + ((u - 0x10000) & 0x3ff));
        } else {
            g_string_append_printf(out, "\\u%04X", u);
        }
        s = g_utf8_next_char(s);
    }
    g_string_append_c(out, '"');
}

void json_write_u64(GString *out, uint64_t v)
{
    char buf[24];

    g_string_append_len(out, buf, g_snprintf(buf, sizeof(buf), "%" PRIu64, v));
}

void json_write_i64(GString *out, int64_t v)
{
    char buf[24];

    g_string_append_len(out, buf, g_snprintf(buf, sizeof(buf), "%" PRId64, v));
}

void json_write_number(GString *out, double v)
{
    char buf[G_ASCII_DTOSTR_BUF_SIZE];

    if (!isfinite(v)) {
        g_string_append(out, "0");         /* JSON has no word for it */
        return;
    }
    for (int digits = 15; ; digits++) {    /* the shortest form that reads back the same */
        char fmt[8];

        g_snprintf(fmt, sizeof(fmt), "%%.%dg", digits);
        g_ascii_formatd(buf, sizeof(buf), fmt, v);
        if (digits == 17 || g_ascii_strtod(buf, NULL) == v) {
            break;
        }
    }
    g_string_append(out, buf);
}

void json_write_item(GString *out)
{
    char last = out->len ? out->str[out->len - 1] : '{';

    if (last != '{' && last != '[') {
        g_string_append(out, ", ");
    }
}

void json_write_key(GString *out, const char *key)
{
    json_write_item(out);
    json_write_str(out, key);
    g_string_append(out, ": ");
}

void json_write_tree(GString *out, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    uint64_t big;

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        g_string_append_c(out, '{');
        json_object_foreach((json_t *)v, key, item) {
            json_write_key(out, key);
            json_write_tree(out, item);
        }
        g_string_append_c(out, '}');
        break;
    case JSON_ARRAY:
        g_string_append_c(out, '[');
        json_array_foreach(v, i, item) {
            json_write_item(out);
            json_write_tree(out, item);
        }
        g_string_append_c(out, ']');
        break;
    case JSON_STRING:
        if (json_big(v, &big)) {
            json_write_u64(out, big);
        } else {
            json_write_str(out, json_string_value(v));
        }
        break;
    case JSON_INTEGER:
        json_write_i64(out, json_integer_value(v));
        break;
    case JSON_REAL:
        json_write_number(out, json_real_value(v));
        break;
    default:
        g_string_append(out, json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
    }
}
