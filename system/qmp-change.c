/* qmp-change.c: changes of the graph that are made as a whole or not at all, see qmp-change.h. */
#include "system/qmp-change.h"

#include "block/graph.h"

static void step_free(gpointer p)
{
    Step *s = p;

    g_free(s->text);
    g_free(s->format);
    qapi_free_transaction_action(s->action);
    g_clear_pointer(&s->more, g_ptr_array_unref);
    blk_bitmap_bits_free(s->bits);
    g_free(s);
}

Change *change_new(QmpPending *pending)
{
    Change *c = g_new0(Change, 1);

    *c = (Change){ .pending = pending, .steps = g_ptr_array_new_with_free_func(step_free) };
    return c;
}

Step *change_step(Change *c, bool (*act)(Step *s, Error **errp), BlkNode *node, BlkNode *other)
{
    Step *s = g_new0(Step, 1);

    *s = (Step){ .act = act, .node = node, .other = other };
    g_ptr_array_add(c->steps, s);
    return s;
}

/* Nothing came of it: what was opened for it goes. */
static void change_drop(Change *c)
{
    for (unsigned i = 0; i < c->steps->len; i++) {
        const Step *s = c->steps->pdata[i];

        if (s->made) {
            blk_close_unused(s->other);
        }
        if (s->old != NULL) {
            blk_close_unused(s->old);
        }
        if (s->old_file != NULL) {
            blk_close_unused(s->old_file);
        }
    }
    g_ptr_array_unref(c->steps);
    job_group_unref(c->group);
    g_free(c);
}

static void change_held(BlkHold *h, void *arg)
{
    Change *c = arg;
    Error *err = NULL;
    unsigned done = 0;

    while (done < c->steps->len && ((Step *)c->steps->pdata[done])->act(c->steps->pdata[done], &err)) {
        done++;
    }
    for (unsigned i = done; err != NULL && i-- > 0;) {
        Step *s = c->steps->pdata[i];

        if (s->undo != NULL) {
            s->undo(s);
        }
    }
    blk_release(h);
    for (unsigned i = 0; err == NULL && i < done; i++) {
        Step *s = c->steps->pdata[i];

        if (s->settle != NULL) {
            s->settle(s);
        }
    }
    QmpPending *pending = c->pending;
    change_drop(c);
    qmp_pending_done(pending, err);
}

bool change_go(Change *c)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    for (unsigned i = 0; i < c->steps->len; i++) {
        const Step *s = c->steps->pdata[i];

        if (s->node != NULL) {
            g_ptr_array_add(nodes, s->node);
        }
        for (unsigned k = 0; s->more != NULL && k < s->more->len; k++) {
            g_ptr_array_add(nodes, s->more->pdata[k]);
        }
        if (s->other != NULL) {
            g_ptr_array_add(nodes, s->other);
        }
        if (s->old != NULL) {
            g_ptr_array_add(nodes, s->old);
        }
        if (s->file != NULL) {
            g_ptr_array_add(nodes, s->file);
            g_ptr_array_add(nodes, s->old_file);
        }
    }
    blk_hold((BlkNode *const *)nodes->pdata, nodes->len, change_held, c);
    return true;
}

bool change_prepared(Change *c, bool ok)
{
    if (!ok) {
        change_drop(c);
        return false;
    }
    return change_go(c);
}
