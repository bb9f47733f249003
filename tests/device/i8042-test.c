/* i8042-test.c: controller commands, the keyboard's sets and translation, the mouse's protocols. */
#include "hw/isa/ps2.h"
#include "tests/device/device-test.h"
#include "ui/input.h"

extern const DeviceType i8042_type;

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &i8042_type, "kbc", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void cmd(uint8_t c)
{
    bench_out8(b, 0x64, c);
}

static uint8_t status(void)
{
    return bench_in8(b, 0x64);
}

static uint8_t data(void)
{
    return bench_in8(b, 0x60);
}

static void mode(uint8_t m)
{
    cmd(0x60);
    bench_out8(b, 0x60, m);
}

static void mouse(uint8_t c)
{
    cmd(0xd4);
    bench_out8(b, 0x60, c);
}

/* Reads all there is and compares. */
static void expect(const uint8_t *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_true(status() & 1);
        assert_int_equal(data(), bytes[i]);
    }
    assert_false(status() & 1);
}

#define EXPECT(...) expect((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void test_controller(void **state)
{
    assert_int_equal(status(), 0x18);
    cmd(0x20);
    EXPECT(0x03);
    cmd(0xaa);
    assert_int_equal(status(), 0x1d);
    EXPECT(0x55);
    cmd(0xd0);
    EXPECT(0xcf);
    cmd(0xc0);
    EXPECT(0x80);
    cmd(0xab);
    EXPECT(0x00);
    cmd(0xa9);
    EXPECT(0x00);
    cmd(0xd2);
    bench_out8(b, 0x60, 0x77);
    assert_true(bench_irq(b, 1));
    EXPECT(0x77);
    assert_false(bench_irq(b, 1));
    cmd(0xd3);
    bench_out8(b, 0x60, 0x78);
    assert_int_equal(status() & 0x21, 0x21);
    assert_true(bench_irq(b, 12));
    EXPECT(0x78);
}

static void test_reset_line(void **state)
{
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);
    cmd(0xff);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);
    cmd(0xfe);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    cmd(0xd1);
    bench_out8(b, 0x60, 0xcf);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 0);
    cmd(0xd1);
    bench_out8(b, 0x60, 0xce);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    cmd(0xdd);
    cmd(0xd0);
    EXPECT(0xcd);                                  /* A20 off */
}

static void test_keyboard_commands(void **state)
{
    mode(0x61);
    bench_out8(b, 0x60, 0xff);
    assert_true(bench_irq(b, 1));
    EXPECT(0xfa, 0xaa);
    bench_out8(b, 0x60, 0xf2);
    EXPECT(0xfa, 0xab, 0x41);
    bench_out8(b, 0x60, 0xee);
    EXPECT(0xee);
    bench_out8(b, 0x60, 0xed);
    EXPECT(0xfa);
    bench_out8(b, 0x60, 0x05);
    EXPECT(0xfa);
    assert_int_equal(ps2_leds(d), 5);
    bench_out8(b, 0x60, 0xf0);
    EXPECT(0xfa);
    bench_out8(b, 0x60, 0x00);
    EXPECT(0xfa, 0x41);                            /* set 2, translated */
    bench_out8(b, 0x60, 0x01);
    EXPECT(0xfe);
}

/* Every key: set 2 through the controller's table is set 1. */
static void test_translation(void **state)
{
    mode(0x41);
    for (unsigned code = 1; code < 0x80; code++) {
        uint8_t c = (uint8_t)code;

        if (c != 0x54) {
            ps2_key(d, c, true);
            EXPECT(c);
            ps2_key(d, c, false);
            EXPECT(c | 0x80);
        }
        if ((c | 0x80) != 0xb7 && (c | 0x80) != 0xc6) {
            ps2_key(d, c | 0x80, true);
            EXPECT(0xe0, c);
            ps2_key(d, c | 0x80, false);
            EXPECT(0xe0, c | 0x80);
        }
    }
    ps2_key(d, 0xb7, true);
    EXPECT(0xe0, 0x2a, 0xe0, 0x37);
    ps2_key(d, 0xb7, false);
    EXPECT(0xe0, 0xb7, 0xe0, 0xaa);
    ps2_key(d, 0xc6, true);
    EXPECT(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    ps2_key(d, 0xc6, false);
    assert_false(status() & 1);
}

static void rates(uint8_t x, uint8_t y, uint8_t z)
{
    const uint8_t r[3] = { x, y, z };

    for (int i = 0; i < 3; i++) {
        mouse(0xf3);
        EXPECT(0xfa);
        mouse(r[i]);
        EXPECT(0xfa);
    }
}

/* Print Screen and Pause send what belongs to the modifiers that are held. */
static void test_print_and_pause(void **state)
{
    static const struct { uint8_t modifier, key, bytes[4], n; } rows[] = {
        { 0x38, 0xb7, { 0x54, 0xd4 }, 2 }, { 0x38, 0x54, { 0x54, 0xd4 }, 2 },
        { 0xb8, 0xb7, { 0x54, 0xd4 }, 2 },
        { 0x1d, 0x54, { 0xe0, 0x37, 0xe0, 0xb7 }, 4 }, { 0x36, 0xb7, { 0xe0, 0x37, 0xe0, 0xb7 }, 4 },
        { 0x9d, 0xc6, { 0xe0, 0x46, 0xe0, 0xc6 }, 4 },
    };

    mode(0x41);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ps2_key(d, rows[i].modifier, true);
        while (status() & 1) {
            data();
        }
        ps2_key(d, rows[i].key, true);
        ps2_key(d, rows[i].key, false);
        expect(rows[i].bytes, rows[i].n);
        ps2_key(d, rows[i].modifier, false);
        while (status() & 1) {
            data();
        }
    }
    ps2_key(d, 0x54, true);
    EXPECT(0xe0, 0x2a, 0xe0, 0x37);
}

static void send(InputEventKind kind, unsigned code, int value)
{
    input_send(&(Input){ .kind = kind, .code = code, .value = value }, 1);
}

/* What front ends send comes to the keyboard and the mouse. */
static void test_input(void **state)
{
    const Input together[] = {
        { INPUT_EVENT_KIND_REL, INPUT_AXIS_X, 3 }, { INPUT_EVENT_KIND_REL, INPUT_AXIS_Y, 4 },
        { INPUT_EVENT_KIND_BTN, INPUT_BUTTON_LEFT, 1 }, { INPUT_EVENT_KIND_ABS, INPUT_AXIS_X, 99 },
    };

    mode(0x43);
    assert_true(input_takes(INPUT_EVENT_KIND_KEY));
    assert_true(input_takes(INPUT_EVENT_KIND_REL));
    assert_false(input_takes(INPUT_EVENT_KIND_ABS));
    send(INPUT_EVENT_KIND_KEY, Q_KEY_CODE_ALT_R, 1);
    send(INPUT_EVENT_KIND_KEY, Q_KEY_CODE_UNMAPPED, 1);
    send(INPUT_EVENT_KIND_KEY, Q_KEY_CODE_ALT_R, 0);
    EXPECT(0xe0, 0x38, 0xe0, 0xb8);
    mouse(0xf4);
    EXPECT(0xfa);
    input_send(together, 4);
    EXPECT(0x29, 3, 0xfc);
    send(INPUT_EVENT_KIND_BTN, INPUT_BUTTON_RIGHT, 1);
    EXPECT(0x0b, 0, 0);
    send(INPUT_EVENT_KIND_BTN, INPUT_BUTTON_LEFT, 0);
    EXPECT(0x0a, 0, 0);
    send(INPUT_EVENT_KIND_BTN, INPUT_BUTTON_RIGHT, 0);
    EXPECT(0x08, 0, 0);
    send(INPUT_EVENT_KIND_REL, INPUT_AXIS_X, INT32_MIN);
    while (status() & 1) {
        data();
    }
    rates(200, 100, 80);
    mouse(0xf4);
    EXPECT(0xfa);
    send(INPUT_EVENT_KIND_BTN, INPUT_BUTTON_WHEEL_UP, 1);
    EXPECT(0x08, 0, 0, 0xff);
    send(INPUT_EVENT_KIND_BTN, INPUT_BUTTON_WHEEL_UP, 0);
    assert_false(status() & 1);
}

static void set(uint8_t n)
{
    bench_out8(b, 0x60, 0xf0);
    EXPECT(0xfa);
    bench_out8(b, 0x60, n);
    EXPECT(0xfa);
}

static void test_sets(void **state)
{
    mode(0x01);
    ps2_key(d, 0x1e, true);                        /* A */
    EXPECT(0x1c);
    ps2_key(d, 0x1e, false);
    EXPECT(0xf0, 0x1c);
    ps2_key(d, 0xc8, true);                        /* up */
    EXPECT(0xe0, 0x75);
    ps2_key(d, 0xc8, false);
    EXPECT(0xe0, 0xf0, 0x75);
    set(1);
    ps2_key(d, 0x1e, true);
    ps2_key(d, 0x1e, false);
    EXPECT(0x1e, 0x9e);
    set(3);
    ps2_key(d, 0x1d, true);
    ps2_key(d, 0x1d, false);
    EXPECT(0x11, 0xf0, 0x11);
    ps2_key(d, 0x9d, true);
    EXPECT(0x58);
    bench_out8(b, 0x60, 0xf9);                     /* make codes only */
    EXPECT(0xfa);
    ps2_key(d, 0x9d, false);
    assert_false(status() & 1);
}

static void test_keyboard_full(void **state)
{
    for (int i = 0; i < 1000; i++) {
        ps2_key(d, 0x1e, i % 2 == 0);
    }
    unsigned n = 0;
    while (status() & 1) {
        data();
        n++;
    }
    assert_in_range(n, 200, 256);
    bench_out8(b, 0x60, 0xf5);
    EXPECT(0xfa);
    ps2_key(d, 0x1e, true);
    assert_false(status() & 1);                    /* scanning is off */
}

static void test_mouse(void **state)
{
    mode(0x03);
    mouse(0xff);
    assert_int_equal(status() & 0x21, 0x21);
    EXPECT(0xfa, 0xaa, 0x00);
    mouse(0xe9);
    EXPECT(0xfa, 0x00, 0x02, 0x64);
    ps2_mouse(d, 5, 5, 0, 0);
    assert_false(status() & 1);                    /* not reporting yet */
    mouse(0xf4);
    EXPECT(0xfa);
    ps2_mouse(d, 3, 4, 0, PS2_BUTTON_LEFT);
    assert_true(bench_irq(b, 12));
    EXPECT(0x29, 3, 0xfc);                         /* up is positive on the wire */
    ps2_mouse(d, 300, 0, 0, 0);
    EXPECT(0x08, 127, 0, 0x08, 127, 0, 0x08, 46, 0);
    mouse(0xe8);
    EXPECT(0xfa);
    mouse(0x03);
    EXPECT(0xfa);
    mouse(0xe9);
    EXPECT(0xfa, 0x20, 0x03, 0x64);
}

static void test_wheel(void **state)
{
    rates(200, 100, 80);
    mouse(0xf2);
    EXPECT(0xfa, 3);
    mouse(0xf4);
    EXPECT(0xfa);
    ps2_mouse(d, 0, 0, -1, 0);
    EXPECT(0x08, 0, 0, 0xff);
    rates(200, 200, 80);
    mouse(0xf2);
    EXPECT(0xfa, 4);
    ps2_mouse(d, 0, 0, 1, PS2_BUTTON_SIDE | PS2_BUTTON_MIDDLE);
    EXPECT(0x0c, 0, 0, 0x11);
}

/* A guest that does not read loses reports but no way. */
static void test_mouse_sums(void **state)
{
    int x = 0;

    mouse(0xf4);
    EXPECT(0xfa);
    for (int i = 0; i < 500; i++) {
        ps2_mouse(d, 1, 0, 0, 0);
    }
    while (status() & 1) {
        data();
        x += (int8_t)data();
        data();
    }
    assert_int_equal(x, 500);
}

static void test_state(void **state)
{
    mode(0x43);
    ps2_key(d, 0x1e, true);
    ps2_key(d, 0x1e, false);
    mouse(0xf4);
    ps2_mouse(d, 7, 0, 0, 0);
    bench_save_load(b, d);
    assert_true(bench_irq(b, 1));
    EXPECT(0x1e, 0x9e, 0xfa, 0x08, 7, 0);
    bench_reset(b);
    assert_int_equal(status(), 0x18);
    cmd(0x20);
    EXPECT(0x03);
}

RUN_TESTS(TEST(test_controller), TEST(test_reset_line), TEST(test_keyboard_commands),
          TEST(test_translation), TEST(test_print_and_pause), TEST(test_input), TEST(test_sets),
          TEST(test_keyboard_full), TEST(test_mouse), TEST(test_wheel), TEST(test_mouse_sums),
          TEST(test_state))
