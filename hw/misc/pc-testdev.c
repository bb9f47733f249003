/* pc-testdev.c: what kvm-unit-tests expects of a PC: echo ports, interrupt lines, device memory, and a
 * way to make the host drop its mapping of a guest page.
 *
 *   0x00e0-0x00e3  echo, any size          0x00e4         a page's address: its mapping is dropped
 *   0x2000-0x2017  level of GSI n          0xff000000     64 KiB of device memory
 *
 * 1. A page is dropped by changing its protection back and forth without ever taking a right away: other
 *    threads may be using it. */
#include <sys/mman.h>

#include "core/machine.h"
#include "core/state.h"
#include "hw/isa/isa.h"
#include "util/bytes.h"
#include "util/trace.h"

#define GSIS 24
#define MEM_SIZE 0x10000
#define MEM_BASE 0xff000000

typedef struct TestDev {
    IsaDevice isa;
    Region echo, flush, gsi, mem;
    IrqLine lines[GSIS];
    uint32_t levels;           /* of the lines, one bit each */
    uint8_t echo_data[4];
    uint8_t mem_data[MEM_SIZE];
} TestDev;

extern const DeviceType pc_testdev_type;

static uint64_t echo_read(void *dev, uint64_t off, unsigned size)
{
    const TestDev *t = dev;

    return ld_n(t->echo_data + off, size);
}

static void echo_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    TestDev *t = dev;

    st_n(t->echo_data + off, size, val);
}

static uint64_t zero_read(void *dev, uint64_t off, unsigned size)
{
    return 0;
}

static void flush_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    TestDev *t = dev;
    uint64_t len = 4096;
    void *page = space_ram(t->isa.dev.machine->mem, val & ~UINT64_C(4095), &len, true);

    TRACE(pc_testdev_flush, "0x%llx", (unsigned long long)val);
    if (page && len == 4096 && !((uintptr_t)page & 4095)
        && !mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC)) {
        mprotect(page, 4096, PROT_READ | PROT_WRITE);
    }
}

static void gsi_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    TestDev *t = dev;

    TRACE(pc_testdev_gsi, "%u level=%u", (unsigned)off, (unsigned)val);
    t->levels = val ? t->levels | 1u << off : t->levels & ~(1u << off);
    irq_set(&t->lines[off], val != 0);
}

static uint64_t mem_read(void *dev, uint64_t off, unsigned size)
{
    const TestDev *t = dev;

    return ld_n(t->mem_data + off, size);
}

static void mem_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    TestDev *t = dev;

    st_n(t->mem_data + off, size, val);
}

static const RegionOps echo_ops = { echo_read, echo_write, 1, 4, 0 };
static const RegionOps flush_ops = { zero_read, flush_write, 4, 4, 0 };
static const RegionOps gsi_ops = { zero_read, gsi_write, 1, 1, 0 };
static const RegionOps mem_ops = { mem_read, mem_write, 1, 8, 0 };

static bool testdev_realize(Device *d, Error **errp)
{
    TestDev *t = device_as(d, &pc_testdev_type);

    region_io(&t->echo, d, "pc-testdev-echo", &echo_ops, 4);
    region_io(&t->flush, d, "pc-testdev-flush", &flush_ops, 4);
    region_io(&t->gsi, d, "pc-testdev-gsi", &gsi_ops, GSIS);
    region_io(&t->mem, d, "pc-testdev-mem", &mem_ops, MEM_SIZE);
    isa_io(d, &t->echo, 0xe0);
    isa_io(d, &t->flush, 0xe4);
    isa_io(d, &t->gsi, 0x2000);
    for (unsigned i = 0; i < GSIS; i++) {
        irq_line_init(&t->lines[i], d, "gsi");
        if (d->machine->gsi) {
            irq_connect(&t->lines[i], d->machine->gsi, i);
        }
    }
    map_put_one(&d->machine->mem_root, &t->mem, MEM_BASE, 1);
    return true;
}

static void testdev_unrealize(Device *d)
{
    TestDev *t = device_as(d, &pc_testdev_type);

    map_drop_one(&t->mem);
    region_free(&t->mem);
}

static void testdev_reset(Device *d, ResetKind kind)
{
    TestDev *t = device_as(d, &pc_testdev_type);

    t->levels = 0;
    memset(t->echo_data, 0, sizeof(t->echo_data));
    memset(t->mem_data, 0, sizeof(t->mem_data));
}

static void testdev_settle(Device *d)
{
    TestDev *t = device_as(d, &pc_testdev_type);

    /* No refresh: at rest the wires are the real devices'. */
    for (unsigned i = 0; i < GSIS; i++) {
        irq_set(&t->lines[i], t->levels & 1u << i);
    }
}

static const StateField testdev_fields[] = {
    STATE_U32(TestDev, levels), STATE_BYTES(TestDev, echo_data), STATE_BYTES(TestDev, mem_data), { 0 },
};
static const StateDesc testdev_state = {
    .name = "pc-testdev", .version = 1, .fields = testdev_fields,
};

const DeviceType pc_testdev_type = {
    .name = "pc-testdev", .summary = "test device of kvm-unit-tests", .slot = &isa_slot,
    .size = sizeof(TestDev), .state = &testdev_state, .category = "Misc", .realize = testdev_realize,
    .unrealize = testdev_unrealize, .reset = testdev_reset, .settle = testdev_settle,
};
