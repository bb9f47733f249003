/* pcie-root-port-test.c: bridges: windows, bus numbers, secondary reset; root ports: hot-plug. */
#include <linux/pci_regs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/device/bench-pci.h"

extern const DeviceType pcie_root_port_type, ioh3420_type, pci_bridge_type, pcie_pci_bridge_type,
                        i82801b11_bridge_type, virtio_rng_pci;

static Bus *bus_named(Bench *b, const char *name)
{
    Bus *bus = bus_find(b->m->root, name, NULL);

    assert_non_null(bus);
    return bus;
}

static Device *behind(Bench *b, const char *bus, const char *id)
{
    Error *e = NULL;
    Device *d = device_make(&virtio_rng_pci, b->m->peripheral, bus_named(b, bus), id, &e, NULL);

    if (!d) {
        fail_msg("%s", error_text(e));
    }
    bench_run(b);
    return d;
}

/* Buses 1.., windows: memory 0xe0000000 + 16 MiB, I/O 0xd000 + 4 KiB. */
static void set_up(Bench *b, Device *port)
{
    bench_config_write(b, port, PCI_PRIMARY_BUS, 0x00010100, 4);
    bench_config_write(b, port, PCI_MEMORY_BASE, 0xe0f0e000, 4);
    bench_config_write(b, port, PCI_IO_BASE, 0xd1d1, 2);
    bench_config_write(b, port, PCI_COMMAND, 7, 2);
}

static uint32_t far_read(Bench *b, unsigned devfn, unsigned off, unsigned size)
{
    return pci_config_read(pci_bus_of(b->pci), 1, (uint8_t)devfn, off, size);
}

static void far_write(Bench *b, unsigned devfn, unsigned off, uint32_t val, unsigned size)
{
    pci_config_write(pci_bus_of(b->pci), 1, (uint8_t)devfn, off, val, size);
}

/* Every kind of bridge has its ids, is a PCI-to-PCI bridge, and offers a bus that takes a function. */
static void test_kinds(void **state)
{
    static const struct { const DeviceType *type; const char *name, *prop; uint32_t ids; } kinds[] = {
        { &pci_bridge_type, "pci-bridge", "chassis_nr", 0x00011b36 },
        { &pcie_pci_bridge_type, "pcie-pci-bridge", NULL, 0x000e1b36 },
        { &i82801b11_bridge_type, "i82801b11-bridge", NULL, 0x244e8086 },
        { &ioh3420_type, "ioh3420", NULL, 0x34208086 },
        { &pcie_root_port_type, "pcie-root-port", NULL, 0x000c1b36 },
    };

    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        Bench *b = bench_new();
        Device *bridge = bench_device(b, kinds[i].type, "br", kinds[i].prop, "1", NULL);

        assert_string_equal(bridge->type->name, kinds[i].name);
        bench_reset(b);
        assert_int_equal(bench_config_read(b, bridge, PCI_VENDOR_ID, 4), kinds[i].ids);
        assert_int_equal(bench_config_read(b, bridge, PCI_CLASS_DEVICE, 2), 0x0604);
        assert_int_equal(bench_config_read(b, bridge, PCI_HEADER_TYPE, 1) & 0x7f, 1);
        set_up(b, bridge);
        assert_non_null(bus_named(b, "br"));
        bench_free(b);
    }
}

static void test_windows(void **state)
{
    Bench *b = bench_new();
    Device *port = bench_device(b, &pcie_root_port_type, "rp", NULL);
    Device *d = behind(b, "rp", "r");

    /* Below a port it is modern and Express; power comes with a reset of the machine. */
    bench_reset(b);
    assert_int_equal(far_read(b, 0, 0, 4), 0xffffffff);
    set_up(b, port);
    assert_int_equal(far_read(b, 0, 0, 4), 0x10441af4);
    assert_int_equal(far_read(b, 8, 0, 4), 0xffffffff);
    assert_true(pci_device(d)->express);
    assert_int_equal(pci_requester_id(pci_device(d)), 0x100);
    far_write(b, 0, PCI_BASE_ADDRESS_0 + 16, 0xe0100000, 4);
    far_write(b, 0, PCI_BASE_ADDRESS_0 + 20, 0, 4);
    far_write(b, 0, PCI_COMMAND, 6, 2);
    /* NUMQ of the common configuration. */
    assert_int_equal(bench_read16(b, 0xe0100012), 1);
    bench_config_write(b, port, PCI_MEMORY_BASE, 0xe0f0e020, 4);
    assert_int_equal(bench_read16(b, 0xe0100012), 0xffff);
    bench_config_write(b, port, PCI_MEMORY_BASE, 0xe0f0e000, 4);
    bench_config_write(b, port, PCI_COMMAND, 5, 2);
    assert_int_equal(bench_read16(b, 0xe0100012), 0xffff);
    /* As prefetchable memory, above 4 GiB. */
    bench_config_write(b, port, PCI_PREF_BASE_UPPER32, 0x10, 4);
    bench_config_write(b, port, PCI_PREF_LIMIT_UPPER32, 0x10, 4);
    bench_config_write(b, port, PCI_PREF_MEMORY_BASE, 0x00f00000, 4);
    far_write(b, 0, PCI_BASE_ADDRESS_0 + 16, 0x00200000, 4);
    far_write(b, 0, PCI_BASE_ADDRESS_0 + 20, 0x10, 4);
    bench_config_write(b, port, PCI_COMMAND, 7, 2);
    assert_int_equal(bench_read16(b, 0x1000200012), 1);
    bench_free(b);
}

static void test_secondary_reset(void **state)
{
    Bench *b = bench_new();
    Device *port = bench_device(b, &pcie_root_port_type, "rp", NULL);

    behind(b, "rp", "r");
    bench_reset(b);
    set_up(b, port);
    far_write(b, 0, PCI_COMMAND, 6, 2);
    bench_config_write(b, port, PCI_BRIDGE_CONTROL, PCI_BRIDGE_CTL_BUS_RESET, 2);
    bench_run(b);
    bench_config_write(b, port, PCI_BRIDGE_CONTROL, 0, 2);
    bench_run(b);
    assert_int_equal(far_read(b, 0, PCI_COMMAND, 2), 0);
    assert_int_equal(far_read(b, 0, 0, 4), 0x10441af4);
    assert_int_equal(bench_config_read(b, port, PCI_COMMAND, 2), 7);
    bench_save_load(b, port);
    bench_free(b);
}

static uint16_t slot_status(Bench *b, Device *port)
{
    return (uint16_t)bench_config_read(b, port, pci_device(port)->cap_exp + PCI_EXP_SLTSTA, 2);
}

static void slot_control(Bench *b, Device *port, uint16_t val)
{
    bench_config_write(b, port, pci_device(port)->cap_exp + PCI_EXP_SLTCTL, val, 2);
}

static void slot_ack(Bench *b, Device *port)
{
    bench_config_write(b, port, pci_device(port)->cap_exp + PCI_EXP_SLTSTA, 0x11f, 2);
}

static void test_hotplug(void **state)
{
    Bench *b = bench_new();
    Device *port = bench_device(b, &pcie_root_port_type, "rp", NULL);
    const uint16_t watch = PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_DLLSCE;

    bench_reset(b);
    set_up(b, port);
    bench_msix_on(b, port);
    /* As pciehp leaves an empty slot. */
    slot_control(b, port, watch | PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF);
    assert_int_equal(slot_status(b, port), 0);
    behind(b, "rp", "r");
    assert_int_equal(slot_status(b, port), PCI_EXP_SLTSTA_PDS | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
    assert_int_equal(bench_msi_count(b), 1);
    assert_int_equal(far_read(b, 0, 0, 4), 0xffffffff);
    slot_ack(b, port);
    slot_control(b, port, watch | PCI_EXP_SLTCTL_PWR_IND_ON);
    assert_int_equal(far_read(b, 0, 0, 4), 0x10441af4);
    assert_true(bench_config_read(b, port, pci_device(port)->cap_exp + PCI_EXP_LNKSTA, 2) &
                PCI_EXP_LNKSTA_DLLLA);
    slot_ack(b, port);
    bench_msi_clear(b);
    /* device_del presses the button; the guest blinks, then switches off; only then it goes. */
    Device *d = device_find(b->m->root, "r");
    assert_true(pci_unplug_request(pci_device(d), NULL));
    bench_run(b);
    assert_int_equal(bench_msi_count(b), 1);
    assert_true(slot_status(b, port) & PCI_EXP_SLTSTA_ABP);
    slot_ack(b, port);
    slot_control(b, port, watch | PCI_EXP_SLTCTL_PWR_IND_BLINK);
    Error *e = NULL;
    assert_false(pci_unplug_request(pci_device(d), &e));
    assert_string_equal(error_text(e), "Hot-unplug failed: guest is busy (power indicator blinking)");
    error_free(e);
    assert_non_null(device_find(b->m->root, "r"));
    slot_control(b, port, watch | PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF);
    while (device_find(b->m->root, "r")) {
        epoch_flush();
        bench_run(b);
    }
    assert_false(slot_status(b, port) & PCI_EXP_SLTSTA_PDS);
    assert_true(slot_status(b, port) & PCI_EXP_SLTSTA_PDC);
    bench_free(b);
}

static void test_power_cycle(void **state)
{
    Bench *b = bench_new();
    Device *port = bench_device(b, &pcie_root_port_type, "rp", NULL);

    behind(b, "rp", "r");
    bench_reset(b);
    set_up(b, port);
    far_write(b, 0, PCI_COMMAND, 6, 2);
    slot_control(b, port, PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_PWR_OFF);
    bench_run(b);
    assert_int_equal(far_read(b, 0, 0, 4), 0xffffffff);
    slot_control(b, port, PCI_EXP_SLTCTL_PWR_IND_ON);
    /* Nobody asked for it to go: it is there again, fresh. */
    assert_int_equal(far_read(b, 0, 0, 4), 0x10441af4);
    assert_int_equal(far_read(b, 0, PCI_COMMAND, 2), 0);
    bench_free(b);
}

static void test_refusals(void **state)
{
    Bench *b = bench_new();
    Error *e = NULL;

    bench_device(b, &pcie_root_port_type, "a", "chassis", "1", NULL);
    assert_null(bench_try_device(b, &pcie_root_port_type, "b", &e, "chassis", "1", NULL));
    assert_string_equal(error_text(e), "Can't add chassis slot, error -16");
    g_clear_pointer(&e, error_free);
    bench_device(b, &ioh3420_type, "c", "chassis", "1", "slot", "1", NULL);
    Device *d = device_make(&virtio_rng_pci, b->m->peripheral, bus_named(b, "a"), "n", &e, "addr", "1", NULL);
    assert_null(d);
    assert_string_equal(error_text(e), "PCI: slot 1 is not valid for virtio-rng-pci, parent device only "
                        "allows plugging into slot 0");
    g_clear_pointer(&e, error_free);
    assert_null(bench_try_device(b, &pci_bridge_type, "p", &e, NULL));
    assert_non_null(e);
    g_clear_pointer(&e, error_free);
    bench_free(b);
}

static void test_swizzle(void **state)
{
    Bench *b = bench_new();
    Device *br = bench_device(b, &pci_bridge_type, "br", "addr", "6", "chassis_nr", "1", NULL);
    Error *e = NULL;
    Device *d = device_make(&virtio_rng_pci, b->m->peripheral, bus_named(b, "br"), "r", &e,
                            "addr", "3", NULL);

    assert_non_null(d);
    assert_int_equal(pci_device(br)->secondary->slot_min, 1);
    /* Slot 3 INTA is the bridge's INTD; slot 6 INTD is wire (6 + 3) % 4. */
    irq_set(pci_intx(pci_device(d)), true);
    assert_true(bench_irq(b, 16 + 1));
    /* Reset lowers it, and removing the bridge takes all below it along. */
    bench_reset(b);
    assert_false(bench_irq(b, 16 + 1));
    bench_remove(b, br);
    assert_null(device_find(b->m->root, "r"));
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_secondary_reset),
        cmocka_unit_test(test_hotplug),
        cmocka_unit_test(test_power_cycle),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_swizzle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
