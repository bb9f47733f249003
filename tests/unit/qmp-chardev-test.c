/* qmp-chardev-test.c: QMP over a unix socket: clients that come back, read slowly, or vanish. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "chardev/char.h"
#include "system/qmp-chardev.h"
#include "tests/qmp/fakes.h"
#include "util/epoch.h"
#include "util/loop.h"
#include "util/thread.h"

typedef struct Rig {
    QmpServer *server;
    MonitorPort *monitor;
    char *dir, *path;
} Rig;

static Rig rig;

static void rig_up(void)
{
    g_autoptr(Error) e = NULL;

    fakes_reset();
    rig.dir = g_dir_make_tmp("qmp-XXXXXX", NULL);
    rig.path = g_build_filename(rig.dir, "sock", NULL);
    g_autofree char *text = g_strdup_printf("socket,id=mon,path=%s,server=on,wait=off", rig.path);
    g_autoptr(ChardevConfig) o = NULL;

    assert_true(qapi_opt_chardev(text, &o, &e));
    assert_non_null(chardev_new(o, &e));
    rig.server = qmp_server_new(fakes_state, NULL);
    rig.monitor = qmp_monitor_new(rig.server, "mon", false, &e);
    assert_non_null(rig.monitor);
}

static void rig_down(void)
{
    g_autoptr(Error) e = NULL;

    monitor_port_free(rig.monitor);
    while (loop_control_iterate(false)) {
    }
    qmp_server_free(rig.server);
    assert_true(chardev_remove("mon", &e));
    while (loop_control_iterate(false)) {
    }
    epoch_flush();
    rmdir(rig.dir);
    g_free(rig.dir);
    g_free(rig.path);
}

static int dial(void)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    g_strlcpy(a.sun_path, rig.path, sizeof(a.sun_path));
    assert_return_code(connect(fd, (struct sockaddr *)&a, sizeof(a)), errno);
    return fd;
}

/* Reads @lines lines from @fd, running the control loop meanwhile; owned by the caller. */
static char *hear(int fd, unsigned lines)
{
    GString *s = g_string_new(NULL);

    while (lines) {
        char c;

        if (read(fd, &c, 1) == 1) {
            g_string_append_c(s, c);
            lines -= c == '\n';
        } else {
            loop_control_iterate(true);
        }
    }
    return g_string_free(s, FALSE);
}

static void hears(int fd, const char *text, const char *want)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    g_autofree char *got = hear(fd, 1);

    assert_string_equal(got, want);
}

static void a_client_is_served(void **state)
{
    rig_up();
    int fd = dial();
    g_autofree char *greeting = hear(fd, 1);

    assert_true(g_str_has_prefix(greeting, "{\"QMP\": "));
    assert_true(g_str_has_suffix(greeting, "\r\n"));
    hears(fd, "{\"execute\":\"qmp_capabilities\"}\n", "{\"return\": {}}\r\n");
    hears(fd, "{\"execute\":\"query-iothreads\",\"id\":1}", "{\"return\": [], \"id\": 1}\r\n");
    close(fd);
    rig_down();
}

static void a_client_comes_back(void **state)
{
    rig_up();
    for (unsigned i = 0; i < 5; i++) {
        int fd = dial();
        g_autofree char *greeting = hear(fd, 1);

        assert_true(g_str_has_prefix(greeting, "{\"QMP\": "));
        hears(fd, "{\"execute\":\"stop\"}", "{\"error\": {\"class\": \"CommandNotFound\", "
            "\"desc\": "
              "\"Expecting capabilities negotiation with 'qmp_capabilities'\"}}\r\n");
        hears(fd, "{\"execute\":\"qmp_capabilities\"}", "{\"return\": {}}\r\n");
        assert_int_equal(write(fd, "{\"execute\":", 11), 11);
        close(fd);
    }
    rig_down();
}

/* 200 commands at once, whose replies do not fit into the socket: all are answered, in order, once
 * the client reads. */
static void a_flood_is_answered_in_order(void **state)
{
    enum { COMMANDS = 200 };
    g_autoptr(GString) flood = g_string_new("{\"execute\":\"qmp_capabilities\",\"id\":0}");
    size_t sent = 0;
    unsigned next = 0;

    rig_up();
    int fd = dial();
    g_free(hear(fd, 1));
    for (unsigned i = 1; i < COMMANDS; i++) {
        g_string_append_printf(flood, "{\"execute\":\"query-command-line-options\",\"id\":%u}", i);
    }
    g_autoptr(GString) got = g_string_new(NULL);

    while (next < COMMANDS) {
        char buf[65536];
        ssize_t n = write(fd, flood->str + sent, flood->len - sent);

        sent += n > 0 ? n : 0;
        loop_control_iterate(false);
        n = read(fd, buf, sizeof(buf));
        g_string_append_len(got, buf, n > 0 ? n : 0);
        for (char *end; (end = strstr(got->str, "\r\n")) != NULL; next++) {
            g_autofree char *id = g_strdup_printf("\"id\": %u}", next);

            *end = '\0';
            assert_true(g_str_has_suffix(got->str, id));
            g_string_erase(got, 0, end + 2 - got->str);
        }
    }
    close(fd);
    rig_down();
}

static void a_client_that_vanishes_leaves_nothing(void **state)
{
    rig_up();
    for (unsigned i = 0; i < 3; i++) {
        int fd = dial();
        const char *text = "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-qmp-schema\"}"
                           "{\"execute\":\"query-qmp-schema\"}{\"execute\":\"query-qmp-schema\"}{";
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        g_free(hear(fd, 1));
        close(fd);
    }
    rig_down();
}

static void a_monitor_needs_its_chardev(void **state)
{
    g_autoptr(Error) e = NULL, e2 = NULL;

    rig_up();
    assert_null(qmp_monitor_new(rig.server, "nosuch", false, &e));
    assert_non_null(strstr(error_text(e), "nosuch"));
    assert_null(qmp_monitor_new(rig.server, "mon", false, &e2));
    assert_non_null(e2);
    rig_down();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_is_served),
        cmocka_unit_test(a_client_comes_back),
        cmocka_unit_test(a_flood_is_answered_in_order),
        cmocka_unit_test(a_client_that_vanishes_leaves_nothing),
        cmocka_unit_test(a_monitor_needs_its_chardev),
    };

    thread_become_control();
    loop_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
