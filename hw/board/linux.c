/* linux.c: the Linux/x86 boot protocol (kernel Documentation/arch/x86/boot.rst): the 64-bit entry, or the
 * 32-bit one for kernels without it. */
#include "hw/board/boot.h"

#include <string.h>
#include "util/bytes.h"

/* Offsets in the file and in the zero page. */
enum {
    ACPI_RSDP_ADDR = 0x070, EXT_RAMDISK_IMAGE = 0x0c0, EXT_RAMDISK_SIZE = 0x0c4, ALT_MEM_K = 0x1e0,
    E820_ENTRIES = 0x1e8, SETUP_SECTS = 0x1f1, BOOT_FLAG = 0x1fe, JUMP = 0x200, HEADER = 0x202,
    VERSION = 0x206, TYPE_OF_LOADER = 0x210, LOADFLAGS = 0x211, CODE32_START = 0x214,
    RAMDISK_IMAGE = 0x218, RAMDISK_SIZE = 0x21c, HEAP_END_PTR = 0x224, CMD_LINE_PTR = 0x228,
    INITRD_ADDR_MAX = 0x22c, KERNEL_ALIGNMENT = 0x230, RELOCATABLE = 0x234,
    XLOADFLAGS = 0x236, CMDLINE_SIZE = 0x238,
    PREF_ADDRESS = 0x258, INIT_SIZE = 0x260, E820_TABLE = 0x2d0,
    LOADED_HIGH = 1, CAN_USE_HEAP = 0x80, XLF_KERNEL_64 = 1, ENTRY64 = 0x200,
    ZERO_PAGE_SIZE = 4096, MIN_VERSION = 0x206,
};

bool linux_probe(const BootFile *k)
{
    return k->size > 0x268 && ld16(k->data + BOOT_FLAG) == 0xaa55 && ld32(k->data + HEADER) == 0x53726448;
}

/* Identity map of the first 4 GiB with 2 MiB pages. */
static bool plan_page_tables(BootPlan *p, Error **errp)
{
    uint64_t *t = g_new0(uint64_t, 6 * 512);

    t[0] = htole64((BOOT_TABLES_AT + 0x1000) | 3);
    for (unsigned i = 0; i < 4; i++) {
        t[512 + i] = htole64((BOOT_TABLES_AT + 0x2000 + i * 0x1000) | 3);
    }
    for (uint64_t i = 0; i < 4 * 512; i++) {
        t[1024 + i] = htole64(i << 21 | 0x83);
    }
    p->cpu.cr3 = BOOT_TABLES_AT;
    return boot_put_owned(p, BOOT_TABLES_AT, t, 6 * 4096, errp);
}

static bool plan_initrd(BootPlan *p, Machine *m, uint8_t *zero, uint64_t floor, Error **errp)
{
    uint64_t limit = ld32(zero + INITRD_ADDR_MAX);
    Gpa at;

    if (m->cfg.initrd == NULL) {
        return true;
    }
    if (!boot_file_map(&p->initrd, "-initrd", m->cfg.initrd, errp)) {
        return false;
    }
    if (ld16(zero + XLOADFLAGS) & 2) {
        limit = UINT32_MAX;                  /* XLF_CAN_BE_LOADED_ABOVE_4G: the whole low RAM will do */
    }
    at = boot_high(p, p->initrd.size, limit, floor);
    if (at == 0) {
        return error_set(errp, "-initrd: '%s' (%zu bytes) does not fit into guest RAM beside the kernel",
                         m->cfg.initrd, p->initrd.size);
    }
    st32(zero + RAMDISK_IMAGE, at);
    st32(zero + RAMDISK_SIZE, p->initrd.size);
    return boot_put(p, at, p->initrd.data, p->initrd.size, errp);
}

static bool plan_cmdline(BootPlan *p, Machine *m, uint8_t *zero, Error **errp)
{
    const char *text = m->cfg.append != NULL ? m->cfg.append : "";
    size_t n = strlen(text), most = MIN(ld32(zero + CMDLINE_SIZE), BOOT_CMDLINE_MAX - 1);

    if (n > most) {
        return error_set(errp, "-append: the command line has %zu bytes, the kernel takes %zu", n, most);
    }
    st32(zero + CMD_LINE_PTR, BOOT_CMDLINE_AT);
    return boot_put_owned(p, BOOT_CMDLINE_AT, g_strdup(text), n + 1, errp);
}

static void fill_zero_page(BootPlan *p, uint8_t *zero)
{
    const uint8_t *k = p->kernel.data;
    size_t header_end = MIN((size_t)HEADER + k[JUMP + 1], (size_t)0x290);

    memcpy(zero + SETUP_SECTS, k + SETUP_SECTS, header_end - SETUP_SECTS);
    zero[TYPE_OF_LOADER] = 0xff;
    zero[LOADFLAGS] |= CAN_USE_HEAP;
    st16(zero + HEAP_END_PTR, 0xfe00);
    st64(zero + ACPI_RSDP_ADDR, p->rsdp);
    st32(zero + ALT_MEM_K, (p->ram_top - 1 * MiB) >> 10);
    zero[E820_ENTRIES] = p->e820_count;
    for (unsigned i = 0; i < p->e820_count; i++) {
        st64(zero + E820_TABLE + 20 * i, p->e820[i].at);
        st64(zero + E820_TABLE + 20 * i + 8, p->e820[i].size);
        st32(zero + E820_TABLE + 20 * i + 16, p->e820[i].type);
    }
}

/* Where the protected-mode part goes (*@at) and the end of what it needs from there while it unpacks itself
 * (*@end).  A kernel that cannot be relocated goes to 1 MiB and moves itself to its preferred address. */
static bool plan_place(BootPlan *p, size_t size, uint64_t *at, uint64_t *end, Error **errp)
{
    const uint8_t *k = p->kernel.data;
    bool has_init_size = ld16(k + VERSION) >= 0x20a;
    uint64_t pref = has_init_size ? ld64(k + PREF_ADDRESS) : 0, align = ld32(k + KERNEL_ALIGNMENT);
    uint64_t need = MAX(has_init_size ? ld32(k + INIT_SIZE) : 0, size);

    *at = BOOT_KERNEL_MIN;
    if (has_init_size && k[RELOCATABLE] != 0) {
        /* the preferred place, or the lowest one when RAM ends before */
        *at = fits(pref, need, p->ram_top) || align == 0 ? pref : ALIGN_UP((uint64_t)BOOT_KERNEL_MIN, align);
        pref = 0;
    }
    if (*at < BOOT_KERNEL_MIN || !fits(*at, need, p->ram_top) ||
        (pref != 0 && !fits(pref, need, p->ram_top))) {
        return error_set(errp, "the kernel needs %" PRIu64 " bytes of RAM at 0x%" PRIx64 ", there is RAM up "
                         "to 0x%" PRIx64, need, MAX(*at, pref), p->ram_top);
    }
    *end = MAX(*at, pref) + need;
    return true;
}

bool linux_load(BootPlan *p, Machine *m, Error **errp)
{
    const uint8_t *k = p->kernel.data;
    size_t setup = ((k[SETUP_SECTS] != 0 ? k[SETUP_SECTS] : 4) + 1) * 512;
    bool is64 = ld16(k + VERSION) >= 0x20c && (ld16(k + XLOADFLAGS) & XLF_KERNEL_64) != 0;
    uint64_t at = 0, end = 0;
    uint8_t *zero;

    if (ld16(k + VERSION) < MIN_VERSION || !(k[LOADFLAGS] & LOADED_HIGH)) {
        return error_set(errp, "boot protocol %u.%02u is too old (2.06 is needed)", k[VERSION + 1],
                         k[VERSION]);
    }
    if (setup >= p->kernel.size) {
        return error_set(errp, "the file is truncated: setup code of %zu bytes in %zu", setup,
                         p->kernel.size);
    }
    if (!plan_place(p, p->kernel.size - setup, &at, &end, errp)) {
        return false;
    }
    zero = g_malloc0(ZERO_PAGE_SIZE);
    g_ptr_array_add(p->owned, zero);
    fill_zero_page(p, zero);
    st32(zero + CODE32_START, at);
    p->cpu.mode = is64 ? CPU_BOOT_LONG64 : CPU_BOOT_FLAT32;
    p->cpu.rip = is64 ? at + ENTRY64 : at;
    p->cpu.rsi = BOOT_INFO_AT;
    p->cpu.rsp = BOOT_INFO_AT;
    return boot_put(p, at, k + setup, p->kernel.size - setup, errp) &&
           plan_initrd(p, m, zero, end, errp) && plan_cmdline(p, m, zero, errp) &&
           (!is64 || plan_page_tables(p, errp)) &&
           boot_put(p, BOOT_INFO_AT, zero, ZERO_PAGE_SIZE, errp);
}

bool linux_parts(LinuxParts *out, const BootFile *k, const BootFile *initrd, Gpa ram_end, Error **errp)
{
    size_t setup = ((k->data[SETUP_SECTS] != 0 ? k->data[SETUP_SECTS] : 4) + 1) * 512;
    uint64_t limit = MIN((uint64_t)ld32(k->data + INITRD_ADDR_MAX) + 1, ram_end), code_end;

    if (ld16(k->data + VERSION) < MIN_VERSION || !(k->data[LOADFLAGS] & LOADED_HIGH)) {
        return error_set(errp, "boot protocol %u.%02u is too old (2.06 is needed)", k->data[VERSION + 1],
                         k->data[VERSION]);
    }
    if (setup >= k->size) {
        return error_set(errp, "the file is truncated: setup code of %zu bytes in %zu", setup, k->size);
    }
    code_end = LINUX_CODE_AT + (k->size - setup);
    if (code_end > ram_end) {
        return error_set(errp, "the kernel needs RAM up to 0x%" PRIx64 ", there is RAM up to 0x%" PRIx64,
                         code_end, ram_end);
    }
    *out = (LinuxParts){ .setup = g_memdup2(k->data, setup), .setup_size = setup };
    if (initrd->size > 0) {
        if (initrd->size > limit || ALIGN_DOWN(limit - initrd->size, 4096) < code_end) {
            g_clear_pointer(&out->setup, g_free);
            return error_set(errp, "-initrd: %zu bytes do not fit into guest RAM beside the kernel",
                             initrd->size);
        }
        out->initrd_at = ALIGN_DOWN(limit - initrd->size, 4096);
        st32(out->setup + RAMDISK_IMAGE, out->initrd_at);
        st32(out->setup + RAMDISK_SIZE, initrd->size);
    }
    out->setup[TYPE_OF_LOADER] = 0xff;
    out->setup[LOADFLAGS] |= CAN_USE_HEAP;
    st16(out->setup + HEAP_END_PTR, LINUX_CMDLINE_AT - LINUX_SETUP_AT - 0x200);
    st32(out->setup + CMD_LINE_PTR, LINUX_CMDLINE_AT);
    return true;
}
