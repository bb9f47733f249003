/* visit.c: reads, writes and frees C values of the schema's types by walking its tables.
 *
 * 1. Recursion is bounded by the nesting of the JSON tree (JSON_MAX_DEPTH) on reading, and by the
 *    value itself, which came from such a tree or from our own code, elsewhere.
 * 2. A slot is zeroed before it is read into, so a half-read value can always be cleared. */
#include "qapi/visit.h"

#include <errno.h>
#include <string.h>
#include "qapi/keyval.h"
#include "qapi/tables.h"
#include "util/bytes.h"

/* Where we are in the tree, for messages; frames live on the stack. */
typedef struct Path {
    const struct Path *up;
    const char *name;          /* NULL: element @index of a list */
    size_t index;
} Path;

typedef struct Reader {
    QapiMode mode;
    Error **errp;
} Reader;

static bool read_value(Reader *r, unsigned type, const QapiMember *m, json_t *in, void *slot,
                       const Path *at);

static const char *text(uint32_t off)
{
    return qapi_text + off;
}

static void path_append(GString *s, const Path *at)
{
    if (!at) {
        return;
    }
    path_append(s, at->up);
    if (at->name) {
        g_string_append_printf(s, "%s%s", s->len ? "." : "", at->name);
    } else {
        g_string_append_printf(s, "[%zu]", at->index);
    }
}

/* The path as people write it, owned by the caller; "argument" for the root. */
static char *path_text(const Path *at)
{
    GString *s = g_string_new(NULL);

    path_append(s, at);
    if (!s->len) {
        g_string_append(s, "argument");
    }
    return g_string_free(s, FALSE);
}

static bool wrong_type(Reader *r, const Path *at, const char *expected)
{
    g_autofree char *path = path_text(at);

    return error_set(r->errp, "Invalid parameter type for '%s', expected: %s", path, expected);
}

static bool expects(Reader *r, const Path *at, const char *what)
{
    g_autofree char *path = path_text(at);

    return error_set(r->errp, "Parameter '%s' expects %s", path, what);
}

/* --- integers --- */

static void limits_of(const QapiType *t, const QapiMember *m, int64_t *lo, uint64_t *hi)
{
    if (m && m->limit) {
        *lo = qapi_limits[m->limit].lo;
        *hi = qapi_limits[m->limit].hi;
    } else if (t->kind == QAPI_INT) {
        *lo = (int64_t)(UINT64_MAX << (8 * t->size - 1));
        *hi = ones(t->size) >> 1;
    } else {
        *lo = 0;
        *hi = ones(t->size);
    }
}

/* A number as sign and size, so that all of int64 and uint64 fits. */
typedef struct Whole {
    bool negative;
    uint64_t bits;
} Whole;

/* @hi is not negative (gen.py sees to it). */
static bool whole_fits(Whole w, int64_t lo, uint64_t hi)
{
    return w.negative ? (int64_t)w.bits >= lo
                      : w.bits <= hi && (lo <= 0 || w.bits >= (uint64_t)lo);
}

static bool whole_from_text(const QapiType *t, const QapiMember *m, const char *s, Whole *w)
{
    char *end;

    *w = (Whole){ 0 };
    if (t->kind == QAPI_SIZE) {
        return keyval_size(s, m && (m->flags & QAPI_UNIT_M) ? MiB : 1, &w->bits);
    }
    if (!g_ascii_isdigit(s[0]) && !(s[0] == '-' && g_ascii_isdigit(s[1]))) {
        return false;
    }
    errno = 0;
    w->negative = *s == '-';
    w->bits = w->negative ? (uint64_t)g_ascii_strtoll(s, &end, 0) : g_ascii_strtoull(s, &end, 0);
    w->negative = w->negative && w->bits;
    return errno == 0 && *end == '\0';
}

static void store_whole(const QapiType *t, void *slot, Whole w)
{
    uint64_t v = w.bits;

    switch (t->size) {
    case 1: *(uint8_t *)slot = v; break;
    case 2: *(uint16_t *)slot = v; break;
    case 4: *(uint32_t *)slot = v; break;
    default: *(uint64_t *)slot = v; break;
    }
}

static bool read_whole(Reader *r, const QapiType *t, const QapiMember *m, json_t *in, void *slot,
                       const Path *at)
{
    int64_t lo;
    uint64_t hi;
    Whole w;
    bool is_text = r->mode == QAPI_KEYVAL && json_is_string(in) && !json_big(in, NULL);

    if (json_is_integer(in)) {
        w.bits = json_integer_value(in);
        w.negative = json_integer_value(in) < 0;
    } else if (json_big(in, &w.bits)) {
        w.negative = false;
    } else if (!is_text) {
        return wrong_type(r, at, "integer");
    } else if (!whole_from_text(t, m, json_string_value(in), &w)) {
        if (t->kind != QAPI_SIZE) {
            return expects(r, at, "an integer");
        }
        expects(r, at, "a size value");
        return error_hint(r->errp,
                          "a number below 2^64 with an optional suffix k, M, G, T, P or E");
    }
    limits_of(t, m, &lo, &hi);
    if (!whole_fits(w, lo, hi)) {
        g_autofree char *what = lo < 0
            ? g_strdup_printf("an integer from %" PRId64 " to %" PRId64, lo, (int64_t)hi)
            : g_strdup_printf("an integer from %" PRId64 " to %" PRIu64, lo, hi);

        return expects(r, at, what);
    }
    store_whole(t, slot, w);
    return true;
}

/* --- other scalars --- */

static bool read_bool(Reader *r, json_t *in, bool *slot, const Path *at)
{
    if (json_is_boolean(in)) {
        *slot = json_is_true(in);
        return true;
    }
    if (r->mode != QAPI_KEYVAL || !json_is_string(in)) {
        return wrong_type(r, at, "boolean");
    }
    return keyval_bool(json_string_value(in), slot) || expects(r, at, "'on' or 'off'");
}

static bool read_number(Reader *r, json_t *in, double *slot, const Path *at)
{
    uint64_t big;
    char *end;

    if (json_is_number(in)) {
        *slot = json_number_value(in);
        return true;
    }
    if (json_big(in, &big)) {
        *slot = big;
        return true;
    }
    if (r->mode != QAPI_KEYVAL || !json_is_string(in)) {
        return wrong_type(r, at, "number");
    }
    errno = 0;
    *slot = g_ascii_strtod(json_string_value(in), &end);
    if (errno || *end || end == json_string_value(in) || !(*slot - *slot == 0)) {
        return expects(r, at, "a number");
    }
    return true;
}

static bool read_str(Reader *r, json_t *in, char **slot, const Path *at)
{
    if (!json_is_string(in) || json_big(in, NULL)) {
        return wrong_type(r, at, "string");
    }
    *slot = g_strdup(json_string_value(in));
    return true;
}

static int enum_find(const QapiType *t, const char *name)
{
    for (unsigned i = 0; i < t->count; i++) {
        if (strcmp(text(qapi_values[t->first + i].name), name) == 0) {
            return i;
        }
    }
    return -1;
}

bool qapi_enum_value(unsigned type, const char *name, const char *what, int *out, Error **errp)
{
    const QapiType *t = &qapi_types[type];
    int v = enum_find(t, name);

    if (v >= 0) {
        *out = v;
        return true;
    }
    g_autofree const char **names = g_new0(const char *, t->count + 1);

    for (unsigned i = 0; i < t->count; i++) {
        names[i] = text(qapi_values[t->first + i].name);
    }
    error_set(errp, "Parameter '%s' does not accept value '%s'", what, name);
    return error_suggest(errp, name, names);
}

const char *qapi_enum_name(unsigned type, unsigned v)
{
    const QapiType *t = &qapi_types[type];

    return v < t->count ? text(qapi_values[t->first + v].name) : "?";
}

static bool read_enum(Reader *r, unsigned type, json_t *in, int *slot, const Path *at)
{
    if (json_big(in, NULL) || !json_is_string(in)) {
        return wrong_type(r, at, "string");
    }
    int v = enum_find(&qapi_types[type], json_string_value(in));

    if (v < 0) {
        g_autofree char *path = path_text(at);

        return qapi_enum_value(type, json_string_value(in), path, slot, r->errp);
    }
    *slot = v;
    return true;
}

/* --- lists --- */

typedef struct AnyList { size_t n; void *at; } AnyList;

/* How many bytes the slot of a @t takes. */
static size_t elem_size(const QapiType *t)
{
    return t->kind >= QAPI_STRUCT && t->kind <= QAPI_ALTERNATE ? sizeof(void *) : t->size;
}

static void *list_grow(AnyList *l, size_t size)
{
    l->at = g_realloc_n(l->at, l->n + 1, size);
    return memset((char *)l->at + l->n * size, 0, size);
}

/* "A-B" on the command line is a run of integers. */
static bool read_run(Reader *r, unsigned elem, const char *s, AnyList *l, const Path *at,
                     bool *is_run)
{
    const QapiType *t = &qapi_types[elem];
    const char *dash = s && *s ? strchr(s + 1, '-') : NULL;
    g_autofree char *low = dash ? g_strndup(s, dash - s) : NULL;
    Whole a, b;

    *is_run = dash && t->kind == QAPI_UINT && whole_from_text(t, NULL, low, &a) &&
        whole_from_text(t, NULL, dash + 1, &b);
    if (!*is_run) {
        return true;
    }
    if (a.negative || b.negative || a.bits > b.bits || b.bits - a.bits > 65535 ||
        b.bits > ones(t->size)) {
        return expects(r, at, "a range A-B of integers");
    }
    for (uint64_t v = a.bits; v <= b.bits; v++) {
        store_whole(t, list_grow(l, t->size), (Whole){ .bits = v });
        l->n++;
    }
    return true;
}

static bool read_elem(Reader *r, unsigned elem, json_t *in, AnyList *l, const Path *up)
{
    Path at = { .up = up, .index = l->n };
    bool is_run = false;

    if (r->mode == QAPI_KEYVAL && json_is_string(in) &&
        !read_run(r, elem, json_string_value(in), l, &at, &is_run)) {
        return false;
    }
    if (is_run) {
        return true;
    }
    void *slot = list_grow(l, elem_size(&qapi_types[elem]));

    if (!read_value(r, elem, NULL, in, slot, &at)) {
        qapi_clear(elem, slot);        /* it is not in the list yet */
        return false;
    }
    l->n++;
    return true;
}

static bool read_list(Reader *r, const QapiType *t, json_t *in, AnyList *l, const Path *at)
{
    size_t i;
    json_t *item;

    if (json_is_array(in)) {
        json_array_foreach(in, i, item) {
            if (!read_elem(r, t->elem, item, l, at)) {
                return false;
            }
        }
        return true;
    }
    if (r->mode == QAPI_KEYVAL && json_is_object(in)) {       /* x.0=a,x.1=b */
        for (i = 0; i < json_object_size(in); i++) {
            char key[24];

            g_snprintf(key, sizeof(key), "%zu", i);
            item = json_object_get(in, key);
            if (!item) {
                g_autofree char *path = path_text(at);

                return error_set(r->errp, "Parameter '%s.%s' is missing", path, key);
            }
            if (!read_elem(r, t->elem, item, l, at)) {
                return false;
            }
        }
        return true;
    }
    return r->mode == QAPI_KEYVAL ? read_elem(r, t->elem, in, l, at) : wrong_type(r, at, "array");
}

/* --- structs --- */

/* On the command line '_' in a key is as good as '-'. */
static bool key_is(QapiMode mode, const char *key, const char *name)
{
    for (; *key && *name; key++, name++) {
        if (*key != *name && !(mode == QAPI_KEYVAL && *key == '_' && *name == '-')) {
            return false;
        }
    }
    return *key == *name;
}

static json_t *member_get(QapiMode mode, json_t *in, const char *name)
{
    json_t *v = json_object_get(in, name);
    const char *key;
    json_t *item;

    if (v || mode == QAPI_JSON || !strchr(name, '-')) {
        return v;
    }
    json_object_foreach(in, key, item) {
        if (key_is(mode, key, name)) {
            return item;
        }
    }
    return NULL;
}

static void set_default(const QapiMember *m, void *slot)
{
    const QapiType *t = &qapi_types[m->type];
    const char *s = text(m->dflt);
    Whole w;

    switch (t->kind) {
    case QAPI_BOOL:
        *(bool *)slot = strcmp(s, "true") == 0;
        break;
    case QAPI_STR:
        *(char **)slot = g_strdup(s);
        break;
    case QAPI_NUMBER:
        *(double *)slot = g_ascii_strtod(s, NULL);
        break;
    case QAPI_ENUM:
        *(int *)slot = enum_find(t, s);
        break;
    default:
        if (whole_from_text(t, NULL, s, &w)) {
            store_whole(t, slot, w);
        }
    }
}

static bool read_members(Reader *r, const QapiType *t, json_t *in, char *base, const Path *up)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];
        Path at = { .up = up, .name = text(m->name) };
        json_t *v = member_get(r->mode, in, at.name);

        if (v) {
            if (!read_value(r, m->type, m, v, base + m->at, &at)) {
                return false;
            }
            if (m->has_at != QAPI_NOT) {
                *(bool *)(base + m->has_at) = true;
            }
        } else if (m->flags & QAPI_DEFAULT) {
            set_default(m, base + m->at);
        } else if (!(m->flags & QAPI_OPTIONAL)) {
            g_autofree char *path = path_text(&at);

            return error_set(r->errp, "Parameter '%s' is missing", path);
        }
    }
    return true;
}

static bool type_has(QapiMode mode, const QapiType *t, const char *key)
{
    for (unsigned i = 0; t && i < t->count; i++) {
        if (key_is(mode, key, text(qapi_members[t->first + i].name))) {
            return true;
        }
    }
    return false;
}

static bool unknown_member(Reader *r, const QapiType *t, const QapiType *t2, const char *key,
                           const Path *up)
{
    Path at = { .up = up, .name = key };
    g_autofree char *path = path_text(&at);
    g_autofree const char **names = g_new0(const char *, t->count + (t2 ? t2->count : 0) + 1);
    unsigned n = 0;

    for (; n < t->count; n++) {
        names[n] = text(qapi_members[t->first + n].name);
    }
    for (unsigned i = 0; t2 && i < t2->count; i++) {
        names[n++] = text(qapi_members[t2->first + i].name);
    }
    error_set(r->errp, "Parameter '%s' is unexpected", path);
    return error_suggest(r->errp, key, names);
}

/* The case struct of the union value at @base, or NULL. */
static const QapiType *union_case(const QapiType *t, const char *base)
{
    const QapiMember *tag = &qapi_members[t->first + t->tag];
    unsigned v = *(const unsigned *)(base + tag->at);
    unsigned type = v < qapi_types[t->elem].count ? qapi_cases[t->cases + v] : 0;

    return type ? &qapi_types[type] : NULL;
}

static bool read_struct(Reader *r, const QapiType *t, json_t *in, char *base, const Path *at)
{
    const QapiType *more = NULL;
    const char *key;
    json_t *v;

    if (!json_is_object(in)) {
        return wrong_type(r, at, "object");
    }
    if (t->flags & QAPI_OPEN) {
        *(json_t **)(base + t->u_at) = json_object();
    }
    if (!read_members(r, t, in, base, at)) {
        return false;
    }
    if (t->kind == QAPI_UNION) {
        more = union_case(t, base);
        if (more && !read_members(r, more, in, base + t->u_at, at)) {
            return false;
        }
    }
    json_object_foreach(in, key, v) {
        if (type_has(r->mode, t, key) || type_has(r->mode, more, key)) {
            continue;
        }
        if (!(t->flags & QAPI_OPEN)) {
            return unknown_member(r, t, more, key, at);
        }
        if (r->mode == QAPI_KEYVAL && json_array_size(v)) {
            v = json_array_get(v, json_array_size(v) - 1);    /* repeated: the last one wins */
        }
        json_object_set(*(json_t **)(base + t->u_at), key, v);
    }
    return true;
}

static bool kind_takes(const QapiType *t, const json_t *in)
{
    switch (t->kind) {
    case QAPI_STR:
    case QAPI_ENUM:
        return json_is_string(in) && !json_big(in, NULL);
    case QAPI_BOOL:
        return json_is_boolean(in);
    case QAPI_NULL:
        return json_is_null(in);
    case QAPI_LIST:
        return json_is_array(in);
    case QAPI_STRUCT:
    case QAPI_UNION:
        return json_is_object(in);
    case QAPI_ANY:
        return true;
    default:
        return json_is_number(in) || json_big(in, NULL);
    }
}

static bool read_alternate(Reader *r, const QapiType *t, json_t *in, char *base, const Path *at)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        if (kind_takes(&qapi_types[m->type], in)) {
            *(unsigned *)base = i;
            return read_value(r, m->type, m, in, base + t->u_at, at);
        }
    }
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned i = 0; i < t->count; i++) {
        g_string_append_printf(names, "%s%s", i ? " or " : "",
                               text(qapi_types[qapi_members[t->first + i].type].name));
    }
    return wrong_type(r, at, names->str);
}

static bool read_value(Reader *r, unsigned type, const QapiMember *m, json_t *in, void *slot,
                       const Path *at)
{
    const QapiType *t = &qapi_types[type];

    if (r->mode == QAPI_KEYVAL && json_array_size(in) && t->kind != QAPI_LIST &&
        t->kind != QAPI_ANY) {
        in = json_array_get(in, json_array_size(in) - 1);     /* repeated: the last one wins */
    }
    switch (t->kind) {
    case QAPI_BOOL:
        return read_bool(r, in, slot, at);
    case QAPI_NUMBER:
        return read_number(r, in, slot, at);
    case QAPI_STR:
        return read_str(r, in, slot, at);
    case QAPI_ANY:
        *(json_t **)slot = json_incref(in);
        return true;
    case QAPI_NULL:
        return json_is_null(in) || wrong_type(r, at, "null");
    case QAPI_ENUM:
        return read_enum(r, type, in, slot, at);
    case QAPI_LIST:
        return read_list(r, t, in, slot, at);
    case QAPI_STRUCT:
    case QAPI_UNION:
        *(void **)slot = g_malloc0(t->size);
        return read_struct(r, t, in, *(void **)slot, at);
    case QAPI_ALTERNATE:
        *(void **)slot = g_malloc0(t->size);
        return read_alternate(r, t, in, *(void **)slot, at);
    default:
        return read_whole(r, t, m, in, slot, at);
    }
}

bool qapi_read(unsigned type, json_t *in, QapiMode mode, void *out, Error **errp)
{
    Reader r = { .mode = mode, .errp = errp };

    memset(out, 0, elem_size(&qapi_types[type]));
    if (read_value(&r, type, NULL, in, out, NULL)) {
        return true;
    }
    qapi_clear(type, out);
    return false;
}

/* --- freeing --- */

static void clear_members(const QapiType *t, char *base)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        qapi_clear(m->type, base + m->at);
    }
}

static void clear_struct(const QapiType *t, char *base)
{
    if (t->kind == QAPI_ALTERNATE) {
        unsigned is = *(unsigned *)base;

        if (is < t->count) {
            qapi_clear(qapi_members[t->first + is].type, base + t->u_at);
        }
        return;
    }
    if (t->kind == QAPI_UNION && union_case(t, base)) {
        clear_members(union_case(t, base), base + t->u_at);
    }
    clear_members(t, base);
    if (t->flags & QAPI_OPEN) {
        json_decref(*(json_t **)(base + t->u_at));
    }
}

void qapi_clear(unsigned type, void *slot)
{
    const QapiType *t = &qapi_types[type];

    switch (t->kind) {
    case QAPI_STR:
        g_free(*(char **)slot);
        break;
    case QAPI_ANY:
        json_decref(*(json_t **)slot);
        break;
    case QAPI_STRUCT:
    case QAPI_UNION:
    case QAPI_ALTERNATE:
        qapi_free(type, *(void **)slot);
        break;
    case QAPI_LIST: {
        AnyList *l = slot;
        size_t size = elem_size(&qapi_types[t->elem]);

        for (size_t i = 0; i < l->n; i++) {
            qapi_clear(t->elem, (char *)l->at + i * size);
        }
        g_free(l->at);
        break;
    }
    default:
        break;
    }
    memset(slot, 0, elem_size(t));
}

void qapi_free(unsigned type, void *p)
{
    if (p) {
        clear_struct(&qapi_types[type], p);
        g_free(p);
    }
}

static void default_members(const QapiType *t, char *base)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        if (m->flags & QAPI_DEFAULT) {
            set_default(m, base + m->at);
        }
    }
}

void *qapi_new(unsigned type)
{
    const QapiType *t = &qapi_types[type];
    char *p = g_malloc0(t->size);

    if (t->kind != QAPI_ALTERNATE) {
        default_members(t, p);
        if (t->flags & QAPI_OPEN) {
            *(json_t **)(p + t->u_at) = json_object();
        }
    }
    return p;
}

/* --- writing --- */

static bool member_present(const QapiMember *m, const char *base)
{
    unsigned kind = qapi_types[m->type].kind;

    if (m->has_at != QAPI_NOT) {
        return *(const bool *)(base + m->has_at);
    }
    if (kind == QAPI_STR || kind == QAPI_ANY || (kind >= QAPI_STRUCT && kind <= QAPI_ALTERNATE)) {
        return *(void *const *)(base + m->at) != NULL;
    }
    return true;
}

static void write_members(const QapiType *t, const char *base, GString *out)
{
    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        if (member_present(m, base) || !(m->flags & QAPI_OPTIONAL)) {
            json_write_key(out, text(m->name));
            qapi_write(m->type, base + m->at, out);
        }
    }
}

static void write_struct(const QapiType *t, const char *base, GString *out)
{
    const char *key;
    json_t *v;

    if (t->kind == QAPI_ALTERNATE) {
        unsigned is = *(const unsigned *)base;

        qapi_write(qapi_members[t->first + is].type, base + t->u_at, out);
        return;
    }
    g_string_append_c(out, '{');
    write_members(t, base, out);
    if (t->kind == QAPI_UNION && union_case(t, base)) {
        write_members(union_case(t, base), base + t->u_at, out);
    }
    if (t->flags & QAPI_OPEN) {
        json_object_foreach(*(json_t *const *)(base + t->u_at), key, v) {
            json_write_key(out, key);
            json_write_tree(out, v);
        }
    }
    g_string_append_c(out, '}');
}

static void write_list(const QapiType *t, const AnyList *l, GString *out)
{
    size_t size = elem_size(&qapi_types[t->elem]);

    g_string_append_c(out, '[');
    for (size_t i = 0; i < l->n; i++) {
        json_write_item(out);
        qapi_write(t->elem, (const char *)l->at + i * size, out);
    }
    g_string_append_c(out, ']');
}

static void write_whole(const QapiType *t, const void *in, GString *out)
{
    bool is_signed = t->kind == QAPI_INT;

    switch (t->size) {
    case 1:
        json_write_i64(out, is_signed ? *(const int8_t *)in : *(const uint8_t *)in);
        break;
    case 2:
        json_write_i64(out, is_signed ? *(const int16_t *)in : *(const uint16_t *)in);
        break;
    case 4:
        json_write_i64(out, is_signed ? *(const int32_t *)in : (int64_t)*(const uint32_t *)in);
        break;
    default:
        if (is_signed) {
            json_write_i64(out, *(const int64_t *)in);
        } else {
            json_write_u64(out, *(const uint64_t *)in);
        }
    }
}

void qapi_write(unsigned type, const void *in, GString *out)
{
    const QapiType *t = &qapi_types[type];
    void *p = t->kind == QAPI_STR || t->kind == QAPI_ANY ||
        (t->kind >= QAPI_STRUCT && t->kind <= QAPI_ALTERNATE) ? *(void *const *)in : NULL;

    switch (t->kind) {
    case QAPI_BOOL:
        g_string_append(out, *(const bool *)in ? "true" : "false");
        break;
    case QAPI_NUMBER:
        json_write_number(out, *(const double *)in);
        break;
    case QAPI_STR:
        json_write_str(out, p ? p : "");
        break;
    case QAPI_ANY:
        if (p) {
            json_write_tree(out, p);
        } else {
            g_string_append(out, "null");
        }
        break;
    case QAPI_NULL:
        g_string_append(out, "null");
        break;
    case QAPI_ENUM:
        json_write_str(out, qapi_enum_name(type, *(const unsigned *)in));
        break;
    case QAPI_LIST:
        write_list(t, in, out);
        break;
    case QAPI_STRUCT:
    case QAPI_UNION:
    case QAPI_ALTERNATE:
        if (p) {
            write_struct(t, p, out);
        } else {
            g_string_append(out, "{}");
        }
        break;
    default:
        write_whole(t, in, out);
    }
}

/* --- looking at types --- */

static const char *kind_name(unsigned type)
{
    const QapiType *t = &qapi_types[type];

    switch (t->kind) {
    case QAPI_INT:
    case QAPI_UINT:
    case QAPI_SIZE:
        return "int";
    case QAPI_STR:
        return "string";
    default:
        return text(t->name);
    }
}

void qapi_each_member(unsigned type, int tag, void (*fn)(const char *name, const char *kind, void *arg),
                      void *arg)
{
    const QapiType *t = &qapi_types[type];

    for (unsigned i = 0; i < t->count; i++) {
        const QapiMember *m = &qapi_members[t->first + i];

        fn(text(m->name), kind_name(m->type), arg);
    }
    if (t->kind == QAPI_UNION && tag >= 0 && qapi_cases[t->cases + tag]) {
        qapi_each_member(qapi_cases[t->cases + tag], -1, fn, arg);
    }
}
