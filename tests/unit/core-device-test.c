/* core-device-test.c: the life of devices: creating, naming, properties, timers, stopping,
 * removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/conform/toys.h"
#include "tests/device/bench.h"
#include "util/epoch.h"
#include "util/thread.h"

static int setup(void **state)
{
    *state = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    return 0;
}

static char *text_of(Error *e)
{
    char *text = g_strdup_printf("%s%s%s", error_text(e), error_advice(e) ? " / " : "",
                                 error_advice(e) ? error_advice(e) : "");

    error_free(e);
    return text;
}

static void paths_and_ids(void **state)
{
    Bench *b = *state;
    Error *e = NULL;
    Device *d = bench_device(b, &toy_isa_type, "x", NULL);
    Device *anon = bench_device(b, &toy_isa_type, NULL, "iobase", "0x700", NULL);
    g_autofree char *path = device_path(d), *anon_path = device_path(anon);

    assert_string_equal(path, "/machine/peripheral/x");
    assert_string_equal(anon_path, "/machine/peripheral-anon/device[0]");
    assert_ptr_equal(device_find(b->m->root, "x"), d);
    assert_ptr_equal(device_find(b->m->root, anon_path), anon);
    assert_null(device_find(b->m->root, "/machine/peripheral/y"));
    assert_null(bench_create(b, &toy_isa_type, "x", &e));
    g_autofree char *dup = text_of(e);
    assert_string_equal(dup, "Duplicate device ID 'x'");
    e = NULL;
    assert_null(bench_create(b, &toy_isa_type, "9/x", &e));
    error_free(e);
    e = NULL;
    assert_null(device_create(&toy_isa_type, b->m->root, NULL, NULL, &e));
    g_autofree char *bus = text_of(e);
    assert_string_equal(bus, "Device 'toy-isa' needs a ISA bus");
}

static void properties(void **state)
{
    Bench *b = *state;
    Error *e = NULL;
    Device *d = bench_create(b, &toy_isa_type, "x", NULL);
    g_autofree char *was = device_get(d, "limit");

    assert_string_equal(was, "4096");
    assert_true(device_set(d, "limit", "0x10", NULL));
    assert_true(device_set(d, "mode", "slow", NULL));
    g_autofree char *mode = device_get(d, "mode");
    assert_string_equal(mode, "slow");
    assert_false(device_set(d, "limit", "4097", &e));
    g_autofree char *range = text_of(e);
    assert_string_equal(range, "property 'limit' must be 1 to 4096, not '4097'");
    e = NULL;
    assert_false(device_set(d, "limti", "1", &e));
    g_autofree char *wrong = text_of(e);
    assert_non_null(strstr(wrong, "Property 'toy-isa.limti' not found"));
    assert_non_null(strstr(wrong, "'limit'"));
    assert_true(device_realize(d, NULL));
    assert_false(device_set(d, "limit", "5", NULL));
    assert_null(device_get(d, "nothing"));
}

static void failed_realize_leaves_nothing(void **state)
{
    Bench *b = *state;
    Error *e = NULL;
    g_autofree char *before = space_dump(b->m->io);

    assert_null(bench_try_device(b, &toy_isa_type, "x", &e, "label", "refuse", NULL));
    error_free(e);
    g_autofree char *after = space_dump(b->m->io);
    assert_string_equal(before, after);
    assert_null(device_find(b->m->root, "x"));
    assert_non_null(bench_device(b, &toy_isa_type, "x", NULL));
}

static void timers_and_interrupts(void **state)
{
    Bench *b = *state;

    bench_device(b, &toy_isa_type, "x", NULL);
    bench_out32(b, 0x608, 100);
    assert_int_equal(bench_in32(b, 0x608), 1);
    bench_step(b, 99 * NS_PER_US);
    assert_false(bench_irq(b, 5));
    bench_step(b, NS_PER_US);
    assert_true(bench_irq(b, 5));
    assert_int_equal(bench_in32(b, 0x608), 0);
    bench_out32(b, 0x60c, 1);
    assert_false(bench_irq(b, 5));
    /* A timer due while the machine stands waits for resume. */
    bench_out32(b, 0x608, 10);
    bench_quiesce(b);
    bench_step(b, NS_PER_MS);
    assert_false(bench_irq(b, 5));
    bench_resume(b);
    bench_step(b, 0);
    assert_true(bench_irq(b, 5));
}

static void dma_work_comes_home(void **state)
{
    Bench *b = *state;

    bench_device(b, &toy_isa_type, "x", NULL);
    bench_out32(b, 0x600, 0x5a);
    bench_out32(b, 0x610, 0x4000);
    bench_out32(b, 0x614, 100);
    assert_int_equal(*bench_ram(b, 0x4000, 1), 0);
    bench_quiesce(b);
    assert_int_equal(*bench_ram(b, 0x4063, 1), 0x5a);
    /* What is asked for while it stands is begun by resume. */
    bench_out32(b, 0x610, 0x5000);
    bench_out32(b, 0x614, 1);
    bench_run(b);
    assert_int_equal(*bench_ram(b, 0x5000, 1), 0);
    bench_resume(b);
    assert_int_equal(*bench_ram(b, 0x5000, 1), 0x5a);
}

static void reset_and_state(void **state)
{
    Bench *b = *state;
    Device *d = bench_device(b, &toy_isa_type, "x", NULL);
    Error *e = NULL;

    bench_out32(b, 0x600, 0x1234);
    bench_out32(b, 0x604, 0);
    bench_out32(b, 0x608, 1000);
    bench_save_load(b, d);
    g_autoptr(GByteArray) saved = bench_save(b, d);
    bench_reset(b);
    assert_int_equal(bench_in32(b, 0x600), 0);
    assert_int_equal(b->vcpu_resets, 2);
    assert_true(bench_load(b, d, saved, &e));
    assert_int_equal(bench_in32(b, 0x600), 0x1234);
    assert_int_equal(bench_in32(b, 0x604), 1);
    bench_step(b, NS_PER_MS);
    assert_true(bench_irq(b, 5));
}

static char deleted[256];

static void note_deleted(const char *id, const char *path)
{
    g_snprintf(deleted, sizeof(deleted), "%s %s", id ? id : "-", path);
}

static void removal(void **state)
{
    static const MachineListener listener = { .device_deleted = note_deleted };
    Bench *b = *state;
    Device *d = bench_device(b, &toy_isa_type, "x", NULL);
    Device *p = bench_device(b, &toy_pci_type, "p", NULL);

    machine_set_listener(&listener);
    bench_out32(b, 0x614, 64);
    bench_out32(b, 0x608, 1);
    bench_remove(b, d);
    assert_string_equal(deleted, "x /machine/peripheral/x");
    assert_int_equal(bench_in32(b, 0x600), 0xffffffff);
    assert_null(device_find(b->m->root, "x"));
    bench_step(b, NS_PER_SEC);
    assert_false(bench_irq(b, 5));
    assert_non_null(bench_device(b, &toy_isa_type, "x", NULL));
    /* In a machine that stands, and twice at once. */
    bench_quiesce(b);
    device_remove(p, NULL);
    bench_remove(b, p);
    assert_null(device_find(b->m->root, "p"));
    bench_resume(b);
}

/* --- the machine --- */

typedef struct Asked {
    Post post;
    unsigned *order;
    unsigned at;
    bool go_on;
} Asked;

static void on_asked(Post *p)
{
    Asked *a = (Asked *)p;

    assert_true(machine_quiesced());
    a->at = ++*a->order;
    if (a->go_on) {
        machine_resume();
    }
}

static void quiesce_asked_twice(void **state)
{
    Bench *b = *state;
    unsigned order = 0;
    Asked first = { .post.run = on_asked, .order = &order, .go_on = true };
    Asked second = { .post.run = on_asked, .order = &order };

    bench_device(b, &toy_isa_type, "x", NULL);
    bench_out32(b, 0x614, 64);
    machine_quiesce(&first.post);
    machine_quiesce(&second.post);
    bench_run(b);
    assert_int_equal(first.at, 1);
    assert_int_equal(second.at, 2);
    assert_true(machine_quiesced());
    bench_resume(b);
    assert_false(machine_quiesced());
}

static void requests_do_not_pile_up(void **state)
{
    Bench *b = *state;

    for (unsigned i = 0; i < 100000; i++) {
        machine_request(REQUEST_RESET, i, "port 0xcf9");
        machine_request(REQUEST_POWEROFF, 0, NULL);
    }
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    assert_int_equal(b->request_detail[REQUEST_RESET], 0);
    machine_request(REQUEST_RESET, 7, "again");
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    assert_int_equal(b->request_detail[REQUEST_RESET], 7);
}

static unsigned deferred_calls;
static uintptr_t deferred_sum;

static void on_deferred(Device *d, uintptr_t arg)
{
    deferred_calls++;
    deferred_sum += arg;
}

static void deferred_calls_are_bounded(void **state)
{
    Bench *b = *state;
    Device *d = bench_device(b, &toy_isa_type, "x", NULL);

    deferred_calls = 0;
    for (unsigned i = 0; i < 1000; i++) {
        machine_defer(d, on_deferred, 1);
    }
    bench_run(b);
    assert_int_equal(deferred_calls, 1);
    for (unsigned i = 0; i < 1000; i++) {
        machine_defer(d, on_deferred, i);
    }
    bench_run(b);
    assert_int_equal(deferred_calls, 1 + 64);
    /* Not for a device that goes. */
    machine_defer(d, on_deferred, 1);
    bench_remove(b, d);
    assert_int_equal(deferred_calls, 1 + 64);
}

static void boot_order(void **state)
{
    Bench *b = *state;
    Device *x = bench_device(b, &toy_isa_type, "x", NULL);
    Device *p = bench_device(b, &toy_pci_type, "p", NULL);

    assert_true(machine_bootindex(b->m, x, 5, NULL));
    assert_false(machine_bootindex(b->m, p, 5, NULL));
    assert_true(machine_bootindex(b->m, p, 2, NULL));
    assert_ptr_equal(b->m->boot_devices->pdata[0], p);
    bench_remove(b, p);
    assert_int_equal(b->m->boot_devices->len, 1);
    assert_true(machine_bootindex(b->m, x, -1, NULL));
    assert_int_equal(b->m->boot_devices->len, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(paths_and_ids), T(properties), T(failed_realize_leaves_nothing), T(timers_and_interrupts),
        T(dma_work_comes_home), T(reset_and_state), T(removal), T(quiesce_asked_twice),
        T(requests_do_not_pile_up), T(deferred_calls_are_bounded), T(boot_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
