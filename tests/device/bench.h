/* bench.h: the fake board that device tests put their device on.
 *
 *     Bench *b = bench_new();
 *     Device *d = bench_device(b, &uart16550_type, "uart0", "index", "0", NULL);
 *     bench_out8(b, 0x3f8, 'x');
 *     assert_true(bench_irq(b, 4));
 *     bench_step(b, 10 * NS_PER_MS);
 *     bench_free(b);
 *
 * 1. One thread, the control thread, does everything: device timers and posts run on the control
 *    loop,
 *    inside bench_step(), bench_run() and the calls that say so.  CLOCK_VM is manual and begins at
 *    0.
 * 2. RAM lies at 0 (bench_ram_size() bytes), ports and memory are the machine's own spaces; the
 *    machine
 *    was reset once and runs, so a new device is settled and visible when bench_device() returns.
 * 3. The accelerator is a fake that records what it is told.
 * 4. A helper that cannot do its job fails the test; what may fail on purpose takes an Error **. */
#ifndef TESTS_DEVICE_BENCH_H
#define TESTS_DEVICE_BENCH_H

#include "core/accel.h"
#include "core/device.h"
#include "core/dma.h"
#include "core/irq.h"
#include "core/machine.h"
#include "core/region.h"
#include "core/state.h"
#include "util/bytes.h"

#define BENCH_GSIS 24
#define BENCH_MSIS 256
#define BENCH_SLOTS 512
#define BENCH_BELLS 64
#define BENCH_VCPUS 8
#define BENCH_PLACES 4         /* vCPU and memory slots of the machine */
#define BENCH_MEMORY_AREA (4 * GiB)    /* 8 GiB of addresses for 4 GiB of memory devices */

typedef struct BenchSlot {
    Gpa at;
    void *host;
    uint64_t size;             /* 0: not in use */
    unsigned flags;
    bool smm;                  /* of SPACE_SMM */
} BenchSlot;

typedef struct BenchBell {
    SpaceKind kind;
    Gpa at;
    unsigned size;
    bool has_match;
    uint64_t match;
    Notifier *notifier;
} BenchBell;

typedef struct Bench {
    Machine *m;
    RamBlock *ram;
    Region ram_region;
    Bus *isa;                  /* lines end in gsi[0..15] */
    Bus *pci;                  /* NULL until bench_pci() of bench-pci.h */
    /* the fake accelerator's records */
    IrqSink gsi;
    bool level[BENCH_GSIS];    /* atomic */
    unsigned raises[BENCH_GSIS];       /* atomic: low-to-high changes */
    MsiMsg msi[BENCH_MSIS];    /* the first ones since bench_msi_clear() */
    unsigned msi_count;        /* atomic: all since then */
    BenchSlot slots[BENCH_SLOTS];
    BenchBell bells[BENCH_BELLS];
    unsigned bell_count, coalesced_count;
    MsiMsg routes[BENCH_MSIS];
    bool route_used[BENCH_MSIS];
    Notifier *route_raise[BENCH_MSIS];
    bool has_self;             /* accesses are a vCPU's whose registers are... */
    CpuSelf self;
    unsigned smis;             /* to the vCPU that asked; 100 for one to all */
    unsigned vcpu_resets;
    bool pit_replaced;         /* by the HPET */
    unsigned dimms_plugged, dimms_asked, dimms_unplugged;
    pthread_t vcpus[BENCH_VCPUS];
    unsigned vcpu_count;
    void (*vcpu_turn)(struct Bench *b, unsigned index, void *arg);
    void *vcpu_arg;
    unsigned requests[REQUEST_COUNT];
    uint32_t request_detail[REQUEST_COUNT];
} Bench;

/* --- the board --- */
Bench *bench_new(void);
/* Destroys the machine and everything on it. */
void bench_free(Bench *b);
uint64_t bench_ram_size(void);
/* Host address of RAM at @at, @n bytes of it. */
uint8_t *bench_ram(Bench *b, Gpa at, size_t n);

/* --- devices --- */
/* Creates and realizes @t with pairs of "property", "text", then NULL, on the bus that its slot
 * wants:
 * none for board devices, the ISA bus, the PCI bus (made on first use), or the first such bus of
 * the tree.  @id NULL makes one up. */
Device *bench_device(Bench *b, const DeviceType *t, const char *id, ...) G_GNUC_NULL_TERMINATED;
/* The same, for what is expected to fail: NULL and *errp then. */
Device *bench_try_device(Bench *b, const DeviceType *t, const char *id, Error **errp, ...)
    G_GNUC_NULL_TERMINATED;
/* Only creates (the bus is chosen as above). */
Device *bench_create(Bench *b, const DeviceType *t, const char *id, Error **errp);
/* device_remove(), run to its end and past the grace period. */
void bench_remove(Bench *b, Device *d);

/* --- ports and memory, as a CPU sees them --- */
uint8_t bench_in8(Bench *b, uint16_t port);
uint16_t bench_in16(Bench *b, uint16_t port);
uint32_t bench_in32(Bench *b, uint16_t port);
void bench_out8(Bench *b, uint16_t port, uint8_t v);
void bench_out16(Bench *b, uint16_t port, uint16_t v);
void bench_out32(Bench *b, uint16_t port, uint32_t v);
uint8_t bench_read8(Bench *b, Gpa at);
uint16_t bench_read16(Bench *b, Gpa at);
uint32_t bench_read32(Bench *b, Gpa at);
uint64_t bench_read64(Bench *b, Gpa at);
void bench_write8(Bench *b, Gpa at, uint8_t v);
void bench_write16(Bench *b, Gpa at, uint16_t v);
void bench_write32(Bench *b, Gpa at, uint32_t v);
void bench_write64(Bench *b, Gpa at, uint64_t v);

/* --- time and work --- */
int64_t bench_now(void);
/* Moves CLOCK_VM @ns on; what is due on the way has run when it returns, and so have posts. */
void bench_step(Bench *b, int64_t ns);
/* Runs the control loop until it has nothing to do. */
void bench_run(Bench *b);
/* Runs the control loop, waiting for events, until cond(arg).  The test runner's time limit is the
 * end
 * of what never comes true. */
void bench_until(Bench *b, bool (*cond)(void *arg), void *arg);

/* --- interrupts --- */
bool bench_irq(Bench *b, unsigned gsi);
/* Low-to-high changes of @gsi since the last call. */
unsigned bench_irq_raises(Bench *b, unsigned gsi);
/* Messages since the last bench_msi_clear(). */
unsigned bench_msi_count(Bench *b);
const MsiMsg *bench_msi(Bench *b, unsigned i);
void bench_msi_clear(Bench *b);

/* --- what the accelerator was told --- */
const BenchSlot *bench_slot_at(Bench *b, Gpa at);       /* of SPACE_MEM */
const BenchSlot *bench_smm_slot_at(Bench *b, Gpa at);
const BenchBell *bench_bell_at(Bench *b, SpaceKind kind, Gpa at);

/* --- vCPU-like threads --- */
/* Starts @n threads that each call turn(b, index, arg) again and again; machine_quiesce() parks
 * them
 * between two turns, as it parks vCPUs. */
void bench_vcpus_start(Bench *b, unsigned n, void (*turn)(Bench *b, unsigned index, void *arg),
                       void *arg);
/* Ends them; bench_free() does too. */
void bench_vcpus_stop(Bench *b);

/* --- life of the machine; each runs to its end --- */
void bench_quiesce(Bench *b);
void bench_resume(Bench *b);
/* Quiesce, reset all, resume. */
void bench_reset(Bench *b);
/* How often the guest asked for @what since the last call; runs the loop first. */
unsigned bench_requests(Bench *b, MachineRequest what);
/* State of @d and all below it; quiesces and resumes.  Owned by the caller. */
GByteArray *bench_save(Bench *b, Device *d);
/* Loads into @d and below, settles, resumes. */
bool bench_load(Bench *b, Device *d, const GByteArray *state, Error **errp);
/* Save, load back into the same device after a reset: what a device test does to show that its
 * state
 * table is complete.  Fails the test when the state differs. */
void bench_save_load(Bench *b, Device *d);

#endif
