/* qcow2-cache.c: slices of L2 tables and refcount blocks in memory.
 *
 * 1. A slice is found by its place in the file.  One that is dirty, pinned, loading or being written
 *    is not thrown out; the others go in the order of their last use when the cache is full.
 * 2. A flush freezes what it is about to write: a change made meanwhile works on a copy. */
#include <errno.h>
#include "block/blkdebug.h"
#include "block/qcow2-int.h"
#include "util/bytes.h"

bool qcow2_cache_init(Qcow2 *q, uint64_t bytes)
{
    SliceCache *c = &q->cache;

    c->slice_bytes = (unsigned)MIN(q->cluster, 4096);
    c->max = (unsigned)MAX(bytes / c->slice_bytes, 64);
    for (c->bucket_bits = 6; (1u << c->bucket_bits) < c->max && c->bucket_bits < 16; c->bucket_bits++) {
    }
    c->buckets = g_try_new0(Slice *, (size_t)1 << c->bucket_bits);
    return c->buckets != NULL;
}

static Slice **bucket_of(SliceCache *c, uint64_t off)
{
    uint64_t key = off / c->slice_bytes;

    return &c->buckets[(key * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - c->bucket_bits)];
}

static void order_drop(SliceCache *c, Slice *s)
{
    *(s->older ? &s->older->newer : &c->oldest) = s->newer;
    *(s->newer ? &s->newer->older : &c->newest) = s->older;
}

static void order_append(SliceCache *c, Slice *s)
{
    s->newer = NULL;
    s->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

static void slice_free(SliceCache *c, Slice *s)
{
    Slice **at = bucket_of(c, s->off);

    while (*at != s) {
        at = &(*at)->hash_next;
    }
    *at = s->hash_next;
    order_drop(c, s);
    c->count--;
    g_free(s->data);
    g_free(s);
}

void qcow2_cache_free(Qcow2 *q)
{
    while (q->cache.oldest) {
        slice_free(&q->cache, q->cache.oldest);
    }
    g_free(q->cache.buckets);
}

Slice *qcow2_slice_find_locked(Qcow2 *q, uint64_t off)
{
    SliceCache *c = &q->cache;
    uint64_t at = off - off % c->slice_bytes;
    Slice *s = *bucket_of(c, at);

    while (s && s->off != at) {
        s = s->hash_next;
    }
    if (!s || s->loading) {
        return NULL;
    }
    if (s != c->newest) {
        order_drop(c, s);
        order_append(c, s);
    }
    return s;
}

/* Throws out what was not used for longest, as far as the limit asks for it. */
static void make_room(SliceCache *c)
{
    for (Slice *s = c->oldest, *next; s && c->count >= c->max; s = next) {
        next = s->newer;
        if (!s->pins && !s->dirty && !s->loading && !s->frozen) {
            slice_free(c, s);
        }
    }
}

static Slice *slice_new(SliceCache *c, SliceKind kind, uint64_t at)
{
    Slice *s = g_new0(Slice, 1);
    Slice **bucket = bucket_of(c, at);

    s->off = at;
    s->kind = kind;
    s->data = g_malloc(c->slice_bytes);
    s->loading = true;
    s->hash_next = *bucket;
    *bucket = s;
    order_append(c, s);
    c->count++;
    return s;
}

/* Any slice at @at, loading ones too. */
static Slice *slice_any(SliceCache *c, uint64_t at)
{
    Slice *s = *bucket_of(c, at);

    while (s && s->off != at) {
        s = s->hash_next;
    }
    return s;
}

int qcow2_slice_get_locked(BlkNode *n, SliceKind kind, uint64_t off, Slice **out) LOCK_UNCHECKED
{
    Qcow2 *q = n->state;
    SliceCache *c = &q->cache;
    uint64_t at = off - off % c->slice_bytes;
    Slice *s;

    while ((s = slice_any(c, at)) && s->loading) {
        lock_wait(&q->lock, &q->changed, -1);
    }
    if (!s) {
        make_room(c);
        s = slice_new(c, kind, at);
        lock_drop(&q->lock);
        blk_event(n->child, kind == SLICE_L2 ? BLKDEBUG_EVENT_L2_LOAD : BLKDEBUG_EVENT_REFBLOCK_LOAD);
        int ret = blk_pread(n->child, at, s->data, c->slice_bytes);
        lock_take(&q->lock);
        s->loading = false;
        lock_broadcast(&q->changed);
        if (ret < 0) {
            slice_free(c, s);
            return ret;
        }
    }
    if (s->kind != kind) {
        return -EUCLEAN;       /* one cluster is both a refcount block and an L2 table */
    }
    s->pins++;
    *out = s;
    return 0;
}

void qcow2_slice_change_locked(Qcow2 *q, Slice *s)
{
    if (s->frozen == s->data) {
        s->data = g_memdup2(s->data, q->cache.slice_bytes);
    }
    if (!s->dirty) {
        s->dirty = true;
        q->cache.dirty++;
    }
}

void qcow2_slice_forget_locked(Qcow2 *q, uint64_t off)
{
    SliceCache *c = &q->cache;

    for (uint64_t at = off; at < off + q->cluster; at += c->slice_bytes) {
        Slice *s = slice_any(c, at);

        if (s && !s->pins && !s->loading && !s->frozen) {
            c->dirty -= s->dirty;
            slice_free(c, s);
        }
    }
}
