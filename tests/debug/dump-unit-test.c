/* dump-unit-test.c: dumps of a test board: page tables, notes, faults, without KVM. */
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "tests/device/device-test.h"
#include "tests/debug/fake.h"
#include "debug/dump.h"
#include "util/bytes.h"
#include "util/fault.h"


static int fd;
static bool ended;
static char *said;             /* why it failed, or NULL */

static int setup(void **state)
{
    fake_new();
    fd = memfd_create("dump", 0);
    ended = false;
    said = NULL;
    return 0;
}

static int teardown(void **state)
{
    close(fd);
    g_free(said);
    fake_free();
    return 0;
}

static void on_end(void *arg, const Error *err)
{
    assert_ptr_equal(arg, &fd);
    ended = true;
    said = err ? g_strdup(error_text(err)) : NULL;
}

static bool has_ended(void *arg)
{
    return ended;
}

/* Runs one to its end; the file's contents. */
static const uint8_t *run(DumpRequest r, size_t *n)
{
    static uint8_t *map;
    static size_t mapped;

    r.fd = dup(fd);
    assert_int_equal(ftruncate(fd, 0), 0);
    lseek(fd, 0, SEEK_SET);
    ended = false;
    assert_true(dump_start(&r, on_end, &fd, NULL));
    assert_int_equal(dump_progress().state, DUMP_ACTIVE);
    Error *err = NULL;
    assert_false(dump_start(&r, on_end, &fd, &err));   /* one at a time */
    error_free(err);
    bench_until(fake.b, has_ended, NULL);
    if (map) {
        munmap(map, mapped);
    }
    mapped = *n = lseek(fd, 0, SEEK_END);
    map = *n > 0 ? mmap(NULL, *n, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    return map;
}

/* Four-level tables: 0xffff880000000000 maps all RAM by pages of 2 MiB, 0x400000 a page at 0x5000, and
 * 0x401000 one that is no memory. */
static void tables(unsigned cpu)
{
    X86Regs *r = &fake.regs[cpu];

    bench_write64(fake.b, 0x10000 + 8 * 0, 0x11003);
    bench_write64(fake.b, 0x10000 + 8 * 272, 0x14003);
    bench_write64(fake.b, 0x11000, 0x12003);
    bench_write64(fake.b, 0x12000 + 8 * 2, 0x13003);
    bench_write64(fake.b, 0x13000, 0x5003);
    bench_write64(fake.b, 0x13008, 0xf0000003);
    bench_write64(fake.b, 0x14000, 0x15003);
    for (unsigned i = 0; i < bench_ram_size() / (2 * MiB); i++) {
        bench_write64(fake.b, 0x15000 + 8 * i, i * 2 * MiB | 0x83);
    }
    *r = (X86Regs){ .cr0 = X86_CR0_PE | X86_CR0_PG, .cr3 = 0x10000, .cr4 = X86_CR4_PAE, .efer = X86_EFER_LMA,
                    .rip = 0x1234 + cpu, .kernel_gs_base = 77 };
}

static void test_paging(void **state)
{
    size_t n;
    const Elf64_Phdr *p;

    tables(0);
    tables(1);
    memcpy(bench_ram(fake.b, 0x5000, 16), "page at 0x5000", 14);
    const uint8_t *file = run((DumpRequest){ .paging = true }, &n);
    const Elf64_Ehdr *h = (const void *)file;
    assert_null(said);
    assert_int_equal(h->e_machine, EM_X86_64);
    assert_int_equal(h->e_phnum, 3);
    p = (const void *)(file + h->e_phoff);
    assert_int_equal(p[0].p_type, PT_NOTE);
    assert_int_equal(p[2].p_vaddr, 0x400000);
    assert_int_equal(p[2].p_paddr, 0x5000);
    assert_int_equal(p[2].p_filesz, 0x1000);
    assert_memory_equal(file + p[2].p_offset, "page at 0x5000", 14);
    assert_true(p[1].p_vaddr == 0xffff880000000000);
    assert_int_equal(p[1].p_paddr, 0);
    assert_int_equal(p[1].p_filesz, bench_ram_size());
    assert_int_equal(p[2].p_offset, p[1].p_offset + 0x5000);   /* memory is there once */
    assert_int_equal(n, p[1].p_offset + bench_ram_size());
    const uint8_t *prstatus = file + p[0].p_offset + 20;
    assert_int_equal(ld32(prstatus + 32), 1);
    assert_int_equal(ld64(prstatus + 112 + 8 * 16), 0x1234);
    assert_int_equal(dump_progress().completed, bench_ram_size());
}

static void test_unmapped_memory(void **state)
{
    size_t n;

    tables(0);
    bench_write64(fake.b, 0x10000 + 8 * 272, 0);       /* all but one page is mapped nowhere */
    const uint8_t *file = run((DumpRequest){ .paging = true }, &n);
    const Elf64_Ehdr *h = (const void *)file;
    const Elf64_Phdr *p = (const void *)(file + h->e_phoff);
    assert_int_equal(h->e_phnum, 4);
    assert_int_equal(p[1].p_vaddr, 0x400000);
    assert_int_equal(p[2].p_paddr, 0);
    assert_int_equal(p[2].p_filesz, 0x5000);
    assert_int_equal(p[3].p_paddr, 0x6000);
    assert_int_equal(p[3].p_filesz, bench_ram_size() - 0x6000);
}

/* Tables that lead to themselves map 2^36 pages. */
static void test_endless_tables(void **state)
{
    size_t n;

    fake.regs[0] = (X86Regs){ .cr0 = X86_CR0_PE | X86_CR0_PG, .cr3 = 0x10000, .cr4 = X86_CR4_PAE,
                              .efer = X86_EFER_LMA };
    for (unsigned i = 0; i < 512; i++) {
        bench_write64(fake.b, 0x10000 + 8 * i, 0x10003);
    }
    run((DumpRequest){ .paging = true }, &n);
    assert_non_null(strstr(said, "page tables map too much"));
    assert_int_equal(n, 0);
    assert_int_equal(dump_progress().state, DUMP_FAILED);
}

/* More headers than a 16-bit number counts. */
static void test_many_headers(void **state)
{
    size_t n;
    unsigned tables_n = 140;

    fake.regs[0] = (X86Regs){ .cr0 = X86_CR0_PE | X86_CR0_PG, .cr3 = 0x10000, .cr4 = X86_CR4_PAE,
                              .efer = X86_EFER_LMA };
    bench_write64(fake.b, 0x10000, 0x11003);
    bench_write64(fake.b, 0x11000, 0x12003);
    for (unsigned t = 0; t < tables_n; t++) {
        bench_write64(fake.b, 0x12000 + 8 * t, (0x100000 + 0x1000 * t) | 3);
        for (unsigned i = 0; i < 512; i++) {           /* never two in a row */
            bench_write64(fake.b, 0x100000 + 0x1000 * t + 8 * i, (i % 2 ? 0x5003 : 0x8003));
        }
    }
    const uint8_t *file = run((DumpRequest){ .paging = true }, &n);
    const Elf64_Ehdr *h = (const void *)file;
    assert_null(said);
    assert_int_equal(h->e_phnum, PN_XNUM);
    assert_int_equal(h->e_shnum, 1);
    const Elf64_Shdr *s = (const void *)(file + h->e_shoff);
    /* notes, the pages, and what is below, between and above the two of them */
    assert_int_equal(s->sh_info, 1 + 512 * tables_n + 3);
    const Elf64_Phdr *p = (const void *)(file + h->e_phoff);
    assert_true(p[0].p_offset >= h->e_shoff + sizeof(*s));
}

/* --- vmcoreinfo --- */

static Gpa info_at;
static uint32_t info_size;

static bool where(Machine *m, Gpa *at, uint32_t *size)
{
    *at = info_at;
    *size = info_size;
    return true;
}

static void put_info(const char *text)
{
    uint8_t *note = bench_ram(fake.b, 0x7000, 4096);

    st32(note, 11);
    st32(note + 4, strlen(text));
    st32(note + 8, 0);
    memcpy(note + 12, "VMCOREINFO\0\0", 12);
    memcpy(note + 24, text, strlen(text));
    info_at = 0x7000;
    info_size = 24 + ALIGN_UP(strlen(text), 4);
    machine()->vmcoreinfo = where;
}

static bool finds(const uint8_t *file, size_t n, const char *text)
{
    return memmem(file, MIN(n, 65536), text, strlen(text)) != NULL;
}

static void test_vmcoreinfo(void **state)
{
    static const char text[] = "OSRELEASE=6.1.0-test\nNUMBER(phys_base)=-16777216\n";
    size_t n;

    put_info(text);
    bench_ram(fake.b, 0x7000, 1);
    const uint8_t *file = run((DumpRequest){ .has_range = true, .begin = 0x100000, .length = 4096 }, &n);
    assert_true(finds(file, n, text));
    file = run((DumpRequest){ .format = DUMP_ZLIB }, &n);
    /* flattened: start, header's record, then the sub-header's */
    const uint8_t *sub = file + 4096 + 16 + 464 + 16;
    assert_true(ld64(sub) == (uint64_t)-16777216);
    assert_int_equal(ld64(sub + 40), strlen(text));
    assert_memory_equal(sub + ld64(sub + 32) - 4096 + 16, text, strlen(text));
    info_size = 8;
    file = run((DumpRequest){ .has_range = true, .begin = 0x100000, .length = 4096 }, &n);
    assert_false(finds(file, n, "OSRELEASE"));
    info_size = UINT32_MAX;
    run((DumpRequest){ .has_range = true, .begin = 0x100000, .length = 4096 }, &n);
    assert_null(said);
    info_size = 64;
    info_at = UINT64_MAX - 3;
    run((DumpRequest){ .has_range = true, .begin = 0x100000, .length = 4096 }, &n);
    assert_null(said);
    put_info(text);
    st32(bench_ram(fake.b, 0x7004, 4), 0xffffff00);
    file = run((DumpRequest){ .has_range = true, .begin = 0x100000, .length = 4096 }, &n);
    assert_false(finds(file, n, "OSRELEASE"));
}

/* --- failures --- */

static void test_write_fails(void **state)
{
    size_t n;

    for (unsigned format = DUMP_ELF; format <= DUMP_ZLIB; format++) {
        for (int nth = 1; nth < 6; nth++) {
            bench_write8(fake.b, 0x3000 * nth, 1);
            fault_arm("dump-write", nth);
            run((DumpRequest){ .format = format }, &n);
            fault_disarm();
            assert_non_null(said);
            assert_int_equal(n, 0);
            g_clear_pointer(&said, g_free);
        }
    }
}

static void test_pipe(void **state)
{
    int ends[2];
    uint8_t head[4];

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);      /* its reader is slow: writing waits */
    DumpRequest r = { .fd = ends[1], .has_range = true, .begin = 0, .length = 1 * MiB };
    assert_true(dump_start(&r, on_end, &fd, NULL));
    fcntl(ends[0], F_SETFL, 0);
    assert_int_equal(read(ends[0], head, 4), 4);
    assert_memory_equal(head, ELFMAG, 4);
    size_t total = 4;
    uint8_t buf[65536];
    ssize_t got;
    while ((got = read(ends[0], buf, sizeof(buf))) > 0) {
        total += got;
    }
    bench_until(fake.b, has_ended, NULL);
    assert_null(said);
    assert_int_equal(total % 4096, 0);
    assert_true(total > 1 * MiB);
    close(ends[0]);
    ended = false;
    assert_int_equal(pipe(ends), 0);
    close(ends[0]);
    r.fd = ends[1];
    assert_true(dump_start(&r, on_end, &fd, NULL));
    bench_until(fake.b, has_ended, NULL);
    assert_non_null(strstr(said, "Broken pipe"));
}

/* Memory in a file with holes: they are not filled by looking. */
static void test_holes(void **state)
{
    RamConfig c = { .source = RAM_MEMFD, .size = 8 * MiB, .share = true };
    RamBlock *b = ram_new("holes", &c, NULL);
    Region r;
    size_t n;

    assert_non_null(b);
    region_ram(&r, NULL, "holes", b, 0, b->size);
    map_put_one(&fake.b->m->mem_root, &r, 0x40000000, 0);
    memcpy(b->host + 4 * MiB, "data", 4);
    off_t data = lseek(b->fd, 0, SEEK_DATA);
    for (unsigned format = DUMP_ELF; format <= DUMP_ZLIB; format++) {
        run((DumpRequest){ .format = format }, &n);
        assert_null(said);
        assert_int_equal(lseek(b->fd, 0, SEEK_DATA), data);
    }
    map_drop_one(&r);
    region_free(&r);
    ram_free(b);
}

RUN_TESTS(TEST(test_paging), TEST(test_unmapped_memory), TEST(test_endless_tables), TEST(test_many_headers),
          TEST(test_vmcoreinfo), TEST(test_write_fails), TEST(test_pipe), TEST(test_holes))
