/* hmp-test.c: human monitor sessions over a stream that is the test: prompts, lines that end later, slow
 * readers, muxes; and human-monitor-command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "monitor/hmp.h"
#include "tests/qmp/fakes.h"
#include "util/loop.h"
#include "util/thread.h"

#define PROMPT "(qemu) "

typedef struct Reader {
    QmpServer *server;
    HmpSession *s;
    GString *got;
    size_t room;
    unsigned asked;
} Reader;

static Reader r;

static size_t reader_send(void *arg, const char *buf, size_t n)
{
    n = MIN(n, r.room);
    g_string_append_len(r.got, buf, n);
    r.room -= n;
    return n;
}

static void reader_more(void *arg)
{
    r.asked++;
}

static const QmpStream reader_stream = { .send = reader_send, .more = reader_more };

static int start(bool focus)
{
    fakes_reset();
    r = (Reader){ .got = g_string_new(NULL), .room = SIZE_MAX };
    r.server = qmp_server_new(fakes_state, NULL);
    r.s = hmp_session_new(r.server, &reader_stream, NULL, focus);
    return 0;
}

static int setup(void **state)
{
    start(false);
    hmp_session_open(r.s);
    assert_non_null(strstr(r.got->str, "monitor - type 'help' for more information\r\n" PROMPT));
    return 0;
}

static int setup_mux(void **state)
{
    return start(true);
}

static int teardown(void **state)
{
    hmp_session_free(r.s);
    qmp_server_free(r.server);
    g_string_free(r.got, TRUE);
    return 0;
}

/* Sends @text as far as the session takes it; returns how much. */
static size_t feed(const char *text)
{
    size_t sent = 0;

    while (text[sent] != '\0' && hmp_session_space(r.s) > 0) {
        size_t n = MIN(strlen(text + sent), hmp_session_space(r.s));

        hmp_session_bytes(r.s, text + sent, n);
        sent += n;
    }
    return sent;
}

static const char *say(const char *text)
{
    g_string_truncate(r.got, 0);
    feed(text);
    return r.got->str;
}

static void says(const char *line, const char *output)
{
    g_autofree char *keys = g_strconcat(line, "\r", NULL);
    g_autofree char *want = g_strconcat(line, "\r\n", output, PROMPT, NULL);

    assert_string_equal(say(keys), want);
}

static void test_lines(void **state)
{
    says("info status", "VM status: running\r\n");
    says("  info   name ", "n\xc3\xa4me\r\n");
    says("", "");
    says("   ", "");
    says("info kvm", "kvm support: disabled\r\n");
    says("info cpus", "* CPU #0: thread_id=1000\r\n  CPU #1: thread_id=1001\r\n");
    says("system_reset", "");
    assert_int_equal(fakes.calls, 5);
}

static void test_refusals(void **state)
{
    says("foo", "unknown command: 'foo'\r\n");
    says("foo/x bar", "unknown command: 'foo/x'\r\n");
    says("info foo", "unknown command: 'info foo'\r\n");
    says("info  foo bar", "unknown command: 'info  foo'\r\n");
    says("help foo", "unknown command: 'foo'\r\n");
    says("help info foo", "unknown command: 'info foo'\r\n");
    says("stop x", "stop|s: extraneous characters at the end of line\r\n"
         "Try \"help stop\" for more information\r\n");
    says("info status x", "status: extraneous characters at the end of line\r\n"
         "Try \"help info status\" for more information\r\n");
    says("device_del", "device_del: string expected\r\nTry \"help device_del\" for more information\r\n");
    says("system_wakeup", "Error: Unable to wake up: guest is not in suspended state\r\n");
    says("p $foo", "unknown register\r\nTry \"help p\" for more information\r\n");
    says("cpu 3", "invalid CPU index\r\n");
    says("info lapic", "No CPU available\r\n");
    says("info registers", "CPU#0 not available\r\n");
    says("xp 0", "there is no machine\r\n");
    says("a\xff", "the line is not valid UTF-8\r\n");
}

static void test_help(void **state)
{
    says("help stop", "stop|s  -- stop the guest\r\n");
    says("? info status", "info status  -- whether the guest runs\r\n");
    says("help info status x", "info status  -- whether the guest runs\r\n");
    assert_non_null(strstr(say("help\r"), "\r\nquit|q  -- end the program\r\n"));
    assert_null(strstr(r.got->str, "info status"));
    g_autofree char *all = g_strdup(say("info\r") + strlen("info"));
    assert_non_null(strstr(all, "\r\ninfo kvm  -- "));
    assert_string_equal(say("help info\r") + strlen("help info"), all);
}

static void test_print(void **state)
{
    says("p 1+1", "0x2\r\n");
    says("p/d 0-1", "-1\r\n");
    says("p 5", "5\r\n");                      /* as the last one */
    says("print/u 0-1", "18446744073709551615\r\n");
    says("p/c 65", "'A'\r\n");
    says("p/c 10", "'\\n'\r\n");
    says("p/c 0x12c", "','\r\n");
    says("p/o 8", "010\r\n");
}

static void test_history(void **state)
{
    says("p 1", "0x1\r\n");
    says("info history", "0: 'p 1'\r\n1: 'info history'\r\n");
    assert_string_equal(say("\033[A\033[A\r"),
                        "info history\033[K\b\b\b\b\b\b\b\b\b\b\b\bp 1\033[K\r\n0x1\r\n" PROMPT);
}

/* A stop is answered when the world stands; until then the session reads nothing. */
static void test_later(void **state)
{
    fakes.hold_stop = true;
    assert_string_equal(say("stop\rinfo status\r"), "stop\r\n");
    assert_int_equal(hmp_session_space(r.s), 0);
    qmp_pending_done(fakes.stopping, NULL);
    assert_string_equal(r.got->str, "stop\r\n" PROMPT "info status\r\nVM status: paused\r\n" PROMPT);
    assert_true(hmp_session_space(r.s) > 0);
    fakes.state = RUN_STATE_SHUTDOWN;
    says("stop", "Error: nothing runs\r\n");
}

static void test_gone_meanwhile(void **state)
{
    fakes.hold_stop = true;
    say("stop\r");
    hmp_session_close(r.s);
    hmp_session_open(r.s);
    g_string_truncate(r.got, 0);
    qmp_pending_done(fakes.stopping, NULL);
    assert_string_equal(r.got->str, "");
    fakes.state = RUN_STATE_RUNNING;
    say("stop\r");
    hmp_session_free(r.s);
    r.s = NULL;
    qmp_pending_done(fakes.stopping, NULL);
}

/* A reader that stops reading stops the session, not the program. */
static void test_slow_reader(void **state)
{
    g_autoptr(GString) lines = g_string_new(NULL);

    for (unsigned i = 0; i < 2000; i++) {
        g_string_append(lines, "info\r");
    }
    r.room = 100;
    size_t n = feed(lines->str);
    assert_true(n < lines->len);
    assert_in_range(hmp_session_waiting(r.s), QMP_OUT_PAUSE, QMP_OUT_PAUSE + 16384);
    assert_int_equal(hmp_session_space(r.s), 0);
    r.room = SIZE_MAX;
    r.asked = 0;
    hmp_session_room(r.s);
    assert_int_equal(hmp_session_waiting(r.s), 0);
    assert_true(r.asked > 0);
    assert_int_equal(feed(lines->str + n), lines->len - n);
}

static void test_no_prompt_after_quit(void **state)
{
    assert_string_equal(say("quit\r"), "quit\r\n");
}

static void test_ending(void **state)
{
    qmp_server_end(r.server);
    assert_int_equal(hmp_session_space(r.s), 0);
}

/* On a mux nothing is said before the input comes here, and what was typed is still there later. */
static void test_focus(void **state)
{
    hmp_session_open(r.s);
    assert_string_equal(r.got->str, "");
    hmp_session_focus(r.s, true);
    assert_non_null(strstr(r.got->str, "information\r\n" PROMPT));
    say("zz");
    g_string_truncate(r.got, 0);
    hmp_session_focus(r.s, false);
    assert_string_equal(r.got->str, "\r\n");
    g_string_truncate(r.got, 0);
    hmp_session_focus(r.s, true);
    assert_string_equal(r.got->str, PROMPT "zz");
    hmp_session_close(r.s);
    hmp_session_focus(r.s, false);
    hmp_session_focus(r.s, true);
}

/* --- human-monitor-command --- */

static void human(const char *line, const char *cpu, const char *want)
{
    QmpSession *s = qmp_session_new(r.server, &reader_stream, NULL, false);
    g_autofree char *text =
        g_strdup_printf("{'execute':'qmp_capabilities'}{'execute':'human-monitor-command', "
                        "'arguments':{'command-line':'%s'%s}}",
                        line, cpu);

    qmp_session_open(s);
    g_string_truncate(r.got, 0);
    qmp_session_bytes(s, text, strlen(text));
    g_autofree char *all = g_strconcat("{\"return\": {}}\r\n", want, "\r\n", NULL);
    assert_string_equal(r.got->str, all);
    qmp_session_free(s);
}

static void test_human_monitor_command(void **state)
{
    human("info status", "", "{\"return\": \"VM status: running\\r\\n\"}");
    human("foo", "", "{\"return\": \"unknown command: 'foo'\\r\\n\"}");
    human("", "", "{\"return\": \"\"}");
    human("log none", "", "{\"return\": \"\"}");
    human("info history", "", "{\"return\": \"\"}");
    human("info kvm", ",'cpu-index':9",
          "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Parameter 'cpu-index' expects a CPU "
          "number\"}}");
}

static void test_reference(void **state)
{
    g_autoptr(GString) page = g_string_new(NULL);

    hmp_reference(page);
    assert_non_null(strstr(page->str, "\n- `device_del device`: "));
    assert_non_null(strstr(page->str, "\n- `info status`: "));
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_lines),
        WITH(test_refusals),
        WITH(test_help),
        WITH(test_print),
        WITH(test_history),
        WITH(test_later),
        WITH(test_gone_meanwhile),
        WITH(test_slow_reader),
        WITH(test_no_prompt_after_quit),
        WITH(test_ending),
        cmocka_unit_test_setup_teardown(test_focus, setup_mux, teardown),
        WITH(test_human_monitor_command),
        WITH(test_reference),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
