/* ioapic-test.c: redirection entries, edges and levels, ends of interrupt. */
#include "hw/isa/ioapic.h"
#include "tests/device/device-test.h"

static Bench *b;
static Device *d;
static IrqSink *in;

static int setup(void **state)
{
    b = bench_new();
    d = bench_device(b, &ioapic_type, "ioapic", NULL);
    in = ioapic_inputs(d);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static uint32_t get(uint8_t index)
{
    bench_write32(b, 0xfec00000, index);
    return bench_read32(b, 0xfec00010);
}

static void put(uint8_t index, uint32_t val)
{
    bench_write32(b, 0xfec00000, index);
    bench_write32(b, 0xfec00010, val);
}

static void rte(unsigned pin, uint64_t val)
{
    put(0x11 + 2 * pin, val >> 32);
    put(0x10 + 2 * pin, (uint32_t)val);
}

static void test_registers(void **state)
{
    assert_int_equal(get(1), 0x170020);
    put(0, 0x0f000000);
    assert_int_equal(get(0), 0x0f000000);
    assert_int_equal(get(0x10), 0x10000);
    put(0x10, 0xffffffff);
    assert_int_equal(get(0x10), 0x1afff);          /* status bits are read-only */
    put(0x3f, 0xffffffff);
    assert_int_equal(get(0x3f), 0xff000000);
    assert_int_equal(get(0x40), 0);
}

static void test_edge(void **state)
{
    in->set(in, 4, true);
    in->set(in, 4, false);
    rte(4, UINT64_C(0x0300000000000000) | 0x800 | 0x131);          /* logical 3, lowest priority */
    assert_int_equal(bench_msi_count(b), 0);       /* a masked edge is lost */
    in->set(in, 4, true);
    in->set(in, 4, true);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->addr, 0xfee03004);
    assert_int_equal(bench_msi(b, 0)->data, 0x131);
    in->set(in, 4, false);
    in->set(in, 4, true);
    assert_int_equal(bench_msi_count(b), 2);
}

static void test_level(void **state)
{
    rte(17, 0x8041);
    in->set(in, 17, true);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->data, 0xc041);
    assert_int_equal(get(0x10 + 34), 0xc041);      /* Remote IRR */
    in->set(in, 17, false);
    in->set(in, 17, true);
    assert_int_equal(bench_msi_count(b), 1);
    ioapic_eoi(d, 0x41);
    assert_int_equal(bench_msi_count(b), 2);       /* still asserted */
    in->set(in, 17, false);
    bench_write32(b, 0xfec00040, 0x41);
    assert_int_equal(get(0x10 + 34), 0x8041);
    assert_int_equal(bench_msi_count(b), 2);
    in->set(in, 17, true);
    assert_int_equal(bench_msi_count(b), 3);
    put(0x10 + 34, 0x10041);                       /* to edge and masked: how old systems end one */
    put(0x10 + 34, 0x8041);
    assert_int_equal(bench_msi_count(b), 4);
}

typedef struct Route {
    unsigned calls, pin;
    MsiMsg m;
    bool masked;
} Route;

static void on_route(void *arg, unsigned pin, const MsiMsg *m, bool masked)
{
    *(Route *)arg = (Route){ ((Route *)arg)->calls + 1, pin, *m, masked };
}

static void test_routes(void **state)
{
    Route r = { 0 };

    ioapic_on_route(d, on_route, &r);
    put(0x10 + 10, 0x8055);
    assert_int_equal(r.calls, 1);
    assert_int_equal(r.pin, 5);
    assert_int_equal(r.m.data, 0xc055);
    assert_false(r.masked);
    r.calls = 0;
    bench_reset(b);
    assert_int_equal(r.calls, 24);
    assert_true(r.masked);
}

static void test_state(void **state)
{
    rte(9, 0x8041);
    in->set(in, 9, true);
    put(0, 0x05000000);
    bench_save_load(b, d);
    assert_int_equal(get(0x10 + 18), 0xc041);
    bench_msi_clear(b);
    ioapic_eoi(d, 0x41);
    assert_int_equal(bench_msi_count(b), 1);
}

RUN_TESTS(TEST(test_registers), TEST(test_edge), TEST(test_level), TEST(test_routes), TEST(test_state))
