/* isa-debugcon-test.c: bytes reach the host side; the port reads as its signature. */
#include "chardev/char.h"
#include "tests/device/device-test.h"

extern const DeviceType isa_debugcon_type;

static Bench *b;

static void *find(const char *id, Error **errp)
{
    return chardev_need(id, errp);
}

static const char *id_of(void *target)
{
    return chardev_id(target);
}

static const LinkClass link_class = { .name = "chardev", .find = find, .id_of = id_of };

static int setup(void **state)
{
    b = bench_new();
    link_class_register(&link_class);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void test_console(void **state)
{
    g_autoptr(ChardevConfig) cfg = NULL;
    g_autofree char *existing = NULL;
    Error *e = NULL;
    uint8_t got[8];

    assert_int_equal(chardev_parse_short("ringbuf", "ring", &cfg, &existing, NULL), CHARDEV_SHORT_NEW);
    Chardev *c = chardev_new(cfg, NULL);
    assert_non_null(c);
    Device *d = bench_device(b, &isa_debugcon_type, "dbg", "chardev", "ring", NULL);
    assert_int_equal(bench_in8(b, 0xe9), 0xe9);
    bench_out8(b, 0xe9, 'h');
    bench_out8(b, 0xe9, 'i');
    assert_int_equal(chardev_ringbuf_read(c, got, 8, NULL), 2);
    assert_memory_equal(got, "hi", 2);
    bench_remove(b, d);
    assert_int_equal(bench_in8(b, 0xe9), 0xff);
    d = bench_device(b, &isa_debugcon_type, "dbg2", "chardev", "ring", "iobase", "0x402", "readback", "0x12",
                     NULL);
    assert_int_equal(bench_in8(b, 0x402), 0x12);
    bench_remove(b, d);
    assert_null(bench_try_device(b, &isa_debugcon_type, "dbg3", &e, NULL));
    assert_string_equal(error_text(e), "Can't create debugcon device, empty char device");
    error_free(e);
    e = NULL;
    assert_null(bench_try_device(b, &isa_debugcon_type, "dbg3", &e, "chardev", "nope", NULL));
    error_free(e);
    assert_true(chardev_remove("ring", NULL));
}

RUN_TESTS(TEST(test_console))
