/* blkdebug.c: a filter that makes requests fail by rules, and keeps them within limits it is told.
 *
 *   event --> rules of that event and state: errors that lie in wait, a new state
 *   request --> an error lies in wait for its kind and place? it fails; else it goes down
 *
 * 1. Events come from formats above (blk_event()) and from the requests that pass; each one that has errors
 *    puts them in the place of those that lay in wait before.
 * 2. What does not keep the alignment or is too large goes down in pieces, on a thread of its own. */
#include "block/blkdebug.h"

#include <inttypes.h>
#include "block/block-int.h"
#include "block/filter.h"
#include "qapi/json.h"
#include "qapi/types.h"
#include "util/bytes.h"

typedef struct Rule {
    BlkdebugEvent event;
    int64_t state;             /* 0: any */
    bool set_state, once, waits, gone;
    int64_t new_state;
    int error;
    unsigned ops;              /* bit: BlkOp; BLK_OPS: status */
    int64_t sector;            /* -1: anywhere */
} Rule;

typedef struct Blkdebug {
    Loop *worker;
    Lock lock;                 /* guards rules and state */
    GArray *rules;
    int64_t state;
    Gate gate;
    Breaks breaks;
    uint64_t align, max_transfer, opt_zero, max_zero, opt_discard, max_discard;    /* 0: no limit */
} Blkdebug;

/* --- rules --- */

static void event_locked(Blkdebug *d, BlkdebugEvent event)
{
    int64_t state = d->state, new_state = state;
    bool first = true;

    for (unsigned i = 0; i < d->rules->len; i++) {
        Rule *r = &g_array_index(d->rules, Rule, i);

        if (r->gone || r->event != event || (r->state && r->state != state)) {
            continue;
        }
        if (r->set_state) {
            new_state = r->new_state;
            continue;
        }
        for (unsigned j = 0; first && j < d->rules->len; j++) {
            g_array_index(d->rules, Rule, j).waits = false;
        }
        first = false;
        r->waits = true;
    }
    d->state = new_state;
}

void blk_event_slow(BlkNode *n, BlkdebugEvent event)
{
    Blkdebug *d = n->state;

    lock_take(&d->lock);
    event_locked(d, event);
    lock_drop(&d->lock);
    if (breaks_any(&d->breaks)) {
        breaks_wait(&d->breaks, event);
    }
}

Breaks *blkdebug_breaks(BlkNode *n)
{
    return &((Blkdebug *)n->state)->breaks;
}

/* The error that waits for such a request, or 0. */
static int injected(Blkdebug *d, unsigned op, uint64_t off, uint64_t len)
{
    int error = 0;

    lock_take(&d->lock);
    for (unsigned i = 0; i < d->rules->len && !error; i++) {
        Rule *r = &g_array_index(d->rules, Rule, i);
        uint64_t at = (uint64_t)r->sector * 512;
        bool here = r->sector < 0 || op == BLK_FLUSH || (at >= off && at < off + len);

        if (r->waits && !r->gone && r->ops >> op & 1 && here) {
            error = r->error;
            r->gone = r->once;
        }
    }
    lock_drop(&d->lock);
    return error;
}

static bool add_rules(Blkdebug *d, const BlkdebugRules *own, Error **errp)
{
    static const unsigned ops[] = {
        [BLKDEBUG_IO_TYPE_READ] = 1 << BLK_READ, [BLKDEBUG_IO_TYPE_WRITE] = 1 << BLK_WRITE,
        [BLKDEBUG_IO_TYPE_WRITE_ZEROES] = 1 << BLK_ZERO, [BLKDEBUG_IO_TYPE_DISCARD] = 1 << BLK_DISCARD,
        [BLKDEBUG_IO_TYPE_FLUSH] = 1 << BLK_FLUSH, [BLKDEBUG_IO_TYPE_BLOCK_STATUS] = 1 << BLK_OPS,
    };
    /* What is not said is everything a guest notices. */
    const unsigned common = 1 << BLK_READ | 1 << BLK_WRITE | 1 << BLK_ZERO | 1 << BLK_DISCARD |
                            1 << BLK_FLUSH;

    for (unsigned i = 0; i < own->inject_error.n; i++) {
        const BlkdebugInjectErrorOptions *e = own->inject_error.at[i];
        Rule r = { .event = e->event, .state = e->has_state ? e->state : 0, .once = e->once,
                   .ops = e->has_iotype ? ops[e->iotype] : common, .sector = e->has_sector ? e->sector : -1 };

        if (e->errno_ <= 0 || e->errno_ > 4095) {
            return error_set(errp, "Parameter 'errno' expects an error number, not %" PRId64, e->errno_);
        }
        r.error = -(int)e->errno_;
        g_array_append_val(d->rules, r);
    }
    for (unsigned i = 0; i < own->set_state.n; i++) {
        const BlkdebugSetStateOptions *s = own->set_state.at[i];
        Rule r = { .event = s->event, .state = s->has_state ? s->state : 0, .set_state = true,
                   .new_state = s->new_state };

        g_array_append_val(d->rules, r);
    }
    return true;
}

/* --- the file of rules --- */

static char *unquoted(const char *text)
{
    g_autofree char *v = g_strstrip(g_strdup(text));
    size_t n = strlen(v);

    return n >= 2 && v[0] == '"' && v[n - 1] == '"' ? g_strndup(v + 1, n - 2) : NULL;
}

/* "[inject-error]" and "[set-state]", then lines: key = "value". */
static json_t *read_config(const char *text, Error **errp)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autoptr(json_t) all = json_pack("{s:[],s:[]}", "inject-error", "set-state");
    json_t *group = NULL;

    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]), *equals = strchr(line, '=');

        if (!*line || *line == '#') {
            continue;
        }
        if (*line == '[') {
            size_t n = strlen(line);
            g_autofree char *name = g_strndup(line + 1, n - 1 - (line[n - 1] == ']'));
            json_t *list = json_object_get(all, name);

            if (!list) {
                error_set(errp, "There is no option group '%s'", name);
                return NULL;
            }
            group = json_object();
            json_array_append_new(list, group);
            continue;
        }
        g_autofree char *value = equals ? unquoted(equals + 1) : NULL;
        if (!group || !value) {
            error_set(errp, "blkdebug config file: line %u: expected key = \"value\" in a group", i + 1);
            return NULL;
        }
        *equals = '\0';
        json_t *string = json_string(value);
        if (!string) {
            error_set(errp, "blkdebug config file: line %u is no UTF-8", i + 1);
            return NULL;
        }
        json_object_set_new(group, g_strstrip(line), string);
    }
    return g_steal_pointer(&all);
}

static bool add_config(Blkdebug *d, const char *path, Error **errp)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) err = NULL;
    g_autoptr(BlkdebugRules) rules = NULL;

    if (!g_file_get_contents(path, &text, NULL, &err)) {
        return error_set(errp, "Could not read blkdebug config file: %s", err->message);
    }
    g_autoptr(json_t) tree = read_config(text, errp);
    return tree && qapi_visit_blkdebug_rules(tree, QAPI_KEYVAL, &rules, errp) && add_rules(d, rules, errp);
}

/* --- requests --- */

static int down(FilterPass *p, BlkOp op, uint64_t off, void *buf, uint64_t len)
{
    Blkdebug *d = p->node->state;
    int error = injected(d, p->up->op, off, len);

    return error ? error : blk_blocking(p->node->child, op, p->up->flags, off, buf, len);
}

/* Reads or writes whole blocks, as much at a time as may be. */
static int transfer(FilterPass *p, uint64_t from, uint64_t to, uint8_t *buf)
{
    const Blkdebug *d = p->node->state;
    const BlkReq *up = p->up;
    uint64_t most = d->max_transfer ? d->max_transfer : to - from;
    uint64_t align = d->align, tail = ALIGN_DOWN(to - 1, align);
    int ret = 0;

    if (up->op == BLK_WRITE) {
        if (from < up->pos) {
            ret = blk_pread(p->node->child, from, buf, align);
        }
        if (ret == 0 && up->pos + up->left < to && (tail > from || from == up->pos)) {
            ret = blk_pread(p->node->child, tail, buf + (tail - from), to - tail);
        }
        blk_iov_read(up->cur, up->ncur, 0, buf + (up->pos - from), up->left);
    }
    for (uint64_t at = from; ret == 0 && at < to; at += most) {
        ret = down(p, up->op, at, buf + (at - from), MIN(most, to - at));
    }
    if (ret == 0 && up->op == BLK_READ) {
        blk_iov_write(up->cur, up->ncur, 0, buf + (up->pos - from), up->left);
    }
    return ret;
}

/* Zeroes or discards: whole blocks of @opt bytes, at most @max at a time; the rest is written, or left. */
static int hint(FilterPass *p, uint64_t opt, uint64_t max)
{
    const BlkReq *up = p->up;
    uint64_t end = up->pos + up->left, len;
    int ret = 0;

    opt = opt ? opt : 1;
    for (uint64_t at = up->pos; ret == 0 && at < end; at += len) {
        bool whole = at % opt == 0 && end - at >= opt;

        len = whole ? ALIGN_DOWN(end - at, opt) : MIN(ALIGN_UP(at + 1, opt), end) - at;
        len = max ? MIN(len, max) : len;
        if (whole) {
            ret = down(p, up->op, at, NULL, len);
        } else if (up->op == BLK_ZERO) {
            g_autofree uint8_t *zeroes = g_try_malloc0(len);

            ret = zeroes ? down(p, BLK_WRITE, at, zeroes, len) : -ENOMEM;
        }
    }
    return ret;
}

static void pass_run(FilterPass *p)
{
    const Blkdebug *d = p->node->state;
    const BlkReq *up = p->up;

    if (up->op == BLK_ZERO) {
        p->ret = hint(p, d->opt_zero, d->max_zero);
    } else if (up->op == BLK_DISCARD) {
        p->ret = hint(p, d->opt_discard, d->max_discard);
    } else {
        uint64_t from = p->range.off, to = MIN(p->range.end, MAX(blk_size(p->node), up->pos + up->left));
        g_autofree uint8_t *buf = g_try_malloc0(p->range.end - from);

        p->ret = buf ? transfer(p, from, to, buf) : -ENOMEM;
    }
}

static bool in_pieces(const Blkdebug *d, const BlkReq *r)
{
    if (d->align > 1 && r->op != BLK_READ && r->op != BLK_FLUSH) {
        return true;           /* writes of parts of blocks read the rest: nothing changes it meanwhile */
    }
    if (r->op == BLK_ZERO) {
        return d->opt_zero || (d->max_zero && r->left > d->max_zero);
    }
    if (r->op == BLK_DISCARD) {
        return d->opt_discard || (d->max_discard && r->left > d->max_discard);
    }
    return r->op != BLK_FLUSH &&
           ((r->pos | r->left) % d->align || (d->max_transfer && r->left > d->max_transfer));
}

/* A request that breakpoints stop, then on its way down. */
typedef struct Parked {
    BreakStop stop;
    Post post;
    BlkNode *node;
    BlkReq *up;
    BlkReq req;
} Parked;

static void parked_done(BlkReq *r, int ret)
{
    Parked *p = container_of(r, Parked, req);
    BlkReq *up = p->up;

    g_free(p);
    blk_complete_later(up, ret);
}

/* After the events of @r: true if this node ends it. */
static bool request_taken(BlkNode *n, BlkReq *r)
{
    Blkdebug *d = n->state;

    if (in_pieces(d, r)) {
        blk_filter_pass(n, r, d->align, r->op != BLK_READ, &d->gate, d->worker, pass_run);
        return true;
    }
    int error = injected(d, r->op, r->pos, r->left);
    if (error) {
        blk_complete_later(r, error);
    }
    return error;
}

static void parked_on(Post *post)
{
    Parked *p = container_of(post, Parked, post);
    const BlkReq *up = p->up;

    if (request_taken(p->node, p->up)) {
        g_free(p);
        return;
    }
    p->req = (BlkReq){ .op = up->op, .flags = up->flags, .off = up->pos, .len = up->left, .iov = up->cur,
                       .niov = up->ncur, .loop = up->loop, .done = parked_done };
    blk_submit_below(p->node->child, &p->req);
}

static void parked_go(BreakStop *s)
{
    Parked *p = container_of(s, Parked, stop);

    loop_post(p->up->loop, &p->post);
}

/* Tells of @event; true: breakpoints stop @r. */
static bool tell(BlkNode *n, BlkdebugEvent event, Parked *p)
{
    Blkdebug *d = n->state;

    lock_take(&d->lock);
    event_locked(d, event);
    lock_drop(&d->lock);
    return p && breaks_hit(&d->breaks, event, &p->stop);
}

/* True: breakpoints stop @r. */
static bool events_of(BlkNode *n, BlkReq *r)
{
    /* What a thread waits for is said by whoever asks: see blk_event() in the formats. */
    bool data = r->loop != blk_bridge_loop();
    BlkdebugEvent events[2];
    unsigned count = 0;

    if (r->op == BLK_READ && data) {
        events[count++] = BLKDEBUG_EVENT_READ_AIO;
    } else if (r->op == BLK_WRITE) {
        if (data) {
            events[count++] = BLKDEBUG_EVENT_WRITE_AIO;
        }
        events[count++] = BLKDEBUG_EVENT_PWRITEV;
    } else if (r->op == BLK_ZERO) {
        events[count++] = BLKDEBUG_EVENT_PWRITEV_ZERO;
    } else if (r->op == BLK_FLUSH) {
        events[count++] = BLKDEBUG_EVENT_FLUSH_TO_OS;
        events[count++] = BLKDEBUG_EVENT_FLUSH_TO_DISK;
    }
    Parked *p = NULL;
    bool stopped = false;

    if (count && breaks_any(&((Blkdebug *)n->state)->breaks)) {
        p = g_new0(Parked, 1);
        /* One hold is ours, so that it does not go on before all is told. */
        *p = (Parked){ .stop = { .holds = 1, .go = parked_go }, .post.run = parked_on, .node = n, .up = r };
    }
    for (unsigned i = 0; i < count; i++) {
        stopped |= tell(n, events[i], p);
    }
    if (p && !stopped) {
        g_free(p);
    } else if (p) {
        breaks_release(&((Blkdebug *)n->state)->breaks, &p->stop);
    }
    return stopped;
}

static bool blkdebug_intercept(BlkLane *l, BlkReq *r)
{
    return events_of(l->node, r) || request_taken(l->node, r);
}

static int blkdebug_status(BlkNode *n, uint64_t off, uint64_t len, BlkStatus *s)
{
    *s = (BlkStatus){ .len = len, .next = n->child, .through = true, .place = off };
    return injected(n->state, BLK_OPS, off, len);
}

/* --- the driver --- */

static bool check_limit(const char *name, bool given, uint64_t value, uint64_t unit, uint64_t *out,
                        Error **errp)
{
    *out = given ? value : 0;
    return !given || !value || (value % unit == 0 && value < INT32_MAX) ||
           error_set(errp, "Cannot meet constraints with %s %" PRIu64, name, value);
}

static bool set_limits(BlkNode *n, const BlkdebugOwn *o, Error **errp)
{
    Blkdebug *d = n->state;

    if (o->has_align && o->align && (o->align & (o->align - 1) || o->align >= INT32_MAX)) {
        return error_set(errp, "Cannot meet constraints with align %" PRIu64, o->align);
    }
    d->align = o->has_align && o->align ? o->align : 1;
    if (!check_limit("max-transfer", o->has_max_transfer, o->max_transfer, d->align, &d->max_transfer,
                     errp) ||
        !check_limit("opt-write-zero", o->has_opt_write_zero, o->opt_write_zero, d->align, &d->opt_zero,
                     errp) ||
        !check_limit("max-write-zero", o->has_max_write_zero, o->max_write_zero,
                     MAX(d->opt_zero, d->align), &d->max_zero, errp) ||
        !check_limit("opt-discard", o->has_opt_discard, o->opt_discard, d->align, &d->opt_discard, errp) ||
        !check_limit("max-discard", o->has_max_discard, o->max_discard, MAX(d->opt_discard, d->align),
                     &d->max_discard, errp)) {
        return false;
    }
    if (!n->read_only && blk_size(n->child) % d->align) {
        return error_set(errp, "Image size is not a multiple of request alignment");
    }
    return true;
}

static void blkdebug_close(BlkNode *n)
{
    Blkdebug *d = n->state;

    blk_filter_worker_end(d->worker);
    g_array_unref(d->rules);
    gate_end(&d->gate);
    breaks_fini(&d->breaks);
    lock_destroy(&d->lock);
}

static bool blkdebug_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    const BlkdebugOwn *own = o->own;
    Blkdebug *d = n->state;

    d->worker = blk_filter_worker(errp);
    if (!d->worker) {
        return false;
    }
    d->rules = g_array_new(false, false, sizeof(Rule));
    d->state = 1;
    d->align = 1;
    lock_init(&d->lock, RANK_LEAF, "blkdebug");
    gate_init(&d->gate);
    breaks_init(&d->breaks);
    blk_filter_open(n);
    if (own && (!set_limits(n, own, errp) || !add_rules(d, (const BlkdebugRules *)own, errp) ||
                (own->config && *own->config && !add_config(d, own->config, errp)))) {
        blkdebug_close(n);
        return false;
    }
    event_locked(d, BLKDEBUG_EVENT_NONE);
    return true;
}

const BlkDriver blk_blkdebug = {
    .name = "blkdebug",
    .size = sizeof(Blkdebug),
    .options = BLK_OPT_CHILD | BLK_OPT_OWN,
    .filter = true,
    .open = blkdebug_open,
    .close = blkdebug_close,
    BLK_FILTER_FORWARDS,
    .status = blkdebug_status,
    .intercept = blkdebug_intercept,
};
