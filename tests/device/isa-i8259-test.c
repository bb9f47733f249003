/* isa-i8259-test.c: initialisation, priorities, both EOIs, cascade, level inputs, poll, spurious. */
#include "hw/isa/i8259.h"
#include "tests/device/device-test.h"

static Bench *b;
static Device *d;
static IrqSink *in;
static bool intr;

static void intr_set(IrqSink *s, unsigned pin, bool level)
{
    intr = level;
}

static IrqSink cpu = { .set = intr_set, .pins = 1 };

static void init(uint16_t port, uint8_t base, uint8_t icw3, uint8_t icw4)
{
    bench_out8(b, port, 0x11);
    bench_out8(b, port + 1, base);
    bench_out8(b, port + 1, icw3);
    bench_out8(b, port + 1, icw4);
}

static int setup(void **state)
{
    intr = false;
    b = bench_new();
    d = bench_device(b, &i8259_type, "pic", NULL);
    irq_connect(i8259_intr(d), &cpu, 0);
    in = i8259_inputs(d);
    init(0x20, 0x30, 4, 1);
    init(0xa0, 0x38, 2, 1);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void pulse(unsigned pin)
{
    in->set(in, pin, true);
    in->set(in, pin, false);
}

static void test_priority(void **state)
{
    pulse(4);
    pulse(1);
    assert_true(intr);
    assert_int_equal(bench_in8(b, 0x20), 0x12);    /* IRR */
    assert_int_equal(i8259_ack(d), 0x31);
    assert_false(intr);                            /* 4 waits behind 1 */
    bench_out8(b, 0x20, 0x0b);
    assert_int_equal(bench_in8(b, 0x20), 0x02);    /* ISR */
    pulse(0);
    assert_true(intr);
    assert_int_equal(i8259_ack(d), 0x30);
    bench_out8(b, 0x20, 0x20);
    bench_out8(b, 0x20, 0x20);
    assert_true(intr);
    assert_int_equal(i8259_ack(d), 0x34);
    bench_out8(b, 0x20, 0x64);                     /* specific */
    assert_int_equal(bench_in8(b, 0x20), 0);
}

static void test_mask(void **state)
{
    bench_out8(b, 0x21, 0x10);
    pulse(4);
    assert_false(intr);
    assert_int_equal(bench_in8(b, 0x21), 0x10);
    bench_out8(b, 0x21, 0);
    assert_true(intr);                             /* the edge was kept */
    assert_int_equal(i8259_ack(d), 0x34);
    assert_int_equal(i8259_ack(d), 0x37);          /* spurious, no ISR bit */
    bench_out8(b, 0x20, 0x0b);
    assert_int_equal(bench_in8(b, 0x20), 0x10);
}

static void test_cascade(void **state)
{
    pulse(8);
    pulse(14);
    assert_true(intr);
    assert_int_equal(i8259_ack(d), 0x38);
    assert_false(intr);
    bench_out8(b, 0xa0, 0x20);
    assert_false(intr);                            /* the master's input 2 is in service */
    bench_out8(b, 0x20, 0x20);
    assert_true(intr);
    assert_int_equal(i8259_ack(d), 0x3e);
    bench_out8(b, 0xa0, 0x66);
    bench_out8(b, 0x20, 0x62);
    pulse(9);
    bench_out8(b, 0xa1, 0xff);
    assert_false(intr);
    bench_out8(b, 0xa1, 0);
    bench_out8(b, 0x20, 0x0a);
    assert_int_equal(bench_in8(b, 0x20), 0x04);
}

static void test_level(void **state)
{
    bench_out8(b, 0x4d0, 0xff);
    bench_out8(b, 0x4d1, 0xff);
    assert_int_equal(bench_in8(b, 0x4d0), 0xf8);
    assert_int_equal(bench_in8(b, 0x4d1), 0xde);
    in->set(in, 10, true);
    assert_int_equal(i8259_ack(d), 0x3a);
    bench_out8(b, 0xa0, 0x20);
    bench_out8(b, 0x20, 0x20);
    assert_true(intr);                             /* still high: again */
    in->set(in, 10, false);
    assert_false(intr);
}

static void test_auto_eoi_and_rotation(void **state)
{
    init(0x20, 0x30, 4, 3);
    bench_out8(b, 0x20, 0x80);                     /* rotate in automatic EOI */
    pulse(3);
    assert_int_equal(i8259_ack(d), 0x33);
    bench_out8(b, 0x20, 0x0b);
    assert_int_equal(bench_in8(b, 0x20), 0);
    pulse(3);
    pulse(5);
    assert_int_equal(i8259_ack(d), 0x35);          /* 3 is the lowest now */
    bench_out8(b, 0x20, 0xc7);                     /* set priority: 7 lowest */
    pulse(5);
    assert_int_equal(i8259_ack(d), 0x33);
}

static void test_special_mask(void **state)
{
    pulse(1);
    assert_int_equal(i8259_ack(d), 0x31);
    pulse(4);
    assert_false(intr);
    bench_out8(b, 0x21, 0x02);
    bench_out8(b, 0x20, 0x68);
    assert_true(intr);                             /* a masked one in service stops nobody */
    assert_int_equal(i8259_ack(d), 0x34);
}

static void test_poll(void **state)
{
    bench_out8(b, 0x20, 0x0c);
    assert_int_equal(bench_in8(b, 0x20), 0);
    pulse(6);
    bench_out8(b, 0x20, 0x0c);
    assert_int_equal(bench_in8(b, 0x20), 0x86);
    assert_false(intr);
    bench_out8(b, 0x20, 0x0b);
    assert_int_equal(bench_in8(b, 0x20), 0x40);
}

static void test_state(void **state)
{
    pulse(4);
    pulse(12);
    i8259_ack(d);
    bench_out8(b, 0x21, 0x20);
    bench_save_load(b, d);
    assert_true(intr == false);
    bench_out8(b, 0x20, 0x20);
    assert_true(intr);
    bench_reset(b);
    assert_false(intr);
    assert_int_equal(bench_in8(b, 0x21), 0);
}

RUN_TESTS(TEST(test_priority), TEST(test_mask), TEST(test_cascade), TEST(test_level),
          TEST(test_auto_eoi_and_rotation), TEST(test_special_mask), TEST(test_poll), TEST(test_state))
