/* drive.c: nodes that a -drive made, and what it said of the device that gets them.
 *
 *   -drive --BlkOptions--> node --blk_move_drive()--> what is on top now --blk_front_open()--> device */
#include "block/block-int.h"
#include "block/graph.h"
#include "block/throttle.h"

void blk_drive_set(BlkNode *n, const char *id, const BlkWords *words)
{
    BlkWords *w = &n->words;

    n->drive_id = g_strdup(id);
    *w = *words;
    w->rates = w->rates ? g_memdup2(w->rates, sizeof(*w->rates)) : NULL;
    w->rates_group = g_strdup(w->rates_group);
    w->intervals = g_memdup2(w->intervals, w->intervals_count * sizeof(*w->intervals));
}

void blk_drive_clear(BlkNode *n)
{
    g_clear_pointer(&n->drive_id, g_free);
    g_free((void *)n->words.rates);
    g_free((void *)n->words.rates_group);
    g_free((void *)n->words.intervals);
    n->words = (BlkWords){ 0 };
}

const char *blk_drive_id(const BlkNode *n)
{
    return n->drive_id ? n->drive_id : "";
}

bool blk_is_drive(const BlkNode *n)
{
    return n->drive_id != NULL;
}

const BlkWords *blk_drive_words(const BlkNode *n)
{
    return n->drive_id ? &n->words : NULL;
}

void blk_rename_drive(BlkNode *n, const char *id)
{
    assert_control();
    g_free(n->drive_id);
    n->drive_id = g_strdup(id);
}

void blk_move_drive(BlkNode *from, BlkNode *to)
{
    if (!from->drive_id) {
        return;
    }
    blk_drive_clear(to);
    to->drive_id = g_steal_pointer(&from->drive_id);
    to->words = from->words;
    from->words = (BlkWords){ 0 };
    from->kept = false;        /* the device's disk goes with the device: it is what is on top now */
    to->kept = true;
}

void blk_lose_drive(BlkNode *n)
{
    assert_control();
    g_clear_pointer(&n->drive_id, g_free);
    n->kept = false;
    blk_close_unused(n);
}
