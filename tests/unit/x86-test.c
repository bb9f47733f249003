/* x86-test.c: page tables of all four formats, whole, broken and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "core/ram.h"
#include "core/region.h"
#include "core/x86.h"
#include "util/bytes.h"
#include "util/epoch.h"
#include "util/thread.h"

#define RAM_SIZE (1u << 20)

static Region root, ram_region;
static Space *mem;
static RamBlock *ram;

static int setup(void **state)
{
    region_box(&root, NULL, "root", UINT64_MAX);
    mem = space_new("mem", SPACE_BUS, &root);
    ram = ram_new_anon("ram", RAM_SIZE, NULL);
    region_ram(&ram_region, NULL, "ram", ram, 0, RAM_SIZE);
    map_put_one(&root, &ram_region, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    map_drop_one(&ram_region);
    space_free(mem);
    epoch_flush();
    ram_free(ram);
    return 0;
}

static void put(uint64_t at, uint64_t entry)
{
    st64(ram->host + at, entry);
}

static X86Regs long_mode(void)
{
    memset(ram->host, 0, RAM_SIZE);
    return (X86Regs){ .cr0 = X86_CR0_PE | X86_CR0_PG, .cr3 = 0x1000, .cr4 = X86_CR4_PAE,
                      .efer = X86_EFER_LMA };
}

typedef struct Seen {
    X86Page page[8];
    unsigned n, limit;
} Seen;

static bool see(const X86Page *p, void *arg)
{
    Seen *s = arg;

    s->page[s->n++] = *p;
    return s->n < s->limit;
}

static X86Walked each(const X86Regs *r, Seen *s)
{
    unsigned tables = 100;

    return x86_each_page(r, mem, &tables, see, s);
}

static void test_no_paging(void **state)
{
    X86Regs r = { .cr0 = X86_CR0_PE };
    X86Page p;

    assert_true(x86_translate(&r, mem, 0x12345, &p));
    assert_int_equal(p.gpa, 0x12000);
    assert_int_equal(p.size, 4096);
    assert_int_equal(each(&r, NULL), X86_WALK_OFF);
}

static void test_modes(void **state)
{
    X86Regs r = { 0 };

    assert_int_equal(x86_mode(&r), X86_REAL);
    r.cr0 = X86_CR0_PE;
    assert_int_equal(x86_mode(&r), X86_PROTECTED16);
    r.seg[X86_CS].flags = 1u << 22;
    assert_int_equal(x86_mode(&r), X86_PROTECTED32);
    r.rflags = 1u << 17;
    assert_int_equal(x86_mode(&r), X86_REAL);
    r.rflags = 0;
    r.seg[X86_CS].flags = 1u << 21;
    r.efer = X86_EFER_LMA;
    assert_int_equal(x86_mode(&r), X86_LONG);
}

static void test_four_levels(void **state)
{
    X86Regs r = long_mode();
    Seen s = { .limit = 8 };
    X86Page p;

    put(0x1000 + 0 * 8, 0x2007);
    put(0x1000 + 511 * 8, 0x3003);             /* the upper half, for the kernel only */
    put(0x2000, 0x4007);
    put(0x4000 + 8, 0x5007);                   /* 2 MiB on: a table of 4 KiB pages */
    put(0x5000 + 3 * 8, X86_PTE_NX | 0xabc005);
    put(0x3000 + 510 * 8, 0x40000083);         /* 1 GiB */
    put(0x4000 + 2 * 8, 0x800087);             /* 2 MiB */
    assert_true(x86_translate(&r, mem, 0x203456, &p));
    assert_int_equal(p.va, 0x203000);
    assert_int_equal(p.gpa, 0xabc000);
    assert_int_equal(p.size, 4096);
    assert_int_equal(p.rights, X86_PTE_USER);
    assert_true(x86_translate(&r, mem, 0xffffffff80000000, &p));
    assert_int_equal(p.gpa, 0x40000000);
    assert_int_equal(p.size, 1u << 30);
    assert_int_equal(p.rights, X86_PTE_WRITE);
    assert_true(x86_translate(&r, mem, 0x4fffff, &p));
    assert_int_equal(p.gpa, 0x800000);
    assert_int_equal(p.va, 0x400000);
    assert_false(x86_translate(&r, mem, 0x204000, &p));
    assert_false(x86_translate(&r, mem, 0xff7f80000000, &p));      /* not canonical */
    assert_int_equal(each(&r, &s), X86_WALK_ALL);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.page[0].va, 0x203000);
    assert_int_equal(s.page[1].va, 0x400000);
    assert_int_equal(s.page[2].va, 0xffffffff80000000);
    assert_true(s.page[0].entry & X86_PTE_NX);
}

static void test_five_levels(void **state)
{
    X86Regs r = long_mode();
    X86Page p;

    r.cr4 |= X86_CR4_LA57;
    put(0x1000 + 256 * 8, 0x2003);
    put(0x2000, 0x3003);
    put(0x3000, 0x83);
    assert_true(x86_translate(&r, mem, 0xff00000000000123, &p));
    assert_int_equal(p.va, 0xff00000000000000);
    assert_int_equal(p.gpa, 0);
    assert_false(x86_translate(&r, mem, 0x0100000000000000, &p));
}

static void test_pae(void **state)
{
    X86Regs r = long_mode();
    X86Page p;

    r.efer = 0;
    r.cr3 = 0x1020;
    put(0x1020 + 3 * 8, 0x2001);               /* a root entry has no rights of its own */
    put(0x2000, 0x12300000087);
    assert_true(x86_translate(&r, mem, 0xc0000004, &p));
    assert_int_equal(p.gpa, 0x12300000000);
    assert_int_equal(p.rights, X86_PTE_WRITE | X86_PTE_USER);
    assert_true(x86_translate(&r, mem, 0xfffffff0c0000004, &p));
    assert_false(x86_translate(&r, mem, 0, &p));
}

static void test_two_levels(void **state)
{
    X86Regs r = long_mode();
    Seen s = { .limit = 1 };
    X86Page p;

    r.efer = 0;
    r.cr4 = X86_CR4_PSE;
    st32(ram->host + 0x1000, 0x2003);
    st32(ram->host + 0x1004, 0x00402083);      /* 4 MiB, above 4 GiB (PSE-36) */
    st32(ram->host + 0x2000 + 4 * 5, 0x77007);
    assert_true(x86_translate(&r, mem, 0x5678, &p));
    assert_int_equal(p.gpa, 0x77000);
    assert_int_equal(p.rights, X86_PTE_WRITE);
    assert_true(x86_translate(&r, mem, 0x401000, &p));
    assert_int_equal(p.gpa, 0x100400000);
    assert_int_equal(p.size, 4u << 20);
    assert_int_equal(each(&r, &s), X86_WALK_CUT);
    assert_int_equal(s.n, 1);                  /* it was told to stop */
    r.cr4 = 0;                                 /* no large pages: it is a table in a hole */
    assert_false(x86_translate(&r, mem, 0x401000, &p));
}

static void test_hostile(void **state)
{
    X86Regs r = long_mode();
    Seen s = { .limit = 3 };
    X86Page p;

    r.cr3 = 0xffffffffffff000;                 /* nowhere */
    assert_false(x86_translate(&r, mem, 0, &p));
    assert_int_equal(each(&r, &s), X86_WALK_ALL);
    assert_int_equal(s.n, 0);
    r.cr3 = RAM_SIZE - 4096;                   /* a table that is its own table */
    for (unsigned i = 0; i < 512; i++) {
        put(RAM_SIZE - 4096 + i * 8, (RAM_SIZE - 4096) | 7);
    }
    assert_true(x86_translate(&r, mem, 0x7fffffffffff, &p));
    assert_int_equal(each(&r, &s), X86_WALK_CUT);
    assert_int_equal(s.n, 3);

    for (unsigned i = 0; i < 512; i++) {       /* three levels that lead to one with nothing in it */
        put(0x1000 + i * 8, 0x2007);
        put(0x2000 + i * 8, 0x3007);
        put(0x3000 + i * 8, 0x4007);
    }
    r.cr3 = 0x1000;
    s.n = 0;
    unsigned tables = 1000;
    assert_int_equal(x86_each_page(&r, mem, &tables, see, &s), X86_WALK_CUT);
    assert_int_equal(tables, 0);
    assert_int_equal(s.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_paging),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_four_levels),
        cmocka_unit_test(test_five_levels),
        cmocka_unit_test(test_pae),
        cmocka_unit_test(test_two_levels),
        cmocka_unit_test(test_hostile),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, setup, teardown);
}
