/* hmp-args-test.c: expressions, formats and arguments of the human monitor, as QEMU's reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "monitor/hmp-args.h"
#include "util/bytes.h"

static bool reg(void *arg, const char *name, uint64_t *value)
{
    *value = 0xfff0;
    return strcmp(name, "eip") == 0 || strcmp(name, "cs.base") == 0;
}

static const HmpArgsContext context = { .format = { .conversion = 'x', .size = 4 }, .reg = reg };

static void check_value(const char *text, int64_t want)
{
    int64_t got;
    Error *err = NULL;
    const char *at = text;

    if (!hmp_expression(&at, &context, &got, &err)) {
        fail_msg("%s: %s", text, error_text(err));
    }
    assert_string_equal(at, "");
    assert_int_equal(got, want);
}

static void check_bad(const char *text, const char *want)
{
    int64_t got;
    Error *err = NULL;
    const char *at = text;

    assert_false(hmp_expression(&at, &context, &got, &err));
    assert_string_equal(error_text(err), want);
    error_free(err);
}

static void test_expressions(void **state)
{
    check_value("1+2*3", 7);
    check_value(" ( 1 + 2 ) * 3 ", 9);
    check_value("4+1&1", 5);
    check_value("4&1+1", 1);
    check_value("1|2*2", 5);
    check_value("3^5&6|8", 14);
    check_value("7-5-1", 1);
    check_value("-5/2", -2);
    check_value("5%3", 2);
    check_value("~1", -2);
    check_value("+-+5", -5);
    check_value("'a'", 'a');
    check_value("0x10", 16);
    check_value("010", 8);
    check_value("$eip+4", 0xfff4);
    check_value("$cs.base", 0xfff0);
    check_value("18446744073709551615", -1);
    check_value("0x7fffffffffffffff+1", INT64_MIN);
    check_value("-0x8000000000000000", INT64_MIN);
    check_value("-0x8000000000000000/-1", INT64_MIN);
    check_value("-0x8000000000000000%-1", 0);
    check_value("0x7fffffffffffffff*0x7fffffffffffffff", 1);
}

static void test_bad_expressions(void **state)
{
    g_autofree char *deep = g_strnfill(100000, '('), *minus = g_strnfill(100000, '-');

    check_bad("", "unexpected end of expression");
    check_bad("1+", "unexpected end of expression");
    check_bad("(1", "')' expected");
    check_bad("1/0", "division by zero");
    check_bad("1%0", "division by zero");
    check_bad("$foo", "unknown register");
    check_bad("$", "unknown register");
    check_bad("x", "invalid char 'x' in expression");
    check_bad("1+\xc3\xb6x", "invalid char '\xc3\xb6' in expression");
    check_bad("2**3", "invalid char '*' in expression");
    check_bad("0x1ffffffffffffffff", "number too large");
    check_bad("'", "character constant expected");
    check_bad("'ab'", "missing terminating ' character");
    check_bad(deep, "expression too deep");
    check_bad(minus, "expression too deep");
}

static HmpArgs args;

static bool reads(const char *spec, const char *text, Error **errp)
{
    return hmp_args_read("cmd", spec, text, &context, &args, errp);
}

static void check_refused(const char *spec, const char *text, const char *want)
{
    Error *err = NULL;

    assert_false(reads(spec, text, &err));
    assert_string_equal(error_text(err), want);
    assert_int_equal(args.n, 0);
    error_free(err);
}

static void test_words(void **state)
{
    assert_true(reads("name:s other:s?", "  a\t b  ", NULL));
    assert_string_equal(hmp_str(&args, "name"), "a");
    assert_string_equal(hmp_str(&args, "other"), "b");
    assert_null(hmp_str(&args, "na"));
    hmp_args_clear(&args);
    assert_true(reads("name:s other:s?", "\"a \\\"b\\\\ \\n\\'\"", NULL));
    assert_string_equal(hmp_str(&args, "name"), "a \"b\\ \n'");
    assert_null(hmp_str(&args, "other"));
    hmp_args_clear(&args);
    assert_true(reads("path:s rest:s*", "/x 1 2  3", NULL));
    assert_string_equal(hmp_str(&args, "rest"), "1 2  3");
    hmp_args_clear(&args);
    check_refused("name:s", "", "cmd: string expected");
    check_refused("name:F", " ", "cmd: filename expected");
    check_refused("name:B", "", "cmd: block device name expected");
    check_refused("name:s", "a b", "cmd: extraneous characters at the end of line");
    check_refused("name:s", "\"a", "unterminated string\ncmd: string expected");
    check_refused("name:s", "\"a\\", "unterminated string\ncmd: string expected");
    check_refused("name:s", "\"\\t\"", "unsupported escape code: '\\t'\ncmd: string expected");
    check_refused("path:s rest:s*", "/x", "cmd: string expected");
    check_refused("", "x", "cmd: extraneous characters at the end of line");
}

static void test_flags(void **state)
{
    assert_true(reads("force:-f device:B", "-f cd0", NULL));
    assert_true(hmp_flag(&args, "force"));
    assert_string_equal(hmp_str(&args, "device"), "cd0");
    hmp_args_clear(&args);
    assert_true(reads("a:-a b:-b vcpu:i?", "-b 3", NULL));
    assert_false(hmp_flag(&args, "a"));
    assert_true(hmp_flag(&args, "b"));
    assert_int_equal(hmp_int(&args, "vcpu", -1), 3);
    hmp_args_clear(&args);
    assert_true(reads("a:-a vcpu:i?", "", NULL));
    assert_int_equal(hmp_int(&args, "vcpu", -1), -1);
    hmp_args_clear(&args);
    assert_true(reads("device:B force:-f target:F", "cd0 -f x", NULL));
    assert_true(hmp_flag(&args, "force"));
    hmp_args_clear(&args);
    check_refused("force:-f device:B", "-z cd0", "cmd: unsupported option -z");
    check_refused("force:-f device:B", "-fz cd0", "cmd: extraneous characters at the end of line");
    check_refused("force:-f", "-z", "cmd: unsupported option -z");
}

static void test_numbers(void **state)
{
    int64_t n;

    assert_true(reads("addr:i size:i", "0x10+1 (-3)", NULL));
    assert_int_equal(hmp_int(&args, "addr", 0), 17);
    assert_true(hmp_num(&args, "size", &n));
    assert_int_equal(n, -3);
    hmp_args_clear(&args);
    assert_true(reads("target:M", "32", NULL));
    assert_int_equal(hmp_int(&args, "target", 0), 32 * MiB);
    hmp_args_clear(&args);
    assert_true(reads("a:o b:o", "20 1G", NULL));
    assert_int_equal(hmp_int(&args, "a", 0), 20 * MiB);
    assert_int_equal(hmp_int(&args, "b", 0), 1 * GiB);
    hmp_args_clear(&args);
    assert_true(reads("up:b", "on", NULL));
    assert_true(hmp_flag(&args, "up"));
    hmp_args_clear(&args);
    assert_true(reads("up:b", "off", NULL));
    assert_false(hmp_flag(&args, "up"));
    assert_true(hmp_num(&args, "up", &n));
    hmp_args_clear(&args);
    check_refused("up:b", "foo", "Expected 'on' or 'off'");
    check_refused("target:M", "-5", "enter a positive value");
    check_refused("target:M", "0x7fffffffffffffff", "number too large");
    check_refused("size:o", "xx", "invalid size");
    check_refused("size:o", "-5", "invalid size");
    check_refused("size:o", "", "invalid size");
    check_refused("size:o", "16E", "invalid size");
    check_refused("val:i size:i filename:s", "0 16 /tmp/x", "invalid char 't' in expression");
    check_refused("addr:i", "08", "cmd: extraneous characters at the end of line");
}

static void check_format(const char *text, unsigned count, char conversion, unsigned size)
{
    assert_true(reads("fmt:/ addr:i", text, NULL));
    assert_int_equal(args.format.count, count);
    assert_int_equal(args.format.conversion, conversion);
    assert_int_equal(args.format.size, size);
    hmp_args_clear(&args);
}

static void test_formats(void **state)
{
    check_format("0", 1, 'x', 4);
    check_format("/10i 0", 10, 'i', 4);
    check_format("/4xb 0", 4, 'x', 1);
    check_format(" /2bx 0", 2, 'x', 1);
    check_format("/gd 0", 1, 'd', 8);
    check_format("/h 0", 1, 'x', 2);
    check_format("/ 0", 1, 'x', 4);
    check_format("/0x 0", 0, 'x', 4);
    check_format("/99999999999999999999x 0", 0x7fffffff, 'x', 4);
    check_refused("fmt:/ addr:i", "/s 0", "invalid char in format: 's'");
    check_refused("fmt:/ addr:i", "/\xe2\x82\xac 0", "invalid char in format: '\xe2\x82\xac'");
    check_refused("fmt:/ addr:i", "/-1x 0", "invalid char in format: '-'");
    check_refused("fmt:/ addr:i", "/5x", "unexpected end of expression");
}

static void test_types(void **state)
{
    assert_int_equal(hmp_args_type("force:-f device:B target:F", 0), 'B');
    assert_int_equal(hmp_args_type("force:-f device:B target:F", 1), 'F');
    assert_int_equal(hmp_args_type("force:-f device:B target:F", 2), 0);
    assert_int_equal(hmp_args_type("fmt:/ addr:i", 0), 'i');
    assert_int_equal(hmp_args_type("name:c?*", 3), 'c');
    assert_int_equal(hmp_args_type("", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_bad_expressions),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_types),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
