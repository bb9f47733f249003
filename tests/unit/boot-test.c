/* boot-test.c: kernels that start without firmware: what lands where in RAM, and images that are
 * wrong in every way we could think of, then in random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/ram.h"
#include "hw/board/boot.h"
#include "tests/unit/boot-images.h"
#include "util/bytes.h"
#include "util/thread.h"

#define RAM_SIZE (32 * MiB)

static const MachineType type = { .name = "test", .desc = "for tests", .max_cpus = 1 };
static const CpuBoot *booted;
static CpuBoot last_boot;

static void boot_state(const CpuBoot *b)
{
    last_boot = *b;
    booted = &last_boot;
}

static const AccelOps fake = { .name = "fake", .boot_state = boot_state };

/* A machine of RAM alone, and up to four files. */
typedef struct Fixture {
    Machine *m;
    Loop *loop;
    RamBlock *ram;
    Region region;
    int fd[4];
    char path[4][64];
    unsigned files;
} Fixture;

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    accel_set(&fake);
    f->loop = loop_new("test", THREAD_LOOP, NULL);
    f->m = machine_new(&type, f->loop, NULL);
    f->ram = ram_new_anon("ram", RAM_SIZE, NULL);
    region_ram(&f->region, NULL, "ram", f->ram, 0, RAM_SIZE);
    map_put_one(&f->m->mem_root, &f->region, 0, 0);
    f->m->below_4g = RAM_SIZE;
    f->m->cfg.ram_size = RAM_SIZE;
    booted = NULL;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    for (unsigned i = 0; i < f->files; i++) {
        close(f->fd[i]);
    }
    map_drop_one(&f->region);
    machine_free(f->m);
    ram_free(f->ram);
    loop_free(f->loop);
    accel_set(NULL);
    g_free(f);
    return 0;
}

/* The path of a new file with these contents. */
static char *file(Fixture *f, const void *data, size_t n)
{
    unsigned i = f->files++;

    assert_true(i < 4);
    f->fd[i] = memfd_create("boot-test", MFD_CLOEXEC);
    assert_int_equal(write(f->fd[i], data, n), n);
    snprintf(f->path[i], sizeof(f->path[i]), "/proc/self/fd/%d", f->fd[i]);
    return f->path[i];
}

static BootPlan *plan(Fixture *f, Error **errp)
{
    static const E820Entry reserved[] = { { 0xfffc0000, 0x40000, E820_RESERVED } };

    return boot_plan(f->m, NULL, NULL, reserved, 1, errp);
}

/* Plans and applies; the plan is gone when this returns. */
static const uint8_t *boot(Fixture *f)
{
    Error *e = NULL;
    BootPlan *p = plan(f, &e);

    if (p == NULL) {
        fail_msg("%s", error_text(e));
    }
    boot_apply(p, f->m);
    boot_free(p);
    assert_non_null(booted);
    return f->ram->host;
}

/* --- images --- */

static void use(Fixture *f, const Image *i)
{
    f->m->cfg.kernel = file(f, i->b, i->n);
}

/* --- what lands where --- */

static void linux_64(void **state)
{
    Fixture *f = *state;
    static char append[] = "console=ttyS0";
    static uint8_t initrd[5000];
    Image i;
    const uint8_t *ram, *zero;
    uint32_t at;

    make_linux(&i, 0x20f, true);
    memset(initrd, 0x5a, sizeof(initrd));
    use(f, &i);
    f->m->cfg.initrd = file(f, initrd, sizeof(initrd));
    f->m->cfg.append = append;
    ram = boot(f);
    assert_int_equal(booted->mode, CPU_BOOT_LONG64);
    assert_int_equal(booted->rip, 16 * MiB + 0x200);
    zero = ram + booted->rsi;
    assert_memory_equal(ram + 16 * MiB, i.b + 3 * 512, 4096);
    assert_memory_equal(zero + 0x1f1, i.b + 0x1f1, 0x1f);     /* the header, but for what a loader sets */
    assert_int_equal(zero[0x1ef], 0);                         /* sentinel: the page was cleared */
    assert_int_equal(zero[0x210], 0xff);
    assert_int_equal(zero[0x211], 0x81);
    assert_int_equal(ld32(zero + 0x214), 16 * MiB);
    assert_string_equal((const char *)ram + ld32(zero + 0x228), "console=ttyS0");
    at = ld32(zero + 0x218);
    assert_int_equal(ld32(zero + 0x21c), sizeof(initrd));
    assert_int_equal(at % 4096, 0);
    assert_memory_equal(ram + at, initrd, sizeof(initrd));
    assert_int_equal(zero[0x1e8], 5);                         /* e820: low, EBDA, ROM, high, reserved */
    assert_int_equal(ld64(zero + 0x2d0), 0);
    assert_int_equal(ld64(zero + 0x2d8), 0x9fc00);
    assert_int_equal(ld64(zero + 0x2d0 + 60), 1 * MiB);
    assert_int_equal(ld64(zero + 0x2d8 + 60), RAM_SIZE - 1 * MiB);
    /* identity map: PML4, PDPT, first and last page of 4 GiB */
    assert_int_equal(ld64(ram + booted->cr3), (booted->cr3 + 0x1000) | 3);
    assert_int_equal(ld64(ram + booted->cr3 + 0x2000), 0x83);
    assert_int_equal(ld64(ram + booted->cr3 + 0x5ff8), 0xffe00083);
    assert_int_equal(ld64(ram + booted->gdt_base + 0x10) >> 53 & 1, 1);
}

static void linux_32(void **state)
{
    Fixture *f = *state;
    Image i;

    make_linux(&i, 0x20b, false);
    i.b[0x234] = 0;                                           /* not relocatable: to 1 MiB */
    use(f, &i);
    boot(f);
    assert_int_equal(booted->mode, CPU_BOOT_FLAT32);
    assert_int_equal(booted->rip, 1 * MiB);
    assert_int_equal(ld64((uint8_t *)f->ram->host + booted->gdt_base + 0x10) >> 54 & 1, 1);
}

static void linux_of_protocol_206(void **state)
{
    Fixture *f = *state;
    Image i;

    make_linux(&i, 0x206, false);
    st64(i.b + 0x258, UINT64_MAX);                            /* no fields of later protocols are read */
    st32(i.b + 0x260, UINT32_MAX);
    use(f, &i);
    boot(f);
    assert_int_equal(booted->rip, 1 * MiB);
}

static void linux_in_little_ram(void **state)
{
    Fixture *f = *state;
    Image i;

    make_linux(&i, 0x20f, true);
    st32(i.b + 0x260, 10 * MiB);
    use(f, &i);
    f->m->below_4g = 16 * MiB;                                /* the preferred place is beyond */
    boot(f);
    assert_int_equal(booted->rip, 2 * MiB + 0x200);
}

static void pvh(void **state)
{
    Fixture *f = *state;
    static char append[] = "args";
    static uint8_t initrd[100] = "module";
    Image i;
    const uint8_t *ram, *info;

    make_pvh(&i);
    use(f, &i);
    f->m->cfg.append = append;
    f->m->cfg.initrd = file(f, initrd, sizeof(initrd));
    memset((uint8_t *)f->ram->host + 1 * MiB, 0xff, 8192);
    ram = boot(f);
    assert_int_equal(booted->mode, CPU_BOOT_FLAT32);
    assert_int_equal(booted->rip, 1 * MiB + 16);
    info = ram + booted->rbx;
    assert_int_equal(ld32(info), 0x336ec578);
    assert_int_equal(ld32(info + 4), 1);
    assert_string_equal((const char *)ram + ld64(info + 24), "args");
    assert_int_equal(ld32(info + 12), 1);
    assert_memory_equal(ram + ld64(ram + ld64(info + 16)), "module", 7);
    assert_int_equal(ld64(ram + ld64(info + 16) + 8), 100);
    assert_int_equal(ld32(info + 48), 5);
    assert_int_equal(ld32(ram + ld64(info + 40) + 16), 1);
    assert_int_equal(ram[1 * MiB + 4095], 0xcc);
    assert_int_equal(ram[1 * MiB + 4096], 0);                 /* bss is cleared */
    assert_int_equal(ram[1 * MiB + 8191], 0);
}

static void multiboot_elf_with_modules(void **state)
{
    Fixture *f = *state;
    static const Seg segs[] = { { PT_LOAD, 4096, 2 * MiB, 4096, 4096 } };
    static char append[] = "x y";
    g_autofree char *modules = NULL, *want = NULL;
    Image i;
    const uint8_t *ram, *info, *mods;

    make_elf32(&i, segs, 1, 2 * MiB + 4);
    put_multiboot(&i, 2048, 3);
    use(f, &i);
    f->m->cfg.append = append;
    file(f, "first", 5);
    file(f, "second!", 7);
    modules = g_strdup_printf("%s one,%s", f->path[1], f->path[2]);
    f->m->cfg.initrd = modules;
    want = g_strdup_printf("%s x y", f->m->cfg.kernel);
    ram = boot(f);
    assert_int_equal(booted->rip, 2 * MiB + 4);
    assert_int_equal(booted->rax, 0x2badb002);
    info = ram + booted->rbx;
    assert_int_equal(ld32(info) & 0x4c, 0x4c);                /* command line, modules, memory map */
    assert_int_equal(ld32(info + 4), 639);
    assert_int_equal(ld32(info + 8), (RAM_SIZE - 1 * MiB) / 1024);
    assert_string_equal((const char *)ram + ld32(info + 16), want);
    assert_int_equal(ld32(info + 20), 2);
    mods = ram + ld32(info + 24);
    assert_int_equal(ld32(mods + 4) - ld32(mods), 5);
    assert_memory_equal(ram + ld32(mods), "first", 5);
    assert_memory_equal(ram + ld32(mods + 16), "second!", 7);
    assert_non_null(strstr((const char *)ram + ld32(mods + 8), " one"));
    assert_string_equal((const char *)ram + ld32(mods + 24), f->path[2]);
    assert_int_equal(ld32(info + 44), 5 * 24);
    assert_int_equal(ld32(ram + ld32(info + 48)), 20);
}

static void multiboot_aout(void **state)
{
    Fixture *f = *state;
    Image i;
    const uint8_t *ram;

    make_aout(&i, 1 * MiB, 0, 1 * MiB + 8192, 1 * MiB + 256);
    use(f, &i);
    memset((uint8_t *)f->ram->host + 1 * MiB, 0xff, 8192);
    ram = boot(f);
    assert_int_equal(booted->rip, 1 * MiB + 256);
    assert_memory_equal(ram + 1 * MiB, i.b, i.n);
    assert_int_equal(ram[1 * MiB + 4096], 0);
}

static void resetting_loads_again(void **state)
{
    Fixture *f = *state;
    BootPlan *p;
    uint8_t *ram = f->ram->host;
    Image i;

    make_pvh(&i);
    use(f, &i);
    p = plan(f, NULL);
    boot_apply(p, f->m);
    memset(ram + BOOT_INFO_AT, 0xff, 4096);
    memset(ram + 1 * MiB, 0xff, 8192);
    boot_apply(p, f->m);
    assert_int_equal(ld32(ram + BOOT_INFO_AT), 0x336ec578);
    assert_int_equal(ram[1 * MiB], 0xcc);
    assert_int_equal(ram[1 * MiB + 8191], 0);
    boot_free(p);
}

/* --- what is refused --- */

static void linux_truncated(Image *i) { make_linux(i, 0x20f, true); i->n = 3 * 512; }
static void linux_setup_beyond(Image *i) { make_linux(i, 0x20f, true); i->b[0x1f1] = 255; }
static void linux_old(Image *i) { make_linux(i, 0x203, false); }
static void linux_low(Image *i) { make_linux(i, 0x20f, true); i->b[0x211] = 0; }
static void linux_huge_init(Image *i) { make_linux(i, 0x20f, true); st32(i->b + 0x260, UINT32_MAX); }
static void linux_far(Image *i)
{
    make_linux(i, 0x20f, true);
    i->b[0x234] = 0;
    st64(i->b + 0x258, UINT64_MAX);
}

static void linux_no_align(Image *i)
{
    make_linux(i, 0x20f, true);
    st32(i->b + 0x230, 0);
    st64(i->b + 0x258, 4096);
}

static void elf_plain(Image *i) { make_elf32(i, pvh_segs, 1, 1 * MiB); }
static void elf_nothing(Image *i)
{
    static const Seg segs[] = { { PT_NOTE, 1024, 0, 20, 20 } };
    make_elf32(i, segs, 1, 0);
    put_note(i, 1024, 1 * MiB);
}

static void elf_one(Image *i, Seg s)
{
    Seg both[] = { s, pvh_segs[1] };
    make_elf32(i, both, 2, 0);
    put_note(i, 1024, 1 * MiB + 16);
}

static void elf_off_file(Image *i) { elf_one(i, (Seg){ PT_LOAD, 0xfffff000, 1 * MiB, 8192, 8192 }); }
static void elf_file_over_mem(Image *i) { elf_one(i, (Seg){ PT_LOAD, 4096, 1 * MiB, 4096, 100 }); }
static void elf_above_ram(Image *i) { elf_one(i, (Seg){ PT_LOAD, 4096, 64 * MiB, 4096, 4096 }); }
static void elf_wraps(Image *i) { elf_one(i, (Seg){ PT_LOAD, 4096, 0xfffff000, 4096, 0xfffff000 }); }
static void elf_in_vga(Image *i) { elf_one(i, (Seg){ PT_LOAD, 4096, 0xa0000, 4096, 4096 }); }
static void elf_into_hole(Image *i) { elf_one(i, (Seg){ PT_LOAD, 4096, 0x9f000, 4096, 2 * MiB }); }
static void elf_on_info(Image *i)
{
    static const Seg segs[] = { { PT_LOAD, 4096, BOOT_INFO_AT - 100, 200, 200 },
                                { PT_LOAD, 4096, 1 * MiB, 99, 99 },
                                { PT_NOTE, 1024, 0, 20, 20 } };
    make_elf32(i, segs, 3, 0);
    put_note(i, 1024, 1 * MiB);
}

static void elf_overlapping(Image *i)
{
    static const Seg segs[] = { { PT_LOAD, 4096, 1 * MiB, 4096, 4096 },
                                { PT_LOAD, 4096, 1 * MiB + 4095, 16, 16 }, { PT_NOTE, 1024, 0, 20, 20 } };
    make_elf32(i, segs, 3, 0);
    put_note(i, 1024, 1 * MiB);
}

static void elf_entry_out(Image *i) { make_pvh(i); put_note(i, 1024, 0xdeadbeef); }
static void elf_note_off_file(Image *i) { make_pvh(i); st32(i->b + 52 + 32 + 4, 0xfffffff0); }
static void elf_note_huge(Image *i) { make_pvh(i); st32(i->b + 1024, UINT32_MAX); }
static void elf_headers_off_file(Image *i) { make_pvh(i); st32(i->b + 28, 0xfffffff0); }
static void elf_cut(Image *i) { make_pvh(i); i->n = 60; }
static void aout_backwards(Image *i) { make_aout(i, 2 * MiB, 1 * MiB, 0, 2 * MiB); }
static void aout_long(Image *i) { make_aout(i, 1 * MiB, 3 * MiB, 0, 1 * MiB); }
static void aout_bss(Image *i) { make_aout(i, 1 * MiB, 0, UINT32_MAX, 1 * MiB); }
static void aout_header_off(Image *i) { make_aout(i, 1 * MiB, 0, 0, 1 * MiB); st32(i->b + 76, 3 * MiB); }
static void aout_load_after(Image *i) { make_aout(i, 1 * MiB, 0, 0, 1 * MiB); st32(i->b + 80, 2 * MiB); }
static void aout_unknown(Image *i)
{
    make_aout(i, 1 * MiB, 0, 0, 1 * MiB);
    put_multiboot(i, 64, 1 << 16 | 0x8);
}

static void mb_no_addresses(Image *i) { make_aout(i, 1 * MiB, 0, 0, 0); put_multiboot(i, 64, 3); }
static void mb_elf64(Image *i) { elf_plain(i); i->b[4] = 2; put_multiboot(i, 2048, 3); }
static void one_byte(Image *i) { memset(i, 0, sizeof(*i)); i->n = 1; }
static void text(Image *i) { memset(i, 'x', sizeof(*i)); i->n = 4000; }

typedef struct Wrong {
    void (*make)(Image *i);
    const char *says;          /* part of the one line */
} Wrong;

static const Wrong wrongs[] = {
    { linux_truncated, "truncated" }, { linux_setup_beyond, "truncated" },
    { linux_old, "boot protocol 2.03 is too old" }, { linux_low, "too old" },
    { linux_huge_init, "needs 4294967295 bytes of RAM" }, { linux_far, "bytes of RAM at 0xfffff" },
    { linux_no_align, "bytes of RAM at 0x1000" },
    { elf_plain, "no PVH entry note" }, { elf_nothing, "nothing to load" },
    { elf_off_file, "segment 0 lies outside the file" }, { elf_file_over_mem, "segment 0 lies outside" },
    { elf_above_ram, "segment 0 needs RAM at 0x4000000" }, { elf_wraps, "segment 0 needs RAM" },
    { elf_in_vga, "do not fit into guest RAM" }, { elf_into_hole, "do not fit into guest RAM" },
    { elf_on_info, "overlaps" }, { elf_overlapping, "overlaps" }, { elf_entry_out, "not in the image" },
    { elf_note_off_file, "no PVH entry" }, { elf_note_huge, "no PVH entry" },
    { elf_headers_off_file, "no PVH entry" }, { elf_cut, "no PVH entry" },
    { aout_backwards, "load_end_addr" }, { aout_long, "load_end_addr" }, { aout_bss, "RAM ends at" },
    { aout_header_off, "does not agree" }, { aout_load_after, "does not agree" },
    { aout_unknown, "something unknown" }, { mb_no_addresses, "not ELF" }, { mb_elf64, "64-bit ELF" },
    { one_byte, "not a Linux bzImage" }, { text, "not a Linux bzImage" },
};

static void broken_images(void **state)
{
    for (unsigned n = 0; n < ARRAY_LEN(wrongs); n++) {
        Fixture *f = *state;
        g_autoptr(Error) e = NULL;
        Image i;

        wrongs[n].make(&i);
        use(f, &i);
        if (plan(f, &e) != NULL) {
            fail_msg("image %u (\"%s\") was taken", n, wrongs[n].says);
        }
        if (strstr(error_text(e), wrongs[n].says) == NULL || !g_str_has_prefix(error_text(e), "-kernel: ") ||
            strchr(error_text(e), '\n') != NULL) {
            fail_msg("image %u: \"%s\", not \"%s\"", n, error_text(e), wrongs[n].says);
        }
        close(f->fd[0]);
        f->files = 0;
    }
}

static void check_refused(Fixture *f, const char *prefix, const char *says)
{
    g_autoptr(Error) e = NULL;

    assert_null(plan(f, &e));
    if (strstr(error_text(e), prefix) == NULL || strstr(error_text(e), says) == NULL) {
        fail_msg("\"%s\"", error_text(e));
    }
}

static void other_options(void **state)
{
    Fixture *f = *state;
    g_autofree char *long_line = g_strnfill(2048, 'a'), *longer = g_strnfill(70000, 'a');
    g_autofree uint8_t *big = g_malloc0(RAM_SIZE);
    static char missing[] = "/nonexistent/file", folder[] = "/", many[200];
    Image i;

    make_linux(&i, 0x20f, true);
    use(f, &i);
    f->m->cfg.append = long_line;
    check_refused(f, "-append", "2048 bytes, the kernel takes 2047");
    f->m->cfg.append = NULL;
    f->m->cfg.initrd = missing;
    check_refused(f, "-initrd", "could not open '/nonexistent/file'");
    f->m->cfg.initrd = folder;
    check_refused(f, "-initrd", "not a regular file");
    f->m->cfg.initrd = file(f, "", 0);
    check_refused(f, "-initrd", "empty");
    f->m->cfg.initrd = file(f, big, RAM_SIZE);
    check_refused(f, "-initrd", "does not fit into guest RAM");
    make_aout(&i, 1 * MiB, 0, 0, 1 * MiB);
    f->m->cfg.kernel = file(f, i.b, i.n);
    check_refused(f, "-initrd", "does not fit into guest RAM");
    f->m->cfg.initrd = NULL;
    f->m->cfg.append = longer;
    check_refused(f, "-append", "more than 65535 bytes");
    f->m->cfg.append = NULL;
    memset(many, ',', 60);
    f->m->cfg.initrd = many;
    check_refused(f, "-initrd", "61 modules, at most 32");
    f->m->cfg.initrd = NULL;
    f->m->below_4g = 1 * MiB;
    check_refused(f, "-m", "too small");
    f->m->below_4g = RAM_SIZE;
    f->m->cfg.kernel = missing;
    check_refused(f, "-kernel", "No such file");
}

/* --- at random --- */

static uint32_t interesting(GRand *r)
{
    static const uint32_t values[] = { 0, 1, 2, 0x7f, 0xff, 0xfff, 0x1000, 0x9fc00, 0xa0000, 0xfffff, 1 << 20,
                                       RAM_SIZE - 1, RAM_SIZE, 0x7fffffff, 0x80000000, 0xfffff000,
                                       UINT32_MAX };

    return g_rand_boolean(r) ? values[g_rand_int_range(r, 0, ARRAY_LEN(values))] : g_rand_int(r);
}

static void mutate(GRand *r, Image *i)
{
    unsigned changes = g_rand_int_range(r, 1, 6);

    while (changes-- > 0) {
        /* mostly where the headers are */
        size_t at = g_rand_int_range(r, 0, g_rand_int_range(r, 0, 4) == 0 ? i->n : MIN(i->n, 0x280));
        unsigned n = MIN(1u << g_rand_int_range(r, 0, 3), i->n - at);
        st_n(i->b + at, n, interesting(r));
    }
    if (g_rand_int_range(r, 0, 8) == 0) {
        i->n = g_rand_int_range(r, 1, i->n + 1);
    }
}

static void random_images(void **state)
{
    GRand *r = g_rand_new_with_seed(1);
    unsigned taken = 0;

    for (unsigned n = 0; n < 4000; n++) {
        Fixture *f = *state;
        g_autoptr(Error) e = NULL;
        BootPlan *p;
        Image i;

        switch (n % 4) {
        case 0:
            make_linux(&i, 0x20f, n & 4);
            break;
        case 1:
            make_pvh(&i);
            break;
        case 2:
            elf_plain(&i);
            put_multiboot(&i, 2048, 3);
            break;
        default:
            make_aout(&i, 1 * MiB, 0, 1 * MiB + 8192, 1 * MiB);
        }
        mutate(r, &i);
        use(f, &i);
        f->m->cfg.initrd = n & 8 ? file(f, "initrd", 6) : NULL;
        p = plan(f, &e);
        assert_true((p == NULL) == (e != NULL));
        if (p != NULL) {
            taken++;
            if (n % 16 == 0) {
                boot_apply(p, f->m);
            }
            boot_free(p);
        }
        while (f->files > 0) {
            close(f->fd[--f->files]);
        }
    }
    g_rand_free(r);
    assert_in_range(taken, 100, 3900);       /* neither all nor nothing: both ways were walked */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(linux_64), T(linux_32), T(linux_of_protocol_206), T(linux_in_little_ram), T(pvh),
        T(multiboot_elf_with_modules), T(multiboot_aout), T(resetting_loads_again), T(broken_images),
        T(other_options), T(random_images),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
