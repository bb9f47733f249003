/* pci-test.c: the PCI core, with a toy function that has one of everything. */
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/device/bench-pci.h"

typedef struct Toy {
    PciDevice p;
    Region mem, io;
    uint32_t reg;
    unsigned resets;
    bool use_msi;
} Toy;

static uint64_t toy_read(void *dev, uint64_t off, unsigned size)
{
    return off == 0 ? ((Toy *)dev)->reg : 0x11223344;
}

static void toy_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    if (off == 0) {
        ((Toy *)dev)->reg = (uint32_t)val;
    } else if (off == 4) {
        pci_irq_level(dev, val);
    }
}

static const RegionOps toy_ops = { .read = toy_read, .write = toy_write, .min = 4, .max = 4 };

static bool toy_realize(Device *d, Error **errp)
{
    Toy *t = (Toy *)d;

    region_io(&t->mem, d, "toy-mem", &toy_ops, 4096);
    region_io(&t->io, d, "toy-io", &toy_ops, 32);
    pci_bar(&t->p, 0, BAR_MEM32, &t->mem);
    pci_bar(&t->p, 2, BAR_IO, &t->io);
    pci_pm(&t->p);
    pci_express(&t->p, PCI_EXP_TYPE_ENDPOINT);
    pci_aer(&t->p);
    pci_dsn(&t->p, 0x1122334455667788);
    if (t->use_msi) {
        return pci_msi(&t->p, 4, true, true, errp);
    }
    return pci_msix(&t->p, 3, 4, errp);
}

static void toy_reset(Device *d, ResetKind kind)
{
    ((Toy *)d)->reg = 0;
    ((Toy *)d)->resets++;
}

static const PropDesc toy_props[] = {
    PROP_BOOL(Toy, use_msi, "msi", false, "MSI instead of MSI-X"),
    { 0 },
};

static const StateField toy_fields[] = {
    STATE_U32(Toy, reg),
    { 0 },
};
static const StateDesc toy_state = { .name = "toy", .version = 1, .fields = toy_fields };

static const PciOps toy_pci = {
    .vendor = 0x1234, .device = 0x5678, .class_code = 0x020301, .revision = 7, .pin = 1,
    .express = PCI_EXPRESS,
};

static const DeviceType toy = {
    .name = "toy", .slot = &pci_slot, .size = sizeof(Toy), .flags = DEV_HOTPLUG | DEV_OWN_DOMAIN,
    .props = toy_props, .state = &toy_state, .slot_ops = &toy_pci, .realize = toy_realize,
    .reset = toy_reset,
};

static void test_header(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", "addr", "5", NULL);

    assert_int_equal(bench_config_read(b, d, 0, 4), 0x56781234);
    assert_int_equal(bench_config_read(b, d, 8, 4), 0x02030107);
    assert_int_equal(bench_config_read(b, d, 0x2c, 4), 0x11001af4);
    /* What is constant stays so. */
    bench_config_write(b, d, 0, 0xffffffff, 4);
    bench_config_write(b, d, 8, 0xffffffff, 4);
    assert_int_equal(bench_config_read(b, d, 0, 4), 0x56781234);
    assert_int_equal(bench_config_read(b, d, 8, 4), 0x02030107);
    assert_int_equal(bench_bar_size(b, d, 0), 4096);
    assert_int_equal(bench_bar_size(b, d, 1), 0);
    assert_int_equal(bench_bar_size(b, d, 2), 32);
    assert_int_equal(bench_bar_size(b, d, 4), 4096);
    /* Nobody there, and beyond the end. */
    assert_int_equal(pci_config_read(pci_bus(pci_device(d)), 0, PCI_DEVFN(9, 0), 0, 4), 0xffffffff);
    assert_int_equal(pci_config_read(pci_bus(pci_device(d)), 7, PCI_DEVFN(5, 0), 0, 4), 0xffffffff);
    assert_int_equal(pci_config_read(pci_bus(pci_device(d)), 0, PCI_DEVFN(9, 0), 0, 2), 0xffff);
    assert_int_equal(pci_config_read(pci_bus(pci_device(d)), 0, PCI_DEVFN(9, 0), 0, 1), 0xff);
    assert_int_equal(bench_config_read(b, d, 0xffe, 4), 0xffffffff);
    bench_free(b);
}

static void test_bars_move(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    Toy *t = (Toy *)d;

    bench_bar_at(b, d, 0, 0xe0000000);
    bench_bar_at(b, d, 2, 0xc100);
    assert_int_equal(bench_read32(b, 0xe0000000), 0xffffffff);
    bench_config_write(b, d, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    bench_write32(b, 0xe0000000, 77);
    assert_int_equal(t->reg, 77);
    assert_int_equal(bench_in32(b, 0xc100), 0xffffffff);
    bench_config_write(b, d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO, 2);
    assert_int_equal(bench_in32(b, 0xc100), 77);
    bench_bar_at(b, d, 0, 0xe0010000);
    assert_int_equal(bench_read32(b, 0xe0000000), 0xffffffff);
    assert_int_equal(bench_read32(b, 0xe0010000), 77);
    /* Sizing with decoding on puts it nowhere. */
    bench_bar_at(b, d, 0, 0xffffffff);
    assert_int_equal(t->p.bars[0].at, UINT64_MAX);
    bench_bar_at(b, d, 0, 0);
    assert_int_equal(t->p.bars[0].at, UINT64_MAX);
    bench_bar_at(b, d, 0, 0xe0010000);
    bench_reset(b);
    assert_int_equal(bench_config_read(b, d, 0x10, 4), 0);
    assert_int_equal(bench_config_read(b, d, PCI_COMMAND, 2), 0);
    assert_int_equal(t->p.bars[0].at, UINT64_MAX);
    bench_free(b);
}

static void test_intx(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", "addr", "5", NULL);
    Device *e = bench_device(b, &toy, "e", "addr", "9", NULL);
    Gpa at = bench_bar(b, d, 0), other = bench_bar(b, e, 0);
    unsigned gsi = 16 + 5 % 4;

    bench_write32(b, at + 4, 1);
    assert_true(bench_irq(b, gsi));
    assert_int_equal(bench_config_read(b, d, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
    /* The wire is shared. */
    bench_write32(b, other + 4, 1);
    bench_write32(b, at + 4, 0);
    assert_true(bench_irq(b, gsi));
    bench_write32(b, other + 4, 0);
    assert_false(bench_irq(b, gsi));
    /* The gate: the status bit shows what the pin does not. */
    bench_write32(b, at + 4, 1);
    uint16_t cmd = bench_config_read(b, d, PCI_COMMAND, 2);
    bench_config_write(b, d, PCI_COMMAND, cmd | PCI_COMMAND_INTX_DISABLE, 2);
    assert_false(bench_irq(b, gsi));
    assert_int_equal(bench_config_read(b, d, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, PCI_STATUS_INTERRUPT);
    bench_config_write(b, d, PCI_COMMAND, cmd, 2);
    assert_true(bench_irq(b, gsi));
    /* A device that goes takes its level with it. */
    bench_remove(b, d);
    assert_false(bench_irq(b, gsi));
    bench_free(b);
}

static void test_msix(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    PciDevice *p = pci_device(d);
    unsigned cap = bench_capability(b, d, PCI_CAP_ID_MSIX);

    assert_int_not_equal(cap, 0);
    pci_msix_fire(p, 1);
    assert_int_equal(bench_msi_count(b), 0);
    bench_msix_on(b, d);
    Gpa table = p->bars[4].at;
    pci_msix_fire(p, 1);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->data, 0x41);
    assert_int_equal(bench_msi(b, 0)->addr, 0xfee00000);
    assert_int_equal(bench_msi(b, 0)->requester, p->devfn);
    /* Masked: pending, sent when unmasked. */
    bench_write32(b, table + 16 + 12, 1);
    pci_msix_fire(p, 1);
    pci_msix_fire(p, 1);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_read32(b, table + 2048), 2);
    bench_write32(b, table + 16 + 12, 0);
    assert_int_equal(bench_msi_count(b), 2);
    assert_int_equal(bench_read32(b, table + 2048), 0);
    /* The function mask. */
    bench_config_write(b, d, cap + 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
    pci_msix_fire(p, 0);
    pci_msix_fire(p, 2);
    assert_int_equal(bench_msi_count(b), 2);
    bench_config_write(b, d, cap + 2, PCI_MSIX_FLAGS_ENABLE, 2);
    assert_int_equal(bench_msi_count(b), 4);
    /* Out of range, and off. */
    pci_msix_fire(p, 3);
    pci_msix_fire(p, 0xffff);
    bench_config_write(b, d, cap + 2, 0, 2);
    pci_msix_fire(p, 0);
    assert_int_equal(bench_msi_count(b), 4);
    bench_free(b);
}

static void test_msix_notifier(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    PciDevice *p = pci_device(d);
    Notifier n;

    assert_true(notifier_open(&n, NULL));
    bench_msix_on(b, d);
    Gpa table = p->bars[4].at;
    domain_enter(d->domain);
    assert_true(pci_msix_attach(p, 2, &n, NULL));
    domain_leave(d->domain);
    unsigned route = 0;
    while (route < BENCH_MSIS && b->route_raise[route] != &n) {
        route++;
    }
    assert_int_not_equal(route, BENCH_MSIS);
    assert_int_equal(b->routes[route].data, 0x42);
    /* Masked: the kernel does not listen, a signal becomes a pending bit. */
    bench_write32(b, table + 32 + 12, 1);
    assert_null(b->route_raise[route]);
    notifier_signal(&n);
    assert_int_equal(bench_read32(b, table + 2048), 4);
    bench_write32(b, table + 32 + 12, 0);
    assert_int_equal(bench_msi_count(b), 1);
    domain_enter(d->domain);
    assert_true(pci_msix_attach(p, 2, NULL, NULL));
    domain_leave(d->domain);
    notifier_close(&n);
    bench_free(b);
}

static void test_msi(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", "msi", "on", NULL);
    PciDevice *p = pci_device(d);
    unsigned cap = bench_capability(b, d, PCI_CAP_ID_MSI);
    Gpa at = bench_bar(b, d, 0);

    bench_config_write(b, d, cap + PCI_MSI_ADDRESS_LO, 0xfee01000, 4);
    bench_config_write(b, d, cap + PCI_MSI_DATA_64, 0x30, 2);
    /* Two of four vectors. */
    bench_config_write(b, d, cap + PCI_MSI_FLAGS, PCI_MSI_FLAGS_ENABLE | 1 << 4, 2);
    pci_msi_fire(p, 3);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_msi(b, 0)->data, 0x31);
    bench_config_write(b, d, cap + PCI_MSI_MASK_64, 1, 4);
    bench_write32(b, at + 4, 1);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(bench_config_read(b, d, cap + PCI_MSI_PENDING_64, 4), 1);
    bench_config_write(b, d, cap + PCI_MSI_MASK_64, 0, 4);
    assert_int_equal(bench_msi_count(b), 2);
    assert_int_equal(bench_config_read(b, d, cap + PCI_MSI_PENDING_64, 4), 0);
    bench_free(b);
}

static void test_power(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    Toy *t = (Toy *)d;
    unsigned pm = bench_capability(b, d, PCI_CAP_ID_PM);
    Gpa at = bench_bar(b, d, 0);
    unsigned resets = t->resets;

    bench_write32(b, at, 5);
    bench_config_write(b, d, pm + PCI_PM_CTRL, 3, 2);
    assert_int_equal(bench_read32(b, at), 0xffffffff);
    assert_false(d->dma_on);
    bench_config_write(b, d, pm + PCI_PM_CTRL, 0, 2);
    /* In reset until control has done it: the function answers nothing. */
    assert_int_equal(bench_config_read(b, d, 0, 4), 0xffffffff);
    bench_run(b);
    assert_int_equal(bench_config_read(b, d, 0, 4), 0x56781234);
    assert_int_equal(bench_config_read(b, d, 0x10, 4), 0);
    assert_int_equal(t->resets, resets + 1);
    assert_int_equal(t->reg, 0);
    bench_free(b);
}

static void test_flr(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    Toy *t = (Toy *)d;
    unsigned exp = bench_capability(b, d, PCI_CAP_ID_EXP);
    Gpa at = bench_bar(b, d, 0);

    bench_write32(b, at, 5);
    bench_config_write(b, d, exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR, 2);
    assert_int_equal(t->p.bars[0].at, UINT64_MAX);
    bench_run(b);
    assert_int_equal(t->reg, 0);
    assert_int_equal(bench_config_read(b, d, exp + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_BCR_FLR, 0);
    /* Again, and removed before it is done. */
    bench_config_write(b, d, exp + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_BCR_FLR, 2);
    bench_remove(b, d);
    bench_free(b);
}

static void test_extended(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    unsigned at = 0x100, dsn = 0, aer = 0;

    while (at) {
        uint32_t head = bench_config_read(b, d, at, 4);
        dsn = (head & 0xffff) == PCI_EXT_CAP_ID_DSN ? at : dsn;
        aer = (head & 0xffff) == PCI_EXT_CAP_ID_ERR ? at : aer;
        at = head >> 20;
    }
    assert_int_not_equal(dsn, 0);
    assert_int_not_equal(aer, 0);
    assert_int_equal(bench_config_read(b, d, dsn + 4, 4), 0x55667788);
    assert_int_equal(bench_config_read(b, d, dsn + 8, 4), 0x11223344);
    bench_free(b);
}

static void refused(Bench *b, const char *addr, const char *multi, const char *text)
{
    Error *e = NULL;
    Device *d = bench_try_device(b, &toy, "n", &e, "addr", addr, "multifunction", multi, NULL);

    assert_null(d);
    assert_string_equal(error_text(e), text);
    error_free(e);
}

static void test_addresses(void **state)
{
    Bench *b = bench_new();

    bench_device(b, &toy, "a", "addr", "05", NULL);
    bench_device(b, &toy, "m", "addr", "0x1f.0x1", NULL);
    refused(b, "5.0", "off", "PCI: slot 5 function 0 not available for toy, in use by toy,id=a");
    refused(b, "5.1", "off", "PCI: single function device can't be populated in function 5.1");
    refused(b, "1f", "off", "PCI: 1f.0 indicates single function, but 1f.1 is already populated.");
    refused(b, "20", "off", "Property 'toy.addr' doesn't take value '20'");
    refused(b, "3.8", "off", "Property 'toy.addr' doesn't take value '3.8'");
    refused(b, "3.", "off", "Property 'toy.addr' doesn't take value '3.'");
    refused(b, "zz", "off", "Property 'toy.addr' doesn't take value 'zz'");
    assert_int_equal(pci_device(bench_device(b, &toy, "z", "addr", "1f", "multifunction", "on", NULL))->devfn,
                     PCI_DEVFN(31, 0));
    for (unsigned i = 0; i < 30; i++) {
        bench_device(b, &toy, NULL, NULL);
    }
    Error *e = NULL;
    assert_null(bench_try_device(b, &toy, "last", &e, NULL));
    assert_string_equal(error_text(e), "PCI: no slot/function available for toy, all in use or reserved");
    error_free(e);
    bench_free(b);
}

static void test_state(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &toy, "t", NULL);
    Toy *t = (Toy *)d;

    bench_msix_on(b, d);
    Gpa at = bench_bar(b, d, 0);
    bench_write32(b, at, 99);
    bench_write32(b, t->p.bars[4].at + 12, 1);
    pci_msix_fire(&t->p, 0);
    bench_save_load(b, d);
    assert_int_equal(bench_read32(b, at), 99);
    bench_msi_clear(b);
    bench_write32(b, t->p.bars[4].at + 12, 0);
    assert_int_equal(bench_msi_count(b), 1);
    /* Another device's state is refused. */
    GByteArray *s = bench_save(b, d);
    t->p.config[PCI_REVISION_ID] = 8;
    Error *e = NULL;
    assert_false(bench_load(b, d, s, &e));
    assert_non_null(e);
    error_free(e);
    g_byte_array_unref(s);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_bars_move),
        cmocka_unit_test(test_intx),
        cmocka_unit_test(test_msix),
        cmocka_unit_test(test_msix_notifier),
        cmocka_unit_test(test_msi),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_flr),
        cmocka_unit_test(test_extended),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
