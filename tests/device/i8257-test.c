/* i8257-test.c: registers of the DMA controllers, and transfers for a served device. */
#include "hw/isa/i8257.h"
#include "tests/device/device-test.h"

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &i8257_type, "dma", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static size_t move(unsigned ch, uint8_t *buf, size_t n, bool *done)
{
    domain_enter(d->domain);
    size_t moved = i8257_move(d, ch, buf, n, done);
    domain_leave(d->domain);
    return moved;
}

/* Channel 2, as a floppy driver programs it. */
static void program(uint8_t mode, uint32_t addr, uint16_t count)
{
    bench_out8(b, 0x0a, 6);
    bench_out8(b, 0x0c, 0);
    bench_out8(b, 0x0b, mode);
    bench_out8(b, 0x04, (uint8_t)addr);
    bench_out8(b, 0x04, addr >> 8);
    bench_out8(b, 0x81, addr >> 16);
    bench_out8(b, 0x05, (uint8_t)count);
    bench_out8(b, 0x05, count >> 8);
    bench_out8(b, 0x0a, 2);
}

static void test_registers(void **state)
{
    bench_out8(b, 0x0c, 0);
    bench_out8(b, 0x00, 0x34);
    bench_out8(b, 0x00, 0x12);
    assert_int_equal(bench_in8(b, 0x00), 0x34);
    assert_int_equal(bench_in8(b, 0x00), 0x12);
    bench_out8(b, 0xc4, 0x78);
    bench_out8(b, 0xc4, 0x56);
    bench_out8(b, 0xd8, 0);
    assert_int_equal(bench_in8(b, 0xc4), 0x78);
    assert_int_equal(bench_in8(b, 0x08), 0);
    assert_int_equal(bench_in8(b, 0x0f) & 15, 15);
    bench_out8(b, 0x0e, 0);
    assert_int_equal(bench_in8(b, 0x0f) & 15, 0);
    bench_out8(b, 0x87, 0x5a);
    assert_int_equal(bench_in8(b, 0x87), 0x5a);
}

static void test_to_memory(void **state)
{
    uint8_t sector[512];
    bool done;

    memset(sector, 0xa5, sizeof(sector));
    program(0x46, 0x2fe00, 1023);
    assert_int_equal(move(2, sector, 512, &done), 512);
    assert_false(done);
    assert_int_equal(move(2, sector, 512, &done), 512);
    assert_true(done);
    assert_int_equal(*bench_ram(b, 0x2fe00, 1), 0xa5);
    assert_int_equal(*bench_ram(b, 0x20000, 1), 0xa5);     /* wraps in its 64 KiB page */
    assert_int_equal(*bench_ram(b, 0x30000, 1), 0);
    assert_int_equal(bench_in8(b, 0x08) & 15, 4);
    assert_int_equal(bench_in8(b, 0x08) & 15, 0);          /* cleared by the read */
    assert_int_equal(move(2, sector, 512, &done), 0);      /* masked at the terminal count */
}

static void test_from_memory(void **state)
{
    uint8_t got[8];
    bool done;

    memcpy(bench_ram(b, 0x1000, 8), "ABCDEFGH", 8);
    program(0x5a, 0x1000, 3);                      /* auto-initialise */
    assert_int_equal(move(2, got, 4, &done), 4);
    assert_true(done);
    assert_memory_equal(got, "ABCD", 4);
    assert_int_equal(move(2, got, 2, &done), 2);
    assert_memory_equal(got, "AB", 2);
    program(0x6a, 0x1007, 7);                      /* downwards */
    assert_int_equal(move(2, got, 8, &done), 8);
    assert_memory_equal(got, "HGFEDCBA", 8);
    bench_out8(b, 0x08, 4);
    assert_int_equal(move(2, got, 4, &done), 0);   /* the controller is off */
}

static void test_words(void **state)
{
    uint8_t got[8];
    bool done;

    memcpy(bench_ram(b, 0x10002, 6), "wordsX", 6);
    bench_out8(b, 0xd8, 0);
    bench_out8(b, 0xd6, 0x49);                     /* channel 5 */
    bench_out8(b, 0xc4, 1);
    bench_out8(b, 0xc4, 0);
    bench_out8(b, 0x8b, 1);
    bench_out8(b, 0xc6, 2);
    bench_out8(b, 0xc6, 0);
    bench_out8(b, 0xd4, 1);
    assert_int_equal(move(5, got, 7, &done), 6);
    assert_true(done);
    /* Page bit 0 is not wired for word channels. */
    assert_int_equal(got[0], *bench_ram(b, 0x2, 1));
    program(0x46, 0, 3);
    bench_out8(b, 0x481, 0x80);                    /* no memory there */
    assert_int_equal(move(2, got, 4, &done), 4);
}

static void test_state(void **state)
{
    bool done;
    uint8_t x[2] = { 1, 2 };

    program(0x46, 0x5000, 9);
    bench_out8(b, 0x0c, 0);
    bench_out8(b, 0x00, 0x34);
    move(2, x, 2, &done);
    bench_save_load(b, d);
    bench_reset(b);
    assert_int_equal(bench_in8(b, 0x81), 0);
    assert_int_equal(move(2, x, 2, &done), 0);
}

RUN_TESTS(TEST(test_registers), TEST(test_to_memory), TEST(test_from_memory), TEST(test_words),
          TEST(test_state))
