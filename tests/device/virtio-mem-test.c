/* virtio-mem-test.c: blocks that are plugged and unplugged, within what the host asks and not beyond. */
#include <linux/virtio_mem.h>
#include "core/ram.h"
#include "tests/device/bench-virtio.h"
#include "tests/device/device-test.h"
#include "util/fault.h"

#define ALL ((UINT64_C(1) << VIRTIO_F_VERSION_1) | 0xff)
#define BLOCK (2 * MiB)
#define BLOCKS 16

extern const DeviceType virtio_mem_pci;

static Bench *b;
static RamBlock *ram;
static Vd *vd;
static uint64_t told;

static void *find_memory(const char *id, Error **errp)
{
    return ram_find(id);
}

static const char *id_of_memory(void *target)
{
    return ((RamBlock *)target)->id;
}

static void size_changed(const Device *d, uint64_t size)
{
    assert_string_equal(d->id, "vm0");
    told = size;
}

static int setup(void **state)
{
    static const LinkClass memory = { "memory-backend", find_memory, id_of_memory };
    static const MachineListener listener = { .memory_size_changed = size_changed };

    b = bench_new();
    link_class_register(&memory);
    machine_set_listener(&listener);
    ram = ram_new_anon("m", BLOCKS * BLOCK, NULL);
    told = UINT64_MAX;
    vd = NULL;
    return 0;
}

static int teardown(void **state)
{
    if (vd != NULL) {
        vd_free(vd);
    }
    bench_free(b);
    ram_free(ram);
    epoch_flush();
    return 0;
}

static void start(const char *prop, const char *value)
{
    vd = vd_new(b, bench_device(b, &virtio_mem_pci, "vm0", "memdev", "m", prop, value, NULL));
    vd_start(vd, ALL, 1);
}

/* Sends a request about blocks [@first, @first + @n) of the region; returns the answer, *@info its state. */
static unsigned ask_at(unsigned type, uint64_t addr, unsigned n, unsigned *info)
{
    VdSeg segs[] = { { vd_buf(vd, 0, 0), 24, false }, { vd_buf(vd, 0, 1), 10, true } };
    uint8_t *req = bench_ram(b, segs[0].addr, 24), *resp = bench_ram(b, segs[1].addr, 10);

    memset(req, 0, 24);
    memset(resp, 0xff, 10);
    st16(req, (uint16_t)type);
    st64(req + 8, addr);
    st16(req + 16, (uint16_t)n);
    vd_add(vd, 0, segs, 2, false);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 10);
    bench_run(b);
    if (info != NULL) {
        *info = ld16(resp + 8);
    }
    return ld16(resp);
}

static unsigned ask(unsigned type, uint64_t first, unsigned n)
{
    return ask_at(type, BENCH_MEMORY_AREA + first * BLOCK, n, NULL);
}

static uint64_t config(unsigned off)
{
    return bench_read64(b, vd->bar + 0x2000 + off);
}

enum { CONFIG_USABLE = 32, CONFIG_PLUGGED = 40, CONFIG_REQUESTED = 48 };

static bool set(const char *json, Error **errp)
{
    Device *d = vd->d->inner;

    return d->type->extra->set(d, "requested-size", json, errp);
}

static void test_config(void **state)
{
    g_autofree char *size = NULL, *inaccessible = NULL;

    start("requested-size", "8M");
    assert_int_equal(config(0), BLOCK);
    assert_int_equal(config(16), BENCH_MEMORY_AREA);
    assert_int_equal(config(24), BLOCKS * BLOCK);
    assert_int_equal(config(CONFIG_USABLE), BLOCKS * BLOCK);
    assert_int_equal(config(CONFIG_PLUGGED), 0);
    assert_int_equal(config(CONFIG_REQUESTED), 8 * MiB);
    size = vd->d->inner->type->extra->get(vd->d->inner, "size");
    inaccessible = device_get(vd->d, "unplugged-inaccessible");
    assert_string_equal(size, "0");
    assert_string_equal(inaccessible, "off");
    bench_msi_clear(b);
    assert_true(set("16777216", NULL));
    assert_int_equal(config(CONFIG_REQUESTED), 16 * MiB);
    assert_int_equal(bench_msi_count(b), 1);
    assert_true(set("16777216", NULL));        /* nothing new */
    assert_int_equal(bench_msi_count(b), 1);
}

/* Plugged memory is the guest's; what it gives back is the host's again. */
static void test_blocks(void **state)
{
    unsigned info;

    start("requested-size", "8M");
    assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, 1, 3), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(config(CONFIG_PLUGGED), 3 * BLOCK);
    assert_int_equal(told, 3 * BLOCK);
    assert_int_equal(memory_device_total(b->m), 3 * BLOCK);
    bench_write32(b, BENCH_MEMORY_AREA + 2 * BLOCK, 0x12345678);
    assert_int_equal(ld32(ram->host + 2 * BLOCK), 0x12345678);
    assert_int_equal(ask_at(VIRTIO_MEM_REQ_STATE, BENCH_MEMORY_AREA, 1, &info), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(info, VIRTIO_MEM_STATE_UNPLUGGED);
    ask_at(VIRTIO_MEM_REQ_STATE, BENCH_MEMORY_AREA + BLOCK, 3, &info);
    assert_int_equal(info, VIRTIO_MEM_STATE_PLUGGED);
    ask_at(VIRTIO_MEM_REQ_STATE, BENCH_MEMORY_AREA, 4, &info);
    assert_int_equal(info, VIRTIO_MEM_STATE_MIXED);
    assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, 4, 2), VIRTIO_MEM_RESP_NACK);    /* more than is asked */
    assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, 3, 1), VIRTIO_MEM_RESP_ERROR);   /* there already */
    assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG, 0, 2), VIRTIO_MEM_RESP_ERROR); /* one is not there */
    assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG, 2, 1), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(ld32(ram->host + 2 * BLOCK), 0);
    assert_int_equal(told, 2 * BLOCK);
    assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(told, 0);
    assert_false(vd->v->broken);
}

static void test_nonsense(void **state)
{
    ram_free(ram);
    ram = ram_new_anon("m2", 512 * MiB, NULL);
    vd = vd_new(b, bench_device(b, &virtio_mem_pci, "vm0", "memdev", "m2", NULL));
    vd_start(vd, ALL, 1);
    assert_int_equal(config(CONFIG_USABLE), 0);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 0, 1), VIRTIO_MEM_RESP_ERROR);
    assert_true(set("2097152", NULL));
    assert_int_equal(config(CONFIG_USABLE), 258 * MiB);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 128, 1), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 128, 2), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 129, 1), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 0, 0), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE, 0, 0xffff), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask(VIRTIO_MEM_REQ_STATE + 1, 0, 1), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask_at(VIRTIO_MEM_REQ_PLUG, BENCH_MEMORY_AREA + 1, 1, NULL), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask_at(VIRTIO_MEM_REQ_PLUG, BENCH_MEMORY_AREA - BLOCK, 1, NULL), VIRTIO_MEM_RESP_ERROR);
    assert_int_equal(ask_at(VIRTIO_MEM_REQ_PLUG, UINT64_MAX - BLOCK + 1, 1, NULL), VIRTIO_MEM_RESP_ERROR);
    assert_true(set("0", NULL));               /* the usable region stays until all is unplugged */
    assert_int_equal(config(CONFIG_USABLE), 258 * MiB);
    ask(VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0);
    assert_int_equal(config(CONFIG_USABLE), 0);
    VdSeg part[] = { { vd_buf(vd, 0, 0), 24, false }, { vd_buf(vd, 0, 1), 9, true } };
    vd_add(vd, 0, part, 2, false);
    vd_kick(vd, 0);
    vd_sync(vd);
    assert_true(vd->v->broken);
}

/* The driver's reset takes nothing away, the machine's everything. */
static void test_reset(void **state)
{
    start("requested-size", "8M");
    ask(VIRTIO_MEM_REQ_PLUG, 0, 4);
    bench_write32(b, BENCH_MEMORY_AREA, 0x12345678);
    vd_reset(vd);
    assert_int_equal(config(CONFIG_PLUGGED), 4 * BLOCK);
    assert_int_equal(ld32(ram->host), 0x12345678);
    bench_reset(b);
    bench_run(b);
    assert_int_equal(told, 0);
    assert_int_equal(ld32(ram->host), 0);
    assert_int_equal(memory_device_total(b->m), 0);
}

static void test_state(void **state)
{
    unsigned info;

    start("requested-size", "8M");
    ask(VIRTIO_MEM_REQ_PLUG, 5, 3);
    bench_save_load(b, vd->d);
    assert_int_equal(config(CONFIG_PLUGGED), 3 * BLOCK);
    assert_int_equal(config(CONFIG_REQUESTED), 8 * MiB);
    ask_at(VIRTIO_MEM_REQ_STATE, BENCH_MEMORY_AREA + 5 * BLOCK, 3, &info);
    assert_int_equal(info, VIRTIO_MEM_STATE_PLUGGED);
    assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG, 5, 3), VIRTIO_MEM_RESP_ACK);
    assert_int_equal(ask(VIRTIO_MEM_REQ_UNPLUG, 4, 1), VIRTIO_MEM_RESP_ERROR);
}

/* A driver that does not keep its hands off what is not plugged is let in only where it costs nothing. */
static void test_inaccessible(void **state)
{
    start("unplugged-inaccessible", "on");
    assert_true(vd->agreed >> VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE & 1);
    vd_reset(vd);
    vd_set_common(vd, 20, 1, 3);
    vd_set_common(vd, 8, 4, 1);
    vd_set_common(vd, 12, 4, 1);               /* VERSION_1 alone */
    vd_set_common(vd, 20, 1, 3 | VIRTIO_CONFIG_S_FEATURES_OK);
    assert_int_equal(vd_common(vd, 20, 1), 3);
}

static void test_prealloc(void **state)
{
    start("prealloc", "on");
    assert_true(set("4194304", NULL));
    fault_arm("ram-prealloc", 1);
    assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, 0, 2), VIRTIO_MEM_RESP_BUSY);
    assert_int_equal(config(CONFIG_PLUGGED), 0);
    assert_true(fault_disarm());
    assert_int_equal(ask(VIRTIO_MEM_REQ_PLUG, 0, 2), VIRTIO_MEM_RESP_ACK);
}

static void refused(const char *prop, const char *value, const char *why)
{
    Error *err = NULL;

    assert_null(bench_try_device(b, &virtio_mem_pci, "bad", &err, "memdev", "m", prop, value, NULL));
    if (strstr(error_text(err), why) == NULL) {
        fail_msg("\"%s\", not \"%s\"", error_text(err), why);
    }
    error_free(err);
    assert_false(ram->in_use);
    assert_null(b->m->memory_area.first);
}

static void test_refused(void **state)
{
    static const struct { const char *value, *text; } bad[] = {
        { "1048576", "'requested-size' has to be multiples of 'block-size' (0x200000)" },
        { "67108864", "'requested-size' cannot exceed the memory backend size(0x2000000)" },
        { "-1", "expects uint64" }, { "\"x\"", "expects uint64" }, { "true", "expects uint64" },
    };
    Error *err = NULL;

    refused("block-size", "0", "'block-size' property has to be at least 0x100000");
    refused("block-size", "3M", "'block-size' property has to be a power of two");
    refused("block-size", "64M", "backend memory size must be multiple of 0x4000000");
    refused("requested-size", "1M", "'requested-size' has to be multiples of 'block-size' (0x200000)");
    refused("requested-size", "1G", "'requested-size' cannot exceed the memory backend size(0x2000000)");
    refused("node", "3", "'node' property has value '3', which exceeds the number of numa nodes: 1");
    refused("memaddr", "0x100001000", "address must be aligned to 0x200000 bytes");
    refused("disable-legacy", "off", "modern-only");
    assert_null(bench_try_device(b, &virtio_mem_pci, "bad", &err, NULL));
    assert_string_equal(error_text(err), "'memdev' property must be set");
    g_clear_pointer(&err, error_free);
    start("requested-size", "0");
    assert_null(bench_try_device(b, &virtio_mem_pci, "two", &err, "memdev", "m", NULL));
    assert_string_equal(error_text(err), "'memdev' property specifies a busy memdev: m");
    g_clear_pointer(&err, error_free);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(set(bad[i].value, &err));
        assert_non_null(strstr(error_text(err), bad[i].text));
        g_clear_pointer(&err, error_free);
    }
    assert_int_equal(config(CONFIG_REQUESTED), 0);
}

RUN_TESTS(TEST(test_config), TEST(test_blocks), TEST(test_nonsense), TEST(test_reset), TEST(test_state),
          TEST(test_inaccessible), TEST(test_prealloc), TEST(test_refused))
