/* multiboot.c: Multiboot Specification 0.6.96: ELF images and the a.out kludge, modules by -initrd
 * "FILE ARGS,FILE ARGS". */
#include "hw/board/boot.h"

#include <string.h>
#include "util/bytes.h"

enum {
    HEADER_MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002, SEARCH = 8192,
    HEADER_ADDRESSES = 1 << 16, HEADER_MUST = 0xffff, HEADER_KNOWN = 0x3, HEADER_VIDEO = 0x4,
    INFO_MEMORY = 1, INFO_BOOTDEV = 2, INFO_CMDLINE = 4, INFO_MODS = 8, INFO_MMAP = 0x40, INFO_NAME = 0x200,
    MODULES_OFF = 0x100, MMAP_OFF = 0x400, NAME_OFF = 0x80,
};

/* Offset of the header, or -1. */
static int find_header(const BootFile *k)
{
    for (size_t at = 0; fits(at, 12, MIN(k->size, (size_t)SEARCH)); at += 4) {
        uint32_t flags = ld32(k->data + at + 4);
        if (ld32(k->data + at) == HEADER_MAGIC &&
            HEADER_MAGIC + flags + ld32(k->data + at + 8) == 0 &&
            (!(flags & HEADER_ADDRESSES) || fits(at, 32, k->size))) {
            return at;
        }
    }
    return -1;
}

bool multiboot_probe(const BootFile *kernel)
{
    return find_header(kernel) >= 0;
}

/* The a.out kludge (3.1.3): the header says what goes where. */
static bool load_addresses(BootPlan *p, int header, uint64_t *entry, uint64_t *end, Error **errp)
{
    const BootFile *k = &p->kernel;
    uint64_t header_addr = ld32(k->data + header + 12), load = ld32(k->data + header + 16);
    uint64_t load_end = ld32(k->data + header + 20), bss_end = ld32(k->data + header + 24);
    uint64_t off, size;

    if (load > header_addr || header_addr - load > (uint64_t)header) {
        return error_set(errp, "multiboot header: load_addr 0x%" PRIx64 " does not agree with header_addr 0x%"
                         PRIx64, load, header_addr);
    }
    off = header - (header_addr - load);
    size = load_end != 0 ? load_end - load : k->size - off;
    if ((load_end != 0 && load_end < load) || !fits(off, size, k->size)) {
        return error_set(errp, "multiboot header: load_end_addr 0x%" PRIx64 " is outside the file", load_end);
    }
    *entry = ld32(k->data + header + 28);
    *end = MAX(load + size, bss_end);
    if (*end > p->ram_top) {
        return error_set(errp, "multiboot header: the image needs RAM up to 0x%" PRIx64 ", RAM ends at 0x%"
                         PRIx64, *end, p->ram_top);
    }
    return boot_put(p, load, k->data + off, size, errp) &&
           boot_zero(p, load + size, *end - (load + size), errp);
}

static bool add_module(BootPlan *p, const char *spec, uint8_t *info, uint64_t floor, Gpa *strings,
                       Error **errp)
{
    g_autofree char *path = g_strndup(spec, strcspn(spec, " "));
    BootFile *f = &p->modules[p->module_count];
    uint8_t *entry = info + MODULES_OFF + 16 * p->module_count;
    size_t n = strlen(spec) + 1;
    Gpa at;

    if (!boot_file_map(f, "-initrd", path, errp)) {
        return false;
    }
    p->module_count++;
    at = boot_high(p, f->size, UINT32_MAX, floor);
    if (at == 0) {
        return error_set(errp, "-initrd: module '%s' (%zu bytes) does not fit into guest RAM", path, f->size);
    }
    if (*strings + n > BOOT_CMDLINE_AT + BOOT_CMDLINE_MAX) {
        return error_set(errp, "-initrd: the module command lines are too long");
    }
    st32(entry, at);
    st32(entry + 4, at + f->size);
    st32(entry + 8, *strings);
    *strings += n;
    return boot_put(p, at, f->data, f->size, errp) &&
           boot_put_owned(p, *strings - n, g_strdup(spec), n, errp);
}

static bool add_modules(BootPlan *p, Machine *m, uint8_t *info, uint64_t floor, Gpa *strings, Error **errp)
{
    g_auto(GStrv) specs = NULL;
    unsigned n;

    if (m->cfg.initrd == NULL) {
        return true;
    }
    specs = g_strsplit(m->cfg.initrd, ",", -1);
    n = g_strv_length(specs);
    if (n > BOOT_MODULES_MAX) {
        return error_set(errp, "-initrd: %u modules, at most %d are supported", n, BOOT_MODULES_MAX);
    }
    for (unsigned i = 0; i < n; i++) {
        if (!add_module(p, specs[i], info, floor, strings, errp)) {
            return false;
        }
    }
    st32(info, ld32(info) | INFO_MODS);
    st32(info + 20, n);
    st32(info + 24, BOOT_INFO_AT + MODULES_OFF);
    return true;
}

static void fill_memory(const BootPlan *p, uint8_t *info)
{
    st32(info + 4, BOOT_LOW_RAM_END / 1024);
    st32(info + 8, (p->ram_top - 1 * MiB) / 1024);
    st32(info + 44, 24 * p->e820_count);
    st32(info + 48, BOOT_INFO_AT + MMAP_OFF);
    for (unsigned i = 0; i < p->e820_count; i++) {
        uint8_t *e = info + MMAP_OFF + 24 * i;
        st32(e, 20);
        st64(e + 4, p->e820[i].at);
        st64(e + 12, p->e820[i].size);
        st32(e + 20, p->e820[i].type);
    }
}

bool multiboot_load(BootPlan *p, Machine *m, Error **errp)
{
    int header = find_header(&p->kernel);
    uint32_t flags = ld32(p->kernel.data + header + 4);
    g_autofree char *cmdline = NULL;
    uint64_t entry, end;
    Gpa strings = BOOT_CMDLINE_AT;
    uint8_t *info;

    if (flags & HEADER_MUST & ~(HEADER_KNOWN | HEADER_VIDEO)) {
        return error_set(errp, "multiboot header: flags 0x%x ask for something unknown", flags);
    }
    if (flags & HEADER_VIDEO) {
        warn_report("-kernel: the multiboot image asks for a video mode, which is not set");
    }
    if (flags & HEADER_ADDRESSES ? !load_addresses(p, header, &entry, &end, errp)
                                 : !elf_probe(&p->kernel)
                                       ? !error_set(errp, "multiboot image without addresses is not ELF")
                                       : !elf_load(p, &p->kernel, false, &entry, &end, errp)) {
        return false;
    }
    info = g_malloc0(4096);
    g_ptr_array_add(p->owned, info);
    cmdline = g_strdup_printf("%s%s%s", m->cfg.kernel, m->cfg.append != NULL ? " " : "",
                              m->cfg.append != NULL ? m->cfg.append : "");
    if (strlen(cmdline) >= BOOT_CMDLINE_MAX) {
        return error_set(errp, "-append: the command line has more than %d bytes", BOOT_CMDLINE_MAX - 1);
    }
    st32(info, INFO_MEMORY | INFO_BOOTDEV | INFO_CMDLINE | INFO_MMAP | INFO_NAME);
    st32(info + 12, 0x8000ffff);                              /* first disk, no partition */
    st32(info + 16, strings);
    fill_memory(p, info);
    strcpy((char *)info + NAME_OFF, "Rhea");
    st32(info + 64, BOOT_INFO_AT + NAME_OFF);
    if (!boot_put_owned(p, strings, g_strdup(cmdline), strlen(cmdline) + 1, errp)) {
        return false;
    }
    strings += strlen(cmdline) + 1;
    if (entry >= end) {
        return error_set(errp, "the entry 0x%" PRIx64 " is not in the image", entry);
    }
    p->cpu.mode = CPU_BOOT_FLAT32;
    p->cpu.rip = entry;
    p->cpu.rax = LOADER_MAGIC;
    p->cpu.rbx = BOOT_INFO_AT;
    return add_modules(p, m, info, end, &strings, errp) && boot_put(p, BOOT_INFO_AT, info, 4096, errp);
}
