/* core-state-test.c: state tables on the wire, and what a hostile stream can do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/conform/toys.h"
#include "tests/device/bench.h"

typedef struct Part {
    uint16_t a;
    bool b;
} Part;

typedef struct Rich {
    Device dev;
    Part parts[3];
    uint32_t words[4];
    bool flag;
    int64_t number;
    GByteArray *blob;
    uint32_t extra, extra_lack;
    bool has_extra;
    DevTimer timer;
    unsigned index;
} Rich;

static bool rich_check(void *obj, Error **errp)
{
    Rich *r = obj;

    return r->words[0] < 100 || error_set(errp, "words[0] is %u", r->words[0]);
}

static bool extra_present(void *obj)
{
    return ((Rich *)obj)->has_extra;
}

static const StateField part_fields[] = { STATE_U16(Part, a), STATE_BOOL(Part, b), { 0 } };
static const StateDesc part_state = { .name = "part", .version = 1, .fields = part_fields };
static const StateField extra_fields[] = { STATE_U32(Rich, extra), { 0 } };
static const StateDesc extra_state = {
    .name = "extra", .version = 3, .fields = extra_fields, .present = extra_present,
};
static const StateDesc *const rich_parts[] = { &extra_state, NULL };
static StateField rich_fields[] = {
    STATE_STRUCTS(Rich, parts, &part_state), STATE_U32_ARRAY(Rich, words), STATE_BOOL(Rich, flag),
    STATE_I64(Rich, number), STATE_BLOB(Rich, blob, 16), STATE_TIMER(Rich, timer),
    STATE_U32(Rich, extra_lack), { 0 },
};
static StateDesc rich_state = {
    .name = "rich", .version = 2, .fields = rich_fields, .parts = rich_parts, .check = rich_check,
};

static void no_fire(Device *d, DevTimer *t)
{
}

static bool rich_realize(Device *d, Error **errp)
{
    dev_timer_init(&((Rich *)d)->timer, d, CLOCK_VM, no_fire);
    return true;
}

static void rich_unrealize(Device *d)
{
    Rich *r = (Rich *)d;

    if (r->blob) {
        g_byte_array_unref(r->blob);
    }
    dev_timer_free(&r->timer);
}

static const DeviceType rich_type = {
    .name = "rich", .summary = "one of each field", .slot = &board_slot, .size = sizeof(Rich),
    .state = &rich_state, .realize = rich_realize, .unrealize = rich_unrealize,
};

typedef struct Fix {
    Bench *b;
    Rich *r;
    GByteArray *saved;
} Fix;

static int setup(void **state)
{
    Fix *f = g_new0(Fix, 1);

    f->b = bench_new();
    f->r = (Rich *)bench_device(f->b, &rich_type, "rich", NULL);
    bench_quiesce(f->b);
    f->r->parts[1] = (Part){ 7, true };
    f->r->words[3] = 0xdeadbeef;
    f->r->number = -5;
    f->r->blob = g_byte_array_new();
    g_byte_array_append(f->r->blob, (const uint8_t *)"hello", 5);
    f->r->has_extra = true;
    f->r->extra = 9;
    domain_enter(f->r->dev.domain);
    dev_timer_set(&f->r->timer, 12345);
    domain_leave(f->r->dev.domain);
    f->saved = g_byte_array_new();
    state_save_tree(&f->r->dev, f->saved);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fix *f = *state;

    rich_state.version = 2;
    rich_fields[6].flags = 0;
    rich_fields[6].name = "extra_lack";
    bench_free(f->b);
    g_byte_array_unref(f->saved);
    g_free(f);
    return 0;
}

static void what_was_saved_is_loaded(void **state)
{
    Fix *f = *state;
    Rich *r = f->r;

    memset(r->parts, 0, sizeof(r->parts));
    memset(r->words, 0, sizeof(r->words));
    r->number = r->extra = 0;
    g_byte_array_set_size(r->blob, 0);
    domain_enter(r->dev.domain);
    dev_timer_stop(&r->timer);
    domain_leave(r->dev.domain);
    assert_true(state_load_tree(&r->dev, f->saved->data, f->saved->len, NULL));
    assert_int_equal(r->parts[1].a, 7);
    assert_true(r->parts[1].b);
    assert_int_equal(r->words[3], 0xdeadbeef);
    assert_int_equal(r->number, -5);
    assert_int_equal(r->extra, 9);
    assert_int_equal(r->blob->len, 5);
    assert_int_equal(r->timer.due, 12345);
    g_autofree char *text = state_print(f->saved->data, f->saved->len, NULL);
    assert_non_null(strstr(text, "/machine/peripheral/rich (rich, version 2)"));
    assert_non_null(strstr(text, "number = -5"));
    assert_non_null(strstr(text, "extra (part, version 3)"));
}

static void refused(Fix *f, const uint8_t *buf, size_t n, const char *words)
{
    Error *e = NULL;

    assert_false(state_load_tree(&f->r->dev, buf, n, &e));
    if (!strstr(error_text(e), words)) {
        fail_msg("\"%s\" does not say \"%s\"", error_text(e), words);
    }
    error_free(e);
}

static void differences_are_named(void **state)
{
    Fix *f = *state;

    f->r->words[0] = 100;
    g_autoptr(GByteArray) bad = g_byte_array_new();
    state_save_tree(&f->r->dev, bad);
    refused(f, bad->data, bad->len, "words[0] is 100");
    rich_state.version = 3;
    refused(f, f->saved->data, f->saved->len, "version 2, this program knows 3");
    rich_state.version = 2;
    refused(f, f->saved->data, 0, "missing");
    g_autoptr(GByteArray) twice = g_byte_array_new();
    g_byte_array_append(twice, f->saved->data, f->saved->len);
    g_byte_array_append(twice, f->saved->data, f->saved->len);
    refused(f, twice->data, twice->len, "twice");
}

static void fields_may_lack_and_be_skipped(void **state)
{
    Fix *f = *state;

    rich_fields[6].name = "renamed";
    refused(f, f->saved->data, f->saved->len, "'extra_lack': not known");
    /* Saved as skippable, and lackable here. */
    rich_fields[6].name = "extra_lack";
    rich_fields[6].flags = ST_MAY_SKIP;
    g_autoptr(GByteArray) skippable = g_byte_array_new();
    state_save_tree(&f->r->dev, skippable);
    rich_fields[6].name = "renamed";
    refused(f, skippable->data, skippable->len, "'renamed': missing");
    rich_fields[6].flags = ST_MAY_LACK;
    assert_true(state_load_tree(&f->r->dev, skippable->data, skippable->len, NULL));
}

/* Every cut and ten thousand corruptions: refused or harmless, never a crash; a stream that loads
 * can be
 * saved again. */
static void hostile_streams(void **state)
{
    Fix *f = *state;
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);

    for (guint n = 0; n < f->saved->len; n++) {
        assert_false(state_load_tree(&f->r->dev, f->saved->data, n, NULL));
        g_free(state_print(f->saved->data, n, NULL));
    }
    for (unsigned i = 0; i < 10000; i++) {
        g_autofree uint8_t *copy = g_memdup2(f->saved->data, f->saved->len);

        for (int k = g_rand_int_range(rand, 1, 4); k > 0; k--) {
            copy[g_rand_int_range(rand, 0, f->saved->len)] = g_rand_int(rand);
        }
        if (state_load_tree(&f->r->dev, copy, f->saved->len, NULL)) {
            assert_true(f->r->words[0] < 100 && f->r->blob->len <= 16);
        }
        g_free(state_print(copy, f->saved->len, NULL));
    }
    f->r->words[0] = 0;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_saved_is_loaded), T(differences_are_named), T(fields_may_lack_and_be_skipped),
        T(hostile_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
