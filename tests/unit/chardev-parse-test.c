/* chardev-parse-test.c: the -chardev text, the short forms, and what they say to a mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "chardev/char.h"

static void keys_reach_their_fields(void **state)
{
    g_autoptr(ChardevOptions) o = chardev_parse(
        "socket,id=s0,path=/tmp/a,,b,server=on,wait=off,telnet,logfile=l,logappend=on,mux=on",
        NULL);

    assert_non_null(o);
    assert_string_equal(o->backend, "socket");
    assert_string_equal(o->id, "s0");
    assert_string_equal(o->path, "/tmp/a,b");
    assert_true(o->server && !o->wait && o->telnet && o->mux && o->logappend);
    assert_string_equal(o->logfile, "l");
    g_autoptr(ChardevOptions) p = chardev_parse("backend=socket,id=t,host=h,port=1,server,nowait,"
                                                "reconnect=7,nodelay=on", NULL);
    assert_non_null(p);
    assert_true(p->server && !p->wait && p->nodelay);
    assert_int_equal(p->reconnect_s, 7);
    g_autoptr(ChardevOptions) r = chardev_parse("memory,id=r,size=1M", NULL);
    assert_int_equal(r->size, 1 << 20);
    g_autoptr(ChardevOptions) d = chardev_parse("stdio,id=d", NULL);
    assert_true(d->signal);
}

static void expect(const char *arg, const char *text, const char *advice)
{
    g_autoptr(Error) err = NULL;

    assert_null(chardev_parse(arg, &err));
    assert_string_equal(error_text(err), text);
    if (advice) {
        assert_string_equal(error_advice(err), advice);
    }
}

static void mistakes_are_told_precisely(void **state)
{
    expect("nul,id=a", "'nul' is not a valid char driver name", "did you mean 'null'?");
    expect("", "'' is not a valid char driver name", NULL);
    expect("null", "chardev: no id specified", NULL);
    expect("null,id=1a", "Parameter 'id' expects an identifier", NULL);
    expect("null,id=", "Parameter 'id' expects an identifier", NULL);
    expect("null,id=a,path=3", "Invalid parameter 'path' for chardev 'null'", NULL);
    expect("socket,id=a,sever=on", "Invalid parameter 'sever' for chardev 'socket'",
           "did you mean 'server'?");
    expect("socket,id=a,server=maybe", "Parameter 'server' expects 'on' or 'off'", NULL);
    expect("file,id=a,path", "Parameter 'path' needs a value", NULL);
    expect("ringbuf,id=a,size=x", "Parameter 'size' expects a size", NULL);
    expect("ringbuf,id=a,size=64T", "Parameter 'size' expects a size up to 1G", NULL);
    expect("ringbuf,id=a,size=99999999999999999999999", "Parameter 'size' expects a size up to 1G",
           NULL);
}

static ChardevOptions *new_short(const char *arg)
{
    ChardevOptions *o = NULL;
    char *existing = NULL;

    assert_int_equal(chardev_parse_short(arg, "serial0", &o, &existing, NULL), CHARDEV_SHORT_NEW);
    assert_string_equal(o->id, "serial0");
    return o;
}

static void short_forms(void **state)
{
    static const struct {
        const char *arg, *backend, *path, *host, *port;
        bool mux, server, wait;
    } rows[] = {
        { "stdio", "stdio", .wait = true },
        { "mon:stdio", "stdio", .mux = true, .wait = true },
        { "null", "null", .wait = true },
        { "vc", "null", .wait = true },
        { "vc:80Cx24C", "null", .wait = true },
        { "pty", "pty", .wait = true },
        { "file:/tmp/x", "file", "/tmp/x", .wait = true },
        { "pipe:/tmp/x", "pipe", "/tmp/x", .wait = true },
        { "/dev/ttyS0", "serial", "/dev/ttyS0", .wait = true },
        { "tcp::4444,server=on,wait=off", "socket", NULL, "", "4444", .server = true },
        { "telnet:[::1]:23,server,nowait", "socket", NULL, "::1", "23", .server = true },
        { "unix:/a,,b,server=on,wait=off", "socket", "/a,b", .server = true },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(ChardevOptions) o = new_short(rows[i].arg);

        assert_string_equal(o->backend, rows[i].backend);
        assert_int_equal(g_strcmp0(o->path, rows[i].path), 0);
        assert_int_equal(g_strcmp0(o->host, rows[i].host), 0);
        assert_int_equal(g_strcmp0(o->port, rows[i].port), 0);
        assert_int_equal(o->mux, rows[i].mux);
        assert_int_equal(o->with_monitor, rows[i].mux);
        assert_int_equal(o->server, rows[i].server);
        assert_int_equal(o->wait, rows[i].wait);
    }
}

static void short_forms_that_make_nothing(void **state)
{
    ChardevOptions *o;
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
                                       "null:" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(Error) e = NULL;
        g_autofree char *none = NULL;

        assert_int_equal(chardev_parse_short(bad[i], "s", &o, &none, &e), CHARDEV_SHORT_ERROR);
        assert_non_null(e);
    }
}

static void any_text_is_survived(void **state)
{
    static const char alphabet[] = "socket,=id:/\xff- \"%s";
    unsigned seed = 1;

    for (unsigned round = 0; round < 20000; round++) {
        char text[24];
        ChardevOptions *o;
        g_autofree char *existing = NULL;

        for (unsigned i = 0; i < sizeof(text) - 1; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = alphabet[(seed >> 16) % sizeof(alphabet)];
        }
        text[sizeof(text) - 1] = 0;
        chardev_options_free(chardev_parse(text, NULL));
        chardev_parse_short(text, "x", &o, &existing, NULL);
        chardev_options_free(o);
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
