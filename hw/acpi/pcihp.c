/* pcihp.c: PCI hot-plug through ACPI (the public specification "ACPI PCI hotplug interface").
 *
 *   +0x00 up      slots with a new device; cleared by the read        +0x0c removable slots
 *   +0x04 down    slots whose device is asked for                     +0x10 bus selector
 *   +0x08 eject   written: slots let go; read: features (none)        +0x14 slot in, its acpi-index out
 *
 * 1. Events come on control, which takes the owner's domain; an eject goes back to control.
 * 2. A bridge's own hot-plug hears of what comes and goes, but is asked nothing: the guest has no part in it.
 * 3. An unplug that the guest has not answered is carried out by the next reset. */
#include "hw/acpi/pcihp.h"

#include "core/machine.h"
#include "util/bytes.h"
#include "util/trace.h"

enum { REG_UP = 0x00, REG_DOWN = 0x04, REG_EJECT = 0x08, REG_REMOVABLE = 0x0c, REG_SELECT = 0x10,
       REG_INDEX = 0x14, REGS = 0x18 };

/* Takes every removable function of slots @mask off; inside an epoch section. */
static void eject(AcpiPciHp *hp, unsigned bus, uint32_t mask)
{
    PciBus *b = epoch_load(hp->buses[bus]);

    for (unsigned slot = 0; slot < 32; slot++) {
        if (b == NULL || !(mask & 1u << slot)) {
            continue;
        }
        TRACE(pcihp_eject, "bus=%u slot=%u", bus, slot);
        hp->down[bus] &= ~(1u << slot);
        for (unsigned fn = 0; fn < 8; fn++) {
            PciDevice *p = epoch_load(b->functions[PCI_DEVFN(slot, fn)]);

            if (p && p->dev.type->flags & DEV_HOTPLUG) {
                pci_unplug_done(p);
            }
        }
    }
}

static uint32_t removable(const PciBus *b)
{
    uint32_t slots = UINT32_MAX;

    for (unsigned i = 0; i < 256; i++) {
        const PciDevice *p = epoch_load(b->functions[i]);

        if (p && !(p->dev.type->flags & DEV_HOTPLUG)) {
            slots &= ~(1u << PCI_SLOT(i));
        }
    }
    return slots;
}

static uint64_t pcihp_read(void *arg, uint64_t off, unsigned size)
{
    AcpiPciHp *hp = arg;
    uint32_t val = 0;

    if (off == REG_SELECT) {
        return hp->select;
    }
    if (hp->select >= hp->bus_count) {
        return 0;
    }
    PciBus *b = epoch_load(hp->buses[hp->select]);
    if (b == NULL) {
        return 0;
    }
    switch (off) {
    case REG_UP:
        val = hp->up[hp->select];
        hp->up[hp->select] = 0;
        break;
    case REG_DOWN:
        val = hp->down[hp->select];
        break;
    case REG_REMOVABLE:
        val = removable(b);
        break;
    case REG_INDEX:
        if (hp->index_slot < 32) {
            const PciDevice *p = epoch_load(b->functions[PCI_DEVFN(hp->index_slot, 0)]);

            val = p ? p->acpi_index : 0;
        }
        break;
    }
    return val;
}

static void pcihp_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiPciHp *hp = arg;

    switch (off) {
    case REG_EJECT:
        if (hp->select < hp->bus_count) {
            eject(hp, hp->select, (uint32_t)val);
        }
        break;
    case REG_SELECT:
        hp->select = (uint32_t)val;
        break;
    case REG_INDEX:
        hp->index_slot = (uint32_t)val;
        break;
    }
}

static const RegionOps pcihp_ops = { pcihp_read, pcihp_write, 4, 4, 0 };

/* --- events, on control --- */
static unsigned number_of(const AcpiPciHp *hp, const PciBus *b)
{
    unsigned n = 0;

    while (n < hp->bus_count - 1 && hp->buses[n] != b) {
        n++;
    }
    return n;
}

static void plugged(PciBus *b, PciDevice *p)
{
    AcpiPciHp *hp = b->hotplug_arg;
    const PciHotplugOps *below = hp->below[number_of(hp, b)];

    if (below != NULL && below->plugged != NULL) {
        below->plugged(b, p);
    }
    /* Function 0 comes last and announces the slot; what is soldered on, such as our own device, is no
     * news. */
    if (PCI_FUNC(p->devfn) || !(p->dev.type->flags & DEV_HOTPLUG)) {
        return;
    }
    domain_enter(hp->owner->domain);
    TRACE(pcihp_plugged, "slot=%u", PCI_SLOT(p->devfn));
    hp->up[number_of(hp, b)] |= 1u << PCI_SLOT(p->devfn);
    acpi_pm_gpe(hp->pm, ACPI_PCIHP_GPE);
    domain_leave(hp->owner->domain);
}

static bool unplug_request(PciBus *b, PciDevice *p, Error **errp)
{
    AcpiPciHp *hp = b->hotplug_arg;
    unsigned n = number_of(hp, b), slot = PCI_SLOT(p->devfn);

    domain_enter(hp->owner->domain);
    bool pending = hp->down[n] & 1u << slot;
    TRACE(pcihp_unplug_request, "slot=%u again=%d", slot, pending);
    hp->down[n] |= 1u << slot;
    acpi_pm_gpe(hp->pm, ACPI_PCIHP_GPE);
    domain_leave(hp->owner->domain);
    return !pending
        || error_set(errp, "Device %s is already in the process of unplug", p->dev.id);
}

static void unplugged(PciBus *b, PciDevice *p)
{
    AcpiPciHp *hp = b->hotplug_arg;
    unsigned slot = PCI_SLOT(p->devfn);
    const PciHotplugOps *below = hp->below[number_of(hp, b)];

    if (below != NULL && below->unplugged != NULL) {
        below->unplugged(b, p);
    }
    if (PCI_FUNC(p->devfn)) {
        return;
    }
    domain_enter(hp->owner->domain);
    hp->up[number_of(hp, b)] &= ~(1u << slot);
    hp->down[number_of(hp, b)] &= ~(1u << slot);
    domain_leave(hp->owner->domain);
}

/* The numbers of the others stay. */
static void gone(PciBus *b)
{
    AcpiPciHp *hp = b->hotplug_arg;
    unsigned n = number_of(hp, b);

    b->hotplug = NULL;
    epoch_store(hp->buses[n], NULL);
    hp->below[n] = NULL;
}

static const PciHotplugOps hotplug_ops = { plugged, unplug_request, unplugged, gone };

/* --- the part --- */
void acpi_pcihp_init(AcpiPciHp *hp, Device *owner, AcpiPm *pm, uint16_t port)
{
    assert_control();
    hp->owner = owner;
    hp->pm = pm;
    hp->bus_count = 0;
    region_io_arg(&hp->io, owner, "acpi-pci-hotplug", &pcihp_ops, hp, REGS);
    map_put_one(&owner->machine->io_root, &hp->io, port, 0);
}

void acpi_pcihp_free(AcpiPciHp *hp)
{
    assert_control();
    map_drop_one(&hp->io);
    region_free(&hp->io);
    for (unsigned i = 0; i < hp->bus_count; i++) {
        if (hp->buses[i] != NULL) {
            hp->buses[i]->hotplug = hp->below[i];
            hp->buses[i]->hotplug_arg = NULL;
        }
    }
    hp->bus_count = 0;
}

void acpi_pcihp_bus(AcpiPciHp *hp, PciBus *b)
{
    assert_control();
    g_assert(hp->bus_count < ACPI_PCIHP_BUSES);
    hp->below[hp->bus_count] = b->hotplug;
    hp->buses[hp->bus_count++] = b;
    b->hotplug = &hotplug_ops;
    b->hotplug_arg = hp;
    b->bus->hotplug = true;
}

/* An Express port may say that nothing comes to its slot. */
void acpi_pcihp_bridges(AcpiPciHp *hp, PciBus *root)
{
    assert_control();
    for (PciBus *b = root->child_first; hp->bridges && b != NULL; b = b->child_next) {
        if ((b->bus->hotplug || !b->express) && hp->bus_count < ACPI_PCIHP_BUSES) {
            acpi_pcihp_bus(hp, b);
        }
        acpi_pcihp_bridges(hp, b);
    }
}

unsigned acpi_pcihp_describe(const AcpiPciHp *hp, AcpiPciBus *out)
{
    int place[ACPI_PCIHP_BUSES];
    unsigned count = 0;

    assert_control();
    for (unsigned i = 0; i < hp->bus_count; i++) {
        const PciBus *b = hp->buses[i];
        AcpiPciBus d = { .parent = -1, .selector = i, .root = b->parent == NULL, .one_slot = b->port };

        place[i] = -1;
        for (unsigned j = 0; j < i && d.parent < 0; j++) {
            d.parent = hp->buses[j] == b->parent ? place[j] : -1;
        }
        if (!d.root) {
            d.devfn = b->bridge->devfn;
        }
        /* Behind a bridge that is not ours: there is no device to be below. */
        if (d.root || d.parent >= 0 || b->parent->parent == NULL) {
            place[i] = (int)count;
            out[count++] = d;
        }
    }
    return count;
}

void acpi_pcihp_reset(AcpiPciHp *hp, ResetKind kind)
{
    hp->finish = false;
    for (unsigned i = 0; i < hp->bus_count; i++) {
        hp->finish = hp->finish || hp->down[i];
        hp->up[i] = 0;
    }
    hp->select = hp->index_slot = 0;
}

void acpi_pcihp_settle(AcpiPciHp *hp)
{
    if (!hp->finish) {
        return;
    }
    hp->finish = false;
    epoch_enter();
    for (unsigned i = 0; i < hp->bus_count; i++) {
        eject(hp, i, hp->down[i]);
    }
    epoch_leave();
}

static const StateField pcihp_fields[] = {
    STATE_U32_ARRAY(AcpiPciHp, up), STATE_U32_ARRAY(AcpiPciHp, down), STATE_U32(AcpiPciHp, select),
    STATE_U32(AcpiPciHp, index_slot),
    { 0 },
};
/* What was loaded takes the place of what the reset before it left to do. */
static bool pcihp_check(void *obj, Error **errp)
{
    ((AcpiPciHp *)obj)->finish = false;
    return true;
}

const StateDesc acpi_pcihp_state = {
    .name = "acpi-pcihp", .version = 1, .fields = pcihp_fields, .check = pcihp_check,
};
