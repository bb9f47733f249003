/* isa-fdc-test.c: the floppy controller and its drives: registers, seeks, data by DMA and FIFO, media that
 * come and go, errors, resets, state. */
#include "hw/isa/i8257.h"
#include "hw/storage/floppy.h"
#include "tests/device/ide-helper.h"

extern const DeviceType isa_fdc_type, floppy_type;

#define DISK 1474560
#define BUF 0x20000

static Bench *b;
static Device *fdc;
static TestMedium medium;
static uint8_t res[16];

static int setup(void **state)
{
    b = bench_new();
    medium = medium_new("d0", DISK, false);
    bench_device(b, &i8257_type, "dma", NULL);
    fdc = bench_device(b, &isa_fdc_type, "fdc", NULL);
    bench_device(b, &floppy_type, "fl0", "drive", "d0", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    medium_free(&medium);
    return 0;
}

static void command(unsigned n, const uint8_t *bytes)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(bench_in8(b, 0x3f4) & 0xe0, 0x80);
        bench_out8(b, 0x3f5, bytes[i]);
    }
}
#define CMD(...) command(sizeof((uint8_t[]){ __VA_ARGS__ }), (uint8_t[]){ __VA_ARGS__ })

static bool has_result(void *arg)
{
    return (bench_in8(b, 0x3f4) & 0xc0) == 0xc0;
}

/* Waits for a result and reads it; returns its bytes. */
static unsigned result(void)
{
    unsigned n = 0;

    bench_until(b, has_result, NULL);
    while (has_result(NULL) && n < sizeof(res)) {
        res[n++] = bench_in8(b, 0x3f5);
    }
    return n;
}

static void expect_result(uint8_t st0, uint8_t st1, uint8_t st2, uint8_t c, uint8_t h, uint8_t r)
{
    const uint8_t want[] = { st0, st1, st2, c, h, r, 2 };

    assert_int_equal(result(), 7);
    assert_memory_equal(res, want, 7);
    assert_int_equal(bench_in8(b, 0x3f4), 0x80);
}

/* Channel 2; @mode 4: to memory, 8: from it. */
static void dma(uint8_t mode, uint16_t bytes)
{
    bench_out8(b, 0x0a, 6);
    bench_out8(b, 0x0c, 0);
    bench_out8(b, 0x0b, 0x42 | mode);
    bench_out8(b, 0x04, 0);
    bench_out8(b, 0x04, 0);
    bench_out8(b, 0x81, BUF >> 16);
    bench_out8(b, 0x05, (bytes - 1) & 0xff);
    bench_out8(b, 0x05, (bytes - 1) >> 8);
    bench_out8(b, 0x0a, 2);
}

static void sense(uint8_t st0, uint8_t cylinder)
{
    CMD(8);
    assert_int_equal(result(), 2);
    assert_int_equal(res[0], st0);
    assert_int_equal(res[1], cylinder);
}

static void seek(uint8_t cylinder)
{
    CMD(0x0f, 0, cylinder);
    sense(0x20, cylinder);
}

static uint32_t word(Gpa at)
{
    return ld32(bench_ram(b, at, 4));
}

static void registers(void **state)
{
    static const uint8_t regs[] = { 0, 0, 0, 0, 0xdf, 2, 0, 0x80, 0x57, 0x11 };

    assert_int_equal(bench_in8(b, 0x3f0), 0xff);
    assert_int_equal(bench_in8(b, 0x3f1), 0xc0);
    assert_int_equal(bench_in8(b, 0x3f2), 0x0c);
    assert_int_equal(bench_in8(b, 0x3f4), 0x80);
    bench_out8(b, 0x3f3, 0xff);
    assert_int_equal(bench_in8(b, 0x3f3), 3);
    bench_out8(b, 0x3f2, 0x08);
    assert_int_equal(bench_in8(b, 0x3f4), 0);
    bench_out8(b, 0x3f5, 0x10);                /* nobody listens in reset */
    assert_int_equal(bench_in8(b, 0x3f5), 0);
    bench_out8(b, 0x3f2, 0x1c);
    assert_true(bench_irq(b, 6));
    for (unsigned i = 0; i < 4; i++) {
        sense(0xc0 | i, 0);
        assert_false(bench_irq(b, 6));
    }
    CMD(8);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x80);
    CMD(0x1f);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x80);
    CMD(0x10);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x90);
    CMD(0x03, 0xdf, 2);
    CMD(0x13, 0, 0x57, 0x11);
    CMD(0x94);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x10);
    bench_out8(b, 0x3f4, 0x80);                /* locked: a reset leaves the FIFO as it is */
    for (unsigned i = 0; i < 4; i++) {
        sense(0xc0 | i, 0);
    }
    CMD(0x0e);
    assert_int_equal(result(), 10);
    assert_memory_equal(res, regs, 10);
    CMD(0x14);
    assert_int_equal(result(), 1);
    bench_out8(b, 0x3f4, 0x80);
    sense(0xc0, 0);
    CMD(0x12, 0x84);
    CMD(0x0e);
    assert_int_equal(result(), 10);
    assert_int_equal(res[7], 4);
    assert_int_equal(res[8], 0x70);
    /* Without the gate there is no interrupt. */
    bench_out8(b, 0x3f2, 0x10);
    bench_out8(b, 0x3f2, 0x14);
    assert_false(bench_irq(b, 6));
    bench_out8(b, 0x3f2, 0x1c);
    assert_true(bench_irq(b, 6));
    sense(0xc0, 0);
}

static void seeks(void **state)
{
    assert_int_equal(bench_in8(b, 0x3f7), 0x80);       /* not looked at since power-on */
    CMD(0x07, 0);
    assert_true(bench_irq(b, 6));
    assert_int_equal(bench_in8(b, 0x3f4), 0x81);       /* until it is sensed */
    sense(0x20, 0);
    assert_int_equal(bench_in8(b, 0x3f4), 0x80);
    seek(1);
    assert_int_equal(bench_in8(b, 0x3f7), 0);
    CMD(0x8f, 0x00, 9);                        /* outwards, as far as it goes */
    sense(0x20, 0);
    CMD(0xcf, 0x04, 9);
    sense(0x24, 9);
    CMD(0x04, 0x04);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x2c);
    CMD(0x07, 0);
    sense(0x20, 0);
    CMD(0x04, 0);
    assert_int_equal(result(), 1);
    assert_int_equal(res[0], 0x38);
    /* A drive that is not there. */
    CMD(0x07, 3);
    sense(0x73, 0);
    CMD(0x4a, 1);
    expect_result(0x41, 1, 0, 0, 0, 0);
    bench_out8(b, 0x3f2, 0x1d);
    assert_int_equal(bench_in8(b, 0x3f7), 0);
    /* READ ID wants the right rate. */
    CMD(0x4a, 4);
    expect_result(0x04, 0, 0, 0, 1, 1);
    bench_out8(b, 0x3f7, 2);
    CMD(0x4a, 0);
    expect_result(0x40, 1, 0, 0, 0, 0);
    bench_out8(b, 0x3f4, 0);                   /* DSR has it as well */
    CMD(0x0a, 0);                              /* FM: no address mark */
    expect_result(0x40, 1, 0, 0, 0, 0);
}

static void reads(void **state)
{
    CMD(0x03, 0xdf, 2);
    dma(4, 1024);
    CMD(0xe6, 0, 0, 0, 2, 2, 18, 0x1b, 0xff);
    assert_false(bench_irq(b, 6));
    expect_result(0, 0, 0, 0, 0, 4);
    assert_int_equal(word(BUF), 128);
    assert_int_equal(word(BUF + 1020), 3 * 128 - 1);
    assert_int_equal(bench_irq_raises(b, 6), 1);
    /* Both heads, up to the end of the cylinder, and the implied seek. */
    dma(4, 36 * 512);
    CMD(0xe6, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x04, 0, 0, 6, 0, 1);
    assert_int_equal(word(BUF), 5 * 36 * 128);
    assert_int_equal(word(BUF + 36 * 512 - 4), 6 * 36 * 128 - 1);
    /* The guest wants more than there is: end of cylinder. */
    dma(4, 4096);
    CMD(0x46, 4, 5, 1, 17, 2, 18, 0x1b, 0xff);
    expect_result(0x44, 0x80, 0, 6, 1, 1);
    assert_int_equal(word(BUF + 1020), 6 * 36 * 128 - 1);
    /* IDs that are not on the track. */
    CMD(0xe6, 0, 5, 0, 19, 2, 30, 0x1b, 0xff);
    expect_result(0x40, 4, 0, 5, 0, 19);
    CMD(0xe6, 0, 5, 0, 0, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 4, 0, 5, 0, 0);
    CMD(0xe6, 0, 5, 1, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 4, 0, 5, 1, 1);
    CMD(0xe6, 0, 80, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 4, 0x10, 80, 0, 1);
    CMD(0xe6, 0, 5, 0, 1, 3, 18, 0x1b, 0xff);
    expect_result(0x40, 4, 0, 5, 0, 1);
    CMD(0xa6, 0, 5, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 1, 0, 5, 0, 1);
    /* No implied seek: the heads are elsewhere. */
    CMD(0x13, 0, 0x20, 0);
    CMD(0xe6, 0, 7, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 4, 0x10, 7, 0, 1);
    /* A whole track, whatever its IDs; deleted data, which nothing is. */
    dma(4, 1024);
    CMD(0x42, 0, 9, 9, 9, 2, 18, 0x1b, 0xff);
    result();
    assert_int_equal(res[0], 0);
    assert_int_equal(word(BUF), 5 * 36 * 128);
    dma(4, 1024);
    CMD(0xcc, 0, 5, 0, 3, 2, 18, 0x1b, 0xff);
    expect_result(0, 0, 0x40, 5, 0, 4);
    assert_int_equal(word(BUF), (5 * 36 + 2) * 128);
    CMD(0xec, 0, 5, 0, 3, 2, 18, 0x1b, 0xff);
    result();
    assert_int_equal(res[1], 0x80);
}

static void verifies(void **state)
{
    CMD(0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0, 0, 0, 1, 0, 1);
    CMD(0xd6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4); /* four sectors over both heads */
    expect_result(0x04, 0, 0, 0, 1, 3);
    CMD(0x56, 0, 0, 0, 17, 2, 19, 0x1b, 0xff);
    expect_result(0x40, 4, 0, 0, 0, 19);
}

static void writes(void **state)
{
    memset(bench_ram(b, BUF, 1536), 0x5a, 1536);
    dma(8, 700);
    CMD(0xc5, 4, 0, 1, 18, 2, 18, 0x1b, 0xff);
    expect_result(0x44, 0x80, 0, 1, 0, 1);     /* one sector is all the cylinder has */
    assert_int_equal(medium_word(&medium, 35 * 512), 0x5a5a5a5a);
    dma(8, 700);
    CMD(0xc5, 0, 1, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0, 0, 0, 1, 0, 3);
    assert_int_equal(medium_word(&medium, 36 * 512 + 696), 0x5a5a5a5a);
    assert_int_equal(medium_word(&medium, 36 * 512 + 700), 0);
    assert_int_equal(medium_word(&medium, 38 * 512), 38 * 128);
    dma(8, 512);
    CMD(0x49, 0, 1, 0, 4, 2, 18, 0x1b, 0xff);
    expect_result(0, 0, 0, 1, 0, 5);
    assert_int_equal(medium_word(&medium, 39 * 512), 0x5a5a5a5a);
    /* Two tracks in one command. */
    memset(bench_ram(b, BUF, 36 * 512), 0xa7, 36 * 512);
    dma(8, 36 * 512);
    CMD(0xc5, 0, 2, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x04, 0, 0, 3, 0, 1);
    assert_int_equal(medium_word(&medium, 108 * 512 - 4), 0xa7a7a7a7);
    assert_int_equal(medium_word(&medium, 108 * 512), 108 * 128);
}

static void formats(void **state)
{
    uint8_t *ids = bench_ram(b, BUF, 18 * 4);

    for (unsigned i = 0; i < 18; i++) {
        memcpy(ids + 4 * i, (uint8_t[]){ 3, 1, (uint8_t)(1 + i * 5 % 18), 2 }, 4);     /* interleaved */
    }
    seek(3);
    dma(8, 18 * 4);
    CMD(0x4d, 4, 2, 18, 0x54, 0xf6);
    result();
    assert_int_equal(res[0], 4);
    assert_int_equal(medium_word(&medium, 126 * 512), 0xf6f6f6f6);
    assert_int_equal(medium_word(&medium, 144 * 512 - 4), 0xf6f6f6f6);
    assert_int_equal(medium_word(&medium, 126 * 512 - 4), 126 * 128 - 1);
    assert_int_equal(medium_word(&medium, 144 * 512), 144 * 128);
    ids[2] = 7;                                /* twice */
    dma(8, 18 * 4);
    CMD(0x4d, 4, 2, 18, 0x54, 0xf6);
    result();
    assert_int_equal(res[0], 0x44);
    CMD(0x4d, 4, 3, 18, 0x54, 0xf6);
    result();
    assert_int_equal(res[0], 0x44);
    CMD(0x4d, 4, 2, 0, 0x54, 0xf6);
    result();
    assert_int_equal(res[0], 0x44);
}

static void by_fifo(void **state)
{
    CMD(0x03, 0xdf, 3);
    CMD(0xe6, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    for (unsigned s = 0; s < 2; s++) {
        bench_until(b, has_result, NULL);
        assert_int_equal(bench_in8(b, 0x3f4), 0xf0);
        assert_true(bench_irq(b, 6));
        for (unsigned i = 0; i < 128; i++) {
            uint32_t v = 0;
            for (unsigned k = 0; k < 4; k++) {
                v |= (uint32_t)bench_in8(b, 0x3f5) << 8 * k;
            }
            assert_int_equal(v, (16 + s) * 128 + i);
            if (s == 1 && i == 64) {
                bench_save_load(b, b->m->root);
            }
        }
        if (s == 0) {
            assert_false(bench_irq(b, 6));
        }
    }
    for (unsigned i = 0; i < 512; i++) {       /* on the other head, as MT says */
        bench_until(b, has_result, NULL);
        bench_in8(b, 0x3f5);
    }
    bench_out8(b, 0x3f2, 0x08);                /* enough */
    bench_run(b);
    bench_out8(b, 0x3f2, 0x1c);
    sense(0xc0, 0);
}

static bool ready(void *arg)
{
    return bench_in8(b, 0x3f4) == 0x80;
}

static void write_by_fifo(void **state)
{
    CMD(0x03, 0xdf, 3);
    CMD(0x45, 0, 0, 0, 18, 2, 18, 0x1b, 0xff);
    assert_int_equal(bench_in8(b, 0x3f4), 0xb0);
    for (unsigned i = 0; i < 512; i++) {
        bench_out8(b, 0x3f5, 0x3c);
    }
    expect_result(0x40, 0x80, 0, 1, 0, 1);
    assert_int_equal(medium_word(&medium, 17 * 512), 0x3c3c3c3c);
    /* IDs of a format come the same way. */
    CMD(0x4d, 0, 2, 1, 0x54, 0x11);
    for (unsigned i = 0; i < 4; i++) {
        bench_out8(b, 0x3f5, (uint8_t[]){ 0, 0, 1, 2 }[i]);
    }
    result();
    assert_int_equal(res[0], 0);
    assert_int_equal(medium_word(&medium, 0), 0x11111111);
}

static void late_dma(void **state)
{
    CMD(0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    bench_run(b);
    bench_step(b, 10 * NS_PER_MS);
    assert_int_equal(bench_in8(b, 0x3f4), 0x10);
    bench_save_load(b, b->m->root);
    dma(4, 512);
    bench_step(b, 2 * NS_PER_MS);
    expect_result(0, 0, 0, 0, 0, 2);
    /* Masked for good: overrun. */
    CMD(0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    while (!has_result(NULL)) {
        bench_step(b, NS_PER_MS);
    }
    expect_result(0x40, 0x10, 0, 0, 0, 1);
}

static void media(void **state)
{
    TestMedium small = medium_new("d1", 737280, true);
    BlkFront *f = blk_front_next(NULL);

    assert_true(f->removable && f->tray != NULL && f->tray->is_open == NULL);
    seek(3);
    assert_int_equal(bench_in8(b, 0x3f7), 0);
    assert_true(f->tray->change(f, NULL, NULL));
    assert_int_equal(bench_in8(b, 0x3f7), 0x80);
    seek(2);
    assert_int_equal(bench_in8(b, 0x3f7), 0x80);       /* empty: it stays */
    CMD(0xe6, 0, 2, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 1, 0, 2, 0, 1);
    assert_true(f->tray->change(f, small.node, NULL));
    assert_int_equal(bench_in8(b, 0x3f7), 0x80);
    seek(0);
    assert_int_equal(bench_in8(b, 0x3f7), 0);
    /* 720 KiB: another rate, nine sectors, protected. */
    CMD(0x4a, 0);
    expect_result(0x40, 1, 0, 0, 0, 0);
    bench_out8(b, 0x3f7, 2);
    dma(4, 18 * 512);
    CMD(0xe6, 0, 1, 0, 1, 2, 9, 0x1b, 0xff);
    expect_result(4, 0, 0, 2, 0, 1);
    assert_int_equal(word(BUF), 18 * 128);
    dma(8, 512);
    CMD(0xc5, 0, 1, 0, 1, 2, 9, 0x1b, 0xff);
    expect_result(0x40, 2, 0, 1, 0, 1);
    CMD(0x04, 0);
    result();
    assert_int_equal(res[0], 0x68);
    assert_true(f->tray->change(f, NULL, NULL));
    assert_true(f->tray->change(f, medium.node, NULL));
    CMD(0x04, 0);
    result();
    assert_int_equal(res[0], 0x28);
    medium_free(&small);
}

static void host_error(void **state)
{
    fault_arm_run("file-read", 1, 2);
    dma(4, 512);
    CMD(0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect_result(0x40, 0x20, 0x20, 0, 0, 1);
    assert_true(fault_disarm());
}

static void reset_meanwhile(void **state)
{
    BlkNode *slow = slow_node("slow", 50 * NS_PER_MS);

    bench_device(b, &floppy_type, "fl1", "drive", "slow", "drive-type", "144", NULL);
    dma(4, 512);
    CMD(0xe6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff);
    bench_run(b);
    bench_out8(b, 0x3f2, 0x08);
    assert_int_equal(bench_in8(b, 0x3f4), 0);
    bench_out8(b, 0x3f2, 0x0c);
    assert_int_equal(bench_in8(b, 0x3f4), 0);  /* the request is under way */
    bench_until(b, ready, NULL);
    assert_true(bench_irq(b, 6));
    sense(0xc0, 0);
    assert_int_equal(word(BUF), 0);
    CMD(0xe6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff);
    bench_save_load(b, b->m->root);            /* and across a stop */
    expect_result(1, 0, 0, 0, 0, 2);
    bench_free(b);
    b = NULL;
    assert_true(blk_close(slow, NULL));
    b = bench_new();
}

static void properties(void **state)
{
    Error *e = NULL;
    static const char *const rows[][3] = {
        { "unit", "2", "Can't create floppy unit 2, bus supports only 2 units" },
        { "unit", "0", "Floppy unit 0 is in use" },
        { "logical_block_size", "1024", "logical_block_size > physical_block_size not supported" },
        { "physical_block_size", "1024", "Physical and logical block size must be 512 for floppy" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        assert_null(bench_try_device(b, &floppy_type, "x", &e, rows[i][0], rows[i][1], NULL));
        assert_string_equal(error_text(e), rows[i][2]);
        error_free(e);
        e = NULL;
    }
    assert_null(bench_try_device(b, &isa_fdc_type, "x", &e, "iobase", "0x370", "fallback", "auto", NULL));
    assert_string_equal(error_text(e), "fallback: a drive's type is expected: 144, 288 or 120");
    error_free(e);
}

/* The type that "auto" took from the first medium goes with the state, into a machine that found another. */
static void type_is_state(void **state)
{
    FloppyDrive *f = container_of(blk_front_next(NULL), FloppyDrive, medium.front);
    g_autoptr(GByteArray) saved = bench_save(b, fdc);
    Error *e = NULL;

    assert_int_equal(f->type, FLOPPY_144);
    f->type = FLOPPY_120;
    f->format = floppy_format(737280, FLOPPY_120, FLOPPY_120);
    assert_true(bench_load(b, fdc, saved, NULL));
    assert_int_equal(f->type, FLOPPY_144);
    assert_int_equal(f->format.sectors, 18);
    f->type = FLOPPY_AUTO;
    g_autoptr(GByteArray) wrong = bench_save(b, fdc);
    f->type = FLOPPY_144;
    assert_false(bench_load(b, fdc, wrong, &e));
    assert_non_null(strstr(error_text(e), "a drive of type 4"));
    error_free(e);
}

RUN_TESTS(TEST(registers), TEST(seeks), TEST(reads), TEST(verifies), TEST(writes), TEST(formats),
          TEST(by_fifo), TEST(write_by_fifo), TEST(late_dma), TEST(media), TEST(host_error),
          TEST(reset_meanwhile), TEST(properties), TEST(type_is_state))
