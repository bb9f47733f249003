/* hmp-args.c: reading the arguments of human monitor commands.
 *
 * 1. An expression nests at most EXPR_DEPTH deep; a format's count is at most COUNT_MAX. */
#include "monitor/hmp-args.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "qapi/keyval.h"
#include "util/bytes.h"

#define EXPR_DEPTH 100u
#define COUNT_MAX 0x7fffffffu

/* --- expressions --- */

typedef struct Expr {
    const char *at;
    const HmpArgsContext *c;
    unsigned depth;
    Error **errp;
} Expr;

static bool expr_sum(Expr *e, int64_t *out);

static void skip_blanks(const char **text)
{
    while (**text == ' ' || **text == '\t') {
        (*text)++;
    }
}

/* Bytes of the UTF-8 character at @p, for messages that show it. */
static int char_length(const char *p)
{
    int n = 1;

    while (*p != '\0' && (p[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

static void next(Expr *e)
{
    if (*e->at != '\0') {
        e->at++;
        skip_blanks(&e->at);
    }
}

static bool expr_char(Expr *e, int64_t *out)
{
    e->at++;
    if (*e->at == '\0') {
        return error_set(e->errp, "character constant expected");
    }
    *out = (unsigned char)*e->at++;
    if (*e->at != '\'') {
        return error_set(e->errp, "missing terminating ' character");
    }
    next(e);
    return true;
}

static bool expr_register(Expr *e, int64_t *out)
{
    char name[32];
    unsigned n = 0;
    uint64_t value;

    e->at++;
    for (; isalnum((unsigned char)*e->at) || *e->at == '_' || *e->at == '.'; e->at++) {
        if (n < sizeof(name) - 1) {
            name[n++] = *e->at;
        }
    }
    name[n] = '\0';
    skip_blanks(&e->at);
    if (e->c == NULL || e->c->reg == NULL || !e->c->reg(e->c->arg, name, &value)) {
        return error_set(e->errp, "unknown register");
    }
    *out = (int64_t)value;
    return true;
}

static bool expr_number(Expr *e, int64_t *out)
{
    char *end;

    errno = 0;
    unsigned long long n = strtoull(e->at, &end, 0);

    if (errno == ERANGE) {
        return error_set(e->errp, "number too large");
    }
    if (end == e->at) {
        return error_set(e->errp, "invalid char '%.*s' in expression", char_length(e->at), e->at);
    }
    *out = (int64_t)n;
    e->at = end;
    skip_blanks(&e->at);
    return true;
}

static bool expr_unary(Expr *e, int64_t *out)
{
    char c = *e->at;
    bool ok;

    if (++e->depth > EXPR_DEPTH) {
        return error_set(e->errp, "expression too deep");
    }
    switch (c) {
    case '+':
    case '-':
    case '~':
        next(e);
        ok = expr_unary(e, out);
        if (ok && c != '+') {
            *out = c == '-' ? (int64_t)-(uint64_t)*out : ~*out;
        }
        break;
    case '(':
        next(e);
        ok = expr_sum(e, out) && (*e->at == ')' || error_set(e->errp, "')' expected"));
        if (ok) {
            next(e);
        }
        break;
    case '\'':
        ok = expr_char(e, out);
        break;
    case '$':
        ok = expr_register(e, out);
        break;
    case '\0':
        ok = error_set(e->errp, "unexpected end of expression");
        break;
    default:
        ok = expr_number(e, out);
    }
    e->depth--;
    return ok;
}

static bool expr_product(Expr *e, int64_t *out)
{
    int64_t right;

    if (!expr_unary(e, out)) {
        return false;
    }
    while (*e->at == '*' || *e->at == '/' || *e->at == '%') {
        char op = *e->at;

        next(e);
        if (!expr_unary(e, &right)) {
            return false;
        }
        if (op == '*') {
            *out = (int64_t)((uint64_t)*out * (uint64_t)right);
        } else if (right == 0) {
            return error_set(e->errp, "division by zero");
        } else if (right == -1) {              /* INT64_MIN / -1 has no value in C */
            *out = op == '/' ? (int64_t)-(uint64_t)*out : 0;
        } else {
            *out = op == '/' ? *out / right : *out % right;
        }
    }
    return true;
}

static bool expr_logic(Expr *e, int64_t *out)
{
    int64_t right;

    if (!expr_product(e, out)) {
        return false;
    }
    while (*e->at == '&' || *e->at == '|' || *e->at == '^') {
        char op = *e->at;

        next(e);
        if (!expr_product(e, &right)) {
            return false;
        }
        *out = op == '&' ? *out & right : op == '|' ? *out | right : *out ^ right;
    }
    return true;
}

static bool expr_sum(Expr *e, int64_t *out)
{
    int64_t right;

    if (!expr_logic(e, out)) {
        return false;
    }
    while (*e->at == '+' || *e->at == '-') {
        char op = *e->at;

        next(e);
        if (!expr_logic(e, &right)) {
            return false;
        }
        *out = (int64_t)(op == '+' ? (uint64_t)*out + (uint64_t)right : (uint64_t)*out - (uint64_t)right);
    }
    return true;
}

bool hmp_expression(const char **text, const HmpArgsContext *c, int64_t *out, Error **errp)
{
    Expr e = { .at = *text, .c = c, .errp = errp };

    skip_blanks(&e.at);
    bool ok = expr_sum(&e, out);
    *text = e.at;
    return ok;
}

/* --- words, sizes, formats --- */

/* The character that @text, behind a backslash, stands for; 0: none. */
static char unescaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case '\\':
    case '\'':
    case '"':
        return c;
    default:
        return 0;
    }
}

static bool read_quoted(const char **text, GString *out, Error **errp)
{
    const char *p = *text + 1;

    for (; *p != '"'; p++) {
        char c = *p;

        if (c == '\0') {
            return error_set(errp, "unterminated string");
        }
        if (c == '\\') {
            c = unescaped(*++p);
            if (c == 0) {
                return error_set(errp,
                                 *p != '\0' ? "unsupported escape code: '\\%.*s'" : "unterminated string",
                                 char_length(p), p);
            }
        }
        g_string_append_c(out, c);
    }
    *text = p + 1;
    return true;
}

/* A word; NULL with no error: there is none. */
static char *read_word(const char **text, Error **errp)
{
    g_autoptr(GString) out = g_string_new(NULL);

    skip_blanks(text);
    if (**text == '\0') {
        return NULL;
    }
    if (**text == '"') {
        if (!read_quoted(text, out, errp)) {
            return NULL;
        }
    } else {
        size_t n = strcspn(*text, " \t");

        g_string_append_len(out, *text, n);
        *text += n;
    }
    return g_strdup(out->str);
}

static bool read_size(const char **text, HmpArg *a, Error **errp)
{
    g_autofree char *word = read_word(text, NULL);
    uint64_t size;

    if (word == NULL || !keyval_size(word, MiB, &size) || size > INT64_MAX) {
        return error_set(errp, "invalid size");
    }
    a->num = (int64_t)size;
    return true;
}

static bool read_on_off(const char *name, const char **text, HmpArg *a, Error **errp)
{
    g_autofree char *word = read_word(text, NULL);

    a->num = g_strcmp0(word, "on") == 0;
    return a->num || g_strcmp0(word, "off") == 0 || error_set(errp, "Expected 'on' or 'off'");
}

static unsigned size_letter(char c)
{
    switch (c) {
    case 'b':
        return 1;
    case 'h':
        return 2;
    case 'w':
        return 4;
    case 'g':
        return 8;
    default:
        return 0;
    }
}

/* "/10xw"; without a '/' all is as it was. */
static bool read_format(const char **text, HmpFormat *f, Error **errp)
{
    const char *p = *text;

    f->count = 1;
    if (*p != '/') {
        return true;
    }
    p++;
    if (isdigit((unsigned char)*p)) {
        unsigned long long n = strtoull(p, (char **)&p, 10);

        f->count = MIN(n, COUNT_MAX);
    }
    for (; *p != '\0' && !strchr(" \t", *p); p++) {
        if (strchr("xduoci", *p) != NULL) {
            f->conversion = *p;
        } else if (size_letter(*p) != 0) {
            f->size = size_letter(*p);
        } else {
            return error_set(errp, "invalid char in format: '%.*s'", char_length(p), p);
        }
    }
    *text = p;
    skip_blanks(text);
    return true;
}

/* --- arguments by description --- */

/* One word of a description. */
typedef struct Spec {
    const char *name;
    unsigned name_len;
    const char *type;          /* "-x" or one letter */
    bool optional, rest;
} Spec;

static bool next_spec(const char **spec, Spec *out)
{
    const char *p = *spec;

    skip_blanks(&p);
    if (*p == '\0') {
        return false;
    }
    out->name = p;
    out->name_len = strcspn(p, ":");
    out->type = p + out->name_len + 1;
    p = out->type + (*out->type == '-' ? 2 : 1);
    out->optional = *p == '?' || *out->type == '-';
    p += *p == '?';
    out->rest = *p == '*';
    p += *p == '*';
    *spec = p;
    return true;
}

/* What "expected" says of an argument that is missing. */
static const char *type_word(char type)
{
    return type == 'F' ? "filename" : type == 'B' ? "block device name" : "string";
}

static bool read_text(const char *name, const Spec *s, const char **text, HmpArg *a, Error **errp)
{
    Error *err = NULL;

    skip_blanks(text);
    if (s->rest && **text != '\0') {
        a->text = g_strdup(*text);
        *text += strlen(*text);
        return true;
    }
    a->text = read_word(text, &err);
    if (err != NULL) {
        g_autofree char *why = g_strdup(error_text(err));

        error_free(err);
        return error_set(errp, "%s\n%s: %s expected", why, name, type_word(*s->type));
    }
    return a->text != NULL || error_set(errp, "%s: %s expected", name, type_word(*s->type));
}

static bool read_number(const Spec *s, const char **text, const HmpArgsContext *c, HmpArg *a, Error **errp)
{
    if (!hmp_expression(text, c, &a->num, errp)) {
        return false;
    }
    if (*s->type == 'M') {
        if (a->num < 0) {
            return error_set(errp, "enter a positive value");
        }
        if (a->num > (int64_t)(INT64_MAX / MiB)) {
            return error_set(errp, "number too large");
        }
        a->num *= MiB;
    }
    return true;
}

/* A flag is "-x" alone. */
static bool read_flag(const char *name, const Spec *s, const char **text, HmpArg *a, Error **errp)
{
    const char *p = *text;

    if (p[0] != '-' || p[1] == '\0') {
        return true;
    }
    if (p[1] == s->type[1]) {
        *text += 2;
        skip_blanks(text);
        a->set = true;
        a->num = 1;
    }
    return true;
}

static bool read_one(const char *name, const Spec *s, const char **text, const HmpArgsContext *c,
                     HmpArgs *out, Error **errp)
{
    HmpArg *a = &out->at[out->n++];

    *a = (HmpArg){ .name = s->name, .name_len = s->name_len };
    skip_blanks(text);
    if (*s->type == '-') {
        return read_flag(name, s, text, a, errp);
    }
    if (*s->type == '/') {
        out->format = c->format;
        return read_format(text, &out->format, errp);
    }
    if (s->optional && **text == '\0') {
        return true;
    }
    a->set = true;
    switch (*s->type) {
    case 'i':
    case 'M':
        return read_number(s, text, c, a, errp);
    case 'o':
        return read_size(text, a, errp);
    case 'b':
        return read_on_off(name, text, a, errp);
    default:
        return read_text(name, s, text, a, errp);
    }
}

/* After the last flag a description knows there must not be another one. */
static bool flags_are_known(const char *name, const char *text, const char *spec, Error **errp)
{
    bool has_flags = strstr(spec, ":-") != NULL;

    if (has_flags && text[0] == '-' && isalpha((unsigned char)text[1]) &&
        (text[2] == '\0' || text[2] == ' ' || text[2] == '\t')) {
        return error_set(errp, "%s: unsupported option -%c", name, text[1]);
    }
    return true;
}

bool hmp_args_read(const char *name, const char *spec, const char *text, const HmpArgsContext *c,
                   HmpArgs *out, Error **errp)
{
    const char *left = spec;
    bool in_flags = false, ok = true;
    Spec s;

    memset(out, 0, sizeof(*out));
    skip_blanks(&text);
    while (ok && out->n < HMP_ARGS_MAX && next_spec(&left, &s)) {
        if (in_flags && *s.type != '-') {
            ok = flags_are_known(name, text, spec, errp);
        }
        in_flags = *s.type == '-';
        ok = ok && read_one(name, &s, &text, c, out, errp);
        skip_blanks(&text);
    }
    if (ok && *text != '\0') {
        ok = (!in_flags || flags_are_known(name, text, spec, errp)) &&
             error_set(errp, "%s: extraneous characters at the end of line", name);
    }
    if (!ok) {
        hmp_args_clear(out);
    }
    return ok;
}

void hmp_args_clear(HmpArgs *a)
{
    for (unsigned i = 0; i < a->n; i++) {
        g_free(a->at[i].text);
    }
    memset(a, 0, sizeof(*a));
}

static const HmpArg *find_arg(const HmpArgs *a, const char *name)
{
    for (unsigned i = 0; i < a->n; i++) {
        if (strlen(name) == a->at[i].name_len && strncmp(name, a->at[i].name, a->at[i].name_len) == 0) {
            return a->at[i].set ? &a->at[i] : NULL;
        }
    }
    return NULL;
}

const char *hmp_str(const HmpArgs *a, const char *name)
{
    const HmpArg *arg = find_arg(a, name);

    return arg != NULL ? arg->text : NULL;
}

bool hmp_num(const HmpArgs *a, const char *name, int64_t *out)
{
    const HmpArg *arg = find_arg(a, name);

    if (arg != NULL) {
        *out = arg->num;
    }
    return arg != NULL;
}

int64_t hmp_int(const HmpArgs *a, const char *name, int64_t dflt)
{
    hmp_num(a, name, &dflt);
    return dflt;
}

bool hmp_flag(const HmpArgs *a, const char *name)
{
    return hmp_int(a, name, 0) != 0;
}

char hmp_args_type(const char *spec, unsigned n)
{
    Spec s;

    while (next_spec(&spec, &s)) {
        if (*s.type != '-' && *s.type != '/' && (n-- == 0 || s.rest)) {
            return *s.type;
        }
    }
    return 0;
}
