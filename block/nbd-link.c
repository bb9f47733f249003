/* nbd-link.c: the client's side of the newstyle negotiation (NBD protocol, "Newstyle negotiation"), and of
 * the oldstyle one.
 *
 * 1. The server is not trusted: every length is checked before it is believed. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "block/nbd-link.h"
#include "block/nbd-proto.h"
#include "util/clock.h"
#include "util/fault.h"

#define REPLIES_MAX 1000       /* of a list: a server that goes on for ever is left */

typedef struct Talk {
    NbdLink *l;
    int64_t deadline;
    uint32_t option;           /* what was asked last */
    /* The last reply. */
    uint32_t type, len;
    uint8_t data[NBD_MAX_OPTION + 1];
} Talk;

/* --- bytes --- */

static ssize_t some(const NbdLink *l, void *buf, size_t n, bool out)
{
    ssize_t got;

    if (FAULT("nbd-handshake")) {
        return -EIO;
    }
    if (l->tls) {
        return out ? tls_send(l->tls, buf, n) : tls_recv(l->tls, buf, n);
    }
    got = out ? send(l->fd, buf, n, MSG_NOSIGNAL) : recv(l->fd, buf, n, 0);
    return got < 0 ? -errno : got;
}

static bool transfer(Talk *t, void *buf, size_t n, bool out, Error **errp)
{
    uint8_t *at = buf;

    while (n) {
        ssize_t got = some(t->l, at, n, out);

        if (got == -EAGAIN || got == -EINTR) {
            if (!socket_wait(t->l->fd, out ? POLLOUT : POLLIN, t->deadline)) {
                return error_set(errp, "The NBD server does not answer");
            }
        } else if (got <= 0) {
            return error_set(errp, got == 0 ? "The NBD server closed the connection"
                                            : "The connection to the NBD server failed: %s",
                             errno_text((int)-got));
        } else {
            at += got;
            n -= got;
        }
    }
    return true;
}

static bool put(Talk *t, const void *buf, size_t n, Error **errp)
{
    return transfer(t, (void *)(uintptr_t)buf, n, true, errp);
}

static bool get(Talk *t, void *buf, size_t n, Error **errp)
{
    return transfer(t, buf, n, false, errp);
}

static uint64_t number(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n--) {
        v = v << 8 | *p++;
    }
    return v;
}

/* --- options --- */

static bool ask(Talk *t, uint32_t option, const GByteArray *data, Error **errp)
{
    uint32_t len = data ? data->len : 0;
    NbdOptionMsg m = { to_be64(NBD_OPTS_MAGIC), to_be32(option), to_be32(len) };

    t->option = option;
    return put(t, &m, sizeof(m), errp) && (!len || put(t, data->data, len, errp));
}

/* The next reply to what was asked; t->data ends with a zero byte. */
static bool answer(Talk *t, Error **errp)
{
    NbdOptionReply r;

    if (!get(t, &r, sizeof(r), errp)) {
        return false;
    }
    t->type = be32(r.type);
    t->len = be32(r.len);
    if (be64(r.magic) != NBD_REP_MAGIC || be32(r.option) != t->option) {
        return error_set(errp, "The NBD server's reply to option %u is none", t->option);
    }
    if (t->len > NBD_MAX_OPTION) {
        return error_set(errp, "The NBD server's reply to option %u is too long", t->option);
    }
    t->data[t->len] = 0;
    return !t->len || get(t, t->data, t->len, errp);
}

static bool refused(const Talk *t, Error **errp)
{
    const char *text = g_utf8_validate((const char *)t->data, t->len, NULL) ? (const char *)t->data : "";

    switch (t->type) {
    case NBD_REP_ERR_UNKNOWN:
        error_set(errp, "Requested export not available");
        break;
    case NBD_REP_ERR_TLS_REQD:
        error_set(errp, "Server requires TLS for option %u", t->option);
        error_hint(errp, "Did you forget a valid tls-creds?");
        break;
    case NBD_REP_ERR_UNSUP:
        error_set(errp, "Server doesn't support option %u", t->option);
        break;
    case NBD_REP_ERR_POLICY:
        error_set(errp, "Denied by server for option %u", t->option);
        break;
    default:
        return error_set(errp, "Server refused option %u with error 0x%x: %s", t->option, t->type, text);
    }
    if (*text) {
        error_hint(errp, "server reported: %s", text);
    }
    return false;
}

static void add32(GByteArray *b, uint32_t v)
{
    Be32 be = to_be32(v);

    g_byte_array_append(b, (const guint8 *)&be, sizeof(be));
}

static void add_string(GByteArray *b, const char *s)
{
    add32(b, (uint32_t)strlen(s));
    g_byte_array_append(b, (const guint8 *)s, (guint)strlen(s));
}

static bool start_tls(Talk *t, const NbdTarget *to, Error **errp)
{
    NbdLink *l = t->l;
    int ret;

    if (!ask(t, NBD_OPT_STARTTLS, NULL, errp) || !answer(t, errp)) {
        return false;
    }
    if (t->type != NBD_REP_ACK) {
        return refused(t, errp) || error_context(errp, "Server does not support TLS");
    }
    l->tls = tls_session_new(to->tls, l->fd, to->tls_hostname, errp);
    if (!l->tls) {
        return false;
    }
    while ((ret = tls_handshake(l->tls, errp)) == -EAGAIN) {
        if (!socket_wait(l->fd, tls_wants_write(l->tls) ? POLLOUT : POLLIN, t->deadline)) {
            return error_set(errp, "The NBD server does not answer");
        }
    }
    return ret == 0;
}

static bool ask_structured(Talk *t, Error **errp)
{
    if (!ask(t, NBD_OPT_STRUCTURED_REPLY, NULL, errp) || !answer(t, errp)) {
        return false;
    }
    t->l->structured = t->type == NBD_REP_ACK;
    return true;
}

/* Calls fn for each context the server names; @query NULL: for all. */
static bool ask_contexts(Talk *t, uint32_t option, const char *name, const char *query,
                         void (*fn)(void *arg, uint32_t id, const char *text), void *arg, Error **errp)
{
    g_autoptr(GByteArray) b = g_byte_array_new();

    add_string(b, name);
    add32(b, query != NULL);
    if (query) {
        add_string(b, query);
    }
    if (!ask(t, option, b, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!answer(t, errp)) {
            return false;
        }
        if (t->type != NBD_REP_META_CONTEXT) {
            return true;       /* the end, or a server that knows no contexts */
        }
        if (t->len < 5 || t->len > 4 + NBD_MAX_STRING) {
            return error_set(errp, "The NBD server's metadata context is malformed");
        }
        fn(arg, (uint32_t)number(t->data, 4), (const char *)t->data + 4);
    }
    return error_set(errp, "The NBD server lists too much");
}

typedef struct Chosen {
    NbdLink *l;
    const char *wanted;
} Chosen;

static void choose_context(void *arg, uint32_t id, const char *text)
{
    const Chosen *c = arg;

    if (strcmp(text, c->wanted) == 0) {
        c->l->has_context = true;
        c->l->context = id;
    }
}

/* Takes a NBD_REP_INFO reply; false: it is malformed. */
static bool take_info(const Talk *t, uint64_t *size, uint16_t *flags, uint32_t *blocks, char **description)
{
    uint64_t type = t->len >= 2 ? number(t->data, 2) : UINT64_MAX;

    if (type == NBD_INFO_EXPORT && t->len == 12) {
        *size = number(t->data + 2, 8);
        *flags = (uint16_t)number(t->data + 10, 2);
    } else if (type == NBD_INFO_BLOCK_SIZE && t->len == 14) {
        for (unsigned i = 0; i < 3; i++) {
            blocks[i] = (uint32_t)number(t->data + 2 + 4 * i, 4);
        }
    } else if (type == NBD_INFO_DESCRIPTION && description) {
        g_free(*description);
        *description = g_strdup((const char *)t->data + 2);
    } else {
        return type != NBD_INFO_EXPORT && type != NBD_INFO_BLOCK_SIZE && type != UINT64_MAX;
    }
    return true;
}

/* NBD_OPT_INFO or _GO; *@known false: the server does not know these options. */
static bool ask_info(Talk *t, uint32_t option, const char *name, NbdListed *out, bool *known, Error **errp)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    uint32_t blocks[3] = { 0 };
    const uint8_t wants[6] = { 0, 2, 0, NBD_INFO_DESCRIPTION, 0, NBD_INFO_BLOCK_SIZE };

    add_string(b, name);
    g_byte_array_append(b, wants, sizeof(wants));
    out->flags = 0;
    *known = false;
    if (!ask(t, option, b, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!answer(t, errp)) {
            return false;
        }
        if (t->type == NBD_REP_ACK) {
            out->min_block = blocks[0];
            out->preferred_block = blocks[1];
            out->max_block = blocks[2];
            *known = true;
            return (out->flags & NBD_FLAG_HAS_FLAGS) || error_set(errp, "The NBD server told no size");
        }
        if (t->type == NBD_REP_ERR_UNSUP) {
            return true;
        }
        if (t->type != NBD_REP_INFO) {
            return refused(t, errp);
        }
        if (!take_info(t, &out->size, &out->flags, blocks, &out->description)) {
            return error_set(errp, "The NBD server's information is malformed");
        }
    }
    return error_set(errp, "The NBD server tells too much");
}

static bool ask_export_name(Talk *t, const char *name, bool no_zeroes, Error **errp)
{
    g_autoptr(GByteArray) b = g_byte_array_new();
    uint8_t end[10 + 124];

    g_byte_array_append(b, (const guint8 *)name, (guint)strlen(name));
    if (!ask(t, NBD_OPT_EXPORT_NAME, b, errp) || !get(t, end, no_zeroes ? 10 : sizeof(end), errp)) {
        return false;
    }
    t->l->size = number(end, 8);
    t->l->flags = (uint16_t)number(end + 8, 2);
    return true;
}

/* --- the whole --- */

enum { GREETED_OLD, GREETED_NEW, GREETED_FIXED, GREETED_NOT };

/* The server's greeting and our flags. */
static int greet(Talk *t, bool *no_zeroes, Error **errp)
{
    uint8_t hello[16], rest[136];

    if (!get(t, hello, sizeof(hello), errp)) {
        return GREETED_NOT;
    }
    if (number(hello, 8) != NBD_MAGIC) {
        error_set(errp, "Bad initial magic received: 0x%016" PRIx64, number(hello, 8));
        return GREETED_NOT;
    }
    if (number(hello + 8, 8) == NBD_OLD_MAGIC) {
        if (!get(t, rest, sizeof(rest), errp)) {
            return GREETED_NOT;
        }
        t->l->size = number(rest, 8);
        t->l->flags = (uint16_t)number(rest + 10, 2);
        return GREETED_OLD;
    }
    if (number(hello + 8, 8) != NBD_OPTS_MAGIC) {
        error_set(errp, "Bad server magic received: 0x%016" PRIx64, number(hello + 8, 8));
        return GREETED_NOT;
    }
    if (!get(t, rest, 2, errp)) {
        return GREETED_NOT;
    }
    uint32_t ours = (uint32_t)number(rest, 2) & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES);
    Be32 be = to_be32(ours);
    *no_zeroes = ours & NBD_FLAG_NO_ZEROES;
    return !put(t, &be, sizeof(be), errp) ? GREETED_NOT
           : ours & NBD_FLAG_FIXED_NEWSTYLE ? GREETED_FIXED : GREETED_NEW;
}

static bool choose(Talk *t, const NbdTarget *to, bool no_zeroes, Error **errp)
{
    NbdLink *l = t->l;
    NbdListed info = { 0 };
    Chosen c = { l, to->context };
    bool known = false;

    if ((to->tls && !start_tls(t, to, errp)) || (!to->plain && !ask_structured(t, errp))) {
        return false;
    }
    if (t->type == NBD_REP_ERR_TLS_REQD) {
        return refused(t, errp);
    }
    if (l->structured &&
        !ask_contexts(t, NBD_OPT_SET_META_CONTEXT, to->name, to->context, choose_context, &c, errp)) {
        return false;
    }
    bool ok = ask_info(t, NBD_OPT_GO, to->name, &info, &known, errp);
    g_free(info.description);
    if (!ok || !known) {
        return ok && ask_export_name(t, to->name, no_zeroes, errp);
    }
    l->size = info.size;
    l->flags = info.flags;
    l->min_block = info.min_block;
    l->max_block = info.max_block;
    return true;
}

static bool negotiate(Talk *t, const NbdTarget *to, Error **errp)
{
    bool no_zeroes = false;
    NbdLink *l = t->l;
    int how = greet(t, &no_zeroes, errp);

    if (how == GREETED_NOT || (how == GREETED_FIXED && !choose(t, to, no_zeroes, errp))) {
        return false;
    }
    if (how != GREETED_FIXED && to->tls) {
        return error_set(errp, "Server does not support STARTTLS");
    }
    if (how == GREETED_NEW && !ask_export_name(t, to->name, no_zeroes, errp)) {
        return false;
    }
    if (how == GREETED_OLD && *to->name) {
        return error_set(errp, "Server does not support non-empty export names");
    }
    l->min_block = l->min_block ? l->min_block : 1;
    l->max_block = l->max_block ? MIN(l->max_block, NBD_MAX_PAYLOAD) : NBD_MAX_PAYLOAD;
    if ((l->min_block & (l->min_block - 1)) || l->min_block > 64 * 1024 || l->max_block < l->min_block ||
        l->max_block < 512) {
        return error_set(errp, "The NBD server's block sizes (%u, %u) make no sense", l->min_block,
                         l->max_block);
    }
    if (l->size > INT64_MAX - 511) {
        return error_set(errp, "The NBD export is too large");
    }
    l->max_block = ALIGN_DOWN(l->max_block, MAX(l->min_block, 512));
    return true;
}

bool nbd_link_adopt(NbdLink *l, int take_fd, const NbdTarget *to, int64_t deadline_ns, Error **errp)
{
    g_autofree Talk *t = g_new0(Talk, 1);

    *l = (NbdLink){ .fd = take_fd };
    t->l = l;
    t->deadline = deadline_ns;
    if (negotiate(t, to, errp)) {
        return true;
    }
    tls_session_free(l->tls);
    close(l->fd);
    l->fd = -1;
    return false;
}

bool nbd_link_open(NbdLink *l, const NbdTarget *t, int64_t deadline_ns, Error **errp)
{
    int fd = socket_connect(&t->peer, deadline_ns, errp);

    l->fd = -1;
    return fd >= 0 && nbd_link_adopt(l, fd, t, deadline_ns, errp);
}

void nbd_link_close(NbdLink *l)
{
    NbdRequestMsg bye = { .magic = to_be32(NBD_REQUEST_MAGIC), .type = to_be16(NBD_CMD_DISC) };

    if (l->fd < 0) {
        return;
    }
    if (some(l, &bye, sizeof(bye), true) < 0) {
        /* it will see the connection end */
    }
    tls_session_free(l->tls);
    close(l->fd);
    l->fd = -1;
}

/* --- listing --- */

static bool take_listed(const Talk *t, GArray *list, Error **errp)
{
    uint64_t n = t->len >= 4 ? number(t->data, 4) : UINT64_MAX;
    NbdListed e = { 0 };

    if (n > t->len - 4 || n > NBD_MAX_STRING) {
        return error_set(errp, "The NBD server's list is malformed");
    }
    e.name = g_strndup((const char *)t->data + 4, n);
    e.description = t->len > 4 + n ? g_strndup((const char *)t->data + 4 + n, t->len - 4 - n) : NULL;
    g_array_append_val(list, e);
    return true;
}

static void add_context(void *arg, uint32_t id, const char *text)
{
    g_ptr_array_add(arg, g_strdup(text));
}

static bool list_all(Talk *t, const NbdTarget *to, GArray *list, Error **errp)
{
    bool no_zeroes;
    int how = greet(t, &no_zeroes, errp);

    if (how == GREETED_NOT) {
        return false;
    }
    if (how != GREETED_FIXED) {
        return error_set(errp, "The NBD server does not list its exports");
    }
    if ((to->tls && !start_tls(t, to, errp)) || !ask_structured(t, errp) ||
        !ask(t, NBD_OPT_LIST, NULL, errp)) {
        return false;
    }
    for (unsigned i = 0; i < REPLIES_MAX; i++) {
        if (!answer(t, errp)) {
            return false;
        }
        if (t->type == NBD_REP_ACK) {
            break;
        }
        if (t->type != NBD_REP_SERVER) {
            return refused(t, errp);
        }
        if (!take_listed(t, list, errp)) {
            return false;
        }
    }
    for (unsigned i = 0; i < list->len; i++) {
        NbdListed *e = &g_array_index(list, NbdListed, i);
        g_autoptr(GPtrArray) contexts = g_ptr_array_new();

        bool ok = ask_info(t, NBD_OPT_INFO, e->name, e, &e->known, errp) &&
                  (!t->l->structured || ask_contexts(t, NBD_OPT_LIST_META_CONTEXT, e->name, NULL, add_context,
                                                     contexts, errp));

        g_ptr_array_add(contexts, NULL);
        e->contexts = (char **)g_ptr_array_steal(contexts, NULL);
        if (!ok) {
            return false;
        }
    }
    return ask(t, NBD_OPT_ABORT, NULL, errp);
}

GArray *nbd_list(const NbdTarget *to, int64_t deadline_ns, Error **errp)
{
    int fd = socket_connect(&to->peer, deadline_ns, errp);

    if (fd < 0) {
        return NULL;
    }
    NbdLink l = { .fd = fd };
    g_autofree Talk *t = g_new0(Talk, 1);
    GArray *list = g_array_new(false, true, sizeof(NbdListed));
    t->l = &l;
    t->deadline = deadline_ns;
    bool ok = list_all(t, to, list, errp);
    tls_session_free(l.tls);
    close(fd);
    if (!ok) {
        nbd_list_free(list);
        return NULL;
    }
    return list;
}

void nbd_list_free(GArray *list)
{
    for (unsigned i = 0; i < list->len; i++) {
        NbdListed *e = &g_array_index(list, NbdListed, i);

        g_free(e->name);
        g_free(e->description);
        g_strfreev(e->contexts);
    }
    g_array_free(list, true);
}
