/* state.c: hostile saved states, loaded into each device of the catalogue.
 *
 * The first byte chooses the device among those that save anything; a state stream follows.  What loads is
 * settled, run and used for a while. */
#include <stdio.h>
#include <stdlib.h>
#include "hw/catalogue.h"
#include "tests/conform/activity.h"
#include "tests/conform/backends.h"
#include "tests/conform/carriers.h"
#include "tests/device/bench-pci.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define SAMPLES 3              /* of each device, after more and more activity */

static GPtrArray *types;       /* const DeviceType * */
static Bench *board;
static Device *dut;
static unsigned current = UINT_MAX;

static void leave(void)
{
    if (board) {
        bench_free(board);
        board = NULL;
        current = UINT_MAX;
    }
}

/* A fresh board with device number @n; false: it cannot be made here. */
static bool enter(unsigned n)
{
    Error *e = NULL;

    if (n == current) {
        return true;
    }
    leave();
    board = bench_new();
    bench_pci(board);
    carriers_make(board, types->pdata[n]);
    dut = bench_create(board, types->pdata[n], "dut", &e);
    if (!dut || !backends_set(dut, &e) || !device_realize(dut, &e)) {
        error_free(e);
        if (dut) {
            device_discard(dut);
        }
        leave();
        return false;
    }
    current = n;
    return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    thread_become_control();
    catalogue_register();
    backends_open();
    types = g_ptr_array_new();
    for (const DeviceType *const *t = device_types(); *t; t++) {
        if (types->len < 256) {
            g_ptr_array_add(types, (void *)*t);
        }
    }
    return 0;
}

void fuzz_end(void)
{
    leave();
    g_ptr_array_unref(types);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    Error *e = NULL;

    if (size == 0 || !enter(data[0] % types->len)) {
        return 0;
    }
    bench_quiesce(board);
    if (state_load_tree(dut, data + 1, size - 1, &e)) {
        device_settle_tree(dut);
        bench_resume(board);
        activity_run(board, dut, rand, 50);
        g_byte_array_unref(bench_save(board, dut));
        bench_reset(board);
    } else {
        if (!e) {
            abort();
        }
        error_free(e);
        machine_reset(RESET_POWER);
        bench_resume(board);
    }
    return 0;
}

GByteArray *fuzz_sample(unsigned i)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(i);
    uint8_t which = (uint8_t)(i / SAMPLES);
    GByteArray *out = g_byte_array_append(g_byte_array_new(), &which, 1);

    if (i / SAMPLES >= types->len) {
        g_byte_array_unref(out);
        return NULL;
    }
    if (enter(which)) {
        activity_run(board, dut, rand, 200 * (i % SAMPLES));
        g_autoptr(GByteArray) saved = bench_save(board, dut);
        g_byte_array_append(out, saved->data, saved->len);
        bench_reset(board);
    }
    return out;
}
