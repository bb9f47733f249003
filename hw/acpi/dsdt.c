/* dsdt.c: the DSDT of a PC, as AML.  Sections are those of ACPI 6.4; PCI routing follows the PIIX3 and
 * ICH9 datasheets.
 *
 *   \_SB.PCI0        root bus: windows, interrupt routing, the LPC bridge ISA with its chips
 *   \_SB.LNKA-LNKH   PIRQ links: ISA interrupts the firmware or guest programs into the bridge
 *   \_SB.GSIA-GSIH   q35 with I/O APIC: PIRQ A-H are wired to inputs 16-23
 *   \_SB.CPUS        processors, \_SB.MEMS memory slots (hotplug-aml.c);  \_GPE hot-plug
 *   \_S3-\_S5         sleep types */
#include "hw/acpi/tables.h"

#include "hw/acpi/aml.h"
#include "hw/acpi/hotplug-aml.h"
#include "hw/pci/host.h"
#include "util/bytes.h"

static Aml *hid(const char *eisa)
{
    return aml_name("_HID", aml_eisaid(eisa));
}

/* --- ISA chips --- */

static Aml *isa_device(const char *name, const char *eisa, Aml *take_resources)
{
    return aml_device(name, aml_terms(hid(eisa), aml_name("_STA", aml_int(0xf)),
                                  aml_name("_CRS", aml_resources(take_resources)), NULL));
}

static void add_serial(Aml *isa, unsigned index)
{
    static const uint16_t ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const uint8_t irqs[] = { 4, 3, 4, 3 };
    g_autofree char *name = g_strdup_printf("COM%u", index + 1);

    aml_add(isa, aml_device(name, aml_terms(
        hid("PNP0501"), aml_name("_UID", aml_int(index + 1)), aml_name("_STA", aml_int(0xf)),
        aml_name("_CRS", aml_resources(aml_terms(aml_res_io(ports[index], ports[index], 0, 8),
                                             aml_res_irq_noflags(irqs[index]), NULL))), NULL)));
}

/* 9.9: drive @n, with the parameters of a BIOS diskette table (INT 13h, function 8). */
static Aml *floppy_drive(const AcpiFdc *f, unsigned n)
{
    static const uint8_t table[] = { 0xaf, 0x02, 0x25, 0x02, 0x12, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08 };
    uint8_t first[] = { n, f->type[n], f->cylinder[n], f->sector[n], 1 };
    Aml *values = aml_list();

    for (unsigned i = 0; i < sizeof(first); i++) {
        aml_add(values, aml_int(first[i]));
    }
    for (unsigned i = 0; i < sizeof(table); i++) {
        aml_add(values, aml_int(table[i]));
    }
    return aml_device(n ? "FLPB" : "FLPA", aml_terms(
        aml_name("_ADR", aml_int(n)),
        aml_name("_FDI", aml_package(sizeof(first) + sizeof(table), values)), NULL));
}

static void add_fdc(Aml *isa, const AcpiFdc *f)
{
    Aml *body = aml_terms(hid("PNP0700"), aml_name("_CRS", aml_resources(aml_terms(
        aml_res_io(f->iobase + 2, f->iobase + 2, 0, 4), aml_res_io(f->iobase + 7, f->iobase + 7, 0, 1),
        aml_res_irq_noflags(f->irq), aml_res_dma(f->dma), NULL))), NULL);
    uint8_t fde[20] = { [16] = 2 };            /* five dwords; of the last: a tape is not reported */

    for (unsigned i = 0; i < 2; i++) {
        if (f->type[i] != 0) {
            fde[4 * i] = 1;
            aml_add(body, floppy_drive(f, i));
        }
    }
    aml_add(body, aml_name("_FDE", aml_buffer(fde, sizeof(fde))));
    aml_add(isa, aml_device("FDC0", body));
}

static Aml *isa_chips(const AcpiBoard *b)
{
    Aml *isa = aml_list();

    if (b->fdc != NULL) {
        add_fdc(isa, b->fdc);
    }
    if (b->ps2) {
        aml_add(isa, isa_device("KBD", "PNP0303", aml_terms(
            aml_res_io(0x60, 0x60, 1, 1), aml_res_io(0x64, 0x64, 1, 1), aml_res_irq_noflags(1), NULL)));
        aml_add(isa, isa_device("MOU", "PNP0F13", aml_res_irq_noflags(12)));
    }
    aml_add(isa, isa_device("RTC", "PNP0B00", aml_terms(
        aml_res_io(0x70, 0x70, 1, 8), aml_res_irq_noflags(8), NULL)));
    for (unsigned i = 0; i < 4; i++) {
        if (b->serial_ports & 1u << i) {
            add_serial(isa, i);
        }
    }
    return isa;
}

/* Devices with an identity of their own that sit beside PCI0's ISA bridge. */
static void add_platform(Aml *sb, const AcpiBoard *b)
{
    if (b->fw_cfg) {
        aml_add(sb, aml_device("FWCF", aml_terms(
            aml_name("_HID", aml_str("QEMU0002")), aml_name("_STA", aml_int(0xb)),
            aml_name("_CRS", aml_resources(aml_res_io(0x510, 0x510, 1, 12))), NULL)));
    }
    if (b->pvpanic) {
        aml_add(sb, aml_device("PEVT", aml_terms(
            aml_name("_HID", aml_str("QEMU0001")), aml_name("_STA", aml_int(0xf)),
            aml_name("_CRS", aml_resources(aml_res_io(0x505, 0x505, 1, 1))), NULL)));
    }
    if (b->hpet) {
        aml_add(sb, aml_device("HPET", aml_terms(
            hid("PNP0103"), aml_name("_UID", aml_int(0)), aml_name("_STA", aml_int(0xf)),
            aml_name("_CRS", aml_resources(aml_res_fixed_memory(0xfed00000, 0x400, false))), NULL)));
    }
}

/* --- PCI interrupt links --- */

/* The name of the PIRQ register of link @n in the fields of \_SB.PCI0.ISA. */
static char *pirq_register(unsigned n)
{
    return g_strdup_printf("PRQ%c", '0' + n);
}

/* A link whose ISA interrupt is in the bridge's PIRQ route register: bit 7 disables. */
static Aml *link_device(unsigned n)
{
    g_autofree char *name = g_strdup_printf("LNK%c", 'A' + n);
    g_autofree char *reg = pirq_register(n);
    g_autofree char *path = g_strdup_printf("\\_SB.PCI0.ISA.%s", reg);
    Aml *choices = aml_terms(aml_res_interrupt(5), NULL);
    Aml *sta, *crs;

    choices->data[4] = 3;                    /* three interrupts in one descriptor */
    st16(choices->data + 1, 2 + 3 * 4);
    for (unsigned i = 10; i <= 11; i++) {
        uint8_t raw[4];
        st32(raw, i);
        g_byte_array_append(choices, raw, 4);
    }
    sta = aml_terms(aml_if(aml_and(aml_path(path), aml_int(0x80)), aml_return(aml_int(9))),
                aml_return(aml_int(0xb)), NULL);
    crs = aml_terms(aml_create_dword_field(aml_path("BUF0"), 5, "IRQ0"),
                aml_if(aml_lnot(aml_and(aml_path(path), aml_int(0x80))),
                       aml_store(aml_and(aml_path(path), aml_int(0xf)), aml_path("IRQ0"))),
                aml_return(aml_path("BUF0")), NULL);
    return aml_device(name, aml_terms(
        hid("PNP0C0F"), aml_name("_UID", aml_int(n)),
        aml_name("BUF0", aml_resources(aml_res_interrupt(0))),
        aml_name("_PRS", aml_resources(choices)),
        aml_method("_STA", 0, false, sta),
        aml_method("_DIS", 0, false,
                   aml_store(aml_or(aml_path(path), aml_int(0x80)), aml_path(path))),
        aml_method("_CRS", 0, true, crs),
        aml_method("_SRS", 1, false, aml_terms(
            aml_create_dword_field(aml_arg(0), 5, "IRQW"),
            aml_store(aml_path("IRQW"), aml_path(path)), NULL)), NULL));
}

/* A link hard-wired to I/O APIC input @gsi. */
static Aml *gsi_device(unsigned n)
{
    g_autofree char *name = g_strdup_printf("GSI%c", 'A' + n);

    return aml_device(name, aml_terms(
        hid("PNP0C0F"), aml_name("_UID", aml_int(0x10 + n)),
        aml_name("_PRS", aml_resources(aml_res_interrupt(16 + n))),
        aml_name("_CRS", aml_resources(aml_res_interrupt(16 + n))),
        aml_method("_SRS", 1, false, aml_list()), NULL));
}

/* 6.2.13: one entry for each slot and pin. */
static Aml *routing(const AcpiBoard *b, const char *links)
{
    Aml *all = aml_list();

    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            unsigned pirq = b->q35 ? ich9_pirq(slot, pin) : piix3_pirq(slot, pin);
            g_autofree char *link = g_strdup_printf("%s%c", links, 'A' + pirq);
            aml_add(all, aml_package(4, aml_terms(aml_int(slot << 16 | 0xffff), aml_int(pin),
                                              aml_path(link), aml_int(0), NULL)));
        }
    }
    return aml_package(128, all);
}

static void add_links(Aml *sb, const AcpiBoard *b)
{
    unsigned n = b->q35 ? 8 : 4;

    for (unsigned i = 0; i < n; i++) {
        aml_add(sb, link_device(i));
    }
    for (unsigned i = 0; b->q35 && i < 8; i++) {
        aml_add(sb, gsi_device(i));
    }
}

/* _PIC tells whether the guest uses the I/O APIC (5.8.1); on a q35 that changes the wiring. */
static Aml *routing_method(const AcpiBoard *b)
{
    if (!b->q35) {
        return aml_name("_PRT", routing(b, "LNK"));
    }
    return aml_terms(aml_name("PRTP", routing(b, "LNK")), aml_name("PRTA", routing(b, "GSI")),
                 aml_method("_PRT", 0, false, aml_terms(
                     aml_if(aml_path("\\PICF"), aml_return(aml_path("PRTA"))),
                     aml_return(aml_path("PRTP")), NULL)), NULL);
}

/* --- PCI0 --- */

static Aml *pci_windows(const AcpiBoard *b)
{
    Aml *r = aml_terms(aml_res_bus(0, 0xff), aml_res_io(0xcf8, 0xcf8, 1, 8), aml_res_word_io(0, 0xcf7),
                   aml_res_word_io(0xd00, 0xffff), aml_res_dword_memory(true, 0xa0000, 0xbffff),
                   aml_res_dword_memory(false, b->pci32_start, b->pci32_end), NULL);

    if (b->pci64_end != 0) {
        aml_add(r, aml_res_qword_memory(true, b->pci64_start, b->pci64_end));
    }
    return aml_resources(r);
}

/* _OSC (6.2.11.3): the guest controls native hot-plug, unless ACPI does that, PME, AER and the capability
 * structure. */
static Aml *osc(const AcpiBoard *b)
{
    static const uint8_t pci_uuid[16] = { 0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                          0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66 };
    enum { HOTPLUG = 0x01, ALL = 0x1f, MASKED = 0x10, BAD_REVISION = 8, BAD_UUID = 4 };
    Aml *known = aml_terms(
        aml_create_dword_field(aml_arg(3), 8, "CDW3"),
        aml_store(aml_and(aml_path("CDW3"), aml_int(b->pcihp_io != 0 ? ALL & ~HOTPLUG : ALL)), aml_local(0)),
        aml_if(aml_lnot(aml_equal(aml_arg(1), aml_int(1))),
               aml_store(aml_or(aml_path("CDW1"), aml_int(BAD_REVISION)), aml_path("CDW1"))),
        aml_if(aml_lnot(aml_equal(aml_path("CDW3"), aml_local(0))),
               aml_store(aml_or(aml_path("CDW1"), aml_int(MASKED)), aml_path("CDW1"))),
        aml_store(aml_local(0), aml_path("CDW3")), aml_return(aml_arg(3)), NULL);

    return aml_method("_OSC", 4, true, aml_terms(
        aml_create_dword_field(aml_arg(3), 0, "CDW1"),
        aml_if(aml_equal(aml_arg(0), aml_buffer(pci_uuid, 16)), known),
        aml_store(aml_or(aml_path("CDW1"), aml_int(BAD_UUID)), aml_path("CDW1")),
        aml_return(aml_arg(3)), NULL));
}

/* The PIRQ route registers: 0x60-0x63 and, on ICH9, 0x68-0x6b. */
static Aml *isa_bridge(const AcpiBoard *b)
{
    Aml *fields = aml_list();

    for (unsigned i = 0; i < (b->q35 ? 8u : 4u); i++) {
        g_autofree char *reg = pirq_register(i);
        if (i == 4) {
            aml_add(fields, aml_field_unit(NULL, 32));
        }
        aml_add(fields, aml_field_unit(reg, 8));
    }
    return aml_device("ISA", aml_terms(
        aml_name("_ADR", aml_int(b->q35 ? 0x1f0000 : 0x10000)),
        aml_region("PIRQ", AML_PCI_CONFIG, 0x60, 0x0c), aml_field("PIRQ", 1, fields),
        isa_chips(b), NULL));
}

/* ECAM and the chipset's own ports and memory, so that no driver is given them. */
static Aml *motherboard(const AcpiBoard *b)
{
    Aml *r = aml_list();

    if (b->ecam != 0) {
        aml_add(r, aml_res_fixed_memory(b->ecam, 256 * MiB, true));
    }
    aml_add(r, aml_res_io(b->pm_base, b->pm_base, 1, b->q35 ? 0x80 : 0x40));
    if (!b->q35) {
        aml_add(r, aml_res_io(b->gpe0, b->gpe0, 1, b->gpe0_len));
    }
    if (b->pcihp_io != 0) {
        aml_add(r, aml_res_io(b->pcihp_io, b->pcihp_io, 1, 0x18));
    }
    if (b->cpuhp_io != 0) {
        aml_add(r, aml_res_io(b->cpuhp_io, b->cpuhp_io, 1, 0x0c));
    }
    if (b->memory_slots != 0) {
        aml_add(r, aml_res_io(b->memhp_io, b->memhp_io, 1, 0x18));
    }
    return aml_device("MBRD", aml_terms(hid("PNP0C02"), aml_name("_CRS", aml_resources(r)), NULL));
}

static Aml *pci_root(const AcpiBoard *b)
{
    Aml *body = aml_list();

    if (b->q35) {
        aml_add(body, hid("PNP0A08"));
        aml_add(body, aml_name("_CID", aml_eisaid("PNP0A03")));
        aml_add(body, osc(b));
    } else {
        aml_add(body, hid("PNP0A03"));
    }
    aml_add(body, aml_name("_UID", aml_int(0)));
    aml_add(body, aml_name("_BBN", aml_int(0)));
    aml_add(body, aml_name("_CRS", pci_windows(b)));
    aml_add(body, isa_bridge(b));
    aml_add(body, routing_method(b));
    if (b->pcihp_io != 0) {
        acpi_add_pcihp(body, b);
    }
    return aml_device("PCI0", body);
}

/* --- the rest --- */

/* \_Sx (7.4.2): the SLP_TYP values for PM1a and PM1b. */
static Aml *sleep_type(const char *name, unsigned typ)
{
    return aml_name(name, aml_package(4, aml_terms(aml_int(typ), aml_int(typ), aml_int(0), aml_int(0),
                                                   NULL)));
}

/* The handler @name of a general purpose event: calls @scan. */
static void add_event(Aml *all, const char *name, bool wanted, const char *scan)
{
    if (wanted) {
        aml_add(all, aml_scope("\\_GPE", aml_method(name, 0, false, aml_call(scan, aml_list()))));
    }
}

GByteArray *acpi_dsdt(const Machine *m, const AcpiBoard *b)
{
    Aml *all = aml_list(), *sb = aml_list();

    aml_add(all, aml_name("\\PICF", aml_int(0)));
    aml_add(all, aml_method("\\_PIC", 1, false, aml_store(aml_arg(0), aml_path("\\PICF"))));
    aml_add(sb, pci_root(b));
    aml_add(sb, motherboard(b));
    add_links(sb, b);
    add_platform(sb, b);
    acpi_add_cpus(sb, m, b);
    acpi_add_memory(sb, m, b);
    aml_add(all, aml_scope("\\_SB", sb));
    add_event(all, "_E01", b->pcihp_io != 0, ACPI_PCI_SCAN);
    add_event(all, "_E02", b->cpuhp_io != 0, ACPI_CPUS_SCAN);
    add_event(all, "_E03", b->memory_slots != 0, ACPI_MEMORY_SCAN);
    if (b->s3) {
        aml_add(all, sleep_type("\\_S3", 1));
    }
    if (b->s4) {
        aml_add(all, sleep_type("\\_S4", 2));
    }
    aml_add(all, sleep_type("\\_S5", 0));
    return all;
}
