/* char.c: the registry of back ends, claims, and the flow of bytes between a front end and
 * descriptors.
 *
 * 1. A claim or release only queues a Move; the mover, one post at a time for each Chardev, carries
 *    the descriptors from loop to loop in that order.  So neither ever waits, and a release may
 *    hold a domain.
 * 2. @kick is queued at most once (@kicked, under the lock).  One that finds itself on a loop the
 *    Chardev has left goes after it.
 * 3. The ring has one consumer, the loop; producers only append.  So the loop writes from the ring
 *    without holding the lock.
 *
 *      front end --char_send--> ring --kick--> service() --write--> descriptor
 *      descriptor --ready--> read_some() --char_send--> front end
 *                                        no space: @paused until char_room */
#include "chardev/char.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "chardev/char-int.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/fault.h"
#include "util/fdset.h"
#include "util/thread.h"

#define READ_ROUNDS 4          /* reads in one turn, so that other callbacks get theirs */
#define READ_CHUNK 2048
#define POLLED_CHUNK 512       /* PIPE_BUF's minimum: what poll() promises a pipe takes */
#define EXIT_FLUSH_NS NS_PER_SEC

typedef struct Move {
    Loop *to;                  /* NULL: nowhere */
    bool close;                /* the last one: free the Chardev */
} Move;

typedef struct Mover {
    Post post;
    Chardev *c;
} Mover;

/* An alias has the same arguments as what it stands for. */
static const BackendOps *const ops_of[CHARDEV_CONFIG_BACKEND_COUNT] = {
    [CHARDEV_CONFIG_BACKEND_FILE] = &backend_file,
    [CHARDEV_CONFIG_BACKEND_MEMORY] = &backend_ringbuf,
    [CHARDEV_CONFIG_BACKEND_NULL] = &backend_null,
    [CHARDEV_CONFIG_BACKEND_PIPE] = &backend_pipe,
    [CHARDEV_CONFIG_BACKEND_PTY] = &backend_pty,
    [CHARDEV_CONFIG_BACKEND_RINGBUF] = &backend_ringbuf,
    [CHARDEV_CONFIG_BACKEND_SERIAL] = &backend_serial,
    [CHARDEV_CONFIG_BACKEND_SOCKET] = &backend_socket,
    [CHARDEV_CONFIG_BACKEND_STDIO] = &backend_stdio,
    [CHARDEV_CONFIG_BACKEND_TTY] = &backend_serial,
    [CHARDEV_CONFIG_BACKEND_VC] = &backend_null,
};

static GPtrArray *registry;    /* of Chardev; control thread */

/* --- small helpers --- */

Chardev *chardev_of_host(CharPort *host)
{
    return container_of(host, Chardev, host);
}

bool set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

bool write_all(int fd, const uint8_t *buf, size_t n)
{
    while (n) {
        ssize_t got = write(fd, buf, n);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        buf += got;
        n -= got;
    }
    return true;
}

Loop *chardev_loop(Chardev *c)
{
    lock_take(&c->lock);
    Loop *l = c->loop;
    lock_drop(&c->lock);
    return l;
}

static CharPort *front_of(Chardev *c)
{
    return __atomic_load_n(&c->host.peer, __ATOMIC_ACQUIRE);
}

static void kick_locked(Chardev *c) LOCK_HELD(c->lock)
{
    if (c->loop && !c->kicked) {
        c->kicked = true;
        loop_post(c->loop, &c->kick);
    }
}

/* --- the front end's side: any thread --- */

static size_t host_space(CharPort *p)
{
    Chardev *c = chardev_of_host(p);

    if (c->ops->take_now && c->log_fd < 0) {
        return SIZE_MAX;
    }
    lock_take(&c->lock);
    size_t room = c->open ? OUT_RING - c->ring_len : SIZE_MAX;
    lock_drop(&c->lock);
    return room;
}

static size_t host_take(CharPort *p, const uint8_t *buf, size_t n)
{
    Chardev *c = chardev_of_host(p);

    if (c->ops->take_now && c->log_fd < 0) {
        return c->ops->take_now(c, buf, n);
    }
    lock_take(&c->lock);
    if (!c->open) {
        lock_drop(&c->lock);
        return n;
    }
    if (!c->ring) {
        c->ring = g_malloc(OUT_RING);
    }
    size_t taken = MIN(n, OUT_RING - c->ring_len);
    unsigned end = (c->ring_at + c->ring_len) % OUT_RING;
    size_t first = MIN(taken, OUT_RING - end);
    memcpy(c->ring + end, buf, first);
    memcpy(c->ring, buf + first, taken - first);
    c->ring_len += taken;
    c->want_room |= taken < n;
    kick_locked(c);
    lock_drop(&c->lock);
    return taken;
}

static void host_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    host_take(p, buf, n);
}

void chardev_want_room(Chardev *c)
{
    lock_take(&c->lock);
    c->want_room = true;
    kick_locked(c);
    lock_drop(&c->lock);
}

static void host_event(CharPort *p, CharEvent what)
{
    Chardev *c = chardev_of_host(p);

    switch (what) {
    case CHAR_ROOM:
        /* Pairs with pause(): the loop set @paused before it looked at space() again. */
        if (__atomic_load_n(&c->paused, __ATOMIC_SEQ_CST)) {
            lock_take(&c->lock);
            kick_locked(c);
            lock_drop(&c->lock);
        }
        break;
    case CHAR_OPEN:
    case CHAR_HANGUP:
        __atomic_store_n(&c->frontend_open, what == CHAR_OPEN, __ATOMIC_RELAXED);
        break;
    case CHAR_BREAK:
        if (c->ops->send_break) {
            c->ops->send_break(c);
        }
        break;
    default:
        break;
    }
}

static const CharPortOps host_ops = {
    .space = host_space,
    .bytes = host_bytes,
    .event = host_event,
    .take = host_take,
};

/* --- output: the loop --- */

ssize_t chardev_write_fd(Chardev *c, int fd, const uint8_t *buf, size_t n)
{
    if (c->out_blocks) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };

        if (poll(&p, 1, 0) == 0) {
            errno = EAGAIN;
            return -1;
        }
        n = MIN(n, POLLED_CHUNK);
    }
    return FAULT("char-write") ? (errno = EPIPE, -1) : write(fd, buf, n);
}

/* Writes one stretch of the ring.  Returns false when there is nothing to do or it would block. */
static bool write_some(Chardev *c)
{
    lock_take(&c->lock);
    unsigned n = MIN(c->ring_len, OUT_RING - c->ring_at);
    const uint8_t *from = n ? c->ring + c->ring_at : NULL;     /* no ring before the first byte */
    bool drop = !c->open || c->out_dead;
    lock_drop(&c->lock);
    if (n == 0) {
        return false;
    }
    ssize_t done = n;
    if (!drop && (c->ops->write || c->out_fd >= 0)) {
        done = c->ops->write ? c->ops->write(c, from, n)
                             : chardev_write_fd(c, c->out_fd, from, n);
        if (done < 0 && errno == EINTR) {
            return true;
        }
        if (done < 0 && errno == EAGAIN) {
            c->out_full = true;
            return false;
        }
        if (done < 0) {
            c->out_dead = true;            /* the reader is gone; what is left falls on the floor */
            return true;
        }
    }
    if (c->log_fd >= 0) {
        write_all(c->log_fd, from, done);
    }
    lock_take(&c->lock);
    c->ring_at = (c->ring_at + done) % OUT_RING;
    c->ring_len -= done;
    lock_drop(&c->lock);
    return true;
}

static void flush(Chardev *c)
{
    bool was_dead = c->out_dead;

    while (!c->out_full && write_some(c)) {
    }
    if (c->out_dead && !was_dead && c->ops->hangup) {
        chardev_hangup(c);
        return;
    }
    lock_take(&c->lock);
    bool tell = c->want_room && (!c->open || c->ring_len <= OUT_RING / 2);
    c->want_room &= !tell;
    lock_drop(&c->lock);
    if (tell) {
        char_event(&c->host, CHAR_ROOM);
    }
}

/* --- input: the loop --- */

static void ready(void *arg, unsigned events);
static void out_ready(void *arg, unsigned events);

static void watch(Chardev *c, int fd, unsigned *now, unsigned want)
{
    Loop *l = chardev_loop(c);

    if (*now == want || fd < 0 || !l) {
        return;
    }
    *now = want;
    if (want) {
        loop_watch(l, fd, want, fd == c->in_fd ? ready : out_ready, c);
    } else {
        loop_unwatch(l, fd);
    }
}

/* True if the front end takes bytes; if not, it will be heard of. */
static bool has_space(Chardev *c)
{
    if (char_space(&c->host) > 0) {
        return true;
    }
    __atomic_store_n(&c->paused, true, __ATOMIC_SEQ_CST);
    if (char_space(&c->host) == 0) {
        return false;
    }
    __atomic_store_n(&c->paused, false, __ATOMIC_RELAXED);
    return true;
}

/* @ask: ask the front end for its space even if it is being read for already.  Only after a read it
 * may have run out; asking takes the device's domain, so a mere flush does not. */
static void sync_watches(Chardev *c, bool ask)
{
    unsigned in = 0, out = 0;
    bool reading = !ask && (c->in_events & EPOLLIN);

    if (!c->in_ended) {
        __atomic_store_n(&c->paused, false, __ATOMIC_RELAXED);
    }
    lock_take(&c->lock);
    bool open = c->open;
    lock_drop(&c->lock);
    if (open && c->in_fd >= 0 && !c->in_ended && front_of(c) &&
        (reading || has_space(c))) {
        in = EPOLLIN;
    }
    if (open && c->out_full && !c->out_dead) {
        out = EPOLLOUT;
    }
    if (c->in_fd == c->out_fd) {
        /* A stream that can end is watched for that even when the guest takes nothing: a client
         * that has gone must make room for the next. */
        unsigned end = open && c->ops->hangup ? EPOLLERR : 0;

        watch(c, c->in_fd, &c->in_events, in | out | end);
    } else {
        watch(c, c->in_fd, &c->in_events, in);
        watch(c, c->out_fd, &c->out_events, out);
    }
}

/* A client that has ended its side may wait for answers: finish() lets it go. */
static void end_of_input(Chardev *c)
{
    c->in_ended = true;
    if (!c->ops->hangup) {
        char_event(&c->host, CHAR_END);
    }
}

/* Hangs up on a client that sends no more when all it can hope for is written. */
static void finish(Chardev *c)
{
    if (!c->in_ended || !c->ops->hangup) {
        return;
    }
    lock_take(&c->lock);
    bool open = c->open, written = c->ring_len == 0;
    lock_drop(&c->lock);
    CharPort *front = front_of(c);

    /* Before the front end is asked: it says with CHAR_ROOM that it has become free since. */
    __atomic_store_n(&c->paused, true, __ATOMIC_SEQ_CST);
    if (open && written && !(front && front->ops->busy && front->ops->busy(front))) {
        chardev_hangup(c);
    }
}

static void drop_fds(Chardev *c)
{
    while (c->got_count > 0) {
        close(c->got_fds[--c->got_count]);
    }
}

/* As read(), and keeps the descriptors that came along in place of older ones. */
static ssize_t read_with_fds(Chardev *c, void *buf, size_t size)
{
    union { struct cmsghdr head; char room[CMSG_SPACE(CHAR_FDS * sizeof(int))]; } control;
    struct iovec iov = { .iov_base = buf, .iov_len = size };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                          .msg_controllen = sizeof(control) };
    ssize_t n = recvmsg(c->in_fd, &msg, MSG_CMSG_CLOEXEC);

    for (struct cmsghdr *m = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; m; m = CMSG_NXTHDR(&msg, m)) {
        if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_RIGHTS) {
            drop_fds(c);
            c->got_count = (m->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(c->got_fds, CMSG_DATA(m), c->got_count * sizeof(int));
        }
    }
    return n;
}

void chardev_want_fds(Chardev *c)
{
    c->want_fds = c->ops == &backend_socket;
}

int chardev_take_fd(CharPort *guest)
{
    CharPort *host = __atomic_load_n(&guest->peer, __ATOMIC_ACQUIRE);
    Chardev *c = host && host->ops == &host_ops ? chardev_of_host(host) : NULL;

    if (!c || c->got_count == 0) {
        return -1;
    }
    int fd = c->got_fds[0];

    memmove(c->got_fds, c->got_fds + 1, --c->got_count * sizeof(int));
    return fd;
}

/* Reads once; false when there is nothing more to read now or no space. */
static bool read_once(Chardev *c)
{
    uint8_t buf[READ_CHUNK];
    size_t space = front_of(c) ? char_space(&c->host) : 0;

    if (space == 0) {
        return false;
    }
    size_t most = MIN(space, sizeof(buf));
    ssize_t n = c->want_fds ? read_with_fds(c, buf, most) : read(c->in_fd, buf, most);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return false;
    }
    if (n == 0 || (n < 0 && !c->ops->hangup)) {
        end_of_input(c);
        return false;
    }
    if (n < 0) {
        chardev_hangup(c);
        return false;
    }
    size_t left = c->ops->decode ? c->ops->decode(c, buf, n) : n;
    if (left) {
        char_send(&c->host, buf, left);
    }
    return c->in_fd >= 0;
}

static void read_some(Chardev *c)
{
    /* Descriptors we were given may block: one read for one event. */
    int rounds = c->in_fd == c->out_fd ? READ_ROUNDS : 1;

    while (c->in_fd >= 0 && !c->in_ended && rounds-- > 0 && read_once(c)) {
    }
}

static void service(Chardev *c, bool ask)
{
    flush(c);
    finish(c);
    sync_watches(c, ask);
}

void chardev_service(Chardev *c)
{
    service(c, true);
}

static void ready(void *arg, unsigned events)
{
    Chardev *c = arg;

    if (events & (EPOLLHUP | EPOLLERR) && c->ops->hangup) {
        /* Take what it said last as far as the guest has space, then let it go. */
        while (c->in_fd >= 0 && read_once(c)) {
        }
        if (c->in_fd >= 0) {
            chardev_hangup(c);
        }
        return;
    }
    if (events & EPOLLOUT) {
        c->out_full = false;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        read_some(c);
    }
    chardev_service(c);
}

/* An output of its own; an error shows at the next write. */
static void out_ready(void *arg, unsigned events)
{
    Chardev *c = arg;

    c->out_full = false;
    service(c, false);
}

/* --- the stream opens and ends: the loop --- */

void chardev_set_open(Chardev *c, bool open)
{
    lock_take(&c->lock);
    bool was = c->open;
    c->open = open;
    lock_drop(&c->lock);
    if (was != open) {
        char_event(&c->host, open ? CHAR_OPEN : CHAR_HANGUP);
    }
}

void chardev_stream_opened(Chardev *c, int fd)
{
    c->in_fd = c->out_fd = fd;
    c->in_events = c->out_events = 0;
    c->in_ended = c->out_dead = c->out_full = false;
    chardev_set_open(c, true);
    if (chardev_loop(c)) {
        chardev_service(c);
    }
}

void chardev_hangup(Chardev *c)
{
    drop_fds(c);
    watch(c, c->in_fd, &c->in_events, 0);
    if (c->out_fd != c->in_fd) {
        watch(c, c->out_fd, &c->out_events, 0);
    }
    c->out_full = false;
    chardev_set_open(c, false);
    flush(c);
    if (c->ops->hangup) {
        c->ops->hangup(c);
    }
}

/* --- moving between loops --- */

static void attach(Chardev *c)
{
    lock_take(&c->lock);
    bool open = c->open;
    lock_drop(&c->lock);
    if (open || c->replaces) {
        char_event(&c->host, open ? CHAR_OPEN : CHAR_HANGUP);
    }
    c->replaces = false;
    if (c->ops->start) {
        c->ops->start(c);
    }
    chardev_service(c);
}

static void detach(Chardev *c)
{
    flush(c);
    watch(c, c->in_fd, &c->in_events, 0);
    if (c->out_fd != c->in_fd) {
        watch(c, c->out_fd, &c->out_events, 0);
    }
    if (c->ops->stop) {
        c->ops->stop(c);
    }
    c->out_full = false;
    __atomic_store_n(&c->paused, false, __ATOMIC_RELAXED);
}

static void free_chardev(EpochItem *item)
{
    Chardev *c = container_of(item, Chardev, item);

    if (c->ops->free) {
        c->ops->free(c);
    }
    lock_destroy(&c->lock);
    g_queue_clear_full(&c->moves, g_free);
    g_free(c->ring);
    g_free(c->peer_text);
    g_free(c->id);
    g_free(c);
}

static void close_fds(Chardev *c)
{
    if (!c->fds_shared) {
        if (c->in_fd >= 0) {
            close(c->in_fd);
        }
        if (c->out_fd >= 0 && c->out_fd != c->in_fd) {
            close(c->out_fd);
        }
    }
    c->in_fd = c->out_fd = -1;
    if (c->ops->close) {
        c->ops->close(c);
    }
    drop_fds(c);
    if (c->log_fd >= 0) {
        close(c->log_fd);
    }
}

static void close_and_free(void *arg)
{
    Chardev *c = arg;

    close_fds(c);
    epoch_defer(&c->item, free_chardev);
}

/* One step of the mover; true if there may be another on this loop. */
static bool move_step(Mover *m)
{
    Chardev *c = m->c;

    lock_take(&c->lock);
    Move *next = g_queue_peek_head(&c->moves);
    if (!next || c->exiting) {
        c->moving = false;
        lock_drop(&c->lock);
        g_free(m);
        return false;
    }
    if (c->loop) {
        lock_drop(&c->lock);
        detach(c);
        lock_take(&c->lock);
        c->loop = NULL;
        lock_drop(&c->lock);
        return true;
    }
    if (next->close) {
        /* A kick still queued somewhere must run before the memory goes. */
        Loop *again = c->kicked ? loop_control() : NULL;

        c->mover_on = again;
        lock_drop(&c->lock);
        if (again) {
            loop_post(again, &m->post);
        } else {
            g_free(m);
            loop_call(loop_control(), close_and_free, c);
        }
        return false;
    }
    if (next->to && !loop_here(next->to)) {
        Loop *to = next->to;

        c->mover_on = to;
        lock_drop(&c->lock);
        loop_post(to, &m->post);
        return false;
    }
    g_queue_pop_head(&c->moves);
    c->loop = next->to;
    lock_drop(&c->lock);
    if (next->to) {
        attach(c);
    }
    g_free(next);
    return true;
}

static void run_mover(Post *p)
{
    while (move_step(container_of(p, Mover, post))) {
    }
}

static void queue_move(Chardev *c, Loop *to, bool close)
{
    Move *move = g_new0(Move, 1);

    *move = (Move){ .to = to, .close = close };
    lock_take(&c->lock);
    g_queue_push_tail(&c->moves, move);
    if (!c->moving) {
        Mover *m = g_new0(Mover, 1);

        *m = (Mover){ .post.run = run_mover, .c = c };
        c->moving = true;
        c->mover_on = c->loop ? c->loop : to ? to : loop_control();
        loop_post(c->mover_on, &m->post);
    }
    lock_drop(&c->lock);
}

static void run_kick(Post *p)
{
    Chardev *c = container_of(p, Chardev, kick);

    lock_take(&c->lock);
    if (c->loop && !loop_here(c->loop)) {
        loop_post(c->loop, p);
        lock_drop(&c->lock);
        return;
    }
    bool here = c->loop != NULL;
    c->kicked = false;
    lock_drop(&c->lock);
    if (here) {
        service(c, false);
    }
}

/* --- claims: control --- */

bool chardev_claim(Chardev *c, CharPort *guest, Loop *loop, Error **errp)
{
    assert_control();
    if (c->ops->claim) {
        return c->ops->claim(c, guest, loop, errp);
    }
    if (c->claimed) {
        return error_set(errp, "chardev '%s' is already in use", c->id);
    }
    c->claimed = true;
    c->claimed_on = loop;
    __atomic_store_n(&c->frontend_open, true, __ATOMIC_RELAXED);
    char_join(guest, &c->host);
    queue_move(c, loop, false);
    return true;
}

void chardev_release(CharPort *guest)
{
    CharPort *host = __atomic_load_n(&guest->peer, __ATOMIC_ACQUIRE);

    assert_control();
    if (!host) {
        return;
    }
    if (host->ops != &host_ops) {
        if (!chardev_release_front(guest)) {
            char_part(guest);
        }
        return;
    }
    Chardev *c = chardev_of_host(host);
    char_part(guest);
    c->claimed = false;
    __atomic_store_n(&c->frontend_open, false, __ATOMIC_RELAXED);
    queue_move(c, NULL, false);
}

/* --- the registry: control --- */

Chardev *chardev_alloc(const char *id, const BackendOps *ops)
{
    Chardev *c = g_new0(Chardev, 1);

    char_port_init(&c->host, &host_ops);
    lock_init(&c->lock, RANK_NODE, "chardev");
    g_queue_init(&c->moves);
    c->kick.run = run_kick;
    c->id = g_strdup(id);
    c->ops = ops;
    c->in_fd = c->out_fd = c->log_fd = -1;
    return c;
}

void chardev_register(Chardev *c)
{
    if (!registry) {
        registry = g_ptr_array_new();
    }
    g_ptr_array_add(registry, c);
}

Chardev *chardev_find(const char *id)
{
    assert_control();
    for (unsigned i = 0; registry && i < registry->len; i++) {
        Chardev *c = registry->pdata[i];

        if (strcmp(c->id, id) == 0) {
            return c;
        }
    }
    return NULL;
}

Chardev *chardev_need(const char *id, Error **errp)
{
    Chardev *c = chardev_find(id);

    if (!c) {
        g_autoptr(GPtrArray) names = g_ptr_array_new();

        for (unsigned i = 0; registry && i < registry->len; i++) {
            g_ptr_array_add(names, ((Chardev *)registry->pdata[i])->id);
        }
        g_ptr_array_add(names, NULL);
        error_set(errp, "Chardev '%s' not found", id);
        error_suggest(errp, id, (const char *const *)names->pdata);
    }
    return c;
}

void chardev_each_backend(void (*fn)(const char *name, void *arg), void *arg)
{
    for (unsigned i = 0; i < CHARDEV_CONFIG_BACKEND_COUNT; i++) {
        fn(chardev_config_backend_name(i), arg);
    }
}

static bool open_log(Chardev *c, const ChardevConfig *cfg, Error **errp)
{
    if (!cfg->logfile) {
        return true;
    }
    c->log_fd = fdset_open(cfg->logfile, O_WRONLY | O_CREAT | (cfg->logappend ? O_APPEND : O_TRUNC), 0666);
    return c->log_fd >= 0 ||
           error_set_errno(errp, errno, "Unable to open logfile '%s'", cfg->logfile);
}

static bool id_is_good(const char *id, Error **errp)
{
    bool good = g_ascii_isalpha(*id);

    for (const char *p = id; good && *p; p++) {
        good = g_ascii_isalnum(*p) || strchr("-._", *p);
    }
    if (!good) {
        error_set(errp, "Parameter 'id' expects an identifier");
        error_hint(errp, "Identifiers consist of letters, digits, '-', '.', '_', "
                   "starting with a letter.");
    }
    return good;
}

static Chardev *open_backend(const ChardevConfig *cfg, const char *id, Error **errp)
{
    Chardev *c = chardev_alloc(id, ops_of[cfg->backend]);
    bool ok = open_log(c, cfg, errp) && c->ops->open(c, cfg, errp);

    if (!ok) {
        error_context(errp, "chardev '%s'", cfg->id);
        close_fds(c);
        free_chardev(&c->item);
        return NULL;
    }
    chardev_register(c);
    return c;
}

Chardev *chardev_new(const ChardevConfig *cfg, Error **errp)
{
    assert_control();
    /* A reader that goes away is an error of write(), not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    if (!id_is_good(cfg->id, errp)) {
        return NULL;
    }
    if (chardev_find(cfg->id)) {
        error_set(errp, "Duplicate ID '%s' for chardev", cfg->id);
        return NULL;
    }
    if (!cfg->mux) {
        return open_backend(cfg, cfg->id, errp);
    }
    g_autofree char *base_id = g_strdup_printf("%s-base", cfg->id);
    if (chardev_find(base_id)) {
        error_set(errp, "Duplicate ID '%s' for chardev", base_id);
        return NULL;
    }
    Chardev *base = open_backend(cfg, base_id, errp);
    return base ? chardev_make_mux(cfg->id, base) : NULL;
}

/* One that no loop has is gone at once: its address is free when the command is answered. */
static void let_go(Chardev *c)
{
    lock_take(&c->lock);
    bool idle = !c->moving && !c->loop && !c->kicked;
    lock_drop(&c->lock);
    if (idle) {
        close_and_free(c);
    } else {
        queue_move(c, NULL, true);
    }
}

bool chardev_remove(const char *id, Error **errp)
{
    Chardev *c = chardev_need(id, errp);

    if (!c) {
        return false;
    }
    if (c->claimed) {
        return error_set(errp, "Chardev '%s' is busy", id);
    }
    if (chardev_is_mux(c)) {
        Chardev *base = chardev_mux_removed(c);

        g_ptr_array_remove(registry, base);
        let_go(base);
    }
    g_ptr_array_remove(registry, c);
    let_go(c);
    return true;
}

/* The front end of @old gets @c; what it sends meanwhile is dropped.  It may have been told that @old had no
 * room. */
static void take_over(Chardev *c, Chardev *old)
{
    CharPort *guest = front_of(old);
    bool open = __atomic_load_n(&old->frontend_open, __ATOMIC_RELAXED);

    chardev_release(guest);
    c->replaces = true;
    c->want_room = true;
    chardev_claim(c, guest, old->claimed_on, NULL);
    __atomic_store_n(&c->frontend_open, open, __ATOMIC_RELAXED);
}

bool chardev_change(const ChardevConfig *cfg, Error **errp)
{
    Chardev *old = chardev_find(cfg->id);

    if (!old) {
        return error_set(errp, "Chardev '%s' does not exist", cfg->id);
    }
    if (chardev_is_mux(old) || cfg->mux) {
        return error_set(errp, "Mux device hotswap not supported yet");
    }
    CharPort *guest = front_of(old);           /* a mux's base has none before the mux has one */
    if (old->claimed && (!guest || !guest->ops->may_change)) {
        return error_set(errp, "Chardev user does not support chardev hotswap");
    }
    Chardev *c = open_backend(cfg, cfg->id, errp);
    if (!c) {
        return false;
    }
    if (old->claimed) {
        take_over(c, old);
    }
    g_ptr_array_remove(registry, old);
    queue_move(old, NULL, true);
    return true;
}

const char *chardev_id(const Chardev *c)
{
    return c->id;
}

const char *chardev_backend_name(const Chardev *c)
{
    return c->ops->name;
}

bool chardev_is_mux(const Chardev *c)
{
    return c->ops == &backend_mux;
}

void chardev_each(void (*fn)(const char *label, const char *filename,
                             bool frontend_open, void *arg), void *arg)
{
    assert_control();
    for (unsigned i = 0; registry && i < registry->len; i++) {
        Chardev *c = registry->pdata[i];
        g_autofree char *text = c->ops->filename ? c->ops->filename(c) : g_strdup(c->ops->name);

        fn(c->id, text, __atomic_load_n(&c->frontend_open, __ATOMIC_RELAXED), arg);
    }
}

static void deliver_break(void *arg)
{
    Chardev *c = arg;

    char_event(&c->host, CHAR_BREAK);
}

bool chardev_send_break(const char *id, Error **errp)
{
    Chardev *c = chardev_need(id, errp);

    if (!c) {
        return false;
    }
    Loop *l = chardev_loop(c);
    if (l) {
        loop_call(l, deliver_break, c);
    }
    return true;
}

/* Writes what is buffered until @deadline.  @c is on no loop: nobody else touches it. */
static void final_flush(Chardev *c, int64_t deadline)
{
    c->out_full = false;
    while (write_some(c) || c->out_full) {
        int64_t left_ms = (deadline - clock_now(CLOCK_HOST)) / NS_PER_MS;
        struct pollfd p = { .fd = c->out_fd, .events = POLLOUT };

        if (left_ms <= 0) {
            return;
        }
        if (c->out_full) {
            c->out_full = false;
            poll(&p, 1, left_ms);
        }
    }
}

static void exit_detach(void *arg)
{
    Chardev *c = arg;

    detach(c);
    lock_take(&c->lock);
    c->loop = NULL;
    lock_drop(&c->lock);
}

static void wait_for_turn(void *arg)
{
}

/* Takes @c off its loop for good.  What is queued on control is not run any more, so its part is
 * done here; elsewhere the queue is first come, first served. */
static void stop_for_exit(Chardev *c)
{
    lock_take(&c->lock);
    c->exiting = true;
    Loop *mover_on = c->moving ? c->mover_on : NULL;
    lock_drop(&c->lock);
    if (mover_on && !loop_here(mover_on)) {
        loop_call_wait(mover_on, wait_for_turn, NULL);
    }
    Loop *l = chardev_loop(c);
    if (l) {
        loop_call_wait(l, exit_detach, c);
    }
}

void chardev_exit(void)
{
    /* Closed, but kept and reachable: a post of theirs may still be queued somewhere. */
    static GPtrArray *closed;
    int64_t deadline = clock_now(CLOCK_HOST) + EXIT_FLUSH_NS;

    assert_control();
    for (unsigned i = 0; registry && i < registry->len; i++) {
        stop_for_exit(registry->pdata[i]);
    }
    for (unsigned i = 0; registry && i < registry->len; i++) {
        final_flush(registry->pdata[i], deadline);
    }
    tty_restore();
    if (!closed) {
        closed = g_ptr_array_new();
    }
    while (registry && registry->len) {
        Chardev *c = g_ptr_array_steal_index(registry, registry->len - 1);

        lock_take(&c->lock);
        c->open = false;
        lock_drop(&c->lock);
        close_fds(c);
        g_ptr_array_add(closed, c);
    }
    g_clear_pointer(&registry, g_ptr_array_unref);
}
