/* core-data-test.c: property texts, RAM blocks, interrupt lines and messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>
#include "core/prop.h"
#include "core/ram.h"
#include "tests/device/bench.h"
#include "util/epoch.h"
#include "util/fault.h"
#include "util/thread.h"

/* --- properties --- */

typedef struct Props {
    bool flag;
    uint8_t small;
    int32_t sign;
    uint64_t size;
    char *name;
    int32_t mode;
    uint8_t mac[6];
} Props;

static const PropDesc props[] = {
    PROP_BOOL(Props, flag, "flag", true, "a"),
    PROP_U8(Props, small, "small", 3, 2, 200, "b"),
    PROP_I32(Props, sign, "sign", -1, -1, 5, "c"),
    PROP_SIZE(Props, size, "size", 1 << 20, 0, UINT64_MAX, "d"),
    PROP_STR(Props, name, "name", "e"),
    PROP_ENUM(Props, mode, "mode", prop_onoffauto, ONOFF_AUTO, "f"),
    PROP_MAC(Props, mac, "mac", "g"),
    { 0 },
};

static void property_texts(void **state)
{
    static const struct { const char *prop, *text, *back; } cases[] = {
        { "flag", "no", "off" },        { "flag", "true", "on" },      { "flag", "2", NULL },
        { "small", "200", "200" },      { "small", "0xC8", "200" },    { "small", "1", NULL },
        { "small", "201", NULL },       { "small", "", NULL },         { "small", " 5", NULL },
        { "small", "5x", NULL },        { "sign", "-1", "-1" },        { "sign", "-2", NULL },
        { "sign", "5", "5" },           { "size", "2G", "2147483648" }, { "size", "1k", "1024" },
        { "size", "16E", NULL },        { "size", "18446744073709551615", "18446744073709551615" },
        { "size", "18446744073709551616", NULL },                      { "size", "-1", NULL },
        { "name", "any, thing", "any, thing" },                        { "mode", "on", "on" },
        { "mode", "maybe", NULL },      { "mac", "52:54:00:AB:cd:01", "52:54:00:ab:cd:01" },
        { "mac", "52:54:00:ab:cd", NULL },                             { "mac", "52:54:00:ab:cd:0g",
                                                                         NULL },
    };
    Props p = { 0 };

    thread_become_control();
    prop_defaults(&p, props);
    assert_true(p.flag && p.small == 3 && p.sign == -1 && p.size == 1 << 20 && !p.name);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const PropDesc *d = prop_find(props, cases[i].prop);
        g_autofree char *before = prop_get(&p, d);
        Error *e = NULL;
        bool ok = prop_set(&p, d, cases[i].text, &e);
        g_autofree char *after = prop_get(&p, d);

        if (ok != (cases[i].back != NULL)) {
            fail_msg("%s=%s: %s", cases[i].prop, cases[i].text, ok ? "accepted" : error_text(e));
        }
        assert_string_equal(after, ok ? cases[i].back : before);
        error_free(e);
    }
    prop_clear(&p, props);
    assert_null(p.name);
    assert_string_equal(prop_kind_name(prop_find(props, "mode")), "OnOffAuto");
}

/* --- RAM --- */

static void anonymous_ram(void **state)
{
    Error *e = NULL;

    thread_become_control();
    RamBlock *b = ram_new_anon("a", 5 * MiB + 1, NULL);

    assert_int_equal(b->size, 5 * MiB + 4096);
    assert_int_equal((uintptr_t)b->host % (2 * MiB), 0);
    assert_ptr_equal(ram_find("a"), b);
    epoch_enter();
    assert_ptr_equal(ram_by_host(b->host + b->size - 1), b);
    assert_null(ram_by_host(b->host + b->size));
    epoch_leave();
    assert_null(ram_new_anon("a", 4096, &e));
    error_free(e);
    e = NULL;
    assert_null(ram_new_anon("huge", UINT64_C(1) << 60, &e));
    assert_non_null(strstr(error_text(e), "cannot allocate"));
    assert_non_null(error_advice(e));
    error_free(e);
    e = NULL;
    assert_null(ram_new_anon("none", 0, &e));
    error_free(e);
    ram_free(b);
    assert_null(ram_find("a"));
    epoch_flush();
}

static void file_ram(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("ramXXXXXX", NULL);
    g_autofree char *path = g_strdup_printf("%s/mem", dir);
    uint16_t node = 5000;
    RamConfig c = { .source = RAM_FILE, .size = MiB, .path = path, .share = true, .dump = true };
    Error *e = NULL;

    thread_become_control();
    RamBlock *b = ram_new("f", &c, &e);
    assert_non_null(b);
    b->host[100] = 7;
    ram_free(b);
    epoch_flush();
    c.size = 2 * MiB;
    assert_null(ram_new("f", &c, &e));
    assert_non_null(strstr(error_text(e), "2097152 are wanted"));
    error_free(e);
    e = NULL;
    c.size = MiB;
    c.prealloc = true;
    c.prealloc_threads = 4;
    b = ram_new("f", &c, NULL);
    assert_int_equal(b->host[100], 7);
    ram_free(b);
    c.path = "/nowhere/mem";
    assert_null(ram_new("g", &c, &e));
    error_free(e);
    e = NULL;
    c.source = RAM_MEMFD;
    c.seal = true;
    b = ram_new("m", &c, &e);
    assert_true(b && b->fd >= 0);
    assert_true(ftruncate(b->fd, 0) < 0);
    ram_free(b);
    c.policy = RAM_POLICY_BIND;
    c.host_nodes = &node;
    c.host_node_count = 1;
    assert_null(ram_new("n", &c, &e));
    error_free(e);
    epoch_flush();
    unlink(path);
    rmdir(dir);
}

/* Each host call fails once: an error, nothing left. */
static void ram_faults(void **state)
{
    RamConfig c = { .source = RAM_MEMFD, .size = MiB, .share = true, .prealloc = true };
    unsigned failures = 0;

    thread_become_control();
    for (unsigned nth = 1;; nth++) {
        Error *e = NULL;

        fault_arm("ram-*", nth);
        RamBlock *b = ram_new("f", &c, &e);
        bool hit = fault_disarm();
        assert_true(hit == !b && hit == (e != NULL));
        if (b) {
            ram_free(b);
            break;
        }
        assert_null(ram_find("f"));
        error_free(e);
        failures++;
    }
    assert_true(failures >= 4);
    epoch_flush();
}

/* --- lines and messages --- */

static unsigned tapped;

static void tap(IrqSink *s, unsigned pin, bool level)
{
    tapped = tapped << 8 | pin << 1 | level;
}

static void lines(void **state)
{
    Bench *b = bench_new();
    IrqLine line;

    irq_line_init(&line, b->m->peripheral, "line");
    irq_set(&line, true);
    irq_connect(&line, &b->gsi, 3);
    irq_refresh(&line);
    assert_true(bench_irq(b, 3));
    irq_set(&line, true);
    assert_int_equal(bench_irq_raises(b, 3), 1);
    irq_set(&line, false);
    irq_pulse(&line);
    assert_int_equal(bench_irq_raises(b, 3), 1);
    assert_false(bench_irq(b, 3));
    b->gsi.tap = tap;
    tapped = 0;
    irq_pulse(&line);
    assert_int_equal(tapped, (7 << 8) | 6);
    assert_int_equal(bench_irq_raises(b, 3), 0);
    b->m->peripheral->line_first = NULL;
    bench_free(b);
}

static void messages(void **state)
{
    Bench *b = bench_new();
    MsiMsg m = { .addr = 0xfee00000, .data = 0x41 };
    Notifier n = { 1 }, other = { 2 };
    int route = -1, second = -1;

    msi_send(&m);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->data, 0x41);
    assert_true(msi_attach(&route, &m, &n, NULL));
    assert_true(msi_attach(&second, &m, NULL, NULL));
    assert_int_not_equal(route, second);
    assert_ptr_equal(b->route_raise[route], &n);
    m.data = 0x42;
    assert_true(msi_attach(&route, &m, &other, NULL));
    assert_int_equal(b->routes[route].data, 0x42);
    assert_ptr_equal(b->route_raise[route], &other);
    int was = route;
    msi_detach(&route, &other);
    assert_int_equal(route, -1);
    assert_false(b->route_used[was]);
    assert_null(b->route_raise[was]);
    msi_detach(&second, NULL);
    bench_free(b);
    /* Without an accelerator messages are dropped. */
    msi_send(&m);
    assert_true(msi_attach(&route, &m, NULL, NULL));
    msi_detach(&route, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_texts), cmocka_unit_test(anonymous_ram),
        cmocka_unit_test(file_ram),
        cmocka_unit_test(ram_faults), cmocka_unit_test(lines), cmocka_unit_test(messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
