/* cfi.pflash01-test.c: the flash chip: firmware's probe, programming, erasing, what reaches the
 * file. */
#include "tests/device/ide-helper.h"

#include "hw/storage/pflash.h"

#define CODE_SIZE (256 * KiB)
#define VARS_SIZE (64 * KiB)
#define CODE (4 * GiB - CODE_SIZE)
#define VARS (CODE - VARS_SIZE)

static TestMedium code, vars;

static int setup_with(void **state, const CompatProp *globals, bool smm)
{
    Bench *b = bench_new();

    b->m->globals = globals;
    if (smm) {
        machine_add_smm(b->m);
    }

    code = medium_new("code", CODE_SIZE, true);
    vars = medium_new("vars", VARS_SIZE, false);
    b->m->cfg.pflash[0] = (char *)"code";
    b->m->cfg.pflash[1] = (char *)"vars";
    Error *e = NULL;
    if (!pflash_make(b->m, &b->m->mem_root, &e)) {
        fail_msg("%s", error_text(e));
    }
    *state = b;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, NULL, false);
}

static const CompatProp secure[] = { { "cfi.pflash01", "secure", "on" }, { 0 } };

static int setup_secure(void **state)
{
    return setup_with(state, secure, true);
}

static int setup_closed(void **state)
{
    return setup_with(state, secure, false);
}

static int teardown(void **state)
{
    Bench *b = *state;

    bench_quiesce(b);
    for (unsigned i = 0; i < 2; i++) {
        Device *d = device_find(b->m->root, i ? "system.flash1" : "system.flash0");
        if (d) {
            device_destroy(d);
        }
    }
    bench_resume(b);
    bench_free(b);
    medium_free(&code);
    medium_free(&vars);
    return 0;
}

static void mapped(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_read32(b, CODE + 16), 4);
    assert_int_equal(bench_read32(b, 4 * GiB - 4), CODE_SIZE / 4 - 1);
    assert_int_equal(bench_read32(b, VARS), 0);
    assert_int_equal(bench_read32(b, VARS + VARS_SIZE - 4), VARS_SIZE / 4 - 1);
    /* RAM, not registers: the accelerator has a read-only slot for it. */
    assert_non_null(bench_slot_at(b, VARS));
    bench_write8(b, VARS, 0x70);
    assert_null(bench_slot_at(b, VARS));
    bench_write8(b, VARS, 0xff);
    assert_non_null(bench_slot_at(b, VARS));
}

/* How OVMF tells flash from RAM and ROM. */
static void probed(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_read8(b, VARS + 8), 2);
    bench_write8(b, VARS + 8, 0x50);
    bench_write8(b, VARS + 8, 0x70);
    assert_int_equal(bench_read8(b, VARS + 8), 0x00);
    bench_write8(b, VARS + 8, 0xff);
    assert_int_equal(bench_read8(b, VARS + 8), 2);
    bench_write8(b, VARS + 0x55, 0x98);
    assert_int_equal(bench_read8(b, VARS + 0x10), 'Q');
    assert_int_equal(bench_read8(b, VARS + 0x11), 'R');
    assert_int_equal(bench_read8(b, VARS + 0x12), 'Y');
    assert_int_equal(bench_read8(b, VARS + 0x27), 16);
    assert_int_equal(bench_read16(b, VARS + 0x2d), VARS_SIZE / 4096 - 1);
    assert_int_equal(bench_read16(b, VARS + 0x2f), 16);
    bench_write8(b, VARS, 0xff);
    bench_write8(b, VARS, 0x90);
    assert_int_equal(bench_read8(b, VARS), 0x89);
    assert_int_equal(bench_read8(b, VARS + 1), 0x18);
    bench_write8(b, VARS, 0xff);
}

static void erase(Bench *b, Gpa at)
{
    bench_write8(b, at, 0x20);
    bench_write8(b, at, 0xd0);
}

static void programmed(void **state)
{
    Bench *b = *state;

    erase(b, VARS + 0x1234);
    assert_int_equal(bench_read8(b, VARS), 0x80);
    for (unsigned i = 0; i < 16; i++) {
        bench_write8(b, VARS + 0x1000 + i, 0x10);
        bench_write8(b, VARS + 0x1000 + i, (uint8_t)(i | 0xa0));
    }
    bench_write8(b, VARS, 0xff);
    assert_int_equal(bench_read32(b, VARS + 0x1000), 0xa3a2a1a0);
    assert_int_equal(bench_read32(b, VARS + 0x1ffc), 0xffffffff);
    assert_int_equal(bench_read32(b, VARS + 0x2000), 0x800);
    /* Programming only clears bits. */
    bench_write8(b, VARS + 0x1000, 0x40);
    bench_write8(b, VARS + 0x1000, 0x5f);
    bench_write8(b, VARS, 0xff);
    assert_int_equal(bench_read8(b, VARS + 0x1000), 0x00);
    /* Once the machine stands everything is in the file. */
    bench_quiesce(b);
    assert_int_equal(medium_word(&vars, 0x1000), 0xa3a2a100);
    assert_int_equal(medium_word(&vars, 0x1100), 0xffffffff);
    assert_int_equal(medium_word(&vars, 0x0ffc), 0x3ff);
    assert_int_equal(medium_word(&vars, 0x2000), 0x800);
    bench_resume(b);
}

static void buffered(void **state)
{
    Bench *b = *state;

    erase(b, VARS);
    bench_write8(b, VARS + 0x100, 0xe8);
    assert_int_equal(bench_read8(b, VARS + 0x100), 0x80);
    bench_write8(b, VARS + 0x100, 3);
    for (unsigned i = 0; i < 4; i++) {
        bench_write8(b, VARS + 0x110 + i, (uint8_t)(i + 1));
    }
    bench_write8(b, VARS + 0x100, 0xd0);
    assert_int_equal(bench_read8(b, VARS + 0x100), 0x80);
    bench_write8(b, VARS, 0xff);
    assert_int_equal(bench_read32(b, VARS + 0x110), 0x04030201);
    /* Data outside of the buffer's block, and no confirmation: errors, nothing changes. */
    bench_write8(b, VARS + 0x100, 0xe8);
    bench_write8(b, VARS + 0x100, 0);
    bench_write8(b, VARS + 0x300, 0);
    assert_int_equal(bench_read8(b, VARS) & 0x30, 0x30);
    bench_write8(b, VARS, 0xff);
    bench_write8(b, VARS + 0x3000, 0x20);
    bench_write8(b, VARS + 0x3000, 0x11);
    assert_int_equal(bench_read8(b, VARS) & 0x30, 0x30);
    bench_write8(b, VARS, 0xff);
    assert_int_equal(bench_read32(b, VARS + 0x300), 0xffffffff);
    assert_int_equal(bench_read32(b, VARS + 0x3000), 0xc00);
}

static void read_only(void **state)
{
    Bench *b = *state;

    bench_write8(b, CODE, 0x50);
    erase(b, CODE);
    assert_int_equal(bench_read8(b, CODE), 0xa2);
    bench_write8(b, CODE, 0x10);
    bench_write8(b, CODE, 0x00);
    assert_int_equal(bench_read8(b, CODE), 0xb2);
    bench_write8(b, CODE, 0xff);
    assert_int_equal(bench_read32(b, CODE + 4), 1);
}

static void saved(void **state)
{
    Bench *b = *state;
    Device *d = device_find(b->m->root, "system.flash1");

    bench_write8(b, VARS + 0x40, 0x10);
    bench_save_load(b, d);
    bench_write8(b, VARS + 0x40, 0x00);
    bench_write8(b, VARS, 0xff);
    assert_int_equal(bench_read32(b, VARS + 0x40), 0x00);
    bench_write8(b, VARS, 0x70);
    bench_reset(b);
    assert_int_equal(bench_read8(b, VARS + 8), 2);
}

static void hostile(void **state)
{
    Bench *b = *state;
    g_autoptr(GRand) r = g_rand_new_with_seed(5);
    static const uint8_t codes[] = { 0x10, 0x20, 0x40, 0x50, 0x60, 0x70,
                                     0x90, 0x98, 0xd0, 0xe8, 0xff, 0x00 };

    for (unsigned i = 0; i < 20000; i++) {
        Gpa at = (g_rand_int(r) & 1 ? VARS : CODE) + g_rand_int(r) % VARS_SIZE;
        uint8_t val = g_rand_int(r) & 3 ? codes[g_rand_int_range(r, 0, sizeof(codes))]
                                        : (uint8_t)g_rand_int(r);

        switch (g_rand_int(r) & 3) {
        case 0:
            bench_write32(b, at & ~3u, val | val << 8);
            break;
        case 1:
            bench_read64(b, at & ~7u);
            break;
        default:
            bench_write8(b, at, val);
            break;
        }
        if (i % 64 == 0) {
            loop_control_iterate(false);
        }
    }
    bench_quiesce(b);
    Device *d = device_find(b->m->root, "system.flash1");
    bench_resume(b);
    bench_save_load(b, d);
    bench_reset(b);
    bench_quiesce(b);
    for (unsigned i = 0; i < VARS_SIZE; i += 4) {
        assert_int_equal(medium_word(&vars, i), bench_read32(b, VARS + i));
    }
    bench_resume(b);
}

static uint8_t in_smm(Bench *b, Gpa at)
{
    uint8_t v;

    space_read(b->m->smm, at, &v, 1);
    return v;
}

static void write_in_smm(Bench *b, Gpa at, uint8_t v)
{
    space_write(b->m->smm, at, &v, 1);
}

/* secure=on: commands are taken in SMM, where they show; everybody else sees the array all the time. */
static void commands_in_smm(void **state)
{
    Bench *b = *state;

    bench_write8(b, VARS + 8, 0x70);
    assert_int_equal(bench_read8(b, VARS + 8), 2);
    erase(b, VARS);
    assert_int_equal(bench_read8(b, VARS + 8), 2);
    assert_int_equal(in_smm(b, VARS + 8), 2);
    write_in_smm(b, VARS + 8, 0x20);
    write_in_smm(b, VARS + 8, 0xd0);
    assert_int_equal(in_smm(b, VARS + 8), 0x80);
    assert_int_equal(bench_read8(b, VARS + 8), 0xff);
    assert_non_null(bench_slot_at(b, VARS));
    write_in_smm(b, VARS + 8, 0x10);
    write_in_smm(b, VARS + 8, 0x5a);
    write_in_smm(b, VARS + 8, 0xff);
    assert_int_equal(in_smm(b, VARS + 8), 0x5a);
    assert_int_equal(bench_read8(b, VARS + 8), 0x5a);
    bench_save_load(b, device_find(b->m->root, "system.flash1"));
}

/* Without the mode nobody may. */
static void closed(void **state)
{
    Bench *b = *state;

    erase(b, VARS);
    assert_int_equal(bench_read8(b, VARS + 8), 2);
}

static void sizes(void **state)
{
    Bench *b = *state;
    TestMedium odd = medium_new("odd", 5120, true), again = medium_new("big", 8 * MiB + 4096, true);
    Error *e = NULL;

    b->m->cfg.pflash[0] = (char *)"odd";
    assert_false(pflash_make(b->m, &b->m->mem_root, &e));
    g_clear_pointer(&e, error_free);
    assert_null(device_make(&cfi_pflash01_type, b->m->root, NULL, "x", &e, "drive", "big", NULL));
    g_clear_pointer(&e, error_free);
    assert_null(device_make(&cfi_pflash01_type, b->m->root, NULL, "x", &e, NULL));
    g_clear_pointer(&e, error_free);
    medium_free(&odd);
    medium_free(&again);
}

RUN_TESTS(TEST(mapped), TEST(probed), TEST(programmed), TEST(buffered), TEST(read_only),
          TEST(saved), TEST(hostile), TEST(sizes), WITH(commands_in_smm, setup_secure),
          WITH(closed, setup_closed))
