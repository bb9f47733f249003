/* virtio-test.c: the virtio core and its PCI transport, with a device that echoes. */
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "core/rng.h"
#include "tests/device/bench-virtio.h"
#include "util/fault.h"
#include "util/trace.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define EVENT (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED (UINT64_C(1) << VIRTIO_F_RING_PACKED)
#define IN_ORDER (UINT64_C(1) << VIRTIO_F_IN_ORDER)
#define RING_RESET (UINT64_C(1) << VIRTIO_F_RING_RESET)

extern const DeviceType virtio_rng_pci, virtio_rng_pci_transitional, virtio_rng_pci_modern;

/* Waits for @n used elements of a round of requests of @len bytes each, on every ring format. */
static void exchange(uint64_t features, bool indirect)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &virtio_rng_pci, "r", "packed", features & PACKED ? "on" : "off",
                             "in_order", features & IN_ORDER ? "on" : "off", NULL);
    Vd *vd = vd_new(b, d);

    vd_start(vd, features | V1, 1);
    assert_int_equal(vd->agreed, features | V1);
    /* Enough to go around the ring several times. */
    for (unsigned i = 0; i < 50; i++) {
        VdSeg segs[] = { { vd_buf(vd, 0, 0), 16, true }, { vd_buf(vd, 0, 1), 8 + i, true } };
        memset(bench_ram(b, vd_buf(vd, 0, 0), 8192), 0, 8192);
        uint16_t want = vd_add(vd, 0, segs, 2, indirect), id;
        vd_kick(vd, 0);
        assert_int_equal(vd_wait(vd, 0, &id), 24 + i);
        assert_int_equal(id, want);
        static const uint8_t none[16];
        assert_memory_not_equal(bench_ram(b, vd_buf(vd, 0, 0), 16), none, 16);
    }
    vd_sync(vd);
    assert_true(bench_msi_count(b) > 0);
    assert_int_equal(bench_msi(b, 0)->data, 0x41);
    assert_false(vd->v->broken);
    vd_reset(vd);
    vd_free(vd);
    bench_free(b);
}

static void test_split(void **state) { exchange(0, false); }
static void test_split_event(void **state) { exchange(EVENT, false); }
static void test_split_indirect(void **state) { exchange(INDIRECT, true); }
static void test_packed(void **state) { exchange(PACKED, false); }
static void test_packed_event(void **state) { exchange(PACKED | EVENT, false); }
static void test_packed_indirect(void **state) { exchange(PACKED | INDIRECT, true); }
static void test_in_order(void **state) { exchange(IN_ORDER | EVENT, false); }

/* A request of 16 bytes without a kick. */
static void offer(Vd *vd)
{
    VdSeg seg = { vd_buf(vd, 0, 0), 16, true };

    vd_add(vd, 0, &seg, 1, false);
}

static bool asked_to_kick(Vd *vd)
{
    vd_sync(vd);
    if (vd->packed) {
        return ld16(bench_ram(vd->b, vd->q[0].base + 0x2002, 2)) != VRING_PACKED_EVENT_FLAG_DISABLE;
    }
    return (ld16(bench_ram(vd->b, vd->q[0].base + 0x2000, 2)) & VRING_USED_F_NO_NOTIFY) == 0;
}

static void polled(uint64_t features)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &virtio_rng_pci, "r", "packed", features & PACKED ? "on" : "off", NULL);
    Vd *vd = vd_new(b, d);
    Loop *worker = vd->v->worker->loop;

    vd_start(vd, V1 | features, 1);
    loop_set_poll(worker, 0, 0, 0);
    offer(vd);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 16);
    assert_true(asked_to_kick(vd));
    offer(vd);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 16);
    /* Every sleep is short for this limit; in the end the loop spins from one call to the next. */
    loop_set_poll(worker, 60 * NS_PER_SEC, 1000, 0);
    while (asked_to_kick(vd)) {
    }
    for (unsigned i = 0; i < 100; i++) {
        offer(vd);
        assert_int_equal(vd_wait(vd, 0, NULL), 16);
    }
    loop_set_poll(worker, 0, 0, 0);
    while (!asked_to_kick(vd)) {
    }
    offer(vd);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 16);
    vd_reset(vd);
    vd_free(vd);
    bench_free(b);
}

static void test_polled_split(void **state) { polled(0); }
static void test_polled_packed(void **state) { polled(PACKED); }

static void test_ids(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &virtio_rng_pci, "a", NULL);
    Device *t = bench_device(b, &virtio_rng_pci_transitional, "t", NULL);
    Device *m = bench_device(b, &virtio_rng_pci_modern, "m", NULL);

    /* On the root complex "auto" is transitional. */
    assert_int_equal(bench_config_read(b, d, 0, 4), 0x10051af4);
    assert_int_equal(bench_config_read(b, t, 0, 4), 0x10051af4);
    assert_int_equal(bench_config_read(b, t, 0x2c, 4), 0x00041af4);
    assert_int_equal(bench_config_read(b, t, 8, 4), 0x00ff0000);
    assert_int_equal(bench_config_read(b, m, 0, 4), 0x10441af4);
    assert_int_equal(bench_config_read(b, m, 0x2c, 4), 0x11001af4);
    assert_int_equal(bench_config_read(b, m, 8, 1), 1);
    assert_int_equal(bench_bar_size(b, m, 0), 0);
    assert_int_equal(bench_bar_size(b, t, 0), 32);
    assert_int_equal(bench_bar_size(b, m, 4), 0x4000);
    Error *e = NULL;
    assert_null(bench_try_device(b, &virtio_rng_pci, "n", &e, "disable-legacy", "on", "disable-modern", "on",
                                 NULL));
    assert_string_equal(error_text(e), "device cannot work as neither modern nor legacy mode is enabled");
    error_free(e);
    bench_free(b);
}

static void test_features(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", NULL));

    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 3);
    /* Without VERSION_1, then with what was not offered. */
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1), 3);
    vd_set_common(vd, VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
    vd_set_common(vd, VIRTIO_PCI_COMMON_GF, 4, 1 | 1u << 31);
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1), 3);
    vd_set_common(vd, VIRTIO_PCI_COMMON_GF, 4, 1);
    vd_set_common(vd, VIRTIO_PCI_COMMON_STATUS, 1, 0xb);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1), 0xb);
    /* Fixed from now on. */
    vd_set_common(vd, VIRTIO_PCI_COMMON_GF, 4, 0);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_GF, 4), 1);
    /* Selectors out of range read zero. */
    vd_set_common(vd, VIRTIO_PCI_COMMON_DFSELECT, 4, 2);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_DF, 4), 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, 99);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_MSIX, 2, 77);
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
    vd_free(vd);
    bench_free(b);
}

/* Sets one descriptor chain up badly and expects the device to break, alone, until it is reset. */
static void hostile(uint64_t features, void (*spoil)(Vd *vd))
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", "packed",
                                    features & PACKED ? "on" : "off", NULL));
    VdSeg seg = { 0, 64, true };

    vd_start(vd, features | V1, 1);
    seg.addr = vd_buf(vd, 0, 0);
    spoil(vd);
    vd_kick(vd, 0);
    while (!__atomic_load_n(&vd->v->broken, __ATOMIC_SEQ_CST)) {
        vd_sync(vd);
    }
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_STATUS, 1) & VIRTIO_CONFIG_S_NEEDS_RESET,
                     VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_int_equal(bench_msi(b, 0)->data, 0x40);
    vd_start(vd, features | V1, 1);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 64);
    vd_free(vd);
    bench_free(b);
}

/* As a driver's CPU does: seen with all that was written before. */
static void set_index(Vd *vd, uint16_t index)
{
    __atomic_store_n((uint16_t *)(void *)bench_ram(vd->b, vd->q[0].base + 0x1002, 2), index,
                     __ATOMIC_SEQ_CST);
}

static void spoil_index(Vd *vd)
{
    set_index(vd, 300);
}

static void spoil_head(Vd *vd)
{
    st16(bench_ram(vd->b, vd->q[0].base + 0x1004, 2), 0xfff0);
    set_index(vd, 1);
}

static void spoil_loop(Vd *vd)
{
    uint8_t *d = bench_ram(vd->b, vd->q[0].base, 32);

    st64(d, VD_AT);
    st32(d + 8, 4);
    st16(d + 12, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
    st16(d + 14, 0);
    set_index(vd, 1);
}

static void spoil_address(Vd *vd)
{
    VdSeg seg = { UINT64_C(0xfffffffffffff000), 64, true };

    vd_add(vd, 0, &seg, 1, false);
}

static void spoil_order(Vd *vd)
{
    VdSeg segs[] = { { VD_AT, 8, true }, { VD_AT, 8, false } };

    vd_add(vd, 0, segs, 2, false);
}

static void spoil_indirect_size(Vd *vd)
{
    uint8_t *d = bench_ram(vd->b, vd->q[0].base, 32);

    st64(d, VD_AT);
    st32(d + 8, 17);
    st16(d + 12, VRING_DESC_F_INDIRECT);
    set_index(vd, 1);
}

static void spoil_indirect_nested(Vd *vd)
{
    uint8_t *d = bench_ram(vd->b, vd->q[0].base, 32);

    st64(d, VD_AT);
    st32(d + 8, 16);
    st16(d + 12, VRING_DESC_F_INDIRECT);
    set_index(vd, 1);
    /* VD_AT is the ring itself: an indirect entry that is indirect. */
}

static void spoil_packed_endless(Vd *vd)
{
    for (unsigned i = vd->q[0].size; i-- > 0;) {
        uint8_t *d = bench_ram(vd->b, vd->q[0].base + 16 * i, 16);
        st64(d, VD_AT);
        st32(d + 8, 4);
        __atomic_store_n((uint16_t *)(void *)(d + 14), VRING_DESC_F_NEXT | VRING_DESC_F_WRITE |
                         1 << VRING_PACKED_DESC_F_AVAIL, __ATOMIC_SEQ_CST);
    }
}

static void test_hostile(void **state)
{
    hostile(0, spoil_index);
    hostile(0, spoil_head);
    hostile(0, spoil_loop);
    hostile(0, spoil_address);
    hostile(0, spoil_order);
    hostile(INDIRECT, spoil_indirect_size);
    hostile(INDIRECT, spoil_indirect_nested);
    hostile(PACKED, spoil_packed_endless);
}

static void test_bad_ring_place(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", NULL));

    vd_start(vd, V1, 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_DESCHI, 4, 0x1000);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    while (!__atomic_load_n(&vd->v->broken, __ATOMIC_SEQ_CST)) {
        vd_sync(vd);
    }
    vd_reset(vd);
    /* A size that is no power of two, areas that are not aligned. */
    for (unsigned i = 0; i < 2; i++) {
        vd_start(vd, V1, 0);
        vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
        vd_set_common(vd, VIRTIO_PCI_COMMON_Q_SIZE, 2, i ? 8 : 7);
        vd_set_common(vd, VIRTIO_PCI_COMMON_Q_DESCLO, 4, i ? 0x1001 : 0x1000);
        vd_set_common(vd, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
        assert_true(vd->v->broken);
        vd_reset(vd);
    }
    vd_free(vd);
    bench_free(b);
}

static void test_ring_reset(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", NULL));
    VdSeg seg = { 0, 32, true };

    vd_start(vd, V1 | RING_RESET, 1);
    seg.addr = vd_buf(vd, 0, 0);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    vd_wait(vd, 0, NULL);
    vd_set_common(vd, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
    while (vd_common(vd, VIRTIO_PCI_COMMON_Q_RESET, 2)) {
        vd_sync(vd);
    }
    assert_int_equal(vd_common(vd, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    vd_queue_setup(vd, 0);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 32);
    vd_free(vd);
    bench_free(b);
}

static void test_doorbells(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci, "m", NULL));

    assert_null(bench_bell_at(b, SPACE_MEM, vd->bar + 0x3000));
    vd_start(vd, V1, 1);
    const BenchBell *bell = bench_bell_at(b, SPACE_MEM, vd->bar + 0x3000);
    assert_non_null(bell);
    assert_int_equal(bell->size, 0);
    assert_false(bell->has_match);
    /* It follows the BAR. */
    bench_bar_at(b, vd->d, 4, 0xf0000000);
    assert_null(bench_bell_at(b, SPACE_MEM, vd->bar + 0x3000));
    assert_non_null(bench_bell_at(b, SPACE_MEM, 0xf0003000));
    vd->bar = 0xf0000000;
    vd_reset(vd);
    assert_null(bench_bell_at(b, SPACE_MEM, 0xf0003000));
    vd_free(vd);
    bench_free(b);
}

static void test_no_ioeventfd(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci, "m", "ioeventfd", "off", "page-per-vq", "on", NULL));
    VdSeg seg = { 0, 32, true };

    assert_int_equal(bench_bar_size(b, vd->d, 4), 0x4000);
    vd_start(vd, V1, 1);
    assert_null(bench_bell_at(b, SPACE_MEM, vd->bar + 0x3000));
    seg.addr = vd_buf(vd, 0, 0);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 32);
    vd_free(vd);
    bench_free(b);
}

/* The legacy registers, with INTx. */
static void test_legacy(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &virtio_rng_pci_transitional, "t", "addr", "4", NULL);
    uint16_t io = (uint16_t)bench_bar(b, d, 0);
    uint8_t *ring = bench_ram(b, 0x100000, 0x3000);
    unsigned size;

    bench_out8(b, io + VIRTIO_PCI_STATUS, 0);
    bench_out8(b, io + VIRTIO_PCI_STATUS, 3);
    assert_int_equal(bench_in32(b, io + VIRTIO_PCI_HOST_FEATURES) >> VIRTIO_F_NOTIFY_ON_EMPTY & 1, 1);
    bench_out32(b, io + VIRTIO_PCI_GUEST_FEATURES, 0);
    bench_out16(b, io + VIRTIO_PCI_QUEUE_SEL, 0);
    size = bench_in16(b, io + VIRTIO_PCI_QUEUE_NUM);
    assert_int_equal(size, 8);
    bench_out32(b, io + VIRTIO_PCI_QUEUE_PFN, 0x100);
    bench_out8(b, io + VIRTIO_PCI_STATUS, 7);
    st64(ring, 0x180000);
    st32(ring + 8, 48);
    st16(ring + 12, VRING_DESC_F_WRITE);
    __atomic_store_n((uint16_t *)(void *)(ring + 16 * size + 2), 1, __ATOMIC_SEQ_CST);
    bench_out16(b, io + VIRTIO_PCI_QUEUE_NOTIFY, 0);
    while (!bench_irq(b, 16)) {
        bench_run(b);
    }
    assert_int_equal(__atomic_load_n((uint16_t *)(void *)(ring + 0x1002), __ATOMIC_ACQUIRE), 1);
    assert_int_equal(ld32(ring + 0x1008), 48);
    assert_int_equal(bench_in8(b, io + VIRTIO_PCI_ISR), 1);
    assert_false(bench_irq(b, 16));
    assert_int_equal(bench_in8(b, io + VIRTIO_PCI_ISR), 0);
    /* The write returns when the device is quiet. */
    bench_out8(b, io + VIRTIO_PCI_STATUS, 0);
    assert_int_equal(bench_in8(b, io + VIRTIO_PCI_STATUS), 0);
    assert_int_equal(bench_in32(b, io + VIRTIO_PCI_QUEUE_PFN), 0);
    bench_free(b);
}

static void test_cfg_window(void **state)
{
    Bench *b = bench_new();
    Device *d = bench_device(b, &virtio_rng_pci_modern, "m", NULL);
    unsigned at = bench_config_read(b, d, PCI_CAPABILITY_LIST, 1);

    while (at && !(bench_config_read(b, d, at, 1) == PCI_CAP_ID_VNDR &&
                   bench_config_read(b, d, at + 3, 1) == VIRTIO_PCI_CAP_PCI_CFG)) {
        at = bench_config_read(b, d, at + 1, 1);
    }
    assert_int_not_equal(at, 0);
    bench_config_write(b, d, at + 4, 4, 1);
    bench_config_write(b, d, at + 8, VIRTIO_PCI_COMMON_NUMQ, 4);
    bench_config_write(b, d, at + 12, 2, 4);
    assert_int_equal(bench_config_read(b, d, at + 16, 2), 1);
    bench_config_write(b, d, at + 8, VIRTIO_PCI_COMMON_STATUS, 4);
    bench_config_write(b, d, at + 12, 1, 4);
    bench_config_write(b, d, at + 16, 3, 1);
    assert_int_equal(bench_config_read(b, d, at + 16, 1), 3);
    /* Out of the window: nothing happens. */
    bench_config_write(b, d, at + 8, 0xfffffff0, 4);
    bench_config_write(b, d, at + 16, 0xff, 1);
    bench_free(b);
}

static void test_life(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", NULL));
    VdSeg seg = { 0, 32, true };

    vd_start(vd, V1 | EVENT, 1);
    seg.addr = vd_buf(vd, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        bench_quiesce(b);
        vd_add(vd, 0, &seg, 1, false);
        vd_kick(vd, 0);
        vd_sync(vd);
        assert_false(vd_used(vd, 0));
        bench_resume(b);
        assert_int_equal(vd_wait(vd, 0, NULL), 32);
    }
    bench_save_load(b, vd->d);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 32);
    bench_reset(b);
    assert_int_equal(vd->v->status, 0);
    bench_bar_at(b, vd->d, 4, vd->bar);
    bench_config_write(b, vd->d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    vd_start(vd, V1, 1);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    vd_wait(vd, 0, NULL);
    bench_remove(b, vd->d);
    vd_free(vd);
    bench_free(b);
}

static void test_rng_limit(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", "max-bytes", "40",
                                     "period", "1000", NULL));
    VdSeg seg = { 0, 32, true };

    vd_start(vd, V1, 1);
    seg.addr = vd_buf(vd, 0, 0);
    for (unsigned i = 0; i < 3; i++) {
        vd_add(vd, 0, &seg, 1, false);
    }
    vd_kick(vd, 0);
    assert_int_equal(vd_wait(vd, 0, NULL), 32);
    assert_int_equal(vd_wait(vd, 0, NULL), 8);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    bench_step(b, 1001 * NS_PER_MS);
    assert_int_equal(vd_wait(vd, 0, NULL), 32);
    vd_free(vd);
    bench_free(b);
}

/* The ring is found again when the memory map has changed, and missed when it is gone. */
static void test_map_changes(void **state)
{
    Bench *b = bench_new();
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", NULL));
    VdSeg seg = { 0, 32, true };

    for (unsigned round = 0; round < 2; round++) {
        vd_start(vd, V1, 1);
        seg.addr = vd_buf(vd, 0, 0);
        for (unsigned i = 0; i < 3; i++) {
            vd_add(vd, 0, &seg, 1, false);
            vd_kick(vd, 0);
            assert_int_equal(vd_wait(vd, 0, NULL), 32);
        }
        map_drop_one(&b->ram_region);
        vd_kick(vd, 0);
        while (!__atomic_load_n(&vd->v->broken, __ATOMIC_SEQ_CST)) {
            vd_sync(vd);
        }
        map_put_one(&b->m->mem_root, &b->ram_region, 0, 0);
    }
    vd_free(vd);
    bench_free(b);
}

static RngSource *source;

static void *find_source(const char *id, Error **errp)
{
    return source;
}

static const char *source_id(void *target)
{
    return ((RngSource *)target)->id;
}

/* What a source has is what the guest gets; when it has nothing, the request waits. */
static void test_rng_source(void **state)
{
    static const LinkClass cls = { "rng", find_source, source_id };
    Bench *b = bench_new();
    g_autofree char *dir = g_dir_make_tmp("rhea-rng-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    Error *e = NULL;

    link_class_register(&cls);
    assert_null(rng_new("s0", "/no/such/file", &e));
    assert_string_equal(error_text(e), "Could not open '/no/such/file': No such file or directory");
    g_clear_pointer(&e, error_free);
    assert_int_equal(mkfifo(path, 0600), 0);
    source = rng_new("s0", path, NULL);
    int out = open(path, O_WRONLY);
    assert_true(source != NULL && out >= 0);
    fault_arm("rng-dup", 1);
    assert_null(bench_try_device(b, &virtio_rng_pci_modern, "f", &e, "rng", "s0", NULL));
    assert_true(fault_disarm());
    assert_string_equal(error_text(e), "rng object 's0': Too many open files");
    error_free(e);
    Vd *vd = vd_new(b, bench_device(b, &virtio_rng_pci_modern, "m", "rng", "s0", NULL));
    VdSeg seg = { 0, 32, true };
    vd_start(vd, V1, 1);
    seg.addr = vd_buf(vd, 0, 0);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    bench_save_load(b, vd->d);                 /* what waits is in the ring */
    assert_int_equal(write(out, "entropy", 7), 7);
    assert_int_equal(vd_wait(vd, 0, NULL), 7);
    assert_memory_equal(bench_ram(b, seg.addr, 7), "entropy", 7);
    vd_add(vd, 0, &seg, 1, false);
    vd_kick(vd, 0);
    close(out);                                /* it ends: the guest waits for ever */
    vd_sync(vd);
    vd_sync(vd);
    assert_false(vd_used(vd, 0));
    vd_free(vd);
    bench_free(b);
    rng_free(source);
    unlink(path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_event),
        cmocka_unit_test(test_split_indirect),
        cmocka_unit_test(test_packed),
        cmocka_unit_test(test_packed_event),
        cmocka_unit_test(test_packed_indirect),
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_polled_split),
        cmocka_unit_test(test_polled_packed),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_bad_ring_place),
        cmocka_unit_test(test_ring_reset),
        cmocka_unit_test(test_doorbells),
        cmocka_unit_test(test_no_ioeventfd),
        cmocka_unit_test(test_legacy),
        cmocka_unit_test(test_cfg_window),
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_rng_limit),
        cmocka_unit_test(test_rng_source),
        cmocka_unit_test(test_map_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
