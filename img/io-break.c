/* io-break.c: rhea-io: requests that go on by themselves, and the breakpoints that stop them. */
#include <errno.h>
#include "block/breaks.h"
#include "img/io.h"
#include "util/thread.h"

/* --- requests --- */

void aio_init(Session *s)
{
    lock_init(&s->lock, RANK_LEAF, "aio");
    s->done_tail = &s->done;
}

static void happened_locked(Session *s)
{
    s->turn++;
    lock_broadcast(&s->changed);
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
    a->over = true;
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

static unsigned turn_of(Session *s, const Aio *a, bool *over)
{
    lock_take(&s->lock);
    unsigned turn = s->turn;
    *over = a ? a->over : s->done != NULL;
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
    bool over = false;

    a->s = s;
    if (!thread_start(&a->thread, THREAD_POOL, "aio", true, aio_thread, a, &err)) {
        error_report(err);
        return false;
    }
    s->busy++;
    while (!over) {
        unsigned turn = turn_of(s, a, &over);

        if (over || blk_break_stopped(s->image.node, NULL)) {
            break;
        }
        wait_turn(s, turn);
    }
    aio_reap(s);
    return true;
}

bool aio_wait(Session *s)
{
    for (aio_reap(s); s->busy; aio_reap(s)) {
        bool over;
        unsigned turn = turn_of(s, NULL, &over);

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
        unsigned turn = turn_of(s, NULL, &over);

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
