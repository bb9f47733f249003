/* qmp-test.c: QMP sessions over a stream that is the test: negotiation, every command, events, slow
 * and hostile clients. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "qapi/tables.h"
#include "tests/qmp/fakes.h"
#include "util/loop.h"
#include "util/thread.h"

typedef struct Client {
    QmpServer *server;
    QmpSession *s;
    GString *got;              /* what the client has read */
    size_t room;               /* how much more it takes */
    unsigned asked;            /* calls of more() */
} Client;

static size_t client_send(void *arg, const char *buf, size_t n)
{
    Client *c = arg;

    n = MIN(n, c->room);
    g_string_append_len(c->got, buf, n);
    c->room -= n;
    return n;
}

static void client_more(void *arg)
{
    ((Client *)arg)->asked++;
}

static const QmpStream client_stream = { .send = client_send, .more = client_more };

static Client client(QmpServer *server)
{
    return (Client){ .server = server, .got = g_string_new(NULL), .room = SIZE_MAX };
}

static QmpServer *start(Client *c)
{
    fakes_reset();
    QmpServer *server = qmp_server_new(fakes_state, NULL);

    *c = client(server);
    c->s = qmp_session_new(server, &client_stream, c, false);
    return server;
}

static void finish(Client *c)
{
    qmp_session_free(c->s);
    g_string_free(c->got, TRUE);
    qmp_server_free(c->server);
}

/* Sends @text; returns what came back, valid until the next call. */
static const char *say(Client *c, const char *text)
{
    g_string_truncate(c->got, 0);
    for (size_t n = strlen(text); n; ) {
        size_t take = MIN(n, qmp_session_space(c->s));

        if (!take) {
            break;
        }
        qmp_session_bytes(c->s, text, take);
        text += take;
        n -= take;
    }
    return c->got->str;
}

static void negotiate(Client *c)
{
    qmp_session_open(c->s);
    assert_string_equal(say(c, "{'execute':'qmp_capabilities'}"), "{\"return\": {}}\r\n");
}

/* What came back with the times of events taken out. */
static char *timeless(const char *text)
{
    g_autoptr(GRegex) r = g_regex_new("\\{\"timestamp\": \\{\"seconds\": \\d+, \"microseconds\": "
        "\\d+\\}, ",
                                      0, 0, NULL);

    return g_regex_replace_literal(r, text, -1, 0, "{", 0, NULL);
}

static void says(Client *c, const char *text, const char *want)
{
    g_autofree char *got = timeless(say(c, text));
    g_autofree char *line = g_strconcat(want, *want ? "\r\n" : "", NULL);

    assert_string_equal(got, line);
}

#define RETURNS(cmd, args, want) \
    says(&c, "{\"execute\":\"" cmd "\"" args ",\"id\":\"libvirt-7\"}", want)
#define OK ", \"id\": \"libvirt-7\"}"
#define FAIL(cls, text) "{\"error\": {\"class\": \"" cls "\", \"desc\": \"" text "\"}" OK
#define ERR(text) "{\"error\": {\"class\": \"GenericError\", \"desc\": \"" text "\"}}"

static void the_greeting_comes_first(void **state)
{
    Client c;

    start(&c);
    assert_int_equal(qmp_session_space(c.s), 0);
    qmp_session_open(c.s);
    assert_string_equal(c.got->str, "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": "
        "2, "
                        "\"major\": 7}, \"package\": \"Rhea " RHEA_VERSION "\"}, "
                        "\"capabilities\": [\"oob\"]}}\r\n");
    finish(&c);
}

static void negotiation_is_a_mode(void **state)
{
    Client c;

    start(&c);
    qmp_session_open(c.s);
    RETURNS("query-status", "", FAIL("CommandNotFound",
                                     "Expecting capabilities negotiation with 'qmp_capabilities'"));
    RETURNS("nosuch", "", FAIL("CommandNotFound",
                               "Expecting capabilities negotiation with 'qmp_capabilities'"));
    qmp_event_stop();
    RETURNS("qmp_capabilities", ",\"arguments\":{\"enable\":[\"foo\"]}",
            FAIL("GenericError", "Parameter 'enable[0]' does not accept value 'foo'"));
    RETURNS("qmp_capabilities", ",\"arguments\":{\"enable\":[]}", "{\"return\": {}" OK);
    RETURNS("qmp_capabilities", "", FAIL("CommandNotFound",
            "Capabilities negotiation is already complete, command ignored"));
    assert_int_equal(fakes.calls, 0);
    finish(&c);
}

static void reconnecting_starts_afresh(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    say(&c, "{\"execute\":\"query-sta");
    qmp_session_close(c.s);
    assert_int_equal(qmp_session_space(c.s), 0);
    g_string_truncate(c.got, 0);
    qmp_session_open(c.s);
    assert_true(g_str_has_prefix(c.got->str, "{\"QMP\": "));
    RETURNS("query-status", "", FAIL("CommandNotFound",
                                     "Expecting capabilities negotiation with 'qmp_capabilities'"));
    finish(&c);
}

static void every_command_answers(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    RETURNS("query-version", "", "{\"return\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": "
        "0}, "
            "\"package\": \"Rhea " RHEA_VERSION "\"}" OK);
    RETURNS("query-status", "", "{\"return\": {\"running\": true, \"singlestep\": false, "
            "\"status\": \"running\"}" OK);
    RETURNS("query-name", "", "{\"return\": {\"name\": \"n\\u00E4me\"}" OK);
    RETURNS("query-kvm", "", "{\"return\": {\"enabled\": false, \"present\": true}" OK);
    RETURNS("query-iothreads", "", "{\"return\": []" OK);
    RETURNS("query-chardev", "", "{\"return\": [{\"label\": \"charmonitor\", "
            "\"filename\": \"unix:/x,server=on\", \"frontend-open\": true}]" OK);
    RETURNS("query-cpus-fast", "", "{\"return\": [{\"cpu-index\": 0, "
            "\"qom-path\": \"/machine/unattached/device[0]\", \"thread-id\": 1000, \"props\": "
            "{\"socket-id\": 0, \"core-id\": 0, \"thread-id\": 0}, \"target\": \"x86_64\"}, "
            "{\"cpu-index\": 1, \"qom-path\": \"/machine/unattached/device[1]\", \"thread-id\": "
            "1001, "
            "\"props\": {\"socket-id\": 1, \"core-id\": 0, \"thread-id\": 0}, \"target\": "
            "\"x86_64\"}]"
            OK);
    RETURNS("stop", "", "{\"event\": \"STOP\"}\r\n{\"return\": {}" OK);
    RETURNS("cont", "", "{\"event\": \"RESUME\"}\r\n{\"return\": {}" OK);
    RETURNS("system_reset", "", "{\"event\": \"RESET\", \"data\": {\"guest\": false, "
            "\"reason\": \"host-qmp-system-reset\"}}\r\n{\"return\": {}" OK);
    RETURNS("system_powerdown", "", "{\"event\": \"POWERDOWN\"}\r\n{\"return\": {}" OK);
    fakes.state = RUN_STATE_SUSPENDED;
    RETURNS("system_wakeup", "", "{\"return\": {}" OK);
    RETURNS("quit", ",\"arguments\":{}", "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, "
            "\"reason\": \"host-qmp-quit\"}}\r\n{\"return\": {}" OK);
    finish(&c);
}

static void devices_come_and_go(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    RETURNS("device_add",
            ",\"arguments\":{\"driver\":\"virtio-rng-pci\",\"id\":\"rng1\",\"max-bytes\":1024}",
            "{\"return\": {}" OK);
    assert_string_equal(fakes.device_add,
                        "{\"driver\": \"virtio-rng-pci\", \"id\": \"rng1\", \"max-bytes\": 1024}");
    RETURNS("device_del", ",\"arguments\":{\"id\":\"rng1\"}",
        "{\"event\": \"DEVICE_DELETED\", \"data\": "
            "{\"device\": \"rng1\", \"path\": \"/machine/peripheral/rng1\"}}\r\n{\"return\": "
            "{}" OK);
    RETURNS("device_del", ",\"arguments\":{\"id\":\"x\"}",
            FAIL("DeviceNotFound", "Device 'x' not found"));
    RETURNS("device_del", ",\"arguments\":{}", FAIL("GenericError", "Parameter 'id' is missing"));
    RETURNS("device_del", "", FAIL("GenericError", "Parameter 'id' is missing"));
    RETURNS("device_del", ",\"arguments\":{\"id\":1}",
            FAIL("GenericError", "Invalid parameter type for 'id', expected: string"));
    RETURNS("device_add", ",\"arguments\":{\"id\":\"x\"}",
            FAIL("GenericError", "Parameter 'driver' is missing"));
    RETURNS("device_add", ",\"arguments\":{\"driver\":\"nosuch\"}",
            FAIL("GenericError", "'nosuch' is not a valid device model name"));
    finish(&c);
}

static void objects_and_ring_buffers(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    RETURNS("object-add", ",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"io1\"}",
        "{\"return\": {}" OK);
    RETURNS("object-add", ",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"taken\"}",
            FAIL("GenericError", "attempt to add duplicate property 'taken' to object"));
    RETURNS("object-add", ",\"arguments\":{\"qom-type\":\"iothred\",\"id\":\"a\"}",
            FAIL("GenericError", "Parameter 'qom-type' does not accept value 'iothred'; "
                 "did you mean 'iothread'?"));
    RETURNS("object-del", ",\"arguments\":{\"id\":\"io1\"}", "{\"return\": {}" OK);
    RETURNS("object-del", ",\"arguments\":{\"id\":\"x\"}", FAIL("GenericError",
        "object 'x' not found"));
    RETURNS("ringbuf-write", ",\"arguments\":{\"device\":\"r\",\"data\":\"x\"}",
        "{\"return\": {}" OK);
    RETURNS("ringbuf-write", ",\"arguments\":{\"device\":\"r\",\"data\":\"x\",\"format\":\"hex\"}",
            FAIL("GenericError", "Parameter 'format' does not accept value 'hex'"));
    RETURNS("ringbuf-read", ",\"arguments\":{\"device\":\"r\",\"size\":9,\"format\":\"base64\"}",
            "{\"return\": \"eA==\"" OK);
    RETURNS("ringbuf-read", ",\"arguments\":{\"device\":\"q\",\"size\":9}",
            FAIL("GenericError", "Device 'q' not found"));
    RETURNS("ringbuf-read", ",\"arguments\":{\"device\":\"r\",\"size\":-1}",
            FAIL("GenericError", "Parameter 'size' expects an integer from 0 to 1048576"));
    finish(&c);
}

static const char *first_required(unsigned type)
{
    const QapiType *t = &qapi_types[type];

    for (unsigned i = 0; type && i < t->count; i++) {
        if (!(qapi_members[t->first + i].flags & QAPI_OPTIONAL)) {
            return qapi_text + qapi_members[t->first + i].name;
        }
    }
    return NULL;
}

static void every_command_can_fail(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    for (unsigned i = 0; i < qmp_commands_count; i++) {
        const QmpCommand *cmd = &qmp_commands[i];
        g_autofree char *text = g_strdup_printf("{'execute':'%s','arguments':{'zz-zz':[]}}",
            cmd->name);
        const char *missing = first_required(cmd->args);
        g_autofree char *want = missing ? g_strdup_printf(ERR("Parameter '%s' is missing"), missing)
                                        : g_strdup(ERR("Parameter 'zz-zz' is unexpected"));
        unsigned before = fakes.calls;

        says(&c, text, want);
        assert_int_equal(fakes.calls, before);
    }
    fakes.state = RUN_STATE_INMIGRATE;
    RETURNS("cont", "", FAIL("MigrationExpected", "Migration is expected"));
    RETURNS("system_wakeup", "", FAIL("GenericError",
        "Unable to wake up: guest is not in suspended state"));
    fakes.state = RUN_STATE_SHUTDOWN;
    RETURNS("stop", "", FAIL("GenericError", "nothing runs"));
    RETURNS("query-command-line-options", ",\"arguments\":{\"option\":\"x\"}",
            FAIL("GenericError", "invalid option name: x"));
    RETURNS("query-comands", "", FAIL("CommandNotFound",
        "The command query-comands has not been found; "
                                      "did you mean 'query-commands'?"));
    RETURNS("xyz", "", FAIL("CommandNotFound", "The command xyz has not been found"));
    finish(&c);
}

static void out_of_band_overtakes(void **state)
{
    Client c;

    start(&c);
    qmp_session_open(c.s);
    says(&c, "{'execute':'qmp_capabilities','arguments':{'enable':['oob']}}", "{\"return\": {}}");
    says(&c, "{'exec-oob':'query-name'}", ERR("The command query-name does not support OOB"));
    says(&c, "{'exec-oob':1}", ERR("QMP input member 'exec-oob' must be a string"));
    says(&c, "{'exec-oob':'stop','execute':'stop'}", ERR("QMP input member 'execute' is unexpected"));
    fakes.hold_stop = true;
    says(&c, "{'execute':'stop','id':1}", "{\"event\": \"STOP\"}");
    says(&c, "{'execute':'query-name','id':2}", "");
    says(&c, "{'exec-oob':'query-status','id':3}",
         "{\"return\": {\"running\": false, \"singlestep\": false, \"status\": \"paused\"}, \"id\": 3}");
    for (unsigned i = 1; i < QMP_WAITING_MAX; i++) {
        assert_true(qmp_session_space(c.s) > 0);
        says(&c, "{'execute':'query-name','id':2}", "");
    }
    assert_int_equal(qmp_session_space(c.s), 0);
    g_string_truncate(c.got, 0);
    qmp_pending_done(fakes.stopping, NULL);
    g_autofree char *first = g_strndup(c.got->str, strcspn(c.got->str, "\r"));
    assert_string_equal(first, "{\"return\": {}, \"id\": 1}");
    for (unsigned i = 0; i < QMP_WAITING_MAX; i++) {
        char *at = strstr(c.got->str, "\"id\": 2}");

        assert_non_null(at);
        g_string_erase(c.got, 0, at + 1 - c.got->str);
    }
    assert_true(qmp_session_space(c.s) > 0);
    fakes.stopping = NULL;
    fakes.state = RUN_STATE_RUNNING;
    says(&c, "{'execute':'stop','id':4}{'execute':'query-name'}", "{\"event\": \"STOP\"}");
    qmp_session_close(c.s);                  /* what waits is forgotten */
    qmp_session_open(c.s);
    says(&c, "{'exec-oob':'query-status'}", ERR("QMP input member 'exec-oob' is unexpected"));
    qmp_pending_done(fakes.stopping, NULL);
    finish(&c);
}

static void introspection_is_json(void **state)
{
    static const char *const names[] = { "query-commands", "query-qmp-schema",
                                         "query-command-line-options" };
    Client c;

    start(&c);
    negotiate(&c);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *cmd = g_strdup_printf("{\"execute\":\"%s\"}", names[i]);
        g_autoptr(json_t) v = json_parse(say(&c, cmd), NULL);

        assert_non_null(v);
        assert_true(json_array_size(json_object_get(v, "return")) >=
                    (i < 2 ? qmp_commands_count : qapi_options_count));
    }
    finish(&c);
}

static void ids_are_echoed_whatever_they_are(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    says(&c, "{'execute':'query-iothreads','id':[1,{'a':null}]}",
         "{\"return\": [], \"id\": [1, {\"a\": null}]}");
    says(&c, "{'execute':'query-iothreads','id':18446744073709551615}",
         "{\"return\": [], \"id\": 18446744073709551615}");
    says(&c, "{'execute':'query-iothreads','id':1.50}", "{\"return\": [], \"id\": 1.5}");
    says(&c, "{'execute':'query-iothreads','id':null}", "{\"return\": [], \"id\": null}");
    says(&c, "{'id':7}", "{\"error\": {\"class\": \"GenericError\", "
         "\"desc\": \"QMP input lacks member 'execute'\"}, \"id\": 7}");
    finish(&c);
}

static void malformed_messages_are_refused(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    says(&c, "{}", ERR("QMP input lacks member 'execute'"));
    says(&c, "[1,2]", ERR("QMP input must be a JSON object"));
    says(&c, "{'execute':1}", ERR("QMP input member 'execute' must be a string"));
    says(&c, "{'execute':18446744073709551615}",
        ERR("QMP input member 'execute' must be a string"));
    says(&c, "{'execute':'x','foo':1}", ERR("QMP input member 'foo' is unexpected"));
    says(&c, "{'exec-oob':'query-status'}", ERR("QMP input member 'exec-oob' is unexpected"));
    says(&c, "{'execute':'stop','arguments':1}",
        ERR("QMP input member 'arguments' must be an object"));
    says(&c, "{'execute':'stop','execute':'cont'}",
         ERR("JSON parse error, duplicate object key near '\\\"execute\\\"'"));
    says(&c, "garbage {} [] garbage\n", ERR("JSON parse error, expecting an object"));
    says(&c, "garbage\xff{'execute':'query-iothreads'}",
         ERR("JSON parse error, expecting an object") "\r\n{\"return\": []}");
    says(&c, "{'execute':'query-iothreads'}{'execute':'query-iothreads'}",
         "{\"return\": []}\r\n{\"return\": []}");
    assert_int_equal(fakes.calls, 3);
    assert_int_equal(fakes.state, RUN_STATE_RUNNING);
    finish(&c);
}

static void deep_nesting_is_refused_and_survived(void **state)
{
    g_autofree char *deep = g_strnfill(100000, '[');
    Client c;

    start(&c);
    negotiate(&c);
    says(&c, deep, ERR("JSON nesting depth limit exceeded"));
    says(&c, "\n{'execute':'query-iothreads'}", "{\"return\": []}");
    finish(&c);
}

static void a_deferred_reply_holds_the_session(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    fakes.hold_stop = true;
    says(&c, "{'execute':'stop','id':1}{'execute':'query-iothreads','id':2}",
        "{\"event\": \"STOP\"}");
    assert_int_equal(qmp_session_space(c.s), 0);
    g_string_truncate(c.got, 0);
    qmp_pending_done(fakes.stopping, NULL);
    assert_string_equal(c.got->str, "{\"return\": {}, \"id\": 1}\r\n{\"return\": [], \"id\": "
        "2}\r\n");
    assert_int_equal(c.asked, 1);
    say(&c, "{'execute':'stop','id':3}");
    g_string_truncate(c.got, 0);
    Error *e = NULL;

    error_set(&e, "late");
    qmp_pending_done(fakes.stopping, e);
    assert_string_equal(c.got->str, "{\"error\": {\"class\": \"GenericError\", \"desc\": "
        "\"late\"}, "
                        "\"id\": 3}\r\n");
    finish(&c);
}

static void a_deferred_reply_may_outlive_its_session(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    fakes.hold_stop = true;
    say(&c, "{'execute':'stop'}");
    qmp_session_close(c.s);
    qmp_session_open(c.s);
    g_string_truncate(c.got, 0);
    qmp_pending_done(fakes.stopping, NULL);
    assert_string_equal(c.got->str, "");
    finish(&c);
}

static void a_command_may_end_its_session(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    fakes.end_on_quit = c.s;
    say(&c, "{'execute':'quit'}{'execute':'query-iothreads'}");
    assert_null(strstr(c.got->str, "return"));
    c.s = NULL;
    finish(&c);
}

static void a_slow_client_is_not_waited_for(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    c.room = 10;
    for (unsigned i = 0; i < 1000 && qmp_session_space(c.s); i++) {
        say(&c, "{'execute':'query-command-line-options'}");
    }
    assert_int_equal(qmp_session_space(c.s), 0);
    size_t waiting = qmp_session_waiting(c.s);

    assert_true(waiting > QMP_OUT_PAUSE && waiting < 4 * QMP_OUT_PAUSE);
    c.room = SIZE_MAX;
    qmp_session_room(c.s);
    assert_int_equal(qmp_session_waiting(c.s), 0);
    assert_true(qmp_session_space(c.s) > 0);
    assert_int_equal(c.asked, 1);
    finish(&c);
}

/* What a client that stopped reading finds when it goes on: all events up to the limit, then the
 * newest of each kind. */
static void events_are_thinned_for_a_slow_client(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    c.room = 0;
    g_string_truncate(c.got, 0);
    for (unsigned i = 0; i < 30000; i++) {
        qmp_event_stop();
        qmp_event_resume();
    }
    assert_true(qmp_session_waiting(c.s) <= QMP_OUT_EVENTS);
    c.room = SIZE_MAX;
    qmp_session_room(c.s);
    assert_true(c.got->len <= QMP_OUT_EVENTS + 1024);
    assert_true(g_str_has_suffix(c.got->str, "\"event\": \"RESUME\"}\r\n"));
    finish(&c);
}

static void events_reach_every_session(void **state)
{
    Client a, b;

    start(&a);
    b = client(a.server);
    b.s = qmp_session_new(a.server, &client_stream, &b, true);
    negotiate(&a);
    qmp_session_open(b.s);
    say(&b, "{'execute':'qmp_capabilities'}");
    g_string_truncate(a.got, 0);
    g_string_truncate(b.got, 0);
    json_t *info = json_pack("{s:s}", "type", "x");

    qmp_event_guest_panicked(GUEST_PANIC_ACTION_PAUSE, info);
    json_decref(info);
    g_autofree char *got = timeless(a.got->str);

    assert_string_equal(got, "{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\", "
                        "\"info\": {\"type\": \"x\"}}}\r\n");
    assert_non_null(strstr(b.got->str, "\n    \"event\": \"GUEST_PANICKED\",\n    \"data\": {\n"
                           "        \"action\": \"pause\",\n"));
    g_autoptr(json_t) v = json_parse(b.got->str, NULL);

    assert_non_null(v);
    qmp_session_free(b.s);
    g_string_free(b.got, TRUE);
    finish(&a);
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned n = 0;

    for (; (text = strstr(text, word)) != NULL; text++) {
        n++;
    }
    return n;
}

static void rates_are_limited_for_each_id(void **state)
{
    Client c;

    start(&c);
    negotiate(&c);
    g_string_truncate(c.got, 0);
    for (unsigned i = 0; i < 10; i++) {
        qmp_event_vserport_change("a", i & 1);
    }
    qmp_event_vserport_change("b", true);
    assert_int_equal(count_of(c.got->str, "VSERPORT_CHANGE"), 2);
    assert_non_null(strstr(c.got->str, "{\"id\": \"a\", \"open\": false}"));
    while (count_of(c.got->str, "VSERPORT_CHANGE") < 3) {
        loop_control_iterate(true);
    }
    assert_true(g_str_has_suffix(c.got->str, "{\"id\": \"a\", \"open\": true}}\r\n"));
    finish(&c);
}

static void emit_many(void *arg)
{
    for (unsigned i = 0; i < 3000; i++) {
        qmp_event_powerdown();
    }
}

static void other_threads_emit_without_growing_the_queue(void **state)
{
    g_autoptr(Error) e = NULL;
    pthread_t t;
    Client c;

    start(&c);
    negotiate(&c);
    g_string_truncate(c.got, 0);
    loop_control();
    assert_true(thread_start(&t, THREAD_WORKER, "emit", true, emit_many, NULL, &e));
    thread_join(t);
    while (loop_control_iterate(false)) {
    }
    assert_int_equal(count_of(c.got->str, "POWERDOWN"), 1024);
    finish(&c);
}

/* The beginning of a domain as libvirt starts one, and the shapes it was answered with. */
static void libvirt_finds_the_shapes_it_knows(void **state)
{
    static const struct { const char *cmd, *reply; } recorded[] = {
        { "{\"execute\":\"qmp_capabilities\",\"id\":\"libvirt-1\"}",
            "{\"return\": {}, \"id\": \"libvirt-1\"}" },
        { "{\"execute\":\"query-version\",\"id\":\"libvirt-2\"}",
            "{\"return\": {\"qemu\": {\"micro\": 22, "
          "\"minor\": 2, \"major\": 7}, \"package\": \"\"}, \"id\": \"libvirt-2\"}" },
        { "{\"execute\":\"query-kvm\",\"id\":\"libvirt-3\"}",
          "{\"return\": {\"enabled\": true, \"present\": true}, \"id\": \"libvirt-3\"}" },
        { "{\"execute\":\"query-chardev\",\"id\":\"libvirt-4\"}",
            "{\"return\": [{\"frontend-open\": true, "
          "\"filename\": \"unix:m.sock,server=on\", \"label\": \"charmonitor\"}], \"id\": "
          "\"libvirt-4\"}" },
        { "{\"execute\":\"query-cpus-fast\",\"id\":\"libvirt-6\"}",
            "{\"return\": [{\"thread-id\": 18615, "
          "\"props\": {\"core-id\": 0, \"thread-id\": 0, \"socket-id\": 0}, \"qom-path\": \"/m\", "
          "\"cpu-index\": 0, \"target\": \"x86_64\"}], \"id\": \"libvirt-6\"}" },
        { "{\"execute\":\"query-status\",\"id\":\"libvirt-8\"}",
            "{\"return\": {\"status\": \"running\", "
          "\"singlestep\": false, \"running\": true}, \"id\": \"libvirt-8\"}" },
        { "{\"execute\":\"cont\",\"id\":\"libvirt-410\"}",
            "{\"return\": {}, \"id\": \"libvirt-410\"}" },
    };
    Client c;

    start(&c);
    qmp_session_open(c.s);
    for (unsigned i = 0; i < G_N_ELEMENTS(recorded); i++) {
        const char *got = say(&c, recorded[i].cmd);
        const char *last = strrchr(got, '{') ? got : "{}";

        for (const char *p = got; (p = strstr(p, "\r\n")) != NULL && p[2]; p += 2) {
            last = p + 2;                  /* events come before the reply */
        }
        g_autoptr(json_t) ours = json_parse(last, NULL), theirs = json_parse(recorded[i].reply,
            NULL);
        json_t *a = json_object_get(ours, "return"), *b = json_object_get(theirs, "return");
        const char *key;
        json_t *v;

        assert_true(g_str_has_suffix(got, "\r\n"));
        assert_true(json_equal(json_object_get(ours, "id"), json_object_get(theirs, "id")));
        assert_int_equal(json_typeof(a), json_typeof(b));
        a = json_is_array(a) ? json_array_get(a, 0) : a;
        b = json_is_array(b) ? json_array_get(b, 0) : b;
        json_object_foreach(b, key, v) {
            json_t *mine = json_object_get(a, key);

            assert_non_null(mine);
            assert_true(json_typeof(mine) == json_typeof(v) ||
                        (json_is_boolean(mine) && json_is_boolean(v)));
        }
    }
    finish(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_greeting_comes_first),
        cmocka_unit_test(negotiation_is_a_mode),
        cmocka_unit_test(reconnecting_starts_afresh),
        cmocka_unit_test(every_command_answers),
        cmocka_unit_test(devices_come_and_go),
        cmocka_unit_test(objects_and_ring_buffers),
        cmocka_unit_test(every_command_can_fail),
        cmocka_unit_test(introspection_is_json),
        cmocka_unit_test(out_of_band_overtakes),
        cmocka_unit_test(ids_are_echoed_whatever_they_are),
        cmocka_unit_test(malformed_messages_are_refused),
        cmocka_unit_test(deep_nesting_is_refused_and_survived),
        cmocka_unit_test(a_deferred_reply_holds_the_session),
        cmocka_unit_test(a_deferred_reply_may_outlive_its_session),
        cmocka_unit_test(a_command_may_end_its_session),
        cmocka_unit_test(a_slow_client_is_not_waited_for),
        cmocka_unit_test(events_are_thinned_for_a_slow_client),
        cmocka_unit_test(events_reach_every_session),
        cmocka_unit_test(rates_are_limited_for_each_id),
        cmocka_unit_test(other_threads_emit_without_growing_the_queue),
        cmocka_unit_test(libvirt_finds_the_shapes_it_knows),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
