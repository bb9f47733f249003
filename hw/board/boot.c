/* boot.c: planning and doing a boot without firmware, see boot.h.
 *
 * 1. Nothing of a kernel, initrd or module file is trusted: every offset and size is checked against the
 *    file, every destination against RAM, before it is planned; no two pieces of a plan overlap.
 * 2. Applying a plan cannot fail.  Files are read in place: who truncates one under a running guest
 *    ends it. */
#include "hw/board/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "util/bytes.h"
#include "util/fdset.h"

typedef struct BootPiece {
    Gpa at;
    const void *data;          /* NULL: zeroes */
    size_t size;
} BootPiece;

bool boot_file_map(BootFile *f, const char *option, const char *path, Error **errp)
{
    struct stat st;
    void *p = MAP_FAILED;
    int fd = fdset_open(path, O_RDONLY | O_NONBLOCK, 0);      /* a FIFO must not hold us up */
    int err;

    if (fd < 0) {
        return error_set_errno(errp, errno, "%s: could not open '%s'", option, path);
    }
    if (fstat(fd, &st) == 0) {
        if (!S_ISREG(st.st_mode) || st.st_size == 0) {
            close(fd);
            return error_set(errp, "%s: '%s' is %s", option, path,
                             S_ISREG(st.st_mode) ? "empty" : "not a regular file");
        }
        p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    err = errno;
    close(fd);
    if (p == MAP_FAILED) {
        return error_set_errno(errp, err, "%s: could not read '%s'", option, path);
    }
    f->data = p;
    f->size = st.st_size;
    return true;
}

void boot_file_unmap(BootFile *f)
{
    if (f->data != NULL) {
        munmap((void *)f->data, f->size);
        f->data = NULL;
    }
}

static void put_piece(BootPlan *p, Gpa at, const void *data, size_t n)
{
    BootPiece piece = { .at = at, .data = data, .size = n };

    if (n > 0) {
        g_array_append_val(p->pieces, piece);
    }
}

bool boot_put(BootPlan *p, Gpa at, const void *data, size_t n, Error **errp)
{
    if (!fits(at, n, at < BOOT_KERNEL_MIN ? BOOT_LOW_RAM_END : p->ram_top)) {
        return error_set(errp, "%zu bytes at address 0x%" PRIx64 " do not fit into guest RAM, which is below "
                         "0x%x and from 0x%x to 0x%" PRIx64, n, at, BOOT_LOW_RAM_END, BOOT_KERNEL_MIN,
                         p->ram_top);
    }
    put_piece(p, at, data, n);
    return true;
}

bool boot_put_owned(BootPlan *p, Gpa at, void *take_data, size_t n, Error **errp)
{
    g_ptr_array_add(p->owned, take_data);
    return boot_put(p, at, take_data, n, errp);
}

bool boot_zero(BootPlan *p, Gpa at, size_t n, Error **errp)
{
    return boot_put(p, at, NULL, n, errp);
}

Gpa boot_high(BootPlan *p, size_t n, uint64_t limit, uint64_t floor)
{
    uint64_t top = MIN(p->high_used, limit + 1);       /* limits have 32 bits */
    uint64_t at;

    if (n > top) {
        return 0;
    }
    at = ALIGN_DOWN(top - n, 4096);
    if (at < floor) {
        return 0;
    }
    p->high_used = at;
    return at;
}

static void e820_add(BootPlan *p, uint64_t at, uint64_t size, E820Type type)
{
    if (size > 0 && p->e820_count < E820_MAX) {
        p->e820[p->e820_count++] = (E820Entry){ at, size, type };
    }
}

static bool put_table(Gpa at, const void *bytes, size_t n, void *arg)
{
    BootPlan *p = arg;
    void *copy = g_memdup2(bytes, n);

    g_ptr_array_add(p->owned, copy);
    put_piece(p, at, copy, n);
    return true;
}

/* Places the tables and writes the memory map; RAM for the kernel ends below the tables. */
static bool plan_map(BootPlan *p, Machine *m, Linker *acpi, const Smbios *smbios, const E820Entry *reserved,
                     unsigned count, Error **errp)
{
    Gpa high = m->below_4g, fseg = 0xf0000, tables;

    if (acpi != NULL && !linker_place(acpi, &high, &fseg, put_table, p)) {
        return error_set(errp, "-m: guest RAM is too small for the ACPI tables");
    }
    if (smbios != NULL && !smbios_place(smbios, &fseg, 1 * MiB, &high, put_table, p)) {
        return error_set(errp, "-m: guest RAM is too small for the SMBIOS tables");
    }
    tables = ALIGN_DOWN(high, 4096);
    if (tables <= BOOT_KERNEL_MIN) {
        return error_set(errp, "-m: guest RAM is too small to start a kernel");
    }
    p->rsdp = acpi != NULL ? linker_address(acpi, "etc/acpi/rsdp") : 0;
    e820_add(p, 0, BOOT_LOW_RAM_END, E820_RAM);
    e820_add(p, BOOT_LOW_RAM_END, 0xa0000 - BOOT_LOW_RAM_END, E820_RESERVED);
    e820_add(p, 0xf0000, 0x10000, E820_RESERVED);
    e820_add(p, 1 * MiB, tables - 1 * MiB, E820_RAM);
    /* reserved, as firmware has it: the FACS among the tables is in use for ever (ACPI 6.4, 5.2.10) */
    e820_add(p, tables, m->below_4g - tables, E820_RESERVED);
    for (unsigned i = 0; i < count; i++) {
        e820_add(p, reserved[i].at, reserved[i].size, reserved[i].type);
    }
    e820_add(p, 4 * GiB, m->above_4g, E820_RAM);
    p->ram_top = tables;
    p->high_used = tables;
    return true;
}

/* Flat code at 0x10 (64 and 32 bit variants by mode), flat data at 0x18. */
static bool plan_gdt(BootPlan *p, Error **errp)
{
    uint64_t *gdt = g_new0(uint64_t, 4);

    gdt[2] = htole64(p->cpu.mode == CPU_BOOT_LONG64 ? UINT64_C(0x00af9b000000ffff)
                                                    : UINT64_C(0x00cf9b000000ffff));
    gdt[3] = htole64(UINT64_C(0x00cf93000000ffff));
    p->cpu.gdt_base = BOOT_GDT_AT;
    p->cpu.gdt_limit = 4 * sizeof(uint64_t) - 1;
    return boot_put_owned(p, BOOT_GDT_AT, gdt, 4 * sizeof(uint64_t), errp);
}

static bool plan_format(BootPlan *p, Machine *m, Error **errp)
{
    if (linux_probe(&p->kernel)) {
        return linux_load(p, m, errp);
    }
    if (multiboot_probe(&p->kernel)) {
        return multiboot_load(p, m, errp);
    }
    if (pvh_probe(&p->kernel)) {
        return pvh_load(p, m, errp);
    }
    if (elf_probe(&p->kernel)) {
        error_set(errp, "the ELF image has no PVH entry note and no multiboot header");
        return error_hint(errp, "use a bzImage, or a vmlinux built with CONFIG_PVH=y");
    }
    return error_set(errp, "not a Linux bzImage, a multiboot image, or an ELF image with a PVH entry");
}

static int by_address(const void *a, const void *b)
{
    const BootPiece *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

static bool check_overlap(BootPlan *p, Error **errp)
{
    g_array_sort(p->pieces, by_address);
    for (unsigned i = 1; i < p->pieces->len; i++) {
        const BootPiece *a = &g_array_index(p->pieces, BootPiece, i - 1), *b = a + 1;
        if (a->size > b->at - a->at) {
            return error_set(errp, "what is loaded at 0x%" PRIx64 " (%zu bytes) overlaps what is "
                             "loaded at 0x%" PRIx64, a->at, a->size, b->at);
        }
    }
    return true;
}

BootPlan *boot_plan(Machine *m, Linker *acpi, const Smbios *smbios, const E820Entry *reserved,
                    unsigned reserved_count, Error **errp)
{
    BootPlan *p = g_new0(BootPlan, 1);

    p->pieces = g_array_new(false, false, sizeof(BootPiece));
    p->owned = g_ptr_array_new_with_free_func(g_free);
    if (!boot_file_map(&p->kernel, "-kernel", m->cfg.kernel, errp) ||
        !plan_map(p, m, acpi, smbios, reserved, reserved_count, errp)) {
        goto out;
    }
    if (plan_format(p, m, errp) && plan_gdt(p, errp) && check_overlap(p, errp)) {
        return p;
    }
    error_context(errp, "-kernel: cannot boot '%s'", m->cfg.kernel);
out:
    boot_free(p);
    return NULL;
}

static void zero_ram(Space *mem, Gpa at, uint64_t n)
{
    epoch_enter();
    while (n > 0) {
        uint64_t len = n;
        uint8_t *host = space_ram(mem, at, &len, true);
        if (host == NULL) {
            break;
        }
        memset(host, 0, len);
        at += len;
        n -= len;
    }
    epoch_leave();
}

/* The files are needed again only at the next reset: gives their pages back. */
static void forget(const BootFile *f)
{
    if (f->data != NULL) {
        madvise((void *)f->data, f->size, MADV_DONTNEED);
    }
}

void boot_apply(BootPlan *p, Machine *m)
{
    for (unsigned i = 0; i < p->pieces->len; i++) {
        BootPiece *piece = &g_array_index(p->pieces, BootPiece, i);
        if (piece->data != NULL) {
            space_load(m->mem, piece->at, piece->data, piece->size);
        } else {
            zero_ram(m->mem, piece->at, piece->size);
        }
    }
    forget(&p->kernel);
    forget(&p->initrd);
    for (unsigned i = 0; i < p->module_count; i++) {
        forget(&p->modules[i]);
    }
    if (accel() != NULL && accel()->boot_state != NULL) {
        accel()->boot_state(&p->cpu);
    }
}

void boot_free(BootPlan *p)
{
    if (p != NULL) {
        boot_file_unmap(&p->kernel);
        boot_file_unmap(&p->initrd);
        for (unsigned i = 0; i < p->module_count; i++) {
            boot_file_unmap(&p->modules[i]);
        }
        g_array_unref(p->pieces);
        g_ptr_array_unref(p->owned);
        g_free(p);
    }
}
