/* acpi-places-test.c: CPU and memory hot-plug through the ACPI registers. */
#include "hw/acpi/cpuhp.h"
#include "hw/acpi/memhp.h"
#include "tests/device/bench.h"
#include "tests/device/device-test.h"
#include "util/bytes.h"

#define CPUS 0xaf00
#define DIMMS 0xa00
#define GPE_STATUS 0xafe0

typedef struct Owner {
    Device dev;
    AcpiPm pm;
    AcpiCpuHp cpus;
    AcpiMemHp memory;
} Owner;

static Bench *b;
static Device *d;

static bool owner_realize(Device *dev, Error **errp)
{
    Owner *s = (Owner *)dev;
    AcpiPmConfig cfg = { .gpe_port = GPE_STATUS, .gpe_len = 4, .acpi_enable = 0xf1 };

    acpi_pm_init(&s->pm, dev, &cfg);
    irq_connect(&s->pm.sci, dev->machine->gsi, 9);
    acpi_pm_place_fixed(&s->pm, &dev->machine->io_root);
    acpi_cpuhp_init(&s->cpus, dev, &s->pm, CPUS);
    acpi_memhp_init(&s->memory, dev, &s->pm);
    return true;
}

static void owner_unrealize(Device *dev)
{
    acpi_memhp_free(&((Owner *)dev)->memory);
    acpi_cpuhp_free(&((Owner *)dev)->cpus);
    acpi_pm_free(&((Owner *)dev)->pm);
}

static void owner_reset(Device *dev, ResetKind kind)
{
    acpi_pm_reset(&((Owner *)dev)->pm, kind);
    acpi_cpuhp_reset(&((Owner *)dev)->cpus, kind);
    acpi_memhp_reset(&((Owner *)dev)->memory, kind);
}

static void owner_settle(Device *dev)
{
    acpi_pm_settle(&((Owner *)dev)->pm);
    acpi_cpuhp_settle(&((Owner *)dev)->cpus);
}

static const StateField owner_fields[] = {
    STATE_STRUCT(Owner, pm, &acpi_pm_state), STATE_STRUCT(Owner, cpus, &acpi_cpuhp_state),
    STATE_STRUCT(Owner, memory, &acpi_memhp_state), { 0 },
};
static const StateDesc owner_state = { .name = "places-owner", .version = 1, .fields = owner_fields };
static const DeviceType owner_type = {
    .name = "places-owner", .summary = "test", .slot = &board_slot, .size = sizeof(Owner),
    .flags = DEV_INTERNAL, .state = &owner_state, .realize = owner_realize,
    .unrealize = owner_unrealize, .reset = owner_reset, .settle = owner_settle,
};

/* A vCPU in name only. */
typedef struct ToyCpu {
    Device dev;
    uint32_t index;
} ToyCpu;

static bool toy_publish(Bus *bus, Device *dev, Error **errp)
{
    machine_place_take(&dev->machine->cpus, ((ToyCpu *)dev)->index, dev);
    return true;
}

static void toy_detach(Bus *bus, Device *dev)
{
    machine_place_leave(&dev->machine->cpus, ((ToyCpu *)dev)->index);
}

static const SlotType toy_slot = {
    .name = "cpu", .no_bus = true, .base_size = sizeof(Device), .publish = toy_publish, .detach = toy_detach,
};
static const PropDesc toy_props[] = { PROP_U32(ToyCpu, index, "index", 0, 0, 3, "place"), { 0 } };
static const DeviceType toy_type = {
    .name = "toy-cpu", .summary = "test", .slot = &toy_slot, .size = sizeof(ToyCpu),
    .flags = DEV_HOTPLUG | DEV_STATELESS, .props = toy_props,
};

static struct {
    char slot_type[8], slot[8], id[8];
    unsigned source, status, osts, errors;
} told;

static void on_ost(const char *id, const char *slot_type, const char *slot, unsigned source, unsigned status)
{
    g_strlcpy(told.slot_type, slot_type, sizeof(told.slot_type));
    g_strlcpy(told.slot, slot, sizeof(told.slot));
    g_strlcpy(told.id, id != NULL ? id : "", sizeof(told.id));
    told.source = source;
    told.status = status;
    told.osts++;
}

static void on_error(const char *id, const char *path)
{
    told.errors++;
}

static const MachineListener listener = { .acpi_ost = on_ost, .device_unplug_error = on_error };

static int setup(void **state)
{
    b = bench_new();
    memset(&told, 0, sizeof(told));
    machine_set_listener(&listener);
    d = bench_device(b, &owner_type, "hp", NULL);
    bench_out8(b, 0xb2, 0xf1);
    bench_out16(b, GPE_STATUS + 2, 0xc);
    return 0;
}

static int teardown(void **state)
{
    bench_free(b);
    return 0;
}

static void drain(void)
{
    bench_run(b);
    epoch_flush();
    bench_run(b);
}

static Device *plug_cpu(const char *index)
{
    g_autofree char *id = g_strdup_printf("cpu%s", index);
    Device *cpu = device_create(&toy_type, b->m->peripheral, NULL, id, NULL);

    assert_true(device_set(cpu, "index", index, NULL));
    assert_true(device_realize(cpu, NULL));
    return cpu;
}

static void modern(void)
{
    bench_out32(b, CPUS, 0);
    bench_out32(b, CPUS, 0);
}

static void test_legacy(void **state)
{
    Error *err = NULL;

    plug_cpu("0");
    plug_cpu("2");
    assert_int_equal(bench_in8(b, CPUS), 5);       /* a bit a CPU */
    assert_int_equal(bench_in8(b, CPUS + 1), 0);
    assert_true(bench_irq(b, 9));
    assert_int_equal(bench_in8(b, GPE_STATUS), 1 << ACPI_CPUHP_GPE);
    assert_false(b->m->cpus.ops->unplug_request(b->m->cpus.arg, 2, &err));
    assert_non_null(strstr(error_text(err), "unplug request"));
    error_free(err);
    modern();
    assert_int_equal(bench_in32(b, CPUS), 0);
    assert_int_equal(bench_in8(b, CPUS + 0x10), 0xff);     /* only twelve ports are left */
    bench_reset(b);
    assert_int_equal(bench_in8(b, CPUS), 5);
}

static void test_cpu_plug(void **state)
{
    plug_cpu("0");
    modern();
    bench_out8(b, CPUS + 4, 2);
    plug_cpu("3");
    bench_out8(b, CPUS + 5, 0);                    /* the next event */
    assert_int_equal(bench_in32(b, CPUS + 8), 3);
    assert_int_equal(bench_in8(b, CPUS + 4), 3);   /* there, inserted */
    bench_out8(b, CPUS + 5, 3);
    assert_int_equal(bench_in32(b, CPUS + 8), 3);  /* APIC id */
    bench_out8(b, CPUS + 4, 2);
    assert_int_equal(bench_in8(b, CPUS + 4), 1);
    bench_out8(b, CPUS + 5, 0);
    assert_int_equal(bench_in32(b, CPUS + 8), 3);  /* no event: the selector stays */
    bench_out32(b, CPUS, 1);
    assert_int_equal(bench_in8(b, CPUS + 4), 0);
    bench_out32(b, CPUS, 4);                       /* no such place */
    bench_out8(b, CPUS + 5, 3);
    bench_out8(b, CPUS + 4, 8);
    assert_int_equal(bench_in32(b, CPUS + 8), 0);
    bench_save_load(b, d);
    bench_out32(b, CPUS, 3);
    assert_int_equal(bench_in8(b, CPUS + 4), 1);
}

static void test_cpu_unplug(void **state)
{
    plug_cpu("0");
    plug_cpu("1");
    modern();
    assert_true(b->m->cpus.ops->unplug_request(b->m->cpus.arg, 1, NULL));
    bench_out32(b, CPUS, 1);
    assert_int_equal(bench_in8(b, CPUS + 4), 1 | 2 | 4);
    bench_save_load(b, d);
    bench_out8(b, CPUS + 4, 2);
    bench_out8(b, CPUS + 4, 4);
    assert_int_equal(bench_in8(b, CPUS + 4), 1);
    drain();
    assert_non_null(device_find(b->m->root, "cpu1"));      /* noted, not let go */
    bench_out8(b, CPUS + 5, 1);
    bench_out32(b, CPUS + 8, 3);
    bench_out8(b, CPUS + 5, 2);
    bench_out32(b, CPUS + 8, 0x81);                /* busy */
    drain();
    assert_int_equal(told.osts, 1);
    assert_int_equal(told.errors, 1);
    assert_string_equal(told.slot_type, "CPU");
    assert_string_equal(told.slot, "1");
    assert_string_equal(told.id, "cpu1");
    assert_int_equal(told.source, 3);
    assert_int_equal(told.status, 0x81);
    bench_out8(b, CPUS + 4, 8);
    assert_int_equal(bench_in8(b, CPUS + 4), 0);   /* gone for the guest at once */
    drain();
    assert_null(device_find(b->m->root, "cpu1"));
    bench_out8(b, CPUS + 4, 8);                    /* nothing there */
    bench_out32(b, CPUS, 0);
    bench_out8(b, CPUS + 4, 8);                    /* the first one stays */
    drain();
    assert_non_null(device_find(b->m->root, "cpu0"));
    assert_int_equal(bench_in8(b, CPUS + 4) & 1, 1);
    plug_cpu("1");
    bench_out32(b, CPUS, 1);
    assert_int_equal(bench_in8(b, CPUS + 4), 3);
}

static void test_dimm(void **state)
{
    b->m->dimm_ranges[2] = (MachineDimm){ UINT64_C(0x123400000), UINT64_C(0x240000000), 7 };
    assert_int_equal(bench_in32(b, DIMMS), 0);
    bench_out32(b, DIMMS, 2);
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 0);
    /* Any device will do. */
    Device *dimm = bench_device(b, &toy_type, "dimm", NULL);
    machine_place_take(&b->m->dimms, 2, dimm);
    assert_int_equal(bench_in8(b, GPE_STATUS) & 1 << ACPI_MEMHP_GPE, 1 << ACPI_MEMHP_GPE);
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 3);
    assert_int_equal(bench_in32(b, DIMMS), 0x23400000);
    assert_int_equal(bench_in32(b, DIMMS + 4), 1);
    assert_int_equal(bench_in32(b, DIMMS + 8), 0x40000000);
    assert_int_equal(bench_in32(b, DIMMS + 0xc), 2);
    assert_int_equal(bench_in32(b, DIMMS + 0x10), 7);
    assert_true(b->m->dimms.ops->unplug_request(b->m->dimms.arg, 2, NULL));
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 7);
    bench_save_load(b, d);
    bench_out32(b, DIMMS + 4, 0x103);
    bench_out32(b, DIMMS + 8, 0x84);               /* pending: no error */
    drain();
    assert_string_equal(told.slot_type, "DIMM");
    assert_int_equal(told.source, 0x103);
    assert_int_equal(told.errors, 0);
    bench_out8(b, DIMMS + 0x14, 4);
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 3);
    bench_reset(b);
    bench_out32(b, DIMMS, 2);
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 1);       /* the new system finds it by itself */
    bench_out32(b, DIMMS, 4);
    assert_int_equal(bench_in8(b, DIMMS + 0x14), 0);
    bench_out8(b, DIMMS + 0x14, 8);
    bench_out32(b, DIMMS + 8, 1);
    machine_place_leave(&b->m->dimms, 2);
    bench_remove(b, dimm);
}

RUN_TESTS(TEST(test_legacy), TEST(test_cpu_plug), TEST(test_cpu_unplug), TEST(test_dimm))
