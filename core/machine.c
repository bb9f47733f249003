/* machine.c: the one machine: its roots, stopping and going on, and what the guest asks of it.
 *
 *              machine_quiesce               on_parked             on_home
 *     running ----------------> parking vCPUs --------> quiescing ---------> quiesced
 *        ^-------------------------------- machine_resume --------------------/
 *
 * 1. The run state above belongs to control.  Whoever asks for quiesce while it is under way waits
 *    in
 *    the same queue; if one of them resumes the machine, it goes down again for the next.
 * 2. Requests and deferred calls hold a bounded amount of memory whatever the guest does: one
 *    entry a
 *    kind of request, 64 calls a device. */
#include "core/machine.h"

#include <string.h>
#include "core/accel.h"
#include "core/device-int.h"
#include "util/thread.h"
#include "util/trace.h"

#define CAUSE_BYTES 64
#define DEFERRED_MAX 64

static Machine *the_machine;           /* atomic pointer */
static const MachineType *const *machine_type_table;
static const MachineListener *listener;

/* --- types --- */

void machine_types_register(const MachineType *const *all)
{
    assert_control();
    machine_type_table = all;
}

const MachineType *const *machine_types(void)
{
    static const MachineType *const none[] = { NULL };

    return machine_type_table ? machine_type_table : none;
}

const MachineType *machine_type_find(const char *name)
{
    for (const MachineType *const *t = machine_types(); *t; t++) {
        if (strcmp((*t)->name, name) == 0 || ((*t)->alias && strcmp((*t)->alias, name) == 0)) {
            return *t;
        }
    }
    return NULL;
}

/* --- building --- */

static const DeviceType container_type = {
    .name = "container",
    .summary = "a folder in the device tree",
    .slot = &board_slot,
    .size = sizeof(Device),
    .flags = DEV_INTERNAL | DEV_STATELESS,
};

static bool quiesced = true;           /* control */
static bool going_down;                /* control */
static bool was_reset;                 /* control */

Machine *machine_new(const MachineType *t, Loop *device_loop, Error **errp)
{
    Machine *m = g_new0(Machine, 1);

    assert_control();
    if (the_machine) {
        g_free(m);
        error_set(errp, "this process has a machine already");
        return NULL;
    }
    loop_control();
    m->type = t;
    m->device_loop = device_loop;
    m->boot_devices = g_ptr_array_new();
    m->root = device_make_container(&container_type, NULL, m, "machine");
    m->peripheral = device_make_container(&container_type, m->root, m, "peripheral");
    m->peripheral_anon = device_make_container(&container_type, m->root, m, "peripheral-anon");
    m->unattached = device_make_container(&container_type, m->root, m, "unattached");
    region_box(&m->mem_root, NULL, "system", UINT64_MAX);
    region_box(&m->io_root, NULL, "io", 0x10000);
    m->mem = space_new("memory", SPACE_MEM, &m->mem_root);
    m->io = space_new("I/O", SPACE_PIO, &m->io_root);
    quiesced = true;
    was_reset = false;
    __atomic_store_n(&the_machine, m, __ATOMIC_RELEASE);
    return m;
}

void machine_free(Machine *m)
{
    assert_control();
    if (!m) {
        return;
    }
    device_destroy(m->root);
    space_free(m->mem);
    space_free(m->io);
    if (m->smm != NULL) {
        space_free(m->smm);
        map_drop_one(&m->smm_below);
        region_free(&m->smm_below);
        region_free(&m->smm_root);
    }
    region_free(&m->mem_root);
    region_free(&m->io_root);
    g_ptr_array_unref(m->boot_devices);
    g_free(m->cpus.dev);
    g_free(m->dimms.dev);
    g_free(m->dimm_ranges);
    __atomic_store_n(&the_machine, NULL, __ATOMIC_RELEASE);
    g_free(m);
}

void machine_add_smm(Machine *m)
{
    assert_control();
    region_box(&m->smm_root, NULL, "smm", UINT64_MAX);
    region_window(&m->smm_below, NULL, "smm-system", &m->mem_root, 0, UINT64_MAX);
    m->smm = space_new("memory-smm", SPACE_SMM, &m->smm_root);
    map_put_one(&m->smm_root, &m->smm_below, 0, 0);
}

Machine *machine(void)
{
    return __atomic_load_n(&the_machine, __ATOMIC_ACQUIRE);
}

/* --- stop the world --- */

static GQueue waiting = G_QUEUE_INIT;  /* Post *: who asked; control */
static Barrier park;
static Post parked, home;

static void (*on_move)(bool moves);    /* control */

static void on_home(Post *p);

static void on_parked(Post *p)
{
    clock_vm_run(false);
    home.run = on_home;
    device_quiesce_later(the_machine->root, &home);
}

static void go_down(void)
{
    const AccelOps *a = accel();

    going_down = true;
    parked.run = on_parked;
    barrier_init(&park, loop_control(), &parked);
    if (a && a->vcpus_park) {
        for (unsigned i = a->vcpu_count(); i > 0; i--) {
            barrier_enter(&park);
        }
        a->vcpus_park(&park);
    }
    barrier_leave(&park);
}

static void on_home(Post *p)
{
    going_down = false;
    quiesced = true;
    if (on_move) {
        on_move(false);
    }
    TRACE(machine_quiesced, "waiting=%u", waiting.length);
    while (quiesced && waiting.length) {
        Post *done = g_queue_pop_head(&waiting);

        done->run(done);
    }
    if (waiting.length && !going_down) {
        go_down();
    }
}

void machine_quiesce(Post *done)
{
    assert_control();
    if (quiesced) {
        loop_post(loop_control(), done);
        return;
    }
    g_queue_push_tail(&waiting, done);
    if (!going_down) {
        go_down();
    }
}

void machine_resume(void)
{
    const AccelOps *a = accel();

    assert_control();
    if (!quiesced || !the_machine) {
        return;
    }
    quiesced = false;
    TRACE(machine_resume, "vcpus=%u", a && a->vcpu_count ? a->vcpu_count() : 0);
    if (on_move) {
        on_move(true);
    }
    device_resume_tree(the_machine->root);
    clock_vm_run(true);
    if (a && a->vcpus_run) {
        a->vcpus_run();
    }
}

void machine_on_move(void (*fn)(bool moves))
{
    assert_control();
    on_move = fn;
}

bool machine_quiesced(void)
{
    return quiesced;
}

bool machine_moves(void)
{
    return !quiesced && !going_down;
}

bool machine_was_reset(void)
{
    return was_reset;
}

void machine_uuid(const char *text, uint8_t raw[16])
{
    unsigned n = 0;

    memset(raw, 0, 16);
    for (const char *p = text; p != NULL && *p != 0 && n < 32; p++) {
        if (g_ascii_isxdigit(*p)) {
            raw[n / 2] = raw[n / 2] << 4 | g_ascii_xdigit_value(*p);
            n++;
        }
    }
}

void machine_reset(ResetKind kind)
{
    const AccelOps *a = accel();

    assert_control();
    TRACE(machine_reset, "kind=%d", kind);
    device_reset_tree(the_machine->root, kind);
    if (a && a->vcpus_reset) {
        a->vcpus_reset(kind);
    }
    device_settle_tree(the_machine->root);
    if (the_machine->type && the_machine->type->restart) {
        the_machine->type->restart(the_machine, kind);
    }
    was_reset = true;
}

/* --- requests --- */

typedef struct Request {
    bool pending;
    uint64_t seq;
    uint32_t detail;
    char cause[CAUSE_BYTES];
} Request;

static Lock request_lock = LOCK_INIT(RANK_LEAF, "machine requests");
static Request requests[REQUEST_COUNT];        /* guarded by request_lock */
static uint64_t request_seq;                   /* guarded by request_lock */
static bool request_posted;                    /* guarded by request_lock */
static void run_requests(Post *p);
static Post request_post = { .run = run_requests };
static void (*on_request)(MachineRequest what, uint32_t detail, const char *cause);

/* The oldest pending request, taken; REQUEST_COUNT: none. */
static MachineRequest take_request(Request *out)
{
    MachineRequest oldest = REQUEST_COUNT;

    lock_take(&request_lock);
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        if (requests[i].pending &&
            (oldest == REQUEST_COUNT || requests[i].seq < requests[oldest].seq)) {
            oldest = i;
        }
    }
    if (oldest != REQUEST_COUNT) {
        *out = requests[oldest];
        requests[oldest].pending = false;
    }
    lock_drop(&request_lock);
    return oldest;
}

static void run_requests(Post *p)
{
    Request r;
    bool more = false;

    lock_take(&request_lock);
    request_posted = false;
    lock_drop(&request_lock);
    /* As many as there are kinds: a guest that repeats itself gets its turn with everything
     * else. */
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        MachineRequest what = take_request(&r);

        if (what == REQUEST_COUNT) {
            return;
        }
        if (on_request) {
            on_request(what, r.detail, r.cause);
        }
    }
    lock_take(&request_lock);
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        more |= requests[i].pending;
    }
    more = more && !request_posted;
    request_posted |= more;
    lock_drop(&request_lock);
    if (more) {
        loop_post(loop_control(), &request_post);
    }
}

/* After these the guest must not execute another instruction. */
static const bool holds_vcpu[REQUEST_COUNT] = {
    [REQUEST_RESET] = true, [REQUEST_POWEROFF] = true, [REQUEST_SUSPEND_DISK] = true, [REQUEST_EXIT] = true,
};

void machine_request(MachineRequest what, uint32_t detail, const char *cause)
{
    bool post = false;

    lock_take(&request_lock);
    Request *r = &requests[what];
    if (!r->pending) {
        r->pending = true;
        r->seq = request_seq++;
        r->detail = detail;
        g_strlcpy(r->cause, cause ? cause : "", sizeof(r->cause));
        post = !request_posted;
        request_posted = true;
    }
    lock_drop(&request_lock);
    if (post) {
        TRACE(machine_request, "what=%d detail=%u cause=%s", what, detail, cause ? cause : "");
        loop_post(loop_control(), &request_post);
    }
    if (holds_vcpu[what] && accel() != NULL && accel()->vcpu_hold != NULL) {
        accel()->vcpu_hold();
    }
}

void machine_on_request(void (*fn)(MachineRequest what, uint32_t detail, const char *cause))
{
    assert_control();
    on_request = fn;
}

/* --- deferred calls --- */

typedef struct Deferred {
    Device *dev;
    void (*fn)(Device *d, uintptr_t arg);
    uintptr_t arg;
} Deferred;

static Lock deferred_lock = LOCK_INIT(RANK_LEAF, "deferred calls");
static GQueue deferred = G_QUEUE_INIT;         /* Deferred *; guarded by deferred_lock */
static bool deferred_posted;                   /* guarded by deferred_lock */
static Post deferred_post;

static void run_deferred(Post *p)
{
    lock_take(&deferred_lock);
    unsigned n = deferred.length;
    deferred_posted = false;
    lock_drop(&deferred_lock);
    while (n-- > 0) {
        lock_take(&deferred_lock);
        g_autofree Deferred *c = g_queue_pop_head(&deferred);
        if (c) {
            c->dev->deferred--;
        }
        lock_drop(&deferred_lock);
        if (!c) {
            return;
        }
        if (!c->dev->removing) {
            c->fn(c->dev, c->arg);
        }
    }
}

static bool is_queued_locked(const Device *d, void (*fn)(Device *d, uintptr_t arg), uintptr_t arg)
    LOCK_HELD(deferred_lock)
{
    for (GList *l = d->deferred ? deferred.head : NULL; l; l = l->next) {
        const Deferred *c = l->data;

        if (c->dev == d && c->fn == fn && c->arg == arg) {
            return true;
        }
    }
    return false;
}

void machine_defer(Device *d, void (*fn)(Device *d, uintptr_t arg), uintptr_t arg)
{
    bool post = false, full = false;

    lock_take(&deferred_lock);
    if (!is_queued_locked(d, fn, arg)) {
        full = d->deferred >= DEFERRED_MAX;
        if (!full) {
            Deferred *c = g_new0(Deferred, 1);

            *c = (Deferred){ .dev = d, .fn = fn, .arg = arg };
            g_queue_push_tail(&deferred, c);
            d->deferred++;
            post = !deferred_posted;
            deferred_posted = true;
            deferred_post.run = run_deferred;
        }
    }
    lock_drop(&deferred_lock);
    if (full) {
        guest_bug(d->id, "asks for too much at once");
    }
    if (post) {
        loop_post(loop_control(), &deferred_post);
    }
}

void machine_forget_device(Device *d)
{
    lock_take(&deferred_lock);
    for (GList *l = deferred.head; l && d->deferred;) {
        GList *next = l->next;
        Deferred *c = l->data;

        if (c->dev == d) {
            g_queue_delete_link(&deferred, l);
            g_free(c);
            d->deferred--;
        }
        l = next;
    }
    lock_drop(&deferred_lock);
    if (d->machine && d->bootindex >= 0) {
        g_ptr_array_remove(d->machine->boot_devices, d);
    }
}

/* --- listeners and boot order --- */

void machine_set_listener(const MachineListener *l)
{
    assert_control();
    listener = l;
}

const MachineListener *machine_listener(void)
{
    return listener;
}

bool machine_bootindex(Machine *m, Device *d, int32_t index, Error **errp)
{
    unsigned at = 0;

    assert_control();
    if (index < -1) {
        return error_set(errp, "bootindex %d is not -1 or more", index);
    }
    for (unsigned i = 0; i < m->boot_devices->len; i++) {
        const Device *other = m->boot_devices->pdata[i];

        if (other != d && index >= 0 && other->bootindex == index) {
            return error_set(errp, "The bootindex %d has already been used", index);
        }
    }
    for (unsigned i = 0; m->cfg.option_roms != NULL && i < m->cfg.option_roms->len; i++) {
        if (index >= 0 && g_array_index(m->cfg.option_roms, OptionRom, i).bootindex == index) {
            return error_set(errp, "The bootindex %d has already been used", index);
        }
    }
    g_ptr_array_remove(m->boot_devices, d);
    d->bootindex = index;
    if (index >= 0) {
        while (at < m->boot_devices->len &&
               ((Device *)m->boot_devices->pdata[at])->bootindex < index) {
            at++;
        }
        g_ptr_array_insert(m->boot_devices, at, d);
    }
    return true;
}

/* --- numbered places --- */

void machine_place_take(MachinePlaces *p, unsigned n, Device *d)
{
    assert_control();
    g_assert(n < p->count && !p->dev[n]);
    p->dev[n] = d;
    if (p->ops) {
        p->ops->plugged(p->arg, n);
    }
}

void machine_place_leave(MachinePlaces *p, unsigned n)
{
    assert_control();
    p->dev[n] = NULL;
    if (p->ops) {
        p->ops->unplugged(p->arg, n);
    }
}
