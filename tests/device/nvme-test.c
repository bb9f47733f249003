/* nvme-test.c: the NVMe controller: registers, queues, data, commands, errors, resets, state. */
#include "tests/device/nvme-helper.h"

#define DISK (8 * MiB)
#define BAD UINT64_C(0xf00000000000)           /* no RAM is there */

static TestMedium medium;
static BlkNode *slow;
static Nv v;

static int setup(void **state)
{
    Bench *b = bench_new();

    medium = medium_new("d0", DISK, false);
    slow = slow_node("slow", 20 * NS_PER_MS);
    v = nv_new(b, bench_device(b, &nvme_type, "nv", "serial", "S-1", "drive", "d0", "max_ioqpairs", "4",
                               "rerror", "stop", "werror", "stop", NULL));
    bench_device(b, &nvme_ns_type, "ns2", "drive", "slow", "nsid", "2", NULL);
    nv_enable(&v);
    nv_create_queue(&v, 1, NV_SIZE, 1);
    bench_msi_clear(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    Loop *worker = v.n->worker->loop;

    bench_free(*state);
    blk_forget_loop(worker);
    medium_free(&medium);
    assert_true(blk_close(slow, NULL));
    return 0;
}

static uint8_t *data(size_t n)
{
    return bench_ram(v.b, NV_DATA, n);
}

static void registers(void **state)
{
    Bench *b = *state;

    assert_int_equal(bench_config_read(b, v.d, 0, 4), 0x00101b36);
    assert_int_equal(bench_config_read(b, v.d, 8, 4), 0x01080202);
    assert_int_equal(bench_read64(b, v.bar), 0x004018200f0107ff);
    assert_int_equal(nv_reg(&v, NVME_VS), 0x00010400);
    assert_int_equal(nv_reg(&v, NVME_CSTS), 1);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 0, 1, 0), 0);
    assert_memory_equal(data(64) + 4, "S-1                 QEMU NVMe Ctrl", 34);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 1, 0, 0), 0);
    assert_int_equal(ld64(data(8)), DISK / 512);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 0, 2, 0), 0);
    assert_int_equal(ld32(data(12)), 1);
    assert_int_equal(ld32(data(12) + 4), 2);
    assert_int_equal(ld32(data(12) + 8), 0);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 0, 0x55, 0), 0x4002);
    assert_int_equal(nv_admin(&v, 0x99, 0, 0, 0), 0x4001);
}

static void read_write(void **state)
{
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 2, 0, 0)), 0);
    assert_int_equal(ld32(data(4)), 3 * 128);
    assert_int_equal(ld32(data(1024) + 1020), 5 * 128 - 1);
    assert_true(bench_msi_count(v.b) >= 1);
    assert_int_equal(bench_msi(v.b, 0)->data, 0x41);
    memset(data(512), 0x5a, 512);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_WRITE, 9, 1, 0, 0)), 0);
    assert_int_equal(medium_word(&medium, 9 * 512), 0x5a5a5a5a);
    assert_int_equal(medium_word(&medium, 10 * 512), 10 * 128);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = NVME_FLUSH, .nsid = 1 }), 0);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = NVME_FLUSH, .nsid = NVME_NSID_ALL }), 0);
    /* Bounds, namespaces, opcodes, fused commands. */
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, DISK / 512 - 1, 2, 0, 0)), 0x4080);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, UINT64_MAX, 1, 0, 0)), 0x4080);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = NVME_READ, .nsid = 3 }), 0x4002);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = NVME_READ, .nsid = 300 }), 0x400b);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = 0x77, .nsid = 1 }), 0x4001);
    assert_int_equal(nv_run(&v, 1, (NvCommand){ .opcode = NVME_READ, .flags = 1, .nsid = 1 }), 0x4002);
    /* Longer than MDTS. */
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 1025, 0, 0)), 0x4002);
}

static void check_words(Gpa at, uint64_t word, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(ld32(bench_ram(v.b, at + 4 * i, 4)), word + i);
    }
}

static void prps(void **state)
{
    uint8_t *list = bench_ram(v.b, NV_DATA + 0x10000, 0x2000);

    /* Two pages, the first from its middle. */
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 12, NV_DATA + 0x800, NV_DATA + 0x4000)), 0);
    check_words(NV_DATA + 0x800, 0, 512);
    check_words(NV_DATA + 0x4000, 512, 1024);
    /* A list that begins at the end of a page and goes on at another. */
    st64(list + 0xff0, NV_DATA + 0x5000);
    st64(list + 0xff8, NV_DATA + 0x11000);
    st64(list + 0x1000, NV_DATA + 0x7000);
    st64(list + 0x1008, NV_DATA + 0x6000);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 8, 32, NV_DATA, NV_DATA + 0x10ff0)), 0);
    check_words(NV_DATA, 1024, 1024);
    check_words(NV_DATA + 0x5000, 2048, 1024);
    check_words(NV_DATA + 0x7000, 3072, 1024);
    check_words(NV_DATA + 0x6000, 4096, 1024);
    /* Offsets, memory that is not there. */
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 16, NV_DATA, NV_DATA + 0x1008)), 0x4013);
    st64(list + 0x1000, NV_DATA + 4);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 8, 32, NV_DATA, NV_DATA + 0x10ff0)), 0x4013);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 32, NV_DATA, BAD)), 0x4004);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 8, BAD, 0)), 0x4004);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_WRITE, 0, 8, v.bar, 0)), 0x4004);
    assert_int_equal(medium_word(&medium, 4), 1);
}

static void sgl(uint8_t *at, unsigned type, uint64_t addr, uint32_t len)
{
    memset(at, 0, 16);
    st64(at, addr);
    st32(at + 8, len);
    at[15] = (uint8_t)(type << 4);
}

static uint16_t run_sgl(uint8_t opcode, unsigned blocks, unsigned type, uint64_t addr, uint32_t len)
{
    NvCommand c = nv_rw(opcode, 4, blocks, addr, len | (uint64_t)type << 60);

    c.flags = 0x40;
    return nv_run(&v, 1, c);
}

static void sgls(void **state)
{
    uint8_t *list = bench_ram(v.b, NV_DATA + 0x10000, 0x2000);

    assert_int_equal(run_sgl(NVME_READ, 2, 0, NV_DATA, 1024), 0);
    check_words(NV_DATA, 512, 256);
    assert_int_equal(run_sgl(NVME_READ, 2, 0, NV_DATA, 1020), 0x400f);
    /* A segment of odd pieces, then the last one. */
    sgl(list, 0, NV_DATA + 0x1000, 4);
    sgl(list + 16, 0, NV_DATA + 0x2000, 0);
    sgl(list + 32, 3, NV_DATA + 0x11000, 16);
    sgl(list + 0x1000, 0, NV_DATA + 0x3000, 1020);
    assert_int_equal(run_sgl(NVME_READ, 2, 2, NV_DATA + 0x10000, 48), 0);
    check_words(NV_DATA + 0x1000, 512, 1);
    check_words(NV_DATA + 0x3000, 513, 255);
    /* Lengths, types, a segment that leads to itself, an end too soon. */
    assert_int_equal(run_sgl(NVME_READ, 2, 2, NV_DATA + 0x10000, 47), 0x400d);
    assert_int_equal(run_sgl(NVME_READ, 2, 1, NV_DATA + 0x10000, 1024), 0x4011);
    assert_int_equal(run_sgl(NVME_READ, 2, 3, NV_DATA + 0x10000, 48), 0x400d);
    sgl(list, 2, NV_DATA + 0x10000, 16);
    assert_int_equal(run_sgl(NVME_READ, 2, 2, NV_DATA + 0x10000, 16), 0x400e);
    sgl(list, 0, NV_DATA, 4);
    assert_int_equal(run_sgl(NVME_READ, 2, 3, NV_DATA + 0x10000, 16), 0x400f);
    assert_int_equal(run_sgl(NVME_READ, 2, 3, BAD, 16), 0x4004);
    NvCommand c = { .opcode = NVME_IDENTIFY, .flags = 0x40, .cdw10 = 1 };
    assert_int_equal(nv_run(&v, 0, c), 0x4002);
}

/* What is counted as invalid: transfers, not what only looks. */
static void invalid(void **state)
{
    static const uint8_t past_end[] = { NVME_READ, NVME_WRITE, NVME_WRITE_ZEROES, NVME_COMPARE, NVME_VERIFY };
    const BlkFront *f = blk_front_find("nv");

    for (unsigned i = 0; i < G_N_ELEMENTS(past_end); i++) {
        assert_int_equal(nv_run(&v, 1, nv_rw(past_end[i], DISK / 512, 1, 0, 0)), 0x4080);
    }
    for (unsigned op = 0; op < BLK_OPS; op++) {
        assert_int_equal(f->invalid[op], op == BLK_READ || op == BLK_WRITE || op == BLK_ZERO);
    }
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 0, 2048, 0, 0)), 0x4002);
    assert_int_equal(f->invalid[BLK_READ], 2);
}

static void other_commands(void **state)
{
    NvCommand c = nv_rw(NVME_COMPARE, 6, 2, 0, 0);

    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 6, 2, 0, 0)), 0);
    assert_int_equal(nv_run(&v, 1, c), 0);
    data(1024)[1000] ^= 1;
    assert_int_equal(nv_run(&v, 1, c), 0x4285);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_VERIFY, 6, 200, 0, 0)), 0);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_VERIFY, DISK / 512, 1, 0, 0)), 0x4080);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_WRITE_ZEROES, 40, 3, 0, 0)), 0);
    assert_int_equal(medium_word(&medium, 40 * 512) | medium_word(&medium, 42 * 512 + 508), 0);
    assert_int_equal(medium_word(&medium, 43 * 512), 43 * 128);
    /* Deallocate two ranges; one past the end. */
    uint8_t *r = data(64);
    memset(r, 0, 64);
    st32(r + 4, 8);
    st64(r + 8, 64);
    st32(r + 20, 16);
    st64(r + 24, 80);
    c = (NvCommand){ .opcode = NVME_DSM, .nsid = 1, .cdw10 = 1, .cdw11 = 4 };
    assert_int_equal(nv_run(&v, 1, c), 0);
    assert_int_equal(medium_word(&medium, 64 * 512) | medium_word(&medium, 95 * 512), 0);
    assert_int_equal(medium_word(&medium, 72 * 512), 72 * 128);
    st64(r + 24, DISK / 512 - 15);
    assert_int_equal(nv_run(&v, 1, c), 0x4080);
    /* Copy of two ranges. */
    memset(r, 0, 64);
    st64(r + 8, 200);
    st16(r + 16, 9);
    st64(r + 40, 300);
    c = (NvCommand){ .opcode = NVME_COPY, .nsid = 1, .cdw10 = 1000, .cdw12 = 1 };
    assert_int_equal(nv_run(&v, 1, c), 0);
    assert_int_equal(medium_word(&medium, 1000 * 512), 200 * 128);
    assert_int_equal(medium_word(&medium, 1009 * 512), 209 * 128);
    assert_int_equal(medium_word(&medium, 1010 * 512), 300 * 128);
    assert_int_equal(medium_word(&medium, 1011 * 512), 1011 * 128);
    st16(r + 16, 128);
    assert_int_equal(nv_run(&v, 1, c), 0x4183);
    c.cdw12 = 128;
    assert_int_equal(nv_run(&v, 1, c), 0x4183);
}

static void queues(void **state)
{
    NvCommand c = { .opcode = NVME_CREATE_CQ, .cdw10 = 7 << 16 | 1, .cdw11 = 1 };

    assert_int_equal(nv_run(&v, 0, c), 0x4101);
    c.cdw10 = 2;
    assert_int_equal(nv_run(&v, 0, c), 0x4102);
    c.cdw10 = 7 << 16 | 9;
    assert_int_equal(nv_run(&v, 0, c), 0x4101);
    c.cdw10 = 7 << 16 | 2;
    c.cdw11 = 0x4001 << 16 | 1;
    assert_int_equal(nv_run(&v, 0, c), 0x4108);
    assert_int_equal(nv_admin(&v, NVME_DELETE_CQ, 0, 1, 0), 0x010c);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 7, 0x30003), 0x400c);
    /* More commands than the completion queue has room for: none is lost. */
    nv_create_queue(&v, 2, 8, 2);
    NvCommand r = nv_rw(NVME_READ, 1, 1, 0, 0);
    unsigned done = 0, put = 0;
    uint16_t status;
    while (done < 100) {
        while (put < 100 && put - done < 7) {
            nv_put(&v, 2, &r);
            put++;
        }
        nv_ring(&v, 2);
        nv_sync(&v);
        while (nv_take(&v, 2, &status)) {
            assert_int_equal(status, 0);
            done++;
        }
    }
    /* Deleted with commands in flight: they end first. */
    r.nsid = 2;
    for (unsigned i = 0; i < 3; i++) {
        nv_put(&v, 2, &r);
    }
    nv_ring(&v, 2);
    nv_sync(&v);
    assert_int_equal(nv_admin(&v, NVME_DELETE_SQ, 0, 2, 0), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(nv_take(&v, 2, &status));
    }
    assert_int_equal(nv_admin(&v, NVME_DELETE_CQ, 0, 2, 0), 0);
    assert_int_equal(nv_admin(&v, NVME_DELETE_SQ, 0, 2, 0), 0x4101);
    /* A doorbell of what is gone, and one that is too large, are told. */
    assert_int_equal(nv_run(&v, 1, r), 0);
    nv_set(&v, NVME_DOORBELLS + 16, 1);
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    nv_ring(&v, 0);
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.result, 0x010000);
}

static void features_and_logs(void **state)
{
    assert_int_equal(nv_admin(&v, NVME_GET_FEATURES, 0, 7, 0), 0);
    assert_int_equal(v.result, 0x30003);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 4 | 1u << 31, 0), 0x410d);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 8, 1), 0x410e);
    assert_int_equal(nv_admin(&v, NVME_GET_FEATURES, 0, 0x30, 0), 0x4002);
    st64(data(8), 5000);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 0xe, 0), 0);
    bench_step(v.b, 250 * NS_PER_MS);
    assert_int_equal(nv_admin(&v, NVME_GET_FEATURES, 0, 0xe, 0), 0);
    assert_int_equal(ld64(data(8)) & 0xffffffffffff, 5250);
    /* Temperature: an event, told once until the log was read. */
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 0xb, 0x102), 0);
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    uint16_t waiting = nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_SET_FEATURES, .cdw10 = 4, .cdw11 = 0x100 });
    nv_ring(&v, 0);
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.result, 0x020101);
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 4, 0x101), 0);
    assert_int_equal(nv_admin(&v, NVME_GET_LOG, NVME_NSID_ALL, 2 | 127 << 16, 0), 0);
    assert_int_equal(data(8)[0], 2);
    /* The second event was held back. */
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.answered, waiting);
    assert_int_equal(nv_admin(&v, NVME_GET_LOG, 0, 0x70, 0), 0x4002);
    assert_int_equal(nv_admin(&v, NVME_GET_LOG, NVME_NSID_ALL, 5 | 1023 << 16, 0), 0);
    assert_int_equal(ld32(data(4096) + 1024 + 4 * NVME_WRITE), 3);
    assert_int_equal(nv_run(&v, 0, (NvCommand){ .opcode = NVME_GET_LOG, .cdw10 = 3, .cdw12 = 512 }), 0x4002);
    /* Requests beyond the limit; one aborted. */
    for (unsigned i = 0; i < 4; i++) {
        nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    }
    nv_ring(&v, 0);
    nv_sync(&v);
    assert_int_equal(nv_admin(&v, NVME_ASYNC_EVENT, 0, 0, 0), 0x4105);
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ABORT, .cdw10 = (uint32_t)(v.cid - 1) << 16 });
    nv_ring(&v, 0);
    assert_int_equal(nv_wait(&v, 0), 0x4007 & 0xfff);
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.result, 0);
}

static void resized(void **state)
{
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 0xb, 0x100), 0);
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    nv_ring(&v, 0);
    nv_sync(&v);
    assert_true(blk_truncate(medium.node, 2 * DISK, NULL));
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.result, 0x040002);
    assert_int_equal(nv_admin(&v, NVME_GET_LOG, NVME_NSID_ALL, 4 | 1023 << 16, 0), 0);
    assert_int_equal(ld32(data(8)), 1);
    assert_int_equal(ld32(data(8) + 4), 0);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 1, 0, 0), 0);
    assert_int_equal(ld64(data(8)), 2 * DISK / 512);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, DISK / 512, 1, 0, 0)), 0);
}

static void namespaces(void **state)
{
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_WRITE_ZEROES, 0, 1, 0, 0)), 0);
    memset(data(8), 0, 8);
    st16(data(4), 1);
    assert_int_equal(nv_admin(&v, NVME_NS_ATTACH, 2, 0, 0), 0x4118);
    assert_int_equal(nv_admin(&v, NVME_NS_ATTACH, 2, 1, 0), 0);
    assert_int_equal(nv_admin(&v, NVME_NS_ATTACH, 2, 1, 0), 0x411a);
    assert_int_equal(nv_admin(&v, NVME_NS_ATTACH, 3, 0, 0), 0x4002);
    NvCommand c = nv_rw(NVME_READ, 0, 1, 0, 0);
    c.nsid = 2;
    assert_int_equal(nv_run(&v, 1, c), 0x4002);
    bench_save_load(v.b, v.d);
    assert_int_equal(nv_run(&v, 1, c), 0x4002);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 0, 2, 0), 0);
    assert_int_equal(ld32(data(8) + 4), 0);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 0, 0x10, 0), 0);
    assert_int_equal(ld32(data(8) + 4), 2);
    /* Unplugged with a command in flight: it ends. */
    memset(data(8), 0, 8);
    st16(data(4), 1);
    assert_int_equal(nv_admin(&v, NVME_NS_ATTACH, 2, 0, 0), 0);
    nv_put(&v, 1, &c);
    nv_ring(&v, 1);
    nv_sync(&v);
    bench_remove(v.b, device_find(v.b->m->root, "ns2"));
    assert_int_equal(nv_wait(&v, 1), 0);
    assert_int_equal(nv_run(&v, 1, c), 0x4002);
}

static void format(void **state)
{
    assert_int_equal(nv_admin(&v, NVME_FORMAT, 1, 5, 0), 0x410a);
    assert_int_equal(nv_admin(&v, NVME_FORMAT, 1, 1 << 5, 0), 0x410a);
    assert_int_equal(nv_admin(&v, NVME_FORMAT, 1, 2 << 9, 0), 0x4002);
    assert_int_equal(nv_admin(&v, NVME_FORMAT, 0, 0, 0), 0x400b);
    assert_int_equal(medium_word(&medium, 4), 1);
    assert_int_equal(nv_admin(&v, NVME_FORMAT, 1, 1, 0), 0);
    assert_int_equal(medium_word(&medium, 4) | medium_word(&medium, DISK - 4), 0);
    assert_int_equal(nv_admin(&v, NVME_IDENTIFY, 1, 0, 0), 0);
    assert_int_equal(ld64(data(8)), DISK / 4096);
    assert_int_equal(data(32)[26], 1);
    memset(data(4096), 0x77, 4096);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_WRITE, DISK / 4096 - 1, 1, 0, 0)), 0);
    assert_int_equal(medium_word(&medium, DISK - 4), 0x77777777);
    bench_save_load(v.b, v.d);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, DISK / 4096, 1, 0, 0)), 0x4080);
}

static void in_flight_reset(void **state)
{
    NvCommand c = nv_rw(NVME_READ, 0, 8, 0, 0);

    c.nsid = 2;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 5; i++) {
            nv_put(&v, 1, &c);
        }
        nv_ring(&v, 1);
        nv_sync(&v);
        if (round == 0) {
            nv_set(&v, NVME_CC, 0x460000);
            assert_int_equal(nv_reg(&v, NVME_CSTS) & 1, 1);    /* they end first */
            nv_wait_status(&v, 1, 0);
        } else {
            bench_reset(v.b);
            nv_map(&v);
            assert_int_equal(nv_reg(&v, NVME_CSTS), 0);
        }
        nv_enable(&v);
        nv_create_queue(&v, 1, NV_SIZE, 1);
        assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 1, 0, 0)), 0);
    }
    /* Enabled again without waiting. */
    nv_put(&v, 1, &c);
    nv_ring(&v, 1);
    nv_sync(&v);
    nv_set(&v, NVME_CC, 0x460000);
    nv_set(&v, NVME_CC, 0x460001);
    while (v.n->stopping) {
        nv_sync(&v);
    }
    assert_int_equal(nv_reg(&v, NVME_CSTS), 1);
    nv_disable(&v);
    nv_enable(&v);
    /* Shutdown. */
    nv_set(&v, NVME_CC, 0x464001);
    nv_wait_status(&v, 12, 8);
}

static void bad_enable(void **state)
{
    nv_disable(&v);
    nv_set(&v, NVME_AQA, 0);
    nv_set(&v, NVME_CC, 0x460001);
    assert_int_equal(nv_reg(&v, NVME_CSTS), 2);
    nv_disable(&v);
    nv_set(&v, NVME_CC, 0x460781);             /* pages too large */
    assert_int_equal(nv_reg(&v, NVME_CSTS), 2);
    nv_disable(&v);
    nv_enable(&v);
    /* Queues where there is no RAM: a fatal status, and a reset ends it. */
    assert_int_equal(nv_run(&v, 0, (NvCommand){ .opcode = NVME_CREATE_CQ, .prp1 = BAD, .cdw10 = 7 << 16 | 1,
                                                .cdw11 = 1 }), 0);
    assert_int_equal(nv_run(&v, 0, (NvCommand){ .opcode = NVME_CREATE_SQ, .prp1 = BAD, .cdw10 = 7 << 16 | 1,
                                                .cdw11 = 1 << 16 | 1 }), 0);
    nv_set(&v, NVME_DOORBELLS + 8, 1);
    nv_wait_status(&v, 2, 2);
    nv_disable(&v);
    nv_enable(&v);
    nv_create_queue(&v, 1, NV_SIZE, 1);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 1, 0, 0)), 0);
}

static void intx(void **state)
{
    unsigned cap = bench_capability(v.b, v.d, 0x11), gsi = 0;

    nv_disable(&v);
    bench_config_write(v.b, v.d, cap + 2, 0, 2);
    nv_enable(&v);
    NvCommand c = { .opcode = NVME_IDENTIFY, .cdw10 = 1 };
    nv_put(&v, 0, &c);
    nv_ring(&v, 0);
    nv_sync(&v);
    for (unsigned i = 16; i < 20; i++) {
        gsi = bench_irq(v.b, i) ? i : gsi;
    }
    assert_true(gsi != 0);
    nv_set(&v, NVME_INTMS, 1);
    assert_false(bench_irq(v.b, gsi));
    nv_set(&v, NVME_INTMC, 1);
    assert_true(bench_irq(v.b, gsi));
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_false(bench_irq(v.b, gsi));
    nv_create_queue(&v, 1, NV_SIZE, 0);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 1, 0, 0)), 0);
    assert_false(bench_irq(v.b, gsi));
}

static void shadow_doorbells(void **state)
{
    NvCommand c = { .opcode = NVME_DBBUF_CONFIG, .prp1 = NV_SHADOW, .prp2 = NV_SHADOW + 0x1000 };

    memset(bench_ram(v.b, NV_SHADOW, 0x2000), 0, 0x2000);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 1, 0, 0)), 0);
    assert_int_equal(nv_run(&v, 0, (NvCommand){ .opcode = NVME_DBBUF_CONFIG, .prp1 = NV_SHADOW + 8,
                                                .prp2 = NV_SHADOW }), 0x4002);
    assert_int_equal(nv_run(&v, 0, c), 0);
    v.shadow = true;
    nv_sync(&v);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, i, 1, 0, 0)), 0);
        assert_int_equal(ld32(data(4)), 128 * i);
    }
    nv_create_queue(&v, 2, NV_SIZE, 2);
    st64(bench_ram(v.b, NV_SHADOW + 16, 8), 0);
    assert_int_equal(nv_run(&v, 2, nv_rw(NVME_READ, 5, 1, 0, 0)), 0);
    bench_save_load(v.b, v.d);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 7, 1, 0, 0)), 0);
    nv_disable(&v);
    nv_enable(&v);
    nv_create_queue(&v, 1, NV_SIZE, 1);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 7, 1, 0, 0)), 0);
}

static void stop_on_error(void **state)
{
    NvCommand c = nv_rw(NVME_WRITE, 70, 2, 0, 0);

    memset(data(1024), 0x5c, 1024);
    /* Durable at once: no cache. */
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 6, 0), 0);
    uint16_t status, first = nv_put(&v, 1, &c);
    fault_arm("file-write", 1);
    nv_ring(&v, 1);
    wait_io_error(v.b);
    assert_false(nv_take(&v, 1, &status));
    assert_int_equal(blk_front_io_status(blk_front_find("nv")), BLK_IO_FAILED);
    bench_save_load(v.b, v.d);
    assert_int_equal(nv_wait(&v, 1), 0);
    assert_int_equal(v.answered, first);
    assert_int_equal(medium_word(&medium, 71 * 512), 0x5c5c5c5c);
    /* A queue that is deleted takes its parked commands along. */
    fault_arm("file-write", 1);
    nv_put(&v, 1, &c);
    nv_ring(&v, 1);
    wait_io_error(v.b);
    assert_int_equal(nv_admin(&v, NVME_DELETE_SQ, 0, 1, 0), 0);
    assert_int_equal(nv_wait(&v, 1), 8);
}

static void saved(void **state)
{
    nv_put(&v, 0, &(NvCommand){ .opcode = NVME_ASYNC_EVENT });
    nv_ring(&v, 0);
    nv_sync(&v);
    assert_int_equal(nv_admin(&v, NVME_SET_FEATURES, 0, 0xb, 0x100), 0);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 2, 0, 0)), 0);
    bench_save_load(v.b, v.d);
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 2, 0, 0)), 0);
    assert_int_equal(nv_admin(&v, NVME_GET_FEATURES, 0, 0xb, 0), 0);
    assert_int_equal(v.result, 0x100);
    assert_true(blk_truncate(medium.node, 2 * DISK, NULL));
    assert_int_equal(nv_wait(&v, 0), 0);
    assert_int_equal(v.result, 0x040002);
}

/* A completion queue that no command could have put there. */
static void saved_by_a_liar(void **state)
{
    g_autoptr(GByteArray) good = bench_save(v.b, v.d);
    uint8_t at[8];
    Error *e = NULL;

    st64(at, NV_AT + 0x18000);
    uint8_t *place = memmem(good->data, good->len, at, sizeof(at));
    assert_non_null(place);
    *place += 4;
    assert_false(bench_load(v.b, v.d, good, &e));
    error_free(e);
    *place -= 4;
    assert_true(bench_load(v.b, v.d, good, NULL));
    assert_int_equal(nv_run(&v, 1, nv_rw(NVME_READ, 3, 2, 0, 0)), 0);
}

static void refused(void **state)
{
    static const char *const rows[][3] = {
        { "cmb_size_mb", "2", "cmb_size_mb is not" },           { "max_ioqpairs", "0", "must be between" },
        { "msix_qsize", "3000", "msix_qsize must be" },         { "subsys", "s", "subsys is not supported" },
        { "sriov_max_vfs", "1", "SR-IOV" },                     { "zoned.zasl", "1", "zoned.zasl" },
        { "pmrdev", "m", "pmrdev" },                            { "smart_critical_warning", "255", "0xe0" },
    };
    static const char *const ns[][3] = {
        { "ms", "8", "ms is not supported" },   { "pi", "1", "pi is not supported" },
        { "zoned", "on", "zoned=on" },          { "nsid", "257", "invalid namespace id" },
        { "nsid", "1", "already allocated" },   { "uuid", "x", "doesn't take value" },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Error *e = NULL;
        assert_null(bench_try_device(v.b, &nvme_type, NULL, &e, "serial", "x", rows[i][0], rows[i][1], NULL));
        assert_non_null(strstr(error_text(e), rows[i][2]));
        error_free(e);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ns); i++) {
        Error *e = NULL;
        assert_null(bench_try_device(v.b, &nvme_ns_type, NULL, &e, "drive", "d0", "share-rw", "on", ns[i][0],
                                     ns[i][1], NULL));
        assert_non_null(strstr(error_text(e), ns[i][2]));
        error_free(e);
    }
    Error *e = NULL;
    assert_null(bench_try_device(v.b, &nvme_type, NULL, &e, NULL));
    assert_non_null(strstr(error_text(e), "serial property not set"));
    error_free(e);
    e = NULL;
    assert_null(bench_try_device(v.b, &nvme_ns_type, NULL, &e, NULL));
    assert_non_null(strstr(error_text(e), "block backend not configured"));
    error_free(e);
}

RUN_TESTS(TEST(registers), TEST(read_write), TEST(prps), TEST(sgls), TEST(invalid), TEST(other_commands),
          TEST(queues),
          TEST(features_and_logs), TEST(resized), TEST(namespaces), TEST(format), TEST(in_flight_reset),
          TEST(bad_enable), TEST(intx), TEST(shadow_doorbells), TEST(stop_on_error), TEST(saved),
          TEST(saved_by_a_liar),
          TEST(refused))
