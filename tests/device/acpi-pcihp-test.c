/* acpi-pcihp-test.c: plug and unplug through the ACPI hot-plug registers. */
#include "hw/acpi/pcihp.h"
#include "tests/device/bench-pci.h"
#include "tests/device/device-test.h"

extern const DeviceType edu_type;

#define HP 0xae00

typedef struct Owner {
    Device dev;
    AcpiPm pm;
    AcpiPciHp hp;
} Owner;

static Bench *b;
static Device *d;

static bool owner_realize(Device *dev, Error **errp)
{
    Owner *s = (Owner *)dev;
    AcpiPmConfig cfg = { .gpe_port = 0xafe0, .gpe_len = 4, .acpi_enable = 0xf1 };

    acpi_pm_init(&s->pm, dev, &cfg);
    irq_connect(&s->pm.sci, dev->machine->gsi, 9);
    acpi_pm_place_fixed(&s->pm, &dev->machine->io_root);
    acpi_pcihp_init(&s->hp, dev, &s->pm, HP);
    acpi_pcihp_bus(&s->hp, pci_bus_of(bench_pci(b)));
    return true;
}

static void owner_unrealize(Device *dev)
{
    acpi_pcihp_free(&((Owner *)dev)->hp);
    acpi_pm_free(&((Owner *)dev)->pm);
}

static void owner_reset(Device *dev, ResetKind kind)
{
    acpi_pm_reset(&((Owner *)dev)->pm, kind);
    acpi_pcihp_reset(&((Owner *)dev)->hp, kind);
}

static void owner_settle(Device *dev)
{
    acpi_pm_settle(&((Owner *)dev)->pm);
    acpi_pcihp_settle(&((Owner *)dev)->hp);
}

static const StateField owner_fields[] = {
    STATE_STRUCT(Owner, pm, &acpi_pm_state), STATE_STRUCT(Owner, hp, &acpi_pcihp_state), { 0 },
};
static const StateDesc owner_state = { .name = "hp-owner", .version = 1, .fields = owner_fields };
static const DeviceType owner_type = {
    .name = "hp-owner", .summary = "test", .slot = &board_slot, .size = sizeof(Owner),
    .flags = DEV_INTERNAL, .state = &owner_state, .realize = owner_realize,
    .unrealize = owner_unrealize, .reset = owner_reset, .settle = owner_settle,
};

static int setup(void **state)
{
    b = bench_new();
    bench_pci(b);
    d = bench_device(b, &owner_type, "hp", NULL);
    bench_out8(b, 0xb2, 0xf1);
    bench_out16(b, 0xafe2, 2);
    return 0;
}

static int teardown(void **state)
{
    bench_remove(b, d);
    bench_free(b);
    return 0;
}

static void test_plug(void **state)
{
    Device *e = bench_device(b, &edu_type, "e", "addr", "5", "acpi-index", "77", NULL);

    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in8(b, 0xafe0), 2);
    bench_out8(b, 0xafe0, 2);
    assert_false(bench_irq(b, 9));
    assert_int_equal(bench_in32(b, HP), 1 << 5);
    assert_int_equal(bench_in32(b, HP), 0);        /* read once */
    bench_out32(b, HP + 0x14, 5);
    assert_int_equal(bench_in32(b, HP + 0x14), 77);
    bench_out32(b, HP + 0x10, 9);
    assert_int_equal(bench_in32(b, HP + 0x0c), 0); /* no such bus */
    bench_out32(b, HP + 8, 0xffffffff);
    bench_out32(b, HP + 0x10, 0);
    assert_int_equal(bench_in32(b, HP + 0x0c) & 1 << 5, 1 << 5);
    assert_non_null(device_find(b->m->root, "e"));
    bench_remove(b, e);
}

static void drain(void)
{
    bench_run(b);
    epoch_flush();
    bench_run(b);
}

static void test_unplug(void **state)
{
    Device *e = bench_device(b, &edu_type, "e", "addr", "6", NULL);
    Error *err = NULL;

    bench_out8(b, 0xafe0, 2);
    assert_true(pci_unplug_request(pci_device(e), NULL));
    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in32(b, HP + 4), 1 << 6);
    assert_false(pci_unplug_request(pci_device(e), &err));
    error_free(err);
    drain();
    assert_non_null(device_find(b->m->root, "e")); /* the guest has not let it go */
    bench_save_load(b, d);
    bench_out32(b, HP + 8, 1 << 6);
    drain();
    assert_null(device_find(b->m->root, "e"));
    assert_int_equal(bench_in32(b, HP + 4), 0);
    bench_out32(b, HP + 8, 0xffffffff);            /* nothing there */
    drain();
}

static void test_unplug_by_reset(void **state)
{
    Device *e = bench_device(b, &edu_type, "e", "addr", "7", NULL);

    assert_true(pci_unplug_request(pci_device(e), NULL));
    bench_reset(b);
    drain();
    assert_null(device_find(b->m->root, "e"));
}

RUN_TESTS(TEST(test_plug), TEST(test_unplug), TEST(test_unplug_by_reset))
