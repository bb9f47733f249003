/* chardev-mux-test.c: several front ends on one back end, and the escape key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "chardev/char.h"
#include "tests/unit/chardev-front.h"
#include "util/thread.h"

static Loop *device_loop;
static unsigned quits, commits;

typedef struct Rig {
    int fd;                    /* the person's end */
    Chardev *mux;
    Front uart, monitor;
} Rig;

static bool owes;              /* the monitor has not answered yet; control */

static bool monitor_busy(CharPort *p)
{
    return owes;
}

static void count_quit(void)
{
    quits++;
}

static void count_commit(void)
{
    commits++;
}

/* The UART on the device loop, the monitor on control, as -serial mon:stdio has them. */
static void rig_up(Rig *r, size_t uart_space)
{
    static const CharPortOps monitor_ops = {
        .space = test_front_space, .bytes = test_front_bytes, .event = test_front_event, .busy = monitor_busy,
    };
    int ends[2];

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), errno);
    g_autofree char *arg = g_strdup_printf("socket,id=m,fd=%d,mux=on", ends[0]);
    r->fd = ends[1];
    r->mux = make_chardev(arg);
    assert_non_null(r->mux);
    assert_true(chardev_is_mux(r->mux));
    front_init(&r->uart, uart_space);
    front_init(&r->monitor, 1000);
    char_port_init(&r->monitor.port, &monitor_ops);
    assert_true(chardev_claim(r->mux, &r->uart.port, device_loop, NULL));
    assert_true(chardev_claim(r->mux, &r->monitor.port, loop_control(), NULL));
    front_wait_event(&r->uart, CHAR_OPEN, 1);
    front_wait_event(&r->monitor, CHAR_OPEN, 1);
}

static void rig_down(Rig *r)
{
    g_autoptr(Error) busy = NULL;

    assert_false(chardev_remove("m-base", &busy));
    front_end(&r->monitor, device_loop);
    front_end(&r->uart, device_loop);
    close(r->fd);
    assert_true(chardev_remove("m", NULL));
    assert_null(chardev_find("m-base"));
    for (int i = 0; i < 4; i++) {
        loop_call_wait(device_loop, front_nothing, NULL);
        while (loop_control_iterate(false)) {
        }
    }
    epoch_flush();
}

static void type(Rig *r, const char *text)
{
    assert_int_equal(write(r->fd, text, strlen(text)), strlen(text));
}

/* Reads what the person sees until it ends in @end. */
static char *see(Rig *r, const char *end)
{
    GString *s = g_string_new(NULL);

    while (!g_str_has_suffix(s->str, end)) {
        struct pollfd p = { .fd = r->fd, .events = POLLIN };
        char c;

        if (poll(&p, 1, 0) == 0) {
            loop_control_iterate(false);
            continue;
        }
        assert_int_equal(read(r->fd, &c, 1), 1);
        g_string_append_c(s, c);
    }
    return g_string_free(s, FALSE);
}

static void input_goes_to_the_focus(void **state)
{
    Rig r;

    rig_up(&r, 1000);
    type(&r, "root\r\001cinfo\n\001c!\001\001");
    front_wait(&r.uart, 7);
    front_wait(&r.monitor, 5);
    assert_string_equal(r.uart.got->str, "root\r!\001");
    assert_string_equal(r.monitor.got->str, "info\n");
    front_wait_event(&r.monitor, CHAR_FOCUS_OUT, 1);
    assert_int_equal(r.monitor.events[CHAR_FOCUS_IN], 1);
    chardev_mux_focus(&r.monitor.port);
    type(&r, "q");
    front_wait(&r.monitor, 6);
    rig_down(&r);
}

static void all_front_ends_are_seen(void **state)
{
    Rig r;

    rig_up(&r, 1000);
    assert_int_equal(front_send(&r.uart, "login: ", 7), 7);
    assert_int_equal(front_send(&r.monitor, "(mon) ", 6), 6);
    g_autofree char *text = see(&r, "(mon) ");
    assert_string_equal(text, "login: (mon) ");
    rig_down(&r);
}

static void the_keys_do_what_they_say(void **state)
{
    static const ChardevHooks hooks = { .quit = count_quit, .commit = count_commit };
    Rig r;

    chardev_set_hooks(&hooks);
    rig_up(&r, 1000);
    type(&r, "\001h");
    g_autofree char *help = see(&r, "sends C-a\n\r");
    assert_non_null(strstr(help, "C-a x    exit\n\r"));
    assert_non_null(strstr(help, "C-a c    switch between console and monitor\n\r"));
    type(&r, "\001b\001s\001x");
    front_wait_event(&r.uart, CHAR_BREAK, 1);
    while (!quits) {
        loop_control_iterate(true);
    }
    assert_int_equal(commits, 1);
    assert_int_equal(front_len(&r.uart), 0);
    rig_down(&r);
}

/* The client has said all and listens: it is kept while an answer is owed, and only then. */
static void the_end_waits_for_answers(void **state)
{
    for (unsigned said = 0; said < 2; said++) {
        Rig r;

        rig_up(&r, 1000);
        owes = true;
        type(&r, "\001cinfo\n");
        assert_return_code(shutdown(r.fd, SHUT_WR), errno);
        front_wait(&r.monitor, 5);
        for (unsigned i = 0; i < 3; i++) {
            loop_call_wait(device_loop, front_nothing, NULL);
            while (loop_control_iterate(false)) {
            }
        }
        assert_int_equal(r.monitor.events[CHAR_HANGUP], 0);
        owes = false;
        if (said) {
            assert_int_equal(front_send(&r.monitor, "answer", 6), 6);
            g_autofree char *text = see(&r, "answer");
            assert_string_equal(text, "answer");
        } else {
            front_more(&r.monitor, 1);
        }
        front_wait_event(&r.monitor, CHAR_HANGUP, 1);
        rig_down(&r);
    }
}

static void another_escape_character(void **state)
{
    Rig r;

    chardev_set_escape(20);
    rig_up(&r, 1000);
    type(&r, "\001a\024c" "x");
    front_wait(&r.monitor, 1);
    front_wait(&r.uart, 2);
    assert_string_equal(r.uart.got->str, "\001a");
    chardev_set_escape(1);
    rig_down(&r);
}

static void a_slow_guest_loses_nothing(void **state)
{
    static char text[2000];
    Rig r;

    rig_up(&r, 3);
    for (unsigned i = 0; i < sizeof(text); i++) {
        text[i] = 'a' + i % 26;
    }
    assert_int_equal(write(r.fd, text, sizeof(text)), sizeof(text));
    for (unsigned got = 3; got < sizeof(text); got += 17) {
        front_wait(&r.uart, MIN(got, sizeof(text)));
        front_more(&r.uart, 17);
    }
    front_wait(&r.uart, sizeof(text));
    assert_memory_equal(r.uart.got->str, text, sizeof(text));
    assert_int_equal(r.uart.overrun, 0);
    rig_down(&r);
}

static void the_escape_works_on_a_stuck_guest(void **state)
{
    static const ChardevHooks hooks = { .quit = count_quit };
    static char text[1000];
    Rig r;

    chardev_set_hooks(&hooks);
    quits = 0;
    rig_up(&r, 0);
    memset(text, 'y', sizeof(text));
    assert_int_equal(write(r.fd, text, sizeof(text)), sizeof(text));
    type(&r, "\001x");
    while (!quits) {
        loop_control_iterate(true);
    }
    assert_int_equal(front_len(&r.uart), 0);
    rig_down(&r);
}

static void time_stamps_begin_lines(void **state)
{
    Rig r;

    rig_up(&r, 1000);
    type(&r, "\001tx");
    front_wait(&r.uart, 1);
    assert_int_equal(front_send(&r.uart, "one\ntw", 6), 6);
    assert_int_equal(front_send(&r.uart, "o\n", 2), 2);
    g_autofree char *text = see(&r, "two\n");
    assert_string_equal(text, "[00:00:00.000] one\n[00:00:00.000] two\n");
    rig_down(&r);
}

static void output_is_held_back_and_goes_on(void **state)
{
    static uint8_t big[400000];
    size_t sent = 0, got = 0;
    Rig r;

    rig_up(&r, 0);
    for (unsigned i = 0; i < sizeof(big); i++) {
        big[i] = i * 11 >> 2;
    }
    while (got < sizeof(big)) {
        uint8_t part[3000];
        size_t n = front_send(&r.uart, big + sent, MIN(2000, sizeof(big) - sent));

        sent += n;
        if (n == 0) {
            ssize_t m = recv(r.fd, part, sizeof(part), MSG_DONTWAIT);

            if (m > 0) {
                assert_memory_equal(part, big + got, m);
                got += m;
            }
        }
    }
    front_wait_event(&r.uart, CHAR_ROOM, 1);
    rig_down(&r);
}

static void four_front_ends_and_no_more(void **state)
{
    g_autoptr(Error) err = NULL;
    Chardev *c = make_chardev("null,id=m,mux=on");
    Front f[5];

    for (int i = 0; i < 5; i++) {
        front_init(&f[i], 1);
        assert_int_equal(chardev_claim(c, &f[i].port, device_loop, i == 4 ? &err : NULL), i < 4);
    }
    assert_string_equal(error_text(err),
                        "too many uses of multiplexed chardev 'm' (maximum is 4)");
    for (int i = 0; i < 5; i++) {
        front_end(&f[i], device_loop);
    }
    assert_true(chardev_remove("m", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_goes_to_the_focus),
        cmocka_unit_test(all_front_ends_are_seen),
        cmocka_unit_test(the_keys_do_what_they_say),
        cmocka_unit_test(the_end_waits_for_answers),
        cmocka_unit_test(another_escape_character),
        cmocka_unit_test(a_slow_guest_loses_nothing),
        cmocka_unit_test(the_escape_works_on_a_stuck_guest),
        cmocka_unit_test(time_stamps_begin_lines),
        cmocka_unit_test(output_is_held_back_and_goes_on),
        cmocka_unit_test(four_front_ends_and_no_more),
    };

    thread_become_control();
    loop_control();
    device_loop = loop_new("device", THREAD_LOOP, NULL);
    int ret = cmocka_run_group_tests(tests, NULL, NULL);
    epoch_flush();             /* what the last test removed stops its timer on that loop */
    loop_free(device_loop);
    chardev_exit();
    return ret;
}
