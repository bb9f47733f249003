/* acpi-test.c: AML encodings, the table loader, and every table of both boards: summed, walked, and taken
 * apart and put together again by iasl without a complaint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "hw/acpi/aml.h"
#include "hw/acpi/tables.h"
#include "hw/pci/host.h"
#include "util/bytes.h"
#include "util/thread.h"

/* --- AML --- */

/* @take_aml is @want, written in hex. */
static void check_aml(int line, Aml *take_aml, const char *want)
{
    g_autoptr(GString) hex = g_string_new(NULL);

    for (unsigned i = 0; i < take_aml->len; i++) {
        g_string_append_printf(hex, "%02x", take_aml->data[i]);
    }
    if (strcmp(hex->str, want) != 0) {
        fail_msg("line %d: %s, not %s", line, hex->str, want);
    }
    g_byte_array_unref(take_aml);
}

#define AML_IS(aml, want) check_aml(__LINE__, aml, want)

static void integers(void **state)
{
    AML_IS(aml_int(0), "00");
    AML_IS(aml_int(1), "01");
    AML_IS(aml_int(2), "0a02");
    AML_IS(aml_int(0xff), "0aff");
    AML_IS(aml_int(0x100), "0b0001");
    AML_IS(aml_int(0xffff), "0bffff");
    AML_IS(aml_int(0x10000), "0c00000100");
    AML_IS(aml_int(UINT32_MAX), "0cffffffff");
    AML_IS(aml_int(UINT64_C(1) << 32), "0e0000000001000000");
    AML_IS(aml_eisaid("PNP0A08"), "0c41d00a08");
    AML_IS(aml_str("ab"), "0d616200");
    AML_IS(aml_local(2), "62");
    AML_IS(aml_arg(1), "69");
}

static void names(void **state)
{
    AML_IS(aml_path("A"), "415f5f5f");
    AML_IS(aml_path("_SB"), "5f53425f");
    AML_IS(aml_path("\\_SB"), "5c5f53425f");
    AML_IS(aml_path("^^ABCD"), "5e5e41424344");
    AML_IS(aml_path("A.BC"), "2e415f5f5f42435f5f");
    AML_IS(aml_path("\\A.B.C"), "5c2f03415f5f5f425f5f5f435f5f5f");
    AML_IS(aml_path("\\"), "5c00");
    AML_IS(aml_name("X", aml_int(1)), "08585f5f5f01");
}

/* A buffer whose package length field counts @total bytes in all begins with @want. */
static void check_length(unsigned total, unsigned field, const char *want)
{
    g_autofree uint8_t *zeroes = g_malloc0(total);
    unsigned n = total - field;
    Aml *size, *a;
    unsigned payload;

    for (payload = n; ; payload--) {                          /* the size integer is part of the contents */
        size = aml_int(payload);
        unsigned len = size->len;
        g_byte_array_unref(size);
        if (len + payload <= n) {
            break;
        }
    }
    a = aml_buffer(zeroes, payload);
    assert_int_equal(a->len, 1 + total);
    g_byte_array_set_size(a, 1 + field);
    AML_IS(a, want);
}

static void package_lengths(void **state)
{
    check_length(0x3f, 1, "113f");
    check_length(0x41, 2, "114104");         /* 0x40 in all would fit one byte less: two start here */
    check_length(0xfff, 2, "114fff");
    check_length(0x1001, 3, "11810001");
    check_length(0xfffff, 3, "118fffff");
    check_length(0x100002, 4, "11c2000001");
}

static void statements(void **state)
{
    AML_IS(aml_method("M", 2, true, aml_return(aml_int(0))), "14084d5f5f5f0aa400");
    AML_IS(aml_if(aml_lnot(aml_equal(aml_arg(0), aml_int(1))), aml_store(aml_int(0), aml_local(0))),
           "a00892936801700060");
    AML_IS(aml_and(aml_local(0), aml_int(15)), "7b600a0f00");
    AML_IS(aml_mutex("M"), "5b014d5f5f5f00");
    AML_IS(aml_acquire("M"), "5b234d5f5f5fffff");
    AML_IS(aml_region("R", AML_SYSTEM_IO, 0x600, 4), "5b80525f5f5f010b00060a04");
    AML_IS(aml_field("R", 1, aml_field_unit("F", 8)), "5b810b525f5f5f41465f5f5f08");
    AML_IS(aml_field_unit(NULL, 64), "004004");
    AML_IS(aml_notify("D", aml_int(1)), "86445f5f5f01");
    AML_IS(aml_create_dword_field(aml_arg(3), 8, "W"), "8a6b0a08575f5f5f");
    AML_IS(aml_while(aml_int(1), aml_store(aml_int(1), aml_local(0))), "a20501700160");
    AML_IS(aml_else(aml_return(aml_int(1))), "a103a401");
}

static void resources(void **state)
{
    AML_IS(aml_resources(aml_res_irq_noflags(9)), "11080a052200027900");
    AML_IS(aml_res_io(0x60, 0x64, 1, 5), "47016000640001" "05");
    AML_IS(aml_res_dma(2), "2a0400");
    AML_IS(aml_res_interrupt(16), "890600" "09" "01" "10000000");
    AML_IS(aml_res_fixed_memory(0xfed00000, 0x400, false), "86090000" "0000d0fe" "00040000");
    AML_IS(aml_res_bus(0, 255), "880d00" "020c00" "0000" "0000" "ff00" "0000" "0001");
    AML_IS(aml_res_qword_memory(true, UINT64_C(1) << 32, (UINT64_C(2) << 32) - 1),
           "8a2b00" "000c03" "0000000000000000" "0000000001000000" "ffffffff01000000" "0000000000000000"
           "0000000001000000");
}

/* --- the loader --- */

typedef struct Ram {
    uint8_t *at_0;
    size_t size;
} Ram;

static bool put(Gpa at, const void *bytes, size_t n, void *arg)
{
    Ram *r = arg;

    if (!fits(at, n, r->size)) {
        return false;
    }
    memcpy(r->at_0 + at, bytes, n);
    return true;
}

static void loader_commands(void **state)
{
    Linker *l = linker_new();
    uint8_t ram[0x1000] = { 0 };
    Ram r = { ram, sizeof(ram) };
    Gpa high = 0xff3, fseg = 0x101;
    const GByteArray *script;

    g_byte_array_append(linker_file(l, "a", 64, ZONE_HIGH), (const uint8_t *)"\1\2\3\0\0\0\0\0", 8);
    g_byte_array_append(linker_file(l, "b", 16, ZONE_FSEG), (const uint8_t *)"\2\0\0\0\0", 5);
    linker_pointer(l, "b", 0, 4, "a");
    linker_checksum(l, "b", 4, 0, 5);
    script = linker_script(l);
    assert_int_equal(script->len, 4 * 128);
    assert_int_equal(ld32(script->data), 1);
    assert_int_equal(ld32(script->data + 60), 64);
    assert_int_equal(script->data[64], 1);
    assert_int_equal(ld32(script->data + 256), 2);
    assert_string_equal((const char *)script->data + 260, "b");
    assert_string_equal((const char *)script->data + 316, "a");
    assert_int_equal(script->data[376], 4);
    assert_true(linker_place(l, &high, &fseg, put, &r));
    assert_int_equal(high, 0xfc0);
    assert_int_equal(linker_address(l, "b"), 0x110);
    assert_int_equal(ld32(ram + 0x110), 0xfc2);
    assert_int_equal((uint8_t)(ram[0x110] + ram[0x111] + ram[0x114]), 0);
    high = 4;                                                 /* no room */
    fseg = 0;
    assert_false(linker_place(l, &high, &fseg, put, &r));
    linker_free(l);
}

/* --- tables --- */

static uint32_t wide_ids(const CpuTopology *t, unsigned index)
{
    return index;
}

static MachineNode nodes[3];
static uint16_t cpu_nodes[288];

typedef struct Row {
    const char *name;
    bool q35, no_hpet, s3, pvpanic, numa, distances, cpus_stay, bridges;
    unsigned cpus, max_cpus, serial_ports, slots;
    uint64_t below, above;
    const char *tables;        /* signatures, in the order of the XSDT */
} Row;

static const Row rows[] = {
    { .name = "pc", .cpus = 1, .max_cpus = 1, .below = 128 * MiB, .s3 = true, .serial_ports = 1,
      .tables = "FACP APIC HPET WAET " },
    { .name = "pc small", .cpus = 1, .max_cpus = 1, .below = 4 * MiB, .no_hpet = true, .cpus_stay = true,
      .tables = "FACP APIC WAET " },
    { .name = "q35", .q35 = true, .cpus = 2, .max_cpus = 4, .below = 2 * GiB, .above = 3 * GiB, .s3 = true,
      .serial_ports = 15, .pvpanic = true, .tables = "FACP APIC HPET MCFG WAET " },
    { .name = "q35 288", .q35 = true, .cpus = 288, .max_cpus = 288, .below = 2 * GiB,
      .tables = "FACP APIC HPET MCFG WAET " },
    { .name = "pc numa", .cpus = 3, .max_cpus = 6, .below = 512 * MiB, .numa = true,
      .tables = "FACP APIC HPET SRAT WAET " },
    { .name = "q35 numa", .q35 = true, .cpus = 288, .max_cpus = 288, .below = 512 * MiB, .above = 1 * GiB,
      .numa = true, .distances = true, .slots = 256, .tables = "FACP APIC HPET MCFG SRAT SLIT WAET " },
    { .name = "pc bridges", .cpus = 1, .max_cpus = 1, .below = 128 * MiB, .bridges = true,
      .tables = "FACP APIC HPET WAET " },
    { .name = "q35 bridges", .q35 = true, .cpus = 1, .max_cpus = 1, .below = 128 * MiB, .bridges = true,
      .tables = "FACP APIC HPET MCFG WAET " },
};

typedef struct Fixture {
    Machine m;
    AcpiBoard b;
    Linker *l;
    Ram ram;                   /* 8 MiB: tables end at its top, RSDP in the F segment */
    Gpa rsdp;
} Fixture;

static void set_nodes(Fixture *f, const Row *r)
{
    f->m.cfg.numa = nodes;
    f->m.cfg.numa_nodes = 3;
    f->m.cfg.cpu_node = cpu_nodes;
    memset(nodes, 0, sizeof(nodes));
    nodes[0].mem = 256 * MiB;
    nodes[1].mem = r->below + r->above - 256 * MiB;           /* node 2 has processors only */
    for (unsigned i = 0; i < ARRAY_LEN(cpu_nodes); i++) {
        cpu_nodes[i] = i % 3;
    }
    if (r->distances) {
        nodes[0].distance[1] = 30;
    }
}

/* What is hot-plugged by ACPI: the root bus on pc; behind two bridges one below the other, and a third. */
static void set_buses(AcpiBoard *b, const Row *r)
{
    int root = r->q35 ? -1 : 0;

    if (!r->q35) {
        b->pci_buses[b->pci_bus_count++] = (AcpiPciBus){ .parent = -1, .root = true };
    }
    for (unsigned i = 0; r->bridges && i < 3; i++) {
        b->pci_buses[b->pci_bus_count] = (AcpiPciBus){
            .parent = i == 1 ? (int)b->pci_bus_count - 1 : root, .one_slot = r->q35 && i != 1,
            .devfn = (uint8_t)(i == 1 ? 0 : 0x18 + i), .selector = b->pci_bus_count,
        };
        b->pci_bus_count++;
    }
}

static GPtrArray *users;       /* for the next build(): tables of the user's */

static Fixture *build(const Row *r)
{
    Fixture *f = g_new0(Fixture, 1);
    Gpa fseg = 0xf0000, high;

    f->m.cfg.smp = (CpuTopology){ r->cpus, r->max_cpus, 1, 1, r->max_cpus, 1 };
    f->m.cfg.acpi_tables = users;
    f->m.below_4g = r->below;
    f->m.above_4g = r->above;
    f->m.cfg.ram_size = r->below + r->above;
    if (r->numa) {
        set_nodes(f, r);
    }
    if (r->slots > 0) {
        f->m.memory_area = (MemoryArea){ .base = 6 * GiB, .size = 512 * GiB };
    }
    f->b = (AcpiBoard){
        .cpuhp_io = r->cpus_stay ? 0 : 0xaf00, .memhp_io = 0xa00, .memory_slots = r->slots,
        .q35 = r->q35, .pm_base = 0x600, .gpe0 = r->q35 ? 0x620 : 0xafe0, .gpe0_len = r->q35 ? 16 : 4,
        .acpi_enable = 2, .acpi_disable = 3, .ecam = r->q35 ? 0xb0000000 : 0,
        .pci32_start = 0xc0000000, .pci32_end = 0xfebfffff,
        .pci64_start = 64 * GiB, .pci64_end = 96 * GiB - 1,
        .hpet = !r->no_hpet, .pvpanic = r->pvpanic, .fw_cfg = true, .s3 = r->s3, .s4 = true,
        .serial_ports = r->serial_ports, .ps2 = true, .apic_id = wide_ids,
        .pcihp_io = r->q35 ? r->bridges ? 0x0cc0 : 0 : 0xae00,
    };
    set_buses(&f->b, r);
    f->l = linker_new();
    acpi_build(f->l, &f->m, &f->b);
    high = f->ram.size = 8 * MiB;
    f->ram.at_0 = g_malloc0(f->ram.size);
    assert_true(linker_place(f->l, &high, &fseg, put, &f->ram));
    f->rsdp = linker_address(f->l, ACPI_RSDP_FILE);
    return f;
}

static void drop(Fixture *f)
{
    linker_free(f->l);
    g_free(f->ram.at_0);
    g_free(f);
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t all = 0;

    while (n-- > 0) {
        all += *p++;
    }
    return all;
}

static const uint8_t *xsdt(const Fixture *f)
{
    return f->ram.at_0 + ld64(f->ram.at_0 + f->rsdp + 24);
}

/* Table @signature by the XSDT, or NULL. */
static const uint8_t *table(const Fixture *f, const char *signature)
{
    const uint8_t *x = xsdt(f);

    for (unsigned i = 36; i < ld32(x + 4); i += 8) {
        const uint8_t *t = f->ram.at_0 + ld64(x + i);
        if (memcmp(t, signature, 4) == 0) {
            return t;
        }
    }
    return NULL;
}

static void roots_and_sums(void **state)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        Fixture *f = build(&rows[i]);
        const uint8_t *x = xsdt(f), *rsdt = f->ram.at_0 + ld32(f->ram.at_0 + f->rsdp + 16), *fadt, *dsdt;
        g_autoptr(GString) seen = g_string_new(NULL);
        assert_memory_equal(f->ram.at_0 + f->rsdp, "RSD PTR ", 8);
        assert_int_equal(sum(f->ram.at_0 + f->rsdp, 20), 0);
        assert_int_equal(sum(f->ram.at_0 + f->rsdp, 36), 0);
        assert_int_equal(sum(x, ld32(x + 4)), 0);
        assert_int_equal(sum(rsdt, ld32(rsdt + 4)), 0);
        assert_int_equal((ld32(rsdt + 4) - 36) / 4, (ld32(x + 4) - 36) / 8);
        for (unsigned n = 0; 36 + 8 * n < ld32(x + 4); n++) {
            const uint8_t *t = f->ram.at_0 + ld64(x + 36 + 8 * n);
            assert_int_equal(ld32(rsdt + 36 + 4 * n), ld64(x + 36 + 8 * n));
            assert_int_equal(sum(t, ld32(t + 4)), 0);
            g_string_append_len(seen, (const char *)t, 4);
            g_string_append_c(seen, ' ');
        }
        assert_string_equal(seen->str, rows[i].tables);
        fadt = table(f, "FACP");
        dsdt = f->ram.at_0 + ld32(fadt + 40);
        assert_memory_equal(dsdt, "DSDT", 4);
        assert_int_equal(sum(dsdt, ld32(dsdt + 4)), 0);
        assert_int_equal(ld64(fadt + 140), ld32(fadt + 40));
        assert_memory_equal(f->ram.at_0 + ld32(fadt + 36), "FACS", 4);
        assert_int_equal(ld32(fadt + 36) % 64, 0);
        assert_int_equal(ld32(fadt + 4), 244);
        drop(f);
    }
}

/* Entries of @type in the MADT or SRAT @t whose list begins at @at. */
static unsigned entries(const uint8_t *t, unsigned at, unsigned type, unsigned *last)
{
    unsigned n = 0;

    for (; at < ld32(t + 4); at += t[at + 1]) {
        assert_true(t[at + 1] >= 2);
        if (t[at] == type) {
            *last = at;
            n++;
        }
    }
    assert_int_equal(at, ld32(t + 4));
    return n;
}

static void processors(void **state)
{
    Fixture *f = build(&rows[3]);
    const uint8_t *madt = table(f, "APIC");
    unsigned last;

    assert_int_equal(entries(madt, 44, 0, &last), 255);
    assert_int_equal(madt[last + 3], 254);
    assert_int_equal(entries(madt, 44, 9, &last), 33);
    assert_int_equal(ld32(madt + last + 4), 287);
    assert_int_equal(ld32(madt + last + 8), 1);
    assert_int_equal(ld32(madt + last + 12), 287);
    assert_int_equal(entries(madt, 44, 2, &last), 5);
    assert_int_equal(entries(madt, 44, 1, &last), 1);
    assert_int_equal(entries(madt, 44, 4, &last), 1);
    assert_int_equal(entries(madt, 44, 10, &last), 1);        /* NMI of the x2APICs */
    drop(f);
    f = build(&rows[2]);
    madt = table(f, "APIC");
    assert_int_equal(entries(madt, 44, 0, &last), 4);
    assert_int_equal(ld32(madt + last + 4), 0);               /* absent: not enabled */
    assert_int_equal(entries(madt, 44, 10, &last), 0);
    drop(f);
}

/* A table of the user's is listed, with a right sum; the MADT can be made to say who is there. */
static void tables_of_the_user(void **state)
{
    static const uint8_t mine[40] = "MINE\0\0\0\0\2\x55" "MAKER MYTABLE \1\0\0\0" "ME  \1\0\0\0" "DATA";
    GPtrArray *all = g_ptr_array_new();
    GByteArray *t = g_byte_array_new();
    Device there, *cpus[4] = { &there, NULL, NULL, &there };
    Fixture *f;
    unsigned at, len;

    g_byte_array_append(t, mine, sizeof(mine));
    g_ptr_array_add(all, t);
    users = all;
    f = build(&rows[2]);
    users = NULL;
    assert_non_null(table(f, "MINE"));
    assert_int_equal(ld32(table(f, "MINE") + 4), 40);
    assert_int_equal(sum(table(f, "MINE"), 40), 0);
    assert_memory_equal(table(f, "MINE") + 36, "DATA", 4);
    f->m.cpus.dev = cpus;
    f->m.cpus.count = 4;
    acpi_refresh(f->l, &f->m, &at, &len);
    const uint8_t *madt = linker_blob(f->l, ACPI_TABLES_FILE)->data + at;
    assert_memory_equal(madt, "APIC", 4);
    assert_int_equal(len, ld32(madt + 4));
    assert_int_equal(sum(madt, len), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(ld32(madt + 44 + 8 * i + 4), cpus[i] != NULL);
    }
    drop(f);
    g_byte_array_unref(t);
    g_ptr_array_unref(all);
}

static void numa_nodes_cover_ram(void **state)
{
    Fixture *f = build(&rows[5]);
    const uint8_t *srat = table(f, "SRAT"), *slit = table(f, "SLIT");
    uint64_t covered = 0, hot = 0, end = 0;
    unsigned last;

    assert_int_equal(entries(srat, 48, 0, &last), 255);
    assert_int_equal(entries(srat, 48, 2, &last), 33);
    for (unsigned at = 48; at < ld32(srat + 4); at += srat[at + 1]) {
        if (srat[at] == 1) {
            assert_true(ld64(srat + at + 8) >= end);
            end = ld64(srat + at + 8) + ld64(srat + at + 16);
            *(ld32(srat + at + 28) & 2 ? &hot : &covered) += ld64(srat + at + 16);
        }
    }
    assert_true(covered == 512 * MiB + 1 * GiB - 384 * KiB);
    assert_true(end == 6 * GiB + 512 * GiB);
    assert_true(hot == 512 * GiB);                            /* where memory may come */
    assert_int_equal(ld64(slit + 36), 3);
    assert_int_equal(slit[44], 10);
    assert_int_equal(slit[45], 30);
    assert_int_equal(slit[46], 20);
    drop(f);
}

static Aml *list2(Aml *a, Aml *b)
{
    aml_add(a, b);
    return a;
}

/* The routing packages in the DSDT are what the chipsets' wiring functions say. */
static void routing_follows_the_wiring(void **state)
{
    for (unsigned board = 0; board < 2; board++) {
        Fixture *f = build(&rows[board == 0 ? 0 : 2]);
        const uint8_t *dsdt = f->ram.at_0 + ld32(table(f, "FACP") + 40);
        g_autoptr(GByteArray) all = aml_list();
        for (unsigned slot = 0; slot < 32; slot++) {
            for (unsigned pin = 0; pin < 4; pin++) {
                unsigned pirq = board == 0 ? piix3_pirq(slot, pin) : ich9_pirq(slot, pin);
                char link[] = { 'L', 'N', 'K', 'A' + pirq, 0 };
                aml_add(all, aml_package(4, list2(list2(aml_int(slot << 16 | 0xffff), aml_int(pin)),
                                                  list2(aml_path(link), aml_int(0)))));
            }
        }
        assert_non_null(memmem(dsdt, ld32(dsdt + 4), all->data, all->len));
        drop(f);
    }
}

/* --- iasl --- */

static char *iasl_path;

/* Runs iasl in @dir; its whole output. */
static char *iasl(const char *dir, const char *a, const char *b, const char *c)
{
    char *argv[] = { iasl_path, (char *)a, (char *)b, (char *)c, NULL };
    char *out = NULL, *err = NULL, *both;
    int status = -1;

    assert_true(g_spawn_sync(dir, argv, NULL, 0, NULL, NULL, &out, &err, &status, NULL));
    both = g_strconcat(out, err, NULL);
    if (status != 0) {
        fail_msg("iasl %s %s %s failed:\n%s", a, b, c != NULL ? c : "", both);
    }
    g_free(out);
    g_free(err);
    return both;
}

static void no_word_of(const char *text, const char *what, const char *row)
{
    if (strstr(text, what) != NULL) {
        fail_msg("%s: \"%s\" in:\n%s", row, what, text);
    }
}

/* Takes @t apart and compiles it again. */
static void check_with_iasl(const char *dir, const Row *r, const uint8_t *t)
{
    g_autofree char *name = g_strdup_printf("%.4s.dat", (const char *)t);
    g_autofree char *source = g_strdup_printf("%.4s.dsl", (const char *)t);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *apart = NULL, *again = NULL;

    assert_true(g_file_set_contents(path, (const char *)t, ld32(t + 4), NULL));
    apart = iasl(dir, "-d", name, NULL);
    no_word_of(apart, "Error", r->name);
    no_word_of(apart, "Warning", r->name);
    no_word_of(apart, "Invalid", r->name);
    again = iasl(dir, "-we", source, NULL);
    if (strstr(again, "Compilation successful. 0 Errors, 0 Warnings") == NULL &&
        strstr(again, "Table Input") == NULL) {
        fail_msg("%s: %s", r->name, again);
    }
    no_word_of(again, "Warning  ", r->name);
    no_word_of(again, "Error  ", r->name);
}

/* Evaluates _DSM of slot 5 by ACPICA, whose registers are memory: the index told is the slot selected. */
static void check_naming(const char *dir, const Row *r)
{
    static const struct { const char *call, *want; } rows_of_dsm[] = {
        { "2 0", "0000: 81 " }, { "2 7", "[Integer] = 0000000000000005" }, { "1 7", "0000: 00 " },
        { "2 6", "0000: 00 " },
    };
    g_autofree char *tool = g_find_program_in_path("acpiexec");

    for (unsigned i = 0; tool != NULL && i < ARRAY_LEN(rows_of_dsm); i++) {
        g_autofree char *out = NULL;
        g_autofree char *line = g_strdup_printf(
            "evaluate \\_SB.PCI0.S28_._DSM (D0 37 C9 E5 53 35 7A 4D 91 17 EA 4D 19 C3 43 4D) %s (00)",
            rows_of_dsm[i].call);
        char *argv[] = { tool, (char *)"-b", line, (char *)"DSDT.dat", NULL };

        assert_true(g_spawn_sync(dir, argv, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, &out, NULL, NULL,
                                 NULL));
        if (strstr(out, rows_of_dsm[i].want) == NULL) {
            fail_msg("%s: _DSM %s: no \"%s\" in:\n%s", r->name, rows_of_dsm[i].call, rows_of_dsm[i].want,
                     out);
        }
    }
}

static void empty_folder(const char *dir)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d)) != NULL) {
        g_autofree char *path = g_build_filename(dir, name, NULL);
        unlink(path);
    }
    g_dir_close(d);
}

static void iasl_finds_nothing(void **state)
{
    g_autofree char *dir = g_dir_make_tmp("rhea-acpi-XXXXXX", NULL);

    iasl_path = g_find_program_in_path("iasl");
    if (iasl_path == NULL) {
        rmdir(dir);
        skip();
    }
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        Fixture *f = build(&rows[i]);
        const uint8_t *x = xsdt(f), *fadt = table(f, "FACP");
        for (unsigned at = 36; at < ld32(x + 4); at += 8) {
            check_with_iasl(dir, &rows[i], f->ram.at_0 + ld64(x + at));
        }
        check_with_iasl(dir, &rows[i], f->ram.at_0 + ld32(fadt + 40));
        if (!rows[i].q35 && f->b.pci_bus_count > 0 && f->b.pci_buses[0].root) {
            check_naming(dir, &rows[i]);
        }
        empty_folder(dir);
        drop(f);
    }
    rmdir(dir);
    g_free(iasl_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers), cmocka_unit_test(names), cmocka_unit_test(package_lengths),
        cmocka_unit_test(statements), cmocka_unit_test(resources), cmocka_unit_test(loader_commands),
        cmocka_unit_test(roots_and_sums), cmocka_unit_test(processors),
        cmocka_unit_test(tables_of_the_user),
        cmocka_unit_test(numa_nodes_cover_ram), cmocka_unit_test(routing_follows_the_wiring),
        cmocka_unit_test(iasl_finds_nothing),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
