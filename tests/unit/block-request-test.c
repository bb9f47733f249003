/* block-request-test.c: the graph, users and locks, drains, and formats whose answer takes
 * steps. */
#include <sys/wait.h>
#include "block/block-int.h"
#include "tests/unit/block-helper.h"

static char *self;             /* argv[0] */

/* --- names and options --- */

static void test_names(void **state)
{
    BlkOptions o = { .driver = "null-co", .node_name = "disk0" };
    BlkNode *n = open_ok(&o);
    Error *err = NULL;

    assert_ptr_equal(blk_find("disk0"), n);
    assert_null(blk_find("disk1"));
    assert_ptr_equal(blk_next(NULL), n);
    assert_null(blk_next(n));
    assert_null(blk_open(&o, &err));
    assert_error(err, "Duplicate nodes with node-name='disk0'");
    o.node_name = "0bad";
    assert_null(blk_open(&o, &err));
    assert_error(err, "Invalid node-name: '0bad'");
    o = (BlkOptions){ .driver = "nul-co" };
    assert_null(blk_open(&o, &err));
    assert_non_null(strstr(error_advice(err), "null-co"));
    assert_error(err, "Unknown driver 'nul-co'");
    o = (BlkOptions){ .driver = "raw" };
    assert_null(blk_open(&o, &err));
    assert_error(err, "A block device must be specified for \"file\"");
    o = (BlkOptions){ .driver = "raw", .child_ref = "none" };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Cannot find device='' nor node-name='none'");
    /* An inline child may not take its parent's name; nothing is left of the try. */
    BlkOptions child = { .driver = "null-co", .node_name = "twice" };
    o = (BlkOptions){ .driver = "raw", .node_name = "twice", .child = &child };
    assert_null(blk_open(&o, &err));
    assert_error(err, "Duplicate nodes with node-name='twice'");
    assert_null(blk_find("twice"));
    close_ok(n);
    assert_null(blk_next(NULL));
}

static void test_parse(void **state)
{
    BlkAio aio;
    BlkLocking locking;
    Error *err = NULL;

    assert_true(blk_parse_aio("io_uring", &aio, NULL));
    assert_int_equal(aio, BLK_AIO_IO_URING);
    assert_true(blk_parse_locking("off", &locking, NULL));
    assert_int_equal(locking, BLK_LOCKING_OFF);
    assert_false(blk_parse_aio("nativ", &aio, &err));
    assert_non_null(strstr(error_advice(err), "native"));
    assert_error(err, "Parameter 'aio' does not accept value 'nativ'");
}

/* --- raw and null --- */

static void test_raw_window(void **state)
{
    g_autofree char *path = temp_file(MiB, true);
    BlkOptions file = { .driver = "file", .filename = path, .node_name = "f" };
    BlkOptions o = { .driver = "raw", .node_name = "r", .child = &file, .offset = 4096,
                     .has_size = true, .size = 8192 };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    uint8_t *buf = aligned(8192), *want = aligned(8192);

    assert_int_equal(blk_size(n), 8192);
    assert_string_equal(blk_filename(n), path);
    assert_ptr_equal(blk_child(n, 0), blk_find("f"));
    file_get(path, 4096, want, 8192);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, 8192), 0);
    assert_memory_equal(buf, want, 8192);
    assert_int_equal(blk_pread(n, 512, buf, 512), 0);
    assert_memory_equal(buf, want + 512, 512);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 8192, buf, 512), -EIO);
    memset(buf, 0x77, 512);
    assert_int_equal(io_run(n, l, BLK_WRITE, BLK_FUA, 512, buf, 512), 0);
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), 0);
    file_get(path, 4096 + 512, want, 512);
    assert_memory_equal(buf, want, 512);
    close_ok(n);
    assert_null(blk_find("f"));

    Error *err = NULL;
    o.size = MiB;
    assert_null(blk_open(&o, &err));
    assert_error(err, "The sum of offset (4096) and size (1048576) has to be smaller or equal to "
                      "the actual size of the containing file (1048576)");
    worker_free(l);
    free(buf);
    free(want);
    g_unlink(path);
}

static void note_resized(BlkUser *u)
{
    *(uint64_t *)(u + 1) = blk_size(u->node);
}

static void test_resize_through_raw(void **state)
{
    g_autofree char *path = temp_file(MiB, true);
    BlkOptions file = { .driver = "file", .filename = path, .node_name = "f" };
    BlkOptions o = { .driver = "raw", .child_ref = "f", .offset = 4096 };
    BlkNode *f = open_ok(&file), *n = open_ok(&o);
    struct { BlkUser u; uint64_t size; } user = { .u.resized = note_resized };
    Error *err = NULL;

    assert_true(blk_attach(n, &user.u, "device 'vd0'", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    assert_true(blk_truncate(n, MiB, NULL));
    assert_int_equal(user.size, MiB);
    assert_int_equal(blk_size(f), MiB + 4096);
    assert_true(blk_truncate(f, 8192, NULL));
    assert_int_equal(user.size, 4096);
    assert_false(blk_close(n, &err));
    g_autofree char *want = g_strdup_printf("Node '%s' is in use by device 'vd0'", blk_name(n));
    assert_error(err, want);
    g_autofree char *by_raw = g_strdup_printf("Node 'f' is in use by node '%s'", blk_name(n));
    assert_false(blk_close(f, &err));
    assert_error(err, by_raw);
    blk_detach(&user.u);
    close_ok(n);
    close_ok(f);
    g_unlink(path);
}

static void test_null(void **state)
{
    BlkOptions o = { .driver = "null-aio", .has_size = true, .size = 65536, .read_zeroes = true,
                     .latency_ns = NS_PER_MS };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    BlkStats s;
    char buf[512];
    Io io;

    memset(buf, 1, 512);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, 512), 0);
    assert_int_equal(buf[511], 0);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, 0), 0);
    blk_stats(n, &s);
    assert_int_equal(s.ops[BLK_READ], 2);
    assert_true(s.ns[BLK_READ] >= NS_PER_MS);
    /* A list that is not as long as it says is refused. */
    io_prepare(&io, n, l, BLK_READ, 0, 0, buf, 512);
    io.iov[0].iov_len = 511;
    assert_int_equal(io_wait(&io), -EINVAL);
    blk_stats(n, &s);
    assert_int_equal(s.failed[BLK_READ], 1);
    close_ok(n);
    worker_free(l);
}

/* --- users --- */

static void test_users(void **state)
{
    BlkOptions o = { .driver = "null-co", .node_name = "disk0" };
    BlkNode *n = open_ok(&o);
    BlkUser a = { 0 }, b = { 0 };
    Error *err = NULL;
    unsigned rw = BLK_PERM_READ | BLK_PERM_WRITE;

    assert_true(blk_attach(n, &a, "device 'vd0'", rw, BLK_PERM_READ | BLK_PERM_RESIZE, NULL));
    assert_false(blk_attach(n, &b, "device 'vd1'", rw, BLK_PERM_ALL, &err));
    assert_string_equal(error_advice(err), "share-rw=on on both devices lets several write.");
    assert_error(err, "Node 'disk0' is already used by device 'vd0', which does not let others "
                      "write it");
    assert_false(blk_attach(n, &b, "device 'vd1'", BLK_PERM_READ, BLK_PERM_READ, &err));
    assert_error(err, "Node 'disk0' is already used by device 'vd0', which may write it");
    assert_true(blk_attach(n, &b, "device 'vd1'", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    assert_true(blk_change_rights(&a, rw, BLK_PERM_ALL, NULL));
    assert_true(blk_change_rights(&b, rw, BLK_PERM_ALL, NULL));
    assert_false(blk_change_rights(&a, rw, BLK_PERM_READ, &err));
    error_free(err);
    assert_int_equal(a.share, BLK_PERM_ALL);
    blk_detach(&a);
    blk_detach(&a);
    blk_detach(&b);
    close_ok(n);
}

/* What the other process does: uses the file until its stdin closes. */
static int holder(const char *path, const char *mode)
{
    BlkOptions o = { .driver = "file", .filename = path, .read_only = !strcmp(mode, "read") };
    BlkNode *n = blk_open(&o, NULL);
    BlkUser u = { 0 };
    unsigned need = BLK_PERM_READ | (o.read_only ? 0 : BLK_PERM_WRITE);
    char c;

    if (!n || !blk_attach(n, &u, "device 'vd0'", need, BLK_PERM_READ | BLK_PERM_RESIZE, NULL)) {
        return 1;
    }
    if (write(1, "!", 1) != 1 || read(0, &c, 1) != 0) {
        return 1;
    }
    blk_detach(&u);
    return blk_close(n, NULL) ? 0 : 1;
}

typedef struct Other {
    GPid pid;
    int in;
} Other;

static Other other_start(char *path, const char *mode)
{
    char *argv[] = { self, (char *)(uintptr_t)"--hold", path, (char *)(uintptr_t)mode, NULL };
    Other o;
    int out;
    char c = 0;

    assert_true(g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL,
                                         &o.pid, &o.in, &out, NULL, NULL));
    assert_int_equal(read(out, &c, 1), 1);
    close(out);
    return o;
}

static void other_end(Other *o)
{
    int status;

    close(o->in);
    assert_int_equal(waitpid(o->pid, &status, 0), o->pid);
    assert_int_equal(status, 0);
}

static void test_locks(void **state)
{
    g_autofree char *path = temp_file(4096, false);
    BlkOptions o = { .driver = "file", .filename = path };
    BlkOptions unlocked = { .driver = "file", .filename = path, .locking = BLK_LOCKING_OFF };
    BlkNode *n = open_ok(&o), *free_node = open_ok(&unlocked);
    BlkUser u = { 0 }, v = { 0 };
    Error *err = NULL;
    unsigned rw = BLK_PERM_READ | BLK_PERM_WRITE, disk = BLK_PERM_READ | BLK_PERM_RESIZE;

    Other writer = other_start(path, "write");
    assert_false(blk_attach(n, &u, "device 'vd0'", rw, disk, &err));
    assert_string_equal(error_advice(err), "Is another virtual machine using the image?");
    g_autofree char *want = g_strdup_printf("Could not get \"write\" lock on '%s': another process "
                                            "uses the file and does not share it", path);
    assert_error(err, want);
    assert_false(blk_attach(n, &u, "device 'vd0'", BLK_PERM_READ, disk, &err));
    g_autofree char *sole = g_strdup_printf("Could not get sole \"write\" lock on '%s': another "
                                            "process uses the file", path);
    assert_error(err, sole);
    assert_true(blk_attach(free_node, &v, "device 'vd1'", rw, disk, NULL));
    blk_detach(&v);
    other_end(&writer);

    /* Readers go together; a writer does not join them; and all is free again afterwards. */
    Other reader = other_start(path, "read");
    assert_true(blk_attach(n, &u, "device 'vd0'", BLK_PERM_READ, disk, NULL));
    assert_false(blk_change_rights(&u, rw, disk, &err));
    assert_error(err, want);
    other_end(&reader);
    assert_true(blk_change_rights(&u, rw, disk, NULL));
    blk_detach(&u);
    Other again = other_start(path, "write");
    other_end(&again);
    close_ok(n);
    close_ok(free_node);
    g_unlink(path);
}

/* --- drain --- */

#define DRAINED 64

static bool opened;

static void home_opened(Post *p)
{
    opened = true;
}

static void submit_all(void *arg)
{
    Io *io = arg;

    for (unsigned i = 0; i < DRAINED; i++) {
        blk_submit(io[i].node, &io[i].req);
    }
}

static void drain_and_wait(BlkNode *n)
{
    Post post = { .run = home_opened };
    Barrier home;

    opened = false;
    barrier_init(&home, loop_control(), &post);
    blk_drain(n, &home);
    barrier_leave(&home);
    while (!opened) {
        loop_control_iterate(true);
    }
}

static void test_drain(void **state)
{
    enum { LOOPS = 2 };
    BlkOptions null = { .driver = "null-co", .node_name = "n", .latency_ns = 5 * NS_PER_MS };
    BlkOptions raw = { .driver = "raw", .child = &null };
    BlkNode *n = open_ok(&raw);
    g_autofree Io *io = g_new0(Io, LOOPS * DRAINED);
    Loop *l[LOOPS];
    Error *err = NULL;

    drain_and_wait(n);         /* nothing was ever in flight */
    for (unsigned k = 0; k < LOOPS; k++) {
        l[k] = worker_new("w");
        for (unsigned i = 0; i < DRAINED; i++) {
            io_prepare(&io[k * DRAINED + i], n, l[k], BLK_FLUSH, 0, 0, NULL, 0);
        }
        loop_call_wait(l[k], submit_all, &io[k * DRAINED]);
    }
    assert_false(blk_close(n, &err));
    g_autofree char *want = g_strdup_printf("Node '%s' has requests in flight", blk_name(n));
    assert_error(err, want);
    drain_and_wait(blk_child(n, 0));
    for (unsigned i = 0; i < LOOPS * DRAINED; i++) {
        assert_int_equal(io[i].calls, 1);
    }
    drain_and_wait(n);
    for (unsigned k = 0; k < LOOPS; k++) {
        worker_free(l[k]);
    }
    close_ok(n);
}

static void wait_for(sem_t *sem)
{
    while (sem_wait(sem) < 0) {
    }
}

/* Whoever waits for the request goes on while this has more to do, and it is still in flight. */
static void done_slowly(BlkReq *r, int ret)
{
    g_autofree guint8 *bytes = g_malloc0(4 * MiB);

    io_done(r, ret);
    g_free(g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, 4 * MiB));
}

/* Who closes a node as soon as the last request is answered need not wait for more. */
static void test_close_when_answered(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n" });
    Loop *l = worker_new("w");
    Io io;
    sem_t sem;

    sem_init(&sem, 0, 0);
    io_prepare(&io, n, l, BLK_FLUSH, 0, 0, NULL, 0);
    io.sem = &sem;
    io.req.done = done_slowly;
    loop_call(l, io_submit_here, &io);
    wait_for(&sem);
    close_ok(n);
    sem_destroy(&sem);
    worker_free(l);
}

typedef struct Late {
    Io io;
    sem_t answered, go, busy;
    BlkGrace grace;
    bool over;                 /* atomic */
} Late;

static void late_done(BlkReq *r, int ret)
{
    Late *t = container_of(r, Late, io.req);

    sem_post(&t->answered);
    wait_for(&t->go);
}

static void late_busy(void *arg)
{
    Late *t = arg;
    g_autofree guint8 *bytes = g_malloc0(4 * MiB);

    sem_post(&t->busy);
    g_free(g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, 4 * MiB));
}

static void late_over(BlkGrace *g)
{
    __atomic_store_n(&container_of(g, Late, grace)->over, true, __ATOMIC_RELEASE);
}

/* A grace asks a loop about requests that are over by then: the node stays until it has. */
static void test_close_after_grace(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .node_name = "n" });
    Loop *l = worker_new("w");
    uint8_t byte = 0;
    Late t = { .grace.over = late_over };

    sem_init(&t.answered, 0, 0);
    sem_init(&t.go, 0, 0);
    sem_init(&t.busy, 0, 0);
    io_prepare(&t.io, n, l, BLK_READ, 0, 1, &byte, 0);
    t.io.req.done = late_done;
    loop_call(l, io_submit_here, &t.io);
    wait_for(&t.answered);
    loop_call(l, late_busy, &t);
    blk_grace(n, &t.grace);
    sem_post(&t.go);
    wait_for(&t.busy);
    close_ok(n);
    assert_true(__atomic_load_n(&t.over, __ATOMIC_ACQUIRE));
    worker_free(l);
    sem_destroy(&t.answered);
    sem_destroy(&t.go);
    sem_destroy(&t.busy);
}

/* --- a format --- */

#define CLUSTER 4096
#define CLUSTERS 64

/* Cluster i is unallocated, then lies at another place of the child; looking anything up for the
 * first time takes the pool, and allocation is only linked by commit(). */
typedef struct Toy {
    Lock lock;
    bool known[CLUSTERS], linked[CLUSTERS];
    unsigned slow, commits, flushes;
    int fail_commit;
} Toy;

static bool toy_open(BlkNode *n, const BlkOptions *o, Error **errp)
{
    Toy *t = n->state;

    lock_init(&t->lock, RANK_NODE, "toy");
    n->size = CLUSTER * CLUSTERS;
    return true;
}

static void toy_close(BlkNode *n)
{
    lock_destroy(&((Toy *)n->state)->lock);
}

static bool toy_rights(BlkNode *n, unsigned need, unsigned share, Error **errp)
{
    return blk_change_rights(&n->child_use, need, share, errp);
}

static int toy_look(Toy *t, BlkNode *n, const BlkReq *r, Extent *e, bool may_wait)
{
    unsigned i = (unsigned)(r->pos / CLUSTER);
    int ret = 0;

    lock_take(&t->lock);
    if (!may_wait && !t->known[i]) {
        ret = -EAGAIN;
    } else {
        t->known[i] = true;
        t->slow += may_wait;
        *e = (Extent){ .node = n->child, .off = (CLUSTERS - 1 - i) * CLUSTER + r->pos % CLUSTER,
                       .len = CLUSTER - r->pos % CLUSTER,
                       .is = t->linked[i] || r->op == BLK_WRITE ? EXT_DATA : EXT_NONE,
                       .link = r->op == BLK_WRITE && !t->linked[i], .cookie = i };
        if (r->op == BLK_ZERO || r->op == BLK_DISCARD) {
            e->is = EXT_ZERO;
            e->link = true;
        }
    }
    lock_drop(&t->lock);
    return ret;
}

static int toy_resolve(BlkNode *n, const BlkReq *r, Extent *e)
{
    return toy_look(n->state, n, r, e, false);
}

static int toy_resolve_slow(BlkNode *n, const BlkReq *r, Extent *e)
{
    return toy_look(n->state, n, r, e, true);
}

static int toy_commit(BlkNode *n, const BlkReq *r, const Extent *e, int landed)
{
    Toy *t = n->state;

    lock_take(&t->lock);
    int ret = landed < 0 ? landed : t->fail_commit;
    if (ret == 0) {
        t->linked[e->cookie] = r->op == BLK_WRITE;
        t->commits++;
    }
    lock_drop(&t->lock);
    return ret;
}

static int toy_flush_meta(BlkNode *n, bool put_off)
{
    Toy *t = n->state;

    lock_take(&t->lock);
    t->flushes++;
    lock_drop(&t->lock);
    return 0;
}

static const BlkDriver toy_driver = {
    .name = "toy", .size = sizeof(Toy), .options = BLK_OPT_CHILD,
    .open = toy_open, .close = toy_close, .rights = toy_rights,
    .resolve = toy_resolve, .resolve_slow = toy_resolve_slow, .commit = toy_commit,
    .flush_meta = toy_flush_meta,
};

static void test_format(void **state)
{
    g_autofree char *path = temp_file(CLUSTER * CLUSTERS, true);
    BlkOptions file = { .driver = "file", .filename = path };
    BlkOptions o = { .driver = "toy", .child = &file };
    Loop *l = worker_new("w0");
    BlkNode *n = open_ok(&o);
    Toy *t = n->state;
    uint8_t *buf = aligned(CLUSTER * CLUSTERS), *model = aligned(CLUSTER * CLUSTERS);

    /* Unallocated reads as zeroes, and every cluster was looked up once. */
    memset(buf, 0xee, CLUSTER * CLUSTERS);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, CLUSTER * CLUSTERS), 0);
    assert_memory_equal(buf, model, CLUSTER * CLUSTERS);
    assert_int_equal(t->slow, CLUSTERS);

    /* A write over five clusters: data first, then five links; FUA writes the metadata out too. */
    memset(buf, 0x11, 4 * CLUSTER);
    memset(model + 2000, 0x11, 4 * CLUSTER);
    assert_int_equal(io_run(n, l, BLK_WRITE, 0, 2000, buf, 4 * CLUSTER), 0);
    assert_int_equal(t->commits, 5);
    assert_int_equal(t->flushes, 0);
    memset(buf, 0x22, CLUSTER);
    memcpy(model + 10 * CLUSTER, buf, CLUSTER);
    assert_int_equal(io_run(n, l, BLK_WRITE, BLK_FUA, 10 * CLUSTER, buf, CLUSTER), 0);
    assert_int_equal(t->flushes, 1);
    assert_int_equal(io_run(n, l, BLK_FLUSH, 0, 0, NULL, 0), 0);
    assert_int_equal(t->flushes, 2);

    /* The edges of a fresh cluster show the child's bytes in this toy: compare what was written. */
    assert_int_equal(io_run(n, l, BLK_READ, 0, 0, buf, CLUSTER * CLUSTERS), 0);
    assert_memory_equal(buf + 2000, model + 2000, 4 * CLUSTER);
    assert_memory_equal(buf + 10 * CLUSTER, model + 10 * CLUSTER, 20 * CLUSTER);
    assert_int_equal(blk_pread(n, 2000, buf, 4 * CLUSTER), 0);
    assert_memory_equal(buf, model + 2000, 4 * CLUSTER);

    assert_int_equal(io_run(n, l, BLK_ZERO, 0, 10 * CLUSTER, NULL, CLUSTER), 0);
    assert_int_equal(io_run(n, l, BLK_READ, 0, 10 * CLUSTER, buf, CLUSTER), 0);
    assert_int_equal(buf[0], 0);
    t->fail_commit = -ENOSPC;
    assert_int_equal(io_run(n, l, BLK_WRITE, 0, 20 * CLUSTER, buf, 3 * CLUSTER), -ENOSPC);
    assert_int_equal(blk_pwrite(n, 20 * CLUSTER, buf, 512), -ENOSPC);
    close_ok(n);
    worker_free(l);
    free(buf);
    free(model);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    thread_become_control();
    if (argc == 4 && !strcmp(argv[1], "--hold")) {
        return holder(argv[2], argv[3]);
    }
    self = argv[0];
    blk_add_driver(&toy_driver);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_raw_window),
        cmocka_unit_test(test_resize_through_raw),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close_when_answered),
        cmocka_unit_test(test_close_after_grace),
        cmocka_unit_test(test_format),
    };
    int failed = cmocka_run_group_tests_name("block-request", tests, NULL, NULL);

    epoch_flush();
    return failed;
}
