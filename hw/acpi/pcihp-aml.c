/* pcihp-aml.c: hot-plug of PCI functions as AML, for PCI0 and the buses behind its bridges; the registers are
 * those of pcihp.c.
 *
 * 1. BLCK guards the bus selector: PCEJ takes it, and PCI0's PCNT for all the buses below. */
#include "hw/acpi/hotplug-aml.h"

#include "util/bytes.h"

enum { NOTIFY_CHECK = 1, NOTIFY_EJECT = 3 };

/* PDSM(uuid, revision, function, bus, slot): the functions of _DSM for naming a device (PCI Firmware
 * Specification 3.1, 4.6.1 and 4.6.7).  Function 7 tells the index by which the guest names the port, here
 * the acpi-index of the function in the slot; function 0 tells what functions there are. */
static Aml *device_name(void)
{
    static const uint8_t uuid[16] = { 0xd0, 0x37, 0xc9, 0xe5, 0x53, 0x35, 0x7a, 0x4d,
                                      0x91, 0x17, 0xea, 0x4d, 0x19, 0xc3, 0x43, 0x4d };
    static const uint8_t none[1] = { 0 }, naming[1] = { 0x81 };
    Aml *known = aml_terms(
        aml_acquire("BLCK"), aml_store(aml_arg(3), aml_path("BNUM")), aml_store(aml_arg(4), aml_path("PIDX")),
        aml_store(aml_path("PIDX"), aml_local(0)), aml_release("BLCK"),
        aml_if(aml_lnot(aml_equal(aml_local(0), aml_int(0))), aml_terms(
            aml_if(aml_equal(aml_arg(2), aml_int(0)), aml_return(aml_buffer(naming, 1))),
            aml_if(aml_equal(aml_arg(2), aml_int(7)), aml_terms(
                aml_store(aml_package(2, aml_terms(aml_int(0), aml_str(""), NULL)), aml_local(1)),
                aml_store(aml_local(0), aml_index(aml_local(1), 0)), aml_return(aml_local(1)), NULL)), NULL)),
        NULL);

    return aml_method("PDSM", 5, true, aml_terms(
        aml_if(aml_equal(aml_arg(0), aml_buffer(uuid, 16)),
               aml_if(aml_less(aml_int(1), aml_arg(1)), known)),
        aml_return(aml_buffer(none, 1)), NULL));
}

static Aml *registers(uint16_t io)
{
    return aml_terms(
        aml_region("PCST", AML_SYSTEM_IO, io, 8),
        aml_field("PCST", 3, aml_terms(aml_field_unit("PCIU", 32), aml_field_unit("PCID", 32), NULL)),
        aml_region("SEJ", AML_SYSTEM_IO, io + 8, 4), aml_field("SEJ", 3, aml_field_unit("B0EJ", 32)),
        aml_region("BNMR", AML_SYSTEM_IO, io + 0x10, 8),
        aml_field("BNMR", 3, aml_terms(aml_field_unit("BNUM", 32), aml_field_unit("PIDX", 32), NULL)),
        aml_mutex("BLCK"),
        aml_method("PCEJ", 2, false, aml_terms(
            aml_acquire("BLCK"), aml_store(aml_arg(0), aml_path("BNUM")),
            aml_store(aml_shift_left(aml_int(1), aml_arg(1)), aml_path("B0EJ")), aml_release("BLCK"),
            aml_return(aml_int(0)), NULL)),
        device_name(), NULL);
}

/* True for the slot of the bus @parent (index, -1: the root bus) that a bridge is in. */
static bool has_bridge(const AcpiBoard *b, int parent, unsigned slot)
{
    for (unsigned i = 0; i < b->pci_bus_count; i++) {
        const AcpiPciBus *c = &b->pci_buses[i];

        if (!c->root && c->parent == parent && c->devfn / 8 == slot) {
            return true;
        }
    }
    return false;
}

/* The slots of a bus, which may be ejected, and what tells of them; those of bridges are not among them. */
static void add_slots(Aml *scope, const AcpiBoard *b, int index)
{
    const AcpiPciBus *bus = &b->pci_buses[index];
    unsigned first = bus->root ? 2 : 0, last = bus->one_slot ? 0 : 31;
    Aml *notify = aml_list();

    for (unsigned slot = first; slot <= last; slot++) {
        g_autofree char *name = g_strdup_printf("S%02X_", slot << 3);

        if (has_bridge(b, index, slot)) {
            continue;
        }
        aml_add(scope, aml_device(name, aml_terms(
            aml_name("_SUN", aml_int(slot)), aml_name("_ADR", aml_int((uint64_t)slot << 16)),
            aml_method("_DSM", 4, true, aml_return(aml_call("PDSM", aml_terms(
                aml_arg(0), aml_arg(1), aml_arg(2), aml_int(bus->selector), aml_int(slot), NULL)))),
            aml_method("_EJ0", 1, false, aml_call("PCEJ", aml_terms(aml_int(bus->selector), aml_int(slot),
                                                                    NULL))), NULL)));
        aml_add(notify, aml_if(aml_and(aml_arg(0), aml_int(UINT64_C(1) << slot)),
                               aml_notify(name, aml_arg(1))));
    }
    aml_add(scope, aml_method("DVNT", 2, false, notify));
}

/* The bus @index (-1: the root bus, which is not hot-plugged) and, in devices of their own, those below. */
static void add_bus(Aml *scope, const AcpiBoard *b, int index, Aml *take_scan)
{
    Aml *scan = take_scan;

    if (index >= 0) {
        add_slots(scope, b, index);
        aml_add(scan, aml_terms(
            aml_store(aml_int(b->pci_buses[index].selector), aml_path("BNUM")),
            aml_call("DVNT", aml_terms(aml_path("PCIU"), aml_int(NOTIFY_CHECK), NULL)),
            aml_call("DVNT", aml_terms(aml_path("PCID"), aml_int(NOTIFY_EJECT), NULL)), NULL));
    }
    for (unsigned i = 0; i < b->pci_bus_count; i++) {
        const AcpiPciBus *c = &b->pci_buses[i];
        g_autofree char *name = g_strdup_printf("S%02X_", c->devfn);
        g_autofree char *below = g_strdup_printf("^%s.PCNT", name);

        if (!c->root && c->parent == index) {
            Aml *body = aml_name("_ADR", aml_int((uint64_t)(c->devfn / 8) << 16 | c->devfn % 8));
            Aml *inner = aml_list();

            add_bus(body, b, (int)i, inner);
            aml_add(body, aml_method("PCNT", 0, false, inner));
            aml_add(scope, aml_device(name, body));
            aml_add(scan, aml_call(below, aml_list()));
        }
    }
}

void acpi_add_pcihp(Aml *pci0, const AcpiBoard *b)
{
    Aml *scan = aml_acquire("BLCK");

    aml_add(pci0, registers(b->pcihp_io));
    add_bus(pci0, b, b->pci_bus_count > 0 && b->pci_buses[0].root ? 0 : -1, scan);
    aml_add(scan, aml_release("BLCK"));
    aml_add(pci0, aml_method("PCNT", 0, false, scan));
}
