/* stress.c: BAR moves, hot-plug, quiesce, resume, reset, save and load, all at once.
 *
 *     stress [-s SEED] [ACTS]
 *
 * vCPU-like threads access registers and RAM BARs, move BARs, switch decoding, reset the bus and
 * ask for
 * machine resets; the control thread plugs and unplugs, stops and resets the machine, saves and
 * loads.
 *
 * 1. Each vCPU owns a page of RAM that nobody else writes: whatever the map goes through, it reads
 *    there
 *    what it wrote.
 * 2. At the end the map, the slots and the interrupts are what they were at the start.
 * 3. A deadlock is the test runner's time limit; a lock taken out of order, a data race or a use
 *    after
 *    free is the sanitizer's or the rank checker's to find. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/conform/toys.h"
#include "tests/device/bench-pci.h"
#include "util/epoch.h"
#include "util/thread.h"

#define VCPUS 3
#define SLOTS 4                /* PCI slots that functions come and go in */
#define PLACES 16              /* where BARs go: 64 KiB each, shared by all */
#define PLACE(n) (0xe0000000u + 0x10000u * (n))
#define OWN_RAM 0x100000       /* a page for each vCPU */
#define DMA_RAM 0x800000       /* where the toys may write */

typedef struct Vcpu {
    GRand *rand;
    uint32_t last;             /* what it wrote into its page */
    uint64_t turns;
} Vcpu;

static Vcpu vcpus[VCPUS];
static PciBus *bus;
static unsigned wrong;         /* atomic */

static void own_page(Bench *b, unsigned index, Vcpu *v)
{
    Gpa at = OWN_RAM + 4096 * index;

    if (bench_read32(b, at) != v->last) {
        __atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
    }
    v->last = g_rand_int(v->rand);
    bench_write32(b, at, v->last);
}

static void move_bar(Vcpu *v, uint8_t devfn)
{
    static const unsigned regs[] = { 0x10, 0x14, 0x18 };

    pci_config_write(bus, 0, devfn, regs[g_rand_int_range(v->rand, 0, 3)],
                     PLACE(g_rand_int_range(v->rand, 0, PLACES)), 4);
}

static void touch(Bench *b, Vcpu *v)
{
    Gpa at = PLACE(g_rand_int_range(v->rand, 0, PLACES)) + 4 * g_rand_int_range(v->rand, 0, 8);
    unsigned reg = at & 31;

    if (g_rand_boolean(v->rand)) {
        bench_read32(b, at);
    } else {
        bench_write32(b, at, reg == 16 ? DMA_RAM + (g_rand_int(v->rand) & 0xffff0)
                             : reg == 20 ? g_rand_int(v->rand) & 0xfff
                                         : g_rand_int(v->rand));
    }
}

static void isa_touch(Bench *b, Vcpu *v)
{
    unsigned port = 0x600 + 4 * g_rand_int_range(v->rand, 0, 4);

    bench_out32(b, port, g_rand_int(v->rand) & 0xff);
    bench_in32(b, port);
}

static void turn(Bench *b, unsigned index, void *arg)
{
    Vcpu *v = &vcpus[index];
    uint8_t devfn = PCI_DEVFN(1 + g_rand_int_range(v->rand, 0, SLOTS), 0);

    v->turns++;
    own_page(b, index, v);
    switch (g_rand_int_range(v->rand, 0, 64)) {
    case 0:
    case 1:
    case 2:
    case 3:
        move_bar(v, devfn);
        break;
    case 4:
        pci_config_write(bus, 0, devfn, 4, g_rand_boolean(v->rand) ? 7 : 4, 2);
        break;
    case 5:
        pci_config_read(bus, 0, devfn, 0, 4);
        break;
    case 6:
        if (g_rand_int_range(v->rand, 0, 64) == 0) {
            pci_bus_reset(bus);
        }
        break;
    case 7:
        machine_request(REQUEST_RESET, index, "stress");
        break;
    case 8:
        isa_touch(b, v);
        break;
    default:
        touch(b, v);
    }
}

/* --- control --- */

static Device *functions[SLOTS];

static void plug(Bench *b, unsigned slot)
{
    g_autofree char *addr = g_strdup_printf("%x", slot + 1), *id = g_strdup_printf("toy%u", slot);

    functions[slot] = bench_device(b, &toy_pci_type, id, "addr", addr, NULL);
}

static void save_and_load(Bench *b)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    Error *e = NULL;

    bench_quiesce(b);
    state_save_tree(b->m->root, out);
    machine_reset(RESET_POWER);
    if (!state_load_tree(b->m->root, out->data, out->len, &e)) {
        error_report(e);
        abort();
    }
    device_settle_tree(b->m->root);
    bench_resume(b);
}

typedef struct Removed {
    Post post;
    bool done;
} Removed;

static void on_removed(Post *p)
{
    ((Removed *)p)->done = true;
}

static bool is_removed(void *arg)
{
    return ((Removed *)arg)->done;
}

/* Removal and a stop of the machine begun together. */
static void remove_and_stop(Bench *b, unsigned slot)
{
    Removed gone = { .post.run = on_removed }, stopped = { .post.run = on_removed };

    device_remove(functions[slot], &gone.post);
    machine_quiesce(&stopped.post);
    bench_until(b, is_removed, &gone);
    bench_until(b, is_removed, &stopped);
    bench_resume(b);
}

static void act(Bench *b, GRand *rand)
{
    unsigned slot = g_rand_int_range(rand, 0, SLOTS);

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
    case 1:
        bench_remove(b, functions[slot]);
        plug(b, slot);
        break;
    case 2:
        remove_and_stop(b, slot);
        plug(b, slot);
        break;
    case 3:
        bench_quiesce(b);
        bench_step(b, NS_PER_MS);
        bench_resume(b);
        break;
    case 4:
        bench_reset(b);
        break;
    case 5:
        save_and_load(b);
        break;
    default:
        bench_step(b, g_rand_int_range(rand, 0, NS_PER_MS));
    }
}

static bool same_text(const char *was, const char *is, const char *what)
{
    if (strcmp(was, is) != 0) {
        printf("%s differs at the end:\n%s", what, is);
        return false;
    }
    return true;
}

static bool run(Bench *b, uint32_t seed, unsigned acts)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autofree char *mem = space_dump(b->m->mem);
    uint64_t turns = 0;
    bool ok = true;

    for (unsigned i = 0; i < SLOTS; i++) {
        plug(b, i);
    }
    Device *isa = bench_device(b, &toy_isa_type, "isa", NULL);
    for (unsigned i = 0; i < VCPUS; i++) {
        vcpus[i] = (Vcpu){ .rand = g_rand_new_with_seed(seed + 1 + i) };
    }
    bench_vcpus_start(b, VCPUS, turn, NULL);
    for (unsigned i = 0; i < acts; i++) {
        act(b, rand);
    }
    bench_vcpus_stop(b);
    for (unsigned i = 0; i < SLOTS; i++) {
        bench_remove(b, functions[i]);
    }
    bench_remove(b, isa);
    bench_run(b);

    g_autofree char *mem_now = space_dump(b->m->mem);
    ok &= same_text(mem, mem_now, "the map");
    for (unsigned i = 0; i < BENCH_GSIS; i++) {
        if (bench_irq(b, i)) {
            printf("interrupt %u is high at the end\n", i);
            ok = false;
        }
    }
    for (unsigned i = 0; i < VCPUS; i++) {
        turns += vcpus[i].turns;
        g_rand_free(vcpus[i].rand);
    }
    if (wrong) {
        printf("%u reads of RAM were wrong\n", wrong);
        ok = false;
    }
    printf("%u acts, %" PRIu64 " accesses, seed %u: %s\n", acts, turns, seed, ok ? "ok" : "FAILED");
    return ok;
}

int main(int argc, char **argv)
{
    uint32_t seed = 1;
    int opt;

    while ((opt = getopt(argc, argv, "s:")) != -1) {
        seed = opt == 's' ? strtoul(optarg, NULL, 0) : 1;
    }
    unsigned acts = optind < argc ? strtoul(argv[optind], NULL, 0) : 300;

    thread_become_control();
    Bench *b = bench_new();
    bus = pci_bus_of(bench_pci(b));
    bool ok = run(b, seed, acts);
    bench_free(b);
    return ok ? 0 : 1;
}
