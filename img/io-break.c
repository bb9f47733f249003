/* io-break.c: rhea-io: requests that go on by themselves, and the breakpoints that stop them. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include "block/breaks.h"
#include "img/io.h"
#include "util/bytes.h"
#include "util/clock.h"
#include "util/thread.h"

/* --- requests --- */

void aio_init(Session *s)
{
    Error *err = NULL;

    lock_init(&s->lock, RANK_LEAF, "aio");
    if (!notifier_open(&s->rang, &err)) {
        error_report(err);
        exit(1);
    }
    s->done_tail = &s->done;
}

static void happened_locked(Session *s)
{
    s->turn++;
    lock_broadcast(&s->changed);
    notifier_signal(&s->rang);
}

static void stopped(void *arg)
{
    Session *s = arg;

    lock_take(&s->lock);
    happened_locked(s);
    lock_drop(&s->lock);
}

static void aio_thread(void *arg)
{
    Aio *a = arg;
    Session *s = a->s;

    a->run(a);
    lock_take(&s->lock);
    *s->done_tail = a;
    s->done_tail = &a->next;
    happened_locked(s);
    lock_drop(&s->lock);
}

/* Waits until something has happened since @turn was what it was. */
static void wait_turn(Session *s, unsigned turn)
{
    lock_take(&s->lock);
    while (s->turn == turn) {
        lock_wait(&s->lock, &s->changed, -1);
    }
    lock_drop(&s->lock);
}

/* Is one @over, and the turn that is true of. */
static unsigned turn_of(Session *s, bool *over)
{
    lock_take(&s->lock);
    unsigned turn = s->turn;
    *over = s->done != NULL;
    lock_drop(&s->lock);
    return turn;
}

void aio_reap(Session *s)
{
    lock_take(&s->lock);
    Aio *list = s->done;
    s->done = NULL;
    s->done_tail = &s->done;
    lock_drop(&s->lock);
    while (list) {
        Aio *a = list;

        list = a->next;
        thread_join(a->thread);
        s->busy--;
        a->tell(a);
    }
}

bool aio_start(Session *s, Aio *a)
{
    Error *err = NULL;

    a->s = s;
    if (!thread_start(&a->thread, THREAD_POOL, "aio", true, aio_thread, a, &err)) {
        error_report(err);
        return false;
    }
    s->busy++;
    return true;
}

void aio_poll(Session *s, int fd, int64_t ms)
{
    struct pollfd fds[] = { { .fd = s->rang.fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
    int64_t end = ms < 0 ? 0 : clock_now(CLOCK_HOST) + ms * 1000000;

    while (true) {
        notifier_take(&s->rang);
        aio_reap(s);
        fflush(stdout);
        int64_t left = ms < 0 ? -1 : (end - clock_now(CLOCK_HOST) + 999999) / 1000000;
        if (ms >= 0 && left <= 0) {
            return;
        }
        poll(fds, ARRAY_LEN(fds), (int)left);
        if (fds[1].revents) {
            return;
        }
    }
}

bool aio_wait(Session *s)
{
    for (aio_reap(s); s->busy; aio_reap(s)) {
        bool over;
        unsigned turn = turn_of(s, &over);

        if (!over && blk_break_stopped(s->image.node, NULL)) {
            return false;
        }
        if (!over) {
            wait_turn(s, turn);
        }
    }
    return true;
}

void aio_end(Session *s)
{
    if (s->image.node) {
        blk_break_end(s->image.node);
        aio_wait(s);
    }
}

/* --- breakpoints --- */

static int failed(const char *what, int ret)
{
    if (ret < 0) {
        printf("Could not %s: %s\n", what, errno_text(-ret));
    }
    return ret;
}

static int run_break(Session *s, int argc, char **argv)
{
    blk_break_watch(s->image.node, stopped, s);
    return failed("set breakpoint", blk_break_add(s->image.node, argv[1], argv[2]));
}

static int run_remove(Session *s, int argc, char **argv)
{
    g_autofree char *what = g_strdup_printf("remove breakpoint %s", argv[1]);

    return failed(what, blk_break_remove(s->image.node, argv[1]));
}

static int run_resume(Session *s, int argc, char **argv)
{
    return failed("resume request", blk_break_resume(s->image.node, argv[1]));
}

/* Says what would never happen. */
static int run_wait(Session *s, int argc, char **argv)
{
    while (!blk_break_stopped(s->image.node, argv[1])) {
        bool over;
        unsigned turn = turn_of(s, &over);

        if (over) {
            aio_reap(s);
        } else if (blk_break_stopped(s->image.node, argv[1])) {
            break;
        } else if (!blk_break_armed(s->image.node, argv[1])) {
            return failed("wait for a request", -ENOENT);
        } else if (!s->busy) {
            printf("Could not wait for a request: none is on its way to breakpoint %s\n", argv[1]);
            return -EAGAIN;
        } else {
            wait_turn(s, turn);
        }
    }
    return 0;
}

const IoCommand io_break_commands[] = {
    { "break", NULL, 2, 2, true, "event tag",
      "sets a breakpoint on event and tags the stopped request as tag", run_break },
    { "remove_break", NULL, 1, 1, true, "tag", "remove a breakpoint by tag", run_remove },
    { "resume", NULL, 1, 1, true, "tag", "resumes the request tagged as tag", run_resume },
    { "wait_break", NULL, 1, 1, true, "tag", "waits for the suspension of a request", run_wait },
    { 0 },
};
