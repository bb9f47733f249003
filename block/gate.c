/* gate.c: requests of a node that must not overlap, see gate.h. */
#include "block/gate.h"

#include "util/bytes.h"

void gate_init(Gate *gate)
{
    lock_init(&gate->lock, RANK_LEAF, "blk-gate");
}

void gate_end(Gate *gate)
{
    lock_destroy(&gate->lock);
}

static bool has_to_wait(const Gate *gate, const GateRange *g)
{
    const GateRange *e = gate->first;

    while (e != g && (e->end <= g->off || g->end <= e->off || !(e->alone || g->alone))) {
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
    lock_drop(&gate->lock);
}
