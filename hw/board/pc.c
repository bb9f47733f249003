/* pc.c: the machine types pc (i440FX, PIIX3) and q35 (ICH9).
 *
 *   build:    RAM, interrupt inputs, host bridge, south bridge, chips, firmware ROM
 *   complete: the user's devices are there: ACPI, SMBIOS and fw_cfg; the plan for a kernel without firmware
 *   restart:  after each reset: boot order; or the kernel into RAM and PCI as firmware would leave it
 *
 * 1. Chips are made by their catalogue names, in tables: what is on a board is data. */
#include "hw/board/pc.h"

#include <string.h>
#include "hw/acpi/pm.h"
#include "hw/board/pc-cpu.h"
#include "hw/board/pci-setup.h"
#include "hw/isa/hpet.h"
#include "hw/isa/i8254.h"
#include "hw/isa/mc146818rtc.h"
#include "hw/misc/fw-cfg.h"
#include "hw/storage/pflash.h"
#include "util/bytes.h"

/* The guest is gone: what the board owns apart from chips. */
static void board_unrealize(Device *d)
{
    PcBoard *b = (PcBoard *)d;

    b->complete = false;
    map_begin();
    for (unsigned i = 0; i < b->part_count; i++) {
        map_drop(&b->parts[i]);
    }
    map_commit();
    firmware_unmap(&b->rom);
    boot_free(b->plan);
    linker_free(b->linker);
    smbios_clear(&b->smbios);
    for (unsigned i = 0; b->files != NULL && i < b->files->len; i++) {
        boot_file_unmap(g_ptr_array_index(b->files, i));
        g_free(g_ptr_array_index(b->files, i));
    }
    g_clear_pointer(&b->files, g_ptr_array_unref);
}

static void board_resume(Device *d)
{
    ((PcBoard *)d)->ran = true;
}

static const DeviceType pc_board_type = {
    .name = "pc-board", .summary = "a PC's board", .slot = &board_slot, .size = sizeof(PcBoard),
    .flags = DEV_INTERNAL | DEV_STATELESS, .unrealize = board_unrealize, .resume = board_resume,
};

Device *pc_make(Machine *m, Bus *bus, const char *type, const char *id, const char *addr, Error **errp)
{
    const DeviceType *t = device_type_find(type);

    if (t == NULL) {
        error_set(errp, "this build has no device '%s'", type);
        return NULL;
    }
    return addr != NULL ? device_make(t, m->root, bus, id, errp, "addr", addr, NULL)
                        : device_make(t, m->root, bus, id, errp, NULL);
}

/* --- chips --- */

/* The chip that has the power management: @type at @addr. */
static Device *make_power(Machine *m, const char *type, const char *addr, Error **errp)
{
    return device_make(device_type_find(type), m->root, m->pci, NULL, errp, "addr", addr, "smm-enabled",
                       m->smm != NULL ? "on" : "off", NULL);
}

static bool make_bridges(PcBoard *b, Machine *m, Error **errp)
{
    b->host = pc_host_make(m, b->q35, errp);
    if (b->host == NULL) {
        return false;
    }
    if (b->q35) {
        b->south = make_power(m, "ICH9-LPC", "1f.0", errp);
        return b->south != NULL && pc_make(m, m->pci, "ich9-ahci", NULL, "1f.2", errp) != NULL &&
               pc_make(m, m->pci, "ICH9-SMB", NULL, "1f.3", errp) != NULL;
    }
    b->south = pc_make(m, m->pci, "PIIX3", NULL, "01.0", errp);
    return b->south != NULL && pc_make(m, m->pci, "piix3-ide", NULL, "01.1", errp) != NULL &&
           make_power(m, "PIIX4_PM", "01.3", errp) != NULL;
}

/* The legacy timers' interrupts pass through the HPET, which can take their places. */
static bool make_timers(PcBoard *b, Machine *m, Error **errp)
{
    Device *pit, *spk;

    b->rtc = pc_make(m, m->isa, "mc146818rtc", NULL, NULL, errp);
    if (b->rtc != NULL && m->cfg.hpet) {
        b->hpet = device_make(device_type_find("hpet"), m->root, NULL, NULL, errp, "hpet-intcap",
                              b->q35 ? "0xff0104" : "0x4", NULL);
    }
    if (b->rtc == NULL || (m->cfg.hpet && b->hpet == NULL)) {
        return false;
    }
    if (b->hpet != NULL) {
        irq_connect(rtc_irq(b->rtc), hpet_inputs(b->hpet), 1);
    }
    if (accel()->has_pit != NULL && accel()->has_pit()) {
        return true;                         /* the kernel's, with port 0x61 */
    }
    pit = pc_make(m, m->isa, "isa-pit", NULL, NULL, errp);
    spk = pit != NULL ? pc_make(m, m->isa, "isa-pcspk", NULL, NULL, errp) : NULL;
    if (spk == NULL) {
        return false;
    }
    pcspk_set_pit(spk, pit);
    if (b->hpet != NULL) {
        irq_connect(pit_irq(pit), hpet_inputs(b->hpet), 0);
    }
    return true;
}

static bool make_chips(PcBoard *b, Machine *m, Error **errp)
{
    const struct { bool wanted; const char *type, *id; } chips[] = {
        { m->cfg.i8042, "i8042", NULL }, { m->cfg.i8042, "port92", NULL }, { m->cfg.vmport, "vmport", NULL },
        { true, "i8257", NULL }, { true, "fw_cfg_io", "fw_cfg" },
    };

    for (unsigned i = 0; i < ARRAY_LEN(chips); i++) {
        if (chips[i].wanted && pc_make(m, m->isa, chips[i].type, chips[i].id, NULL, errp) == NULL) {
            return false;
        }
    }
    return make_timers(b, m, errp);
}

static bool map_firmware(PcBoard *b, Machine *m, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    Region *box = pc_host_pci_mem(b->host);

    if (c->pflash[0] != NULL) {
        return pflash_make(m, box, errp);
    }
    if (c->kernel != NULL && c->firmware == NULL) {
        return true;
    }
    return firmware_map(&b->rom, &b->dev, box, c->firmware != NULL ? c->firmware : "bios-256k.bin", errp);
}

static bool add_smm(Machine *m, Error **errp)
{
    bool can = accel()->has_smm != NULL && accel()->has_smm();

    if (m->cfg.smm == ONOFF_ON && !can) {
        return error_set(errp, "-machine: smm=on: accelerator '%s' has no system management mode here",
                         accel()->name);
    }
    if (m->cfg.smm != ONOFF_OFF && can) {
        machine_add_smm(m);
    }
    return true;
}

bool pc_build(Machine *m, bool q35, Error **errp)
{
    Device *d = device_make(&pc_board_type, m->root, NULL, "board", errp, NULL);
    PcBoard *b = (PcBoard *)d;

    if (b == NULL) {
        return false;
    }
    m->board = b;
    b->q35 = q35;
    b->files = g_ptr_array_new();
    pc_irqs_begin(b, m);
    pc_cpus_begin(m);
    return add_smm(m, errp) && pc_cpus_make(m, errp) && pc_map_ram(b, m, errp) && make_bridges(b, m, errp) &&
           pc_irqs_make(b, m, errp) &&
           make_chips(b, m, errp) &&
           (q35 || pc_make(m, m->isa, "isa-fdc", NULL, NULL, errp) != NULL) && map_firmware(b, m, errp);
}

/* --- tables --- */

static bool has_device(Machine *m, const char *type)
{
    for (Device *d = m->isa->first; d != NULL; d = d->bus_next) {
        if (strcmp(d->type->name, type) == 0) {
            return true;
        }
    }
    return false;
}

static unsigned serial_ports(Machine *m)
{
    static const unsigned ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    unsigned found = 0;

    for (Device *d = m->isa->first; d != NULL; d = d->bus_next) {
        if (strcmp(d->type->name, "isa-serial") == 0) {
            g_autofree char *text = device_get(d, "iobase");
            uint64_t at = g_ascii_strtoull(text, NULL, 0);
            for (unsigned i = 0; i < ARRAY_LEN(ports); i++) {
                found |= ports[i] == at ? 1u << i : 0;
            }
        }
    }
    return found;
}

static uint32_t apic_id(const CpuTopology *t, unsigned index)
{
    return accel()->vcpu_apic_id != NULL ? accel()->vcpu_apic_id(index) : index;
}

static void describe(PcBoard *b, Machine *m)
{
    AcpiBoard *a = &b->acpi;
    AcpiPciHp *hp = b->q35 ? ich9_lpc_pcihp(m->pm) : piix4_pm_pcihp(m->pm);
    uint64_t top = m->memory_area.size != 0 ? m->memory_area.base + m->memory_area.size
                                            : 4 * GiB + m->above_4g;

    *a = (AcpiBoard){
        .q35 = b->q35, .pm_base = 0x600, .gpe0 = b->q35 ? 0x620 : 0xafe0, .gpe0_len = b->q35 ? 16 : 4,
        .acpi_enable = b->q35 ? 0x02 : 0xf1, .acpi_disable = b->q35 ? 0x03 : 0xf0,
        .ecam = b->q35 ? ECAM_BASE : 0,
        .pci32_start = b->q35 ? MAX(ECAM_BASE + ECAM_SIZE, m->below_4g) : ALIGN_UP(m->below_4g, 64 * KiB),
        .pci32_end = 0xfebfffff, .pci64_start = ALIGN_UP(top, 1 * GiB),
        .hpet = b->hpet != NULL, .pvpanic = has_device(m, "pvpanic"), .fw_cfg = true,
        .s3 = b->rom.ram != NULL, .s4 = true, .serial_ports = serial_ports(m), .ps2 = m->cfg.i8042,
        .fdc = pc_describe_fdc(b, m),
        .apic_id = apic_id, .smi = m->smm != NULL,
        .cpuhp_io = b->q35 ? 0x0cd8 : 0xaf00, .memhp_io = 0xa00,
        .memory_slots = m->dimms.ops != NULL ? m->dimms.count : 0,
    };
    if (m->cfg.acpi) {
        acpi_pcihp_bridges(hp, pc_host_bus(b->host));
    }
    a->pci_bus_count = acpi_pcihp_describe(hp, a->pci_buses);
    a->pcihp_io = a->pci_bus_count == 0 ? 0 : b->q35 ? 0x0cc0 : 0xae00;
    a->pci64_end = a->pci64_start + (b->q35 ? 32 : 2) * GiB - 1;
}

unsigned pc_reserved(const PcBoard *b, E820Entry out[4])
{
    unsigned n = 0;

    if (b->q35) {
        out[n++] = (E820Entry){ ECAM_BASE, ECAM_SIZE, E820_RESERVED };
    }
    out[n++] = (E820Entry){ 0xfeffc000, 0x4000, E820_RESERVED };      /* KVM's TSS and identity map */
    out[n++] = (E820Entry){ 0xfffc0000, 0x40000, E820_RESERVED };
    return n;
}

bool pc_complete(Machine *m, Error **errp)
{
    PcBoard *b = m->board;
    E820Entry reserved[5];
    unsigned count;

    describe(b, m);
    if (m->cfg.acpi) {
        b->linker = linker_new();
        acpi_build(b->linker, m, &b->acpi);
    }
    if (!smbios_build(&b->smbios, m, accel()->cpu_signature != NULL ? accel()->cpu_signature() : 0, errp)) {
        return false;
    }
    pc_fill_cmos(b, m);
    if (!pc_fill_fw_cfg(b, m, errp)) {
        return false;
    }
    if (m->cfg.kernel == NULL || b->rom.ram != NULL || m->cfg.pflash[0] != NULL) {
        return true;
    }
    count = pc_reserved(b, reserved);
    if (b->q35) {                              /* a firmware adds it by itself */
        reserved[count++] = (E820Entry){ RCBA_BASE, RCBA_SIZE, E820_RESERVED };
    }
    b->plan = boot_plan(m, b->linker, &b->smbios, reserved, count, errp);
    if (b->plan != NULL && accel()->boot_state != NULL) {
        accel()->boot_state(&b->plan->cpu);
    }
    return b->plan != NULL;
}

/* --- restart --- */

/* The interrupt that the PIRQ route registers of PIIX3 or ICH9 give a pin of the root bus, as
 * pc_chipset_setup() left them. */
static uint8_t piix3_irq(PciBus *root, unsigned slot, unsigned pin)
{
    return pci_config_read(root, 0, PCI_DEVFN(1, 0), 0x60 + piix3_pirq(slot, pin), 1) & 0xf;
}

static uint8_t ich9_irq(PciBus *root, unsigned slot, unsigned pin)
{
    unsigned n = ich9_pirq(slot, pin);

    return pci_config_read(root, 0, PCI_DEVFN(0x1f, 0), (n < 4 ? 0x60 : 0x64) + n, 1) & 0xf;
}

/* ACPI 6.4, 16.3.1: firmware tells a wake-up from a cold start by the CMOS shutdown byte. */
enum { CMOS_SHUTDOWN = 0x0f, SHUTDOWN_S3_RESUME = 0xfe };

void pc_tell_cpus(Machine *m)
{
    PcBoard *b = m->board;
    unsigned at, len;

    if (b == NULL || !b->complete) {
        return;
    }
    pc_fill_cpu_count(b, m);
    if (b->linker == NULL) {
        return;
    }
    acpi_refresh(b->linker, m, &at, &len);
    if (b->plan == NULL) {
        const GByteArray *tables = linker_blob(b->linker, ACPI_TABLES_FILE);
        domain_enter(m->fw_cfg->domain);
        fw_cfg_modify_file(m->fw_cfg, ACPI_TABLES_FILE, tables->data, tables->len);
        domain_leave(m->fw_cfg->domain);
    } else if (!b->ran) {
        space_load(m->mem, linker_address(b->linker, ACPI_TABLES_FILE) + at,
                   linker_blob(b->linker, ACPI_TABLES_FILE)->data + at, len);
    }
}

void pc_restart(Machine *m, ResetKind kind)
{
    PcBoard *b = m->board;
    PciWindows w = {
        .io_next = 0xc000, .io_end = 0x10000, .mem_next = b->acpi.pci32_start,
        .mem_end = b->acpi.pci32_end + 1, .mem64_next = b->acpi.pci64_start,
        .mem64_end = b->acpi.pci64_end + 1,
        .irq_of = b->q35 ? ich9_irq : piix3_irq,
    };

    b->complete = true;
    b->ran = false;
    if (b->q35) {
        pc_smi_restart(m);
    }

    if (b->plan != NULL) {
        pc_chipset_setup(pc_host_bus(b->host), b->q35);
        pci_setup(pc_host_bus(b->host), &w);
        boot_apply(b->plan, m);
        pc_tell_cpus(m);
        return;
    }
    pc_tell_cpus(m);
    if (kind == RESET_BUS) {
        rtc_cmos_set(b->rtc, CMOS_SHUTDOWN, SHUTDOWN_S3_RESUME);
        return;
    }
    pc_boot_order(b, m, NULL);
}
