/* fault-test.c: exactly the n-th matching fault point fails, once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "util/fault.h"

static unsigned fails(const char *name, unsigned times)
{
    unsigned which = 0;

    for (unsigned i = 1; i <= times; i++) {
        if (FAULT(name)) {
            which = which * 10 + i;
        }
    }
    return which;
}

static void unarmed_nothing_fails(void **state)
{
    assert_int_equal(fails("file-open", 5), 0);
    assert_false(fault_disarm());
}

static void the_nth_fails_once(void **state)
{
    fault_arm("file-*", 3);
    assert_int_equal(fails("other", 5), 0);
    assert_int_equal(fails("file-open", 9), 3);
    assert_int_equal(fails("file-open", 9), 0);
    assert_true(fault_disarm());
    assert_false(fault_disarm());
}

static void too_few_points_deliver_nothing(void **state)
{
    fault_arm("*", 4);
    assert_int_equal(fails("x", 3), 0);
    assert_false(fault_disarm());
    assert_int_equal(fails("x", 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unarmed_nothing_fails),
        cmocka_unit_test(the_nth_fails_once),
        cmocka_unit_test(too_few_points_deliver_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
