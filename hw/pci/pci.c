/* pci.c: the slot "pci": what every PCI function has: its place on the bus, life, reset and state.
 *
 * 1. functions[devfn] of the bus holds a device from attach to detach; the guest sees it while
 *    ->visible is set, from publish to withdraw.
 * 2. Function-level reset:  running --pci_function_reset--> in_reset (answers nothing)
 *    --reset_begin (control)--> quiescing --reset_now (control)--> running, reset. */
#include "hw/pci/pci-int.h"

#include <stdlib.h>
#include "core/machine.h"

/* --- place on the bus --- */

static bool addr_parse(const char *text, unsigned *slot, unsigned *fn)
{
    char *end;

    if (!g_ascii_isxdigit(text[0])) {
        return false;
    }
    *slot = (unsigned)strtoul(text, &end, 16);
    *fn = 0;
    if (*end == '.') {
        const char *digit = end + (end[1] == '0' && end[2] == 'x' ? 3 : 1);      /* "2.1" and "0x2.0x1" */

        if (*digit < '0' || *digit > '7' || digit[1]) {
            return false;
        }
        *fn = (unsigned)(*digit - '0');
    } else if (*end) {
        return false;
    }
    return *slot <= 31;
}

static bool slot_empty(const PciBus *b, unsigned slot)
{
    for (unsigned fn = 0; fn < 8; fn++) {
        if (b->functions[PCI_DEVFN(slot, fn)]) {
            return false;
        }
    }
    return true;
}

static bool place_auto(PciBus *b, PciDevice *p, Error **errp)
{
    for (unsigned slot = b->slot_min; slot <= b->slot_max; slot++) {
        if (slot_empty(b, slot)) {
            p->devfn = PCI_DEVFN(slot, 0);
            return true;
        }
    }
    return error_set(errp, "PCI: no slot/function available for %s, all in use or reserved",
                     p->dev.type->name);
}

static bool place_given(PciBus *b, PciDevice *p, Error **errp)
{
    const char *name = p->dev.type->name;
    unsigned slot, fn;

    if (!addr_parse(p->addr, &slot, &fn)) {
        error_set(errp, "Property '%s.addr' doesn't take value '%s'", name, p->addr);
        return error_hint(errp, "an address is SLOT or SLOT.FUNCTION: slot 0 to 1f (hexadecimal), "
                          "function 0 to 7");
    }
    if (slot > b->slot_max && b->port) {
        return error_set(errp, "PCI: slot %u is not valid for %s, parent device only allows plugging "
                         "into slot 0", slot, name);
    }
    if (slot < b->slot_min || slot > b->slot_max) {
        return error_set(errp, "PCI: slot %u function %u not available for %s, reserved", slot, fn, name);
    }
    PciDevice *there = b->functions[PCI_DEVFN(slot, fn)];
    if (there) {
        return error_set(errp, "PCI: slot %u function %u not available for %s, in use by %s,id=%s", slot,
                         fn, name, there->dev.type->name, there->dev.id);
    }
    p->devfn = PCI_DEVFN(slot, fn);
    return true;
}

static bool is_multifunction(const PciDevice *p)
{
    return p->multifunction || pci_ops(p)->multifunction;
}

/* Functions 1 to 7 are looked for only behind a function 0 whose header says so (PCI 3.0, 6.2.1). */
static bool check_functions(PciBus *b, PciDevice *p, Error **errp)
{
    unsigned slot = PCI_SLOT(p->devfn), fn = PCI_FUNC(p->devfn);

    if (fn != 0) {
        PciDevice *first = b->functions[PCI_DEVFN(slot, 0)];
        if (first && !is_multifunction(first)) {
            error_set(errp, "PCI: single function device can't be populated in function %x.%x", slot, fn);
            return error_hint(errp, "give function 0 of the slot (%s) multifunction=on", first->dev.id);
        }
        if (first && first->visible && b->bus->hotplug && machine_was_reset()) {
            return error_set(errp, "PCI: slot %u function 0 already occupied by %s, new func %s cannot "
                             "be exposed to guest.", slot, first->dev.id, p->dev.id);
        }
        return true;
    }
    for (unsigned i = 1; i < 8 && !is_multifunction(p); i++) {
        if (b->functions[PCI_DEVFN(slot, i)]) {
            return error_set(errp, "PCI: %x.0 indicates single function, but %x.%x is already populated.",
                             slot, slot, i);
        }
    }
    return true;
}

static bool pci_attach(Bus *bus, Device *d, Error **errp)
{
    PciBus *b = pci_bus_of(bus);
    PciDevice *p = pci_device(d);
    const PciOps *o = pci_ops(p);

    assert_control();
    if (!(p->addr && *p->addr ? place_given(b, p, errp) : place_auto(b, p, errp)) ||
        !check_functions(b, p, errp)) {
        return false;
    }
    p->express = b->express && (o->express == PCI_EXPRESS ||
                                (o->express == PCI_EXPRESS_BELOW_PORT && b->parent));
    p->config_size = p->express ? 4096 : 256;
    pci_config_init(p);
    pci_bars_init(p);
    pci_intx_init(p);
    p->saved = g_byte_array_new();
    p->saved_msix = g_byte_array_new();
    d->dma = b->dma;
    if (d->inner) {
        d->inner->dma = b->dma;
    }
    if (!pci_rom_load(p, errp)) {
        g_clear_pointer(&p->config, g_free);
        g_clear_pointer(&p->saved, g_byte_array_unref);
        g_clear_pointer(&p->saved_msix, g_byte_array_unref);
        return false;
    }
    epoch_store(b->functions[p->devfn], p);
    return true;
}

static bool pci_publish(Bus *bus, Device *d, Error **errp)
{
    PciBus *b = pci_bus_of(bus);
    PciDevice *p = pci_device(d);

    assert_control();
    if (d->inner) {
        d->inner->dma = b->dma;
    }
    domain_enter(d->domain);
    p->visible = true;
    pci_refresh(p);
    domain_leave(d->domain);
    if (b->hotplug && b->hotplug->plugged && machine_was_reset()) {
        b->hotplug->plugged(b, p);
    }
    return true;
}

static void pci_withdraw(Bus *bus, Device *d)
{
    PciDevice *p = pci_device(d);

    assert_control();
    domain_enter(d->domain);
    p->visible = false;
    pci_bars_drop(p);
    pci_command_update(p);
    domain_leave(d->domain);
}

static void pci_detach(Bus *bus, Device *d)
{
    PciBus *b = pci_bus_of(bus);
    PciDevice *p = pci_device(d);

    assert_control();
    pci_intx_drop(p);
    pci_msix_free(p);
    pci_msi_free(p);
    pci_rom_free(p);
    epoch_store(b->functions[p->devfn], NULL);
    /* A config cycle that found the function before this takes its domain and sees !visible. */
    domain_enter(d->domain);
    g_clear_pointer(&p->config, g_free);
    p->frozen = false;
    domain_leave(d->domain);
    g_clear_pointer(&p->saved, g_byte_array_unref);
    g_clear_pointer(&p->saved_msix, g_byte_array_unref);
    if (b->hotplug && b->hotplug->unplugged) {
        b->hotplug->unplugged(b, p);
    }
}

/* --- reset, settle, quiesce --- */

static void pci_reset(Device *d, ResetKind kind)
{
    PciDevice *p = pci_device(d);

    if (kind == RESET_GUEST) {
        return;                /* the device's own register does not touch config space */
    }
    p->reset_cancelled = kind == RESET_POWER;      /* a function reset on its way has nothing to do */
    if (!p->frozen) {
        /* The power-on reset that ends realize. */
        pci_config_freeze(p);
        p->frozen = true;
    }
    p->in_reset = false;
    p->was_reset = true;
    p->msi_level = false;
    pci_config_reset(p);
    pci_msix_reset(p);
}

static void pci_settle(Device *d)
{
    PciDevice *p = pci_device(d);

    if (p->was_reset) {
        p->was_reset = false;
        irq_set(&p->intx, false);
    }
    pci_refresh(p);
    if (p->busy_reset) {
        p->busy_reset = 0;
        pci_function_reset(p);
    }
}

static void reset_now(Post *post)
{
    PciDevice *p = container_of(post, PciDevice, reset_post);

    p->reset_queued = false;
    if (!p->reset_cancelled) {
        device_reset_tree(&p->dev, RESET_BUS);
        device_settle_tree(&p->dev);
    }
    device_resume_tree(&p->dev);
    TRACE(pci_reset_done, "%s", p->dev.id);
}

static void reset_begin(Device *d, uintptr_t arg)
{
    PciDevice *p = pci_device(d);

    assert_control();
    if (!p->reset_queued) {
        p->reset_queued = true;
        p->reset_cancelled = false;
        p->reset_post.run = reset_now;
        device_quiesce_later(d, &p->reset_post);
    }
}

void pci_function_reset(PciDevice *p)
{
    assert_domain(p->dev.domain);
    if (p->in_reset || !p->visible) {
        return;
    }
    TRACE(pci_reset, "%s", p->dev.id);
    p->in_reset = true;
    pci_bars_update(p);
    pci_command_update(p);
    machine_defer(&p->dev, reset_begin, 0);
}

static void reset_one(PciDevice *p, void *arg)
{
    domain_enter(p->dev.domain);
    pci_function_reset(p);
    domain_leave(p->dev.domain);
}

static void reset_bus_begin(Device *d, uintptr_t arg)
{
    PciDevice *bridge = pci_device(d);

    if (bridge->secondary) {
        pci_bus_each(bridge->secondary, reset_one, NULL);
    }
}

void pci_bus_reset(PciBus *b)
{
    if (b->bridge) {
        machine_defer(&b->bridge->dev, reset_bus_begin, 0);
    }
}

/* --- unplug --- */

static void unplug_begin(Device *d, uintptr_t arg)
{
    device_remove(d, NULL);
}

void pci_unplug_done(PciDevice *p)
{
    machine_defer(&p->dev, unplug_begin, 0);
}

bool pci_unplug_request(PciDevice *p, Error **errp)
{
    PciBus *b = pci_bus(p);

    assert_control();
    if (b->hotplug && b->hotplug->unplug_request) {
        return b->hotplug->unplug_request(b, p, errp);
    }
    device_remove(&p->dev, NULL);
    return true;
}

static bool unplug_request(Device *d, Error **errp)
{
    return pci_unplug_request(pci_device(d), errp);
}

/* --- state --- */

static void before_save(void *obj)
{
    PciDevice *p = obj;

    g_byte_array_set_size(p->saved, 0);
    g_byte_array_append(p->saved, p->config, p->config_size);
    g_byte_array_set_size(p->saved_msix, 0);
    pci_msix_save(p, p->saved_msix);
    p->busy_reset = p->in_reset;
}

static bool check(void *obj, Error **errp)
{
    PciDevice *p = obj;

    if (!p->saved || p->saved->len != p->config_size) {
        return error_set(errp, "config space of %u bytes, not %u", p->saved ? p->saved->len : 0,
                         p->config_size);
    }
    for (unsigned i = 0; i < p->config_size; i++) {
        uint8_t may = p->wmask[i] | p->w1cmask[i] | p->live[i];
        if ((p->saved->data[i] ^ p->config[i]) & ~may) {
            return error_set(errp, "config space byte 0x%x is 0x%02x, of this function 0x%02x: not the "
                             "same device", i, p->saved->data[i], p->config[i]);
        }
    }
    if (!pci_msix_load(p, p->saved_msix, errp)) {
        return false;
    }
    memcpy(p->config, p->saved->data, p->config_size);
    p->in_reset = false;
    return true;
}

#define BLOB(f, most) STATE_BLOB(PciDevice, f, most)
static const StateField pci_fields[] = {
    BLOB(saved, 4096),
    BLOB(saved_msix, 2048 * 16 + 256),
    STATE_U8(PciDevice, busy_reset),
    STATE_BOOL(PciDevice, msi_level),
    { 0 },
};

static const StateDesc pci_state = {
    .name = "pci", .version = 1, .fields = pci_fields, .before_save = before_save, .check = check,
};

static const PropDesc pci_props[] = {
    PROP_STR(PciDevice, addr, "addr", "Slot and optional function number, example: 06.0 or 06"),
    PROP_STR(PciDevice, romfile, "romfile", "expansion ROM to show instead of the device's own"),
    PROP_U32(PciDevice, romsize, "romsize", UINT32_MAX, 0, UINT32_MAX, "size of the ROM BAR, a power of two"),
    PROP_U32(PciDevice, rombar, "rombar", 1, 0, 1, "0: show no expansion ROM"),
    PROP_BOOL(PciDevice, multifunction, "multifunction", false, "functions 1 to 7 of the slot may be used"),
    PROP_U32(PciDevice, acpi_index, "acpi-index", 0, 0, 16383, "index for the guest's names of its ports"),
    PROP_STR(PciDevice, failover_pair_id, "failover_pair_id", "id of the standby network device"),
    PROP_BOOL(PciDevice, x_lnksta_dllla, "x-pcie-lnksta-dllla", true, "kept for configuration files"),
    PROP_BOOL(PciDevice, x_extcap_init, "x-pcie-extcap-init", true, "kept for configuration files"),
    { 0 },
};

const SlotType pci_slot = {
    .name = "pci",
    .bus = "PCI",
    .base_size = sizeof(PciDevice),
    .props = pci_props,
    .state = &pci_state,
    .attach = pci_attach,
    .publish = pci_publish,
    .withdraw = pci_withdraw,
    .detach = pci_detach,
    .reset = pci_reset,
    .settle = pci_settle,
    .unplug_request = unplug_request,
    .describe = pci_describe,
};
