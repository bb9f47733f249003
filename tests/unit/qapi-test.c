/* qapi-test.c: visitors, key=value text, command-line objects, introspection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "qapi/keyval.h"
#include "qapi/tables.h"
#include "tests/qmp/fakes.h"
#include "util/bytes.h"
#include "util/thread.h"

/* Reads @in as @type, expects success, and compares what is written back. */
static void good(unsigned type, const char *in, const char *want)
{
    g_autoptr(Error) e = NULL;
    g_autoptr(json_t) tree = json_parse(in, &e);
    g_autoptr(GString) out = g_string_new(NULL);
    void *p = NULL;

    assert_non_null(tree);
    if (!qapi_read(type, tree, QAPI_JSON, &p, &e)) {
        fail_msg("%s: %s", in, error_text(e));
    }
    qapi_write(type, &p, out);
    assert_string_equal(out->str, want);
    qapi_free(type, p);
}

/* Reads @in as @type and expects the error @want, advice behind "; ". */
static void bad(unsigned type, const char *in, const char *want)
{
    g_autoptr(Error) e = NULL;
    g_autoptr(json_t) tree = json_parse(in, NULL);
    void *p = &e;

    assert_non_null(tree);
    assert_false(qapi_read(type, tree, QAPI_JSON, &p, &e));
    assert_null(p);
    g_autofree char *desc = qmp_error_desc(e);

    assert_string_equal(desc, want);
}

static void structs_read_back_what_was_written(void **state)
{
    good(QAPI_T_CPU_INSTANCE_PROPERTIES, "{'core-id':-3,'node-id':9223372036854775807}",
         "{\"node-id\": 9223372036854775807, \"core-id\": -3}");
    good(QAPI_T_NAME_INFO, "{}", "{}");
    good(QAPI_T_DEVICE_CONFIG, "{'driver':'x','a':[1,{}],'b':18446744073709551615}",
         "{\"driver\": \"x\", \"a\": [1, {}], \"b\": 18446744073709551615}");
}

static void nothing_is_not_a_value(void **state)
{
    bad(QAPI_T_NAME_INFO, "[]", "Invalid parameter type for 'argument', expected: object");
    bad(QAPI_T_NAME_INFO, "{'name':null}", "Invalid parameter type for 'name', expected: string");
    bad(QAPI_T_NAME_INFO, "{'name':18446744073709551615}",
        "Invalid parameter type for 'name', expected: string");
    bad(QAPI_T_DEVICE_DEL_ARGS, "{}", "Parameter 'id' is missing");
    bad(QAPI_T_DEVICE_DEL_ARGS, "{'id':'a','di':1}",
        "Parameter 'di' is unexpected; did you mean 'id'?");
    bad(QAPI_T_DEVICE_DEL_ARGS, "{'id':'a','zzzzzzzz':1}", "Parameter 'zzzzzzzz' is unexpected");
}

static void defaults_are_filled_in(void **state)
{
    good(QAPI_T_OBJECT_CONFIG, "{'qom-type':'memory-backend-memfd','id':'m','size':4096}",
         "{\"qom-type\": \"memory-backend-memfd\", \"id\": \"m\", \"size\": 4096, \"reserve\": "
         "true, "
         "\"prealloc\": false, \"prealloc-threads\": 1, \"policy\": \"default\", \"hugetlb\": "
         "false, "
         "\"seal\": true}");
    g_autoptr(ChardevRingbuf) r = qapi_new_chardev_ringbuf();

    assert_int_equal(r->size, 65536);
}

static void integers_have_ranges(void **state)
{
    bad(QAPI_T_OBJECT_CONFIG,
        "{'qom-type':'memory-backend-ram','id':'m','size':1,'prealloc-threads':257}",
        "Parameter 'prealloc-threads' expects an integer from 1 to 256");
    bad(QAPI_T_OBJECT_CONFIG,
        "{'qom-type':'memory-backend-ram','id':'m','size':-1}",
        "Parameter 'size' expects an integer from 0 to 18446744073709551615");
    bad(QAPI_T_OBJECT_CONFIG,
        "{'qom-type':'memory-backend-ram','id':'m','size':18446744073709551616}",
        "Invalid parameter type for 'size', expected: integer");
    bad(QAPI_T_OBJECT_CONFIG,
        "{'qom-type':'memory-backend-ram','id':'m','size':'1M'}",
        "Invalid parameter type for 'size', expected: integer");
    bad(QAPI_T_BOOT_CONFIG, "{'reboot-timeout':-2}",
        "Parameter 'reboot-timeout' expects an integer from -1 to 65535");
    good(QAPI_T_BOOT_CONFIG, "{'reboot-timeout':-1}",
        "{\"reboot-timeout\": -1, \"strict\": false}");
    bad(QAPI_T_CPU_INSTANCE_PROPERTIES, "{'core-id':9223372036854775808}",
        "Parameter 'core-id' expects an integer from -9223372036854775808 to 9223372036854775807");
    good(QAPI_T_BLOCKDEV_NULL, "{'size':18446744073709551615}",
         "{\"size\": 18446744073709551615, \"latency-ns\": 0, \"read-zeroes\": false}");
}

static void paths_name_the_member(void **state)
{
    /* What was read of an element that is wrong is freed with the rest. */
    bad(QAPI_T_BLKDEBUG_RULES, "{'inject-error':[{'event':'none'},{'event':'none','tag':1}]}",
        "Parameter 'inject-error[1].tag' is unexpected");
    bad(QAPI_T_OBJECT_CONFIG,
        "{'qom-type':'memory-backend-ram','id':'m','size':1,'host-nodes':[0,1,'x']}",
        "Invalid parameter type for 'host-nodes[2]', expected: integer");
    bad(QAPI_T_BLOCKDEV_CONFIG,
        "{'driver':'raw','file':{'driver':'raw','file':{'driver':'file','filename':1}}}",
        "Invalid parameter type for 'file.file.filename', expected: string");
    bad(QAPI_T_BLOCKDEV_CONFIG,
        "{'driver':'raw','file':{'driver':'file','filename':'x','fliename':1}}",
        "Parameter 'file.fliename' is unexpected; did you mean 'filename'?");
}

static void unions_follow_their_tag(void **state)
{
    good(QAPI_T_BLOCKDEV_CONFIG, "{'driver':'raw','node-name':'f','file':'s'}",
         "{\"driver\": \"raw\", \"node-name\": \"f\", \"read-only\": false, \"auto-read-only\": "
         "false, "
         "\"force-share\": false, \"discard\": \"ignore\", \"detect-zeroes\": \"off\", \"file\": "
         "\"s\", "
         "\"offset\": 0}");
    bad(QAPI_T_BLOCKDEV_CONFIG, "{'driver':'rae','file':'s'}",
        "Parameter 'driver' does not accept value 'rae'; did you mean 'raw'?");
    bad(QAPI_T_BLOCKDEV_CONFIG, "{'node-name':'a'}", "Parameter 'driver' is missing");
    bad(QAPI_T_BLOCKDEV_CONFIG, "{'driver':'file'}", "Parameter 'filename' is missing");
    bad(QAPI_T_BLOCKDEV_CONFIG, "{'driver':'raw','file':7}",
        "Invalid parameter type for 'file', expected: str or BlockdevConfig");
    bad(QAPI_T_BLOCKDEV_CONFIG, "{'driver':'raw','file':'s','filename':'x'}",
        "Parameter 'filename' is unexpected");
}

static void free_takes_anything_half_built(void **state)
{
    for (unsigned t = 1; t < qapi_types_count; t++) {
        unsigned kind = qapi_types[t].kind;

        if (kind >= QAPI_STRUCT && kind <= QAPI_ALTERNATE) {
            qapi_free(t, qapi_new(t));
            qapi_free(t, g_malloc0(qapi_types[t].size));
        }
    }
    qapi_free_chardev_config(NULL);
}

/* --- key=value --- */

static void tree_is(const char *text, const char *implied, unsigned flags, const char *want)
{
    g_autoptr(Error) e = NULL;
    g_autoptr(GString) out = g_string_new(NULL);
    bool help = false;
    g_autoptr(json_t) v = keyval_parse(text, implied, flags, &help, NULL, &e);

    if (!v) {
        g_string_printf(out, "!%s", error_text(e));
    } else {
        json_write_tree(out, v);
        g_string_append(out, help ? " help" : "");
    }
    assert_string_equal(out->str, want);
}

static void keyval_splits(void **state)
{
    const unsigned f = QAPI_FORM_FLAGS, s = QAPI_FORM_STRICT;

    tree_is("", NULL, f, "{}");
    tree_is("a=1,b=x,,y=z,c=", NULL, f, "{\"a\": \"1\", \"b\": \"x,y=z\", \"c\": \"\"}");
    tree_is("kvm,x=1", "accel", f, "{\"accel\": \"kvm\", \"x\": \"1\"}");
    tree_is("opt/a,,b,string=1", "name", f, "{\"name\": \"opt/a,b\", \"string\": \"1\"}");
    tree_is("accel=kvm", "accel", f, "{\"accel\": \"kvm\"}");
    tree_is("socket,server,nowait,nodelay", "backend", f,
            "{\"backend\": \"socket\", \"server\": \"on\", \"wait\": \"off\", \"nodelay\": "
            "\"on\"}");
    tree_is("host,+a,-b,c=on,-a", "model", f | QAPI_FORM_PLUS,
            "{\"model\": \"host\", \"a\": [\"on\", \"off\"], \"b\": \"off\", \"c\": \"on\"}");
    tree_is("a.b.c=1,a.b.d=2,a.e=3", NULL, s,
            "{\"a\": {\"b\": {\"c\": \"1\", \"d\": \"2\"}, \"e\": \"3\"}}");
    tree_is("driver.x=1", NULL, f, "{\"driver.x\": \"1\"}");
    tree_is("a=1,a=2,a=3", NULL, f, "{\"a\": [\"1\", \"2\", \"3\"]}");
    tree_is("{'a': 1}", "x", s | QAPI_FORM_JSON, "{\"a\": 1}");
    tree_is("{'a': 1}", "x", f, "{\"x\": \"{'a': 1}\"}");
}

static void keyval_refuses(void **state)
{
    const unsigned f = QAPI_FORM_FLAGS, s = QAPI_FORM_STRICT;
    g_autofree char *long_key = g_strnfill(200, 'k');
    g_autofree char *long_text = g_strconcat(long_key, "=1", NULL);

    tree_is("a", NULL, s, "!Expected '=' after parameter 'a'");
    tree_is("=1", NULL, f, "!A parameter name is empty");
    tree_is("a=1,,b", NULL, f, "{\"a\": \"1,b\"}");
    tree_is("a=1,b=2,=3", NULL, f, "!A parameter name is empty");
    tree_is("a.=1", NULL, s, "!A parameter name is empty");
    tree_is(".a=1", NULL, s, "!A parameter name is empty");
    tree_is("a=1,a.b=2", NULL, s, "!Parameter 'a' is given both a value and members");
    tree_is("a.b=2,a=1", NULL, s, "!Parameter 'a' is given both a value and members");
    tree_is("a=\xff", NULL, f, "!Text is not valid UTF-8");
    tree_is("\xff=1", NULL, f, "!Text is not valid UTF-8");
    tree_is(long_text, NULL, f, "!A parameter name is too long");
    tree_is("+", NULL, f | QAPI_FORM_PLUS, "!A parameter name is empty");
}

static void keyval_asks_for_help(void **state)
{
    tree_is("help", "driver", QAPI_FORM_FLAGS, "{} help");
    tree_is("?", "driver", QAPI_FORM_FLAGS, "{} help");
    tree_is("driver=help", "driver", QAPI_FORM_FLAGS, "{\"driver\": \"help\"} help");
    tree_is("e1000,help", "driver", QAPI_FORM_STRICT, "{\"driver\": \"e1000\"} help");
    tree_is("x=help", "driver", QAPI_FORM_FLAGS, "{\"x\": \"help\"}");
}

static void sizes_and_switches(void **state)
{
    static const struct { const char *text; bool ok; uint64_t v; } rows[] = {
        { "0", true, 0 }, { "512", true, 512 * MiB }, { "1G", true, GiB }, { "1g", true, GiB },
        { "1.5G", true, 1536 * MiB }, { "7b", true, 7 }, { "262144k", true, 256 * MiB },
        { "0x10", true, 16 * MiB }, { "16E", false, 0 }, { "15E", true, UINT64_C(15) << 60 }, { "",
            false, 0 }, { "G", false, 0 },
        { "-1", false, 0 }, { "1X", false, 0 }, { "1 G", false, 0 }, { "1Gx", false, 0 },
        { "18446744073709551616", false, 0 }, { "18446744073709551615", false, 0 }, { "0x", false,
            0 }, { "1.", false, 0 }, { "1.x", false, 0 },
        { "1e3", false, 0 }, { "+1", false, 0 },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        uint64_t v = 0;

        if (keyval_size(rows[i].text, MiB, &v) != rows[i].ok || v != rows[i].v) {
            fail_msg("'%s' gave %" PRIu64, rows[i].text, v);
        }
    }
    uint64_t v;
    bool b = false;

    assert_true(keyval_size("18446744073709551615", 1, &v) && v == UINT64_MAX);
    assert_false(keyval_size("1.5", 1, &v));
    assert_true(keyval_bool("on", &b) && b);
    assert_true(keyval_bool("no", &b) && !b);
    assert_false(keyval_bool("On", &b));
    assert_false(keyval_bool("1", &b));
}

/* --- options --- */

/* The object that option @opt makes of @text, as JSON; errors begin with '!'. */
static char *option(const char *name, const char *text)
{
    g_autoptr(Error) e = NULL;
    GString *out = g_string_new(NULL);
    int opt = qapi_option_find(name);
    void *p = &p;

    assert_true(opt >= 0);
    if (!qapi_option_read(opt, text, &p, &e)) {
        g_autofree char *desc = qmp_error_desc(e);

        assert_null(p);
        g_string_printf(out, "!%s", desc);
    } else if (!p) {
        g_string_append(out, "help");
    } else {
        qapi_write(qapi_options[opt].arg, &p, out);
        qapi_free(qapi_options[opt].arg, p);
    }
    return g_string_free(out, FALSE);
}

static void option_is(const char *name, const char *text, const char *want)
{
    g_autofree char *got = option(name, text);

    assert_string_equal(got, want);
}

static void options_become_structs(void **state)
{
    option_is("m", "256", "{\"size\": 268435456}");
    option_is("m", "size=262144k,slots=4,maxmem=1048576k",
              "{\"size\": 268435456, \"slots\": 4, \"maxmem\": 1073741824}");
    option_is("m", "", "{\"size\": 134217728}");
    option_is("smp", "2,maxcpus=4,sockets=4,cores=1,threads=1",
              "{\"cpus\": 2, \"maxcpus\": 4, \"sockets\": 4, \"cores\": 1, \"threads\": 1}");
    option_is("name", "guest=min,debug-threads=on",
        "{\"guest\": \"min\", \"debug-threads\": true}");
    option_is("boot", "menu=on,reboot-timeout=500,splash-time=3000,strict=on",
              "{\"menu\": true, \"splash-time\": 3000, \"reboot-timeout\": 500, \"strict\": true}");
    option_is("rtc", "base=2026-11-22T05:17:08,clock=vm,driftfix=slew",
              "{\"base\": \"2026-11-22T05:17:08\", \"clock\": \"vm\", \"driftfix\": \"slew\"}");
    option_is("mon", "chardev=charmonitor,id=monitor,mode=control",
              "{\"chardev\": \"charmonitor\", \"id\": \"monitor\", \"mode\": \"control\", "
              "\"pretty\": false}");
    option_is("cpu", "host,+x2apic,-svm,migratable=on,svm=on",
              "{\"model\": \"host\", \"x2apic\": \"on\", \"svm\": \"on\", \"migratable\": \"on\"}");
    option_is("accel", "kvm,kernel_irqchip=split",
        "{\"accel\": \"kvm\", \"kernel-irqchip\": \"split\"}");
    option_is("fw_cfg", "name=opt/com.example/x,string=val",
              "{\"name\": \"opt/com.example/x\", \"string\": \"val\"}");
    option_is("overcommit", "mem-lock=off", "{\"mem-lock\": false, \"cpu-pm\": false}");
    option_is("add-fd", "set=0,fd=30,opaque=x", "{\"fd\": 30, \"set\": 0, \"opaque\": \"x\"}");
}

static void options_with_cases(void **state)
{
    option_is("numa", "node,nodeid=1,cpus=2-3,cpus=7,memdev=ram1",
              "{\"type\": \"node\", \"nodeid\": 1, \"cpus\": [2, 3, 7], \"memdev\": \"ram1\"}");
    option_is("numa", "dist,src=0,dst=1,val=20",
        "{\"type\": \"dist\", \"src\": 0, \"dst\": 1, \"val\": 20}");
    option_is("smbios", "type=11,value=a,value=b,,c",
        "{\"type\": \"11\", \"value\": [\"a\", \"b,c\"]}");
    option_is("smbios", "file=/x", "{\"type\": \"file\", \"file\": \"/x\"}");
    option_is("object", "memory-backend-ram,id=m,size=1G,host-nodes.0=1,host-nodes.1=2,policy=bind",
              "{\"qom-type\": \"memory-backend-ram\", \"id\": \"m\", \"size\": 1073741824, "
              "\"reserve\": true, \"prealloc\": false, \"prealloc-threads\": 1, \"policy\": "
              "\"bind\", "
              "\"host-nodes\": [1, 2]}");
    option_is("object", "{\"qom-type\":\"rng-builtin\",\"id\":\"r\"}",
              "{\"qom-type\": \"rng-builtin\", \"id\": \"r\"}");
    option_is("device",
              "{\"driver\":\"pcie-root-port\",\"port\":16,\"id\":\"pci.1\",\"multifunction\":true}",
              "{\"driver\": \"pcie-root-port\", \"id\": \"pci.1\", \"port\": 16, "
              "\"multifunction\": true}");
    option_is("device", "isa-serial,chardev=s,index=0",
              "{\"driver\": \"isa-serial\", \"chardev\": \"s\", \"index\": \"0\"}");
    option_is("chardev", "socket,id=mon,fd=28,server=on,wait=off",
              "{\"backend\": \"socket\", \"id\": \"mon\", \"mux\": false, \"logappend\": false, "
              "\"abstract\": false, \"tight\": true, \"to\": 0, \"ipv4\": false, \"ipv6\": false, "
              "\"fd\": \"28\", \"server\": true, \"wait\": false, \"nodelay\": false, "
              "\"delay\": true, \"telnet\": false, \"reconnect\": 0}");
    option_is("blockdev", "driver=null-co,node-name=n,size=1M,cache.direct=on",
              "{\"driver\": \"null-co\", \"node-name\": \"n\", \"read-only\": false, "
              "\"auto-read-only\": false, \"force-share\": false, \"discard\": \"ignore\", "
              "\"detect-zeroes\": \"off\", \"cache\": {\"direct\": true, \"no-flush\": false}, "
              "\"size\": 1048576, \"latency-ns\": 0, \"read-zeroes\": false}");
}

static void options_are_refused_precisely(void **state)
{
    option_is("m", "5x", "!Parameter 'size' expects a size value; a number below 2^64 with an "
              "optional suffix k, M, G, T, P or E");
    option_is("m", "size=1,slotz=1", "!Parameter 'slotz' is unexpected; did you mean 'slots'?");
    option_is("smp", "foo", "!Parameter 'cpus' expects an integer");
    option_is("smp", "cpus=0", "!Parameter 'cpus' expects an integer from 1 to 4096");
    option_is("smp", "4097", "!Parameter 'cpus' expects an integer from 1 to 4096");
    option_is("smp", "cpus=-1", "!Parameter 'cpus' expects an integer from 1 to 4096");
    option_is("name", "debug-threads=q", "!Parameter 'debug-threads' expects 'on' or 'off'");
    option_is("rtc", "clock=bar", "!Parameter 'clock' does not accept value 'bar'");
    option_is("numa", "node,cpus=3-1", "!Parameter 'cpus[0]' expects a range A-B of integers");
    option_is("numa", "node,cpus=0-99999", "!Parameter 'cpus[0]' expects a range A-B of integers");
    option_is("numa", "node,cpus=x", "!Parameter 'cpus[0]' expects an integer");
    option_is("numa", "foo", "!Parameter 'type' does not accept value 'foo'");
    option_is("chardev", "null", "!Parameter 'id' is missing");
    option_is("chardev", "nul,id=a", "!Parameter 'backend' does not accept value 'nul'; did you "
        "mean 'null'?");
    option_is("object", "iothread,id=a,poll-max-ns=z",
        "!Parameter 'poll-max-ns' expects an integer");
    option_is("object", "memory-backend-ram,id=m,size=1,host-nodes.1=2",
              "!Parameter 'host-nodes.0' is missing");
    option_is("blockdev", "driver=raw,file.driver=file", "!Parameter 'file.filename' is missing");
    option_is("blockdev", "file,filename", "!Expected '=' after parameter 'filename'");
    g_autofree char *json = option("blockdev", "{'driver':'file'");

    assert_string_equal(json, "!JSON parse error, premature end of input");
}

static void help_lists_every_member(void **state)
{
    g_autoptr(GString) out = g_string_new(NULL);

    option_is("chardev", "help", "help");
    qapi_option_help(qapi_option_find("chardev"), out);
    assert_non_null(strstr(out->str, "backend=socket: a TCP or unix socket"));
    assert_non_null(strstr(out->str, "wait=on|off"));
    assert_non_null(strstr(out->str, "(default: on)"));
    assert_int_equal(qapi_option_find("nosuch"), -1);
}

/* --- introspection --- */

static json_t *schema_entry(json_t *schema, const char *name)
{
    size_t i;
    json_t *e;

    json_array_foreach(schema, i, e) {
        if (strcmp(json_string_value(json_object_get(e, "name")), name) == 0) {
            return e;
        }
    }
    return NULL;
}

/* Every type named at @key of @entry is described. */
static void check_ref(json_t *schema, json_t *entry, const char *key)
{
    json_t *ref = json_object_get(entry, key);

    if (ref && !schema_entry(schema, json_string_value(ref))) {
        fail_msg("%s is not described", json_string_value(ref));
    }
}

static void the_schema_describes_itself(void **state)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(Error) e = NULL;
    size_t i, k;
    json_t *entry, *m;

    qapi_introspect_schema(text);
    g_autoptr(json_t) schema = json_parse(text->str, &e);

    assert_non_null(schema);
    json_array_foreach(schema, i, entry) {
        check_ref(schema, entry, "arg-type");
        check_ref(schema, entry, "ret-type");
        check_ref(schema, entry, "element-type");
        json_array_foreach(json_object_get(entry, "members"), k, m) {
            check_ref(schema, m, "type");
        }
        json_array_foreach(json_object_get(entry, "variants"), k, m) {
            check_ref(schema, m, "type");
        }
        for (k = 0; k < i; k++) {
            assert_ptr_equal(schema_entry(schema, json_string_value(json_object_get(entry,
                "name"))),
                             entry);
        }
    }
    json_t *add = schema_entry(schema, "device_add");

    assert_string_equal(json_string_value(json_array_get(json_object_get(add, "features"), 1)),
                        "json-cli-hotplug");
    json_t *io = schema_entry(schema, json_string_value(json_object_get(
        schema_entry(schema, "query-iothreads"), "ret-type")));

    assert_string_equal(json_string_value(json_object_get(io, "meta-type")), "array");
    assert_non_null(schema_entry(schema, "VSERPORT_CHANGE"));
    assert_null(schema_entry(schema, "no-such-command"));
}

static void options_describe_themselves(void **state)
{
    g_autoptr(GString) text = g_string_new(NULL), none = g_string_new(NULL);
    g_autoptr(Error) e = NULL, e2 = NULL;

    assert_true(qapi_introspect_options("smp-opts", text, &e));
    g_autoptr(json_t) v = json_parse(text->str, &e);

    assert_int_equal(json_array_size(v), 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(v, 0), "parameters")), 6);
    g_string_truncate(text, 0);
    assert_true(qapi_introspect_options(NULL, text, &e));
    assert_false(qapi_introspect_options("nosuch", none, &e2));
    assert_string_equal(error_text(e2), "invalid option name: nosuch");
}

static void enums_have_words(void **state)
{
    g_autoptr(Error) e = NULL;
    int v = -1;

    assert_string_equal(run_state_name(RUN_STATE_INTERNAL_ERROR), "internal-error");
    assert_string_equal(run_state_name(RUN_STATE_COUNT), "?");
    assert_true(qapi_enum_value(QAPI_T_RUN_STATE, "paused", "x", &v, &e));
    assert_int_equal(v, RUN_STATE_PAUSED);
    assert_false(qapi_enum_value(QAPI_T_RUN_STATE, "pausd", "x", &v, &e));
    assert_string_equal(error_text(e), "Parameter 'x' does not accept value 'pausd'");
}

static void commands_are_bound_to_states(void **state)
{
    QmpCommand c = *qmp_command_find("query-status");
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(Error) e = NULL;

    c.when = 1u << RUN_STATE_PAUSED;
    assert_true(qmp_command_run(&c, NULL, RUN_STATE_PAUSED, NULL, NULL, out, &e));
    fakes_reset();
    assert_false(qmp_command_run(&c, NULL, RUN_STATE_RUNNING, NULL, NULL, out, &e));
    assert_string_equal(error_text(e), "The command query-status is not allowed in run state "
        "'running'");
    assert_int_equal(fakes.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structs_read_back_what_was_written),
        cmocka_unit_test(nothing_is_not_a_value),
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(integers_have_ranges),
        cmocka_unit_test(paths_name_the_member),
        cmocka_unit_test(unions_follow_their_tag),
        cmocka_unit_test(free_takes_anything_half_built),
        cmocka_unit_test(keyval_splits),
        cmocka_unit_test(keyval_refuses),
        cmocka_unit_test(keyval_asks_for_help),
        cmocka_unit_test(sizes_and_switches),
        cmocka_unit_test(options_become_structs),
        cmocka_unit_test(options_with_cases),
        cmocka_unit_test(options_are_refused_precisely),
        cmocka_unit_test(help_lists_every_member),
        cmocka_unit_test(the_schema_describes_itself),
        cmocka_unit_test(options_describe_themselves),
        cmocka_unit_test(enums_have_words),
        cmocka_unit_test(commands_are_bound_to_states),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
