/* device-test.h: what most device tests begin with.  TEST(fn) runs fn between the file's own setup() and
 * teardown(), WITH(fn, up) between up() and that. */
#ifndef TESTS_DEVICE_DEVICE_TEST_H
#define TESTS_DEVICE_DEVICE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tests/device/bench.h"

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define WITH(fn, up) cmocka_unit_test_setup_teardown(fn, up, teardown)
#define RUN_TESTS(...) \
    int main(void) \
    { \
        const struct CMUnitTest all_tests[] = { __VA_ARGS__ }; \
        return cmocka_run_group_tests(all_tests, NULL, NULL); \
    }

#endif
