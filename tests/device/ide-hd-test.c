/* ide-hd-test.c: the commands of an ATA disk, through an AHCI port. */
#include "tests/device/ide-helper.h"

#define DISK (8 * MiB)
#define DATA 0x200000

static TestMedium medium;
static AhciBench a;

static int setup(void **state)
{
    Bench *b = bench_new();

    medium = medium_new("d0", DISK, false);
    a = ahci_new(b);
    bench_device(b, &ide_hd_type, "disk", "drive", "d0", "serial", "SER-1", "wwn",
                 "0x5000c50015ea71aa", "physical_block_size", "4096", NULL);
    ahci_start(&a, 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    medium_free(&medium);
    return 0;
}

static uint32_t run(uint8_t command, uint16_t feature, uint64_t lba, uint16_t count, uint32_t len)
{
    AhciCommand c = {
        .command = command, .feature = feature, .lba = lba, .count = count, .data = DATA, .len = len
    };

    return ahci_run(&a, 0, &c);
}

static uint32_t ram32(Bench *b, Gpa at)
{
    return ld32(bench_ram(b, at, 4));
}

static void identify(void **state)
{
    Bench *b = *state;
    uint8_t *id = bench_ram(b, DATA, 512), sum = 0;

    assert_int_equal(run(0xec, 0, 0, 0, 512), 0x50);
    assert_memory_equal(id + 20, "ES-R 1", 6);
    assert_memory_equal(id + 54, "EQUMH RADDSI K", 14);
    assert_int_equal(ld32(id + 120), DISK / 512);
    assert_int_equal(ld64(id + 200), DISK / 512);
    assert_int_equal(ld16(id + 150), 31);
    assert_int_equal(ld16(id + 2 * 106), 0x6003);
    assert_int_equal(ld16(id + 2 * 108), 0x5000);
    assert_int_equal(ld16(id + 2 * 111), 0x71aa);
    assert_int_equal(ld16(id + 2 * 169), 1);
    for (unsigned i = 0; i < 512; i++) {
        sum += id[i];
    }
    assert_int_equal(sum, 0);
    /* A PIO command: a PIO Setup FIS with the end status, no D2H FIS. */
    assert_int_equal(px(&a, 0, P_IS) & 3, 2);
    assert_int_equal(bench_ram(b, AHCI_RX(0) + 0x20, 16)[15], 0x50);
}

static void reads_and_writes(void **state)
{
    Bench *b = *state;
    static const uint8_t reads[] = { 0x20, 0x24, 0x25, 0x29, 0xc4, 0xc8 };
    static const uint8_t writes[] = { 0x30, 0x34, 0x35, 0x39, 0x3d, 0xc5, 0xca, 0xce };

    for (unsigned i = 0; i < sizeof(reads); i++) {
        memset(bench_ram(b, DATA, 2048), 0xaa, 2048);
        assert_int_equal(run(reads[i], 0, 7 + i, 3, 1536), 0x50);
        assert_int_equal(ram32(b, DATA), (7 + i) * 128);
        assert_int_equal(ram32(b, DATA + 1532), (10 + i) * 128 - 1);
        assert_int_equal(ram32(b, DATA + 1536), 0xaaaaaaaa);
        /* PRDBC */
        assert_int_equal(ram32(b, AHCI_LIST(0) + 4), 1536);
    }
    for (unsigned i = 0; i < sizeof(writes); i++) {
        memset(bench_ram(b, DATA, 1024), (int)i + 1, 1024);
        assert_int_equal(run(writes[i], 0, 100 + 4 * i, 2, 1024), 0x50);
        assert_int_equal(medium_word(&medium, (100 + 4 * i) * 512), 0x01010101 * (i + 1));
        assert_int_equal(medium_word(&medium, (101 + 4 * i) * 512 + 508), 0x01010101 * (i + 1));
        assert_int_equal(medium_word(&medium, (102 + 4 * i) * 512), (102 + 4 * i) * 128);
    }
    assert_int_equal(run(0xe7, 0, 0, 0, 0), 0x50);
    assert_int_equal(run(0xea, 0, 0, 0, 0), 0x50);
}

static void large(void **state)
{
    Bench *b = *state;

    /* 4 MiB: more than one request of the engine. */
    assert_int_equal(run(0x25, 0, 16, 8192, 4 << 20), 0x50);
    for (unsigned i = 0; i < 8192; i += 31) {
        assert_int_equal(ram32(b, DATA + 512 * i), (16 + i) * 128);
    }
    /* Count 0 of a 28-bit command: 256 sectors. */
    assert_int_equal(run(0xc8, 0, 0, 0, 256 * 512), 0x50);
    assert_int_equal(ram32(b, AHCI_LIST(0) + 4), 256 * 512);
}

static void chs(void **state)
{
    Bench *b = *state;
    AhciCommand c = { .command = 0x20, .count = 1, .lba = 1 << 8 | 5, .data = DATA, .len = 512 };

    /* Cylinder 1, head 2, sector 5 of 16 heads, 63 sectors. */
    ahci_prepare(&a, 0, 0, &c);
    bench_ram(b, AHCI_TABLE(0, 0), 64)[7] = 0x02;
    px_set(&a, 0, P_CI, 1);
    ahci_wait(&a, 0, 1, 0);
    assert_int_equal(px(&a, 0, P_TFD), 0x50);
    assert_int_equal(ram32(b, DATA), ((16 + 2) * 63 + 4) * 128);
}

static void out_of_range(void **state)
{
    assert_int_equal(run(0x25, 0, DISK / 512, 1, 512), 0x1051);
    assert_int_equal(run(0x25, 0, DISK / 512 - 1, 2, 1024), 0x1051);
    assert_int_equal(run(0x25, 0, 0xffffffffffff, 0, 512), 0x1051);
    assert_int_equal(run(0x25, 0, DISK / 512 - 1, 1, 512), 0x50);
    assert_int_equal(run(0x42, 0, 0, 16, 0), 0x50);
    assert_int_equal(run(0x42, 0, DISK / 512, 1, 0), 0x1051);
}

static void trim(void **state)
{
    Bench *b = *state;
    uint8_t *ranges = bench_ram(b, DATA, 1024);

    memset(ranges, 0, 1024);
    st64(ranges, UINT64_C(16) << 48 | 64);
    st64(ranges + 512, UINT64_C(8) << 48 | 128);
    assert_int_equal(run(0x06, 1, 0, 2, 1024), 0x50);
    assert_int_equal(medium_word(&medium, 64 * 512), 0);
    assert_int_equal(medium_word(&medium, 135 * 512), 0);
    assert_int_equal(medium_word(&medium, 136 * 512), 136 * 128);
    /* A range beyond the end: nothing is trimmed. */
    st64(ranges, UINT64_C(1) << 48 | 256);
    st64(ranges + 8, UINT64_C(1) << 48 | DISK / 512);
    assert_int_equal(run(0x06, 1, 0, 1, 512) & 1, 1);
    assert_int_equal(blk_front_next(NULL)->invalid[BLK_DISCARD], 1);
    assert_int_equal(medium_word(&medium, 256 * 512), 256 * 128);
    assert_int_equal(run(0x06, 0, 0, 1, 512), 0x451);
    assert_int_equal(run(0x06, 1, 0, 9, 9 * 512), 0x451);
}

static void settings(void **state)
{
    Bench *b = *state;
    uint8_t *id = bench_ram(b, DATA, 512);

    assert_int_equal(run(0xef, 0x82, 0, 0, 0), 0x50);
    assert_int_equal(run(0xef, 0x03, 0, 0x22, 0), 0x50);
    assert_int_equal(run(0xc6, 0, 0, 4, 0), 0x50);
    assert_int_equal(run(0xc6, 0, 0, 3, 0), 0x451);
    assert_int_equal(run(0xef, 0x03, 0, 0x7f, 0), 0x451);
    assert_int_equal(run(0xef, 0x99, 0, 0, 0), 0x451);
    assert_int_equal(run(0xec, 0, 0, 0, 512), 0x50);
    assert_int_equal(ld16(id + 2 * 85) & 0x20, 0);
    assert_int_equal(ld16(id + 2 * 63), 0x0407);
    assert_int_equal(ld16(id + 2 * 88), 0x003f);
    assert_int_equal(ld16(id + 2 * 59), 0x0104);
    bench_save_load(b, a.d);
    assert_int_equal(run(0xec, 0, 0, 0, 512), 0x50);
    assert_int_equal(ld16(id + 2 * 59), 0x0104);
    bench_reset(b);
    ahci_start(&a, 0);
}

static void information(void **state)
{
    Bench *b = *state;
    uint8_t *rx = bench_ram(b, AHCI_RX(0) + 0x40, 20);

    assert_int_equal(run(0x27, 0, 0, 0, 0), 0x50);
    assert_int_equal(ld32(rx + 4) & 0xffffff, DISK / 512 - 1);
    assert_int_equal(run(0xe5, 0, 0, 0, 0), 0x50);
    assert_int_equal(rx[12], 0xff);
    assert_int_equal(run(0xe0, 0, 0, 0, 0), 0x50);
    assert_int_equal(run(0xe5, 0, 0, 0, 0), 0x50);
    assert_int_equal(rx[12], 0x00);
    assert_int_equal(run(0xb0, 0xda, 0xc24f00, 0, 0), 0x50);
    assert_int_equal(ld32(rx + 4) >> 8 & 0xffff, 0xc24f);
    assert_int_equal(run(0xb0, 0xd0, 0xc24f00, 0, 512), 0x50);
    assert_int_equal(run(0xb0, 0xd0, 0x1234, 0, 512), 0x451);
    assert_int_equal(run(0x2f, 0, 0x00, 1, 512), 0x50);
    assert_int_equal(ld16(bench_ram(b, DATA + 0x20, 2)), 1);
    assert_int_equal(run(0xf5, 0, 0, 0, 0), 0x451);
    assert_int_equal(run(0xa1, 0, 0, 0, 512), 0x451);
}

/* The host fails a read: UNC with the sector, and the queue's error log for a queued one. */
static void host_errors(void **state)
{
    Bench *b = *state;
    uint8_t *rx = bench_ram(b, AHCI_RX(0), 256);

    assert_true(truncate(medium.path, DISK) == 0);
    assert_true(blk_truncate(medium.node, DISK / 2, NULL));
    /* The disk has shrunk under the guest: the sectors are not there any more. */
    assert_int_equal(run(0x25, 0, DISK / 1024, 1, 512), 0x1051);
    assert_int_equal(rx[0x40 + 3], 0x10);
    assert_int_equal(run(0x25, 0, DISK / 1024 - 1, 1, 512), 0x50);
}

static void refused(void **state)
{
    Bench *b = *state;
    TestMedium ro = medium_new("ro", 65536, true);
    Error *e = NULL;

    assert_null(bench_try_device(b, &ide_hd_type, "x", &e, "drive", "ro", NULL));
    assert_string_equal(error_text(e), "Block node is read-only");
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &ide_hd_type, "x", &e, NULL));
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &ide_cd_type, "x", &e, "unit", "1", NULL));
    assert_string_equal(error_text(e), "Can't create IDE unit 1, bus supports only 1 units");
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &ide_hd_type, "x", &e, "drive", "d0", NULL));
    assert_non_null(strstr(error_text(e), "disk"));
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &ide_cd_type, "x", &e, "werror", "sometimes", NULL));
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &ide_cd_type, "x", &e, "logical_block_size", "4096",
                                 "physical_block_size", "4096", NULL));
    g_clear_pointer(&e, error_free);
    medium_free(&ro);
}

RUN_TESTS(TEST(identify), TEST(reads_and_writes), TEST(large), TEST(chs), TEST(out_of_range),
          TEST(trim), TEST(settings), TEST(information), TEST(host_errors), TEST(refused))
