/* json-test.c: cutting messages out of a stream, what jansson lacks, and the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "qapi/json.h"

typedef struct Seen {
    GString *log;              /* each value as text, each error as !text, a line each */
    unsigned stop_after;
    unsigned n;
} Seen;

static bool see(void *arg, json_t *take_value, Error *take_err)
{
    Seen *seen = arg;

    if (take_err) {
        g_string_append_printf(seen->log, "!%s\n", error_text(take_err));
    } else {
        json_write_tree(seen->log, take_value);
        g_string_append_c(seen->log, '\n');
    }
    json_decref(take_value);
    error_free(take_err);
    return ++seen->n != seen->stop_after;
}

/* Feeds @in, all at once and byte by byte, and compares what was seen both times. */
static void expect(const char *in, size_t n, const char *want)
{
    for (size_t step = 1; step <= n; step += n > 1 ? n - 1 : 1) {
        JsonReader *r = json_reader_new();
        Seen seen = { .log = g_string_new(NULL) };

        for (size_t i = 0; i < n; i += step) {
            size_t len = MIN(step, n - i);

            assert_int_equal(json_reader_feed(r, in + i, len, see, &seen), len);
        }
        assert_string_equal(seen.log->str, want);
        g_string_free(seen.log, TRUE);
        json_reader_free(r);
    }
}

#define EXPECT(in, want) expect(in, sizeof(in) - 1, want)

static void messages_are_cut_out(void **state)
{
    EXPECT("{\"a\":1}{\"b\":[2,{}]} \r\n[3]", "{\"a\": 1}\n{\"b\": [2, {}]}\n[3]\n");
    EXPECT("{\"a\":\n \"}]{[\\\"\"\n}", "{\"a\": \"}]{[\\\"\"}\n");
    EXPECT("{\"a\":", "");
}

static void single_quotes_are_quotes(void **state)
{
    EXPECT("{'a':'b\"c\\'d'}", "{\"a\": \"b\\\"c'd\"}\n");
    EXPECT("{\"a\":\"it's \\' \\\\\"}", "{\"a\": \"it's ' \\\\\"}\n");
}

static void integers_keep_all_bits(void **state)
{
    EXPECT("[18446744073709551615,9223372036854775808,-9223372036854775808,9223372036854775807]",
           "[18446744073709551615, 9223372036854775808, -9223372036854775808, "
           "9223372036854775807]\n");
    EXPECT("[18446744073709551616,-9223372036854775809,1.5]",
           "[1.8446744073709552e+19, -9.223372036854776e+18, 1.5]\n");
}

static void big_integers_are_told_from_strings(void **state)
{
    g_autoptr(json_t) v = json_parse("[18446744073709551615, '18446744073709551615', 7]", NULL);
    uint64_t big = 0;

    assert_true(json_big(json_array_get(v, 0), &big));
    assert_true(big == UINT64_MAX);
    assert_false(json_big(json_array_get(v, 1), &big));
    assert_false(json_big(json_array_get(v, 2), &big));
    g_autoptr(json_t) made = json_from_u64(UINT64_MAX - 1);

    assert_true(json_big(made, &big));
    assert_true(big == UINT64_MAX - 1);
}

static void garbage_costs_one_error_a_line(void **state)
{
    EXPECT("garbage more garbage\n{}", "!JSON parse error, expecting an object\n{}\n");
    EXPECT("12 {}\n{}", "!JSON parse error, expecting an object\n{}\n");
    EXPECT("{]}{\"a\":1}\n{}", "!JSON parse error, mismatched bracket\n{}\n");
    EXPECT("{\"a\n{}", "!JSON parse error, control character in string\n{}\n");
    EXPECT("x\xff{}", "!JSON parse error, expecting an object\n{}\n");
    EXPECT("{\"a\":\xff{}\xff\xff", "!JSON parse error, message cut short by 0xff\n{}\n");
    EXPECT("\0{}\n{}", "!JSON parse error, expecting an object\n{}\n");
}

static void bad_content_is_one_error(void **state)
{
    g_autoptr(Error) e = NULL;

    EXPECT("{\"a\":1,\"a\":2}{}", "!JSON parse error, duplicate object key near '\"a\"'\n{}\n");
    EXPECT("{\"a\":\"\\u0000\"}\n{}", "!JSON parse error, NUL character in string\n{}\n");
    EXPECT("{\"a\":\"\\\\u0000\"}", "{\"a\": \"\\\\u0000\"}\n");
    assert_null(json_parse("{\"a\": tru}", &e));
    assert_non_null(strstr(error_text(e), "JSON parse error, "));
    assert_null(json_parse("{\"a\": \"\xc3\x28\"}", NULL));
    assert_null(json_parse("{\"a\": 1e999}", NULL));
    assert_null(json_parse("{\"a\": 012}", NULL));
}

static void nesting_is_capped(void **state)
{
    g_autoptr(GString) deep = g_string_new(NULL);
    g_autoptr(Error) e = NULL;

    for (unsigned i = 0; i < JSON_MAX_DEPTH; i++) {
        g_string_append_c(deep, '[');
    }
    for (unsigned i = 0; i < JSON_MAX_DEPTH; i++) {
        g_string_append_c(deep, ']');
    }
    g_autoptr(json_t) ok = json_parse(deep->str, &e);

    assert_non_null(ok);
    g_string_prepend(deep, "[");
    g_string_append(deep, "]");
    assert_null(json_parse(deep->str, &e));
    assert_string_equal(error_text(e), "JSON nesting depth limit exceeded");
}

static void size_and_count_are_capped(void **state)
{
    g_autoptr(GString) many = g_string_new("[0");
    g_autoptr(GString) large = g_string_new("['");
    g_autoptr(Error) e = NULL, e2 = NULL;

    for (unsigned i = 0; i <= JSON_MAX_VALUES; i++) {
        g_string_append(many, ",0");
    }
    g_string_append(many, "]");
    assert_null(json_parse(many->str, &e));
    assert_string_equal(error_text(e), "JSON message has too many values");
    g_string_set_size(large, JSON_MAX_BYTES + 10);
    memset(large->str + 2, 'x', JSON_MAX_BYTES + 8);
    g_string_append(large, "']");
    assert_null(json_parse(large->str, &e2));
    assert_string_equal(error_text(e2), "JSON message size limit exceeded");
}

static void a_sink_can_stop_the_reader(void **state)
{
    JsonReader *r = json_reader_new();
    Seen seen = { .log = g_string_new(NULL), .stop_after = 1 };

    assert_int_equal(json_reader_feed(r, "{}{}", 4, see, &seen), 2);
    assert_string_equal(seen.log->str, "{}\n");
    json_reader_feed(r, "{\"half", 6, see, &seen);
    json_reader_reset(r);
    json_reader_feed(r, "[]", 2, see, &seen);
    assert_string_equal(seen.log->str, "{}\n[]\n");
    g_string_free(seen.log, TRUE);
    json_reader_free(r);
}

static void one_value_and_nothing_else(void **state)
{
    g_autoptr(Error) e = NULL, e2 = NULL, e3 = NULL;

    assert_null(json_parse("", &e));
    assert_string_equal(error_text(e), "JSON parse error, premature end of input");
    assert_null(json_parse("{'driver':'file'", &e2));
    assert_non_null(e2);
    assert_null(json_parse("{} {}", &e3));
    assert_string_equal(error_text(e3), "JSON parse error, text after the end");
    assert_null(json_parse("{} x", NULL));
}

static void text_is_written_in_ascii(void **state)
{
    g_autoptr(GString) s = g_string_new(NULL);

    json_write_str(s, "a\"\\\n\x01\x7f\xc3\xa9\xf0\x9f\x98\x80\xff");
    assert_string_equal(s->str, "\"a\\\"\\\\\\n\\u0001\\u007F\\u00E9\\uD83D\\uDE00\\uFFFD\"");
    g_string_truncate(s, 0);
    json_write_number(s, 0.1);
    g_string_append_c(s, ' ');
    json_write_number(s, 1e300 * 1e300);
    g_string_append_c(s, ' ');
    json_write_u64(s, UINT64_MAX);
    g_string_append_c(s, ' ');
    json_write_i64(s, INT64_MIN);
    assert_string_equal(s->str, "0.1 0 18446744073709551615 -9223372036854775808");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_cut_out),
        cmocka_unit_test(single_quotes_are_quotes),
        cmocka_unit_test(integers_keep_all_bits),
        cmocka_unit_test(big_integers_are_told_from_strings),
        cmocka_unit_test(garbage_costs_one_error_a_line),
        cmocka_unit_test(bad_content_is_one_error),
        cmocka_unit_test(nesting_is_capped),
        cmocka_unit_test(size_and_count_are_capped),
        cmocka_unit_test(a_sink_can_stop_the_reader),
        cmocka_unit_test(one_value_and_nothing_else),
        cmocka_unit_test(text_is_written_in_ascii),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
