/* state.c: device state as bytes and back.
 *
 * 1. A section is  'S' path(str16) type(str8) version(u32) length(u32) records...  and a record is
 *    name(str8) kind(u8) count(u32) value.  Numbers are little-endian; strN is a length of N bits
 *    and the text.  The value of STRUCT is count times length(u32) records...; of PART (a group of
 *    the
 *    same object; count is its version) length(u32) records...; of TIMER an i64, -1: not armed; of
 *    BLOB
 *    @count bytes.  Kind bit 7: who does not know the name may skip it.
 * 2. A part called "slot" is the state of the slot's base struct.
 * 3. The reader trusts nothing: every length is checked against what is left, every name, kind and
 *    count
 *    against the table; recursion follows the table (loading) or a cap (printing). */
#include "core/state.h"

#include <inttypes.h>
#include <string.h>
#include "util/bytes.h"
#include "util/thread.h"

#define SECTION_MARK 'S'
#define KIND_PART 15
#define KIND_SKIP 0x80
#define PRINT_DEPTH 16
#define FIELDS_MAX 1024
#define BLOB_PRINTED 64

/* Bytes of one element; 0: not of fixed size. */
static unsigned kind_size(unsigned kind)
{
    switch (kind) {
    case ST_BOOL:
    case ST_U8:
    case ST_BYTES:
    case ST_BLOB:
        return 1;
    case ST_U16:
        return 2;
    case ST_U32:
    case ST_I32:
        return 4;
    case ST_U64:
    case ST_I64:
    case ST_TIMER:
        return 8;
    default:
        return 0;
    }
}

/* --- saving --- */

static void put_int(GByteArray *out, unsigned n, uint64_t v)
{
    uint8_t raw[8];

    st_n(raw, n, v);
    g_byte_array_append(out, raw, n);
}

static void put_text(GByteArray *out, unsigned len_bytes, const char *text)
{
    size_t n = strlen(text);

    g_assert(n <= ones(len_bytes));
    put_int(out, len_bytes, n);
    g_byte_array_append(out, (const uint8_t *)text, n);
}

static guint begin_length(GByteArray *out)
{
    put_int(out, 4, 0);
    return out->len;
}

static void end_length(GByteArray *out, guint from)
{
    st32(out->data + from - 4, out->len - from);
}

static uint64_t load_element(const void *p, StateKind kind)
{
    switch (kind) {
    case ST_BOOL:
        return *(const bool *)p;
    case ST_U8:
    case ST_BYTES:
        return *(const uint8_t *)p;
    case ST_U16:
        return *(const uint16_t *)p;
    case ST_U32:
    case ST_I32:
        return *(const uint32_t *)p;
    case ST_TIMER:
        return (uint64_t)((const DevTimer *)p)->due;
    default:
        return *(const uint64_t *)p;
    }
}

static void save_desc(const StateDesc *desc, void *obj, GByteArray *out);

static void save_field(const StateField *f, char *obj, GByteArray *out)
{
    char *at = obj + f->at;
    const GByteArray *blob = f->kind == ST_BLOB ? *(GByteArray **)at : NULL;
    size_t count = f->kind == ST_BLOB ? (blob ? blob->len : 0) : f->count;

    put_text(out, 1, f->name);
    put_int(out, 1, f->kind | (f->flags & ST_MAY_SKIP ? KIND_SKIP : 0));
    put_int(out, 4, count);
    if (f->kind == ST_BYTES || f->kind == ST_BLOB) {
        if (count) {
            g_byte_array_append(out, blob ? blob->data : (uint8_t *)at, count);
        }
        return;
    }
    for (size_t i = 0; i < count; i++, at += f->stride) {
        if (f->kind == ST_STRUCT) {
            guint from = begin_length(out);

            save_desc(f->sub, at, out);
            end_length(out, from);
        } else {
            put_int(out, kind_size(f->kind), load_element(at, f->kind));
        }
    }
}

static void save_part(const char *name, const StateDesc *part, void *obj, GByteArray *out)
{
    put_text(out, 1, name);
    put_int(out, 1, KIND_PART);
    put_int(out, 4, part->version);
    guint from = begin_length(out);

    save_desc(part, obj, out);
    end_length(out, from);
}

static void save_desc(const StateDesc *desc, void *obj, GByteArray *out)
{
    if (desc->before_save) {
        desc->before_save(obj);
    }
    for (const StateField *f = desc->fields; f && f->name; f++) {
        save_field(f, obj, out);
    }
    for (const StateDesc *const *p = desc->parts; p && *p; p++) {
        if (!(*p)->present || (*p)->present(obj)) {
            save_part((*p)->name, *p, obj, out);
        }
    }
}

static bool has_state(const Device *d)
{
    return d->realized && (d->type->state || d->type->slot->state);
}

void state_save_device(Device *d, GByteArray *out)
{
    assert_control();
    if (!has_state(d)) {
        return;
    }
    g_autofree char *path = device_path(d);

    put_int(out, 1, SECTION_MARK);
    put_text(out, 2, path);
    put_text(out, 1, d->type->name);
    put_int(out, 4, d->type->state ? d->type->state->version : 0);
    guint from = begin_length(out);

    domain_enter(d->domain);
    if (d->type->slot->state) {
        save_part("slot", d->type->slot->state, d, out);
    }
    if (d->type->state) {
        save_desc(d->type->state, d, out);
    }
    domain_leave(d->domain);
    end_length(out, from);
}

static void save_one(Device *d, void *arg)
{
    state_save_device(d, arg);
}

void state_save_tree(Device *root, GByteArray *out)
{
    device_walk(root, false, save_one, out);
}

/* --- reading --- */

typedef struct Reader {
    const uint8_t *at, *end;
} Reader;

static bool take(Reader *r, size_t n, const uint8_t **out)
{
    if (n > (size_t)(r->end - r->at)) {
        return false;
    }
    *out = r->at;
    r->at += n;
    return true;
}

static bool take_int(Reader *r, unsigned n, uint64_t *v)
{
    const uint8_t *raw;
    bool ok = take(r, n, &raw);

    *v = ok ? ld_n(raw, n) : 0;
    return ok;
}

/* A name: printable, not empty, fits in @size with its end. */
static bool take_text(Reader *r, unsigned len_bytes, char *text, size_t size)
{
    const uint8_t *raw;
    uint64_t n;

    if (!take_int(r, len_bytes, &n) || n == 0 || n >= size || !take(r, n, &raw)) {
        return false;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (raw[i] < 0x20 || raw[i] > 0x7e) {
            return false;
        }
    }
    memcpy(text, raw, n);
    text[n] = 0;
    return true;
}

/* What has a length of 32 bits before it, as a reader of its own. */
static bool take_block(Reader *r, Reader *inside)
{
    uint64_t n;

    if (!take_int(r, 4, &n) || !take(r, n, &inside->at)) {
        return false;
    }
    inside->end = inside->at + n;
    return true;
}

typedef struct Record {
    char name[256];
    unsigned kind;
    bool may_skip;
    uint32_t count;
} Record;

static bool take_record(Reader *r, Record *rec)
{
    uint64_t kind, count;

    if (!take_text(r, 1, rec->name, sizeof(rec->name)) || !take_int(r, 1, &kind) ||
        !take_int(r, 4, &count)) {
        return false;
    }
    rec->kind = kind & ~KIND_SKIP;
    rec->may_skip = kind & KIND_SKIP;
    rec->count = count;
    return rec->kind <= ST_BLOB || rec->kind == KIND_PART;
}

static bool skip_value(Reader *r, const Record *rec)
{
    const uint8_t *raw;
    Reader inside;

    if (rec->kind == KIND_PART) {
        return take_block(r, &inside);
    }
    if (rec->kind != ST_STRUCT) {
        return take(r, (size_t)rec->count * kind_size(rec->kind), &raw);
    }
    for (uint32_t i = 0; i < rec->count; i++) {
        if (!take_block(r, &inside)) {
            return false;
        }
    }
    return true;
}

/* --- loading --- */

static bool store_element(void *p, StateKind kind, uint64_t v)
{
    switch (kind) {
    case ST_BOOL:
        *(bool *)p = v == 1;
        return v <= 1;
    case ST_U8:
        *(uint8_t *)p = v;
        return true;
    case ST_U16:
        *(uint16_t *)p = v;
        return true;
    case ST_U32:
    case ST_I32:
        *(uint32_t *)p = v;
        return true;
    case ST_TIMER:
        if ((int64_t)v < -1) {
            return false;
        }
        if ((int64_t)v == -1) {
            dev_timer_stop(p);
        } else {
            dev_timer_set(p, (int64_t)v);
        }
        return true;
    default:
        *(uint64_t *)p = v;
        return true;
    }
}

static bool load_desc(const StateDesc *desc, void *obj, Reader *r, bool has_slot, Error **errp);

static bool load_blob(GByteArray **blob, const StateField *f, Reader *r, uint32_t count,
                      Error **errp)
{
    const uint8_t *raw;

    if (count > f->count || !take(r, count, &raw)) {
        return error_set(errp, "field '%s': too long", f->name);
    }
    if (!*blob) {
        *blob = g_byte_array_new();
    }
    g_byte_array_set_size(*blob, 0);
    if (count) {
        g_byte_array_append(*blob, raw, count);
    }
    return true;
}

static bool load_structs(const StateField *f, char *at, Reader *r, Error **errp)
{
    Reader inside;

    for (size_t i = 0; i < f->count; i++, at += f->stride) {
        if (!take_block(r, &inside)) {
            return error_set(errp, "field '%s': cut short", f->name);
        }
        if (!load_desc(f->sub, at, &inside, false, errp)) {
            return error_context(errp, "field '%s'[%zu]", f->name, i);
        }
    }
    return true;
}

static bool load_field(const StateField *f, char *obj, const Record *rec, Reader *r, Error **errp)
{
    char *at = obj + f->at;
    const uint8_t *raw;
    unsigned n = kind_size(f->kind);

    if (rec->kind != f->kind) {
        return error_set(errp, "field '%s': of another kind", f->name);
    }
    if (f->kind == ST_BLOB) {
        return load_blob((GByteArray **)at, f, r, rec->count, errp);
    }
    if (rec->count != f->count) {
        return error_set(errp, "field '%s': %u values, not %zu", f->name, rec->count, f->count);
    }
    if (f->kind == ST_STRUCT) {
        return load_structs(f, at, r, errp);
    }
    if (!take(r, f->count * n, &raw)) {
        return error_set(errp, "field '%s': cut short", f->name);
    }
    if (f->kind == ST_BYTES) {
        memcpy(at, raw, f->count);
        return true;
    }
    for (size_t i = 0; i < f->count; i++, at += f->stride) {
        if (!store_element(at, f->kind, ld_n(raw + i * n, n))) {
            return error_set(errp, "field '%s': not a possible value", f->name);
        }
    }
    return true;
}

static bool load_part(const StateDesc *part, void *obj, const Record *rec, Reader *r, Error **errp)
{
    Reader inside;

    if (rec->count != part->version) {
        return error_set(errp, "part '%s' has version %u, this program knows %u", rec->name,
                         rec->count,
                         part->version);
    }
    if (!take_block(r, &inside)) {
        return error_set(errp, "part '%s': cut short", rec->name);
    }
    return load_desc(part, obj, &inside, false, errp) ||
           error_context(errp, "part '%s'", rec->name);
}

static const StateDesc *find_part(const StateDesc *desc, const char *name)
{
    for (const StateDesc *const *p = desc->parts; p && *p; p++) {
        if (strcmp((*p)->name, name) == 0) {
            return *p;
        }
    }
    return NULL;
}

static int find_field(const StateDesc *desc, const char *name)
{
    for (int i = 0; desc->fields && desc->fields[i].name; i++) {
        if (strcmp(desc->fields[i].name, name) == 0) {
            return i < FIELDS_MAX ? i : -1;
        }
    }
    return -1;
}

/* One record of @desc; the fields seen are noted in @seen. */
static bool load_record(const StateDesc *desc, void *obj, Reader *r, bool has_slot, uint8_t *seen,
                        Error **errp)
{
    Record rec;

    if (!take_record(r, &rec)) {
        return error_set(errp, "malformed record");
    }
    if (rec.kind == KIND_PART) {
        bool slot = has_slot && strcmp(rec.name, "slot") == 0;
        const StateDesc *part = slot ? ((Device *)obj)->type->slot->state
                                     : find_part(desc, rec.name);

        if (part) {
            return load_part(part, obj, &rec, r, errp);
        }
    } else {
        int i = find_field(desc, rec.name);

        if (i >= 0 && seen[i]++) {
            return error_set(errp, "field '%s': there twice", rec.name);
        }
        if (i >= 0) {
            return load_field(&desc->fields[i], obj, &rec, r, errp);
        }
    }
    if (!rec.may_skip) {
        return error_set(errp, "field '%s': not known", rec.name);
    }
    return skip_value(r, &rec) || error_set(errp, "field '%s': cut short", rec.name);
}

static bool load_desc(const StateDesc *desc, void *obj, Reader *r, bool has_slot, Error **errp)
{
    uint8_t seen[FIELDS_MAX] = { 0 };

    while (r->at < r->end) {
        if (!load_record(desc, obj, r, has_slot, seen, errp)) {
            return false;
        }
    }
    for (int i = 0; desc->fields && desc->fields[i].name; i++) {
        if (!seen[i] && !(desc->fields[i].flags & ST_MAY_LACK)) {
            return error_set(errp, "field '%s': missing", desc->fields[i].name);
        }
    }
    return !desc->check || desc->check(obj, errp);
}

static bool load_section(Device *d, uint32_t version, Reader *body, Error **errp)
{
    static const StateDesc nothing = { .name = "nothing" };
    const StateDesc *own = d->type->state ? d->type->state : &nothing;

    if (version != own->version) {
        return error_set(errp, "version %u, this program knows %u", version, own->version);
    }
    domain_enter(d->domain);
    bool ok = load_desc(own, d, body, d->type->slot->state != NULL, errp);
    domain_leave(d->domain);
    return ok;
}

typedef struct SectionHead {
    char path[1024], type[256];
    uint64_t version;
    Reader body;
} SectionHead;

static bool take_section(Reader *r, SectionHead *h, Error **errp)
{
    uint64_t mark;

    if (!take_int(r, 1, &mark) || mark != SECTION_MARK ||
        !take_text(r, 2, h->path, sizeof(h->path)) || !take_text(r, 1, h->type, sizeof(h->type)) ||
        !take_int(r, 4, &h->version) || !take_block(r, &h->body)) {
        return error_set(errp, "malformed device state");
    }
    return true;
}

static void note_path(Device *d, void *arg)
{
    if (has_state(d)) {
        g_hash_table_insert(arg, device_path(d), d);
    }
}

static bool load_next(Reader *r, GHashTable *missing, Error **errp)
{
    SectionHead h;

    if (!take_section(r, &h, errp)) {
        return false;
    }
    Device *d = g_hash_table_lookup(missing, h.path);
    if (!d) {
        return error_set(errp, "saved state of '%s': no such device here, or there twice", h.path);
    }
    if (strcmp(d->type->name, h.type) != 0) {
        return error_set(errp, "saved state of '%s': it is a %s, not a %s", h.path, d->type->name,
                         h.type);
    }
    if (!load_section(d, h.version, &h.body, errp)) {
        return error_context(errp, "saved state of '%s'", h.path);
    }
    g_hash_table_remove(missing, h.path);
    return true;
}

bool state_load_tree(Device *root, const uint8_t *buf, size_t n, Error **errp)
{
    g_autoptr(GHashTable) missing = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Reader r = { buf, buf + n };
    GHashTableIter it;
    void *path;

    assert_control();
    device_walk(root, false, note_path, missing);
    while (r.at < r.end) {
        if (!load_next(&r, missing, errp)) {
            return false;
        }
    }
    g_hash_table_iter_init(&it, missing);
    if (g_hash_table_iter_next(&it, &path, NULL)) {
        return error_set(errp, "the saved state of '%s' is missing", (char *)path);
    }
    return true;
}

/* --- printing --- */

static bool print_records(Reader *r, GString *out, unsigned depth);

static bool print_blocks(Reader *r, const Record *rec, GString *out, unsigned depth)
{
    uint32_t n = rec->kind == KIND_PART ? 1 : rec->count;
    Reader inside;

    for (uint32_t i = 0; i < n; i++) {
        if (!take_block(r, &inside)) {
            return false;
        }
        if (rec->kind == KIND_PART) {
            g_string_append_printf(out, "%*s%s (part, version %u)\n", 2 * depth, "", rec->name,
                                   rec->count);
        } else {
            g_string_append_printf(out, "%*s%s[%u]\n", 2 * depth, "", rec->name, i);
        }
        if (!print_records(&inside, out, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool print_values(Reader *r, const Record *rec, GString *out, unsigned depth)
{
    unsigned n = kind_size(rec->kind);
    bool bytes = rec->kind == ST_BYTES || rec->kind == ST_BLOB;
    const uint8_t *raw;

    if (!take(r, (size_t)rec->count * n, &raw)) {
        return false;
    }
    g_string_append_printf(out, "%*s%s =", 2 * depth, "", rec->name);
    for (uint32_t i = 0; i < rec->count; i++) {
        uint64_t v = ld_n(raw + (size_t)i * n, n);

        if (bytes && i == BLOB_PRINTED) {
            g_string_append_printf(out, " ... (%u bytes)", rec->count);
            break;
        }
        if (rec->kind == ST_I32) {
            g_string_append_printf(out, " %" PRId32, (int32_t)v);
        } else if (rec->kind == ST_I64) {
            g_string_append_printf(out, " %" PRId64, (int64_t)v);
        } else if (rec->kind == ST_TIMER && v == UINT64_MAX) {
            g_string_append(out, " not armed");
        } else if (rec->kind == ST_BOOL) {
            g_string_append(out, v ? " true" : " false");
        } else {
            g_string_append_printf(out, bytes ? " %02" PRIx64 : " 0x%" PRIx64, v);
        }
    }
    g_string_append_c(out, '\n');
    return true;
}

static bool print_records(Reader *r, GString *out, unsigned depth)
{
    Record rec;

    while (r->at < r->end) {
        if (depth > PRINT_DEPTH || !take_record(r, &rec)) {
            return false;
        }
        bool nested = rec.kind == ST_STRUCT || rec.kind == KIND_PART;
        bool ok = nested ? print_blocks(r, &rec, out, depth) : print_values(r, &rec, out, depth);
        if (!ok) {
            return false;
        }
    }
    return true;
}

char *state_print(const uint8_t *buf, size_t n, Error **errp)
{
    g_autoptr(GString) out = g_string_new(NULL);
    Reader r = { buf, buf + n };
    SectionHead h;

    while (r.at < r.end) {
        if (!take_section(&r, &h, errp)) {
            return NULL;
        }
        g_string_append_printf(out, "%s (%s, version %" PRIu64 ")\n", h.path, h.type, h.version);
        if (!print_records(&h.body, out, 1)) {
            error_set(errp, "malformed state of '%s'", h.path);
            return NULL;
        }
    }
    return g_strdup(out->str);
}
