/* bench.c: the fake board.
 *
 * 1. The accelerator's callbacks may come from any thread: what they write is atomic, or written
 *    under
 *    rank MAP (slots, doorbells) or bench_lock (messages, routes). */
#include "tests/device/bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "hw/isa/isa.h"
#include "tests/device/bench-pci.h"
#include "util/epoch.h"
#include "util/thread.h"

#define RAM_SIZE (16 * MiB)

static Bench *bench;                   /* the one there is; for the accelerator's callbacks */
static Lock bench_lock = LOCK_INIT(RANK_LEAF, "bench");

/* A helper could not do its job: says why and fails the test. */
static void G_GNUC_PRINTF(1, 2) G_GNUC_NORETURN give_up(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "bench: ");
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

static void give_up_error(const char *what, Error *e)
{
    give_up("%s: %s", what, e ? error_text(e) : "failed");
}

/* --- the fake accelerator --- */

static void fake_slot_set(unsigned slot, Gpa at, void *host, uint64_t size, unsigned flags)
{
    bool smm = slot & SLOT_SMM;

    slot &= ~SLOT_SMM;
    if (slot >= BENCH_SLOTS) {
        give_up("slot %u", slot);
    }
    if (size && bench->slots[slot].size &&
        (bench->slots[slot].at != at || bench->slots[slot].size != size)) {
        give_up("slot %u set while in use", slot);
    }
    for (unsigned i = 0; size && i < BENCH_SLOTS; i++) {
        const BenchSlot *s = &bench->slots[i];

        if (i != slot && s->size && s->smm == smm && at < s->at + s->size && s->at < at + size) {
            give_up("slots %u and %u overlap", slot, i);
        }
    }
    bench->slots[slot] = (BenchSlot){ .at = at, .host = host, .size = size, .flags = flags, .smm = smm };
}

static bool same_bell(const BenchBell *a, const BenchBell *b)
{
    return a->kind == b->kind && a->at == b->at && a->size == b->size &&
           a->has_match == b->has_match && a->match == b->match;
}

static bool fake_doorbell_set(SpaceKind kind, Gpa at, unsigned size, const uint64_t *match,
                              Notifier *n, bool on)
{
    BenchBell bell = { .kind = kind, .at = at, .size = size, .has_match = match != NULL,
                       .match = match ? *match : 0, .notifier = n };

    for (unsigned i = 0; i < bench->bell_count; i++) {
        if (same_bell(&bench->bells[i], &bell)) {
            if (on) {
                give_up("doorbell at 0x%" PRIx64 " set twice", at);
            }
            bench->bells[i] = bench->bells[--bench->bell_count];
            return true;
        }
    }
    if (!on || bench->bell_count == BENCH_BELLS) {
        give_up("doorbell at 0x%" PRIx64 ": %s", at, on ? "too many" : "not there");
    }
    bench->bells[bench->bell_count++] = bell;
    return true;
}

static void fake_coalesce_set(SpaceKind kind, Gpa at, uint64_t size, bool on)
{
    bench->coalesced_count += on ? 1 : -1;
}

static IrqSink *fake_gsi_sink(Machine *m)
{
    return &bench->gsi;
}

static void fake_gsi_set(IrqSink *s, unsigned pin, bool level)
{
    Bench *b = container_of(s, Bench, gsi);

    if (pin >= BENCH_GSIS) {
        give_up("interrupt %u", pin);
    }
    if (!__atomic_exchange_n(&b->level[pin], level, __ATOMIC_ACQ_REL) && level) {
        __atomic_add_fetch(&b->raises[pin], 1, __ATOMIC_RELAXED);
    }
}

static void fake_msi_send(const MsiMsg *m)
{
    lock_take(&bench_lock);
    if (bench->msi_count < BENCH_MSIS) {
        bench->msi[bench->msi_count] = *m;
    }
    bench->msi_count++;
    lock_drop(&bench_lock);
}

static bool fake_route_set(int *gsi, const MsiMsg *m, Error **errp)
{
    bool ok = true;

    lock_take(&bench_lock);
    for (int i = 0; *gsi < 0 && i < BENCH_MSIS; i++) {
        *gsi = bench->route_used[i] ? -1 : i;
    }
    ok = *gsi >= 0;
    if (ok) {
        bench->route_used[*gsi] = true;
        bench->routes[*gsi] = *m;
    }
    lock_drop(&bench_lock);
    return ok || error_set(errp, "no route left");
}

static void fake_route_drop(int gsi)
{
    lock_take(&bench_lock);
    bench->route_used[gsi] = false;
    lock_drop(&bench_lock);
}

static bool fake_irqfd_set(int gsi, Notifier *raise, Notifier *resample, bool on)
{
    if (gsi >= 0 && gsi < BENCH_MSIS) {
        lock_take(&bench_lock);
        bench->route_raise[gsi] = on ? raise : NULL;
        lock_drop(&bench_lock);
    }
    return true;
}

/* --- vCPU-like threads --- */

static pthread_mutex_t vcpu_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t vcpu_cond = PTHREAD_COND_INITIALIZER;
static bool vcpus_held, vcpus_end;     /* atomic; changed under vcpu_mutex */
static Barrier *vcpu_home;             /* guarded by vcpu_mutex */
static unsigned park_count;            /* guarded by vcpu_mutex */

static void vcpu_stand(void)
{
    unsigned seen = 0;

    pthread_mutex_lock(&vcpu_mutex);
    while (vcpus_held && !vcpus_end) {
        /* It may be let go and parked again before this thread wakes up. */
        if (seen != park_count && vcpu_home) {
            barrier_leave(vcpu_home);
        }
        seen = park_count;
        pthread_cond_wait(&vcpu_cond, &vcpu_mutex);
    }
    pthread_mutex_unlock(&vcpu_mutex);
}

static void vcpu_main(void *arg)
{
    unsigned index = (uintptr_t)arg;

    while (!__atomic_load_n(&vcpus_end, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&vcpus_held, __ATOMIC_ACQUIRE)) {
            vcpu_stand();
        } else {
            bench->vcpu_turn(bench, index, bench->vcpu_arg);
        }
    }
}

static void vcpus_hold(bool hold, bool end, Barrier *home)
{
    pthread_mutex_lock(&vcpu_mutex);
    vcpu_home = home;
    park_count++;
    __atomic_store_n(&vcpus_held, hold, __ATOMIC_RELEASE);
    __atomic_store_n(&vcpus_end, end, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&vcpu_cond);
    pthread_mutex_unlock(&vcpu_mutex);
}

void bench_vcpus_start(Bench *b, unsigned n, void (*turn)(Bench *b, unsigned index, void *arg),
                       void *arg)
{
    if (n > BENCH_VCPUS || b->vcpu_count) {
        give_up("%u vCPUs", n);
    }
    b->vcpu_turn = turn;
    b->vcpu_arg = arg;
    vcpus_hold(machine_quiesced(), false, NULL);
    for (unsigned i = 0; i < n; i++) {
        if (!thread_start(&b->vcpus[i], THREAD_VCPU, "vcpu", true, vcpu_main, (void *)(uintptr_t)i,
                          NULL)) {
            give_up("no thread");
        }
    }
    b->vcpu_count = n;
}

void bench_vcpus_stop(Bench *b)
{
    vcpus_hold(false, true, NULL);
    for (unsigned i = 0; i < b->vcpu_count; i++) {
        thread_join(b->vcpus[i]);
    }
    b->vcpu_count = 0;
}

static unsigned fake_vcpu_count(void)
{
    return bench->vcpu_count;
}

static void fake_vcpus_run(void)
{
    vcpus_hold(false, false, NULL);
}

static void fake_vcpus_park(Barrier *home)
{
    if (bench->vcpu_count) {
        vcpus_hold(true, false, home);
    }
}

static void fake_vcpus_reset(ResetKind kind)
{
    bench->vcpu_resets++;
}

static bool fake_self_get(CpuSelf *out)
{
    *out = bench->self;
    return bench->has_self;
}

static void fake_self_set(const CpuSelf *c)
{
    bench->self = *c;
}

static void fake_smi(bool all)
{
    bench->smis += all ? 100 : 1;
}

static void fake_pit_replaced(bool on)
{
    bench->pit_replaced = on;
}

static const AccelOps fake_accel = {
    .name = "bench",
    .slot_set = fake_slot_set,
    .doorbell_set = fake_doorbell_set,
    .coalesce_set = fake_coalesce_set,
    .gsi_sink = fake_gsi_sink,
    .msi_send = fake_msi_send,
    .route_set = fake_route_set,
    .route_drop = fake_route_drop,
    .irqfd_set = fake_irqfd_set,
    .pit_replaced = fake_pit_replaced,
    .vcpus_run = fake_vcpus_run,
    .vcpus_park = fake_vcpus_park,
    .vcpu_count = fake_vcpu_count,
    .vcpus_reset = fake_vcpus_reset,
    .smi = fake_smi,
    .self_get = fake_self_get,
    .self_set = fake_self_set,
};

/* --- the board --- */

static bool board_realize(Device *d, Error **errp)
{
    bench->isa = isa_bus_new(d, "isa.0", &d->machine->io_root, &bench->gsi);
    d->machine->isa = bench->isa;
    return true;
}

static void board_unrealize(Device *d)
{
    isa_bus_free(bench->isa);
    bench->isa = NULL;
}

static const DeviceType board_type = {
    .name = "bench-board",
    .summary = "owner of the test board's buses",
    .slot = &board_slot,
    .size = sizeof(Device),
    .flags = DEV_INTERNAL | DEV_STATELESS,
    .realize = board_realize,
    .unrealize = board_unrealize,
};

static void note_request(MachineRequest what, uint32_t detail, const char *cause)
{
    bench->requests[what]++;
    bench->request_detail[what] = detail;
}

static void place_plugged(void *arg, unsigned place)
{
    ((Bench *)arg)->dimms_plugged++;
}

static bool place_asked(void *arg, unsigned place, Error **errp)
{
    ((Bench *)arg)->dimms_asked++;
    return true;
}

static void place_unplugged(void *arg, unsigned place)
{
    ((Bench *)arg)->dimms_unplugged++;
}

/* Numbered places: vCPUs, and memory slots that a recorder watches until a chip takes over. */
static void make_places(Bench *b)
{
    static const MachinePlacesOps ops = {
        .plugged = place_plugged, .unplug_request = place_asked, .unplugged = place_unplugged,
    };
    Machine *m = b->m;

    m->cfg.acpi = true;
    m->cpus.count = BENCH_PLACES;
    m->cpus.dev = g_new0(Device *, BENCH_PLACES);
    m->dimms = (MachinePlaces){ g_new0(Device *, BENCH_PLACES), BENCH_PLACES, &ops, b };
    m->dimm_ranges = g_new0(MachineDimm, BENCH_PLACES);
    m->memory_area = (MemoryArea){ .base = BENCH_MEMORY_AREA, .size = 8 * GiB, .limit = 4 * GiB };
}

Bench *bench_new(void)
{
    Bench *b = g_new0(Bench, 1);
    Error *e = NULL;

    if (bench) {
        give_up("the last test did not free its bench");
    }
    bench = b;
    thread_become_control();
    clock_vm_manual();
    clock_vm_set(0);
    accel_set(&fake_accel);
    b->gsi = (IrqSink){ .set = fake_gsi_set, .pins = BENCH_GSIS };
    b->m = machine_new(NULL, loop_control(), &e);
    b->ram = b->m ? ram_new_anon("bench.ram", RAM_SIZE, &e) : NULL;
    if (!b->ram) {
        give_up_error("machine", e);
    }
    b->m->ram_blocks = g_ptr_array_new();
    g_ptr_array_add(b->m->ram_blocks, b->ram);
    b->m->below_4g = RAM_SIZE;
    b->m->gsi = &b->gsi;
    make_places(b);
    machine_on_request(note_request);
    region_ram(&b->ram_region, NULL, "ram", b->ram, 0, RAM_SIZE);
    map_put_one(&b->m->mem_root, &b->ram_region, 0, 0);
    if (!device_make(&board_type, b->m->root, NULL, "board", &e, NULL)) {
        give_up_error("board", e);
    }
    machine_reset(RESET_POWER);
    machine_resume();
    return b;
}

void bench_free(Bench *b)
{
    bench_vcpus_stop(b);
    bench_run(b);
    bench_quiesce(b);
    bench_pci_free(b);
    device_destroy(device_find(b->m->root, "/machine/board"));
    map_drop_one(&b->ram_region);
    region_free(&b->ram_region);
    g_ptr_array_unref(b->m->ram_blocks);
    machine_free(b->m);
    ram_free(b->ram);
    machine_on_request(NULL);
    machine_set_listener(NULL);
    bench_run(b);
    epoch_flush();
    bench_run(b);
    accel_set(NULL);
    g_free(b);
    bench = NULL;
}

uint64_t bench_ram_size(void)
{
    return RAM_SIZE;
}

uint8_t *bench_ram(Bench *b, Gpa at, size_t n)
{
    if (!fits(at, n, RAM_SIZE)) {
        give_up("no RAM at 0x%" PRIx64, at);
    }
    return b->ram->host + at;
}

/* --- devices --- */

static Bus *bus_for(Bench *b, const DeviceType *t, Error **errp)
{
    if (t->slot->no_bus) {
        return NULL;
    }
    if (t->slot == &isa_slot) {
        return b->isa;
    }
    if (bench_pci_wants(t)) {
        return bench_pci(b);
    }
    return bus_find_for(b->m->root, t, errp);
}

Device *bench_create(Bench *b, const DeviceType *t, const char *id, Error **errp)
{
    Bus *bus = bus_for(b, t, errp);

    if (!bus && !t->slot->no_bus) {
        return NULL;
    }
    return device_create(t, b->m->peripheral, bus, id, errp);
}

static Device *make(Bench *b, const DeviceType *t, const char *id, Error **errp, va_list ap)
{
    Device *d = bench_create(b, t, id, errp);
    const char *prop;
    bool ok = d != NULL;

    while (ok && (prop = va_arg(ap, const char *)) != NULL) {
        ok = device_set(d, prop, va_arg(ap, const char *), errp);
    }
    if (ok && device_realize(d, errp)) {
        bench_run(b);
        return d;
    }
    if (d) {
        device_discard(d);
    }
    return NULL;
}

Device *bench_device(Bench *b, const DeviceType *t, const char *id, ...)
{
    Error *e = NULL;
    va_list ap;

    va_start(ap, id);
    Device *d = make(b, t, id, &e, ap);
    va_end(ap);
    if (!d) {
        give_up_error(t->name, e);
    }
    return d;
}

Device *bench_try_device(Bench *b, const DeviceType *t, const char *id, Error **errp, ...)
{
    va_list ap;

    va_start(ap, errp);
    Device *d = make(b, t, id, errp, ap);
    va_end(ap);
    return d;
}

typedef struct Done {
    Post post;
    bool done;
} Done;

static void note_done(Post *p)
{
    ((Done *)p)->done = true;
}

static bool is_done(void *arg)
{
    return ((Done *)arg)->done;
}

void bench_remove(Bench *b, Device *d)
{
    Done done = { .post.run = note_done };

    device_remove(d, &done.post);
    bench_until(b, is_done, &done);
    epoch_flush();
}

/* --- ports and memory --- */

#define PORT_OPS(bits) \
    uint##bits##_t bench_in##bits(Bench *b, uint16_t port) \
    { \
        uint8_t raw[8]; \
        space_read(b->m->io, port, raw, bits / 8); \
        return ld_n(raw, bits / 8); \
    } \
    void bench_out##bits(Bench *b, uint16_t port, uint##bits##_t v) \
    { \
        uint8_t raw[8]; \
        st_n(raw, bits / 8, v); \
        space_write(b->m->io, port, raw, bits / 8); \
    }
PORT_OPS(8)
PORT_OPS(16)
PORT_OPS(32)

#define MEM_OPS(bits) \
    uint##bits##_t bench_read##bits(Bench *b, Gpa at) \
    { \
        uint8_t raw[8]; \
        space_read(b->m->mem, at, raw, bits / 8); \
        return ld_n(raw, bits / 8); \
    } \
    void bench_write##bits(Bench *b, Gpa at, uint##bits##_t v) \
    { \
        uint8_t raw[8]; \
        st_n(raw, bits / 8, v); \
        space_write(b->m->mem, at, raw, bits / 8); \
    }
MEM_OPS(8)
MEM_OPS(16)
MEM_OPS(32)
MEM_OPS(64)

/* --- time and work --- */

int64_t bench_now(void)
{
    return clock_now(CLOCK_VM);
}

void bench_step(Bench *b, int64_t ns)
{
    bench_run(b);
    clock_vm_step_to(clock_now(CLOCK_VM) + ns);
    bench_run(b);
}

void bench_run(Bench *b)
{
    while (loop_control_iterate(false)) {
    }
}

void bench_until(Bench *b, bool (*cond)(void *arg), void *arg)
{
    while (!cond(arg)) {
        loop_control_iterate(true);
    }
}

/* --- interrupts --- */

bool bench_irq(Bench *b, unsigned gsi)
{
    return __atomic_load_n(&b->level[gsi], __ATOMIC_ACQUIRE);
}

unsigned bench_irq_raises(Bench *b, unsigned gsi)
{
    return __atomic_exchange_n(&b->raises[gsi], 0, __ATOMIC_ACQ_REL);
}

unsigned bench_msi_count(Bench *b)
{
    lock_take(&bench_lock);
    unsigned n = b->msi_count;
    lock_drop(&bench_lock);
    return n;
}

const MsiMsg *bench_msi(Bench *b, unsigned i)
{
    if (i >= MIN(bench_msi_count(b), BENCH_MSIS)) {
        give_up("there is no message %u", i);
    }
    return &b->msi[i];
}

void bench_msi_clear(Bench *b)
{
    lock_take(&bench_lock);
    b->msi_count = 0;
    lock_drop(&bench_lock);
}

/* --- the accelerator's records --- */

static const BenchSlot *slot_at(Bench *b, Gpa at, bool smm)
{
    for (unsigned i = 0; i < BENCH_SLOTS; i++) {
        const BenchSlot *s = &b->slots[i];

        if (s->size && s->smm == smm && at >= s->at && at - s->at < s->size) {
            return s;
        }
    }
    return NULL;
}

const BenchSlot *bench_slot_at(Bench *b, Gpa at)
{
    return slot_at(b, at, false);
}

const BenchSlot *bench_smm_slot_at(Bench *b, Gpa at)
{
    return slot_at(b, at, true);
}

const BenchBell *bench_bell_at(Bench *b, SpaceKind kind, Gpa at)
{
    for (unsigned i = 0; i < b->bell_count; i++) {
        if (b->bells[i].kind == kind && b->bells[i].at == at) {
            return &b->bells[i];
        }
    }
    return NULL;
}

/* --- life of the machine --- */

void bench_quiesce(Bench *b)
{
    Done done = { .post.run = note_done };

    machine_quiesce(&done.post);
    bench_until(b, is_done, &done);
}

void bench_resume(Bench *b)
{
    machine_resume();
    bench_run(b);
}

void bench_reset(Bench *b)
{
    bench_quiesce(b);
    machine_reset(RESET_POWER);
    bench_resume(b);
}

unsigned bench_requests(Bench *b, MachineRequest what)
{
    bench_run(b);
    unsigned n = b->requests[what];

    b->requests[what] = 0;
    return n;
}

GByteArray *bench_save(Bench *b, Device *d)
{
    GByteArray *out = g_byte_array_new();

    bench_quiesce(b);
    state_save_tree(d, out);
    bench_resume(b);
    return out;
}

bool bench_load(Bench *b, Device *d, const GByteArray *state, Error **errp)
{
    bench_quiesce(b);
    bool ok = state_load_tree(d, state->data, state->len, errp);
    if (ok) {
        device_settle_tree(d);
        bench_resume(b);
    }
    return ok;
}

void bench_save_load(Bench *b, Device *d)
{
    Error *e = NULL;

    bench_quiesce(b);
    g_autoptr(GByteArray) before = g_byte_array_new();
    state_save_tree(d, before);
    device_reset_tree(d, RESET_POWER);
    if (!state_load_tree(d, before->data, before->len, &e)) {
        give_up_error("load", e);
    }
    device_settle_tree(d);
    g_autoptr(GByteArray) after = g_byte_array_new();
    state_save_tree(d, after);
    if (before->len != after->len || memcmp(before->data, after->data, after->len) != 0) {
        g_autofree char *was = state_print(before->data, before->len, NULL);
        g_autofree char *is = state_print(after->data, after->len, NULL);

        give_up("state differs after save and load; was:\n%s\nis:\n%s", was, is);
    }
    bench_resume(b);
}
