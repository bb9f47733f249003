/* epoch-test.c: what a reader sees stays until it has left, and then goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <glib.h>
#include <string.h>
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/thread.h"

#define ROUNDS 2000

typedef struct Thing {
    EpochItem item;
    unsigned value, check;
} Thing;

static Thing *current;
static unsigned freed;
static bool done;

static void free_thing(EpochItem *item)
{
    Thing *t = container_of(item, Thing, item);

    t->check = 0;              /* a late reader would see this before the sanitizer does */
    g_free(t);
    __atomic_add_fetch(&freed, 1, __ATOMIC_RELAXED);
}

static Thing *make(unsigned value)
{
    Thing *t = g_new0(Thing, 1);

    t->value = value;
    t->check = ~value;
    return t;
}

/* By name, because a sanitizer may have a thread of its own. */
static unsigned count_reclaim_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    struct dirent *e;
    unsigned n = 0;

    while ((e = readdir(d))) {
        g_autofree char *path = g_strdup_printf("/proc/self/task/%s/comm", e->d_name);
        g_autofree char *comm = NULL;

        n += g_file_get_contents(path, &comm, NULL, NULL) && strcmp(comm, "reclaim\n") == 0;
    }
    closedir(d);
    return n;
}

static void nothing_is_started_before_the_first_defer(void **state)
{
    epoch_enter();
    epoch_leave();
    epoch_flush();
    assert_int_equal(count_reclaim_threads(), 0);
    epoch_defer(&make(0)->item, free_thing);
    assert_int_equal(count_reclaim_threads(), 1);
    epoch_flush();
    assert_int_equal(freed, 1);
}

static void a_section_holds_off_the_free(void **state)
{
    unsigned before = __atomic_load_n(&freed, __ATOMIC_RELAXED);

    epoch_enter();
    epoch_enter();
    epoch_defer(&make(1)->item, free_thing);
    epoch_leave();
    assert_int_equal(__atomic_load_n(&freed, __ATOMIC_RELAXED), before);
    epoch_leave();
    epoch_flush();
    assert_int_equal(__atomic_load_n(&freed, __ATOMIC_RELAXED), before + 1);
}

static void read_all_the_time(void *bad)
{
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        epoch_enter();
        Thing *t = epoch_load(current);
        if (t->check != ~t->value) {
            ++*(unsigned *)bad;
        }
        epoch_leave();
    }
}

static void readers_never_see_a_freed_thing(void **state)
{
    unsigned bad[2] = { 0 };
    unsigned before = __atomic_load_n(&freed, __ATOMIC_RELAXED);
    pthread_t t[2];

    epoch_store(current, make(0));
    for (int i = 0; i < 2; i++) {
        assert_true(thread_start(&t[i], THREAD_VCPU, "reader", true, read_all_the_time, &bad[i],
                                 NULL));
    }
    for (unsigned i = 1; i <= ROUNDS; i++) {
        Thing *old = current;

        epoch_store(current, make(i));
        epoch_defer(&old->item, free_thing);
    }
    __atomic_store_n(&done, true, __ATOMIC_RELAXED);
    thread_join(t[0]);
    thread_join(t[1]);
    epoch_defer(&current->item, free_thing);
    epoch_flush();
    assert_int_equal(bad[0] + bad[1], 0);
    assert_int_equal(__atomic_load_n(&freed, __ATOMIC_RELAXED), before + ROUNDS + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_started_before_the_first_defer),
        cmocka_unit_test(a_section_holds_off_the_free),
        cmocka_unit_test(readers_never_see_a_freed_thing),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
