/* vmcoreinfo-test.c: the fw_cfg file, who may read it, and how often there is one. */
#include "core/machine.h"
#include "hw/misc/fw-cfg.h"
#include "tests/device/device-test.h"
#include "util/bytes.h"

extern const DeviceType vmcoreinfo_type;

static Bench *b;

static int setup(void **state)
{
    b = bench_new();
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

/* The guest writes the whole file by DMA (fw_cfg specification). */
static void guest_writes(uint16_t host, uint16_t guest, uint32_t size, uint64_t at)
{
    uint8_t *file = bench_ram(b, 0x2000, 16), *access = bench_ram(b, 0x1000, 16);

    st16(file, host);
    st16(file + 2, guest);
    st32(file + 4, size);
    st64(file + 8, at);
    st32(access, GUINT32_TO_BE(FW_CFG_FILE_FIRST << 16 | 8 | 0x10));
    st32(access + 4, GUINT32_TO_BE(16));
    st64(access + 8, GUINT64_TO_BE(0x2000));
    bench_out32(b, 0x514, 0);
    bench_out32(b, 0x518, GUINT32_TO_BE(0x1000));
    assert_int_equal(ld32(access), 0);
}

static void test_address(void **state)
{
    Error *err = NULL;
    uint32_t size;
    Gpa at;

    assert_null(bench_try_device(b, &vmcoreinfo_type, "none", &err, NULL));
    assert_string_equal(error_text(err), "vmcoreinfo device requires fw_cfg with DMA");
    error_free(err);
    err = NULL;
    bench_device(b, &fw_cfg_type, "fw", NULL);
    bench_device(b, &vmcoreinfo_type, "info", NULL);
    assert_null(bench_try_device(b, &vmcoreinfo_type, "second", &err, NULL));
    assert_string_equal(error_text(err), "at most one vmcoreinfo device is permitted");
    error_free(err);
    assert_false(b->m->vmcoreinfo(b->m, &at, &size));
    guest_writes(1, 1, 0x1234, 0x123456789);
    assert_true(b->m->vmcoreinfo(b->m, &at, &size));
    assert_int_equal(size, 0x1234);
    assert_int_equal(at, 0x123456789);
    guest_writes(1, 7, 1, 1);                  /* a format nobody knows */
    assert_false(b->m->vmcoreinfo(b->m, &at, &size));
    guest_writes(1, 1, 1, 1);
    bench_reset(b);
    assert_false(b->m->vmcoreinfo(b->m, &at, &size));
}

RUN_TESTS(TEST(test_address))
