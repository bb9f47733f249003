/* chips.c: the state of the VM's in-kernel chips and of kvmclock, as devices with tables.
 *
 * 1. As in state.c: the kernel has the truth except from before_save, reset or a load to settle.
 * 2. The IOAPIC's device drives the level-triggered inputs again after it was put back, so that it
 *    does not matter whether it settles before or after the devices behind them.
 * 3. kvmclock stands still while the machine is stopped. */
#include <errno.h>
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "accel/kvm/kvm.h"
#include "core/state.h"
#include "util/bytes.h"

typedef struct PicState {
    uint8_t last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll, special_mask,
            init_state, auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4, elcr,
            elcr_mask;
} PicState;

typedef struct KvmI8259 {
    Device dev;
    bool dirty;
    PicState chip[2];
} KvmI8259;

typedef struct KvmIoapic {
    Device dev;
    bool dirty;
    uint64_t base, redirect[KVM_PINS];
    uint32_t ioregsel, ioapic_id, irr;
} KvmIoapic;

typedef struct PitChannel {
    uint32_t count;
    uint16_t latched_count;
    uint8_t count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode,
    mode,
            bcd, gate;
} PitChannel;

typedef struct KvmPit {
    Device dev;
    bool dirty;
    PitChannel channel[3];
    uint32_t flags;
    int32_t lost_tick_policy;
} KvmPit;

enum { LOST_DISCARD, LOST_DELAY, LOST_SLEW };
static const char *const lost_names[] = { "discard", "delay", "slew", NULL };

typedef struct KvmClock {
    Device dev;
    bool valid;                /* @clock is to be set when the machine runs again */
    uint64_t clock;            /* ns */
} KvmClock;

static bool chip_realize(Device *d, Error **errp)
{
    return true;
}

static void chip_unrealize(Device *d)
{
}

/* True once a vCPU ran: the chips are no longer as the kernel made them. */
static bool used(void)
{
    return kvm_vm.vcpu_count > 0 && !kvm_vm.vcpu[0]->fresh;
}

/* --- PIC --- */

/* The kernel's structure has the same sixteen bytes in the same order. */
_Static_assert(sizeof(PicState) == sizeof(struct kvm_pic_state), "PIC state");

static void pic_before_save(void *obj)
{
    KvmI8259 *p = obj;

    for (unsigned i = 0; i < 2 && !p->dirty; i++) {
        struct kvm_irqchip c = { .chip_id = i };

        if (ioctl(kvm_vm.fd, KVM_GET_IRQCHIP, &c) < 0) {
            kvm_state_refused(p->dev.id, "state", errno);
            return;
        }
        memcpy(&p->chip[i], &c.chip.pic, sizeof(PicState));
    }
}

static void pic_reset(Device *d, ResetKind kind)
{
    KvmI8259 *p = (KvmI8259 *)d;

    p->chip[0] = (PicState){ .elcr_mask = 0xf8 };
    p->chip[1] = (PicState){ .elcr_mask = 0xde };
    p->dirty = true;
}

static void pic_settle(Device *d)
{
    KvmI8259 *p = (KvmI8259 *)d;

    for (unsigned i = 0; i < 2 && p->dirty && used(); i++) {
        struct kvm_irqchip c = { .chip_id = i };

        memcpy(&c.chip.pic, &p->chip[i], sizeof(PicState));
        if (ioctl(kvm_vm.fd, KVM_SET_IRQCHIP, &c) < 0) {
            kvm_state_refused(d->id, "state", errno);
        }
    }
    p->dirty = false;
}

static bool pic_check(void *obj, Error **errp)
{
    ((KvmI8259 *)obj)->dirty = true;
    return true;
}

#define F(name) STATE_U8(PicState, name)
static const StateField pic_chip_fields[] = {
    F(last_irr), F(irr), F(imr), F(isr), F(priority_add), F(irq_base), F(read_reg_select), F(poll),
    F(special_mask), F(init_state), F(auto_eoi), F(rotate_on_auto_eoi),
    F(special_fully_nested_mode),
    F(init4), F(elcr), F(elcr_mask), { 0 },
};
#undef F
static const StateDesc pic_chip_state = { .name = "chip", .version = 1, .fields = pic_chip_fields };
static const StateField pic_fields[] = { STATE_STRUCTS(KvmI8259, chip, &pic_chip_state), { 0 } };
static const StateDesc pic_state = {
    .name = "kvm-i8259", .version = 1, .fields = pic_fields, .before_save = pic_before_save,
    .check = pic_check,
};
static const DeviceType pic_type = {
    .name = "kvm-i8259", .summary = "KVM's interrupt controllers (8259A)", .slot = &board_slot,
    .size = sizeof(KvmI8259), .flags = DEV_INTERNAL, .state = &pic_state, .realize = chip_realize,
    .unrealize = chip_unrealize, .reset = pic_reset, .settle = pic_settle,
};

/* --- IOAPIC --- */

static void ioapic_before_save(void *obj)
{
    KvmIoapic *a = obj;
    struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_IOAPIC };
    const struct kvm_ioapic_state *s = &c.chip.ioapic;

    if (a->dirty) {
        return;
    }
    if (ioctl(kvm_vm.fd, KVM_GET_IRQCHIP, &c) < 0) {
        kvm_state_refused(a->dev.id, "state", errno);
        return;
    }
    a->base = s->base_address;
    a->ioregsel = s->ioregsel;
    a->ioapic_id = s->id;
    a->irr = s->irr;
    for (unsigned i = 0; i < KVM_PINS; i++) {
        a->redirect[i] = s->redirtbl[i].bits;
    }
}

static void ioapic_reset(Device *d, ResetKind kind)
{
    KvmIoapic *a = (KvmIoapic *)d;

    a->base = 0xfec00000;
    a->ioregsel = a->ioapic_id = a->irr = 0;
    for (unsigned i = 0; i < KVM_PINS; i++) {
        a->redirect[i] = 0x10000;
    }
    a->dirty = true;
}

static void ioapic_settle(Device *d)
{
    KvmIoapic *a = (KvmIoapic *)d;
    struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_IOAPIC };
    struct kvm_ioapic_state *s = &c.chip.ioapic;

    if (a->dirty && used()) {
        s->base_address = a->base;
        s->ioregsel = a->ioregsel;
        s->id = a->ioapic_id;
        s->irr = a->irr;
        for (unsigned i = 0; i < KVM_PINS; i++) {
            s->redirtbl[i].bits = a->redirect[i];
        }
        if (ioctl(kvm_vm.fd, KVM_SET_IRQCHIP, &c) < 0) {
            kvm_state_refused(d->id, "state", errno);
        }
        uint32_t high = __atomic_load_n(&kvm_vm.gsi_levels, __ATOMIC_RELAXED);
        for (unsigned i = 0; i < KVM_PINS; i++) {
            if (high >> i & 1 && a->redirect[i] >> 15 & 1) {
                kvm_vm.gsi.set(&kvm_vm.gsi, i, true);
            }
        }
    }
    a->dirty = false;
}

static bool ioapic_check(void *obj, Error **errp)
{
    ((KvmIoapic *)obj)->dirty = true;
    return true;
}

static const StateField ioapic_fields[] = {
    STATE_U64(KvmIoapic, base), STATE_U32(KvmIoapic, ioregsel), STATE_U32(KvmIoapic, ioapic_id),
    STATE_U32(KvmIoapic, irr), STATE_U64_ARRAY(KvmIoapic, redirect), { 0 },
};
static const StateDesc ioapic_state = {
    .name = "kvm-ioapic", .version = 1, .fields = ioapic_fields, .before_save = ioapic_before_save,
    .check = ioapic_check,
};
static const DeviceType ioapic_type = {
    .name = "kvm-ioapic", .summary = "KVM's I/O APIC", .slot = &board_slot,
    .size = sizeof(KvmIoapic),
    .flags = DEV_INTERNAL, .state = &ioapic_state, .realize = chip_realize,
    .unrealize = chip_unrealize, .reset = ioapic_reset, .settle = ioapic_settle,
};

/* --- PIT --- */

/* The kernel delays ticks, unless it is told to drop them. */
static bool pit_realize(Device *d, Error **errp)
{
    struct kvm_reinject_control c = { .pit_reinject = 0 };

    switch (((KvmPit *)d)->lost_tick_policy) {
    case LOST_DELAY:
        return true;
    case LOST_DISCARD:
        return ioctl(kvm_vm.fd, KVM_REINJECT_CONTROL, &c) == 0 ||
               error_set_errno(errp, errno, "-global kvm-pit.lost_tick_policy=discard");
    default:
        return error_set(errp, "-global kvm-pit.lost_tick_policy=slew: Lost tick policy not supported.");
    }
}

static void pit_before_save(void *obj)
{
    KvmPit *p = obj;
    struct kvm_pit_state2 s;

    if (p->dirty) {
        return;
    }
    if (ioctl(kvm_vm.fd, KVM_GET_PIT2, &s) < 0) {
        kvm_state_refused(p->dev.id, "state", errno);
        return;
    }
    for (unsigned i = 0; i < 3; i++) {
        const struct kvm_pit_channel_state *c = &s.channels[i];

        p->channel[i] = (PitChannel){
            .count = c->count, .latched_count = c->latched_count, .count_latched = c->count_latched,
            .status_latched = c->status_latched, .status = c->status, .read_state = c->read_state,
            .write_state = c->write_state, .write_latch = c->write_latch, .rw_mode = c->rw_mode,
            .mode = c->mode, .bcd = c->bcd, .gate = c->gate,
        };
    }
    p->flags = s.flags;
}

static void pit_reset(Device *d, ResetKind kind)
{
    KvmPit *p = (KvmPit *)d;

    for (unsigned i = 0; i < 3; i++) {
        p->channel[i] = (PitChannel){ .count = 0x10000, .mode = 3, .gate = i != 2 };
    }
    p->flags = 0;
    p->dirty = true;
}

static void pit_settle(Device *d)
{
    KvmPit *p = (KvmPit *)d;
    struct kvm_pit_state2 s = { .flags = p->flags };

    for (unsigned i = 0; i < 3; i++) {
        const PitChannel *c = &p->channel[i];

        s.channels[i] = (struct kvm_pit_channel_state){
            .count = c->count, .latched_count = c->latched_count, .count_latched = c->count_latched,
            .status_latched = c->status_latched, .status = c->status, .read_state = c->read_state,
            .write_state = c->write_state, .write_latch = c->write_latch, .rw_mode = c->rw_mode,
            .mode = c->mode, .bcd = c->bcd, .gate = c->gate,
        };
    }
    if (p->dirty && used() && ioctl(kvm_vm.fd, KVM_SET_PIT2, &s) < 0) {
        kvm_state_refused(d->id, "state", errno);
    }
    p->dirty = false;
}

static bool pit_check(void *obj, Error **errp)
{
    ((KvmPit *)obj)->dirty = true;
    return true;
}

#define F(name) STATE_U8(PitChannel, name)
static const StateField pit_channel_fields[] = {
    STATE_U32(PitChannel, count), STATE_U16(PitChannel, latched_count), F(count_latched),
    F(status_latched), F(status), F(read_state), F(write_state), F(write_latch), F(rw_mode),
    F(mode),
    F(bcd), F(gate), { 0 },
};
#undef F
static const StateDesc pit_channel_state = {
    .name = "channel", .version = 1, .fields = pit_channel_fields,
};
static const StateField pit_fields[] = {
    STATE_STRUCTS(KvmPit, channel, &pit_channel_state), STATE_U32(KvmPit, flags), { 0 },
};
static const StateDesc pit_state = {
    .name = "kvm-pit", .version = 1, .fields = pit_fields, .before_save = pit_before_save,
    .check = pit_check,
};
static const PropDesc pit_props[] = {
    PROP_ENUM(KvmPit, lost_tick_policy, "lost_tick_policy", lost_names, LOST_DELAY,
              "what happens to ticks that come late"),
    { 0 },
};
static const DeviceType pit_type = {
    .name = "kvm-pit", .summary = "KVM's interval timer (8254)", .slot = &board_slot,
    .size = sizeof(KvmPit), .flags = DEV_INTERNAL, .state = &pit_state, .props = pit_props,
    .realize = pit_realize,
    .unrealize = chip_unrealize, .reset = pit_reset, .settle = pit_settle,
};

/* --- kvmclock --- */

static void clock_read(KvmClock *c)
{
    struct kvm_clock_data data = { 0 };

    if (!c->valid && ioctl(kvm_vm.fd, KVM_GET_CLOCK, &data) == 0) {
        c->clock = data.clock;
        c->valid = true;
    }
}

static void clock_before_save(void *obj)
{
    clock_read(obj);
}

static void clock_quiesce(Device *d, Barrier *home)
{
    if (used()) {
        clock_read((KvmClock *)d);
    }
    barrier_leave(home);
}

static void clock_resume(Device *d)
{
    KvmClock *c = (KvmClock *)d;
    struct kvm_clock_data data = { .clock = c->clock };

    if (!c->valid) {
        return;
    }
    c->valid = false;
    if (ioctl(kvm_vm.fd, KVM_SET_CLOCK, &data) < 0) {
        kvm_state_refused(d->id, "time", errno);
    }
    /* Tells guests that use kvmclock that they were stopped: their watchdogs must not bark. */
    for (unsigned i = 0; i < kvm_vm.vcpu_count; i++) {
        if (kvm_vm.vcpu[i] != NULL) {
            ioctl(kvm_vm.vcpu[i]->fd, KVM_KVMCLOCK_CTRL);
        }
    }
}

static bool clock_check(void *obj, Error **errp)
{
    ((KvmClock *)obj)->valid = true;
    return true;
}

static const StateField clock_fields[] = { STATE_U64(KvmClock, clock), { 0 } };
static const StateDesc clock_state = {
    .name = "kvmclock", .version = 1, .fields = clock_fields, .before_save = clock_before_save,
    .check = clock_check,
};
static const DeviceType clock_type = {
    .name = "kvmclock", .summary = "the paravirtual clock of KVM guests", .slot = &board_slot,
    .size = sizeof(KvmClock), .flags = DEV_INTERNAL, .state = &clock_state, .realize = chip_realize,
    .unrealize = chip_unrealize, .quiesce = clock_quiesce, .resume = clock_resume,
};

/* --- */

static struct {
    Device *pic, *ioapic;
} chips;

bool kvm_irq_chips(IrqChips *out)
{
    KvmI8259 *p = (KvmI8259 *)chips.pic;
    KvmIoapic *a = (KvmIoapic *)chips.ioapic;

    if (kvm_vm.soft != NULL) {
        kvm_vm.soft->look(kvm_vm.soft->arg, out);
        return true;
    }
    if (p == NULL || a == NULL) {
        return false;
    }
    pic_before_save(p);
    ioapic_before_save(a);
    for (unsigned i = 0; i < 2; i++) {
        out->pic[i].irr = p->chip[i].irr;
        out->pic[i].imr = p->chip[i].imr;
        out->pic[i].isr = p->chip[i].isr;
        out->pic[i].base = p->chip[i].irq_base;
        out->pic[i].elcr = p->chip[i].elcr;
    }
    memcpy(out->rte, a->redirect, sizeof(out->rte));
    out->ioapic_id = a->ioapic_id;
    return true;
}

void kvm_chips_register(void)
{
    device_type_add(&pit_type);
}

bool kvm_state_devices(Machine *m, Error **errp)
{
    if (!kvm_vm.split) {
        chips.pic = device_make(&pic_type, m->root, NULL, "kvm-i8259", errp, NULL);
        chips.ioapic = chips.pic != NULL ? device_make(&ioapic_type, m->root, NULL, "kvm-ioapic", errp, NULL)
                                         : NULL;
        if (chips.ioapic == NULL || !device_make(&pit_type, m->root, NULL, "kvm-pit", errp, NULL)) {
            return false;
        }
    }
    return device_make(&clock_type, m->root, NULL, "kvmclock", errp, NULL) != NULL;
}
