/* block-throttle-test.c: limits by a clock that moves when told, members of a group, and who hurries. */
#include "tests/unit/block-helper.h"
#include "block/front.h"
#include "block/graph.h"
#include "block/throttle.h"

#define MANY 2000

/* Requests of one member, all submitted at once. */
typedef struct Flood {
    Io io[MANY];
    BlkUser *user;             /* NULL: as nobody's */
    unsigned count;
    uint8_t *buf;
} Flood;

static Loop *worker;
static int64_t now;

static void flood_submit(void *arg)
{
    Flood *f = arg;

    for (unsigned i = 0; i < f->count; i++) {
        if (f->user) {
            blk_user_submit(f->user, &f->io[i].req);
        } else {
            blk_submit(f->io[i].node, &f->io[i].req);
        }
    }
}

/* What was posted and what that posted has run. */
static void settle(void)
{
    for (unsigned i = 0; i < 4; i++) {
        loop_call_wait(worker, io_nothing, NULL);
    }
}

static Flood *flood(BlkNode *n, BlkUser *u, BlkOp op, uint64_t len, unsigned count)
{
    Flood *f = g_new0(Flood, 1);

    f->user = u;
    f->count = count;
    f->buf = aligned(len);
    for (unsigned i = 0; i < count; i++) {
        io_prepare(&f->io[i], n, worker, op, 0, 0, op == BLK_FLUSH ? NULL : f->buf, len);
    }
    loop_call_wait(worker, flood_submit, f);
    settle();
    return f;
}

static unsigned done(const Flood *f)
{
    unsigned n = 0;

    for (unsigned i = 0; i < f->count; i++) {
        assert_true(f->io[i].calls <= 1);
        n += __atomic_load_n(&f->io[i].calls, __ATOMIC_ACQUIRE) == 1;
        assert_true(f->io[i].calls == 0 || f->io[i].ret == 0);
    }
    return n;
}

static void flood_free(Flood *f)
{
    assert_int_equal(done(f), f->count);
    free(f->buf);
    g_free(f);
}

static void step(int64_t ns)
{
    /* In small steps: a request that may go starts the next one's time from its own loop. */
    for (int64_t end = now + ns; now < end;) {
        now = MIN(now + NS_PER_SEC / 200, end);
        clock_vm_step_to(now);
        settle();
    }
}

static void held(BlkHold *h, void *arg)
{
    *(BlkHold **)arg = h;
}

static void finish(BlkNode *n)
{
    BlkHold *h = NULL;

    blk_hold(&n, 1, held, &h);
    while (!h) {
        loop_control_iterate(true);
    }
    blk_release(h);
    settle();
}

static BlkNode *limited(const char *name, const char *group)
{
    BlkOptions null = { .driver = "null-co", .read_zeroes = true };

    return open_ok(&(BlkOptions){ .driver = "throttle", .node_name = name, .throttle_group = group,
                                  .child = &null });
}

static void group(const ThrottleRates *t)
{
    Error *err = NULL;

    if (!throttle_rates_check(t, &err) || !throttle_group_make("g", t, &err)) {
        fail_msg("%s", error_text(err));
    }
}

#define assert_about(got, want) assert_in_range(got, (want) * 0.98 - 1, (want) * 1.02 + 1)

/* What has gone after each of four seconds is @first + @rate a second. */
static void expect(const ThrottleRates *t, BlkOp op, uint64_t len, unsigned first, double rate)
{
    group(t);
    BlkNode *n = limited("t", "g");
    Flood *f = flood(n, NULL, op, len, MANY);

    for (unsigned second = 0; second <= 4; second++) {
        assert_about(done(f), first + rate * second);
        step(NS_PER_SEC);
    }
    finish(n);
    flood_free(f);
    assert_false(throttle_group_drop("g"));
    close_ok(n);
    assert_true(throttle_group_drop("g"));
}

static void test_rates(void **state)
{
    ThrottleRates t = throttle_rates_none();

    t.at[THROTTLE_IOPS_TOTAL].avg = 100;
    expect(&t, BLK_READ, 4096, 11, 100);
    expect(&t, BLK_WRITE, 4096, 11, 100);
    t.op_size = 1024;
    expect(&t, BLK_READ, 4096, 3, 25);
    expect(&t, BLK_READ, 512, 11, 100);
    t = throttle_rates_none();
    t.at[THROTTLE_BPS_READ].avg = 1 << 20;
    expect(&t, BLK_READ, 64 << 10, 2, 16);
    expect(&t, BLK_WRITE, 64 << 10, MANY, 0);
    t.at[THROTTLE_BPS_WRITE].avg = 4 << 20;
    expect(&t, BLK_WRITE, 64 << 10, 7, 64);
    expect(&t, BLK_FLUSH, 0, MANY, 0);
}

static void test_bursts(void **state)
{
    ThrottleRates t = throttle_rates_none();
    ThrottleRate *r = &t.at[THROTTLE_IOPS_WRITE];

    *r = (ThrottleRate){ .avg = 50, .max = 200, .length = 1 };
    expect(&t, BLK_WRITE, 512, 201, 50);
    /* 100 a second until 3 s of it went, less what leaked. */
    *r = (ThrottleRate){ .avg = 50, .max = 100, .length = 3 };
    group(&t);
    BlkNode *n = limited("t", "g");
    Flood *f = flood(n, NULL, BLK_WRITE, 512, MANY);
    assert_about(done(f), 11);
    step(5 * NS_PER_SEC);
    assert_about(done(f), 511);
    step(5 * NS_PER_SEC);
    assert_about(done(f), 801);
    finish(n);
    flood_free(f);
    close_ok(n);
    throttle_group_drop("g");
}

static void test_refused(void **state)
{
    Error *err = NULL;
    ThrottleRates none = throttle_rates_none(), t = none;

    t.at[THROTTLE_IOPS_TOTAL].avg = t.at[THROTTLE_IOPS_READ].avg = 1;
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "bps/iops/max total values and read/write values cannot be used at the same time");
    t = none;
    t.at[0].avg = THROTTLE_RATE_MAX + 1;
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "bps/iops/max values must be within [0, 1000000000000000]");
    t.at[0] = (ThrottleRate){ .avg = 1, .max = 2, .length = 0 };
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "the burst length cannot be 0");
    t.at[0] = (ThrottleRate){ .avg = 1, .length = 2 };
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "burst length set without burst rate");
    t.at[0] = (ThrottleRate){ .avg = 1, .max = 1000000, .length = THROTTLE_RATE_MAX };
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "burst length too high for this burst rate");
    t.at[0] = (ThrottleRate){ .max = 1, .length = 1 };
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "bps_max/iops_max require corresponding bps/iops values");
    t.at[0] = (ThrottleRate){ .avg = 2, .max = 1, .length = 1 };
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "bps_max/iops_max cannot be lower than bps/iops");
    t = none;
    t.op_size = 1;
    assert_false(throttle_rates_check(&t, &err));
    assert_error(err, "iops size requires an iops value to be set");
    assert_null(blk_open(&(BlkOptions){ .driver = "throttle", .throttle_group = "x",
                                        .child = &(BlkOptions){ .driver = "null-co" } }, &err));
    assert_error(err, "Throttle group 'x' does not exist");
    assert_null(blk_open(&(BlkOptions){ .driver = "throttle", .child = &(BlkOptions){ .driver = "null-co" } },
                         &err));
    assert_error(err, "Parameter 'throttle-group' is missing");
    assert_true(throttle_group_make("g", &none, NULL));
    assert_false(throttle_group_make("g", &none, &err));
    assert_error(err, "A group with this name already exists");
    assert_true(throttle_group_drop("g"));
    assert_false(throttle_group_set("g", &none));
}

/* Who waits for bytes gets them through the filter, and may close it at once. */
static void test_blocking(void **state)
{
    ThrottleRates t = throttle_rates_none();
    uint8_t buf[512] = { 1 };

    group(&t);
    BlkNode *n = limited("t", "g");
    assert_int_equal(blk_pread(n, 0, buf, 512), 0);
    close_ok(n);
    assert_int_equal(buf[0], 0);
    assert_true(throttle_group_drop("g"));
}

/* Two nodes share what there is alike, however many requests each has; a third has none. */
static void test_fair(void **state)
{
    ThrottleRates t = throttle_rates_none();

    t.at[THROTTLE_IOPS_TOTAL].avg = 100;
    group(&t);
    BlkNode *a = limited("a", "g"), *b = limited("b", "g"), *c = limited("c", "g");
    Flood *fa = flood(a, NULL, BLK_READ, 512, MANY), *fb = flood(b, NULL, BLK_READ, 512, 400);
    unsigned first = done(fa);

    step(4 * NS_PER_SEC);
    assert_about(done(fa) - first, 200);
    assert_about(done(fb), 200);
    /* Other limits hold at once. */
    t.at[THROTTLE_IOPS_TOTAL].avg = 10;
    assert_true(throttle_group_set("g", &t));
    settle();
    unsigned then = done(fa) + done(fb);
    step(4 * NS_PER_SEC);
    assert_about(done(fa) + done(fb) - then, 40);
    /* Nobody waits when the graph is to be changed. */
    finish(a);
    finish(b);
    flood_free(fa);
    flood_free(fb);
    close_ok(a);
    close_ok(b);
    close_ok(c);
    throttle_group_drop("g");
}

static void moved(BlkUser *u)
{
}

/* The limits of a device: its own, another's, none. */
static void test_front(void **state)
{
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .read_zeroes = true });
    BlkFront front = { 0 };
    BlkUser user = { .moved = moved, .front = &front };
    ThrottleRates t = throttle_rates_none(), got;

    assert_true(blk_attach(n, &user, "device 'x'", BLK_PERM_READ, BLK_PERM_ALL, NULL));
    blk_front_open(&front, n, "x", g_strdup("x"));
    throttle_front_set(&front, NULL, &t);
    assert_null(front.throttle);
    t.at[THROTTLE_IOPS_READ].avg = 100;
    throttle_front_set(&front, NULL, &t);
    assert_string_equal(throttle_name(front.throttle), "x");
    assert_true(throttle_group_get("x", &got));
    Flood *f = flood(n, &user, BLK_READ, 512, MANY);
    assert_about(done(f), 11);
    step(NS_PER_SEC);
    assert_about(done(f), 111);
    /* Into another group, whose limits are its. */
    throttle_front_set(&front, "y", &t);
    assert_false(throttle_group_get("x", &got));
    settle();
    unsigned before = done(f);
    step(NS_PER_SEC);
    assert_about(done(f) - before, 100);
    BlkStats s;
    blk_stats(n, &s);
    assert_int_equal(s.ops[BLK_READ], done(f));
    throttle_front_set(&front, NULL, &(ThrottleRates){ 0 });
    settle();
    flood_free(f);
    f = flood(n, &user, BLK_READ, 512, MANY);
    flood_free(f);
    throttle_front_set(&front, NULL, &t);
    assert_string_equal(throttle_name(front.throttle), "x");
    f = flood(n, &user, BLK_READ, 512, MANY);
    /* A device that comes to rest is not held back. */
    throttle_hurry(true);
    settle();
    throttle_hurry(false);
    flood_free(f);
    blk_detach(&user);
    blk_front_close(&front);
    assert_false(throttle_group_get("x", &got));
    close_ok(n);
}

/* What -drive said holds for the device that gets it. */
static void test_drive(void **state)
{
    ThrottleRates t = throttle_rates_none(), got;
    BlkFront front = { 0 };

    t.at[THROTTLE_BPS_TOTAL].avg = 4096;
    BlkNode *n = open_ok(&(BlkOptions){ .driver = "null-co", .drive_id = "d", .words = { .rates = &t } });
    blk_front_open(&front, n, NULL, g_strdup("q"));
    assert_string_equal(throttle_name(front.throttle), "d");
    assert_true(throttle_group_get("d", &got));
    assert_int_equal(got.at[THROTTLE_BPS_TOTAL].avg, 4096);
    blk_front_close(&front);
    close_ok(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates), cmocka_unit_test(test_bursts), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fair),
        cmocka_unit_test(test_blocking), cmocka_unit_test(test_front), cmocka_unit_test(test_drive),
    };

    thread_become_control();
    loop_control();
    clock_vm_manual();
    worker = worker_new("worker");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    worker_free(worker);
    return failed;
}
