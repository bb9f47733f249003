/* throttle.c: groups of limits, see throttle.h, and the driver that puts a node into one.
 *
 *   level of a bucket:  + what goes through, - avg a second, never below 0; a request may go while it is at
 *                       most the capacity: avg / 10, or max * length with a burst
 *   burst level:        + the same, - max a second, at most max / 10: a burst longer than a second is even
 *
 * 1. What goes through is charged when it goes, and may go while nothing is owed: a large request makes those
 *    after it wait.
 * 2. A group has one head for each direction: the request whose timer is set.  After it has gone it is the
 *    next member's turn.  The timer is in the request and fires on its loop; whoever takes a request out of
 *    the queue is the one who lets it go. */
#include "block/throttle.h"

#include <inttypes.h>
#include "block/block-int.h"
#include "block/filter.h"
#include "block/front.h"
#include "util/bytes.h"

typedef struct Bucket {
    double level, burst;
} Bucket;

typedef struct ThrottleGroup ThrottleGroup;
struct ThrottleGroup {
    char *name;
    bool kept;                 /* belongs to an object */
    ThrottleRates rates;
    bool limited;
    Bucket buckets[THROTTLE_KINDS];
    int64_t leaked;            /* when levels were brought up to date */
    GPtrArray *members;
    BlkReq *head[2];           /* whose timer is set, by direction */
    unsigned turn[2];          /* the member that comes next */
    ThrottleGroup *next;
};

struct ThrottleMember {
    ThrottleGroup *group;
    void (*go)(BlkReq *r);
    BlkReq *first[2], *last[2];
};

/* What a waiting request has in r->engine. */
typedef struct Wait {
    Timer timer;
    Post post;
    ThrottleMember *member;
} Wait;

G_STATIC_ASSERT(sizeof(Wait) <= sizeof(((BlkReq *)0)->engine));

static Lock throttle_lock = LOCK_INIT(RANK_NODE, "throttle");
static ThrottleGroup *groups GUARDED_BY(throttle_lock);
static unsigned hurried;       /* atomic; written under the lock */

static Wait *wait_of(BlkReq *r)
{
    return (Wait *)r->engine;
}

static BlkReq *req_of(Wait *w)
{
    return (BlkReq *)((char *)w - offsetof(BlkReq, engine));
}

/* --- rates --- */

ThrottleRates throttle_rates_none(void)
{
    ThrottleRates t = { 0 };

    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        t.at[i].length = 1;
    }
    return t;
}

bool throttle_rates_any(const ThrottleRates *t)
{
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (t->at[i].avg) {
            return true;
        }
    }
    return false;
}

static bool in_range(int64_t v)
{
    return v >= 0 && v <= THROTTLE_RATE_MAX;
}

static bool check_rate(const ThrottleRate *r, Error **errp)
{
    if (!in_range(r->avg) || !in_range(r->max)) {
        return error_set(errp, "bps/iops/max values must be within [0, %" PRId64 "]", THROTTLE_RATE_MAX);
    }
    if (!r->length) {
        return error_set(errp, "the burst length cannot be 0");
    }
    if (r->length != 1 && !r->max) {
        return error_set(errp, "burst length set without burst rate");
    }
    if (r->max && (r->length < 0 || r->length > THROTTLE_RATE_MAX / r->max)) {
        return error_set(errp, "burst length too high for this burst rate");
    }
    if (r->max && !r->avg) {
        return error_set(errp, "bps_max/iops_max require corresponding bps/iops values");
    }
    return !r->max || r->max >= r->avg || error_set(errp, "bps_max/iops_max cannot be lower than bps/iops");
}

bool throttle_rates_check(const ThrottleRates *t, Error **errp)
{
    for (unsigned i = 0; i < THROTTLE_KINDS; i += THROTTLE_IOPS_TOTAL) {
        const ThrottleRate *r = &t->at[i];

        if ((r[0].avg && (r[1].avg || r[2].avg)) || (r[0].max && (r[1].max || r[2].max))) {
            return error_set(errp, "bps/iops/max total values and read/write values cannot be used at the "
                             "same time");
        }
    }
    if (t->op_size && !t->at[THROTTLE_IOPS_TOTAL].avg && !t->at[THROTTLE_IOPS_READ].avg &&
        !t->at[THROTTLE_IOPS_WRITE].avg) {
        return error_set(errp, "iops size requires an iops value to be set");
    }
    if (!in_range(t->op_size)) {
        return error_set(errp, "iops size must be within [0, %" PRId64 "]", THROTTLE_RATE_MAX);
    }
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (!check_rate(&t->at[i], errp)) {
            return false;
        }
    }
    return true;
}

/* --- buckets --- */

static ClockKind throttle_clock(void)
{
    return clock_vm_is_manual() ? CLOCK_VM : CLOCK_HOST;
}

static void leak_locked(ThrottleGroup *g, int64_t now)
{
    double passed = (double)MAX(now - g->leaked, 0) / NS_PER_SEC;

    g->leaked = now;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        Bucket *b = &g->buckets[i];

        b->level = MAX(b->level - (double)g->rates.at[i].avg * passed, 0);
        b->burst = MAX(b->burst - (double)g->rates.at[i].max * passed, 0);
    }
}

static bool concerns(unsigned kind, bool write)
{
    return kind % THROTTLE_IOPS_TOTAL == 0 || (kind % THROTTLE_IOPS_TOTAL == 2) == write;
}

/* Seconds until @b is at its capacity. */
static double bucket_wait(const Bucket *b, const ThrottleRate *r)
{
    double capacity = r->max ? (double)r->max * (double)r->length : (double)r->avg / 10;
    double wait = 0;

    if (!r->avg) {
        return 0;
    }
    if (b->level > capacity) {
        wait = (b->level - capacity) / (double)r->avg;
    }
    if (r->length > 1 && b->burst > (double)r->max / 10) {
        wait = MAX(wait, (b->burst - (double)r->max / 10) / (double)r->max);
    }
    return wait;
}

/* Nanoseconds until a request of that direction may go. */
static int64_t group_wait_locked(ThrottleGroup *g, bool write, int64_t now)
{
    double wait = 0;

    leak_locked(g, now);
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (concerns(i, write)) {
            wait = MAX(wait, bucket_wait(&g->buckets[i], &g->rates.at[i]));
        }
    }
    /* Even the smallest rate and the largest request end: a century is enough. */
    return wait > 0 ? (int64_t)(MIN(wait, 3e9) * NS_PER_SEC) + 1 : 0;
}

static void charge_locked(ThrottleGroup *g, const BlkReq *r)
{
    bool write = r->op != BLK_READ;
    double ops = g->rates.op_size && r->len > (uint64_t)g->rates.op_size
                 ? (double)r->len / (double)g->rates.op_size : 1;

    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        double units = i < THROTTLE_IOPS_TOTAL ? (double)r->len : ops;

        if (concerns(i, write) && g->rates.at[i].avg) {
            g->buckets[i].level += units;
            g->buckets[i].burst += units;
        }
    }
}

/* --- queues --- */

static BlkReq *take_first_locked(ThrottleMember *m, bool write)
{
    BlkReq *r = m->first[write];

    m->first[write] = r->next;
    if (m->group->head[write] == r) {
        m->group->head[write] = NULL;
    }
    charge_locked(m->group, r);
    return r;
}

/* The member that is to let a request go, or NULL. */
static ThrottleMember *whose_turn_locked(ThrottleGroup *g, bool write)
{
    for (unsigned i = 0; i < g->members->len; i++) {
        unsigned at = (g->turn[write] + i) % g->members->len;
        ThrottleMember *m = g->members->pdata[at];

        if (m->first[write]) {
            g->turn[write] = at;
            return m;
        }
    }
    return NULL;
}

/* Lets go all that may, and sets the timer of the one after it. */
static void advance_locked(ThrottleGroup *g, bool write)
{
    int64_t now = clock_now(throttle_clock()), wait;
    ThrottleMember *m;

    while (!g->head[write] && (m = whose_turn_locked(g, write))) {
        BlkReq *r = m->first[write];

        wait = hurried ? 0 : group_wait_locked(g, write, now);
        if (wait > 0) {
            g->head[write] = r;
            timer_set(&wait_of(r)->timer, now + wait);
            return;
        }
        take_first_locked(m, write);
        g->turn[write] = (g->turn[write] + 1) % g->members->len;
        loop_post(r->loop, &wait_of(r)->post);
    }
}

static void wait_fired(Timer *t)
{
    Wait *w = container_of(t, Wait, timer);
    BlkReq *r = req_of(w);
    bool write = r->op != BLK_READ;

    lock_take(&throttle_lock);
    /* Else it has been let go meanwhile, and its post is on the way. */
    if (w->member->group->head[write] == r) {
        timer_stop(t);         /* it may have been set anew since it was due */
        w->member->group->head[write] = NULL;
        advance_locked(w->member->group, write);
    }
    lock_drop(&throttle_lock);
}

static void wait_over(Post *p)
{
    Wait *w = container_of(p, Wait, post);

    timer_stop(&w->timer);
    w->member->go(req_of(w));
}

/* The limits, the members or the hurry changed: nobody's timer is right any more. */
static void again_locked(ThrottleGroup *g)
{
    for (unsigned write = 0; write < 2; write++) {
        if (g->head[write]) {
            timer_stop(&wait_of(g->head[write])->timer);
            g->head[write] = NULL;
        }
        advance_locked(g, write);
    }
}

bool throttle_pass(ThrottleMember *m, BlkReq *r)
{
    bool write = r->op != BLK_READ;

    if (r->op == BLK_FLUSH) {
        return true;
    }
    lock_take(&throttle_lock);
    ThrottleGroup *g = m->group;
    bool goes = !g->limited || __atomic_load_n(&hurried, __ATOMIC_RELAXED) ||
                (!g->head[write] && !whose_turn_locked(g, write) &&
                 group_wait_locked(g, write, clock_now(throttle_clock())) == 0);
    if (goes) {
        charge_locked(g, r);
    } else {
        Wait *w = wait_of(r);

        *w = (Wait){ .post.run = wait_over, .member = m };
        timer_init(&w->timer, r->loop, throttle_clock(), wait_fired);
        r->next = NULL;
        if (m->first[write]) {
            m->last[write]->next = r;
        } else {
            m->first[write] = r;
        }
        m->last[write] = r;
        advance_locked(g, write);
    }
    lock_drop(&throttle_lock);
    return goes;
}

void throttle_hurry(bool on)
{
    lock_take(&throttle_lock);
    __atomic_store_n(&hurried, hurried + (on ? 1 : -1U), __ATOMIC_RELAXED);
    for (ThrottleGroup *g = on ? groups : NULL; g; g = g->next) {
        again_locked(g);
    }
    lock_drop(&throttle_lock);
}

/* --- groups --- */

static ThrottleGroup *group_find_locked(const char *name)
{
    ThrottleGroup *g = groups;

    while (g && strcmp(g->name, name)) {
        g = g->next;
    }
    return g;
}

static ThrottleGroup *group_new_locked(const char *name)
{
    ThrottleGroup *g = g_new0(ThrottleGroup, 1);

    g->name = g_strdup(name);
    g->rates = throttle_rates_none();
    g->members = g_ptr_array_new();
    g->leaked = clock_now(throttle_clock());
    g->next = groups;
    groups = g;
    return g;
}

static void group_end_locked(ThrottleGroup *g)
{
    ThrottleGroup **at = &groups;

    if (g->kept || g->members->len) {
        return;
    }
    while (*at != g) {
        at = &(*at)->next;
    }
    *at = g->next;
    g_ptr_array_unref(g->members);
    g_free(g->name);
    g_free(g);
}

static void rates_set_locked(ThrottleGroup *g, const ThrottleRates *t)
{
    leak_locked(g, clock_now(throttle_clock()));
    for (unsigned i = 0; i < THROTTLE_KINDS; i++) {
        if (g->rates.at[i].avg != t->at[i].avg || g->rates.at[i].max != t->at[i].max) {
            g->buckets[i] = (Bucket){ 0 };
        }
    }
    g->rates = *t;
    g->limited = throttle_rates_any(t);
    again_locked(g);
}

bool throttle_group_make(const char *name, const ThrottleRates *t, Error **errp)
{
    assert_control();
    lock_take(&throttle_lock);
    bool ok = !group_find_locked(name);
    if (ok) {
        ThrottleGroup *g = group_new_locked(name);

        g->kept = true;
        rates_set_locked(g, t);
    }
    lock_drop(&throttle_lock);
    return ok || error_set(errp, "A group with this name already exists");
}

bool throttle_group_drop(const char *name)
{
    assert_control();
    lock_take(&throttle_lock);
    ThrottleGroup *g = group_find_locked(name);
    bool ok = !g || !g->members->len;
    if (g && ok) {
        g->kept = false;
        group_end_locked(g);
    }
    lock_drop(&throttle_lock);
    return ok;
}

bool throttle_group_set(const char *name, const ThrottleRates *t)
{
    assert_control();
    lock_take(&throttle_lock);
    ThrottleGroup *g = group_find_locked(name);
    if (g) {
        rates_set_locked(g, t);
    }
    lock_drop(&throttle_lock);
    return g;
}

bool throttle_group_get(const char *name, ThrottleRates *out)
{
    assert_control();
    lock_take(&throttle_lock);
    const ThrottleGroup *g = group_find_locked(name);
    if (g) {
        *out = g->rates;
    }
    lock_drop(&throttle_lock);
    return g;
}

/* --- members --- */

ThrottleMember *throttle_join(const char *name, bool make, void (*go)(BlkReq *r), Error **errp)
{
    ThrottleMember *m = NULL;

    assert_control();
    lock_take(&throttle_lock);
    ThrottleGroup *g = group_find_locked(name);
    if (!g && make) {
        g = group_new_locked(name);
    }
    if (g) {
        m = g_new0(ThrottleMember, 1);
        m->group = g;
        m->go = go;
        g_ptr_array_add(g->members, m);
    }
    lock_drop(&throttle_lock);
    if (!m) {
        error_set(errp, "Throttle group '%s' does not exist", name);
    }
    return m;
}

static void member_unlist_locked(ThrottleMember *m)
{
    ThrottleGroup *g = m->group;

    for (unsigned write = 0; write < 2; write++) {
        if (g->head[write]) {
            timer_stop(&wait_of(g->head[write])->timer);
            g->head[write] = NULL;
        }
        g->turn[write] = 0;
    }
    g_ptr_array_remove(g->members, m);
    again_locked(g);
    group_end_locked(g);
}

void throttle_leave(ThrottleMember *m)
{
    assert_control();
    lock_take(&throttle_lock);
    g_assert(!m->first[0] && !m->first[1]);
    member_unlist_locked(m);
    lock_drop(&throttle_lock);
    g_free(m);
}

void throttle_change(ThrottleMember *m, const char *name, const ThrottleRates *t)
{
    assert_control();
    lock_take(&throttle_lock);
    ThrottleGroup *g = group_find_locked(name);
    g = g ? g : group_new_locked(name);
    if (t) {
        rates_set_locked(g, t);
    }
    if (m->group != g) {
        g_ptr_array_add(g->members, m);
        member_unlist_locked(m);
        m->group = g;
        again_locked(g);
    }
    lock_drop(&throttle_lock);
}

const char *throttle_name(const ThrottleMember *m)
{
    return m->group->name;
}

/* --- devices --- */

void throttle_front_set(BlkFront *f, const char *name, const ThrottleRates *t)
{
    bool limited = throttle_rates_any(t);

    assert_control();
    if (!limited) {
        if (f->throttle) {
            __atomic_store_n(&f->throttle, NULL, __ATOMIC_RELEASE);
            throttle_change(f->member, "", NULL);      /* what waits, or is about to, goes on */
        }
        return;
    }
    if (!name) {
        name = f->throttle ? throttle_name(f->throttle) : *f->drive ? f->drive : f->qdev;
    }
    if (!f->member) {
        f->member = throttle_join(name, true, blk_throttled_go, NULL);
    }
    throttle_change(f->member, name, t);
    __atomic_store_n(&f->throttle, f->member, __ATOMIC_RELEASE);
}

/* --- the driver --- */

typedef struct Throttle {
    ThrottleMember *member;
} Throttle;

static bool throttle_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Throttle *t = n->state;

    t->member = throttle_join(o->throttle_group, false, blk_pass_down, errp);
    return t->member && blk_filter_open(n);
}

bool blk_throttle_regroup(BlkNode *n, const char *name, Error **errp)
{
    Throttle *t = n->state;
    ThrottleRates unused;

    if (!throttle_group_get(name, &unused)) {
        return error_set(errp, "Throttle group '%s' does not exist", name);
    }
    throttle_change(t->member, name, NULL);
    return true;
}

const char *blk_throttle_group(const BlkNode *n)
{
    const Throttle *t = n->state;

    return n->drv == &blk_throttle ? throttle_name(t->member) : NULL;
}

static void throttle_close(BlkNode *n)
{
    Throttle *t = n->state;

    throttle_leave(t->member);
}

static bool throttle_intercept(BlkLane *l, BlkReq *r)
{
    Throttle *t = l->node->state;

    return !throttle_pass(t->member, r);
}

const BlkDriver blk_throttle = {
    .name = "throttle",
    .size = sizeof(Throttle),
    .options = BLK_OPT_CHILD | BLK_OPT_THROTTLE,
    .filter = true,
    .open = throttle_open,
    .close = throttle_close,
    BLK_FILTER_FORWARDS,
    .intercept = throttle_intercept,
};
