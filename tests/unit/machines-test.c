/* machines-test.c: versioned machines: their order, and that every row of theirs says something. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "core/machine.h"
#include "hw/board/pc-types.h"
#include "hw/catalogue.h"
#include "util/thread.h"

/* Row @c has a value that the type takes, if it is for it. */
static bool applies(const DeviceType *t, const CompatProp *c)
{
    int owner;
    const PropDesc *p = device_type_prop(t, c->prop, &owner);
    Error *err = NULL;

    if (!g_pattern_match_simple(c->type, t->name) || p == NULL || owner != 0) {
        return false;
    }
    void *obj = g_malloc0(t->size);
    if (!prop_set(obj, p, c->value, &err)) {
        fail_msg("%s.%s=%s: %s", t->name, c->prop, c->value, error_text(err));
    }
    prop_clear(obj, t->props);
    g_free(obj);
    return true;
}

static bool somewhere(const DeviceType *t, const CompatProp *c)
{
    return t != NULL && (applies(t, c) || somewhere(t->inner, c));
}

static void rows_apply(void **state)
{
    unsigned rows = 0;

    for (const MachineType *const *m = machine_types(); *m != NULL; m++) {
        for (const CompatProp *c = (*m)->compat; c != NULL && c->type != NULL; c++, rows++) {
            bool found = false;
            for (const DeviceType *const *t = device_types(); *t != NULL; t++) {
                found |= somewhere(*t, c);
            }
            if (!found) {
                fail_msg("%s: no device takes %s.%s=%s", (*m)->name, c->type, c->prop, c->value);
            }
        }
    }
    assert_true(rows > 60);
}

static void versions_follow_one_another(void **state)
{
    for (const MachineType *const *m = machine_types(); *m != NULL; m++) {
        const MachineType *newest = *m;
        unsigned steps = 0;
        while (newest->newer != NULL) {
            assert_true(strncmp(newest->name, newest->newer->name, 6) == 0);
            newest = newest->newer;
            assert_true(++steps < 100);
        }
        assert_true(newest->empty || newest->alias != NULL);
    }
    assert_ptr_equal(machine_type_find("pc"), machine_type_find("pc-i440fx-7.2"));
    assert_true(machine_type_find("pc")->is_default);
    assert_ptr_equal(machine_type_find("q35"), machine_type_find("pc-q35-7.2"));
    assert_int_equal(machine_type_find("pc-q35-2.7")->max_cpus, 255);
    assert_int_equal(machine_type_find("pc-q35-2.8")->max_cpus, 288);
    assert_true(machine_type_find("pc-q35-6.1")->smp_sockets);
    assert_false(machine_type_find("pc-q35-6.2")->smp_sockets);
    assert_null(machine_type_find("pc-q35-2.3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_apply), cmocka_unit_test(versions_follow_one_another),
    };

    thread_become_control();
    catalogue_register();
    pc_types_register();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
