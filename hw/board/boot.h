/* boot.h: kernels that start without firmware: Linux bzImage, ELF with a PVH entry, multiboot 1.
 *
 * boot_plan() reads and checks the images once and decides where everything goes; boot_apply() puts it
 * into guest RAM and tells the accelerator how vCPU 0 starts, at every machine reset. */
#ifndef HW_BOARD_BOOT_H
#define HW_BOARD_BOOT_H

#include "core/accel.h"
#include "core/machine.h"
#include "hw/acpi/linker.h"
#include "hw/board/smbios.h"

/* E820 types (ACPI 6.4, table 15-5). */
typedef enum E820Type { E820_RAM = 1, E820_RESERVED = 2 } E820Type;

#define E820_MAX 16
typedef struct E820Entry {
    uint64_t at, size;
    uint32_t type;
} E820Entry;

/* A host file mapped for reading. */
typedef struct BootFile {
    const uint8_t *data;
    size_t size;
} BootFile;

#define BOOT_MODULES_MAX 32

/* Where the loader puts its own structures; all below 640 KiB and out of any kernel's way. */
enum {
    BOOT_GDT_AT = 0x6000,
    BOOT_INFO_AT = 0x7000,             /* zero page, PVH start info, multiboot info */
    BOOT_TABLES_AT = 0x9000,           /* page tables: PML4, PDPT, four page directories */
    BOOT_CMDLINE_AT = 0x20000,
    BOOT_CMDLINE_MAX = 0x10000,
    BOOT_LOW_RAM_END = 0x9fc00,
    BOOT_KERNEL_MIN = 0x100000,
};

typedef struct BootPlan {
    GArray *pieces;                    /* BootPiece: what is copied into RAM */
    GPtrArray *owned;                  /* g_malloc()ed blocks that pieces point to */
    CpuBoot cpu;
    E820Entry e820[E820_MAX];
    unsigned e820_count;
    Gpa rsdp;
    Gpa ram_top;                       /* end of RAM below 4 GiB that kernels and modules may use */
    Gpa high_used;                     /* lowest address taken from the top by modules */
    BootFile kernel, initrd;
    BootFile modules[BOOT_MODULES_MAX];        /* multiboot */
    unsigned module_count;
} BootPlan;

/* Plans booting m->cfg.kernel with initrd and append.  @acpi (may be NULL) is placed at the top of low RAM
 * and in the F segment, @smbios (may be NULL) in the F segment; @reserved lists further reserved ranges
 * of the board.  Errors name the option and the file. */
CTX_CONTROL BootPlan *boot_plan(Machine *m, Linker *acpi, const Smbios *smbios, const E820Entry *reserved,
                                unsigned reserved_count, Error **errp);
CTX_CONTROL void boot_apply(BootPlan *p, Machine *m);
CTX_CONTROL void boot_free(BootPlan *p);

/* Maps @path; @option ("-kernel") and the path are named on error.  An empty file is an error. */
CTX_CONTROL bool boot_file_map(BootFile *f, const char *option, const char *path, Error **errp);
CTX_CONTROL void boot_file_unmap(BootFile *f);

/* --- between boot.c and the formats --- */
/* Borrows @n bytes, or consumes a g_malloc()ed block of them, for @at: below 640 KiB or above 1 MiB. */
CTX_CONTROL bool boot_put(BootPlan *p, Gpa at, const void *data, size_t n, Error **errp);
CTX_CONTROL bool boot_put_owned(BootPlan *p, Gpa at, void *take_data, size_t n, Error **errp);
/* [@at, @at + @n) is zero when the guest starts. */
CTX_CONTROL bool boot_zero(BootPlan *p, Gpa at, size_t n, Error **errp);
/* Room for @n bytes as high as possible below @limit (inclusive last byte), page aligned.  0: none. */
CTX_CONTROL Gpa boot_high(BootPlan *p, size_t n, uint64_t limit, uint64_t floor);

typedef bool BootFormat(BootPlan *p, Machine *m, Error **errp);
/* True if the kernel is of the format; *_load() then plans it. */
CTX_CONTROL bool linux_probe(const BootFile *kernel);
CTX_CONTROL BootFormat linux_load;

/* --- for firmware that starts a Linux kernel (fw_cfg) --- */
typedef struct LinuxParts {
    uint8_t *setup;                    /* the real-mode part, owned by the caller: its header is filled in */
    size_t setup_size;
    Gpa initrd_at;                     /* 0: none */
} LinuxParts;
/* Where a boot ROM puts the parts: real-mode part, command line and the rest of the image. */
enum { LINUX_SETUP_AT = 0x10000, LINUX_CMDLINE_AT = 0x20000, LINUX_CODE_AT = 0x100000 };
/* Checks the bzImage @k and prepares it; @initrd (of size 0: none) goes as high as @ram_end and the kernel
 * allow. */
CTX_CONTROL bool linux_parts(LinuxParts *out, const BootFile *k, const BootFile *initrd, Gpa ram_end,
                             Error **errp);

CTX_CONTROL bool multiboot_probe(const BootFile *kernel);
CTX_CONTROL BootFormat multiboot_load;
CTX_CONTROL bool pvh_probe(const BootFile *kernel);
CTX_CONTROL BootFormat pvh_load;

/* Plans the loadable segments of the ELF image @f (32 or 64 bit, little-endian, x86); *@end is the first
 * address after them, *@entry the physical entry point. */
CTX_CONTROL bool elf_load(BootPlan *p, const BootFile *f, bool allow64, uint64_t *entry, uint64_t *end,
                          Error **errp);
CTX_ANY bool elf_probe(const BootFile *f);
/* The 32-bit physical PVH entry from the image's notes; false when it has none. */
CTX_ANY bool elf_pvh_entry(const BootFile *f, uint64_t *entry);

#endif
