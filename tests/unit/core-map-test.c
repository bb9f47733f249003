/* core-map-test.c: regions, flat maps, slots, doorbells and accesses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "core/dma.h"
#include "tests/device/bench.h"
#include "util/epoch.h"
#include "util/thread.h"

typedef struct Chip {
    unsigned reads, writes;
    uint64_t off, val;
    unsigned size;
    char log[256];
    uint8_t regs[64];
} Chip;

static uint64_t chip_read(void *arg, uint64_t off, unsigned size)
{
    Chip *c = arg;
    size_t n = strlen(c->log);

    c->reads++;
    c->off = off;
    c->size = size;
    g_snprintf(c->log + n, sizeof(c->log) - n, "r%u@%u ", size, (unsigned)off);
    return ld_n(c->regs + off, size);
}

static void chip_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    Chip *c = arg;
    size_t n = strlen(c->log);

    c->writes++;
    c->off = off;
    c->val = val;
    c->size = size;
    g_snprintf(c->log + n, sizeof(c->log) - n, "w%u@%u=%x ", size, (unsigned)off, (unsigned)val);
    st_n(c->regs + off, size, val);
}

static const RegionOps bytes_ops = { .read = chip_read, .write = chip_write, .min = 1, .max = 1 };
static const RegionOps any_ops = { .read = chip_read, .write = chip_write, .min = 1, .max = 8 };
static const RegionOps dword_ops = { .read = chip_read, .write = chip_write, .min = 4, .max = 4 };
static const RegionOps strict_ops = { .read = chip_read, .write = chip_write, .min = 4, .max = 4,
                                      .flags = REGION_STRICT };
static const RegionOps loose_ops = { .read = chip_read, .write = chip_write, .min = 1, .max = 4,
                                     .flags = REGION_UNALIGNED };
static const RegionOps batch_ops = { .read = chip_read, .write = chip_write, .min = 1, .max = 8,
                                     .flags = REGION_COALESCED };

typedef struct Fix {
    Bench *b;
    Chip chip, other;
    Region r, r2, box, win;
} Fix;

static int setup(void **state)
{
    Fix *f = g_new0(Fix, 1);

    f->b = bench_new();
    for (unsigned i = 0; i < 64; i++) {
        f->chip.regs[i] = i;
        f->other.regs[i] = 0x80 + i;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fix *f = *state;
    Region *all[] = { &f->r, &f->r2, &f->box, &f->win };

    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        if (all[i]->name) {
            map_drop_one(all[i]);
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        region_free(all[i]);
    }
    bench_free(f->b);
    g_free(f);
    return 0;
}

#define BASE 0xd0000000ull

static void put(Fix *f, Region *r, const RegionOps *ops, Chip *c, uint64_t size, Gpa at, int prio)
{
    region_io_arg(r, NULL, "chip", ops, c, size);
    map_put_one(&f->b->m->mem_root, r, at, prio);
}

static void holes_read_as_ones(void **state)
{
    Fix *f = *state;
    uint64_t v = 0;

    assert_int_equal(space_read(f->b->m->mem, BASE, &v, 8), IO_HOLE);
    assert_true(v == UINT64_MAX);
    assert_int_equal(space_write(f->b->m->mem, BASE, &v, 8), IO_HOLE);
    v = 0;
    assert_int_equal(space_read(f->b->m->mem, UINT64_MAX - 3, &v, 4), IO_HOLE);
    assert_int_equal(v, 0xffffffff);
    assert_int_equal(bench_in16(f->b, 0xffff), 0xffff);
}

static void accesses_are_split_and_widened(void **state)
{
    Fix *f = *state;

    put(f, &f->r, &bytes_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(bench_read32(f->b, BASE + 4), 0x07060504);
    assert_string_equal(f->chip.log, "r1@4 r1@5 r1@6 r1@7 ");
    map_drop_one(&f->r);
    region_free(&f->r);

    f->chip.log[0] = 0;
    put(f, &f->r, &dword_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(bench_read8(f->b, BASE + 6), 6);
    assert_true(bench_read64(f->b, BASE + 8) == 0x0f0e0d0c0b0a0908);
    bench_write16(f->b, BASE + 18, 0xabcd);
    assert_string_equal(f->chip.log, "r4@4 r4@8 r4@12 w4@16=abcd0000 ");
}

static void unaligned_accesses(void **state)
{
    Fix *f = *state;

    put(f, &f->r, &any_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(bench_read32(f->b, BASE + 1), 0x04030201);
    assert_string_equal(f->chip.log, "r1@1 r2@2 r1@4 ");
    f->chip.log[0] = 0;
    put(f, &f->r2, &loose_ops, &f->chip, 64, BASE + 0x1000, 0);
    assert_int_equal(bench_read32(f->b, BASE + 0x1001), 0x04030201);
    assert_string_equal(f->chip.log, "r4@1 ");
}

static void strict_regions_refuse(void **state)
{
    Fix *f = *state;
    uint32_t v = 0;

    put(f, &f->r, &strict_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(space_read(f->b->m->mem, BASE, &v, 2), IO_REFUSED);
    assert_int_equal(v, 0xffff);
    assert_int_equal(space_write(f->b->m->mem, BASE + 2, &v, 4), IO_REFUSED);
    assert_int_equal(f->chip.reads + f->chip.writes, 0);
    assert_int_equal(space_read(f->b->m->mem, BASE + 4, &v, 4), IO_OK);
}

/* As port 0xcf8 with the reset register at 0xcf9 within. */
static void the_first_byte_claims_the_access(void **state)
{
    Fix *f = *state;

    put(f, &f->r, &dword_ops, &f->chip, 4, BASE, 0);
    put(f, &f->r2, &bytes_ops, &f->other, 1, BASE + 1, 1);
    bench_write32(f->b, BASE, 0x80001000);
    assert_string_equal(f->chip.log, "w4@0=80001000 ");
    assert_int_equal(f->other.writes, 0);
    bench_write8(f->b, BASE + 1, 6);
    assert_string_equal(f->other.log, "w1@0=6 ");
    /* What goes beyond the end of a region is the next one's. */
    map_begin();
    map_put(&f->b->m->mem_root, &f->r2, BASE + 4, 1);
    map_commit();
    uint16_t v = 0;
    assert_int_equal(space_read(f->b->m->mem, BASE + 3, &v, 2), IO_OK);
    assert_int_equal(v >> 8, f->other.regs[0]);
}

static void priorities_are_local_to_a_box(void **state)
{
    Fix *f = *state;

    /* In the box the chip has priority 100; the box itself lies below the other. */
    region_box(&f->box, NULL, "box", 0x1000);
    region_io_arg(&f->r, NULL, "in", &any_ops, &f->chip, 64);
    map_put_one(&f->box, &f->r, 0, 100);
    map_put_one(&f->b->m->mem_root, &f->box, BASE, 0);
    put(f, &f->r2, &any_ops, &f->other, 32, BASE + 16, 1);
    assert_int_equal(bench_read8(f->b, BASE + 15), 15);
    assert_int_equal(bench_read8(f->b, BASE + 16), 0x80);
    assert_int_equal(bench_read8(f->b, BASE + 47), 0x80 + 31);
    assert_int_equal(bench_read8(f->b, BASE + 48), 48);
    map_drop_one(&f->r2);
    assert_int_equal(bench_read8(f->b, BASE + 16), 16);
}

static void windows_show_parts_and_follow(void **state)
{
    Fix *f = *state;

    put(f, &f->r, &any_ops, &f->chip, 64, BASE, 0);
    region_window(&f->win, NULL, "window", &f->r, 8, 16);
    map_put_one(&f->b->m->mem_root, &f->win, BASE + 0x1000, 0);
    assert_int_equal(bench_read8(f->b, BASE + 0x1000), 8);
    assert_int_equal(bench_read8(f->b, BASE + 0x100f), 23);
    assert_int_equal(bench_read8(f->b, BASE + 0x1010), 0xff);
    map_begin();
    map_window_to(&f->win, &f->b->ram_region, 0x2000);
    map_commit();
    bench_write8(f->b, 0x2003, 0x55);
    assert_int_equal(bench_read8(f->b, BASE + 0x1003), 0x55);
    /* A window onto what shows itself must end. */
    map_begin();
    map_window_to(&f->win, &f->b->m->mem_root, 0);
    map_commit();
    assert_int_equal(bench_read8(f->b, BASE + 0x1003), bench_read8(f->b, 3));
}

static void ranges_keep_their_slots(void **state)
{
    Fix *f = *state;
    Region pam[4] = { 0 };

    assert_ptr_equal(bench_slot_at(f->b, 0)->host, f->b->ram->host);
    const BenchSlot *before = bench_slot_at(f->b, 0x100000);
    assert_ptr_equal(before, bench_slot_at(f->b, 0));

    /* Four windows as PAM's over RAM: neighbours, never merged. */
    map_begin();
    map_commit();
    for (unsigned i = 0; i < 4; i++) {
        region_ram(&pam[i], NULL, "pam", f->b->ram, 0xc0000 + 0x4000 * i, 0x4000);
        map_put_one(&f->b->m->mem_root, &pam[i], 0xc0000 + 0x4000 * i, 1);
    }
    const BenchSlot *low = bench_slot_at(f->b, 0), *high = bench_slot_at(f->b, 0x100000);
    const BenchSlot *third = bench_slot_at(f->b, 0xc8000);
    assert_ptr_not_equal(low, high);
    assert_int_equal(third->size, 0x4000);

    map_begin();
    map_readonly(&pam[1], true);
    map_commit();
    assert_int_equal(bench_slot_at(f->b, 0xc4000)->flags, SLOT_READONLY);
    assert_ptr_equal(bench_slot_at(f->b, 0), low);
    assert_ptr_equal(bench_slot_at(f->b, 0x100000), high);
    assert_ptr_equal(bench_slot_at(f->b, 0xc8000), third);
    bench_write32(f->b, 0xc0000, 0x11223344);
    bench_write32(f->b, 0xc4000, 0x11223344);
    assert_int_equal(bench_read32(f->b, 0xc0000), 0x11223344);
    assert_int_equal(bench_read32(f->b, 0xc4000), 0);

    map_begin();
    map_log_dirty(&pam[2], true);
    map_commit();
    assert_ptr_equal(bench_slot_at(f->b, 0xc8000), third);
    assert_int_equal(third->flags, SLOT_LOG_DIRTY);
    for (unsigned i = 0; i < 4; i++) {
        map_drop_one(&pam[i]);
        region_free(&pam[i]);
    }
    assert_int_equal(bench_slot_at(f->b, 0)->size, bench_ram_size());
}

static void romd_switches(void **state)
{
    Fix *f = *state;
    RamBlock *flash = ram_new_anon("flash", 0x1000, NULL);

    flash->host[4] = 0x77;
    region_romd(&f->r, NULL, "flash", flash, &any_ops);
    f->r.arg = &f->chip;
    map_put_one(&f->b->m->mem_root, &f->r, BASE, 0);
    assert_int_equal(bench_read8(f->b, BASE + 4), 0x77);
    assert_int_equal(bench_slot_at(f->b, BASE)->flags, SLOT_READONLY);
    bench_write8(f->b, BASE + 4, 0x40);
    assert_int_equal(f->chip.writes, 1);
    map_begin();
    map_romd_mode(&f->r, false);
    map_commit();
    assert_null(bench_slot_at(f->b, BASE));
    assert_int_equal(bench_read8(f->b, BASE + 4), 0x40);
    /* Loaders write in either mode. */
    uint8_t byte = 0x99;
    assert_true(space_load(f->b->m->mem, BASE + 5, &byte, 1));
    assert_int_equal(flash->host[5], 0x99);
    map_drop_one(&f->r);
    ram_free(flash);
}

static void doorbells_follow_their_region(void **state)
{
    Fix *f = *state;
    Notifier n = { -1 }, any = { -1 };
    uint64_t match = 5;

    assert_true(notifier_open(&n, NULL) && notifier_open(&any, NULL));
    region_io_arg(&f->r, NULL, "chip", &any_ops, &f->chip, 64);
    region_doorbell(&f->r, 16, 2, &match, &n);
    region_doorbell(&f->r, 20, 0, NULL, &any);
    map_put_one(&f->b->m->mem_root, &f->r, BASE, 0);
    assert_int_equal(bench_bell_at(f->b, SPACE_MEM, BASE + 16)->size, 2);

    bench_write16(f->b, BASE + 16, 5);
    assert_true(notifier_take(&n));
    assert_int_equal(f->chip.writes, 0);
    bench_write16(f->b, BASE + 16, 6);
    bench_write32(f->b, BASE + 16, 5);
    assert_false(notifier_take(&n));
    assert_int_equal(f->chip.writes, 2);
    bench_write8(f->b, BASE + 20, 1);
    assert_true(notifier_take(&any));

    map_put_one(&f->b->m->mem_root, &f->r, BASE + 0x10000, 0);
    assert_null(bench_bell_at(f->b, SPACE_MEM, BASE + 16));
    assert_non_null(bench_bell_at(f->b, SPACE_MEM, BASE + 0x10010));
    region_doorbell_drop(&f->r, 16, &n);
    map_begin();
    map_commit();
    assert_null(bench_bell_at(f->b, SPACE_MEM, BASE + 0x10010));
    assert_int_equal(f->b->bell_count, 1);
    map_drop_one(&f->r);
    assert_int_equal(f->b->bell_count, 0);
    notifier_close(&n);
    notifier_close(&any);
}

static void coalesced_ranges_are_told(void **state)
{
    Fix *f = *state;

    put(f, &f->r, &batch_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(f->b->coalesced_count, 1);
    put(f, &f->r2, &any_ops, &f->other, 4, BASE + 8, 1);
    assert_int_equal(f->b->coalesced_count, 2);
    map_drop_one(&f->r);
    assert_int_equal(f->b->coalesced_count, 0);
}

static void hold_publishes_once(void **state)
{
    Fix *f = *state;

    map_hold(true);
    put(f, &f->r, &any_ops, &f->chip, 64, BASE, 0);
    assert_int_equal(bench_read8(f->b, BASE + 1), 0xff);
    map_hold(false);
    assert_int_equal(bench_read8(f->b, BASE + 1), 1);
}

static void bulk_copies_cross_ranges(void **state)
{
    Fix *f = *state;
    uint8_t buf[64];

    put(f, &f->r, &any_ops, &f->chip, 16, bench_ram_size(), 0);
    memset(bench_ram(f->b, bench_ram_size() - 8, 8), 0xaa, 8);
    assert_int_equal(space_read_bytes(f->b->m->mem, bench_ram_size() - 8, buf, 32), IO_HOLE);
    assert_int_equal(buf[7], 0xaa);
    assert_int_equal(buf[8], 0);
    assert_int_equal(buf[23], 15);
    assert_int_equal(buf[24], 0xff);
}

/* --- DMA --- */

static void dma_reaches_ram_and_only_ram(void **state)
{
    Fix *f = *state;
    Device *d = f->b->m->peripheral;
    uint32_t v;
    struct iovec iov[4];

    d->dma = f->b->m->mem;
    put(f, &f->r, &any_ops, &f->chip, 64, BASE, 0);
    assert_true(dma_write32(d, 0x1000, 0x12345678));
    assert_true(dma_read32(d, 0x1000, &v));
    assert_int_equal(v, 0x12345678);
    assert_false(dma_read32(d, BASE, &v));
    assert_int_equal(v, UINT32_MAX);
    assert_false(dma_write32(d, BASE, 1));
    assert_int_equal(f->chip.reads + f->chip.writes, 0);
    assert_false(dma_write32(d, UINT64_MAX - 1, 1));
    assert_false(dma_fill(d, bench_ram_size() - 2, 0, 4));

    assert_int_equal(dma_map(d, 0x2000, 0x3000, DMA_FROM_DEVICE, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 0x3000);
    assert_int_equal(f->b->ram->pins, 1);
    dma_unmap(d, iov, 1, 0x3000);
    assert_int_equal(f->b->ram->pins, 0);
    assert_int_equal(dma_map(d, bench_ram_size() - 0x10, 0x20, DMA_TO_DEVICE, iov, 4), -EFAULT);
    assert_int_equal(f->b->ram->pins, 0);

    epoch_enter();
    assert_ptr_equal(dma_ptr(d, 0x3000, 16, DMA_TO_DEVICE), f->b->ram->host + 0x3000);
    assert_null(dma_ptr(d, bench_ram_size() - 8, 16, DMA_TO_DEVICE));
    epoch_leave();
    d->dma_on = false;
    assert_false(dma_read32(d, 0x1000, &v));
    d->dma_on = true;
    d->dma = NULL;
    assert_false(dma_read32(d, 0x1000, &v));
}

static void dma_map_counts_pieces(void **state)
{
    Fix *f = *state;
    Device *d = f->b->m->peripheral;
    RamBlock *other = ram_new_anon("other", 0x1000, NULL);
    struct iovec iov[4];

    d->dma = f->b->m->mem;
    region_ram(&f->r, NULL, "other", other, 0, 0x1000);
    map_put_one(&f->b->m->mem_root, &f->r, 0x5000, 1);
    assert_int_equal(dma_map(d, 0x4000, 0x3000, DMA_TO_DEVICE, iov, 2), -E2BIG);
    assert_int_equal(other->pins + f->b->ram->pins, 0);
    assert_int_equal(dma_map(d, 0x4000, 0x3000, DMA_TO_DEVICE, iov, 4), 3);
    /* The block outlives its end as long as it is pinned. */
    map_drop_one(&f->r);
    ram_free(other);
    epoch_flush();
    memset(iov[1].iov_base, 1, iov[1].iov_len);
    dma_unmap(d, iov, 3, 0);
    assert_int_equal(f->b->ram->pins, 0);
    d->dma = NULL;
}

static void writes_are_recorded(void **state)
{
    Fix *f = *state;
    Device *d = f->b->m->peripheral;

    d->dma = f->b->m->mem;
    ram_log(f->b->ram, true);
    bench_write8(f->b, 0x3000, 1);
    assert_true(dma_fill(d, 0x4fff, 1, 2));
    assert_true(f->b->ram->dirty[0] == ((1ul << 3) | (1ul << 4) | (1ul << 5)));
    ram_log(f->b->ram, false);
    ram_log(f->b->ram, true);
    assert_true(f->b->ram->dirty[0] == 0);
    ram_log(f->b->ram, false);
    d->dma = NULL;
}

/* --- against a model: random edits and reads --- */

#define ROOMS 12
#define ROOM 0x10000

static uint64_t tag_read(void *arg, uint64_t off, unsigned size)
{
    return (uintptr_t)arg ^ off;
}

static const RegionOps tag_ops = { .read = tag_read, .min = 4, .max = 4 };

static void random_edits_match_a_model(void **state)
{
    Fix *f = *state;
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    Region r[ROOMS] = { 0 };
    struct { bool in; unsigned at, size; int prio; unsigned stamp; } model[ROOMS] = { 0 };
    unsigned stamp = 0;

    for (unsigned i = 0; i < ROOMS; i++) {
        model[i].size = 4 * g_rand_int_range(rand, 1, 2000);
        region_io_arg(&r[i], NULL, "tag", &tag_ops, (void *)(uintptr_t)(0x100000 * (i + 1)),
                      model[i].size);
    }
    for (unsigned step = 0; step < 400; step++) {
        unsigned i = g_rand_int_range(rand, 0, ROOMS);

        model[i].in = g_rand_int_range(rand, 0, 4) != 0;
        model[i].at = 4 * g_rand_int_range(rand, 0, ROOM / 4);
        model[i].prio = g_rand_int_range(rand, 0, 4);
        model[i].stamp = ++stamp;
        if (model[i].in) {
            map_put_one(&f->b->m->mem_root, &r[i], BASE + model[i].at, model[i].prio);
        } else {
            map_drop_one(&r[i]);
        }
        for (unsigned k = 0; k < 50; k++) {
            unsigned at = 4 * g_rand_int_range(rand, 0, ROOM / 4);
            int best = -1;

            for (int j = 0; j < ROOMS; j++) {
                bool here = model[j].in && at >= model[j].at && at - model[j].at < model[j].size;

                if (here && (best < 0 || model[j].prio > model[best].prio ||
                             (model[j].prio == model[best].prio &&
                              model[j].stamp > model[best].stamp))) {
                    best = j;
                }
            }
            uint32_t want = best < 0 ? UINT32_MAX : 0x100000u * (best + 1) ^ (at - model[best].at);
            assert_int_equal(bench_read32(f->b, BASE + at), want);
        }
    }
    for (unsigned i = 0; i < ROOMS; i++) {
        map_drop_one(&r[i]);
        region_free(&r[i]);
    }
}

/* --- moving under load: a region is at one of two places, and a reader finds it at one of them
 * --- */

static unsigned stop;
static unsigned wrong;

static void hammer(void *arg)
{
    Fix *f = arg;

    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        uint32_t v;

        for (unsigned i = 0; i < 2; i++) {
            IoResult res = space_read(f->b->m->mem, BASE + 0x1000 * i + 8, &v, 4);

            if (!(res == IO_OK && v == 0x0b0a0908) && !(res == IO_HOLE && v == UINT32_MAX)) {
                __atomic_store_n(&wrong, 1, __ATOMIC_RELAXED);
            }
        }
    }
}

static uint64_t quiet_read(void *arg, uint64_t off, unsigned size)
{
    return ld_n(((Chip *)arg)->regs + off, size);
}

static const RegionOps quiet_ops = { .read = quiet_read, .min = 4, .max = 4 };

static void moves_under_load(void **state)
{
    Fix *f = *state;
    pthread_t t[2];

    stop = wrong = 0;
    put(f, &f->r, &quiet_ops, &f->chip, 64, BASE, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(thread_start(&t[i], THREAD_VCPU, "hammer", true, hammer, f, NULL));
    }
    for (unsigned i = 0; i < 2000; i++) {
        map_put_one(&f->b->m->mem_root, &f->r, BASE + 0x1000 * (i & 1), 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    thread_join(t[0]);
    thread_join(t[1]);
    assert_int_equal(wrong, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(holes_read_as_ones), T(accesses_are_split_and_widened), T(unaligned_accesses),
        T(strict_regions_refuse), T(the_first_byte_claims_the_access),
        T(priorities_are_local_to_a_box), T(windows_show_parts_and_follow),
        T(ranges_keep_their_slots), T(romd_switches), T(doorbells_follow_their_region),
        T(coalesced_ranges_are_told), T(hold_publishes_once), T(bulk_copies_cross_ranges),
        T(dma_reaches_ram_and_only_ram), T(dma_map_counts_pieces), T(writes_are_recorded),
        T(random_edits_match_a_model), T(moves_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
