/* nvme.c: commands and queues of a hostile NVMe host.
 *
 * 1. An input is a list of records of RECORD bytes: what to do, with which queue, a word, and a command.  A
 *    command's addresses are brought into RAM most of the time, and its numbers are made small.
 * 2. Between inputs the machine is reset; the board, the controller and its two namespaces stay. */
#include <stdlib.h>
#include "block/block.h"
#include "hw/catalogue.h"
#include "hw/storage/nvme.h"
#include "tests/conform/backends.h"
#include "tests/device/bench-pci.h"
#include "tests/fuzz/seeded.h"
#include "util/thread.h"

#define RECORD 72u
#define RECORDS_MAX 512u
#define QUEUES 4u
#define SIZE 16u
#define QUEUE_AT(i) (0x100000 + 0x10000 * (i))
#define TABLES 0x200000        /* what addresses point to: PRP lists, SGLs, ranges */

static Bench *board;
static Device *dut;
static Gpa bar;
static unsigned tail[QUEUES];

static void must(bool ok, Error *e)
{
    if (!ok) {
        error_report(e);
        exit(1);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const BlkOptions o = { .driver = "null-co", .node_name = "n2", .has_size = true, .size = 1 << 20,
                           .read_zeroes = true };
    Error *e = NULL;

    thread_become_control();
    catalogue_register();
    backends_open();
    must(blk_open(&o, &e) != NULL, e);
    board = bench_new();
    dut = bench_create(board, device_type_find("nvme"), "dut", &e);
    must(dut && backends_set(dut, &e) && device_realize(dut, &e), e);
    bench_device(board, device_type_find("nvme-ns"), "ns", "drive", "n2", NULL);
    return 0;
}

static void nothing(void *arg)
{
}

static void settle(void)
{
    loop_call_wait(((Nvme *)dut)->worker->loop, nothing, NULL);
    bench_run(board);
}

static void put(unsigned i, const uint8_t *cmd)
{
    memcpy(bench_ram(board, QUEUE_AT(i) + NVME_SQE * tail[i], NVME_SQE), cmd, NVME_SQE);
    tail[i] = (tail[i] + 1) % SIZE;
    bench_write32(board, bar + NVME_DOORBELLS + 8 * i, tail[i]);
}

/* Reads nothing of the answers: all are taken. */
static void take_all(void)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        const NvmeCq *cq = &((Nvme *)dut)->cqs[i];

        /* The worker may be moving it. */
        bench_write32(board, bar + NVME_DOORBELLS + 8 * i + 4, __atomic_load_n(&cq->tail, __ATOMIC_RELAXED));
    }
}

static void create(unsigned i, uint8_t opcode, Gpa at, unsigned flags)
{
    uint8_t cmd[NVME_SQE] = { opcode };

    st64(cmd + SQE_DPTR, at);
    st32(cmd + SQE_CDW10, (SIZE - 1) << 16 | i);
    st32(cmd + SQE_CDW11, flags);
    put(0, cmd);
    settle();
    take_all();
}

static void start(void)
{
    bar = bench_bar(board, dut, 0);
    memset(tail, 0, sizeof(tail));
    bench_write32(board, bar + NVME_AQA, (SIZE - 1) * 0x10001);
    bench_write64(board, bar + NVME_ASQ, QUEUE_AT(0));
    bench_write64(board, bar + NVME_ACQ, QUEUE_AT(0) + 0x8000);
    bench_write32(board, bar + NVME_CC, 0x460001);
    for (unsigned i = 1; i < QUEUES - 1; i++) {
        create(i, NVME_CREATE_CQ, QUEUE_AT(i) + 0x8000, 3);
        create(i, NVME_CREATE_SQ, QUEUE_AT(i), i << 16 | 1);
    }
}

static void command(unsigned i, uint8_t mode, uint8_t *cmd)
{
    if (mode & 1) {
        st32(cmd + SQE_NSID, cmd[SQE_NSID] % 4);
        cmd[SQE_FLAGS] &= 0xc0;
    }
    for (unsigned at = SQE_DPTR; mode & 2 && at < SQE_DPTR + 16; at += 8) {
        st64(cmd + at, TABLES + (ld64(cmd + at) & (mode & 4 ? 0xf000 : 0xfff8)));
    }
    if (mode & 8) {
        st32(cmd + SQE_CDW10, ld32(cmd + SQE_CDW10) & 0xff00ff);
        st32(cmd + SQE_CDW11, ld32(cmd + SQE_CDW11) & 0x3000f);
        st32(cmd + SQE_CDW12, ld32(cmd + SQE_CDW12) & 0xff);
    }
    put(i, cmd);
}

static void record(const uint8_t *r)
{
    uint8_t cmd[NVME_SQE];
    unsigned i = r[1] % QUEUES;
    uint32_t word = ld32(r + 4);

    memcpy(cmd, r + 8, sizeof(cmd));
    switch (r[0] & 15) {
    case 0:
        bench_write32(board, bar + (word & 0x3c), r[2] & 1 ? word >> 8 : ld32(cmd));
        break;
    case 1:
        bench_write32(board, bar + NVME_DOORBELLS + 4 * (r[1] % 16), word & (r[2] & 1 ? 15 : UINT32_MAX));
        break;
    case 2:
        start();
        break;
    case 3:
    case 4:
        for (unsigned at = 0; at < sizeof(cmd); at += 8) {
            st64(cmd + at, r[2] & 1 ? TABLES + (ld64(cmd + at) & 0xf000) : ld64(cmd + at) & 0xf0fff);
        }
        memcpy(bench_ram(board, TABLES + (word & 0xffc0), sizeof(cmd)), cmd, sizeof(cmd));
        break;
    case 5:
        settle();
        take_all();
        break;
    case 6:
        bench_step(board, NS_PER_MS);
        break;
    default:
        cmd[0] = i == 0 && r[3] & 1 ? cmd[0] & 15 : i && r[3] & 1 ? cmd[0] & 31 : cmd[0];
        command(i, r[2], cmd);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    for (size_t at = 0; at + RECORD <= size && at < RECORDS_MAX * RECORD; at += RECORD) {
        record(data + at);
    }
    settle();
    bench_reset(board);
    memset(bench_ram(board, QUEUE_AT(0), 0x110000), 0, 0x110000);
    return 0;
}

void fuzz_end(void)
{
    bench_free(board);
}

GByteArray *fuzz_sample(unsigned i)
{
    return fuzz_random_sample(i, 16, 64 * RECORD);
}
