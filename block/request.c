/* request.c: requests on their way through the graph, and the loops they run on.
 *
 * 1. The fast path allocates nothing: a request whose answer is one extent of the child goes down
 *    as it is; anything else becomes a walk of child requests (walk.c).
 * 2. done() is called from the loop's own callbacks only: completions found inside submit() wait on
 *    the done list for the post of this iteration.
 * 3. A lane's count drops after done() returned, so a request that done() resubmits never lets a
 *    drain through in between. */
#include "block/blkdebug.h"
#include "block/block-int.h"
#include "block/engine.h"
#include "block/front.h"
#include "block/pool.h"
#include "block/throttle.h"
#include "block/walk.h"
#include "util/bytes.h"
#include "util/crypt.h"

/* Engine flushes before the loop's other work gets its turn. */
#define ROUNDS 8

/* All loops that use any node.  File-level because loops are process-wide and nodes share what they
 * keep of one. */
static Lock loops_lock = LOCK_INIT(RANK_LEAF, "blk-loops");
static BlkLoop *loops GUARDED_BY(loops_lock);

/* --- loops --- */

static void run_done_list(BlkLoop *bl)
{
    BlkReq *r = bl->done_head;

    bl->done_head = NULL;
    bl->done_tail = &bl->done_head;
    while (r) {
        BlkReq *next = r->next;

        blk_complete(r, (int)r->ret);
        r = next;
    }
}

static void run_rounds(BlkLoop *bl)
{
    for (unsigned round = 0; round < ROUNDS && (bl->dirty || bl->done_head); round++) {
        unsigned dirty = bl->dirty;

        bl->dirty = 0;
        for (unsigned i = 0; dirty; i++, dirty >>= 1) {
            if (dirty & 1) {
                blk_engine(i)->flush(bl->engine[i]);
            }
        }
        if (bl->done_head) {
            run_done_list(bl);
        }
    }
}

void blk_loop_enter(BlkLoop *bl)
{
    bl->running = true;
    bl->now = clock_now(CLOCK_HOST);
}

void blk_loop_leave(BlkLoop *bl)
{
    run_rounds(bl);
    bl->running = false;
    if (bl->dirty || bl->done_head) {
        blk_loop_kick(bl);
    }
}

static void loop_run(Post *p)
{
    BlkLoop *bl = container_of(p, BlkLoop, post);

    bl->posted = false;
    if (bl->dead) {
        g_free(bl);
        return;
    }
    bl->running = true;        /* bl->now is that of the kick: this is still its iteration */
    blk_loop_leave(bl);
}

void blk_loop_kick(BlkLoop *bl)
{
    if (!bl->posted && !bl->running) {
        bl->posted = true;
        bl->now = clock_now(CLOCK_HOST);
        loop_post(bl->loop, &bl->post);
    }
}

BlkLoop *blk_loop_get(Loop *l)
{
    lock_take(&loops_lock);
    BlkLoop *bl = loops;
    while (bl && bl->loop != l) {
        bl = bl->next;
    }
    if (!bl) {
        bl = g_new0(BlkLoop, 1);
        bl->loop = l;
        bl->post.run = loop_run;
        bl->done_tail = &bl->done_head;
        bl->next = loops;
        loops = bl;
    }
    lock_drop(&loops_lock);
    return bl;
}

static void loop_end(void *arg)
{
    BlkLoop *bl = arg;

    for (unsigned i = 0; i < BLK_ENGINES; i++) {
        if (bl->engine[i]) {
            blk_engine(i)->close(bl->engine[i]);
        }
    }
    bl->dead = bl->posted;
    if (!bl->dead) {
        g_free(bl);
    }
}

void blk_loop_drop(Loop *l)
{
    lock_take(&loops_lock);
    BlkLoop **at = &loops;
    while (*at && (*at)->loop != l) {
        at = &(*at)->next;
    }
    BlkLoop *bl = *at;
    if (bl) {
        *at = bl->next;
    }
    lock_drop(&loops_lock);
    if (bl) {
        loop_call_wait(l, loop_end, bl);
    }
}

/* --- lanes --- */

static BlkLane *lane_of(BlkNode *n, Loop *loop, bool outside);

/* The graph may be changing: @outside ones get no lane then (NULL). */
static BlkLane *lane_new(BlkNode *n, Loop *loop, bool outside)
{
    BlkLane *child = n->child ? lane_of(n->child, loop, outside) : NULL;

    if (n->child && !child) {
        return NULL;
    }
    BlkLane *l = g_new0(BlkLane, 1);

    l->loop = loop;
    l->node = n;
    l->bl = blk_loop_get(loop);
    l->child = child;
    l->refs = 1;
    l->bit = l->child ? MIN(l->child->bit + 1, 31) : 0;
    lock_take(&n->lanes_lock);
    if (outside && n->hold) {
        g_clear_pointer(&l, g_free);
    } else {
        l->next = n->lanes;
        epoch_store(n->lanes, l);
    }
    lock_drop(&n->lanes_lock);
    return l;
}

static BlkLane *lane_find(BlkNode *n, const Loop *loop)
{
    BlkLane *l = epoch_load(n->lanes);

    while (l && l->loop != loop) {
        l = epoch_load(l->next);
    }
    return l;
}

static BlkLane *lane_of(BlkNode *n, Loop *loop, bool outside)
{
    BlkLane *l = lane_find(n, loop);

    /* Only the loop itself adds its lane, so it cannot be added twice. */
    return l ? l : lane_new(n, loop, outside);
}

static void lane_unref(BlkLane *l)
{
    if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        g_free(l);
    }
}

static void lane_dropped(EpochItem *item)
{
    lane_unref(container_of(item, BlkLane, epoch));
}

static void stats_add(BlkStats *to, const BlkStats *s)
{
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *from = (const uint64_t *)s;

    for (unsigned i = 0; i < offsetof(BlkStats, wr_highest) / sizeof(*sum); i++) {
        sum[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    }
    to->wr_highest = MAX(to->wr_highest, __atomic_load_n(&s->wr_highest, __ATOMIC_RELAXED));
}

void blk_lanes_drop(BlkNode *n, const Loop *l)
{
    lock_take(&n->lanes_lock);
    for (BlkLane **at = &n->lanes; *at;) {
        BlkLane *lane = *at;

        if (!l || lane->loop == l) {
            epoch_store(*at, lane->next);
            stats_add(&n->past, &lane->stats);
            epoch_defer(&lane->epoch, lane_dropped);
        } else {
            at = &lane->next;
        }
    }
    lock_drop(&n->lanes_lock);
}

static void count(uint64_t *at, uint64_t add)
{
    __atomic_store_n(at, *at + add, __ATOMIC_RELAXED);
}

static void lane_enter(BlkLane *l, BlkReq *r)
{
    __atomic_store_n(&l->in_flight, l->in_flight + 1, __ATOMIC_RELAXED);
    if (r->op != BLK_FLUSH) {
        __atomic_store_n(&l->placed, l->placed + 1, __ATOMIC_RELAXED);
    }
    r->phases |= l->phase << l->bit;
    if (G_UNLIKELY(epoch_load(l->node->bitmaps)) && r->op != BLK_READ && r->op != BLK_FLUSH) {
        blk_bitmaps_mark(l->node, r->pos, r->left);
    }
}

/* --- grace --- */

typedef struct GraceItem {
    Post post;
    Loop *loop;
    BlkNode *node;
    BlkGrace *grace;
} GraceItem;

static void grace_leave(BlkGrace *g)
{
    if (__atomic_sub_fetch(&g->left, 1, __ATOMIC_ACQ_REL) == 0) {
        g->over(g);
    }
}

static void grace_here(Post *p)
{
    GraceItem *item = container_of(p, GraceItem, post);
    BlkLane *l = lane_find(item->node, item->loop);

    if (l && l->placed) {
        l->older = l->placed;
        l->phase ^= 1;
        l->grace = item->grace;
    } else {
        grace_leave(item->grace);
    }
    __atomic_sub_fetch(&item->node->graces, 1, __ATOMIC_RELEASE);      /* from here on it may be closed */
    g_free(item);
}

/* A step of a blocking request at @n begins; its phase. */
static unsigned step_enter(BlkNode *n)
{
    lock_take(&n->wait_lock);
    unsigned phase = n->step_phase;
    n->steps[phase]++;
    lock_drop(&n->wait_lock);
    return phase;
}

static void step_leave(BlkNode *n, unsigned phase)
{
    BlkGrace *over = NULL;

    lock_take(&n->wait_lock);
    if (--n->steps[phase] == 0 && phase != n->step_phase) {
        over = g_steal_pointer(&n->step_grace);
    }
    lock_drop(&n->wait_lock);
    if (over) {
        grace_leave(over);
    }
}

/* @g waits for the steps that there are. */
static void grace_steps(BlkNode *n, BlkGrace *g)
{
    lock_take(&n->wait_lock);
    if (n->steps[n->step_phase]) {
        __atomic_add_fetch(&g->left, 1, __ATOMIC_RELAXED);
        n->step_grace = g;
        n->step_phase ^= 1;
    }
    lock_drop(&n->wait_lock);
}

void blk_grace(BlkNode *n, BlkGrace *g)
{
    __atomic_store_n(&g->left, 1, __ATOMIC_RELAXED);
    grace_steps(n, g);
    lock_take(&n->lanes_lock);         /* what is posted to a loop is there before the loop is forgotten */
    for (BlkLane *l = epoch_load(n->lanes); l; l = epoch_load(l->next)) {
        if (__atomic_load_n(&l->placed, __ATOMIC_ACQUIRE) == 0) {
            continue;
        }
        GraceItem *item = g_new0(GraceItem, 1);
        *item = (GraceItem){ .post.run = grace_here, .loop = l->loop, .node = n, .grace = g };
        __atomic_add_fetch(&g->left, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&n->graces, 1, __ATOMIC_RELAXED);
        loop_post(l->loop, &item->post);
    }
    lock_drop(&n->lanes_lock);
    grace_leave(g);
}

/* --- drain --- */

struct BlkDrainItem {
    Post post;
    BlkLane *lane;
    Barrier *home;
    BlkDrainItem *next;
};

static void drain_home(BlkDrainItem *d)
{
    Barrier *home = d->home;

    lane_unref(d->lane);
    g_free(d);
    barrier_leave(home);
}

static void drain_here(Post *p)
{
    BlkDrainItem *d = container_of(p, BlkDrainItem, post);

    if (d->lane->in_flight == 0) {
        drain_home(d);
        return;
    }
    d->next = d->lane->drains;
    d->lane->drains = d;
}

static void lane_empty(BlkLane *l)
{
    BlkDrainItem *d = l->drains;

    l->drains = NULL;
    while (d) {
        BlkDrainItem *next = d->next;

        drain_home(d);
        d = next;
    }
}

static void lane_leave(BlkLane *l, uint32_t phases, bool placed)
{
    if (placed) {
        if (G_UNLIKELY(l->older) && (phases >> l->bit & 1) != l->phase && --l->older == 0) {
            grace_leave(l->grace);
        }
        __atomic_store_n(&l->placed, l->placed - 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&l->in_flight, l->in_flight - 1, __ATOMIC_RELAXED);
    if (l->in_flight == 0 && l->drains) {
        lane_empty(l);
    }
}

void blk_drain(BlkNode *n, Barrier *home)
{
    epoch_enter();
    for (BlkLane *l = epoch_load(n->lanes); l; l = epoch_load(l->next)) {
        BlkDrainItem *d = g_new0(BlkDrainItem, 1);

        d->post.run = drain_here;
        d->lane = l;
        __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
        d->home = home;
        barrier_enter(home);
        loop_post(l->loop, &d->post);
    }
    epoch_leave();
}

/* --- the way down --- */

static void descend(BlkReq *r, BlkLane *l)
{
    for (;;) {
        const BlkDriver *drv = l->node->drv;
        Extent e = { 0 };
        int ret = 0;

        r->at = l;
        lane_enter(l, r);
        if (G_UNLIKELY(r->op != BLK_READ && blk_threshold(l->node))) {
            blk_threshold_hit(l->node, r->op == BLK_DISCARD ? 0 : r->pos + r->left);
        }
        if (G_UNLIKELY(l->node->detect_zeroes) && r->op == BLK_WRITE && blk_zeroes_instead(l, r)) {
            return;
        }
        if (drv->submit) {
            drv->submit(l, r);
            return;
        }
        if (drv->filter) {
            if (drv->intercept && drv->intercept(l, r)) {
                return;
            }
        } else if (r->op == BLK_FLUSH) {
            if (drv->flush_meta) {
                walk_flush(r, l);
                return;
            }
        } else if (G_UNLIKELY(l->node->crypt)) {
            walk_start(r, l, NULL);
            return;
        } else {
            ret = drv->resolve(l->node, r, &e);
            if (ret < 0 || e.is != EXT_DATA || e.link || e.len < r->left ||
                e.node != l->node->child) {
                walk_start(r, l, ret == 0 ? &e : NULL);
                return;
            }
            r->pos = e.off;
        }
        l = l->child;
    }
}

/* 0, or what is wrong with @r. */
static int check_request(const BlkNode *n, BlkReq *r)
{
    if (r->op == BLK_FLUSH) {
        r->left = 0;
        return 0;
    }
    if (!fits(r->off, r->len, MAX(blk_size(n), __atomic_load_n(&n->room, __ATOMIC_RELAXED)))) {
        return -EIO;
    }
    if (r->op != BLK_READ && n->read_only) {
        return -EACCES;
    }
    r->bits = 0;
    if (r->op == BLK_READ || r->op == BLK_WRITE) {
        uint64_t sum = 0;

        if (r->niov > BLK_IOV_MAX) {
            return -EINVAL;
        }
        for (unsigned i = 0; i < r->niov; i++) {
            sum += r->iov[i].iov_len;
            r->bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
        }
        return sum == r->len ? 0 : -EINVAL;
    }
    return r->op < BLK_OPS ? 0 : -EINVAL;
}

/* Sends @r on its way from @l. */
static void begin(BlkReq *r, BlkLane *l)
{
    r->pos = r->off;
    r->left = r->len;
    r->cur = r->iov;
    r->ncur = r->niov;
    r->aux = NULL;
    r->phases = 0;
    if (G_UNLIKELY(r->flags & BLK_VISIT)) {
        lane_enter(l, r);
        r->visit(r, l->node);
        return;
    }
    int ret = check_request(l->node, r);
    if (ret == 0 && (r->left || r->op == BLK_FLUSH)) {
        descend(r, l);
    } else {
        lane_enter(l, r);
        blk_complete_later(r, ret);
    }
}

static void submit(BlkNode *n, BlkReq *r, bool outside, struct ThrottleMember *limits)
{
    BlkLane *l = NULL;

    assert_loop(r->loop);
    for (;;) {
        if (G_UNLIKELY(outside && __atomic_load_n(&n->hold, __ATOMIC_ACQUIRE)) && blk_hold_back(n, r)) {
            return;
        }
        l = lane_find(n, r->loop);
        if (G_LIKELY(l)) {
            break;
        }
        l = lane_new(n, r->loop, outside);
        BlkNode *now = r->user ? __atomic_load_n(&r->user->node, __ATOMIC_RELAXED) : n;
        if (l && now == n) {
            break;
        }
        n = now;               /* it was moved before this loop had a lane that a drain could wait for */
    }
    blk_loop_kick(l->bl);
    r->lane = r->at = l;
    r->start = l->bl->now;
    if (G_UNLIKELY(limits) && !(r->flags & BLK_VISIT)) {
        /* While it waits it is in flight, for whoever waits for the lane. */
        __atomic_store_n(&l->in_flight, l->in_flight + 1, __ATOMIC_RELAXED);
        if (throttle_pass(limits, r)) {
            blk_throttled_go(r);
        }
        return;
    }
    begin(r, l);
}

void blk_throttled_go(BlkReq *r)
{
    BlkLane *l = r->lane;

    blk_loop_kick(l->bl);
    begin(r, l);
    lane_leave(l, 0, false);
}

void blk_pass_down(BlkReq *r)
{
    blk_loop_kick(r->at->bl);
    descend(r, r->at->child);
}

void blk_submit(BlkNode *n, BlkReq *r)
{
    r->user = NULL;
    submit(n, r, true, NULL);
}

static struct ThrottleMember *limits_of(const BlkUser *u)
{
    return u->front ? __atomic_load_n(&u->front->throttle, __ATOMIC_ACQUIRE) : NULL;
}

void blk_user_submit(BlkUser *u, BlkReq *r)
{
    r->user = u;
    submit(__atomic_load_n(&u->node, __ATOMIC_RELAXED), r, true, limits_of(u));
}

static BlkReq *visit_of(BlkReq *r, void (*visit)(BlkReq *r, BlkNode *n))
{
    r->op = BLK_READ;          /* of nothing */
    r->flags = BLK_QUIET | BLK_VISIT;
    r->off = r->len = 0;
    r->iov = NULL;
    r->niov = 0;
    r->visit = visit;
    return r;
}

void blk_user_visit(BlkUser *u, BlkReq *r, void (*visit)(BlkReq *r, BlkNode *n))
{
    blk_user_submit(u, visit_of(r, visit));
}

void blk_visit_below(BlkNode *n, BlkReq *r, void (*visit)(BlkReq *r, BlkNode *n))
{
    blk_submit_below(n, visit_of(r, visit));
}

void blk_visit_end(BlkReq *r, int ret)
{
    blk_complete_later(r, ret);
}

void blk_submit_below(BlkNode *n, BlkReq *r)
{
    r->user = NULL;
    submit(n, r, false, NULL);
}

void blk_submit_held(BlkNode *n, BlkReq *r)
{
    submit(r->user ? __atomic_load_n(&r->user->node, __ATOMIC_RELAXED) : n, r, true,
           r->user ? limits_of(r->user) : NULL);
}

/* --- the way up --- */

static void account(BlkLane *l, const BlkReq *r, int ret)
{
    BlkStats *s = &l->stats;
    BlkFront *f = r->user ? r->user->front : NULL;

    int64_t ns = l->bl->now - r->start;

    if (!f || blk_front_account(f, r->op, ns, l->bl->now, ret < 0)) {
        count(&s->ns[r->op], ns);
    }
    if (ret < 0) {
        count(&s->failed[r->op], 1);
        return;
    }
    count(&s->ops[r->op], 1);
    count(&s->bytes[r->op], r->op == BLK_FLUSH ? 0 : r->len);
    if ((r->op == BLK_WRITE || r->op == BLK_ZERO) && r->off + r->len > s->wr_highest) {
        __atomic_store_n(&s->wr_highest, r->off + r->len, __ATOMIC_RELAXED);
    }
}

void blk_complete(BlkReq *r, int ret)
{
    BlkLane *l = r->lane, *last = r->at;
    uint32_t phases = r->phases;
    bool placed = r->op != BLK_FLUSH;

    if (r->op < BLK_OPS && !(r->flags & BLK_QUIET)) {
        account(l, r, ret);
    }
    r->done(r, ret);
    for (;; l = l->child) {
        BlkLane *child = l == last ? NULL : l->child;

        lane_leave(l, phases, placed);
        if (!child) {
            break;
        }
    }
}

void blk_complete_later(BlkReq *r, int ret)
{
    BlkLoop *bl = r->at->bl;

    r->ret = ret;
    r->next = NULL;
    *bl->done_tail = r;
    bl->done_tail = &r->next;
    blk_loop_kick(bl);
}

void blk_stats(BlkNode *n, BlkStats *out)
{
    lock_take(&n->lanes_lock);
    *out = n->past;
    for (const BlkLane *l = n->lanes; l; l = l->next) {
        stats_add(out, &l->stats);
    }
    lock_drop(&n->lanes_lock);
}

/* --- blocking --- */

/* A request of a thread that waits for it, through nodes that can only do it by requests. */
typedef struct Bridge {
    BlkReq req;
    struct iovec iov;
    BlkNode *node;
    Post post;
    Lock lock;
    LockCond done;
    bool over;
    int ret;
} Bridge;

static Loop *bridge_loop;      /* made on control with the first such node; lives on */

bool blk_bridge_open(Error **errp)
{
    assert_control();
    if (!bridge_loop) {
        bridge_loop = loop_new("blk-bridge", THREAD_LOOP, errp);
    }
    return bridge_loop != NULL;
}

Loop *blk_bridge_loop(void)
{
    return bridge_loop;
}

static void bridge_over(Post *p)
{
    Bridge *b = container_of(p, Bridge, post);

    lock_take(&b->lock);
    b->over = true;
    lock_broadcast(&b->done);
    lock_drop(&b->lock);
}

/* Whoever waits may close the node at once: the request has to have left it. */
static void bridge_done(BlkReq *r, int ret)
{
    Bridge *b = container_of(r, Bridge, req);

    b->ret = ret;
    b->post.run = bridge_over;
    loop_post(bridge_loop, &b->post);
}

static void bridge_go(Post *p)
{
    Bridge *b = container_of(p, Bridge, post);

    blk_submit_below(b->node, &b->req);
}

static int bridge(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
    Bridge b = { .node = n, .iov = { buf, len }, .post.run = bridge_go };

    b.req = (BlkReq){ .op = op, .flags = flags, .off = off, .len = len, .loop = bridge_loop,
                      .done = bridge_done };
    if (buf) {
        b.req.iov = &b.iov;
        b.req.niov = 1;
    }
    lock_init(&b.lock, RANK_LEAF, "blk-bridge");
    loop_post(bridge_loop, &b.post);
    lock_take(&b.lock);
    while (!b.over) {
        lock_wait(&b.lock, &b.done, -1);
    }
    lock_drop(&b.lock);
    lock_destroy(&b.lock);
    return b.ret;
}

bool blk_wait_woken(BlkNode *n, uint64_t seq)
{
    if (!pool_wait_begin()) {
        return false;
    }
    lock_take(&n->wait_lock);
    while (n->wakes == seq) {
        lock_wait(&n->wait_lock, &n->woken, -1);
    }
    lock_drop(&n->wait_lock);
    pool_wait_end();
    return true;
}

/* Where is @r->pos?  On a thread that may block. */
static int blocking_resolve(BlkNode *n, BlkReq *r, Extent *e)
{
    for (;;) {
        uint64_t seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE);

        *e = (Extent){ 0 };
        int ret = n->drv->resolve(n, r, e);
        if (ret == -EAGAIN && n->drv->resolve_slow) {
            *e = (Extent){ 0 };
            ret = n->drv->resolve_slow(n, r, e);
        }
        if (ret != -EINPROGRESS) {
            return ret;
        }
        if (!blk_wait_woken(n, seq)) {
            return -ENOMEM;
        }
    }
}

/* Writes @len bytes of @buf with what copy on write puts before and after them. */
static int blocking_cow(BlkNode *n, const BlkReq *r, const Extent *e, const void *buf, uint64_t len)
{
    uint64_t total = e->head + len + e->tail, from = r->pos - e->head;
    g_autofree uint8_t *whole = g_try_malloc0(total);

    if (!whole) {
        return -ENOMEM;
    }
    uint64_t there = from < blk_size(n) ? MIN(total, blk_size(n) - from) : 0;
    int ret = e->head || e->tail ? blk_blocking(n, BLK_READ, 0, from, whole, there) : 0;
    if (ret < 0) {
        return ret;
    }
    if (buf) {
        memcpy(whole + e->head, buf, len);
    } else {                   /* BLK_ZERO */
        memset(whole + e->head, 0, len);
    }
    if (e->crypt) {
        crypt_sectors(n->crypt, true, (e->iv - e->head) / CRYPT_SECTOR, whole, total);
    }
    return blk_blocking(e->node, BLK_WRITE, r->flags, e->off - e->head, whole, total);
}

/* Reads or writes @len encrypted bytes. */
static int blocking_crypt(BlkNode *n, const BlkReq *r, Extent *e, void *buf, uint64_t len)
{
    uint64_t lead = e->iv % CRYPT_SECTOR;

    if (r->op != BLK_READ) {
        blk_whole_sectors(e, len);
        return blocking_cow(n, r, e, buf, len);
    }
    uint64_t total = ALIGN_UP(lead + len, CRYPT_SECTOR);
    g_autofree uint8_t *whole = g_try_malloc(total);
    int ret = whole ? blk_blocking(e->node, BLK_READ, 0, e->off - lead, whole, total) : -ENOMEM;
    if (ret == 0) {
        crypt_sectors(n->crypt, false, e->iv / CRYPT_SECTOR, whole, total);
        memcpy(buf, whole + lead, len);
    }
    return ret;
}

static int64_t blocking_part(BlkNode *n, BlkReq *r, const struct iovec *iov)
{
    Extent e;
    int ret = blocking_resolve(n, r, &e);

    if (ret < 0) {
        return ret;
    }
    uint64_t len = MIN(e.len, r->left);
    r->left = len;
    if (e.is == EXT_BYTES) {
        memcpy(iov->iov_base, e.bytes, len);
        g_free(e.bytes);
    } else if (e.is == EXT_DATA && e.crypt) {
        ret = blocking_crypt(n, r, &e, iov->iov_base, len);
    } else if (e.is == EXT_DATA && (e.head || e.tail)) {
        ret = blocking_cow(n, r, &e, iov->iov_base, len);
    } else if (e.is == EXT_DATA) {
        if (r->op == BLK_READ || r->op == BLK_WRITE) {
            blk_event(e.node, r->op == BLK_READ ? BLKDEBUG_EVENT_READ_AIO : BLKDEBUG_EVENT_WRITE_AIO);
        }
        ret = blk_blocking(e.node, r->op, r->flags, e.off, iov->iov_base, len);
    } else if (r->op == BLK_READ) {
        memset(iov->iov_base, 0, len);
    }
    if (e.link) {
        int linked = n->drv->commit(n, r, &e, ret);

        ret = ret < 0 ? ret : linked;
    }
    return ret < 0 ? ret : (int64_t)len;
}

/* One blocking step at @r->pos; returns the bytes done, or -errno.  What it goes to is not given away
 * meanwhile. */
static int64_t blocking_step(BlkNode *n, BlkReq *r, const struct iovec *iov)
{
    unsigned phase = step_enter(n);
    int64_t done = blocking_part(n, r, iov);

    step_leave(n, phase);
    return done;
}

/* All of @r, from r->pos on. */
static int blocking_steps(BlkNode *n, BlkReq *r, struct iovec *iov)
{
    bool cut = n->crypt && (r->op == BLK_READ || r->op == BLK_WRITE);

    for (uint64_t left = r->len; left;) {
        r->left = cut ? MIN(left, BLK_CRYPT_PIECE) : left;
        int64_t step = blocking_step(n, r, iov);

        if (step < 0) {
            return (int)step;
        }
        r->pos += step;
        left -= step;
        iov->iov_base = iov->iov_base ? (char *)iov->iov_base + step : NULL;
    }
    return 0;
}

int blk_blocking(BlkNode *n, BlkOp op, unsigned flags, uint64_t off, void *buf, uint64_t len)
{
    struct iovec iov = { buf, buf ? len : 0 };
    BlkReq r = { .op = op, .flags = flags, .off = off, .len = len, .iov = &iov, .niov = 1,
                 .pos = off, .left = len };
    int ret = check_request(n, &r);

    if (ret < 0) {
        return ret;
    }
    if (G_UNLIKELY(n->detect_zeroes) && op == BLK_WRITE && blk_is_zero(buf, len)) {
        op = BLK_ZERO;
        flags = blk_zero_flags(n, flags);
        buf = NULL;
        iov = (struct iovec){ 0 };
        r.op = op;
        r.flags = flags;
    }
    if (G_UNLIKELY((op == BLK_WRITE || op == BLK_ZERO) && blk_threshold(n))) {
        blk_threshold_hit(n, off + len);
    }
    if (epoch_load(n->bitmaps) && op != BLK_READ && op != BLK_FLUSH && !(flags & BLK_UNCOVER)) {
        blk_bitmaps_mark(n, off, len);
    }
    if (n->drv->blocking) {
        return n->drv->blocking(n, op, flags, off, &iov, 1, len);
    }
    if (n->drv->filter) {
        return n->drv->intercept ? bridge(n, op, flags, off, buf, len)
                                 : blk_blocking(n->child, op, flags, off, buf, len);
    }
    if (op == BLK_FLUSH) {
        ret = n->drv->flush_meta ? n->drv->flush_meta(n, true) : 0;
        return ret < 0 ? ret : blk_blocking(n->child, op, flags, 0, NULL, 0);
    }
    r.cur = &iov;
    r.ncur = 1;
    if (!blk_gate_needed(n, op, off, len)) {
        return blocking_steps(n, &r, &iov);
    }
    for (uint64_t seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE); !blk_gate_enter(n);
         seq = __atomic_load_n(&n->wakes, __ATOMIC_ACQUIRE)) {
        if (!blk_wait_woken(n, seq)) {
            return -ENOMEM;
        }
    }
    ret = blocking_steps(n, &r, &iov);
    blk_gate_leave(n);
    return ret;
}

int blk_pread(BlkNode *n, uint64_t off, void *buf, size_t len)
{
    return blk_blocking(n, BLK_READ, 0, off, buf, len);
}

int blk_pwrite(BlkNode *n, uint64_t off, const void *buf, size_t len)
{
    return blk_blocking(n, BLK_WRITE, 0, off, (void *)(uintptr_t)buf, len);
}

int blk_pzero(BlkNode *n, uint64_t off, uint64_t len, unsigned flags)
{
    return blk_blocking(n, BLK_ZERO, flags, off, NULL, len);
}

int blk_pdiscard(BlkNode *n, uint64_t off, uint64_t len)
{
    return blk_blocking(n, BLK_DISCARD, 0, off, NULL, len);
}

int blk_pwrite_compressed(BlkNode *n, uint64_t off, const void *buf, size_t len)
{
    BlkReq r = { .op = BLK_WRITE, .off = off, .len = 0, .niov = 0 };
    int ret = n->drv->write_compressed ? check_request(n, &r) : -ENOTSUP;

    ret = ret < 0 ? ret : fits(off, len, blk_size(n)) ? n->drv->write_compressed(n, off, buf, len) : -EIO;
    return ret == -E2BIG ? blk_pwrite(n, off, buf, len) : ret;
}

int blk_pflush(BlkNode *n)
{
    return blk_blocking(n, BLK_FLUSH, 0, 0, NULL, 0);
}
