/* error-test.c: error chains, advice and suggestions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include "util/error.h"

static void chain_reads_outermost_first(void **state)
{
    g_autoptr(Error) e = NULL;

    assert_false(error_set_errno(&e, ENOENT, "cannot open '%s'", "a.img"));
    assert_false(error_context(&e, "-drive file=%s", "a.img"));
    assert_string_equal(error_text(e),
                        "-drive file=a.img: cannot open 'a.img': No such file or directory");
    assert_int_equal(error_class(e), ERROR_GENERIC);
    assert_null(error_advice(e));
}

static void a_null_errp_drops_everything(void **state)
{
    assert_false(error_set(NULL, "x"));
    assert_false(error_context(NULL, "x"));
    assert_false(error_hint(NULL, "x"));
    assert_false(error_move(NULL, NULL));
}

static void hints_are_lines(void **state)
{
    g_autoptr(Error) e = NULL;

    error_set_class(&e, ERROR_DEVICE_NOT_FOUND, "no device '%s'", "x");
    error_hint(&e, "one");
    error_hint(&e, "two");
    assert_string_equal(error_advice(e), "one\ntwo");
    assert_string_equal(error_class_name(error_class(e)), "DeviceNotFound");
}

static const char *suggestion(const char *wrong)
{
    static const char *const names[] = { "virtio-blk-pci", "virtio-net-pci", "isa-serial", "edu",
                                         "e1000", NULL };
    static char text[80];
    g_autoptr(Error) e = NULL;

    error_set(&e, "unknown");
    error_suggest(&e, wrong, names);
    g_strlcpy(text, error_advice(e) ? error_advice(e) : "", sizeof(text));
    return text;
}

static void the_nearest_name_is_suggested(void **state)
{
    assert_string_equal(suggestion("virtio-bkl-pci"), "did you mean 'virtio-blk-pci'?");
    assert_string_equal(suggestion("virtio_net_pci"), "did you mean 'virtio-net-pci'?");
    assert_string_equal(suggestion("Virtio-Blk"), "did you mean 'virtio-blk-pci'?");
    assert_string_equal(suggestion("e100"), "did you mean 'e1000'?");
    assert_string_equal(suggestion("nvme"), "");
    assert_string_equal(suggestion("edu"), "");   /* it is known, and wrong for another reason */
    assert_string_equal(suggestion(""), "");
    g_autofree char *very_long = g_strnfill(5000, 'x');
    assert_string_equal(suggestion(very_long), "");
}

static void move_passes_on_or_frees(void **state)
{
    Error *inner = NULL, *outer = NULL;

    error_set(&inner, "inner");
    assert_false(error_move(&outer, inner));
    assert_string_equal(error_text(outer), "inner");
    error_move(NULL, outer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chain_reads_outermost_first),
        cmocka_unit_test(a_null_errp_drops_everything),
        cmocka_unit_test(hints_are_lines),
        cmocka_unit_test(the_nearest_name_is_suggested),
        cmocka_unit_test(move_passes_on_or_frees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
