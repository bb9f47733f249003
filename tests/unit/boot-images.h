/* boot-images.h: small kernels of each format that starts without firmware, for tests to break. */
#ifndef TESTS_UNIT_BOOT_IMAGES_H
#define TESTS_UNIT_BOOT_IMAGES_H

#include <elf.h>
#include <stdbool.h>
#include <string.h>
#include "util/bytes.h"

#define IMAGE_MAX 16384

typedef struct Image {
    uint8_t b[IMAGE_MAX];
    size_t n;
} Image;

/* A bzImage of protocol @version with one page of code behind two setup sectors. */
static inline void make_linux(Image *i, unsigned version, bool is64)
{
    memset(i, 0, sizeof(*i));
    i->n = 3 * 512 + 4096;
    i->b[0x1f1] = 2;
    st16(i->b + 0x1fe, 0xaa55);
    i->b[0x200] = 0xeb;
    i->b[0x201] = 0x6a;
    memcpy(i->b + 0x202, "HdrS", 4);
    st16(i->b + 0x206, version);
    i->b[0x211] = 1;
    st32(i->b + 0x22c, 0x7fffffff);
    st32(i->b + 0x230, 2 * MiB);
    i->b[0x234] = 1;
    st16(i->b + 0x236, is64 ? 1 : 0);
    st32(i->b + 0x238, 2047);
    st64(i->b + 0x258, 16 * MiB);
    st32(i->b + 0x260, 1 * MiB);
    memset(i->b + 3 * 512, 0x90, 4096);
}

typedef struct Seg {
    uint32_t type, off, addr, filesz, memsz;
} Seg;

static inline void make_elf32(Image *i, const Seg *segs, unsigned count, uint32_t entry)
{
    Elf32_Ehdr e = { .e_type = ET_EXEC, .e_machine = EM_386, .e_version = 1, .e_entry = entry,
                     .e_phoff = sizeof(e), .e_ehsize = sizeof(e), .e_phentsize = sizeof(Elf32_Phdr),
                     .e_phnum = count };

    memset(i, 0, sizeof(*i));
    i->n = 8192;
    memcpy(e.e_ident, "\177ELF\1\1\1", 7);
    memcpy(i->b, &e, sizeof(e));
    for (unsigned s = 0; s < count; s++) {
        Elf32_Phdr p = { .p_type = segs[s].type, .p_offset = segs[s].off, .p_vaddr = segs[s].addr,
                         .p_paddr = segs[s].addr, .p_filesz = segs[s].filesz, .p_memsz = segs[s].memsz,
                         .p_align = 4 };
        memcpy(i->b + sizeof(e) + s * sizeof(p), &p, sizeof(p));
    }
    memset(i->b + 4096, 0xcc, 4096);
}

static inline void put_note(Image *i, uint32_t at, uint32_t entry)
{
    st32(i->b + at, 4);
    st32(i->b + at + 4, 4);
    st32(i->b + at + 8, 18);
    memcpy(i->b + at + 12, "Xen", 4);
    st32(i->b + at + 16, entry);
}

static const Seg pvh_segs[] = {
    { PT_LOAD, 4096, 1 * MiB, 4096, 8192 }, { PT_NOTE, 1024, 0, 20, 20 },
};

static inline void make_pvh(Image *i)
{
    make_elf32(i, pvh_segs, 2, 0);
    put_note(i, 1024, 1 * MiB + 16);
}

static inline void put_multiboot(Image *i, unsigned at, uint32_t flags)
{
    st32(i->b + at, 0x1badb002);
    st32(i->b + at + 4, flags);
    st32(i->b + at + 8, -(0x1badb002 + flags));
}

/* header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr */
static inline void make_aout(Image *i, uint32_t load, uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    memset(i, 0, sizeof(*i));
    i->n = 4096;
    memset(i->b + 256, 0xaa, i->n - 256);
    put_multiboot(i, 64, 1 << 16 | 3);
    st32(i->b + 76, load + 64);
    st32(i->b + 80, load);
    st32(i->b + 84, load_end);
    st32(i->b + 88, bss_end);
    st32(i->b + 92, entry);
}

#endif
