/* activity.c: random accesses to a device's registers.
 *
 * 1. Half of the accesses go to the first 64 bytes of a target and values favour 0, 1, ones, single
 *    bits and addresses in RAM: what registers react to.
 * 2. RAM is accessed aligned only, and nothing but the device's own. */
#include "tests/conform/activity.h"

#include "core/map-int.h"
#include "tests/device/bench-pci.h"

static bool is_below(const Device *d, const Device *top)
{
    for (; d; d = d->parent) {
        if (d == top) {
            return true;
        }
    }
    return false;
}

static void find_in(Space *s, Device *d, GArray *out)
{
    for (unsigned i = 0; i < s->map->count; i++) {
        const FlatRange *r = &s->map->ranges[i];

        if (!(r->flags & RANGE_HOLE) && r->region->dev && is_below(r->region->dev, d)) {
            Target t = { .space = s, .at = r->at, .size = r->span + 1, .ram = r->host != NULL };

            g_array_append_val(out, t);
        }
    }
}

void activity_find(Bench *b, Device *d, bool map, Activity *a)
{
    *a = (Activity){ .targets = g_array_new(FALSE, FALSE, sizeof(Target)) };
    if (d->type->slot == &pci_slot) {
        PciDevice *p = pci_device(d);

        a->bus = pci_bus(p);
        a->devfn = p->devfn;
        a->config_size = p->config_size;
        for (unsigned n = 0; map && n < 7; n++) {
            if (p->bars[n].region) {
                bench_bar(b, d, n);
            }
        }
    }
    epoch_enter();
    find_in(b->m->mem, d, a->targets);
    find_in(b->m->io, d, a->targets);
    epoch_leave();
}

void activity_clear(Activity *a)
{
    g_array_unref(a->targets);
}

static uint64_t random_value(GRand *rand)
{
    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return UINT64_MAX;
    case 3:
        return UINT64_C(1) << g_rand_int_range(rand, 0, 64);
    case 4:
        return g_rand_int_range(rand, 0, 256);
    case 5:
        return (uint64_t)g_rand_int_range(rand, 1, 4096) << 12;
    default:
        return (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
    }
}

static uint64_t config_turn(const Activity *a, GRand *rand, bool write)
{
    unsigned size = 1u << g_rand_int_range(rand, 0, 3);
    unsigned off = g_rand_int_range(rand, 0, g_rand_boolean(rand) ? 0x40 : a->config_size);
    uint32_t v = random_value(rand);

    off &= ~(size - 1);
    if (!write) {
        return pci_config_read(a->bus, 0, a->devfn, off, size);
    }
    pci_config_write(a->bus, 0, a->devfn, off, v, size);
    return 0;
}

uint64_t activity_turn(const Activity *a, GRand *rand, bool writes)
{
    bool write = g_rand_boolean(rand) && writes;
    uint64_t v = random_value(rand);
    uint8_t raw[8];

    if (a->bus && (!a->targets->len || g_rand_int_range(rand, 0, 10) == 0)) {
        return config_turn(a, rand, write);
    }
    if (!a->targets->len) {
        return 0;
    }
    const Target *t =
        &g_array_index(a->targets, Target, g_rand_int_range(rand, 0, a->targets->len));
    bool pio = t->space->kind == SPACE_PIO;
    unsigned size = 1u << g_rand_int_range(rand, 0, pio ? 3 : 4);
    uint64_t reach = g_rand_boolean(rand) ? MIN(t->size, 64) : t->size;
    Gpa at = t->at + ((uint64_t)g_rand_int(rand) << 8 ^ g_rand_int(rand)) % reach;

    if (t->ram || g_rand_int_range(rand, 0, 8)) {
        at &= ~(Gpa)(size - 1);
    }
    if (t->ram && (at < t->at || at + size > t->at + t->size)) {
        return 0;
    }
    if (write) {
        st_n(raw, 8, v);
        space_write(t->space, at, raw, size);
        return 0;
    }
    space_read(t->space, at, raw, size);
    return ld_n(raw, size);
}

void activity_run(Bench *b, Device *d, GRand *rand, unsigned turns)
{
    Activity a;

    activity_find(b, d, true, &a);
    for (unsigned i = 0; i < turns; i++) {
        activity_turn(&a, rand, true);
        if (i % 16 == 15) {
            bench_step(b, g_rand_int_range(rand, 0, NS_PER_MS));
        }
        if (i % 256 == 255) {
            bool map = g_rand_boolean(rand);

            activity_clear(&a);
            activity_find(b, d, map, &a);
        }
    }
    activity_clear(&a);
}

uint64_t activity_reads(Bench *b, Device *d, GRand *rand, unsigned turns)
{
    uint64_t digest = 0xcbf29ce484222325;
    Activity a;

    activity_find(b, d, false, &a);
    for (unsigned i = 0; i < turns; i++) {
        digest = (digest ^ activity_turn(&a, rand, false)) * 0x100000001b3;
        digest ^= digest >> 29;
    }
    activity_clear(&a);
    return digest;
}
