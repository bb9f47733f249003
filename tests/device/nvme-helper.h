/* nvme-helper.h: a small NVMe driver on the fake board. */
#ifndef TESTS_DEVICE_NVME_HELPER_H
#define TESTS_DEVICE_NVME_HELPER_H

#include "tests/device/ide-helper.h"
#include "hw/storage/nvme.h"

extern const DeviceType nvme_type, nvme_ns_type;

#define NV_QUEUES 4
#define NV_SIZE 8u             /* entries of a queue */
#define NV_AT 0x100000         /* queue n: 64 KiB from here, completions at +0x8000 */
#define NV_DATA 0x200000
#define NV_SHADOW 0x1f0000     /* shadow doorbells, then event indexes */

typedef struct Nv {
    Bench *b;
    Device *d;
    Nvme *n;
    Gpa bar;
    bool shadow;
    struct { unsigned size, tail, head; bool phase; } q[NV_QUEUES];
    uint16_t cid;
    uint32_t result;           /* of the answer that came last */
    uint16_t answered;         /* its command's id */
} Nv;

typedef struct NvCommand {
    uint8_t opcode, flags;
    uint32_t nsid;
    uint64_t prp1, prp2;
    uint32_t cdw10, cdw11, cdw12, cdw13, cdw14;
} NvCommand;

static inline void nv_nop(void *arg)
{
}

static inline void nv_sync(Nv *v)
{
    /* Twice: a notifier that epoll reports after the first is served before the second. */
    loop_call_wait(v->n->worker->loop, nv_nop, NULL);
    loop_call_wait(v->n->worker->loop, nv_nop, NULL);
    bench_run(v->b);
}

static inline uint32_t nv_reg(Nv *v, unsigned off)
{
    return bench_read32(v->b, v->bar + off);
}

static inline void nv_set(Nv *v, unsigned off, uint32_t val)
{
    bench_write32(v->b, v->bar + off, val);
}

/* MSI-X on, and the registers where it left them: the table is in the same BAR. */
static inline void nv_map(Nv *v)
{
    bench_msix_on(v->b, v->d);
    v->bar = bench_config_read(v->b, v->d, 0x10, 4) & ~15u;
}

static inline Nv nv_new(Bench *b, Device *d)
{
    Nv v = { .b = b, .d = d, .n = (Nvme *)d };

    nv_map(&v);
    return v;
}

static inline void nv_queue_clear(Nv *v, unsigned i, unsigned size)
{
    memset(bench_ram(v->b, NV_AT + 0x10000 * i, 0x10000), 0, 0x10000);
    v->q[i].size = size;
    v->q[i].tail = v->q[i].head = 0;
    v->q[i].phase = true;
}

static inline void nv_wait_status(Nv *v, uint32_t mask, uint32_t want)
{
    while ((nv_reg(v, NVME_CSTS) & mask) != want) {
        nv_sync(v);
    }
}

static inline void nv_enable(Nv *v)
{
    nv_queue_clear(v, 0, NV_SIZE);
    v->shadow = false;
    nv_set(v, NVME_AQA, (NV_SIZE - 1) * 0x10001);
    bench_write64(v->b, v->bar + NVME_ASQ, NV_AT);
    bench_write64(v->b, v->bar + NVME_ACQ, NV_AT + 0x8000);
    nv_set(v, NVME_CC, 0x460001);
    nv_wait_status(v, 3, 1);
}

static inline void nv_disable(Nv *v)
{
    nv_set(v, NVME_CC, 0x460000);
    nv_wait_status(v, 1, 0);
}

static inline void nv_bell(Nv *v, unsigned i, unsigned which, unsigned val)
{
    if (v->shadow && i) {
        uint8_t *db = bench_ram(v->b, NV_SHADOW + 8 * i + 4 * which, 4);
        uint8_t *at = bench_ram(v->b, NV_SHADOW + 0x1000 + 8 * i + 4 * which, 4);
        uint16_t old = ld16(db);
        __atomic_store_n((uint32_t *)(void *)db, val, __ATOMIC_SEQ_CST);
        uint16_t ei = (uint16_t)__atomic_load_n((uint32_t *)(void *)at, __ATOMIC_SEQ_CST);
        if ((uint16_t)(val - ei - 1) >= (uint16_t)(val - old)) {
            return;
        }
    }
    nv_set(v, NVME_DOORBELLS + 8 * i + 4 * which, val);
}

/* Puts a command into queue @i without ringing; its id is returned. */
static inline uint16_t nv_put(Nv *v, unsigned i, const NvCommand *c)
{
    uint8_t *e = bench_ram(v->b, NV_AT + 0x10000 * i + NVME_SQE * v->q[i].tail, NVME_SQE);

    memset(e, 0, NVME_SQE);
    e[0] = c->opcode;
    e[1] = c->flags;
    st16(e + 2, ++v->cid);
    st32(e + 4, c->nsid);
    st64(e + 24, c->prp1 ? c->prp1 : NV_DATA);
    st64(e + 32, c->prp2);
    st32(e + 40, c->cdw10);
    st32(e + 44, c->cdw11);
    st32(e + 48, c->cdw12);
    st32(e + 52, c->cdw13);
    st32(e + 56, c->cdw14);
    v->q[i].tail = (v->q[i].tail + 1) % v->q[i].size;
    return v->cid;
}

static inline void nv_ring(Nv *v, unsigned i)
{
    nv_bell(v, i, 0, v->q[i].tail);
}

/* The answer is there; takes it. */
static inline bool nv_take(Nv *v, unsigned i, uint16_t *status)
{
    uint8_t *e = bench_ram(v->b, NV_AT + 0x10000 * i + 0x8000 + NVME_CQE * v->q[i].head, NVME_CQE);
    uint32_t last = le32toh(__atomic_load_n((uint32_t *)(void *)(e + 12), __ATOMIC_ACQUIRE));

    if ((last >> 16 & 1) != v->q[i].phase) {
        return false;
    }
    *status = last >> 17;
    v->result = ld32(e);
    v->answered = (uint16_t)last;
    if (++v->q[i].head == v->q[i].size) {
        v->q[i].head = 0;
        v->q[i].phase = !v->q[i].phase;
    }
    nv_bell(v, i, 1, v->q[i].head);
    return true;
}

static inline uint16_t nv_wait(Nv *v, unsigned i)
{
    uint16_t status;

    while (!nv_take(v, i, &status)) {
        nv_sync(v);
    }
    return status;
}

static inline uint16_t nv_run(Nv *v, unsigned i, NvCommand c)
{
    uint16_t id = nv_put(v, i, &c);

    nv_ring(v, i);
    uint16_t status = nv_wait(v, i);
    assert_int_equal(v->answered, id);
    return status;
}

static inline uint16_t nv_admin(Nv *v, uint8_t opcode, uint32_t nsid, uint32_t cdw10, uint32_t cdw11)
{
    return nv_run(v, 0, (NvCommand){ .opcode = opcode, .nsid = nsid, .cdw10 = cdw10, .cdw11 = cdw11 });
}

static inline void nv_create_queue(Nv *v, unsigned i, unsigned size, unsigned vector)
{
    nv_queue_clear(v, i, size);
    NvCommand c = { .opcode = NVME_CREATE_CQ, .prp1 = NV_AT + 0x10000 * i + 0x8000,
                    .cdw10 = (size - 1) << 16 | i, .cdw11 = vector << 16 | 3 };
    assert_int_equal(nv_run(v, 0, c), 0);
    c = (NvCommand){ .opcode = NVME_CREATE_SQ, .prp1 = NV_AT + 0x10000 * i,
                     .cdw10 = (size - 1) << 16 | i, .cdw11 = i << 16 | 1 };
    assert_int_equal(nv_run(v, 0, c), 0);
}

static inline NvCommand nv_rw(uint8_t opcode, uint64_t lba, unsigned blocks, uint64_t prp1, uint64_t prp2)
{
    return (NvCommand){ .opcode = opcode, .nsid = 1, .prp1 = prp1, .prp2 = prp2, .cdw10 = (uint32_t)lba,
                        .cdw11 = lba >> 32, .cdw12 = blocks - 1 };
}

#endif
