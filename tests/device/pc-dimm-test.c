/* pc-dimm-test.c: DIMMs find their slots and addresses, and give their back ends back. */
#include "core/ram.h"
#include "tests/device/bench.h"
#include "tests/device/device-test.h"
#include "util/bytes.h"

extern const DeviceType pc_dimm_type;

static Bench *b;
static RamBlock *ram[3];

static void *find_memory(const char *id, Error **errp)
{
    return ram_find(id);
}

static const char *id_of_memory(void *target)
{
    return ((RamBlock *)target)->id;
}

static int setup(void **state)
{
    static const LinkClass memory = { "memory-backend", find_memory, id_of_memory };

    b = bench_new();
    link_class_register(&memory);
    ram[0] = ram_new_anon("m0", 128 * MiB, NULL);
    ram[1] = ram_new_anon("m1", 64 * MiB, NULL);
    ram[2] = ram_new_anon("m2", 1 * MiB, NULL);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    for (unsigned i = 0; i < 3; i++) {
        ram_free(ram[i]);
    }
    epoch_flush();
    return 0;
}

static void test_places(void **state)
{
    Device *a = bench_device(b, &pc_dimm_type, "a", "memdev", "m0", NULL);
    Device *c = bench_device(b, &pc_dimm_type, "c", "memdev", "m1", "slot", "3", NULL);
    g_autofree char *slot = device_get(a, "slot"), *addr = device_get(c, "addr");

    assert_string_equal(slot, "0");
    assert_string_equal(addr, "4429185024");       /* right behind the first */
    assert_int_equal(b->dimms_plugged, 2);
    assert_int_equal(memory_device_total(b->m), 192 * MiB);
    assert_int_equal(b->m->dimm_ranges[3].size, 64 * MiB);
    bench_write32(b, BENCH_MEMORY_AREA + 128 * MiB, 0x12345678);
    assert_int_equal(ld32(ram[1]->host), 0x12345678);
    assert_non_null(bench_slot_at(b, BENCH_MEMORY_AREA));
    bench_remove(b, a);
    assert_null(bench_slot_at(b, BENCH_MEMORY_AREA));
    assert_false(ram[0]->in_use);
    assert_int_equal(b->dimms_unplugged, 1);
    a = bench_device(b, &pc_dimm_type, "again", "memdev", "m0", "addr", "0x110000000", "node", "0", NULL);
    assert_int_equal(b->m->memory_area.first->size, 64 * MiB);
    assert_true(a->type->slot->unplug_request(a, NULL));
    assert_int_equal(b->dimms_asked, 1);
}

static void refused(const char *memdev, const char *prop, const char *value, const char *why)
{
    Error *err = NULL;

    assert_null(bench_try_device(b, &pc_dimm_type, "bad", &err, "memdev", memdev, prop, value, NULL));
    if (strstr(error_text(err), why) == NULL) {
        fail_msg("\"%s\", not \"%s\"", error_text(err), why);
    }
    error_free(err);
}

static void test_refused(void **state)
{
    Error *err = NULL;

    bench_device(b, &pc_dimm_type, "a", "memdev", "m0", "slot", "1", NULL);
    refused("m0", "slot", "2", "can't use already busy memdev: m0");
    refused("m1", "slot", "1", "slot 1 is busy");
    refused("m1", "slot", "9", "invalid slot number 9, valid range is [0-3]");
    refused("m1", "node", "5", "exceeds the number of numa nodes: 1");
    refused("m1", "addr", "0x100000001", "address must be aligned to 0x200000 bytes");
    refused("m1", "addr", "0x104000000", "address range conflicts with memory device id='a'");
    refused("m1", "addr", "0x40000000", "usable range for memory devices");
    refused("m2", "slot", "0", "backend memory size must be multiple of 0x200000");
    assert_null(bench_try_device(b, &pc_dimm_type, "bad", &err, NULL));
    assert_non_null(strstr(error_text(err), "memdev"));
    error_free(err);
    err = NULL;
    b->m->memory_area.limit = 128 * MiB;
    refused("m1", "slot", "0", "not enough space, currently 0x8000000 in use");
    b->m->memory_area.size = 0;
    refused("m1", "slot", "0", "please specify the maxmem option");
    b->m->cfg.acpi = false;
    refused("m1", "slot", "0", "acpi disabled");
    assert_int_equal(b->dimms_plugged, 1);
    assert_false(ram[1]->in_use);
}

RUN_TESTS(TEST(test_places), TEST(test_refused))
