/* block-load.h: writers on several loops that never stop while the graph is changed under them, and what they
 * wrote. */
#ifndef TESTS_UNIT_BLOCK_LOAD_H
#define TESTS_UNIT_BLOCK_LOAD_H

#include "tests/unit/block-helper.h"
#include "block/graph.h"

#define LOAD_SIZE (4 * MiB)
#define LOAD_LOOPS 2
#define LOAD_DEPTH 4
#define LOAD_SLOTS (LOAD_LOOPS * LOAD_DEPTH)
#define LOAD_MAX (96 * KiB)

typedef struct Load Load;
typedef struct LoadSlot {
    BlkReq req;
    struct iovec iov;
    Load *load;
    GRand *rand;
    uint64_t base, size;       /* its own part of the disk */
    uint8_t *buf, *want;
    unsigned count;
    int bad;
} LoadSlot;

struct Load {
    BlkUser user;
    Loop *loops[LOAD_LOOPS];
    LoadSlot slots[LOAD_SLOTS];
    uint8_t *model;
    bool stop;                 /* atomic */
    unsigned running;          /* atomic */
    unsigned total;            /* atomic: requests that are done */
};

static inline void load_moved(BlkUser *u)
{
}

static inline void load_next(LoadSlot *s)
{
    uint64_t len = g_rand_int_range(s->rand, 1, LOAD_MAX / 512 + 1) * 512;
    uint64_t off = g_rand_int_range(s->rand, 0, (gint32)((s->size - len) / 512)) * UINT64_C(512);
    unsigned what = g_rand_int_range(s->rand, 0, 16);

    s->req.off = s->base + off;
    s->req.len = len;
    s->req.iov = &s->iov;
    s->req.niov = 1;
    s->req.flags = 0;
    s->iov = (struct iovec){ s->buf, len };
    s->req.op = what < 9 ? BLK_WRITE : what < 13 ? BLK_READ : what < 15 ? BLK_ZERO : BLK_FLUSH;
    if (s->req.op == BLK_WRITE) {
        memset(s->buf, (int)g_rand_int_range(s->rand, 1, 256), len);
        memcpy(s->load->model + s->req.off, s->buf, len);
    } else if (s->req.op == BLK_ZERO) {
        s->req.flags = what == 13 ? BLK_MAY_UNMAP : 0;
        memset(s->load->model + s->req.off, 0, len);
    }
    if (s->req.op == BLK_ZERO || s->req.op == BLK_FLUSH) {
        s->req.iov = NULL;
        s->req.niov = 0;
    }
    blk_user_submit(&s->load->user, &s->req);
}

static inline void load_done(BlkReq *r, int ret)
{
    LoadSlot *s = container_of(r, LoadSlot, req);

    s->bad = s->bad ? s->bad : ret;
    if (r->op == BLK_READ && memcmp(s->buf, s->load->model + r->off, r->len) != 0) {
        s->bad = s->bad ? s->bad : -EBADMSG;
    }
    __atomic_add_fetch(&s->load->total, 1, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&s->load->stop, __ATOMIC_RELAXED)) {
        loop_call(loop_control(), io_nothing, NULL);   /* control looks */
    }
    if (__atomic_load_n(&s->load->stop, __ATOMIC_ACQUIRE)) {
        __atomic_sub_fetch(&s->load->running, 1, __ATOMIC_RELEASE);
        loop_call(loop_control(), io_nothing, NULL);
        return;
    }
    load_next(s);
}

static inline void load_first(void *arg)
{
    load_next(arg);
}

/* Begins to write again, after load_stop(). */
static inline void load_resume(Load *l, unsigned seed)
{
    l->running = LOAD_SLOTS;
    l->stop = false;
    loop_control();            /* made here: only control may */
    for (unsigned i = 0; i < LOAD_LOOPS; i++) {
        l->loops[i] = worker_new(i ? "load1" : "load0");
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        LoadSlot *s = &l->slots[i];

        *s = (LoadSlot){ .load = l, .rand = g_rand_new_with_seed(seed * 100 + i),
                         .size = LOAD_SIZE / LOAD_SLOTS, .base = LOAD_SIZE / LOAD_SLOTS * i,
                         .buf = aligned(LOAD_MAX) };
        s->req = (BlkReq){ .loop = l->loops[i % LOAD_LOOPS], .done = load_done };
        loop_call(s->req.loop, load_first, s);
    }
}

/* Begins to write to @n, which reads as @model (LOAD_SIZE bytes, changed as it is written). */
static inline void load_start(Load *l, BlkNode *n, uint8_t *model, unsigned seed)
{
    Error *err = NULL;

    *l = (Load){ .model = model, .user.moved = load_moved };
    if (!blk_attach(n, &l->user, "the load", BLK_PERM_READ | BLK_PERM_WRITE, BLK_PERM_READ | BLK_PERM_RESIZE,
                    &err)) {
        fail_msg("%s", error_text(err));
    }
    load_resume(l, seed);
}

/* Control's work while @count more requests are made. */
static inline void load_more(Load *l, unsigned count)
{
    unsigned until = __atomic_load_n(&l->total, __ATOMIC_RELAXED) + count;

    while (__atomic_load_n(&l->total, __ATOMIC_RELAXED) < until) {
        loop_control_iterate(true);
    }
}

static inline void load_stop(Load *l)
{
    __atomic_store_n(&l->stop, true, __ATOMIC_RELEASE);
    while (__atomic_load_n(&l->running, __ATOMIC_ACQUIRE)) {
        loop_control_iterate(true);
    }
    for (unsigned i = 0; i < LOAD_LOOPS; i++) {
        worker_free(l->loops[i]);
    }
    for (unsigned i = 0; i < LOAD_SLOTS; i++) {
        assert_int_equal(l->slots[i].bad, 0);
        free(l->slots[i].buf);
        g_rand_free(l->slots[i].rand);
    }
}

/* What is read from where the load writes is what was written. */
static inline void load_verify(Load *l)
{
    g_autofree uint8_t *got = g_malloc(LOAD_SIZE);

    assert_int_equal(blk_pread(l->user.node, 0, got, LOAD_SIZE), 0);
    for (uint64_t i = 0; i < LOAD_SIZE; i++) {
        if (got[i] != l->model[i]) {
            fail_msg("byte %#lx is %#x, not %#x", (unsigned long)i, got[i], l->model[i]);
        }
    }
}

static inline bool tool(const char *format, ...) G_GNUC_PRINTF(1, 2);
static inline bool tool(const char *format, ...)
{
    va_list args;
    int status = -1;
    g_autofree char *out = NULL, *complaint = NULL;

    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    if (!g_spawn_command_line_sync(line, &out, &complaint, &status, NULL) || status != 0) {
        print_message("%s: %s%s\n", line, out ? out : "", complaint ? complaint : "");
        return false;
    }
    return true;
}

static inline bool have_tools(void)
{
    g_autofree char *path = g_find_program_in_path("qemu-img");

    return path != NULL;
}

typedef struct LoadWait {
    BlkHold *hold;
    bool held;
} LoadWait;

static inline void load_held(BlkHold *h, void *arg)
{
    LoadWait *w = arg;

    w->hold = h;
    w->held = true;
}

/* Nothing is in flight at @a and @b (or NULL) until blk_release(). */
static inline BlkHold *hold(BlkNode *a, BlkNode *b)
{
    BlkNode *nodes[] = { a, b };
    LoadWait w = { 0 };

    blk_hold(nodes, b ? 2 : 1, load_held, &w);
    while (!w.held) {
        loop_control_iterate(true);
    }
    return w.hold;
}

static inline char *image_new(uint64_t size)
{
    char *path = temp_file(0, false);

    assert_true(tool("qemu-img create -q -f qcow2 %s %lu", path, (unsigned long)size));
    return path;
}

static inline BlkNode *image_open(const char *path, const char *name)
{
    BlkOptions file = { .driver = "file", .filename = path };

    return open_ok(&(BlkOptions){ .driver = "qcow2", .node_name = name, .child = &file,
                                  .backing_none = true });
}

#endif
