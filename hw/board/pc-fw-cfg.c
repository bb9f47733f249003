/* pc-fw-cfg.c: what firmware reads: fw_cfg items, CMOS bytes, the boot order. */
#include <string.h>
#include "hw/board/pc.h"
#include "hw/isa/mc146818rtc.h"
#include "hw/misc/fw-cfg.h"
#include "hw/pci/pci.h"
#include "hw/storage/isa-fdc.h"
#include "util/bytes.h"

/* --- CMOS, as SeaBIOS and older firmware read it --- */

static void cmos16(PcBoard *b, unsigned index, uint64_t v)
{
    v = MIN(v, 0xffff);
    rtc_cmos_set(b->rtc, index, v);
    rtc_cmos_set(b->rtc, index + 1, v >> 8);
}

void pc_fill_cmos(PcBoard *b, Machine *m)
{
    cmos16(b, 0x15, 640);                                     /* base memory, KiB */
    cmos16(b, 0x17, (m->below_4g - MIN(m->below_4g, 1 * MiB)) / KiB);
    cmos16(b, 0x30, (m->below_4g - MIN(m->below_4g, 1 * MiB)) / KiB);
    cmos16(b, 0x34, (m->below_4g - MIN(m->below_4g, 16 * MiB)) / (64 * KiB));
    cmos16(b, 0x5b, m->above_4g / (64 * KiB));
    rtc_cmos_set(b->rtc, 0x5d, m->above_4g / (64 * KiB) >> 16);
    const uint8_t *fd = b->acpi_fdc.type;
    unsigned drives = (fd[0] != 0) + (fd[1] != 0);
    rtc_cmos_set(b->rtc, 0x10, fd[0] << 4 | fd[1]);
    rtc_cmos_set(b->rtc, 0x14, 0x06 |                         /* FPU, PS/2 mouse; floppy drives */
                 (drives == 0 ? 0 : (drives - 1) << 6 | 1));
}

void pc_fill_cpu_count(PcBoard *b, Machine *m)
{
    uint8_t raw[2];
    unsigned count = 0;

    for (unsigned i = 0; i < m->cpus.count; i++) {
        count += m->cpus.dev[i] != NULL;
    }
    domain_enter(b->rtc->domain);
    rtc_cmos_set(b->rtc, 0x5f, MIN(count - 1, 0xff));
    domain_leave(b->rtc->domain);
    st16(raw, count);
    domain_enter(m->fw_cfg->domain);
    fw_cfg_modify_bytes(m->fw_cfg, FW_CFG_NB_CPUS, raw, 2);
    domain_leave(m->fw_cfg->domain);
}

/* The option ROM that reads a kernel from fw_cfg and starts it. */
#define LINUXBOOT_ROM "linuxboot_dma.bin"

/* --- boot order --- */

/* Letters of -boot order= in CMOS 0x38 and 0x3d: 1 floppy, 2 disk, 3 CD-ROM, 4 network. */
static uint8_t boot_code(char letter)
{
    switch (letter) {
    case 'a':
    case 'b':
        return 1;
    case 'c':
        return 2;
    case 'd':
        return 3;
    case 'n':
        return 4;
    default:
        return 0;
    }
}

static const char *class_name(uint16_t cls)
{
    switch (cls >> 8) {
    case 0x01:
        return cls == 0x0101 ? "ide" : "scsi";
    case 0x02:
        return "ethernet";
    case 0x03:
        return "display";
    case 0x06:
        return cls == 0x0604 ? "pci-bridge" : "isa";
    default:
        return "pci";
    }
}

/* "/pci@i0cf8/scsi@3,1": Open Firmware's path of a PCI function, as SeaBIOS matches it. */
static void pci_path(GString *s, PciDevice *p)
{
    PciBus *bus = pci_bus_of(p->dev.bus);

    if (bus->bridge != NULL) {
        pci_path(s, bus->bridge);
    } else {
        g_string_append(s, "/pci@i0cf8");
    }
    g_string_append_printf(s, "/%s@%x", class_name(ld16(p->config + 0x0a)), PCI_SLOT(p->devfn));
    if (PCI_FUNC(p->devfn) != 0) {
        g_string_append_printf(s, ",%x", PCI_FUNC(p->devfn));
    }
}

static char *fw_path(Device *d)
{
    GString *s = g_string_new(NULL);
    Device *pci = d;
    unsigned bus = 0;

    while (pci != NULL && pci->type->slot != &pci_slot) {
        if (pci->bus != NULL && g_str_has_prefix(pci->bus->name, "ide.")) {
            bus = g_ascii_strtoull(pci->bus->name + 4, NULL, 10);
        }
        pci = pci->bus != NULL ? pci->bus->owner : pci->parent;
    }
    if (pci == NULL) {
        return g_string_free(s, true);
    }
    pci_path(s, (PciDevice *)pci);
    if (g_str_has_prefix(d->type->name, "ide-")) {
        g_autofree char *unit = device_get(d, "unit");
        g_string_append_printf(s, "/drive@%x/disk@%s", bus, unit);
    } else if (g_str_has_prefix(d->type->name, "scsi-")) {
        g_autofree char *id = device_get(d, "scsi-id"), *lun = device_get(d, "lun");
        g_string_append_printf(s, "/channel@0/disk@%" PRIx64 ",%" PRIx64, g_ascii_strtoull(id, NULL, 10),
                               g_ascii_strtoull(lun, NULL, 10));
    } else if (g_str_has_prefix(d->type->name, "virtio-blk")) {
        g_string_append(s, "/disk@0,0");
    } else if (d->type == &floppy_type) {
        g_string_append_printf(s, "/fdc@%04x/floppy@%x", fdc_place(d->bus->owner).iobase,
                               ((FloppyDrive *)d)->unit);
    } else if (g_str_has_prefix(d->type->name, "nvme")) {
        g_autofree char *nsid = device_get(d, "nsid");
        g_string_append_printf(s, "/namespace@%s,0", nsid != NULL ? nsid : "1");
    }
    return g_string_free(s, false);
}

#define ROM_FOLDER "genroms/"

/* The ROMs of -option-rom with a bootindex between the two given. */
static void list_roms(GString *files, const BoardConfig *c, int64_t above, int64_t below)
{
    for (unsigned i = 0; c->option_roms != NULL && i < c->option_roms->len; i++) {
        const OptionRom *rom = &g_array_index(c->option_roms, OptionRom, i);

        if (rom->bootindex > above && rom->bootindex < below) {
            g_autofree char *name = g_path_get_basename(rom->file);
            g_string_append_printf(files, "/rom@" ROM_FOLDER "%s\n", name);
        }
    }
}

bool pc_boot_order(PcBoard *b, Machine *m, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    const char *order = c->boot_order != NULL ? c->boot_order : "cad";
    g_autoptr(GString) files = g_string_new(NULL);
    uint8_t codes[3] = { 0 };
    int64_t last = -1;

    if (c->boot_once != NULL && !b->once_done) {
        order = c->boot_once;
    }
    for (unsigned i = 0; i < 3 && order[i] != 0; i++) {
        codes[i] = boot_code(order[i]);
    }
    rtc_cmos_set(b->rtc, 0x3d, codes[1] << 4 | codes[0]);
    rtc_cmos_set(b->rtc, 0x38, codes[2] << 4 | (m->cfg.no_fd_bootchk ? 1 : 0));
    if (c->kernel != NULL && b->plan == NULL) {               /* before every disk */
        g_string_append(files, "/rom@" ROM_FOLDER LINUXBOOT_ROM "\n");
    }
    for (unsigned i = 0; i < m->boot_devices->len; i++) {
        Device *d = g_ptr_array_index(m->boot_devices, i);
        g_autofree char *path = fw_path(d);

        list_roms(files, c, last, d->bootindex);
        last = d->bootindex;
        if (path != NULL) {
            g_string_append_printf(files, "%s\n", path);
        }
    }
    list_roms(files, c, last, INT64_MAX);
    if (c->boot_strict) {
        g_string_append(files, "HALT\n");
    }
    b->once_done = true;
    if (files->len > 0) {
        files->str[files->len - 1] = 0;                       /* lines, of which the last one ends by a NUL */
    }
    return fw_cfg_modify_file(m->fw_cfg, "bootorder", files->str, files->len);
}

/* --- items --- */

/* The file "etc/e820": 20 bytes an entry. */
static bool add_e820(PcBoard *b, Machine *m, Error **errp)
{
    E820Entry e[8];
    uint8_t raw[8 * 20];
    unsigned n = pc_reserved(b, e);

    e[n++] = (E820Entry){ 0, m->below_4g, E820_RAM };
    if (m->above_4g > 0) {
        e[n++] = (E820Entry){ 4 * GiB, m->above_4g, E820_RAM };
    }
    for (unsigned i = 0; i < n; i++) {
        st64(raw + 20 * i, e[i].at);
        st64(raw + 20 * i + 8, e[i].size);
        st32(raw + 20 * i + 16, e[i].type);
    }
    return fw_cfg_add_file(m->fw_cfg, "etc/e820", raw, 20 * n, errp);
}

typedef struct AddFile {
    Device *fw_cfg;
    Error **errp;
    bool ok;
} AddFile;

static void add_linker_file(const char *name, const GByteArray *blob, void *arg)
{
    AddFile *a = arg;

    a->ok = a->ok && fw_cfg_add_file(a->fw_cfg, name, blob->data, blob->len, a->errp);
}

static bool add_acpi(PcBoard *b, Machine *m, Error **errp)
{
    AddFile a = { m->fw_cfg, errp, true };
    const GByteArray *script;

    if (b->linker == NULL) {
        return true;
    }
    script = linker_script(b->linker);
    linker_each_file(b->linker, add_linker_file, &a);
    return a.ok && fw_cfg_add_file(m->fw_cfg, "etc/table-loader", script->data, script->len, errp);
}

static bool add_smbios(PcBoard *b, Machine *m, Error **errp)
{
    const GByteArray *t = b->smbios.tables, *a = b->smbios.anchor;

    return fw_cfg_add_file(m->fw_cfg, SMBIOS_TABLES_FILE, t->data, t->len, errp) &&
           fw_cfg_add_file(m->fw_cfg, SMBIOS_ANCHOR_FILE, a->data, a->len, errp);
}

static bool add_user_file(PcBoard *b, Machine *m, const char *text, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", 2);
    const char *name = parts[0], *value = parts[1];

    name = g_str_has_prefix(name, "name=") ? name + 5 : name;
    if (value == NULL || (!g_str_has_prefix(value, "file=") && !g_str_has_prefix(value, "string="))) {
        return error_set(errp, "-fw_cfg %s: NAME,file=FILE or NAME,string=TEXT is expected", text);
    }
    if (!g_str_has_prefix(name, "opt/")) {
        warn_report("externally provided fw_cfg item names should be prefixed with \"opt/\"");
    }
    if (g_str_has_prefix(value, "string=")) {
        return fw_cfg_add_file(m->fw_cfg, name, value + 7, strlen(value + 7), errp) ||
               error_context(errp, "-fw_cfg %s", text);
    } else {
        BootFile *f = g_new0(BootFile, 1);
        g_ptr_array_add(b->files, f);
        return (boot_file_map(f, "-fw_cfg", value + 5, errp) &&
                (fw_cfg_add_file_borrowed(m->fw_cfg, name, f->data, f->size, errp) ||
                 error_context(errp, "-fw_cfg %s", text)));
    }
}

static bool add_option_rom(PcBoard *b, Machine *m, const OptionRom *rom, Error **errp)
{
    g_autofree char *found = firmware_find(rom->file, NULL), *base = g_path_get_basename(rom->file);
    g_autofree char *name = g_strconcat(ROM_FOLDER, base, NULL);
    BootFile *f;

    if (b->rom.ram == NULL && m->cfg.pflash[0] == NULL) {
        error_set(errp, "-option-rom %s: -kernel starts without a firmware, which would start the ROM",
                  rom->file);
        return error_hint(errp, "-bios bios-256k.bin starts it with one");
    }
    f = g_new0(BootFile, 1);
    g_ptr_array_add(b->files, f);
    return boot_file_map(f, "-option-rom", found != NULL ? found : rom->file, errp) &&
           (fw_cfg_add_file_borrowed(m->fw_cfg, name, f->data, f->size, errp) ||
            error_context(errp, "-option-rom %s", rom->file));
}

/* -boot splash=: a picture that SeaBIOS shows. */
static bool add_splash(PcBoard *b, Machine *m, Error **errp)
{
    BootFile *f = g_new0(BootFile, 1);
    const char *name = m->cfg.boot_splash;
    bool jpeg, bmp;

    g_ptr_array_add(b->files, f);
    if (!boot_file_map(f, "-boot splash", name, errp)) {
        return false;
    }
    jpeg = f->size > 2 && f->data[0] == 0xff && f->data[1] == 0xd8;
    bmp = f->size > 30 && memcmp(f->data, "BM", 2) == 0 && ld16(f->data + 28) == 24;
    if (!jpeg && !bmp) {
        return error_set(errp, "-boot: splash file '%s' format not recognized; must be JPEG or 24 bit BMP",
                         name);
    }
    return fw_cfg_add_file_borrowed(m->fw_cfg, jpeg ? "bootsplash.jpg" : "bootsplash.bmp", f->data, f->size,
                                    errp);
}

static bool add_numbers(PcBoard *b, Machine *m, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    Device *f = m->fw_cfg;
    uint8_t states[6] = { 128, 0, 0, b->acpi.s3 ? 129 : 1, b->acpi.s4 ? 130 : 2, 128 };
    uint8_t raw[2];

    fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, c->ram_size);
    fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, c->smp.max_cpus);
    fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, c->nographic);
    fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, c->boot_menu);
    fw_cfg_add_u32(f, FW_CFG_X86_IRQ0_OVERRIDE, 1);
    if (c->boot_splash_time_ms >= 0) {
        st16(raw, c->boot_splash_time_ms);
        if (!fw_cfg_add_file(f, "etc/boot-menu-wait", raw, 2, errp)) {
            return false;
        }
    }
    if (c->boot_reboot_timeout_ms >= 0 || c->boot_reboot_timeout_ms == -1) {
        uint8_t wait[4];
        st32(wait, (uint32_t)c->boot_reboot_timeout_ms);
        if (!fw_cfg_add_file(f, "etc/boot-fail-wait", wait, 4, errp)) {
            return false;
        }
    }
    if (!c->graphics) {
        st16(raw, 0x3f8);
        if (!fw_cfg_add_file(f, "etc/sercon-port", raw, 2, errp)) {
            return false;
        }
    }
    pc_fill_cpu_count(b, m);
    if (m->memory_area.size != 0) {                           /* 64-bit BARs go above it */
        uint8_t end[8];
        st64(end, m->memory_area.base + m->memory_area.size);
        if (!fw_cfg_add_file(f, "etc/reserved-memory-end", end, sizeof(end), errp)) {
            return false;
        }
    }
    return fw_cfg_add_file(f, "etc/system-states", states, sizeof(states), errp);
}

static void add_uuid(Machine *m)
{
    uint8_t raw[16];

    machine_uuid(m->cfg.uuid, raw);
    fw_cfg_add_bytes(m->fw_cfg, FW_CFG_UUID, raw, 16);
}

/* -kernel with a firmware: OVMF reads these items itself, SeaBIOS by the linuxboot ROM. */
static bool add_kernel(PcBoard *b, Machine *m, Error **errp)
{
    const BoardConfig *c = &m->cfg;
    const char *append = c->append != NULL ? c->append : "";
    BootFile *k = g_new0(BootFile, 1), *rd = g_new0(BootFile, 1), *rom = g_new0(BootFile, 1);
    g_autofree char *rom_path = NULL;
    LinuxParts parts = { 0 };

    g_ptr_array_add(b->files, k);
    g_ptr_array_add(b->files, rd);
    g_ptr_array_add(b->files, rom);
    if (!boot_file_map(k, "-kernel", c->kernel, errp) ||
        (c->initrd != NULL && !boot_file_map(rd, "-initrd", c->initrd, errp))) {
        return false;
    }
    if (!linux_probe(k)) {
        return error_set(errp, "-kernel: '%s' is no Linux bzImage, which is what firmware can start",
                         c->kernel);
    }
    if (!linux_parts(&parts, k, rd, m->below_4g - 1 * MiB, errp)) {
        return error_context(errp, "-kernel: cannot boot '%s'", c->kernel);
    }
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_SETUP_ADDR, LINUX_SETUP_AT);
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_SETUP_SIZE, parts.setup_size);
    fw_cfg_add_bytes(m->fw_cfg, FW_CFG_SETUP_DATA, parts.setup, parts.setup_size);
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_KERNEL_ADDR, LINUX_CODE_AT);
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_KERNEL_SIZE, k->size - parts.setup_size);
    fw_cfg_add_borrowed(m->fw_cfg, FW_CFG_KERNEL_DATA, k->data + parts.setup_size,
                        k->size - parts.setup_size);
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_CMDLINE_ADDR, LINUX_CMDLINE_AT);
    fw_cfg_add_u32(m->fw_cfg, FW_CFG_CMDLINE_SIZE, strlen(append) + 1);
    fw_cfg_add_string(m->fw_cfg, FW_CFG_CMDLINE_DATA, append);
    g_free(parts.setup);
    if (rd->data != NULL) {
        fw_cfg_add_u32(m->fw_cfg, FW_CFG_INITRD_ADDR, parts.initrd_at);
        fw_cfg_add_u32(m->fw_cfg, FW_CFG_INITRD_SIZE, rd->size);
        fw_cfg_add_borrowed(m->fw_cfg, FW_CFG_INITRD_DATA, rd->data, rd->size);
    }
    rom_path = firmware_find(LINUXBOOT_ROM, NULL);
    if (rom_path == NULL) {
        warn_report("-kernel: " LINUXBOOT_ROM " was not found: SeaBIOS will not find the kernel");
        return true;
    }
    return boot_file_map(rom, "-kernel", rom_path, errp) &&
           fw_cfg_add_file_borrowed(m->fw_cfg, ROM_FOLDER LINUXBOOT_ROM, rom->data, rom->size, errp);
}

bool pc_fill_fw_cfg(PcBoard *b, Machine *m, Error **errp)
{
    add_uuid(m);
    if (!add_numbers(b, m, errp) || !add_e820(b, m, errp) || !add_acpi(b, m, errp) ||
        !add_smbios(b, m, errp) || (b->q35 && !pc_smi_offer(m, errp)) ||
        !fw_cfg_add_file(m->fw_cfg, "bootorder", "", 0, errp)) {
        return false;
    }
    for (unsigned i = 0; m->cfg.fw_cfg != NULL && i < m->cfg.fw_cfg->len; i++) {
        if (!add_user_file(b, m, g_ptr_array_index(m->cfg.fw_cfg, i), errp)) {
            return false;
        }
    }
    for (unsigned i = 0; m->cfg.option_roms != NULL && i < m->cfg.option_roms->len; i++) {
        if (!add_option_rom(b, m, &g_array_index(m->cfg.option_roms, OptionRom, i), errp)) {
            return false;
        }
    }
    if (m->cfg.boot_splash != NULL && !add_splash(b, m, errp)) {
        return false;
    }
    return m->cfg.kernel == NULL || (b->rom.ram == NULL && m->cfg.pflash[0] == NULL) ||
           add_kernel(b, m, errp);
}
