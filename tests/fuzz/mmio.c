/* mmio.c: accesses of a hostile guest to any device, by name.
 *
 *     RHEA_FUZZ_DEVICE=edu mmio CORPUS...       (libFuzzer; mmio --device=edu works too)
 *     mmio-seeded [FILE...]                     (without libFuzzer: random records, or each file once)
 *
 * 1. An input is a list of records of 12 bytes: what to do, which target, how large, an offset and a
 *    value; so inputs stay meaningful when bytes change.  Some values stand for addresses in RAM.
 * 2. Between inputs the machine is reset and RAM's first page cleared; the board and device stay. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "hw/catalogue.h"
#include "tests/conform/activity.h"
#include "tests/conform/backends.h"
#include "tests/conform/toys.h"
#include "tests/device/bench-pci.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define RECORD 12
#define RECORDS_MAX 4096

static Bench *board;
static Device *dut;

static const DeviceType *find_type(const char *name)
{
    const DeviceType *t = device_type_find(name);

    if (!t && strcmp(name, "toy-pci") == 0) {
        t = &toy_pci_type;
    }
    if (!t && strcmp(name, "toy-isa") == 0) {
        t = &toy_isa_type;
    }
    if (!t) {
        fprintf(stderr, "there is no device '%s'\n", name);
        exit(1);
    }
    return t;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("RHEA_FUZZ_DEVICE");
    Error *e = NULL;

    for (int i = 1; i < *argc; i++) {
        if (g_str_has_prefix((*argv)[i], "--device=")) {
            name = (*argv)[i] + strlen("--device=");
        }
    }
    thread_become_control();
    catalogue_register();
    const DeviceType *t = find_type(name ? name : "toy-pci");

    backends_open();
    board = bench_new();
    bench_pci(board);
    dut = bench_create(board, t, "dut", &e);
    if (!dut || !backends_set(dut, &e) || !device_realize(dut, &e)) {
        error_report(e);
        exit(1);
    }
    if (dut->bus_first && strcmp(dut->bus_first->slot->name, "floppy-bus") == 0) {
        bench_device(board, device_type_find("floppy"), "drive", "drive", "node0", "drive-type", "144", NULL);
    }
    return 0;
}

static void access_target(const Activity *a, const uint8_t *r, uint64_t val)
{
    const Target *t = &g_array_index(a->targets, Target, r[1] % a->targets->len);
    unsigned size = 1u << r[2] % (t->space == board->m->io ? 3 : 4);
    Gpa at = t->at + ld32(r + 4) % t->size;
    uint8_t raw[8];

    if (!(r[3] & 1)) {
        at &= ~(Gpa)(size - 1);
    }
    st64(raw, val);
    if (r[0] & 8) {
        space_read(t->space, at, raw, size);
    } else {
        space_write(t->space, at, raw, size);
    }
}

static void one_record(Activity *a, const uint8_t *r)
{
    uint32_t raw = ld32(r + 8);
    uint64_t val = r[3] & 2 ? (raw & 0xfff) << 12 : r[3] & 4 ? (uint64_t)raw << 32 | raw : raw;
    unsigned off = a->config_size ? ld16(r + 4) % a->config_size & ~3u : 0;

    switch (r[0] & 7) {
    case 0:
        if (a->bus) {
            pci_config_write(a->bus, 0, a->devfn, off, val, 1u << r[2] % 3);
        }
        break;
    case 1:
        bench_step(board, ld16(r + 8) * NS_PER_US);
        break;
    case 2:
        memcpy(bench_ram(board, (ld16(r + 4) << 8) & ~7u, 8), r + 4, 8);
        break;
    default:
        if (a->targets->len) {
            access_target(a, r, val);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Activity a;

    activity_find(board, dut, true, &a);
    for (size_t i = 0; i + RECORD <= size && i < RECORDS_MAX * RECORD; i += RECORD) {
        one_record(&a, data + i);
        if (i % (64 * RECORD) == 63 * RECORD) {
            activity_clear(&a);
            activity_find(board, dut, false, &a);
        }
    }
    activity_clear(&a);
    memset(bench_ram(board, 0, 4096), 0, 4096);
    bench_reset(board);
    return 0;
}

void fuzz_end(void)
{
    bench_free(board);
}

GByteArray *fuzz_sample(unsigned i)
{
    return fuzz_random_sample(i, 8, 100 * RECORD);
}
