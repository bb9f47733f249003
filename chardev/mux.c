/* mux.c: several front ends on one back end, and the escape key.
 *
 * 1. Input runs on the loop of the base (that of the first front end).  It goes through a small
 *    ring to the front end that has the focus, on that one's own loop.
 * 2. The escape key works even when the guest has stopped reading: once the focused ring has been
 *    full for STUCK_NS, input is read all the same and only the escapes in it are obeyed.
 * 3. @lock (LEAF) guards the list of fronts, the focus, and the fronts' rings and marks.  It is
 *    never held across a call into a front end or the base.
 * 4. A front is freed by a call on its own loop after it left the list, so after its last post, and
 *    then after a grace period, so after its last late sender. */
#include <stdio.h>
#include <string.h>
#include "chardev/char-int.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/trace.h"

#define MAX_FRONTS 4
#define FRONT_RING 256
#define STUCK_NS (2 * NS_PER_SEC)
#define STAMP_BYTES 32

typedef struct Mux Mux;

typedef struct Front {
    CharPort host;                     /* peer: the front end */
    EpochItem item;
    Mux *mux;
    Loop *loop;
    Post deliver;
    bool at_line_start;                /* the front end's own, for time stamps */
    bool busy;                         /* atomic; written on its loop: the front end was so when asked last */
    /* Guarded by mux->lock. */
    bool posted;
    bool starved;                      /* had no space; goes on at CHAR_ROOM */
    unsigned marks;                    /* 1 << CharEvent: what to tell it */
    unsigned at, len;
    uint8_t ring[FRONT_RING];
} Front;

struct Mux {
    Chardev *c;                        /* the mux itself */
    Chardev *base;
    CharPort port;                     /* our end of the base */
    Lock lock;
    Front *fronts[MAX_FRONTS];
    unsigned count;
    Front *focus;
    bool base_open;
    bool joined;                       /* control: the base is on a loop */
    bool removed;                      /* control: chardev-remove, not the end of the process */
    int64_t full_since;                /* host time; 0: the focused ring has room */
    bool escaping;                     /* base loop: the last byte was the escape key */
    bool stamps;                       /* atomic */
    Timer unstick;                     /* base loop */
};

static unsigned escape_char = 1;       /* atomic; 'A' & 0x1f */
static ChardevHooks hooks;             /* control thread */

void chardev_set_hooks(const ChardevHooks *h)
{
    hooks = *h;
}

void chardev_set_escape(unsigned ch)
{
    __atomic_store_n(&escape_char, ch & 0xff, __ATOMIC_RELAXED);
}

/* --- towards a front end --- */

static void post_front_locked(Front *f)
{
    if (!f->posted) {
        f->posted = true;
        loop_post(f->loop, &f->deliver);
    }
}

static void mark_locked(Front *f, CharEvent what)
{
    if (what == CHAR_HANGUP) {
        f->marks &= ~(1u << CHAR_OPEN);
    }
    f->marks |= 1u << what;
    post_front_locked(f);
}

/* Hands the front end what it takes; true if some of the ring was freed. */
static bool feed(Front *f)
{
    Mux *m = f->mux;
    bool freed = false;

    for (;;) {
        uint8_t buf[FRONT_RING];
        size_t space = char_space(&f->host);

        lock_take(&m->lock);
        size_t n = MIN(MIN(f->len, FRONT_RING - f->at), space);
        bool starved = f->len > 0 && space == 0;
        f->starved = starved;
        memcpy(buf, f->ring + f->at, n);
        f->at = (f->at + n) % FRONT_RING;
        f->len -= n;
        lock_drop(&m->lock);
        if (n == 0) {
            /* Pairs with CHAR_ROOM: it may have come before @starved was set. */
            if (starved && char_space(&f->host) > 0) {
                continue;
            }
            return freed;
        }
        freed = true;
        char_send(&f->host, buf, n);
    }
}

/* The front end, if it is one that a client which says no more is kept for. */
static CharPort *answering(Front *f)
{
    CharPort *guest = __atomic_load_n(&f->host.peer, __ATOMIC_ACQUIRE);

    return guest && guest->ops->busy ? guest : NULL;
}

static void deliver(Post *p)
{
    static const CharEvent order[] = { CHAR_HANGUP, CHAR_OPEN, CHAR_END, CHAR_FOCUS_OUT,
                                       CHAR_FOCUS_IN, CHAR_BREAK, CHAR_ROOM };
    Front *f = container_of(p, Front, deliver);
    Mux *m = f->mux;

    CharPort *guest = answering(f);

    lock_take(&m->lock);
    unsigned marks = f->marks;
    f->marks = 0;
    f->posted = false;
    /* Until it is asked, below: what is handed over here is not answered yet. */
    __atomic_store_n(&f->busy, guest != NULL, __ATOMIC_RELAXED);
    lock_drop(&m->lock);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        if (marks & 1u << order[i]) {
            char_event(&f->host, order[i]);
        }
    }
    bool freed = feed(f), busy = guest && guest->ops->busy(guest);
    __atomic_store_n(&f->busy, busy, __ATOMIC_SEQ_CST);   /* before the base is seen to wait for room */
    if (freed || (guest && !busy)) {
        char_room(&m->port);
    }
}

/* A front end that was busy has said or asked for something: is it still? */
static void ask_again(Front *f)
{
    if (__atomic_load_n(&f->busy, __ATOMIC_RELAXED)) {
        lock_take(&f->mux->lock);
        post_front_locked(f);
        lock_drop(&f->mux->lock);
    }
}

/* --- the front end's side of it: any thread --- */

static size_t front_space(CharPort *p)
{
    return char_space(&container_of(p, Front, host)->mux->port);
}

/* Puts a time stamp before each line.  May be short anywhere, also before a stamp. */
static size_t take_stamped(Front *f, const uint8_t *buf, size_t n)
{
    CharPort *to = &f->mux->port;
    size_t done = 0;

    while (done < n) {
        if (f->at_line_start) {
            char stamp[STAMP_BYTES];
            int64_t ms = clock_now(CLOCK_VM) / NS_PER_MS;
            int len = snprintf(stamp, sizeof(stamp), "[%02d:%02d:%02d.%03d] ",
                               (int)(ms / 3600000 % 100), (int)(ms / 60000 % 60),
                               (int)(ms / 1000 % 60), (int)(ms % 1000));

            if (char_space(to) < (size_t)len + 1) {
                chardev_want_room(f->mux->base);
                return done;
            }
            char_send(to, (const uint8_t *)stamp, len);
            f->at_line_start = false;
        }
        const uint8_t *nl = memchr(buf + done, '\n', n - done);
        size_t part = nl ? (size_t)(nl - buf) + 1 - done : n - done;
        size_t sent = char_send(to, buf + done, part);
        done += sent;
        f->at_line_start = sent == part && nl;
        if (sent < part) {
            return done;
        }
    }
    return done;
}

static size_t front_take(CharPort *p, const uint8_t *buf, size_t n)
{
    Front *f = container_of(p, Front, host);

    ask_again(f);
    if (__atomic_load_n(&f->mux->stamps, __ATOMIC_RELAXED)) {
        return take_stamped(f, buf, n);
    }
    if (n) {
        f->at_line_start = buf[n - 1] == '\n';
    }
    return char_send(&f->mux->port, buf, n);
}

static void front_event(CharPort *p, CharEvent what)
{
    Front *f = container_of(p, Front, host);

    if (what == CHAR_ROOM) {
        ask_again(f);
        lock_take(&f->mux->lock);
        if (f->starved) {
            post_front_locked(f);
        }
        lock_drop(&f->mux->lock);
    } else if (what == CHAR_BREAK) {
        char_event(&f->mux->port, what);
    }
}

static const CharPortOps front_ops = {
    .space = front_space,
    .event = front_event,
    .take = front_take,
};

/* --- input from the base: its loop --- */

static void print(Mux *m, const char *text)
{
    char_send(&m->port, (const uint8_t *)text, strlen(text));
}

static void print_help(Mux *m)
{
    char text[480];
    unsigned ch = __atomic_load_n(&escape_char, __ATOMIC_RELAXED);
    char key[12];

    if (ch >= 1 && ch <= 26) {
        snprintf(key, sizeof(key), "C-%c", 'a' + ch - 1);
    } else {
        snprintf(key, sizeof(key), "'\\x%02x'", ch);
    }
    snprintf(text, sizeof(text),
             "\n\r"
             "%1$s h    print this help\n\r"
             "%1$s x    exit\n\r"
             "%1$s s    save disk data back to file (if -snapshot)\n\r"
             "%1$s t    toggle console timestamps\n\r"
             "%1$s b    send break (magic sysrq)\n\r"
             "%1$s c    switch between console and monitor\n\r"
             "%1$s %1$s  sends %1$s\n\r", key);
    print(m, text);
}

static void call_quit(void *arg)
{
    if (hooks.quit) {
        hooks.quit();
    }
}

static void call_commit(void *arg)
{
    if (hooks.commit) {
        hooks.commit();
    }
}

static void set_focus_locked(Mux *m, Front *f)
{
    if (m->focus == f) {
        return;
    }
    if (m->focus) {
        mark_locked(m->focus, CHAR_FOCUS_OUT);
    }
    m->focus = f;
    m->full_since = 0;
    if (f) {
        mark_locked(f, CHAR_FOCUS_IN);
    }
}

static void next_focus_locked(Mux *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        if (m->fronts[i] == m->focus) {
            set_focus_locked(m, m->fronts[(i + 1) % m->count]);
            return;
        }
    }
    set_focus_locked(m, m->count ? m->fronts[0] : NULL);
}

static void push_locked(Mux *m, uint8_t b)
{
    Front *f = m->focus;

    if (f && f->len < FRONT_RING) {
        f->ring[(f->at + f->len++) % FRONT_RING] = b;
        post_front_locked(f);
    }
}

static void obey(Mux *m, uint8_t key)
{
    if (key == __atomic_load_n(&escape_char, __ATOMIC_RELAXED)) {
        lock_take(&m->lock);
        push_locked(m, key);
        lock_drop(&m->lock);
        return;
    }
    switch (key) {
    case 'h':
    case '?':
        print_help(m);
        break;
    case 'x':
        print(m, "Rhea: Terminated\n\r");
        loop_call(loop_control(), call_quit, NULL);
        break;
    case 's':
        loop_call(loop_control(), call_commit, NULL);
        break;
    case 't':
        __atomic_store_n(&m->stamps, !__atomic_load_n(&m->stamps, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
        break;
    case 'b':
    case 'c':
        lock_take(&m->lock);
        if (key == 'c') {
            next_focus_locked(m);
        } else if (m->focus) {
            mark_locked(m->focus, CHAR_BREAK);
        }
        lock_drop(&m->lock);
        break;
    default:
        break;
    }
}

static void unstick(Timer *t)
{
    char_room(&container_of(t, Mux, unstick)->port);
}

static size_t base_space(CharPort *p)
{
    Mux *m = container_of(p, Mux, port);
    int64_t now = clock_now(CLOCK_HOST);
    bool arm = false;

    lock_take(&m->lock);
    size_t room = m->focus ? FRONT_RING - m->focus->len : FRONT_RING;
    if (room) {
        m->full_since = 0;
    } else if (!m->full_since) {
        m->full_since = now;
        arm = true;
    } else if (now - m->full_since >= STUCK_NS) {
        room = FRONT_RING;
    }
    lock_drop(&m->lock);
    if (arm) {
        timer_set(&m->unstick, now + STUCK_NS);
    }
    return room;
}

static void base_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    Mux *m = container_of(p, Mux, port);

    for (size_t i = 0; i < n; i++) {
        if (m->escaping) {
            m->escaping = false;
            obey(m, buf[i]);
        } else if (buf[i] == __atomic_load_n(&escape_char, __ATOMIC_RELAXED)) {
            m->escaping = true;
        } else {
            lock_take(&m->lock);
            push_locked(m, buf[i]);
            lock_drop(&m->lock);
        }
    }
}

static void base_event(CharPort *p, CharEvent what)
{
    Mux *m = container_of(p, Mux, port);

    lock_take(&m->lock);
    if (what == CHAR_OPEN || what == CHAR_HANGUP) {
        m->base_open = what == CHAR_OPEN;
    }
    if (what == CHAR_BREAK) {
        if (m->focus) {
            mark_locked(m->focus, what);
        }
    } else {
        for (unsigned i = 0; i < m->count; i++) {
            mark_locked(m->fronts[i], what);
        }
    }
    lock_drop(&m->lock);
}

static bool base_busy(CharPort *p)
{
    Mux *m = container_of(p, Mux, port);
    bool busy = false;

    lock_take(&m->lock);
    for (unsigned i = 0; i < m->count; i++) {
        Front *f = m->fronts[i];

        busy |= (answering(f) && (f->posted || f->len)) || __atomic_load_n(&f->busy, __ATOMIC_ACQUIRE);
    }
    lock_drop(&m->lock);
    return busy;
}

static const CharPortOps base_ops = {
    .space = base_space,
    .bytes = base_bytes,
    .event = base_event,
    .busy = base_busy,
};

/* --- claims: control --- */

static bool mux_claim(Chardev *c, CharPort *guest, Loop *loop, Error **errp)
{
    Mux *m = c->priv;

    if (m->count == MAX_FRONTS) {
        return error_set(errp, "too many uses of multiplexed chardev '%s' (maximum is %d)", c->id,
                         MAX_FRONTS);
    }
    Front *f = g_new0(Front, 1);
    char_port_init(&f->host, &front_ops);
    f->mux = m;
    f->loop = loop;
    f->deliver.run = deliver;
    f->at_line_start = true;
    char_join(guest, &f->host);
    lock_take(&m->lock);
    m->fronts[m->count++] = f;
    if (m->base_open) {
        mark_locked(f, CHAR_OPEN);
    }
    if (!m->focus) {
        set_focus_locked(m, f);
    }
    lock_drop(&m->lock);
    c->claimed = true;
    __atomic_store_n(&c->frontend_open, true, __ATOMIC_RELAXED);
    if (!m->joined) {
        m->joined = true;
        m->base->claimed = false;
        timer_init(&m->unstick, loop, CLOCK_HOST, unstick);
        return chardev_claim(m->base, &m->port, loop, errp);
    }
    return true;
}

static void free_front_item(EpochItem *item)
{
    g_free(container_of(item, Front, item));
}

static void free_front(void *arg)
{
    epoch_defer(&((Front *)arg)->item, free_front_item);
}

static Front *front_of_guest(CharPort *guest)
{
    CharPort *host = __atomic_load_n(&guest->peer, __ATOMIC_ACQUIRE);

    return host && host->ops == &front_ops ? container_of(host, Front, host) : NULL;
}

bool chardev_release_front(CharPort *guest)
{
    Front *f = front_of_guest(guest);

    if (!f) {
        return false;
    }
    Mux *m = f->mux;
    char_part(guest);
    lock_take(&m->lock);
    if (m->focus == f) {
        next_focus_locked(m);
    }
    if (m->focus == f) {
        m->focus = NULL;
    }
    for (unsigned i = 0; i < m->count; i++) {
        if (m->fronts[i] == f) {
            memmove(&m->fronts[i], &m->fronts[i + 1], (m->count - i - 1) * sizeof(f));
            m->count--;
            break;
        }
    }
    bool last = m->count == 0;
    lock_drop(&m->lock);
    loop_call(f->loop, free_front, f);
    char_room(&m->port);               /* the next in focus may have space, as this one had not */
    if (last) {
        m->c->claimed = false;
        __atomic_store_n(&m->c->frontend_open, false, __ATOMIC_RELAXED);
    }
    return true;
}

void chardev_mux_focus(CharPort *guest)
{
    Front *f = front_of_guest(guest);

    if (f) {
        lock_take(&f->mux->lock);
        set_focus_locked(f->mux, f);
        lock_drop(&f->mux->lock);
        char_room(&f->mux->port);
    }
}

Chardev *chardev_mux_removed(Chardev *c)
{
    Mux *m = c->priv;

    m->removed = true;
    chardev_release(&m->port);
    m->base->claimed = false;
    return m->base;
}

static void mux_free(Chardev *c)
{
    Mux *m = c->priv;

    /* A last base_space() may have armed it. At the end of the process the loop is gone already. */
    if (m->removed) {
        timer_stop(&m->unstick);
    }
    lock_destroy(&m->lock);
    g_free(m);
}

Chardev *chardev_make_mux(const char *id, Chardev *base)
{
    Chardev *c = chardev_alloc(id, &backend_mux);
    Mux *m = g_new0(Mux, 1);

    m->c = c;
    m->base = base;
    base->claimed = true;
    lock_init(&m->lock, RANK_LEAF, "mux");
    char_port_init(&m->port, &base_ops);
    c->priv = m;
    chardev_register(c);
    return c;
}

const BackendOps backend_mux = {
    .name = "mux",
    .free = mux_free,
    .claim = mux_claim,
};
