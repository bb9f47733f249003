/* kvm-machine.h: a tiny machine on /dev/kvm for the tests of accel/kvm: RAM, a reset vector that
 * jumps to 0:1000h, ports 600h..61Fh and registers at D0000h that record what the guest does.
 *
 * A test file includes this once; payloads are assembled into it by PAYLOAD16 and PAYLOAD32. */
#ifndef TESTS_UNIT_KVM_MACHINE_H
#define TESTS_UNIT_KVM_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/kvm/kvm-int.h"
#include "accel/kvm/kvm.h"
#include "core/state.h"
#include "util/bytes.h"
#include "util/fault.h"
#include "util/thread.h"

#define CODE_AT 0x1000
#define PORT 0x600             /* writes to PORT + 0x1f end a run */
#define PORT_DONE 0x61f
#define MMIO_AT 0xd0000
#define RAM_SIZE (640 * KiB)
#define LOG_MAX 512

#define PAYLOAD_(bits, name, text) \
    __asm__(".pushsection .rodata\n.code" bits "\n" #name ":\n" text "\n" #name "_end:\n" \
            ".code64\n.popsection\n"); \
    extern const uint8_t name[], name##_end[]
#define PAYLOAD16(name, text) PAYLOAD_("16", name, text)
#define PAYLOAD32(name, text) PAYLOAD_("32", name, text)
#define PAYLOAD64(name, text) PAYLOAD_("64", name, text)
/* Ends a run and stays. */
#define DONE16 "movw $0x61f, %dx\nmovb $1, %al\noutb %al, %dx\n9: hlt\njmp 9b\n"

typedef struct Access {
    bool mmio, write;
    unsigned off, size;
    uint64_t val;
} Access;

typedef struct TestDev {
    Device dev;
    Region pio, mmio;
    Access log[LOG_MAX];
    unsigned logged;
    uint64_t answer;           /* what reads give */
} TestDev;

typedef struct TestMachine {
    Machine *m;
    Loop *loop;
    RamBlock *ram, *rom;
    Region ram_region, rom_region;
    TestDev *dev;
    bool done, quiet;          /* set on control */
    unsigned requests[REQUEST_COUNT];
} TestMachine;

static TestMachine tm;

static void wake(void *arg)
{
}

static void note(TestDev *d, bool mmio, bool write, unsigned off, unsigned size, uint64_t val)
{
    if (d->logged < LOG_MAX) {
        d->log[d->logged] = (Access){ mmio, write, off, size, val };
        __atomic_store_n(&d->logged, d->logged + 1, __ATOMIC_RELEASE);
        loop_call(loop_control(), wake, NULL);
    }
}

static void on_done(void *arg)
{
    tm.done = true;
}

static uint64_t pio_read(void *dev, uint64_t off, unsigned size)
{
    note(dev, false, false, off, size, 0);
    return ((TestDev *)dev)->answer++;
}

static void pio_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    note(dev, false, true, off, size, val);
    if (off == PORT_DONE - PORT) {
        loop_call(loop_control(), on_done, NULL);
    }
}

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
    note(dev, true, false, off, size, 0);
    return ((TestDev *)dev)->answer++;
}

static void mmio_write(void *dev, uint64_t off, uint64_t val, unsigned size)
{
    note(dev, true, true, off, size, val);
}

static const RegionOps pio_ops = { .read = pio_read, .write = pio_write, .min = 1, .max = 4 };
static const RegionOps mmio_ops = { .read = mmio_read, .write = mmio_write, .min = 1, .max = 8 };
static const RegionOps coalesced_ops = {
    .read = mmio_read, .write = mmio_write, .min = 1, .max = 8, .flags = REGION_COALESCED,
};

static bool use_coalesced;

static bool test_dev_realize(Device *d, Error **errp)
{
    TestDev *t = (TestDev *)d;

    region_io(&t->pio, d, "ports", &pio_ops, 0x20);
    region_io(&t->mmio, d, "registers", use_coalesced ? &coalesced_ops : &mmio_ops, 0x1000);
    map_put_one(&d->machine->io_root, &t->pio, PORT, 0);
    map_put_one(&d->machine->mem_root, &t->mmio, MMIO_AT, 0);
    return true;
}

static void test_dev_unrealize(Device *d)
{
    TestDev *t = (TestDev *)d;

    map_drop_one(&t->pio);
    map_drop_one(&t->mmio);
    region_free(&t->pio);
    region_free(&t->mmio);
}

static const DeviceType test_dev_type = {
    .name = "test-dev", .summary = "records accesses", .slot = &board_slot, .size = sizeof(TestDev),
    .flags = DEV_INTERNAL | DEV_STATELESS, .realize = test_dev_realize,
    .unrealize = test_dev_unrealize,
};

static const MachineType test_type = { .name = "test", .desc = "for tests", .max_cpus = 8 };

static void on_test_request(MachineRequest what, uint32_t detail, const char *cause)
{
    tm.requests[what]++;
}

/* Iterates the control loop until @flag is not zero. */
static void __attribute__((unused)) wait_for(const unsigned *flag)
{
    while (!*flag) {
        loop_control_iterate(true);
    }
}

static void wait_done(void)
{
    while (!tm.done) {
        loop_control_iterate(true);
    }
}

static void on_quiet(Post *p)
{
    tm.quiet = true;
}

static void quiesce(void)
{
    Post p = { .run = on_quiet };

    tm.quiet = false;
    machine_quiesce(&p);
    while (!tm.quiet) {
        loop_control_iterate(true);
    }
}

/* Builds the machine; false: there is no /dev/kvm here (the caller skips). */
static bool machine_up(int irqchip, unsigned cpus)
{
    static char model[] = "host";

    if (access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("no usable /dev/kvm: skipped\n");
        return false;
    }
    thread_become_control();
    memset(&tm, 0, sizeof(tm));
    accel_set(&kvm_accel);
    tm.loop = loop_new("test", THREAD_LOOP, NULL);
    tm.m = machine_new(&test_type, tm.loop, NULL);
    assert_non_null(tm.m);
    machine_on_request(on_test_request);
    tm.m->cfg.kernel_irqchip = irqchip;
    tm.m->cfg.cpu_model = model;
    tm.m->cfg.smp = (CpuTopology){ .cpus = cpus, .max_cpus = MAX(cpus, 4), .sockets = 1, .dies = 1,
                                   .cores = MAX(cpus, 4), .threads = 1 };
    Error *err = NULL;
    if (!kvm_accel.vm_open(tm.m, &err)) {
        fail_msg("%s", error_text(err));
    }
    tm.ram = ram_new_anon("ram", RAM_SIZE, NULL);
    tm.rom = ram_new_anon("rom", 4096, NULL);
    region_ram(&tm.ram_region, NULL, "ram", tm.ram, 0, RAM_SIZE);
    region_rom(&tm.rom_region, NULL, "rom", tm.rom, 0, 4096);
    map_put_one(&tm.m->mem_root, &tm.ram_region, 0, 0);
    map_put_one(&tm.m->mem_root, &tm.rom_region, 0xfffff000, 0);
    static const uint8_t far_jump[] = { 0xea, 0x00, 0x10, 0x00, 0x00 };
    memcpy(tm.rom->host + 0xff0, far_jump, sizeof(far_jump));
    tm.dev = (TestDev *)device_make(&test_dev_type, tm.m->root, NULL, "test", &err, NULL);
    assert_non_null(tm.dev);
    if (!kvm_accel.vcpus_create(tm.m, &err)) {
        fail_msg("%s", error_text(err));
    }
    return true;
}

static void machine_down(void)
{
    quiesce();
    kvm_accel.vm_close(tm.m);
    map_drop_one(&tm.ram_region);
    map_drop_one(&tm.rom_region);
    machine_free(tm.m);
    ram_free(tm.ram);
    ram_free(tm.rom);
    loop_free(tm.loop);
    kvm_accel.boot_state(NULL);
    accel_set(NULL);
}

static void load_at(uint64_t at, const uint8_t *code, const uint8_t *end)
{
    memcpy(tm.ram->host + at, code, end - code);
}

#define LOAD(name) load_at(CODE_AT, name, name##_end)

static void start(void)
{
    machine_reset(RESET_POWER);
    machine_resume();
}

static void run_to_done(void)
{
    tm.done = false;
    start();
    wait_done();
}

#endif
