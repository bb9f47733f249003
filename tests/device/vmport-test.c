/* vmport-test.c: commands of VMware's port, answered in a vCPU's registers. */
#include "tests/device/device-test.h"

#define MAGIC 0x564d5868u
#define OLD UINT64_C(0x1111222233334444)

extern const DeviceType vmport_type;

static Bench *b;

static int setup(void **state)
{
    b = bench_new();
    b->has_self = true;
    b->m->cfg.uuid = (char *)"00112233-4455-6677-8899-aabbccddeeff";
    b->m->cfg.ram_size = 5 * GiB + 4096;
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void registers(uint32_t magic, uint32_t ecx)
{
    b->self = (CpuSelf){ .tsc_khz = 5000000, .x2apic = true };
    for (unsigned i = 0; i < 16; i++) {
        b->self.gpr[i] = OLD + i;
    }
    b->self.gpr[X86_RAX] = magic;
    b->self.gpr[X86_RCX] = ecx;
}

static uint64_t reg(unsigned i)
{
    return b->self.gpr[i];
}

static uint32_t ask(uint32_t ecx)
{
    registers(MAGIC, ecx);
    uint32_t eax = bench_in32(b, 0x5658);
    assert_int_equal(reg(X86_RAX), eax);
    return eax;
}

static void test_commands(void **state)
{
    bench_device(b, &vmport_type, "vmport", NULL);
    assert_int_equal(ask(10), 6);
    assert_int_equal(reg(X86_RBX), MAGIC);
    assert_int_equal(reg(X86_RCX), 2);
    assert_int_equal(reg(X86_RDX), OLD + X86_RDX);
    assert_int_equal(ask(0x7777000a), 6);                  /* the high half says nothing */
    assert_int_equal(ask(19), 0x33221100);
    assert_int_equal(reg(X86_RBX), 0x77665544);
    assert_int_equal(reg(X86_RCX), 0xbbaa9988);
    assert_int_equal(reg(X86_RDX), 0xffeeddcc);
    assert_int_equal(ask(20), (uint32_t)(5 * GiB + 4096));
    assert_int_equal(reg(X86_RBX), 0x1177);
    assert_int_equal(ask(45), (uint32_t)5000000000);
    assert_int_equal(reg(X86_RBX), 1);
    assert_int_equal(reg(X86_RCX), 1000000000);
    assert_int_equal(ask(68), 8);
    for (unsigned i = X86_RSP; i < 16; i++) {
        assert_int_equal(reg(i), OLD + i);
    }
}

static void test_host_without_rate_or_x2apic(void **state)
{
    bench_device(b, &vmport_type, "vmport", NULL);
    registers(MAGIC, 45);
    b->self.tsc_khz = 0;
    assert_int_equal(bench_in32(b, 0x5658), MAGIC);
    assert_int_equal(reg(X86_RBX), UINT32_MAX);
    registers(MAGIC, 68);
    b->self.x2apic = false;
    assert_int_equal(bench_in32(b, 0x5658), 0);
}

static void test_refused(void **state)
{
    bench_device(b, &vmport_type, "vmport", NULL);
    for (unsigned command = 0; command < 256; command++) {
        if (command != 10 && command != 19 && command != 20 && command != 45 && command != 68) {
            assert_int_equal(ask(command), UINT32_MAX);
            assert_int_equal(reg(X86_RBX), OLD + X86_RBX);
        }
    }
    registers(MAGIC + 1, 10);
    assert_int_equal(bench_in32(b, 0x5658), UINT32_MAX);
    assert_int_equal(reg(X86_RAX), UINT32_MAX);
    assert_int_equal(reg(X86_RBX), OLD + X86_RBX);
    b->has_self = false;
    assert_int_equal(bench_in32(b, 0x5658), UINT32_MAX);
    bench_out32(b, 0x5658, 0);
}

static void test_widths(void **state)
{
    bench_device(b, &vmport_type, "vmport", NULL);
    registers(MAGIC, 10);
    assert_int_equal(bench_in8(b, 0x5658), 6);
    assert_int_equal(reg(X86_RAX), 6);
    registers(MAGIC, 10);
    assert_int_equal(bench_in16(b, 0x5658), 6);
    assert_int_equal(reg(X86_RBX), MAGIC);
    registers(MAGIC, 10);
    bench_out32(b, 0x5658, MAGIC);
    assert_int_equal(reg(X86_RAX), 6);
    for (unsigned port = 0x5659; port < 0x565c; port++) {
        registers(MAGIC, 10);
        assert_int_equal(bench_in8(b, (uint16_t)port), 0xff);
        bench_out8(b, (uint16_t)port, 0);
        assert_int_equal(reg(X86_RAX), MAGIC);
    }
}

static void test_properties(void **state)
{
    bench_device(b, &vmport_type, "vmport", "x-cmds-v2", "off", "x-report-vmx-type", "off",
                 "x-signal-unsupported-cmd", "off", "vmware-vmx-version", "77", NULL);
    assert_int_equal(ask(10), 77);
    assert_int_equal(reg(X86_RCX), 10);
    assert_int_equal(ask(19), MAGIC);
    assert_int_equal(ask(45), MAGIC);
    assert_int_equal(ask(68), MAGIC);
    assert_int_equal(ask(0), MAGIC);
}

static void test_old_reads(void **state)
{
    bench_device(b, &vmport_type, "vmport", "x-read-set-eax", "off", "vmware-vmx-type", "9", NULL);
    registers(MAGIC, 10);
    assert_int_equal(bench_in32(b, 0x5658), 6);
    assert_int_equal(reg(X86_RAX), MAGIC);
    assert_int_equal(reg(X86_RCX), 9);
    bench_out32(b, 0x5658, 0);                             /* ECX 9 is no command */
    assert_int_equal(reg(X86_RAX), UINT32_MAX);
}

RUN_TESTS(TEST(test_commands), TEST(test_host_without_rate_or_x2apic), TEST(test_refused), TEST(test_widths),
          TEST(test_properties), TEST(test_old_reads))
