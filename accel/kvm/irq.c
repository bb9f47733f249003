/* irq.c: interrupt controllers in the kernel, routes, messages, irqfds, and the soft PIC's output.
 *
 * 1. Global inputs 0..23 belong to PIC and IOAPIC; routes of messages start at 24, except in split
 *    mode, where the board's IOAPIC gives each pin's message the pin's own number (which is how KVM
 *    learns for which vectors to report EOIs).
 * 2. The route table given to KVM is rebuilt from kvm_vm.routes, under route_lock (rank IRQ). */
#include <errno.h>
#include <string.h>
#include "accel/kvm/kvm-int.h"
#include "util/bytes.h"
#include "util/trace.h"

#define WORD_BITS 64

static void pin_route(unsigned gsi, unsigned chip, unsigned pin)
{
    struct kvm_irq_routing *r = kvm_vm.routes;

    r->entries[r->nr++] = (struct kvm_irq_routing_entry){
        .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
        .u.irqchip = { .irqchip = chip, .pin = pin },
    };
}

/* ISA interrupts reach both PICs and the IOAPIC; the timer's is IOAPIC pin 2, as the MADT's
 * override says, and pin 2 itself (the cascade) has no other source. */
static void pin_routes(void)
{
    for (unsigned gsi = 0; gsi < 16; gsi++) {
        if (gsi != 2) {
            pin_route(gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi & 7);
        }
    }
    for (unsigned gsi = 0; gsi < KVM_PINS; gsi++) {
        if (gsi != 2) {
            pin_route(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
        }
    }
}

static int routes_commit_locked(void)
{
    return ioctl(kvm_vm.fd, KVM_SET_GSI_ROUTING, kvm_vm.routes) < 0 ? -errno : 0;
}

static void gsi_set(IrqSink *s, unsigned pin, bool level)
{
    struct kvm_irq_level l = { .irq = pin, .level = level };

    if (level) {
        __atomic_fetch_or(&kvm_vm.gsi_levels, 1u << pin, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_and(&kvm_vm.gsi_levels, ~(1u << pin), __ATOMIC_RELAXED);
    }
    ioctl(kvm_vm.fd, KVM_IRQ_LINE, &l);
}

static void gsi_use(unsigned gsi, bool on)
{
    uint64_t bit = UINT64_C(1) << gsi % WORD_BITS;
    uint64_t *word = &kvm_vm.gsi_used[gsi / WORD_BITS];

    *word = on ? *word | bit : *word & ~bit;
}

static bool open_full(KvmVm *vm, Error **errp)
{
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0l) < 0) {
        return error_set_errno(errp, errno, "-accel kvm: cannot create the in-kernel interrupt "
                               "controllers");
    }
    if (!kvm_cap(KVM_CAP_PIT2)) {
        return error_set_class(errp, ERROR_KVM_MISSING_CAP, "-machine kernel-irqchip=on: the host "
                               "kernel's KVM lacks the in-kernel interval timer; use "
                               "kernel-irqchip=split");
    }
    if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0) {
        return error_set_errno(errp, errno,
                               "-accel kvm: cannot create the in-kernel interval timer");
    }
    vm->pit = true;
    vm->gsi = (IrqSink){ .set = gsi_set, .pins = KVM_PINS };
    pin_routes();
    int ret = routes_commit_locked();
    if (ret < 0) {
        return error_set_errno(errp, -ret, "-accel kvm: cannot route interrupts");
    }
    return true;
}

static bool open_split(KvmVm *vm, Error **errp)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_PINS } };

    if (!kvm_cap(KVM_CAP_SPLIT_IRQCHIP)) {
        return error_set_class(errp, ERROR_KVM_MISSING_CAP,
                               "-machine kernel-irqchip=split: the host "
                               "kernel's KVM lacks a local APIC without PIC and IOAPIC");
    }
    if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0) {
        return error_set_errno(errp, errno, "-machine kernel-irqchip=split: KVM refuses it");
    }
    return true;
}

bool kvm_irqchip_open(Machine *m, Error **errp)
{
    KvmVm *vm = &kvm_vm;

    if (m->cfg.kernel_irqchip == 0) {
        return error_set(errp,
                         "-machine kernel-irqchip=off: the local APIC is always KVM's; use 'on' "
                         "or 'split'");
    }
    vm->split = m->cfg.kernel_irqchip == 2;
    lock_init(&vm->route_lock, RANK_IRQ, "kvm-routes");
    vm->route_limit = MIN(kvm_cap(KVM_CAP_IRQ_ROUTING), 4096);
    vm->gsi_used = g_new0(uint64_t, ALIGN_UP(vm->route_limit, WORD_BITS) / WORD_BITS);
    vm->gsi_used[0] = (1u << KVM_PINS) - 1;
    vm->route_room = 64;
    vm->routes = g_malloc0(sizeof(*vm->routes) +
                           vm->route_room * sizeof(struct kvm_irq_routing_entry));
    return vm->split ? open_split(vm, errp) : open_full(vm, errp);
}

void kvm_irqchip_close(void)
{
    KvmVm *vm = &kvm_vm;

    if (vm->routes) {
        lock_destroy(&vm->route_lock);
        g_clear_pointer(&vm->routes, g_free);
        g_clear_pointer(&vm->gsi_used, g_free);
    }
    vm->pit = vm->split = false;
    vm->gsi_levels = 0;
}

bool kvm_has_pit(void)
{
    return kvm_vm.pit;
}

void kvm_pit_replaced(bool on)
{
    struct kvm_pit_state2 s;

    if (!kvm_vm.pit || ioctl(kvm_vm.fd, KVM_GET_PIT2, &s) < 0 ||
        !(s.flags & KVM_PIT_FLAGS_HPET_LEGACY) == !on) {
        return;
    }
    TRACE(kvm_pit_replaced, "on=%d", on);
    s.flags ^= KVM_PIT_FLAGS_HPET_LEGACY;
    if (ioctl(kvm_vm.fd, KVM_SET_PIT2, &s) < 0) {
        kvm_state_refused("the PIT", "legacy replacement", errno);
    }
}

IrqSink *kvm_gsi_sink(Machine *m)
{
    return kvm_vm.split ? NULL : &kvm_vm.gsi;
}

/* --- messages --- */

void kvm_msi_send(const MsiMsg *m)
{
    struct kvm_msi msi = {
        .address_lo = m->addr, .address_hi = m->addr >> 32, .data = m->data,
    };

    ioctl(kvm_vm.fd, KVM_SIGNAL_MSI, &msi);
}

static struct kvm_irq_routing_entry *find_route_locked(unsigned gsi)
{
    struct kvm_irq_routing *r = kvm_vm.routes;

    for (unsigned i = 0; i < r->nr; i++) {
        if (r->entries[i].gsi == gsi && r->entries[i].type == KVM_IRQ_ROUTING_MSI) {
            return &r->entries[i];
        }
    }
    return NULL;
}

static int alloc_gsi_locked(void)
{
    for (unsigned i = 0; i * WORD_BITS < kvm_vm.route_limit; i++) {
        if (~kvm_vm.gsi_used[i]) {
            unsigned gsi = i * WORD_BITS + __builtin_ctzll(~kvm_vm.gsi_used[i]);

            return gsi < kvm_vm.route_limit ? (int)gsi : -ENOSPC;
        }
    }
    return -ENOSPC;
}

static struct kvm_irq_routing_entry *add_route_locked(unsigned gsi)
{
    KvmVm *vm = &kvm_vm;

    if (vm->routes->nr == vm->route_room) {
        vm->route_room *= 2;
        vm->routes = g_realloc(vm->routes, sizeof(*vm->routes) +
                               vm->route_room * sizeof(struct kvm_irq_routing_entry));
    }
    struct kvm_irq_routing_entry *e = &vm->routes->entries[vm->routes->nr++];
    *e = (struct kvm_irq_routing_entry){ .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };
    return e;
}

bool kvm_route_set(int *gsi, const MsiMsg *m, Error **errp)
{
    struct kvm_irq_routing_msi msi = {
        .address_lo = m->addr, .address_hi = m->addr >> 32, .data = m->data,
    };
    int ret = 0;

    lock_take(&kvm_vm.route_lock);
    int n = *gsi >= 0 ? *gsi : alloc_gsi_locked();
    if (n < 0 || n >= (int)kvm_vm.route_limit || (n < KVM_PINS && !kvm_vm.split)) {
        lock_drop(&kvm_vm.route_lock);
        return error_set(errp, "no interrupt route left of %u", kvm_vm.route_limit);
    }
    struct kvm_irq_routing_entry *e = find_route_locked(n);
    if (!e || memcmp(&e->u.msi, &msi, sizeof(msi)) != 0) {
        if (!e) {
            e = add_route_locked(n);
            gsi_use(n, true);
        }
        e->u.msi = msi;
        ret = routes_commit_locked();
        *gsi = n;
    }
    lock_drop(&kvm_vm.route_lock);
    if (ret < 0) {
        return error_set_errno(errp, -ret, "KVM refused an interrupt route");
    }
    return true;
}

void kvm_route_drop(int gsi)
{
    lock_take(&kvm_vm.route_lock);
    struct kvm_irq_routing_entry *e = gsi >= 0 ? find_route_locked(gsi) : NULL;
    if (e) {
        *e = kvm_vm.routes->entries[--kvm_vm.routes->nr];
        if (gsi >= KVM_PINS) {
            gsi_use(gsi, false);
        }
        routes_commit_locked();
    }
    lock_drop(&kvm_vm.route_lock);
}

bool kvm_irqfd_set(int gsi, Notifier *raise, Notifier *resample, bool on)
{
    struct kvm_irqfd fd = {
        .fd = raise->fd,
        .gsi = gsi,
        .resamplefd = resample && on ? resample->fd : 0,
        .flags = (on ? 0 : KVM_IRQFD_FLAG_DEASSIGN) |
                 (resample && on ? KVM_IRQFD_FLAG_RESAMPLE : 0),
    };

    /* The kernel sees an EOI of its own IOAPIC only. */
    if (resample && kvm_vm.split) {
        return false;
    }
    return ioctl(kvm_vm.fd, KVM_IRQFD, &fd) == 0;
}

/* --- the soft PIC (split) --- */

void kvm_soft_irqchip(const SoftIrqchip *c)
{
    kvm_vm.soft = c;
}

void kvm_extint(bool level)
{
    __atomic_store_n(&kvm_vm.extint, level, __ATOMIC_SEQ_CST);
    if (level && kvm_vm.vcpu_count > 0) {
        kvm_vcpu_kick(kvm_vm.vcpu[0], TODO_EXTINT);
    }
}
