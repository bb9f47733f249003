/* piix3-ide-test.c: the two IDE channels: PIO, packets, bus mastering, resets with I/O in flight.
 */
#include "tests/device/ide-helper.h"

#define DISK (8 * MiB)
#define DATA 0x200000
#define PRD 0x100000

static TestMedium medium, iso;
static BlkNode *slow;
static TestMedium kept;           /* of the disk that stops the machine; made by its test */
static Device *ide;
static Gpa bm;

static int setup(void **state)
{
    Bench *b = bench_new();

    medium = medium_new("d0", DISK, false);
    iso = medium_new("iso", 200 * 2048, true);
    slow = slow_node("slow", 20 * NS_PER_MS);
    ide = bench_device(b, &piix3_ide_type, "ide", NULL);
    bm = bench_bar(b, ide, 4);
    bench_device(b, &ide_hd_type, "disk", "drive", "d0", "unit", "0", NULL);
    bench_device(b, &ide_hd_type, "snail", "drive", "slow", "unit", "1", NULL);
    bench_device(b, &ide_cd_type, "cd", "drive", "iso", "unit", "0", NULL);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    medium_free(&medium);
    medium_free(&iso);
    assert_true(blk_close(slow, NULL));
    if (kept.node != NULL) {
        medium_free(&kept);
        kept.node = NULL;
    }
    return 0;
}

typedef struct Wait {
    Bench *b;
    uint16_t port;
} Wait;

static bool not_busy(void *arg)
{
    const Wait *w = arg;

    return !(bench_in8(w->b, w->port) & 0x80);
}

/* Waits for BSY to clear by the alternate status; returns it. */
static uint8_t wait_ready(Bench *b, unsigned channel)
{
    Wait w = { b, channel ? 0x376 : 0x3f6 };

    bench_until(b, not_busy, &w);
    return bench_in8(b, w.port);
}

static void command(Bench *b, unsigned channel, unsigned unit, uint8_t cmd, uint32_t lba,
                    uint8_t count, uint8_t feature)
{
    uint16_t base = channel ? 0x170 : 0x1f0;

    bench_out8(b, base + 6, 0xe0 | unit << 4 | (lba >> 24 & 0x0f));
    bench_out8(b, base + 1, feature);
    bench_out8(b, base + 2, count);
    bench_out8(b, base + 3, lba & 0xff);
    bench_out8(b, base + 4, lba >> 8 & 0xff);
    bench_out8(b, base + 5, lba >> 16 & 0xff);
    bench_out8(b, base + 7, cmd);
}

static void registers(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_config_read(b, ide, 0, 4), 0x70108086);
    assert_int_equal(bench_config_read(b, ide, 8, 4), 0x01018000);
    assert_int_equal(bench_config_read(b, ide, 0x40, 4), 0x80008000);
    assert_int_equal(bench_bar_size(b, ide, 4), 16);
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
    assert_int_equal(bench_in8(b, 0x1f2), 1);
    assert_int_equal(bench_in8(b, 0x1f4), 0);
    assert_int_equal(bench_in8(b, 0x174), 0x14);
    assert_int_equal(bench_in8(b, 0x175), 0xeb);
    bench_out8(b, 0x176, 0xb0);                /* the drive that is not there */
    assert_int_equal(bench_in8(b, 0x177), 0);
    bench_out8(b, 0x1f2, 0x55);
    assert_int_equal(bench_in8(b, 0x1f2), 0x55);
    /* High order bytes. */
    bench_out8(b, 0x1f3, 0x12);
    bench_out8(b, 0x1f3, 0x34);
    bench_out8(b, 0x3f6, 0x80);
    assert_int_equal(bench_in8(b, 0x1f3), 0x12);
    bench_out8(b, 0x3f6, 0);
    assert_int_equal(bench_in8(b, 0x1f3), 0x34);
}

static void pio(void **state)
{
    Bench *b = *state;

    bench_irq_raises(b, 14);
    command(b, 0, 0, 0xec, 0, 0, 0);
    assert_int_equal(wait_ready(b, 0), 0x58);
    assert_true(bench_irq(b, 14));
    assert_int_equal(bench_in8(b, 0x1f7), 0x58);
    assert_false(bench_irq(b, 14));
    assert_int_equal(bench_in16(b, 0x1f0), 0x0040);
    for (unsigned i = 1; i < 256; i++) {
        bench_in16(b, 0x1f0);
    }
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
    assert_int_equal(bench_irq_raises(b, 14), 1);
    /* Two sectors in, by 32 bits. */
    command(b, 0, 0, 0x20, 9, 2, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(wait_ready(b, 0), 0x58);
        bench_in8(b, 0x1f7);
        for (unsigned j = 0; j < 128; j++) {
            assert_int_equal(bench_in32(b, 0x1f0), (9 + i) * 128 + j);
        }
    }
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
    assert_int_equal(bench_irq_raises(b, 14), 2);
    /* Two sectors out: no interrupt for the first block, one for the second, one at the end. */
    command(b, 0, 0, 0x30, 50, 2, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(wait_ready(b, 0), 0x58);
        bench_in8(b, 0x1f7);
        for (unsigned j = 0; j < 256; j++) {
            bench_out16(b, 0x1f0, (uint16_t)(0x1111 * (i + 1)));
        }
    }
    assert_int_equal(wait_ready(b, 0), 0x50);
    bench_in8(b, 0x1f7);
    assert_int_equal(bench_irq_raises(b, 14), 2);
    assert_int_equal(medium_word(&medium, 50 * 512), 0x11111111);
    assert_int_equal(medium_word(&medium, 51 * 512 + 508), 0x22222222);
    assert_int_equal(medium_word(&medium, 52 * 512), 52 * 128);
}

static void multiple(void **state)
{
    Bench *b = *state;

    command(b, 0, 0, 0xc6, 0, 8, 0);
    assert_int_equal(wait_ready(b, 0), 0x50);
    bench_in8(b, 0x1f7);
    bench_irq_raises(b, 14);
    command(b, 0, 0, 0xc4, 3, 12, 0);
    for (unsigned i = 0; i < 12 * 128; i++) {
        if (i % 1024 == 0) {
            assert_int_equal(wait_ready(b, 0), 0x58);
            bench_in8(b, 0x1f7);
        }
        assert_int_equal(bench_in32(b, 0x1f0), 3 * 128 + i);
    }
    assert_int_equal(bench_irq_raises(b, 14), 2);
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
}

/* A machine saved between two words of a sector goes on with the next. */
static void saved_in_transfer(void **state)
{
    Bench *b = *state;

    command(b, 0, 0, 0x20, 9, 2, 0);
    assert_int_equal(wait_ready(b, 0), 0x58);
    for (unsigned j = 0; j < 100; j++) {
        assert_int_equal(bench_in32(b, 0x1f0), 9 * 128 + j);
    }
    bench_save_load(b, ide);
    assert_int_equal(bench_in8(b, 0x3f6), 0x58);
    for (unsigned j = 100; j < 256; j++) {
        wait_ready(b, 0);
        assert_int_equal(bench_in32(b, 0x1f0), 9 * 128 + j);
    }
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
}

static void put_prd(Bench *b, unsigned i, uint32_t addr, uint16_t len, bool last)
{
    uint8_t *p = bench_ram(b, PRD + 8 * i, 8);

    st32(p, addr);
    st32(p + 4, len | (last ? 1u << 31 : 0));
}

static bool bm_irq(void *arg)
{
    return bench_in8(arg, (uint16_t)bm + 2) & 4;
}

static void dma(void **state)
{
    Bench *b = *state;

    put_prd(b, 0, DATA, 700, false);
    put_prd(b, 1, DATA + 0x1000, 324, true);
    bench_out32(b, bm + 4, PRD);
    bench_out8(b, bm + 2, 6);
    bench_out8(b, bm, 8);
    command(b, 0, 0, 0xc8, 20, 2, 0);
    bench_run(b);
    assert_int_equal(bench_in8(b, 0x3f6), 0x80);       /* waits for the bus master */
    bench_save_load(b, ide);
    bench_out8(b, bm, 9);
    bench_until(b, bm_irq, b);
    assert_int_equal(bench_in8(b, bm + 2) & 7, 4);
    assert_true(bench_irq(b, 14));
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
    bench_out8(b, bm, 0);
    bench_out8(b, bm + 2, 4);
    assert_int_equal(bench_in8(b, bm + 2) & 7, 0);
    assert_int_equal(ld32(bench_ram(b, DATA, 4)), 20 * 128);
    assert_int_equal(ld32(bench_ram(b, DATA + 0x1000, 4)), 20 * 128 + 175);
    /* Writing; the table is longer than the transfer: still active. */
    put_prd(b, 0, DATA, 0, true);
    memset(bench_ram(b, DATA, 512), 0x77, 512);
    bench_out8(b, bm, 1);
    command(b, 0, 0, 0xca, 60, 1, 0);
    bench_until(b, bm_irq, b);
    assert_int_equal(bench_in8(b, bm + 2) & 7, 5);
    bench_out8(b, bm, 0);
    assert_int_equal(bench_in8(b, bm + 2) & 7, 4);
    assert_int_equal(medium_word(&medium, 60 * 512), 0x77777777);
}

static void soft_reset(Bench *b, unsigned channel)
{
    bench_out8(b, channel ? 0x376 : 0x3f6, 4);
    bench_out8(b, channel ? 0x376 : 0x3f6, 0);
}

/* A table that is too short, or names no RAM, leaves the drive busy until it is reset. */
static void bad_tables(void **state)
{
    Bench *b = *state;

    put_prd(b, 0, DATA, 512, true);
    bench_out32(b, bm + 4, PRD);
    bench_out8(b, bm, 9);
    command(b, 0, 0, 0xc8, 20, 2, 0);
    bench_run(b);
    while (bench_in8(b, bm + 2) & 1) {
        loop_control_iterate(true);
    }
    assert_int_equal(bench_in8(b, bm + 2) & 7, 0);
    assert_int_equal(bench_in8(b, 0x3f6), 0x80);
    soft_reset(b, 0);
    assert_int_equal(wait_ready(b, 0), 0x50);
    put_prd(b, 0, 0xf0000000, 512, true);
    bench_out8(b, bm, 0);
    bench_out8(b, bm, 9);
    command(b, 0, 0, 0xc8, 20, 1, 0);
    assert_int_equal(bench_in8(b, bm + 2) & 3, 2);
    soft_reset(b, 0);
    assert_int_equal(wait_ready(b, 0), 0x50);
    bench_out8(b, bm, 0);
    bench_out32(b, bm + 4, 0xf0000000);
    bench_out8(b, bm, 9);
    command(b, 0, 0, 0xc8, 20, 1, 0);
    assert_int_equal(bench_in8(b, bm + 2) & 3, 2);
    soft_reset(b, 0);
    assert_int_equal(wait_ready(b, 0), 0x50);
}

static void reset_in_flight(void **state)
{
    Bench *b = *state;

    command(b, 0, 1, 0x20, 0, 1, 0);
    bench_out8(b, 0x3f6, 4);
    assert_int_equal(bench_in8(b, 0x3f6), 0x80);
    bench_out8(b, 0x3f6, 0);
    assert_int_equal(bench_in8(b, 0x3f6), 0x80);
    command(b, 0, 1, 0xec, 0, 1, 0);           /* ignored while busy */
    assert_int_equal(wait_ready(b, 0), 0x50);
    assert_int_equal(bench_in8(b, 0x1f1), 1);
    command(b, 0, 1, 0xec, 0, 1, 0);
    assert_int_equal(wait_ready(b, 0), 0x58);
    /* Machine reset with a request in flight. */
    soft_reset(b, 0);
    command(b, 0, 1, 0x20, 0, 1, 0);
    bench_reset(b);
    assert_int_equal(bench_in8(b, 0x1f7), 0x50);
    command(b, 0, 0, 0x20, 1, 1, 0);
    assert_int_equal(wait_ready(b, 0), 0x58);
}

static void stop_in_flight(void **state)
{
    Bench *b = *state;

    put_prd(b, 0, DATA, 512, true);
    bench_out32(b, bm + 4, PRD);
    bench_out8(b, bm, 9);
    command(b, 0, 1, 0xc8, 0, 1, 0);
    assert_int_equal(bench_in8(b, bm + 2) & 1, 1);
    bench_out8(b, bm, 8);
    assert_int_equal(bench_in8(b, bm + 2) & 1, 1);
    assert_int_equal(wait_ready(b, 0), 0x51);
    assert_int_equal(bench_in8(b, bm + 2) & 1, 0);
}

static void packet(Bench *b, const uint8_t *cdb, uint16_t limit)
{
    command(b, 1, 0, 0xa0, (uint32_t)limit << 8, 0, 0);
    assert_int_equal(wait_ready(b, 1), 0x58);
    assert_int_equal(bench_in8(b, 0x172), 1);
    for (unsigned i = 0; i < 6; i++) {
        bench_out16(b, 0x170, ld16(cdb + 2 * i));
    }
}

static void packets(void **state)
{
    Bench *b = *state;
    static const uint8_t inquiry[12] = { 0x12, [4] = 36 }, read[12] = { 0x28, [5] = 7, [8] = 2 };
    static const uint8_t bad[12] = { 0xff };

    bench_irq_raises(b, 15);
    packet(b, inquiry, 0xfffe);
    assert_int_equal(wait_ready(b, 1), 0x58);
    assert_int_equal(bench_in8(b, 0x172), 2);
    assert_int_equal(bench_in8(b, 0x174), 36);
    assert_int_equal(bench_in8(b, 0x177), 0x58);
    assert_int_equal(bench_in16(b, 0x170), 0x8005);
    for (unsigned i = 1; i < 18; i++) {
        bench_in16(b, 0x170);
    }
    assert_int_equal(bench_in8(b, 0x172), 3);
    assert_int_equal(bench_in8(b, 0x177), 0x50);
    assert_int_equal(bench_irq_raises(b, 15), 2);
    /* Two blocks, 2048 bytes at a time. */
    packet(b, read, 2048);
    for (unsigned i = 0; i < 1024; i++) {
        if (i % 512 == 0) {
            assert_int_equal(wait_ready(b, 1), 0x58);
            assert_int_equal(bench_in8(b, 0x175), 8);
        }
        assert_int_equal(bench_in32(b, 0x170), 7 * 512 + i);
    }
    assert_int_equal(wait_ready(b, 1), 0x50);
    packet(b, bad, 2048);
    assert_int_equal(wait_ready(b, 1), 0x51);
    assert_int_equal(bench_in8(b, 0x171), 0x54);
    /* IDENTIFY DEVICE is aborted with the signature. */
    command(b, 1, 0, 0xec, 0, 0, 0);
    assert_int_equal(wait_ready(b, 1), 0x51);
    assert_int_equal(bench_in8(b, 0x174), 0x14);
    assert_int_equal(bench_in8(b, 0x175), 0xeb);
    command(b, 1, 0, 0x08, 0, 0, 0);           /* DEVICE RESET */
    assert_int_equal(bench_in8(b, 0x177), 0);
}

static void packet_dma(void **state)
{
    Bench *b = *state;
    static const uint8_t read[12] = { 0x28, [5] = 9, [8] = 1 };

    put_prd(b, 0, DATA, 2048, true);
    bench_out32(b, bm + 12, PRD);
    command(b, 1, 0, 0xa0, 0, 0, 1);
    for (unsigned i = 0; i < 6; i++) {
        bench_out16(b, 0x170, ld16(read + 2 * i));
    }
    bench_out8(b, bm + 8, 9);
    while (!(bench_in8(b, bm + 10) & 4)) {
        loop_control_iterate(true);
    }
    assert_int_equal(bench_in8(b, 0x177), 0x50);
    assert_int_equal(ld32(bench_ram(b, DATA, 4)), 9 * 512);
}

static void interrupts_off(void **state)
{
    Bench *b = *state;

    bench_out8(b, 0x3f6, 2);
    command(b, 0, 0, 0xe5, 0, 0, 0);
    assert_int_equal(wait_ready(b, 0), 0x50);
    assert_int_equal(bench_in8(b, 0x1f2), 0xff);
    assert_false(bench_irq(b, 14));
    bench_out8(b, 0x3f6, 0);
    assert_true(bench_irq(b, 14));
    command(b, 0, 0, 0x90, 0, 0, 0);
    assert_int_equal(bench_in8(b, 0x1f1), 1);
}

static void hostile(void **state)
{
    Bench *b = *state;
    g_autoptr(GRand) r = g_rand_new_with_seed(3);
    static const uint8_t codes[] = { 0xec, 0xa1, 0xa0, 0x20, 0x30, 0xc4, 0xc5, 0xc8, 0xca, 0x25,
                                     0x35, 0x06, 0xef, 0x08, 0x90, 0xc6, 0x91, 0x2f, 0xb0 };

    put_prd(b, 0, DATA, 4096, false);
    put_prd(b, 1, DATA + 4096, 0, true);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned channel = g_rand_int(r) & 1;
        uint16_t base = channel ? 0x170 : 0x1f0, at = base + (uint16_t)g_rand_int_range(r, 0, 8);
        uint8_t val = g_rand_int_range(r, 0, 3) ? g_rand_int(r) & 7 : (uint8_t)g_rand_int(r);

        switch (g_rand_int_range(r, 0, 12)) {
        case 0: case 1: case 2:
            bench_out8(b, at, at == base + 7 ? codes[g_rand_int_range(r, 0, sizeof(codes))] : val);
            break;
        case 3: case 4:
            bench_in8(b, at);
            break;
        case 5: case 6:
            for (unsigned j = g_rand_int(r) & 0x1ff; j; j--) {
                (j & 1) ? bench_out32(b, base, val) : (void)bench_in32(b, base);
            }
            break;
        case 7:
            bench_out32(b, bm + 8 * channel + 4, PRD);
            bench_out8(b, bm + 8 * channel, g_rand_int(r) & 9);
            break;
        case 8:
            bench_out8(b, base + 6, 0xe0 | (val & 1) << 4);
            break;
        case 9:
            bench_run(b);
            break;
        case 10:
            if (g_rand_int_range(r, 0, 40) == 0) {
                bench_out8(b, base + 0x206, val);
            }
            break;
        default:
            bench_out32(b, at, g_rand_int(r));
            break;
        }
        if (i % 5000 == 0) {
            bench_save_load(b, ide);
        }
    }
    soft_reset(b, 0);
    assert_int_equal(wait_ready(b, 0) & 0x51, 0x50);
    command(b, 0, 0, 0xec, 0, 0, 0);
    assert_int_equal(wait_ready(b, 0), 0x58);
}

/* --- requests that fail so that the machine stops, and are made again --- */

/* The drive is still busy; save, load, go on. */
static void go_on(Bench *b)
{
    wait_io_error(b);
    assert_int_equal(bench_in8(b, 0x376), 0x80);
    bench_save_load(b, ide);
}

static void stop_pio(Bench *b)
{
    /* A write whose data the guest has handed over, and a read. */
    command(b, 1, 1, 0x30, 50, 2, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(wait_ready(b, 1), 0x58);
        if (i == 1) {
            fault_arm("file-write", 1);
        }
        for (unsigned j = 0; j < 256; j++) {
            bench_out16(b, 0x170, (uint16_t)(0x1111 * (i + 1)));
        }
    }
    go_on(b);
    assert_int_equal(wait_ready(b, 1), 0x50);
    assert_int_equal(medium_word(&kept, 50 * 512), 0x11111111);
    assert_int_equal(medium_word(&kept, 51 * 512), 0x22222222);
    fault_arm_run("file-read", 1, 2);          /* the short cut by the page cache, too */
    command(b, 1, 1, 0x20, 9, 1, 0);
    go_on(b);
    assert_int_equal(wait_ready(b, 1), 0x58);
    for (unsigned j = 0; j < 128; j++) {
        assert_int_equal(bench_in32(b, 0x170), 9 * 128 + j);
    }
    fault_arm("file-flush", 1);
    command(b, 1, 1, 0xe7, 0, 0, 0);
    wait_io_error(b);
    soft_reset(b, 1);                          /* forgets the command */
    assert_int_equal(bench_in8(b, 0x376) & 0x80, 0);
}

static void stop_on_error(void **state)
{
    Bench *b = *state;

    kept = medium_new("d1", DISK, false);
    bench_device(b, &ide_hd_type, "keeper", "drive", "d1", "unit", "1", "werror", "stop", "rerror", "stop",
                 "write-cache", "off", NULL);
    /* DMA: the bus master begins its table's entry again. */
    put_prd(b, 0, DATA, 700, false);
    put_prd(b, 1, DATA + 0x1000, 324, true);
    bench_out32(b, bm + 12, PRD);
    bench_out8(b, bm + 10, 6);
    fault_arm_run("file-read", 1, 2);
    command(b, 1, 1, 0xc8, 20, 2, 0);
    bench_out8(b, bm + 8, 9);
    go_on(b);
    assert_int_equal(wait_ready(b, 1), 0x50);
    assert_int_equal(bench_in8(b, bm + 10) & 7, 4);
    assert_int_equal(ld32(bench_ram(b, DATA, 4)), 20 * 128);
    assert_int_equal(ld32(bench_ram(b, DATA + 0x1000, 4)), 20 * 128 + 175);
    stop_pio(b);
}

RUN_TESTS(TEST(registers), TEST(pio), TEST(multiple), TEST(saved_in_transfer), TEST(dma),
          TEST(bad_tables), TEST(reset_in_flight), TEST(stop_in_flight), TEST(packets),
          TEST(packet_dma), TEST(interrupts_off), TEST(stop_on_error),
          TEST(hostile))
