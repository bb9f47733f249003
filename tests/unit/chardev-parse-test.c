/* chardev-parse-test.c: -chardev as the schema reads it, the short forms, and what they say to a
 * mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "chardev/char.h"

static ChardevConfig *parse(const char *text, Error **errp)
{
    ChardevConfig *cfg = NULL;

    return qapi_opt_chardev(text, &cfg, errp) ? cfg : NULL;
}

static void keys_reach_their_fields(void **state)
{
    g_autoptr(ChardevConfig) o = parse(
        "socket,id=s0,path=/tmp/a,,b,server=on,wait=off,telnet,logfile=l,logappend=on,mux=on",
        NULL);

    assert_non_null(o);
    assert_int_equal(o->backend, CHARDEV_CONFIG_BACKEND_SOCKET);
    assert_string_equal(o->id, "s0");
    assert_string_equal(o->u.socket.path, "/tmp/a,b");
    assert_true(o->u.socket.server && !o->u.socket.wait && o->u.socket.telnet);
    assert_true(o->mux && o->logappend);
    assert_string_equal(o->logfile, "l");
    g_autoptr(ChardevConfig) p = parse("backend=socket,id=t,host=h,port=1,server,nowait,"
                                       "reconnect=7,nodelay=on", NULL);
    assert_non_null(p);
    assert_true(p->u.socket.server && !p->u.socket.wait && p->u.socket.nodelay);
    assert_int_equal(p->u.socket.reconnect, 7);
    g_autoptr(ChardevConfig) r = parse("memory,id=r,size=1M", NULL);
    assert_int_equal(r->u.memory.size, 1 << 20);
    g_autoptr(ChardevConfig) d = parse("stdio,id=d", NULL);
    assert_true(d->u.stdio.signal);
    g_autoptr(ChardevConfig) j = parse("{'backend': 'file', 'id': 'f', 'path': '/a,b'}", NULL);
    assert_string_equal(j->u.file.path, "/a,b");
}

static void expect(const char *arg, const char *text, const char *advice)
{
    g_autoptr(Error) err = NULL;

    assert_null(parse(arg, &err));
    assert_string_equal(error_text(err), text);
    if (advice) {
        assert_string_equal(error_advice(err), advice);
    }
}

static void mistakes_are_told_precisely(void **state)
{
    expect("nul,id=a", "Parameter 'backend' does not accept value 'nul'", "did you mean 'null'?");
    expect("", "Parameter 'backend' is missing", NULL);
    expect("null", "Parameter 'id' is missing", NULL);
    expect("file,id=x", "Parameter 'path' is missing", NULL);
    expect("null,id=a,path=3", "Parameter 'path' is unexpected", NULL);
    expect("socket,id=a,sever=on", "Parameter 'sever' is unexpected", "did you mean 'server'?");
    expect("socket,id=a,server=maybe", "Parameter 'server' expects 'on' or 'off'", NULL);
    expect("ringbuf,id=a,size=x", "Parameter 'size' expects a size value", NULL);
    expect("ringbuf,id=a,size=99999999999999999999999", "Parameter 'size' expects a size value",
           NULL);
}

static ChardevConfig *new_short(const char *arg)
{
    ChardevConfig *o = NULL;
    char *existing = NULL;

    assert_int_equal(chardev_parse_short(arg, "serial0", &o, &existing, NULL), CHARDEV_SHORT_NEW);
    assert_null(existing);
    assert_string_equal(o->id, "serial0");
    return o;
}

static void short_forms(void **state)
{
    static const struct { const char *arg, *same; } rows[] = {
        { "stdio", "stdio" },
        { "stdio,signal=off", "stdio,signal=off" },
        { "mon:stdio", "stdio,mux=on,signal=off" },
        { "mon:stdio,signal=on", "stdio,mux=on" },
        { "mon:pty,mux=off", "pty,mux=on" },
        { "null", "null" },
        { "null,", "null" },
        { "vc", "vc" },
        { "vc:80Cx24C", "vc" },
        { "pty,id=mine", "pty" },
        { "ringbuf,size=16", "ringbuf,size=16" },
        { "file:/tmp/x", "file,path=/tmp/x" },
        { "file:/tmp/x,append=on", "file,path=/tmp/x,append=on" },
        { "pipe:/tmp/x,,y", "pipe,path=/tmp/x,,y" },
        { "/dev/tty,S0", "serial,path=/dev/tty,,S0" },
        { "tcp::4444,server=on,wait=off", "socket,host=,port=4444,server=on,wait=off" },
        { "tcp:h:1,server", "socket,host=h,port=1,server=on" },
        { "telnet:[::1]:23,server,nowait",
          "socket,host=::1,port=23,telnet=on,server=on,wait=off" },
        { "unix:/a,,b,server=on,wait=off", "socket,path=/a,,b,server=on,wait=off" },
        { "unix:/a,", "socket,path=/a" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(ChardevConfig) o = new_short(rows[i].arg);
        g_autofree char *text = g_strdup_printf("%s,id=serial0", rows[i].same);
        g_autoptr(ChardevConfig) same = parse(text, NULL);
        g_autoptr(GString) got = g_string_new(NULL), want = g_string_new(NULL);

        qapi_write(QAPI_T_CHARDEV_CONFIG, &o, got);
        qapi_write(QAPI_T_CHARDEV_CONFIG, &same, want);
        assert_string_equal(got->str, want->str);
    }
}

static void short_forms_that_make_nothing(void **state)
{
    ChardevConfig *o;
    g_autofree char *existing = NULL;
    g_autoptr(Error) err = NULL;

    assert_int_equal(chardev_parse_short("none", "s", &o, &existing, NULL), CHARDEV_SHORT_NONE);
    assert_int_equal(chardev_parse_short("chardev:c1", "s", &o, &existing, NULL),
                     CHARDEV_SHORT_EXISTING);
    assert_string_equal(existing, "c1");
    assert_int_equal(chardev_parse_short("stdoi", "s", &o, &existing, &err), CHARDEV_SHORT_ERROR);
    assert_string_equal(error_text(err), "could not connect to character backend 'stdoi': "
                                         "'stdoi' is not a valid char driver");
    assert_string_equal(error_advice(err), "did you mean 'stdio'?");
    static const char *const bad[] = { "", "tcp:1", "tcp:a:b:c", "tcp:h:1,foo=3", "foo:bar",
                                       "null:", "mon:none", "mon:", "stdio,help", "tcp:h:",
                                       "socket,path=/x" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) e = NULL;
        g_autofree char *none = NULL;

        assert_int_equal(chardev_parse_short(bad[i], "s", &o, &none, &e), CHARDEV_SHORT_ERROR);
        assert_non_null(e);
        assert_null(o);
    }
}

static void any_text_is_survived(void **state)
{
    static const char alphabet[] = "socket,=id:/\xff- \"%s[]";
    static const char *const starts[] = { "", "tcp:", "unix:", "mon:", "stdio,", "telnet:[" };
    unsigned seed = 1;

    for (unsigned round = 0; round < 20000; round++) {
        char text[24];
        ChardevConfig *o;
        g_autofree char *existing = NULL;

        for (unsigned i = 0; i < sizeof(text) - 1; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = alphabet[(seed >> 16) % sizeof(alphabet)];
        }
        text[sizeof(text) - 1] = 0;
        g_autofree char *whole = g_strconcat(starts[round % G_N_ELEMENTS(starts)], text, NULL);
        qapi_free_chardev_config(parse(whole, NULL));
        chardev_parse_short(whole, "x", &o, &existing, NULL);
        qapi_free_chardev_config(o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_reach_their_fields),
        cmocka_unit_test(mistakes_are_told_precisely),
        cmocka_unit_test(short_forms),
        cmocka_unit_test(short_forms_that_make_nothing),
        cmocka_unit_test(any_text_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
