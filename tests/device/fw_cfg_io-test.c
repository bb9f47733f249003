/* fw_cfg_io-test.c: items by key and name, DMA, hooks, and what a hostile guest may try. */
#include "hw/misc/fw-cfg.h"
#include "tests/device/device-test.h"
#include "util/trace.h"

static Bench *b;
static Device *d;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &fw_cfg_type, "fwcfg", NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void read_item(uint16_t key, void *buf, size_t n)
{
    bench_out16(b, 0x510, key);
    for (size_t i = 0; i < n; i++) {
        ((uint8_t *)buf)[i] = bench_in8(b, 0x511);
    }
}

/* Runs a DMA command with its descriptor at 0x1000; returns the control word left behind. */
static uint32_t dma(uint32_t control, uint32_t len, uint64_t addr)
{
    uint8_t *at = bench_ram(b, 0x1000, 16);
    Be32 c = to_be32(control), l = to_be32(len);
    Be64 a = to_be64(addr);

    memcpy(at, &c, 4);
    memcpy(at + 4, &l, 4);
    memcpy(at + 8, &a, 8);
    bench_out32(b, 0x514, 0);
    bench_out32(b, 0x518, htobe32(0x1000));
    memcpy(&c, at, 4);
    return be32(c);
}

/* The key of file @name as the guest finds it; 0: none. */
static uint16_t file_key(const char *name, uint32_t *size)
{
    uint8_t raw[4], row[64];

    read_item(FW_CFG_FILE_DIR, raw, 4);
    uint32_t n = be32toh(*(uint32_t *)raw);
    for (uint32_t i = 0; i < n; i++) {
        for (int j = 0; j < 64; j++) {
            row[j] = bench_in8(b, 0x511);
        }
        if (strcmp((char *)row + 8, name) == 0) {
            *size = be32toh(*(uint32_t *)row);
            return (uint16_t)(row[4] << 8 | row[5]);
        }
    }
    return 0;
}

static void test_basics(void **state)
{
    char sig[6];
    uint32_t id, lie = 0;

    read_item(FW_CFG_SIGNATURE, sig, 6);
    assert_memory_equal(sig, "QEMU\0\0", 6);
    read_item(FW_CFG_ID, &id, 4);
    assert_int_equal(le32toh(id), 3);
    assert_int_equal(bench_in32(b, 0x514), 0x554d4551);
    assert_int_equal(bench_in32(b, 0x518), 0x47464320);
    fw_cfg_add_u64(d, FW_CFG_RAM_SIZE, 0x123456789aULL);
    uint64_t ram;
    read_item(FW_CFG_RAM_SIZE, &ram, 8);
    assert_int_equal(le64toh(ram), 0x123456789aULL);
    fw_cfg_add_u16(d, FW_CFG_RAM_SIZE, 7);         /* replaces */
    read_item(FW_CFG_RAM_SIZE, &lie, 4);
    assert_int_equal(le32toh(lie), 7);
    read_item(0x7777, &lie, 4);
    assert_int_equal(lie, 0);
    read_item(FW_CFG_X86_E820, &lie, 4);
    assert_int_equal(lie, 0);
    bench_out16(b, 0x510, FW_CFG_SIGNATURE);
    bench_out8(b, 0x511, 'x');                     /* writes do nothing */
    assert_int_equal(bench_in16(b, 0x510), 0);
    assert_int_equal(bench_in8(b, 0x510), 'Q');
}

static void test_directory(void **state)
{
    uint32_t size;
    Error *e = NULL;
    char text[8];

    assert_true(fw_cfg_add_file(d, "etc/zebra", "zzz", 3, NULL));
    assert_true(fw_cfg_add_file(d, "bootorder", "bb", 2, NULL));
    assert_true(fw_cfg_add_file(d, "etc/ant", "a", 1, NULL));
    assert_int_equal(file_key("bootorder", &size), 0x20);
    assert_int_equal(size, 2);
    assert_int_equal(file_key("etc/ant", &size), 0x21);
    assert_int_equal(file_key("etc/zebra", &size), 0x22);
    read_item(0x22, text, 4);
    assert_memory_equal(text, "zzz\0", 4);
    assert_false(fw_cfg_add_file(d, "etc/ant", "x", 1, &e));
    error_free(e);
    e = NULL;
    g_autofree char *longer = g_strnfill(56, 'n');
    assert_false(fw_cfg_add_file(d, longer, "x", 1, &e));
    error_free(e);
    e = NULL;
    for (int i = 3; i < 32; i++) {
        g_autofree char *name = g_strdup_printf("opt/%d", i);
        assert_true(fw_cfg_add_file(d, name, &i, 4, NULL));
    }
    assert_false(fw_cfg_add_file(d, "opt/more", "x", 1, &e));
    error_free(e);
    assert_true(fw_cfg_modify_file(d, "etc/ant", "longer", 7));
    uint16_t key = file_key("etc/ant", &size);
    assert_int_equal(size, 7);
    read_item(key, text, 7);
    assert_string_equal(text, "longer");
    assert_false(fw_cfg_modify_file(d, "etc/nobody", "", 0));
}

static void test_dma_read(void **state)
{
    g_autofree uint8_t *big = g_malloc(3 * MiB);
    uint8_t *ram = bench_ram(b, 0x100000, 4 * MiB);

    for (size_t i = 0; i < 3 * MiB; i++) {
        big[i] = (uint8_t)(i * 7 + (i >> 13));
    }
    fw_cfg_add_borrowed(d, FW_CFG_KERNEL_DATA, big, 3 * MiB);
    memset(ram, 0xee, 4 * MiB);
    assert_int_equal(dma(FW_CFG_KERNEL_DATA << 16 | 8 | 2, 3 * MiB + 100, 0x100000), 0);
    assert_memory_equal(ram, big, 3 * MiB);
    assert_int_equal(ram[3 * MiB + 99], 0);        /* zeroes past the end */
    assert_int_equal(ram[3 * MiB + 100], 0xee);
    assert_int_equal(dma(FW_CFG_KERNEL_DATA << 16 | 8 | 4, 5, 0), 0);
    assert_int_equal(bench_in8(b, 0x511), big[5]);
    assert_int_equal(dma(2, 4, 0x200000), 0);
    assert_memory_equal(bench_ram(b, 0x200000, 4), big + 6, 4);
}

static void test_dma_refused(void **state)
{
    assert_int_equal(dma(8 | 2, 4, 0xe0000000), 1);                /* no memory there */
    assert_int_equal(dma(FW_CFG_ID << 16 | 8 | 0x10, 4, 0x2000), 1);       /* read-only */
    assert_int_equal(dma(0x7777 << 16 | 8 | 0x10, 4, 0x2000), 1);          /* no such item */
    unsigned long bugs = guest_bug_count();
    bench_out32(b, 0x514, 0);
    bench_out32(b, 0x518, htobe32(0xf0000000));
    assert_int_equal(guest_bug_count(), bugs + 1);
    assert_int_equal(dma(8 | 2, 4, UINT64_MAX - 1), 1);
}

static unsigned selected, written;

static void on_select(void *arg)
{
    selected++;
    fw_cfg_modify_file(d, "etc/fresh", "new", 3);
}

static void on_write(void *arg, size_t off, size_t n)
{
    written = (unsigned)(off * 100 + n);
}

static void test_hooks(void **state)
{
    static const FwCfgHooks hooks = { on_select, on_write };
    uint32_t size;
    char text[4] = "";

    selected = written = 0;
    assert_true(fw_cfg_add_file_hooks(d, "etc/fresh", "old", 3, true, &hooks, NULL, NULL));
    read_item(file_key("etc/fresh", &size), text, 3);
    assert_string_equal(text, "new");
    assert_int_equal(selected, 1);
    memcpy(bench_ram(b, 0x2000, 2), "XY", 2);
    assert_int_equal(dma(0x20 << 16 | 8 | 4, 1, 0), 0);
    assert_int_equal(dma(0x10, 2, 0x2000), 0);
    assert_int_equal(written, 102);
    size_t n;
    assert_memory_equal(fw_cfg_file_data(d, "etc/fresh", &n), "nXY", 3);
    assert_int_equal(n, 3);
    assert_int_equal(dma(0x10, 1, 0x2000), 1);     /* past its end */
}

static void test_state(void **state)
{
    uint32_t size;
    size_t n;
    Error *e = NULL;

    fw_cfg_add_file_hooks(d, "etc/guid", "0123456789abcdef", 16, true, NULL, NULL, NULL);
    memcpy(bench_ram(b, 0x2000, 4), "WXYZ", 4);
    assert_int_equal(dma(file_key("etc/guid", &size) << 16 | 8 | 0x10, 4, 0x2000), 0);
    bench_out16(b, 0x510, 0x20);
    bench_in8(b, 0x511);
    bench_save_load(b, d);
    assert_int_equal(bench_in8(b, 0x511), 'X');
    g_autoptr(GByteArray) s = bench_save(b, d);
    fw_cfg_modify_file(d, "etc/guid", "................", 16);
    assert_true(bench_load(b, d, s, NULL));
    assert_memory_equal(fw_cfg_file_data(d, "etc/guid", &n), "WXYZ456789abcdef", 16);
    fw_cfg_modify_file(d, "etc/guid", "short", 5);
    assert_false(bench_load(b, d, s, &e));
    assert_non_null(strstr(error_text(e), "etc/guid"));
    error_free(e);
}

RUN_TESTS(TEST(test_basics), TEST(test_directory), TEST(test_dma_read), TEST(test_dma_refused),
          TEST(test_hooks), TEST(test_state))
