/* pci-testdev.c: measures and checks the ways an access reaches a device (the public specification
 * "pci-testdev"): plain, by a doorbell, by a doorbell with a value.
 *
 *   header of both BARs: +0 test (write: start it), +1 width, +4 offset, +8 data, +12 count, +16 name
 *
 * 1. One test runs at a time, over both BARs: tests 0-2 in memory, 3-5 in ports.  A number that is none
 *    stops it, and the header reads as zeroes.
 * 2. Doorbells are counted on the device's loop, under the domain. */
#include <sys/epoll.h>

#include "hw/pci/pci.h"
#include "util/bytes.h"
#include "util/loop.h"
#include "util/trace.h"

#define TESTS 6
#define NO_TEST 0xff
#define MEM_SIZE 4096
#define IO_SIZE 256
#define HEADER_SIZE 48

typedef struct TestHeader {
    uint8_t test, width, pad[2];
    Le32 offset, data, count;
    char name[HEADER_SIZE - 16];
} TestHeader;

static const struct TestKind {
    const char *name;
    uint8_t data;
    bool doorbell, match;
} kinds[3] = {
    { "no-eventfd", 0xfa, false, true },
    { "wildcard-eventfd", 0xce, true, false },
    { "datamatch-eventfd", 0xfa, true, true },
};

typedef struct TestDev {
    PciDevice p;
    Region mem, io, extra;
    RamBlock *extra_ram;
    Notifier bell;
    uint64_t membar;
    uint8_t test;              /* NO_TEST: none */
    uint32_t count;
    uint8_t placed;            /* derived: the test whose doorbell is in the map; NO_TEST: none */
} TestDev;

extern const DeviceType pci_testdev_type;

static uint64_t offset_of(unsigned test)
{
    return (test < 3 ? MEM_SIZE : IO_SIZE) / 2 + test;
}

static Region *region_of(TestDev *t, unsigned test)
{
    return test < 3 ? &t->mem : &t->io;
}

/* Puts the doorbell of the running test into the map, instead of the one that is there. */
static void place_doorbell(TestDev *t)
{
    unsigned want = t->test != NO_TEST && kinds[t->test % 3].doorbell ? t->test : NO_TEST;

    if (want == t->placed) {
        return;
    }
    map_begin();
    if (t->placed != NO_TEST) {
        region_doorbell_drop(region_of(t, t->placed), offset_of(t->placed), &t->bell);
    }
    if (want != NO_TEST) {
        uint64_t match = kinds[want % 3].data;

        region_doorbell(region_of(t, want), offset_of(want), 1, kinds[want % 3].match ? &match : NULL,
                        &t->bell);
    }
    map_commit();
    t->placed = (uint8_t)want;
}

static void start(TestDev *t, unsigned test)
{
    TRACE(pci_testdev_start, "%u", test);
    notifier_take(&t->bell);
    t->test = (uint8_t)test;
    t->count = 0;
    place_doorbell(t);
}

static void rung(void *arg, unsigned events)
{
    TestDev *t = arg;

    domain_enter(t->p.dev.domain);
    if (notifier_take(&t->bell)) {
        t->count++;
    }
    domain_leave(t->p.dev.domain);
}

static uint64_t header_read(const TestDev *t, uint64_t off, unsigned size)
{
    TestHeader h = { 0 };

    if (t->test != NO_TEST) {
        h.test = t->test;
        h.width = 1;
        h.offset = to_le32((uint32_t)offset_of(t->test));
        h.data = to_le32(kinds[t->test % 3].data);
        h.count = to_le32(t->count);
        g_snprintf(h.name, sizeof(h.name), "%s-%s", t->test < 3 ? "mmio" : "portio",
                   kinds[t->test % 3].name);
    }
    return fits(off, size, sizeof(h)) ? ld_n((uint8_t *)&h + off, size) : 0;
}

static void test_write(TestDev *t, unsigned first, uint64_t off, uint64_t val)
{
    if (off == 0) {
        start(t, val < 3 ? first + (unsigned)val : NO_TEST);
    } else if (t->test != NO_TEST && t->test / 3 == first / 3 && off == offset_of(t->test)
               && (!kinds[t->test % 3].match || val == kinds[t->test % 3].data)) {
        t->count++;
    }
}

static uint64_t testdev_read(void *dev, uint64_t off, unsigned size)
{
    return header_read(dev, off, size);
}

static void mem_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    test_write(dev, 0, off, val);
}

static void io_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    test_write(dev, 3, off, val);
}

static const RegionOps mem_ops = { testdev_read, mem_write, 1, 4, 0 };
static const RegionOps io_ops = { testdev_read, io_write, 1, 4, 0 };

static bool testdev_realize(Device *d, Error **errp)
{
    TestDev *t = device_as(d, &pci_testdev_type);

    if (t->membar & (t->membar - 1) || (t->membar && t->membar < 4096)) {
        return error_set(errp, "membar is not a power of two of at least 4 KiB");
    }
    if (!notifier_open(&t->bell, errp)) {
        return false;
    }
    if (t->membar) {
        t->extra_ram = ram_new_anon(d->id, t->membar, errp);
        if (!t->extra_ram) {
            notifier_close(&t->bell);
            return false;
        }
        region_ram(&t->extra, d, "pci-testdev-membar", t->extra_ram, 0, t->membar);
        pci_bar(&t->p, 2, BAR_MEM64_PREF, &t->extra);
    }
    region_io(&t->mem, d, "pci-testdev-mmio", &mem_ops, MEM_SIZE);
    region_io(&t->io, d, "pci-testdev-portio", &io_ops, IO_SIZE);
    pci_bar(&t->p, 0, BAR_MEM32, &t->mem);
    pci_bar(&t->p, 1, BAR_IO, &t->io);
    t->test = t->placed = NO_TEST;
    loop_watch(d->loop, t->bell.fd, EPOLLIN, rung, t);
    return true;
}

static void testdev_unrealize(Device *d)
{
    TestDev *t = device_as(d, &pci_testdev_type);

    loop_unwatch(d->loop, t->bell.fd);
    region_free(&t->mem);
    region_free(&t->io);
    if (t->extra_ram) {
        region_free(&t->extra);
        ram_free(t->extra_ram);
        t->extra_ram = NULL;
    }
    notifier_close(&t->bell);
}

static void testdev_reset(Device *d, ResetKind kind)
{
    start(device_as(d, &pci_testdev_type), NO_TEST);
}

static void testdev_settle(Device *d)
{
    TestDev *t = device_as(d, &pci_testdev_type);

    place_doorbell(t);
}

static bool testdev_check(void *obj, Error **errp)
{
    const TestDev *t = obj;

    return t->test < TESTS || t->test == NO_TEST || error_set(errp, "test %u", t->test);
}

static const StateField testdev_fields[] = {
    STATE_U8(TestDev, test), STATE_U32(TestDev, count), { 0 },
};
static const StateDesc testdev_state = {
    .name = "pci-testdev", .version = 1, .fields = testdev_fields, .check = testdev_check,
};

static const PropDesc testdev_props[] = {
    PROP_SIZE(TestDev, membar, "membar", 0, 0, UINT64_C(1) << 40, "size of an extra memory BAR; 0: none"),
    { 0 },
};

static const PciOps testdev_pci = {
    .vendor = 0x1b36, .device = 0x0005, .class_code = 0x00ff00,
};

const DeviceType pci_testdev_type = {
    .name = "pci-testdev", .summary = "PCI access test device", .slot = &pci_slot,
    .size = sizeof(TestDev), .flags = DEV_HOTPLUG, .props = testdev_props, .state = &testdev_state,
    .slot_ops = &testdev_pci, .category = "Misc", .realize = testdev_realize,
    .unrealize = testdev_unrealize, .reset = testdev_reset, .settle = testdev_settle,
};
