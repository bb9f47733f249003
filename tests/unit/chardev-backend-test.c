/* chardev-backend-test.c: the back ends with real descriptors, each with its front end on the
 * control loop and on a loop of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "chardev/char.h"
#include "tests/unit/chardev-front.h"
#include "util/fault.h"
#include "util/thread.h"

static Loop *device_loop;
static char *dir;
static unsigned seen_rows;

static Loop *loop_of(void **state)
{
    return *state ? device_loop : loop_control();
}

static char *in_dir(const char *name)
{
    return g_strdup_printf("%s/%s", dir, name);
}

static Chardev *make(const char *fmt, const char *name)
{
    g_autofree char *path = in_dir(name);
    g_autofree char *arg = g_strdup_printf(fmt, path);

    return make_chardev(arg);
}

static void remove_all(const char *id)
{
    assert_true(chardev_remove(id, NULL));
    for (int i = 0; i < 3; i++) {
        loop_call_wait(device_loop, front_nothing, NULL);
        while (loop_control_iterate(false)) {
        }
    }
    epoch_flush();
}

static char *contents(const char *name)
{
    g_autofree char *path = in_dir(name);
    char *text = NULL;

    g_file_get_contents(path, &text, NULL, NULL);
    return text;
}

static void read_exactly(int fd, char *buf, size_t n)
{
    while (n) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        /* The control loop may be the one that writes. */
        if (poll(&p, 1, 0) == 0) {
            loop_control_iterate(false);
            continue;
        }
        ssize_t got = read(fd, buf, n);
        assert_true(got > 0);
        buf += got;
        n -= got;
    }
}

static void write_ok(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void find_name(const char *label, const char *filename, bool open, void *arg)
{
    const char **want = arg;

    if (strcmp(label, want[0]) == 0) {
        assert_string_equal(filename, want[1]);
        assert_int_equal(open, want[2] != NULL);
        seen_rows++;
    }
}

static void expect_row(const char *label, const char *filename, bool open)
{
    const char *want[] = { label, filename, open ? "yes" : NULL };

    seen_rows = 0;
    chardev_each(find_name, want);
    assert_int_equal(seen_rows, 1);
}

/* --- ports alone --- */

static void ports_are_symmetric(void **state)
{
    Front a, b;

    front_init(&a, 3);
    front_init(&b, 100);
    assert_int_equal(front_send(&a, "lost", 4), 4);
    char_join(&a.port, &b.port);
    assert_int_equal(char_space(&b.port), 3);
    assert_int_equal(front_send(&b, "abcde", 5), 3);
    assert_int_equal(front_send(&b, "de", 2), 0);
    assert_int_equal(front_send(&a, "hello", 5), 5);
    assert_string_equal(a.got->str, "abc");
    assert_string_equal(b.got->str, "hello");
    front_more(&a, 2);
    assert_int_equal(b.events[CHAR_ROOM], 1);
    char_part(&a.port);
    assert_int_equal(front_send(&b, "xx", 2), 2);
    g_string_free(a.got, TRUE);
    g_string_free(b.got, TRUE);
}

/* --- registry --- */

static void ids_and_claims_are_exclusive(void **state)
{
    g_autoptr(Error) dup = NULL, busy = NULL, used = NULL, gone = NULL;
    g_autoptr(ChardevConfig) o = read_config("null,id=n0", NULL);
    Chardev *c = chardev_new(o, NULL);
    Front f, g;

    front_init(&f, 1);
    front_init(&g, 1);
    assert_null(chardev_new(o, &dup));
    assert_string_equal(error_text(dup), "Duplicate ID 'n0' for chardev");
    expect_row("n0", "null", false);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    expect_row("n0", "null", true);
    assert_false(chardev_claim(c, &g.port, loop_of(state), &used));
    assert_string_equal(error_text(used), "chardev 'n0' is already in use");
    assert_false(chardev_remove("n0", &busy));
    assert_string_equal(error_text(busy), "Chardev 'n0' is busy");
    front_wait_event(&f, CHAR_OPEN, 1);
    assert_int_equal(front_send(&f, "x", 1), 1);
    assert_null(chardev_need("n1", &gone));
    assert_string_equal(error_text(gone), "Chardev 'n1' not found");
    front_end(&f, loop_of(state));
    assert_int_equal(front_send(&f, "x", 1), 1);
    g_string_free(g.got, TRUE);
    remove_all("n0");
    assert_null(chardev_find("n0"));
}

static void a_front_end_moves_between_loops(void **state)
{
    Chardev *c = make("file,id=mv,path=%s", "mv");

    for (int i = 0; i < 20; i++) {
        Front f;
        Loop *l = i & 1 ? device_loop : loop_control();

        front_init(&f, 0);
        assert_true(chardev_claim(c, &f.port, l, NULL));
        assert_int_equal(front_send(&f, "ab", 2), 2);
        chardev_release(&f.port);
        assert_true(chardev_claim(c, &f.port, i & 1 ? loop_control() : device_loop, NULL));
        assert_int_equal(front_send(&f, "c", 1), 1);
        front_end(&f, device_loop);
    }
    remove_all("mv");
    g_autofree char *text = contents("mv");
    assert_int_equal(strlen(text), 60);
    assert_memory_equal(text, "abcabc", 6);
}

/* --- file, log --- */

static void file_writes_all_and_appends(void **state)
{
    Front f;

    for (int i = 0; i < 2; i++) {
        Chardev *c = make(i ? "file,id=f,path=%s,append=on" : "file,id=f,path=%s", "out");

        front_init(&f, 0);
        assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
        /* More than is buffered: what is short goes on at CHAR_ROOM. */
        for (unsigned sent = 0, rooms = 0; sent < 10000;) {
            char buf[1000];

            memset(buf, 'a' + i, sizeof(buf));
            size_t n = front_send(&f, buf, MIN(sizeof(buf), 10000 - sent));
            sent += n;
            if (n < sizeof(buf) && sent < 10000) {
                front_wait_event(&f, CHAR_ROOM, ++rooms);
            }
        }
        front_end(&f, loop_of(state));
        remove_all("f");
    }
    g_autofree char *text = contents("out");
    assert_int_equal(strlen(text), 20000);
    assert_int_equal(text[0], 'a');
    assert_int_equal(text[19999], 'b');
}

static void file_input_and_logfile(void **state)
{
    g_autofree char *in = in_dir("input");
    g_autofree char *out = in_dir("o2");
    g_autofree char *log = in_dir("log");
    g_autofree char *arg = g_strdup_printf("file,id=f,path=%s,input-path=%s,logfile=%s", out, in,
                                           log);
    Front f;

    assert_true(g_file_set_contents(in, "typed before", -1, NULL));
    Chardev *c = make_chardev(arg);
    front_init(&f, 5);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    front_wait(&f, 5);
    assert_string_equal(f.got->str, "typed");
    front_more(&f, 100);
    front_wait(&f, 12);
    assert_string_equal(f.got->str, "typed before");
    assert_int_equal(f.overrun, 0);
    front_send(&f, "answer", 6);
    front_end(&f, loop_of(state));
    remove_all("f");
    g_autofree char *text = contents("log");
    assert_string_equal(text, "answer");
}

static void open_failures_are_told(void **state)
{
    static const char *const args[] = {
        "file,id=x,path=/nonexistent/x", "pipe,id=x,path=/nonexistent/x",
        "socket,id=x,path=/nonexistent/x", "socket,id=x,path=/nonexistent/x,server=on,wait=off",
        "socket,id=x,host=127.0.0.1,port=1", "socket,id=x,fd=hello", "socket,id=x,fd=0,reconnect=1",
        "socket,id=x", "socket,id=x,path=a,host=b", "socket,id=x,host=h", "ringbuf,id=x,size=3",
        "serial,id=x,path=/nonexistent/x", "tty,id=x,path=/nonexistent/x",
        "null,id=x,logfile=/nonexistent/x", "socket,id=x,path=,server=on",
        "socket,id=x,path=a,server=on,reconnect=1",
        "socket,id=x,host=127.0.0.1,port=2,to=1,server=on,wait=off",
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(args); i++) {
        g_autoptr(ChardevConfig) o = read_config(args[i], NULL);
        g_autoptr(Error) err = NULL;

        assert_non_null(o);
        assert_null(chardev_new(o, &err));
        assert_true(g_str_has_prefix(error_text(err), "chardev 'x': "));
        assert_null(chardev_find("x"));
    }
}

static void ids_are_identifiers(void **state)
{
    static const char *const bad[] = { "null,id=1a", "null,id=", "null,id=a b", "null,id=a/b" };

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(ChardevConfig) o = read_config(bad[i], NULL);
        g_autoptr(Error) err = NULL;

        assert_null(chardev_new(o, &err));
        assert_string_equal(error_text(err), "Parameter 'id' expects an identifier");
    }
}

static void aliases_are_what_they_stand_for(void **state)
{
    static const char *const rows[][2] = {
        { "memory,id=x,size=8", "ringbuf" }, { "vc,id=x,cols=80,rows=24", "null" },
        { "tty,id=x,path=/dev/null", "serial" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        assert_non_null(make_chardev(rows[i][0]));
        expect_row("x", rows[i][1], false);
        remove_all("x");
    }
}

static void a_server_takes_the_next_free_port(void **state)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&a, len), errno);
    assert_return_code(listen(fd, 1), errno);
    getsockname(fd, (struct sockaddr *)&a, &len);
    g_autofree char *one = g_strdup_printf("socket,id=x,host=127.0.0.1,port=%u,server=on,wait=off",
                                           ntohs(a.sin_port));
    g_autofree char *more = g_strdup_printf("%s,to=65535", one);
    assert_null(make_chardev(one));
    if (ntohs(a.sin_port) < 65000) {
        assert_non_null(make_chardev(more));
        remove_all("x");
    }
    close(fd);
}

/* --- pipe --- */

static void pipe_goes_both_ways_with_back_pressure(void **state)
{
    g_autofree char *in = in_dir("p.in");
    g_autofree char *out = in_dir("p.out");
    static uint8_t big[300000];
    Front f;
    char buf[16];

    mkfifo(in, 0600);
    mkfifo(out, 0600);
    Chardev *c = make("pipe,id=p,path=%s", "p");
    int to = open(in, O_WRONLY), from = open(out, O_RDONLY | O_NONBLOCK);
    front_init(&f, 2);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    assert_int_equal(write(to, "hello", 5), 5);
    front_wait(&f, 2);
    front_more(&f, 10);
    front_wait(&f, 5);
    assert_string_equal(f.got->str, "hello");

    /* Nobody reads: the guest is told so before 300 kB, and loses nothing. */
    for (unsigned i = 0; i < sizeof(big); i++) {
        big[i] = i * 7;
    }
    size_t sent = 0;
    int stuck = 0;
    while (stuck < 50) {
        size_t n = front_send(&f, big + sent, MIN(1000, sizeof(big) - sent));

        sent += n;
        stuck = n ? 0 : stuck + 1;
        loop_call_wait(device_loop, front_nothing, NULL);
        loop_control_iterate(false);
    }
    assert_true(sent < 200000);
    size_t got = 0;
    while (got < sizeof(big)) {
        uint8_t part[4096];
        ssize_t n = read(from, part, sizeof(part));

        if (n > 0) {
            assert_memory_equal(part, big + got, n);
            got += n;
        }
        sent += front_send(&f, big + sent, sizeof(big) - sent);
        loop_control_iterate(false);
    }
    assert_true(f.events[CHAR_ROOM] > 0);
    front_send(&f, "end", 3);
    read_exactly(from, buf, 3);
    assert_memory_equal(buf, "end", 3);
    close(to);
    close(from);
    front_end(&f, loop_of(state));
    remove_all("p");
}

/* --- pty --- */

static void take_pty_name(const char *label, const char *filename, bool open, void *arg)
{
    if (strcmp(label, "t") == 0) {
        assert_true(g_str_has_prefix(filename, "pty:/dev/pts/"));
        *(char **)arg = g_strdup(filename + 4);
    }
}

static void pty_comes_and_goes(void **state)
{
    Chardev *c = make_chardev("pty,id=t");
    g_autofree char *name = NULL;
    static uint8_t lost[9000];
    Front f;
    char buf[8];

    assert_non_null(c);
    chardev_each(take_pty_name, &name);
    front_init(&f, 1000);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    loop_call_wait(loop_of(state), front_nothing, NULL);
    /* Nobody has it open: output is dropped, the guest does not wait. */
    assert_int_equal(front_send(&f, lost, sizeof(lost)), sizeof(lost));
    for (unsigned i = 1; i <= 2; i++) {
        int fd = open(name, O_RDWR | O_NOCTTY);

        assert_true(fd >= 0);
        front_wait_event(&f, CHAR_OPEN, i);
        assert_int_equal(front_send(&f, "\nhi\r", 4), 4);
        read_exactly(fd, buf, 4);
        assert_memory_equal(buf, "\nhi\r", 4);
        assert_int_equal(write(fd, "\003x\n", 3), 3);
        front_wait(&f, 3 * i);
        assert_string_equal(f.got->str + 3 * (i - 1), "\003x\n");
        close(fd);
        front_wait_event(&f, CHAR_HANGUP, i);
    }
    front_end(&f, loop_of(state));
    remove_all("t");
}

/* --- sockets --- */

static int connect_unix(const char *path, bool abstract)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strcpy(a.sun_path + abstract, path);
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;
    assert_return_code(connect(fd, (struct sockaddr *)&a, len), errno);
    return fd;
}

static void talk(Front *f, int fd)
{
    char buf[8];
    size_t before = front_len(f);

    assert_int_equal(write(fd, "question", 8), 8);
    front_wait(f, before + 8);
    assert_int_equal(front_send(f, "answer", 6), 6);
    read_exactly(fd, buf, 6);
    assert_memory_equal(buf, "answer", 6);
}

static void unix_server_takes_one_client_after_the_other(void **state)
{
    g_autofree char *path = in_dir("sock");
    g_autofree char *idle = g_strdup_printf("disconnected:unix:%s,server=on", path);
    Chardev *c = make("socket,id=u,path=%s,server=on,wait=off", "sock");
    Front f;

    expect_row("u", idle, false);
    front_init(&f, 1000);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    int first = connect_unix(path, false);
    front_wait_event(&f, CHAR_OPEN, 1);
    expect_row("u", strchr(idle, ':') + 1, true);
    int second = connect_unix(path, false);
    talk(&f, first);
    close(first);
    front_wait_event(&f, CHAR_HANGUP, 1);
    front_wait_event(&f, CHAR_OPEN, 2);
    talk(&f, second);
    close(second);
    front_wait_event(&f, CHAR_HANGUP, 2);
    front_end(&f, loop_of(state));
    remove_all("u");
    assert_int_equal(access(path, F_OK), -1);
}

static bool answer_is_due;

static bool front_busy(CharPort *p)
{
    return __atomic_load_n(&answer_is_due, __ATOMIC_SEQ_CST);
}

/* As socat does at the end of its input.  The front end answers when the end has been seen. */
static void a_client_that_ends_its_side_gets_the_answer(void **state)
{
    static const CharPortOps ops = { .space = test_front_space, .bytes = test_front_bytes,
                                     .event = test_front_event, .busy = front_busy };
    g_autofree char *path = in_dir("half");
    Chardev *c = make("socket,id=u,path=%s,server=on,wait=off", "half");
    char buf[8];
    Front f;

    front_init(&f, 1000);
    char_port_init(&f.port, &ops);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    for (unsigned i = 1; i <= 2; i++) {
        __atomic_store_n(&answer_is_due, true, __ATOMIC_SEQ_CST);
        int fd = connect_unix(path, false);
        front_wait_event(&f, CHAR_OPEN, i);
        assert_int_equal(write(fd, "question", 8), 8);
        assert_return_code(shutdown(fd, SHUT_WR), errno);
        front_wait(&f, 8 * i);
        loop_call_wait(loop_of(state), front_nothing, NULL);
        assert_int_equal(front_send(&f, "answer", 6), 6);
        __atomic_store_n(&answer_is_due, false, __ATOMIC_SEQ_CST);
        read_exactly(fd, buf, 6);
        assert_memory_equal(buf, "answer", 6);
        assert_int_equal(front_send(&f, "", 1), 1);
        front_wait_event(&f, CHAR_HANGUP, i);
        while (read(fd, buf, sizeof(buf)) > 0) {
        }
        close(fd);
    }
    assert_int_equal(f.events[CHAR_END], 0);
    front_end(&f, loop_of(state));
    remove_all("u");
}

static void a_slow_client_holds_the_guest_back(void **state)
{
    g_autofree char *path = in_dir("slow");
    static uint8_t big[1000000];
    Chardev *c = make("socket,id=u,path=%s,server=on,wait=off", "slow");
    Front f;

    front_init(&f, 0);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    int fd = connect_unix(path, false);
    front_wait_event(&f, CHAR_OPEN, 1);
    for (unsigned i = 0; i < sizeof(big); i++) {
        big[i] = i * 13 >> 3;
    }
    size_t sent = 0, got = 0;
    while (got < sizeof(big)) {
        uint8_t part[5000];

        size_t n = front_send(&f, big + sent, MIN(3000, sizeof(big) - sent));
        sent += n;
        if (n == 0) {
            ssize_t r = recv(fd, part, sizeof(part), MSG_DONTWAIT);

            if (r > 0) {
                assert_memory_equal(part, big + got, r);
                got += r;
            }
            loop_control_iterate(false);
        }
    }
    /* It goes away in the middle of output: the guest is not held up for ever. */
    while (front_send(&f, big, sizeof(big)) > 0) {
        loop_control_iterate(false);
    }
    close(fd);
    front_wait_event(&f, CHAR_HANGUP, 1);
    assert_int_equal(front_send(&f, big, 5000), 5000);
    front_end(&f, loop_of(state));
    remove_all("u");
}

static void abstract_and_stale_sockets(void **state)
{
    g_autofree char *path = in_dir("stale");
    g_autofree char *name = g_strdup_printf("rhea-test-%d", getpid());
    g_autofree char *arg = g_strdup_printf("socket,id=a,path=%s,abstract=on,server=on,wait=off",
                                           name);
    Front f;

    Chardev *c = make_chardev(arg);
    assert_non_null(c);
    front_init(&f, 100);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    int fd = connect_unix(name, true);
    front_wait_event(&f, CHAR_OPEN, 1);
    talk(&f, fd);
    close(fd);
    front_end(&f, loop_of(state));
    remove_all("a");

    struct sockaddr_un a = { .sun_family = AF_UNIX };
    strcpy(a.sun_path, path);
    int old = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_return_code(bind(old, (struct sockaddr *)&a, sizeof(a)), errno);
    listen(old, 1);
    assert_null(make("socket,id=a,path=%s,server=on,wait=off", "stale"));
    close(old);
    assert_non_null(make("socket,id=a,path=%s,server=on,wait=off", "stale"));
    remove_all("a");
}

static int tcp_port;

static void take_tcp_port(const char *label, const char *filename, bool open, void *arg)
{
    if (strcmp(label, arg) == 0) {
        const char *at = strstr(filename, "127.0.0.1:");

        assert_non_null(at);
        tcp_port = atoi(at + 10);
    }
}

static int connect_tcp(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_return_code(connect(fd, (struct sockaddr *)&a, sizeof(a)), errno);
    return fd;
}

static void telnet_is_stripped_and_doubled(void **state)
{
    Chardev *c = make_chardev("socket,id=t,host=127.0.0.1,port=0,server=on,wait=off,telnet=on");
    Front f;
    char buf[16];

    assert_non_null(c);
    chardev_each(take_tcp_port, (void *)"t");
    front_init(&f, 100);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    int fd = connect_tcp(tcp_port);
    read_exactly(fd, buf, 12);
    assert_memory_equal(buf, "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00", 12);
    assert_int_equal(write(fd, "a\xff\xfd\x01" "b\xff\xff" "c\xff\xfa\x18xx\xff\xf0" "d\xff",
                           17), 17);
    assert_int_equal(write(fd, "\xf3" "e", 2), 2);
    front_wait(&f, 6);
    assert_string_equal(f.got->str, "ab\xff" "cde");
    assert_int_equal(f.events[CHAR_BREAK], 1);
    assert_int_equal(front_send(&f, "x\xffy", 3), 3);
    read_exactly(fd, buf, 4);
    assert_memory_equal(buf, "x\xff\xffy", 4);
    close(fd);
    front_end(&f, loop_of(state));
    remove_all("t");
}

static void a_client_connects_and_reconnects(void **state)
{
    g_autofree char *path = in_dir("peer");
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    Front f;

    /* Nobody listens yet: with reconnect that is a warning. */
    Chardev *c = make("socket,id=k,path=%s,reconnect=1", "peer");
    assert_non_null(c);
    front_init(&f, 100);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    strcpy(a.sun_path, path);
    assert_return_code(bind(listener, (struct sockaddr *)&a, sizeof(a)), errno);
    listen(listener, 2);
    front_wait_event(&f, CHAR_OPEN, 1);
    int fd = accept(listener, NULL, NULL);
    talk(&f, fd);
    close(fd);
    front_wait_event(&f, CHAR_OPEN, 2);
    fd = accept(listener, NULL, NULL);
    talk(&f, fd);
    close(fd);
    close(listener);
    unlink(path);
    front_end(&f, loop_of(state));
    remove_all("k");
}

static void a_passed_descriptor_is_used(void **state)
{
    g_autofree char *arg = NULL;
    int ends[2];
    Front f;

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    arg = g_strdup_printf("socket,id=d,fd=%d", ends[0]);
    Chardev *c = make_chardev(arg);
    front_init(&f, 100);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    front_wait_event(&f, CHAR_OPEN, 1);
    talk(&f, ends[1]);
    close(ends[1]);
    front_wait_event(&f, CHAR_HANGUP, 1);
    front_end(&f, loop_of(state));
    remove_all("d");
}

/* --- ring buffer --- */

static void ringbuf_keeps_the_newest(void **state)
{
    Chardev *c = make_chardev("ringbuf,id=r,size=8");
    g_autoptr(Error) err = NULL;
    uint8_t buf[16];
    Front f;

    front_init(&f, 0);
    assert_true(chardev_claim(c, &f.port, loop_of(state), NULL));
    assert_int_equal(front_send(&f, "abcdef", 6), 6);
    assert_int_equal(chardev_ringbuf_read(c, buf, 2, NULL), 2);
    assert_memory_equal(buf, "ab", 2);
    assert_int_equal(front_send(&f, "0123456789", 10), 10);
    assert_true(chardev_ringbuf_write(c, (const uint8_t *)"X", 1, NULL));
    assert_int_equal(chardev_ringbuf_read(c, buf, 16, NULL), 8);
    assert_memory_equal(buf, "3456789X", 8);
    assert_int_equal(chardev_ringbuf_read(c, buf, 16, NULL), 0);
    front_end(&f, loop_of(state));
    remove_all("r");
    c = make_chardev("null,id=r");
    assert_int_equal(chardev_ringbuf_read(c, buf, 1, &err), -1);
    assert_string_equal(error_text(err), "r is not a ringbuf device");
    remove_all("r");
}

/* --- stdio, on a terminal of our own --- */

static void stdio_makes_the_terminal_raw_and_puts_it_back(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct termios t;
    char buf[8];
    Front f;

    grantpt(master);
    unlockpt(master);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    int saved[2] = { dup(0), dup(1) };
    fflush(stdout);
    dup2(slave, 0);
    dup2(slave, 1);
    Chardev *c = make_chardev("stdio,id=io,signal=off");
    g_autoptr(ChardevConfig) again = read_config("stdio,id=io2", NULL);
    bool second = chardev_new(again, NULL) != NULL;
    front_init(&f, 100);
    bool claimed = chardev_claim(c, &f.port, loop_of(state), NULL);
    bool put = write(master, "\003k", 2) == 2;
    /* Not the controlling terminal here, so its mode stays and ^C is eaten by nobody. */
    front_wait(&f, 0);
    front_send(&f, "out", 3);
    read_exactly(master, buf, 3);
    front_end(&f, loop_of(state));
    remove_all("io");
    fflush(stdout);
    dup2(saved[0], 0);
    dup2(saved[1], 1);
    assert_false(second);
    assert_true(claimed && put);
    assert_return_code(tcgetattr(slave, &t), 0);
    assert_true(t.c_lflag & ICANON);
    close(slave);
    close(master);
    close(saved[0]);
    close(saved[1]);
}

/* What this program does as the child of the next test: opens stdio, says so, and ends by
 * exit(). */
static int run_on_terminal(void)
{
    char c;

    ioctl(0, TIOCSCTTY, 0);
    loop_control();
    bool ok = make_chardev("stdio,id=io") != NULL;
    write_ok(1, ok ? "+" : "-");
    ok = read(0, &c, 1) == 1;
    return ok && c == 'q' ? 0 : 1;
}

static void a_controlling_terminal_is_raw_until_exit(void **state)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    struct termios before, during, after;
    char c = 0;
    int status;

    grantpt(master);
    unlockpt(master);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_return_code(tcgetattr(slave, &before), errno);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        dup2(slave, 0);
        dup2(slave, 1);
        execl("/proc/self/exe", "chardev-backend-test", "on-terminal", NULL);
        _exit(2);
    }
    assert_int_equal(read(master, &c, 1), 1);
    assert_int_equal(c, '+');
    assert_return_code(tcgetattr(slave, &during), errno);
    assert_false(during.c_lflag & (ICANON | ECHO));
    assert_true(during.c_lflag & ISIG);
    write_ok(master, "q");
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_return_code(tcgetattr(slave, &after), errno);
    assert_int_equal(after.c_lflag, before.c_lflag);
    close(slave);
    close(master);
}

/* --- the end --- */

static void exit_writes_what_is_buffered(void **state)
{
    g_autofree char *sock = in_dir("lastsock");
    Front f, g, h;

    Chardev *c = make("file,id=last,path=%s", "last");
    Chardev *d = make("file,id=other,path=%s", "other");
    Chardev *e = make("file,id=left,path=%s", "left");
    assert_non_null(make("socket,id=ls,path=%s,server=on,wait=off", "lastsock"));
    front_init(&f, 0);
    front_init(&g, 0);
    front_init(&h, 0);
    assert_true(chardev_claim(c, &f.port, loop_control(), NULL));
    /* The control loop does not run any more, so these stay in the ring. */
    assert_int_equal(front_send(&f, "last words", 10), 10);
    assert_true(chardev_claim(d, &g.port, device_loop, NULL));
    assert_int_equal(front_send(&g, "of another", 10), 10);
    /* One is just being let go, and the device loop lives on. */
    assert_true(chardev_claim(e, &h.port, device_loop, NULL));
    assert_int_equal(front_send(&h, "and a third", 11), 11);
    chardev_release(&h.port);
    chardev_exit();
    g_autofree char *text = contents("last");
    assert_string_equal(text, "last words");
    g_autofree char *other = contents("other");
    assert_string_equal(other, "of another");
    g_autofree char *left = contents("left");
    assert_string_equal(left, "and a third");
    assert_int_equal(front_send(&g, "too late", 8), 8);
    assert_int_equal(access(sock, F_OK), -1);
    assert_null(chardev_find("last"));
    loop_call_wait(device_loop, front_nothing, NULL);
    while (loop_control_iterate(false)) {
    }
    g_string_free(f.got, TRUE);
    g_string_free(g.got, TRUE);
    g_string_free(h.got, TRUE);
}

int main(int argc, char **argv)
{
    static int on_device_loop = 1;
#define BOTH(t) cmocka_unit_test(t), { #t " (device loop)", t, NULL, NULL, &on_device_loop }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ports_are_symmetric),
        BOTH(ids_and_claims_are_exclusive),
        cmocka_unit_test(a_front_end_moves_between_loops),
        BOTH(file_writes_all_and_appends),
        BOTH(file_input_and_logfile),
        cmocka_unit_test(open_failures_are_told),
        cmocka_unit_test(ids_are_identifiers),
        cmocka_unit_test(aliases_are_what_they_stand_for),
        cmocka_unit_test(a_server_takes_the_next_free_port),
        BOTH(pipe_goes_both_ways_with_back_pressure),
        BOTH(pty_comes_and_goes),
        BOTH(unix_server_takes_one_client_after_the_other),
        BOTH(a_client_that_ends_its_side_gets_the_answer),
        BOTH(a_slow_client_holds_the_guest_back),
        BOTH(abstract_and_stale_sockets),
        BOTH(telnet_is_stripped_and_doubled),
        BOTH(a_client_connects_and_reconnects),
        BOTH(a_passed_descriptor_is_used),
        BOTH(ringbuf_keeps_the_newest),
        BOTH(stdio_makes_the_terminal_raw_and_puts_it_back),
        cmocka_unit_test(a_controlling_terminal_is_raw_until_exit),
        cmocka_unit_test(exit_writes_what_is_buffered),
    };

    thread_become_control();
    if (argc > 1 && strcmp(argv[1], "on-terminal") == 0) {
        return run_on_terminal();
    }
    loop_control();
    dir = g_dir_make_tmp("chardev-XXXXXX", NULL);
    device_loop = loop_new("device", THREAD_LOOP, NULL);
    int ret = cmocka_run_group_tests(tests, NULL, NULL);
    loop_free(device_loop);
    g_autofree char *cmd = g_strdup_printf("rm -rf %s", dir);
    return system(cmd) != 0 || ret;
}
