/* lock-test.c: ranks are checked, and a violation names both locks and both places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "util/lock.h"
#include "util/thread.h"

static Lock domain = LOCK_INIT(RANK_DOMAIN, "test-domain");
static Lock map = LOCK_INIT(RANK_MAP, "test-map");
static Lock leaf = LOCK_INIT(RANK_LEAF, "test-leaf");

/* The functions that do wrong are hidden from clang's analysis, which would see it. */

/* Runs @fn in a child; returns what it wrote to stderr, or NULL if it did not abort. */
static char *abort_text(void (*fn)(void))
{
    int ends[2];
    char buf[1024];
    int status;

    assert_return_code(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        fn();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = 0, got;
    while ((got = read(ends[0], buf + n, sizeof(buf) - 1 - n)) > 0) {
        n += got;
    }
    buf[n] = 0;
    close(ends[0]);
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? g_strdup(buf) : NULL;
}

static LOCK_UNCHECKED void take_upwards(void)
{
    lock_take(&map);
    lock_take(&domain);
}

static LOCK_UNCHECKED void take_same_rank(void)
{
    Lock other = LOCK_INIT(RANK_DOMAIN, "other-domain");

    lock_take(&domain);
    lock_take(&other);
}

static LOCK_UNCHECKED void take_twice(void)
{
    lock_take(&leaf);
    lock_take(&leaf);
}

static LOCK_UNCHECKED void drop_unheld(void)
{
    lock_drop(&leaf);
}

static LOCK_UNCHECKED void wait_for_worker_under_map(void)
{
    lock_take(&map);
    lock_worker_wait_begin();
}

static LOCK_UNCHECKED void domain_while_waiting(void)
{
    lock_worker_wait_begin();
    lock_take(&domain);
}

static void control_on_no_control(void)
{
    assert_control();
}

static void expect_abort(void (*fn)(void), const char *first, const char *second)
{
    g_autofree char *text = abort_text(fn);

    assert_non_null(text);
    assert_non_null(strstr(text, first));
    assert_non_null(strstr(text, second));
}

static void violations_abort_with_both_names(void **state)
{
    if (!DEBUG_CHECKS) {
        skip();
    }
    expect_abort(take_upwards, "test-domain (rank DOMAIN) wanted at ", "test-map (rank MAP) taken");
    expect_abort(take_upwards, "lock-test.c:", "lock-test.c:");
    expect_abort(take_same_rank, "other-domain", "test-domain");
    expect_abort(take_twice, "test-leaf", "test-leaf");
    expect_abort(drop_unheld, "test-leaf", "not held");
    expect_abort(wait_for_worker_under_map, "waiting for a worker", "test-map");
    expect_abort(domain_while_waiting, "test-domain", "waiting for a worker");
    expect_abort(control_on_no_control, "only the control thread", "context");
}

static void downwards_is_fine_and_any_drop_order(void **state)
{
    lock_assert_may_take(RANK_DOMAIN);
    lock_take(&domain);
    lock_worker_wait_begin();
    lock_worker_wait_end();
    lock_take(&map);
    lock_take(&leaf);
    lock_assert_held(&map);
    lock_drop(&domain);
    lock_drop(&leaf);
    lock_assert_may_take(RANK_NODE);
    lock_drop(&map);
    lock_assert_may_take(RANK_DOMAIN);
}

static void wait_times_out(void **state)
{
    LockCond cond = { 0 };

    lock_take(&map);
    assert_false(lock_wait(&map, &cond, 1000));
    lock_assert_held(&map);
    lock_drop(&map);
}

static LockCond turned;
static int turn, count;

static void take_turns(void *arg)
{
    int me = GPOINTER_TO_INT(arg);

    for (int i = 0; i < 100; i++) {
        lock_take(&leaf);
        while (turn != me) {
            lock_wait(&leaf, &turned, -1);
        }
        count++;
        turn = !me;
        lock_broadcast(&turned);
        lock_drop(&leaf);
    }
}

static void two_threads_take_turns(void **state)
{
    pthread_t a, b;

    assert_true(thread_start(&a, THREAD_POOL, "a", true, take_turns, GINT_TO_POINTER(0), NULL));
    assert_true(thread_start(&b, THREAD_POOL, "b", true, take_turns, GINT_TO_POINTER(1), NULL));
    thread_join(a);
    thread_join(b);
    assert_int_equal(count, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(violations_abort_with_both_names),
        cmocka_unit_test(downwards_is_fine_and_any_drop_order),
        cmocka_unit_test(wait_times_out),
        cmocka_unit_test(two_threads_take_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
