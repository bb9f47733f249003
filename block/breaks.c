/* breaks.c: breakpoints, see breaks.h.
 *
 * 1. A thread that a request runs on waits where the event happened, with the locks it has; who lets it go
 *    on needs none of those.  On a loop the request is put aside. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "block/blkdebug.h"
#include "block/breaks.h"

typedef struct Break {
    BlkdebugEvent event;
    char *tag;
} Break;

typedef struct Held {
    char *tag;
    BreakStop *stop;
} Held;

static void break_clear(void *p)
{
    g_free(((Break *)p)->tag);
}

static void held_clear(void *p)
{
    g_free(((Held *)p)->tag);
}

void breaks_init(Breaks *b)
{
    lock_init(&b->lock, RANK_LEAF, "breaks");
    b->armed = g_array_new(false, false, sizeof(Break));
    b->held = g_array_new(false, false, sizeof(Held));
    g_array_set_clear_func(b->armed, break_clear);
    g_array_set_clear_func(b->held, held_clear);
}

void breaks_fini(Breaks *b)
{
    g_array_unref(b->armed);
    g_array_unref(b->held);
    lock_destroy(&b->lock);
}

/* --- stopping --- */

bool breaks_hit(Breaks *b, BlkdebugEvent event, BreakStop *stop)
{
    void (*told)(void *arg) = NULL;
    void *arg = NULL;
    bool hit = false;

    lock_take(&b->lock);
    for (unsigned i = b->armed->len; i-- > 0;) {
        const Break *one = &g_array_index(b->armed, Break, i);

        if (one->event == event) {
            Held h = { g_strdup(one->tag), stop };

            g_array_append_val(b->held, h);
            stop->holds++;
            hit = true;
            told = b->watch;
            arg = b->watch_arg;
            printf("blkdebug: Suspended request '%s'\n", h.tag);
            g_array_remove_index(b->armed, i);
        }
    }
    __atomic_store_n(&b->count, b->armed->len, __ATOMIC_RELAXED);
    lock_drop(&b->lock);
    if (told) {
        told(arg);
    }
    return hit;
}

void breaks_wait(Breaks *b, BlkdebugEvent event)
{
    BreakStop stop = { 0 };

    breaks_hit(b, event, &stop);
    lock_take(&b->lock);
    while (stop.holds) {
        lock_wait(&b->lock, &b->changed, -1);
    }
    lock_drop(&b->lock);
}

/* --- going on --- */

static void release_locked(Breaks *b, BreakStop *stop)
{
    if (--stop->holds == 0) {
        if (stop->go) {
            stop->go(stop);
        } else {
            lock_broadcast(&b->changed);
        }
    }
}

void breaks_release(Breaks *b, BreakStop *stop)
{
    lock_take(&b->lock);
    release_locked(b, stop);
    lock_drop(&b->lock);
}

/* What @i holds is held once less. */
static void let_go_locked(Breaks *b, unsigned i)
{
    const Held *h = &g_array_index(b->held, Held, i);
    BreakStop *stop = h->stop;

    printf("blkdebug: Resuming request '%s'\n", h->tag);
    g_array_remove_index(b->held, i);
    release_locked(b, stop);
}

static Breaks *find(BlkNode *n)
{
    while (n && n->drv != &blk_blkdebug) {
        n = n->child;
    }
    return n ? blkdebug_breaks(n) : NULL;
}

int blk_break_add(BlkNode *n, const char *event, const char *tag)
{
    Breaks *b = find(n);

    for (unsigned e = 0; b && e <= BLKDEBUG_EVENT_NONE; e++) {
        if (!strcmp(blkdebug_event_name((BlkdebugEvent)e), event)) {
            Break one = { (BlkdebugEvent)e, g_strdup(tag) };

            lock_take(&b->lock);
            g_array_append_val(b->armed, one);
            __atomic_store_n(&b->count, b->armed->len, __ATOMIC_RELAXED);
            lock_drop(&b->lock);
            return 0;
        }
    }
    return b ? -ENOENT : -ENOTSUP;
}

int blk_break_resume(BlkNode *n, const char *tag)
{
    Breaks *b = find(n);
    int ret = b ? -ENOENT : -ENOTSUP;

    if (!b) {
        return ret;
    }
    lock_take(&b->lock);
    for (unsigned i = b->held->len; ret < 0 && i-- > 0;) {
        if (!strcmp(g_array_index(b->held, Held, i).tag, tag)) {
            let_go_locked(b, i);
            ret = 0;
        }
    }
    lock_drop(&b->lock);
    return ret;
}

/* NULL: all of them. */
static int drop_all(Breaks *b, const char *tag)
{
    int ret = -ENOENT;

    lock_take(&b->lock);
    for (unsigned i = b->armed->len; i-- > 0;) {
        if (!tag || !strcmp(g_array_index(b->armed, Break, i).tag, tag)) {
            g_array_remove_index(b->armed, i);
            ret = 0;
        }
    }
    __atomic_store_n(&b->count, b->armed->len, __ATOMIC_RELAXED);
    for (unsigned i = b->held->len; i-- > 0;) {
        if (!tag || !strcmp(g_array_index(b->held, Held, i).tag, tag)) {
            let_go_locked(b, i);
        }
    }
    lock_drop(&b->lock);
    return ret;
}

int blk_break_remove(BlkNode *n, const char *tag)
{
    Breaks *b = find(n);

    return b ? drop_all(b, tag) : -ENOTSUP;
}

void blk_break_end(BlkNode *n)
{
    Breaks *b = find(n);

    if (b) {
        drop_all(b, NULL);
    }
}

bool blk_break_stopped(BlkNode *n, const char *tag)
{
    Breaks *b = find(n);
    bool is = false;

    if (b) {
        lock_take(&b->lock);
        for (unsigned i = 0; i < b->held->len; i++) {
            is |= !tag || !strcmp(g_array_index(b->held, Held, i).tag, tag);
        }
        lock_drop(&b->lock);
    }
    return is;
}

bool blk_break_armed(BlkNode *n, const char *tag)
{
    Breaks *b = find(n);
    bool is = false;

    if (b) {
        lock_take(&b->lock);
        for (unsigned i = 0; i < b->armed->len; i++) {
            is |= !strcmp(g_array_index(b->armed, Break, i).tag, tag);
        }
        lock_drop(&b->lock);
    }
    return is;
}

int blk_break_watch(BlkNode *n, void (*fn)(void *arg), void *arg)
{
    Breaks *b = find(n);

    if (!b) {
        return -ENOTSUP;
    }
    lock_take(&b->lock);
    b->watch = fn;
    b->watch_arg = arg;
    lock_drop(&b->lock);
    return 0;
}
