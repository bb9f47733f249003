/* ich9-ahci-test.c: the AHCI controller: ports, queues, interrupts, errors, resets with I/O in
 * flight. */
#include "tests/device/ide-helper.h"

#define DISK (8 * MiB)
#define DATA 0x200000
#define BAD 0xf0000000         /* no RAM is there */

static TestMedium medium;
static BlkNode *slow;
static TestMedium kept;           /* of the disk that stops the machine; made by its test */
static AhciBench a;

static int setup(void **state)
{
    Bench *b = bench_new();

    medium = medium_new("d0", DISK, false);
    slow = slow_node("slow", 20 * NS_PER_MS);
    a = ahci_new(b);
    bench_device(b, &ide_hd_type, "disk", "drive", "d0", NULL);
    bench_device(b, &ide_hd_type, "snail", "drive", "slow", NULL);
    ahci_start(&a, 0);
    ahci_start(&a, 1);
    bench_write32(b, a.abar + A_IS, UINT32_MAX);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    medium_free(&medium);
    assert_true(blk_close(slow, NULL));
    if (kept.node != NULL) {
        medium_free(&kept);
        kept.node = NULL;
    }
    return 0;
}

static const AhciCommand read_one = { .command = 0x25, .count = 1, .data = DATA, .len = 512 };

static AhciCommand fpdma(uint8_t command, unsigned tag, uint64_t lba)
{
    return (AhciCommand){ .command = command,
                          .feature = 8,
                          .count = (uint16_t)(tag << 3),
                          .lba = lba,
                          .data = DATA + 4096 * tag,
                          .len = 4096 };
}

static void registers(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_config_read(b, a.d, 0, 4), 0x29228086);
    assert_int_equal(bench_config_read(b, a.d, 8, 4), 0x01060102);
    assert_int_equal(bench_read32(b, a.abar), 0xc0141f05);
    assert_int_equal(bench_read32(b, a.abar + A_GHC), 0x80000000);
    assert_int_equal(bench_read32(b, a.abar + 0x0c), 0x3f);
    assert_int_equal(bench_read32(b, a.abar + 0x10), 0x00010000);
    assert_int_equal(px(&a, 0, P_SSTS), 0x113);
    assert_int_equal(px(&a, 0, P_SIG), 0x101);
    assert_int_equal(px(&a, 0, P_TFD), 0x150);
    assert_int_equal(px(&a, 2, P_SSTS), 0);
    assert_int_equal(px(&a, 2, P_TFD), 0x7f);
    assert_int_equal(px(&a, 0, P_CMD) & 0xc017, 0xc017);
    assert_int_equal(px(&a, 7, P_CMD), 0);
    /* The SATA capability names the index and data pair. */
    unsigned cap = bench_capability(b, a.d, 0x12);
    assert_int_equal(cap, 0xa8);
    assert_int_equal(bench_config_read(b, a.d, cap + 4, 4), 0x48);
    assert_int_equal(bench_capability(b, a.d, 0x05), 0x80);
    Gpa idp = bench_bar(b, a.d, 4);
    bench_out32(b, idp + 0x10, 0x128);
    assert_int_equal(bench_in32(b, idp + 0x14), 0x113);
}

static bool irq_rose(void *arg)
{
    Bench *b = arg;

    for (unsigned i = 16; i < 20; i++) {
        if (bench_irq(b, i)) {
            return true;
        }
    }
    return false;
}

static void interrupts(void **state)
{
    Bench *b = *state;

    bench_write32(b, a.abar + A_GHC, 2);
    ahci_prepare(&a, 0, 0, &read_one);
    px_set(&a, 0, P_CI, 1);
    bench_until(b, irq_rose, b);
    assert_int_equal(bench_read32(b, a.abar + A_IS), 1);
    px_set(&a, 0, P_IS, px(&a, 0, P_IS));
    assert_true(irq_rose(b));
    bench_write32(b, a.abar + A_IS, 1);
    assert_false(irq_rose(b));
}

/* One message for all ports: what stays after the write to IS is told again. */
static void messages(void **state)
{
    Bench *b = *state;
    unsigned cap = bench_capability(b, a.d, 0x05);

    bench_config_write(b, a.d, cap + 4, 0xfee00000, 4);
    bench_config_write(b, a.d, cap + 12, 0x41, 2);
    bench_config_write(b, a.d, cap + 2, bench_config_read(b, a.d, cap + 2, 2) | 1, 2);
    bench_write32(b, a.abar + A_GHC, 2);
    assert_int_equal(ahci_run(&a, 0, &read_one), 0x50);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(ahci_run(&a, 1, &read_one), 0x50);
    assert_int_equal(bench_msi_count(b), 1);
    px_set(&a, 0, P_IS, UINT32_MAX);
    bench_write32(b, a.abar + A_IS, 1);
    assert_int_equal(bench_msi_count(b), 2);
    bench_write32(b, a.abar + A_IS, 2);        /* PxIS is not clear: it comes back */
    assert_int_equal(bench_msi_count(b), 3);
    px_set(&a, 1, P_IS, UINT32_MAX);
    bench_write32(b, a.abar + A_IS, 2);
    assert_int_equal(bench_msi_count(b), 3);
    assert_int_equal(bench_msi(b, 0)->data, 0x41);
}

static void queue(void **state)
{
    Bench *b = *state;

    for (unsigned i = 0; i < 32; i++) {
        AhciCommand c = fpdma(0x60, i, 8 * i);
        ahci_prepare(&a, 0, i, &c);
    }
    px_set(&a, 0, P_SACT, UINT32_MAX);
    px_set(&a, 0, P_CI, UINT32_MAX);
    assert_int_equal(px(&a, 0, P_CI), 0);      /* taken at once */
    ahci_wait(&a, 0, 0, UINT32_MAX);
    assert_int_equal(px(&a, 0, P_SACT), 0);
    assert_int_equal(px(&a, 0, P_IS) & 8, 8);
    for (unsigned i = 0; i < 32; i++) {
        assert_int_equal(ld32(bench_ram(b, DATA + 4096 * i, 4)), 8 * i * 128);
    }
    memset(bench_ram(b, DATA, 4096), 0x5a, 4096);
    AhciCommand w = fpdma(0x61, 0, 1000);
    ahci_prepare(&a, 0, 0, &w);
    px_set(&a, 0, P_SACT, 1);
    px_set(&a, 0, P_CI, 1);
    ahci_wait(&a, 0, 0, 1);
    assert_int_equal(medium_word(&medium, 1000 * 512), 0x5a5a5a5a);
}

static void queue_error(void **state)
{
    Bench *b = *state;
    AhciCommand bad = fpdma(0x60, 3, DISK / 512);
    AhciCommand log = { .command = 0x2f, .lba = 0x10, .count = 1, .data = DATA, .len = 512 };

    ahci_prepare(&a, 0, 3, &bad);
    px_set(&a, 0, P_SACT, 8);
    px_set(&a, 0, P_CI, 8);
    assert_int_equal(px(&a, 0, P_IS) >> 30, 1);
    assert_int_equal(px(&a, 0, P_TFD) & 0xff01, 0x1001);
    assert_int_equal(px(&a, 0, P_SACT), 8);
    px_set(&a, 0, P_CMD, 0x10);
    assert_int_equal(px(&a, 0, P_CMD) & 0x8000, 0);
    px_set(&a, 0, P_CMD, 0x11);
    assert_int_equal(ahci_run(&a, 0, &log), 0x50);
    assert_int_equal(bench_ram(b, DATA, 16)[0], 3);
    assert_int_equal(bench_ram(b, DATA, 16)[3], 0x10);
    assert_int_equal(ahci_run(&a, 0, &log), 0x50);
    assert_int_equal(bench_ram(b, DATA, 16)[0], 0x80);
}

/* Sectors that cross from one PRD entry to the next, and a table that is too short. */
static void prd_tables(void **state)
{
    Bench *b = *state;
    AhciCommand c = { .command = 0x25, .count = 2, .lba = 5, .data = DATA, .len = 100 };
    uint8_t *t = bench_ram(b, AHCI_TABLE(0, 0), 0x400);

    ahci_prepare(&a, 0, 0, &c);
    st32(bench_ram(b, AHCI_LIST(0), 4), 5 | 3 << 16);
    st64(t + 0x90, DATA + 0x1000);
    st32(t + 0x9c, 600 - 1);
    st64(t + 0xa0, DATA + 0x2000);
    st32(t + 0xac, 324 - 1);
    px_set(&a, 0, P_CI, 1);
    ahci_wait(&a, 0, 1, 0);
    assert_int_equal(px(&a, 0, P_TFD), 0x50);
    assert_int_equal(ld32(bench_ram(b, DATA, 4)), 5 * 128);
    assert_int_equal(ld32(bench_ram(b, DATA + 0x1000, 4)), 5 * 128 + 25);
    assert_int_equal(ld32(bench_ram(b, DATA + 0x2000, 4)), 5 * 128 + 175);
    c.len = 512;
    assert_int_equal(ahci_run(&a, 0, &c), 0x451);
    c.len = 0;
    assert_int_equal(ahci_run(&a, 0, &c), 0x451);
}

static void bad_memory(void **state)
{
    Bench *b = *state;
    AhciCommand c = read_one;

    c.data = BAD;
    ahci_prepare(&a, 0, 0, &c);
    px_set(&a, 0, P_CI, 1);
    bench_run(b);
    assert_int_equal(px(&a, 0, P_IS) >> 29 & 1, 1);
    px_set(&a, 0, P_CMD, 0x10);
    px_set(&a, 0, P_IS, UINT32_MAX);
    px_set(&a, 0, P_CMD, 0x11);
    /* The controller's own registers are no memory either. */
    c.data = a.abar;
    ahci_prepare(&a, 0, 0, &c);
    px_set(&a, 0, P_CI, 1);
    bench_run(b);
    assert_int_equal(px(&a, 0, P_IS) >> 29 & 1, 1);
    px_set(&a, 0, P_CMD, 0x10);
    px_set(&a, 0, P_CLB, BAD);
    px_set(&a, 0, P_IS, UINT32_MAX);
    px_set(&a, 0, P_CMD, 0x11);
    px_set(&a, 0, P_CI, 1);
    assert_int_equal(px(&a, 0, P_IS) >> 29 & 1, 1);
    px_set(&a, 0, P_CMD, 0);
    ahci_start(&a, 0);
    assert_int_equal(ahci_run(&a, 0, &read_one), 0x50);
    /* No bus mastering: as if there were no memory. */
    bench_config_write(b, a.d, 4, 3, 2);
    ahci_prepare(&a, 0, 0, &read_one);
    px_set(&a, 0, P_CI, 1);
    assert_int_equal(px(&a, 0, P_IS) >> 29 & 1, 1);
}

static void bad_commands(void **state)
{
    Bench *b = *state;

    ahci_prepare(&a, 0, 0, &read_one);
    bench_ram(b, AHCI_TABLE(0, 0), 1)[0] = 0x34;
    px_set(&a, 0, P_CI, 1);
    assert_int_equal(px(&a, 0, P_TFD) & 1, 1);
    px_set(&a, 0, P_CMD, 0x10);
    px_set(&a, 0, P_CMD, 0x11);
    AhciCommand wrong_tag = fpdma(0x60, 4, 0);
    ahci_prepare(&a, 0, 5, &wrong_tag);
    px_set(&a, 0, P_SACT, 1 << 5);
    px_set(&a, 0, P_CI, 1 << 5);
    assert_int_equal(px(&a, 0, P_TFD) & 1, 1);
    /* On a port without a device nothing happens. */
    ahci_start(&a, 3);
    px_set(&a, 3, P_CI, 1);
    bench_run(b);
    assert_int_equal(px(&a, 3, P_CI), 1);
}

static bool cr_clear(void *arg)
{
    return !(px(&a, 1, P_CMD) & 0x8000);
}

static void stop_in_flight(void **state)
{
    Bench *b = *state;

    ahci_prepare(&a, 1, 0, &read_one);
    px_set(&a, 1, P_CI, 1);
    assert_int_equal(px(&a, 1, P_TFD) & 0x80, 0x80);
    px_set(&a, 1, P_CMD, 0x10);
    assert_int_equal(px(&a, 1, P_CI), 0);
    assert_int_equal(px(&a, 1, P_CMD) & 0x8000, 0x8000);
    bench_until(b, cr_clear, NULL);
    assert_int_equal(px(&a, 1, P_IS), 0);      /* nobody is told */
    px_set(&a, 1, P_CMD, 0x11);
    assert_int_equal(ahci_run(&a, 1, &read_one), 0x50);
}

static bool is_ready(void *arg)
{
    return !(px(&a, 1, P_TFD) & 0x88) && px(&a, 1, P_SSTS) == 0x113;
}

static void comreset_in_flight(void **state)
{
    Bench *b = *state;

    ahci_prepare(&a, 1, 0, &read_one);
    px_set(&a, 1, P_CI, 1);
    px_set(&a, 1, P_CMD, 0x10);
    px_set(&a, 1, P_SCTL, 0x301);
    assert_int_equal(px(&a, 1, P_SSTS), 0);
    px_set(&a, 1, P_SCTL, 0x300);
    assert_int_equal(px(&a, 1, P_TFD) & 0x80, 0x80);
    bench_until(b, is_ready, NULL);
    assert_int_equal(px(&a, 1, P_TFD), 0x150);
    assert_int_equal(px(&a, 1, P_SERR) >> 26 & 1, 1);
    assert_int_equal(px(&a, 1, P_IS) & 0x40, 0x40);
    px_set(&a, 1, P_SERR, UINT32_MAX);
    assert_int_equal(px(&a, 1, P_IS) & 0x40, 0);
    px_set(&a, 1, P_CMD, 0x11);
    assert_int_equal(ahci_run(&a, 1, &read_one), 0x50);
}

static bool hr_clear(void *arg)
{
    return !(bench_read32(a.b, a.abar + A_GHC) & 1);
}

static void hba_reset_in_flight(void **state)
{
    Bench *b = *state;

    for (unsigned i = 0; i < 4; i++) {
        AhciCommand c = fpdma(0x60, i, 8 * i);
        ahci_prepare(&a, 1, i, &c);
    }
    px_set(&a, 1, P_SACT, 15);
    px_set(&a, 1, P_CI, 15);
    bench_write32(b, a.abar + A_GHC, 1);
    assert_false(hr_clear(NULL));
    bench_until(b, hr_clear, NULL);
    assert_int_equal(px(&a, 1, P_SACT), 0);
    assert_int_equal(px(&a, 1, P_CMD), 6);
    assert_int_equal(px(&a, 1, P_CLB), AHCI_LIST(1));
    ahci_start(&a, 1);
    assert_int_equal(ahci_run(&a, 1, &read_one), 0x50);
}

static void soft_reset(void **state)
{
    Bench *b = *state;
    AhciCommand none = { 0 };

    for (unsigned step = 0; step < 2; step++) {
        ahci_prepare(&a, 0, 0, &none);
        bench_ram(b, AHCI_TABLE(0, 0), 16)[1] = 0;
        bench_ram(b, AHCI_TABLE(0, 0), 16)[15] = step ? 0 : 4;
        px_set(&a, 0, P_CI, 1);
        assert_int_equal(px(&a, 0, P_CI), 0);
    }
    assert_int_equal(px(&a, 0, P_TFD), 0x150);
    assert_int_equal(ld32(bench_ram(b, AHCI_RX(0) + 0x44, 4)), 0x01 | 0 << 8);
}

/* A saved machine has no command in flight; what was not begun begins again after the load. */
static void quiesced(void **state)
{
    Bench *b = *state;
    AhciCommand c = fpdma(0x60, 0, 0);

    ahci_prepare(&a, 1, 0, &c);
    px_set(&a, 1, P_SACT, 1);
    px_set(&a, 1, P_CI, 1);
    bench_quiesce(b);
    assert_int_equal(px(&a, 1, P_SACT), 0);
    ahci_prepare(&a, 0, 2, &read_one);
    px_set(&a, 0, P_CI, 4);                    /* as if it came in the last moment */
    bench_run(b);
    assert_int_equal(px(&a, 0, P_CI), 4);
    bench_resume(b);
    ahci_wait(&a, 0, 4, 0);
    assert_int_equal(px(&a, 0, P_TFD), 0x50);
    bench_save_load(b, a.d);
    assert_int_equal(ahci_run(&a, 0, &read_one), 0x50);
}

static void reset_in_flight(void **state)
{
    Bench *b = *state;

    ahci_prepare(&a, 1, 0, &read_one);
    px_set(&a, 1, P_CI, 1);
    bench_reset(b);
    bench_bar_at(b, a.d, 5, a.abar);
    bench_config_write(b, a.d, 4, 7, 2);
    assert_int_equal(px(&a, 1, P_TFD), 0x150);
    ahci_start(&a, 1);
    assert_int_equal(ahci_run(&a, 1, &read_one), 0x50);
}

/* Random registers, command headers, FISes and PRD tables: no crash, and everything comes home. */
static void hostile(void **state)
{
    Bench *b = *state;
    g_autoptr(GRand) r = g_rand_new_with_seed(1);

    for (unsigned i = 0; i < 30000; i++) {
        unsigned port = (unsigned)g_rand_int_range(r, 0, 3),
                 slot = (unsigned)g_rand_int_range(r, 0, 4);
        static const unsigned regs[] = { P_IS,   P_IE, P_CMD, P_CMD, P_SCTL, P_SERR,
                                         P_SACT, P_CI, P_CI,  P_CI,  P_CLB };
        static const uint8_t codes[] = { 0x60, 0x61, 0x25, 0x35, 0xec, 0xa0, 0xa1,
                                         0x06, 0x2f, 0xe7, 0xef, 0xc8, 0x20 };
        uint32_t val = g_rand_int_range(r, 0, 3) ? g_rand_int(r) & 0x1f : g_rand_int(r);
        unsigned reg = regs[g_rand_int_range(r, 0, sizeof(regs) / sizeof(regs[0]))];

        if (g_rand_int_range(r, 0, 2)) {
            AhciCommand c = { .command = codes[g_rand_int_range(r, 0, sizeof(codes))],
                              .feature = (uint16_t)g_rand_int_range(r, 0, 20),
                              .lba = g_rand_int(r) & 0x7fff,
                              .count = (uint16_t)(slot << 3),
                              .data = DATA + (g_rand_int(r) & 0xffffe),
                              .len = (uint32_t)g_rand_int_range(r, 0, 8192) & ~1u };
            uint8_t cdb[12] = { (uint8_t)g_rand_int(r), [4] = 0xff, [7] = 1, [8] = 0xff };
            c.cdb = cdb;
            ahci_prepare(&a, port, slot, &c);
            bench_ram(b, AHCI_TABLE(port, slot) + (g_rand_int(r) & 0xff),
                      1)[0] ^= g_rand_int_range(r, 0, 8) ? 0 : 0x41;
        }
        px_set(&a, port, reg, reg == P_CLB ? (uint32_t)AHCI_LIST(port) : val);
        if (g_rand_int_range(r, 0, 500) == 0) {
            bench_write32(b, a.abar + A_GHC, 3);
        }
        if (g_rand_int_range(r, 0, 50) == 0) {
            bench_run(b);
        }
    }
    bench_quiesce(b);
    bench_resume(b);
    bench_write32(b, a.abar + A_GHC, 1);
    bench_until(b, hr_clear, NULL);
    ahci_start(&a, 0);
    assert_int_equal(ahci_run(&a, 0, &read_one), 0x50);
}

/* --- requests that fail so that the machine stops, and are made again --- */

/* Queued commands: what is issued meanwhile waits too. */
static void stop_queued(Bench *b)
{
    AhciCommand queued = fpdma(0x61, 3, 100), other = fpdma(0x61, 5, 200);

    memset(bench_ram(b, queued.data, 4096), 0x6d, 4096);
    memset(bench_ram(b, other.data, 4096), 0x7e, 4096);
    ahci_prepare(&a, 2, 3, &queued);
    ahci_prepare(&a, 2, 5, &other);
    fault_arm("file-write", 1);
    px_set(&a, 2, P_SACT, 1 << 3);
    px_set(&a, 2, P_CI, 1 << 3);
    wait_io_error(b);
    px_set(&a, 2, P_SACT, 1 << 5);
    px_set(&a, 2, P_CI, 1 << 5);
    bench_run(b);
    assert_int_equal(px(&a, 2, P_SACT), 1 << 3 | 1 << 5);
    bench_save_load(b, a.d);
    ahci_wait(&a, 2, 0, 1 << 3 | 1 << 5);
    assert_int_equal(px(&a, 2, P_SACT), 0);
    assert_int_equal(px(&a, 2, P_TFD) & 0x81, 0);
    assert_int_equal(medium_word(&kept, 107 * 512), 0x6d6d6d6d);
    assert_int_equal(medium_word(&kept, 200 * 512), 0x7e7e7e7e);
}

static void stop_on_error(void **state)
{
    Bench *b = *state;
    AhciCommand write = { .command = 0x35, .count = 2, .lba = 70, .data = DATA, .len = 1024 };
    AhciCommand read = fpdma(0x60, 3, 30);

    kept = medium_new("d1", DISK, false);
    bench_device(b, &ide_hd_type, "keeper", "drive", "d1", "werror", "stop", "rerror", "stop",
                 "write-cache", "off", NULL);
    ahci_start(&a, 2);
    /* Not queued: busy, until the machine went on. */
    memset(bench_ram(b, DATA, 1024), 0x5c, 1024);
    ahci_prepare(&a, 2, 0, &write);
    fault_arm("file-write", 1);
    px_set(&a, 2, P_CI, 1);
    wait_io_error(b);
    assert_int_equal(px(&a, 2, P_CI), 1);
    assert_int_equal(px(&a, 2, P_TFD) & 0x81, 0x80);
    assert_int_equal(blk_front_io_status(blk_front_find("keeper")), BLK_IO_FAILED);
    bench_save_load(b, a.d);
    ahci_wait(&a, 2, 1, 0);
    assert_int_equal(px(&a, 2, P_TFD), 0x50);
    assert_int_equal(medium_word(&kept, 71 * 512), 0x5c5c5c5c);
    stop_queued(b);
    /* A read; stopping the port forgets it. */
    ahci_prepare(&a, 2, 3, &read);
    fault_arm_run("file-read", 1, 2);          /* the short cut by the page cache, too */
    px_set(&a, 2, P_SACT, 1 << 3);
    px_set(&a, 2, P_CI, 1 << 3);
    wait_io_error(b);
    px_set(&a, 2, P_CMD, 0x10);
    assert_int_equal(px(&a, 2, P_CI) | px(&a, 2, P_SACT), 0);
    px_set(&a, 2, P_CMD, 0x11);
    assert_int_equal(ahci_run(&a, 2, &read_one), 0x50);
}

RUN_TESTS(TEST(registers), TEST(interrupts), TEST(messages), TEST(queue), TEST(queue_error),
          TEST(prd_tables), TEST(bad_memory), TEST(bad_commands), TEST(stop_in_flight),
          TEST(comreset_in_flight), TEST(hba_reset_in_flight), TEST(soft_reset), TEST(quiesced),
          TEST(reset_in_flight), TEST(stop_on_error),
          TEST(hostile))
