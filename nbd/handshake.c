/* handshake.c: the server's side of the newstyle negotiation (NBD protocol, "Newstyle negotiation").
 *
 * 1. What a client sends is looked at when all of it is there; more than NBD_MAX_OPTION bytes are skipped and
 *    refused.
 * 2. With TLS demanded, nothing but NBD_OPT_STARTTLS and NBD_OPT_ABORT is answered before it is there. */
#include <string.h>
#include "nbd/conn-int.h"

/* A cursor over an option's data; a read past the end makes it bad. */
typedef struct Cursor {
    const uint8_t *at, *end;
    bool bad;
} Cursor;

static const uint8_t *take(Cursor *p, size_t n)
{
    const uint8_t *at = p->at;

    if (p->bad || (size_t)(p->end - p->at) < n) {
        p->bad = true;
        return NULL;
    }
    p->at += n;
    return at;
}

static uint32_t take32(Cursor *p)
{
    const uint8_t *at = take(p, 4);
    Be32 v = { 0 };

    if (at) {
        memcpy(&v, at, 4);
    }
    return be32(v);
}

static uint16_t take16(Cursor *p)
{
    const uint8_t *at = take(p, 2);
    Be16 v = { 0 };

    if (at) {
        memcpy(&v, at, 2);
    }
    return be16(v);
}

/* A string with its length before it, owned by the caller; NULL: it is not one. */
static char *take_string(Cursor *p)
{
    uint32_t n = take32(p);
    const uint8_t *at = n <= NBD_MAX_STRING ? take(p, n) : NULL;

    p->bad |= at == NULL || memchr(at, 0, n) != NULL;
    return p->bad ? NULL : g_strndup((const char *)at, n);
}

/* --- saying --- */

static void say(NbdConn *c, const void *bytes, size_t n)
{
    g_byte_array_append(c->said, bytes, (guint)n);
}

static void say16(GByteArray *b, uint16_t v)
{
    Be16 be = to_be16(v);

    g_byte_array_append(b, (const guint8 *)&be, 2);
}

static void say32(GByteArray *b, uint32_t v)
{
    Be32 be = to_be32(v);

    g_byte_array_append(b, (const guint8 *)&be, 4);
}

static void say64(GByteArray *b, uint64_t v)
{
    Be64 be = to_be64(v);

    g_byte_array_append(b, (const guint8 *)&be, 8);
}

static void reply(NbdConn *c, uint32_t option, uint32_t type, const void *data, size_t n)
{
    NbdOptionReply r = { to_be64(NBD_REP_MAGIC), to_be32(option), to_be32(type), to_be32((uint32_t)n) };

    say(c, &r, sizeof(r));
    say(c, data, n);
}

static void ack(NbdConn *c, uint32_t option)
{
    reply(c, option, NBD_REP_ACK, NULL, 0);
}

static void refuse(NbdConn *c, uint32_t option, uint32_t type, const char *why)
{
    reply(c, option, type, why, strlen(why));
}

void nbd_handshake_begin(NbdConn *c)
{
    say64(c->said, NBD_MAGIC);
    say64(c->said, NBD_OPTS_MAGIC);
    say16(c->said, NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
}

/* --- exports --- */

uint16_t nbd_export_flags(const NbdExport *e, bool structured)
{
    return NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH | NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE |
           (e->writable ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES | NBD_FLAG_SEND_FAST_ZERO
                        : NBD_FLAG_READ_ONLY) |
           (e->multi_conn ? NBD_FLAG_CAN_MULTI_CONN : 0) | (structured ? NBD_FLAG_SEND_DF : 0);
}

typedef struct Find {
    const char *name;
    void (*fn)(const NbdExport *e, void *arg);
    void *arg;
    bool found;
} Find;

static void find_each(const NbdExport *e, void *arg)
{
    Find *f = arg;

    if (strcmp(e->name, f->name) == 0) {
        f->found = true;
        f->fn(e, f->arg);
    }
}

/* Calls fn for the export @name, which stays there meanwhile; false: there is none. */
static bool with_export(NbdConn *c, const char *name, void (*fn)(const NbdExport *e, void *arg), void *arg)
{
    Find f = { name, fn, arg, false };

    nbd_exports_each(c->server, find_each, &f);
    return f.found;
}

static void to_requests(NbdConn *c)
{
    c->state = CONN_REQUESTS;
    timer_stop(&c->patience);
    if (c->meta_name && strcmp(c->meta_name, c->exp->name) != 0) {
        c->contexts = 0;       /* they were asked for of another export */
    }
}

static void do_export_name(NbdConn *c, Cursor *p)
{
    size_t n = p->end - p->at;
    static const uint8_t zeroes[124];
    g_autofree char *name = g_strndup((const char *)p->at, n);

    /* There is no way to refuse but to hang up. */
    if (n > NBD_MAX_STRING || strlen(name) != n || (nbd_server_tls(c->server) && !c->tls) ||
        !nbd_export_choose(c, name)) {
        nbd_conn_close(c);
        return;
    }
    say64(c->said, nbd_export_size(c->exp));
    say16(c->said, nbd_export_flags(c->exp, c->structured));
    if (!c->no_zeroes) {
        say(c, zeroes, sizeof(zeroes));
    }
    to_requests(c);
}

static void list_one(const NbdExport *e, void *arg)
{
    NbdConn *c = arg;
    g_autoptr(GByteArray) b = g_byte_array_new();

    say32(b, (uint32_t)strlen(e->name));
    g_byte_array_append(b, (const guint8 *)e->name, (guint)strlen(e->name));
    if (e->description) {
        g_byte_array_append(b, (const guint8 *)e->description, (guint)strlen(e->description));
    }
    reply(c, NBD_OPT_LIST, NBD_REP_SERVER, b->data, b->len);
}

static void do_list(NbdConn *c, Cursor *p)
{
    if (p->at != p->end) {
        refuse(c, NBD_OPT_LIST, NBD_REP_ERR_INVALID, "a list takes no data");
        return;
    }
    nbd_exports_each(c->server, list_one, c);
    ack(c, NBD_OPT_LIST);
}

typedef struct Info {
    NbdConn *c;
    uint32_t option;
    unsigned asked;            /* bits of NBD_INFO_... */
} Info;

static void say_info(const Info *i, uint16_t type, const void *data, size_t n)
{
    g_autoptr(GByteArray) b = g_byte_array_new();

    say16(b, type);
    g_byte_array_append(b, data, (guint)n);
    reply(i->c, i->option, NBD_REP_INFO, b->data, b->len);
}

static void info_one(const NbdExport *e, void *arg)
{
    const Info *i = arg;
    Be64 size = to_be64(nbd_export_size(e));
    Be16 flags = to_be16(nbd_export_flags(e, i->c->structured));
    Be32 sizes[3] = { to_be32(1), to_be32(e->preferred), to_be32(NBD_MAX_PAYLOAD) };
    uint8_t both[10];

    memcpy(both, &size, 8);
    memcpy(both + 8, &flags, 2);
    if (i->asked & 1 << NBD_INFO_NAME) {
        say_info(i, NBD_INFO_NAME, e->name, strlen(e->name));
    }
    if ((i->asked & 1 << NBD_INFO_DESCRIPTION) && e->description) {
        say_info(i, NBD_INFO_DESCRIPTION, e->description, strlen(e->description));
    }
    say_info(i, NBD_INFO_BLOCK_SIZE, sizes, sizeof(sizes));
    say_info(i, NBD_INFO_EXPORT, both, sizeof(both));
}

static void do_info(NbdConn *c, uint32_t option, Cursor *p)
{
    g_autofree char *name = take_string(p);
    Info i = { .c = c, .option = option };

    for (unsigned n = take16(p); n && !p->bad; n--) {
        uint16_t type = take16(p);

        i.asked |= type <= NBD_INFO_BLOCK_SIZE ? 1u << type : 0;
    }
    if (p->bad || p->at != p->end) {
        refuse(c, option, NBD_REP_ERR_INVALID, "malformed request");
    } else if (!with_export(c, name, info_one, &i) || (option == NBD_OPT_GO && !nbd_export_choose(c, name))) {
        g_autofree char *why = g_strdup_printf("export '%.256s' not present", name);

        refuse(c, option, NBD_REP_ERR_UNKNOWN, why);
    } else {
        ack(c, option);
        if (option == NBD_OPT_GO) {
            to_requests(c);
        }
    }
}

/* --- metadata contexts --- */

typedef struct Meta {
    NbdConn *c;
    bool set;
    Cursor queries;
    uint32_t count;
    uint64_t contexts;         /* bits found */
    bool bad;
} Meta;

static char *context_name(const NbdExport *e, unsigned id)
{
    return id == CONTEXT_ALLOCATION ? g_strdup("base:allocation")
           : id == CONTEXT_DEPTH ? g_strdup("qemu:allocation-depth")
           : g_strdup_printf("qemu:dirty-bitmap:%s", e->bitmap_names[id - CONTEXT_BITMAPS]);
}

/* "base:" and the like list what is in the name space; "set" wants the whole name. */
static bool query_matches(const char *query, const char *name, bool set)
{
    return strcmp(query, name) == 0 ||
           (!set && g_str_has_suffix(query, ":") && g_str_has_prefix(name, query));
}

static void meta_one(const NbdExport *e, void *arg)
{
    Meta *m = arg;
    unsigned ids = CONTEXT_BITMAPS + e->bitmaps->len;
    uint64_t known = 0;

    for (unsigned id = 0; id < ids; id++) {
        known |= id != CONTEXT_DEPTH || e->depth ? UINT64_C(1) << id : 0;
    }
    m->contexts = m->count == 0 && !m->set ? known : 0;
    for (uint32_t q = 0; q < m->count && !m->queries.bad; q++) {
        g_autofree char *query = take_string(&m->queries);

        for (unsigned id = 0; query && id < ids; id++) {
            g_autofree char *name = context_name(e, id);

            if ((known >> id & 1) && query_matches(query, name, m->set)) {
                m->contexts |= UINT64_C(1) << id;
            }
        }
    }
    m->bad = m->queries.bad || m->queries.at != m->queries.end;
    for (unsigned id = 0; id < ids && !m->bad; id++) {
        if (m->contexts >> id & 1) {
            g_autofree char *name = context_name(e, id);
            g_autoptr(GByteArray) b = g_byte_array_new();

            say32(b, id);
            g_byte_array_append(b, (const guint8 *)name, (guint)strlen(name));
            reply(m->c, m->set ? NBD_OPT_SET_META_CONTEXT : NBD_OPT_LIST_META_CONTEXT, NBD_REP_META_CONTEXT,
                  b->data, b->len);
        }
    }
}

static void do_meta(NbdConn *c, uint32_t option, Cursor *p)
{
    Meta m = { .c = c, .set = option == NBD_OPT_SET_META_CONTEXT };
    g_autofree char *name = take_string(p);

    m.count = take32(p);
    m.queries = *p;
    if (m.set) {
        c->contexts = 0;
        g_clear_pointer(&c->meta_name, g_free);
    }
    if (!c->structured) {
        refuse(c, option, NBD_REP_ERR_INVALID, "structured replies come first");
    } else if (p->bad) {
        refuse(c, option, NBD_REP_ERR_INVALID, "malformed request");
    } else if (!with_export(c, name, meta_one, &m)) {
        refuse(c, option, NBD_REP_ERR_UNKNOWN, "export not present");
    } else if (m.bad) {
        refuse(c, option, NBD_REP_ERR_INVALID, "malformed query");
    } else {
        if (m.set) {
            c->contexts = m.contexts;
            c->meta_name = g_steal_pointer(&name);
        }
        ack(c, option);
    }
}

/* --- options --- */

static void do_starttls(NbdConn *c, Cursor *p)
{
    if (p->at != p->end) {
        refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, "TLS takes no data");
    } else if (c->tls) {
        refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_INVALID, "TLS is there already");
    } else if (!nbd_server_tls(c->server)) {
        refuse(c, NBD_OPT_STARTTLS, NBD_REP_ERR_POLICY, "TLS not configured");
    } else {
        ack(c, NBD_OPT_STARTTLS);
        c->wants_tls = true;
        c->structured = false;     /* nothing said in the clear holds */
        c->contexts = 0;
        g_clear_pointer(&c->meta_name, g_free);
    }
}

static void do_option(NbdConn *c, uint32_t option, Cursor *p)
{
    if (nbd_server_tls(c->server) && !c->tls && option != NBD_OPT_STARTTLS && option != NBD_OPT_ABORT &&
        option != NBD_OPT_EXPORT_NAME) {
        refuse(c, option, NBD_REP_ERR_TLS_REQD, "TLS is required");
        return;
    }
    switch (option) {
    case NBD_OPT_EXPORT_NAME:
        do_export_name(c, p);
        break;
    case NBD_OPT_ABORT:
        ack(c, option);
        c->closing = true;
        break;
    case NBD_OPT_LIST:
        do_list(c, p);
        break;
    case NBD_OPT_STARTTLS:
        do_starttls(c, p);
        break;
    case NBD_OPT_INFO:
    case NBD_OPT_GO:
        do_info(c, option, p);
        break;
    case NBD_OPT_STRUCTURED_REPLY:
        if (p->at != p->end || c->structured) {
            refuse(c, option, NBD_REP_ERR_INVALID, "structured replies take no data, once");
        } else {
            c->structured = true;
            ack(c, option);
        }
        break;
    case NBD_OPT_LIST_META_CONTEXT:
    case NBD_OPT_SET_META_CONTEXT:
        do_meta(c, option, p);
        break;
    default:
        refuse(c, option, NBD_REP_ERR_UNSUP, "unsupported option");
        break;
    }
}

static bool client_flags(NbdConn *c, size_t there)
{
    Be32 be;

    if (there < sizeof(be)) {
        return false;
    }
    memcpy(&be, c->in + c->in_from, sizeof(be));
    c->in_from += sizeof(be);
    if (be32(be) & ~(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES)) {
        nbd_conn_close(c);
        return true;
    }
    c->fixed = be32(be) & NBD_FLAG_FIXED_NEWSTYLE;
    c->no_zeroes = be32(be) & NBD_FLAG_NO_ZEROES;
    c->state = CONN_OPTIONS;
    return true;
}

bool nbd_handshake_step(NbdConn *c)
{
    size_t there = c->in_to - c->in_from;
    const uint8_t *at = c->in + c->in_from;
    NbdOptionMsg m;

    if (c->state == CONN_HELLO) {
        return client_flags(c, there);
    }
    if (there < sizeof(m)) {
        return false;
    }
    memcpy(&m, at, sizeof(m));
    uint32_t option = be32(m.option), len = be32(m.len);
    if (be64(m.magic) != NBD_OPTS_MAGIC || (!c->fixed && option != NBD_OPT_EXPORT_NAME)) {
        nbd_conn_close(c);
        return true;
    }
    if (len > NBD_MAX_OPTION) {
        c->in_from += sizeof(m);
        c->skip = len;
        if (option == NBD_OPT_EXPORT_NAME) {
            nbd_conn_close(c);
        } else {
            refuse(c, option, NBD_REP_ERR_TOO_BIG, "too much data");
        }
        return true;
    }
    if (there < sizeof(m) + len) {
        return false;
    }
    Cursor p = { at + sizeof(m), at + sizeof(m) + len, false };
    c->in_from += sizeof(m) + len;
    do_option(c, option, &p);
    return true;
}
