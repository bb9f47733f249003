/* pci-host-test.c: the chipsets of both boards on the fake board: config ports, ECAM, PAM, PIRQs. */
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "hw/board/pc.h"
#include "hw/isa/isa.h"
#include "hw/misc/fw-cfg.h"
#include "hw/pci/host.h"
#include "tests/device/bench.h"


static Device *make(Bench *b, const DeviceType *t, const char *addr)
{
    Error *e = NULL;
    bool power = t == &ich9_lpc_type || t == &piix4_pm_type;
    Device *d = power ? device_make(t, b->m->root, b->m->pci, NULL, &e, "addr", addr, "smm-enabled",
                                    b->m->smm != NULL ? "on" : "off", NULL)
                      : device_make(t, b->m->root, b->m->pci, NULL, &e, "addr", addr, NULL);

    if (!d) {
        fail_msg("%s", error_text(e));
    }
    return d;
}

static Bench *board_with(bool q35, bool smm)
{
    Bench *b = bench_new();
    Error *e = NULL;

    if (smm) {
        machine_add_smm(b->m);
    }
    b->m->below_4g = bench_ram_size();
    Device *host = pc_host_make(b->m, q35, &e);
    if (!host) {
        fail_msg("%s", error_text(e));
    }
    assert_string_equal(host->type->name, q35 ? "q35-pcihost" : "i440FX-pcihost");
    assert_string_equal(b->m->pci->first->type->name, q35 ? "mch" : "i440FX");
    make(b, q35 ? &ich9_lpc_type : &piix3_type, q35 ? "1f.0" : "1.0");
    make(b, q35 ? &ich9_smb_type : &piix4_pm_type, q35 ? "1f.3" : "1.3");
    bench_reset(b);
    return b;
}

static Bench *board(bool q35)
{
    return board_with(q35, false);
}

static uint32_t conf(Bench *b, unsigned slot, unsigned fn, unsigned off)
{
    bench_out32(b, 0xcf8, 0x80000000 | slot << 11 | fn << 8 | (off & 0xfc));
    return bench_in32(b, 0xcfc);
}

static void conf8(Bench *b, unsigned slot, unsigned fn, unsigned off, uint8_t val)
{
    bench_out32(b, 0xcf8, 0x80000000 | slot << 11 | fn << 8 | (off & 0xfc));
    bench_out8(b, (uint16_t)(0xcfc + (off & 3)), val);
}

static void conf32(Bench *b, unsigned slot, unsigned fn, unsigned off, uint32_t val)
{
    bench_out32(b, 0xcf8, 0x80000000 | slot << 11 | fn << 8 | off);
    bench_out32(b, 0xcfc, val);
}

static void test_pc_ids(void **state)
{
    Bench *b = board(false);

    assert_int_equal(conf(b, 0, 0, 0), 0x12378086);
    assert_int_equal(conf(b, 1, 0, 0), 0x70008086);
    assert_int_equal(conf(b, 1, 0, 0xc) >> 16, 0x80);
    assert_int_equal(conf(b, 1, 3, 0), 0x71138086);
    assert_int_equal(conf(b, 2, 0, 0), 0xffffffff);
    /* The latch is a dword; with the enable bit clear the data port is nothing. */
    bench_out32(b, 0xcf8, 0x00000000);
    assert_int_equal(bench_in32(b, 0xcfc), 0xffffffff);
    bench_out8(b, 0xcf8, 0x12);
    assert_int_equal(bench_in32(b, 0xcf8), 0);
    /* Bytes and words of a register. */
    bench_out32(b, 0xcf8, 0x80000000);
    assert_int_equal(bench_in8(b, 0xcfe), 0x37);
    assert_int_equal(bench_in16(b, 0xcfc), 0x8086);
    bench_out8(b, 0xcf9, 0x06);
    assert_int_equal(bench_requests(b, REQUEST_RESET), 1);
    bench_free(b);
}

static void pam(bool q35, unsigned first)
{
    Bench *b = board(q35);

    *bench_ram(b, 0xc0000, 1) = 0xaa;
    *bench_ram(b, 0xf0000, 1) = 0xbb;
    *bench_ram(b, 0xa0000, 1) = 0xcc;
    /* At reset all of it is PCI, where nothing is. */
    assert_int_equal(bench_read8(b, 0xc0000), 0xff);
    assert_int_equal(bench_read8(b, 0xf0000), 0xff);
    assert_int_equal(bench_read8(b, 0xa0000), 0xff);
    conf8(b, 0, 0, first, 0x30);
    assert_int_equal(bench_read8(b, 0xf0000), 0xbb);
    bench_write8(b, 0xf0000, 0x11);
    assert_int_equal(bench_read8(b, 0xf0000), 0x11);
    conf8(b, 0, 0, first, 0x10);
    bench_write8(b, 0xf0000, 0x22);
    assert_int_equal(bench_read8(b, 0xf0000), 0x11);
    conf8(b, 0, 0, first + 1, 0x03);
    assert_int_equal(bench_read8(b, 0xc0000), 0xaa);
    assert_int_equal(bench_read8(b, 0xc4000), 0xff);
    conf8(b, 0, 0, first + 1, 0x30);
    assert_int_equal(bench_read8(b, 0xc0000), 0xff);
    assert_int_not_equal(bench_read8(b, 0xc4000), 0xff);
    /* SMRAM open, then locked shut for good. */
    unsigned smram = q35 ? 0x9d : 0x72;
    conf8(b, 0, 0, smram, 0x4a);
    assert_int_equal(bench_read8(b, 0xa0000), 0xcc);
    conf8(b, 0, 0, smram, 0x1a);
    conf8(b, 0, 0, smram, 0x4a);
    assert_int_equal(bench_read8(b, 0xa0000), 0xff);
    bench_reset(b);
    assert_int_equal(bench_read8(b, 0xf0000), 0xff);
    conf8(b, 0, 0, smram, 0x4a);
    assert_int_equal(bench_read8(b, 0xa0000), 0xcc);
    pc_chipset_setup(pci_bus_of(b->m->pci), q35);
    assert_int_equal(bench_read8(b, 0xf0000), 0x11);
    bench_save_load(b, b->m->root);
    assert_int_equal(bench_read8(b, 0xf0000), 0x11);
    bench_free(b);
}

static void test_pam_pc(void **state) { pam(false, 0x59); }
static void test_pam_q35(void **state) { pam(true, 0x90); }

static void test_ecam(void **state)
{
    Bench *b = board(true);

    assert_int_equal(conf(b, 0, 0, 0), 0x29c08086);
    assert_int_equal(conf(b, 31, 0, 0), 0x29188086);
    assert_int_equal(conf(b, 31, 3, 0), 0x29308086);
    assert_int_equal(bench_read32(b, 0xb0000000), 0xffffffff);
    conf32(b, 0, 0, 0x60, 0xb0000001);
    assert_int_equal(bench_read32(b, 0xb0000000), 0x29c08086);
    assert_int_equal(bench_read32(b, 0xb0000000 + (31 << 15)), 0x29188086);
    assert_int_equal(bench_read16(b, 0xb0000002), 0x29c0);
    assert_int_equal(bench_read32(b, 0xb0100000), 0xffffffff);
    conf32(b, 0, 0, 0x60, 0xc0000001);
    assert_int_equal(bench_read32(b, 0xb0000000), 0xffffffff);
    assert_int_equal(bench_read32(b, 0xc0000000), 0x29c08086);
    bench_free(b);
}

static void test_pirq_pc(void **state)
{
    Bench *b = board(false);
    IrqSink *in = pci_bus_of(b->m->pci)->intx_to;

    assert_int_equal(piix3_pirq(1, 0), 0);
    assert_int_equal(piix3_pirq(3, 0), 2);
    assert_int_equal(piix3_pirq(4, 1), 0);
    in->set(in, 2, true);
    assert_false(bench_irq(b, 11));
    conf8(b, 1, 0, 0x62, 11);
    assert_true(bench_irq(b, 11));
    /* Two wires on one interrupt; and one of a chip on the ISA bus. */
    conf8(b, 1, 0, 0x60, 11);
    in->set(in, 0, true);
    in->set(in, 2, false);
    assert_true(bench_irq(b, 11));
    conf8(b, 1, 0, 0x60, 10);
    assert_false(bench_irq(b, 11));
    assert_true(bench_irq(b, 10));
    conf8(b, 1, 0, 0x60, 0x80 | 10);
    assert_false(bench_irq(b, 10));
    /* Interrupt 0 or 8 cannot be chosen. */
    conf8(b, 1, 0, 0x60, 8);
    assert_false(bench_irq(b, 8));
    in->set(in, 0, false);
    bench_free(b);
}

static void test_pirq_q35(void **state)
{
    Bench *b = board(true);
    IrqSink *in = pci_bus_of(b->m->pci)->intx_to;

    assert_int_equal(ich9_pirq(2, 0), 4 + 2);
    assert_int_equal(ich9_pirq(3, 1), 4 + 0);
    assert_int_equal(ich9_pirq(31, 0), 0);
    in->set(in, 4, true);
    assert_true(bench_irq(b, 20));
    conf8(b, 31, 0, 0x68, 10);
    assert_true(bench_irq(b, 10));
    assert_true(bench_irq(b, 20));
    in->set(in, 4, false);
    assert_false(bench_irq(b, 10));
    assert_false(bench_irq(b, 20));
    bench_free(b);
}

static void test_pm_ports(void **state)
{
    Bench *b = board(false);
    Bench *q;

    /* The timer runs at PMBASE + 8 once the block is switched on. */
    assert_int_equal(bench_in32(b, 0x608), 0xffffffff);
    pc_chipset_setup(pci_bus_of(b->m->pci), false);
    uint32_t t = bench_in32(b, 0x608);
    bench_step(b, NS_PER_MS);
    assert_int_equal(bench_in32(b, 0x608) - t, 3579);
    bench_free(b);
    q = board(true);
    pc_chipset_setup(pci_bus_of(q->m->pci), true);
    assert_int_equal(conf(q, 31, 0, 0xf0), RCBA_BASE | 1);
    t = bench_in32(q, 0x608);
    bench_step(q, NS_PER_MS);
    assert_true(bench_in32(q, 0x608) - t >= 3579);
    bench_free(q);
}

static void test_smbus(void **state)
{
    Bench *b = board(true);

    conf32(b, 31, 3, 0x20, 0x700);
    conf32(b, 31, 3, 4, 1);
    bench_out8(b, 0x702, 0x48);
    assert_int_equal(bench_in8(b, 0x700), 4);
    bench_out8(b, 0x700, 0xff);
    assert_int_equal(bench_in8(b, 0x700), 0);
    bench_free(b);
}

/* A byte as a processor in system management mode sees it. */
static uint8_t in_smm(Bench *b, Gpa at)
{
    uint8_t v = 0;

    space_read(b->m->smm, at, &v, 1);
    return v;
}

static void smram(bool q35)
{
    Bench *b = board_with(q35, true);
    unsigned reg = q35 ? 0x9d : 0x72;
    uint8_t byte = 0x77;

    *bench_ram(b, 0xa0010, 1) = 0x5a;
    *bench_ram(b, 0x1000, 1) = 0x12;
    assert_int_equal(in_smm(b, 0x1000), 0x12);
    assert_int_equal(in_smm(b, 0xa0010), 0xff);            /* G_SMRAME is clear */
    conf8(b, 0, 0, reg, 0x0a);
    assert_int_equal(in_smm(b, 0xa0010), 0x5a);
    assert_int_equal(bench_read8(b, 0xa0010), 0xff);
    assert_non_null(bench_smm_slot_at(b, 0xa0000));
    assert_null(bench_slot_at(b, 0xa0000));
    space_write(b->m->smm, 0xa0011, &byte, 1);
    assert_int_equal(*bench_ram(b, 0xa0011, 1), 0x77);
    bench_write8(b, 0xa0011, 0x11);
    assert_int_equal(*bench_ram(b, 0xa0011, 1), 0x77);
    conf8(b, 0, 0, reg, 0x4a);                             /* D_OPEN */
    assert_int_equal(bench_read8(b, 0xa0010), 0x5a);
    bench_save_load(b, b->m->root);
    assert_int_equal(bench_read8(b, 0xa0010), 0x5a);
    conf8(b, 0, 0, reg, 0x1a);                             /* D_LCK */
    conf8(b, 0, 0, reg, 0x42);
    assert_int_equal(bench_read8(b, 0xa0010), 0xff);
    assert_int_equal(in_smm(b, 0xa0010), 0x5a);
    bench_reset(b);
    assert_int_equal(in_smm(b, 0xa0010), 0xff);
    bench_free(b);
}

static void test_smram_pc(void **state) { smram(false); }
static void test_smram_q35(void **state) { smram(true); }

static void test_tseg_and_high_smram(void **state)
{
    Bench *b = board_with(true, true);
    Gpa top = bench_ram_size();

    *bench_ram(b, 0xa0010, 1) = 0x5a;
    *bench_ram(b, top - 1, 1) = 0xa1;
    *bench_ram(b, top - MiB, 1) = 0xa2;
    *bench_ram(b, top - MiB - 1, 1) = 0xa3;
    conf8(b, 0, 0, 0x9e, 0x81);                            /* H_SMRAME, T_EN: TSEG of 1 MiB */
    assert_int_equal(bench_read8(b, top - 1), 0xa1);       /* nothing without G_SMRAME */
    assert_int_equal(in_smm(b, 0xfeda0010), 0xff);
    conf8(b, 0, 0, 0x9d, 0x0a);
    assert_int_equal(in_smm(b, 0xfeda0010), 0x5a);
    assert_int_equal(in_smm(b, 0xa0010), 0xff);
    assert_int_equal(bench_read8(b, 0xfeda0010), 0xff);
    assert_int_equal(bench_read8(b, top - 1), 0xff);
    assert_int_equal(bench_read8(b, top - MiB), 0xff);
    assert_int_equal(bench_read8(b, top - MiB - 1), 0xa3);
    assert_int_equal(in_smm(b, top - 1), 0xa1);
    assert_int_equal(in_smm(b, top - MiB), 0xa2);
    assert_int_equal(in_smm(b, top - MiB - 1), 0xa3);
    assert_non_null(bench_smm_slot_at(b, top - MiB));
    bench_save_load(b, b->m->root);
    assert_int_equal(in_smm(b, top - MiB), 0xa2);
    conf8(b, 0, 0, 0x9e, 0x03);                            /* 2 MiB, low SMRAM */
    assert_int_equal(bench_read8(b, top - MiB - 1), 0xff);
    assert_int_equal(in_smm(b, top - MiB - 1), 0xa3);
    assert_int_equal(in_smm(b, 0xa0010), 0x5a);
    assert_int_equal(in_smm(b, 0xfeda0010), 0xff);
    conf8(b, 0, 0, 0x9d, 0x1a);                            /* locked: ESMRAMC too */
    conf8(b, 0, 0, 0x9e, 0x00);
    assert_int_equal(bench_read8(b, top - MiB - 1), 0xff);
    bench_reset(b);
    assert_int_equal(bench_read8(b, top - 1), 0xa1);
    bench_free(b);
}

static void test_apm_smi_q35(void **state)
{
    Bench *b = board_with(true, true);

    conf32(b, 31, 0, 0x40, 0x601);
    conf8(b, 31, 0, 0x44, 0x80);
    assert_int_equal(bench_in32(b, 0x630), 0);
    bench_out8(b, 0xb2, 0x55);
    bench_out32(b, 0x630, 0x20);                           /* APMC_EN without GBL_SMI_EN */
    bench_out8(b, 0xb2, 0x55);
    assert_int_equal(b->smis, 0);
    assert_int_equal(bench_in32(b, 0x634), 0);
    bench_out32(b, 0x630, 0x21);
    bench_out8(b, 0xb3, 0x55);                             /* status: only a byte */
    assert_int_equal(b->smis, 0);
    bench_out8(b, 0xb2, 0x55);
    assert_int_equal(b->smis, 1);
    assert_int_equal(bench_in32(b, 0x634), 0x20);
    bench_out32(b, 0x634, 0x20);
    assert_int_equal(bench_in32(b, 0x634), 0);
    bench_free(b);
    /* Without the mode firmware is told that it is in use, and there is no interrupt. */
    b = board(true);
    conf32(b, 31, 0, 0x40, 0x601);
    conf8(b, 31, 0, 0x44, 0x80);
    assert_int_equal(bench_in32(b, 0x630), 0x20);
    bench_out32(b, 0x630, 0x21);
    bench_out8(b, 0xb2, 0x55);
    assert_int_equal(b->smis, 0);
    bench_free(b);
}

static void test_apm_smi_pc(void **state)
{
    Bench *b = board_with(false, true);

    bench_out8(b, 0xb2, 0x55);
    assert_int_equal(b->smis, 0);
    conf8(b, 1, 3, 0x5b, 2);
    bench_out8(b, 0xb2, 0x55);
    assert_int_equal(b->smis, 1);
    bench_free(b);
}

/* Firmware's side of fw_cfg: the bytes of file @name, or a write of eight. */
static uint8_t file_byte(Bench *b, unsigned key)
{
    bench_out16(b, 0x510, (uint16_t)key);
    return bench_in8(b, 0x511);
}

static void file_write(Bench *b, unsigned key, uint64_t val)
{
    bench_write32(b, 0x1000, be32toh(key << 16 | 8 | 16));         /* select, write */
    bench_write32(b, 0x1004, be32toh(8));
    bench_write32(b, 0x1008, 0);
    bench_write32(b, 0x100c, be32toh(0x2000));
    bench_write32(b, 0x2000, (uint32_t)val);
    bench_write32(b, 0x2004, (uint32_t)(val >> 32));
    bench_out32(b, 0x514, 0);
    bench_out32(b, 0x518, be32toh(0x1000));
    assert_int_equal(bench_read32(b, 0x1000), 0);
}

static void smi_now(Bench *b)
{
    b->smis = 0;
    conf32(b, 31, 0, 0x40, 0x601);
    conf8(b, 31, 0, 0x44, 0x80);
    bench_out32(b, 0x630, 0x21);
    bench_out8(b, 0xb2, 0x55);
}

/* The files are the only ones, so their keys follow their names. */
static void test_smi_features(void **state)
{
    enum { OK = FW_CFG_FILE_FIRST, REQUESTED, SUPPORTED };
    Bench *b = board_with(true, true);
    Error *e = NULL;

    assert_non_null(device_make(&fw_cfg_type, b->m->root, b->m->isa, NULL, &e, NULL));
    assert_true(pc_smi_offer(b->m, &e));
    bench_reset(b);
    assert_int_equal(file_byte(b, SUPPORTED), 1);
    file_write(b, REQUESTED, 3);                           /* more than is offered */
    assert_int_equal(file_byte(b, OK), 0);
    file_write(b, REQUESTED, UINT64_C(1) << 63);
    assert_int_equal(file_byte(b, OK), 0);
    smi_now(b);
    assert_int_equal(b->smis, 1);
    file_write(b, REQUESTED, 1);
    smi_now(b);
    assert_int_equal(b->smis, 1);                          /* asked for, not agreed on */
    assert_int_equal(file_byte(b, OK), 1);
    smi_now(b);
    assert_int_equal(b->smis, 100);
    file_write(b, REQUESTED, 0);
    assert_int_equal(file_byte(b, OK), 1);                 /* it stays */
    bench_save_load(b, b->m->pm);
    smi_now(b);
    assert_int_equal(b->smis, 100);
    assert_false(b->m->cpus.ops->may_plug(b->m->cpus.arg, 1, &e));
    assert_string_equal(error_text(e), "cpu hotplug with SMI wasn't enabled by firmware");
    error_free(e);
    bench_reset(b);
    pc_smi_restart(b->m);
    assert_int_equal(file_byte(b, REQUESTED), 0);
    smi_now(b);
    assert_int_equal(b->smis, 1);
    assert_true(b->m->cpus.ops->may_plug(b->m->cpus.arg, 1, NULL));
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pc_ids),
        cmocka_unit_test(test_pam_pc),
        cmocka_unit_test(test_pam_q35),
        cmocka_unit_test(test_ecam),
        cmocka_unit_test(test_pirq_pc),
        cmocka_unit_test(test_pirq_q35),
        cmocka_unit_test(test_pm_ports),
        cmocka_unit_test(test_smbus),
        cmocka_unit_test(test_smram_pc),
        cmocka_unit_test(test_smram_q35),
        cmocka_unit_test(test_tseg_and_high_smram),
        cmocka_unit_test(test_apm_smi_q35),
        cmocka_unit_test(test_apm_smi_pc),
        cmocka_unit_test(test_smi_features),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
