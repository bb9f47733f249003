/* memhp.c: memory hot-plug through ACPI (the public specification "ACPI memory hotplug interface").
 *
 *            reads                             writes
 *   +0x00    low half of the address           selects a slot
 *   +0x04    high half                         _OST event
 *   +0x08    low half of the size              _OST status
 *   +0x0c    high half                         -
 *   +0x10    NUMA node                         -
 *   +0x14    status (places.h)                 control (places.h)
 *
 * 1. Address, size and node are read from the DIMM's range (Machine.dimm_ranges), which never changes
 *    while the DIMM is in its slot. */
#include "hw/acpi/memhp.h"

#include "util/bytes.h"

enum { REG_SELECT = 0x00, REG_EVENT = 0x04, REG_STATUS = 0x08, REG_NODE = 0x10, REG_FLAGS = 0x14 };

static uint64_t memhp_read(void *arg, uint64_t off, unsigned size)
{
    AcpiMemHp *hp = arg;
    uint32_t n = hp->select;

    if (n >= hp->places.of->count) {
        return 0;
    }
    if (off == REG_FLAGS) {
        return acpi_places_status(&hp->places, n);
    }
    if (!hp->places.present[n] || off > REG_NODE) {
        return off > REG_FLAGS ? UINT64_MAX : 0;
    }
    const MachineDimm *d = &hp->places.owner->machine->dimm_ranges[n];
    switch (off) {
    case 0x00:
        return (uint32_t)d->addr;
    case 0x04:
        return d->addr >> 32;
    case 0x08:
        return (uint32_t)d->size;
    case 0x0c:
        return d->size >> 32;
    case REG_NODE:
        return d->node;
    default:
        return UINT64_MAX;
    }
}

static void memhp_write(void *arg, uint64_t off, uint64_t val, unsigned size)
{
    AcpiMemHp *hp = arg;

    switch (off) {
    case REG_SELECT:
        hp->select = (uint32_t)val;
        break;
    case REG_EVENT:
        acpi_places_ost_event(&hp->places, hp->select, (uint32_t)val);
        break;
    case REG_STATUS:
        acpi_places_ost_status(&hp->places, hp->select, (uint32_t)val);
        break;
    case REG_FLAGS:
        acpi_places_control(&hp->places, hp->select, (uint8_t)val);
        break;
    }
}

static const RegionOps memhp_ops = { memhp_read, memhp_write, 1, 4, 0 };

void acpi_memhp_init(AcpiMemHp *hp, Device *owner, AcpiPm *pm)
{
    assert_control();
    hp->places.owner = owner;
    hp->places.pm = pm;
    hp->places.of = &owner->machine->dimms;
    hp->places.slot_type = "DIMM";
    hp->places.gpe = ACPI_MEMHP_GPE;
    acpi_places_init(&hp->places);
    region_io_arg(&hp->io, owner, "acpi-mem-hotplug", &memhp_ops, hp, ACPI_MEMHP_REGS);
    if (hp->places.of->count > 0) {
        map_put_one(&owner->machine->io_root, &hp->io, ACPI_MEMHP_PORT, 0);
    }
}

void acpi_memhp_free(AcpiMemHp *hp)
{
    assert_control();
    map_drop_one(&hp->io);
    region_free(&hp->io);
    acpi_places_free(&hp->places);
}

void acpi_memhp_reset(AcpiMemHp *hp, ResetKind kind)
{
    if (kind != RESET_BUS) {
        acpi_places_reset(&hp->places, kind);
        hp->select = 0;
    }
}

static const StateField memhp_fields[] = {
    STATE_STRUCT(AcpiMemHp, places, &acpi_places_state), STATE_U32(AcpiMemHp, select),
    { 0 },
};
const StateDesc acpi_memhp_state = { .name = "acpi-memhp", .version = 1, .fields = memhp_fields };
