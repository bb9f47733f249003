/* A 32-bit kernel without firmware: prints what its loader gave it, by Multiboot 0.6.96 or by PVH, and
 * what it finds in memory and PCI configuration space; leaves by isa-debug-exit with 0x2a, which makes
 * status 85.
 *
 * With "reset-KIND" on its command line it first spoils all of its memory and resets the machine: it
 * must find everything as it was the first time. */
#include <stdint.h>

#define PORT_UART 0x3f8
#define PORT_EXIT 0xf4
#define START_INFO_MAGIC 0x336ec578
#define MULTIBOOT_MAGIC 0x2badb002
/* A byte of the battery-backed memory, which a reset leaves alone. */
#define CMOS_MARK 0x7e

void start(uint32_t eax, uint32_t ebx);

static uint32_t data = 0x12345678;
static uint32_t bss[64];

static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static void put(char c)
{
    while (!(in8(PORT_UART + 5) & 0x20)) {
    }
    out8(PORT_UART, c);
}

static void text(const char *s)
{
    while (*s != 0) {
        put(*s++);
    }
}

static void hex(uint64_t v)
{
    int started = 0;

    for (int shift = 60; shift >= 0; shift -= 4) {
        unsigned digit = v >> shift & 15;
        if (digit != 0 || started || shift == 0) {
            put("0123456789abcdef"[digit]);
            started = 1;
        }
    }
}

static void line(const char *what, uint64_t v)
{
    text(what);
    put(' ');
    hex(v);
    put('\n');
}

static void fail(const char *why)
{
    text("FAILED: ");
    text(why);
    put('\n');
    out8(PORT_EXIT, 0x7f);
}

static int same(const char *a, const char *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (a[i] != b[i]) {
            return 0;
        }
    }
    return 1;
}

static uint8_t sum(const void *at, unsigned n)
{
    const uint8_t *p = at;
    uint8_t all = 0;

    while (n-- > 0) {
        all += *p++;
    }
    return all;
}

static void module(uint32_t at, uint32_t size, const char *string)
{
    text("module ");
    text(string);
    line(" sum", sum((void *)at, size));
    if (at % 4096 != 0) {
        fail("module not page aligned");
    }
}

static void range(uint64_t at, uint64_t size, uint32_t type)
{
    text("memory ");
    hex(at);
    put(' ');
    hex(size);
    line(" type", type);
}

static const char *by_multiboot(uint32_t *info)
{
    uint32_t *mod = (uint32_t *)info[6], at = info[12];

    text("multiboot\n");
    line("lower", info[1]);
    line("upper", info[2]);
    for (uint32_t i = 0; i < info[5]; i++, mod += 4) {
        module(mod[0], mod[1] - mod[0], (char *)mod[2]);
    }
    while (at < info[12] + info[11]) {
        uint32_t *e = (uint32_t *)at;
        range(e[1] | (uint64_t)e[2] << 32, e[3] | (uint64_t)e[4] << 32, e[5]);
        at += e[0] + 4;
    }
    return (char *)info[4];
}

static const char *by_pvh(uint32_t *info)
{
    uint32_t *mod = (uint32_t *)info[4], *map = (uint32_t *)info[10];

    text("pvh\n");
    line("version", info[1]);
    for (uint32_t i = 0; i < info[3]; i++, mod += 8) {
        module(mod[0], mod[2], "");
    }
    for (uint32_t i = 0; i < info[12]; i++, map += 6) {
        range(map[0] | (uint64_t)map[1] << 32, map[2] | (uint64_t)map[3] << 32, map[4]);
    }
    if (!same((char *)info[8], "RSD PTR ", 8)) {
        fail("no RSDP where the start info says");
    }
    return (char *)info[6];
}

/* What firmware leaves in the F segment. */
static void look_for_tables(void)
{
    for (char *p = (char *)0xf0000; p < (char *)0x100000; p += 16) {
        if (same(p, "RSD PTR ", 8)) {
            line("rsdp sums", sum(p, 20) | sum(p, 36));
            line("xsdt sum", sum((void *)*(uint32_t *)(p + 24), *(uint32_t *)(*(uint32_t *)(p + 24) + 4)));
        }
        if (same(p, "_SM_", 4)) {
            line("smbios sums", sum(p, 31) | sum(p + 16, 15));
            line("smbios first type", *(uint8_t *)*(uint32_t *)(p + 24));
        }
    }
}

static uint32_t config(unsigned devfn, unsigned reg)
{
    out32(0xcf8, 0x80000000u | devfn << 8 | reg);
    return in32(0xcfc);
}

/* BARs are where they decode, interrupt lines are set. */
static void look_at_pci(void)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if ((config(devfn, 0) & 0xffff) == 0xffff) {
            continue;
        }
        text("pci ");
        hex(devfn);
        put(' ');
        hex(config(devfn, 0));
        for (unsigned reg = 0x10; reg < 0x28 && (config(devfn, 12) >> 16 & 0x7f) == 0; reg += 4) {
            uint32_t bar = config(devfn, reg);
            if (bar != 0 && !(config(devfn, 4) & (bar & 1 ? 1 : 2))) {
                fail("a BAR is set and not decoded");
            }
        }
        if (config(devfn, 0x3c) >> 8 & 0xff) {
            line(" line", config(devfn, 0x3c) & 0xff);
        } else {
            put('\n');
        }
    }
}

static uint8_t cmos(uint8_t index)
{
    out8(0x70, index);
    return in8(0x71);
}

static void reset(char how)
{
    out8(0x70, CMOS_MARK);
    out8(0x71, 0x5a);
    text("resetting\n");
    /* everything but this code: the data, the structures below 640 KiB */
    for (uint32_t *p = (uint32_t *)0x6000; p < (uint32_t *)0x30000; p++) {
        *p = 0xdeadbeef;
    }
    data = bss[0] = bss[63] = 0xdeadbeef;
    if (how == 'p') {
        out8(0xcf9, 6);
    } else {
        out8(0x64, 0xfe);
    }
    for (;;) {
        __asm__ volatile("hlt");
    }
}

void start(uint32_t eax, uint32_t ebx)
{
    const char *cmdline;

    if (data != 0x12345678 || bss[0] != 0 || bss[63] != 0) {
        fail("the image was not loaded afresh");
    }
    if (eax == MULTIBOOT_MAGIC) {
        cmdline = by_multiboot((uint32_t *)ebx);
    } else if (*(uint32_t *)ebx == START_INFO_MAGIC) {
        cmdline = by_pvh((uint32_t *)ebx);
    } else {
        fail("neither multiboot nor PVH");
        return;
    }
    text("cmdline ");
    text(cmdline);
    put('\n');
    look_for_tables();
    look_at_pci();
    for (const char *p = cmdline; *p != 0; p++) {
        if (same(p, "reset-", 6) && cmos(CMOS_MARK) != 0x5a) {
            reset(p[6]);
        }
    }
    text("done\n");
    out8(PORT_EXIT, 0x2a);
}
