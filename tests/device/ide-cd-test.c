/* ide-cd-test.c: packets of an ATAPI drive, through an AHCI port; media that come and go. */
#include "tests/device/ide-helper.h"

#define BLOCKS 200
#define DATA 0x200000

static TestMedium medium, second;
static AhciBench a;
static Device *cd;

static int setup(void **state)
{
    Bench *b = bench_new();

    medium = medium_new("iso", BLOCKS * 2048 + 512, true);
    second = medium_new("iso2", 4096, true);
    a = ahci_new(b);
    cd = bench_device(b, &ide_cd_type, "cd", "drive", "iso", NULL);
    ahci_start(&a, 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    bench_free(*state);
    medium_free(&medium);
    medium_free(&second);
    return 0;
}

static BlkFront *front(void)
{
    return &((IdeDrive *)cd)->medium.front;
}

static bool change(BlkNode *n, Error **errp)
{
    return front()->tray->change(front(), n, errp);
}

#define PACKET(len, ...) ahci_packet(&a, 0, (const uint8_t[12]){ __VA_ARGS__ }, DATA, len)

/* Key << 16 | ASC << 8 | ASCQ of REQUEST SENSE. */
static uint32_t sense(Bench *b)
{
    const uint8_t *p = bench_ram(b, DATA, 18);

    assert_int_equal(PACKET(18, 0x03, 0, 0, 0, 18), 0x50);
    assert_int_equal(p[0], 0x70);
    return (uint32_t)p[2] << 16 | p[12] << 8 | p[13];
}

static void identity(void **state)
{
    Bench *b = *state;
    uint8_t *p = bench_ram(b, DATA, 512);
    AhciCommand id = { .command = 0xa1, .data = DATA, .len = 512 };
    AhciCommand disk = { .command = 0xec, .data = DATA, .len = 512 };

    assert_int_equal(px(&a, 0, P_SIG), 0xeb140101);
    assert_int_equal(ahci_run(&a, 0, &id), 0x50);
    assert_int_equal(ld16(p), 0x85c0);
    assert_int_equal(ahci_run(&a, 0, &disk), 0x451);
    assert_int_equal(PACKET(36, 0x12, 0, 0, 0, 36), 0x50);
    assert_int_equal(p[0], 5);
    assert_memory_equal(p + 8, "QEMU    QEMU DVD-ROM    ", 24);
    /* Allocation length shorter than the data. */
    memset(p, 0xaa, 36);
    assert_int_equal(PACKET(36, 0x12, 0, 0, 0, 5), 0x50);
    assert_int_equal(p[4], 31);
    assert_int_equal(p[5], 0xaa);
    assert_int_equal(PACKET(0, 0xff), 0x5451);
    assert_int_equal(sense(b), 0x052000);
    assert_int_equal(sense(b), 0);
}

static void reading(void **state)
{
    Bench *b = *state;
    uint8_t *p = bench_ram(b, DATA, 65536);

    assert_int_equal(PACKET(0, 0x00), 0x50);
    assert_int_equal(PACKET(8, 0x25), 0x50);
    assert_memory_equal(p, "\0\0\0\xc7\0\0\x08\0", 8);
    assert_int_equal(PACKET(8192, 0x28, 0, 0, 0, 0, 10, 0, 0, 4), 0x50);
    assert_int_equal(ld32(p), 10 * 512);
    assert_int_equal(ld32(p + 8188), 14 * 512 - 1);
    assert_int_equal(PACKET(2048, 0xa8, 0, 0, 0, 0, BLOCKS - 1, 0, 0, 0, 1), 0x50);
    assert_int_equal(ld32(p), (BLOCKS - 1) * 512);
    assert_int_equal(PACKET(2048, 0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10), 0x50);
    assert_int_equal(ld32(p), 3 * 512);
    assert_int_equal(PACKET(4096, 0x28, 0, 0, 0, 0, BLOCKS - 1, 0, 0, 2), 0x5451);
    assert_int_equal(sense(b), 0x052100);
    assert_int_equal(PACKET(0, 0x28, 0, 0, 0, 0, 0, 0, 0, 0), 0x50);
}

static void tables(void **state)
{
    Bench *b = *state;
    uint8_t *p = bench_ram(b, DATA, 512);

    assert_int_equal(PACKET(20, 0x43, 0, 0, 0, 0, 0, 0, 0, 20), 0x50);
    assert_memory_equal(p, "\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x16\xaa\0\0\0\0\xc8", 20);
    assert_int_equal(PACKET(20, 0x43, 2, 0, 0, 0, 0, 0xaa, 0, 20), 0x50);
    assert_memory_equal(p, "\0\x0a\1\1\0\x16\xaa\0\0\0\4\x32", 12);
    assert_int_equal(PACKET(20, 0x43, 0, 0, 0, 0, 0, 7, 0, 20), 0x5451);
    assert_int_equal(PACKET(100, 0x46, 0, 0, 0, 0, 0, 0, 0, 100), 0x50);
    assert_int_equal(p[7], 0x08);              /* profile CD-ROM */
    assert_int_equal(ld32(p) >> 24, 8 + 12 + 12 + 8 + 12 + 8 - 4);
    assert_int_equal(PACKET(100, 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 100), 0x50);
    assert_int_equal(p[8], 0x2a);
    assert_int_equal(PACKET(100, 0x5a, 0, 0x3e, 0, 0, 0, 0, 0, 100), 0x5451);
    assert_int_equal(PACKET(34, 0x51, 0, 0, 0, 0, 0, 0, 0, 34), 0x50);
    assert_int_equal(p[2], 0x0e);
    assert_int_equal(PACKET(8, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 0x50);
}

static void trays(void **state)
{
    Bench *b = *state;
    uint8_t *p = bench_ram(b, DATA, 512);
    Error *e = NULL;

    /* Locked: neither the guest nor a polite host opens it. */
    assert_int_equal(PACKET(0, 0x1e, 0, 0, 0, 1), 0x50);
    assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 2), 0x5451);
    assert_int_equal(sense(b), 0x055302);
    assert_false(front()->tray->open(front(), false, &e));
    g_clear_pointer(&e, error_free);
    assert_int_equal(PACKET(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
    assert_int_equal(p[4], 1);                 /* eject request */
    assert_int_equal(PACKET(0, 0x1e, 0, 0, 0, 0), 0x50);
    assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 2), 0x50);
    assert_int_equal(PACKET(0, 0x00), 0x2451);
    assert_int_equal(sense(b), 0x023a02);
    assert_int_equal(PACKET(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
    assert_int_equal(p[5], 1);
    bench_save_load(b, a.d);
    assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 3), 0x50);
    assert_int_equal(PACKET(0, 0x00), 0x6451);
    assert_int_equal(sense(b), 0x062800);
    assert_int_equal(PACKET(0, 0x00), 0x50);
}

static void media(void **state)
{
    Bench *b = *state;
    uint8_t *p = bench_ram(b, DATA, 512);
    Error *e = NULL;

    assert_false(change(second.node, &e));
    assert_string_equal(error_text(e), "Tray of device 'cd' is not open");
    error_free(e);
    assert_true(front()->tray->open(front(), true, NULL));
    assert_true(change(NULL, NULL));
    front()->tray->close(front());
    assert_int_equal(PACKET(0, 0x00), 0x2451);
    assert_int_equal(sense(b), 0x023a00);
    assert_int_equal(PACKET(2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), 0x2451);
    assert_true(change(second.node, NULL));
    assert_int_equal(PACKET(0, 0x00), 0x6451);
    assert_int_equal(PACKET(8, 0x25), 0x50);
    assert_memory_equal(p, "\0\0\0\1", 4);
    assert_int_equal(PACKET(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
    assert_int_equal(p[4], 2);
    /* The first medium is free again. */
    BlkUser u = { 0 };
    assert_true(blk_attach(medium.node, &u, "test", BLK_PERM_READ, 0, NULL));
    blk_detach(&u);
}

static void empty(void **state)
{
    Bench *b = *state;
    Device *none = bench_device(b, &ide_cd_type, "none", NULL);

    assert_non_null(none);
    ahci_start(&a, 1);
    assert_int_equal(ahci_packet(&a, 1, (const uint8_t[12]){ 0 }, DATA, 0), 0x2451);
    assert_int_equal(ahci_packet(&a, 1, (const uint8_t[12]){ 0x28, [8] = 1 }, DATA, 2048), 0x2451);
    assert_int_equal(ahci_packet(&a, 1, (const uint8_t[12]){ 0x12, [4] = 36 }, DATA, 36), 0x50);
}

/* A drive that is refused at its last step leaves nothing listed, and its medium to others. */
static void refused(void **state)
{
    Bench *b = *state;
    Error *e = NULL;
    BlkUser u = { 0 };

    assert_non_null(bench_device(b, &ide_cd_type, "first", "bootindex", "1", NULL));
    assert_null(bench_try_device(b, &ide_cd_type, "again", &e, "bootindex", "1", "drive", "iso2", NULL));
    assert_string_equal(error_text(e), "The bootindex 1 has already been used");
    error_free(e);
    assert_true(blk_attach(second.node, &u, "test", BLK_PERM_READ, 0, NULL));
    blk_detach(&u);
    for (const BlkFront *f = NULL; (f = blk_front_next(f)) != NULL;) {
        assert_string_not_equal(f->qdev, "again");
    }
}

/* Any packet with any fields: an end, and no memory outside of what was given. */
static void random_packets(void **state)
{
    Bench *b = *state;
    g_autoptr(GRand) r = g_rand_new_with_seed(7);

    for (unsigned i = 0; i < 4000; i++) {
        uint8_t cdb[12];
        for (unsigned j = 0; j < 12; j++) {
            cdb[j] = g_rand_int_range(r, 0, 3) ? 0 : (uint8_t)g_rand_int(r);
        }
        static const uint8_t codes[] = {
            0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x43,
            0x46, 0x4a, 0x51, 0x52, 0x55, 0x5a, 0xa8, 0xad, 0xbd, 0xbe
        };
        cdb[0] = g_rand_int_range(r, 0, 10) ? codes[g_rand_int_range(r, 0, sizeof(codes))]
                                            : (uint8_t)g_rand_int(r);
        uint32_t len = (uint32_t)g_rand_int_range(r, 1, 4096) * 2;
        bench_ram(b, DATA + len, 1)[0] = 0x5a;
        ahci_packet(&a, 0, cdb, DATA, len);
        assert_int_equal(bench_ram(b, DATA + len, 1)[0], 0x5a);
    }
}

/* What a guest does to the tray, the medium and its lock, over and over. */
static void guest_turn(Bench *b, unsigned index, void *arg)
{
    static const uint8_t cdbs[][12] = {
        { 0x1b, [4] = 2 }, { 0x00 }, { 0x1b, [4] = 3 }, { 0x25 }, { 0x28, [8] = 1 }, { 0x1e, [4] = 1 },
        { 0x4a, 1, [4] = 0x10, [8] = 8 }, { 0x1b, [4] = 2 }, { 0x1e }, { 0x5a, [2] = 0x2a, [8] = 64 },
    };
    unsigned *turns = arg;
    AhciCommand c = { .command = 0xa0, .feature = 1, .data = DATA, .len = 2048 };

    if (px(&a, 0, P_TFD) & 0x80 || (px(&a, 0, P_CI) & 1 && !(px(&a, 0, P_TFD) & 1))) {
        return;
    }
    if (px(&a, 0, P_TFD) & 1) {
        px_set(&a, 0, P_CMD, 0x10);
        px_set(&a, 0, P_IS, UINT32_MAX);
        px_set(&a, 0, P_CMD, 0x11);
    }
    c.cdb = cdbs[*turns % G_N_ELEMENTS(cdbs)];
    ahci_prepare(&a, 0, 0, &c);
    px_set(&a, 0, P_CI, 1);
    __atomic_fetch_add(turns, 1, __ATOMIC_RELAXED);
}

static bool turned(void *arg)
{
    const unsigned *turns = arg;

    return __atomic_load_n(turns, __ATOMIC_RELAXED) > 2000;
}

/* The host opens, closes, looks and changes while the guest does the same: ThreadSanitizer has a say. */
static void both_at_once(void **state)
{
    Bench *b = *state;
    unsigned turns = 0, changes = 0, opened = 0;

    bench_vcpus_start(b, 1, guest_turn, &turns);
    for (unsigned i = 0; !turned(&turns) || changes < 10 || opened < 10; i++) {
        opened += front()->tray->open(front(), i % 3 == 0, NULL);
        changes += change(i % 2 ? medium.node : second.node, NULL);
        front()->tray->is_locked(front());
        if (!front()->tray->is_open(front())) {
            changes += change(NULL, NULL);
        }
        front()->tray->close(front());
        bench_run(b);
    }
    bench_vcpus_stop(b);
    front()->tray->open(front(), true, NULL);
    assert_true(front()->tray->is_open(front()));
}

RUN_TESTS(TEST(both_at_once), TEST(identity), TEST(reading), TEST(tables), TEST(trays), TEST(media),
          TEST(empty), TEST(refused), TEST(random_packets))
