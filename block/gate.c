/* gate.c: requests of a node that must not overlap, see gate.h. */
#include "block/gate.h"
#include "block/pool.h"
#include "util/bytes.h"

void gate_init(Gate *gate)
{
    lock_init(&gate->lock, RANK_LEAF, "blk-gate");
}

void gate_end(Gate *gate)
{
    lock_destroy(&gate->lock);
}

static bool apart(const GateRange *a, const GateRange *b)
{
    return a->end <= b->off || b->end <= a->off || !(a->alone || b->alone);
}

static bool has_to_wait(const Gate *gate, const GateRange *g)
{
    const GateRange *e = gate->first;

    while (e != g && apart(e, g)) {
        e = e->next;
    }
    return e != g;
}

static void range_posted(Post *p)
{
    GateRange *g = container_of(p, GateRange, post);

    g->go(g);
}

bool gate_enter(Gate *gate, GateRange *g)
{
    GateRange **end = &gate->first;

    g->next = NULL;
    g->post.run = range_posted;
    lock_take(&gate->lock);
    for (; *end; end = &(*end)->next) {
    }
    *end = g;
    bool in = g->in = !has_to_wait(gate, g);
    lock_drop(&gate->lock);
    return in;
}

static bool somebody_in(const Gate *gate, const GateRange *g)
{
    const GateRange *e = gate->first;

    while (e && (!e->in || apart(e, g))) {
        e = e->next;
    }
    return e != NULL;
}

bool gate_enter_wait(Gate *gate, GateRange *g)
{
    if (!pool_wait_begin()) {
        return false;
    }
    lock_take(&gate->lock);
    while (somebody_in(gate, g)) {
        lock_wait(&gate->lock, &gate->left, -1);
    }
    g->in = true;
    g->next = gate->first;
    gate->first = g;
    lock_drop(&gate->lock);
    pool_wait_end();
    return true;
}

void gate_leave(Gate *gate, GateRange *g)
{
    lock_take(&gate->lock);
    GateRange **at = &gate->first;
    for (; *at != g; at = &(*at)->next) {
    }
    *at = g->next;
    /* Those before it did not wait for it. */
    for (GateRange *e = g->next; e; e = e->next) {
        if (!e->in && !has_to_wait(gate, e)) {
            e->in = true;
            loop_post(e->loop, &e->post);
        }
    }
    lock_broadcast(&gate->left);
    lock_drop(&gate->lock);
}
