/* smbios-test.c: the SMBIOS structures: walked by the specification's rules, and read by dmidecode. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "hw/board/smbios.h"
#include "util/bytes.h"
#include "util/thread.h"

#define SIGNATURE UINT64_C(0x078bfbfd00060fb1)

static const MachineType type = { .name = "pc-test-1.0", .desc = "A test PC" };

typedef struct Fixture {
    Machine m;
    SmbiosConfigData c;
    Smbios s;
} Fixture;

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->m.type = &type;
    f->m.cfg.smp = (CpuTopology){ 1, 1, 1, 1, 1, 1 };
    f->m.cfg.smbios = &f->c;
    f->m.cfg.ram_size = f->m.below_4g = 256 * MiB;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    smbios_clear(&f->s);
    g_clear_pointer(&f->c.blob, g_byte_array_unref);
    g_clear_pointer(&f->c.oem, g_ptr_array_unref);
    g_free(f);
    return 0;
}

static void set_ram(Fixture *f, uint64_t below, uint64_t above)
{
    f->m.below_4g = below;
    f->m.above_4g = above;
    f->m.cfg.ram_size = below + above;
}

static void build(Fixture *f)
{
    smbios_clear(&f->s);
    assert_true(smbios_build(&f->s, &f->m, SIGNATURE, NULL));
}

/* Structure @nth of @type, or NULL; *@count the number of all structures of that type. */
static const uint8_t *structure(const Fixture *f, unsigned type_id, unsigned nth, unsigned *count)
{
    const uint8_t *found = NULL, *p = f->s.tables->data, *end = p + f->s.tables->len;
    unsigned seen = 0;
    bool last = false;

    while (p < end) {
        const uint8_t *next = p + p[1];
        assert_false(last);                  /* nothing after the end-of-table structure */
        assert_true(p[1] >= 4 && next + 2 <= end);
        while (next[0] != 0 || next[1] != 0) {
            next++;
            assert_true(next + 2 <= end);
        }
        if (p[0] == type_id && seen++ == nth) {
            found = p;
        }
        last = p[0] == 127;
        p = next + 2;
    }
    assert_true(last);
    if (count != NULL) {
        *count = seen;
    }
    return found;
}

static const char *string_of(const uint8_t *s, unsigned field)
{
    const char *text = (const char *)s + s[1];

    if (s[field] == 0) {
        return "";
    }
    for (unsigned i = 1; i < s[field]; i++) {
        text += strlen(text) + 1;
    }
    return text;
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
    uint8_t all = 0;

    while (n-- > 0) {
        all += *p++;
    }
    return all;
}

static void defaults(void **state)
{
    Fixture *f = *state;
    const uint8_t *s;

    build(f);
    assert_null(structure(f, 0, 0, NULL));
    assert_null(structure(f, 2, 0, NULL));
    assert_null(structure(f, 11, 0, NULL));
    s = structure(f, 1, 0, NULL);
    assert_string_equal(string_of(s, 4), "QEMU");
    assert_string_equal(string_of(s, 5), "A test PC");
    assert_string_equal(string_of(s, 6), "pc-test-1.0");
    assert_int_equal(s[7], 0);
    s = structure(f, 4, 0, NULL);
    assert_int_equal(s[1], 42);
    assert_string_equal(string_of(s, 4), "CPU 0");
    assert_true(ld64(s + 8) == SIGNATURE);
    s = structure(f, 17, 0, NULL);
    assert_int_equal(ld16(s + 12), 256);
    assert_int_equal(s[1], 40);
    s = structure(f, 19, 0, NULL);
    assert_int_equal(ld32(s + 8), 256 * 1024 - 1);
}

static void uuid_fields_are_swapped(void **state)
{
    Fixture *f = *state;
    static char text[] = "12345678-9abc-def0-1122-334455667788";
    static const uint8_t want[16] = { 0x78, 0x56, 0x34, 0x12, 0xbc, 0x9a, 0xf0, 0xde,
                                      0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 };

    f->m.cfg.uuid = text;
    build(f);
    assert_memory_equal(structure(f, 1, 0, NULL) + 8, want, 16);
    f->c.system.uuid = "00000000-0000-0000-0000-000000000001";
    build(f);
    assert_int_equal(structure(f, 1, 0, NULL)[23], 1);
}

static void sockets_and_cores(void **state)
{
    Fixture *f = *state;
    const uint8_t *s;
    unsigned n;

    f->m.cfg.smp = (CpuTopology){ 2, 24, 3, 2, 2, 2 };
    build(f);
    s = structure(f, 4, 2, &n);
    assert_int_equal(n, 3);
    assert_int_equal(ld16(s + 2), 0x402);
    assert_string_equal(string_of(s, 4), "CPU 2");
    assert_int_equal(s[0x23], 4);
    assert_int_equal(s[0x25], 8);
}

static void many_cores_need_the_wide_fields(void **state)
{
    Fixture *f = *state;
    const uint8_t *s;

    f->c.entry64 = true;
    f->m.cfg.smp = (CpuTopology){ 288, 288, 1, 1, 288, 1 };
    build(f);
    s = structure(f, 4, 0, NULL);
    assert_int_equal(s[1], 48);
    assert_int_equal(s[0x23], 255);
    assert_int_equal(ld16(s + 0x2a), 288);
    assert_int_equal(ld16(s + 0x2e), 288);
}

static void memory_in_devices_and_ranges(void **state)
{
    Fixture *f = *state;
    const uint8_t *s;
    unsigned n;

    set_ram(f, 2 * GiB, 38 * GiB);
    build(f);
    s = structure(f, 17, 2, &n);
    assert_int_equal(n, 3);
    assert_int_equal(ld16(s + 12), 8 * 1024);
    s = structure(f, 19, 1, &n);
    assert_int_equal(n, 2);
    assert_int_equal(ld32(s + 4), 4 * MiB);
    assert_int_equal(ld32(s + 8), 42 * MiB - 1);
    set_ram(f, 2 * GiB, 4096 * GiB);
    build(f);
    s = structure(f, 16, 0, NULL);
    assert_int_equal(ld32(s + 7), 0x80000000);
    assert_true(ld64(s + 0x0f) == 4098 * GiB);
    s = structure(f, 19, 1, NULL);
    assert_int_equal(ld32(s + 4), UINT32_MAX);
    assert_true(ld64(s + 0x0f) == 4 * GiB && ld64(s + 0x17) == 4100 * GiB - 1);
}

static void what_people_say(void **state)
{
    Fixture *f = *state;
    const uint8_t *s;

    f->c.bios = (SmbiosBios){ .vendor = "V", .version = "1", .date = "01/02/2020", .wanted = true,
                              .uefi = true, .major = 3, .minor = 4 };
    f->c.baseboard = (SmbiosBaseboard){ .wanted = true, .product = "board", .location = "here" };
    f->c.chassis.sku = "sku";
    f->c.processor = (SmbiosProcessor){ .sock_pfx = "S", .has_id = true, .id = 7, .max_speed_mhz = 3000 };
    f->c.memory = (SmbiosMemory){ .loc_pfx = "L", .bank = "B", .speed_mhz = 1234 };
    f->c.oem = g_ptr_array_new();
    g_ptr_array_add(f->c.oem, (char *)"one");
    g_ptr_array_add(f->c.oem, (char *)"two");
    build(f);
    s = structure(f, 0, 0, NULL);
    assert_string_equal(string_of(s, 8), "01/02/2020");
    assert_int_equal(s[0x13], 0x1c);
    assert_int_equal(s[0x14], 3);
    s = structure(f, 2, 0, NULL);
    assert_string_equal(string_of(s, 5), "board");
    assert_string_equal(string_of(s, 10), "here");
    assert_int_equal(ld16(s + 11), 0x300);
    assert_string_equal(string_of(structure(f, 3, 0, NULL), 0x15), "sku");
    s = structure(f, 4, 0, NULL);
    assert_string_equal(string_of(s, 4), "S 0");
    assert_int_equal(ld64(s + 8), 7);
    assert_int_equal(ld16(s + 0x14), 3000);
    assert_int_equal(ld16(s + 0x16), 2000);
    s = structure(f, 11, 0, NULL);
    assert_int_equal(s[4], 2);
    assert_string_equal((const char *)s + 5, "one");
    assert_string_equal((const char *)s + 9, "two");
    assert_string_equal(string_of(structure(f, 17, 0, NULL), 0x10), "L 0");
}

static void files_replace_what_is_made(void **state)
{
    Fixture *f = *state;
    static const uint8_t good[] = { 3, 5, 0, 9, 0, 'x', 0, 0, 200, 4, 1, 9, 0, 0, 127, 4, 0, 0, 0, 0 };
    unsigned n;

    assert_true(smbios_add_blob(&f->c, good, sizeof(good), "f", NULL));
    build(f);
    assert_int_equal(ld16(structure(f, 3, 0, &n) + 2), 0x900);
    assert_int_equal(n, 1);
    assert_non_null(structure(f, 200, 0, NULL));
}

static void broken_files(void **state)
{
    static const struct { uint8_t bytes[8]; size_t n; } rows[] = {
        { { 1 }, 1 },
        { { 1, 3, 0, 0, 0, 0 }, 6 },                          /* shorter than a header */
        { { 1, 200, 0, 0, 0, 0 }, 6 },                        /* longer than the file */
        { { 1, 4, 0, 0, 'x', 0 }, 6 },                        /* strings do not end */
        { { 1, 4, 0, 0, 0 }, 5 },
        { { 1, 4, 0, 0, 0, 0, 1 }, 7 },                       /* rest after a whole one */
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        Fixture *f = *state;
        g_autoptr(Error) e = NULL;
        assert_false(smbios_add_blob(&f->c, rows[i].bytes, rows[i].n, "file.bin", &e));
        assert_non_null(strstr(error_text(e), "file.bin"));
    }
}

static void too_much_for_the_small_entry_point(void **state)
{
    Fixture *f = *state;
    g_autofree uint8_t *big = g_malloc0(60000);
    g_autoptr(Error) e = NULL;

    big[0] = 200;
    big[1] = 4;
    memset(big + 4, 'x', 60000 - 6);
    assert_true(smbios_add_blob(&f->c, big, 60000, "f", NULL));
    assert_true(smbios_add_blob(&f->c, big, 60000, "f", NULL));
    assert_false(smbios_build(&f->s, &f->m, 0, &e));
    assert_non_null(strstr(error_advice(e), "smbios-entry-point-type=64"));
    f->c.entry64 = true;
    build(f);
}

typedef struct Placed {
    uint8_t low[0x100000];
    Gpa high_at;
    size_t high_size;
} Placed;

static bool place(Gpa at, const void *bytes, size_t n, void *arg)
{
    Placed *p = arg;

    if (at + n <= sizeof(p->low)) {
        memcpy(p->low + at, bytes, n);
    } else {
        p->high_at = at;
        p->high_size = n;
    }
    return true;
}

static void placed_as_firmware_does(void **state)
{
    Fixture *f = *state;
    Placed *p = g_new0(Placed, 1);
    Gpa at = 0xf0024, high = 0x8000000;

    build(f);
    assert_true(smbios_place(&f->s, &at, 0x100000, &high, place, p));
    assert_memory_equal(p->low + 0xf0030, "_SM_", 4);
    assert_int_equal(sum(p->low + 0xf0030, 31), 0);
    assert_int_equal(sum(p->low + 0xf0040, 15), 0);
    assert_memory_equal(p->low + ld32(p->low + 0xf0030 + 24), f->s.tables->data, f->s.tables->len);
    assert_int_equal(ld16(p->low + 0xf0030 + 28), 8);
    f->c.entry64 = true;
    build(f);
    at = 0xf0000;
    assert_true(smbios_place(&f->s, &at, 0xf0040, &high, place, p));
    assert_memory_equal(p->low + 0xf0000, "_SM3_", 5);
    assert_int_equal(sum(p->low + 0xf0000, 24), 0);
    assert_true(ld64(p->low + 0xf0010) == p->high_at && p->high_at == high);
    assert_int_equal(p->high_size, f->s.tables->len);
    assert_false(smbios_place(&f->s, &at, at + 8, &high, place, p));
    g_free(p);
}

/* A file of the form that "dmidecode --from-dump" takes: anchor first, tables behind it. */
static void write_dump(const Fixture *f, const char *path)
{
    Placed *p = g_new0(Placed, 1);
    Gpa at = 0, high = 1 * MiB;

    assert_true(smbios_place(&f->s, &at, 1 * MiB, &high, place, p));
    assert_true(g_file_set_contents(path, (char *)p->low, at, NULL));
    g_free(p);
}

static void dmidecode_has_nothing_to_say(void **state)
{
    Fixture *f = *state;
    g_autofree char *dmidecode = g_find_program_in_path("dmidecode");
    g_autofree char *sbin = dmidecode == NULL ? g_strdup("/usr/sbin/dmidecode") : NULL;
    char path[] = "/tmp/rhea-smbios-XXXXXX";
    int fd;

    if (dmidecode == NULL && access(sbin, X_OK) != 0) {
        skip();
    }
    fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    f->c.bios.wanted = f->c.baseboard.wanted = true;
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *out = NULL, *err = NULL;
        char *argv[] = { dmidecode != NULL ? dmidecode : sbin, (char *)"--from-dump", path, NULL };
        int status = -1;
        f->c.entry64 = i & 1;
        set_ram(f, 2 * GiB, (i & 2) ? 5000 * GiB : 0);
        build(f);
        write_dump(f, path);
        assert_true(g_spawn_sync(NULL, argv, NULL, 0, NULL, NULL, &out, &err, &status, NULL));
        assert_int_equal(status, 0);
        assert_string_equal(err, "");
        assert_non_null(strstr(out, f->c.entry64 ? "SMBIOS 3.0.0 present" : "SMBIOS 2.8 present"));
        assert_non_null(strstr(out, "End Of Table"));
        assert_null(strstr(out, "<BAD INDEX>"));
        assert_null(strstr(out, "<OUT OF SPEC>"));
        assert_null(strstr(out, "Wrong DMI"));
        assert_null(strstr(out, "Invalid"));
    }
    unlink(path);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(defaults), T(uuid_fields_are_swapped), T(sockets_and_cores), T(many_cores_need_the_wide_fields),
        T(memory_in_devices_and_ranges), T(what_people_say), T(files_replace_what_is_made), T(broken_files),
        T(too_much_for_the_small_entry_point), T(placed_as_firmware_does), T(dmidecode_has_nothing_to_say),
    };

    thread_become_control();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
