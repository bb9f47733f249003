/* gate.h: requests of a node that must not overlap, in the order of their arrival; private to block/.
 *
 * 1. A range waits while it overlaps an earlier one, if one of the two wants to be alone.
 * 2. The gate keeps what the owner embeds; it allocates nothing.
 * 3. A thread that waits itself goes before those that are still to be told, since it may be the one whose
 *    loop would tell them. */
#ifndef BLOCK_GATE_H
#define BLOCK_GATE_H

#include "util/lock.h"
#include "util/loop.h"

typedef struct GateRange GateRange;
struct GateRange {
    uint64_t off, end;
    bool alone;
    void (*go)(GateRange *g);  /* on @loop, when it may */
    Loop *loop;

    bool in;                   /* private from here */
    Post post;
    GateRange *next;
};

typedef struct Gate {
    Lock lock;                 /* guards the list */
    GateRange *first;
    LockCond left;             /* something left */
} Gate;

void gate_init(Gate *gate);
void gate_end(Gate *gate);
/* True: @g is in; false: g->go() follows. */
bool gate_enter(Gate *gate, GateRange *g);
/* Waits until @g, which needs no loop, is in: on a thread of the pool, or one that none of the ranges it may
 * meet needs to leave.  False: no thread for what it waits for; it is not in. */
bool gate_enter_wait(Gate *gate, GateRange *g);
void gate_leave(Gate *gate, GateRange *g);

#endif
