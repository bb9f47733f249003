/* elf.c: ELF images as kernels: loadable segments, and the PVH entry (Xen's x86/HVM direct boot ABI). */
#include "hw/board/boot.h"

#include <elf.h>
#include <string.h>
#include "util/bytes.h"

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18 };

/* The fields of a program header that matter, from either class. */
typedef struct Segment {
    uint32_t type;
    uint64_t off, vaddr, paddr, filesz, memsz, align;
} Segment;

bool elf_probe(const BootFile *f)
{
    return f->size >= sizeof(Elf32_Ehdr) && memcmp(f->data, ELFMAG, SELFMAG) == 0 &&
           f->data[EI_DATA] == ELFDATA2LSB &&
           (f->data[EI_CLASS] == ELFCLASS32 ||
            (f->data[EI_CLASS] == ELFCLASS64 && f->size >= sizeof(Elf64_Ehdr)));
}

static bool is64(const BootFile *f)
{
    return f->data[EI_CLASS] == ELFCLASS64;
}

/* Program header @i; false: there is none, or it lies outside the file. */
static bool segment(const BootFile *f, unsigned i, Segment *s)
{
    if (is64(f)) {
        Elf64_Ehdr e;
        Elf64_Phdr p;
        memcpy(&e, f->data, sizeof(e));
        if (i >= e.e_phnum || !fits(e.e_phoff, (i + 1) * sizeof(p), f->size)) {
            return false;
        }
        memcpy(&p, f->data + e.e_phoff + i * sizeof(p), sizeof(p));
        *s = (Segment){ p.p_type, p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz, p.p_align };
    } else {
        Elf32_Ehdr e;
        Elf32_Phdr p;
        memcpy(&e, f->data, sizeof(e));
        if (i >= e.e_phnum || !fits(e.e_phoff, (i + 1) * sizeof(p), f->size)) {
            return false;
        }
        memcpy(&p, f->data + e.e_phoff + i * sizeof(p), sizeof(p));
        *s = (Segment){ p.p_type, p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz, p.p_align };
    }
    return true;
}

static uint64_t entry_of(const BootFile *f)
{
    if (is64(f)) {
        Elf64_Ehdr e;
        memcpy(&e, f->data, sizeof(e));
        return e.e_entry;
    } else {
        Elf32_Ehdr e;
        memcpy(&e, f->data, sizeof(e));
        return e.e_entry;
    }
}

/* Looks through one note segment for Xen's physical entry. */
static bool find_note(const BootFile *f, const Segment *s, uint64_t *entry)
{
    uint64_t at = 0, align = s->align == 8 ? 8 : 4;

    if (!fits(s->off, s->filesz, f->size)) {
        return false;
    }
    while (fits(at, 12, s->filesz)) {
        const uint8_t *n = f->data + s->off + at;
        uint64_t namesz = ld32(n), descsz = ld32(n + 4), type = ld32(n + 8);
        uint64_t desc = ALIGN_UP(12 + namesz, align);

        if (!fits(at, desc + descsz, s->filesz)) {
            return false;
        }
        if (type == XEN_ELFNOTE_PHYS32_ENTRY && namesz == 4 && memcmp(n + 12, "Xen", 4) == 0 &&
            descsz >= 4) {
            *entry = ld32(n + desc);
            return true;
        }
        at += ALIGN_UP(desc + descsz, align);
    }
    return false;
}

bool elf_pvh_entry(const BootFile *f, uint64_t *entry)
{
    Segment s;

    if (!elf_probe(f)) {
        return false;
    }
    for (unsigned i = 0; segment(f, i, &s); i++) {
        if (s.type == PT_NOTE && find_note(f, &s, entry)) {
            return true;
        }
    }
    return false;
}

bool elf_load(BootPlan *p, const BootFile *f, bool allow64, uint64_t *entry, uint64_t *end, Error **errp)
{
    const uint64_t virtual_entry = entry_of(f);
    Segment s;
    unsigned loaded = 0;

    if (is64(f) && !allow64) {
        return error_set(errp, "the image is 64-bit ELF; multiboot takes 32-bit ones");
    }
    *end = 0;
    *entry = virtual_entry;
    for (unsigned i = 0; segment(f, i, &s); i++) {
        if (s.type != PT_LOAD || s.memsz == 0) {
            continue;
        }
        if (s.filesz > s.memsz || !fits(s.off, s.filesz, f->size)) {
            return error_set(errp, "ELF segment %u lies outside the file", i);
        }
        if (!fits(s.paddr, s.memsz, p->ram_top)) {
            return error_set(errp, "ELF segment %u needs RAM at 0x%" PRIx64 " to 0x%" PRIx64
                             ", RAM ends at 0x%" PRIx64, i, s.paddr, s.paddr + s.memsz, p->ram_top);
        }
        if (!boot_put(p, s.paddr, f->data + s.off, s.filesz, errp) ||
            !boot_zero(p, s.paddr + s.filesz, s.memsz - s.filesz, errp)) {
            return false;
        }
        if (virtual_entry >= s.vaddr && virtual_entry - s.vaddr < s.memsz) {
            *entry = s.paddr + (virtual_entry - s.vaddr);
        }
        *end = MAX(*end, s.paddr + s.memsz);
        loaded++;
    }
    return loaded > 0 || error_set(errp, "the ELF image has nothing to load");
}

/* --- PVH --- */

bool pvh_probe(const BootFile *kernel)
{
    uint64_t entry;

    return elf_pvh_entry(kernel, &entry);
}

enum { START_INFO_MAGIC = 0x336ec578, MODULE_OFF = 64, MEMMAP_OFF = 128 };

static bool pvh_initrd(BootPlan *p, Machine *m, uint8_t *info, uint64_t floor, Error **errp)
{
    Gpa at;

    if (m->cfg.initrd == NULL) {
        return true;
    }
    if (!boot_file_map(&p->initrd, "-initrd", m->cfg.initrd, errp)) {
        return false;
    }
    at = boot_high(p, p->initrd.size, UINT32_MAX, floor);
    if (at == 0) {
        return error_set(errp, "-initrd: '%s' (%zu bytes) does not fit into guest RAM beside the kernel",
                         m->cfg.initrd, p->initrd.size);
    }
    st32(info + 12, 1);
    st64(info + 16, BOOT_INFO_AT + MODULE_OFF);
    st64(info + MODULE_OFF, at);
    st64(info + MODULE_OFF + 8, p->initrd.size);
    return boot_put(p, at, p->initrd.data, p->initrd.size, errp);
}

bool pvh_load(BootPlan *p, Machine *m, Error **errp)
{
    const char *text = m->cfg.append != NULL ? m->cfg.append : "";
    uint64_t entry, end, unused;
    uint8_t *info;

    if (!elf_pvh_entry(&p->kernel, &entry) || !elf_load(p, &p->kernel, true, &unused, &end, errp)) {
        return false;
    }
    if (entry >= end) {
        return error_set(errp, "the PVH entry 0x%" PRIx64 " is not in the image", entry);
    }
    if (strlen(text) >= BOOT_CMDLINE_MAX) {
        return error_set(errp, "-append: the command line has more than %d bytes", BOOT_CMDLINE_MAX - 1);
    }
    info = g_malloc0(4096);
    g_ptr_array_add(p->owned, info);
    st32(info, START_INFO_MAGIC);
    st32(info + 4, 1);
    st64(info + 24, BOOT_CMDLINE_AT);
    st64(info + 32, p->rsdp);
    st64(info + 40, BOOT_INFO_AT + MEMMAP_OFF);
    st32(info + 48, p->e820_count);
    for (unsigned i = 0; i < p->e820_count; i++) {
        st64(info + MEMMAP_OFF + 24 * i, p->e820[i].at);
        st64(info + MEMMAP_OFF + 24 * i + 8, p->e820[i].size);
        st32(info + MEMMAP_OFF + 24 * i + 16, p->e820[i].type);
    }
    p->cpu.mode = CPU_BOOT_FLAT32;
    p->cpu.kernel64 = is64(&p->kernel);
    p->cpu.rip = entry;
    p->cpu.rbx = BOOT_INFO_AT;
    return pvh_initrd(p, m, info, end, errp) &&
           boot_put_owned(p, BOOT_CMDLINE_AT, g_strdup(text), strlen(text) + 1, errp) &&
           boot_put(p, BOOT_INFO_AT, info, 4096, errp);
}
