/* trace-test.c: events are found, switched by pattern and written as lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>
#include "util/thread.h"
#include "util/trace.h"

static void use_events(void)
{
    TRACE(toy_read, "offset=%u", 4u);
    TRACE(toy_write, "offset=%u value=0x%02x", 8u, 0x41u);
    TRACE(other_thing, "%s", "x");
}

static void use_again(void)
{
    TRACE(toy_read, "again offset=%u", 5u);
}

static void add_name(const char *name, bool on, void *arg)
{
    if (!g_str_has_prefix(name, "loop_")) {            /* util's own */
        g_string_append_printf(arg, "%s%s ", on ? "+" : "", name);
    }
}

static char *names(void)
{
    GString *s = g_string_new(NULL);

    trace_each(add_name, s);
    return g_string_free(s, FALSE);
}

static void names_are_sorted_and_once(void **state)
{
    g_autofree char *all = names();

    assert_string_equal(all, "other_thing toy_read toy_write ");
}

static void patterns_switch(void **state)
{
    g_autoptr(Error) err = NULL;

    assert_true(trace_enable("toy_*", NULL));
    assert_true(trace_enable("-toy_write", NULL));
    g_autofree char *some = names();
    assert_string_equal(some, "other_thing +toy_read toy_write ");
    assert_false(trace_enable("toy_raed", &err));
    assert_string_equal(error_advice(err), "did you mean 'toy_read'?");
    assert_true(trace_enable("-*", NULL));
}

static void lines_go_to_the_file(void **state)
{
    char path[] = "/tmp/trace-test-XXXXXX";
    g_autofree char *text = NULL;

    close(mkstemp(path));
    assert_true(trace_to_file(path, NULL));
    use_events();
    assert_true(trace_enable("toy_*", NULL));
    use_events();
    use_again();
    guest_bug_report(true);
    guest_bug("another toy", "is told there too");
    guest_bug_report(false);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    unlink(path);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    assert_int_equal(g_strv_length(lines), 5);
    assert_non_null(strstr(lines[0], " main toy_read offset=4"));
    assert_non_null(strstr(lines[1], " main toy_write offset=8 value=0x41"));
    assert_non_null(strstr(lines[2], " main toy_read again offset=5"));
    assert_string_equal(lines[3], "guest error: another toy: is told there too");
    assert_false(trace_to_file("/nonexistent/x", NULL));
    assert_true(trace_enable("-*", NULL));
}

static void guest_mistakes_are_counted_and_rarely_told(void **state)
{
    char buf[4096];
    int ends[2];
    int saved = dup(STDERR_FILENO);

    assert_return_code(pipe(ends), 0);
    guest_bug("toy", "silent");
    assert_int_equal(guest_bug_count(), 1);
    guest_bug_report(true);
    dup2(ends[1], STDERR_FILENO);
    for (int i = 0; i < 100; i++) {
        guest_bug("toy", "register %d does not exist", i);
    }
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], buf, sizeof(buf) - 1);
    close(ends[0]);
    assert_true(n > 0);
    buf[n] = 0;
    assert_string_equal(buf, "guest error: toy: register 0 does not exist\n");
    assert_int_equal(guest_bug_count(), 101);
    guest_bug_report(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_sorted_and_once),
        cmocka_unit_test(patterns_switch),
        cmocka_unit_test(guest_mistakes_are_counted_and_rarely_told),
        cmocka_unit_test(lines_go_to_the_file),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
