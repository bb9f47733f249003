/* virtio-balloon-test.c: pages given and taken, statistics, reporting, what the control plane sees. */
#include <linux/virtio_balloon.h>
#include <linux/virtio_pci.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/device/bench-virtio.h"
#include "util/trace.h"

#define V1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define ALL (V1 | 0xff)
#define PAGES_AT 0x400000      /* RAM nobody else uses */

extern const DeviceType virtio_balloon_pci;

static uint64_t told;

static void changed(uint64_t actual)
{
    told = actual;
}

static const MachineListener listener = { .balloon_changed = changed };

static Vd *balloon_new(Bench *b, const char *prop, const char *value)
{
    machine_set_listener(&listener);
    b->m->cfg.ram_size = bench_ram_size();
    told = 0;
    return vd_new(b, bench_device(b, &virtio_balloon_pci, "b0", prop, value, NULL));
}

static void done(Bench *b, Vd *vd)
{
    vd_free(vd);
    bench_free(b);
}

static void send_pages(Vd *vd, unsigned queue, const uint32_t *pfns, unsigned n)
{
    VdSeg seg = { vd_buf(vd, queue, 0), 4 * n, false };

    for (unsigned i = 0; i < n; i++) {
        st32(bench_ram(vd->b, seg.addr + 4 * i, 4), pfns[i]);
    }
    vd_add(vd, queue, &seg, 1, false);
    vd_kick(vd, queue);
    assert_int_equal(vd_wait(vd, queue, NULL), 0);
}

/* Inflated pages lose what is in them, in any order; others, and deflated ones, keep it. */
static void test_pages(void **state)
{
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, NULL, NULL);
    uint32_t first = PAGES_AT >> 12;
    uint32_t pfns[] = { first + 5, first + 4, first + 3, first + 8, first + 9, 0xffffffff };
    uint8_t *p = bench_ram(b, PAGES_AT, 12 * 4096);

    vd_start(vd, ALL, 3);
    memset(p, 0x77, 12 * 4096);
    send_pages(vd, 1, pfns, 5);
    assert_int_equal(p[5 * 4096], 0x77);
    send_pages(vd, 0, pfns, 6);
    for (unsigned i = 0; i < 12; i++) {
        bool lent = (i >= 3 && i <= 5) || i == 8 || i == 9;
        assert_int_equal(p[i * 4096], lent ? 0 : 0x77);
        assert_int_equal(p[i * 4096 + 4095], lent ? 0 : 0x77);
    }
    assert_false(vd->v->broken);
    done(b, vd);
}

/* The host's wish is in the configuration; the guest's word is what the host hears. */
static void test_target(void **state)
{
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, NULL, NULL);
    Device *d = b->m->balloon;
    Gpa c = vd->bar + 0x2000;
    Error *e = NULL;

    assert_non_null(d);
    assert_int_equal(b->m->balloon_ops->actual(d), bench_ram_size());
    vd_start(vd, ALL, 3);
    bench_msi_clear(b);
    b->m->balloon_ops->target(d, bench_ram_size() - MiB);
    bench_run(b);
    assert_int_equal(bench_read32(b, c), 256);
    assert_int_equal(bench_msi_count(b), 1);
    bench_write32(b, c + 4, 100);
    bench_run(b);
    assert_int_equal(told, bench_ram_size() - 100 * 4096);
    assert_int_equal(b->m->balloon_ops->actual(d), told);
    bench_save_load(b, vd->d);
    assert_int_equal(bench_read32(b, c + 4), 100);
    b->m->balloon_ops->target(d, UINT64_MAX);
    assert_int_equal(bench_read32(b, c), 0);
    bench_write32(b, c + 4, UINT32_MAX);       /* more than there is */
    assert_int_equal(b->m->balloon_ops->actual(d), 0);
    bench_reset(b);
    assert_int_equal(b->m->balloon_ops->actual(d), bench_ram_size());
    assert_null(bench_try_device(b, &virtio_balloon_pci, "b1", &e, NULL));
    assert_string_equal(error_text(e), "Only one balloon device is supported");
    error_free(e);
    done(b, vd);
}

static void put_stat(uint8_t *at, uint16_t tag, uint64_t value)
{
    st16(at, tag);
    st64(at + 2, value);
}

static void same_json(Device *d, const char *prop, const char *want)
{
    g_autofree char *json = d->type->extra->get(d, prop);

    if (strstr(json, want) == NULL) {
        fail_msg("%s is %s, without %s", prop, json, want);
    }
}

/* The driver's buffer is kept until the interval is over. */
static void test_stats(void **state)
{
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, NULL, NULL);
    Device *d = b->m->balloon;
    VdSeg seg = { vd_buf(vd, 2, 0), 30, false };
    uint8_t *raw = bench_ram(b, seg.addr, 40);

    vd_start(vd, ALL, 3);
    same_json(d, "guest-stats", "\"stat-free-memory\": 18446744073709551615");
    same_json(d, "guest-stats", "\"last-update\": 0}");
    put_stat(raw, VIRTIO_BALLOON_S_MEMFREE, 12345);
    put_stat(raw + 10, VIRTIO_BALLOON_S_CACHES, 678);
    put_stat(raw + 20, 0x7777, 1);             /* one we do not know */
    vd_add(vd, 2, &seg, 1, false);
    vd_kick(vd, 2);
    vd_sync(vd);
    assert_false(vd_used(vd, 2));
    same_json(d, "guest-stats", "\"stat-free-memory\": 12345");
    same_json(d, "guest-stats", "\"stat-disk-caches\": 678");
    assert_true(d->type->extra->set(d, "guest-stats-polling-interval", "2", NULL));
    same_json(d, "guest-stats-polling-interval", "2");
    bench_save_load(b, vd->d);                 /* the buffer is in the ring, not in the state */
    vd_sync(vd);
    bench_step(b, 1 * NS_PER_SEC);
    vd_sync(vd);
    assert_false(vd_used(vd, 2));
    bench_step(b, 2 * NS_PER_SEC);
    assert_int_equal(vd_wait(vd, 2, NULL), 0);
    put_stat(raw, VIRTIO_BALLOON_S_MEMFREE, 99);
    vd_add(vd, 2, &seg, 1, false);
    vd_kick(vd, 2);
    vd_sync(vd);
    same_json(d, "guest-stats", "\"stat-free-memory\": 99");
    bench_step(b, 3 * NS_PER_SEC);
    vd_wait(vd, 2, NULL);
    done(b, vd);
}

static void test_bad_interval(void **state)
{
    static const struct { const char *value, *text; } bad[] = {
        { "-1", "timer value must be greater than zero" }, { "4294967296", "timer value is too big" },
        { "\"x\"", "Invalid parameter type for 'guest-stats-polling-interval', expected: integer" },
    };
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, NULL, NULL);
    Device *d = b->m->balloon;
    Error *e = NULL;

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(d->type->extra->set(d, "guest-stats-polling-interval", bad[i].value, &e));
        assert_string_equal(error_text(e), bad[i].text);
        g_clear_pointer(&e, error_free);
    }
    same_json(d, "guest-stats-polling-interval", "0");
    assert_false(d->type->extra->set(d, "guest-stats", "1", &e));
    g_clear_pointer(&e, error_free);
    vd_free(vd);
    bench_remove(b, device_find(b->m->root, "b0"));
    assert_null(b->m->balloon);
    assert_null(bench_try_device(b, &virtio_balloon_pci, "x", &e, "free-page-hint", "on", NULL));
    assert_string_equal(error_text(e), "free-page-hint=on is not supported: it serves migration alone");
    error_free(e);
    bench_free(b);
}

/* Reported pages are gone, unless the guest expects its poison in them. */
static void test_reporting(void **state)
{
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, "free-page-reporting", "on");
    VdSeg seg = { PAGES_AT + 100, 4 * 4096, true };
    uint8_t *p = bench_ram(b, PAGES_AT, 8 * 4096);

    for (unsigned poison = 0; poison < 2; poison++) {
        vd_start(vd, ALL, 4);
        assert_true(vd->agreed >> VIRTIO_BALLOON_F_REPORTING & 1);
        bench_write32(b, vd->bar + 0x2000 + 12, poison ? 0xaa : 0);
        memset(p, 0x77, 8 * 4096);
        vd_add(vd, 3, &seg, 1, false);
        vd_kick(vd, 3);
        vd_wait(vd, 3, NULL);
        assert_int_equal(p[0], 0x77);          /* only part of it */
        assert_int_equal(p[1 * 4096], poison ? 0x77 : 0);
        assert_int_equal(p[3 * 4096 + 4095], poison ? 0x77 : 0);
        assert_int_equal(p[4 * 4096], 0x77);
    }
    done(b, vd);
}

/* A chain names so many pieces of memory; what it names beyond that, or behind what is no memory, stays. */
static void test_greedy(void **state)
{
    Bench *b = bench_new();
    Vd *vd = balloon_new(b, "free-page-reporting", "on");
    const unsigned count = 70000;
    uint32_t *pfns = (uint32_t *)bench_ram(b, PAGES_AT, 4 * count);
    uint8_t *page = bench_ram(b, PAGES_AT + MiB, 4096);
    VdSeg list = { PAGES_AT, 4 * count, false }, nowhere = { UINT64_C(1) << 40, 1u << 30, true };

    vd_start(vd, ALL, 4);
    for (unsigned i = 0; i < count; i++) {     /* no two of them are neighbours */
        pfns[i] = (PAGES_AT >> 12) + 512 + 2 * (i % 2);
    }
    pfns[1] = pfns[count - 1] = (PAGES_AT + MiB) >> 12;
    memset(page, 0x77, 4096);
    vd_add(vd, 0, &list, 1, false);
    vd_kick(vd, 0);
    vd_wait(vd, 0, NULL);
    assert_int_equal(page[0], 0);
    pfns[1] = pfns[3];
    memset(page, 0x77, 4096);
    vd_add(vd, 0, &list, 1, false);
    vd_kick(vd, 0);
    vd_wait(vd, 0, NULL);
    assert_int_equal(page[0], 0x77);

    unsigned long before = guest_bug_count();
    vd_add(vd, 3, &nowhere, 1, false);
    vd_kick(vd, 3);
    vd_wait(vd, 3, NULL);
    assert_in_range(guest_bug_count() - before, 1, 2);
    assert_false(vd->v->broken);
    done(b, vd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_bad_interval),
        cmocka_unit_test(test_reporting),
        cmocka_unit_test(test_greedy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
