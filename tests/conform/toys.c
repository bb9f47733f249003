/* toys.c: an ISA and a PCI device with a register of each kind, and bad copies of the first.
 *
 * 1. Everything runs under the device's domain, the "work" included, which takes it by itself.
 * 2. @busy is true from a command until its bytes are written; quiesce comes home then. */
#include "tests/conform/toys.h"

#include "core/dma.h"
#include "core/state.h"
#include "util/bytes.h"

#define TOY_SIZE 32

static const char *const toy_modes[] = { "fast", "slow", NULL };

/* --- the common part --- */

static void toy_update(Toy *t)
{
    t->interrupt(t, t->status & 1);
}

static void toy_work(Post *p)
{
    Toy *t = container_of(p, Toy, work);
    Device *d = t->dev;

    domain_enter(d->domain);
    if (t->pending) {
        if (dma_fill(d, t->address, (uint8_t)t->scratch, t->pending)) {
            t->done += t->pending;
        }
        t->pending = 0;
    }
    t->busy = false;
    if (t->home) {
        Barrier *home = t->home;

        t->home = NULL;
        barrier_leave(home);
    }
    domain_leave(d->domain);
}

static void toy_start(Toy *t)
{
    if (!t->busy && !t->stopped && t->pending) {
        t->busy = true;
        loop_post(t->dev->loop, &t->work);
    }
}

static void toy_fire(Device *d, DevTimer *timer)
{
    Toy *t = container_of(timer, Toy, timer);

    t->status |= 1;
    toy_update(t);
}

static uint64_t toy_read(void *arg, uint64_t off, unsigned size)
{
    Toy *t = arg;

    switch (off) {
    case 0:
        return t->scratch;
    case 4:
        return t->counter;
    case 8:
        return dev_timer_armed(&t->timer);
    case 12:
        return t->status;
    case 16:
        return (uint32_t)t->address;
    case 20:
        return t->done;
    case 24:
        return t->index;
    default:
        return t->bytes[t->index];
    }
}

static void toy_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    Toy *t = arg;

    switch (off) {
    case 0:
        t->scratch = val;
        break;
    case 4:
        t->counter++;
        break;
    case 8:
        if (val) {
            dev_timer_set(&t->timer, clock_now(CLOCK_VM) + (int64_t)val * NS_PER_US);
        } else {
            dev_timer_stop(&t->timer);
        }
        break;
    case 12:
        t->status &= ~val;
        toy_update(t);
        break;
    case 16:
        t->address = val;
        break;
    case 20:
        if (!t->pending && val && val <= t->limit) {
            t->pending = val;
            toy_start(t);
        }
        break;
    case 24:
        t->index = val % sizeof(t->bytes);
        break;
    default:
        t->bytes[t->index] = val;
    }
}

static const RegionOps toy_ops = { .read = toy_read, .write = toy_write, .min = 4, .max = 4 };

static void toy_init(Toy *t, Device *d, const RegionOps *ops, void (*interrupt)(Toy *, bool))
{
    t->dev = d;
    t->interrupt = interrupt;
    t->work.run = toy_work;
    region_io_arg(&t->region, d, "toy", ops, t, TOY_SIZE);
    dev_timer_init(&t->timer, d, CLOCK_VM, toy_fire);
}

static void toy_reset(Toy *t)
{
    dev_timer_stop(&t->timer);
    t->scratch = t->counter = t->status = t->done = t->pending = t->index = 0;
    t->address = 0;
    memset(t->bytes, 0, sizeof(t->bytes));
}

static void toy_quiesce(Toy *t, Barrier *home)
{
    t->stopped = true;
    if (t->busy) {
        t->home = home;
    } else {
        barrier_leave(home);
    }
}

static void toy_resume(Toy *t)
{
    t->stopped = false;
    toy_start(t);
}

static bool toy_check(void *obj, Error **errp)
{
    Toy *t = obj;

    if (t->index >= sizeof(t->bytes) || t->pending > t->limit) {
        return error_set(errp, "index or length out of range");
    }
    return true;
}

static const StateField toy_fields[] = {
    STATE_U32(Toy, scratch),
    STATE_U32(Toy, counter),
    STATE_U32(Toy, status),
    STATE_U32(Toy, done),
    STATE_U64(Toy, address),
    STATE_U32(Toy, pending),
    STATE_U32(Toy, index),
    STATE_BYTES(Toy, bytes),
    STATE_TIMER(Toy, timer),
    { 0 },
};

static const StateDesc toy_state = {
    .name = "toy", .version = 1, .fields = toy_fields, .check = toy_check,
};

/* --- on ISA --- */

static void isa_interrupt(Toy *t, bool level)
{
    irq_set(&t->line, level);
}

static bool isa_realize_with(Device *d, const RegionOps *ops, Error **errp)
{
    ToyIsa *i = (ToyIsa *)d;

    if (i->t.label && strcmp(i->t.label, "refuse") == 0) {
        return error_set(errp, "this label is refused");
    }
    irq_line_init(&i->t.line, d, "irq");
    isa_irq(d, &i->t.line, i->t.irq);
    toy_init(&i->t, d, ops, isa_interrupt);
    isa_io(d, &i->t.region, i->port);
    return true;
}

static bool isa_realize(Device *d, Error **errp)
{
    return isa_realize_with(d, &toy_ops, errp);
}

static void isa_unrealize(Device *d)
{
    dev_timer_free(&((ToyIsa *)d)->t.timer);
}

static void isa_reset(Device *d, ResetKind kind)
{
    toy_reset(&((ToyIsa *)d)->t);
}

static void isa_settle(Device *d)
{
    toy_update(&((ToyIsa *)d)->t);
}

static void isa_quiesce(Device *d, Barrier *home)
{
    toy_quiesce(&((ToyIsa *)d)->t, home);
}

static void isa_resume(Device *d)
{
    toy_resume(&((ToyIsa *)d)->t);
}

static const PropDesc isa_props[] = {
    PROP_U32(ToyIsa, port, "iobase", 0x600, 0x400, 0x7e0, "first port"),
    PROP_U32(ToyIsa, t.irq, "irq", 5, 0, 15, "ISA interrupt"),
    PROP_U32(ToyIsa, t.limit, "limit", 4096, 1, 4096, "most bytes of a transfer"),
    PROP_STR(ToyIsa, t.label, "label", "any text but 'refuse'"),
    PROP_ENUM(ToyIsa, t.mode, "mode", toy_modes, 0, "no effect"),
    { 0 },
};

static const StateField isa_fields[] = { STATE_STRUCT(ToyIsa, t, &toy_state), { 0 } };
static const StateDesc isa_state = { .name = "toy-isa", .version = 1, .fields = isa_fields };

#define TOY_ISA \
    .slot = &isa_slot, .size = sizeof(ToyIsa), .flags = DEV_HOTPLUG, .props = isa_props, \
    .state = &isa_state, .realize = isa_realize, .unrealize = isa_unrealize, .reset = isa_reset, \
    .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume

const DeviceType toy_isa_type = { .name = "toy-isa", .summary = "a good toy", TOY_ISA };

/* --- on PCI: BAR 0 the registers (MSI-X table in BAR 1), BAR 2 RAM --- */

static void pci_interrupt(Toy *t, bool level)
{
    PciDevice *p = pci_device(t->dev);
    bool msix = pci_msix_enabled(p);

    if (msix && level) {
        pci_msix_fire(p, 0);
    }
    irq_set(pci_intx(p), level && !msix);
}

static bool toy_pci_realize(Device *d, Error **errp)
{
    ToyPci *p = (ToyPci *)d;
    g_autofree char *id = g_strdup_printf("toy-ram-%p", (void *)p);

    p->ram = ram_new_anon(id, 8192, errp);
    if (!p->ram) {
        return false;
    }
    if (!pci_msix(&p->pci, 2, 1, errp)) {
        ram_free(p->ram);
        return false;
    }
    toy_init(&p->t, d, &toy_ops, pci_interrupt);
    pci_bar(&p->pci, 0, BAR_MEM32, &p->t.region);
    region_ram(&p->ram_bar, d, "toy-ram", p->ram, 0, 8192);
    pci_bar(&p->pci, 2, BAR_MEM64_PREF, &p->ram_bar);
    return true;
}

static void toy_pci_unrealize(Device *d)
{
    ToyPci *p = (ToyPci *)d;

    dev_timer_free(&p->t.timer);
    region_free(&p->ram_bar);
    ram_free(p->ram);
}

static void toy_pci_reset(Device *d, ResetKind kind)
{
    toy_reset(&((ToyPci *)d)->t);
}

static void toy_pci_settle(Device *d)
{
    toy_update(&((ToyPci *)d)->t);
}

static void toy_pci_quiesce(Device *d, Barrier *home)
{
    toy_quiesce(&((ToyPci *)d)->t, home);
}

static void toy_pci_resume(Device *d)
{
    toy_resume(&((ToyPci *)d)->t);
}

static const PropDesc pci_props[] = {
    PROP_U32(ToyPci, t.limit, "limit", 4096, 1, 4096, "most bytes of a transfer"),
    { 0 },
};

static const StateField pci_fields[] = { STATE_STRUCT(ToyPci, t, &toy_state), { 0 } };
static const StateDesc pci_state = { .name = "toy-pci", .version = 1, .fields = pci_fields };

static const PciOps toy_pci_ops = {
    .vendor = 0x1b36, .device = 0x00fe, .class_code = 0xff0000, .pin = 1,
};

const DeviceType toy_pci_type = {
    .name = "toy-pci", .summary = "a good toy", .slot = &pci_slot, .size = sizeof(ToyPci),
    .flags = DEV_HOTPLUG | DEV_OWN_DOMAIN, .props = pci_props, .state = &pci_state,
    .slot_ops = &toy_pci_ops, .realize = toy_pci_realize, .unrealize = toy_pci_unrealize,
    .reset = toy_pci_reset, .settle = toy_pci_settle, .quiesce = toy_pci_quiesce,
    .resume = toy_pci_resume,
};

/* --- the bad ones --- */

static void leak_unrealize(Device *d)
{
    ((ToyIsa *)d)->leak = g_malloc(64);
    isa_unrealize(d);
}

/* Keeps the scratch register over a reset. */
static void keep_reset(Device *d, ResetKind kind)
{
    Toy *t = &((ToyIsa *)d)->t;
    uint32_t scratch = t->scratch;

    toy_reset(t);
    t->scratch = scratch;
}

/* The counter is not where the state table says. */
static uint64_t secret_read(void *arg, uint64_t off, unsigned size)
{
    return off == 4 ? ((Toy *)arg)->secret : toy_read(arg, off, size);
}

static void secret_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    if (off == 4) {
        ((Toy *)arg)->secret++;
    } else {
        toy_write(arg, off, val, size);
    }
}

static const RegionOps secret_ops = { .read = secret_read, .write = secret_write, .min = 4,
                                      .max = 4 };

static bool secret_realize(Device *d, Error **errp)
{
    return isa_realize_with(d, &secret_ops, errp);
}

static void secret_reset(Device *d, ResetKind kind)
{
    ((ToyIsa *)d)->t.secret = 0;
    isa_reset(d, kind);
}

/* Counts time by a timer of the loop, which does not know that the machine stands. */
static void tick(Timer *timer)
{
    ToyIsa *i = container_of(timer, ToyIsa, raw);

    domain_enter(i->isa.dev.domain);
    i->t.scratch++;
    domain_leave(i->isa.dev.domain);
    timer_set(timer, clock_now(CLOCK_VM) + NS_PER_MS);
}

static bool tick_realize(Device *d, Error **errp)
{
    ToyIsa *i = (ToyIsa *)d;

    if (!isa_realize(d, errp)) {
        return false;
    }
    timer_init(&i->raw, d->loop, CLOCK_VM, tick);
    timer_set(&i->raw, clock_now(CLOCK_VM) + NS_PER_MS);
    return true;
}

static void tick_unrealize(Device *d)
{
    timer_stop(&((ToyIsa *)d)->raw);
    isa_unrealize(d);
}

/* A realize that fails for a value that the table allows, without a word. */
static bool mute_realize(Device *d, Error **errp)
{
    return ((ToyIsa *)d)->t.limit != 4096 ? false : isa_realize(d, errp);
}

#define BAD(var, label, check, ...) \
    static const DeviceType var = { \
        .name = label, .summary = check, .slot = &isa_slot, .size = sizeof(ToyIsa), \
        .flags = DEV_HOTPLUG, .props = isa_props, .state = &isa_state, __VA_ARGS__ }

BAD(bad_leak, "toy-bad-leak", "life", .realize = isa_realize, .unrealize = leak_unrealize,
    .reset = isa_reset, .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume);
BAD(bad_mute, "toy-bad-mute", "props", .realize = mute_realize, .unrealize = isa_unrealize,
    .reset = isa_reset, .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume);
BAD(bad_reset, "toy-bad-reset", "reset", .realize = isa_realize, .unrealize = isa_unrealize,
    .reset = keep_reset, .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume);
BAD(bad_state, "toy-bad-state", "twin", .realize = secret_realize, .unrealize = isa_unrealize,
    .reset = secret_reset, .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume);
BAD(bad_settle, "toy-bad-settle", "twin", .realize = isa_realize, .unrealize = isa_unrealize,
    .reset = isa_reset, .quiesce = isa_quiesce, .resume = isa_resume);
BAD(bad_quiesce, "toy-bad-quiesce", "rule10", .realize = tick_realize, .unrealize = tick_unrealize,
    .reset = isa_reset, .settle = isa_settle, .quiesce = isa_quiesce, .resume = isa_resume);

const DeviceType *const toy_bad_types[] = {
    &bad_leak, &bad_mute, &bad_reset, &bad_state, &bad_settle, &bad_quiesce, NULL,
};
