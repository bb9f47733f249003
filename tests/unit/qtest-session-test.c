/* qtest-session-test.c: the qtest protocol, byte for byte, on a machine with one device.
 *
 * The answers expected here were observed on QEMU 7.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>
#include "accel/qtest/qtest.h"
#include "core/clock.h"
#include "util/bytes.h"
#include "util/thread.h"

typedef struct Chip {
    Device dev;
    Region pio, mmio;
    uint64_t reg;
    IrqLine out[2];
    IrqSink in;
    unsigned in_calls;
    DevTimer timer;
} Chip;

static Machine *m;
static Loop *loop;
static RamBlock *ram;
static Region ram_region;
static Chip *chip;
static QtestSession *s;
static GString *got;
static unsigned sink_levels;

static uint64_t chip_read(void *dev, uint64_t off, unsigned size)
{
    return ((Chip *)dev)->reg >> 8 * off;
}

/* Register 0: bits 0 and 1 are the output lines. */
static void chip_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    Chip *c = dev;

    c->reg = val;
    irq_set(&c->out[0], val & 1);
    irq_set(&c->out[1], val & 2);
}

static const RegionOps chip_ops = { .read = chip_read, .write = chip_write, .min = 1, .max = 8 };

static void board_set(IrqSink *sink, unsigned pin, bool level)
{
    sink_levels = level ? sink_levels | 1u << pin : sink_levels & ~(1u << pin);
}

static void chip_in(IrqSink *sink, unsigned pin, bool level)
{
    container_of(sink, Chip, in)->in_calls++;
}

static void chip_fire(Device *d, DevTimer *t)
{
    irq_set(&((Chip *)d)->out[1], true);
}

static IrqSink board = { .set = board_set, .pins = 24 };

static bool chip_realize(Device *d, Error **errp)
{
    Chip *c = (Chip *)d;

    region_io(&c->pio, d, "ports", &chip_ops, 8);
    region_io(&c->mmio, d, "registers", &chip_ops, 8);
    map_put_one(&d->machine->io_root, &c->pio, 0x100, 0);
    map_put_one(&d->machine->mem_root, &c->mmio, 0xfed00000, 0);
    irq_line_init(&c->out[0], d, "zero");
    irq_line_init(&c->out[1], d, "one");
    irq_connect(&c->out[0], &board, 4);
    irq_connect(&c->out[1], &board, 5);
    c->in = (IrqSink){ .set = chip_in, .pins = 8 };
    d->inputs = &c->in;
    dev_timer_init(&c->timer, d, CLOCK_VM, chip_fire);
    return true;
}

static void chip_unrealize(Device *d)
{
    Chip *c = (Chip *)d;

    map_drop_one(&c->pio);
    map_drop_one(&c->mmio);
    region_free(&c->pio);
    region_free(&c->mmio);
    dev_timer_free(&c->timer);
}

static const DeviceType chip_type = {
    .name = "chip", .summary = "for tests", .slot = &board_slot, .size = sizeof(Chip),
    .flags = DEV_INTERNAL | DEV_STATELESS, .realize = chip_realize, .unrealize = chip_unrealize,
};
static const MachineType test_type = { .name = "test", .desc = "for tests", .max_cpus = 1 };

static void on_send(void *arg, const char *text, size_t n)
{
    g_string_append_len(got, text, n);
}

static int set_up(void **state)
{
    thread_become_control();
    accel_set(&qtest_accel);
    loop = loop_new("test", THREAD_LOOP, NULL);
    m = machine_new(&test_type, loop, NULL);
    if (!qtest_accel.vm_open(m, NULL)) {
        return -1;
    }
    ram = ram_new_anon("ram", MiB, NULL);
    region_ram(&ram_region, NULL, "ram", ram, 0, MiB);
    map_put_one(&m->mem_root, &ram_region, 0, 0);
    chip = (Chip *)device_make(&chip_type, m->root, NULL, "chip0", NULL, NULL);
    machine_reset(RESET_POWER);
    machine_resume();
    got = g_string_new(NULL);
    s = qtest_session_new(m, on_send, NULL);
    qtest_opened(s);
    sink_levels = 0;
    return 0;
}

static int tear_down(void **state)
{
    qtest_closed(s);
    qtest_session_free(s);
    qtest_accel.vm_close(m);
    map_drop_one(&ram_region);
    machine_free(m);
    ram_free(ram);
    loop_free(loop);
    accel_set(NULL);
    g_string_free(got, TRUE);
    return 0;
}

static void assert_answers(const char *command, const char *want)
{
    g_autofree char *line = g_strconcat(command, "\n", NULL);

    g_string_truncate(got, 0);
    qtest_bytes(s, line, strlen(line));
    assert_string_equal(got->str, want);
}

static void test_registers(void **state)
{
    assert_answers("endianness", "OK little\n");
    assert_answers("outb 0x100 0x112", "OK\n");
    assert_answers("inb 0x100", "OK 0x0012\n");
    assert_answers("inw 256", "OK 0x0012\n");
    assert_answers("outl 0x100 0xdeadbeec", "OK\n");
    assert_answers("inl 0x100", "OK 0xdeadbeec\n");
    assert_answers("inb 0x70", "OK 0x00ff\n");
    assert_answers("writeq 0xfed00000 0x1122334455667788", "OK\n");
    assert_answers("readq 0xfed00000", "OK 0x1122334455667788\n");
    assert_answers("readl 0xfed00004", "OK 0x0000000011223344\n");
    assert_answers("readb 0xfed00000 extra", "OK 0x0000000000000088\n");
}

static void test_memory(void **state)
{
    assert_answers("writeq 0x1000 0x1122334455667788", "OK\n");
    assert_answers("readw 0x1000", "OK 0x0000000000007788\n");
    assert_answers("read 0x1000 8", "OK 0x8877665544332211\n");
    assert_answers("write 0x1000 4 0x01020304", "OK\n");
    assert_answers("read 0x1000 0x8", "OK 0x0102030444332211\n");
    assert_answers("write 0x1000 8 0x0102", "OK\n");
    assert_answers("read 0x1000 8", "OK 0x0102000000000000\n");
    assert_answers("write 0x1000 2 0x01020304", "OK\n");
    assert_answers("b64read 0x1000 8", "OK AQIAAAAAAAA=\n");
    assert_answers("b64write 0x1000 4 AAECAw==", "OK\n");
    assert_answers("read 0x1000 4", "OK 0x00010203\n");
    assert_answers("memset 0x1000 3 0xa5", "OK\n");
    assert_answers("read 0x1000 4", "OK 0xa5a5a503\n");
    assert_answers("memset 0x1000 0 0xff", "OK\n");
    assert_answers("write 0x1000 4 zz", "ERR invalid argument size\n");
    assert_answers("write 0x1000 4 0x0102zz", "OK\n");
    assert_answers("read 0x1000 4", "OK 0x0102ff00\n");
    assert_answers("read 0x1000 4\r", "OK 0x0102ff00\n");
}

static void test_malformed(void **state)
{
    assert_answers("bogus", "FAIL Unknown command 'bogus'\n");
    assert_answers(" inb 0x70", "FAIL Unknown command ''\n");
    assert_answers("module_load hw- foo", "FAIL\n");
    const char *const bad[] = {
        "inb", "inb zz", "inb 0x10000", "outb 0x70", "read 0x1000", "read 0x1000 0xffffffffffff",
        "memset 0 4",
        "write 0 4", "clock_set", "clock_set -1", "clock_step x", "set_irq_in chip0 x 99 1",
        "irq_intercept_in",
        "irq_intercept_in nothing", "set_irq_in nothing x 0 1", "set_irq_in chip0", "memset 0 4 zz",
        "b64read 0 0x10000000000000000",
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autofree char *line = g_strconcat(bad[i], "\n", NULL);

        g_string_truncate(got, 0);
        qtest_bytes(s, line, strlen(line));
        if (strncmp(got->str, "FAIL ", 5) != 0 || got->str[got->len - 1] != '\n') {
            fail_msg("'%s' gives '%s'", bad[i], got->str);
        }
    }
    assert_answers("", "");
}

static void test_pieces_and_long_lines(void **state)
{
    g_autofree char *junk = g_malloc(MiB);

    qtest_bytes(s, "in", 2);
    qtest_bytes(s, "b 0x70\ninb 0x7", 14);
    qtest_bytes(s, "1\nendia", 7);
    assert_string_equal(got->str, "OK 0x00ff\nOK 0x00ff\n");
    g_string_truncate(got, 0);
    memset(junk, 'x', MiB);
    for (unsigned i = 0; i < 20; i++) {
        qtest_bytes(s, junk, MiB);
    }
    qtest_bytes(s, "\nendianness\n", 12);
    assert_string_equal(got->str, "FAIL Line too long\nOK little\n");
}

static void test_clock(void **state)
{
    assert_answers("clock_set 1000000", "OK 1000000\n");
    assert_answers("clock_set 5", "OK 1000000\n");
    assert_answers("clock_step 500", "OK 1000500\n");
    domain_enter(chip->dev.domain);
    dev_timer_set(&chip->timer, 2000000);
    domain_leave(chip->dev.domain);
    assert_answers("clock_step", "OK 2000000\n");
    assert_int_equal(sink_levels, 1u << 5);
}

static void test_intercept_out(void **state)
{
    assert_answers("irq_intercept_out chip0", "OK\n");
    assert_answers("irq_intercept_out chip0", "OK\n");
    assert_answers("irq_intercept_in /machine", "FAIL IRQ intercept already enabled\n");
    assert_answers("outb 0x100 1", "IRQ raise 0\nOK\n");
    assert_answers("outb 0x100 1", "OK\n");
    assert_answers("outb 0x100 2", "IRQ lower 0\nIRQ raise 1\nOK\n");
    assert_int_equal(sink_levels, 1u << 5);                 /* the board sees them too */
    assert_answers("outb 0x100 0", "IRQ lower 1\nOK\n");
    /* From another thread, in time: before the answer to what caused it. */
    domain_enter(chip->dev.domain);
    dev_timer_set(&chip->timer, clock_now(CLOCK_VM) + 100);
    domain_leave(chip->dev.domain);
    g_string_truncate(got, 0);
    qtest_bytes(s, "clock_step\n", 11);
    assert_true(g_str_has_prefix(got->str, "IRQ raise 1\nOK "));
}

static void test_intercept_in(void **state)
{
    assert_answers("irq_intercept_in chip", "OK\n");       /* by the type's name */
    assert_answers("set_irq_in chip0 unnamed-gpio-in 5 1", "IRQ raise 5\nOK\n");
    assert_answers("set_irq_in chip0 unnamed-gpio-in 5 2", "OK\n");
    assert_answers("set_irq_in chip0 unnamed-gpio-in 5 0", "IRQ lower 5\nOK\n");
    assert_int_equal(chip->in_calls, 3);
}

static void nothing(void *arg)
{
}

static void test_message_by_notifier(void **state)
{
    MsiMsg msg = { .addr = 0x3000, .data = 0x1234 };
    Notifier n;
    int route = -1;

    msi_send(&msg);
    assert_answers("readl 0x3000", "OK 0x0000000000001234\n");
    assert_true(notifier_open(&n, NULL));
    msg.addr = 0x3008;
    assert_true(msi_attach(&route, &msg, &n, NULL));
    notifier_signal(&n);
    while (ld32(ram->host + 0x3008) == 0) {
        loop_control_iterate(true);
    }
    assert_answers("readl 0x3008", "OK 0x0000000000001234\n");
    msi_detach(&route, &n);
    loop_call_wait(loop_control(), nothing, NULL);
    loop_control_iterate(false);
    notifier_close(&n);
}

static void test_log(void **state)
{
    char path[] = "/tmp/qtest-log-XXXXXX";
    g_autofree char *text = NULL;

    close(mkstemp(path));
    assert_true(qtest_log(s, path, NULL));
    qtest_closed(s);
    qtest_opened(s);
    assert_answers("inb 0x70", "OK 0x00ff\n");
    qtest_closed(s);
    assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    assert_int_equal(g_strv_length(lines), 6);
    assert_string_equal(lines[1], "[I 0.000000] OPENED");
    assert_true(g_str_has_prefix(lines[2], "[R +0.") && g_str_has_suffix(lines[2], "] inb 0x70"));
    assert_true(g_str_has_prefix(lines[3], "[S +0.") && g_str_has_suffix(lines[3], "] OK 0x00ff"));
    assert_true(g_str_has_suffix(lines[4], "] CLOSED"));
    unlink(path);
    assert_false(qtest_log(s, "/nonexistent/log", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_registers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pieces_and_long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_clock, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_intercept_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_intercept_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_message_by_notifier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_log, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
