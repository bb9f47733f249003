/* blkdebug.h: events that formats tell a blkdebug node below them; private to block/. */
#ifndef BLOCK_BLKDEBUG_H
#define BLOCK_BLKDEBUG_H

#include "block/block-int.h"
#include "qapi/types.h"

/* Breakpoints, see breaks.h. */
typedef struct BreakStop BreakStop;
struct BreakStop {
    unsigned holds;            /* breakpoints that hold it */
    void (*go)(BreakStop *s);  /* the last lets it go, with the lock held; NULL: a thread waits */
};

typedef struct Breaks {
    Lock lock;
    LockCond changed;
    GArray *armed, *held;      /* Break; Held, the latest last */
    unsigned count;            /* atomic: of armed */
    void (*watch)(void *arg);
    void *watch_arg;
} Breaks;

Breaks *blkdebug_breaks(BlkNode *n);
void breaks_init(Breaks *b);
/* With nothing held. */
void breaks_fini(Breaks *b);
/* @event happens to @stop, which is not gone before it may go on; true: it may not yet. */
bool breaks_hit(Breaks *b, BlkdebugEvent event, BreakStop *stop);
/* Takes one hold of @stop, which was set before it was told of, away. */
void breaks_release(Breaks *b, BreakStop *stop);
/* breaks_hit() for the calling thread, which returns when it may go on. */
void breaks_wait(Breaks *b, BlkdebugEvent event);

static inline bool breaks_any(const Breaks *b)
{
    return G_UNLIKELY(__atomic_load_n(&b->count, __ATOMIC_RELAXED));
}

void blk_event_slow(BlkNode *n, BlkdebugEvent event);

/* @event is about to happen with what is at @n: if that is a blkdebug node, its rules hold from now on.  Any
 * thread. */
static inline void blk_event(BlkNode *n, BlkdebugEvent event)
{
    if (G_UNLIKELY(n->drv == &blk_blkdebug)) {
        blk_event_slow(n, event);
    }
}

#endif
