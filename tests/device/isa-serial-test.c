/* isa-serial-test.c: the 16550A: FIFOs, interrupts, loop-back, back-pressure, modem lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "hw/isa/uart16550.h"
#include "tests/device/bench.h"
#include "util/epoch.h"

enum { DATA = 0x3f8, IER, IIR, LCR, MCR, LSR, MSR, SCR };

/* The other end of the line: takes so many bytes, remembers what came. */
typedef struct End {
    CharPort port;
    size_t room;
    GString *got;
    unsigned breaks;
} End;

static size_t end_space(CharPort *p)
{
    return container_of(p, End, port)->room;
}

static void end_bytes(CharPort *p, const uint8_t *buf, size_t n)
{
    End *e = container_of(p, End, port);

    e->room -= n;
    g_string_append_len(e->got, (const char *)buf, n);
}

static void end_event(CharPort *p, CharEvent what)
{
    container_of(p, End, port)->breaks += what == CHAR_BREAK;
}

static const CharPortOps end_ops = { end_space, end_bytes, end_event, NULL };

static Bench *b;
static Device *d;
static End end;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &isa_serial_type, "com1", NULL);
    end = (End){ .room = 1000, .got = g_string_new("") };
    char_port_init(&end.port, &end_ops);
    char_join(&isa_serial_uart(d)->port, &end.port);
    return 0;
}

static int teardown(void **state)
{
    char_part(&end.port);
    g_string_free(end.got, TRUE);
    bench_free(b);
    return 0;
}

static size_t send(const char *text)
{
    epoch_enter();
    size_t n = char_send(&end.port, (const uint8_t *)text, strlen(text));
    epoch_leave();
    return n;
}

static void event(CharEvent what)
{
    epoch_enter();
    char_event(&end.port, what);
    epoch_leave();
}

static void test_identity(void **state)
{
    assert_int_equal(bench_in8(b, IIR), 0x01);
    bench_out8(b, IIR, 0x01);
    assert_int_equal(bench_in8(b, IIR), 0xc1);     /* a 16550A has working FIFOs */
    bench_out8(b, SCR, 0x5a);
    assert_int_equal(bench_in8(b, SCR), 0x5a);
    bench_out8(b, IER, 0xff);
    assert_int_equal(bench_in8(b, IER), 0x0f);
    bench_out8(b, LCR, 0x80);
    bench_out8(b, DATA, 0x34);
    bench_out8(b, IER, 0x12);
    assert_int_equal(bench_in8(b, DATA), 0x34);
    assert_int_equal(bench_in8(b, IER), 0x12);
    assert_int_equal(bench_in8(b, LSR), 0x60);
    assert_int_equal(bench_in8(b, MSR), 0xb0);
}

static void test_transmit(void **state)
{
    bench_out8(b, DATA, 'h');
    bench_out8(b, DATA, 'i');
    assert_string_equal(end.got->str, "hi");
    assert_int_equal(bench_in8(b, LSR), 0x60);
    assert_false(bench_irq(b, 4));
    bench_out8(b, IER, 2);
    assert_true(bench_irq(b, 4));                  /* enabling it while empty asks at once */
    assert_int_equal(bench_in8(b, IIR), 2);
    assert_false(bench_irq(b, 4));                 /* the read took it */
    assert_int_equal(bench_in8(b, IIR), 1);
    bench_out8(b, DATA, '!');
    assert_true(bench_irq(b, 4));
}

static void test_back_pressure(void **state)
{
    bench_out8(b, IIR, 1);
    bench_out8(b, IER, 2);
    bench_in8(b, IIR);
    end.room = 1;
    bench_out8(b, DATA, 'a');
    for (int i = 0; i < 16; i++) {
        bench_out8(b, DATA, 'b' + i);
    }
    assert_int_equal(bench_in8(b, LSR), 0x00);     /* neither THRE nor TEMT: the host is full */
    assert_false(bench_irq(b, 4));
    bench_out8(b, DATA, 'X');                      /* one too many is lost, as on the chip */
    end.room = 100;
    event(CHAR_ROOM);
    assert_string_equal(end.got->str, "abcdefghijklmnopq");
    assert_int_equal(bench_in8(b, LSR), 0x60);
    assert_true(bench_irq(b, 4));
}

static void test_receive(void **state)
{
    bench_out8(b, IER, 1);
    assert_int_equal(send("abc"), 1);              /* no FIFO: one at a time */
    assert_true(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, IIR), 4);
    assert_int_equal(bench_in8(b, LSR), 0x61);
    assert_int_equal(bench_in8(b, DATA), 'a');
    assert_false(bench_irq(b, 4));
    bench_out8(b, IIR, 0x81);                      /* FIFO, trigger 8 */
    assert_int_equal(send("0123456789abcdefghij"), 16);
    assert_true(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, IIR), 0xc4);
    for (int i = 0; i < 9; i++) {
        assert_int_equal(bench_in8(b, DATA), "0123456789"[i]);
    }
    assert_false(bench_irq(b, 4));                 /* seven are left, below the trigger */
    bench_step(b, 10 * NS_PER_MS);
    assert_true(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, IIR), 0xcc);     /* character time-out */
    assert_int_equal(bench_in8(b, DATA), '9');
    assert_int_equal(bench_in8(b, IIR), 0xc1);
    bench_out8(b, IIR, 0x83);
    assert_int_equal(bench_in8(b, LSR), 0x60);
}

static void test_timeout_time(void **state)
{
    bench_out8(b, LCR, 0x83);
    bench_out8(b, DATA, 1);
    bench_out8(b, IER, 0);
    bench_out8(b, LCR, 0x03);                      /* 115200 8N1: 4 * 86.8 us */
    bench_out8(b, IIR, 0xc1);
    bench_out8(b, IER, 1);
    send("x");
    bench_step(b, 340 * NS_PER_US);
    assert_false(bench_irq(b, 4));
    bench_step(b, 10 * NS_PER_US);
    assert_true(bench_irq(b, 4));
}

static void test_loopback(void **state)
{
    bench_out8(b, MCR, 0x1f);
    assert_int_equal(bench_in8(b, MSR) & 0xf0, 0xf0);
    bench_out8(b, MCR, 0x10 | 0x0a);
    assert_int_equal(bench_in8(b, MSR), 0x90 | 0x02 | 0x04);       /* CTS, DCD; DSR fell, RI fell */
    assert_int_equal(bench_in8(b, MSR), 0x90);
    bench_out8(b, DATA, 'q');
    assert_int_equal(end.got->len, 0);
    assert_int_equal(bench_in8(b, LSR), 0x61);
    bench_out8(b, DATA, 'r');
    assert_int_equal(bench_in8(b, LSR), 0x63);     /* overrun */
    assert_int_equal(bench_in8(b, LSR), 0x61);
    assert_int_equal(bench_in8(b, DATA), 'r');
    assert_int_equal(send("z"), 0);                /* the line is cut off */
}

static void test_break(void **state)
{
    bench_out8(b, LCR, 0x43);
    assert_int_equal(end.breaks, 1);
    bench_out8(b, IER, 4);
    event(CHAR_BREAK);
    assert_true(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, IIR), 6);
    assert_int_equal(bench_in8(b, LSR), 0x71);
    assert_false(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, DATA), 0);
}

static void test_places(void **state)
{
    Device *two = bench_device(b, &isa_serial_type, "com2", NULL);
    Error *e = NULL;

    bench_out8(b, 0x2f9, 2);
    assert_true(bench_irq(b, 3));
    bench_device(b, &isa_serial_type, "com3", NULL);
    bench_device(b, &isa_serial_type, "com4", NULL);
    assert_null(bench_try_device(b, &isa_serial_type, "com5", &e, NULL));
    assert_non_null(e);
    error_free(e);
    bench_out8(b, 0x3e9, 2);                       /* COM3 shares interrupt 4 with COM1 */
    bench_out8(b, IER, 2);
    assert_true(bench_irq(b, 4));
    bench_in8(b, IIR);
    assert_true(bench_irq(b, 4));
    bench_in8(b, 0x3ea);
    assert_false(bench_irq(b, 4));
    bench_remove(b, two);
    assert_false(bench_irq(b, 3));
    assert_int_equal(bench_in8(b, 0x2f9), 0xff);
}

static void test_state(void **state)
{
    bench_out8(b, IIR, 0x81);
    bench_out8(b, IER, 5);
    send("state");
    bench_save_load(b, d);
    bench_step(b, 10 * NS_PER_MS);
    assert_true(bench_irq(b, 4));
    assert_int_equal(bench_in8(b, DATA), 's');
    bench_reset(b);
    assert_int_equal(bench_in8(b, LSR), 0x60);
    assert_int_equal(bench_in8(b, IER), 0);
    assert_false(bench_irq(b, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_transmit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timeout_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loopback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_break, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
